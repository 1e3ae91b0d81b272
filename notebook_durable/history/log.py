"""A run as it lies in the journal: which entries are current, which steps they are, which older versions there are."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from notebook_durable.errors import ConfigurationError
from notebook_durable.model import SAME_SOURCE, Entry, EntryStatus, ExecutionInfo, Outcome, RunId, RunInfo, StepKey
from notebook_durable.protocols import Store

__all__ = ["RunLog", "Step", "find_run", "read_log"]

_MOST_NAMED = 20


class Step(NamedTuple):
    """An entry, under the name that its step has now: inserting a call before it changes "load" to "load #2"."""

    key: StepKey
    entry: Entry


@dataclass(frozen=True)
class RunLog:
    """One run with all its entries and executions.

    Attributes:
        info: the run.
        entries: by ``seq``, history included.
        executions: oldest first.
    """

    info: RunInfo
    entries: Sequence[Entry]
    executions: Sequence[ExecutionInfo]

    @cached_property
    def by_seq(self) -> dict[int, Entry]:
        return {entry.seq: entry for entry in self.entries}

    @cached_property
    def current(self) -> list[Step]:
        """What the run stands at, in the order of the calls.

        The calls of the newest execution that wrote them down, with what later ones (killed, or under way) have
        recorded in their places. If it was cut short, by an error or Stop, then also the steps that it didn't come
        to: they replay when it does.
        """
        place = next((n for n in reversed(range(len(self.executions))) if self.executions[n].used is not None), None)
        if place is None:
            return _named(entry for entry in self.entries if _stands(entry))
        base = self.executions[place]
        used = dict.fromkeys(base.used or ())
        called = _named(self.by_seq[seq] for seq in used if seq in self.by_seq and _stands(self.by_seq[seq]))
        placed = {step.key: step.entry for step in called}
        placed |= {
            entry.key: entry
            for entry in self.entries
            if entry.execution > base.number and entry.seq not in used and _stands(entry)
        }
        steps = list(itertools.starmap(Step, placed.items()))
        while self.executions[place].outcome is not Outcome.COMPLETED and place > 0:
            place -= 1
            keys, seqs = {step.key for step in steps}, {step.entry.seq for step in steps}
            steps += [
                step
                for step in self.calls(self.executions[place])
                if step.key not in keys and step.entry.seq not in seqs and _stands(step.entry)
            ]
        return steps

    @cached_property
    def current_seqs(self) -> frozenset[int]:
        return frozenset(step.entry.seq for step in self.current)

    def calls(self, execution: ExecutionInfo) -> list[Step]:
        """The calls of one execution. Of one that didn't come to write them down: what it worked on."""
        if execution.used is None:
            return _named(entry for entry in self.entries if entry.execution == execution.number)
        return _named(self.by_seq[seq] for seq in execution.used if seq in self.by_seq)

    def execution(self, number: int) -> ExecutionInfo:
        """Return an execution by its number.

        Raises:
            ConfigurationError: if there is none.
        """
        for one in self.executions:
            if one.number == number:
                return one
        raise ConfigurationError(
            f"'{self.info.run}' has no execution {number} in run {self.info.number}; it has {len(self.executions)}. "
            f"Type: %durable history {self.info.run.workflow}"
        )

    @cached_property
    def versions(self) -> dict[StepKey, list[Entry]]:
        """For each step its entries, oldest first: those that stood in its place in some execution."""
        seqs: dict[StepKey, set[int]] = {}
        placed: set[int] = set()
        for one in self.executions:
            if one.used is not None:
                for step in self.calls(one):
                    seqs.setdefault(step.key, set()).add(step.entry.seq)
                    placed.add(step.entry.seq)
        for step in self.current:
            seqs.setdefault(step.key, set()).add(step.entry.seq)
            placed.add(step.entry.seq)
        for entry in self.entries:
            if entry.seq not in placed:
                seqs.setdefault(entry.key, set()).add(entry.seq)
        return {key: [self.by_seq[seq] for seq in sorted(found)] for key, found in seqs.items()}

    def keys(self, text: str) -> list[StepKey]:
        """Find the steps that a text names: all of the name "load", or the one that "load #2" says.

        Raises:
            ConfigurationError: if there is none; lists what there is.
        """
        known = list(self.versions)
        found = [key for key in known if key.name == text]
        match = re.fullmatch(r"(.*) #(\d+)", text)
        if not found and match is not None:
            found = [key for key in known if key == StepKey(match[1], int(match[2]) - 1)]
        if found:
            return sorted(found, key=lambda key: key.occurrence)
        shown = [f'"{key}"' for key in known[:_MOST_NAMED]]
        more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
        there = f"Its steps are: {', '.join(shown)}{more}." if known else "It has no steps."
        raise ConfigurationError(f"'{self.info.run}' has no step \"{text}\" in run {self.info.number}. {there}")

    def one(self, text: str) -> Step:
        """Find one entry: the current one of a step (else its newest), or the version that "STEP@2" says.

        Raises:
            ConfigurationError: if there is none.
        """
        match = re.fullmatch(r"(.+)@(\d+)", text)
        if match is None or any(key.name == text for key in self.versions):
            key = self.keys(text)[0]
            found = [step for step in self.current if step.key == key]
            return found[0] if found else Step(key, self.versions[key][-1])
        key, number = self.keys(match[1])[0], int(match[2])
        versions = self.versions[key]
        if not 1 <= number <= len(versions):
            count = "1 version" if len(versions) == 1 else f"{len(versions)} versions"
            raise ConfigurationError(
                f"step \"{key}\" of '{self.info.run}' has {count}, not {number}. "
                f"Type: %durable history {self.info.run.workflow}"
            )
        return Step(key, versions[number - 1])

    @cached_property
    def _unmarked(self) -> dict[StepKey, Entry]:
        return {entry.key: entry for entry in self.entries if not entry.code.version}

    def source(self, entry: Entry) -> str:
        """The source of an entry without a fingerprint; "" if it has none."""
        current: Entry | None = entry
        while current is not None and current.code.source == SAME_SOURCE:
            current = self._unmarked.get(StepKey(current.name, current.occurrence - 1))
        return "" if current is None else current.code.source


def _stands(entry: Entry) -> bool:
    return entry.status is not EntryStatus.SUPERSEDED


def _named(entries: Iterable[Entry]) -> list[Step]:
    calls: Counter[str] = Counter()
    steps = []
    for entry in entries:
        steps.append(Step(StepKey(entry.name, calls[entry.name]), entry))
        calls[entry.name] += 1
    return steps


def read_log(store: Store, info: RunInfo, *, payloads: bool = True) -> RunLog:
    """Read a run.

    Args:
        store: the journal.
        info: the run.
        payloads: with the values' bytes that lie in its rows.
    """
    return RunLog(info, store.read(info.id, values=payloads), store.executions(info.id))


def find_run(store: Store, name: str, key: str | None = None, number: int | None = None) -> RunInfo:
    """Return the newest run of a workflow, or the one with this number, archived or not.

    Raises:
        ConfigurationError: if there is none, or several keys and none was given; lists what there is.
    """
    named = [run for run in store.runs(name, archived=number is not None) if key is None or run.run.key == key]
    found = [run for run in named if number is None or run.number == number]
    if len(found) == 1:
        return found[0]
    if not named:
        known = sorted({str(run.run) for run in store.runs()})
        there = f"There are: {', '.join(known)}." if known else "There are none yet."
        raise ConfigurationError(f"there is no run '{RunId(name, key or '')}' in {store.location}. {there}")
    if not found:
        numbers = ", ".join(map(str, sorted({run.number for run in named})))
        raise ConfigurationError(f"'{RunId(name, key or '')}' has no run {number}; its runs are: {numbers}")
    plain = [run for run in found if not run.run.key]
    if plain:
        return plain[0]
    keys = ", ".join(repr(run.run.key) for run in found)
    raise ConfigurationError(f"'{name}' has several runs, with the keys {keys}: say which with --key")
