"""Many calls of one name in a row, such as the items of a ``ctx.map``, as one thing to look at. Pure.

The journal doesn't tell a map from a loop of ``ctx.run`` with the same name and function, on purpose: a loop that
becomes a map replays. So both are grouped, by what they have in common: they were called one after the other, under one
name. A few of them are better shown one by one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from notebook_durable.model import Entry, EntryStatus
from notebook_durable.parts import Parts, parts_from
from notebook_durable.render import error_text

__all__ = ["LEAST", "Group", "first_error", "in_a_row", "make_group", "telling", "worst"]

#: So many calls of one name are a group. Fewer fit on the page as they are.
LEAST = 10

#: A group's state is the first of these that one of its entries has.
_STATES = (
    "running", "waiting", "asking", "sleeping", "cut off", "failed", "damaged", "untrusted", "interrupted", "cancelled",
    "not storable", "changed its input", "done",
)  # fmt: skip
_COMPARED = 6  # entries whose inputs are compared to find out which tells them apart
_KEY = "key"  # of ``ctx.map``; a parameter of this name makes it "key (2)"


@dataclass(frozen=True, slots=True)
class Group:
    """Entries in a row with one name.

    Attributes:
        start: place of the first one.
        name: of their steps.
        states: how many are in which state.
        replayed: how many the latest execution has replayed.
        took: seconds that their calls took together.
        size: bytes of their values together.
        began: when the first of them was called, in seconds since the epoch; 0 if that isn't known.
        error: the first failure among them.
        why: why the newest of them ran.
        current: the run stands at them.
        named_by: the inputs that tell them apart.
    """

    start: int
    name: str
    states: Counter[str]
    replayed: int
    took: float
    size: int
    began: float
    error: str
    why: str
    current: bool
    named_by: tuple[str, ...]

    @property
    def stop(self) -> int:
        """Place behind the last one."""
        return self.start + self.states.total()

    def plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "start": self.start, "count": self.states.total(), "name": self.name, "state": worst(self.states),
            "done": self.states["done"], "failed": self.states["failed"], "states": dict(self.states),
            "replayed": self.replayed,
            "took": round(self.took, 4), "size": self.size, "began": self.began or None, "current": int(self.current),
        }  # fmt: skip

    def label(self, parts: Parts) -> str:
        """Name one of its entries by what tells it from the others; "" if nothing does."""
        told = [parts.inputs[name].short for name in self.named_by if name in parts.inputs]
        return ", ".join(filter(None, told))


def in_a_row(names: Iterable[str], least: int = LEAST) -> list[range]:
    """Find the places at which one name comes at least so many times in a row."""
    found, at = [], 0
    for _, same in itertools.groupby(names):
        count = sum(1 for _ in same)
        if count >= least:
            found.append(range(at, at + count))
        at += count
    return found


def make_group(
    start: int, entries: Sequence[Entry], states: Sequence[str], sizes: Sequence[int], replayed: int, *, current: bool
) -> Group:
    """Sum up entries.

    Args:
        start: place of the first one.
        entries: they.
        states: the state of each, as it is shown.
        sizes: bytes of the value of each.
        replayed: how many the latest execution has replayed.
        current: the run stands at them.
    """
    intact = [entry for entry in entries if entry.intact]
    newest = max(intact, key=lambda entry: (entry.execution, entry.started_at), default=None)
    return Group(
        start, entries[0].name, Counter(states), replayed, sum(entry.duration for entry in intact), sum(sizes),
        min((entry.started_at for entry in intact if entry.started_at), default=0.0), first_error(intact),
        "" if newest is None else parts_from(newest.code.inputs).why, current, telling(intact),
    )  # fmt: skip


def worst(states: Counter[str]) -> str:
    """Return the state that tells most about several entries."""
    return next((state for state in _STATES if states[state]), next(iter(states), ""))


def first_error(entries: Iterable[Entry]) -> str:
    """Return the error of the first entry that failed, or waits after a failure, in one line."""
    open_ = (EntryStatus.FAILED, EntryStatus.RUNNING)
    return next((error_text(entry.error) for entry in entries if entry.error and entry.status in open_), "")


def telling(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the names of the inputs that are not the same in all entries: the key of a map's item, if it has one."""
    some = [parts_from(entry.code.inputs).inputs for entry in entries[:_COMPARED]]
    names = dict.fromkeys(name for inputs in some for name in inputs)
    differing = [name for name in names if len({inputs[name].digest for inputs in some if name in inputs}) > 1]
    keys = [name for name in differing if name.partition(" (")[0] == _KEY]
    return tuple(keys or differing)
