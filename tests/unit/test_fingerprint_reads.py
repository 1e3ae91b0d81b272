"""Which globals, attributes and imports a function's bytecode reads."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest

from notebook_durable.engine.fingerprint.reads import Import, reads_of


def chains(text: str) -> set[tuple[str, ...]]:
    space: dict[str, Any] = {}
    exec(text, space)
    function = space["f"]
    assert isinstance(function, FunctionType)
    return set(reads_of(function.__code__).chains)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(a): return a", set()),
        ("def f(df): return df.count()", set()),
        ("def f(): return K", {("K",)}),
        ("def f(x): return np.linalg.norm(x)", {("np", "linalg", "norm")}),
        ("def f(x): return m.a(m.b.c, x.d)", {("m", "a"), ("m", "b", "c")}),
        ("def f(x): return g(x).h", {("g",)}),
        ("def f(x): return g[x].h", {("g",)}),
        ("def f(x): return [K for K in x]", set()),
        ("def f(x): return [K + L for K in x]", {("L",)}),
        ("def f(x): return {K: m.v for K in x if P}", {("m", "v"), ("P",)}),
        ("def f(x): return sum(K for y in x)", {("sum",), ("K",)}),
        ("def f(): return lambda: K.x", {("K", "x")}),
        ("def f():\n def g(a=D): return K\n return g", {("D",), ("K",)}),
        ("def f():\n class A:\n  x = K\n  y = x\n return A", {("K",), ("__name__",)}),
        ("def f():\n global K\n K = 1", set()),
        ("def f():\n global K\n del K", set()),
        ("def f():\n global K\n K = 1\n return K", set()),
        ("def f():\n global K\n K = 1\n return [K for _ in 'a'], lambda: K", set()),
        ("def f():\n global K\n K += 1", {("K",)}),
        ("def f(x):\n global K\n if x: K = 1\n return K", {("K",)}),
        ("def f(x):\n global K\n for _ in x: K = 1\n return K", {("K",)}),
        ("def f():\n global K\n g(K)\n K = 1", {("K",), ("g",)}),
        ("def f():\n global K\n try: K = g()\n except E: pass\n return K", {("K",), ("g",), ("E",)}),
        ("def f():\n global K\n with g(): K = 1\n return K", {("K",), ("g",)}),
        ("async def f():\n global K\n K = 1\n return K", set()),
        ("def f():\n global K\n K = 1\n yield K", set()),
        ("async def f(): return await g(K)", {("g",), ("K",)}),
        ("def f(): return f'{K!r:>{W}}'", {("K",), ("W",)}),
        ("def f(m):\n import os\n return os.path", set()),
    ],
)
def test_what_is_read(text: str, expected: set[tuple[str, ...]]) -> None:
    """Globals with the attributes read from them at once, in all functions inside; nothing by name alone."""
    assert chains(text) - {("__name__",)} == expected - {("__name__",)}


def test_many_names_and_long_jumps() -> None:
    """Arguments over 255 are put together, of names and of attributes."""
    names = [f"name{i}" for i in range(600)]
    text = "def f():\n return [" + ", ".join(f"{name}.attr{name}" for name in names) + "]"
    assert chains(text) == {(name, f"attr{name}") for name in names}


def test_imports_inside() -> None:
    """Import statements with their module, level and names, also in nested functions."""
    space: dict[str, Any] = {}
    exec(
        "def f():\n"
        " import a.b, c as d\n"
        " from e import g, h as i\n"
        " from . import j\n"
        " from ..k.l import m\n"
        " def n():\n"
        "  import o\n"
        "  return o.p\n"
        " return a.b.q(d.r)\n",
        space,
    )
    reads = reads_of(space["f"].__code__)
    assert set(reads.imports) == {
        Import("a.b", 0, ()),
        Import("c", 0, ()),
        Import("e", 0, ("g", "h")),
        Import("", 1, ("j",)),
        Import("k.l", 2, ("m",)),
        Import("o", 0, ()),
    }
    assert {"q", "r", "p"} <= reads.names
