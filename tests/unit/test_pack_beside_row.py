"""A middle-sized value and its row are waited for side by side: what a power cut or a failing disk may leave then."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from notebook_durable.errors import DamagedValueError, JournalUnwritableError, RunTakenOverError
from notebook_durable.model import Attempt, Claim, Entry, EntryStatus, Extra, Owner, RunId
from notebook_durable.stores import packs, syncing
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.sqlite import SqliteStore

RUN, ME = RunId("etl"), Owner(os.getpid(), "here", "boot", "start")
SIZE = 300_000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / ".durable"


@pytest.fixture
def make(place: Path, signer: Signer) -> Iterator[Callable[[], SqliteStore]]:
    stores: list[SqliteStore] = []

    def build() -> SqliteStore:
        stores.append(SqliteStore(place, signer))
        return stores[-1]

    yield build
    for store in stores:
        store.close()


@pytest.fixture
def store(make: Callable[[], SqliteStore]) -> SqliteStore:
    return make()


@pytest.fixture
def claim(store: SqliteStore) -> Claim:
    return store.claim(RUN, ME, now=1.0)


def begun(seq: int, *, once: bool = False) -> Entry:
    return Entry(seq, f"step {seq}", 0, EntryStatus.RUNNING, attempts=1, at_most_once=once)


def done(seq: int, *, once: bool = False) -> Entry:
    buffers = (bytes([65 + seq]) * SIZE,)
    return begun(seq, once=once)._replace(
        status=EntryStatus.SUCCEEDED, serializer="dill", payload=b"data", buffers=buffers
    )


def intact(store: SqliteStore, claim: Claim, seq: int) -> bool:
    (found,) = store.read(claim.id, [seq])
    (buffer,) = store.payload(claim.id, found).buffers
    return bytes(buffer) == done(seq).buffers[0]


def order(monkeypatch: pytest.MonkeyPatch, store: SqliteStore) -> list[str]:
    """Note when the pack is on the disk, and when the row is written."""
    said: list[str] = []
    sync, put = packs.sync_data, store._put

    def slow(descriptor: int) -> None:
        written.wait(30)
        sync(descriptor)
        said.append("pack")

    def noted(*given: Any, **named: Any) -> bool:
        result = put(*given, **named)
        if given[0][3] == "succeeded":
            said.append("row")
            written.set()
        return result

    written = threading.Event()
    monkeypatch.setattr(packs, "sync_data", slow)
    monkeypatch.setattr(store, "_put", noted)
    return said


def test_returns_when_both_are_on_the_disk(store: SqliteStore, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the disk is with the pack, ``record`` doesn't return before."""
    said = order(monkeypatch, store)
    store.begin(claim, begun(0))
    store.record(claim, done(0))
    assert said == ["row", "pack"]
    assert intact(store, claim, 0)


@pytest.mark.parametrize("why", ["at most once", "not begun", "failed attempt"])
def test_one_after_the_other(store: SqliteStore, claim: Claim, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """A step that must not run twice, and a row that can't be put back, are written after the value is on the disk."""
    said: list[str] = []
    sync, transaction = packs.sync_data, store._transaction
    monkeypatch.setattr(packs, "sync_data", lambda given: (sync(given), said.append("pack")))
    once = why == "at most once"
    if why != "not begun":
        store.begin(claim, begun(0, once=once), wait=once)
    attempt = Attempt(0, 0, 1, 1.0, 0.1, {"type": "E", "message": ""}) if why == "failed attempt" else None
    put = store._put
    monkeypatch.setattr(store, "_put", lambda *given, **named: (said.append("row"), put(*given, **named))[1])
    monkeypatch.setattr(store, "_transaction", lambda: (said.append("row"), transaction())[1])
    store.record(claim, done(0, once=once), attempt)
    assert said[0] == "pack"
    assert "row" in said
    assert intact(store, claim, 0)


@pytest.mark.parametrize("lost", ["zeros", "a block", "cut off", "the file"])
def test_power_cut_between(store: SqliteStore, claim: Claim, place: Path, make: Any, lost: str) -> None:
    """The row reached the disk and the value didn't: it is never returned, and the entry can be recorded anew."""
    store.record(claim, done(0))
    store.begin(claim, begun(1))
    store.record(claim, done(1))
    store.close()
    (pack,) = (place / "packs").iterdir()
    end = pack.stat().st_size
    with pack.open("r+b") as file:  # as ext4 leaves it: blocks that were never written read as zeros
        if lost == "zeros":
            file.seek(end - SIZE)
            file.write(bytes(SIZE))
        elif lost == "a block":
            file.seek(end - SIZE // 2)
            file.write(bytes(512))
        elif lost == "cut off":
            file.truncate(end - SIZE // 2)
    if lost == "the file":
        pack.unlink()
    again = make()
    newer = again.claim(RUN, ME, now=2.0)
    first, second = again.entries(newer)
    assert (second.status, second.intact) == (EntryStatus.SUCCEEDED, True)
    with pytest.raises(DamagedValueError):
        again.payload(newer.id, second)
    if lost != "the file":
        assert intact(again, newer, first.seq)
    again.begin(newer, begun(1))
    again.record(newer, done(1))
    assert intact(again, newer, 1)


@pytest.mark.parametrize("extra", [None, Extra('{"preview": 1}')])
def test_disk_fails(
    store: SqliteStore, claim: Claim, place: Path, make: Any, monkeypatch: pytest.MonkeyPatch, extra: Extra | None
) -> None:
    """If the value can't be written, the row that was written beside it is taken back, and it can be tried again."""
    store.begin(claim, begun(0))

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(packs, "sync_data", fail)
        with pytest.raises(JournalUnwritableError, match="put/output"):
            store.record(claim, done(0), None, extra)
    assert list(make().read(claim.id)) == [begun(0)]
    assert not store.extras(claim.id)
    assert list((place / "packs").iterdir()) == []
    store.record(claim, done(0), None, extra)
    assert intact(store, claim, 0)
    assert bool(store.extras(claim.id)) == bool(extra)


@contextmanager
def translated(fail: Callable[[], Any]) -> Iterator[None]:
    try:
        yield fail()
    except OSError as error:
        raise JournalUnwritableError("journal.db", str(error)) from error


def test_disk_fails_for_good(store: SqliteStore, claim: Claim, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the row can't be taken back either, its value isn't believed."""
    store.begin(claim, begun(0))

    def fail(*_: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(packs, "sync_data", fail)
    monkeypatch.setattr(store, "_transaction", lambda: translated(fail))
    with pytest.raises(JournalUnwritableError):
        store.record(claim, done(0))
    (found,) = make().read(claim.id)
    assert found.status is EntryStatus.SUCCEEDED
    with pytest.raises(DamagedValueError):
        make().payload(claim.id, found)


def test_taken_over(store: SqliteStore, claim: Claim, make: Any) -> None:
    """What comes too late is set aside with its value."""
    store.begin(claim, begun(0))
    with closing(sqlite3.connect(store._file)) as other, other:
        other.execute("UPDATE runs SET epoch = epoch + 1")
    with pytest.raises(RunTakenOverError):
        store.record(claim, done(0))
    (late,) = make().detached(claim.id)
    (buffer,) = make().payload(claim.id, late).buffers
    assert bytes(buffer) == done(0).buffers[0]


def test_interrupted_wait(store: SqliteStore, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop in the middle of the wait takes the row back; the thread is still of use."""
    store.begin(claim, begun(0))
    waiting = store._kept.blobs._pack._waiting
    result = waiting.result

    def interrupted() -> None:
        monkeypatch.setattr(waiting, "result", result)
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.record(claim, done(0))
    assert list(store.read(claim.id)) == [begun(0)]
    store.begin(claim, begun(0))
    store.record(claim, done(0))
    assert intact(store, claim, 0)


class TestWaiting:
    def test_error_is_raised_where_it_is_waited_for(self) -> None:
        """What fails in the thread is raised by ``result``, once; then it works again."""
        waiting, seen = syncing.Waiting(), []

        def fail(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        waiting.result()
        waiting.start(fail, 1)
        with pytest.raises(OSError, match="Input/output"):
            waiting.result()
        waiting.start(seen.append, 2)
        waiting.result()
        assert seen == [2]

    def test_no_thread_can_be_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """When the interpreter ends, the caller waits itself."""

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        waiting, seen = syncing.Waiting(), []
        waiting.start(seen.append, 3)
        waiting.result()
        assert seen == [3]

    def test_thread_ends_with_its_object(self) -> None:
        """Nothing is left of it."""
        waiting, threads = syncing.Waiting(), []
        waiting.start(lambda _: threads.append(threading.current_thread()), 1)
        waiting.result()
        gone = weakref.ref(waiting)
        del waiting
        assert gone() is None
        threads[0].join(30)
        assert not threads[0].is_alive()


def test_child_doesnt_cut_the_pack(store: SqliteStore, claim: Claim, place: Path) -> None:
    """A forked child that closes the store leaves the pack alone, to which its parent goes on writing."""
    store.record(claim, done(0))
    (pack,) = (place / "packs").iterdir()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.read(read, 1)
        store._kept.close()
        os._exit(0)
    store.record(claim, done(1))
    os.write(write, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(read)
    os.close(write)
    assert pack.stat().st_size > 2 * SIZE
    assert intact(store, claim, 1)
