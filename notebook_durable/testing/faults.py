"""Faults as wrappers of a store: crashes at chosen points, failing writes, and re-entry after every step.

Not compiled into production: the wrapped store doesn't know of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from notebook_durable.errors import StoreError
from notebook_durable.model import Attempt, Claim, Entry, EntryStatus, Extra, Outcome, RunStatus
from notebook_durable.protocols import Record, Store

__all__ = ["CrashError", "CrashingStore", "FailingStore", "Reenter", "ReplayingStore"]


class CrashError(BaseException):
    """Stands for the death of the process: nothing catches it."""


class Reenter(BaseException):
    """Leaves the body so that it is entered again from its first line."""


class _Wrapper:
    """Passes everything on."""

    def __init__(self, store: Store) -> None:
        self.inner = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class CrashingStore(_Wrapper):
    """Dies before or after a chosen write, as a killed kernel does: from then on nothing is written, nor released.

    Args:
        store: the real one.
        point: "begin" or "record".
        when: dies at the write for which this is true.
        after: the write itself still happens.
    """

    def __init__(self, store: Store, point: str, when: Callable[[Entry], bool], *, after: bool = False) -> None:
        super().__init__(store)
        self._point = point
        self._when = when
        self._after = after
        self.dead = False

    def begin(self, claim: Claim, entry: Entry, *, wait: bool = False) -> None:
        self._around("begin", entry, lambda: self.inner.begin(claim, entry, wait=wait))

    def record(self, claim: Claim, entry: Entry, attempt: Attempt | None = None, extra: Extra | None = None) -> None:
        self._around("record", entry, lambda: self.inner.record(claim, entry, attempt, extra))

    def record_many(self, claim: Claim, records: Sequence[Record]) -> None:
        # A group is written whole or not at all: it dies with the first entry for which that is so.
        chosen = next((entry for entry, _, _ in records if self._point == "record" and self._when(entry)), None)
        entry = records[0][0] if chosen is None else chosen
        self._around("record", entry, lambda: self.inner.record_many(claim, records))

    def _around(self, point: str, entry: Entry, write: Callable[[], None]) -> None:
        dies = not self.dead and point == self._point and self._when(entry)
        if not self.dead and (not dies or self._after):
            write()
        if dies:
            self.dead = True
        if self.dead:
            raise CrashError(f"{point} {entry.name}")

    def end(self, *args: Any, **kwargs: Any) -> None:
        if not self.dead:
            self.inner.end(*args, **kwargs)

    def release(self, claim: Claim) -> None:
        self.inner.release(claim)  # the system frees a dead process' lock


class FailingStore(_Wrapper):
    """Refuses writes while ``failing`` is set, as a full disk does."""

    def __init__(self, store: Store, error: StoreError) -> None:
        super().__init__(store)
        self.error = error
        self.failing = False

    def begin(self, claim: Claim, entry: Entry, *, wait: bool = False) -> None:
        self._check()
        self.inner.begin(claim, entry, wait=wait)

    def record(self, claim: Claim, entry: Entry, attempt: Attempt | None = None, extra: Extra | None = None) -> None:
        self._check()
        self.inner.record(claim, entry, attempt, extra)

    def record_many(self, claim: Claim, records: Sequence[Record]) -> None:
        self._check()
        self.inner.record_many(claim, records)

    def end(
        self,
        claim: Claim,
        outcome: Outcome,
        status: RunStatus,
        changes: Sequence[Entry] = (),
        *,
        now: float,
        used: Sequence[int] | None = None,
    ) -> None:
        self._check()
        self.inner.end(claim, outcome, status, changes, now=now, used=used)

    def _check(self) -> None:
        if self.failing:
            raise self.error


class ReplayingStore(_Wrapper):
    """Makes the engine re-enter the body after every step that finishes (Restate's "always suspending" mode).

    Each finished step is journaled, then :class:`Reenter` leaves the body; whoever runs it begins again, and everything
    up to there must replay. So after each group of items of a ``ctx.map``. The end of such a pass is kept from the
    journal, so that the next one continues it.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.reentered = 0
        self._thread = threading.get_ident()

    def record(self, claim: Claim, entry: Entry, attempt: Attempt | None = None, extra: Extra | None = None) -> None:
        self.inner.record(claim, entry, attempt, extra)
        if entry.status is EntryStatus.SUCCEEDED:
            self.reentered += 1
            raise Reenter(entry.name)

    def record_many(self, claim: Claim, records: Sequence[Record]) -> None:
        self.inner.record_many(claim, records)
        found = {entry.status for entry, _, _ in records}
        # A failure has to reach the body first: what the body does then decides whether it replays. And a group that a
        # thread has written because the body's was busy is followed by one of the body's: between them the pass would
        # lose what was computed since, which then is computed again.
        if threading.get_ident() != self._thread:
            return
        if EntryStatus.SUCCEEDED in found and EntryStatus.FAILED not in found:
            self.reentered += 1
            raise Reenter(records[0][0].name)
