"""What the explorer answers and does, as its JavaScript asks; and what its files must not contain."""

from __future__ import annotations

import json
import pickle
import re
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from histories import Histories

import notebook_durable
from notebook_durable.model import EntryStatus, Outcome
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.widgets.explorer import Explorer, explorer_widget
from notebook_durable.wiring import Settings

FILES = Path(notebook_durable.__file__).parent / "widgets"
SCRIPT = (FILES / "explorer.js").read_text()
EVIL = '<img src=x onerror="boom()">'


class Shell(SimpleNamespace):
    def push(self, variables):
        self.user_ns.update(variables)


@pytest.fixture
def shell():
    return Shell(user_ns={"score": len})


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path, signer):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / ".durable", signer)
    yield store
    store.close()


@pytest.fixture
def made(store):
    return Histories(store)


@pytest.fixture
def explorer(store, shell):
    return Explorer(Settings.resolve(store=store), shell)


def churn(made):
    first = [made.entry(0, "load", [1, 2, 3]), made.entry(1, "score", {"a": 1}), made.entry(2, "mail", None)]
    made.execute("churn", first, [0, 1, 2])
    return made.execute("churn", [made.entry(3, "score", {"a": 2}, inputs={"x": "new"})], [0, 3, 2])


def ask(explorer, do, **more):
    answer = explorer.answer({"do": do, "id": 7, **more})
    assert (answer["kind"], answer["id"]) == ("answer", 7)
    json.dumps(answer)
    return answer


# -- looking


def test_it_goes_from_runs_to_a_run_to_a_step(made, explorer):
    """Each answer is plain JSON and carries the number of its request."""
    info = churn(made)
    listed = ask(explorer, "runs")
    assert [run["run"] for run in listed["runs"]] == [info.id]
    opened = ask(explorer, "run", run=info.id)
    assert opened["steps"]["total"] == 4
    assert len(opened["timeline"]["executions"]) == 2
    step = ask(explorer, "step", run=info.id, seq=1)["step"]
    assert (step["step"], step["version"], step["current"]) == ("score", 1, False)
    assert step["command"] == '%durable load churn "score@1" --as score_value'
    assert ask(explorer, "rows", run=info.id, start=3)["steps"]["rows"][0][0] == 1


def test_what_can_not_be_answered_is_said(made, explorer):
    """An unknown request, a run and a step that are gone, nonsense for a number."""
    info = churn(made)
    assert "can't do 'dance'" in ask(explorer, "dance")["error"]
    assert "not in the journal any more" in ask(explorer, "run", run=99)["error"]
    assert "not in the journal any more" in ask(explorer, "step", run=info.id, seq=99)["error"]
    assert ask(explorer, "step", run=info.id, seq="x")["error"].startswith("ValueError")
    assert ask(explorer, "step", run=info.id)["error"].startswith("KeyError")


def test_a_step_recorded_since_the_run_was_opened_is_found(made, explorer):
    """The run is read again for it."""
    info = churn(made)
    ask(explorer, "run", run=info.id)
    made.execute("churn", [made.entry(4, "late", 1)], [0, 3, 2, 4])
    assert ask(explorer, "step", run=info.id, seq=4)["step"]["step"] == "late"


def test_a_journal_that_is_gone_is_not_made_again(tmp_path, signer):
    """Looking creates nothing."""
    explorer = Explorer(Settings.resolve(store=tmp_path / ".durable"))
    assert "there is no journal" in ask(explorer, "runs")["error"]
    assert not (tmp_path / ".durable").exists()


# -- loading


def test_a_value_is_loaded_into_a_variable(made, explorer, shell):
    """Into the one that is named, else the step's; what was loaded is said."""
    info = churn(made)
    said = ask(explorer, "load", run=info.id, seq=0)["said"]
    assert shell.user_ns["load"] == [1, 2, 3]
    assert said.startswith("load: list, 7 B, recorded ")
    ask(explorer, "load", run=info.id, seq=1, variable="old")
    assert shell.user_ns["old"] == {"a": 1}


def test_functions_are_not_replaced_by_a_value_of_their_name(made, explorer, shell):
    """A step is often called as its function is; nor is what can't be a variable taken."""
    info = churn(made)
    assert "not replaced" in ask(explorer, "load", run=info.id, seq=3)["error"]
    assert shell.user_ns["score"] is len
    assert ask(explorer, "step", run=info.id, seq=3)["step"]["variable"] == "score_value"
    for name in ("class", "a b", "1x", "__import__('os')"):
        assert "not a variable's name" in ask(explorer, "load", run=info.id, seq=3, variable=name)["error"]


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_what_is_not_authentic_is_not_unpickled(tmp_path, signer, shell, monkeypatch):
    """Somebody has put other bytes into the file: the step is listed, and loading it says why it isn't done."""
    folder, place, key = tmp_path / ".durable", tmp_path / "boom", tmp_path / "key"
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(key))
    settings = Settings.resolve(store=folder)
    from notebook_durable.wiring import open_store

    store = open_store(settings)
    made = Histories(store)
    info = made.execute("churn", [made.entry(0, "a", (1, 2))], [0])
    store.close()
    with sqlite3.connect(folder / "journal.db") as database:
        database.execute("UPDATE entries SET payload = ?", (pickle.dumps(Bomb(place)),))
    database.close()
    explorer = Explorer(settings, shell)
    opened = ask(explorer, "run", run=info.id)
    assert "damaged" in opened["steps"]["words"]
    assert ask(explorer, "step", run=info.id, seq=0)["step"]["state"] == "damaged"
    assert "is damaged" in ask(explorer, "load", run=info.id, seq=0)["error"]
    assert not place.exists()


# -- taking away


def test_a_rewind_is_shown_first_and_done_on_yes(made, store, explorer):
    """With the command that does the same; the yes counts once."""
    info = churn(made)
    asked = ask(explorer, "rewind", run=info.id, seq=3)
    assert "2 of 3 steps will run again" in asked["text"]
    assert asked["question"] == "Run these steps again next time?"
    assert asked["command"] == "%durable rewind churn --to score"
    assert {entry.status for entry in store.read(info.id)} == {EntryStatus.SUCCEEDED}
    assert "will not replay" in ask(explorer, "apply", plan=asked["plan"])["said"]
    superseded = {entry.seq for entry in store.read(info.id) if entry.status is EntryStatus.SUPERSEDED}
    assert superseded == {3, 2}
    assert "Ask again" in ask(explorer, "apply", plan=asked["plan"])["error"]


def test_a_step_or_a_run_is_forgotten_on_yes(made, store, explorer):
    """The step with all its versions; the run whole, and no other run of its name."""
    info = churn(made)
    asked = ask(explorer, "forget", run=info.id, seq=1)
    assert "2 entries" in asked["text"]
    assert asked["command"] == "%durable forget churn score --run 1"
    assert ask(explorer, "apply", plan=asked["plan"])["said"].startswith("deleted 2 entries")
    assert {entry.name for entry in store.read(info.id)} == {"load", "mail"}
    again = made.execute("churn", [made.entry(0, "load", 1)], [0], fresh=True)
    asked = ask(explorer, "forget", run=info.id, seq=None)
    assert "deleted" in ask(explorer, "apply", plan=asked["plan"])["said"]
    assert [run.id for run in store.runs(archived=True)] == [again.id]


def test_a_plan_that_is_no_longer_true_is_not_carried_out(made, store, explorer):
    """The run was executed between the question and the yes."""
    info = churn(made)
    asked = ask(explorer, "forget", run=info.id, seq=1)
    made.execute("churn", [made.entry(4, "score", 9, inputs={"x": "other"})], [0, 4, 2])
    assert "nothing was done" in ask(explorer, "apply", plan=asked["plan"])["error"]
    assert len(store.read(info.id)) == 5


def test_a_run_that_is_executed_is_not_touched(made, store, explorer):
    """It says who has it, before anybody is asked; looking goes on."""
    info = made.execute("churn", [made.entry(0, "load", 1)], open_=True)
    for do in ("rewind", "forget"):
        assert ask(explorer, do, run=info.id, seq=0)["error"].startswith("RunOpenError")
    assert ask(explorer, "run", run=info.id)["run"]["state"] == "running"


def test_an_archived_run_can_be_loaded_from_but_not_rewound(made, explorer):
    """Only what is executed next replays."""
    old = churn(made)
    made.execute("churn", [made.entry(0, "load", 1)], [0], fresh=True, outcome=Outcome.COMPLETED)
    step = ask(explorer, "step", run=old.id, seq=0)["step"]
    assert step["can"] == {"load": True, "rewind": False, "forget": True}
    assert step["command"] == "%durable load churn load --run 1"


def test_names_that_clash_open_all_the_same(made, explorer):
    """A step called "load@1" hides a version of "load": that one can't be named, and the step still opens."""
    made.execute("churn", [made.entry(0, "load", 1)], [0])
    info = made.execute("churn", [made.entry(1, "load", 2, inputs={"x": "2"}), made.entry(2, "load@1", 3)], [1, 2])
    step = ask(explorer, "step", run=info.id, seq=0)["step"]
    assert not step["can"]["load"]
    assert "names another step" in step["note"]


# -- what is saved, and what the script may do


def test_the_widget_has_no_state_of_the_journal(made, explorer):
    """A notebook that saves its widgets saves the script and the style sheet, and nothing that was recorded."""
    churn(made)
    widget = explorer_widget(explorer)
    state = widget.get_state()
    assert {name for name in state if not name.startswith("_")} <= {"layout", "tabbable", "tooltip"}
    assert "score" not in json.dumps({name: str(value) for name, value in state.items() if name != "_esm"})
    assert "nbd-explorer" in state["_css"]
    assert "export default { render }" in state["_esm"]
    sent = []
    widget.send = sent.append
    widget._on_message(widget, {"do": "runs", "id": 1}, [])
    widget._on_message(widget, "nonsense", [])
    assert [(one["kind"], one["id"]) for one in sent] == [("answer", 1)]
    widget.close()


def test_the_script_never_makes_html_or_code_of_data():
    """All of a journal becomes text nodes; the user's own HTML goes into a frame that may do nothing."""
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|ContextualFragment"
    )
    assert re.findall(forbidden, SCRIPT) == []
    assert re.findall(r"https?://", SCRIPT) == []
    assert re.findall(r"^import |\bimport\(|\bfetch\(|XMLHttpRequest", SCRIPT, re.MULTILINE) == []
    assert SCRIPT.count("srcdoc = ") == 1
    assert 'sandbox: ""' in SCRIPT
    assert "default-src \\'none\\'" in SCRIPT
    assert set(re.findall(r"\.src = `(data:[^$]*)", SCRIPT)) == {
        "data:",
        "data:image/svg+xml;charset=utf-8,",
    }
    assert len(re.findall(r"\.src = ", SCRIPT)) == 2


def test_the_style_sheet_names_what_the_script_uses():
    """A class that the contract of the page names is styled; colours are JupyterLab's, with fallbacks."""
    style = (FILES / "explorer.css").read_text()
    for name in (
        "nbd-explorer",
        "nbd-run",
        "nbd-timeline",
        "nbd-execution",
        "nbd-bar",
        "nbd-step",
        "nbd-detail",
        "nbd-confirm",
        "nbd-said",
    ):
        assert f".{name}" in style
        assert name in SCRIPT
    assert re.findall(r"var\(--jp-[\w-]+\)", style) == [], "a JupyterLab variable without a fallback"
    assert "url(" not in style
