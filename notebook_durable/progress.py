"""Events as plain dicts, for whoever wants progress as data: a log of JSON lines, a dashboard. No values in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
from notebook_durable.model import Entry
from notebook_durable.redact import HIDDEN, is_secret_name, redact

__all__ = ["as_dict"]


def as_dict(event: Event) -> dict[str, Any]:
    """Describe an event with what ``json`` can write.

    Args:
        event: any of ``notebook_durable.events``.

    Returns:
        Always ``type`` (the event's class, as in "step_ended"), ``run`` (the workflow) and ``key``. Of steps also
        ``step``, ``occurrence`` (from 0), ``seq`` (its number in the run), ``execution``, ``status``, ``attempt``
        (calls begun), ``started_at`` and ``ended_at`` (seconds since the epoch; None: not yet), ``duration`` (of the
        last call) and ``spent`` (since the first one), in seconds, ``size`` (of the recorded value, in bytes; None:
        there is none), ``value_type``, ``note`` and ``error`` (None, or ``type`` and ``message``). Then what is
        particular to the event, named as its attributes are. Passwords in texts are hidden.
    """
    cls = type(event)
    described: dict[str, Any] = {"type": _snake(cls.__name__), "run": event.run.workflow, "key": event.run.key}
    entry = getattr(event, "entry", None)
    if isinstance(entry, Entry):
        described.update(_step(entry))
    particular = _PARTICULAR.get(cls)
    if particular is not None:
        described.update(particular(event))
    return described


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")


def _step(entry: Entry) -> dict[str, Any]:
    return {
        "step": entry.name,
        "occurrence": entry.occurrence,
        "seq": entry.seq,
        "execution": entry.execution,
        "status": str(entry.status),
        "attempt": entry.attempts,
        "started_at": entry.started_at or None,
        "ended_at": entry.ended_at,
        "duration": entry.duration,
        "spent": entry.spent,
        "size": entry.value_size if entry.has_value else None,
        "value_type": "" if entry.failure else entry.value_type,
        "note": redact(entry.note),
        "error": _error(entry.error),
    }


def _error(error: Mapping[str, Any] | None) -> dict[str, str] | None:
    if not error:
        return None
    return {"type": str(error.get("type", "")), "message": redact(str(error.get("message", "")))}


def _started(event: ExecutionStarted) -> dict[str, Any]:
    return {
        "number": event.number,
        "execution": event.execution,
        "previous": None if event.previous is None else str(event.previous),
        "recorded": event.recorded,
        "at": event.at,
    }


def _attempt(event: AttemptFailed) -> dict[str, Any]:
    attempt = event.attempt
    return {
        "attempt": attempt.number,
        "started_at": attempt.started_at,
        "duration": attempt.duration,
        "error": _error(attempt.error),
        "delay": attempt.delay,
        "max_attempts": event.max_attempts,
        "next_at": event.next_at,
    }


def _without_secrets(value: Any, name: str = "") -> Any:
    """Hide passwords in the texts of a choice, and the first value of a field with a secret's name."""
    if value and not isinstance(value, (bool, list, tuple, Mapping)) and name and is_secret_name(name):
        return HIDDEN
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _without_secrets(one, str(key)) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(one, name) for one in value]
    return value


def _waiting(event: StepWaiting) -> dict[str, Any]:
    asked = event.question
    question = None
    if asked is not None:
        form = {redact(name): _without_secrets(first, name) for name, first in asked.form.items()}
        question = {"text": redact(asked.text), "choices": _without_secrets(list(asked.choices)), "form": form}
    return {"kind": event.kind, "until": event.until, "question": question}


def _map(event: MapProgress) -> dict[str, Any]:
    return {
        "step": event.name,
        "seq": event.seq,
        "done": event.done,
        "failed": event.failed,
        "replayed": event.replayed,
        "running": event.running,
        "waiting": event.waiting,
        "total": event.total,
        "recorded": event.recorded,
        "saved": event.saved,
        "started_at": event.started_at,
        "at": event.at,
        "errors": [[redact(label), redact(error)] for label, error in event.errors],
        "reason": redact(event.reason),
        "state": event.state,
        "until": event.until or None,
    }


_PARTICULAR: dict[type[Event], Callable[[Any], dict[str, Any]]] = {
    ExecutionStarted: _started,
    StepStarted: lambda event: {"max_attempts": event.max_attempts, "reason": redact(event.reason)},
    StepReplayed: lambda event: {"note": redact(event.note or event.entry.note)},
    StepDamaged: lambda event: {"reason": redact(event.reason)},
    AttemptFailed: _attempt,
    StepWaiting: _waiting,
    StepEnded: lambda _event: {},
    StoreFailed: lambda event: {"reason": redact(event.reason)},
    MapProgress: _map,
    ExecutionEnded: lambda event: {"outcome": str(event.outcome), "at": event.at},
}
