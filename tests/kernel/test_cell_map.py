"""``ctx.map`` in cells of real kernels: the panel, Stop, threads and processes, the notebook's own classes."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel

BOTH = pytest.mark.parametrize("wait", ["", "await "], ids=["sync", "async"])

SETUP = """
block = True
def square(item):
    return item * item
def work(item, log="calls.txt"):
    with open(log, "a") as file:
        file.write(f"{item}\\n")
    if item == 3 and block:
        print("reached", flush=True)
        time.sleep(600)
    return item
async def awork(item):
    if item == 3 and block:
        print("reached", flush=True)
        await asyncio.sleep(600)
    return item
class Point:
    def __init__(self, x):
        self.x = x
def point(item):
    return Point(item)
"""


@pytest.fixture(scope="module", autouse=True)
def setup(live):
    ran = live.run(SETUP)
    assert ran.status == "ok", ran.error


def reached(ran):
    return "reached" in ran.stream()


@BOTH
def test_one_row_for_all_items(live, name, wait):
    """The panel has one row with a bar and numbers; the second execution replays all."""
    cell = f"%%durable {name}\nsum({wait}ctx.map('square', square, range(500)))"
    ran = live.run(cell)
    assert (ran.status, ran.result) == ("ok", str(sum(x * x for x in range(500))))
    last = ran.panels[-1]
    assert "500 run" in last
    assert last.count("square") == 1
    assert "▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰ 500 of 500" in last
    html = [content["data"]["text/html"] for content in ran.of("update_display_data", "display_data")][-1]
    assert "nbd-map" in html
    again = live.run(cell)
    assert again.result == ran.result
    assert "500 replayed" in again.panels[-1]


@BOTH
@pytest.mark.parametrize("executor", ["'threads'", "'processes'"])
def test_workers(live, name, wait, executor):
    """The notebook's functions and classes travel to the workers; values come back as the notebook's class."""
    cell = (
        f"%%durable {name}\nfound = {wait}ctx.map('point', point, range(20), executor={executor}, max_workers=2)\n"
        "[p.x for p in found] == list(range(20)), all(type(p) is Point for p in found)"
    )
    for _ in range(2):
        ran = live.run(cell)
        assert (ran.status, ran.result) == ("ok", "(True, True)"), ran.traceback


@pytest.mark.parametrize(
    "call",
    [
        "ctx.map('work', work, range(5))",
        "await ctx.map('work', work, range(5))",
        "await ctx.map('work', awork, range(5))",
        "ctx.map('work', awork, range(5))",
        "ctx.map('work', work, range(5), executor='processes', max_workers=1, max_attempts=9)",
        "await ctx.map('work', work, range(5), executor='processes', max_workers=1, max_attempts=9)",
    ],
)
def test_stop_and_go_on(live, name, call):
    """Stop is a KeyboardInterrupt; finished items are recorded, and the next execution goes on with the rest."""
    live.run("block = True")
    cell = f"%%durable {name}\n{call.replace('range(5)', 'range(5), ignore=[' + repr('block') + ']')}"
    if "processes" in call:
        ran = live.run(cell, stop_when=lambda ran: any("3 of 5" in panel for panel in ran.panels))
    else:
        ran = live.run(cell, stop_when=reached)
    assert ran.error.startswith("KeyboardInterrupt"), ran.error
    assert "interrupted" in ran.panels[-1]
    live.run("block = False")
    again = live.run(cell)
    assert (again.status, again.result) == ("ok", "[0, 1, 2, 3, 4]"), again.traceback
    # Side by side all but the one that hung were finished.
    assert f"{4 if 'awork' in call else 3} replayed" in again.panels[-1]


def test_stop_while_threads_work(live, name):
    """Threads can't be ended: they are waited for a moment, and the cell ends all the same."""
    live.run("import threading\ngo = threading.Event()\ndef hang(item):\n    return item < 2 or go.wait(600)")
    cell = f"%%durable {name}\nctx.map('hang', hang, range(4), executor='threads', max_workers=1, ignore=['go'])"
    ran = live.run(cell, stop_when=lambda ran: any("2 of 4" in panel for panel in ran.panels))
    live.run("go.set()")
    assert ran.error.startswith("KeyboardInterrupt"), ran.error
    again = live.run(cell)
    assert again.result == "[True, True, True, True]"
    assert "2 replayed" in again.panels[-1]


def test_stop_while_items_wait(live, name):
    """A wait between two attempts is interrupted as well."""
    cell = (
        f"%%durable {name}\ndef down(item):\n    raise ConnectionError('down')\n"
        "ctx.map('down', down, [1], initial_retry_interval=600, max_retry_interval=600)"
    )
    ran = live.run(cell, stop_when=lambda ran: any("1 waiting" in panel for panel in ran.panels))
    assert ran.error.startswith("KeyboardInterrupt"), ran.error
    assert any("ConnectionError: down" in panel for panel in ran.panels)


def test_a_worker_that_dies(live, name):
    """Of items that were at work each gets a turn alone; the one that kills its worker fails, the others don't."""
    cell = (
        f"%%durable {name}\nimport os, signal\ndef dies(item):\n"
        "    if item == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return item\n"
        "found = ctx.map('dies', dies, range(6), executor='processes', max_workers=2, max_attempts=1,"
        " on_error='collect')\n[type(one).__name__ for one in found]"
    )
    ran = live.run(cell)
    assert ran.result == str(["int", "int", "int", "TerminalError", "int", "int"]), ran.traceback


def test_an_error_in_a_process_shows_where(live, name):
    """The traceback of the worker is told with the error, which is the user's own."""
    cell = (
        f"%%durable {name}\ndef typo(item):\n    return item.nothing\nctx.map('typo', typo, [1], executor='processes')"
    )
    ran = live.run(cell)
    assert ran.error.startswith("AttributeError: 'int' object has no attribute 'nothing'")
    assert "In the worker process" in ran.traceback


def test_what_cant_be_sent_is_said(live, name):
    """A function that reads ctx can't go to a process: the error says so, and what to do."""
    cell = f"%%durable {name}\nctx.map('m', lambda item: ctx.run_id, [1], executor='processes')"
    ran = live.run(cell)
    assert ran.error.startswith("ConfigurationError")
    assert "threads" in ran.error
