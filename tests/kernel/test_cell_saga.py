"""Sagas in real kernels: what a cell has done is undone when a TerminalError leaves it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel

SETUP = """%load_ext notebook_durable
import asyncio
from notebook_durable import TerminalError
fails = True
def note(what):
    with open("log", "a") as log: log.write(what + "\\n")
    return what
async def undo(what):
    await asyncio.sleep(0)
    note("undo " + what)
def pay():
    note("pay")
    if fails: raise TerminalError("card declined")
"""
CELL = """%%durable trip
for what in ("flight", "car"):
    {0}ctx.run("book " + what, note, what)
    ctx.on_rollback(undo, what)
{0}ctx.run("pay", pay)
"""


@pytest.mark.parametrize("prefix", ["", "await "])
def test_what_was_done_is_undone(start_kernel, prefix):
    """In reverse order, by async functions, in sync and async cells; the next execution starts over."""
    kernel = start_kernel()
    kernel.run(SETUP)
    ran = kernel.run(CELL.format(prefix))
    assert ran.error.startswith("TerminalError: card declined")
    log = kernel.folder / "log"
    assert log.read_text().split("\n")[:-1] == ["flight", "car", "pay", "undo car", "undo flight"]
    log.unlink()
    kernel.run("fails = False")
    assert kernel.run(CELL.format(prefix)).status == "ok"
    assert log.read_text().split("\n")[:-1] == ["flight", "car", "pay"]
