"""What takes something away: it is planned and shown first, and done when it is applied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from notebook_durable.errors import ConfigurationError, RunBusyError, RunOpenError, StoreError
from notebook_durable.history.log import RunLog
from notebook_durable.history.page import Page, View
from notebook_durable.model import Entry, EntryStatus, ExecutionInfo, RunInfo
from notebook_durable.protocols import Store
from notebook_durable.render import run_label, size, when

__all__ = ["Change", "Plan", "check_free", "forget", "rewind"]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one run.

    Attributes:
        run: which.
        seqs: entries; None for the whole run.
        executions: as they were when this was planned.
        size: bytes of the values of what it concerns.
    """

    run: RunInfo
    seqs: tuple[int, ...] | None
    executions: tuple[ExecutionInfo, ...]
    size: int = 0


class Plan(View):
    """What a command will take away. Nothing has happened yet: :meth:`apply` does it.

    Attributes:
        changes: by run.
        entries: how many entries are concerned.
        size: bytes of their values.
    """

    #: What is asked before it is applied.
    question = "Delete this for good?"

    def __init__(self, store: Store, page: Page, changes: Sequence[Change], entries: int, bytes_: int) -> None:
        super().__init__(page)
        self._store = store
        self.changes = tuple(changes)
        self.entries = entries
        self.size = bytes_

    def __bool__(self) -> bool:
        """False if there is nothing to do."""
        return bool(self.changes)

    def apply(self) -> str:
        """Do it; returns what was done.

        Raises:
            StoreError, RunOpenError: if somebody executes each run of it, or the journal can't be written.
            ConfigurationError: if a run was executed since this was planned.
        """
        for change in self.changes:
            self._check_unchanged(change)
        busy: list[str] = []
        done, left = 0, self.size
        for change in self.changes:
            try:
                done += self._store.forget(change.run.id, change.seqs)
            except (RunBusyError, RunOpenError):  # since a moment ago: no reason to stop halfway
                if len(busy) + 1 == len(self.changes):
                    raise
                busy.append(run_label(change.run))
                left -= change.size
        said = f"; left as it is, because it is being executed: {_names(busy)}" if busy else ""
        return f"deleted {_count(done)} with {size(left)} of values{said}{self._swept(done)}"

    def _check_unchanged(self, change: Change) -> None:
        if tuple(self._store.executions(change.run.id)) != change.executions:
            raise ConfigurationError(f"'{change.run.run}' was executed meanwhile, so nothing was done. Type it again.")

    def _swept(self, deleted: int) -> str:
        try:
            won = self._store.sweep()
        except StoreError as error:
            return f"; the disk gets the rest of the space back at the next gc ({error})"
        said = f"; {size(won)} given back to the disk" if won > 0 else ""
        if deleted and any(run.owner is not None for run in self._store.runs()):
            said += "; the database gets smaller at the next gc, because a run is being executed"
        return said


class _Rewind(Plan):
    question = "Run these steps again next time?"

    def __init__(self, store: Store, page: Page, change: Change, entries: int, bytes_: int, note: str) -> None:
        super().__init__(store, page, [change] if entries else [], entries, bytes_)
        self._note = note

    def apply(self) -> str:
        for change in self.changes:
            self._check_unchanged(change)
            seqs = set(change.seqs or ())
            changed = [
                entry._replace(status=EntryStatus.SUPERSEDED, note=self._note)
                for entry in self._store.read(change.run.id)
                if entry.seq in seqs and entry.intact
            ]
            self._store.amend(change.run.id, changed)
        return f"{_count(self.entries)} will not replay: run the cell again. The values stay: %durable history"


def check_free(run: RunInfo) -> None:
    """Refuse a run that is being executed, before anybody is asked.

    Raises:
        RunOpenError, RunBusyError: if it is.
    """
    owner = run.owner
    if owner is None:
        return
    if owner.pid == os.getpid():
        raise RunOpenError(run.run.workflow, run.run.key)
    raise RunBusyError(run.run.workflow, run.run.key, owner.pid, owner.host, run.created_at)


def rewind(store: Store, log: RunLog, to: str) -> Plan:
    """Plan that a step and what came after it run again.

    Raises:
        ConfigurationError: if the latest execution has no such step.
    """
    check_free(log.info)
    keys = log.keys(to)
    places = [place for place, step in enumerate(log.current) if step.key in keys]
    if not places:
        raise ConfigurationError(f"step \"{to}\" of '{log.info.run}' is history already: it runs when it is called")
    steps = log.current[places[0] :]
    chosen = {step.entry.seq for step in steps if step.entry.intact}
    twins = _twins(log, [step.entry for step in steps])
    page = Page(f"{run_label(log.info)}: {len(steps)} of {len(log.current)} steps will run again")
    page.table(
        ("step", "state", "execution", "recorded", "value", "size", "remark"),
        [
            (
                str(step.key), str(step.entry.status), str(step.entry.execution), when(step.entry.ended_at),
                step.entry.value_type, size(step.entry.value_size),
                "at_most_once: it will be called again" if step.entry.at_most_once else "",
            )
            for step in steps
        ],
    )  # fmt: skip
    if twins:
        page.line(f"and {_count(len(twins))} of the history that would replay in their place")
    chosen |= {entry.seq for entry in twins}
    seqs = tuple(sorted(chosen))
    change = Change(log.info, seqs, tuple(log.executions))
    total = sum(entry.value_size for entry in log.entries if entry.seq in chosen)
    return _Rewind(store, page, change, len(seqs), total, f"asked for: rewound to {steps[0].key}")


def _twins(log: RunLog, entries: Sequence[Entry]) -> list[Entry]:
    """Entries of the history that would replay instead: of the same name and fingerprint."""
    marks = {(one.name, one.code.fingerprint) for one in entries if one.code.fingerprint}
    keys = {one.key for one in entries}
    return [
        one
        for one in log.entries
        if one.seq not in log.current_seqs and one.intact and one.status is not EntryStatus.SUPERSEDED
        and ((one.name, one.code.fingerprint) in marks if one.code.fingerprint else one.key in keys)
    ]  # fmt: skip


def forget(store: Store, logs: Sequence[RunLog], step: str | None) -> Plan:
    """Plan to delete runs, or all entries of a step in them.

    Raises:
        ConfigurationError: if no run has such a step.
    """
    changes, rows, count, total = [], [], 0, 0
    for log in logs:
        check_free(log.info)
        found = list(log.entries) if step is None else _of_step(log, step)
        if step is not None and not found:
            continue
        bytes_ = sum(entry.value_size for entry in found)
        seqs = None if step is None else tuple(entry.seq for entry in found)
        changes.append(Change(log.info, seqs, tuple(log.executions), bytes_))
        names = dict.fromkeys(entry.name for entry in found)
        rows.append((run_label(log.info), str(log.info.number), _names(list(names)), str(len(found)), size(bytes_)))
        count, total = count + len(found), total + bytes_
    if not changes and step is not None:
        logs[0].keys(step)  # raises, with what there is
    page = Page(f"{_count(count)} with {size(total)} of values will be deleted")
    page.table(("run", "number", "steps", "entries", "size"), rows)
    return Plan(store, page, changes, count, total)


def _of_step(log: RunLog, text: str) -> list[Entry]:
    try:
        keys = set(log.keys(text))
    except ConfigurationError:
        return []
    elsewhere = {step.entry.seq for step in log.current if step.key not in keys}
    found = {entry.seq: entry for key in keys for entry in log.versions[key] if entry.seq not in elsewhere}
    return [found[seq] for seq in sorted(found)]


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _count(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
