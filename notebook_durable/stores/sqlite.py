"""The journal in one SQLite file: one small transaction per call, on disk when ``record`` returns."""

from __future__ import annotations

import sqlite3
import struct
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress

from notebook_durable.errors import RunTakenOverError, StoreError
from notebook_durable.model import Attempt, Claim, Entry, Extra, Outcome, Owner, RunId, RunStatus
from notebook_durable.protocols import Record
from notebook_durable.stores import extras, lease, rows, runs, texts
from notebook_durable.stores.driver import DRIVER_ERRORS, translate
from notebook_durable.stores.house_part import HousePart
from notebook_durable.stores.room import LARGE, room_of
from notebook_durable.stores.values import is_plain

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
_DROP = "DELETE FROM entries WHERE place = ?"


class SqliteStore(HousePart):
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

    def _keeping(
        self, claim: Claim, entries: Sequence[Entry], *, wait: bool = True
    ) -> AbstractContextManager[Sequence[Entry]]:
        self._check_usable()
        size = sum(entry.size for entry in entries if entry.payload is not None)
        if size >= LARGE and (said := room_of(self._folder).before(size)):
            self._on_notice(said)
        return self._kept.keeping(entries, lambda one: self._row_bytes(claim.id, one), wait=wait)

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
