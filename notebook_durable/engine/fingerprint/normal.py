"""The normalised syntax tree of a function: comments, formatting, docstrings and line moves don't count."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

__all__ = ["canonical"]

# Where a name or a line stands is no part of what is computed; neither is `u` before a string.
_IGNORED = frozenset({"lineno", "col_offset", "end_lineno", "end_col_offset", "type_comment", "kind", "ctx"})
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}


def canonical(node: ast.AST) -> bytes:
    """Write a syntax tree down, the same for every Python version (3.11 and later) and layout.

    Args:
        node: of a function or lambda, from ``ast.parse``.

    Returns:
        Bytes that are equal for equal trees, after this is taken out: positions, docstrings and other statements
        without effect (``pass``, a text that stands alone), type comments, the kind of quotes.
    """
    out: list[str] = []
    _write(node, out)
    return "\x1f".join(out).encode("utf-8", "surrogatepass")


def _write(node: ast.AST, out: list[str]) -> None:
    kind = type(node)
    special = _SPECIAL.get(kind)
    if special is not None:
        special(node, out)
        return
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = tuple(name for name in kind._fields if name not in _IGNORED)
    out.append("(" + kind.__name__)
    for name in fields:
        value = getattr(node, name, None)
        # What a newer Python added is empty in old code: it must not be seen there.
        if value is None or value == []:
            continue
        out.append(name)
        if value.__class__ is list:
            if name == "body" or name == "orelse" or name == "finalbody":
                value = [item for item in value if not _has_no_effect(item)]
            out.append("[")
            for item in value:
                if isinstance(item, ast.AST):
                    _write(item, out)
                else:
                    out.append(f"={item!r}")
            out.append("]")
        elif isinstance(value, ast.AST):
            _write(value, out)
        else:
            out.append(f"={value!r}")
    out.append(")")


def _has_no_effect(node: ast.AST) -> bool:
    kind = node.__class__
    return kind is ast.Pass or (kind is ast.Expr and isinstance(node.value, ast.Constant))  # type: ignore[attr-defined]


def _name(node: Any, out: list[str]) -> None:
    out.append("(Name=" + node.id)


def _constant(node: Any, out: list[str]) -> None:
    _put_constant(node.value, out)


def _put_constant(value: Any, out: list[str]) -> None:
    kind = type(value)
    if kind is str:
        # With its length, because it may hold what stands between two parts. Not as repr: that depends on the
        # Unicode tables of the Python version.
        out.append(f"(str{len(value)}=")
        out.append(value)
    elif kind is int:
        out.append(f"(int={value:x}")  # a long one has no decimal digits (sys.set_int_max_str_digits)
    else:
        out.append(f"({kind.__name__}={value!r}")


def _joined(node: Any, out: list[str]) -> None:
    """An f-string. Versions differ in how they cut the text between its values."""
    parts: list[Any] = []
    for part in _parts(node):
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        elif part != "":
            parts.append(part)
    if all(isinstance(part, str) for part in parts):
        _put_constant("".join(parts), out)
        return
    out.append(f"(Joined{len(parts)}")
    for part in parts:
        if isinstance(part, str):
            _put_constant(part, out)
        else:
            _write(part, out)
    out.append(")")


def _parts(node: Any) -> list[Any]:
    found: list[Any] = []
    for part in node.values:
        if isinstance(part, ast.JoinedStr):
            found += _parts(part)
        elif isinstance(part, ast.Constant):
            found.append(part.value)
        else:
            found.append(part)
    return found


def _formatted(node: Any, out: list[str]) -> None:
    out.append(f"(Formatted={node.conversion}")
    _write(node.value, out)
    if node.format_spec is not None and _parts(node.format_spec):
        _write(node.format_spec, out)
    out.append(")")


_SPECIAL: dict[type[ast.AST], Callable[[Any, list[str]], None]] = {
    ast.Name: _name,
    ast.Constant: _constant,
    ast.JoinedStr: _joined,
    ast.FormattedValue: _formatted,
}
