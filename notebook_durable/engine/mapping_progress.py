"""Says how far a map has come: one event at a time for all of its items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.mapping_items import Item
from notebook_durable.events import MapProgress
from notebook_durable.render import error_text

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["Progress"]

#: Seconds between two events.
_SELDOM = 0.1
_ERRORS = 3


class Progress:
    """Counts the items of one map.

    Args:
        session: the execution.
        name: of the map.
        items: all of them.

    Attributes:
        done, failed, replayed, saved, reason, seq: see ``MapProgress``.
    """

    def __init__(self, session: Session, name: str, items: list[Item]) -> None:
        self._s, self._name, self._total = session, name, len(items)
        self.seq = items[0].place.seq if items else -1
        self._recorded = sum(1 for item in items if item.match.entry is not None)
        self._started_at = session.clock.time()
        self._told = session.clock.monotonic()
        self._errors: dict[str, str] = {}
        self._listens = bool(session.bus)
        self.done = self.failed = self.replayed = 0
        self.saved = 0.0
        self.reason = ""

    def note(self, item: Item, error: Mapping[str, Any] | None) -> None:
        """Keep the first errors."""
        if len(self._errors) < _ERRORS or item.label in self._errors:
            self._errors[item.label] = error_text(error)

    def mended(self, item: Item) -> None:
        """Let go of the error of an item that gave a value in the end."""
        self._errors.pop(item.label, None)

    def tell(self, running: int, waiting: int, due: float | None = None, *, rests: bool = False) -> None:
        """Tell it, if there is time for that.

        Args:
            running, waiting: how many items are under way, and wait for their next attempt.
            due: monotonic time of the first of these attempts.
            rests: nothing else is to be done; told at once.
        """
        clock = self._s.clock
        if self._listens and (rests or clock.monotonic() - self._told >= _SELDOM):
            until = 0.0 if due is None else clock.time() + max(0.0, due - clock.monotonic())
            self._emit(running, waiting, "waiting" if rests else "running", until)

    def begin(self) -> None:
        """Tell the beginning."""
        if self._listens:
            self._emit(0, 0, "running")

    def end(self, state: str) -> None:
        """Tell the end."""
        if self._listens:
            self._emit(0, 0, state)

    def _emit(self, running: int, waiting: int, state: str, until: float = 0.0) -> None:
        self._told = self._s.clock.monotonic()
        self._s.bus.emit(
            MapProgress(
                self._s.run, self._name, self.done, self.failed, self.replayed, running, self._total,
                self._s.clock.time(), self.seq, waiting, self._recorded, self.saved, self._started_at,
                tuple(self._errors.items()), self.reason, state, until,
            )
        )  # fmt: skip
