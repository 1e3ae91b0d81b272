"""What the commands show: lines, tables and diffs, as text and as HTML. Everything in them is data, and escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from notebook_durable.redact import redact
from notebook_durable.render import html_table, printable, text_table

__all__ = ["Page", "View"]

#: More rows or lines are counted, not shown.
_MOST_ROWS = 300
_MOST_LINES = 200
_COLOURS = {"+": "#1a7f37", "-": "#cf222e", "@": "#6e7781"}


class Page:
    """A page that grows from top to bottom. Passwords in what it gets are hidden."""

    def __init__(self, title: str) -> None:
        self._text: list[str] = []
        self._html: list[str] = []
        self.line(title)

    def line(self, text: str) -> None:
        """Add a line."""
        text = printable(redact(text))
        self._text.append(text)
        self._html.append(f"<p>{escape(text)}</p>")

    def heading(self, text: str) -> None:
        """Add the head of a part."""
        text = printable(redact(text))
        self._text += ["", text]
        self._html.append(f"<p><b>{escape(text)}</b></p>")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table, without its empty columns."""
        table = list(rows)
        if not table:
            return
        shown = [tuple(map(redact, row)) for row in table[:_MOST_ROWS]]
        self._text.append(text_table(head, shown))
        self._html.append(html_table(head, shown))
        if len(table) > len(shown):
            self.line(f"… and {len(table) - len(shown)} more: journal().to_frame() has them all")

    def diff(self, lines: Sequence[str]) -> None:
        """Add the lines of a unified diff."""
        shown = [_visible(line) for line in redact("\n".join(lines)).split("\n")] if lines else []
        if len(shown) > _MOST_LINES:
            shown = [*shown[:_MOST_LINES], f"… {len(shown) - _MOST_LINES} more lines"]
        self._text += [f"    {line}".rstrip() for line in shown]
        self._html.append(f'<pre style="margin:0 0 8px 16px">{"".join(map(_coloured, shown))}</pre>')

    def text(self) -> str:
        """The page as plain text."""
        return "\n".join(self._text)

    def html(self) -> str:
        """The page as HTML."""
        return f"<div>{''.join(self._html)}</div>"


def _visible(line: str) -> str:
    return printable(line.replace("\t", "    "))


def _coloured(line: str) -> str:
    colour = _COLOURS.get(line[:1])
    text = escape(line)
    return f'<span style="color:{colour}">{text}</span>\n' if colour else f"{text}\n"


class View:
    """Something that is shown as text and HTML."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def add(self, line: str) -> None:
        """Add a line at the end; nothing if it is empty."""
        if line:
            self._page.line(line)

    def __repr__(self) -> str:
        return self._page.text()

    def _repr_html_(self) -> str:
        return self._page.html()
