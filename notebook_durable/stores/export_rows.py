"""The lines of an exported run: entries, attempts, extras, messages and texts as JSON, each kind with its own reader.

What is read may come from anybody: every field is checked before anything is made of it.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from notebook_durable.model import (
    Ask,
    Attempt,
    Entry,
    EntryStatus,
    ExecutionInfo,
    Extra,
    Failure,
    Message,
    Outcome,
    Payload,
    StepCode,
)

__all__ = [
    "Member",
    "Misread",
    "Row",
    "attempt_line",
    "entry_line",
    "execution_line",
    "execution_of",
    "extra_line",
    "message_line",
    "moment",
    "row_of",
    "text_line",
    "time_of",
]

_TEXTS = ("name", "serializer", "value_type", "note", "libraries")
_NUMBERS = ("seq", "occurrence", "execution", "budget", "attempts")
_FLOATS = ("spent", "started_at", "duration")
_FLAGS = ("left", "survived", "at_most_once")
_LARGEST_INT = 1 << 63
_MOST_ENTRIES = 1 << 32


class Misread(ValueError):  # noqa: N818  an internal signal, not an error that anybody sees
    """A line is none of ours."""


class Member(NamedTuple):
    """A value that lies in a part of its own: how long it is as ``layout`` writes it, and its blake3 digest."""

    length: int
    digest: str


class Row(NamedTuple):
    """A line that was read: one of these, and where an entry's value lies if not with it."""

    kind: str
    item: Any
    member: Member | None = None


def _line(kind: str, item: Any) -> bytes:
    return json.dumps([kind, item], separators=(",", ":"), default=str).encode() + b"\n"


# --- writing ------------------------------------------------------------------------------


def entry_line(entry: Entry, value: Payload | None, member: Member | None) -> bytes:
    """Write an entry.

    Args:
        entry: the entry.
        value: its value, to be written with it; None if there is none, or it lies in a part of its own.
        member: that part.
    """
    raw: dict[str, Any] = {name: getattr(entry, name) for name in (*_TEXTS, *_NUMBERS, *_FLOATS, *_FLAGS)}
    raw |= {"status": str(entry.status), "failure": str(entry.failure), "ended_at": entry.ended_at}
    raw |= {"rollback_of": entry.rollback_of, "code": list(entry.code)}
    if entry.error is not None:
        raw["error"] = dict(entry.error)
    if value is not None:
        raw["payload"] = _coded(value.data)
        if value.buffers:
            raw["buffers"] = [_coded(buffer) for buffer in value.buffers]
    if member is not None:
        raw |= {"member": list(member), "size": entry.size}
    return _line("entry", raw)


def attempt_line(attempt: Attempt) -> bytes:
    """Write a failed attempt."""
    a = attempt
    return _line("attempt", [a.seq, a.budget, a.number, a.started_at, a.duration, dict(a.error), a.delay])


def extra_line(seq: int, extra: Extra) -> bytes:
    """Write what is kept for people with an entry."""
    return _line("extra", [seq, extra.preview, extra.outputs])


def message_line(message: Message) -> bytes:
    """Write an answer that nobody has fetched yet."""
    m, payload = message, message.payload
    value = None if payload is None else [payload.serializer, _coded(payload.data), payload.value_type]
    return _line("message", [m.seq, str(m.ask), value, m.text, m.at])


def text_line(name: str, text: str) -> bytes:
    """Write a text that entries name."""
    return _line("text", [name, text])


def execution_line(one: ExecutionInfo, used: str | None) -> list[Any]:
    """Write an execution, for the manifest; ``used``: its entries as text."""
    return [one.number, one.started_at, one.ended_at, str(one.outcome), used]


def _coded(data: Any) -> str:
    return base64.b64encode(data).decode()


# --- reading ------------------------------------------------------------------------------


def row_of(line: bytes) -> Row:
    """Read a line.

    Raises:
        Misread: if it is none of ours.
    """
    try:
        kind, item = json.loads(line)
        return _READERS[kind](item)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise Misread(f"a line of it can't be read ({type(error).__name__}: {error!s:.80})") from error


def _entry(raw: Mapping[str, Any]) -> Row:
    fields: dict[str, Any] = {name: _text(raw[name]) for name in _TEXTS}
    fields |= {name: _number(raw[name]) for name in _NUMBERS}
    fields |= {name: moment(raw[name]) for name in _FLOATS}
    fields |= {name: _flag(raw[name]) for name in _FLAGS}
    source, inputs, fingerprint, version = raw["code"]
    code = StepCode(_text(source), _text(inputs), _text(fingerprint), _number(version))
    error = raw.get("error")
    if error is not None and not isinstance(error, dict):
        raise Misread("an error is no mapping")
    payload = None if raw.get("payload") is None else _bytes(raw["payload"])
    buffers = tuple(map(_bytes, raw.get("buffers", ())))
    member = None
    if raw.get("member") is not None:
        length, digest = raw["member"]
        member = Member(_number(length), _digest(digest))
        if not 0 <= _number(raw["size"]) <= member.length:
            raise Misread("a value is larger than its part")
    if (buffers and payload is None) or (member is not None and payload is not None):
        raise Misread("an entry says twice where its value is")
    if not 0 <= fields["seq"] < _MOST_ENTRIES:
        raise Misread("an entry has an impossible number")
    entry = Entry(
        **fields, status=EntryStatus(raw["status"]), failure=Failure(raw["failure"]),
        ended_at=time_of(raw["ended_at"]), error=error, code=code, payload=payload, buffers=buffers,
        rollback_of=None if raw["rollback_of"] is None else _number(raw["rollback_of"]),
        size=len(payload or b"") + sum(map(len, buffers)) if member is None else _number(raw["size"]),
    )  # fmt: skip
    return Row("entry", entry, member)


def _attempt(raw: Sequence[Any]) -> Row:
    seq, budget, number, started, duration, error, delay = raw
    if not isinstance(error, dict):
        raise Misread("an error is no mapping")
    numbers = (_seq(seq), _number(budget), _number(number))
    return Row("attempt", Attempt(*numbers, moment(started), moment(duration), error, time_of(delay)))


def _extra(raw: Sequence[Any]) -> Row:
    seq, preview, outputs = raw
    return Row("extra", (_seq(seq), Extra(_text(preview), _text(outputs))))


def _message(raw: Sequence[Any]) -> Row:
    seq, ask, value, text, at = raw
    payload = None if value is None else Payload(_text(value[0]), _bytes(value[1]), _text(value[2]))
    return Row("message", Message(0, _seq(seq), Ask(ask), payload, _text(text), moment(at)))


def _text_row(raw: Sequence[Any]) -> Row:
    name, text = raw
    return Row("text", (_text(name), _text(text)))


def execution_of(raw: Sequence[Any], ranges: Callable[[str], tuple[int, ...] | None]) -> ExecutionInfo:
    """Read an execution of the manifest.

    Raises:
        Misread, ValueError, TypeError: if it is none.
    """
    number, started, ended, outcome, used = raw
    called = None if used is None else ranges(_text(used))
    return ExecutionInfo(_number(number), moment(started), time_of(ended), Outcome(outcome), called)


_READERS: Mapping[str, Callable[[Any], Row]] = {
    "entry": _entry, "attempt": _attempt, "extra": _extra, "message": _message, "text": _text_row,
}  # fmt: skip


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Misread("a text was expected")
    return value.encode("utf-8", "backslashreplace").decode()


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -_LARGEST_INT <= value < _LARGEST_INT:
        raise Misread("a whole number was expected")
    return value


def _seq(value: object) -> int:
    if not 0 <= _number(value) < _MOST_ENTRIES:
        raise Misread("an entry has an impossible number")
    return _number(value)


def moment(value: object) -> float:
    """Read seconds.

    Raises:
        Misread: if it is no number.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise Misread("a number was expected")
    return float(value)


def time_of(value: object) -> float | None:
    """Read seconds, as :func:`moment` does, or None."""
    return None if value is None else moment(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Misread("true or false was expected")
    return value


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except binascii.Error as error:
        raise Misread("bytes were expected") from error


def _digest(value: object) -> str:
    text = _text(value)
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise Misread("a digest was expected")
    return text
