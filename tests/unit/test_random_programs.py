"""Random workflows under random crashes end like the undisturbed program (the idea of Restate's verification runner).

A program is a list of actions. It is first played straight through, then with the kernel dying at random writes and
being started again each time. The result must be the same, and no finished step may have been called a second time.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab import Lab, Outside

from notebook_durable.errors import TerminalError
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.testing.faults import CrashError, CrashingStore

pytestmark = pytest.mark.once

actions = st.one_of(
    st.tuples(st.just("step"), st.integers(0, 3)),  # few names: many repeats
    st.tuples(st.just("flaky"), st.integers(1, 3)),  # fails so often, then succeeds
    st.tuples(st.just("caught"), st.integers(1, 2)),  # fails for good, survived with a fallback step
    st.tuples(st.just("gather"), st.integers(1, 4)),  # so many steps side by side
)
programs = st.lists(actions, min_size=1, max_size=8)
crashes = st.lists(st.tuples(st.sampled_from(["begin", "record"]), st.integers(1, 6), st.booleans()), max_size=6)


class World(Outside):
    """What is outside: how often each thing was done, and flaky services that remember."""

    def __init__(self):
        self.done = Counter()
        self.failures = Counter()

    def work(self, label):
        self.done[label] += 1
        return f"{label}!"

    def flaky(self, label, times):
        if self.failures[label] < times:
            self.failures[label] += 1
            raise ConnectionError(label)
        return self.work(label)

    def broken(self, label):
        raise TerminalError(label)


def sync_body(program, world):
    def body(ctx):
        out = []
        for index, (kind, n) in enumerate(program):
            label = f"{index} {kind}"
            if kind == "step":
                out.append(ctx.run(f"s{n}", world.work, label))
            elif kind == "flaky":
                out.append(ctx.run("flaky", world.flaky, label, n))
            elif kind == "caught":
                try:
                    ctx.run("caught", world.broken, label)
                except TerminalError as error:
                    out.append(ctx.run("fallback", world.work, label) + str(error))
            else:
                out.append([ctx.run("side", world.work, f"{label} {i}") for i in range(n)])
        return out

    return body


def async_body(program, world):
    async def body(ctx):
        out = []
        for index, (kind, n) in enumerate(program):
            label = f"{index} {kind}"
            if kind == "gather":
                out.append(list(await asyncio.gather(*(ctx.run("side", world.work, f"{label} {i}") for i in range(n)))))
            elif kind == "step":
                out.append(await ctx.run(f"s{n}", world.work, label))
            elif kind == "flaky":
                out.append(await ctx.run("flaky", world.flaky, label, n))
            else:
                try:
                    await ctx.run("caught", world.broken, label)
                except TerminalError as error:
                    out.append(await ctx.run("fallback", world.work, label) + str(error))
        return out

    return body


@pytest.mark.parametrize("make", [sync_body, async_body])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=programs, deaths=crashes)
def test_crashes_change_nothing_but_the_number_of_executions(make, program, deaths):
    """Same result; each piece of work done once, plus at most once for each death while it was open."""
    expected = Lab(MemoryStore, False)._pass(make(program, World()))

    world, lab = World(), Lab(MemoryStore, False)
    died = 0
    for point, count, after in deaths:
        seen = [0]

        def when(entry, seen=seen, count=count):
            seen[0] += 1
            return seen[0] == count

        store = CrashingStore(lab.store, point, when, after=after)
        try:
            lab._pass(make(program, world), store=store)
        except CrashError:
            died += 1
    result = lab._pass(make(program, world))
    assert result == expected
    extra = sum(world.done.values()) - len(world.done)
    # A death after the call and before its commit repeats that step, and what was gathered beside it.
    assert extra <= died * max([n for kind, n in program if kind == "gather"], default=1)
    if all(point == "begin" or after for point, _, after in deaths) and make is sync_body:
        assert extra == 0
