"""What large values cost in memory: nearly nothing to save, and nothing to restore until they are touched.

Linux only: it reads ``/proc``. Takes 5 GB of memory and 2.1 GB of disk, and is skipped where these are not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import notebook_durable

pytest.importorskip("pandas")
pytestmark = pytest.mark.kernel

ROOT = Path(notebook_durable.__file__).parent.parent
MB = 1 << 20
MOST = 64 * MB

PRELUDE = """
import os, sys
import numpy as np, pandas as pd
from notebook_durable import durable
from notebook_durable.errors import DurableError

ROWS, COLUMNS = int(sys.argv[1]), 8

def memory(*names):
    found = {}
    for line in open("/proc/self/status"):
        name, _, rest = line.partition(":")
        if name in names:
            found[name] = int(rest.split()[0]) * 1024
    return [found[name] for name in names]

def load():
    array = np.empty((ROWS, COLUMNS))
    for start in range(0, ROWS, 1_000_000):  # without a second array
        array[start : start + 1_000_000] = np.arange(start, min(start + 1_000_000, ROWS))[:, None]
    return pd.DataFrame(array, columns=list("abcdefgh"), copy=False)

def must_not_run():
    os._exit(7)

with durable("warm", store=sys.argv[2] + "-warm") as ctx:  # all is imported, and each code path was gone
    for _ in range(2):
        ctx.run("warm", lambda: pd.DataFrame(np.ones((1_000_000, COLUMNS)), copy=False))
with durable("warm", store=sys.argv[2] + "-warm") as ctx:
    ctx.run("warm", lambda: pd.DataFrame(np.ones((1_000_000, COLUMNS)), copy=False))
"""
BARE = "frame = load()\nprint(*memory('VmHWM', 'RssAnon'))"
SAVE = """
with durable("big", store=sys.argv[2]) as ctx:
    frame = ctx.run("load", load)
print(*memory('VmHWM', 'RssAnon'))
"""
RESTORE = """
(before,) = memory('RssAnon')
with durable("big", store=sys.argv[2]) as ctx:
    frame = ctx.run("load", load)
(restored,) = memory('RssAnon')
total = float(frame["a"].to_numpy().sum()), float(frame["h"].to_numpy().sum())
(read,) = memory('RssAnon')
print(restored - before, read - before, total == (ROWS * (ROWS - 1) / 2,) * 2)
"""


def run(body: str, rows: int, store: Path) -> list[str]:
    key = {"NOTEBOOK_DURABLE_KEY_FILE": str(store.parent / "key"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PRELUDE + body), str(rows), str(store)],
        env={**os.environ, **key}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def free_memory() -> int:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_gigabytes_cost_no_memory(tmp_path: Path) -> None:
    """A frame of 2 GB: saving takes at most 64 MB more than having it; restored and read it takes none."""
    if shutil.disk_usage(tmp_path).free < 2500 * MB:
        pytest.skip("less than 2.5 GB are free on the disk")
    if free_memory() < 5000 * MB:
        pytest.skip("less than 5 GB of memory are free")
    rows, store = 33_000_000, tmp_path / ".durable"
    size = rows * 8 * 8
    try:
        bare = int(run(BARE, rows, store)[0])
        assert bare > size
        saved = int(run(SAVE, rows, store)[0])
        assert saved - bare < MOST, f"saving took {(saved - bare) / MB:.0f} MB more"
        restored, read, right = run(RESTORE, rows, store)
        assert right == "True"
        assert int(restored) < MOST, f"restoring took {int(restored) / MB:.0f} MB"
        assert int(read) < MOST, f"reading two columns took {int(read) / MB:.0f} MB"
    finally:
        shutil.rmtree(store, ignore_errors=True)


MAKE = """
def make():
    return {f"k{i}": np.full(ROWS // 16, float(i)) for i in range(16)}
"""
MADE = "value = make()\nprint(*memory('VmHWM'))"
MADE_DURABLE = """
with durable("parts", store=sys.argv[2]) as ctx:
    value = ctx.run("make", make)
print(*memory('VmHWM'))
"""
TOUCHED = """
(before,) = memory('RssAnon')
with durable("parts", store=sys.argv[2]) as ctx:
    value = ctx.run("make", make)
(restored,) = memory('RssAnon')
right = all(one.sum() == i * (ROWS // 16) for i, one in enumerate(value.values()))
(read,) = memory('RssAnon')
value["k3"][:] = -1.0
(written,) = memory('RssAnon')
print(restored - before, read - before, written - before, right)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_arrays_in_one_value(tmp_path: Path) -> None:
    """300 MB in 16 arrays of a dict: saving takes no more; of what is restored, only the array that is written to."""
    rows, store = 37_500_000, tmp_path / ".durable"
    bare, saved = (int(run(MAKE + body, rows, store)[0]) for body in (MADE, MADE_DURABLE))
    assert saved - bare < MOST, f"saving took {(saved - bare) / MB:.0f} MB more"
    restored, read, written, right = run(MAKE + TOUCHED, rows, store)
    assert right == "True"
    one = rows * 8 // 16
    assert int(restored) < one
    assert int(read) < one
    assert one <= int(written) - int(read) + MB < 2 * one
