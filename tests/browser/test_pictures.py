"""Takes the pictures of the README, in the folder of screenshots: ``panel.png``, ``approval.png``, ``explorer.png``."""

from __future__ import annotations

from collections.abc import Callable

from browser.lab_page import LabPage, expect

FUNCTIONS = '''
import asyncio, time
from pathlib import Path
import numpy as np, pandas as pd

def load_orders():
    time.sleep(2)
    random = np.random.default_rng(7)
    return pd.DataFrame({
        "customer": random.integers(1, 5001, 240_000),
        "amount": random.gamma(2.0, 30.0, 240_000).round(2),
        "days_ago": random.integers(0, 730, 240_000),
    })

calls = Path("calls")

def fetch_weather():
    """Forecast of the week, from a service that has a bad day."""
    calls.write_text(calls.read_text() + "." if calls.exists() else ".")
    if len(calls.read_text()) < 5:
        raise ConnectionError("api.weather.example: 503 Service Unavailable")
    return [-4, -2, 1, 3, 0, -1, -3]

async def rate_reviews():
    while not Path("rated").exists():
        await asyncio.sleep(0.05)
    return {"good": 3120, "mixed": 1204, "bad": 676}

def score(orders, weather, reviews):
    """Who orders less often than they used to?"""
    found = orders.groupby("customer").agg(orders=("amount", "size"), spent=("amount", "sum"), idle=("days_ago", "min"))
    habit = 730 / found.orders
    found["risk"] = (1 - 0.5 ** (found.idle / habit / 2)).round(3)
    found["spent"] = found.spent.round(2)
    print(f"{len(found):,} customers, {(found.risk > 0.5).sum():,} at risk")
    return found.sort_values("risk", ascending=False)

def publish(scores):
    Path("published").write_text(str(len(scores)))
'''

CELL = """
%%durable churn
orders = await ctx.run("load orders", load_orders)
weather, reviews = await asyncio.gather(
    ctx.run("fetch weather", fetch_weather, max_attempts=6),
    ctx.run("rate reviews", rate_reviews),
)
scores = await ctx.run("score customers", score, orders, weather, reviews)
answer = await ctx.promise("approval", question="Publish the scores?", choices=["yes", "no"])
if answer == "yes":
    await ctx.run("publish", publish, scores)
"""


def test_pictures(open_page: Callable[..., LabPage]) -> None:
    """A cell is stopped, run again, waits for a service, then for a person; the journal tells the story."""
    lab = open_page(width=1000, height=2000, scale=2.0)
    lab.open([FUNCTIONS, CELL, "%durable"])
    lab.evaluate("() => jupyterapp.shell.collapseLeft()")
    lab.run_to_end(1)
    lab.run(2)
    lab.panel(2).locator('button[data-action="stop"]').click()
    lab.wait_done(2, error="KeyboardInterrupt")

    lab.run(2)
    weather = lab.row(2, "fetch weather")
    expect(lab.row(2, "load orders")).to_have_attribute("data-state", "replayed")
    expect(weather.locator(".nbd-attempts")).to_have_text("attempt 4 of 6", timeout=20_000)
    expect(weather).to_have_attribute("data-state", "waiting")
    expect(weather.locator(".nbd-countdown")).to_contain_text("next attempt in")
    photograph(lab, 2, "panel")

    (lab.folder / "rated").touch()
    weather.locator('button[data-action="retry"]').click()
    question = lab.row(2, "approval")
    expect(question.locator("button[data-answer]").first).to_be_enabled()
    photograph(lab, 2, "approval")
    question.locator("button[data-answer='\"yes\"']").click()
    lab.wait_done(2)
    assert (lab.folder / "published").read_text() == "5000"

    lab.page.set_viewport_size({"width": 1180, "height": 2000})  # here the step stands beside the list
    lab.run_to_end(3)
    explorer = lab.output(3).locator(".nbd-explorer")
    explorer.locator('.nbd-run[data-run="churn"]').click()
    explorer.locator('.nbd-step[data-step="score customers"]').click()
    expect(explorer.locator(".nbd-preview")).to_contain_text("risk")
    expect(explorer.locator(".nbd-execution")).to_have_count(2)
    photograph(lab, 3, "explorer")


def photograph(lab: LabPage, index: int, name: str) -> None:
    """Take a picture of a cell, without the marks of the active one."""
    lab.focus(0)
    lab.page.mouse.move(0, 0)
    lab.screenshot(name, lab.cell(index))
