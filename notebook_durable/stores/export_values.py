"""Large values on their way out of a journal's files and into them, a piece at a time: never a whole one in memory."""

from __future__ import annotations

import hmac
import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from notebook_durable.errors import DamagedValueError
from notebook_durable.stores.blob_file import making
from notebook_durable.stores.blobs import READING
from notebook_durable.stores.folder import BLOBS, PACKS
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.packs import SUFFIX
from notebook_durable.stores.references import BlobRef, PackRef, reference_from
from notebook_durable.stores.syncing import write_at

__all__ = ["keep", "pieces_of"]

_CHUNK = 1 << 20
#: Bytes that are written in one go.
_PORTION = 8 << 20


def pieces_of(folder: Path, signer: Signer, blob: str, step: str) -> Iterator[bytes]:
    """Return a value as it lies in its file, verified before the first piece is given.

    Args:
        folder: the journal's folder.
        signer: its key.
        blob: where the value lies, as its entry says.
        step: whose value it is, for messages.

    Raises:
        DamagedValueError: if its bytes are not those that were written.
    """
    reference = reference_from(blob)
    if reference is None:
        raise DamagedValueError(step, "where it lies is not said in a way that this version knows")
    if isinstance(reference, BlobRef):
        path, offset = folder / BLOBS / reference.digest, 0
    else:
        path, offset = folder / PACKS / f"{reference.name}{SUFFIX}", reference.offset
    try:
        descriptor = os.open(path, READING)
    except OSError as error:
        raise DamagedValueError(step, f"its file can't be opened: {error.strerror}") from error
    pieces = _reading(descriptor, offset, reference, signer, step)
    try:
        next(pieces)  # reads and checks it once; the file stays open, so nobody can take it away in between
    except BaseException:
        pieces.close()
        raise
    return pieces


def _reading(
    descriptor: int, offset: int, reference: BlobRef | PackRef, signer: Signer, step: str
) -> Generator[bytes, None, None]:
    try:
        for _ in _checked(descriptor, offset, reference, signer, step):
            pass
        yield b""
        yield from _checked(descriptor, offset, reference, signer, step)
    finally:
        os.close(descriptor)


def _checked(descriptor: int, offset: int, reference: BlobRef | PackRef, signer: Signer, step: str) -> Iterator[bytes]:
    hasher, left = signer.hasher(), reference.length
    if isinstance(reference, BlobRef) and os.fstat(descriptor).st_size != left:
        raise DamagedValueError(step, "its file has another length than was written")
    while left:
        try:
            piece = os.pread(descriptor, min(_CHUNK, left), offset)
        except OSError as error:
            raise DamagedValueError(step, f"its file can't be read: {error.strerror}") from error
        if not piece:
            raise DamagedValueError(step, "its file is cut off")
        hasher.update(piece)
        offset, left = offset + len(piece), left - len(piece)
        yield piece
    if not hmac.compare_digest(hasher.hexdigest(), reference.digest):
        raise DamagedValueError(step, "its bytes are not those that were written")


def keep(folder: Path, signer: Signer, pieces: Iterable[bytes], length: int) -> BlobRef:
    """Write a value to a file of its own, as ``Blobs`` does. The caller holds the gate until its row is committed.

    Args:
        folder: the journal's folder.
        signer: its key.
        pieces: the value as ``layout`` writes it; an error there leaves nothing behind.
        length: of all pieces.

    Raises:
        OSError: if it can't be written.
    """
    with making(folder) as file:
        file.digest = digest = _write(file.descriptor, signer, pieces)
    return BlobRef(digest, length)


def _write(descriptor: int, signer: Signer, pieces: Iterable[bytes]) -> str:
    hasher, offset, portion, size = signer.hasher(), 0, [], 0
    for piece in pieces:
        hasher.update(piece)
        portion.append(memoryview(piece))
        size += len(piece)
        if size >= _PORTION:
            write_at(descriptor, portion, offset)
            offset, portion, size = offset + size, [], 0
    if portion:
        write_at(descriptor, portion, offset)
    return str(hasher.hexdigest())
