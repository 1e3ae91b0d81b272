"""run.py: the environment it makes, and what it says where it can't."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "run.py"


def load() -> ModuleType:
    """Return run.py as a module."""
    spec = importlib.util.spec_from_file_location("run_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """run.py as a module, for an environment in a folder of the test's own, with pip's calls written down."""
    monkeypatch.setenv("NBD_VENV", str(tmp_path / "venv"))
    module = load()
    module.calls = []  # type: ignore[attr-defined]

    def quietly(command: list[str], purpose: str) -> None:
        module.calls.append(purpose)
        if purpose == "make the environment":
            (module.VENV / "bin").mkdir()
            (module.VENV / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(module, "quietly", quietly)
    return module


def refusal(call: Any, *args: Any) -> str:
    """Return the message with which a call ends the program."""
    with pytest.raises(SystemExit) as ended:
        call(*args)
    assert isinstance(ended.value.code, str), "it ended without a message"
    return ended.value.code


def test_an_old_python_is_told_which_it_needs(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python before 3.11 ends with a message that names both versions."""
    monkeypatch.setattr(run.sys, "version_info", (3, 10, 13, "final", 0))
    said = refusal(run.check_python)
    assert "3.11 or newer" in said
    assert "3.10.13" in said


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_debian_without_venv_is_told_what_to_type(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Debian's python3 without the package python3-venv lacks ensurepip; the message has the line to type."""
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == missing else object())
    assert "apt install python3-venv" in refusal(run.check_python)


def test_the_second_call_does_nothing(run: ModuleType) -> None:
    """An environment that is up to date is left alone: no pip, no venv."""
    run.environment("demo")
    assert run.calls == ["make the environment", "install the project"]
    run.environment("demo")
    assert len(run.calls) == 2


def test_the_other_command_installs_into_the_same_environment(run: ModuleType) -> None:
    """Each command has an extra of its own, and both live in one environment."""
    run.environment("demo")
    run.environment("test")
    assert run.calls[2:] == ["install the project"]


def test_a_changed_project_file_installs_again(run: ModuleType, tmp_path: Path) -> None:
    """New dependencies are installed into the environment that is there."""
    (tmp_path / "pyproject.toml").write_text("one")
    run.ROOT = tmp_path
    run.environment("demo")
    (tmp_path / "pyproject.toml").write_text("two")
    run.environment("demo")
    assert run.calls[2:] == ["install the project"]


def test_another_python_makes_it_anew(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update of Python everything is made anew, and nothing of the old environment is left."""
    run.environment("demo")
    (run.VENV / "lib-of-old").mkdir()
    (run.VENV / ".stamp-test.json").write_text("{}")
    monkeypatch.setattr(run.sys, "version", "another")
    run.environment("demo")
    assert run.calls[2:] == ["make the environment", "install the project"]
    assert not (run.VENV / "lib-of-old").exists()
    assert not (run.VENV / ".stamp-test.json").exists()


def test_a_call_that_was_cut_short_is_made_good(run: ModuleType) -> None:
    """An environment that was half made when its maker was killed is made anew by the next call."""
    run.VENV.mkdir()
    run.LOCK.touch()
    (run.VENV / "lib").mkdir()
    run.environment("demo")
    assert run.calls == ["make the environment", "install the project"]


def test_somebody_s_own_environment_is_used_and_never_cleared(run: ModuleType) -> None:
    """A .venv that run.py did not make gets the project installed, and keeps all that is in it."""
    (run.VENV / "bin").mkdir(parents=True)
    (run.VENV / "bin" / "python").symlink_to(sys.executable)
    (run.VENV / "mine").touch()
    run.environment("demo")
    assert run.calls == ["install the project"]
    assert (run.VENV / "mine").exists()


def test_a_strange_folder_is_refused(run: ModuleType) -> None:
    """A folder of that name with something else in it is left alone, with the way out in the message."""
    run.VENV.mkdir()
    (run.VENV / "letters.txt").touch()
    said = refusal(run.environment, "demo")
    assert "NBD_VENV=" in said
    assert run.calls == []


def test_a_failing_pip_is_shown() -> None:
    """pip is silent while it works; when it fails, its last lines and the command are shown."""
    command = [sys.executable, "-c", "import sys; print('no matching distribution'); sys.exit(1)"]
    said = refusal(load().quietly, command, "install the project")
    assert "no matching distribution" in said
    assert "Could not install the project" in said


@pytest.mark.parametrize("arguments", [[], ["--help"], ["deploy"]])
def test_without_a_known_command_it_shows_its_help(arguments: list[str]) -> None:
    """The help names both commands; asking for it is no error, a typo is."""
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60)
    assert "run.py demo" in done.stdout
    assert "run.py test" in done.stdout
    assert done.returncode == (0 if arguments == ["--help"] else 2)
