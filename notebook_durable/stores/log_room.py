"""Room in SQLite's log (WAL): filled with zeros once, so that the commits after that only overwrite.

A commit that makes the log longer waits for two things: what it wrote, and the file system's own journal, which has to
know the new length. One that overwrites waits for the first alone (ext4: 155 us instead of 245). SQLite itself
overwrites as soon as the log was copied into the database once, after 4 MB; here it does so from the start.

To SQLite the zeros are nothing: a frame of the log counts if its salt and its checksum are right. They are written
beyond the end of the log, while the write lock keeps everybody else from writing there.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from contextlib import suppress
from pathlib import Path

from notebook_durable.stores.folder import free_space
from notebook_durable.stores.syncing import sync_file

__all__ = ["make_room"]

#: As long as a log gets: 1000 pages of 4096 bytes and their heads, and a little more for a last large commit.
_LENGTH = 1100 * (4096 + 24)
#: Bytes that must be free: a full disk is the wrong place for this.
_FREE = 64 << 20
_CHUNK = 1 << 20


def make_room(connection: sqlite3.Connection, database: Path) -> None:
    """Make the log of a database as long as it gets. What goes wrong changes nothing.

    Args:
        connection: to the database in WAL mode, outside of a transaction.
        database: its file.
    """
    if sys.platform != "linux":
        return  # the file systems of others copy on write, or weren't measured
    free = free_space(database.parent)
    if free is not None and free < _FREE:
        return
    with suppress(OSError, sqlite3.Error):
        connection.execute("BEGIN IMMEDIATE")
        try:
            _fill(f"{database}-wal")
        finally:
            connection.execute("ROLLBACK")


def _fill(log: str) -> None:
    # SQLite keeps no lock on this file, so closing a descriptor of it takes none away.
    descriptor = os.open(log, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return
        end = status.st_size
        try:
            while end < _LENGTH:
                end += os.pwrite(descriptor, bytes(min(_CHUNK, _LENGTH - end)), end)
            sync_file(descriptor)
        except OSError:
            os.ftruncate(descriptor, status.st_size)
            raise
    finally:
        os.close(descriptor)
