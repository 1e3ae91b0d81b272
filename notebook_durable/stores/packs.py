"""Values of middle size, one after the other in files that only grow: ``packs/HOST-PID-RANDOM.pack``.

A file of its own costs such a value two waits for the disk, one for the file and one for its folder; here it is one,
and one for all that are written together, in a second thread if the caller has something to do meanwhile. Room is
reserved 16 MB ahead, so that this wait has less to write down. Each store has a pack of its own and appends to it; what
lies in one is never written again. A pack is given up at 256 MB, when the store closes, and after any error. It is
read, never mapped: a map holds a descriptor, and there may be thousands of such values.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from contextlib import suppress
from pathlib import Path

from notebook_durable.stores.folder import PACKS
from notebook_durable.stores.keys import Signer, sync_folder
from notebook_durable.stores.layout import Image
from notebook_durable.stores.references import PackRef
from notebook_durable.stores.syncing import Waiting, reserve, sync_data, write_at

__all__ = ["SUFFIX", "PackWriter"]

SUFFIX = ".pack"
#: Bytes after which a pack is given up: it can only be deleted as a whole.
_LARGEST = 256 << 20
#: A value begins at a multiple of this: no block is written again that holds what was acknowledged.
_ALIGN = 4096
#: Bytes that are reserved at a time. A killed kernel leaves them reserved until its pack is collected.
_AHEAD = 16 << 20


class PackWriter:
    """Appends to the pack of one store. The caller holds the gate, and calls from one thread at a time.

    Args:
        folder: the journal's folder.
        signer: its key digests the values.
    """

    def __init__(self, folder: Path, signer: Signer) -> None:
        self._folder, self._signer = folder / PACKS, signer
        self._descriptor: int | None = None
        #: End of what was written, and of what is on the disk for certain.
        self._name, self._end, self._synced = "", 0, 0
        #: What is being waited for; how far room is reserved; whose pack it is: a forked child must not cut it.
        self._waiting, self._syncing, self._reserved, self._pid = Waiting(), 0, 0, 0
        self._path = ""

    def append(self, image: Image, *, last: bool = False) -> PackRef:
        """Write a value; it is on the disk after :meth:`wait`.

        Args:
            image: the value.
            last: nothing else will be written before :meth:`wait`, so that waiting begins at once.

        Raises:
            OSError: if that can't be; nothing may refer to what was written since the last ``wait`` then.
        """
        descriptor = self._open(image.length)
        offset = -(-self._end // _ALIGN) * _ALIGN
        try:
            self._reserve(descriptor, offset + image.length)
            # The pieces are on their way to the disk while they are hashed: a second thread would gain nothing here.
            write_at(descriptor, image.pieces, offset)
            self._end = offset + image.length
            if last:
                self.start()
            hasher = self._signer.hasher()
            for piece in image.pieces:
                hasher.update(piece)
        except BaseException:
            self.give_up()
            raise
        return PackRef(self._name, offset, image.length, hasher.hexdigest())

    def start(self) -> None:
        """Begin to wait, in another thread, for what was written."""
        if self._descriptor is not None and max(self._synced, self._syncing) != self._end:
            self._waiting.result()
            self._syncing = self._end
            self._waiting.start(sync_data, self._descriptor)

    def wait(self) -> None:
        """Wait until all that was written is on the disk.

        Raises:
            OSError: as :meth:`append` does.
        """
        if self._descriptor is None or self._synced == self._end:
            return
        try:
            self._waiting.result()
            if self._syncing != self._end:
                sync_data(self._descriptor)
        except BaseException:
            self.give_up()
            raise
        self._synced = self._syncing = self._end

    def _reserve(self, descriptor: int, end: int) -> None:
        if end > self._reserved:
            begin, self._reserved = self._end, end + _AHEAD
            reserve(descriptor, begin, self._reserved - begin)  # without it all is as good, and slower

    def _open(self, length: int) -> int:
        if self._descriptor is not None and (self._end + length > _LARGEST or not self._is_current()):
            self.wait()
            self.close()
        if self._descriptor is None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:40] or "host"
            self._name = f"{host}-{os.getpid()}-{secrets.token_hex(6)}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            self._path = str(self._folder / f"{self._name}{SUFFIX}")
            self._descriptor = os.open(self._path, flags, 0o600)
            self._end = self._synced = self._syncing = self._reserved = 0
            self._pid = os.getpid()
            sync_folder(self._folder)
            sync_folder(self._folder.parent)
        return self._descriptor

    def _is_current(self) -> bool:
        """Tell whether the pack is still there: it may have been collected when nothing in it was of use."""
        assert self._descriptor is not None  # noqa: S101  for mypy
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))  # noqa: PTH116  for each value
        except OSError:
            return False

    def give_up(self) -> None:
        """Cut off what a failed write left: nothing refers to it, nobody has read it, and the disk may be full."""
        self._cut(self._synced)

    def close(self) -> None:
        """Let go of the pack; a new one is begun when needed."""
        self._cut(self._end)
        self._waiting.close()

    def _cut(self, end: int) -> None:
        if self._descriptor is None:
            return
        if self._pid == os.getpid():
            with suppress(Exception):
                self._waiting.result()
            with suppress(OSError):
                if end:
                    os.ftruncate(self._descriptor, end)  # also gives back what was reserved
                elif self._is_current():
                    Path(self._path).unlink()
        with suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = None
