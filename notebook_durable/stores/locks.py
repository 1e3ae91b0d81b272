"""Run locks: one OS lock per run, held from claim to release. The kernel's death frees it; nothing lapses.

The lock file's name is a hash, because a run's name may be any text. Lock files stay: unlinking one while another
process waits to lock it would give two owners.

``flock`` belongs to the open file, which a forked child shares: without care, a multiprocessing worker that outlives
its kernel would keep the run. So a fork closes the child's copies (which doesn't unlock the parent's). What a fork
through C code does that bypasses Python's hooks can't be helped.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from notebook_durable.errors import JournalUnwritableError
from notebook_durable.model import RunId
from notebook_durable.stores.folder import LOCKS, unwritable

__all__ = ["AlreadyHeldError", "RunLocks", "system_lock"]

#: A link in the place of a lock file must not lead out of the folder, where it would be made.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}

#: The locks that this process holds, by the lock file's path: all stores of the process share them.
_held: dict[str, int] = {}
#: Reentrant: the garbage collector may end a forgotten execution in the middle of what holds it, on the same thread.
_mutex = threading.RLock()


class AlreadyHeldError(Exception):
    """This process holds the lock already."""


def _system_lock() -> Callable[[int, bool], None]:
    """Return a function that locks a file (exclusively or shared) or raises OSError at once."""
    try:
        import fcntl
    except ImportError:  # Windows; written after its documentation, untested
        import msvcrt

        def lock_bytes(descriptor: int, exclusive: bool) -> None:  # noqa: ARG001  it has only exclusive ones
            mode: int = msvcrt.LK_NBLCK  # type: ignore[attr-defined,unused-ignore]
            try:
                msvcrt.locking(descriptor, mode, 1)  # type: ignore[attr-defined,unused-ignore]
            except PermissionError as error:
                raise BlockingIOError(errno.EWOULDBLOCK, "locked") from error

        return lock_bytes

    def lock_file(descriptor: int, exclusive: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)

    return lock_file


#: Locks a file exclusively or shared, or raises OSError at once.
system_lock = _system_lock()
_lock = system_lock


def _close_in_child() -> None:
    global _mutex
    for descriptor in _held.values():
        try:
            os.close(descriptor)
        except OSError:
            pass  # closed by somebody who closes everything after a fork
    _held.clear()
    _mutex = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


class RunLocks:
    """The locks of one journal.

    Args:
        folder: the journal's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.realpath(folder)) / LOCKS

    def path(self, run: RunId) -> Path:
        """Return the lock file of a run."""
        digest = hashlib.blake2b(f"{run.workflow}\0{run.key}".encode("utf-8", "surrogatepass"), digest_size=16)
        return self._folder / f"{digest.hexdigest()}.lock"

    def acquire(self, run: RunId) -> bool:
        """Take a run's lock without waiting; return False if another process has it.

        Raises:
            AlreadyHeldError: if this process has it.
            JournalUnwritableError: if it can't be made, or the file system has no locks.
        """
        file = self.path(run)
        with _mutex:
            if str(file) in _held:
                raise AlreadyHeldError
            descriptor = self._open(file)
            try:
                _lock(descriptor, True)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except OSError as error:
                os.close(descriptor)
                raise self._failed(file, error) from error
            _held[str(file)] = descriptor
            return True

    def release(self, run: RunId) -> None:
        """Give a run's lock back. Does nothing if this process doesn't have it."""
        with _mutex:
            descriptor = _held.pop(str(self.path(run)), None)
            if descriptor is not None:
                os.close(descriptor)  # which unlocks: children have closed their copies

    def is_held(self, run: RunId) -> bool:
        """Tell whether any living process has a run's lock. Takes nothing but a glance (a shared lock, given back)."""
        file = self.path(run)
        if str(file) in _held:
            return True
        try:
            descriptor = os.open(file, os.O_RDWR | _NO_LINK)
        except OSError:
            return False
        try:
            _lock(descriptor, False)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return False

    def _open(self, file: Path) -> int:
        try:
            try:
                # Not inherited by programs we start (PEP 446).
                return os.open(file, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
            except FileNotFoundError:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                return os.open(file, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
        except OSError as error:
            raise unwritable(file, error) from error

    def _failed(self, file: Path, error: OSError) -> JournalUnwritableError:
        if error.errno in _UNSUPPORTED:
            return JournalUnwritableError(
                str(file),
                f"its file system has no file locks ({error.strerror})",
                "Put the journal on a local disk: NOTEBOOK_DURABLE_STORE or %config Durable.store.",
            )
        return unwritable(file, error)
