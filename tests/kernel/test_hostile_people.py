"""What a hostile reviewer found, in real kernels; each test states the right behaviour."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.kernel

PASSWORD = "Tr0ub4dor-h'rse&9 x"  # planted


def bundles(ran):
    """All that the panel put out, and so what the notebook's file gets."""
    return json.dumps([content["data"] for content in ran.of("display_data", "update_display_data")])


@pytest.mark.parametrize("options", ["max_attempts=1", "at_most_once=True"])
def test_stop_as_soon_as_the_panel_shows(live, name, options):
    """Whether the step's function was begun or not, the next execution runs it if it wasn't."""
    cell = f"%%durable {name}\nctx.run('x', step, {options})"
    live.run("began = []\nclass Step:\n    def __reduce_ex__(self, p): raise TypeError\n    def __call__(self):\n"
             "        began.append(1)\n        if len(began) == 1 and slow: time.sleep(30)\n        return 7\n"
             "step, slow = Step(), True")  # fmt: skip
    ran = live.run(cell, stop_when=lambda ran: bool(ran.panels))
    assert ran.error.startswith("KeyboardInterrupt")
    if live.value("began") != "[]":
        pytest.skip("the function was begun in time")
    again = live.run("slow = False\n") and live.run(cell)
    assert (again.error, again.result) == ("", "7")


def test_what_a_value_that_cannot_be_stored_says_in_the_panel(live, name):
    """Its own error may quote the password that the step was given: not in the saved notebook."""
    live.run(
        "class U:\n    def __init__(self, p): self.p = p\n    def __reduce__(self): raise TypeError('not ' + self.p)"
    )
    ran = live.run(f"%%durable {name}\ndef f(password):\n    return U(password)\nctx.run('s', f, {PASSWORD!r})\n1")
    assert "not storable" in bundles(ran)
    assert "Tr0ub4dor" not in bundles(ran)


def test_why_a_step_ran_again_is_told_without_what_is_secret(live, name):
    """``secret=["pin"]``: the panel says that it changed, not from what to what."""
    for pin in ("four-two-four", "nine-nine-nine"):
        ran = live.run(
            f"%%durable {name}\npin = {pin!r}\ndef f(pin):\n    return 1\nctx.run('s', f, pin, secret=['pin'])"
        )
    assert "nine-nine" not in bundles(ran)
    assert "four-two" not in bundles(ran)


def test_a_library_in_c_says_something_just_before_the_step_ends(live, name):
    """What is written to the file descriptor belongs to the step that ran, and comes back with it."""
    body = "def a():\n    os.write(1, b'from c\\n')\n    return 1\nctx.run('a', a)\nctx.run('b', time.sleep, 0.3)\n1"
    cell = f"%%durable {name}\n{body}"
    live.run(cell)
    assert "from c" in live.run(cell).stream()


def test_resolve_of_a_workflow_that_there_is_not(live):
    """The error says that there is no such run, and which there are."""
    ran = live.run("%durable resolve nobody_has_this publish? yes")
    assert "there is no run 'nobody_has_this" in ran.error


def test_a_display_of_a_step_that_the_cell_updates_afterwards(live, name):
    """On replay the cell's own update reaches it: it comes back under its display id."""
    cell = f"""%%durable {name}
from IPython.display import display, update_display
def a():
    display('first', display_id='{name}')
    return 1
ctx.run('a', a)
update_display('later', display_id='{name}')
1"""
    live.run(cell)
    ran = live.run(cell)
    shown = [c for c in ran.of("display_data") if c["data"].get("text/plain") == "'first'"]
    assert shown
    assert shown[0].get("transient", {}).get("display_id") == name


@pytest.mark.parametrize("wait", ["", "await "], ids=["sync", "async"])
def test_an_outer_limit_ends_what_runs_inside(live, name, wait):
    """A durable block in a timed step: the limit is not taken for a failed attempt of the inner step."""
    ran = live.run(f"""%%durable {name}
from notebook_durable import durable
inner = []
class Inner:
    def __reduce_ex__(self, p): raise TypeError
    def __call__(self):
        inner.append(1)
        if len(inner) < 3: time.sleep(2)
        return 'swallowed'
def outer():
    with durable('{name}_in') as c:
        return c.run('x', Inner(), initial_retry_interval=0.01)
{wait}ctx.run('outer', outer, timeout=0.3, max_attempts=1)""")
    assert "TerminalError" in ran.error
    assert live.value("len(inner)") == "1"


def test_a_password_in_a_question_is_not_in_the_saved_notebook(live, name):
    """The picture that stays below the cell."""
    ran = live.run(f"%%durable {name}\nctx.promise('p', question='to postgres://me:Tr0ub4dor@host/db?')",
                   stop_when=lambda ran: any("asking" in panel for panel in ran.panels))  # fmt: skip
    assert "to postgres" in bundles(ran)
    assert "Tr0ub4dor" not in bundles(ran)


@pytest.mark.parametrize("end", ["Stop", "kill"])
def test_an_answer_that_was_accepted_is_not_lost(start_this_kernel, name, end):
    """The kernel that waits is stopped, or killed, between taking the answer and writing it down."""
    kernel, other = start_this_kernel(), start_this_kernel()
    for one in (kernel, other):
        one.run("%load_ext notebook_durable\nimport os, signal")
    kernel.run(
        "from notebook_durable.stores.sqlite import SqliteStore\n_taken = SqliteStore.discard\n"
        "def discard(self, *what):\n    _taken(self, *what)\n    SqliteStore.discard = _taken\n"
        f"    os.kill(os.getpid(), signal.{'SIGINT' if end == 'Stop' else 'SIGKILL'})\n"
        "SqliteStore.discard = discard"
    )
    cell, said = f"%%durable {name}\nctx.promise('p')", []

    def answer(ran):
        if any("asking" in panel for panel in ran.panels) and not said:
            said.append(other.run(f"%durable resolve {name} p yes").stream())
            if end == "kill":
                raise ConnectionResetError
        return False

    try:
        first = kernel.run(cell, stop_when=answer)
        assert first.result == "'yes'" or first.error.startswith("KeyboardInterrupt")
    except ConnectionResetError:
        kernel.manager.provisioner.process.wait(20)
        kernel = other
    assert "has its answer" in said[0]
    ran = kernel.run(cell, stop_when=lambda ran: any("asking" in panel for panel in ran.panels))
    assert (ran.error, ran.result) == ("", "'yes'")
