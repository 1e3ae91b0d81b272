"""Large values on the disk: damage is never believed, nothing that could be mapped changes, nothing is left over."""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import pickle
import random
import shutil
import signal
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from notebook_durable.errors import (
    DamagedValueError,
    JournalUnwritableError,
    StoreError,
    UntrustedJournalError,
)
from notebook_durable.model import Attempt, Claim, Entry, EntryStatus, Extra, Owner, RunId
from notebook_durable.stores import blob_file, collecting, mapping, packs, syncing
from notebook_durable.stores import blobs as blobs_module
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.layout import Misshapen, data_span, image_of, shape_of
from notebook_durable.stores.references import BlobRef, PackRef, reference_from, row_lengths
from notebook_durable.stores.sqlite import SqliteStore

RUN = RunId("etl")
ME = Owner(os.getpid(), "here", "boot", "start")
#: Buffers that make a value lie in a pack, in a file.
PACK, FILE = 100_000, 5_000_000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / ".durable"


@pytest.fixture
def make(place: Path, signer: Signer) -> Iterator[Callable[..., SqliteStore]]:
    stores: list[SqliteStore] = []

    def build(path: Path = place, with_signer: Signer = signer) -> SqliteStore:
        stores.append(SqliteStore(path, with_signer))
        return stores[-1]

    yield build
    for store in stores:
        store.close()


@pytest.fixture
def store(make: Callable[..., SqliteStore]) -> SqliteStore:
    return make()


@pytest.fixture
def claim(store: SqliteStore) -> Claim:
    return store.claim(RUN, ME, now=1.0)


def entry(seq: int, size: int, fill: str = "") -> Entry:
    """An entry whose value has a buffer of ``size`` bytes, its own."""
    letter = (fill or chr(97 + seq)).encode()
    return Entry(
        seq, f"step {seq}", 0, EntryStatus.SUCCEEDED, serializer="dill", payload=b"data " + letter,
        buffers=(letter * size,),
    )  # fmt: skip


def value(store: SqliteStore, seq: int = 0) -> tuple[bytes, ...]:
    run_id = store.runs()[0].id
    (found,) = store.read(run_id, [seq])
    payload = store.payload(run_id, found)
    return (payload.data, *(bytes(one) for one in payload.buffers))


def written(one: Entry) -> tuple[bytes, ...]:
    assert one.payload is not None
    return (one.payload, *one.buffers)


def files(place: Path, *kinds: str) -> list[Path]:
    kinds = kinds or ("blobs", "packs", "quarantine")
    return sorted(path for kind in kinds for path in (place / kind).glob("*"))


def sql(place: Path, *statements: str) -> None:
    with closing(sqlite3.connect(place / "journal.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


class TestDamage:
    @pytest.mark.parametrize("size", [PACK, FILE])
    def test_any_flipped_bit(self, store: SqliteStore, claim: Claim, place: Path, size: int) -> None:
        """A bit flipped anywhere, in header, zeros, data or buffers, is found, told, and the bytes are set aside."""
        one = entry(0, size)
        store.record(claim, one)
        (file,) = files(place, "blobs", "packs")
        good = file.read_bytes()
        randomness = random.Random(1)
        spots = [*range(0, 200, 7), 4095, 4096, len(good) - 1, *(randomness.randrange(len(good)) for _ in range(30))]
        for spot in spots:
            bad = bytearray(good)
            bad[spot] ^= 1 << randomness.randrange(8)
            file.unlink(missing_ok=True)
            file.write_bytes(bad)
            shutil.rmtree(place / "quarantine", ignore_errors=True)
            with pytest.raises(DamagedValueError, match="step 0"):
                value(store)
            (aside,) = files(place, "quarantine")
            assert aside.read_bytes() == (bytes(bad) if size == FILE else bytes(bad)[: len(good)])
            assert file.exists() == (size == PACK)
        file.write_bytes(good)
        assert value(store) == written(one)

    @pytest.mark.parametrize("size", [PACK, FILE])
    @pytest.mark.parametrize("left", [0, 1, 23, 24, 64, 4096, -1])
    def test_truncated(self, store: SqliteStore, claim: Claim, place: Path, size: int, left: int) -> None:
        """A file that is cut off, wherever, is never mapped: the kernel lives."""
        store.record(claim, entry(0, size))
        (file,) = files(place, "blobs", "packs")
        os.truncate(file, left if left >= 0 else file.stat().st_size - 1)
        with pytest.raises(DamagedValueError, match="cut off"):
            value(store)

    def test_longer(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """A file with more bytes than were written is not what was written."""
        store.record(claim, entry(0, FILE))
        (file,) = files(place)
        with file.open("ab") as stream:
            stream.write(b"!")
        with pytest.raises(DamagedValueError):
            value(store)

    @pytest.mark.parametrize("size", [PACK, FILE])
    def test_missing(self, store: SqliteStore, claim: Claim, place: Path, size: int) -> None:
        """A file that is gone is said to be."""
        store.record(claim, entry(0, size))
        files(place)[0].unlink()
        with pytest.raises(DamagedValueError, match="missing"):
            value(store)
        (problem,) = store.verify()
        assert (problem.kind, problem.step, problem.seq, problem.run_id) == ("value", "step 0", 0, claim.id)

    @pytest.mark.parametrize("what", ["folder", "fifo", "link to nothing"])
    def test_no_file(self, store: SqliteStore, claim: Claim, place: Path, what: str) -> None:
        """What isn't a file is no value, and doesn't keep anybody waiting."""
        store.record(claim, entry(0, FILE))
        (file,) = files(place)
        file.unlink()
        {"folder": file.mkdir, "fifo": lambda: os.mkfifo(file), "link to nothing": lambda: file.symlink_to("x")}[what]()
        with pytest.raises(DamagedValueError):
            value(store)

    def test_swapped_files(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """Another entry's value under a value's name is neither's."""
        for seq in range(2):
            store.record(claim, entry(seq, FILE))
        one, two = files(place)
        one.rename(place / "x")
        two.rename(one)
        (place / "x").rename(two)
        for seq in range(2):
            with pytest.raises(DamagedValueError, match="not those that were written"):
                value(store, seq)
        assert len(files(place, "quarantine")) == 2
        assert files(place, "blobs") == []

    def test_pack_of_another_journal(
        self, store: SqliteStore, claim: Claim, place: Path, make: Any, tmp_path: Path
    ) -> None:
        """A pack of the same length from elsewhere, under the name of this one."""
        store.record(claim, entry(0, PACK))
        other = make(tmp_path / "other")
        other.record(other.claim(RUN, ME, now=1.0), entry(0, PACK, "z"))
        shutil.copy(files(tmp_path / "other")[0], files(place)[0])
        with pytest.raises(DamagedValueError):
            value(store)

    @pytest.mark.parametrize("sizes", [(PACK, PACK), (FILE, FILE), (100, 100), (PACK, FILE)])
    def test_references_that_changed_places(
        self, store: SqliteStore, claim: Claim, place: Path, sizes: tuple[int, int]
    ) -> None:
        """A row that is made to refer to another value is not believed."""
        for seq, size in enumerate(sizes):
            store.record(claim, entry(seq, size))
        sql(
            place,
            "CREATE TABLE kept AS SELECT place, blob, size, payload FROM entries",
            "UPDATE entries SET (blob, size, payload) = (SELECT blob, size, payload FROM kept WHERE "
            "kept.place != entries.place)",
        )
        for seq in range(2):
            with pytest.raises(DamagedValueError, match="its row"):
                value(store, seq)
        assert [problem.kind for problem in store.verify()] == ["row", "row"]

    @pytest.mark.parametrize("change", ["blob = ''", "blob = 'row:1'", "size = 3", "libraries = 'x'", "payload = x''"])
    @pytest.mark.parametrize("size", [100, PACK, FILE])
    def test_changed_columns(self, store: SqliteStore, claim: Claim, place: Path, size: int, change: str) -> None:
        """What a row says of its value can't be changed; nor can it be turned into a row of an older format."""
        store.record(claim, entry(0, size))
        sql(place, f"UPDATE entries SET {change}")
        with pytest.raises(DamagedValueError):
            value(store)

    def test_changed_after_it_was_read(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """Buffers in a row are checked again when they are asked for, also for writing other fields of the entry."""
        store.record(claim, entry(0, 100))
        (read,) = store.entries(claim)
        sql(place, "UPDATE entries SET payload = replace(payload, 'a', 'b')")
        with pytest.raises(DamagedValueError):
            store.payload(claim.id, read)
        store.record(claim, read._replace(note="n"))
        with pytest.raises(DamagedValueError):
            value(store)

    def test_one_value_of_a_pack(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """Damage to one value of a pack leaves the others, and is set aside once only."""
        for seq in range(3):
            store.record(claim, entry(seq, PACK))
        (file,) = files(place)
        with file.open("r+b") as stream:
            stream.seek(file.stat().st_size // 2)
            stream.write(b"!!!!")
        for _ in range(2):
            with pytest.raises(DamagedValueError):
                value(store, 1)
        assert value(store, 0) == written(entry(0, PACK))
        assert value(store, 2) == written(entry(2, PACK))
        assert len(files(place, "quarantine")) == 1
        assert {problem.kind for problem in store.verify()} == {"value", "quarantine"}

    def test_recorded_again(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """After damage the same value can be recorded again, whether or not the damage was noticed before."""
        for noticed in (True, False):
            store.record(claim, entry(0, FILE))
            (file,) = files(place, "blobs")
            with file.open("r+b") as stream:
                stream.write(b"!")
            if noticed:
                with pytest.raises(DamagedValueError):
                    value(store)
            store.record(claim, entry(0, FILE))
            assert value(store) == written(entry(0, FILE))

    def test_quarantine_never_overwrites(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """Two damaged files of one name are both kept."""
        for mark in (b"!", b"?"):
            store.record(claim, entry(0, FILE))
            (file,) = files(place, "blobs")
            with file.open("r+b") as stream:
                stream.write(mark)
            with pytest.raises(DamagedValueError):
                value(store)
        assert sorted(path.read_bytes()[:1] for path in files(place, "quarantine")) == [b"!", b"?"]
        assert store.disk_usage().quarantine >= 2 * FILE

    def test_no_room_for_a_quarantine(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """Damage is told also where nothing can be moved."""
        store.record(claim, entry(0, FILE))
        os.truncate(files(place)[0], 10)
        (place / "quarantine").write_text("a file is in the way")
        with pytest.raises(DamagedValueError):
            value(store)

    def test_unreadable_is_not_damaged(
        self, store: SqliteStore, claim: Claim, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that may not be opened now is an error, and stays where it is: its value is not lost."""
        store.record(claim, entry(0, FILE))

        def refuse(*_: Any) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr(blobs_module.os, "open", refuse)
            with pytest.raises(StoreError, match="Permission") as caught:
                value(store)
        assert not isinstance(caught.value, DamagedValueError)
        assert value(store) == written(entry(0, FILE))

    def test_bad_sector(self, store: SqliteStore, claim: Claim, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the disk can't read is damaged: told before anything is touched that would kill the kernel."""
        store.record(claim, entry(0, FILE))

        class BadMap(mmap.mmap):
            def madvise(self, *_: Any) -> None:
                raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(mapping.mmap, "mmap", BadMap)
        with pytest.raises(DamagedValueError, match="Input/output"):
            value(store)


class TestMaps:
    def test_survives_unlink_and_replacement(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """A restored buffer stays as it is when its file is collected, set aside or written anew."""
        one = entry(0, FILE)
        store.record(claim, one)
        kept = store.payload(claim.id, store.entries(claim)[0])
        store.record(claim, entry(0, FILE, "z"))
        store.sweep()
        assert len(files(place)) == 1
        store.record(claim, one)
        assert bytes(kept.buffers[0]) == one.buffers[0]

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.ENODEV])
    def test_no_maps(self, store: SqliteStore, claim: Claim, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        """Where nothing can be mapped (thousands of values are, say), it is read, and may be written to as well."""
        store.record(claim, entry(0, FILE))

        def refuse(*_: Any, **__: Any) -> Any:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(mapping.mmap, "mmap", refuse)
        payload = store.payload(claim.id, store.entries(claim)[0])
        assert (payload.data, bytes(payload.buffers[0])) == written(entry(0, FILE))
        payload.buffers[0][0] = 0
        assert value(store) == written(entry(0, FILE))

    def test_many_maps(self, store: SqliteStore, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hundreds of live values don't take all descriptors of the process."""
        monkeypatch.setattr(mapping, "_MOST", 3)
        store.record(claim, entry(0, FILE))
        before = len(list(Path("/proc/self/fd").iterdir()))
        values = [store.payload(claim.id, store.entries(claim)[0]) for _ in range(20)]
        assert len(list(Path("/proc/self/fd").iterdir())) - before <= 3
        assert all(bytes(one.buffers[0]) == b"a" * FILE for one in values)
        for one in values:
            one.buffers[0][0] = 0
        assert value(store) == written(entry(0, FILE))

    def test_an_older_linux(self, store: SqliteStore, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the system can't read a map in advance, it is read when it is touched."""
        store.record(claim, entry(0, FILE))

        class OldMap(mmap.mmap):
            def madvise(self, *_: Any) -> None:
                raise OSError(errno.EINVAL, "Invalid argument")

        monkeypatch.setattr(mapping.mmap, "mmap", OldMap)
        assert value(store) == written(entry(0, FILE))

    def test_buffers_begin_on_pages(self, store: SqliteStore, claim: Claim) -> None:
        """Large buffers are aligned as numpy likes them, and small ones too."""
        numpy = pytest.importorskip("numpy")
        arrays = [numpy.arange(3.0), numpy.arange(700_000.0), numpy.arange(5, dtype="f4"), numpy.arange(70_000.0)]
        buffers: list[Any] = []
        data = pickle.dumps(arrays, protocol=5, buffer_callback=buffers.append)
        store.record(claim, entry(0, 1)._replace(payload=data, buffers=tuple(buffers)))
        payload = store.payload(claim.id, store.entries(claim)[0])
        loaded = pickle.loads(payload.data, buffers=payload.buffers)
        for one, original in zip(loaded, arrays, strict=True):
            assert numpy.array_equal(one, original)
            assert one.ctypes.data % (4096 if one.nbytes >= 65_536 else 64) == 0


class TestFiles:
    def test_private(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """Files are the owner's alone, folders too, whatever the umask."""
        old = os.umask(0)
        try:
            store.record(claim, entry(0, PACK))
            store.record(claim, entry(1, FILE))
        finally:
            os.umask(old)
        modes = {path.relative_to(place).parts[0]: stat.S_IMODE(path.stat().st_mode) for path in files(place)}
        assert modes == {"blobs": 0o600, "packs": 0o600}
        assert {stat.S_IMODE((place / name).stat().st_mode) for name in ("blobs", "packs")} == {0o700}
        assert stat.S_IMODE((place / "blobs.lock").stat().st_mode) == 0o600

    def test_same_value_once(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """A large value that is there already isn't kept twice, and is given back for both entries."""
        for seq in range(2):
            store.record(claim, entry(seq, FILE, "x"))
        assert len(files(place)) == 1
        assert value(store, 0) == value(store, 1) == written(entry(0, FILE, "x"))

    def test_on_the_disk_before_its_row(
        self, store: SqliteStore, claim: Claim, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file, then its name, then the row."""
        said: list[str] = []

        def telling(name: str, call: Any) -> Any:
            def told(*given: Any, **named: Any) -> Any:
                said.append(name)
                return call(*given, **named)

            return told

        monkeypatch.setattr(blob_file, "sync_file", telling("file", blob_file.sync_file))
        monkeypatch.setattr(blob_file, "sync_folder", telling("folder", blob_file.sync_folder))
        monkeypatch.setattr(packs, "sync_data", telling("pack", packs.sync_data))
        monkeypatch.setattr(store, "_put", telling("row", store._put))
        store.record(claim, entry(0, FILE))
        store.record(claim, entry(1, FILE))
        store.record(claim, entry(2, PACK))
        assert said == ["folder", "file", "folder", "row", "file", "folder", "row", "pack", "row"]

    def test_packs_are_rolled(
        self, store: SqliteStore, claim: Claim, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A pack that is large enough is followed by another; a pack that was deleted too."""
        monkeypatch.setattr(packs, "_LARGEST", 2 * PACK)
        for seq in range(3):
            store.record(claim, entry(seq, PACK))
        assert len(files(place)) == 3
        for seq in range(3):
            assert value(store, seq) == written(entry(seq, PACK))
        store.record(claim, entry(3, 70_000))
        for file in files(place):
            file.unlink()
        store.record(claim, entry(4, 70_000))
        assert value(store, 4) == written(entry(4, 70_000))
        assert len(files(place)) == 1

    def test_journal_that_was_deleted(self, store: SqliteStore, place: Path) -> None:
        """Who deletes the folder between two executions gets a new journal, with packs and lock of its own."""
        claim = store.claim(RUN, ME, now=1.0)
        store.record(claim, entry(0, PACK))
        store.release(claim)
        shutil.rmtree(place)
        store.record(store.claim(RUN, ME, now=2.0), entry(0, PACK, "z"))
        assert value(store) == written(entry(0, PACK, "z"))
        store.sweep()
        assert value(store) == written(entry(0, PACK, "z"))

    def test_database_that_was_deleted(self, make: Any, place: Path) -> None:
        """A folder of which only the values are left is still a journal's; they are collected."""
        store = make()
        store.record(store.claim(RUN, ME, now=1.0), entry(0, FILE))
        store.close()
        (place / "journal.db").unlink()
        store = make()
        assert [problem.kind for problem in store.verify()] == ["unused"]
        assert store.sweep() >= FILE
        assert files(place) == []

    def test_memory(self, store: SqliteStore, claim: Claim) -> None:
        """Saving copies no buffer: the pieces that are written are the buffers themselves."""
        buffer = bytearray(FILE)
        image = image_of(b"data", [memoryview(buffer)])
        assert any(piece.obj is buffer for piece in image.pieces)
        assert sum(piece.nbytes for piece in image.pieces if piece.obj is not buffer) < 10_000


class TestFaults:
    @pytest.mark.parametrize("size", [PACK, FILE])
    @pytest.mark.parametrize("call", ["pwrite", "sync", "rename"])
    @pytest.mark.parametrize("first", [True, False])
    def test_full_disk(
        self, store: SqliteStore, claim: Claim, place: Path, monkeypatch: pytest.MonkeyPatch,
        size: int, call: str, first: bool,
    ) -> None:  # fmt: skip
        """A write that fails is told in words, leaves nothing behind and the journal as it was; later it goes on."""
        if not first:
            store.record(claim, entry(0, size, "z"))
        before = [(path, path.read_bytes()) for path in files(place)]
        rows = list(store.entries(claim))
        count = itertools.count()
        pwrite = os.pwritev

        def fail(*given: Any) -> Any:
            if call == "pwrite" and not next(count):
                return pwrite(*given)  # fails in the middle
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            if call == "pwrite":
                patched.setattr(syncing.os, "pwritev", fail)
                patched.setattr(syncing, "_CHUNK", 1 << 20)
                patched.setattr(syncing, "_SMALL_CHUNK", 1 << 12)
            elif call == "sync":
                patched.setattr(blob_file, "sync_file", fail)
                patched.setattr(packs, "sync_data", fail)
            else:
                patched.setattr(Path, "replace", fail)
                patched.setattr(packs, "sync_data", fail)
            with pytest.raises(JournalUnwritableError, match="No space left"):
                store.record(claim, entry(1, size))
        assert [(path, path.read_bytes()) for path in files(place)] == before
        assert list(store.entries(claim)) == rows
        store.record(claim, entry(1, size))
        assert value(store, 1) == written(entry(1, size))

    @pytest.mark.parametrize("fails", ["second write", "sync"])
    def test_several_values_or_none(
        self, store: SqliteStore, claim: Claim, place: Path, monkeypatch: pytest.MonkeyPatch, fails: str
    ) -> None:
        """Values that are written together are waited for once; if one fails, none of them is left."""
        store.record(claim, entry(0, PACK))
        before = [(path, path.read_bytes()) for path in files(place)]
        syncs: list[int] = []
        sync, writes = packs.sync_data, itertools.count()
        write = packs.write_at

        def failing_write(*given: Any) -> None:
            if next(writes):
                raise OSError(errno.ENOSPC, "No space left on device")
            write(*given)

        def failing_sync(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        many = [(entry(seq, PACK), None, None) for seq in (1, 2, 3)]
        with monkeypatch.context() as patched:
            if fails == "sync":
                patched.setattr(packs, "sync_data", failing_sync)
            else:
                patched.setattr(packs, "write_at", failing_write)
            with pytest.raises(JournalUnwritableError):
                store.record_many(claim, many)
        assert [(path, path.read_bytes()) for path in files(place)] == before
        assert len(store.entries(claim)) == 1
        monkeypatch.setattr(packs, "sync_data", lambda given: (syncs.append(given), sync(given)))
        store.record_many(claim, many)
        assert len(syncs) == 1
        assert [value(store, seq) for seq in range(4)] == [written(entry(seq, PACK)) for seq in range(4)]

    def test_hashing_fails(
        self, store: SqliteStore, claim: Claim, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An error in the second thread reaches the writer: no file gets a wrong name."""

        class Hasher:
            def update(self, _: Any) -> None:
                raise MemoryError

        monkeypatch.setattr(Signer, "hasher", lambda _: Hasher())
        with pytest.raises(MemoryError):
            store.record(claim, entry(0, FILE))
        assert files(place) == []

    def test_interrupted(self, store: SqliteStore, claim: Claim, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C in the middle of a write leaves nothing behind, and no lock."""
        pwrite, count = os.pwritev, itertools.count()

        def stop(*given: Any) -> int:
            if next(count) == 2:
                raise KeyboardInterrupt
            return pwrite(*given)

        with monkeypatch.context() as patched:
            patched.setattr(syncing.os, "pwritev", stop)
            patched.setattr(syncing, "_CHUNK", 1 << 20)
            with pytest.raises(KeyboardInterrupt):
                store.record(claim, entry(0, FILE))
        assert files(place) == []
        with store._kept.gate.collecting(0.0) as held:
            assert held

    def test_not_contiguous(self, store: SqliteStore, claim: Claim) -> None:
        """A buffer that isn't contiguous is a mistake of the caller, told before anything is written."""
        with pytest.raises((StoreError, BufferError)):
            store.record(claim, entry(0, 1)._replace(buffers=(memoryview(bytearray(200_000))[::2],)))
        assert list(store.entries(claim)) == []

    def test_no_locks(self, store: SqliteStore, claim: Claim, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a file system without locks values are written, and never collected."""

        def refuse(*_: Any) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("notebook_durable.stores.gate.system_lock", refuse)
        store.record(claim, entry(0, FILE))
        (place / "blobs" / "1-x.tmp").touch()
        store.sweep()
        assert len(files(place)) == 2
        assert value(store) == written(entry(0, FILE))


class TestCollecting:
    def test_crash_litter(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """Half a file, a file whose row never came and a pack that nobody refers to are named and collected."""
        store.record(claim, entry(0, FILE))
        (place / "blobs" / "4711-abc.tmp").write_bytes(b"x" * 10_000)
        (place / "blobs" / ("f" * 64)).write_bytes(b"x" * 10_000)
        (place / "packs").mkdir()
        (place / "packs" / "host-1-abc.pack").write_bytes(b"x" * 10_000)
        (place / "blobs" / "notes.txt").write_bytes(b"somebody else's")
        assert [problem.kind for problem in store.verify()].count("unused") == 2
        assert [problem.kind for problem in store.verify()].count("litter") == 1
        assert store.sweep() >= 30_000
        assert [path.name for path in files(place)][-1] == "notes.txt"
        assert len(files(place)) == 2
        assert list(store.verify()) == []
        assert value(store) == written(entry(0, FILE))

    def test_waits_for_writers(
        self, make: Any, store: SqliteStore, claim: Claim, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between a value and its row nobody collects; who waits too long says so and does nothing."""
        monkeypatch.setattr(collecting, "_PATIENCE", 0.05)
        notices: list[str] = []
        other = make()
        other._on_notice = notices.append
        put = store._put

        def collect_before(*given: Any, **named: Any) -> bool:
            other.sweep()
            return put(*given, **named)

        monkeypatch.setattr(store, "_put", collect_before)
        store.record(claim, entry(0, FILE))
        assert "Try again" in notices[0]
        monkeypatch.setattr(store, "_put", put)
        assert value(store) == written(entry(0, FILE))
        other.sweep()
        assert value(store) == written(entry(0, FILE))

    def test_pack_in_use(self, make: Any, store: SqliteStore, claim: Claim, place: Path) -> None:
        """A pack of which nothing is needed is collected under its writer, who begins another."""
        store.record(claim, entry(0, PACK))
        store.record(claim, entry(0, 10))
        make().sweep()
        assert files(place) == []
        store.record(claim, entry(1, PACK))
        assert value(store, 1) == written(entry(1, PACK))

    def test_collected_space_is_counted(self, make: Any, store: SqliteStore, claim: Claim) -> None:
        """``disk_usage`` tells what the parts take."""
        store.record(claim, entry(0, PACK))
        store.record(claim, entry(1, FILE))
        usage = store.disk_usage()
        assert usage.blobs >= FILE
        assert usage.packs >= PACK  # and what is reserved for the next ones
        store.close()
        assert make().disk_usage().packs < 2 * PACK
        assert usage.database > 0
        assert usage.free

    def test_detached(self, store: SqliteStore, claim: Claim) -> None:
        """Detached entries keep their values."""
        old = claim
        sql(Path(store.location), "UPDATE runs SET epoch = epoch + 1")
        with pytest.raises(StoreError):
            store.record(old, entry(0, FILE))
        store.sweep()
        (apart,) = store.detached(old.id)
        assert store.payload(old.id, apart).size == FILE + 6


class TestVerify:
    def test_every_kind_of_row(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """Changed entries, attempts, extras and texts are named; a good journal has no problems."""
        store.keep(claim, {})
        for seq in range(3):
            store.record(claim, entry(seq, 10), Attempt(seq, 0, 1, 1.0, 1.0, {"type": "E"}), Extra("{}"))
        assert list(store.verify()) == []
        before = (place / "journal.db").read_bytes()
        assert list(store.verify()) == []
        assert (place / "journal.db").read_bytes() == before
        sql(
            place,
            "UPDATE entries SET note = 'x' WHERE place & 4294967295 = 1",
            "UPDATE attempts SET delay = 5 WHERE seq = 0",
            "UPDATE extras SET outputs = 'x' WHERE place & 4294967295 = 2",
            "INSERT INTO texts VALUES ('0123', 'def f(): ...')",
        )
        found = store.verify()
        assert [problem.kind for problem in found] == ["row", "row", "row", "text"]
        assert (found[0].seq, found[0].step) == (1, "step 1")

    def test_makes_no_file(self, store: SqliteStore, claim: Claim, place: Path) -> None:
        """Looking leaves nothing."""
        store.record(claim, entry(0, 10))
        before = sorted(place.rglob("*"))
        assert list(store.verify()) == []
        store.disk_usage()
        assert sorted(place.rglob("*")) == before


class TestAnotherKey:
    def test_refused(self, make: Any, place: Path) -> None:
        """Of somebody else's journal only JSON values are given; the rest is refused, and nothing is moved."""
        store = make()
        claim = store.claim(RUN, ME, now=1.0)
        for seq, size in enumerate((10, PACK, FILE)):
            store.record(claim, entry(seq, size))
        store.record(claim, entry(3, 0)._replace(serializer="json", payload=b"[1]", buffers=()))
        store.record(claim, entry(4, 0)._replace(serializer="json", payload=b"1" * PACK, buffers=()))
        store.record(claim, entry(5, 0)._replace(payload=b"pickle", buffers=()))
        store.close()
        before = [(path, path.read_bytes()) for path in files(place)]
        stranger = make(with_signer=Signer(b"o" * 32, "/the/key"))
        shown = stranger.read(claim.id)
        assert [one.size or len(one.payload or b"") for one in shown] == [16, PACK + 6, FILE + 6, 3, PACK, 0]
        assert stranger.payload(claim.id, shown[3]).data == b"[1]"
        assert stranger.payload(claim.id, shown[4]).size == shown[4].size  # JSON too, in a pack
        for seq in (0, 1, 2, 5):
            with pytest.raises(UntrustedJournalError, match="/the/key"):
                stranger.payload(claim.id, shown[seq])
        with pytest.raises(UntrustedJournalError):
            stranger.verify()
        stranger.sweep()
        assert [(path, path.read_bytes()) for path in files(place)] == before

    def test_keys_make_names(self, make: Any, tmp_path: Path) -> None:
        """The name of a file tells nothing to who hasn't the key: another key gives another name."""
        names = set()
        for key in (b"a", b"b"):
            store = make(tmp_path / key.decode(), Signer(key * 32))
            store.record(store.claim(RUN, ME, now=1.0), entry(0, FILE))
            names |= {path.name for path in files(tmp_path / key.decode())}
        assert len(names) == 2


class TestLayout:
    @pytest.mark.parametrize("head", [b"", b"x" * 24, b"NbDuBlob" + b"\xff" * 16, b"NbDuBlob\1\0\0\0" + b"\xff" * 12])
    def test_impossible_headers(self, head: bytes) -> None:
        """A header that can't be is refused before anything is read after it."""
        with pytest.raises(Misshapen):
            data_span(head, 1_000)

    def test_shape(self) -> None:
        """The parts are found where they were laid, for any number of buffers."""
        for sizes in [(), (0,), (1, 2, 3), (65_536, 1, 65_535), tuple(range(500))]:
            buffers = [memoryview(bytes([number % 251]) * size) for number, size in enumerate(sizes)]
            image = image_of(b"the data", buffers)
            whole = b"".join(image.pieces)
            assert len(whole) == image.length
            shape = shape_of(whole[: data_span(whole[:24], len(whole))[1]], len(whole))
            assert whole[slice(*shape.data)] == b"the data"
            assert [whole[slice(*span)] for span in shape.buffers] == [bytes(buffer) for buffer in buffers]

    @pytest.mark.parametrize(
        "text",
        ["", "row:", "row:1,", "row:-1", "blob:../../etc/passwd:3", f"blob:{'A' * 64}:1", f"blob:{'a' * 64}:1\n",
         f"blob:{'a' * 64}:-1", f"pack:../x:0:1:{'a' * 64}", f"pack:x/y:0:1:{'a' * 64}", f"pack:x:0:1:{'a' * 63}",
         f"blob:{'a' * 64}:١"],
    )  # fmt: skip
    def test_other_references(self, text: str) -> None:
        """Nothing but what we write is a reference: a row can't name a file elsewhere."""
        assert reference_from(text) is None
        assert row_lengths(text) is None

    def test_references(self) -> None:
        """A reference is read as it was written."""
        for one in (BlobRef("a" * 64, 5), PackRef("my-host-1-ab", 64, 100, "0" * 64)):
            assert reference_from(str(one)) == one
        assert row_lengths("row:1,0,3") == [1, 0, 3]


def test_forked_child(store: SqliteStore, claim: Claim) -> None:
    """A forked child neither keeps the gate of its parent nor writes to its pack."""
    store.record(claim, entry(0, PACK))
    with store._kept.gate.writing():
        child = os.fork()
        if not child:
            code = 1
            try:
                with pytest.raises(StoreError, match="forked child"):
                    store.record(claim, entry(1, PACK))
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with store._kept.gate.collecting(0.0) as held:
        assert held
    store.record(claim, entry(2, PACK))
    assert value(store, 2) == written(entry(2, PACK))


def test_empty_buffers_are_writable(make: Callable[..., SqliteStore]) -> None:
    """As those of an empty array that stands beside much else."""
    store = make()
    claim = store.claim(RUN, ME, now=1.0)
    store.record(claim, entry(0, 0)._replace(buffers=(b"", b""), payload=b"x" * 100_000))
    (found,) = make().read(claim.id, [0])
    payload = make().payload(claim.id, found)
    assert payload.data == b"x" * 100_000
    assert [(bytes(buffer), memoryview(buffer).readonly) for buffer in payload.buffers] == [(b"", False)] * 2


def test_forked_child_reads(store: SqliteStore, claim: Claim, make: Callable[..., SqliteStore]) -> None:
    """What verifies on several cores has no threads that a forked child would miss and wait for."""
    large = entry(0, 20_000_000)
    store.record(claim, large)
    assert value(store) == written(large)
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)  # a child that waits is killed
            code = int(value(make()) != written(large))
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("size", [100_000, 5_000_000, 20_000_000])
@pytest.mark.parametrize("flip", [0, 300, -1])
def test_flipped_in_a_value_without_buffers(
    make: Callable[..., SqliteStore], place: Path, size: int, flip: int
) -> None:
    """A pickle without buffers, which is read in another way, is verified too."""
    store = make()
    claim = store.claim(RUN, ME, now=1.0)
    one = entry(0, 0)._replace(buffers=(), payload=random.Random(1).randbytes(size))
    store.record(claim, one)
    assert value(store) == (one.payload,)
    (file,) = (path for path in files(place) if path.stat().st_size >= size)
    at = flip if flip >= 0 else size - 1
    file.chmod(0o600)
    with file.open("r+b") as handle:
        handle.seek(at)
        old = handle.read(1)
        handle.seek(at)
        handle.write(bytes([old[0] ^ 1]))
    with pytest.raises(DamagedValueError):
        value(make())
