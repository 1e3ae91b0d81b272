"""The program whose journal is the second fixture of format 4. It stays as it is: the journal has its fingerprints."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np  # noqa: TID253  a program of a user's


class BadRowsError(Exception):
    """An error with something large in it."""

    def __init__(self, rows: Any) -> None:
        super().__init__(f"{len(rows)} bad rows")
        self.rows = rows


class Model:
    """An object with an array in it."""

    def __init__(self, weights: Any) -> None:
        self.weights = weights


def tiny(n: int) -> dict[str, int]:
    return {"n": n}


def small(n: int) -> dict[str, Any]:
    array = np.arange(n, dtype="<i4")
    return {"a": array, "same": array, "model": Model(array[::2].copy())}


def middle(n: int) -> list[Any]:
    return [np.arange(float(n)), bytearray(b"ab"), np.asfortranarray(np.arange(n).reshape(100, -1).astype("<i2"))]


def text(n: int) -> str:
    return "".join(chr(97 + number * number % 26) for number in range(n))


def large(n: int) -> dict[str, Any]:
    return {"b": np.arange(n, dtype="<i8"), "s": b"s" * 10}


def square(number: int) -> Any:
    return np.full(8_400, float(number * number)) if number == 3 else number * number


def check(rows: Any) -> None:
    raise BadRowsError(rows[-20:].copy())


def total(found: dict[str, Any], parts: list[Any]) -> float:
    return float(found["a"].sum() + parts[0].sum())


def body(ctx: Any) -> list[Any]:
    """Return what every later version must return, without a call."""
    answer = ctx.promise("publish?", choices=["yes", "no"])
    found, parts, more = (
        ctx.run("small", small, 2_000),
        ctx.run("middle", middle, 7_000),
        ctx.run("large", large, 12_000),
    )
    letters = ctx.run("text", text, 66_000)
    items = ctx.map("square", square, range(5))
    try:
        ctx.run("check", check, parts[0], max_attempts=1)
        failed = ""
    except Exception as error:
        rows = error.__cause__.rows  # type: ignore[union-attr]
        failed = f"{type(error.__cause__).__name__} {error.__cause__} {rows.sum()} {rows.flags.writeable}"
    same = found["a"] is found["same"] and all(
        array.flags.writeable for array in (found["a"], parts[0], parts[2], more["b"], items[3])
    )
    shapes = [parts[2].flags.f_contiguous, parts[2].dtype.str, more["b"].dtype.str, type(parts[1]).__name__]
    parts[0][:1] = 0.0
    more["b"][:] = -1
    return [
        answer, ctx.run("tiny", tiny, 4), same, shapes, hashlib.sha256(letters.encode()).hexdigest()[:16],
        [float(np.sum(item)) for item in items], failed, float(found["model"].weights.sum()),
        ctx.run("total", total, found, parts),
    ]  # fmt: skip


RESULT = [
    "yes", {"n": 4}, True, [True, "<i2", "<i8", "bytearray"], "e82e6665c6f3912a", [0.0, 1.0, 4.0, 75600.0, 16.0],
    "BadRowsError 20 bad rows 139790.0 True", 999000.0, 26495500.0,
]  # fmt: skip
