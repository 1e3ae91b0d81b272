"""Says what is wrong with an execution: stale, needless, or not as the row says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from edits.row import Row
from edits.runner import Execution

__all__ = ["Verdict", "judge"]


@dataclass
class Verdict:
    """What is wrong with one row.

    Attributes:
        stale: the value differs from that of running afresh.
        needless: steps that ran although they could have been replayed.
        missed: steps that were replayed although they had to run.
        faults: all of it for people.
    """

    stale: bool = False
    needless: int = 0
    missed: int = 0
    faults: list[str] = field(default_factory=list)


def judge(row: Row, executions: list[Execution], oracle: Execution) -> Verdict:
    """Compare the last execution with the row and with the oracle."""
    last, expected = executions[-1], row.fresh
    verdict = Verdict()
    for number, (execution, error) in enumerate(zip(executions, row.errors, strict=False), 1):
        if _error(execution) != error:
            verdict.faults.append(f"execution {number} ended with {execution.error!r}, expected: {error or 'no error'}")
    # repr as well: 2 == 2.0 == True
    if (last.out, repr(last.out)) != (oracle.out, repr(oracle.out)):
        verdict.stale = True
        verdict.faults.append(f"stale: out is {last.out!r}, afresh it is {oracle.out!r}")
    elif (last.out, repr(last.out)) != (expected.out, repr(expected.out)):
        verdict.faults.append(f"out is {last.out!r}, the row says {expected.out!r}")
    runs, replays = _without(row.either, last.runs), _without(row.either, last.replays)
    needless, missed = runs - expected.runs, expected.runs - runs
    verdict.needless, verdict.missed = needless.total(), missed.total()
    if needless:
        verdict.faults.append(f"ran needlessly: {_names(needless)} ({dict(last.reasons)})")
    if missed:
        verdict.faults.append(f"had to run: {_names(missed)}")
    if replays != expected.replays and not needless and not missed:
        verdict.faults.append(f"replayed: {_names(last.replays)}; expected: {_names(expected.replays)}")
    if _without(row.silent, last.called) != _without(row.silent, last.runs):
        verdict.faults.append(f"called: {_names(last.called)}, but events say {_names(last.runs)}")
    verdict.faults += _reasons(row, last)
    return verdict


def _error(execution: Execution) -> str:
    return type(execution.error).__name__ if execution.error is not None else ""


def _without(names: Collection[str], counted: Counter[str]) -> Counter[str]:
    return Counter({name: count for name, count in counted.items() if name not in names})


def _names(counted: Counter[str]) -> str:
    return " ".join(sorted(counted.elements())) or "nothing"


def _reasons(row: Row, last: Execution) -> list[str]:
    """Each step that ran says why; where the row knows the reason, it has to be named."""
    faults = [f"{name} ran without a reason" for name, reason in last.reasons if not reason]
    given = dict(last.reasons)
    for name, part in row.reason.items():
        if name in given and part not in given[name]:
            faults.append(f"{name} ran because of {given[name]!r}, which doesn't name {part!r}")
    return faults
