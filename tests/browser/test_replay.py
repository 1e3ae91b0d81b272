"""A durable cell whose kernel is restarted from the menu: what comes back, and what it printed and showed."""

from __future__ import annotations

import re

from browser.lab_page import LabPage, expect
from browser.notebooks import NOTE

CHURN = """
%%durable churn
orders = ctx.run("load orders", lambda: note("load") and [3, 4, 5])
weather = ctx.run("fetch", fetch, max_attempts=3, initial_retry_interval=HOUR, max_retry_interval=HOUR)
total = ctx.run("score", sum, orders)
total
"""


def test_a_restart_in_the_middle_replays(lab: LabPage) -> None:
    """The kernel is restarted while a step waits: what was finished replays, the attempts count on."""
    lab.open([NOTE, CHURN])
    lab.run_to_end(1)
    lab.run(2)
    expect(lab.row(2, "fetch")).to_have_attribute("data-state", "waiting")
    lab.restart_kernel_from_menu()
    lab.run_to_end(1)
    lab.run_to_end(2)
    assert lab.notes() == ["load", "fetch Oslo", "fetch Oslo"]
    expect(lab.row(2, "load orders")).to_have_attribute("data-state", "replayed")
    expect(lab.row(2, "fetch")).to_have_attribute("data-state", "done")
    expect(lab.row(2, "fetch").locator(".nbd-attempts")).to_contain_text("2 of 3")
    expect(lab.panel(2).locator(".nbd-summary")).to_have_text(re.compile(r"1 replayed.*2 run"))
    lab.screenshot("replayed")
    lab.restart_kernel_from_menu()
    lab.run_to_end(1)
    lab.run_to_end(2)
    expect(lab.panel(2).locator(".nbd-row")).to_have_count(3)
    expect(lab.panel(2).locator('.nbd-row[data-state="replayed"]')).to_have_count(3)
    expect(lab.output(2)).to_contain_text("12")
    assert lab.notes() == ["load", "fetch Oslo", "fetch Oslo"]


def test_outputs_come_back(lab: LabPage) -> None:
    """What a step printed and the figure it showed are there again when it replays, below a line that says so."""
    lab.open(
        [
            NOTE,
            """
            %%durable figures
            def plot():
                import matplotlib.pyplot as plt
                note("plot")
                print("plotting 3 points")
                plt.plot([1, 3, 2])
                plt.show()
                return 3
            ctx.run("plot", plot)
            """,
        ]
    )
    lab.run_to_end(1)
    lab.run_to_end(2)
    picture = lab.output(2).locator("img")
    expect(picture).to_have_count(1)
    first = picture.get_attribute("src")
    assert first is not None
    assert first.startswith("data:image/png;base64,")
    expect(lab.output(2)).to_contain_text("plotting 3 points")
    expect(lab.output(2).locator(".nbd-recorded")).to_have_count(0)
    lab.restart_kernel_from_menu()
    lab.run_to_end(1)
    lab.run_to_end(2)
    expect(lab.output(2).locator(".nbd-recorded")).to_have_count(1)
    expect(lab.output(2)).to_contain_text("plotting 3 points")
    expect(picture).to_have_count(1)
    assert picture.get_attribute("src") == first
    assert picture.evaluate("image => image.complete && image.naturalWidth > 100")
    assert lab.notes() == ["plot"]
    lab.screenshot("outputs-come-back")
