"""The signed rows of a journal one by one, each with what it would be signed with: for signing a journal anew."""

from __future__ import annotations

import hmac
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from notebook_durable.errors import ConfigurationError
from notebook_durable.model import RunId
from notebook_durable.stores import extras, rows
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.rows import PLACES, text_of

__all__ = ["BLOB", "DETACHED", "ENTRIES", "MAILBOX", "NAME", "PAYLOAD", "SERIALIZER", "Row", "Table", "runs_of", "walk"]

#: Where these lie in a row of ``entries`` or ``detached``.
NAME, SERIALIZER, PAYLOAD, BLOB = 1, 16, 25, 26

Marking = Callable[[Sequence[Any], bytes, Signer], bytes]


class Table(NamedTuple):
    """A table with signed rows.

    Attributes:
        name: its name, which is under the marks.
        ids: lists the numbers of a run's rows; takes the run's number as often as ``takes`` says.
        row: reads one row by such a number, without it.
        where: the column that the number is in.
        mark: where in the row the mark is.
        sign: makes the mark of a row.
    """

    name: str
    ids: str
    takes: int
    row: str
    where: str
    mark: int
    sign: Marking


class Row(NamedTuple):
    """A row: of which table and run, its number, what it says, and what marks of its run begin with."""

    table: Table
    run_id: int
    run: RunId
    number: int
    values: Sequence[Any]
    who: bytes

    def is_marked_by(self, signer: Signer) -> bool:
        """Tell whether its mark was made with this key, over what it says, where it is."""
        try:
            mark = self.values[self.table.mark]
            return isinstance(mark, bytes) and hmac.compare_digest(mark, self.signed(signer))
        except ValueError:
            return False

    def signed(self, signer: Signer, blob: str | None = None) -> bytes:
        """Return its mark with this key, if the value lies at ``blob`` then.

        Raises:
            ValueError: if no writer of ours can have written it.
        """
        values = list(self.values)
        if blob is not None:
            values[BLOB] = blob.encode()
        try:
            return self.table.sign(values, self.who, signer)
        except (struct.error, TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"it holds what no version of notebook_durable writes ({error})") from error


def _sign_message(values: Sequence[Any], who: bytes, signer: Signer) -> bytes:
    seq, ask, text, serializer, value_type, payload, at, _ = values
    return extras.message_mark(seq, [ask, text, serializer, value_type], payload, at, who, signer)


def _sign_extra(values: Sequence[Any], who: bytes, signer: Signer) -> bytes:
    seq, preview, outputs, _ = values
    return extras.extra_mark(seq, preview, outputs, who, signer)


_PLACED = f"SELECT place FROM {{}} WHERE {PLACES} ORDER BY place"  # noqa: S608
_SEQ = "place & 4294967295"
ENTRIES = Table(
    "entries", _PLACED.format("entries"), 2, f"SELECT {_SEQ}, {rows.ENTRY_COLUMNS} FROM entries WHERE place = ?",  # noqa: S608
    "place", 24, rows.entry_mark,
)  # fmt: skip
DETACHED = Table(
    "detached", "SELECT id FROM detached WHERE run_id = ? ORDER BY id", 1,
    f"SELECT seq, {rows.ENTRY_COLUMNS} FROM detached WHERE id = ?", "id", 24, rows.entry_mark,  # noqa: S608
)  # fmt: skip
_ATTEMPTS = Table(
    "attempts", "SELECT rowid FROM attempts WHERE run_id = ?", 1,
    f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempts WHERE rowid = ?", "rowid", 7, rows.attempt_mark,  # noqa: S608
)  # fmt: skip
_EXTRAS = Table(
    "extras", _PLACED.format("extras"), 2, f"SELECT {_SEQ}, preview, outputs, mark FROM extras WHERE place = ?",  # noqa: S608
    "place", 3, _sign_extra,
)  # fmt: skip
MAILBOX = Table(
    "mailbox", "SELECT id FROM mailbox WHERE run_id = ? ORDER BY id", 1,
    "SELECT seq, ask, text, serializer, value_type, payload, at, mark FROM mailbox WHERE id = ?", "id", 7,
    _sign_message,
)  # fmt: skip
_TABLES = (ENTRIES, DETACHED, _ATTEMPTS, _EXTRAS, MAILBOX)


def runs_of(connection: sqlite3.Connection) -> Iterator[tuple[int, RunId | None, str]]:
    """List the runs: number, name (None if it can't be one), and the name as it stands there."""
    for run_id, workflow, key in connection.execute("SELECT id, workflow, key FROM runs ORDER BY id").fetchall():
        label = f"{text_of(workflow)}[{text_of(key)}]" if key else text_of(workflow)
        try:
            yield run_id, RunId(text_of(workflow), text_of(key)), label
        except ConfigurationError:
            yield run_id, None, label


def walk(connection: sqlite3.Connection, journal_id: str) -> Iterator[Row]:
    """Read all signed rows, one at a time: a run may be larger than the memory. They may be changed meanwhile."""
    for run_id, run, _ in runs_of(connection):
        if run is None:
            continue
        for table in _TABLES:
            who = rows.identity(table.name, journal_id, run_id, run)
            for (number,) in connection.execute(table.ids, (run_id,) * table.takes).fetchall():
                values = connection.execute(table.row, (number,)).fetchone()
                if values is not None:  # else somebody has just deleted it
                    yield Row(table, run_id, run, number, values, who)
