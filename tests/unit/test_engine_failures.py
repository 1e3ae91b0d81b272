"""Failure: what is retried, how often, what ends it, and what the caller gets (design section 5)."""

from __future__ import annotations

import asyncio
import traceback
from datetime import timedelta

import pytest
from lab import Outside

from notebook_durable.errors import ConfigurationError, RetryableError, TerminalError
from notebook_durable.events import AttemptFailed
from notebook_durable.model import EntryStatus, Failure, RunStatus
from notebook_durable.retry import DEFAULT_FATAL, RetryPolicy


class Flaky(Outside):
    """Fails as often as told, then gives its value."""

    def __init__(self, times, error=None, value="ok"):
        self.left = times
        self.error = error or ConnectionError("boom")
        self.value = value
        self.calls = 0

    def __call__(self, *args):
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return self.value


def test_a_flaky_step_is_retried_until_it_succeeds(lab):
    """Endless by default, 0.5 s doubling to 60 s (Restate's RunRetry.withSuccess)."""
    flaky = Flaky(9)
    assert lab.play(lambda ctx: ctx.run("x", flaky)) == "ok"
    assert flaky.calls == 10
    assert lab.clock.sleeps == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert lab.entry("x").attempts == 10


def test_an_async_function_is_retried_alike(lab):
    """Both drivers follow one policy."""
    flaky = Flaky(2)

    async def fn():
        return flaky()

    async def body(ctx):
        return await ctx.run("x", fn)

    assert lab.play(body) == "ok"
    assert lab.clock.sleeps == [0.5, 1]
    lab.restart()
    assert lab.play(lambda ctx: ctx.run("x", fn)) == "ok"
    assert flaky.calls == 3


def test_only_the_failing_step_is_repeated(lab):
    """The code between steps does not run again for a retry (in Restate it does)."""
    flaky, between = Flaky(2), []

    def body(ctx):
        ctx.run("a", lab.called, "a")
        between.append(1)
        return ctx.run("x", flaky)

    lab.play(body)
    assert lab.calls == ["a"]
    if not lab.always_replay:
        assert between == [1]


def test_the_bound_counts_the_first_attempt(lab):
    """max_attempts=3 is three calls and two waits, then TerminalError (RunRetry.withExhaustedAttempts)."""
    flaky = Flaky(99)
    with pytest.raises(TerminalError) as caught:
        lab.play(lambda ctx: ctx.run("x", flaky, max_attempts=3))
    error = caught.value
    assert flaky.calls == 3
    assert lab.clock.sleeps == [0.5, 1]  # no wait after the last
    assert error.step == "x"
    assert error.attempts == 3
    assert error.__cause__ is flaky.error
    assert [(h["attempt"], h["type"], h["message"]) for h in error.history] == [
        (1, "ConnectionError", "boom"),
        (2, "ConnectionError", "boom"),
        (3, "ConnectionError", "boom"),
    ]
    assert "gave up after 3 attempts (max_attempts=3 reached): ConnectionError: boom" in str(error)
    assert "Flaky" not in error.history[0]["traceback"] or "raise self.error" in error.history[0]["traceback"]


@pytest.mark.parametrize("bound", [0, 1])
def test_one_attempt_is_one_call(lab, bound):
    """0 behaves as 1, as in Restate."""
    flaky = Flaky(99)
    with pytest.raises(TerminalError):
        lab.play(lambda ctx: ctx.run("x", flaky, max_attempts=bound))
    assert flaky.calls == 1


def test_the_duration_bound(lab):
    """No attempt begins after max_retry_duration; the last one begins at the limit, not after it."""
    flaky = Flaky(99)
    with pytest.raises(TerminalError, match="max_retry_duration=2 s used up"):
        lab.play(lambda ctx: ctx.run("x", flaky, max_retry_duration=timedelta(seconds=2), initial_retry_interval=0.5))
    assert lab.clock.sleeps == [0.5, 1.0, 0.5]


def test_a_slow_attempt_uses_the_duration_up(lab):
    """Time inside attempts counts, not only the waits."""
    flaky = Flaky(99)

    def slow():
        lab.clock.advance(5)
        flaky()

    with pytest.raises(TerminalError):
        lab.play(lambda ctx: ctx.run("x", slow, max_retry_duration=4))
    assert flaky.calls == 1


def test_intervals_and_factor(lab):
    """The step's own numbers lie over the defaults."""
    with pytest.raises(TerminalError):
        lab.play(
            lambda ctx: ctx.run(
                "x", Flaky(99), max_attempts=5, initial_retry_interval=0.1, retry_interval_factor=3,
                max_retry_interval=timedelta(seconds=1),
            )
        )  # fmt: skip
    assert lab.clock.sleeps == pytest.approx([0.1, 0.3, 0.9, 1.0])


def test_the_notebooks_default_bound(lab):
    """A policy for the whole execution (what papermill sets); a step's own bound wins."""
    with pytest.raises(TerminalError):
        lab.play(lambda ctx: ctx.run("x", Flaky(99)), policy=RetryPolicy(max_attempts=2))
    assert lab.clock.sleeps == [0.5]
    assert lab.play(lambda ctx: ctx.run("y", Flaky(2), max_attempts=5), policy=RetryPolicy(max_attempts=2)) == "ok"


def test_retry_after_is_followed(lab):
    """RetryableError(retry_after=...) chooses the next wait; its status code travels on."""
    with pytest.raises(TerminalError) as caught:
        lab.play(lambda ctx: ctx.run("x", Flaky(99, RetryableError("slow down", 429, retry_after=7)), max_attempts=2))
    assert lab.clock.sleeps == [7]
    assert caught.value.status_code == 429


# --- what a retry can't mend --------------------------------------------------------------


UNMENDABLE = [kind for kind in DEFAULT_FATAL if not issubclass(kind, (StopIteration, StopAsyncIteration))]


@pytest.mark.parametrize("kind", [*UNMENDABLE, KeyError, IndexError, ModuleNotFoundError, UnboundLocalError])
def test_errors_that_a_retry_cannot_mend(lab, kind):
    """A typo must not loop: the user's own exception, unchanged, at the user's own line."""
    error = kind("utf-8", b"x", 0, 1, "bad") if kind is UnicodeDecodeError else kind("typo")

    def step():
        raise error

    with pytest.raises(kind) as caught:
        lab.play(lambda ctx: ctx.run("x", step))
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ is False
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "raise error"
    assert lab.clock.sleeps == []
    assert lab.entry("x").failure is Failure.FATAL


def test_stop_iteration_is_what_python_makes_of_it(lab):
    """``next(exhausted)`` in a step: RuntimeError, as out of any generator (PEP 479), and no retry."""
    with pytest.raises(RuntimeError, match="step 'x' raised StopIteration") as caught:
        lab.play(lambda ctx: ctx.run("x", lambda: next(iter([]))))
    assert isinstance(caught.value.__cause__, StopIteration)
    assert lab.clock.sleeps == []


@pytest.mark.parametrize("leaf", [NameError("typo"), TerminalError("no")])
def test_a_group_is_judged_by_what_it_holds(lab, leaf):
    """A TaskGroup inside a step wraps its errors: a typo must not loop, and TerminalError ends it."""

    async def step():
        async with asyncio.TaskGroup() as group:
            group.create_task(_raise(leaf))

    with pytest.raises(ExceptionGroup if isinstance(leaf, NameError) else TerminalError):
        lab.play(lambda ctx: ctx.run("x", step))
    assert lab.clock.sleeps == []


async def _raise(error):
    raise error


def test_a_bad_retry_after_is_said_where_it_is_written(lab):
    """And isn't retried."""
    for bad in (-1, "soon", float("nan")):
        with pytest.raises(ConfigurationError, match="retry_after must be"):
            lab.play(lambda ctx, bad=bad: ctx.run("x", lambda: RetryableError("x", retry_after=bad)))


def test_a_step_at_most_once_is_not_retried(lab):
    """An attempt that failed may have had its effect; max_attempts= says otherwise."""
    flaky = Flaky(2)
    with pytest.raises(TerminalError):
        lab.play(lambda ctx: ctx.run("pay", flaky, at_most_once=True))
    assert flaky.calls == 1
    assert lab.play(lambda ctx: ctx.run("pay", flaky, at_most_once=True, max_attempts=2)) == "ok"


def test_metadata_becomes_text(lab):
    """Restate's type: strings. Anything else must not block the run for ever."""

    class Odd:
        def __repr__(self):
            return "odd"

    with pytest.raises(TerminalError) as caught:
        lab.play(lambda ctx: ctx.run("x", Flaky(9, TerminalError("x", metadata={("a", 1): Odd()}))))
    assert caught.value.metadata == {"('a', 1)": "odd"}
    assert lab.entry("x").status is EntryStatus.FAILED


def test_notes_replay(lab):
    """``add_note`` on what was raised survives the journal."""

    def fail():
        error = TerminalError("x")
        error.__cause__ = OSError("disk")
        error.add_note("call Bob")
        raise error

    def body(ctx):
        try:
            ctx.run("x", fail)
        except TerminalError as error:
            ctx.run("next", lambda: 1)
            return error.__notes__, type(error.__cause__)

    assert lab.play(body) == (["call Bob"], OSError)
    assert lab.play(body) == (["call Bob"], OSError)


def test_what_errors_say_is_bounded(lab):
    """A step that fails in a loop must not fill the disk."""
    with pytest.raises(TerminalError):
        lab.play(lambda ctx: ctx.run("x", Flaky(9, OSError("m" * 5_000_000)), max_attempts=2))
    assert sum(len(str(a.error)) for a in lab.store.attempts(lab.run().id, 0)) < 100_000


def test_a_typo_is_tried_again_when_the_cell_is_run_again(lab):
    """It is never replayed: the user has mended it."""
    with pytest.raises(NameError):
        lab.play(lambda ctx: ctx.run("x", lambda: undefined_name))  # noqa: F821
    assert lab.play(lambda ctx: ctx.run("x", lambda: 5)) == 5


def test_other_exceptions_are_retried(lab):
    """ValueError, OSError, timeouts: the world may be better next time."""
    for kind in (ValueError, OSError, RuntimeError, TimeoutError, ConnectionError):
        lab.clock.sleeps.clear()
        assert lab.play(lambda ctx, kind=kind: ctx.run(kind.__name__, Flaky(1, kind("x")))) == "ok"
        assert lab.clock.sleeps == [0.5]


def test_fatal_adds_to_the_list(lab):
    """fatal=ValueError: raised at once, as it is."""
    with pytest.raises(ValueError, match="bad input"):
        lab.play(lambda ctx: ctx.run("x", Flaky(1, ValueError("bad input")), fatal=ValueError))
    assert lab.clock.sleeps == []


def test_retry_on_takes_from_the_list(lab):
    """retry_on=LookupError: an API that answers with KeyError while it starts up."""
    assert lab.play(lambda ctx: ctx.run("x", Flaky(2, KeyError("k")), retry_on=(LookupError,))) == "ok"


def test_the_nearest_class_wins():
    """fatal=OSError, retry_on=ConnectionError: a ConnectionError is one, but it is retried."""
    policy = RetryPolicy(fatal=(OSError,), retry_on=(ConnectionError, KeyError))
    assert policy.is_fatal(PermissionError())
    assert not policy.is_fatal(ConnectionResetError())
    assert not policy.is_fatal(KeyError())
    assert policy.is_fatal(IndexError())
    assert not RetryPolicy(retry_on=Exception).is_fatal(TypeError())


# --- TerminalError ------------------------------------------------------------------------


def test_terminal_error_ends_a_step_at_once(lab):
    """Raised by the step itself it is not retried, and is the same object (UserErrors.sideEffectWithTerminalError)."""
    mine = TerminalError("no such customer", 404, {"id": "7"})

    def body(ctx):
        with pytest.raises(TerminalError) as caught:
            ctx.run("x", Flaky(9, mine))
        assert (str(caught.value), caught.value.status_code, caught.value.metadata) == (
            "no such customer", 404, {"id": "7"},
        )  # fmt: skip
        assert (caught.value.step, caught.value.attempts) == ("x", 1)
        return caught.value

    assert lab.play(body) is mine
    assert lab.clock.sleeps == []


def test_a_survived_failure_replays_with_all_it_carried(lab):
    """The same branch is taken again: message, code, metadata, step, attempts, history, cause."""

    def body(ctx):
        try:
            ctx.run("pay", Flaky(9, ConnectionError("down")), max_attempts=2)
        except TerminalError as error:
            return ctx.run("fallback", lab.called, "fallback", "cash"), error

    _, first = lab.play(body)
    lab.restart()
    value, again = lab.play(body)
    assert value == "cash"
    assert lab.calls == []
    assert again.replayed
    assert (str(again), again.step, again.attempts, again.status_code) == (
        str(first), "pay", 2, 500,
    )  # fmt: skip
    assert [h["attempt"] for h in again.history] == [1, 2]
    assert type(again.__cause__) is ConnectionError
    assert again.__cause__.args == ("down",)


class Declined(TerminalError):
    """A user's own kind of terminal error."""

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


def test_a_subclass_of_terminal_error_replays_as_itself(lab):
    """``except Declined`` works on replay too."""

    def body(ctx):
        try:
            ctx.run("pay", Flaky(9, Declined("no", 51)))
        except Declined as error:
            return ctx.run("note", lambda: 1), error.code

    assert lab.play(body) == (1, 51)
    lab.restart()
    assert lab.play(body) == (1, 51)


def test_a_cause_that_cannot_be_stored_leaves_its_text(lab):
    """DBOS test_error_serialization: the failure is recorded all the same."""

    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__("odd")
            self.lock = __import__("threading").Lock()

        def __str__(self):
            raise RuntimeError("broken __str__")

    def body(ctx):
        try:
            ctx.run("x", Flaky(9, Odd(1, 2)), max_attempts=1)
        except TerminalError as error:
            ctx.run("after", lambda: 1)
            return str(error)

    assert "broken" not in lab.play(body)
    lab.restart()
    assert "Odd" in lab.play(body)


@pytest.mark.once
def test_attempt_failed_says_when_the_next_one_comes(lab):
    """What the live output counts down to."""
    lab.play(lambda ctx: ctx.run("x", Flaky(1), max_attempts=3))
    event = lab.events.of(AttemptFailed)[0]
    assert event.attempt.delay == 0.5
    assert event.next_at == lab.clock.now
    assert event.max_attempts == 3
    assert event.attempt.error["type"] == "ConnectionError"


def test_only_one_frame_of_ours_stands_between_caller_and_step(lab):
    """Tracebacks of plain Python: the caller, ctx.run, the step."""

    def step():
        raise TypeError("x")

    with pytest.raises(TypeError) as caught:
        lab.play(lambda ctx: ctx.run("x", step))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-3:] == ["<lambda>", "run", "step"]


# --- Stop ---------------------------------------------------------------------------------


def test_stop_is_neither_failure_nor_attempt(lab):
    """KeyboardInterrupt in a step: recorded as interrupted, re-raised, and the attempt is given back."""
    stop = [True]

    def step():
        if stop:
            raise KeyboardInterrupt
        return "done"

    with pytest.raises(KeyboardInterrupt):
        lab.play(lambda ctx: ctx.run("x", step, max_attempts=1))
    assert lab.entry("x").status is EntryStatus.INTERRUPTED
    assert lab.entry("x").attempts == 0
    assert lab.run().status is RunStatus.INTERRUPTED
    stop.clear()
    assert lab.play(lambda ctx: ctx.run("x", step, max_attempts=1)) == "done"


def test_stop_while_waiting_keeps_the_attempts_made(lab):
    """DBOS test_keyboardinterrupt_during_retries: the budget goes on where it was."""
    flaky = Flaky(99)

    def stop_at_second_wait(waiter, duration, poll):
        lab.clock.sleeps.append(duration)
        if len(lab.clock.sleeps) == 2:
            raise KeyboardInterrupt

    lab.clock.wait = stop_at_second_wait
    with pytest.raises(KeyboardInterrupt):
        lab.play(lambda ctx: ctx.run("x", flaky, max_attempts=3))
    assert (flaky.calls, lab.entry("x").attempts) == (2, 2)
    lab.restart()
    with pytest.raises(TerminalError) as caught:
        lab.play(lambda ctx: ctx.run("x", flaky, max_attempts=3))
    assert flaky.calls == 3
    assert [h["attempt"] for h in caught.value.history] == [1, 2, 3]


def test_system_exit_is_an_interruption_too(lab):
    """sys.exit in a step is no failure to be retried."""
    with pytest.raises(SystemExit):
        lab.play(lambda ctx: ctx.run("x", lambda: exec("raise SystemExit(3)")))
    assert lab.entry("x").status is EntryStatus.INTERRUPTED


def test_cancelled_error_from_asyncio_run_is_stop(lab):
    """A cancellation that leaves the cell is Stop (plain asyncio: Ctrl-C cancels the main task)."""

    async def body(ctx):
        await ctx.run("x", asyncio.sleep, 100)

    async def main():
        task = asyncio.ensure_future(lab._apass(body))
        while not lab.calls and not lab.events.names().count("StepStarted"):
            await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert lab.entry("x").status is EntryStatus.INTERRUPTED
    assert lab.run().status is RunStatus.INTERRUPTED
