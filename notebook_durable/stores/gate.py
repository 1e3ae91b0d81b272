"""The lock between writing values and collecting them: ``blobs.lock`` in the journal's folder.

Who writes a value to a file holds it shared until the row that refers to the file is committed; who collects what no
row refers to holds it exclusively. Without it, a collector would take a file whose row is about to come.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from notebook_durable.stores.folder import BLOB_LOCK, unwritable
from notebook_durable.stores.locks import system_lock

__all__ = ["Gate"]

#: Seconds between two tries, and how long a writer may wait for a collector, which only unlinks.
_TRY_AGAIN, _LONGEST = 0.005, 60.0
#: A link in its place must not lead out of the folder.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class Gate:
    """The lock of one store. Not for two threads at once.

    Args:
        folder: the journal's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / BLOB_LOCK
        self._path = str(self._file)
        self._descriptor: int | None = None
        self._depth = 0
        self._mutex = threading.RLock()
        _all.add(self)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold it shared; waits for a collector. May be entered inside itself.

        Raises:
            JournalUnwritableError: if it can't be made, or a collector keeps it for a minute.
        """
        with self._mutex:
            if not self._depth and not self._take(exclusive=False, patience=_LONGEST):
                raise unwritable(self._file, TimeoutError(0, "another process keeps collecting"))
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    self._give_back()

    @contextmanager
    def collecting(self, patience: float, *, make: bool = True) -> Iterator[bool]:
        """Hold it exclusively; gives False if that can't be, or not within ``patience`` seconds."""
        with self._mutex:
            there = make or self.is_there()
            held = there and not self._depth and self._take(exclusive=True, patience=patience)
            try:
                yield held
            finally:
                if held:
                    self._give_back()

    def is_there(self) -> bool:
        """Tell whether anybody has ever needed it: nobody writes a value without it."""
        return self._file.exists()

    def _take(self, *, exclusive: bool, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while True:
            try:
                self._lock(exclusive)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_TRY_AGAIN)
            except OSError as error:
                if isinstance(error, (FileNotFoundError, PermissionError)) or self._descriptor is None:
                    raise unwritable(self._file, error) from error
                return not exclusive  # the file system has no locks: values are written, and never collected
            else:
                return True

    def _lock(self, exclusive: bool) -> None:
        if self._descriptor is not None and not self._is_current():
            self.close()  # the journal was deleted and begun anew
        if self._descriptor is None:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
        system_lock(self._descriptor, exclusive)

    def _is_current(self) -> bool:
        assert self._descriptor is not None  # noqa: S101  for mypy
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))  # noqa: PTH116  for each value
        except OSError:
            return False

    def _give_back(self) -> None:
        if self._descriptor is None:
            return
        try:
            import fcntl

            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # also if a forked child still has a copy
        except (ImportError, OSError):
            self.close()

    def close(self) -> None:
        """Close its file."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def abandon(self) -> None:
        """Let go of the parent's lock, in a forked child."""
        self.close()
        self._mutex = threading.RLock()
        self._depth = 0


_all: weakref.WeakSet[Gate] = weakref.WeakSet()


def _abandon_in_child() -> None:
    for gate in list(_all):
        gate.abandon()
    _all.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_in_child)
