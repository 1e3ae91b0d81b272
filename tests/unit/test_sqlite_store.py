"""What only the SQLite store does: files, foreign things, marks, keys, leases, forks."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from notebook_durable.errors import (
    JournalCorruptError,
    JournalFormatError,
    JournalUnwritableError,
    RunBusyError,
    StoreError,
    UntrustedJournalError,
)
from notebook_durable.model import Attempt, Entry, EntryStatus, Failure, Outcome, Owner, RunId, RunStatus, StepCode
from notebook_durable.stores import folder, rows, schema
from notebook_durable.stores.folder import filesystem
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.lease import Lease
from notebook_durable.stores.sqlite import SqliteStore

RUN = RunId("etl")
ME = Owner(os.getpid(), "here", "boot", "start")
ELSEWHERE = Owner(7, "elsewhere", "boot2", "start2")
ENTRY = Entry(
    0, "load", 0, EntryStatus.SUCCEEDED, 1, 0, 1, 0.5, 1.0, 2.0, 0.25, "json", b"[1]", "list", {"type": "E"},
    Failure.TERMINAL, False, False, None, False, "note", StepCode("source", "inputs", "print", 1),
)  # fmt: skip

Make = Callable[..., SqliteStore]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / ".durable"


@pytest.fixture
def make(place: Path, signer: Signer) -> Iterator[Make]:
    stores: list[SqliteStore] = []

    def build(path: Path = place, with_signer: Signer = signer, **how: Any) -> SqliteStore:
        stores.append(SqliteStore(path, with_signer, **how))
        return stores[-1]

    yield build
    for store in stores:
        store.close()


def written(store: SqliteStore, *entries: Entry) -> int:
    """Record entries in a run of RUN that is over, and return its id."""
    claim = store.claim(RUN, ME, now=1.0)
    for entry in entries or (ENTRY,):
        store.record(claim, entry, Attempt(entry.seq, 0, 1, 1.0, 0.5, {"type": "E"}, 2.0))
    store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=2.0)
    store.release(claim)
    return claim.id


def sql(place: Path, *statements: str) -> None:
    with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def snapshot(path: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(path.rglob("*")) if p.is_file()}


class TestFiles:
    def test_private(self, make: Make, place: Path) -> None:
        """The folder is the owner's alone, every file in it too, and git doesn't see it, whatever the umask."""
        old = os.umask(0)
        try:
            written(make())
        finally:
            os.umask(old)
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert (place / ".gitignore").read_text() == "*\n"
        names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.glob("journal.db*")}
        assert names == dict.fromkeys(["journal.db", "journal.db-wal", "journal.db-shm"], 0o600)

    def test_closed_journal_is_one_file(self, make: Make, place: Path) -> None:
        """A closed journal is one database file, which can be copied."""
        make().close()
        assert sorted(path.name for path in place.iterdir()) == [".gitignore", "journal.db", "locks"]

    def test_waits_for_the_disk(self, make: Make) -> None:
        """``record`` goes through a connection that waits for the disk, ``begin`` through one that doesn't."""
        store = make()
        assert store._db.full.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._db.quick.execute("PRAGMA synchronous").fetchone() == (1,)
        assert store._db.full.execute("PRAGMA journal_mode").fetchone() == (b"wal",)

    @pytest.mark.parametrize("write", ["record", "begin and wait"])
    def test_waits_also_when_nothing_changes(self, make: Make, place: Path, write: str) -> None:
        """What was begun without waiting is on disk after the same was recorded, though no byte of it changes."""
        store = make()
        claim = store.claim(RUN, ME, now=1.0)
        store.begin(claim, ENTRY)
        before = (place / "journal.db-wal").read_bytes()
        if write == "record":
            store.record(claim, ENTRY)
        else:
            store.begin(claim, ENTRY, wait=True)
        assert (place / "journal.db-wal").read_bytes() != before
        assert list(store.entries(claim)) == [ENTRY]

    def test_two_stores_of_one_file(self, make: Make, signer: Signer) -> None:
        """Two stores of one journal see each other's work, and closing one leaves the other working."""
        one, two = make(), make()
        run_id = written(one)
        assert list(two.read(run_id)) == [ENTRY]
        two.close()
        assert written(one) == run_id

    def test_deleted_between_executions(self, make: Make, place: Path) -> None:
        """Who deletes the folder between two executions gets a new journal at the next one."""
        store = make()
        written(store)
        shutil.rmtree(place)
        assert list(store.entries(store.claim(RUN, ME, now=5.0))) == []
        assert (place / "journal.db").exists()

    def test_deleted_under_an_execution(self, make: Make, place: Path) -> None:
        """A value isn't said to be recorded if its file was deleted meanwhile."""
        store = make()
        claim = store.claim(RUN, ME, now=5.0)
        shutil.rmtree(place)
        with pytest.raises(JournalUnwritableError, match="moved or deleted"):
            store.record(claim, ENTRY)

    def test_current_directory_is_not_followed(self, make: Make, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative path means where it was said, also after %cd."""
        monkeypatch.chdir(place.parent)
        store = make(Path(".durable"))
        monkeypatch.chdir("/")
        written(store)
        assert store.location == os.path.realpath(place)

    def test_odd_folder_names(self, make: Make, tmp_path: Path) -> None:
        """A folder may have any name."""
        for name in ("a b", "100%", "x?mode=ro", "é#1", "'q'"):
            assert list(make(tmp_path / name / ".durable").runs()) == []


class TestForeign:
    def refused(self, make: Make, path: Path, *words: str) -> str:
        before = snapshot(path.parent)
        with pytest.raises(JournalFormatError) as caught:
            make(path)
        assert snapshot(path.parent) == before
        assert all(word in str(caught.value) for word in words)
        return str(caught.value)

    def test_a_file(self, make: Make, place: Path) -> None:
        """A file in the folder's place is refused and not touched."""
        place.write_text("mine")
        self.refused(make, place, str(place), "is a file")

    def test_a_folder_with_other_things(self, make: Make, tmp_path: Path) -> None:
        """A project folder doesn't get a ``.gitignore`` that hides it from git."""
        (tmp_path / "src").mkdir()
        (tmp_path / "src" / "analysis.py").write_text("x = 1")
        self.refused(make, tmp_path / "src", "analysis.py")

    def test_a_database_of_another_program(self, make: Make, place: Path) -> None:
        """A SQLite database that isn't ours is refused and not touched, also when it has a log to recover."""
        place.mkdir()
        connection = sqlite3.connect(place / "journal.db")
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE runs (mine)")
        connection.commit()
        self.refused(make, place, "another program")
        connection.close()
        self.refused(make, place, "another program")

    def test_a_newer_format(self, make: Make, place: Path) -> None:
        """A newer journal is refused: its version, ours, and the line that upgrades."""
        make().close()
        sql(place, "PRAGMA user_version = 7")
        self.refused(make, place, "format version 7", "up to 4", "pip install --upgrade notebook_durable")

    def test_a_newer_format_in_the_meta_table(self, make: Make, place: Path) -> None:
        """The version in the meta table counts too."""
        make().close()
        sql(place, "UPDATE meta SET value = '7' WHERE name = 'format'")
        with pytest.raises(JournalFormatError, match="version 7"):
            make()

    def test_an_empty_folder_is_taken(self, make: Make, place: Path) -> None:
        """An empty folder, or what is left of a journal whose database was deleted, becomes a journal."""
        place.mkdir()
        make().close()
        (place / "journal.db").unlink()
        assert list(make().runs()) == []


class TestCorrupt:
    @pytest.mark.parametrize("content", [b"", b"hello", b"x" * 100_000, b"SQLite format 3\0"])
    def test_not_a_database(self, make: Make, place: Path, content: bytes) -> None:
        """A damaged file is named, left as it is, and the line to type sets it aside."""
        place.mkdir()
        (place / "journal.db").write_bytes(content)
        with pytest.raises(JournalCorruptError) as caught:
            make()
        assert (place / "journal.db").read_bytes() == content
        assert str(place / "journal.db") in str(caught.value)
        line = str(caught.value).splitlines()[-1].strip()
        assert shlex.split(line)[0] == "mv"
        subprocess.run(line, shell=True, check=True)
        assert list(make().runs()) == []
        assert (place.parent / ".durable-damaged" / "journal.db").read_bytes() == content

    def test_second_damaged_one_gets_another_name(self, make: Make, place: Path) -> None:
        """The line to type never replaces what was set aside before."""
        place.mkdir()
        (place / "journal.db").touch()
        (place.parent / ".durable-damaged").mkdir()
        with pytest.raises(JournalCorruptError, match="-damaged-2"):
            make()

    def test_log_without_database(self, make: Make, place: Path) -> None:
        """A log whose database is missing is kept: SQLite would delete it."""
        place.mkdir()
        (place / "journal.db-wal").write_bytes(b"precious")
        with pytest.raises(JournalCorruptError, match="missing"):
            make()
        assert (place / "journal.db-wal").read_bytes() == b"precious"

    @pytest.mark.parametrize("table", ["meta", "runs", "entries", "executions", "attempts"])
    def test_missing_table(self, make: Make, place: Path, table: str) -> None:
        """A journal that lacks a table is damaged; no error of the driver comes out."""
        written(make())
        make().close()
        sql(place, f"DROP TABLE {table}")
        with pytest.raises(JournalCorruptError):
            store = make()
            store.runs()
            store.attempts(1, 0)
            store.claim(RUN, ME, now=1.0)


#: Every column of an entry, with another value.
FORGED = {
    "name": "'save'", "occurrence": "1", "status": "'failed'", "execution": "2", "budget": "1", "attempts": "0",
    "spent": "0", "started_at": "1.5", "ended_at": "NULL", "duration": "0.5", "failure": "''", "left_cell": "1",
    "survived": "1", "rollback_of": "0", "at_most_once": "1", "serializer": "'dill'", "value_type": "'int'",
    "note": "''", "inputs": "''", "fingerprint": "''", "fingerprint_version": "0", "error": "NULL", "source": "''",
    "mark": "zeroblob(16)", "payload": "x'5b325d'", "blob": "'row:3'", "size": "3", "libraries": "'numpy 2'",
}  # fmt: skip


class TestMarks:
    @pytest.mark.parametrize(("column", "value"), FORGED.items())
    def test_changed_field(self, make: Make, place: Path, column: str, value: str) -> None:
        """No field of an entry can be changed without the entry losing its word; its neighbour keeps it."""
        store = make()
        run_id = written(store, ENTRY, ENTRY._replace(seq=1))
        sql(place, f"UPDATE entries SET {column} = {value} WHERE place & 4294967295 = 0")
        damaged, other = store.read(run_id)
        assert (damaged.intact, damaged.seq, damaged.payload, damaged.error) == (False, 0, None, None)
        assert damaged.name == ("save" if column == "name" else "load")
        assert other == ENTRY._replace(seq=1)

    def test_all_columns_are_tried(self, make: Make, place: Path) -> None:
        """The test above leaves no column out."""
        make()
        with closing(sqlite3.connect(place / "journal.db")) as connection:
            columns = {row[1] for row in connection.execute("PRAGMA table_info(entries)")}
        assert columns - {"place"} == FORGED.keys()

    @pytest.mark.parametrize("value", ["NULL", "'x'", "1.5", "x'00'", "-1", "9223372036854775807", "''"])
    def test_fields_of_any_type(self, make: Make, place: Path, value: str) -> None:
        """Whatever type a damaged field has: the entry is not intact, and nothing is raised."""
        store = make()
        run_id = written(store)
        sql(
            place,
            "CREATE TABLE loose AS SELECT * FROM entries",
            "DROP TABLE entries",
            "ALTER TABLE loose RENAME TO entries",
        )
        for column in FORGED:
            sql(place, "CREATE TABLE kept AS SELECT * FROM entries", f"UPDATE entries SET {column} = {value}")
            entry = store.read(run_id)[0]
            assert entry == ENTRY or not entry.intact
            assert store.runs()[0].id == run_id
            sql(place, "DROP TABLE entries", "ALTER TABLE kept RENAME TO entries")

    def test_swapped_payloads(self, make: Make, place: Path) -> None:
        """Two payloads that changed places are both found out."""
        store = make()
        run_id = written(store, ENTRY, ENTRY._replace(seq=1, payload=b"[2]"))
        sql(place, "UPDATE entries SET payload = CASE payload WHEN x'5b315d' THEN x'5b325d' ELSE x'5b315d' END")
        assert [entry.intact for entry in store.read(run_id)] == [False, False]

    @pytest.mark.parametrize("move", ["place + 1", "place + (1 << 32)"])
    def test_row_in_another_place(self, make: Make, place: Path, move: str) -> None:
        """A row moved to another number or another run is found out."""
        store = make()
        written(store)
        store.release(store.claim(RunId("other"), ME, now=1.0))
        sql(place, f"UPDATE entries SET place = {move}")
        assert [entry.intact for info in store.runs() for entry in store.read(info.id)] == [False]

    def test_runs_that_changed_names(self, make: Make, place: Path) -> None:
        """A run that is given another run's name doesn't give its entries to it."""
        store = make()
        run_id = written(store)
        sql(place, "UPDATE runs SET workflow = 'payroll'")
        assert [entry.intact for entry in store.read(run_id)] == [False]

    def test_row_of_another_journal(self, make: Make, place: Path, tmp_path: Path) -> None:
        """A row copied from another journal of the same user is found out, though run and place agree."""
        store, other = make(), make(tmp_path / "other")
        run_id = written(store)
        written(other, ENTRY._replace(payload=b"[2]"))
        sql(
            place,
            f"ATTACH '{tmp_path / 'other' / 'journal.db'}' AS other",
            "DELETE FROM entries",
            "INSERT INTO entries SELECT * FROM other.entries",
        )
        assert [entry.intact for entry in store.read(run_id)] == [False]

    def test_texts_cannot_be_shifted(self, make: Make, place: Path) -> None:
        """Letters moved from one text to its neighbour change the mark."""
        store = make()
        run_id = written(store)
        sql(place, "UPDATE entries SET serializer = 'jsonl', value_type = 'ist'")
        assert [entry.intact for entry in store.read(run_id)] == [False]

    @pytest.mark.parametrize(
        "change", ["delay = 9", "delay = NULL", "error = '{}'", "duration = 0", "mark = x'00'", "seq = 1"]
    )
    def test_attempts(self, make: Make, place: Path, change: str) -> None:
        """A changed attempt is left out."""
        store = make()
        run_id = written(store, ENTRY, ENTRY._replace(seq=2))
        sql(place, f"UPDATE attempts SET {change} WHERE seq = 0")
        assert [list(store.attempts(run_id, seq)) for seq in (0, 1)] == [[], []]
        assert len(store.attempts(run_id, 2)) == 1

    def test_twice_the_same_row(self, make: Make) -> None:
        """A damaged tree that gives a row twice is noticed, though each of them has a good mark."""
        store = make()
        run_id = written(store)
        (row,) = store._db.read.execute(f"SELECT place & 4294967295, {rows.ENTRY_COLUMNS} FROM entries").fetchall()
        who = store._identity("entries", run_id, RUN)
        assert rows.entries_from([row], who, store._signer) == [ENTRY]
        with pytest.raises(rows.Damaged):
            rows.entries_from([row, row], who, store._signer)

    def test_detached(self, make: Make, place: Path) -> None:
        """A detached entry can't pass for an entry: its mark is another."""
        store = make()
        claim = store.claim(RUN, ME, now=1.0)
        sql(place, "UPDATE runs SET epoch = epoch + 1")
        with pytest.raises(StoreError):
            store.record(claim, ENTRY)
        assert list(store.detached(claim.id)) == [ENTRY]
        columns = ", ".join(FORGED)
        sql(place, f"INSERT INTO entries (place, {columns}) SELECT (run_id << 32) + seq, {columns} FROM detached")
        assert [entry.intact for entry in store.read(claim.id)] == [False]


class TestAnotherKey:
    def test_shows_but_does_not_believe(self, make: Make) -> None:
        """With another key nothing is executed or believed; metadata and JSON values show."""
        first = make()
        run_id = written(first, ENTRY, ENTRY._replace(seq=1, serializer="dill", payload=b"\x80"))
        first.close()
        store = make(with_signer=Signer(b"o" * 32, "/the/key"))
        with pytest.raises(UntrustedJournalError, match="/the/key"):
            store.claim(RUN, ME, now=1.0)
        with pytest.raises(UntrustedJournalError):
            store.amend(run_id, [ENTRY])
        shown, hidden = store.read(run_id)
        assert shown == ENTRY._replace(intact=False)
        assert hidden == ENTRY._replace(seq=1, serializer="dill", payload=None, intact=False)
        assert list(store.attempts(run_id, 0)) == []
        assert store.runs()[0].steps == 2

    def test_forged_key_id(self, make: Make, place: Path) -> None:
        """A journal that claims to be signed with our key and isn't has no intact entry."""
        other, signer = Signer(b"o" * 32), Signer(b"k" * 32)
        store = make(with_signer=other)
        run_id = written(store)
        store.close()
        sql(place, f"UPDATE meta SET value = '{signer.key_id}' WHERE name = 'key_id'")
        assert [entry.intact for entry in make().read(run_id)] == [False]


class TestNetwork:
    MOUNTS = (
        "/dev/vda / ext4 rw 0 0\n"
        "proc /proc proc rw 0 0\n"
        "server:/home /home nfs4 rw 0 0\n"
        "/dev/vdb /home/me/scratch xfs rw 0 0\n"
        "me@host: /mnt/my\\040disk fuse.sshfs rw 0 0\n"
        "broken\n"
        "/dev/vdc /twice ext4 rw 0 0\n"
        "C: /twice 9p rw 0 0\n"
    )

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/work/.durable", "ext4"),
            ("/home/me/.durable", "nfs4"),
            ("/home/me/scratch/.durable", "xfs"),
            ("/homes/.durable", "ext4"),
            ("/home", "nfs4"),
            ("/mnt/my disk/a", "fuse.sshfs"),
            ("/twice/a", "9p"),
        ],
    )
    def test_file_system(self, path: str, kind: str) -> None:
        """The file system is that of the nearest mount above; the last of two on one point."""
        assert filesystem(Path(path), self.MOUNTS) == kind

    def test_none(self) -> None:
        """No table, no answer."""
        assert filesystem(Path("/a"), "") == ""

    def test_rollback_journal(self, make: Make, place: Path) -> None:
        """On a network file system there is no WAL, every write waits for the disk, and that is said once."""
        notices: list[str] = []
        store = make(network=True, on_notice=notices.append)
        run_id = written(store)
        assert list(store.read(run_id)) == [ENTRY]
        assert store._db.quick is store._db.full
        assert not (place / "journal.db-wal").exists()
        assert len(notices) == 1
        assert "network file system" in notices[0]

    def test_moved_there_and_back(self, make: Make) -> None:
        """A journal that moves between a local and a network disk changes its mode and keeps its entries."""
        first = make()
        run_id = written(first)
        first.close()
        for network, mode in ((True, b"delete"), (False, b"wal")):
            store = make(network=network, on_notice=lambda _: None)
            assert list(store.read(run_id)) == [ENTRY]
            assert store._db.full.execute("PRAGMA journal_mode").fetchone() == (mode,)
            store.close()

    def test_wal_that_does_not_work(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file system on which SQLite refuses the WAL gets the rollback journal, and that is said."""
        monkeypatch.setattr(schema, "set_journal_mode", lambda *_: "delete")
        notices: list[str] = []
        store = make(on_notice=notices.append)
        assert store._db.quick is store._db.full
        assert len(notices) == 1

    def _left_by(self, make: Make, owner: Owner) -> None:
        store = make(network=True, on_notice=lambda _: None)
        claim = store.claim(RUN, owner, now=1000.0)
        store.close()  # its machine is gone: no lock, and no end of the execution
        assert claim.epoch == 1

    def test_lease_of_another_machine(self, make: Make) -> None:
        """Another machine's lease blocks until it lapses, though its lock can't be seen from here."""
        self._left_by(make, ELSEWHERE)
        store = make(network=True, on_notice=lambda _: None)
        with pytest.raises(RunBusyError) as caught:
            store.claim(RUN, ME, now=1059.0)
        assert (caught.value.pid, caught.value.host, caught.value.since) == (7, "elsewhere", 1000.0)
        assert store.claim(RUN, ME, now=1061.0).previous is Outcome.KILLED

    def test_lease_of_this_machine(self, make: Make) -> None:
        """A dead owner on this machine doesn't count: its lock is the truth."""
        self._left_by(make, ME)
        assert make(network=True, on_notice=lambda _: None).claim(RUN, ME, now=1001.0).previous is Outcome.KILLED

    def test_lease_ends_with_the_execution(self, make: Make) -> None:
        """An execution that ended holds nothing."""
        store = make(network=True, on_notice=lambda _: None)
        claim = store.claim(RUN, ELSEWHERE, now=1000.0)
        store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=1001.0)
        store.release(claim)
        assert store.claim(RUN, ME, now=1002.0).execution == 2

    def test_renewal(self, make: Make, place: Path) -> None:
        """A lease is renewed while its claim stands, however long a step takes, and not after it was lost."""
        store = make(network=True, on_notice=lambda _: None)
        claim = store.claim(RUN, ELSEWHERE, now=1000.0)
        assert store._leases[claim.id, claim.epoch]._thread.is_alive()
        assert Lease(place / "journal.db", claim, clock=lambda: 9000.0).renew_once()
        store.release(claim)
        assert store._leases == {}
        with pytest.raises(RunBusyError):
            store.claim(RUN, ME, now=9059.0)
        store.claim(RUN, ME, now=9061.0)
        assert not Lease(place / "journal.db", claim, clock=lambda: 9100.0).renew_once()

    def test_no_lease_on_a_local_disk(self, make: Make) -> None:
        """A local journal needs no thread: a lock there doesn't lapse."""
        store = make(network=False)
        store.claim(RUN, ELSEWHERE, now=1000.0)
        assert store._leases == {}


@pytest.mark.parametrize("module", ["schema", "locks"])
def test_a_store_that_the_collector_closes(make: Make, module: str) -> None:
    """The garbage collector comes anywhere, also where this thread holds what closing a store needs."""
    store = make()
    store.claim(RUN, ME, now=1.0)
    closed = threading.Event()

    def collected() -> None:
        with importlib.import_module(f"notebook_durable.stores.{module}")._mutex:
            store.close()
        closed.set()

    threading.Thread(target=collected, daemon=True).start()
    assert closed.wait(30)


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child and return its exit code (1: it raised)."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class TestFork:
    def test_child_cannot_write(self, make: Make) -> None:
        """A forked child can't use its parent's store, in words; the parent's goes on."""
        store = make()
        claim = store.claim(RUN, ME, now=1.0)
        store.record(claim, ENTRY)

        def work() -> None:
            for use in (store.runs, lambda: store.record(claim, ENTRY), lambda: store.begin(claim, ENTRY)):
                with pytest.raises(StoreError, match="forked child"):
                    use()
            store.release(claim)
            store.close()

        assert in_child(work) == 0
        store.record(claim, ENTRY._replace(seq=1))
        assert len(store.entries(claim)) == 2

    def test_child_can_open_its_own(self, make: Make, place: Path, signer: Signer) -> None:
        """A forked child may open the journal anew, and is refused the run that its parent holds."""
        store = make()
        claim = store.claim(RUN, ME, now=1.0)

        def work() -> None:
            own = SqliteStore(place, signer)
            with pytest.raises(RunBusyError) as caught:
                own.claim(RUN, Owner(os.getpid(), "here", "boot"), now=2.0)
            assert caught.value.pid == ME.pid
            own.record(own.claim(RunId("childs"), ME, now=2.0), ENTRY)
            own.close()

        assert in_child(work) == 0
        store.record(claim, ENTRY)
        assert {info.run.workflow for info in store.runs()} == {"etl", "childs"}


def test_free_space_is_said_when_the_disk_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full disk is named with what is free."""
    monkeypatch.setattr(folder, "free_space", lambda _: 2048)
    error = folder.unwritable(tmp_path, OSError(28, "No space left on device"))
    assert "No space left" in str(error)
    assert "2 KB are free" in str(error)


def test_value_too_large_for_a_row(make: Make) -> None:
    """A text that no row can hold is refused in words, and the journal goes on."""
    store = make()
    claim = store.claim(RUN, ME, now=1.0)
    store._db.full.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
    with pytest.raises(JournalUnwritableError, match="larger than"):
        store.record(claim, ENTRY._replace(note="x" * 2_000_000))
    store.record(claim, ENTRY)
    assert list(store.entries(claim)) == [ENTRY]


def test_locked_by_another_program(make: Make, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that another program locks for long is an error that says so; the next write works."""
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.05)
    store = make()
    claim = store.claim(RUN, ME, now=1.0)
    with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for write in (lambda: store.record(claim, ENTRY), lambda: store.begin(claim, ENTRY)):
            with pytest.raises(JournalUnwritableError, match="locked by another program"):
                write()
        with pytest.raises(JournalUnwritableError, match="locked by another program"):
            store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=2.0)
        other.execute("ROLLBACK")
    store.record(claim, ENTRY)
    assert list(store.entries(claim)) == [ENTRY]
