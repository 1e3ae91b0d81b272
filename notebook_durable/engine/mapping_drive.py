"""Calls the items of a map: on this thread, or as tasks of the loop."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Awaitable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.inside import current_step
from notebook_durable.engine.mapping_items import Item
from notebook_durable.engine.mapping_run import MapRun
from notebook_durable.errors import StepTimeoutError

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["drive_inline", "drive_inline_async", "drive_tasks", "is_async", "marked"]

#: Types of results that can't be awaited.
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, list, dict, tuple, set})
#: Seconds after which the loop gets its turn between two items.
_TURN = 0.005
_TASKS = 10


def is_async(fn: Any) -> bool:
    """Tell whether a call of ``fn`` gives something to be awaited, as far as that can be seen."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


@contextmanager
def marked(session: Session, name: str) -> Iterator[None]:
    """Mark this context as being inside of a step, so that ``ctx`` can't be used there."""
    before = current_step.set((session, name))
    try:
        yield
    finally:
        current_step.reset(before)


class _AwaitFirst(Exception):  # noqa: N818  a signal
    """The function turned out to be async: its first call waits to be awaited."""

    def __init__(self, item: Item, awaitable: Awaitable[Any]) -> None:
        self.item, self.awaitable = item, awaitable


def _call(run: MapRun, item: Item, *, awaits: bool) -> None:
    """Call the function for one item, here and now."""
    session, step = run.session, run.spec.step
    if not run.begin(item):
        return
    hold = session.guard.shield() if run.results.holds else _NOTHING
    try:
        with _deadline(run):
            value = step.fn(item.value)
        if type(value) not in _PLAIN and inspect.isawaitable(value):
            if awaits:
                raise _AwaitFirst(item, value)
            value = session.executor.wait(_timed(run, value), session.guard)
    except _AwaitFirst:
        raise
    except Exception as error:  # noqa: BLE001  the run decides what it means
        with session.guard.shield():
            run.failed(item, error)
        return
    # Stop is held back until the result is safe. Not if a serializer of the user's own takes its time.
    with hold:
        run.succeeded(item, value)


_NOTHING: AbstractContextManager[None] = nullcontext()


def drive_inline(run: MapRun) -> None:
    """Call one item after the other, on this thread."""
    with marked(run.session, run.spec.step.name):
        while True:
            run.check()
            item = run.next()
            if item is not None:
                _call(run, item, awaits=False)
            elif run.waits:
                run.wait()
            else:
                return


async def drive_inline_async(run: MapRun, most: int | None) -> None:
    """As :func:`drive_inline`, with turns for the loop. A function that turns out to be async is run as tasks."""
    turn = time.monotonic()
    with marked(run.session, run.spec.step.name):
        while True:
            run.check()
            item = run.next()
            if item is not None:
                try:
                    _call(run, item, awaits=True)
                except _AwaitFirst as first:
                    await drive_tasks(run, most, first)
                    return
            elif run.waits:
                await run.wait_async()
            else:
                return
            if time.monotonic() - turn > _TURN:
                await asyncio.sleep(0)
                turn = time.monotonic()


async def drive_tasks(run: MapRun, most: int | None, first: _AwaitFirst | None = None) -> None:
    """Await the calls of an async function side by side, at most ``most`` at a time."""
    tasks: dict[asyncio.Task[Any], Item] = {}
    with run.session.guard.around(_ending(tasks)):
        try:
            if first is not None:
                tasks[_task(run, _timed(run, first.awaitable))] = first.item
            await _await_all(run, tasks, most or _TASKS)
        except BaseException:
            await _cancel(run, tasks)
            raise


async def _await_all(run: MapRun, tasks: dict[asyncio.Task[Any], Item], most: int) -> None:
    while True:
        run.check()
        while len(tasks) < most and _start_next(run, tasks):
            pass
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=run.pause, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                _settle(run, tasks, task)
        elif run.waits:
            await run.wait_async()
        else:
            return


class _ending(AbstractContextManager[None]):  # noqa: N801  used like a function
    """Whatever a second Stop cuts short: no task of a map goes on without it."""

    def __init__(self, tasks: dict[asyncio.Task[Any], Item]) -> None:
        self._tasks = tasks

    def __exit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()


def _start_next(run: MapRun, tasks: dict[asyncio.Task[Any], Item]) -> bool:
    # Stop between two lines of this would lose sight of a task, which then went on.
    with run.session.guard.shield():
        item = run.next()
        if item is not None and run.begin(item):
            tasks[_task(run, _awaited(run, item))] = item
    return item is not None


def _task(run: MapRun, awaitable: Awaitable[Any]) -> asyncio.Task[Any]:
    with marked(run.session, run.spec.step.name):  # a task inherits the context in which it is made
        return asyncio.create_task(_plain(awaitable))


class _Leaves:
    """What an item raised that would end the loop, which is the kernel's, if it came out of a task."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _plain(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except (SystemExit, KeyboardInterrupt) as error:
        return _Leaves(error)


async def _awaited(run: MapRun, item: Item) -> Any:
    value = run.spec.step.fn(item.value)
    return await _timed(run, value) if inspect.isawaitable(value) else value


def _settle(run: MapRun, tasks: dict[asyncio.Task[Any], Item], task: asyncio.Task[Any]) -> None:
    with run.session.guard.shield():
        item = tasks.pop(task)
        if task.cancelled():
            raise asyncio.CancelledError("Stop" if run.is_stopping else f"item '{item.label}' was cancelled")
        error = task.exception()
        if error is None and isinstance(left := task.result(), _Leaves):
            error = left.error
        if error is None:
            run.succeeded(item, task.result())
        elif isinstance(error, Exception):
            run.failed(item, error)
        else:
            raise error


async def _cancel(run: MapRun, tasks: dict[asyncio.Task[Any], Item]) -> None:
    """Cancel what is under way and see what came of it: what was finished all the same is recorded."""
    for task in tasks:
        task.cancel()
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            continue  # cancelled once more; the tasks are on their way out
    for task, item in tasks.items():
        if not task.cancelled() and task.exception() is None and not isinstance(task.result(), _Leaves):
            run.succeeded(item, task.result())


def _deadline(run: MapRun) -> AbstractContextManager[None]:
    limit = run.spec.step.options.time_limit
    if limit is None:
        return _NOTHING
    return run.session.guard.deadline(limit, lambda: _too_long(run, limit))


def _timed(run: MapRun, awaitable: Awaitable[Any]) -> Awaitable[Any]:
    limit = run.spec.step.options.time_limit
    return awaitable if limit is None else _with_timeout(run, awaitable, limit)


async def _with_timeout(run: MapRun, awaitable: Awaitable[Any], limit: float) -> Any:
    timeout = asyncio.timeout(limit)
    try:
        async with timeout:
            return await awaitable
    except TimeoutError as error:
        if not timeout.expired():
            raise  # the function's own
        raise _too_long(run, limit) from error


def _too_long(run: MapRun, limit: float) -> StepTimeoutError:
    return StepTimeoutError(run.spec.step.name, limit)
