"""``trust``: a journal of another key is signed anew, whole or not at all, and what can't be believed stays out."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from blake3 import blake3  # noqa: TID253  the tests' own hash

from notebook_durable.errors import (
    ConfigurationError,
    DamagedValueError,
    JournalUnwritableError,
    RunBusyError,
    RunOpenError,
    UntrustedJournalError,
)
from notebook_durable.history.trusting import journal_at, trust
from notebook_durable.model import (
    Ask,
    Attempt,
    Claim,
    Entry,
    EntryStatus,
    Extra,
    Message,
    Outcome,
    Owner,
    Payload,
    RunId,
    RunStatus,
)  # fmt: skip
from notebook_durable.parts import text_id
from notebook_durable.stores import trust_values, trusting
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.view import journal

RUN = RunId("etl", "café")
THEM, ME = Owner(os.getpid(), "there", "boot", "start"), Owner(os.getpid(), "here", "boot", "start")
OLD, MINE = b"o" * 32, b"m" * 32
#: Bytes of a buffer that make a value lie in a pack, in a file.
PACK, FILE = 100_000, 5_000_000
EXTRA = Extra('{"text": "a preview"}', "[]")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / ".durable"


@pytest.fixture
def old_key(tmp_path: Path) -> Path:
    path = tmp_path / "old key"
    path.write_bytes(OLD)
    path.chmod(0o600)
    return path


@pytest.fixture
def opened(place: Path) -> Iterator[Callable[..., SqliteStore]]:
    stores: list[SqliteStore] = []

    def build(key: bytes = MINE, path: Path = place) -> SqliteStore:
        stores.append(SqliteStore(path, Signer(key, "/my/key")))
        return stores[-1]

    yield build
    for store in stores:
        store.close()


def entry(seq: int, payload: bytes = b"data", *buffers: bytes, serializer: str = "dill") -> Entry:
    return Entry(
        seq, f"step {seq}", 0, EntryStatus.SUCCEEDED, 1, ended_at=2.0, serializer=serializer, payload=payload,
        buffers=buffers, value_type="some.Thing",
    )  # fmt: skip


VALUES = [
    entry(0),
    entry(1, b"[1, 2]", serializer="json"),
    entry(2, b"cut", b"x" * 1000, b"", b"y" * 70),
    entry(3, b"in a pack", b"p" * PACK),
    entry(4, b"in a file", b"f" * FILE, b"g" * 70_000),
    entry(5, b"same pack", b"p" * PACK),
    entry(6, b"in a file", b"f" * FILE, b"g" * 70_000),
]


@pytest.fixture
def made(opened: Callable[..., SqliteStore]) -> Claim:
    """A journal of somebody else's, with everything that a journal can hold."""
    store = opened(OLD)
    claim = store.claim(RUN, THEM, now=1.0)
    for one in VALUES:
        store.record(claim, one, None, EXTRA if one.seq == 0 else None)
    failed = Entry(7, "step 7", 0, EntryStatus.FAILED, 1, error={"type": "ValueError", "message": "no"})
    store.record(claim, failed, Attempt(7, 0, 1, 1.0, 0.5, {"type": "ValueError", "message": "no"}))
    store.keep(claim, {text_id("some text", blake3()): "some text"})
    store.post(claim.id, Message(0, 9, Ask.ANSWER, Payload("dill", b"an answer"), "", 3.0))
    store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=4.0, used=range(8))
    store.release(claim)
    stale = store.claim(RunId("lost"), THEM, now=5.0)
    store.release(stale)
    taken = store.claim(RunId("lost"), THEM, now=6.0)
    with pytest.raises(Exception, match="taken over"):
        store.record(stale, entry(0, b"detached", b"d" * PACK))
    store.release(taken)
    store.close()
    return claim


def value_of(store: SqliteStore, run_id: int, seq: int) -> tuple[bytes, list[bytes]]:
    (found,) = store.read(run_id, [seq])
    payload = store.payload(run_id, found)
    return payload.data, [bytes(one) for one in payload.buffers]


def files(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for part in ("blobs", "packs")
        for path in (place / part).iterdir()
    }


def test_everything_is_signed_anew(made: Claim, opened: Callable[..., SqliteStore], place: Path) -> None:
    """Rows, attempts, extras, detached rows and values in every place are believed after it, and not before."""
    store = opened()
    with pytest.raises(UntrustedJournalError):
        value_of(store, made.id, 0)
    before = files(place)
    done = store.trust()
    assert (done.runs, done.steps, done.damaged, done.pickled) == (2, 9, 0, 7)
    assert list(store.verify()) == []
    for one in VALUES:
        assert value_of(store, made.id, one.seq) == (one.payload, list(one.buffers))
    assert all(one.intact for one in store.read(made.id))
    assert [one.number for one in store.attempts(made.id, 7)] == [1]
    assert store.extras(made.id) == {0: EXTRA}
    (detached,) = store.detached(made.id + 1)
    assert detached.intact
    assert store.payload(made.id + 1, detached).data == b"detached"
    # Under new names, and what nothing refers to any more is gone.
    assert not set(before) & set(files(place))
    assert store.claim(RUN, ME, now=9.0).execution == 2
    with pytest.raises(UntrustedJournalError):
        opened(OLD).claim(RunId("other"), THEM, now=9.0)


def test_foreign_messages_are_deleted(made: Claim, opened: Callable[..., SqliteStore], old_key: Path) -> None:
    """An answer that nobody has taken up, and nobody can check, answers nothing; one that is checked does."""
    store = opened()
    store.trust(old_key)
    assert [one.payload for one in store.inbox(made.id)] == [Payload("dill", b"an answer")]


def test_messages_without_the_key(made: Claim, opened: Callable[..., SqliteStore], place: Path) -> None:
    """Without the old key they are gone, and verify has nothing to say about them."""
    store = opened()
    assert store.examine().messages == 1
    store.trust()
    assert list(store.inbox(made.id)) == []
    with closing(sqlite3.connect(place / "journal.db")) as database:
        assert database.execute("SELECT count(*) FROM mailbox").fetchone() == (0,)


def change(place: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(place / "journal.db")) as database:
        database.execute(statement, values)
        database.commit()


def test_with_the_old_key_what_was_changed_is_not_trusted(
    made: Claim, opened: Callable[..., SqliteStore], place: Path, old_key: Path
) -> None:
    """A changed row, attempt and extra, and a row with another row's mark come out damaged; the rest is trusted."""
    change(place, "UPDATE entries SET payload = ? WHERE place & 4294967295 = 0", b"evil")
    change(place, "UPDATE entries SET mark = (SELECT mark FROM entries WHERE place & 4294967295 = 3) "
        "WHERE place & 4294967295 = 1")  # fmt: skip
    change(place, "UPDATE attempts SET duration = 99")
    change(place, "UPDATE extras SET outputs = 'changed'")
    change(place, "UPDATE mailbox SET payload = ?", b"evil")
    store = opened()
    found = store.examine(old_key)
    assert (found.checked, found.damaged) == (True, 5)
    assert {(one.kind, one.step) for one in found.problems} == {("row", "step 0"), ("row", "step 1"), ("row", "")}
    assert store.trust(old_key).damaged == 5
    assert [one.seq for one in store.read(made.id) if not one.intact] == [0, 1]
    assert value_of(store, made.id, 4)[0] == b"in a file"
    assert list(store.attempts(made.id, 7)) == list(store.inbox(made.id)) == []
    assert store.extras(made.id) == {}


def test_with_the_old_key_a_flipped_bit_in_a_value_is_found(
    made: Claim, opened: Callable[..., SqliteStore], place: Path, old_key: Path
) -> None:
    """Bytes of a pack or a file that were changed are lost; their rows say so, and nothing raises anything else."""
    for path in [*(place / "packs").iterdir(), *(place / "blobs").iterdir()]:
        data = bytearray(path.read_bytes())
        at = data.rindex(b"p" * 100 if path.suffix else b"g" * 100)
        data[at] ^= 1
        path.write_bytes(data)
    store = opened()
    found = store.examine(old_key)
    assert {one.step for one in found.problems if one.kind == "value"} >= {"step 4", "step 6"}
    done = store.trust(old_key)
    assert done.damaged == found.damaged == 3
    with pytest.raises(DamagedValueError):
        value_of(store, made.id, 4)
    assert value_of(store, made.id, 2)[0] == b"cut"


def test_without_the_key_a_changed_value_can_not_be_told(
    made: Claim, opened: Callable[..., SqliteStore], place: Path
) -> None:
    """That is what trusting means: the plan says so, and the changed bytes are believed."""
    change(place, "UPDATE entries SET payload = ? WHERE place & 4294967295 = 0", b"other")
    store = opened()
    plan = trust(store, None)
    assert "nobody can say whether it was changed" in repr(plan)
    plan.apply()
    assert value_of(store, made.id, 0) == (b"other", [])


def test_lost_values_are_reported(made: Claim, opened: Callable[..., SqliteStore], place: Path) -> None:
    """Files that are missing, cut off, or something else are named before, and their steps run again after."""
    (blob,) = (place / "blobs").iterdir()
    blob.unlink()
    for pack in (place / "packs").iterdir():
        pack.write_bytes(pack.read_bytes()[:5000])
    store = opened()
    plan = trust(store, None)
    assert "its file is missing" in repr(plan)
    assert plan.found.damaged == 5
    assert "5 problems left" in plan.apply()
    for seq in (3, 4, 5, 6):
        with pytest.raises(DamagedValueError):
            value_of(store, made.id, seq)
    assert value_of(store, made.id, 2)[0] == b"cut"


@pytest.mark.parametrize("column", ["name", "status", "error", "seq", "blob", "started_at", "payload"])
def test_rows_that_nobody_wrote(made: Claim, opened: Callable[..., SqliteStore], place: Path, column: str) -> None:
    """A row whose columns hold something impossible is not signed; looking and trusting don't fail."""
    odd: dict[str, object] = {
        "name": b"\xff",
        "error": "[" * 100_000,
        "blob": b"\xff",
        "started_at": "soon",
        "payload": 5,
    }
    if column == "seq":
        change(place, "UPDATE detached SET seq = 'x'")
    else:
        change(place, f"UPDATE entries SET {column} = ? WHERE place & 4294967295 = 2", odd.get(column, "odd"))
    store = opened()
    assert store.examine().damaged == 1
    assert store.trust().damaged == 1
    if column != "seq":
        assert [one.seq for one in store.read(made.id) if not one.intact] == [2]
    assert value_of(store, made.id, 4)[0] == b"in a file"


def test_refused_while_a_run_is_executed(made: Claim, opened: Callable[..., SqliteStore]) -> None:
    """Neither plan nor trust touch a journal whose run somebody executes, in this process or another."""
    theirs, store = opened(OLD), opened()
    for owner, error in ((THEM, RunOpenError), (Owner(1, "there", "boot", "start"), RunBusyError)):
        running = theirs.claim(RUN, owner, now=7.0)
        for call in (store.trust, lambda: trust(store, None)):
            with pytest.raises(error):
                call()
        if error is RunOpenError:
            theirs.release(running)
    theirs.record(running, entry(8))
    theirs.release(running)
    store.trust()
    assert value_of(store, made.id, 8) == (b"data", [])


def test_a_kernel_with_the_old_key_does_not_write_on(made: Claim, opened: Callable[..., SqliteStore]) -> None:
    """A store that was open meanwhile is told; one with the new key believes the journal without being opened again."""
    theirs, mine, again = opened(OLD), opened(), opened()
    assert mine.untrusted() is not None
    again.trust()
    assert mine.untrusted() is None
    assert value_of(mine, made.id, 0) == (b"data", [])
    with pytest.raises(UntrustedJournalError):
        theirs.claim(RUN, THEM, now=9.0)
    with pytest.raises(UntrustedJournalError):
        theirs.post(made.id, Message(0, 0, Ask.STOP))


@pytest.mark.parametrize("at", ["copy", "sign", "wait", "commit"])
def test_cut_short(made: Claim, opened: Callable[..., SqliteStore], place: Path, monkeypatch, at: str) -> None:
    """An error in the middle leaves the journal as it was: the old key reads all of it, and trying again works."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    store = opened()
    real = trust_values.Copier.copy
    calls: list[str] = []

    def third(self: trust_values.Copier, text: str) -> str:
        calls.append(text)
        return fail() if len(calls) == 3 else real(self, text)

    with monkeypatch.context() as patch:
        if at == "copy":
            patch.setattr(trust_values.Copier, "copy", third)
        elif at == "sign":
            patch.setattr(trusting, "_sign_entry", fail)
        elif at == "wait":
            patch.setattr(store._kept.blobs, "wait", fail)
        else:
            patch.setattr(trusting, "maker", fail)
        with pytest.raises(JournalUnwritableError):
            store.trust()
    theirs = opened(OLD)
    assert not [one for one in theirs.verify() if one.kind not in ("unused", "litter")]
    assert value_of(theirs, made.id, 4)[0] == b"in a file"
    theirs.close()
    assert store.untrusted() is not None
    assert store.trust().damaged == 0
    assert list(store.verify()) == []


def test_maps_stay(made: Claim, opened: Callable[..., SqliteStore]) -> None:
    """What somebody has mapped of the old files is not changed by it."""
    theirs = opened(OLD)
    _, mapped = theirs.payload(made.id, theirs.read(made.id, [4])[0]).buffers
    opened().trust()
    assert bytes(mapped) == b"g" * 70_000


def test_too_little_space(made: Claim, opened: Callable[..., SqliteStore], monkeypatch) -> None:
    """It isn't begun if the values don't fit twice."""
    monkeypatch.setattr(trusting, "free_space", lambda _: 17 << 20)
    with pytest.raises(JournalUnwritableError, match="written anew"):
        opened().trust()


def test_a_wrong_key_file(made: Claim, opened: Callable[..., SqliteStore], tmp_path: Path) -> None:
    """Another key than the journal's, or none, is refused; none is made."""
    (tmp_path / "wrong").write_bytes(b"w" * 32)
    store = opened()
    for path, said in (("wrong", "is not the one that the journal was written with"), ("none", "can't be read")):
        with pytest.raises(ConfigurationError, match=said):
            store.examine(tmp_path / path)
        with pytest.raises(ConfigurationError, match=said):
            store.trust(tmp_path / path)
    assert not (tmp_path / "none").exists()


def test_another_journal_than_agreed_to(made: Claim, opened: Callable[..., SqliteStore]) -> None:
    """What was shown is what is trusted."""
    store = opened()
    with pytest.raises(ConfigurationError, match="changed meanwhile"):
        store.trust(key_id="0" * 16)
    assert store.untrusted() is not None


def test_ones_own_is_trusted_already(opened: Callable[..., SqliteStore]) -> None:
    """There is nothing to do, and nothing is asked."""
    store = opened()
    plan = trust(store, None)
    assert not plan
    assert "it is trusted" in repr(plan)
    assert store.trust().mine
    assert not trust(MemoryStore(), None)


def test_large_json_is_shown(opened: Callable[..., SqliteStore]) -> None:
    """JSON is harmless, wherever it lies; its bytes need not be what was recorded."""
    theirs = opened(OLD)
    claim = theirs.claim(RUN, THEM, now=1.0)
    large = b"[" + b"1," * PACK + b"1]"
    theirs.record(claim, entry(0, large, serializer="json"))
    theirs.close()
    store = opened()
    assert value_of(store, claim.id, 0) == (large, [])


# --- the commands -------------------------------------------------------------------------


@pytest.fixture
def shell(made: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., tuple[int, str]]:
    """The shell's twin, with a key of its own."""
    from notebook_durable.cli.app import main

    (tmp_path / "my key").write_bytes(MINE)
    (tmp_path / "my key").chmod(0o600)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "my key"))
    monkeypatch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def run(*argv: str, answer: str = "") -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        status = main(argv)
        out = capsys.readouterr()
        return status, out.out + out.err

    return run


_MEANS = (
    "2 runs with 9 entries",
    "7 of them only unpickling",
    "never yours",
    "A pickled value is a program",
    "with your rights",
    "nobody can say whether it was changed",
    "1 answer or request",
)


def test_the_shell_says_what_it_means(shell, place: Path) -> None:
    """It names what is in there and what that does, asks, and does nothing without a yes."""
    for arguments in (("--dry-run",), ()):
        status, text = shell("trust", str(place), *arguments, answer="no\n")
        assert status == 0
        for said in _MEANS:
            assert said in text
        assert ("[y/N]" in text) is (not arguments)
        assert "never yours" in shell("ls", "--store", str(place))[1]
    assert "nobody can answer here" in shell("trust", str(place))[1]
    status, text = shell("load", "etl", "step 0", "--store", str(place))
    assert (status, "%durable trust" in text) == (1, True)


@pytest.mark.parametrize("command", ["why", "history", "show"])
def test_each_view_says_it(shell, place: Path, command: str) -> None:
    """Rows that look damaged are not: below them stands that the journal is somebody else's, and what to type."""
    status, text = shell(command, "etl", "--store", str(place))
    assert (status, "never yours" in text, "trust" in text) == (0, True, True), text


def test_the_shell_trusts(shell, place: Path) -> None:
    """After a yes, or --yes; a second time there is nothing to do."""
    status, text = shell("trust", str(place.parent), answer="y\n")
    assert (status, "9 entries of 2 runs signed with" in text) == (0, True)
    assert shell("ls", "--store", str(place))[1].count("never yours") == 0
    assert "it is trusted" in shell("trust", str(place / "journal.db"))[1]
    assert shell("verify", "--store", str(place))[0] == 0


def test_the_shell_checks_with_the_old_key(shell, place: Path, old_key: Path) -> None:
    """--key-file says that all was checked; the journal in use is the default."""
    status, text = shell("trust", "--store", str(place), "--key-file", str(old_key), "--yes")
    assert (status, "All marks and values were checked" in text, "nobody can say" in text) == (0, True, False)
    assert "signed with" in text


def test_a_path_without_a_journal(shell, tmp_path: Path) -> None:
    """It is refused, and none is made there."""
    status, text = shell("trust", str(tmp_path / "elsewhere"), "--yes")
    assert (status, "there is no journal at" in text) == (1, True)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    with pytest.raises(ConfigurationError):
        journal_at("")


def test_in_python(shell, place: Path, made: Claim) -> None:
    """``journal(PATH)`` says so where it is shown, and ``trust().apply()`` does it."""
    view = journal(place)
    assert "never yours" in repr(view)
    assert "never yours" in view._repr_html_()
    assert "signed with" in view.trust().apply()
    assert "never yours" not in repr(view)
    view.close()


# --- older formats ------------------------------------------------------------------------

FORMATS = Path(__file__).parents[1] / "formats"


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4"])
@pytest.mark.parametrize("with_key", [False, True])
def test_older_formats(opened: Callable[..., SqliteStore], place: Path, version: str, with_key: bool) -> None:
    """Journals of every format are trusted whole: with the key that each was written with, and without."""
    shutil.copytree(FORMATS / version, place, ignore=shutil.ignore_patterns("*.py", "key", "__pycache__"))
    key = FORMATS / version / "key"
    theirs = opened(key.read_bytes())
    before = {
        (run.id, entry.seq): entry
        for run in theirs.runs(archived=True)
        for entry in theirs.read(run.id)
        if entry.intact
    }
    bad = sum(one.kind == "row" for one in theirs.verify())
    values = {place: theirs.payload(place[0], entry).data for place, entry in before.items() if entry.has_value}
    theirs.close()
    store = opened()
    done = store.trust(key if with_key else None)
    assert done.steps >= len(before) > 0
    assert done.damaged == (bad if with_key else 0)
    for (run_id, seq), entry in before.items():
        (found,) = store.read(run_id, [seq])
        assert found._replace(blob="") == entry._replace(blob="")
        if (run_id, seq) in values:
            assert store.payload(run_id, found).data == values[run_id, seq]
