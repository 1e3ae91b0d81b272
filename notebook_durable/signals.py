"""Stop (SIGINT) during one execution: where it lands, and that it never cuts a journal write in two.

Without us, ipykernel gives a cell without ``await`` a KeyboardInterrupt at once, and one with ``await`` nothing until
the next time its loop wakes up. :class:`SigintGuard` stands in front of the handler that it finds:

- a write is under way (:meth:`~SigintGuard.shield`): remembered, delivered when the write is over;
- no ``await`` in the cell: the handler that was there decides (KeyboardInterrupt);
- the cell's own task is executing Python code: KeyboardInterrupt, in that very line;
- one of its child tasks is (``asyncio.gather``): CancelledError there, and the cell is cancelled. A KeyboardInterrupt
  out of a child task would end the kernel's event loop;
- the loop sleeps, or works for somebody else: the cell's task is cancelled and the loop woken.

A handler can't run while the main thread is inside C code, so :meth:`~SigintGuard.watch` listens where C can still
speak, and the main thread is interrupted if it missed a Stop on its way into such code (see ``wakeup.py``).
"""

from __future__ import annotations

import _thread
import asyncio
import functools
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any

from notebook_durable.alarm import Alarm
from notebook_durable.wakeup import Wakeup

__all__ = ["SigintGuard"]

_log = logging.getLogger("notebook_durable")
_ON_STOP_TAKES = 5.0  # seconds, at most, that the end of a block waits for it
_MOMENTS = 5  # of 2 ms, that a Stop is put off where it would do harm
_Handler = Any  # what signal.getsignal gives: a callable, an enum member, or None


class SigintGuard:
    """Guards one execution against Stop. See :class:`notebook_durable.protocols.Guard`.

    Args:
        task: the task that executes the cell, if the cell uses ``await``; None for one that doesn't.
        loop: the event loop of that task.
    """

    def __init__(self, task: asyncio.Task[Any] | None = None, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._task = task
        self._loop = loop if loop is not None or task is None else task.get_loop()
        self._stops = 0
        self._installed = 0
        self._depth = 0
        self._pending = False
        self._cancelling = False
        self._cancels: list[Callable[[], Any]] = []
        self._shield = _Shield(self)
        self._watches: list[_Watch] = []
        self._watches_lock = threading.Lock()

    # -- the handler's life

    def install(self) -> None:
        """Put the handler in place. Nested calls are counted. Does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._depth += 1
        try:
            if not self._installed:
                self._pending = self._cancelling = False
                _installed.add(self)
            self._installed += 1
        finally:
            self._depth -= 1
        self._deliver_pending()

    def uninstall(self) -> None:
        """Undo one ``install``; after the last, take the handler away if it is still ours.

        Raises:
            KeyboardInterrupt: for a Stop that was held back until now.
        """
        if not self._installed:
            return
        self._depth += 1  # first: a Stop in a function that is called from here must not keep the handler in place
        try:
            if threading.current_thread() is threading.main_thread():
                self._uninstall()
        finally:
            self._depth -= 1
        self._deliver_pending()

    def _uninstall(self) -> None:
        self._installed -= 1
        if not self._installed:
            self._cancels.clear()
            with self._watches_lock:
                self._watches.clear()
            _installed.remove(self)

    def _call_on_stop(self) -> None:
        with self._watches_lock:
            watches = [watch for watch in self._watches if watch.take()]
        for watch in watches:
            watch.call()

    @property
    def stopped(self) -> bool:
        """True once Stop was asked for in this execution."""
        return self._stops > 0

    @property
    def stops(self) -> int:
        """How often Stop was asked for in this execution."""
        return self._stops

    def postpone(self) -> None:
        """Deliver a Stop again that came to nothing: when the shield that is up, or the next one, is left."""
        self._pending = True

    # -- what the engine uses

    def shield(self) -> AbstractContextManager[None]:
        """Hold Stop back inside the block; on leaving it, deliver the one that came meanwhile."""
        return self._shield

    def watch(self, on_stop: Callable[[], Any] | None) -> AbstractContextManager[None]:
        """Call ``on_stop`` from another thread as soon as Stop arrives inside the block, at most once.

        It reaches the step even while the main thread is inside C code that ignores signals. Several blocks may be open
        at the same time (``asyncio.gather``). What ``on_stop`` raises is logged. Outside the main thread, and where the
        guard is not installed, nothing is watched.
        """
        return _Watch(self, on_stop)

    def stop(self) -> None:
        """Do here and now what Stop does. Called on the thread of the cell."""
        self._handle(signal.SIGINT, _caller())

    def deadline(self, duration: float, error: Callable[[], BaseException]) -> AbstractContextManager[None]:
        """Raise ``error()`` in the block if it takes longer than ``duration`` seconds. See :class:`alarm.Alarm`."""
        return _Deadline(self, duration, error)

    def around(self, block: AbstractContextManager[Any]) -> AbstractContextManager[None]:
        """Enter and leave a block so that Stop can't cut that in two, and leave it for certain."""
        return _Around(self, block)

    def cancelling(self, cancel: Callable[[], Any]) -> AbstractContextManager[None]:
        """While the block runs a nested event loop: Stop calls ``cancel`` instead of raising inside that loop.

        Args:
            cancel: called in the signal handler, so it must only schedule, and wake the loop:
                ``lambda: loop.call_soon_threadsafe(task.cancel)``. The task then ends with CancelledError.
        """
        return _Cancelling(self, cancel)

    def cancel_cell(self) -> None:
        """Cancel the cell's task and wake its loop. Does nothing in a cell without ``await``."""
        task, loop = self._task, self._loop
        if task is None or loop is None or self._cancelling or task.done():
            return
        # A second cancel before the first was seen would be thrown at the *next* await, into somebody's cleanup.
        self._cancelling = True
        loop.call_soon_threadsafe(self._cancel_now)

    def _cancel_now(self) -> None:
        if self._task is not None and self._loop is not None:
            self._task.cancel("Stop")
            self._loop.call_soon(self._cancel_seen)

    def _cancel_seen(self) -> None:
        self._cancelling = False

    # -- what Stop does

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._stops += 1
        if self._depth or (frame is not None and frame.f_code in _HELD_BACK):
            # An exception on the way into or out of a block would leave its handler or watcher behind.
            self._pending = True
            return
        self._deliver(signum, frame)

    def _deliver_pending(self) -> None:
        if self._pending and not self._depth:
            self._pending = False
            self._deliver(signal.SIGINT, None)

    def _deliver(self, signum: int, frame: FrameType | None) -> None:
        if frame is None:
            frame = _caller()
        if self._cancels:
            self._cancels[-1]()
            if _place(frame) == "task":
                raise asyncio.CancelledError("Stop")
            return
        if self._task is None or self._loop is None:
            self._call_previous(signum, frame)
            return
        if asyncio.current_task(self._loop) is self._task:
            raise KeyboardInterrupt
        place = _place(frame)
        if place == "task":
            self.cancel_cell()
            raise asyncio.CancelledError("Stop")
        if _is_runner(_installed.previous):
            self._call_previous(signum, frame)  # asyncio.run cancels its main task itself, and says KeyboardInterrupt
        else:
            self.cancel_cell()

    def _call_previous(self, signum: int, frame: FrameType | None) -> None:
        outer = _installed.outside_of(self)
        if outer is not None:  # a block inside a cell: the cell knows better
            outer._deliver(signum, frame)
            return
        previous = _installed.previous
        if callable(previous):
            previous(signum, frame)
        elif previous != signal.SIG_IGN:
            raise KeyboardInterrupt


# What follows are friends of the guard: they touch its counters directly because they are on the path of each step.
# ruff: noqa: SLF001


class _Installed:
    """The guards that are up, oldest first, behind one handler.

    Executions need not end in the order in which they began (two async blocks side by side), so putting back the
    handler that each found would leave a dead one in place.
    """

    def __init__(self) -> None:
        self._guards: list[SigintGuard] = []
        self._wakeup: Wakeup | None = None
        self._calls = self._postponed = 0
        self.previous: _Handler = None

    def add(self, guard: SigintGuard) -> None:
        found = signal.getsignal(signal.SIGINT)
        if found is not _on_sigint:
            # None: the handler was not set from Python, so there is nothing that could be put back.
            self.previous = found if found is not None else signal.SIG_DFL
        self._guards.append(guard)
        try:
            signal.signal(signal.SIGINT, _on_sigint)
            if self._wakeup is None:
                self._wakeup = self._new_wakeup()
        except BaseException:  # the handler that was there has raised KeyboardInterrupt, say
            self.remove(guard)
            raise

    def _new_wakeup(self) -> Wakeup | None:
        try:
            return Wakeup(signal.SIGINT, self._heard, lambda: self._calls)
        except (OSError, RuntimeError):
            _log.debug("Stop can't be heard while C code runs", exc_info=True)
            return None

    def remove(self, guard: SigintGuard) -> None:
        try:
            if self._guards == [guard]:
                self._put_back()
        finally:  # last: until then a Stop is held back by that guard
            if guard in self._guards:
                self._guards.remove(guard)

    def _put_back(self) -> None:
        if self._wakeup is not None:
            self._wakeup.close()
            self._wakeup = None
        if signal.getsignal(signal.SIGINT) is _on_sigint:
            signal.signal(signal.SIGINT, self.previous)

    def listen(self) -> None:
        """Hear of signals at once, also if somebody else has asked for that since."""
        if self._wakeup is not None:
            self._wakeup.listen()

    def _heard(self) -> None:  # in the thread of the wakeup
        for guard in tuple(self._guards):
            guard._call_on_stop()

    def outside_of(self, guard: SigintGuard) -> SigintGuard | None:
        index = self._guards.index(guard) if guard in self._guards else 0
        return self._guards[index - 1] if index else None

    def handle(self, signum: int, frame: FrameType | None) -> None:
        self._calls += 1
        if _goes_nowhere(frame) and self._postponed < _MOMENTS:
            self._postponed += 1  # it may wait for a lock there, and then for long
            _thread.start_new_thread(_interrupt_later, (signum,))
            return
        self._postponed = 0
        if not self._guards:
            raise KeyboardInterrupt  # somebody kept our handler and put it back
        *others, newest = self._guards
        for guard in others:  # Stop is meant for all of them
            guard._stops += 1
            if guard._task is not newest._task:
                guard.cancel_cell()
        newest._handle(signum, frame)


_installed = _Installed()
_on_sigint = _installed.handle  # one bound method, so that "is it still ours" can be asked with `is`


class _Block:
    """Base of the context managers: Stop is held back while one is entered or left."""

    __slots__ = ("_guard",)

    def __init__(self, guard: SigintGuard) -> None:
        self._guard = guard

    def _enter(self) -> None: ...

    def _exit(self) -> None: ...

    def __enter__(self) -> None:
        guard = self._guard
        guard._depth += 1
        try:
            self._enter()
            if guard._pending:
                # Stop came meanwhile. A block whose entering fails is not left by `with`.
                self._exit()
        finally:
            guard._depth -= 1
        guard._deliver_pending()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        guard = self._guard
        guard._depth += 1
        try:
            self._exit()
        finally:
            guard._depth -= 1
        guard._deliver_pending()


class _Deadline(_Block):
    """One block of :meth:`SigintGuard.deadline`."""

    __slots__ = ("_alarm",)

    def __init__(self, guard: SigintGuard, duration: float, error: Callable[[], BaseException]) -> None:
        super().__init__(guard)
        self._alarm = Alarm(duration, error, self._is_quiet)

    def _is_quiet(self, frame: FrameType | None) -> bool:
        # Nor while a run inside of the step writes to its journal.
        busy = self._guard._depth > 0 or any(guard._depth > 0 for guard in _installed._guards)
        return busy or (frame is not None and frame.f_code in _HELD_BACK)

    def _enter(self) -> None:
        self._alarm.set()

    def _exit(self) -> None:
        self._alarm.clear()


class _Around(_Block):
    """One block of :meth:`SigintGuard.around`."""

    __slots__ = ("_block",)

    def __init__(self, guard: SigintGuard, block: AbstractContextManager[Any]) -> None:
        super().__init__(guard)
        self._block = block

    def _enter(self) -> None:
        self._block.__enter__()

    def _exit(self) -> None:
        self._block.__exit__(None, None, None)


class _Shield(_Block):
    """One object for all blocks: it is entered twice for each step, so it must cost next to nothing."""

    __slots__ = ()

    def __enter__(self) -> None:
        self._guard._depth += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        guard = self._guard
        guard._depth -= 1
        if guard._pending:
            guard._deliver_pending()


class _Cancelling(_Block):
    """One block of :meth:`SigintGuard.cancelling`."""

    __slots__ = ("_cancel",)

    def __init__(self, guard: SigintGuard, cancel: Callable[[], Any]) -> None:
        super().__init__(guard)
        self._cancel = cancel

    def _enter(self) -> None:
        self._guard._cancels.append(self._cancel)

    def _exit(self) -> None:
        if self._cancel in self._guard._cancels:
            self._guard._cancels.remove(self._cancel)


class _Watch(_Block):
    """One block of :meth:`SigintGuard.watch`."""

    __slots__ = ("_called", "_finished", "_on_stop")

    def __init__(self, guard: SigintGuard, on_stop: Callable[[], Any] | None) -> None:
        super().__init__(guard)
        self._on_stop = on_stop
        self._called = False
        self._finished: threading.Event | None = None  # None: nothing is watched

    def _enter(self) -> None:
        guard = self._guard
        on_main = threading.current_thread() is threading.main_thread()
        if self._on_stop is None or not guard._installed or not on_main:
            return
        self._finished = threading.Event()
        with guard._watches_lock:
            guard._watches.append(self)
        _installed.listen()

    def _exit(self) -> None:
        if self._finished is None:
            return
        with self._guard._watches_lock:
            if self in self._guard._watches:  # not if the guard was given up meanwhile
                self._guard._watches.remove(self)
        if self._called:
            self._finished.wait(_ON_STOP_TAKES)  # it would stop what comes after the block

    def take(self) -> bool:
        """Return True for the one call that there is to be. The lock is held."""
        taken, self._called = self._called, True
        return not taken

    def call(self) -> None:
        """Call ``on_stop``."""
        assert self._on_stop is not None and self._finished is not None  # noqa: S101, PT018  only such are listed
        try:
            self._on_stop()
        except Exception:  # noqa: BLE001  the user's own function
            _log.exception("on_stop=%r failed", self._on_stop)
        finally:
            self._finished.set()


#: Code in which a Stop must not raise; what it holds back, each of these delivers at its own end.
_HELD_BACK = frozenset(
    function.__code__
    for function in (
        SigintGuard.install,
        SigintGuard.uninstall,
        _Block.__enter__,
        _Block.__exit__,
        _Shield.__enter__,
        _Shield.__exit__,
    )
)


def _goes_nowhere(frame: FrameType | None) -> bool:
    """True where an exception must not be raised, for a moment.

    In the callback of a weak reference Python prints it as ignored, and goes on. It isn't rare: the garbage collector
    calls them first thing after a long stretch of C. In ``Thread.is_alive`` it makes Python (before 3.13) take the
    thread for dead: ipykernel asks that of its sender at each flush, and would then send from two threads at once. And
    around the lock of a ``Condition`` it may leave the lock taken, for ever: each flush waits for an ``Event``.
    """
    if frame is None:
        return False
    name, module = frame.f_code.co_name, frame.f_globals.get("__name__")
    if module == "threading":
        if name == "_wait_for_tstate_lock":
            return not frame.f_locals.get("block", True)
        return name in ("__enter__", "__exit__", "_acquire_restore", "_release_save")
    return name in ("_remove", "remove") and module in ("_weakrefset", "weakref")


def _interrupt_later(signum: int) -> None:
    time.sleep(0.002)
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signum)  # wakes it too, if it waits by now
    else:
        _thread.interrupt_main()


# --- where in the program Stop arrived ----------------------------------------------------


def _place(frame: FrameType | None) -> str:
    """Tell what the event loop of this thread is doing.

    Returns:
        "idle": it waits, or there is none. "task": it executes a coroutine of the notebook or a step of ours.
        "other": it executes something else, such as the kernel's own messages.
    """
    below: FrameType | None = None
    ours = False
    while frame is not None:
        name, module = frame.f_code.co_name, frame.f_globals.get("__name__", "")
        if name == "_run" and module == "asyncio.events":
            return "task" if ours or (below is not None and _is_cell(below)) else "other"
        if name == "_run_once" and module in ("asyncio.base_events", "nest_asyncio", "nest_asyncio2"):
            return "idle"
        # A task implemented in Python (nest_asyncio) has frames of its own between the loop and the coroutine.
        if module != "asyncio.tasks" or not name.startswith(("_Task", "__step")):
            below = frame
        # A step anywhere below, also one that a helper in a module of the user's own has called.
        ours = ours or module.startswith(("notebook_durable.engine", "notebook_durable.executors"))
        frame = frame.f_back
    return "idle"


def _is_cell(frame: FrameType) -> bool:
    return bool(frame.f_globals.get("__name__", "") == "__main__")


def _is_runner(handler: _Handler) -> bool:
    function = handler.func if isinstance(handler, functools.partial) else handler
    return getattr(function, "__func__", None) is getattr(asyncio.Runner, "_on_sigint", object())


def _caller() -> FrameType | None:
    """Return the innermost frame that is not in this file."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame
