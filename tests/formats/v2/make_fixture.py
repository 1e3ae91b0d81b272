"""Makes the fixture of format version 2: ``journal.db``, signed with ``key``, both beside this file.

It was made once, by the first code that wrote this format, and stays as it is: every later version must replay it, with
the same fingerprints. ``python make_fixture.py FOLDER`` writes into FOLDER.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEY = bytes(range(32, 64))


def make(folder: Path) -> None:
    """Write ``journal.db`` and ``key`` into ``folder``."""
    sys.path.insert(0, str(HERE))
    import program

    from notebook_durable import durable
    from notebook_durable.stores.keys import Signer
    from notebook_durable.stores.sqlite import SqliteStore

    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / ".durable"
        with closing(SqliteStore(place, Signer(KEY))) as store, durable("report", store=store) as ctx:
            program.body(ctx)
        with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = delete")
            connection.execute("VACUUM")
        shutil.copy(place / "journal.db", folder / "journal.db")
    (folder / "key").write_bytes(KEY)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
