"""JSON, for the values that it brings back exactly as they are."""

from __future__ import annotations

import json
import math
from types import NoneType
from typing import Any

from notebook_durable.errors import NotStorableError
from notebook_durable.pause_gc import WORTH_A_PAUSE, pause_gc
from notebook_durable.serializers.names import brief, type_name

__all__ = ["JsonSerializer", "is_exact_json"]

# Python's JSON parser recurses in C; what is nested deeper is left to pickle, which does not when it loads.
_DEEPEST = 100

# str(int) refuses more than 4300 digits (sys.int_info.default_max_str_digits, CVE-2020-10735); 4300 digits are
# 14,284 bits, and a user may have lowered the limit to 640 digits (2,126 bits) at the least.
_WIDEST_INT = 2_000

_isfinite = math.isfinite


def is_exact_json(value: Any, /, *, most: float = math.inf) -> bool:
    """Tell whether JSON brings ``value`` back equal, of the same types and with the same identities.

    Types are compared exactly: a tuple, an ``int`` key, NaN, an ``IntEnum``, a ``numpy.float64`` or an ``OrderedDict``
    passes ``json.dumps`` and comes back as something else. Nor is a list or dict that occurs twice (or in itself)
    exact: it would come back as two. Text with lone surrogates and very large integers are left to pickle as well.

    Args:
        value: what to look at.
        most: with more parts than this (counted at every depth) the answer is False, without looking at all of them.
    """
    level = [value]
    seen: set[int] = set()
    # Level by level rather than recursively: about 1 us for a dict of four scalars, and no depth can crash it.
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                if not item.isascii() and not _is_unicode(item):
                    return False
            elif kind is int:
                if item.bit_length() > _WIDEST_INT:
                    return False
            elif kind is float:
                if not _isfinite(item):
                    return False
            elif kind is dict:
                if id(item) in seen or not _has_exact_keys(item):
                    return False
                seen.add(id(item))
                below += item.values()
            elif kind is list:
                if id(item) in seen:
                    return False
                seen.add(id(item))
                below += item
            elif kind is not bool and kind is not NoneType:
                return False
        if not below:
            return True
        most -= len(below)
        if most < 0:
            return False
        level = below
    return False


def _has_exact_keys(mapping: dict[Any, Any]) -> bool:
    for key in mapping:  # noqa: SIM110  a generator expression takes twice the time for a small dict
        # `type is str`, not isinstance: a str subclass (a StrEnum) would come back as plain text.
        if type(key) is not str or not (key.isascii() or _is_unicode(key)):
            return False
    return True


def _is_unicode(text: str) -> bool:
    # Lone surrogates (undecodable file names) have no UTF-8; as JSON's escapes, two of them would merge into one.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class JsonSerializer:
    """Writes values that are exactly JSON as UTF-8 text, readable without Python and without trust."""

    name = "json"

    __slots__ = ("_encode", "_scan")

    def __init__(self) -> None:
        # The check has excluded cycles and NaN already. Both are kept: making them costs more than using them.
        self._encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
        # decode() looks for white space around the text, which takes as long as a small value.
        self._scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # there since Python 2.6

    def try_serialize(self, value: Any, /, *, most: float = math.inf) -> bytes | None:
        """Return the bytes, or None if ``value`` is not exactly JSON, or has more than ``most`` parts."""
        return self._encode(value).encode() if is_exact_json(value, most=most) else None

    def serialize(self, value: Any, /) -> bytes:
        """Return the bytes.

        Raises:
            NotStorableError: naming the first part of ``value`` that is not exactly JSON.
        """
        data = self.try_serialize(value)
        if data is None:
            raise _why_not(value)
        return data

    def deserialize(self, data: bytes, /) -> Any:
        """Return the value.

        Raises:
            ValueError: if ``data`` is not what :meth:`serialize` returned.
        """
        text = data.decode()
        if len(data) < WORTH_A_PAUSE:
            return self._read(text)
        with pause_gc():
            return self._read(text)

    def _read(self, text: str) -> Any:
        try:
            value, end = self._scan(text, 0)
        except StopIteration:
            raise ValueError(f"not JSON: {text[:40]!r}") from None
        if end != len(text):
            raise ValueError(f"JSON with {len(text) - end} characters too many: {text[end : end + 40]!r}")
        return value


def _why_not(value: Any) -> NotStorableError:
    """Find the first part that is not exactly JSON, depth first, without recursion."""
    seen: set[int] = set()
    stack: list[tuple[Any, str, int]] = [(value, "", 0)]
    while stack:
        item, path, depth = stack.pop()
        kind = type(item)
        if kind in (dict, list):
            if id(item) in seen:
                return NotStorableError(kind.__name__, path, "it occurs twice, and JSON would make two of it")
            if depth >= _DEEPEST:
                return NotStorableError(kind.__name__, "", f"nested more than {_DEEPEST} levels deep")
            seen.add(id(item))
        if kind is dict:
            for key in item:
                if type(key) is not str or not _is_unicode(key):
                    return NotStorableError(type_name(type(key)), path, f"key {brief(key)} is not JSON text")
            stack += [(child, f"{path}[{key!r}]", depth + 1) for key, child in reversed(item.items())]
        elif kind is list:
            stack += [(child, f"{path}[{i}]", depth + 1) for i, child in reversed(list(enumerate(item)))]
        elif not is_exact_json(item):
            return NotStorableError(type_name(kind), path, f"JSON can't bring {brief(item)} back as it is")
    return NotStorableError(type_name(type(value)), "", "not exactly JSON")
