"""Has the items of a map called by workers: threads, processes, or whatever has ``submit``."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import AbstractContextManager
from typing import Any

from notebook_durable.engine.mapping_call import Done, call_items, inside
from notebook_durable.engine.mapping_items import Item
from notebook_durable.engine.mapping_run import MapRun
from notebook_durable.errors import UsageError
from notebook_durable.protocols import Pool

__all__ = ["drive_pool", "drive_pool_async"]

#: Seconds of work that workers are handed at a time, and after which they bring back what they have.
_SHORT, _LONG = 0.002, 0.010
_MOST = 64
#: Seconds that Stop waits for threads, which can't be ended.
_GRACE = 1.0


class _Flights:
    """What the workers are at.

    Args:
        run: the map.
        pool: the workers.
        number: of the map, see ``mapping_call.inside``.
    """

    def __init__(self, run: MapRun, pool: Pool, number: tuple[int, int]) -> None:
        self._run, self._pool, self._number = run, pool, number
        self._fn = pool.pack(run.spec.step.fn)
        self._context = contextvars.copy_context()
        self._chunk = 1
        self.flying: dict[Future[Any], list[Item]] = {}
        self.landed: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.wake: Callable[[], Any] | None = None
        #: Items that were at work when a worker died: one of them may have killed it, so each gets a turn alone.
        self._suspects: deque[Item] = deque()

    def launch(self) -> None:
        """Hand out work, as much as keeps all workers busy."""
        # Where attempts are counted none may be begun that a worker isn't free for.
        most = self._pool.workers if self._run.counts else 2 * self._pool.workers
        while len(self.flying) < (1 if self._suspects else most):
            chunk = self._take()
            if not chunk:
                return
            try:
                future = self._submit(chunk)
            except BrokenExecutor as error:
                self._broken(chunk, error)
                continue
            self.flying[future] = chunk
            future.add_done_callback(self._land)

    def _take(self) -> list[Item]:
        run = self._run
        if self._suspects:
            item = self._suspects.popleft() if not self.flying else None
            return [item] if item is not None and run.begin(item) else []
        chunk: list[Item] = []
        while len(chunk) < (1 if run.counts else self._chunk) and (item := run.next()) is not None:
            if run.begin(item):
                chunk.append(item)
        return chunk

    def _submit(self, chunk: list[Item]) -> Future[Any]:
        values = [item.value for item in chunk]
        if self._pool.separate:
            return self._pool.submit(call_items, self._number, self._fn, values, _LONG)
        # Output of threads finds its way to the cell by context variables.
        return self._pool.submit(self._context.copy().run, call_items, self._number, self._fn, values, _LONG)

    def _land(self, future: Future[Any]) -> None:
        self.landed.put(future)
        wake = self.wake
        if wake is not None:
            wake()

    def settle(self, future: Future[Any]) -> None:
        """Take what a worker brings back."""
        chunk = self.flying.pop(future, None)
        if chunk is None:
            return
        run = self._run
        try:
            done: list[Done] = future.result()
        except (CancelledError, asyncio.CancelledError):
            run.back(chunk)
            return
        except BrokenExecutor as error:
            self._broken(chunk, error)
            return
        except Exception as error:  # noqa: BLE001  what it was given, or gave, can't be pickled
            self._unsendable(chunk, error)
            return
        with run.session.guard.shield():
            for item, one in zip(chunk, done, strict=False):
                if one.error is None:
                    run.succeeded(item, one.value, one.duration, one.started_at)
                elif isinstance(one.error, Exception):
                    run.failed(item, one.error, one.duration, one.started_at)
            run.back(chunk[len(done) :])
        self._adapt(chunk, done)
        for one in done:
            if one.error is not None and not isinstance(one.error, Exception):
                raise one.error

    def _adapt(self, chunk: list[Item], done: list[Done]) -> None:
        """Hand out more at a time if what was handed out was done in no time."""
        took = sum(one.duration for one in done)
        if took > _LONG or len(done) < len(chunk):
            self._chunk = max(1, self._chunk // 4)
        elif took < _SHORT and len(chunk) == self._chunk:
            self._chunk = min(_MOST, 2 * self._chunk)

    def _unsendable(self, chunk: list[Item], error: Exception) -> None:
        self._chunk = 1
        if len(chunk) == 1:
            with self._run.session.guard.shield():
                self._run.failed(chunk[0], error)
        else:
            self._run.back(chunk)

    def _broken(self, chunk: list[Item], error: BrokenExecutor) -> None:
        """Workers died. If it is clear which item they died of, that was a failed attempt; the others begin again."""
        chunks = [chunk, *self.flying.values()]
        self.flying.clear()
        if not self._pool.mend():
            raise error
        items = [item for each in chunks for item in each]
        if len(items) == 1:
            died = RuntimeError(f"the worker process died: {error}")
            with self._run.session.guard.shield():
                self._run.failed(items[0], died)
            return
        self._run.back(sorted(items))
        self._chunk = 1
        for _ in items:
            item = self._run.next()
            if item is not None:
                self._suspects.append(item)

    @property
    def suspects(self) -> bool:
        """True if there are items that have to be called alone."""
        return bool(self._suspects)

    def stop(self) -> None:
        """Stop: begin nothing more, and wait a moment for what can't be ended."""
        self._run.back(list(self._suspects))
        for future in list(self.flying):
            future.cancel()
        self._pool.stop()
        until = time.monotonic() + (0.0 if self._pool.separate else _GRACE)
        while self.flying and (left := until - time.monotonic()) > 0:
            try:
                self._record(self.landed.get(timeout=left))
            except queue.Empty:
                break
        while not self.landed.empty():
            self._record(self.landed.get())

    def _record(self, future: Future[Any]) -> None:
        try:
            self.settle(future)
        except BaseException:  # noqa: BLE001  Stop is what is told
            pass


def drive_pool(run: MapRun, pool: Pool) -> None:
    """Have the items called by workers, and wait for them on this thread."""
    with inside(run.session, run.spec.step.name) as number, _closing(pool):
        flights = _Flights(run, pool, number)
        try:
            while True:
                run.check()
                flights.launch()
                if flights.flying:
                    try:
                        flights.settle(flights.landed.get(timeout=run.pause))
                    except queue.Empty:
                        continue
                elif run.waits and not flights.suspects:
                    run.wait()
                elif not flights.suspects or run.failure is not None:
                    return
        except BaseException:
            with run.session.guard.shield():
                flights.stop()
            raise


async def drive_pool_async(run: MapRun, pool: Pool) -> None:
    """As :func:`drive_pool`, with the loop free meanwhile."""
    loop, landed = asyncio.get_running_loop(), asyncio.Event()
    with inside(run.session, run.spec.step.name) as number, _closing(pool):
        flights = _Flights(run, pool, number)
        flights.wake = lambda: _call_soon(loop, landed.set)
        try:
            while True:
                run.check()
                flights.launch()
                if flights.flying:
                    try:
                        async with asyncio.timeout(run.pause):
                            await landed.wait()
                    except TimeoutError:
                        continue
                    landed.clear()
                    while not flights.landed.empty():
                        flights.settle(flights.landed.get())
                elif run.waits and not flights.suspects:
                    await run.wait_async()
                elif not flights.suspects or run.failure is not None:
                    return
        except BaseException:
            flights.wake = None
            with run.session.guard.shield():
                flights.stop()
            raise


def _call_soon(loop: asyncio.AbstractEventLoop, do: Callable[[], Any]) -> None:
    try:
        loop.call_soon_threadsafe(do)
    except RuntimeError:
        pass  # the loop was closed: nobody waits any more


class _closing(AbstractContextManager[None]):  # noqa: N801  used like a function
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __exit__(self, *error: object) -> None:
        self._pool.close()


def refuse_async(name: str) -> None:
    """Refuse what workers can't do.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"ctx.map('{name}') was given an async function and executor=. Async functions run side by side on the "
        "loop: leave executor= out, and set max_workers= to how many at a time."
    )
