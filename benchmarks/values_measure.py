"""One measurement of ``values.py``: ``python values_measure.py save|fetch PEER ROW FOLDER SCALE``. Prints JSON.

The process's own start, imports and the making of the values are not timed, and everything that is imported or set up
when first needed is needed once before, with a small value in another folder. Equality is checked after the clock.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
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
    """Time the calls, then an fsync of every file and folder that it left."""
    values_peers.hold(values)
    gc.collect()
    before = _memory(reset=True)
    began = time.perf_counter()
    call = peer.open(folder)
    opened = time.perf_counter()
    for number in range(len(values)):
        call(number)
    seconds = time.perf_counter() - opened
    peak = _memory() - before
    began = time.perf_counter()
    if not peer.synced:
        values_limits.sync_files(folder)
    synced = seconds + time.perf_counter() - began
    values_peers.leaving.close()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"open": opened - began, "save": seconds, "synced": synced, "save_peak_mb": peak, "disk_mb": size / 1e6}


def fetch(peer: values_peers.Peer, row: values_rows.Row, folder: Path, make: Any, scale: float) -> dict[str, Any]:
    """Time opening and the calls, and one pass over all numbers; then compare."""
    count = int((folder / "count").read_text())
    values_peers.hold(None)
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


def main() -> None:
    """Measure."""
    mode, peer_name, row_name, where, size = sys.argv[1:]
    row_name, _, variant = row_name.partition(":")
    row = next(row for row in values_rows.ROWS if row.name == row_name)
    folder, scale = Path(where), float(size)
    values_rows.model_class = Model  # type: ignore[assignment]
    make = row.plain if variant and row.plain else row.make
    if row.pandas:
        import pandas as pd

        pd.DataFrame({"text": ["a"]}).sum()
    if peer_name == "limits":
        print(json.dumps(values_limits.measure(mode, make(scale), row, folder)))
        return
    peer = next(peer for peer in values_peers.PEERS if peer.name == peer_name)
    peer.prepare()
    with tempfile.TemporaryDirectory(dir=folder.parent) as apart:
        small = make(_SMALL)
        values_peers.hold(small)
        for _ in ("save", "fetch"):
            call = peer.open(Path(apart))
            for number in range(len(small)):
                call(number)
            values_peers.leaving.close()
    if mode == "save":
        values = make(scale)
        (folder / "values").mkdir()
        found = save(peer, values, folder / "values")
        (folder / "count").write_text(str(len(values)))
    else:
        found = fetch(peer, row, folder, make, scale)
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
