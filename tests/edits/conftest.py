"""The table of edits: ``--full`` plays all of it in real kernels."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    try:
        parser.addoption("--full", action="store_true", help="play every row of the table of edits in real kernels")
    except ValueError:
        pass  # the conftest above has it
