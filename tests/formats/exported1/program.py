"""What the exported fixture recorded."""

from __future__ import annotations

from typing import Any

from notebook_durable import TerminalError


def load(count: int) -> bytes:
    return bytes(count)


def fails() -> None:
    raise TerminalError("no route", 409) from KeyError("way")


def square(x: int) -> int:
    return x * x


def body(ctx: Any) -> Any:
    sizes = [len(ctx.run("load", load, count)) for count in (10, 70_000)]
    try:
        ctx.run("fails", fails)
    except TerminalError as error:
        sizes += [error.status_code, type(error.__cause__).__name__]
    return sizes, ctx.map("square", square, range(3))
