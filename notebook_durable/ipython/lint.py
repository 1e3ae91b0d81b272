"""Looks a durable cell over before it runs, for what gives another value on replay: clocks, chance, reads.

Only calls that the cell itself makes count; what a function or a lambda would do is a step's business. Names are
followed through imports and plain assignments in the cell, and from there into the user's namespace, so that a
function of the user's own called ``open_orders`` or ``now`` is left alone. Nothing is called.

``# durable: ok`` on the line of a call, or alone on the line above, silences it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

from notebook_durable.ipython.lint_names import mattering
from notebook_durable.ipython.lint_walk import PYTHON_MAGICS, Finding, Walk, parse
from notebook_durable.pause_gc import pause_gc

__all__ = ["Finding", "look", "look_at_running_cell", "sentences"]

_DURABLE = re.compile(r"\s*%%durable(?!\S)")
_DURABLE_LINE = re.compile(r"\A.*?^\s*%%durable(?!\S)[^\n]*", re.DOTALL | re.MULTILINE)
_CELL_MAGIC = re.compile(r"\s*%%(?P<name>\w+)")
_STATEMENT = re.compile(r"(?!(?:else|elif|except|finally)\b)[\w@({\['\"]")
_GOES_ON = tuple("([{,\\=+-*/%|&^<>.")
_LONGEST = 3  # sentences in the panel, beside the one that counts the rest


def look(cell: str, namespace: Mapping[str, Any], transform: Callable[[str], str]) -> list[Finding]:
    """Find what is better done in a step, in the order of lines.

    Args:
        cell: as the user sees it, ``%%durable`` line included.
        namespace: the user's, as it is before the cell runs.
        transform: IPython's translation of magics; only called for cells that have some.
    """
    rows = cell.splitlines()
    first = next((index for index, row in enumerate(rows) if _DURABLE.match(row)), -1) + 1
    body = rows[first:]
    hot = mattering("\n".join(body), namespace)
    if not hot:
        return []
    # Below another %%magic the body is its own; it is left alone unless that magic runs it as Python.
    top = next((index for index, row in enumerate(body) if row.strip()), 0)
    magic = _CELL_MAGIC.match(body[top]) if body else None
    if magic is not None:
        if magic["name"] not in PYTHON_MAGICS:
            return []
        body[top] = ""
    with pause_gc():
        walk = _walk_some(body, hot, namespace) or _walk_all(body, namespace, transform)
    return [Finding(one.call, first + one.line, one.effect) for one in sorted(walk.found, key=lambda one: one.line)]


def look_at_running_cell(shell: Any) -> list[Finding]:
    """Look over the cell that is calling; ``%config Durable.lint = False`` turns it off.

    Args:
        shell: IPython's.
    """
    if not all(getattr(one, "lint", True) for one in shell.configurables if type(one).__name__ == "Durable"):
        return []
    return look(_running_source(shell), shell.user_ns, shell.transform_cell)


def sentences(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Say it in a few lines for people, equal calls in one."""
    same: dict[tuple[str, str], list[int]] = {}
    for one in findings:
        same.setdefault((one.call, one.effect), []).append(one.line)
    said = []
    for (call, what), at in same.items():
        more = f" (and {len(at) - 1} more)" if len(at) > 1 else ""
        said.append(f"`{call}` at line {at[0]}{more} {what} on each replay; put it in a step")
    if len(said) > _LONGEST + 1:  # a line that stands for one line would be none saved
        said[_LONGEST:] = [f"and {len(said) - _LONGEST} more such calls"]
    return tuple(said)


# --- source ---------------------------------------------------------------------------------


def _running_source(shell: Any) -> str:
    """Read the running cell as the user sees it.

    ``%%time`` and others run what is below them as a cell of its own: lines are then counted in the outer one.
    """
    code = type(shell).run_cell_async.__code__
    source, body = "", ""
    current: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while current is not None:
        if current.f_code is code:
            raw = str(current.f_locals["raw_cell"])
            if source and not (body and raw.rstrip().endswith(body)):
                break
            source = raw
            body = body or _DURABLE_LINE.sub("", raw, count=1).strip()
        current = current.f_back
    return source


def _walk_all(body: Sequence[str], namespace: Mapping[str, Any], transform: Callable[[str], str]) -> Walk:
    text = "\n".join(body)
    walk = Walk(namespace, body, lambda line: line)
    try:
        tree = parse(text)
    except SyntaxError:  # magics, most likely
        changed = transform(text + "\n").splitlines()
        lines = _line_map(body, changed)
        walk = Walk(namespace, body, lambda line: lines[min(line, len(lines)) - 1])
        tree = parse("\n".join(changed))
    walk.visit(tree)
    return walk


def _walk_some(body: Sequence[str], hot: set[int], namespace: Mapping[str, Any]) -> Walk | None:
    """Walk only the statements that matter: to parse 100 dense lines takes longer than all the rest.

    Args:
        hot: lines, from 0, that can hold a call worth naming.

    Returns:
        None if statements can't be told apart by their lines alone.
    """
    if any('"""' in row or "'''" in row for row in body):
        return None
    pieces = _statements(body)
    chosen = {
        index
        for index, (start, end) in enumerate(pieces)
        if any(start <= line < end for line in hot) or any("import" in row for row in body[start:end])
    }
    while True:
        rows = [""] * len(body)
        for index in chosen:
            start, end = pieces[index]
            rows[start:end] = body[start:end]
        walk = Walk(namespace, body, lambda line: line)
        try:
            walk.visit(parse("\n".join(rows)))
        except SyntaxError:
            return None
        words = walk.wanted
        has_one = re.compile(rf"\b(?:{'|'.join(words)})\b") if words else None
        before = len(chosen)
        for index, (start, end) in enumerate(pieces):
            if index not in chosen and has_one is not None and any(map(has_one.search, body[start:end])):
                chosen.add(index)
        if len(chosen) == before:
            return walk


def _statements(body: Sequence[str]) -> list[tuple[int, int]]:
    """Part the cell at lines that begin a statement, as (first, last + 1)."""
    starts = [0]
    last = ""
    for index, row in enumerate(body):
        if _STATEMENT.match(row) and not last.startswith("@") and not last.endswith(_GOES_ON):
            starts.append(index)
        if row and not row.startswith("#"):
            last = row.rstrip()
    return list(zip(starts, [*starts[1:], len(body)], strict=True))


def _line_map(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """Find the user's line for each line of the translation.

    IPython drops blank lines at the top, and makes one line of a magic that is continued with backslashes.
    """
    lines = []
    at = next((index for index, row in enumerate(before) if row.strip()), 0)
    for row in after:
        lines.append(at + 1)
        if "get_ipython()" in row and at < len(before) and row != before[at]:
            while at + 1 < len(before) and before[at].endswith("\\"):
                at += 1
        at = min(at + 1, len(before))
    return lines or [1]
