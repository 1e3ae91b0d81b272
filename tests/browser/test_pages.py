"""What is left when the page or the kernel goes, what nbconvert makes of it; dark theme and narrow windows."""

from __future__ import annotations

from collections.abc import Callable

from browser.lab_page import LabPage, expect
from browser.notebooks import NOTE, read_outputs

CELL = """
%%durable weather
orders = await ctx.run("load orders", lambda: [3, 4, 5])
weather = await ctx.run("fetch", fetch, max_attempts=3, initial_retry_interval=HOUR, max_retry_interval=HOUR)
weather["degrees"]
"""


def finished(lab: LabPage) -> None:
    """Run the cell to its end, with one click on *retry now*."""
    lab.open([NOTE, CELL])
    lab.run_to_end(1)
    lab.run(2)
    lab.press(2, "fetch", "retry")
    lab.wait_done(2)


def test_reload_after_the_end(lab: LabPage) -> None:
    """The saved notebook holds a picture of the end, which is there when it is opened again without its kernel."""
    finished(lab)
    lab.save()
    shown = [
        output for output in read_outputs(lab.path, 2) if "nbd-panel" in "".join(output["data"].get("text/html", ""))
    ]
    assert len(shown) == 1
    assert set(shown[0]["data"]) == {"text/html", "text/plain"}
    lab.server.end_kernels()
    lab.reload()
    expect(lab.panel(2)).to_have_attribute("data-outcome", "completed")
    expect(lab.row(2, "fetch")).to_have_attribute("data-state", "done")
    expect(lab.row(2, "load orders")).to_be_visible()
    expect(lab.panel(2).locator("button")).to_have_count(0)


def test_reload_while_the_cell_runs(lab: LabPage) -> None:
    """A page that is loaded again in the middle has the panel, its buttons work, and it shows how the cell ended."""
    lab.open([NOTE, CELL])
    lab.run_to_end(1)
    lab.run(2)
    expect(lab.row(2, "fetch").locator('button[data-action="retry"]')).to_be_enabled()
    lab.save()
    lab.reload()
    row = lab.row(2, "fetch")
    expect(row).to_have_attribute("data-state", "waiting")
    lab.press(2, "fetch", "retry")
    lab.wait_for(lambda: lab.notes() == ["fetch Oslo"] * 2, "the second attempt")
    expect(row).to_have_attribute("data-state", "done")
    expect(lab.panel(2)).to_have_attribute("data-outcome", "completed")
    lab.screenshot("reloaded")


def test_nbconvert(lab: LabPage) -> None:
    """The HTML that nbconvert makes of the saved notebook shows the rows, and runs nothing of ours."""
    finished(lab)
    lab.save()
    lab.python("-m", "nbconvert", "--to", "html", "--output", "page.html", str(lab.path))
    page = lab.page.context.new_page()
    lab.watch(page)
    page.goto((lab.folder / "page.html").as_uri(), wait_until="domcontentloaded")
    panel = page.locator('.nbd-panel[data-run="weather"]')
    expect(panel).to_have_count(1)
    expect(panel).to_have_attribute("data-outcome", "completed")
    expect(panel.locator('.nbd-row[data-step="fetch"] .nbd-state')).to_have_text("done")
    expect(panel.locator('.nbd-row[data-step="load orders"]')).to_be_visible()
    lab.screenshot("nbconvert", panel)


def test_dark_and_narrow(open_page: Callable[..., LabPage]) -> None:
    """Panel and explorer in the dark theme, and in a window as wide as a phone: readable, nothing sticks out."""
    lab = open_page(width=420, height=900)
    lab.open([NOTE, CELL, "%durable"])
    lab.evaluate("() => jupyterapp.shell.collapseLeft()")
    lab.run_to_end(1)
    lab.run(2)
    row = lab.row(2, "fetch")
    expect(row.locator('button[data-action="retry"]')).to_be_enabled()
    row.scroll_into_view_if_needed()
    lab.screenshot("narrow-panel")
    assert fits(lab, ".nbd-panel")
    lab.set_theme(dark=True)
    lab.page.set_viewport_size({"width": 1100, "height": 900})
    lab.screenshot("dark-panel")
    assert contrast(lab, ".nbd-panel .nbd-name") > 4.5
    assert contrast(lab, ".nbd-panel .nbd-error") > 4.5
    lab.press(2, "fetch", "retry")
    lab.wait_done(2)
    assert contrast(lab, ".nbd-panel .nbd-name") > 4.5
    lab.run_to_end(3)
    explorer = lab.output(3).locator(".nbd-explorer")
    explorer.locator('.nbd-run[data-run="weather"]').click()
    explorer.locator('.nbd-step[data-step="fetch"]').click()
    expect(explorer.locator(".nbd-attempt").first).to_contain_text("ConnectionError")
    assert contrast(lab, ".nbd-explorer .nbd-title") > 4.5
    lab.screenshot("dark-explorer")
    lab.page.set_viewport_size({"width": 420, "height": 900})
    lab.set_theme(dark=False)
    lab.screenshot("narrow-explorer")
    assert fits(lab, ".nbd-explorer")


def fits(lab: LabPage, selector: str) -> bool:
    """Tell whether something is no wider than the output that it is in, and its buttons lie inside of it."""
    script = """selector => {
        const root = document.querySelector(selector);
        const right = root.closest('.jp-OutputArea').getBoundingClientRect().right + 1;
        const shown = [root, ...root.querySelectorAll('button')].filter(node => node.offsetParent);
        return shown.every(node => node.getBoundingClientRect().right <= right);
    }"""
    return bool(lab.evaluate(script, selector))


def contrast(lab: LabPage, selector: str) -> float:
    """Measure the contrast (WCAG) of a text to what is painted behind it."""
    script = """selector => {
        const node = document.querySelector(selector);
        const parse = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
            .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
        let behind = node;
        while (behind && (parse(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
        const two = [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor].map(parse).map(light);
        return (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
    }"""
    return float(lab.evaluate(script, selector))
