"""Heads of tables: pandas and polars frames and series, and numpy's arrays of records. Only the head is touched."""

from __future__ import annotations

import math
import sys
from typing import Any

from notebook_durable.previews.shorts import short
from notebook_durable.previews.show import Shown, is_a
from notebook_durable.redact import HIDDEN

__all__ = ["frame_preview"]

_ROWS = 8
_COLUMNS = 20
_CELL = 60  # characters
_DTYPE = 60
_DECIMALS = 6
_LARGE, _SMALL = 1e9, 1e-6  # numbers beyond are written with an exponent, as is their whole column


def frame_preview(value: Any, shown: Shown, rows: int = _ROWS, columns: int = _COLUMNS) -> dict[str, Any] | None:
    """Return the head of a table; None if the value is none."""
    if is_a(value, "pandas", "DataFrame"):
        head = value.iloc[:rows]  # a fifth of the time that both at once take
        return _pandas(value, head if len(head.columns) <= columns else head.iloc[:, :columns], shown)
    if is_a(value, "pandas", "Series"):
        return _pandas(value, value.iloc[:rows], shown)
    if is_a(value, "polars", "DataFrame", "Series"):
        return _polars(value, shown, rows, columns)
    if is_a(value, "numpy", "ndarray") and value.dtype.names and value.ndim == 1:
        return _records(value, shown, rows, columns)
    return None


def _pandas(value: Any, head: Any, shown: Shown) -> dict[str, Any]:
    labels = _texts(_index_rows(head.index), shown)
    # A person's record as a series, or a table lying on its side, has the names of its values in the index.
    hidden = [shown.is_secret(label) for label in _index_rows(head.index)]
    if is_a(value, "pandas", "Series"):
        names, dtypes, columns = [head.name], [head.dtype], [head.tolist()]
    else:
        names, dtypes = list(head.columns), head.dtypes.tolist()
        columns = head.to_numpy(dtype=object).T.tolist()  # half of the time that a series for each column takes
    index_names = [name for name in head.index.names if name is not None]
    if shown.is_secret(tuple(index_names)):
        labels = [HIDDEN] * len(labels)
    cells = [
        _cells(column, shown, hide_all=shown.is_secret(name), hidden=hidden)
        for name, column in zip(names, columns, strict=True)
    ]
    return _frame(value, list(zip((_name(name, shown) for name in names), dtypes, strict=True)), cells, labels, shown)


def _index_rows(index: Any) -> list[Any]:
    # A range's numbers are no names, and most frames have one.
    return list(index) if len(index) else []


def _polars(value: Any, shown: Shown, rows: int, columns: int) -> dict[str, Any]:
    head = value.head(rows)
    if is_a(value, "polars", "Series"):
        found = [(head.name, head)]
    else:
        found = [(name, head.get_column(name)) for name in head.columns[:columns]]
    cells = [_cells(column.to_list(), shown, hide_all=shown.is_secret(name)) for name, column in found]
    return _frame(value, [(_name(name, shown), column.dtype) for name, column in found], cells, [], shown)


def _records(value: Any, shown: Shown, rows: int, columns: int) -> dict[str, Any]:
    numpy = sys.modules["numpy"]
    head = numpy.asarray(value[:rows])
    names = value.dtype.names[:columns]
    cells = [_cells(head[name].tolist(), shown, hide_all=shown.is_secret(name)) for name in names]
    made = _frame(value, [(_name(name, shown), value.dtype[name]) for name in names], cells, [], shown)
    return {**made, "shape": [len(value), len(value.dtype.names)]}


def _frame(
    value: Any, columns: list[tuple[str, Any]], cells: list[list[str]], index: list[str], shown: Shown
) -> dict[str, Any]:
    return {
        "kind": "frame",
        "shape": [int(one) for one in value.shape],
        # A dtype may list its categories, and these are texts of the user's.
        "columns": [{"name": name, "dtype": shown.text(str(dtype), _DTYPE)} for name, dtype in columns],
        "rows": [list(row) for row in zip(*cells, strict=True)] if cells else [[] for _ in index],
        "index": index,
    }


def _cells(values: list[Any], shown: Shown, *, hide_all: bool, hidden: list[bool] | None = None) -> list[str]:
    if hide_all:
        return [HIDDEN] * len(values)
    texts = _texts(values, shown)
    return texts if hidden is None else [HIDDEN if hidden[at] else text for at, text in enumerate(texts)]


def _texts(values: list[Any], shown: Shown) -> list[str]:
    """Write a column; of numbers with the same number of decimals, as pandas does."""
    numbers = [value for value in values if type(value) is float]
    if not numbers or any(value is not None and type(value) is not float for value in values):
        return [_cell(value, shown) for value in values]
    written = iter(_floats(numbers))
    return [next(written) if type(value) is float else _cell(value, shown) for value in values]


def _floats(numbers: list[float]) -> list[str]:
    sizes = [abs(number) for number in numbers if number and math.isfinite(number)]
    if sizes and (max(sizes) >= _LARGE or min(sizes) < _SMALL):
        return [f"{number:.{_DECIMALS}e}" for number in numbers]
    fixed = [f"{number:.{_DECIMALS}f}" for number in numbers]
    # One decimal at least tells them from integers.
    needed = max((len(text.rstrip("0").partition(".")[2]) for text in fixed if "." in text), default=1)
    return [f"{number:.{max(1, needed)}f}" for number in numbers]


def _cell(value: Any, shown: Shown) -> str:
    if type(value) is int or type(value) is str:
        return short(value, shown, _CELL)  # the short way for most
    if isinstance(value, float):
        return f"{value:.6g}"
    # Stamps, dates and decimals read better as str than as repr.
    if type(value).__module__ in ("datetime", "decimal", "uuid") or is_a(value, "pandas", "Timestamp", "Timedelta"):
        return str(value)
    return short(value, shown, _CELL)


def _name(name: Any, shown: Shown) -> str:
    return short(name, shown, _CELL)
