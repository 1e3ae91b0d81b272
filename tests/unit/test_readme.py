"""What README.md quotes is what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CI_RUN = (ROOT / ".ci/run").read_text(encoding="utf-8")


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    """Return the fenced code blocks of the README."""
    return [text.strip("\n") for text in re.findall(r"^```[^\n]*\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL)]


def cell(cell_id: str) -> str:
    """Return the source of a cell of the quick start notebook."""
    notebook = json.loads((ROOT / "notebooks/quickstart.ipynb").read_text(encoding="utf-8"))
    (found,) = (cell for cell in notebook["cells"] if cell["id"] == cell_id)
    return "".join(found["source"])


@pytest.mark.parametrize("cell_id", ["load-extension", "durable"])
def test_the_quick_start_is_the_notebook_s_cell(cell_id: str) -> None:
    """The README's quick start is taken from the notebook that the demo runs, word for word."""
    assert cell(cell_id) in blocks()


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_commands_are_one_line_that_ci_runs(name: str) -> None:
    """Each command stands alone in a block below its mark, which is where .ci/run takes it from."""
    found = re.findall(rf"<!-- command: {name} -->\n+```[^\n]*\n(.*?)\n```", readme())
    assert found == [f"python3 run.py {name}"]
    assert f"readme_line {name}" in CI_RUN
