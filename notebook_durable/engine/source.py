"""The source text of a function, kept so that an edit can be shown."""

from __future__ import annotations

import linecache
from types import CodeType

__all__ = ["source_text"]

_LONGEST = 20_000  # characters


def source_text(code: CodeType) -> str:
    """Cut a function's lines out of its file, by the positions in its bytecode.

    ``inspect.getsource`` finds the last line by tokenising, which takes milliseconds in a long cell.
    """
    try:
        first, last = code.co_firstlineno, _last_line(code)
        return "".join(linecache.getlines(code.co_filename)[first - 1 : last])[:_LONGEST]
    except Exception:  # noqa: BLE001  no source at hand (exec, a deleted file), or one that can't be read
        return ""


def _last_line(code: CodeType) -> int:
    lines = [line for *_, line in code.co_lines() if line is not None]
    inner = [_last_line(const) for const in code.co_consts if isinstance(const, CodeType)]
    ends = [end for _, end, *_ in code.co_positions() if end is not None]
    return max([code.co_firstlineno, *lines, *inner, *ends])
