"""The database file: its tables, its format version, making it whole, and recognising what isn't ours."""

from __future__ import annotations

import os
import secrets
import sqlite3
import struct
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from notebook_durable.errors import JournalFormatError
from notebook_durable.stores.driver import corrupt
from notebook_durable.stores.keys import sync_folder
from notebook_durable.stores.rows import Damaged
from notebook_durable.stores.syncing import sync_file

__all__ = [
    "FORMAT",
    "Meta",
    "check_schema",
    "close",
    "connect",
    "maker",
    "open_database",
    "read_meta",
    "set_journal_mode",
    "upgrade",
]

FORMAT = 4
#: "NbDu": says, at byte 68 of the file, that a SQLite database is ours.
APPLICATION_ID = 0x4E624475
#: Seconds to wait for another kernel's commit.
BUSY_TIMEOUT = 10.0

_ENTRY = """
    name TEXT NOT NULL, occurrence INTEGER NOT NULL, status TEXT NOT NULL, execution INTEGER NOT NULL,
    budget INTEGER NOT NULL, attempts INTEGER NOT NULL, spent REAL NOT NULL, started_at REAL NOT NULL, ended_at REAL,
    duration REAL NOT NULL, failure TEXT NOT NULL, left_cell INTEGER NOT NULL, survived INTEGER NOT NULL,
    rollback_of INTEGER, at_most_once INTEGER NOT NULL, serializer TEXT NOT NULL, value_type TEXT NOT NULL,
    note TEXT NOT NULL, inputs TEXT NOT NULL, fingerprint TEXT NOT NULL, fingerprint_version INTEGER NOT NULL,
    error TEXT, source TEXT NOT NULL, mark BLOB NOT NULL, {stored}payload BLOB
"""
#: What format 4 added: where a value lies, how large it is, and what it was made with.
_STORED = (
    "blob TEXT NOT NULL DEFAULT ''",
    "size INTEGER NOT NULL DEFAULT 0",
    "libraries TEXT NOT NULL DEFAULT ''",
)
# In new journals they lie before the payload: reading them doesn't walk through it.
_ENTRY_NOW = _ENTRY.replace("{stored}", "".join(f"{column}, " for column in _STORED))
# What runs and executions say is not signed: it decides when a run starts over and who is named in a message, and
# never what is unpickled.
_TABLES = f"""
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- an id is in marks, so it is never given twice
        workflow TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL,
        status TEXT NOT NULL, archived INTEGER NOT NULL, created_at REAL NOT NULL, ended_at REAL,
        epoch INTEGER NOT NULL, notebook TEXT, owner TEXT NOT NULL, since REAL NOT NULL, lease_until REAL,
        UNIQUE (workflow, key, number)
    );
    CREATE TABLE executions (
        run_id INTEGER NOT NULL, number INTEGER NOT NULL, started_at REAL NOT NULL, ended_at REAL,
        outcome TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (run_id, number)
    ) WITHOUT ROWID;
    CREATE TABLE entries (place INTEGER PRIMARY KEY /* run_id * 2^32 + seq */, {_ENTRY_NOW});
    CREATE TABLE attempts (
        run_id INTEGER NOT NULL, seq INTEGER NOT NULL, budget INTEGER NOT NULL, number INTEGER NOT NULL,
        started_at REAL NOT NULL, duration REAL NOT NULL, delay REAL, error TEXT NOT NULL, mark BLOB NOT NULL,
        PRIMARY KEY (run_id, seq, budget, number)
    );
    CREATE TABLE detached ( -- what a kernel recorded after another one had taken its run
        id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, seq INTEGER NOT NULL, epoch INTEGER NOT NULL, {_ENTRY_NOW}
    );
"""

#: What format 2 added. An older version that has the file open goes on as before.
_SINCE_2 = (
    # Sources of steps, by their digest.
    "CREATE TABLE texts (id TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID",
    # Which entries the calls of an execution were, in their order.
    """CREATE TABLE used (
        run_id INTEGER NOT NULL, execution INTEGER NOT NULL, seqs TEXT NOT NULL, PRIMARY KEY (run_id, execution)
    ) WITHOUT ROWID""",
)

#: What format 3 added.
_SINCE_3 = (
    # Previews and outputs of entries: what people look at, and no replay needs.
    "CREATE TABLE extras (place INTEGER PRIMARY KEY, preview TEXT NOT NULL, outputs TEXT NOT NULL, mark BLOB NOT NULL)",
    # What was asked of a run from outside of its kernel.
    """CREATE TABLE mailbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, run_id INTEGER NOT NULL, seq INTEGER NOT NULL, ask TEXT NOT NULL,
        text TEXT NOT NULL, serializer TEXT NOT NULL, value_type TEXT NOT NULL, payload BLOB, at REAL NOT NULL,
        mark BLOB NOT NULL
    )""",
    "CREATE INDEX mailbox_run ON mailbox (run_id)",
)

#: What format 4 added; journals that are made now have it from the start.
_SINCE_4 = tuple(f"ALTER TABLE {table} ADD COLUMN {column}" for table in ("entries", "detached") for column in _STORED)

# Closing *any* descriptor of a file drops all POSIX locks that this process has on it, SQLite's too. So the header of a
# database that is open here is never read by hand: it was checked when it was opened first.
_open_here: Counter[tuple[int, int]] = Counter()
#: Reentrant: the garbage collector may close a forgotten store in the middle of what holds it, on the same thread.
_mutex = threading.RLock()


def _forget_in_child() -> None:
    global _mutex
    _open_here.clear()  # POSIX locks don't pass to a child
    _mutex = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


@dataclass(frozen=True, slots=True)
class Meta:
    """What a journal says of itself.

    Attributes:
        journal_id: is under every mark.
        key_id: of the key that its marks were made with.
        made: who made it and where ("user", "host", "key_path"), for messages: anybody could have written that.
    """

    journal_id: str
    key_id: str
    made: Mapping[str, str] = field(default_factory=dict)


def file_key(file: Path) -> tuple[int, int]:
    """Return what identifies the file itself, whatever its path is now."""
    status = file.stat()
    return status.st_dev, status.st_ino


def open_database(file: Path, key_id: str, now: float, key_path: str = "") -> None:
    """Make the database if there is none, or make sure that it is one of ours. A foreign file isn't touched.

    Raises:
        JournalFormatError: if it is not ours or newer.
        JournalCorruptError: if it is damaged so that this shows at a glance.
        OSError, sqlite3.Error: see ``driver.translate``.
    """
    with _mutex:
        if not file.exists():
            _create(file, key_id, now, key_path)
        if not _open_here[file_key(file)]:
            _check_header(file)


def _create(file: Path, key_id: str, now: float, key_path: str) -> None:
    """Make the database beside its place and link it there: a killed process leaves no half of one."""
    from notebook_durable._version import __version__

    temporary = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # SQLite gives -wal and -shm this mode
    try:
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            # Nobody needs half of it, so it is waited for once, below, and not in each statement.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; {_TABLES} "
                f"{';'.join((*_SINCE_2, *_SINCE_3))};"
            )
            meta = {
                "format": str(FORMAT),
                "journal_id": uuid.uuid4().hex,
                "key_id": key_id,
                "created_at": repr(now),
                "versions": f"notebook_durable {__version__}, SQLite {sqlite3.sqlite_version}, "
                f"Python {sys.version.split()[0]}",
                **maker(key_path),
            }
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            connection.execute("COMMIT")
        finally:
            connection.close()
        with temporary.open("rb+") as written:
            sync_file(written.fileno())
        try:
            os.link(temporary, file)
        except FileExistsError:
            pass  # another process was first; its database serves both
        except OSError:
            if not file.exists():  # no hard links here (FAT, some network file systems)
                temporary.rename(file)
    finally:
        for litter in (temporary, Path(f"{temporary}-journal")):
            with suppress(OSError):
                litter.unlink()
    sync_folder(file.parent)


def maker(key_path: str) -> dict[str, str]:
    """Return who makes a journal, as its meta table says it. It chooses words in messages, and no more."""
    import getpass
    import platform

    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this number, as in containers
        user = ""
    # What is not UTF-8 would not go into the database.
    texts = {"user": user, "host": platform.node(), "key_path": key_path}
    return {name: text.encode("utf-8", "backslashreplace").decode() for name, text in texts.items()}


def _check_header(file: Path) -> None:
    if not file.is_file():
        raise JournalFormatError(f"{file} is not a file, so {file.parent} is not a journal. It was not touched.")
    with file.open("rb") as stream:
        header = stream.read(100)
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise corrupt(file, "file is not a database" if header else "file is empty")
    version, application = struct.unpack(">i4xi", header[60:72])
    if application != APPLICATION_ID:
        raise JournalFormatError(
            f"{file} is a SQLite database of another program (application id {application}), not a journal. It was not "
            "touched; name another place: NOTEBOOK_DURABLE_STORE or %config Durable.store."
        )
    check_format(file, version)


def check_format(file: Path, version: int) -> None:
    """Refuse a journal that is newer than this code.

    Raises:
        JournalFormatError: naming both versions and what to type.
    """
    if version > FORMAT:
        raise JournalFormatError(
            f"the journal {file} has format version {version}, and this notebook_durable reads up to {FORMAT}. It was "
            "not touched. Type: pip install --upgrade notebook_durable"
        )


def connect(file: Path, synchronous: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection in autocommit mode that gives texts as bytes. Close it with :func:`close`.

    Args:
        file: the database, which must exist.
        synchronous: SQLite's level: "FULL" waits for the disk in each commit, "NORMAL" doesn't (in WAL mode).
        read_only: refuse to write through it.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(file))}?mode=rw",
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT,
        check_same_thread=False,
    )
    try:
        connection.text_factory = bytes
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA trusted_schema = OFF")  # the schema of a file from elsewhere runs nothing
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        if sys.platform == "darwin":
            connection.execute("PRAGMA fullfsync = ON")  # fsync alone stops at the drive's cache there
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        with _mutex:
            _open_here[file_key(file)] += 1
    except BaseException:
        connection.close()
        raise
    return connection


def close(connection: sqlite3.Connection, key: tuple[int, int]) -> None:
    """Close a connection to the file that ``key`` identifies. Never raises."""
    with suppress(sqlite3.Error):
        connection.close()
    with _mutex:
        _open_here[key] -= 1


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a journal of an older format to the present one, in one transaction. Nothing in it is changed."""
    if _version(connection) == FORMAT:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version, statements in ((2, _SINCE_2), (3, _SINCE_3), (4, _SINCE_4)):
            if _version(connection) < version:  # nobody else was quicker
                for statement in statements:
                    connection.execute(statement)
        connection.execute("UPDATE meta SET value = ? WHERE name = 'format'", (str(FORMAT),))
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def set_journal_mode(connection: sqlite3.Connection, wanted: str) -> str:
    """Ask for a journal mode ("wal" or "delete") and return the one that the file has then."""
    (current,) = connection.execute("PRAGMA journal_mode").fetchone()
    if current.decode() != wanted:
        (current,) = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()
    return str(current.decode())


def check_schema(connection: sqlite3.Connection) -> None:
    """Refuse a database that does something by itself: a journal has tables and indexes.

    Raises:
        Damaged: if it has triggers, views or virtual tables. Each is SQL of whoever made the file, run by every read
            or write of ours; it could not reach out of the database, but need not end.
    """
    row = connection.execute(
        # A virtual table has no page of its own.
        "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index') OR coalesce(rootpage, 0) = 0 LIMIT 1"
    ).fetchone()
    if row is not None:
        raise Damaged(f"it has a {row[0]!r:.20} that is none of ours, {row[1]!r:.40}")


def read_meta(connection: sqlite3.Connection, file: Path) -> Meta:
    """Read what the journal says of itself.

    Raises:
        JournalFormatError: if it is newer.
        Damaged: if something is missing.
    """
    try:
        meta = {name.decode(): value.decode() for name, value in connection.execute("SELECT name, value FROM meta")}
        check_format(file, int(meta["format"]))
        made = {name: meta[name] for name in ("user", "host", "key_path") if name in meta}
        return Meta(meta["journal_id"], meta["key_id"], made)
    except (KeyError, AttributeError, ValueError) as error:
        raise Damaged(f"its meta table is incomplete: {error}") from error
