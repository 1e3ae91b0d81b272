"""The part of the SQLite store that shows what is recorded, and takes messages for whoever executes a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from notebook_durable.errors import DamagedValueError
from notebook_durable.model import Attempt, Entry, ExecutionInfo, Extra, Message, Payload, RunId, RunInfo
from notebook_durable.stores import extras, rows, runs, texts
from notebook_durable.stores.trust_part import TrustPart

__all__ = ["LookPart"]

_GET = f"""
    SELECT place & 4294967295, {rows.ENTRY_COLUMNS} FROM entries WHERE place BETWEEN ? AND ? ORDER BY place
"""  # noqa: S608  only names of ours are put in, here and below
_GET_ATTEMPTS = f"""
    SELECT {rows.ATTEMPT_COLUMNS} FROM attempts WHERE run_id = ? AND seq = ? ORDER BY budget, number
"""  # noqa: S608
_GET_DETACHED = f"SELECT CAST(seq AS INTEGER), {rows.ENTRY_COLUMNS} FROM detached WHERE run_id = ? ORDER BY id"  # noqa: S608


class LookPart(TrustPart):
    """Reads; a journal of another key only as far as that is harmless."""

    def attempts(self, run_id: int, seq: int) -> Sequence[Attempt]:
        """Return the failed attempts of an entry, oldest first, without those that fail their check."""
        if not self._trusted:
            return ()
        with self._reading() as connection:
            found = connection.execute(_GET_ATTEMPTS, (run_id, seq)).fetchall()
            if not found:
                return ()
            run = runs.find(connection, run_id, self.location).run
        return rows.attempts_from(found, self._identity("attempts", run_id, run), self._signer)

    def runs(self, workflow: str | None = None, *, archived: bool = False) -> Sequence[RunInfo]:
        """List runs, newest first. One whose kernel died is still "running", with no owner."""
        with self._reading() as connection:
            infos = runs.listed(connection, workflow, archived)
        return [info if self._is_executed(info) else runs.without_owner(info) for info in infos]

    def read(self, run_id: int, seqs: Collection[int] | None = None, *, values: bool = True) -> Sequence[Entry]:
        """Return the entries of any run, or some of them, as ``entries`` does; if so wished without values' bytes."""
        with self._reading() as connection:
            run = runs.find(connection, run_id, self.location).run
        if seqs is None:
            return self._entries(run_id, run, values=values)
        return [entry for seq in sorted(seqs) for entry in self._entries(run_id, run, seq, values=values)]

    def _entries(self, run_id: int, run: RunId, seq: int | None = None, *, values: bool = True) -> list[Entry]:
        first = rows.place(run_id, seq or 0)
        last = first | 0xFFFFFFFF if seq is None else first
        with self._reading() as connection:
            found = connection.execute(_GET, (first, last))
            try:
                if not self._trusted:
                    return rows.untrusted_from(found, values=values)
                return rows.entries_from(found, self._identity("entries", run_id, run), self._signer, values=values)
            finally:
                found.close()  # else its snapshot stays open and the log grows

    def payload(self, run_id: int, entry: Entry) -> Payload:
        """Return the value of an entry, verified; large buffers are private maps of its file."""
        if entry.payload is None and not entry.blob:
            entry = next(iter(self.read(run_id, (entry.seq,))), entry)  # the caller didn't keep the bytes
        self._check_usable()
        if not self._trusted:
            return self._plain(entry)
        if not entry.intact:
            raise DamagedValueError(str(entry.key), "its row in the journal was changed")
        return self._kept.payload(entry, lambda one: self._row_bytes(run_id, one))

    def _row_bytes(self, run_id: int, entry: Entry) -> bytes | None:
        """Return what lies in an entry's row, or in that of a detached one, if it is authentic."""
        with self._reading() as connection:
            run = runs.find(connection, run_id, self.location).run
            first = rows.place(run_id, entry.seq)
            for table, query, given in (("entries", _GET, (first, first)), ("detached", _GET_DETACHED, (run_id,))):
                who = self._identity(table, run_id, run)
                for row in connection.execute(query, given).fetchall():
                    if row[0] == entry.seq and rows.refers_to(row, entry.blob, who, self._signer):
                        return bytes(row[25])
        return None

    def detached(self, run_id: int) -> Sequence[Entry]:
        """Return what was recorded for a run by a kernel that had lost it, oldest first."""
        with self._reading() as connection:
            run = runs.find(connection, run_id, self.location).run
            found = connection.execute(_GET_DETACHED, (run_id,)).fetchall()
        if not self._trusted:
            return rows.untrusted_from(found)
        who = self._identity("detached", run_id, run)
        # One by one: several kernels may each have left an entry with the same number.
        return [entry for row in found for entry in rows.entries_from((row,), who, self._signer)]

    def executions(self, run_id: int) -> Sequence[ExecutionInfo]:
        """List the executions of a run, oldest first."""
        with self._reading() as connection:
            return runs.executions(connection, run_id)

    def texts(self, ids: Collection[str]) -> Mapping[str, str]:
        """Return the texts of these ids, without those that are not what their id says."""
        with self._reading() as connection:
            return texts.read(connection, ids)

    def extras(self, run_id: int, seqs: Collection[int] | None = None) -> Mapping[int, Extra]:
        """Return what is kept for people with these entries, or with all of a run."""
        with self._reading() as connection:
            run = runs.find(connection, run_id, self.location).run
            who = self._identity("extras", run_id, run)
            return extras.read(connection, run_id, seqs, who, self._signer, self._trusted)

    def shown(self, run_id: int) -> Collection[int]:
        """Return the entries that have outputs, without reading these."""
        with self._reading() as connection:
            return extras.shown(connection, run_id)

    def post(self, run_id: int, message: Message) -> None:
        """Leave a message for whoever executes a run, or will; on disk when this returns."""
        self._check_trusted()
        with self._transaction() as connection:
            self._check_key(connection)
            run = runs.find(connection, run_id, self.location).run
            extras.post(connection, run_id, message, self._identity("mailbox", run_id, run), self._signer)

    def inbox(self, run_id: int) -> Sequence[Message]:
        """Return the messages of a run, oldest first, without those that fail their check."""
        with self._reading() as connection:
            if connection.execute("SELECT 1 FROM mailbox WHERE run_id = ? LIMIT 1", (run_id,)).fetchone() is None:
                return ()
            run = runs.find(connection, run_id, self.location).run
            return extras.inbox(connection, run_id, self._identity("mailbox", run_id, run), self._signer)

    def discard(self, run_id: int, ids: Collection[int]) -> None:
        """Delete messages."""
        with self._transaction() as connection:
            extras.discard(connection, run_id, ids)
