"""The bytes of the serializer named ``dill``: what stands before and behind the pickle.

Version 2: ``NBD\\x02``, a kind byte (of kind ``D`` also major and minor version of Python), a pickle of protocol 5,
then for each of its buffers a kind byte and its length (8 bytes), and the number of buffers (4 bytes), little-endian.

- kind ``P``: the pickle refers to the classes of the notebook by name.
- kind ``D``: it holds functions or local classes by value, as bytecode.

Version 1 had no buffers: the pickle is the rest. It is read for ever.
"""

from __future__ import annotations

import mmap
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from notebook_durable.errors import JournalFormatError, ReplayError

__all__ = ["BY_VALUE", "PICKLE", "Kind", "Part", "begin", "end", "open_envelope", "own"]

_FIRST = b"NBD\x01"
_MAGIC = b"NBD\x02"
PICKLE = b"P"
BY_VALUE = b"D"
_HEAD = len(_MAGIC) + 1
_PYTHON = bytes(sys.version_info[:2])
_ROW = struct.Struct("<cQ")
_COUNT = struct.Struct("<I")
_NO_PARTS = _COUNT.pack(0)


class Kind:
    """What becomes of a buffer; one byte each, part of the format."""

    WRITABLE = b"w"
    READ_ONLY = b"r"
    BYTES = b"b"
    BYTEARRAY = b"a"
    TEXT = b"t"


class Part(NamedTuple):
    """A buffer of a pickle: its kind, and its bytes in one row."""

    kind: bytes
    view: memoryview


class Opened(NamedTuple):
    """Where the pickle begins, and the kinds and lengths of its buffers."""

    start: int
    rows: Sequence[tuple[bytes, int]]


def begin(kind: bytes) -> bytes:
    """Return what stands before a pickle."""
    return _MAGIC + kind + (_PYTHON if kind == BY_VALUE else b"")


def end(parts: Sequence[Part]) -> bytes:
    """Return what stands behind a pickle that has these buffers."""
    if not parts:
        return _NO_PARTS
    return b"".join([*(_ROW.pack(part.kind, part.view.nbytes) for part in parts), _COUNT.pack(len(parts))])


def open_envelope(data: bytes, buffers: Sequence[Any]) -> Opened:
    """Look at what stands around a pickle.

    Raises:
        JournalFormatError: if the bytes were written by a newer version of this package, or by something else, or if
            these are not the buffers that belong to them.
        ReplayError: if it holds functions compiled by another version of Python.
    """
    magic, kind = data[: len(_MAGIC)], data[len(_MAGIC) : _HEAD]
    if magic not in (_FIRST, _MAGIC) or kind not in (PICKLE, BY_VALUE):
        raise JournalFormatError(
            f"this value begins with {bytes(data[:_HEAD])!r}: not written by this version's 'dill' serializer. A newer "
            "notebook_durable may read it: pip install --upgrade notebook_durable"
        )
    start = _HEAD
    if kind == BY_VALUE:
        start += len(_PYTHON)
        written = data[_HEAD:start]
        if written != _PYTHON:
            # Bytecode of another version may crash the interpreter, so it isn't tried.
            raise ReplayError(
                f"this value holds functions compiled by Python {'.'.join(map(str, written))}, and this is Python "
                f"{'.'.join(map(str, _PYTHON))}. Use that version, or compute the step anew under a new name."
            )
    rows = _rows(data, start) if magic == _MAGIC else ()
    if not rows and not buffers:
        return Opened(start, ())
    lengths = [memoryview(buffer).nbytes for buffer in buffers]
    if lengths != [length for _, length in rows]:
        raise JournalFormatError(
            f"this value has {len(rows)} buffers of {sum(length for _, length in rows)} bytes in all, and "
            f"{len(lengths)} of {sum(lengths)} bytes were found. Type %durable verify"
        )
    return Opened(start, rows)


def _rows(data: bytes, start: int) -> Sequence[tuple[bytes, int]]:
    last = len(data) - _COUNT.size
    if last >= start:
        if data.endswith(_NO_PARTS):
            return ()
        (count,) = _COUNT.unpack_from(data, last)
        first = last - count * _ROW.size
        if first >= start:
            return list(_ROW.iter_unpack(data[first:last])) if count else ()
    raise JournalFormatError(f"this value is cut off: it has {len(data)} bytes. Type %durable verify")


def own(rows: Sequence[tuple[bytes, int]], buffers: Sequence[Any], *, borrow: bool = False) -> Iterator[Any]:
    """Give each buffer as the pickle needs it, so that nobody else sees what is written to the value.

    What can be written to is taken to be this value's own (a copy-on-write map). Arrays that were writable get a copy
    of anything else. Read-only ones share what can't change: bytes, and maps of files that are never written again.

    Args:
        rows: kind and length of each.
        buffers: what the store gave.
        borrow: share everything, for a value that nobody keeps.
    """
    for (kind, _), buffer in zip(rows, buffers, strict=True):
        view = memoryview(buffer)
        if kind == Kind.WRITABLE:
            yield view if borrow or not view.readonly else bytearray(view)
        elif kind == Kind.READ_ONLY:
            fixed = borrow or not view.readonly or isinstance(view.obj, (bytes, mmap.mmap))
            yield view if fixed else bytes(view)
        else:
            # A view and not `bytes`, because bytes(buffer) must copy: numpy writes into bytes that it is handed.
            yield view
