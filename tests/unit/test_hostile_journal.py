"""A hostile journal executes nothing, and leads nowhere out of its folder, whatever is done with it but trusting it."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from notebook_durable import TerminalError, durable
from notebook_durable.cli.app import main
from notebook_durable.errors import (
    DamagedValueError,
    DurableError,
    JournalCorruptError,
    JournalFormatError,
    RunTakenOverError,
    StoreError,
    UntrustedJournalError,
)
from notebook_durable.model import (
    Ask,
    Attempt,
    Entry,
    EntryStatus,
    Extra,
    Failure,
    Message,
    Outcome,
    Owner,
    Payload,
    RunId,
    RunStatus,
)  # fmt: skip
from notebook_durable.serializers import envelope
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.view import JournalView, journal
from notebook_durable.widgets.explorer import Explorer
from notebook_durable.wiring import Settings

VICTIM, ATTACKER = b"v" * 32, b"a" * 32
US = Owner(os.getpid(), "here")
SCRIPT = "<script>steal()</script>"


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (self.marker.name, 0o777, True)  # where the victim works


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal's folder to be; the victim's key is in use, and the victim works beside it."""
    (tmp_path / "key").write_bytes(VICTIM)
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".durable"


# --- making one ---------------------------------------------------------------------------


def load() -> Any:
    return {1, 2}


def large() -> Any:
    return bytearray(b"l" * 200_000)


def huge() -> Any:
    return bytearray(b"h" * 5_000_000)


def fails() -> Any:
    raise TerminalError("no")


def work() -> list[str]:
    """The victim's cell; returns the types of what its steps gave."""
    got = []
    with durable("etl") as ctx:
        for name, fn in (("load", load), ("large", large), ("huge", huge)):
            got.append(type(ctx.run(name, fn)).__name__)
        try:
            ctx.run("fails", fails)
        except TerminalError as error:
            got.append(type(error).__name__)
    return got


REAL = ["set", "bytearray", "bytearray", "TerminalError"]


def pickles(marker: Path, *buffers: bytes) -> list[bytes]:
    """The attack in every form that the serializer "dill" knows: both kinds of envelopes, and an older one."""
    raw = pickle.dumps(Evil(marker), 5)
    behind = envelope.end([envelope.Part(b"b", memoryview(buffer)) for buffer in buffers])
    forms = [envelope.begin(kind) + raw + behind for kind in (envelope.PICKLE, envelope.BY_VALUE)]
    return forms if buffers else [*forms, b"NBD\x01P" + raw]


def execute(place: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(place / "journal.db")) as database:
        for statement, values in statements:
            database.execute(statement, values)
        database.commit()


def marks_of(place: Path, table: str) -> list[bytes]:
    with closing(sqlite3.connect(place / "journal.db")) as database:
        return [mark for (mark,) in database.execute(f"SELECT mark FROM {table} ORDER BY 1")]


def record_more(store: SqliteStore, marker: Path) -> None:
    """Record the attack wherever a value can lie, signed with the store's key."""
    claim = store.claim(RunId("etl"), US, now=9.0)
    first = max(entry.seq for entry in store.entries(claim)) + 1
    places = ((), (b"b" * 1000,), (b"b" * 70_000,), (b"b" * 5_000_000,))
    attacks = [(form, buffers) for buffers in places for form in pickles(marker, *buffers)]
    for seq, (form, buffers) in enumerate(attacks, first):
        one = Entry(
            seq, f"evil {seq}", 0, EntryStatus.SUCCEEDED, 1, ended_at=9.0, serializer="dill", payload=form,
            buffers=buffers, value_type=SCRIPT,
        )  # fmt: skip
        store.record(claim, one, None, Extra(f'{{"text": "{SCRIPT}"}}', f'[{{"output_type": "{SCRIPT}"}}]'))
        error = {"type": SCRIPT, "message": SCRIPT, "traceback": SCRIPT}
        failed = one._replace(
            seq=seq + 100, name=f"failed {seq}", status=EntryStatus.FAILED, failure=Failure.TERMINAL, error=error,
            survived=True,
        )  # fmt: skip
        store.record(claim, failed, Attempt(seq + 100, 0, 1, 1.0, 1.0, error))
        store.post(claim.id, Message(0, seq, Ask.ANSWER, Payload("dill", form), SCRIPT, 9.0))
    asked = Entry(
        first + 300, "publish?", 0, EntryStatus.RUNNING, claim.execution, ended_at=9.0,
        code=store.entries(claim)[0].code._replace(inputs='{"asks": {"text": "publish?"}}'),
    )  # fmt: skip
    store.record(claim, asked)
    store.post(claim.id, Message(0, first + 300, Ask.ANSWER, Payload("dill", pickles(marker)[0]), "", 9.0))
    store.keep(claim, {"00": f"__import__('os').makedirs({str(marker)!r})"})
    store.release(claim)


def attacked(place: Path, marker: Path, variant: str) -> None:
    """Make a journal of the victim's steps with the attack in place of all values."""
    assert work() == REAL
    real = marks_of(place, "entries")
    form = pickles(marker)[0]
    execute(place, ("UPDATE entries SET payload = ?, serializer = 'dill', blob = '', size = 0", (form,)))
    if variant != "changed":
        store = SqliteStore(place, Signer(ATTACKER))
        store.trust()
        record_more(store, marker)
        store.close()
    if variant in ("forged", "unsigned", "copied"):
        execute(place, ("UPDATE meta SET value = ? WHERE name = 'key_id'", (Signer(VICTIM).key_id,)))
    for table in ("entries", "attempts", "extras", "mailbox", "detached"):
        if variant == "unsigned":
            execute(place, (f"UPDATE {table} SET mark = x''", ()))
        elif variant == "copied":
            execute(place, (f"UPDATE {table} SET mark = ?", (real[0],)))
    assert not marker.exists()


VARIANTS = ("stranger", "forged", "unsigned", "copied", "changed")


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One hostile journal of each kind, to be copied."""
    home = tmp_path_factory.mktemp("hostile")
    (home / "key").write_bytes(VICTIM)
    (home / "key").chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(home / "key"))
        patch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)
        for variant in VARIANTS:
            (home / variant).mkdir()
            patch.chdir(home / variant)
            attacked(home / variant / ".durable", home / variant / "executed", variant)
    return home


@pytest.fixture(params=VARIANTS)
def hostile(request: pytest.FixtureRequest, templates: Path, place: Path) -> str:
    """A hostile journal; says how it is signed.

    "stranger": with another key, and says so; "forged": with another key, and says that it is the victim's;
    "unsigned"; "copied": with marks of the victim's own rows; "changed": the victim's own, with other values in it.
    """
    shutil.copytree(templates / request.param / ".durable", place)
    return str(request.param)


def test_the_attack_works(place: Path, marker: Path) -> None:
    """Who trusts the attacker's key is attacked: the tests below could fail."""
    attacked(place, marker, "stranger")
    view = JournalView(Settings.resolve().using(key_file=_attackers_key(place)))
    steps = [step for step in view.steps("etl") if step == "load" or step.startswith("evil")]
    assert len(steps) == 10
    for step in steps:
        assert not marker.exists(), step
        assert view.load("etl", step) is None  # what makedirs returns
        marker.rmdir()
    view.close()


def _attackers_key(place: Path) -> Path:
    path = place.parent / "attacker"
    path.write_bytes(ATTACKER)
    path.chmod(0o600)
    return path


# --- using it -----------------------------------------------------------------------------


def test_running_it(hostile: str, marker: Path) -> None:
    """The cell is refused with a stranger's journal; where rows fail their check, its steps run again."""
    if hostile == "stranger":
        with pytest.raises(UntrustedJournalError, match="%durable trust"):
            work()
    else:
        assert work() == REAL
    assert not marker.exists()


ACTS: dict[str, Callable[[JournalView], Any]] = {
    "runs": lambda view: (repr(view), view._repr_html_(), view.runs(archived=True)),
    "show": lambda view: (repr(view.show("etl")), view.show("etl")._repr_html_()),
    "why": lambda view: (repr(view.why("etl")), view.why("etl")._repr_html_()),
    "history": lambda view: (repr(view.history("etl")), view.history("etl")._repr_html_()),
    "to_frame": lambda view: view.to_frame(archived=True),
    "diff": lambda view: repr(view.diff("etl", executions=[1, 2])),
    "steps": lambda view: view.steps("etl"),
    "stats": lambda view: (repr(view.stats()), repr(view.stats("etl"))),
    "verify": lambda view: repr(view.verify()),
    "trust": lambda view: repr(view.trust()),
    "gc": lambda view: view.gc(older_than=0, max_size=1).apply(),
    "rewind": lambda view: view.rewind("etl", "load").apply(),
    "forget a step": lambda view: view.forget("etl", "load").apply(),
    "forget": lambda view: view.forget("etl").apply(),
    "resolve": lambda view: view.resolve("etl", "publish?", "yes"),
    "reject": lambda view: view.reject("etl", "publish?"),
    "tell": lambda view: view.tell("etl", "stop"),
    "outcome": lambda view: view.outcome("etl", "load", value=1),
    "share": lambda view: view.share("etl"),
    "export": lambda view: view.export("etl", "exported"),
    "export without values": lambda view: view.export("etl", "exported", values=False),
    "sweep": lambda view: view._store.sweep(),
    "inbox": lambda view: view._store.inbox(view.find("etl").id),
    "extras": lambda view: view._store.extras(view.find("etl").id),
    "attempts": lambda view: [view._store.attempts(view.find("etl").id, seq) for seq in range(200)],
    "detached": lambda view: view._store.detached(view.find("etl").id),
}
#: What is refused with a stranger's journal, as one error.
REFUSED = (
    "verify", "rewind", "export", "export without values", "resolve", "reject", "tell", "outcome",
)  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
def test_looking_and_tidying(hostile: str, marker: Path, act: str) -> None:
    """Nothing is executed; what can't be done is an error of ours, and of a stranger's journal the right one."""
    view = journal()
    try:
        ACTS[act](view)
        done = True
    except UntrustedJournalError as error:
        done = False
        assert hostile == "stranger"
        assert "%durable trust" in str(error)
    except DurableError:
        done = False
        assert hostile != "stranger" or act not in REFUSED
    finally:
        view.close()
    assert not (done and hostile == "stranger" and act in REFUSED)
    assert not marker.exists()


def test_loading(hostile: str, marker: Path) -> None:
    """No step's value is brought back, whatever form it has."""
    view = journal()
    steps = view.steps("etl")
    assert len(steps) > (3 if hostile == "changed" else 20)
    for step in steps:
        with pytest.raises(UntrustedJournalError if hostile == "stranger" else DurableError):
            view.load("etl", step)
    view.close()
    assert not marker.exists()


def test_the_explorer(hostile: str, marker: Path) -> None:
    """It shows runs, rows and steps, and loads, rewinds and forgets without executing anything."""

    loaded: dict[str, Any] = {}
    shell = SimpleNamespace(user_ns=loaded, push=loaded.update)
    explorer = Explorer(Settings.resolve(), shell)
    listed = explorer.answer({"id": 1, "do": "runs"})
    (run,) = [one["run"] for one in listed["runs"]]
    shown = explorer.answer({"id": 2, "do": "run", "run": run})
    rows = shown["steps"]["rows"]
    assert len(rows) > 3
    for row in rows:
        for do in ("step", "load", "rewind", "forget", "apply"):
            explorer.answer({"id": 3, "do": do, "run": run, "seq": row[0]})
    assert loaded == {}
    assert not marker.exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["ls", "--archived"], ["show", "etl"], ["why", "etl"], ["history", "etl"], ["load", "etl", "load"],
        ["load", "etl", "load", "--to", "out"], ["diff", "etl"], ["stats", "etl"], ["verify"],
        ["export", "etl", "file"],
        ["trust", "--dry-run"], ["gc", "--yes"], ["forget", "etl", "--yes"], ["rewind", "etl", "--to", "load", "--yes"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_shell(hostile: str, marker: Path, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The same from a shell: a status, a text without escape sequences, and nothing executed."""
    assert main(argv) in (0, 1)
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    assert "\x1b" not in out.out
    assert not marker.exists()


def test_what_is_shown_is_data(place: Path, marker: Path) -> None:
    """Scripts in names, types, errors, previews and outputs are escaped; a stranger's outputs aren't shown at all."""
    attacked(place, marker, "stranger")
    view = journal()
    for html in (view._repr_html_(), view.show("etl")._repr_html_(), view.history("etl")._repr_html_()):
        assert "<script" not in html
    found = view._store.extras(view.find("etl").id)
    assert found
    assert all(extra.outputs == "" for extra in found.values())
    view.close()


def test_trusting_it_with_the_key_believes_nothing_changed(place: Path, marker: Path, tmp_path: Path) -> None:
    """With the key that it was written with, values that were changed since stay out: nothing is executed."""
    assert work() == REAL
    execute(place, ("UPDATE entries SET payload = ?, blob = '', size = 0", (pickles(marker)[0],)))
    view = JournalView(Settings.resolve().using(key_file=_attackers_key(place)))
    view.trust(key_file=tmp_path / "key").apply()
    for step in view.steps("etl"):
        with pytest.raises(DurableError):
            view.load("etl", step)
    view.close()
    assert not marker.exists()


# --- out of the folder --------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Files of the victim's that look like litter of a journal."""
    folder = tmp_path / "thesis"
    folder.mkdir()
    for name in ("draft.tmp", "a" * 64, "data.pack", "notes.txt", "empty"):
        (folder / name).write_bytes(b"" if name == "empty" else name.encode() * 1000)
    return folder


LINKS = ("blobs", "packs", "quarantine", "locks", "blobs.lock", ".gitignore", "journal.db", "journal.db-wal")


@pytest.mark.parametrize("with_database", [True, False])
@pytest.mark.parametrize("name", LINKS)
def test_links_in_the_folder(place: Path, outside: Path, name: str, with_database: bool) -> None:
    """A journal with a symbolic link in it isn't opened, and nothing behind the link is touched or made."""
    work()
    for one in (place / name, *([] if with_database else place.glob("journal.db*"))):
        if one.is_dir():
            one.rename(place.parent / f"real {one.name}")
        else:
            one.unlink(missing_ok=True)
    target = {"blobs.lock": "made", ".gitignore": "empty", "journal.db-wal": "notes.txt"}.get(name, "")
    (place / name).symlink_to(outside / target if target else outside)
    before = snapshot(outside)
    with pytest.raises(JournalFormatError, match="symbolic link"):
        work()
    with pytest.raises(JournalFormatError, match="symbolic link"):
        journal()
    assert snapshot(outside) == before


def test_the_folder_itself_may_be_a_link(place: Path, tmp_path: Path) -> None:
    """A journal on another disk, with a link in its usual place, works."""
    (tmp_path / "scratch").mkdir()
    place.symlink_to(tmp_path / "scratch")
    assert work() == work() == REAL


def test_a_link_in_the_place_of_a_value(place: Path, outside: Path, tmp_path: Path) -> None:
    """It isn't followed: the value is damaged, its step runs again, and what it points at is as it was."""
    work()
    (blob,) = (place / "blobs").iterdir()
    blob.rename(outside / "value")  # even the right bytes
    blob.symlink_to(outside / "value")
    before = snapshot(outside)
    with pytest.raises(DamagedValueError, match="symbolic link"):
        journal().load("etl", "huge")
    stranger = SqliteStore(place, Signer(ATTACKER))
    assert [one.step for one in stranger.examine().problems] == ["huge"]
    stranger.trust()
    stranger.sweep()
    stranger.close()
    assert snapshot(outside) == before


def test_a_link_in_the_place_of_a_lock(place: Path, outside: Path) -> None:
    """Nothing is made or locked behind it."""
    work()
    for lock in (place / "locks").iterdir():
        lock.unlink()
        lock.symlink_to(outside / "made by a lock")
    with pytest.raises(StoreError, match="can't be written"):
        work()
    assert not (outside / "made by a lock").exists()


@pytest.mark.parametrize(
    "reference",
    [
        "blob:../../thesis/notes.txt:9000", f"blob:{'a' * 64}/../../../thesis/notes.txt:9000",
        f"pack:../../thesis/data:0:9000:{'0' * 64}", f"pack:/etc/passwd:0:10:{'0' * 64}", f"pack:..:0:10:{'0' * 64}",
        f"blob:{'A' * 64}:10", f"blob:{'a' * 64}:-1", f"pack:x:{'9' * 18}:{'9' * 18}:{'0' * 64}", "row:-1,5", "row:",
        f"blob:{'a' * 64}:10\n", "blob:", "\x00",
    ],
)  # fmt: skip
def test_references_out_of_the_folder(place: Path, outside: Path, reference: str) -> None:
    """No text in a row names a file outside: nothing there is read, moved or deleted, signed by whomever."""
    for key in (VICTIM, ATTACKER):
        store = SqliteStore(place, Signer(key))
        store.trust()
        claim = store.claim(RunId("etl"), US, now=1.0)
        one = Entry(0, "load", 0, EntryStatus.SUCCEEDED, 1, ended_at=2.0, serializer="dill", payload=b"x")
        store.record(claim, one)
        store.record(claim, one._replace(seq=1, name="json", serializer="json"))
        execute(place, ("UPDATE entries SET blob = ?, size = 9000", (reference,)))
        if key == ATTACKER:
            execute(place, ("UPDATE entries SET payload = NULL", ()))
        store.release(claim)
        store.close()
        before = snapshot(outside)
        again = SqliteStore(place, Signer(b"s" * 32))
        for entry in again.read(claim.id):
            with pytest.raises((UntrustedJournalError, DamagedValueError)):
                again.payload(claim.id, entry)
        again.sweep()
        again.trust()  # now the reference itself is under a good mark
        for entry in again.read(claim.id):
            with pytest.raises(DamagedValueError):
                again.payload(claim.id, entry)
        again.verify()
        again.sweep()
        again.close()
        assert snapshot(outside) == before
        assert not (place / "quarantine").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER UPDATE ON entries BEGIN DELETE FROM entries; END",
        "CREATE TRIGGER t AFTER INSERT ON executions BEGIN UPDATE meta SET value = 'x'; END",
        "CREATE VIEW v AS SELECT * FROM runs",
        "CREATE VIRTUAL TABLE v USING fts5(x)",
    ],
)
def test_a_database_that_acts(place: Path, statement: str) -> None:
    """A journal with triggers, views or virtual tables isn't opened: they would run with each of our statements."""
    work()
    execute(place, (statement, ()))
    with pytest.raises(JournalCorruptError, match="none of ours"):
        work()
    with pytest.raises(JournalCorruptError, match="none of ours"):
        journal()


# --- what can't be ------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    "", "[" * 100_000, '{"a":' * 100_000, "null", '"x"', b"\xff\xfe", 5, -1, 2**62, 1e308, float("inf"), "\x1b[31m\n",
    '{"asks": 5, "sleeps": "x", "why": [], "code": {}, "inputs": 3, "untracked": 5, "shares": 1, "instead": "x"}',
)  # fmt: skip
COLUMNS = {
    "entries": "name occurrence status execution budget attempts spent started_at ended_at duration failure "
    "rollback_of serializer value_type note inputs fingerprint error source payload blob size libraries mark",
    "runs": "workflow key number status archived created_at ended_at epoch notebook owner since",
    "executions": "number started_at ended_at outcome",
    "used": "execution seqs",
    "attempts": "seq started_at error mark",
    "extras": "preview outputs",
    "detached": "seq name payload",
    "mailbox": "seq ask payload at",
    "meta": "value",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small journal of the victim's, with something in every table."""
    home = tmp_path_factory.mktemp("plain")
    store = SqliteStore(home / ".durable", Signer(VICTIM))
    claim = store.claim(RunId("etl"), US, now=1.0)
    error = {"type": "E", "message": "m", "traceback": "t"}
    for seq, name in enumerate(("load", "save", "publish?")):
        one = Entry(seq, name, 0, EntryStatus.SUCCEEDED, 1, ended_at=2.0, serializer="json", payload=b"[1]")
        store.record(claim, one, Attempt(seq, 0, 1, 1.0, 1.0, error), Extra('{"text": "x"}', "[]"))
    store.post(claim.id, Message(0, 2, Ask.ANSWER, Payload("json", b"1"), "", 9.0))
    store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=3.0, used=[0, 1, 2])
    store.release(claim)
    late = store.claim(RunId("etl"), US, now=4.0)
    store.release(late)
    store.release(store.claim(RunId("etl"), US, now=5.0))
    with pytest.raises(RunTakenOverError):
        store.record(late, Entry(3, "late", 0, EntryStatus.SUCCEEDED, 2, ended_at=4.0, serializer="json", payload=b"1"))
    store.close()
    return home


LOOKING = (
    "runs",
    "show",
    "why",
    "history",
    "diff",
    "stats",
    "verify",
    "trust",
    "export",
    "inbox",
    "detached",
    "rewind",
)


@pytest.mark.parametrize("key", [VICTIM, ATTACKER], ids=["own", "stranger"])
@pytest.mark.parametrize("table", COLUMNS)
def test_impossible_content(place: Path, plain: Path, table: str, key: bytes) -> None:
    """Whatever stands in a column: looking gives a page or an error of ours, never another one."""
    (place.parent / "key").write_bytes(key)
    for number, column in enumerate(COLUMNS[table].split()):
        for value in ODD[(number + (key == ATTACKER)) % 3 :: 3]:  # all of them would take minutes
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(plain / ".durable", place)
            try:
                execute(place, (f"UPDATE OR REPLACE {table} SET {column} = ?", (value,)))
            except sqlite3.IntegrityError:
                continue
            try:
                view = journal()
            except DurableError:
                continue
            for act in (ACTS[name] for name in LOOKING):
                try:
                    act(view)
                except DurableError:
                    continue
                except Exception as error:
                    raise AssertionError(f"{table}.{column} = {value!r:.60}") from error
            view.close()
