"""Maps in processes that are killed and stopped at random moments, one after the other, until all is done."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import notebook_durable

pytestmark = pytest.mark.kernel

ROOT = Path(notebook_durable.__file__).parent.parent

# Each call appends its item to calls.txt. HOW is what carries the map out.
SCRIPT = textwrap.dedent(
    """
    import asyncio, os, time
    from concurrent.futures import ThreadPoolExecutor
    from notebook_durable import durable

    how, n = os.environ["HOW"], int(os.environ["N"])

    def note(item):
        log = os.open("calls.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{item}\\n".encode())
        os.close(log)

    def work(item):
        note(item)
        time.sleep(0.001)
        return item * item

    async def awork(item):
        note(item)
        await asyncio.sleep(0.001)
        return item * item

    async def amain():
        async with durable("wf") as ctx:
            return await ctx.map("m", awork, range(n))

    def main():
        executor = {"inline": None, "foreign": ThreadPoolExecutor(2)}.get(how, how)
        with durable("wf") as ctx:
            return ctx.map("m", work, range(n), executor=executor, max_workers=None if how == "inline" else 2)

    if __name__ == "__main__":
        assert (asyncio.run(amain()) if how == "async" else main()) == [item * item for item in range(n)]
        print("done")
    """
)


class Folder:
    """One journal, and what was called for it."""

    def __init__(self, path: Path, how: str, number: int) -> None:
        self.path = path
        (path / "script.py").write_text(SCRIPT)
        (path / "calls.txt").touch()
        self.env = {
            **os.environ, "PYTHONPATH": str(ROOT), "NOTEBOOK_DURABLE_KEY_FILE": str(path / "key"), "HOW": how,
            "N": str(number),
        }  # fmt: skip
        self.env.pop("NOTEBOOK_DURABLE_STORE", None)

    def start(self) -> subprocess.Popen[str]:
        # A shell's background jobs ignore SIGINT, and what they start does so too.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(
                [sys.executable, "script.py"], cwd=self.path, env=self.env, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        finally:
            signal.signal(signal.SIGINT, handler)

    def calls(self) -> list[int]:
        return [int(line) for line in (self.path / "calls.txt").read_text().split()]

    def recorded(self) -> set[int]:
        """What is on disk, read without us."""
        with closing(sqlite3.connect(self.path / ".durable" / "journal.db")) as db:
            return {n for (n,) in db.execute("SELECT occurrence FROM entries WHERE status = 'succeeded'")}

    def one(self, more: int, numbers: tuple[int, ...]) -> tuple[set[int], str]:
        """Start a process, send it signals when it has called ``more`` items, and return the calls that were lost."""
        before = self.recorded() if (self.path / ".durable").exists() else set()
        seen = len(self.calls())
        with self.start() as process:
            while len(self.calls()) < seen + more and process.poll() is None:
                time.sleep(0.001)
            for number in numbers:
                os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
            _, err = process.communicate(timeout=60)  # the pipe ends when no worker holds it any more
        new, after = Counter(self.calls()[seen:]), self.recorded()
        assert before <= after
        assert not before & set(new)
        assert not new or max(new.values()) == 1
        return set(new) - after, err

    def finish(self) -> None:
        out, err = self.start().communicate(timeout=120)
        assert out == "done\n", err
        told = subprocess.run(
            [sys.executable, "-c", "from notebook_durable.cli.app import main; main()", "verify"], cwd=self.path,
            env=self.env, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert "Nothing is damaged" in told.stdout, told


@pytest.mark.parametrize("how", ["inline", "threads", "foreign", "processes", "async"])
def test_killed_again_and_again(tmp_path, how):
    """Only what had no time to be committed is called again, and nobody is left behind by a killed kernel."""
    folder, chance = Folder(tmp_path, how, 600), random.Random(how)
    for _ in range(2):
        folder.one(chance.randrange(1, 150), (signal.SIGKILL,))
    folder.finish()


@pytest.mark.parametrize("how", ["inline", "threads", "foreign", "processes"])
def test_stopped_again_and_again(tmp_path, how):
    """Stop, also two at once: it ends, says so and nothing else; what threads had begun is kept."""
    folder, chance = Folder(tmp_path, how, 600), random.Random(how)
    for twice in (False, True):
        lost, err = folder.one(chance.randrange(1, 150), (signal.SIGINT,) * (1 + twice))
        assert "KeyboardInterrupt" in err
        assert "loky/__init__.py" not in err  # a worker that was interrupted while it began
        if how in ("inline", "threads", "foreign") and not twice:
            assert len(lost) <= (how == "inline")
    folder.finish()
