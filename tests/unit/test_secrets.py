"""No planted password in the journal's file, nor in anything that is shown of it."""

from __future__ import annotations

import functools
import linecache
import sqlite3
import zlib
from contextlib import closing, suppress
from pathlib import Path

import pytest

from notebook_durable import TerminalError, durable, journal
from notebook_durable.cli.app import main
from notebook_durable.engine import failures
from notebook_durable.events import AttemptFailed, StepEnded
from notebook_durable.ipython.panel import Panel, retry_line
from notebook_durable.model import RunId
from notebook_durable.redact import HIDDEN

PLANTED = "hunter2"
URL = f"postgres://me:{PLANTED}@db/sales"
NEW_URL = f"postgres://me:new-{PLANTED}@db/sales"

SOURCE = '''
import functools
import os

DB_PASSWORD: str | None = "hunter2-0"
API = {"X-Api-Key": "hunter2-1", "Accept": "json"}
AUTH = ("me", "hunter2-2")
pw = "hunter2-3"


def by_header(rows):
    headers = {"X-Api-Key": "hunter2-4", 'token': 'hunter2-5'}
    return len(headers) + len(API)


def by_tuple(rows, auth=("me", "hunter2-6")):
    return len(AUTH) + len(auth)


def by_environment(rows):
    os.environ.setdefault("NBD_TEST_TOKEN", "hunter2-7")
    return len(os.getenv("NBD_TEST_PASSWORD", "hunter2-8")) + len(pw) + len(DB_PASSWORD)


def by_literal(rows):
    password = (
        "hunter2-9"
        "hunter2-10"
    )
    token = """one
    hunter2-11
    """
    return len(password) + len(token)


def by_url(rows):
    one = f"postgres://{rows}:hunter2-12@db/x"
    two = "https://x.io/?api_key=hunter2-13&a=1"
    three = "AccountName=me;AccountKey=hunter2-14;"
    return len(one + two + three)


def by_call(rows):
    def set_password(text):
        return len(text)

    return set_password("hunter2-15")


def by_argument(rows, password="hunter2-16"):
    return rows


def told(url):
    return 1
'''


class NotStorableError(ValueError):
    """An error of which no more than its text is recorded."""

    def __reduce_ex__(self, protocol):
        raise TypeError("can't be pickled")


def refused(url):
    error = NotStorableError(f"can't connect to {url}: password=hunter2-17")
    error.add_note(f"while connecting to {url}")
    raise error


def ended(url):
    raise NotStorableError(f"no such place: {url}") from TerminalError("api_key='hunter2-18'", metadata={"token": url})


class Everything(list):
    """An observer that keeps all events."""

    def notify(self, event):
        self.append(event)


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Journal and key in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)
    monkeypatch.setenv("NBD_TEST_TOKEN", "")


def play(source: str, url: str, token: str) -> Everything:
    """Execute a block whose functions come from a cell."""
    place = f"/tmp/ipykernel_1/{zlib.crc32(source.encode())}.py"
    linecache.cache[place] = (len(source), None, source.splitlines(True), place)
    space = {"__name__": "__main__"}
    exec(compile(source, place, "exec"), space)
    events = Everything()
    with durable("wf", observers=[events]) as ctx:
        for name in [name for name in space if name.startswith("by_")]:
            ctx.run(name, space[name], 1)
        ctx.run("url", space["told"], url)
        ctx.run("query", space["told"], f"https://x.io/?token={token}")
        ctx.run("json", space["told"], f'{{"password": "{token}"}}')
        ctx.run("path", space["told"], Path(f"/x/token={token}"))
        ctx.run("named", lambda password: 1, token)
        ctx.run("dict", space["told"], {"password": token})
        ctx.run("partial", functools.partial(space["told"], url))
        ctx.run("marked", space["told"], 1, depends_on=url, version=f"api_key={token}")
        for fn in (refused, ended):
            with suppress(NotStorableError, TerminalError):
                ctx.run(fn.__name__, fn, url, max_attempts=2, initial_retry_interval=0.001)
    return events


def outputs(capsys) -> list[str]:
    """Everything that can be asked about the run, as text and as HTML."""
    view = journal()
    with closing(view):
        views = [view, view.show("wf"), view.why("wf"), view.history("wf"), view.diff("wf", executions=[1, 2])]
        views += [view.why("wf", "by_literal"), view.why("wf", "url")]
        told = [text for one in views for text in (repr(one), one._repr_html_())]
        told.append(view.to_frame().to_csv())
    for command in (["show", "wf"], ["why", "wf"], ["history", "wf"], ["diff", "wf", "--execution", "1", "2"], ["ls"]):
        assert main(command) == 0, command
        said = capsys.readouterr()
        assert said.out
        told.append(said.out + said.err)
    return told


def test_no_password_in_the_journal_nor_in_what_is_shown(capsys):
    """Sources, inputs, marks, errors, tracebacks and notes: the passwords in them are in no byte of the folder."""
    events = play(SOURCE, URL, "hunter2-19")
    changed = SOURCE.replace("hunter2-", "new-hunter2-")
    events += play(changed, NEW_URL, "hunter2-20")
    files = [path for path in Path(".durable").rglob("*") if path.is_file()]
    for path in files:
        assert PLANTED.encode() not in path.read_bytes(), path
    stored = b"".join(path.read_bytes() for path in files).decode("utf-8", "replace")
    assert "X-Api-Key" in stored  # the sources are there, and readable
    assert "def by_literal(rows):" in stored
    assert "can't connect to postgres://me:" in stored
    for text in outputs(capsys):
        assert PLANTED not in text
    panel = Panel(RunId("wf"))
    panel.apply(events)
    assert "refused" in panel.text(0.0)
    assert PLANTED not in panel.text(0.0) + panel.html(0.0)
    failed = [event for event in events if isinstance(event, AttemptFailed)]
    assert any(f"can't connect to postgres://me:{HIDDEN}@db" in retry_line(event) for event in failed)
    assert not any(PLANTED in retry_line(event) for event in failed)
    waiting = Panel(RunId("wf"))
    waiting.apply(failed)
    assert f"can't connect to postgres://me:{HIDDEN}@db" in waiting.text(0.0)
    assert PLANTED not in waiting.text(0.0) + waiting.html(0.0)
    assert not any(PLANTED in repr(event.entry.error) for event in events if isinstance(event, StepEnded))


def test_a_changed_password_is_a_change():
    """It is hidden, and the step runs again all the same; an unchanged one replays."""
    ran = [str(event.entry.key) for event in play(SOURCE, URL, "hunter2-19") if isinstance(event, StepEnded)]
    again = [event for event in play(SOURCE, URL, "hunter2-19") if isinstance(event, StepEnded)]
    assert {str(event.entry.key) for event in again} <= {"refused", "ended"}  # failures that may be tried again
    changed = SOURCE.replace("hunter2-", "new-hunter2-")
    new = [str(event.entry.key) for event in play(changed, NEW_URL, "hunter2-20") if isinstance(event, StepEnded)]
    assert set(ran) - {"refused", "ended"} <= set(new)
    assert "code of `by_header` changed" in repr(journal().why("wf", "by_header"))


def test_an_ordinary_error_is_hidden_in_its_record(capsys):
    """The exception object is stored whole, as a step's value is; all that is text about it has no password."""

    def fails():
        raise ValueError(f"can't connect to {URL}")

    with pytest.raises(TerminalError, match="gave up"), durable("wf") as ctx:
        ctx.run("s", fails, max_attempts=1)
    with closing(sqlite3.connect(next(Path(".durable").glob("*.db")))) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != "payload"]
            for row in database.execute(f"SELECT {', '.join(columns)} FROM {table}"):
                assert PLANTED not in str(row), table
    for command in (["show", "wf"], ["why", "wf"], ["history", "wf"]):
        assert main(command) == 0
        assert PLANTED not in capsys.readouterr().out


def test_the_users_own_exception_stays_as_it_is():
    """What is caught in the cell is what was raised."""
    caught = None
    with durable("wf") as ctx:
        try:
            ctx.run("s", refused, URL, max_attempts=1)
        except TerminalError as error:
            caught = error
    assert caught is not None
    assert PLANTED in str(caught.__cause__)
    assert f"can't connect to {URL}" in str(caught.__cause__)


def test_error_records():
    """Message, traceback, notes and metadata have no password, whatever is cut off."""
    error = TerminalError(f"no: {URL}", metadata={"url": URL, "token": PLANTED, "place": "eu"})
    error.add_note(f"at {URL}")
    record = failures.describe(error)
    assert PLANTED not in repr(record)
    assert record["metadata"]["place"] == "eu"
    assert record["metadata"]["token"] == HIDDEN
    assert error.metadata is not None
    assert error.metadata["token"] == PLANTED


@pytest.mark.parametrize("longest", [9_990, 10_005, 19_990, 20_005, 21_990, 100_000])
@pytest.mark.parametrize("shift", range(0, 40, 4))
def test_a_cut_goes_through_no_password(longest, shift):
    """Neither half of a password that stands where a long error is cut is recorded."""
    error = ValueError("x " * (longest // 2 - shift // 2) + URL + " y" * (longest // 2 - shift))
    assert PLANTED not in repr(failures.describe(error))
    assert PLANTED[2:] not in repr(failures.describe(error))
