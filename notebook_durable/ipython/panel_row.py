"""One step as the live output shows it: the same row for text, for HTML and for the widget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from notebook_durable.ipython.panel_map import Bar
from notebook_durable.model import Entry, EntryStatus, StepKey
from notebook_durable.question import Question
from notebook_durable.redact import redact
from notebook_durable.render import duration, size

__all__ = ["ACTIVE", "COLOURS", "ICONS", "STATES", "Row", "traceback_text"]

ICONS = {
    "done": "✓",
    "replayed": "↺",
    "running": "●",
    "waiting": "◔",
    "paused": "‖",
    "asking": "?",
    "sleeping": "☾",
    "failed": "✗",
    "interrupted": "■",
    "cancelled": "■",
    "not storable": "⚠",
}
# JupyterLab's own colours, which follow its theme; the fallbacks are readable on white and on black.
_WARN = "var(--jp-warn-color1, #d97706)"
COLOURS = {
    "done": "var(--jp-success-color1, #2e9e46)",
    "replayed": "var(--jp-info-color1, #1990b8)",
    "running": "var(--jp-brand-color1, #2e8ae6)",
    "waiting": _WARN,
    "paused": _WARN,
    "asking": "var(--jp-brand-color1, #2e8ae6)",
    "sleeping": "var(--jp-info-color1, #1990b8)",
    "failed": "var(--jp-error-color1, #dc3545)",
    "interrupted": _WARN,
    "cancelled": _WARN,
    "not storable": _WARN,
}
STATES = {
    EntryStatus.SUCCEEDED: "done",
    EntryStatus.FAILED: "failed",
    EntryStatus.INTERRUPTED: "interrupted",
    EntryStatus.CANCELLED: "cancelled",
    EntryStatus.UNSTORABLE: "not storable",
    EntryStatus.IMPURE: "done",
    EntryStatus.SUPERSEDED: "done",
    EntryStatus.RUNNING: "interrupted",  # of an at_most_once step: its outcome is unknown
}
#: States that time goes on in.
ACTIVE = frozenset(("running", "waiting", "paused", "asking", "sleeping"))

_UNTIL = {"waiting": "next attempt in", "sleeping": "wakes in", "asking": "waits for another"}
_LONGEST_TRACEBACK = 20_000  # characters; a recursion's has a million
_LEAST_SAVED = 0.05  # seconds; less is not worth telling


@dataclass(slots=True)
class Row:
    """One step as it is shown. Times are seconds since the epoch, durations seconds.

    Attributes:
        since: when the time that is still going on began; ``spent`` is what went before.
        until: when the present wait ends by itself; 0: it doesn't.
        note: why it ran again, and what else is to be known.
        count: bytes of its value, None if there is none yet.
        bar: of a map: how far it has come; None for a single step.
    """

    seq: int
    name: str
    occurrence: int = 0
    state: str = ""
    attempt: int = 1
    max_attempts: int | None = None
    since: float = 0.0
    spent: float = 0.0
    until: float = 0.0
    error: str = ""
    traceback: str = ""
    note: str = ""
    count: int | None = None
    question: Question | None = None
    bar: Bar | None = None

    @property
    def label(self) -> str:
        """What it is called. Most rows of a loop are folded before anybody asks."""
        return str(StepKey(self.name, self.occurrence))

    def measure(self, entry: Entry) -> None:
        """Note the size of its value."""
        self.count = entry.value_size if entry.has_value and not entry.error else None

    def took(self, now: float) -> str:
        """Say how long it took so far, or what its replay saved."""
        if self.state == "replayed":
            return f"saved {duration(self.spent)}" if self.spent >= _LEAST_SAVED else ""
        return duration(self.spent + (max(0.0, now - self.since) if self.state in ACTIVE else 0.0))

    def attempts(self) -> str:
        """Say which attempt it is, where that is worth telling."""
        if self.state in ("asking", "sleeping"):
            return ""
        if self.max_attempts is not None and (self.attempt > 1 or self.state in ACTIVE or self.state == "failed"):
            return f"attempt {self.attempt} of {self.max_attempts}"
        return f"attempt {self.attempt}" if self.attempt > 1 else ""

    def size(self) -> str:
        """Say how large its value is."""
        return "" if self.count is None else size(self.count)

    def countdown(self, now: float) -> str:
        """Say how long it will go on waiting."""
        word = _UNTIL.get("waiting" if self.bar is not None else self.state)
        return f"{word} {duration(max(0.0, self.until - now))}" if word and self.until else ""

    def asks(self) -> str:
        """Return what it asks."""
        return redact(self.question.text) if self.state == "asking" and self.question is not None else ""

    def far(self) -> str:
        """Say how far a map has come."""
        return "" if self.bar is None else self.bar.said()

    def remark(self, now: float) -> str:
        """Say everything else, in one line."""
        return "; ".join(part for part in (self.far(), self.asks(), self.error, self.countdown(now), self.note) if part)

    @property
    def plain(self) -> bool:
        """True if there is nothing more to say than that it finished."""
        return self.state == "done" and not (self.note or self.error or self.attempt > 1 or self.bar is not None)

    def data(self) -> dict[str, Any]:
        """Return it for the widget, which lets the times tick by itself. What is empty is left out."""
        wide = {
            "seq": self.seq,
            "name": self.label,
            "state": self.state,
            "since": self.since if self.state in ACTIVE else 0,
            "spent": round(self.spent, 3),
            "until": self.until if self.state in _UNTIL or self.bar is not None else 0,
            "attempts": self.attempts(),
            "error": self.error,
            "traceback": self.traceback,
            "note": self.note,
            "size": self.size(),
            "far": self.far(),
            "bar": None if self.bar is None else [round(share, 1) for share in self.bar.shares()],
            "ask": _ask(self.question) if self.state == "asking" and self.question is not None else None,
        }
        return {name: value for name, value in wide.items() if value or name == "seq"}


def _ask(question: Question) -> dict[str, Any]:
    """Write a question as data; choices go with their JSON, which tells 1.0 from 1 and from "1"."""
    fields = [
        [name, "choice" if isinstance(first, list) else _kind(first), first] for name, first in question.form.items()
    ]
    return {
        "text": redact(question.text),
        "choices": [[json.dumps(one), one if isinstance(one, str) else json.dumps(one)] for one in question.choices],
        "form": fields,
    }


def _kind(first: Any) -> str:
    if isinstance(first, bool):
        return "flag"
    return "integer" if isinstance(first, int) else "number" if isinstance(first, float) else "text"


def traceback_text(error: Mapping[str, Any] | None) -> str:
    """Return the traceback of an error record, passwords hidden; of a very long one both ends."""
    text = redact(str((error or {}).get("traceback") or ""))
    if len(text) <= _LONGEST_TRACEBACK:
        return text
    half = _LONGEST_TRACEBACK // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
