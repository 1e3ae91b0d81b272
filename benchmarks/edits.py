"""The table of edits (tests/edits) over other libraries: how often each returns a stale value, or works needlessly.

    python benchmarks/edits.py                      everything (some minutes); --rows body,comment for a few
    python benchmarks/edits.py --show stale         and name the rows

Each library is used as its documentation shows: ``memory.cache`` of joblib, ``cache.memoize`` of diskcache,
``@mo.persistent_cache`` in a marimo app. A step is its function, memoised. A row counts for a library if it can be
expressed there: it has the option that the row needs, and gives the right value before anything was edited.

- **stale**: what comes out differs from running the edited cells afresh, without any library.
- **raises**: it raises where that doesn't (a model that isn't fitted because ``fit`` was replayed, say).
- **needless**: a step was computed that could have been replayed.

Ours is measured in the same way, from outside: by values, and by the calls that the steps' bodies note.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT / "tests")  # instead of this folder, where "edits" is this script

from edits.row import Row  # noqa: E402
from edits.table import ROWS  # noqa: E402

PLAIN = "none"
LIBRARIES = {
    "ours": "notebook_durable",
    "joblib": "joblib.Memory",
    "diskcache": "diskcache memoize",
    "marimo": "marimo persistent_cache",
}


@dataclass
class Count:
    """What one library made of the table; ids of rows."""

    played: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    raises: list[str] = field(default_factory=list)
    needless: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def job_of(row: Row) -> dict[str, Any]:
    """Write a row for another process."""
    return {
        "name": re.sub(r"\W+", "_", row.id),
        "versions": [
            {"cells": [[cell.text, cell.durable] for cell in version.cells], "files": dict(version.files)}
            for version in row.versions
        ],
    }


def play(library: str, rows: list[Row], work: Path, python: str) -> dict[str, list[dict[str, Any]]]:
    """Play rows on a library, in another process; results of the executions by the job's name."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NOTEBOOK_DURABLE_KEY_FILE": str(work / "key"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [python, str(Path(__file__).parent / "peers_edits.py"), library, str(work)],
        input=json.dumps([job_of(row) for row in rows]), capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    found = {line["name"]: line["results"] for line in map(json.loads, done.stdout.splitlines())}
    if len(found) < len(rows):
        sys.exit(f"{library} ended after {len(found)} of {len(rows)} rows:\n{done.stderr[-4000:]}")
    if done.stderr:
        print(f"--- {library}\n{done.stderr}", file=sys.stderr)
    return found


def why_not(plain: list[dict[str, Any]], results: list[dict[str, Any]]) -> str:
    """Say why a row can't be expressed with a library; "" if it can."""
    for one in results:
        if one["error"].startswith("n/a ") or "This app can't be run" in one["error"]:
            return str(one["error"].removeprefix("n/a "))
    if not same_end(plain[0], results[0]):
        return f"raises {results[0]['error']}" if results[0]["error"] else "wrong before any edit"
    return ""


def same_end(right: dict[str, Any], one: dict[str, Any]) -> bool:
    """Tell whether an execution ended as it does without a library: with the same value, or the same kind of error."""
    if right["error"] or one["error"]:
        return bool(right["error"].partition(":")[0] == one["error"].partition(":")[0])
    return bool(right["out"] == one["out"])


def judge(rows: list[Row], plain: dict[str, Any], results: dict[str, Any], afresh: dict[str, Any]) -> Count:
    """Count over all rows."""
    count = Count()
    for row in rows:
        name = job_of(row)["name"]
        reason = why_not(plain[name], results[name])
        if reason:
            count.left_out[row.id] = reason
            continue
        last, right = results[name][-1], afresh[name][-1]
        count.played.append(row.id)
        more = Counter(name for name in last["called"] if name not in row.either) - row.fresh.runs
        if last["error"] and not right["error"]:
            count.raises.append(row.id)
        elif not same_end(right, last):
            count.stale.append(row.id)
        if more:
            count.needless.append(row.id)
        if same_end(right, last) and not more:
            count.right.append(row.id)
    return count


def table(counts: dict[str, Count], rows: list[Row]) -> list[str]:
    """Write the Markdown table."""
    lines = [
        f"{len(rows)} edits, each executed before and after in processes of their own\n",
        "| library | edits that can be expressed | stale | raises | needless | right |",
        "|---|---|---|---|---|---|",
    ]
    for library, count in counts.items():
        played = len(count.played)
        cells = [
            LIBRARIES[library],
            f"{played} of {len(rows)}",
            len(count.stale),
            len(count.raises),
            len(count.needless),
        ]
        cells.append(f"{len(count.right)} ({len(count.right) / max(played, 1):.0%})")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def main() -> None:
    """Play, count, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rows", default="", help="ids of rows, with commas")
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="names, with commas")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the libraries")
    parser.add_argument("--show", default="", help="stale, raises, needless, left_out: name the rows, with commas")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "edits.json")
    options = parser.parse_args()
    wanted = set(filter(None, options.rows.split(",")))
    rows = [row for row in ROWS if not row.needs and (not wanted or row.id in wanted)]
    libraries = options.libraries.split(",")
    work = Path(tempfile.mkdtemp(prefix="edits-"))
    last_only = [_last(row) for row in rows]
    tasks = {"afresh": (PLAIN, last_only), PLAIN: (PLAIN, rows), **{library: (library, rows) for library in libraries}}
    with ThreadPoolExecutor(2) as pool:
        futures = {
            name: pool.submit(play, library, played, work / name, options.python)
            for name, (library, played) in tasks.items()
        }
        results = {name: future.result() for name, future in futures.items()}
    counts = {library: judge(rows, results[PLAIN], results[library], results["afresh"]) for library in libraries}
    print("\n".join(table(counts, rows)))
    for what in filter(None, options.show.split(",")):
        for library, count in counts.items():
            print(f"\n{what}, {LIBRARIES[library]}:")
            shown = getattr(count, what)
            for row in shown or ["none"]:
                print(f"- {row}: {shown[row]}" if isinstance(shown, dict) and shown else f"- {row}")
    if not wanted:
        options.json.write_text(json.dumps({name: vars(count) for name, count in counts.items()}, indent=1) + "\n")
    shutil.rmtree(work, ignore_errors=True)


def _last(row: Row) -> Row:
    from dataclasses import replace

    return replace(row, versions=row.versions[-1:])


if __name__ == "__main__":
    main()
