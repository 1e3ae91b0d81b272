"""Taps on the streams and on IPython's display publisher: the same objects, whose methods also say what goes through.

The methods are replaced on the objects themselves, so that whoever holds a stream (a logging handler) is heard too,
and nobody notices another object in ``sys.stdout``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from notebook_durable.ipython.recorder import OutputRecording

__all__ = [
    "ENTERED", "LOCK", "STATE", "Pipes", "Tap", "complain", "current", "listen_again", "tap_all", "unrecorded", "untap",
    "watched_pipes",
]  # fmt: skip

_log = logging.getLogger("notebook_durable")

_ABSENT: Any = object()
_NOBODY: Any = object()  # stands in ``current`` for: what is said now is nobody's output

#: The recording that this task (or thread) is in.
current: ContextVar[Any] = ContextVar("notebook_durable_recording", default=None)
#: All recordings that are entered now.
ENTERED: set[OutputRecording] = set()
#: Guards what is kept. Reentrant: a signal handler, or a ``__del__``, may print in the middle of it.
LOCK = threading.RLock()


class _State:
    """What all recorders of the process share.

    Attributes:
        marked: the mark of a replayed output is the last thing shown, but for more replayed output.
        overlaps: how often a recording was entered while another one was.
    """

    __slots__ = ("marked", "overlaps")

    def __init__(self) -> None:
        self.marked = False
        self.overlaps = 0


STATE = _State()


@contextlib.contextmanager
def unrecorded() -> Iterator[None]:
    """Inside the block, what this task (or thread) prints and displays is nobody's output."""
    token = current.set(_NOBODY)
    try:
        yield
    finally:
        current.reset(token)


def listen_again() -> None:
    """Make up for a Stop that came between two instructions above."""
    if current.get() is _NOBODY:
        current.set(None)


def complain(what: str) -> None:
    """Log the error that is being handled. Not as output of the step: a handler may write to the very stream."""
    with unrecorded():
        _log.debug("%s", what, exc_info=True)


class Tap:
    """The methods of one object that are heard.

    Attributes:
        target: the object.
        name: "stdout", "stderr" or "display".
        base: cells that found the object in its place when they began: what goes in is output of whichever step.
        users: cells and recordings that listen.
    """

    def __init__(self, target: Any, name: str) -> None:
        self.target = target
        self.name = name
        self.base = 0
        self.users = 0
        self._layers: list[tuple[str, Any, Any]] = []  # method, what the object had of its own, our stand-in
        self._pid = os.getpid()

    def put(self) -> None:
        """Replace the methods, or replace them again where ours are not in place any more.

        IPython's own recording of streams takes ours away at the end of a cell, and a wrapper may be over ours. Two
        of ours in a row do no harm: what goes through the outer one the inner one doesn't hear.

        Raises:
            AttributeError, TypeError: the object's methods can't be replaced.
        """
        display = {"publish": self._publish, "clear_output": self._clear}
        for method, make in display.items() if self.name == "display" else [("write", self._write)]:
            own = vars(self.target).get(method, _ABSENT)
            if any(own is standin for _, _, standin in self._layers):
                continue
            standin = make(getattr(self.target, method))
            setattr(self.target, method, standin)
            self._layers.append((method, own, standin))

    def take_away(self) -> None:
        """Put the methods back. One that somebody has replaced since stays: it may call ours, which only passes on."""
        for method, own, standin in reversed(self._layers):
            if vars(self.target).get(method) is not standin:
                continue
            if own is _ABSENT:
                delattr(self.target, method)
            else:
                setattr(self.target, method, own)
        self._layers = []

    def _write(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def write(text: str, *args: Any, **named: Any) -> Any:
            count = _unheard(real, text, *args, **named)
            if self.users and text:
                self._hear("write", self.name, text)
            return count

        return write

    def _publish(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def publish(*args: Any, **named: Any) -> Any:
            said = _unheard(real, *args, **named)
            if self.users:
                data = args[0] if args else named.get("data")
                metadata = args[1] if len(args) > 1 else named.get("metadata")
                self._hear("display", data, metadata, named.get("transient"), bool(named.get("update")))
            return said

        return publish

    def _clear(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def clear_output(wait: bool = False) -> Any:
            said = _unheard(real, wait)
            if self.users:
                self._hear("clear", bool(wait))
            return said

        return clear_output

    def _hear(self, what: str, *args: Any) -> None:
        """Tell the recordings that this belongs to."""
        try:
            recording = current.get()
            if recording is _NOBODY or os.getpid() != self._pid:
                return
            if what != "display" or not args[-1]:  # an update moves nothing
                STATE.marked = False
            if recording is None:
                recording = _of_this_thread()
            while recording is not None and recording is not _NOBODY:
                if not recording.closed and (self.base or self in recording.own):
                    with LOCK:
                        getattr(recording.listen(), what)(*args)
                recording = recording.outer
        except Exception:  # noqa: BLE001  the recorder is a courtesy: it must not stop the step that prints
            complain("an output could not be recorded")


def _unheard(real: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call ``real`` so that a stream behind it that is tapped too (a "tee", a terminal's print) doesn't hear it."""
    token = current.set(_NOBODY)
    try:
        return real(*args, **named)
    finally:
        current.reset(token)


def _of_this_thread() -> OutputRecording | None:
    """The recording of a thread that has none of its own: the only one there is, if another thread entered it.

    (A task of the same thread that has none is the cell's own, and runs beside the step.)
    """
    if len(ENTERED) != 1:
        return None
    try:
        (only,) = ENTERED
    except ValueError:  # another thread was quicker
        return None
    if only.thread == threading.get_ident() or threading.current_thread().name.startswith("notebook_durable"):
        return None
    return only


_taps: dict[int, Tap] = {}


def _tap(target: Any, name: str, *, base: bool) -> Tap | None:
    """Tap an object, or share its tap.

    Args:
        target: the object.
        name: "stdout", "stderr" or "display".
        base: see :class:`Tap`.

    Returns:
        The tap, to be given back to :func:`untap`; None if the object can't be tapped.
    """
    with LOCK:
        found = _taps.get(id(target)) or Tap(target, name)
        try:
            found.put()
        except Exception:  # noqa: BLE001  slots: it works as ever and is not recorded
            if not found.users:
                found.take_away()
            complain(f"{name} can't be recorded")
            return None
        _taps[id(target)] = found
        found.users += 1
        found.base += base
        return found


def untap(taps: tuple[Tap, ...], *, base: bool) -> None:
    """Give taps back; the last one who does puts the methods back."""
    with LOCK:
        for found in taps:
            found.users -= 1
            found.base -= base
            if not found.users:
                _taps.pop(id(found.target), None)
                found.take_away()


def tap_all(shell: Any, *, base: bool) -> tuple[Tap, ...]:
    """Tap what is in place now: both streams and the shell's display publisher."""
    targets = (sys.stdout, "stdout"), (sys.stderr, "stderr"), (getattr(shell, "display_pub", None), "display")
    taps = (_tap(target, name, base=base) for target, name in targets if target is not None)
    return tuple(found for found in taps if found is not None)


# -- what C code and other processes write to the file descriptors: ipykernel reads it in threads of its own

_MOMENT = 0.02  # seconds that these threads get at most, at the end of a step
_GLANCE = 0.0005
_NEVER = -1


class Pipes:
    """The pipes behind the streams, to see at the end of a step whether something is still on its way in them.

    It may be in the pipe, or read already by the thread that will write it to ``sys.stdout``: that thread has used
    some processor time then. Both looks together take 1 us.
    """

    __slots__ = ("_clock", "_poll", "_seen")

    def __init__(self, fids: list[int], watcher: threading.Thread | None) -> None:
        self._poll = select.poll()
        for fid in fids:
            self._poll.register(fid, select.POLLIN)
        self._clock: int | None = None
        self._seen = _NEVER
        ident = watcher.ident if watcher is not None and watcher.is_alive() else None
        if ident is not None and hasattr(time, "pthread_getcpuclockid"):
            self._clock = time.pthread_getcpuclockid(ident)
            self._seen = time.clock_gettime_ns(self._clock)

    def wait(self) -> None:
        """Let the threads hand on what was written; at most a moment. If there is nothing it costs next to nothing."""
        clock = self._clock
        if not self._poll.poll(0) and (clock is None or time.clock_gettime_ns(clock) == self._seen):
            return
        end = time.monotonic() + _MOMENT
        while time.monotonic() < end and any(event & select.POLLIN for _, event in self._poll.poll(0)):
            time.sleep(_GLANCE)
        time.sleep(2 * _GLANCE)  # it was read; now it is written to the stream
        if clock is not None:
            self._seen = time.clock_gettime_ns(clock)


def watched_pipes() -> Pipes | None:
    """Return the pipes behind ``sys.stdout`` and ``sys.stderr``; None if there are none."""
    fids = [fid for stream in (sys.stdout, sys.stderr) if type(fid := getattr(stream, "_fid", None)) is int]
    if not fids or not hasattr(select, "poll"):
        return None
    watcher = getattr(sys.stdout, "watch_fd_thread", None)
    try:
        return Pipes(fids, watcher if isinstance(watcher, threading.Thread) else None)
    except Exception:  # noqa: BLE001  a file descriptor that was closed
        complain("the pipes of the streams can't be watched")
        return None
