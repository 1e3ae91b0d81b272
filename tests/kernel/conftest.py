"""Fixtures of the kernel tests. See ``kernels.py`` for the kernels themselves."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernels import KERNELS, LiveKernel


@pytest.fixture(scope="module", params=KERNELS)
def python(request: pytest.FixtureRequest) -> str:
    """The Python that kernels run with."""
    return str(request.param)


@pytest.fixture(scope="module")
def live(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveKernel]:
    """A kernel with the extension loaded, shared by the tests of a module: each takes names of its own."""
    kernel = LiveKernel(python, tmp_path_factory.mktemp("live"))
    loaded = kernel.run("%load_ext notebook_durable\nimport asyncio, os, sys, time")
    assert loaded.status == "ok", loaded.traceback
    yield kernel
    kernel.close()


@pytest.fixture
def start_kernel(python: str, tmp_path: Path) -> Iterator[Callable[..., LiveKernel]]:
    """Start kernels of one test, all in the same folder."""
    yield from _starter(python, tmp_path)


@pytest.fixture
def start_this_kernel(tmp_path: Path) -> Iterator[Callable[..., LiveKernel]]:
    """The same with this Python's kernel only, for what can't depend on the kernel's version."""
    yield from _starter(sys.executable, tmp_path)


def _starter(python: str, folder: Path) -> Iterator[Callable[..., LiveKernel]]:
    kernels: list[LiveKernel] = []

    def start(**env: str) -> LiveKernel:
        kernels.append(LiveKernel(python, folder, **env))
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A workflow name that no other test uses."""
    return re.sub(r"\W+", "_", request.node.name)
