"""Large values and the death of real processes: what was acknowledged is there, what is left over is collected."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from notebook_durable.model import Entry, EntryStatus, Outcome, RunId
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.wiring import this_process

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
RUN = RunId("wf")

_PRELUDE = """
    import os, signal, sys
    from pathlib import Path
    from notebook_durable.model import *
    from notebook_durable.stores import blob_file, packs, syncing
    from notebook_durable.stores.keys import Signer
    from notebook_durable.stores.sqlite import SqliteStore
    from notebook_durable.wiring import this_process

    def say(text):
        os.write(1, (text + "\\n").encode())

    def die(*given, **named):
        os.kill(os.getpid(), signal.SIGKILL)

    def value(seq, size):
        started = Entry(seq, f"step {seq}", 0, EntryStatus.RUNNING)
        return started._replace(
            status=EntryStatus.SUCCEEDED, serializer="dill", payload=b"%d" % seq, buffers=(bytes([seq % 256]) * size,)
        )

    store = SqliteStore(Path(sys.argv[1]), Signer(b"k" * 32))
"""

_DIE_AT = """
    claim = store.claim(RunId("wf"), this_process(), now=1.0)
    size, point = int(sys.argv[2]), sys.argv[3]
    store.record(claim, value(0, size))
    store.begin(claim, Entry(1, "step 1", 0, EntryStatus.RUNNING))
    say("ready")
    if point == "in the write":
        pwrite, calls = os.pwritev, []
        syncing._CHUNK = syncing._SMALL_CHUNK = 1 << 14
        syncing.os.pwritev = lambda *given: die() if len(calls) == 3 else (calls.append(1), pwrite(*given))[1]
    elif point == "before the sync":
        blob_file.sync_file = packs.sync_data = die
    elif point == "before the rename":
        Path.replace = die
    elif point == "after the rename":
        replace, sync_data = Path.replace, packs.sync_data
        Path.replace = lambda *given: (replace(*given), die())
        packs.sync_data = lambda *given: (sync_data(*given), die())
    elif point == "before the commit":
        store._put = die
    elif point == "after the commit":
        put = store._put
        store._put = lambda *given, **named: (put(*given, **named), die())
    store.record(claim, value(1, size))
    say("survived")
"""

_WRITER = """
    claim = store.claim(RunId("wf"), this_process(), now=1.0)
    seq = len(store.entries(claim))
    say("ready")
    while True:
        sizes = (100, 80_000, 600_000, 4_500_000)
        store.record(claim, value(seq, sizes[seq % 4] + seq))
        say(f"recorded {seq}")
        seq += 1
"""

_RUNS_WRITER = """
    claim = store.claim(RunId("own", str(os.getpid())), this_process(), now=1.0)
    for seq in range(40):
        sizes = (100, 80_000, 600_000, 4_500_000)
        store.record(claim, value(seq % 20, sizes[seq % 4] + seq % 20))
        if seq % 8 == 7:
            for entry in store.entries(claim):
                assert store.payload(claim.id, entry).buffers[0][:1] == bytes([entry.seq])
    say("done")
"""

_COLLECTOR = """
    say("ready")
    count = 0
    while not Path(sys.argv[2]).exists():
        store.sweep()
        count += 1
    say(f"swept {count}")
"""


@contextmanager
def process(body: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_PRELUDE) + textwrap.dedent(body), *map(str, arguments)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def line(child: subprocess.Popen[bytes]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().decode().strip()


def check(store: SqliteStore, run_id: int, entry: Entry, size: int) -> None:
    payload = store.payload(run_id, entry)
    (buffer,) = payload.buffers
    assert (payload.data, len(buffer), set(bytes(buffer))) == (b"%d" % entry.seq, size, {entry.seq % 256})


def litter(place: Path) -> list[Path]:
    return [path for name in ("blobs", "packs") for path in (place / name).glob("*")]


POINTS = ["in the write", "before the sync", "after the rename", "before the commit", "after the commit"]
#: A pack isn't renamed.
MOMENTS = [(size, point) for point in POINTS for size in (100_000, 5_000_000)] + [(5_000_000, "before the rename")]


@pytest.mark.parametrize(("size", "point"), MOMENTS)
def test_killed_at(tmp_path: Path, signer: Signer, size: int, point: str) -> None:
    """Killed anywhere while a value is written: the value is there whole, or not at all, and what was before is."""
    place = tmp_path / ".durable"
    with process(_DIE_AT, place, size, point) as child:
        assert line(child) == "ready"
        assert line(child) == ""
        assert child.wait() == -signal.SIGKILL
    with closing(SqliteStore(place, signer)) as store:
        claim = store.claim(RUN, this_process(), now=2.0)
        assert claim.previous is Outcome.KILLED
        first, second = store.entries(claim)
        check(store, claim.id, first, size)
        # A pack is waited for beside its row, which may have been written already: then what lies in the pack is whole.
        beside = size < 1 << 20 and point in ("before the sync", "after the rename")
        if point == "after the commit" or (beside and second.status is EntryStatus.SUCCEEDED):
            check(store, claim.id, second, size)
        else:
            assert (second.status, second.blob, second.intact) == (EntryStatus.RUNNING, "", True)
        store.sweep()
        assert list(store.verify()) == []
        assert len(litter(place)) == (2 if point == "after the commit" and size > 1 << 20 else 1)
        # Goes on where it was.
        store.record(claim, second._replace(payload=b"1", buffers=(b"\1" * size,), serializer="dill"))
        for entry in store.entries(claim):
            check(store, claim.id, entry, size)


def test_acknowledged_values_survive(tmp_path: Path, signer: Signer) -> None:
    """Whatever moment a writer is killed at: every value that it was told is recorded is there, bit by bit."""
    place, randomness, acknowledged = tmp_path / ".durable", random.Random(20261124), set()
    for _ in range(8):
        with process(_WRITER, place) as child:
            assert line(child) == "ready"
            told = [line(child) for _ in range(randomness.randrange(1, 25))]
            for _ in range(randomness.randrange(100_000)):
                pass  # not at a line's end
            os.kill(child.pid, signal.SIGKILL)
            assert child.stdout is not None
            told += child.stdout.read().decode().split("\n")
        acknowledged |= {int(text.split()[1]) for text in told if text.startswith("recorded ")}
    with closing(SqliteStore(place, signer)) as store:
        claim = store.claim(RUN, this_process(), now=2.0)
        entries = store.entries(claim)
        assert acknowledged <= {entry.seq for entry in entries}
        for entry in entries:
            check(store, claim.id, entry, (100, 80_000, 600_000, 4_500_000)[entry.seq % 4] + entry.seq)
        store.sweep()
        assert {problem.kind for problem in store.verify()} == set()
        assert not list(place.glob("blobs/*.tmp"))


def test_collecting_beside_writers(tmp_path: Path, signer: Signer) -> None:
    """While one process collects without end, two others write and read: no value is lost, and nothing is left over."""
    place, stop = tmp_path / ".durable", tmp_path / "stop"
    with process(_COLLECTOR, place, stop) as collector:
        assert line(collector) == "ready"
        with process(_RUNS_WRITER, place) as one, process(_RUNS_WRITER, place) as two:
            assert [line(one), line(two)] == ["done", "done"]
        stop.touch()
        assert int(line(collector).split()[1]) > 1
    with closing(SqliteStore(place, signer)) as store:
        runs = store.runs("own")
        assert len(runs) == 2
        for info in runs:
            entries = store.read(info.id)
            assert [entry.seq for entry in entries] == list(range(20))
            for entry in entries:
                check(store, info.id, entry, (100, 80_000, 600_000, 4_500_000)[entry.seq % 4] + entry.seq)
        store.sweep()
        assert list(store.verify()) == []
        assert len(list(place.glob("blobs/*"))) == 5


def test_killed_while_it_collects(tmp_path: Path, signer: Signer) -> None:
    """A collector that is killed frees its lock, and takes nothing that is needed."""
    place = tmp_path / ".durable"
    with closing(SqliteStore(place, signer)) as store:
        claim = store.claim(RUN, this_process(), now=1.0)
        for round_ in range(3):
            with process(_COLLECTOR, place, tmp_path / "never") as collector:
                assert line(collector) == "ready"
                for seq in range(4):
                    size = 5_000_000 + round_
                    started = Entry(seq, "x", 0, EntryStatus.SUCCEEDED, serializer="dill", payload=b"%d" % seq)
                    store.record(claim, started._replace(buffers=(bytes([seq]) * size,)))
                collector.kill()
                collector.wait()
            for entry in store.entries(claim):
                check(store, claim.id, entry, 5_000_000 + round_)


def test_memory_while_saving(tmp_path: Path) -> None:
    """Saving a value takes no memory beyond the value itself: at most 64 MB, here of 300."""
    body = """
        import resource
        claim = store.claim(RunId("wf"), this_process(), now=1.0)
        store.record(claim, value(0, 5_000_000))
        buffer = bytearray(300_000_000)
        buffer[::4096] = b"x" * len(buffer[::4096])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        store.record(claim, value(1, 1)._replace(buffers=(buffer,)))
        say(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
    """
    with process(body, tmp_path / ".durable") as child:
        assert int(line(child)) < 64 << 10
