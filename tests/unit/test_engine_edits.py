"""Replay by fingerprint: what an edit makes run again, and why. The table of edits is in tests/edits."""

from __future__ import annotations

import linecache
import random
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from lab import Outside

from notebook_durable import RunOptions, file, journal
from notebook_durable.errors import ConfigurationError, JournalMismatchError, TerminalError
from notebook_durable.events import StepReplayed, StepStarted
from notebook_durable.model import EntryStatus
from notebook_durable.parts import parts_from


def square(x):
    return x * x


def ran(lab):
    """Names of the steps that ran, and why."""
    return {str(event.entry.key): event.reason for event in lab.events.of(StepStarted)}


def again(lab, body, **how):
    lab.events.clear()
    return lab.play(body, **how)


def each(items, fn=square, name="sq"):
    return lambda ctx: [ctx.run(name, fn, item) for item in items]


# --- finding ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "runs"),
    [
        ([1, 2, 3], []),
        ([1, 9, 2, 3], [9]),  # inserted
        ([2, 3], []),  # removed
        ([3, 1, 2], []),  # reordered
        ([1, 2, 3, 3], [3]),  # repeated
        ([1, 5, 3], [5]),  # changed
    ],
)
def test_a_loop_runs_only_what_is_new(lab, items, runs):
    """Whatever happens to the order: an item that was computed isn't computed again."""
    lab.play(each([1, 2, 3]))
    assert again(lab, each(items)) == [item * item for item in items]
    started = [event.entry for event in lab.events.of(StepStarted) if event.entry.attempts == 1]
    assert len({entry.seq for entry in started}) == len(runs)


def test_an_undone_edit_finds_its_entry_again(lab):
    """Nothing is destroyed by an edit."""
    lab.play(each([1]))
    lab.play(each([2]))
    assert again(lab, each([1])) == [1]
    assert ran(lab) == {}
    assert len(lab.entries()) == 2


def test_equal_calls_keep_their_order(lab):
    """Equal name and inputs: the first call gets the first entry."""
    lab.play(each([7, 7, 7]))
    seqs = [entry.seq for entry in lab.entries()]
    again(lab, each([7, 7]))
    assert [event.entry.seq for event in lab.events.of(StepReplayed)][-2:] == seqs[:2]


def test_a_step_that_gives_an_equal_value_stops_the_wave(lab):
    """The one behind it replays."""

    def body(fn):
        return lambda ctx: ctx.run("b", square, ctx.run("a", fn))

    lab.play(body(lambda: 3))
    assert again(lab, body(lambda: 1 + 2)) == 9
    assert list(ran(lab)) == ["a"]


def test_which_entries_an_execution_used_is_written_down(lab):
    """In the order of the calls, replayed ones too."""
    lab.play(each([1, 2]))
    lab.play(each([3, 1]))
    assert [execution.used for execution in lab.store.executions(lab.run().id)][-1] == (2, 0)


# --- why ----------------------------------------------------------------------------------


def test_why(lab):
    """New; a function's code; an input with the short old and new; all of it."""

    def body(fn, x):
        return lambda ctx: ctx.run("s", fn, x)

    lab.play(body(square, 1))
    assert ran(lab)["s"] == "new"
    again(lab, body(square, 2))
    assert ran(lab)["s"] == "input `x` changed: 1 → 2"
    parts = parts_from(lab.entries()[-1].code.inputs)
    assert (parts.why, parts.instead) == ("input `x` changed: 1 → 2", 0)


def test_why_names_the_function(lab):
    """The step's own, or a helper."""
    space = {}

    def define(text):
        exec(compile(text, "cell", "exec"), space)

    def body(ctx):
        return ctx.run("s", space["outer"])

    define("def helper(): return 1\ndef outer(): return helper()")
    lab.play(body)
    define("def helper(): return 2")
    assert again(lab, body) == 2
    assert "helper" in ran(lab)["s"]
    assert "outer" not in ran(lab)["s"]


def test_a_secret_is_not_told(lab):
    """A changed password in a URL changes the input, and stands nowhere."""

    def body(url):
        return lambda ctx: ctx.run("s", len, url)

    lab.play(body("postgres://me:hunter2@db/sales"))
    again(lab, body("postgres://me:swordfish@db/sales"))
    assert ran(lab)
    for entry in lab.entries():
        assert "hunter2" not in repr(entry)
        assert "swordfish" not in repr(entry)


# --- options ------------------------------------------------------------------------------


def test_version_and_depends_on(lab):
    """Marks of the user's own."""

    def body(**options):
        return lambda ctx: ctx.run("s", square, 2, **options)

    lab.play(body(version="1"))
    again(lab, body(version="1"))
    assert ran(lab) == {}
    again(lab, body(version="2"))
    assert ran(lab)["s"] == "version changed: '1' → '2'"
    again(lab, body(version="2", depends_on=[1, 2]))
    assert ran(lab)["s"] == "depends_on is new"
    again(lab, body(version="2", depends_on=[1, 3]))
    assert ran(lab)["s"] == "depends_on changed"


def test_ignore(lab):
    """A named input doesn't count; a name that is none is an error that lists them."""

    def score(rows, now):
        return rows + now

    def body(now, ignore=("now",)):
        return lambda ctx: ctx.run("s", score, 1, now, ignore=list(ignore))

    assert lab.play(body(1)) == 2
    assert again(lab, body(2)) == 2
    with pytest.raises(ConfigurationError, match=r"ignore= of step 's' names 'noww', which is none of its inputs.*now"):
        lab.play(body(2, ["noww"]))


@pytest.mark.parametrize(
    "options", [{"ignore": 3}, {"reads": "orders.csv"}, {"version": 1.5}, {"max_age": "1 day"}, {"max_age": -1}]
)
def test_bad_options(lab, options):
    """Refused before anything runs."""
    with pytest.raises(ConfigurationError):
        lab.play(lambda ctx: ctx.run("s", lab.called, "s", **options))
    assert lab.calls == []


def test_max_age(lab):
    """An older result is computed anew; the old one stays as history, and the new one replays."""

    def body(ctx):
        return ctx.run("s", square, 3, max_age=timedelta(hours=1))

    lab.play(body)
    lab.clock.advance(3000)
    again(lab, body)
    assert ran(lab) == {}
    lab.clock.advance(3000)
    again(lab, body)
    assert ran(lab)["s"] == "too old: 1 h 40 min, and max_age is 1 h 00 min"
    assert [entry.status for entry in lab.entries()] == [EntryStatus.SUPERSEDED, EntryStatus.SUCCEEDED]
    again(lab, body)
    assert ran(lab) == {}


def test_reads(lab, tmp_path):
    """A file counts by its content, not by its time."""
    path = tmp_path / "orders.csv"

    def load(where):
        return Path(where).read_text()

    def body(ctx):
        return ctx.run("load", load, str(path), reads=file(path))

    path.write_text("a")
    assert lab.play(body) == "a"
    path.write_text("a")
    again(lab, body)
    assert ran(lab) == {}
    path.write_text("b")
    assert again(lab, body) == "b"
    assert ran(lab)["load"].startswith("file ")
    assert "not tracked" not in lab.entries()[-1].code.inputs


def test_a_file_that_is_not_tracked_is_said(lab, tmp_path):
    """A text or path that names an existing file."""
    path = tmp_path / "orders.csv"
    path.write_text("a")
    lab.play(lambda ctx: ctx.run("load", len, str(path)))
    assert list(parts_from(lab.entries()[0].code.inputs).untracked.values()) == [("file not tracked",)]


# --- effects ------------------------------------------------------------------------------


class Database(Outside):
    def __init__(self):
        self.rows = {}

    def put(self, key, value):
        self.rows[key] = value

    def get(self, key):
        return self.rows[key]


def staged(db, value, **options):
    def body(ctx):
        ctx.run("stage", lambda: db.put("t", value), **options)
        return ctx.run("report", lambda: db.get("t"))

    return body


def test_a_step_that_returns_none_makes_later_ones_run_that_share_its_object(lab):
    """The staging table: the reader's code and inputs are the same, and yet its value is stale."""
    db = Database()
    assert lab.play(staged(db, 1)) == 1
    assert again(lab, staged(db, 1)) == 1
    assert ran(lab) == {}
    assert again(lab, staged(db, 2)) == 2
    assert "step 'stage' ran again" in ran(lab)["report"]
    assert again(lab, staged(db, 2)) == 2
    assert ran(lab) == {}


def test_an_undone_edit_of_an_effect_runs_again(lab):
    """The old entry's effect has been overwritten since."""
    db = Database()
    for value in (1, 2, 1):
        assert again(lab, staged(db, value)) == value
    assert "another version of it ran since" in ran(lab)["stage"]
    again(lab, lambda ctx: (staged(db, 1)(ctx), ctx.run("more", lambda: db.get("t") + 10)))
    assert list(ran(lab)) == ["more"]


def test_writes_declares_an_effect(lab):
    """For a step that returns something."""
    db = Database()

    def body(value, **options):
        def stage():
            db.put("t", value)
            return "done"

        def run(ctx):
            ctx.run("stage", stage, **options)
            return ctx.run("report", lambda: db.get("t"))

        return run

    assert lab.play(body(1, writes=db)) == 1
    assert again(lab, body(2, writes=db)) == 2


def test_a_file_written_by_a_step(lab, tmp_path):
    """Shared by its path, as text or Path."""
    path = tmp_path / "out.csv"

    def body(value):
        def run(ctx):
            ctx.run("write", lambda where, text: where.write_text(text) and None, path, value)
            return ctx.run("read", lambda where: Path(where).read_text(), str(path))

        return run

    assert lab.play(body("1")) == "1"
    assert again(lab, body("2")) == "2"
    again(lab, body("2"))
    assert ran(lab) == {}


def test_a_loop_of_effects_that_share_nothing(lab):
    """A notification for each region: one more region notifies one more."""

    lab.play(lambda ctx: [ctx.run("notify", print, region) for region in ("north", "south")])
    again(lab, lambda ctx: [ctx.run("notify", print, region) for region in ("west", "north", "south")])
    assert list(ran(lab)) == ["notify"]


# --- changes in place ---------------------------------------------------------------------


class Model:
    def __init__(self):
        self.fitted = None

    def fit(self, data):
        self.fitted = sum(data)
        return self

    def predict(self):
        if self.fitted is None:
            raise RuntimeError("not fitted")
        return self.fitted


def test_a_changed_input_that_is_returned_replays(lab):
    """And the cell's own object is put into the state in which the step left it."""

    def body(ctx):
        model = Model()
        assert ctx.run("fit", model.fit, [1, 2]) is model
        return ctx.run("predict", model.predict)

    assert lab.play(body) == 3
    assert again(lab, body) == 3
    assert ran(lab) == {}
    assert lab.entry("fit").note == "changed its input `self`, which it returned"


def test_a_changed_input_that_is_lost_is_said_and_runs_again(lab):
    """Returning it is the way out, and the note says so."""

    def body(ctx):
        rows = []

        def add():
            rows.append(1)

        ctx.run("add", add)
        return list(rows)

    assert lab.play(body) == [1]
    assert lab.entry("add").status is EntryStatus.IMPURE
    assert lab.entry("add").note == "changed its input `rows`: return it"
    assert again(lab, body) == [1]
    assert ran(lab)["add"] == "it changed its input `rows`: return it"


def test_a_retry_says_that_an_attempt_changed_its_input(lab):
    """Half of a batch is in the list already."""

    def body(ctx):
        rows = [0]

        def work():
            rows.append(1)
            if len(rows) < 3:
                raise ConnectionError("down")
            return rows

        return ctx.run("work", work)

    assert lab.play(body) == [0, 1, 1]
    reasons = [event.reason for event in lab.events.of(StepStarted)]
    assert "an earlier attempt changed its input `rows`" in reasons


def test_a_memo_is_no_change(lab):
    """A dict that a helper keeps its own results in; restarts find it empty."""

    def body(ctx):
        cache = {}

        def slow(x):
            if x not in cache:
                cache[x] = x * x
            return cache[x]

        return [ctx.run("slow", slow, n) for n in (2, 3, 2)]

    assert lab.play(body) == [4, 9, 4]
    assert {entry.status for entry in lab.entries()} == {EntryStatus.SUCCEEDED}
    assert again(lab, body) == [4, 9, 4]
    assert ran(lab) == {}


# --- strict -------------------------------------------------------------------------------


def test_strict_shows_both_orders(lab):
    """Recorded and current steps side by side."""
    lab.play(lambda ctx: [ctx.run(name, square, 1) for name in "abc"])
    with pytest.raises(JournalMismatchError) as caught:
        lab.play(lambda ctx: [ctx.run(name, square, 1) for name in "acb"], strict=True)
    assert "b" in str(caught.value)
    assert again(lab, lambda ctx: [ctx.run(name, square, 1) for name in "abc"], strict=True) == [1, 1, 1]


def test_strict_keeps_the_order_of_the_last_execution(lab):
    """Not that of steps that were edited away long ago."""
    lab.play(lambda ctx: [ctx.run(name, square, 1) for name in "abc"])
    lab.play(lambda ctx: [ctx.run(name, square, 1) for name in "cab"])
    lab.play(lambda ctx: [ctx.run(name, square, 1) for name in "cab"], strict=True)


def other_libraries(lab):
    entries = [
        entry._replace(code=entry.code._replace(inputs=entry.code.inputs.replace("Python 3.", "Python 2.")))
        for entry in lab.entries()
    ]
    lab.store.amend(lab.run().id, entries)


def test_another_version_of_a_library_is_noted(lab):
    """Replayed, with a note."""
    lab.play(each([2]))
    other_libraries(lab)
    assert again(lab, each([2])) == [4]
    assert ran(lab) == {}
    assert lab.events.of(StepReplayed)[0].note.startswith("recorded with Python 2.")


def test_strict_runs_again_with_another_version(lab):
    """There it counts."""
    lab.play(each([2]))
    other_libraries(lab)
    assert again(lab, each([2]), strict=True) == [4]
    assert ran(lab)["sq"].startswith("recorded with Python 2.")


def test_a_method_of_a_builtin_object(lab):
    """``rows.append`` changes the list that it belongs to, which no value shows."""

    def body(ctx):
        rows = []
        ctx.run("add", rows.append, 1)
        return rows

    assert lab.play(body) == [1]
    assert again(lab, body) == [1]
    assert ran(lab)["add"] == "it changed its input `self`: return it"


class Adder:
    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x + self.n


def test_a_callable_object(lab):
    """Counts with its state and its class."""
    assert lab.play(lambda ctx: ctx.run("s", Adder(1), 1)) == 2
    assert again(lab, lambda ctx: ctx.run("s", Adder(1), 1)) == 2
    assert ran(lab) == {}
    assert again(lab, lambda ctx: ctx.run("s", Adder(2), 1)) == 3
    assert ran(lab)


# --- findings of a review that tried to break it ---------------------------------------------


def test_a_parameter_and_a_global_of_one_name_are_two_inputs(lab):
    """Exchanged values are an edit."""
    space = {}
    exec(compile("def helper(): return x\ndef f(x): return (x, helper())", "cell", "exec"), space)

    def body(given, read):
        space["x"] = read
        return lambda ctx: ctx.run("s", space["f"], given)

    assert lab.play(body(1, 2)) == (1, 2)
    assert again(lab, body(2, 1)) == (2, 1)
    assert again(lab, body(1, 2)) == (1, 2)
    assert ran(lab) == {}


@pytest.mark.parametrize("kind", [dict, Counter, partial(defaultdict, int), OrderedDict, deque, list, set])
def test_containers_get_their_state_back(lab, kind):
    """Changed in place and returned: the cell's own object, with its type."""

    def fill(held):
        for n in range(3):
            if hasattr(held, "update"):
                held.update({n} if isinstance(held, set) else {n: n})
            else:
                held.append(n)
        return held

    def body(ctx):
        held = kind()
        assert ctx.run("fill", fill, held) is held
        return list(held), type(held).__name__, len(held)

    first = lab.play(body)
    assert again(lab, body) == first
    assert ran(lab) == {}


class Slotted:
    __slots__ = ("model",)

    def __init__(self):
        self.model = None


def test_objects_with_slots_get_their_state_back(lab):
    """As those with a dict."""

    def fit(holder):
        holder.model = 3
        return holder

    def body(ctx):
        holder = Slotted()
        ctx.run("fit", fit, holder)
        return holder.model

    assert lab.play(body) == 3
    assert again(lab, body) == 3
    assert ran(lab) == {}


def test_what_an_input_holds_gets_its_state_back(lab):
    """A list inside a dict may have a name of its own in the cell."""

    def body(ctx):
        inner = [0]
        model = Model()
        held = {"x": inner, "steps": [("model", model)]}

        def work(given):
            given["x"].append(1)
            given["steps"][0][1].fit([1, 2])
            return given

        ctx.run("work", work, held)
        return inner, held["x"] is inner, model.fitted

    assert lab.play(body) == ([0, 1], True, 3)
    assert again(lab, body) == ([0, 1], True, 3)
    assert ran(lab) == {}


def test_a_generator_of_random_numbers_goes_on(lab):
    """Its state is put back, so the next draw is the one that came then."""

    def body(ctx):
        chance = random.Random(0)
        drawn, _ = ctx.run("draw", lambda: (chance.random(), chance))
        return drawn, chance.random()

    first = lab.play(body)
    assert again(lab, body) == first
    assert ran(lab) == {}


def test_an_input_that_cannot_take_the_state_runs_the_step(lab):
    """Never a value with the old state beside it."""
    import array

    def work(numbers):
        numbers.append(3)
        return numbers

    def body(ctx):
        numbers = array.array("i", [1])
        ctx.run("work", work, numbers)
        return list(numbers)

    assert lab.play(body) == [1, 3]
    assert lab.entry("work").status is EntryStatus.IMPURE
    assert again(lab, body) == [1, 3]


def test_a_writer_that_fails_has_written(lab):
    """Caught by the cell; the reader behind it must not keep what it read before."""
    db = Database()

    def body(value):
        def stage():
            db.put("t", value)
            raise TerminalError("the connection broke")

        def run(ctx):
            try:
                ctx.run("stage", stage)
            except TerminalError:
                pass
            return ctx.run("report", lambda: db.get("t"))

        return run

    assert lab.play(body(1)) == 1
    assert again(lab, body(2)) == 2
    assert again(lab, body(2)) == 2
    assert ran(lab) == {}


def test_a_dict_of_results_is_no_memo(lab):
    """Stored without looking: the cell means to read it."""

    def body(ctx):
        results = {}

        def train(name):
            results[name] = len(name)
            return results[name]

        ctx.run("train", train, "abc")
        return dict(results)

    assert lab.play(body) == {"abc": 3}
    assert again(lab, body) == {"abc": 3}


def test_a_proxy_of_nothing(lab):
    """An object that raises when looked at doesn't break the step."""

    class Thing:
        pass

    proxy = weakref.proxy(Thing())
    assert lab.play(lambda ctx: ctx.run("s", lambda given: 1, proxy)) == 1


@pytest.mark.once
def test_a_changed_secret_is_said_and_not_shown(lab):
    """In a function's source: the diff hides both, so it says that they differ."""
    space = {}

    def body(secret):
        text = f'def connect():\n    return len("postgres://me:{secret}@db")\n'
        name = f"<ipython-input-{secret}-abc>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        exec(compile(text, name, "exec"), space)
        return lambda ctx: ctx.run("s", space["connect"])

    lab.play(body("hunter2"))
    again(lab, body("swordfish"))
    assert ran(lab)["s"] == "code of `connect` changed"
    text = repr(journal(store=lab.store).why("wf"))
    assert "a secret in it changed" in text
    assert "swordfish" not in text


def test_ignore_means_both_inputs_of_one_name(lab):
    """A keyword argument and a global that a helper reads: one name leaves out both."""
    space = {}
    exec(compile("x = 1\ndef helper(): return x\ndef f(**named): return len(named), helper()", "cell", "exec"), space)

    def body(given):
        return lambda ctx: ctx.run_typed("s", space["f"], RunOptions(ignore=["x"]), x=given)

    assert lab.play(body(1)) == (1, 1)
    assert again(lab, body(2)) == (1, 1)
    assert ran(lab) == {}
