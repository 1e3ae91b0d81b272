"""The commands of the history in real kernels: values, edits, questions."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel

CELL = """%%durable churn
def load():
    print("loading")
    return [1, 2, 3]
def score(rows, rate):
    return [row * rate for row in rows]
rows = ctx.run("load rows", load)
scored = ctx.run("score", score, rows, rate)
ctx.run("total", sum, scored)"""


@pytest.fixture
def kernel(start_this_kernel):
    kernel = start_this_kernel()
    kernel.run("%load_ext notebook_durable\nrate = 2")
    assert kernel.run(CELL).result == "12"
    return kernel


def shown(ran):
    assert ran.status == "ok", ran.error
    return "\n".join(content["data"]["text/plain"] for content in ran.of("display_data")) + ran.stream()


def test_load_after_a_restart(kernel, start_this_kernel):
    """The recorded value becomes a variable of a new kernel; nothing is run."""
    kernel.kill()
    kernel = start_this_kernel()
    kernel.run("%load_ext notebook_durable")
    ran = kernel.run("%durable load churn load rows")
    assert "load_rows: list, " in shown(ran)
    assert kernel.value("load_rows") == "[1, 2, 3]"
    shown(kernel.run("%durable load churn score --as result"))
    assert kernel.value("result") == "[2, 4, 6]"


def test_load_does_not_replace_a_function(kernel):
    """A step is often named after its function: that stays; --as decides."""
    error = kernel.run("%durable load churn score").error
    assert "'score' is a function here, and was not replaced" in error
    assert "--as VAR" in error
    assert kernel.value("callable(score)") == "True"
    shown(kernel.run("%durable load churn score --as score"))
    assert kernel.value("score") == "[2, 4, 6]"
    assert "not a variable's name" in kernel.run("%durable load churn total --as 1x").error


def test_an_edit_is_explained_and_its_old_value_is_kept(kernel):
    """why shows the function and the diff, history the versions; the old one is loaded, and the two are compared."""
    assert kernel.run(CELL.replace("row * rate", "row + rate")).result == "12"
    told = shown(kernel.run("%durable why churn"))
    assert "code of `score` changed" in told
    assert "-    return [row * rate for row in rows]" in told
    assert "+    return [row + rate for row in rows]" in told
    assert "replayed" in told
    assert "score   @2" in shown(kernel.run("%durable history churn")).replace("      @2", "   @2")
    shown(kernel.run("%durable load churn score@1 --as old"))
    assert kernel.value("old") == "[2, 4, 6]"
    compared = shown(kernel.run("%durable diff churn"))
    assert "2 of 3 elements differ" in compared
    kernel.run("rate = 3")
    kernel.run(CELL)
    assert "`rate`" in shown(kernel.run("%durable why churn score"))


def test_rewind_runs_that_step_again(kernel):
    """It and what came after; the ones before replay. The same code and inputs, and yet it runs."""
    assert "will not replay" in shown(kernel.run("%durable rewind churn --to score --yes"))
    ran = kernel.run(CELL)
    assert ran.result == "12"
    assert "1 replayed" in ran.panels[-1]
    told = shown(kernel.run("%durable why churn"))
    assert "asked for: rewound to score" in told
    shown(kernel.run("%durable rewind churn --to load rows --yes"))
    assert "loading" in kernel.run(CELL).stream()
    assert "3 replayed" in kernel.run(CELL).panels[-1]


def test_forget_asks(kernel):
    """Where nobody can answer it says what to type; an answer decides; then the step is gone."""
    ran = kernel.run("%durable forget churn score")
    assert "Type --yes" in ran.error
    assert "1 entry" in ran.of("display_data")[0]["data"]["text/plain"]
    for answer, expected in (("n", "nothing was done"), ("y", "deleted 1 entry")):
        assert expected in answered(kernel, "%durable forget churn score", answer)
    assert 'has no step "score"' in kernel.run("%durable load churn score --as x").error
    assert "2 replayed" in kernel.run(CELL).panels[-1]


def answered(kernel, code, answer):
    """Run a cell that asks one question, and answer it as a front end does; return what it printed."""
    printed = []

    def output(message):
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    def ask(message):
        assert "[y/N]" in message["content"]["prompt"]
        kernel.client.input(answer)

    reply = kernel.client.execute_interactive(code, allow_stdin=True, stdin_hook=ask, output_hook=output, timeout=60)
    assert reply["content"]["status"] == "ok"
    return "".join(printed)


def test_gc_and_dry_run(kernel):
    """A fresh run archives the old one; gc shows it, and deletes it when told to."""
    kernel.run(CELL.replace("churn", "churn --fresh", 1))
    assert "the run" in shown(kernel.run("%durable gc --keep-runs 0 --dry-run"))
    assert "churn (run 1, archived)" in shown(kernel.run("%durable history churn --run 1 ")) + shown(
        kernel.run("%durable show churn --run 1")
    )
    assert "deleted 3 entries" in shown(kernel.run("%durable gc --keep-runs 0 -y"))
    assert "has no run 1" in kernel.run("%durable show churn --run 1").error
    assert "Nothing to collect" in shown(kernel.run("%durable gc --keep-runs 0"))


def test_completion_of_the_new_commands(kernel):
    """Commands, names, steps and options."""

    def completed(text):
        return kernel.ask("complete", text, len(text))["matches"]

    assert "history" in completed("%durable hi")
    assert "rewind" in completed("%durable re")
    assert "churn" in completed("%durable why ch")
    assert "score" in completed("%durable why churn sc")
    assert "--older-than" in completed("%durable gc --o")
    assert "--as" in completed("%durable load churn --a")
    assert "score" in completed("%durable rewind churn --to sc")


def test_from_inside_its_own_cell(kernel):
    """A run that is executed here is not taken apart."""
    assert "already open in this kernel" in kernel.run("%%durable churn\n%durable forget churn --yes").error
    assert "already open in this kernel" in kernel.run("%%durable churn\n%durable rewind churn --to score --yes").error
