"""The same cells in nbclient, papermill, nbconvert, terminal IPython and as a script."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kernels import KERNELS, environment, write_kernelspec

pytestmark = pytest.mark.kernel

GOOD = [
    "%load_ext notebook_durable",
    "%%durable report\nrows = ctx.run('load', lambda: [1, 2, 3])\nsum(rows)",
    "%%durable later\nimport asyncio\nawait ctx.run('wait', asyncio.sleep, 0, 'slept')",
    "open('end', 'w').close()",
]
BAD = [*GOOD[:2], "%%durable broken\nctx.run('fail', lambda: 1 / 0)", "open('end', 'w').close()"]
UNAWAITED = [*GOOD[:2], "%%durable lost\nimport asyncio\nctx.run('lost', int)\nawait asyncio.sleep(0)", GOOD[-1]]


def write_notebook(folder: Path, cells: list[str]) -> Path:
    book = {
        "cells": [
            {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None, "source": text}
            for i, text in enumerate(cells)
        ],
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "python3", "language": "python"},
            "language_info": {"name": "python", "file_extension": ".py", "nbconvert_exporter": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = folder / "book.ipynb"
    path.write_text(json.dumps(book))
    return path


RUNNERS = {
    "nbclient": ["-c", "from nbclient.cli import main; main()", "book.ipynb", "--inplace"],
    "papermill": ["-m", "papermill", "book.ipynb", "out.ipynb", "--no-progress-bar", "--cwd", "."],
    "nbconvert": ["-m", "nbconvert", "--to", "notebook", "--execute", "--output", "out.ipynb", "book.ipynb"],
}


def run(command: list[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return start(sys.executable, command, folder, **env)


def start(python: str, command: list[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *command],
        cwd=folder,
        env=environment(folder, **env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def kernel_python(folder: Path) -> str:
    """The Python of the kernel under test."""
    return str(json.loads((folder / "spec/kernels/python3/kernel.json").read_text())["argv"][0])


def outputs(folder: Path) -> str:
    made = folder / "out.ipynb"
    return json.dumps(json.loads((made if made.exists() else folder / "book.ipynb").read_text())["cells"])


@pytest.fixture(params=KERNELS)
def folder(request, tmp_path):
    """A folder in which "python3" is the kernel under test."""
    write_kernelspec(request.param, tmp_path)
    return tmp_path


def only_this_kernel(folder: Path, runner: str) -> None:
    """nbclient stands for the others where the kernel is an older one: they are nbclient inside."""
    if runner != "nbclient" and kernel_python(folder) != sys.executable:
        pytest.skip("the older kernel is tried with nbclient")


@pytest.mark.parametrize("runner", RUNNERS)
def test_headless(folder, runner):
    """The notebook runs to its end; the panel is saved in its final state, as text and HTML."""
    only_this_kernel(folder, runner)
    write_notebook(folder, GOOD)
    done = run(RUNNERS[runner], folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "end").exists()
    saved = outputs(folder)
    assert "durable report: 1 run" in saved
    assert "durable later: 1 run" in saved
    assert "text/html" in saved
    assert "1 running" not in saved
    assert "slept" in saved


@pytest.mark.parametrize(
    ("runner", "cells", "error"),
    [
        ("nbclient", BAD, "ZeroDivisionError"),
        ("nbclient", UNAWAITED, "UnawaitedStepError"),
        ("papermill", BAD, "ZeroDivisionError"),
        ("nbconvert", BAD, "ZeroDivisionError"),
    ],
)
def test_headless_stops_at_an_error(folder, runner, cells, error):
    """A failing cell stops the runner: later cells don't run, and it says which error it was."""
    only_this_kernel(folder, runner)
    write_notebook(folder, cells)
    done = run(RUNNERS[runner], folder)
    assert done.returncode != 0
    assert error in done.stderr
    assert not (folder / "end").exists()


def test_a_limit_for_papermill(tmp_path):
    """NOTEBOOK_DURABLE_MAX_ATTEMPTS bounds the retries of a whole notebook that runs with nobody there."""
    write_kernelspec(sys.executable, tmp_path)
    write_notebook(
        tmp_path,
        [GOOD[0], "%%durable x\ndef bad(): raise OSError('no')\nctx.run('s', bad, initial_retry_interval=0)", GOOD[-1]],
    )
    done = run(RUNNERS["papermill"], tmp_path, NOTEBOOK_DURABLE_MAX_ATTEMPTS="2")
    assert "gave up after 2 attempts" in done.stderr


def test_a_nameless_cell_headless(tmp_path):
    """Without JupyterLab there is no id of the cell: the error shows the line to type."""
    write_kernelspec(sys.executable, tmp_path)
    write_notebook(tmp_path, [GOOD[0], "%%durable\n1"])
    done = run(RUNNERS["nbclient"], tmp_path)
    assert done.returncode != 0
    assert "Type: %%durable my_name" in done.stderr


# --- scripts ------------------------------------------------------------------------------


def test_script_made_by_nbconvert(folder):
    """`nbconvert --to script`, then `ipython script.py`: the cells run, and replay the second time.

    Two cells have the same run and step, with other code: each finds its own entry.
    """
    write_notebook(folder, [*GOOD[:-1], "%%durable report\nprint('sum', sum(ctx.run('load', lambda: [100])))"])
    made = run(["-m", "nbconvert", "--to", "script", "book.ipynb"], folder)
    assert made.returncode == 0, made.stderr
    script = folder / "book.py"
    assert "run_cell_magic('durable'" in script.read_text()
    for _ in range(2):
        done = start(kernel_python(folder), ["-m", "IPython", "--no-banner", script.name], folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "sum 100" in done.stdout
    assert done.stdout.count("report: 1 replayed") == 2


def test_a_failing_script(folder):
    """The error ends the script, is shown once, and the exit code says so."""
    (folder / "s.ipy.py").write_text(
        "get_ipython().run_line_magic('load_ext', 'notebook_durable')\n"
        "get_ipython().run_cell_magic('durable', 'x', \"ctx.run('s', lambda: 1 / 0)\\n\")\n"
        "open('end', 'w').close()\n"
    )
    command = ["-m", "IPython", "--no-banner", "--colors=NoColor", "s.ipy.py"]
    done = start(kernel_python(folder), command, folder)
    assert done.returncode == 1
    assert not (folder / "end").exists()
    assert (done.stdout + done.stderr).count(
        "ZeroDivisionError: division by zero"
    ) == 2  # in the panel, and as the error


# --- terminal -----------------------------------------------------------------------------

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """IPython in a real terminal."""

    def __init__(self, python: str, folder: Path) -> None:
        import pexpect

        self.child = pexpect.spawn(
            python, ["-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor"], cwd=str(folder),
            env=environment(folder), encoding="utf-8", timeout=60,
        )  # fmt: skip
        self.prompt()

    def prompt(self) -> str:
        self.child.expect(r"In \[\d+\]: ")
        return _ESCAPES.sub("", self.child.before)

    def cell(self, *lines: str) -> str:
        """Type a cell, ended with a blank line, and wait for the next prompt."""
        self.send(*lines)
        return self.prompt()

    def send(self, *lines: str) -> None:
        for line in lines:
            self.child.sendline(line)
            if len(lines) > 1:
                self.child.expect(r"   \.\.\.: ")
        if len(lines) > 1:
            self.child.sendline("")
        if lines[0].startswith("%%"):  # without prompt_toolkit, IPython wants two blank lines after any cell magic
            self.child.expect(r"   \.\.\.: ")
            self.child.sendline("")

    def close(self) -> None:
        self.child.close(force=True)


@pytest.fixture
def terminal(folder):
    terminal = Terminal(kernel_python(folder), folder)
    yield terminal
    terminal.close()


def test_terminal(terminal):
    """Cells run, sync and async; the panel is printed once, at the end; one line for each retry."""
    assert "journal in" in terminal.cell("%load_ext notebook_durable")
    shown = terminal.cell("%%durable one", "n = ctx.run('load', int, '41')", "n + 1")
    assert "durable one: 1 run" in shown
    assert shown.count("durable one:") == 1
    assert "Out[2]: 42" in shown
    assert "slept" in terminal.cell("%%durable two", "import asyncio", "await ctx.run('s', asyncio.sleep, 0, 'slept')")
    terminal.cell("tries = []")
    terminal.cell("def flaky():", "    tries.append(1)", "    if len(tries) < 3: raise ConnectionError('no')")
    shown = terminal.cell("%%durable three", "ctx.run('call', flaky, initial_retry_interval=0.01)")
    assert shown.count("failed (ConnectionError: no); next in") == 2
    assert "attempt 3" in shown
    assert "1 replayed" in terminal.cell("%%durable one", "n = ctx.run('load', int, '41')")
    assert "three" in terminal.cell("%durable")


@pytest.mark.parametrize("call", ["ctx.run('s', time.sleep, 600)", "await ctx.run('s', asyncio.sleep, 600)"])
def test_control_c_in_a_terminal(terminal, call):
    """^C ends the cell as KeyboardInterrupt, the journal says interrupted, and the shell is whole."""
    terminal.cell("%load_ext notebook_durable")
    terminal.cell("import time, asyncio, threading")
    # As one statement: what stops IPython while it compiles the next one isn't ours to show.
    terminal.send("%%durable one", "if True:", "    print('star' + 'ted')", f"    {call}")
    terminal.child.expect("started")
    terminal.child.sendintr()
    shown = terminal.prompt()
    assert "KeyboardInterrupt" in shown
    assert "notebook_durable/" not in shown, shown
    assert "interrupted" in terminal.cell("%durable")
    assert "ok 2" in terminal.cell("print('ok', 1 + 1)")
