"""What happens in an execution, as data. Observers (live output, logs, widgets) get these, in order."""

from __future__ import annotations

from dataclasses import dataclass

from notebook_durable.model import Attempt, Entry, Outcome, RunId
from notebook_durable.question import Question

__all__ = [
    "AttemptFailed",
    "Event",
    "ExecutionEnded",
    "ExecutionStarted",
    "MapProgress",
    "StepDamaged",
    "StepEnded",
    "StepReplayed",
    "StepStarted",
    "StepWaiting",
    "StoreFailed",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    run: RunId


@dataclass(frozen=True, slots=True)
class ExecutionStarted(Event):
    """The run was opened.

    Attributes:
        number: of the run, see ``Claim``.
        execution: from 1.
        previous: how the one before ended.
        recorded: how many entries the journal holds.
        at: seconds since the epoch.
    """

    number: int
    execution: int
    previous: Outcome | None
    recorded: int
    at: float


@dataclass(frozen=True, slots=True)
class StepStarted(Event):
    """An attempt begins.

    Attributes:
        entry: as it was written; ``entry.attempts`` is the number of this attempt.
        max_attempts: None: no limit.
        reason: why it runs instead of being replayed, for people: "new", "outcome unknown: running again" ...
    """

    entry: Entry
    max_attempts: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class StepReplayed(Event):
    """A recorded result was handed back. ``entry.spent`` is what that saved, in seconds.

    Attributes:
        note: what is to be known about it, such as a library that has another version now; mostly "".
    """

    entry: Entry
    note: str = ""


@dataclass(frozen=True, slots=True)
class StepDamaged(Event):
    """A recorded entry failed its check and will be computed anew."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """An attempt failed and another follows.

    Attributes:
        next_at: when it will begin, in seconds since the epoch.
    """

    entry: Entry
    attempt: Attempt
    max_attempts: int | None
    next_at: float


@dataclass(frozen=True, slots=True)
class StepWaiting(Event):
    """A step waits for something other than the next attempt that its policy planned.

    Attributes:
        entry: as it was written.
        kind: "paused" (by hand), "retry" (resumed: the countdown goes on), "answer" (a promise), "sleep".
        until: when the wait ends by itself, in seconds since the epoch; None: it doesn't.
        question: what is asked, if ``kind`` is "answer".
    """

    entry: Entry
    kind: str
    until: float | None = None
    question: Question | None = None


@dataclass(frozen=True, slots=True)
class StepEnded(Event):
    """A step came to its end in this execution: see ``entry.status``."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class MapProgress(Event):
    """How far a ``ctx.map`` has come: at its beginning, at most ten times a second, and at its end.

    There are no events for single items.

    Attributes:
        name: of the map.
        done: items that this execution has computed.
        failed: items that have failed for good, in this execution or (replayed) before.
        replayed: items whose recorded value was handed back.
        running: items under way.
        total: items in all.
        at: seconds since the epoch.
        seq: number of the first item's entry: tells maps of one name apart.
        waiting: items that wait for their next attempt.
        recorded: items that the journal knew when the map began.
        saved: seconds that the replayed ones took when they were recorded.
        started_at: when the map began, in seconds since the epoch.
        errors: of the first items that failed or wait after a failure: name of the item, and error in one line.
        reason: why items ran that were recorded before, for people.
        until: when the first of the waiting ones begins its next attempt, in seconds since the epoch; 0: none waits.
        state: "running", "waiting" (all that is left waits, and takes requests), "done", "failed" (an item's failure
            was raised), "interrupted" or "cancelled".
    """

    name: str
    done: int
    failed: int
    replayed: int
    running: int
    total: int
    at: float
    seq: int = 0
    waiting: int = 0
    recorded: int = 0
    saved: float = 0.0
    started_at: float = 0.0
    errors: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    state: str = "running"
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class StoreFailed(Event):
    """A write failed (a full disk, say). The value stays in memory and is written before the next step begins.

    Attributes:
        entry: what was to be written.
        reason: the error's message.
    """

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class ExecutionEnded(Event):
    """The cell or block was left.

    Attributes:
        at: seconds since the epoch.
    """

    outcome: Outcome
    at: float
