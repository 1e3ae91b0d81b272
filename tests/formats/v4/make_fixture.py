"""Makes the fixture of format version 4: ``journal.db``, ``blobs``, ``packs``, signed with ``key``, beside this file.

It was made once, by the first code that wrote this format, and stays as it is: every later version must read it.
``python make_fixture.py FOLDER`` writes into FOLDER.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from notebook_durable.errors import StoreError
from notebook_durable.model import Entry, EntryStatus, Outcome, Owner, RunId, RunStatus, StepCode
from notebook_durable.stores import blobs
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.sqlite import SqliteStore

KEY = bytes(range(96, 128))
RUN = RunId("values")


def _entry(seq: int, name: str, data: bytes, *buffers: bytes, libraries: str = "") -> Entry:
    return Entry(
        seq, name, 0, EntryStatus.SUCCEEDED, 1, 0, 1, 0.5, 1000.0 + seq, 1000.5 + seq, 0.5, "dill", data, "list",
        code=StepCode("", "", f"print {seq}", 4), buffers=buffers, libraries=libraries,
    )  # fmt: skip


#: By seq: in the row as ever, in the row with buffers, in a pack, in a file of its own, and without a value.
ENTRIES = [
    _entry(0, "plain", b"[1, 2]")._replace(serializer="json"),
    _entry(1, "versions", b"data", libraries="numpy 2.1.0, pandas 2.2.3"),
    _entry(2, "row", b"data of row", b"first", b"", bytes(range(256)), libraries="numpy 2.1.0"),
    _entry(3, "pack", b"data of pack", b"p" * 70_000, b"second", libraries="numpy 2.1.0"),
    _entry(4, "pack 2", b"d" * 66_000),
    _entry(5, "file", b"data of file", b"f" * 30_000, b"g" * 80_000, libraries="polars 1.10"),
    Entry(6, "open", 0, EntryStatus.RUNNING, 1, 0, 1, 0.0, 1006.0),
]  # fmt: skip
#: What a kernel recorded that had lost the run.
DETACHED = _entry(3, "pack", b"late", b"l" * 67_000)


def make(folder: Path) -> None:
    """Write the fixture into ``folder``."""
    largest, blobs.LARGEST_IN_PACK = blobs.LARGEST_IN_PACK, 100_000  # else the file were one of 4 MB
    try:
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary) / ".durable"
            with closing(SqliteStore(place, Signer(KEY))) as store:
                claim = store.claim(RUN, Owner(1, "a machine"), now=999.0)
                for entry in ENTRIES:
                    store.record(claim, entry)
                with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as other:
                    other.execute("UPDATE runs SET epoch = epoch + 1")
                    with suppress(StoreError):
                        store.record(claim, DETACHED)
                    other.execute("UPDATE runs SET epoch = epoch - 1")
                store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=1010.0)
            with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = delete")
                connection.execute("VACUUM")
            for name in ("journal.db", "blobs", "packs"):
                (shutil.copy if name == "journal.db" else shutil.copytree)(place / name, folder / name)
    finally:
        blobs.LARGEST_IN_PACK = largest
    (folder / "key").write_bytes(KEY)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
