"""One execution's view of a run's journal: which entry belongs to a call, and does it replay.

A call takes the first unused entry of its step's name with an equal fingerprint, wherever the step stands now. Entries
that no call takes stay, as history: an edit that is undone finds them again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from notebook_durable.engine.recorded import History, Unused
from notebook_durable.engine.rollback import UNDOES
from notebook_durable.errors import JournalMismatchError
from notebook_durable.model import Claim, Entry, EntryStatus, Failure, Outcome
from notebook_durable.parts import Parts, parts_from
from notebook_durable.pause_gc import pause_gc

__all__ = ["Journal", "Match", "Place"]

_SMALL = 4096  # bytes
_NEAR = 8  # calls of the same name


class Place:
    """Where a call stands in the execution: given out when ``ctx.run`` is called, not when it is awaited.

    Attributes:
        name, occurrence: of the call, see ``StepKey``.
        seq: of its entry, as soon as that is known; -1 before.
        undoes: of a step that undoes something: its order among those, from 0; None for all others.
    """

    __slots__ = ("name", "occurrence", "seq", "undoes")

    def __init__(self, name: str, occurrence: int, undoes: int | None = None) -> None:
        self.undoes = undoes
        self.name = name
        self.occurrence = occurrence
        self.seq = -1


class Fingerprinted(Protocol):
    """A call, as far as it takes to find its entry."""

    @property
    def fingerprint(self) -> str: ...


class Match(NamedTuple):
    """What the journal says about a call.

    Attributes:
        entry: the recorded entry; None if there is none.
        replays: hand its value, failure or cancellation back without calling anything.
        resumes: go on in its retry budget; otherwise a new budget begins.
        reason: why it doesn't replay, for people; "" if that is still to be found out by comparing.
        damaged: the entry failed its check.
    """

    entry: Entry | None
    replays: bool = False
    resumes: bool = False
    reason: str = ""
    damaged: bool = False


class Journal:
    """The cursor over a run's entries.

    Args:
        claim: the execution.
        entries: all entries of the run.
        version: of the fingerprints of today; entries with another one are found by name and order.
        recorded: names of the steps in the order that must be kept (strict mode).
    """

    def __init__(
        self, claim: Claim, entries: Sequence[Entry], *, version: int, recorded: Sequence[str] | None = None
    ) -> None:
        self._claim = claim
        self._version = version
        self._entries: dict[int, Entry] = {}
        self._unused = Unused(self._entries)
        # Entries without a fingerprint, and damaged ones, are found by name and order.
        self._by_order: dict[tuple[str, int], int] = {}
        self._places: list[Place] = []
        self._used: set[int] = set()
        self._calls: defaultdict[str, int] = defaultdict(int)
        self._recorded = recorded
        self._current: list[str] = []
        self._rolled_back: set[int] = set()
        # Only rows that are believed: a forged one must not push all new ones out of range.
        self._next = max((entry.seq for entry in entries if entry.intact), default=-1) + 1
        self._first_new = self._next
        with pause_gc():
            for entry in entries:
                self._add(entry)
        #: Those of an unfinished rollback: a finished one would have begun a new run.
        self._undoing = [entry.seq for entry in entries if entry.intact and entry.note == UNDOES]
        self._undo_calls = 0
        self._binding = [entry for entry in entries if self._binds(entry)]
        self._effects: dict[str, list[tuple[int, frozenset[str]]]] = {}

    def _add(self, entry: Entry) -> None:
        self._entries[entry.seq] = entry
        if entry.rollback_of is not None:
            self._rolled_back.add(entry.rollback_of)
        place = entry.name, entry.occurrence
        if not entry.intact:
            self._by_order.setdefault(place, entry.seq)
            return
        if entry.code.version != self._version:
            if entry.status is not EntryStatus.SUPERSEDED:
                self._by_order[place] = entry.seq
            return
        if entry.status is not EntryStatus.SUPERSEDED:
            self._unused.add(entry)

    @cached_property
    def _history(self) -> History:
        """What was recorded before this execution, to compare with. Most executions never ask."""
        return History(
            entry
            for entry in self._entries.values()
            if entry.seq < self._first_new and entry.intact and entry.code.version == self._version
        )

    # -- finding

    def place(self, name: str, *, undoes: bool = False) -> Place:
        """Give the next call of this name its place.

        Raises:
            JournalMismatchError: in strict mode, if another step was recorded here.
        """
        occurrence = self._calls[name]
        self._calls[name] = occurrence + 1
        if self._recorded is not None:
            self._check_order(name)
        place = Place(name, occurrence, self._undo_calls if undoes else None)
        self._undo_calls += undoes
        self._places.append(place)
        return place

    def _check_order(self, name: str) -> None:
        assert self._recorded is not None  # noqa: S101  strict mode
        position = len(self._current)
        self._current.append(name)
        if position < len(self._recorded) and self._recorded[position] != name:
            raise JournalMismatchError(self._claim.run.workflow, position, self._recorded, self._current)

    def check_complete(self) -> JournalMismatchError | None:
        """Strict mode, at a good end: return an error if recorded steps were not asked for."""
        if self._recorded is None or len(self._current) >= len(self._recorded):
            return None
        position = len(self._current)
        return JournalMismatchError(
            self._claim.run.workflow, position, self._recorded, [*self._current, "(the end of the cell)"]
        )

    def match(self, place: Place, call: Fingerprinted, *, in_order: bool = False) -> Match:
        """Say what is recorded for a call, and whether it replays (design, "Replay, and what an edit does").

        The entry is used then, by this call: ``place.seq`` is its number, or that of a new one.

        Args:
            place: of the call.
            call: what it computes from.
            in_order: equal calls take their entries in the order in which these were made, whatever came between
                (``ctx.map``), and not those of the same place first.
        """
        entry = self._take(place, call, in_order=in_order)
        if entry is None:
            place.seq = self._new_seq()
            self._used.add(place.seq)
            return Match(None)
        place.seq = entry.seq
        self._used.add(entry.seq)
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
            case EntryStatus.IMPURE:
                return Match(entry, reason=f"it {entry.note or 'changed its input'}")
            case _:
                waiting = entry.ended_at is not None  # killed between two attempts
                reason = "going on after a restart" if waiting else "outcome unknown: running again"
                return Match(entry, resumes=True, reason=reason)

    def _take(self, place: Place, call: Fingerprinted, *, in_order: bool) -> Entry | None:
        if self._undoing:
            entry = self._take_in_rollback(place)
            if entry is not None:
                return entry
        seq = self._unused.take(place.name, call.fingerprint, None if in_order else place.occurrence)
        if seq is not None:
            return self._entries[seq]
        for entry in self._binding:
            if (entry.name, entry.occurrence) == (place.name, place.occurrence) and entry.seq not in self._used:
                self._unused.drop(entry)
                return self._entries[entry.seq]
        seq = self._by_order.pop((place.name, place.occurrence), None)
        return None if seq is None else self._entries[seq]

    def _take_in_rollback(self, place: Place) -> Entry | None:
        """While half of a run is undone, entries are found by order alone: an edit must not do again what was undone.

        Nor undo it twice, or leave out what was done under other inputs.
        """
        if place.undoes is not None:
            seqs = self._undoing[place.undoes : place.undoes + 1]
        else:
            seqs = [
                seq for seq in self._history.placed.get((place.name, place.occurrence), ()) if seq not in self._undoing
            ]
        for seq in reversed(seqs):
            entry = self._entries[seq]
            if seq not in self._used and entry.status is not EntryStatus.SUPERSEDED:
                self._unused.drop(entry)
                return entry
        return None

    @property
    def unwinding(self) -> bool:
        """True if the run came with a rollback that had been cut short."""
        return bool(self._undoing)

    def undone(self) -> list[str]:
        """Return the names of the steps that had undone something."""
        return [self._entries[seq].name for seq in self._undoing]

    def _binds(self, entry: Entry) -> bool:
        """Tell whether an entry must be settled before its step can run with other code or inputs.

        That is a step whose outcome isn't known and that must not run twice, and a failure whose rollback is open.
        """
        if entry.at_most_once and entry.status is EntryStatus.RUNNING and entry.ended_at is None:
            return True
        if entry.status is not EntryStatus.FAILED or self._claim.previous is Outcome.COMPLETED:
            return False
        return entry.seq in self._rolled_back and self._failure_replays(entry)

    def _new_seq(self) -> int:
        while self._next in self._entries:
            self._next += 1
        self._next += 1
        return self._next - 1

    def _failure_replays(self, entry: Entry) -> bool:
        if entry.left:
            return False
        if entry.failure is Failure.TERMINAL:
            return True
        # A typo is tried again, unless steps that undo its consequences were cut short: those must be finished
        # on the same branch first.
        return entry.survived or (self._claim.previous is Outcome.KILLED and entry.seq in self._rolled_back)

    def before(self, place: Place, fingerprint: str, parts: Parts) -> Entry | None:
        """Return the unused entry that a call without one is best compared with, to say what has changed.

        That is one of the same fingerprint which no longer replays; else of the entries near its place the one from
        which it differs least; else the newest of its name.
        """
        if not self._entries or place.name not in self._history.named:
            return None
        superseded = self._history.superseded.get((place.name, fingerprint))
        if superseded is not None and superseded not in self._used:
            return self._entries[superseded]
        steps = sorted(range(-_NEAR, _NEAR + 1), key=abs)  # its own place first
        near = [
            seq
            for step in steps
            for seq in reversed(self._history.placed.get((place.name, place.occurrence + step), ()))
        ]
        free = [seq for seq in near if seq not in self._used][: 2 * _NEAR]
        if free:
            return min((self._entries[seq] for seq in free), key=lambda entry: _distance(entry, parts))
        rest = (seq for seq in reversed(self._history.named[place.name]) if seq not in self._used)
        return next((self._entries[seq] for seq in rest), None)

    def give_back(self, place: Place) -> None:
        """Take a call's entry back: it won't begin."""
        self._used.discard(place.seq)
        place.seq = -1

    def instead_of(self, entry: Entry, place: Place) -> None:
        """Use another, new entry in place of one that was taken: it stays as history."""
        self._used.discard(entry.seq)
        place.seq = self._new_seq()
        self._used.add(place.seq)

    def undone_by(self, name: str, shares: Collection[str]) -> list[Entry]:
        """Return the entries of a step with an effect that another call of it, now under way, makes void.

        They are unused ones of its name which share something with it: what they did was done before this call.
        """
        known = self._effects.get(name)
        if known is None:
            known = self._effects[name] = [
                (seq, shared) for seq in self._history.named.get(name, ()) if (shared := _effect(self._entries[seq]))
            ]
        found = [seq for seq, shared in known if seq not in self._used and not shared.isdisjoint(shares)]
        self._effects[name] = [one for one in known if one[0] not in found]
        return [self._entries[seq] for seq in found if self._entries[seq].status is not EntryStatus.SUPERSEDED]

    # -- keeping up with what is written

    def put(self, entry: Entry) -> None:
        """Take an entry's new state. A finished value's bytes are on disk; they need not stay in memory as well."""
        if entry.payload is not None and entry.status is not EntryStatus.FAILED and _is_large(entry):
            entry = entry._replace(payload=None, buffers=(), size=entry.value_size)
        if entry.status is EntryStatus.SUPERSEDED:
            self._unused.drop(entry)
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

    @property
    def used(self) -> Sequence[int]:
        """The entries that the calls so far have taken, in the order of the calls."""
        return tuple(place.seq for place in self._places if place.seq >= 0)

    def __len__(self) -> int:
        return len(self._entries)


def _is_large(entry: Entry) -> bool:
    return bool(entry.buffers) or len(entry.payload or b"") > _SMALL


def _distance(entry: Entry, now: Parts) -> int:
    """Count what differs."""
    then = parts_from(entry.code.inputs)
    names = then.inputs.keys() | now.inputs.keys()
    return (then.code != now.code) + sum(
        then.inputs.get(name, _NO_INPUT)[0] != now.inputs.get(name, _NO_INPUT)[0] for name in names
    )


_NO_INPUT = ("",)


def _effect(entry: Entry) -> frozenset[str]:
    """What a step with an effect may have changed; empty for a step without one."""
    if entry.value_type != "NoneType" and '"writes"' not in entry.code.inputs:
        return frozenset()
    parts = parts_from(entry.code.inputs)
    return frozenset(parts.shares) if entry.value_type == "NoneType" or parts.writes else frozenset()
