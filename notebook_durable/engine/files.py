"""Files whose content counts: ``ctx.run("load", load, reads=file("orders.csv"))``."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from notebook_durable.errors import ConfigurationError

__all__ = ["File", "FileDigests", "file", "is_url", "path_key"]

_CHUNK = 1 << 20  # bytes
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\S+$")
_TICK = 2.0  # seconds; FAT's is two


class File:
    """A file, or a folder with all that is in it, that a step reads; see :func:`file`."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"file({self.path!r})"


def file(path: str | os.PathLike[str]) -> File:
    """Name a file whose content counts for a step's fingerprint: ``reads=file("orders.csv")``.

    Args:
        path: of a file, or of a folder, which counts with the names and contents of all that is below it. It need not
            exist: coming and going are changes too.

    Raises:
        ConfigurationError: if it isn't a path.
    """
    text: str | bytes
    try:
        text = os.fspath(path)
    except TypeError:
        text = b""
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"file() takes the path of a file, not {path!r:.80}")
    return File(text)


def _below(folder: Path) -> Iterator[Path]:
    """All files and folders below a folder, through links too, each real folder once."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in (*folders, *files) if Path(place, name).exists())


def is_url(text: str) -> bool:
    """Tell whether a text is a URL and nothing else."""
    return _URL.match(text) is not None


def path_key(text: str) -> str:
    """Write a path so that two ways to name one file are one text; a URL stays as it is."""
    return text if _URL.match(text) else os.path.abspath(text)  # noqa: PTH100  resolve() asks the disk


class FileDigests:
    """Digests files; one that is unchanged by name, size and time isn't read again.

    Args:
        new_hash: makes a hasher.
    """

    def __init__(self, new_hash: Callable[[], Any]) -> None:
        self._new_hash = new_hash
        self._known: dict[Path, tuple[tuple[int, int, int, int], bytes]] = {}

    def digest(self, path: str) -> bytes:
        """Return a digest of what is at ``path`` now."""
        try:
            if not Path(path).is_dir():
                return self._file(Path(path))
            hasher = self._new_hash()
            for one in sorted(_below(Path(path))):
                name = str(one.relative_to(path)).encode("utf-8", "surrogatepass")
                hasher.update(b"%d:%s" % (len(name), name) + (b"folder" if one.is_dir() else self._file(one)))
            return bytes(hasher.digest()[:16])
        except OSError as error:
            return f"none: {type(error).__name__}".encode()

    def _file(self, path: Path) -> bytes:
        status = path.stat()
        # A change within the clock tick of a file system shows in no time stamp: what is that young is read again.
        state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        known = self._known.get(path)
        if known is not None and known[0] == state:
            return known[1]
        hasher = self._new_hash()
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                hasher.update(chunk)
        digest = bytes(hasher.digest()[:16])
        if time.time() - max(status.st_mtime, status.st_ctime) > _TICK:
            self._known[path] = state, digest
        return digest
