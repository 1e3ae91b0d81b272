"""Tracebacks of durable cells: the user's own lines, and none of ours between the cell and the step's function."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Display", "hide_own_frames", "relabel", "show", "touches", "up_to_await"]

_HERE = str(Path(__file__).parent.parent) + os.sep
#: Set to see everything, such as for a bug of ours.
FULL = "NOTEBOOK_DURABLE_FULL_TRACEBACK"
# What stands between a frame of ours and the step's function, only because of us.
_PLUMBING = ("argparse", "asyncio.", "nest_asyncio", "contextlib", "concurrent.futures", "selectors", "shlex")


def hide_own_frames(error: BaseException) -> None:
    """Take our frames out of an exception's traceback, and out of those of its causes, contexts and group members.

    The traceback is changed in place, so that the reply, ``%tb`` and the debugger agree with what is shown.
    """
    if os.environ.get(FULL):
        return
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _without_own(current.__traceback__)
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions


def _without_own(tb: TracebackType | None) -> TracebackType | None:
    head: TracebackType | None = None
    last: TracebackType | None = None
    hiding = False
    while tb is not None:
        hiding = _is_own(tb) or (hiding and _is_plumbing(tb))
        if not hiding:
            if last is None:
                head = tb
            else:
                last.tb_next = tb
            last = tb
        tb = tb.tb_next
    if last is not None:
        last.tb_next = None
    return head


def up_to_await(tb: TracebackType | None) -> TracebackType | None:
    """Cut asyncio's frames off the end: a cell that waited was stopped at its ``await``."""
    last, current = None, tb
    while current is not None:
        if not _is_plumbing(current):
            last = current
        current = current.tb_next
    if last is not None:
        last.tb_next = None
    return tb


def _is_own(tb: TracebackType) -> bool:
    return tb.tb_frame.f_code.co_filename.startswith(_HERE)


def _is_plumbing(tb: TracebackType) -> bool:
    return str(tb.tb_frame.f_globals.get("__name__", "")).startswith(_PLUMBING)


def show(shell: Any, error: BaseException) -> None:
    """Show an error as the shell shows those of cells."""
    info = (type(error), error, error.__traceback__)
    if shell.custom_exceptions and isinstance(error, shell.custom_exceptions):
        shell.CustomTB(*info)
    else:
        shell.showtraceback(info, running_compiled_code=True)


class Display:
    """Stands between IPython and what it shows of an error, for one cell.

    Args:
        shell: IPython's.
        handle: gets the error, shows it or not.
    """

    def __init__(self, shell: Any, handle: Callable[[BaseException], None]) -> None:
        self._shell = shell
        self._handle = handle
        self._before: tuple[Any, Any] | None = None
        self._mine: Any = None

    def install(self) -> None:
        """Take the place of the handler that is there."""
        self._before = self._shell.custom_exceptions, self._shell.CustomTB
        self._shell.set_custom_exc((BaseException,), self._called)
        self._mine = self._shell.CustomTB

    def remove(self) -> None:
        """Put the handler back that was there, unless somebody else has taken the place meanwhile."""
        if self._before is not None and self._shell.CustomTB is self._mine:
            self._shell.custom_exceptions, self._shell.CustomTB = self._before
        self._before = None

    def show(self, error: BaseException) -> None:
        """Show an error the way it would have been shown without us."""
        hide_own_frames(error)
        exceptions, handler = self._before or ((), None)
        info = (type(error), error, error.__traceback__)
        if handler is not None and exceptions and isinstance(error, exceptions):
            handler(*info)
        else:
            self._shell.showtraceback(info, running_compiled_code=True)

    def _called(self, _shell: Any, _kind: Any, error: BaseException, _tb: Any, tb_offset: Any = None) -> None:  # noqa: ARG002
        self._handle(error)


def touches(error: BaseException, filename: str, line: int) -> bool:
    """Tell whether a traceback goes through this very line."""
    tb = error.__traceback__
    while tb is not None:
        if tb.tb_lineno == line and tb.tb_frame.f_code.co_filename == filename:
            return True
        tb = tb.tb_next
    return False


def relabel(filename: str, line: int, text: str) -> None:
    """Change what Python takes for the source of one line of a cell, as tracebacks and debuggers show it."""
    entry = linecache.cache.get(filename)
    if entry is None or len(entry) != 4 or not 1 <= line <= len(entry[2]):
        return
    size, changed, lines, name = entry
    linecache.cache[filename] = (size, changed, [*lines[: line - 1], text + "\n", *lines[line:]], name)
