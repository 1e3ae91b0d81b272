"""The values that ``values.py`` measures: how each is made, and how to tell that what came back is equal.

Each is made anew from the same seed, so a fresh process knows what has to come back. numpy and pandas are imported by
the functions: a row without them is measured in a process without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

#: Words of a text column; their lengths differ.
_WORDS = tuple(
    f"{first}{second}" for first in ("north", "south east ", "mid", "") for second in ("gate", "field", "ford")
)


@dataclass(frozen=True)
class Row:
    """A value, or several: one step each.

    Attributes:
        name: for the command line and the JSON file.
        label: for the tables.
        make: returns the values at a scale (1: as in the table; smaller for a try).
        touch: reads all numbers of the values once, and returns their sum.
        same: tells whether one value came back equal and of the same types.
        frames: True if every value is a frame, or a dict of frames.
        pandas: True if pandas is needed.
        plain: the same content as one plain array or frame, as the measure for what wraps it; None: it is one itself.
    """

    name: str
    label: str
    make: Callable[[float], list[Any]]
    touch: Callable[[list[Any]], float]
    same: Callable[[Any, Any], bool]
    frames: bool = False
    pandas: bool = True
    plain: Callable[[float], list[Any]] | None = None


class Model:
    """The shape of the class that the notebook defines; ``values_measure.py`` makes it one of ``__main__``."""

    def __init__(self, weights: Any, settings: dict[str, Any]) -> None:
        self.weights = weights
        self.settings = settings


#: The class that is used: set by ``values_measure.py`` to one that lives in ``__main__``.
model_class: type[Model] = Model


def _array(scale: float) -> list[Any]:
    return [_random(int(62_500_000 * scale))]


def _random(count: int) -> Any:
    import numpy as np

    return np.random.default_rng(1).random(count)


def _mixed(rows: int, seed: int) -> Any:
    """Make a frame of about 80 bytes a row: two of ints, two of floats, datetimes, two of text, a category."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    start = np.datetime64("2026-01-01", "us").astype("i8")
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "count": rng.integers(0, 1_000_000, rows),
            "price": rng.random(rows),
            "weight": rng.normal(70, 12, rows),
            "when": (start + rng.integers(0, 10**12, rows)).astype("M8[us]"),
            "place": _text(_WORDS, rng.integers(0, len(_WORDS), rows)),
            "code": _text(_codes(), rng.integers(0, 100_000, rows)),
            "kind": pd.Categorical.from_codes(rng.integers(0, 5, rows).astype("i1"), ["a", "b", "c", "d", "e"]),
        }
    )


@cache
def _codes() -> list[str]:
    return [f"{number:06d}" for number in range(100_000)]


def _text(words: Any, indices: Any) -> Any:
    import numpy as np
    import pandas as pd

    try:
        import pyarrow as pa
    except ImportError:
        return pd.Series(np.array(words, dtype=object)[indices], dtype="str")
    return pd.Series(pa.array(words, type=pa.large_string()).take(pa.array(indices)), dtype="str")


def _frame(scale: float) -> list[Any]:
    return [_mixed(int(4_010_000 * scale), 2)]


def _frames(scale: float) -> list[Any]:
    return [_mixed(13_900, number) for number in range(max(2, int(200 * scale)))]


def _dict_of_frames(scale: float) -> list[Any]:
    return [{f"part {number}": _mixed(int(69_400 * scale), number) for number in range(20)}]


def _as_one_frame(scale: float) -> list[Any]:
    return [_mixed(20 * int(69_400 * scale), 3)]


def _dicts(scale: float) -> list[Any]:
    return [[_record(number) for number in range(int(200_000 * scale))]]


def _record(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"customer {number}",
        "share": number / 7,
        "active": number % 3 == 0,
        "tags": [_WORDS[number % 12], _WORDS[number % 5]],
        "address": {"city": f"city {number % 1000}", "zip": number % 100_000},
    }


def _model(scale: float) -> list[Any]:
    return [model_class(_random(int(12_500_000 * scale)), {"alpha": 0.1, "names": ["a", "b"]})]


def _as_one_array(scale: float) -> list[Any]:
    return [_random(int(12_500_000 * scale))]


# -- reading and comparing


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _numbers(part)
    elif hasattr(value, "select_dtypes"):
        yield from (value[name].to_numpy() for name in value.select_dtypes("number"))
    elif hasattr(value, "weights"):
        yield value.weights
    elif hasattr(value, "dtype"):
        yield value


def _sum(values: list[Any]) -> float:
    return float(sum(array.sum() for value in values for array in _numbers(value)))


def _same(one: Any, other: Any) -> bool:
    """Compare types, dtypes, index and content."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(part, other[key]) for key, part in one.items())
    if hasattr(one, "select_dtypes"):
        return bool((one.dtypes == other.dtypes).all()) and one.equals(other)
    if hasattr(one, "weights"):
        return one.settings == other.settings and _same(one.weights, other.weights)
    if hasattr(one, "dtype"):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and bool((one == other).all())
    return bool(one == other)


ROWS = (
    Row("array", "float64 array, 500 MB", _array, _sum, _same, pandas=False),
    Row("frame", "mixed frame, 289 MB", _frame, _sum, _same, frames=True),
    Row("steps", "200 steps, a frame of 1 MB each", _frames, _sum, _same, frames=True),
    Row("dicts", "list of 200,000 dicts", _dicts, lambda _: 0.0, _same, pandas=False),
    Row("frames", "dict of 20 frames, 100 MB", _dict_of_frames, _sum, _same, frames=True, plain=_as_one_frame),
    Row("object", "object of a notebook's class, 100 MB", _model, _sum, _same, pandas=False, plain=_as_one_array),
)
