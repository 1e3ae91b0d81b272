"""What all parts of the SQLite store stand on: its files and connections, locks, transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from notebook_durable.errors import RunBusyError, RunOpenError, StoreError
from notebook_durable.model import Claim, Owner, RunId, RunInfo, RunStatus
from notebook_durable.stores import folder, lease, rows, runs
from notebook_durable.stores.connections import Connections
from notebook_durable.stores.driver import DRIVER_ERRORS, translate
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.locks import AlreadyHeldError, RunLocks
from notebook_durable.stores.runs import Run
from notebook_durable.stores.values import Values

__all__ = ["Core"]

_GET_REFERENCES = "SELECT blob FROM entries WHERE blob != '' UNION SELECT blob FROM detached WHERE blob != ''"

#: How often, and how many seconds apart, a claim tries to lock: somebody who only looks (``RunLocks.is_held``) holds
#: the lock for some microseconds, and who has just taken it needs some milliseconds to write down who it is.
_TRIES, _TRY_AGAIN, _SURE_AFTER = 50, 0.01, 3


def _log_notice(text: str) -> None:
    logging.getLogger("notebook_durable").warning("%s", text)


class Core:
    """Opens a journal's folder; ``SqliteStore`` says what the arguments are."""

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
        #: The journal was written with the key in use, as far as is known: see ``TrustPart._trusted``.
        self._mine = False
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

    def _identity(self, table: str, run_id: int, run: RunId) -> bytes:
        if table != "entries":
            return rows.identity(table, self._db.meta.journal_id, run_id, run)
        known = self._marks.get(run_id)
        if known is None or (known[0] is not run and known[0] != run):
            known = self._marks[run_id] = run, rows.identity(table, self._db.meta.journal_id, run_id, run)
        return known[1]

    def _references(self) -> Collection[str]:
        with self._reading() as connection:
            return {rows.text_of(text) for (text,) in connection.execute(_GET_REFERENCES)}

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
