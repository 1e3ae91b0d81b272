"""The buttons of the live panel, clicked while the cell runs: without ``await`` (cell 2) and with it (cell 3)."""

from __future__ import annotations

import re

import pytest
from browser.lab_page import LabPage, expect
from browser.notebooks import NOTE
from kernels import older_python

SYNC = """
%%durable Oslo
weather = ctx.run("fetch", fetch, "Oslo", max_attempts=3, initial_retry_interval=HOUR, max_retry_interval=HOUR)
after = ctx.run("after", note, "after Oslo")
weather["degrees"]
"""
ASYNC = SYNC.replace("ctx.run", "await ctx.run").replace("Oslo", "Rome")
BOTH = {2: "Oslo", 3: "Rome"}


def opened(lab: LabPage) -> None:
    """Open a notebook with both cells."""
    lab.open([NOTE, SYNC, ASYNC])
    lab.run_to_end(1)


def run_until_it_waits(lab: LabPage, cell: int) -> None:
    """Run a cell until its step waits, for an hour, and its buttons can be clicked."""
    lab.run(cell)
    row = lab.row(cell, "fetch")
    expect(row).to_have_attribute("data-state", "waiting")
    expect(row.locator('button[data-action="retry"]')).to_be_enabled()


def test_retry_now(lab: LabPage) -> None:
    """*Retry now* begins the next attempt at once."""
    opened(lab)
    for cell, city in BOTH.items():
        run_until_it_waits(lab, cell)
        row = lab.row(cell, "fetch")
        expect(row.locator(".nbd-countdown")).to_have_text(re.compile("^next attempt in "))
        expect(row.locator(".nbd-error")).to_contain_text("ConnectionError: weather service: 503")
        expect(row.locator(".nbd-attempts")).to_contain_text("1 of 3")
        assert lab.notes(city) == ["fetch"]
        lab.screenshot(f"waiting-{city}")
        lab.press(cell, "fetch", "retry")
        lab.wait_done(cell)
        assert lab.notes(city) == ["fetch", "fetch", "after"]
        expect(lab.panel(cell)).to_have_attribute("data-outcome", "completed")
        expect(row).to_have_attribute("data-state", "done")
        expect(lab.panel(cell).locator("button")).to_have_count(0)
        expect(lab.output(cell)).to_contain_text("-4")


def test_countdown_and_traceback(lab: LabPage) -> None:
    """The time to the next attempt goes down by itself, a traceback is one click away, Stop ends the wait."""
    lab.open([NOTE, SYNC.replace("HOUR", "50.0"), ASYNC.replace("HOUR", "50.0")])
    lab.run_to_end(1)
    for cell in BOTH:
        run_until_it_waits(lab, cell)
        countdown = lab.row(cell, "fetch").locator(".nbd-countdown")
        seen = [countdown.inner_text()]
        while len(seen) < 3:
            expect(countdown).not_to_have_text(seen[-1])
            seen.append(countdown.inner_text())
        seconds = [int(re.fullmatch(r"next attempt in (\d\d) s", text).group(1)) for text in seen]  # type: ignore[union-attr]
        assert 50 >= seconds[0] > seconds[1] > seconds[2]
        traceback = lab.row(cell, "fetch").locator("pre.nbd-traceback")
        expect(traceback).to_be_hidden()
        lab.press(cell, "fetch", "traceback")
        expect(traceback).to_contain_text('raise ConnectionError("weather service')
        lab.press(cell, "fetch", "traceback")
        expect(traceback).to_be_hidden()
        lab.stop()
        lab.wait_done(cell, error="KeyboardInterrupt")
        expect(lab.row(cell, "fetch")).to_have_attribute("data-state", "interrupted")


def test_give_up(lab: LabPage) -> None:
    """*Give up* ends the step with a TerminalError, which leaves the cell."""
    opened(lab)
    for cell, city in BOTH.items():
        run_until_it_waits(lab, cell)
        lab.press(cell, "fetch", "giveup")
        lab.wait_done(cell, error="TerminalError")
        assert lab.notes(city) == ["fetch"]
        expect(lab.row(cell, "fetch")).to_have_attribute("data-state", "failed")
        expect(lab.panel(cell)).to_have_attribute("data-outcome", "failed")


def test_pause_and_resume(lab: LabPage) -> None:
    """A paused step has no countdown; resumed, by the keyboard too, it has one again."""
    opened(lab)
    for cell, city in BOTH.items():
        run_until_it_waits(lab, cell)
        row = lab.row(cell, "fetch")
        lab.press(cell, "fetch", "pause")
        expect(row).to_have_attribute("data-state", "paused")
        expect(row.locator(".nbd-countdown")).to_have_text("")
        row.locator('button[data-action="resume"]').focus()
        lab.page.keyboard.press("Enter")
        expect(row).to_have_attribute("data-state", "waiting")
        expect(row.locator(".nbd-countdown")).to_have_text(re.compile("^next attempt in "))
        assert lab.notes(city) == ["fetch"]
        lab.press(cell, "fetch", "pause")
        expect(row).to_have_attribute("data-state", "paused")
        lab.press(cell, "fetch", "retry")
        lab.wait_done(cell)
        assert lab.notes(city) == ["fetch", "fetch", "after"]


def test_stop_after_this_step(lab: LabPage) -> None:
    """The step that is under way is finished and recorded, the next one is not begun, the cell ends as by Stop."""
    opened(lab)
    for cell, city in BOTH.items():
        run_until_it_waits(lab, cell)
        stop = lab.panel(cell).locator('button[data-action="stop"]')
        expect(stop).to_have_text("Stop after this step")
        stop.click()
        expect(stop).to_have_text("Don't stop")
        lab.press(cell, "fetch", "retry")
        lab.wait_done(cell, error="KeyboardInterrupt")
        assert lab.notes(city) == ["fetch", "fetch"]
        expect(lab.row(cell, "fetch")).to_have_attribute("data-state", "done")
        lab.run_to_end(cell)
        expect(lab.row(cell, "fetch")).to_have_attribute("data-state", "replayed")
        assert lab.notes(city) == ["fetch", "fetch", "after"]


@pytest.mark.skipif(older_python() is None, reason="NBD_OTHER_PYTHON doesn't name a Python with ipykernel 6.31")
def test_a_kernel_that_takes_no_clicks(lab: LabPage) -> None:
    """With ipykernel 6.31 the panel says in one line that clicks don't arrive; times still tick, Stop works."""
    lab.open([NOTE, SYNC, ASYNC], kernel="older")
    lab.run_to_end(1)
    for cell in BOTH:
        lab.run(cell)
        row = lab.row(cell, "fetch")
        expect(row).to_have_attribute("data-state", "waiting")
        hint = lab.panel(cell).locator(".nbd-hint")
        expect(hint).to_be_visible(timeout=10_000)
        expect(hint).to_contain_text("Stop")
        expect(row.locator('button[data-action="retry"]')).to_be_disabled()
        before = lab.panel(cell).locator(".nbd-elapsed").inner_text()
        expect(lab.panel(cell).locator(".nbd-elapsed")).not_to_have_text(before)
        lab.screenshot(f"deaf-{BOTH[cell]}")
        lab.stop()
        lab.wait_done(cell, error="KeyboardInterrupt")
        expect(row).to_have_attribute("data-state", "interrupted")
