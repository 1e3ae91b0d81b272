"""What the explorer is told about runs and steps, on journals made by hand, in memory and in a real file."""

from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path

import pytest
from histories import Histories
from hypothesis import given
from hypothesis import strategies as st

from notebook_durable.errors import ConfigurationError
from notebook_durable.history.explore import list_runs, snapshot, step_rows
from notebook_durable.history.explore_step import all_of_step, step_detail, step_text
from notebook_durable.history.spelling import spell
from notebook_durable.history.timeline import BAR, timeline
from notebook_durable.ipython.identity import split
from notebook_durable.model import (
    Attempt,
    EntryStatus,
    Extra,
    Failure,
    Outcome,
    RunId,
    RunInfo,
    RunStatus,
    StepKey,
)
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.wiring import this_process

V1 = "def score(x):\n    return x + RATE\n"
V2 = "def score(x):\n    return x * RATE\n"
EVIL = '<img src=x onerror="boom()"></script>'


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path, signer):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / ".durable", signer)
    yield store
    store.close()


@pytest.fixture
def made(store):
    return Histories(store)


def edited(made):
    """Execution 1: load, score, report; 2: score was edited, so report ran again too."""
    load = made.entry(0, "load", [1, 2, 3], parts={"why": "new"})
    score = made.entry(1, "score", [2], functions={"score": V1}, inputs={"x": "3 rows", "RATE": "0.1"})
    report = made.entry(2, "report", "old", inputs={"scored": "list of 1"})
    made.execute("churn", [load, score, report], [0, 1, 2])
    why = {"why": "code of `score` changed", "instead": 1, "untracked": {"engine": ("Engine",)}}
    new = made.entry(3, "score", [4], functions={"score": V2}, inputs={"x": "3 rows", "RATE": "0.2"}, parts=why)
    after = made.entry(4, "report", {"password": "hunter2", "n": 1}, inputs={"scored": "list of 1 (other)"})
    return made.execute("churn", [new, after], [0, 3, 4])


def keep(store, made, entry, *attempts, extra=None, used=None, name="churn", outcome=Outcome.COMPLETED):
    """One execution that records an entry with failed attempts, and what is kept for people."""
    claim = store.claim(RunId(name), this_process(), now=made.now)
    store.keep(claim, made.texts)
    for attempt in attempts or (None,):
        store.record(claim, entry._replace(execution=claim.execution), attempt, extra)
    made.now += 10
    store.end(claim, outcome, RunStatus.COMPLETED, now=made.now, used=(entry.seq,) if used is None else used)
    store.release(claim)
    return next(iter(store.runs(name)))


def rows_of(shot, **page):
    found = step_rows(shot, **page)
    places = {name: found["columns"].index(name) for name in found["columns"]}
    texts = {places[name] for name in found["texts"]}
    return [
        {name: found["words"][row[at]] if at in texts else row[at] for name, at in places.items()}
        for row in found["rows"]
    ]


def bars_of(drawn, number):
    one = next(one for one in drawn["executions"] if one["number"] == number)
    return [dict(zip(BAR, bar, strict=True)) for bar in one["bars"]]


def draw(store, info, now=5000.0):
    return timeline(snapshot(store, info), lambda seq: store.attempts(info.id, seq), now)


# -- runs and rows


def test_all_runs_are_listed_with_state_time_and_size(made, store):
    """Archived ones too, newest first; the time is that of all executions together."""
    edited(made)
    made.execute("churn", [made.entry(0, "load", 1)], [0], fresh=True, outcome=Outcome.FAILED)
    listed = list_runs(store)
    assert listed["location"] == store.location
    new, old = listed["runs"]
    assert (new["name"], new["archived"], new["state"], new["number"]) == ("churn", False, "failed", 2)
    assert (old["archived"], old["state"], old["steps"], old["executions"]) == (True, "completed", 3, 2)
    assert old["took"] == pytest.approx(20)
    assert old["last"] == 1010
    assert old["size"] > 0


def test_rows_hold_what_the_run_stands_at_then_its_history(made, store):
    """In the order of the calls, each with its version, and what the latest execution did with it."""
    rows = rows_of(snapshot(store, edited(made)))
    assert [(r["step"], r["version"], r["versions"], r["current"], r["how"]) for r in rows] == [
        ("load", 1, 1, 1, "replayed"), ("score", 2, 2, 1, "ran"), ("report", 2, 2, 1, "ran"),
        ("score", 1, 2, 0, ""), ("report", 1, 2, 0, ""),
    ]  # fmt: skip
    assert rows[1]["why"] == "code of `score` changed"
    assert rows[0]["size"] == len(b"[1,2,3]")
    assert rows[0]["state"] == "done"


def test_rows_come_in_pages_and_equal_texts_once(made, store):
    """A loop of 1,000 steps says the same words; a page has its own rows and counts all."""
    entries = [made.entry(n, "score", n, occurrence=n, functions={"score": V1}) for n in range(1000)]
    shot = snapshot(store, made.execute("big", entries, range(1000)))
    page = step_rows(shot, 900, 50)
    assert (page["total"], page["start"], len(page["rows"])) == (1000, 900, 50)
    assert [row["step"] for row in rows_of(shot, start=900, count=50)][:2] == ["score #901", "score #902"]
    assert len(page["words"]) < 60
    assert len(json.dumps(page["rows"])) < 50 * 100


def test_of_a_journal_with_another_key_names_are_listed(tmp_path, signer):
    """Nothing in it can be believed: rows say so, the step opens without what isn't authentic."""
    store = SqliteStore(tmp_path / ".durable", signer)
    edited(Histories(store))
    store.close()
    other = SqliteStore(tmp_path / ".durable", Signer(b"o" * 32, "another key"))
    shot = snapshot(other, other.runs()[0])
    rows = rows_of(shot)
    assert {row["state"] for row in rows} == {"untrusted"}
    assert "score" in {row["step"] for row in rows}
    assert {row["why"] for row in rows} == {"written with another key"}
    assert "%durable trust" in list_runs(other)["untrusted"] == shot.untrusted
    detail = step_detail(other, shot, 0)
    assert detail["step"] == "load"
    assert "%durable trust" in detail["damaged"]
    assert not detail["can"]["rewind"]
    assert "source" not in detail
    assert (detail["preview"]["text"], detail["can"]["load"]) == ("[\n 1,\n 2,\n 3\n]", True)  # JSON runs nothing
    drawn = timeline(shot, lambda seq: other.attempts(1, seq), 5000.0)
    assert len(drawn["executions"]) == 2
    other.close()


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_looking_unpickles_nothing(made, store, tmp_path):
    """Runs, rows, timeline and details of an authentic entry whose pickle does something."""
    place = tmp_path / "boom"
    entry = made.entry(0, "bomb")._replace(serializer="dill", payload=pickle.dumps(Bomb(place)), value_type="Bomb")
    info = keep(store, made, entry, extra=Extra('{"kind": "text", "text": "a bomb"}'))
    list_runs(store)
    shot = snapshot(store, info)
    step_rows(shot)
    draw(store, info)
    assert step_detail(store, shot, 0)["preview"]["text"] == "a bomb"
    assert not place.exists()
    pickle.loads(entry.payload)
    assert place.exists()


# -- one step


def test_a_step_tells_its_source_then_and_now(made, store):
    """Of what stands: with what it was run instead of; of history: with what stands now. Both have the code itself."""
    shot = snapshot(store, edited(made))
    now = step_detail(store, shot, 3)["source"]
    assert (now["then"], now["now"]) == (1, 2)
    assert "+    return x * RATE" in now["changes"][0]["diff"]
    assert now["functions"][0] == {"name": "score", "text": V2}
    then = step_detail(store, shot, 1)["source"]
    assert (then["then"], then["now"]) == (1, 2)
    assert then["changes"] == now["changes"]
    assert then["functions"][0]["text"] == V1
    assert step_detail(store, shot, 0)["source"]["changes"] == []


def test_a_step_tells_its_inputs_tracked_and_not(made, store):
    """Name, short text, short digest, what changed; and the types of what isn't tracked."""
    detail = step_detail(store, snapshot(store, edited(made)), 3)
    by_name = {one["name"]: one for one in detail["inputs"]}
    assert by_name["x"]["short"] == "3 rows"
    assert len(by_name["x"]["digest"]) == 12
    assert by_name["x"]["change"] == ""
    assert by_name["RATE"]["change"] == "`RATE`: 0.1 -> 0.2"
    assert detail["untracked"] == [{"name": "engine", "types": ["Engine"]}]
    assert (detail["serializer"], detail["type"], detail["size"]) == ("json", "list", 3)


def test_a_step_tells_its_attempts_with_secrets_hidden(made, store):
    """Type, message and traceback of each, when and how long, and the wait behind it."""
    error = {"type": "builtins.ConnectionError", "message": "password=hunter2", "traceback": "url = 'db://a:hunter2@h'"}
    entry = made.entry(0, "load", 1)._replace(attempts=2, started_at=1003.0, ended_at=1004.0, duration=1.0)
    info = keep(store, made, entry, Attempt(0, 0, 1, 1000.0, 0.5, error, 2.5))
    detail = step_detail(store, snapshot(store, info), 0)
    (attempt,) = detail["attempts"]
    assert (attempt["number"], attempt["began"], attempt["took"], attempt["delay"]) == (1, 1000.0, 0.5, 2.5)
    assert attempt["message"] == "password=•••"
    assert "hunter2" not in json.dumps(detail)


def test_previews_and_outputs_are_told_as_they_were_kept(made, store):
    """As data; what is no JSON of the right kind is left out."""
    outputs = [{"output_type": "stream", "name": "stdout", "text": EVIL}, "nonsense"]
    extra = Extra(json.dumps({"kind": "text", "text": EVIL}), json.dumps(outputs))
    info = keep(store, made, made.entry(0, EVIL, 1), extra=extra)
    detail = step_detail(store, snapshot(store, info), 0)
    assert detail["step"] == EVIL
    assert detail["preview"] == {"kind": "text", "text": EVIL}
    assert detail["outputs"] == outputs[:1]
    info = keep(store, made, made.entry(0, "a", (1,)), extra=Extra("[1", "{}"), name="broken")
    detail = step_detail(store, snapshot(store, info), 0)
    assert (detail["preview"], detail["outputs"]) == (None, [])


def test_a_json_value_without_preview_shows_itself_with_secrets_hidden(made, store):
    """Small ones only: reading them runs nothing."""
    shot = snapshot(store, edited(made))
    preview = step_detail(store, shot, 4)["preview"]
    assert preview["kind"] == "text"
    assert '"n": 1' in preview["text"]
    assert "hunter2" not in preview["text"]
    info = made.execute("large", [made.entry(0, "big", "x" * 50_000)], [0])
    assert step_detail(store, snapshot(store, info), 0)["preview"] is None


def test_an_entry_is_named_as_commands_take_it(made, store):
    """Current ones by their step, history by its version, and a name that means another entry is refused."""
    info = edited(made)
    shot = snapshot(store, info)
    by_seq = shot.log.by_seq
    assert [step_text(shot, by_seq[seq]) for seq in (0, 3, 1)] == ["load", "score", "score@1"]
    assert all_of_step(shot, StepKey("score")) == "score"
    info = made.execute("churn", [made.entry(5, "score@1", 1), made.entry(6, "load", 2, occurrence=1)], [0, 3, 4, 5, 6])
    shot = snapshot(store, info)
    assert all_of_step(shot, StepKey("load")) == "load #1"
    with pytest.raises(ConfigurationError, match="another step"):
        step_text(shot, by_seq[1])


def test_a_step_that_is_gone_is_said(made, store):
    """As after somebody else has forgotten it."""
    with pytest.raises(ConfigurationError, match="not in the journal any more"):
        step_detail(store, snapshot(store, edited(made)), 99)


# -- the timeline


def timed(made, seq, name, at, took, **more):
    return made.entry(seq, name, seq)._replace(started_at=at, ended_at=at + took, duration=took, **more)


def play(store, made, entries, used, *, outcome=Outcome.COMPLETED, took=10.0):
    claim = store.claim(RunId("churn"), this_process(), now=made.now)
    store.keep(claim, made.texts)
    for entry in entries:
        store.record(claim, entry._replace(execution=claim.execution))
    made.now += took
    store.end(claim, outcome, RunStatus.COMPLETED, now=made.now, used=used)
    store.release(claim)
    return next(iter(store.runs("churn")))


def test_replayed_steps_are_drawn_as_long_as_they_took(made, store):
    """So what is pale is what was saved, and what ran after them stands behind them."""
    first = [timed(made, 0, "load", 1000.0, 4.0), timed(made, 1, "score", 1004.0, 2.0)]
    play(store, made, first, (0, 1))
    info = play(store, made, [timed(made, 2, "score", 1010.5, 3.0)], (0, 2))
    bars = bars_of(draw(store, info), 2)
    load, score = sorted(bars, key=lambda bar: bar["x"])
    assert (load["kind"], load["x"], load["width"], load["at"]) == ("replayed", 0.5, 4.0, 1000.0)
    assert (score["kind"], score["x"], score["width"]) == ("ran", 4.5, 3.0)
    assert [bar["kind"] for bar in bars_of(draw(store, info), 1)] == ["ran", "ran"]
    drawn = draw(store, info)["executions"]
    assert [(one["ran"], one["replayed"]) for one in drawn] == [(2, 0), (1, 1)]


def test_attempts_and_waits_are_bars_of_their_step(made, store):
    """A failed attempt, the wait behind it, and the call that succeeded, one behind the other in one lane."""
    entry = timed(made, 0, "prices", 1003.0, 2.0, attempts=2)
    info = keep(store, made, entry, Attempt(0, 0, 1, 1000.0, 1.0, {"type": "OSError", "message": EVIL}, 2.0))
    bars = bars_of(draw(store, info), 1)
    assert [(bar["kind"], bar["x"], bar["width"]) for bar in bars] == [
        ("failed", 0.0, 1.0), ("wait", 1.0, 2.0), ("ran", 3.0, 2.0)
    ]  # fmt: skip
    assert {bar["lane"] for bar in bars} == {0}
    assert bars[0]["said"] == f"attempt 1: OSError: {EVIL}"


def test_attempts_belong_to_the_execution_that_made_them(made, store):
    """A step that failed in one execution and succeeded in the next is drawn in both."""
    failed = timed(made, 0, "mail", 1000.0, 1.0, attempts=1, failure=Failure.FATAL)
    failed = failed._replace(status=EntryStatus.FAILED, error={"type": "KeyError", "message": "x"})
    info = keep(store, made, failed, Attempt(0, 0, 1, 1000.0, 1.0, {"type": "KeyError", "message": "x"}))
    keep(store, made, timed(made, 0, "mail", 1010.0, 1.0, attempts=1, budget=1))
    drawn = draw(store, info := store.runs("churn")[0])
    assert [[bar["kind"] for bar in bars_of(drawn, n)] for n in (1, 2)] == [["failed"], ["ran"]]
    assert info.executions == 2


def test_a_long_wait_is_drawn_shorter_and_marked(made, store):
    """A night before an answer must not hide everything else; the bar still tells how long it was."""
    night = 12 * 3600.0
    asked = made.entry(1, "publish?", "yes", parts={"asks": '{"text": "?", "choices": [], "form": {}}'})
    asked = asked._replace(started_at=1010.0, ended_at=1010.0 + night, duration=night)
    info = play(store, made, [timed(made, 0, "load", 1000.0, 10.0), asked], (0, 1), took=night + 10)
    drawn = draw(store, info)
    load, wait = bars_of(drawn, 1)
    assert wait["kind"] == "wait"
    assert wait["took"] == night
    assert wait["cut"]
    assert wait["width"] <= 2 * load["width"]
    assert drawn["cut"]


def test_steps_side_by_side_get_lanes(made, store):
    """What overlaps is drawn one below the other; what comes later takes a free lane. Also where it replays."""
    entries = [timed(made, n, f"fetch {n}", 1000.0, 2.0 + n) for n in range(3)] + [timed(made, 3, "join", 1004.5, 1.0)]
    info = play(store, made, entries, range(4))
    lanes = {bar["step"]: bar["lane"] for bar in bars_of(draw(store, info), 1)}
    assert lanes == {"fetch 0": 0, "fetch 1": 1, "fetch 2": 2, "join": 0}
    info = play(store, made, [], range(4))
    replayed = {bar["step"]: (bar["lane"], bar["x"]) for bar in bars_of(draw(store, info), 2)}
    assert {step: lane for step, (lane, _) in replayed.items()} == lanes
    assert replayed["fetch 2"][1] == replayed["fetch 0"][1]


def test_ten_thousand_steps_become_some_hundred_bars(made, store):
    """None is lost: the bars say for how many steps they stand; and one that took long has its own."""
    entries, at = [], 1000.0
    for n in range(10_000):
        took = 20.0 if n == 5000 else 0.001
        entries.append(timed(made, n, f"s{n}", at, took))
        at += took
    info = play(store, made, entries, range(10_000), took=31.0)
    bars = bars_of(draw(store, info), 1)
    assert len(bars) < 500
    assert sum(bar["count"] for bar in bars) == 10_000
    assert [bar["step"] for bar in bars if bar["took"] >= 20] == ["s5000"]


def test_a_step_under_way_is_drawn_up_to_now(made, store):
    """With the state of its run: running while somebody holds it, cut off afterwards."""
    claim = store.claim(RunId("churn"), this_process(), now=1000.0)
    entry = made.entry(0, "train")._replace(
        status=EntryStatus.RUNNING, started_at=1001.0, attempts=1, execution=1, payload=None
    )
    store.keep(claim, made.texts)
    store.begin(claim, entry)
    info = store.runs()[0]
    (bar,) = bars_of(draw(store, info, now=1031.0), 1)
    assert (bar["state"], bar["took"]) == ("running", 30.0)
    assert [row["state"] for row in rows_of(snapshot(store, info))] == ["running"]
    store.release(claim)


def test_a_question_that_waits_is_asking(made, store):
    """And what is asked stands with the step."""
    claim = store.claim(RunId("churn"), this_process(), now=1000.0)
    parts = {"asks": '{"text": "publish?", "choices": ["yes"], "form": {}}'}
    entry = made.entry(0, "approve", parts=parts)._replace(
        status=EntryStatus.RUNNING, started_at=1001.0, attempts=1, execution=1, payload=None
    )
    store.keep(claim, made.texts)
    store.begin(claim, entry)
    shot = snapshot(store, store.runs()[0])
    assert rows_of(shot)[0]["state"] == "asking"
    assert step_detail(store, shot, 0)["asks"] == "publish?"
    assert bars_of(draw(store, store.runs()[0], now=1031.0), 1)[0]["kind"] == "wait"
    store.release(claim)


# -- what to type


def info_of(name="churn", key="", number=1, archived=False):
    return RunInfo(1, RunId(name, key), number, RunStatus.COMPLETED, archived, 0.0, 0.0, 1, None, None, 1, 1, 0)


def test_commands_are_spelled_as_people_would():
    """Bare where that is clear, quoted where there are blanks; the run's number only where it is needed."""
    assert spell("load", info_of(), "load orders") == '%durable load churn "load orders"'
    assert spell("load", info_of(archived=True, number=3), "a", variable="b") == "%durable load churn a --as b --run 3"
    assert spell("rewind", info_of("my run", "mon"), "a #2") == '%durable rewind "my run" --to "a #2" --key mon'
    assert spell("forget", info_of(), None) == "%durable forget churn --run 1"
    assert spell("load", info_of(), "x y", names={"churn", "churn x"}) == '%durable load churn --step "x y"'
    python = spell("load", info_of(), "a", journal="journal('/data')")
    assert python == "from notebook_durable import journal; a = journal('/data').load('churn', 'a')"


names = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" {}$\"'-@#?\\"), min_size=1, max_size=50
).filter(lambda text: bool(text.strip()) and text.isprintable())


@given(names, names, st.just("") | names)
def test_a_copied_command_names_exactly_this_step(name, step, key):
    """Whatever the names hold: a magic's words are those names and nothing is filled in; Python's literals are they."""
    line = spell("load", info_of(name, key), step)
    if line.startswith("%durable "):
        assert not set("{}$") & set(line)
        assert split(line)[2:] == [name, step, *(["--key", key] if key else [])]
    else:
        _, call = ast.parse(line).body
        found = [ast.literal_eval(node) for node in (*call.value.args, *(k.value for k in call.value.keywords))]
        assert found == [name, step, *([key] if key else [])]
