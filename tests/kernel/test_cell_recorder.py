"""Outputs that come back, in real kernels: the recorder is driven by hand, as the engine and the cell drive it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from kernels import environment

pytestmark = pytest.mark.kernel

SETUP = """
import asyncio, io, json, logging, subprocess, threading
from contextlib import redirect_stdout
from IPython.display import HTML, clear_output, display, update_display
from IPython.utils.capture import capture_output
from notebook_durable.ipython.recorder import OutputRecorder
from notebook_durable.model import Entry, EntryStatus

r = OutputRecorder(get_ipython())
early = logging.Logger('early')
early.addHandler(logging.StreamHandler())

def step(function, hide=str):
    recording = r.recording()
    with recording:
        value = function()
    recording.finish(value)
    return recording.outputs(hide)

async def astep(function):
    recording = r.recording()
    with recording:
        coroutine = function()
    with recording:
        value = await coroutine
    recording.finish(value)
    return recording.outputs(str)

def show(outputs, name='load'):
    r.show(Entry(0, name, 0, EntryStatus.SUCCEEDED, ended_at=1e9), outputs)
"""


@pytest.fixture(scope="module")
def kernel(live):
    ran = live.run(SETUP)
    assert ran.status == "ok", ran.traceback
    return live


def run(kernel, body):
    """Run a cell with the recorder installed, and return what it put out and what it left in ``kept``."""
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    ran = kernel.run(f"r.install()\ntry:\n{indented}\nfinally:\n    r.remove()")
    assert ran.status == "ok", ran.traceback
    return ran, read(kernel, "kept")


def read(kernel, name):
    """The outputs in a variable: text of streams with their name, displays as they are."""
    value = kernel.value(name)
    text = eval(value) if value else ""
    return short(json.loads(text) if text else [])


def short(outputs):
    return [(o["name"], o["text"]) if o["output_type"] == "stream" else o["data"] for o in outputs]


def has(kernel, *modules):
    """Skip where a kernel's Python lacks a module that only this test needs."""
    for module in modules:
        pytest.importorskip(module)
        ran = kernel.run(f"import {module}")
        if ran.status != "ok":
            pytest.skip(f"{module} is not installed beside this kernel")


def test_streams_logs_and_displays(kernel):
    """All of it is shown as ever, in order, and kept; a handler that was made before is heard."""
    ran, kept = run(
        kernel,
        "def f():\n"
        "    print('one')\n"
        "    display(HTML('<b>two</b>'))\n"
        "    early.warning('three')\n"
        "    handle = display('0 %', display_id=True)\n"
        "    handle.update('9 %')\n"
        "kept = step(f)\n"
        "print('the cell')",
    )
    assert kept == [
        ("stdout", "one\n"),
        {"text/plain": "<IPython.core.display.HTML object>", "text/html": "<b>two</b>"},
        ("stderr", "three\n"),
        {"text/plain": "'9 %'"},
    ]
    assert ran.stream() == "one\nthe cell\n"
    assert ran.stream("stderr") == "three\n"
    kinds = [kind for kind, _ in ran.messages if kind in ("stream", "display_data", "update_display_data")]
    assert kinds[:2] == ["stream", "display_data"]
    assert kinds.count("display_data") == 2
    assert kinds.count("update_display_data") == 1


def test_everything_is_put_back(kernel):
    """After the cell no method of ours is left in the kernel (IPython 9 leaves some of its own)."""
    methods = "[vars(o).get('write') for o in (sys.stdout, sys.stderr)] + [vars(get_ipython().display_pub)]"
    found = f"names = [str(one) for one in {methods}]; [n for n in names if 'notebook_durable' in n or 'Tap' in n]"
    run(kernel, f"kept = ''; display(1); {found.replace('[n for', 'found = [n for')}")
    assert kernel.value("len(found)") == "3"
    assert kernel.value(f"{found}") == "[]"


def test_shown_again_in_another_kernel(kernel, start_kernel):
    """What one kernel kept, another one shows through the same channels below one mark."""
    _, kept = run(kernel, "kept = step(lambda: (print('out'), display(HTML('<i>d</i>')), early.error('err')))")
    text = kernel.value("kept")
    other = start_kernel()
    assert other.run(SETUP).status == "ok"
    ran = other.run(
        f"r.install()\nkept = {text}\nfor n in range(3): show(kept)\n"
        "print('!')\nshow(kept, '<script>')\nagain = step(lambda: show(kept))\nr.remove()\nagain"
    )
    assert ran.status == "ok", ran.traceback
    assert ran.result == "''"
    assert ran.stream() == "out\n" * 3 + "!\n" + "out\n" * 2
    assert ran.stream("stderr") == "err\n" * 5
    shown = [one["data"] for one in ran.of("display_data")]
    marks = [data["text/plain"] for data in shown if data["text/plain"].startswith("↺ ")]
    assert len(marks) == 2
    assert marks[0].startswith("↺ output of step 'load', recorded 2001-09-")
    assert "'<script>'" in marks[1]
    assert not any("<script" in data["text/html"] for data in shown)
    assert [data["text/html"] for data in shown].count("<i>d</i>") == 5
    assert len(kept) == 3


def test_clear_output(kernel):
    """What a step cleared itself is not kept."""
    for wait in (True, False):
        ran, kept = run(
            kernel,
            "def f():\n    for n in range(3):\n"
            f"        clear_output(wait={wait})\n        print(n)\n        display(n)\nkept = step(f)",
        )
        assert kept == [("stdout", "2\n"), {"text/plain": "2"}]
        assert len(ran.of("clear_output")) == 3


def test_captures(kernel):
    """A capture in a step hides its output; one around steps gets it, and it is kept; a replay's goes there too."""
    _, kept = run(
        kernel,
        "def f():\n"
        "    with capture_output() as inner:\n        print('hidden'); display('hidden')\n"
        "    with redirect_stdout(io.StringIO()) as text:\n        print('hidden')\n"
        "    assert inner.stdout == text.getvalue() == 'hidden\\n' and len(inner.outputs) == 1\n"
        "    print('seen')\n"
        "kept = step(f)",
    )
    assert kept == [("stdout", "seen\n")]
    ran, kept = run(
        kernel,
        "with capture_output() as cap:\n    kept = step(lambda: (print('in'), display('it')))\n"
        "with capture_output() as again:\n    show(kept)",
    )
    assert kept == [("stdout", "in\n"), {"text/plain": "'it'"}]
    assert ran.of("stream", "display_data") == []
    assert kernel.value("cap.stdout == again.stdout == 'in\\n', len(cap.outputs), len(again.outputs)") == "(True, 1, 2)"


def test_installed_inside_a_capture(kernel):
    """A durable cell that another one runs captured: its steps' output is kept, and all is put back."""
    ran, kept = run(
        kernel,
        "inner = OutputRecorder(get_ipython())\n"
        "with capture_output() as cap:\n"
        "    inner.install()\n"
        "    r, outer = inner, r\n"
        "    kept = step(lambda: (print('deep'), display('it')))\n"
        "r = outer\n"
        "inner.remove()",
    )
    assert kept == [("stdout", "deep\n"), {"text/plain": "'it'"}]
    assert ran.of("stream", "display_data") == []


def test_steps_side_by_side(kernel):
    """Tasks don't mix, also in displays, and what the cell says between is nobody's."""
    ran, kept = run(
        kernel,
        "async def say(n):\n"
        "    for _ in range(3):\n        print(n); display(n); await asyncio.sleep(0.001)\n"
        "tasks = [asyncio.ensure_future(astep(lambda n=n: say(n))) for n in range(3)]\n"
        "for _ in range(3):\n    print('cell'); await asyncio.sleep(0.001)\n"
        "all_kept = await asyncio.gather(*tasks)\n"
        "kept = json.dumps([one for text in all_kept for one in json.loads(text)])",
    )
    assert kept == [one for n in range(3) for _ in range(3) for one in (("stdout", f"{n}\n"), {"text/plain": str(n)})]
    assert ran.stream().count("cell\n") == 3


def test_threads_and_processes(kernel):
    """What threads of the only step say is kept, and what programs write that it starts with ``!``."""
    _, kept = run(
        kernel,
        "def f():\n"
        "    thread = threading.Thread(target=lambda: (print('thread'), display('shown')))\n"
        "    thread.start(); thread.join()\n"
        "    get_ipython().system('echo program')\n"
        "kept = step(f)",
    )
    assert kept[:2] == [("stdout", "thread\n"), {"text/plain": "'shown'"}]
    assert [(name, text.replace("\r", "")) for name, text in kept[2:]] == [("stdout", "program\n")]


def test_tqdm_text_bars(kernel):
    """A text bar is kept in its last state."""
    has(kernel, "tqdm")
    _, kept = run(kernel, "from tqdm import tqdm\nkept = step(lambda: list(tqdm(range(500), mininterval=0)))")
    ((name, text),) = kept
    assert name == "stderr"
    assert text.startswith("100%|")
    assert "500/500" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("last", ["gc.collect()", "pass"])
def test_tqdm_widgets(kernel, last):
    """A widget can't come back without its kernel: its last state is kept as text. A closed one is gone."""
    has(kernel, "tqdm")
    ran, kept = run(
        kernel,
        "import gc\nfrom tqdm.notebook import tqdm\n"
        "def f():\n"
        "    for _ in tqdm(range(7), desc='stays'): pass\n"
        "    for _ in tqdm(range(7), desc='goes', leave=False): pass\n"
        f"    {last}\n"
        "kept = step(f)",
    )
    views = [one for one in ran.of("display_data") if "application/vnd.jupyter.widget-view+json" in one["data"]]
    assert len(views) == 2
    (bar,) = kept
    assert list(bar) == ["text/plain"]
    assert bar["text/plain"].startswith("stays: 100%|█")
    assert "7/7" in bar["text/plain"]


def test_widgets(kernel):
    """Widgets are kept in the state at the end of the step, with the HTML that they make themselves."""
    ran, kept = run(
        kernel,
        "import ipywidgets\n"
        "class Own(ipywidgets.IntProgress):\n"
        "    def _repr_mimebundle_(self, **named):\n"
        "        return {**super()._repr_mimebundle_(**named), 'text/html': f'<b>{self.value}</b>'}\n"
        "def f():\n"
        "    plain, own = ipywidgets.IntProgress(), Own()\n"
        "    display(plain); display(own)\n"
        "    plain.value = own.value = 42\n"
        "kept = step(f)",
    )
    assert len(ran.of("display_data")) == 2
    assert kept[0] == {"text/plain": "IntProgress(value=42)"}
    assert kept[1] == {"text/plain": "Own(value=42)", "text/html": "<b>42</b>"}


PLOT = "import matplotlib.pyplot as plt\n"


def images(displays):
    return ["image/png" in one.get("data", one) for one in displays]


def test_figures(kernel):
    """A figure that is shown, or left open, is kept with the step that made it; the cell's own come at its end."""
    has(kernel, "matplotlib")
    kernel.run("%matplotlib inline")
    ran, kept = run(kernel, PLOT + "kept = step(lambda: (plt.plot([1, 2]), plt.show(), None)[2])")
    assert images(kept) == images(ran.of("display_data")) == [True]
    ran, kept = run(
        kernel,
        PLOT + "plt.plot([3])\n"
        "kept = step(lambda: (plt.figure(), plt.plot([1, 2]), print('after'), None)[3])\n"
        "print('the cell goes on')",
    )
    assert kept[0] == ("stdout", "after\n")
    assert images(kept[1:]) == [True]
    assert len(kept[1]["image/png"]) > 1000
    order = [
        "fig" if kind == "display_data" else content["text"]
        for kind, content in ran.messages
        if "data" in content or kind == "stream"
    ]
    assert "".join(order) == "after\nfigthe cell goes on\nfig"
    assert kernel.value("plt.get_fignums()") == "[]"


@pytest.mark.parametrize(
    "value",
    ["fig", "(fig, 1)", "{'a': fig}", "fig.gca()", "plt.subplots(2, 2)", "plt.subplots(2, 2)[1]", "plt.plot([1])"],
)
def test_figures_that_are_the_value(kernel, value):
    """They are the cell's to show, and are not closed under its hands."""
    has(kernel, "matplotlib")
    kernel.run("%matplotlib inline")
    drawn = "plt.plot([1])[0].figure" if value.startswith(("fig", "(fig", "{")) else "None"
    ran, kept = run(
        kernel,
        PLOT + f"def f():\n    fig = {drawn}\n    return {value}\nkept = step(f)\nopen_ = len(plt.get_fignums())",
    )
    assert kept == []
    assert kernel.value("open_") == "1"
    assert images(ran.of("display_data")) == [True]  # by the backend, at the end of the cell


@pytest.mark.parametrize(
    "before", ["plt.ioff()", "%config InlineBackend.close_figures = False"], ids=["interactive off", "kept open"]
)
def test_figures_as_the_user_set_it(kernel, before):
    """Figures that the backend would not show are not shown; and they stay open if it is told not to close them."""
    has(kernel, "matplotlib")
    kernel.run(f"%matplotlib inline\nimport matplotlib.pyplot as plt\n{before}")
    try:
        ran, kept = run(kernel, PLOT + "kept = step(lambda: plt.plot([1]) and None)")
        assert images(ran.of("display_data")) == images(kept) == ([] if "ioff" in before else [True])
        assert kernel.value("plt.get_fignums()") == "[1]"
    finally:
        kernel.run("plt.ion()\nplt.close('all')\n%config InlineBackend.close_figures = True")


def test_figures_of_steps_side_by_side(kernel):
    """Nobody knows whose they are: they are left to the end of the cell, and mix with nobody's output."""
    has(kernel, "matplotlib")
    kernel.run("%matplotlib inline")
    ran, kept = run(
        kernel,
        PLOT + "async def draw():\n    plt.figure(); plt.plot([1]); await asyncio.sleep(0)\n"
        "kept = ''.join(await asyncio.gather(astep(draw), astep(draw)))",
    )
    assert kept == []
    assert images(ran.of("display_data")) == [True, True]


def test_a_frame(kernel):
    """A frame is kept as text and as HTML."""
    has(kernel, "pandas")
    _, kept = run(kernel, "import pandas\nkept = step(lambda: display(pandas.DataFrame({'a': [1]})))")
    assert sorted(kept[0]) == ["text/html", "text/plain"]


def test_one_megabyte(kernel):
    """A step that floods is shown in full as ever, and at most 1 MB of it is kept."""
    ran, kept = run(kernel, "kept = step(lambda: [print('x' * 99) for _ in range(15_000)])")
    assert len(ran.stream()) == 1_500_000
    assert 900_000 < len(kept[0][1]) < 1_000_000
    assert kept[1] == ("stderr", "... 1 further output was not kept (1 MB per step)\n")


def test_stop(kernel):
    """Stop in a step leaves nothing entered, and what was said until then is kept."""
    ran = kernel.run(
        "recording = r.recording()\nr.install()\ntry:\n    with recording:\n        print('so far', flush=True)\n"
        "        while True: pass\nfinally:\n    r.remove()",
        stop_when=lambda so_far: "so far" in so_far.stream(),
    )
    assert ran.error.startswith("KeyboardInterrupt")
    kernel.run("kept = recording.outputs(str)\nfrom notebook_durable.ipython import recorder_taps as taps")
    assert read(kernel, "kept") == [("stdout", "so far\n")]
    assert kernel.value("taps.ENTERED, taps._taps, taps.current.get()") == "(set(), {}, None)"


def test_terminal(tmp_path):
    """In terminal IPython streams and displays are kept and shown again too."""
    script = tmp_path / "script.ipy"
    script.write_text(
        SETUP + "r.install()\nkept = step(lambda: (print('out'), display(HTML('<b>x</b>')), early.error('err')))\n"
        "r.remove()\nprint(kept)\nshow(kept)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", str(script)],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, plain, kept, mark, *again = done.stdout.splitlines()
    assert [first, plain] == again == ["out", "<IPython.core.display.HTML object>"]
    assert short(json.loads(kept)) == [
        ("stdout", "out\n"),
        {"text/plain": plain},  # all that a terminal asks for
        ("stderr", "err\n"),
    ]
    assert mark.startswith("↺ output of step 'load'")
    assert done.stderr.count("err\n") == 2
