"""``gc``: which archived runs and which entries of the history can go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from notebook_durable.errors import ConfigurationError
from notebook_durable.history.log import RunLog, read_log
from notebook_durable.history.page import Page
from notebook_durable.history.removal import Change, Plan
from notebook_durable.model import EntryStatus, ExecutionInfo, RunInfo
from notebook_durable.protocols import Store
from notebook_durable.render import run_label, size, when
from notebook_durable.units import age, byte_count

__all__ = ["collect"]

#: What goes if nothing is said.
DEFAULT_AGE = "30d"


@dataclass(frozen=True, slots=True)
class _Item:
    """Something that may go: an archived run, or entries of the history of one run."""

    run: RunInfo
    executions: tuple[ExecutionInfo, ...]
    seqs: tuple[int, ...] | None
    count: int
    size: int
    last: float  # when it was used last, in seconds since the epoch


def collect(
    store: Store,
    *,
    now: float,
    keep_runs: int | None = None,
    older_than: str | float | timedelta | None = None,
    max_size: str | int | None = None,
) -> Plan:
    """Plan what to collect; what a run stands at now, and a run that is executed, is never in it.

    Args:
        store: the journal.
        now: seconds since the epoch.
        keep_runs: keep this many archived runs of each workflow and key, the newest; they are safe from the other two.
        older_than: collect what was neither recorded nor replayed since, such as "30d".
        max_size: collect the oldest until the values that remain fit in, such as "10GB".

    With ``keep_runs`` alone every other archived run goes; with nothing at all, what is older than 30 days.

    Raises:
        ConfigurationError: if one of these is none.
    """
    if keep_runs is not None and keep_runs < 0:
        raise ConfigurationError(f"the number of archived runs to keep is 0 or more, not {keep_runs}")
    if keep_runs is None and older_than is None and max_size is None:
        older_than = DEFAULT_AGE
    limit = None if older_than is None else now - age(older_than)
    most = None if max_size is None else byte_count(max_size)
    runs = store.runs(archived=True)
    kept = _kept(runs, keep_runs)
    items = [item for run in runs if run.owner is None for item in _items(store, run, kept)]
    items.sort(key=lambda item: item.last)
    if limit is not None:
        chosen = [item for item in items if item.last < limit]
    elif keep_runs is not None and most is None:
        chosen = [item for item in items if item.seqs is None]
    else:
        chosen = []
    left = sum(run.size for run in runs) - sum(item.size for item in chosen)
    if most is not None:
        taken = set(map(id, chosen))
        for item in items:
            if left <= most:
                break
            if id(item) not in taken:
                chosen.append(item)
                left -= item.size
    return _plan(store, chosen, left, most)


def _kept(runs: Sequence[RunInfo], count: int | None) -> set[int]:
    """Archived runs that stay: the newest of each workflow and key."""
    if count is None:
        return set()
    groups: defaultdict[object, list[RunInfo]] = defaultdict(list)
    for run in runs:
        if run.archived:
            groups[run.run].append(run)
    return {
        run.id
        for group in groups.values()
        for run in sorted(group, key=lambda one: one.number, reverse=True)[: max(0, count)]
    }


def _items(store: Store, run: RunInfo, kept: set[int]) -> list[_Item]:
    log = read_log(store, run)
    executions = tuple(log.executions)
    if run.archived and run.id not in kept:
        ends = [one.ended_at or one.started_at for one in executions] or [run.ended_at or run.created_at]
        return [_Item(run, executions, None, run.entries, run.size, max(ends))]
    used = _last_used(log)
    return [
        _Item(
            run, executions, (entry.seq,), 1, entry.value_size,
            max(used.get(entry.seq, 0.0), entry.ended_at or entry.started_at),
        )
        for entry in log.entries
        if entry.seq not in log.current_seqs and not (entry.at_most_once and entry.status is EntryStatus.RUNNING)
    ]  # fmt: skip


def _last_used(log: RunLog) -> dict[int, float]:
    used: dict[int, float] = {}
    for one in log.executions:
        for seq in one.used or ():
            used[seq] = one.ended_at or one.started_at
    return used


def _plan(store: Store, chosen: Sequence[_Item], left: int, most: int | None) -> Plan:
    by_run: dict[int, list[_Item]] = {}
    for item in chosen:
        by_run.setdefault(item.run.id, []).append(item)
    changes, rows = [], []
    for items in by_run.values():
        first = items[0]
        seqs = None if first.seqs is None else tuple(sorted(seq for item in items for seq in item.seqs or ()))
        changes.append(Change(first.run, seqs, first.executions, sum(item.size for item in items)))
        rows.append((
            run_label(first.run), str(first.run.number), "the run" if seqs is None else "history",
            str(sum(item.count for item in items)), size(sum(item.size for item in items)),
            when(min(item.last for item in items)), when(max(item.last for item in items)),
        ))  # fmt: skip
    count, total = sum(item.count for item in chosen), sum(item.size for item in chosen)
    if changes:
        page = Page(f"{count} {'entry' if count == 1 else 'entries'} with {size(total)} of values will be deleted")
    else:
        page = Page("Nothing to collect")
    page.table(("run", "number", "what", "entries", "size", "oldest", "newest"), rows)
    page.line(f"{size(left)} of values remain")
    if most is not None and left > most:
        page.line(f"That is more than {size(most)}: the rest is current, or was to be kept")
    return Plan(store, page, changes, count, total)
