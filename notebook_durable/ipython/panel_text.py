"""The live output as plain text: for terminals, files, and beside the HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from notebook_durable.events import AttemptFailed
from notebook_durable.ipython.panel_row import ICONS, Row
from notebook_durable.render import duration, error_text, printable

__all__ = ["page", "retry_line"]

_NOTE = "⚑"


def page(head: str, folded: Iterable[tuple[str, str]], rows: Iterable[Row], notes: Sequence[str], now: float) -> str:
    """Write the panel.

    Args:
        head: its first line.
        folded: what stands for rows that are not shown.
        rows: the others.
        notes: lines about the cell itself.
        now: seconds since the epoch.
    """
    table = []
    for row in rows:
        label = f"{ICONS[row.state]} {printable(row.label)}"
        remark = printable(row.remark(now))
        if row.bar is not None:
            remark = f"{row.bar.drawn()} {remark}"
        table.append((label, row.state, row.took(now), row.attempts(), row.size(), remark))
    widths = [max((len(cells[i]) for cells in table), default=0) for i in range(5)]
    lines = [f"durable {printable(head)}"]
    lines += [f"  {ICONS.get(state, '…')} {text}" for state, text in folded]
    for cells in table:
        padded = [cells[i].ljust(widths[i]) for i in range(5) if widths[i]]
        lines.append("  " + "  ".join([*padded, cells[5]]).rstrip())
    lines += [f"  {_NOTE} {printable(note)}" for note in notes]
    return "\n".join(lines)


def retry_line(event: AttemptFailed) -> str:
    """Say in one line that a step waits, where nothing can be updated in place."""
    of = "" if event.max_attempts is None else f" of {event.max_attempts}"
    return printable(
        f"durable {event.run}: step '{event.entry.key}': attempt {event.attempt.number}{of} failed "
        f"({error_text(event.attempt.error)}); next in {duration(event.attempt.delay or 0.0)}"
    )
