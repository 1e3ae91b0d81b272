"""Writing large amounts to the disk: in chunks, hashed beside the write, sent on its way early, waited for."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["Digesting", "sync_data", "sync_file", "write_at"]

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
