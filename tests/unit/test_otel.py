"""Spans of real runs, as OpenTelemetry's own SDK exports them."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import suppress

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from notebook_durable import TerminalError, durable
from notebook_durable.errors import MissingExtraError
from notebook_durable.events import (
    AttemptFailed,
    ExecutionEnded,
    ExecutionStarted,
    MapProgress,
    StepDamaged,
    StepEnded,
    StepStarted,
    StepWaiting,
    StoreFailed,
)
from notebook_durable.model import Attempt, Entry, EntryStatus, Outcome, RunId
from notebook_durable.otel import TracingObserver
from notebook_durable.question import Question

RUN = RunId("wf")
QUICK = {"initial_retry_interval": 0.001}


class Traces:
    """A tracer provider of the test's own, and the spans that it exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def observer(self) -> TracingObserver:
        return TracingObserver(self.tracer)

    def take(self):
        spans = self.exporter.get_finished_spans()
        self.exporter.clear()
        return spans

    def named(self):
        return {span.name: span for span in self.take()}


@pytest.fixture
def traces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)
    return Traces()


def test_an_execution_and_its_steps(traces):
    """One span for the execution, one in it per step, with what the journal says of it."""
    with durable("churn", key="monday", observers=[traces.observer()]) as ctx:
        ctx.run("load", lambda: [1, 2, 3])
        ctx.run("fit", lambda: 0.5)
    spans = traces.named()
    assert set(spans) == {"durable churn", "load", "fit"}
    root = spans["durable churn"]
    assert root.parent is None
    assert root.attributes["durable.key"] == "monday"
    assert root.attributes["durable.execution"] == 1
    assert root.attributes["durable.outcome"] == "completed"
    assert root.status.status_code is StatusCode.UNSET
    for name in ("load", "fit"):
        span = spans[name]
        assert span.parent.span_id == root.context.span_id
        assert span.context.trace_id == root.context.trace_id
        assert span.attributes["durable.step"] == name
        assert span.attributes["durable.attempts"] == 1
        assert span.attributes["durable.replayed"] is False
        assert span.attributes["durable.status"] == "succeeded"
        assert span.attributes["durable.value.size"] > 0
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time
    assert spans["load"].end_time <= spans["fit"].start_time


def test_a_replay_has_no_length(traces):
    """The second execution's spans say that they were replayed, and take no time."""
    for _ in range(2):
        traces.take()
        with durable("churn", observers=[traces.observer()]) as ctx:
            ctx.run("load", lambda: [1, 2, 3])
    spans = traces.named()
    span = spans["load"]
    assert span.attributes["durable.replayed"] is True
    assert span.attributes["durable.status"] == "succeeded"
    assert span.attributes["durable.saved"] >= 0
    assert span.start_time == span.end_time
    assert span.parent.span_id == spans["durable churn"].context.span_id
    assert spans["durable churn"].attributes["durable.execution"] == 2


def test_failed_attempts_are_events(traces):
    """Each with type, message and number; the step that succeeds in the end is no error."""
    tries = []

    def flaky():
        tries.append(None)
        if len(tries) < 3:
            raise ConnectionError(f"no {len(tries)}: postgres://me:hunter2@db")
        return 1

    with durable("churn", observers=[traces.observer()]) as ctx:
        ctx.run("flaky", flaky, max_attempts=5, **QUICK)
    span = traces.named()["flaky"]
    assert [event.name for event in span.events] == ["exception", "exception"]
    assert [event.attributes["durable.attempt"] for event in span.events] == [1, 2]
    assert {event.attributes["exception.type"] for event in span.events} == {"ConnectionError"}
    assert "no 1" in span.events[0].attributes["exception.message"]
    assert "hunter2" not in str([dict(event.attributes) for event in span.events])
    assert all(span.start_time <= event.timestamp <= span.end_time for event in span.events)
    assert span.attributes["durable.attempts"] == 3
    assert span.status.status_code is StatusCode.UNSET


def test_a_step_that_fails_is_an_error(traces):
    """So is its execution, and so is its replay."""

    def ends():
        raise TerminalError("no such customer")

    for replayed in (False, True):
        with suppress(TerminalError), durable("churn", observers=[traces.observer()]) as ctx:
            with suppress(TerminalError):  # survived: this failure replays
                ctx.run("ends", ends)
            if replayed:
                raise TerminalError("the cell's own")
        spans = traces.named()
        assert spans["ends"].status.status_code is StatusCode.ERROR
        assert "no such customer" in spans["ends"].status.description
        assert spans["ends"].attributes["durable.replayed"] is replayed
        assert spans["ends"].attributes["durable.status"] == "failed"
        assert len(spans["ends"].events) == (0 if replayed else 1)
        assert (spans["durable churn"].status.status_code is StatusCode.ERROR) is replayed


def test_every_attempt_of_a_step_that_gives_up_is_an_event(traces):
    """The last one too."""

    def never():
        raise ConnectionError("away")

    with pytest.raises(TerminalError), durable("churn", observers=[traces.observer()]) as ctx:
        ctx.run("never", never, max_attempts=3, **QUICK)
    span = traces.named()["never"]
    assert [event.attributes["durable.attempt"] for event in span.events] == [1, 2, 3]
    assert all("away" in event.attributes["exception.message"] for event in span.events)


def test_concurrent_steps_have_the_right_parents(traces):
    """Spans that are made inside steps side by side are children of their own step, not of the other."""

    async def run():
        both = asyncio.Barrier(2)

        async def work(name):
            await both.wait()
            with traces.tracer.start_as_current_span(f"call of {name}"):
                await both.wait()
            return name

        async with durable("churn", observers=[traces.observer()]) as ctx:
            await asyncio.gather(ctx.run("one", work, "one"), ctx.run("two", work, "two"))
            assert not trace.get_current_span().get_span_context().is_valid

    asyncio.run(run())
    spans = traces.named()
    root = spans["durable churn"]
    for name in ("one", "two"):
        assert spans[name].parent.span_id == root.context.span_id
        assert spans[f"call of {name}"].parent.span_id == spans[name].context.span_id
    assert spans["one"].start_time < spans["two"].end_time
    assert spans["two"].start_time < spans["one"].end_time


def test_spans_of_libraries_are_children_of_their_step(traces):
    """In each attempt; between steps what was current before is current again."""
    tries = []

    def work():
        with traces.tracer.start_as_current_span("GET"):
            tries.append(None)
            if len(tries) < 2:
                raise ConnectionError("away")
        return 1

    with traces.tracer.start_as_current_span("mine") as mine:
        with durable("churn", observers=[traces.observer()]) as ctx:
            assert trace.get_current_span() is mine
            ctx.run("work", work, max_attempts=2, **QUICK)
            assert trace.get_current_span() is mine
        assert trace.get_current_span() is mine
    spans = traces.take()
    step = next(span for span in spans if span.name == "work")
    inner = [span for span in spans if span.name == "GET"]
    assert [span.parent.span_id for span in inner] == [step.context.span_id] * 2
    root = next(span for span in spans if span.name == "durable churn")
    assert root.parent.span_id == mine.get_span_context().span_id


def test_stop_ends_every_span(traces):
    """No span is left open: not that of the step that was stopped, nor that of its sibling."""

    async def run():
        started = asyncio.Event()

        async def waits():
            started.set()
            await asyncio.Event().wait()

        async def stops():
            await started.wait()
            raise KeyError("its own")

        async with durable("churn", observers=[traces.observer()]) as ctx:
            await asyncio.gather(ctx.run("waits", waits), ctx.run("stops", stops))

    with pytest.raises(KeyError):
        asyncio.run(run())
    spans = traces.named()
    assert set(spans) == {"durable churn", "waits", "stops"}
    assert spans["stops"].status.status_code is StatusCode.ERROR
    assert spans["waits"].attributes["durable.status"] in ("interrupted", "cancelled")
    assert spans["waits"].status.status_code is StatusCode.UNSET
    assert spans["durable churn"].status.status_code is StatusCode.ERROR


def test_one_observer_for_runs_side_by_side(traces):
    """Two threads, two runs, one observer: each step is in its own run's span."""
    observer, both = traces.observer(), threading.Barrier(2)

    def play(name):
        def work():
            both.wait(30)
            return name

        with durable(name, observers=[observer], store=f"store-{name}") as ctx:
            ctx.run(f"step of {name}", work)

    threads = [threading.Thread(target=play, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans = traces.named()
    for name in ("one", "two"):
        assert spans[f"step of {name}"].parent.span_id == spans[f"durable {name}"].context.span_id


def test_the_other_events(traces):
    """Damage, waits and failed writes are marked in the span; times are those of the events."""
    observer = traces.observer()
    entry = Entry(seq=0, name="ask", occurrence=0, status=EntryStatus.RUNNING, attempts=1, started_at=101.0)
    attempt = Attempt(seq=0, budget=0, number=1, started_at=101.0, duration=0.5, error={"type": "E", "message": ""})
    done = entry._replace(status=EntryStatus.SUCCEEDED, ended_at=104.0, payload=b"12", note="changed its input")
    observer.notify(ExecutionStarted(RUN, 1, 1, Outcome.KILLED, 0, 100.0))
    observer.notify(StepStarted(RUN, entry, None, "new"))
    observer.notify(StepDamaged(RUN, entry, "password='hunter2'"))
    observer.notify(AttemptFailed(RUN, entry, attempt, None, 103.0))
    observer.notify(StepWaiting(RUN, entry, "answer", None, Question("publish?")))
    observer.notify(StoreFailed(RUN, done, "disk full"))
    observer.notify(StepEnded(RUN, done))
    observer.notify(ExecutionEnded(RUN, Outcome.COMPLETED, 105.0))
    spans = traces.named()
    step, root = spans["ask"], spans["durable wf"]
    assert (root.start_time, root.end_time) == (100 * 10**9, 105 * 10**9)
    assert (step.start_time, step.end_time) == (101 * 10**9, 104 * 10**9)
    assert [event.name for event in step.events] == ["damaged", "exception", "waiting"]
    assert step.events[1].timestamp == int(101.5 * 10**9)
    assert step.events[2].attributes["durable.question"] == "publish?"
    assert "hunter2" not in str(step.events[0].attributes)
    assert root.events[0].attributes["durable.reason"] == "disk full"
    assert root.attributes["durable.previous"] == "killed"
    assert step.attributes["durable.reason"] == "new"
    assert step.attributes["durable.note"] == "changed its input"


def test_a_map_is_one_span(traces):
    """Ten thousand items or five: one span with their numbers; spans made inside of an item are its children."""

    def fetch(item):
        with traces.tracer.start_as_current_span(f"GET {item}"):
            if item == 3:
                raise TerminalError("no token=ghp_0123456789abcdefghijABCDEFGHIJ012345")
            return item

    with durable("wf", observers=[traces.observer()]) as ctx:
        ctx.run("load", list)
        ctx.map("fetch", fetch, range(5), on_error="collect", ignore=["traces"])
        ctx.run("report", dict)
        assert trace.get_current_span() is trace.INVALID_SPAN
    spans = traces.named()
    assert set(spans) == {"durable wf", "load", "fetch", "report", *(f"GET {n}" for n in range(5))}
    span = spans["fetch"]
    assert span.parent.span_id == spans["durable wf"].context.span_id
    counts = {name: span.attributes[f"durable.map.{name}"] for name in ("total", "done", "failed", "replayed")}
    assert counts == {"total": 5, "done": 4, "failed": 1, "replayed": 0}
    assert (span.attributes["durable.status"], span.attributes["durable.replayed"]) == ("succeeded", False)
    assert span.status.status_code is StatusCode.UNSET
    (event,) = span.events
    assert (event.name, event.attributes["durable.item"]) == ("exception", "fetch #4")
    assert "TerminalError" in event.attributes["exception.message"]
    assert "ghp_" not in str(event.attributes)
    assert spans["load"].end_time <= span.start_time < span.end_time <= spans["report"].start_time
    assert {spans[f"GET {n}"].parent.span_id for n in range(5)} == {span.context.span_id}


def test_a_map_that_replays_or_fails(traces):
    """The attributes say how much was handed back; a failure that is raised makes the span an error."""

    def fetch(item):
        if item == 2:
            raise TerminalError("gone")
        return item

    for _ in range(2):
        traces.take()
        with pytest.raises(TerminalError), durable("wf", observers=[traces.observer()]) as ctx:
            ctx.map("fetch", fetch, range(4))
        span = traces.named()["fetch"]
        assert (span.attributes["durable.status"], span.status.status_code) == ("failed", StatusCode.ERROR)
        assert "gone" in span.status.description
    assert span.attributes["durable.map.replayed"] == 2
    for _ in range(2):
        traces.take()
        with durable("other", observers=[traces.observer()]) as ctx:
            ctx.map("fetch", fetch, range(2))
    span = traces.named()["fetch"]
    assert span.attributes["durable.replayed"] is True
    assert span.attributes["durable.map.replayed"] == 2
    assert span.attributes["durable.saved"] >= 0


def test_events_of_a_map(traces):
    """Retries of an item are told once each; an item that was damaged is an event of the map and no span."""
    observer = traces.observer()
    entry = Entry(4, "fetch", 2, EntryStatus.RUNNING)

    def told(state, at, *errors, **more):
        return MapProgress(RUN, "fetch", 1, 0, 0, 1, 3, at, seq=2, started_at=101.0, errors=errors, state=state, **more)

    observer.notify(ExecutionStarted(RUN, 1, 1, None, 0, 100.0))
    observer.notify(StepDamaged(RUN, entry, "a bit was flipped"))
    observer.notify(StepDamaged(RUN, entry._replace(seq=9, name="lost"), "gone"))
    observer.notify(told("running", 101.0))
    for at in (102.0, 103.0):
        observer.notify(told("waiting", at, ("a", "OSError: down"), until=110.0))
    observer.notify(told("waiting", 104.0, ("a", "OSError: down again")))
    observer.notify(ExecutionEnded(RUN, Outcome.INTERRUPTED, 105.0))
    assert trace.get_current_span() is trace.INVALID_SPAN
    spans = traces.named()
    assert set(spans) == {"durable wf", "fetch"}
    span = spans["fetch"]
    assert (span.start_time, span.end_time) == (101 * 10**9, 105 * 10**9)
    assert span.attributes["durable.status"] == "interrupted"
    assert [(event.name, event.timestamp) for event in span.events[1:]] == [
        ("exception", 102 * 10**9), ("exception", 104 * 10**9),
    ]  # fmt: skip
    assert span.events[0].attributes["durable.reason"] == "a bit was flipped"
    assert spans["durable wf"].events[0].attributes["durable.step"] == "lost"


def test_the_process_s_own_provider_is_used():
    """Without a tracer, spans go where the process sends them; nowhere here, and nothing breaks."""
    observer = TracingObserver()
    observer.notify(ExecutionStarted(RUN, 1, 1, None, 0, 100.0))
    observer.notify(ExecutionEnded(RUN, Outcome.COMPLETED, 101.0))


def test_a_missing_library_is_told(monkeypatch):
    """With what to type; when the observer is made, because an observer's errors are only logged."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtraError, match=r"notebook_durable\[otel\]"):
        TracingObserver()
