"""Large values of a map's items, and the row that the live output shows for all of them."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from notebook_durable.engine.controls import Controls, together
from notebook_durable.events import ExecutionEnded, MapProgress
from notebook_durable.ipython.panel import Panel
from notebook_durable.model import Ask, Outcome, RunId
from notebook_durable.widgets.panel import obey

np = pytest.importorskip("numpy")
RUN = RunId("churn")


@pytest.mark.parametrize("size", [10, 5_000, 200_000])
@pytest.mark.parametrize("executor", [None, "threads"])
def test_arrays_of_any_size_replay(lab, size, executor):
    """Small ones lie in the row, larger ones elsewhere; all come back equal and writable."""

    def body(ctx):
        return ctx.map("m", lambda n: {"n": n, "a": np.full(size, float(n))}, range(4), executor=executor)

    for _ in range(2):
        for number, one in enumerate(lab.play(body)):
            assert one["n"] == number
            assert np.array_equal(one["a"], np.full(size, float(number)))
            assert one["a"].flags.writeable
        lab.restart()


@pytest.mark.once
@pytest.mark.parametrize("size", [10, 20_000, 300_000])
def test_items_that_are_computed_in_the_same_memory(lab, size):
    """Each item is recorded as it was returned, although the next one is written over it before the group is."""
    lab.memory = np.zeros(size)

    def work(number):
        lab.called(f"work {number}")
        lab.memory[:] = number
        return lab.memory

    def body(ctx):
        return [set(one) for one in ctx.map("m", work, range(6))]

    assert lab.play(body) == [{5.0}] * 6
    lab.memory = np.zeros(size)
    lab.calls.clear()
    assert lab.play(body) == [{float(number)} for number in range(6)]
    assert lab.calls == []


@pytest.mark.once
@pytest.mark.parametrize("size", [20_000, 300_000])
def test_tasks_that_are_computed_in_the_same_memory(lab, size):
    """The same for items that are awaited side by side."""
    lab.memory = np.zeros(size)

    async def work(number):
        await asyncio.sleep(0)
        lab.called(f"work {number}")
        lab.memory[:] = number
        return lab.memory

    async def body(ctx):
        return [set(one) for one in await ctx.map("m", work, range(6), max_workers=1)]

    assert lab.play(body) == [{5.0}] * 6
    lab.calls.clear()
    assert lab.play(body) == [{float(number)} for number in range(6)]
    assert lab.calls == []


def progress(**how):
    told = MapProgress(RUN, "fetch", 5, 1, 90, 2, 100, 105.0, seq=3, recorded=90, started_at=100.0)
    return dataclasses.replace(told, **how)


def test_one_row_with_a_bar():
    """Numbers, first errors, a bar in each form; what comes from items is escaped, and secrets are hidden."""
    panel = Panel(RUN)
    panel.apply([progress(errors=(("<A>", "OSError: https://me:pw-4711@x.io"),), waiting=1)])
    assert panel.active
    assert panel.summary() == "90 replayed, 5 run, 1 running, 1 waiting, 1 failed"
    assert panel.progress() == (0, 0)
    (row,) = panel.changes()["rows"]
    assert (row["state"], row["bar"]) == ("running", [90.0, 5.0, 1.0])
    assert row["far"] == "96 of 100, 90 replayed, 1 failed, 2 running, 1 waiting"
    text, html = panel.text(106.0), panel.html(106.0)
    assert "▰" * 15 + "▱ 96 of 100" in text
    assert "width:90.0%" in html
    assert "&lt;A&gt;" in html
    assert "pw-4711" not in text + html + row["error"]


def test_a_row_says_until_when_items_wait():
    """While others run, and when nothing else is left; then its buttons are for all of them."""
    panel = Panel(RUN)
    panel.apply([progress(waiting=2, until=112.0)])
    (row,) = panel.changes()["rows"]
    assert (row["state"], row["until"]) == ("running", 112.0)
    assert "2 waiting; next attempt in 6.0 s" in panel.text(106.0)
    panel.apply([progress(running=0, waiting=2, until=112.0, state="waiting")])
    (row,) = panel.changes()["rows"]
    assert (row["state"], row["until"]) == ("waiting", 112.0)
    assert panel.active
    assert panel.summary() == "90 replayed, 5 run, 2 waiting, 1 failed"
    panel.apply([progress(running=0, state="done")])
    assert "until" not in panel.changes()["rows"][0]


def test_a_click_on_a_map_s_row_is_for_all_waiting_items():
    """It goes to the number that stands for them; one that comes too late is told so."""
    controls = Controls()
    with controls.waiting(4, together(2)) as waiter:
        assert obey({"do": "retry", "seq": 2, "map": True}, controls, lambda _: None) == ""
        assert [(request.ask, request.together) for request in waiter.take()] == [(Ask.RETRY, True)]
        assert obey({"do": "giveup", "seq": 2}, controls, lambda _: None) != ""  # the first item doesn't wait
        assert controls.give_up(4)
        assert [request.together for request in waiter.take()] == [False]
    assert obey({"do": "retry", "seq": 2, "map": True}, controls, lambda _: None) != ""


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ({"state": "done"}, "done"),
        ({"state": "done", "replayed": 100, "done": 0, "failed": 0}, "replayed"),
        ({"state": "failed"}, "failed"),
        ({"state": "interrupted"}, "interrupted"),
        ({"state": "cancelled"}, "cancelled"),
    ],
)
def test_the_end_of_a_map(how, state):
    """The row ends in the state of the map, and time stands still."""
    panel = Panel(RUN)
    event = MapProgress(
        RUN, "m", **{"done": 5, "failed": 1, "replayed": 90, "running": 0, "total": 100, "at": 9.0, **how}
    )
    panel.apply([event, ExecutionEnded(RUN, Outcome.COMPLETED, 10.0)])
    assert not panel.active
    assert panel.rows[0].state == state
    assert state in panel.text(99.0)
