"""Which journal a cell owns, where it is, and what is said of it."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.kernel


def runs(kernel) -> str:
    return kernel.run("%durable").of("display_data")[0]["data"]["text/plain"]


def test_the_name_on_the_line_is_filled_in(live, name):
    """{expr} and $variable are expanded when the cell runs, in the name and in the key."""
    live.run("day, n = 'monday', 3")
    ran = live.run(f"%%durable {name}_{{n + 1}} --key $day\nstr(ctx.run_id)")
    assert ran.result == f"'{name}_4[monday]'", ran.traceback


def test_keys_are_runs_of_their_own(live, name):
    """Each key has its own journal."""
    live.run("import queue\ncalls = queue.SimpleQueue()\ndef note(x):\n    calls.put(x)\n    return x")
    for key in "aab":
        live.run(f"%%durable {name} --key {key}\nctx.run('s', note, '{key}')")
    assert live.value("[calls.get() for _ in range(calls.qsize())]") == "['a', 'b']"


def test_fresh_starts_over(live, name):
    """--fresh archives the run and starts a new one."""
    live.run("import queue\ncalls = queue.SimpleQueue()\ndef note():\n    calls.put(1)")
    for option in ("", "", "--fresh"):
        live.run(f"%%durable {name} {option}\nctx.run('s', note)")
    assert live.value("calls.qsize()") == "2"


def test_strict_holds_the_order(live, name):
    """--strict raises where the code leaves the recorded order."""
    live.run(f"%%durable {name}\nctx.run('a', int)\nctx.run('b', int)")
    ran = live.run(f"%%durable {name} --strict\nctx.run('b', int)")
    assert ran.error.startswith("JournalMismatchError")


def test_without_a_name_the_cells_id_counts(live):
    """JupyterLab's id of the cell names the run; another cell has another run; below %%capture it is the same."""
    assert live.run("%%durable\nctx.run_id.workflow", cell_id="3f2a-b").result == "'cell 3f2a-b'"
    assert live.run("%%durable --key k\nstr(ctx.run_id)", cell_id="77").result == "'cell 77[k]'"
    live.run("%%capture\n%%durable\nwhich = ctx.run_id.workflow", cell_id="under-capture")
    assert live.value("which") == "'cell under-capture'"


@pytest.mark.parametrize("cell_id", [None, "vscode-notebook-cell:/home/x/n.ipynb#W0sZmlsZQ%3D%3D", "", "a b"])
def test_without_name_and_id(live, cell_id):
    """With neither (headless, or VS Code, whose ids don't last) the error shows the line to type."""
    ran = live.run("%%durable\nprint('ran')", cell_id=cell_id)
    assert ran.error.startswith("ConfigurationError")
    assert "Type: %%durable my_name" in ran.error
    assert ran.stream() == ""


def test_an_inner_cell_doesnt_take_the_outer_ones_id(live):
    """A nameless cell that a function runs is not the cell that called it."""
    ran = live.run(
        "r = get_ipython().run_cell('%%durable\\n1')\nassert r.error_in_exec\nprint(type(r.error_in_exec).__name__)",
        cell_id="the-outer",
    )
    assert ran.stream() == "ConfigurationError\n"


def test_the_store_is_said_and_never_moves(start_kernel, tmp_path):
    """The journal is in the start folder, said once at load; neither %cd nor the environment moves it later."""
    kernel = start_kernel()
    assert kernel.run("%load_ext notebook_durable").stream() == f"notebook_durable: journal in {tmp_path}/.durable\n"
    (tmp_path / "elsewhere").mkdir()
    kernel.run("%cd elsewhere\nimport os; os.environ['NOTEBOOK_DURABLE_STORE'] = 'other'")
    kernel.run("%%durable here\n1")
    assert (tmp_path / ".durable").is_dir()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_store_is_beside_the_notebook(start_this_kernel, tmp_path):
    """Where JupyterLab says where the notebook is, the journal is there; the run remembers the notebook."""
    (tmp_path / "books").mkdir()
    notebook = tmp_path / "books" / "a.ipynb"
    kernel = start_this_kernel(JPY_SESSION_NAME=str(notebook))
    assert f"journal in {tmp_path}/books/.durable" in kernel.run("%load_ext notebook_durable").stream()
    kernel.run("%%durable mine\n1")
    assert str(notebook) in runs(kernel)


def test_a_duplicated_notebook_is_told(start_this_kernel, tmp_path):
    """Another notebook with the same name for a run gets an error with three ways out, and each of them works."""
    first = start_this_kernel(JPY_SESSION_NAME=str(tmp_path / "a.ipynb"))
    first.run("%load_ext notebook_durable")
    first.run("%%durable mine\nctx.run('s', int)")
    second = start_this_kernel(JPY_SESSION_NAME=str(tmp_path / "b.ipynb"))
    second.run("%load_ext notebook_durable")
    ran = second.run("%%durable mine\n1")
    assert ran.error.startswith("NotebookMismatchError")
    for typed in ("%%durable mine --key", "%durable share mine", "%durable moved mine"):
        assert typed in ran.error
    assert second.run("%%durable mine --key b\n1").status == "ok"
    assert second.run("%durable moved mine").status == "ok"
    assert second.run("%%durable mine\n2").result == "2"
    assert first.run("%%durable mine\n2").error.startswith("NotebookMismatchError")
    assert first.run("%durable share mine").status == "ok"
    for kernel in (first, second):
        assert kernel.run("%%durable mine\n3").result == "3"


def test_a_run_held_by_another_kernel(start_this_kernel, tmp_path):
    """A second kernel gets an error that names the owner; when that is dead, it goes on."""
    first, second = start_this_kernel(), start_this_kernel()
    for kernel in (first, second):
        kernel.run("%load_ext notebook_durable\nimport time, os")
    holder = first.value("os.getpid()")
    first.client.execute("%%durable held\nopen('reached', 'w').close()\ntime.sleep(600)")
    wait = "while not os.path.exists('reached'): time.sleep(0.01)"
    second.run(wait)
    assert f"process {holder}" in second.run("%%durable held\n1").error
    first.kill()
    first.manager.provisioner.process.wait()
    assert second.run("%%durable held\n1").result == "1"


def test_settings_in_the_environment(start_this_kernel, tmp_path):
    """NOTEBOOK_DURABLE_STORE, _KEY_FILE and _MAX_ATTEMPTS are used."""
    kernel = start_this_kernel(
        NOTEBOOK_DURABLE_STORE=str(tmp_path / "mine"),
        NOTEBOOK_DURABLE_KEY_FILE=str(tmp_path / "my.key"),
        NOTEBOOK_DURABLE_MAX_ATTEMPTS="2",
    )
    assert f"journal in {tmp_path}/mine" in kernel.run("%load_ext notebook_durable").stream()
    ran = kernel.run("%%durable x\ndef bad(): raise OSError('no')\nctx.run('s', bad, initial_retry_interval=0)")
    assert "gave up after 2 attempts" in ran.error
    assert (tmp_path / "my.key").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / ".durable").exists()


def test_a_bad_environment(start_this_kernel):
    """A setting that can't be used is an error when the extension is loaded, and nothing is added then."""
    kernel = start_this_kernel(NOTEBOOK_DURABLE_MAX_ATTEMPTS="many")
    ran = kernel.run("%load_ext notebook_durable")
    assert "NOTEBOOK_DURABLE_MAX_ATTEMPTS must be a whole number, not 'many'" in ran.error
    assert "not found" in kernel.run("%%durable x\n1").stream("stderr")


def test_run_notebook_inside_a_cell(live, name, tmp_path):
    """%run of a notebook runs its durable cells one by one, and a failing one fails alone."""
    cells = [f"%%durable {name}_a\na = ctx.run('s', int, '1')", f"%%durable {name}_b\nctx.run('s', int)\n1/0", "c = 3"]
    book = {
        "cells": [
            {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None, "source": text}
            for i, text in enumerate(cells)
        ],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    (tmp_path / "n.ipynb").write_text(json.dumps(book))
    ran = live.run(f"%run {tmp_path / 'n.ipynb'}")
    assert "ZeroDivisionError" in ran.shown_traceback
    states = dict(line.split()[:2] for line in runs(live).splitlines() if line.startswith(name))
    assert states == {f"{name}_a": "completed", f"{name}_b": "failed"}
    assert live.value("a, ctx").startswith("(1, <Context of")
    assert "ended" in live.value("ctx")


def test_run_script(live, name, tmp_path):
    """%run of a plain Python file that uses `with durable(...)`, inside a durable cell too."""
    (tmp_path / "s.py").write_text(
        f"from notebook_durable import durable\nwith durable('{name}-in', store={str(tmp_path / 'j')!r}) as c:\n"
        "    got = c.run('s', int, '5')\n"
    )
    ran = live.run(f"%%durable {name}\n%run {tmp_path / 's.py'}\nctx.run('t', int, '6') + got")
    assert ran.result == "11", ran.traceback
