"""One map under way: which item is next, what came of each, and what is written. Drivers call the function."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from notebook_durable.engine import failures
from notebook_durable.engine.controls import Request, together
from notebook_durable.engine.effects import Begin
from notebook_durable.engine.mapping_commit import Commits
from notebook_durable.engine.mapping_items import Item, MapSpec
from notebook_durable.engine.mapping_progress import Progress
from notebook_durable.engine.mapping_results import Results
from notebook_durable.errors import NotStorableError, OutcomeUnknownError, TerminalError
from notebook_durable.model import Ask, Entry, EntryStatus, Failure, StepKey

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["MapRun"]

#: Looking for changes may take one part in so many of the time.
_SELDOM = 20


class MapRun:
    """The items of one map that have to run.

    Args:
        session: the execution.
        spec: the map.
        items: those that run, in order.
        values: the result; replayed values are in it already.
        results: makes their entries.
        progress: tells how far it has come.
    """

    def __init__(
        self,
        session: Session,
        spec: MapSpec,
        items: Sequence[Item],
        values: list[Any],
        results: Results,
        progress: Progress,
    ) -> None:
        self.session = session
        self.spec = spec
        self.values = values
        self.results = results
        self._progress = progress
        self._clock = session.clock
        self._policy = spec.step.policy
        self._ready = deque(items)
        self._waiting: list[tuple[float, Item]] = []
        self._running: dict[int, Item] = {}
        #: Where attempts are counted, each is written down before it begins: a dead kernel's count. Else only what
        #: finished is written: an item that was under way runs again.
        policy = spec.step.policy
        self.counts = (
            policy.max_attempts is not None or policy.max_retry_duration is not None or spec.step.options.at_most_once
        )
        self.commits = Commits(session)
        #: The first failure, which ends the map.
        self.failure: tuple[Item, BaseException] | None = None
        self.effects: list[Entry] = []
        #: Those that gave a value since it was last looked whether calls change what they share.
        self._unchecked: list[Item] = []
        self._looked_at = self._looking_takes = 0.0
        self._stops = session.guard.stops

    # -- what is next

    @property
    def waits(self) -> bool:
        """True if items wait for their next attempt, and the map goes on."""
        return bool(self._waiting) and self.failure is None

    def next(self) -> Item | None:
        """Take the next item that can begin now; None if there is none."""
        if self.failure is not None:
            return None
        waiting = self._waiting
        if waiting and waiting[0][0] <= self._clock.monotonic():
            self.commits.flush()  # its failed attempt must be on disk before the next one begins
            return heapq.heappop(waiting)[1]
        return self._ready.popleft() if self._ready else None

    def back(self, items: Sequence[Item]) -> None:
        """Take back items that were handed out and have not begun."""
        for item in reversed(items):
            self._undo_begin(item)
            self._ready.appendleft(item)

    @property
    def is_stopping(self) -> bool:
        """True if Stop was asked for since the map began."""
        return self.session.guard.stops > self._stops

    def check(self) -> None:
        """Commit what is due, say how far it is, and obey a Stop after this step.

        Raises:
            KeyboardInterrupt, CancelledError: as Stop does.
            StoreError: if the disk refuses what was finished before: no more is begun then.
        """
        self.commits.check()
        self._progress.tell(len(self._running), len(self._waiting), self._waiting[0][0] if self._waiting else None)
        if self._ready or self._waiting:  # else the cell gets what is finished, as from a step
            self.session.save_unsaved()
        self.session.stop_if_asked_between()

    @property
    def pause(self) -> float:
        """Seconds that a driver may wait for running items, at most."""
        pauses = [0.5]
        if self._waiting:
            pauses.append(max(0.0, self._waiting[0][0] - self._clock.monotonic()))
        due = self.commits.pause
        if due is not None:
            pauses.append(due)
        return min(pauses)

    def wait(self) -> None:
        """Wait until the first of the waiting items is due; nothing else is to be done."""
        item, delay = self._rest()
        with self.session.controls.waiting(item.place.seq, together(self._progress.seq)) as waiter:
            self._clock.wait(waiter, delay, self.session.look_into_mailbox)
            self._obey(item, waiter.take())

    async def wait_async(self) -> None:
        """As :meth:`wait`, on the loop."""
        item, delay = self._rest()
        with self.session.controls.waiting(item.place.seq, together(self._progress.seq)) as waiter:
            await self._clock.wait_async(waiter, delay, self.session.look_into_mailbox)
            self._obey(item, waiter.take())

    def _rest(self) -> tuple[Item, float]:
        self.commits.flush()
        due, item = self._waiting[0]
        self._progress.tell(0, len(self._waiting), due, rests=True)
        return item, max(0.0, due - self._clock.monotonic())

    def _obey(self, item: Item, requests: Sequence[Request]) -> None:
        """Somebody asked something of a waiting item, or of all of them together."""
        for request in requests:
            meant = {one for _, one in self._waiting} if request.together else {item}
            if request.ask is Ask.RETRY:
                self._waiting = [(0.0 if one in meant else due, one) for due, one in self._waiting]
                heapq.heapify(self._waiting)
            elif request.ask is Ask.GIVE_UP:
                reason = f"by hand{f': {request.text}' if request.text else ''}"
                for one in sorted(meant):
                    if self.failure is None:  # else it ended the map: the others are left for next time
                        self._end_by_hand(one, reason)
                return

    def _end_by_hand(self, item: Item, reason: str) -> None:
        """Somebody has given a waiting item up."""
        self._waiting = [(due, one) for due, one in self._waiting if one is not item]
        heapq.heapify(self._waiting)
        last = RuntimeError("given up")
        if item.history:
            last = RuntimeError(str(item.history[-1].error.get("message", "")))
        with self.session.guard.shield():
            self._give_up(item, self._terminal(item, reason, last), Failure.TERMINAL, 0.0)

    # -- one item

    def begin(self, item: Item) -> bool:
        """An attempt begins. False if the item has none left: then it has failed."""
        clock = self._clock
        item.began, item.started_at = clock.monotonic(), clock.time()
        if item.first is None:
            item.first = item.began
            if item.attempts and self._is_used_up(item):
                return False
        item.attempts += 1
        self._running[item.index] = item
        if self.counts:
            entry = self.results.state(item, EntryStatus.RUNNING)
            with self.session.guard.shield():
                item.written = entry
                self.session.begin(Begin(entry, entry.at_most_once))
        return True

    def _undo_begin(self, item: Item) -> None:
        if self._running.pop(item.index, None) is not None:
            item.attempts -= 1
            if item.first == item.began:
                item.first = None

    def _is_used_up(self, item: Item) -> bool:
        """After a restart: the attempts that dead kernels made count, so there may be none left."""
        reason = self._policy.exhausted(item.attempts, item.spent)
        if not reason:
            return False
        final = TerminalError(
            f"item '{item.label}' of ctx.map('{self.spec.step.name}') has no attempt left ({reason}): attempt "
            f"{item.attempts} was cut off when its kernel died. Run the cell again to give it a new budget."
        )
        self._give_up(item, final, Failure.TERMINAL, 0.0)
        return True

    def succeeded(self, item: Item, value: Any, duration: float | None = None, started_at: float | None = None) -> None:
        """An attempt gave a value."""
        clock = self._clock
        now = clock.monotonic()
        if duration is None:
            duration = now - item.began
        else:
            item.started_at = started_at or item.started_at
        spent = item.spent + now - item.first if item.history or item.spent else duration  # type: ignore[operator]
        if time.monotonic() - self._looked_at >= _SELDOM * self._looking_takes:
            self.look_for_changes()
        entry, extra, given = self.results.value(item, value, item.started_at + duration, duration, spent)
        self._running.pop(item.index, None)
        self._put(entry)
        self.commits.add((entry, None, extra))
        self.values[item.index] = given
        if entry.status is EntryStatus.SUCCEEDED and not self.results.changed:
            self._unchecked.append(item)
        item.written = entry if entry.payload is None or entry.size < 4096 else entry._replace(payload=None, buffers=())
        self._progress.done += 1
        if item.history:
            self._progress.mended(item)
        if entry.value_type == "NoneType":
            self.effects.append(item.written)
        if entry.status is EntryStatus.UNSTORABLE and self.session.strict:
            self._fail_with(
                item, NotStorableError(entry.value_type or type(value).__qualname__, "", entry.note, item.label)
            )

    def look_for_changes(self) -> None:
        """Look whether calls changed what they share: those since the last look don't replay then, as for a step.

        Looking costs time where they share much, so it isn't done after each call. What ended before a look that found
        nothing is clean, whatever comes later.
        """
        if self.results.changed:
            return
        began = time.monotonic()
        self.results.look_for_changes()
        self._looked_at = time.monotonic()
        self._looking_takes = self._looked_at - began
        items, self._unchecked = self._unchecked, []
        if not self.results.changed:
            return
        note = f"changed its input {', '.join(f'`{name}`' for name in self.results.changed)}: return it"
        for item in items:
            if item.written is not None:
                entry = item.written._replace(
                    status=EntryStatus.IMPURE, note=note, serializer="", payload=None, buffers=(), value_type="",
                    size=0, libraries="",
                )  # fmt: skip
                self._put(entry)
                self.commits.add((entry, None, None))

    def failed(
        self, item: Item, error: Exception, duration: float | None = None, started_at: float | None = None
    ) -> None:
        """An attempt failed: plan the next one, or give the item up.

        Raises:
            KeyboardInterrupt: if ``on_stop`` made it fail: that is Stop, and no failed attempt.
        """
        if self.spec.step.options.on_stop is not None and self.is_stopping:
            raise KeyboardInterrupt from error
        clock = self._clock
        now = clock.monotonic()
        self._running.pop(item.index, None)
        if started_at is not None:
            item.started_at = started_at
        duration = now - item.began if duration is None else duration
        spent = item.spent + now - (item.began if item.first is None else item.first)
        decision = self._policy.decide(item.attempts, spent, error)
        if isinstance(error, (StopIteration, StopAsyncIteration)):  # it would end whoever iterates over us
            made = RuntimeError(f"item '{item.label}' raised {type(error).__name__}")
            made.__cause__ = error
            error = made
        entry = self.results.state(item, EntryStatus.RUNNING, spent=spent)
        hide = self.results.hide_of(item)
        attempt = failures.attempt_of(entry, error, item.started_at, duration, decision.delay, hide)
        item.history = [*(item.history or ()), attempt]
        self._progress.note(item, attempt.error)
        if decision.delay is None:
            final: Exception = error
            if not decision.fatal and not isinstance(error, TerminalError):
                final = self._terminal(item, decision.reason, error)
            else:
                error.add_note(f"in item '{item.label}' of ctx.map('{self.spec.step.name}')")
            self._give_up(item, final, Failure.FATAL if decision.fatal else Failure.TERMINAL, duration)
            return
        entry = entry._replace(ended_at=clock.time(), duration=duration, error=attempt.error)
        item.written = entry
        self._put(entry)
        self.commits.add((entry, attempt, None))
        heapq.heappush(self._waiting, (now + decision.delay, item))

    def lost(self, item: Item) -> None:
        """The worker died in an ``at_most_once`` item: its entry stays open, as if the kernel had died."""
        self._running.pop(item.index, None)
        run, key = self.session.run, str(StepKey(item.place.name, item.place.occurrence))
        error = OutcomeUnknownError(run.workflow, run.key, key, item.started_at)
        self._progress.failed += 1
        self._fail_with(item, error)

    def _terminal(self, item: Item, reason: str, error: Exception) -> TerminalError:
        name = item.label if item.key is None else f"{self.spec.step.name}: {item.key}"
        return failures.give_up(name, item.attempts, reason, error)

    def _give_up(self, item: Item, final: Exception, kind: Failure, duration: float) -> None:
        now = self._clock.monotonic()
        spent = item.spent + now - (now if item.first is None else item.first)
        entry = self.results.failure(item, final, kind, self._clock.time(), duration, spent)
        item.written = entry
        self._put(entry)
        attempt = item.history[-1] if item.history and item.history[-1].number == item.attempts else None
        self.commits.add((entry, attempt, None))
        self.effects.append(entry)  # half of what it does may be done
        self._progress.failed += 1
        self._fail_with(item, final)

    def _fail_with(self, item: Item, error: Exception) -> None:
        if self.spec.collect and not isinstance(error, NotStorableError):
            self.values[item.index] = error
            self.session.received.handed(item.place.seq, error)
        elif self.failure is None:
            self.failure = item, error

    def _put(self, entry: Entry) -> None:
        self.session.journal.put(entry if not entry.buffers else entry._replace(payload=None, buffers=()))

    # -- the end

    def stopped(self, error: BaseException) -> Item | None:
        """Stop, or a cancellation by the cell: record what was under way. Returns the item that stands for it."""
        cancelled = isinstance(error, asyncio.CancelledError) and self.session.guard.stops == self._stops
        running = sorted(self._running.values())
        stands: Item | None = None
        for item in running:
            self._cut_off(item, attempts=item.attempts - 1)
            if cancelled and stands is None:
                # One of them stands for all: it waits to be cancelled again when the cell is run anew.
                now = self._clock.monotonic()
                stands, spent = item, item.spent + now - (now if item.first is None else item.first)
                self._write(item, EntryStatus.CANCELLED, spent=spent)
        self._let_go(cancelled=stands)
        return stands

    def let_go(self) -> None:
        """The map ends by a failure: what waits, or has not begun, is for the next execution."""
        self._let_go(None)

    def _let_go(self, cancelled: Item | None) -> None:
        for _, item in self._waiting:
            self._write(item, EntryStatus.INTERRUPTED)
        for item in (*self._ready, *self._running.values()):
            if item.written is None and item is not cancelled:
                self.session.journal.give_back(item.place)
        for item in self._ready:  # was handed out, and has not begun
            if (
                item.written is not None
                and item.written.status is EntryStatus.RUNNING
                and item.written.ended_at is None
            ):
                self._write(item, EntryStatus.INTERRUPTED)
        self._waiting.clear()
        self._ready.clear()
        self._running.clear()

    def _cut_off(self, item: Item, attempts: int) -> None:
        """What Stop cuts short is no attempt."""
        item.attempts = attempts
        if item.written is not None and not (self.spec.step.options.at_most_once and self.counts):
            self._write(item, EntryStatus.INTERRUPTED)

    def _write(self, item: Item, status: EntryStatus, **more: Any) -> None:
        spent = item.spent if item.written is None else item.written.spent
        more.setdefault("spent", spent)
        entry = self.results.state(item, status, ended_at=self._clock.time(), **more)
        item.written = entry
        self._put(entry)
        self.commits.add((entry, None, None))
