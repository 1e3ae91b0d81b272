"""What the live output says, and what it costs: rows, folding, escaping, batching."""

from __future__ import annotations

import io
import threading
import time
from contextlib import redirect_stdout
from typing import Any

import pytest

from notebook_durable.events import (
    AttemptFailed,
    ExecutionEnded,
    ExecutionStarted,
    StepDamaged,
    StepEnded,
    StepReplayed,
    StepStarted,
    StoreFailed,
)
from notebook_durable.ipython.output import LiveOutput
from notebook_durable.ipython.panel import FOLD_AFTER, Panel
from notebook_durable.model import Attempt, Entry, EntryStatus, Failure, Outcome, RunId

RUN = RunId("churn", "k")
NOW = 1_000_000.0


def entry(seq: int = 0, name: str = "load", status: EntryStatus = EntryStatus.RUNNING, **how: Any) -> Entry:
    return Entry(seq=seq, name=name, occurrence=0, status=status, **{"started_at": NOW, "attempts": 1, **how})


def started(one: Entry, reason: str = "new", max_attempts: int | None = None) -> StepStarted:
    return StepStarted(RUN, one, max_attempts, reason)


def failed(
    one: Entry, number: int, *, delay: float = 3.0, max_attempts: int | None = None, message: str = "down"
) -> Any:
    error = {"type": "requests.ConnectionError", "message": message, "traceback": ""}
    attempt = Attempt(one.seq, 0, number, NOW, 1.0, error, delay)
    return AttemptFailed(RUN, one._replace(ended_at=NOW), attempt, max_attempts, NOW + delay)


def done(one: Entry, status: EntryStatus = EntryStatus.SUCCEEDED, **how: Any) -> StepEnded:
    return StepEnded(RUN, one._replace(status=status, ended_at=NOW + 1, **{"spent": 1.25, **how}))


def replayed(seq: int = 0, spent: float = 64.0) -> StepReplayed:
    return StepReplayed(RUN, entry(seq, f"step {seq}", EntryStatus.SUCCEEDED, spent=spent))


def panel(*events: Any) -> Panel:
    made = Panel(RUN)
    made.apply(events)
    return made


def rows(made: Panel, now: float = NOW) -> list[str]:
    return [" ".join(line.split()) for line in made.text(now).splitlines()[1:]]


def test_the_summary():
    """The line that the issue promises."""
    made = panel(*(replayed(n, spent=48.0) for n in range(4)), started(entry(4)), done(entry(4)))
    assert made.summary() == "4 replayed (saved 3 min 12 s), 1 run"
    made = panel(*(replayed(n, spent=0.001) for n in range(2)), started(entry(2)))
    assert made.summary() == "2 replayed, 1 running"
    assert panel().summary() == "no steps"


def test_a_running_step():
    """Its time goes on, with what earlier attempts took; attempt n of m is said where there is a bound."""
    made = panel(started(entry(spent=2.0, attempts=2), max_attempts=5))
    assert rows(made, NOW + 3) == ["● load running 5.0 s attempt 2 of 5"]
    assert rows(panel(started(entry())), NOW + 3) == ["● load running 3.0 s"]
    assert rows(panel(started(entry(attempts=2))), NOW) == ["● load running 0 ms attempt 2"]


def test_a_waiting_step():
    """The last error, its type and first line, and the time to the next attempt, which goes down."""
    made = panel(started(entry()), failed(entry(), 1, max_attempts=3, message="down\nand more"))
    assert rows(made, NOW) == ["◔ load waiting 0 ms attempt 1 of 3 ConnectionError: down; next attempt in 3.0 s"]
    assert rows(made, NOW + 2)[0].endswith("ConnectionError: down; next attempt in 1.0 s")
    assert rows(made, NOW + 9)[0].endswith("next attempt in 0 ms")


@pytest.mark.parametrize(
    ("status", "how", "row"),
    [
        (EntryStatus.SUCCEEDED, {}, "✓ load done 1.2 s"),
        (
            EntryStatus.FAILED,
            {"error": {"type": "ValueError", "message": "bad\nvalue"}, "failure": Failure.FATAL},
            "✗ load failed 1.2 s ValueError: bad",
        ),
        (EntryStatus.INTERRUPTED, {}, "■ load interrupted 1.2 s"),
        (EntryStatus.CANCELLED, {}, "■ load cancelled 1.2 s"),
        (
            EntryStatus.UNSTORABLE,
            {"note": "not storable: generator"},
            "⚠ load not storable 1.2 s not storable: generator",
        ),
    ],
)
def test_how_steps_end(status, how, row):
    """Each state has an icon and a word."""
    made = panel(started(entry()), done(entry(), status, **how))
    assert rows(made) == [row]
    assert not made.active


def test_why_it_ran():
    """A reason that is more than "new" is shown."""
    made = panel(started(entry(), "outcome unknown: running again"), done(entry()))
    assert rows(made) == ["✓ load done 1.2 s outcome unknown: running again"]
    assert "new" not in rows(panel(started(entry()), done(entry())))[0]


def test_damage_and_full_disks_are_said():
    """What went wrong with the journal stands beside the step."""
    assert "bad mark" in rows(panel(StepDamaged(RUN, entry(), "bad mark"), started(entry())))[0]
    assert "not saved yet: disk full" in rows(panel(started(entry()), StoreFailed(RUN, entry(), "disk full")))[0]


def test_a_replayed_failure():
    """It is not mistaken for a success."""
    one = entry(status=EntryStatus.FAILED, error={"type": "TerminalError", "message": "no"}, spent=2.0)
    assert rows(panel(StepReplayed(RUN, one))) == ["↺ load replayed saved 2.0 s TerminalError: no; failed last time"]


def test_replayed_steps_fold():
    """Up to twenty have rows; more become one."""
    assert len(rows(panel(*map(replayed, range(FOLD_AFTER))))) == FOLD_AFTER
    many = panel(*map(replayed, range(10_000)), started(entry(10_000, "new one")))
    assert rows(many) == ["↺ 10,000 steps replayed", "● new one running 0 ms"]
    assert many.summary().startswith("10,000 replayed (saved 177 h")


def test_finished_steps_fold():
    """The newest twenty have rows, and everything that has something to say."""
    events: list[Any] = []
    for n in range(100):
        one = entry(n, f"s{n}")
        events.append(started(one))
        if n == 3:
            events += [failed(one, 1), started(one._replace(attempts=2)), done(one._replace(attempts=2))]
        else:
            events.append(done(one))
    shown = rows(panel(*events))
    assert shown[0] == "✓ 79 earlier steps done"
    assert shown[1].startswith("✓ s3 done")
    assert shown[-1].startswith("✓ s99 done")
    assert len(shown) == 2 + FOLD_AFTER


def test_html_is_escaped():
    """Names, notes and errors are data."""
    evil = "<script>alert('x')</script>"
    one = entry(name=evil)
    made = Panel(RunId(evil, evil))
    made.apply([started(one, reason=evil), failed(one, 1, message=evil)])
    html = made.html(NOW)
    assert evil not in html
    assert html.count("&lt;script&gt;") == 9  # run: 2 x 2 names; step: 3 x; error; reason
    assert "http" not in html  # no outside resources


def test_text_is_safe_for_a_terminal():
    """Control characters in names and errors are shown, not sent."""
    one = entry(name="a\x1b[31mb")
    made = panel(started(one), failed(one, 1, message="\x1b]0;title\x07"))
    assert "\x1b" not in made.text(NOW)
    assert "\\x1b[31mb" in made.text(NOW)


# --- the observer -------------------------------------------------------------------------


class Publisher:
    def __init__(self) -> None:
        self.messages: list[tuple[bool, str, str]] = []
        self.threads: set[str] = set()

    def publish(self, data, metadata=None, *, transient=None, update=False, **_):
        self.threads.add(threading.current_thread().name)
        self.messages.append((update, transient["display_id"], data["text/plain"]))


class Kernel:
    """A shell as a kernel has it."""

    def __init__(self, pub: Publisher) -> None:
        self.kernel = object()
        self.display_pub = pub


class Terminal:
    """A shell without a kernel."""


def test_the_first_step_is_shown_at_once_and_on_the_same_thread():
    """So that it stands above what the step prints."""
    pub = Publisher()
    output = LiveOutput(Kernel(pub), RUN)
    output.notify(ExecutionStarted(RUN, 1, 1, None, 0, NOW))
    assert pub.messages == []
    output.notify(started(entry()))
    assert pub.messages[0][0] is False
    assert pub.threads == {threading.current_thread().name}
    output.notify(done(entry()))
    output.finish()
    assert "1 run" in pub.messages[-1][2]
    assert len({display_id for _, display_id, _ in pub.messages}) == 1
    assert [update for update, *_ in pub.messages[1:]] == [True] * (len(pub.messages) - 1)


def test_no_steps_no_output():
    """An execution without steps shows nothing and starts no thread."""
    pub = Publisher()
    output = LiveOutput(Kernel(pub), RUN)
    output.notify(ExecutionStarted(RUN, 1, 1, None, 0, NOW))
    output.notify(ExecutionEnded(RUN, Outcome.COMPLETED, NOW))
    output.finish()
    assert pub.messages == []


def test_the_thread_ends():
    """With finish, once; a second finish does nothing."""
    output = LiveOutput(Kernel(Publisher()), RUN)
    output.notify(started(entry()))
    assert [t for t in threading.enumerate() if t.name == "notebook_durable-output"]
    output.finish()
    output.finish()
    assert not [t for t in threading.enumerate() if t.name == "notebook_durable-output"]


def test_a_flood_of_events_is_batched():
    """Ten thousand steps are a few updates, and the last one has them all."""
    pub = Publisher()
    output = LiveOutput(Kernel(pub), RUN)
    for n in range(10_000):
        output.notify(replayed(n))
    output.finish()
    assert len(pub.messages) < 100
    assert "10,000 replayed" in pub.messages[-1][2]


def test_a_display_that_fails_is_nobodys_business():
    """The step goes on."""

    class Broken(Publisher):
        def publish(self, *args, **kwargs):
            raise OSError("socket closed")

    output = LiveOutput(Kernel(Broken()), RUN)
    output.notify(started(entry()))
    output.notify(done(entry()))
    output.finish()


def test_captured_output_gets_the_end_state_only():
    """%%capture keeps every update as an output of its own, so there is one."""

    class CapturingDisplayPublisher(Publisher):
        pass

    pub = CapturingDisplayPublisher()
    output = LiveOutput(Kernel(pub), RUN)
    for event in (started(entry()), failed(entry(), 1), started(entry(attempts=2)), done(entry(attempts=2))):
        output.notify(event)
    output.finish()
    assert len(pub.messages) == 1
    assert "1 run" in pub.messages[0][2]


def test_a_terminal_gets_a_line_per_retry_and_the_end():
    """Nothing can be updated there."""
    text = io.StringIO()
    with redirect_stdout(text):
        output = LiveOutput(Terminal(), RUN)
        for event in (started(entry()), failed(entry(), 1, max_attempts=3), started(entry(attempts=2))):
            output.notify(event)
        output.notify(done(entry(attempts=2)))
        output.finish()
    lines = text.getvalue().splitlines()
    assert lines[0] == ("durable churn[k]: step 'load': attempt 1 of 3 failed (ConnectionError: down); next in 3.0 s")
    assert lines[1] == "durable churn[k]: 1 run"
    assert len(lines) == 3


def test_the_countdown_is_redrawn_by_the_thread():
    """Nobody calls anything, and yet the display changes while a step waits."""
    changed = threading.Event()

    class Watching(Publisher):
        def publish(self, *args, **kwargs):
            super().publish(*args, **kwargs)
            if len(self.messages) >= 3:
                changed.set()

    pub = Watching()
    output = LiveOutput(Kernel(pub), RUN)
    output.notify(started(entry(started_at=time.time())))
    output.notify(failed(entry(started_at=time.time()), 1, delay=time.time() - NOW + 60))
    assert changed.wait(60)
    output.finish()
    assert "notebook_durable-output" in pub.threads
