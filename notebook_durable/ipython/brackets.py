"""Where a cell begins and ends. Cells nest: a magic may run cells inside the one that it is in."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

__all__ = ["Bracket", "Brackets"]


class Bracket:
    """One running cell.

    Attributes:
        info: IPython's ExecutionInfo (``raw_cell``, ``cell_id`` ...).
        outer: the cell in which this one was started, None for most.
        at_end: called with IPython's ExecutionResult (None if there is none) when the cell has ended, newest first.
    """

    def __init__(self, info: Any, outer: Bracket | None) -> None:
        self.info = info
        self.outer = outer
        self.at_end: list[Callable[[Any], None]] = []

    def end(self, result: Any) -> None:
        """Call what waits for the end."""
        while self.at_end:
            self.at_end.pop()(result)


class Brackets:
    """Follows the cells of a shell through ``pre_run_cell`` and ``post_run_cell``.

    Not ``pre_execute`` and ``post_execute``: those fire for every comm message too, also while a cell runs. Cells run
    by ``%run notebook.ipynb`` are silent ones, for which IPython has no better event than ``post_execute``.

    Args:
        shell: IPython's.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._local = threading.local()  # cells of a subshell run in a thread of their own
        self._silent: list[tuple[Any, Bracket]] = []

    def register(self) -> None:
        """Begin to follow."""
        events = self._shell.events
        events.register("pre_run_cell", self._pre)
        events.register("post_run_cell", self._post)
        events.register("post_execute", self._post_execute)

    def unregister(self) -> None:
        """Stop following; cells that are open are given up as ended."""
        events = self._shell.events
        for name, callback in (("pre_run_cell", self._pre), ("post_run_cell", self._post)):
            events.unregister(name, callback)
        events.unregister("post_execute", self._post_execute)
        for _, bracket in self._silent:
            bracket.end(None)
        self._silent.clear()
        for bracket in reversed(self._stack):
            bracket.end(None)
        self._stack.clear()

    def current(self) -> Bracket | None:
        """Find the cell whose code is calling, None if this is not in a cell."""
        info, result = _running_cell(sys._getframe(1), type(self._shell).run_cell_async.__code__)  # noqa: SLF001
        outer = self._stack[-1] if self._stack else None
        if info is None:
            return outer
        for bracket in reversed(self._stack):
            if bracket.info is info:
                return bracket
        for _, bracket in self._silent:
            if bracket.info is info:
                return bracket
        if result is None:
            return outer
        silent = Bracket(info, outer)
        self._silent.append((result, silent))
        return silent

    @property
    def _stack(self) -> list[Bracket]:
        try:
            stack: list[Bracket] = self._local.stack
        except AttributeError:
            stack = self._local.stack = []
        return stack

    def _pre(self, info: Any) -> None:
        stack = self._stack
        stack.append(Bracket(info, stack[-1] if stack else None))

    def _post(self, result: Any) -> None:
        stack = self._stack
        if not stack:
            return
        info = getattr(result, "info", None)
        for index in range(len(stack) - 1, -1, -1):
            # If the runner itself failed IPython makes up a second ExecutionInfo, with the same text. An empty cell has
            # a post_run_cell but no pre_run_cell: it must not end the cell that it is in.
            if (
                result is None
                or stack[index].info is info
                or stack[index].info.raw_cell == getattr(info, "raw_cell", 0)
            ):
                ended = stack[index:]
                del stack[index:]
                for bracket in reversed(ended):
                    self._end_silent_in(bracket)
                    bracket.end(result)
                return

    def _post_execute(self) -> None:
        last = self._shell.last_execution_result
        for index, (result, bracket) in enumerate(self._silent):
            if result is last:
                del self._silent[index]
                bracket.end(result)
                return

    def _end_silent_in(self, outer: Bracket) -> None:
        for item in [item for item in self._silent if item[1].outer is outer]:
            self._silent.remove(item)
            item[1].end(None)


def _running_cell(frame: FrameType | None, code: CodeType) -> tuple[Any, Any]:
    """Read IPython's ExecutionInfo and ExecutionResult of the cell that a frame runs in."""
    while frame is not None:
        if frame.f_code is code:
            variables = frame.f_locals
            return variables.get("info"), variables.get("result")
        frame = frame.f_back
    return None, None
