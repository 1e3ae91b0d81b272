"""Signing a journal that was written with another key anew: what ``%durable trust`` looks at, and does.

All rows change in one transaction, after the values were written under new names: a killed process leaves the journal
as it was, or trusted, and beside it at most files that nothing refers to, which the next ``gc`` takes.
"""

from __future__ import annotations

import functools
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from notebook_durable.errors import ConfigurationError, JournalUnwritableError
from notebook_durable.protocols import Findings, Problem
from notebook_durable.stores.blobs import Unbelievable
from notebook_durable.stores.folder import free_space
from notebook_durable.stores.keys import Signer, read_key
from notebook_durable.stores.references import ROW
from notebook_durable.stores.rows import text_of
from notebook_durable.stores.schema import Meta, maker
from notebook_durable.stores.trust_rows import (
    BLOB,
    DETACHED,
    ENTRIES,
    MAILBOX,
    NAME,
    PAYLOAD,
    SERIALIZER,
    Row,
    runs_of,
    walk,
)  # fmt: skip
from notebook_durable.stores.trust_values import Copier, look

__all__ = ["check_space", "examine", "made_by", "old_signer", "sign"]

_MOST_PROBLEMS = 1000
_WORDS = {"attempts": "a failed attempt", "extras": "preview and outputs of a step", "mailbox": "a message"}


def old_signer(key_file: Path | None, meta: Meta) -> Signer | None:
    """Read the key that a journal was written with.

    Raises:
        ConfigurationError: if it can't be read, or is another one.
    """
    if key_file is None:
        return None
    signer = Signer(read_key(key_file), str(key_file))
    if signer.key_id != meta.key_id:
        raise ConfigurationError(
            f"the key in {key_file} (id {signer.key_id}) is not the one that the journal was written with "
            f"(id {meta.key_id}). Nothing was done."
        )
    return signer


def made_by(meta: Meta) -> str:
    """Say who made a journal, as it says itself: "by ada on lab, with the key /home/ada/..."; "" if it doesn't."""
    user, host, path = (
        "".join(char if char.isprintable() else "?" for char in meta.made.get(name, "")[:300])
        for name in ("user", "host", "key_path")
    )
    parts = [f"by {user}" if user else "", f"on {host}" if host else "", f"with the key {path}" if path else ""]
    return " ".join(filter(None, parts))


class _Tally:
    """Counts what is found. A problem is found once, however many rows have it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self.damaged = 0

    def problem(self, kind: str, text: str, row: Row) -> None:
        self.damaged += 1
        if len(self.problems) < _MOST_PROBLEMS:
            seq = row.values[0] if isinstance(row.values[0], int) else -1
            step = text_of(row.values[NAME]) if row.table in (ENTRIES, DETACHED) else ""
            self.problems.append(Problem(kind, text, row.run_id, seq, step))

    def row(self, row: Row, why: str) -> None:
        what = _WORDS.get(row.table.name) or f"the row of step '{text_of(row.values[NAME])}'"
        self.problem("row", f"{what} in '{row.run}' {why}: it is not trusted", row)

    def value(self, row: Row, why: str) -> None:
        self.problem("value", f"the value of step '{text_of(row.values[NAME])}' in '{row.run}' is lost: {why}", row)


def examine(connection: sqlite3.Connection, folder: Path, meta: Meta, mine: str, old: Signer | None) -> Findings:
    """Look at everything that is signed, and believe nothing.

    Args:
        connection: for reading.
        folder: the journal's folder.
        meta: what the journal says of itself.
        mine: id of the key in use.
        old: the key that it was written with, if it is at hand: every mark and every value is checked then.
    """
    tally, seen = _Tally(), dict[str, int | Unbelievable]()
    for run_id, run, label in runs_of(connection):
        tally.counts["runs"] += 1
        if run is None:
            tally.damaged += 1
            tally.problems.append(Problem("row", f"run {run_id} has a name that can't be one: {label!r:.80}", run_id))
    for row in walk(connection, meta.journal_id):
        tally.counts[row.table.name] += 1
        wrong = _wrong(row, old)
        if wrong and (row.table is not MAILBOX or old is not None):
            tally.row(row, wrong)
        elif row.table in (ENTRIES, DETACHED) and not wrong:
            _count_value(row, folder, old, tally, seen)
    counts, size = tally.counts, sum(one for one in seen.values() if isinstance(one, int))
    return Findings(
        key_id=meta.key_id, mine=meta.key_id == mine, checked=old is not None, runs=counts["runs"],
        steps=counts["entries"] + counts["detached"], pickled=counts["pickled"], size=counts["size"],
        messages=counts["mailbox"], damaged=tally.damaged, problems=tuple(tally.problems), space=size,
    )  # fmt: skip


def _wrong(row: Row, old: Signer | None) -> str:
    try:
        row.signed(old or _any_key())
    except ValueError as error:
        return str(error)
    return "has a mark that this key didn't make" if old is not None and not row.is_marked_by(old) else ""


def _count_value(
    row: Row, folder: Path, old: Signer | None, tally: _Tally, seen: dict[str, int | Unbelievable]
) -> None:
    blob, payload = text_of(row.values[BLOB]), row.values[PAYLOAD]
    size = len(payload or b"")
    if blob and not blob.startswith(ROW):
        if blob not in seen:
            try:
                seen[blob] = look(folder, blob, old)
            except Unbelievable as error:
                seen[blob] = error
        found = seen[blob]
        if isinstance(found, Unbelievable):
            tally.value(row, str(found))
            return
        size = found
    if blob or payload is not None:
        tally.counts["size"] += size
        tally.counts["pickled"] += row.values[SERIALIZER] != b"json"


def check_space(folder: Path, references: Collection[str]) -> None:
    """Refuse to begin what won't fit: the values are there twice until the old ones are deleted.

    Args:
        folder: the journal's folder.
        references: where the values lie, as rows say it.

    Raises:
        JournalUnwritableError: if there is too little space.
    """
    free, wanted = free_space(folder), 0
    for text in references:
        with suppress(Unbelievable):
            wanted += look(folder, text, None)
    if free is not None and free < wanted + (16 << 20):
        raise JournalUnwritableError(
            str(folder),
            f"its values are written anew, which takes {wanted >> 20:,} MB, and {free >> 20:,} MB are free",
            "Free some space and type it again.",
        )


def sign(
    connection: sqlite3.Connection, meta: Meta, signer: Signer, old: Signer | None, copier: Copier,
    wait: Callable[[], None],
) -> Findings:  # fmt: skip
    """Sign all rows anew, in the caller's transaction.

    A row that is not believed keeps its old mark, and so is damaged from then on. A value that is lost stays lost: its
    row says where it was. Messages that nobody has taken up yet were checked by nobody, unless the old key is at hand:
    they are deleted.

    Args:
        connection: in a transaction.
        meta: what the journal says of itself.
        signer: the key in use.
        old: the key that it was written with, if it is at hand.
        copier: writes values anew.
        wait: waits until they are on the disk.
    """
    tally = _Tally()
    for row in walk(connection, meta.journal_id):
        tally.counts[row.table.name] += 1
        if row.table is MAILBOX and old is None:
            connection.execute("DELETE FROM mailbox WHERE id = ?", (row.number,))
            continue
        wrong = _wrong(row, old)
        if wrong:
            tally.row(row, wrong)
        elif row.table in (ENTRIES, DETACHED):
            _sign_entry(connection, row, signer, copier, tally)
        else:
            _set(connection, row, "mark = ?", row.signed(signer))
    wait()
    changes = {"key_id": signer.key_id, "trusted_from": meta.key_id, **maker(signer.path)}
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", changes.items())
    counts = tally.counts
    return Findings(
        key_id=meta.key_id, mine=True, checked=old is not None, runs=sum(1 for _ in runs_of(connection)),
        steps=counts["entries"] + counts["detached"], pickled=counts["pickled"], size=counts["size"],
        messages=counts["mailbox"], damaged=tally.damaged, problems=tuple(tally.problems), space=0,
    )  # fmt: skip


def _sign_entry(connection: sqlite3.Connection, row: Row, signer: Signer, copier: Copier, tally: _Tally) -> None:
    blob = text_of(row.values[BLOB])
    if blob and not blob.startswith(ROW):
        try:
            blob = copier.copy(blob)
        except Unbelievable as error:
            tally.value(row, str(error))
    _set(connection, row, "mark = ?, blob = ?", row.signed(signer, blob), blob)
    if blob or row.values[PAYLOAD] is not None:
        tally.counts["pickled"] += row.values[SERIALIZER] != b"json"


def _set(connection: sqlite3.Connection, row: Row, what: str, *values: object) -> None:
    table = row.table
    connection.execute(f"UPDATE {table.name} SET {what} WHERE {table.where} = ?", (*values, row.number))  # noqa: S608


@functools.cache
def _any_key() -> Signer:
    """Return what signs rows that are only looked at."""
    return Signer(bytes(32))
