"""``ctx.on_rollback``: what a cell has done is undone when a TerminalError leaves it."""

from __future__ import annotations

import asyncio

import pytest
from lab import Calls

from notebook_durable import durable
from notebook_durable.errors import NestedContextError, RollbackLostError, TerminalError
from notebook_durable.model import EntryStatus, Outcome, RunStatus
from notebook_durable.testing.faults import CrashError, CrashingStore


def trip(lab, *, fails=True, undo_fails=0):
    """Book three things; the last one fails for good."""
    left = Calls([undo_fails])

    def cancel(what):
        if what == "car" and left[0]:
            left[0] -= 1
            raise ConnectionError("the rental company doesn't answer")
        lab.called(f"cancel {what}")

    def pay():
        lab.called("pay")
        if fails:
            raise TerminalError("card declined")
        return "paid"

    def body(ctx):
        for what in ("flight", "car"):
            ctx.run(f"book {what}", lab.called, f"book {what}")
            ctx.on_rollback(cancel, what, name=f"cancel {what}", max_attempts=2, initial_retry_interval=1)
        return ctx.run("pay", pay)

    return body


FORWARD = ["book flight", "book car", "pay"]
UNDO = ["cancel car", "cancel flight"]


def test_what_was_done_is_undone_in_reverse_order(lab):
    """The error leaves the cell and says so; the run is rolled back."""
    with pytest.raises(TerminalError, match="card declined") as caught:
        lab.play(trip(lab))
    assert lab.calls == FORWARD + UNDO
    assert any("rolled back: cancel car, cancel flight" in note for note in caught.value.__notes__)
    assert lab.run().status is RunStatus.ROLLED_BACK
    assert lab.entry("cancel car").rollback_of == lab.entry("pay").seq


def test_after_a_rollback_the_cell_starts_over(lab):
    """What was undone must not replay."""
    with pytest.raises(TerminalError):
        lab.play(trip(lab))
    lab.restart()
    assert lab.play(trip(lab, fails=False)) == "paid"
    assert lab.calls == FORWARD
    assert lab.run().number == 2


def test_nothing_is_undone_if_the_cell_ends_well_or_by_another_error(lab):
    """Only a TerminalError that leaves the cell rolls back: after other errors the user comes back to go on."""

    def body(ctx):
        ctx.run("a", lab.called, "a")
        ctx.on_rollback(lab.called, "undo a")
        raise ValueError("a typo in the cell")

    with pytest.raises(ValueError, match="a typo"):
        lab.play(body)
    assert lab.play(trip(lab, fails=False)) == "paid"
    assert lab.calls == ["a", *FORWARD]


@pytest.mark.once
@pytest.mark.parametrize("point", ["begin", "record"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", UNDO)
def test_a_kernel_that_dies_between_two_compensations(lab, point, after, step):
    """The rollback is finished first; only then the cell starts over."""
    dying = CrashingStore(lab.store, point, lambda entry: entry.name == step, after=after)
    with pytest.raises(CrashError):
        lab.play(trip(lab), store=dying)
    done = list(lab.calls)
    begun = any(entry.rollback_of is not None for entry in lab.entries())
    lab.restart()
    with pytest.raises(TerminalError, match="card declined"):
        # As soon as something is undone the failure replays, whatever the function would do now.
        lab.play(trip(lab, fails=not begun))
    again = [name for name in lab.calls if name in done]
    assert [name for name in lab.calls if name not in done] == [name for name in UNDO if name not in done]
    assert again == ([step] if point == "record" and not after else [])
    assert lab.run().status is RunStatus.ROLLED_BACK
    lab.restart()
    assert lab.play(trip(lab, fails=False)) == "paid"
    assert lab.calls == FORWARD


@pytest.mark.once
def test_an_edit_of_the_failed_step_does_not_cut_a_rollback_short(lab):
    """Half of it is undone: the failure replays although its code is mended, until the rest is undone too."""
    dying = CrashingStore(lab.store, "begin", lambda entry: entry.name == "cancel flight")
    with pytest.raises(CrashError):
        lab.play(trip(lab), store=dying)
    lab.restart()

    def edited(ctx):
        for what in ("flight", "car"):
            ctx.run(f"book {what}", lab.called, f"book {what}")
            ctx.on_rollback(lambda what=what: lab.called(f"cancel {what}"), name=f"cancel {what}")
        return ctx.run("pay", lambda: "paid otherwise")

    with pytest.raises(TerminalError, match="card declined"):
        lab.play(edited)
    assert "cancel flight" in lab.calls
    assert "book flight" not in lab.calls
    lab.restart()
    assert lab.play(edited) == "paid otherwise"


def test_a_compensation_is_retried(lab):
    """Under its own policy, as every step."""
    with pytest.raises(TerminalError, match="card declined"):
        lab.play(trip(lab, undo_fails=1))
    assert lab.calls == FORWARD + UNDO
    assert lab.clock.sleeps[-1] == 1


def test_a_compensation_that_fails_for_good(lab):
    """It is what leaves the cell; the next execution goes on with it and finishes the rollback."""
    with pytest.raises(TerminalError, match="step 'cancel car' gave up after 2 attempts") as caught:
        lab.play(trip(lab, undo_fails=2))
    assert "run the cell again to go on" in caught.value.__notes__[0]
    assert isinstance(caught.value.__context__, TerminalError)
    assert "cancel flight" not in lab.calls
    lab.restart()
    with pytest.raises(TerminalError, match="card declined"):
        lab.play(trip(lab))
    assert lab.calls == UNDO
    assert lab.run().status is RunStatus.ROLLED_BACK


@pytest.mark.once
def test_stop_in_a_rollback_leaves_it_open(lab):
    """The next execution finishes it."""

    def stop(waiter, duration, poll):
        raise KeyboardInterrupt

    wait, lab.clock.wait = lab.clock.wait, stop
    with pytest.raises(KeyboardInterrupt):
        lab.play(trip(lab, undo_fails=1))
    assert lab.run().status is RunStatus.INTERRUPTED
    lab.clock.wait = wait
    lab.restart()
    with pytest.raises(TerminalError, match="card declined"):
        lab.play(trip(lab))
    assert lab.calls == UNDO


def test_a_terminal_error_of_the_cells_own(lab):
    """Raised by the cell and no step: it rolls back too, and what was undone doesn't replay."""

    def body(ctx):
        ctx.run("a", lab.called, "a")
        ctx.on_rollback(lab.called, "undo a")
        raise TerminalError("not plausible")

    with pytest.raises(TerminalError, match="not plausible"):
        lab.play(body)
    assert lab.calls == ["a", "undo a"]
    assert lab.run().status is RunStatus.ROLLED_BACK
    lab.restart()
    with pytest.raises(TerminalError, match="not plausible"):
        lab.play(body)
    assert lab.calls == ["a", "undo a"]


def test_in_an_async_cell(lab):
    """Registered without await; the function may be a coroutine function."""

    async def undo(what):
        await asyncio.sleep(0)
        lab.called(f"undo {what}")

    def fails():
        raise TerminalError("no")

    async def body(ctx):
        await ctx.run("a", lab.called, "a")
        ctx.on_rollback(undo, "a")
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.run("bad", fails))

    with pytest.raises(BaseExceptionGroup):
        lab.play(body)
    assert lab.calls == ["a", "undo a"]
    assert lab.run().status is RunStatus.ROLLED_BACK
    assert lab.entry("undo: undo").status is EntryStatus.SUCCEEDED


def test_not_inside_a_step(lab):
    """As everything of ctx."""
    with pytest.raises(NestedContextError, match="on_rollback"):
        lab.play(lambda ctx: ctx.run("a", lambda: ctx.on_rollback(print)))


def test_the_outcome_of_the_execution(lab):
    """It failed: that is what is listed."""
    with pytest.raises(TerminalError):
        lab.play(trip(lab))
    assert [execution.outcome for execution in lab.store.executions(lab.run().id)][-1] is Outcome.FAILED


def cut_short(lab, body, at):
    """Play until the compensation of this name begins, and die there."""
    with pytest.raises(CrashError):
        lab.play(body, store=CrashingStore(lab.store, "begin", lambda entry: entry.name == at))
    lab.restart()


@pytest.mark.once
def test_a_compensation_that_was_edited_is_not_done_twice(lab):
    """Under another name and with other code it is still the one that has run."""
    cut_short(lab, trip(lab), "cancel flight")

    def edited(ctx):
        for what in ("flight", "car"):
            ctx.run(f"book {what}", lab.called, f"book {what}")
            ctx.on_rollback(lambda what=what: lab.called(f"refund {what}"), name=f"refund {what}")
        return ctx.run("pay", lambda: "paid")

    with pytest.raises(TerminalError, match="card declined"):
        lab.play(edited)
    assert lab.calls == ["refund flight"]


@pytest.mark.once
def test_what_was_done_under_other_inputs_is_undone(lab):
    """An edit of a step that comes before must not make it run again while it is undone."""
    cut_short(lab, trip(lab), "cancel flight")

    def edited(ctx):
        seats = [ctx.run(f"book {what}", lab.called, f"book {what}", 2) for what in ("flight", "car")]
        for seat, what in zip(seats, ("flight", "car"), strict=True):
            ctx.on_rollback(lambda what=what, seat=seat: lab.called(f"cancel {what} {seat}"), name=f"cancel {what}")
        return ctx.run("pay", lambda: "paid")

    with pytest.raises(TerminalError, match="card declined"):
        lab.play(edited)
    assert lab.calls == ["cancel flight None"]


@pytest.mark.once
def test_the_failing_step_is_deleted_in_the_middle_of_a_rollback(lab):
    """What was undone must not pass for done: an error says so, and the next execution starts over."""
    cut_short(lab, trip(lab), "cancel flight")

    def edited(ctx):
        return [ctx.run(f"book {what}", lab.called, f"book {what}") for what in ("flight", "car")]

    with pytest.raises(RollbackLostError, match="'cancel car' had undone part of it"):
        lab.play(edited)
    assert lab.calls == []
    lab.restart()
    lab.play(edited)
    assert lab.calls == ["book flight", "book car"]


def test_an_async_block_of_plain_python(tmp_path, monkeypatch):
    """``async with``: what undoes is awaited, beside other tasks; the error is the block's own."""
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    calls = Calls()

    async def undo():
        await asyncio.sleep(0)
        calls.append("undone")

    def fails():
        raise TerminalError("no")

    async def main():
        async with durable("saga", store=tmp_path / "store") as ctx:
            await ctx.run("a", lambda: 1)
            ctx.on_rollback(undo)
            await ctx.run("bad", fails)

    with pytest.raises(TerminalError, match="no") as caught:
        asyncio.run(main())
    assert calls == ["undone"]
    assert "rolled back: undo: undo" in caught.value.__notes__[0]
