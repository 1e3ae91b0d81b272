"""Stop at the worst moments, with real signals: no attempt is counted that was not made, no finished work is lost."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
import warnings

import pytest
from lab import Calls, Outside

from notebook_durable import durable
from notebook_durable.errors import UnawaitedStepError, UsageError
from notebook_durable.model import EntryStatus
from notebook_durable.stores.memory import MemoryStore

pytestmark = pytest.mark.once


def stop():
    signal.raise_signal(signal.SIGINT)


class StoppingStore:
    """A store during whose write Stop is pressed."""

    def __init__(self, inner, point, status):
        self.inner, self.point, self.status = inner, point, status

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def _write(self, point, entry, write):
        if self.point == point and entry.status is self.status:
            self.point = ""
            stop()
        write()

    def begin(self, claim, entry, *, wait=False):
        self._write("begin", entry, lambda: self.inner.begin(claim, entry, wait=wait))

    def record(self, claim, entry, attempt=None, extra=None):
        self._write("record", entry, lambda: self.inner.record(claim, entry, attempt, extra))


def only_entry(store):
    return store.read(store.runs()[0].id)[0]


@pytest.mark.parametrize("at_most_once", [False, True])
def test_stop_while_an_attempt_is_written_down(at_most_once):
    """The function was not called: no attempt is used up, and an at_most_once step need not be asked about."""
    store, calls = MemoryStore(), Calls()
    stopping = StoppingStore(store, "begin", EntryStatus.RUNNING)
    with pytest.raises(KeyboardInterrupt), durable("wf", store=stopping) as ctx:
        ctx.run("x", calls.append, 1, max_attempts=1, at_most_once=at_most_once)
    assert calls == []
    assert (only_entry(store).status, only_entry(store).attempts) == (EntryStatus.INTERRUPTED, 0)
    with durable("wf", store=store) as ctx:
        ctx.run("x", calls.append, 1, max_attempts=1, at_most_once=at_most_once)
    assert calls == [1]


def test_stop_while_a_result_is_written_down():
    """The result is kept, then Stop is raised."""
    store, calls = MemoryStore(), Calls()
    stopping = StoppingStore(store, "record", EntryStatus.SUCCEEDED)
    with pytest.raises(KeyboardInterrupt), durable("wf", store=stopping) as ctx:
        ctx.run("x", lambda: calls.append(1) or 7)
    assert only_entry(store).status is EntryStatus.SUCCEEDED
    with durable("wf", store=store) as ctx:
        assert ctx.run("x", lambda: calls.append(1) or 7) == 7
    assert calls == [1]


def test_stop_while_a_value_is_pickled():
    """Between the function's return and the write lies the serializer: Stop waits for the write."""

    class Slow:
        def __reduce__(self):
            stop()
            return (int, (5,))

    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt), durable("wf", store=store) as ctx:
        ctx.run("x", Slow)
    assert only_entry(store).status is EntryStatus.SUCCEEDED


def test_stop_while_a_failure_is_written_down():
    """The cell never saw the failure, so it is tried again and not replayed."""
    store, calls = MemoryStore(), Calls()
    stopping = StoppingStore(store, "record", EntryStatus.FAILED)

    def fail():
        calls.append(1)
        raise OSError("x")

    with pytest.raises(KeyboardInterrupt), durable("wf", store=stopping) as ctx:
        ctx.run("x", fail, max_attempts=1)
    with durable("wf", store=store) as ctx:
        assert ctx.run("x", lambda: 8, max_attempts=1) == 8


def test_ctx_works_after_a_stop():
    """The mark "inside a step" doesn't stay behind."""
    store = MemoryStore()
    for _ in range(50):
        with pytest.raises(KeyboardInterrupt), durable("wf", store=store, fresh=True) as ctx:
            ctx.run("x", stop)
    with durable("wf", store=store, fresh=True) as ctx:
        assert ctx.run("x", int) == 0


def test_blocks_that_end_in_another_order_leave_no_handler():
    """Two async blocks side by side: Ctrl-C works afterwards, and during."""
    before = signal.getsignal(signal.SIGINT)
    store = MemoryStore()

    async def workflow(name, delay):
        async with durable(name, store=store) as ctx:
            await ctx.run("s", asyncio.sleep, delay)

    async def both():
        await asyncio.gather(workflow("a", 0.01), workflow("b", 0.05))

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(both())
    finally:
        loop.close()
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        stop()


def test_stop_reaches_python_code_of_an_async_step_in_a_sync_block():
    """Not only when it awaits."""

    async def busy():
        stop()
        time.sleep(0)  # the signal is handled here at the latest
        return "not stopped"

    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt), durable("wf", store=store) as ctx:
        ctx.run("x", busy)
    assert only_entry(store).status is EntryStatus.INTERRUPTED


def test_a_stop_that_the_step_swallows_does_not_stick():
    """A step that survives Stop has finished; later failures are failures, not Stop."""

    def stubborn():
        try:
            stop()
        except KeyboardInterrupt:
            return 1

    left = [1]

    def flaky():
        if left:
            left.pop()
            raise OSError("x")
        return 2

    with durable("wf", store=MemoryStore()) as ctx:
        assert ctx.run("a", stubborn) == 1
        assert ctx.run("b", flaky, on_stop=print, initial_retry_interval=0) == 2


# --- other findings of that review --------------------------------------------------------


def test_equal_names_in_tasks_side_by_side_are_refused():
    """With inputs that can't be compared each might get the other's value on replay."""

    async def work(ctx, i):
        client = Outside()
        await ctx.run(f"first {i}", asyncio.sleep, 0)
        return await ctx.run("second", lambda: bool(client))

    async def main(store):
        async with durable("wf", store=store) as ctx:
            return await asyncio.gather(work(ctx, 0), work(ctx, 1))

    with pytest.raises(UsageError, match="step 'second' is used by two tasks that run side by side"):
        asyncio.run(main(MemoryStore()))


def test_equal_names_in_tasks_side_by_side_are_told_apart_by_their_inputs():
    """Each gets its own value on replay, in whichever order they come."""
    order = Calls()

    async def work(ctx, i):
        for _ in range(order[0][i]):
            await asyncio.sleep(0)
        return await ctx.run("second", lambda: i * 10)

    async def main(store):
        async with durable("wf", store=store) as ctx:
            return await asyncio.gather(work(ctx, 0), work(ctx, 1))

    store = MemoryStore()
    order.append([0, 5])
    assert asyncio.run(main(store)) == [0, 10]
    order[0] = [5, 0]
    assert asyncio.run(main(store)) == [0, 10]
    assert len(store.read(store.runs()[0].id)) == 2


def test_equal_names_in_tasks_one_after_the_other_are_fine():
    """There the order is certain."""

    async def main(store):
        async with durable("wf", store=store) as ctx:
            first = await asyncio.create_task(ctx.run("s", lambda: 1))
            return first, await asyncio.wait_for(ctx.run("s", lambda: 2), 5), await ctx.run("s", lambda: 3)

    assert asyncio.run(main(MemoryStore())) == (1, 2, 3)


def test_a_background_step_is_not_lost_silently():
    """Begun in a task that nobody awaits: an error that names it."""

    async def main(store):
        async with durable("wf", store=store) as ctx:
            task = asyncio.create_task(ctx.run("bg", asyncio.sleep, 60))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return task

    with pytest.raises(UnawaitedStepError, match="step 'bg' was still running when the cell ended"):
        asyncio.run(main(MemoryStore()))


def test_a_closed_step_is_interrupted():
    """``close()`` on a step under way, as an abandoned generator does."""
    store = MemoryStore()

    async def main():
        async with durable("wf", store=store) as ctx:
            step = ctx.run("x", asyncio.sleep, 60)
            step.send(None)
            step.close()
            return await ctx.run("y", int)

    assert asyncio.run(main()) == 0
    assert only_entry(store).status is EntryStatus.INTERRUPTED


def test_a_function_that_answers_to_every_attribute():
    """xmlrpc's methods, mocks: looking for their source must not fail."""
    import xmlrpc.client

    proxy = xmlrpc.client.ServerProxy("http://127.0.0.1:9")
    with pytest.raises(OSError), durable("wf", store=MemoryStore()) as ctx:
        ctx.run("x", proxy.method, fatal=OSError)


def test_a_durable_block_inside_a_step_has_a_context_of_its_own():
    """Only the step's own ctx is refused in it."""
    store = MemoryStore()

    def outer():
        with durable("inner", store=store) as ctx:
            return ctx.run("x", lambda: 5)

    with durable("outer", store=store) as ctx:
        assert ctx.run("x", outer) == 5


def test_a_generator_cannot_be_wrapped():
    """Its body would run after the end of the execution."""

    def rows(ctx):
        yield 1

    with pytest.raises(Exception, match="can't go around a generator"):
        durable("wf", store=MemoryStore())(rows)


@pytest.mark.parametrize("call", ["run", "map"])
def test_stop_before_the_first_line_of_a_call(call):
    """Between `await` and the step's first line: Python has nothing to say about a coroutine that nobody awaited."""

    async def main(store):
        async with durable("wf", store=store) as ctx:
            step = ctx.run("x", int) if call == "run" else ctx.map("x", int, ["1", "2"])
            step.__await__()
            raise KeyboardInterrupt

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main(MemoryStore()))
        gc.collect()
    assert [str(one.message) for one in said] == []
