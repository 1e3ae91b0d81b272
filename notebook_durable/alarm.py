"""A time limit for code on the main thread, by SIGALRM: what else uses that signal gets it back as it was."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any

from notebook_durable.errors import ConfigurationError

__all__ = ["Alarm"]

#: Seconds until the alarm rings again, if it came at a moment at which nothing may be raised.
_AGAIN = 0.005


class Alarm:
    """Raises an error inside the block, on the main thread, when the block takes too long.

    Args:
        duration: seconds.
        error: makes what is raised.
        quiet: code in which nothing may be raised: the alarm rings again a little later.

    Raises:
        ConfigurationError: outside of the main thread, and where there is no SIGALRM (Windows).
    """

    def __init__(self, duration: float, error: Callable[[], BaseException], quiet: frozenset[CodeType]) -> None:
        if not hasattr(signal, "setitimer"):
            raise ConfigurationError("timeout= of a step that is not async needs SIGALRM, which this system lacks.")
        if threading.current_thread() is not threading.main_thread():
            raise ConfigurationError(
                "timeout= of a step that is not async works on the main thread only, as it needs a signal. "
                "Make the step's function async, or leave timeout= out."
            )
        self._duration = duration
        self._error = error
        self._quiet = quiet
        self._rung = False
        self._on = False

    def __enter__(self) -> None:
        self._due = time.monotonic() + self._duration
        self._previous: Any = signal.signal(signal.SIGALRM, self._ring)
        left, interval = signal.setitimer(signal.ITIMER_REAL, max(self._duration, 1e-6), _AGAIN)
        # Somebody else's timer (pytest-timeout, say) may be due while ours is set: it must not be late.
        self._others = (time.monotonic() + left, interval) if left else None
        if self._others is not None and self._others[0] < self._due:
            signal.setitimer(signal.ITIMER_REAL, max(left, 1e-6), _AGAIN)
        self._on = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        previous = self._previous if self._previous is not None else signal.SIG_DFL
        signal.signal(signal.SIGALRM, previous)
        if self._others is not None:
            due, interval = self._others
            signal.setitimer(signal.ITIMER_REAL, max(due - time.monotonic(), 1e-6), interval)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._others is not None and now >= self._others[0]:
            self._ring_others(signum, frame, now)
        if not self._on or self._rung or now < self._due:
            if self._on and not self._rung:
                signal.setitimer(signal.ITIMER_REAL, max(self._next() - now, 1e-6), _AGAIN)
            return
        if frame is not None and (frame.f_code in self._quiet or frame.f_code in _OWN):
            return  # it rings again
        self._rung = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise self._error()

    def _next(self) -> float:
        return self._due if self._others is None else min(self._due, self._others[0])

    def _ring_others(self, signum: int, frame: FrameType | None, now: float) -> None:
        assert self._others is not None  # noqa: S101  the caller asked
        interval = self._others[1]
        self._others = (now + interval, interval) if interval else None
        if callable(self._previous):
            self._previous(signum, frame)
        elif self._previous == signal.SIG_DFL:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGALRM)


_OWN = frozenset({Alarm.__enter__.__code__, Alarm.__exit__.__code__, Alarm._ring.__code__})  # noqa: SLF001
