"""Texts as a terminal leaves them: of a line that was written over, only the last state."""

from __future__ import annotations

import re

__all__ = ["is_written_over", "settle"]

_ESCAPE = "\x1b"
_UP = "\x1b[A"
_ERASE = re.compile(r"\x1b\[([012]?)K")
#: What moves the cursor, or erases. Colours and all other codes are text that is kept.
_MOVES = re.compile(r"(\n|\r|\x08+|\x1b\[A|\x1b\[[012]?K)")


def is_written_over(text: str) -> bool:
    """Tell whether ``text`` moves the cursor back, so that :func:`settle` may shorten it."""
    return "\r" in text or _UP in text or "\x08" in text


def settle(text: str, *, final: bool) -> str:
    r"""Return ``text`` with what was written over left out: ``"1 %\r2 %\n"`` is ``"2 %\n"``.

    Args:
        text: with carriage returns, backspaces, and the "cursor up" of progress bars that are stacked.
        final: nothing follows; otherwise the result ends with what brings the cursor back to where it was.
    """
    rows, row, column = [""], 0, 0
    for piece in _MOVES.split(text):
        if piece == "\n":
            row, column = row + 1, 0
            if row == len(rows):
                rows.append("")
        elif piece == "\r":
            column = 0
        elif piece == _UP:
            row = max(0, row - 1)
        elif piece.startswith("\x08"):
            column = max(0, column - len(piece))
        elif erased := _ERASE.fullmatch(piece):
            rows[row] = "" if erased[1] else rows[row][:column]
        elif piece:
            rows[row] = _over(rows[row], column, piece)
            column += len(piece)
    return _end(rows, row, column, final)


def _over(line: str, column: int, text: str) -> str:
    """Write ``text`` over ``line``. Columns mean little where there are colours: there it replaces the line's rest."""
    before = line[:column].ljust(column)
    if len(line) <= column or _ESCAPE in text or _ESCAPE in line:
        return before + text
    return before + text + line[column + len(text) :]


def _end(rows: list[str], row: int, column: int, final: bool) -> str:
    if final:
        if not rows[-1].strip(" "):
            rows[-1] = ""  # a bar that was wiped out with blanks
        return "\n".join(rows) + ("\r" if rows[-1] and column == 0 and row == len(rows) - 1 else "")
    up = len(rows) - 1 - row
    back = up or column != len(rows[row])
    return "\n".join(rows) + _UP * up + ("\r" + rows[row][:column].ljust(column) if back else "")
