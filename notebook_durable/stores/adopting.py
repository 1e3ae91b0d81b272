"""Writing an imported run into the database: its rows in one transaction, its values before that."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from notebook_durable.errors import ConfigurationError, quoted
from notebook_durable.model import Entry, Outcome, RunId, RunStatus
from notebook_durable.stores import export_values, extras, rows, texts
from notebook_durable.stores.blobs import LARGEST_IN_PACK
from notebook_durable.stores.export_rows import Misread
from notebook_durable.stores.folder import free_space
from notebook_durable.stores.incoming import Incoming
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.layout import Misshapen, shape_of
from notebook_durable.stores.references import row_reference
from notebook_durable.stores.runs import Run, newest, ranges_text
from notebook_durable.stores.values import Values

__all__ = ["check_name", "check_room", "cut", "placed", "write", "write_values"]

_COLUMNS = rows.ENTRY_COLUMNS
_MARKS = ", ".join("?" * (len(_COLUMNS.split(", ")) + 1))
_ENTRY = f"INSERT INTO entries (place, {_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608  only names of ours are put in
_ATTEMPT = f"INSERT OR REPLACE INTO attempts (run_id, {rows.ATTEMPT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_RUN = """
    INSERT INTO runs (workflow, key, number, status, archived, created_at, ended_at, epoch, notebook, owner, since)
    VALUES (?, ?, ?, ?, 0, ?, ?, 0, NULL, '{}', ?)
"""


def check_name(present: object, run: RunId, found: Incoming) -> None:
    """Refuse to take the place of a run.

    Raises:
        ConfigurationError: if there is one.
    """
    if present is not None:
        # What was agreed to already is typed again: else this and the next message would send people in a circle.
        agreed = ("" if found.signed or not found.trusted else " --trust") + ("" if found.values else " --no-values")
        typed = quoted(str(found.archive.path)) + agreed
        raise ConfigurationError(
            f"there is a run '{run}' already, so nothing was imported. Type one of\n"
            f"    %durable import {typed} --as NAME       (under another name)\n"
            f"    %durable import {typed} --replace       (in its place: the present one is archived, not deleted)"
        )


def check_room(folder: Path, size: int) -> None:
    """Refuse what doesn't fit on the disk before any of it is written.

    Raises:
        OSError: as the system would, when it is too late.
    """
    free = free_space(folder)
    if free is not None and free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


# --- values -------------------------------------------------------------------------------


def write_values(found: Incoming, folder: Path, signer: Signer, kept: Values) -> dict[int, str]:
    """Write the values that are too large for rows; return by entry where they lie. The caller holds the gate.

    Raises:
        OSError: if they can't be written; what was is litter.
        Misread: if the file changed since it was checked.
    """
    places: dict[int, str] = {}
    try:
        for seq, member in found.members.items():
            pieces = found.archive.pieces(seq, member)
            if member.length > LARGEST_IN_PACK:
                places[seq] = str(export_values.keep(folder, signer, pieces, member.length))
            else:
                data, buffers = cut(b"".join(pieces))
                places[seq] = str(kept.blobs.write(data, [memoryview(buffer) for buffer in buffers]))
        kept.blobs.wait()
    except BaseException:
        kept.blobs.give_up()
        raise
    return places


def placed(entry: Entry, blob: str) -> Entry:
    """Return an entry as its row is to be: with what says where its value lies, or with its value."""
    if blob or entry.payload is None:
        return entry._replace(payload=None, buffers=(), blob=blob)
    if not entry.buffers:
        return entry
    lengths = [len(entry.payload), *map(len, entry.buffers)]
    return entry._replace(payload=b"".join((entry.payload, *entry.buffers)), buffers=(), blob=row_reference(lengths))


def cut(image: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Cut a value as ``layout`` writes it into data and buffers.

    Raises:
        Misread: if it is none.
    """
    try:
        shape = shape_of(image, len(image))
    except Misshapen as error:
        raise Misread(f"a value of it can't be read: {error}") from error
    return image[slice(*shape.data)], tuple(image[slice(*span)] for span in shape.buffers)


# --- rows ---------------------------------------------------------------------------------


def write(
    connection: sqlite3.Connection,
    found: Incoming,
    run: RunId,
    entry_of: Callable[[Entry], Entry],
    who: Callable[[str, int], bytes],
    signer: Signer,
    *,
    now: float,
) -> tuple[int, int]:
    """Write the run in the caller's transaction, archiving the one whose place it takes; return its id and number.

    Args:
        connection: in a transaction.
        found: the run.
        run: the name that it gets.
        entry_of: gives an entry as its row is to be.
        who: gives what the marks of a table's rows begin with, for a run.
        signer: signs the rows.
        now: seconds since the epoch.
    """
    run_id, number = _run(connection, found, run, now)
    marks = {table: who(table, run_id) for table in ("entries", "attempts", "extras", "mailbox")}
    for kind, item, _ in found.rows():
        if kind == "entry":
            row = rows.entry_row(entry_of(item), marks["entries"], signer)
            connection.execute(_ENTRY, (rows.place(run_id, item.seq), *row))
        elif kind == "attempt":
            connection.execute(_ATTEMPT, (run_id, *rows.attempt_row(item, marks["attempts"], signer)))
        elif kind == "extra":
            seq, extra = item
            extras.keep(connection, run_id, seq, extra, marks["extras"], signer)
        elif kind == "message":
            extras.post(connection, run_id, item, marks["mailbox"], signer)
        else:
            texts.keep(connection, dict((item,)))
    return run_id, number


def _run(connection: sqlite3.Connection, found: Incoming, run: RunId, now: float) -> tuple[int, int]:
    replaced = newest(connection, run)
    if replaced is not None:
        _archive(connection, replaced, now)
    (last,) = connection.execute(
        "SELECT max(number) FROM runs WHERE workflow = ? AND key = ?", (run.workflow, run.key)
    ).fetchone()
    number = rows.whole(last or 0) + 1
    made = connection.execute(
        _RUN, (run.workflow, run.key, number, str(found.status), found.created_at, found.ended_at, now)
    )
    run_id = rows.whole(made.lastrowid)
    for one in found.executions:
        connection.execute(
            "INSERT INTO executions VALUES (?, ?, ?, ?, ?, '{}')",
            (run_id, one.number, one.started_at, one.ended_at, str(one.outcome)),
        )
        if one.used is not None:
            connection.execute("INSERT INTO used VALUES (?, ?, ?)", (run_id, one.number, ranges_text(one.used)))
    return run_id, number


def _archive(connection: sqlite3.Connection, run: Run, now: float) -> None:
    """Archive a run as ``--fresh`` does. The epoch grows: whoever still believes to hold it is refused."""
    connection.execute(
        "UPDATE executions SET outcome = ?, ended_at = ? WHERE run_id = ? AND outcome = ?",
        (Outcome.KILLED, now, run.id, Outcome.RUNNING),
    )
    status = RunStatus.INTERRUPTED if run.status is RunStatus.RUNNING else run.status
    connection.execute(
        "UPDATE runs SET archived = 1, epoch = epoch + 1, lease_until = NULL, status = ? WHERE id = ?",
        (str(status), run.id),
    )
