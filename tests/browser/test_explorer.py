"""The journal explorer: runs, a run, a step, and what can be done with them."""

from __future__ import annotations

from browser.lab_page import LabPage, expect
from browser.notebooks import NOTE, read_outputs

CHURN = """
%%durable churn
import pandas as pd
def load_orders():
    note("load")
    return pd.DataFrame({"customer": ["ann", "bob", "cleo"], "total": [12.5, 80.0, 3.25]})
orders = ctx.run("load orders", load_orders)
best = ctx.run("score", lambda: note("score") and float(orders.total.max()))
best
"""


def opened(lab: LabPage) -> None:
    """Run the cell, open the explorer and its run."""
    lab.open([NOTE, CHURN, "%durable", "print(loaded.total.sum())"])
    lab.run_to_end(1)
    lab.run_to_end(2)
    lab.run_to_end(3)
    lab.output(3).locator('.nbd-explorer .nbd-run[data-run="churn"]').click()
    expect(lab.output(3).locator(".nbd-steps .nbd-step")).to_have_count(2)


def test_look_and_load(lab: LabPage) -> None:
    """A run on its timeline, a step, the preview of its value; a variable gets it, the notebook's file does not."""
    opened(lab)
    explorer = lab.output(3).locator(".nbd-explorer")
    expect(explorer.locator(".nbd-execution")).to_have_count(1)
    expect(explorer.locator('.nbd-bar[data-step="load orders"][data-kind="ran"]')).to_have_count(1)
    explorer.locator('.nbd-step[data-step="load orders"]').click()
    detail = explorer.locator(".nbd-detail")
    for text in ("customer", "cleo", "12.5", "float64"):
        expect(detail.locator(".nbd-preview")).to_contain_text(text)
    expect(detail.locator(".nbd-source")).to_contain_text("def load_orders")
    lab.screenshot("explorer-step")
    detail.locator(".nbd-variable").fill("loaded")
    detail.locator('button[data-action="load"]').click()
    expect(explorer.locator(".nbd-said")).to_contain_text("loaded")
    lab.run_to_end(4)
    expect(lab.output(4)).to_contain_text("95.75")
    lab.save()
    saved = str(read_outputs(lab.path, 3))
    assert "churn" in saved
    assert "cleo" not in saved
    explorer.locator('.nbd-step[data-step="score"]').focus()
    lab.page.keyboard.press("d")
    lab.page.keyboard.press("d")  # as a command, "d d" deletes the cell
    lab.page.keyboard.press("Enter")
    expect(detail.locator(".nbd-title")).to_have_text("score")
    lab.page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    lab.page.keyboard.press("Escape")
    expect(explorer.locator('.nbd-run[data-run="churn"]')).to_be_visible()
    expect(lab.cell(4)).to_be_visible()


def test_rewind_and_run_again(lab: LabPage) -> None:
    """Rewind asks first; on *no* nothing happens, on *yes* the step and what came after it really run again."""
    opened(lab)
    explorer = lab.output(3).locator(".nbd-explorer")
    explorer.locator('.nbd-step[data-step="load orders"]').click()
    for answer in ("no", "yes"):
        explorer.locator('.nbd-detail button[data-action="rewind"]').click()
        explorer.locator(f'.nbd-confirm button[data-action="{answer}"]').click()
        expect(explorer.locator(".nbd-confirm")).to_have_count(0)
        expect(explorer.locator(".nbd-said")).to_be_visible()
        lab.run_to_end(2)
        assert lab.notes() == ["load", "score"] if answer == "no" else ["load", "score", "load", "score"]


def test_search_and_filter(lab: LabPage) -> None:
    """Of thousands of steps the search keeps those that fit; the page never holds all of them."""
    lab.open(
        [
            """
            %%durable many
            for number in range(3000):
                ctx.run(f"item {number}", abs, number)
            """,
            "%durable",
        ]
    )
    lab.run_to_end(1)
    lab.run_to_end(2)
    explorer = lab.output(2).locator(".nbd-explorer")
    explorer.locator('.nbd-run[data-run="many"]').click()
    rows = explorer.locator(".nbd-steps .nbd-step")
    expect(explorer.locator(".nbd-count")).to_contain_text("3,000")
    assert 5 < rows.count() < 300
    explorer.locator("input.nbd-search").fill("item 299")
    expect(rows).to_have_count(11)
    explorer.locator("input.nbd-search").fill("item 2999")
    expect(rows).to_have_count(1)
    explorer.locator("select.nbd-filter").select_option("failed")
    expect(rows).to_have_count(0)
