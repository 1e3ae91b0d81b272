"""What is kept beside entries for people, and messages from outside: two tables, each row with a mark of its own."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Collection

from notebook_durable.model import Ask, Extra, Message, Payload
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.rows import PLACES, clean, place

__all__ = [
    "discard",
    "extra_mark",
    "forget",
    "inbox",
    "keep",
    "message_mark",
    "post",
    "present",
    "read",
    "shown",
]

# --- extras


def keep(
    connection: sqlite3.Connection, run_id: int, seq: int, extra: Extra | None, who: bytes, signer: Signer
) -> None:
    """Write the extra of an entry, or delete that of an earlier state."""
    if not extra:
        connection.execute("DELETE FROM extras WHERE place = ?", (place(run_id, seq),))
        return
    preview, outputs = clean(extra.preview).decode(), clean(extra.outputs).decode()
    mark = signer.mark(_extra_head(seq, preview.encode(), outputs.encode(), who))
    connection.execute(
        "INSERT OR REPLACE INTO extras VALUES (?, ?, ?, ?)", (place(run_id, seq), preview, outputs, mark)
    )


def _extra_head(seq: int, preview: bytes, outputs: bytes, who: bytes) -> bytes:
    return b"".join((who, struct.pack("<3q", seq, len(preview), len(outputs)), preview, outputs))


def extra_mark(seq: int, preview: bytes, outputs: bytes, who: bytes, signer: Signer) -> bytes:
    """Return the mark of a row as it stands there.

    Raises:
        struct.error, TypeError, UnicodeDecodeError: if no writer of ours can have written it.
    """
    preview.decode(), outputs.decode()
    return signer.mark(_extra_head(seq, preview, outputs, who))


def read(
    connection: sqlite3.Connection, run_id: int, seqs: Collection[int] | None, who: bytes, signer: Signer, trusted: bool
) -> dict[int, Extra]:
    """Return the extras of these entries, or of all; of a journal of somebody else's only the previews."""
    query = "SELECT place & 4294967295, preview, outputs, mark FROM extras WHERE "
    if seqs is None:
        rows = connection.execute(query + PLACES, (run_id, run_id)).fetchall()
    else:
        rows = [
            row for seq in seqs for row in connection.execute(f"{query} place = ?", (place(run_id, seq),)).fetchall()
        ]
    found = {}
    for seq, preview, outputs, mark in rows:
        if not isinstance(preview, bytes) or not isinstance(outputs, bytes) or not isinstance(mark, bytes):
            continue
        if not trusted:
            found[seq] = Extra(preview.decode("utf-8", "replace"))
        elif signer.matches(mark, _extra_head(seq, preview, outputs, who)):
            found[seq] = Extra(preview.decode(), outputs.decode())
    return found


def shown(connection: sqlite3.Connection, run_id: int) -> frozenset[int]:
    """Return the entries of a run that have outputs."""
    rows = connection.execute(
        f"SELECT place & 4294967295 FROM extras WHERE {PLACES} AND outputs != ''",  # noqa: S608
        (run_id, run_id),
    )
    return frozenset(seq for (seq,) in rows)


def present(connection: sqlite3.Connection, run_id: int) -> set[int]:
    """Return the entries of a run that have an extra."""
    rows = connection.execute(f"SELECT place & 4294967295 FROM extras WHERE {PLACES}", (run_id, run_id))  # noqa: S608
    return {seq for (seq,) in rows}


def forget(connection: sqlite3.Connection, run_id: int, seqs: Collection[int] | None) -> None:
    """Delete the extras of entries, and the messages for them."""
    if seqs is None:
        connection.execute(f"DELETE FROM extras WHERE {PLACES}", (run_id, run_id))  # noqa: S608
        connection.execute("DELETE FROM mailbox WHERE run_id = ?", (run_id,))
        return
    for seq in seqs:
        connection.execute("DELETE FROM extras WHERE place = ?", (place(run_id, seq),))
        connection.execute("DELETE FROM mailbox WHERE run_id = ? AND seq = ?", (run_id, seq))


# --- messages


def post(connection: sqlite3.Connection, run_id: int, message: Message, who: bytes, signer: Signer) -> None:
    """Write a message."""
    payload = message.payload or Payload("", b"", "")
    texts = [clean(text) for text in (message.ask, message.text, payload.serializer, payload.value_type)]
    given = None if message.payload is None else payload.data
    mark = signer.mark(_message_head(message.seq, float(message.at), texts, given, who), given or b"")
    connection.execute(
        "INSERT INTO mailbox (run_id, seq, ask, text, serializer, value_type, payload, at, mark) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (run_id, message.seq, *(text.decode() for text in texts), given, float(message.at), mark),
    )


def _message_head(seq: int, at: float, texts: list[bytes], payload: bytes | None, who: bytes) -> bytes:
    lengths = struct.pack("<qd5q", seq, at, -1 if payload is None else len(payload), *map(len, texts))
    return b"".join((who, lengths, *texts))


def message_mark(seq: int, texts: list[bytes], payload: bytes | None, at: float, who: bytes, signer: Signer) -> bytes:
    """Return the mark of a message as it stands there, as :func:`extra_mark` does.

    Args:
        seq, payload, at: its columns.
        texts: ask, text, serializer and type of the value.
        who: what the marks of its run begin with.
        signer: the key.
    """
    Ask(texts[0].decode())
    return signer.mark(_message_head(seq, at, texts, payload, who), payload or b"")


def inbox(connection: sqlite3.Connection, run_id: int, who: bytes, signer: Signer) -> list[Message]:
    """Return the authentic messages of a run, oldest first."""
    rows = connection.execute(
        "SELECT id, seq, ask, text, serializer, value_type, payload, at, mark FROM mailbox WHERE run_id = ? "
        "ORDER BY id",
        (run_id,),
    ).fetchall()
    messages = []
    for id_, seq, ask, text, serializer, value_type, payload, at, mark in rows:
        try:
            texts = [ask, text, serializer, value_type]
            if not signer.matches(mark, _message_head(seq, at, texts, payload, who), payload or b""):
                continue
            answer = None if payload is None else Payload(serializer.decode(), payload, value_type.decode())
            messages.append(Message(id_, seq, Ask(ask.decode()), answer, text.decode(), at))
        except (struct.error, TypeError, ValueError, AttributeError):
            continue  # not even the types are right
    return messages


def discard(connection: sqlite3.Connection, run_id: int, ids: Collection[int]) -> None:
    """Delete messages."""
    connection.executemany("DELETE FROM mailbox WHERE run_id = ? AND id = ?", [(run_id, one) for one in ids])
