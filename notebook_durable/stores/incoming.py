"""An exported run on its way in: checked from end to end before anything of it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from notebook_durable.errors import ConfigurationError, UntrustedExportError
from notebook_durable.model import Entry, EntryStatus, ExecutionInfo, Extra, Outcome, RunId, RunStatus
from notebook_durable.parts import text_id
from notebook_durable.stores.export_file import Archive, opened
from notebook_durable.stores.export_rows import Member, Misread, Row, execution_of, moment, row_of, time_of
from notebook_durable.stores.exporting import without_value
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.runs import ranges_from
from notebook_durable.stores.texts import hasher

__all__ = ["Incoming", "incoming", "look"]

_LEFT_OUT = "left out when it was imported"
_JSON = "json"


@dataclass(frozen=True)
class Incoming:
    """A run that was checked.

    Attributes:
        archive: its file.
        run: its name.
        signed: it was exported with this user's key.
        trusted: so, or it is believed all the same.
        values: they are to be imported; else the steps run again.
        status, created_at, ended_at, executions: as they were.
        entries, size: how many, and bytes of all values.
        members: the values that lie in parts of their own, by entry.
        types: of the values that will be unpickled some day, with how many there are of each.
    """

    archive: Archive
    run: RunId
    signed: bool
    trusted: bool
    values: bool
    status: RunStatus
    created_at: float
    ended_at: float | None
    executions: Sequence[ExecutionInfo]
    entries: int
    size: int
    members: Mapping[int, Member]
    types: Mapping[str, int]

    def rows(self) -> Iterator[Row]:
        """Read everything again, as it is to be written. An entry whose value is in ``members`` has none yet."""
        for line in self.archive.lines():
            row = row_of(line)
            if row.kind == "entry":
                entry: Entry = row.item
                yield row._replace(item=entry if self.values else without_value(entry, _LEFT_OUT, keep_json=True))
            elif row.kind == "extra" and not self.trusted:
                seq, extra = row.item
                yield row._replace(item=(seq, Extra(extra.preview)))  # outputs of strangers are not shown
            elif row.kind != "message" or self.values:
                yield row


@contextmanager
def incoming(path: Path, signer: Signer, *, trust: bool, values: bool) -> Iterator[Incoming]:
    """Open an exported run, and check every byte of it.

    Args:
        path: the file.
        signer: the key that it should have been exported with.
        trust: believe it all the same.
        values: with the values; a stranger's may be looked at without.

    Raises:
        StoreError: if it is damaged or none of ours.
        UntrustedExportError: if it was exported with another key, unless ``trust``, or without values.
        ConfigurationError: if there is no such file.
    """
    with opened(path) as archive:
        signed = archive.is_signed_by(signer)
        if not signed and not trust and values:
            raise UntrustedExportError(str(path), signer.path)
        yield _checked(archive, values, signed=signed, trusted=signed or trust)


@contextmanager
def look(path: Path) -> Iterator[Incoming]:
    """Open an exported run to say what is in it: checked for damage, and not for whose it is.

    Raises:
        StoreError, ConfigurationError: as :func:`incoming` does.
    """
    with opened(path) as archive:
        yield _checked(archive, values=True, signed=False, trusted=False)


def _checked(archive: Archive, values: bool, *, signed: bool, trusted: bool) -> Incoming:
    about = archive.manifest
    try:
        run = RunId(about["workflow"], about["key"])
        status, created, ended = RunStatus(about["status"]), moment(about["created_at"]), time_of(about["ended_at"])
        executions = [execution_of(raw, ranges_from) for raw in about["executions"]]
    except (ConfigurationError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Misread(f"its manifest is incomplete ({error!s:.100})") from error
    if [one.number for one in executions] != list(range(1, len(executions) + 1)):
        raise Misread("its executions are not in order")
    found = _look_through(archive, values)
    status = RunStatus.INTERRUPTED if status is RunStatus.RUNNING else status
    return Incoming(
        archive, run, signed, trusted, values, status, created, ended,
        [_ended(one) for one in executions], found.entries, found.size, found.members, found.types,
    )  # fmt: skip


def _ended(one: ExecutionInfo) -> ExecutionInfo:
    """What was under way when it was exported is not under way here."""
    if one.outcome is not Outcome.RUNNING:
        return one
    return ExecutionInfo(one.number, one.started_at, one.ended_at, Outcome.KILLED, one.used)


def _look_through(archive: Archive, values: bool) -> _Seen:
    seen = _Seen({}, Counter())
    last = -1
    for line in archive.lines():
        row = row_of(line)
        if row.kind == "text" and text_id(row.item[1], hasher()) != row.item[0]:
            raise Misread("a text of it is not what its name says")
        if row.kind != "entry":
            continue
        entry: Entry = row.item
        if entry.seq <= last:
            raise Misread("its entries are not in order")
        last = entry.seq
        seen.add(entry, row.member)
    if values:
        for seq, member in seen.members.items():
            for _ in archive.pieces(seq, member):
                pass
    else:
        seen.members.clear()
    return seen


@dataclass
class _Seen:
    members: dict[int, Member]
    types: Counter[str]
    entries: int = 0
    size: int = 0

    def add(self, entry: Entry, member: Member | None) -> None:
        self.entries += 1
        self.size += entry.size
        if member is not None:
            self.members[entry.seq] = member
        if (member is not None or entry.payload is not None) and entry.serializer != _JSON:
            failed = entry.status is EntryStatus.FAILED
            self.types[f"{entry.value_type or 'an exception'}{' (an error)' if failed else ''}"] += 1
