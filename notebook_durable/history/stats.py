"""``stats``: what takes how much room and time, by run and by step, the largest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from notebook_durable.history.collect import DEFAULT_AGE, collect
from notebook_durable.history.log import RunLog
from notebook_durable.history.page import Page, View
from notebook_durable.model import Entry
from notebook_durable.protocols import DiskUsage, Store
from notebook_durable.render import duration, run_label, size
from notebook_durable.stores.references import BlobRef, PackRef, reference_from

__all__ = ["Amount", "StatsView", "stats"]

_HEAD = ("entries", "now", "history", "attempts", "took", "in rows", "in packs", "in files")


@dataclass
class Amount:
    """What some entries take.

    Attributes:
        label: of which run or step.
        entries: how many.
        now, history: bytes of values: what replays at the next execution, and what doesn't (archived runs too).
        attempts: calls that were begun.
        spent: seconds, with failed attempts and waits.
        rows, packs, files: bytes of values by where they lie. Equal values lie in one file, and count in each entry.
    """

    label: str
    entries: int = 0
    now: int = 0
    history: int = 0
    attempts: int = 0
    spent: float = 0.0
    rows: int = 0
    packs: int = 0
    files: int = 0

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return self.now + self.history

    def add(self, entry: Entry, *, current: bool) -> None:
        """Count an entry."""
        count = entry.value_size
        self.entries += 1
        self.attempts += entry.attempts
        self.spent += entry.spent
        if current:
            self.now += count
        else:
            self.history += count
        where = reference_from(entry.blob) if entry.blob else None
        if isinstance(where, BlobRef):
            self.files += count
        elif isinstance(where, PackRef):
            self.packs += count
        else:
            self.rows += count

    def cells(self) -> tuple[str, ...]:
        """Return what a table shows."""
        sizes = [size(count) if count else "" for count in (self.now, self.history)]
        places = [size(count) if count else "" for count in (self.rows, self.packs, self.files)]
        return (self.label, f"{self.entries:,}", *sizes, f"{self.attempts:,}", duration(self.spent), *places)


class StatsView(View):
    """``runs``, ``steps`` (of one name) and ``disk`` as data."""

    def __init__(self, page: Page, runs: Sequence[Amount], steps: Sequence[Amount], disk: DiskUsage) -> None:
        super().__init__(page)
        self.runs = tuple(runs)
        self.steps = tuple(steps)
        self.disk = disk


def stats(store: Store, name: str | None, logs: Iterable[RunLog], *, now: float) -> StatsView:
    """Count what there is.

    Args:
        store: the journal.
        name: the workflow whose steps are listed too; None: none.
        logs: the runs, read without their values.
        now: seconds since the epoch.
    """
    runs: list[Amount] = []
    steps: dict[str, Amount] = {}
    for log in logs:
        runs.append(Amount(run_label(log.info)))
        for entry in log.entries:
            current = not log.info.archived and entry.seq in log.current_seqs
            runs[-1].add(entry, current=current)
            if name is not None:
                steps.setdefault(entry.name, Amount(entry.name)).add(entry, current=current)
    runs.sort(key=lambda one: one.size, reverse=True)
    ordered = sorted(steps.values(), key=lambda one: one.size, reverse=True)
    disk = store.disk_usage()
    page = Page(_title(store, name, runs))
    page.table(("run", *_HEAD), [one.cells() for one in runs])
    if ordered:
        page.heading("By step")
        page.table(("step", *_HEAD), [one.cells() for one in ordered])
    _disk(page, store, disk, now)
    return StatsView(page, runs, ordered, disk)


def _title(store: Store, name: str | None, runs: Sequence[Amount]) -> str:
    count = "1 run" if len(runs) == 1 else f"{len(runs):,} runs"
    total = size(sum(one.size for one in runs))
    where = store.location if name is None else f"'{name}'"
    return f"{where}: {count}, {sum(one.entries for one in runs):,} entries with {total} of values"


def _disk(page: Page, store: Store, disk: DiskUsage, now: float) -> None:
    plan = collect(store, now=now)
    taken = disk.database + disk.blobs + disk.packs + disk.quarantine
    if taken:
        parts = [
            f"{what} {size(count)}"
            for what, count in (
                ("database", disk.database), ("files of large values", disk.blobs),
                ("packs of middle-sized ones", disk.packs), ("quarantine", disk.quarantine),
            )
            if count
        ]  # fmt: skip
        free = "" if disk.free is None else f"; {size(disk.free)} free there"
        page.line(f"On the disk: {size(taken)} in all ({', '.join(parts)}){free}")
    if disk.unneeded:
        page.line(f"%durable gc would free {size(disk.unneeded)} in files that no entry refers to any more")
    if plan:
        entries = "1 entry" if plan.entries == 1 else f"{plan.entries:,} entries"
        page.line(
            f"%durable gc would free {size(plan.size)}: {entries} of archived runs and history older than {DEFAULT_AGE}"
        )
    elif not disk.unneeded:
        page.line(f"%durable gc would free nothing: no archived run and no history is older than {DEFAULT_AGE}")
