"""The contract of ``Store.record_many``, over every store: as ``record``, for several entries, all or none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notebook_durable.errors import RunTakenOverError, StoreError
from notebook_durable.model import Attempt, Entry, EntryStatus, Extra, Owner, RunId
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.sqlite import SqliteStore

RUN = RunId("etl", "monday")
ME = Owner(4711, "here", "boot", "start")


@pytest.fixture(params=["memory", "sqlite", "sqlite on a network"])
def store(request: pytest.FixtureRequest, tmp_path: Path, signer: Signer) -> Iterator[Any]:
    made: Any = MemoryStore()
    if request.param != "memory":
        made = SqliteStore(tmp_path / ".durable", signer, on_notice=lambda _: None, network="network" in request.param)
    yield made
    made.close()


@pytest.fixture
def claim(store: Any) -> Any:
    return store.claim(RUN, ME, now=1.0)


def done(seq: int, payload: bytes = b"1") -> Entry:
    return Entry(seq, "map", seq, EntryStatus.SUCCEEDED, 1, attempts=1, serializer="json", payload=payload)


def attempt(seq: int, number: int = 1) -> Attempt:
    return Attempt(seq, 0, number, 1.0, 2.0, {"type": "OSError", "message": "ü"}, 3.0)


def test_all_are_written_with_attempts_and_extras(store, claim):
    """What ``record`` writes for one entry is written for each."""
    store.begin(claim, done(1)._replace(status=EntryStatus.RUNNING))
    records = [(done(seq, str(seq).encode()), None, None) for seq in range(600)]
    records[1] = (records[1][0], attempt(1), Extra("preview", "outputs"))
    store.record_many(claim, records)
    assert [entry.payload for entry in store.read(claim.id)] == [str(seq).encode() for seq in range(600)]
    assert all(entry.intact and entry.status is EntryStatus.SUCCEEDED for entry in store.read(claim.id))
    assert [one.number for one in store.attempts(claim.id, 1)] == [1]
    assert store.extras(claim.id) == {1: Extra("preview", "outputs")}


def test_a_later_state_replaces_an_earlier_one(store, claim):
    """Also within one call; the extra of an earlier state doesn't outlive it."""
    store.record(claim, done(0), None, Extra("old"))
    running = done(0)._replace(status=EntryStatus.RUNNING, payload=None, serializer="")
    store.record_many(claim, [(running, attempt(0), None), (done(0, b"2"), None, None)])
    assert [entry.payload for entry in store.read(claim.id)] == [b"2"]
    assert store.extras(claim.id) == {}
    assert len(store.attempts(claim.id, 0)) == 1


def test_nothing_is_nothing(store, claim):
    """No records, no write."""
    store.record_many(claim, [])
    assert list(store.read(claim.id)) == []


def test_all_or_none(store, claim):
    """One entry that can't be written leaves the journal as it was."""
    with pytest.raises(StoreError):
        store.record_many(claim, [(done(0), None, None), (done(-1), None, None)])
    assert list(store.read(claim.id)) == []


def test_a_lost_claim_is_refused_and_nothing_is_lost(store, claim):
    """The entries are kept as detached ones; the journal doesn't change."""
    store.record(claim, done(0))
    if isinstance(store, MemoryStore):
        store._find(claim.id).epoch += 1
    else:
        store._db.full.execute("UPDATE runs SET epoch = epoch + 1")
    with pytest.raises(RunTakenOverError):
        store.record_many(claim, [(done(0, b"2"), None, None), (done(1), None, None)])
    assert [(entry.seq, entry.payload) for entry in store.read(claim.id)] == [(0, b"1")]
    assert [(entry.seq, entry.payload) for entry in store.detached(claim.id)] == [(0, b"2"), (1, b"1")]


def test_from_another_thread(store, claim):
    """It may be called beside the thread of the cell, which begins attempts meanwhile."""
    errors: list[BaseException] = []

    def write() -> None:
        try:
            for start in range(0, 200, 10):
                store.record_many(claim, [(done(seq), None, None) for seq in range(start, start + 10)])
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    for seq in range(200, 300):
        store.begin(claim, done(seq)._replace(status=EntryStatus.RUNNING))
    thread.join()
    assert errors == []
    found = store.read(claim.id)
    assert [entry.seq for entry in found] == list(range(300))
    assert sum(entry.status is EntryStatus.SUCCEEDED for entry in found) == 200


def test_another_process_can_read_it(store, claim, tmp_path, signer):
    """When it returns, whoever opens the journal finds all of it."""
    if isinstance(store, MemoryStore):
        pytest.skip("lives in its object")
    store.record_many(claim, [(done(seq), None, None) for seq in range(3)])
    other = SqliteStore(tmp_path / ".durable", signer, on_notice=lambda _: None)
    assert [entry.seq for entry in other.read(claim.id)] == [0, 1, 2]
    other.close()
