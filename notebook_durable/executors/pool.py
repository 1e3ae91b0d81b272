"""Workers for ``ctx.map``: threads, processes by way of loky, or whatever has ``submit``."""

from __future__ import annotations

import functools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from notebook_durable.errors import ConfigurationError, MissingExtraError
from notebook_durable.protocols import Pool

__all__ = ["open_pool"]

#: Bytes of a pickled function, with the globals it reads, above which workers get it by a file and not with each call.
_LARGE = 1 << 16
#: Seconds between two looks of a worker whether its kernel is alive.
_LOOK = 0.5


def open_pool(workers: Any, most: int | None, items: int) -> Pool:
    """Open workers; see ``protocols.Executor.pool``.

    Raises:
        ConfigurationError: if ``workers`` names nothing that is known.
        MissingExtraError: for "processes" without loky.
    """
    if workers == "threads":
        return _Threads(min(most or min(32, (os.cpu_count() or 1) + 4), items))
    if workers == "processes":
        return _Processes(most, items)
    if callable(getattr(workers, "submit", None)):
        return _Foreign(workers, most)
    raise ConfigurationError(f'executor= is "threads", "processes" or an object with submit(), not {workers!r:.80}')


class _Threads:
    """Threads of this process."""

    separate = False
    quick = True

    def __init__(self, most: int) -> None:
        self.workers = most
        self._executor = ThreadPoolExecutor(most, thread_name_prefix="notebook_durable-map")

    def pack(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return fn

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        return self._executor.submit(fn, *args)

    def mend(self) -> bool:
        return False

    def stop(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


class _Foreign:
    """An executor of the user's own, who closes it."""

    def __init__(self, executor: Any, most: int | None) -> None:
        self._executor = executor
        known = getattr(executor, "_max_workers", None)
        self.workers = most or (known if isinstance(known, int) and known > 0 else os.cpu_count() or 1)
        self.separate = not isinstance(executor, ThreadPoolExecutor)
        self.quick = isinstance(executor, (ThreadPoolExecutor, ProcessPoolExecutor))

    def pack(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return fn

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = self._executor.submit(fn, *args)
        return future

    def mend(self) -> bool:
        return False

    def stop(self) -> None: ...

    def close(self) -> None: ...


class _Processes:
    """Processes, new ones for each map: they know the code as it is now."""

    separate = True
    quick = True

    def __init__(self, most: int | None, items: int) -> None:
        try:
            import cloudpickle
            import loky
        except ImportError as error:
            raise MissingExtraError("loky", "processes", 'executor="processes"') from error
        self._loky, self._cloudpickle = loky, cloudpickle
        self.workers = min(most or loky.cpu_count(), items)  # they are started all at once
        self._file: Path | None = None
        self._executor = self._new()

    def _new(self) -> Any:
        return self._loky.ProcessPoolExecutor(self.workers, timeout=60, initializer=_begin, initargs=(os.getpid(),))

    def pack(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        try:
            data = self._cloudpickle.dumps(fn)
        except Exception as error:
            raise ConfigurationError(
                f"the function can't be sent to a process ({type(error).__name__}: {error}). Something that it reads, "
                "such as ctx or a connection, belongs to this kernel: make it inside of the function, or use "
                'executor="threads".'
            ) from error
        if len(data) <= _LARGE:
            return Packed(data)
        handle, name = tempfile.mkstemp(prefix="notebook_durable-", suffix=".pickle")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        self._file = Path(name)
        return Packed(name)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        with _sigint_blocked():  # it starts workers
            future: Future[Any] = self._executor.submit(fn, *args)
        return future

    def mend(self) -> bool:
        self._executor.shutdown(wait=False, kill_workers=True)
        self._executor = self._new()
        return True

    def stop(self) -> None:
        self._executor.shutdown(wait=False, kill_workers=True)

    def close(self) -> None:
        self._executor.shutdown(wait=False, kill_workers=True)
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Processes that are started here don't see Stop while they import: each would show its traceback in the cell."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # in there it would end the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(kernel: int) -> None:
    """In a new worker: Stop reaches all processes of the kernel's group, but ours are ended by the kernel.

    And when the kernel is killed, nobody wants what the worker is at any more.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # what it starts itself shall be as usual
    threading.Thread(target=_end_with, args=(kernel,), daemon=True).start()


def _end_with(kernel: int) -> None:
    while os.getppid() == kernel:  # it may have died before we began
        time.sleep(_LOOK)
    os._exit(1)


class Packed:
    """A function for a worker, unpickled there once.

    Args:
        where: the pickle, or the name of the file that it is in.
    """

    __slots__ = ("where",)

    def __init__(self, where: bytes | str) -> None:
        self.where = where

    def __reduce__(self) -> Any:
        return Packed, (self.where,)

    def __call__(self, item: Any) -> Any:
        return _unpacked(self.where)(item)


@functools.lru_cache(maxsize=4)
def _unpacked(where: bytes | str) -> Callable[..., Any]:
    import cloudpickle

    data = where if isinstance(where, bytes) else Path(where).read_bytes()
    fn: Callable[..., Any] = cloudpickle.loads(data)
    return fn
