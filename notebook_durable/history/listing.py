"""``history``: the runs of a workflow, their executions, and the versions of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from notebook_durable.history.log import RunLog
from notebook_durable.history.page import Page, View
from notebook_durable.model import Entry, EntryStatus, ExecutionInfo, StepKey
from notebook_durable.parts import parts_from
from notebook_durable.redact import redact
from notebook_durable.render import duration, error_text, size, when

__all__ = ["ExecutionRecord", "HistoryView", "Version", "history"]

_EXECUTION_HEAD = ("run", "key", "execution", "began", "took", "ended", "replayed", "ran")
_VERSION_HEAD = ("step", "version", "", "execution", "recorded", "value", "size", "remark")


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """One execution of a run.

    Attributes:
        key, run: key and number of the run.
        archived: a later run has replaced that one.
        number: of the execution, from 1.
        started_at, ended_at: seconds since the epoch; the latter None if it runs, or its kernel died.
        outcome: how it ended.
        replayed, ran: how many steps; replayed is None if it didn't come to write that down.
    """

    key: str
    run: int
    archived: bool
    number: int
    started_at: float
    ended_at: float | None
    outcome: str
    replayed: int | None
    ran: int


@dataclass(frozen=True, slots=True)
class Version:
    """One entry of a step.

    Attributes:
        step: the step's name, as "load #2".
        number: its version, from 1: ``load NAME "load #2@1"`` brings it back.
        state: "current", "superseded" (replays no more), or "history" (replays when code and inputs are so again).
        status: how it ended.
        execution: the one that last worked on it.
        recorded_at: seconds since the epoch.
        value_type, size: of the value; bytes.
        why: why it ran.
        remark: why it is not current any more, or what is special about it.
    """

    step: str
    number: int
    state: str
    status: str
    execution: int
    recorded_at: float | None
    value_type: str
    size: int
    why: str
    remark: str


class HistoryView(View):
    """``executions`` and ``versions`` (of one run) as data."""

    def __init__(self, page: Page, executions: Sequence[ExecutionRecord], versions: Sequence[Version]) -> None:
        super().__init__(page)
        self.executions = tuple(executions)
        self.versions = tuple(versions)


def history(name: str, logs: Sequence[RunLog], shown: RunLog | None) -> HistoryView:
    """List executions, and the versions of one run's steps.

    Args:
        name: the workflow.
        logs: its runs, newest first.
        shown: the run whose steps are listed; None if it is not clear which is meant.
    """
    executions = [_record(log, one) for log in logs for one in reversed(log.executions)]
    versions = [] if shown is None else _versions(shown)
    count = "1 run" if len(logs) == 1 else f"{len(logs)} runs"
    page = Page(f"{name}: {count}, {len(executions)} execution{'' if len(executions) == 1 else 's'}")
    page.table(_EXECUTION_HEAD, map(_execution_cells, executions))
    if shown is None:
        page.line("Several keys: --key KEY lists the steps of one.")
    else:
        page.heading(f"Steps of run {shown.info.number}")
        page.table(_VERSION_HEAD, map(_version_cells, versions))
        page.line(f'A version\'s value: %durable load {name} "STEP@VERSION" --run {shown.info.number}')
    return HistoryView(page, executions, versions)


def _record(log: RunLog, one: ExecutionInfo) -> ExecutionRecord:
    calls = log.calls(one)
    # An entry that a later execution worked on was not finished in this one: it had been tried here.
    replayed = sum(step.entry.execution < one.number for step in calls)
    return ExecutionRecord(
        log.info.run.key, log.info.number, log.info.archived, one.number, one.started_at, one.ended_at,
        str(one.outcome), None if one.used is None else replayed, len(calls) - replayed,
    )  # fmt: skip


def _versions(log: RunLog) -> list[Version]:
    order = {step.key: place for place, step in enumerate(log.current)}
    instead: dict[int | None, Entry] = {
        parts.instead: entry
        for entry in log.entries
        if (parts := parts_from(entry.code.inputs)).instead not in (None, entry.seq) and entry.intact
    }
    # In the order of the calls; what is not called any more comes last.
    keys = sorted(log.versions, key=lambda key: (order.get(key, len(order)), log.versions[key][0].seq))
    placed = {step.entry.seq: step.key for step in log.current}
    return [
        _version(log, key, number, entry, placed, instead)
        for key in keys
        for number, entry in enumerate(log.versions[key], 1)
    ]


def _version(
    log: RunLog,
    key: StepKey,
    number: int,
    entry: Entry,
    placed: dict[int, StepKey],
    instead: dict[int | None, Entry],
) -> Version:
    if entry.seq in placed:
        state = "current"
        remark = "" if placed[entry.seq] == key else f'now step "{placed[entry.seq]}"'
    else:
        superseded = entry.status is EntryStatus.SUPERSEDED
        state, remark = "superseded" if superseded else "history", _gone(log, key, entry, instead)
    parts = parts_from(entry.code.inputs)
    said = "; ".join(
        filter(None, (error_text(entry.error), "" if entry.intact else "damaged, or written with another key", remark))
    )
    return Version(
        str(key), number, state, str(entry.status), entry.execution, entry.ended_at, entry.value_type,
        entry.value_size, redact(parts.why), redact(said),
    )  # fmt: skip


def _gone(log: RunLog, key: StepKey, entry: Entry, instead: dict[int | None, Entry]) -> str:
    if entry.note and entry.status is EntryStatus.SUPERSEDED:
        return entry.note
    by = instead.get(entry.seq)
    if by is None:
        later = [one for one in log.versions[key] if one.seq > entry.seq]
        by = later[0] if later else None
    if by is not None:
        why = parts_from(by.code.inputs).why or "ran again"
        return f"replaced by execution {by.execution}: {why}"
    return "replaced" if any(step.key == key for step in log.current) else "not called any more"


def _execution_cells(one: ExecutionRecord) -> tuple[str, ...]:
    return (
        str(one.run) + (" (archived)" if one.archived else ""),
        one.key,
        str(one.number),
        when(one.started_at),
        "" if one.ended_at is None else duration(max(0.0, one.ended_at - one.started_at)),
        one.outcome,
        "?" if one.replayed is None else str(one.replayed),
        str(one.ran),
    )


def _version_cells(one: Version) -> tuple[str, ...]:
    state = one.state if one.status in (EntryStatus.SUCCEEDED, EntryStatus.SUPERSEDED) else f"{one.state}: {one.status}"
    remark = one.remark or one.why
    return (
        one.step, f"@{one.number}", state, str(one.execution), when(one.recorded_at)[5:-3], one.value_type,
        size(one.size) if one.size else "", remark,
    )  # fmt: skip
