"""The panel's rows: waits of every kind, what is counted, what is folded, and what is sent to the widget."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from notebook_durable.events import (
    AttemptFailed,
    ExecutionEnded,
    ExecutionStarted,
    MapProgress,
    StepDamaged,
    StepEnded,
    StepReplayed,
    StepStarted,
    StepWaiting,
    StoreFailed,
)
from notebook_durable.ipython.panel import FOLD_AFTER, MOST_ROWS, Panel
from notebook_durable.model import Attempt, Entry, EntryStatus, Outcome, RunId
from notebook_durable.question import question
from notebook_durable.redact import HIDDEN

RUN = RunId("churn", "k")
NOW = 1_000_000.0
TRACEBACK = "Traceback (most recent call last):\n  File 'a.py', line 1\nConnectionError: down"


def entry(seq: int = 0, name: str = "load", status: EntryStatus = EntryStatus.RUNNING, **how: Any) -> Entry:
    return Entry(seq=seq, name=name, occurrence=0, status=status, **{"started_at": NOW, "attempts": 1, **how})


def started(one: Entry, reason: str = "new", max_attempts: int | None = None) -> StepStarted:
    return StepStarted(RUN, one, max_attempts, reason)


def failed(one: Entry, *, traceback: str = TRACEBACK, message: str = "down") -> AttemptFailed:
    error = {"type": "requests.ConnectionError", "message": message, "traceback": traceback}
    attempt = Attempt(one.seq, 0, 1, NOW, 1.0, error, 3.0)
    return AttemptFailed(RUN, one._replace(ended_at=NOW), attempt, 3, NOW + 3)


def done(one: Entry, status: EntryStatus = EntryStatus.SUCCEEDED, **how: Any) -> StepEnded:
    return StepEnded(RUN, one._replace(status=status, ended_at=NOW + 1, **{"spent": 1.25, **how}))


def waiting(one: Entry, kind: str, until: float | None = None, asked: Any = None) -> StepWaiting:
    return StepWaiting(RUN, one._replace(ended_at=NOW), kind, until, asked)


def began(recorded: int = 0) -> ExecutionStarted:
    return ExecutionStarted(RUN, 1, 2, Outcome.FAILED, recorded, NOW)


def panel(*events: Any) -> Panel:
    made = Panel(RUN)
    made.apply(events)
    return made


def rows(made: Panel, now: float = NOW) -> list[str]:
    return [" ".join(line.split()) for line in made.text(now).splitlines()[1:]]


# --- what a row says


@pytest.mark.parametrize(
    ("kind", "until", "row"),
    [
        ("paused", None, "‖ load paused 2.0 s attempt 1 of 3 ConnectionError: down"),
        ("retry", NOW + 9, "◔ load waiting 2.0 s attempt 1 of 3 ConnectionError: down; next attempt in 7.0 s"),
    ],
)
def test_a_wait_that_people_changed(kind, until, row):
    """A paused step counts down to nothing; a resumed one goes on; time goes on in both."""
    made = panel(started(entry(), max_attempts=3), failed(entry()), waiting(entry(), kind, until))
    assert rows(made, NOW + 2) == [row]
    assert made.active


def test_a_sleep():
    """It says when it wakes, and nothing of attempts."""
    made = panel(started(entry()), waiting(entry(), "sleep", NOW + 60))
    assert rows(made, NOW + 2) == ["☾ load sleeping 2.0 s wakes in 58 s"]
    assert made.summary() == "1 sleeping"


def test_a_question():
    """What is asked stands beside the step; answered, it is a step that is done."""
    asked = question("Publish it?", ["yes", "no"], None)
    made = panel(started(entry()), waiting(entry(), "answer", None, asked))
    assert rows(made, NOW + 2) == ["? load asking 2.0 s Publish it?"]
    made.apply([done(entry(), payload=b'"yes"')])
    assert rows(made) == ["✓ load done 1.2 s 5 B"]
    assert "yes" not in made.text(NOW) + made.html(NOW)


def test_sizes_and_savings():
    """The size of a value, and what a replay saved; less than 50 ms is not worth telling."""
    made = panel(
        StepReplayed(RUN, entry(0, "a", EntryStatus.SUCCEEDED, spent=41.0, payload=b"x" * 3_200_000)),
        StepReplayed(RUN, entry(1, "b", EntryStatus.SUCCEEDED, spent=0.01, payload=b"x")),
    )
    assert rows(made) == ["↺ a replayed saved 41 s 3.2 MB", "↺ b replayed 1 B"]


def test_an_error_has_no_size():
    """The stored exception of a failed step is not its value."""
    made = panel(started(entry()), done(entry(), EntryStatus.FAILED, payload=b"x", error={"type": "E", "message": "m"}))
    assert rows(made) == ["✗ load failed 1.2 s E: m"]


def test_progress_is_what_the_journal_knows():
    """Of the recorded entries, those that were replayed or finished; new steps are beyond it."""
    made = panel(began(recorded=4), StepReplayed(RUN, entry(0, status=EntryStatus.SUCCEEDED)), started(entry(1)))
    assert made.progress() == (1, 4)
    made.apply([done(entry(1)), done(entry(9, "new"))])
    assert made.progress() == (2, 4)
    assert "2 of 4 recorded steps" in made.html(NOW)
    made.apply([ExecutionEnded(RUN, Outcome.COMPLETED, NOW + 5)])
    assert "recorded steps" not in made.html(NOW)
    assert "completed in 5.0 s" in made.html(NOW + 99)
    assert "recorded steps" not in panel(began(), started(entry())).html(NOW)


def test_progress_beyond_what_was_recorded():
    """When new steps run, "1 of 1" would look like the end: how many more there are is told with it."""
    made = panel(began(recorded=1), StepReplayed(RUN, entry(0, status=EntryStatus.SUCCEEDED)))
    assert "1 of 1 recorded steps<" in made.html(NOW)
    assert made.head()["more"] == 0
    again = entry(1, "new")
    made.apply([started(again), failed(again), started(again), waiting(entry(2, "ask"), "answer")])
    assert "1 of 1 recorded steps, 2 more<" in made.html(NOW)
    assert made.head()["more"] == 2


# --- tracebacks


def test_the_traceback_is_one_click_away():
    """In the HTML it is folded; in the text it is not at all."""
    made = panel(started(entry()), failed(entry()))
    html = made.html(NOW)
    details = re.search(r'<details class="nbd-traceback">.*?</details>', html, re.DOTALL)
    assert details is not None
    assert "File &#x27;a.py&#x27;, line 1" in details[0]
    assert "a.py" not in made.text(NOW)
    assert "<script" not in panel(failed(entry(), traceback="<script>")).html(NOW)


def test_a_long_traceback_is_cut():
    """A recursion's has a million characters: both ends are kept."""
    row = panel(failed(entry(), traceback="first\n" + "x" * 1_000_000 + "\nlast")).rows[0]
    assert len(row.traceback) < 21_000
    assert row.traceback.startswith("first")
    assert row.traceback.endswith("last")
    assert "characters left out" in row.traceback


def test_secrets_are_hidden():
    """A password in a URL shows up in no form of the panel."""
    url = "postgres://me:hunter2-19@db"
    asked = question(f"Write to {url}?", None, None)
    made = panel(failed(entry(), traceback=f"x {url}", message=url), waiting(entry(1, "q"), "answer", None, asked))
    everything = made.text(NOW) + made.html(NOW) + json.dumps(made.everything(), ensure_ascii=False)
    assert "hunter2-19" not in everything
    assert everything.count(HIDDEN) >= 8


# --- much


def test_only_so_much_is_written_down():
    """Of thousands of rows with something to tell, the newest are in the file, with a word about the others."""
    events: list[Any] = [began()]
    for n in range(1000):
        one = entry(n, f"s{n}")
        events += [started(one), failed(one), done(one._replace(attempts=2), EntryStatus.FAILED)]
    made = panel(*events)
    html = made.html(NOW)
    assert html.count("nbd-row") == MOST_ROWS
    assert html.count("<details") == 20
    assert "800 more rows" in html
    assert "s999" in html
    assert len(made.text(NOW).splitlines()) == MOST_ROWS + 2


def test_what_tells_most_is_kept():
    """A step that still waits is not dropped for a thousand that merely needed two attempts."""
    events: list[Any] = [started(entry(0, "first")), failed(entry(0, "first"))]
    for n in range(1, 1000):
        one = entry(n, f"s{n}", attempts=2)
        events += [started(one), done(one)]
    assert rows(panel(*events))[1].startswith("◔ first waiting")


def test_a_loop_keeps_few_rows():
    """Folded rows are given up, whatever the number of steps."""
    made = Panel(RUN)
    for n in range(1000):
        made.apply([started(entry(n, f"s{n}")), done(entry(n, f"s{n}"))])
        assert len(made.rows) <= FOLD_AFTER + 1
    assert made.summary() == "1,000 run"
    assert rows(made)[0] == "✓ 980 earlier steps done"


def test_a_folded_step_that_runs_once_more():
    """It has a row again, and counts once."""
    made = Panel(RUN)
    for n in range(30):
        made.apply([started(entry(n, f"s{n}")), done(entry(n, f"s{n}"))])
    made.apply([StoreFailed(RUN, entry(0, "s0"), "disk full"), started(entry(0, "s0")), done(entry(0, "s0"))])
    assert made.summary() == "30 run"
    assert rows(made)[0] == "✓ 9 earlier steps done"
    assert rows(made)[-1] == "✓ s0 done 1.2 s not saved yet: disk full"


def test_a_damaged_value_is_no_row_of_its_own():
    """Its step runs again, as another entry or as the same one: one row, which says why; nothing runs for ever."""
    old, new = entry(1, "big", EntryStatus.SUCCEEDED), entry(2, "big")
    lost = StepDamaged(RUN, old, "its recorded value is damaged")
    made = panel(began(2), lost, started(new, "its recorded value is damaged"), done(new))
    assert made.summary() == "1 run"
    assert rows(made) == ["✓ big done 1.2 s its recorded value is damaged"]
    made = panel(began(2), lost, started(old), done(old))
    assert rows(made) == ["✓ big done 1.2 s its recorded value is damaged"]
    assert not made.active


def test_what_happens_to_items_is_told_in_the_row_of_their_map():
    """A damaged value, or a write that failed, makes no row for a single item."""
    told = MapProgress(RUN, "m", 1, 0, 0, 1, 3, NOW + 1, seq=4, started_at=NOW)
    made = panel(
        began(9), StepDamaged(RUN, entry(5, "m"), "damaged"), told, StoreFailed(RUN, entry(6, "m"), "disk full")
    )
    assert list(made.rows) == [4]
    assert made.rows[4].note == "not saved yet: disk full"
    assert [row["note"] for row in made.changes()["rows"]] == ["not saved yet: disk full"]


# --- for the widget


def apply_to(shown: dict[int, Any], message: dict[str, Any]) -> dict[int, Any]:
    """What the JavaScript does with a message."""
    if message.get("full"):
        shown.clear()
    for seq in message["gone"]:
        shown.pop(seq, None)
    shown.update({row["seq"]: row for row in message["rows"]})
    return shown


def test_patches_add_up():
    """Whoever takes all patches shows what a full message says, in the same order."""
    made, shown = Panel(RUN), {}
    for n in range(100):
        one = entry(n, f"s{n}")
        made.apply([StepReplayed(RUN, one._replace(status=EntryStatus.SUCCEEDED))] if n < 30 else [started(one)])
        apply_to(shown, made.changes())
        if n >= 30:
            made.apply([failed(one), done(one._replace(attempts=2))] if n % 7 == 0 else [done(one)])
        if n % 5 == 0:
            apply_to(shown, made.changes())
    apply_to(shown, made.changes())
    assert list(shown.items()) == list(apply_to({}, made.everything()).items())
    assert list(shown) == list(made.rows)


def test_nothing_new_nothing_sent():
    """A second look finds no changes, and a head that is equal."""
    made = panel(began(), started(entry()), done(entry()))
    first, head = made.changes(), made.head()
    assert [row["seq"] for row in first["rows"]] == [0]
    assert made.changes() == {"rows": [], "gone": []}
    assert made.head() == head


def test_rows_that_nobody_saw_are_not_taken_back():
    """Steps that came and were folded between two messages cost no word in the next."""
    made = panel(*(event for n in range(500) for event in (started(entry(n)), done(entry(n)))))
    message = made.changes()
    assert len(message["rows"]) == FOLD_AFTER
    assert message["gone"] == []


def test_a_row_as_data():
    """Times go as moments, so that the front end can let them tick; what is empty is left out."""
    made = panel(started(entry(), max_attempts=3), failed(entry()))
    assert made.changes()["rows"] == [
        {
            "seq": 0,
            "name": "load",
            "state": "waiting",
            "since": NOW,
            "until": NOW + 3,
            "attempts": "attempt 1 of 3",
            "error": "ConnectionError: down",
            "traceback": TRACEBACK,
        }
    ]
    made.apply([started(entry(attempts=2)), done(entry(attempts=2), payload=b"1234")])
    (row,) = made.changes()["rows"]
    assert (row["state"], row["spent"], row["size"]) == ("done", 1.25, "4 B")
    assert "since" not in row
    assert "until" not in row


def test_a_question_as_data():
    """Choices go with their exact JSON, fields with their kind; all of it is JSON."""
    choices = panel(waiting(entry(), "answer", None, question("?", ["1", 1, 1.0, None], None))).changes()["rows"][0]
    assert choices["ask"]["choices"] == [['"1"', "1"], ["1", "1"], ["1.0", "1.0"], ["null", "null"]]
    form = {"amount": 10.0, "count": 3, "to": ["me", "you"], "note": "", "express": True}
    (row,) = panel(waiting(entry(), "answer", None, question("?", None, form))).changes()["rows"]
    kinds = {name: kind for name, kind, _ in row["ask"]["form"]}
    assert kinds == {"amount": "number", "count": "integer", "to": "choice", "note": "text", "express": "flag"}
    assert json.loads(json.dumps(row)) == row


def test_the_picture_beside_a_widget_says_what_it_is():
    """It is of a moment in the run, and names its beginning."""
    bundle = panel(began(), started(entry())).bundle(NOW, live=True)
    assert re.search(r"running since \d\d:\d\d:\d\d; the final state is shown here", bundle["text/plain"])
    assert "running since" in bundle["text/html"]
    assert "running since" not in panel(started(entry())).bundle(NOW)["text/plain"]
