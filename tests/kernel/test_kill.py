"""A process killed with SIGKILL before, inside and after each step: at most the open step is called again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import notebook_durable

pytestmark = pytest.mark.kernel

ROOT = Path(notebook_durable.__file__).parent.parent

# Three steps. At the point named in POINT the process says so and waits to be killed.
SCRIPT = textwrap.dedent(
    """
    import os, sys, time
    from notebook_durable import durable

    def at(point):
        if os.environ.get("POINT") == point:
            print("at", point, flush=True)
            time.sleep(600)

    def step(name):
        with open("calls.txt", "a") as log:
            log.write(name + "\\n")
        at(f"inside {name}")
        return {"name": name, "set": {name}}

    with durable("wf") as ctx:
        for name in "abc":
            at(f"before {name}")
            assert ctx.run(name, step, name) == {"name": name, "set": {name}}
            at(f"after {name}")
    print("done")
    """
)

POINTS = [f"{where} {name}" for name in "abc" for where in ("before", "inside", "after")]


def start(folder: Path, point: str | None) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NOTEBOOK_DURABLE_KEY_FILE": str(folder / "key")}
    env.pop("NOTEBOOK_DURABLE_STORE", None)
    if point:
        env["POINT"] = point
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_at(folder: Path, point: str) -> None:
    with start(folder, point) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"at {point}\n"
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("point", POINTS)
def test_sigkill_at_every_point(tmp_path, point):
    """Finished steps replay; the one that was open is called once more; nothing else."""
    kill_at(tmp_path, point)
    out, err = start(tmp_path, None).communicate()
    assert out == "done\n", err
    calls = (tmp_path / "calls.txt").read_text().split()
    where, name = point.split()
    assert calls == sorted([*"abc", *([name] if where == "inside" else [])])


def test_sigkill_again_and_again(tmp_path):
    """One process after the other dies at the next point; the work is done all the same."""
    for point in POINTS:
        kill_at(tmp_path, point)
    assert start(tmp_path, None).communicate()[0] == "done\n"
    assert sorted((tmp_path / "calls.txt").read_text().split()) == sorted("abc" * 2)


def test_the_shell_sees_what_happened(tmp_path):
    """notebook-durable ls and show, on the journal of a killed process."""
    kill_at(tmp_path, "inside b")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NOTEBOOK_DURABLE_KEY_FILE": str(tmp_path / "key")}
    shell = [sys.executable, "-m", "notebook_durable.cli.app"]
    ls = subprocess.run([*shell, "ls"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert "cut off" in ls.stdout
    show = subprocess.run([*shell, "show", "wf"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    rows = [line.split()[:3] for line in show.stdout.splitlines()[2:]]
    assert rows == [["1", "a", "succeeded"], ["2", "b", "running"]]


def test_attempts_of_a_killed_process_count(tmp_path):
    """Real time, real kills: max_attempts=4 is four calls over three processes (7 of 5 in DBOS)."""
    script = textwrap.dedent(
        """
        import os, time
        from notebook_durable import TerminalError, durable
        def step():
            with open("calls.txt", "a") as log: log.write("x\\n")
            if len(open("calls.txt").read().split()) in (1, 3):
                print("at", flush=True); time.sleep(600)
            raise ConnectionError("boom")
        try:
            with durable("wf") as ctx:
                ctx.run("x", step, max_attempts=4, initial_retry_interval=0.01)
        except TerminalError as error:
            import json
            print(json.dumps([error.attempts, [h["attempt"] for h in error.history]]))
        """
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NOTEBOOK_DURABLE_KEY_FILE": str(tmp_path / "key")}
    for _ in range(2):
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=env, **quiet) as p:
            assert p.stdout is not None
            assert p.stdout.readline() == b"at\n"
            p.kill()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [4, [2, 4]]  # 1 and 3 were cut off and left no error
    assert len((tmp_path / "calls.txt").read_text().split()) == 4
