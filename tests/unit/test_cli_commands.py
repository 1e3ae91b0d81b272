"""The shell's commands on a real journal: what they print, ask, and return."""

from __future__ import annotations

import io
import re

import pytest
from histories import Histories

from notebook_durable.cli.app import main
from notebook_durable.history.commands import COMMANDS
from notebook_durable.ipython import magics
from notebook_durable.view import journal
from notebook_durable.wiring import Settings, open_store


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Journal and key in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)


@pytest.fixture
def made():
    store = open_store(Settings.resolve())
    histories = Histories(store)
    histories.execute("churn", [histories.entry(0, "load orders", [1, 2]), histories.entry(1, "score", 5)], [0, 1])
    again = {"why": "code of `score` changed", "instead": 1}
    edited = histories.entry(2, "score", 6, functions={"score": "def score(): return 6"}, parts=again)
    histories.execute("churn", [edited], [0, 2])
    yield histories
    store.close()


def answer(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def said(capsys, *argv):
    status = main(argv)
    out = capsys.readouterr()
    return status, out.out + out.err


def test_looking(made, capsys):
    """why, history, diff and show print their text."""
    assert "+def score(): return 6" in said(capsys, "why", "churn")[1]
    assert "load orders" not in said(capsys, "why", "churn", "score")[1]
    assert "load orders" in said(capsys, "why", "churn", "load", "orders")[1]
    assert "replaced by execution 2" in said(capsys, "history", "churn")[1]
    assert "A: churn, execution 1 — B: churn, execution 2" in said(capsys, "diff", "churn", "--execution", "1", "2")[1]
    assert "2 steps, 1 older entry" in said(capsys, "show", "churn", "--run", "1")[1]


def test_load_prints_or_writes(made, capsys, tmp_path):
    """The value's repr, or its bytes into a new file; an existing one is not touched."""
    assert said(capsys, "load", "churn", "load orders") == (0, "[1, 2]\n")
    assert said(capsys, "load", "churn", "score@1") == (0, "5\n")
    status, text = said(capsys, "load", "churn", "--to", "out.json", "load", "orders")
    assert (status, "as the serializer 'json' wrote it" in text) == (0, True)
    assert (tmp_path / "out.json").read_bytes() in (b"[1,2]", b"[1, 2]")
    status, text = said(capsys, "load", "churn", "score", "--to", "out.json")
    assert (status, "is there already, and was not touched" in text) == (1, True)
    status, text = said(capsys, "load", "churn", "score", "--to", "no/such/folder")
    assert (status, "can't be written" in text) == (1, True)


def test_a_repr_is_data_too(made, capsys):
    """Escape sequences in it are shown, lines are kept."""

    made.execute("esc", [made.entry(0, "s", "\x9b31m", serializer="dill", payload=payload_of(Evil()))], [0])
    assert said(capsys, "load", "esc", "s") == (0, "one\n\\x1b[31m\n")


class Evil:
    def __repr__(self):
        return "one\n\x1b[31m"


def payload_of(value):
    from notebook_durable.serializers.codec import DefaultCodec

    return DefaultCodec().encode(value, "dill").data


def test_destructive_ones_ask(made, capsys, monkeypatch):
    """What will go is shown; only y or yes does it; nobody there is an error that says --yes."""
    for no in ("\n", "n\n", "nope\n"):
        answer(monkeypatch, no)
        status, text = said(capsys, "forget", "churn")
        assert status == 0
        assert "3 entries with 7 B of values will be deleted" in text or "3 entries with 8 B" in text
        assert "Delete this for good? [y/N]" in text
        assert "nothing was done" in text
    answer(monkeypatch, "")
    status, text = said(capsys, "forget", "churn")
    assert (status, "Type --yes" in text) == (1, True)
    assert journal().runs()
    answer(monkeypatch, "y\n")
    assert "deleted 3 entries" in said(capsys, "forget", "churn")[1]
    assert not journal().runs()


def test_yes_and_dry_run(made, capsys, monkeypatch):
    """Neither asks; a dry run changes nothing, with --yes too."""
    monkeypatch.setattr("builtins.input", lambda _question: pytest.fail("asked"))
    status, text = said(capsys, "rewind", "churn", "--to", "load orders", "--dry-run", "--yes")
    assert (status, "2 of 2 steps will run again" in text) == (0, True)
    assert len(journal().show("churn").entries) == 2
    assert "2 entries will not replay" in said(capsys, "rewind", "churn", "-y", "--to", "load", "orders")[1]
    assert len(journal().show("churn").entries) == 0
    assert "1 entry" in said(capsys, "forget", "churn", "load orders", "--dry-run")[1]
    assert "Nothing to collect" in said(capsys, "gc", "--older-than", "30000d")[1]
    assert "3 entries" in said(capsys, "gc", "--max-size", "0", "--yes")[1]


@pytest.mark.parametrize(
    ("argv", "status", "told"),
    [
        (["why"], 2, "name the workflow"),
        (["load", "churn"], 2, "name the step behind 'churn'"),
        (["rewind", "churn"], 2, "--to"),
        (["frobnicate"], 2, "frobnicate"),
        ([], 2, "COMMAND"),
        (["--help"], 0, "rewind"),
        (["gc", "--help"], 0, "--max-size"),
        (["diff", "--help"], 0, "--execution"),
        (["why", "nope"], 1, "there is no run 'nope'"),
        (["why", "churn", "nope"], 1, 'has no step "nope"'),
        (["gc", "--older-than", "soon"], 1, "such as 30d"),
        (["diff", "churn", "--run", "1", "2"], 1, "has no run 2"),
    ],
)
def test_bad_usage_is_2_what_cannot_be_done_1(made, capsys, argv, status, told):
    """As other commands do."""
    try:
        found = main(argv)
    except SystemExit as error:
        found = error.code
    out = capsys.readouterr()
    assert found == status
    assert told in out.out + out.err


def test_names_with_blanks_need_no_quotes_unless_they_mean_two_things(made, capsys):
    """ "pay me" may be a workflow, or step "me" of workflow "pay"."""
    made.execute("pay me", [made.entry(0, "s", "both words")], [0])
    assert said(capsys, "load", "pay", "me", "s")[1] == "'both words'\n"
    made.execute("pay", [made.entry(0, "you", "x")], [0])
    assert said(capsys, "load", "pay", "me", "s")[1] == "'both words'\n"
    made.execute("pay", [made.entry(1, "me", "me")], [0, 1])
    status, text = said(capsys, "forget", "pay", "me", "--yes")
    assert status == 1
    assert '"pay" --step "me" or "pay me"' in text
    assert said(capsys, "load", "pay", "--step", "me") == (0, "'me'\n")
    assert "deleted 1 entry" in said(capsys, "forget", "pay me", "--yes")[1]


def test_notebook_and_shell_have_the_same_commands(made, capsys):
    """One table; the magic's help lists each of them as its usage does."""
    import inspect

    source = re.sub(r"\n {50,}", " ", inspect.getsource(magics.add))
    for name, command in COMMANDS.items():
        assert f"%durable {name} {command.usage.split(' [')[0]}" in source
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert f"notebook-durable {name}" in capsys.readouterr().out


@pytest.fixture
def asked(made):
    """A run that was interrupted while it asked."""
    from notebook_durable.api import durable
    from notebook_durable.testing.clock import FakeClock

    class Leaves(FakeClock):
        def wait(self, waiter, duration, poll):
            raise KeyboardInterrupt

    import notebook_durable.wiring as wiring

    real, wiring.SystemClock = wiring.SystemClock, Leaves
    try:
        with pytest.raises(KeyboardInterrupt), durable("ask me") as ctx:
            ctx.promise("really publish?", choices=["yes", 2])
    finally:
        wiring.SystemClock = real


@pytest.mark.parametrize(
    ("argv", "status", "told"),
    [
        (["resolve", "ask", "me", "really", "publish?", "yes"], 0, "'really publish?' of 'ask me' has its answer"),
        (["resolve", "ask me", "really publish?", "2"], 0, "run its cell to go on"),
        (["resolve", "ask me", "really publish?", "no"], 1, "takes one of 'yes', 2, not 'no'"),
        (["resolve", "ask me", "really publish?", "--reject", "not", "now"], 0, "is rejected"),
        (["resolve", "ask me", "other", "yes"], 1, "no open promise 'other'. Open are: \"really publish?\""),
        (["resolve", "ask me"], 2, "name the promise and the answer"),
        (["tell", "ask me", "--stop"], 1, "is not being executed"),
        (["tell", "ask me"], 1, "say one of --retry"),
        (["tell", "ask me", "--retry", "a", "--stop"], 1, "say one of --retry"),
    ],
)
def test_answers(asked, capsys, argv, status, told):
    """Names with blanks, choices, and what can't be answered."""
    try:
        found = main(argv)
    except SystemExit as error:
        found = error.code
    out = capsys.readouterr()
    assert told in out.out + out.err
    assert found == status


def test_what_was_answered_in_the_shell_reaches_the_cell(asked, capsys):
    """The next execution finds it."""
    from notebook_durable.api import durable

    assert main(["resolve", "ask me", "really publish?", "2"]) == 0
    with durable("ask me") as ctx:
        assert ctx.promise("really publish?", choices=["yes", 2]) == 2
    assert journal().load("ask me", "really publish?") == 2
