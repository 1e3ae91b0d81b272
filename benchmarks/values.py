"""What it costs to keep a large value and to get it back, beside the bare disk and the peers.

    python benchmarks/values.py                          everything, 5 rounds (about ten minutes); writes values.json
    python benchmarks/values.py --rounds 2 --scale 0.02  a quick look, with small values
    python benchmarks/values.py --rows array,frame       some rows

Each save and each restore is a process of its own: a fork of one that has only imported the libraries. In each round,
for each row, the limits and all peers run once, in an order drawn anew; what they wrote is deleted, and the deletion
waited for, before the next one starts. Ratios are taken within a round; medians and the least and greatest value over
the rounds are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import steps
from values_peers import PEERS, Peer
from values_rows import ROWS, Row
from values_tables import LIMITS, OURS, PLAIN, TINY, goals, ratios, table

HERE = Path(__file__).resolve().parent
#: 1,000 tiny steps: measured by ``steps.py``, with these as well.
TINY_PEERS = (
    *(peer for peer in steps.PEERS if peer.name in (steps.LIMIT, steps.OURS, "joblib_memory", "disk_cache")),
    steps.Peer("marimo_cache", "marimo persistent_cache", False),
    steps.Peer("cachier_files", "cachier, pickle, separate files", False),
    steps.Peer("dill_files", "dill to a file", False),
)


#: A peer that takes this many times as long as we do is measured in so many rounds only: it needs no finer figure.
SLOW, ROUNDS_OF_THE_SLOW = 4, 3


class Measuring:
    """Asks ``values_measure.py`` for measurements. Use as a context manager."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", str(HERE / "values_measure.py")]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def measure(self, mode: str, peer: str, row: str, folder: Path, scale: float) -> dict[str, Any]:
        """Measure in a process of its own. What a peer can't do becomes ``error``."""
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        print(json.dumps([mode, peer, row, str(folder), scale]), file=asked, flush=True)
        line = answers.readline()
        if not line:
            sys.exit("values_measure.py died: run it by hand to see why")
        found = dict(json.loads(line))
        if "error" in found and peer in (OURS, LIMITS):
            sys.exit(f"{peer} {mode} {row} failed:\n{found['trace']}")
        return found


def one_round(
    measuring: Measuring, row: Row, peers: list[Peer], work: Path, scale: float, failed: dict[str, str]
) -> dict[str, Any]:
    """Let the limits and every peer that can keep and fetch a row's values once."""
    found: dict[str, dict[str, Any]] = {}
    names = [LIMITS, *(peer.name for peer in peers if row.name not in (peer.cannot or {}))]
    names += [PLAIN] if row.plain else []
    for name in random.sample(names, len(names)):
        if name in failed:
            continue
        folder = work / f"{row.name}-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        peer, what = (OURS, f"{row.name}:plain") if name == PLAIN else (name, row.name)
        one: dict[str, Any] = {}
        for mode in ("save", "fetch"):
            result = measuring.measure(mode, peer, what, folder, scale)
            # The limits' `touch` and the like are told apart by their names.
            one |= result
            if "error" in result:
                failed[name] = result["error"]
                break
        shutil.rmtree(folder)
        os.sync()
        if name not in failed:
            found[name] = one
    return found


def slow(rounds: list[dict[str, Any]]) -> set[str]:
    """Name the peers that need not be measured again."""
    if len(rounds) < ROUNDS_OF_THE_SLOW:
        return set()
    names = {name for one in rounds for name in one} - {OURS, PLAIN, LIMITS}
    return {name for name in names if statistics.median(ratios(rounds, (name, "synced"), (OURS, "synced"))) > SLOW}


def tiny_round(work: Path, scale: float) -> dict[str, Any]:
    """Measure tiny steps as ``steps.py`` does; seconds for all of them."""
    count = int(1000 * scale) or 1
    (one,) = steps.rounds(work / TINY, list(TINY_PEERS), 1, count)
    shutil.rmtree(work / TINY)
    os.sync()
    names = {steps.LIMIT: LIMITS, steps.OURS: OURS, "joblib_memory": "joblib", "disk_cache": "diskcache"}
    names |= {"marimo_cache": "marimo", "cachier_files": "cachier", "dill_files": "dill"}
    found: dict[str, Any] = {}
    for name, us in one.items():
        seconds = {key: value * count / 1e6 for key, value in us.items()}
        first, synced, replay = seconds["first"], seconds["first_synced"], seconds["replay"]
        found[names[name]] = (
            {"raw": first, "fetch": replay}
            if name == steps.LIMIT
            else {"save": first, "synced": first if name == steps.OURS else synced, "fetch": replay}
        )
    return found


def machine() -> dict[str, str]:
    """Say what was measured, on what."""
    facts = {"python": platform.python_version(), "system": platform.platform(), "cores": str(os.cpu_count())}
    names = "notebook_durable numpy pandas pyarrow blake3 joblib diskcache marimo cachier dill"
    for package in names.split():
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "from the source tree" if package == "notebook_durable" else "not installed"
    return facts


def file_system(folder: Path) -> str:
    """Name the file system that a folder lies on, "" where that can't be told."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    inside = [mount for mount in mounts if folder.is_relative_to(mount[1])]
    return max(inside, key=lambda mount: len(mount[1]))[2] if inside else ""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all rounds."""
    rows = [row for row in ROWS if row.name in options.rows.split(",")]
    peers = [peer for peer in PEERS if peer.name in {OURS, *options.peers.split(",")}]
    failed: dict[str, dict[str, str]] = {row.name: {} for row in rows}
    rounds: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
    for number in range(options.rounds):
        for row in rows:
            left = [peer for peer in peers if peer.name not in slow(rounds[row.name])]
            with Measuring() as measuring:
                found = one_round(measuring, row, left, options.work, options.scale, failed[row.name])
            rounds[row.name].append(found)
            print(f"round {number + 1} of {options.rounds}: {row.name}", file=sys.stderr, flush=True)
        if TINY in options.rows.split(","):
            rounds.setdefault(TINY, []).append(tiny_round(options.work, options.scale))
    reasons = {row.name: {p.name: p.cannot[row.name] for p in peers if row.name in (p.cannot or {})} for row in rows}
    return {
        "machine": machine() | {"file system": file_system(options.work)},
        "scale": options.scale,
        "labels": {row.name: row.label for row in rows} | {TINY: "1,000 tiny steps"},
        "peers": {peer.name: peer.label for peer in peers} | {PLAIN: "notebook_durable, as one plain array or frame"},
        "limits": {
            "raw": "raw write + fsync",
            "raw_best": "at its best",
            "pickle": "C pickle + fsync",
            "blake3": "one blake3 pass",
            "unpickle": "C unpickle with the collector paused",
            "touch": "full pass in memory",
        },
        "reasons": {row.name: reasons[row.name] | failed[row.name] for row in rows} | {TINY: {}},
        "rounds": rounds,
    }


def main() -> None:
    """Measure, print the tables, write the JSON file."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the values; 1: as in the table")
    parser.add_argument("--rows", default=",".join([*(row.name for row in ROWS), TINY]), help="names, with commas")
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS), help="names of peers, with commas")
    parser.add_argument("--work", type=Path, default=HERE / "work-values", help="folder on the disk to be measured")
    parser.add_argument("--json", type=Path, default=HERE / "values.json")
    options = parser.parse_args()
    options.work = options.work.resolve()
    kind = file_system(options.work)
    if kind in ("tmpfs", "ramfs"):
        sys.exit(f"{options.work} lies in memory ({kind}): pass --work FOLDER on a disk")
    try:
        result = run(options)
    finally:
        shutil.rmtree(options.work, ignore_errors=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    for row in result["rounds"]:
        print("\n".join(table(result, row)))
    print("\n".join(goals(result)))
    print("\n" + ", ".join(f"{name} {text}" for name, text in result["machine"].items()))


if __name__ == "__main__":
    main()
