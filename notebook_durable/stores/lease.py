"""The lease of a claim on a network file system, where a file lock may hold on one machine only.

It names host, boot and process, and is renewed by a thread: a step of three hours doesn't lapse, a dead machine's
claim does. On a local file system there is no lease and no thread: the lock is the truth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from notebook_durable.model import Claim
from notebook_durable.stores import schema
from notebook_durable.stores.driver import DRIVER_ERRORS

__all__ = ["DURATION", "Lease"]

#: Seconds that a lease lasts, and after which it is renewed.
DURATION = 60.0
_RENEW_EVERY = DURATION / 3


class Lease:
    """Renews the lease of one claim until it is stopped.

    Args:
        file: the journal's database.
        claim: the claim to keep.
        clock: seconds since the epoch.
    """

    def __init__(self, file: Path, claim: Claim, clock: Callable[[], float] = time.time) -> None:
        self._file, self._claim, self._clock = file, claim, clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"durable-lease-{claim.id}", daemon=True)

    def start(self) -> None:
        """Begin renewing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)

    def renew_once(self) -> bool:
        """Renew the lease; return False if that wasn't possible now. A claim that was taken over stays lost."""
        try:
            key = schema.file_key(self._file)
            connection = schema.connect(self._file, "NORMAL")
            try:
                renewed = connection.execute(
                    "UPDATE runs SET lease_until = ? WHERE id = ? AND epoch = ? AND status = 'running'",
                    (self._clock() + DURATION, self._claim.id, self._claim.epoch),
                )
                return renewed.rowcount == 1
            finally:
                schema.close(connection, key)
        except DRIVER_ERRORS:
            return False  # the server is away for a moment; the next renewal, or the commit itself, will tell

    def _renew(self) -> None:
        while not self._stopped.wait(_RENEW_EVERY):
            self.renew_once()
