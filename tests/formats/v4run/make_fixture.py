"""Makes the second fixture of format version 4: a run of ``program.py`` by the engine, with values in all places.

It was made once, by the first release that wrote this format, and stays as it is: every later version must replay it,
with the same fingerprints. ``python make_fixture.py FOLDER`` writes ``journal.db``, ``blobs``, ``packs`` and ``key``.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEY = bytes(range(128, 160))


def make(folder: Path) -> None:
    """Write the fixture into ``folder``."""
    sys.path.insert(0, str(HERE))
    import program

    from notebook_durable.engine.session import Ports, Session
    from notebook_durable.executors.inline import InlineExecutor
    from notebook_durable.model import Owner, RunId
    from notebook_durable.previews import preview
    from notebook_durable.retry import RetryPolicy
    from notebook_durable.serializers.codec import DefaultCodec
    from notebook_durable.signals import SigintGuard
    from notebook_durable.stores import blobs
    from notebook_durable.stores.keys import Signer
    from notebook_durable.stores.sqlite import SqliteStore
    from notebook_durable.testing.clock import FakeClock
    from notebook_durable.wiring import fingerprinter

    largest, blobs.LARGEST_IN_PACK = blobs.LARGEST_IN_PACK, 90_000  # else the file were one of 4 MB
    try:
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary) / ".durable"
            with closing(SqliteStore(place, Signer(KEY))) as store:
                clock = FakeClock()
                ports = Ports(
                    store, DefaultCodec(), InlineExecutor(), fingerprinter(), clock, SigintGuard(), previewer=preview
                )
                session = Session(RunId("report"), ports, Owner(1, "a machine"), policy=RetryPolicy())
                clock.after(1.0, lambda: session.controls.answer(0, "yes"))
                assert program.body(session.context) == program.RESULT
                session.close(None)
            with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = delete")
                connection.execute("VACUUM")
            shutil.copy(place / "journal.db", folder / "journal.db")
            for name in ("blobs", "packs"):
                shutil.copytree(place / name, folder / name)
    finally:
        blobs.LARGEST_IN_PACK = largest
        sys.path.remove(str(HERE))
    (folder / "key").write_bytes(KEY)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
