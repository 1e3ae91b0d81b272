"""A journal of format 4: values in rows, packs and files of their own."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from notebook_durable.model import Owner
from notebook_durable.stores.keys import Signer, load_key
from notebook_durable.stores.sqlite import SqliteStore

FIXTURE = Path(__file__).parent / "v4"


@pytest.fixture(scope="module")
def v4() -> ModuleType:
    """What the fixture is known to hold."""
    spec = importlib.util.spec_from_file_location("make_fixture_v4", FIXTURE / "make_fixture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def opened(fixture: Path, at: Path) -> SqliteStore:
    place = at / ".durable"
    shutil.copytree(fixture, place, ignore=shutil.ignore_patterns("*.py", "key", "__pycache__"))
    shutil.copy(fixture / "key", at / "key")
    (at / "key").chmod(0o600)
    return SqliteStore(place, Signer(load_key(at / "key")))


@pytest.fixture(params=["as it was", "made now"])
def store(request: pytest.FixtureRequest, tmp_path: Path, v4: ModuleType) -> Iterator[SqliteStore]:
    """The fixture, and what the script that made it makes today."""
    fixture = FIXTURE
    if request.param == "made now":
        fixture = tmp_path / "made"
        fixture.mkdir()
        v4.make(fixture)
    with closing(opened(fixture, tmp_path)) as store:
        yield store


def test_values(store: SqliteStore, v4: ModuleType) -> None:
    """Every entry says what was written, and every value comes back bit by bit, wherever it lies."""
    (info,) = store.runs()
    entries = store.read(info.id)
    assert [entry.blob.partition(":")[0] for entry in entries] == ["", "", "row", "pack", "pack", "blob", ""]
    for entry, one in zip(entries, v4.ENTRIES, strict=True):
        payload, size = one.payload if not entry.blob else None, entry.size
        assert entry == one._replace(payload=payload, buffers=(), blob=entry.blob, size=size)
        if one.payload is not None:
            value = store.payload(info.id, entry)
            assert (value.data, tuple(map(bytes, value.buffers))) == (one.payload, one.buffers)
            assert (size or len(one.payload)) == value.size
    (late,) = store.detached(info.id)
    value = store.payload(info.id, late)
    assert (value.data, tuple(map(bytes, value.buffers))) == (v4.DETACHED.payload, v4.DETACHED.buffers)
    assert list(store.verify()) == []


def test_goes_on(store: SqliteStore, v4: ModuleType) -> None:
    """It is claimed, written to and collected, and loses nothing."""
    claim = store.claim(v4.RUN, Owner(2, "a machine"), now=2000.0)
    store.record(claim, v4.ENTRIES[5]._replace(seq=6, name="more"))
    store.sweep()
    assert [store.payload(claim.id, entry).size for entry in store.entries(claim)] == [
        6, 4, 272, 70_018, 66_000, 110_012, 110_012,
    ]  # fmt: skip
    assert list(store.verify()) == []


def test_older_journals_become_newer(tmp_path: Path, v4: ModuleType) -> None:
    """A journal of format 1 takes values of any size, and keeps what it has."""
    place = tmp_path / ".durable"
    place.mkdir()
    shutil.copy(FIXTURE.parent / "v1" / "journal.db", place)
    with closing(SqliteStore(place, Signer((FIXTURE.parent / "v1" / "key").read_bytes()))) as store:
        old = {info.id: list(store.read(info.id)) for info in store.runs(archived=True)}
        claim = store.claim(v4.RUN, Owner(2, "a machine"), now=2000.0)
        for one in v4.ENTRIES[:6]:
            store.record(claim, one)
        assert [store.payload(claim.id, entry).data for entry in store.entries(claim)] == [
            one.payload for one in v4.ENTRIES[:6]
        ]
        assert {info_id: list(store.read(info_id)) for info_id in old} == old
        assert all(entry.intact for entries in old.values() for entry in entries)
        store.sweep()
        assert list(store.verify()) == []
