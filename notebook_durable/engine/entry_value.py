"""The value of a step as it lies in its entry or in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notebook_durable.model import Entry, Payload

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["payload_of", "settled"]


def settled(entry: Entry) -> Entry:
    """Copy the buffers of an entry that is written later: until then the cell may change the value they belong to."""
    return entry._replace(buffers=tuple(map(bytes, entry.buffers))) if entry.buffers else entry


def payload_of(session: Session, entry: Entry) -> Payload:
    """Return the verified bytes of a recorded value.

    Raises:
        DamagedValueError: if they are not what was recorded.
    """
    if entry.blob:
        return session.store.payload(session.claim.id, entry)
    return Payload(entry.serializer, entry.payload or b"", entry.value_type, (), entry.libraries)
