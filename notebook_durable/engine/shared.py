"""Effects that no value shows: a step that writes to a database, and later steps that read from it.

A step that returns None, or says ``writes=``, changes something outside of its result. What it may have changed is what
it works with and we can't compare: connections and other objects without content, and files named by an argument. A
later step of the execution that shares such a thing has the writing step's *entry* in its fingerprint: when the writing
step runs again, under a new entry, the later one does too. When it replays, so does the later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from notebook_durable.engine.files import path_key
from notebook_durable.model import Entry
from notebook_durable.protocols import Description

__all__ = ["Shared", "is_effect"]

_NONE = "NoneType"


class _Writer(NamedTuple):
    step: str
    seq: int
    execution: int
    thing: Any  # kept, so that its id stays its own


class Shared:
    """What the steps of one execution have written to so far."""

    def __init__(self) -> None:
        self._by_id: dict[int, _Writer] = {}
        self._by_path: dict[str, _Writer] = {}

    def __bool__(self) -> bool:
        return bool(self._by_id or self._by_path)

    def mark(self, call: Description) -> None:
        """Put into a call's fingerprint which steps wrote to what it shares."""
        found: dict[str, _Writer] = {}
        for thing in (*call.things(), *call.values()):  # a value may be what an earlier step said it writes to
            writer = self._by_id.get(id(thing))
            if writer is not None:
                found[writer.step] = writer
        for value in call.values():
            path = path_text(value) if self._by_path else None
            writer = None if path is None else self._by_path.get(path)
            if writer is not None:
                found[writer.step] = writer
        for step, writer in sorted(found.items()):
            call.mark(f"after step '{step}'", f"{writer.seq}.{writer.execution}".encode(), f"entry {writer.seq + 1}")

    def wrote(self, call: Description, entry: Entry, declared: Sequence[Any]) -> None:
        """Note that a step, run or replayed, has had its effect."""
        writer = _Writer(str(entry.key), entry.seq, entry.execution, None)
        things, paths = list(declared), [path for path in map(path_text, declared) if path]
        if not declared:
            things, paths = list(call.things()), list(call.paths())
        for thing in things:
            if path_text(thing) is None:
                self._by_id[id(thing)] = writer._replace(thing=thing)
        for path in paths:
            self._by_path[path] = writer


def is_effect(entry: Entry, declared: Sequence[Any]) -> bool:
    """Tell whether a finished step is one whose effect counts."""
    return bool(declared) or entry.value_type == _NONE


def path_text(value: Any) -> str | None:
    """Return a text or path as the key under which steps share it."""
    return path_key(str(value)) if issubclass(type(value), (str, PurePath)) else None
