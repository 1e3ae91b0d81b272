"""The README's first command, with a real kernel, a real SIGKILL and the real flights."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

DEMO = Path(__file__).resolve().parents[2] / "notebooks" / "demo.py"


def demo(work: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the demo in a folder, with a key of its own."""
    env = {**os.environ, "NOTEBOOK_DURABLE_KEY_FILE": str(work.parent / "key")}
    env.pop("NOTEBOOK_DURABLE_STORE", None)
    command = [sys.executable, str(DEMO), "--work", str(work), *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=170)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database as a demo has left it; the first test to ask pays for it."""
    work = tmp_path_factory.mktemp("demo") / "work"
    done = demo(work)
    assert done.returncode == 0, done.stdout + done.stderr
    (work / "said").write_text(done.stdout)
    return work / "flights.sqlite"


def test_no_finished_step_asks_the_database_again(database: Path) -> None:
    """What had finished before SIGKILL is replayed; what was open runs again; what was not reached runs."""
    with closing(sqlite3.connect(database)) as db:
        log = db.execute("SELECT query, kernel, COUNT(*), COUNT(ended) FROM query_log GROUP BY 1, 2 ORDER BY MIN(id)")
        rows = log.fetchall()
        (flights,) = db.execute("SELECT COUNT(*) FROM flights").fetchone()
    first, second = rows[0][1], rows[-1][1]
    assert flights == 336_776
    assert first != second
    assert rows == [
        ("load flights", first, 1, 1),
        ("fetch weather", first, 3, 1),
        ("find knock-on", first, 1, 0),
        ("find knock-on", second, 1, 1),
        ("save report", second, 1, 1),
    ]


def test_a_newcomer_can_read_it(database: Path) -> None:
    """The demo says what happened to each step, in a screenful."""
    said = (database.parent / "said").read_text()
    assert len(said.splitlines()) <= 36, said
    assert max(map(len, said.splitlines())) <= 120, said
    for part in ("killed (SIGKILL", "load flights", "was replayed (saved", "ran again: it was open", "none ran twice"):
        assert part in said


def test_the_demo_fails_if_a_finished_step_runs_twice(database: Path, tmp_path: Path) -> None:
    """Without its journal the second kernel asks everything again; the demo must notice, name it and exit with 1."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(database, work)
    done = demo(work, "--forget-journal")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "'load flights' had finished, and asked the database again" in done.stderr
    assert "OK:" not in done.stdout
