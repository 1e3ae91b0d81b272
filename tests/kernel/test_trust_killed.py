"""``trust`` in processes that are killed: the journal is as it was, or trusted, and trying again works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from notebook_durable.errors import UntrustedJournalError
from notebook_durable.model import Entry, EntryStatus, Owner, RunId
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.sqlite import SqliteStore

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
OLD, MINE = b"o" * 32, b"m" * 32
#: One value in its row, some in packs, some in files.
SIZES = (10, 100_000, 5_000_000, 200_000, 6_000_000, 1000)

CHILD = """
    import os, signal, sys
    from pathlib import Path
    from notebook_durable.stores import blob_file, collecting, trust_part, trust_values, trusting
    from notebook_durable.stores.keys import Signer
    from notebook_durable.stores.sqlite import SqliteStore

    place, where, nth = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    store = SqliteStore(place, Signer(b"m" * 32))
    calls = [0]

    def dying(real):
        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call

    holder, name = {
        "write": (trust_values, "write_at"),
        "file is there": (blob_file, "sync_folder"),
        "wait": (store._kept.blobs, "wait"),
        "sign": (trusting, "_set"),
        "meta": (trusting, "maker"),
        "commit": (trust_part.TrustPart, "_check_trusted"),
        "collect": (collecting, "unneeded"),
        "unlink": (Path, "unlink"),
    }[where]
    setattr(holder, name, dying(getattr(holder, name)))
    store.trust()
    print("survived")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    store = SqliteStore(tmp_path / ".durable", Signer(OLD))
    claim = store.claim(RunId("etl"), Owner(1, "there"), now=1.0)
    for seq, size in enumerate(SIZES):
        entry = Entry(
            seq, f"step {seq}", 0, EntryStatus.SUCCEEDED, 1, ended_at=2.0, serializer="dill", payload=b"%d" % seq,
            buffers=(bytes([seq]) * size,),
        )  # fmt: skip
        store.record(claim, entry)
    store.release(claim)
    store.close()
    return tmp_path / ".durable"


def all_values(store: SqliteStore) -> list[int]:
    found = [store.payload(1, entry) for entry in store.read(1)]
    assert [payload.data for payload in found] == [b"%d" % seq for seq in range(len(SIZES))]
    return [len(payload.buffers[0]) for payload in found]


@pytest.mark.parametrize(
    ("where", "nth"),
    [
        ("write", 1), ("write", 2), ("file is there", 1), ("file is there", 2), ("wait", 1), ("wait", 2),
        ("sign", 1), ("sign", 4), ("meta", 1), ("commit", 1), ("collect", 1), ("unlink", 3), ("unlink", 5),
    ],
)  # fmt: skip
def test_killed(place: Path, where: str, nth: int) -> None:
    """Exactly one of the two keys reads everything, at each point; then the new one does, and nothing is left over."""
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(place), where, str(nth)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stdout + child.stderr
    theirs, mine = SqliteStore(place, Signer(OLD)), SqliteStore(place, Signer(MINE))
    trusted = mine.untrusted() is None
    assert trusted is (where in ("commit", "collect", "unlink"))
    believer, other = (mine, theirs) if trusted else (theirs, mine)
    assert all_values(believer) == list(SIZES)
    assert {one.kind for one in believer.verify()} <= {"litter", "unused"}
    with pytest.raises(UntrustedJournalError):
        other.claim(RunId("etl"), Owner(1, "there"), now=3.0)
    theirs.close()
    done = mine.trust()
    assert done.damaged == 0
    assert done.steps == (0 if trusted else len(SIZES))
    mine.sweep()
    assert list(mine.verify()) == []
    assert all_values(mine) == list(SIZES)
    mine.close()


def test_in_the_notebook(start_this_kernel, tmp_path: Path) -> None:
    """`%durable trust PATH` asks and signs; `%durable` says before that the journal isn't believed, and not after."""
    kernel = start_this_kernel()
    (tmp_path / "key").write_bytes(OLD)
    kernel.run(f"%load_ext notebook_durable\n%config Durable.key_file = {str(tmp_path / 'key')!r}")
    cell = "%%durable churn\ndef load():\n    print('loading', file=open('ran', 'a'))\n    return {1, 2}\n"
    cell += "len(ctx.run('load', load))"
    assert kernel.run(cell).result == "2"
    (tmp_path / "key").write_bytes(MINE)
    error = kernel.run(cell).error
    assert "UntrustedJournalError" in error
    assert "%durable trust" in error
    shown = kernel.run("%durable trust --dry-run")
    text = "".join(content["data"]["text/plain"] for content in shown.of("display_data"))
    assert "A pickled value is a program" in text
    assert "UntrustedJournalError" in kernel.run("%durable load churn load").error
    assert "nobody can answer here" in kernel.run("%durable trust .").error
    assert "1 entry of 1 run signed with" in kernel.run("%durable trust . --yes").stream()
    assert kernel.run(cell).result == "2"
    assert kernel.value("open('ran').read().count('loading')") == "1"
