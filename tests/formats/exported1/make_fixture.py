"""Makes the fixture of version 1 of exported runs: ``run.zip``, signed with ``key``, both beside this file.

It was made once, by the first code that wrote this version, and stays as it is: every later version must import it, and
replay it with the same fingerprints. ``python make_fixture.py FOLDER`` writes into FOLDER.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEY = bytes(range(96, 128))


def make(folder: Path) -> None:
    """Write ``run.zip`` and ``key`` into ``folder``."""
    sys.path.insert(0, str(HERE))
    import program

    from notebook_durable import durable
    from notebook_durable.model import Ask, Message, Payload
    from notebook_durable.stores.keys import Signer
    from notebook_durable.stores.sqlite import SqliteStore

    with (
        tempfile.TemporaryDirectory() as temporary,
        closing(SqliteStore(Path(temporary) / ".durable", Signer(KEY))) as store,
    ):
        with durable("report", key="monday", store=store) as ctx:
            program.body(ctx)
        (run,) = store.runs()
        store.post(run.id, Message(0, 9, Ask.ANSWER, Payload("json", b'"yes"', "builtins.str"), "why", 5.0))
        store.export(run.id, folder / "run.zip", now=1_795_500_000.0)
    (folder / "key").write_bytes(KEY)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
