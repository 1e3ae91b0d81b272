"""The whole table of edits on the engine: no stale value, no needless run."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from edits.judge import Verdict, judge
from edits.row import Row
from edits.runner import Execution, afresh, play
from edits.table import ASYNC_ROWS, KEPT_ROWS, ROWS

from notebook_durable.protocols import Store
from notebook_durable.stores.memory import MemoryStore

pytestmark = [
    pytest.mark.once,
    # Python 3.13 warns about connections that a cell opens anew.
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CASES = [
    pytest.param(row, mode, id=f"{row.id}-{mode}")
    for mode, rows in (("restart", ROWS), ("async", ASYNC_ROWS), ("kept", KEPT_ROWS))
    for row in rows
    if row.needs != "kernel" and not row.missing
]


#: The rest is in memory: the disk makes it three times as slow, and in kernels all of it is on disk.
ON_DISK = frozenset(ROWS[::4])


class Trial:
    """Plays each row and its oracle once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._memory: dict[str, Store] = {mode: MemoryStore() for mode in ("restart", "async", "kept")}

    def _place(self) -> Path:
        return self._folder / str(next(self._numbers))

    @cache  # noqa: B019  lives as long as the module's tests
    def oracle(self, row: Row, mode: str) -> Execution:
        return afresh(row, self._place(), kept=mode == "kept")

    @cache  # noqa: B019
    def verdict(self, row: Row, mode: str) -> Verdict:
        on_disk = mode == "restart" and row in ON_DISK
        store = self._folder / "journal" if on_disk else self._memory[mode]
        executions = play(row, self._place(), store, kept=mode == "kept")
        return judge(row, executions, self.oracle(row, mode))


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("edits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(folder / "key"))
        yield Trial(folder)


@pytest.mark.parametrize(("row", "mode"), CASES)
def test_edit(row: Row, mode: str, trial: Trial) -> None:
    """What computes something new runs, the rest replays, and the value is that of running everything afresh."""
    faults = trial.verdict(row, mode).faults
    assert not faults, "\n".join([*faults, "--- before", *text_of(row, 0), "--- after", *text_of(row, -1)])


def text_of(row: Row, version: int) -> list[str]:
    return ["# %%\n" + cell.text for cell in row.versions[version].cells]


def test_nothing_stale_nothing_needless(trial: Trial, record_property: Callable[[str, object], None]) -> None:
    """Over the whole table: 0 stale values, 0 needless runs."""
    verdicts = [trial.verdict(*case.values) for case in CASES]
    if missing := {row.missing for row in ROWS if row.missing}:
        pytest.skip(f"not the whole table: {', '.join(sorted(missing))} isn't installed")
    counts = {
        "edits": len(ROWS),
        "played": len(verdicts),
        "stale": sum(v.stale or v.missed > 0 for v in verdicts),
        "needless": sum(v.needless > 0 for v in verdicts),
    }
    for name, count in counts.items():
        record_property(name, count)
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    assert len(ROWS) >= 80
    assert (counts["stale"], counts["needless"]) == (0, 0)


def test_rows_say_what_is_right(trial: Trial) -> None:
    """The values and steps that rows ask for are those of running afresh: the table is checked without a journal."""
    wrong = []
    for case in CASES:
        row, mode = case.values
        seen = trial.oracle(row, mode)
        error = type(seen.error).__name__ if seen.error else ""
        if (repr(seen.out), error) != (repr(row.fresh.out), row.errors[-1]):
            wrong.append(f"{case.id}: {seen.out!r} {seen.error!r}, the row says {row.fresh.out!r} {row.errors[-1]}")
        steps = Counter({name: count for name, count in seen.runs.items() if name not in row.either})
        if steps != row.fresh.runs + row.fresh.replays:
            wrong.append(f"{case.id}: has steps {seen.runs}, the row {row.fresh.runs + row.fresh.replays}")
    assert not wrong, "\n".join(wrong)
