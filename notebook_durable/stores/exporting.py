"""Writing one run of a store into a file, with everything that is kept of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from notebook_durable.errors import DamagedValueError, StoreError
from notebook_durable.model import LEFT_WITHOUT, Ask, Entry, EntryStatus, Payload, RunInfo
from notebook_durable.parts import named_texts, parts_from
from notebook_durable.protocols import Exported, Store
from notebook_durable.stores import export_rows
from notebook_durable.stores.blobs import LARGEST_IN_ROW
from notebook_durable.stores.export_file import Writer, writing
from notebook_durable.stores.export_rows import Member
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.runs import ranges_text

__all__ = ["LEFT_OUT", "export", "without_value"]

LEFT_OUT = "left out of its export"
_DAMAGED = "damaged when it was exported"
#: Extras that are read at once: outputs may be large.
_AT_ONCE = 100

#: Gives the bytes of a large value, verified, in pieces.
Pieces = Callable[[Entry], Iterable[Any]]


def export(
    store: Store, signer: Signer, run_id: int, file: Path, pieces: Pieces, *, values: bool, now: float
) -> Exported:
    """Write a run to a new file; see ``protocols.Store.export``.

    Args:
        store: where it is.
        signer: authenticates the file.
        run_id: which run.
        file: must not exist.
        pieces: reads the values that are too large for a row.
        values: with the values.
        now: seconds since the epoch.
    """
    info = next((one for one in store.runs(archived=True) if one.id == run_id), None)
    if info is None:
        raise StoreError(f"there is no run with the id {run_id} in the journal {store.location}.")
    found = store.read(run_id, values=False)
    entries = [entry for entry in found if entry.intact]
    with writing(file, now) as writer:
        kept, members, lost = _values(store, run_id, entries, writer, pieces, values)
        rows = writer.rows(_lines(store, run_id, kept, members))
        size = sum(entry.value_size for entry in kept)
        lost += len(found) - len(entries)
        writer.finish(_manifest(store, info, kept, size, lost, values, now), rows, signer)
    return Exported(len(kept), size, lost, file.stat().st_size)


def _values(
    store: Store, run_id: int, entries: Sequence[Entry], writer: Writer, pieces: Pieces, values: bool
) -> tuple[list[Entry], dict[int, Member], int]:
    """Write the large values; return the entries as they are to be written, and how many values are damaged."""
    kept, members, lost = [], {}, 0
    for entry in entries:
        if not values:
            kept.append(without_value(entry, LEFT_OUT))
        elif _has_value(entry) and entry.blob and entry.size > LARGEST_IN_ROW:
            try:
                members[entry.seq] = writer.value(entry.seq, pieces(entry))
                kept.append(entry)
            except DamagedValueError:
                if not store.read(run_id, (entry.seq,), values=False):
                    continue  # forgotten or collected meanwhile: missing, and not damaged
                kept.append(without_value(entry, _DAMAGED))
                lost += 1
        else:
            kept.append(entry)
    return kept, members, lost


def _with_value(store: Store, run_id: int, entry: Entry) -> tuple[Entry, Payload | None]:
    """Read an entry anew, with the value that lies in its row: who executes the run may have changed both by now."""
    for now in store.read(run_id, (entry.seq,)):
        if now.intact and not (now.blob and now.size > LARGEST_IN_ROW):  # else its value came too late for a part
            try:
                return now, store.payload(run_id, now) if _has_value(now) else None
            except DamagedValueError:
                if not now.value_size:  # there never was one
                    return now, None
    return without_value(entry, _DAMAGED), None


def _has_value(entry: Entry) -> bool:
    return bool(entry.serializer)


def without_value(entry: Entry, why: str, *, keep_json: bool = False) -> Entry:
    """Return an entry that shows what was recorded, and whose step runs again.

    Args:
        entry: any; one that waits for a restart or is history stays what it is.
        why: what happened to its value; follows "its value was".
        keep_json: JSON is harmless: leave it to be looked at.
    """
    if not (keep_json and entry.serializer == "json"):
        entry = entry._replace(serializer="", payload=None, buffers=(), size=0, blob="")
    match entry.status:
        case EntryStatus.SUCCEEDED | EntryStatus.CANCELLED if entry.at_most_once:
            # It must not be called again unasked: as after a crash, its outcome has to be told.
            return entry._replace(status=EntryStatus.RUNNING, ended_at=None, note=LEFT_WITHOUT + why)
        case EntryStatus.SUCCEEDED:
            return entry._replace(status=EntryStatus.UNSTORABLE, note=why)
        case EntryStatus.CANCELLED:
            return entry._replace(status=EntryStatus.INTERRUPTED)
        case EntryStatus.FAILED if not entry.at_most_once:
            return entry._replace(left=True, survived=False)
        case _:
            return entry


def _lines(store: Store, run_id: int, entries: Sequence[Entry], members: dict[int, Member]) -> Iterator[bytes]:
    codes = {code for entry in entries if (code := parts_from(entry.code.inputs).code)}
    codes = named_texts(codes, store.texts(codes))
    for name, text in store.texts(codes).items():
        yield export_rows.text_line(name, text)
    for entry in entries:
        member = members.get(entry.seq)
        value: Payload | None = None
        if member is None and _has_value(entry):
            entry, value = _with_value(store, run_id, entry)
        yield export_rows.entry_line(entry, value, member)
    for entry in entries:
        for attempt in store.attempts(run_id, entry.seq):
            yield export_rows.attempt_line(attempt)
    seqs = [entry.seq for entry in entries]
    for begin in range(0, len(seqs), _AT_ONCE):
        for seq, extra in store.extras(run_id, seqs[begin : begin + _AT_ONCE]).items():
            yield export_rows.extra_line(seq, extra)
    for message in store.inbox(run_id):
        if message.ask in (Ask.ANSWER, Ask.REJECT):
            yield export_rows.message_line(message)


def _manifest(
    store: Store, info: RunInfo, entries: Sequence[Entry], size: int, lost: int, values: bool, now: float
) -> dict[str, Any]:
    from notebook_durable._version import __version__

    executions = [
        export_rows.execution_line(one, None if one.used is None else ranges_text(one.used))
        for one in store.executions(info.id)
    ]
    return {
        "exported_at": now,
        "versions": f"notebook_durable {__version__}, Python {sys.version.split()[0]}",
        "workflow": info.run.workflow,
        "key": info.run.key,
        "number": info.number,
        "status": str(info.status),
        "created_at": info.created_at,
        "ended_at": info.ended_at,
        "entries": len(entries),
        "size": size,
        "values": values,
        "left_out": lost,
        "executions": executions,
    }
