"""Every format that was ever released can be read: each version has a fixture that stays as it was written."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from notebook_durable.model import Outcome, RunId, RunStatus
from notebook_durable.stores.keys import Signer, load_key
from notebook_durable.stores.schema import FORMAT
from notebook_durable.stores.sqlite import SqliteStore

HERE = Path(__file__).parent
RUN = RunId("report", "2026-11-24")


@pytest.fixture(scope="module")
def v1() -> ModuleType:
    """What the fixture of version 1 is known to hold."""
    spec = importlib.util.spec_from_file_location("make_fixture_v1", HERE / "v1" / "make_fixture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A copy of the fixture, opened with the key that it was signed with."""
    place = tmp_path / ".durable"
    place.mkdir()
    shutil.copy(HERE / "v1" / "journal.db", place / "journal.db")
    shutil.copy(HERE / "v1" / "key", tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    with closing(SqliteStore(place, Signer(load_key(tmp_path / "key")))) as opened:
        yield opened


def test_every_format_has_a_fixture() -> None:
    """There is a fixture for each version up to this code's."""
    for version in range(1, FORMAT + 1):
        assert (HERE / f"v{version}" / "journal.db").stat().st_size < 100_000


def test_v1_entries(store: SqliteStore, v1: ModuleType) -> None:
    """Every entry of version 1 is intact and equal to what was written; so are its failed attempts."""
    run = store.runs("report")[0]
    assert list(store.read(run.id)) == v1.ENTRIES
    assert [attempt for entry in v1.ENTRIES for attempt in store.attempts(run.id, entry.seq)] == v1.ATTEMPTS


def test_v1_runs(store: SqliteStore, v1: ModuleType) -> None:
    """The runs of version 1 are listed as they were."""
    newest, archived = store.runs(archived=True)
    assert (newest.run, newest.number, newest.status, newest.executions) == (RUN, 2, RunStatus.RUNNING, 2)
    assert (newest.notebook, newest.owner, newest.created_at) == (v1.NOTEBOOK, None, 999.0)
    assert (archived.number, archived.archived, archived.status) == (1, True, RunStatus.COMPLETED)
    assert list(store.read(archived.id)) == v1.ENTRIES[:1]


def test_v1_goes_on(store: SqliteStore, v1: ModuleType) -> None:
    """A run of version 1 goes on with this code: claimed, its dead kernel noticed, added to, and read again."""
    claim = store.claim(RUN, v1.OWNER, now=2000.0, notebook=v1.NOTEBOOK)
    assert (claim.previous, claim.execution, claim.number) == (Outcome.KILLED, 3, 2)
    added: Any = v1.ENTRIES[0]._replace(seq=10, name="new")
    store.record(claim, added)
    assert list(store.entries(claim)) == [*v1.ENTRIES, added]


def test_v1_is_still_what_we_write(v1: ModuleType, tmp_path: Path) -> None:
    """The script that made the fixture still makes one that reads the same."""
    place = tmp_path / ".durable"
    place.mkdir()
    v1.make(place)
    (place / "key").rename(tmp_path / "key")
    with closing(SqliteStore(place, Signer(v1.KEY))) as made:
        assert list(made.read(made.runs()[0].id)) == v1.ENTRIES
