"""Group commit: what items of a map gave goes to the disk together, a few milliseconds after the first of a group."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from notebook_durable.engine.entry_value import settled
from notebook_durable.errors import RunTakenOverError, StoreError
from notebook_durable.protocols import Record

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["Commits"]

#: Seconds after which a group is committed: by the thread of the cell between two items, or, if that is busy with a
#: long one, by a thread of ours. A commit takes about a millisecond.
_SOON, _LATEST = 0.006, 0.010
_MOST = 500
_MOST_BYTES = 16 << 20
#: Bytes up to which the large parts of a value are copied, and wait for others.
_COPIED = 1 << 20


class Commits:
    """The records of one map that are not on disk yet.

    All methods are for the cell's thread. The thread of ours only ever writes whole groups; after an error it leaves
    that, and what was to be written, to the cell's thread.

    Args:
        session: the execution.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pending: list[Record] = []
        self._bytes = 0
        self._since = 0.0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="notebook_durable-commits", daemon=True)
        self._thread.start()
        session.groups.add(self)

    def add(self, record: Record) -> None:
        """Take a record. It is on disk when :meth:`flush` has returned; here nothing can go wrong."""
        pending = self._pending
        entry = record[0]
        if entry.payload is not None:
            self._bytes += entry.size
        if entry.buffers:
            # The next item may be computed in the same memory.
            if entry.size <= _COPIED:
                record = settled(entry), *record[1:]
            else:
                self._bytes = _MOST_BYTES  # written before that begins
        pending.append(record)
        if len(pending) == 1:
            self._since = time.monotonic()
            self._wake.set()

    def check(self) -> None:
        """Commit what is due; raise what went wrong meanwhile."""
        if self._error is not None or (self._pending and self._is_due()):
            self.flush()

    def _is_due(self) -> bool:
        return len(self._pending) >= _MOST or self._bytes >= _MOST_BYTES or time.monotonic() - self._since >= _SOON

    @property
    def pause(self) -> float | None:
        """Seconds until something is due; None if nothing is pending."""
        return max(0.0, self._since + _SOON - time.monotonic()) if self._pending else None

    def flush(self) -> None:
        """Commit everything.

        Raises:
            RunTakenOverError: if the run belongs to another kernel by now.
        """
        with self._session.guard.shield(), self._lock:
            error, self._error = self._error, None
            if error is not None and (isinstance(error, RunTakenOverError) or not isinstance(error, StoreError)):
                self._pending.clear()
                raise error
            self._bytes = 0
            taken, self._pending[:] = self._pending[:], []
            if taken:
                self._session.record_many(taken)

    def close(self) -> None:
        """End the thread. Before it comes :meth:`flush`, or what is pending is lost."""
        with self._session.guard.shield():
            self._session.groups.discard(self)
            self._closed.set()
            self._wake.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._pending and self._error is None and not self._closed.wait(_LATEST):
                if time.monotonic() - self._since >= _LATEST:
                    self._commit()

    def _commit(self) -> None:
        with self._lock:
            taken = self._pending[:]
            if not taken or self._session.has_unsaved:  # those come first, and are for the cell's thread
                return
            self._since, self._bytes = time.monotonic(), 0
            try:
                self._session.store.record_many(self._session.claim, taken)
            except BaseException as error:  # noqa: BLE001  raised on the cell's thread
                self._error = error
                if isinstance(error, StoreError):
                    return
            del self._pending[: len(taken)]
