"""What it costs to know what a step computes from: code, small inputs, large inputs.

    python benchmarks/fingerprints.py               prints Markdown (about half a minute)

Large inputs are set beside the limit, one blake3 pass over as many bytes; both are taken in turn, in one process. The
first fingerprint of a function is taken of functions that were never seen, in a fresh cell of 200 lines each.
"""

from __future__ import annotations

import argparse
import linecache
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from notebook_durable.wiring import fingerprinter

CELL = """
LIMIT_{n} = {n}

def clean_{n}(x):
    return max(x, LIMIT_{n})

def weigh_{n}(x, factor=2):
    return clean_{n}(x) * factor

def step_{n}(a, b="eu"):
    return weigh_{n}(a) + len(b)
"""
PADDING = "".join(f"\n\ndef other_{i}(x):\n    return [x + {i} for _ in range({i})]\n" for i in range(46))


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def told(values: list[float], unit: str = "us") -> str:
    factor = {"us": 1e6, "ms": 1e3, "s": 1.0}[unit]
    low, middle, high = min(values) * factor, statistics.median(values) * factor, max(values) * factor
    return f"{middle:.3g} {unit} ({low:.3g}-{high:.3g})"


def define(n: int) -> dict[str, Any]:
    """Run a cell of about 200 lines, as IPython does, and return its namespace."""
    text = CELL.format(n=n) + PADDING
    name = f"<ipython-input-{n}-{n:012x}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), space)
    return space


def call(maker: Any, fn: Callable[..., Any], value: Any) -> str:
    return str(maker.describe(fn, (value,), {}).fingerprint)


def calls(maker: Any, fn: Callable[..., Any], count: int) -> None:
    for i in range(count):
        maker.describe(fn, (i, "north"), {}).fingerprint  # noqa: B018


def small(rounds: int) -> list[tuple[str, str, str]]:
    maker = fingerprinter()
    define(10_000)
    firsts, seconds_of_cell, again = [], [], []
    for n in range(rounds * 5):
        step, weigh = (define(n)[f"{name}_{n}"] for name in ("step", "weigh"))
        firsts.append(seconds(partial(call, maker, step, n)))
        seconds_of_cell.append(seconds(partial(call, maker, weigh, n)))
        again.append(seconds(partial(calls, maker, step, 2000)) / 2000)
    return [
        ("first call of a function with two helpers, in a cell never seen (200 lines)", told(firsts), ""),
        ("first call of another function of that cell", told(seconds_of_cell), "goal: 150 us"),
        ("further calls, unchanged code, two scalars", told(again), "goal: 15 us"),
    ]


def large(rounds: int) -> list[tuple[str, str, str]]:
    import numpy as np
    import pandas as pd
    from blake3 import blake3

    maker = fingerprinter()
    count = 3_000_000
    random = np.random.default_rng(0)
    array = random.random(62_500_000)
    frame = pd.DataFrame(
        {
            "id": np.arange(count),
            "amount": random.random(count),
            "when": pd.date_range("2020", periods=count, freq="s"),
            "name": pd.array([f"customer {i % 5000}" for i in range(count)], dtype="str"),
            "city": pd.array([f"city {i % 90}" for i in range(count)], dtype="str"),
            "kind": pd.Categorical.from_codes(random.integers(0, 3, count), ["a", "b", "c"]),
        }
    )
    objects = pd.DataFrame({"name": pd.array([f"customer {i % 5000}" for i in range(count // 3)], dtype=object)})
    frozen = array.copy()
    frozen.flags.writeable = False
    rows = []

    def use(value: Any) -> Any:
        return value

    def add(label: str, value: Any, size: float, *, again: bool = False) -> None:
        raw = np.zeros(int(size), dtype="u1")
        mine, limit = [], []
        if again:
            maker.describe(use, (value,), {})
        for _ in range(rounds):
            limit.append(seconds(lambda: blake3(raw).digest()))
            mine.append(seconds(lambda: maker.describe(use, (value,), {}).fingerprint))
        ratio = statistics.median(a / b for a, b in zip(mine, limit, strict=True))
        rows.append((f"{label}, {size / 1e6:.0f} MB", told(mine, "ms"), f"{ratio:.2f}x one blake3 pass"))

    add("float64 array", array, array.nbytes)
    add("the same, read-only and seen before", frozen, frozen.nbytes, again=True)
    add("frame: int, float, datetime, two str, category", frame, frame.memory_usage(deep=True).sum())
    add("frame with one object column of str", objects, objects.memory_usage(deep=True).sum())
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="without the large inputs")
    options = parser.parse_args()
    rows = small(options.rounds) + ([] if options.small else large(options.rounds))
    print(f"Median (least-greatest) of {options.rounds} rounds\n\n| what | time | beside |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
