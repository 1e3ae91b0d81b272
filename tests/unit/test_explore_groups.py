"""Maps and large values in the explorer: one row and one bar for many items, and no value read before it is wanted."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from histories import Histories

from notebook_durable import TerminalError, durable
from notebook_durable.history.explore import snapshot, step_rows
from notebook_durable.history.explore_step import step_text
from notebook_durable.history.groups import LEAST, in_a_row, worst
from notebook_durable.history.timeline import BAR, timeline
from notebook_durable.model import EntryStatus
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.view import journal
from notebook_durable.widgets.explorer import Explorer
from notebook_durable.wiring import Settings, open_store


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    return Settings.resolve(store=tmp_path / ".durable")


@pytest.fixture
def shell():
    return SimpleNamespace(user_ns=(space := {}), push=space.update)


def run(settings, body, name="wf"):
    with durable(name, store=settings.folder) as ctx:
        return body(ctx)


def look(settings):
    store = open_store(settings)
    shot = snapshot(store, store.runs()[0])
    drawn = timeline(shot, lambda seq: store.attempts(shot.log.info.id, seq), time.time())
    store.close()
    return shot, drawn


def rows_of(shot):
    found = step_rows(shot)
    places = {name: found["columns"].index(name) for name in found["columns"]}
    texts = {places[name] for name in found["texts"]}
    return [
        {name: found["words"][row[at]] if at in texts else row[at] for name, at in places.items()}
        for row in found["rows"]
    ]


def bars(drawn, number):
    one = next(one for one in drawn["executions"] if one["number"] == number)
    return [dict(zip(BAR, bar, strict=True)) for bar in one["bars"]]


def ask(explorer, do, **more):
    answer = explorer.answer({"do": do, "id": 1, **more})
    json.dumps(answer)
    return answer


def halved(number):
    if number % 5 == 3:
        raise TerminalError(f"no {number}")
    return number / 2


# -- rows


def test_a_map_is_one_group_between_its_neighbours(settings):
    """Of its items: how many are done and failed, the first error, time and bytes together; steps around it stay."""

    def body(ctx):
        ctx.run("load", list)
        ctx.map("half", halved, range(20), on_error="collect")
        ctx.run("report", dict)

    run(settings, body)
    shot, _ = look(settings)
    (group,) = step_rows(shot)["groups"]
    assert (group["start"], group["count"], group["name"]) == (1, 20, "half")
    assert (group["done"], group["failed"], group["state"], group["current"]) == (16, 4, "failed", 1)
    assert "no 3" in group["error"]
    rows = rows_of(shot)
    assert [row["step"] for row in rows[:3]] == ["load", "half", "half #2"]
    assert group["size"] == sum(row["size"] for row in rows[1:21]) > 0
    assert group["took"] == pytest.approx(sum(row["took"] for row in rows[1:21]), abs=0.01)
    assert group["began"] == min(row["began"] for row in rows[1:21])


def test_how_much_of_a_map_was_replayed(settings):
    """As the latest execution found it."""
    for count, replayed in ((12, 0), (12, 12), (20, 12)):
        run(settings, lambda ctx, count=count: ctx.map("half", lambda x: x / 2, range(count)))
        (group,) = step_rows(look(settings)[0])["groups"]
        assert (group["count"], group["done"], group["replayed"]) == (count, count, replayed)


def test_why_a_map_ran_again_and_what_it_replaced(settings):
    """An edit runs all items again: the group says why, and the old items are a group of history."""
    for factor in (2, 3):
        run(settings, lambda ctx, factor=factor: ctx.map("scale", lambda x: x * factor, range(12)))
    now, old = step_rows(look(settings)[0])["groups"]
    assert (now["start"], now["count"], now["current"]) == (0, 12, 1)
    assert "factor" in now["why"]
    assert (old["start"], old["count"], old["current"]) == (12, 12, 0)


@pytest.mark.parametrize("key", [None, lambda item: f"city {item}"])
def test_items_are_named_by_what_tells_them_apart(settings, key):
    """By their key if they have one, else by the item itself; not by what all of them were given."""
    rate = 7
    run(settings, lambda ctx: ctx.map("score", lambda x: x * rate, range(12), key=key))
    labels = [row["item"] for row in rows_of(look(settings)[0])]
    assert labels == [str(n) if key is None else f"'city {n}'" for n in range(12)]


def test_secrets_don_t_get_into_the_names_of_items(settings):
    """An argument called like a secret is shown as such, here too."""
    run(settings, lambda ctx: ctx.map("try", lambda password: len(password), [f"hunter{n}" for n in range(12)]))
    assert "hunter" not in json.dumps(step_rows(look(settings)[0]))


def test_a_few_calls_and_mixed_ones_are_no_group(tmp_path, signer):
    """A loop that calls two steps in turn, and one that is short, stay as they are."""
    store = SqliteStore(tmp_path / ".durable", signer)
    made = Histories(store)
    mixed = [made.entry(n, "ab"[n % 2], n, occurrence=n // 2) for n in range(40)]
    short = [made.entry(40 + n, "c", n, occurrence=n) for n in range(LEAST - 1)]
    shot = snapshot(store, made.execute("mixed", [*mixed, *short], range(40 + LEAST - 1)))
    assert shot.groups == []
    assert {row["item"] for row in rows_of(shot)} == {""}
    store.close()


def test_runs_of_names():
    """Places of equal names that follow one another often enough."""
    assert in_a_row("abbbccccb", 3) == [range(1, 4), range(4, 8)]
    assert in_a_row([], 1) == []
    assert worst(Counter({"done": 9, "failed": 1, "superseded": 5})) == "failed"
    assert worst(Counter({"superseded": 5})) == "superseded"


# -- values are not read


def test_a_look_reads_no_values(settings, monkeypatch):
    """Opening a run and its items asks the store for no bytes, and sizes are right all the same."""
    sizes = [10, 40_000, 200_000, 6_000_000]
    run(settings, lambda ctx: ctx.map("make", bytes, sizes))
    monkeypatch.setattr(SqliteStore, "payload", lambda *_: pytest.fail("a value was read"))
    real = SqliteStore.read

    def read(self, run_id, seqs=None, *, values=True):
        assert not values
        return real(self, run_id, seqs, values=values)

    monkeypatch.setattr(SqliteStore, "read", read)
    explorer = Explorer(settings)
    opened = ask(explorer, "run", run=1)
    at = opened["steps"]["columns"].index("size")
    found = [row[at] for row in opened["steps"]["rows"]]
    assert all(size <= one < size + 200 for size, one in zip(sizes, found, strict=True))
    for seq, size in enumerate(found):
        assert ask(explorer, "step", run=1, seq=seq)["step"]["size"] == size


def test_a_damaged_large_value_is_said_in_its_step(settings, shell):
    """Loading it finds the damage, and from then on the step says so and offers nothing; nothing is loaded."""
    run(settings, lambda ctx: ctx.run("load", lambda: bytearray(b"x") * 6_000_000))
    (blob,) = [
        path for path in (settings.folder / "blobs").rglob("*") if path.is_file() and path.stat().st_size > 10**6
    ]
    blob.chmod(0o600)
    with blob.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"y")
    explorer = Explorer(settings, shell)
    ask(explorer, "run", run=1)
    step = ask(explorer, "step", run=1, seq=0)["step"]
    assert (step["damaged"], step["can"]["load"]) == ("", True)
    assert blob.exists()  # nobody has read it, so it was not set aside
    assert "is damaged" in ask(explorer, "load", run=1, seq=0)["error"]
    step = ask(explorer, "step", run=1, seq=0)["step"]
    assert step["damaged"].startswith("damaged: ")
    assert step["damaged"].endswith("; it will be computed anew when its cell is run again")
    assert not step["can"]["load"]
    assert "command" not in step
    assert shell.user_ns == {}
    run(settings, lambda ctx: ctx.run("load", lambda: bytearray(b"x") * 6_000_000))
    seq = ask(explorer, "run", run=1)["steps"]["rows"][0][0]
    assert ask(explorer, "step", run=1, seq=seq)["step"]["damaged"] == ""
    ask(explorer, "load", run=1, seq=seq, variable="loaded")
    assert len(shell.user_ns["loaded"]) == 6_000_000


# -- one item


def test_one_item_is_loaded_as_the_command_says(settings, shell):
    """Its command names it as `%durable load` takes it, an older version too; both give its value."""
    for factor in (2, 3):
        run(settings, lambda ctx, factor=factor: ctx.map("scale", lambda x: x * factor, range(12)))
    shot, _ = look(settings)
    explorer = Explorer(settings, shell, "journal()")
    rows = rows_of(shot)
    view = journal(settings.folder)
    for place, text, value in ((4, "scale #5", 12), (16, "scale #5@1", 8)):
        seq = rows[place]["seq"]
        assert step_text(shot, shot.log.by_seq[seq]) == text
        assert view.load("wf", text) == value
        step = ask(explorer, "step", run=1, seq=seq)["step"]
        assert repr(text) in step["command"]
        ask(explorer, "load", run=1, seq=seq, variable="found")
        assert shell.user_ns["found"] == value
    magic = ask(Explorer(settings, shell), "step", run=1, seq=rows[4]["seq"])["step"]["command"]
    assert shlex.split(magic)[:4] == ["%durable", "load", "wf", "scale #5"]


# -- the timeline


def test_a_map_is_one_bar(settings):
    """Ten thousand items or twelve: one bar, from the first call to the end of the last; replayed, one pale one."""
    for _ in range(2):
        run(settings, lambda ctx: ctx.map("half", halved, range(300), on_error="collect"))
    shot, drawn = look(settings)
    (ran,) = bars(drawn, 1)
    assert (ran["kind"], ran["step"], ran["count"], ran["group"]) == ("ran", "half", 300, 1)
    assert "60 of 300 failed" in ran["said"]
    ended = max(entry.ended_at for entry in shot.log.entries)
    assert ran["at"] + ran["took"] == pytest.approx(ended, abs=0.001)
    (replayed,) = bars(drawn, 2)
    assert (replayed["kind"], replayed["count"]) == ("replayed", 300)
    assert replayed["took"] == pytest.approx(ran["took"], abs=0.005)
    assert [(one["ran"], one["replayed"]) for one in drawn["executions"]] == [(300, 0), (0, 300)]


def test_a_map_that_goes_on_has_a_pale_bar_and_a_full_one(settings):
    """What replayed is drawn as what was saved, before what ran."""
    run(settings, lambda ctx: ctx.map("half", lambda x: x / 2, range(20)))
    run(settings, lambda ctx: ctx.map("half", lambda x: x / 2, range(50)))
    pale, full = sorted(bars(look(settings)[1], 2), key=lambda bar: bar["x"])
    assert [(one["kind"], one["count"], one["group"]) for one in (pale, full)] == [("replayed", 20, 1), ("ran", 30, 1)]
    assert pale["x"] + pale["width"] <= full["x"] + 1e-3


def test_a_map_that_was_stopped_is_drawn_as_that(settings):
    """An item's failure that leaves the cell, or Stop, makes the bar a failed one."""

    def failing(number):
        if number == 15:
            raise TerminalError("no")
        return number

    with pytest.raises(TerminalError):
        run(settings, lambda ctx: ctx.map("step", failing, range(20)))
    shot, drawn = look(settings)
    assert {entry.status for entry in shot.log.entries} == {EntryStatus.SUCCEEDED, EntryStatus.FAILED}
    (bar,) = bars(drawn, 1)
    assert (bar["kind"], bar["count"], bar["state"]) == ("failed", 16, "failed")


def test_single_bars_around_a_map_keep_their_places(settings):
    """Steps before and after it are bars of their own, in order."""

    def body(ctx):
        ctx.run("load", list)
        ctx.map("half", lambda x: x, range(30))
        ctx.run("report", dict)

    run(settings, body)
    found = sorted(bars(look(settings)[1], 1), key=lambda bar: bar["at"])
    assert [(bar["step"], bar["count"], bar["group"]) for bar in found if bar["group"]] == [("half", 30, 1)]
    assert found[0]["step"] == "load"


# -- another key


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (open, (str(self.place), "w"))


def test_of_another_key_s_journal_json_can_be_loaded(settings, shell, tmp_path):
    """What is pickled is refused with the way out, for small values and large ones; nothing of it is run."""
    place = tmp_path / "boom"

    def body(ctx):
        ctx.run("plain", lambda: [1, 2])
        ctx.run("pickled", lambda: (1, 2))
        ctx.run("large", lambda: (bytes(6_000_000),))
        ctx.map("bombs", lambda n: {n: Bomb(place)}, range(12))

    run(settings, body)
    settings = Settings.resolve(store=settings.folder, key_file=tmp_path / "another")
    explorer = Explorer(settings, shell)
    assert "written with another key" in ask(explorer, "runs")["untrusted"]
    opened = ask(explorer, "run", run=1)
    assert "written with another key" in opened["untrusted"]
    assert opened["steps"]["groups"][0]["state"] == "untrusted"
    assert {row["state"] for row in rows_of(look(settings)[0])} == {"untrusted"}
    ask(explorer, "load", run=1, seq=0, variable="found")
    assert shell.user_ns == {"found": [1, 2]}
    assert ask(explorer, "step", run=1, seq=0)["step"]["preview"]["text"] == "[\n 1,\n 2\n]"
    for seq in (1, 2, 3):
        step = ask(explorer, "step", run=1, seq=seq)["step"]
        assert (step["state"], step["can"]["load"]) == ("untrusted", False)
        assert "written with another key" in step["damaged"]
        assert "UntrustedJournalError" in ask(explorer, "load", run=1, seq=seq, variable="found")["error"]
    assert shell.user_ns == {"found": [1, 2]}
    assert not place.exists()
