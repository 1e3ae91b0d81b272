"""The text of a cell before and after: line 1 is replaced on the same line, and nothing else changes."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notebook_durable.ipython.transformer import ENTRY, transform


def through(cell: str) -> str:
    return "".join(transform(cell.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("%%durable", f"ctx = {ENTRY}('')"),
        ("%%durable churn", f"ctx = {ENTRY}('churn')"),
        ("%%durable  churn --key {day}  ", f"ctx = {ENTRY}('churn --key {{day}}')"),
        ("%%durable\tchurn", f"ctx = {ENTRY}('churn')"),
        ("%%durable 'it''s' \"x\"", f"""ctx = {ENTRY}('\\'it\\'\\'s\\' "x"')"""),
        ("%%durable äöü 名前", f"ctx = {ENTRY}('äöü 名前')"),
        ("%%durable a\\b", f"ctx = {ENTRY}('a\\\\b')"),
        ("  %%durable churn", f"ctx = {ENTRY}('churn')"),
    ],
)
def test_the_first_line(line, call):
    """It becomes one call with the line's text as it is; expansion happens when the cell runs."""
    assert through(f"{line}\nx = 1\n") == f"{call}\nx = 1\n"
    ast.parse(through(f"{line}\nx = 1\n"))


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "\n\n",
        "x = 1\n",
        "x = 1\n%%durable churn\n",
        "%%durable?\n",
        "%%durable??\n",
        "%%durablex churn\nx\n",
        "%%durable-x\n",
        "%durable show churn\n",
        "# %%durable churn\n",
        "'''\n%%durable churn\n'''\n",
        "%%time\nx = 1\n",
        "%%time\n%%durable churn\nx = 1\n",
        "%%capture\n%%durable churn\nawait x\n",
    ],
)
def test_what_is_left_alone(cell):
    """Other cells, other magics, help, and magics above without await, which hand the rest on by themselves."""
    assert through(cell) == cell


def test_line_numbers_stay():
    """Every line of the body keeps its number, blank lines above included."""
    cell = "\n\n%%durable churn\n\na = 1\nb = 2\n"
    lines = through(cell).splitlines()
    assert len(lines) == len(cell.splitlines())
    assert lines[4:] == ["a = 1", "b = 2"]


def test_an_indented_body_is_dedented():
    """As IPython does with any indented cell."""
    assert through("%%durable x\n    a = 1\n    if a:\n        b = 2\n").splitlines()[1:] == [
        "a = 1",
        "if a:",
        "    b = 2",
    ]


def test_line_ends_of_windows():
    """A carriage return is not part of the name."""
    assert through("%%durable churn\r\na = 1\r\n") == f"ctx = {ENTRY}('churn')\na = 1\r\n"


def test_a_stacked_magic_gets_the_rest():
    """What IPython does with a %%magic on line 1 is done with the first one below us."""
    assert through("%%durable x\n\n%%bash -e\necho 1\n") == (
        f"ctx = {ENTRY}('x')\n\nget_ipython().run_cell_magic('bash', '-e', 'echo 1\\n')\n"
    )


@pytest.mark.parametrize("magic", ["time", "timeit", "capture", "prun"])
def test_await_below_a_magic_that_compiles_python(magic):
    """The call is told, so that it can say what to type when the cell runs."""
    assert f"stacked='{magic}'" in through(f"%%durable x\n%%{magic}\nawait f()\n")
    assert "stacked" not in through(f"%%durable x\n%%{magic}\nasync def f():\n    await g()\n")
    assert "stacked" not in through(f"%%durable x\n%%{magic}\n'await'\n")


def test_await_in_another_language_is_not_ours():
    """JavaScript has it too."""
    assert "stacked" not in through("%%durable x\n%%javascript\nawait f()\n")


def test_time_above_await():
    """IPython's %%time can't run await: the native cell is timed by us. Line numbers stay."""
    assert through("%%time\n%%durable x\nawait f()\n") == f"\nctx = {ENTRY}('x', timed=True)\nawait f()\n"
    assert through("%%time\n\n%%durable x\n%time await f()\ny = !ls\nawait f()\n").startswith("\n\nctx = ")
    assert through("%%time --no-raise-error\n%%durable x\nawait f()\n").startswith("%%time")


def test_it_is_left_out_of_check_complete():
    """IPython asks for such transformers; then our cells end as any cell magic does."""
    assert transform.has_side_effects


@given(st.lists(st.text(max_size=20), max_size=6))
def test_any_text(lines):
    """Whatever is in a cell: no error, no change of its input, and the same text gives the same result."""
    given = "".join(f"{line}\n" for line in ["%%durable x", *lines]).splitlines(keepends=True)
    before = list(given)
    assert transform(given) == transform(list(before))
    assert given == before
