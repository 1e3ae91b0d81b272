"""SIGKILL in the middle of a map: what was committed replays, and only that which was not runs again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import notebook_durable

pytestmark = pytest.mark.kernel

ROOT = Path(notebook_durable.__file__).parent.parent

# Each call appends its item to calls.txt. The item in AT says so and waits to be killed.
SCRIPT = textwrap.dedent(
    """
    import os, sys, time
    from notebook_durable import durable, RetryPolicy

    at, n, how = int(os.environ.get("AT", -1)), int(os.environ["N"]), os.environ.get("HOW") or None
    options = eval(os.environ.get("OPTIONS", "{}"))
    def work(item):
        log = os.open("calls.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{item}\\n".encode())
        os.close(log)
        if item == int(os.environ.get("AT", -1)):
            print("at", item, flush=True)
            time.sleep(600)
        return item * item

    if __name__ == "__main__":
        with durable("wf") as ctx:
            assert ctx.map("m", work, range(n), executor=how, **options) == [x * x for x in range(n)]
        print("done")
    """
)


def start(folder: Path, **env: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT)
    full = {**os.environ, "PYTHONPATH": str(ROOT), "NOTEBOOK_DURABLE_KEY_FILE": str(folder / "key"), **env}
    full.pop("NOTEBOOK_DURABLE_STORE", None)
    return subprocess.Popen(
        [sys.executable, "script.py"], cwd=folder, env=full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_when_said(folder: Path, **env: str) -> None:
    with start(folder, **env) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("at ")
        process.send_signal(signal.SIGKILL)


def finish(folder: Path, **env: str) -> None:
    out, err = start(folder, **env).communicate(timeout=120)
    assert out == "done\n", err


def calls(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "calls.txt").read_text().split()]


def recorded(folder: Path) -> set[int]:
    """What is on disk, read without us."""
    with closing(sqlite3.connect(folder / ".durable" / "journal.db")) as db:
        return {n for (n,) in db.execute("SELECT occurrence FROM entries WHERE status = 'succeeded'")}


def committed_before(folder: Path, number: int, process: subprocess.Popen[str]) -> None:
    """Wait until the first ``number`` items are committed, although the item after them doesn't end."""
    while recorded(folder) != set(range(number)):
        assert process.poll() is None, process.communicate()


@pytest.mark.parametrize("how", ["", "threads"])
def test_what_was_committed_is_not_called_again(tmp_path, how):
    """Of 3,000 items 2,000 are finished; at most those in the last, open group run again."""
    env = {"N": "3000", "HOW": how}
    kill_when_said(tmp_path, **env, AT="2000")
    before, kept = Counter(calls(tmp_path)), recorded(tmp_path)
    finish(tmp_path, **env)
    after = Counter(calls(tmp_path)) - before
    assert set(after) == set(range(3000)) - kept
    assert max(after.values()) == 1


def test_finished_items_are_committed_although_the_next_one_takes_long(tmp_path):
    """No later than a few milliseconds after they finished, whatever the next item does: none of them is lost."""
    with start(tmp_path, N="30", AT="20") as process:
        assert process.stdout is not None
        process.stdout.readline()
        committed_before(tmp_path, 20, process)
        process.send_signal(signal.SIGKILL)
    finish(tmp_path, N="30")
    assert Counter(calls(tmp_path)) == Counter([*range(30), 20])


def test_killed_at_random_moments(tmp_path):
    """One process after the other is killed; each time only what was not committed is called again."""
    total = 4000
    for moment in (1, 300, 900, 1700, 2600, 3999):
        kill_when_said(tmp_path, N=str(total), AT=str(moment))
        kept = recorded(tmp_path)
        assert kept <= set(range(moment))
        seen = len(calls(tmp_path))
    finish(tmp_path, N=str(total))
    assert set(calls(tmp_path)[seen:]) == set(range(total)) - kept


def test_attempts_of_killed_processes_count(tmp_path):
    """``max_attempts=2``: an item that kills its process twice has failed, and is not called a third time."""
    env = {"N": "5", "OPTIONS": "{'max_attempts': 2}"}
    for _ in range(2):
        kill_when_said(tmp_path, **env, AT="3")
    out, err = start(tmp_path, **env).communicate(timeout=120)
    assert "has no attempt left" in err
    assert out == ""
    assert Counter(calls(tmp_path))[3] == 2


@pytest.mark.parametrize("how", ["processes"])
def test_worker_processes(tmp_path, how):
    """With loky: a killed kernel, then the rest; the worker processes end with their kernel."""
    env = {"N": "200", "HOW": how, "OPTIONS": "{'max_workers': 2}"}
    with start(tmp_path, **env, AT="150") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at 150\n"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)  # the pipe ends when no worker holds it any more
    kept, before = recorded(tmp_path), len(calls(tmp_path))
    finish(tmp_path, **env)
    assert set(calls(tmp_path)[before:]) == set(range(200)) - kept
