"""Two recorded values side by side, in names, counts, shapes and types: never their content. Never raises."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from notebook_durable.errors import DurableError
from notebook_durable.history.values import decode
from notebook_durable.model import Entry
from notebook_durable.protocols import Store
from notebook_durable.redact import redact

__all__ = ["compare_entries", "compare_values"]

SAME = "same"
_MOST_NAMES = 8


def compare_entries(store: Store, step: str, old: tuple[int, Entry], new: tuple[int, Entry]) -> str:
    """Say how the values of two entries differ; "same" if they don't, "" if neither has one.

    Args:
        store: the journal.
        step: for messages.
        old, new: the number of the run, and the entry.
    """
    then, now = old[1], new[1]
    if not (then.intact and now.intact):
        return "can't be compared: damaged, or written with another key"
    olds, news = (entry.has_value for entry in (then, now))
    if not olds and not news:
        return ""
    if not olds or not news:
        return f"only {'A' if olds else 'B'} has a value"
    if old == new or _content(then) == _content(now) is not None:
        return SAME
    try:
        was, is_now = (decode(step, store.payload(*one)) for one in (old, new))
    except DurableError as error:
        return redact(f"other bytes; can't be compared here: {error}")
    try:
        return compare_values(was, is_now)
    except Exception as error:  # noqa: BLE001  the comparison of somebody's class
        return f"other bytes; can't be compared ({type(error).__name__})"


def _content(entry: Entry) -> object:
    """What tells values apart without reading them; None if nothing does."""
    if not entry.blob:
        return entry.serializer, entry.payload
    digest = re.search(r"[0-9a-f]{64}", entry.blob)
    return None if digest is None else (entry.serializer, entry.size, digest[0])


def compare_values(then: Any, now: Any) -> str:
    """Say how two values differ."""
    if type(then) is not type(now):
        return f"{_kind(then)} -> {_kind(now)}"
    names = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(now).__mro__}
    if "pandas.DataFrame" in names:
        return _pandas_frames(then, now)
    if names & {"pandas.Series", "pandas.Index"}:
        return _pandas_columns(then, now)
    if names & {"polars.DataFrame", "polars.Series"}:
        return _polars(then, now)
    if "numpy.ndarray" in names:
        return _arrays(then, now)
    if isinstance(now, Mapping):
        return _mappings(then, now)
    if isinstance(now, AbstractSet):
        return SAME if then == now else f"{len(now - then)} added, {len(then - now)} removed"
    if isinstance(now, Sequence) and not isinstance(now, (str, bytes, bytearray)):
        return _sequences(then, now)
    equal = then == now
    if equal is True or (isinstance(now, float) and now != now and then != then):
        return SAME
    if isinstance(now, (str, bytes, bytearray)):
        return f"{_kind(now)} differs, lengths {len(then)} and {len(now)}"
    if "__eq__" not in {name for cls in type(now).__mro__[:-1] for name in vars(cls)}:
        return f"other bytes; {_kind(now)} can't be compared"
    return f"{_kind(now)} differs"


def _kind(value: Any) -> str:
    return type(value).__qualname__


def _names(found: Sequence[Any]) -> str:
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    return ", ".join(str(name) for name in found[:_MOST_NAMES]) + more


def _pandas_frames(then: Any, now: Any) -> str:
    said = []
    if then.shape != now.shape:
        said.append(f"shape {then.shape} -> {now.shape}")
    old, new = list(then.columns), list(now.columns)
    if old != new:
        added, removed = [name for name in new if name not in old], [name for name in old if name not in new]
        said += [f"columns added: {_names(added)}"] if added else []
        said += [f"columns removed: {_names(removed)}"] if removed else []
        said += [] if added or removed else ["columns in another order"]
    elif now.columns.is_unique:
        types = [
            f"{name} {then[name].dtype} -> {now[name].dtype}" for name in new if then[name].dtype != now[name].dtype
        ]
        said += [f"dtypes: {_names(types)}"] if types else []
    if said:
        return "; ".join(said)
    if not then.index.equals(now.index):
        return "the index differs"
    if then.equals(now):
        return SAME
    if not now.columns.is_unique or not now.index.is_unique:
        return "the content differs"
    changed = then.compare(now, result_names=("then", "now"))
    columns = list(dict.fromkeys(changed.columns.get_level_values(0)))
    return f"{len(changed)} of {len(now)} rows differ, in {_names(columns)}"


def _pandas_columns(then: Any, now: Any) -> str:
    if then.shape != now.shape:
        return f"length {len(then)} -> {len(now)}"
    if then.dtype != now.dtype:
        return f"dtype {then.dtype} -> {now.dtype}"
    if then.equals(now):
        return SAME
    index = getattr(now, "index", None)
    if index is not None and not then.index.equals(index):
        return "the index differs"
    same = (then == now) | (then.isna() & now.isna())
    return f"{int((~same).sum())} of {len(now)} values differ"


def _polars(then: Any, now: Any) -> str:
    if then.shape != now.shape:
        return f"shape {then.shape} -> {now.shape}"
    if hasattr(now, "schema"):
        if then.schema != now.schema:
            return "the columns or their types differ"
        changed = [name for name in now.columns if not then[name].equals(now[name], null_equal=True)]
        return f"the content of {_names(changed)} differs" if changed else SAME
    return SAME if then.equals(now, null_equal=True) else "the content differs"


def _arrays(then: Any, now: Any) -> str:
    if then.shape != now.shape:
        return f"shape {then.shape} -> {now.shape}"
    if then.dtype != now.dtype:
        return f"dtype {then.dtype} -> {now.dtype}"
    same = then == now
    if now.dtype.kind in "fc":
        same = same | ((then != then) & (now != now))  # NaN is NaN here
    different = int((~same).sum())
    return f"{different} of {now.size} values differ" if different else SAME


def _mappings(then: Mapping[Any, Any], now: Mapping[Any, Any]) -> str:
    added, removed = [key for key in now if key not in then], [key for key in then if key not in now]
    changed = [key for key in now if key in then and compare_values(then[key], now[key]) != SAME]
    said = [
        f"{what} {len(found)} key{'' if len(found) == 1 else 's'}"
        for what, found in (("added", added), ("removed", removed), ("changed", changed))
        if found
    ]
    if said:
        return ", ".join(said)
    return SAME if list(then) == list(now) else "keys in another order"


def _sequences(then: Sequence[Any], now: Sequence[Any]) -> str:
    if len(then) != len(now):
        return f"length {len(then)} -> {len(now)}"
    different = sum(compare_values(old, new) != SAME for old, new in zip(then, now, strict=True))
    return f"{different} of {len(now)} elements differ" if different else SAME
