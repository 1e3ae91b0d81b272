"""Turns ``%%durable NAME ...`` on line 1 into a call on the same line; the body stays the cell it was.

Pure: text in, text out, no look at the kernel. IPython calls it for every cell, just before it looks for cell magics,
so that prompts (``>>>``, ``In [1]:``), leading blank lines and a common indentation are gone already.
"""

from __future__ import annotations

import re
from textwrap import dedent

__all__ = ["ENTRY", "transform"]

#: The name that the first line calls. It lives in ``builtins``: ``%reset`` leaves it, the user's namespace is theirs.
ENTRY = "__notebook_durable_cell__"

_MAGIC = re.compile(r"\s*%%durable(?!\S)(?P<line>.*)", re.DOTALL)
_ANY_MAGIC = re.compile(r"%%(?P<name>\w+)(?!\S)(?P<line>.*)", re.DOTALL)
# Magics whose body is Python that they compile themselves, without top-level await.
_PYTHON_MAGICS = frozenset({"time", "timeit", "capture", "prun", "memit"})


def transform(lines: list[str]) -> list[str]:
    """Rewrite a cell that begins with ``%%durable``; return any other as it is.

    Args:
        lines: the cell, each line with its line end.

    Returns:
        As many lines, except that a stacked ``%%magic`` swallows its body, as it does in any cell.
    """
    first = next((index for index, line in enumerate(lines) if not line.isspace()), len(lines))
    if first == len(lines):
        return lines
    match = _MAGIC.fullmatch(lines[first])
    if match is not None:
        return lines[:first] + _rewrite(match["line"].strip(), lines[first + 1 :])
    timed = _timed_above(lines, first)
    if timed is None:
        return lines
    # IPython's %%time compiles its body without top-level await. Ours measures the native cell, with the same output.
    match = _MAGIC.fullmatch(lines[timed])
    assert match is not None  # noqa: S101  that is what _timed_above looks for
    return ["\n"] * timed + _rewrite(match["line"].strip(), lines[timed + 1 :], timed=True)


# IPython's check_complete leaves such transformers out, and so treats our cells as it treats any cell magic: in a
# terminal they end with a blank line. It would take line 1 for a complete statement otherwise.
transform.has_side_effects = True  # type: ignore[attr-defined]


def _rewrite(line: str, body: list[str], *, timed: bool = False) -> list[str]:
    stacked = ""
    if body and body[0].endswith("\n") and _indented(body):
        body = dedent("".join(body)).splitlines(keepends=True)
    start = next((index for index, text in enumerate(body) if not text.isspace()), len(body))
    magic = _ANY_MAGIC.fullmatch(body[start]) if start < len(body) else None
    if magic is not None:
        if magic["name"] in _PYTHON_MAGICS and _uses_await("".join(body[start + 1 :])):
            stacked = magic["name"]
        body = body[:start] + _cell_magic(body[start:])
    options = (", timed=True" if timed else "") + (f", stacked={stacked!r}" if stacked else "")
    return [f"ctx = {ENTRY}({line!r}{options})\n", *body]


def _indented(body: list[str]) -> bool:
    line = next((text for text in body if not text.isspace()), "")
    return line[:1] in (" ", "\t")


def _timed_above(lines: list[str], first: int) -> int | None:
    """Find the ``%%durable`` line below a plain ``%%time``, in a cell that uses await."""
    if lines[first].strip() != "%%time":
        return None
    below = next((index for index in range(first + 1, len(lines)) if not lines[index].isspace()), None)
    if below is None or _MAGIC.fullmatch(lines[below]) is None:
        return None
    return below if _uses_await("".join(lines[below + 1 :])) else None


def _cell_magic(lines: list[str]) -> list[str]:
    from IPython.core.inputtransformer2 import cell_magic

    return list(cell_magic(lines))


def _uses_await(body: str) -> bool:
    """Tell by IPython's own rule whether a cell of this text would be run on the event loop."""
    if "await" not in body and "async" not in body:
        return False
    import ast
    import inspect

    from IPython.core.inputtransformer2 import TransformerManager

    try:
        code = compile(
            TransformerManager().transform_cell(body), "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
    except (SyntaxError, ValueError, MemoryError):
        return False
    return bool(code.co_flags & inspect.CO_COROUTINE)
