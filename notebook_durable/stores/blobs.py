"""Values that are too large for a row: written to files before the row is committed, verified before they are believed.

Three kinds of places, by size, chosen by measurement (ext4 on a virtual disk, 2 busy cores, medians of 9 rounds):

- up to 64 KB in the row: one commit. 64 KB cost 0.45 ms there and 0.57 ms in a pack, 128 KB 0.75 ms and 0.52 ms, 1 MB
  5.2 ms and 1.3 ms: SQLite writes a value twice, page by page;
- up to 4 MB in a pack (see ``packs``): one wait more. 2 MB cost 2.1 ms there and 2.6 ms as a file, 4 MB 3.2 and 3.4;
  from 8 MB on there is no difference. The pack and the row of a step that was just begun are waited for side by side
  (see ``SqliteStore.record``), and room is reserved ahead: 1.05 to 1.4 of one append and fsync of the same bytes, where
  one after the other takes 1.45 to 2.1. What that may leave after a power cut in the middle of the call is a row whose
  value isn't believed, and the step runs again, as it would have without the row. Hashing in a second thread was tried
  and left out (0.15 more than hashing while the disk works); so was O_DIRECT, which saves the copy, and has every value
  read from the disk by whoever wants it next;
- larger ones as a file of their own, hashed by a second thread beside the write. The disk is set to work after each
  8 MB (``sync_file_range``): 500 MB take 0.4 to 1.0 of a plain write and fsync.

Verifying 500 MB in a map takes 1.05 of one blake3 pass over memory, and touching them after that what memory takes.
"""

from __future__ import annotations

import errno
import hmac
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from notebook_durable.stores import quarantine
from notebook_durable.stores.blob_file import making
from notebook_durable.stores.folder import BLOBS, PACKS
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.layout import Image, Misshapen, data_span, image_of, shape_of
from notebook_durable.stores.mapping import map_private
from notebook_durable.stores.packs import SUFFIX, PackWriter
from notebook_durable.stores.references import BlobRef, PackRef
from notebook_durable.stores.syncing import Digesting, write_at

__all__ = ["LARGEST_IN_PACK", "LARGEST_IN_ROW", "READING", "Blobs", "Parts", "Unbelievable"]

#: Bytes up to which a value lies in its row, and up to which it lies in a pack.
LARGEST_IN_ROW, LARGEST_IN_PACK = 64 << 10, 4 << 20
_BEGINNING = 24
#: Bytes that are read at a time where only their digest is wanted.
_CHUNK = 4 << 20
#: How values are opened: a pipe in their place must not hang us, nor a link lead out of the folder.
READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
#: Reading a file fails with these when the file itself is bad.
_BAD_FILE = {errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EFAULT}
#: No more files or maps, or a file system without maps: the value is read into memory instead.
_NO_MAP = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENODEV, errno.EINVAL}


class Unbelievable(ValueError):  # noqa: N818  an internal signal, not an error that anybody sees
    """A value's bytes are not what was recorded; says why."""


class Parts(NamedTuple):
    """A value's bytes: a copy of the data, and writable buffers that belong to the caller."""

    data: bytes
    buffers: tuple[memoryview, ...]


class Blobs:
    """Writes and reads the large values of one journal.

    Writing: the caller holds the gate until the row is committed, and writes from one thread at a time.

    Args:
        folder: the journal's folder.
        signer: its key digests the values.
    """

    def __init__(self, folder: Path, signer: Signer) -> None:
        self._folder, self._signer = folder, signer
        self._pack = PackWriter(folder, signer)

    # -- writing

    def write(self, data: bytes, buffers: Sequence[memoryview], *, last: bool = False) -> BlobRef | PackRef:
        """Write a value and return where it lies. It is on the disk after :meth:`wait`.

        Args:
            data, buffers: the value.
            last: nothing else will be written before ``wait``.

        Raises:
            OSError: if that can't be; nothing may refer to what was written since the last ``wait`` then.
        """
        return self.write_image(image_of(data, buffers), last=last)

    def write_image(self, image: Image, *, last: bool = False) -> BlobRef | PackRef:
        """Write a value that is laid out already, as :meth:`write` does."""
        return self._pack.append(image, last=last) if image.length <= LARGEST_IN_PACK else self._write_file(image)

    def wait(self) -> None:
        """Wait until all that was written is on the disk.

        Raises:
            OSError: as :meth:`write` does.
        """
        self._pack.wait()

    def start(self) -> None:
        """Begin to wait, in another thread."""
        self._pack.start()

    def give_up(self) -> None:
        """Throw away what was written since the last :meth:`wait`, as far as it lies in a pack."""
        self._pack.give_up()

    def _write_file(self, image: Image) -> BlobRef:
        with making(self._folder) as file:
            digesting = Digesting(self._signer.hasher(), image.pieces, image.length)
            try:
                write_at(file.descriptor, image.pieces, 0)
            except BaseException:
                digesting.stop()
                raise
            reference = BlobRef(digesting.result(), image.length)
            if not self._is_whole(reference):
                file.digest = reference.digest
        return reference

    def _is_whole(self, reference: BlobRef) -> bool:
        """Tell whether the same value is there already, and good: verifying it costs less than writing it again."""
        try:
            descriptor = os.open(self._path(reference), READING)
        except OSError:
            return False
        try:
            return os.fstat(descriptor).st_size == reference.length and self._matches(descriptor, 0, reference)
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def _path(self, reference: BlobRef | PackRef) -> Path:
        if isinstance(reference, BlobRef):
            return self._folder / BLOBS / reference.digest
        return self._folder / PACKS / f"{reference.name}{SUFFIX}"

    def close(self) -> None:
        """Let go of the open files."""
        self._pack.close()

    # -- reading

    def read(self, reference: BlobRef | PackRef) -> Parts:
        """Return a value, verified. What fails is moved to the quarantine.

        Raises:
            Unbelievable: if its bytes are not those that were written.
            OSError: if its file can't be opened for another reason.
        """
        try:
            descriptor = os.open(self._path(reference), READING)
        except OSError as error:
            if error.errno not in _BAD_FILE:
                raise
            said = {errno.ENOENT: "its file is missing", errno.ELOOP: "its file is a symbolic link"}
            raise Unbelievable(said.get(error.errno, error.strerror)) from error
        try:
            return self._checked(descriptor, reference)
        except OSError as error:
            if error.errno not in _BAD_FILE:
                raise
            raise Unbelievable(f"its file can't be read: {error.strerror}") from error
        except Unbelievable:
            quarantine.put(self._folder, self._path(reference), descriptor, _span(reference))
            raise
        finally:
            os.close(descriptor)

    def _checked(self, descriptor: int, reference: BlobRef | PackRef) -> Parts:
        offset, length = _span(reference) or (0, reference.length)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unbelievable("its file is no file")
        if status.st_size < offset + length:
            raise Unbelievable(f"its file is cut off: {status.st_size:,} bytes, {offset + length:,} were written")
        if isinstance(reference, BlobRef) and status.st_size != length:
            raise Unbelievable(f"its file has {status.st_size:,} bytes, {length:,} were written")
        try:
            begin, end = data_span(_read(descriptor, min(_BEGINNING, length), offset), length)
            if end == length:
                header = _read_data(descriptor, begin, offset)
                return self._verified_data(header, _read_data(descriptor, end - begin, offset + begin), reference)
            memory: Any = _mapped(descriptor, length) if isinstance(reference, BlobRef) else None
            if memory is None:
                memory = _read(descriptor, length, offset)
            # What will be unpickled is copied before it is verified: nobody can change it in between.
            return self._verified(bytes(memory[:end]), memoryview(memory), reference)
        except Misshapen as error:
            raise Unbelievable(str(error)) from error

    def _verified(self, head: bytes, memory: memoryview, reference: BlobRef | PackRef) -> Parts:
        self._verify(head, memory[len(head) :], reference)
        shape = shape_of(head, reference.length)
        return Parts(head[slice(*shape.data)], tuple(memory[slice(*span)] for span in shape.buffers))

    def _verified_data(self, header: bytes, data: bytes, reference: BlobRef | PackRef) -> Parts:
        """As :meth:`_verified`, for a value that is all data: it is copied once. Its buffers, if any, are empty."""
        self._verify(header, data, reference)
        shape = shape_of(header, reference.length)
        return Parts(data, tuple(memoryview(bytearray()) for _ in shape.buffers))

    def _verify(self, head: bytes, rest: bytes | memoryview, reference: BlobRef | PackRef) -> None:
        hasher = self._signer.hasher(reference.length)
        hasher.update(head)
        hasher.update(rest)
        if not hmac.compare_digest(hasher.hexdigest(), reference.digest):
            raise Unbelievable("its bytes are not those that were written")

    def check(self, reference: BlobRef | PackRef) -> str:
        """Return what is wrong with a value, "" if nothing is. Changes and keeps nothing."""
        try:
            descriptor = os.open(self._path(reference), READING)
        except FileNotFoundError:
            return "its file is missing"
        except OSError as error:
            return f"its file can't be opened: {error.strerror}"
        try:
            offset, length = _span(reference) or (0, reference.length)
            size = os.fstat(descriptor).st_size
            if size < offset + length or (isinstance(reference, BlobRef) and size != length):
                return f"its file has {size:,} bytes, not {offset + length:,}"
            return "" if self._matches(descriptor, offset, reference) else "its bytes are not those that were written"
        except OSError as error:
            return f"its file can't be read: {error.strerror}"
        finally:
            os.close(descriptor)

    def _matches(self, descriptor: int, offset: int, reference: BlobRef | PackRef) -> bool:
        hasher, left = self._signer.hasher(reference.length), reference.length
        chunk = memoryview(bytearray(min(left, _CHUNK)))
        while left:
            got = _read_into(descriptor, chunk[: min(left, len(chunk))], offset)
            if not got:
                return False
            hasher.update(chunk[:got])
            offset, left = offset + got, left - got
        return hmac.compare_digest(hasher.hexdigest(), reference.digest)


def _span(reference: BlobRef | PackRef) -> tuple[int, int] | None:
    """Return which part of its file a value is; None: all of it."""
    return (reference.offset, reference.length) if isinstance(reference, PackRef) else None


def _mapped(descriptor: int, length: int) -> Any:
    try:
        return map_private(descriptor, length)  # None: too many already
    except OSError as error:
        if error.errno not in _NO_MAP:
            raise
        return None


def _read(descriptor: int, length: int, offset: int) -> bytearray:
    """Read a part of a file into memory that may be written.

    Raises:
        Unbelievable: if the file ends before.
    """
    memory = bytearray(length)
    view, done = memoryview(memory), 0
    while done < length:
        got = _read_into(descriptor, view[done:], offset + done)
        if not got:
            raise Unbelievable("its file is cut off")
        done += got
    return memory


def _read_data(descriptor: int, length: int, offset: int) -> bytes:
    """Read a part of a file that nobody writes to: of a value without buffers, in one piece where the system can."""
    data = os.pread(descriptor, length, offset)
    return data if len(data) == length else bytes(_read(descriptor, length, offset))


def _read_into(descriptor: int, memory: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [memory], offset)
    data = os.pread(descriptor, len(memory), offset)
    memory[: len(data)] = data
    return len(data)
