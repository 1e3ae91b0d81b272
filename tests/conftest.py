"""What all tests share. See ``lab.py`` for the two modes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab

from notebook_durable.protocols import Store
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.sqlite import SqliteStore


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--always-replay", action="store_true", help="re-enter the body after every step that finishes")
    parser.addoption("--full", action="store_true", help="play every row of the table of edits in real kernels")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--always-replay"):
        skip = pytest.mark.skip(reason="counts what always-replay mode repeats")
        for item in items:
            if item.get_closest_marker("once"):
                item.add_marker(skip)


@pytest.fixture
def always_replay(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--always-replay"))


@pytest.fixture
def signer() -> Signer:
    return Signer(b"k" * 32, "test key")


@pytest.fixture(params=["memory", "sqlite"])
def lab(request: pytest.FixtureRequest, tmp_path: Path, signer: Signer, always_replay: bool) -> Iterator[Lab]:
    stores: list[Store] = []
    memory = MemoryStore()

    def make() -> Store:
        if request.param == "memory":
            return memory  # outlives the kernel that is played
        for old in stores:
            old.close()
        store = SqliteStore(tmp_path / ".durable", signer)
        stores.append(store)
        return store

    lab = Lab(make, always_replay)
    yield lab
    for store in stores:
        store.close()
