"""Hands events to observers. What goes wrong in an observer is logged and never reaches a step."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from notebook_durable.events import (
    AttemptFailed,
    Event,
    MapProgress,
    StepDamaged,
    StepEnded,
    StoreFailed,
)
from notebook_durable.model import EntryStatus, RunId
from notebook_durable.protocols import Observer

__all__ = ["Bus", "LogObserver"]

_log = logging.getLogger("notebook_durable")


class Bus:
    """Fans events out, in order, on the calling thread."""

    __slots__ = ("_failed", "_observers")

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._failed: set[int] = set()

    def __bool__(self) -> bool:
        """False if nobody listens: then events need not be made."""
        return bool(self._observers)

    def emit(self, event: Event) -> None:
        for observer in self._observers:
            try:
                observer.notify(event)
            except Exception:  # noqa: BLE001  whatever an observer does, the step goes on
                # Said once for each: 10,000 steps must not flood the cell.
                level = logging.DEBUG if id(observer) in self._failed else logging.ERROR
                self._failed.add(id(observer))
                _log.log(level, "an observer of %s failed", event.run, exc_info=True)


class LogObserver:
    """Says on the logger ``notebook_durable`` what needs saying where there is no live output.

    Python prints warnings of an unconfigured logger to stderr, so a script's user sees why it waits.
    """

    def __init__(self) -> None:
        self._said: dict[tuple[RunId, int], int] = {}

    def notify(self, event: Event, /) -> None:
        if isinstance(event, MapProgress):
            self._say_errors(event)
        elif isinstance(event, AttemptFailed):
            error, of = event.attempt.error, "" if event.max_attempts is None else f" of {event.max_attempts}"
            _log.warning(
                "%s: step '%s': attempt %d%s failed (%s: %s); next in %.3g s",
                event.run, event.entry.key, event.attempt.number, of, error["type"], _first_line(error["message"]),
                event.attempt.delay or 0.0,
            )  # fmt: skip
        elif isinstance(event, StepDamaged):
            _log.warning("%s: step '%s': %s; running it again", event.run, event.entry.key, event.reason)
        elif isinstance(event, StoreFailed):
            _log.warning("%s: step '%s' is not saved yet: %s", event.run, event.entry.key, event.reason)
        elif isinstance(event, StepEnded) and event.entry.status is EntryStatus.UNSTORABLE:
            _log.warning("%s: step '%s': %s", event.run, event.entry.key, event.entry.note)

    def _say_errors(self, event: MapProgress) -> None:
        """Of a map the first errors are said, each once."""
        for label, error in event.errors[self._said.get((event.run, event.seq), 0) :]:
            _log.warning("%s: map '%s': item '%s' failed (%s)", event.run, event.name, label, error)
        self._said[event.run, event.seq] = len(event.errors)


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0][:200]
