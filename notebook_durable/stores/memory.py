"""A journal that lives as long as its object: for tests, and for trying things out without a file."""

from __future__ import annotations

import functools
import json
import secrets
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from notebook_durable.errors import (
    DamagedValueError,
    NotebookMismatchError,
    RunOpenError,
    RunTakenOverError,
    StoreError,
    UntrustedJournalError,
)
from notebook_durable.model import (
    Attempt,
    Claim,
    Entry,
    EntryStatus,
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
from notebook_durable.parts import named_texts, parts_from
from notebook_durable.protocols import Adopted, Checked, DiskUsage, Exported, Findings, Problem, Record
from notebook_durable.stores import adopting, exporting
from notebook_durable.stores.blobs import LARGEST_IN_ROW
from notebook_durable.stores.incoming import Incoming, incoming
from notebook_durable.stores.keys import KEY_SIZE, Signer
from notebook_durable.stores.layout import flat, image_of

__all__ = ["MemoryStore"]

_SHARED = "*"


@dataclass(slots=True)
class _Run:
    id: int
    run: RunId
    number: int
    created_at: float
    notebook: str | None
    owner: Owner
    status: RunStatus = RunStatus.RUNNING
    archived: bool = False
    ended_at: float | None = None
    epoch: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    times: list[tuple[float, float | None]] = field(default_factory=list)
    used: dict[int, tuple[int, ...]] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    attempts: dict[tuple[int, int, int], Attempt] = field(default_factory=dict)
    detached: list[Entry] = field(default_factory=list)
    extras: dict[int, Extra] = field(default_factory=dict)
    mailbox: list[Message] = field(default_factory=list)


class MemoryStore:
    """Keeps runs in this object; see the contract at ``protocols.Store``.

    There is no other process, hence no RunBusyError; and nothing that could be damaged or lack trust.
    """

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._runs: list[_Run] = []
        self._ids = 0
        self._held: dict[RunId, Claim] = {}
        self._texts: dict[str, str] = {}
        #: Values that don't lie with their entries, by what ``Entry.blob`` says: data and buffers, copies of what came.
        self._values: dict[str, tuple[bytes, tuple[bytes, ...]]] = {}
        self._closed = False

    @property
    def location(self) -> str:
        """Where it is, for people."""
        return "memory"

    # -- executing a run

    @property
    def largest_value(self) -> int:
        """Whatever memory takes."""
        return sys.maxsize

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
        with self._mutex:
            self._check_open()
            if run in self._held:
                raise RunOpenError(run.workflow, run.key)
            found = self._newest(run)
            recorded = found.notebook if found else None
            if recorded is not None and notebook is not None and recorded not in (_SHARED, notebook):
                raise NotebookMismatchError(run.workflow, run.key, recorded, notebook)
            number = 1
            if found is not None and found.outcomes and found.outcomes[-1] is Outcome.RUNNING:
                found.outcomes[-1] = Outcome.KILLED
                found.times[-1] = found.times[-1][0], now
            if found is not None and (fresh or found.status in start_over_after):
                self._archive(found)
                number = found.number + 1
                found = None
            if found is None:
                found = _Run(self._ids + 1, run, number, now, recorded or notebook, owner)
                self._runs.append(found)
                self._ids += 1
            previous = found.outcomes[-1] if found.outcomes else None
            found.outcomes.append(Outcome.RUNNING)
            found.times.append((now, None))
            found.epoch += 1
            found.status, found.ended_at, found.owner = RunStatus.RUNNING, None, owner
            if found.notebook is None:
                found.notebook = notebook
            claim = Claim(found.id, run, found.number, found.epoch, len(found.outcomes), owner, previous)
            self._held[run] = claim
            return claim

    def entries(self, claim: Claim) -> Sequence[Entry]:
        """Return all entries of the run by ``seq``."""
        return self.read(claim.id)

    def begin(self, claim: Claim, entry: Entry, *, wait: bool = False) -> None:  # noqa: ARG002  nothing to wait for
        """Write that an attempt begins."""
        with self._mutex:
            found = self._find(claim.id)
            if found.epoch != claim.epoch:
                raise self._taken_over(claim, entry.name)
            found.entries[_checked(entry).seq] = self._copy(entry)

    def record(self, claim: Claim, entry: Entry, attempt: Attempt | None = None, extra: Extra | None = None) -> None:
        """Write an entry's new state, with a failed attempt and what is kept for people."""
        with self._mutex:
            found = self._find(claim.id)
            if found.epoch != claim.epoch:
                found.detached.append(self._copy(entry))
                raise self._taken_over(claim, entry.name)
            found.entries[_checked(entry).seq] = self._copy(entry)
            if attempt is not None:
                key = (attempt.seq, attempt.budget, attempt.number)
                found.attempts[key] = replace(attempt, error=_plain(attempt.error))
            found.extras.pop(entry.seq, None)
            if extra:
                found.extras[entry.seq] = extra

    def record_many(self, claim: Claim, records: Sequence[Record]) -> None:
        """Write the new states of several entries, all or none."""
        with self._mutex:
            found = self._find(claim.id)
            if found.epoch != claim.epoch:
                found.detached.extend(self._copy(entry) for entry, _, _ in records)
                raise self._taken_over(claim, records[0][0].name if records else "")
            for entry, _, _ in records:
                _checked(entry)
            for entry, attempt, extra in records:
                self.record(claim, entry, attempt, extra)

    def keep(self, claim: Claim, texts: Mapping[str, str]) -> None:  # noqa: ARG002  texts belong to no run
        """Keep texts that entries name by their id."""
        with self._mutex:
            self._check_open()
            self._texts.update(texts)

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
        """End the execution, with the last changes to entries."""
        with self._mutex:
            found = self._find(claim.id)
            if found.epoch != claim.epoch:
                found.detached.extend(map(self._copy, changes))
                raise self._taken_over(claim, changes[0].name if changes else "")
            found.entries.update({_checked(entry).seq: self._copy(entry) for entry in changes})
            found.outcomes[claim.execution - 1] = outcome
            found.times[claim.execution - 1] = found.times[claim.execution - 1][0], now
            if used is not None:
                found.used[claim.execution] = tuple(used)
            found.status, found.ended_at = status, now

    def release(self, claim: Claim) -> None:
        """Give the run back. Never raises; releasing twice does nothing."""
        with self._mutex:
            if self._held.get(claim.run) == claim:
                del self._held[claim.run]

    # -- looking, and answering from outside

    def attempts(self, run_id: int, seq: int) -> Sequence[Attempt]:
        """Return the failed attempts of an entry, oldest first."""
        with self._mutex:
            self._check_open()
            found = [run for run in self._runs if run.id == run_id]
            return [run.attempts[key] for run in found for key in sorted(run.attempts) if key[0] == seq]

    def runs(self, workflow: str | None = None, *, archived: bool = False) -> Sequence[RunInfo]:
        """List runs, newest first."""
        with self._mutex:
            self._check_open()
            return [
                self._info(run)
                for run in reversed(self._runs)
                if (archived or not run.archived) and workflow in (None, run.run.workflow)
            ]

    def read(self, run_id: int, seqs: Collection[int] | None = None, *, values: bool = True) -> Sequence[Entry]:
        """Return the entries of any run, or some of them; if so wished without values' bytes."""
        with self._mutex:
            entries = self._find(run_id).entries
            found = [entries[seq] for seq in sorted(entries) if seqs is None or seq in seqs]
        if values:
            return found
        return [
            one if one.payload is None else one._replace(payload=None, size=one.size or len(one.payload))
            for one in found
        ]

    def payload(self, run_id: int, entry: Entry) -> Payload:
        """Return the value of an entry; buffers are copies."""
        with self._mutex:
            known = self._find(run_id).entries.get(entry.seq)
            if entry.payload is None and not entry.blob and known is not None:
                entry = known  # the caller didn't keep the bytes
            data, buffers = self._values.get(entry.blob, (entry.payload, ()))
            if data is None:
                raise DamagedValueError(str(entry.key), "it is not there")
            copies = tuple(memoryview(bytearray(buffer)) for buffer in buffers)
            return Payload(entry.serializer, data, entry.value_type, copies, entry.libraries)

    def detached(self, run_id: int) -> Sequence[Entry]:
        """Return what was recorded for a run by an execution that had lost it, oldest first."""
        with self._mutex:
            return list(self._find(run_id).detached)

    def executions(self, run_id: int) -> Sequence[ExecutionInfo]:
        """List the executions of a run, oldest first."""
        with self._mutex:
            found = self._find(run_id)
            return [
                ExecutionInfo(number, started, ended, outcome, found.used.get(number))
                for number, (outcome, (started, ended)) in enumerate(zip(found.outcomes, found.times, strict=True), 1)
            ]

    def texts(self, ids: Collection[str]) -> Mapping[str, str]:
        """Return the texts of these ids."""
        with self._mutex:
            return {name: self._texts[name] for name in ids if name in self._texts}

    def extras(self, run_id: int, seqs: Collection[int] | None = None) -> Mapping[int, Extra]:
        """Return what is kept for people with these entries, or with all of a run."""
        with self._mutex:
            known = self._find(run_id).extras
            return dict(known) if seqs is None else {seq: known[seq] for seq in seqs if seq in known}

    def shown(self, run_id: int) -> Collection[int]:
        """Return the entries that have outputs."""
        with self._mutex:
            return frozenset(seq for seq, extra in self._find(run_id).extras.items() if extra.outputs)

    def post(self, run_id: int, message: Message) -> None:
        """Leave a message for whoever executes a run, or will."""
        with self._mutex:
            self._ids += 1
            self._find(run_id).mailbox.append(replace(message, id=self._ids))

    def inbox(self, run_id: int) -> Sequence[Message]:
        """Return the messages of a run, oldest first."""
        with self._mutex:
            return list(self._find(run_id).mailbox)

    def discard(self, run_id: int, ids: Collection[int]) -> None:
        """Delete messages."""
        with self._mutex:
            found = self._find(run_id)
            found.mailbox = [message for message in found.mailbox if message.id not in ids]

    def forget(self, run_id: int, seqs: Collection[int] | None = None) -> int:
        """Delete entries of a run for good, with their attempts; with None the whole run."""
        with self._mutex:
            found = self._find(run_id)
            if found.run in self._held and not found.archived:
                raise RunOpenError(found.run.workflow, found.run.key)
            gone = [seq for seq in found.entries if seqs is None or seq in seqs]
            names = {found.entries[seq].name for seq in gone}
            found.detached = [entry for entry in found.detached if entry.name not in names]
            for seq in gone:
                del found.entries[seq]
                found.extras.pop(seq, None)
            found.attempts = {key: value for key, value in found.attempts.items() if key[0] not in gone}
            found.mailbox = [message for message in found.mailbox if message.seq not in gone]
            if seqs is None:
                self._runs.remove(found)
            return len(gone)

    def sweep(self) -> int:
        """Delete values that no entry refers to, and unless a run is executed, texts; returns the bytes won."""
        with self._mutex:
            entries = (entry for run in self._runs for entry in (*run.entries.values(), *run.detached))
            named = named_texts({parts_from(entry.code.inputs).code for entry in entries}, self._texts)
            gone = [] if self._held else [name for name in self._texts if name not in named]
            won = sum(len(self._texts.pop(name).encode()) for name in gone)
            needed = {entry.blob for run in self._runs for entry in (*run.entries.values(), *run.detached)}
            for blob in self._values.keys() - needed:
                won += _bytes(*self._values.pop(blob))
            return won

    def verify(self, progress: Callable[[Checked], None] | None = None) -> Sequence[Problem]:
        """Nothing can be damaged here."""
        with self._mutex:
            self._check_open()
            if progress is not None:
                size = sum(info.size for info in map(self._info, self._runs))
                progress(Checked(sum(len(run.entries) for run in self._runs), len(self._values), size, size))
            return ()

    def export(self, run_id: int, file: Path, *, values: bool = True, now: float) -> Exported:
        """Write a run to a new file, authenticated with the key of this process' stores in memory."""

        def pieces(entry: Entry) -> Sequence[memoryview]:
            data, buffers = self._values[entry.blob]
            return image_of(data, [memoryview(buffer) for buffer in buffers]).pieces

        with self._mutex:
            return exporting.export(self, _signer(), run_id, file, pieces, values=values, now=now)

    def adopt(
        self,
        file: Path,
        run: RunId | None = None,
        *,
        replace: bool = False,
        trust: bool = False,
        values: bool = True,
        now: float,  # noqa: ARG002  nobody held it
    ) -> Adopted:
        """Take in a run that was exported, whole or not at all."""
        with self._mutex, incoming(file, _signer(), trust=trust, values=values) as found:
            self._check_open()
            run = run or found.run
            if run in self._held:
                raise RunOpenError(run.workflow, run.key)
            present = self._newest(run)
            adopting.check_name(None if replace else present, run, found)
            made = self._adopted(found, run)
            if present is not None:
                self._archive(present)
            self._runs.append(made)
            replaced = None if present is None else present.number
            return Adopted(made.id, run, made.number, found.entries, found.size, replaced, found.signed)

    def _adopted(self, found: Incoming, run: RunId) -> _Run:
        number = max((one.number for one in self._runs if one.run == run), default=0) + 1
        self._ids += 1
        made = _Run(self._ids, run, number, found.created_at, None, Owner(0, "unknown host"), found.status)
        made.ended_at = found.ended_at
        for one in found.executions:
            made.outcomes.append(one.outcome)
            made.times.append((one.started_at, one.ended_at))
            if one.used is not None:
                made.used[one.number] = one.used
        for kind, item, _ in found.rows():
            if kind == "entry":
                entry: Entry = item
                if entry.seq in found.members:
                    data, buffers = adopting.cut(b"".join(found.archive.pieces(entry.seq, found.members[entry.seq])))
                    entry = entry._replace(payload=data, buffers=buffers)
                made.entries[entry.seq] = self._copy(entry)
            elif kind == "attempt":
                made.attempts[item.seq, item.budget, item.number] = item
            elif kind == "extra":
                made.extras[item[0]] = item[1]
            elif kind == "message":
                self._ids += 1
                made.mailbox.append(replace(item, id=self._ids))
            else:
                self._texts[item[0]] = item[1]
        return made

    def untrusted(self) -> UntrustedJournalError | None:
        """None: it is this process's own."""
        return None

    def examine(self, key_file: Path | None = None) -> Findings:  # noqa: ARG002
        """Nothing in it lacks trust."""
        return Findings()

    def trust(self, key_file: Path | None = None, *, key_id: str | None = None) -> Findings:  # noqa: ARG002
        """Do nothing: it is trusted."""
        return Findings()

    def disk_usage(self) -> DiskUsage:
        """Nothing is on a disk."""
        return DiskUsage(0, 0, 0, 0, None)

    def amend(self, run_id: int, entries: Sequence[Entry]) -> None:
        """Replace entries from outside an execution."""
        with self._mutex:
            found = self._find(run_id)
            if found.run in self._held:
                raise RunOpenError(found.run.workflow, found.run.key)
            found.entries.update({_checked(entry).seq: self._copy(entry) for entry in entries})

    def set_notebook(self, workflow: str, notebook: str | None) -> int:
        """Make the runs of a workflow belong to ``notebook`` (None: to any), and return how many there are."""
        with self._mutex:
            self._check_open()
            matching = [run for run in self._runs if run.run.workflow == workflow]
            for run in matching:
                run.notebook = _SHARED if notebook is None else notebook
            return len(matching)

    def close(self) -> None:
        """Release what is still claimed. Closing twice does nothing."""
        with self._mutex:
            self._held.clear()
            self._closed = True

    # -- parts

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the journal in memory was closed. Open a new one.")

    def _copy(self, entry: Entry) -> Entry:
        """Return an entry as it is kept: large values apart, as with files, so that a test sees what it would there."""
        if entry.error is not None:
            entry = entry._replace(error=_plain(entry.error))
        if entry.payload is None:
            return entry
        buffers = tuple(bytes(flat(buffer)) for buffer in entry.buffers)
        size = _bytes(entry.payload, buffers)
        if not buffers and size <= LARGEST_IN_ROW:
            return entry._replace(blob="", size=entry.size and size)
        self._ids += 1
        blob = f"memory:{self._ids}"
        self._values[blob] = (bytes(entry.payload), buffers)
        return entry._replace(payload=None, buffers=(), blob=blob, size=size)

    def _newest(self, run: RunId) -> _Run | None:
        matching = [found for found in self._runs if found.run == run and not found.archived]
        return matching[-1] if matching else None

    def _find(self, run_id: int) -> _Run:
        self._check_open()
        for found in self._runs:
            if found.id == run_id:
                return found
        raise StoreError(f"there is no run with the id {run_id} in the journal in memory.")

    def _archive(self, run: _Run) -> None:
        run.archived = True
        run.epoch += 1  # whoever still believes to hold it is refused
        if run.status is RunStatus.RUNNING:
            run.status = RunStatus.INTERRUPTED

    def _taken_over(self, claim: Claim, step: str) -> RunTakenOverError:
        found = self._newest(claim.run) or self._find(claim.id)
        return RunTakenOverError(claim.run.workflow, claim.run.key, step, found.owner.pid, found.owner.host)

    def _info(self, run: _Run) -> RunInfo:
        held = self._held.get(run.run)
        executed = held is not None and held.id == run.id and run.status is RunStatus.RUNNING
        entries = list(run.entries.values())
        if run.used:
            last = max(run.used)
            called = set(run.used[last])
            entries = [
                e for e in entries
                if e.status is not EntryStatus.SUPERSEDED and (e.seq in called or e.execution > last)
            ]  # fmt: skip
        return RunInfo(
            run.id, run.run, run.number, run.status, run.archived, run.created_at, run.ended_at, len(run.outcomes),
            run.notebook, run.owner if executed else None, len(entries),
            sum(entry.status is EntryStatus.SUCCEEDED for entry in entries),
            sum(entry.size or len(entry.payload or b"") for entry in run.entries.values()),
            len(run.entries),
        )  # fmt: skip


@functools.cache
def _signer() -> Signer:
    """Return what the stores in memory of this process sign with: what they export, no other process believes."""
    return Signer(secrets.token_bytes(KEY_SIZE), "the key of this process")


def _checked(entry: Entry) -> Entry:
    if entry.seq < 0:
        raise StoreError(f"an entry's number must be 0 or more, not {entry.seq}")
    return entry


def _plain(error: Any) -> Any:
    # Through JSON, as in a file: a test with this store must not see more than one with a real journal.
    return json.loads(json.dumps(dict(error), default=str))


def _bytes(data: bytes, buffers: Sequence[bytes]) -> int:
    return len(data) + sum(map(len, buffers))
