"""A value in a few words, for people: "DataFrame 120 × 5", "'eu'", "list of 3". Secrets are not among them."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from pathlib import PurePath
from types import FunctionType
from typing import Any

from notebook_durable.redact import HIDDEN, is_secret_name, redact

__all__ = ["short"]

_LONGEST = 60  # characters
#: So much of a text is looked at for passwords, before it is cut. One that goes on there has its @ further on.
_LOOKED_AT = 4096
#: Of these no more is told than how many there are.
_COUNTED = (list, tuple, dict, set, frozenset)
_RUN = re.compile(r"[A-Za-z0-9+/_=\-]{20,}")
#: What people write with digits: v3, fold5, 2024Q1, 3rd, 20240101T120000Z.
_WORDY = re.compile(r"[A-Za-z]*\d*|\d+[A-Za-z]{0,3}\d*|\d{8}T\d{4,6}Z?")


def short(name: str, value: Any) -> str:
    """Tell a value in at most 60 characters. Never raises; looks at no more than type, size and small scalars."""
    try:
        if is_secret_name(name) and not _harmless(value):
            return HIDDEN
        return _cut(_told(value))
    except Exception:  # noqa: BLE001  an object that misbehaves when looked at
        return type(value).__qualname__


def _harmless(value: Any) -> bool:
    """Tell whether what is shown of a value says nothing of its content: `tokens` may be a list or a frame."""
    return value is None or type(value) in (bool, *_COUNTED) or isinstance(getattr(value, "shape", None), tuple)


def _told(value: Any) -> str:
    kind = type(value)
    if value is None or kind in (bool, int, float, complex):
        return repr(value)
    if kind is str:
        # Not its repr, which has backslashes where the text has quotes.
        return repr(_hide_random(redact(value if len(value) <= _LOOKED_AT else value[:_LOOKED_AT])))
    if kind in _COUNTED:
        return f"{kind.__name__} of {len(value)}"
    if kind in (bytes, bytearray):
        return f"{kind.__name__}, {len(value)} bytes"
    if isinstance(value, PurePath):
        return _hide_random(redact(str(value)), path=True)
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
        return _hide_random(redact(" ".join(text().split())))
    return kind.__qualname__


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _looks_random(text: str) -> bool:
    """Tell whether a run of letters and digits looks like a key and like no name, path or date."""
    return len(text) >= 20 and any(_WORDY.fullmatch(piece) is None for piece in re.split(r"[+/_=\-]", text))


def _hide_random(text: str, *, path: bool = False) -> str:
    """Hide long runs of mixed letters and digits.

    Args:
        text: a value as text.
        path: it is one of a file: what is between slashes is looked at by itself.
    """

    def shown(found: re.Match[str]) -> str:
        run, rest = found[0], text[found.end() : found.end() + 2]
        if "/" in run and (path or run.startswith("/") or re.match(r"\.\w", rest)):
            return "/".join(HIDDEN if _looks_random(piece) else piece for piece in run.split("/"))
        return HIDDEN if _looks_random(run) else run

    return _RUN.sub(shown, text)
