"""The live output as HTML that needs no script: what is left in the notebook's file, and where there are no widgets.

The same class names as in the widget. Styles stand in the elements: JupyterLab drops style sheets (and data attributes)
from the outputs of a notebook that it doesn't trust. Everything that comes from a step is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from notebook_durable.ipython.panel_row import COLOURS, ICONS, Row
from notebook_durable.render import duration

__all__ = ["page"]

_FAINT = "color:var(--jp-ui-font-color2, #757575)"
_CODE = "font-family:var(--jp-code-font-family, monospace);font-size:var(--jp-code-font-size, 13px)"
_CELL = "border:0;background:none;text-align:left;vertical-align:top;padding:1px 14px 1px 0"
_NUMBER = f"{_CELL};text-align:right;white-space:nowrap"
_PANEL = (
    "font-family:var(--jp-ui-font-family, system-ui, sans-serif);font-size:var(--jp-ui-font-size1, 13px);"
    "line-height:1.5;border-left:3px solid var(--jp-border-color1, #bdbdbd);padding:2px 0 2px 10px;margin:2px 0;"
    "max-width:100%;overflow-x:auto"
)
_TABLE = "border-collapse:collapse;margin:3px 0;font-size:inherit;font-variant-numeric:tabular-nums"
_BELOW = f"{_CELL};padding:0 0 3px 18px"
_TR = "background:none"
_ICON = "display:inline-block;width:18px"
_NAME = f"{_CELL};white-space:nowrap;max-width:18em;overflow:hidden;text-overflow:ellipsis"
_TRACEBACK = (
    f"{_CODE};white-space:pre-wrap;overflow-wrap:anywhere;overflow:auto;max-height:300px;"
    "margin:2px 0 6px;padding:0;background:none"
)
#: A loop's thousand tracebacks would make the notebook's file large; these are the newest.
_MOST_TRACEBACKS = 20
_FITS = 20  # characters of a note that stand beside the rest
_AS_TEXT = "\ufe0e"  # after a sign that there is as a coloured picture too: in the colour of the text
_BAR = (
    "display:inline-block;width:144px;height:6px;border-radius:3px;overflow:hidden;vertical-align:middle;"
    "margin-right:8px;white-space:nowrap;font-size:0;line-height:0;background:var(--jp-border-color2, #bdbdbd)"
)
_SEPARATOR = f'<span style="{_FAINT}"> · </span>'


def page(
    head: Mapping[str, Any], folded: Iterable[tuple[str, str]], rows: Iterable[Row], now: float, note: str = ""
) -> str:
    """Write the panel.

    Args:
        head: see ``Panel.head``.
        folded: what stands for rows that are not shown.
        rows: the others.
        now: seconds since the epoch.
        note: a line about this picture, "" for none.
    """
    rows = list(rows)
    told = {row.seq for row in [row for row in rows if row.traceback][-_MOST_TRACEBACKS:]}
    sizes = any(row.size() for row in rows)
    body = "".join(_row(row, now, sizes, row.seq in told) for row in rows)
    lines = [_line(escape(note))] if note else []
    lines += [_line(f"⚑ {_code(one)}") for one in head["notes"]]
    return (
        f'<div class="nbd-panel nbd-static" data-run="{escape(head["run"])}" data-outcome="{escape(head["outcome"])}" '
        f'style="{_PANEL}">{_head(head)}{"".join(map(_fold, folded))}'
        f'<table style="{_TABLE}">{body}</table>{"".join(lines)}</div>'
    )


def _head(head: Mapping[str, Any]) -> str:
    parts = [f'<span class="nbd-summary">{escape(head["summary"])}</span>']
    running = head["outcome"] == "running"
    if running and head["recorded"]:
        more = f", {head['more']:,} more" if head["more"] and head["reached"] >= head["recorded"] else ""
        progress = f"{head['reached']:,} of {head['recorded']:,} recorded steps{more}"
        parts.append(f'<span class="nbd-progress">{progress}</span>')
    if not running:
        took = f" in {duration(max(0.0, head['ended'] - head['since']))}" if head["since"] else ""
        parts.append(f"{escape(head['outcome'])}{took}")
    rest = f" · {parts[1]}" if len(parts) > 1 else ""
    return f'<div><b>{escape(head["run"])}</b> <span style="{_FAINT}">{parts[0]}{rest}</span></div>'


def _row(row: Row, now: float, sizes: bool, told: bool) -> str:
    """Write one step: one line, and a second one for an error or a question, which would not fit beside the rest."""
    colour = f"color:{COLOURS[row.state]}"
    name = escape(row.label)
    remark, below = _remark(row, now, told)
    icon = f'<span aria-hidden="true" style="{_ICON};{colour}">{_sign(row.state)}</span>'
    cells = [
        f'<td class="nbd-name" style="{_NAME}" title="{name}">{icon}{name}</td>',
        f'<td class="nbd-state" style="{_CELL};white-space:nowrap;{colour}">{escape(row.state)}</td>',
        f'<td class="nbd-time" style="{_NUMBER}">{escape(row.took(now))}</td>',
    ]
    if sizes:
        cells.append(f'<td class="nbd-size" style="{_NUMBER};{_FAINT}">{escape(row.size())}</td>')
    cells.append(
        f'<td style="{_CELL}">{_bar(row)}{"" if below else (_SEPARATOR if row.bar and remark else "") + remark}</td>'
    )
    second = f'<tr style="{_TR}"><td colspan="{len(cells)}" style="{_BELOW}">{remark}</td></tr>' if below else ""
    return (
        f'<tbody class="nbd-row" data-step="{name}" data-state="{escape(row.state)}">'
        f'<tr style="{_TR}">{"".join(cells)}</tr>{second}</tbody>'
    )


def _bar(row: Row) -> str:
    """Draw how far a map has come: replayed, done and failed items, in their colours."""
    if row.bar is None:
        return ""
    parts = "".join(
        f'<span style="display:inline-block;vertical-align:top;height:6px;width:{share:.1f}%;'
        f'background:{COLOURS[state]}"></span>'
        for state, share in zip(("replayed", "done", "failed"), row.bar.shares(), strict=True)
        if share
    )
    said = escape(row.far())
    return (
        f'<span class="nbd-map" role="img" aria-label="{said}" title="{said}" style="{_BAR}">{parts}</span>'
        f'<span class="nbd-far" style="{_FAINT}">{said}</span>'
    )


def _remark(row: Row, now: float, told: bool) -> tuple[str, bool]:
    """Write what else is to be said, and whether that takes a line of its own."""
    parts = [
        ("nbd-attempts", escape(row.attempts()), ""),
        ("nbd-ask", escape(row.asks()), ""),
        ("nbd-error", escape(row.error), ""),
        ("nbd-countdown", escape(row.countdown(now)), ""),
        ("nbd-remark", escape(row.note), _FAINT),
    ]
    said = _SEPARATOR.join(
        f'<span class="{name}" style="{style or "color:inherit"}">{text}</span>' for name, text, style in parts if text
    )
    below = bool(row.error or row.traceback or row.asks() or len(row.note) > _FITS)
    if not (told and row.traceback):
        return said, below
    return (
        f'<details class="nbd-traceback"><summary style="cursor:pointer">{said or "traceback"}</summary>'
        f'<pre style="{_TRACEBACK}">{escape(row.traceback)}</pre></details>'
    ), below


def _fold(folded: tuple[str, str]) -> str:
    state, text = folded
    icon = f'<span aria-hidden="true" style="{_ICON}">{_sign(state)}</span>'
    return f'<div class="nbd-fold" style="{_FAINT}">{icon}{escape(text)}</div>'


def _sign(state: str) -> str:
    sign = ICONS.get(state, "…")
    return f"{sign}{_AS_TEXT}" if sign == "⚠" else sign


def _line(html: str) -> str:
    return f'<div class="nbd-note" style="{_FAINT}">{html}</div>'


def _code(note: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(note))
