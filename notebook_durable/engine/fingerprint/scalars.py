"""Values without parts as bytes that tell where they end, and containers of nothing else at once."""

from __future__ import annotations

import datetime
import decimal
import marshal
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from notebook_durable.engine.fingerprint.seen import SMALLEST

__all__ = ["SIMPLE", "flat"]

_SIZE = struct.Struct("<Q").pack
_FLOAT = struct.Struct("<d").pack
_COMPLEX = struct.Struct("<dd").pack
_LEVELS = 4
_MOST = 50_000_000  # values; more are taken container by container

# Text and numbers are written the same by all versions of Python in this format, which knows no references.
_FORMAT = 2
_FLAT = frozenset({type(None), bool, int, float, complex, str, bytes})
_CONTAINERS = frozenset({list, tuple, dict})


def _int(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"i" + _SIZE(len(data)) + data


def _str(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s" + _SIZE(len(data)) + data


def _text(name: bytes, value: str) -> bytes:
    return b"t" + name + _str(value)


def _datetime(value: datetime.datetime) -> bytes | None:
    # With a zone it has parts. The fold isn't in the text.
    return None if value.tzinfo is not None else _text(b"datetime", f"{value.isoformat()} {value.fold}")


def _time(value: datetime.time) -> bytes | None:
    return None if value.tzinfo is not None else _text(b"time", f"{value.isoformat()} {value.fold}")


#: By exact type. None instead of bytes: look at its parts.
SIMPLE: dict[type, Callable[[Any], bytes | None]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: _int,
    float: lambda value: b"f" + _FLOAT(value),
    complex: lambda value: b"c" + _COMPLEX(value.real, value.imag),
    str: _str,
    bytes: lambda value: b"b" + _SIZE(len(value)) + value,
    type(Ellipsis): lambda _: b"E",
    type(NotImplemented): lambda _: b"I",
    datetime.date: lambda value: _text(b"date", value.isoformat()),
    datetime.datetime: _datetime,
    datetime.time: _time,
    datetime.timedelta: lambda value: _text(b"delta", f"{value.days} {value.seconds} {value.microseconds}"),
    decimal.Decimal: lambda value: _text(b"decimal", str(value)),
    uuid.UUID: lambda value: _text(b"uuid", value.hex),
}


def flat(value: Any) -> bytes | None:
    """Write a list, tuple or dict of nothing but scalars, or of such containers, in one go.

    Args:
        value: exactly of one of these types.

    Returns:
        None if it holds anything else, also a subclass of a scalar or long bytes (which are remembered), or is nested
        deeper than a few levels. That depends on nothing but the content.
    """
    level: Iterable[Any] = [value]
    for _ in range(_LEVELS):
        held = [item for item in level if type(item) in _CONTAINERS]
        if sum(map(len, held)) > _MOST:
            return None
        kinds = set(map(type, _parts(held)))
        if bytes in kinds and any(type(item) is bytes and len(item) >= SMALLEST for item in _parts(held)):
            return None
        kinds -= _FLAT
        if not kinds:
            return marshal.dumps(value, _FORMAT)
        if not kinds <= _CONTAINERS:
            return None
        level = _parts(held)
    return None


def _parts(held: list[Any]) -> Iterator[Any]:
    if any(type(item) is dict for item in held):
        return chain.from_iterable(chain(item, item.values()) if type(item) is dict else item for item in held)
    return chain.from_iterable(held)
