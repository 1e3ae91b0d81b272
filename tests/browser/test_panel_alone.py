"""The panel's script by itself, in a page without JupyterLab: what the kernel says, and when, is in our hands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser.lab_page import expect

import notebook_durable
from notebook_durable.ipython.panel_row import Row
from notebook_durable.question import Question

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCRIPT = Path(notebook_durable.__file__).parent / "widgets" / "panel.js"
HEAD = {
    "run": "r", "outcome": "running", "since": 0, "ended": 0, "summary": "1 asking", "reached": 1, "recorded": 1,
    "more": 0, "folded": [], "notes": [], "clicks": True, "stopping": False,
}  # fmt: skip
# A model as anywidget gives it to the script; `say` is the kernel's voice, `sent` what it would have heard.
MODEL = """async ([source, snapshot]) => {
    const url = URL.createObjectURL(new Blob([source], {type: 'text/javascript'}));
    const hear = {};
    window.sent = [];
    window.say = message => hear['msg:custom'](message);
    const on = (event, act) => { hear[event] = act; };
    const model = {on, get: () => snapshot, send: what => window.sent.push(what)};
    const parts = (await import(url)).default();
    parts.initialize({model});
    parts.render({model, el: document.body});
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page with a panel in which a step asks for a text."""
    page = browser.new_page()
    row = Row(0, "segment", state="asking", question=Question("which?")).data()
    snapshot = {"kind": "rows", "head": HEAD, "rows": [row], "gone": [], "full": True}
    page.evaluate(MODEL, [SCRIPT.read_text(), snapshot])
    yield page
    page.close()


def say(page: Page, **message: Any) -> None:
    page.evaluate("message => say(message)", message)


def answers(page: Page) -> list[Any]:
    sent = page.evaluate("() => sent.filter(one => one.do === 'answer')")
    return [one["value"] for one in sent]


def enter(page: Page, text: str) -> None:
    field = page.locator('input[name="answer"]')
    field.fill(text)
    field.press("Enter")


def test_enter_before_the_kernel_was_heard(page: Page) -> None:
    """The answer is kept until the first pong, and then sent, once."""
    enter(page, "loyal")
    assert answers(page) == []
    say(page, kind="pong", id=1)
    assert answers(page) == ["loyal"]
    say(page, kind="pong", id=2)
    assert answers(page) == ["loyal"]


def test_enter_where_the_kernel_does_not_hear(page: Page) -> None:
    """When it is clear that no click arrives the row says so, and nothing is sent later, unasked."""
    enter(page, "loyal")
    expect(page.locator(".nbd-said")).to_contain_text("Not sent")
    enter(page, "again")
    say(page, kind="pong", id=99)
    assert answers(page) == []
    enter(page, "now")
    assert answers(page) == ["now"]


def test_no_full_bar_while_new_steps_run(page: Page) -> None:
    """Beyond what was recorded nobody knows how much is left: counts, and no bar."""
    progress = page.locator(".nbd-progress")
    expect(progress).to_have_text("1 of 1 recorded steps")
    expect(progress.locator(".nbd-bar")).to_have_js_property("hidden", False)
    say(page, kind="rows", head={**HEAD, "more": 2}, rows=[], gone=[])
    expect(progress).to_have_text("1 of 1 recorded steps, 2 more")
    expect(progress.locator(".nbd-bar")).to_have_js_property("hidden", True)


def test_signs_are_no_pictures(page: Page) -> None:
    """A sign that fonts have as a coloured picture too is followed by the mark that asks for text."""
    row = Row(0, "x", state="not storable").data()
    say(page, kind="rows", head=HEAD, rows=[row], gone=[])
    expect(page.locator(".nbd-row .nbd-icon")).to_have_text("⚠\ufe0e")
    assert "⏸" not in SCRIPT.read_text()
