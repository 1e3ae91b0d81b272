"""Runs and steps as rows, text and HTML. Pure: every name, error and type is data, and escaped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from notebook_durable.model import Entry, EntryStatus, RunInfo
from notebook_durable.parts import parts_from
from notebook_durable.question import question_from
from notebook_durable.redact import redact

__all__ = [
    "STEP_COLUMNS",
    "duration",
    "error_text",
    "first_line",
    "html_table",
    "printable",
    "run_label",
    "runs_html",
    "runs_text",
    "size",
    "step_record",
    "steps_html",
    "steps_text",
    "text_table",
    "when",
]

#: The columns of ``journal().to_frame()``.
STEP_COLUMNS = (
    "workflow", "key", "run", "step", "occurrence", "status", "attempts", "started", "ended", "duration", "spent",
    "serializer", "type", "size", "error", "note", "why", "execution", "current", "untracked", "fingerprint",
)  # fmt: skip


def duration(seconds: float) -> str:
    """Write a duration for people: "4 ms", "0.3 s", "41 s", "3 min 12 s", "2 h 05 min"."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """Write a number of bytes for people, in powers of 1000: "812 B", "1.4 MB"."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.{0 if value >= 99.5 else 1}f} {unit}"
    return f"{value / 1000:.1f} TB"


def first_line(text: str, longest: int = 100) -> str:
    """Return the first line of a text, cut with an ellipsis."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= longest else line[: longest - 1] + "…"


def when(timestamp: float | None) -> str:
    """Write a moment in local time, to the second; one that no clock shows, as only a forger writes it, as a number."""
    if timestamp is None:
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(timestamp))
    except (OverflowError, ValueError, OSError):
        return f"at {timestamp:g} s"


def error_text(error: Mapping[str, Any] | None) -> str:
    """Write an error record as "Type: first line", passwords hidden."""
    if not error:
        return ""
    message = first_line(redact(str(error.get("message", ""))))
    kind = str(error.get("type", "")).rpartition(".")[2]
    return f"{kind}: {message}" if message else kind


def step_record(run: RunInfo, entry: Entry, *, current: bool = True) -> dict[str, Any]:
    """Show an entry as plain values, by column.

    Args:
        run: the run it belongs to.
        entry: the entry.
        current: it is what its run stands at, and no history.
    """
    parts = parts_from(entry.code.inputs)
    return dict(
        zip(
            STEP_COLUMNS,
            (
                run.run.workflow, run.run.key, run.number, entry.name, entry.occurrence, str(entry.status),
                entry.attempts, entry.started_at or None, entry.ended_at, entry.duration, entry.spent,
                entry.serializer, entry.value_type, entry.value_size, error_text(entry.error), note(entry),
                redact(parts.why), entry.execution, current, ", ".join(parts.untracked), entry.code.fingerprint,
            ),
            strict=True,
        )
    )  # fmt: skip


def note(entry: Entry) -> str:
    """Say what is special about an entry."""
    if not entry.intact:
        return "damaged, or written with another key"
    if entry.status is EntryStatus.RUNNING and entry.ended_at is None and entry.at_most_once:
        return "running, or its kernel died: outcome unknown"
    if entry.status in (EntryStatus.RUNNING, EntryStatus.INTERRUPTED):
        asked = question_from(parts_from(entry.code.inputs).asks)
        if asked is not None:
            takes = f" ({', '.join(map(str, asked.choices))})" if asked.choices else ""
            return f"waits for an answer{takes}: %durable resolve"
    return entry.note


# --- tables -------------------------------------------------------------------------------

_RUN_HEAD = ("run", "state", "steps", "executions", "size", "began", "notebook")
#: A loop's 10,000 steps would be 10 MB of HTML in the notebook's file.
_MOST_ROWS = 500
_STEP_HEAD = ("#", "step", "state", "attempts", "took", "value", "size", "remark")


def run_label(run: RunInfo) -> str:
    """Name a run: "churn[monday] (run 2, archived)"."""
    return str(run.run) + (f" (run {run.number}, archived)" if run.archived else "")


def _run_cells(run: RunInfo) -> tuple[str, ...]:
    name = run_label(run)
    state = str(run.status).replace("_", " ")
    if run.owner is not None:
        state = f"running in process {run.owner.pid}"
    elif state == "running":
        state = "cut off"
    notebook = {None: "", "*": "any"}.get(run.notebook, run.notebook or "")
    steps = f"{run.finished} of {run.steps}" if run.finished != run.steps else str(run.steps)
    return name, state, steps, str(run.executions), size(run.size), when(run.created_at), notebook


def _step_cells(number: int, entry: Entry) -> tuple[str, ...]:
    why = redact(parts_from(entry.code.inputs).why)
    remark = "; ".join(text for text in (error_text(entry.error), note(entry), why) if text)
    done = entry.status in (EntryStatus.SUCCEEDED, EntryStatus.IMPURE)
    return (
        str(number),
        str(entry.key),
        str(entry.status),
        str(entry.attempts),
        duration(entry.spent if entry.status is not EntryStatus.RUNNING else 0.0) if entry.ended_at else "",
        entry.value_type if done else "",
        size(entry.value_size) if done else "",
        remark,
    )


def _all_step_cells(entries: Sequence[Entry]) -> Iterable[tuple[str, ...]]:
    return (_step_cells(number, entry) for number, entry in enumerate(entries, 1))


def runs_text(runs: Sequence[RunInfo], location: str) -> str:
    if not runs:
        return f"No runs yet in {location}"
    return f"Runs in {location}\n{text_table(_RUN_HEAD, map(_run_cells, runs))}"


def runs_html(runs: Sequence[RunInfo], location: str) -> str:
    if not runs:
        return f"<p>No runs yet in <code>{escape(location)}</code></p>"
    return html_table(_RUN_HEAD, map(_run_cells, runs), f"Runs in {location}")


def steps_text(run: RunInfo, entries: Sequence[Entry]) -> str:
    return f"{_title(run, entries)}\n{text_table(_STEP_HEAD, _all_step_cells(entries))}"


def steps_html(run: RunInfo, entries: Sequence[Entry]) -> str:
    page = html_table(_STEP_HEAD, _all_step_cells(entries[:_MOST_ROWS]), _title(run, entries))
    left = len(entries) - _MOST_ROWS
    return page if left <= 0 else f"{page}<p>… and {left} more: journal().to_frame() has them all</p>"


def _title(run: RunInfo, entries: Sequence[Entry]) -> str:
    cells = _run_cells(run)
    finished = sum(entry.status is EntryStatus.SUCCEEDED for entry in entries)
    steps = str(len(entries)) if finished == len(entries) else f"{finished} of {len(entries)}"
    count = "1 execution" if run.executions == 1 else f"{run.executions} executions"
    older = run.entries - len(entries)
    history = f", {older} older {'entry' if older == 1 else 'entries'}" if older > 0 else ""
    return f"{cells[0]}: {cells[1]}, {steps} steps{history}, {count}, began {cells[5]}"


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay rows out as text; columns without content are left out."""
    table = [tuple(head), *(tuple(printable(cell) for cell in row) for row in rows)]
    used = [i for i in range(len(head)) if any(row[i] for row in table[1:])]
    widths = {i: max(len(row[i]) for row in table) for i in used}
    return "\n".join("  ".join(row[i].ljust(widths[i]) for i in used).rstrip() for row in table)


def printable(text: str) -> str:
    """Show control characters: a terminal would obey the escape sequences in a name or an error."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> str:
    """Lay rows out as an HTML table, every cell escaped."""
    table = [tuple(row) for row in rows]
    used = [i for i in range(len(head)) if any(row[i] for row in table)]
    cell = "text-align:left;padding:2px 12px 2px 0;vertical-align:top;font-variant-numeric:tabular-nums"
    heads = "".join(f'<th style="{cell}">{escape(head[i])}</th>' for i in used)
    # Only the last column, which is the longest, is broken into lines.
    styles = {i: f"{cell};min-width:14em" if i == used[-1] else f"{cell};white-space:nowrap" for i in used}
    body = "".join(
        "<tr>" + "".join(f'<td style="{styles[i]}">{escape(row[i])}</td>' for i in used) + "</tr>" for row in table
    )
    above = f"<p>{escape(title)}</p>" if title else ""
    return f"{above}<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
