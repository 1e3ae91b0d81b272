"""What people ask of a running execution: by a button, from another thread, or through a mailbox from elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from notebook_durable.model import Ask

__all__ = ["Controls", "Request", "together"]


class Request(NamedTuple):
    """Something asked of a waiting step: what, the answer to a promise, and why (for people).

    ``message`` is its number in the mailbox, 0 if it didn't come that way. ``together``: it is for all waiting items of
    a map.
    """

    ask: Ask
    value: Any = None
    text: str = ""
    message: int = 0
    together: bool = False


def together(seq: int) -> int:
    """Return the number under which the waiting items of a map are asked together; ``seq`` is its first item's."""
    return -1 - seq


class Controls:
    """Carries requests to the steps of one execution.

    Every method may be called from any thread, also in a signal handler or while the cell's thread is busy: it notes
    the request and wakes the step that waits. A request for a step that doesn't wait (any more) is refused.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiter] = {}
        self._stopping = False

    # -- asking

    def retry(self, seq: int) -> bool:
        """Begin the next attempt of a waiting step now, or wake a sleeping one. False if it doesn't wait."""
        return self.ask(seq, Request(Ask.RETRY))

    def give_up(self, seq: int, why: str = "") -> bool:
        """End a waiting step with a TerminalError. False if it doesn't wait."""
        return self.ask(seq, Request(Ask.GIVE_UP, None, why))

    def pause(self, seq: int) -> bool:
        """Let a step that waits for its next attempt wait until it is resumed. False if it doesn't wait."""
        return self.ask(seq, Request(Ask.PAUSE))

    def resume(self, seq: int) -> bool:
        """Go on with the countdown of a paused step. False if it doesn't wait."""
        return self.ask(seq, Request(Ask.RESUME))

    def answer(self, seq: int, value: Any) -> bool:
        """Answer a promise; the value must have been checked (``Question.check``). False if it doesn't wait."""
        return self.ask(seq, Request(Ask.ANSWER, value))

    def reject(self, seq: int, why: str = "") -> bool:
        """End a promise with a TerminalError. False if it doesn't wait."""
        return self.ask(seq, Request(Ask.REJECT, None, why))

    def ask(self, seq: int, request: Request) -> bool:
        """Hand a request to a waiting step. False if it doesn't wait."""
        waiter = self._waiting.get(seq)
        if waiter is None:
            return False
        waiter.put(request if seq >= 0 else request._replace(together=True))
        return True

    def stop_after_step(self, on: bool = True) -> None:
        """End the execution as Stop does, but not before a next step begins; ``on=False`` takes that back."""
        self._stopping = on

    @property
    def stopping(self) -> bool:
        """True if the execution is to end before its next step."""
        return self._stopping

    # -- the engine's side

    def is_waiting(self, seq: int) -> bool:
        """Tell whether a step waits."""
        return seq in self._waiting

    @contextmanager
    def waiting(self, *seqs: int) -> Iterator[_Waiter]:
        """Take requests for a step, under one or several numbers, during the block."""
        waiter = _Waiter()
        self._waiting.update(dict.fromkeys(seqs, waiter))
        try:
            yield waiter
        finally:
            for seq in seqs:
                del self._waiting[seq]


class _Waiter:
    """Wakes one waiting step, be it in a blocked thread or on a loop. See ``protocols.Waiter``."""

    __slots__ = ("_event", "_loop", "_requests", "_wake")

    def __init__(self) -> None:
        self._requests: deque[Request] = deque()
        self._event = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def put(self, request: Request) -> None:
        self._requests.append(request)
        self._event.set()
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            try:
                loop.call_soon_threadsafe(wake.set)
            except RuntimeError:
                pass  # the loop was closed: nobody waits any more

    def take(self) -> list[Request]:
        """Return all requests, oldest first."""
        taken = []
        while self._requests:
            taken.append(self._requests.popleft())
        return taken

    def is_set(self) -> bool:
        return bool(self._requests)

    def wait(self, duration: float) -> None:
        self._event.wait(duration)

    async def wait_async(self, duration: float) -> None:
        if self._wake is None:
            self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        if self._requests:
            return  # it came before there was anything to wake
        try:
            async with asyncio.timeout(duration):
                await self._wake.wait()
        except TimeoutError:
            pass
