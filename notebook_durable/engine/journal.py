"""One execution's view of a run's journal: which entry belongs to a call, and does it replay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from notebook_durable.errors import JournalMismatchError
from notebook_durable.model import SAME_SOURCE, Claim, Entry, EntryStatus, Failure, Outcome, StepCode

__all__ = ["Journal", "Match", "Place"]

_SMALL = 4096  # bytes


class Place(NamedTuple):
    """Where a call stands in the run: given out when ``ctx.run`` is called, not when it is awaited."""

    name: str
    occurrence: int
    seq: int


class Match(NamedTuple):
    """What the journal says about a call.

    Attributes:
        entry: the recorded entry; None if there is none.
        replays: hand its value, failure or cancellation back without calling anything.
        resumes: go on in its retry budget; otherwise a new budget begins.
        reason: why it doesn't replay, for people.
        damaged: the entry failed its check.
    """

    entry: Entry | None
    replays: bool = False
    resumes: bool = False
    reason: str = "new"
    damaged: bool = False


class Journal:
    """The cursor over a run's entries.

    Until fingerprints exist an entry is found by its step's name and its order among equal names.
    """

    def __init__(self, claim: Claim, entries: Sequence[Entry], *, strict: bool = False) -> None:
        self._claim = claim
        self._entries: dict[int, Entry] = {entry.seq: entry for entry in entries}
        # Damaged rows first: a good one of the same name takes their place.
        by_trust = sorted(entries, key=lambda entry: entry.intact)
        self._by_key: dict[tuple[str, int], int] = {(e.name, e.occurrence): e.seq for e in by_trust}
        self._sources: dict[str, str] = {}
        # Only rows that are believed: a forged one must not push all new ones out of range.
        self._next = max((entry.seq for entry in entries if entry.intact), default=-1) + 1
        self._calls: defaultdict[str, int] = defaultdict(int)
        self._recorded = [entry.name for entry in sorted(entries, key=lambda e: e.seq)] if strict else None
        self._current: list[str] = []
        self._rolled_back = {entry.rollback_of for entry in entries if entry.rollback_of is not None}

    # -- finding

    def place(self, name: str) -> Place:
        """Give the next call of this name its place.

        Raises:
            JournalMismatchError: in strict mode, if another step was recorded here.
        """
        occurrence = self._calls[name]
        self._calls[name] = occurrence + 1
        key = (name, occurrence)
        seq = self._by_key.get(key)
        if seq is None:
            while self._next in self._entries:
                self._next += 1
            seq = self._next
            self._next += 1
            self._by_key[key] = seq
        if self._recorded is not None:
            self._check_order(name)
        return Place(name, occurrence, seq)

    def _check_order(self, name: str) -> None:
        assert self._recorded is not None  # noqa: S101  strict mode
        position = len(self._current)
        self._current.append(name)
        if position < len(self._recorded) and self._recorded[position] != name:
            raise JournalMismatchError(self._claim.run.workflow, position, self._recorded, self._current)

    def hit(self, seq: int) -> Entry | None:
        """Return the entry of a call if it has a value to replay: the short way for what happens most."""
        entry = self._entries.get(seq)
        if entry is not None and entry.status is EntryStatus.SUCCEEDED and entry.intact:
            return entry
        return None

    def check_complete(self) -> JournalMismatchError | None:
        """Strict mode, at a good end: return an error if recorded steps were not asked for."""
        if self._recorded is None or len(self._current) >= len(self._recorded):
            return None
        position = len(self._current)
        return JournalMismatchError(
            self._claim.run.workflow, position, self._recorded, [*self._current, "(the end of the cell)"]
        )

    def match(self, place: Place) -> Match:
        """Say what is recorded for this place, and whether it replays (design, "Replay, and what an edit does")."""
        entry = self._entries.get(place.seq)
        if entry is None:
            return Match(None)
        if not entry.intact:
            return Match(entry, damaged=True, reason="its journal entry is damaged")
        match entry.status:
            case EntryStatus.SUCCEEDED | EntryStatus.CANCELLED:
                return Match(entry, replays=True)
            case EntryStatus.FAILED if self._failure_replays(entry):
                return Match(entry, replays=True)
            case EntryStatus.FAILED:
                return Match(entry, reason="failed last time: trying again")
            case EntryStatus.INTERRUPTED:
                return Match(entry, resumes=True, reason="was interrupted: going on")
            case EntryStatus.UNSTORABLE:
                return Match(entry, reason=f"its value was {entry.note or 'not storable'}")
            case _:
                waiting = entry.ended_at is not None  # killed between two attempts
                reason = "going on after a restart" if waiting else "outcome unknown: running again"
                return Match(entry, resumes=True, reason=reason)

    def _failure_replays(self, entry: Entry) -> bool:
        if entry.left:
            return False
        if entry.failure is Failure.TERMINAL:
            return True
        # A typo is tried again, unless steps that undo its consequences were cut short: those must be finished
        # on the same branch first.
        return entry.survived or (self._claim.previous is Outcome.KILLED and entry.seq in self._rolled_back)

    def without_repeats(self, place: Place, code: StepCode) -> StepCode:
        """Leave a source text out that the entry before of the same name has: a loop would store it at each turn."""
        seq = self._by_key.get((place.name, place.occurrence - 1))
        before = None if seq is None else self._entries.get(seq)
        if before is None or not code.source:
            return code
        known = self._sources.get(place.name) if before.code.source == SAME_SOURCE else before.code.source
        if known != code.source:
            return code
        self._sources[place.name] = known
        return code._replace(source=SAME_SOURCE)

    # -- keeping up with what is written

    def put(self, entry: Entry) -> None:
        """Take an entry's new state. A finished value's bytes are on disk; they need not stay in memory as well."""
        if entry.status is EntryStatus.SUCCEEDED and entry.payload is not None and len(entry.payload) > _SMALL:
            entry = entry._replace(payload=None)
        self._entries[entry.seq] = entry
        if entry.rollback_of is not None:
            self._rolled_back.add(entry.rollback_of)

    def get(self, seq: int) -> Entry:
        return self._entries[seq]

    def has_rollback(self, seq: int) -> bool:
        """Tell whether steps were begun after the failure of this entry."""
        return seq in self._rolled_back

    def all(self) -> Sequence[Entry]:
        return tuple(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)
