"""The live panel in real kernels: what a front end gets, and clicks as JupyterLab sends them while the cell runs."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from kernels import LONGEST, LiveKernel

pytest.importorskip("anywidget")
pytestmark = pytest.mark.kernel

VIEW = "application/vnd.jupyter.widget-view+json"
FLAKY = """
tries = []
def flaky():
    tries.append(1)
    if len(tries) < 2:
        raise ConnectionError("no route")
"""
SLOW_RETRY = "max_attempts=3, initial_retry_interval=600"


class FrontEnd:
    """Runs one cell as JupyterLab does: with the cell's id, and clicks sent to a subshell of the kernel.

    Args:
        kernel: the kernel.
        subshell: whether clicks go to a subshell.
    """

    def __init__(self, kernel: LiveKernel, *, subshell: bool = True) -> None:
        self.client = kernel.client
        self.subshell = self._make_subshell() if subshell else None
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.comm = ""
        self.rows: dict[int, dict[str, Any]] = {}
        self.head: dict[str, Any] = {}
        self.pongs: list[int] = []
        self.said: list[str] = []
        self.status = ""
        self._waits = {"idle", "reply"}

    def _make_subshell(self) -> str:
        message = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(message)
        while True:
            reply = self.client.get_control_msg(timeout=LONGEST)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return str(reply["content"]["subshell_id"])

    def start(self, code: str) -> FrontEnd:
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self.client.session.msg("execute_request", {**content, "stop_on_error": True})
        message["metadata"] = {"cellId": "a-cell"}
        self.client.shell_channel.send(message)
        self.request = message["header"]["msg_id"]
        return self

    def click(self, **content: Any) -> None:
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": self.comm, "data": data})
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)

    def until(self, found: Any) -> FrontEnd:
        """Take what the kernel sends until something holds."""
        end = time.monotonic() + LONGEST
        while not found(self):
            assert time.monotonic() < end, (self.rows, self.messages[-3:])
            self._take(self.client.get_iopub_msg(timeout=LONGEST))
        return self

    def until_waiting(self, state: str = "waiting") -> int:
        """Take what the kernel sends until a step waits; returns its number."""
        self.until(lambda front: any(row["state"] == state for row in front.rows.values()))
        return next(seq for seq, row in self.rows.items() if row["state"] == state)

    def finish(self) -> FrontEnd:
        self.until(lambda front: "idle" not in front._waits)
        while "reply" in self._waits:
            reply = self.client.get_shell_msg(timeout=LONGEST)
            if reply["parent_header"].get("msg_id") == self.request:
                self.status = reply["content"]["status"]
                self._waits.discard("reply")
        return self

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if message["parent_header"].get("msg_id") == self.request:
            self.messages.append((kind, content))
            if kind == "status" and content["execution_state"] == "idle":
                self._waits.discard("idle")
        if kind == "comm_open" and "snapshot" in content["data"].get("state", {}):
            self.comm = content["comm_id"]
            self._patch(content["data"]["state"]["snapshot"])
        if kind == "comm_msg" and content["comm_id"] == self.comm and content["data"]["method"] == "custom":
            self._patch(content["data"]["content"])

    def _patch(self, message: dict[str, Any]) -> None:
        if message["kind"] == "pong":
            self.pongs.append(message["id"])
        elif message["kind"] == "said":
            self.said.append(message["text"])
        else:
            self.head = message.get("head", self.head)
            for seq in message["gone"]:
                self.rows.pop(seq, None)
            self.rows.update({row["seq"]: row for row in message["rows"]})

    @property
    def displays(self) -> list[dict[str, Any]]:
        wanted = ("display_data", "update_display_data")
        return [content["data"] for kind, content in self.messages if kind in wanted]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """This Python's kernel: an older one takes no clicks while a cell runs."""
    made = LiveKernel(sys.executable, tmp_path_factory.mktemp("clicks"))
    loaded = made.run("%load_ext notebook_durable\nimport asyncio, time")
    assert loaded.status == "ok", loaded.traceback
    if made.value("hasattr(get_ipython().kernel, 'shell_channel_thread')") != "True":
        pytest.skip("this ipykernel has no subshells")
    yield made
    made.close()


FORMS = pytest.mark.parametrize("form", ["ctx.run", "await ctx.run"])


@FORMS
def test_retry_now(kernel, name, form):
    """The next attempt begins at once, not in ten minutes; in a cell without await too."""
    kernel.run(FLAKY)
    front = FrontEnd(kernel).start(f"%%durable {name}\n{form}('call', flaky, {SLOW_RETRY})")
    seq = front.until_waiting()
    assert front.rows[seq]["error"] == "ConnectionError: no route"
    assert "in flaky" in front.rows[seq]["traceback"]
    front.click(do="retry", seq=seq, id=7)
    front.finish()
    assert front.status == "ok"
    assert 7 in front.pongs
    assert kernel.value("len(tries)") == "2"


@FORMS
def test_give_up(kernel, name, form):
    """A TerminalError leaves the step; the cell ends with it."""
    kernel.run(FLAKY)
    front = FrontEnd(kernel).start(f"%%durable {name}\n{form}('call', flaky, {SLOW_RETRY})")
    front.click(do="giveup", seq=front.until_waiting(), id=1)
    front.finish()
    assert front.status == "error"
    assert "1 failed" in front.displays[-1]["text/plain"]


@FORMS
def test_pause_and_resume(kernel, name, form):
    """A paused step counts down to nothing; resumed it does again."""
    kernel.run(FLAKY)
    front = FrontEnd(kernel).start(f"%%durable {name}\n{form}('call', flaky, {SLOW_RETRY})")
    seq = front.until_waiting()
    front.click(do="pause", seq=seq, id=1)
    assert front.until_waiting("paused") == seq
    assert "until" not in front.rows[seq]
    front.click(do="resume", seq=seq, id=2)
    front.until_waiting()
    assert front.rows[seq]["until"] > time.time() + 20
    front.click(do="retry", seq=seq, id=3)
    assert front.finish().status == "ok"


def test_stop_after_this_step(kernel, name):
    """The step is finished and kept; no other begins."""
    body = "ctx.run('one', time.sleep, 3)\nctx.run('two', int)"
    front = FrontEnd(kernel).start(f"%%durable {name}\n{body}").until(lambda front: front.comm)
    front.click(do="stop", on=True, id=1)
    front.until(lambda front: front.head.get("stopping")).finish()
    assert front.status == "error"
    last = front.displays[-1]["text/plain"]
    assert "one  done" in last
    assert "two  done" not in last


@pytest.mark.parametrize("await_", ["", "await "])
def test_an_answer(kernel, name, await_):
    """A wrong one is told in the row, the right one is what the promise gives."""
    body = f"answer = {await_}ctx.promise('publish?', choices=['yes', 'no'])"
    front = FrontEnd(kernel).start(f"%%durable {name}\n{body}")
    seq = front.until_waiting("asking")
    assert front.rows[seq]["ask"]["choices"] == [['"yes"', "yes"], ['"no"', "no"]]
    front.click(do="answer", seq=seq, value="maybe", id=1)
    front.until(lambda front: front.said)
    assert "'yes', 'no'" in front.said[0]
    front.click(do="answer", seq=seq, value="yes", json='"yes"', id=2)
    assert front.finish().status == "ok"
    assert kernel.value("answer") == "'yes'"


def test_wake_now(kernel, name):
    """A sleep ends when somebody says so."""
    front = FrontEnd(kernel).start(f"%%durable {name}\nctx.sleep(600)")
    front.click(do="retry", seq=front.until_waiting("sleeping"), id=1)
    assert front.finish().status == "ok"


def test_a_busy_kernel_hears_what_goes_to_the_subshell(kernel, name):
    """Also while a step computes, and nothing is awaited; the pong tells the front end so."""
    front = FrontEnd(kernel).start(f"%%durable {name}\nctx.run('busy', time.sleep, 3)").until(lambda front: front.comm)
    front.click(do="ping", id=5)
    front.until(lambda front: front.pongs)
    assert front.rows[0]["state"] == "running"
    front.finish()


def test_without_a_subshell_a_busy_kernel_is_deaf(kernel, name):
    """No pong until the cell has ended, from which the front end learns that clicks don't arrive."""
    front = FrontEnd(kernel, subshell=False).start(f"%%durable {name}\nctx.run('busy', time.sleep, 2)")
    front.until(lambda front: front.comm).click(do="ping", id=5)
    assert front.finish().status == "ok"
    assert front.pongs == []
    assert kernel.value("1 + 1") == "2"


def test_what_a_notebook_keeps(live, name):
    """A picture, a widget beside a picture, and in the end a picture alone; eight widgets later it is closed."""
    front = FrontEnd(live, subshell=False).start(f"%%durable {name}\nctx.run('work', time.sleep, 1.5)").finish()
    kinds = [VIEW in display for display in front.displays]
    assert (kinds[0], kinds[-1], sum(kinds)) == (False, False, 1)
    assert all({"text/html", "text/plain"} <= set(display) for display in front.displays)
    assert "running since" in front.displays[kinds.index(True)]["text/plain"]
    assert f"durable {name}: 1 run" in front.displays[-1]["text/plain"]
    closing = "from notebook_durable.widgets import panel; [panel.retire(type('Panel', (), {'close': int})()) "
    assert live.run(closing + "for _ in range(8)]").of("comm_close")
    assert live.value("len(__import__('ipywidgets').Widget.widgets)") == "0"


def test_a_headless_run_makes_no_widget(live, name):
    """Without a cell's id nobody looks at one: the picture is updated in place."""
    ran = live.run(f"%%durable {name}\nctx.run('work', time.sleep, 1.2)")
    assert not ran.of("comm_open")
    assert all(VIEW not in content["data"] for content in ran.of("display_data", "update_display_data"))
