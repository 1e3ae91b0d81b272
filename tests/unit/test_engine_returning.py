"""What a run does when its cell is executed again: the table of design section 4, row by row."""

from __future__ import annotations

import asyncio

import pytest
from lab import Calls

from notebook_durable.errors import OutcomeUnknownError, TerminalError
from notebook_durable.events import StepReplayed, StepStarted
from notebook_durable.model import EntryStatus, Outcome, RunStatus
from notebook_durable.testing.faults import CrashError, CrashingStore
from notebook_durable.view import JournalView
from notebook_durable.wiring import Settings


def failing(error=None):
    def step(*args):
        raise error or TerminalError("no")

    return step


def killed(lab, body, point, name, *, after=False, times=1):
    """Play until the kernel dies at a write of the named step."""
    seen = [0]

    def when(entry):
        seen[0] += entry.name == name
        return entry.name == name and seen[0] == times

    store = CrashingStore(lab.store, point, when, after=after)
    with pytest.raises(CrashError):
        lab._pass(body, store=store)
    lab.restart()


# --- completed ----------------------------------------------------------------------------


def test_completed_replays_everything(lab):
    """Row 1: everything replays, also the third time."""
    body = lambda ctx: [ctx.run(n, lab.called, n, n) for n in "abc"]  # noqa: E731
    for _ in range(3):
        assert lab.play(body) == ["a", "b", "c"]
    assert lab.calls == ["a", "b", "c"]


# --- interrupted --------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["begin", "record"])
@pytest.mark.parametrize("after", [False, True])
def test_a_killed_kernel_costs_at_most_the_step_that_was_open(lab, point, after):
    """Row 4, at every place where a kernel can die around a step."""
    body = lambda ctx: [ctx.run(n, lab.called, n, n) for n in "abc"]  # noqa: E731
    killed(lab, body, point, "b", after=after)
    assert lab.play(body) == ["a", "b", "c"]
    finished = point == "record" and after
    assert lab.calls == (["c"] if finished else ["b", "c"])
    again = [e for e in lab.events.of(StepStarted) if e.entry.name == "b"]
    if not lab.always_replay and point == "begin" and after:
        assert again[0].reason == "outcome unknown: running again"


def test_attempts_of_a_killed_kernel_count(lab):
    """DBOS made 7 calls for max_attempts=5 here: ours are 5 in all, and the times add up without the gap."""

    def body(ctx):
        def step():
            lab.called("step")
            lab.clock.advance(10)
            raise ConnectionError("boom")

        ctx.run("x", step, max_attempts=5)

    killed(lab, body, "begin", "x", after=True, times=3)  # dies with attempt 3 begun
    assert lab.entry("x").attempts == 3
    assert lab.entry("x").spent == pytest.approx(21.5)  # 2 calls of 10 s, waits of 0.5 and 1 s
    lab.clock.advance(3600)  # nobody worked
    with pytest.raises(TerminalError) as caught:
        lab.play(body)
    assert lab.calls == ["step", "step"]  # attempts 4 and 5
    assert caught.value.attempts == 5
    assert [h["attempt"] for h in caught.value.history] == [1, 2, 4, 5]
    assert lab.entry("x").spent < 100


def test_time_without_a_kernel_does_not_count(lab):
    """max_retry_duration is the time spent trying, not the weekend between."""
    left = [3]

    def step():
        lab.clock.advance(1)
        if left[0]:
            left[0] -= 1
            raise ConnectionError
        return "ok"

    body = lambda ctx: ctx.run("x", step, max_retry_duration=60)  # noqa: E731
    killed(lab, body, "begin", "x", after=True, times=2)
    lab.clock.advance(100_000)
    assert lab.play(body) == "ok"


def test_a_kernel_that_died_in_the_last_attempt(lab):
    """No attempt is left: TerminalError says so; running the cell once more gives a new budget."""
    body = lambda ctx: ctx.run("x", lab.called, "x", 1, max_attempts=1)  # noqa: E731
    killed(lab, body, "begin", "x", after=True)
    with pytest.raises(TerminalError, match="attempt 1 was cut off when its kernel died"):
        lab.play(body)
    assert lab.calls == []
    assert lab.play(body) == 1


def test_killed_while_waiting_goes_on(lab):
    """DBOS test_recovery_during_retries: no attempt was open, so nothing is unknown."""
    flaky = iter([ConnectionError("1"), None])

    def step():
        error = next(flaky)
        if error:
            raise error
        return "ok"

    body = lambda ctx: ctx.run("x", step, max_attempts=2, at_most_once=True)  # noqa: E731
    killed(lab, body, "record", "x", after=True)
    assert lab.play(body) == "ok"


# --- at most once -------------------------------------------------------------------------


def charge_body(lab):
    return lambda ctx: ctx.run("charge", lab.called, "charge", "paid", at_most_once=True)


def test_at_most_once_asks_after_a_crash(lab):
    """AWS 1-17/1-18: the step that was open is not called again; the error says what to type."""
    killed(lab, charge_body(lab), "begin", "charge", after=True)
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError, match=r'%durable outcome wf "charge" --value EXPR'):
            lab.play(charge_body(lab))
    assert lab.calls == []


@pytest.mark.parametrize("how", [{"value": "supplied"}, {"retry": True}])
def test_at_most_once_is_answered(lab, how):
    """--value gives the outcome without a call, --retry calls it again."""
    killed(lab, charge_body(lab), "begin", "charge", after=True)
    view = JournalView(Settings.resolve(store=lab.store))
    assert "charge" in view.outcome("wf", "charge", **how)
    assert lab.play(charge_body(lab)) == ("paid" if how.get("retry") else "supplied")
    assert lab.calls == (["charge"] if how.get("retry") else [])
    assert lab.play(charge_body(lab)) == ("paid" if how.get("retry") else "supplied")


def test_at_most_once_stopped_inside_asks_too(lab):
    """Stop inside the call leaves the outcome as unknown as a crash does."""

    def step():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.play(lambda ctx: ctx.run("charge", step, at_most_once=True))
    with pytest.raises(OutcomeUnknownError):
        lab.play(charge_body(lab))


def test_at_most_once_that_finished_replays(lab):
    """The option changes nothing when nothing went wrong."""
    assert lab.play(charge_body(lab)) == lab.play(charge_body(lab)) == "paid"
    assert lab.calls == ["charge"]


# --- the error left the cell at a failing step --------------------------------------------


def test_a_failure_that_left_the_cell_is_tried_again_with_a_new_budget(lab):
    """Row 5: the user came back to retry."""
    left = Calls([3])

    def step():
        lab.called("x")
        if left[0]:
            left[0] -= 1
            raise ConnectionError("down")
        return "ok"

    def body(ctx):
        ctx.run("a", lab.called, "a")
        return ctx.run("x", step, max_attempts=2)

    with pytest.raises(TerminalError) as caught:
        lab.play(body)
    assert caught.value.attempts == 2
    assert lab.run().status is RunStatus.FAILED
    lab.restart()
    assert lab.play(body) == "ok"
    assert lab.calls == ["x", "x"]
    assert lab.entry("x").attempts == 2
    assert lab.entry("x").budget == 1


def test_a_failure_reported_as_another_error_left_the_cell_too(lab):
    """``raise ValueError from error`` and an implicit context count."""
    good = []

    def step():
        if not good:
            raise TerminalError("no")
        return 1

    def body(ctx):
        try:
            return ctx.run("x", step)
        except TerminalError:
            raise ValueError("wrapped")  # noqa: B904  the implicit context is the point

    with pytest.raises(ValueError, match="wrapped"):
        lab.play(body)
    good.append(1)
    assert lab.play(body) == 1


def test_gather_siblings_that_failed_unnoticed_are_tried_again(lab):
    """gather raises the first failure; the second must not come back for ever on replay."""
    good = []

    def step():
        if not good:
            raise TerminalError("no")
        return 1

    async def body(ctx):
        return await asyncio.gather(ctx.run("a", step), ctx.run("b", step))

    with pytest.raises(TerminalError):
        lab.play(body)
    good.append(1)
    assert lab.play(body) == [1, 1]


def test_task_group_failures_are_tried_again(lab):
    """A failure inside an ExceptionGroup left the cell as well."""
    good = []

    def step():
        if not good:
            raise TerminalError("no")
        return 1

    async def body(ctx):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.run(name, step)) for name in "ab"]
        return [task.result() for task in tasks]

    with pytest.raises(ExceptionGroup):
        lab.play(body)
    good.append(1)
    assert lab.play(body) == [1, 1]


# --- an exception in the cell's own code --------------------------------------------------


def test_a_survived_failure_replays_though_the_cell_failed_later(lab):
    """Rows 6 and 7: same branch, no second call of the failed step."""
    broken = [True]

    def body(ctx):
        try:
            ctx.run("x", lambda: lab.called("x") or failing()())
        except TerminalError:
            ctx.run("fallback", lab.called, "fallback")
        if broken:
            raise ZeroDivisionError("cell")
        return "done"

    with pytest.raises(ZeroDivisionError):
        lab.play(body)
    lab.restart()
    broken.clear()
    assert lab.play(body) == "done"
    assert lab.calls == []


def test_a_survived_failure_without_a_later_step_replays(lab):
    """Row 7 for ``except TerminalError: value = None``."""

    def body(ctx):
        try:
            return ctx.run("x", lambda: lab.called("x") or failing()())
        except TerminalError:
            return None

    lab.play(body)
    lab.play(body)
    assert lab.calls == ["x"]


def test_a_later_failure_does_not_wake_an_earlier_survived_one(lab):
    """Only the step whose error left the cell is tried again."""
    good = []

    def body(ctx):
        try:
            ctx.run("x", lambda: lab.called("x") or failing()())
        except TerminalError:
            ctx.run("fallback", lab.called, "fallback")
        return ctx.run("y", lambda: lab.called("y", 1) if good else failing()())

    with pytest.raises(TerminalError):
        lab.play(body)
    assert lab.run().status is RunStatus.FAILED
    lab.restart()
    good.append(1)
    assert lab.play(body) == 1
    assert lab.calls == ["y"]


# --- rollback -----------------------------------------------------------------------------


def saga(lab, error, *, stop_in=None):
    """Two bookings, a payment that fails, two compensations."""

    def body(ctx):
        ctx.run("book flight", lab.called, "book flight")
        ctx.run("book hotel", lab.called, "book hotel")
        try:
            ctx.run("pay", lambda: lab.called("pay") or failing(error)())
        except Exception:
            ctx.run("cancel hotel", lab.called, "cancel hotel")
            ctx.run("cancel flight", lab.called, "cancel flight")
            raise

    return body


ERRORS = [TerminalError("declined"), KeyError("typo")]


@pytest.mark.parametrize("error", ERRORS)
def test_a_finished_rollback_starts_over(lab, error):
    """Row 3: what was undone must not replay; the old run stays in the archive."""
    with pytest.raises(type(error)):
        lab.play(saga(lab, error))
    assert lab.run().status is RunStatus.ROLLED_BACK
    lab.restart()
    with pytest.raises(type(error)):
        lab.play(saga(lab, error))
    assert lab.calls == ["book flight", "book hotel", "pay", "cancel hotel", "cancel flight"]
    assert [run.number for run in lab.store.runs("wf", archived=True)] == [2, 1]


@pytest.mark.parametrize("error", ERRORS)
def test_a_rollback_that_was_cut_short_is_finished_first(lab, error):
    """Row 2: killed between two compensations, the failure replays and the second is done; then it starts over."""
    killed(lab, saga(lab, error), "begin", "cancel flight")
    with pytest.raises(type(error)):
        lab.play(saga(lab, error))
    assert lab.calls == ["cancel flight"]
    assert lab.run().status is RunStatus.ROLLED_BACK
    lab.restart()
    with pytest.raises(type(error)):
        lab.play(saga(lab, error))
    assert lab.calls[0] == "book flight"


@pytest.mark.parametrize("error", ERRORS)
def test_stop_inside_a_rollback_goes_on_with_it(lab, error):
    """Stop is as good as a crash here."""
    stop = [True]

    def cancel():
        if stop:
            raise KeyboardInterrupt
        lab.called("cancel")

    def body(ctx):
        ctx.run("book", lab.called, "book")
        try:
            ctx.run("pay", lambda: lab.called("pay") or failing(error)())
        except Exception:
            ctx.run("cancel", cancel)
            raise

    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    lab.restart()
    stop.clear()
    with pytest.raises(type(error)):
        lab.play(body)
    assert lab.calls == ["cancel"]
    assert lab.run().status is RunStatus.ROLLED_BACK


def test_a_failing_compensation_is_tried_again_before_anything_starts_over(lab):
    """The rollback is not finished while one of its steps has failed."""
    good = []

    def body(ctx):
        ctx.run("book", lab.called, "book")
        try:
            ctx.run("pay", lambda: lab.called("pay") or failing()())
        except TerminalError:
            ctx.run("cancel", lambda: lab.called("cancel") if good else failing(TerminalError("also no"))())
            raise

    with pytest.raises(TerminalError, match="also no"):
        lab.play(body)
    assert lab.run().status is RunStatus.FAILED
    lab.restart()
    good.append(1)
    with pytest.raises(TerminalError, match="no"):
        lab.play(body)
    assert lab.calls == ["cancel"]
    assert lab.run().status is RunStatus.ROLLED_BACK


def test_a_typo_between_compensations_does_not_end_the_rollback(lab):
    """The user mends it and the rollback goes on on the same branch."""
    good = []

    def body(ctx):
        ctx.run("book", lab.called, "book")
        try:
            ctx.run("pay", lambda: lab.called("pay") or failing()())
        except TerminalError:
            ctx.run("cancel 1", lab.called, "cancel 1")
            if not good:
                undefined_name  # noqa: B018, F821
            ctx.run("cancel 2", lab.called, "cancel 2")
            raise

    with pytest.raises(NameError):
        lab.play(body)
    lab.restart()
    good.append(1)
    with pytest.raises(TerminalError):
        lab.play(body)
    assert lab.calls == ["cancel 2"]
    assert lab.run().status is RunStatus.ROLLED_BACK


def test_a_compensation_after_the_except_block_counts(lab):
    """The flag pattern: the rollback need not stand inside ``except``."""

    def body(ctx):
        failed = None
        try:
            ctx.run("pay", failing())
        except TerminalError as error:
            failed = error
        if failed:
            ctx.run("cancel", lab.called, "cancel")
            raise failed

    with pytest.raises(TerminalError):
        lab.play(body)
    assert lab.run().status is RunStatus.ROLLED_BACK


def test_a_notification_is_no_rollback(lab):
    """cleanup=True: a mail about the failure does not throw the finished work away."""

    def body(ctx):
        ctx.run("a", lab.called, "a")
        try:
            ctx.run("x", failing())
        except TerminalError:
            ctx.run("tell", lab.called, "tell", cleanup=True)
            raise

    with pytest.raises(TerminalError):
        lab.play(body)
    assert lab.run().status is RunStatus.FAILED
    lab.restart()
    with pytest.raises(TerminalError):
        lab.play(body)
    assert "a" not in lab.calls


@pytest.mark.once
def test_siblings_under_way_are_no_rollback(lab):
    """A helper coroutine beside the failing one that goes on with its steps undoes nothing."""

    async def failing_part(ctx):
        await ctx.run("x", failing())

    async def other_part(ctx, failed):
        await failed.wait()
        await ctx.run("b1", lab.called, "b1")
        await ctx.run("b2", lab.called, "b2")

    async def body(ctx):
        failed = asyncio.Event()
        other = asyncio.ensure_future(other_part(ctx, failed))
        first = asyncio.ensure_future(failing_part(ctx))
        await asyncio.wait([first])
        failed.set()
        await asyncio.wait([other])
        await first

    with pytest.raises(TerminalError):
        lab.play(body)
    assert lab.run().status is RunStatus.FAILED
    assert all(entry.rollback_of is None for entry in lab.entries())


@pytest.mark.once
def test_a_saga_in_an_async_cell(lab):
    """The cell's own task compensates for what failed in a gathered child."""

    async def body(ctx):
        await ctx.run("book", lab.called, "book")
        try:
            await asyncio.gather(ctx.run("pay", failing()))
        except TerminalError:
            await ctx.run("cancel", lab.called, "cancel")
            raise

    with pytest.raises(TerminalError):
        lab.play(body)
    assert lab.run().status is RunStatus.ROLLED_BACK


def test_a_survived_typo_is_tried_again_in_a_completed_run(lab):
    """A missing package, caught: installed meanwhile, it is used."""
    installed = []

    def fast():
        if not installed:
            raise ImportError("no fastlib")
        return "fast"

    def body(ctx):
        try:
            return ctx.run("fast", fast)
        except ImportError:
            return ctx.run("slow", lambda: "slow")

    assert lab.play(body) == "slow"
    assert lab.run().status is RunStatus.COMPLETED
    installed.append(1)
    assert lab.play(body) == "fast"


# --- cancellation -------------------------------------------------------------------------


@pytest.mark.once
def test_a_cancellation_that_the_cell_survived_replays_as_one(lab):
    """asyncio.timeout around a step: on replay the step is not called, it waits to be cancelled again."""
    lab.clock = type(lab.clock)()
    lab.clock.asleep = asyncio.sleep

    async def slow():
        lab.called("slow")
        await asyncio.sleep(3600)

    async def body(ctx):
        try:
            async with asyncio.timeout(0.05):
                await ctx.run("slow", slow)
        except TimeoutError:
            return await ctx.run("default", lab.called, "default", 0)

    assert lab.play(body) == 0
    assert lab.entry("slow").status is EntryStatus.CANCELLED
    lab.restart()
    assert lab.play(body) == 0
    assert lab.calls == []
    assert [e.entry.name for e in lab.events.of(StepReplayed)] == ["slow", "default"]


@pytest.mark.once
def test_a_cancelled_step_runs_when_nothing_cancels_it_any_more(lab):
    """The timeout was taken out of the code: the step is called after all."""

    async def slow():
        await asyncio.sleep(0 if lab.calls else 3600)
        return lab.called("slow", "value")

    async def limited(ctx):
        try:
            async with asyncio.timeout(0.01):
                await ctx.run("slow", slow)
        except TimeoutError:
            return

    async def unlimited(ctx):
        lab.calls.append("unlimited")
        return await ctx.run("slow", slow)

    assert lab.play(limited) is None
    assert lab.play(unlimited) == "value"


def test_an_outcome_is_recorded_for_a_killed_execution(lab):
    """The next kernel finds out that the last one died."""
    body = lambda ctx: ctx.run("a", lab.called, "a")  # noqa: E731
    killed(lab, body, "begin", "a", after=True)
    session = lab.open()
    assert session.claim.previous is Outcome.KILLED
    session.close(None)
