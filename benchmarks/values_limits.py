"""What the machine can do with the same bytes: the limits that ``values.py`` measures everything against.

The bytes are those of a C pickle of protocol 5 with its buffers apart, in the same order and without copies. Everything
is measured in one process; each file is deleted, and the deletion waited for, before the next is written.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from values_rows import Row

_CHUNK = 8 << 20
#: Pieces in one call.
_MOST_AT_ONCE = 1000
_SEND = 2  # SYNC_FILE_RANGE_WRITE

Parts = Sequence[memoryview]


def sync(paths: Iterable[Path]) -> None:
    """Fsync files and folders."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def measure(mode: str, values: list[Any], row: Row, folder: Path) -> dict[str, Any]:
    """Return seconds by the name of the limit."""
    everything = values if len(values) > 1 else values[0]
    gc.collect()
    if mode == "save":
        pieces = [parts_of(value) for value in values]
        warm(folder, 2 * sum(part.nbytes for parts in pieces for part in parts))
        ways: dict[str, Callable[[Path], None]] = {
            "raw": lambda path: write_plain(path, pieces),
            "raw_best": lambda path: write_best(path, pieces),
            "pickle": lambda path: write_pickle(path, everything),
        }
        found = {}
        for name in random.sample(sorted(ways), len(ways)):
            found[name] = timed(ways[name], folder / "limit")
            (folder / "limit").unlink()
            os.sync()
        write_pickle(folder / "pickle", everything)
        return found | {"bytes": sum(part.nbytes for parts in pieces for part in parts)}
    warm(folder, (folder / "pickle").stat().st_size)
    found = {"unpickle": timed(load_pickle, folder / "pickle")}
    pieces = [parts_of(value) for value in values]
    found["touch"] = timed(row.touch, values)
    found["blake3"] = timed(digest, pieces)
    return found


def warm(folder: Path, size: int) -> None:
    """Make the system have free memory that it needn't ask its host for.

    In a virtual machine the first use of memory that was handed back takes 1 s per GB, on whoever writes first. A file
    that is deleted before it was written to the disk leaves its pages behind.
    """
    zeros, path = bytes(_CHUNK), folder / "warm"
    with path.open("wb") as file:
        for _ in range(size // _CHUNK + 1):
            file.write(zeros)
    path.unlink()
    os.sync()


def timed(function: Callable[[Any], Any], argument: Any) -> float:
    """Return how long a call takes. What it returns is freed outside of the clock."""
    began = time.perf_counter()
    kept = function(argument)
    seconds = time.perf_counter() - began
    del kept
    return seconds


def parts_of(value: Any) -> Parts:
    """Pickle a value, and return all of its bytes in order."""
    buffers: list[memoryview] = []
    data = pickle.dumps(value, 5, buffer_callback=lambda buffer: buffers.append(buffer.raw()))
    return [memoryview(data), *buffers]


def write_plain(path: Path, pieces: Sequence[Parts]) -> None:
    """Write as most people do: ``write``, ``flush``, ``fsync``, for one value after the other."""
    with path.open("wb") as file:
        for parts in pieces:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())


def write_best(path: Path, pieces: Sequence[Parts]) -> None:
    """Write as fast as we know how: gathered in large calls, the disk set to work early, no needless metadata."""
    send, sync = _sender(), getattr(os, "fdatasync", os.fsync)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        at = 0
        for parts in pieces:
            for batch in _batches(parts):
                written = os.writev(descriptor, batch)
                assert written == sum(part.nbytes for part in batch), "written in part"
                send(descriptor, at, written)
                at += written
            sync(descriptor)
    finally:
        os.close(descriptor)


def _batches(parts: Parts) -> list[list[memoryview]]:
    batches: list[list[memoryview]] = [[]]
    left = _CHUNK
    for part in parts:
        at = 0
        while at < part.nbytes:
            chunk = part[at : at + left]
            batches[-1].append(chunk)
            at, left = at + chunk.nbytes, left - chunk.nbytes
            if not left or len(batches[-1]) == _MOST_AT_ONCE:
                batches.append([])
                left = _CHUNK
    return [batch for batch in batches if batch]


def _sender() -> Callable[[int, int, int], None]:
    if not sys.platform.startswith("linux"):
        return lambda descriptor, offset, length: None
    call = ctypes.CDLL(None).sync_file_range
    call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

    def send(descriptor: int, offset: int, length: int) -> None:
        call(descriptor, offset, length, _SEND)

    return send


def write_pickle(path: Path, value: Any) -> None:
    """Write with C pickle alone, as most people do, and wait for the disk."""
    with path.open("wb") as file:
        pickle.dump(value, file, 5)
        file.flush()
        os.fsync(file.fileno())


def load_pickle(path: Path) -> Any:
    """Read what :func:`write_pickle` wrote, with the collector paused."""
    gc.disable()
    try:
        with path.open("rb") as file:
            return pickle.load(file)
    finally:
        gc.enable()


def digest(pieces: Sequence[Parts]) -> str:
    """Pass over all bytes once."""
    from blake3 import blake3

    hasher = blake3()
    for parts in pieces:
        for part in parts:
            hasher.update(part)
    return hasher.hexdigest()
