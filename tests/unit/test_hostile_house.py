"""Housekeeping met with hostile moments: beside running kernels, on full disks, with files that somebody made up."""

from __future__ import annotations

import json
import shlex
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3  # noqa: TID253  the tests' own hash
from histories import Histories

from notebook_durable.cli.app import main
from notebook_durable.errors import (
    ConfigurationError,
    JournalUnwritableError,
    RunBusyError,
    RunOpenError,
    RunTakenOverError,
)
from notebook_durable.history.collect import collect
from notebook_durable.history.removal import forget
from notebook_durable.ipython.identity import split as magic_words
from notebook_durable.model import Ask, EntryStatus, Extra, Message, RunId
from notebook_durable.protocols import Checked
from notebook_durable.stores import export_file, exporting, extras, runs
from notebook_durable.stores.export_file import Writer
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.room import Room
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.view import JournalView
from notebook_durable.wiring import Settings, this_process

LARGE: dict[str, Any] = {"payload": b"x" * 5_000_000, "size": 5_000_000}


@pytest.fixture
def store(tmp_path: Path, signer: Signer) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / ".durable", signer)
    yield store
    store.close()


@pytest.fixture
def made(store: SqliteStore) -> Histories:
    return Histories(store)


@pytest.fixture
def view(store: SqliteStore) -> JournalView:
    return JournalView(Settings.resolve(store=store))


def files(store: SqliteStore) -> list[str]:
    return sorted(path.name for path in Path(store.location, "blobs").glob("*"))


class TestBesideARunningKernel:
    """gc and forget do what they can."""

    @pytest.mark.parametrize("kind", ["memory", "sqlite"])
    def test_archived_runs_of_a_name_that_is_executed(self, tmp_path: Path, signer: Signer, kind: str) -> None:
        """Nobody executes those: they go, while the run that took their name goes on."""
        store: Any = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / ".durable", signer)
        made = Histories(store)
        for fresh in (False, True):
            made.execute("w", [made.entry(0, "s", "x")], [0], fresh=fresh)
        made.execute("w", [made.entry(0, "s", "x")], fresh=True, open_=True)
        assert "deleted 2 entries" in collect(store, now=made.now + 1, keep_runs=0).apply()
        assert [run.number for run in store.runs(archived=True)] == [3]
        with pytest.raises(RunOpenError):
            store.forget(store.runs()[0].id)
        store.close()

    def test_the_files_go(self, store: SqliteStore, made: Histories, view: JournalView) -> None:
        """Who writes values has the gate: a run that is executed is no reason to keep those of others."""
        made.execute("w", [made.entry(0, "s", **LARGE)], [0])
        made.execute("busy", open_=True)
        said = view.forget("w").apply()
        assert "MB given back to the disk" in said
        assert "the database gets smaller at the next gc" in said
        assert files(store) == []
        assert collect(store, now=made.now).apply() == "deleted 0 entries with 0 B of values"  # and no promises

    def test_one_that_is_begun_meanwhile(
        self, store: SqliteStore, made: Histories, view: JournalView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is left and named, the others go: not half a job and an error."""
        for key in ("a", "b", "c"):
            made.execute("w", [made.entry(0, "s", payload=b"x" * 1000)], [0], key=key)
        busy, real = made.store.runs()[1], store.forget

        def forgotten(run_id: int, seqs: Any = None) -> int:
            if run_id == busy.id:
                raise RunBusyError("w", "b", 7, "lab", 1.0)
            return real(run_id, seqs)

        monkeypatch.setattr(store, "forget", forgotten)
        logs = [view._log("w", key, None) for key in ("a", "b", "c")]
        said = forget(store, logs, None).apply()
        assert "deleted 2 entries with 2.0 kB of values; left as it is, because it is being executed: w[b]" in said
        assert [run.run.key for run in store.runs()] == ["b"]
        with pytest.raises(RunBusyError):
            forget(store, logs[1:2], None).apply()

    def test_fewer_than_none(self, store: SqliteStore) -> None:
        """A typing error must not delete everything."""
        with pytest.raises(ConfigurationError, match="0 or more, not -1"):
            collect(store, now=1.0, keep_runs=-1)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_what_a_kernel_recorded_that_had_lost_the_run(tmp_path: Path, signer: Signer, kind: str) -> None:
    """Forgotten with its step: it is shown nowhere, and would stay with its value for good."""
    store: Any = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / ".durable", signer)
    made = Histories(store)
    old = store.claim(RunId("w"), this_process(), now=1.0)
    store.release(old)
    run = made.execute("w", [made.entry(0, "s", 1), made.entry(1, "t", 1)], [0, 1])
    for seq, name in ((1, "s"), (0, "t")):
        with pytest.raises(RunTakenOverError):
            store.record(old, made.entry(seq, name, **LARGE))
    assert store.forget(run.id, [0]) == 1
    assert [entry.name for entry in store.detached(run.id)] == ["t"]
    store.close()


class TestVerifyBesideOthers:
    """It cries no wolf."""

    def test_rows_that_come_meanwhile(
        self, store: SqliteStore, made: Histories, tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Previews and messages between counting and reading them."""
        made.execute("w", [made.entry(0, "s", 1), made.entry(1, "t", 1)], [0, 1])
        other = SqliteStore(tmp_path / ".durable", signer)
        claim = other.claim(RunId("w"), this_process(), now=1.0)
        first, second = other.entries(claim)
        other.record(claim, first, None, Extra("{}"))
        read, inbox = extras.read, extras.inbox

        def reading(*args: Any, **more: Any) -> Any:
            other.record(claim, second, None, Extra("{}"))
            return read(*args, **more)

        def taking(*args: Any) -> Any:
            other.post(claim.id, Message(0, 0, Ask.RETRY))
            return inbox(*args)

        monkeypatch.setattr(extras, "read", reading)
        monkeypatch.setattr(extras, "inbox", taking)
        assert list(store.verify()) == []
        other.close()

    def test_values_that_are_deleted_meanwhile(
        self, store: SqliteStore, made: Histories, tmp_path: Path, signer: Signer
    ) -> None:
        """Forgotten and collected: their files are missing, and nobody misses them."""
        run = made.execute("w", [made.entry(0, "s", **LARGE)], [0])
        other = SqliteStore(tmp_path / ".durable", signer)

        def told(checked: Checked) -> None:
            if not checked.values:
                other.forget(run.id)
                other.sweep()

        assert list(store.verify(told)) == []
        assert files(store) == []
        other.close()

    def test_a_value_that_is_being_written(
        self, store: SqliteStore, made: Histories, tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """For longer than verify waits: it is neither litter nor unused."""
        monkeypatch.setattr("notebook_durable.stores.gate.time.monotonic", iter(range(1000)).__next__)
        made.execute("w", [made.entry(0, "s", **LARGE)], [0])
        other = SqliteStore(tmp_path / ".durable", signer)
        with other._kept.gate.writing():
            Path(store.location, "blobs", "1-aa.tmp").write_bytes(b"x")
            assert list(store.verify()) == []
        assert [problem.kind for problem in store.verify()] == ["litter"]
        other.close()


class TestFullDisk:
    """Where room is made by deleting."""

    def test_forgetting_needs_little(
        self, store: SqliteStore, made: Histories, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Zeros over what is deleted go through SQLite's log: where they don't fit, it is deleted without."""
        run = made.execute("w", [made.entry(0, "s", 1)], [0])
        real = runs.forget
        store._db.full.execute("PRAGMA secure_delete = ON")

        def forgotten(connection: sqlite3.Connection, *args: Any) -> int:
            if connection.execute("PRAGMA secure_delete").fetchone() == (1,):
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return real(connection, *args)

        monkeypatch.setattr(runs, "forget", forgotten)
        assert store.forget(run.id) == 1
        assert store._db.full.execute("PRAGMA secure_delete").fetchone() == (1,)

    def test_a_value_that_does_not_fit_is_said_once(self) -> None:
        """It is tried again with each step; the next execution says it again."""
        place = Room(Path(), space=lambda _: (50_000_000, 100_000_000))
        assert place.before(60_000_000)
        assert not place.before(60_000_000)
        assert place.before(70_000_000)
        place.beginning(0, 0, 1.0)
        assert place.before(70_000_000)

    def test_files_go_before_the_database_is_written_anew(
        self, store: SqliteStore, made: Histories, view: JournalView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Which takes its size once more."""
        made.execute("w", [made.entry(0, "s", **LARGE)], [0])

        def full() -> None:
            raise JournalUnwritableError("journal.db", "the disk is full", "Free some space.")

        monkeypatch.setattr(store, "_compact", full)
        assert "the rest of the space back at the next gc (" in view.forget("w").apply()
        assert files(store) == []


def forged(file: Path, target: Path, about: dict[str, Any], **entry: Any) -> None:
    """Copy an exported run with other words in its manifest and entries, as a stranger can."""
    with zipfile.ZipFile(file) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    rows = [json.loads(line) for line in parts["rows.jsonl"].splitlines()]
    for kind, item in rows:
        if kind == "entry":
            item.update(entry)
    parts["rows.jsonl"] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    manifest = json.loads(parts["manifest.json"])
    manifest |= {"rows": [len(parts["rows.jsonl"]), blake3(parts["rows.jsonl"]).hexdigest()], **about}
    parts["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


class TestFilesOfStrangers:
    """What they say is shown, and obeyed by nobody."""

    @pytest.fixture
    def exported(self, store: SqliteStore, made: Histories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
        monkeypatch.chdir(tmp_path)
        run = made.execute("w", [made.entry(0, "s", 1)], [0])
        store.export(run.id, tmp_path / "w.run", now=1.0)
        return tmp_path / "w.run"

    @pytest.mark.parametrize("name", ["created_at", "ended_at"])
    @pytest.mark.parametrize("moment", [float("inf"), float("nan"), True, "5", []])
    def test_no_moments(self, exported: Path, capsys: Any, name: str, moment: Any) -> None:
        """Refused as damaged."""
        forged(exported, Path("forged.run"), {name: moment})
        assert main(["import", "forged.run", "--trust", "--dry-run", "--store", "two"]) == 1
        assert "its manifest is incomplete" in capsys.readouterr().err

    @pytest.mark.parametrize("moment", [1e300, -1e18, float("nan")])
    def test_moments_that_no_clock_shows(self, exported: Path, capsys: Any, moment: float) -> None:
        """Shown as numbers, by every command."""
        about = {"exported_at": moment} | ({} if moment != moment else {"created_at": moment})
        entry = {} if moment != moment else {"started_at": moment, "ended_at": moment}
        forged(exported, Path("forged.run"), about, **entry)
        for words in (
            ["import", "forged.run", "--trust", "--dry-run"], ["import", "forged.run", "--trust", "--yes"], ["ls"],
            ["history", "w"], ["rewind", "w", "--to", "s", "--dry-run"], ["gc", "--max-size", "0", "--dry-run"],
        ):  # fmt: skip
            assert main([*words, "--store", "two"]) == 0, words
        assert f"at {moment:g} s" in capsys.readouterr().out

    def test_escape_sequences_in_errors(self, exported: Path, capsys: Any) -> None:
        """The names of steps, which an error lists."""
        forged(exported, Path("forged.run"), {}, name="\x1b[31mred")
        assert main(["import", "forged.run", "--trust", "--yes", "--store", "two"]) == 0
        assert main(["load", "w", "s", "--store", "two"]) == 1
        said = capsys.readouterr().err
        assert "\\x1b[31mred" in said
        assert "\x1b" not in said

    def test_what_a_message_says_to_type(self, exported: Path, capsys: Any) -> None:
        """Works when it is typed, whatever the file's name is."""
        for number, name in enumerate(("it's.run", "a b.run", 'a "b".run', 'it\'s "b".run', "ü.run")):
            Path(name).write_bytes(exported.read_bytes())
            assert main(["import", name, "--store", "two"]) == 1
            (line,) = (line for line in capsys.readouterr().err.splitlines() if "--no-values" in line)
            words = line[: line.index("(")].split(maxsplit=1)[1]
            for where, split in (("shell", shlex.split), ("notebook", magic_words)):
                assert main([*split(words), "--as", f"{where} {number}", "--store", "two"]) == 0


def test_an_export_without_nameless_files(
    store: SqliteStore, made: Histories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has none, there is a name beside it meanwhile, also beside a name as long as can be."""
    run = made.execute("w", [made.entry(0, "s", 1)], [0])
    monkeypatch.setattr(export_file, "_open_nameless", lambda _: None)
    target = tmp_path / ("ü" * 120)
    store.export(run.id, target, now=1.0)
    assert store.adopt(target, RunId("v"), now=2.0).entries == 1
    with pytest.raises(ConfigurationError, match="is there already"):
        store.export(run.id, target, now=1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".durable", target.name]


class TestExportBesideOthers:
    """What is written, deleted or recorded anew while a run is exported."""

    @pytest.fixture
    def other(self, store: SqliteStore, tmp_path: Path, signer: Signer) -> Iterator[SqliteStore]:
        other = SqliteStore(tmp_path / ".durable", signer)
        yield other
        other.close()

    def test_recorded_anew(
        self, store: SqliteStore, other: SqliteStore, made: Histories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between its entry and its value: both are of the same moment."""
        failed = made.entry(0, "s", {1, 2}, status=EntryStatus.FAILED)
        run = made.execute("w", [failed], [0])
        claim = other.claim(RunId("w"), this_process(), now=1.0)
        rows = Writer.rows

        def writing(self: Writer, lines: Any) -> Any:
            other.record(claim, made.entry(0, "s", [1, 2]))
            return rows(self, lines)

        monkeypatch.setattr(Writer, "rows", writing)
        store.export(run.id, tmp_path / "w.run", now=1.0)
        taken = store.adopt(tmp_path / "w.run", RunId("v"), now=2.0)
        (entry,) = store.read(taken.run_id)
        assert (entry.status, store.payload(taken.run_id, entry).serializer) == (EntryStatus.SUCCEEDED, "json")

    def test_collected(
        self, store: SqliteStore, other: SqliteStore, made: Histories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A value that is deleted on purpose is not called damaged."""
        run = made.execute("w", [made.entry(0, "s", **LARGE), made.entry(1, "t", 1)], [0, 1])
        values = exporting._values

        def late(*args: Any) -> Any:
            other.forget(run.id, [0])
            other.sweep()
            return values(*args)

        monkeypatch.setattr(exporting, "_values", late)
        done = store.export(run.id, tmp_path / "w.run", now=1.0)
        assert (done.entries, done.left_out) == (1, 0)
        assert [one.name for one in store.read(store.adopt(tmp_path / "w.run", RunId("v"), now=2.0).run_id)] == ["t"]


class TestImportedTwice:
    """What it says then can be typed."""

    def test_no_circle(
        self, store: SqliteStore, made: Histories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        """Of another key: "exported with another key" and "there is one already" don't send people to and fro."""
        monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
        monkeypatch.chdir(tmp_path)
        store.export(made.execute("w", [made.entry(0, "s", {1})], [0]).id, tmp_path / "w.run", now=1.0)
        for more in (["--trust", "--yes"], ["--no-values"]):
            main(["import", "w.run", *more, "--store", "two"])
            capsys.readouterr()
            assert main(["import", "w.run", *more, "--store", "two"]) == 1
            lines = [line for line in capsys.readouterr().err.splitlines() if "%durable import" in line]
            assert len(lines) == 2
            for line in lines:
                words = shlex.split(line[: line.index("(")])[1:]
                again = [word.replace("NAME", "v" + more[0]) for word in words]
                assert main([*again, "--yes", "--store", "two"]) == 0

    def test_a_file_without_values(
        self, store: SqliteStore, made: Histories, tmp_path: Path, view: JournalView
    ) -> None:
        """Says so, as an import without them does."""
        made.execute("w", [made.entry(0, "s", {1})], [0])
        view.export("w", tmp_path / "w.run", values=False)
        assert "without their values: the steps run again" in view.import_run(tmp_path / "w.run", name="v")
