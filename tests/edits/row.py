"""One edit of a notebook, as data: what it was, what it became, and what must happen when it is executed again.

Cells are written as one text, parted by lines that begin with ``# %%``; the durable one says ``# %% durable``. Bodies
of steps call ``did("NAME")``, a builtin of the runners that notes a real call. What a cell computes ends up in ``out``.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

__all__ = ["Cell", "Expected", "Row", "Version", "edit", "unedited"]

_LIBRARIES = ("attrs", "networkx", "numpy", "pandas", "polars", "pydantic", "scipy", "sklearn")
_CALL = re.compile(r"(?<!await )ctx\.(run|run_typed)\(")


@dataclass(frozen=True)
class Cell:
    """One cell: its text, and whether it is the durable one."""

    text: str
    durable: bool = False

    @property
    def asynchronous(self) -> bool:
        return self.durable and ("await " in self.text or "async with " in self.text)


@dataclass(frozen=True)
class Version:
    """A notebook at one moment: its cells, and the files beside it (by name)."""

    cells: tuple[Cell, ...]
    files: Mapping[str, str]

    @property
    def durable(self) -> Cell:
        return next(cell for cell in self.cells if cell.durable)

    def in_async(self) -> Version:
        """Return the same with each step awaited."""
        cells = (replace(c, text=_CALL.sub(r"await ctx.\1(", c.text)) if c.durable else c for c in self.cells)
        return replace(self, cells=tuple(cells))


@dataclass(frozen=True)
class Expected:
    """What the last execution must do.

    Attributes:
        replays, runs: names of steps, as often as it is called; in any order.
        out: the value of the variable ``out`` at the end.
    """

    replays: Counter[str]
    runs: Counter[str]
    out: Any


@dataclass(frozen=True, eq=False)
class Row:
    """One edit.

    Attributes:
        id: says what is edited, or what is in the way.
        versions: two, or three if something lies between; the last one is judged.
        fresh: what must happen if the kernel was restarted before it.
        kept: the same if the kernel lives on and only edited cells (and the durable one) are executed again; None: that
            means nothing here.
        errors: for each version the name of the exception that must leave it, "" for none.
        flip: its durable cell means the same with ``await`` before each step.
        silent: steps that can't call ``did``.
        either: steps that may run or replay: both are right.
        later: how much later the last execution is; only where the clock is ours.
        needs: "": anything; "kernel": real IPython; "clock": a clock that can be set.
        reason: for each step named here, what must be in the reason that is given for running it.
    """

    id: str
    versions: tuple[Version, ...]
    fresh: Expected
    kept: Expected | None
    errors: tuple[str, ...]
    flip: bool = True
    silent: frozenset[str] = frozenset()
    either: frozenset[str] = frozenset()
    later: timedelta = timedelta(0)
    needs: str = ""
    reason: Mapping[str, str] = field(default_factory=dict)

    @property
    def asynchronous(self) -> bool:
        return self.versions[0].durable.asynchronous

    @property
    def missing(self) -> str:
        """A library that the row uses and that isn't installed; "" if there is none."""
        text = "".join(cell.text for version in self.versions for cell in version.cells)
        return next((name for name in _LIBRARIES if _uses(name, text) and find_spec(name) is None), "")

    def in_async(self) -> Row:
        """Return the same edit in an async cell."""
        return replace(self, versions=tuple(v.in_async() for v in self.versions))

    def without_restart(self) -> Row:
        """Return the same edit as it is without a restart."""
        assert self.kept is not None
        return replace(self, fresh=self.kept)


def edit(
    name: str,
    before: str,
    *changes: tuple[str, str],
    after: str | None = None,
    files: Mapping[str, str] | None = None,
    files_after: Mapping[str, str] | None = None,
    replays: str = "",
    runs: str = "",
    out: Any,
    undo: bool = False,
    then: Sequence[tuple[str, str]] = (),
    kept: Mapping[str, Any] | bool | None = None,
    error_before: str = "",
    error_after: str = "",
    **more: Any,
) -> Row:
    """Make a row.

    Args:
        name: its id.
        before: the cells.
        *changes: ``(old, new)``: texts that stand exactly once in ``before``, and what they become.
        after: the cells afterwards, instead of changes.
        files: files beside the notebook.
        files_after: those that are written anew before the last execution.
        replays, runs, out: see Expected; names are parted by spaces.
        undo: the edit is executed, then undone and executed again.
        then: the edit is executed, then undone and these changes are made instead.
        kept: what differs from that in a kernel that lives on; False: means nothing there. By default it is the same,
            but means nothing where the text of a module changes, which needs a reload.
        error_before, error_after: see ``Row.errors``.
        **more: see Row.
    """
    text = _clean(before)
    edited = _clean(after) if after is not None else _changed(name, text, changes)
    old = {file: _clean(content) for file, content in (files or {}).items()}
    new = old | {file: _clean(content) for file, content in (files_after or {}).items()}
    versions = [Version(_cells(text), old), Version(_cells(edited), new)]
    errors = [error_before, error_after]
    if undo:
        versions.append(versions[0])
        errors.append(errors[0])
    elif then:
        versions.append(Version(_cells(_changed(name, text, then)), new))
        errors.append("")
    fresh = _expected(replays, runs, out)
    if kept is None:
        kept = not any(file.endswith(".py") for file in files_after or ())
    if isinstance(kept, Mapping):
        alive: Expected | None = _expected(**{"replays": replays, "runs": runs, "out": out, **kept})
    else:
        alive = fresh if kept else None
    for names in ("silent", "either"):
        more[names] = frozenset(more.get(names, "").split())
    return Row(name, tuple(versions), fresh, alive, tuple(errors), **more)


def unedited(name: str, text: str, **more: Any) -> Row:
    """Make a row of a notebook that is executed again as it is."""
    return edit(name, text, after=text, **more)


def _uses(library: str, text: str) -> bool:
    return re.search(rf"\b(import|from) ([\w.]+( as \w+)?, )*{library}\b", text) is not None


def _expected(replays: str, runs: str, out: Any) -> Expected:
    return Expected(Counter(replays.split()), Counter(runs.split()), out)


def _clean(text: str) -> str:
    return textwrap.dedent(text).strip("\n") + "\n"


def _changed(name: str, text: str, changes: Sequence[tuple[str, str]]) -> str:
    assert changes, f"{name}: nothing is edited"
    for old, new in changes:
        assert text.count(old) == 1, f"{name}: {old!r} stands {text.count(old)} times in it"
        text = text.replace(old, new)
    return text


def _cells(text: str) -> tuple[Cell, ...]:
    found, lines, durable = [], [], False

    def end() -> None:
        if "".join(lines).strip():
            found.append(Cell("".join(lines), durable))

    for line in text.splitlines(keepends=True):
        if line.startswith("# %%"):
            end()
            lines, durable = [], line.split()[2:] == ["durable"]
        else:
            lines.append(line)
    end()
    assert sum(cell.durable for cell in found) == 1, text
    return tuple(found)
