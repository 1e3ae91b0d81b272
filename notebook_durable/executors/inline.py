"""Calls steps on the calling thread: Stop interrupts them, and thread-bound objects work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from notebook_durable.protocols import Guard, Pool

__all__ = ["InlineExecutor"]


class InlineExecutor:
    """The default executor."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def call(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return fn(*args, **kwargs)

    def wait(self, awaitable: Awaitable[Any], guard: Guard) -> Any:
        """Run an awaitable from sync code.

        Without a running loop it gets one that lives as long as the execution, so that what a step binds to its loop
        (a client session) works in the next. With one, as in every Jupyter cell, the running loop is entered again
        through nest_asyncio2, which patches asyncio for the rest of the process: its only use here.
        """
        loop = _running_loop()
        if loop is None:
            if self._runner is None:
                self._runner = asyncio.Runner()
            loop = self._runner.get_loop()
        else:
            import nest_asyncio2

            nest_asyncio2.apply(loop)
        task = loop.create_task(_await(awaitable))
        stops = guard.stops
        with guard.cancelling(lambda: loop.call_soon_threadsafe(task.cancel)):
            try:
                value = loop.run_until_complete(task)
                if guard.stops > stops:
                    guard.postpone()  # the function finished all the same: its value is kept, then Stop is raised
                return value
            except asyncio.CancelledError as cancelled:
                if guard.stops > stops:
                    raise KeyboardInterrupt from cancelled
                raise
            finally:
                if not task.done():  # KeyboardInterrupt came out of the loop itself: leave no orphan running
                    task.cancel()

    def pool(self, workers: Any, most: int | None, items: int) -> Pool:
        from notebook_durable.executors.pool import open_pool  # loads multiprocessing

        return open_pool(workers, most, items)

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
