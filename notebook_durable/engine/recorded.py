"""Two ways to find what was recorded: by fingerprint, to replay it; by name and place, to compare with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from notebook_durable.model import Entry, EntryStatus

__all__ = ["History", "Unused"]


class Unused:
    """Entries that no call has taken yet, by name, fingerprint and occurrence: equal calls keep their order.

    Args:
        entries: all entries, by ``seq``.
    """

    def __init__(self, entries: Mapping[int, Entry]) -> None:
        self._entries = entries
        # Mostly there is one: a dict for each would be 10,000 dicts in a long run.
        self._found: dict[tuple[str, str], int | dict[int, int]] = {}

    def add(self, entry: Entry) -> None:
        """Add one."""
        key = entry.name, entry.code.fingerprint
        known = self._found.get(key)
        if known is None:
            self._found[key] = entry.seq
            return
        if isinstance(known, int):
            known = self._found[key] = {self._entries[known].occurrence: known}
        known[entry.occurrence if entry.occurrence not in known else -entry.seq - 1] = entry.seq

    def take(self, name: str, fingerprint: str, occurrence: int | None) -> int | None:
        """Remove and return the one of this occurrence, else the first; None if there is none."""
        known = self._found.get((name, fingerprint))
        if known is None:
            return None
        if isinstance(known, int):
            del self._found[name, fingerprint]
            return known
        seq = None if occurrence is None else known.pop(occurrence, None)
        if seq is None:
            seq = known.pop(next(iter(known)))
        if not known:
            del self._found[name, fingerprint]
        return seq

    def drop(self, entry: Entry) -> None:
        """Remove one, if it is there."""
        key = entry.name, entry.code.fingerprint
        known = self._found.get(key)
        if known == entry.seq:
            del self._found[key]
        elif isinstance(known, dict):
            left = {occurrence: seq for occurrence, seq in known.items() if seq != entry.seq}
            self._found[key] = left
            if not left:
                del self._found[key]


class History:
    """Entries by name, by name and occurrence, and superseded ones by fingerprint; newest last."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.named: defaultdict[str, list[int]] = defaultdict(list)
        self.placed: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        self.superseded: dict[tuple[str, str], int] = {}
        for entry in sorted(entries, key=lambda entry: (entry.execution, entry.seq)):
            self.named[entry.name].append(entry.seq)
            self.placed[entry.name, entry.occurrence].append(entry.seq)
            if entry.status is EntryStatus.SUPERSEDED:
                self.superseded[entry.name, entry.code.fingerprint] = entry.seq
