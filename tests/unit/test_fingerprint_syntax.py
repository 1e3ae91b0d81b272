"""The syntax tree of a code object: found by its own lines, and never one that is not its own."""

from __future__ import annotations

import ast
import itertools
import linecache
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import CodeType
from typing import Any

import pytest

from notebook_durable.engine.fingerprint import syntax
from notebook_durable.engine.fingerprint.normal import canonical


def source_node(code: CodeType) -> ast.AST | None:
    """Look it up with nothing remembered."""
    syntax._recent.clear()
    return syntax.source_node(code)


_numbers = itertools.count(1)


def run(text: str, filename: str | None = None, mtime: float | None = None) -> dict[str, Any]:
    """Run text as a cell does."""
    text = dedent(text)
    filename = filename or f"<ipython-input-{next(_numbers)}-abc>"
    linecache.cache[filename] = (len(text), mtime, text.splitlines(True), filename)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, filename, "exec", dont_inherit=True), space)
    return space


def codes_in(code: CodeType) -> list[CodeType]:
    return [code, *(inner for const in code.co_consts if isinstance(const, CodeType) for inner in codes_in(const))]


TEXT = '''
    # A cell with what makes a function's end hard to find.
    import functools
    @functools.wraps(
    print
    )
    def decorated(
        a, b=(
    1)
    ): # comment
        """Doc
    with lines at the left
        """
        s = """
    more text
    def not_a_function(): pass
    """
        # comment
    # comment at the left
        return [
    a, b
    ]

    def one_line(a): return a
    def ends_with_comment(a):
        return a
        # end
    class C:
        def method(self):
            def inner():
                x = \\
    1
                return x
            return inner

        async def last(self): pass
    @functools.cache
    @functools.wraps(print)
    def twice(): return 1
    if True:
    \tdef tabs():
    \t\treturn 1
    fs = [lambda: 1, lambda a: (a,
        2), lambda a, b=lambda: 3: b]; g = lambda: (yield)
    h = lambda: "\\\\d" if fs else """
    lines"""
    def umlauts(ä): return "ö", lambda ü: "ß" + ü, (lambda: ä)
'''


def test_each_function_is_found_with_its_own_text() -> None:
    """The tree of each function and lambda in a cell is that which parsing the whole cell gives."""
    space = run(TEXT)
    filename = space["umlauts"].__code__.co_filename
    text = "".join(linecache.getlines(filename))
    tree = ast.parse(text)
    expected = sorted(
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    )
    codes = [
        code
        for code in codes_in(compile(text, filename, "exec", dont_inherit=True))
        if code.co_name not in ("<module>", "C")
    ]
    nodes = [source_node(code) for code in codes]
    assert sorted(ast.unparse(node) for node in nodes if node is not None) == expected
    for code, node in zip(codes, nodes, strict=True):
        assert node is not None, code
        assert getattr(node, "name", "<lambda>") == code.co_name


def test_a_function_is_parsed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cell of thousands of lines, only the function's own are parsed; a lambda's too."""
    parsed: list[int] = []
    parse = syntax._parse
    monkeypatch.setattr(syntax, "_parse", lambda text: parsed.append(len(text)) or parse(text))
    text = "".join(f"def f{i}(a):\n    b = a + {i}\n    return b\n\n" for i in range(2000))
    space = run(text + "g = [lambda x: x + 1, lambda y: (y)]\n")
    assert source_node(space["f1000"].__code__) is not None
    assert source_node(space["f1999"].__code__) is not None
    assert all(source_node(fn.__code__) is not None for fn in space["g"])
    assert parsed
    assert max(parsed) < 100


def test_text_of_a_cell_is_trusted_but_not_that_of_other_names() -> None:
    """What stands in linecache as "<string>" may be of another exec: it counts if it gives the same bytecode."""
    space = run("def f(): return 1", "<string>")
    assert source_node(space["f"].__code__) is not None
    run("def f(): return 2", "<string>")
    assert source_node(space["f"].__code__) is None
    del linecache.cache["<string>"]


def test_no_text_no_tree() -> None:
    """Functions of exec have none; neither have those of files that are gone."""
    space: dict[str, Any] = {}
    exec(compile("def f(): return 1", "/nowhere/gone.py", "exec"), space)
    assert source_node(space["f"].__code__) is None
    assert source_node(compile("lambda: 1", "<nothing>", "eval").co_consts[0]) is None


def _load(path: Path, text: str) -> dict[str, Any]:
    path.write_text(text)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, str(path), "exec", dont_inherit=True), space)
    return space


def test_an_edited_file_is_no_source_of_old_code(tmp_path: Path) -> None:
    """An operator changed on disk, at the same place and with the same names: the new text isn't the old code's."""
    path = tmp_path / "helpers.py"
    space = _load(path, "def f(a): return a + 1\ndef g(a): return a\nh = lambda x: x + 1\n")
    path.write_text("# new\ndef f(a): return a - 1\ndef g(a):\n    return a\nh = lambda x: x - 1\n")
    assert source_node(space["f"].__code__) is None
    assert source_node(space["h"].__code__) is None
    node = source_node(space["g"].__code__)  # it moved, but it's the same
    assert node is not None
    assert ast.unparse(node) == "def g(a):\n    return a"
    path.write_text("def f(")
    assert source_node(space["g"].__code__) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a + 1", "a + True"),
        ("a + 1", "a + 1.0"),
        ("'a'", "b'a'"),
        ("a.x", "a.y"),
        ("(1, 2)", "(1, 2.0)"),
        ("a in {1}", "a in {True}"),
        ("lambda: 1", "lambda: 2"),
        ("-0.0", "0.0"),
        ("a and b", "a or b"),
    ],
)
def test_what_differs_in_an_edited_file_is_noticed(before: str, after: str, tmp_path: Path) -> None:
    """Constants are compared with their types, and inside of tuples, sets and nested functions."""
    path = tmp_path / "helpers.py"
    space = _load(path, f"def f(a, b=1): return {before}\n")
    assert source_node(space["f"].__code__) is not None
    path.write_text(f"def f(a, b=1): return {after}\n")
    assert source_node(space["f"].__code__) is None


def test_a_file_older_than_the_process_is_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What didn't change since before the process started is the text of what was loaded."""
    path = tmp_path / "helpers.py"
    space = _load(path, "def f(a): return a + 1\n")
    monkeypatch.setattr(syntax, "_STARTED", path.stat().st_ctime + 10)
    monkeypatch.setattr(syntax._Text, "compiled", lambda *_: pytest.fail("compiled"))
    assert source_node(space["f"].__code__) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each file is compiled")
def test_when_this_process_started_is_known() -> None:
    """A little before its first line ran, and not much."""
    ran = subprocess.run(
        [sys.executable, "-c", ("import time; t = time.time(); from notebook_durable.engine.fingerprint.syntax "
         "import _STARTED; print(t - _STARTED)")],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert 1.9 < float(ran.stdout) < 60


def test_invalid_escapes_are_not_warned_of_again() -> None:
    """The user has seen that warning when the cell ran; here it would be an error under -W error."""
    with pytest.warns((SyntaxWarning, DeprecationWarning)):
        space = run('def f(): return "\\d"\ng = lambda: "\\d"')
    assert source_node(space["f"].__code__) is not None
    assert source_node(space["g"].__code__) is not None


def same(left: str, right: str) -> bool:
    first, second = (canonical(ast.parse(dedent(text))) for text in (left, right))
    return first == second


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("x = f'a' 'b'", "x = 'ab'"),
        ("f'a{x}' f'b' 'c'", "f'a{x}bc'"),
        ("f'{x:}'", "f'{x}'"),
        ("x = f'{{}}'", "x = '{}'"),
        ("u'a'", "'a'"),
        ("def f():\n 'doc'", "def f(): pass"),
        ("class A:\n 'doc'\n def f(self): ...", "class A:\n  def f(self):\n   'doc'"),
        ("x = 0x10", "x = 16"),
        ("x = (1,\n 2)", "x = 1, 2"),
        ("if a: b\nelse:\n if c: d", "if a: b\nelif c: d"),
    ],
)
def test_trees_that_mean_the_same(left: str, right: str) -> None:
    """Another way to write it down gives the same bytes."""
    assert same(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("f'{x}'", "f'{y}'"),
        ("f'{x}'", "f'{x!r}'"),
        ("f'{x}'", "'{x}'"),
        ("f'{x}{y}'", "f'{x}' + f'{y}'"),
        ("f'a{x}'", "f'{x}a'"),
        ("x = None", "x = 'None'"),
        ("x = 1", "x = True"),
        ("x = 'a\\x1fb'", "x = 'a' 'b'"),
        ("x = [1]", "x = (1,)"),
        ("x: int", "x: str"),
        ("f(a=1)", "f(b=1)"),
        ("f(*a)", "f(**a)"),
        ("a < b", "a <= b"),
        ("async def f(): pass", "def f(): pass"),
        ("def f(a, /): pass", "def f(a): pass"),
        ("def f(*, a): pass", "def f(a): pass"),
        ("import a", "import b"),
        ("from . import a", "from .. import a"),
        ("match x:\n case 1: pass", "match x:\n case 2: pass"),
        ("{**a, 'b': 1}", "{'b': 1, **a}"),
        ("try: a\nexcept* B: c", "try: a\nexcept B: c"),
        ("x = 'ä'", "x = 'a'"),
        ("x = 1", "x = 1.0"),
    ],
)
def test_trees_that_differ(left: str, right: str) -> None:
    """What could change a result gives other bytes."""
    assert not same(left, right)


def test_a_tree_that_was_found_is_remembered_over_an_edit(tmp_path: Path) -> None:
    """Code that was looked at lately keeps its tree, whatever its file says now."""
    path = tmp_path / "helpers.py"
    space = _load(path, "def f(a): return a + 1\n")
    node = source_node(space["f"].__code__)
    path.write_text("def f(a): return a - 1\n")
    assert syntax.source_node(space["f"].__code__) is node
    for i in range(syntax._RECENT):
        syntax.source_node(run(f"def f(): return {i}")["f"].__code__)
    assert len(syntax._recent) == syntax._RECENT
    assert syntax.source_node(space["f"].__code__) is None


def test_very_long_numbers_and_lone_surrogates() -> None:
    """Numbers without decimal digits (sys.set_int_max_str_digits), and text that isn't UTF-8."""
    node = ast.Expression(ast.Constant(10**5000))
    assert canonical(node) == canonical(ast.Expression(ast.Constant(10**5000)))
    assert canonical(node) != canonical(ast.Expression(ast.Constant(10**5000 + 1)))
    assert canonical(ast.Constant("\ud800")) != canonical(ast.Constant("\ud801"))


def test_lambdas_of_constants_on_one_line() -> None:
    """Python 3.12 gives the body of ``lambda: 1`` no position; it is told by its value."""
    space = run("fs = [lambda: 1, lambda: 2, lambda: (3), lambda: True, lambda: g]")
    nodes = [source_node(fn.__code__) for fn in space["fs"]]
    found = [ast.unparse(node) for node in nodes if node is not None]
    assert found == ["lambda: 1", "lambda: 2", "lambda: 3", "lambda: True", "lambda: g"]


@pytest.mark.parametrize("first", ["", "from __future__ import annotations\n"])
def test_lambdas_of_constants_inside_of_a_function(first: str) -> None:
    """That it stands in a function, or in a module of the future, is not what a lambda does."""
    space = run(f"{first}def fs(): return [lambda: g(1), lambda: 5]")
    nodes = [source_node(fn.__code__) for fn in space["fs"]()]
    assert [ast.unparse(node) for node in nodes if node is not None] == ["lambda: g(1)", "lambda: 5"]


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("/tmp/ipykernel_1/3141592653.py", "/tmp/ipykernel_2/3141592653.py"),
        ("<ipython-input-3-ab12>", "<ipython-input-9-ab12>"),
    ],
)
def test_a_function_from_an_earlier_kernel_finds_its_cell(then: str, now: str) -> None:
    """A function that comes back from a pickle names the old kernel's cell: the same text counts here, no other."""
    text = "def f(a): return a + 1\nawait_it = 1\nasync def g(): await x\n"
    space: dict[str, Any] = {}
    exec(compile(text, then, "exec", dont_inherit=True), space)
    assert source_node(space["f"].__code__) is None
    run(text, now)
    assert source_node(space["f"].__code__) is not None
    linecache.cache[now] = (1, None, ["def f(a): return a - 1\n"], now)
    assert source_node(space["f"].__code__) is None
    del linecache.cache[now]
