"""The live output in a real kernel: one display per cell, updated in place, also from a cell without await."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel


def displays(ran):
    return ran.of("display_data", "update_display_data")


def test_one_display_updated_in_place(live, name):
    """One display_data, then updates of it; the last state is the end."""
    ran = live.run(f"%%durable {name}\nctx.run('load', time.sleep, 0.3)\nctx.run('score', int)")
    kinds = [kind for kind, content in ran.messages if kind.endswith("display_data")]
    assert kinds[0] == "display_data"
    assert set(kinds[1:]) == {"update_display_data"}
    assert len({content["transient"]["display_id"] for content in displays(ran)}) == 1
    assert ran.panels[-1].splitlines()[0] == f"durable {name}: 2 run"
    assert "running" in ran.panels[0]


def test_nothing_without_steps(live, name):
    """A cell that calls no step shows nothing of ours."""
    assert displays(live.run(f"%%durable {name}\n1")) == []


def test_it_stands_above_what_the_cell_puts_out(live, name):
    """The display comes first, so that it stands above what steps print."""
    ran = live.run(f"%%durable {name}\nctx.run('say', lambda: print('from the step', flush=True))\n5")
    kinds = [kind for kind, _ in ran.messages if kind in ("display_data", "stream", "execute_result")]
    assert kinds == ["display_data", "stream", "execute_result"]


@pytest.mark.parametrize("form", ["ctx.run", "await ctx.run"])
def test_the_countdown_ticks(live, name, form):
    """While a step waits for its next attempt the time to it goes down, in a sync cell too."""
    live.run(
        "tries = []\ndef flaky():\n    tries.append(1)\n    if len(tries) < 2: raise ConnectionError('no <route>')"
    )
    ran = live.run(f"%%durable {name}\n{form}('call', flaky, max_attempts=3, initial_retry_interval=1.6)")
    waiting = [text for text in ran.panels if "waiting" in text]
    assert len(waiting) >= 3
    assert len({text.rpartition("next attempt in")[2] for text in waiting}) >= 3
    assert all("ConnectionError: no <route>" in text for text in waiting)
    assert "attempt 1 of 3" in waiting[0]
    assert "attempt 2 of 3" in ran.panels[-1]
    html = "".join(content["data"]["text/html"] for content in displays(ran))
    assert "no &lt;route&gt;" in html
    assert "<route>" not in html


def test_replay_is_summed_up(live, name):
    """The second run says how many steps were replayed, and the time that this saved."""
    cell = f"%%durable {name}\nctx.run('a', time.sleep, 0.2)\nctx.run('b', int)"
    live.run(cell)
    ran = live.run(cell + "\nctx.run('c', int)")
    assert ran.panels[-1].splitlines()[0].startswith(f"durable {name}: 2 replayed (saved 0.")
    assert ran.panels[-1].splitlines()[0].endswith("s), 1 run")


def test_why_a_step_ran(live, name):
    """A step that an earlier execution left open says so."""
    live.run(f"%%durable {name}\ndef bad(): raise KeyError('x')\nctx.run('a', bad)")
    ran = live.run(f"%%durable {name}\nctx.run('a', int)")
    assert ran.panels[-1].splitlines()[0] == f"durable {name}: 1 run"
    assert len(ran.panels[-1].splitlines()[1].split()) > 4  # the reason, in the engine's words


def test_names_are_data(live, name):
    """Markup in names is shown, not obeyed."""
    ran = live.run(f"%%durable \"{name} <i>\"\nctx.run('<script>alert(1)</script>', int)")
    html = displays(ran)[-1]["data"]["text/html"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert f"{name} &lt;i&gt;" in html
    assert "<script" not in html


def test_many_steps_dont_flood(live, name):
    """Thousands of steps come to a handful of messages and rows."""
    cell = f"%%durable {name}\nfor n in range(2000):\n    ctx.run('tick', int)"
    for _ in range(2):
        ran = live.run(cell)
        assert len(displays(ran)) < 200
        assert len(ran.panels[-1].splitlines()) < 30
    assert "2,000 replayed" in ran.panels[-1]


def test_a_step_that_shows_things_itself(live, name):
    """Displays of the step and of the cell are untouched."""
    ran = live.run(f"%%durable {name}\nfrom IPython.display import display\nctx.run('show', lambda: display('mine'))")
    assert [content["data"]["text/plain"] for content in displays(ran)][1] == "'mine'"


def test_a_display_that_fails(live, name):
    """An error in the display never reaches the step."""
    live.run(
        "pub = get_ipython().display_pub\nreal = pub.publish\n"
        "def broken(*args, **kwargs): raise RuntimeError('no display')\npub.publish = broken"
    )
    try:
        ran = live.run(f"%%durable {name}\nvalue = ctx.run('s', int, '4')")
    finally:
        live.run("del pub.publish")
    assert ran.status == "ok"
    assert live.value("value") == "4"


def test_the_thread_ends_with_the_cell(live, name):
    """No thread of ours is left, whatever way the cell ended."""
    live.run("import threading")
    left = "[t.name for t in threading.enumerate() if 'durable' in t.name]"
    for body in ("ctx.run('s', int)", "ctx.run('s', int); 1/0", "await ctx.run('s', int)", "ctx.run('s', int)\n1/0"):
        live.run(f"%%durable {name}\n{body}")
        assert live.value(left) == "[]"


def test_captured_inside_the_cell(live, name):
    """A capture that the cell itself makes gets what the user made it for; the panel comes after it, once."""
    ran = live.run(
        f"%%durable {name}\nfrom IPython.utils.capture import capture_output\n"
        "with capture_output() as got:\n    ctx.run('s', lambda: print('inside'))\n    ctx.run('t', int)\ngot.stdout"
    )
    assert ran.result == r"'inside\n'"
    assert len(ran.panels) == 1


def test_an_unstorable_result_is_said_loudly(live, name):
    """The live value is kept; the panel names the type."""
    ran = live.run(f"%%durable {name}\nctx.run('numbers', lambda: (n for n in [1, 2])), 1")
    assert ran.status == "ok"
    assert "1 not storable" in ran.panels[-1]
    assert "generator" in ran.panels[-1]
