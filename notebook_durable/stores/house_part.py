"""The part of the SQLite store that keeps house: forgets and collects, checks, exports and imports."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from notebook_durable.errors import JournalUnwritableError
from notebook_durable.model import Entry, Owner, RunId
from notebook_durable.protocols import Adopted, Checked, DiskUsage, Exported, Problem, Store
from notebook_durable.stores import collecting, rows, runs, texts
from notebook_durable.stores.driver import DRIVER_ERRORS, translate
from notebook_durable.stores.look_part import LookPart

if TYPE_CHECKING:
    from notebook_durable.stores.incoming import Incoming

__all__ = ["HousePart"]


class HousePart(LookPart):
    """What needs no execution. Checking, exporting and importing are loaded when they are asked for."""

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

    def disk_usage(self) -> DiskUsage:
        """Count the bytes of the journal on the disk."""
        names = (self._file, self._file.with_name(f"{self._file.name}-wal"))
        return collecting.disk_usage(self._folder, names, self._references())

    def verify(self, progress: Callable[[Checked], None] | None = None) -> Sequence[Problem]:
        """Check every row's mark and every value's bytes, and look for files that nothing needs. Changes nothing."""
        from notebook_durable.stores import checking

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
        from notebook_durable.stores import checking

        with self._reading() as connection:
            return checking.is_needed(connection, reference)

    def export(self, run_id: int, file: Path, *, values: bool = True, now: float) -> Exported:
        """Write a run to a new file, verified and authenticated."""
        from notebook_durable.stores import export_values, exporting

        self._check_trusted()

        def pieces(entry: Entry) -> Iterator[bytes]:
            return export_values.pieces_of(self._folder, self._signer, entry.blob, str(entry.key))

        return exporting.export(cast("Store", self), self._signer, run_id, file, pieces, values=values, now=now)

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
        from notebook_durable.stores.incoming import incoming

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
        from notebook_durable.stores import adopting

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

    def set_notebook(self, workflow: str, notebook: str | None) -> int:
        """Make the runs of a workflow belong to ``notebook`` (None: to any), and return how many there are."""
        with self._transaction() as connection:
            return connection.execute(
                "UPDATE runs SET notebook = ? WHERE workflow = ?",
                (runs.SHARED if notebook is None else notebook, workflow),
            ).rowcount
