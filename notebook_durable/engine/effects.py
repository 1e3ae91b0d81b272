"""What a step asks its driver to do. The flow decides, the driver acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from notebook_durable.model import Attempt, Entry, Extra
from notebook_durable.protocols import Recording

__all__ = ["Abandoned", "Begin", "Call", "Effect", "Record", "Sleep", "Wait"]


@dataclass(frozen=True, slots=True)
class Begin:
    """Write that an attempt begins; with ``wait``, wait for the disk.

    Before it, the texts that the entry names, and entries that don't replay any more from now on.
    """

    entry: Entry
    wait: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)
    superseded: Sequence[Entry] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """Call the step's function. The driver sends its result back, or throws what it raised.

    With ``hold``, Stop is held back from the function's return until its result is written: finished work is not lost.
    ``timeout`` (seconds) bounds the call; ``recording`` takes down what it prints and displays.
    """

    fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    on_stop: Callable[[], Any] | None = None
    hold: bool = True
    timeout: float | None = None
    recording: Recording | None = None
    owner: Any = None  # whose limit it is


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait ``delay`` seconds; nobody can change that."""

    delay: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait ``delay`` seconds (None: without end) for the next attempt, an answer, or a request for this entry.

    The driver sends back the requests (:class:`~notebook_durable.engine.controls.Request`) that ended it, oldest first;
    none if it was time.
    """

    seq: int
    delay: float | None


@dataclass(frozen=True, slots=True)
class Record:
    """Write an entry's new state, and with it a failed attempt, and what is kept for people."""

    entry: Entry
    attempt: Attempt | None = None
    extra: Extra | None = None


class Abandoned(BaseException):
    """GeneratorExit in a step. A generator that is thrown the real one may not yield any more."""


Effect = Begin | Call | Sleep | Wait | Record
