"""What a tiny step costs, the first time and when it is replayed, beside the bare disk and the peers.

    python benchmarks/steps.py                  everything (about three minutes)
    python benchmarks/steps.py --rounds 2 --steps 200 --no-long     a quick look

Each measurement is a process of its own. In each round all peers run once, in an order drawn anew, first on an empty
folder and then, in a fresh process, on what they left there. Ratios are taken within a round, so that a slow minute of
the machine falls on both sides; medians and the least and greatest value over the rounds are shown.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT, OURS = "bare_sqlite", "ours"


@dataclass(frozen=True)
class Peer:
    """A script in ``peers/``.

    Attributes:
        name: of the script.
        label: for the table.
        synced: True if a step is on disk when its call returns.
    """

    name: str
    label: str
    synced: bool


PEERS = (
    Peer(LIMIT, "bare SQLite commit, WAL FULL", True),
    Peer(OURS, "notebook_durable", True),
    Peer("ours_cold", "notebook_durable, lazy imports counted", True),
    Peer("joblib_memory", "joblib.Memory", False),
    Peer("disk_cache", "diskcache memoize", False),
    Peer("dbos_sqlite", "DBOS on SQLite, as it comes", True),
    Peer("dbos_sqlite_wal", "DBOS on SQLite, preset to WAL", True),
)


def run(peer: str, mode: str, folder: Path, steps: int) -> dict[str, float]:
    """Run one peer in a process of its own and return what it measured."""
    command = [sys.executable, str(HERE / "peers" / f"{peer}.py"), mode, str(folder), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    # DBOS ends its first run by SIGKILL, so the exit code says nothing; the line is printed after all checks.
    if not lines:
        sys.exit(f"{peer} {mode} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return dict(json.loads(lines[-1]))


def rounds(work: Path, peers: list[Peer], count: int, steps: int) -> list[dict[str, dict[str, float]]]:
    """Measure every peer in every round. Keys: peer, then ``first``, ``first_synced`` and ``replay``; us per step."""
    found = []
    for number in range(count):
        one: dict[str, dict[str, float]] = {peer.name: {} for peer in peers}
        for mode in ("first", "replay"):
            for peer in random.sample(peers, len(peers)):
                folder = work / peer.name
                if mode == "first":
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.mkdir(parents=True)
                result = run(peer.name, mode, folder, steps)
                one[peer.name][mode] = result["seconds"] / steps * 1e6
                if mode == "first":
                    one[peer.name]["first_synced"] = (result["seconds"] + result["sync"]) / steps * 1e6
        found.append(one)
        print(f"round {number + 1} of {count} done", file=sys.stderr, flush=True)
    return found


def spread(values: list[float], unit: str = "") -> str:
    """Write a median with the least and the greatest value."""
    size = statistics.median(values)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.5 else 3
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle}{unit} ({low}-{high})"


def table(peers: list[Peer], found: list[dict[str, dict[str, float]]], steps: int) -> Iterator[str]:
    """Write the Markdown table of the rounds."""

    def column(peer: str, what: str) -> list[float]:
        return [one[peer][what] for one in found]

    def ratio(peer: str, what: str, base: str, base_what: str) -> str:
        return spread([a / b for a, b in zip(column(peer, what), column(base, base_what), strict=True)], "x")

    yield f"{steps} steps, us per step: median (least-greatest) of {len(found)} paired rounds; ratios within a round\n"
    yield "| what | synced | first run | / bare commit | replay, fresh process | / ours |"
    yield "|---|---|---|---|---|---|"
    for peer in peers:
        ways = [("first", "each step" if peer.synced else "no")]
        if not peer.synced:
            ways.append(("first_synced", "all files, once at the end"))
        for what, synced in ways:
            cells = [
                peer.label,
                synced,
                spread(column(peer.name, what)),
                ratio(peer.name, what, LIMIT, "first"),
                spread(column(peer.name, "replay")),
                ratio(peer.name, "replay", OURS, "replay"),
            ]
            yield f"| {' | '.join(cells)} |"


def long_replay(work: Path, count: int, steps: int) -> dict[str, list[float]]:
    """Replay one long run, ours and DBOS's, ``count`` times each; seconds."""
    times: dict[str, list[float]] = {}
    for peer in (OURS, "dbos_sqlite"):
        folder = work / f"{peer}-long"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        run(peer, "first", folder, steps)
        times[peer] = []
    for number in range(count):
        for peer in random.sample(sorted(times), len(times)):
            folder, copy = work / f"{peer}-long", work / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)  # DBOS's workflow is pending only once
            times[peer].append(run(peer, "replay", copy, steps)["seconds"])
        print(f"long replay {number + 1} of {count} done", file=sys.stderr, flush=True)
    return times


def machine() -> dict[str, str]:
    """Say what was measured, on what."""
    facts = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "system": platform.platform()}
    for package in ("notebook_durable", "joblib", "diskcache", "dbos"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "from the source tree"
    return facts


def main() -> None:
    """Measure, print the tables, write the JSON file."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--long", type=int, default=10_000, help="steps of the long replay")
    parser.add_argument("--no-long", action="store_true", help="leave the long replay out")
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS), help="names of peers, with commas")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder on the disk that is to be measured")
    parser.add_argument("--json", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    wanted = {LIMIT, OURS, *options.peers.split(",")}
    peers = [peer for peer in PEERS if peer.name in wanted]

    found = rounds(options.work, peers, options.rounds, options.steps)
    print("\n".join(table(peers, found, options.steps)))
    result = {"machine": machine(), "steps": options.steps, "us_per_step": found}
    if not options.no_long:
        times = long_replay(options.work, options.rounds, options.long)
        ratios = [theirs / mine for theirs, mine in zip(times["dbos_sqlite"], times[OURS], strict=True)]
        ours, theirs = spread(times[OURS], " s"), spread(times["dbos_sqlite"], " s")
        print(f"\nReplay of {options.long} steps in a fresh process, own time: notebook_durable {ours}, DBOS {theirs};")
        print(f"DBOS / notebook_durable {spread(ratios, 'x')}.")
        result |= {"long_steps": options.long, "long_seconds": times}
    print("\n" + ", ".join(f"{name} {text}" for name, text in machine().items()))
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    shutil.rmtree(options.work, ignore_errors=True)


if __name__ == "__main__":
    main()
