"""Checking a whole journal: every row's mark, every value's bytes, and files that nothing needs. Changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from notebook_durable.model import RunId
from notebook_durable.parts import text_id
from notebook_durable.protocols import Checked, Problem
from notebook_durable.stores import extras, rows, texts
from notebook_durable.stores.blob_file import TEMPORARY
from notebook_durable.stores.blobs import Blobs
from notebook_durable.stores.folder import QUARANTINE
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.references import ROW, reference_from
from notebook_durable.stores.rows import text_of

__all__ = ["Progress", "User", "extent", "files", "is_needed", "rows_of", "users", "values_of"]

_PLACES = "place BETWEEN ? << 32 AND (? << 32) + 4294967295"
_ENTRIES = f"SELECT place & 4294967295, {rows.ENTRY_COLUMNS} FROM entries WHERE {_PLACES} ORDER BY place"  # noqa: S608
_DETACHED = f"SELECT CAST(seq AS INTEGER), {rows.ENTRY_COLUMNS} FROM detached WHERE run_id = ? ORDER BY id"  # noqa: S608
_ATTEMPTS = f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempts WHERE run_id = ?"  # noqa: S608
_EXTRAS = f"SELECT count(*) FROM extras WHERE {_PLACES}"  # noqa: S608
_EXTENT = """
    SELECT count(*), CAST(total(CASE WHEN size > 0 THEN size ELSE length(payload) END) AS INTEGER) FROM entries
"""
_USERS = """
    SELECT blob, place >> 32, place & 4294967295, name FROM entries WHERE blob != ''
    UNION ALL SELECT blob, run_id, seq, name FROM detached WHERE blob != ''
"""
_NEEDED = "SELECT 1 FROM entries WHERE blob = ? UNION ALL SELECT 1 FROM detached WHERE blob = ? LIMIT 1"


class User(NamedTuple):
    """An entry whose value lies outside of its row."""

    run_id: int
    seq: int
    step: str


def users(connection: sqlite3.Connection) -> dict[str, list[User]]:
    """Return the entries by the reference to their value."""
    found: dict[str, list[User]] = {}
    for blob, run_id, seq, name in connection.execute(_USERS):
        found.setdefault(text_of(blob), []).append(User(run_id, seq, text_of(name)))
    return found


def rows_of(connection: sqlite3.Connection, journal_id: str, signer: Signer) -> list[Problem]:
    """Check the database itself, and the marks of its rows."""
    problems = [
        Problem("database", text_of(said))
        for (said,) in connection.execute("PRAGMA quick_check(20)").fetchall()
        if text_of(said) != "ok"
    ]
    for run_id, workflow, key in connection.execute("SELECT id, workflow, key FROM runs ORDER BY id").fetchall():
        try:
            run = RunId(text_of(workflow), text_of(key))
        except ValueError as error:
            problems.append(Problem("row", f"run {run_id}: {error}", run_id))
            continue
        problems += _run(connection, run_id, run, journal_id, signer)
    problems += [
        Problem("text", f"the text '{text_of(name)}' of a function was changed")
        for name, text in connection.execute("SELECT id, text FROM texts").fetchall()
        if text_id(text_of(text), texts.hasher()) != text_of(name)
    ]
    return problems


def _run(connection: sqlite3.Connection, run_id: int, run: RunId, journal_id: str, signer: Signer) -> Iterator[Problem]:
    def who(table: str) -> bytes:
        return rows.identity(table, journal_id, run_id, run)

    # One by one: a run may be larger than the memory.
    for table, query, given in (("entries", _ENTRIES, (run_id, run_id)), ("detached", _DETACHED, (run_id,))):
        for row in connection.execute(query, given):
            (entry,) = rows.entries_from((row,), who(table), signer)
            if not entry.intact:
                said = "was changed or damaged: its step is run again"
                yield Problem("row", f"the row of step '{entry.key}' in '{run}' {said}", run_id, entry.seq, entry.name)
    with _at_one_moment(connection):  # else a row that comes between counting and reading looks like damage
        attempts = connection.execute(_ATTEMPTS, (run_id,)).fetchall()
        (extra,) = connection.execute(_EXTRAS, (run_id, run_id)).fetchone()
        shown = extras.read(connection, run_id, None, who("extras"), signer, trusted=True)
        (messages,) = connection.execute("SELECT count(*) FROM mailbox WHERE run_id = ?", (run_id,)).fetchone()
        told = extras.inbox(connection, run_id, who("mailbox"), signer)
    for what, there, good in (
        ("failed attempts", len(attempts), len(rows.attempts_from(attempts, who("attempts"), signer))),
        ("previews or outputs", extra, len(shown)),
        ("messages", messages, len(told)),
    ):
        if there != good:
            yield Problem("row", f"{there - good} {what} of '{run}' were changed or damaged: they are left out", run_id)


@contextmanager
def _at_one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Read what stood there at one moment, whatever others write meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


class Progress:
    """Tells how far the check is.

    Args:
        rows: how many rows of entries there are; they were checked.
        size: bytes of all values.
        tell: is told.
    """

    def __init__(self, rows: int, size: int, tell: Callable[[Checked], None] | None) -> None:
        self._rows, self._total, self._tell = rows, size, tell
        self._values = self._done = 0

    def start(self, lengths: Iterable[int]) -> None:
        """What lies outside of rows is still to be read."""
        self._done = max(0, self._total - sum(lengths))
        self._say()

    def checked(self, length: int) -> None:
        """One of these was."""
        self._values += 1
        self._done += length
        self._say()

    def _say(self) -> None:
        if self._tell is not None:
            self._tell(Checked(self._rows, self._values, self._done, max(self._total, self._done)))


def extent(connection: sqlite3.Connection) -> tuple[int, int]:
    """Count the rows of entries, and the bytes of their values."""
    rows_, size = connection.execute(_EXTENT).fetchone()
    return int(rows_), int(size)


def is_needed(connection: sqlite3.Connection, reference: str) -> bool:
    """Tell whether an entry refers to a value now."""
    return connection.execute(_NEEDED, (reference, reference)).fetchone() is not None


def values_of(
    known: Mapping[str, Sequence[User]], blobs: Blobs, progress: Progress, is_needed: Callable[[str], bool]
) -> Iterator[Problem]:
    """Check the bytes of all values that lie in files.

    Args:
        known: the entries by the reference to their value.
        blobs: reads them.
        progress: is told.
        is_needed: tells whether an entry still refers to a value: else it was deleted on purpose meanwhile.
    """
    references = {text: reference_from(text) for text in known if not text.startswith(ROW)}  # else under a row's mark
    progress.start(reference.length for reference in references.values() if reference)
    for text, reference in references.items():
        entries = known[text]
        wrong = blobs.check(reference) if reference else "where it lies is not said in a way that this version knows"
        progress.checked(reference.length if reference else 0)
        if wrong and not is_needed(text):
            continue
        for user in entries if wrong else ():
            yield Problem("value", f"the value of step '{user.step}' is damaged: {wrong}", *user)


def files(folder: Path, idle: Collection[Path]) -> Iterator[Problem]:
    """Name files that nothing needs, and what was set aside."""
    for path in idle:
        litter = path.suffix == TEMPORARY
        said = "is left from a crash" if litter else "holds values that no entry refers to"
        yield Problem("litter" if litter else "unused", f"{path} {said}: %durable gc deletes it")
    for path in sorted((folder / QUARANTINE).glob("*")):
        yield Problem("quarantine", f"{path} was set aside: its bytes are not what was recorded. Delete it by hand")
