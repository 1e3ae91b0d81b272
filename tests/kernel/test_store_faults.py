"""The SQLite store on real full and read-only disks, and over damaged files.

The mounts need root; root ignores file modes, so a read-only disk is a mount too.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from notebook_durable.errors import JournalUnwritableError, StoreError
from notebook_durable.model import Attempt, Entry, EntryStatus, Outcome, RunId, RunStatus, StepCode
from notebook_durable.stores.keys import Signer, load_key
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.wiring import this_process

pytestmark = pytest.mark.kernel

RUN = RunId("wf")
ME = this_process()


def entry(seq: int, payload: bytes | None = None) -> Entry:
    started = Entry(seq, f"step {seq}", 0, EntryStatus.RUNNING, 1, 0, 1, 0.0, 1.0)
    if payload is None:
        return started
    return started._replace(status=EntryStatus.SUCCEEDED, serializer="json", payload=payload)


# --- real mounts --------------------------------------------------------------------------


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"mount {' '.join(arguments)} failed (needs root): {done.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    point = tmp_path / "disk"
    point.mkdir()
    if shutil.which("mount") is None:
        pytest.fail("no mount") if os.environ.get("CI") else pytest.skip("no mount command here")
    _mount("-t", "tmpfs", "-o", "size=1m", "none", str(point))
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def fill(disk: Path) -> Path:
    """Fill the disk to the last byte, and return the file that does."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return filler


def until_full(write: Callable[[int], None]) -> JournalUnwritableError:
    """Write until the disk is full; a small write may still find room in what the log has already."""
    for n in range(2000):
        try:
            write(n)
        except JournalUnwritableError as error:
            return error
    raise AssertionError("the disk was never full")


class TestFullDisk:
    def test_record(self, disk: Path, signer: Signer) -> None:
        """A full disk refuses the value in words and keeps what was there; with room, the same store goes on."""
        with closing(SqliteStore(disk / ".durable", signer)) as store:
            claim = store.claim(RUN, ME, now=1.0)
            store.record(claim, entry(0, b"0"))
            store.begin(claim, entry(1))
            filler = fill(disk)
            error = until_full(lambda _: store.record(claim, entry(1, b"x" * 60_000)))
            assert "full" in str(error)
            assert list(store.entries(claim)) == [entry(0, b"0"), entry(1)]
            filler.unlink()
            store.record(claim, entry(1, b"y" * 60_000))
            assert list(store.entries(claim)) == [entry(0, b"0"), entry(1, b"y" * 60_000)]
        with closing(SqliteStore(disk / ".durable", signer)) as store:
            assert [e.intact for e in store.read(claim.id)] == [True, True]

    def test_record_with_an_attempt(self, disk: Path, signer: Signer) -> None:
        """On a full disk neither the entry nor its attempt is written: both or none."""
        with closing(SqliteStore(disk / ".durable", signer)) as store:
            claim = store.claim(RUN, ME, now=1.0)
            fill(disk)
            failed = Attempt(0, 0, 1, 1.0, 1.0, {"type": "E", "traceback": "x" * 200_000}, 1.0)
            until_full(lambda _: store.record(claim, entry(0), failed))
            assert list(store.entries(claim)) == list(store.attempts(claim.id, 0)) == []

    def test_begin(self, disk: Path, signer: Signer) -> None:
        """A full disk refuses a start in words, and later the same store goes on."""
        with closing(SqliteStore(disk / ".durable", signer)) as store:
            claim = store.claim(RUN, ME, now=1.0)
            filler = fill(disk)
            error = until_full(lambda n: store.begin(claim, entry(n)._replace(note="x" * 5000)))
            assert "full" in str(error)
            kept = store.entries(claim)
            assert all(e.intact for e in kept)
            filler.unlink()
            store.begin(claim, entry(5000))
            assert list(store.entries(claim)) == [*kept, entry(5000)]

    def test_claim_and_end(self, disk: Path, signer: Signer) -> None:
        """A full disk refuses a claim and an end; the run isn't held, and its execution still open."""
        with closing(SqliteStore(disk / ".durable", signer)) as store:
            claim = store.claim(RUN, ME, now=1.0)
            filler = fill(disk)
            until_full(
                lambda _: store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, [entry(0, b"x" * 300_000)], now=2.0)
            )
            assert store.runs()[0].status is RunStatus.RUNNING
            store.release(claim)

            def claim_another(n: int) -> None:
                store.claim(RunId("x" * 200, str(n)), ME, now=1.0, notebook="y" * 4000)

            until_full(claim_another)
            filler.unlink()
            assert store.claim(RUN, ME, now=3.0).previous is Outcome.KILLED

    def test_making_a_journal(self, disk: Path, signer: Signer) -> None:
        """A journal that can't be made leaves no half of one, and is made once there is room."""
        filler = fill(disk)
        with pytest.raises(JournalUnwritableError):
            SqliteStore(disk / ".durable", signer)
        assert not (disk / ".durable" / "journal.db").exists()
        filler.unlink()
        with closing(SqliteStore(disk / ".durable", signer)) as store:
            store.record(store.claim(RUN, ME, now=1.0), entry(0, b"0"))

    def test_making_a_key(self, disk: Path) -> None:
        """A key that can't be written whole is not made."""
        from notebook_durable.errors import ConfigurationError

        filler = fill(disk)
        with pytest.raises(ConfigurationError, match="No space left"):
            load_key(disk / "key")
        assert sorted(path.name for path in disk.iterdir()) == ["filler"]
        filler.unlink()
        assert len(load_key(disk / "key")) == 32


class TestReadOnlyDisk:
    def test_under_an_execution(self, disk: Path, signer: Signer) -> None:
        """A disk that becomes read-only refuses every write in words; what was recorded can still be read."""
        store = SqliteStore(disk / ".durable", signer)
        claim = store.claim(RUN, ME, now=1.0)
        store.record(claim, entry(0, b"0"))
        store.close()
        _mount("-o", "remount,ro", str(disk))
        with pytest.raises(JournalUnwritableError, match=r"read-only|can't be opened|Read-only"):
            opened = SqliteStore(disk / ".durable", signer)
            try:
                opened.claim(RUN, ME, now=2.0)
            finally:
                opened.close()
        _mount("-o", "remount,rw", str(disk))
        with closing(SqliteStore(disk / ".durable", signer)) as again:
            assert list(again.read(claim.id)) == [entry(0, b"0")]

    def test_no_journal_there(self, disk: Path, signer: Signer) -> None:
        """A journal can't be made on a read-only disk: the folder and what to set are named."""
        _mount("-o", "remount,ro", str(disk))
        with pytest.raises(JournalUnwritableError, match="Read-only") as caught:
            SqliteStore(disk / ".durable", signer)
        assert "NOTEBOOK_DURABLE_STORE" in str(caught.value)
        assert str(disk) in str(caught.value)


# --- damaged files ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, list[Entry]]]:
    """A journal of two runs, several pages deep, and what is recorded in it."""
    place = tmp_path_factory.mktemp("healthy") / ".durable"
    recorded: dict[int, list[Entry]] = {}
    with closing(SqliteStore(place, Signer(b"k" * 32))) as store:
        for key in ("a", "b"):
            claim = store.claim(RunId("wf", key), ME, now=1.0)
            entries = [
                entry(n, f"{key} {n}".encode() * (2000 if n % 10 == 3 else 3))._replace(code=StepCode(f"source {n}"))
                for n in range(60)
            ]
            for each in entries:
                store.record(claim, each, Attempt(each.seq, 0, 1, 1.0, 1.0, {"type": "E"}, 1.0))
            store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=2.0)
            store.release(claim)
            recorded[claim.id] = entries
    return place, recorded


def check(place: Path, recorded: dict[int, list[Entry]]) -> str:
    """Use a damaged journal in every way; only right values, or StoreErrors, may come out.

    Returns:
        What happened: "refused", "noticed" or "unharmed".
    """
    expected = {(run_id, e.seq): e for run_id, entries in recorded.items() for e in entries}
    by_run = {RunId("wf", key): run_id for key, run_id in zip("ab", recorded, strict=True)}
    attempt = Attempt(0, 0, 1, 1.0, 1.0, {"type": "E"}, 1.0)
    result = "unharmed"
    try:
        store = SqliteStore(place, Signer(b"k" * 32))
    except StoreError:
        return "refused"
    with closing(store):
        for run, run_id in by_run.items():
            try:
                store.runs(archived=True)
                claim = store.claim(run, ME, now=3.0)
                found = list(store.entries(claim))
                for e in found:
                    if not e.intact:
                        assert e.payload is None
                        result = "noticed"
                    else:
                        assert e == expected[run_id, e.seq]
                        assert claim.id == run_id
                        for one in store.attempts(claim.id, e.seq):
                            assert one == attempt.__class__(e.seq, 0, 1, 1.0, 1.0, {"type": "E"}, 1.0)
                if len(found) != 60:
                    result = "noticed"
                store.record(claim, entry(99, b"new"))
                store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=4.0)
                store.release(claim)
            except StoreError:
                result = "noticed"
    return result


def damaged_copy(healthy: Path, tmp_path: Path, content: bytes) -> Path:
    place = tmp_path / ".durable"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(healthy, place)
    (place / "journal.db").write_bytes(content)
    return place


def test_truncated(healthy: tuple[Path, dict[int, list[Entry]]], tmp_path: Path) -> None:
    """A database cut anywhere gives right values or a StoreError, and never another error; it is never made anew."""
    place, recorded = healthy
    whole = (place / "journal.db").read_bytes()
    randomness = random.Random(1)
    cuts = {*range(0, len(whole), 4096), 1, 50, 99, 100, 101, len(whole) - 1, *randomness.sample(range(len(whole)), 60)}
    for cut in sorted(cuts):
        result = check(damaged_copy(place, tmp_path, whole[:cut]), recorded)
        assert result != "unharmed", f"cut at {cut}"
        if cut < 100:
            assert (tmp_path / ".durable" / "journal.db").read_bytes() == whole[:cut]


def test_flipped_bits(healthy: tuple[Path, dict[int, list[Entry]]], tmp_path: Path) -> None:
    """A database with any bit flipped gives right values or StoreErrors, and never another error."""
    place, recorded = healthy
    whole = (place / "journal.db").read_bytes()
    randomness = random.Random(2)
    # All of the header and of the schema's page beginning, then anywhere; single bits and whole bytes.
    places = [*range(100), *randomness.sample(range(100, 4096), 60), *randomness.sample(range(len(whole)), 350)]
    results = []
    for position in places:
        content = bytearray(whole)
        content[position] ^= randomness.choice([1, 2, 4, 8, 16, 32, 64, 128, 255])
        results.append(check(damaged_copy(place, tmp_path, bytes(content)), recorded))
    # The test must see damage of every kind, and (in free space) none.
    assert {"refused", "noticed", "unharmed"} == set(results)


def test_torn_pages(healthy: tuple[Path, dict[int, list[Entry]]], tmp_path: Path) -> None:
    """A page that is all zeros, or another page's content, gives right values or StoreErrors."""
    place, recorded = healthy
    whole = (place / "journal.db").read_bytes()
    pages = len(whole) // 4096
    for number in range(pages):
        for content in (bytes(4096), whole[(number + 1) % pages * 4096 :][:4096]):
            damaged = whole[: number * 4096] + content + whole[(number + 1) * 4096 :]
            check(damaged_copy(place, tmp_path, damaged), recorded)


def test_damaged_log(tmp_path: Path) -> None:
    """A log that was cut or flipped (a power cut in a write) loses its tail at most, never a value's truth."""
    place = tmp_path / "first" / ".durable"
    written = [entry(n, f"a {n}".encode() * 3) for n in range(40)]
    # The files are copied while the journal is open: so a dead kernel leaves them.
    with closing(SqliteStore(place, Signer(b"k" * 32))) as store:
        claim = store.claim(RunId("wf", "a"), ME, now=1.0)
        for each in written:
            store.record(claim, each)
        content = {path.name: path.read_bytes() for path in place.glob("journal.db*") if not path.name.endswith("-shm")}
    log, randomness, lengths = content["journal.db-wal"], random.Random(3), set()
    for case in range(80):
        damaged = bytearray(log)
        position = randomness.randrange(len(log.rstrip(b"\0")))  # not in the room that was made for more
        if case % 2:
            del damaged[position:]
        else:
            damaged[position] ^= 1 << randomness.randrange(8)
        copy = tmp_path / "copy" / ".durable"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        (copy / "journal.db").write_bytes(content["journal.db"])
        (copy / "journal.db-wal").write_bytes(damaged)
        try:
            with closing(SqliteStore(copy, Signer(b"k" * 32))) as store:
                found = list(store.entries(store.claim(RunId("wf", "a"), ME, now=2.0)))
                assert found == written[: len(found)]
                lengths.add(len(found))
        except StoreError:
            continue
    assert len(lengths) > 10
