"""The lint in a real kernel: the line stands in the display output, with the line number that the user sees."""

from __future__ import annotations

import pytest

from notebook_durable.ipython.config import Durable

pytestmark = pytest.mark.kernel

SAYS = "changes on each replay; put it in a step"


def notes(ran):
    """The lines of the last state of the panel that are about the cell."""
    return [line.strip(" ⚑") for line in ran.panels[-1].splitlines() if "⚑" in line] if ran.panels else []


def test_the_line_is_in_the_display(live, name):
    """As text and as HTML, from the first state of the panel to the last, and the step runs as always."""
    ran = live.run(f"%%durable {name}\nfrom datetime import datetime\n\nctx.run('s', str, datetime.now())")
    assert ran.status == "ok"
    assert notes(ran) == [f"`datetime.now()` at line 4 {SAYS}"]
    assert ran.panels[0].splitlines()[0] == f"durable {name}: no steps"
    assert ran.panels[-1].splitlines()[0] == f"durable {name}: 1 run"
    shown = ran.of("display_data", "update_display_data")
    assert all(f"<code>datetime.now()</code> at line 4 {SAYS}" in one["data"]["text/html"] for one in shown)
    assert len(ran.of("display_data")) == 1


def test_a_clean_cell_has_none(live, name):
    """A cell whose clock is read in steps has a panel without such a line; one without steps has no panel."""
    ran = live.run(f"%%durable {name}\nctx.run('t', time.time)\nctx.run('u', lambda: time.time())")
    assert notes(ran) == []
    assert ran.panels[-1].splitlines()[0] == f"durable {name}: 2 run"
    assert live.run(f"%%durable {name}\n1").panels == []


def test_it_comes_before_the_cell_runs(live, name):
    """The line is there although the cell fails at its first statement, without any step."""
    ran = live.run(f"%%durable {name}\nopen('no such file')")
    assert ran.reply["ename"] == "FileNotFoundError"
    assert notes(ran) == ["`open()` at line 2 reads again on each replay; put it in a step"]
    kinds = [kind for kind, _ in ran.messages]
    assert kinds.index("display_data") < kinds.index("error")


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("\n\n%%durable {name}\n\ntime.time()", 5),
        ("%%durable {name}\n%cd -q \\\n .\n!true\ntime.time()", 5),
        ("%%durable {name}\n%%time\ntime.time()", 3),
        ("%%time\n%%durable {name}\ntime.time()", 3),
        ("%%time\n%%durable {name}\nawait asyncio.sleep(0)\ntime.time()", 4),
        ("%%durable {name}\nx = 1\n%time time.time()", 3),
        ("%%durable {name}\nawait asyncio.sleep(0)\ntime.time()", 3),
    ],
)
def test_lines_are_the_users(live, name, cell, line):
    """Below blank lines, magics and other cell magics, with await and without."""
    ran = live.run(cell.format(name=name))
    assert ran.status == "ok", ran.traceback
    assert notes(ran) == [f"`time.time()` at line {line} {SAYS}"]


def test_names_from_other_cells(live, name):
    """``datetime`` may be the module or the class; a function of the user's own is left alone."""
    live.run("import datetime\nfrom time import time as clock\ndef open_orders(): return 1\ndef read_csv(p): return p")
    ran = live.run(f"%%durable {name}\ndatetime.datetime.now()\nclock()\nopen_orders(), read_csv('a')")
    assert notes(ran) == [f"`datetime.datetime.now()` at line 2 {SAYS}", f"`clock()` at line 3 {SAYS}"]
    live.run("from datetime import datetime")
    assert notes(live.run(f"%%durable {name}\ndatetime.now()")) == [f"`datetime.now()` at line 2 {SAYS}"]


def test_silenced_by_a_comment(live, name):
    """The comment on the line silences that line only."""
    ran = live.run(f"%%durable {name}\ntime.time()  # durable: ok\ntime.time_ns()")
    assert notes(ran) == [f"`time.time_ns()` at line 3 {SAYS}"]


@pytest.mark.skipif(not hasattr(Durable, "lint"), reason="the setting isn't there yet")
def test_silenced_by_a_setting(live, name):
    """``%config Durable.lint = False`` silences it in this kernel, and True brings it back."""
    try:
        assert live.run("%config Durable.lint = False").stream("stderr") == ""
        assert live.run(f"%%durable {name}\ntime.time()").panels == []
    finally:
        live.run("%config Durable.lint = True")
    assert notes(live.run(f"%%durable {name}\ntime.time()")) == [f"`time.time()` at line 2 {SAYS}"]


def test_a_lint_that_fails(live, name):
    """Whatever goes wrong in it, the cell runs and nothing is said."""
    live.run(
        "from notebook_durable.ipython import lint\nreal = lint.look\n"
        "def broken(*args): raise RuntimeError('lint')\nlint.look = broken"
    )
    try:
        ran = live.run(f"%%durable {name}\nvalue = time.time() > 1\nctx.run('s', int)")
    finally:
        live.run("lint.look = real")
    assert ran.status == "ok"
    assert notes(ran) == []
    assert "lint" not in ran.stream("stderr") + ran.stream("stdout")
    assert live.value("value") == "True"
