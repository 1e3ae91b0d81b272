"""Makes the fixture of format version 3: ``journal.db``, signed with ``key``, both beside this file.

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
KEY = bytes(range(64, 96))


def make(folder: Path) -> None:
    """Write ``journal.db`` and ``key`` into ``folder``."""
    sys.path.insert(0, str(HERE))
    import program

    from notebook_durable.engine.session import Ports, Session
    from notebook_durable.executors.inline import InlineExecutor
    from notebook_durable.model import Ask, Extra, Message, Owner, RunId
    from notebook_durable.retry import RetryPolicy
    from notebook_durable.serializers.codec import DefaultCodec
    from notebook_durable.signals import SigintGuard
    from notebook_durable.stores.keys import Signer
    from notebook_durable.stores.sqlite import SqliteStore
    from notebook_durable.testing.clock import FakeClock
    from notebook_durable.wiring import fingerprinter

    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / ".durable"
        with closing(SqliteStore(place, Signer(KEY))) as store:
            clock = FakeClock()
            ports = Ports(store, DefaultCodec(), InlineExecutor(), fingerprinter(), clock, SigintGuard())
            session = Session(RunId("report"), ports, Owner(1, "a machine"), policy=RetryPolicy())
            clock.after(1.0, lambda: session.controls.answer(0, "yes"))
            clock.after(2.0, lambda: session.controls.answer(1, {"amount": 2, "to": "you"}))
            program.body(session.context)
            entry = session.journal.get(3)
            outputs = '[{"output_type": "stream", "name": "stdout", "text": "adding\\n"}]'
            preview = '{"kind": "text", "type": "dict", "text": "{1: 3.5}"}'
            store.record(session.claim, entry, None, Extra(preview, outputs))
            session.close(None)
            store.post(session.claim.id, Message(0, -1, Ask.STOP, text="left over", at=5.0))
        with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = delete")
            connection.execute("VACUUM")
        shutil.copy(place / "journal.db", folder / "journal.db")
    (folder / "key").write_bytes(KEY)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
