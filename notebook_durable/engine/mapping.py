"""``ctx.map``: one durable entry for each item, found by what it computes from, and written in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from notebook_durable.engine import failures
from notebook_durable.engine.drive import home_task
from notebook_durable.engine.first import check_outcome_known
from notebook_durable.engine.journal import Place
from notebook_durable.engine.lookup import check_defined, texts_of
from notebook_durable.engine.lost import LOST, why_anew
from notebook_durable.engine.mapping_drive import drive_inline, drive_inline_async, drive_tasks, is_async
from notebook_durable.engine.mapping_items import (
    Item,
    MapSpec,
    find_items,
    keys_of,
    make_family,
    replay_item,
    run_again,
)
from notebook_durable.engine.mapping_pool import drive_pool, drive_pool_async, refuse_async
from notebook_durable.engine.mapping_progress import Progress
from notebook_durable.engine.mapping_results import Results
from notebook_durable.engine.mapping_run import MapRun
from notebook_durable.engine.options import StepSpec
from notebook_durable.engine.people import ForPeople
from notebook_durable.engine.why import reason
from notebook_durable.errors import ConfigurationError, DamagedValueError
from notebook_durable.events import StepDamaged
from notebook_durable.model import Entry, EntryStatus
from notebook_durable.parts import Parts, parts_from
from notebook_durable.protocols import Family, Pool

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["MapCallPlan", "read_map", "run_map", "run_map_async"]

#: Seconds; see ``flow``: a cancelled map waits to be cancelled again, this much longer than last time.
_CANCEL_GRACE = 1.0


def read_map(
    step: StepSpec,
    items: Iterable[Any],
    max_workers: int | None,
    executor: Any,
    key: Callable[[Any], str] | None,
    on_error: str,
) -> MapSpec:
    """Check the arguments of ``ctx.map``. Items are taken from an iterator once, here.

    Raises:
        ConfigurationError: saying what is wrong and what to type.
    """
    if on_error not in ("raise", "collect"):
        raise ConfigurationError(f'on_error= is "raise" or "collect", not {on_error!r:.80}')
    if max_workers is not None and (isinstance(max_workers, bool) or not isinstance(max_workers, int)):
        raise ConfigurationError(f"max_workers= is a whole number, not {max_workers!r:.80}")
    if max_workers is not None and max_workers < 1:
        raise ConfigurationError(f"max_workers= must be 1 or more, not {max_workers}")
    if key is not None and not callable(key):
        raise ConfigurationError(f"key= takes a function that names an item, such as key=str, not {key!r:.80}")
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        kind = type(items).__name__
        raise ConfigurationError(
            f"ctx.map('{step.name}') takes a list or another iterable of items, not {kind}: "
            f"ctx.map({step.name!r}, fn, items)"
        )
    _check_executor(step, executor)
    taken = list(items)
    return MapSpec(step, taken, keys_of(key, taken), executor, max_workers, on_error == "collect")


def _check_executor(step: StepSpec, executor: Any) -> None:
    options = step.options
    if options.writes is not None:
        raise ConfigurationError("ctx.map has no writes=: call ctx.run for what writes to something that others read")
    if isinstance(executor, type):
        name = executor.__name__
        raise ConfigurationError(f"executor= is a class: {name}(4) makes an executor, with as many workers")
    known = (
        executor is None or executor in ("threads", "processes") if isinstance(executor, (str, type(None))) else False
    )
    if not known and not callable(getattr(executor, "submit", None)):
        raise ConfigurationError(
            'executor= is None (this thread), "threads", "processes", or an object with submit(), such as a '
            f"concurrent.futures executor; not {executor!r:.80}"
        )
    if executor is not None and options.time_limit is not None:
        raise ConfigurationError(
            "timeout= needs an async function, or no executor=: what runs in a worker can't be interrupted"
        )
    if executor is not None and is_async(step.fn):
        refuse_async(step.name)


class MapCallPlan:
    """One call of ``ctx.map``, from the time at which it was made.

    Args:
        session: the execution.
        spec: what to do.
        follows: the failure after which the cell called it.
        side_by_side: another task uses the name at the same time.
    """

    def __init__(self, session: Session, spec: MapSpec, follows: int | None, side_by_side: bool = False) -> None:
        self.session, self.spec, self.follows, self.side_by_side = session, spec, follows, side_by_side
        place = session.journal.place
        self.places: list[Place] = [place(spec.step.name) for _ in spec.items]
        self.values: list[Any] = [None] * len(spec.items)
        self.items: list[Item] = []
        self.superseded: list[Entry] = []
        self.family: Family | None = None
        self.progress: Progress | None = None
        self.run: MapRun | None = None
        self._effect: Entry | None = None

    # -- before

    def prepare(self) -> list[Item]:
        """Find what is recorded, and hand that back; return the items that have to run.

        Raises:
            TerminalError: a recorded failure that replays.
        """
        session, spec = self.session, self.spec
        family = self.family = make_family(session, spec)
        self.items, self.superseded, note = find_items(session, spec, family, self.places)
        if self.side_by_side and not (family.call.tracked and all(family.tracked(one.digest) for one in self.items)):
            raise session.cant_tell_apart(spec.step.name)
        progress = self.progress = Progress(session, spec.step.name, self.items)
        progress.reason = note
        todo = [item for item in self.items if not self._replays(item)]
        if self.superseded and not progress.reason:
            progress.reason = self.superseded[0].note
        self._raise_recorded()
        return todo

    def _replays(self, item: Item) -> bool:
        """Hand a recorded value or failure back, if there is one."""
        entry, progress, family = item.match.entry, self.progress, self.family
        assert progress is not None and family is not None  # noqa: S101, PT018
        if entry is not None and item.match.damaged:
            self.session.emit(StepDamaged, entry, item.match.reason)
        if entry is None or not item.match.replays:
            return False
        if entry.status is EntryStatus.FAILED:
            error = failures.rebuild(self.session, entry)
            self.values[item.index] = error
            progress.failed += 1
            progress.note(item, entry.error)
            self._note_effect(entry)
            return True
        if entry.status is not EntryStatus.SUCCEEDED:
            return False  # cancelled
        try:
            self.values[item.index] = replay_item(self.session, self.spec, family, item)
        except LOST as error:
            why = why_anew(self.session, self.spec.step, entry, error)
            gone = run_again(self.session, family, item, why)
            damaged = isinstance(error, DamagedValueError)
            self.superseded += [one.without_value() for one in gone] if damaged else gone
            return False
        progress.replayed += 1
        progress.saved += entry.spent
        if entry.value_type == "NoneType":
            self._note_effect(entry)
        return True

    def _note_effect(self, entry: Entry) -> None:
        """The map as a whole has had an effect: that of its newest entry stands for all (see :meth:`finish`)."""
        self._effect = max(self._effect or entry, entry, key=lambda one: (one.execution, one.seq))

    def _share_effect(self) -> None:
        if self._effect is not None and self.family is not None:
            self.session.shared.wrote(self.family.call, self._effect, ())

    def _raise_recorded(self) -> None:
        """Raise a recorded failure that the cell survived: it takes the same branch, and nothing runs."""
        failed = [
            item
            for item in self.items
            if item.match.entry is not None and item.match.replays and item.match.entry.status is EntryStatus.FAILED
        ]
        if not failed:
            return
        if self.spec.collect:
            for item in failed:
                self.session.received.handed(item.place.seq, self.values[item.index])
            return
        first = min(failed, key=lambda item: (item.match.entry.ended_at or 0.0, item.index))  # type: ignore[union-attr]
        for item in self.items:
            if not item.match.replays:
                self.session.journal.give_back(item.place)
        self._share_effect()
        self._end("failed")
        self._raise(first, self.values[first.index])

    def cancelled(self) -> float | None:
        """Seconds to wait for what cancelled the map when it was recorded; None if nothing did."""
        spent = [
            item.match.entry.spent
            for item in self.items
            if item.match.entry is not None and item.match.replays
            if item.match.entry.status is EntryStatus.CANCELLED
        ]
        return max(spent) + _CANCEL_GRACE if spent and self.session.asynchronous else None

    def replay_cancellation(self, error: BaseException) -> None:
        """The map was cancelled again, as when it was recorded."""
        for item in self.items:
            entry = item.match.entry
            if entry is not None and item.match.replays and entry.status is EntryStatus.CANCELLED:
                self.session.deliver(item.place.seq, error)
            elif not item.match.replays:
                self.session.journal.give_back(item.place)
        self._end("cancelled")

    def begin(self, todo: Sequence[Item]) -> MapRun:
        """Write down what all items that run have in common, and begin."""
        session, spec, family, progress = self.session, self.spec, self.family, self.progress
        assert family is not None and progress is not None  # noqa: S101, PT018
        people = ForPeople(session, spec.step, family.call)
        parts, texts = people.without_secrets(family.call.parts()), family.call.texts()
        why, compared = self._why(todo, parts, texts)
        if why and why != "new" and not progress.reason:
            progress.reason = why
        if parts.shares:
            self.superseded += [
                old._replace(status=EntryStatus.SUPERSEDED, note="another version of it ran since")
                for old in session.journal.undone_by(spec.step.name, parts.shares)
            ]
        parts = parts._replace(why=why, instead=None if compared is None else compared.seq)
        results = Results(session, spec, family, self.follows, parts, people)
        session.keep(texts)
        for item in todo:
            _resume(session, spec, item)
        for old in self.superseded:
            session.journal.put(old)
        with session.guard.shield():  # it has a thread, which :meth:`stop` ends
            self.run = run = MapRun(session, spec, todo, self.values, results, progress)
        for old in self.superseded:
            run.commits.add((old, None, None))
        progress.begin()
        return run

    def _why(self, todo: Sequence[Item], parts: Parts, texts: Mapping[str, str]) -> tuple[str, Entry | None]:
        """Say why items run that have no entry: by the first of them. Which other item it is doesn't count."""
        new = next((item for item in todo if item.match.entry is None), None)
        if new is None:
            return todo[0].match.reason, todo[0].match.entry
        if self.superseded:
            return self.superseded[0].note, self.superseded[0]
        compared = self.session.journal.before(new.place, new.fingerprint, parts)
        both = {**texts_of(self.session, compared), **texts}
        assert self.family is not None  # noqa: S101
        check_defined(new.place, self.family.call, compared, both)
        if compared is None:
            return "new", None
        before = parts_from(compared.code.inputs)
        own = {name: told for name, told in before.inputs.items() if name not in parts.inputs}
        found = reason(compared, parts._replace(inputs={**parts.inputs, **own}), both)
        return found, (None if found == "new" else compared)

    # -- after

    def finish(self) -> list[Any]:
        """All is done: write what is left, and return the values or raise the failure."""
        run = self.run
        if run is not None:
            run.look_for_changes()
            if run.failure is not None:
                run.let_go()
            run.commits.flush()
            run.commits.close()
            for entry in run.effects:
                self._note_effect(entry)
        self._share_effect()
        failure = None if run is None else run.failure
        self._end("done" if failure is None else "failed")
        if failure is not None:
            self._raise(*failure)
        return self.values

    def _raise(self, item: Item, error: BaseException) -> None:
        self.session.deliver(item.place.seq, error)
        raise error

    def _end(self, state: str) -> None:
        if self.progress is not None and self.items:
            self.progress.end(state)

    def stop(self, error: BaseException) -> None:
        """The map was left by something else than a failure of an item: Stop, a cancellation, an error of the store."""
        run = self.run
        if run is None:
            return
        with self.session.guard.shield():
            stands = None
            try:
                if self.session.is_open:
                    run.look_for_changes()
                    stands = run.stopped(error)
                    run.commits.flush()
            finally:
                run.commits.close()
                cancelled = stands is not None
                if stands is not None:
                    self.session.deliver(stands.place.seq, error)
                self._end("cancelled" if cancelled else "interrupted")


def _resume(session: Session, spec: MapSpec, item: Item) -> None:
    """Take over what an entry says about attempts that were made before."""
    old = item.match.entry
    if old is None or not old.intact:
        return
    check_outcome_known(session, spec.step, old)
    if item.match.resumes:
        item.budget, item.attempts, item.spent = old.budget, old.attempts, old.spent
    else:
        item.budget = old.budget + 1


# --- the two ways to run one


def run_map(plan: MapCallPlan) -> list[Any]:
    """Run or replay a map on this thread."""
    session, spec = plan.session, plan.spec
    try:
        todo = plan.prepare()
        if todo:
            run = plan.begin(todo)
            with session.guard.watch(spec.step.options.on_stop):
                if spec.workers is not None:
                    drive_pool(run, _open_pool(plan, todo))
                elif is_async(spec.step.fn):
                    session.executor.wait(drive_tasks(run, spec.most), session.guard)
                else:
                    drive_inline(run)
        with session.guard.shield():
            return plan.finish()
    except BaseException as error:
        _left(plan, error)
        raise


async def run_map_async(plan: MapCallPlan) -> list[Any]:
    """Run or replay a map in this task."""
    session, spec = plan.session, plan.spec
    try:
        session.check_open()
        todo = plan.prepare()
        await _cancel_again(plan)
        if todo:
            run = plan.begin(todo)
            with session.guard.watch(spec.step.options.on_stop):
                if spec.workers is not None:
                    await drive_pool_async(run, _open_pool(plan, todo))
                elif is_async(spec.step.fn):
                    await drive_tasks(run, spec.most)
                else:
                    await drive_inline_async(run, spec.most)
        with session.guard.shield():
            return plan.finish()
    except KeyboardInterrupt as stop:
        _left(plan, stop)
        if session.home is None or home_task() is session.home:
            raise
        # Out of a child task it would end the kernel's event loop: stop the cell by way of its own task.
        session.home.cancel("Stop")
        raise asyncio.CancelledError("Stop") from stop
    except BaseException as error:
        _left(plan, error)
        raise


async def _cancel_again(plan: MapCallPlan) -> None:
    delay = plan.cancelled()
    if delay is None:
        return
    try:
        await plan.session.clock.asleep(delay)
    except asyncio.CancelledError as error:
        plan.replay_cancellation(error)
        raise


def _open_pool(plan: MapCallPlan, todo: Sequence[Item]) -> Pool:
    return plan.session.executor.pool(plan.spec.workers, plan.spec.most, len(todo))


def _left(plan: MapCallPlan, error: BaseException) -> None:
    if plan.run is None or plan.run.failure is None or plan.run.failure[1] is not error:
        plan.stop(error)
    error.__traceback__ = failures.drop_own_frames(error.__traceback__)
