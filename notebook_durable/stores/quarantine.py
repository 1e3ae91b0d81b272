"""Where values go whose bytes are not what was recorded: kept for whoever wants to look, never deleted or believed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from notebook_durable.stores.folder import QUARANTINE

__all__ = ["put"]


def put(folder: Path, path: Path, descriptor: int, span: tuple[int, int] | None) -> None:
    """Move a damaged file away, or copy the damaged part of a pack, whose other values may be good. Never raises.

    Args:
        folder: the journal's folder.
        path: the damaged file.
        descriptor: it, opened: another process may have put a good one in its place since.
        span: offset and length of the part; None: the whole file.
    """
    with suppress(OSError):
        (folder / QUARANTINE).mkdir(mode=0o700, exist_ok=True)
        if span is not None:
            _copy(folder, path, descriptor, span)
        elif os.path.samestat(os.fstat(descriptor), path.lstat()):
            path.rename(_free(folder / QUARANTINE / path.name))


def _copy(folder: Path, path: Path, descriptor: int, span: tuple[int, int]) -> None:
    offset, length = span
    target = folder / QUARANTINE / f"{path.name}-{offset}-{length}"
    part = os.pread(descriptor, length, offset)
    if target.exists() and target.read_bytes() == part:
        return  # asked for again
    with os.fdopen(os.open(_free(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(part)


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists() or free.is_symlink():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
