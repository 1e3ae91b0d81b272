"""The program whose journal is the fixture of format 3. It stays as it is: its fingerprints are in the journal."""

from __future__ import annotations


def total(prices: tuple[float, ...]) -> dict[int, float]:
    return {1: sum(prices)}


def body(ctx):
    answer = ctx.promise("publish?", choices=["yes", "no"])
    form = ctx.promise("how", form={"amount": 1.0, "to": ["me", "you"]}, question="How much, and to whom?")
    ctx.sleep(60)
    return answer, form, ctx.run("total", total, (1.0, 2.5))
