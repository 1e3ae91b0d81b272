"""Texts that entries name by the digest of what they say: sources of functions, each kept once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from notebook_durable.parts import named_texts, parts_from, text_id
from notebook_durable.stores.rows import text_of

__all__ = ["hasher", "keep", "read", "sweep"]


def keep(connection: sqlite3.Connection, texts: Mapping[str, str]) -> None:
    """Write those that aren't there yet. An id that is taken by something else gets the right text back."""
    for name, text in texts.items():
        row = connection.execute("SELECT text FROM texts WHERE id = ?", (name,)).fetchone()
        if row is None or row[0] != text.encode():
            connection.execute("INSERT OR REPLACE INTO texts VALUES (?, ?)", (name, text))


def read(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, str]:
    """Return texts by id. They are not signed: an id is the digest of its text, and stands in a signed entry."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(ids):
        row = connection.execute("SELECT text FROM texts WHERE id = ?", (name,)).fetchone()
        if row is not None and isinstance(row[0], bytes):
            text = row[0].decode("utf-8", "replace")
            if text_id(text, hasher()) == name:
                found[name] = text
    return found


def hasher() -> object:
    """Return what ids of texts are made with."""
    from blake3 import blake3

    return blake3()


def sweep(connection: sqlite3.Connection) -> int:
    """Delete texts that no entry names; return how many."""
    codes = {
        parts_from(text_of(inputs)).code
        for table in ("entries", "detached")
        for (inputs,) in connection.execute(f"SELECT inputs FROM {table} WHERE inputs != ''")  # noqa: S608
    }
    named = named_texts(codes, read(connection, codes))
    unnamed = [name for (raw,) in connection.execute("SELECT id FROM texts") if (name := text_of(raw)) not in named]
    connection.executemany("DELETE FROM texts WHERE id = ?", [(name,) for name in unnamed])
    return len(unnamed)
