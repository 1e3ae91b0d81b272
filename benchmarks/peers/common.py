"""What every peer is measured with. A peer is a script: ``python PEER.py first|replay FOLDER STEPS``.

It runs (or replays) that many steps on FOLDER, checks what came back, and prints one JSON line as its last one.
Imports are not timed; opening the store and everything up to the last step's return is.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: Counts calls. A plain number would be an input of the step, which it changes; this has no content, as a clock.
_calls = itertools.count()


def value_of(index: int) -> dict[str, object]:
    """Return the value of a step: a dict of four values that no two steps share."""
    return {"index": index, "name": f"row {index}", "share": index / 7, "even": index % 2 == 0}


def step(index: int) -> dict[str, object]:
    """Be the step: nothing but a tiny result, and a count of the calls."""
    next(_calls)
    return value_of(index)


def sync_files(folder: Path) -> int:
    """Fsync every file and folder below ``folder``, and return how many there were."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return len(paths)


def measure(run: Callable[[Path, int], list[dict[str, object]]]) -> None:
    """Time ``run(folder, steps)``, which opens its store, runs the steps and returns their values."""
    began = time.perf_counter()
    values = run(Path(sys.argv[2]), int(sys.argv[3]))
    report(time.perf_counter() - began, values)


def report(seconds: float, values: list[dict[str, object]]) -> None:
    """Check the values and the calls, sync the files (timed apart), and print the result."""
    mode, folder, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    assert values == [value_of(index) for index in range(steps)], "wrong values"
    calls = next(_calls)
    assert calls == (steps if mode == "first" else 0), f"{calls} calls of the step in a {mode} run"
    began = time.perf_counter()
    files = sync_files(folder)
    line = {"seconds": seconds, "sync": time.perf_counter() - began, "files": files}
    print("\n" + json.dumps(line), flush=True)
