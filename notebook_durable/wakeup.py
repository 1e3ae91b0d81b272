"""A thread that hears of signals where Python's own handlers can't be called: while the main thread is inside C code.

Python's C-level handler writes a byte to the "wakeup" file descriptor (``signal.set_wakeup_fd``); the handler written
in Python runs when the main thread gets back to Python code. Two things come of that here:

- whoever wants it is told of the byte, from this thread;
- a signal that arrives after the main thread's last look for one and before ``time.sleep``, ``select`` or any other
  C code begins to wait would be noticed when that wait is over, perhaps hours later. So if its handler isn't called
  soon, the wait is interrupted: by SIGURG, which means nothing to anybody, and can't be taken for a second one of it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import weakref
from collections.abc import Callable
from types import FrameType

__all__ = ["Wakeup"]

_DONE = 0  # no signal has this number
#: Seconds without a call of the Python handler after which the main thread is nudged, each time. Long C code delays
#: that call as well, and is not to be bothered for ever.
_PATIENCE = (0.05, 0.2, 1.0)
_NUDGE: signal.Signals | None = getattr(signal, "SIGURG", None) if hasattr(signal, "pthread_kill") else None


class Wakeup:
    """Listens from the call of the constructor to :meth:`close`, both on the main thread.

    Args:
        signum: the signal.
        heard: called on another thread for each that arrives.
        calls: tells how often the Python handler of the signal has been called.

    Raises:
        OSError, RuntimeError: if there are too many open files or threads.
    """

    def __init__(self, signum: int, heard: Callable[[], None], calls: Callable[[], int]) -> None:
        self._signum = signum
        self._heard = heard
        self._calls = calls
        self._seen = calls()
        self._main = threading.get_ident()
        self._chained = -1
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._thread = threading.Thread(target=self._listen, name="notebook_durable-stop", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._read.close()
            self._write.close()
            raise
        _open.add(self)
        self.listen()
        if _NUDGE is not None and signal.getsignal(_NUDGE) == signal.SIG_DFL:
            signal.signal(_NUDGE, _nothing)

    def listen(self) -> None:
        """Take the descriptor, again if somebody has taken it since. They are sent what comes in (asyncio listens)."""
        found = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        if found != self._write.fileno():
            self._chained = found

    def close(self) -> None:
        """End the thread, and give the descriptor back."""
        self._give_back()
        try:
            self._write.send(bytes([_DONE]))
        except OSError:
            pass  # full: it finds the end of the file
        self._write.close()
        self._thread.join(timeout=5.0)  # only a hanging `heard` keeps it longer; it is a daemon
        if not self._thread.is_alive():
            self._read.close()

    def _give_back(self) -> None:
        _open.discard(self)
        if _NUDGE is not None and signal.getsignal(_NUDGE) is _nothing:
            signal.signal(_NUDGE, signal.SIG_DFL)
        found = signal.set_wakeup_fd(-1)
        if found == self._write.fileno():
            found = self._chained  # otherwise somebody has replaced us meanwhile: theirs stays
        if found != -1:
            signal.set_wakeup_fd(found, warn_on_full_buffer=False)

    def forget(self) -> None:
        """In a forked child: its signals are not the parent's, which reads from the same socket."""
        self._give_back()
        self._read.close()
        self._write.close()

    # -- in the thread

    def _listen(self) -> None:
        patience: list[float] | None = None  # None: nothing is awaited; empty: given up
        while (data := self._receive(patience[0] if patience else None)) != b"" and _DONE not in (data or b""):
            if data is not None:
                self._pass_on(data)
                if self._signum not in data:
                    continue
                self._heard()
            if not self._is_unheard():
                patience = None
            elif patience is None:
                patience = list(_PATIENCE)
            elif data is None:
                patience = patience[1:]
                self.nudge()

    def _receive(self, timeout: float | None) -> bytes | None:
        """Return the bytes of some signals, b"" at the end, None when the time is over."""
        self._read.settimeout(timeout)
        try:
            return self._read.recv(256)
        except TimeoutError:
            return None

    def _is_unheard(self) -> bool:
        seen, self._seen = self._seen, self._calls()
        return self._seen == seen

    def nudge(self) -> None:
        """Have the main thread look for signals, whatever it waits for; not if somebody else uses ours for that."""
        if _NUDGE is not None and signal.getsignal(_NUDGE) is _nothing:
            signal.pthread_kill(self._main, _NUDGE)

    def _pass_on(self, data: bytes) -> None:
        if self._chained != -1:
            try:
                os.write(self._chained, data)
            except OSError:
                pass  # its owner closed it, or it is full: then it has been woken already


def _nothing(signum: int, frame: FrameType | None) -> None:
    """Handle what is sent to interrupt a wait: Python has called the other signal's handler as well."""


_open: weakref.WeakSet[Wakeup] = weakref.WeakSet()


def _after_fork() -> None:
    for wakeup in list(_open):
        wakeup.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
