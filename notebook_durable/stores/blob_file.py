"""The file of one large value in the making: under a temporary name until it is whole, and on the disk."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from notebook_durable.stores.folder import BLOBS
from notebook_durable.stores.keys import sync_folder
from notebook_durable.stores.syncing import sync_file

__all__ = ["TEMPORARY", "BlobFile", "making"]

#: How the names of such files end. What a killed kernel leaves of them is litter.
TEMPORARY = ".tmp"


class BlobFile:
    """A file to be written to.

    Attributes:
        descriptor: open for writing.
        digest: of what was written, once that is known: the file's name. None: throw it away.
    """

    __slots__ = ("descriptor", "digest")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.digest: str | None = None


@contextmanager
def making(folder: Path) -> Iterator[BlobFile]:
    """Make a value's file. Nothing is left behind where the block fails, or gives no digest.

    Args:
        folder: the journal's folder.

    Raises:
        OSError: if it can't be written.
    """
    place = folder / BLOBS
    if not place.is_dir():
        place.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder)
    temporary = place / f"{os.getpid()}-{secrets.token_hex(8)}{TEMPORARY}"
    made = BlobFile(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        try:
            yield made
            if made.digest is not None:
                sync_file(made.descriptor)
        finally:
            os.close(made.descriptor)
        if made.digest is not None:
            # It may take the place of one with the same bytes, or of a damaged one: who has mapped that keeps it.
            temporary.replace(place / made.digest)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(place)
