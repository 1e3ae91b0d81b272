"""Takes the README's pictures of replays: ``durable-cell.png`` (a lost kernel) and ``edited-cell.png``."""

from __future__ import annotations

from collections.abc import Callable

from browser.lab_page import LabPage, expect
from browser.test_pictures import photograph

FLIGHTS = """
import time
from pathlib import Path
import pandas as pd

def load_flights():
    time.sleep(1.6)
    return pd.DataFrame({"origin": ["EWR", "JFK", "LGA"] * 112_258 + ["EWR", "JFK"], "delay": 12.6})

def fetch_weather():
    time.sleep(0.8)
    return {"EWR": 26_115, "JFK": 25_000, "LGA": 25_000}

def find_knock_on(flights, weather):
    Path("begun").touch()
    while not Path("go on").exists():
        time.sleep(0.7)
    return flights.groupby("origin").delay.mean().to_dict()
"""
DELAYS = """
%%durable delays
flights = ctx.run("load flights", load_flights)
weather = ctx.run("fetch weather", fetch_weather, max_attempts=5)
knock_on = ctx.run("find knock-on", find_knock_on, flights, weather)
knock_on
"""

EDITED = """
import time
import pandas as pd

def load(url):
    time.sleep(2.3)
    return pd.DataFrame({{"region": ["North", "South", "North", None] * 30, "risk": [.2, .4, .3, .9] * 30}})

def clean(orders):
    return orders.{how}

def score(orders, year):
    time.sleep(.6)
    return orders.assign(risk=orders.risk * (year - 2020))

def mail(to):
    time.sleep(.2)
"""
CHURN = """
%%durable churn
orders = ctx.run("load orders", load, "postgresql://db/shop")
tidy = ctx.run("clean", clean, orders)
scored = [ctx.run("score", score, orders, year) for year in {years}]
ctx.run("mail", mail, "ada@example.org")
scored[-1].groupby("region").risk.mean()
"""


def opened(open_page: Callable[..., LabPage], cells: list[str]) -> LabPage:
    """Open a notebook as wide as a README."""
    lab = open_page(width=1000, height=1400, scale=2.0)
    lab.open(cells)
    lab.evaluate("() => jupyterapp.shell.collapseLeft()")
    lab.run_to_end(1)
    return lab


def test_durable_cell(open_page: Callable[..., LabPage]) -> None:
    """The kernel is restarted in the third step; the next one replays two."""
    lab = opened(open_page, [FLIGHTS, DELAYS])
    lab.run(2)
    lab.wait_for((lab.folder / "begun").exists, "the third step")
    lab.restart_kernel_from_menu()
    (lab.folder / "go on").touch()
    lab.run_to_end(1)
    lab.run_to_end(2)
    steps = ("load flights", "fetch weather", "find knock-on")
    assert [lab.row(2, step).get_attribute("data-state") for step in steps] == ["replayed", "replayed", "done"]
    photograph(lab, 2, "durable-cell")


def test_edited_cell(open_page: Callable[..., LabPage]) -> None:
    """`clean` is edited and the loop has one year more: four steps replay, two run."""
    lab = opened(open_page, [EDITED.format(how="dropna()"), CHURN.format(years="(2024, 2025)")])
    lab.run_to_end(2)
    lab.set_source(1, EDITED.format(how='fillna({"region": "?"})').strip())
    lab.run_to_end(1)
    lab.set_source(2, CHURN.format(years="(2023, 2024, 2025)").strip())
    lab.run_to_end(2)
    expect(lab.panel(2).locator(".nbd-summary")).to_contain_text("4 replayed")
    photograph(lab, 2, "edited-cell")
