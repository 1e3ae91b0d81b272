"""Waiting steps: people hasten, hold and end them; promises wait for an answer, sleeps for the clock."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from notebook_durable.errors import ConfigurationError, NestedContextError, TerminalError, UnawaitedStepError
from notebook_durable.events import AttemptFailed, StepReplayed, StepWaiting
from notebook_durable.history.answers import reject, resolve, resolve_text, tell
from notebook_durable.history.log import read_log
from notebook_durable.model import Ask, EntryStatus, Failure, Outcome, RunStatus
from notebook_durable.question import question
from notebook_durable.testing.faults import CrashError, CrashingStore


class Flaky:
    """Fails so often, and notes when it was called."""

    def __init__(self, lab, times):
        self.lab, self.times, self.at = lab, times, []

    def __reduce_ex__(self, protocol):
        raise TypeError("what is outside has no content")

    def __call__(self):
        self.at.append(self.lab.clock.now)
        if len(self.at) <= self.times:
            raise ConnectionError("boom")
        return "done"


def seq_of(lab, name):
    return next(entry.seq for entry in lab.session.journal.all() if entry.name == name)


def when_waiting(lab, name, do, after=1.0):
    """Plan something that happens while the step of this name waits."""
    lab.clock.after(after, lambda: do(lab.session.controls, seq_of(lab, name)))


def log(lab):
    return read_log(lab.store, lab.run())


# --- between two attempts


def test_retry_now_begins_the_next_attempt_at_once(lab):
    """The rest of the wait is left out; the budget counts as always."""
    flaky = Flaky(lab, 1)
    began = lab.clock.now
    when_waiting(lab, "x", lambda controls, seq: controls.retry(seq))
    assert lab.play(lambda ctx: ctx.run("x", flaky, initial_retry_interval=60)) == "done"
    assert [at - began for at in flaky.at] == [0, 1.0]
    assert lab.entry("x").attempts == 2


def test_give_up_ends_the_step_with_a_terminal_error(lab):
    """From the last error, and recorded: it replays if the cell survives it."""
    flaky = Flaky(lab, 99)
    when_waiting(lab, "x", lambda controls, seq: controls.give_up(seq, "no use"))

    def body(ctx):
        try:
            return ctx.run("x", flaky)
        except TerminalError as error:
            return type(error.__cause__).__name__, error.step, str(error)

    cause, step, said = lab.play(body)
    assert (cause, step) == ("ConnectionError", "x")
    assert "by hand: no use" in said
    assert (lab.entry("x").status, lab.entry("x").failure) == (EntryStatus.FAILED, Failure.TERMINAL)
    calls = len(flaky.at)
    lab.restart()
    assert lab.play(body)[2] == said
    assert len(flaky.at) == calls


def test_give_up_that_leaves_the_cell_is_tried_again_next_time(lab):
    """As any failure that left the cell: with a new budget."""
    flaky = Flaky(lab, 1)
    when_waiting(lab, "x", lambda controls, seq: controls.give_up(seq))
    with pytest.raises(TerminalError, match="by hand"):
        lab.play(lambda ctx: ctx.run("x", flaky, initial_retry_interval=60))
    assert lab.play(lambda ctx: ctx.run("x", flaky)) == "done"


@pytest.mark.once
def test_pause_holds_the_countdown_and_resume_goes_on_with_it(lab):
    """What is held costs nothing of max_retry_duration."""
    flaky = Flaky(lab, 1)
    began = lab.clock.now
    when_waiting(lab, "x", lambda controls, seq: controls.pause(seq), 4)
    when_waiting(lab, "x", lambda controls, seq: controls.resume(seq), 1000)
    assert lab.play(lambda ctx: ctx.run("x", flaky, initial_retry_interval=10, max_retry_duration=60)) == "done"
    assert [at - began for at in flaky.at] == [0, 1006]
    assert [(event.kind, event.until) for event in lab.events.of(StepWaiting)] == [
        ("paused", None),
        ("retry", began + 1006),
    ]
    assert lab.entry("x").spent == 10


def test_retry_now_ends_a_pause_too(lab):
    """Nobody has to resume first."""
    flaky = Flaky(lab, 1)
    began = lab.clock.now
    when_waiting(lab, "x", lambda controls, seq: controls.pause(seq), 4)
    when_waiting(lab, "x", lambda controls, seq: controls.retry(seq), 50)
    assert lab.play(lambda ctx: ctx.run("x", flaky, initial_retry_interval=10)) == "done"
    assert [at - began for at in flaky.at] == [0, 50]


@pytest.mark.once
def test_stop_after_this_step(lab):
    """The step under way finishes and is kept; the next one doesn't begin. The next execution goes on."""

    def body(ctx):
        ctx.run("a", lambda: (lab.session.controls.stop_after_step(), lab.called("a"))[1])
        return ctx.run("b", lambda: lab.called("b", 2))

    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert lab.calls == ["a"]
    assert lab.run().status is RunStatus.INTERRUPTED
    assert lab.store.executions(lab.run().id)[-1].used == (0,)  # "b" is none of its steps
    lab.restart()
    assert lab.play(body) == 2
    assert lab.calls == ["b"]


@pytest.mark.once
def test_stop_after_this_step_lets_replays_pass(lab):
    """Only a step that would run ends the execution."""
    lab.play(lambda ctx: ctx.run("a", lambda: lab.called("a", 1)))
    lab.restart()

    def body(ctx):
        lab.session.controls.stop_after_step()
        assert ctx.run("a", lambda: lab.called("a", 1)) == 1
        return ctx.run("b", lambda: lab.called("b", 2))

    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert lab.calls == []


@pytest.mark.once
def test_stop_after_this_step_in_an_async_cell(lab):
    """Steps side by side under way finish, none begins."""

    async def slow(name):
        lab.session.controls.stop_after_step()
        await asyncio.sleep(0)
        return lab.called(name, name)

    async def body(ctx):
        await asyncio.gather(ctx.run("a", slow, "a"))
        await ctx.run("b", slow, "b")

    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert lab.calls == ["a"]
    assert lab.entry("a").status is EntryStatus.SUCCEEDED


def test_a_request_for_a_step_that_does_not_wait_is_refused(lab):
    """The buttons of a step that has gone on do nothing."""
    lab.play(lambda ctx: ctx.run("x", lambda: 1))
    assert not lab.session.controls.retry(0)
    assert not lab.session.controls.answer(0, "yes")


@pytest.mark.once
def test_steps_side_by_side_are_told_apart(lab):
    """A request reaches the step that it is for."""
    one, two = Flaky(lab, 1), Flaky(lab, 1)
    when_waiting(lab, "one", lambda controls, seq: controls.give_up(seq))
    lab.clock.after(2.0, lambda: lab.session.controls.retry(seq_of(lab, "two")))

    async def body(ctx):
        return await asyncio.gather(
            ctx.run("one", one, initial_retry_interval=60),
            ctx.run("two", two, initial_retry_interval=60),
            return_exceptions=True,
        )

    given_up, done = lab.play(body)
    assert isinstance(given_up, TerminalError)
    assert done == "done"


def test_a_real_clock_is_woken_from_another_thread(lab):
    """A click comes on any thread: the wait of a minute ends at once, in a sync cell and in an async one."""
    from notebook_durable.engine.clock import SystemClock

    lab.clock = SystemClock()

    def click_when_waiting(seq):
        while not lab.session.controls.retry(seq):
            threading.Event().wait(0.005)

    async def in_a_task(ctx):
        return await ctx.run("y", failing_once["y"].pop, initial_retry_interval=60)

    class Once(list):
        def __reduce_ex__(self, protocol):
            raise TypeError

        def pop(self):
            if len(self) == 2:
                super().pop()
                raise ConnectionError
            return "done"

    failing_once = {"x": Once([1, 2]), "y": Once([1, 2])}
    for seq, body in ((0, lambda ctx: ctx.run("x", failing_once["x"].pop, initial_retry_interval=60)), (1, in_a_task)):
        clicking = threading.Thread(target=click_when_waiting, args=(seq,))
        lab.open().close(None)  # so that there is a session for the thread to look at
        clicking.start()
        assert lab.play(body) == "done"
        clicking.join(10)
        assert not clicking.is_alive()


# --- promises


def ask(ctx):
    return ctx.promise("publish?", choices=["yes", "no"])


def test_a_promise_waits_for_its_answer_and_replays_it(lab):
    """The answer is journaled as any step's result."""
    when_waiting(lab, "publish?", lambda controls, seq: controls.answer(seq, "yes"))
    assert lab.play(ask) == "yes"
    assert lab.entry("publish?").status is EntryStatus.SUCCEEDED
    lab.restart()
    assert lab.play(ask) == "yes"  # nothing is planned: a wait would fail the clock
    assert lab.events.of(StepReplayed)


def test_a_promise_says_what_it_asks(lab):
    """The event carries the question, the entry keeps it."""
    when_waiting(lab, "publish?", lambda controls, seq: controls.answer(seq, "no"))
    lab.play(ask)
    (waiting,) = lab.events.of(StepWaiting)[:1]
    assert (waiting.kind, waiting.until, waiting.question.choices) == ("answer", None, ("yes", "no"))


def test_an_answer_that_is_no_choice_is_not_taken(lab):
    """The cell goes on waiting."""
    when_waiting(lab, "publish?", lambda controls, seq: controls.answer(seq, "maybe"))
    when_waiting(lab, "publish?", lambda controls, seq: controls.answer(seq, "no"), 2)
    assert lab.play(ask) == "no"


def test_the_kernel_dies_while_a_promise_waits(lab):
    """The next execution goes on waiting, under the same entry; the answer may have come meanwhile."""
    if lab.always_replay:
        pytest.skip("crashes by itself")
    store = CrashingStore(lab.store, "begin", lambda entry: entry.name == "publish?", after=True)
    with pytest.raises(CrashError):
        lab.play(ask, store=store)
    lab.restart()
    assert "run its cell to go on" in resolve(lab.store, log(lab), "publish?", "yes", now=lab.clock.now)
    assert lab.play(ask) == "yes"
    assert [entry.seq for entry in lab.entries()] == [0]
    assert not lab.store.inbox(lab.run().id)


def test_answered_from_another_kernel_while_it_waits(lab):
    """Through the mailbox, outside of the run's lock."""

    def elsewhere():
        assert "its cell goes on" in resolve_text(lab.store, log(lab), "publish?", "yes", now=lab.clock.now)

    lab.clock.after(3.0, elsewhere)
    assert lab.play(ask) == "yes"


def test_stop_while_a_promise_waits(lab):
    """Stop interrupts it; the next execution asks again."""

    def stop(waiter, duration, poll):
        raise KeyboardInterrupt

    wait, lab.clock.wait = lab.clock.wait, stop
    with pytest.raises(KeyboardInterrupt):
        lab.play(ask)
    assert lab.entry("publish?").status is EntryStatus.INTERRUPTED
    lab.clock.wait = wait
    when_waiting(lab, "publish?", lambda controls, seq: controls.answer(seq, "yes"))
    assert lab.play(ask) == "yes"


def test_rejected(lab):
    """A TerminalError in the cell, with the reason; the next execution asks again if it left the cell."""
    lab.clock.after(1.0, lambda: reject(lab.store, log(lab), "publish?", "not today", now=lab.clock.now))
    with pytest.raises(TerminalError, match="'publish\\?' was rejected: not today"):
        lab.play(ask)
    when_waiting(lab, "publish?", lambda controls, seq: controls.answer(seq, "yes"))
    assert lab.play(ask) == "yes"


def test_a_form_gives_a_dict(lab):
    """With the fields' types; what is left out keeps its first value."""
    when_waiting(lab, "pay", lambda controls, seq: controls.answer(seq, {"amount": 5, "to": "you"}))
    got = lab.play(lambda ctx: ctx.promise("pay", form={"amount": 10.0, "to": ["me", "you"], "sure": False}))
    assert got == {"amount": 5.0, "to": "you", "sure": False}
    assert type(got["amount"]) is float


def test_another_question_is_another_promise(lab):
    """An edit of the choices asks again; the old answer stays with the old question."""
    when_waiting(lab, "publish?", lambda controls, seq: controls.answer(seq, "yes"))
    lab.play(ask)
    lab.clock.after(1.0, lambda: lab.session.controls.answer(1, "later"))
    assert lab.play(lambda ctx: ctx.promise("publish?", choices=["yes", "no", "later"])) == "later"
    lab.restart()
    assert lab.play(ask) == "yes"


def test_promises_side_by_side(lab):
    """In an async cell each waits by itself."""
    lab.clock.after(1.0, lambda: lab.session.controls.answer(seq_of(lab, "b"), "B"))
    lab.clock.after(2.0, lambda: lab.session.controls.answer(seq_of(lab, "a"), "A"))

    async def body(ctx):
        return await asyncio.gather(ctx.promise("a"), ctx.promise("b"))

    assert lab.play(body) == ["A", "B"]


def test_a_promise_nobody_awaits(lab):
    """As a step."""

    async def body(ctx):
        ctx.promise("a")

    with pytest.raises(UnawaitedStepError):
        lab.play(body)


def test_inside_a_step(lab):
    """ctx may not be used there."""
    for call in (lambda ctx: ctx.promise("a"), lambda ctx: ctx.sleep(1)):
        with pytest.raises(NestedContextError):
            lab.play(lambda ctx, call=call: ctx.run("x", lambda: call(ctx)))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"choices": "yes"}, "takes a list"),
        ({"choices": [object()]}, "a choice is a text"),
        ({"choices": range(100)}, "more than the 50"),
        ({"form": {"a": object()}}, "neither text"),
        ({"form": {"a": 1}, "choices": [1]}, "not both"),
    ],
)
def test_questions_that_cannot_be_asked(lab, asked, said):
    """Said before anybody waits."""
    with pytest.raises(ConfigurationError, match=said):
        lab.play(lambda ctx: ctx.promise("p", **asked))


def test_what_is_typed_is_read_as_a_choice_json_or_text():
    """The choice that reads so comes first."""
    assert question("q", ["yes", 2, True], None).read("2") == 2
    assert question("q", ["yes", 2, True], None).read("true") is True
    assert question("q", None, None).read('{"a": 1}') == {"a": 1}
    assert question("q", None, None).read("as it stands") == "as it stands"
    assert question("q", None, {"n": 1}).read('{"n": 2}') == {"n": 2}
    for said in ("no", "1"):
        with pytest.raises(ConfigurationError, match="takes one of 'yes', 2, True"):
            question("q", ["yes", 2, True], None).read(said)
    with pytest.raises(ConfigurationError, match="'n' takes int"):
        question("q", None, {"n": 1}).read('{"n": "2"}')


def test_resolving_what_is_not_asked(lab):
    """The error names what is open."""
    lab.clock.after(1.0, lambda: lab.session.controls.answer(0, "yes"))
    lab.play(ask)
    with pytest.raises(ConfigurationError, match=r"no open promise 'publish\?'. None is open"):
        resolve(lab.store, log(lab), "publish?", "yes", now=0.0)


def test_an_answer_for_a_promise_that_is_settled_is_dropped(lab):
    """Of two answers the first counts; the other one answers nothing else."""

    def twice():
        resolve(lab.store, log(lab), "publish?", "yes", now=lab.clock.now)
        resolve(lab.store, log(lab), "publish?", "no", now=lab.clock.now)

    lab.clock.after(1.0, twice)

    def body(ctx):
        first = ask(ctx)
        ctx.sleep(5)
        return first

    assert lab.play(body) == "yes"
    assert not lab.store.inbox(lab.run().id)


# --- asked from elsewhere


def test_a_waiting_step_is_told_from_another_kernel(lab):
    """The same requests as the buttons send, through the mailbox."""
    flaky = Flaky(lab, 1)
    began = lab.clock.now
    lab.clock.after(2.0, lambda: tell(lab.store, log(lab), Ask.RETRY, "x", now=lab.clock.now))
    lab.play(lambda ctx: ctx.run("x", flaky, initial_retry_interval=60))
    assert [at - began for at in flaky.at] == [0, 2.0]


@pytest.mark.once
def test_stop_from_another_kernel(lab):
    """Before the next step begins."""

    def slow():
        tell(lab.store, log(lab), Ask.STOP, None, now=lab.clock.now)
        lab.clock.advance(5)

    def body(ctx):
        ctx.run("a", slow)
        ctx.run("b", lambda: lab.called("b"))

    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert lab.calls == []
    with pytest.raises(ConfigurationError, match="not being executed"):
        tell(lab.store, log(lab), Ask.STOP, None, now=0.0)


# --- sleep


def test_sleep_is_durable(lab):
    """It takes its time once, and is replayed at once."""

    def body(ctx):
        ctx.sleep(timedelta(hours=1))
        return "awake"

    began = lab.clock.now
    assert lab.play(body) == "awake"
    assert lab.clock.now - began == 3600
    lab.restart()
    assert lab.play(body) == "awake"
    assert lab.clock.now - began == 3600


def test_after_a_restart_only_the_remainder_is_slept(lab):
    """Time without a kernel counts: it is the machine's clock that wakes."""
    if lab.always_replay:
        pytest.skip("crashes by itself")
    store = CrashingStore(lab.store, "begin", lambda entry: entry.name == "sleep", after=True)
    began = lab.clock.now
    with pytest.raises(CrashError):
        lab.play(lambda ctx: ctx.sleep(100), store=store)
    lab.restart()
    lab.clock.advance(70)
    lab.play(lambda ctx: ctx.sleep(100))
    assert lab.clock.now - began == 100


def test_a_sleep_can_be_ended_by_hand(lab):
    """Retry now wakes it."""
    began = lab.clock.now
    when_waiting(lab, "sleep", lambda controls, seq: controls.retry(seq), 7)
    lab.play(lambda ctx: ctx.sleep(100))
    assert lab.clock.now - began == 7


def test_sleeps_side_by_side(lab):
    """An async cell sleeps and works at once."""

    async def body(ctx):
        await asyncio.gather(ctx.sleep(5), ctx.sleep(10), ctx.run("x", lambda: lab.called("x")))

    lab.play(body)
    assert {entry.status for entry in lab.entries()} == {EntryStatus.SUCCEEDED}
    assert len(lab.entries()) == 3


@pytest.mark.parametrize("duration", [-1, float("inf"), "1", True])
def test_durations_that_cannot_be_slept(lab, duration):
    """Said at once."""
    with pytest.raises(ConfigurationError):
        lab.play(lambda ctx: ctx.sleep(duration))


def test_a_cancelled_promise_of_a_cell_that_goes_on(lab):
    """asyncio.timeout around a promise: the cell survives, the run is completed."""

    async def body(ctx):
        task = asyncio.ensure_future(ctx.promise("a"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return "went on"

    async def forever(waiter, duration, poll):
        await asyncio.Event().wait()

    lab.clock.wait_async = forever
    assert lab.play(body) == "went on"
    assert lab.entry("a").status is EntryStatus.CANCELLED
    assert lab.store.executions(lab.run().id)[-1].outcome is Outcome.COMPLETED


def test_the_first_failure_is_told_as_always(lab):
    """An attempt that failed announces its wait."""
    flaky = Flaky(lab, 1)
    lab.play(lambda ctx: ctx.run("x", flaky))
    assert len(lab.events.of(AttemptFailed)) == 1
