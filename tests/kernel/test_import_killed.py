"""An import that is killed in its middle: nothing of the run is there, and what is left is litter that gc deletes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from notebook_durable.model import Entry, EntryStatus, Outcome, Owner, RunId, RunStatus
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.sqlite import SqliteStore

pytestmark = pytest.mark.kernel

KEY = b"k" * 32
VICTIM = """
import os, signal, sys
from pathlib import Path
from notebook_durable.stores import adopting, blob_file, rows, sqlite
from notebook_durable.stores.export_file import Archive
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.sqlite import SqliteStore

place, file, point, when = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
seen = 0

def dies(*_):
    global seen
    seen += 1
    if seen == when:
        os.kill(os.getpid(), signal.SIGKILL)

def before(owner, name):
    real = getattr(owner, name)
    def call(*args, **more):
        dies()
        return real(*args, **more)
    setattr(owner, name, call)

if point == "sync":
    before(blob_file, "sync_file")
elif point == "piece":
    real = Archive.pieces
    def pieces(self, *args):
        for piece in real(self, *args):
            dies()
            yield piece
    Archive.pieces = pieces
elif point == "row":
    before(rows, "entry_row")
elif point == "commit":
    written = adopting.write
    adopting.write = lambda *args, **more: (written(*args, **more), dies())
store = SqliteStore(place, Signer(b"k" * 32))
store.adopt(file, now=5.0)
print("survived")
"""


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    store = SqliteStore(tmp_path / "one", Signer(KEY))
    claim = store.claim(RunId("churn"), Owner(1, "h"), now=1.0)
    for seq, size in enumerate((5_000_000, 300_000, 10, 6_000_000)):
        buffers = (bytes([seq]) * size,)
        done = Entry(seq, f"step {seq}", 0, EntryStatus.SUCCEEDED, serializer="dill", payload=b"x", buffers=buffers)
        store.record(claim, done._replace(size=size + 1))
    store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=2.0, used=range(4))
    store.release(claim)
    store.export(claim.id, tmp_path / "f.zip", now=3.0)
    store.close()
    return tmp_path / "f.zip"


@pytest.mark.parametrize(
    ("point", "when"),
    # The first 12 pieces are read to check the file; the rest is written.
    [
        ("piece", 3),
        ("piece", 15),
        ("piece", 20),
        ("sync", 1),
        ("sync", 2),
        ("row", 1),
        ("row", 3),
        ("row", 4),
        ("commit", 1),
    ],
)
def test_killed(tmp_path: Path, exported: Path, point: str, when: int) -> None:
    """SIGKILL at any moment: no run, no damage; the next import works, and gc deletes what was left."""
    place = tmp_path / "two"
    ran = subprocess.run(
        [sys.executable, "-c", VICTIM, place, exported, point, str(when)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    store = SqliteStore(place, Signer(KEY))
    try:
        assert store.runs(archived=True) == []
        assert {problem.kind for problem in store.verify()} <= {"litter", "unused"}
        store.sweep()
        assert list(store.verify()) == []
        taken = store.adopt(exported, now=6.0)
        assert [store.payload(taken.run_id, one).size for one in store.read(taken.run_id)] == [
            5_000_001, 300_001, 11, 6_000_001,
        ]  # fmt: skip
        assert list(store.verify()) == []
    finally:
        store.close()
