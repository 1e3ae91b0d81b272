"""The explorer in real kernels: what `%durable` displays, what travels, and what its buttons do."""

from __future__ import annotations

import json

import pytest
from kernels import LONGEST, LiveKernel, Ran

pytestmark = pytest.mark.kernel

VIEW = "application/vnd.jupyter.widget-view+json"
RECORD = """%%durable {name}
def load(): return ["a planted value", 4711]
def flaky():
    import os
    count = int(os.environ.get("{name}", "0")); os.environ["{name}"] = str(count + 1)
    if count == 0: raise ConnectionError("<img src=x onerror=boom()>")
    return 2
ctx.run("load", load)
ctx.run("prices", flaky, initial_retry_interval=0.01)
"""


def shown(kernel: LiveKernel, code: str = "%durable") -> tuple[Ran, dict]:
    ran = kernel.run(code, cell_id="c1")
    assert ran.status == "ok", ran.traceback
    (bundle,) = [one["data"] for one in ran.of("display_data", "execute_result")]
    return ran, bundle


def send(kernel: LiveKernel, bundle: dict, **request) -> dict:
    """Ask as the front end does, and wait for the answer on this comm."""
    content = {"comm_id": bundle[VIEW]["model_id"], "data": {"method": "custom", "content": {"id": 5, **request}}}
    kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", content))
    while True:
        message = kernel.client.get_iopub_msg(timeout=LONGEST)
        if message["msg_type"] == "comm_msg" and message["content"]["data"].get("method") == "custom":
            answer: dict = message["content"]["data"]["content"]
            assert answer["id"] == 5
            return answer


def test_it_stands_beside_the_table(live, name):
    """Where the front end gives cells ids: the widget, and the table as HTML and as text for all who can't show it."""
    assert live.run(RECORD.format(name=name)).status == "ok"
    for code in ("%durable", "from notebook_durable import journal; journal()"):
        _, bundle = shown(live, code)
        assert bundle[VIEW]["model_id"]
        assert name in bundle["text/plain"]
        assert "<table>" in bundle["text/html"]


def test_without_a_screen_there_is_the_table_only(live, name):
    """nbclient, papermill and the like send no id of the cell: no widget is made, nothing fails."""
    assert live.run(RECORD.format(name=name)).status == "ok"
    ran = live.run("%durable")
    (bundle,) = [one["data"] for one in ran.of("display_data")]
    assert VIEW not in bundle
    assert name in bundle["text/plain"]
    assert ran.of("comm_open") == []


def test_values_travel_on_request_only(live, name):
    """What opens the widget holds no value, so none is saved with the notebook; a step shows it when asked."""
    assert live.run(RECORD.format(name=name)).status == "ok"
    ran, bundle = shown(live)
    assert "planted" not in json.dumps([ran.of("comm_open"), bundle])
    assert name not in json.dumps(ran.of("comm_open"))
    run = next(one for one in send(live, bundle, do="runs")["runs"] if one["name"] == name)
    step = send(live, bundle, do="step", run=run["run"], seq=0)["step"]
    assert "a planted value" in json.dumps(step["preview"])
    step = send(live, bundle, do="step", run=run["run"], seq=1)["step"]
    assert [one["message"] for one in step["attempts"]] == ["<img src=x onerror=boom()>"]
    bars = send(live, bundle, do="run", run=run["run"])["timeline"]["executions"][0]["bars"]
    assert [bar[0] for bar in bars] == ["ran", "failed", "wait", "ran"]


def test_its_buttons_do_what_they_say(live, name):
    """Load gives a variable; rewind asks, and then the step runs again; what can't be done is said."""
    assert live.run(RECORD.format(name=name)).status == "ok"
    _, bundle = shown(live)
    run = next(one for one in send(live, bundle, do="runs")["runs"] if one["name"] == name)["run"]
    said = send(live, bundle, do="load", run=run, seq=0, variable=f"loaded_{name}")["said"]
    assert said.startswith(f"loaded_{name}: list")
    assert live.value(f"loaded_{name}[1]") == "4711"
    asked = send(live, bundle, do="rewind", run=run, seq=1)
    assert "1 of 2 steps will run again" in asked["text"]
    assert "will not replay" in send(live, bundle, do="apply", plan=asked["plan"])["said"]
    again = live.run(RECORD.format(name=name))
    assert "1 replayed" in again.panels[-1]
    assert "1 run" in again.panels[-1]
    assert "not in the journal" in send(live, bundle, do="run", run=10**6)["error"]
