"""A run as a picture: its executions one under the other, their steps as bars along time. Pure.

In an execution, calls lie where they were in time. Steps that were replayed took no time worth drawing, so they are
drawn as long as they took when they were recorded: what is pale is what was saved. A wait much longer than everything
else (a night before an answer) is drawn shorter, and marked.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from notebook_durable.history.explore import Snapshot, state_of
from notebook_durable.model import Attempt, Entry, EntryStatus, ExecutionInfo
from notebook_durable.parts import parts_from
from notebook_durable.redact import redact
from notebook_durable.render import error_text

__all__ = ["BAR", "timeline"]

#: What a bar holds: x and width as shown, in seconds; when it began and how long it took; how many steps it stands for.
BAR = ("kind", "seq", "step", "state", "x", "width", "lane", "at", "took", "count", "said", "cut")
_MOST_EXECUTIONS = 30
_MOST_CALLS = 60_000
_MOST_ATTEMPTS = 2_000  # entries whose attempts are read
_LANES = 12
_NARROW = 1 / 400  # of the whole width: what is narrower is drawn together with its neighbours
_MERGED = 4  # times as wide is what is drawn together, so that a long loop still has places to click
_SHORT_WAIT = 5.0  # seconds: never drawn shorter than it was


@dataclass(slots=True)
class _Bar:
    """``x`` and ``width`` are filled in by the layout."""

    kind: str
    seq: int
    step: str
    state: str
    at: float
    took: float
    said: str = ""
    x: float = 0.0
    width: float = 0.0
    lane: int = 0
    count: int = 1
    cut: bool = False

    @property
    def end(self) -> float:
        return self.at + self.took

    def plain(self) -> list[Any]:
        numbers = (round(self.x, 4), round(self.width, 4), self.lane, self.at, round(self.took, 4), self.count)
        return [self.kind, self.seq, self.step, self.state, *numbers, self.said, int(self.cut)]


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
        self.bars: list[_Bar] = []
        self.replayed = self.ran = 0
        calls = shot.log.calls(one)
        ends = [step.entry.ended_at for step in calls if step.entry.ended_at and step.entry.execution == one.number]
        self._until = one.ended_at or (now if live else max(ends, default=one.started_at))
        #: Replayed ones by the call that came next, None for those at the end.
        self._groups: list[tuple[float | None, list[_Bar]]] = []
        self._collect(calls)
        self.width = self._lay_out()
        _assign_lanes(self.bars)

    # -- which bars there are

    def _collect(self, calls: Iterable[Any]) -> None:
        waiting: list[_Bar] = []
        for step in calls:
            entry, label = step.entry, str(step.key)
            if not entry.intact:
                waiting.append(_Bar("replayed", entry.seq, label, "damaged", self._one.started_at, 0.0))
            elif entry.execution < self._one.number:
                self.replayed += 1
                state = state_of(entry, owned=False)
                waiting.append(_Bar("replayed", entry.seq, label, state, entry.started_at, entry.duration))
            else:
                self.ran += 1
                bars = self._of(entry, label)
                if bars and waiting:
                    self._groups.append((bars[0].at, waiting))
                    waiting = []
                self.bars += bars
        if waiting:
            self._groups.append((None, waiting))

    def _of(self, entry: Entry, label: str) -> list[_Bar]:
        """Bars of an entry that this execution worked on: failed attempts, waits, and the call that ended it."""
        begin, until = self._one.started_at, self._until
        bars: list[_Bar] = []
        read = self._read(entry)
        tried = [one for one in read if begin <= one.started_at <= until]
        for place, one in enumerate(tried):
            said = f"attempt {one.number}: {error_text(one.error)}"
            bars.append(_Bar("failed", entry.seq, label, "failed", one.started_at, one.duration, redact(said)))
            if one.delay is not None:
                end = one.started_at + one.duration
                later = tried[place + 1].started_at if place + 1 < len(tried) else entry.started_at
                next_at = later if later > one.started_at else min(until, end + one.delay)
                bars.append(_Bar("wait", entry.seq, label, "waiting", end, max(0.0, min(next_at, until) - end)))
        here = entry.execution == self._one.number and all(one.started_at != entry.started_at for one in read)
        if here and entry.started_at:
            bars.append(self._last_call(entry, label, until))
        return bars

    def _last_call(self, entry: Entry, label: str, until: float) -> _Bar:
        state = state_of(entry, owned=self._shot.log.info.owner is not None)
        open_ = entry.status is EntryStatus.RUNNING
        took = max(0.0, until - entry.started_at) if open_ else entry.duration
        parts = parts_from(entry.code.inputs)
        kind = "ran"
        if parts.asks or parts.sleeps is not None:
            kind = "wait"
        elif state in ("failed", "interrupted", "cancelled", "cut off"):
            kind = "failed"
        said = error_text(entry.error) or redact(parts.why)
        return _Bar(kind, entry.seq, label, state, entry.started_at, took, said)

    # -- where they are

    def _lay_out(self) -> float:
        """Give each bar its place; returns the width of the row."""
        saved = [_place_replayed(group) for _, group in self._groups]
        warp = _Warp(self._one.started_at, self._until, self.bars, sum(saved))
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
            "bars": [bar.plain() for bar in _merged(self.bars, span * _NARROW)],
        }  # fmt: skip


def _place_replayed(group: Sequence[_Bar]) -> float:
    """Put replayed steps behind one another, those that had overlapped side by side again; returns the width."""
    x = begin = end = 0.0
    first = True
    for bar in group:
        if first or not begin <= bar.at < end:
            x, begin, end, first = x + (end - begin), bar.at, bar.at, False
        bar.x, bar.width = x + bar.at - begin, bar.took
        end = max(end, bar.end)
    return x + (end - begin)


class _Warp:
    """From a moment to seconds since the beginning, long times in which nothing was called cut short."""

    def __init__(self, begin: float, until: float, bars: Sequence[_Bar], saved: float) -> None:
        busy = _union([(bar.at, bar.end) for bar in bars if bar.kind != "wait"])
        ends = [until, *(bar.end for bar in bars)]
        begin = min([begin, *(bar.at for bar in bars)])
        self.end = max(begin, *ends)
        edges = [begin, *itertools.chain.from_iterable(busy), self.end]
        lengths = [max(0.0, after - before) for before, after in itertools.pairwise(edges)]
        so_far = saved + sum(lengths[1::2])
        for place in sorted(range(0, len(lengths), 2), key=lengths.__getitem__):
            lengths[place] = min(lengths[place], max(_SHORT_WAIT, 2 * so_far))
            so_far += lengths[place]
        self._edges, self._shown = edges, list(itertools.accumulate(lengths, initial=0.0))

    def __call__(self, moment: float) -> float:
        place = min(max(0, bisect.bisect_right(self._edges, moment) - 1), len(self._edges) - 2)
        begin, end = self._edges[place : place + 2]
        share = 0.0 if end <= begin else min(1.0, max(0.0, (moment - begin) / (end - begin)))
        return self._shown[place] + share * (self._shown[place + 1] - self._shown[place])


def _union(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _assign_lanes(bars: Sequence[_Bar]) -> None:
    """Steps that overlap go side by side; all bars of one step into one lane."""
    whole: dict[int, list[float]] = {}
    for bar in bars:
        span = whole.setdefault(bar.seq, [bar.x, bar.x + bar.width])
        span[0], span[1] = min(span[0], bar.x), max(span[1], bar.x + bar.width)
    free: list[float] = []
    lanes: dict[int, int] = {}
    for seq, (begin, end) in sorted(whole.items(), key=lambda item: item[1][0]):
        lane = next((n for n, until in enumerate(free) if until <= begin + 1e-4), len(free))
        if lane == len(free) and len(free) < _LANES:
            free.append(end)
        else:
            lane = min(lane, _LANES - 1)
            free[lane] = max(free[lane], end)
        lanes[seq] = lane
    for bar in bars:
        bar.lane = lanes[bar.seq]


def _merged(bars: Sequence[_Bar], narrow: float) -> list[_Bar]:
    """Draw bars that are too narrow to be told apart as one."""
    found: list[_Bar] = []
    last: dict[int, _Bar] = {}
    for bar in sorted(bars, key=lambda one: (one.x, one.seq)):
        before = last.get(bar.lane)
        near = before is not None and before.kind == bar.kind and bar.x - (before.x + before.width) < narrow
        small = before is not None and before.width < (narrow if before.count == 1 else _MERGED * narrow)
        if before is not None and near and small and bar.width < narrow:
            before.width = max(before.width, bar.x + bar.width - before.x)
            before.took += bar.took
            before.count += bar.seq != before.seq
        else:
            found.append(bar)
            last[bar.lane] = bar
    return found
