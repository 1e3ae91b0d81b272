"""A clock for tests: waiting takes no time, and every wait is noted."""

from __future__ import annotations

import asyncio

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

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def advance(self, duration: float) -> None:
        """Let time pass, as a slow step does."""
        self.now += duration

    def sleep(self, duration: float) -> None:
        self.sleeps.append(duration)
        self.now += duration

    async def asleep(self, duration: float) -> None:
        self.sleeps.append(duration)
        await asyncio.sleep(0)
        self.now += duration
