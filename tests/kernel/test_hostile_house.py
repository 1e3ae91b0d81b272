"""Housekeeping by real processes: killed, and beside a running kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from notebook_durable import journal

pytestmark = pytest.mark.kernel

EXPORT = """
import os, signal, sys
from notebook_durable import durable, journal
from notebook_durable.stores import export_file

with durable("large") as ctx:
    for size in (6_000_000, 300_000, 30):
        ctx.run(f"step {size}", bytes, size)
point, when, seen = sys.argv[1], int(sys.argv[2]), 0
owner = export_file if point == "sync_file" else export_file.Writer
real = getattr(owner, point)

def dies(*args, **more):
    global seen
    seen += 1
    if seen == when:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **more)

setattr(owner, point, dies)
journal().export("large", "large.run")
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="no files without a name here")
@pytest.mark.parametrize(("point", "when"), [("value", 2), ("rows", 1), ("finish", 1), ("sync_file", 1)])
def test_an_export_that_is_killed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, when: int
) -> None:
    """Nor a half-written file of some gigabytes whose name nobody knows."""
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    place = tmp_path / "place"
    place.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", EXPORT, point, str(when)], cwd=place, capture_output=True, text=True, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert [path.name for path in place.iterdir()] == [".durable"]


KERNEL = """
import sys
from notebook_durable import durable

for fresh in (False, True):
    with durable("large", fresh=True) as ctx:
        for size in (6_000_000, 300_000, 30):
            value = ctx.run(f"step {size}", bytes, size)
        if fresh:
            print("open", flush=True)
            sys.stdin.readline()
            assert ctx.run("after", bytes, 6_000_001) == bytes(6_000_001)
            assert ctx.run("after in a pack", bytes, 300_001) == bytes(300_001)
"""


def test_gc_beside_a_running_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archived runs of the very name that is executed go, with their files; what the kernel has and writes stays."""
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.chdir(tmp_path)
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert kernel.stdout is not None
    assert kernel.stdout.readline() == "open\n"
    with closing(journal()) as view:
        assert [run.archived for run in view.runs(archived=True)] == [False, True]
        said = view.gc(keep_runs=0).apply()
        assert said.startswith("deleted 3 entries with 6.3 MB of values")
        assert not view.verify().problems
        kernel.communicate("\n")
        assert kernel.returncode == 0
        assert not view.verify().problems
        assert [(run.archived, run.entries) for run in view.runs(archived=True)] == [(False, 5)]
