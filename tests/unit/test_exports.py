"""The public face: 15 names or fewer, lazily loaded, standard library only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import notebook_durable

ROOT = Path(notebook_durable.__file__).parent.parent

PUBLIC = [
    "AsyncContext", "Context", "DurableError", "OutcomeUnknownError", "RetryPolicy", "RetryableError", "RunOptions",
    "TerminalError", "__version__", "durable", "file", "journal", "load_ipython_extension", "unload_ipython_extension",
]  # fmt: skip


def test_the_public_names_are_these():
    """A change here is a change of the promise."""
    assert notebook_durable.__all__ == PUBLIC
    assert len(PUBLIC) <= 15
    assert set(PUBLIC) <= set(dir(notebook_durable))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves(name):
    """Lazy names are real names, with a docstring."""
    value = getattr(notebook_durable, name)
    assert value is getattr(notebook_durable, name)
    assert isinstance(value, str) or value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        notebook_durable.nothing  # noqa: B018


def loaded_after(code: str) -> set[str]:
    script = (
        f"import json, sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); {code}; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "code", ["import notebook_durable", "import notebook_durable; notebook_durable.durable; notebook_durable.journal"]
)
def test_importing_loads_no_third_party_module(code):
    """Nor does getting ``durable``: pandas, IPython, dill and blake3 are loaded when they are used."""
    modules = loaded_after(code)
    # sysconfig's data is the standard library's too, under a name of the platform.
    modules = {m for m in modules if not m.startswith("_sysconfigdata_")}
    standard = set(sys.stdlib_module_names) | {"notebook_durable"}
    assert {m for m in modules if m.partition(".")[0] not in standard} == set()


def test_importing_loads_next_to_nothing():
    """What keeps it under 30 ms is that it loads two modules."""
    assert {m for m in loaded_after("import notebook_durable") if m.startswith("notebook_durable")} == {
        "notebook_durable", "notebook_durable._version",
    }  # fmt: skip


def test_nobody_inside_imports_the_package_root():
    """That is how import cycles begin."""
    for path in (ROOT / "notebook_durable").rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            words = line.split()
            assert words[:3] != ["from", "notebook_durable", "import"], f"{path}:{number}"
            assert words[:2] != ["import", "notebook_durable"], f"{path}:{number}"
