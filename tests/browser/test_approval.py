"""A cell that waits for a person: answered by a click, by a form, and from a shell."""

from __future__ import annotations

from browser.lab_page import LabPage, expect
from browser.notebooks import NOTE

ASK = """
%%durable report
figures = ctx.run("figures", lambda: note("figures") and {"customers": 7})
answer = ctx.promise("publish?", choices=["yes", "no"])
ctx.run("publish", note, f"publish: {answer}")
answer
"""


def test_a_choice_is_clicked(lab: LabPage) -> None:
    """The question is shown with a button for each choice; the cell goes on with the answer, which replays."""
    lab.open([NOTE, ASK])
    lab.run_to_end(1)
    lab.run(2)
    row = lab.row(2, "publish?")
    expect(row).to_have_attribute("data-state", "asking")
    expect(row.locator(".nbd-ask")).to_contain_text("publish?")
    expect(row.locator("button[data-answer]")).to_have_text(["yes", "no"])
    assert lab.notes() == ["figures"]
    row.locator("button[data-answer='\"no\"']").click()
    lab.wait_done(2)
    assert lab.notes() == ["figures", "publish: no"]
    expect(lab.output(2)).to_contain_text("'no'")
    lab.restart_kernel_from_menu()
    lab.run_to_end(1)
    lab.run_to_end(2)
    expect(lab.panel(2).locator('.nbd-row[data-state="replayed"]')).to_have_count(3)
    assert lab.notes() == ["figures", "publish: no"]


def test_a_form_and_a_text(lab: LabPage) -> None:
    """Each field has an input that stands at its first value; the answer has its types. Without a form it is a text."""
    lab.open(
        [
            """
            %%durable refund
            answer = await ctx.promise("refund", form={"amount": 10.0, "to": ["me", "you"], "why": "late", "ok": False})
            print(sorted(answer.items()))
            """,
            """
            %%durable label
            print("segment:", ctx.promise("name of the segment"))
            """,
            "print('must not run')",
        ]
    )
    lab.run(1)
    form = lab.row(1, "refund").locator("form")
    expect(form.locator('[name="amount"]')).to_have_value("10")
    expect(form.locator('[name="why"]')).to_have_value("late")
    form.locator('[name="amount"]').fill("12.5")
    form.locator('[name="to"]').select_option(label="you")
    form.locator('[name="why"]').fill("")
    form.locator('[name="why"]').press_sequentially("dd lost 1")  # as a command, "d d" deletes the cell
    form.locator('[name="ok"]').check()
    lab.screenshot("form")
    form.locator("button[type=submit]").click()
    lab.wait_done(1)
    expect(lab.output(1)).to_contain_text("[('amount', 12.5), ('ok', True), ('to', 'you'), ('why', 'dd lost 1')]")
    lab.run(2)
    row = lab.row(2, "name of the segment")
    expect(row.locator("button[type=submit]")).to_be_enabled()
    row.locator('input[name="answer"]').fill("loyal")
    row.locator('input[name="answer"]').press("Enter")  # in a cell's text it would add a line
    lab.wait_done(2)
    expect(lab.output(2)).to_contain_text("segment: loyal")
    expect(lab.prompt(3)).to_contain_text("[ ]")


def test_enter_as_soon_as_the_question_is_there(lab: LabPage) -> None:
    """The panel may not have heard the kernel yet: the answer is kept until it has, and then sent."""
    lab.open(["%%durable label\nprint('segment:', ctx.promise('name of the segment'))"])
    lab.run(1)
    field = lab.row(1, "name of the segment").locator('input[name="answer"]')
    field.fill("loyal")
    field.press("Enter")
    lab.wait_done(1)
    expect(lab.output(1)).to_contain_text("segment: loyal")


def test_the_shell_answers(lab: LabPage) -> None:
    """``notebook-durable resolve`` in a shell answers while the cell waits."""
    lab.open([NOTE, ASK])
    lab.run_to_end(1)
    lab.run(2)
    expect(lab.row(2, "publish?")).to_have_attribute("data-state", "asking")
    lab.shell("resolve", "report", "publish?", "yes")
    lab.wait_done(2)
    assert lab.notes() == ["figures", "publish: yes"]
    expect(lab.row(2, "publish?")).to_have_attribute("data-state", "done")
