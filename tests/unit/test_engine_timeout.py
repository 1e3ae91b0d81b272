"""``timeout=``: an attempt that takes too long fails, and is retried under the step's policy."""

from __future__ import annotations

import asyncio
import pickle
import signal
import threading
import time
from contextlib import contextmanager

import pytest

from notebook_durable.alarm import Alarm
from notebook_durable.errors import ConfigurationError, StepTimeoutError, TerminalError
from notebook_durable.events import AttemptFailed

LONG = 30.0  # seconds; what waits so long in here is broken
SHORT = 0.02


class Slow:
    """Takes long at first, then not."""

    def __init__(self, times=1):
        self.left, self.calls, self.cancelled = times, 0, 0

    def __reduce_ex__(self, protocol):
        raise TypeError("what is outside has no content")

    def busy(self):
        self.calls += 1
        if self.calls > self.left:
            return "done"
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            pass
        return "late"

    def asleep(self):
        self.calls += 1
        if self.calls > self.left:
            return "done"
        time.sleep(LONG)
        return "late"

    async def awaiting(self):
        self.calls += 1
        if self.calls > self.left:
            return "done"
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "late"


@pytest.mark.parametrize("how", ["busy", "asleep", "awaiting"])
def test_too_slow_is_retried(lab, how):
    """Python code, a call that sleeps, and an async function handed to a sync cell."""
    slow = Slow()
    assert lab.play(lambda ctx: ctx.run("x", getattr(slow, how), timeout=SHORT)) == "done"
    assert slow.calls == 2
    (failed,) = lab.events.of(AttemptFailed)
    assert failed.attempt.error["type"] == "notebook_durable.errors.StepTimeoutError"
    assert "step 'x' took longer than its timeout of 0.02 s" in failed.attempt.error["message"]
    assert signal.getsignal(signal.SIGALRM) is not None


def test_an_async_function_is_cancelled(lab):
    """In an async cell; its siblings go on."""
    slow = Slow()

    async def body(ctx):
        return await asyncio.gather(
            ctx.run("x", slow.awaiting, timeout=SHORT), ctx.run("y", asyncio.sleep, SHORT * 3, "y")
        )

    assert lab.play(body) == ["done", "y"]
    assert (slow.calls, slow.cancelled) == (2, 1)


def test_a_sync_function_in_an_async_cell(lab):
    """It blocks the loop, and is interrupted by the signal."""
    slow = Slow()

    async def body(ctx):
        return await ctx.run("x", slow.busy, timeout=SHORT)

    assert lab.play(body) == "done"


def test_the_budget_counts(lab):
    """The last timeout is the cause of the TerminalError."""
    slow = Slow(9)
    with pytest.raises(TerminalError, match="gave up after 2 attempts") as caught:
        lab.play(lambda ctx: ctx.run("x", slow.asleep, timeout=SHORT, max_attempts=2))
    assert isinstance(caught.value.__cause__, StepTimeoutError)
    assert isinstance(caught.value.__cause__, TimeoutError)


def test_fatal_may_name_it(lab):
    """The user's own classes come first."""
    slow = Slow(9)
    with pytest.raises(StepTimeoutError):
        lab.play(lambda ctx: ctx.run("x", slow.asleep, timeout=SHORT, fatal=TimeoutError))
    assert slow.calls == 1


def test_its_own_timeout_is_its_own(lab):
    """A TimeoutError that the function raises keeps its type and message."""

    async def own():
        raise TimeoutError("the server said so")

    with pytest.raises(TimeoutError, match="the server said so"):
        lab.play(lambda ctx: ctx.run("x", own, timeout=LONG, fatal=TimeoutError))


def test_in_time(lab):
    """Nothing is left of the alarm."""
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[1]
    assert lab.play(lambda ctx: ctx.run("x", lambda: 1, timeout=LONG)) == 1
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[1]) == before


@pytest.mark.parametrize("timeout", [0, -1, "1", True])
def test_limits_that_cannot_be(lab, timeout):
    """Said before anything runs."""
    with pytest.raises(ConfigurationError):
        lab.play(lambda ctx: ctx.run("x", lambda: 1, timeout=timeout))


def test_on_another_thread(lab):
    """There is no signal there: a clear error instead of a limit that isn't kept."""
    caught = []

    def elsewhere():
        try:
            lab.play(lambda ctx: ctx.run("x", lambda: 1, timeout=1))
        except ConfigurationError as error:
            caught.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread only" in caught[0]


@contextmanager
def alarm(duration, error):
    """An alarm that may ring anywhere in the block."""
    made = Alarm(duration, error, lambda frame: False)
    made.set()
    try:
        yield
    finally:
        made.clear()


def test_somebody_elses_timer_is_not_late():
    """A timer that was set before rings in the block, and is running again after it."""
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
    old = signal.setitimer(signal.ITIMER_REAL, SHORT, SHORT)
    try:
        end = time.monotonic() + LONG
        with alarm(LONG, RuntimeError):
            while len(rung) < 2 and time.monotonic() < end:
                pass
        assert len(rung) >= 2
        count = len(rung)
        while len(rung) == count and time.monotonic() < end:
            pass
        assert len(rung) > count
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if old[0]:
            signal.setitimer(signal.ITIMER_REAL, *old)


def test_alarms_nest():
    """The inner one rings first, the outer one after it."""
    with pytest.raises(KeyError), alarm(LONG, KeyError):
        with pytest.raises(LookupError), alarm(SHORT, LookupError):
            time.sleep(LONG)
        raise KeyError
    with pytest.raises(KeyError), alarm(SHORT, KeyError):  # noqa: SIM117
        with alarm(LONG, LookupError):
            time.sleep(LONG)


def test_the_error_survives_pickle():
    """As all of ours."""
    error = pickle.loads(pickle.dumps(StepTimeoutError("x", 1.5)))
    assert (error.step, error.timeout, str(error)) == ("x", 1.5, "step 'x' took longer than its timeout of 1.5 s")
