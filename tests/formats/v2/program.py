"""The program whose journal is the fixture of format 2. It stays as it is: its fingerprints are in the journal."""

from __future__ import annotations

import dataclasses
import datetime

from notebook_durable.errors import TerminalError

RATE = 1.19
calls: list[str] = []


@dataclasses.dataclass
class Order:
    """An order."""

    number: int
    price: float


def gross(price: float) -> float:
    """Add the tax."""
    return round(price * RATE, 2)


def called(name: str) -> None:
    """Note a call. Not an input: through a module attribute it would be one."""
    globals()["calls"].append(name)


def load(day: datetime.date, *, region: str = "eu") -> dict[str, object]:
    called("load")
    return {"day": day.isoformat(), "region": region, "prices": [1.0, 2.5]}


def price(order: Order) -> float:
    called("price")
    return gross(order.price)


def refuse(text: str) -> None:
    called("refuse")
    raise TerminalError(f"refused: {text}", status_code=409)


def fit(weights: list[float]) -> list[float]:
    called("fit")
    weights.append(sum(weights))
    return weights


def stage() -> None:
    called("stage")


def body(ctx):
    loaded = ctx.run("load", load, datetime.date(2026, 11, 24))
    prices = [ctx.run("price", price, Order(n, value)) for n, value in enumerate(loaded["prices"])]
    try:
        ctx.run("refuse", refuse, "höst 🚀")
    except TerminalError:
        ctx.run("tell", stage, cleanup=True)
    weights = [0.5, 0.25]
    ctx.run("fit", fit, weights)
    squares = ctx.run("squares", lambda: {n: n * n for n in range(3)}, version="1")
    return loaded, prices, weights, squares
