"""A ``ctx.map`` as the live output shows it: one row with a bar for all items."""

from __future__ import annotations

from typing import NamedTuple

from notebook_durable.events import MapProgress
from notebook_durable.redact import redact

__all__ = ["Bar", "counted", "errors_of", "state_of"]

_CELLS = 16
_STATES = {"waiting": "waiting", "failed": "failed", "interrupted": "interrupted", "cancelled": "cancelled"}


class Bar(NamedTuple):
    """How far a map has come: numbers of items."""

    replayed: int = 0
    done: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    total: int = 0

    @classmethod
    def of(cls, event: MapProgress) -> Bar:
        """Take the numbers from an event."""
        return cls(event.replayed, event.done, event.failed, event.running, event.waiting, event.total)

    @property
    def finished(self) -> int:
        """Items that need no more work."""
        return self.replayed + self.done + self.failed

    def shares(self) -> tuple[float, float, float]:
        """Of the whole bar, in percent: replayed, done, failed."""
        whole = max(1, self.total)
        return (100 * self.replayed / whole, 100 * self.done / whole, 100 * self.failed / whole)

    def drawn(self) -> str:
        """The bar as text."""
        full = _CELLS * self.finished // max(1, self.total)
        return "▰" * full + "▱" * (_CELLS - full)

    def said(self) -> str:
        """The numbers in words: "8,000 of 10,000, 12 failed, 4 running"."""
        parts = [f"{self.finished:,} of {self.total:,}"]
        words = (
            (self.replayed, "replayed"), (self.failed, "failed"), (self.running, "running"), (self.waiting, "waiting"),
        )  # fmt: skip
        return ", ".join(parts + [f"{count:,} {word}" for count, word in words if count])


def state_of(event: MapProgress) -> str:
    """Return the state of the row."""
    if event.state == "done":
        return "replayed" if event.replayed == event.total else "done"
    return _STATES.get(event.state, "running")


def errors_of(event: MapProgress) -> str:
    """Say the first errors in a line."""
    return redact("; ".join(f"{label}: {error}" for label, error in event.errors))


def counted(event: MapProgress) -> dict[str, int]:
    """What the items add to the counts of the panel, by state of a row."""
    found = {"done": event.done, "failed": event.failed, "waiting": event.waiting}
    state = state_of(event)
    if state in ("running", "interrupted", "cancelled"):
        found[state] = 1
    return found
