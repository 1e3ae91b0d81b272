"""What is said of the disk before it hurts, and how seldom. Time and free space are arguments."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from notebook_durable import durable
from notebook_durable.errors import ConfigurationError
from notebook_durable.stores import room, sqlite
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.room import LARGE, Room
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.wiring import Settings

GB = 10**9
HOUR = 3600.0
PLACE = Path("/j/.durable")


class Disk:
    """A disk of which a test says how full it is; counts how often the journal was walked through."""

    def __init__(self, free: int = 500 * GB, total: int = 1000 * GB, taken: int = 0) -> None:
        self.free, self.total, self.taken, self.walks = free, total, taken, 0

    def space(self, _folder: Path) -> tuple[int, int] | None:
        return None if self.free < 0 else (self.free, self.total)

    def count(self, _folder: Path) -> int:
        self.walks += 1
        return self.taken

    def room(self) -> Room:
        return Room(PLACE, space=self.space, taken=self.count)


class TestLowSpace:
    @pytest.mark.parametrize(
        ("free", "total", "wrote", "said"),
        [
            (GB, 1000 * GB, 0, False),
            (GB - 1, 1000 * GB, 0, True),
            (GB // 2, 8 * GB, 0, False),  # a small disk: 5 % of it are enough
            (GB // 3, 8 * GB, 0, True),
            (20 * GB, 1000 * GB, 20 * GB, False),
            (20 * GB, 1000 * GB, 20 * GB + 1, True),
            (-1, 0, 10**15, False),  # the system doesn't tell
        ],
    )
    def test_when(self, free: int, total: int, wrote: int, said: bool) -> None:
        """Under 1 GB, on a small disk under 5 %, or under what the last execution wrote."""
        assert bool(Disk(free, total).room().beginning(wrote, 0, 0.0)) is said

    def test_what(self) -> None:
        """The figures, what would happen, and what to type."""
        (text,) = Disk(GB // 2).room().beginning(2 * GB, 0, 0.0)
        for part in ("500 MB", str(PLACE), "wrote 2.0 GB", "can't be recorded", "%durable stats", "%durable gc"):
            assert part in text

    def test_how_often(self) -> None:
        """Again after an hour, or when half of it is gone; and anew after there was room."""
        disk = Disk(GB // 2)
        place = disk.room()
        assert place.beginning(0, 0, 0.0)
        assert not place.beginning(0, 0, 10.0)
        disk.free = GB // 5
        assert place.beginning(0, 0, 20.0)
        assert not place.beginning(0, 0, 20.0 + HOUR - 1)
        assert place.beginning(0, 0, 20.0 + HOUR)
        disk.free = 50 * GB
        assert not place.beginning(0, 0, HOUR + 30.0)
        disk.free = GB // 2
        assert place.beginning(0, 0, HOUR + 40.0)


class TestGrowth:
    def test_once_a_day(self) -> None:
        """From the limit on, with both figures and what to type; once a day in a process."""
        disk = Disk(taken=12 * GB)
        place = disk.room()
        (text,) = place.beginning(0, 10 * GB, 0.0)
        for part in ("12.0 GB", "10.0 GB", "%durable stats", "%durable gc", "%config Durable.warn_size"):
            assert part in text
        assert not place.beginning(0, 10 * GB, 23 * HOUR)
        assert place.beginning(0, 10 * GB, 24 * HOUR)

    def test_counted_once_an_hour(self) -> None:
        """No walk at each execution; none at all where the whole disk has less on it, or nobody wants to know."""
        disk = Disk(taken=9 * GB)
        place = disk.room()
        for minute in range(0, 180, 5):
            assert not place.beginning(0, 10 * GB, minute * 60.0)
        assert disk.walks == 3
        assert not place.beginning(GB // 2, 10 * GB, 176 * 60.0)
        assert disk.walks == 3
        disk.taken = 10 * GB
        assert place.beginning(GB // 2, 10 * GB, 177 * 60.0)  # with what was written since, it may be reached
        assert disk.walks == 4
        small = Disk(free=100 * GB, total=109 * GB, taken=9 * GB)
        assert not small.room().beginning(0, 10 * GB, 0.0)
        assert not Disk(taken=50 * GB).room().beginning(0, 0, 0.0)
        assert small.walks == 0

    def test_counts_what_is_there(self, tmp_path: Path, signer: Signer) -> None:
        """Database, files and packs: what ``disk_usage`` says."""
        store = SqliteStore(tmp_path / "j", signer)
        with durable("wf", store=store) as ctx:
            ctx.run("pack", lambda: b"p" * 300_000)
            ctx.run("file", lambda: b"f" * 9_000_000)
        usage = store.disk_usage()
        taken = room._taken(tmp_path / "j")
        store.close()
        assert abs(taken - sum(usage[:4])) < 200_000  # the log's index is no part of the one
        assert taken > 9_000_000


class TestBefore:
    def test_a_value_that_will_not_fit(self) -> None:
        """Both figures; small values are not asked for, and where the system doesn't tell nothing is said."""
        place = Disk(free=50_000_000).room()
        text = place.before(60_000_000)
        assert "60.0 MB" in text
        assert "50.0 MB" in text
        assert not place.before(49_000_000)
        assert not Disk(free=0).room().before(LARGE - 1)
        assert not Disk(free=-1).room().before(10**15)

    def test_said_before_it_is_written(self, tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
        """The store says it once for the value; a value that fits, or is small, is not mentioned."""
        said: list[str] = []
        store = SqliteStore(tmp_path / "j", signer, on_notice=said.append)
        monkeypatch.setattr(sqlite, "room_of", lambda _folder: Disk(free=9_000_000).room())
        with durable("wf", store=store) as ctx:
            ctx.run("small", lambda: b"s" * 5_000_000)
            assert said == []
            assert len(ctx.run("large", lambda: b"f" * 10_000_000)) == 10_000_000
        store.close()
        assert len(said) == 1
        assert "will not fit" in said[0]


class TestExecutions:
    @pytest.fixture(autouse=True)
    def own_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))

    def test_said_when_an_execution_begins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """In plain Python by the log: the last execution's values count, those of earlier ones don't."""
        disk = Disk(free=5_000_000_000)
        place = disk.room()
        monkeypatch.setattr("notebook_durable.wiring.room_of", lambda _folder: place)
        caplog.set_level(logging.WARNING, "notebook_durable")

        def cell(name: str) -> None:
            with durable("wf", store=tmp_path / "j") as ctx:
                ctx.run(name, lambda: "x" * 3_000_000)

        cell("one")
        cell("one")
        assert not caplog.messages
        disk.free, disk.total = 2_000_000, 20_000_000  # 5 % are free, and less than was written
        cell("two")
        assert not caplog.messages  # the last execution replayed
        cell("two")
        assert len(caplog.messages) == 1
        assert "wrote 3.0 MB" in caplog.messages[0]

    def test_a_limit_of_ones_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """NOTEBOOK_DURABLE_WARN_SIZE says from when on a journal is large."""
        caplog.set_level(logging.WARNING, "notebook_durable")
        monkeypatch.setenv("NOTEBOOK_DURABLE_WARN_SIZE", "20kB")
        with durable("wf", store=tmp_path / "j") as ctx:
            ctx.run("one", lambda: 1)
        assert ["has grown to" in message for message in caplog.messages] == [True]
        monkeypatch.setenv("NOTEBOOK_DURABLE_WARN_SIZE", "0")
        with durable("wf", store=tmp_path / "k") as ctx:
            ctx.run("one", lambda: 1)
        assert len(caplog.messages) == 1

    def test_sizes_that_are_none(self) -> None:
        """Named with what fits."""
        assert Settings.resolve(warn_size="1GiB", environ={}).warn_size == 1 << 30
        assert Settings.resolve(environ={}).warn_size == 10 * GB
        with pytest.raises(ConfigurationError, match="such as 10GB"):
            Settings.resolve(environ={"NOTEBOOK_DURABLE_WARN_SIZE": "much"})

    def test_config(self) -> None:
        """%config Durable.warn_size takes what people type, and refuses the rest."""
        from traitlets import TraitError

        from notebook_durable.ipython.config import Durable

        config: Any = Durable()
        for good in (None, "50GB", 0, 10**10):
            config.warn_size = good
            assert config.warn_size == good
        for bad in ("much", -1, 1.5, True, []):
            with pytest.raises(TraitError, match="such as '50GB'"):
                config.warn_size = bad
