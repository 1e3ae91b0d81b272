"""A journal of format 1, as it was written once, replays in today's engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from notebook_durable import TerminalError, durable
from notebook_durable.stores.keys import Signer, load_key
from notebook_durable.stores.sqlite import SqliteStore

FIXTURE = Path(__file__).parent / "v1"


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / ".durable"
    folder.mkdir()
    shutil.copy(FIXTURE / "journal.db", folder)
    shutil.copy(FIXTURE / "key", tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    store = SqliteStore(folder, Signer(load_key(tmp_path / "key"), "the fixture's key"))
    yield store
    store.close()


def never(*args):
    raise AssertionError("a finished step was called")


def test_values_and_failures_replay_and_the_rest_goes_on(store):
    """What was finished is handed back without a call; the open and the interrupted step are run."""
    with durable("report", key="2026-11-24", store=store) as ctx:
        assert ctx.run("load", never) == {"rows": [1, 2.5, None]}
        assert ctx.run("load", never) == "🚀"
        with pytest.raises(TerminalError, match="no route to höst") as caught:
            ctx.run("charge 🚀", never)
        assert (caught.value.status_code, caught.value.metadata) == (409, {"order": "17"})
        assert [attempt["attempt"] for attempt in caught.value.history] == [2]
        assert ctx.run("refund", never) is True
        assert ctx.run("big", never) == [7] * 4001
        assert ctx.run("typo", lambda: "mended") == "mended"
        assert ctx.run("stopped", lambda: "went on") == "went on"
        assert ctx.run("open", lambda: "ran again") == "ran again"
        assert ctx.run("a lock", lambda: "ran again") == "ran again"
