"""A disk that is full in the middle of an export or an import: an error of ours, and nothing half-done is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel
pytest.importorskip("resource")

PROGRAM = """
import resource, signal, sys
from pathlib import Path
from notebook_durable import durable, journal
from notebook_durable.errors import ConfigurationError, JournalUnwritableError

with durable("large", store="one") as ctx:
    for size in (20_000_000, 300_000, 30_000):
        ctx.run(f"step {size}", bytes, size)
one, two = journal("one"), journal("two", create=True)
one.export("large", "f.zip")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (100, 5_000, 200_000, 5_000_000):
    before = sorted(Path().rglob("*"))
    for expected, act in (
        (ConfigurationError, lambda: one.export("large", "g.zip")),
        (JournalUnwritableError, lambda: two.import_run("f.zip")),
    ):
        # What the system says of too large a file stands for what it says of a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            act()
            found = None
        except Exception as error:
            found = error
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert type(found) is expected, (limit, found)
    assert not two.runs(archived=True)
    assert not two.verify().damaged
    new = {path for path in set(Path().rglob("*")) - set(before) if path.is_file() and path.parent.name != "locks"}
    assert {path.name for path in new} <= {"blobs.lock"}, (limit, new)
two.import_run("f.zip")
assert not two.verify().problems
"""


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever byte it is full; afterwards it works."""
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    place = tmp_path / "place"
    place.mkdir()
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], cwd=place, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
