"""Cases of Restate's, DBOS', Temporal's and AWS' own suites, said in our words, where no other test says them.

Names in docstrings are those of the cases (``facts/restate.md`` section 6, ``facts/engines.md`` section 4).
"""

from __future__ import annotations

import asyncio

import pytest

from notebook_durable.errors import JournalMismatchError, TerminalError
from notebook_durable.events import StepReplayed, StepStarted
from notebook_durable.model import EntryStatus, Failure
from notebook_durable.retry import RetryPolicy
from notebook_durable.testing.faults import CrashError, CrashingStore


def raising(error):
    def step(*args):
        raise error

    return step


# --- Restate ------------------------------------------------------------------------------


def test_fail_several_times(lab):
    """UserErrors.failSeveralTimes: each execution fails anew, none poisons the run."""
    body = lambda ctx: ctx.run("x", raising(TerminalError("t")))  # noqa: E731
    for _ in range(3):
        with pytest.raises(TerminalError, match="t"):
            lab.play(body)


def test_failure_propagates_through_helpers(lab):
    """UserErrors.internalCallFailurePropagation, ...WithMetadata: code and metadata arrive through functions."""

    def helper(ctx):
        return ctx.run("x", raising(TerminalError("gone", 410, {"a": "b"})))

    with pytest.raises(TerminalError) as caught:
        lab.play(lambda ctx: helper(ctx))
    assert (caught.value.status_code, caught.value.metadata) == (410, {"a": "b"})


def test_what_was_done_before_a_failure_persists(lab):
    """UserErrors.setStateThenFailShouldPersistState."""

    def body(ctx):
        ctx.run("set", lab.called, "set", 1)
        ctx.run("fail", raising(TerminalError("t")))

    for _ in range(2):
        with pytest.raises(TerminalError):
            lab.play(body)
    assert lab.calls == ["set"]


@pytest.mark.parametrize(
    "second",
    [
        ["a", "x", "c"],  # callDifferentMethod
        ["a", "c", "b"],  # reordered
        ["b", "c"],  # removed in front
        ["z", "a", "b", "c"],  # inserted in front
    ],
)
def test_non_determinism_errors(lab, second):
    """NonDeterminismErrors.*: the mismatch is an error, later effects don't happen, and the old code still works."""
    lab.play(lambda ctx: [ctx.run(n, lab.called, n) for n in "abc"])
    lab.restart()
    with pytest.raises(JournalMismatchError):
        lab.play(lambda ctx: [ctx.run(n, lab.called, n) for n in second], strict=True)
    assert lab.calls == []
    lab.play(lambda ctx: [ctx.run(n, lab.called, n) for n in "abc"], strict=True)
    assert lab.calls == []


def test_replay_without_completion(lab):
    """run.rs replay_without_completion: an entry that was begun and not finished is run."""
    store = CrashingStore(lab.store, "begin", lambda e: True, after=True)
    with pytest.raises(CrashError):
        lab._pass(lambda ctx: ctx.run("x", lab.called, "x"), store=store)
    lab.restart()
    assert lab.play(lambda ctx: ctx.run("x", lab.called, "x", 1)) == 1


def test_failures_replay_byte_equal(lab):
    """sdk-typescript #656: the text of a recorded failure doesn't change from replay to replay."""

    def body(ctx):
        try:
            ctx.run("x", raising(ConnectionError("at 0x7f")), max_attempts=1)
        except TerminalError as error:
            ctx.run("next", lambda: 1)
            return str(error), error.history

    first = lab.play(body)
    assert lab.play(body) == first
    assert lab.play(body) == first


def test_result_type_may_change_without_harm(lab):
    """Restate answers RT0007 for ever when the new code expects another type; here the edited step runs."""

    def old(ctx) -> int:
        return ctx.run("x", lambda: 5)

    def new(ctx) -> str:
        def produce() -> str:
            return "five"

        return ctx.run("x", produce)

    lab.play(old)
    assert lab.play(new) == "five"
    assert lab.play(old) == 5


# --- DBOS ---------------------------------------------------------------------------------


def test_should_retry_on_the_last_attempt(lab):
    """test_step_should_retry_on_last_attempt: success in the last allowed attempt is success."""
    left = [2]

    def step():
        if left[0]:
            left[0] -= 1
            raise OSError
        return "ok"

    assert lab.play(lambda ctx: ctx.run("x", step, max_attempts=3)) == "ok"


def test_no_final_sleep(lab):
    """test_step_retries_no_final_sleep: nobody waits for an attempt that won't come."""
    with pytest.raises(TerminalError):
        lab.play(lambda ctx: ctx.run("x", raising(OSError()), max_attempts=2))
    assert lab.clock.sleeps == [0.5]


@pytest.mark.once
def test_nonserializable_return(lab):
    """test_nonserializable_return: in DBOS the finished work is lost."""
    value = lab.play(lambda ctx: ctx.run("x", lambda: iter([1])))
    assert list(value) == [1]


def test_dead_letter_is_not_silent(lab):
    """test_dead_letter_queue: a step that kills its kernel every time is bounded by max_attempts, and says so."""
    body = lambda ctx: ctx.run("poison", lab.called, "poison", max_attempts=3)  # noqa: E731
    for _ in range(3):
        store = CrashingStore(lab.store, "begin", lambda e: True, after=True)
        with pytest.raises(CrashError):
            lab._pass(body, store=store)
        lab.restart()
    with pytest.raises(TerminalError, match=r"no attempt left \(max_attempts=3 reached\)"):
        lab.play(body)
    assert lab.calls == []


def test_workflows_do_not_share(lab):
    """letitloop: two ids in one store shared their steps. And Prefect's INPUTS: two steps, equal inputs."""
    assert lab.play(lambda ctx: ctx.run("x", lambda: 1), workflow="one") == 1
    assert lab.play(lambda ctx: ctx.run("x", lambda: 2), workflow="two") == 2
    assert lab.play(lambda ctx: (ctx.run("f", str, 1), ctx.run("g", float, 1)), workflow="three") == ("1", 1.0)


# --- AWS ----------------------------------------------------------------------------------


@pytest.mark.once
def test_replay_skips_succeeded_and_rethrows_failed(lab):
    """1-8 .. 1-10, in one workflow, in order."""

    def body(ctx):
        a = ctx.run("a", lab.called, "a", 1)
        try:
            ctx.run("b", lambda: lab.called("b") or raising(TerminalError("no"))())
        except TerminalError:
            b = -1
        return a, b, ctx.run("c", lab.called, "c", 3)

    assert lab.play(body) == (1, -1, 3)
    lab.restart()
    assert lab.play(body) == (1, -1, 3)
    assert lab.calls == []
    assert [e.entry.status for e in lab.events.of(StepReplayed)] == [
        EntryStatus.SUCCEEDED, EntryStatus.FAILED, EntryStatus.SUCCEEDED,
    ]  # fmt: skip


def test_none_is_a_value(lab):
    """1-12: a step that returns None replays as None and isn't taken for unfinished."""
    assert lab.play(lambda ctx: ctx.run("x", lab.called, "x")) is None
    assert lab.play(lambda ctx: ctx.run("x", lab.called, "x")) is None
    assert lab.calls == ["x"]


@pytest.mark.once
def test_interrupted_child_counts(lab):
    """3-12 and 1-15: what was under way begins once more, with its attempt number going up."""
    store = CrashingStore(lab.store, "begin", lambda e: e.attempts == 1, after=True)
    with pytest.raises(CrashError):
        lab._pass(lambda ctx: ctx.run("x", int), store=store)
    lab.restart()
    lab.play(lambda ctx: ctx.run("x", int))
    assert [(e.entry.attempts, e.reason) for e in lab.events.of(StepStarted)] == [(2, "outcome unknown: running again")]


# --- Temporal -----------------------------------------------------------------------------


@pytest.mark.once
def test_swallowed_cancellation(lab):
    """test_swallowed_activity_cancellation: a step that swallows its cancellation and returns has succeeded."""
    lab.clock.asleep = asyncio.sleep

    async def stubborn():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return lab.called("stubborn", "kept")

    async def body(ctx):
        task = asyncio.ensure_future(ctx.run("x", stubborn))
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert lab.play(body) == "kept"
    assert lab.entry("x").status is EntryStatus.SUCCEEDED
    assert lab.play(body) == "kept"
    assert lab.calls.count("stubborn") == 1


def test_bad_failure_payload_still_takes_the_branch(lab):
    """test_bad_failure_converter: a recorded exception that can't be read back is a TerminalError with its text."""

    def body(ctx):
        try:
            ctx.run("x", raising(ConnectionError("boom")), max_attempts=1)
        except TerminalError as error:
            ctx.run("next", lambda: 1)
            return str(error)

    said = lab.play(body)
    entry = lab.entry("x")
    assert entry.failure is Failure.TERMINAL
    lab.store.amend(lab.run().id, [entry._replace(payload=b"garbage")])
    assert lab.play(body) == said


def test_policy_may_change_between_executions(lab):
    """A bound that is raised after the failure applies to the next budget."""
    left = [3]

    def step():
        if left[0]:
            left[0] -= 1
            raise OSError("x")
        return "ok"

    with pytest.raises(TerminalError):
        lab.play(lambda ctx: ctx.run("x", step), policy=RetryPolicy(max_attempts=2))
    assert lab.play(lambda ctx: ctx.run("x", step), policy=RetryPolicy(max_attempts=5)) == "ok"
