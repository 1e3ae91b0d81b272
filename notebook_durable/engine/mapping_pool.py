"""Has the items of a map called by workers: threads, processes, or whatever has ``submit``."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from notebook_durable.engine.mapping_call import Done, call_items, inside
from notebook_durable.engine.mapping_items import Item
from notebook_durable.engine.mapping_run import MapRun
from notebook_durable.errors import ConfigurationError, UsageError
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
        self._withdrawn = self._stopping = False

    def launch(self) -> None:
        """Hand out work, as much as keeps all workers busy."""
        if self._run.failure is not None:
            self._withdraw()
            return
        # Where attempts are counted none may be begun that a worker isn't free for.
        most = self._pool.workers if self._run.counts else 2 * self._pool.workers
        while len(self.flying) < (1 if self._suspects else most):
            # Stop between two lines of this would lose sight of work that a worker has got.
            with self._run.session.guard.shield() if self._pool.quick else nullcontext():
                if not self._launch_one():
                    return

    def _launch_one(self) -> bool:
        chunk = self._take()
        if not chunk:
            return False
        try:
            future = self._submit(chunk)
        except BrokenExecutor as error:
            self._broken(chunk, error)
            return True
        except Exception as error:
            self._run.back(chunk)
            error.add_note(_closed(self._run))
            raise
        self.flying[future] = chunk
        future.add_done_callback(self._land)
        return True

    def _withdraw(self) -> None:
        """The map has failed: what no worker has begun is for the next execution."""
        if not self._withdrawn:
            self._withdrawn = True
            for future in list(self.flying):
                future.cancel()

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
        with self._run.session.guard.shield():
            self._settle(future)

    def _settle(self, future: Future[Any]) -> None:
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
            if not self._stopping:
                self._broken(chunk, error)
            return
        except Exception as error:  # noqa: BLE001  what it was given, or gave, can't be pickled
            self._unsendable(chunk, error)
            return
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
            told = _unsendable(self._run, chunk[0], error) if self._pool.separate else error
            self._run.failed(chunk[0], told)
        else:
            self._run.back(chunk)

    def _broken(self, chunk: list[Item], error: BrokenExecutor) -> None:
        """Workers died. If it is clear which item they died of, that was a failed attempt; the others begin again."""
        for future in list(self.flying):  # finished before that
            if future.done() and not future.cancelled() and future.exception() is None:
                self.settle(future)
        chunks = [chunk, *self.flying.values()]
        self.flying.clear()
        mended = self._pool.mend()
        items = [item for each in chunks for item in each]
        if self._run.spec.step.options.at_most_once:
            for item in items:
                self._run.lost(item)
            return
        if not mended:
            error.add_note(_closed(self._run))
            raise error
        if len(items) == 1:
            self._run.failed(items[0], RuntimeError(f"the worker process died: {error}"))
            return
        self._run.back(sorted(items))
        self._chunk = 1
        for _ in items:
            suspect = self._run.next()
            if suspect is not None:
                self._suspects.append(suspect)

    @property
    def suspects(self) -> bool:
        """True if there are items that have to be called alone."""
        return bool(self._suspects)

    def stop(self) -> None:
        """The map is left: begin nothing more, and wait a moment for what can't be ended."""
        self.wake = None
        self._run.back(list(self._suspects))
        self._stopping = True
        for future in list(self.flying):
            future.cancel()
        self._pool.stop()
        until = time.monotonic() + (0.0 if self._pool.separate else _GRACE)
        while True:
            for future in list(self.flying):  # not by what has landed: Stop may have come after one was taken there
                if future.done():
                    self._record(future)
            left = until - time.monotonic()
            if not self.flying or left <= 0:
                return
            try:
                self.landed.get(timeout=min(left, _LONG))
            except queue.Empty:
                pass

    def _record(self, future: Future[Any]) -> None:
        try:
            self.settle(future)
        except BaseException:  # noqa: BLE001  Stop is what is told
            pass


def drive_pool(run: MapRun, pool: Pool) -> None:
    """Have the items called by workers, and wait for them on this thread."""
    around = run.session.guard.around
    with inside(run.session, run.spec.step.name) as number, around(_closing(pool)):
        flights = _Flights(run, pool, number)
        # Not `except`: a second Stop could come between it and its first line. And the loop is a function of its own:
        # Python takes what a signal raises in a jump back to the first line of a block for something outside of it.
        with around(_landing(flights)):
            _fly(run, flights)


def _fly(run: MapRun, flights: _Flights) -> None:
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


async def drive_pool_async(run: MapRun, pool: Pool) -> None:
    """As :func:`drive_pool`, with the loop free meanwhile."""
    around = run.session.guard.around
    with inside(run.session, run.spec.step.name) as number, around(_closing(pool)):
        flights = _Flights(run, pool, number)
        with around(_landing(flights)):
            await _fly_async(run, flights)


async def _fly_async(run: MapRun, flights: _Flights) -> None:
    loop, landed = asyncio.get_running_loop(), asyncio.Event()
    flights.wake = lambda: _call_soon(loop, landed.set)
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


def _call_soon(loop: asyncio.AbstractEventLoop, do: Callable[[], Any]) -> None:
    try:
        loop.call_soon_threadsafe(do)
    except RuntimeError:
        pass  # the loop was closed: nobody waits any more


def _closed(run: MapRun) -> str:
    return (
        f"ctx.map('{run.spec.step.name}') can't go on with an executor that is closed or broken. What was finished is "
        'recorded: run the cell again with a new one. executor="processes" sends the functions of a notebook by '
        "themselves, and starts new workers for those that die."
    )


def _unsendable(run: MapRun, item: Item, error: Exception) -> ConfigurationError:
    """Say which way was barred: to the worker, or home."""
    name = run.spec.step.name
    told = ConfigurationError(
        f"item '{item.label}' of ctx.map('{name}') can't be sent to a worker process, or its result can't be sent back "
        f"({_pickler_said(error)}). Give ctx.map data (numbers, texts, arrays, frames), and make "
        'connections, locks and open files inside of the function; or use executor="threads".'
    )
    told.__cause__ = error
    return told


def _pickler_said(error: BaseException) -> str:
    """Return what the pickler said: loky keeps it as text only, the last line of a traceback."""
    cause = error.__cause__
    if cause is not None and "Could not pickle the task" in str(error):
        lines = str(cause).strip(' \n"').splitlines()
        if lines:
            return lines[-1].strip()
    return f"{type(error).__name__}: {error}".partition("\n")[0]


class _closing(AbstractContextManager[None]):  # noqa: N801  used like a function
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __exit__(self, *error: object) -> None:
        self._pool.close()


class _landing(AbstractContextManager[None]):  # noqa: N801  used like a function
    def __init__(self, flights: _Flights) -> None:
        self._flights = flights

    def __exit__(self, *error: object) -> None:
        self._flights.stop()


def refuse_async(name: str) -> None:
    """Refuse what workers can't do.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"ctx.map('{name}') was given an async function and executor=. Async functions run side by side on the "
        "loop: leave executor= out, and set max_workers= to how many at a time."
    )
