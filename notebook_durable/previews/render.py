"""Previews for people, as text and as HTML. What is in them is data: everything is escaped, nothing is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from notebook_durable.render import printable

__all__ = ["preview_html", "preview_text"]

_WIDEST = 40  # characters of a cell in the terminal
_TEXT_COLUMNS = 8  # of a table in the terminal
_DEEPEST = 2
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,400000}={0,2}")
_CELL = "text-align:left;padding:1px 10px 1px 0;vertical-align:top;white-space:nowrap"
_BOX = "white-space:pre-wrap;margin:0;max-height:24em;overflow:auto"


def preview_text(text: str) -> str:
    """Lay a preview out for the terminal.

    Args:
        text: what ``preview`` returned, as it came out of a journal.

    Returns:
        Lines without control characters; "" for what is no preview.
    """
    return _told(text, _text)


def preview_html(text: str) -> str:
    """Lay a preview out as HTML that needs no script and no style sheet.

    Args:
        text: what ``preview`` returned, as it came out of a journal.

    Returns:
        HTML with everything escaped; "" for what is no preview.
    """
    return _told(text, _html)


def _told(text: str, tell: Any) -> str:
    try:
        found = json.loads(text)
        return str(tell(found, 0)) if isinstance(found, dict) else ""
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return ""


# -- what both say


def _head(made: Mapping[str, Any]) -> str:
    """Say in one line what it is: "DataFrame, 1,000 × 4"."""
    name = str(made.get("type", "")).rpartition(".")[2]
    kind = made["kind"]
    if kind in ("frame", "array"):
        shape = " × ".join(f"{int(one):,}" for one in made["shape"]) or "no dimensions"
        said = f"{name}, {shape}"
        return f"{said}, {made['dtype']}" if kind == "array" else said
    if kind == "items":
        count = int(made["length"])
        return f"{name}, {count:,} {'item' if count == 1 else 'items'}"
    if kind == "image":
        return f"{name}, a picture of {int(made['width'])} × {int(made['height'])} pixels"
    length = made.get("length")
    return name if not made.get("cut") or length is None else f"{name}, the first of {int(length):,}"


def _stats(made: Mapping[str, Any]) -> str:
    stats = made.get("stats")
    if not isinstance(stats, dict):
        return ""
    said = [f"{name} {stats[name]}" for name in ("min", "max", "mean") if name in stats]
    if stats.get("nan"):
        said.append(f"{stats['nan']} missing")
    if "sample" in stats:
        said.append(f"of a sample of {int(stats['sample']):,}")
    return ", ".join(said)


def _table(made: Mapping[str, Any]) -> tuple[list[str], list[str], list[list[str]]]:
    """Return names, dtypes and rows, the index first if there is one."""
    names = [str(one["name"]) for one in made["columns"]]
    dtypes = [str(one["dtype"]) for one in made["columns"]]
    rows = [[str(cell) for cell in row] for row in made["rows"]]
    index = [str(one) for one in made["index"]]
    if index:
        rows = [[label, *row] for label, row in zip(index, rows, strict=True)]
        names, dtypes = ["", *names], ["", *dtypes]
    if any(len(row) != len(names) for row in rows):
        raise ValueError("rows of another width than the head")
    return names, dtypes, rows


def _more(made: Mapping[str, Any], columns: int = 0) -> str:
    """Say what of a table or of items is left out; ``columns``: so many of a table's are shown, if not all."""
    if made["kind"] == "items":
        count = int(made["length"]) - len(made["items"])
        return f"… {count:,} more" if count > 0 else ""
    shape = [int(one) for one in made["shape"]]
    shown = columns or len(made["columns"])
    left = [(shape[0] - len(made["rows"]), "rows"), (shape[1] - shown if len(shape) > 1 else 0, "columns")]
    said = [f"{count:,} more {what}" for count, what in left if count > 0]
    return f"… {', '.join(said)}" if said else ""


# -- text


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def _text(made: Mapping[str, Any], depth: int) -> str:
    kind = made["kind"]
    head = printable(_head(made))
    if kind == "text":
        return f"{head}\n{_lines(str(made['text']))}" if made.get("cut") else _lines(str(made["text"]))
    if kind == "image":
        return head
    if kind == "array":
        return "\n".join(part for part in (head, _lines(str(made["text"])), printable(_stats(made))) if part)
    if kind == "frame":
        names, dtypes, rows = _table(made)
        few = _TEXT_COLUMNS + (1 if made["index"] else 0)
        table = _columns([row[:few] for row in (names, dtypes, *rows)])
        return "\n".join(part for part in (head, table, _more(made, min(_TEXT_COLUMNS, len(dtypes)))) if part)
    if kind == "items":
        lines = [head]
        for item in made["items"]:
            lines.append(printable(f"{item[0]}: {item[1]}"))
            if len(item) > 2 and isinstance(item[2], dict) and depth < _DEEPEST:
                lines += [f"    {line}" for line in _text(item[2], depth + 1).split("\n")]
        return "\n".join(part for part in (*lines, _more(made)) if part)
    raise ValueError("no kind of preview")


def _columns(rows: Sequence[Sequence[str]]) -> str:
    table = [[_cut(printable(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


# -- HTML


def _html(made: Mapping[str, Any], depth: int) -> str:
    kind = made["kind"]
    inside = {
        "text": _text_html,
        "image": _image_html,
        "array": _array_html,
        "frame": _frame_html,
        "items": _items_html,
    }
    head = f'<div class="nbd-preview-head">{escape(_head(made))}</div>'
    return f'<div class="nbd-preview-{escape(kind)}">{head}{inside[kind](made, depth)}</div>'


def _text_html(made: Mapping[str, Any], _depth: int) -> str:
    return f'<pre style="{_BOX}">{escape(str(made["text"]))}</pre>'


def _image_html(made: Mapping[str, Any], _depth: int) -> str:
    png = str(made["png"])
    if not _BASE64.fullmatch(png):
        raise ValueError("no picture")
    width, height = int(made["width"]), int(made["height"])
    said = escape(_head(made))
    return (
        f'<img src="data:image/png;base64,{png}" width="{width}" height="{height}" alt="{said}" '
        'style="max-width:100%;height:auto">'
    )


def _array_html(made: Mapping[str, Any], _depth: int) -> str:
    stats = _stats(made)
    said = f"<div>{escape(stats)}</div>" if stats else ""
    return f'<pre style="{_BOX}">{escape(str(made["text"]))}</pre>{said}'


def _frame_html(made: Mapping[str, Any], _depth: int) -> str:
    names, dtypes, rows = _table(made)
    heads = "".join(
        f'<th style="{_CELL}">{escape(name)}<br><small>{escape(dtype)}</small></th>'
        for name, dtype in zip(names, dtypes, strict=True)
    )
    return _html_table(rows, heads) + _more_html(made)


def _items_html(made: Mapping[str, Any], depth: int) -> str:
    rows = []
    for item in made["items"]:
        value = escape(str(item[1]))
        if len(item) > 2 and isinstance(item[2], dict) and depth < _DEEPEST:
            value += _html(item[2], depth + 1)
        rows.append(f'<tr><th style="{_CELL}">{escape(str(item[0]))}</th><td style="text-align:left">{value}</td></tr>')
    return f"<table><tbody>{''.join(rows)}</tbody></table>{_more_html(made)}"


def _html_table(rows: Iterable[Sequence[str]], heads: str) -> str:
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f'<div style="overflow-x:auto"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _more_html(made: Mapping[str, Any]) -> str:
    more = _more(made)
    return f"<div>{escape(more)}</div>" if more else ""
