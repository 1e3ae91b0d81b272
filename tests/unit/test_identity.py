"""Names, keys and the notebook's path: what is read from the first line and from the front end."""

from __future__ import annotations

import pytest

from notebook_durable.errors import ConfigurationError
from notebook_durable.ipython.identity import CellOptions, identify, notebook_path, parse_line, split, start_folder


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("", CellOptions()),
        ("churn", CellOptions("churn")),
        ("churn --key k", CellOptions("churn", "k")),
        ("--key k churn", CellOptions("churn", "k")),
        ("--fresh churn --strict", CellOptions("churn", fresh=True, strict=True)),
        ("churn --key=2026-11-24", CellOptions("churn", "2026-11-24")),
        ("\"monthly report\" --key 'a b'", CellOptions("monthly report", "a b")),
        ("it\\s", CellOptions("it\\s")),
        ("--key -1 churn", CellOptions("churn", "-1")),
    ],
)
def test_lines(line, options):
    """Options may stand anywhere; quotes hold blanks together; # and backslash are characters."""
    assert parse_line(line) == options


@pytest.mark.parametrize(
    "line", ["a b", "--bad", "a --key", "''", "a --key ''", "a 'b", "{x}", "--fre a", "a --fresh=1"]
)
def test_bad_lines_say_what_to_type(line):
    """Nothing is guessed: abbreviations, unknown options and half names are errors."""
    with pytest.raises(ConfigurationError, match=r"Type: %%durable|put it in quotes|is the variable defined"):
        parse_line(line)


@pytest.mark.parametrize("cell_id", ["a", "3f2a-B_9", "x" * 64])
def test_cell_ids_of_nbformat(cell_id):
    """They name the run of a nameless cell."""
    assert str(identify(CellOptions(), cell_id)) == f"cell {cell_id}"
    assert str(identify(CellOptions("named"), cell_id)) == "named"


@pytest.mark.parametrize("cell_id", [None, "", "x" * 65, "a b", "vscode-notebook-cell:/n.ipynb#X10"])
def test_other_ids_dont_count(cell_id):
    """They don't last, so a name is asked for."""
    with pytest.raises(ConfigurationError, match="Type: %%durable my_name"):
        identify(CellOptions(), cell_id)


def test_the_notebooks_path(tmp_path, monkeypatch):
    """JupyterLab's variable, absolute or relative; VS Code's wins; consoles and papermill have none."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert notebook_path({}, tmp_path) is None
    monkeypatch.setenv("JPY_SESSION_NAME", "/srv/work/a.ipynb")
    assert str(notebook_path({}, tmp_path)) == "/srv/work/a.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", "work/b.ipynb")
    assert notebook_path({}, tmp_path) == tmp_path / "b.ipynb"
    assert str(notebook_path({"__vsc_ipynb_file__": "/home/x/c.ipynb"}, tmp_path)) == "/home/x/c.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", "console-1")
    assert notebook_path({}, tmp_path) is None


def test_the_start_folder(tmp_path, monkeypatch):
    """The notebook's folder if it exists, else where the kernel was started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "books").mkdir()
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "books" / "a.ipynb"))
    assert start_folder({}) == tmp_path / "books"
    monkeypatch.setenv("JPY_SESSION_NAME", "/nowhere/at/all/a.ipynb")
    assert start_folder({}) == tmp_path


def test_split():
    """As a shell does, but without comments and escapes."""
    assert split("a 'b c' \"d # e\" f\\g #h") == ["a", "b c", "d # e", "f\\g", "#h"]
