"""Answers and requests for a run, from outside of the kernel that executes it: they go through its mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from notebook_durable.errors import ConfigurationError
from notebook_durable.history.log import RunLog
from notebook_durable.model import Ask, Entry, EntryStatus, Message
from notebook_durable.parts import parts_from
from notebook_durable.protocols import Store
from notebook_durable.question import Question, question_from
from notebook_durable.serializers.codec import DefaultCodec

__all__ = ["open_promises", "reject", "resolve", "resolve_text", "tell"]

_WAITS = (EntryStatus.RUNNING, EntryStatus.INTERRUPTED)


def open_promises(log: RunLog) -> list[tuple[Entry, Question]]:
    """Return the promises that the last execution of a run came to, and nobody has answered yet."""
    found = []
    for entry in log.entries:
        if entry.intact and entry.status in _WAITS and entry.execution == len(log.executions):
            question = question_from(parts_from(entry.code.inputs).asks)
            if question is not None:
                found.append((entry, question))
    return found


def _promise(log: RunLog, name: str) -> tuple[Entry, Question]:
    there = open_promises(log)
    found = [one for one in there if str(one[0].key) == name] or [one for one in there if one[0].name == name]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f'"{entry.key}"' for entry, _ in there)
    if found:
        raise ConfigurationError(f"several promises '{name}' of '{log.info.run}' are open: say which of {names}")
    raise ConfigurationError(
        f"'{log.info.run}' has no open promise '{name}'. " + (f"Open are: {names}." if names else "None is open.")
    )


def resolve(store: Store, log: RunLog, name: str, value: Any, *, now: float) -> str:
    """Answer a promise.

    Args:
        store: the journal.
        log: the run.
        name: the promise.
        value: the answer.
        now: seconds since the epoch.

    Returns:
        What was done, for people.

    Raises:
        ConfigurationError: if there is no such promise, or it doesn't take this answer.
        NotStorableError: if the answer can't be written.
    """
    entry, question = _promise(log, name)
    payload = DefaultCodec().encode(question.check(value))
    store.post(log.info.id, Message(0, entry.seq, Ask.ANSWER, payload, at=now))
    return _said(log, entry, "has its answer")


def resolve_text(store: Store, log: RunLog, name: str, text: str, *, now: float) -> str:
    """As :func:`resolve`, with an answer that somebody typed: see ``Question.read``."""
    _, question = _promise(log, name)
    return resolve(store, log, name, question.read(text), now=now)


def reject(store: Store, log: RunLog, name: str, why: str, *, now: float) -> str:
    """End a promise with a TerminalError.

    Raises:
        ConfigurationError: if there is no such promise.
    """
    entry, _ = _promise(log, name)
    store.post(log.info.id, Message(0, entry.seq, Ask.REJECT, None, why, now))
    return _said(log, entry, "is rejected")


def _said(log: RunLog, entry: Entry, what: str) -> str:
    when = "its cell goes on" if log.info.owner is not None else "run its cell to go on"
    return f"promise '{entry.key}' of '{log.info.run}' {what}: {when}"


def tell(store: Store, log: RunLog, ask: Ask, step: str | None, why: str = "", *, now: float) -> str:
    """Ask something of a run that is being executed.

    Args:
        store: the journal.
        log: the run.
        ask: what.
        step: of which step; not needed for ``Ask.STOP``.
        why: for people.
        now: seconds since the epoch.

    Returns:
        What was done, for people.

    Raises:
        ConfigurationError: if the run is not executed, or the step doesn't wait.
    """
    if log.info.owner is None:
        raise ConfigurationError(f"'{log.info.run}' is not being executed: there is nobody to tell")
    if ask is Ask.STOP:
        store.post(log.info.id, Message(0, len(log.executions), ask, None, why, now))
        return f"'{log.info.run}' stops before its next step"
    entry = _waiting(log, step or "")
    _check_takes(entry, ask)
    store.post(log.info.id, Message(0, entry.seq, ask, None, why, now))
    return f"step '{entry.key}' of '{log.info.run}' was told: {ask}"


def _check_takes(entry: Entry, ask: Ask) -> None:
    """Refuse what a wait that is not for the next attempt has no use for."""
    parts = parts_from(entry.code.inputs)
    if parts.asks and ask is not Ask.GIVE_UP:
        raise ConfigurationError(f"'{entry.key}' waits for an answer. Type: %durable resolve NAME PROMISE VALUE")
    if parts.sleeps is not None and ask in (Ask.PAUSE, Ask.RESUME):
        raise ConfigurationError(f"'{entry.key}' sleeps: it can be woken (retry) or given up, not {ask}d")


def _waiting(log: RunLog, step: str) -> Entry:
    waiting = [
        entry for entry in log.entries
        if entry.intact and entry.status is EntryStatus.RUNNING and entry.ended_at is not None
        and entry.execution == len(log.executions)
    ]  # fmt: skip
    found = [e for e in waiting if str(e.key) == step] or [e for e in waiting if e.name == step]
    if len(found) == 1:
        return found[0]
    raise ConfigurationError(f"'{log.info.run}' has no step '{step}' that waits now. {_names(waiting)}")


def _names(waiting: Sequence[Entry]) -> str:
    return f"Waiting: {', '.join(str(entry.key) for entry in waiting)}." if waiting else "No step waits."
