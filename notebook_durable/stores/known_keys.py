"""Which keys this user has had: tells a journal of one's own, whose key is lost or elsewhere, from a stranger's.

``notebook_durable_keys``, beside the default key, has a line for each key (its id, never the key) and place that it was
used at. It only chooses words: nothing is believed because of it, and whatever is wrong with it, work goes on.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from notebook_durable.errors import ConfigurationError
from notebook_durable.stores.keys import default_key_path, key_id_of, read_key

__all__ = ["Known", "Whose", "known_at", "record_path", "remember", "whose"]

_ENV_KEY_FILE = "NOTEBOOK_DURABLE_KEY_FILE"
_RECORD = "notebook_durable_keys"
#: What is read of the record, from its end; and how many places are looked at for a key.
_MOST_BYTES, _MOST_PLACES = 1 << 18, 40
#: RuntimeError: a user without a home.
_NO_RECORD = (OSError, ValueError, RuntimeError)
_remembered: set[tuple[str, str, str]] = set()


class Known(NamedTuple):
    """A key that was used once: its id, where it lay, and when it was seen there first (seconds since the epoch)."""

    key_id: str
    path: str
    at: float


class Whose(NamedTuple):
    """Whose key a journal was written with.

    Attributes:
        kind: "moved": the user's, and it lies at ``path``; "lost": the user's, and ``path`` is where it was;
            "stranger": never the user's, as far as is known.
        path: see ``kind``.
        at: when it was seen there first; 0.0: unknown.
    """

    kind: str
    path: str = ""
    at: float = 0.0


def record_path() -> Path:
    """Return where the record lies: beside the default key, wherever the key in use is."""
    return default_key_path().with_name(_RECORD)


def is_passing(path: Path) -> bool:
    """Tell whether a key lies where nothing lasts (tests, trials): such keys would only fill the record."""
    with suppress(OSError):
        return Path(os.path.realpath(tempfile.gettempdir())) in Path(os.path.realpath(path)).parents
    return False


def remember(key_id: str, path: Path) -> None:
    """Write down that this user has this key. Never raises.

    Args:
        key_id: names it.
        path: where it lies.
    """
    with suppress(*_NO_RECORD):
        record = record_path()
        item = (str(record), key_id, str(path))
        if item in _remembered or is_passing(path):
            return
        _remembered.add(item)
        known = _text(record)
        if not any((one.key_id, one.path) == item[1:] for one in _parsed(known)):
            _append(record, _line(key_id, path), torn=bool(known) and not known.endswith("\n"))


def _line(key_id: str, path: Path) -> bytes:
    said = {"key": key_id, "path": str(path), "at": round(time.time(), 3), "host": platform.node()}
    return json.dumps(said).encode() + b"\n"


def _append(record: Path, line: bytes, *, torn: bool) -> None:
    record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(record, flags, 0o600)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.write(descriptor, b"\n" * torn + line)  # one call: lines of two processes don't mix
    finally:
        os.close(descriptor)


def _text(record: Path) -> str:
    try:
        descriptor = os.open(record, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return ""
        file.seek(max(0, status.st_size - _MOST_BYTES))
        return file.read(_MOST_BYTES).decode("utf-8", "replace")


def _parsed(text: str) -> Iterator[Known]:
    for line in text.splitlines():
        try:
            said = json.loads(line)
            yield Known(str(said["key"]), str(said["path"]), float(said["at"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue  # torn, or somebody's own


def _all() -> list[Known]:
    with suppress(*_NO_RECORD):
        return list(_parsed(_text(record_path())))
    return []


def known_at(path: Path) -> list[Known]:
    """Return the keys that were used at a place, oldest first."""
    return [one for one in _all() if one.path == str(path)]


def whose(key_id: str) -> Whose:
    """Find out whose key a journal was written with.

    Looks at the user's own places only, never at one that the journal names.

    Args:
        key_id: the one that the journal names.
    """
    known = _all()
    mine = [one for one in known if one.key_id == key_id]
    for path in _places(mine, known):
        if _id_at(path) == key_id:
            return Whose("moved", path, mine[0].at if mine else 0.0)
    return Whose("lost", mine[-1].path, mine[-1].at) if mine else Whose("stranger")


def _places(mine: list[Known], known: list[Known]) -> list[str]:
    """Where the key may lie now, without doubles; ``.old`` is where our own message has people move a key."""
    named = [one.path for one in (*reversed(mine), *reversed(known))]
    default = ""
    with suppress(*_NO_RECORD):
        default = str(default_key_path())
    places = dict.fromkeys(path for path in (default, os.environ.get(_ENV_KEY_FILE, ""), *named) if path)
    return [place for path in list(places)[:_MOST_PLACES] for place in (path, f"{path}.old")]


def _id_at(path: str) -> str:
    try:
        file = Path(path).expanduser()
        return key_id_of(read_key(file)) if file.is_file() else ""
    except (ConfigurationError, OSError, ValueError, RuntimeError):
        return ""
