"""Names, values, errors and outputs are data: HTML in them is shown, never run."""

from __future__ import annotations

from browser.lab_page import LabPage, expect, quoted

EVIL = """<img src=x onerror="window.__pwned=1"><script>window.__pwned=1</script>"""

CELL = f"""
%%durable hostile
import pandas as pd
EVIL = {EVIL!r}
HOUR = 3600.0
failed = []
def bad():
    print({EVIL!r})
    failed.append(1)
    if len(failed) == 1:
        raise ValueError(EVIL)
    return pd.DataFrame({{EVIL: [EVIL, EVIL]}}, index=[EVIL, "b"])
await ctx.run(EVIL, bad, initial_retry_interval=HOUR, max_retry_interval=HOUR, ignore=["failed"])
await ctx.run("text", lambda: EVIL)
await ctx.run("dict", lambda: {{EVIL: [EVIL, {{1, 2}}]}})
await ctx.promise(f"ask {{EVIL}}", choices=[EVIL, "no"])
await ctx.promise("form", form={{EVIL: EVIL, "pick": [EVIL, "b"]}}, question=EVIL)
await ctx.run("final", lambda: 1 / 0, max_attempts=1)
"""

DISPLAY = """
%%durable shows
from IPython.display import HTML, display
page = "<b>bold</b><img src=x onerror='window.__pwned = (window.__pwned || 0) + 1'>"
ctx.run("shows", lambda: display(HTML(page)) or 1)
"""


def unharmed(lab: LabPage) -> None:
    """Nothing of it was run, and no element was made of it."""
    assert lab.evaluate("() => window.__pwned") is None
    assert lab.page.locator('.nbd-panel img[src="x"], .nbd-explorer img[src="x"], .nbd-panel script').count() == 0


def test_panel_and_picture(lab: LabPage) -> None:
    """The live panel, its questions and tracebacks, and the picture that is left, show HTML as text."""
    lab.open([CELL])
    lab.run(1)
    row = lab.row(1, EVIL)
    expect(row.locator(".nbd-name")).to_have_text(EVIL)
    expect(row.locator(".nbd-error")).to_contain_text("<img src=x onerror=")
    lab.press(1, EVIL, "traceback")
    expect(row.locator("pre.nbd-traceback")).to_contain_text("<img src=x onerror=")
    unharmed(lab)
    lab.screenshot("hostile-panel")
    lab.press(1, EVIL, "retry")
    asked = lab.row(1, f"ask {EVIL}")
    expect(asked.locator("button[data-answer]").first).to_have_text(EVIL)
    unharmed(lab)
    asked.locator("button[data-answer]").first.click()
    form = lab.row(1, "form")
    expect(form.locator(".nbd-ask")).to_contain_text("<img src=x onerror=")
    expect(form.locator(f"[name={quoted(EVIL)}]")).to_have_value(EVIL)
    form.locator("button[type=submit]").click()
    lab.wait_done(1, error="ZeroDivisionError")
    expect(lab.row(1, EVIL)).to_have_attribute("data-state", "done")
    expect(lab.row(1, EVIL).locator(".nbd-name")).to_contain_text("<img src=x")
    unharmed(lab)
    lab.save()
    lab.reload()
    expect(lab.row(1, EVIL)).to_be_visible()
    unharmed(lab)
    lab.python("-m", "nbconvert", "--to", "html", "--output", "page.html", str(lab.path))
    lab.page.goto((lab.folder / "page.html").as_uri(), wait_until="domcontentloaded")
    expect(lab.page.locator(".nbd-panel .nbd-row").first).to_be_visible()
    unharmed(lab)


def test_explorer(lab: LabPage) -> None:
    """The explorer shows hostile names, previews, errors and outputs as text; HTML that was displayed runs nothing."""
    lab.open([CELL, DISPLAY, "%durable"])
    lab.run(1)
    lab.press(1, EVIL, "retry")
    lab.row(1, f"ask {EVIL}").locator("button[data-answer]").first.click()
    lab.row(1, "form").locator("button[type=submit]").click()
    lab.wait_done(1, error="ZeroDivisionError")
    lab.run_to_end(2)
    lab.page.wait_for_function("() => window.__pwned === 1")  # shown live, it is the user's own HTML, as always
    lab.evaluate("() => { delete window.__pwned; }")
    lab.run_to_end(3)
    explorer = lab.output(3).locator(".nbd-explorer")
    explorer.locator('.nbd-run[data-run="hostile"]').click()
    for step, shown in [
        (EVIL, [".nbd-preview", ".nbd-outputs", ".nbd-attempt .nbd-error", ".nbd-title", ".nbd-source"]),
        ("text", [".nbd-preview"]),
        ("dict", [".nbd-preview"]),
        (f"ask {EVIL}", [".nbd-title"]),
        ("final", [".nbd-source"]),
    ]:
        explorer.locator(f".nbd-step[data-step={quoted(step)}]").click()
        expect(explorer.locator(".nbd-detail .nbd-title")).to_have_text(step)
        for part in shown:
            expected = "1 / 0" if step == "final" else "onerror"
            expect(explorer.locator(f".nbd-detail {part}").first).to_contain_text(expected)
        for closed in explorer.locator(".nbd-detail details:not([open]) > summary").all():
            closed.click()
        unharmed(lab)
    lab.screenshot("hostile-explorer")
    lab.expected += ["Blocked script execution in 'about:srcdoc'", "violates the following Content Security Policy"]
    explorer.locator('button[data-action="runs"]').click()
    explorer.locator('.nbd-run[data-run="shows"]').click()
    explorer.locator('.nbd-step[data-step="shows"]').click()
    frame = explorer.locator(".nbd-outputs iframe")
    expect(frame.content_frame.locator("b")).to_have_text("bold")
    assert frame.get_attribute("sandbox") == ""
    unharmed(lab)
