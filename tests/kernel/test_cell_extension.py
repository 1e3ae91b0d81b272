"""Loading, unloading, settings, help, completion and the ``%durable`` magic."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.kernel

STATE = """
def state():
    import builtins, signal, threading
    shell = get_ipython()
    return {
        "transformers": [str(t) for t in shell.input_transformers_cleanup + shell.input_transformers_post],
        "events": {name: len(callbacks) for name, callbacks in shell.events.callbacks.items()},
        "magics": sorted(m for kind in shell.magics_manager.magics.values() for m in kind if "durable" in m),
        "settings": [type(c).__name__ for c in shell.configurables if "Durable" in type(c).__name__],
        "completers": sorted(map(str, shell.strdispatchers["complete_command"].strs))
            if "complete_command" in shell.strdispatchers else [],
        "builtins": sorted(n for n in vars(builtins) if "durable" in n),
        "names": sorted(n for n in shell.user_ns if "durable" in n),
        "handler": shell.custom_exceptions,
        "signal": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "threads": sorted(t.name for t in threading.enumerate() if "durable" in t.name),
    }
"""


def test_unload_leaves_nothing(start_kernel):
    """Transformer, events, magics, settings, completion, handlers and threads are as before."""
    kernel = start_kernel()
    kernel.run(STATE + "import asyncio, time")
    kernel.run("before = state()")
    assert kernel.run("%load_ext notebook_durable").status == "ok"
    assert kernel.run("%%durable a\nctx.run('s', int)").status == "ok"
    assert kernel.run("%%durable b\nawait ctx.run('s', asyncio.sleep, 0)").status == "ok"
    assert kernel.run("%%durable c\n1/0").status == "error"
    assert kernel.value("before == state()") == "False"
    kernel.run("%unload_ext notebook_durable")
    assert kernel.value("{k: (v, state()[k]) for k, v in before.items() if v != state()[k]}") == "{}"
    ran = kernel.run("%%durable a\n1")
    assert "Cell magic `%%durable` not found" in ran.stream("stderr")


def test_loading_again(start_kernel):
    """%reload_ext works, a second %load_ext changes nothing, and everything is there once."""
    kernel = start_kernel()
    kernel.run(STATE)
    kernel.run("%load_ext notebook_durable")
    kernel.run("loaded = state()")
    kernel.run("%load_ext notebook_durable")
    assert kernel.value("loaded == state()") == "True"
    assert kernel.run("%reload_ext notebook_durable").status == "ok"
    assert kernel.value("loaded == state()") == "True"
    assert kernel.run("%%durable a\nctx.run('s', int, '4')").result == "4"


def test_unload_inside_a_cell(start_kernel):
    """A durable cell that unloads the extension ends there; the kernel is whole."""
    kernel = start_kernel()
    kernel.run("%load_ext notebook_durable\nimport pathlib")
    kernel.run(
        "%%durable a\nctx.run('s', lambda: pathlib.Path('calls').open('a').write('x'))\n%unload_ext notebook_durable"
    )
    assert kernel.run("import signal\nsignal.getsignal(signal.SIGINT) is signal.default_int_handler").result == "True"
    kernel.run("%load_ext notebook_durable")
    assert kernel.run("%%durable a\nctx.run('s', lambda: pathlib.Path('calls').open('a').write('x'))").result == "1"
    assert (kernel.folder / "calls").read_text() == "x"


def test_reset_keeps_it_working(start_kernel):
    """%reset empties the user's namespace, and %%durable works on."""
    kernel = start_kernel()
    kernel.run("%load_ext notebook_durable")
    kernel.run("%reset -f")
    assert kernel.run("%%durable a\nctx.run('s', int, '4')").result == "4"


def test_restarted_kernels_replay(start_this_kernel):
    """A new kernel in the same folder gives the recorded values back."""
    for expected in ("first", "first"):
        kernel = start_this_kernel()
        kernel.run("%load_ext notebook_durable")
        kernel.run(f"mark = '{expected}' if 'again' not in globals() else 'second'")
        assert kernel.run("%%durable a\nctx.run('s', lambda: mark)").result == "'first'"
        kernel.kill()


def test_config_applies_to_the_next_cell(live, name):
    """%config Durable.max_attempts bounds the steps of the cells that follow."""
    live.run("def bad(): raise OSError('no')")
    cell = f"%%durable {name}\nctx.run('s', bad, initial_retry_interval=0)"
    try:
        for bound in (2, 3):
            assert live.run(f"%config Durable.max_attempts = {bound}").status == "ok"
            assert f"gave up after {bound} attempts" in live.run(cell).error
    finally:
        live.run("%config Durable.max_attempts = None")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("max_attempts = 0", "Durable.max_attempts must be a whole number, 1 or more, or None"),
        ("max_attempts = 'many'", "Durable.max_attempts must be a whole number"),
        ("max_attempts = True", "Durable.max_attempts must be a whole number"),
        ("store = 5", "Durable.store must be a path, not int"),
        ("store = ''", "Durable.store must not be empty"),
        ("key_file = ' '", "Durable.key_file must not be empty"),
    ],
)
def test_bad_settings(live, name, setting, said):
    """A bad value is said at once, and stops the next durable cell until a good one is given: nothing runs with it."""
    assert said in live.run(f"%config Durable.{setting}").stream("stderr")
    ran = live.run(f"%%durable {name}\nprint('ran')")
    assert ran.error.startswith(f"ConfigurationError: {said}")
    assert ran.stream() == ""
    trait = setting.partition(" ")[0]
    assert f"%config Durable.{trait} = ..." in ran.error
    assert live.run(f"%config Durable.{trait} = None").stream("stderr") == ""
    assert live.run(f"%%durable {name}\n1").result == "1"


def test_store_setting(live, name, tmp_path):
    """%config Durable.store moves the journal."""
    live.run(f"%config Durable.store = {str(tmp_path / 'there')!r}")
    try:
        assert live.run(f"%%durable {name}\nctx.run('s', int)").status == "ok"
        assert (tmp_path / "there").is_dir()
    finally:
        live.run("%config Durable.store = None")


def test_help(live):
    """%%durable?, %%durable?? and %durable? show how they are used; %lsmagic lists both."""
    for typed in ("%%durable?", "%%durable??"):
        page = str(live.run(typed).reply["payload"])
        assert "%%durable NAME [--key KEY] [--fresh] [--strict]" in page, page
    assert "%durable outcome NAME [--key KEY] STEP" in str(live.run("%durable?").reply["payload"])
    listed = live.value("get_ipython().run_line_magic('lsmagic', '')")
    assert "%%durable" in listed


def completed(kernel, text: str) -> list[str]:
    matches: list[str] = kernel.ask("complete", text, len(text))["matches"]
    return matches


def test_completion(live, name):
    """The front end completes the magic, its options, the commands and the names of runs."""
    live.run(f"%%durable {name}\n1")
    assert "%%durable" in completed(live, "%%dura")
    assert "--strict" in completed(live, "%%durable x --s")
    assert "show" in completed(live, "%durable sh")
    assert name in completed(live, f"%durable show {name[:-3]}")
    assert name in completed(live, f"%%durable {name[:-3]}")


def test_check_complete(live):
    """A front end that asks whether a cell is complete is told what it is told of any cell magic; nothing runs."""
    assert live.ask("is_complete", "%%durable x")["status"] == "incomplete"
    assert live.ask("is_complete", "%%durable x\nprint('ran')")["status"] == "incomplete"
    assert live.ask("is_complete", "%%durable x\nprint('ran')\n\n")["status"] == "complete"


def test_runs_and_steps(live, name):
    """%durable lists the runs, %durable show the steps, as text and HTML."""
    live.run(f"%%durable {name} --key k1\nctx.run('load <b>', int)")
    listed = live.run("%durable").of("display_data")[0]["data"]
    assert f"{name}[k1]" in listed["text/plain"]
    assert "<table" in listed["text/html"]
    steps = live.run(f"%durable show {name} --key k1").of("display_data")[0]["data"]
    assert "load <b>" in steps["text/plain"]
    assert "load &lt;b&gt;" in steps["text/html"]
    live.run(f"which = '{name}'")
    assert live.run("%durable show {which} --key k1").status == "ok"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("frobnicate", "%durable has no command 'frobnicate'"),
        ("churn", "%%durable churn (with two %)"),
        ("show", "name the workflow. Type: %durable show NAME"),
        ("show nowhere_at_all", "there is no run 'nowhere_at_all'"),
        ("show x --bad", "unrecognized arguments: --bad"),
        ("share", "name the workflow"),
        ("moved x", "doesn't know its notebook's path"),
        ("outcome x", "name the workflow and the step"),
        ('outcome x "s"', "say one of --value EXPR (it happened) and --retry"),
        ('outcome x "s" --retry --value 1', "say one of --value EXPR"),
        ('outcome x "s" --value', "say one of --value EXPR"),
        ('outcome x "s" --value 1 +', "--value 1 +: not an expression"),
    ],
)
def test_bad_lines(live, name, line, said):
    """What can't be done is said, with what to type."""
    live.run(f"%%durable {name}\n1")
    assert said in live.run(f"%durable {line}").error


def test_no_journal_yet(start_this_kernel):
    """Looking creates no journal."""
    kernel = start_this_kernel()
    kernel.run("%load_ext notebook_durable")
    assert "there is no journal at" in kernel.run("%durable").error
    assert not (kernel.folder / ".durable").exists()


AT_MOST_ONCE = """%%durable pay me
def charge():
    open("charged", "a").write("x")
    open("reached", "w").close()
    while os.environ.get("BLOCK"): time.sleep(0.01)
    return 1
ctx.run("charge #1", charge, at_most_once=True)"""


@pytest.mark.parametrize(
    ("answer", "value", "charged"),
    [
        ('--value {"a": (1, "x --key y")}', "{'a': (1, 'x --key y')}", "x"),
        ("--value=three", "3", "x"),
        ("--retry", "1", "xx"),
    ],
)
def test_outcome(start_this_kernel, answer, value, charged, tmp_path):
    """What the error says to type settles a step that was open when its kernel died."""
    cell = AT_MOST_ONCE.replace("pay me", '"pay me"')
    first = start_this_kernel()
    first.run("%load_ext notebook_durable\nimport os, time; os.environ['BLOCK'] = '1'")
    first.client.execute(cell)
    deadline = time.monotonic() + 60
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < deadline, "the step never began"
        time.sleep(0.01)  # polls another process; nothing is timed
    first.kill()
    second = start_this_kernel()
    second.run("%load_ext notebook_durable\nimport os, time; three = 3")
    ran = second.run(cell)
    assert ran.error.startswith("OutcomeUnknownError")
    typed = next(line for line in ran.error.splitlines() if answer[:6] in line).split("    ")[1]
    typed = typed.replace("--value EXPR", answer) if "EXPR" in typed else typed
    assert typed.startswith("%durable outcome ")
    assert second.run(typed).status == "ok"
    again = second.run(cell)
    assert again.result == value, again.traceback
    assert (tmp_path / "charged").read_text() == charged
