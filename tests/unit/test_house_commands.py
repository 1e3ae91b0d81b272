"""verify, stats, export, import and gc in the shell: what they print, ask, and return."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from notebook_durable import durable, journal
from notebook_durable.cli.app import main
from notebook_durable.errors import ConfigurationError
from notebook_durable.history import verifying
from notebook_durable.history.verifying import Meter
from notebook_durable.protocols import Checked
from notebook_durable.stores.memory import MemoryStore


def load() -> bytes:
    return b"l" * 6_000_000


def fit(count: int) -> bytes:
    return b"f" * count


@pytest.fixture(autouse=True)
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workflows, one with an archived run; names with blanks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)
    for _ in range(2):
        with durable("my churn", fresh=True) as ctx:
            ctx.run("load rows", load)
            for count in (200_000, 300_000):
                ctx.run("fit", fit, count)
    with durable("pay", key="monday") as ctx:
        ctx.run("one", fit, 10)


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    try:
        status = main(argv)
    except SystemExit as error:
        status = int(error.code or 0)
    out = capsys.readouterr()
    return status, out.out + out.err


def damage(part: str) -> Path:
    (path,) = Path(".durable", part).iterdir() if part != "packs" else sorted(Path(".durable", part).iterdir())[:1]
    data = bytearray(path.read_bytes())
    data[4000] ^= 1
    path.write_bytes(data)
    return path


class TestVerify:
    def test_nothing_found(self, capsys: Any) -> None:
        """Said with figures; the status is 0."""
        status, text = said(capsys, "verify")
        assert status == 0
        assert re.search(
            r"Nothing is damaged in .*\.durable: 7 entries checked, 13\.0 MB of values in .*s, \d+ of", text
        )

    def test_damage(self, capsys: Any) -> None:
        """By run and step, with what it means; the status is 1; nothing is moved, so it is found again."""
        damage("blobs")
        for _ in range(2):
            status, text = said(capsys, "verify")
            assert status == 1
            assert "2 problems in" in text  # both runs have the same value
            assert re.search(r"my churn \(run 1, archived\) +load rows +value +the value of step", text)
            assert "2 steps run again when their cells do" in text
        assert not Path(".durable/quarantine").exists()

    def test_litter(self, capsys: Any) -> None:
        """What crashes left is no damage; gc deletes it, also when no run is old."""
        litter = Path(".durable/blobs/1-aa.tmp")
        litter.write_bytes(b"x" * 100_000)
        status, text = said(capsys, "verify")
        assert status == 0
        assert "Nothing is damaged" in text
        assert "%durable gc deletes them" in text
        assert "1-aa.tmp is left from a crash" in text
        assert "%durable gc would free 102 kB in files that no entry refers to" in said(capsys, "stats")[1]
        assert said(capsys, "gc", "--dry-run")[0] == 0
        assert litter.exists()
        status, text = said(capsys, "gc")
        assert (status, "Nothing to collect" in text, "given back to the disk" in text) == (0, True, True)
        assert not litter.exists()
        assert "no history is older than 30d" in said(capsys, "stats")[1]

    def test_quarantine(self, capsys: Any) -> None:
        """What was set aside is named, and is no damage any more."""
        damage("blobs")
        with durable("my churn") as ctx:
            ctx.run("load rows", load)
        status, text = said(capsys, "verify")
        assert status == 0
        assert "Set aside as damaged" in text

    def test_rows(self, capsys: Any) -> None:
        """A row that was changed is told with its step."""
        import sqlite3

        connection = sqlite3.connect(".durable/journal.db")
        connection.execute("UPDATE entries SET note = 'x' WHERE name = 'one'")
        connection.commit()
        connection.close()
        status, text = said(capsys, "verify")
        assert status == 1
        assert re.search(r"pay\[monday\] +one +row", text)
        assert "1 step runs again when its cell does" in text

    def test_data(self) -> None:
        """In Python: the problems themselves, and how far it came."""
        told: list[Checked] = []
        found = journal().verify(told.append)
        assert (found.problems, found.damaged) == ((), False)
        assert found.checked == told[-1]
        assert (told[-1].rows, told[-1].done, told[-1].total) == (7, told[-1].total, told[-1].total)
        assert [one.done for one in told] == sorted(one.done for one in told)
        assert "nothing is damaged in memory" in repr(verifying.verify(MemoryStore())).lower()

    def test_the_meter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Says nothing in the first second, then now and then, and wipes itself away."""
        out = io.StringIO()
        monkeypatch.setattr(out, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stderr", out)
        times = iter([0.0, 0.5, 1.0, 1.1, 2.0])
        meter = Meter(lambda: next(times))
        for done in (1, 2, 3, 4):
            meter(Checked(1, done, done * 10**6, 5 * 10**6))
        meter.end()
        assert out.getvalue() == f"\rchecked 2.0 MB of 5.0 MB\rchecked 4.0 MB of 5.0 MB\r{' ' * 24}\r"


class TestStats:
    def test_runs(self, capsys: Any) -> None:
        """The largest first; what replays and what is history; where it lies."""
        status, text = said(capsys, "stats")
        assert status == 0
        lines = text.splitlines()
        assert "3 runs, 7 entries with 13.0 MB of values" in lines[0]
        assert [line.split("  ")[0] for line in lines[2:5]] == ["my churn", "my churn (run 1, archived)", "pay[monday]"]
        assert re.search(r"my churn +3 +6\.5 MB +3 .* 500 kB +6\.0 MB$", lines[2])
        assert re.search(r"archived\) +3 +6\.5 MB +3", lines[3])
        assert "free there" in text

    def test_steps(self, capsys: Any) -> None:
        """With a name: by step, all its runs together."""
        text = said(capsys, "stats", "my", "churn")[1]
        assert re.search(r"load rows +2 +6\.0 MB +6\.0 MB +2", text)
        assert re.search(r"fit +4 +500 kB +500 kB +4", text)
        assert text.index("load rows") < text.index("fit")
        assert "pay" not in text
        text = said(capsys, "stats", "my churn", "--run", "1")[1]
        assert "1 run, 3 entries" in text
        assert re.search(r"fit +2 +500 kB +2", text)

    def test_what_is_not_there(self, capsys: Any) -> None:
        """Lists what there is."""
        assert "There are: " in said(capsys, "stats", "nope")[1]
        assert said(capsys, "stats", "my churn", "--run", "9")[0] == 1
        with pytest.raises(ConfigurationError, match="need the NAME"):
            journal().stats(run=1)

    def test_data(self) -> None:
        """In Python: numbers."""
        found = journal().stats("my churn")
        assert [(one.label, one.entries, one.attempts) for one in found.steps] == [("load rows", 2, 2), ("fit", 4, 4)]
        assert [(one.rows, one.packs, one.files) for one in found.steps] == [
            (0, 0, found.steps[0].size),
            (0, found.steps[1].size, 0),
        ]
        assert found.steps[0].now == found.steps[0].history > 6_000_000
        assert found.disk.blobs > 6_000_000
        assert found.runs[0].size == found.runs[0].now


class TestTransfer:
    def test_there(self, capsys: Any) -> None:
        """export, import into a folder where no journal is, verify; and an archived run under another name."""
        status, text = said(capsys, "export", "my", "churn", "f.zip")
        assert (status, "my churn, 3 entries with 6.5 MB of values" in text) == (0, True)
        assert said(capsys, "import", "f.zip", "--store", "two") == (
            0, "'my churn': run 1, 3 entries with 6.5 MB of values\n",
        )  # fmt: skip
        assert said(capsys, "verify", "--store", "two")[0] == 0
        assert said(capsys, "export", "my churn", "old.zip", "--run", "1")[0] == 0
        assert "'the old one': run 1" in said(capsys, "import", "old.zip", "--as", "the", "old", "one")[1]
        assert said(capsys, "export", "pay", "k.zip", "--key", "monday", "--no-values")[0] == 0
        assert "'copy[monday]'" in said(capsys, "import", "k.zip", "--as", "copy")[1]

    def test_refused(self, capsys: Any) -> None:
        """Status 1 and what to type; nothing changes."""
        said(capsys, "export", "my churn", "f.zip")
        before = said(capsys, "ls", "--archived")
        for argv, told in (
            (["export", "my churn", "f.zip"], "is there already, and was not touched"),
            (["export", "nope", "g.zip"], "there is no run 'nope'"),
            (["export", "my churn", "no/such/folder/f.zip"], "can't be written"),
            (["import", "f.zip"], "--as NAME"),
            (["import", "nope.zip"], "can't be read: No such file"),
            (["import", "key"], "is not a run that %durable export has written"),
        ):
            status, text = said(capsys, *argv)
            assert (status, told in text) == (1, True), text
        assert said(capsys, "ls", "--archived") == before
        for argv, told in ((["import"], "name the file"), (["export", "my churn"], "name the file behind 'my churn'")):
            status, text = said(capsys, *argv)
            assert (status, told in text) == (2, True), text

    def test_looked_at_first(self, capsys: Any) -> None:
        """--dry-run shows what is in it."""
        said(capsys, "export", "my churn", "f.zip")
        status, text = said(capsys, "import", "f.zip", "--dry-run", "--store", "two")
        assert status == 0
        for part in ("3 entries with 6.5 MB", "run 'my churn', completed, 1 execution", "bytes"):
            assert part in text
        assert not journal("two").runs()

    def test_of_a_stranger(self, capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Refused; --trust lists what will be unpickled and asks; --no-values imports what can be looked at."""
        said(capsys, "export", "my churn", "f.zip")
        monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "other"))
        status, text = said(capsys, "import", "f.zip", "--store", "two")
        assert (status, "another key" in text, "--trust" in text) == (1, True, True)
        monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
        status, text = said(capsys, "import", "f.zip", "--store", "two", "--trust")
        assert status == 0
        assert re.search(r"bytes +3", text)
        assert "Do you trust whoever made this file" in text
        assert "nothing was done" in text
        assert not journal("two").runs()
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        assert "run 1, 3 entries" in said(capsys, "import", "f.zip", "--store", "two", "--trust")[1]
        assert said(capsys, "verify", "--store", "two")[0] == 0
        status, text = said(capsys, "import", "f.zip", "--store", "three", "--no-values")
        assert (status, "the steps run again" in text) == (0, True)
        assert "left out when it was imported" in said(capsys, "show", "my churn", "--store", "three")[1]

    def test_damaged_values_stay_behind(self, capsys: Any) -> None:
        """They are counted, and the rest travels."""
        damage("blobs")
        status, text = said(capsys, "export", "my churn", "f.zip")
        assert (status, "1 was damaged" in text, "500 kB of values" in text) == (0, True, True)
        assert said(capsys, "import", "f.zip", "--store", "two")[0] == 0
        assert "damaged when it was exported" in said(capsys, "show", "my churn", "--store", "two")[1]
        assert said(capsys, "verify", "--store", "two")[0] == 0
