"""``durable`` in plain Python: block, async block, decorator; settings; Restate's examples as printed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from lab import Calls

from notebook_durable import AsyncContext, Context, RetryPolicy, TerminalError, durable, journal
from notebook_durable.errors import ConfigurationError, JournalUnwritableError, UnawaitedStepError, UsageError
from notebook_durable.model import RunStatus


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Journal and key in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    for name in ("STORE", "MAX_ATTEMPTS"):
        monkeypatch.delenv(f"NOTEBOOK_DURABLE_{name}", raising=False)


def test_a_block(tmp_path):
    """The journal lies in .durable in the working directory and replays."""
    calls = Calls()
    for _ in range(2):
        with durable("etl") as ctx:
            assert type(ctx) is Context
            assert ctx.run("load", lambda: calls.append(1) or (1, 2)) == (1, 2)
    assert calls == [1]
    assert (tmp_path / ".durable" / "journal.db").is_file()


def test_an_async_block():
    """async with gives an AsyncContext, as in Restate."""
    calls = Calls()

    async def main():
        async with durable("etl") as ctx:
            assert type(ctx) is AsyncContext
            return await ctx.run("load", lambda: calls.append(1) or 7)

    assert asyncio.run(main()) == asyncio.run(main()) == 7
    assert calls == [1]


def test_a_function():
    """Called with its own arguments; the context is passed first."""
    calls = Calls()

    @durable("report", key=lambda day, **_: day)
    def report(ctx, day, *, title="t"):
        """Make a report."""
        return ctx.run("make", lambda: calls.append(day) or f"{title} {day}")

    assert report("mon") == report("mon") == "t mon"
    assert report("tue", title="T") == "T tue"
    assert calls == ["mon", "tue"]
    assert report.__name__ == "report"
    assert report.__doc__ == "Make a report."


def test_an_async_function():
    """async def gets an AsyncContext."""

    @durable("report")
    async def report(ctx, day):
        assert type(ctx) is AsyncContext
        return await ctx.run("make", asyncio.sleep, 0, day)

    assert asyncio.run(report("mon")) == "mon"


def test_errors_leave_the_block_unchanged():
    """The user's own exception, and the run says failed."""
    with pytest.raises(KeyError), durable("etl") as ctx:
        ctx.run("a", lambda: 1)
        raise KeyError("mine")
    assert journal().runs()[0].status is RunStatus.FAILED


def test_an_unawaited_step_is_an_error_at_the_end_of_the_block():
    """It is raised by ``async with`` itself."""

    async def main():
        async with durable("etl") as ctx:
            ctx.run("load", lambda: 1)

    with pytest.raises(UnawaitedStepError, match="load"):
        asyncio.run(main())


def test_restates_first_example_as_printed():
    """Restate's page "Journaling Results", Python: an async function given to ctx.run."""

    async def my_handler(ctx):
        async def do_db_request():
            return {"rows": 3}

        return await ctx.run("database request", do_db_request)

    async def main():
        async with durable("restate") as ctx:
            return await my_handler(ctx)

    assert asyncio.run(main()) == {"rows": 3}


def test_restates_second_example_as_printed():
    """The same page, "Retrying": bounds, and TerminalError caught."""
    calls = Calls()

    def write_to_other_system():
        calls.append(1)
        raise ConnectionError("other system is down")

    async def my_handler(ctx):
        try:
            await ctx.run(
                "write",
                lambda: write_to_other_system(),
                max_attempts=3,
                # Max duration for retries before giving up
                max_retry_duration=timedelta(seconds=10),
            )
        except TerminalError as err:
            return f"undone: {err}"

    async def main():
        async with durable("restate", retry=RetryPolicy(initial_retry_interval=0.001)) as ctx:
            return await my_handler(ctx)

    first = asyncio.run(main())
    assert first.startswith("undone: step 'write' gave up after 3 attempts")
    assert asyncio.run(main()) == first
    assert len(calls) == 3


def test_a_block_object_is_not_opened_twice():
    """One durable(...) per open block."""
    block = durable("etl")
    with block, pytest.raises(UsageError, match="open already"), block:
        pass
    with block as ctx:
        assert ctx.run("a", lambda: 1) == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: durable(""), "workflow's name must not be empty"),
        (lambda: durable(3), "workflow's name must be text"),
        (lambda: durable("x", key=" "), "a key must not be empty"),
        (lambda: durable("x", store=5), "store must be a folder or a Store object"),
        (lambda: durable("x", store=""), "store must be a path"),
        (lambda: durable("x", max_attempts=-1), "max_attempts"),
        (lambda: durable("x")(5), "goes around a function"),
        (lambda: durable("x", key=lambda: "k").__enter__(), "only around a function"),
    ],
)
def test_what_cannot_be_used_is_refused_where_it_is_written(make, says, tmp_path):
    """And no journal is made for it."""
    with pytest.raises(ConfigurationError, match=says):
        make()
    assert not (tmp_path / ".durable").exists()


def test_the_environment_moves_the_journal(tmp_path, monkeypatch):
    """NOTEBOOK_DURABLE_STORE, relative to the working directory; an argument wins."""
    monkeypatch.setenv("NOTEBOOK_DURABLE_STORE", "elsewhere")
    with durable("etl") as ctx:
        ctx.run("a", lambda: 1)
    with durable("etl", store=tmp_path / "third") as ctx:
        ctx.run("a", lambda: 1)
    assert (tmp_path / "elsewhere" / "journal.db").is_file()
    assert (tmp_path / "third" / "journal.db").is_file()


def test_the_environment_bounds_attempts(monkeypatch):
    """NOTEBOOK_DURABLE_MAX_ATTEMPTS, the thing to set for papermill; nonsense is refused by name."""
    monkeypatch.setenv("NOTEBOOK_DURABLE_MAX_ATTEMPTS", "1")
    with pytest.raises(TerminalError, match="max_attempts=1 reached"), durable("etl") as ctx:
        ctx.run("a", lambda: [].index(1) if False else exec("raise OSError('x')"))
    monkeypatch.setenv("NOTEBOOK_DURABLE_MAX_ATTEMPTS", "many")
    with pytest.raises(ConfigurationError, match="NOTEBOOK_DURABLE_MAX_ATTEMPTS must be a whole number, not 'many'"):
        durable("etl")


def test_chdir_inside_a_block_changes_nothing(tmp_path, monkeypatch):
    """The store is resolved when durable(...) is written."""
    block = durable("etl")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    with block as ctx:
        ctx.run("a", lambda: 1)
    assert not (tmp_path / "sub" / ".durable").exists()


def test_a_place_that_cannot_be_written(tmp_path):
    """A file where the folder should be: a clear error, and the file stays as it is."""
    (tmp_path / "file").write_text("mine")
    from notebook_durable.errors import StoreError

    with pytest.raises((StoreError, JournalUnwritableError)), durable("etl", store=tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_retries_without_observers_are_said_on_the_log(caplog):
    """A script's user sees why it waits."""
    left = [1]

    def flaky():
        if left:
            left.pop()
            raise ConnectionError("boom")

    with durable("etl", retry=RetryPolicy(initial_retry_interval=0.001)) as ctx:
        ctx.run("x", flaky)
    assert "etl: step 'x': attempt 1 failed (ConnectionError: boom); next in 0.001 s" in caplog.text


def test_a_value_that_cannot_be_stored_is_said_on_the_log(caplog):
    """Loudly: it is a warning."""
    with durable("etl") as ctx:
        ctx.run("x", lambda: (n for n in "ab"))
    assert "not storable: generator" in caplog.text


def test_works_in_another_thread_than_the_main_one():
    """There is no Stop there, but a journal."""
    import threading

    got = []

    def work():
        with durable("etl") as ctx:
            got.append(ctx.run("a", lambda: 1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert got == [1]
