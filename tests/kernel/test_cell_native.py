"""The body of a ``%%durable`` cell runs as a native cell: everything works as in an undecorated one."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel


def test_last_expression_is_displayed_and_kept(live, name):
    """The last expression is displayed, and is in Out[n] and _."""
    assert live.run(f"%%durable {name}\nx = 41\nx + 1").result == "42"
    number = live.value("len(In) - 2")
    assert live.value(f"Out[{number}]") == "42"
    live.run(f"%%durable {name}\n[1, 2]")
    assert live.value("_") == "[1, 2]"


def test_semicolon_suppresses(live, name):
    """A closing ; suppresses the display."""
    ran = live.run(f"%%durable {name}\n1 + 1;")
    assert ran.status == "ok"
    assert ran.result is None


def test_variables_are_the_users(live, name):
    """What the body assigns is in the user's namespace, and so is ctx."""
    live.run(f"%%durable {name}\nhere = [n * n for n in range(3)]\ndef twice(x):\n    return 2 * x")
    assert live.value("here, twice(4), type(ctx).__name__") == "([0, 1, 4], 8, 'Context')"


@pytest.mark.parametrize(
    ("label", "cell", "expected"),
    [
        ("line magic", "%%durable {}\nold = %pwd\nold == os.getcwd()", "True"),
        ("line magic alone", "%%durable {}\n%time kept = 5\nkept", "5"),
        ("shell", "%%durable {}\nfound = !echo héllo\nfound[0]", "'héllo'"),
        ("shell in two lines", "%%durable {}\nfound = !echo one \\\n  two\nfound[0]", "'one two'"),
        ("non-ASCII", "%%durable {}-äöü-名前\nπ = '→ ünï'\nπ", "'→ ünï'"),
        ("quoted name", '%%durable "{} with blanks"\nctx.run_id.workflow.endswith("with blanks")', "True"),
        ("blank lines above", "\n\n  \n%%durable {}\n7", "7"),
        ("blank lines below", "%%durable {}\n\n\n7", "7"),
        ("indented body", "%%durable {}\n    a = 1\n    if a:\n        a += 1\n    a", "2"),
        ("indented cell", "    %%durable {}\n    a = 3\n    a", "3"),
        ("tabs", "%%durable {}\nif True:\n\ta = 4\na", "4"),
        ("CRLF", "%%durable {}\r\na = 5\r\na\r\n", "5"),
        ("prompts", ">>> %%durable {}\n>>> a = 6\n>>> a", "6"),
        ("line continuation", "%%durable {}\na = 1 + \\\n    7\na", "8"),
        ("empty", "%%durable {}", None),
        ("blank line only", "%%durable {}\n\n", None),
        ("comment only", "%%durable {}\n# nothing", None),
        ("future import", "%%durable {}\nfrom __future__ import annotations\ndef f(x: nowhere): return 1\nf(0)", "1"),
        ("comprehension", "%%durable {}\n[ctx.run('s', lambda: n * 2) for n in range(3)]", "[0, 2, 4]"),
        ("nested function", "%%durable {}\ndef f(n):\n    return ctx.run('f', lambda: n + 1)\nf(1) + f(2)", "5"),
        ("percent in text", "%%durable {}\n'%%durable ' + 'x'", "'%%durable x'"),
        ("trailing blanks", "%%durable {}   \t \n9", "9"),
    ],
)
def test_what_works_in_any_cell(live, name, label, cell, expected):
    """Each form that an undecorated cell may take works below %%durable."""
    ran = live.run(cell.replace("{}", name))
    assert ran.status == "ok", ran.traceback
    assert ran.result == expected


def test_await_gives_an_async_context(live, name):
    """A top-level await makes ctx an AsyncContext; async for, async with and async comprehensions count too."""
    bodies = [
        "await asyncio.sleep(0)",
        "async def numbers():\n    yield 1\nasync for n in numbers(): pass",
        "async with asyncio.timeout(5): pass",
        "async def numbers():\n    yield 1\n[n async for n in numbers()]",
    ]
    for body in bodies:
        ran = live.run(f"%%durable {name}\n{body}\ntype(ctx).__name__")
        assert ran.result == "'AsyncContext'", ran.traceback
    inner = "async def f():\n    await asyncio.sleep(0)\ntype(ctx).__name__"
    assert live.run(f"%%durable {name}\n{inner}").result == "'Context'"


def test_gather_and_task_groups(live, name):
    """asyncio.gather and TaskGroup over ctx.run work, side by side."""
    cell = f"""%%durable {name}
met = asyncio.Barrier(2)
async def meet(x):
    await met.wait()
    return x
pair = await asyncio.gather(ctx.run("a", meet, 1), ctx.run("b", meet, 2))
async with asyncio.TaskGroup() as group:
    tasks = [group.create_task(ctx.run(n, meet, n)) for n in "cd"]
pair, [t.result() for t in tasks]"""
    assert live.run(cell).result == "([1, 2], ['c', 'd'])"


def test_sync_and_async_functions_in_both(live, name):
    """fn may be sync or async in both kinds of cell."""
    live.run("async def later(x):\n    await asyncio.sleep(0)\n    return x\ndef now(x): return x")
    assert live.run(f"%%durable {name}\nctx.run('a', later, 1), ctx.run('b', now, 2)").result == "(1, 2)"
    assert live.run(f"%%durable {name}2\n(await ctx.run('a', later, 1), await ctx.run('b', now, 2))").result == "(1, 2)"


def test_a_step_that_is_not_awaited(live, name):
    """It is an error at the end of the cell that names the step; the reply is an error too."""
    ran = live.run(f"%%durable {name}\nforgotten = ctx.run('load it', int)\nawait asyncio.sleep(0)\nprint('went on')")
    assert ran.stream() == "went on\n"
    assert ran.error.startswith("UnawaitedStepError: step 'load it' was not awaited")
    assert "await ctx.run('load it', ...)" in ran.shown_traceback


def test_ctx_after_its_cell_and_inside_a_step(live, name):
    """Both raise at once, with the way out in the message."""
    live.run(f"%%durable {name}\n1")
    late = live.run("ctx.run('late', int)")
    assert late.error.startswith("ContextClosedError")
    assert "%%durable" in late.error
    inside = live.run(f"%%durable {name}\nctx.run('outer', lambda: ctx.run('inner', int))")
    assert inside.error.startswith("NestedContextError")
    assert "inside step 'outer'" in inside.error


def test_magics_stacked_below(live, name):
    """A %%magic below %%durable gets the rest of the cell as its body."""
    ran = live.run(f"%%durable {name}\n%%time\nctx.run('x', int, '3')")
    assert ran.result == "3", ran.traceback
    assert "Wall time" in ran.stream()
    assert live.run(f"%%durable {name}2\n%%bash\necho from bash").stream() == "from bash\n"


def test_magics_above(live, name):
    """%%time and %%capture above %%durable work, %%time with await as well."""
    ran = live.run(f"%%time\n%%durable {name}\nctx.run('x', int, '3')")
    assert ran.result == "3", ran.traceback
    assert "Wall time" in ran.stream()
    ran = live.run(f"%%time\n\n%%durable {name}2\nawait ctx.run('x', int, '4')")
    assert ran.result == "4", ran.traceback
    assert "Wall time" in ran.stream()
    ran = live.run(f"%%capture caught\n%%durable {name}3\nprint('seen')\nctx.run('x', int, '5')")
    assert (ran.status, ran.stream(), ran.result, ran.panels) == ("ok", "", None, [])
    shown = live.run("caught.show()")
    assert shown.stream() == "seen\n"
    assert len(shown.panels) == 1
    assert "1 run" in shown.panels[0]
    assert live.run("ctx").result.startswith("<Context of")


def test_await_below_a_stacked_magic(live, name):
    """IPython compiles such a body without await: the error says what to type instead."""
    ran = live.run(f"%%durable {name}\n%%time\nawait ctx.run('x', int)")
    assert ran.error.startswith("ConfigurationError")
    assert "Put `%%time` above `%%durable`" in ran.error
    ran = live.run(f"%%durable {name}\n%%capture\nawait ctx.run('x', int)")
    assert "`await` can't be used below %%capture" in ran.error


def test_cells_in_cells(live, name):
    """A magic that runs cells inside, empty ones included, doesn't end the cell that it is in."""
    live.run("def inner(code):\n    get_ipython().run_cell(code)")
    ran = live.run(f"%%durable {name}\ninner('1')\ninner('')\ninner('  ')\nctx.run('x', int, '6')")
    assert ran.result == "6", ran.traceback
    ran = live.run(f"%%durable {name}\ninner('%%durable {name}-in\\nctx.run(1 * \"y\", int)')\nctx.run_id.workflow")
    assert ran.result == f"'{name}-in'", ran.traceback  # as with any variable, the inner cell's ctx is the last
    states = live.run("%durable").messages
    assert "running" not in str(states)


def test_a_magic_that_runs_the_same_cell(live, name):
    """The same run opened inside itself is an error, and the outer cell is whole."""
    live.run(f"%%durable {name}\nget_ipython().run_cell('%%durable {name}\\n1')\nmine = ctx.run('x', int, '1')")
    assert (
        "RunOpenError"
        in live.run(
            f"%%durable {name}\nr = get_ipython().run_cell('%%durable {name}\\n1')\ntype(r.error_in_exec).__name__"
        ).result
    )


def test_the_registered_magic(live, name):
    """Through run_cell_magic (a script, another magic) the body runs the same way; errors are shown once."""
    ran = live.run(f"get_ipython().run_cell_magic('durable', '{name}', 'a = ctx.run(\"x\", int, \"8\")\\na\\n')")
    assert ran.result == "8", ran.traceback
    assert live.value("a") == "8"
    failed = live.run(f"get_ipython().run_cell_magic('durable', '{name}', '1/0\\n')")
    assert failed.error == "ZeroDivisionError: division by zero"
    assert len(failed.of("error")) == 1
    waits = live.run(f"get_ipython().run_cell_magic('durable', '{name}', 'await asyncio.sleep(0)\\n')")
    assert "Put %%durable on the first line of the cell" in waits.error


def test_python_can_still_read_the_cell(live, name):
    """inspect.getsource finds functions of the cell, and its source is Python with the user's first line in it."""
    live.run(f"%%durable {name}\nimport ast, inspect, linecache\ndef f():\n    return 2")
    assert live.value("inspect.getsource(f)") == r"'def f():\n    return 2\n'"
    lines = "linecache.getlines(f.__code__.co_filename)"
    assert live.value(f"{lines}[0], len(ast.parse(''.join({lines})).body)") == rf"('# %%durable {name}\n', 2)"
