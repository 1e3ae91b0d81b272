"""Frames as Parquet or Arrow files, which other programs and other versions of pandas read: ``serializer="parquet"``.

Neither format holds all that a frame can be, and what it can't hold it changes without a word (an object column becomes
text, the frequency of an index is gone). So each frame is read back from what was written and compared, and refused if
it came back as anything else.

Bytes: ``NBF\\x01``, a byte for the library (``p`` pandas, ``l`` polars, ``a`` pyarrow), one for the format (``P``
Parquet, ``A`` Arrow), then the file; a file of 64 KB or more is the only buffer of the payload instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from io import BytesIO
from typing import Any, NamedTuple

from notebook_durable.errors import JournalFormatError, MissingExtraError, NotStorableError
from notebook_durable.serializers.libraries import libraries_of
from notebook_durable.serializers.names import type_name
from notebook_durable.serializers.same_frame import Changed, changed_pandas, changed_polars
from notebook_durable.serializers.sink import LARGE

__all__ = ["PortableSerializer"]

_MAGIC = b"NBF\x01"
_HEAD = len(_MAGIC) + 2
_FORMATS = {"parquet": b"P", "arrow": b"A"}


class _Written(NamedTuple):
    data: bytes
    buffers: tuple[memoryview, ...]
    libraries: str


class PortableSerializer:
    """Writes frames of pandas and polars (``arrow`` also tables of pyarrow) that the format brings back as they are.

    Args:
        name: "parquet" (compressed with zstd) or "arrow" (an Arrow IPC file, also known as Feather; not compressed).
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def serialize(self, value: Any, /) -> bytes:
        """Return the bytes in one piece.

        Raises:
            NotStorableError: naming the column that would come back changed, and how.
            MissingExtraError: without pyarrow.
        """
        written = self.dump(value)
        return b"".join([written.data, *written.buffers])

    def deserialize(self, data: bytes, /) -> Any:
        """Return the frame of what :meth:`serialize` returned; see :meth:`load`."""
        return self.load(data)

    def dump(self, value: Any, /) -> _Written:
        """Return the head, with the file behind it or, from 64 KB on, as a buffer.

        Raises:
            NotStorableError: naming the column that would come back changed, and how.
            MissingExtraError: without pyarrow.
        """
        pyarrow(self.name)
        kind, reason = self._kind(value)
        if not kind:
            raise NotStorableError(type_name(type(value)), "", f"serializer='{self.name}': {reason}")
        try:
            file = memoryview(_WRITE[kind + _FORMATS[self.name]](value))
            back = _READ[kind + _FORMATS[self.name]](file)
            changed = _COMPARE[kind](value, back)
        except Exception as error:
            # pyarrow's errors name the column; the import of a missing part of it is none of the value's.
            reason = " ".join(map(str, error.args)) or type(error).__name__
            raise NotStorableError(type_name(type(value)), "", f"serializer='{self.name}': {reason}") from error
        if changed is not None:
            raise NotStorableError(
                changed.type_name or type_name(type(value)),
                changed.path,
                f"{changed.reason}: serializer='{self.name}' can't hold it",
            )
        head = _MAGIC + kind + _FORMATS[self.name]
        libraries = libraries_of([type(value)], ["pyarrow"])
        if file.nbytes < LARGE:
            return _Written(head + bytes(file), (), libraries)
        return _Written(head, (file.toreadonly(),), libraries)

    def load(self, data: bytes, buffers: Sequence[Any] = ()) -> Any:
        """Return the frame.

        Args:
            data: of :meth:`dump`.
            buffers: of :meth:`dump`. A table of pyarrow stays in them; nothing is ever written to them.

        Raises:
            JournalFormatError: if the bytes were written by a newer version of this package, or by something else.
            MissingExtraError: without pyarrow.
        """
        what = data[len(_MAGIC) : _HEAD]
        if data[: len(_MAGIC)] != _MAGIC or what not in _READ or len(buffers) > 1:
            raise JournalFormatError(
                f"this value begins with {bytes(data[:_HEAD])!r}: not written by this version's '{self.name}' "
                "serializer. A newer notebook_durable may read it: pip install --upgrade notebook_durable"
            )
        pyarrow(self.name)
        return _READ[bytes(what)](memoryview(buffers[0]) if buffers else memoryview(data)[_HEAD:])

    def _kind(self, value: Any) -> tuple[bytes, str]:
        cls = type(value)
        library = cls.__module__.partition(".")[0]
        if library == "pandas" and cls.__name__ == "DataFrame":
            return b"p", ""
        if library == "polars" and cls.__name__ == "DataFrame":
            objects = [name for name, dtype in value.schema.items() if "Object" in repr(dtype)]
            # polars panics, past every `except Exception`.
            return (b"", f"column {objects[0]!r} holds Python objects") if objects else (b"l", "")
        if library == "pyarrow" and cls.__name__ == "Table" and self.name == "arrow":
            return b"a", ""
        if library == "polars" and cls.__name__ == "LazyFrame":
            return b"", "it writes frames that are there: return frame.collect()"
        if any(base.__module__.partition(".")[0] in ("pandas", "polars") for base in cls.__mro__):
            return b"", "it writes whole frames only, and of pandas' and polars' own classes: return a DataFrame"
        tables = " and tables of pyarrow" if self.name == "arrow" else ""
        return b"", f"it writes frames of pandas and polars{tables} only. Leave serializer= away for other values"


def pyarrow(name: str) -> Any:
    """Import pyarrow.

    Raises:
        MissingExtraError: naming what needs it.
    """
    try:
        return import_module("pyarrow")
    except ImportError:
        raise MissingExtraError("pyarrow", "arrow", f"serializer='{name}'") from None


def _pandas_to_parquet(frame: Any) -> Any:
    return _table_to_parquet(import_module("pyarrow").Table.from_pandas(frame))


def _pandas_to_arrow(frame: Any) -> Any:
    return _table_to_arrow(import_module("pyarrow").Table.from_pandas(frame))


def _table_to_parquet(table: Any) -> Any:
    sink = import_module("pyarrow").BufferOutputStream()
    # Arrow's own schema goes with it, in which categories and time zones are written down.
    import_module("pyarrow.parquet").write_table(table, sink, compression="zstd", store_schema=True)
    return sink.getvalue()


def _table_to_arrow(table: Any) -> Any:
    pa = import_module("pyarrow")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _open(file: memoryview) -> Any:
    pa = import_module("pyarrow")
    return pa.BufferReader(pa.py_buffer(file))


def _parquet_to_pandas(file: memoryview) -> Any:
    return _writable(import_module("pyarrow.parquet").read_table(_open(file)).to_pandas())


def _arrow_to_table(file: memoryview) -> Any:
    return import_module("pyarrow").ipc.open_file(_open(file)).read_all()


def _arrow_to_pandas(file: memoryview) -> Any:
    return _writable(_arrow_to_table(file).to_pandas())


def _writable(frame: Any) -> Any:
    # pyarrow copies columns of numpy's types into arrays of their own, but lends the memory of categories and the like.
    for i, dtype in enumerate(frame.dtypes):
        if hasattr(dtype, "categories") or hasattr(dtype, "freq") or hasattr(dtype, "subtype"):
            frame.isetitem(i, frame.iloc[:, i].copy())
    return frame


def _polars_to_parquet(frame: Any) -> Any:
    sink = BytesIO()
    frame.write_parquet(sink)
    return sink.getbuffer()


def _polars_to_arrow(frame: Any) -> Any:
    sink = BytesIO()
    frame.write_ipc(sink)
    return sink.getbuffer()


def _parquet_to_polars(file: memoryview) -> Any:
    return import_module("polars").read_parquet(BytesIO(file))


def _arrow_to_polars(file: memoryview) -> Any:
    return import_module("polars").read_ipc(BytesIO(file))


def _changed_table(table: Any, back: Any) -> Changed | None:
    if not table.schema.equals(back.schema, check_metadata=True):
        return Changed("", "", "its schema would change")
    # NaN is not equal to itself, so the files are compared instead of the tables.
    same = bytes(_table_to_arrow(back.combine_chunks())) == bytes(_table_to_arrow(table.combine_chunks()))
    return None if same else Changed("", "", "its values would change")


_WRITE: dict[bytes, Callable[[Any], Any]] = {
    b"pP": _pandas_to_parquet,
    b"pA": _pandas_to_arrow,
    b"lP": _polars_to_parquet,
    b"lA": _polars_to_arrow,
    b"aA": _table_to_arrow,
}
_READ: dict[bytes, Callable[[memoryview], Any]] = {
    b"pP": _parquet_to_pandas,
    b"pA": _arrow_to_pandas,
    b"lP": _parquet_to_polars,
    b"lA": _arrow_to_polars,
    b"aA": _arrow_to_table,
}
_COMPARE: dict[bytes, Callable[[Any, Any], Changed | None]] = {
    b"p": changed_pandas,
    b"l": changed_polars,
    b"a": _changed_table,
}
