"""A journal of format 3: answers, sleeps and what is kept for people."""

from __future__ import annotations

import importlib.util
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from notebook_durable import durable
from notebook_durable.model import Ask, EntryStatus
from notebook_durable.parts import parts_from
from notebook_durable.question import question_from
from notebook_durable.stores.keys import Signer, load_key
from notebook_durable.stores.sqlite import SqliteStore

FIXTURE = Path(__file__).parent / "v3"


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / ".durable"
    folder.mkdir()
    shutil.copy(FIXTURE / "journal.db", folder)
    shutil.copy(FIXTURE / "key", tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    with closing(SqliteStore(folder, Signer(load_key(tmp_path / "key"), "the fixture's key"))) as opened:
        yield opened


def test_everything_replays(store, monkeypatch):
    """Nobody is asked again, and nothing is slept: a wait would hang this test."""
    import sys

    spec = importlib.util.spec_from_file_location("program", FIXTURE / "program.py")
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "program", program)
    spec.loader.exec_module(program)
    with durable("report", store=store) as ctx:
        assert program.body(ctx) == ("yes", {"amount": 2.0, "to": "you"}, {1: 3.5})
    assert {entry.execution for entry in store.read(store.runs("report")[0].id)} == {1}


def test_what_it_holds(store):
    """Entries, questions, extras and a message."""
    run = store.runs("report")[0]
    entries = store.read(run.id)
    assert [entry.name for entry in entries] == ["publish?", "how", "sleep", "total"]
    assert all(entry.intact and entry.status is EntryStatus.SUCCEEDED for entry in entries)
    parts = [parts_from(entry.code.inputs) for entry in entries]
    assert question_from(parts[0].asks).choices == ("yes", "no")
    assert question_from(parts[1].asks).form == {"amount": 1.0, "to": ["me", "you"]}
    assert parts[2].sleeps == 60.0
    (extra,) = store.extras(run.id).values()
    assert "3.5" in extra.preview
    assert "adding" in extra.outputs
    (message,) = store.inbox(run.id)
    assert (message.ask, message.text) == (Ask.STOP, "left over")
