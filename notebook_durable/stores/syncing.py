"""Writing large amounts to the disk: in chunks, hashed beside the write, sent on its way early, waited for."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

__all__ = ["Digesting", "Waiting", "reserve", "sync_data", "sync_file", "write_at"]

#: Bytes per call, of large values and of others; after each call the disk is set to work on what it wrote.
_CHUNK, _SMALL_CHUNK = 8 << 20, 1 << 19
#: Pieces that the system takes in one call (IOV_MAX is 1024).
_MOST_AT_ONCE = 1000
#: Below, a thread costs more than it saves.
_ALONE = 1 << 18


class Digesting:
    """Hashes pieces in a thread of its own (blake3 lets go of the GIL) while the caller writes them.

    Args:
        hasher: a new blake3 object.
        pieces: what to hash, in order.
        length: bytes in all.
    """

    def __init__(self, hasher: Any, pieces: Sequence[memoryview], length: int) -> None:
        self._hasher, self._pieces = hasher, pieces
        self._stopped = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        if length >= _ALONE:
            thread = threading.Thread(target=self._run_apart, name="durable-digest", daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:
                pass  # no thread can be started when the interpreter ends: result() does it

    def _run_apart(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001  raised again where the digest is asked for
            self._error = error

    def _run(self) -> None:
        for piece in self._pieces:
            for begin in range(0, piece.nbytes, _CHUNK):
                if self._stopped:
                    return
                self._hasher.update(piece[begin : begin + _CHUNK])

    def result(self) -> str:
        """Wait for the digest."""
        if self._thread is None:
            self._run()
        else:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return str(self._hasher.hexdigest())

    def stop(self) -> None:
        """Let go of the pieces: the write failed."""
        self._stopped = True
        if self._thread is not None:
            self._thread.join()


class Waiting:
    """Waits for the disk in a thread of its own, while who asked for it writes something else."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._busy = False
        #: Ends the thread; None: there is none.
        self._end: weakref.finalize[Any, Waiting] | None = None

    def start(self, sync: Callable[[int], None], descriptor: int) -> None:
        """Begin ``sync(descriptor)``; one at a time."""
        if self._end is None:
            try:
                threading.Thread(target=_work, args=(self._jobs, self._done), name="durable-sync", daemon=True).start()
            except RuntimeError:
                self._done.put(_outcome(sync, descriptor))  # no thread can be started when the interpreter ends
                self._busy = True
                return
            self._end = weakref.finalize(self, self._jobs.put, None)
            self._end.atexit = False
        self._busy = True
        self._jobs.put((sync, descriptor))

    def result(self) -> None:
        """Wait until it is done; does nothing if nothing was begun. May be called again after an interrupt.

        Raises:
            OSError: as ``sync`` did.
        """
        if self._busy:
            error = self._done.get()
            self._busy = False
            if error is not None:
                raise error

    def close(self) -> None:
        """End the thread, after what it is at. It is started again when needed."""
        if self._end is not None:
            self._end()
            self._end = None


_Job = tuple[Callable[[int], None], int]


def _work(jobs: SimpleQueue[_Job | None], done: SimpleQueue[BaseException | None]) -> None:
    while (job := jobs.get()) is not None:
        done.put(_outcome(*job))


def _outcome(sync: Callable[[int], None], descriptor: int) -> BaseException | None:
    try:
        sync(descriptor)
    except BaseException as error:  # noqa: BLE001  raised again where the result is asked for
        return error
    return None


def write_at(descriptor: int, pieces: Sequence[memoryview], offset: int) -> None:
    """Write pieces one after the other from ``offset`` on, without waiting for the disk."""
    chunk = _CHUNK if sum(piece.nbytes for piece in pieces) > _CHUNK else _SMALL_CHUNK
    for batch in _batches(pieces, chunk):
        left, whole = list(batch), 0
        while left:
            written = os.pwritev(descriptor, left, offset + whole)
            whole += written
            while left and written >= left[0].nbytes:
                written -= left.pop(0).nbytes
            if written:
                left[0] = left[0][written:]
        if whole >= _SMALL_CHUNK // 2:
            _send(descriptor, offset, whole)
        offset += whole


def _batches(pieces: Sequence[memoryview], chunk: int) -> Iterator[list[memoryview]]:
    """Cut pieces into portions of about ``chunk`` bytes, for one call each."""
    batch: list[memoryview] = []
    size = 0
    for piece in pieces:
        for begin in range(0, piece.nbytes, chunk):
            part = piece[begin : begin + chunk]
            batch.append(part)
            size += part.nbytes
            if size >= chunk or len(batch) >= _MOST_AT_ONCE:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def reserve(descriptor: int, offset: int, length: int) -> bool:
    """Reserve room on the disk beyond the end of a file, whose length stays; tell whether that was done.

    A sync has less to write down then: the blocks are the file's already.
    """
    global _reserved
    if _reserved is None:
        _reserved = _reserver()
    return _reserved(descriptor, offset, length)


def _reserver() -> Callable[[int, int, int], bool]:
    try:
        import ctypes

        allocate = ctypes.CDLL(None).fallocate
        allocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    except (ImportError, OSError, AttributeError, TypeError):
        return lambda _descriptor, _offset, _length: False
    keep_size = 1  # FALLOC_FL_KEEP_SIZE
    return lambda descriptor, offset, length: allocate(descriptor, keep_size, offset, length) == 0


_reserved: Callable[[int, int, int], bool] | None = None


def _sender() -> Callable[[int, int, int], Any]:
    """Return Linux's sync_file_range, which sets the disk to work without waiting; elsewhere what does nothing."""
    try:
        import ctypes

        send = ctypes.CDLL(None).sync_file_range
        send.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    except (ImportError, OSError, AttributeError, TypeError):
        return lambda _descriptor, _offset, _length: None
    write = 2  # SYNC_FILE_RANGE_WRITE
    return lambda descriptor, offset, length: send(descriptor, offset, length, write)


def _send(descriptor: int, offset: int, length: int) -> None:
    global _found
    if _found is None:
        _found = _sender()  # found when first needed: most kernels never write that much
    _found(descriptor, offset, length)  # an error doesn't matter: what counts is the sync that follows


_found: Callable[[int, int, int], Any] | None = None


def sync_file(descriptor: int) -> None:
    """Wait until a file is on the disk."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync alone stops at the drive's cache there
    else:
        os.fsync(descriptor)


def sync_data(descriptor: int) -> None:
    """Wait until what was written to a file is on the disk, and what is needed to read it (its new length)."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        sync_file(descriptor)
