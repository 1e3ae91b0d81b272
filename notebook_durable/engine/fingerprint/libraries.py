"""Values of numpy, pandas, polars, Arrow and torch, recognised by name: none of them is ever imported here.

Large data goes through as buffers, after what is no content has been taken out: strides, padding, chunks, offsets, and
what lies under a missing value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from notebook_durable.engine.fingerprint.columns import arrow_column, polars_column
from notebook_durable.engine.fingerprint.content import Walk
from notebook_durable.engine.fingerprint.scalars import flat
from notebook_durable.engine.fingerprint.seen import SMALLEST

__all__ = ["BY_NAME"]

_BLOCK = 1 << 24  # bytes; of an array that has to be copied to be read in order
_LONG_DOUBLE = {"g": 10, "G": 10}  # bytes that count; the rest of a long double is padding


# --- numpy ----------------------------------------------------------------------------------


def _array(walk: Walk, value: Any) -> bytes:
    owned = value.nbytes >= SMALLEST and not value.flags.writeable and value.flags.owndata
    seen = walk.contents.seen
    digest = seen.get_weak(value) if owned else None
    if digest is None:
        digest = walk.contents.hash(_array_bytes(walk, value))
        if owned and not value.dtype.hasobject:
            seen.put_weak(value, digest)
    own = vars(value) if hasattr(value, "__dict__") else None
    more = walk.piece(dict(own)) if own else b""  # attributes of a subclass: a unit
    return digest + more


def _array_bytes(walk: Walk, value: Any) -> bytes:
    dtype = value.dtype
    written = [walk.text(str(dtype) if dtype.names else dtype.str), walk.pieces(value.shape)]
    if dtype.hasobject or dtype.kind == "T":
        values = value.reshape(-1).tolist()
        plain = flat(values)  # texts, most of the time
        written.append(walk.text(str(dtype)))
        written.append(walk.buffer(plain) if plain is not None else walk.pieces(values))
    elif dtype.names:
        written += [_array_bytes(walk, value[name]) for name in dtype.names]  # without the padding between them
    elif dtype.itemsize == 0 or value.size == 0:
        pass
    elif value.flags.c_contiguous and dtype.char not in _LONG_DOUBLE:
        written.append(walk.buffer(value.reshape(-1).view("u1").data))
    else:
        written.append(_in_order(walk, value))
    return b"".join(written)


def _in_order(walk: Walk, value: Any) -> bytes:
    """Read an array that doesn't lie in order, block by block."""
    hasher = walk.contents.new_hash()
    rows = value.reshape(1) if value.ndim == 0 else value
    step = max(1, _BLOCK * len(rows) // max(1, value.nbytes))
    counted = _LONG_DOUBLE.get(value.dtype.char)
    for first in range(0, len(rows), step):
        block = rows[first : first + step].copy(order="C").reshape(-1)
        data = block.view("u1")
        if counted is not None and value.dtype.itemsize in (16, 32):
            data = data.reshape(-1, 16)[:, :counted].copy().reshape(-1)
        hasher.update(data.data)
    return b"!" + int(value.nbytes).to_bytes(8, "little") + bytes(hasher.digest()[:16])


def _masked(walk: Walk, value: Any) -> bytes:
    return _array(walk, _base(value.data)) + _array(walk, _base(value.mask)) + walk.piece(value.fill_value)


def _base(value: Any) -> Any:
    """Return a numpy array without what its subclass adds."""
    numpy = sys.modules["numpy"]
    return numpy.asarray(value)


def _scalar(walk: Walk, value: Any) -> bytes:
    dtype = value.dtype
    if dtype.names or dtype.hasobject or dtype.char in _LONG_DOUBLE:
        return _array_bytes(walk, _base(value))
    if dtype.kind in "US":
        return walk.text(dtype.kind) + walk.piece(value.item())
    return walk.text(dtype.str) + b"!" + bytes(value.tobytes())


def _random(walk: Walk, value: Any) -> bytes:
    return walk.piece(value.bit_generator)


def _bit_generator(walk: Walk, value: Any) -> bytes:
    return walk.piece(value.state)


# --- pandas ---------------------------------------------------------------------------------


def _frame(walk: Walk, value: Any) -> bytes:
    column = getattr(value, "_get_column_array", None)  # no Series around each
    if column is None:
        column = lambda position: value.iloc[:, position].array  # noqa: E731
    columns = [walk.piece(column(position)) for position in range(value.shape[1])]
    return b"".join([walk.piece(value.columns), walk.piece(value.index), *columns, _pandas_extra(walk, value)])


def _series(walk: Walk, value: Any) -> bytes:
    return walk.piece(value.name) + walk.piece(value.index) + walk.piece(value.array) + _pandas_extra(walk, value)


def _pandas_extra(walk: Walk, value: Any) -> bytes:
    named = {name: getattr(value, name, None) for name in type(value)._metadata if name not in ("_name", "name")}  # noqa: SLF001
    return walk.piece(dict(value.attrs)) + walk.piece(bool(value.flags.allows_duplicate_labels)) + walk.piece(named)


def _index(walk: Walk, value: Any) -> bytes:
    frequency = getattr(value, "freqstr", None)
    return walk.pieces([*value.names, str(value.dtype), frequency]) + walk.piece(value.array)


def _range_index(walk: Walk, value: Any) -> bytes:
    return walk.pieces([value.name, value.start, value.stop, value.step])


def _multi_index(walk: Walk, value: Any) -> bytes:
    return walk.pieces(value.names) + walk.pieces(value.levels) + walk.pieces(value.codes)


def _numpy_column(walk: Walk, value: Any) -> bytes:
    return walk.text(str(value.dtype)) + _array(walk, _base(value))


def _nullable(walk: Walk, value: Any) -> bytes:
    missing = value.isna()
    nothing = False if value.dtype.kind == "b" else 0
    data = value.to_numpy(dtype=value.dtype.numpy_dtype, na_value=nothing)
    return walk.text(str(value.dtype)) + _array(walk, _base(missing)) + _array(walk, data)


def _category(walk: Walk, value: Any) -> bytes:
    return walk.piece(value.categories) + walk.piece(bool(value.ordered)) + _array(walk, value.codes)


def _datetimes(walk: Walk, value: Any) -> bytes:
    return walk.text(str(value.dtype)) + _array(walk, value.view("i8") if not hasattr(value, "asi8") else value.asi8)


def _intervals(walk: Walk, value: Any) -> bytes:
    return walk.text(value.closed) + walk.piece(value.left) + walk.piece(value.right)


def _sparse(walk: Walk, value: Any) -> bytes:
    places = value.sp_index.to_int_index().indices
    return walk.pieces([str(value.dtype), len(value), value.fill_value]) + walk.pieces([value.sp_values, places])


def _arrow_extension(walk: Walk, value: Any) -> bytes:
    return walk.text(str(value.dtype)) + arrow_column(walk, value.__arrow_array__())


# --- Arrow, polars, torch -------------------------------------------------------------------


def _arrow_table(walk: Walk, value: Any) -> bytes:
    schema = [(field.name, str(field.type), field.nullable) for field in value.schema]
    meta = {bytes(key): bytes(item) for key, item in (value.schema.metadata or {}).items()}
    return walk.piece(schema) + walk.piece(meta) + b"".join(arrow_column(walk, column) for column in value.columns)


def _polars_frame(walk: Walk, value: Any) -> bytes:
    return len(value).to_bytes(8, "little") + walk.pieces(value.get_columns())


def _polars_series(walk: Walk, value: Any) -> bytes:
    return walk.text(value.name) + polars_column(walk, value)


def _polars_lazy(walk: Walk, value: Any) -> bytes:
    def write() -> bytes:
        return walk.buffer(value.serialize())

    return walk.whole(value, write)


def _tensor(walk: Walk, value: Any) -> bytes:
    torch = sys.modules["torch"]
    plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    told = (str(value.dtype), tuple(value.shape), bool(value.requires_grad), str(value.device))
    return walk.piece(told) + _array(walk, plain)


def _query(walk: Walk, value: Any) -> bytes:
    compiled = value.compile()  # for no particular database
    return walk.text(str(compiled)) + walk.piece(dict(compiled.params))


def _database_table(walk: Walk, value: Any) -> bytes:
    columns = [(column.name, repr(column)) for column in value.columns]
    return walk.pieces((value.name, value.schema, columns))


def _pickled_buffer(walk: Walk, value: Any) -> bytes:
    return walk.buffer(value.raw())


BY_NAME: Mapping[tuple[str, str], Callable[[Walk, Any], bytes]] = {
    ("numpy", "MaskedArray"): _masked,
    ("numpy", "ndarray"): _array,
    ("numpy", "generic"): _scalar,
    ("numpy", "Generator"): _random,
    ("numpy", "BitGenerator"): _bit_generator,
    ("pandas", "DataFrame"): _frame,
    ("pandas", "Series"): _series,
    ("pandas", "RangeIndex"): _range_index,
    ("pandas", "MultiIndex"): _multi_index,
    ("pandas", "Index"): _index,
    ("pandas", "NumpyExtensionArray"): _numpy_column,
    ("pandas", "BaseMaskedArray"): _nullable,
    ("pandas", "Categorical"): _category,
    ("pandas", "DatetimeLikeArrayMixin"): _datetimes,
    ("pandas", "IntervalArray"): _intervals,
    ("pandas", "SparseArray"): _sparse,
    ("pandas", "ArrowExtensionArray"): _arrow_extension,
    ("pyarrow", "ChunkedArray"): arrow_column,
    ("pyarrow", "Array"): arrow_column,
    ("pyarrow", "Table"): _arrow_table,
    ("pyarrow", "RecordBatch"): _arrow_table,
    ("polars", "DataFrame"): _polars_frame,
    ("polars", "Series"): _polars_series,
    ("polars", "LazyFrame"): _polars_lazy,
    ("torch", "Tensor"): _tensor,
    ("sqlalchemy", "Table"): _database_table,
    ("sqlalchemy", "ClauseElement"): _query,
    ("_pickle", "PickleBuffer"): _pickled_buffer,
    ("pickle", "PickleBuffer"): _pickled_buffer,
}
