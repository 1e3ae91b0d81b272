"""A time limit for code on the main thread, by SIGALRM: what else uses that signal gets it back as it was."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from notebook_durable.errors import ConfigurationError

__all__ = ["Alarm"]

#: Seconds until the alarm rings again if it came at a moment at which nothing may be raised.
_AGAIN = 0.005
#: ... if the main thread did not notice it.
_UNNOTICED = 0.5
#: ... and if what it raised was swallowed: by a finalizer, or by a library that tries everything twice.
_SWALLOWED = 0.5


class Alarm:
    """Raises an error on the main thread when something takes too long, between ``set`` and ``clear``.

    Args:
        duration: seconds.
        error: makes what is raised.
        quiet: tells whether nothing may be raised just now; asked in the signal handler.

    Raises:
        ConfigurationError: outside of the main thread, and where there is no SIGALRM (Windows).
    """

    def __init__(self, duration: float, error: Callable[[], BaseException], quiet: Callable[[FrameType | None], bool]):
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
        self._on = False
        self._due = 0.0
        self._previous: Any = None
        #: When the timer that was running before is due, and its interval.
        self._others: tuple[float, float] | None = None

    def set(self) -> None:
        """Start it. Call it where ``quiet`` says so."""
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        now = time.monotonic()
        # Somebody else's timer (pytest-timeout, say) may be due while ours is set: it must not be late.
        self._others = (now + left, interval) if left else None
        self._due = now + self._duration
        self._previous = signal.signal(signal.SIGALRM, self._ring)
        self._on = True
        self._arm(now)

    def clear(self) -> None:
        """Put back what was there before. Call it where ``quiet`` says so; doing it twice does nothing."""
        if not self._on:
            return
        self._on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._previous if self._previous is not None else signal.SIG_DFL)
        if self._others is not None:
            due, interval = self._others
            signal.setitimer(signal.ITIMER_REAL, max(due - time.monotonic(), 1e-6), interval)

    def _arm(self, now: float) -> None:
        due = self._due if self._others is None else min(self._due, self._others[0])
        # It rings again by itself: one that comes just before C code begins to wait is not noticed in there.
        signal.setitimer(signal.ITIMER_REAL, max(due - now, 1e-6), _UNNOTICED)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        if not self._on:
            return
        now = time.monotonic()
        if self._others is not None and now >= self._others[0]:
            self._ring_others(signum, frame, now)
        if now < self._due:
            self._arm(now)
            return
        if self._quiet(frame):
            self._due = now + _AGAIN
            self._arm(now)
            return
        self._due = now + max(_SWALLOWED, min(self._duration, 5.0))
        self._arm(now)
        raise self._error()

    def _ring_others(self, signum: int, frame: FrameType | None, now: float) -> None:
        assert self._others is not None  # noqa: S101  the caller asked
        interval = self._others[1]
        self._others = (now + interval, interval) if interval else None
        if callable(self._previous):
            self._previous(signum, frame)
        elif self._previous == signal.SIG_DFL:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGALRM)
