"""Large values on a real disk that is full while they are written: the cell goes on, and nothing half is believed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab import Lab

from notebook_durable.errors import JournalUnwritableError
from notebook_durable.events import StepReplayed, StoreFailed
from notebook_durable.model import EntryStatus
from notebook_durable.stores.sqlite import SqliteStore

np = pytest.importorskip("numpy")
pytestmark = pytest.mark.kernel

#: Numbers of a value in a row, in a pack, in a file of its own.
SIZES = [5_000, 100_000, 900_000]


@contextmanager
def mounted(point: Path, size: str) -> Iterator[Path]:
    point.mkdir()
    if shutil.which("mount") is None:
        pytest.fail("no mount") if os.environ.get("CI") else pytest.skip("no mount command here")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(point)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"{' '.join(command)} failed (needs root): {done.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


class Disk:
    """A disk of 40 MB that can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._filler = folder, folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        self._filler.unlink()

    def litter(self) -> list[Path]:
        return [path for path in self.folder.glob(".durable/blobs/*") if path.suffix]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", "40m") as point:
        yield Disk(point)


@pytest.fixture
def lab(disk: Disk, signer, always_replay) -> Iterator[Lab]:
    stores: list[SqliteStore] = []

    def make() -> SqliteStore:
        for old in stores:
            old.close()
        stores.append(SqliteStore(disk.folder / ".durable", signer))
        return stores[-1]

    yield Lab(make, always_replay=False)
    for store in stores:
        store.close()


def value_of(n):
    return {"a": np.arange(float(n)), "b": [np.full(10, 2.0), bytearray(b"ab")]}


def check(value, n):
    assert (value["a"] == np.arange(float(n))).all()
    assert (value["b"][0] == 2.0).all()
    assert value["b"][1] == b"ab"


@pytest.mark.parametrize("n", SIZES)
def test_the_value_is_written_with_the_next_step(lab, disk, n):
    """What the cell does to the array in the meantime is not what is written: the step's result is."""

    def load(n):
        lab.called("load")
        disk.fill()
        return value_of(n)

    def body(ctx):
        value = ctx.run("load", load, n)
        check(value, n)
        if lab.events.of(StoreFailed):
            value["a"][:] = -1
            value["b"][0][:] = 7
            value["b"][1][:] = b"?"
            assert disk.litter() == []
            disk.make_room()
        return ctx.run("next", lambda: 5)

    assert lab.play(body) == 5
    assert [event.entry.name for event in lab.events.of(StoreFailed)] == ["load"]
    assert [entry.status for entry in lab.entries()] == [EntryStatus.SUCCEEDED] * 2
    lab.restart()
    assert lab.play(body) == 5
    assert lab.calls == []
    assert [event.entry.name for event in lab.events.of(StepReplayed)] == ["load", "next"]
    lab.store.sweep()
    assert list(lab.store.verify()) == []


@pytest.mark.parametrize("n", SIZES)
def test_a_disk_that_stays_full(lab, disk, n):
    """The next step isn't called, and the error says why; with room, the step runs again and all is well."""

    def load(n):
        lab.called("load")
        if len(lab.calls) == 1:
            disk.fill()
        return value_of(n)

    def body(ctx):
        value = ctx.run("load", load, n)
        check(value, n)
        return ctx.run("next", lab.called, "next", 5)

    with pytest.raises(JournalUnwritableError, match=r"full|space"):
        lab.play(body)
    assert lab.calls == ["load"]
    assert disk.litter() == []
    disk.make_room()
    assert lab.play(body) == 5
    assert lab.calls == ["load", "load", "next"]
    lab.restart()
    assert lab.play(body) == 5
    assert lab.calls == []
    lab.store.sweep()
    assert list(lab.store.verify()) == []


def test_a_value_larger_than_the_disk(lab, disk):
    """It can't be kept at all: said once, the cell has it, and the steps after it are refused, not lost in silence."""

    def body(ctx):
        value = ctx.run("load", lambda: np.ones(8_000_000))
        assert value.sum() == 8_000_000
        ctx.run("next", lab.called, "next")

    with pytest.raises(JournalUnwritableError):
        lab.play(body)
    assert lab.calls == []
    assert disk.litter() == []
