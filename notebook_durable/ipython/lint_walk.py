"""The walk through a cell's syntax tree: which calls the cell itself makes, and what they are."""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from notebook_durable.ipython.lint_names import (
    INSTANCES,
    NO_ARGUMENTS,
    effect,
    gives_paths,
    is_path_method,
    is_told,
    lookup,
)
from notebook_durable.pause_gc import pause_gc

__all__ = ["PYTHON_MAGICS", "Finding", "Walk", "parse"]

#: Magics whose body or argument is Python that runs in the cell.
PYTHON_MAGICS = frozenset({"time", "timeit", "capture", "prun", "memit"})
_OK = re.compile(r"#\s*durable:\s*ok\b")


@dataclass(frozen=True, slots=True)
class Finding:
    """One call that is better made in a step.

    Attributes:
        call: as the user wrote it, without arguments: "datetime.now()".
        line: in the cell, from 1, as the user counts.
        effect: what it does on replay: "changes", "reads again" or "sends again".
    """

    call: str
    line: int
    effect: str


def parse(text: str) -> ast.AST:
    """Parse without a warning: IPython gives it, once. (Changing filters costs, and only escapes are warned about.)"""
    with pause_gc():  # a collection in the middle may make CPython 3.11 raise SystemError
        if "\\" not in text:
            return ast.parse(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)


class Walk:
    """Goes through the cell in its own order, so that each name means what it means there."""

    def __init__(self, namespace: Mapping[str, Any], rows: Sequence[str], line_of: Callable[[int], int]) -> None:
        self.found: list[Finding] = []
        self._namespace = namespace
        self._rows = rows
        self._line_of = line_of
        self._bound: dict[str, str | None] = {}  # true names of what the cell has bound so far; None: not of interest
        self._stars: list[str] = []
        self._seeded: set[str] = set()
        self._looked_up: set[str] = set()

    @property
    def wanted(self) -> set[str]:
        """The names that the walk has relied on: a statement that has one may bind it."""
        found = self._looked_up | {name for name, means in self._bound.items() if means is not None}
        return found - _NEVER_OF_INTEREST

    def visit(self, node: ast.AST) -> None:
        """Look at a node and what is in it."""
        handler = self._handlers.get(type(node))
        if handler is not None:
            handler(self, node)
        elif type(node) not in _LEAVES:
            self._children(node)

    def _children(self, node: ast.AST) -> None:
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                for one in value:
                    if isinstance(one, ast.AST):
                        self.visit(one)
            elif isinstance(value, ast.AST):
                self.visit(value)

    # -- names

    def _name(self, node: ast.AST | None) -> str | None:
        if isinstance(node, ast.Name):
            self._looked_up.add(node.id)
            if node.id in self._bound:
                return self._bound[node.id]
            for module in self._stars:
                if effect(f"{module}.{node.id}", NO_ARGUMENTS, None, ()) is not None:
                    return f"{module}.{node.id}"
            return lookup(node.id, self._namespace)
        if isinstance(node, ast.Attribute):
            base = self._name(node.value)
            name = f"{base}.{node.attr}" if base is not None else None
            return "pathlib.Path()" if name == "pathlib.Path().parent" else name
        if isinstance(node, ast.Call):
            called = self._name(node.func)
            if called is not None and is_path_method(called):
                return "pathlib.Path()"
            return f"{called}()" if called in INSTANCES else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and self._name(node.left) == "pathlib.Path()":
            return "pathlib.Path()"
        return self._name(node.value) if isinstance(node, ast.NamedExpr) else None

    def _import(self, node: ast.Import) -> None:
        for one in node.names:
            root = one.name.partition(".")[0]
            self._bound[one.asname or root] = one.name if one.asname else root

    def _from(self, node: ast.ImportFrom) -> None:
        for one in node.names:
            if one.name == "*":
                self._stars += [node.module] if node.module and not node.level else []
            else:
                self._bound[one.asname or one.name] = None if node.level else f"{node.module}.{one.name}"

    def _a_name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._bound[node.id] = None

    def _assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._bind(target, node.value)

    def _named(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bind(node.target, node.value)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self._bind(node.target, node.value)

    def _with(self, node: ast.withitem) -> None:
        self.visit(node.context_expr)
        if node.optional_vars is not None:
            self._bind(node.optional_vars, node.context_expr)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        name = self._name(value) if isinstance(target, ast.Name) else None
        self.visit(target)
        if isinstance(target, ast.Name):
            self._bound[target.id] = name

    def _for(self, node: ast.For | ast.comprehension) -> None:
        self.visit(node.iter)
        self.visit(node.target)
        if isinstance(node.target, ast.Name) and self._of_paths(node.iter):
            self._bound[node.target.id] = "pathlib.Path()"
        for part in (*node.ifs,) if isinstance(node, ast.comprehension) else (*node.body, *node.orelse):
            self.visit(part)

    def _of_paths(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Call):
            return False
        if isinstance(node.func, ast.Name) and node.func.id in ("sorted", "list") and node.args:
            return self._of_paths(node.args[0])
        name = self._name(node.func)
        return name is not None and gives_paths(name)

    def _captured(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self._children(node)
        if node.name:
            self._bound[node.name] = None

    def _except(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bound[node.name] = None
        self._children(node)

    # -- what isn't the cell's own doing, and what has names of its own

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self.visit(part)
        self._bound[node.name] = None

    def _lambda(self, node: ast.Lambda) -> None:
        for part in (*node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self.visit(part)

    def _class(self, node: ast.ClassDef) -> None:
        outside = dict(self._bound)
        self._children(node)
        self._bound = {**outside, node.name: None}

    def _comprehension(self, node: ast.AST) -> None:
        outside = dict(self._bound)
        for part in getattr(node, "generators", ()):
            self.visit(part)
        for field in ("key", "value", "elt"):
            part = getattr(node, field, None)
            if part is not None:
                self.visit(part)
        self._bound = outside

    # -- calls

    def _call(self, node: ast.Call) -> None:
        name = self._name(node.func)
        if name is not None:
            family, _, last = name.rpartition(".")
            if last == "seed" and is_told(node):
                self._seeded.add(family)
            what = effect(name, node, self._name(node.args[0]) if node.args else None, self._seeded)
            if what is not None:
                self._add(node, what)
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("run_line_magic", "run_cell_magic"):
            self._magic(node)
        self._children(node)

    def _add(self, node: ast.Call, what: str) -> None:
        line = self._line_of(node.func.end_lineno or node.lineno)
        last = self._line_of(node.end_lineno or node.lineno)
        above = self._rows[line - 2].strip() if line >= 2 else ""
        if not any(_OK.search(row) for row in self._rows[line - 1 : last]) and not _OK.match(above):
            self.found.append(Finding(f"{_written(node.func)}()", line, what))

    def _magic(self, node: ast.Call) -> None:
        """Look into ``%time frame = pd.read_csv(path)``."""
        arguments = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        if len(arguments) != 2 or arguments[0] not in PYTHON_MAGICS:
            return
        try:
            tree = parse(arguments[1])
        except SyntaxError:
            return  # options of the magic, say
        outer, line = self._line_of, self._line_of(node.lineno)
        self._line_of = lambda _line: line
        self.visit(tree)
        self._line_of = outer

    _handlers: ClassVar[dict[type, Callable[..., None]]] = {
        ast.Import: _import,
        ast.ImportFrom: _from,
        ast.Name: _a_name,
        ast.Assign: _assign,
        ast.NamedExpr: _named,
        ast.AnnAssign: _annotated,
        ast.withitem: _with,
        ast.For: _for,
        ast.comprehension: _for,
        ast.MatchAs: _captured,
        ast.MatchStar: _captured,
        ast.ExceptHandler: _except,
        ast.FunctionDef: _function,
        ast.AsyncFunctionDef: _function,
        ast.Lambda: _lambda,
        ast.ClassDef: _class,
        ast.ListComp: _comprehension,
        ast.SetComp: _comprehension,
        ast.DictComp: _comprehension,
        ast.GeneratorExp: _comprehension,
        ast.Call: _call,
    }


# Nearly every statement has one of them, and nobody gives that name to a clock.
_NEVER_OF_INTEREST = frozenset({"ctx", *dir(builtins)}) - {"open"}
_LEAVES = frozenset({ast.Constant, ast.Load, ast.Store, ast.Pass, ast.Break, ast.Continue, ast.Global})


def _written(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_written(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{_written(node.func)}()"
    return "(…)"
