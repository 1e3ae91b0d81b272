"""What is kept for people: outputs and previews, shown again on replay, without secrets, and never in a step's way."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from notebook_durable.model import Extra
from notebook_durable.previews import preview


class Tape:
    """A recorder that takes down what it is told; ``say`` stands for print."""

    def __init__(self):
        self.now = None
        self.shown = []
        self.entered = 0

    def __reduce_ex__(self, protocol):
        raise TypeError("what is outside has no content")

    def say(self, text):
        if self.now is not None:
            self.now.texts.append(text)

    def recording(self):
        return Recording(self)

    def show(self, entry, outputs):
        self.shown.append((entry.name, json.loads(outputs)))


class Recording:
    def __init__(self, tape):
        self.tape, self.texts, self.finished = tape, [], []

    def __enter__(self):
        self.tape.entered += 1
        self.before, self.tape.now = self.tape.now, self

    def __exit__(self, *error):
        self.tape.now = self.before

    def finish(self, value):
        self.finished.append(value)

    def outputs(self, hide):
        return json.dumps([hide(text) for text in self.texts]) if self.texts else ""


class Broken(Tape):
    """Fails wherever it can, but where it is entered."""

    def show(self, entry, outputs):
        raise RuntimeError("show")

    def recording(self):
        class Bad(Recording):
            def finish(self, value):
                raise RuntimeError("finish")

            def outputs(self, hide):
                raise RuntimeError("outputs")

        return Bad(self)


@contextmanager
def recorded_by(lab, tape, previewer=preview):
    """Have the lab's sessions record."""
    opened = lab.open
    from notebook_durable.engine import session as module

    original = module.Session.__init__

    def make(self, run, ports, *args, **kwargs):
        import dataclasses

        original(self, run, dataclasses.replace(ports, recorder=tape, previewer=previewer), *args, **kwargs)

    module.Session.__init__ = make
    try:
        yield opened
    finally:
        module.Session.__init__ = original


def extras(lab):
    return lab.store.extras(lab.run().id)


def test_outputs_come_back(lab):
    """Kept with the step, and handed to the recorder again when it replays."""
    tape = Tape()
    with recorded_by(lab, tape):
        body = lambda ctx: ctx.run("x", lambda: tape.say("loading") or 1)  # noqa: E731
        assert lab.play(body) == 1
        tape.shown.clear()
        lab.restart()
        assert lab.play(body) == 1
    assert tape.shown == [("x", ["loading"])]
    assert extras(lab)[0].outputs == '["loading"]'
    assert lab.store.shown(lab.run().id) == {0}


def test_the_last_attempt_counts(lab):
    """What attempts before it said was seen then."""
    tape, calls = Tape(), []

    def flaky():
        tape.calls = getattr(tape, "calls", 0) + 1
        tape.say(f"attempt {tape.calls}")
        if tape.calls == 1:
            raise ConnectionError
        return 1

    del calls
    with recorded_by(lab, tape):
        lab.play(lambda ctx: ctx.run("x", flaky))
    assert json.loads(extras(lab)[0].outputs) == ["attempt 2"]


def test_a_failed_step_keeps_what_it_said(lab):
    """For the explorer."""
    tape = Tape()

    def broken():
        tape.say("before it broke")
        raise KeyError("x")

    with recorded_by(lab, tape), pytest.raises(KeyError):
        lab.play(lambda ctx: ctx.run("x", broken))
    assert json.loads(extras(lab)[0].outputs) == ["before it broke"]


def test_nothing_said_later_nothing_left(lab):
    """The output of an earlier state of an entry doesn't stay."""
    tape = Tape()

    def broken():
        tape.say("once")
        raise KeyError("x")

    with recorded_by(lab, tape):
        with pytest.raises(KeyError):
            lab.play(lambda ctx: ctx.run("x", broken))
        tape.say = lambda text: None
        with pytest.raises(KeyError):
            lab.play(lambda ctx: ctx.run("x", broken))
    assert extras(lab) == {}


def test_output_false(lab):
    """Neither taken down nor shown."""
    tape = Tape()
    with recorded_by(lab, tape):
        lab.play(lambda ctx: ctx.run("x", lambda: tape.say("loading") or 1, output=False))
        assert tape.entered == 0
    assert extras(lab) == {}


def test_async_steps_are_entered_around_their_await(lab):
    """The recording is on while the coroutine runs."""
    tape = Tape()

    async def loading():
        tape.say("async")
        return 1

    async def body(ctx):
        return await ctx.run("x", loading)

    with recorded_by(lab, tape):
        lab.play(body)
        lab.play(lambda ctx: ctx.run("y", loading))
    assert sorted(extra.outputs for extra in extras(lab).values()) == ['["async"]', '["async"]']


def test_a_broken_recorder_harms_nobody(lab):
    """Nor a broken previewer."""

    def no_preview(value, **how):
        raise RuntimeError("preview")

    tape = Broken()
    with recorded_by(lab, tape, no_preview):
        assert lab.play(lambda ctx: ctx.run("x", lambda: tape.say("a") or (1, 2))) == (1, 2)
        assert lab.play(lambda ctx: ctx.run("x", lambda: tape.say("a") or (1, 2))) == (1, 2)
    assert extras(lab) == {}


def test_a_preview_is_made_when_the_value_is_stored(lab):
    """A small JSON value is its own preview."""
    with recorded_by(lab, Tape()):
        lab.play(lambda ctx: (ctx.run("x", lambda: (1, 2)), ctx.run("y", lambda: [1, 2])))
    assert json.loads(extras(lab)[0].preview)["type"] == "tuple"
    assert 1 not in extras(lab)


def test_secrets_are_hidden_wherever_they_turn_up(lab):
    """The value of an input with the name of a secret: in outputs, previews, errors and tracebacks."""
    tape = Tape()
    password, planted = "hunter2-correct-horse", "hunter2-correct-horse"

    def connect(password):
        tape.say(f"using {planted}")
        return ("session", planted)

    def refuse(password):
        raise ConnectionError(f"{planted} is wrong")

    with recorded_by(lab, tape):
        lab.play(lambda ctx: ctx.run("x", connect, password))
        with pytest.raises(Exception, match="is wrong"):
            lab.play(lambda ctx: ctx.run("y", refuse, password, max_attempts=1))
    kept = str([*extras(lab).values(), *(entry.error for entry in lab.entries())])
    kept += str([lab.store.attempts(lab.run().id, entry.seq) for entry in lab.entries()])
    assert "is wrong" in kept
    assert planted not in kept


def test_secret_names_columns_and_inputs(lab):
    """``secret=`` for what no name gives away."""
    import pandas as pd

    def load(who):
        return pd.DataFrame({"salary": [123456.5], "name": ["ann"], "who": [who]})

    with recorded_by(lab, Tape()):
        lab.play(lambda ctx: ctx.run("x", load, "ann-the-boss", secret=["salary", "who"]))
    kept = extras(lab)[0].preview
    assert "123456" not in kept
    assert "ann-the-boss" not in kept
    assert '"ann"' in kept


def test_an_extra_that_was_tampered_with_is_not_shown(tmp_path, signer):
    """Each has a mark of its own."""
    import sqlite3
    from contextlib import closing

    from notebook_durable.model import Entry, EntryStatus, RunId
    from notebook_durable.stores.sqlite import SqliteStore
    from notebook_durable.wiring import this_process

    with closing(SqliteStore(tmp_path / ".durable", signer)) as store:
        claim = store.claim(RunId("wf"), this_process(), now=1.0)
        for seq in (0, 1):
            entry = Entry(seq, "x", seq, EntryStatus.SUCCEEDED)
            store.record(claim, entry, None, Extra("{}", f'["{seq}"]'))
        assert store.extras(claim.id) == {0: Extra("{}", '["0"]'), 1: Extra("{}", '["1"]')}
        with closing(sqlite3.connect(tmp_path / ".durable" / "journal.db")) as other, other:
            other.execute("UPDATE extras SET outputs = '[\"<script>\"]' WHERE place & 4294967295 = 1")
        assert store.extras(claim.id) == {0: Extra("{}", '["0"]')}
