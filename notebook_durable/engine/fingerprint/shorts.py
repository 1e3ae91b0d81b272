"""A value in a few words, for people: "DataFrame 120 × 5", "'eu'", "list of 3". Secrets are not among them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import PurePath
from types import FunctionType
from typing import Any

from notebook_durable.redact import HIDDEN, is_secret_name, redact

__all__ = ["short"]

_LONGEST = 60  # characters


def short(name: str, value: Any) -> str:
    """Tell a value in at most 60 characters. Never raises; looks at no more than type, size and small scalars."""
    if is_secret_name(name):
        return HIDDEN
    try:
        return _cut(_told(value))
    except Exception:  # noqa: BLE001  an object that misbehaves when looked at
        return type(value).__qualname__


def _told(value: Any) -> str:
    kind = type(value)
    if value is None or kind in (bool, int, float, complex):
        return repr(value)
    if kind is str:
        return redact(repr(value if len(value) <= 4 * _LONGEST else value[: 4 * _LONGEST]))
    if kind in (list, tuple, dict, set, frozenset):
        return f"{kind.__name__} of {len(value)}"
    if kind in (bytes, bytearray):
        return f"{kind.__name__}, {len(value)} bytes"
    if isinstance(value, PurePath):
        return redact(str(value))
    if isinstance(value, Enum):
        return f"{kind.__qualname__}.{value.name}"
    if isinstance(value, FunctionType):
        return value.__qualname__
    if kind.__module__ in ("datetime", "decimal", "fractions", "uuid", "zoneinfo"):
        return str(value)
    return _shaped(kind, value)


def _shaped(kind: type, value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and all(isinstance(side, int) for side in shape):
        sides = " × ".join(map(str, shape)) or "scalar"
        dtype = getattr(value, "dtype", None)
        return f"{kind.__name__} {sides}" + (f" {dtype}" if dtype is not None else "")
    text: Callable[[], str] = kind.__repr__.__get__(value)
    if kind.__module__.partition(".")[0] == "sklearn":
        return " ".join(text().split())
    return kind.__qualname__


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
