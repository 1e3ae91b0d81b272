"""The built wheel, away from the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[2]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]


def run(command: list[str], cwd: Path, **env: str) -> str:
    """Run a command and return what it printed; fail with all of it if it fails."""
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_wheel_works_in_an_empty_folder(tmp_path: Path) -> None:
    """The wheel holds all that is needed: Python, command and durable cell work with no source file in reach."""
    dist, installed, empty = tmp_path / "dist", tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    run([*PIP, "wheel", "--no-deps", "--wheel-dir", str(dist), str(ROOT)], tmp_path)
    (wheel,) = dist.glob("*.whl")
    run([*PIP, "install", "--no-deps", "--target", str(installed), str(wheel)], tmp_path)
    # PYTHONPATH comes before what the environment itself has, an editable installation of the sources included.
    settings = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "NOTEBOOK_DURABLE_KEY_FILE": str(tmp_path / "key")}
    said = run([sys.executable, str(ROOT / "tests/kernel/wheel_try.py")], empty, **settings)
    assert "works as installed" in said
