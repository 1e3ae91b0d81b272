"""The real clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from notebook_durable.protocols import Waiter

__all__ = ["SystemClock"]


class SystemClock:
    """Time as the system has it."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, waiter: Waiter, duration: float | None, poll: Callable[[], Any]) -> None:
        end = None if duration is None else time.monotonic() + duration
        while (left := _left(waiter, end, poll)) > 0:
            waiter.wait(left)

    async def wait_async(self, waiter: Waiter, duration: float | None, poll: Callable[[], Any]) -> None:
        end = None if duration is None else time.monotonic() + duration
        while (left := _left(waiter, end, poll)) > 0:
            await waiter.wait_async(left)

    async def asleep(self, duration: float) -> None:
        await asyncio.sleep(duration)


#: Seconds between two looks into the mailbox.
_POLL = 0.5


def _left(waiter: Waiter, end: float | None, poll: Callable[[], Any]) -> float:
    """Return how long to wait until the next look into the mailbox; 0 or less: not at all."""
    if not waiter.is_set():
        poll()
    if waiter.is_set():
        return 0.0
    return _POLL if end is None else min(_POLL, end - time.monotonic())
