"""A ``ctx.map`` while it runs: its bar, Stop and going on, its buttons; and what the explorer makes of it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from browser.lab_page import LabPage, expect
from browser.notebooks import NOTE, read_outputs

if TYPE_CHECKING:
    from playwright.sync_api import Locator

VISIT = """
import time
def visit(city):
    note(f"visit {city}")
    time.sleep(0.11)  # longer than the panel's tenth of a second
    while city in (12, 20) and not Path(f"go {city}").exists():
        time.sleep(0.02)
    return city * 2

def weather(city):
    if city == 7:
        from notebook_durable import TerminalError
        raise TerminalError("no such city")
    if city % 4 == 1 and note(f"ask {city}") == 1:
        raise ConnectionError("503 Service Unavailable")
    return city
"""
MAP = """
%%durable cities
doubled = ctx.map("visit", visit, range(30))
ctx.run("total", sum, doubled)
"""
WAITS = """
%%durable Oslo
found = ctx.map("ask", weather, range(12), on_error="collect", initial_retry_interval=HOUR, max_retry_interval=HOUR)
[type(one).__name__ for one in found]
"""
WAITS_ASYNC = WAITS.replace("ctx.map", "await ctx.map").replace("Oslo", "Rome").replace("range(12)", "range(100, 112)")


def shares(row: Locator) -> list[float]:
    """How wide the replayed, done and failed parts of a row's bar are, in percent of it, once they stand still."""
    of_widths = "row.getAnimations({subtree: true}).filter(one => one instanceof CSSTransition)"
    row.evaluate(f"row => Promise.all({of_widths}.map(one => one.finished.catch(() => 0)))")

    def width(name: str) -> float:
        box = row.locator(name).bounding_box()
        return 0.0 if box is None else box["width"]

    return [100 * width(f".nbd-map .nbd-{part}") / width(".nbd-map") for part in ("replayed", "done", "failed")]


def themes(lab: LabPage, cell: int, name: str) -> None:
    """Take a picture in each theme."""
    for dark in (False, True):
        lab.set_theme(dark=dark)
        lab.screenshot(f"map-{name}-{'dark' if dark else 'light'}", lab.cell(cell))
    lab.set_theme(dark=False)


@pytest.mark.timeout(180)
def test_stop_and_go_on(lab: LabPage) -> None:
    """Stop ends a map at once; run again it goes on with the item that was cut off, and calls none twice besides it."""
    lab.open([NOTE, VISIT, MAP])
    lab.run_to_end(1)
    lab.run_to_end(2)
    lab.run(3)
    row = lab.row(3, "visit")
    bar = row.locator(".nbd-map")
    expect(row).to_have_attribute("data-state", "running")
    expect(bar).to_have_attribute("aria-valuenow", "40")
    expect(row.locator(".nbd-far")).to_contain_text("12 of 30")
    assert shares(row) == pytest.approx([0, 40, 0], abs=1.5)  # it ends at a pixel
    themes(lab, 3, "running")
    lab.stop()
    lab.wait_done(3, error="KeyboardInterrupt")
    expect(row).to_have_attribute("data-state", "interrupted")
    expect(row.locator(".nbd-far")).to_have_text("12 of 30")
    expect(lab.panel(3).locator(".nbd-row")).to_have_count(1)
    themes(lab, 3, "interrupted")
    assert lab.notes() == [f"visit {city}" for city in range(13)]

    (lab.folder / "go 12").touch()
    lab.run(3)
    expect(bar).to_have_attribute("aria-valuenow", "67")
    expect(row.locator(".nbd-far")).to_contain_text("20 of 30, 12 replayed")
    assert shares(row) == pytest.approx([40, 27, 0], abs=1.5)
    themes(lab, 3, "goes-on")
    (lab.folder / "go 20").touch()
    lab.wait_done(3)
    expect(row).to_have_attribute("data-state", "done")
    expect(row.locator(".nbd-far")).to_have_text("30 of 30, 12 replayed")
    expect(lab.panel(3).locator(".nbd-summary")).to_contain_text("12 replayed")
    expect(lab.panel(3).locator(".nbd-summary")).to_contain_text("19 run")  # 18 items and the step after
    expect(lab.output(3)).to_contain_text("870")
    themes(lab, 3, "done")
    called = Counter(lab.notes())
    assert [city for city in range(30) if called[f"visit {city}"] != 1] == [12]

    lab.restart_kernel_from_menu()
    lab.run_to_end(1)
    lab.run_to_end(2)
    lab.run_to_end(3)
    expect(row).to_have_attribute("data-state", "replayed")
    expect(lab.panel(3).locator(".nbd-summary")).to_contain_text("31 replayed")
    assert Counter(lab.notes()) == called
    lab.save()
    saved = str(read_outputs(lab.path, 3))
    assert "30 of 30" in saved
    assert "nbd-map" in saved
    lab.reload()
    expect(lab.row(3, "visit").locator(".nbd-far")).to_have_text("30 of 30, 30 replayed")


@pytest.mark.timeout(180)
def test_waiting_items(lab: LabPage) -> None:
    """The row says which items failed and wait, and until when; its buttons are for all that wait."""
    lab.open([NOTE, VISIT, WAITS, WAITS_ASYNC])
    lab.run_to_end(1)
    lab.run_to_end(2)
    for cell, first, last in ((3, 0, "Oslo"), (4, 100, "Rome")):
        lab.run(cell)
        row = lab.row(cell, "ask")
        expect(row).to_have_attribute("data-state", "waiting")
        failed = 1 if cell == 3 else 0
        done = 12 - 3 - failed
        expect(row.locator(".nbd-far")).to_have_text(
            f"{done + failed} of 12, {f'{failed} failed, ' if failed else ''}3 waiting"
        )
        expect(row.locator(".nbd-countdown")).to_have_text(re.compile(r"^next attempt in (59 min|1 h)"))
        expect(row.locator(".nbd-error")).to_contain_text("ask #2: ConnectionError: 503 Service Unavailable")
        retry = row.locator('button[data-action="retry"]')
        expect(retry).to_be_enabled()
        expect(retry).to_have_text("Retry all now")
        expect(row.locator('button[data-action="pause"]')).to_have_count(0)
        themes(lab, cell, f"waiting-{last}")
        retry.click()
        lab.wait_done(cell)
        assert [note for note in lab.notes() if int(note.split()[1]) // 100 == first // 100] == [
            f"ask {first + n}" for n in (1, 5, 9, 1, 5, 9)
        ]
        expect(row).to_have_attribute("data-state", "done")
        if failed:
            expect(row.locator(".nbd-error")).to_have_text("ask #8: TerminalError: no such city")
        else:  # the errors of those that made it in the end are forgotten
            expect(row.locator(".nbd-error")).to_have_count(0)
        expect(lab.output(cell)).to_contain_text("TerminalError" if failed else "int")
        themes(lab, cell, f"after-{last}")


@pytest.mark.timeout(180)
def test_giving_up_what_waits(lab: LabPage) -> None:
    """*Give up all* ends the waiting items; the others are done, and run again all of it replays."""
    lab.open([NOTE, VISIT, WAITS])
    lab.run_to_end(1)
    lab.run_to_end(2)
    lab.run(3)
    lab.press(3, "ask", "giveup")
    lab.wait_done(3)
    row = lab.row(3, "ask")
    expect(row.locator(".nbd-far")).to_have_text("12 of 12, 4 failed")
    assert lab.notes() == ["ask 1", "ask 5", "ask 9"]
    lab.run_to_end(3)
    expect(row.locator(".nbd-far")).to_have_text("12 of 12, 8 replayed, 4 failed")
    assert lab.notes() == ["ask 1", "ask 5", "ask 9"]


@pytest.mark.timeout(240)
def test_ten_thousand_items_in_the_explorer(lab: LabPage) -> None:
    """They are one row and one bar; opened, the page holds those in sight only; a search finds one among them."""
    lab.open(
        [
            """
            %%durable big
            def double(number):
                if number == 6006:
                    from notebook_durable import TerminalError
                    raise TerminalError("unlucky")
                return number * 2
            rows = ctx.run("load", lambda: list(range(10_000)))
            found = ctx.map("double", double, rows, on_error="collect")
            ctx.run("report", len, found[:3])
            """,
            "%durable",
        ]
    )
    lab.run_to_end(1)
    lab.run_to_end(2)
    explorer = lab.output(2).locator(".nbd-explorer")
    explorer.locator('.nbd-run[data-run="big"]').click()
    group = explorer.locator('.nbd-group[data-group="double"]')
    expect(group).to_contain_text("9,999 of 10,000 done; 1 failed (TerminalError: unlucky)")
    expect(explorer.locator(".nbd-steps .nbd-row")).to_have_count(3)
    expect(explorer.locator(".nbd-count")).to_have_text("10,002 steps")
    bars = explorer.locator(".nbd-bar")
    expect(bars).to_have_count(3)
    expect(explorer.locator('.nbd-bar[data-step="double"]')).to_have_attribute("data-count", "10000")
    lab.screenshot("map-explorer-closed", lab.cell(2))

    explorer.locator('.nbd-bar[data-step="double"]').click()
    expect(group).to_have_attribute("aria-expanded", "true")
    rows = explorer.locator(".nbd-steps .nbd-step")
    expect(rows.first).to_be_visible()
    assert rows.count() < 100
    lab.page.keyboard.press("End")
    expect(explorer.locator('.nbd-step[data-step="double #10000"]')).to_be_visible()
    assert rows.count() < 100
    lab.screenshot("map-explorer-open", lab.cell(2))

    explorer.locator("select.nbd-filter").select_option("failed")
    expect(rows).to_have_count(1)
    rows.first.click()
    detail = explorer.locator(".nbd-detail")
    expect(detail.locator(".nbd-title")).to_have_text("double #6007")
    expect(detail).to_contain_text("unlucky")
    lab.screenshot("map-explorer-item", lab.cell(2))
    explorer.locator("select.nbd-filter").select_option("current")
    explorer.locator("input.nbd-search").fill("#4321")
    expect(rows).to_have_count(1)
    rows.first.click()
    expect(detail.locator(".nbd-command code").first).to_contain_text('%durable load big "double #4321"')
    detail.locator(".nbd-variable").fill("loaded")
    detail.locator('button[data-action="load"]').click()
    expect(explorer.locator(".nbd-said")).to_contain_text("loaded")
