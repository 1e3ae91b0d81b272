"""Looking at the journal: runs, steps, frames, text and HTML; the shell command."""

from __future__ import annotations

import pytest

from notebook_durable import durable, journal
from notebook_durable.cli.app import main
from notebook_durable.errors import ConfigurationError, TerminalError
from notebook_durable.render import duration, first_line, size


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Journal and key in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)


def record():
    with durable("churn", key="mon") as ctx:
        ctx.run("load", lambda: [1, 2, 3])
        ctx.run("model", lambda: {"set": {1}})
    with pytest.raises(TerminalError), durable("<script>") as ctx:
        ctx.run("<b>bold</b>\x1b".replace("\x1b", ""), fail)


def fail():
    raise TerminalError("<img src=x onerror=alert(1)>\x1b[31m")


def test_a_frame_of_all_steps():
    """One row per step, with seconds, timestamps and bytes."""
    record()
    frame = journal().to_frame()
    assert list(frame["step"]) == ["<b>bold</b>", "load", "model"]
    assert list(frame["status"]) == ["failed", "succeeded", "succeeded"]
    assert frame["started"].dt.tz is not None
    assert frame["size"].iloc[1] == len(b"[1,2,3]") or frame["size"].iloc[1] == len(b"[1, 2, 3]")
    assert list(journal().to_frame("churn")["serializer"]) == ["json", "dill"]


def test_an_empty_journal_gives_an_empty_frame():
    """With all its columns."""
    with durable("x"):
        pass
    frame = journal().to_frame()
    assert len(frame) == 0
    assert "spent" in frame.columns


def test_names_and_errors_are_data():
    """HTML in them is shown, never run; escape sequences don't reach the terminal."""
    record()
    view = journal()
    steps = view.show("<script>")
    page = view._repr_html_() + steps._repr_html_()
    assert "<script>" not in page
    assert "<img" not in page
    assert "<b>bold" not in page
    assert "&lt;img src=x" in page
    assert "\x1b" not in repr(view) + repr(steps)
    assert "\\x1b[31m" in repr(steps)


def test_text_shows_what_there_is():
    """repr of journal() and show()."""
    record()
    assert "churn[mon]" in repr(journal())
    text = repr(journal().show("churn", "mon"))
    assert "2 steps" in text
    assert "load" in text


def test_one_key_need_not_be_named_several_must():
    """show NAME works alone as long as it is clear."""
    record()
    assert journal().show("churn").run.run.key == "mon"
    with durable("churn", key="tue"):
        pass
    with pytest.raises(ConfigurationError, match=r"several runs, with the keys '(tue|mon)', '(tue|mon)'"):
        journal().show("churn")


def test_looking_makes_no_journal(tmp_path):
    """A wrong folder is said, not created."""
    with pytest.raises(ConfigurationError, match="there is no journal at"):
        journal(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_plan_keeps_its_journal_open():
    """``journal().forget(...).apply()`` in one line: nobody holds the view but its plan."""
    record()
    assert "churn" in repr(journal().forget("churn"))
    assert journal().gc().apply()
    assert journal().forget("churn").apply()
    assert "churn" not in repr(journal())


def test_outcome_refuses_what_it_cannot_answer():
    """No such run, no such step, no answer, two answers."""
    record()
    view = journal()
    with pytest.raises(ConfigurationError, match="no open at_most_once step 'load'; open are: none"):
        view.outcome("churn", "load", retry=True)
    with pytest.raises(ConfigurationError, match=r"there is no run 'nope'.*There are: <script>, churn"):
        view.outcome("nope", "load", retry=True)
    for how in ({}, {"retry": True, "value": 1}):
        with pytest.raises(ConfigurationError, match="say one of"):
            view.outcome("churn", "load", **how)


def test_the_shell(capsys, tmp_path):
    """ls and show print; what is wrong goes to stderr with status 1."""
    record()
    assert main(["ls"]) == 0
    assert "churn[mon]" in capsys.readouterr().out
    assert main(["show", "churn"]) == 0
    assert "load" in capsys.readouterr().out
    assert main(["show", "nope"]) == 1
    assert "There are:" in capsys.readouterr().err
    assert main(["ls", "--store", str(tmp_path / "nothing")]) == 1
    assert "no journal at" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["show"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.004, "4 ms"),
        (0.31, "0.3 s"),
        (41.2, "41 s"),
        (59.9, "1 min 00 s"),
        (192, "3 min 12 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_for_people(seconds, text):
    """Two numbers at the most."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1400, "1.4 kB"), (999_900, "1.0 MB"), (5 * 10**12, "5.0 TB")]
)
def test_sizes_for_people(count, text):
    """Powers of 1000."""
    assert size(count) == text


def test_first_lines_are_cut():
    """Long messages keep the table a table."""
    assert first_line("a\nb") == "a"
    assert len(first_line("x" * 500)) == 100
