"""``ctx.map``: an entry for each item, found by what it computes from; failures, retries, groups, executors."""

from __future__ import annotations

import asyncio
import functools
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab import Outside

from notebook_durable.engine.controls import together
from notebook_durable.errors import (
    ConfigurationError,
    JournalUnwritableError,
    MissingExtraError,
    NestedContextError,
    OutcomeUnknownError,
    RetryableError,
    TerminalError,
    UnawaitedStepError,
    UsageError,
)
from notebook_durable.events import MapProgress, StepEnded, StepReplayed, StepStarted, StoreFailed
from notebook_durable.model import EntryStatus, RunStatus
from notebook_durable.parts import parts_from
from notebook_durable.testing.faults import CrashError, CrashingStore, FailingStore
from notebook_durable.wiring import fingerprinter


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


@pytest.fixture(params=[None, "threads"])
def executor(request):
    return request.param


def statuses(lab):
    return [str(entry.status) for entry in lab.entries()]


# --- finding and replaying


def test_results_in_order_and_replayed(lab, log, executor):
    """Each item is called once; the next execution calls nothing and gives the same list."""

    def body(ctx):
        return ctx.map("double", lambda x: 2 * log(x), range(5), executor=executor)

    assert lab.play(body) == [0, 2, 4, 6, 8]
    assert sorted(log.take()) == [0, 1, 2, 3, 4]
    assert [(entry.name, entry.occurrence) for entry in lab.entries()] == [("double", n) for n in range(5)]
    lab.restart()
    assert lab.play(body) == [0, 2, 4, 6, 8]
    assert log.take() == []


def test_an_iterator_is_consumed_once(lab, log):
    """A generator, a dict's keys, a set: anything that can be iterated; nothing at all is a list of nothing."""

    def body(ctx):
        given = iter([1, 2])
        return ctx.map("a", log, given), list(given), ctx.map("b", log, {"k": 1}), ctx.map("c", log, [])

    assert lab.play(body) == ([1, 2], [], ["k"], [])
    assert sorted(map(str, log.take())) == ["1", "2", "k"]


@pytest.mark.parametrize(
    "then",
    [[9, 1, 2, 3], [1, 3], [3, 2, 1], [1, 2, 3, 9], [2, 1, 9, 3]],
    ids=["inserted", "removed", "moved", "appended", "mixed"],
)
def test_an_edited_list_disturbs_no_other_item(lab, log, then):
    """What was recorded is found wherever it stands now; only what is new is called."""
    given = [1, 2, 3]

    def body(ctx):
        return ctx.map("m", log, given)

    lab.play(body)
    log.take()
    given = then
    lab.restart()
    assert lab.play(body) == then
    assert log.take() == [item for item in then if item == 9]


def test_equal_items_keep_their_order(lab, log):
    """Equal items have values of their own, also after one was inserted before them."""
    given = ["a", "b", "a", "a"]
    numbers = iter(range(100))

    def draw(item):
        log(item)
        return next(numbers)

    def body(ctx):
        return ctx.map("draw", draw, given, ignore=["numbers"])

    if lab.always_replay:
        pytest.skip("the iterator goes on in each pass")
    assert lab.play(body) == [0, 1, 2, 3]
    given = ["x", "a", "a", "b", "a"]
    lab.restart()
    assert lab.play(body) == [4, 0, 2, 1, 3]


def test_an_edited_function_runs_all_again(lab, log):
    """The code is part of each fingerprint; an edit that is undone finds the old values."""
    first, second = (lambda x: log(x) + 1), (lambda x: log(x) + 2)
    fn = first

    def body(ctx):
        return ctx.map("m", fn, [1, 2])

    assert lab.play(body) == [2, 3]
    fn = second
    assert lab.play(body) == [3, 4]
    assert any("changed" in event.reason for event in lab.events.of(MapProgress))
    log.take()
    fn = first
    assert lab.play(body) == [2, 3]
    assert log.take() == []


def test_a_changed_global_runs_all_again(lab, log):
    """What the function reads beside the item counts."""
    rate = 2

    def body(ctx):
        return ctx.map("m", lambda x: log(x) * rate, [1, 2])

    assert lab.play(body) == [2, 4]
    rate = 3
    assert lab.play(body) == [3, 6]
    log.take()
    rate = 2
    assert lab.play(body) == [2, 4]
    assert log.take() == []


def test_two_maps_of_one_name(lab, log):
    """The places of the second go on after those of the first."""

    def body(ctx):
        return ctx.map("m", log, [1, 2]), ctx.map("m", log, [2, 3]), ctx.run("m", log, 4)

    assert lab.play(body) == ([1, 2], [2, 3], 4)
    log.take()
    lab.restart()
    assert lab.play(body) == ([1, 2], [2, 3], 4)
    assert log.take() == []
    assert [entry.occurrence for entry in lab.entries()] == [0, 1, 2, 3, 4]


def test_a_key_names_an_item_and_counts(lab, log):
    """It is found by key and fingerprint; the key stands among its inputs, for people."""
    key = "k{}".format

    def body(ctx):
        return ctx.map("m", log, [1, 2], key=key)

    assert lab.play(body) == [1, 2]
    told = [parts_from(entry.code.inputs).inputs["key"].short for entry in lab.entries()]
    assert told == ["'k1'", "'k2'"]
    log.take()
    key = "other {}".format
    lab.play(body)
    assert sorted(log.take()) == [1, 2]
    key = "k{}".format
    lab.play(body)
    assert log.take() == []


def _reads(log):
    scale, table = 3, {"a": [1, 2]}
    return lambda item: (log, item, scale, table)


def _key_parameter(key):
    return key


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize(
    "fn", [_reads(Log()), functools.partial(max, 5), _key_parameter, "{} {}".format, str.upper, int, [].append],
    ids=["closure", "partial", "parameter key", "method", "descriptor", "class", "bound"],
)  # fmt: skip
def test_a_fingerprint_is_that_of_a_single_call(fn, keyed):
    """The short way gives what describing each call gives, whatever function and item."""
    describer = fingerprinter()
    marks = [("version", 3), ("zone", "x")]
    family = describer.family(fn, keyed=keyed, marks=marks)
    items = [0, -5, 2**90, 1.5, "text", "x" * 99, "data/a.csv", b"b", None, (1, 2), [1, [2]], {"k": {1}}, Log()]
    for item in items:
        key = f"key of {item!r:.10}" if keyed else None
        single = describer.describe(fn, (item,), {}, marks=[*marks, *([("key", key)] if keyed else [])])
        assert family.fingerprint(family.digest(item), key) == single.fingerprint
        write = family.writer(family.call.parts(), str, frozenset())
        told, expected = parts_from(write(item, family.digest(item), key)), single.parts()
        assert dict(told.inputs) == dict(expected.inputs)
        assert dict(told.untracked) == dict(expected.untracked)
        assert set(told.shares) == set(expected.shares)
        assert (told.code, told.libraries) == (expected.code, expected.libraries)


def test_random_lists(lab, log):
    """Whatever happens to the list between executions: right values, and each item called once."""
    dice = random.Random(5)
    given = list(range(8))

    def body(ctx):
        return ctx.map("m", lambda x: log(x) ** 2, given)

    known = set()
    for _ in range(12):
        assert lab.play(body) == [x * x for x in given]
        assert set(log.take()) == set(given) - known
        known |= set(given)
        dice.shuffle(given)
        del given[dice.randrange(len(given))]
        given.insert(dice.randrange(len(given)), dice.randrange(30))
        given = list(dict.fromkeys(given))
        lab.restart()


# --- failures


def test_raise_ends_the_map_and_the_next_execution_goes_on(lab, log, executor):
    """The first failure for good is raised; what was computed is kept, and the failed item is tried again."""
    broken = True

    def fn(item):
        log(item)
        if item == 2 and broken:
            raise TerminalError("no")
        return item

    def body(ctx):
        return ctx.map("m", fn, range(4), executor=executor, max_workers=1 if executor else None, ignore=["broken"])

    with pytest.raises(TerminalError, match="no") as caught:
        lab.play(body)
    assert caught.value.step == "m"
    assert any("m #3" in note for note in caught.value.__notes__)
    broken = False
    done = {entry.occurrence for entry in lab.entries() if entry.status is EntryStatus.SUCCEEDED}
    log.take()
    lab.restart()
    assert lab.play(body) == [0, 1, 2, 3]
    assert sorted(log.take()) == sorted(set(range(4)) - done)


def test_a_failure_that_the_cell_survived_replays(lab, log):
    """The cell takes the same branch again, and items that had not begun don't begin."""

    def fn(item):
        log(item)
        if item == 1:
            raise TerminalError("one")
        return item

    def body(ctx):
        try:
            ctx.map("m", fn, range(3))
        except TerminalError as error:
            return str(error), error.attempts, ctx.run("after", lambda: log("after"))

    assert lab.play(body) == ("one", 1, "after")
    assert log.take() == [0, 1, "after"]
    lab.restart()
    assert lab.play(body) == ("one", 1, "after")
    assert log.take() == []


def test_a_typo_is_raised_unchanged(lab, log, executor):
    """Errors that a retry can't mend are the user's own, at once, and don't replay."""

    def fn(item):
        log(item)
        return item.nothing

    def body(ctx):
        return ctx.map("m", fn, [1], executor=executor)

    for _ in range(2):
        with pytest.raises(AttributeError, match="nothing"):
            lab.play(body)
        assert log.take() == [1]


def test_collect_hands_failures_back_in_place(lab, log, executor):
    """The list has exceptions where items failed; terminal ones replay, and no rollback begins."""

    def fn(item):
        log(item)
        if item % 2:
            raise TerminalError(f"odd {item}")
        return item

    def body(ctx):
        found = ctx.map("m", fn, range(4), on_error="collect", executor=executor)
        ctx.run("next", lambda: None)
        return [str(one) if isinstance(one, TerminalError) else one for one in found]

    for _ in range(2):
        assert lab.play(body) == [0, "odd 1", 2, "odd 3"]
        lab.restart()
    assert sorted(log.take()) == [0, 1, 2, 3]
    assert all(entry.rollback_of is None for entry in lab.entries())
    assert lab.run().status is RunStatus.COMPLETED


def test_a_collected_failure_that_the_cell_raises_is_tried_again(lab, log):
    """Raised later it is a failure that leaves the cell, as one of a step is."""
    broken = True

    def fn(item):
        log(item)
        if broken:
            raise TerminalError("no")
        return item

    def body(ctx):
        (one,) = ctx.map("m", fn, [1], on_error="collect", ignore=["broken"])
        if isinstance(one, TerminalError):
            raise one
        return one

    with pytest.raises(TerminalError):
        lab.play(body)
    broken = False
    lab.restart()
    assert lab.play(body) == 1


@pytest.mark.once
def test_retries_let_others_go_first(lab, log):
    """An item that waits for its next attempt holds nobody up, and its attempts are recorded."""
    failures = {1: 2, 3: 1}

    def fn(item):
        log(item)
        if failures.get(item, 0):
            failures[item] -= 1
            raise ConnectionError(f"down {item}")
        return item

    def body(ctx):
        return ctx.map("m", fn, range(5), initial_retry_interval=10, ignore=["failures"])

    assert lab.play(body) == [0, 1, 2, 3, 4]
    assert log.take() == [0, 1, 2, 3, 4, 1, 3, 1]
    assert lab.clock.sleeps == [10.0, 20.0]
    assert [entry.attempts for entry in lab.entries()] == [1, 3, 1, 2, 1]
    assert len(lab.store.attempts(lab.run().id, 1)) == 2
    rests = [event for event in lab.events.of(MapProgress) if event.state == "waiting"]
    assert [(event.waiting, event.until - event.at) for event in rests] == [(2, 10.0), (1, 20.0)]
    assert rests[0].errors == (("m #2", "ConnectionError: down 1"), ("m #4", "ConnectionError: down 3"))
    assert rests[1].errors == (("m #2", "ConnectionError: down 1"),)  # the other one has made it
    assert lab.events.of(MapProgress)[-1].errors == ()


@pytest.mark.once
def test_a_retryable_error_says_how_long(lab):
    """``RetryableError(retry_after=...)`` counts as in ``ctx.run``."""
    tries = []

    def fn(item):
        tries.append(item)
        if len(tries) == 1:
            raise RetryableError("busy", retry_after=7)
        return item

    assert lab.play(lambda ctx: ctx.map("m", fn, [1], ignore=["tries"])) == [1]
    assert lab.clock.sleeps == [7.0]


@pytest.mark.once
def test_an_item_gives_up_after_its_attempts(lab, log, executor):
    """``max_attempts`` is per item; the TerminalError names the item, and carries its history."""

    def fn(item):
        log(item)
        if item == "bad":
            raise ConnectionError("down")
        return item

    def body(ctx):
        return ctx.map(
            "m", fn, ["good", "bad"], max_attempts=2, initial_retry_interval=0, key=str, executor=executor
        )  # fmt: skip

    with pytest.raises(TerminalError, match=r"'m: bad' gave up after 2 attempts .*down") as caught:
        lab.play(body)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert [attempt["attempt"] for attempt in caught.value.history] == [1, 2]
    assert sorted(log.take()) == ["bad", "bad", "good"]


@pytest.mark.once
@pytest.mark.parametrize("died_at", [1, 2])
def test_the_budget_of_an_item_survives_a_kill(lab, log, died_at):
    """Attempts of kernels that died in them count: the function is called ``max_attempts`` times in all."""
    dies = True

    def fn(item):
        log(item)
        if dies and len(log.calls) == died_at:
            raise CrashError("killed")
        raise ConnectionError("down")

    def body(ctx):
        return ctx.map("m", fn, [1], max_attempts=3, ignore=["dies", "died_at"])

    with pytest.raises(CrashError):
        lab.play(body, store=_Dead(lab.store))
    dies = False
    lab.restart()
    with pytest.raises(TerminalError):
        lab.play(body)
    assert len(log.calls) == 3


class _Dead(CrashingStore):
    """Writes nothing any more once the step's function has "killed" the kernel."""

    def __init__(self, store):
        super().__init__(store, "never", lambda entry: False)

    def record_many(self, claim, records):
        if any(entry.status is EntryStatus.INTERRUPTED for entry, _, _ in records):
            raise CrashError("dead")
        self.inner.record_many(claim, records)


@pytest.mark.once
def test_an_item_without_attempts_left_after_a_kill(lab):
    """Its last attempt was cut off: it has failed, without another call."""

    def fn(item):
        raise CrashError("killed")

    def body(ctx):
        return ctx.map("m", fn, [1], max_attempts=1)

    with pytest.raises(CrashError):
        lab.play(body, store=_Dead(lab.store))
    lab.restart()
    with pytest.raises(TerminalError, match="no attempt left"):
        lab.play(body)


@pytest.mark.once
def test_at_most_once(lab):
    """An item that was open when its kernel died is not called again."""

    def fn(item):
        raise CrashError("killed")

    def body(ctx):
        return ctx.map("m", fn, [1], at_most_once=True)

    with pytest.raises(CrashError):
        lab.play(body, store=_Dead(lab.store))
    lab.restart()
    with pytest.raises(OutcomeUnknownError):
        lab.play(body)


@pytest.mark.once
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_in_the_commit(lab, log, after):
    """A group is on disk whole or not at all; what was is not called again."""

    def body(ctx):
        return ctx.map("m", log, range(1200))

    store = CrashingStore(lab.store, "record", lambda entry: entry.occurrence == 700, after=after)
    with pytest.raises(CrashError):
        lab.play(body, store=store)
    recorded = {entry.occurrence for entry in lab.entries()}
    assert (700 in recorded) is after
    log.take()
    lab.restart()
    assert lab.play(body) == list(range(1200))
    assert sorted(log.take()) == sorted(set(range(1200)) - recorded)


# --- Stop, the disk, inputs


@pytest.mark.once
def test_stop_keeps_what_is_finished(lab, log):
    """KeyboardInterrupt ends the map; the next execution goes on with the rest, and the cut off item is no attempt."""
    stops = True

    def fn(item):
        log(item)
        if item == 3 and stops:
            raise KeyboardInterrupt
        return item

    def body(ctx):
        return ctx.map("m", fn, range(6), max_attempts=2, ignore=["stops"])

    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert statuses(lab) == ["succeeded"] * 3 + ["interrupted"]
    assert lab.entry("m", 3).attempts == 0
    assert lab.run().status is RunStatus.INTERRUPTED
    stops = False
    log.take()
    assert lab.play(body) == list(range(6))
    assert log.take() == [3, 4, 5]


@pytest.mark.once
def test_stop_after_this_step(lab, log):
    """The button of the panel ends a map between two items."""

    def fn(item):
        log(item)
        if item == 1:
            lab.session.controls.stop_after_step()
        return item

    def body(ctx):
        return ctx.map("m", fn, range(4))

    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert log.take() == [0, 1]
    assert statuses(lab) == ["succeeded"] * 2


@pytest.mark.once
def test_a_waiting_item_can_be_hastened_and_given_up(lab):
    """What people ask of the item that waits is done."""
    tries = []

    def fn(item):
        tries.append(item)
        raise ConnectionError("down")

    def body(ctx):
        lab.clock.after(1, lambda: lab.session.controls.retry(0))
        lab.clock.after(2, lambda: lab.session.controls.give_up(0, "enough"))
        return ctx.map("m", fn, [1], initial_retry_interval=600, ignore=["tries"])

    with pytest.raises(TerminalError, match="by hand: enough"):
        lab.play(body)
    assert len(tries) == 2


@pytest.mark.once
@pytest.mark.parametrize("ask", ["retry", "give_up"])
def test_waiting_items_can_be_asked_together(lab, ask):
    """What is asked of the map is done for all items that wait; what is asked of one item, for that one."""
    tries = []

    def fn(item):
        tries.append(item)
        if item and tries.count(item) == 1:
            raise ConnectionError(f"down {item}")
        return item

    def body(ctx):
        lab.clock.after(1, lambda: getattr(lab.session.controls, ask)(together(0)))
        return ctx.map("m", fn, range(4), initial_retry_interval=600, on_error="collect", ignore=["tries"])

    found = lab.play(body)
    if ask == "retry":
        assert found == [0, 1, 2, 3]
        assert lab.clock.sleeps == [1.0]
        assert tries == [0, 1, 2, 3, 1, 2, 3]
    else:
        assert [type(one) for one in found] == [int, TerminalError, TerminalError, TerminalError]
        assert "down 3" in str(found[3])
        assert tries == [0, 1, 2, 3]


@pytest.mark.once
def test_giving_all_up_raises_the_first(lab):
    """Where a failure is raised it is that of the first item; the others go on next time."""

    def fn(item):
        raise ConnectionError(f"down {item}")

    def body(ctx):
        lab.clock.after(1, lambda: lab.session.controls.give_up(together(0)))
        return ctx.map("m", fn, range(3), initial_retry_interval=600)

    with pytest.raises(TerminalError, match="down 0"):
        lab.play(body)
    assert statuses(lab) == ["failed", "interrupted", "interrupted"]


@pytest.mark.once
def test_a_full_disk(lab, log):
    """Values reach the cell; no further item is begun that the journal could not know of."""
    full = FailingStore(lab.store, JournalUnwritableError("/x", "No space left on device", "Free some."))

    def fn(item):
        full.failing = True
        return log(item)

    with pytest.raises(JournalUnwritableError, match="No space left"):
        lab.play(lambda ctx: (ctx.map("m", fn, [1], ignore=["full"]), ctx.run("next", lambda: 1)), store=full)
    assert log.take() == [1]
    assert lab.events.of(StoreFailed)


@pytest.mark.once
def test_an_item_changed_in_place(lab, log):
    """As for a step: it replays only if it is part of the result, and then the cell's own object takes the state."""
    item, other = [1], [1]

    def grow(rows):
        log(len(rows))
        rows.append(2)
        return rows

    def lose(rows):
        rows.append(2)

    def body(ctx):
        nonlocal item, other
        item, other = [1], [1]
        (grown,) = ctx.map("grow", grow, [item])
        assert grown is item
        ctx.map("lose", lose, [other])
        return grown

    for _ in range(2):
        assert lab.play(body) == [1, 2]
        lab.restart()
    assert log.take() == [1]
    assert lab.entry("lose").status is EntryStatus.IMPURE
    assert "return it" in lab.entry("lose").note


@pytest.mark.once
@pytest.mark.parametrize("executor", [None, "threads"])
def test_a_shared_input_changed_in_place(lab, log, executor):
    """Calls that change what they share don't replay: the replay would not change it."""
    seen = []

    def fn(item):
        seen.append(item)
        return log(item)

    def body(ctx):
        seen.clear()
        return ctx.map("m", fn, [1, 2], executor=executor)

    for _ in range(2):
        assert lab.play(body) == [1, 2]
        assert statuses(lab) == ["impure"] * 2
        lab.restart()
    assert sorted(log.take()) == [1, 1, 2, 2]


@pytest.mark.once
def test_a_map_with_an_effect(lab, log):
    """Items that return None make later steps that share something with them run again when one of them ran."""
    database, given = Log(), [1, 2]

    def write(item):
        database(item)

    def body(ctx):
        ctx.map("write", write, given)
        return ctx.run("read", lambda: log(len(database.calls)))

    lab.play(body)
    lab.play(body)
    assert log.take() == [2]
    given = [1, 2, 3]
    assert lab.play(body) == 3
    assert log.take() == [3]


@pytest.mark.once
def test_a_value_that_cant_be_stored(lab):
    """The cell gets the live value; the entry says why it will run again."""
    (lock,) = lab.play(lambda ctx: ctx.map("m", lambda x: threading.Lock(), [1]))
    assert lock.acquire(blocking=False)
    assert lab.entry("m").status is EntryStatus.UNSTORABLE


@pytest.mark.once
def test_secrets_are_hidden(lab):
    """An item with a secret's name, or under one, stands neither in the inputs nor in errors."""

    def fn(token):
        raise TerminalError(f"refused {token}")

    def other(row):
        raise TerminalError(f"refused {row['password']}")

    lab.play(lambda ctx: ctx.map("m", fn, ["geheim-4711-abc"], on_error="collect"))
    lab.play(lambda ctx: ctx.map("n", other, [{"password": "ganz-geheim-99"}], on_error="collect"), workflow="w2")
    for workflow in ("wf", "w2"):
        (entry,) = lab.entries(workflow)
        assert "geheim" not in entry.code.inputs + str(entry.error)
        assert "refused" in entry.error["message"]


# --- executors


@pytest.mark.once
def test_threads_run_side_by_side(lab):
    """With ``max_workers=2`` two items are under way at once, on other threads."""
    both = threading.Barrier(2, timeout=30)
    names = []

    def fn(item):
        both.wait()
        names.append(threading.current_thread().name)
        return item

    def body(ctx):
        return ctx.map("m", fn, [1, 2], executor="threads", max_workers=2, ignore=["both", "names"])

    assert lab.play(body) == [1, 2]
    assert len(set(names)) == 2
    assert threading.current_thread().name not in names


def test_any_executor_with_submit(lab, log):
    """One of ``concurrent.futures`` is used, and left open."""
    with ThreadPoolExecutor(2) as pool:

        def body(ctx):
            return ctx.map("m", log, range(30), executor=pool)

        assert lab.play(body) == list(range(30))
        assert pool.submit(lambda: 1).result() == 1
    assert sorted(log.take()) == list(range(30))


def test_many_items_in_threads(lab, log):
    """Chunks come and go: every item once, in order."""

    def body(ctx):
        return ctx.map("m", lambda x: log(x) + 1, range(700), executor="threads", max_workers=3)

    assert lab.play(body) == list(range(1, 701))
    assert sorted(log.take()) == list(range(700))


@pytest.mark.once
def test_an_error_in_threads_waits_for_what_runs(lab):
    """The failure is raised when the others under way have finished, and they are recorded."""
    failed, log = threading.Event(), Log()

    def fn(item):
        if item == 0:
            failed.set()
            raise TerminalError("no")
        assert failed.wait(30)
        return log(item)

    def body(ctx):
        return ctx.map("m", fn, range(9), executor="threads", max_workers=2, max_attempts=1, ignore=["failed", "log"])

    with pytest.raises(TerminalError):
        lab.play(body)
    assert {entry.occurrence for entry in lab.entries() if entry.status is EntryStatus.SUCCEEDED} == set(log.calls)
    assert 7 not in log.calls


@pytest.mark.parametrize("how", [None, "threads", "async"])
@pytest.mark.once
def test_ctx_inside_of_an_item(lab, how):
    """It is refused, in threads and tasks too."""

    def body(ctx):
        return ctx.map("m", lambda x: ctx.run("inner", int, x), [1], executor=how, ignore=["ctx"])

    async def abody(ctx):
        async def fn(item):
            return await ctx.run("inner", int, item)

        return await ctx.map("m", fn, [1], ignore=["ctx"])

    if how == "async":
        body, how = abody, None
    with pytest.raises(NestedContextError):
        lab.play(body)


@pytest.mark.once
def test_processes_need_their_extra(lab, monkeypatch):
    """Without loky the error names what to install."""
    monkeypatch.setitem(__import__("sys").modules, "loky", None)
    with pytest.raises(MissingExtraError, match=r"notebook_durable\[processes\]"):
        lab.play(lambda ctx: ctx.map("m", int, [1], executor="processes"))


# --- async cells


def test_async_functions_run_side_by_side(lab, log):
    """At most ``max_workers`` at a time; in order; replayed."""
    under_way, most = 0, 0

    async def fn(item):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return log(item)

    async def body(ctx):
        return await ctx.map("m", fn, range(20), max_workers=4, ignore=["under_way", "most"])

    assert lab.play(body) == list(range(20))
    assert most == 4
    log.take()
    lab.restart()
    assert lab.play(body) == list(range(20))
    assert log.take() == []


def test_a_lambda_that_returns_a_coroutine(lab, log):
    """What turns out to be async is run side by side as well, in both contexts."""

    async def fn(item):
        await asyncio.sleep(0)
        return log(item)

    async def abody(ctx):
        return await ctx.map("m", lambda x: fn(x), range(5))

    assert lab.play(abody) == list(range(5))
    assert lab.play(lambda ctx: ctx.map("m", lambda x: fn(x), range(5)), workflow="sync") == list(range(5))
    assert lab.play(lambda ctx: ctx.map("m", fn, range(5)), workflow="direct") == list(range(5))
    assert sorted(log.take()) == sorted([*range(5)] * 3)


def test_sync_functions_in_an_async_cell(lab, log, executor):
    """On this thread they are called one by one; workers leave the loop free."""

    async def body(ctx):
        one = ctx.map("m", log, range(5), executor=executor)
        return await asyncio.gather(one, ctx.run("other", lambda: 7), ctx.map("n", log, ["ab"], executor=executor))

    assert lab.play(body) == [[0, 1, 2, 3, 4], 7, ["ab"]]


@pytest.mark.once
def test_the_loop_goes_on_while_workers_work(lab):
    """A task of the cell can even be what a worker waits for."""
    go = threading.Event()

    async def body(ctx):
        waiting = asyncio.ensure_future(ctx.map("m", lambda x: go.wait(30), [1], executor="threads", ignore=["go"]))
        await asyncio.sleep(0)
        go.set()
        return await waiting

    assert lab.play(body) == [True]


@pytest.mark.once
def test_a_timeout_around_a_map_replays_as_one(lab, log):
    """Items that finished are kept; the cancellation comes again, and is survived again."""

    async def fn(item):
        log(item)
        if item > 1:
            await asyncio.get_running_loop().create_future()
        return item

    async def body(ctx):
        try:
            async with asyncio.timeout(0.05):
                return await ctx.map("m", fn, range(4))
        except TimeoutError:
            return "late"

    assert lab.play(body) == "late"
    assert sorted(statuses(lab)) == ["cancelled", "succeeded", "succeeded"]
    log.take()
    lab.restart()

    async def again(ctx):
        mapped = asyncio.ensure_future(ctx.map("m", fn, range(4)))
        lab.clock.after(0.1, mapped.cancel)
        with pytest.raises(asyncio.CancelledError):
            mapped.cancel()
            await mapped
        return "late"

    assert lab.play(again) == "late"
    assert log.take() == []


@pytest.mark.once
def test_a_map_that_nobody_awaits(lab):
    """It is said at the end of the cell, as for a step."""

    async def body(ctx):
        assert "await ctx.map" in repr(ctx.map("m", int, [1]))

    with pytest.raises(UnawaitedStepError, match="m"):
        lab.play(body)


@pytest.mark.once
def test_a_sibling_that_fails_leaves_the_map_to_be_gone_on_with(lab, log):
    """The cell ends while the map is under way: finished items replay next time."""
    broken = True

    async def fn(item):
        log(item)
        if item == 2 and broken:
            await asyncio.get_running_loop().create_future()
        return item

    async def fail():
        while len(log.calls) < 3:
            await asyncio.sleep(0)
        raise ValueError("sibling")

    async def body(ctx):
        mapped = ctx.map("m", fn, range(3), max_attempts=4, ignore=["broken"])
        return (await asyncio.gather(mapped, fail()))[0] if broken else await mapped

    with pytest.raises(ValueError, match="sibling"):
        lab.play(body)
    broken = False
    log.take()
    lab.restart()
    assert lab.play(body) == [0, 1, 2]
    assert set(log.take()) <= {0, 1, 2}
    assert lab.entry("m", 2).attempts == 1


# --- what is told, and refused


@pytest.mark.once
def test_events(lab):
    """No events for items; the first and the last one of the map always, with all numbers."""

    def body(ctx):
        return ctx.map("m", int, range(200))

    lab.play(body)
    first, last = lab.events.of(MapProgress)
    assert (first.done, first.total, first.state) == (0, 200, "running")
    assert (last.done, last.replayed, last.failed, last.total, last.state) == (200, 0, 0, 200, "done")
    lab.events.clear()
    lab.play(body)
    (only,) = lab.events.of(MapProgress)
    assert (only.done, only.replayed, only.total, only.recorded, only.state) == (0, 200, 200, 200, "done")
    assert not [event for event in lab.events if isinstance(event, (StepStarted, StepEnded, StepReplayed))]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"on_error": "ignore"}, "collect"),
        ({"max_workers": 0}, "1 or more"),
        ({"max_workers": 2.5}, "whole number"),
        ({"executor": "fibers"}, "threads"),
        ({"executor": 3}, "submit"),
        ({"key": "name"}, "key=str"),
        ({"key": lambda item: item}, "key of item 1"),
        ({"writes": "db"}, "writes"),
        ({"executor": "threads", "timeout": 3}, "timeout"),
        ({"nonsense": 1}, "no option"),
        ({"ignore": ["nothing"]}, "none of its inputs"),
    ],
)
@pytest.mark.once
def test_arguments_that_cant_be_used(lab, how, says):
    """Each is refused before anything is called, with what to type."""
    with pytest.raises(ConfigurationError, match=says):
        lab.play(lambda ctx: ctx.map("m", lambda item: 1 / 0, [1], **how))


@pytest.mark.once
@pytest.mark.parametrize("items", ["text", 5, None])
def test_items_that_are_none(lab, items):
    """A text would be taken letter by letter: that is never meant."""
    with pytest.raises(ConfigurationError, match="items"):
        lab.play(lambda ctx: ctx.map("m", int, items))


@pytest.mark.once
def test_a_function_that_cant_be_used(lab):
    """A call instead of a function; an async function for workers."""

    async def fn(item):
        return item

    with pytest.raises(ConfigurationError, match=r"ctx\.map\('m'"):
        lab.play(lambda ctx: ctx.map("m", 5, [1]))
    with pytest.raises(UsageError, match="leave executor= out"):
        lab.play(lambda ctx: ctx.map("m", fn, [1], executor="threads"))


@pytest.mark.once
def test_options_of_steps_count(lab, log):
    """``version``, ``max_age`` and ``serializer`` mean what they mean for a step."""
    options = {"version": 1}

    def body(ctx):
        return ctx.map("m", log, [1, 2], **options)

    lab.play(body)
    options["version"] = 2
    lab.play(body)
    assert log.take() == [1, 2, 1, 2]
    options["max_age"] = 60
    lab.clock.advance(100)
    lab.play(body)
    assert log.take() == [1, 2]
    assert "max_age" in lab.events.of(MapProgress)[-1].reason
    options |= {"serializer": "dill", "version": 3}
    lab.play(body)
    assert lab.entries()[-1].serializer == "dill"
