"""One execution of a run: from the claim to the end, and everything its steps need in between."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from notebook_durable.engine import failures
from notebook_durable.engine.bus import Bus
from notebook_durable.engine.context import AsyncContext, Context, MapCall, StepCall
from notebook_durable.engine.controls import Controls, Request
from notebook_durable.engine.drive import drive, drive_async, home_task
from notebook_durable.engine.effects import Begin
from notebook_durable.engine.entry_value import settled
from notebook_durable.engine.flow import replay_value, replays_value, step_flow
from notebook_durable.engine.journal import Journal, Place
from notebook_durable.engine.lookup import Found, again, describe, look_up
from notebook_durable.engine.lost import LOST, why_anew
from notebook_durable.engine.mapping import MapCallPlan, run_map, run_map_async
from notebook_durable.engine.mapping_commit import Commits
from notebook_durable.engine.mapping_items import MapSpec
from notebook_durable.engine.options import StepSpec
from notebook_durable.engine.returning import Ending, Received, classify
from notebook_durable.engine.rollback import OWN_FAILURE, Rollback
from notebook_durable.engine.shared import Shared
from notebook_durable.errors import (
    ContextClosedError,
    DamagedValueError,
    DurableError,
    RollbackLostError,
    RunTakenOverError,
    StoreError,
    TerminalError,
    UnawaitedStepError,
    UsageError,
)
from notebook_durable.events import ExecutionEnded, ExecutionStarted, StoreFailed
from notebook_durable.model import Ask, Attempt, Entry, EntryStatus, Extra, Message, Outcome, Owner, RunId, RunStatus
from notebook_durable.protocols import (
    Clock,
    Codec,
    Describer,
    Executor,
    Guard,
    Observer,
    Previewer,
    Record,
    Recorder,
    Store,
)
from notebook_durable.retry import RetryPolicy

if TYPE_CHECKING:
    from notebook_durable.events import Event

__all__ = ["Ports", "Session"]

_log = logging.getLogger("notebook_durable")

# Seconds between two looks into the mailbox, where nobody waits.
_LOOK_AGAIN = 1.0
# What was undone must not replay.
_START_OVER_AFTER = frozenset({RunStatus.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as an execution sees it."""

    store: Store
    codec: Codec
    executor: Executor
    describer: Describer
    clock: Clock
    guard: Guard
    observers: Sequence[Observer] = ()
    owns_store: bool = False  # close it with the execution
    recorder: Recorder | None = None  # of what steps print and display
    previewer: Previewer | None = None


class Session:
    """An open execution.

    Args:
        run: which run.
        ports: what it works with.
        owner: this process.
        policy: retry policy of steps that don't say otherwise.
        asynchronous: give an AsyncContext.
        fresh: archive the run and start a new one.
        strict: hold the code to the recorded order; values that can't be stored are an error.
        notebook: path of the notebook that asks; None if unknown.

    Raises:
        StoreError: see ``Store.claim``.
    """

    def __init__(
        self,
        run: RunId,
        ports: Ports,
        owner: Owner,
        *,
        policy: RetryPolicy,
        asynchronous: bool = False,
        fresh: bool = False,
        strict: bool = False,
        notebook: str | None = None,
    ) -> None:
        self.run = run
        self.store = ports.store
        self.codec = ports.codec
        self.executor = ports.executor
        self.describer = ports.describer
        self.clock = ports.clock
        self.guard = ports.guard
        self.bus = Bus(ports.observers)
        self.recorder = ports.recorder
        self.previewer = ports.previewer
        self.controls = Controls()
        self._looked_at = self.clock.monotonic()
        self._handed_on: set[int] = set()
        self._owns_store = ports.owns_store
        self.policy = policy
        self.asynchronous = asynchronous
        self.strict = strict
        self.home = home_task() if asynchronous else None
        self._thread = threading.get_ident()
        self._open = True
        self._calls: dict[Place, StepCall] = {}
        self._turn = 0
        self._first_seen: dict[asyncio.Task[Any] | None, int] = {}
        self._name_tasks: dict[str, tuple[asyncio.Task[Any] | None, int]] = {}
        self._unsaved: list[Record] = []
        self.received = Received()
        self.shared = Shared()
        self.rollback = Rollback()
        self._kept: set[str] = set()
        self.claim = self.store.claim(
            run,
            owner,
            now=self.clock.time(),
            notebook=notebook,
            fresh=fresh,
            start_over_after=_START_OVER_AFTER,
        )
        try:
            entries = self.store.entries(self.claim)
            recorded = self._recorded(entries) if strict else None
            self.journal = Journal(self.claim, entries, version=self.describer.version, recorded=recorded)
            self._shown = self.store.shown(self.claim.id) if self.recorder is not None and entries else ()
        except BaseException:
            self.store.release(self.claim)
            raise
        #: Of the maps under way: what is not on disk yet.
        self.groups: set[Commits] = set()
        self.context: Context | AsyncContext = AsyncContext(self) if asynchronous else Context(self)
        if self.bus:
            c, at = self.claim, self.clock.time()
            self.bus.emit(ExecutionStarted(run, c.number, c.execution, c.previous, len(self.journal), at))

    def _recorded(self, entries: Sequence[Entry]) -> Sequence[str]:
        """Return the names of the steps in the order in which the last execution that ended came to them."""
        names = {entry.seq: entry.name for entry in entries}
        for execution in reversed(self.store.executions(self.claim.id)):
            if execution.used is not None:
                return [names[seq] for seq in execution.used if seq in names]
        return [entry.name for entry in entries if entry.status is not EntryStatus.SUPERSEDED]

    # -- running steps

    @property
    def is_open(self) -> bool:
        return self._open

    def check_open(self) -> None:
        if not self._open:
            raise ContextClosedError(self.run.workflow, "run")

    def check_thread(self) -> bool:
        return threading.get_ident() == self._thread

    def run_step(self, spec: StepSpec, *, cleanup: bool, after_failure: bool = False) -> Any:
        """Run or replay a step on this thread; ``after_failure``: it undoes something."""
        place, follows = self._placed(spec, cleanup=cleanup, undoes=after_failure)
        try:
            found = look_up(self, spec, place, describe(self, spec))
            if replays_value(found):
                try:
                    return replay_value(self, spec, found)
                except LOST as error:
                    found = self._anew(spec, place, found, error)
            return drive(self, step_flow(self, spec, place, follows, found), spec.name)
        except BaseException as error:
            self.deliver(place.seq, error)
            # One frame of ours (the caller's) is enough between the cell and the step. A bare raise adds none.
            error.__traceback__ = failures.drop_own_frames(error.__traceback__)
            raise

    def _anew(self, spec: StepSpec, place: Place, found: Found, error: Exception) -> Found:
        """Let a step run whose recorded value is lost."""
        entry = found.match.entry
        assert entry is not None  # noqa: S101  it was to replay
        found = again(self, place, found, why_anew(self, spec, entry, error))
        if isinstance(error, DamagedValueError):
            found.superseded = [gone.without_value() for gone in found.superseded]
        return found

    async def undo(self, spec: StepSpec) -> Any:
        """Run a step that undoes something, in this task."""
        place, follows = self._placed(spec, cleanup=False, undoes=True)
        return await self.run_call(spec, place, follows, side_by_side=False)

    def _placed(self, spec: StepSpec, *, cleanup: bool, undoes: bool) -> tuple[Place, int | None]:
        """Give a call its place, and find the failure that it follows."""
        place = self.journal.place(spec.name, undoes=undoes)
        follows = self.received.called(cleanup)
        return place, OWN_FAILURE if undoes and follows is None else follows

    def new_call(self, spec: StepSpec, *, cleanup: bool) -> StepCall:
        """Make the awaitable of a step. Its place in the run is taken now, its function is called when awaited."""
        side_by_side = self._is_side_by_side(spec.name)
        place = self.journal.place(spec.name)
        call = StepCall(self, spec, place, self.received.called(cleanup), side_by_side)
        self._calls[place] = call
        return call

    def run_map(self, spec: MapSpec, *, cleanup: bool) -> list[Any]:
        """Run or replay a map on this thread."""
        return run_map(MapCallPlan(self, spec, self.received.called(cleanup)))

    def new_map(self, spec: MapSpec, *, cleanup: bool) -> MapCall:
        """Make the awaitable of a map. The places of its items are taken now."""
        name = spec.step.name
        side_by_side = self._is_side_by_side(name)
        plan = MapCallPlan(self, spec, self.received.called(cleanup), side_by_side)
        place = plan.places[0] if plan.places else Place(name, -1)
        call = MapCall(self, spec.step, place, plan)
        self._calls[place] = call
        return call

    async def run_map_call(self, plan: MapCallPlan, place: Place) -> list[Any]:
        """Run or replay a map in this task."""
        try:
            return await run_map_async(plan)
        finally:
            self._calls.pop(place, None)

    def _is_side_by_side(self, name: str) -> bool:
        """Tell whether another task, under way at the same time, uses this name as well.

        Which of the two comes first may differ from run to run. Their fingerprints tell them apart, unless they have
        inputs without content: then each might be handed the other's value.
        """
        task = home_task()
        now = self._turn = self._turn + 1
        first_seen = self._first_seen.setdefault(task, now)
        before, when = self._name_tasks.get(name, (None, 0))
        self._name_tasks[name] = task, now
        if before is None or before is task or self.received.descends_from(before):
            return False
        return not (before.done() and first_seen > when)  # this task came later than that call: one after the other

    @staticmethod
    def cant_tell_apart(name: str) -> UsageError:
        """Return the error about two tasks that use one name with inputs that can't be compared."""
        return UsageError(
            f"step '{name}' is used by two tasks that run side by side, with inputs that can't be compared (a "
            "connection, a client), so each might get the other's recorded value. Give each its own name, such as "
            f'f"{name} {{i}}", or call ctx.run before the tasks are made: asyncio.gather(*(ctx.run(...) for ...)).'
        )

    async def run_call(self, spec: StepSpec, place: Place, follows: int | None, side_by_side: bool) -> Any:
        """Run or replay a step in this task."""
        try:
            self.check_open()
            call = describe(self, spec)
            if side_by_side and not call.tracked:
                raise self.cant_tell_apart(spec.name)
            found = look_up(self, spec, place, call)
            if replays_value(found):
                try:
                    return replay_value(self, spec, found)
                except LOST as error:
                    found = self._anew(spec, place, found, error)
            return await drive_async(self, step_flow(self, spec, place, follows, found), spec.name)
        except KeyboardInterrupt as stop:
            if self.home is None or home_task() is self.home:
                raise
            # Out of a child task it would end the kernel's event loop: stop the cell by way of its own task.
            self.home.cancel("Stop")
            raise asyncio.CancelledError("Stop") from stop
        except BaseException as error:
            self.deliver(place.seq, error)
            error.__traceback__ = failures.drop_own_frames(error.__traceback__)
            raise
        finally:
            self._calls.pop(place, None)

    def deliver(self, seq: int, error: BaseException) -> None:
        """Note that an error reaches the cell."""
        # Only what the journal knows as this step's failure; not Stop, and not an error of ours.
        if not self._open or (isinstance(error, DurableError) and not isinstance(error, TerminalError)):
            return
        try:
            status = self.journal.get(seq).status
        except KeyError:
            return
        failed = status is EntryStatus.FAILED and isinstance(error, Exception)
        if failed or (status is EntryStatus.CANCELLED and isinstance(error, asyncio.CancelledError)):
            self.received.add(seq, error)

    def attempts(self, entry: Entry) -> Sequence[Attempt]:
        """Return the recorded attempts of an entry's present budget."""
        try:
            found = self.store.attempts(self.claim.id, entry.seq)
        except StoreError:
            return ()
        return [attempt for attempt in found if attempt.budget == entry.budget]

    # -- writing; drivers call these with Stop held back

    def begin(self, begin: Begin) -> None:
        """Write that an attempt begins.

        Raises:
            StoreError: if it can't be written: no step is begun that the journal doesn't know of.
        """
        self.save_unsaved()
        self.keep(begin.texts)
        for old in begin.superseded:
            self.store.begin(self.claim, old)
            self.journal.put(old)
        self.store.begin(self.claim, begin.entry, wait=begin.wait)
        self.journal.put(begin.entry)

    def record(self, entry: Entry, attempt: Attempt | None, extra: Extra | None = None) -> None:
        """Write a step's new state. If the disk refuses, the cell still gets the finished value.

        The entry is kept and written before the next step begins.

        Raises:
            RunTakenOverError: if the run belongs to another kernel by now.
        """
        self.journal.put(entry)
        try:
            self.save_unsaved()
            self.store.record(self.claim, entry, attempt, extra)
        except RunTakenOverError:
            raise
        except StoreError as error:
            self._unsaved.append((settled(entry), attempt, extra))
            if self.bus:
                self.bus.emit(StoreFailed(self.run, entry, str(error)))

    def record_many(self, records: Sequence[Record]) -> None:
        """Write several entries' new states as :meth:`record` does; the journal knows them already.

        Raises:
            RunTakenOverError: if the run belongs to another kernel by now.
        """
        try:
            self.save_unsaved()
            self.store.record_many(self.claim, records)
        except RunTakenOverError:
            raise
        except StoreError as error:
            self._unsaved.extend((settled(entry), attempt, extra) for entry, attempt, extra in records)
            if self.bus:
                self.bus.emit(StoreFailed(self.run, records[0][0], str(error)))

    def keep(self, texts: Mapping[str, str]) -> None:
        """Write texts that entries name, each once."""
        new = {name: text for name, text in texts.items() if name not in self._kept}
        if new:
            self.store.keep(self.claim, new)
            self._kept.update(new)

    @property
    def has_unsaved(self) -> bool:
        """True if the disk refused something that is to be written first."""
        return bool(self._unsaved)

    def save_unsaved(self) -> None:
        """Write what the disk refused.

        Raises:
            StoreError: if it refuses again.
        """
        while self._unsaved:
            self.store.record(self.claim, *self._unsaved[0])
            del self._unsaved[0]

    def emit(self, kind: type[Event], entry: Entry, *rest: Any) -> None:
        if self.bus:
            self.bus.emit(kind(self.run, entry, *rest))  # type: ignore[call-arg]

    # -- what people ask, and see

    def stop_if_asked(self, place: Place) -> None:
        """End the execution here, before a step begins, if somebody asked for that.

        Raises:
            KeyboardInterrupt, CancelledError: as Stop does.
        """
        if self._is_stop_asked():
            self.journal.give_back(place)
            self._stop_now()

    def stop_if_asked_between(self) -> None:
        """As :meth:`stop_if_asked`, between two items of a map."""
        if self._is_stop_asked():
            self._stop_now()

    def _is_stop_asked(self) -> bool:
        if self.clock.monotonic() - self._looked_at > _LOOK_AGAIN:
            self.look_into_mailbox()
        return self.controls.stopping

    def _stop_now(self) -> None:
        self.guard.stop()
        raise KeyboardInterrupt("stopped after a step, as asked")

    def look_into_mailbox(self) -> None:
        """Hand on what was asked from outside of this kernel."""
        self._looked_at = self.clock.monotonic()
        try:
            for message in self.store.inbox(self.claim.id):
                if message.id not in self._handed_on and self._hand_on(message):
                    self.dealt_with(message.id)
        except StoreError:
            _log.debug("the mailbox of '%s' can't be read", self.run, exc_info=True)

    def _hand_on(self, message: Message) -> bool:
        """Return True if a message is dealt with; an answer is when the entry that it is for is recorded."""
        if message.ask is Ask.STOP:
            if message.seq == self.claim.execution:  # one for an execution that has ended is of no use
                self.controls.stop_after_step()
            return True
        answers = message.ask in (Ask.ANSWER, Ask.REJECT)
        if not self.controls.is_waiting(message.seq):
            entry = self._known(message.seq)
            waits = entry is not None and entry.status in (EntryStatus.RUNNING, EntryStatus.INTERRUPTED)
            return not (waits and answers)
        value = None
        if message.payload is not None:
            try:
                value = self.codec.decode(message.payload)
            except Exception:  # noqa: BLE001  whoever sent it can send a plainer one
                _log.warning("an answer to '%s' can't be read, and was dropped", self.run, exc_info=True)
                return True
        self._handed_on.add(message.id)
        self.controls.ask(message.seq, Request(message.ask, value, message.text, message.id))
        return not answers

    def dealt_with(self, message: int) -> None:
        """Delete a message; 0 is none."""
        if not message:
            return
        self._handed_on.add(message)  # also if it can't be deleted now
        try:
            self.store.discard(self.claim.id, (message,))
        except StoreError:
            _log.debug("a message to '%s' can't be deleted", self.run, exc_info=True)

    def dealt_with_all(self, seq: int) -> None:
        """Delete the messages for an entry that is recorded."""
        try:
            for message in self.store.inbox(self.claim.id):
                if message.seq == seq:
                    self.dealt_with(message.id)
        except StoreError:
            _log.debug("the mailbox of '%s' can't be read", self.run, exc_info=True)

    def show_outputs(self, entry: Entry, spec: StepSpec) -> None:
        """Show what a replayed step had printed and displayed."""
        if self.recorder is None or entry.seq not in self._shown or not spec.options.output:
            return
        try:
            extra = self.store.extras(self.claim.id, (entry.seq,)).get(entry.seq)
            if extra is not None and extra.outputs:
                self.recorder.show(entry, extra.outputs)
        except Exception:  # noqa: BLE001  a courtesy: the value is what counts
            _log.debug("the output of step '%s' can't be shown", entry.key, exc_info=True)

    # -- the end

    def roll_back(self, error: BaseException | None) -> BaseException | None:
        """Run the steps of ``ctx.on_rollback`` if a TerminalError leaves the cell; see ``Rollback.run``."""
        return self.rollback.run(self, error) if self._open else error

    async def roll_back_async(self, error: BaseException | None) -> BaseException | None:
        """As :meth:`roll_back`, in a task."""
        return await self.rollback.run_async(self, error) if self._open else error

    def close(self, error: BaseException | None) -> BaseException | None:
        """End the execution. Before it comes :meth:`roll_back`.

        Args:
            error: what leaves the cell; None if it ended well.

        Returns:
            An error that must be shown although the cell ended well: steps that were not awaited, recorded steps
            that were not asked for (strict), or a journal that could not be written. Never raises.
        """
        if not self._open:
            return None
        extra: BaseException | None = self._unawaited() if error is None else None
        if error is None and extra is None:
            extra = self.journal.check_complete()
        if error is None and extra is None and self.journal.unwinding:
            extra = RollbackLostError(self.run.workflow, self.journal.undone())
            self.rollback.finished = True  # the next execution starts over
        interrupted = self._interrupt_running()
        ending = classify(self.journal, self.received, error or extra, self.claim.execution)
        if self.rollback.finished:
            ending = Ending(Outcome.FAILED, RunStatus.ROLLED_BACK, ending.changes)
        self._open = False
        with self.guard.shield():
            failed = self._write_end(ending, interrupted)
        self.executor.close()
        self.describer.forget()
        if self.bus:
            self.bus.emit(ExecutionEnded(self.run, ending.outcome, self.clock.time()))
        return extra or failed

    def _write_end(self, ending: Ending, interrupted: Sequence[Entry]) -> BaseException | None:
        changes = {entry.seq: entry for entry in (*interrupted, *ending.changes)}
        try:
            for group in list(self.groups):  # a map that the cell left running (gather): what it finished is kept
                group.flush()
            self.save_unsaved()
            self.store.end(
                self.claim, ending.outcome, ending.status, tuple(changes.values()),
                now=self.clock.time(), used=self.journal.used,
            )  # fmt: skip
        except StoreError as error:
            return error
        finally:
            for group in list(self.groups):
                group.close()
            self.store.release(self.claim)
            if self._owns_store:
                self.store.close()
        return None

    def _unawaited(self) -> UnawaitedStepError | None:
        names = [call.name for call in self._calls.values() if not call.started]
        if names:
            return UnawaitedStepError(names)
        names = [call.name for call in self._calls.values() if call.is_left_running]
        return UnawaitedStepError(names, running=True) if names else None

    def _interrupt_running(self) -> list[Entry]:
        """No step outlives its execution: those still under way (siblings of a gather that failed) are stopped."""
        stopped = []
        for call in list(self._calls.values()):
            if call.started:
                call.cancel()
                for entry in map(self._known, call.seqs):
                    if entry is not None and entry.status is EntryStatus.RUNNING and not entry.at_most_once:
                        attempts = entry.attempts - (0 if entry.ended_at is not None else 1)
                        stopped.append(entry._replace(status=EntryStatus.INTERRUPTED, attempts=max(0, attempts)))
        self._calls.clear()
        for entry in stopped:
            self.journal.put(entry)
        return stopped

    def _known(self, seq: int) -> Entry | None:
        try:
            return self.journal.get(seq)
        except KeyError:
            return None

    @property
    def outcome_of_last(self) -> Outcome | None:
        """How the execution before this one ended; None if this is the first."""
        return self.claim.previous
