"""The part of the SQLite store that tells whether a journal is believed, and signs one that was written elsewhere."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from notebook_durable.errors import (
    ConfigurationError,
    DamagedValueError,
    RunBusyError,
    RunOpenError,
    UntrustedJournalError,
)
from notebook_durable.model import Entry, Owner, Payload
from notebook_durable.protocols import Findings
from notebook_durable.stores import collecting, known_keys, runs, schema, trust_rows, trust_values, trusting
from notebook_durable.stores.blobs import Unbelievable
from notebook_durable.stores.core import Core
from notebook_durable.stores.driver import DRIVER_ERRORS, translate
from notebook_durable.stores.references import ROW

__all__ = ["TrustPart"]


class TrustPart(Core):
    """Refuses what would be unpickled of a journal that isn't believed."""

    @property
    def _trusted(self) -> bool:
        """Whether the journal was written with the key in use."""
        if not self._mine:
            # Somebody may have typed %durable trust since it was opened.
            with self._reading() as connection:
                self._db.meta = schema.read_meta(connection, self._file)
            self._mine = self._db.meta.key_id == self._signer.key_id
        return self._mine

    def _check_trusted(self) -> None:
        self._check_usable()
        if not self._trusted:
            raise self._untrusted()

    def _check_key(self, connection: sqlite3.Connection) -> None:
        """Refuse to write with a key that isn't the journal's any more, because somebody else has trusted it since."""
        meta = schema.read_meta(connection, self._file)
        if meta.key_id != self._signer.key_id:
            self._db.meta, self._mine = meta, False
            raise self._untrusted()

    def _untrusted(self) -> UntrustedJournalError:
        meta = self._db.meta
        found = known_keys.whose(meta.key_id)
        return UntrustedJournalError(
            self.location, self._signer.path, key_id=meta.key_id, whose=found.kind, found=found.path,
            made_by=trusting.made_by(meta),
        )  # fmt: skip

    def _plain(self, entry: Entry) -> Payload:
        """Return a value of a journal that isn't believed: JSON, which is harmless to read."""
        there = entry.payload is not None or (entry.blob and not entry.blob.startswith(ROW))
        if entry.serializer != "json" or not there:
            raise self._untrusted()
        try:
            data = entry.payload if entry.payload is not None else trust_values.plain(self._folder, entry.blob)
        except Unbelievable as error:
            raise DamagedValueError(str(entry.key), str(error)) from error
        return Payload(entry.serializer, data, entry.value_type)

    # -- trusting

    def untrusted(self) -> UntrustedJournalError | None:
        """Return the error that says why nothing in the journal is unpickled; None if it is believed."""
        self._check_usable()
        return None if self._trusted else self._untrusted()

    def examine(self, key_file: Path | None = None) -> Findings:
        """Look at a journal that was written with another key; see ``protocols.Store.examine``."""
        self._check_usable()
        old = trusting.old_signer(key_file, self._db.meta)
        with self._reading() as connection:
            return trusting.examine(connection, self._folder, self._db.meta, self._signer.key_id, old)

    def trust(self, key_file: Path | None = None, *, key_id: str | None = None) -> Findings:
        """Sign the journal anew with the key in use; see ``protocols.Store.trust``."""
        self._check_usable()
        if self._trusted:
            return Findings(key_id=self._signer.key_id)
        known = self._db.meta.key_id if key_id is None else key_id
        old = trusting.old_signer(key_file, self._db.meta)
        copier = trust_values.Copier(self._folder, self._kept.blobs, self._signer, old)
        with self._kept.gate.writing():
            self._copy_values(copier)
            with self._transaction() as connection:
                meta = schema.read_meta(connection, self._file)
                if meta.key_id != known:
                    raise ConfigurationError(f"the journal {self.location} was changed meanwhile: type it again.")
                self._check_idle(connection)
                done = trusting.sign(connection, meta, self._signer, old, copier, self._kept.blobs.wait)
        self._marks.clear()
        self._check_trusted()  # reads the new key's id
        collecting.collect(self._folder, self._kept.gate, self._references)
        return done

    def _copy_values(self, copier: trust_values.Copier) -> None:
        """Write values anew, before anybody has to wait for the database."""
        with self._reading() as connection:
            self._check_idle(connection)
        references = [text for text in self._references() if not text.startswith(ROW)]
        trusting.check_space(self._folder, references)
        try:
            for text in references:
                with suppress(Unbelievable):
                    copier.copy(text)
            self._kept.blobs.wait()
        except DRIVER_ERRORS as error:
            self._kept.blobs.give_up()
            raise translate(error, self._file) from error

    def _check_idle(self, connection: sqlite3.Connection) -> None:
        """Refuse while a run is executed: what it writes would carry the old key's marks.

        Raises:
            RunOpenError, RunBusyError: naming it.
        """
        here = Owner(os.getpid(), "")
        for run in {run for _, run, _ in trust_rows.runs_of(connection) if run is not None}:
            found = runs.newest(connection, run)
            if self._locks.is_held(run):
                owner = Owner(0, "this machine") if found is None else found.owner
                if owner.pid == here.pid:
                    raise RunOpenError(run.workflow, run.key)
                since = time.time() if found is None else found.since
                raise RunBusyError(run.workflow, run.key, owner.pid, owner.host, since)
            if self._network:
                self._check_lease(found, here, time.time())
