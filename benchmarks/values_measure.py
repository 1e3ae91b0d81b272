"""The measurements of ``values.py``. Each is a process of its own: a fork of one that has only imported the libraries.

Imports and the making of the values are not timed, and everything that is set up when first needed is needed once
before, with a small value in another folder. Equality is checked after the clock.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import values_limits
import values_peers
import values_rows

_SMALL = 0.0005


class Model:
    """What a notebook's cell would define: its module is ``__main__``."""

    def __init__(self, weights: Any, settings: dict[str, Any]) -> None:
        self.weights = weights
        self.settings = settings


def save(peer: values_peers.Peer, values: list[Any], folder: Path) -> dict[str, Any]:
    """Time the calls, and an fsync after each of every file and folder that it changed."""
    values_peers.hold(values)
    values_limits.warm(folder.parent, 2 * size_of(values))
    gc.collect()
    before = _memory(reset=True)
    began = time.perf_counter()
    call = peer.open(folder)
    found = {"open": time.perf_counter() - began, "save": 0.0, "synced": 0.0}
    known: dict[Path, tuple[int, int]] = {}
    for number in range(len(values)):
        began = time.perf_counter()
        call(number)
        seconds = time.perf_counter() - began
        found["save"] += seconds
        found["synced"] += seconds
        if not peer.synced:
            changed = _changed(folder, known)
            began = time.perf_counter()
            values_limits.sync(changed)
            found["synced"] += time.perf_counter() - began
    peak = _memory() - before
    values_peers.leaving.close()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return found | {"save_peak_mb": peak, "disk_mb": size / 1e6}


def _changed(folder: Path, known: dict[Path, tuple[int, int]]) -> list[Path]:
    """Find the files that were written since the last call, and the folders that they appeared in."""
    changed = set()
    for path in (folder, *folder.rglob("*")):
        status = path.stat()
        now = (status.st_size, status.st_mtime_ns)
        if known.get(path) != now:
            known[path] = now
            changed.add(path)
    return sorted(changed, reverse=True)  # files before their folders


def fetch(peer: values_peers.Peer, row: values_rows.Row, folder: Path, make: Any, scale: float) -> dict[str, Any]:
    """Time opening and the calls, and one pass over all numbers; then compare."""
    count, size = (int(word) for word in (folder / "count").read_text().split())
    values_peers.hold(None)
    values_limits.warm(folder, size)
    gc.collect()
    before = _memory(reset=True)
    began = time.perf_counter()
    call = peer.open(folder / "values")
    values = [call(number) for number in range(count)]
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    row.touch(values)
    touch = time.perf_counter() - began
    peak = _memory() - before
    made = make(scale)
    same = len(made) == len(values) and all(map(row.same, made, values))
    wrong = "" if same else f"not equal to what was saved ({_kind(values[0])})"
    values_peers.leaving.close()
    return {"fetch": seconds, "touch": touch, "fetch_peak_mb": peak, "wrong": wrong}


def size_of(values: list[Any]) -> int:
    """Return about how many bytes the values have."""
    return sum(part.nbytes for value in values for part in values_limits.parts_of(value))


def _kind(value: Any) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _memory(*, reset: bool = False) -> float:
    """Return the process's greatest memory since the last reset, in MB; 0 where the system doesn't tell."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
    except OSError:
        return 0.0


def one(mode: str, peer_name: str, row_name: str, where: str, scale: float) -> dict[str, Any]:
    """Do one measurement, in this process."""
    row_name, _, variant = row_name.partition(":")
    row = next(row for row in values_rows.ROWS if row.name == row_name)
    folder = Path(where)
    values_rows.model_class = Model  # type: ignore[assignment]
    make = row.plain if variant and row.plain else row.make
    if peer_name == "limits":
        return values_limits.measure(mode, make(scale), row, folder)
    peer = next(peer for peer in values_peers.PEERS if peer.name == peer_name)
    with tempfile.TemporaryDirectory(dir=folder.parent) as apart:
        small = make(_SMALL)
        values_peers.hold(small)
        for _ in ("save", "fetch"):
            call = peer.open(Path(apart))
            for number in range(len(small)):
                call(number)
            values_peers.leaving.close()
    if mode == "fetch":
        return fetch(peer, row, folder, make, scale)
    values = make(scale)
    (folder / "values").mkdir()
    found = save(peer, values, folder / "values")
    (folder / "count").write_text(f"{len(values)} {size_of(values)}")
    return found


def fork(job: list[Any]) -> str:
    """Do one measurement in a fork, and return the line to print."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        gc.unfreeze()  # as in a process that was started anew: what pauses the collector looks at it
        try:
            found = one(*job)
        except BaseException as error:
            last = str(error).splitlines() or [""]
            found = {"error": f"{type(error).__name__}: {last[0][:200]}", "trace": traceback.format_exc()[-4000:]}
        with os.fdopen(write, "w") as out:
            json.dump(found, out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as result:
        text = result.read()
    os.waitpid(pid, 0)
    return text or json.dumps({"error": "the process died", "trace": ""})


def main() -> None:
    """Import everything once, then measure what the lines of the input say, each in a fork."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what peers print
    values_peers.prepare()
    gc.collect()
    gc.freeze()  # a fork shares what nobody touches
    for line in sys.stdin:
        print(fork(json.loads(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
