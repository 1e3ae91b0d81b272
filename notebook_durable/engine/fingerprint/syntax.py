"""Finds the syntax tree that a code object was compiled from, and is sure about it.

A cell's text stays in ``linecache`` under a name of its own. A file is a trap: it may have been edited since the module
was loaded, and then its text says something else than the code that runs. So a file that changed after this process
started is compiled, and its text counts only where it gives the very same bytecode.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import os
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from notebook_durable.engine.fingerprint.origin import is_cell_file
from notebook_durable.pause_gc import pause_gc

__all__ = ["source_node"]

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # cells may; functions come out the same
_KEPT = 64  # files whose parse or compile is remembered
_RECENT = 32  # trees; a function is looked at in more than one way at once
_CUTS = 12  # attempts to find the end of a function before the whole file is parsed
_DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEF = re.compile(r"\s*(async\s+)?def\b")
_CELL_HASH = re.compile(r"/\w+\.py$|-\w+>$")
_LAMBDA = re.compile(rb"\blambda\b")
#: Flags of a code object that tell where it stands, not what it does.
_WHERE = inspect.CO_NESTED
for _name in __future__.all_feature_names:
    _WHERE |= getattr(__future__, _name).compiler_flag


def source_node(code: CodeType) -> ast.AST | None:
    """Find the syntax tree of a function's code object.

    Args:
        code: of a ``def`` or a lambda.

    Returns:
        Its node, with decorators; None if there is no source at hand, or it is not this code's any more.
    """
    known = _recent.get(id(code))
    if known is not None and known[0] is code:
        return known[1]
    node = _found(code)
    if node is not None:
        while len(_recent) >= _RECENT:
            _recent.pop(next(iter(_recent)), None)
        _recent[id(code)] = code, node
    return node


def _found(code: CodeType) -> ast.AST | None:
    text = _text(code.co_filename) or _same_cell(code.co_filename)
    if text is None:
        return None
    if not text.trusted:
        match = text.compiled(code)
        if match is None:
            return None
        code = match  # the same code, with the lines where it stands now
    if not 0 < code.co_firstlineno <= len(text.lines):
        return None
    try:
        if code.co_name == "<lambda>":
            return _lambda(text, code)
        return _def(text.lines, code) or text.def_at(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


# --- texts ----------------------------------------------------------------------------------


class _Text:
    """The text of a file or cell as it is now."""

    def __init__(self, filename: str, lines: list[str], trusted: bool) -> None:
        self.filename = filename
        self.lines = lines
        self.trusted = trusted
        self._tree: ast.AST | None = None
        self._codes: dict[str, list[CodeType]] | None = None

    def tree(self) -> ast.AST:
        if self._tree is None:
            self._tree = _parse("".join(self.lines))
        return self._tree

    def compiled(self, code: CodeType) -> CodeType | None:
        """Find the code object that this text gives for a function; None if none is the same."""
        if self._codes is None:
            self._codes = {}
            try:
                with pause_gc(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    todo = [compile("".join(self.lines), self.filename, "exec", _FLAGS, dont_inherit=True)]
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                todo = []
            while todo:
                current = todo.pop()
                self._codes.setdefault(current.co_qualname, []).append(current)
                todo.extend(const for const in current.co_consts if isinstance(const, CodeType))
        same = [other for other in self._codes.get(code.co_qualname, ()) if _same(other, code)]
        exact = [other for other in same if other.co_firstlineno == code.co_firstlineno]
        return next(iter(exact or same), None)

    def def_at(self, code: CodeType) -> ast.AST | None:
        for node in ast.walk(self.tree()):
            if isinstance(node, _DEFS) and _is_of(node, code):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                if first == code.co_firstlineno:
                    return node
        return None


_texts: dict[str, _Text] = {}
_recent: dict[int, tuple[CodeType, ast.AST]] = {}


def _text(filename: str) -> _Text | None:
    entry = linecache.cache.get(filename)
    if entry is None or len(entry) == 1 or entry[1] is not None:
        linecache.checkcache(filename)  # a file: read it again if it changed
        linecache.getlines(filename)
        entry = linecache.cache.get(filename)
    if entry is None or len(entry) == 1 or not entry[2]:
        return None
    lines: list[str] = entry[2]
    known = _texts.get(filename)
    if known is not None and known.lines is lines:
        return known
    if len(_texts) >= _KEPT:
        _texts.pop(next(iter(_texts)))
    trusted = is_cell_file(filename) if entry[1] is None else _unchanged_since_start(entry[3])
    known = _texts[filename] = _Text(filename, lines, trusted)
    return known


def _same_cell(filename: str) -> _Text | None:
    """Find the cell of this kernel that a function from an earlier kernel was defined in.

    A function that comes back from a pickle names its cell as that kernel did: with a number of its own, and a hash of
    the cell's text, which is the same here. What is found is not trusted.
    """
    if not is_cell_file(filename):
        return None
    tail = _CELL_HASH.search(filename)
    if tail is None:
        return None
    for other, entry in list(linecache.cache.items()):
        if other.endswith(tail.group()) and is_cell_file(other) and len(entry) > 1:
            return _Text(other, entry[2], trusted=False)
    return None


def _unchanged_since_start(path: str) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116  once per file, but on the way of the first step
    except OSError:
        return False
    return max(status.st_ctime, status.st_mtime) < _STARTED


def _started() -> float:
    """Return when this process started, in seconds since the epoch, a little before rather than after; 0 if unknown."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        started = time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
    return started - 2.0 if 0 < started <= time.time() else 0.0


_STARTED = _started()


def _same(left: CodeType, right: CodeType) -> bool:
    """Tell whether two code objects do the same, wherever they stand."""
    return (
        left.co_code == right.co_code
        and left.co_names == right.co_names
        and left.co_varnames == right.co_varnames
        and left.co_freevars == right.co_freevars
        and left.co_cellvars == right.co_cellvars
        and left.co_argcount == right.co_argcount
        and left.co_kwonlyargcount == right.co_kwonlyargcount
        and left.co_flags & ~_WHERE == right.co_flags & ~_WHERE
        and left.co_exceptiontable == right.co_exceptiontable
        and len(left.co_consts) == len(right.co_consts)
        and all(map(_same_const, left.co_consts, right.co_consts))
    )


def _same_const(left: Any, right: Any) -> bool:
    if isinstance(left, CodeType):
        return isinstance(right, CodeType) and _same(left, right)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(_same_const, left, right))
    if isinstance(left, frozenset):
        return left == right and sorted(map(repr, left)) == sorted(map(repr, right))
    return type(left) is type(right) and repr(left) == repr(right)


def _parse(text: str) -> ast.Module:
    # A collection in the middle may run finalizers, and then CPython 3.11 raises SystemError ("recursion depth").
    with pause_gc():
        if "\\" not in text:
            return ast.parse(text)
        with warnings.catch_warnings():  # the user has seen it: "invalid escape sequence"
            warnings.simplefilter("ignore")
            return ast.parse(text)


# --- def ------------------------------------------------------------------------------------


def _def(lines: list[str], code: CodeType) -> ast.AST | None:
    """Parse a function's own lines only. A wrong cut is no valid text, so the next one is tried."""
    first = code.co_firstlineno - 1
    indented = lines[first][:1].isspace()
    for end, _ in zip(_ends(lines, first), range(_CUTS), strict=False):
        text = "".join(lines[first:end])
        try:
            body: list[Any] = _parse(f"if 1:\n{text}" if indented else text).body
        except SyntaxError:
            continue
        if indented:
            body = body[0].body
        return body[0] if len(body) == 1 and _is_of(body[0], code) else None
    return None


def _ends(lines: list[str], first: int) -> Iterator[int]:
    """Yield where a function may end: at lines that are indented no deeper than its own."""
    indent = len(lines[first]) - len(lines[first].lstrip())
    in_body = False
    for position in range(first, len(lines)):
        line = lines[position]
        stripped = line.lstrip()
        if not stripped or stripped[0] == "#":
            continue
        if len(line) - len(stripped) > indent:
            continue
        if in_body and stripped[0] not in ")]}":
            yield position
        elif not in_body and _DEF.match(line):
            in_body = True
    yield len(lines)


def _is_of(node: ast.AST, code: CodeType) -> bool:
    arguments: Any
    if isinstance(node, _DEFS):
        name, arguments = node.name, node.args
    elif isinstance(node, ast.Lambda):
        name, arguments = "<lambda>", node.args
    else:
        return False
    plain = len(arguments.posonlyargs) + len(arguments.args)
    return name == code.co_name and (plain, len(arguments.kwonlyargs)) == (code.co_argcount, code.co_kwonlyargcount)


# --- lambda ---------------------------------------------------------------------------------


class _Span(NamedTuple):
    """A piece of text; columns in bytes of UTF-8, as Python counts them."""

    line: int
    column: int
    end_line: int
    end_column: int


def _span(code: CodeType) -> _Span | None:
    """The piece of source that the instructions of a lambda stand for: its body, without parentheses around it."""
    starts, ends = [], []
    for line, end_line, column, end_column in code.co_positions():
        if line is None or end_line is None or column is None or end_column is None or column == end_column:
            continue
        starts.append((line, column))
        ends.append((end_line, end_column))
    return _Span(*min(starts), *max(ends)) if starts else None


def _lambda(text: _Text, code: CodeType) -> ast.AST | None:
    span = _span(code)
    if span is not None:
        found = _lambda_alone(text.lines, code, span)
        if found is not None:
            return found
    nodes = [
        node
        for node in ast.walk(text.tree())
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno and _is_of(node, code)
    ]
    if len(nodes) > 1 and span is not None:
        nodes = [node for node in nodes if (node.body.lineno, node.body.col_offset) == span[:2]]
    elif len(nodes) > 1:  # 3.12 doesn't tell where a body stands that is a constant
        nodes = [node for node in nodes if isinstance(node.body, ast.Constant) and _gives(node, code)][:1]
    return nodes[0] if len(nodes) == 1 else None


def _gives(node: ast.Lambda, code: CodeType) -> bool:
    made = compile(ast.Expression(node), code.co_filename, "eval", dont_inherit=True)
    return any(isinstance(const, CodeType) and _same(const, code) for const in made.co_consts)


def _lambda_alone(lines: list[str], code: CodeType, span: _Span) -> ast.AST | None:
    """Parse the lambda only: from the word before its body to the end of the body."""
    first = code.co_firstlineno
    rows = [line.encode() for line in lines[first - 1 : span.end_line]]
    if len(rows) != span.end_line - first + 1 or span.line < first:
        return None
    before = sum(map(len, rows[:-1]))
    text = b"".join(rows)
    start = sum(map(len, rows[: span.line - first])) + span.column
    end = before + span.end_column
    for match in reversed(list(_LAMBDA.finditer(text, 0, min(start, len(rows[0]))))):
        for stop in _stops(text, end):
            try:
                node = _parse(f"({text[match.start() : stop].decode()}\n)").body[0].value  # type: ignore[attr-defined]
            except (SyntaxError, UnicodeDecodeError):
                continue
            if not isinstance(node, ast.Lambda) or not _is_of(node, code):
                break
            shift = 1 - match.start() if span.line == first else 0
            if (node.body.lineno, node.body.col_offset) == (span.line - first + 1, span.column + shift):
                return node
            break
    return None


def _stops(text: bytes, end: int) -> Iterator[int]:
    """Where a body may end: its instructions don't tell the closing parentheses around it."""
    yield end
    for position in range(end, len(text)):
        if text[position : position + 1] in b")]}":
            yield position + 1
        elif not text[position : position + 1].isspace():
            return
