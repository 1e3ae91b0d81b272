"""Outputs that come back, from a durable cell in one kernel to the same cell in the next."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.kernel

MARK = "↺ output of step"


def shown(ran):
    """What a reader sees of a cell, without the panel and the marks: text by stream, displays as text."""
    texts = []
    for kind, content in ran.messages:
        if kind == "stream":
            texts.append(content["text"])
        elif kind == "display_data":
            text = content["data"].get("text/plain", "")
            if not text.startswith("durable ") and MARK not in text:
                texts.append(text)
    return "".join(texts)


def marks(ran):
    """The lines that say what was shown again."""
    found = (content["data"].get("text/plain", "") for content in ran.of("display_data"))
    return [text for text in found if MARK in text]


@pytest.fixture
def kernels(start_kernel):
    """Two kernels, one after the other, with the extension."""

    def start():
        kernel = start_kernel()
        assert kernel.run("%load_ext notebook_durable\nimport asyncio, logging, sys, time").status == "ok"
        return kernel

    return start


def test_printed_logged_and_displayed(kernels):
    """In the same order, in the next kernel, below one mark."""
    cell = (
        "%%durable say\n"
        "def say():\n"
        "    print('printed'); print('to stderr', file=sys.stderr)\n"
        "    logging.getLogger().warning('logged')\n"
        "    import pandas as pd\n"
        "    display(pd.DataFrame({'a': [1, 2]}))\n"
        "    return 5\n"
        "ctx.run('say', say)"
    )
    first = kernels().run(cell)
    kernel = kernels()
    again = kernel.run(cell)
    for text in ("printed\n", "to stderr\n", "logged", "   a\n0  1\n1  2"):
        assert text in shown(first)
    assert sorted(shown(again)) == sorted(shown(first))
    assert any("<table" in c["data"].get("text/html", "") for c in again.of("display_data") if MARK not in str(c))
    (mark,) = marks(again)
    assert "step 'say'" in mark
    assert marks(first) == []
    assert again.result == first.result == "5"


def test_a_figure(kernels):
    """The image itself, also of a figure that the step left open."""
    cell = (
        "%%durable plot\n"
        "def plot():\n"
        "    import matplotlib.pyplot as plt\n"
        "    plt.plot([1, 2]); plt.show()\n"
        "    plt.plot([2, 1])\n"
        "ctx.run('plot', plot)"
    )

    def images(ran):
        return [c["data"]["image/png"] for c in ran.of("display_data") if "image/png" in c["data"]]

    kernel = kernels()
    if kernel.run("import matplotlib").status != "ok":
        pytest.skip("matplotlib is not installed beside this kernel")
    kernel.run("%matplotlib inline")
    first = images(kernel.run(cell))
    kernel = kernels()
    kernel.run("%matplotlib inline")
    assert len(first) == 2
    assert images(kernel.run(cell)) == first


def test_steps_side_by_side_are_not_mixed(kernels):
    """Each gets its own lines, though they came by turns."""
    cell = (
        "%%durable both\n"
        "async def say(who):\n"
        "    for n in range(3):\n"
        "        print(who, n); await asyncio.sleep(0)\n"
        "await asyncio.gather(ctx.run('a', say, 'a'), ctx.run('b', say, 'b'))\n"
    )
    first = kernels().run(cell)
    assert first.stream() == "a 0\nb 0\na 1\nb 1\na 2\nb 2\n"
    again = kernels().run(cell)
    assert again.stream() == "a 0\na 1\na 2\nb 0\nb 1\nb 2\n"


def test_no_output(kernels):
    """For a cell, and for one step."""
    kernel = kernels()
    kernel.run("def say(): print('said')")
    assert "said" in kernel.run("%%durable quiet --no-output\nctx.run('a', say)").stream()
    assert kernel.run("%%durable quiet --no-output\nctx.run('a', say)").stream() == ""
    assert kernel.run("%%durable one\nctx.run('a', say, output=False); ctx.run('b', say)").stream() == "said\nsaid\n"
    assert kernel.run("%%durable one\nctx.run('a', say, output=False); ctx.run('b', say)").stream() == "said\n"


def test_a_loop_of_steps_has_one_mark(kernels):
    """The first step's name stands for the loop."""
    cell = "%%durable loop\nfor i in range(50): ctx.run(f'step {i}', print, i)"
    kernel = kernels()
    kernel.run(cell)
    again = kernel.run(cell)
    assert again.stream() == "".join(f"{i}\n" for i in range(50))
    assert len(marks(again)) == 1


def test_a_password_is_in_no_output_preview_traceback_or_file(kernels):
    """A planted one, under a name that says so: printed, displayed, returned, raised."""
    planted = "pl4nted-" + "pa55w0rd"
    kernel = kernels()
    kernel.run(f"db_password = {planted!r}")
    kernel.run(
        "def connect():\n"
        "    print('connecting with', db_password); display({'dsn': f'me:{db_password}'})\n"
        "    return ('connection', db_password)\n"
        "def refuse():\n"
        "    print(db_password, file=sys.stderr)\n"
        "    raise ConnectionError(f'{db_password} was refused')"
    )
    cell = "%%durable secret\nctx.run('connect', connect)[0]\n"
    kernel.run(cell + "ctx.run('refuse', refuse, max_attempts=1)")
    again = kernel.run(cell)
    assert "connecting with •••" in again.stream()
    told = json.dumps([kernel.run(line).messages for line in (
        "%durable", "%durable show secret", "%durable why secret", "%durable history secret",
        "from notebook_durable import journal; print(journal().to_frame().to_string())",
    )])  # fmt: skip
    assert "ConnectionError" in told
    assert planted not in told + json.dumps(again.messages)


def test_headless_nothing_floods(kernels):
    """Without a front end that names its cells there is no widget; a retry is at most one line."""
    kernel = kernels()
    kernel.run("import queue\nn = queue.SimpleQueue()\ndef flaky():\n    n.put(1)\n    if n.qsize() < 4: raise OSError")
    ran = kernel.run("%%durable flaky\nctx.run('x', flaky, initial_retry_interval=0.01)")
    assert ran.of("comm_open") == []
    assert ran.stream("stderr") == ""
    assert "attempt 4" in ran.panels[-1]


def test_observers_of_the_users_own(live, name):
    """%config Durable.observers: they get every event; one that fails is told once and harms nobody."""
    live.run(
        "class Keeps:\n    def __init__(self): self.seen = []\n"
        "    def notify(self, event): self.seen.append(type(event).__name__)\n"
        "class Fails:\n    def notify(self, event): raise RuntimeError('mine')\n"
        "keeps = Keeps()"
    )
    assert live.run("%config Durable.observers = [Fails(), keeps]").stream("stderr") == ""
    ran = live.run(f"%%durable {name}\n[ctx.run('x', abs, -i) for i in range(3)]")
    assert ran.result == "[0, 1, 2]"
    assert ran.stream("stderr").count("RuntimeError: mine") == 1
    assert live.value("keeps.seen[0], keeps.seen.count('StepEnded'), keeps.seen[-1]") == (
        "('ExecutionStarted', 3, 'ExecutionEnded')"
    )
    live.run("from notebook_durable.progress import as_dict; import json")
    live.run("class Prints:\n    def notify(self, event): lines.append(json.dumps(as_dict(event)))\nlines = []")
    live.run("%config Durable.observers = [Prints()]")
    live.run(f"%%durable {name}\nctx.run('y', abs, -1)")
    assert '"step": "y"' in live.value("lines[1]")
    assert "method notify" in live.run("%config Durable.observers = [1]").stream("stderr")
    live.run("%config Durable.observers = []")


def test_spans_of_a_cell(start_this_kernel):
    """The line of the README: each step is a span of OpenTelemetry."""
    kernel = start_this_kernel()
    kernel.run("%load_ext notebook_durable")
    ran = kernel.run(
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "kept = InMemorySpanExporter(); provider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(kept)); trace.set_tracer_provider(provider)\n"
        "from notebook_durable.otel import TracingObserver\n"
    )
    assert ran.status == "ok", ran.error
    assert kernel.run("%config Durable.observers = [TracingObserver()]").stream("stderr") == ""
    kernel.run("%%durable traced\nctx.run('x', abs, -1)")
    assert kernel.value("sorted(span.name for span in kept.get_finished_spans())") == "['durable traced', 'x']"
