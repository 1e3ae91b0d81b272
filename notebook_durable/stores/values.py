"""Where the values of entries lie: in the row, in a pack or in a file of its own. See ``references`` and ``blobs``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from notebook_durable.errors import DamagedValueError, StoreError
from notebook_durable.model import Entry, Payload
from notebook_durable.stores.blobs import LARGEST_IN_ROW, Blobs, Parts, Unbelievable
from notebook_durable.stores.driver import DRIVER_ERRORS, translate
from notebook_durable.stores.gate import Gate
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.layout import flat
from notebook_durable.stores.references import ROW, reference_from, row_lengths, row_reference

__all__ = ["Values", "is_plain"]

#: Returns the authentic bytes in the row of an entry, None if there are none.
Fetch = Callable[[Entry], bytes | None]


def is_plain(entry: Entry) -> bool:
    """Tell whether an entry can be written as it is: nearly all can."""
    payload = entry.payload
    if payload is None:
        return not entry.blob or not entry.blob.startswith(ROW)
    return not entry.buffers and not entry.blob and len(payload) <= LARGEST_IN_ROW


class Values:
    """Keeps and finds the values of one journal's entries.

    Args:
        folder: the journal's folder.
        signer: its key digests the values.
    """

    def __init__(self, folder: Path, signer: Signer) -> None:
        self.blobs = Blobs(folder, signer)
        self.gate = Gate(folder)
        self._folder = folder

    def close(self) -> None:
        """Let go of the open files."""
        self.blobs.close()
        self.gate.close()

    @contextmanager
    def keeping(self, entries: Sequence[Entry], fetch: Fetch, *, wait: bool = True) -> Iterator[Sequence[Entry]]:
        """Write what is too large for a row, and give the entries as their rows are to be. Commit inside the block.

        Args:
            entries: what is to be written.
            fetch: returns what lies in an entry's row.
            wait: the values are on the disk when the block begins. Else the disk is at work on them, and the block has
                to call :meth:`wait` when it has written its rows.

        Raises:
            JournalUnwritableError: on a full disk and the like; nothing is left of the value then.
        """
        if all(map(is_plain, entries)):
            yield entries
            return
        with self.gate.writing():
            try:
                try:
                    kept = [self._kept(entry, fetch, last=not wait and len(entries) == 1) for entry in entries]
                    self.blobs.wait() if wait else self.blobs.start()
                except BaseException:
                    self.blobs.give_up()
                    raise
            except DRIVER_ERRORS as error:
                raise translate(error, self._folder) from error
            try:
                yield kept
            except BaseException:
                with suppress(StoreError):
                    self.wait()
                raise

    def wait(self) -> None:
        """Wait until all values are on the disk.

        Raises:
            JournalUnwritableError: if that can't be; what was written since the last wait is thrown away.
        """
        try:
            self.blobs.wait()
        except DRIVER_ERRORS as error:
            raise translate(error, self._folder) from error

    def _kept(self, entry: Entry, fetch: Fetch, *, last: bool) -> Entry:
        if is_plain(entry):
            return entry
        if entry.payload is None:
            # Only its other fields change; what lies in the row stays there.
            return entry._replace(payload=fetch(entry))
        buffers = [flat(buffer) for buffer in entry.buffers]
        lengths = [len(entry.payload), *(buffer.nbytes for buffer in buffers)]
        size = sum(lengths)
        if size > LARGEST_IN_ROW:
            reference = str(self.blobs.write(entry.payload, buffers, last=last))
            return entry._replace(payload=None, buffers=(), size=size, blob=reference)
        if not buffers:
            return entry._replace(size=size, blob="")
        joined = b"".join((entry.payload, *buffers))
        return entry._replace(payload=joined, buffers=(), size=size, blob=row_reference(lengths))

    def payload(self, entry: Entry, fetch: Fetch) -> Payload:
        """Return the value of an authentic entry.

        Raises:
            DamagedValueError: if its bytes are not what was recorded.
            StoreError: if its file can't be opened.
        """
        try:
            parts = self._parts(entry, fetch)
        except Unbelievable as error:
            raise DamagedValueError(str(entry.key), str(error)) from error
        except OSError as error:
            raise translate(error, self._folder) from error
        return Payload(entry.serializer, parts.data, entry.value_type, parts.buffers, entry.libraries)

    def _parts(self, entry: Entry, fetch: Fetch) -> Parts:
        if not entry.blob:
            if entry.payload is None:
                raise Unbelievable("it is not there")
            return Parts(entry.payload, ())
        if entry.blob.startswith(ROW):
            return _cut(fetch(entry), entry.blob)
        reference = reference_from(entry.blob)
        if reference is None:
            raise Unbelievable("where it lies is not said in a way that this version knows")
        parts = self.blobs.read(reference)
        if len(parts.data) + sum(buffer.nbytes for buffer in parts.buffers) != entry.size:
            raise Unbelievable("it has another size")
        return parts


def _cut(joined: bytes | None, reference: str) -> Parts:
    """Cut a row's bytes into data and buffers. These are copies: the caller may write to them."""
    lengths = row_lengths(reference)
    if joined is None or lengths is None or sum(lengths) != len(joined):
        raise Unbelievable("its row was changed")
    view, at, buffers = memoryview(joined), lengths[0], []
    for length in lengths[1:]:
        buffers.append(memoryview(bytearray(view[at : at + length])))
        at += length
    return Parts(joined[: lengths[0]], tuple(buffers))
