"""Errors of a ``%%durable`` cell: the user's own text and line, none of our frames, and a reply that says error."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel

OURS = ("notebook_durable/", "__notebook_durable_cell__")


def assert_none_of_ours(*texts: str) -> None:
    for text in texts:
        for mark in OURS:
            assert mark not in text, text


FAILING = """%%durable {name}
def half(x):
    return x / 0    # the line

value = ctx.run("half", half, 1)"""


def test_traceback_shows_cell_and_function_only(live, name):
    """The user's lines, the right numbers, and nothing of ours: displayed, in the reply, and in %tb afterwards."""
    ran = live.run(FAILING.format(name=name))
    assert ran.error == "ZeroDivisionError: division by zero"
    for text in (ran.traceback, ran.shown_traceback, live.run("%tb").shown_traceback):
        assert_none_of_ours(text)
        assert text.count("Cell In[") == 2, text
        assert "----> 3     return x / 0" in text
        assert '----> 5 value = ctx.run("half", half, 1)' in text


def test_the_same_in_an_async_cell(live, name):
    """Async steps, alone and in a gather."""
    live.run("async def fails(x):\n    return x / 0")
    for number, call in enumerate(("await ctx.run('s', fails, 1)", "await asyncio.gather(ctx.run('s', fails, 1))")):
        ran = live.run(f"%%durable {name}{number}\n{call}")
        assert ran.error == "ZeroDivisionError: division by zero"
        assert_none_of_ours(ran.traceback)
        assert "return x / 0" in ran.traceback
        assert f"----> 2 {call}" in ran.traceback


def test_an_async_function_in_a_sync_cell(live, name):
    """The nested loop doesn't show either."""
    live.run("async def fails(x):\n    await asyncio.sleep(0)\n    return x / 0")
    ran = live.run(f"%%durable {name}\nctx.run('s', fails, 1)")
    assert ran.error == "ZeroDivisionError: division by zero"
    assert_none_of_ours(ran.traceback)
    for library in ("nest_asyncio", "asyncio/"):
        assert library not in ran.traceback


def test_causes_and_contexts_are_clean_too(live, name):
    """The cause of a TerminalError, and errors raised while handling others."""
    ran = live.run(
        f"%%durable {name}\ndef bad():\n    raise ConnectionError('down')\n\n"
        "ctx.run('s', bad, max_attempts=2, initial_retry_interval=0)"
    )
    assert ran.error.startswith("TerminalError: step 's' gave up after 2 attempts")
    assert "ConnectionError: down" in ran.traceback
    assert "----> 3     raise ConnectionError('down')" in ran.traceback
    assert_none_of_ours(ran.traceback)
    ran = live.run(
        f"%%durable {name}2\ntry:\n    ctx.run('s', bad, max_attempts=1)\nexcept Exception as error:\n    1 / 0"
    )
    assert_none_of_ours(ran.traceback)
    assert "----> 5     1 / 0" in ran.traceback


def test_exception_groups_are_clean_too(live, name):
    """IPython prints groups by Python's own means; the members' tracebacks are clean there as well."""
    live.run("async def fails(x):\n    return x / 0")
    ran = live.run(
        f"%%durable {name}\nasync with asyncio.TaskGroup() as group:\n    group.create_task(ctx.run('s', fails, 1))"
    )
    assert ran.status == "error"
    text = ran.stream("stderr")
    assert "ZeroDivisionError" in text
    assert "return x / 0" in text
    assert_none_of_ours(text)


def test_an_error_of_the_cells_own_code(live, name):
    """It is shown as in any cell; the failing line is the user's."""
    ran = live.run(f"%%durable {name}\na = ctx.run('s', int)\n\nb = a + 'x'")
    assert ran.error.startswith("TypeError")
    assert "----> 4 b = a + 'x'" in ran.traceback
    assert_none_of_ours(ran.traceback)


def test_errors_that_we_raise_end_at_the_users_line(live, name):
    """A wrong use of ctx is shown at the call, not inside of us."""
    ran = live.run(f"%%durable {name}\nctx.run('s', 5)")
    assert ran.error.startswith("ConfigurationError")
    assert "----> 2 ctx.run('s', 5)" in ran.traceback
    assert_none_of_ours(ran.traceback)


def test_everything_can_be_seen(start_this_kernel, name):
    """NOTEBOOK_DURABLE_FULL_TRACEBACK shows our frames, for a bug of ours."""
    kernel = start_this_kernel(NOTEBOOK_DURABLE_FULL_TRACEBACK="1")
    kernel.run("%load_ext notebook_durable")
    assert "notebook_durable/engine" in kernel.run(FAILING.format(name=name)).traceback


def test_syntax_errors(live, name):
    """The line is the user's, and nothing of ours runs: there is no run afterwards."""
    ran = live.run(f"%%durable {name}\nx = 1\nif x\n    pass")
    assert ran.error.startswith("SyntaxError")
    assert "line 3" in ran.traceback
    assert "if x" in ran.traceback
    assert name not in str(live.run("%durable").messages)
    ran = live.run(f"%%durable {name}\nif True:\n    a = 1\n  b = 2")
    assert ran.reply["ename"] == "IndentationError"
    assert "line 4" in ran.error


def test_postmortem(live, name):
    """The debugger's stack has the same frames: sys.last_traceback is what was shown."""
    live.run(FAILING.format(name=name))
    frames = live.value("import sys, traceback\n[f.name for f in traceback.extract_tb(sys.last_traceback)][-2:]")
    assert frames == "['<module>', 'half']"


def test_a_handler_of_the_users_stays(live, name):
    """Somebody else's custom exception handler gets the error, and is in place again afterwards."""
    live.run(
        "def mine(shell, kind, error, tb, tb_offset=None):\n    print('mine:', kind.__name__)\n"
        "get_ipython().set_custom_exc((ValueError,), mine)"
    )
    try:
        ran = live.run(f"%%durable {name}\nctx.run('s', int, 'x', fatal=ValueError)")
        assert ran.stream() == "mine: ValueError\n"
        assert live.run("raise ValueError").stream() == "mine: ValueError\n"
    finally:
        live.run("get_ipython().set_custom_exc((), None)")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("churn --bad", "unrecognized arguments: --bad"),
        ("churn extra", 'one name at most, not 2: put it in quotes: %%durable "churn extra"'),
        ('""', "a workflow's name must not be empty"),
        ('" "', "a workflow's name must not be empty"),
        ('churn --key ""', "a key must not be empty"),
        ("churn --key", "expected one argument"),
        ("churn --key 'x", "no closing quotation"),
        ("{undefined_variable}", "{undefined_variable} in a workflow's name could not be filled in"),
        ("churn --key {undefined_variable}", "{undefined_variable} in a key could not be filled in"),
        ("'a\x1bb'", "must not contain line breaks or control characters"),
        ("x" * 201, "has 201 characters; 200 is the most"),
    ],
)
def test_bad_options(live, line, said):
    """A clear error before anything runs, shown as a normal error of the cell, at its first line."""
    ran = live.run(f"%%durable {line}\nprint('ran')")
    assert ran.error.startswith("ConfigurationError")
    assert said in ran.error
    assert ran.stream() == ""
    assert "----> 1 %%durable" in ran.traceback
    assert_none_of_ours(ran.traceback)


def test_an_error_in_the_store(live, name, tmp_path):
    """A journal that can't be opened is a normal error of the cell, and leaves nothing behind."""
    (tmp_path / "file").write_text("not a folder")
    live.run(f"%config Durable.store = {str(tmp_path / 'file')!r}")
    try:
        ran = live.run(f"%%durable {name}\nprint('ran')")
        assert ran.status == "error"
        assert str(tmp_path / "file") in ran.error
        assert ran.stream() == ""
        assert_none_of_ours(ran.traceback)
    finally:
        live.run("%config Durable.store = None")
    state = (
        "import signal\nsignal.getsignal(signal.SIGINT) is signal.default_int_handler, get_ipython().custom_exceptions"
    )
    assert live.value(state) == "(True, ())"
    assert live.run(f"%%durable {name}\n3").result == "3"
