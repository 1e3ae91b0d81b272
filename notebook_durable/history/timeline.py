"""A run as a picture: its executions one under the other, their steps as bars along time. Pure.

In an execution, calls lie where they were in time. Steps that were replayed took no time worth drawing, so they are
drawn as long as they took when they were recorded: what is pale is what was saved. A wait much longer than everything
else (a night before an answer) is drawn shorter, and marked.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from notebook_durable.history.explore import Snapshot
from notebook_durable.history.groups import first_error, in_a_row, worst
from notebook_durable.history.log import Step
from notebook_durable.history.timeline_layout import Bar, Warp, assign_lanes, merged, place_replayed
from notebook_durable.model import Attempt, Entry, EntryStatus, ExecutionInfo
from notebook_durable.parts import parts_from
from notebook_durable.redact import redact
from notebook_durable.render import error_text

__all__ = ["BAR", "timeline"]

#: What a bar holds: x and width as shown, in seconds; when it began and how long it took; how many steps it stands for.
#: "group": it stands for calls of one name in a row, such as a map's items.
BAR = ("kind", "seq", "step", "state", "x", "width", "lane", "at", "took", "count", "said", "cut", "group")
_MOST_EXECUTIONS = 30
_MOST_CALLS = 60_000
_MOST_ATTEMPTS = 2_000  # entries whose attempts are read
_NARROW = 1 / 400  # of the whole width: what is narrower is drawn together with its neighbours


def timeline(shot: Snapshot, attempts: Callable[[int], Sequence[Attempt]], now: float) -> dict[str, Any]:
    """Lay out the newest executions of a run.

    Args:
        shot: the run.
        attempts: reads the failed attempts of an entry.
        now: seconds since the epoch; where bars of running steps end.

    Returns:
        ``executions``, newest last, each with its ``bars`` (see ``BAR``), and ``span``, the greatest width in seconds.
    """
    shown = _newest(shot)
    read = _Reader(attempts)
    laid = [_Execution(shot, one, read, now) for one in shown]
    span = max((one.width for one in laid), default=0.0)
    return {
        "bar": list(BAR),
        "span": span,
        "earlier": len(shot.log.executions) - len(shown),
        "cut": any(bar.cut for one in laid for bar in one.bars),
        "executions": [one.plain(span) for one in laid],
    }


def _newest(shot: Snapshot) -> Sequence[ExecutionInfo]:
    calls, count = 0, 0
    for one in reversed(shot.log.executions[-_MOST_EXECUTIONS:]):
        calls += len(one.used or ())
        if count and calls > _MOST_CALLS:
            break
        count += 1
    return shot.log.executions[len(shot.log.executions) - count :]


def _units(calls: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """Take calls apart into single ones, and many of one name in a row."""
    at = 0
    for span in in_a_row(step.entry.name for step in calls):
        yield from ([step] for step in calls[at : span.start])
        yield calls[span.start : span.stop]
        at = span.stop
    yield from ([step] for step in calls[at:])


def _group_bar(
    kind: str, entries: Sequence[Entry], states: Counter[str], at: float, took: float, said: str = ""
) -> Bar:
    first = entries[0]
    return Bar(kind, first.seq, first.name, worst(states), at, took, said, count=len(entries), group=True)


class _Reader:
    """Reads attempts of the entries that had some, each once, and not of too many."""

    def __init__(self, attempts: Callable[[int], Sequence[Attempt]]) -> None:
        self._attempts = attempts
        self._read: dict[int, Sequence[Attempt]] = {}

    def __call__(self, entry: Entry) -> Sequence[Attempt]:
        plain = entry.attempts <= 1 and not entry.budget and entry.error is None
        if plain and entry.status is not EntryStatus.RUNNING:
            return ()
        if entry.seq not in self._read:
            if len(self._read) >= _MOST_ATTEMPTS:
                return ()
            self._read[entry.seq] = self._attempts(entry.seq)
        return self._read[entry.seq]


class _Execution:
    """One row of the picture."""

    def __init__(self, shot: Snapshot, one: ExecutionInfo, read: _Reader, now: float) -> None:
        self._shot, self._one, self._read = shot, one, read
        live = one.ended_at is None and shot.log.info.owner is not None and one == shot.log.executions[-1]
        self.bars: list[Bar] = []
        self.replayed = self.ran = 0
        calls = shot.log.calls(one)
        ends = [step.entry.ended_at for step in calls if step.entry.ended_at and step.entry.execution == one.number]
        self._until = one.ended_at or (now if live else max(ends, default=one.started_at))
        #: Replayed ones by the call that came next, None for those at the end.
        self._groups: list[tuple[float | None, list[Bar]]] = []
        self._collect(calls)
        self.width = self._lay_out()
        assign_lanes(self.bars)

    # -- which bars there are

    def _collect(self, calls: Sequence[Step]) -> None:
        waiting: list[Bar] = []
        for several in _units(calls):
            old = [step for step in several if not step.entry.intact or step.entry.execution < self._one.number]
            new = [step.entry for step in several if step.entry.intact and step.entry.execution >= self._one.number]
            self.replayed += sum(step.entry.intact for step in old)
            self.ran += len(new)
            if len(several) > 1:
                waiting += self._saved_together([step.entry for step in old])
                bars = self._together(new)
            else:
                waiting += map(self._saved, old)
                bars = [bar for entry in new for bar in self._of(entry, str(several[0].key))]
            if bars and waiting:
                self._groups.append((bars[0].at, waiting))
                waiting = []
            self.bars += bars
        if waiting:
            self._groups.append((None, waiting))

    def _saved(self, step: Step) -> Bar:
        """The bar of a replayed step."""
        entry, label = step.entry, str(step.key)
        if not entry.intact:
            return Bar("replayed", entry.seq, label, self._shot.state(entry), self._one.started_at, 0.0)
        return Bar("replayed", entry.seq, label, self._shot.state(entry, owned=False), entry.started_at, entry.duration)

    def _saved_together(self, entries: Sequence[Entry]) -> list[Bar]:
        """One bar for the replayed ones of many calls: as long as each execution took for those it recorded."""
        if not entries:
            return []
        recorded: dict[int, list[float]] = {}
        for entry in entries:
            if entry.intact and entry.started_at:
                end = max(entry.started_at, entry.ended_at or 0.0)
                span = recorded.setdefault(entry.execution, [entry.started_at, end])
                span[:] = min(span[0], entry.started_at), max(span[1], end)
        at = min((span[0] for span in recorded.values()), default=self._one.started_at)
        took = sum(end - begin for begin, end in recorded.values())
        states = Counter(self._shot.state(entry, owned=False) for entry in entries)
        return [_group_bar("replayed", entries, states, at, took)]

    def _together(self, entries: Sequence[Entry]) -> list[Bar]:
        """One bar for all of many calls that this execution worked on, with their retries and waits."""
        begin, until = self._one.started_at, self._until
        begun = [entry for entry in entries if entry.started_at]
        if not begun:
            return []
        at = min(max(begin, entry.started_at - max(0.0, entry.spent - entry.duration)) for entry in begun)
        running = any(entry.status is EntryStatus.RUNNING for entry in begun)
        end = until if running else max(entry.ended_at or entry.started_at for entry in begun)
        states = Counter(map(self._shot.state, begun))
        # Failed items that the cell went on after don't make the whole a failure.
        lost = any(entry.left for entry in begun) or states["failed"] == len(begun)
        kind = "failed" if lost or any(states[one] for one in ("interrupted", "cancelled", "cut off")) else "ran"
        failed = f"{states['failed']:,} of {len(begun):,} failed: " if states["failed"] else ""
        error = redact(first_error(begun))
        said = f"{failed}{error}" if error else redact(parts_from(begun[0].code.inputs).why)
        return [_group_bar(kind, begun, states, at, max(0.0, end - at), said)]

    def _of(self, entry: Entry, label: str) -> list[Bar]:
        """Bars of an entry that this execution worked on: failed attempts, waits, and the call that ended it."""
        begin, until = self._one.started_at, self._until
        bars: list[Bar] = []
        read = self._read(entry)
        tried = [one for one in read if begin <= one.started_at <= until]
        for place, one in enumerate(tried):
            said = f"attempt {one.number}: {error_text(one.error)}"
            bars.append(Bar("failed", entry.seq, label, "failed", one.started_at, one.duration, redact(said)))
            if one.delay is not None:
                end = one.started_at + one.duration
                later = tried[place + 1].started_at if place + 1 < len(tried) else entry.started_at
                next_at = later if later > one.started_at else min(until, end + one.delay)
                bars.append(Bar("wait", entry.seq, label, "waiting", end, max(0.0, min(next_at, until) - end)))
        here = entry.execution == self._one.number and all(one.started_at != entry.started_at for one in read)
        if here and entry.started_at:
            bars.append(self._last_call(entry, label, until))
        return bars

    def _last_call(self, entry: Entry, label: str, until: float) -> Bar:
        state = self._shot.state(entry)
        open_ = entry.status is EntryStatus.RUNNING
        took = max(0.0, until - entry.started_at) if open_ else entry.duration
        parts = parts_from(entry.code.inputs)
        kind = "ran"
        if parts.asks or parts.sleeps is not None:
            kind = "wait"
        elif state in ("failed", "interrupted", "cancelled", "cut off"):
            kind = "failed"
        said = error_text(entry.error) or redact(parts.why)
        return Bar(kind, entry.seq, label, state, entry.started_at, took, said)

    # -- where they are

    def _lay_out(self) -> float:
        """Give each bar its place; returns the width of the row."""
        saved = [place_replayed(group) for _, group in self._groups]
        warp = Warp(self._one.started_at, self._until, self.bars, sum(saved))
        points = [warp.end if at is None else at for at, _ in self._groups]
        before = list(itertools.accumulate(saved, initial=0.0))
        for bar in self.bars:
            first, last = bisect.bisect_right(points, bar.at), bisect.bisect_left(points, bar.end)
            bar.x = warp(bar.at) + before[first]
            bar.width = max(0.0, warp(bar.end) + before[max(first, last)] - bar.x)
            bar.cut = bar.kind == "wait" and bar.width < 0.9 * bar.took
        for place, (_, group) in enumerate(self._groups):
            for bar in group:
                bar.x += warp(points[place]) + before[place]
            self.bars += group
        return warp(warp.end) + before[-1]

    def plain(self, span: float) -> dict[str, Any]:
        one = self._one
        return {
            "number": one.number, "began": one.started_at, "took": max(0.0, self._until - one.started_at),
            "outcome": str(one.outcome), "ended": one.ended_at, "ran": self.ran,
            "replayed": None if one.used is None else self.replayed, "width": self.width,
            "lanes": max((bar.lane for bar in self.bars), default=0) + 1,
            "bars": [bar.plain() for bar in merged(self.bars, span * _NARROW)],
        }  # fmt: skip
