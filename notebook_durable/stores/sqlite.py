"""The journal in one SQLite file: one small transaction per call, on disk when ``record`` returns."""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from notebook_durable.errors import (
    DamagedValueError,
    JournalUnwritableError,
    RunBusyError,
    RunOpenError,
    RunTakenOverError,
    StoreError,
)
from notebook_durable.model import (
    Attempt,
    Claim,
    Entry,
    ExecutionInfo,
    Extra,
    Message,
    Outcome,
    Owner,
    Payload,
    RunId,
    RunInfo,
    RunStatus,
)
from notebook_durable.protocols import Adopted, Checked, DiskUsage, Exported, Problem, Record
from notebook_durable.stores import (
    adopting,
    checking,
    collecting,
    export_values,
    exporting,
    extras,
    folder,
    lease,
    rows,
    runs,
    texts,
)
from notebook_durable.stores.connections import Connections
from notebook_durable.stores.driver import DRIVER_ERRORS, translate
from notebook_durable.stores.incoming import Incoming, incoming
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.locks import AlreadyHeldError, RunLocks
from notebook_durable.stores.room import LARGE, room_of
from notebook_durable.stores.runs import Run
from notebook_durable.stores.trust_part import TrustPart
from notebook_durable.stores.values import Values, is_plain

__all__ = ["SqliteStore"]

_NAMES = rows.ENTRY_COLUMNS
_MARKS = ", ".join("?" * len(_NAMES.split(", ")))
_UPDATES = ", ".join(f"{name} = excluded.{name}" for name in _NAMES.split(", "))
#: The epoch is checked in the statement itself: nothing can come between. An entry that was begun is updated where it
#: lies, so a commit writes one page.
_PUT = f"""
    INSERT INTO entries (place, {_NAMES})
    SELECT ?, {_MARKS}
    WHERE EXISTS (SELECT 1 FROM runs WHERE id = ? AND epoch = ?)
    ON CONFLICT (place) DO UPDATE SET {_UPDATES}
"""  # noqa: S608  only names of ours are put in, here and below
_PUT_ATTEMPT = f"INSERT OR REPLACE INTO attempts (run_id, {rows.ATTEMPT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_PUT_DETACHED = f"INSERT INTO detached (run_id, seq, epoch, {_NAMES}) VALUES (?, ?, ?, {_MARKS})"  # noqa: S608
_GET = f"""
    SELECT place & 4294967295, {_NAMES} FROM entries WHERE place BETWEEN ? AND ? ORDER BY place
"""  # noqa: S608
_GET_ATTEMPTS = f"""
    SELECT {rows.ATTEMPT_COLUMNS} FROM attempts WHERE run_id = ? AND seq = ? ORDER BY budget, number
"""  # noqa: S608
_DROP = "DELETE FROM entries WHERE place = ?"
_GET_REFERENCES = "SELECT blob FROM entries WHERE blob != '' UNION SELECT blob FROM detached WHERE blob != ''"
_GET_DETACHED = f"SELECT CAST(seq AS INTEGER), {_NAMES} FROM detached WHERE run_id = ? ORDER BY id"  # noqa: S608

#: How often, and how many seconds apart, a claim tries to lock: somebody who only looks (``RunLocks.is_held``) holds
#: the lock for some microseconds, and who has just taken it needs some milliseconds to write down who it is.
_TRIES, _TRY_AGAIN, _SURE_AFTER = 50, 0.01, 3


def _log_notice(text: str) -> None:
    logging.getLogger("notebook_durable").warning("%s", text)


class SqliteStore(TrustPart):
    """Keeps runs in ``journal.db`` of a folder; see the contract at ``protocols.Store``.

    Writing is for one thread at a time; ``runs``, ``read`` and ``attempts`` may be called from others meanwhile. A
    forked child can't use its parent's store, and doesn't keep its parent's runs.

    Args:
        path: the journal's folder (``.durable``), made if there is none.
        signer: signs what is written and checks what is read.
        on_notice: told in a sentence what the user should know, such as a network file system.
        network: whether ``path`` is on a network file system; None: find out.

    Raises:
        JournalFormatError: if something else is at ``path``, or a newer journal.
        JournalCorruptError: if its file is damaged.
        JournalUnwritableError: if it can't be made.
    """

    def __init__(
        self,
        path: Path,
        signer: Signer,
        *,
        on_notice: Callable[[str], None] = _log_notice,
        network: bool | None = None,
    ) -> None:
        # Absolute from now on: the store doesn't follow %cd.
        self._folder = Path(os.path.realpath(path))
        self._file = self._folder / folder.DATABASE
        self._signer, self._on_notice = signer, on_notice
        kind = folder.is_network(self._folder) if network is None else "as configured" if network else ""
        self._network = kind
        self._locks = RunLocks(self._folder)
        self._kept = Values(self._folder, signer)
        self._claims: dict[tuple[int, int], Claim] = {}
        self._marks: dict[int, tuple[RunId, bytes]] = {}
        self._leases: dict[tuple[int, int], lease.Lease] = {}
        #: What ``begin`` wrote since the last commit that waited, by place.
        self._unsynced: dict[object, tuple[object, ...]] = {}
        self._extras: dict[int, set[int]] = {}
        self._closed = False
        self._open()

    def _open(self) -> None:
        try:
            self._db = Connections(
                self._file, self._signer.key_id, self._network, self._on_notice, time.time(), self._signer.path
            )
        except DRIVER_ERRORS as error:
            raise translate(error, self._file) from error
        self._mine = self._db.meta.key_id == self._signer.key_id
        self._marks.clear()

    @property
    def location(self) -> str:
        """The journal's folder."""
        return str(self._folder)

    @property
    def largest_value(self) -> int:
        """Whatever fits on the disk."""
        return sys.maxsize

    # -- executing a run

    def claim(
        self,
        run: RunId,
        owner: Owner,
        *,
        now: float,
        notebook: str | None = None,
        fresh: bool = False,
        start_over_after: Collection[RunStatus] = (),
    ) -> Claim:
        """Take the newest run of this name and begin an execution; see ``protocols.Store.claim``."""
        self._reopen_if_gone()
        self._check_trusted()
        with self._locked(run, owner):
            with self._transaction() as connection:
                self._check_key(connection)
                found = runs.newest(connection, run)
                if self._network:
                    self._check_lease(found, owner, now)
                runs.check_notebook(found, run, notebook)
                claim = runs.take(
                    connection, run, owner, now=now, notebook=notebook, fresh=fresh,
                    start_over_after=start_over_after,
                    lease_until=now + lease.DURATION if self._network else None,
                )  # fmt: skip
            self._claims[claim.id, claim.epoch] = claim
            if self._network:
                renewing = self._leases[claim.id, claim.epoch] = lease.Lease(self._file, claim)
                renewing.start()
        return claim

    def entries(self, claim: Claim) -> Sequence[Entry]:
        """Return all entries of the run by ``seq``; one that fails its check has ``intact=False``."""
        return self._entries(claim.id, claim.run)

    def begin(self, claim: Claim, entry: Entry, *, wait: bool = False) -> None:
        """Write that an attempt begins; on disk already only with ``wait``."""
        if is_plain(entry):
            self._begin(claim, entry, wait)
            return
        with self._keeping(claim, (entry,)) as (kept,):
            self._begin(claim, kept, wait)

    def _begin(self, claim: Claim, entry: Entry, wait: bool) -> None:
        values = self._values(claim, entry)
        db = self._db
        with db.write_lock:
            self._check_usable()
            if wait:
                db.check_present()
            done = self._put(values, wait=wait)
            if not done:
                raise self._taken_over(claim, entry.name)

    def record(self, claim: Claim, entry: Entry, attempt: Attempt | None = None, extra: Extra | None = None) -> None:
        """Write an entry's new state, with a failed attempt and what is kept for people. On disk on return.

        A large value and its row are waited for side by side, if the row is one that ``begin`` wrote just before. So a
        power cut in this call may leave the row without its value: that is found out when the value is read, and the
        step runs again, as it would have with the row of ``begin``. Not so for a step that must not run twice.
        """
        if is_plain(entry):
            self._record(claim, entry, attempt, extra)
            return
        begun = self._unsynced.get(rows.place(claim.id, entry.seq))
        if begun is None or attempt is not None or entry.at_most_once:
            with self._keeping(claim, (entry,)) as (kept,):
                self._record(claim, kept, attempt, extra)
            return
        with self._keeping(claim, (entry,), wait=False) as (kept,):
            self._record(claim, kept, attempt, extra)
            try:
                self._kept.wait()
            except BaseException:
                self._withdraw(claim, entry.seq, begun)
                raise

    def _withdraw(self, claim: Claim, seq: int, begun: tuple[object, ...]) -> None:
        """Put an entry's row back whose value isn't on the disk. If that fails too, its value won't be believed."""
        with suppress(StoreError), self._transaction() as connection:
            if connection.execute(_PUT, begun).rowcount == 1 and seq in self._extras_of(claim):
                who = self._identity("extras", claim.id, claim.run)
                extras.keep(connection, claim.id, seq, None, who, self._signer)
                self._extras_of(claim).discard(seq)

    def _record(self, claim: Claim, entry: Entry, attempt: Attempt | None, extra: Extra | None) -> None:
        values = self._values(claim, entry)
        db = self._db
        with db.write_lock:
            self._check_usable()
            db.before_commit()
            if attempt is None and not extra and entry.seq not in self._extras_of(claim):
                done = self._put(values, wait=True)
            else:
                done = self._put_all(claim, entry, values, attempt, extra)
            if not done:
                self._detach(claim, (entry,))
                raise self._taken_over(claim, entry.name)

    def record_many(self, claim: Claim, records: Sequence[Record]) -> None:
        """Write the new states of several entries, in one transaction. On disk on return."""
        if not records:
            return
        with self._keeping(claim, [entry for entry, _, _ in records]) as kept:
            self._record_many(claim, [(one, *record[1:]) for one, record in zip(kept, records, strict=True)])

    def _record_many(self, claim: Claim, records: Sequence[Record]) -> None:
        values = [self._values(claim, entry) for entry, _, _ in records]
        who = self._identity("attempts", claim.id, claim.run)
        failed = [(claim.id, *rows.attempt_row(one, who, self._signer)) for _, one, _ in records if one is not None]
        with self._db.write_lock:
            self._check_usable()
            self._db.before_commit()
            self._unsynced.clear()
            with self._transaction() as connection:
                done = connection.executemany(_PUT, values).rowcount == len(values)
                if done:
                    connection.executemany(_PUT_ATTEMPT, failed)
                    self._put_extras(connection, claim, records)
            if not done:
                self._detach(claim, [entry for entry, _, _ in records])
                raise self._taken_over(claim, records[0][0].name)

    def _put_extras(self, connection: sqlite3.Connection, claim: Claim, records: Sequence[Record]) -> None:
        known, who = self._extras_of(claim), self._identity("extras", claim.id, claim.run)
        for entry, _, extra in records:
            if extra or entry.seq in known:
                extras.keep(connection, claim.id, entry.seq, extra, who, self._signer)
                (known.add if extra else known.discard)(entry.seq)

    def _put_all(
        self, claim: Claim, entry: Entry, values: tuple[object, ...], attempt: Attempt | None, extra: Extra | None
    ) -> bool:
        failed = None
        if attempt is not None:
            failed = rows.attempt_row(attempt, self._identity("attempts", claim.id, claim.run), self._signer)
        self._unsynced.clear()
        with self._transaction() as connection:
            done = connection.execute(_PUT, values).rowcount == 1
            if done:
                if failed is not None:
                    connection.execute(_PUT_ATTEMPT, (claim.id, *failed))
                known = self._extras_of(claim)
                if extra or entry.seq in known:
                    who = self._identity("extras", claim.id, claim.run)
                    extras.keep(connection, claim.id, entry.seq, extra, who, self._signer)
                    (known.add if extra else known.discard)(entry.seq)
        return done

    def _extras_of(self, claim: Claim) -> set[int]:
        """Return the entries of a run that have an extra, which another state of them must not inherit."""
        known = self._extras.get(claim.id)
        if known is None:
            with self._reading() as connection:
                known = self._extras[claim.id] = extras.present(connection, claim.id)
        return known

    def keep(self, claim: Claim, found: Mapping[str, str]) -> None:  # noqa: ARG002  texts belong to no run
        """Write texts that entries name by their id; they survive the process when this returns."""
        db = self._db
        with db.write_lock:
            self._check_usable()
            try:
                texts.keep(db.quick, found)
            except DRIVER_ERRORS as error:
                raise translate(error, self._file) from error

    def end(
        self,
        claim: Claim,
        outcome: Outcome,
        status: RunStatus,
        changes: Sequence[Entry] = (),
        *,
        now: float,
        used: Sequence[int] | None = None,
    ) -> None:
        """End the execution, with the last changes to entries, in one transaction. On disk when this returns."""
        with self._keeping(claim, changes) as kept:
            values = [self._values(claim, entry) for entry in kept]
            self._db.check_present()
            with self._transaction() as connection:
                done = runs.end(connection, claim, outcome, status, now, used)
                if done:
                    connection.executemany(_PUT, values)
            if not done:
                self._detach(claim, kept)
                raise self._taken_over(claim, changes[0].name if changes else "")

    def release(self, claim: Claim) -> None:
        """Give the run back. Never raises; releasing twice does nothing."""
        key = (claim.id, claim.epoch)
        if self._claims.pop(key, None) is None:
            return
        renewing = self._leases.pop(key, None)
        if renewing is not None:
            renewing.stop()
        # A fork emptied the child's list of locks: there is nothing to give back there.
        self._locks.release(claim.run)

    # -- looking, and answering from outside

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

    def _keeping(
        self, claim: Claim, entries: Sequence[Entry], *, wait: bool = True
    ) -> AbstractContextManager[Sequence[Entry]]:
        self._check_usable()
        size = sum(entry.size for entry in entries if entry.payload is not None)
        if size >= LARGE and (said := room_of(self._folder).before(size)):
            self._on_notice(said)
        return self._kept.keeping(entries, lambda one: self._row_bytes(claim.id, one), wait=wait)

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

    def amend(self, run_id: int, entries: Sequence[Entry]) -> None:
        """Replace entries from outside an execution, under the run's lock. On disk when this returns."""
        self._check_trusted()
        with self._reading() as connection:
            found = runs.find(connection, run_id, self.location)
        claim = Claim(run_id, found.run, found.number, found.epoch, 0, found.owner)
        with self._keeping(claim, entries) as kept, self._changing(run_id) as (connection, found):
            self._check_key(connection)
            claim = Claim(run_id, found.run, found.number, found.epoch, 0, found.owner)
            connection.executemany(_PUT, [self._values(claim, entry) for entry in kept])

    def forget(self, run_id: int, seqs: Collection[int] | None = None) -> int:
        """Delete entries of a run for good, with their attempts; with None the whole run."""
        try:
            return self._forget(run_id, seqs)
        except JournalUnwritableError:
            # Some builds of SQLite write zeros over what they delete, which takes as much room in the log: too much on
            # a full disk, and forgetting is what makes room there.
            with self._db.write_lock:
                (zeros,) = self._db.full.execute("PRAGMA secure_delete").fetchone()
                self._db.full.execute("PRAGMA secure_delete = FAST")
                try:
                    return self._forget(run_id, seqs)
                finally:
                    self._db.full.execute(f"PRAGMA secure_delete = {('OFF', 'ON', 'FAST')[zeros]}")

    def _forget(self, run_id: int, seqs: Collection[int] | None) -> int:
        with self._reading() as connection:
            found = runs.find(connection, run_id, self.location)
        if found.archived:  # nobody executes it, now or ever; a later run of its name may be under way
            with self._transaction() as connection:
                return runs.forget(connection, run_id, seqs)
        with self._changing(run_id) as (connection, _):
            return runs.forget(connection, run_id, seqs)

    def sweep(self) -> int:
        """Delete texts and files that no entry refers to, and give free space back; returns the bytes won.

        Beside a run that is executed only the files: its texts may be written, and not named by an entry yet, and it
        would have to wait while the database is written anew.
        """
        before = self.disk_usage()
        # Files first: they are most of the space, and on a full disk the database can't be written anew without it.
        if not collecting.collect(self._folder, self._kept.gate, self._references):
            self._on_notice(
                "large values were being written all the time, so their files were not collected. Try again."
            )
        if not any(run.owner is not None for run in self.runs()):
            self._compact()
        after = self.disk_usage()
        return sum(before[:3]) - sum(after[:3])

    def _compact(self) -> None:
        with self._transaction() as connection:
            texts.sweep(connection)
        with self._db.write_lock:
            try:
                self._db.full.execute("VACUUM")
                self._db.full.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except DRIVER_ERRORS as error:
                raise translate(error, self._file) from error

    def _references(self) -> Collection[str]:
        with self._reading() as connection:
            return {rows.text_of(text) for (text,) in connection.execute(_GET_REFERENCES)}

    def disk_usage(self) -> DiskUsage:
        """Count the bytes of the journal on the disk."""
        names = (self._file, self._file.with_name(f"{self._file.name}-wal"))
        return collecting.disk_usage(self._folder, names, self._references())

    def verify(self, progress: Callable[[Checked], None] | None = None) -> Sequence[Problem]:
        """Check every row's mark and every value's bytes, and look for files that nothing needs. Changes nothing."""
        self._check_trusted()
        with self._reading() as connection:
            count, size = checking.extent(connection)
            found = checking.rows_of(connection, self._db.meta.journal_id, self._signer)
        gate = self._kept.gate
        with gate.collecting(1.0, make=False) as held, self._reading() as connection:
            known = checking.users(connection)
            # Beside somebody who writes a value all the time, what it writes would look as if nobody needed it.
            idle = collecting.unneeded(self._folder, known) if held or not gate.is_there() else []
        told = checking.Progress(count, size, progress)
        lost = checking.values_of(known, self._kept.blobs, told, self._is_needed)
        return [*found, *lost, *checking.files(self._folder, idle)]

    def _is_needed(self, reference: str) -> bool:
        with self._reading() as connection:
            return checking.is_needed(connection, reference)

    def export(self, run_id: int, file: Path, *, values: bool = True, now: float) -> Exported:
        """Write a run to a new file, verified and authenticated."""
        self._check_trusted()

        def pieces(entry: Entry) -> Iterator[bytes]:
            return export_values.pieces_of(self._folder, self._signer, entry.blob, str(entry.key))

        return exporting.export(self, self._signer, run_id, file, pieces, values=values, now=now)

    def adopt(
        self,
        file: Path,
        run: RunId | None = None,
        *,
        replace: bool = False,
        trust: bool = False,
        values: bool = True,
        now: float,
    ) -> Adopted:
        """Take in a run that was exported, whole or not at all."""
        self._check_trusted()
        with incoming(file, self._signer, trust=trust, values=values) as found:
            run = run or found.run
            with self._locked(run, Owner(os.getpid(), "")):
                try:
                    return self._adopt(found, run, replace, now)
                except DRIVER_ERRORS as error:
                    raise translate(error, self._folder) from error
                finally:
                    self._locks.release(run)

    def _adopt(self, found: Incoming, run: RunId, replace: bool, now: float) -> Adopted:
        self._db.check_present()
        with self._reading() as connection:
            present = runs.newest(connection, run)
        if self._network:
            self._check_lease(present, Owner(os.getpid(), ""), now)
        adopting.check_name(None if replace else present, run, found)
        adopting.check_room(self._folder, found.size)
        with self._kept.gate.writing():
            places = adopting.write_values(found, self._folder, self._signer, self._kept)

            def entry_of(entry: Entry) -> Entry:
                return adopting.placed(entry, places.get(entry.seq, ""))

            def who(table: str, run_id: int) -> bytes:
                return rows.identity(table, self._db.meta.journal_id, run_id, run)

            with self._transaction() as connection:
                self._check_key(connection)
                run_id, number = adopting.write(connection, found, run, entry_of, who, self._signer, now=now)
        replaced = None if present is None else present.number
        return Adopted(run_id, run, number, found.entries, found.size, replaced, found.signed)

    @contextmanager
    def _changing(self, run_id: int) -> Iterator[tuple[sqlite3.Connection, Run]]:
        """Hold a run that nobody executes, in a transaction."""
        self._check_usable()
        self._db.check_present()
        with self._reading() as connection:
            run = runs.find(connection, run_id, self.location).run
        here = Owner(os.getpid(), "")
        with self._locked(run, here):
            try:
                with self._transaction() as connection:
                    found = runs.find(connection, run_id, self.location)
                    if self._network and found.status is RunStatus.RUNNING:
                        self._check_lease(found, here, time.time())
                    yield connection, found
            finally:
                self._locks.release(run)

    def set_notebook(self, workflow: str, notebook: str | None) -> int:
        """Make the runs of a workflow belong to ``notebook`` (None: to any), and return how many there are."""
        with self._transaction() as connection:
            return connection.execute(
                "UPDATE runs SET notebook = ? WHERE workflow = ?",
                (runs.SHARED if notebook is None else notebook, workflow),
            ).rowcount

    def close(self) -> None:
        """Close files. Releases what is still claimed. Closing twice does nothing."""
        for claim in list(self._claims.values()):
            self.release(claim)
        self._closed = True
        self._kept.close()
        self._db.close()

    # -- parts

    def _put(self, values: tuple[object, ...], *, wait: bool) -> bool:
        """Write one entry; return False if its claim is no longer the last one."""
        if not wait:
            self._unsynced[values[0]] = values
        elif self._unsynced and self._is_unsynced(values):
            # SQLite leaves a page alone that wouldn't change, and then waits for no disk either.
            with self._transaction() as connection:
                connection.execute(_DROP, values[:1])
                return connection.execute(_PUT, values).rowcount == 1
        try:
            # One statement in autocommit mode is one transaction.
            return (self._db.full if wait else self._db.quick).execute(_PUT, values).rowcount == 1
        except DRIVER_ERRORS as error:
            raise translate(error, self._file) from error

    def _is_unsynced(self, values: tuple[object, ...]) -> bool:
        """Tell whether exactly this was written and not waited for. A commit that waits has all before it on disk."""
        same = self._unsynced.get(values[0]) == values
        self._unsynced.clear()
        return same

    def _values(self, claim: Claim, entry: Entry) -> tuple[object, ...]:
        try:
            values = rows.entry_row(entry, self._identity("entries", claim.id, claim.run), self._signer)
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            raise StoreError(f"the entry of step '{entry.name}' can't be written: {error}") from error
        return (rows.place(claim.id, entry.seq), *values, claim.id, claim.epoch)

    def _identity(self, table: str, run_id: int, run: RunId) -> bytes:
        if table != "entries":
            return rows.identity(table, self._db.meta.journal_id, run_id, run)
        known = self._marks.get(run_id)
        if known is None or (known[0] is not run and known[0] != run):
            known = self._marks[run_id] = run, rows.identity(table, self._db.meta.journal_id, run_id, run)
        return known[1]

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

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreError(f"the journal {self.location} was closed. Open it again.")
        self._db.check_process()

    def _reopen_if_gone(self) -> None:
        """Begin anew after somebody deleted or moved the journal away between two executions."""
        self._check_usable()
        if not self._claims and not self._db.is_current():
            self._kept.close()
            self._db.close()
            self._open()

    def _check_lease(self, found: Run | None, owner: Owner, now: float) -> None:
        if found is None or found.lease_until is None or found.lease_until <= now:
            return
        if (found.owner.host, found.owner.boot) != (owner.host, owner.boot) and found.status is RunStatus.RUNNING:
            raise _busy(found.run, found)

    def _is_executed(self, info: RunInfo) -> bool:
        if info.archived or info.status is not RunStatus.RUNNING:
            return False
        return self._locks.is_held(info.run)

    @contextmanager
    def _locked(self, run: RunId, owner: Owner) -> Iterator[None]:
        """Take a run's lock; what fails inside gives it back, and what succeeds keeps it."""
        try:
            for attempt in range(_TRIES):
                if self._locks.acquire(run):
                    break
                with self._reading() as connection:
                    found = runs.newest(connection, run)
                known = found is not None and found.status is RunStatus.RUNNING and runs.alive(found.owner, owner)
                if attempt + 1 == _TRIES or (known and attempt >= _SURE_AFTER):
                    raise _busy(run, found)
                time.sleep(_TRY_AGAIN)
        except AlreadyHeldError:
            raise RunOpenError(run.workflow, run.key) from None
        try:
            yield
        except BaseException:
            self._locks.release(run)
            raise

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        with db.write_lock:
            self._check_usable()
            connection = db.full
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                _roll_back(connection)
                if isinstance(error, DRIVER_ERRORS):
                    raise translate(error, self._file) from error
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        with db.read_lock:
            self._check_usable()
            try:
                yield db.read
            except DRIVER_ERRORS as error:
                raise translate(error, self._file) from error

    def _detach(self, claim: Claim, entries: Sequence[Entry]) -> None:
        """Keep what a commit that comes too late would have written, unless nobody took the run."""
        with self._transaction() as connection:
            epoch, _ = runs.owner_of(connection, claim.id)
            if epoch == -1:
                raise StoreError(f"the run '{claim.run}' is no longer in the journal {self.location}.")
            who = self._identity("detached", claim.id, claim.run)
            for entry in entries:
                row = rows.entry_row(entry, who, self._signer)
                connection.execute(_PUT_DETACHED, (claim.id, entry.seq, claim.epoch, *row))

    def _taken_over(self, claim: Claim, step: str) -> RunTakenOverError:
        with self._reading() as connection:
            _, owner = runs.owner_of(connection, claim.id)
            found = runs.newest(connection, claim.run)
        if found is not None and found.id != claim.id:
            owner = found.owner  # started over: the new owner is that of the new run
        return RunTakenOverError(claim.run.workflow, claim.run.key, step, owner.pid, owner.host)


def _busy(run: RunId, found: Run | None) -> RunBusyError:
    if found is None:
        return RunBusyError(run.workflow, run.key, 0, "this machine", time.time())
    return RunBusyError(run.workflow, run.key, found.owner.pid, found.owner.host, found.since)


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # SQLite has rolled back by itself, or will when the connection closes
