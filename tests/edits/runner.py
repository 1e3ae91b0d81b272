"""Plays rows on the engine, as a notebook would: cells compiled one by one, a namespace called ``__main__``.

Each execution has a kernel: fresh for each, or one that lives on. The oracle plays the same without any journal to
replay from, so that what comes out there is what running everything afresh gives.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import importlib
import itertools
import linecache
import os
import sqlite3
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from inspect import CO_COROUTINE
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Self
from unittest import mock

from edits.row import Cell, Row, Version

from notebook_durable.api import durable
from notebook_durable.events import Event, StepReplayed, StepStarted
from notebook_durable.protocols import Store
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.testing.clock import FakeClock

__all__ = ["Execution", "Kernel", "afresh", "play", "write_files"]

_numbers = itertools.count(1)
_FIRST_SECOND = 1_750_000_000  # files get a time of their own per version: a clock tick may be as long as a test


@dataclass
class Execution:
    """What an execution did, as its observer. A step that is tried again counts once."""

    replays: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    called: Counter[str] = field(default_factory=Counter)
    reasons: list[tuple[str, str]] = field(default_factory=list)
    out: Any = None
    error: BaseException | None = None

    def notify(self, event: Event, /) -> None:
        if isinstance(event, StepReplayed):
            self.replays[event.entry.name] += 1
        elif isinstance(event, StepStarted) and event.entry.attempts <= 1:
            self.runs[event.entry.name] += 1
            self.reasons.append((event.entry.name, event.reason))


class Kernel:
    """A namespace called ``__main__`` in a folder, while the block lasts.

    Args:
        folder: the notebook's.
        workflow: the name of its durable cell.
    """

    def __init__(self, folder: Path, workflow: str) -> None:
        self.folder = folder
        self._workflow = workflow
        self._main = ModuleType("__main__")
        self._called: Counter[str] = Counter()

    @property
    def namespace(self) -> dict[str, Any]:
        return vars(self._main)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._before = sys.modules["__main__"], Path.cwd(), sys.dont_write_bytecode, set(sys.modules)
        sys.modules["__main__"] = self._main
        sys.path.insert(0, str(self.folder))
        os.chdir(self.folder)
        sys.dont_write_bytecode = True
        importlib.invalidate_caches()
        builtins.did = self._did  # type: ignore[attr-defined]
        return self

    def __exit__(self, *exc: object) -> None:
        main, folder, bytecode, modules = self._before
        for value in _connections(self.namespace):
            value.close()
        del builtins.did  # type: ignore[attr-defined]
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(self.folder)):
                del sys.modules[name]
        sys.dont_write_bytecode = bytecode
        os.chdir(folder)
        sys.path.remove(str(self.folder))
        sys.modules["__main__"] = main

    def _did(self, name: str) -> None:
        self._called[name] += 1

    def execute(self, cells: tuple[Cell, ...], store: Path | Store, clock: FakeClock) -> Execution:
        """Run cells, the durable one on ``store``."""
        seen = Execution()
        self._called.clear()
        self.namespace.pop("out", None)
        with mock.patch("notebook_durable.wiring.SystemClock", return_value=clock), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a kernel doesn't turn them into errors
            for cell in cells:
                self._run(cell, store, seen)
        seen.called = Counter(self._called)
        seen.out = self.namespace.get("out")
        return seen

    def _run(self, cell: Cell, store: Path | Store, seen: Execution) -> None:
        if not cell.durable:
            _execute(cell.text, self.namespace)
            return
        try:
            if cell.asynchronous:
                asyncio.run(self._durable_async(cell, store, seen))
            else:
                with durable(self._workflow, store=store, max_attempts=3, observers=[seen]) as ctx:
                    self.namespace["ctx"] = ctx
                    _execute(cell.text, self.namespace)
        except Exception as error:  # the row says which it expects
            seen.error = error

    async def _durable_async(self, cell: Cell, store: Path | Store, seen: Execution) -> None:
        async with durable(self._workflow, store=store, max_attempts=3, observers=[seen]) as ctx:
            self.namespace["ctx"] = ctx
            for code in _compiled(cell.text):
                waiting = eval(code, self.namespace)
                if code.co_flags & CO_COROUTINE:
                    await waiting


def _connections(namespace: dict[str, Any]) -> list[sqlite3.Connection]:
    """Python 3.13 warns about those that are left open."""
    parts = [part for value in namespace.values() for part in (value, *getattr(value, "__dict__", {}).values())]
    return [part for part in parts if isinstance(part, sqlite3.Connection)]


def _compiled(text: str) -> Iterator[CodeType]:
    """Compile a cell as IPython does: a file name of its own, known to linecache, one statement after the other."""
    filename = f"/tmp/ipykernel_{os.getpid()}/{next(_numbers)}.py"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    for node in ast.parse(text, filename).body:
        yield compile(ast.Module([node], []), filename, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def _execute(text: str, namespace: dict[str, Any]) -> None:
    for code in _compiled(text):
        exec(code, namespace)


def write_files(version: Version, folder: Path, number: int) -> None:
    """Write the files beside the notebook as they are at this version."""
    for name, text in version.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (_FIRST_SECOND + number, _FIRST_SECOND + number))


def edited_cells(version: Version, before: Version) -> tuple[Cell, ...]:
    """Return the cells that somebody executes again: those that were edited, and the durable one."""
    return tuple(cell for cell in version.cells if cell.durable or cell not in before.cells)


def play(row: Row, folder: Path, store: Path | Store, *, kept: bool = False) -> list[Execution]:
    """Execute each version of a row on one journal, with a restart between two, or with the kernel kept.

    Args:
        row: which.
        folder: for the notebook's files.
        store: the journal, with a workflow for each row.
        kept: one kernel for all versions, in which only edited cells are executed again.
    """
    clock, found = FakeClock(), []
    with ExitStack() as kernels:
        for number, version in enumerate(row.versions):
            clock.advance(1.0 if number < len(row.versions) - 1 else row.later.total_seconds())
            if number == 0 or not kept:
                kernels.close()
                kernel = kernels.enter_context(Kernel(folder, row.id))
            cells = edited_cells(version, row.versions[number - 1]) if number and kept else version.cells
            write_files(version, kernel.folder, number)
            found.append(kernel.execute(cells, store, clock))
    return found


def afresh(row: Row, folder: Path, *, kept: bool = False) -> Execution:
    """Execute the last version with nothing recorded. In a kernel that lives on, what came before is executed too."""
    first = 0 if kept else len(row.versions) - 1
    with Kernel(folder, row.id) as kernel:
        for number, version in enumerate(row.versions[first:], first):
            write_files(version, kernel.folder, number)
            cells = edited_cells(version, row.versions[number - 1]) if number > first else version.cells
            seen = kernel.execute(cells, MemoryStore(), FakeClock())
    return seen
