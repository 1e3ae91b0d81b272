"""What keeps values in ``values.py``: ours and the peers, each as its documentation shows it, and each at its best.

A peer's ``open(folder)`` returns what is called with a value's number: it hands the value through a step that costs
nothing, and in another process it gets it back. The step's function finds the value where no library looks for inputs,
so none of them hashes it (joblib would take 0.75 s for 500 MB).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

#: Hands the value with a number through a step: saves it the first time, brings it back in a fresh process.
Call = Callable[[int], Any]


@dataclass(frozen=True)
class Peer:
    """A library.

    Attributes:
        name: for the command line and the JSON file.
        label: for the tables.
        open: opens what lies in a folder, or makes it, and returns how a value is kept and fetched.
        synced: True if a value is on the disk when the call returns.
        cannot: by name of a row, why it can't do that.
    """

    name: str
    label: str
    open: Callable[[Path], Call]
    synced: bool = False
    cannot: dict[str, str] | None = None


#: What is left open: values are durable when a step returns, not when a run ends.
leaving = ExitStack()


def hold(values: list[Any] | None) -> None:
    """Lay the values where ``_value`` finds them; None: it must not be called."""
    builtins.bench_values = values  # type: ignore[attr-defined]


def prepare() -> None:
    """Import everything."""
    for name in ("pandas", "pyarrow.parquet", "joblib", "diskcache", "marimo", "cachier", "dill", "blake3"):
        with suppress(ImportError):  # it is missing then, which its measurement says
            import_module(name)
    import_module("notebook_durable.api")


def _value(number: int) -> Any:
    import builtins

    return builtins.bench_values[number]


# -- ours


def _ours(folder: Path) -> Call:
    from notebook_durable import durable

    ctx = leaving.enter_context(durable("bench", store=folder))
    return lambda number: ctx.run("value", _value, number)


# -- functions that are remembered


def _joblib(folder: Path) -> Call:
    from joblib import Memory

    return Memory(folder, verbose=0).cache(_value)  # type: ignore[no-any-return]


def _joblib_mapped(folder: Path) -> Call:
    from joblib import Memory

    return Memory(folder, verbose=0, mmap_mode="c").cache(_value)  # type: ignore[no-any-return]


def _diskcache(folder: Path) -> Call:
    from diskcache import Cache

    # The limit is 1 GB otherwise, and what is over it is thrown away without a word.
    return Cache(folder, size_limit=2**40).memoize()(_value)  # type: ignore[no-any-return]


def _marimo(folder: Path) -> Call:
    import marimo

    def wrapped() -> Any:
        return marimo.persistent_cache(save_path=str(folder))(_value)

    return wrapped()  # type: ignore[no-any-return]


def _cachier(folder: Path) -> Call:
    from cachier import cachier

    # With one file for all values it would write all of them again for each.
    return cachier(cache_dir=folder, separate_files=True)(_value)  # type: ignore[no-any-return]


# -- files written by hand


def _dill(folder: Path) -> Call:
    import dill

    def call(number: int) -> Any:
        path = folder / f"{number}.dill"
        if path.exists():
            with path.open("rb") as file:
                return dill.load(file)
        value = _value(number)
        with path.open("wb") as file:
            dill.dump(value, file)
        return value

    return call


def _parquet(folder: Path) -> Call:
    import pandas as pd

    def call(number: int) -> Any:
        whole, parts = folder / f"{number}.parquet", folder / f"{number}"
        if whole.exists():
            return pd.read_parquet(whole)
        if parts.exists():
            paths = sorted(parts.iterdir(), key=lambda path: int(path.stem.split()[-1]))
            return {path.stem: pd.read_parquet(path) for path in paths}
        value = _value(number)
        if isinstance(value, dict):
            parts.mkdir()
            for name, frame in value.items():
                frame.to_parquet(parts / f"{name}.parquet", compression="zstd")
        else:
            value.to_parquet(whole, compression="zstd")
        return value

    return call


_AS_WITHOUT = dict.fromkeys(("steps", "dicts", "frames"), "measured where there is one large array or frame")
_FRAMES_ONLY = dict.fromkeys(("array", "dicts", "object"), "holds frames only")

PEERS = (
    Peer("ours", "notebook_durable", _ours, synced=True),
    Peer("joblib", "joblib.Memory", _joblib),
    Peer("joblib_mapped", 'joblib.Memory, mmap_mode="c"', _joblib_mapped, cannot=_AS_WITHOUT),
    Peer("diskcache", "diskcache memoize", _diskcache),
    Peer("marimo", "marimo persistent_cache", _marimo),
    Peer("cachier", "cachier, pickle, separate files", _cachier),
    Peer("dill", "dill to a file", _dill),
    Peer("parquet", "parquet, zstd", _parquet, cannot=_FRAMES_ONLY),
)
