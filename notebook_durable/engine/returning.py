"""What an execution leaves behind for the next one (design section 4: what a run does when its cell is run again).

The cell receives a failure when ``ctx.run`` raises it. From what the cell does next follows whether it survived the
failure, is rolling back because of it, or is left by it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from notebook_durable.engine.journal import Journal
from notebook_durable.model import Entry, EntryStatus, Failure, Outcome, RunStatus
from notebook_durable.retry import DEFAULT_FATAL

__all__ = ["Ending", "Received", "classify"]

# The tasks that the current task was started from, itself last: a task inherits its parent's context.
_lineage: ContextVar[tuple[Any, ...]] = ContextVar("notebook_durable_lineage", default=())


def _current_lineage() -> tuple[Any, ...]:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    lineage = _lineage.get()
    if not lineage or lineage[-1] is not task:
        # Without those that have ended: a loop that lives for days must not keep each task it ever ran.
        lineage = (*(one for one in lineage if one is not None and not one.done()), task)
        _lineage.set(lineage)
    return lineage


@dataclass(slots=True, eq=False)
class _Delivery:
    """A failure or cancellation that ``ctx.run`` raised into the cell."""

    seq: int
    error: BaseException
    followed: bool = False  # the cell called a further step after it


class Received:
    """The failures that the cell has received in this execution, and what it did after each."""

    def __init__(self) -> None:
        self._by_error: dict[int, _Delivery] = {}
        # For each task that received one, or from which such a task was started: what it has not followed up yet, and
        # the failure that its next step follows.
        self._open: defaultdict[Any, list[_Delivery]] = defaultdict(list)
        self._latest: dict[Any, int] = {}

    def add(self, seq: int, error: BaseException) -> None:
        delivery = self._by_error[id(error)] = _Delivery(seq, error)  # it keeps the error alive, and so its id
        for task in _current_lineage():
            self._open[task].append(delivery)
            if not isinstance(error, asyncio.CancelledError):
                self._latest[task] = seq

    def handed(self, seq: int, error: BaseException) -> None:
        """Note a failure that the cell got as a value (``on_error="collect"``): it isn't handled by the next step."""
        self._by_error[id(error)] = _Delivery(seq, error, followed=True)

    def called(self, cleanup: bool) -> int | None:
        """A step is called now: return the seq of the failure that it follows, None if it follows none.

        It follows a failure if the calling task received it, or is one that the receiving task was started from, or
        is handling it. A sibling in a gather, under way when the failure came, is none of these.
        """
        task = _current_lineage()[-1]  # also if nothing failed yet: children of this task must know their parent
        if not self._by_error or cleanup:
            return None
        for delivery in self._open.pop(task, ()):
            delivery.followed = True
        latest = self._latest.get(task)
        handling = sys.exception()
        if handling is not None:
            for delivery in self.within(handling):
                delivery.followed = True
                latest = delivery.seq if latest is None else latest
        return latest

    def descends_from(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether the current task was started from ``task``, directly or not."""
        return task in _current_lineage()

    def within(self, error: BaseException) -> list[_Delivery]:
        """Return the deliveries that ``error`` carries, the one nearest to the surface first."""
        return [self._by_error[id(e)] for e in chain(error) if id(e) in self._by_error]

    def unfollowed(self) -> list[_Delivery]:
        return [delivery for delivery in self._by_error.values() if not delivery.followed]

    def seqs(self) -> set[int]:
        """Return the entries whose failure the cell has received."""
        return {delivery.seq for delivery in self._by_error.values()}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Walk an exception, what it was raised from or during, and what a group holds; each once."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        current = todo.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            todo.extend(current.exceptions)
        todo.extend((current.__cause__, current.__context__))


@dataclass(frozen=True, slots=True)
class Ending:
    """How an execution ended, and the entries that this changes."""

    outcome: Outcome
    status: RunStatus
    changes: tuple[Entry, ...] = ()


def is_stop(error: BaseException | None) -> bool:
    """Tell whether an error that leaves the cell is Stop, and no failure."""
    return error is not None and not isinstance(error, Exception)


def classify(journal: Journal, received: Received, error: BaseException | None, execution: int) -> Ending:
    """Apply the table of the design to the error that leaves the cell (None: it ended well)."""
    if error is None:
        return Ending(Outcome.COMPLETED, RunStatus.COMPLETED, _settle(journal, survived=False))
    if is_stop(error):
        changes = (*_stopped(journal, received, execution), *_settle(journal, survived=True))
        return Ending(Outcome.INTERRUPTED, RunStatus.INTERRUPTED, changes)
    causes = received.within(error)
    if not causes:  # the cell's own code
        return Ending(Outcome.FAILED, RunStatus.FAILED, _settle(journal, survived=False))
    if _rollback_finished(journal, error, causes):
        return Ending(Outcome.FAILED, RunStatus.ROLLED_BACK)
    retried = _retried(journal, received, causes)
    return Ending(Outcome.FAILED, RunStatus.FAILED, tuple(retried.values()) + _keep_rollback(journal, causes, retried))


def _stopped(journal: Journal, received: Received, execution: int) -> list[Entry]:
    """What Stop leaves in the middle: it goes on, or is tried again."""
    unfollowed = {delivery.seq for delivery in received.unfollowed()}
    delivered = received.seqs()
    changes = []
    for entry in journal.all():
        if entry.execution != execution or not entry.intact:
            continue
        left_open = entry.status is EntryStatus.RUNNING and not (entry.at_most_once and entry.ended_at is None)
        if left_open or (entry.status is EntryStatus.CANCELLED and entry.seq in unfollowed):
            changes.append(entry._replace(status=EntryStatus.INTERRUPTED))
        elif entry.status is EntryStatus.FAILED and entry.seq not in delivered:
            changes.append(entry._replace(left=True))  # Stop came between its failure and the cell
    return changes


def _settle(journal: Journal, *, survived: bool) -> tuple[Entry, ...]:
    """Set whether fatal failures replay: only while a rollback that they began is still open."""
    return tuple(
        entry._replace(survived=wanted)
        for entry in journal.all()
        if entry.status is EntryStatus.FAILED and entry.failure is Failure.FATAL
        if (wanted := survived and journal.has_rollback(entry.seq)) is not entry.survived
    )


def _rollback_finished(journal: Journal, error: BaseException, causes: list[_Delivery]) -> bool:
    if not any(journal.has_rollback(delivery.seq) for delivery in causes):
        return False
    if journal.get(causes[0].seq).rollback_of in {delivery.seq for delivery in causes[1:]}:
        return False  # a compensating step failed: the rollback was cut short
    # A typo between two compensations cut it short as well; `raise Other from failure` is how the cell reports one.
    typo = isinstance(error, DEFAULT_FATAL) and error.__cause__ is None and causes[0].error is not error
    return not typo


def _retried(journal: Journal, received: Received, causes: list[_Delivery]) -> dict[int, Entry]:
    """Entries that the next execution tries again: the failure that left the cell, and its unnoticed siblings."""
    open_rollback = {d.seq for d in causes if journal.has_rollback(d.seq)}
    deliveries = [d for d in causes if d.seq not in open_rollback] + received.unfollowed()
    changed: dict[int, Entry] = {}
    for delivery in deliveries:
        entry = journal.get(delivery.seq)
        if entry.status is EntryStatus.FAILED:
            changed[entry.seq] = entry._replace(left=True)
        elif entry.status is EntryStatus.CANCELLED:
            changed[entry.seq] = entry._replace(status=EntryStatus.INTERRUPTED)
    return changed


def _keep_rollback(journal: Journal, causes: list[_Delivery], retried: dict[int, Entry]) -> tuple[Entry, ...]:
    """A rollback that was cut short: the failure that began it must replay, also one that otherwise wouldn't."""
    began = {delivery.seq for delivery in causes}
    # A compensation outside the except block doesn't carry the failure along, but its entry names it.
    began |= {seq for d in causes if (seq := journal.get(d.seq).rollback_of) is not None}
    return tuple(
        entry._replace(survived=True)
        for entry in map(journal.get, sorted(began - retried.keys()))
        if entry.status is EntryStatus.FAILED and not entry.survived
    )
