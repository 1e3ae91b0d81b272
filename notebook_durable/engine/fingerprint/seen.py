"""Digests of immutable buffers that were already seen: hashing them again costs nothing."""

from __future__ import annotations

import sys
import weakref
from typing import Any

__all__ = ["SMALLEST", "Seen"]

#: Bytes; below, hashing is quicker than remembering is worth.
SMALLEST = 65_536
_MOST = 1_024  # buffers
_MOST_BYTES = 1 << 30


class Seen:
    """Remembers digests. What it holds on to is bounded: by count, and by bytes (the latest one always fits)."""

    def __init__(self) -> None:
        self._held: dict[Any, tuple[Any, bytes, int]] = {}
        self._total = 0
        self._weak: dict[int, tuple[weakref.ref[Any], bytes]] = {}

    def get(self, key: Any) -> bytes | None:
        """Look a buffer up by what it can't share with another one while it is held: its id, or address and size."""
        known = self._held.get(key)
        return None if known is None else known[1]

    def put(self, key: Any, held: Any, size: int, digest: bytes) -> None:
        """Remember a digest, and keep the buffer alive so that its key stays its own."""
        self._drop_unused()
        while self._held and (len(self._held) >= _MOST or self._total + size > _MOST_BYTES):
            self._drop(next(iter(self._held)))
        self._held[key] = held, digest, size
        self._total += size

    def get_weak(self, value: Any) -> bytes | None:
        """Look up an object that can be referred to weakly."""
        known = self._weak.get(id(value))
        return known[1] if known is not None and known[0]() is value else None

    def put_weak(self, value: Any, digest: bytes) -> None:
        """Remember it as long as it lives."""
        mark = id(value)
        self._weak[mark] = weakref.ref(value, lambda _: self._weak.pop(mark, None)), digest

    def forget(self) -> None:
        """Let go of all buffers."""
        self._held.clear()
        self._weak.clear()
        self._total = 0

    def _drop_unused(self) -> None:
        """Let go of texts that nobody else has: the tuple in the table and the call below are their only holders."""
        unused = [key for key, known in self._held.items() if type(key) is int and sys.getrefcount(known[0]) <= 2]
        for key in unused:
            self._drop(key)

    def _drop(self, key: Any) -> None:
        self._total -= self._held.pop(key)[2]
