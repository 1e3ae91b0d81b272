"""A lost or moved key is told apart from a stranger's, by what this user has used; and that only chooses words."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_durable.cli.app import main
from notebook_durable.errors import UntrustedJournalError
from notebook_durable.model import Owner, RunId
from notebook_durable.stores import known_keys
from notebook_durable.stores.keys import Signer, load_key
from notebook_durable.stores.known_keys import known_at, record_path, remember, whose
from notebook_durable.view import journal
from notebook_durable.wiring import Settings, open_store

ME = Owner(os.getpid(), "here")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's Jupyter folder and working folder; keys in temporary folders count here."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.delenv("NOTEBOOK_DURABLE_KEY_FILE", raising=False)
    monkeypatch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)
    monkeypatch.setattr(known_keys, "is_passing", lambda _: False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def default(home: Path) -> Path:
    return home / "jupyter" / "notebook_durable_key"


def use(key_file: Path | None = None, notice: Callable[[str], None] | None = None) -> UntrustedJournalError | None:
    """Begin and end an execution; returns the error if the journal isn't believed."""
    store = open_store(Settings.resolve(key_file=key_file), notice)
    try:
        store.release(store.claim(RunId("etl"), ME, now=1.0))
    except UntrustedJournalError as error:
        return error
    finally:
        store.close()
    return None


def test_a_stranger(home: Path, default: Path) -> None:
    """A key that was never used here is never called the user's; who made the journal is said, as a claim."""
    load_key(home / "theirs")
    assert use(home / "theirs") is None
    record_path().unlink()
    (home / "theirs").rename(home / "far away")
    error = use()
    assert error is not None
    assert (error.whose, error.found) == ("stranger", "")
    assert "never yours" in str(error)
    assert f"with the key {home / 'theirs'} (which anybody can write there)" in str(error)
    assert error.key_id == Signer((home / "far away").read_bytes()).key_id


def test_a_moved_key_is_found(home: Path, default: Path) -> None:
    """The setting points elsewhere than when the journal was written, in both directions: it says what to type."""
    assert use() is None
    error = use(home / "other")
    assert error is not None
    assert (error.whose, error.found) == ("moved", str(default))
    assert f"export NOTEBOOK_DURABLE_KEY_FILE={default}" in str(error)
    assert f"%config Durable.key_file = '{default}'" in str(error)


def test_a_key_elsewhere_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that was written with the key of NOTEBOOK_DURABLE_KEY_FILE, which isn't set any more."""
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(home / "usb" / "key"))
    assert use() is None
    monkeypatch.delenv("NOTEBOOK_DURABLE_KEY_FILE")
    error = use()
    assert error is not None
    assert (error.whose, error.found) == ("moved", str(home / "usb" / "key"))


def test_a_key_that_was_set_aside_is_found(default: Path) -> None:
    """Our own message about a damaged key has people move it to ``.old``."""
    assert use() is None
    default.rename(f"{default}.old")
    error = use()
    assert error is not None
    assert error.found == f"{default}.old"


def test_a_lost_key(default: Path) -> None:
    """A new key that was made because there was none any more is said at once, and the journal's error says "lost"."""
    assert use() is None
    default.unlink()
    said: list[str] = []
    error = use(notice=said.append)
    assert len(said) == 1
    assert f"there was no key at {default} any more, so a new one was made" in said[0]
    assert error is not None
    assert (error.whose, error.found) == ("lost", str(default))
    assert "Restore it from a backup" in str(error)
    assert "%durable trust" in str(error)


def test_the_first_key_of_all_is_no_news(default: Path) -> None:
    """Nothing is said when a user's first key is made, nor when it is read."""
    said: list[str] = []
    assert use(notice=said.append) is None
    assert use(notice=said.append) is None
    assert said == []


def test_looking_says_it_too(default: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`%durable`, `journal()` and the shell don't list such a journal in silence."""
    assert use() is None
    default.unlink()
    view = journal()
    assert "It was a key of yours" in repr(view)
    view.close()
    assert main(["ls"]) == 0
    assert "It was a key of yours" in capsys.readouterr().out


def test_the_record(default: Path) -> None:
    """A line for each key and place, readable by its owner only, without the key; the same isn't written twice."""
    use()
    known_keys._remembered.clear()
    use()
    record = record_path()
    assert record.parent == default.parent
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    (line,) = record.read_text().splitlines()
    assert json.loads(line)["key"] == Signer(default.read_bytes()).key_id
    assert default.read_bytes().hex() not in line
    assert [one.path for one in known_at(default)] == [str(default)]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\x00garbage", b'{"key": 5}\n[]\nnull\n{"key"', b"[" * 100_000, b"x" * 1_000_000,
        b'{"key":"a","path":"b","at":"c"}',
    ],
)  # fmt: skip
def test_a_damaged_record(home: Path, default: Path, content: bytes) -> None:
    """It is added to, whatever is in it; what was torn stays a line of its own."""
    record_path().parent.mkdir()
    record_path().write_bytes(content)
    assert use() is None
    assert record_path().read_bytes().startswith(content)
    assert len(known_at(default)) == 1
    assert use(home / "other") is not None


@pytest.mark.parametrize("what", ["folder", "pipe", "link", "read-only"])
def test_a_record_that_is_none(home: Path, default: Path, what: str) -> None:
    """Then nothing is remembered, nothing hangs, nothing is written elsewhere, and work goes on."""
    record = record_path()
    record.parent.mkdir()
    if what == "read-only":
        record.touch()
        record.chmod(0o400)
    else:
        {"folder": record.mkdir, "pipe": lambda: os.mkfifo(record), "link": lambda: record.symlink_to(home / "x")}[
            what
        ]()
    assert use() is None
    assert not (home / "x").exists()
    assert use(home / "other") is not None


def test_temporary_keys_are_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests and trials would only fill it."""
    monkeypatch.undo()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    remember("ab" * 8, tmp_path / "key")
    assert not record_path().exists()


def test_the_journal_leads_nowhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that a journal names as its key's is shown, cleaned, and never opened."""
    import sqlite3

    assert use(home / "theirs") is None
    record_path().unlink()
    os.mkfifo(home / "trap")
    with sqlite3.connect(home / ".durable" / "journal.db") as database:
        database.execute(
            "UPDATE meta SET value = ? WHERE name = 'key_path'", (f"{home / 'trap'}\n\x1b[31m" + "x" * 500,)
        )
    database.close()
    (home / "theirs").unlink()
    error = use()
    assert error is not None
    assert error.whose == "stranger"
    assert "trap??[31mx" in str(error)
    assert "\x1b" not in str(error)
    assert len(error.made_by) < 1000


def test_many_places_are_not_all_looked_at(home: Path) -> None:
    """A record of thousands of lines doesn't make an error slow."""
    for number in range(300):
        (home / f"key{number}").write_bytes(number.to_bytes(32, "big"))
    lines = [json.dumps({"key": "00", "path": str(home / f"key{number}"), "at": 1.0}) for number in range(300)]
    record_path().parent.mkdir()
    record_path().write_text("\n".join(lines))
    assert whose(Signer((299).to_bytes(32, "big")).key_id).kind == "moved"  # the newest
    assert whose(Signer((0).to_bytes(32, "big")).key_id).kind == "stranger"


def test_no_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no place for the record, a key that is named works all the same."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(known_keys, "default_key_path", homeless)
    assert use(home / "mine") is None
    error = use(home / "other")
    assert error is not None
    assert error.whose == "stranger"
