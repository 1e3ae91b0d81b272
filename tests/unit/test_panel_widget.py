"""The live panel without a front end: which messages it sends, what a click does, and what is shown in the end."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from notebook_durable import widgets
from notebook_durable.engine.controls import Controls, Request
from notebook_durable.events import AttemptFailed, ExecutionEnded, ExecutionStarted, StepEnded, StepStarted, StepWaiting
from notebook_durable.ipython import output as output_module
from notebook_durable.ipython.output import LiveOutput
from notebook_durable.model import Ask, Attempt, Entry, EntryStatus, Outcome, RunId
from notebook_durable.question import Question, question
from notebook_durable.widgets import panel as panel_module
from notebook_durable.widgets.panel import VIEW, obey, read_answer

pytest.importorskip("anywidget")

RUN = RunId("churn", "k")
LONGEST = 60.0  # seconds until something that doesn't happen is a failure


def entry(seq: int = 0, status: EntryStatus = EntryStatus.RUNNING, **how: Any) -> Entry:
    return Entry(seq, f"step {seq}", 0, status, **{"started_at": time.time(), "attempts": 1, **how})


def failed(one: Entry) -> AttemptFailed:
    attempt = Attempt(one.seq, 0, 1, time.time(), 1.0, {"type": "E", "message": "m", "traceback": "t"}, 30.0)
    return AttemptFailed(RUN, one._replace(ended_at=time.time()), attempt, 3, time.time() + 30)


class Asked(Controls):
    """Controls of an execution in which all steps but number 99 wait."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, Request]] = []

    def ask(self, seq: int, request: Request) -> bool:
        if seq == 99:
            return False
        self.asked.append((seq, request))
        return True


# --- clicks


@pytest.mark.parametrize(
    ("do", "ask"), [("retry", Ask.RETRY), ("giveup", Ask.GIVE_UP), ("pause", Ask.PAUSE), ("resume", Ask.RESUME)]
)
def test_a_click_asks_the_step(do, ask):
    """Each button asks one thing of one step; a step that waits no more is told so."""
    controls = Asked()
    assert obey({"do": do, "seq": 3}, controls, lambda _seq: None) == ""
    assert [(seq, request.ask) for seq, request in controls.asked] == [(3, ask)]
    assert obey({"do": do, "seq": 99}, controls, lambda _seq: None) == "it doesn't wait any more"


def test_stop_can_be_taken_back():
    """The button toggles."""
    controls = Asked()
    obey({"do": "stop", "on": True}, controls, lambda _seq: None)
    assert controls.stopping
    obey({"do": "stop", "on": False}, controls, lambda _seq: None)
    assert not controls.stopping


@pytest.mark.parametrize("content", [{}, {"do": "format"}, {"do": "retry"}, {"do": "retry", "seq": "1"}, {"do": None}])
def test_what_is_no_click_does_nothing(content):
    """A message from a newer or a strange front end is let pass."""
    controls = Asked()
    assert obey(content, controls, lambda _seq: None) == ""
    assert controls.asked == []


@pytest.mark.parametrize(
    ("asked", "content", "value"),
    [
        (question("?", ["yes", "no"], None), {"value": "yes", "json": '"yes"'}, "yes"),
        (question("?", ["yes", "no"], None), {"value": "no"}, "no"),
        (question("?", ["1", 1, 1.0, True], None), {"value": 1, "json": "1.0"}, 1.0),
        (question("?", ["1", 1, 1.0, True], None), {"value": 1, "json": "1"}, 1),
        (question("?", ["1", 1, 1.0, True], None), {"value": "1", "json": '"1"'}, "1"),
        (question("?", [None, 2], None), {"value": None, "json": "null"}, None),
        (question("?", None, {"a": 1.5, "to": [1.0, "x"]}), {"value": {"a": 2, "to": 1}}, {"a": 2.0, "to": 1.0}),
        (question("?", None, {"on": [True, 1]}), {"value": {"on": 1}}, {"on": 1}),
        (question("?", None, None), {"value": "some text"}, "some text"),
        (question("?", None, None), {"value": "[1, 2]"}, [1, 2]),
        (question("?", None, None), {"value": {"made": "by hand"}}, {"made": "by hand"}),
    ],
)
def test_answers_keep_their_type(asked, content, value):
    """JavaScript knows one kind of number; the question knows which it offered."""
    answer = read_answer(asked, content)
    assert (answer, repr(answer)) == (value, repr(value))


def test_a_wrong_answer_is_told():
    """It doesn't reach the step; neither does one to a step that asks nothing."""
    controls = Asked()
    asked: Question = question("Publish?", ["yes", "no"], None)
    said = obey({"do": "answer", "seq": 1, "value": "maybe"}, controls, lambda _seq: asked)
    assert said == "'Publish?' takes one of 'yes', 'no', not 'maybe'"
    assert obey({"do": "answer", "seq": 1, "value": "yes"}, controls, lambda _seq: None) == "it doesn't wait any more"
    assert controls.asked == []
    assert obey({"do": "answer", "seq": 1, "value": "yes"}, controls, lambda _seq: asked) == ""
    assert controls.asked == [(1, Request(Ask.ANSWER, "yes"))]


# --- the observer with a widget


class Publisher:
    def __init__(self) -> None:
        self.bundles: list[tuple[bool, dict[str, Any]]] = []
        self.shown = threading.Event()  # the widget is

    def publish(self, data, metadata=None, *, transient=None, update=False, **_):
        self.bundles.append((update, data))
        if VIEW in data:
            self.shown.set()


class Kernel:
    """A shell as a kernel has it."""

    kernel = object()

    def __init__(self) -> None:
        self.display_pub = Publisher()


class FakeWidget:
    """Stands for the widget, and does what the JavaScript does with what it is sent."""

    model_id = "abc"

    def __init__(self, look: Any, hear: Any) -> None:
        self.look, self.hear = look, hear
        self.sent: list[dict[str, Any]] = [look()]
        self.arrived = threading.Condition()
        self.closed = 0

    def send(self, message: dict[str, Any]) -> None:
        with self.arrived:
            self.sent.append(message)
            self.arrived.notify_all()

    def close(self) -> None:
        self.closed += 1

    def wait_for(self, found: Any) -> dict[str, Any]:
        """Wait for a message; returns the first that fits."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: any(map(found, self.sent)), LONGEST), self.sent
            return next(one for one in self.sent if found(one))

    def said_of(self, seq: int, state: str) -> Any:
        def found(message: dict[str, Any]) -> bool:
            return any(row["seq"] == seq and row["state"] == state for row in message.get("rows", ()))

        return self.wait_for(found)


@pytest.fixture
def live(monkeypatch):
    """An output whose widget is shown, with what the fake front end got."""
    made: list[FakeWidget] = []

    def make(look, hear):
        made.append(FakeWidget(look, hear))
        return made[0]

    monkeypatch.setattr(panel_module, "make_panel", make)
    monkeypatch.setattr(output_module, "_GRACE", 0.0)
    shell = Kernel()
    output = LiveOutput(shell, RUN, widget=True)
    controls = Asked()
    output.connect(controls)
    output.notify(ExecutionStarted(RUN, 1, 1, None, 0, time.time()))
    output.notify(StepStarted(RUN, entry(), 3, "new"))
    assert shell.display_pub.shown.wait(LONGEST)
    yield output, made[0], controls, shell.display_pub
    output.finish()


def test_the_widget_takes_the_place_of_the_picture(live):
    """First a picture, at once; then the widget beside one; in the end a picture alone.

    The widget hears the end too, for a page that was loaded meanwhile, and is closed some cells later.
    """
    output, widget, _, pub = live
    output.notify(StepEnded(RUN, entry(status=EntryStatus.SUCCEEDED, spent=1.0)))
    output.notify(ExecutionEnded(RUN, Outcome.COMPLETED, time.time()))
    output.finish()
    updates = [update for update, _ in pub.bundles]
    assert updates == [False, True, True]
    first, second, last = (bundle for _, bundle in pub.bundles)
    assert set(first) == {"text/plain", "text/html"}
    assert second[VIEW]["model_id"] == "abc"
    assert "running since" in second["text/plain"]
    assert set(last) == {"text/plain", "text/html"}
    assert "running since" not in last["text/html"]
    assert "1 run" in last["text/plain"]
    widget.wait_for(lambda message: message.get("head", {}).get("outcome") == "completed")
    assert widget.closed == 0
    for _ in range(8):
        panel_module.retire(FakeWidget(dict, None))
    assert widget.closed == 1


def test_changes_go_as_patches(live):
    """While the cell runs the display is left alone; the widget gets the rows that changed, and the head if it did."""
    output, widget, _, pub = live
    count = len(pub.bundles)
    output.notify(failed(entry()))
    message = widget.said_of(0, "waiting")
    assert message["kind"] == "rows"
    assert message["head"]["summary"] == "1 waiting"
    output.notify(StepStarted(RUN, entry(1), None, "new"))
    assert [row["seq"] for row in widget.said_of(1, "running")["rows"]] == [1]
    assert len(pub.bundles) == count


def test_a_flood_is_batched(live):
    """Ten thousand steps are a handful of messages of few rows."""
    output, widget, _, _ = live
    for n in range(1, 10_000):
        output.notify(StepStarted(RUN, entry(n), None, "new"))
        output.notify(StepEnded(RUN, entry(n, EntryStatus.SUCCEEDED, spent=0.1)))
    widget.said_of(9_999, "done")
    sent = [message for message in widget.sent if message["kind"] == "rows"]
    assert len(sent) < 100
    assert max(len(message["rows"]) for message in sent) <= 25


def test_clicks_are_confirmed_and_obeyed(live):
    """Each message gets a pong with its number; a refused one is told in its row."""
    output, widget, controls, _ = live
    widget.hear({"do": "ping", "id": 1})
    widget.wait_for(lambda message: message["kind"] == "pong" and message["id"] == 1)
    widget.hear({"do": "retry", "seq": 0, "id": 2})
    assert controls.asked == [(0, Request(Ask.RETRY))]
    widget.hear({"do": "retry", "seq": 99, "id": 3})
    assert widget.wait_for(lambda message: message["kind"] == "said")["seq"] == 99
    widget.hear({"do": "stop", "on": True, "id": 4})
    assert widget.wait_for(lambda message: message.get("head", {}).get("stopping"))
    output.notify(StepWaiting(RUN, entry(5), "answer", None, question("?", ["a"], None)))
    widget.said_of(5, "asking")
    widget.hear({"do": "answer", "seq": 5, "value": "b", "id": 5})
    assert widget.wait_for(lambda m: m["kind"] == "said" and m["seq"] == 5)["text"] == "'?' takes one of 'a', not 'b'"
    widget.hear({"do": "answer", "seq": 5, "value": "a", "json": '"a"', "id": 6})
    assert controls.asked[-1] == (5, Request(Ask.ANSWER, "a"))


def test_whoever_comes_late_gets_everything(live):
    """A second view, or a reloaded page."""
    output, widget, _, _ = live
    output.notify(failed(entry()))
    widget.said_of(0, "waiting")
    assert [row["state"] for row in widget.look()["rows"]] == ["waiting"]
    widget.hear({"do": "ping", "all": True, "id": 1})
    message = widget.wait_for(lambda message: message.get("full") and message is not widget.sent[0])
    assert [row["state"] for row in message["rows"]] == ["waiting"]
    assert message["head"]["run"] == "churn[k]"


def test_a_click_is_not_held_up(live):
    """It may come while the thread that draws holds the lock."""
    output, widget, controls, _ = live
    with output._lock:
        done = threading.Thread(target=widget.hear, args=({"do": "retry", "seq": 0, "id": 1},))
        done.start()
        done.join(LONGEST)
        assert not done.is_alive()
    assert controls.asked == [(0, Request(Ask.RETRY))]


def test_after_the_end_nothing_is_heard(live):
    """A click that was under way when the cell ended."""
    output, widget, controls, _ = live
    output.finish()
    count = len(widget.sent)
    widget.hear({"do": "retry", "seq": 0, "id": 1})
    assert (controls.asked, len(widget.sent)) == ([], count)


def test_without_the_controls_there_are_no_clicks(monkeypatch):
    """Before the run is open the panel says that it takes none, and nothing breaks if one comes."""
    monkeypatch.setattr(panel_module, "make_panel", FakeWidget)
    monkeypatch.setattr(output_module, "_GRACE", 0.0)
    shell = Kernel()
    output = LiveOutput(shell, RUN, widget=True)
    output.notify(StepStarted(RUN, entry(), None, "new"))
    assert shell.display_pub.shown.wait(LONGEST)
    widget = output._widget
    assert widget.look()["head"]["clicks"] is False
    widget.hear({"do": "retry", "seq": 0, "id": 1})
    output.connect(Asked())
    assert widget.wait_for(lambda message: message.get("head", {}).get("clicks"))
    output.finish()


def test_without_widgets_the_picture_is_updated(monkeypatch, caplog):
    """Whatever is wrong with them; the log says it at debug level only."""
    updated = threading.Event()

    class Watching(Publisher):
        def publish(self, data, *args, **kwargs):
            super().publish(data, *args, **kwargs)
            if "waiting" in data["text/plain"]:
                updated.set()

    def broken(*_args):
        raise RuntimeError("no comms here")

    monkeypatch.setattr(panel_module, "make_panel", broken)
    monkeypatch.setattr(output_module, "_GRACE", 0.0)
    caplog.set_level(logging.DEBUG, "notebook_durable")
    shell = Kernel()
    shell.display_pub = Watching()
    output = LiveOutput(shell, RUN, widget=True)
    output.notify(StepStarted(RUN, entry(), None, "new"))
    output.notify(failed(entry()))
    assert updated.wait(LONGEST)
    output.finish()
    assert all(VIEW not in bundle for _, bundle in shell.display_pub.bundles)
    assert "running since" not in shell.display_pub.bundles[-1][1]["text/plain"]
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


def test_a_short_cell_makes_no_widget(monkeypatch):
    """It has ended before the time of grace is over: a picture of the end is all."""
    monkeypatch.setattr(output_module, "_GRACE", LONGEST)
    monkeypatch.setattr(panel_module, "make_panel", lambda *_: pytest.fail("a widget was made"))
    shell = Kernel()
    output = LiveOutput(shell, RUN, widget=True)
    output.notify(StepStarted(RUN, entry(), None, "new"))
    output.notify(StepEnded(RUN, entry(status=EntryStatus.SUCCEEDED, spent=0.1)))
    output.finish()
    assert "1 run" in shell.display_pub.bundles[-1][1]["text/plain"]
    assert "running since" not in shell.display_pub.bundles[-1][1]["text/plain"]


# --- the real class


def test_the_real_widget():
    """It carries script and style from the package, answers with everything, and hears what a front end says."""
    heard: list[Any] = []
    made = panel_module.make_panel(lambda: {"kind": "rows", "rows": []}, heard.append)
    state = made.get_state()
    assert state["snapshot"] == {"kind": "rows", "rows": []}
    assert "initialize({ model })" in state["_esm"]
    assert ".nbd-live" in state["_css"]
    made._handle_custom_msg({"do": "ping", "id": 1}, [])
    made._handle_custom_msg("nonsense", [])
    assert heard == [{"do": "ping", "id": 1}]
    made.close()


def test_the_files_are_plain():
    """Nothing from outside, and nothing that would run what a step says."""
    folder = Path(widgets.__file__).parent
    script, style = (folder / "panel.js").read_text("utf-8"), (folder / "panel.css").read_text("utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "Function(", "document.write", "import "):
        assert word not in script
    assert "http" not in script + style
    assert "url(" not in style
    assert "@import" not in style
