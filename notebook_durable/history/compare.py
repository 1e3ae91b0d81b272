"""Two entries of a step side by side: what differs in their code, inputs and libraries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from notebook_durable.history.log import RunLog
from notebook_durable.model import Entry
from notebook_durable.parts import Code, Function, Parts, code_from, parts_from
from notebook_durable.protocols import Store
from notebook_durable.redact import HIDDEN, redact

__all__ = ["CodeChange", "InputChange", "Sources", "input_changes", "library_changes"]


@dataclass(frozen=True, slots=True)
class CodeChange:
    """A function whose code differs.

    Attributes:
        function: its label.
        what: "changed", "added" or "removed".
        diff: lines of a unified diff; empty if there is no source, or the difference is in what is hidden.
    """

    function: str
    what: str
    diff: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"`{self.function}` {self.what}"
        return said if self.diff else f"{said} (no difference in the source at hand)"


@dataclass(frozen=True, slots=True)
class InputChange:
    """An input whose content differs.

    Attributes:
        name: of the input.
        then, now: short texts; None if it was not there.
    """

    name: str
    then: str | None
    now: str | None

    def __str__(self) -> str:
        name = self.name if self.name.startswith(("file ", "after step")) else f"`{self.name}`"
        if self.then is None:
            return f"{name} added: {self.now}"
        if self.now is None:
            return f"{name} removed, was: {self.then}"
        if self.then == self.now and HIDDEN in self.now:
            return f"{name}: a secret in it changed ({self.now})"
        if self.then == self.now:
            return f"{name}: {self.now} (other content; the short text is the same)"
        return f"{name}: {self.then} -> {self.now}"


class Sources:
    """Sources of functions as the journal keeps them. Texts are read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._texts: dict[str, str] = {}
        self._codes: dict[str, Code] = {}
        self._changes: dict[tuple[str, str], tuple[CodeChange, ...]] = {}

    def code(self, parts: Parts) -> Code:
        """The code that an entry ran."""
        if parts.code not in self._codes:
            self._codes[parts.code] = code_from(self._get([parts.code]).get(parts.code, ""))
        return self._codes[parts.code]

    def changes(self, then: tuple[RunLog, Entry], now: tuple[RunLog, Entry]) -> tuple[CodeChange, ...]:
        """What differs in the code of two entries, each with the run it is from."""
        if not (then[1].code.version and now[1].code.version):
            return self._unmarked(then, now)
        old, new = (parts_from(entry.code.inputs) for _, entry in (then, now))
        if old.code == new.code:
            return ()
        if (old.code, new.code) not in self._changes:
            self._changes[old.code, new.code] = self._compare(self.code(old).functions, self.code(new).functions)
        return self._changes[old.code, new.code]

    def _compare(self, old: Mapping[str, Function], new: Mapping[str, Function]) -> tuple[CodeChange, ...]:
        found = []
        for label in dict.fromkeys((*new, *old)):
            before, after = old.get(label), new.get(label)
            if before is None or after is None or before.digest != after.digest:
                what = "added" if before is None else "removed" if after is None else "changed"
                found.append(CodeChange(redact(label), what, self._diff(before, after)))
        return tuple(found)

    def _unmarked(self, then: tuple[RunLog, Entry], now: tuple[RunLog, Entry]) -> tuple[CodeChange, ...]:
        # One of both is older than fingerprints: it has nothing but the source of its own function.
        old, new = (self._own(log, entry) for log, entry in (then, now))
        if not old or not new or old.strip() == new.strip():
            return ()
        return (CodeChange(now[1].name, "changed", unified(redact(old), redact(new))),)

    def _own(self, log: RunLog, entry: Entry) -> str:
        if not entry.code.version:
            return log.source(entry)
        own = next(iter(self.code(parts_from(entry.code.inputs)).functions.values()), None)
        return "" if own is None else self._get([own.text]).get(own.text, "")

    def _diff(self, then: Function | None, now: Function | None) -> tuple[str, ...]:
        texts = self._get([one.text for one in (then, now) if one is not None and one.text])
        if any(one is not None and one.text not in texts for one in (then, now)):
            return ()
        old, new = ("" if one is None else redact(texts[one.text]) for one in (then, now))
        if old == new and HIDDEN in new:
            return ("  (a secret in it changed; it is not shown)",)
        return unified(old, new)

    def _get(self, ids: Iterable[str]) -> Mapping[str, str]:
        missing = [name for name in ids if name and name not in self._texts]
        if missing:
            self._texts.update(self._store.texts(missing))
        return self._texts


def unified(then: str, now: str) -> tuple[str, ...]:
    """Return the lines of a unified diff, without its two lines of file names."""
    lines = difflib.unified_diff(then.splitlines(), now.splitlines(), "then", "now", lineterm="")
    return tuple(lines)[2:]


def input_changes(then: Entry, now: Entry) -> tuple[InputChange, ...]:
    """What differs in the inputs of two entries."""
    old, new = (parts_from(entry.code.inputs).inputs for entry in (then, now))
    found = []
    for name in dict.fromkeys((*new, *old)):
        before, after = old.get(name), new.get(name)
        if before is None or after is None or before.digest != after.digest:
            shorts = (None if one is None else redact(one.short or one.digest[:12]) for one in (before, after))
            found.append(InputChange(name, *shorts))
    return tuple(found)


def library_changes(then: Entry, now: Entry) -> tuple[str, ...]:
    """Libraries whose versions differ: "pandas 2.1.0 -> 2.2.3"."""
    old, new = (_libraries(parts_from(entry.code.inputs).libraries) for entry in (then, now))
    return tuple(
        f"{name} {old.get(name, '(none)')} -> {new.get(name, '(none)')}"
        for name in dict.fromkeys((*new, *old))
        if old.get(name) != new.get(name)
    )


def _libraries(text: str) -> dict[str, str]:
    pairs = (item.strip().rpartition(" ") for item in text.split(",") if item.strip())
    return {name or version: version if name else "" for name, _, version in pairs}
