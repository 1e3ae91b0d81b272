"""Values of another key's journal: looked at without believing them, and written anew under names of one's own key.

What is read is never mapped and never unpickled: whoever else has the folder may cut a file off at any moment, and a
value is not believed before its bytes are those that were agreed to.
"""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from notebook_durable.stores.blob_file import making
from notebook_durable.stores.blobs import LARGEST_IN_PACK, READING, Blobs, Unbelievable
from notebook_durable.stores.folder import BLOBS, PACKS
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.layout import Image, Misshapen, data_span, header_size, shape_of
from notebook_durable.stores.packs import SUFFIX
from notebook_durable.stores.references import BlobRef, PackRef, reference_from
from notebook_durable.stores.syncing import write_at

__all__ = ["Copier", "look", "plain"]

_BEGINNING, _CHUNK = 24, 8 << 20


def look(folder: Path, text: str, old: Signer | None) -> int:
    """Return how many bytes a value takes, without believing it.

    Args:
        folder: the journal's folder.
        text: where the value lies, as a row says it.
        old: the key it was written with, if it is at hand: then its bytes are checked.

    Raises:
        Unbelievable: if it isn't there, is cut off or is none; with ``old`` also if a bit is wrong.
    """
    with _opened(folder, text) as (descriptor, offset, reference):
        if old is not None:
            hasher = old.hasher()
            for chunk in _chunks(descriptor, offset, reference.length):
                hasher.update(chunk)
            _check(hasher.hexdigest(), reference)
        return reference.length


def plain(folder: Path, text: str) -> bytes:
    """Return the data of a value that nobody has checked: only for what is harmless to read, such as JSON.

    Raises:
        Unbelievable: as :func:`look` does.
    """
    with _opened(folder, text) as (descriptor, offset, reference):
        beginning = os.pread(descriptor, _BEGINNING, offset)
        header = os.pread(descriptor, header_size(beginning), offset)
        first, last = shape_of(header, reference.length).data
        return b"".join(_chunks(descriptor, offset + first, last - first))


def _check(digest: str, reference: BlobRef | PackRef) -> None:
    if not hmac.compare_digest(digest, reference.digest):
        raise Unbelievable("its bytes are not those that were written")


@contextmanager
def _opened(folder: Path, text: str) -> Iterator[tuple[int, int, BlobRef | PackRef]]:
    """Open the file of a value, whose size and header are as they have to be; gives also where in it the value begins.

    Raises:
        Unbelievable: if they aren't.
    """
    reference = reference_from(text)
    if reference is None:
        raise Unbelievable("where it lies is not said in a way that this version knows")
    if isinstance(reference, BlobRef):
        path, offset = folder / BLOBS / reference.digest, 0
    else:
        path, offset = folder / PACKS / f"{reference.name}{SUFFIX}", reference.offset
    try:
        descriptor = os.open(path, READING)
    except FileNotFoundError as error:
        raise Unbelievable("its file is missing") from error
    except OSError as error:
        raise Unbelievable(f"its file can't be opened: {error.strerror}") from error
    try:
        _check_size(descriptor, offset, reference)
        yield descriptor, offset, reference
    finally:
        os.close(descriptor)


def _check_size(descriptor: int, offset: int, reference: BlobRef | PackRef) -> None:
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unbelievable("its file is no file")
        end = offset + reference.length
        if status.st_size < end or (isinstance(reference, BlobRef) and status.st_size != end):
            raise Unbelievable(f"its file has {status.st_size:,} bytes, not {end:,}")
        beginning = os.pread(descriptor, min(_BEGINNING, reference.length), offset)
        data_span(beginning, reference.length)
        shape_of(os.pread(descriptor, min(header_size(beginning), reference.length), offset), reference.length)
    except Misshapen as error:
        raise Unbelievable(str(error)) from error
    except OSError as error:
        raise Unbelievable(f"its file can't be read: {error.strerror}") from error


def _chunks(descriptor: int, offset: int, length: int) -> Iterator[bytes]:
    end = offset + length
    while offset < end:
        try:
            chunk = os.pread(descriptor, min(_CHUNK, end - offset), offset)
        except OSError as error:
            raise Unbelievable(f"its file can't be read: {error.strerror}") from error
        if not chunk:
            raise Unbelievable("its file is cut off")
        offset += len(chunk)
        yield chunk


class Copier:
    """Writes values anew, each once. The caller holds the gate until the rows that refer to them are committed.

    Args:
        folder: the journal's folder.
        blobs: writes what is not large.
        signer: the key that they are digested with then.
        old: the key that they were written with, if it is at hand.
    """

    def __init__(self, folder: Path, blobs: Blobs, signer: Signer, old: Signer | None) -> None:
        self._folder, self._blobs = folder, blobs
        self._signer, self._old = signer, old
        self._known: dict[str, str | Unbelievable] = {}

    def copy(self, text: str) -> str:
        """Return where the value at ``text`` lies now. It is on the disk after ``Blobs.wait``.

        Raises:
            Unbelievable: as :func:`look` does.
            OSError: if it can't be written.
        """
        known = self._known.get(text)
        if known is None:
            try:
                known = str(self._copy(text))
            except Unbelievable as error:
                known = error
            self._known[text] = known
        if isinstance(known, Unbelievable):
            raise known
        return known

    def _copy(self, text: str) -> BlobRef | PackRef:
        with _opened(self._folder, text) as (descriptor, offset, reference):
            if reference.length > LARGEST_IN_PACK:
                return self._stream(descriptor, offset, reference)
            # As one piece of memory: what is checked is what is written.
            data = b"".join(_chunks(descriptor, offset, reference.length))
            if self._old is not None:
                hasher = self._old.hasher()
                hasher.update(data)
                _check(hasher.hexdigest(), reference)
            return self._blobs.write_image(Image((memoryview(data),), len(data)))

    def _stream(self, descriptor: int, offset: int, reference: BlobRef | PackRef) -> BlobRef:
        with making(self._folder) as file:
            mine, theirs, done = self._signer.hasher(), self._old and self._old.hasher(), 0
            for chunk in _chunks(descriptor, offset, reference.length):
                write_at(file.descriptor, [memoryview(chunk)], done)
                mine.update(chunk)
                if theirs:
                    theirs.update(chunk)
                done += len(chunk)
            if theirs:
                _check(theirs.hexdigest(), reference)
            file.digest = digest = mine.hexdigest()
        return BlobRef(digest, reference.length)
