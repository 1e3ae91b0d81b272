"""Ages and sizes as people type them."""

from __future__ import annotations

import re
from datetime import timedelta

from notebook_durable.errors import ConfigurationError

__all__ = ["age", "byte_count"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30,
    "tib": 2**40,
}  # fmt: skip


def age(value: str | float | timedelta) -> float:
    """Read an age in seconds: "30d", "12h" (units s, m, h, d, w), a number of seconds, or a timedelta.

    Raises:
        ConfigurationError: if it is none.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", value)
        seconds = float(match[1]) * _SECONDS[match[2]] if match else -1.0
    else:
        seconds = float(value)
    if not 0 <= seconds < 1e12:
        raise ConfigurationError(f"an age is a number with a unit of s, m, h, d, w, such as 30d, not {value!r}")
    return seconds


def byte_count(value: str | int) -> int:
    """Read a number of bytes: "10GB", "500MB" (powers of 1000), "1GiB" (of 1024), or a number.

    Raises:
        ConfigurationError: if it is none.
    """
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", value.lower())
        count = int(float(match[1]) * _BYTES[match[2]]) if match and match[2] in _BYTES else -1
    else:
        count = int(value)
    if count < 0:
        raise ConfigurationError(f"a size is a number with a unit of kB, MB, GB, TB, such as 10GB, not {value!r}")
    return count
