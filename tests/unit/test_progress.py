"""Events as plain dicts: every kind of event, JSON-able, without values and without secrets."""

from __future__ import annotations

import json

import pytest

import notebook_durable.events as events_module
from notebook_durable.events import (
    AttemptFailed,
    Event,
    ExecutionEnded,
    ExecutionStarted,
    MapProgress,
    StepDamaged,
    StepEnded,
    StepReplayed,
    StepStarted,
    StepWaiting,
    StoreFailed,
)
from notebook_durable.model import Attempt, Entry, EntryStatus, Failure, Outcome, RunId
from notebook_durable.progress import as_dict
from notebook_durable.question import Question, question
from notebook_durable.redact import HIDDEN

RUN = RunId("churn", "monday")
ERROR = {"type": "app.HTTPError", "message": "429 from https://me:hunter2@x.io", "traceback": "Traceback ..."}
STEP = Entry(
    seq=3, name="fetch", occurrence=1, status=EntryStatus.RUNNING, execution=2, attempts=2, started_at=100.0, spent=4.0
)
DONE = STEP._replace(
    status=EntryStatus.SUCCEEDED, ended_at=109.5, duration=5.5, payload=b"x" * 812, value_type="list", serializer="json"
)
FAILED = STEP._replace(
    status=EntryStatus.FAILED, ended_at=101.0, payload=b"pickled", value_type="HTTPError", error=ERROR,
    failure=Failure.TERMINAL,
)  # fmt: skip
ATTEMPT = Attempt(seq=3, budget=0, number=1, started_at=99.0, duration=0.5, error=ERROR, delay=4.0)
ASKED = Question("publish?", ("yes", "no", 3, None), {})

HERE = {"run": "churn", "key": "monday"}
OF_STEP = {
    **HERE, "step": "fetch", "occurrence": 1, "seq": 3, "execution": 2, "status": "running", "attempt": 2,
    "started_at": 100.0, "ended_at": None, "duration": 0.0, "spent": 4.0, "size": None, "value_type": "", "note": "",
    "error": None,
}  # fmt: skip
OF_DONE = {
    **OF_STEP, "status": "succeeded", "ended_at": 109.5, "duration": 5.5, "size": 812, "value_type": "list",
}  # fmt: skip
TOLD_ERROR = {"type": "app.HTTPError", "message": f"429 from https://me:{HIDDEN}@x.io"}

CASES = [
    (
        ExecutionStarted(RUN, 1, 2, Outcome.KILLED, 7, 98.0),
        {
            **HERE, "type": "execution_started", "number": 1, "execution": 2, "previous": "killed", "recorded": 7,
            "at": 98.0,
        },
    ),
    (
        StepStarted(RUN, STEP, 5, "its input `url` changed"),
        {**OF_STEP, "type": "step_started", "max_attempts": 5, "reason": "its input `url` changed"},
    ),
    (
        AttemptFailed(RUN, STEP, ATTEMPT, None, 103.5),
        {
            **OF_STEP, "type": "attempt_failed", "attempt": 1, "started_at": 99.0, "duration": 0.5, "error": TOLD_ERROR,
            "delay": 4.0, "max_attempts": None, "next_at": 103.5,
        },
    ),
    (
        StepWaiting(RUN, STEP, "answer", 200.0, ASKED),
        {
            **OF_STEP, "type": "step_waiting", "kind": "answer", "until": 200.0,
            "question": {"text": "publish?", "choices": ["yes", "no", 3, None], "form": {}},
        },
    ),
    (
        StepWaiting(RUN, STEP, "paused"),
        {**OF_STEP, "type": "step_waiting", "kind": "paused", "until": None, "question": None},
    ),
    (StepReplayed(RUN, DONE, "numpy 2.4 was 2.3"), {**OF_DONE, "type": "step_replayed", "note": "numpy 2.4 was 2.3"}),
    (StepDamaged(RUN, STEP, "damaged"), {**OF_STEP, "type": "step_damaged", "reason": "damaged"}),
    (StepEnded(RUN, DONE), {**OF_DONE, "type": "step_ended"}),
    (
        StepEnded(RUN, FAILED),
        {**OF_STEP, "type": "step_ended", "status": "failed", "ended_at": 101.0, "error": TOLD_ERROR},
    ),
    (StoreFailed(RUN, DONE, "disk full"), {**OF_DONE, "type": "store_failed", "reason": "disk full"}),
    (
        MapProgress(
            RUN, "fetch", 5, 1, 90, 2, 100, 105.0, seq=3, waiting=1, recorded=95, saved=12.5, started_at=104.0,
            errors=(("AAPL", "app.HTTPError: 429 from https://me:pw-4711@x.io"),), reason="code of `f` changed",
        ),
        {
            **HERE, "type": "map_progress", "step": "fetch", "seq": 3, "done": 5, "failed": 1, "replayed": 90,
            "running": 2, "waiting": 1, "total": 100, "recorded": 95, "saved": 12.5, "started_at": 104.0, "at": 105.0,
            "errors": [["AAPL", f"app.HTTPError: 429 from https://me:{HIDDEN}@x.io"]], "reason": "code of `f` changed",
            "state": "running", "until": None,
        },
    ),
    (ExecutionEnded(RUN, Outcome.FAILED, 110.0), {**HERE, "type": "execution_ended", "outcome": "failed", "at": 110.0}),
]  # fmt: skip


def test_secrets_in_a_question():
    """Passwords in choices and fields, and what stands at first in a field with a secret's name."""
    asked = question("q", None, {"password": "abcdefgh", "to": ["http://me:Tr0ub4dor@host", "no"], "n": 3, "ok": True})
    told = as_dict(StepWaiting(RUN, STEP, "answer", None, asked))["question"]["form"]
    assert told == {"password": HIDDEN, "to": [f"http://me:{HIDDEN}@host", "no"], "n": 3, "ok": True}
    asked = question("q", ["http://me:Tr0ub4dor@host", 1, None], None)
    told = as_dict(StepWaiting(RUN, STEP, "answer", None, asked))["question"]["choices"]
    assert told == [f"http://me:{HIDDEN}@host", 1, None]


@pytest.mark.parametrize(("event", "told"), CASES, ids=lambda case: type(case).__name__)
def test_each_event(event, told):
    """What it says, and that JSON gives it back."""
    assert as_dict(event) == told
    assert json.loads(json.dumps(as_dict(event))) == told


def test_no_event_is_forgotten():
    """A new class of events needs a case here."""
    found = {cls for cls in vars(events_module).values() if isinstance(cls, type) and issubclass(cls, Event)}
    assert {type(event) for event, _ in CASES} == found - {Event}


@pytest.mark.once
def test_a_real_run_as_data(lab):
    """An observer that writes JSON lines sees the run pass by, and neither its value nor its password."""

    def flaky():
        lab.calls.append("flaky")
        if len(lab.calls) < 2:
            raise ConnectionError("postgres://me:hunter2@db is away")
        return "the value"

    def body(ctx):
        return ctx.run("flaky", flaky, max_attempts=3, initial_retry_interval=1.0)

    lab.play(body)
    lines = [json.dumps(as_dict(event)) for event in lab.events]
    kinds = [json.loads(line)["type"] for line in lines]
    assert kinds[0] == "execution_started"
    assert kinds[-1] == "execution_ended"
    assert [kind for kind in kinds if kind == "attempt_failed"] == ["attempt_failed"]
    ended = next(json.loads(line) for line in lines if '"step_ended"' in line)
    assert (ended["step"], ended["status"], ended["attempt"]) == ("flaky", "succeeded", 2)
    assert ended["size"] > 0
    assert "hunter2" not in "".join(lines)
    assert "the value" not in "".join(lines)
