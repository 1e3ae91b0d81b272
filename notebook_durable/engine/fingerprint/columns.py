"""Columns of Arrow and polars as buffers: which are missing, how long each text is, and the data one after the other.

How a column is cut into chunks, where it starts in a buffer, and what lies under a missing value is no content. A
polars column comes out the same whether pyarrow is loaded or not; with it, one that was seen before costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from notebook_durable.engine.fingerprint.content import Hasher, Walk
from notebook_durable.engine.fingerprint.seen import SMALLEST

__all__ = ["arrow_column", "polars_column"]

_TEXTS = frozenset({"string", "large_string", "binary", "large_binary", "string_view", "binary_view"})
_WIDE = {
    "string": "large_string",
    "binary": "large_binary",
    "string_view": "large_string",
    "binary_view": "large_binary",
}
_NUMBERS = ("int", "uint", "float", "double", "halffloat", "date", "time", "duration")
_POLARS_NUMBERS = ("Int8", "Int16", "Int32", "Int64", "UInt", "Float", "Date", "Time", "Duration")


class _Column:
    """Three streams: missing, lengths, data."""

    def __init__(self, walk: Walk) -> None:
        self.missing, self.lengths, self.data = (walk.contents.new_hash() for _ in range(3))
        self.any_missing = 0
        self.count = 0

    def add(self, count: int, missing: Any, lengths: Any, data: Iterable[Any]) -> None:
        """Add a chunk; ``missing``: bool array or None if there is none."""
        numpy: Any = sys.modules["numpy"]
        self.count += count
        if missing is not None:
            places = numpy.flatnonzero(missing) + (self.count - count)
            self.any_missing += len(places)
            self.missing.update(places.astype("<i8").view("u1").data)
        if lengths is not None:
            self.lengths.update(numpy.ascontiguousarray(lengths, dtype="<i8").view("u1").data)
        for part in data:
            self.data.update(part)

    def digest(self, walk: Walk) -> bytes:
        streams: tuple[Hasher, ...] = (self.missing, self.lengths, self.data)
        counts = self.count.to_bytes(8, "little") + self.any_missing.to_bytes(8, "little")
        return b"=" + walk.contents.hash(counts + b"".join(stream.digest()[:16] for stream in streams))


# --- Arrow ----------------------------------------------------------------------------------


def arrow_column(walk: Walk, value: Any) -> bytes:
    """Write an Arrow array or chunked array down."""
    chunks = value.chunks if hasattr(value, "chunks") else [value]
    kind = value.type
    name = str(kind)
    if name.startswith("dictionary"):
        return walk.text("dictionary") + walk.piece(bool(kind.ordered)) + arrow_column(walk, _decoded(value))
    if hasattr(kind, "storage_type"):
        storage = [chunk.storage for chunk in chunks]
        return walk.text(name) + walk.pieces(storage)
    is_text = name in _TEXTS
    key, size = _buffers_key(name, chunks, is_text)
    digest = walk.contents.seen.get(key) if key is not None else None
    if digest is None:
        if is_text or name == "bool" or name.startswith(_NUMBERS):
            column = _Column(walk)
            for chunk in chunks:
                _add_arrow(column, chunk, is_text)
            digest = column.digest(walk)
        else:  # lists, structs, decimals
            digest = walk.piece(value.to_pylist())
        if key is not None:
            walk.contents.seen.put(key, [chunk.buffers() for chunk in chunks], size, digest)
    return walk.text(_WIDE.get(name, name)) + digest


def _decoded(value: Any) -> Any:
    if hasattr(value, "chunks"):
        chunks = [chunk.dictionary_decode() for chunk in value.chunks]
        return sys.modules["pyarrow"].chunked_array(chunks, type=value.type.value_type)
    return value.dictionary_decode()


def _buffers_key(name: str, chunks: list[Any], is_text: bool) -> tuple[Any, int]:
    """Name the memory of a column, if nobody can change it. Numbers may share theirs with a numpy array."""
    key: list[Any] = [name]
    size = 0
    for chunk in chunks:
        key += (chunk.offset, len(chunk))
        for buffer in chunk.buffers():
            if buffer is None:
                key.append(None)
                continue
            if buffer.is_mutable and not is_text:
                return None, 0
            size += buffer.size
            key += (buffer.address, buffer.size)
    return (tuple(key), size) if size >= SMALLEST else (None, 0)


def _add_arrow(column: _Column, chunk: Any, is_text: bool) -> None:
    numpy: Any = sys.modules["numpy"]
    missing = None
    if chunk.null_count:
        missing = chunk.is_null().to_numpy(zero_copy_only=False)
    name = str(chunk.type)
    if not is_text:
        column.add(len(chunk), missing, None, [_numbers(chunk, name, missing).data])
        return
    if name in _WIDE:
        chunk = chunk.cast(_WIDE[name])
    if missing is not None:
        chunk = chunk.fill_null("" if chunk.type == "large_string" else b"")
    _, offsets, data = chunk.buffers()
    count = len(chunk)
    if not count or offsets is None:
        return
    ends = numpy.frombuffer(offsets, "<i8", count=count + 1, offset=8 * chunk.offset)
    first, last = int(ends[0]), int(ends[-1])
    view = memoryview(data)[first:last] if data is not None else b""
    column.add(count, missing, numpy.diff(ends), [view])


def _numbers(chunk: Any, name: str, missing: Any) -> Any:
    numpy: Any = sys.modules["numpy"]
    if name == "bool":
        values = chunk.fill_null(False) if missing is not None else chunk
        return values.to_numpy(zero_copy_only=False).view("u1")
    width = chunk.type.bit_width // 8
    data = chunk.buffers()[1]
    if data is None or not len(chunk):
        return numpy.zeros(0, "u1")
    values = numpy.frombuffer(data, "u1", count=width * len(chunk), offset=width * chunk.offset)
    if missing is not None:
        values = values.reshape(-1, width).copy()
        values[missing] = 0
        values = values.reshape(-1)
    return values


# --- polars ---------------------------------------------------------------------------------


def polars_column(walk: Walk, value: Any) -> bytes:
    """Write a polars Series down, without its name."""
    name = str(value.dtype)
    key: Any = None
    size, held = 0, None
    if "pyarrow" in sys.modules and "numpy" in sys.modules and value.estimated_size() >= SMALLEST:
        key, size, held = _polars_key(value, name)
    digest = walk.contents.seen.get(key) if key is not None else None
    if digest is None:
        digest = _polars_digest(walk, value, name)
        if key is not None:
            walk.contents.seen.put(key, held, size, digest)
    return walk.text(name) + digest


def _polars_key(value: Any, name: str) -> tuple[Any, int, Any]:
    level = sys.modules["polars"].CompatLevel.newest()
    try:
        arrow = value.to_arrow(compat_level=level)
        buffers = [buffer for buffer in arrow.buffers() if buffer is not None]
    except Exception:  # noqa: BLE001  a column of Python objects has no Arrow form
        return None, 0, None
    size = sum(buffer.size for buffer in buffers)
    if value.n_chunks() != 1 or any(buffer.is_mutable for buffer in buffers) or size < SMALLEST:
        return None, 0, None  # several chunks are copied to one
    places = tuple((buffer.address, buffer.size) for buffer in buffers)
    return ("polars", name, arrow.offset, len(arrow), places), size, arrow


def _polars_digest(walk: Walk, value: Any, name: str) -> bytes:
    if name.startswith(("Categorical", "Enum")):
        value = value.cast(sys.modules["polars"].String)
        is_text = True
    else:
        is_text = name in ("String", "Utf8", "Binary")
    if "numpy" not in sys.modules or not (is_text or name == "Boolean" or name.startswith(_POLARS_NUMBERS)):
        return walk.piece(value.to_list())
    column = _Column(walk)
    missing = value.is_null().to_numpy() if value.null_count() else None
    if not is_text:
        physical = value.to_physical()
        if missing is not None:
            physical = physical.fill_null(False if name == "Boolean" else 0)
        data = sys.modules["numpy"].ascontiguousarray(physical.to_numpy())
        column.add(len(value), missing, None, [data.view("u1").data])
        return column.digest(walk)
    if "pyarrow" in sys.modules:
        for chunk in value.to_arrow().chunks if hasattr(value.to_arrow(), "chunks") else [value.to_arrow()]:
            _add_arrow(column, chunk, is_text=True)
        return column.digest(walk)
    if name == "Binary":
        parts = [part or b"" for part in value.to_list()]
        column.add(len(value), missing, [len(part) for part in parts], [b"".join(parts)])
    else:
        filled = value.fill_null("")
        text = filled.str.join("").item() if len(filled) else ""
        column.add(len(value), missing, filled.str.len_bytes().to_numpy(), [(text or "").encode()])
    return column.digest(walk)
