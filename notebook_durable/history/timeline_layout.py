"""Where the bars of a timeline are: in a row, side by side, long waits cut short, narrow ones as one. Pure."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Bar", "Warp", "assign_lanes", "merged", "place_replayed"]

_LANES = 12
_MERGED = 4  # times as wide is what is drawn together, so that a long loop still has places to click
_SHORT_WAIT = 5.0  # seconds: never drawn shorter than it was


@dataclass(slots=True)
class Bar:
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
    group: bool = False

    @property
    def end(self) -> float:
        return self.at + self.took

    def plain(self) -> list[Any]:
        numbers = (round(self.x, 4), round(self.width, 4), self.lane, self.at, round(self.took, 4), self.count)
        return [self.kind, self.seq, self.step, self.state, *numbers, self.said, int(self.cut), int(self.group)]


def place_replayed(group: Sequence[Bar]) -> float:
    """Put replayed steps behind one another, those that had overlapped side by side again; returns the width."""
    x = begin = end = 0.0
    first = True
    for bar in group:
        if first or not begin <= bar.at < end:
            x, begin, end, first = x + (end - begin), bar.at, bar.at, False
        bar.x, bar.width = x + bar.at - begin, bar.took
        end = max(end, bar.end)
    return x + (end - begin)


class Warp:
    """From a moment to seconds since the beginning, long times in which nothing was called cut short."""

    def __init__(self, begin: float, until: float, bars: Sequence[Bar], saved: float) -> None:
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


def assign_lanes(bars: Sequence[Bar]) -> None:
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


def merged(bars: Sequence[Bar], narrow: float) -> list[Bar]:
    """Draw bars that are too narrow to be told apart as one."""
    found: list[Bar] = []
    last: dict[int, Bar] = {}
    for bar in sorted(bars, key=lambda one: (one.x, one.seq)):
        before = last.get(bar.lane)
        near = before is not None and before.kind == bar.kind and bar.x - (before.x + before.width) < narrow
        small = before is not None and before.width < (narrow if before.count == 1 else _MERGED * narrow)
        if before is not None and near and small and bar.width < narrow:
            before.width = max(before.width, bar.x + bar.width - before.x)
            before.took += bar.took
            before.count += bar.count if bar.seq != before.seq else 0
            before.group = False
        else:
            found.append(bar)
            last[bar.lane] = bar
    return found
