"""Collecting files of values that no row refers to, what crashes left, and counting what there is."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from notebook_durable.protocols import DiskUsage
from notebook_durable.stores.blob_file import TEMPORARY
from notebook_durable.stores.folder import BLOBS, PACKS, QUARANTINE, free_space
from notebook_durable.stores.gate import Gate
from notebook_durable.stores.packs import SUFFIX
from notebook_durable.stores.references import BlobRef, PackRef, reference_from

__all__ = ["collect", "disk_usage", "needed", "unneeded"]

#: Seconds to wait for writers of large values.
_PATIENCE = 30.0


def needed(references: Collection[str]) -> set[str]:
    """Return the names of the files that references need, relative to the journal's folder."""
    names = set()
    for text in references:
        reference = reference_from(text)
        if isinstance(reference, BlobRef):
            names.add(f"{BLOBS}/{reference.digest}")
        elif isinstance(reference, PackRef):
            names.add(f"{PACKS}/{reference.name}{SUFFIX}")
    return names


def unneeded(folder: Path, references: Collection[str]) -> list[Path]:
    """Return the files of values that no reference needs, with what crashes left. Other files are not ours to judge."""
    names = needed(references)
    return [path for path in _files(folder) if f"{path.parent.name}/{path.name}" not in names]


def _files(folder: Path) -> Iterator[Path]:
    for path in (folder / BLOBS).glob("*"):
        if path.suffix == TEMPORARY or (len(path.name) == 64 and not path.suffix):
            yield path
    yield from (folder / PACKS).glob(f"*{SUFFIX}")


def collect(folder: Path, gate: Gate, references: Callable[[], Collection[str]]) -> bool:
    """Unlink what no row refers to. Who has mapped it keeps it.

    Args:
        folder: the journal's folder.
        gate: keeps writers out meanwhile.
        references: reads what the rows refer to; called when nobody writes.

    Returns:
        False if nothing was done, because somebody wrote large values all the time.
    """
    if not any(True for _ in _files(folder)):
        return True
    with gate.collecting(_PATIENCE) as held:
        if not held:
            return False
        for path in unneeded(folder, references()):
            with suppress(OSError):  # read-only, or gone already
                path.unlink()
    return True


def disk_usage(folder: Path, database: Collection[Path], references: Collection[str]) -> DiskUsage:
    """Count the bytes on the disk.

    Args:
        folder: the journal's folder.
        database: the files of its database.
        references: what its rows refer to.
    """
    blobs, packs, apart = (sum(map(_size, (folder / name).glob("*"))) for name in (BLOBS, PACKS, QUARANTINE))
    idle = sum(map(_size, unneeded(folder, references)))
    return DiskUsage(sum(map(_size, database)), blobs, packs, apart, free_space(folder), idle)


def _size(path: Path) -> int:
    try:
        status = os.lstat(path)
    except OSError:
        return 0  # just deleted
    blocks: int = getattr(status, "st_blocks", 0)
    return blocks * 512 if blocks else status.st_size
