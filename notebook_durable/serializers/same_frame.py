"""Whether a frame that was read back is exactly the frame that was written; where not, what has changed."""

from __future__ import annotations

import datetime
import decimal
from typing import Any, NamedTuple

__all__ = ["Changed", "changed_pandas", "changed_polars"]

_ATOMS = (str, bytes, int, bool, decimal.Decimal, datetime.date, datetime.datetime, datetime.time, datetime.timedelta)
_MOST_TYPES = 3


class Changed(NamedTuple):
    """What would come back as something else.

    Attributes:
        type_name: the type at fault, "" for that of the frame.
        path: where, as in :class:`notebook_durable.errors.NotStorableError`.
        reason: what would become of it.
    """

    type_name: str
    path: str
    reason: str


def changed_pandas(frame: Any, back: Any) -> Changed | None:
    """Return what distinguishes a pandas frame from what was read back, None if nothing does."""
    if type(frame) is not type(back) or frame.shape != back.shape:
        return Changed("", "", f"a {type(frame).__name__} of shape {frame.shape} would become one of {back.shape}")
    for name, one, other in (("columns", frame.columns, back.columns), ("index", frame.index, back.index)):
        reason = _index(one, other)
        if reason:
            return Changed("", f".{name}", f"the {name}: {reason}")
    for i, column in enumerate(frame.columns):
        reason = _values(frame.iloc[:, i], back.iloc[:, i])
        if reason:
            return Changed(str(frame.dtypes.iloc[i]), f"[{column!r}]", f"column {column!r}: {reason}")
    if not _exactly(frame.attrs, back.attrs):
        return Changed("", ".attrs", f"attrs {frame.attrs!r} would become {back.attrs!r}")
    if frame.flags.allows_duplicate_labels != back.flags.allows_duplicate_labels:
        return Changed("", ".flags", "flags.allows_duplicate_labels would be lost")
    return None


def changed_polars(frame: Any, back: Any) -> Changed | None:
    """Return what distinguishes a polars frame from what was read back, None if nothing does."""
    if frame.columns != back.columns or frame.shape != back.shape:
        return Changed("", "", f"columns and shape {frame.shape} would become {back.shape}")
    for name in frame.columns:
        one, other = frame[name], back[name]
        if one.dtype != other.dtype or repr(one.dtype) != repr(other.dtype):
            return Changed(str(one.dtype), f"[{name!r}]", f"column {name!r}: {one.dtype} would become {other.dtype}")
        if not one.equals(other, check_dtypes=True, null_equal=True):
            return Changed(str(one.dtype), f"[{name!r}]", f"column {name!r}: its values would change")
    return None


def _index(one: Any, other: Any) -> str:
    if type(one) is not type(other):
        return f"a {type(one).__name__} would become a {type(other).__name__}"
    if not _exactly(list(one.names), list(other.names)):
        return f"names {list(one.names)} would become {list(other.names)}"
    if one.nlevels > 1:
        for i in range(one.nlevels):
            reason = _index(one.get_level_values(i), other.get_level_values(i))
            if reason:
                return f"level {i}: {reason}"
        return ""
    before, after = getattr(one, "freq", None), getattr(other, "freq", None)
    if before != after:
        return f"its freq {before!r} would be lost. Say frame.index.freq = None if it doesn't matter"
    if hasattr(one, "step") and (one.start, one.stop, one.step) != (other.start, other.stop, other.step):
        return f"{one!r} would become {other!r}"
    return _values(one, other)


def _values(one: Any, other: Any) -> str:
    """Compare two columns, or two indexes."""
    if not _same_dtype(one.dtype, other.dtype):
        return f"{_described(one)} would become {other.dtype}"
    if hasattr(one.dtype, "categories"):
        before, after = one.array, other.array
        changed = _values(before.categories, after.categories)
        return changed or ("" if (before.codes == after.codes).all() else "its values would change")
    if not isinstance(one.dtype, _numpy_dtype()):
        return "" if one.array.equals(other.array) else "its values would change"
    a, b = one.to_numpy(), other.to_numpy()
    if one.dtype.kind == "O":
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            if not _exactly(x, y):
                return f"row {i}: {_brief(x)} would become {_brief(y)}"
        return ""
    return "" if _same_bits(a, b) else "its values would change"


def _same_dtype(one: Any, other: Any) -> bool:
    if one is other:
        return True
    # Text of pandas knows two ways to be stored and two kinds of missing values, which `==` may overlook. Time zones
    # are what pandas takes for the same: "UTC" is a datetime.timezone here and a zoneinfo.ZoneInfo there.
    return bool(
        type(one) is type(other)
        and one == other
        and str(one) == str(other)
        and all(
            repr(getattr(one, name, None)) == repr(getattr(other, name, None))
            for name in ("storage", "na_value", "unit", "ordered")
        )
    )


def _same_bits(a: Any, b: Any) -> bool:
    import numpy as np

    if a.dtype.kind != "f":
        return bool(a.tobytes() == b.tobytes()) if a.dtype.kind in "mM" else bool((a == b).all())
    # Zeros have signs. Any NaN is as good as another.
    same = (a == b) & (np.signbit(a) == np.signbit(b))
    return bool((same | (np.isnan(a) & np.isnan(b))).all())


def _exactly(x: Any, y: Any) -> bool:
    if x is y:
        return True
    kind = type(x)
    if kind is not type(y):
        return False
    if kind is float:
        return bool((x == y and str(x) == str(y)) or (x != x and y != y))  # NaN
    if kind in _ATOMS:
        return bool(x == y)
    if kind in (list, tuple):
        return len(x) == len(y) and all(map(_exactly, x, y))
    if kind is dict:
        return list(x) == list(y) and all(map(_exactly, x, y)) and all(_exactly(x[key], y[key]) for key in x)
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        same = bool(x.dtype == y.dtype and x.shape == y.shape)
        return same and all(map(_exactly, x.tolist(), y.tolist())) if x.ndim else same
    return bool(x == y)


def _described(column: Any) -> str:
    if getattr(column.dtype, "kind", "") != "O" or not isinstance(column.dtype, _numpy_dtype()):
        return str(column.dtype)
    kinds = sorted({type(item).__name__ for item in column})
    more = f" and {len(kinds) - _MOST_TYPES} more types" if len(kinds) > _MOST_TYPES else ""
    return f"object with {', '.join(kinds[:_MOST_TYPES])}{more}" if kinds else "object"


def _brief(item: Any) -> str:
    text = repr(item)
    return f"{text[:40]}{'...' if len(text) > 40 else ''} ({type(item).__name__})"


def _numpy_dtype() -> Any:
    import numpy as np

    return np.dtype
