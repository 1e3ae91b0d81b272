"""Looking back: current entries, why, history, load, diff, on journals made by hand, in memory and in a real file."""

from __future__ import annotations

import decimal

import pandas as pd  # noqa: TID253  a frame in a table of cases
import pytest
from histories import Histories

from notebook_durable.errors import ConfigurationError, DamagedValueError, ReplayError
from notebook_durable.history.differ import compare_values
from notebook_durable.history.values import variable_for
from notebook_durable.model import EntryStatus, Failure, Outcome
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.view import JournalView
from notebook_durable.wiring import Settings

V1 = "def score(x):\n    return x + RATE\n"
V2 = "def score(x):\n    return x * RATE\n"


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


def edited(made):
    """Run 1: load, score, report; then score edited, its value changed, so report ran again."""
    load = made.entry(0, "load", [1, 2, 3], parts={"why": "new"})
    score = made.entry(1, "score", [2], functions={"score": V1}, inputs={"x": "3 rows", "RATE": "0.1"})
    report = made.entry(2, "report", "old", inputs={"scored": "list of 1"})
    made.execute("churn", [load, score, report], [0, 1, 2])
    why = {"why": "code of `score` changed", "instead": 1}
    new = made.entry(3, "score", [4], functions={"score": V2}, inputs={"x": "3 rows", "RATE": "0.2"}, parts=why)
    why = {
        "why": "input `scored` changed",
        "instead": 2,
        "untracked": {"engine": ("Engine",), "path": ("file not tracked",)},
    }
    after = made.entry(
        4, "report", "new", inputs={"scored": "list of 1 (other)"}, bytecode=["fast"],
        parts={**why, "shares": ("engine: Engine", "file: orders.csv")},
    )  # fmt: skip
    return made.execute("churn", [new, after], [0, 3, 4])


# -- what is current


def test_current_is_what_the_newest_execution_called(made, view):
    """In the order of its calls; what it didn't call is history."""
    edited(made)
    shown = view.show("churn")
    assert [entry.seq for entry in shown.entries] == [0, 3, 4]
    assert "3 steps, 2 older entries" in repr(shown)
    assert "code of `score` changed" in repr(shown)
    made.execute("churn", [], [4, 0])
    assert [entry.seq for entry in view.show("churn").entries] == [4, 0]


def test_a_killed_execution_adds_what_it_recorded(made, view):
    """It writes no list of its calls: its entries come behind those of the one before; superseded ones are left out."""
    edited(made)
    made.execute(
        "churn", [made.entry(5, "mail", 1), made.entry(6, "gone", 1, status=EntryStatus.SUPERSEDED)], outcome=None
    )
    assert [entry.name for entry in view.show("churn").entries] == ["load", "score", "report", "mail"]


def test_a_killed_execution_replaces_what_it_ran_again(made, view):
    """In its place among the calls; the entry before is history."""
    edited(made)
    made.execute("churn", [made.entry(5, "score", [9], functions={"score": "def score(): 9"})], outcome=None)
    assert [entry.seq for entry in view.show("churn").entries] == [0, 5, 4]
    assert view.load("churn", "score") == [9]
    assert [(one.step, one.state) for one in view.history("churn").versions if one.step.startswith("score")] == [
        ("score", "history"),
        ("score", "history"),
        ("score", "current"),
    ]


def test_an_execution_that_was_cut_short_leaves_the_rest_standing(made, view):
    """What it didn't come to replays when it does, so it is current; until an execution completes without it."""
    made.execute("w", [made.entry(n, name, n) for n, name in enumerate("abc")], [0, 1, 2])
    made.execute("w", [made.entry(3, "a", 9, inputs={"x": "1"})], [3], outcome=Outcome.FAILED)
    assert [entry.seq for entry in view.show("w").entries] == [3, 1, 2]
    assert view.rewind("w", "b").entries == 2
    made.execute("w", [], [3])
    assert [entry.seq for entry in view.show("w").entries] == [3]


def test_a_journal_without_lists_of_calls_is_all_current(made, view):
    """As version 1 wrote it."""
    made.execute("old", [made.entry(0, "a", 1), made.entry(1, "b", 1)], None)
    assert [entry.name for entry in view.show("old").entries] == ["a", "b"]


def test_steps_are_named_by_the_order_of_calls(made, view):
    """An item inserted at the front of a loop moves the others on by one."""
    made.execute("loop", [made.entry(0, "s", "A"), made.entry(1, "s", "B", occurrence=1)], [0, 1])
    made.execute("loop", [made.entry(2, "s", "X")], [2, 0, 1])
    assert [str(entry.key) for entry in view.show("loop").entries] == ["s", "s #2", "s #3"]
    assert [view.load("loop", step) for step in ("s", "s #1", "s #2", "s #3")] == ["X", "X", "A", "B"]
    assert view.load("loop", "s@1") == "A"


def test_the_frame_says_why_and_what_is_current(made, view):
    """One row for each entry, history included."""
    edited(made)
    frame = view.to_frame("churn").set_index("note").reset_index(drop=True)
    assert list(frame["current"]) == [True, False, False, True, True]
    assert list(frame["execution"]) == [1, 1, 1, 2, 2]
    assert frame["why"].iloc[3] == "code of `score` changed"
    assert frame["untracked"].iloc[4] == "engine, path"
    assert frame["fingerprint"].iloc[1] != frame["fingerprint"].iloc[3]


# -- why


def test_why_tells_replayed_from_ran(made, view):
    """With the reason, the function, a diff of its source, and short texts of the inputs."""
    edited(made)
    told = view.why("churn")
    assert [(one.step, one.replayed) for one in told.steps] == [("load", True), ("score", False), ("report", False)]
    text = repr(told)
    assert "churn, execution 2 (completed" in text
    assert "1 replayed, 2 ran" in text
    assert "-    return x + RATE" in text
    assert "+    return x * RATE" in text
    assert "input `RATE`: 0.1 -> 0.2" in text
    assert "not tracked: `engine` (Engine) — in report" in text
    assert "not tracked: `path` (file not tracked) — in report" in text
    assert "counts by its bytecode, no source at hand: `fast` — in report" in text
    assert told.steps[1].inputs[0].name == "RATE"


def test_why_of_one_step(made, view):
    """A replayed one tells why it ran when it was recorded; an unknown one is an error with what there is."""
    edited(made)
    made.execute("churn", [], [0, 3, 4])
    text = repr(view.why("churn", "score"))
    assert "replayed" in text
    assert '"score" ran in execution 2: code of `score` changed' in text
    assert "+    return x * RATE" in text
    assert "report" not in text
    with pytest.raises(
        ConfigurationError, match=r'has no step "nope" in run 1\. Its steps are: "load", "score", "report"'
    ):
        view.why("churn", "nope")


def test_why_of_a_step_that_is_called_no_more(made, view):
    """It says so."""
    edited(made)
    made.execute("churn", [], [0])
    assert "not called" in repr(view.why("churn", "score"))


def test_why_of_a_killed_execution(made, view):
    """Which steps it replayed is not known, and said."""
    edited(made)
    made.execute("churn", [made.entry(5, "mail", 1, parts={"why": "new"})], outcome=None)
    text = repr(view.why("churn"))
    assert "is not written down" in text
    assert "mail" in text
    assert "score" not in text


def test_why_without_fingerprints(made, view):
    """Entries of format 1 have no reason; sources of both are compared where there are some."""
    from notebook_durable.model import SAME_SOURCE, StepCode

    old = [
        made.entry(n, "s", n, occurrence=n, code=StepCode(source="lambda: 1" if n == 0 else SAME_SOURCE))
        for n in (0, 1)
    ]
    made.execute("w", old, None)
    assert "recorded without a fingerprint: not known" in repr(view.why("w"))
    made.execute("w", [made.entry(2, "s", 5, functions={"s": "lambda: 2"}, parts={"instead": 1})], [0, 2])
    text = repr(view.why("w"))
    assert "-lambda: 1" in text
    assert "+lambda: 2" in text


def test_library_versions_that_differ(made, view):
    """Said, with what they were."""
    made.execute("w", [made.entry(0, "s", 1, parts={"libraries": "Python 3.11, pandas 2.1.0"})], [0])
    again = {"libraries": "Python 3.11, pandas 2.2.3", "why": "asked for", "instead": 0}
    made.execute("w", [made.entry(1, "s", 1, parts=again)], [1])
    assert "library pandas 2.1.0 -> 2.2.3" in repr(view.why("w"))


def test_secrets_and_markup_are_data(made, view):
    """A password in a source or input doesn't reach the output, markup is escaped, escape sequences are shown."""
    sources = (
        'URL = "postgres://me:hunter2@db/x"  # <script>',
        'URL = "postgres://me:hunter3@db/x"  # <script>\x1b[31m',
    )
    made.execute("<b>", [made.entry(0, "<i>", 1, functions={"f": sources[0]})], [0])
    why = {"why": "code of `f` changed", "instead": 0}
    made.execute("<b>", [made.entry(1, "<i>", 2, functions={"f": sources[1]}, parts=why)], [1])
    for told in (view.why("<b>"), view.history("<b>"), view.diff("<b>", executions=[1, 2]), view.forget("<b>")):
        both = repr(told) + told._repr_html_()
        assert "hunter" not in both
        assert "\x1b" not in both
        assert "<script>" not in told._repr_html_()
        assert "<b>&lt;b&gt;" not in told._repr_html_()
        assert "<i>" not in told._repr_html_()
    assert "\\x1b[31m" in repr(view.why("<b>"))


def test_a_step_without_anything_to_compare(made, view):
    """Damaged parts, a missing text, an entry that was forgotten: no error, no diff."""
    from notebook_durable.model import StepCode

    broken = StepCode(inputs='{"libraries": 5, "in": [1]', fingerprint="f", version=1)
    made.execute("w", [made.entry(0, "s", 1, code=broken), made.entry(1, "t", 1, parts={"instead": 77})], [0, 1])
    assert [one.why for one in view.why("w").steps] == ["new", "new"]


# -- history


def test_history_lists_runs_executions_and_versions(made, view):
    """Archived runs too; each version says whether it is current, and what replaced it."""
    edited(made)
    made.execute("churn", [made.entry(0, "load", [9])], [0], fresh=True)
    told = view.history("churn", run=1)
    assert [(one.run, one.archived, one.number, one.replayed, one.ran) for one in told.executions] == [
        (2, False, 1, 0, 1),
        (1, True, 2, 1, 2),
        (1, True, 1, 0, 3),
    ]
    assert [(one.step, one.number, one.state) for one in told.versions] == [
        ("load", 1, "current"),
        ("score", 1, "history"),
        ("score", 2, "current"),
        ("report", 1, "history"),
        ("report", 2, "current"),
    ]
    assert told.versions[1].remark == "replaced by execution 2: code of `score` changed"
    assert "churn: 2 runs, 3 executions" in repr(told)
    assert [one.step for one in view.history("churn").versions] == ["load"]


def test_history_says_why_a_version_is_superseded(made, view):
    """In the words that were recorded."""
    edited(made)
    view.rewind("churn", "score").apply()
    states = {(one.step, one.number): (one.state, one.remark) for one in view.history("churn").versions}
    assert states["score", 2] == ("superseded", "asked for: rewound to score")
    assert states["load", 1] == ("current", "")


def test_history_of_several_keys(made, view):
    """All runs are listed; the steps of one with its key."""
    for key in ("mon", "tue"):
        made.execute("w", [made.entry(0, "s", key)], [0], key=key)
    told = view.history("w")
    assert [one.key for one in told.executions] == ["tue", "mon"]
    assert "--key KEY lists the steps" in repr(told)
    assert len(view.history("w", key="mon").versions) == 1
    with pytest.raises(ConfigurationError, match="there is no run 'nope'"):
        view.history("nope")


# -- load


def test_load_current_older_and_archived(made, view):
    """The value as recorded: of the step as it stands, of a version, of an archived run."""
    edited(made)
    assert view.load("churn", "score") == [4]
    assert view.load("churn", "score@1") == [2]
    made.execute("churn", [made.entry(0, "load", "fresh")], [0], fresh=True)
    assert view.load("churn", "load") == "fresh"
    assert view.load("churn", "load", run=1) == [1, 2, 3]
    with pytest.raises(ConfigurationError, match=r"has no run 7; its runs are: 1, 2"):
        view.load("churn", "load", run=7)
    with pytest.raises(ConfigurationError, match=r"has 1 version, not 3"):
        view.load("churn", "load@3")


def test_a_step_whose_name_looks_like_a_version(made, view):
    """A name is a name first."""
    made.execute("w", [made.entry(0, "a@1", "at"), made.entry(1, "b #2", "hash")], [0, 1])
    assert view.load("w", "a@1") == "at"
    assert view.load("w", "b #2") == "hash"


def test_no_value_is_an_error_with_the_way_out(made, view):
    """Failed, unfinished, not storable; and an older version that has one is named."""
    failed = {"status": EntryStatus.FAILED, "failure": Failure.TERMINAL, "error": {"type": "x.E", "message": "pwd='x'"}}
    made.execute("w", [made.entry(0, "s", 1)], [0])
    made.execute("w", [made.entry(1, "s", None, **failed)], [1])
    with pytest.raises(ReplayError, match=r"has no value: it is failed \(E: pwd='•••'\).*%durable load w \"s@1\""):
        view.load("w", "s")
    made.execute("v", [made.entry(0, "s", status=EntryStatus.UNSTORABLE, payload=None, note="a lock")], [0])
    with pytest.raises(ReplayError, match=r"it is unstorable \(a lock\). Run its cell again"):
        view.load("v", "s")
    made.execute("i", [made.entry(0, "s", 7, status=EntryStatus.IMPURE)], [0])
    assert view.load("i", "s") == 7


def test_an_entry_that_is_not_authentic_is_not_unpickled(tmp_path, signer):
    """Changed bytes are refused, with what to do."""
    import sqlite3

    store = SqliteStore(tmp_path / ".durable", signer)
    made = Histories(store)
    made.execute("w", [made.entry(0, "s", {1, 2}), made.entry(1, "t", 1)], [0, 1])
    store.close()
    with sqlite3.connect(tmp_path / ".durable" / "journal.db") as connection:
        connection.execute("UPDATE entries SET payload = x'00' WHERE name = 's'")
    connection.close()
    store = SqliteStore(tmp_path / ".durable", signer)
    view = JournalView(Settings.resolve(store=store))
    with pytest.raises(DamagedValueError, match=r"row in the journal was changed.*Run its cell again"):
        view.load("w", "s")
    assert view.load("w", "t") == 1
    assert "damaged" in repr(view.why("w"))
    assert "damaged" in repr(view.history("w"))
    assert "damaged" in repr(view.show("w"))
    assert view.rewind("w", "s").entries == 1
    view.rewind("w", "s").apply()  # does not sign what was changed
    assert not store.read(1)[0].intact
    store.close()


def test_a_serializer_of_ones_own(made, view):
    """Named in the error, and taken as an argument; its bytes can be had without."""

    class Upper:
        name = "upper"

        def serialize(self, value):
            return value.upper().encode()

        def deserialize(self, data):
            return data.decode().lower()

    made.execute("w", [made.entry(0, "s", serializer="upper", payload=b"ABC", value_type="str")], [0])
    with pytest.raises(ReplayError, match=r"written by the serializer 'upper'.*serializer=\.\.\."):
        view.load("w", "s")
    assert view.load("w", "s", serializer=Upper()) == "abc"
    assert view.recorded("w", "s").payload.data == b"ABC"


def test_bytes_that_cannot_be_read_any_more(made, view):
    """An error of ours that carries the one of the library."""
    made.execute("w", [made.entry(0, "s", serializer="json", payload=b"junk", value_type="x")], [0])
    with pytest.raises(ReplayError, match=r"can't be read here \(.*--to FILE writes its bytes") as caught:
        view.load("w", "s")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("step", "name"),
    [("load orders", "load_orders"), ("load #2", "load_2"), ("2 go", "_2_go"), ("class", "class_"), ("€", "value")],
)
def test_variables_are_named_after_steps(step, name):
    """Always a name that Python takes."""
    assert variable_for(step) == name


# -- diff


def test_diff_of_two_runs(made, view):
    """Which steps, code, inputs, values; steps on one side only."""
    edited(made)
    changed = made.entry(1, "score", [2], functions={"score": V2}, inputs={"x": "3 rows", "RATE": "0.5"})
    made.execute("churn", [made.entry(0, "load", [1, 2, 3]), changed, made.entry(2, "mail", 1)], [0, 1, 2], fresh=True)
    told = view.diff("churn", runs=[1, 2])
    found = {one.step: one for one in told.steps}
    assert found["load"].same
    assert found["score"].code == ()
    assert [str(item) for item in found["score"].inputs] == ["`RATE`: 0.2 -> 0.5"]
    assert found["score"].value == "1 of 1 elements differ"
    assert (found["mail"].only, found["report"].only) == ("B", "A")
    assert "3 of 4 steps differ" in repr(told)
    assert [one.step for one in view.diff("churn").steps] == [one.step for one in told.steps]


def test_diff_of_two_executions(made, view):
    """Inside one run, with the code then and now."""
    edited(made)
    told = view.diff("churn", executions=[1, 2])
    assert "-    return x + RATE" in repr(told)
    assert [one.step for one in told.steps if one.same] == ["load"]
    assert [one.step for one in view.diff("churn").steps if one.same] == ["load"]
    with pytest.raises(ConfigurationError, match="has no execution 9 in run 1; it has 2"):
        view.diff("churn", executions=[1, 9])
    with pytest.raises(ConfigurationError, match="two numbers are compared, not 1"):
        view.diff("churn", executions=[1])


def test_diff_pairs_equal_steps_of_a_loop(made, view):
    """An item inserted at the front is one step more, and no difference in the others."""
    items = [made.entry(n, "s", n, occurrence=n, inputs={"x": str(n)}) for n in range(3)]
    made.execute("loop", items, [0, 1, 2])
    shifted = [made.entry(n, "s", n - 1, occurrence=n, inputs={"x": str(n - 1)}) for n in range(4)]
    made.execute("loop", shifted, [0, 1, 2, 3], fresh=True)
    assert [(one.step, one.only) for one in view.diff("loop").steps if not one.same] == [("s", "B")]


def test_nothing_to_compare(made, view):
    """One execution of one run."""
    made.execute("w", [made.entry(0, "s", 1)], [0])
    with pytest.raises(ConfigurationError, match="nothing to compare"):
        view.diff("w")


def frame(**columns):
    return pd.DataFrame({"a": [1, 2, 3], "secretname": ["x", "y", None], **columns})


class Fussy:
    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (frame(), frame(), "same"),
        (frame(), frame(a=[1, 2, 4]), "1 of 3 rows differ, in a"),
        (frame(), frame(b=1), "shape (3, 2) -> (3, 3); columns added: b"),
        (frame(), frame(a=[1.0, 2, 3]), "dtypes: a int64 -> float64"),
        (frame(), frame().set_index("a"), "shape (3, 2) -> (3, 1); columns removed: a"),
        (frame(), frame().iloc[::-1], "the index differs"),
        (pd.Series([1, None]), pd.Series([1, 2.0]), "1 of 2 values differ"),
        (pd.Index([1, 2]), pd.Index([1, 2, 3]), "length 2 -> 3"),
        (pd.Series([1, 2]).to_numpy(), pd.Series([1, 3]).to_numpy(), "1 of 2 values differ"),
        (pd.Series([1.0, None]).to_numpy(), pd.Series([1.0, None]).to_numpy(), "same"),
        ({"a": frame()}, {"a": frame(a=[0, 0, 0]), "b": 1}, "added 1 key, changed 1 key"),
        ([frame(), 1], [frame(), 2], "1 of 2 elements differ"),
        ({1, 2}, {2, 3}, "1 added, 1 removed"),
        ("abc", "hidden", "str differs, lengths 3 and 6"),
        (1, 1.0, "int -> float"),
        (float("nan"), float("nan"), "same"),
        (decimal.Decimal(1), decimal.Decimal(2), "Decimal differs"),
        (object(), object(), "other bytes; object can't be compared"),
    ],
)
def test_values_are_compared_without_showing_them(then, now, said):
    """Names, counts, shapes and types."""
    assert compare_values(then, now) == said


def test_a_comparison_never_fails(made, view):
    """A class whose == raises, bytes that can't be read."""
    a, b = made.entry(0, "s", Fussy()), made.entry(0, "s", [Fussy()])
    made.execute("w", [a, made.entry(1, "t", serializer="dill", payload=b"junk")], [0, 1])
    made.execute("w", [b._replace(payload=b.payload), made.entry(1, "t", 5)], [0, 1], fresh=True)
    assert [one.same for one in view.diff("w").steps] == [False, False]


def test_an_execution_under_way_can_be_looked_at(made, view):
    """All of it, while another kernel works on it."""
    edited(made)
    made.execute("churn", [made.entry(5, "slow", payload=None, status=EntryStatus.RUNNING)], open_=True)
    assert "ran: running" in repr(view.why("churn"))
    assert view.history("churn").executions[0].outcome == Outcome.RUNNING
    assert view.load("churn", "score") == [4]
