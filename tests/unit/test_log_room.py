"""The room that is made in SQLite's log: it holds nothing, takes nothing from anybody, and can't fail a step."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from notebook_durable.model import Claim, Entry, EntryStatus, Owner, RunId
from notebook_durable.stores import log_room
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.log_room import make_room
from notebook_durable.stores.sqlite import SqliteStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there it is made")

RUN, ME = RunId("etl"), Owner(os.getpid(), "here", "boot", "start")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / ".durable"


@pytest.fixture
def log(place: Path) -> Path:
    return place / "journal.db-wal"


@pytest.fixture
def store(place: Path, signer: Signer) -> Iterator[SqliteStore]:
    with closing(SqliteStore(place, signer)) as made:
        yield made


@pytest.fixture
def claim(store: SqliteStore) -> Claim:
    return store.claim(RUN, ME, now=1.0)


def record(store: SqliteStore, claim: Claim, *seqs: int) -> None:
    for seq in seqs:
        store.record(claim, Entry(seq, "s", seq, EntryStatus.SUCCEEDED, payload=b"%d" % seq))


def test_made_after_some_steps(store: SqliteStore, claim: Claim, log: Path) -> None:
    """A run of some steps gets it, once; one of few doesn't."""
    record(store, claim, *range(7))
    assert log.stat().st_size < 1 << 20
    record(store, claim, 7)
    size = log.stat().st_size
    assert size == log_room._LENGTH
    record(store, claim, *range(8, 200))
    assert log.stat().st_size == size


@pytest.mark.parametrize("count", [7, 8, 9, 600])
def test_power_cut(store: SqliteStore, claim: Claim, place: Path, tmp_path: Path, signer: Signer, count: int) -> None:
    """What is in the log before and in the room is found by whoever opens the files as they lie."""
    record(store, claim, *range(count))
    shutil.copytree(place, tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
    with closing(SqliteStore(tmp_path / "copy", signer)) as again:
        entries = again.entries(again.claim(RUN, ME, now=2.0))
        assert [(entry.payload, entry.intact) for entry in entries] == [(b"%d" % seq, True) for seq in range(count)]


def test_cut_off_in_the_middle(
    store: SqliteStore, claim: Claim, place: Path, log: Path, tmp_path: Path, signer: Signer
) -> None:
    """A kernel that dies while it makes room leaves a log that is as good."""
    record(store, claim, *range(8))
    shutil.copytree(place, tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
    os.truncate(tmp_path / "copy" / log.name, 1_234_567)
    with closing(SqliteStore(tmp_path / "copy", signer)) as again:
        newer = again.claim(RUN, ME, now=2.0)
        assert len(again.entries(newer)) == 8
        record(again, newer, *range(8, 20))
        assert len(again.entries(newer)) == 20


def test_beside_another_writer(store: SqliteStore, claim: Claim, place: Path, log: Path, signer: Signer) -> None:
    """What others write at the same time stays: room is made behind it, and while nobody can write."""
    with closing(SqliteStore(place, signer)) as other:
        theirs = other.claim(RunId("theirs"), ME, now=1.0)
        for seq in range(30):
            record(other, theirs, seq)
            record(store, claim, seq)
        assert log.stat().st_size == log_room._LENGTH
        assert [entry.intact for entry in other.entries(theirs)] == [True] * 30
        assert [entry.intact for entry in store.entries(claim)] == [True] * 30


def test_while_another_writes(place: Path, store: SqliteStore, log: Path) -> None:
    """Nothing is written while somebody else has the write lock."""
    with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = log.stat().st_size
        store._db.full.execute("PRAGMA busy_timeout = 0")
        make_room(store._db.full, place / "journal.db")
        assert log.stat().st_size == before
        other.execute("ROLLBACK")
    make_room(store._db.full, place / "journal.db")
    assert log.stat().st_size == log_room._LENGTH


def test_full_disk(store: SqliteStore, claim: Claim, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which there is no room fails no step, and the log is as long as it was."""
    pwrite, written = os.pwrite, []

    def fail(descriptor: int, data: bytes, offset: int) -> Any:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(offset)
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(log_room.os, "pwrite", fail)
    record(store, claim, *range(20))
    assert written
    assert log.stat().st_size < 1 << 20
    assert len(store.entries(claim)) == 20


def test_little_space(store: SqliteStore, claim: Claim, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where little is free, nothing is taken."""
    monkeypatch.setattr(log_room, "free_space", lambda _: 10 << 20)
    record(store, claim, *range(20))
    assert log.stat().st_size < 1 << 20


def test_not_through_a_link(store: SqliteStore, log: Path, tmp_path: Path) -> None:
    """A link in the place of the log isn't followed."""
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    moved = log.rename(tmp_path / "log")
    log.symlink_to(target)
    make_room(store._db.full, log.with_name("journal.db"))
    assert target.read_bytes() == b"mine"
    log.unlink()
    moved.rename(log)


def test_no_log(place: Path, signer: Signer) -> None:
    """A journal without WAL gets none."""
    with closing(SqliteStore(place, signer, network=True)) as store:
        record(store, store.claim(RUN, ME, now=1.0), *range(20))
        assert not list(place.glob("*-wal"))
