"""A loop of 10,000 steps: the page stays usable, and never holds them all."""

from __future__ import annotations

import pytest
from browser.lab_page import LabPage, expect

STEPS = 10_000
LOOP = """
%%durable many
total = 0
for number in range(STEPS):
    total += ctx.run(f"item {number % 7}", abs, number)
total
""".replace("STEPS", str(STEPS))
#: How long a keystroke may take to show, in milliseconds: what a person calls stuck.
STUCK = 2_000

# Count the rows in the document while it runs.
WATCH = """() => {
    window.nbdMost = 0;
    const look = () => {
        window.nbdMost = Math.max(window.nbdMost, document.querySelectorAll('.nbd-row').length);
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""


@pytest.mark.timeout(240)
def test_ten_thousand_steps(lab: LabPage) -> None:
    """While they run another cell can be edited at once; the rows in the page are bounded; then all replay."""
    lab.open([LOOP, "print('here')"])
    lab.evaluate(WATCH)
    lab.run(1)
    expect(lab.panel(1).locator(".nbd-row").first).to_be_visible()
    for number in range(5):
        lab.editor(2).click(timeout=STUCK)
        lab.page.keyboard.type(f"# typed {number}\n")
        expect(lab.editor(2)).to_contain_text(f"typed {number}", timeout=STUCK)
    lab.wait_running(1)  # still: what was typed was typed while it ran
    lab.wait_done(1, timeout=100_000)
    expect(lab.output(1)).to_contain_text(str(sum(range(STEPS))))
    expect(lab.panel(1).locator(".nbd-summary")).to_contain_text(f"{STEPS:,} run")
    assert 0 < lab.evaluate("() => window.nbdMost") <= 200
    lab.screenshot("ten-thousand")
    lab.run(1)
    lab.wait_done(1, timeout=100_000)
    expect(lab.panel(1).locator(".nbd-summary")).to_contain_text(f"{STEPS:,} replayed")
    assert lab.evaluate("() => window.nbdMost") <= 200
