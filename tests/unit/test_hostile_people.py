"""What a hostile reviewer found in waits, answers, timeouts and secrets; each test states the right behaviour."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time

import pytest
from lab import Outside

from notebook_durable.errors import StepTimeoutError, TerminalError
from notebook_durable.history.answers import resolve, resolve_text, tell
from notebook_durable.history.log import read_log
from notebook_durable.model import Ask, EntryStatus, Message
from notebook_durable.testing.faults import CrashError, CrashingStore

PASSWORD = "Tr0ub4dor-horse"  # planted


class Flaky(Outside):
    """Fails so often."""

    def __init__(self, times):
        self.times, self.calls = times, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.times:
            raise ConnectionError("boom")
        return "done"


def seq_of(lab, name, occurrence=0):
    return next(e.seq for e in lab.session.journal.all() if e.name == name and e.occurrence == occurrence)


def log(lab):
    return read_log(lab.store, lab.run())


def stop():
    raise KeyboardInterrupt


def ask(ctx):
    return ctx.promise("publish?", choices=["yes", "no"])


# --- requests


@pytest.mark.once
def test_a_pause_that_stop_ends_costs_nothing_of_the_budget(lab):
    """What is held by hand is not time of the step, however the pause ends."""
    flaky = Flaky(1)
    lab.clock.after(4, lambda: lab.session.controls.pause(seq_of(lab, "x")))
    lab.clock.after(100_000, stop)
    body = lambda ctx: ctx.run("x", flaky, initial_retry_interval=10, max_retry_duration=60)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert lab.entry("x").spent <= 10
    assert lab.play(body) == "done"


@pytest.mark.once
def test_two_clicks_in_a_row_both_count(lab):
    """Pause and at once resume: the step goes on. A request that was taken (True) is not thrown away."""
    flaky = Flaky(1)

    def click():
        seq = seq_of(lab, "x")
        assert lab.session.controls.pause(seq)
        assert lab.session.controls.resume(seq)

    lab.clock.after(4, click)
    assert lab.play(lambda ctx: ctx.run("x", flaky, initial_retry_interval=10)) == "done"


@pytest.mark.once
def test_a_wrong_answer_does_not_eat_the_right_one(lab):
    """Two answers that come together: the first that the question takes counts."""

    def both():
        seq = seq_of(lab, "publish?")
        assert lab.session.controls.answer(seq, "maybe")
        assert lab.session.controls.answer(seq, "yes")

    lab.clock.after(1, both)
    assert lab.play(ask) == "yes"


@pytest.mark.once
def test_retry_told_to_a_promise_does_not_eat_the_answer(lab):
    """Through the mailbox: what a promise can't use is passed over, and the answer behind it counts."""

    def elsewhere():
        lab.store.post(lab.run().id, Message(0, seq_of(lab, "publish?"), Ask.RETRY))
        resolve(lab.store, log(lab), "publish?", "yes", now=lab.clock.now)

    lab.clock.after(1, elsewhere)
    assert lab.play(ask) == "yes"


# --- answers that get lost


@pytest.mark.once
def test_an_answer_survives_a_kernel_that_dies_before_it_is_recorded(lab):
    """It was accepted ("has its answer"): it leaves the mailbox with the record, not before."""
    store = CrashingStore(lab.store, "record", lambda entry: entry.name == "publish?")
    lab.clock.after(1, lambda: resolve(lab.store, log(lab), "publish?", "yes", now=lab.clock.now))
    with pytest.raises(CrashError):
        lab.play(ask, store=store)
    lab.restart()
    assert lab.play(ask) == "yes"


@pytest.mark.once
def test_an_answer_survives_a_stop_that_comes_with_it(lab):
    """Stop between the mailbox and the record: the next execution finds the answer."""
    lab.clock.after(1, lambda: resolve(lab.store, log(lab), "publish?", "yes", now=lab.clock.now))
    discard = lab.store.discard

    def stopped(*args):
        discard(*args)
        raise KeyboardInterrupt

    lab.store.discard = stopped
    try:
        given = lab.play(ask)
    except KeyboardInterrupt:
        lab.store.discard = discard
        given = lab.play(ask)
    finally:
        lab.store.discard = discard
    assert given == "yes"


# --- which promise


@pytest.mark.once
def test_the_first_of_two_promises_of_one_name_can_be_answered(lab):
    """ "ok?" and "ok? #2" wait side by side: the error says which there are, and each of these can be typed."""

    def elsewhere():
        resolve_text(lab.store, log(lab), "ok? #2", "two", now=lab.clock.now)
        resolve_text(lab.store, log(lab), "ok?", "one", now=lab.clock.now)

    lab.clock.after(1, elsewhere)

    async def body(ctx):
        return await asyncio.gather(*(ctx.promise("ok?", question=f"ok {n}?") for n in (1, 2)))

    assert lab.play(body) == ["one", "two"]


@pytest.mark.once
def test_a_promise_whose_question_was_edited_while_it_was_open_can_be_answered(lab):
    """Stop, edit of the choices, run again: one question is open, the new one."""
    lab.clock.after(1, stop)
    with pytest.raises(KeyboardInterrupt):
        lab.play(ask)
    lab.clock.after(1, lambda: resolve_text(lab.store, log(lab), "publish?", "later", now=lab.clock.now))
    assert lab.play(lambda ctx: ctx.promise("publish?", choices=["yes", "no", "later"])) == "later"


@pytest.mark.once
def test_a_promise_that_the_cell_no_longer_has_is_not_open(lab):
    """The cell was edited and completed without it: nobody waits for the answer, and nobody is told so."""
    lab.clock.after(1, stop)
    with pytest.raises(KeyboardInterrupt):
        lab.play(ask)
    assert lab.play(lambda ctx: ctx.run("x", lambda: 1)) == 1
    from notebook_durable.errors import ConfigurationError

    with pytest.raises(ConfigurationError):
        resolve(lab.store, log(lab), "publish?", "yes", now=lab.clock.now)


@pytest.mark.once
def test_a_promise_that_was_cancelled_replays_as_that(lab):
    """asyncio.timeout of an hour around a promise: the replay gives its cancellation as much time as it took."""

    async def forever(waiter, duration, poll):
        await asyncio.Event().wait()

    async def body(ctx):
        task = asyncio.ensure_future(ctx.promise("a"))
        for _ in range(5):
            await asyncio.sleep(0)
        lab.clock.advance(3600)
        task.cancel()
        await asyncio.wait([task])
        return "went on"

    lab.clock.wait_async = forever
    assert lab.play(body) == "went on"
    slept = []

    async def asleep(duration):
        slept.append(duration)
        await asyncio.Event().wait()

    lab.clock.asleep = asleep
    assert lab.play(body) == "went on"
    assert slept
    assert slept[0] >= 3600


# --- clocks


class SetBack:
    """Has the system's clock set back by a day while somebody waits."""

    def __init__(self, lab):
        self.by, self.clock = 0.0, lab.clock
        self.clock.time = lambda: self.clock.now - self.by

    def __call__(self):
        self.by = 86_400.0


@pytest.mark.once
def test_a_clock_set_back_does_not_lengthen_a_sleep(lab):
    """Within one execution no more than its duration is slept (and a look at the clock)."""
    began = lab.clock.now
    lab.clock.after(30, SetBack(lab))
    lab.play(lambda ctx: ctx.sleep(100))
    assert lab.clock.now - began <= 160


@pytest.mark.once
def test_a_clock_set_back_between_two_kernels_does_not_lengthen_a_sleep(lab):
    """The remainder is never more than the whole."""
    store = CrashingStore(lab.store, "begin", lambda entry: entry.name == "sleep", after=True)
    with pytest.raises(CrashError):
        lab.play(lambda ctx: ctx.sleep(100), store=store)
    lab.restart()
    SetBack(lab)()
    began = lab.clock.now
    lab.play(lambda ctx: ctx.sleep(100))
    assert lab.clock.now - began <= 160


# --- timeouts


def spin(until):
    end = time.monotonic() + until
    while time.monotonic() < end:
        pass


class InDel:
    """Takes its time to go."""

    def __del__(self):
        spin(0.1)


@pytest.mark.once
def test_a_timeout_that_rings_in_a_finalizer_rings_again(lab):
    """Python swallows what a ``__del__`` raises: the limit must not be gone with it."""

    def step():
        with contextlib.suppress(Exception):
            InDel()
        spin(1.5)
        return "late"

    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with pytest.raises(TerminalError) as found:
            lab.play(lambda ctx: ctx.run("x", step, timeout=0.02, max_attempts=1))
    finally:
        sys.unraisablehook = hook
    assert isinstance(found.value.__cause__, StepTimeoutError)


@pytest.mark.once
def test_a_timeout_reaches_through_code_that_tries_again(lab):
    """A library's own ``except Exception: retry`` must not switch the limit off for good."""

    def step():
        for _ in range(3):
            try:
                spin(0.5)
            except Exception:
                continue
        spin(1.0)
        return "late"

    with pytest.raises(TerminalError):
        lab.play(lambda ctx: ctx.run("x", step, timeout=0.02, max_attempts=1))


@pytest.mark.once
def test_the_limit_of_an_outer_step_is_not_a_failed_attempt_of_a_run_inside(lab, tmp_path):
    """A run of its own inside a timed step: when the outer limit is over, the outer attempt ends."""
    from notebook_durable import durable

    calls = []

    def inner():
        calls.append(1)
        if len(calls) > 3:
            return "the outer limit was swallowed"
        spin(2.0)
        return "late"

    def outer():
        with durable("inner", store=str(tmp_path / "inner")) as ctx:
            return ctx.run("x", inner, initial_retry_interval=0.01)

    with pytest.raises(TerminalError) as found:
        lab.play(lambda ctx: ctx.run("outer", outer, timeout=0.6, max_attempts=1))
    assert isinstance(found.value.__cause__, StepTimeoutError)
    assert len(calls) == 1


@pytest.mark.once
def test_an_alarm_on_the_way_out_leaves_nothing_behind(lab):
    """It rings while the step's blocks are being left: the signal is given back, and the finished value counts."""
    before = signal.getsignal(signal.SIGALRM)
    calls = []

    def tracer(frame, event, arg):
        if frame.f_code is contextlib.ExitStack.__exit__.__code__:
            sys.settrace(None)
            spin(0.2)
        return

    def step():
        calls.append(1)
        if len(calls) == 1:
            sys.settrace(tracer)
        return "finished"

    old = sys.gettrace()
    try:
        value = lab.play(lambda ctx: ctx.run("x", step, timeout=0.1, initial_retry_interval=0.01))
    finally:
        sys.settrace(old)
        after = signal.getsignal(signal.SIGALRM)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert value == "finished"
    assert after is before
    assert len(calls) == 1


@pytest.mark.once
def test_an_async_step_that_swallows_its_cancellation_keeps_its_value(lab):
    """A finished value is not thrown away because it was late."""

    async def step():
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return "saved"

    async def body(ctx):
        return await ctx.run("x", step, timeout=0.02)

    assert lab.play(body) == "saved"
    assert asyncio.run(_twice(lab, body)) == "saved"


async def _twice(lab, body):
    session = lab.open(asynchronous=True)
    try:
        return await body(session.context)
    finally:
        session.close(None)


@pytest.mark.once
def test_a_timed_step_that_must_not_run_twice_is_not_tried_again(lab):
    """at_most_once and cut off by the limit: nobody knows its outcome, so it isn't called again by itself."""
    calls = []

    def charge():
        calls.append(1)
        if len(calls) > 1:
            return "charged twice"
        spin(5)
        return "charged"

    with contextlib.suppress(Exception):
        lab.play(lambda ctx: ctx.run("x", charge, timeout=0.05, at_most_once=True, initial_retry_interval=0.01))
    assert len(calls) == 1


# --- secrets


@pytest.mark.once
def test_a_password_in_the_reason_why_a_value_cannot_be_stored(lab):
    """The note of an entry is shown everywhere: what the value's own error says is hidden in it."""

    class Connection:
        def __init__(self, password):
            self.password = password

        def __reduce_ex__(self, protocol):
            raise TypeError(f"can't pickle a session of {self.password}")

    def connect(password):
        return Connection(password)

    lab.play(lambda ctx: ctx.run("x", connect, PASSWORD))
    entry = lab.entry("x")
    assert entry.status is EntryStatus.UNSTORABLE
    assert PASSWORD not in entry.note


@pytest.mark.once
def test_a_password_in_a_question(lab):
    """What a promise shows is stored with it, and shown in panels and files."""
    lab.clock.after(1, lambda: lab.session.controls.answer(seq_of(lab, "p"), "yes"))
    url = f"postgres://me:{PASSWORD}@host/db"
    lab.play(lambda ctx: ctx.promise("p", question=f"write to {url}?"))
    assert PASSWORD not in lab.entry("p").code.inputs


@pytest.mark.once
def test_a_password_in_the_reason_of_a_rejection(lab):
    """Through the mailbox, into the error's record."""
    from notebook_durable.history.answers import reject

    url = f"postgres://me:{PASSWORD}@host/db"
    lab.clock.after(1, lambda: reject(lab.store, log(lab), "publish?", f"not to {url}", now=lab.clock.now))
    with pytest.raises(TerminalError):
        lab.play(ask)
    assert PASSWORD not in json.dumps(dict(lab.entry("publish?").error))


@pytest.mark.parametrize(
    ("name", "value"),
    [("DATABASE_URL", f"postgres://me:{PASSWORD}@host/db"), ("REDIS_DSN", f"redis://:{PASSWORD}@host:6379/0")],
)
def test_a_password_in_a_url_of_the_environment(monkeypatch, name, value):
    """DATABASE_URL is where most passwords are: taken out of it and printed alone, it is hidden."""
    from notebook_durable.hide import hider, secrets_in

    monkeypatch.setenv(name, value)
    assert PASSWORD not in hider(secrets_in([]))(f"login with {PASSWORD} failed")


def test_a_password_that_is_quoted_in_its_url():
    """Drivers unquote it, and then print it."""
    from notebook_durable.hide import hider, secrets_in

    hide = hider(secrets_in([("url", "postgres://me:p%40ss%2Fw0rd-x@host/db")]))
    assert "p@ss/w0rd-x" not in hide("driver: authentication with 'p@ss/w0rd-x' failed")


def shown(lab, tmp_path, name):
    """What the explorer shows of a step's value."""
    from notebook_durable.history.explore import snapshot
    from notebook_durable.history.explore_step import step_detail

    shot = snapshot(lab.store, lab.run())
    return json.dumps(step_detail(lab.store, shot, lab.entry(name).seq)["preview"])


def of_config(password):
    return {"dsn": password}


def of_pin():
    return {"pin": "four-two-four-two"}


def test_a_small_json_value_that_holds_an_input_that_is_secret(lab, tmp_path):
    """It is its own preview, and what is hidden in a large value is hidden in a small one."""
    lab.play(lambda ctx: ctx.run("x", of_config, PASSWORD))
    assert PASSWORD not in shown(lab, tmp_path, "x")


def test_a_small_json_value_with_a_field_that_was_said_to_be_secret(lab, tmp_path):
    """``secret=["pin"]`` holds for it."""
    lab.play(lambda ctx: ctx.run("x", of_pin, secret=["pin"]))
    assert "four-two-four-two" not in shown(lab, tmp_path, "x")


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), 1e12])
def test_a_timeout_that_no_timer_takes(lab, timeout):
    """Refused when it is given, with a clear error, or taken as no limit; never a strange error of the step's."""
    from notebook_durable.errors import ConfigurationError

    with contextlib.suppress(ConfigurationError):
        assert lab.play(lambda ctx: ctx.run("x", lambda: 1, timeout=timeout, max_attempts=1)) == 1


@pytest.mark.parametrize("output", ["no", None, 0, "False"])
def test_output_takes_true_or_false(lab, output):
    """output="no" would record."""
    from notebook_durable.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="output"):
        lab.play(lambda ctx: ctx.run("x", lambda: 1, output=output))


# --- Stop and alarm between any two lines


class At:
    """Has a signal arrive at the n-th line that is executed in the machinery around a step's function.

    The handler is called with the frame that was interrupted, as Python does.
    """

    def __init__(self, signum, which, names=("alarm.py", "drive.py", "contextlib.py", "recorder.py")):
        self.signum, self.which, self.names = signum, which, names
        self.seen = 0
        self.where = ""
        self.armed = False

    def __call__(self, frame, event, arg):
        code = frame.f_code
        # Not _call: CPython looks for signals at calls, which is in the code of the blocks that it enters and leaves.
        if not code.co_filename.endswith(self.names) or code.co_name in (
            "drive", "_write", "begin", "end", "_ring", "_call"
        ):  # fmt: skip
            return None
        if frame.f_back is not None and frame.f_back.f_code.co_name in ("body", "sweep", "check"):
            return None
        if event == "line" and self.armed:
            self.seen += 1
            if self.seen == self.which:
                sys.settrace(None)
                self.armed = False
                self.where = f"{code.co_qualname if hasattr(code, 'co_qualname') else code.co_name}:{frame.f_lineno}"
                handler = signal.getsignal(self.signum)
                if self.signum == signal.SIGALRM:
                    if not hasattr(handler, "__self__") or type(handler.__self__).__name__ != "Alarm":
                        return None
                    handler.__self__._due = 0.0
                handler(self.signum, frame)
        return self


def sweep(signum, body, check):
    """Play ``body(at)`` with the signal at each line, until there is none; return what went wrong."""
    wrong = []
    for which in range(1, 400):
        at = At(signum, which)
        old = sys.gettrace()
        before = signal.getsignal(signal.SIGALRM)
        timer = signal.setitimer(signal.ITIMER_REAL, 0)
        sys.settrace(at)
        try:
            outcome = body(at)
        except BaseException as error:
            outcome = error
        finally:
            sys.settrace(old)
            left = signal.setitimer(signal.ITIMER_REAL, 0)
            leaked = signal.getsignal(signal.SIGALRM) is not before or left[0] > 0
            signal.signal(signal.SIGALRM, before)
            signal.setitimer(signal.ITIMER_REAL, *timer)
        if not at.where:
            assert which > 5
            return wrong
        said = check(outcome)
        if leaked:
            said = [*said, "SIGALRM is not given back"]
        if said:
            wrong.append(f"{at.where}: {'; '.join(said)}")
    raise AssertionError("it never ends")


@pytest.mark.once
@pytest.mark.parametrize("kind", ["timeout", "recording", "both"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGALRM], ids=["stop", "alarm"])
def test_a_signal_between_any_two_lines_around_a_step(kind, signum):
    """Nothing stays behind: no alarm, no recording, no mark "inside a step"; the next execution goes on."""
    from types import SimpleNamespace

    from notebook_durable.engine.drive import current_step
    from notebook_durable.ipython import recorder_taps
    from notebook_durable.ipython.recorder import OutputRecorder
    from notebook_durable.stores.memory import MemoryStore

    if kind == "recording" and signum == signal.SIGALRM:
        pytest.skip("no alarm")
    store = MemoryStore()
    pub = SimpleNamespace(publish=lambda *a, **k: None, clear_output=lambda wait=False: None)
    recorder = OutputRecorder(SimpleNamespace(display_pub=pub)) if kind != "timeout" else None
    calls = []

    class Outside_(Outside):
        def __call__(self):
            calls.append(1)
            return 7

    step = Outside_()
    options = {} if kind == "recording" else {"timeout": 30.0}
    run_id = iter(range(10_000))

    def body(at):
        body.key = str(next(run_id))
        calls.clear()
        if recorder is not None:
            recorder.install()
        at.armed = True
        try:
            with opened(store, body.key, recorder) as ctx:
                return ctx.run("x", step, initial_retry_interval=0.001, max_retry_interval=0.001, **options)
        finally:
            at.armed = False
            if recorder is not None:
                recorder.remove()

    def check(outcome):
        said = []
        if current_step.get() is not None:
            said.append("inside a step")
            current_step.set(None)
        if recorder_taps.ENTERED:
            said.append("a recording is still entered")
            recorder_taps.ENTERED.clear()
        if recorder_taps.current.get() is not None:
            said.append("a recording is current")
            recorder_taps.current.set(None)
        if not (outcome == 7 or isinstance(outcome, KeyboardInterrupt)):
            said.append(f"gave {outcome!r}")
        try:
            with opened(store, body.key, None) as ctx:
                if ctx.run("x", step) != 7:
                    said.append("another value")
        except BaseException as error:
            said.append(f"next execution: {error!r}")
        return said

    wrong = sweep(signum, body, check)
    assert not wrong, "\n".join(wrong)


@contextlib.contextmanager
def opened(store, key, recorder):
    """A run with a recorder, as a cell has it."""
    from notebook_durable.engine.clock import SystemClock
    from notebook_durable.engine.session import Ports, Session
    from notebook_durable.executors.inline import InlineExecutor
    from notebook_durable.model import RunId
    from notebook_durable.retry import RetryPolicy
    from notebook_durable.serializers.codec import DefaultCodec
    from notebook_durable.signals import SigintGuard
    from notebook_durable.wiring import fingerprinter, this_process

    guard = SigintGuard()
    ports = Ports(
        store=store, codec=DefaultCodec(), executor=InlineExecutor(), describer=fingerprinter(), clock=SystemClock(),
        guard=guard, recorder=recorder,
    )  # fmt: skip
    guard.install()
    error = None
    try:
        session = Session(RunId("sweep", key), ports, this_process(), policy=RetryPolicy())
        try:
            yield session.context
        except BaseException as left:
            error = left
            raise
        finally:
            session.close(error)
    finally:
        guard.uninstall()


# --- Stop while the panel is drawn


class StopsAt:
    """An observer during whose work Stop is pressed, once."""

    def __init__(self, kind):
        self.kind = kind

    def notify(self, event):
        if type(event).__name__ == self.kind:
            self.kind = ""
            raise KeyboardInterrupt


@pytest.mark.once
@pytest.mark.parametrize("how", [{"max_attempts": 1}, {"at_most_once": True}, {}])
def test_stop_while_the_beginning_of_an_attempt_is_told(lab, how):
    """The function was not called: no attempt is used up, and nobody has to say what its outcome was."""
    lab.events = StopsAt("StepStarted")
    body = lambda ctx: ctx.run("x", lambda: lab.called("x", 7), **how)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert lab.calls == []
    assert lab.entry("x").attempts == 0
    assert lab.play(body) == 7


@pytest.mark.once
def test_stop_while_the_beginning_of_an_attempt_is_told_in_an_async_cell(lab):
    """The same, for a step of a task."""
    lab.events = StopsAt("StepStarted")

    async def body(ctx):
        return await ctx.run("x", lambda: lab.called("x", 7), max_attempts=1)

    with pytest.raises(KeyboardInterrupt):
        lab.play(body)
    assert lab.calls == []
    assert lab.play(body) == 7


# --- secret=[...]


@pytest.mark.once
def test_an_input_that_was_said_to_be_secret_is_not_written_down(lab):
    """``secret=["pin"]``: neither its short form nor how it changed, which the panel shows and the notebook saves."""
    fn = {}
    exec("def f(pin):\n    return 1\n", fn)
    lab.play(lambda ctx: ctx.run("x", fn["f"], "four-two-four", secret=["pin"]))
    lab.play(lambda ctx: ctx.run("x", fn["f"], "nine-nine-nine", secret=["pin"]))
    for entry in lab.entries():
        assert "four-two" not in entry.code.inputs
        assert "nine-nine" not in entry.code.inputs


@pytest.mark.once
def test_an_input_that_holds_the_password_of_another_one(lab):
    """``connect(password=PW, dsn=PW)``: the second is hidden because the first is."""
    lab.play(lambda ctx: ctx.run("x", of_two, PASSWORD, PASSWORD))
    assert PASSWORD not in lab.entry("x").code.inputs


def of_two(password, dsn):
    return len(password + dsn)


# --- bad input


@pytest.mark.parametrize(
    "asked",
    [
        {"choices": 5}, {"choices": {"yes": 1}}, {"choices": b"ab"}, {"form": ["a"]}, {"form": "a"}, {"form": {1: 2}},
        {"question": 5}, {"choices": []}, {"form": {}}, {"choices": [float("nan")]},
        {"form": {"a": []}}, {"form": {"a": None}},
    ],
    ids=repr,
)  # fmt: skip
def test_questions_that_make_no_sense(lab, asked):
    """A ConfigurationError in words, before anybody waits; an empty list or form may mean "any answer"."""
    from notebook_durable.errors import ConfigurationError

    with pytest.raises((ConfigurationError, AssertionError)) as found:
        lab.play(lambda ctx: ctx.promise("p", **asked))
    if found.type is AssertionError:
        assert asked in ({"choices": []}, {"form": {}}), "it was asked"


def test_a_field_with_a_choice_takes_exactly_its_items():
    """True is not 1, in a form as little as in choices."""
    from notebook_durable.errors import ConfigurationError
    from notebook_durable.question import question

    asked = question("q", None, {"n": [1, 2]})
    for wrong in (True, 1.0):
        with contextlib.suppress(ConfigurationError):
            assert type(asked.check({"n": wrong})["n"]) is int


@pytest.mark.once
def test_retry_and_pause_told_to_a_promise_are_refused(lab):
    """A promise has no next attempt: nobody is told that it was told so."""
    from notebook_durable.errors import ConfigurationError

    said = []

    def elsewhere():
        for one in (Ask.RETRY, Ask.PAUSE, Ask.RESUME):
            try:
                said.append(tell(lab.store, log(lab), one, "publish?", now=lab.clock.now))
            except ConfigurationError:
                pass

    lab.clock.after(1, elsewhere)
    lab.clock.after(5, lambda: lab.session.controls.answer(seq_of(lab, "publish?"), "yes"))
    lab.play(ask)
    assert said == []


# --- slow paths


@pytest.mark.once
def test_a_look_at_one_step_reads_no_other_steps_value(tmp_path, signer):
    """The explorer shows a small JSON value: the gigabytes beside it stay where they are."""
    from notebook_durable import durable
    from notebook_durable.history.explore import snapshot
    from notebook_durable.history.explore_step import step_detail
    from notebook_durable.stores.sqlite import SqliteStore

    store = SqliteStore(tmp_path / ".durable", signer)
    with durable("wf", store=store) as ctx:
        for n in range(5):
            ctx.run(f"big {n}", lambda n=n: bytes([n]) * 1_000_000)
        ctx.run("small", lambda: {"a": 1})
    shot = snapshot(store, store.runs()[0])
    read, seen = store.read, []

    def counted(*args, **named):
        found = read(*args, **named)
        seen.append(sum(len(one.payload or b"") for one in found))
        return found

    store.read = counted
    detail = step_detail(store, shot, 5)
    assert '"a": 1' in detail["preview"]["text"]
    assert sum(seen) < 100_000
    store.read = read
    store.close()


@pytest.mark.once
def test_a_timeout_outside_of_the_main_thread_is_refused_once(tmp_path):
    """A clear error at once, not an attempt that fails and is tried again without end."""
    import threading

    from notebook_durable import durable
    from notebook_durable.errors import ConfigurationError

    raised = []

    def work():
        try:
            with durable("wf", store=str(tmp_path / "journal")) as ctx:
                ctx.run("x", lambda: 1, timeout=5, max_attempts=2, initial_retry_interval=0.01)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert isinstance(raised[0], ConfigurationError)


def test_what_a_question_offers_is_hidden_where_it_is_told():
    """Choices and first values of fields, as the question's text, in progress as data."""
    from notebook_durable.events import StepWaiting
    from notebook_durable.model import Entry, RunId
    from notebook_durable.progress import as_dict
    from notebook_durable.question import question

    url = f"postgres://me:{PASSWORD}@host/db"
    entry = Entry(0, "p", 0, EntryStatus.RUNNING)
    for asked in (question(f"to {url}?", [url, "no"], None), question("q", None, {"password": PASSWORD, "to": [url]})):
        assert PASSWORD not in json.dumps(as_dict(StepWaiting(RunId("wf", ""), entry, "answer", None, asked)))


def test_a_question_with_control_characters_is_said_without_them():
    """A terminal obeys them: they are not printed by the error either."""
    from notebook_durable.errors import ConfigurationError
    from notebook_durable.question import question

    with pytest.raises(ConfigurationError) as found:
        question("go \x1b]0;owned\x07?", ["yes"], None).check("no")
    assert "\x1b" not in str(found.value)


@pytest.mark.once
def test_a_message_that_could_not_be_deleted_is_obeyed_once(lab):
    """The disk refuses for a moment: "retry" is not told to each later attempt as well."""
    from notebook_durable.errors import StoreError

    flaky = Flaky(3)
    began = lab.clock.now

    def refuse(*_):
        raise StoreError("disk full")

    discard, lab.store.discard = lab.store.discard, refuse
    lab.clock.after(2.0, lambda: tell(lab.store, log(lab), Ask.RETRY, "x", now=lab.clock.now))
    try:
        lab.play(lambda ctx: ctx.run("x", flaky, initial_retry_interval=60, retry_interval_factor=1))
    finally:
        lab.store.discard = discard
    assert lab.clock.now - began >= 120


@pytest.mark.once
def test_a_forged_answer_and_a_forged_output_are_not_believed(tmp_path, signer):
    """Rows without the user's mark, put into the file by somebody else."""
    import sqlite3

    from notebook_durable.serializers.codec import DefaultCodec
    from notebook_durable.stores.sqlite import SqliteStore

    store = SqliteStore(tmp_path / ".durable", signer)
    with contextlib.suppress(KeyboardInterrupt), opened(store, "", None) as ctx:
        ctx.run("x", lambda: 1)
    run = store.runs()[0]
    store.post(run.id, Message(0, 0, Ask.ANSWER, DefaultCodec().encode("no"), at=1.0))
    file = next(tmp_path.rglob("journal.db"))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE mailbox SET payload = ?", (b'"yes"',))
        connection.execute("INSERT INTO extras SELECT place, '', '[]', x'00' FROM entries")
        connection.commit()
    assert store.inbox(run.id) == []
    assert store.extras(run.id) == {}
    store.close()
