"""Items a second of ``ctx.map``, durable, beside the same commits made bare: python benchmarks/map.py

Each measurement is a process of its own; medians of the rounds with the least and the greatest value. The bare loop
writes the same number of rows of 300 bytes in groups of 250, each group one fsynced transaction.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WAYS = ("bare", "none", "threads", "processes", "async")
_GROUP = 250


def work(item: int) -> int:
    """A tiny item."""
    return item * 2


async def awork(item: int) -> int:
    """A tiny item of an async function."""
    return item * 2


def bare(items: int) -> float:
    """Write as much without us."""
    db = sqlite3.connect("bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)")
    began = time.perf_counter()
    for start in range(0, items, _GROUP):
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO t VALUES (?, ?)", [(n, b"x" * 300) for n in range(start, start + _GROUP)])
        db.execute("COMMIT")
    return time.perf_counter() - began


def one(way: str, items: int) -> dict[str, float]:
    """Measure one way: the first time, and replayed."""
    if way == "bare":
        return {"first": bare(items)}
    from notebook_durable import durable

    fn, how = (awork, None) if way == "async" else (work, None if way == "none" else way)
    found = {}
    with durable("warm") as ctx:
        ctx.map("warm", fn, range(3), executor=how)
    for name in ("first", "replay"):
        with durable("wf") as ctx:
            began = time.perf_counter()
            assert ctx.map("m", fn, range(items), executor=how) == [2 * n for n in range(items)]
            found[name] = time.perf_counter() - began
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--one", choices=WAYS, help="measure one way here and now, and print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.items)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    folder = HERE / "work-map"
    for _ in range(options.rounds):
        for way in WAYS:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            command = [sys.executable, str(HERE / "map.py"), "--one", way, "--items", str(options.items)]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    shutil.rmtree(folder, ignore_errors=True)
    print("| executor | items a second | replayed a second |\n|---|---|---|")
    for way, rounds in found.items():
        cells = [way]
        for name in ("first", "replay"):
            rates = [options.items / one[name] for one in rounds if name in one]
            cells.append(f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})" if rates else "")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
