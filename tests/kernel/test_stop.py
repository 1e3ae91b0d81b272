"""Stop in both kinds of cell: the reply is KeyboardInterrupt, the journal says interrupted, the next run goes on.

Each cell would block for ten minutes; that the reply comes at all is the proof. Nothing here looks at the clock.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel

SETUP = """
import threading
block = True

def reached():
    print("reached", flush=True)

def sync_step(x=1):
    reached()
    if block: time.sleep(600)
    return x

def busy_step(x=1):
    reached()
    while block: pass
    return x

async def async_step(x=1):
    reached()
    if block: await asyncio.sleep(600)
    return x

async def other(x=2):
    if block: await asyncio.sleep(600)
    return x

async def helper(name):
    reached()
    while block: pass
    return await ctx.run(name, int)

def failing():
    if block: raise ConnectionError("down")
    return 1

retry = {"initial_retry_interval": 600, "max_retry_interval": 600}
"""

CASES = {
    "sync step": "ctx.run('s', sync_step)",
    "sync step in C": "ctx.run('s', busy_step)",
    "async step in a sync cell": "ctx.run('s', async_step)",
    "retry wait": "ctx.run('s', failing, **retry)",
    "between steps": "ctx.run('s', int); sync_step()",
    "sync step, async cell": "await ctx.run('s', sync_step)",
    "busy step, async cell": "await ctx.run('s', busy_step)",
    "async step, async cell": "await ctx.run('s', async_step)",
    "retry wait, async cell": "await ctx.run('s', failing, **retry)",
    "between steps, async cell": "await ctx.run('s', int); await async_step()",
    "cell's own code, async cell": "await ctx.run('s', int); sync_step()",
    "gather of async steps": "await asyncio.gather(ctx.run('s', other), ctx.run('t', async_step))",
    "gather, a sync step runs": "await asyncio.gather(ctx.run('s', other), ctx.run('t', sync_step))",
    "gather, a busy step runs": "await asyncio.gather(ctx.run('s', other), ctx.run('t', busy_step))",
    "gather, a helper runs": "await asyncio.gather(ctx.run('s', other), helper('t'))",
    "gather with return_exceptions": (
        "await asyncio.gather(ctx.run('s', async_step), return_exceptions=True); await other()"
    ),
    "task group": (
        "async with asyncio.TaskGroup() as g:\n"
        "    g.create_task(ctx.run('s', other)); g.create_task(ctx.run('t', async_step))"
    ),
}


@pytest.fixture(autouse=True, scope="module")
def setup(live):
    assert live.run(SETUP).status == "ok"


def begun(ran) -> bool:
    """The step runs, or waits for its next attempt."""
    return "reached" in ran.stream() or any("waiting" in panel for panel in ran.panels)


def run_states(kernel, name: str) -> str:
    listed = kernel.run("%durable").of("display_data")[0]["data"]["text/plain"]
    return next(line for line in listed.splitlines() if line.startswith(f"{name} "))


@pytest.mark.parametrize("body", CASES.values(), ids=CASES)
def test_stop(live, name, body):
    """KeyboardInterrupt, interrupted, whole kernel; the same cell then goes on to its end."""
    live.run("block = True")
    ran = live.run(f"%%durable {name[-60:]}\n{body}", stop_when=begun)
    assert (ran.status, ran.reply["ename"]) == ("error", "KeyboardInterrupt"), ran.traceback
    assert "notebook_durable/" not in ran.traceback
    assert "CancelledError" not in ran.traceback
    assert "interrupted" in run_states(live, name[-60:])
    state = "import signal\nsignal.getsignal(signal.SIGINT) is signal.default_int_handler"
    assert live.value(f"{state}, [t.name for t in threading.enumerate() if 'durable' in t.name]") == "(True, [])"
    live.run("block = False")
    again = live.run(f"%%durable {name[-60:]}\n{body}")
    assert again.status == "ok", again.traceback
    assert "completed" in run_states(live, name[-60:])


LONG_QUERY = """
import sqlite3
def count(connection):
    if not block: return 5
    return connection.execute(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 10000000000) SELECT count(*) FROM c"
    ).fetchone()[0]
"""


@pytest.mark.parametrize("form", ["ctx.run", "await ctx.run"])
def test_on_stop_reaches_into_c(live, name, form):
    """A long sqlite3 query doesn't heed signals; on_stop=connection.interrupt ends it, once, and it is Stop."""
    live.run(LONG_QUERY + "block = True\nconnection = sqlite3.connect(':memory:')\ncalls = []")
    live.run(
        "def interrupt():\n"
        "    calls.append(threading.current_thread() is threading.main_thread())\n    connection.interrupt()"
    )
    cell = f"%%durable {name}\n{form}('query', count, connection, on_stop=interrupt)"
    ran = live.run(cell, stop_when=lambda ran: len(ran.panels) > 1)  # the second: it has been at it for half a second
    assert (ran.status, ran.reply["ename"]) == ("error", "KeyboardInterrupt"), ran.traceback
    assert live.value("calls") == "[False]"
    assert "interrupted" in run_states(live, name)
    live.run("block = False")
    assert live.run(cell).result == "5"


def test_stop_is_no_attempt(live, name):
    """An interrupted attempt is given back: with max_attempts=2, two real failures still fit after it."""
    live.run("block, calls = True, []")
    live.run(
        "def flaky():\n    calls.append(1)\n    if len(calls) == 1: sync_step()\n"
        "    if len(calls) == 2: raise ConnectionError\n    return len(calls)"
    )
    cell = f"%%durable {name}\nctx.run('s', flaky, max_attempts=2, initial_retry_interval=0)"
    assert live.run(cell, stop_when=begun).reply["ename"] == "KeyboardInterrupt"
    live.run("block = False")
    assert live.run(cell).result == "3"


def test_finished_steps_replay_after_stop(live, name):
    """What was done before Stop is not done again."""
    live.run("import queue\nblock, calls = True, queue.SimpleQueue()\ndef note(): calls.put(1)")
    cell = f"%%durable {name}\nctx.run('a', note)\nctx.run('b', sync_step)"
    live.run(cell, stop_when=begun)
    live.run("block = False")
    assert live.run(cell).result == "1"
    assert live.value("calls.qsize()") == "1"


def test_code_that_survives_stop(live, name):
    """A cell that catches the KeyboardInterrupt goes on, and its next steps work."""
    live.run("block = True")
    ran = live.run(
        f"%%durable {name}\ntry:\n    ctx.run('s', sync_step)\nexcept KeyboardInterrupt:\n    pass\n"
        "ctx.run('t', int, '4')",
        stop_when=begun,
    )
    assert ran.result == "4", ran.traceback


def test_a_plain_cell_is_as_before(live):
    """Outside of durable cells Stop is the kernel's own business."""
    live.run("block = True")
    # Not a sleep: there Python itself may miss a Stop, see the next test.
    assert live.run("busy_step()", stop_when=begun).reply["ename"] == "KeyboardInterrupt"


UNNOTICED = """
import signal, threading

def elsewhere(asleep):
    main = threading.main_thread().ident
    def press():
        while sys._current_frames()[main].f_code.co_name != asleep: pass
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    threading.Thread(target=press).start()

def nap():
    time.sleep(600)
"""


@pytest.mark.parametrize(
    "body",
    [
        "elsewhere('nap'); ctx.run('s', nap)",
        "elsewhere('nap'); await ctx.run('s', nap)",
        "elsewhere('select'); await ctx.run('s', asyncio.sleep, 600)",
        "elsewhere('nap'); nap(); ctx.run('s', int)",
    ],
)
def test_a_stop_that_python_missed(live, name, body):
    """A signal that nothing wakes the main thread for (here: it came in another thread) interrupts the wait."""
    live.run(UNNOTICED)
    ran = live.run(f"%%durable {name[-60:]}\n{body}")
    assert (ran.status, ran.reply["ename"]) == ("error", "KeyboardInterrupt"), ran.traceback
