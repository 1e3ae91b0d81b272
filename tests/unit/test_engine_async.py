"""Async cells: ``await ctx.run``, gather, TaskGroup, and what goes wrong with them elsewhere."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from notebook_durable.errors import ContextClosedError, JournalMismatchError, NestedContextError, UnawaitedStepError
from notebook_durable.model import EntryStatus, RunStatus


def test_sync_and_async_functions(lab):
    """``fn`` may be either, and a lambda may return a coroutine (Restate fails on that)."""

    async def fetch(n):
        await asyncio.sleep(0)
        return lab.called("fetch", n)

    async def body(ctx):
        return (
            await ctx.run("async", fetch, 1),
            await ctx.run("sync", lambda: lab.called("sync", 2)),
            await ctx.run("lambda", lambda: fetch(3)),
        )

    assert lab.play(body) == (1, 2, 3)
    lab.restart()
    assert lab.play(body) == (1, 2, 3)
    assert lab.calls == []


@pytest.mark.once
def test_gather_runs_steps_side_by_side(lab):
    """On Restate's own context this stalls; here the steps overlap and come back in order."""
    both = asyncio.Barrier(2)

    async def meet(n):
        await both.wait()  # neither passes unless both are under way
        return lab.called(f"meet {n}", n)

    async def body(ctx):
        return await asyncio.gather(ctx.run("m", meet, 0), ctx.run("m", meet, 1))

    assert lab.play(body) == [0, 1]
    lab.restart()
    assert lab.play(body) == [0, 1]
    assert lab.calls == []


@pytest.mark.once
def test_awaiting_in_another_order_than_calling(lab):
    """The call takes the place in the run, not the await (DBOS test_gather_distinct_steps_deterministic_order)."""

    async def body(ctx, turn):
        a, b = ctx.run("s", lab.called, "s", "first"), ctx.run("s", lab.called, "s", "second")
        return [await b, await a] if turn else [await a, await b]

    async def forward(ctx):
        return await body(ctx, False)

    async def backward(ctx):
        return await body(ctx, True)

    assert lab.play(forward) == ["first", "second"]
    assert lab.play(backward) == ["second", "first"]
    assert len(lab.calls) == 2


def test_task_group(lab):
    """create_task takes nothing but coroutines; a step is one."""

    async def body(ctx):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.run("t", lambda i=i: i * 2)) for i in range(5)]
        return [task.result() for task in tasks]

    assert lab.play(body) == [0, 2, 4, 6, 8]
    assert lab.play(body) == [0, 2, 4, 6, 8]


def test_as_completed_wait_for_and_shield(lab):
    """The rest of asyncio's friends."""

    async def body(ctx):
        done = [await step for step in asyncio.as_completed([ctx.run("a", lambda: 1), ctx.run("b", lambda: 2)])]
        return sorted(done), await asyncio.wait_for(ctx.run("c", lambda: 3), 5), await asyncio.shield(ctx.run("d", int))

    assert lab.play(body) == ([1, 2], 3, 0)


@pytest.mark.once
def test_a_step_is_a_coroutine_to_everybody():
    """asyncio, inspect and repr agree; an unawaited one tells what to write."""
    seen = []

    async def body(ctx):
        step = ctx.run("a", lambda: 1)
        seen.append((asyncio.iscoroutine(step), inspect.isawaitable(step), repr(step)))
        return await step

    from notebook_durable.api import durable
    from notebook_durable.stores.memory import MemoryStore

    asyncio.run(durable("wf", store=MemoryStore())(body)())
    assert seen == [(True, True, "<step 'a', not awaited: write `await ctx.run('a', ...)`>")]


def test_a_step_that_nobody_awaits_is_an_error_at_the_end(lab):
    """Not a silent loss (in Restate the journal then claims that it ran)."""

    async def body(ctx):
        ctx.run("load", lab.called, "load")
        ctx.run("save", lab.called, "save")
        await ctx.run("ok", lambda: 1)

    with pytest.raises(UnawaitedStepError, match=r"steps 'load', 'save' were not awaited.*await ctx\.run\('load'"):
        lab.play(body)
    assert lab.calls == []
    assert lab.run().status is RunStatus.FAILED
    assert [e.name for e in lab.entries()] == ["ok"]


def test_an_error_of_the_cell_is_not_hidden_by_unawaited_steps(lab):
    """The cell's own exception is the one that is seen."""

    async def body(ctx):
        ctx.run("load", lab.called, "load")
        raise KeyError("cell")

    with pytest.raises(KeyError):
        lab.play(body)


def test_awaiting_twice_is_pythons_own_error(lab):
    """As for any coroutine."""

    async def body(ctx):
        step = ctx.run("a", lambda: 1)
        await step
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await step

    lab.play(body)


def test_ctx_inside_an_async_step(lab):
    """In Restate an awaited ctx call inside a step hangs."""

    async def outer(ctx):
        await ctx.run("inner", lambda: 1)

    async def body(ctx):
        await ctx.run("outer", outer, ctx)

    with pytest.raises(NestedContextError, match="inside step 'outer'"):
        lab.play(body)


def test_siblings_may_use_ctx_while_a_step_runs(lab):
    """A step under way in one task doesn't make ctx nested in another."""

    async def part(ctx, n):
        first = await ctx.run(f"first {n}", asyncio.sleep, 0, n)
        return await ctx.run(f"second {n}", asyncio.sleep, 0, first + 10)

    async def body(ctx):
        return await asyncio.gather(*(part(ctx, n) for n in range(3)))

    assert lab.play(body) == [10, 11, 12]


@pytest.mark.once
def test_a_failure_does_not_wait_for_its_siblings_and_leaves_none_running(lab):
    """What gather leaves under way is stopped at the end of the cell and goes on next time."""
    slow = []

    async def forever():
        slow.append("begun")
        await asyncio.sleep(3600 if len(slow) == 1 else 0)
        return lab.called("forever", "late")

    async def fails():
        await asyncio.sleep(0)
        raise LookupError("x")

    async def body(ctx):
        return await asyncio.gather(ctx.run("slow", forever), ctx.run("bad", fails if len(slow) == 0 else int))

    with pytest.raises(LookupError):
        lab.play(body)
    assert lab.entry("slow").status is EntryStatus.INTERRUPTED
    assert lab.entry("slow").attempts == 0
    assert lab.play(body) == ["late", 0]


def test_a_call_kept_from_an_earlier_cell(lab):
    """Awaiting it later says that its cell has ended."""
    kept = []

    async def body(ctx):
        kept.append(ctx.run("late", lab.called, "late"))
        raise KeyError

    with pytest.raises(KeyError):
        lab.play(body)
    with pytest.raises(ContextClosedError):
        asyncio.run(_await(kept[-1]))
    assert lab.calls == []


async def _await(step):
    return await step


def test_strict_order_in_an_async_cell(lab):
    """The order of the calls is held, not the order of completion."""

    async def forward(ctx):
        return await asyncio.gather(*(ctx.run(n, asyncio.sleep, 0, n) for n in "abc"))

    async def backward(ctx):
        return await asyncio.gather(*(ctx.run(n, asyncio.sleep, 0, n) for n in "acb"))

    lab.play(forward)
    assert lab.play(forward, strict=True) == ["a", "b", "c"]
    with pytest.raises(JournalMismatchError):
        lab.play(backward, strict=True)


@pytest.mark.once
def test_retries_of_gathered_steps_wait_side_by_side(lab):
    """One step's wait doesn't hold the others up."""
    left = {"a": 2, "b": 1}

    def flaky(name):
        lab.called(name)
        if left[name]:
            left[name] -= 1
            raise ConnectionError
        return name

    async def body(ctx):
        return await asyncio.gather(ctx.run("a", flaky, "a"), ctx.run("b", flaky, "b"))

    assert lab.play(body) == ["a", "b"]
    assert lab.calls[:2] == ["a", "b"]
    assert sorted(lab.clock.sleeps) == [0.5, 0.5, 1]
