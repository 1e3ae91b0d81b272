"""Draws what ``values.py`` measured: python benchmarks/plot.py [values.json] [picture.png]

A group of bars for each row, ours first: on the left from the call to the disk, on the right the restore in a fresh
process. Medians; each group has a scale of its own. The pale end of a bar is what syncing the peer's files took.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
PICTURE = HERE.parent / "notebooks" / "images" / "large-values.png"
#: What is compared unevenly (joblib's maps, which nobody verified) is in the tables only.
_SHOWN = {
    "ours": "notebook_durable",
    "joblib": "joblib.Memory",
    "diskcache": "diskcache",
    "marimo": "marimo persistent_cache",
    "cachier": "cachier",
    "dill": "dill, by hand",
    "parquet": "parquet zstd, by hand",
}
#: By row, which limits of the machine are marked: for saving, for restoring.
_LIMITS = {"dicts": ("pickle", "unpickle"), "tiny": ("raw", "")}
_USUAL_LIMITS = ("raw", "blake3")
_OURS, _OTHER, _PALE, _INK, _FAINT = "#0b7a5b", "#9aa5b1", "#d3d9df", "#22272e", "#6b7580"
#: In lines of text: above a group, and of the picture's head and foot.
_ABOVE, _HEAD, _FOOT = 1.55, 2.2, 2.2
#: Of the picture's width: where the names end, and where both sides begin and end (the longest bar, without its text).
_NAMES, _SIDES = 0.215, ((0.225, 0.520), (0.630, 0.925))


def median(rounds: list[dict[str, Any]], peer: str, what: str) -> float | None:
    """Return the median of what a peer took, None if it couldn't or brought back something else."""
    values = [one[peer][what] for one in rounds if what in one.get(peer, {}) and not one[peer].get("wrong")]
    return statistics.median(values) if values else None


def seconds(value: float) -> str:
    """Write a time so that it can be read at a glance."""
    if value < 0.0995:
        return f"{value * 1000:.1f} ms" if value < 0.00995 else f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"


class Picture:
    """Draws lines of bars from top to bottom.

    Args:
        result: what ``values.py`` wrote.
    """

    def __init__(self, result: dict[str, Any]) -> None:
        self._result = result
        self._groups = {row: self._peers(rounds) for row, rounds in result["rounds"].items() if rounds}
        self._lines = _HEAD + _FOOT + sum(_ABOVE + len(peers) for peers in self._groups.values())
        self._figure, self._axes = plt.subplots(figsize=(10, 0.232 * self._lines), dpi=140)
        self._axes.set_position((0, 0, 1, 1))
        self._axes.set_axis_off()
        self._axes.set_xlim(0, 1)
        self._axes.set_ylim(self._lines, 0)

    @staticmethod
    def _peers(rounds: list[dict[str, Any]]) -> list[str]:
        return [peer for peer in _SHOWN if median(rounds, peer, "synced") is not None]

    def save(self, path: Path) -> None:
        """Draw all of it, and write the file."""
        for (left, _), title in zip(_SIDES, ("Save: from call to disk", "Restore in a fresh process"), strict=True):
            self._text(left, 0.9, title, weight="bold", size=13)
        line = _HEAD - 0.3
        for row, peers in self._groups.items():
            self._group(row, peers, line)
            line += _ABOVE + len(peers)
        self._foot()
        self._figure.savefig(path, facecolor="white")
        plt.close(self._figure)

    def _group(self, row: str, peers: list[str], line: float) -> None:
        rounds = self._result["rounds"][row]
        self._axes.plot([0.015, 0.985], [line + 0.25] * 2, color="#e4e8ec", linewidth=0.8)
        self._text(0.015, line + 0.95, self._result["labels"][row], weight="bold", size=11.5)
        top = line + _ABOVE
        for number, peer in enumerate(peers):
            ours = peer == "ours"
            middle = top + number + 0.5
            colour, weight = (_OURS, "bold") if ours else (_INK, "normal")
            self._text(_NAMES, middle, _SHOWN[peer], ha="right", color=colour, weight=weight)
        for side, what in enumerate(("synced", "fetch")):
            self._side(rounds, peers, top, side, what)
            self._limit(rounds, row, (top, top + len(peers)), side, self._scale(rounds, peers, side, what))

    def _scale(self, rounds: list[dict[str, Any]], peers: list[str], side: int, what: str) -> float:
        left, right = _SIDES[side]
        return (right - left) / max(median(rounds, peer, what) or 0 for peer in peers)

    def _side(self, rounds: list[dict[str, Any]], peers: list[str], top: float, side: int, what: str) -> None:
        left, scale = _SIDES[side][0], self._scale(rounds, peers, side, what)
        for number, peer in enumerate(peers):
            middle, value = top + number + 0.5, median(rounds, peer, what)
            if value is None:
                self._text(left, middle, "not equal", color=_FAINT)
                continue
            whole = median(rounds, peer, "save") if side == 0 else None
            if whole is not None and peer != "ours":
                self._axes.barh(middle, value * scale, 0.72, left=left, color=_PALE, linewidth=0)
            solid = value if whole is None else min(whole, value)
            colour = _OURS if peer == "ours" else _OTHER
            self._axes.barh(middle, solid * scale, 0.72, left=left, color=colour, linewidth=0)
            weight = "bold" if peer == "ours" else "normal"
            ink = _OURS if peer == "ours" else _INK
            self._text(left + value * scale + 0.008, middle, seconds(value), weight=weight, color=ink)

    def _limit(
        self, rounds: list[dict[str, Any]], row: str, ends: tuple[float, float], side: int, scale: float
    ) -> None:
        name = _LIMITS.get(row, _USUAL_LIMITS)[side]
        value = median(rounds, "limits", name) if name else None
        at = _SIDES[side][0] + (value or 0) * scale
        if value is not None and at <= _SIDES[side][1]:
            self._axes.plot([at, at], [ends[0] + 0.05, ends[1] - 0.05], color="#d1495b", linewidth=1.0)

    def _foot(self) -> None:
        result = self._result
        rounds = max(len(each) for each in result["rounds"].values())
        size = "" if result["scale"] == 1 else f" Values at {result['scale']:g} of their size: a try."
        first = (
            f"Medians of {rounds} rounds; each group has a scale of its own. Pale: an fsync of the files of those who "
        )
        first += "do none"
        second = (
            "(tiny steps: once, at the end). Red: what the machine needs for the same bytes: write + fsync, one blake3 "
        )
        second += f"pass; for dicts C pickle.{size}"
        words = (first, second)
        for number, text in enumerate(words):
            self._text(0.015, self._lines - _FOOT + 0.6 + 0.85 * number, text, color=_FAINT, size=9.4)

    def _text(self, x: float, y: float, text: str, **style: Any) -> None:
        style = {"va": "center_baseline", "size": 11, "color": _INK} | style
        # On white, because a red line may run through it.
        self._axes.text(x, y, text, zorder=5, bbox={"facecolor": "white", "linewidth": 0, "pad": 0.8}, **style)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("json", type=Path, nargs="?", default=HERE / "values.json")
    parser.add_argument("picture", type=Path, nargs="?", default=PICTURE)
    options = parser.parse_args()
    Picture(json.loads(options.json.read_text())).save(options.picture)


if __name__ == "__main__":
    main()
