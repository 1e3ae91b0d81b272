"""A journal of format 4 that the engine wrote: values in rows, a pack and a file, a map, a promise, a failed step."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from notebook_durable import durable
from notebook_durable.events import MapProgress, StepReplayed, StepStarted
from notebook_durable.model import EntryStatus
from notebook_durable.stores.keys import Signer, load_key
from notebook_durable.stores.sqlite import SqliteStore

pytest.importorskip("numpy")

FIXTURE = Path(__file__).parent / "v4run"


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FIXTURE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, loaded)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return module("program", monkeypatch)


@pytest.fixture(params=["as it was", "made now"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SqliteStore]:
    """The fixture, and what the script that made it makes today."""
    fixture = FIXTURE
    if request.param == "made now":
        fixture = tmp_path / "made"
        fixture.mkdir()
        module("make_fixture", monkeypatch).make(fixture)
    place = tmp_path / ".durable"
    shutil.copytree(fixture, place, ignore=shutil.ignore_patterns("*.py", "key", "__pycache__"))
    shutil.copy(fixture / "key", tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    with closing(SqliteStore(place, Signer(load_key(tmp_path / "key"), "the fixture's key"))) as opened:
        yield opened


class Seen(list[Any]):
    def notify(self, event: Any) -> None:
        self.append(event)


def test_everything_replays(store: SqliteStore, program: ModuleType) -> None:
    """No step is called and nobody is asked; a second time too, although the cell has written over its values."""
    for _ in range(2):
        seen = Seen()
        with durable("report", store=store, observers=[seen]) as ctx:
            assert program.body(ctx) == program.RESULT
        assert not [event for event in seen if isinstance(event, StepStarted)]
        names = [event.entry.name for event in seen if isinstance(event, StepReplayed)]
        assert names == ["publish?", "small", "middle", "large", "text", "check", "tiny", "total"]
        assert {event.done for event in seen if isinstance(event, MapProgress)} == {0}


def test_what_it_holds(store: SqliteStore) -> None:
    """Every value is whole, and lies where it should."""
    run = store.runs("report")[0]
    entries = store.read(run.id)
    assert all(entry.intact for entry in entries)
    assert [(entry.name, entry.blob.partition(":")[0]) for entry in entries if entry.blob] == [
        ("middle", "pack"), ("large", "blob"), ("text", "pack"), ("square", "pack"),
    ]  # fmt: skip
    assert [entry.name for entry in entries if entry.status is not EntryStatus.SUCCEEDED] == ["check"]
    assert [entry.value_size for entry in entries if entry.blob][:2] == [70_225, 96_162]
    assert "numpy" in next(entry.libraries for entry in entries if entry.name == "large")
    assert list(store.verify()) == []
    assert sum(path.stat().st_size for path in FIXTURE.rglob("*") if path.suffix != ".py") < 400_000
