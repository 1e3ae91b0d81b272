"""Makes the fixture of format version 1: ``journal.db``, signed with ``key``, both beside this file.

It was made once, by the first code that wrote this format, and stays as it is: every later version must read it. Run
it again only to see what it holds: ``python make_fixture.py FOLDER`` writes into FOLDER.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from notebook_durable.model import (
    Attempt,
    Entry,
    EntryStatus,
    Failure,
    Outcome,
    Owner,
    RunId,
    RunStatus,
    StepCode,
)
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.sqlite import SqliteStore

KEY = bytes(range(32))
OWNER = Owner(4711, "laptop", "boot-1", "12345")
NOTEBOOK = "/home/ada/report.ipynb"

_ERROR = {"type": "urllib.error.URLError", "message": "no route to höst", "traceback": "Traceback ...\n"}

#: What is recorded in the run "report" (key "2026-11-24"), by seq.
ENTRIES = [
    Entry(
        0, "load", 0, EntryStatus.SUCCEEDED, 1, 0, 1, 1.5, 1000.0, 1001.5, 1.5, "json", b'{"rows": [1, 2.5, null]}',
        "dict", code=StepCode("lambda: load()", "", "", 0),
    ),
    Entry(
        1, "load", 1, EntryStatus.SUCCEEDED, 1, 0, 3, 4.25, 1002.0, 1006.25, 0.5, "json", b'"\\ud83d\\ude80"', "str",
        code=StepCode("def fetch():\n    return '🚀'\n", "d1g357", "f1n9", 1),
    ),
    Entry(
        2, "charge 🚀", 0, EntryStatus.FAILED, 1, 1, 2, 2.0, 1010.0, 1012.0, 0.125, "json", b"null", "NoneType",
        {**_ERROR, "status_code": 409, "metadata": {"order": "17"}}, Failure.TERMINAL, survived=True,
        code=StepCode("lambda: charge()"),
    ),
    Entry(
        3, "refund", 0, EntryStatus.SUCCEEDED, 1, 0, 1, 0.25, 1013.0, 1013.25, 0.25, "json", b"true", "bool",
        rollback_of=2, at_most_once=True,
    ),
    Entry(
        4, "typo", 0, EntryStatus.FAILED, 1, 0, 1, 0.0, 1014.0, 1014.5, 0.5,
        error={"type": "NameError", "message": "x"}, failure=Failure.FATAL, left=True,
    ),
    Entry(5, "stopped", 0, EntryStatus.INTERRUPTED, 2, 0, 1, 3.0, 1020.0),
    Entry(6, "timed out", 0, EntryStatus.CANCELLED, 2, 0, 1, 3.0, 1021.0, 1024.0, 3.0),
    Entry(7, "a lock", 0, EntryStatus.UNSTORABLE, 2, 0, 1, 0.5, 1025.0, 1025.5, 0.5, note="not storable: _thread.lock"),
    Entry(8, "open", 0, EntryStatus.RUNNING, 2, 0, 1, 0.0, 1030.0),
    Entry(9, "big", 0, EntryStatus.SUCCEEDED, 2, 0, 1, 0.5, 1031.0, 1031.5, 0.5, "json", b"[" + b"7, " * 4000 + b"7]"),
]  # fmt: skip

ATTEMPTS = [
    Attempt(1, 0, 1, 1002.0, 0.5, _ERROR, 0.5),
    Attempt(1, 0, 2, 1003.0, 0.5, _ERROR, 1.0),
    Attempt(2, 1, 2, 1011.0, 0.125, _ERROR, None),
]


def make(folder: Path) -> None:
    """Write ``journal.db`` and ``key`` into ``folder``."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / ".durable"
        with closing(SqliteStore(place, Signer(KEY))) as store:
            run = RunId("report", "2026-11-24")
            old = store.claim(run, OWNER, now=900.0, notebook=NOTEBOOK)
            store.record(old, ENTRIES[0])
            store.end(old, Outcome.COMPLETED, RunStatus.COMPLETED, now=950.0)
            store.release(old)
            first = store.claim(run, OWNER, now=999.0, notebook=NOTEBOOK, fresh=True)
            for entry in ENTRIES[:5]:
                for attempt in ATTEMPTS:
                    if attempt.seq == entry.seq:
                        store.record(first, entry, attempt)
                store.record(first, entry)
            store.end(first, Outcome.FAILED, RunStatus.FAILED, now=1015.0)
            store.release(first)
            second = store.claim(run, OWNER, now=1016.0, notebook=NOTEBOOK)
            for entry in ENTRIES[5:]:
                store.record(second, entry)
            store.release(second)  # its kernel died: the execution is open
        with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as connection:
            # One file that needs no log beside it.
            connection.execute("PRAGMA journal_mode = delete")
            connection.execute("VACUUM")
        shutil.copy(place / "journal.db", folder / "journal.db")
    (folder / "key").write_bytes(KEY)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
