"""A clock for tests: waiting takes no time, and every wait is noted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from notebook_durable.protocols import Waiter

__all__ = ["FakeClock"]


class FakeClock:
    """Time that moves when somebody waits.

    Attributes:
        now: seconds since the epoch.
        sleeps: every wait so far, in seconds.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.sleeps: list[float] = []
        self._planned: list[tuple[float, Callable[[], Any]]] = []

    def after(self, duration: float, do: Callable[[], Any]) -> None:
        """Have something happen while somebody waits, ``duration`` seconds from now."""
        self._planned.append((self.now + duration, do))
        self._planned.sort(key=lambda one: one[0])

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def advance(self, duration: float) -> None:
        """Let time pass, as a slow step does."""
        self.now += duration

    def wait(self, waiter: Waiter, duration: float | None, poll: Callable[[], Any]) -> None:
        began = self.now
        end = None if duration is None else began + duration
        poll()
        while not waiter.is_set() and self._planned and (end is None or self._planned[0][0] <= end):
            at, do = self._planned.pop(0)
            self.now = max(self.now, at)
            do()
            poll()
        if not waiter.is_set():
            if end is None:
                raise AssertionError("somebody waits without end, and nothing is planned to wake him")
            self.now = end
        self.sleeps.append(self.now - began if waiter.is_set() or duration is None else duration)

    async def wait_async(self, waiter: Waiter, duration: float | None, poll: Callable[[], Any]) -> None:
        await asyncio.sleep(0)
        self.wait(waiter, duration, poll)

    async def asleep(self, duration: float) -> None:
        self.sleeps.append(duration)
        await asyncio.sleep(0)
        self.now += duration
