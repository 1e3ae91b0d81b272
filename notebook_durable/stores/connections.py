"""The connections of one store: two for writing, one for reading, none in a forked child.

Two for writing, because SQLite's ``synchronous`` belongs to the connection: ``full`` waits for the disk in each commit,
``quick`` doesn't (a killed process keeps what it wrote, a power cut may take it). Neither checkpoint of ``quick``: that
would wait for the disk.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from notebook_durable.errors import JournalUnwritableError, StoreError
from notebook_durable.stores import folder, schema
from notebook_durable.stores.log_room import make_room

__all__ = ["Connections"]

#: The commit before which the log is given room: who makes so many will make more.
_MANY = 8


class Connections:
    """Opens the database of a journal, making it if there is none.

    Args:
        file: the database.
        key_id: of the key that a new journal is signed with.
        network: type of the network file system it is on, "" for a local one.
        on_notice: told when the journal can't use SQLite's WAL.
        now: seconds since the epoch, written into a new journal.
        key_path: where that key lies, for the messages of who can't read it.

    Attributes:
        full, quick, read: the connections. ``quick`` is ``full`` where there is no WAL.
        meta: what the journal says of itself.
        write_lock, read_lock: to be held while they are used.
    """

    def __init__(
        self,
        file: Path,
        key_id: str,
        network: str,
        on_notice: Callable[[str], None],
        now: float,
        key_path: str = "",
    ) -> None:
        self.file = file
        self.write_lock = threading.RLock()
        self.read_lock = threading.RLock()
        self._open: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        self._path = str(file)
        self._commits = 0
        folder.prepare(file.parent)
        schema.open_database(file, key_id, now, key_path)
        self._key = schema.file_key(file)
        try:
            self.full = self._connect("FULL")
            mode = schema.set_journal_mode(self.full, "delete" if network else "wal")
            schema.check_schema(self.full)
            self.meta = schema.read_meta(self.full, file)
            schema.upgrade(self.full)
            self.quick = self.full
            if mode == "wal":
                self.quick = self._connect("NORMAL")
                self.quick.execute("PRAGMA wal_autocheckpoint = 0")
            self.read = self._connect("NORMAL", read_only=True)
        except BaseException:
            self.close()
            raise
        if mode != "wal":
            where = f"is on a network file system ({network})" if network else "is where SQLite's WAL doesn't work"
            on_notice(
                f"the journal {file.parent} {where}: it uses SQLite's slower rollback journal. "
                "NOTEBOOK_DURABLE_STORE or %config Durable.store moves it to a local disk."
            )
        _all.add(self)

    def _connect(self, synchronous: str, *, read_only: bool = False) -> sqlite3.Connection:
        connection = schema.connect(self.file, synchronous, read_only=read_only)
        self._open.append(connection)
        return connection

    def check_process(self) -> None:
        """Refuse to work in a forked child, whose use of the parent's connections could damage the database.

        Raises:
            StoreError: in a child.
        """
        if os.getpid() != self._pid:
            raise StoreError(
                f"the journal {self.file.parent} was opened by process {self._pid}; this is its forked child "
                f"{os.getpid()}. Use ctx in the kernel itself, and return the child's result to it."
            )

    def is_current(self) -> bool:
        """Tell whether the file that is open is still the one at its path."""
        try:
            status = os.stat(self._path)  # noqa: PTH116  before each commit
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._key

    def check_present(self) -> None:
        """Refuse to write to a file that was deleted or replaced: SQLite would, and the steps would be lost.

        Raises:
            JournalUnwritableError: if it was.
        """
        if not self.is_current():
            raise JournalUnwritableError(
                str(self.file),
                "the file was moved or deleted while it was in use",
                "Put it back, or run the cell again to begin a new journal.",
            )

    def before_commit(self) -> None:
        """Be called before each commit of a step that waits for the disk, outside of a transaction.

        Raises:
            JournalUnwritableError: as :meth:`check_present` does.
        """
        self.check_present()
        self._commits += 1
        if self._commits == _MANY and self.quick is not self.full:
            make_room(self.full, self.file)

    def close(self) -> None:
        """Close all. Never raises; twice does nothing."""
        if os.getpid() == self._pid:
            _all.discard(self)
            while self._open:
                schema.close(self._open.pop(), self._key)

    def abandon(self) -> None:
        """Let go without closing: in a forked child, where closing would touch the parent's files."""
        _abandoned.extend(self._open)
        self._open.clear()
        self.write_lock, self.read_lock = threading.RLock(), threading.RLock()  # maybe held by a thread that isn't here


_all: weakref.WeakSet[Connections] = weakref.WeakSet()
#: Never freed, hence never closed.
_abandoned: list[sqlite3.Connection] = []


def _abandon_in_child() -> None:
    for connections in list(_all):
        connections.abandon()
    _all.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_in_child)
