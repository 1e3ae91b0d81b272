"""``why``: for each step of an execution whether it was replayed, and if not, why it ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from notebook_durable.errors import ConfigurationError
from notebook_durable.history.compare import CodeChange, InputChange, Sources, input_changes, library_changes
from notebook_durable.history.details import Detail, add_details
from notebook_durable.history.log import RunLog, Step
from notebook_durable.history.page import Page, View
from notebook_durable.model import Entry, EntryStatus, ExecutionInfo
from notebook_durable.parts import parts_from
from notebook_durable.protocols import Store
from notebook_durable.redact import redact
from notebook_durable.render import error_text, run_label, when

__all__ = ["StepWhy", "WhyView", "why"]


@dataclass(frozen=True)
class StepWhy:
    """Why one step did what it did.

    Attributes:
        step: its name, as "load #2".
        replayed: its recorded result was handed back.
        why: why it ran: in this execution, or in the one that recorded it.
        state: how it stands in the journal, an EntryStatus or "damaged".
        execution: the one that recorded it.
        recorded_at: seconds since the epoch; None if it has not finished.
        code, inputs, libraries: what differs from the entry it was compared with.
        untracked: inputs with parts whose content doesn't count, "engine (Engine)"; files that are not tracked.
        bytecode: functions that count by their bytecode, because their source is not at hand.
        called: False if the execution did not call it, so that this is what an earlier one recorded.
        error: how it failed, in one line.
    """

    step: str
    replayed: bool
    why: str
    state: str
    execution: int
    recorded_at: float | None
    code: tuple[CodeChange, ...] = ()
    inputs: tuple[InputChange, ...] = ()
    libraries: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    bytecode: tuple[str, ...] = ()
    called: bool = True
    error: str = ""


class WhyView(View):
    """The steps of an execution, each with its reason; ``steps`` has them as data."""

    def __init__(self, page: Page, steps: Sequence[StepWhy]) -> None:
        super().__init__(page)
        self.steps = tuple(steps)


def why(store: Store, log: RunLog, step: str | None = None) -> WhyView:
    """Explain the latest execution of a run, or one of its steps.

    Raises:
        ConfigurationError: if there is no such step; lists what there is.
    """
    if not log.executions:
        raise ConfigurationError(f"'{log.info.run}' was never executed")
    latest = log.executions[-1]
    calls = log.calls(latest)
    called = {call.entry.seq for call in calls}
    if step is not None:
        calls = _chosen(log, calls, step)
    sources = Sources(store)
    found = [explain(log, sources, call, latest, called=call.entry.seq in called) for call in calls]
    page = Page(_title(log, latest, found, step))
    if latest.used is None:
        page.line("It has not ended in order, so which steps it replayed is not written down: those that it ran.")
    page.table(("step", "", "why"), [(one.step, *_told(one)) for one in found])
    details = _details(found, single=step is not None)
    add_details(page, details, f"More steps differ; name one: %durable why {log.info.run.workflow} STEP")
    _untracked(page, found)
    return WhyView(page, found)


def _chosen(log: RunLog, calls: list[Step], text: str) -> list[Step]:
    keys = log.keys(text)
    chosen = [call for call in calls if call.key in keys]
    if chosen:
        return chosen
    # Not called by the latest execution: what it was when it was recorded.
    return [Step(key, log.versions[key][-1]) for key in keys]


def explain(log: RunLog, sources: Sources, step: Step, execution: ExecutionInfo, *, called: bool = True) -> StepWhy:
    """Say why a step ran, or that it was replayed."""
    entry = step.entry
    parts = parts_from(entry.code.inputs)
    replayed = entry.execution != execution.number
    old = None if parts.instead is None else log.by_seq.get(parts.instead)
    code: tuple[CodeChange, ...] = ()
    inputs: tuple[InputChange, ...] = ()
    libraries: tuple[str, ...] = ()
    if old is not None and old.intact and entry.intact:
        code = sources.changes((log, old), (log, entry))
        inputs = input_changes(old, entry) if old.code.version and entry.code.version else ()
        libraries = library_changes(old, entry) if old.code.version and entry.code.version else ()
    untracked = [f"`{name}` ({', '.join(types)})" for name, types in parts.untracked.items()]
    return StepWhy(
        str(step.key), replayed, _reason(entry, code, inputs),
        str(entry.status) if entry.intact else "damaged", entry.execution, entry.ended_at,
        code, inputs, libraries, tuple(map(redact, untracked)), sources.code(parts).bytecode,
        called, error_text(entry.error),
    )  # fmt: skip


def _reason(entry: Entry, code: Sequence[CodeChange], inputs: Sequence[InputChange]) -> str:
    if not entry.intact:
        return "damaged, or written with another key"
    said = redact(parts_from(entry.code.inputs).why)
    if said:
        return said
    changed = [f"code of `{one.function}` {one.what}" for one in code]
    changed += [f"input `{one.name}` changed" for one in inputs]
    if changed:
        return ", ".join(changed)
    return "new" if entry.code.version else "recorded without a fingerprint: not known"


def _title(log: RunLog, latest: ExecutionInfo, found: Sequence[StepWhy], step: str | None) -> str:
    name = run_label(log.info)
    head = f"{name}, execution {latest.number} ({latest.outcome}, began {when(latest.started_at)})"
    if step is not None:
        return head
    replayed = sum(one.replayed for one in found)
    return f"{head}: {replayed} replayed, {len(found) - replayed} ran"


def _told(one: StepWhy) -> tuple[str, str]:
    reason = "; ".join(filter(None, (one.why, one.error)))
    recorded = f"recorded by execution {one.execution}" + (f", {when(one.recorded_at)}" if one.recorded_at else "")
    if one.state == "damaged":
        return one.state, reason
    if not one.called:
        return "not called", recorded
    if not one.replayed:
        return "ran" if one.state == EntryStatus.SUCCEEDED else f"ran: {one.state}", reason
    if one.state in (EntryStatus.SUCCEEDED, EntryStatus.FAILED, EntryStatus.CANCELLED):
        return "replayed", recorded
    return one.state, f"by execution {one.execution}: {reason}"


def _details(found: Sequence[StepWhy], *, single: bool) -> Iterator[Detail]:
    for one in found:
        # What the table says in full isn't said twice.
        more = one.code or one.libraries or any(item.name not in one.why for item in one.inputs)
        if single or (not one.replayed and more):
            in_which = f" in execution {one.execution}" if one.replayed else ""
            yield Detail(one.step, f'"{one.step}" ran{in_which}: {one.why}', one.code, one.inputs, one.libraries)


def _untracked(page: Page, found: Sequence[StepWhy]) -> None:
    lines: dict[str, list[str]] = {}
    for one in found:
        for item in one.untracked:
            lines.setdefault(item if item.startswith("file") else f"not tracked: {item}", []).append(one.step)
        for item in one.bytecode:
            lines.setdefault(f"counts by its bytecode, no source at hand: `{item}`", []).append(one.step)
    if lines:
        page.heading("What does not count, or not in full")
    for line, steps in lines.items():
        more = f" and {len(steps) - 3} more" if len(steps) > 3 else ""
        page.line(f"{line} — in {', '.join(steps[:3])}{more}")
