"""The tables of ``values.py``: every row's figures, and what was to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import steps

OURS, PLAIN, LIMITS, TINY = "ours", "ours_plain", "limits", "tiny"
#: What a row's figures are put beside: what, of whose, over what, of whose, and the goal.
GOALS = {
    "array": (
        ("save / raw write + fsync", (OURS, "save"), (LIMITS, "raw"), 1.15),
        ("save / the same at its best", (OURS, "save"), (LIMITS, "raw_best"), 1.15),
        ("verified restore / one blake3 pass", (OURS, "fetch"), (LIMITS, "blake3"), 1.3),
        ("first full sum / sum in memory", (OURS, "touch"), (LIMITS, "touch"), 2.0),
    ),
    "frame": (
        ("save / raw write + fsync", (OURS, "save"), (LIMITS, "raw"), 1.2),
        ("save / the same at its best", (OURS, "save"), (LIMITS, "raw_best"), 1.2),
        ("restore", (OURS, "fetch"), None, 0.1),
        ("restore / one blake3 pass", (OURS, "fetch"), (LIMITS, "blake3"), None),
    ),
    "steps": (
        ("save / one fsynced append per value", (OURS, "save"), (LIMITS, "raw"), 1.3),
        ("save / the same at its best", (OURS, "save"), (LIMITS, "raw_best"), 1.3),
        ("restore / one blake3 pass", (OURS, "fetch"), (LIMITS, "blake3"), None),
    ),
    "dicts": (
        ("save / C pickle + fsync", (OURS, "save"), (LIMITS, "pickle"), 1.15),
        ("restore / C unpickle, collector paused", (OURS, "fetch"), (LIMITS, "unpickle"), 1.1),
    ),
    "frames": (
        ("save / one frame of the same size", (OURS, "save"), (PLAIN, "save"), 1.3),
        ("restore / one frame of the same size", (OURS, "fetch"), (PLAIN, "fetch"), 1.3),
        ("save / raw write + fsync", (OURS, "save"), (LIMITS, "raw"), None),
    ),
    "object": (
        ("save / the array alone", (OURS, "save"), (PLAIN, "save"), 1.3),
        ("restore / the array alone", (OURS, "fetch"), (PLAIN, "fetch"), 1.3),
        ("save / raw write + fsync", (OURS, "save"), (LIMITS, "raw"), None),
    ),
    TINY: (("first run / bare commit", (OURS, "save"), (LIMITS, "raw"), 1.5),),
}


def _column(rounds: list[dict[str, Any]], peer: str, what: str) -> list[float]:
    return [one[peer][what] for one in rounds if peer in one and what in one[peer]]


def ratios(rounds: list[dict[str, Any]], one: tuple[str, str], other: tuple[str, str]) -> list[float]:
    """Put one figure over another, for each round that has both."""
    both = [each for each in rounds if one[0] in each and other[0] in each]
    return [each[one[0]][one[1]] / each[other[0]][other[1]] for each in both]


def seconds(values: list[float]) -> str:
    """Write seconds or milliseconds: median, least and greatest."""
    if statistics.median(values) < 0.0995:
        return steps.spread([value * 1000 for value in values], " ms")
    low, middle, high = (f"{value:.2f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} s ({low}-{high})"


def table(result: dict[str, Any], row: str) -> Iterator[str]:
    """Write one row's figures as a Markdown table."""
    rounds = result["rounds"][row]
    yield f"\n**{result['labels'][row]}**: median (least-greatest); ratios within a round\n"
    yield "| what | call returns | on the disk, synced | / ours | restore, fresh process | / ours | first full pass |"
    yield "|---|---|---|---|---|---|---|"
    for name, label in result["peers"].items():
        if not _column(rounds, name, "save"):
            why = result["reasons"][row].get(name)
            if why:
                yield f"| {label} | - ({why}) | | | - | | |"
            continue
        touch = _column(rounds, name, "touch") if row not in ("dicts", TINY) else []
        wrong = {one[name].get("wrong") for one in rounds if name in one} - {"", None}
        times = len(_column(rounds, name, "save"))
        cells = [
            label if times == len(rounds) else f"{label} ({times} rounds)",
            seconds(_column(rounds, name, "save")),
            seconds(_column(rounds, name, "synced")),
            steps.spread(ratios(rounds, (name, "synced"), (OURS, "synced")), "x"),
            seconds(_column(rounds, name, "fetch")) + "".join(f"; **{why}**" for why in sorted(wrong)),
            steps.spread(ratios(rounds, (name, "fetch"), (OURS, "fetch")), "x"),
            seconds(touch) if touch else "",
        ]
        yield f"| {' | '.join(cells)} |"
    if row == TINY:
        yield f"\nLimit: a bare SQLite commit for each {seconds(_column(rounds, LIMITS, 'raw'))}"
        return
    limits = {name for one in rounds for name in one[LIMITS]} - {"bytes", "fetch"}
    yield "\nLimits: " + ", ".join(
        f"{result['limits'][name]} {seconds(_column(rounds, LIMITS, name))}"
        for name in result["limits"]
        if name in limits
    )


def goals(result: dict[str, Any]) -> Iterator[str]:
    """Write what was to be reached, and what was."""
    yield "\n| row | what | median (least-greatest) | goal | |"
    yield "|---|---|---|---|---|"
    for row, wanted in GOALS.items():
        rounds = result["rounds"].get(row, [])
        for what, ours, other, goal in wanted if rounds else ():
            values = ratios(rounds, ours, other) if other else _column(rounds, *ours)
            shown = steps.spread(values, "x") if other else seconds(values)
            reached = "" if goal is None else "reached" if statistics.median(values) <= goal else "**missed**"
            aim = "" if goal is None else f"{goal}x" if other else f"{goal} s"
            yield f"| {result['labels'][row]} | {what} | {shown} | {aim} | {reached} |"
        for what in ("synced", "fetch"):
            rivals = _rivals(result, rounds, equal=what == "fetch")
            if not rivals:
                continue
            ratio, name = min((statistics.median(ratios(rounds, (peer, what), (OURS, what))), peer) for peer in rivals)
            said = (
                f"best peer's {'save, on the disk' if what == 'synced' else 'restore'} / ours: {result['peers'][name]}"
            )
            values = ratios(rounds, (name, what), (OURS, what))
            reached = "first" if ratio >= 1 else "**not first**"
            if row == TINY and what == "synced":
                reached = "synced once, at the end"
            yield f"| {result['labels'][row]} | {said} | {steps.spread(values, 'x')} | 1 | {reached} |"


def _rivals(result: dict[str, Any], rounds: list[dict[str, Any]], *, equal: bool) -> list[str]:
    """Name the peers that could do it; ``equal``: and brought back what was saved."""
    names = [name for name in result["peers"] if name not in (OURS, PLAIN) and _column(rounds, name, "synced")]
    return [name for name in names if not equal or not any(one[name].get("wrong") for one in rounds if name in one)]
