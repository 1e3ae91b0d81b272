"""Outputs that come back: what is taken down, what is kept of it, and how it is shown again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import itertools
import json
import logging
import os
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notebook_durable.ipython import recorder_taps
from notebook_durable.ipython.recorder import OutputRecorder, unrecorded
from notebook_durable.ipython.recorder_kept import LIMIT, Kept
from notebook_durable.ipython.recorder_text import settle
from notebook_durable.model import Entry, EntryStatus

UP = "\x1b[A"
PNG = "image/png"


class Publisher:
    """A display publisher that remembers, as a front end does."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def publish(self, data, metadata=None, *, transient=None, update=False, **_):
        self.shown.append(dict(data))

    def clear_output(self, wait=False):
        self.shown.append("cleared")


class Shell:
    def __init__(self) -> None:
        self.display_pub: Any = Publisher()

    def display(self, data, *, key=None, update=False, metadata=None):
        bundle = {"text/plain": data} if isinstance(data, str) else data
        self.display_pub.publish(
            data=bundle, metadata=metadata or {}, transient={"display_id": key} if key else {}, update=update
        )


class Streams:
    """Streams as a terminal has them: text files over bytes."""

    def __init__(self) -> None:
        self.out, self.err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n") for _ in range(2))
        self.recorder: OutputRecorder | None = None

    def text(self, name: str) -> str:
        stream = getattr(self, name)
        stream.flush()
        return stream.buffer.getvalue().decode()

    @contextlib.contextmanager
    def in_place(self):
        with contextlib.redirect_stdout(self.out), contextlib.redirect_stderr(self.err):
            if self.recorder is not None:
                self.recorder.install()
            try:
                yield
            finally:
                if self.recorder is not None:
                    self.recorder.remove()


@pytest.fixture
def streams(request, monkeypatch):
    """In place while the test itself runs; pytest changes the streams between its fixtures and the test."""
    streams, test = Streams(), request.node.obj

    @functools.wraps(test)
    def inside(**named):
        with streams.in_place():
            test(**named)
        assert not recorder_taps._taps
        assert not recorder_taps.ENTERED

    monkeypatch.setattr(request.node, "obj", inside)
    return streams


@pytest.fixture
def shell():
    return Shell()


@pytest.fixture
def recorder(streams, shell):
    """Installed while the test runs."""
    streams.recorder = OutputRecorder(shell)
    return streams.recorder


def outputs(recording, hide=str):
    text = recording.outputs(hide)
    return json.loads(text) if text else []


def record(recorder, function, hide=str):
    with recorder.recording() as recording:
        function()
    return outputs(recording, hide)


def said(recorder, function, hide=str):
    """Streams as (name, text), displays as their plain text."""
    return short(record(recorder, function, hide))


def short(kept):
    return [(o["name"], o["text"]) if o["output_type"] == "stream" else o["data"].get("text/plain") for o in kept]


def entry(name="load", occurrence=0):
    return Entry(0, name, occurrence, EntryStatus.SUCCEEDED, started_at=1.0, ended_at=86_400.0 * 365)


# --- what is taken down -------------------------------------------------------------------


def test_streams_and_displays_in_order(recorder, shell, streams):
    """Both streams and displays are kept in order, and shown at once as ever."""

    def step():
        print("one")
        sys.stdout.write("two\n")
        shell.display("a frame")
        print("\x1b[31mred\x1b[0m", file=sys.stderr)
        sys.stdout.writelines(["three\n", "four\n"])
        assert shell.display_pub.shown == [{"text/plain": "a frame"}]
        assert streams.text("out") == "one\ntwo\nthree\nfour\n"

    assert said(recorder, step) == [
        ("stdout", "one\ntwo\n"),
        "a frame",
        ("stderr", "\x1b[31mred\x1b[0m\n"),
        ("stdout", "three\nfour\n"),
    ]
    assert streams.text("err") == "\x1b[31mred\x1b[0m\n"


def test_nothing_said_is_nothing_kept(recorder):
    """A step that says nothing keeps the empty text; so does one that only writes empty texts."""
    with recorder.recording() as recording:
        print(end="")
    assert recording.outputs(str) == ""


def test_outside_of_steps(recorder):
    """What the cell itself says belongs to no step."""
    print("before")
    kept = said(recorder, lambda: print("in"))
    print("after")
    assert kept == [("stdout", "in\n")]


def test_a_handler_made_before(streams, shell):
    """A logging handler holds the stream itself, from before the cell began; what it writes is kept."""
    logger = logging.Logger("mine")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    recorder = OutputRecorder(shell)
    recorder.install()
    try:
        assert said(recorder, lambda: logger.warning("careful")) == [("stderr", "careful\n")]
    finally:
        recorder.remove()
    assert streams.text("err") == "careful\n"


def test_entered_twice(recorder):
    """A recording that is left and entered again, as for a call and its await, goes on."""
    recording = recorder.recording()
    with recording:
        print("call")
    print("between")
    with recording:
        print("await")
    assert short(outputs(recording)) == [("stdout", "call\nawait\n")]


def test_closed_by_its_outputs(recorder):
    """What is said after the outputs were asked for is not kept."""
    recording = recorder.recording()
    with recording:
        print("in time")
        first = outputs(recording)
        print("too late")
    assert first == outputs(recording)


def test_a_step_that_fails(recorder):
    """An error goes through a recording untouched, and what was said before is kept."""
    recording = recorder.recording()
    with pytest.raises(KeyError), recording:
        print("so far")
        raise KeyError
    assert short(outputs(recording)) == [("stdout", "so far\n")]


def test_one_recording_in_another(recorder):
    """What an inner recording keeps was said in the outer one too."""
    with recorder.recording() as outer:
        inner = said(recorder, lambda: print("deep"))
        print("out")
    assert inner == [("stdout", "deep\n")]
    assert short(outputs(outer)) == [("stdout", "deep\nout\n")]


def test_not_installed(streams, shell):
    """Without an installed recorder a recording works all the same, and leaves no trace."""
    assert said(OutputRecorder(shell), lambda: print("alone")) == [("stdout", "alone\n")]
    assert "write" not in vars(streams.out)


# --- streams that somebody replaced -------------------------------------------------------


def test_what_a_step_catches_itself(recorder):
    """What goes into a step's own StringIO is no output."""
    caught = io.StringIO()

    def step():
        with contextlib.redirect_stdout(caught):
            print("mine")
        print("shown")

    assert said(recorder, step) == [("stdout", "shown\n")]
    assert caught.getvalue() == "mine\n"


def test_a_step_whose_output_is_caught(recorder, shell):
    """A capture around a step gets its output, which is kept; a replay's goes where output goes then."""
    caught, pub = io.StringIO(), shell.display_pub
    shell.display_pub = Publisher()
    with contextlib.redirect_stdout(caught):
        kept = said(recorder, lambda: (print("seen"), shell.display("fig")))
    shell.display_pub, captured = pub, shell.display_pub
    assert kept == [("stdout", "seen\n"), "fig"]
    assert caught.getvalue() == "seen\n"
    assert captured.shown == [{"text/plain": "fig"}]
    assert vars(caught) == {}
    assert "publish" not in vars(captured)


def test_a_tee_counts_once(recorder, streams):
    """A stream that writes on to the real one is heard once, whether it was there before the step or not."""

    class Tee:
        def write(self, text):
            return streams.out.write(text)

    def step():
        with contextlib.redirect_stdout(Tee()):
            print("inside")

    assert said(recorder, step) == [("stdout", "inside\n")]
    with contextlib.redirect_stdout(Tee()):
        assert said(recorder, lambda: print("around")) == [("stdout", "around\n")]


def test_a_publisher_that_prints(recorder, shell):
    """A terminal's publisher prints the plain text: that is one output, not two."""

    class Terminal(Publisher):
        def publish(self, data, metadata=None, *, transient=None, update=False):
            print(data["text/plain"])

    shell.display_pub = Terminal()
    assert said(recorder, lambda: shell.display("once")) == ["once"]


@pytest.mark.parametrize("target", ["slots", "none"])
def test_a_stream_that_cant_be_tapped(shell, monkeypatch, target):
    """It works as ever, and what goes into it is not kept."""

    class Slots:
        __slots__ = ("text",)

        def write(self, text):
            self.text = text

    monkeypatch.setattr(sys, "stdout", Slots() if target == "slots" else None)
    recorder = OutputRecorder(shell)
    recorder.install()
    try:
        assert said(recorder, lambda: (sys.stdout and sys.stdout.write("x"), shell.display("d"))) == ["d"]
        assert target == "none" or sys.stdout.text == "x"
    finally:
        recorder.remove()


# --- putting back -------------------------------------------------------------------------


def test_everything_is_put_back(streams, shell):
    """After the last of nested cells, in whatever order they end, the objects are what they were."""
    mine = shell.display_pub.publish = lambda *args, **named: None
    for order in itertools.permutations(range(3)):
        recorders = [OutputRecorder(shell) for _ in range(3)]
        for recorder in recorders:
            recorder.install()
        for left, n in enumerate(order, 1):
            assert said(recorders[n], lambda: print("still")) == [("stdout", "still\n")]
            recorders[n].remove()
            assert ("write" in vars(streams.out)) == (left < 3)
            recorders[n].remove()  # once more does nothing
        assert vars(shell.display_pub) == {"shown": [], "publish": mine}
    assert sys.stdout is streams.out


def test_one_recorder_for_nested_cells(recorder, streams):
    """One recorder may be installed once per cell."""
    recorder.install()
    recorder.remove()
    assert said(recorder, lambda: print("outer")) == [("stdout", "outer\n")]


def test_wrapped_meanwhile(streams, shell):
    """A wrapper that somebody put over our method stays, and works after we are gone and when we come back."""
    recorder = OutputRecorder(shell)
    recorder.install()
    ours, lines = sys.stdout.write, []
    sys.stdout.write = lambda text: (lines.append(text), ours(text))[1]
    recorder.remove()
    print("gone")
    recorder.install()
    try:
        assert said(recorder, lambda: print("back")) == [("stdout", "back\n")]
    finally:
        recorder.remove()
    assert lines == ["gone", "\n", "back", "\n"]
    assert streams.text("out") == "gone\nback\n"


def test_taken_away_meanwhile(recorder, streams):
    """IPython takes our method away as a cell ends; steps of a rollback that run after that are heard all the same."""
    before = sys.stdout.write
    del sys.stdout.write
    assert said(recorder, lambda: print("late")) == [("stdout", "late\n")]
    sys.stdout.write = before  # and if it comes back there is only one
    assert said(recorder, lambda: print("later")) == [("stdout", "later\n")]
    assert streams.text("out") == "late\nlater\n"
    recorder.remove()
    recorder.install()


def test_wrapped_in_the_cell(recorder):
    """A wrapper that a cell puts over our method: what it makes of a text is shown, what the step said is kept."""
    ours = sys.stdout.write
    sys.stdout.write = lambda text: ours(text.upper())
    assert said(recorder, lambda: print("quiet")) == [("stdout", "quiet\n")]
    del sys.stdout.write


def test_a_recording_that_was_never_left(recorder, streams):
    """A Stop between two instructions may leave a recording entered; the end of the cell ends it."""
    recorder.recording().__enter__()
    recorder.remove()
    assert not recorder_taps.ENTERED
    assert recorder_taps.current.get() is None
    recorder.install()


# --- side by side -------------------------------------------------------------------------


def test_tasks_dont_mix(recorder):
    """Steps side by side keep what their own tasks say, and tasks started by them; the cell's own task is nobody's."""

    async def step(n):
        async def child():
            await asyncio.sleep(0)
            print(f"child of {n}")

        with recorder.recording() as recording:
            for _ in range(3):
                print(n)
                await asyncio.sleep(0)
            await asyncio.create_task(child())
        return outputs(recording)

    async def cell():
        steps = [asyncio.create_task(step(n)) for n in range(5)]
        for _ in range(4):
            print("cell")
            await asyncio.sleep(0)
        return await asyncio.gather(*steps)

    kept = asyncio.run(cell())
    assert [short(one) for one in kept] == [[("stdout", f"{n}\n" * 3 + f"child of {n}\n")] for n in range(5)]


def test_a_lonely_step_and_the_cell(recorder):
    """Also with one step under way, what the cell says beside it is not the step's."""

    async def step(entered):
        with recorder.recording() as recording:
            print("step")
            entered.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return outputs(recording)

    async def cell():
        entered = asyncio.Event()
        task = asyncio.create_task(step(entered))
        await entered.wait()
        print("cell")
        return await task

    assert short(asyncio.run(cell())) == [("stdout", "step\n")]


def test_threads_of_the_only_step(recorder):
    """A thread's output belongs to the step if there is only one; between two it is not kept."""

    def in_thread():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(print, "from a thread").result()

    assert said(recorder, in_thread) == [("stdout", "from a thread\n")]
    with recorder.recording() as other:
        assert said(recorder, in_thread) == []
    assert outputs(other) == []


def test_our_own_threads(recorder, shell):
    """What the live panel draws from its thread is no output of a step."""

    def step():
        thread = threading.Thread(target=shell.display, args=("panel",), name="notebook_durable-output")
        thread.start()
        thread.join()
        with unrecorded():
            shell.display("panel too")

    assert said(recorder, step) == []
    assert len(shell.display_pub.shown) == 2


# --- displays ----------------------------------------------------------------------------


def test_updates(recorder, shell):
    """A display that is updated is kept in its last state and its place; updates of others' displays are not kept."""

    def step():
        shell.display("0 %", key="bar")
        shell.display("other")
        for n in range(1, 4):
            shell.display(f"{n} %", key="bar", update=True)
        shell.display("not mine", key="foreign", update=True)

    assert said(recorder, step) == ["3 %", "other"]


@pytest.mark.parametrize("wait", [False, True])
def test_clear_output(recorder, shell, wait):
    """What was cleared is not kept; with wait, once something new is shown."""

    def step():
        for n in range(3):
            print(n)
            shell.display("figure", key="f")
            shell.display_pub.clear_output(wait=wait)
        if wait:
            print("last")

    assert said(recorder, step) == ([("stdout", "last\n")] if wait else [])
    assert not wait or said(recorder, lambda: (print("stays"), shell.display_pub.clear_output(wait=True)))


def test_a_copy_of_json_and_bytes(recorder, shell):
    """Values that may change later are copied; bytes become base64, as a front end gets them."""
    chart = {"data": [1, 2]}

    def step():
        shell.display({"application/json": chart, PNG: b"\x89PNG"}, metadata={PNG: {"width": 4}})
        chart["data"].append(3)

    assert record(recorder, step) == [
        {
            "output_type": "display_data",
            "data": {"application/json": {"data": [1, 2]}, PNG: "iVBORw=="},
            "metadata": {PNG: {"width": 4}},
        }
    ]


# --- lines that are written over ----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain\n", "plain\n"),
        ("1 %\r2 %\n", "2 %\n"),
        ("\r10%\r100%\rdone\n", "done\n"),
        ("dos\r\nlines\r\n", "dos\nlines\n"),
        ("10%\r20%\r", "20%\r"),
        ("long line\rshort", "shortline"),
        ("\rbar\r   \r", ""),
        ("before\n\rbar\r   \r", "before\n"),
        ("\r\x1b[31m10%\x1b[0m\r\x1b[32m20%\x1b[0m\n", "\x1b[32m20%\x1b[0m\n"),
        ("spin\r\x1b[2Kdone\n", "done\n"),
        ("spinning\rab\x1b[Kc\n", "abc\n"),
        ("12\x08\x083\n", "32\n"),
        (f"\ra 1\n\rb 1{UP}\ra 2\n\rb 2\n", "a 2\nb 2\n"),
        (f"{UP}top", "top"),
    ],
)
def test_what_is_left_of_a_text(text, left):
    """Only the last state of a line is kept."""
    assert settle(text, final=True) == left


pieces = st.lists(st.sampled_from(["a", "bc", "\n", "\r", "\x08", UP, " "]), max_size=12).map("".join)


@given(pieces, pieces)
def test_settling_halfway_changes_nothing(first, second):
    """A text that is settled while more is to come ends up the same, but for blanks at the end of lines."""
    halfway = settle(settle(first, final=False) + second, final=True)
    at_once = settle(first + second, final=True)
    assert [line.strip("\r").rstrip() for line in halfway.split("\n")] == [
        line.strip("\r").rstrip() for line in at_once.split("\n")
    ]


def test_a_long_progress_bar(recorder):
    """A bar of a hundred thousand states is one line."""

    def step():
        for n in range(100_000):
            sys.stderr.write(f"\rworking {n:6} {'#' * 40}")
        sys.stderr.write("\n")

    assert said(recorder, step) == [("stderr", f"working  99999 {'#' * 40}\n")]


def test_tqdm_bars(recorder):
    """Text bars of tqdm, also one in another, are kept as they end."""
    tqdm = pytest.importorskip("tqdm")

    def step():
        for _ in tqdm.tqdm(range(3), desc="outer", mininterval=0, file=sys.stderr):
            for _ in tqdm.tqdm(range(4), desc="inner", mininterval=0, position=1, leave=False, file=sys.stderr):
                pass

    ((name, text),) = said(recorder, step)
    assert name == "stderr"
    assert text.startswith("outer: 100%|")
    assert "3/3" in text
    assert "inner" not in text
    assert len(text.splitlines()) == 1


# --- the limit ---------------------------------------------------------------------------


def size(kept):
    return len(json.dumps(kept, ensure_ascii=False).encode())


def note(n):
    what = "1 further output was" if n == 1 else f"{n:,} further outputs were"
    return ("stderr", f"... {what} not kept (1 MB per step)\n")


@pytest.mark.parametrize("line", ["0123456789", 'quotes " \\ \x1b[0m', "жук ☃ 🐞"])
@pytest.mark.parametrize("many", [False, True])
def test_long_texts_are_cut_at_a_line_end(recorder, line, many):
    """A step keeps at most 1 MB of JSON, and of a text whole lines; nearly all of the 1 MB is used."""
    lines = 300_000

    def step():
        if many:
            for _ in range(lines):
                print(line)
        else:
            print("\n".join([line] * lines))

    kept = record(recorder, step)
    assert 900_000 < size(kept) <= LIMIT
    text, last = short(kept)
    assert set(text[1].splitlines()) == {line}
    assert text[1].endswith("\n")
    assert last == note(1)


def test_one_line_that_is_too_long(recorder):
    """There is no line end to cut it at."""
    assert said(recorder, lambda: print("x" * 2_000_000)) == [note(1)]


def test_whole_displays_are_dropped(recorder, shell):
    """What doesn't fit is dropped as a whole, and with it all that follows; the note counts it."""
    image = "A" * 400_000

    def step():
        for _ in range(4):
            shell.display({PNG: image})
        print("a")
        print("b")
        print("c", file=sys.stderr)

    kept = record(recorder, step)
    assert [one["data"][PNG] for one in kept[:-1]] == [image] * 2
    assert short(kept)[-1] == note(4)
    assert size(kept) <= LIMIT


@pytest.mark.parametrize("length", [LIMIT - 400, LIMIT - 100, LIMIT, LIMIT + 10_000, 3 * LIMIT])
def test_one_display_about_the_limit(recorder, shell, length):
    """It is kept as it is or not at all."""
    kept = record(recorder, lambda: shell.display({PNG: "A" * length}))
    assert size(kept) <= LIMIT
    if length == LIMIT - 400:
        assert [list(one["data"].values()) for one in kept] == [["A" * length]]
    else:
        assert short(kept) == [note(1)]


def test_an_update_that_is_too_large(recorder, shell):
    """The display is dropped, until an update makes it small again."""

    def step(*states):
        shell.display("small", key="d")
        for state in states:
            shell.display(state, key="d", update=True)

    assert said(recorder, lambda: step("x" * 2_000_000)) == [note(1)]
    assert said(recorder, lambda: step("x" * 2_000_000, "small again")) == ["small again"]


def test_clearing_makes_room(recorder, shell):
    """After clear_output there is room for 1 MB again."""

    def step():
        for n in range(5):
            shell.display_pub.clear_output(wait=True)
            shell.display({PNG: "A" * 900_000, "text/plain": str(n)})

    assert said(recorder, step) == ["4"]


def test_memory_is_bounded(shell):
    """Two hundred megabytes of output, in large and in tiny pieces, are not held."""
    tracemalloc.start()
    try:
        kept, text = Kept(), "line\n" * 200_000
        for _ in range(200):
            kept.write("stdout", text)
        tiny = Kept()
        for n in range(300_000):
            tiny.write(("stdout", "stderr")[n % 2], "x")
        assert tracemalloc.get_traced_memory()[0] < 30_000_000
    finally:
        tracemalloc.stop()


# --- secrets -----------------------------------------------------------------------------


def hide(text):
    return text.replace("hunter2", "•••")


def test_a_secret_in_pieces(recorder):
    """A secret that was written in pieces is hidden, also with other output in between."""
    split = said(recorder, lambda: (print("a hun", end=""), print("ter2 b")), hide)
    assert split == [("stdout", "a ••• b\n")]

    def interleaved():
        print("a hun", end="")
        print("log", file=sys.stderr)
        print("ter2 b")

    assert said(recorder, interleaved, hide) == [("stdout", "a ••• b\n"), ("stderr", "log\n")]


def test_secrets_keep_the_order(recorder):
    """Whole secrets in several pieces are hidden where they are."""

    def step():
        print("hunter2")
        print("log", file=sys.stderr)
        print("and hunter2")

    assert said(recorder, step, hide) == [("stdout", "•••\n"), ("stderr", "log\n"), ("stdout", "and •••\n")]


def test_secrets_in_displays(recorder, shell):
    """Every text of a display is hidden in, JSON and metadata too; an image is left alone."""
    bundle = {
        "text/plain": "hunter2",
        "text/html": "<b>hunter2</b>",
        "text/latex": "$hunter2$",
        "application/json": {"key": ["hunter2"], "hunter2": 1},
        "image/svg+xml": "<text>hunter2</text>",
        PNG: "hunter2A",
    }
    (one,) = record(recorder, lambda: shell.display(bundle, metadata={"x": "hunter2"}), hide)
    assert one["data"].pop(PNG) == "hunter2A"
    assert "hunter2" not in json.dumps(one)
    assert one["data"]["application/json"] == {"key": ["•••"], "•••": 1}


@pytest.mark.parametrize("shift", range(8))
def test_no_half_secret_at_the_cut(recorder, shift):
    """A secret of many lines is not cut in two where the text is, even if hiding makes the text shorter."""
    secret = "\n".join(["KEY-LINE"] * 10) + "\n"
    kept = said(
        recorder,
        lambda: sys.stdout.write("x\n" * shift + secret * 30_000),
        lambda text: text.replace(secret, "•••\n"),
    )
    assert "KEY-LINE" not in str(kept)
    assert "•••" in kept[0][1]


def test_if_hiding_fails_nothing_is_kept(recorder):
    """Rather no output than a secret on the disk."""

    def broken(text):
        raise RuntimeError

    assert said(recorder, lambda: print("hunter2"), broken) == []


# --- showing again -----------------------------------------------------------------------


def kept_text(recorder, function):
    with recorder.recording() as recording:
        function()
    return recording.outputs(str)


def test_shown_again(recorder, shell, streams):
    """A replay shows the same through the same channels, below one line that says what it is."""
    text = kept_text(recorder, lambda: (print("one"), shell.display("fig", key="k"), print("two", file=sys.stderr)))
    shell.display_pub.shown.clear()
    with recorder.recording() as outer:
        recorder.show(entry(occurrence=1), text)
    assert outputs(outer) == []
    mark, figure = shell.display_pub.shown
    assert mark["text/plain"].startswith("↺ output of step 'load #2', recorded 1971-01-01 ")
    assert "↺ output of step &#x27;load #2&#x27;" in mark["text/html"]
    assert figure == {"text/plain": "fig"}
    assert streams.text("out") == "one\n" * 2
    assert streams.text("err") == "two\n" * 2


def test_shown_again_under_its_id(recorder, shell):
    """So that the cell's own update_display finds it. Not if the id is a secret."""
    text = kept_text(recorder, lambda: (shell.display("0 %", key="bar"), shell.display("other")))
    assert [one.get("transient") for one in json.loads(text)] == [{"display_id": "bar"}, None]
    published = []

    def publish(data, metadata, transient=None, update=False):
        published.append((data, transient))

    shell.display_pub.publish = publish
    recorder.remove()
    recorder.show(entry(), text)
    assert published[1:] == [({"text/plain": "0 %"}, {"display_id": "bar"}), ({"text/plain": "other"}, None)]
    recorder.install()
    with recorder.recording() as recording:
        shell.display("x", key="hunter22")
    assert "transient" not in outputs(recording, lambda text: text.replace("hunter22", "***"))[0]


class Watched:
    """A stream whose file descriptor is a pipe that a thread reads, as ipykernel's is."""

    def __init__(self) -> None:
        self.said = []
        self._fid, self.descriptor = os.pipe()
        self.watch_fd_thread = threading.Thread(target=self.watch, daemon=True)
        self.watch_fd_thread.start()

    def write(self, text):
        self.said.append(text)

    def flush(self):
        pass

    def watch(self):
        while text := os.read(self._fid, 1000):
            self.write(text.decode())

    def close(self):
        os.close(self.descriptor)
        self.watch_fd_thread.join()
        os.close(self._fid)


def test_what_is_still_in_the_pipe_when_the_step_ends(shell, monkeypatch):
    """C code writes to the file descriptor, and a thread reads it a moment later: it belongs to the step."""
    stream = Watched()
    monkeypatch.setattr(sys, "stdout", stream)
    recorder = OutputRecorder(shell)
    recorder.install()
    try:
        for n in range(50):
            text = f"from c {n}"
            assert said(recorder, lambda text=text: os.write(stream.descriptor, text.encode())) == [("stdout", text)]
        assert said(recorder, lambda: None) == []
    finally:
        recorder.remove()
        stream.close()


def marks(shell):
    return [one["text/plain"] for one in shell.display_pub.shown if one["text/plain"].startswith("↺")]


def test_one_mark_for_many(recorder, shell, streams):
    """Thousands of replays in a row share the mark of the first; anything else that is shown ends that."""
    text = kept_text(recorder, lambda: print("x"))
    for n in range(1000):
        recorder.show(entry(occurrence=n), text)
    assert len(marks(shell)) == 1
    assert streams.text("out") == "x\n" * 1001
    for n, other in enumerate(
        (lambda: print("!"), lambda: shell.display("!"), lambda: shell.display_pub.clear_output())
    ):
        other()
        shell.display_pub.shown = [one for one in shell.display_pub.shown if one != "cleared"]
        recorder.show(entry("next"), text)
        recorder.show(entry("last"), text)
        assert len(marks(shell)) == n + 2
        assert "'next'" in marks(shell)[-1]
    shell.display("panel", key="panel", update=True)
    recorder.show(entry(), text)
    assert len(marks(shell)) == 4  # an update moves nothing


def test_a_cell_has_marks_of_its_own(recorder, shell):
    """A new cell marks its first replayed output, whatever the cell before it ended with."""
    text = kept_text(recorder, lambda: print("x"))
    recorder.show(entry(), text)
    recorder.remove()
    recorder.install()
    recorder.show(entry(), text)
    assert len(marks(shell)) == 2


def test_hostile_names(recorder, shell):
    """A step's name is data."""
    recorder.show(entry("<script>alert(1)</script>"), kept_text(recorder, lambda: print("x")))
    (mark,) = shell.display_pub.shown
    assert "<script" not in mark["text/html"]


GOOD = {"output_type": "stream", "name": "stdout", "text": "good"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "{}",
        "[1]",
        "null",
        json.dumps([GOOD, {"output_type": "unknown"}]),
        json.dumps([GOOD, {**GOOD, "name": "elsewhere"}]),
        json.dumps([GOOD, {**GOOD, "text": 1}]),
        json.dumps([GOOD, {"output_type": "display_data", "data": [], "metadata": {}}]),
        json.dumps([GOOD, {"output_type": "display_data", "data": {}}]),
    ],
)
def test_malformed_outputs(recorder, shell, streams, text):
    """What is no list of outputs shows nothing."""
    recorder.show(entry(), text)
    assert shell.display_pub.shown == []
    assert streams.text("out") == ""


def test_broken_characters(recorder):
    """Half of a surrogate pair is kept as it is, and the JSON can be written as UTF-8."""
    with contextlib.redirect_stdout(io.StringIO()):  # takes it, as a kernel's stream does
        text = kept_text(recorder, lambda: print("name \udc80 é"))
    assert text.encode()
    assert json.loads(text)[0]["text"] == "name \udc80 é\n"


# --- errors ------------------------------------------------------------------------------


def test_an_error_in_the_recorder(recorder, shell, streams, monkeypatch):
    """It is logged, and the step goes on; also if the log goes to the very stream that is recorded."""

    def broken(*args):
        raise RuntimeError("the recorder's own")

    monkeypatch.setattr(Kept, "write", broken)
    monkeypatch.setattr(Kept, "display", broken)
    logger, handler = logging.getLogger("notebook_durable"), logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        with recorder.recording() as recording:
            print("live")
            shell.display("live too")
        assert recording.outputs(str) == ""
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert streams.text("out") == "live\n"
    assert shell.display_pub.shown == [{"text/plain": "live too"}]
    assert streams.text("err").count("RuntimeError: the recorder's own") == 3  # "live", "\n", the display


def test_errors_of_the_stream_are_the_steps(recorder, streams):
    """A write that fails raises as ever, and is not kept."""

    def step():
        with pytest.raises(TypeError):
            sys.stdout.write(b"bytes")
        with pytest.raises(UnicodeEncodeError):
            print("\udc80")

    assert said(recorder, step) == []


def test_figures_without_matplotlib(recorder, monkeypatch):
    """Where matplotlib is not imported there is nothing to do, and it is not imported."""
    monkeypatch.delitem(sys.modules, "matplotlib._pylab_helpers", raising=False)
    recording = recorder.recording()
    with recording:
        pass
    recording.finish(object())
    assert recording.outputs(str) == ""
    assert "matplotlib._pylab_helpers" not in sys.modules
