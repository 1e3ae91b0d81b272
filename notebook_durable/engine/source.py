"""What a step computes from. For now: the source text of its function, kept for later comparison.

The seam for fingerprints: a describer that also fills ``inputs`` and ``fingerprint`` replaces this one.
"""

from __future__ import annotations

import functools
import inspect
import linecache
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

from notebook_durable.model import StepCode

__all__ = ["SourceDescriber", "source_text"]

_LONGEST = 20_000  # characters
_KEPT = 1_000  # functions; a cell that defines one per loop turn must not grow this for ever


class SourceDescriber:
    """Notes the source text of each step's function."""

    def __init__(self) -> None:
        self._known: dict[CodeType, StepCode] = {}

    def describe(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> StepCode:  # noqa: ARG002
        try:
            code = _code_of(fn)
        except Exception:  # noqa: BLE001  a proxy that answers to every attribute (xmlrpc)
            code = None
        if code is None:
            return StepCode()
        known = self._known.get(code)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[code] = StepCode(source=source_text(code))
        return known


def _code_of(fn: Any) -> CodeType | None:
    while isinstance(fn, functools.partial):
        fn = fn.func
    if "__wrapped__" in getattr(fn, "__dict__", ()):
        fn = inspect.unwrap(fn)
    fn = getattr(fn, "__func__", fn)
    code = getattr(fn, "__code__", None)
    return code if isinstance(code, CodeType) else None


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
