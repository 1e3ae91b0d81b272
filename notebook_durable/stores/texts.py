"""Texts that entries name by the digest of what they say: sources of functions, each kept once."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping

from notebook_durable.parts import parts_from, text_id

__all__ = ["keep", "read", "sweep"]


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
            if text_id(text, _hasher()) == name:
                found[name] = text
    return found


def _hasher() -> object:
    from blake3 import blake3

    return blake3()


def sweep(connection: sqlite3.Connection) -> int:
    """Delete texts that no entry names; return how many."""
    named: set[str] = set()
    for table in ("entries", "detached"):
        for (inputs,) in connection.execute(f"SELECT inputs FROM {table} WHERE inputs != ''"):  # noqa: S608
            code = parts_from(_decoded(inputs)).code
            if code and code not in named:
                named.add(code)
    for code, text in read(connection, named).items():
        named |= {code, *_named_in(text)}
    unnamed = [name for (raw,) in connection.execute("SELECT id FROM texts") if (name := _decoded(raw)) not in named]
    connection.executemany("DELETE FROM texts WHERE id = ?", [(name,) for name in unnamed])
    return len(unnamed)


def _named_in(text: str) -> Collection[str]:
    from notebook_durable.parts import code_from

    return {part.text for part in code_from(text).functions.values() if part.text}


def _decoded(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
