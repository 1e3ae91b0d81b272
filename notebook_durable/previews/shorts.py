"""Any value as a short text. No user's code is run where the insides of a value can be had without it."""

from __future__ import annotations

import array
import collections
import dataclasses
import functools
import sys
import types
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import PurePath
from typing import Any, NamedTuple

from notebook_durable.previews.show import Shown, is_a, type_name
from notebook_durable.redact import HIDDEN

__all__ = ["Parts", "fields", "frame_text", "is_text", "parts_of", "safe_repr", "short"]

_LONGEST = 160  # characters of a value in a cell or beside a key
_LEAF = 80  # characters of a text inside it
_DEEPEST = 2
_FEW = 6  # items on the first level, half of it below
_BIG_INT = 4_000  # bits: to write it down takes long, and Python refuses
_SEQUENCES = (list, tuple, collections.deque, array.array, collections.UserList)
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("{", "}"),
}


class Parts(NamedTuple):
    """The insides of a container or a record.

    Attributes:
        kind: "map" (keys and values), "list" (values; keys are None) or "record" (fields and values).
        length: how many there are.
        items: pairs of key and value.
    """

    kind: str
    length: int
    items: Iterator[tuple[Any, Any]]


def parts_of(value: Any) -> Parts | None:
    """Look into dicts, lists, sets, records and their kin; None for anything else, iterators above all."""
    if isinstance(value, (dict, collections.UserDict, types.MappingProxyType)):
        plain: Any = value.data if isinstance(value, collections.UserDict) else value
        if isinstance(plain, dict):  # by the class: defaultdict and the like do more in their own methods
            return Parts("map", dict.__len__(plain), iter(dict.items(plain)))
        return Parts("map", len(plain), iter(plain.items()))
    named = fields(value)
    if named is not None:
        return Parts("record", len(named), iter(named))
    if isinstance(value, _SEQUENCES):
        plain = value.data if isinstance(value, collections.UserList) else value
        cls = next((cls for cls in _SEQUENCES[:4] if isinstance(plain, cls)), list)
        return Parts("list", cls.__len__(plain), ((None, one) for one in cls.__iter__(plain)))
    if isinstance(value, (set, frozenset)):
        own: Any = set if isinstance(value, set) else frozenset
        return Parts("list", own.__len__(value), ((None, one) for one in own.__iter__(value)))
    if isinstance(value, _VIEWS):
        view: Any = value
        return Parts("list", len(view), ((None, one) for one in view))
    return None


def fields(value: Any) -> list[tuple[str, Any]] | None:
    """Return the fields of a dataclass, attrs, pydantic or named tuple object that its repr would show."""
    cls: Any = type(value)
    if dataclasses.is_dataclass(cls):
        return _got(value, (one.name for one in dataclasses.fields(cls) if one.repr))
    if isinstance(value, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return list(zip(map(str, cls._fields), tuple.__iter__(value), strict=False))
    if isinstance(attributes := getattr(cls, "__attrs_attrs__", None), tuple):
        return _got(value, (one.name for one in attributes if one.repr))
    if is_a(value, "pydantic", "BaseModel"):
        return _got(value, (name for name, one in cls.model_fields.items() if one.repr))
    if isinstance(value, types.SimpleNamespace) or is_a(value, "argparse", "Namespace"):
        return [(str(name), one) for name, one in list(vars(value).items())]
    return None


def _got(value: Any, names: Iterable[str]) -> list[tuple[str, Any]]:
    found = []
    for name in names:
        try:
            found.append((name, getattr(value, name)))
        except AttributeError:  # not set yet
            continue
    return found


def short(value: Any, shown: Shown, most: int = _LONGEST) -> str:
    """Return a value as one short text without secrets."""
    if is_text(value):
        return shown.text(value, most)
    return shown.text(_raw(value, shown, 0), most)


def is_text(value: Any) -> bool:
    """Tell whether a value is text that shows itself as such; a class of the user's may have a repr that hides it."""
    cls: Any = type(value)
    return isinstance(value, str) and (cls.__repr__ is str.__repr__ or cls.__module__ == "numpy")


def _raw(value: Any, shown: Shown, depth: int) -> str:
    cls: Any = type(value)
    if value is None or cls is bool or cls is float or cls is complex:
        return repr(value)
    if isinstance(value, int) and cls.__repr__ is int.__repr__:
        bits = int.bit_length(value)
        return int.__repr__(value) if bits <= _BIG_INT else f"<a number of {bits:,} bits>"
    if is_text(value):
        return repr(shown.text(value, _LEAF))
    if is_a(value, "numpy", "number", "bool_"):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value):,} bytes>"
    framed = frame_text(value)
    if framed:
        return framed
    parts = parts_of(value)
    if parts is not None:
        return _parts_text(value, parts, shown, depth)
    return safe_repr(value, shown)


def _parts_text(value: Any, parts: Parts, shown: Shown, depth: int) -> str:
    cls: Any = type(value)
    record = parts.kind == "record"
    opening, closing = ("{", "}") if parts.kind == "map" else _BRACKETS.get(cls, ("(", ")"))
    if record or cls not in (dict, list, tuple, set, frozenset):
        opening, closing = f"{cls.__qualname__}(", ")"
    if depth >= _DEEPEST and parts.length:
        return f"{opening}…{closing}"
    texts = []
    for key, one in islice(parts.items, _FEW if not depth else _FEW // 2):
        text = HIDDEN if shown.is_secret(key) else _raw(one, shown, depth + 1)
        if record:
            text = f"{key}={text}"
        elif parts.kind == "map":
            text = f"{_raw(key, shown, depth + 1)}: {text}"
        texts.append(text)
    if parts.length > len(texts):
        texts.append(f"… {parts.length - len(texts):,} more")
    tail = "," if cls is tuple and parts.length == 1 else ""
    return f"{opening}{', '.join(texts)}{tail}{closing}"


def frame_text(value: Any) -> str:
    """Return frames and arrays as "DataFrame 3 × 4"; "" for anything else."""
    for module, names in (
        ("pandas", ("DataFrame", "Series", "Index")),
        ("polars", ("DataFrame", "Series")),
        ("numpy", ("ndarray",)),
        ("scipy.sparse", ("sparray", "spmatrix")),
        ("torch", ("Tensor",)),
    ):
        if module in sys.modules and is_a(value, module, *names):
            shape = " × ".join(f"{int(one):,}" for one in value.shape)
            dtype = getattr(value, "dtype", None)
            return f"{type(value).__name__} {shape}".strip() + (f" {dtype}"[:40] if dtype is not None else "")
    return ""


def safe_repr(value: Any, shown: Shown, most: int = _LEAF) -> str:
    """Return the repr of a value, hidden and cut afterwards; one that raises is told."""
    cls: Any = type(value)
    if isinstance(value, type):
        return f"<class {type_name_of(value)}>"
    if isinstance(value, types.ModuleType):
        return f"<module {value.__name__}>"
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return f"<function {value.__qualname__}>"
    if isinstance(value, functools.partial):
        return f"<partial of {safe_repr(value.func, shown)}>"
    if isinstance(value, BaseException) and cls.__repr__ is BaseException.__repr__:
        inside = ", ".join(_raw(one, shown, 1) for one in value.args[:_FEW])
        return f"{cls.__qualname__}({inside})"
    if isinstance(value, PurePath):
        return shown.text(str(value), most)
    try:
        if cls.__repr__ is not object.__repr__:
            raw = repr(value)
        elif cls.__str__ is not object.__str__:
            raw = str(value)
        else:
            return f"<{type_name(value)} object>"  # without its address, which says nothing later
    except Exception as error:  # noqa: BLE001  the user's own __repr__
        return f"<the repr of {type_name(value)} raised {type(error).__name__}>"
    return shown.text(raw, most)


def type_name_of(cls: type) -> str:
    """Name a class."""
    module = cls.__module__
    return cls.__qualname__ if module in ("builtins", "__main__") else f"{module}.{cls.__qualname__}"
