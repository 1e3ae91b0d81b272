"""The limit: one SQLite WAL commit with synchronous=FULL for each step, and nothing else. Holds the value as JSON."""

import json
import sqlite3
import sys
from pathlib import Path

from common import measure, step


def first(folder: Path, steps: int) -> list[dict[str, object]]:
    db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE steps (seq INTEGER PRIMARY KEY, name TEXT, value TEXT)")
    values = []
    for index in range(steps):
        values.append(step(index))
        db.execute("INSERT INTO steps VALUES (?, 'step', ?)", (index, json.dumps(values[-1])))
    return values


def replay(folder: Path, steps: int) -> list[dict[str, object]]:
    db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    return [json.loads(value) for (value,) in db.execute("SELECT value FROM steps ORDER BY seq")]


if __name__ == "__main__":
    measure(first if sys.argv[1] == "first" else replay)
