"""Tries an installed notebook_durable from an empty folder: `python wheel_try.py`. Run by test_wheel.py and .ci/run.

Uses only what a wheel brings (and nbclient): plain Python, the command, and a durable cell in a real kernel.
"""

from __future__ import annotations

import contextlib
import io
import queue
import sys
from importlib.metadata import distribution, entry_points, version
from pathlib import Path

import notebook_durable

SOURCES = Path(__file__).resolve().parents[2]


def try_installation() -> None:
    """The package is the installed one, whole, with type information, licence, and nothing that belongs elsewhere."""
    home = Path(notebook_durable.__file__).resolve().parent
    assert home != SOURCES / "notebook_durable", f"{home} is the source tree, not an installation"
    assert (home / "py.typed").is_file()
    assert version("notebook_durable") == notebook_durable.__version__
    # Not files(): an entry of __pycache__ may have come since.
    record = distribution("notebook_durable").read_text("RECORD") or ""
    names = [line.split(",", 1)[0] for line in record.splitlines()]
    assert any(name.endswith("licenses/LICENSE") for name in names), names
    tops = {name.split("/", 1)[0] for name in names if not name.startswith("..")} - {"bin"}
    assert tops == {"notebook_durable", f"notebook_durable-{notebook_durable.__version__}.dist-info"}, tops


def try_python() -> None:
    """A run in plain Python replays, and the command lists it."""
    calls: queue.SimpleQueue[int] = queue.SimpleQueue()

    def step() -> dict[str, int]:
        calls.put(1)
        return {"answer": 42}

    for _ in range(2):
        with notebook_durable.durable("wheel") as ctx:
            assert ctx.run("step", step) == {"answer": 42}
    assert calls.qsize() == 1, f"the step ran {calls.qsize()} times"
    (command,) = entry_points(group="console_scripts", name="notebook-durable")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        code = command.load()(["ls"])
    assert not code, code
    assert "wheel" in shown.getvalue(), shown.getvalue()


def try_kernel() -> None:
    """A durable cell runs in a kernel and says what it did."""
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    new = nbformat.v4
    cells = ["%load_ext notebook_durable", "%%durable cell\nvalue = ctx.run('step', lambda: 6 * 7)\nvalue"]
    book = new.new_notebook(cells=[new.new_code_cell(text) for text in cells])
    # No folder is searched, so "python3" is this Python and no kernelspec that somebody installed under that name.
    kernels = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(book, km=kernels, timeout=120)
    client.owns_km = True  # it started it, so it stops it
    client.execute(stderr=(Path.cwd() / "kernel.log").open("w"))
    (result,) = [output for output in book.cells[1].outputs if output.output_type == "execute_result"]
    assert result["data"]["text/plain"] == "42"


if __name__ == "__main__":
    try_installation()
    try_python()
    try_kernel()
    print(f"notebook_durable {notebook_durable.__version__} works as installed in {sys.prefix}")
