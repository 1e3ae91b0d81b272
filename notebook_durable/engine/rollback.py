"""Sagas: steps that undo others, run in reverse order when a TerminalError leaves the cell.

Each is a step like any other: journaled, retried under its policy, and replayed if the kernel dies before the last
one is done. What was undone must not replay: after a finished rollback the next execution starts over (design 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from notebook_durable.engine.options import StepSpec
from notebook_durable.errors import TerminalError

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["OWN_FAILURE", "UNDOES", "Rollback"]

#: In place of the failure that a step follows: the error was raised by the cell itself, no entry stands for it.
OWN_FAILURE = -1
#: The note of an entry that undoes something. While a run has one, it is being rolled back.
UNDOES = "undoes what was done"


class Rollback:
    """What ``ctx.on_rollback`` has registered in one execution.

    Attributes:
        finished: all of it has run.
    """

    def __init__(self) -> None:
        self._steps: list[StepSpec] = []
        self._undone: list[str] = []
        self.finished = False

    def add(self, step: StepSpec) -> None:
        """Register a step; the last one runs first."""
        self._steps.append(step)

    def run(self, session: Session, error: BaseException | None) -> BaseException | None:
        """Run what is registered if ``error``, which leaves the cell, is a TerminalError.

        Returns:
            What leaves the cell now: ``error``, or that of the step which failed to undo something. The steps before
            it are not undone then; the next execution goes on with the one that failed.

        Raises:
            KeyboardInterrupt: Stop; the next execution goes on.
        """
        if error is None or not self._is_due(error):
            return error
        while self._steps:
            try:
                session.run_step(self._steps[-1], cleanup=False, after_failure=True)
            except Exception as failed:  # noqa: BLE001  it is what leaves the cell
                return self._cut_short(failed, error)
            self._undone.append(self._steps.pop().name)
        return self._finish(error)

    async def run_async(self, session: Session, error: BaseException | None) -> BaseException | None:
        """As :meth:`run`, in a task: other tasks go on while something is undone."""
        if error is None or not self._is_due(error):
            return error
        while self._steps:
            try:
                await session.undo(self._steps[-1])
            except Exception as failed:  # noqa: BLE001  it is what leaves the block
                return self._cut_short(failed, error)
            self._undone.append(self._steps.pop().name)
        return self._finish(error)

    def _is_due(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):
            return bool(self._steps) and error.subgroup(TerminalError) is not None
        return bool(self._steps) and isinstance(error, TerminalError)

    def _cut_short(self, failed: Exception, error: BaseException) -> Exception:
        failed.__context__ = error
        failed.add_note(
            f"raised by '{self._steps[-1].name}', which undoes a step. What was to be undone after it is not undone "
            "yet: run the cell again to go on with it."
        )
        self._steps.clear()
        return failed

    def _finish(self, error: BaseException) -> BaseException:
        self.finished = True
        error.add_note(f"rolled back: {', '.join(self._undone)}. The next execution starts over.")
        return error
