"""Damaged values through ``ctx.run``: never returned, said, kept in the quarantine, and computed anew."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from lab import Lab

from notebook_durable.cli.app import main
from notebook_durable.errors import DamagedValueError, OutcomeUnknownError
from notebook_durable.events import StepDamaged, StepStarted
from notebook_durable.history.explore import snapshot, step_rows
from notebook_durable.history.explore_step import all_of_step, step_detail
from notebook_durable.model import EntryStatus
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.stores import blobs
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.references import BlobRef, PackRef, reference_from
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.view import JournalView
from notebook_durable.wiring import Settings

np = pytest.importorskip("numpy")

SIZES = {"row": 500, "pack": 12_000, "blob": 12_000}
PLACES = list(SIZES)
FILES = ["pack", "blob"]


@pytest.fixture
def lab(tmp_path, signer, always_replay) -> Iterator[Lab]:
    """A lab on a real file: there is nothing in memory that could be damaged."""
    stores: list[SqliteStore] = []

    def make() -> SqliteStore:
        for old in stores:
            old.close()
        stores.append(SqliteStore(tmp_path / ".durable", signer))
        return stores[-1]

    yield Lab(make, always_replay)
    for store in stores:
        store.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / ".durable"


@pytest.fixture
def place(request, monkeypatch):
    """Where values lie: a file of its own takes all that a row doesn't."""
    if request.param == "blob":
        monkeypatch.setattr(blobs, "LARGEST_IN_PACK", 0)
    return request.param


def make(lab, n, start):
    return lab.called("make", {"a": np.arange(float(n)) + start, "b": bytearray(b"ab"), "start": start})


def use(lab, value):
    return lab.called("use", float(value["a"].sum()))


def body_of(lab, n, names=("one", "two")):
    """A body with values alike in all but their numbers; a step takes each."""

    def body(ctx):
        found = []
        for start, name in enumerate(names):
            value = ctx.run(name, make, lab, n, start)
            assert (value["a"] == np.arange(float(n)) + start).all()
            assert (value["b"], value["start"]) == (b"ab", start)
            found.append(ctx.run(f"use {name}", use, lab, value))
        return found

    return body


def played(lab, n):
    """The first execution of two steps with values, and two that take them."""
    body = body_of(lab, n)
    lab.play(body)
    lab.restart()
    return body


def entry_of(lab, name):
    return next(e for e in lab.entries() if e.name == name and e.status is EntryStatus.SUCCEEDED)


def reference(lab, name):
    """Where the value of a step lies."""
    found = reference_from(entry_of(lab, name).blob)
    assert found is not None
    return found


def file_of(folder, ref):
    return folder / "blobs" / ref.digest if isinstance(ref, BlobRef) else folder / "packs" / f"{ref.name}.pack"


def span_of(ref):
    return (ref.offset, ref.length) if isinstance(ref, PackRef) else (0, ref.length)


def change_row(folder, lab, name, change):
    """Apply a function to what lies in the row of a step, by SQL."""
    seq = entry_of(lab, name).seq
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as db:
        ((rowid, payload),) = db.execute(
            "SELECT place, payload FROM entries WHERE place & 4294967295 = ?", (seq,)
        ).fetchall()
        db.execute("UPDATE entries SET payload = ? WHERE place = ?", (change(payload), rowid))


def change_file(path, change):
    """Put a changed copy in place of a file, as a bad disk would have it: nothing that is mapped is touched."""
    data = change(path.read_bytes())
    path.unlink()
    path.write_bytes(data)


def flip(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def damage(folder, lab, name, place, change):
    """Change the bytes of a step's value, wherever they lie."""
    if place == "row":
        change_row(folder, lab, name, change)
        return
    ref = reference(lab, name)
    start, length = span_of(ref)

    def in_file(data):
        return data[:start] + change(data[start : start + length]) + data[start + length :]

    change_file(file_of(folder, ref), in_file)


def check_recomputed(lab, body, names=("one",), folder=None):
    """Play: what was damaged is computed anew, said and replaced; the rest replays, and so does all of it next time."""
    lab.restart()
    lab.play(body)
    assert lab.calls == ["make"] * len(names)
    assert [event.entry.name for event in lab.events.of(StepDamaged)] == list(names)
    lab.restart()
    lab.play(body)
    assert lab.calls == []
    assert lab.events.of(StepDamaged) == []
    if folder is not None:
        assert [path for path in (folder / "quarantine").iterdir() if path.stat().st_size]
    assert problems(lab) == []


def problems(lab):
    """What verify finds, but for what is told so that people delete it: all else is in order."""
    return [problem for problem in lab.store.verify() if problem.kind not in ("quarantine", "unused")]


# --- bits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_flipped_bits(lab, folder, place):
    """Any bit: head, pickle, gaps between parts, numbers. The step that takes the value replays all the same."""
    body = played(lab, SIZES[place])
    randomness = random.Random(f"20261124 {place}")
    for _ in range(25):
        damage(folder, lab, "one", place, lambda data: flip(data, randomness.randrange(len(data) * 8)))
        check_recomputed(lab, body, folder=None if place == "row" else folder)


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_cut_off(lab, folder, place):
    """A value that ends early, at any length."""
    body = played(lab, SIZES[place])
    randomness = random.Random(7)
    for keep in (0, 1, 23, 24, 100, None, None):
        if place == "pack":
            ref = reference(lab, "one")
            change_file(
                file_of(folder, ref),
                lambda data, ref=ref, keep=keep: data[: ref.offset + (ref.length // 2 if keep is None else keep)],
            )
            # In a pack what follows is lost as well.
            lab.restart()
            lab.play(body)
            assert {event.entry.name for event in lab.events.of(StepDamaged)} >= {"one"}
            lab.restart()
            lab.play(body)
            assert lab.calls == []
        else:
            damage(
                folder, lab, "one", place,
                lambda data, keep=keep: data[: randomness.randrange(len(data)) if keep is None else keep],
            )  # fmt: skip
            check_recomputed(lab, body)


@pytest.mark.parametrize("place", ["blob"], indirect=True)
def test_longer_than_it_was(lab, folder, place):
    """Bytes after its end are not ignored."""
    body = played(lab, SIZES[place])
    damage(folder, lab, "one", place, lambda data: data + b"\0")
    check_recomputed(lab, body, folder=folder)


@pytest.mark.parametrize("place", FILES, indirect=True)
@pytest.mark.parametrize("how", ["deleted", "a folder", "a pipe", "a link to nowhere", "a link to itself", "/dev/zero"])
def test_no_file(lab, folder, place, how):
    """Gone, or something else in its place: the kernel neither dies nor waits."""
    body = played(lab, SIZES[place])
    path = file_of(folder, reference(lab, "one"))
    path.unlink()
    match how:
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "a link to nowhere":
            path.symlink_to("nowhere")
        case "a link to itself":
            path.symlink_to(path)
        case "/dev/zero":
            path.symlink_to("/dev/zero")
    lab.play(body)
    # Both values lie in the same pack.
    assert [event.entry.name for event in lab.events.of(StepDamaged)] == ["one", "two"][: 2 if place == "pack" else 1]
    lab.restart()
    lab.play(body)
    assert lab.calls == []


# --- the bytes of another value ---------------------------------------------------------------


@pytest.mark.parametrize("place", ["blob"], indirect=True)
def test_two_files_swapped(lab, folder, place):
    """Both are computed anew; both are kept in the quarantine."""
    body = played(lab, SIZES[place])
    one, two = (file_of(folder, reference(lab, name)) for name in ("one", "two"))
    first, second = one.read_bytes(), two.read_bytes()
    one.unlink()
    two.unlink()
    one.write_bytes(second)
    two.write_bytes(first)
    check_recomputed(lab, body, ("one", "two"), folder)
    assert sorted(path.read_bytes() for path in (folder / "quarantine").iterdir()) == sorted([first, second])


@pytest.mark.parametrize("place", ["blob"], indirect=True)
@pytest.mark.parametrize("link", [True, False])
def test_another_steps_file_under_its_name(lab, folder, place, link):
    """It is a good file, of another value: not believed; the other step still has it."""
    body = played(lab, SIZES[place])
    one, two = (file_of(folder, reference(lab, name)) for name in ("one", "two"))
    one.unlink()
    if link:
        one.hardlink_to(two)
    else:
        one.write_bytes(two.read_bytes())
    check_recomputed(lab, body, folder=folder)


@pytest.mark.parametrize("place", ["pack"], indirect=True)
def test_two_values_of_a_pack_swapped(lab, folder, place):
    """The bytes of one value where the other's were."""
    body = played(lab, SIZES[place])
    one, two = reference(lab, "one"), reference(lab, "two")
    assert one.name == two.name
    assert one.length == two.length

    def swap(data):
        parts = {ref.offset: data[ref.offset : ref.offset + ref.length] for ref in (one, two)}
        changed = bytearray(data)
        changed[one.offset : one.offset + one.length] = parts[two.offset]
        changed[two.offset : two.offset + two.length] = parts[one.offset]
        return bytes(changed)

    change_file(file_of(folder, one), swap)
    check_recomputed(lab, body, ("one", "two"), folder)


COLUMNS = ["blob", "size", "payload", "blob, size", "blob, size, payload", "libraries", "value_type, serializer"]


@pytest.mark.parametrize("place", PLACES, indirect=True)
@pytest.mark.parametrize("columns", COLUMNS)
def test_columns_of_two_rows_swapped(lab, folder, place, columns):
    """By SQL, the value of one step is another's: both rows fail their check, and are computed anew."""
    n = SIZES[place]

    def body(ctx):
        one = ctx.run("one", make, lab, n, 0)
        two = ctx.run("two", lambda: lab.called("two", [np.zeros(n + 9)]))
        return one["start"], len(two)

    assert lab.play(body) == (0, 1)
    lab.restart()
    seqs = [entry_of(lab, name).seq for name in ("one", "two")]
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as db:
        (first,), (second,) = (
            db.execute(f"SELECT {columns} FROM entries WHERE place & 4294967295 = ?", (seq,)).fetchall() for seq in seqs
        )
        marks = ", ".join(f"{name} = ?" for name in columns.split(", "))
        for values, seq in ((second, seqs[0]), (first, seqs[1])):
            db.execute(f"UPDATE entries SET {marks} WHERE place & 4294967295 = ?", (*values, seq))
    changed = first != second
    assert lab.play(body) == (0, 1)
    assert {event.entry.name for event in lab.events.of(StepDamaged)} == ({"one", "two"} if changed else set())
    lab.restart()
    assert lab.play(body) == (0, 1)
    assert lab.calls == []


@pytest.mark.parametrize("place", FILES, indirect=True)
@pytest.mark.parametrize(
    "text", [f"blob:{'0' * 64}:100", "blob:../../../etc/passwd:9", f"pack:../x:0:100:{'0' * 64}", "row:5", "what?", ""]
)
def test_a_made_up_reference(lab, folder, place, text):
    """A row that points elsewhere is not followed."""
    body = played(lab, SIZES[place])
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as db:
        db.execute("UPDATE entries SET blob = ? WHERE place & 4294967295 = ?", (text, entry_of(lab, "one").seq))
    check_recomputed(lab, body)


@pytest.mark.parametrize("place", ["blob"], indirect=True)
def test_a_value_of_another_journal(lab, folder, tmp_path, place):
    """A file that another key has digested has another name; under this one's name it is not believed."""
    body = played(lab, SIZES[place])
    other = Lab(lambda: SqliteStore(tmp_path / "other", Signer(b"o" * 32)), always_replay=False)
    other.play(body_of(other, SIZES[place] + 8))
    theirs = file_of(tmp_path / "other", reference(other, "one"))
    ours = file_of(folder, reference(lab, "one"))
    assert theirs.name != ours.name
    ours.unlink()
    ours.write_bytes(theirs.read_bytes())
    other.store.close()
    check_recomputed(lab, body, folder=folder)


# --- what goes on around it -------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("place", FILES, indirect=True)
def test_it_is_said_why(lab, folder, place):
    """The reason of the second call names the damage, and is recorded with it."""
    body = played(lab, SIZES[place])
    damage(folder, lab, "one", place, lambda data: flip(data, 8 * len(data) - 1))
    lab.play(body)
    said = "its recorded value is damaged (its bytes are not those that were written)"
    assert [event.reason for event in lab.events.of(StepDamaged)] == [said]
    assert [event.reason for event in lab.events.of(StepStarted)] == [said]
    old = next(entry for entry in lab.entries() if entry.status is EntryStatus.SUPERSEDED)
    assert (old.note, old.has_value, old.blob) == (said, False, "")
    view = JournalView(Settings.resolve(store=lab.store))
    assert said in repr(view.why("wf"))


@pytest.mark.parametrize("place", FILES, indirect=True)
def test_async_steps_and_maps(lab, folder, place):
    """The same in tasks, and for the items of a map: only what was damaged is computed anew."""
    n = SIZES[place]

    async def step(number):
        await asyncio.sleep(0)
        return lab.called(f"step {number}", np.full(n, float(number)))

    def item(number):
        return lab.called(f"item {number}", np.full(n, number + 10.0))

    async def body(ctx):
        values = await asyncio.gather(*(ctx.run(f"step {number}", step, number) for number in range(3)))
        values += await ctx.map("m", item, range(4))
        return [set(one) for one in values]

    expected = [{0.0}, {1.0}, {2.0}, {10.0}, {11.0}, {12.0}, {13.0}]
    assert lab.play(body) == expected
    refs = [reference_from(entry.blob) for entry in lab.entries() if entry.name in ("step 1", "m")]
    for ref in (refs[0], refs[3]):
        start, length = span_of(ref)
        change_file(file_of(folder, ref), lambda data, at=start + length - 2: flip(data, 8 * at))
    lab.restart()
    assert lab.play(body) == expected
    assert sorted(lab.calls) == ["item 2", "step 1"]
    lab.restart()
    assert lab.play(body) == expected
    assert lab.calls == []


@pytest.mark.parametrize("place", FILES, indirect=True)
def test_the_error_of_a_failed_step(lab, folder, place):
    """Its bytes are damaged: the cell takes the same branch by its text, and the step isn't called again."""

    class BadRowsError(Exception):
        def __init__(self, rows):
            super().__init__(f"{len(rows)} bad rows")
            self.rows = rows

    def check():
        lab.called("check")
        raise BadRowsError(np.arange(float(SIZES[place])))

    def body(ctx):
        try:
            ctx.run("check", check, max_attempts=1)
        except Exception as error:
            return str(error)

    said = lab.play(body)
    assert "12000 bad rows" in said
    lab.restart()
    (entry,) = lab.entries()
    ref = reference_from(entry.blob)
    change_file(file_of(folder, ref), lambda data: flip(data, 8 * (sum(span_of(ref)) - 3)))
    assert lab.play(body) == said
    assert lab.calls == []


def test_the_store_outlives_each_damage(lab, folder):
    """Rows, packs and files of one run, damaged at random between executions: every value is right each time."""
    sizes = {"tiny": 3, "row": 500, "pack": 12_000, "pack 2": 20_000, "file": 600_000}

    def body(ctx):
        for start, (name, n) in enumerate(sizes.items()):
            value = ctx.run(name, make, lab, n, start)
            assert (value["a"] == np.arange(float(n)) + start).all()

    lab.play(body)
    randomness = random.Random(20261124)
    for _ in range(12):
        name = randomness.choice(list(sizes))
        lab.restart()
        ref = reference_from(entry_of(lab, name).blob)
        damage(
            folder, lab, name, "row" if ref is None else "blob",
            lambda data: flip(data, randomness.randrange(len(data) * 8)),
        )  # fmt: skip
        lab.restart()
        lab.play(body)
        assert lab.calls == ["make"]
    lab.store.sweep()
    assert problems(lab) == []


# --- at_most_once -------------------------------------------------------------------------------


def once_body(lab, n):
    def body(ctx):
        return ctx.run("pay", make, lab, n, 7, at_most_once=True)["start"]

    return body


@pytest.mark.parametrize("place", PLACES, indirect=True)
@pytest.mark.parametrize("answer", ["value", "retry"])
def test_at_most_once_is_not_called_again(lab, folder, place, answer):
    """The error says that it has run and what to type; the answer settles it."""
    body = once_body(lab, SIZES[place])
    assert lab.play(body) == 7
    lab.restart()
    damage(folder, lab, "pay", place, lambda data: flip(data, 8 * len(data) - 4))
    # A row that isn't authentic says nothing, not even whether the step had ended.
    why = "its journal entry is damaged" if place == "row" else r"its recorded value is damaged \("
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError, match=f"has run, but {why}") as caught:
            lab.play(body)
        assert '%durable outcome wf "pay" --retry' in str(caught.value)
        assert lab.calls == []
        lab.restart()
    view = JournalView(Settings.resolve(store=lab.store))
    if answer == "value":
        said = view.outcome("wf", "pay", value={"start": 8})
        assert "has the value that you gave" in said
        assert lab.play(body) == 8
        assert lab.calls == []
    else:
        assert "will be called again" in view.outcome("wf", "pay", retry=True)
        assert lab.play(body) == 7
        assert lab.calls == ["make"]
    lab.restart()
    assert lab.play(body) == (8 if answer == "value" else 7)
    assert lab.calls == []


# --- looking at it --------------------------------------------------------------------------------


@pytest.fixture
def damaged(lab, folder):
    """A run with a good and a damaged value, and an older version of the damaged step."""
    lab.play(lambda ctx: (ctx.run("load", lambda: np.arange(12_000.0)), ctx.run("other", lambda: 5)))
    lab.play(lambda ctx: (ctx.run("load", lambda: np.arange(12_000.0) + 1), ctx.run("other", lambda: 5)))
    lab.restart()
    ref = reference_from(lab.entries()[-1].blob)
    change_file(file_of(folder, ref), lambda data: flip(data, 8 * (ref.offset + ref.length - 5)))
    lab.play(lambda ctx: ctx.run("other", lambda: 5))
    return JournalView(Settings.resolve(store=lab.store))


def test_load_says_so(damaged):
    """An error that names the step and the reason; the other values are there."""
    with pytest.raises(DamagedValueError, match="step 'load'") as caught:
        damaged.load("wf", "load")
    assert "\n" not in str(caught.value).strip()
    assert damaged.load("wf", "other") == 5
    assert damaged.load("wf", "load@1")[1] == 1.0


@pytest.mark.once
def test_lists_and_comparisons_go_on(damaged):
    """diff says that it can't compare; history, show, why and the frame don't read values."""
    said = repr(damaged.diff("wf", executions=(1, 2)))
    assert "can't be compared here" in said
    assert "load" in repr(damaged.history("wf"))
    assert "other" in repr(damaged.show("wf"))
    assert "load" in repr(damaged.why("wf", "load"))
    assert len(damaged.to_frame("wf")) == 3
    found = damaged._store.verify()
    assert [problem.step for problem in found if problem.kind not in ("quarantine", "unused")] == ["load"]


def test_the_explorer_goes_on(damaged, lab):
    """Rows, a step's details and its text: the damage is said there, or nothing is."""
    shot = snapshot(lab.store, lab.run())
    assert step_rows(shot)["rows"]
    for entry in lab.entries():
        step_detail(lab.store, shot, entry.seq)
        all_of_step(shot, entry.key)


def test_the_shell_says_it_in_a_line(damaged, lab, folder, capsys, monkeypatch, tmp_path):
    """``notebook-durable load`` ends with status 1 and one line, no traceback; nothing is written."""
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    lab.store.close()
    for to in ([], ["--to", str(tmp_path / "out")]):
        assert main(["load", "wf", "load", *to, "--store", str(folder)]) != 0
        out = capsys.readouterr()
        assert "step 'load'" in out.out + out.err
        assert "Traceback" not in out.err
    assert not (tmp_path / "out").exists()


def test_the_codec_is_never_asked(damaged, monkeypatch):
    """What fails its check reaches no unpickler."""

    def decode(self, *given):
        raise AssertionError("unpickled")

    monkeypatch.setattr(DefaultCodec, "decode", decode)
    with pytest.raises(DamagedValueError):
        damaged.load("wf", "load")
