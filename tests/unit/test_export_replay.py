"""A run that was exported on one machine replays on another, in plain Python, without a call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np  # noqa: TID253  what the steps return
import pytest
from lab import Calls

from notebook_durable import OutcomeUnknownError, TerminalError, durable, journal
from notebook_durable.errors import UntrustedExportError
from notebook_durable.testing.clock import FakeClock

CALLS = Calls()


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("NOTEBOOK_DURABLE_STORE", raising=False)
    CALLS.clear()


class NoOrders(Exception):
    pass


def load(count: int) -> Any:
    CALLS.append(f"load {count}")
    return np.arange(count, dtype=float)


def fails() -> None:
    CALLS.append("fails")
    raise TerminalError("nothing there", 404) from NoOrders("today")


def square(x: int) -> int:
    CALLS.append(f"square {x}")
    return x * x


def cell(store: str, name: str = "my churn") -> Any:
    with durable(name, store=store) as ctx:
        sums = [float(ctx.run("load", load, count).sum()) for count in (10, 5_000, 100_000, 1_000_000)]
        try:
            ctx.run("fails", fails)
        except TerminalError as error:
            sums += [error.status_code, type(error.__cause__).__name__, str(error.__cause__)]
        return sums, ctx.map("square", square, range(5)), ctx.promise("go on?", choices=["yes", "no"])


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the cell gave where it was recorded, with its promise answered."""

    class Leaves(FakeClock):
        def wait(self, waiter: Any, duration: Any, poll: Any) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("notebook_durable.wiring.SystemClock", Leaves)
        with pytest.raises(KeyboardInterrupt):
            cell("one")
    journal("one").resolve("my churn", "go on?", "yes")
    return cell("one")


@pytest.mark.once
class TestReplay:
    def test_nothing_is_called_again(self, ran: Any) -> None:
        """Large values, items of a map, the exception of a failed step with its cause, the answer of a promise."""
        assert len(CALLS) == 10
        said = journal("one").export("my churn", "f.zip")
        assert "7 entries" not in said
        assert "11 entries" in said
        assert "8.8 MB" in said
        assert "'my churn': run 1, 11 entries" in journal("two", create=True).import_run("f.zip")
        CALLS.clear()
        assert cell("two") == ran
        assert CALLS == []

    def test_an_answer_that_nobody_has_fetched(self, ran: Any) -> None:
        """It travels along."""
        journal("one").forget("my churn", "go on?").apply()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("notebook_durable.wiring.SystemClock", _Leaving)
            with pytest.raises(KeyboardInterrupt):
                cell("one")
        journal("one").resolve("my churn", "go on?", "no")
        journal("one").export("my churn", "f.zip")
        journal("two", create=True).import_run("f.zip")
        CALLS.clear()
        assert cell("two") == (*ran[:2], "no")
        assert CALLS == []

    def test_under_another_name(self, ran: Any) -> None:
        """It is that name's run."""
        view = journal("one")
        view.export("my churn", "f.zip")
        view.import_run("f.zip", name="the copy")
        CALLS.clear()
        assert cell("one", "the copy") == ran
        assert CALLS == []

    def test_without_values_everything_runs_again(self, ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is shown as it was, says why, and its steps are called."""
        journal("one").export("my churn", "f.zip", values=False)
        view = journal("two", create=True)
        view.import_run("f.zip")
        shown = repr(view.show("my churn"))
        assert shown.count("left out of its export") == 10
        assert "TerminalError: nothing there" in shown
        CALLS.clear()
        monkeypatch.setattr("notebook_durable.wiring.SystemClock", _Leaving)
        with pytest.raises(KeyboardInterrupt):  # the promise asks again
            cell("two")
        assert len(CALLS) == 10
        assert "its value was left out of its export" in repr(view.why("my churn", "load"))

    def test_at_most_once_without_its_value_asks(self) -> None:
        """What is said is what happened: not that a kernel died."""
        with durable("pay", store="one") as ctx:
            ctx.run("charge", lambda: "paid", at_most_once=True)
        journal("one").export("pay", "f.zip", values=False)
        journal("two", create=True).import_run("f.zip")
        with (
            pytest.raises(OutcomeUnknownError, match=r"has run, but its value was left out of its export, and"),
            durable("pay", store="two") as ctx,
        ):
            ctx.run("charge", lambda: "paid", at_most_once=True)

    def test_of_another_key(self, ran: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Refused; with trust it replays."""
        journal("one").export("my churn", "f.zip")
        monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "other key"))
        view = journal("two", create=True)
        with pytest.raises(UntrustedExportError):
            view.import_run("f.zip")
        assert not view.runs()
        plan = view.plan_import("f.zip", trust=True)
        assert "numpy.ndarray" in repr(plan)
        plan.apply()
        CALLS.clear()
        assert cell("two") == ran
        assert CALLS == []


class _Leaving(FakeClock):
    def wait(self, waiter: Any, duration: Any, poll: Any) -> None:
        raise KeyboardInterrupt


PROGRAM = """
import resource, sys, time
from pathlib import Path
from notebook_durable.view import journal
what, place = sys.argv[1:]
view = journal(place, create=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if what == "export":
    view.export("large", "f.zip")
elif what == "import":
    view.import_run("f.zip")
else:
    assert not view.verify().damaged
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.kernel
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KB on Linux")
def test_a_large_value_is_never_whole_in_memory() -> None:
    """200 MB go out, in, and through a check in less than 40 MB."""
    with durable("large", store="one") as ctx:
        ctx.run("load", load, 25_000_000)
    for what, place in (("export", "one"), ("import", "two"), ("verify", "two")):
        ran = subprocess.run([sys.executable, "-c", PROGRAM, what, place], capture_output=True, text=True, check=True)
        assert int(ran.stdout.split()[-1]) < 40, (what, ran.stdout)
