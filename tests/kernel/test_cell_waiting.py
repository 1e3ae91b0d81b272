"""Promises, sleeps and timeouts in real kernels: they outlive the kernel, and are answered from elsewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest
from kernels import environment

pytestmark = pytest.mark.kernel

CHOICES = "choices=['yes', 'no']"
WAITS = pytest.mark.parametrize("wait", ["", "await "], ids=["sync", "async"])


def ask(name, wait=""):
    return f"%%durable {name}\nanswer = {wait}ctx.promise('publish?', {CHOICES})\n'the answer is ' + answer"


def shell(kernel, *words):
    """Run the shell's command in the kernel's folder, as a person in a terminal does."""
    done = subprocess.run(
        [sys.executable, "-m", "notebook_durable.cli.app", *words],
        cwd=kernel.folder, env=environment(kernel.folder), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def asking(ran):
    """True as soon as the panel says that a question is open."""
    return any("publish?" in panel for panel in ran.panels)


@WAITS
def test_answered_from_a_shell_while_the_cell_waits(live, name, wait):
    """The cell goes on within a moment."""
    told = []

    def answer(ran):
        if asking(ran) and not told:
            told.append(shell(live, "resolve", name, "publish?", "maybe"))
            told.append(shell(live, "resolve", name, "publish?", "yes"))
        return False

    ran = live.run(ask(name, wait), stop_when=answer)
    assert ran.status == "ok", ran.error
    assert ran.result == "'the answer is yes'"
    assert "takes one of 'yes', 'no'" in told[0]
    assert "its cell goes on" in told[1]


def test_answered_while_no_kernel_lives(start_kernel, name):
    """The kernel is killed while it waits; the answer is there when the cell is run again, and replays after that."""
    kernel = start_kernel()
    kernel.run("%load_ext notebook_durable")
    killed = []

    def kill(ran):
        if asking(ran) and not killed:
            killed.append(True)
            kernel.kill()
            raise ConnectionResetError
        return False

    with pytest.raises(ConnectionResetError):
        kernel.run(ask(name), stop_when=kill)
    kernel = start_kernel()
    kernel.run("%load_ext notebook_durable")
    assert "run its cell to go on" in kernel.run(f"%durable resolve {name} publish? no").stream()
    for _ in range(2):
        assert kernel.run(ask(name)).result == "'the answer is no'"


@WAITS
def test_stop_while_it_waits(live, name, wait):
    """KeyboardInterrupt at once; the question is still open."""
    ran = live.run(ask(name, wait), stop_when=asking)
    assert ran.reply["ename"] == "KeyboardInterrupt"
    assert "run its cell" in live.run(f"%durable resolve {name} publish? yes").stream()
    assert live.run(ask(name, wait)).result == "'the answer is yes'"


def test_rejected_with_a_reason(live, name):
    """A TerminalError with it."""
    live.run(ask(name), stop_when=asking)
    live.run(f"%durable resolve {name} publish? --reject not today")
    assert "was rejected: not today" in live.run(ask(name)).error


@WAITS
def test_a_timeout_is_retried(live, name, wait):
    """In a sync cell by a signal, in an async one by cancelling; the kernel's own handlers are as before."""
    live.run(
        "n = []\ndef slow():\n    n.append(1)\n    if len(n) == 1: time.sleep(600)\n    return len(n)\n"
        "async def aslow():\n    n.append(1)\n    if len(n) == 1: await asyncio.sleep(600)\n    return len(n)"
    )
    call = f"{wait}ctx.run('x', {'aslow' if wait else 'slow'}, timeout=0.2, initial_retry_interval=0)"
    assert live.run(f"%%durable {name}\n{call}").result == "2"
    assert live.value("__import__('signal').getsignal(14) == __import__('signal').SIG_DFL") == "True"


def test_a_running_cell_is_told_from_a_shell(live, name):
    """A step that would wait an hour begins its next attempt; then the execution ends before the next step."""
    live.run(
        "import queue\nn = queue.SimpleQueue()\n"
        "def flaky():\n    n.put(1)\n    if n.qsize() == 1: raise OSError('boom')\n    return 2"
    )
    told = []

    def tell(ran):
        if any("boom" in panel for panel in ran.panels) and not told:
            told.append(shell(live, "tell", name, "--stop"))
            told.append(shell(live, "tell", name, "--retry", "x"))
        return False

    cell = f"%%durable {name}\nctx.run('x', flaky, initial_retry_interval=3600)\nctx.run('y', len, 'abc')"
    ran = live.run(cell, stop_when=tell)
    assert "stops before its next step" in told[0]
    assert "was told: retry" in told[1]
    assert ran.reply["ename"] == "KeyboardInterrupt"
    assert live.run(cell).result == "3"
    assert live.value("n.qsize()") == "2"
