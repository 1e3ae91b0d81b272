"""What the live output says: the steps of one execution as rows. Pure: events in, text and HTML out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from notebook_durable.events import (
    AttemptFailed,
    Event,
    ExecutionEnded,
    StepDamaged,
    StepEnded,
    StepReplayed,
    StepStarted,
    StoreFailed,
)
from notebook_durable.model import Entry, EntryStatus, Outcome, RunId
from notebook_durable.render import duration, error_text

__all__ = ["Panel", "retry_line"]

#: More replayed steps than this are told as one row, and so are steps that simply finished.
FOLD_AFTER = 20

_ICONS = {
    "done": "✓",
    "replayed": "↺",
    "running": "●",
    "waiting": "◔",
    "failed": "✗",
    "interrupted": "■",
    "cancelled": "■",
    "not storable": "⚠",
}
# JupyterLab's own colours, which follow its theme; the fallbacks are readable on white and on black.
_COLOURS = {
    "done": "var(--jp-success-color1, #2e9e46)",
    "replayed": "var(--jp-info-color1, #1990b8)",
    "running": "var(--jp-brand-color1, #2e8ae6)",
    "waiting": "var(--jp-warn-color1, #d97706)",
    "failed": "var(--jp-error-color1, #dc3545)",
    "interrupted": "var(--jp-warn-color1, #d97706)",
    "cancelled": "var(--jp-warn-color1, #d97706)",
    "not storable": "var(--jp-warn-color1, #d97706)",
}
_STATES = {
    EntryStatus.SUCCEEDED: "done",
    EntryStatus.FAILED: "failed",
    EntryStatus.INTERRUPTED: "interrupted",
    EntryStatus.CANCELLED: "cancelled",
    EntryStatus.UNSTORABLE: "not storable",
    EntryStatus.IMPURE: "done",
    EntryStatus.SUPERSEDED: "done",
    EntryStatus.RUNNING: "interrupted",  # of an at_most_once step: its outcome is unknown
}


@dataclass(slots=True)
class _Row:
    """One step as it is shown. Times are seconds since the epoch, durations seconds."""

    label: str
    state: str = "running"
    attempt: int = 1
    max_attempts: int | None = None
    since: float = 0.0
    spent: float = 0.0
    next_at: float = 0.0
    error: str = ""
    note: str = ""

    def took(self, now: float) -> float:
        if self.state in ("running", "waiting"):
            return self.spent + max(0.0, now - self.since)
        return self.spent

    def attempts(self) -> str:
        if self.max_attempts is not None and (self.attempt > 1 or self.state in ("running", "waiting", "failed")):
            return f"attempt {self.attempt} of {self.max_attempts}"
        return f"attempt {self.attempt}" if self.attempt > 1 else ""

    def remark(self, now: float) -> str:
        wait = f"next attempt in {duration(max(0.0, self.next_at - now))}" if self.state == "waiting" else ""
        return "; ".join(part for part in (self.error, wait, self.note) if part)

    @property
    def plain(self) -> bool:
        """True if there is nothing more to say than that it finished."""
        return self.state == "done" and not (self.note or self.error or self.attempt > 1)


class Panel:
    """The rows of one execution, kept up to date by its events.

    Args:
        run: what is executed.
    """

    def __init__(self, run: RunId) -> None:
        self.run = run
        self.rows: dict[int, _Row] = {}
        self.replayed = 0
        self.saved = 0.0
        self.outcome: Outcome | None = None
        #: About the cell itself, such as what the lint found; code in backticks.
        self.notes: tuple[str, ...] = ()
        self._replayed_rows: list[int] = []

    def apply(self, events: Iterable[Event]) -> None:
        """Take what happened, in order."""
        for event in events:
            kind = type(event)
            if kind is StepReplayed:
                self._replay(event.entry, event.note)  # type: ignore[attr-defined]
            elif kind is StepStarted:
                self._start(event)  # type: ignore[arg-type]
            elif kind is AttemptFailed:
                self._retry(event)  # type: ignore[arg-type]
            elif kind is StepEnded:
                self._end(event.entry)  # type: ignore[attr-defined]
            elif kind is StepDamaged:
                self._row(event.entry).note = event.reason  # type: ignore[attr-defined]
            elif kind is StoreFailed:
                self._row(event.entry).note = f"not saved yet: {event.reason}"  # type: ignore[attr-defined]
            elif kind is ExecutionEnded:
                self.outcome = event.outcome  # type: ignore[attr-defined]

    def _row(self, entry: Entry) -> _Row:
        row = self.rows.get(entry.seq)
        if row is None:
            row = self.rows[entry.seq] = _Row(str(entry.key), since=entry.started_at)
        return row

    def _replay(self, entry: Entry, note: str) -> None:
        self.replayed += 1
        self.saved += entry.spent
        if entry.status is not EntryStatus.SUCCEEDED:
            row = self._row(entry)
            row.state, row.spent, row.note = "replayed", entry.spent, f"{entry.status} last time"
            row.error = error_text(entry.error)
        elif self.replayed <= FOLD_AFTER or note:
            row = self._row(entry)
            row.state, row.spent, row.note = "replayed", entry.spent, note
            if not note:
                self._replayed_rows.append(entry.seq)
        elif self._replayed_rows:
            for seq in self._replayed_rows:
                self.rows.pop(seq, None)
            self._replayed_rows.clear()

    def _start(self, event: StepStarted) -> None:
        entry, row = event.entry, self._row(event.entry)
        row.state, row.attempt, row.max_attempts = "running", entry.attempts, event.max_attempts
        row.since, row.spent = entry.started_at, entry.spent
        if event.reason and event.reason != "new":
            row.note = event.reason

    def _retry(self, event: AttemptFailed) -> None:
        row = self._row(event.entry)
        row.state, row.attempt, row.max_attempts = "waiting", event.attempt.number, event.max_attempts
        row.next_at = event.next_at
        row.since, row.spent = event.entry.ended_at or row.since, event.entry.spent
        row.error = error_text(event.attempt.error)

    def _end(self, entry: Entry) -> None:
        row = self._row(entry)
        row.state, row.spent = _STATES[entry.status], entry.spent
        if entry.status is EntryStatus.FAILED:
            row.error = error_text(entry.error)
        if entry.note:
            row.note = entry.note

    # -- looking

    @property
    def active(self) -> bool:
        """True while a step runs or waits."""
        return any(row.state in ("running", "waiting") for row in self.rows.values())

    def waiting_since(self) -> float:
        """When the newest active step began, in seconds since the epoch; 0 if there is none."""
        return max((row.since for row in self.rows.values() if row.state in ("running", "waiting")), default=0.0)

    def summary(self) -> str:
        """Say it in one line: "4 replayed (saved 3 min 12 s), 1 run"."""
        parts = []
        if self.replayed:
            saved = f" (saved {duration(self.saved)})" if self.saved >= 0.05 else ""
            parts.append(f"{self.replayed:,} replayed{saved}")
        counts: dict[str, int] = {}
        for row in self.rows.values():
            if row.state != "replayed":
                word = "run" if row.state == "done" else row.state
                counts[word] = counts.get(word, 0) + 1
        order = ("run", "not storable", "running", "waiting", "failed", "interrupted", "cancelled")
        parts += [f"{counts[word]:,} {word}" for word in order if word in counts]
        return ", ".join(parts) or "no steps"

    def _shown(self) -> list[tuple[_Row | None, str]]:
        """Choose the rows to show; (None, text) stands for rows that were folded."""
        rows: list[tuple[_Row | None, str]] = []
        folded = self.replayed > FOLD_AFTER
        if folded:
            rows.append((None, f"{_ICONS['replayed']} {self.replayed:,} steps replayed"))
        plain = [seq for seq, row in self.rows.items() if row.plain]
        hidden = set(plain[:-FOLD_AFTER])
        if hidden:
            rows.append((None, f"{_ICONS['done']} {len(hidden):,} earlier steps done"))
        rows += [(row, "") for seq, row in self.rows.items() if seq not in hidden]
        return rows

    def text(self, now: float) -> str:
        """Write the panel as plain text, for terminals and files."""
        table = []
        for row, folded in self._shown():
            if row is None:
                table.append((folded, "", "", "", ""))
            else:
                label = f"{_ICONS[row.state]} {printable(row.label)}"
                remark = printable(row.remark(now))
                table.append((label, row.state, duration(row.took(now)), row.attempts(), remark))
        widths = [max((len(cells[i]) for cells in table if cells[1]), default=0) for i in range(4)]
        lines = [f"durable {printable(str(self.run))}: {self.summary()}"]
        for cells in table:
            padded = [cells[i].ljust(widths[i]) for i in range(4) if widths[i]]
            lines.append("  " + "  ".join([*padded, cells[4]]).rstrip())
        lines += [f"  {_NOTE} {printable(note)}" for note in self.notes]
        return "\n".join(lines)

    def html(self, now: float) -> str:
        """Write the panel as HTML without scripts or outside resources."""
        body = "".join(_html_row(row, folded, now) for row, folded in self._shown())
        return (
            '<div class="notebook-durable" style="font-size:var(--jp-ui-font-size1, 13px);line-height:1.5;'
            'border-left:3px solid var(--jp-border-color1, #bdbdbd);padding:2px 0 2px 10px;margin:2px 0">'
            f"<div><b>{escape(str(self.run))}</b> "
            f'<span style="color:var(--jp-ui-font-color2, #757575)">{escape(self.summary())}</span></div>'
            '<table style="border-collapse:collapse;margin:2px 0;font-variant-numeric:tabular-nums">'
            f"{body}</table>{''.join(map(_html_note, self.notes))}</div>"
        )

    def bundle(self, now: float) -> Mapping[str, Any]:
        """Both forms, as IPython displays them."""
        return {"text/plain": self.text(now), "text/html": self.html(now)}


_NOTE = "⚑"


def _html_note(note: str) -> str:
    marked = re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(note))
    return f'<div style="color:var(--jp-ui-font-color2, #757575)">{_NOTE} {marked}</div>'


_CELL = "border:0;background:none;text-align:left;vertical-align:top;padding:0 14px 0 0"
_LABEL = "white-space:nowrap;max-width:30em;overflow:hidden;text-overflow:ellipsis"


def _html_row(row: _Row | None, folded: str, now: float) -> str:
    if row is None:
        faint = "color:var(--jp-ui-font-color2, #757575)"
        return f'<tr style="background:none"><td colspan="5" style="{_CELL};{faint}">{escape(folded)}</td></tr>'
    colour = _COLOURS[row.state]
    number = f"{_CELL};text-align:right;white-space:nowrap;font-family:var(--jp-code-font-family, monospace)"
    return (
        '<tr style="background:none">'
        f'<td style="{_CELL};{_LABEL}"><span style="color:{colour}">{_ICONS[row.state]}</span> {escape(row.label)}</td>'
        f'<td style="{_CELL};white-space:nowrap;color:{colour}">{escape(row.state)}</td>'
        f'<td style="{number}">{escape(duration(row.took(now)))}</td>'
        f'<td style="{_CELL};white-space:nowrap">{escape(row.attempts())}</td>'
        f'<td style="{_CELL}">{escape(row.remark(now))}</td></tr>'
    )


def printable(text: str) -> str:
    """Show control characters instead of sending them: a terminal obeys escape sequences in names and errors."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def retry_line(event: AttemptFailed) -> str:
    """Say in one line that a step waits, where nothing can be updated in place."""
    of = "" if event.max_attempts is None else f" of {event.max_attempts}"
    return printable(
        f"durable {event.run}: step '{event.entry.key}': attempt {event.attempt.number}{of} failed "
        f"({error_text(event.attempt.error)}); next in {duration(event.attempt.delay or 0.0)}"
    )
