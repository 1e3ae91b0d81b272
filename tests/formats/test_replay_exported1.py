"""A run that was exported once, in version 1, is imported and replays; so do runs of journals of every format."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from notebook_durable import durable
from notebook_durable.model import Ask
from notebook_durable.stores.keys import Signer, load_key
from notebook_durable.stores.sqlite import SqliteStore

HERE = Path(__file__).parent
FIXTURE = HERE / "exported1"


def signer(tmp_path: Path, fixture: Path) -> Signer:
    shutil.copy(fixture / "key", tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    return Signer(load_key(tmp_path / "key"), "the fixture's key")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / ".durable", signer(tmp_path, FIXTURE))) as opened:
        yield opened


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("program", FIXTURE / "program.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "program", found)
    spec.loader.exec_module(found)
    return found


def test_everything_replays(store: SqliteStore, program: ModuleType) -> None:
    """Signed by its key, it is believed, and no step is called."""
    taken = store.adopt(FIXTURE / "run.zip", now=2e9)
    assert (str(taken.run), taken.signed, taken.entries) == ("report[monday]", True, 6)
    (message,) = store.inbox(taken.run_id)
    assert (message.seq, message.ask, message.text) == (9, Ask.ANSWER, "why")
    with durable("report", key="monday", store=store) as ctx:
        assert program.body(ctx) == ([10, 70_000, 409, "KeyError"], [0, 1, 4])
    assert {entry.execution for entry in store.read(taken.run_id)} == {1}
    assert list(store.verify()) == []


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_journals_of_older_formats(tmp_path: Path, version: str) -> None:
    """Their rows travel as today's do."""
    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(HERE / version / "journal.db", old)
    with (
        closing(SqliteStore(old, signer(tmp_path, HERE / version))) as one,
        closing(SqliteStore(tmp_path / "new", signer(tmp_path, HERE / version))) as two,
    ):
        runs = one.runs()
        assert runs
        for run in runs:
            one.export(run.id, tmp_path / f"{run.id}.zip", now=1.0)
            taken = two.adopt(tmp_path / f"{run.id}.zip", now=2.0)
            before = [entry._replace(size=entry.value_size) for entry in one.read(run.id)]
            after = [entry._replace(size=entry.value_size) for entry in two.read(taken.run_id)]
            assert after == before
            assert two.extras(taken.run_id) == one.extras(run.id)
        assert list(two.verify()) == []
