"""The nouns of the journal. Plain frozen data: no behaviour beyond names and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from notebook_durable.errors import ConfigurationError

__all__ = [
    "LEFT_WITHOUT",
    "SAME_SOURCE",
    "Ask",
    "Attempt",
    "Claim",
    "Entry",
    "EntryStatus",
    "ExecutionInfo",
    "Extra",
    "Failure",
    "Message",
    "Outcome",
    "Owner",
    "Payload",
    "RunId",
    "RunInfo",
    "RunStatus",
    "StepCode",
    "StepKey",
    "error_record",
]

_LONGEST_NAME = 200

#: Stands for the source text of the entry with the same name and the occurrence before.
SAME_SOURCE = "="

#: Begins the note of an ``at_most_once`` entry that was moved without its value, which counts as open then.
LEFT_WITHOUT = "its value was "


class EntryStatus(StrEnum):
    """Where a step stands in the journal."""

    RUNNING = "running"  #: an attempt, or a wait between two, is under way (or its kernel died in it)
    SUCCEEDED = "succeeded"  #: has a value, which replays
    FAILED = "failed"  #: ended with an error, see :class:`Failure`
    INTERRUPTED = "interrupted"  #: Stop; goes on at the next execution
    CANCELLED = "cancelled"  #: cancelled by the cell itself (a timeout, a TaskGroup), which the cell survived
    UNSTORABLE = "unstorable"  #: finished, but the value can't be written; runs again after a restart
    IMPURE = "impure"  #: finished, but it changed its input, which a replay would not; runs again next time
    SUPERSEDED = "superseded"  #: has a value that replays no more (too old, rewound ...); kept as history


class Failure(StrEnum):
    """What kind of failure ended a step."""

    NONE = ""
    TERMINAL = "terminal"  #: TerminalError, raised by the step or at the end of its retries; replays
    FATAL = "fatal"  #: the user's own exception of a kind that is never retried; doesn't replay


class Outcome(StrEnum):
    """How an execution ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    KILLED = "killed"  #: its kernel died; found out by the next one


class RunStatus(StrEnum):
    """Where a run stands, after its last execution."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ROLLED_BACK = "rolled_back"  #: a rollback finished and its error left the cell: the next execution starts over


@dataclass(frozen=True, slots=True)
class RunId:
    """Names one run: the workflow and its key ("" for the only one).

    Raises:
        ConfigurationError: if a name is empty, longer than 200 characters, or has control characters in it.
    """

    workflow: str
    key: str = ""

    def __post_init__(self) -> None:
        check_name(self.workflow, "a workflow's name")
        if self.key != "":
            check_name(self.key, "a key")

    def __str__(self) -> str:
        return self.workflow if not self.key else f"{self.workflow}[{self.key}]"


def check_name(name: object, what: str) -> str:
    """Return ``name`` if it can name something in the journal.

    Raises:
        ConfigurationError: naming ``what`` and the reason.
    """
    if not isinstance(name, str):
        raise ConfigurationError(f"{what} must be text, not {type(name).__name__}: {name!r:.80}")
    if not name.strip():
        raise ConfigurationError(f"{what} must not be empty")
    if len(name) > _LONGEST_NAME:
        raise ConfigurationError(f"{what} has {len(name)} characters; {_LONGEST_NAME} is the most: {name[:40]!r}...")
    if not name.isprintable():
        raise ConfigurationError(f"{what} must not contain line breaks or control characters: {name!r}")
    return name


@dataclass(frozen=True, slots=True)
class StepKey:
    """Finds a step of a run: its name and its order among the calls of that name, from 0."""

    name: str
    occurrence: int = 0

    def __str__(self) -> str:
        return self.name if not self.occurrence else f"{self.name} #{self.occurrence + 1}"


class Payload(NamedTuple):
    """A value as bytes, with the name of the serializer that can read them.

    Attributes:
        serializer: its name.
        data: the bytes; of the serializer "dill" a pickle.
        value_type: module.qualname of the value's class.
        buffers: the out-of-band buffers of the pickle (PEP 574), in order: contiguous, bytes-like, not copies.
        libraries: versions of the libraries whose classes are in it: "numpy 2.1.0, pandas 2.2.3"; "" if none.
    """

    serializer: str
    data: bytes
    value_type: str = ""
    buffers: tuple[Any, ...] = ()
    libraries: str = ""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.data) + sum(memoryview(buffer).nbytes for buffer in self.buffers)


class StepCode(NamedTuple):
    """What a step computes from, as far as it is known.

    Attributes:
        source: in entries without a fingerprint: source text of the step's function; :data:`SAME_SOURCE` if it is that
            of the occurrence before.
        inputs: the parts of the fingerprint, see ``parts.Parts`` (may be "").
        fingerprint: digest of code and inputs together (may be "").
        version: of the fingerprint's definition; 0: not fingerprinted.
    """

    source: str = ""
    inputs: str = ""
    fingerprint: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a step's function that failed, or was interrupted.

    Attributes:
        seq: the entry it belongs to.
        budget: which retry budget of that entry, from 0; coming back to a failed cell opens a new one.
        number: its number in the budget, from 1.
        started_at, duration: seconds since the epoch; seconds.
        error: see :func:`error_record`.
        delay: seconds waited after it, None if it was the last.
    """

    seq: int
    budget: int
    number: int
    started_at: float
    duration: float
    error: Mapping[str, Any]
    delay: float | None = None


def error_record(error: BaseException, traceback_text: str = "") -> dict[str, Any]:
    """Describe an exception as plain JSON: ``type`` (module.qualname), ``message``, ``traceback``."""
    cls = type(error)
    module = "" if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}."
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001  the user's own __str__
        message = f"<{type(broken).__name__} in __str__ of {cls.__qualname__}>"
    return {"type": f"{module}{cls.__qualname__}", "message": message, "traceback": traceback_text}


class Entry(NamedTuple):
    """The record of one step in a run's journal.

    A named tuple and no dataclass like the rest: 10,000 of them are made before a long run replays, and a frozen
    dataclass of 24 fields takes ten times as long to make. Changes: ``entry._replace(...)``.

    Attributes:
        seq: its number in the run, in the order in which steps were first called, from 0.
        name, occurrence: see :class:`StepKey`.
        execution: the execution that last worked on it, from 1.
        budget: which retry budget it is in, from 0.
        attempts: calls begun in this budget.
        spent: seconds since the first attempt of this budget began, without the time in which no kernel ran; as of
            the last write.
        started_at, ended_at: seconds since the epoch.
        duration: seconds that the call which gave the value took.
        serializer, payload, value_type: the value of a succeeded step; the exception of a failed one.
        error: of a failed step, see :func:`error_record`; a TerminalError's ``status_code`` and ``metadata`` too.
        left: of a failed step: its error left the cell, so the next execution tries it again.
        survived: of a failed step: the cell went on after it, so its failure replays.
        rollback_of: seq of the failure after which the cell began this step; None for ordinary steps.
        at_most_once: the step must not be called again after a crash inside it.
        note: for people, such as why the value can't be stored.
        code: what the step computes from.
        buffers: of a value that is being written: see :class:`Payload`. Never read back with the entry.
        size: bytes of its value, also where they were not read.
        blob: where the value lies if not in the row: a text that only the store reads; "" otherwise.
        libraries: see :class:`Payload`.
        intact: False if the row failed its authenticity check on reading; then only name and seq are to be used.
    """

    seq: int
    name: str
    occurrence: int
    status: EntryStatus
    execution: int = 0
    budget: int = 0
    attempts: int = 0
    spent: float = 0.0
    started_at: float = 0.0
    ended_at: float | None = None
    duration: float = 0.0
    serializer: str = ""
    payload: bytes | None = None
    value_type: str = ""
    error: Mapping[str, Any] | None = None
    failure: Failure = Failure.NONE
    left: bool = False
    survived: bool = False
    rollback_of: int | None = None
    at_most_once: bool = False
    note: str = ""
    code: StepCode = StepCode()
    intact: bool = True
    buffers: tuple[Any, ...] = ()
    size: int = 0
    blob: str = ""
    libraries: str = ""

    @property
    def key(self) -> StepKey:
        return StepKey(self.name, self.occurrence)

    @property
    def has_value(self) -> bool:
        """Tell whether there is a value, wherever it lies; the exception of a failed step is none."""
        return not self.failure and (self.payload is not None or bool(self.blob) or self.size > 0)

    @property
    def value_size(self) -> int:
        """Bytes of its value, wherever they lie; rows of formats 1 to 3 don't say it."""
        return self.size or len(self.payload or b"")

    def with_value(self, payload: Payload) -> Entry:
        """Return this entry as it is to be written with a value."""
        return self._replace(
            serializer=payload.serializer,
            payload=payload.data,
            value_type=payload.value_type,
            buffers=payload.buffers,
            size=payload.size if payload.buffers else len(payload.data),
            blob="",
            libraries=payload.libraries,
        )

    def without_value(self) -> Entry:
        """Return this entry as it is when its bytes are given up."""
        return self._replace(payload=None, buffers=(), size=0, blob="", libraries="")


@dataclass(frozen=True, slots=True)
class Extra:
    """What is kept beside an entry for people to look at. No replay needs it.

    Attributes:
        preview: of the value, as JSON text (see ``previews``); "" if there is none.
        outputs: what the step printed and displayed: a JSON list of outputs as in nbformat; "" if there was nothing.
    """

    preview: str = ""
    outputs: str = ""

    def __bool__(self) -> bool:
        return bool(self.preview or self.outputs)


class Ask(StrEnum):
    """What people can ask of a run while it is executed."""

    RETRY = "retry"  #: try a waiting step again now; wake a sleeping one
    GIVE_UP = "give up"  #: end a waiting step with a TerminalError
    PAUSE = "pause"  #: let a waiting step wait until it is resumed
    RESUME = "resume"
    STOP = "stop"  #: end the execution before its next step begins
    ANSWER = "answer"  #: resolve a promise
    REJECT = "reject"  #: end a promise with a TerminalError


@dataclass(frozen=True, slots=True)
class Message:
    """Something asked of a run from outside of its kernel.

    Attributes:
        id: its number in the store; 0 if it was not posted yet.
        seq: the entry that it is for; of ``Ask.STOP`` the number of the execution.
        payload: the answer to a promise.
        text: why, for people.
        at: seconds since the epoch.
    """

    id: int
    seq: int
    ask: Ask
    payload: Payload | None = None
    text: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that executes a run.

    Attributes:
        pid, host: as the system names them.
        boot: identifies this start of the host ("" if the system doesn't tell).
        started: identifies this start of the process, since pids are used again ("" if unknown).
    """

    pid: int
    host: str
    boot: str = ""
    started: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write to a run, from ``Store.claim`` until ``Store.release``.

    Attributes:
        id: the run's number in its store.
        number: 1 for the first run of this workflow and key, then 2 ... as it is started over.
        epoch: counts the claims of this run; a commit with an older one is refused.
        execution: the number of this execution in the run, from 1.
        previous: how the execution before ended; None if this is the first.
    """

    id: int
    run: RunId
    number: int
    epoch: int
    execution: int
    owner: Owner
    previous: Outcome | None = None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as it is listed.

    Attributes:
        archived: True if a later run of the same workflow and key has replaced it.
        owner: who executes it now, None if nobody does.
        executions: how many there were.
        steps, finished: what it stands at, and how much of that succeeded.
        size: bytes of its values.
        entries: steps, with those that are history.
    """

    id: int
    run: RunId
    number: int
    status: RunStatus
    archived: bool
    created_at: float
    ended_at: float | None
    executions: int
    notebook: str | None
    owner: Owner | None
    steps: int
    finished: int
    size: int
    entries: int = 0


@dataclass(frozen=True, slots=True)
class ExecutionInfo:
    """One pass of the cell over a run, as it is listed.

    Attributes:
        number: from 1.
        started_at, ended_at: seconds since the epoch; the latter None if it runs, or its kernel died.
        used: the entries (by ``seq``) that its steps were, in the order of their calls, replayed ones too; None if the
            execution didn't come to write that down.
    """

    number: int
    started_at: float
    ended_at: float | None
    outcome: Outcome
    used: tuple[int, ...] | None = None
