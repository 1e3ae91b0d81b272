"""Arrows point down (import-linter), and the engine is the standard library only."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import notebook_durable

ROOT = Path(notebook_durable.__file__).parent.parent


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command as main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_layers_hold():
    """Every import in the package points to a lower layer."""
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_check_can_fail(tmp_path):
    """An arrow that points up is caught; otherwise the test above would mean nothing."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "notebook_durable", tmp_path / "notebook_durable", ignore=shutil.ignore_patterns("__pycache__")
    )
    retry = tmp_path / "notebook_durable" / "retry.py"
    retry.write_text(retry.read_text() + "\nfrom notebook_durable.stores import memory\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "notebook_durable.retry" in done.stdout
