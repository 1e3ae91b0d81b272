"""OpenTelemetry spans of executions and their steps, with the extra ``otel``.

::

    from notebook_durable.otel import TracingObserver

    with durable("churn", observers=[TracingObserver()]) as ctx:
        ...

Spans go wherever the process's tracer provider sends them; without one nothing happens. While an attempt of a step
runs, its span is the current one, so that spans of instrumented libraries (HTTP clients, databases) become its
children.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from notebook_durable.errors import MissingExtraError
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
from notebook_durable.model import Entry, EntryStatus, Outcome, RunId
from notebook_durable.redact import redact

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

__all__ = ["TracingObserver"]

_NAME = "notebook_durable"


@dataclass(slots=True)
class _Open:
    """A span that has not ended.

    Attributes:
        span: it.
        started: nanoseconds since the epoch.
        before: the context that was current when the attempt under way began; None between attempts.
    """

    span: Span
    started: int
    before: Context | None = None


@dataclass(slots=True)
class _OpenMap(_Open):
    """The span of a ``ctx.map`` that has not ended; ``told``: the items whose error it has, with that error."""

    told: set[tuple[str, str]] = field(default_factory=set)


class TracingObserver:
    """An observer that makes spans: "durable NAME" per execution, and in it one per step, named like the step.

    Attributes of a step's span: ``durable.step``, ``durable.occurrence`` (from 0), ``durable.attempts``,
    ``durable.replayed``, ``durable.status``, ``durable.value.size`` (bytes), ``durable.value.type``,
    ``durable.reason`` (why it ran), ``durable.note``; of a replayed one, whose span has no length,
    ``durable.saved`` (seconds). Each failed attempt is an event "exception". Values never get into a span, and
    passwords in texts are hidden.

    A ``ctx.map`` has one span, however many items it has: ``durable.step``, ``durable.seq`` (of its first item),
    ``durable.map.total``, ``durable.map.done``, ``durable.map.failed``, ``durable.map.replayed``, ``durable.replayed``
    (all of it was), ``durable.saved``, ``durable.status`` and ``durable.reason``. The first items that fail are events
    "exception", with ``durable.item``: the name of the item.

    Args:
        tracer: makes the spans; None: that of the process's tracer provider.

    Raises:
        MissingExtraError: if OpenTelemetry is not installed.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        try:
            from opentelemetry import context, trace
        except ImportError as error:
            raise MissingExtraError("opentelemetry", "otel", "traces") from error
        self._trace = trace
        self._context = context
        self._tracer = trace.get_tracer(_NAME) if tracer is None else tracer
        self._executions: dict[RunId, _Open] = {}
        self._steps: dict[tuple[RunId, int], _Open] = {}
        self._maps: dict[tuple[RunId, int], _OpenMap] = {}
        #: What was damaged before its step, or its map, has a span: name of the step, and why.
        self._damaged: dict[tuple[RunId, int], tuple[str, str]] = {}

    def notify(self, event: Event, /) -> None:
        """Begin, end or mark a span."""
        match event:
            case ExecutionStarted():
                self._begin_execution(event)
            case ExecutionEnded():
                self._end_execution(event)
            case StepReplayed():
                self._replayed(event)
            case StepStarted():
                self._attempt(event)
            case AttemptFailed():
                opened = self._step(event.run, event.entry, event.attempt.started_at)
                self._leave(opened)
                at = event.attempt.started_at + event.attempt.duration
                _failed(opened, event.attempt.error, event.attempt.number, at, event.attempt.delay)
            case StepEnded():
                self._end_step(event.run, event.entry)
            case StepWaiting():
                attributes: dict[str, Any] = {"durable.kind": event.kind}
                if event.question is not None:
                    attributes["durable.question"] = redact(event.question.text)
                self._step(event.run, event.entry).span.add_event("waiting", attributes)
            case StepDamaged():
                step = self._steps.get((event.run, event.entry.seq))
                if step is not None:
                    _tell_damage(step.span, event.entry.name, event.reason)
                else:
                    self._damaged[event.run, event.entry.seq] = event.entry.name, event.reason
            case MapProgress():
                self._map(event)
            case StoreFailed():
                # The step's own span may have ended by now.
                execution = self._executions.get(event.run)
                if execution is not None:
                    attributes = {"durable.step": event.entry.name, "durable.reason": redact(event.reason)}
                    execution.span.add_event("not saved", attributes)

    # -- executions

    def _begin_execution(self, event: ExecutionStarted) -> None:
        attributes: dict[str, Any] = {
            "durable.workflow": event.run.workflow,
            "durable.key": event.run.key,
            "durable.run": event.number,
            "durable.execution": event.execution,
            "durable.recorded": event.recorded,
        }
        if event.previous is not None:
            attributes["durable.previous"] = str(event.previous)
        at = _nanoseconds(event.at)
        # Its parent is the span that is current here: one of the user's own, if there is any.
        span = self._tracer.start_span(f"durable {event.run.workflow}", attributes=attributes, start_time=at)
        self._executions[event.run] = _Open(span, at)

    def _end_execution(self, event: ExecutionEnded) -> None:
        for run, seq in [key for key in self._steps if key[0] == event.run]:
            # Stopped with the execution (a sibling of a task that failed): no event says so.
            opened = self._steps.pop((run, seq))
            self._leave(opened)
            opened.span.set_attribute("durable.status", str(EntryStatus.INTERRUPTED))
            opened.span.end(max(opened.started, _nanoseconds(event.at)))
        for key in [key for key in self._maps if key[0] == event.run]:
            self._end_map(self._maps.pop(key), "interrupted", event.at)
        execution = self._executions.pop(event.run, None)
        for name, reason in self._take_damaged(event.run):
            if execution is not None:
                _tell_damage(execution.span, name, reason)
        if execution is None:
            return
        execution.span.set_attribute("durable.outcome", str(event.outcome))
        if event.outcome is Outcome.FAILED:
            execution.span.set_status(self._trace.StatusCode.ERROR)
        execution.span.end(max(execution.started, _nanoseconds(event.at)))

    # -- steps

    def _step(self, run: RunId, entry: Entry, at: float | None = None) -> _Open:
        """Return the span of a step that is under way; begin it if this is the first that is heard of it."""
        opened = self._steps.get((run, entry.seq))
        if opened is None:
            opened = self._steps[run, entry.seq] = self._new(run, entry, _nanoseconds(at))
        return opened

    def _new(self, run: RunId, entry: Entry, at: int) -> _Open:
        execution = self._executions.get(run)
        parent = None if execution is None else self._trace.set_span_in_context(execution.span)
        attributes: dict[str, Any] = {
            "durable.step": entry.name,
            "durable.occurrence": entry.occurrence,
            "durable.seq": entry.seq,
        }
        span = self._tracer.start_span(entry.name, context=parent, attributes=attributes, start_time=at)
        damaged = self._damaged.pop((run, entry.seq), None)
        if damaged is not None:
            _tell_damage(span, *damaged)
        return _Open(span, at)

    def _take_damaged(self, run: RunId, name: str | None = None) -> list[tuple[str, str]]:
        """Return what was found damaged, of one step's name or of all, and forget it."""
        found = [key for key, (step, _) in self._damaged.items() if key[0] == run and (name is None or step == name)]
        return [self._damaged.pop(key) for key in found]

    def _attempt(self, event: StepStarted) -> None:
        opened = self._step(event.run, event.entry, event.entry.started_at)
        if event.reason:
            opened.span.set_attribute("durable.reason", redact(event.reason))
        opened.before = self._context.get_current()
        self._context.attach(self._trace.set_span_in_context(opened.span))

    def _leave(self, opened: _Open) -> None:
        """Make current what was so before the attempt."""
        before, opened.before = opened.before, None
        # No detach(): it complains where the end of a step is told in another context than its beginning.
        if before is not None and self._trace.get_current_span() is opened.span:
            self._context.attach(before)

    def _end_step(self, run: RunId, entry: Entry) -> None:
        opened = self._step(run, entry, entry.started_at or entry.ended_at)
        del self._steps[run, entry.seq]
        self._leave(opened)
        if entry.status is EntryStatus.FAILED and entry.error:
            _failed(opened, entry.error, entry.attempts, entry.ended_at, None)
        self._describe(opened.span, entry, replayed=False)
        opened.span.end(max(opened.started, _nanoseconds(entry.ended_at)))

    # -- maps

    def _map(self, event: MapProgress) -> None:
        """One span for all items: it begins with the first that is heard of them."""
        key = event.run, event.seq
        opened = self._maps.get(key)
        if opened is None:
            opened = self._maps[key] = self._new_map(event)
        for label, error in event.errors:
            if (label, error) not in opened.told:
                opened.told.add((label, error))
                attributes = {"durable.item": redact(label), "exception.message": redact(error)}
                opened.span.add_event("exception", attributes, max(opened.started, _nanoseconds(event.at)))
        if event.state in ("running", "waiting"):
            return
        span = opened.span
        for name in ("total", "done", "failed", "replayed"):
            span.set_attribute(f"durable.map.{name}", getattr(event, name))
        span.set_attribute("durable.replayed", event.replayed == event.total)
        span.set_attribute("durable.saved", event.saved)
        if event.reason:
            span.set_attribute("durable.reason", redact(event.reason))
        if event.state == "failed":
            said = "; ".join(f"{label}: {error}" for label, error in event.errors)
            span.set_status(self._trace.StatusCode.ERROR, redact(said))
        del self._maps[key]
        self._end_map(opened, "succeeded" if event.state == "done" else event.state, event.at)

    def _new_map(self, event: MapProgress) -> _OpenMap:
        execution = self._executions.get(event.run)
        parent = None if execution is None else self._trace.set_span_in_context(execution.span)
        at = _nanoseconds(event.started_at)
        attributes: dict[str, Any] = {
            "durable.step": event.name, "durable.seq": event.seq, "durable.map.total": event.total,
        }  # fmt: skip
        span = self._tracer.start_span(event.name, context=parent, attributes=attributes, start_time=at)
        for name, reason in self._take_damaged(event.run, event.name):
            _tell_damage(span, name, reason)
        opened = _OpenMap(span, at)
        if event.state == "running":
            opened.before = self._context.get_current()
            self._context.attach(self._trace.set_span_in_context(span))
        return opened

    def _end_map(self, opened: _OpenMap, status: str, at: float) -> None:
        self._leave(opened)
        opened.span.set_attribute("durable.status", status)
        opened.span.end(max(opened.started, _nanoseconds(at)))

    def _replayed(self, event: StepReplayed) -> None:
        entry = event.entry
        # One that waited to be cancelled again has a span already; else it begins and ends here.
        opened = self._steps.pop((event.run, entry.seq), None) or self._new(event.run, entry, time.time_ns())
        self._describe(opened.span, entry, replayed=True)
        opened.span.set_attribute("durable.saved", entry.spent)
        if event.note:
            opened.span.set_attribute("durable.note", redact(event.note))
        opened.span.end(opened.started)

    def _describe(self, span: Span, entry: Entry, *, replayed: bool) -> None:
        span.set_attribute("durable.attempts", entry.attempts)
        span.set_attribute("durable.replayed", replayed)
        span.set_attribute("durable.status", str(entry.status))
        if entry.has_value:
            span.set_attribute("durable.value.size", entry.value_size)
            span.set_attribute("durable.value.type", entry.value_type)
        if entry.note:
            span.set_attribute("durable.note", redact(entry.note))
        if entry.status is EntryStatus.FAILED:
            error = entry.error or {}
            said = f"{error.get('type', '')}: {redact(str(error.get('message', '')))}"
            span.set_status(self._trace.StatusCode.ERROR, said.split("\n", 1)[0])


def _tell_damage(span: Span, step: str, reason: str) -> None:
    span.add_event("damaged", {"durable.step": step, "durable.reason": redact(reason)})


def _failed(opened: _Open, error: Mapping[str, Any], number: int, at: float | None, delay: float | None) -> None:
    attributes: dict[str, Any] = {
        "exception.type": str(error.get("type", "")),
        "exception.message": redact(str(error.get("message", ""))),
        "durable.attempt": number,
    }
    if delay is not None:
        attributes["durable.delay"] = delay
    opened.span.add_event("exception", attributes, max(opened.started, _nanoseconds(at)))


def _nanoseconds(seconds: float | None) -> int:
    return time.time_ns() if not seconds else int(seconds * 1_000_000_000)
