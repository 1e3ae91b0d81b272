"""A notebook in JupyterLab, driven as a person drives it. Every wait is for something that can be seen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser.lab_server import LabServer, shell_environment
from browser.notebooks import LOAD, write_notebook

try:
    from playwright.sync_api import expect
except ImportError:  # the fixture `browser` says so; until then the tests must be there to be skipped
    expect: Any = None  # type: ignore[no-redef]

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Dialog, Error, Locator, Page

__all__ = ["SCREENSHOTS", "LabPage", "expect"]

SCREENSHOTS = Path(os.environ.get("NBD_SCREENSHOTS") or Path(__file__).parent / "screenshots")

_OPENS = 60_000  # milliseconds until JupyterLab is there
_RUNS = 40_000  # milliseconds until a cell has ended or a kernel has started

#: What JupyterLab itself and a machine without internet put on the console: files that are not there.
_HARMLESS = re.compile(r"Failed to load resource|net::ERR_|favicon")

_PANEL = "jupyterapp.shell.currentWidget"

# Remembers every state of the kernel: one that is over before we look is not missed.
_WATCH_KERNEL = f"""() => {{
    window.nbdStates = [];
    const context = {_PANEL}.sessionContext;
    context.statusChanged.connect((_, state) => window.nbdStates.push(state));
}}"""
_KERNEL_READY = f"""() => {{
    const panel = {_PANEL};
    const kernel = panel?.sessionContext?.session?.kernel;
    return panel?.context?.isReady && kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
}}"""
_RESTARTED = f"""() => window.nbdStates.includes('restarting')
    && window.nbdStates.at(-1) === 'idle' && {_PANEL}.sessionContext.session.kernel.status === 'idle'"""
_PAINTED = """async () => {
    await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
    for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame);
}"""
# An old number must not be taken for the end of the new execution.
_FORGET_COUNT = f"index => {{ {_PANEL}.content.widgets[index].model.sharedModel.execution_count = null; }}"
_ERRORS = f"""index => {_PANEL}.content.widgets[index].model.outputs.toJSON()
    .filter(output => output.output_type === 'error').map(output => output.ename + ': ' + output.evalue)"""
_SET_SOURCE = f"([index, text]) => {{ {_PANEL}.content.widgets[index].model.sharedModel.setSource(text); }}"


def quoted(text: str) -> str:
    """Write a text as a string of a CSS selector."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class LabPage:
    """One page with one notebook.

    Args:
        page: Playwright's.
        server: where JupyterLab is.
        folder: of this test, inside the server's root; the notebook and its journal are in it.
        name: of this test: the notebook and the screenshots are called so.

    Attributes:
        problems: what went wrong in the page: errors on its console, exceptions, dialogs that popped up.
        expected: parts of errors on the console that a test wants to see there.
    """

    def __init__(self, page: Page, server: LabServer, folder: Path, name: str) -> None:
        self.page = page
        self.server = server
        self.folder = folder
        self.name = name
        self.path = folder / f"{name}.ipynb"
        self.problems: list[str] = []
        self.console: list[str] = []
        self.expected: list[str] = []
        self.restarts = 0
        self.watch(page)

    # -- what the page says

    def watch(self, page: Page) -> None:
        """Note the problems of a page; for this one it is done."""
        page.on("console", self._heard)
        page.on("pageerror", self._broke)
        page.on("dialog", self._asked)
        page.set_default_timeout(_RUNS)

    def _heard(self, message: ConsoleMessage) -> None:
        line = f"{message.type}: {message.text}"
        self.console.append(line)
        # The old kernel's last words about its widgets, to a front end that has let go of them.
        late = self.restarts > 0 and message.text.startswith("Comm not found for comm id")
        harmless = late or _HARMLESS.search(line) or any(part in line for part in self.expected)
        if message.type == "error" and not harmless:
            self.problems.append(line)

    def _broke(self, error: Error) -> None:
        line = f"exception: {error.message}\n{error.stack or ''}"
        self.console.append(line)
        self.problems.append(line)

    def _asked(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # not saved: as wanted
            dialog.accept()
            return
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    # -- the notebook

    def open(self, cells: Sequence[str], *, kernel: str = "python3") -> None:
        """Write a notebook with these cells, open it, and wait for its kernel.

        Args:
            cells: their text; cell 0, which is run, loads the extension, and these follow.
            kernel: name of its kernelspec: "python3" is this Python, "older" one with ipykernel 6.31.
        """
        write_notebook(self.path, [LOAD, *cells], kernel)
        place = self.path.relative_to(self.server.root)
        self.page.goto(f"{self.server.url}/lab/tree/{place}?token={self.server.token}&reset", timeout=_OPENS)
        self._wait_until_there()
        self.page.wait_for_function(_KERNEL_READY, timeout=_OPENS)
        self.run_to_end(0)

    def reload(self) -> None:
        """Load the page again."""
        self.page.reload(timeout=_OPENS)
        self._wait_until_there()

    def _wait_until_there(self) -> None:
        self.page.wait_for_function(f"() => window.jupyterapp && {_PANEL} && {_PANEL}.content", timeout=_OPENS)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)
        expect(self.cell(0)).to_be_visible()
        self.page.evaluate(_WATCH_KERNEL)

    def cell(self, index: int) -> Locator:
        """Return a cell."""
        return self.page.locator(f'.jp-NotebookPanel:visible .jp-Cell[data-windowed-list-index="{index}"]')

    def editor(self, index: int) -> Locator:
        """Return the text of a cell."""
        return self.cell(index).locator(".jp-InputArea-editor .cm-content")

    def prompt(self, index: int) -> Locator:
        """Return what stands before a cell: ``[*]:`` while it runs, ``[3]:`` when it has ended."""
        return self.cell(index).locator(".jp-InputPrompt")

    def output(self, index: int) -> Locator:
        """Return the output area of a cell."""
        return self.cell(index).locator(".jp-Cell-outputWrapper")

    def errors(self, index: int) -> list[str]:
        """Return the errors that a cell shows with their tracebacks: type and text."""
        found: list[str] = self.page.evaluate(_ERRORS, index)
        return found

    def panel(self, index: int) -> Locator:
        """Return the panel of a cell, be it live or the picture of its end."""
        return self.output(index).locator(".nbd-panel")

    def row(self, index: int, step: str) -> Locator:
        """Return the row of a step in the panel of a cell."""
        return self.panel(index).locator(f".nbd-row[data-step={quoted(step)}]")

    def press(self, index: int, step: str, action: str) -> None:
        """Click a button of a step's row, as soon as it takes clicks."""
        self.row(index, step).locator(f'button[data-action="{action}"]').click()

    def set_source(self, index: int, text: str) -> None:
        """Replace the text of a cell."""
        self.page.evaluate(_SET_SOURCE, [index, text])

    def focus(self, index: int) -> None:
        """Click into a cell's text: a click into its output would make another cell the active one."""
        self.editor(index).click(position={"x": 3, "y": 3})

    def run(self, index: int) -> None:
        """Press Ctrl+Enter in a cell."""
        self.page.evaluate(_FORGET_COUNT, index)
        self.focus(index)
        self.page.keyboard.press("Control+Enter")
        expect(self.prompt(index)).not_to_have_text(re.compile(r"\[ \]"))

    def wait_done(self, index: int, *, error: str | None = None, timeout: float = _RUNS) -> None:
        """Wait until a cell has ended, and check how.

        Args:
            index: of the cell.
            error: what its traceback must say; None: it must have none.
            timeout: milliseconds.
        """
        expect(self.prompt(index)).to_have_text(re.compile(r"\[\d+\]:"), timeout=timeout)
        shown = self.errors(index)
        assert ("\n".join(shown) == "") if error is None else (error in "\n".join(shown)), shown

    def wait_running(self, index: int) -> None:
        """Wait until a cell runs."""
        expect(self.prompt(index)).to_have_text(re.compile(r"\[\*\]"))

    def run_to_end(self, index: int, *, error: str | None = None) -> None:
        """Run a cell and wait until it has ended."""
        self.run(index)
        self.wait_done(index, error=error)

    def save(self) -> None:
        """Press Ctrl+S, and wait until it is on disk."""
        self.focus(0)
        self.page.keyboard.press("Control+s")
        self.page.wait_for_function(f"() => !{_PANEL}.context.model.dirty")

    # -- the kernel

    def restart_kernel_from_menu(self) -> None:
        """Kernel menu, *Restart Kernel…*, confirm; wait until it is ready. Cell 0 is run again (``%load_ext``)."""
        self.restarts += 1
        self.page.evaluate("() => { window.nbdStates.length = 0; }")
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Kernel$")).click()
        self.page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Restart Kernel…$")).click()
        self.page.locator(".jp-Dialog .jp-mod-accept", has_text="Restart").click()
        self.page.wait_for_function(_RESTARTED)
        self.run_to_end(0)

    def stop(self) -> None:
        """Press the toolbar's Stop."""
        self.page.locator('.jp-NotebookPanel:visible [data-command="notebook:interrupt-kernel"]').click()

    # -- looks

    def set_theme(self, *, dark: bool) -> None:
        """Choose JupyterLab's own dark or light theme."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", "false" if dark else "true")
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def screenshot(self, name: str, what: Locator | None = None) -> Path:
        """Write a picture of the page, or of a part of it, into the folder of screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.evaluate(_PAINTED)
        (self.page if what is None else what).screenshot(path=path)
        return path

    # -- beside the page

    def notes(self, about: str = "") -> list[str]:
        """Return what was noted by ``note``, see ``notebooks.NOTE``; with ``about`` only that, without this word."""
        path = self.folder / "notes"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [line.removesuffix(about).strip() for line in lines if line.endswith(about)]

    def wait_for(self, found: Callable[[], bool], what: str) -> None:
        """Wait for something outside of the page, such as a file."""
        end = time.monotonic() + _RUNS / 1000
        while not found():
            assert time.monotonic() < end, f"waited in vain for {what}"
            self.page.wait_for_timeout(50)

    def shell(self, *words: str) -> str:
        """Call ``notebook-durable`` in a shell, in the notebook's folder; returns what it prints."""
        return self.python("-m", "notebook_durable.cli.app", *words)

    def python(self, *words: str) -> str:
        """Call this Python in a shell, in the notebook's folder; returns what it prints."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder, env=shell_environment(self.server.home), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """Run a script in the page."""
        return self.page.evaluate(script, argument)
