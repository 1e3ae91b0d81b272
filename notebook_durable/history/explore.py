"""What the explorer shows of a journal, as plain JSON: runs, and the steps of one as rows. Unpickles nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from notebook_durable.history.groups import Group, in_a_row, make_group
from notebook_durable.history.log import RunLog
from notebook_durable.model import Entry, EntryStatus, RunInfo, RunStatus, StepKey
from notebook_durable.parts import parts_from
from notebook_durable.protocols import Store
from notebook_durable.redact import redact
from notebook_durable.render import error_text, first_line, note

__all__ = ["COLUMNS", "Snapshot", "Version", "list_runs", "overview", "snapshot", "state_of", "step_rows"]

#: What a row of :func:`step_rows` holds. Those named in ``WORDS`` are indexes into its list of words.
COLUMNS = (
    "seq", "step", "version", "versions", "state", "execution", "began", "took", "spent", "attempts", "size", "type",
    "error", "why", "how", "current", "item",
)  # fmt: skip
WORDS = ("step", "state", "type", "error", "why", "how", "item")
_LONGEST = 200  # characters of a text in a row; the step itself shows all

_STATES = {
    EntryStatus.SUCCEEDED: "done",
    EntryStatus.FAILED: "failed",
    EntryStatus.INTERRUPTED: "interrupted",
    EntryStatus.CANCELLED: "cancelled",
    EntryStatus.UNSTORABLE: "not storable",
    EntryStatus.IMPURE: "changed its input",
    EntryStatus.SUPERSEDED: "superseded",
}


class Version(NamedTuple):
    """Which version of which step an entry is: ``number``, from 1, of ``among``."""

    key: StepKey
    number: int
    among: int


@dataclass(frozen=True)
class Snapshot:
    """A run as it was read, without the values.

    Attributes:
        log: its entries, without payloads.
        sizes: bytes of their values, by ``seq``; missing if there is none. No value was read to know that.
        untrusted: why nothing in the journal is believed; "" if it is.
    """

    log: RunLog
    sizes: Mapping[int, int]
    untrusted: str = ""

    def state(self, entry: Entry, *, owned: bool | None = None) -> str:
        """Say in a word how an entry stands; ``owned`` as in :func:`state_of`, by default as it is."""
        if self.untrusted and not entry.intact:
            return "untrusted"
        return state_of(entry, owned=self.log.info.owner is not None if owned is None else owned)

    def note(self, entry: Entry) -> str:
        """Say what is special about an entry."""
        return "written with another key" if self.untrusted and not entry.intact else note(entry)

    @cached_property
    def versions(self) -> dict[int, Version]:
        """By ``seq``. An entry that stood in several places has the one that it has now, or had last."""
        found: dict[int, Version] = {}
        for key, entries in self.log.versions.items():
            for number, entry in enumerate(entries, 1):
                found[entry.seq] = Version(key, number, len(entries))
        for step in self.log.current:
            entries = self.log.versions[step.key]
            number = next(n for n, entry in enumerate(entries, 1) if entry.seq == step.entry.seq)
            found[step.entry.seq] = Version(step.key, number, len(entries))
        return found

    @cached_property
    def called(self) -> Mapping[int, str]:
        """What the latest execution did with the entries it called, by ``seq``: "ran" or "replayed"."""
        if not self.log.executions:
            return {}
        latest = self.log.executions[-1]
        return {
            step.entry.seq: "ran" if step.entry.execution >= latest.number else "replayed"
            for step in self.log.calls(latest)
        }

    def current(self, key: StepKey) -> Entry | None:
        """The entry that stands for a step now."""
        return self._current.get(key)

    @cached_property
    def order(self) -> list[Entry]:
        """Those that the run stands at in the order of their calls, then history."""
        now = [step.entry for step in self.log.current]
        return now + [entry for entry in self.log.entries if entry.seq not in self.log.current_seqs]

    @cached_property
    def groups(self) -> list[Group]:
        """Calls of one name in a row, by their places in :attr:`order`."""
        order, border = self.order, len(self.log.current)
        spans = [*in_a_row(entry.name for entry in order[:border])]
        spans += [range(one.start + border, one.stop + border) for one in in_a_row(e.name for e in order[border:])]
        found = []
        for span in spans:
            entries = order[span.start : span.stop]
            states = [self.state(entry) for entry in entries]
            sizes = [self.sizes.get(entry.seq, 0) for entry in entries]
            replayed = sum(self.called.get(entry.seq) == "replayed" for entry in entries)
            found.append(make_group(span.start, entries, states, sizes, replayed, current=span.start < border))
        return found

    @cached_property
    def _current(self) -> dict[StepKey, Entry]:
        return {step.key: step.entry for step in self.log.current}


def snapshot(store: Store, info: RunInfo) -> Snapshot:
    """Read a run without its values."""
    entries = store.read(info.id, values=False)
    # A serializer of somebody's own may need no bytes at all to write down a value.
    sizes = {
        entry.seq: entry.size
        for entry in entries
        if entry.size or (entry.serializer and entry.status is not EntryStatus.RUNNING)
    }
    return Snapshot(RunLog(info, entries, store.executions(info.id)), sizes, _untrusted(store))


def _untrusted(store: Store) -> str:
    error = store.untrusted()
    return "" if error is None else redact(str(error))


def state_of(entry: Entry, *, owned: bool) -> str:
    """Say in a word how an entry stands.

    Args:
        entry: the entry.
        owned: somebody executes its run now.
    """
    if not entry.intact:
        return "damaged"
    if entry.status is EntryStatus.RUNNING:
        if not owned:
            return "cut off"
        parts = parts_from(entry.code.inputs)
        if parts.asks or parts.sleeps is not None:
            return "asking" if parts.asks else "sleeping"
        return "running" if entry.ended_at is None else "waiting"
    return _STATES[entry.status]


# --- the runs -----------------------------------------------------------------------------


def list_runs(store: Store) -> dict[str, Any]:
    """List all runs, newest first, archived ones too."""
    runs = [_run(store, info) for info in store.runs(archived=True)]
    return {"location": store.location, "runs": runs, "untrusted": _untrusted(store)}


def overview(info: RunInfo) -> dict[str, Any]:
    """Describe a run."""
    state = str(info.status).replace("_", " ")
    if info.owner is not None:
        state = "running"
    elif info.status is RunStatus.RUNNING:
        state = "cut off"
    return {
        "run": info.id, "name": str(info.run), "workflow": info.run.workflow, "key": info.run.key,
        "number": info.number, "state": state, "archived": info.archived, "began": info.created_at,
        "ended": info.ended_at, "steps": info.steps, "finished": info.finished, "entries": info.entries,
        "executions": info.executions, "size": info.size, "pid": info.owner.pid if info.owner else None,
        "notebook": {None: "", "*": "any"}.get(info.notebook, info.notebook or ""),
    }  # fmt: skip


def _run(store: Store, info: RunInfo) -> dict[str, Any]:
    executions = store.executions(info.id)
    took = sum(max(0.0, one.ended_at - one.started_at) for one in executions if one.ended_at is not None)
    last = executions[-1].started_at if executions else info.created_at
    return {**overview(info), "took": took, "last": last}


# --- the steps of one ---------------------------------------------------------------------


class _Words:
    """Texts by number: 10,000 rows say the same few things."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._places: dict[str, int] = {}
        self._shown: dict[str, str] = {}

    def __call__(self, text: str) -> int:
        if text not in self._places:
            self._places[text] = len(self.all)
            self.all.append(text)
        return self._places[text]

    def shown(self, text: str) -> int:
        """The same for a text that may hold a secret, cut to one line."""
        if text not in self._shown:
            self._shown[text] = first_line(redact(text), _LONGEST)
        return self(self._shown[text])


def step_rows(shot: Snapshot, start: int = 0, count: int | None = None) -> dict[str, Any]:
    """Write entries as rows: those that the run stands at in the order of their calls, then history.

    Args:
        shot: the run.
        start, count: which of the rows; all by default.

    Returns:
        ``columns``, ``words`` and ``rows``; ``total`` counts all rows. ``groups`` are those of all rows.
    """
    order, words = shot.order, _Words()
    stop = len(order) if count is None else min(len(order), start + count)
    row, group_at = _row_writer(shot, words), _finder(shot.groups)
    rows = [row(order[place], group_at(place)) for place in range(start, stop)]
    return {
        "columns": list(COLUMNS), "texts": list(WORDS), "words": words.all, "rows": rows, "total": len(order),
        "start": start, "groups": [_group(one) for one in shot.groups],
    }  # fmt: skip


def _group(group: Group) -> dict[str, Any]:
    shown = {"error": group.error, "why": group.why}
    return {**group.plain(), **{name: first_line(redact(text), _LONGEST) for name, text in shown.items()}}


def _finder(groups: Sequence[Group]) -> Callable[[int], Group | None]:
    """Return what finds the group at a place; places are asked for in ascending order."""
    left = iter(groups)
    group = next(left, None)

    def find(place: int) -> Group | None:
        nonlocal group
        while group is not None and place >= group.stop:
            group = next(left, None)
        return group if group is not None and place >= group.start else None

    return find


def _row_writer(shot: Snapshot, words: _Words) -> Callable[[Entry, Group | None], list[Any]]:
    current = shot.log.current_seqs

    def write(entry: Entry, group: Group | None) -> list[Any]:
        version = shot.versions[entry.seq]
        step, state = words(str(version.key)), words(shot.state(entry))
        how, stands = words(shot.called.get(entry.seq, "")), int(entry.seq in current)
        place: Sequence[Any] = (entry.seq, step, version.number, version.among, state)
        if not entry.intact:
            # Nothing else in it can be believed.
            said, size = words(shot.note(entry)), shot.sizes.get(entry.seq, 0)
            return [*place, 0, None, 0, 0, 0, size, words(""), words(""), said, how, stands, words("")]
        parts = parts_from(entry.code.inputs)
        return [
            *place, entry.execution, entry.started_at or None, round(entry.duration, 4), round(entry.spent, 4),
            entry.attempts, shot.sizes.get(entry.seq, 0), words(entry.value_type), words.shown(error_text(entry.error)),
            words.shown("; ".join(filter(None, (parts.why, note(entry))))), how, stands,
            words.shown("" if group is None else group.label(parts)),
        ]  # fmt: skip

    return write
