"""Edits in real kernels, with a restart between: a dozen for each kind of cell; with ``--full`` the whole table."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from edits.in_kernels import Played, play_in_kernels
from edits.row import Row
from edits.table import ASYNC_ROWS, ROWS
from kernels import LiveKernel

pytestmark = [pytest.mark.kernel, pytest.mark.once, pytest.mark.timeout(1800)]

SAMPLE = frozenset(
    [
        "body",
        "helper-of-a-helper",
        "class-method",
        "comment",
        "lambda-pair-on-one-line",
        "global-frame",
        "argument-set-order",
        "step-inserted",
        "loop-items-reordered",
        "wave-stops-at-an-equal-value",
        "undo-of-an-edit",
        "module-reloaded",
        "value-of-a-notebook-class-passed-on",
        "staging-table",
        "fit-in-place-unedited",
        "memo-dict-helper",
        "gather-of-equal-names",
        "failed-step-mended",
        "argument-polars",
    ]
)


#: Every row by a key of its own.
ALL = {
    f"{row.id}-{kind}": row
    for kind, rows in (("sync", ROWS), ("async", ASYNC_ROWS))
    for row in rows
    if row.needs != "clock" and not row.missing
}


def _chosen(full: bool) -> list[str]:
    """What only a real kernel can do is played in any case."""
    return [key for key, row in ALL.items() if full or row.needs == "kernel" or row.id in SAMPLE]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "key" in metafunc.fixturenames:
        metafunc.parametrize("key", _chosen(bool(metafunc.config.getoption("--full", default=False))))


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Played]]:
    """All rows that were selected, played in the same few kernels."""
    folder = tmp_path_factory.mktemp("kernels")
    kernels: list[LiveKernel] = []

    def start() -> LiveKernel:
        kernels.append(LiveKernel(sys.executable, folder))
        return kernels[-1]

    wanted = [item.callspec.params["key"] for item in request.session.items if item.fspath == request.fspath]
    try:
        yield play_in_kernels([(key, ALL[key]) for key in wanted], start, folder)
    finally:
        for kernel in kernels:
            kernel.close()


def test_edit_in_a_kernel(key: str, played: dict[str, Played]) -> None:
    """After an edit and a restart only what computes something new is called, and the value is the right one."""
    row, seen = ALL[key], played[key]
    assert not seen.problem
    assert seen.errors == row.errors
    assert seen.out == repr(row.fresh.out)
    assert _counted(row, seen.called) == _counted(row, row.fresh.runs)


def _counted(row: Row, calls: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in calls.items() if name not in row.silent | row.either}
