"""A journal of format 2 replays, by the fingerprints that were written into it, on every Python."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from contextlib import closing
from pathlib import Path

import pytest

from notebook_durable import durable
from notebook_durable.model import EntryStatus
from notebook_durable.stores.keys import Signer, load_key
from notebook_durable.stores.sqlite import SqliteStore

FIXTURE = Path(__file__).parent / "v2"


@pytest.fixture
def program(monkeypatch):
    """The program that was recorded, under the module name that it had then."""
    spec = importlib.util.spec_from_file_location("program", FIXTURE / "program.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "program", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / ".durable"
    folder.mkdir()
    shutil.copy(FIXTURE / "journal.db", folder)
    shutil.copy(FIXTURE / "key", tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    with closing(SqliteStore(folder, Signer(load_key(tmp_path / "key"), "the fixture's key"))) as opened:
        yield opened


def test_everything_replays(store, program):
    """Values, the failure, the input that was changed in place; nothing is called."""
    with durable("report", store=store) as ctx:
        loaded, prices, weights, squares = program.body(ctx)
    assert program.calls == []
    assert loaded == {"day": "2026-11-24", "region": "eu", "prices": [1.0, 2.5]}
    assert prices == [1.19, 2.97]
    assert weights == [0.5, 0.25, 0.75]
    assert squares == {0: 0, 1: 1, 2: 4}


def test_an_edit_of_a_global_runs_what_it_touches(store, program):
    """The rest replays."""
    program.RATE = 1.07
    with durable("report", store=store) as ctx:
        program.body(ctx)
    assert program.calls == ["price", "price"]


def test_what_it_holds(store):
    """Entries, texts and the order of the calls."""
    run = store.runs("report")[0]
    entries = store.read(run.id)
    assert [str(entry.key) for entry in entries] == [
        "load", "price", "price #2", "refuse", "tell", "fit", "squares",
    ]  # fmt: skip
    assert {entry.code.version for entry in entries} == {2}
    assert all(entry.intact for entry in entries)
    assert entries[3].status is EntryStatus.FAILED
    assert store.executions(run.id)[0].used == tuple(range(7))
