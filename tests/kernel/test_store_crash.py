"""The SQLite store and the death of real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from notebook_durable.errors import RunBusyError
from notebook_durable.model import EntryStatus, Outcome, Owner, RunId
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.wiring import this_process

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
RUN = RunId("wf", "🚀")

_PRELUDE = """
    import os, sys, time
    from pathlib import Path
    from notebook_durable.model import *
    from notebook_durable.stores.keys import Signer
    from notebook_durable.stores.sqlite import SqliteStore
    from notebook_durable.wiring import this_process

    def say(text):
        os.write(1, (text + "\\n").encode())

    store = SqliteStore(Path(sys.argv[1]), Signer(b"k" * 32))
    claim = store.claim(RunId("wf", "🚀"), this_process(), now=1234.5)
"""

_WRITER = """
    n = len(store.entries(claim))
    say("ready")
    while True:
        entry = Entry(n, f"step {n}", 0, EntryStatus.RUNNING, claim.execution, 0, 1, 0.0, float(n))
        store.begin(claim, entry)
        say(f"begun {n}")
        store.record(claim, entry._replace(status=EntryStatus.SUCCEEDED, serializer="json", payload=b"%d" % n * 50))
        say(f"recorded {n}")
        n += 1
"""

_HOLDER = """
    say(str(os.getpid()))
    sys.stdin.read()
"""

_FORKING_HOLDER = """
    child = os.fork()
    if child == 0:
        say(f"child {os.getpid()}")
        while True:
            time.sleep(3600)
    sys.stdin.read()
"""


@contextmanager
def process(place: Path, body: str) -> Iterator[subprocess.Popen[bytes]]:
    code = textwrap.dedent(_PRELUDE) + textwrap.dedent(body)
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            assert stream is not None
            stream.close()


def line(child: subprocess.Popen[bytes]) -> str:
    assert child.stdout is not None
    text = child.stdout.readline().decode().strip()
    assert text, "the process ended"
    return text


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / ".durable"


@pytest.fixture
def opened(place: Path, signer: Signer) -> Iterator[Any]:
    stores: list[SqliteStore] = []

    def build() -> SqliteStore:
        stores.append(SqliteStore(place, signer))
        return stores[-1]

    yield build
    for store in stores:
        store.close()


def test_acknowledged_writes_survive(place: Path, opened: Any) -> None:
    """Whatever moment a writer is killed at, all that it was told is recorded is there, whole, and at most one more."""
    randomness = random.Random(20261124)
    acknowledged: set[int] = set()
    started: set[int] = set()
    for kill in range(12):
        with process(place, _WRITER) as child:
            assert line(child) == "ready"
            told = [line(child) for _ in range(randomness.randrange(1, 120))]
            # Not at a line's end: let it run on for a while.
            for _ in range(randomness.randrange(20_000)):
                pass
            os.kill(child.pid, signal.SIGKILL)
            # Not communicate(): it forgets what readline has buffered.
            assert child.stdout is not None
            told += child.stdout.read().decode().split("\n")
        acknowledged |= {int(text.split()[1]) for text in told if text.startswith("recorded ")}
        started |= {int(text.split()[1]) for text in told if text.startswith("begun ")}
        store = opened()
        claim = store.claim(RUN, this_process(), now=1.0)
        assert claim.previous is Outcome.KILLED
        assert claim.execution == 2 * kill + 2
        entries = store.entries(claim)
        assert [entry.seq for entry in entries] == list(range(len(entries)))
        assert all(entry.intact for entry in entries)
        done = [entry for entry in entries if entry.status is EntryStatus.SUCCEEDED]
        assert all(entry.payload == b"%d" % entry.seq * 50 and entry.name == f"step {entry.seq}" for entry in done)
        # The writer goes on after the entries that it finds, so an entry that was open stays open: count those done.
        finished = {entry.seq for entry in done}
        assert acknowledged <= finished
        assert len(finished - acknowledged) <= kill + 1
        assert started <= {entry.seq for entry in entries}
        store.close()


def test_second_process_is_refused(place: Path, opened: Any) -> None:
    """A second process is told who holds the run and since when; a third run is free."""
    with process(place, _HOLDER) as child:
        pid = int(line(child))
        store = opened()
        with pytest.raises(RunBusyError) as caught:
            store.claim(RUN, this_process(), now=2000.0)
        assert (caught.value.pid, caught.value.host, caught.value.since) == (pid, this_process().host, 1234.5)
        with pytest.raises(RunBusyError):
            store.amend(1, [])
        (info,) = store.runs()
        assert info.owner is not None
        assert info.owner.pid == pid
        assert store.claim(RunId("wf"), this_process(), now=2000.0).number == 1


def test_killed_owner_does_not_block(place: Path, opened: Any) -> None:
    """The moment its owner is dead, a run can be claimed, and its execution was killed."""
    with process(place, _HOLDER) as child:
        line(child)
        child.kill()
        child.wait()
        store = opened()
        assert store.runs()[0].owner is None
        claim = store.claim(RUN, this_process(), now=2000.0)
        assert (claim.previous, claim.execution, claim.number) == (Outcome.KILLED, 2, 1)


def test_forked_child_does_not_keep_the_run(place: Path, opened: Any) -> None:
    """A worker that a step forked and that outlives its kernel doesn't hold the run."""
    with process(place, _FORKING_HOLDER) as child:
        grandchild = int(line(child).split()[1])
        try:
            store = opened()
            with pytest.raises(RunBusyError):
                store.claim(RUN, this_process(), now=2000.0)
            child.kill()
            child.wait()
            os.kill(grandchild, 0)
            assert store.claim(RUN, this_process(), now=2000.0).previous is Outcome.KILLED
        finally:
            os.kill(grandchild, signal.SIGKILL)


def test_many_processes_make_one_journal(place: Path, opened: Any) -> None:
    """Processes that make the journal at the same time get one and the same, and one of them gets the run."""
    code = textwrap.dedent(_PRELUDE).replace("store = SqliteStore", "sys.stdin.readline()\nstore = SqliteStore", 1)
    code = code.replace("claim = store.claim", "claim = None\ntry: claim = store.claim", 1)
    code += textwrap.dedent("""
        except Exception as error: say(type(error).__name__)
        say("claimed" if claim else "refused")
        sys.stdin.read()
    """)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(5)
    ]
    try:
        for child in children:
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
        answers = [[line(child)] for child in children]
        for answer, child in zip(answers, children, strict=True):
            if answer[0] != "claimed":
                answer.append(line(child))
        assert sorted(map(json.dumps, answers)) == sorted(
            [json.dumps(["claimed"])] + [json.dumps(["RunBusyError", "refused"])] * 4
        )
        assert len(opened().runs()) == 1
        assert not list(place.glob("*.new"))
    finally:
        for child in children:
            child.kill()
            child.communicate()


def test_kernels_write_side_by_side(place: Path, opened: Any) -> None:
    """Two kernels that work on two runs of one journal don't lose or mix anything."""
    body = """
        claim = store.claim(RunId("own", str(os.getpid())), this_process(), now=1.0)
        for n in range(150):
            entry = Entry(n, f"step {n}", 0, EntryStatus.RUNNING)
            store.begin(claim, entry)
            store.record(claim, entry._replace(status=EntryStatus.SUCCEEDED, payload=b"%d %d" % (os.getpid(), n)))
        say("done")
    """
    code = textwrap.dedent(_PRELUDE).rsplit("claim = ", 1)[0] + textwrap.dedent(body)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(place)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(3)
    ]
    assert [child.communicate()[0].strip() for child in children] == [b"done"] * 3
    store = opened()
    for info in store.runs("own"):
        payloads = [entry.payload for entry in store.read(info.id) if entry.intact]
        assert payloads == [f"{info.run.key} {n}".encode() for n in range(150)]
    assert {int(info.run.key) for info in store.runs("own")} == {child.pid for child in children}


def test_owner_of_another_start_of_the_host(place: Path, opened: Any) -> None:
    """An owner from before the host's last start is dead, though its pid is in use again."""
    store = opened()
    me = this_process()
    store.release(store.claim(RUN, Owner(os.getppid(), me.host, "an earlier boot", "x"), now=1.0))
    assert store.claim(RUN, me, now=2.0).previous is Outcome.KILLED
