"""Taking away: rewind, forget, gc, each planned first; in memory and in a real file."""

from __future__ import annotations

from datetime import timedelta

import pytest
from histories import DAY, Histories

from notebook_durable.errors import ConfigurationError, RunOpenError
from notebook_durable.history.collect import collect
from notebook_durable.model import EntryStatus
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.units import age, byte_count
from notebook_durable.view import JournalView
from notebook_durable.wiring import Settings


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path, signer):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / ".durable", signer)
    yield store
    store.close()


@pytest.fixture
def made(store):
    return Histories(store)


@pytest.fixture
def view(store):
    return JournalView(Settings.resolve(store=store))


def statuses(store, run):
    return {entry.seq: str(entry.status) for entry in store.read(run.id)}


# -- rewind


def test_rewind_supersedes_that_step_and_what_came_after(made, view, store):
    """In the order of the calls, not of the entries; nothing happens before it is applied; values stay."""
    run = made.execute("w", [made.entry(n, name, n) for n, name in enumerate("abc")], [2, 0, 1])
    plan = view.rewind("w", "a")
    assert plan
    assert "2 of 3 steps will run again" in repr(plan)
    assert set(statuses(store, run).values()) == {"succeeded"}
    assert "2 entries will not replay" in plan.apply()
    assert statuses(store, run) == {0: "superseded", 1: "superseded", 2: "succeeded"}
    assert store.read(run.id)[0].note == "asked for: rewound to a"
    assert view.load("w", "a") == 0
    with pytest.raises(ConfigurationError, match="is history already"):
        view.rewind("w", "a")
    with pytest.raises(ConfigurationError, match="has no step"):
        view.rewind("w", "z")


def test_rewind_takes_equal_entries_of_the_history_along(made, view, store):
    """An equal call that the latest execution didn't make would be replayed in the rewound one's place."""
    equal = [made.entry(n, "s", n, occurrence=n) for n in range(3)]
    run = made.execute("w", [*equal, made.entry(3, "t", 1), made.entry(4, "s", 9, inputs={"x": "other"})], [0, 3])
    plan = view.rewind("w", "s")
    assert "and 2 entries of the history" in repr(plan)
    plan.apply()
    assert statuses(store, run) == {
        0: "superseded", 1: "superseded", 2: "superseded", 3: "superseded", 4: "succeeded",
    }  # fmt: skip


def test_rewind_to_a_call_of_a_loop(made, view, store):
    """ "s #2" begins at the second; "s" at the first."""
    entries = [made.entry(n, "s", n, occurrence=n, inputs={"x": str(n)}) for n in range(3)]
    run = made.execute("w", entries, [0, 1, 2])
    assert view.rewind("w", "s").entries == 3
    view.rewind("w", "s #2").apply()
    assert statuses(store, run) == {0: "succeeded", 1: "superseded", 2: "superseded"}


def test_rewind_says_what_is_called_again_though_it_must_not(made, view):
    """A step with at_most_once."""
    made.execute("w", [made.entry(0, "pay", 1, at_most_once=True)], [0])
    assert "at_most_once: it will be called again" in repr(view.rewind("w", "pay"))


def test_a_run_that_is_executed_is_left_alone(made, view):
    """Refused before anybody is asked."""
    made.execute("w", [made.entry(0, "s", 1)], [0])
    made.execute("w", open_=True)
    for ask in (lambda: view.rewind("w", "s"), lambda: view.forget("w"), lambda: view.forget("w", "s")):
        with pytest.raises(RunOpenError):
            ask()


def test_an_execution_between_plan_and_yes_calls_it_off(made, view, store):
    """What was shown is what is done, or nothing."""
    run = made.execute("w", [made.entry(0, "s", 1)], [0])
    plans = [view.rewind("w", "s"), view.forget("w", "s"), view.forget("w")]
    made.execute("w", [], [0])
    for plan in plans:
        with pytest.raises(ConfigurationError, match="was executed meanwhile, so nothing was done"):
            plan.apply()
    assert statuses(store, run) == {0: "succeeded"}


# -- forget


def test_forget_a_workflow(made, view, store):
    """All its runs and keys, archived ones too, and the sources that nothing names any more; others stay."""
    made.execute("w", [made.entry(0, "s", 1)], [0])
    made.execute("w", [made.entry(0, "s", 2)], [0], fresh=True)
    made.execute("w", [made.entry(0, "s", 3)], [0], key="k")
    made.execute("other", [made.entry(0, "t", 4)], [0])
    plan = view.forget("w")
    assert "3 entries with 3 B of values will be deleted" in repr(plan)
    assert "deleted 3 entries" in plan.apply()
    assert [str(run.run) for run in view.runs(archived=True)] == ["other"]
    left = store.texts(made.texts)
    assert "def t(): pass" in left.values()
    assert "def s(): pass" not in left.values()
    with pytest.raises(ConfigurationError, match="there is no run 'w'"):
        view.forget("w")


def test_forget_one_run_or_key(made, view):
    """--run and --key."""
    made.execute("w", [made.entry(0, "s", 1)], [0])
    made.execute("w", [made.entry(0, "s", 2)], [0], fresh=True)
    made.execute("w", [made.entry(0, "s", 3)], [0], key="k")
    view.forget("w", key="k").apply()
    view.forget("w", run=1).apply()
    assert [(str(run.run), run.number) for run in view.runs(archived=True)] == [("w", 2)]


def test_forget_a_step(made, view, store):
    """All its entries in all runs, older versions too; other steps stay and are current as before."""
    run = made.execute("w", [made.entry(0, "a", 1), made.entry(1, "s", 1)], [0, 1])
    made.execute("w", [made.entry(2, "s", 2, inputs={"x": "1"})], [0, 2])
    made.execute("w", [made.entry(0, "s", 3)], [0], fresh=True)
    plan = view.forget("w", "s")
    assert plan.entries == 3
    plan.apply()
    assert [entry.seq for entry in store.read(run.id)] == [0]
    assert [one.step for one in view.history("w", run=1).versions] == ["a"]
    with pytest.raises(ConfigurationError, match="has no step"):
        view.forget("w", "s")


def test_forget_one_call_of_a_loop(made, view, store):
    """ "s #1" is the first only; an entry that is another call's now stays."""
    run = made.execute("w", [made.entry(n, "s", n, occurrence=n, inputs={"x": str(n)}) for n in range(2)], [0, 1])
    made.execute("w", [made.entry(2, "s", 9, inputs={"x": "9"})], [2, 0, 1])
    view.forget("w", "s #1").apply()
    assert [entry.seq for entry in store.read(run.id)] == [0, 1]
    assert view.forget("w", "s").entries == 2


# -- gc


def long_ago(made):
    """Archived runs 1 to 3 of w, 40, 20 and 10 days old; its run 4 with one entry of history; an archived run of v."""
    made.now = 0.0
    for value in ("one", "two", "three"):
        made.execute("w", [made.entry(0, "s", value)], [0], fresh=True)
        made.now += {"one": 20, "two": 10, "three": 5}[value] * DAY
    made.execute("w", [made.entry(0, "s", "old"), made.entry(1, "t", "t")], [0, 1], fresh=True)
    made.now += 5 * DAY - 200
    made.execute("w", [made.entry(2, "s", "new", inputs={"x": "1"})], [2, 1])
    made.execute("v", [made.entry(0, "s", "v")], [0])
    made.execute("v", [made.entry(0, "s", "v")], [0], fresh=True)
    return 40 * DAY


def left(view):
    return sorted((run.run.workflow, run.number) for run in view.runs(archived=True))


@pytest.mark.parametrize(
    ("options", "gone", "entries"),
    [
        ({}, {("w", 1)}, 1),
        ({"older_than": "15d"}, {("w", 1), ("w", 2)}, 2),
        ({"older_than": timedelta(days=4)}, {("w", 1), ("w", 2), ("w", 3)}, 4),  # and the old version of s
        ({"older_than": "50d"}, set(), 0),
        ({"keep_runs": 1}, {("w", 1), ("w", 2)}, 2),
        ({"keep_runs": 0}, {("w", 1), ("w", 2), ("w", 3), ("v", 1)}, 4),
        ({"keep_runs": 2, "older_than": "1d"}, {("w", 1)}, 2),
        ({"max_size": 10**6}, set(), 0),
        ({"max_size": "26B"}, {("w", 1), ("w", 2)}, 2),
        ({"max_size": 0}, {("w", 1), ("w", 2), ("w", 3), ("v", 1)}, 5),
        ({"max_size": 0, "keep_runs": 3}, set(), 1),
    ],
)
def test_gc_collects_what_the_options_say(made, view, store, options, gone, entries):
    """Archived runs and history by number, age and size; what is current never."""
    now = long_ago(made)
    before = set(left(view))
    current = {run.id: [entry.seq for entry in view.show(run.run.workflow).entries] for run in view.runs()}
    plan = collect(store, now=now, **options)
    assert set(left(view)) == before
    assert plan.entries == entries
    if plan:
        plan.apply()
    assert before - set(left(view)) == gone
    assert current == {run.id: [entry.seq for entry in view.show(run.run.workflow).entries] for run in view.runs()}
    again = collect(store, now=now, **options)
    assert not again
    assert "Nothing to collect" in repr(again)


def test_gc_counts_replays_as_use(made, view, store):
    """An entry that was replayed lately is not old, however long ago it was recorded."""
    made.now = 0.0
    made.execute("w", [made.entry(0, "s", 1)], [0])
    made.now = 39 * DAY
    made.execute("w", [], [0])
    made.execute("w", [made.entry(1, "s", 2, inputs={"x": "1"})], [1])
    assert not collect(store, now=40 * DAY, older_than="30d")
    assert collect(store, now=80 * DAY, older_than="30d").entries == 1


def test_gc_says_when_it_cannot_get_there(made, store):
    """--max-size below what is current."""
    made.execute("w", [made.entry(0, "s", "x" * 100)], [0])
    assert "That is more than 10 B" in repr(collect(store, now=0, max_size=10))


def test_gc_spares_what_is_executed_and_what_is_open(made, view, store):
    """Neither a run under way nor an at_most_once step whose outcome is unknown."""
    made.execute("w", [made.entry(0, "pay", payload=None, status=EntryStatus.RUNNING, at_most_once=True)], outcome=None)
    made.execute("w", [made.entry(1, "pay", 1, inputs={"x": "1"})], [1])
    assert not collect(store, now=made.now + 1, older_than=0)
    made.execute("w", [made.entry(2, "pay", 1, inputs={"x": "2"})], [2])
    assert collect(store, now=made.now + 1, older_than=0).entries == 1
    made.execute("w", open_=True)
    assert not collect(store, now=made.now + 1, older_than=0)


def test_texts_stay_while_a_run_is_executed(made, view, store):
    """Its sources may be written, and not named by an entry yet."""
    made.execute("w", [made.entry(0, "s", 1)], [0])
    made.execute("busy", open_=True)
    assert "the database gets smaller at the next gc, because a run is being executed" in view.forget("w").apply()
    assert "def s(): pass" in store.texts(made.texts).values()


def test_the_method_takes_the_real_time(made, view):
    """journal().gc() without arguments: 30 days."""
    made.execute("w", [made.entry(0, "s", 1)], [0])
    made.execute("w", [made.entry(0, "s", 1)], [0], fresh=True)
    assert view.gc().entries == 1  # of 1970
    assert not view.gc(keep_runs=1)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 30 * DAY), ("12h", 43200), ("1.5m", 90), ("2w", 14 * DAY), ("5s", 5), (7, 7)]
)
def test_ages(text, seconds):
    """A number with a unit."""
    assert age(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"), [("10GB", 10**10), ("1.5 MB", 1_500_000), ("2KiB", 2048), ("7", 7), (9, 9), ("0", 0)]
)
def test_sizes(text, count):
    """Powers of 1000, or of 1024 where it says so."""
    assert byte_count(text) == count


@pytest.mark.parametrize(
    ("read", "bad"),
    [(age, "30"), (age, "d"), (age, "-1d"), (age, -1), (age, float("nan")), (byte_count, "10XB"), (byte_count, -1)],
)
def test_bad_ages_and_sizes(read, bad):
    """Said, with an example."""
    with pytest.raises(ConfigurationError, match="such as"):
        read(bad)
