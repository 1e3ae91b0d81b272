"""The explorer on a journal that can't be believed: of another key, and with a damaged value."""

from __future__ import annotations

from browser.lab_page import LabPage, expect

CELL = """
%%durable churn
ctx.run("plain", lambda: [1, 2])
big = ctx.run("large", lambda: bytearray(b"x") * 6_000_000)
"""
FLIP = """
from pathlib import Path
(blob,) = [path for path in Path(".durable/blobs").rglob("*") if path.stat().st_size > 5_000_000]
blob.chmod(0o600)
with blob.open("r+b") as file:
    file.seek(3_000_000)
    file.write(b"y")
"""


def test_a_damaged_value(lab: LabPage) -> None:
    """The step opens at once; loading its value finds the damage, and the step says what becomes of it."""
    lab.open([CELL, FLIP, "%durable"])
    for cell in (1, 2, 3):
        lab.run_to_end(cell)
    explorer = lab.output(3).locator(".nbd-explorer")
    explorer.locator('.nbd-run[data-run="churn"]').click()
    explorer.locator('.nbd-step[data-step="large"]').click()
    detail = explorer.locator(".nbd-detail")
    expect(detail).to_contain_text("6.0 MB")
    expect(detail.locator(".nbd-damaged")).to_have_count(0)
    detail.locator(".nbd-variable").fill("loaded")
    detail.locator('button[data-action="load"]').click()
    expect(detail.locator(".nbd-damaged")).to_contain_text("it will be computed anew when its cell is run again")
    expect(explorer.locator(".nbd-said")).to_contain_text("is damaged")
    expect(detail.locator('button[data-action="load"]')).to_have_count(0)
    lab.screenshot("explorer-damaged", lab.cell(3))
    lab.run_to_end(1)
    expect(lab.row(1, "large")).to_have_attribute("data-state", "done")
    expect(lab.row(1, "plain")).to_have_attribute("data-state", "replayed")


def test_another_key(lab: LabPage) -> None:
    """Said once above everything, with the way out; JSON values are shown and can be loaded all the same."""
    lab.open([CELL, '%config Durable.key_file = "another.key"', "%durable"])
    for cell in (1, 2, 3):
        lab.run_to_end(cell)
    explorer = lab.output(3).locator(".nbd-explorer")
    expect(explorer.locator(".nbd-untrusted")).to_contain_text("was written with another key")
    explorer.locator('.nbd-run[data-run="churn"]').click()
    expect(explorer.locator(".nbd-untrusted")).to_be_visible()
    explorer.locator('.nbd-step[data-step="plain"]').click()
    detail = explorer.locator(".nbd-detail")
    expect(detail.locator(".nbd-state").first).to_have_text("untrusted")
    expect(detail.locator(".nbd-preview")).to_contain_text("2")
    lab.screenshot("explorer-untrusted", lab.cell(3))
    explorer.locator('.nbd-step[data-step="large"]').click()
    expect(detail.locator(".nbd-title")).to_have_text("large")
    expect(detail.locator('button[data-action="load"]')).to_have_count(0)
