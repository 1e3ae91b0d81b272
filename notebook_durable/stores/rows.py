"""Entries and attempts as rows, and the mark that each row carries.

A value that doesn't lie in its row, or has buffers, or says its size or libraries, adds these three to what is under
the mark, and a bit that says so: rows of formats 1 to 3 have none of it, and keep their marks.

A mark is keyed blake3 over everything in the row that a replay believes, and over what the row stands for: table,
journal, run (number, workflow and key) and place. So a row or a payload that was changed, or copied to another place,
is found out. What a mark can't show: a row that is missing, and an *old* version of the same row put back.

The bytes under a mark are: the length-prefixed identity of the run, a struct of fixed size with all numbers and the
length of every text, then the texts. Rows are read with ``text_factory = bytes``: a mark is over the bytes as they lie
in the file, and nothing is decoded before it was checked.
"""

from __future__ import annotations

import hmac
import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

from notebook_durable.errors import StoreError
from notebook_durable.model import Attempt, Entry, EntryStatus, Failure, RunId, StepCode
from notebook_durable.pause_gc import pause_gc
from notebook_durable.stores.keys import Signer

__all__ = [
    "ATTEMPT_COLUMNS",
    "ENTRY_COLUMNS",
    "PLACES",
    "Damaged",
    "attempt_mark",
    "attempt_row",
    "attempts_from",
    "clean",
    "entries_from",
    "entry_mark",
    "entry_row",
    "identity",
    "place",
    "refers_to",
    "text_of",
    "untrusted_from",
    "whole",
]

#: In the order of :func:`entry_row`.
ENTRY_COLUMNS = (
    "name, occurrence, status, execution, budget, attempts, spent, started_at, ended_at, duration, failure, left_cell, "
    "survived, rollback_of, at_most_once, serializer, value_type, note, inputs, fingerprint, fingerprint_version, "
    "error, source, mark, payload, blob, size, libraries"
)
ATTEMPT_COLUMNS = "seq, budget, number, started_at, duration, delay, error, mark"

#: All rows of a run: to be given its id twice.
PLACES = "place BETWEEN ? << 32 AND (? << 32) + 4294967295"
_SEQ_BITS = 32
_NO_CODE = StepCode()
_new = tuple.__new__
#: Seconds since the epoch (or of a duration) that can be written as a date, and numbers that can be added up.
_LATEST, _MOST = 2.5e11, 1 << 53
_STATUSES = {status.value.encode(): status for status in EntryStatus}
_FAILURES = {failure.value.encode(): failure for failure in Failure}

#: seq, occurrence, execution, budget, attempts, rollback_of, fingerprint version; spent, started, ended, duration;
#: left, survived, at_most_once, and which of ended, rollback_of, error and payload are there; lengths of 10 texts.
_entry_head = struct.Struct("<7q4d7B10Q").pack
#: size; lengths of the reference and of the libraries.
_stored_head = struct.Struct("<q2Q").pack
#: Beside the bit for the payload: these follow.
_STORED = 2
#: seq, budget, number; started, duration, delay; is there a delay; length of the error.
_attempt_head = struct.Struct("<3q3dBQ").pack


class Damaged(ValueError):  # noqa: N818  an internal signal, not an error that anybody sees
    """A row holds what no writer of ours put there."""


def place(run_id: int, seq: int) -> int:
    """Return the row id of an entry: run and seq in one number, so that a commit touches one b-tree page.

    Raises:
        StoreError: if ``seq`` is no number of an entry; it would be another run's row.
    """
    if not 0 <= seq < 1 << _SEQ_BITS:
        raise StoreError(f"an entry's number must be 0 or more and fit in {_SEQ_BITS} bits, not {seq}")
    return run_id << _SEQ_BITS | seq


def whole(value: object) -> int:
    """Return a number of a row.

    Raises:
        Damaged: if it isn't one.
    """
    if not isinstance(value, int):
        raise Damaged(f"a number was expected, not {value!r:.40}")
    return value


def text_of(value: object) -> str:
    """Read a text of a row that isn't signed, as far as it makes sense."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def clean(text: str) -> bytes:
    """Encode text; lone surrogates, which a file's odd bytes become in Python, are written as ``\\udc80``."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def identity(table: str, journal_id: str, run_id: int, run: RunId) -> bytes:
    """Return what the marks of a run's rows begin with."""
    parts = [clean(part) for part in (table, journal_id, run.workflow, run.key)]
    return struct.pack("<q4Q", run_id, *map(len, parts)) + b"".join(parts)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(value), default=str).encode()


# --- writing ------------------------------------------------------------------------------


def entry_row(entry: Entry, who: bytes, signer: Signer) -> tuple[Any, ...]:
    """Return the columns of an entry, signed."""
    code, payload = entry.code, entry.payload
    texts = (
        entry.name, entry.serializer, entry.value_type, entry.note, code.inputs, code.fingerprint, code.source,
        entry.blob, entry.libraries,
    )  # fmt: skip
    try:
        name, serializer, value_type, note, inputs, fingerprint, source, blob, libraries = [
            text.encode() for text in texts
        ]
    except UnicodeEncodeError:
        return entry_row(_without_surrogates(entry), who, signer)
    status, failure = entry.status.encode(), entry.failure.encode()
    error = None if entry.error is None else _json(entry.error)
    ended = None if entry.ended_at is None else float(entry.ended_at)
    spent, started, duration = float(entry.spent), float(entry.started_at), float(entry.duration)
    left, survived, once = int(entry.left), int(entry.survived), int(entry.at_most_once)
    head = _head(
        (
            entry.seq, name, entry.occurrence, status, entry.execution, entry.budget, entry.attempts, spent, started,
            ended, duration, failure, left, survived, entry.rollback_of, once, serializer, value_type, note, inputs,
            fingerprint, code.version, error, source, None, payload, blob, entry.size, libraries,
        ),
        who,
    )  # fmt: skip
    # Texts are bound as text, so that the file can be read with any SQLite tool.
    return (
        entry.name, entry.occurrence, str(entry.status), entry.execution, entry.budget, entry.attempts, spent, started,
        ended, duration, str(entry.failure), left, survived, entry.rollback_of, once, entry.serializer,
        entry.value_type, entry.note, code.inputs, code.fingerprint, code.version,
        None if error is None else error.decode(), code.source, signer.mark(head, payload or b""), payload,
        entry.blob, entry.size, entry.libraries,
    )  # fmt: skip


def _without_surrogates(entry: Entry) -> Entry:
    def mend(text: str) -> str:
        return clean(text).decode()

    code = entry.code
    return entry._replace(
        name=mend(entry.name),
        serializer=mend(entry.serializer),
        value_type=mend(entry.value_type),
        note=mend(entry.note),
        libraries=mend(entry.libraries),
        code=code._replace(inputs=mend(code.inputs), fingerprint=mend(code.fingerprint), source=mend(code.source)),
    )


def attempt_row(attempt: Attempt, who: bytes, signer: Signer) -> tuple[Any, ...]:
    """Return the columns of an attempt, signed."""
    error = _json(attempt.error)
    delay = None if attempt.delay is None else float(attempt.delay)
    numbers = (attempt.seq, attempt.budget, attempt.number, float(attempt.started_at), float(attempt.duration), delay)
    return (*numbers, error.decode(), signer.mark(_attempt_bytes((*numbers, error), who)))


def _attempt_bytes(row: tuple[Any, ...], who: bytes) -> bytes:
    seq, budget, number, started, duration, delay, error = row
    there = delay is not None
    head = _attempt_head(seq, budget, number, started, duration, delay if there else 0, there, len(error))
    return b"".join((who, head, error))


def _head(row: tuple[Any, ...], who: bytes) -> bytes:
    """Return the bytes under an entry's mark, but the payload: one way for writing and reading."""
    (
        seq, name, occurrence, status, execution, budget, attempts, spent, started, ended, duration, failure, left,
        survived, rollback_of, once, serializer, value_type, note, inputs, fingerprint, version, error, source,
        _, payload, blob, size, libraries,
    ) = row  # fmt: skip
    there, stored = int(payload is not None), b""
    if blob or size != 0 or libraries:
        there |= _STORED
        stored = b"".join((_stored_head(size, len(blob), len(libraries)), blob, libraries))
    return b"".join(
        (
            who,
            _entry_head(
                seq, occurrence, execution, budget, attempts, -1 if rollback_of is None else rollback_of, version,
                spent, started, 0.0 if ended is None else ended, duration,
                left, survived, once, ended is not None, rollback_of is not None, error is not None,
                there,
                len(name), len(status), len(failure), len(serializer), len(value_type), len(note), len(inputs),
                len(fingerprint), 0 if error is None else len(error), len(source),
            ),
            name, status, failure, serializer, value_type, note, inputs, fingerprint, error or b"", source,
            stored,
        )
    )  # fmt: skip


# --- reading ------------------------------------------------------------------------------


def entries_from(rows: Iterable[tuple[Any, ...]], who: bytes, signer: Signer, *, values: bool = True) -> list[Entry]:
    """Check rows (seq and :data:`ENTRY_COLUMNS`, by seq) and return their entries, without ``values`` lighter ones.

    Raises:
        Damaged: if the rows are not in order, which only a damaged file can be.
    """
    with pause_gc():
        return _entries_from(rows, who, signer, _entry if values else _light)


def _entries_from(
    rows: Iterable[tuple[Any, ...]], who: bytes, signer: Signer, make: Callable[[tuple[Any, ...]], Entry]
) -> list[Entry]:
    entries: list[Entry] = []
    add, same, mark_of, last = entries.append, hmac.compare_digest, signer.mark, -1
    for row in rows:
        if row[0] <= last:
            raise Damaged("entries out of order")
        last = row[0]
        try:
            authentic = same(row[24], mark_of(_head(row, who), row[25] or b""))
            add(make(row) if authentic else _damaged(row))
        except (struct.error, TypeError, ValueError, KeyError, AttributeError):
            add(_damaged(row))  # not even the types are right
    return entries


def refers_to(row: tuple[Any, ...], blob: str, who: bytes, signer: Signer) -> bool:
    """Tell whether a row is authentic, refers to its value in this way, and has bytes."""
    try:
        matching = row[26] == blob.encode() and isinstance(row[25], bytes)
        return matching and signer.matches(row[24], _head(row, who), row[25])
    except (struct.error, TypeError, ValueError, AttributeError):
        return False


def untrusted_from(rows: Iterable[tuple[Any, ...]], *, values: bool = True) -> list[Entry]:
    """Return entries for looking at: unchecked and marked so, with values only where reading them is harmless."""
    entries = []
    for row in rows:
        try:
            _check_plausible(row)
            entry = _entry(row) if values else _light(row)
            payload = entry.payload if entry.serializer == "json" else None
            entries.append(entry._replace(payload=payload, intact=False))
        except (struct.error, TypeError, ValueError, KeyError, AttributeError, RecursionError):
            entries.append(_damaged(row))
    return entries


def _check_plausible(row: Sequence[Any]) -> None:
    """Refuse a row that no mark vouches for if no writer of ours can have written it: it must not trip who shows it.

    Raises:
        struct.error, TypeError, ValueError, AttributeError, RecursionError: if so.
    """
    _head(tuple(row), b"")  # all types, and what fits in them
    error, payload, (spent, started, ended, duration) = row[22], row[25], row[7:11]
    if not all(-_LATEST <= time <= _LATEST for time in (spent, started, ended or 0.0, duration)):
        raise Damaged("impossible times")  # or NaN
    if not all(0 <= number < _MOST for number in (row[0], *row[2:3], *row[4:7], row[27])):
        raise Damaged("impossible numbers")
    if not isinstance(payload, (bytes, NoneType)) or not (error is None or isinstance(json.loads(error), dict)):
        raise Damaged("something else than a value, or than an error")


def _entry(row: tuple[Any, ...]) -> Entry:
    (
        seq, name, occurrence, status, execution, budget, attempts, spent, started, ended, duration, failure, left,
        survived, rollback_of, once, serializer, value_type, note, inputs, fingerprint, version, error, source,
        _, payload, blob, size, libraries,
    ) = row  # fmt: skip
    code = _NO_CODE
    if source or inputs or fingerprint or version:
        code = _new(StepCode, (source.decode(), inputs.decode(), fingerprint.decode(), version))
    # As a tuple: their own constructors take twice as long, and a long run has 10,000 of each.
    return _new(
        Entry,
        (
            seq, name.decode(), occurrence, _STATUSES[status], execution, budget, attempts, spent, started, ended,
            duration, serializer.decode(), None if blob else payload, value_type.decode(),
            None if error is None else json.loads(error), _FAILURES[failure], left == 1, survived == 1, rollback_of,
            once == 1, note.decode(), code, True, (), size, blob.decode(), libraries.decode(),
        ),
    )  # fmt: skip


def _light(row: tuple[Any, ...]) -> Entry:
    """Return an entry without the bytes of its value, which its size tells."""
    entry = _entry(row)
    if entry.payload is None:
        return entry
    return entry._replace(payload=None, size=entry.size or len(entry.payload))


def _damaged(row: tuple[Any, ...]) -> Entry:
    """Return what can be said of a row that isn't believed: where it is and what it calls itself."""
    seq, name, occurrence, status = row[:4]
    return Entry(
        seq,
        name.decode("utf-8", "replace") if isinstance(name, bytes) else "?",
        occurrence if isinstance(occurrence, int) else 0,
        _STATUSES.get(status, EntryStatus.RUNNING) if isinstance(status, bytes) else EntryStatus.RUNNING,
        intact=False,
    )


# --- signing what another key has signed ---------------------------------------------------


def entry_mark(row: Sequence[Any], who: bytes, signer: Signer) -> bytes:
    """Return the mark of a row (seq and :data:`ENTRY_COLUMNS`) as it stands there, whoever wrote it.

    Raises:
        struct.error, TypeError, ValueError, KeyError, AttributeError: if no writer of ours can have written it.
    """
    values = tuple(row)
    _check_plausible(values)
    _entry(values)
    return signer.mark(_head(values, who), values[25] or b"")


def attempt_mark(row: Sequence[Any], who: bytes, signer: Signer) -> bytes:
    """Return the mark of a row of :data:`ATTEMPT_COLUMNS`, as :func:`entry_mark` does."""
    seq, budget, number, started, duration, delay, error = row[:7]
    if not all(-_LATEST <= time <= _LATEST for time in (started, duration, delay or 0.0)):
        raise Damaged("impossible times")
    if not all(0 <= one < _MOST for one in (seq, budget, number)) or not isinstance(json.loads(error), dict):
        raise Damaged("impossible numbers, or something else than an error")
    return signer.mark(_attempt_bytes(tuple(row[:7]), who))


def attempts_from(rows: Iterable[tuple[Any, ...]], who: bytes, signer: Signer) -> list[Attempt]:
    """Check rows of :data:`ATTEMPT_COLUMNS` and return the attempts that are authentic."""
    attempts = []
    for *row, mark in rows:
        try:
            if signer.matches(mark, _attempt_bytes(tuple(row), who)):
                seq, budget, number, started, duration, delay, error = row
                attempts.append(Attempt(seq, budget, number, started, duration, json.loads(error), delay))
        except (struct.error, TypeError, ValueError):
            continue  # not even the types are right
    return attempts
