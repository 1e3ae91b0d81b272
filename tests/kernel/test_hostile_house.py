"""Housekeeping that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
