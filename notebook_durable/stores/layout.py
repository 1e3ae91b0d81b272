"""How one value lies in a file of its own, or in a part of a pack: header, pickle stream, buffers.

    header   "NbDuBlob", version (4 bytes), how many buffers (4), length of the data (8), length of each buffer (8 each)
    data     after zeros up to a multiple of 64
    buffers  each after zeros up to a multiple of 64; of 4096 if it is large and in a large value, which will be mapped,
             so that it has its pages for itself

All numbers are little endian. The digest of a value is that of all these bytes, zeros too: every flipped bit shows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pickle import PickleBuffer
from typing import Any, NamedTuple

__all__ = ["Image", "Misshapen", "Shape", "data_span", "flat", "header_size", "image_of", "shape_of"]

_MAGIC, _VERSION = b"NbDuBlob", 1
_HEAD = struct.Struct("<8sIIQ")
_LENGTH = 8
#: A buffer of this size begins on a page of its own, in a value of this size.
_LARGE, _LARGE_VALUE = 1 << 16, 4 << 20
_ALIGN, _PAGE = 64, 4096
#: Pieces that are smaller are joined, so that a value of a thousand small buffers isn't written by a thousand calls.
_SMALL_PIECE = 1 << 16


class Misshapen(ValueError):  # noqa: N818  an internal signal, not an error that anybody sees
    """The header is none of ours."""


class Image(NamedTuple):
    """A value as it will lie on the disk.

    Attributes:
        pieces: the bytes, in order; large buffers are those that were given, not copies.
        length: of all pieces.
    """

    pieces: Sequence[memoryview]
    length: int


class Shape(NamedTuple):
    """Where the parts of a value begin and end, counted from its first byte."""

    data: tuple[int, int]
    buffers: Sequence[tuple[int, int]]
    length: int


def flat(buffer: Any) -> memoryview:
    """Return a contiguous buffer as bytes, without a copy.

    Raises:
        BufferError: if it isn't contiguous.
    """
    if type(buffer) is memoryview and buffer.c_contiguous:
        # Not by way of a PickleBuffer, which would hold on to the view. A view that something holds on to kills the
        # process when both are garbage in a cycle (of a traceback, say): a bug of CPython 3.11 and 3.12.
        return buffer.cast("B") if buffer.nbytes else memoryview(b"")
    return (buffer if isinstance(buffer, PickleBuffer) else PickleBuffer(buffer)).raw()


def image_of(data: bytes, buffers: Sequence[memoryview]) -> Image:
    """Lay a value out."""
    lengths = [buffer.nbytes for buffer in buffers]
    shape = _shape(len(data), lengths)
    header = _HEAD.pack(_MAGIC, _VERSION, len(buffers), len(data)) + struct.pack(f"<{len(lengths)}Q", *lengths)
    parts = [(0, memoryview(header)), (shape.data[0], memoryview(data))]
    parts += [(begin, buffer) for (begin, _), buffer in zip(shape.buffers, buffers, strict=True)]
    return Image(tuple(_pieces(parts, shape.length)), shape.length)


def _pieces(parts: Sequence[tuple[int, memoryview]], length: int) -> Iterator[memoryview]:
    joined, at = bytearray(), 0
    for begin, part in parts:
        joined += bytes(begin - at)
        at = begin + part.nbytes
        if part.nbytes < _SMALL_PIECE:
            joined += part
            continue
        if joined:
            yield memoryview(joined)
            joined = bytearray()
        yield part
    joined += bytes(length - at)
    if joined:
        yield memoryview(joined)


def data_span(beginning: bytes | bytearray, length: int) -> tuple[int, int]:
    """Return where the data begins and ends, from the first 24 bytes of a value of this length.

    Raises:
        Misshapen: if that can't be.
    """
    count, data = _first(beginning)
    begin = _aligned(_HEAD.size + _LENGTH * count, _ALIGN)
    if begin + data > length:
        raise Misshapen("its header is not one of ours")
    return begin, begin + data


def header_size(beginning: bytes | bytearray) -> int:
    """Return how long the header alone is, from the first 24 bytes of a value.

    Raises:
        Misshapen: if it is none.
    """
    return _HEAD.size + _LENGTH * _first(beginning)[0]


def shape_of(head: bytes, length: int) -> Shape:
    """Read a header whose digest was checked.

    Raises:
        Misshapen: if it isn't one, or says something else than ``length``.
    """
    count, data = _first(head)
    try:
        lengths = struct.unpack_from(f"<{count}Q", head, _HEAD.size)
    except struct.error:
        raise Misshapen("its header is cut off") from None
    shape = _shape(data, lengths)
    if shape.length != length:
        raise Misshapen("its header says another length")
    return shape


def _first(beginning: bytes | bytearray) -> tuple[int, int]:
    if len(beginning) < _HEAD.size:
        raise Misshapen("its header is cut off")
    magic, version, count, data = _HEAD.unpack_from(beginning)
    if magic != _MAGIC or version != _VERSION:
        raise Misshapen("its header is not one of ours")
    return count, data


def _shape(data: int, lengths: Sequence[int]) -> Shape:
    begin = _aligned(_HEAD.size + _LENGTH * len(lengths), _ALIGN)
    at, spans = begin + data, []
    page = _PAGE if data + sum(lengths) >= _LARGE_VALUE else _ALIGN
    for length in lengths:
        start = _aligned(at, page if length >= _LARGE else _ALIGN)
        spans.append((start, start + length))
        at = start + length
    return Shape((begin, begin + data), spans, at)


def _aligned(offset: int, to: int) -> int:
    return -(-offset // to) * to
