"""The life of one durable cell: from the call on its first line to the end that IPython announces."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from notebook_durable.errors import ConfigurationError
from notebook_durable.ipython import lint
from notebook_durable.ipython.output import LiveOutput
from notebook_durable.ipython.tracebacks import Display, relabel, show, touches, up_to_await
from notebook_durable.signals import SigintGuard

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session
    from notebook_durable.ipython.recorder import OutputRecorder

__all__ = ["Cell", "Timer", "check_stacked"]

_log = logging.getLogger("notebook_durable")


class Cell:
    """An open durable cell.

    Args:
        shell: IPython's.
        asynchronous: it uses ``await``, so Stop has to cancel the task that it runs in.
    """

    def __init__(self, shell: Any, *, asynchronous: bool) -> None:
        self._shell = shell
        task = asyncio.current_task() if asynchronous else None
        self.guard = SigintGuard(task)
        self._display = Display(shell, self._show_error)
        self._session: Session | None = None
        self._output: LiveOutput | None = None
        self._recorder: OutputRecorder | None = None
        self._timer: Timer | None = None
        self._stop: KeyboardInterrupt | None = None
        self._extra: BaseException | None = None
        self._undoing: BaseException | None = None  # what cut a rollback short
        self._first = ("", 0, "")

    def begin(self, open_it: Callable[[Cell], Session], *, timed: bool) -> Any:
        """Open the run and return its context.

        Args:
            open_it: opens the session, after this cell's guard and display are in place.
            timed: say at the end how long it took, as ``%%time`` does.
        """
        self._display.install()
        self.guard.install()
        if timed:
            self._timer = Timer()
        with self.guard.shield():  # a run that was claimed must be known here, to be given back
            self._session = open_it(self)
        return self._session.context

    def label(self, filename: str, line: int, text: str) -> None:
        """Have the source show the user's first line instead of the call that it became.

        As a comment, so that the source is Python: ``inspect.getsource`` and IPython's marking of the failing
        expression need that. Only where the traceback points at this line itself it is shown as it was typed.
        """
        self._first = filename, line, text
        relabel(filename, line, f"# {text}")

    def watch(self, output: LiveOutput) -> None:
        """Take the live output of this cell, to end it with the cell; it tells first what the lint has found."""
        self._output = output
        try:
            output.remark(lint.sentences(lint.look_at_running_cell(self._shell)))
        except Exception:  # noqa: BLE001  a courtesy: the cell must run whatever goes wrong with it
            _log.debug("the cell could not be looked over", exc_info=True)

    def record(self, recorder: OutputRecorder) -> OutputRecorder:
        """Take down, until the end of the cell, what its steps print and display."""
        recorder.install()
        self._recorder = recorder
        return recorder

    def _show_error(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError) and self.guard.stopped:
            # Stop reaches a waiting cell as a cancellation. To the user, and to a reply, it is what Stop always is.
            self._stop = KeyboardInterrupt().with_traceback(up_to_await(error.__traceback__))
            error = self._stop
        if isinstance(error, KeyboardInterrupt) and isinstance(error.__cause__, asyncio.CancelledError):
            error.__cause__ = None  # how Stop got here is of no interest
            error.__suppress_context__ = True
        filename, line, text = self._first
        exact = touches(error, filename, line)
        if exact:
            relabel(filename, line, text)
        try:
            self._display.show(error)
        finally:
            if exact:
                relabel(filename, line, f"# {text}")

    def end(self, result: Any) -> None:
        """End the execution, and let the reply say what came of it.

        Args:
            result: IPython's ExecutionResult; None if the cell was abandoned.
        """
        stops = self.guard.stops
        try:
            self._roll_back(result)
            extra = self._leave(result)
        except KeyboardInterrupt:
            extra = self._leave(result)  # pressed just as the end began, or held back until it was written
        try:
            self.guard.uninstall()
        except KeyboardInterrupt:
            pass  # counted below
        if self._timer is not None:
            self._timer.report()
        self._tell(result, extra, late=self.guard.stops > stops)

    def _roll_back(self, result: Any) -> None:
        """Undo what ``ctx.on_rollback`` says. Stop works in it, and is what leaves the cell then."""
        error = _error_of(result)
        if self._session is None or error is None or result is None:
            return
        try:
            left = self._session.roll_back(error)
        except KeyboardInterrupt as stop:
            left = stop
        if left is not error:
            self._undoing = left

    def _leave(self, result: Any) -> BaseException | None:
        """Close, show the end, take our display away. All of it can be done twice."""
        with self.guard.shield():
            error = _error_of(result)
            if self._stop is not None and isinstance(error, asyncio.CancelledError):
                result.error_in_exec = error = self._stop
            if self._session is not None:
                extra = self._session.close(self._undoing or error)
                self._extra = self._extra or self._undoing or extra
            if self._recorder is not None:
                self._recorder.remove()
            if self._output is not None:
                self._output.finish()
            self._display.remove()
        return self._extra

    def _tell(self, result: Any, extra: BaseException | None, *, late: bool) -> None:
        """Show what the cell itself did not raise, and have the reply say so."""
        if _error_of(result) is not None:
            if extra is not None:
                print(f"{type(extra).__name__}: {extra}", file=sys.stderr)  # noqa: T201  beside the error that is shown
            return
        error = extra if extra is not None else KeyboardInterrupt() if late else None
        if error is not None:
            show(self._shell, error)
            result.error_in_exec = error
            self._shell.last_execution_succeeded = False


def _error_of(result: Any) -> BaseException | None:
    if result is None:
        return KeyboardInterrupt("the cell was abandoned")
    error = result.error_before_exec if result.error_before_exec is not None else result.error_in_exec
    if error is None or isinstance(error, BaseException):
        return error
    return RuntimeError(str(error))


class Timer:
    """What ``%%time`` measures and prints, for cells that IPython's own can't run: those with await."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu()

    def report(self) -> None:
        """Print it."""
        wall = time.perf_counter() - self._wall
        user, system = (after - before for after, before in zip(_cpu(), self._cpu, strict=True))
        print(f"CPU times: user {_span(user)}, sys: {_span(system)}, total: {_span(user + system)}")  # noqa: T201
        print(f"Wall time: {_span(wall)}")  # noqa: T201


def _cpu() -> tuple[float, float]:
    import os

    times = os.times()
    return times.user, times.system


def _span(seconds: float) -> str:
    if seconds >= 60:
        return f"{int(seconds // 60)}min {seconds % 60:.0f}s"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return "0 ns"


def check_stacked(magic: str) -> None:
    """Refuse ``await`` below a stacked magic that compiles its body without it.

    Raises:
        ConfigurationError: if ``magic`` names one.
    """
    if magic == "time":
        raise ConfigurationError(
            "`await` can't be used below %%time: it compiles its body without await. Put `%%time` above `%%durable`, "
            "as the first line of the cell."
        )
    if magic:
        raise ConfigurationError(
            f"`await` can't be used below %%{magic}: IPython compiles its body without await. Leave out %%{magic}, or "
            "use ctx.run without await (async functions work there too)."
        )
