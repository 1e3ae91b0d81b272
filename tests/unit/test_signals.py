"""SigintGuard alone, with real signals: where Stop lands, once, and that everything is put back."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import notebook_durable
from notebook_durable import signals
from notebook_durable.signals import SigintGuard

#: There is no engine in here that could replay.
pytestmark = pytest.mark.once

ROOT = Path(notebook_durable.__file__).parent.parent


def stop() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handler_is_put_back():
    """Whatever a test does, the handler, the wakeup descriptor and the threads are as before."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL
    wakeup = signal.set_wakeup_fd(-1)
    assert wakeup == -1
    assert not [thread for thread in threading.enumerate() if "durable" in thread.name]


@pytest.fixture
def guard():
    guard = SigintGuard()
    guard.install()
    yield guard
    guard.uninstall()


def test_without_await_it_is_keyboard_interrupt(guard):
    """In a cell without await Stop is what it always was, and is remembered."""
    assert not guard.stopped
    with pytest.raises(KeyboardInterrupt):
        stop()
    assert guard.stopped
    assert guard.stops == 1


def test_a_shield_holds_back_and_delivers_once(guard):
    """Inside the block nothing is raised; on leaving it Stop arrives, once, however often it was pressed."""
    done = []

    def write():
        with guard.shield():
            stop()
            stop()
            done.append("written")
        done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]
    with guard.shield():
        pass


def test_shields_nest(guard):
    """Only leaving the outermost block delivers."""
    done = []

    def write():
        with guard.shield():
            with guard.shield():
                stop()
            done.append("inner left")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["inner left"]


def test_an_error_inside_a_shield(guard):
    """A Stop that came meanwhile replaces the error, which stays as its context; the shield is down again."""

    def write():
        with guard.shield():
            stop()
            raise ValueError("disk")

    with pytest.raises(KeyboardInterrupt) as caught:
        write()
    assert isinstance(caught.value.__context__, ValueError)
    with pytest.raises(KeyboardInterrupt):
        stop()


def test_install_counts():
    """Only the last uninstall takes the handler away; one too many does nothing."""
    before = signal.getsignal(signal.SIGINT)
    guard = SigintGuard()
    guard.install()
    guard.install()
    guard.uninstall()
    assert signal.getsignal(signal.SIGINT) is not before
    guard.uninstall()
    guard.uninstall()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_somebody_else_put_in_stays():
    """A handler set during the execution is not ours to take away."""
    before, mine = signal.getsignal(signal.SIGINT), lambda *_: None
    guard = SigintGuard()
    guard.install()
    signal.signal(signal.SIGINT, mine)
    guard.uninstall()
    try:
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_previous_handler_decides():
    """What was there before gets the signal, with the frame that was interrupted."""
    before, seen = signal.getsignal(signal.SIGINT), []
    signal.signal(signal.SIGINT, lambda signum, frame: seen.append((signum, frame.f_code.co_name)))
    guard = SigintGuard()
    guard.install()
    stop()
    guard.uninstall()
    signal.signal(signal.SIGINT, before)
    assert seen == [(signal.SIGINT, "stop")]


def test_an_ignored_signal_stays_ignored():
    """Under nohup SIGINT is ignored, and stays so."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    guard = SigintGuard()
    guard.install()
    stop()
    guard.uninstall()
    signal.signal(signal.SIGINT, before)
    assert guard.stopped


def test_guards_in_guards():
    """A block inside a cell: the shield of the inner one holds, and both know of the Stop."""
    outer, inner = SigintGuard(), SigintGuard()
    outer.install()
    inner.install()
    done = []

    def write():
        with inner.shield():
            stop()
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        write()
    inner.uninstall()
    outer.uninstall()
    assert done == ["written"]
    assert outer.stopped


def test_outside_the_main_thread_nothing_is_installed():
    """Python allows handlers in the main thread only; elsewhere a guard does nothing, and its blocks work."""
    failed = []

    def elsewhere():
        try:
            guard = SigintGuard()
            guard.install()
            with guard.shield(), guard.watch(lambda: None):
                pass
            guard.uninstall()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert failed == []


# --- with an event loop -------------------------------------------------------------------


def play(body):
    """Run ``body(guard)`` as an async cell is run: its own task, on a loop that must survive."""

    async def main():
        async def cell():
            guard = SigintGuard(asyncio.current_task())
            guard.install()
            try:
                return await body(guard)
            finally:
                guard.uninstall()

        task = asyncio.ensure_future(cell())
        done, _ = await asyncio.wait([task])
        return done.pop()

    loop = asyncio.new_event_loop()
    try:
        # Not asyncio.run: that has a handler of its own. A kernel's loop has none.
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def press_when_idle():
    """Press Stop from outside while the loop sleeps, so that nothing else wakes it."""
    pid = os.getpid()
    timer = threading.Timer(0.05, os.kill, (pid, signal.SIGINT))
    timer.start()


def test_a_sleeping_loop_is_woken():
    """The task is cancelled although nothing else would have woken its loop for ten minutes."""

    async def body(guard):
        press_when_idle()
        await asyncio.sleep(600)

    assert play(body).cancelled()


def test_the_cells_own_python_code_gets_keyboard_interrupt():
    """Where it stands, so that its except and finally clauses work. The task catches it, as IPython's does."""

    async def body(guard):
        try:
            stop()
        except KeyboardInterrupt:
            await asyncio.sleep(0)  # no cancellation follows
            return "interrupted"

    assert play(body).result() == "interrupted"


def test_two_presses_are_one_cancellation():
    """The second must not be thrown into the cleanup of the first."""

    async def body(guard):
        asyncio.get_running_loop().call_soon(stop)
        asyncio.get_running_loop().call_soon(stop)
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            cleaned.append(True)

    cleaned: list[bool] = []
    assert play(body).cancelled()
    assert cleaned == [True]


def test_work_of_others_is_not_interrupted():
    """A callback that is not the cell's (the kernel's own messages) goes on; the cell is cancelled."""
    finished = []

    def other():
        stop()
        finished.append(True)

    async def body(guard):
        asyncio.get_running_loop().call_soon(other)
        await asyncio.sleep(600)

    assert play(body).cancelled()
    assert finished == [True]


def test_a_cell_that_has_ended_is_not_cancelled():
    """Stop between the end of the task and uninstall does nothing to anybody."""

    async def main():
        async def cell():
            return "done"

        task = asyncio.ensure_future(cell())
        await task
        guard = SigintGuard(task)
        guard.install()
        stop()
        await asyncio.sleep(0)
        guard.uninstall()
        return task.result(), asyncio.current_task().cancelling()

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(main()) == ("done", 0)
    loop.close()


def test_cancelling_a_nested_loop():
    """While a sync cell waits for a loop of its own, Stop cancels what it waits for."""
    guard = SigintGuard()
    guard.install()
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.sleep(600))
    try:
        press_when_idle()
        with guard.cancelling(lambda: loop.call_soon_threadsafe(task.cancel)), pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        with pytest.raises(KeyboardInterrupt):  # behind the block it is as before
            stop()
    finally:
        guard.uninstall()
        loop.close()


def test_an_asyncio_program_keeps_its_own_way():
    """Under asyncio.run Stop ends the program as KeyboardInterrupt, as it does without us."""
    program = """
import asyncio, os, signal, threading
from notebook_durable.signals import SigintGuard

async def main():
    guard = SigintGuard(asyncio.current_task())
    guard.install()
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        print("cancelled", guard.stopped)
        raise
    finally:
        guard.uninstall()

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["cancelled", "True", "KeyboardInterrupt"]


# --- watch --------------------------------------------------------------------------------


def test_watch_reaches_into_c_code(guard):
    """A long sqlite3 query doesn't heed signals: on_stop ends it from another thread, and then it is Stop."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    calls = []

    def on_stop():
        calls.append(threading.current_thread() is threading.main_thread())
        connection.interrupt()

    query = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 10000000000) SELECT max(x) FROM c"
    press_when_idle()
    with pytest.raises(KeyboardInterrupt), guard.watch(on_stop):
        connection.execute(query).fetchall()
    connection.close()
    assert calls == [False]


def test_watch_calls_once(guard):
    """However often Stop is pressed inside the block; and not at all without Stop."""
    calls = []
    called = threading.Event()

    def on_stop():
        calls.append(1)
        called.set()

    def block():
        with guard.watch(on_stop), guard.shield():
            stop()
            stop()
            assert called.wait(60)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert calls == [1]
    with guard.watch(on_stop):
        pass
    assert calls == [1]


def test_watches_side_by_side(guard):
    """Blocks of a gather overlap: all of them are told, and the last one that is left cleans up."""
    told = {name: threading.Event() for name in "ab"}
    first, second = guard.watch(told["a"].set), guard.watch(told["b"].set)

    def both():
        with guard.shield():
            first.__enter__()
            second.__enter__()
            stop()
            assert told["a"].wait(60)
            assert told["b"].wait(60)
            first.__exit__(None, None, None)
            second.__exit__(None, None, None)

    with pytest.raises(KeyboardInterrupt):
        both()


@pytest.mark.parametrize("when", ["before the cell", "in the cell"])
def test_watch_passes_the_byte_on(when):
    """Somebody else who listens (asyncio does) still hears of every signal, and is put back."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    called = threading.Event()
    guard = SigintGuard()

    def listen():
        signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)

    def block():
        with guard.watch(called.set), guard.shield():
            stop()
            assert called.wait(60)

    try:
        if when == "before the cell":
            listen()
        guard.install()
        if when == "in the cell":
            listen()
        with pytest.raises(KeyboardInterrupt):
            block()
        guard.uninstall()
        assert theirs.recv(10) == bytes([signal.SIGINT])
    finally:
        assert signal.set_wakeup_fd(-1) == ours.fileno()
        ours.close()
        theirs.close()


def test_an_on_stop_that_fails(guard, caplog):
    """Its error is logged, and Stop is Stop."""
    called = threading.Event()

    def on_stop():
        called.set()
        raise RuntimeError("already closed")

    def block():
        with guard.watch(on_stop), guard.shield():
            stop()
            assert called.wait(60)

    with caplog.at_level(logging.ERROR), pytest.raises(KeyboardInterrupt):
        block()
    assert "already closed" in caplog.text


def test_uninstall_inside_a_watch():
    """An execution that is given up in the middle leaves no thread."""
    guard = SigintGuard()
    guard.install()
    block = guard.watch(lambda: None)
    block.__enter__()
    guard.uninstall()
    block.__exit__(None, None, None)


def press_elsewhere(asleep: str) -> threading.Thread:
    """Have Stop reach the process in another thread, as if the main thread had just begun to wait in C.

    It is what happens when the signal comes between Python's last look and the system call: nothing wakes it.

    Args:
        asleep: name of the function in which the main thread waits.
    """

    def press():
        wait_until_in(asleep)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def wait_until_in(function: str) -> None:
    while sys._current_frames()[threading.main_thread().ident].f_code.co_name != function:
        pass


def test_a_stop_that_nobody_noticed(guard):
    """The main thread is nudged: without that the sleep would go on to its end."""

    def step():
        time.sleep(60)

    press_elsewhere("step")
    with pytest.raises(KeyboardInterrupt):
        step()
    assert guard.stops == 1


def test_a_stop_that_a_sleeping_loop_did_not_notice():
    """The same for a cell that awaits: the loop waits in ``select``."""

    async def main():
        guard = SigintGuard(asyncio.current_task())
        guard.install()
        thread = press_elsewhere("select")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return guard.stops
        finally:
            thread.join()
            guard.uninstall()

    loop = asyncio.new_event_loop()  # not asyncio.run, which has a handler of its own
    try:
        assert loop.run_until_complete(main()) == 1
    finally:
        loop.close()


def test_a_nudge_is_no_stop(guard):
    """However often the main thread is nudged, and whoever handles SIGINT: nothing but what was pressed is heard of."""
    wakeup = signals._installed._wakeup
    with pytest.raises(KeyboardInterrupt):
        stop()
    for _ in range(3):
        wakeup.nudge()
    assert guard.stops == 1
    came = []
    ours = signal.signal(signal.SIGINT, lambda *_: came.append(1))
    stop()
    wakeup.nudge()
    signal.signal(signal.SIGINT, ours)
    assert came == [1]


def test_whoever_uses_the_signal_of_nudges_keeps_it():
    """Their handler isn't called, and is in place as before."""
    came = []

    def theirs(*_):
        came.append(1)

    signal.signal(signal.SIGURG, theirs)
    try:
        guard = SigintGuard()
        guard.install()
        signals._installed._wakeup.nudge()
        with pytest.raises(KeyboardInterrupt):
            stop()
        guard.uninstall()
        assert signal.getsignal(signal.SIGURG) is theirs
    finally:
        signal.signal(signal.SIGURG, signal.SIG_DFL)
    assert came == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_signals_of_a_forked_child_are_its_own(guard):
    """It inherits the socket that the parent reads from."""
    called = threading.Event()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: there are threads
        with guard.watch(called.set):
            child = os.fork()
            if not child:
                try:
                    stop()
                except KeyboardInterrupt:
                    os._exit(7)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert not called.wait(0.2)
    assert guard.stops == 0


def check_put_off(guard: SigintGuard, do: Callable[[], object], where: str) -> None:
    """Stop in the function ``where`` that ``do`` calls is not raised there, and a moment later it is, once."""
    frames = []
    sys.setprofile(lambda frame, *_: frames.append(frame))
    do()
    sys.setprofile(None)
    (frame,) = {frame for frame in frames if frame.f_code.co_name == where}

    stops = []

    def press():
        signals._on_sigint(signal.SIGINT, frame)
        stops.append(guard.stops)  # not reached if it was raised at once
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        press()
    assert (stops, guard.stops) == ([0], 1)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="is_alive is written in C")
def test_is_alive_is_not_interrupted(guard):
    """Python would take a living thread for a dead one."""
    thread = threading.Thread(target=threading.Event().wait, args=(60,), daemon=True)
    thread.start()
    check_put_off(guard, thread.is_alive, "_wait_for_tstate_lock")
    assert thread.is_alive()


def test_the_lock_of_a_condition_is_not_left_taken(guard):
    """Stop just before it is released waits; one while somebody else has it for long doesn't wait for that."""
    condition = threading.Condition(threading.Lock())

    def enter_and_leave():
        with condition:
            pass

    check_put_off(guard, enter_and_leave, "__exit__")

    def wait_long():
        thread = threading.Thread(target=when_waiting)
        with condition._lock:
            thread.start()
            condition.__enter__()

    def when_waiting():
        wait_until_in("__enter__")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        wait_long()
    assert guard.stops == 2


def test_stop_while_the_handler_is_put_back(monkeypatch):
    """It is raised when that is done."""
    guard = SigintGuard()
    guard.install()
    asked = signal.getsignal

    def getsignal(signum):
        if signum == signal.SIGINT:
            stop()
        return asked(signum)

    monkeypatch.setattr(signal, "getsignal", getsignal)
    with pytest.raises(KeyboardInterrupt):
        guard.uninstall()
    monkeypatch.undo()
    assert guard.stops == 1
    guard.uninstall()


def test_stop_while_the_handler_is_put_in_place(monkeypatch):
    """The handler that was there may still raise: nothing of ours stays behind, and the guard can be used again."""

    def interrupted(*_):
        raise KeyboardInterrupt

    guard = SigintGuard()
    with monkeypatch.context() as patched:
        patched.setattr(signals, "Wakeup", interrupted)
        with pytest.raises(KeyboardInterrupt):
            guard.install()
    guard.uninstall()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    guard.install()
    with pytest.raises(KeyboardInterrupt):
        stop()
    guard.uninstall()


@pytest.mark.parametrize("missing", ["files", "threads"])
def test_too_many_open_files_or_threads(missing, monkeypatch):
    """What hears Stop inside of C code is left out; the cell runs, and Stop is Stop."""

    def fail(*_):
        raise OSError(errno.EMFILE, "Too many open files") if missing == "files" else RuntimeError("can't start")

    guard = SigintGuard()
    with monkeypatch.context() as patched:
        patched.setattr(*((socket, "socketpair") if missing == "files" else (threading.Thread, "start")), fail)
        guard.install()
    with guard.watch(lambda: None), pytest.raises(KeyboardInterrupt):
        stop()
    guard.uninstall()


def test_presses_at_any_moment():
    """A process that is interrupted again and again loses no Stop, tears no write, and ends with its own handler."""
    program = """
import os, signal, threading
from notebook_durable.signals import SigintGuard
pid, presses, caught, torn, armed, writing = os.getpid(), 300, 0, 0, False, False
before = signal.getsignal(signal.SIGINT)
ready = threading.Event()
def press():
    for _ in range(presses):
        ready.wait()
        ready.clear()
        os.kill(pid, signal.SIGINT)
thread = threading.Thread(target=press, daemon=True)
thread.start()

def work():
    global armed, writing
    guard = SigintGuard()
    try:
        guard.install()
        if not armed:  # one at a time: the system merges two that are on their way
            armed = True
            ready.set()
        for _ in range(200):
            with guard.shield():
                writing = True
                sum(range(20))
                writing = False
            with guard.watch(None):
                pass
    finally:
        guard.uninstall()

while caught < presses:
    try:
        while True:
            work()
    except KeyboardInterrupt:
        caught, armed, torn = caught + 1, False, torn + writing
thread.join()
print(torn, signal.getsignal(signal.SIGINT) is before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["0", "True"], done.stderr
