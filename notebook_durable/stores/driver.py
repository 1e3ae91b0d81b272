"""SQLite's errors in our words: nothing of the driver leaves this package."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from notebook_durable.errors import JournalCorruptError, JournalUnwritableError, StoreError
from notebook_durable.stores.folder import free_space, move_away, unwritable
from notebook_durable.stores.rows import Damaged

__all__ = ["DRIVER_ERRORS", "translate"]

#: What calls of the driver may raise; OverflowError: a number or value larger than SQLite's columns;
#: UnicodeDecodeError: a message of SQLite that quotes a damaged file.
DRIVER_ERRORS = (sqlite3.Error, OSError, OverflowError, UnicodeDecodeError, Damaged)

_ELSEWHERE = "Move the journal to a folder that you can write: NOTEBOOK_DURABLE_STORE or %config Durable.store."
_WORDS = {
    sqlite3.SQLITE_READONLY: ("the file or its folder is read-only", _ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: ("the file can't be opened (permissions?)", _ELSEWHERE),
    sqlite3.SQLITE_PERM: ("permission denied", _ELSEWHERE),
    sqlite3.SQLITE_AUTH: ("permission denied", _ELSEWHERE),
    sqlite3.SQLITE_BUSY: ("it is locked by another program", "Close that program and run the cell again."),
    sqlite3.SQLITE_LOCKED: ("it is locked by another program", "Close that program and run the cell again."),
    sqlite3.SQLITE_PROTOCOL: ("it is locked by another program", "Close that program and run the cell again."),
    sqlite3.SQLITE_NOLFS: ("the file system has no large files", _ELSEWHERE),
    sqlite3.SQLITE_TOOBIG: (
        "the value is larger than the 1 GB that a row can hold",
        "Have the step write it to a file of its own and return the path.",
    ),
}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT}
#: Input/output errors that mean: the file ends before it should.
_SHORT = {sqlite3.SQLITE_IOERR_SHORT_READ, getattr(sqlite3, "SQLITE_IOERR_CORRUPTFS", -1)}


def translate(error: BaseException, file: Path) -> StoreError:
    """Return the StoreError that says what ``error``, raised at the database ``file``, means."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, (Damaged, UnicodeDecodeError)):
        return corrupt(file, str(error))
    if isinstance(error, OSError):
        return unwritable(file, error)
    if isinstance(error, OverflowError):
        return JournalUnwritableError(str(file), *_WORDS[sqlite3.SQLITE_TOOBIG])
    extended = getattr(error, "sqlite_errorcode", None)
    if extended is None:
        # The driver's own: closed connection, wrong use.
        return StoreError(f"the journal at {file} can't be used: {error}")
    code = extended & 0xFF
    if code in _CORRUPT or extended in _SHORT or (code == sqlite3.SQLITE_ERROR and "no such" in str(error)):
        return corrupt(file, str(error))
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
        return _full(file, code, error)
    if code in _WORDS:
        return JournalUnwritableError(str(file), *_WORDS[code])
    return StoreError(f"the journal at {file} can't be used: {error} (SQLite error {extended})")


def corrupt(file: Path, reason: str) -> JournalCorruptError:
    """Describe a damaged database and how to set it aside."""
    return JournalCorruptError(
        f"the journal's database {file} is damaged ({reason}). It was left as it is. Restore it from a backup, or "
        f"begin a new journal by moving it away:\n    {move_away(file.parent)}"
    )


def _full(file: Path, code: int, error: BaseException) -> JournalUnwritableError:
    free = free_space(file.parent)
    full = code == sqlite3.SQLITE_FULL or (free is not None and free < 1 << 16)
    reason = "the disk is full" if full else f"the system reports an input/output error ({error})"
    room = "" if free is None else f"{free // 1024} KB are free there. "
    return JournalUnwritableError(str(file), reason, room + ("Free some space and run the cell again." if full else ""))
