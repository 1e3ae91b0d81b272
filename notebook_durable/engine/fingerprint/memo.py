"""Dicts that a function keeps its own results in: ``if x not in cache: cache[x] = ...; return cache[x]``.

What such a dict holds was computed by the step itself, so what it gains from a step is no change of an input. Without
this, a helper with a cache would run again for ever. The rule is strict: the dict is a global or closure value that the
function only looks keys up in, tests for a key and stores under keys; no other function of its module reads it in
another way; and entries that were there before are left as they were.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Memos", "memo_names"]

_KEPT = 256  # dicts


def memo_names(node: ast.AST) -> frozenset[str]:
    """Return the names that a function uses as a memo and in no other way."""
    stored: set[str] = set()
    looked_up: set[str] = set()
    tested: set[str] = set()  # a key is looked for before it is stored: by `in`, by `get`, or by catching its KeyError
    other: set[str] = set()
    fine: set[int] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Subscript) and isinstance(child.value, ast.Name):
            fine.add(id(child.value))
            (stored if isinstance(child.ctx, ast.Store) else looked_up).add(child.value.id)
            if isinstance(child.ctx, ast.Del):
                other.add(child.value.id)
        elif isinstance(child, ast.Compare) and all(isinstance(op, (ast.In, ast.NotIn)) for op in child.ops):
            for side in child.comparators:
                if isinstance(side, ast.Name):
                    fine.add(id(side))
                    looked_up.add(side.id)
                    tested.add(side.id)
        elif isinstance(child, ast.Call) and _is_get(child):
            name = child.func.value  # type: ignore[attr-defined]
            fine.add(id(name))
            looked_up.add(name.id)
            tested.add(name.id)
        elif isinstance(child, ast.Try) and any(_catches_key_error(handler) for handler in child.handlers):
            inside = (one for statement in child.body for one in ast.walk(statement) if isinstance(one, ast.Subscript))
            tested |= {one.value.id for one in inside if isinstance(one.value, ast.Name)}
        elif isinstance(child, ast.AugAssign) and isinstance(child.target, ast.Subscript):
            # Counting, not remembering.
            other |= {name.id for name in (child.target.value,) if isinstance(name, ast.Name)}
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and id(child) not in fine:
            other.add(child.id)
    return frozenset((stored & looked_up & tested) - other)


def _catches_key_error(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.type, ast.Name) and handler.type.id in ("KeyError", "LookupError")


def _is_get(call: ast.Call) -> bool:
    function = call.func
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
        return False
    return function.attr == "get" and len(call.args) == 1 and not call.keywords


class Memos:
    """What steps have put into memo dicts, in this process.

    Args:
        digest: of a value.
    """

    def __init__(self, digest: Callable[[Any], bytes]) -> None:
        self._digest = digest
        # Keeps each dict, so that its id stays its own.
        self._known: dict[int, tuple[dict[Any, Any], dict[Any, bytes]]] = {}

    def without_own(self, memo: dict[Any, Any]) -> dict[Any, Any]:
        """Return the dict without what steps have put there."""
        known = self._known.get(id(memo))
        if known is None or known[0] is not memo:
            return memo
        own = known[1]
        return {key: value for key, value in memo.items() if key not in own or self._digest(value) != own[key]}

    def take_growth(self, memo: dict[Any, Any], before: Iterable[Any]) -> None:
        """Note the keys that a step has added."""
        known = self._known.get(id(memo))
        if known is None or known[0] is not memo:
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            known = self._known[id(memo)] = memo, {}
        there = set(before)
        for key, value in memo.items():
            if key not in there:
                known[1][key] = self._digest(value)
