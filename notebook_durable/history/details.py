"""What differs in each step, in full: diffs of code, inputs, libraries. Many equal ones are shown once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from notebook_durable.history.compare import CodeChange, InputChange
from notebook_durable.history.page import Page

__all__ = ["Detail", "add_details"]

_MOST = 20


class Detail(NamedTuple):
    """One step, with a heading."""

    step: str
    heading: str
    code: Sequence[CodeChange]
    inputs: Sequence[InputChange]
    libraries: Sequence[str]


def add_details(page: Page, details: Iterable[Detail], more: str) -> None:
    """Add them to a page.

    Args:
        page: gets them.
        details: of the steps that differ.
        more: what to type for those that are too many.
    """
    shown: dict[tuple[CodeChange, ...], str] = {}
    for count, one in enumerate(details):
        if count == _MOST:
            page.line(more)
            return
        page.heading(one.heading)
        code = tuple(one.code)
        if code and code in shown:
            page.line(f'code: as in "{shown[code]}"')
        else:
            for change in code:
                if len(code) > 1 or f"`{change.function}`" not in one.heading:
                    page.line(f"code of {change}")
                page.diff(change.diff)
            shown[code] = one.step
        if one.inputs:
            page.line("; ".join(f"input {item}" for item in one.inputs))
        for library in one.libraries:
            page.line(f"library {library} (counts with --strict only)")
