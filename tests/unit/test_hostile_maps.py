"""``ctx.map`` met with hostile items, functions, executors and moments."""

from __future__ import annotations

import _thread
import asyncio
import operator
import signal
import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab import Outside

from notebook_durable.engine.mapping_run import MapRun
from notebook_durable.errors import (
    ConfigurationError,
    NestedContextError,
    OutcomeUnknownError,
    StepTimeoutError,
    TerminalError,
    UsageError,
)
from notebook_durable.testing.faults import CrashError


class Log(Outside):
    """Notes calls from any thread, and is no input of them."""

    def __init__(self):
        self.calls = []

    def __call__(self, item):
        self.calls.append(item)
        return item

    def take(self):
        taken, self.calls = self.calls, []
        return taken


@pytest.fixture
def log():
    return Log()


@pytest.mark.once
def test_a_shared_input_that_a_later_item_changes_and_stop(lab, log):
    """What items changed in something shared is seen when the map is stopped too: they run again in a new kernel."""
    seen = []

    def fn(item):
        if item == 5 and log.calls == []:
            raise KeyboardInterrupt
        if item:
            seen.append(item)
        return item

    with pytest.raises(KeyboardInterrupt):
        lab.play(lambda ctx: ctx.map("m", fn, range(9), ignore=["log"]))
    lab.restart()
    seen.clear()
    log(1)
    lab.play(lambda ctx: ctx.map("m", fn, range(9), ignore=["log"]))
    assert seen == list(range(1, 9))


@pytest.mark.parametrize("most", [10**9])
@pytest.mark.once
def test_more_workers_than_items(lab, most):
    """No more workers are started than there are items."""
    before = threading.active_count()
    most_threads = []

    def fn(item):
        most_threads.append(threading.active_count())
        return item

    body = lambda ctx: ctx.map("m", fn, range(3), executor="threads", max_workers=most, ignore=["most_threads"])  # noqa: E731
    assert lab.play(body) == [0, 1, 2]
    assert max(most_threads) <= before + 5


@pytest.mark.parametrize("executor", [None, "threads", "async"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.once
def test_an_item_that_raises_no_exception_but_leaves(lab, log, executor, kind):
    """It leaves the map unchanged, what was finished is kept, and the next execution goes on."""
    armed = Log()
    armed.calls.append(1)

    def fn(item):
        log(item)
        if item == 3 and armed.calls:
            raise kind("out")
        return item

    async def afn(item):
        return fn(item)

    options = {"executor": executor if executor == "threads" else None, "max_workers": 1}

    def body(ctx):
        return ctx.map("m", fn, range(6), **options)

    async def abody(ctx):
        return await ctx.map("m", afn, range(6), **options)

    use = abody if executor == "async" else body
    with pytest.raises(kind):
        lab.play(use)
    armed.take()
    log.take()
    assert lab.play(use) == list(range(6))
    if executor is None:
        assert log.take() == [3, 4, 5]
    else:
        assert 0 not in log.take()


@pytest.mark.once
def test_system_exit_in_a_task_doesnt_end_the_loop(lab):
    """An async item that calls sys.exit() ends the map, and not the loop of the kernel."""

    async def afn(item):
        if item == 1:
            raise SystemExit(3)
        return item

    async def body(ctx):
        return await ctx.map("m", afn, range(3))

    async def main():
        session = lab.open(asynchronous=True)
        error = None
        try:
            await body(session.context)
        except BaseException as got:
            error = got
        session.close(error)
        await asyncio.sleep(0.01)
        return error

    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(main())
        loop.run_until_complete(task)
    finally:
        loop.close()
    assert isinstance(task.result(), SystemExit)


@pytest.mark.once
def test_a_limit_counts_for_the_first_call_of_a_hidden_coroutine(lab):
    """``timeout=`` holds for the item by which it is found out that the function is async."""

    async def slow(item):
        await asyncio.sleep(30)

    async def body(ctx):
        return await ctx.map("m", lambda x: slow(x), [1], timeout=0.05, max_attempts=1)

    with pytest.raises(TerminalError) as caught:
        lab.play(body)
    assert isinstance(caught.value.__cause__, StepTimeoutError)


@pytest.mark.once
def test_a_failure_doesnt_begin_what_is_queued(lab, log):
    """After a failure nothing begins any more, though it was handed to the threads."""

    def fn(item):
        log(item)
        if item == 0:
            raise TerminalError("no")
        if item == 1:
            time.sleep(0.3)
        return item

    with pytest.raises(TerminalError):
        lab.play(lambda ctx: ctx.map("m", fn, range(30), executor="threads", max_workers=2, ignore=["log"]))
    assert len(log.calls) <= 4


@pytest.mark.once
def test_step_inside_and_map_inside_a_step(lab):
    with pytest.raises(NestedContextError):
        lab.play(lambda ctx: ctx.run("s", lambda: ctx.map("m", int, [1]), ignore=["ctx"]))


@pytest.mark.parametrize("executor", [None, "threads"])
@pytest.mark.once
def test_items_that_cant_be_told_apart(lab, log, executor):
    """Two generators look the same: refused, for one would get the other's value; with ``key=`` they have names."""

    def body(ctx, numbers, **more):
        return ctx.map("m", lambda g: log(sum(g)), [(i for i in range(n)) for n in numbers], executor=executor, **more)

    with pytest.raises(ConfigurationError, match=r"item 2 of .*key="):
        lab.play(lambda ctx: body(ctx, [3, 4]))
    for numbers in ([3, 4], [4, 3]):
        names = iter(map(str, numbers))
        found = lab.play(lambda ctx, numbers=numbers, names=names: body(ctx, numbers, key=lambda g: next(names)))
        assert found == [sum(range(n)) for n in numbers]
    assert sorted(log.take()) == [3, 6]


@pytest.mark.once
def test_an_iterable_that_fails(lab):
    def items():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        lab.play(lambda ctx: ctx.map("m", int, items()))


@pytest.mark.once
def test_key_that_raises(lab):
    with pytest.raises(KeyError):
        lab.play(lambda ctx: ctx.map("m", int, [1], key=lambda i: {}["id"]))


@pytest.mark.parametrize("key", [lambda i: "same", lambda i: "a b/c"])
@pytest.mark.once
def test_duplicate_keys(lab, log, key):
    body = lambda ctx: ctx.map("m", log, [1, 2, 1], key=key)  # noqa: E731
    assert lab.play(body) == [1, 2, 1]
    assert lab.play(body) == [1, 2, 1]
    assert log.take() == [1, 2, 1]


@pytest.mark.once
def test_items_with_shared_parts(lab, log):
    """An item that a call for another item changed doesn't replay as if it hadn't been."""

    def body(ctx):
        part = [0]
        items = [(1, part), (2, part), (3, part)]

        def fn(item):
            item[1][0] += item[0]
            return log(item[1][0])

        return ctx.map("m", fn, items, ignore=["log"])

    assert lab.play(body) == [1, 3, 6]
    assert lab.play(body) == [1, 3, 6]


@pytest.mark.once
def test_executor_shut_down(lab, log):
    pool = ThreadPoolExecutor(2)
    pool.shutdown()
    body = lambda ctx: ctx.map("m", log, range(4), executor=pool)  # noqa: E731
    with pytest.raises(Exception) as caught:
        lab.play(body)
    print(repr(caught.value), getattr(caught.value, "__notes__", ""))
    pool = ThreadPoolExecutor(2)
    assert lab.play(body) == [0, 1, 2, 3]
    pool.shutdown()


@pytest.mark.once
def test_executor_shut_down_on_the_way(lab, log):
    pool = ThreadPoolExecutor(2)

    def fn(item):
        if item == 2:
            pool.shutdown(wait=False)
            time.sleep(0.05)
        return log(item)

    body = lambda ctx: ctx.map("m", fn, range(400), executor=pool, ignore=["pool"])  # noqa: E731
    with pytest.raises(Exception) as caught:
        lab.play(body)
    print(repr(caught.value), getattr(caught.value, "__notes__", ""))
    done = set(log.take())
    pool = ThreadPoolExecutor(2)
    assert lab.play(body) == list(range(400))
    assert set(log.take()).isdisjoint(done)
    pool.shutdown()


@pytest.mark.parametrize("executor", [None, "threads"])
@pytest.mark.once
def test_two_maps_gathered(lab, log, executor):
    """Two maps side by side: both whole, both replayed."""

    async def body(ctx):
        return await asyncio.gather(
            ctx.map("a", lambda x: log(x) + 1, range(300), executor=executor),
            ctx.map("b", lambda x: log(x) + 2, range(300), executor=executor),
        )

    for _ in range(2):
        assert lab.play(body) == [list(range(1, 301)), list(range(2, 302))]
    assert len(log.take()) == 600


@pytest.mark.once
def test_nothing_is_left(lab):
    handler = signal.getsignal(signal.SIGINT)
    before = {t.name for t in threading.enumerate()}
    lab.play(lambda ctx: ctx.map("m", int, range(4), executor="threads"))
    with pytest.raises(KeyboardInterrupt):
        lab.play(lambda ctx: ctx.map("k", lambda x: signal.raise_signal(signal.SIGINT), range(4)))
    assert signal.getsignal(signal.SIGINT) is handler
    for t in threading.enumerate():
        if t.name not in before:
            t.join(5)
    assert {t.name for t in threading.enumerate()} <= before


@pytest.mark.once
def test_one_unstorable_item(lab, log):
    lock = threading.Lock()

    def body(ctx):
        return ctx.map("m", lambda x: (log(x), lock if x == 1 else x)[1], range(3), ignore=["lock", "log"])

    assert lab.play(body) == [0, lock, 2]
    assert lab.play(body) == [0, lock, 2]
    assert log.take() == [0, 1, 2, 1]


@pytest.mark.once
def test_collected_failures_are_equal_on_replay(lab):
    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__(f"{a}-{b}")
            self.a = a

    def fn(x):
        if x == 1:
            raise Odd(1, 2)
        if x == 2:
            raise TypeError("typo")
        return x

    def body(ctx):
        return ctx.map("m", fn, range(3), on_error="collect", max_attempts=1)

    def told(found):
        return [(type(one).__name__, str(one), type(one.__cause__).__name__, str(one.__cause__)) for one in found[1:]]

    first = lab.play(body)
    lab.restart()
    second = lab.play(body)
    assert told(first) == told(second)


@pytest.mark.once
def test_an_open_item_is_named_so_that_it_can_be_answered(lab):
    """The error names the very item that was open, as ``%durable outcome`` finds it."""

    def fn(item):
        if item == 2:
            raise CrashError("killed")
        return item

    with pytest.raises(CrashError):
        lab.play(lambda ctx: ctx.map("m", fn, range(4), at_most_once=True))
    lab.restart()
    with pytest.raises(OutcomeUnknownError, match=r'outcome wf "m #3" --value'):
        lab.play(lambda ctx: ctx.map("m", fn, range(4), at_most_once=True))


@pytest.mark.once
def test_what_was_not_begun_is_not_open(lab, log):
    """An at_most_once item that a closed executor refused was not begun, so it is not asked about."""
    pool = ThreadPoolExecutor(2)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown") as caught:
        lab.play(lambda ctx: ctx.map("m", log, range(4), executor=pool, at_most_once=True))
    assert "run the cell again with a new one" in caught.value.__notes__[0]
    lab.restart()
    assert lab.play(lambda ctx: ctx.map("m", log, range(4), at_most_once=True)) == list(range(4))


@pytest.mark.once
def test_a_map_that_a_failed_sibling_leaves_running_keeps_what_it_finished(lab, log):
    """``gather`` doesn't wait for the others: what they had finished is on disk when the cell has ended."""

    async def body(ctx):
        async def fn(item):
            await asyncio.sleep(0)
            if item == 20:
                raise_now.set()
                await asyncio.sleep(30)
            return log(item)

        async def fails():
            await raise_now.wait()
            raise ValueError("other")

        raise_now = asyncio.Event()
        await asyncio.gather(ctx.map("m", fn, range(40), max_workers=1, ignore=["log", "raise_now"]), fails())

    with pytest.raises(ValueError, match="other"):
        lab.play(body)
    done = {entry.occurrence for entry in lab.entries() if str(entry.status) == "succeeded"}
    assert done == set(log.take()) == set(range(20))


@pytest.mark.once
def test_stop_loses_nothing_that_threads_finished(lab, log):
    """Stop at any moment of handing out and bringing back: what a thread finished isn't called again."""

    stops = [50, 51, 200, 333, 500, 800]

    def work(item):
        log(item)
        if stops and len(log.calls) >= stops[0]:
            stops.pop(0)
            signal.raise_signal(signal.SIGINT)
        return item

    def body(ctx):
        guard = lab.session.guard  # which a cell has in place
        guard.install()
        try:
            return ctx.map("m", work, range(2000), executor="threads", max_workers=2, ignore=["log", "stops"])
        finally:
            guard.uninstall()

    while stops:
        with pytest.raises(KeyboardInterrupt):
            lab.play(body)
    assert lab.play(body) == list(range(2000))
    assert sorted(log.calls) == list(range(2000))


@pytest.mark.once
def test_stop_while_nothing_lands_loses_nothing(lab, log, monkeypatch):
    """Stop that another thread takes is noticed when the wait for workers ends without any: in the jump of a loop."""
    monkeypatch.setattr(MapRun, "pause", 0.02)

    def work(item):
        log(item)
        if len(log.calls) == 1:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)
        return item

    def body(ctx):
        guard = lab.session.guard
        guard.install()
        try:
            return ctx.map("m", work, range(3), executor="threads", max_workers=1, ignore=["log"])
        finally:
            guard.uninstall()

    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert lab.play(body) == [0, 1, 2]
    assert sorted(log.calls) == [0, 1, 2]


@pytest.mark.once
def test_stop_in_the_callback_of_a_weak_reference(lab):
    """The garbage collector calls one in the middle of anything. Python ignores what it raises: Stop comes later."""

    def body(ctx):
        things = [Log()]
        known, stopped = weakref.WeakSet(things), threading.Event()
        guard = lab.session.guard
        guard.install()
        try:
            with pytest.raises(KeyboardInterrupt):
                # All in C: Stop is there when the callback is entered.
                deque(map(operator.call, [_thread.interrupt_main, things.clear]), 0)
                stopped.wait(60)
        finally:
            guard.uninstall()
        assert not known
        assert guard.stops == 1

    lab.play(body)


@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.once
def test_a_hidden_coroutine_in_a_worker(lab, executor):
    """A function that turns out to be async is refused as one that says so, and not handed back unawaited."""

    async def fetch(item):
        return item

    with pytest.raises(UsageError, match="leave executor= out"):
        lab.play(lambda ctx: ctx.map("m", lambda item: fetch(item), [1, 2], executor=executor, max_workers=1))


@pytest.mark.once
def test_what_wrong_arguments_are_told(lab, log):
    with pytest.raises(ConfigurationError, match=r"executor= is a class: ThreadPoolExecutor\(4\)"):
        lab.play(lambda ctx: ctx.map("m", log, [1], executor=ThreadPoolExecutor))
    with pytest.raises(ConfigurationError, match=r"ctx\.map has no option 'workers'.* max_workers,") as caught:
        lab.play(lambda ctx: ctx.map("m", log, [1], workers=4))
    assert "writes" not in str(caught.value)
    assert "functools.partial(fn, workers=...)" in str(caught.value)
    assert log.take() == []
