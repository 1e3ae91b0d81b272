"""``diff``: two runs, or two executions of one, step by step: code, inputs, values."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from notebook_durable.errors import ConfigurationError
from notebook_durable.history.compare import CodeChange, InputChange, Sources, input_changes, library_changes
from notebook_durable.history.details import Detail, add_details
from notebook_durable.history.differ import SAME, compare_entries
from notebook_durable.history.log import RunLog, Step
from notebook_durable.history.page import Page, View
from notebook_durable.protocols import Store
from notebook_durable.render import run_label

__all__ = ["DiffView", "Side", "StepDiff", "diff"]


class Side(NamedTuple):
    """One side of a comparison: some calls of a run."""

    label: str
    log: RunLog
    steps: Sequence[Step]

    @classmethod
    def run(cls, log: RunLog) -> Side:
        """What a run stands at."""
        return cls(run_label(log.info), log, log.current)

    @classmethod
    def execution(cls, log: RunLog, number: int) -> Side:
        """The calls of one execution.

        Raises:
            ConfigurationError: if there is none of that number.
        """
        one = log.execution(number)
        return cls(f"{run_label(log.info)}, execution {one.number}", log, log.calls(one))


@dataclass(frozen=True)
class StepDiff:
    """One step on both sides.

    Attributes:
        step: its name, as "load #2" (on side B, if it is on both).
        only: "A" or "B" if it is on that side only, else "".
        code, inputs, libraries: what differs.
        value: how the values differ; "same", or "" if there are none.
    """

    step: str
    only: str = ""
    code: tuple[CodeChange, ...] = ()
    inputs: tuple[InputChange, ...] = ()
    libraries: tuple[str, ...] = ()
    value: str = ""

    @property
    def same(self) -> bool:
        """Nothing differs."""
        return not (self.only or self.code or self.inputs or self.libraries) and self.value in (SAME, "")


class DiffView(View):
    """The steps of both sides; ``steps`` has them as data."""

    def __init__(self, page: Page, steps: Sequence[StepDiff]) -> None:
        super().__init__(page)
        self.steps = tuple(steps)


def diff(store: Store, then: Side, now: Side) -> DiffView:
    """Compare two sides."""
    sources = Sources(store)
    found = [_compare(store, sources, then.log, now.log, *pair) for pair in _pairs(then.steps, now.steps)]
    page = Page(f"A: {then.label} — B: {now.label}")
    different = [one for one in found if not one.same]
    same = len(found) - len(different)
    page.line(f"{len(different)} of {len(found)} steps differ" if different else f"all {same} steps are the same")
    page.table(("step", "code", "inputs", "value"), map(_cells, different))
    details = (
        Detail(one.step, f'"{one.step}"', one.code, one.inputs, one.libraries)
        for one in different
        if one.code or one.inputs or one.libraries
    )
    add_details(page, details, "More steps differ: journal().diff(...).steps has them all")
    return DiffView(page, found)


def _pairs(then: Sequence[Step], now: Sequence[Step]) -> list[tuple[Step | None, Step | None]]:
    """Pair steps of a name: those with the same fingerprint first, then in their order."""
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for equal in (True, False):
        left: defaultdict[tuple[str, str], deque[int]] = defaultdict(deque)
        for place, step in enumerate(then):
            if place not in taken:
                left[_mark(step, equal)].append(place)
        for place, step in enumerate(now):
            mark = _mark(step, equal)
            if place not in partner and left[mark] and not (equal and not mark[1]):
                partner[place] = left[mark].popleft()
                taken.add(partner[place])
    pairs: list[tuple[Step | None, Step | None]] = [
        (then[partner[place]] if place in partner else None, step) for place, step in enumerate(now)
    ]
    return pairs + [(step, None) for place, step in enumerate(then) if place not in taken]


def _mark(step: Step, equal: bool) -> tuple[str, str]:
    return step.key.name, step.entry.code.fingerprint if equal else ""


def _compare(
    store: Store, sources: Sources, old_log: RunLog, new_log: RunLog, then: Step | None, now: Step | None
) -> StepDiff:
    if then is None or now is None:
        present = now if then is None else then
        assert present is not None  # noqa: S101  a pair has at least one
        return StepDiff(str(present.key), "B" if then is None else "A")
    old, new = then.entry, now.entry
    value = compare_entries(store, str(now.key), (old_log.info.id, old), (new_log.info.id, new))
    if old.seq == new.seq and old_log.info.id == new_log.info.id:
        return StepDiff(str(now.key), value=value)
    if not (old.intact and new.intact):
        return StepDiff(str(now.key), value=value)
    marked = bool(old.code.version and new.code.version)
    return StepDiff(
        str(now.key), "", sources.changes((old_log, old), (new_log, new)), input_changes(old, new) if marked else (),
        library_changes(old, new) if marked else (), value,
    )  # fmt: skip


def _cells(one: StepDiff) -> tuple[str, ...]:
    if one.only:
        return one.step, f"only in {one.only}", "", ""
    code = ", ".join(f"`{change.function}` {change.what}" for change in one.code)
    return one.step, code or "same", ", ".join(f"`{item.name}`" for item in one.inputs) or "same", one.value


def sides(runs: Sequence[RunLog], chosen: Sequence[int] | None, executions: Sequence[int] | None) -> tuple[Side, Side]:
    """Choose what to compare.

    Args:
        runs: those of one workflow and key, newest first.
        chosen: numbers of two runs.
        executions: numbers of two executions of one run: the newest, or the single one in ``chosen``.

    Raises:
        ConfigurationError: if there are no two to compare.
    """
    by_number = {log.info.number: log for log in runs}
    for number in chosen or ():
        if number not in by_number:
            known = ", ".join(map(str, sorted(by_number)))
            raise ConfigurationError(f"'{runs[0].info.run}' has no run {number}; its runs are: {known}")
    if executions is not None:
        log = by_number[chosen[0]] if chosen else runs[0]
        return Side.execution(log, executions[0]), Side.execution(log, executions[1])
    if chosen is not None and len(chosen) == 2:
        return Side.run(by_number[chosen[0]]), Side.run(by_number[chosen[1]])
    if chosen is None and len(runs) > 1:
        return Side.run(runs[1]), Side.run(runs[0])
    log = by_number[chosen[0]] if chosen else runs[0]
    if len(log.executions) < 2:
        raise ConfigurationError(
            f"'{log.info.run}' has one run with one execution: there is nothing to compare it with"
        )
    return Side.execution(log, log.executions[-2].number), Side.execution(log, log.executions[-1].number)
