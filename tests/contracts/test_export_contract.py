"""The contract of ``Store.export`` and ``Store.adopt``, over every store: what goes in comes out, or nothing does."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3  # noqa: TID253  the tests' own hash

from notebook_durable.errors import (
    ConfigurationError,
    JournalFormatError,
    RunOpenError,
    StoreError,
    UntrustedExportError,
)
from notebook_durable.model import (
    Ask,
    Attempt,
    Entry,
    EntryStatus,
    Extra,
    Failure,
    Message,
    Outcome,
    Owner,
    Payload,
    RunId,
    RunStatus,
    StepCode,
)
from notebook_durable.parts import Code, Function, Parts, text_id
from notebook_durable.stores import memory
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.sqlite import SqliteStore

RUN = RunId("my churn", "monday")
ME = Owner(4711, "here", "boot", "start")
SOURCE = "def load(): ..."
SOURCE_ID = text_id(SOURCE, blake3())
CODE = Code({"load": Function("d", SOURCE_ID)}).as_text()
CODE_ID = text_id(CODE, blake3())

FULL = Entry(
    seq=0, name="🚀 'load' \"%s\"", occurrence=2, status=EntryStatus.FAILED, execution=1, budget=1, attempts=5,
    spent=1.25, started_at=1000.5, ended_at=1001.5, duration=0.125, serializer="dill", payload=b"\x00\xff payload",
    value_type="builtins.ValueError", error={"type": "ValueError", "message": "ü\ud800", "status_code": 404},
    failure=Failure.TERMINAL, left=False, survived=True, rollback_of=0, at_most_once=True, note="why",
    code=StepCode("def f(): ...", Parts(code=CODE_ID).as_text(), "print", 2), libraries="numpy 2.1.0",
)  # fmt: skip


def done(seq: int, name: str, payload: bytes, buffers: tuple[bytes, ...] = (), **more: Any) -> Entry:
    size = len(payload) + sum(map(len, buffers))
    fields = {"execution": 1, "serializer": "dill", "value_type": "numpy.ndarray", "ended_at": 2.0} | more
    return Entry(seq, name, 0, EntryStatus.SUCCEEDED, payload=payload, buffers=buffers, size=size, **fields)


#: In the row, in the row with buffers, in a pack, in a file: each with what they hold.
VALUES = [
    done(1, "json", b"[1, 2]", serializer="json", value_type="builtins.list"),
    done(2, "row", b"r" * 10, (b"a" * 100, b"", b"b")),
    done(3, "pack", b"p" * 10, (b"c" * 200_000,)),
    done(4, "file", b"f" * 10, (b"d" * 5_000_000, b"e" * 7)),
]
RUNNING = Entry(5, "pay", 0, EntryStatus.RUNNING, execution=1, attempts=1, at_most_once=True, started_at=3.0)


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    stores: list[Any] = []

    def make(name: str = "one", key: bytes = b"k" * 32) -> Any:
        if request.param == "memory":
            stores.append(MemoryStore())
        else:
            stores.append(SqliteStore(tmp_path / name, Signer(key, f"key {key[:1]!r}"), on_notice=lambda _: None))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def fill(store: Any, entries: list[Entry] | None = None, *, end: bool = True) -> int:
    """One execution with everything that can be kept of it."""
    claim = store.claim(RUN, ME, now=1.0, notebook="/here.ipynb")
    store.keep(claim, {SOURCE_ID: SOURCE, CODE_ID: CODE, "unused": "unused"})
    entries = [FULL, *VALUES, RUNNING] if entries is None else entries
    for entry in entries:
        failed = Attempt(entry.seq, 1, 4, 1000.0, 0.25, {"type": "E", "message": "m"}, 2.0) if entry is FULL else None
        store.record(claim, entry, failed, Extra(f'{{"preview": {entry.seq}}}', f'[{{"output": {entry.seq}}}]'))
    if end:
        store.end(claim, Outcome.FAILED, RunStatus.FAILED, now=4.0, used=[entry.seq for entry in entries])
    store.post(claim.id, Message(0, 5, Ask.ANSWER, Payload("json", b'"yes"', "builtins.str"), "because", 9.0))
    store.post(claim.id, Message(0, 5, Ask.RETRY, None, "", 9.0))
    store.release(claim)
    return int(claim.id)


def content(store: Any, run_id: int) -> dict[str, Any]:
    """Everything of a run but where it lies."""
    entries = store.read(run_id)
    return {
        "entries": [one._replace(blob="", payload=None, size=0) for one in entries],
        "values": {one.seq: value(store, run_id, one) for one in entries if one.serializer},
        "attempts": {one.seq: list(store.attempts(run_id, one.seq)) for one in entries},
        "extras": dict(store.extras(run_id)),
        "executions": list(store.executions(run_id)),
        "texts": dict(store.texts([SOURCE_ID, CODE_ID])),
        "inbox": [(m.seq, m.ask, m.payload, m.text, m.at) for m in store.inbox(run_id) if m.ask is Ask.ANSWER],
    }


def value(store: Any, run_id: int, entry: Entry) -> tuple[Any, ...]:
    found = store.payload(run_id, entry)
    return found.serializer, found.data, found.value_type, tuple(map(bytes, found.buffers)), found.libraries


def state(store: Any) -> Any:
    return [(run, content(store, run.id)) for run in store.runs(archived=True)]


class TestTransfer:
    def test_everything_comes_out(self, make: Any, tmp_path: Path) -> None:
        """Entries, values of every size, attempts, executions, extras, texts and answers are as they were."""
        one, two = make(), make("two")
        run_id = fill(one)
        before = content(one, run_id)
        done = one.export(run_id, tmp_path / "f.zip", now=5.0)
        assert (done.entries, done.left_out) == (6, 0)
        assert done.written == (tmp_path / "f.zip").stat().st_size > 5_000_000
        assert (tmp_path / "f.zip").stat().st_mode & 0o777 == 0o600
        taken = two.adopt(tmp_path / "f.zip", now=6.0)
        assert content(two, taken.run_id) == before
        assert (taken.run, taken.number, taken.entries, taken.replaced, taken.signed) == (RUN, 1, 6, None, True)
        assert taken.size == done.size == sum(one.size for one in (*VALUES, FULL)) + len(FULL.payload or b"")
        (info,) = two.runs()
        assert (info.status, info.executions, info.notebook, info.created_at, info.ended_at) == (
            RunStatus.FAILED, 1, None, 1.0, 4.0,
        )  # fmt: skip
        assert list(two.verify()) == []
        assert not list(tmp_path.glob(".*tmp"))

    def test_goes_on_there(self, make: Any, tmp_path: Path) -> None:
        """The next execution claims the imported run, from any notebook; answers and entries are waiting for it."""
        one, two = make(), make("two")
        one.export(fill(one, end=False), tmp_path / "f.zip", now=5.0)
        taken = two.adopt(tmp_path / "f.zip", now=6.0)
        assert [run.status for run in two.runs()] == [RunStatus.INTERRUPTED]
        assert two.executions(taken.run_id)[0].outcome is Outcome.KILLED
        claim = two.claim(RUN, ME, now=7.0, notebook="/there.ipynb")
        assert (claim.id, claim.execution, claim.previous) == (taken.run_id, 2, Outcome.KILLED)
        assert [entry.status for entry in two.entries(claim)][-1] is EntryStatus.RUNNING
        two.record(claim, done(6, "next", b"1"))
        assert len(two.entries(claim)) == 7

    def test_there_and_back(self, make: Any, tmp_path: Path) -> None:
        """An imported run can be exported again."""
        one, two, three = make(), make("two"), make("three")
        run_id = fill(one)
        one.export(run_id, tmp_path / "a.zip", now=5.0)
        taken = two.adopt(tmp_path / "a.zip", now=6.0)
        two.export(taken.run_id, tmp_path / "b.zip", now=7.0)
        assert content(three, three.adopt(tmp_path / "b.zip", now=8.0).run_id) == content(one, run_id)

    def test_an_empty_run(self, make: Any, tmp_path: Path) -> None:
        """A run without entries is a run."""
        one, two = make(), make("two")
        one.export(fill(one, []), tmp_path / "f.zip", now=5.0)
        assert two.adopt(tmp_path / "f.zip", now=6.0).entries == 0

    def test_without_values(self, make: Any, tmp_path: Path) -> None:
        """Everything is shown and nothing replays; what must not be called twice asks."""
        one, two = make(), make("two")
        more = [
            done(6, "charge", b"paid", at_most_once=True),
            Entry(7, "failed", 0, EntryStatus.FAILED, failure=Failure.TERMINAL, survived=True, error={"type": "E"}),
            Entry(8, "timeout", 0, EntryStatus.CANCELLED),
            Entry(9, "ship", 0, EntryStatus.CANCELLED, at_most_once=True),
        ]
        run_id = fill(one, [FULL, *VALUES, RUNNING, *more])
        one.export(run_id, tmp_path / "f.zip", values=False, now=5.0)
        assert (tmp_path / "f.zip").stat().st_size < 20_000
        taken = two.adopt(tmp_path / "f.zip", now=6.0)
        entries = two.read(taken.run_id)
        assert [entry.name for entry in entries] == [entry.name for entry in one.read(run_id)]
        assert {entry.status for entry in entries[1:5]} == {EntryStatus.UNSTORABLE}
        assert all(entry.payload is None and not entry.blob and not entry.serializer for entry in entries)
        assert (entries[0].left, entries[0].survived) == (False, True)  # at_most_once: it is not tried again either
        assert (entries[7].left, entries[7].survived) == (True, False)
        assert entries[8].status is EntryStatus.INTERRUPTED
        for once in (entries[6], entries[9]):
            assert (once.status, once.ended_at) == (EntryStatus.RUNNING, None)
        assert dict(two.extras(taken.run_id)) == dict(one.extras(run_id))
        assert entries[4].value_type == "numpy.ndarray"

    def test_values_left_out_at_the_import(self, make: Any, tmp_path: Path) -> None:
        """JSON stays to be looked at; nothing replays."""
        one, two = make(), make("two")
        one.export(fill(one), tmp_path / "f.zip", now=5.0)
        taken = two.adopt(tmp_path / "f.zip", values=False, now=6.0)
        entries = two.read(taken.run_id)
        assert [entry.payload for entry in entries] == [None, b"[1, 2]", None, None, None, None]
        assert {entry.status for entry in entries[1:5]} == {EntryStatus.UNSTORABLE}
        assert not two.inbox(taken.run_id)


class TestNames:
    def test_a_run_of_that_name_is_kept(self, make: Any, tmp_path: Path) -> None:
        """Refused, naming both ways out; nothing changes."""
        one, two = make(), make("two")
        one.export(fill(one), tmp_path / "my f.zip", now=5.0)
        fill(two, [VALUES[0]])
        before = state(two)
        with pytest.raises(ConfigurationError, match=r"my f.zip' --as NAME[\s\S]*my f.zip' --replace"):
            two.adopt(tmp_path / "my f.zip", now=6.0)
        assert state(two) == before

    def test_under_another_name(self, make: Any, tmp_path: Path) -> None:
        """It gets that name, also beside its original."""
        one = make()
        run_id = fill(one)
        one.export(run_id, tmp_path / "f.zip", now=5.0)
        taken = one.adopt(tmp_path / "f.zip", RunId("copy", "k"), now=6.0)
        assert {str(run.run) for run in one.runs()} == {"my churn[monday]", "copy[k]"}
        assert content(one, taken.run_id) == content(one, run_id)

    def test_replace_archives(self, make: Any, tmp_path: Path) -> None:
        """The present run is archived with all its entries, and never deleted."""
        one = make()
        run_id = fill(one)
        one.export(run_id, tmp_path / "f.zip", now=5.0)
        before = content(one, run_id)
        taken = one.adopt(tmp_path / "f.zip", replace=True, now=6.0)
        assert (taken.number, taken.replaced) == (2, 1)
        assert [(run.number, run.archived) for run in one.runs(archived=True)] == [(2, False), (1, True)]
        assert content(one, run_id) == before
        assert one.claim(RUN, ME, now=7.0).id == taken.run_id

    def test_a_run_that_is_executed(self, make: Any, tmp_path: Path) -> None:
        """Is not replaced; exporting it works."""
        one = make()
        run_id = fill(one)
        claim = one.claim(RUN, ME, now=5.0)
        one.export(run_id, tmp_path / "f.zip", now=6.0)
        with pytest.raises(RunOpenError):
            one.adopt(tmp_path / "f.zip", replace=True, now=7.0)
        one.record(claim, done(6, "next", b"1"))
        one.release(claim)
        assert one.adopt(tmp_path / "f.zip", replace=True, now=8.0).number == 2

    def test_files_are_not_overwritten(self, make: Any, tmp_path: Path) -> None:
        """Neither a file, nor a link that leads nowhere; and an unwritable place is an error of ours."""
        one = make()
        run_id = fill(one)
        (tmp_path / "f.zip").write_text("mine")
        (tmp_path / "link").symlink_to("nowhere")
        for name in ("f.zip", "link", "no/such/folder"):
            with pytest.raises(ConfigurationError):
                one.export(run_id, tmp_path / name, now=5.0)
        assert (tmp_path / "f.zip").read_text() == "mine"
        assert not (tmp_path / "nowhere").exists()
        with pytest.raises(StoreError, match="no run with the id 99"):
            one.export(99, tmp_path / "new.zip", now=5.0)
        assert not (tmp_path / "new.zip").exists()
        for name in ("not there", "."):
            with pytest.raises(ConfigurationError):
                one.adopt(tmp_path / name, now=5.0)


@pytest.fixture
def stranger(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, Path]:
    """Two stores with different keys, and a file of the first."""
    one, two = make(), make("two", b"s" * 32)
    fill(one)
    one.export(one.runs()[0].id, tmp_path / "f.zip", now=5.0)
    monkeypatch.setattr(memory, "_signer", lambda: Signer(b"s" * 32, "another process"))
    return one, two, tmp_path / "f.zip"


class TestAnotherKey:
    def test_refused(self, stranger: Any) -> None:
        """The message says what it means and what to type; nothing changes."""
        _, two, file = stranger
        with pytest.raises(UntrustedExportError, match=r"unpickled[\s\S]*--trust[\s\S]*--no-values") as caught:
            two.adopt(file, now=6.0)
        assert str(file) in str(caught.value)
        assert state(two) == []

    def test_trusted(self, stranger: Any) -> None:
        """It is signed anew, so it replays here."""
        one, two, file = stranger
        taken = two.adopt(file, trust=True, now=6.0)
        assert content(two, taken.run_id) == content(one, one.runs()[0].id)
        assert all(entry.intact for entry in two.read(taken.run_id))
        assert list(two.verify()) == []
        assert not taken.signed

    def test_looked_at(self, stranger: Any) -> None:
        """Without values: previews and JSON, no outputs, no answers, and nothing that would be unpickled."""
        _, two, file = stranger
        taken = two.adopt(file, values=False, now=6.0)
        entries = two.read(taken.run_id)
        assert [entry.name for entry in entries if entry.payload is not None] == ["json"]
        assert not any(entry.blob for entry in entries)
        assert EntryStatus.SUCCEEDED not in {entry.status for entry in entries}
        assert two.extras(taken.run_id)[2] == Extra('{"preview": 2}')
        assert not two.inbox(taken.run_id)


def altered(file: Path, target: Path, change: Callable[[dict[str, bytes]], None], **how: Any) -> Path:
    """Write the archive anew with other parts."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(target, "w", how.get("kind", zipfile.ZIP_STORED)) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return target


def manifest(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        parts["manifest.json"] = json.dumps(json.loads(parts["manifest.json"]) | changes).encode()

    return change


def rows(edit: Callable[[list[Any]], None]) -> Callable[[dict[str, bytes]], None]:
    """Change lines, with digests that fit: what somebody does who doesn't have the key, and hopes for --trust."""

    def change(parts: dict[str, bytes]) -> None:
        lines = [json.loads(line) for line in parts["rows.jsonl"].splitlines()]
        edit(lines)
        parts["rows.jsonl"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        digest = blake3(parts["rows.jsonl"]).hexdigest()
        manifest(rows=[len(parts["rows.jsonl"]), digest])(parts)

    return change


def first(lines: list[Any], kind: str, number: int = 0) -> Any:
    return [item for found, item in lines if found == kind][number]


HOSTILE: dict[str, Callable[[dict[str, bytes]], None]] = {
    "climbing": lambda parts: parts.update({"../../x": b"x"}),
    "absolute": lambda parts: parts.update({"/etc/x": b"x"}),
    "climbing value": lambda parts: parts.update({"values/../../x": b"x"}),
    "unknown part": lambda parts: parts.update({"x": b"x"}),
    "no rows": lambda parts: parts.pop("rows.jsonl") and None,
    "no manifest": lambda parts: parts.pop("manifest.json") and None,
    "no mark": lambda parts: parts.pop("manifest.mark") and None,
    "no value": lambda parts: parts.pop("values/3") and None,
    "another value": lambda parts: parts.update({"values/3": parts["values/3"][::-1]}),
    "swapped values": lambda parts: parts.update({"values/3": parts["values/4"], "values/4": parts["values/3"]}),
    "cut value": lambda parts: parts.update({"values/3": parts["values/3"][:-1]}),
    "rows changed": lambda parts: parts.update({"rows.jsonl": parts["rows.jsonl"].replace(b"json", b"dill", 1)}),
    "not our manifest": lambda parts: parts.update({"manifest.json": b"[]"}),
    "deep manifest": lambda parts: parts.update({"manifest.json": b"[" * 100_000}),
    "no JSON": lambda parts: parts.update({"manifest.json": b"\xff\x00"}),
    "another format": manifest(format="x"),
    "no version": manifest(version="1"),
    "impossible name": manifest(workflow="a\nb"),
    "name no text": manifest(workflow=7),
    "status": manifest(status="x"),
    "executions": manifest(executions=[[2, 1.0, None, "completed", None]]),
    "executions no list": manifest(executions=7),
    "endless used": manifest(executions=[[1, 1.0, None, "completed", "0-99999999999"], [1]]),
    "no digest": manifest(rows=None),
    "negative seq": rows(lambda lines: first(lines, "entry").update(seq=-1)),
    "huge seq": rows(lambda lines: first(lines, "entry").update(seq=1 << 40)),
    "twice": rows(lambda lines: lines.append(["entry", first(lines, "entry")])),
    "text for a number": rows(lambda lines: first(lines, "entry").update(attempts="1")),
    "number for a text": rows(lambda lines: first(lines, "entry").update(name=1)),
    "infinite": rows(lambda lines: first(lines, "entry").update(spent=float("inf"))),
    "too large a number": rows(lambda lines: first(lines, "entry").update(budget=1 << 70)),
    "status of an entry": rows(lambda lines: first(lines, "entry").update(status="x")),
    "error no mapping": rows(lambda lines: first(lines, "entry").update(error=[1])),
    "payload no base64": rows(lambda lines: first(lines, "entry").update(payload="???")),
    "too large for its part": rows(lambda lines: first(lines, "entry", 3).update(size=10**12)),
    "of negative size": rows(lambda lines: first(lines, "entry", 3).update(size=-1)),
    "two places": rows(lambda lines: first(lines, "entry", 1).update(member=[1, "0" * 64])),
    "member elsewhere": rows(lambda lines: first(lines, "entry", 1).update(payload=None, member=[1, "../x"], size=1)),
    "unknown line": rows(lambda lines: lines.append(["x", {}])),
    "line no pair": rows(lambda lines: lines.append(7)),
    "text under another's name": rows(lambda lines: lines.append(["text", [SOURCE_ID, "other"]])),
    "attempt of nobody": rows(lambda lines: lines.append(["attempt", [-1, 0, 1, 1.0, 1.0, {}, None]])),
    "extra no text": rows(lambda lines: lines.append(["extra", [1, 2, 3]])),
    "message unknown": rows(lambda lines: lines.append(["message", [1, "x", None, "", 1.0]])),
}


class TestForeignFiles:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_ones(self, make: Any, tmp_path: Path, name: str) -> None:
        """Whatever it is made of: an error of ours that names the file, also for who trusts it; nothing changes."""
        one, two = make(), make("two")
        one.export(fill(one), tmp_path / "f.zip", now=5.0)
        file = altered(tmp_path / "f.zip", tmp_path / "bad.zip", HOSTILE[name])
        before = sorted(path for path in tmp_path.rglob("*") if "journal.db" not in path.name)
        with pytest.raises(StoreError) as caught:
            two.adopt(file, trust=True, now=6.0)
        assert "bad.zip" in str(caught.value)
        with pytest.raises(StoreError):
            two.adopt(file, now=6.0)
        assert state(two) == []
        assert sorted(path for path in tmp_path.rglob("*") if "journal.db" not in path.name) == before

    def test_a_bomb(self, make: Any, tmp_path: Path) -> None:
        """What is compressed is not unpacked, and parts that overlap are refused."""
        one, two = make(), make("two")
        one.export(fill(one), tmp_path / "f.zip", now=5.0)
        bomb = {"values/9": b"\0" * 50_000_000}
        file = altered(
            tmp_path / "f.zip", tmp_path / "b.zip", lambda parts: parts.update(bomb), kind=zipfile.ZIP_DEFLATED
        )
        assert file.stat().st_size < 7_000_000
        with pytest.raises(StoreError, match="is not a run"):
            two.adopt(file, now=6.0)
        data = bytearray((tmp_path / "f.zip").read_bytes())
        with zipfile.ZipFile(tmp_path / "f.zip") as archive:
            large = archive.getinfo("values/4")
        # A second entry of the directory that stands for the same bytes.
        at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"values/4"))
        length = 46 + len("values/4")
        copy = bytes(data[at : at + length]).replace(b"values/4", b"values/8")
        end = data.rindex(b"PK\x05\x06")
        begin = int.from_bytes(data[end + 16 : end + 20], "little")
        count, size = int.from_bytes(data[end + 8 : end + 10], "little"), end - begin
        tail = bytearray(data[end:])
        tail[8:10] = tail[10:12] = (count + 1).to_bytes(2, "little")
        tail[12:16] = (size + length).to_bytes(4, "little")
        (tmp_path / "o.zip").write_bytes(bytes(data[:end]) + copy + bytes(tail))
        assert large.file_size > 4_000_000
        with zipfile.ZipFile(tmp_path / "o.zip") as archive:
            assert "values/8" in archive.namelist()
        with pytest.raises(StoreError, match="parts overlap"):
            two.adopt(tmp_path / "o.zip", now=6.0)
        assert state(two) == []

    def test_a_newer_version(self, make: Any, tmp_path: Path) -> None:
        """Is named, with what to type."""
        one, two = make(), make("two")
        one.export(fill(one), tmp_path / "f.zip", now=5.0)
        file = altered(tmp_path / "f.zip", tmp_path / "new.zip", manifest(version=2))
        with pytest.raises(JournalFormatError, match="pip install --upgrade"):
            two.adopt(file, now=6.0)

    def test_no_archives(self, make: Any, tmp_path: Path) -> None:
        """Empty files, text, another program's archive."""
        two = make("two")
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr("a.txt", "a")
        (tmp_path / "empty").touch()
        (tmp_path / "text").write_text("hello\n" * 1000)
        os.mkfifo(tmp_path / "fifo")
        for name in ("other.zip", "empty", "text"):
            with pytest.raises(StoreError, match="is not a run that"):
                two.adopt(tmp_path / name, now=6.0)
        with pytest.raises(ConfigurationError, match="no file"):
            two.adopt(tmp_path / "fifo", now=6.0)

    def test_every_flipped_byte(self, make: Any, tmp_path: Path) -> None:
        """Damage is an error that changes nothing, or was in nothing that counts."""
        one, two = make(), make("two")
        run_id = fill(one, [FULL, *VALUES[:2]])
        good = content(one, run_id)
        one.export(run_id, tmp_path / "f.zip", now=5.0)
        data = (tmp_path / "f.zip").read_bytes()
        refused = 0
        for place in range(0, len(data), 7):
            (tmp_path / "bad.zip").write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
            try:
                taken = two.adopt(tmp_path / "bad.zip", RunId(f"at {place}"), now=6.0)
            except StoreError:
                refused += 1
                continue
            assert content(two, taken.run_id) == good
        assert len(two.runs()) == len(range(0, len(data), 7)) - refused
        assert refused > len(data) // 7 * 0.8

    def test_every_length(self, make: Any, tmp_path: Path) -> None:
        """A file that is cut off is refused wherever that was."""
        one, two = make(), make("two")
        one.export(fill(one, [FULL, *VALUES[:2]]), tmp_path / "f.zip", now=5.0)
        data = (tmp_path / "f.zip").read_bytes()
        for length in (*range(0, len(data), 61), len(data) - 1):
            (tmp_path / "cut.zip").write_bytes(data[:length])
            with pytest.raises(StoreError, match="cut off"):
                two.adopt(tmp_path / "cut.zip", now=6.0)
        assert state(two) == []
