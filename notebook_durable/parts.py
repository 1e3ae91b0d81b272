"""What a fingerprint was made of, as it is kept with an entry: names, digests and short texts, never a value.

An entry names the code it ran by the id of a text (:func:`text_id`), which lists the functions and names their sources
by id again. So a loop of 10,000 steps stores its code once.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring as _quoted
from typing import Any, NamedTuple

__all__ = ["Code", "Function", "Input", "Parts", "code_from", "named_texts", "parts_from", "text_id"]


_encode = json.JSONEncoder(ensure_ascii=False).encode


class Input(NamedTuple):
    """One tracked input: the digest of its content (hexadecimal), and how it is told to people."""

    digest: str
    short: str = ""


class Parts(NamedTuple):
    """The parts of one step's fingerprint.

    Attributes:
        libraries: of the code's libraries, with versions: "Python 3.11, pandas 2.2.3".
        code: id of the text that describes the code, see :class:`Code`.
        inputs: by name.
        untracked: names of inputs that have parts without content, and the types of these.
        shares: what it may share with other steps without our seeing it: untracked objects ("engine: Engine") and
            files ("file: orders.csv").
        changed: inputs that the step changed in place and returned: by name, where they are in its result.
        writes: that the step declares to write to something (``writes=``).
        why: why it ran, for people.
        instead: the entry (seq) it was compared with for that; None if there was none.
        asks: of a promise: its question, see ``question.Question.as_text``.
        sleeps: of a sleep: its duration in seconds.
    """

    libraries: str = ""
    code: str = ""
    inputs: Mapping[str, Input] = {}
    untracked: Mapping[str, tuple[str, ...]] = {}
    shares: tuple[str, ...] = ()
    writes: bool = False
    changed: Mapping[str, tuple[str | int, ...]] = {}
    why: str = ""
    instead: int | None = None
    asks: str = ""
    sleeps: float | None = None

    def as_text(self) -> str:
        """Write it down. The libraries come first, so that a replay can compare them without reading the rest."""
        # Piece by piece: it is written for each step, and an encoder would take four times as long.
        inputs = [f"{_quoted(name)}: [{_quoted(one[0])}, {_quoted(one[1])}]" for name, one in self.inputs.items()]
        pieces = [f'{prefix(self.libraries)}"code": {_quoted(self.code)}', f'"in": {{{", ".join(inputs)}}}']
        add = pieces.append
        if self.untracked:
            untracked = [f"{_quoted(name)}: {_list(types)}" for name, types in self.untracked.items()]
            add(f'"untracked": {{{", ".join(untracked)}}}')
        if self.shares:
            add(f'"shares": {_list(self.shares)}')
        if self.writes:
            add('"writes": true')
        if self.changed:
            add(f'"changed": {_encode({name: list(path) for name, path in self.changed.items()})}')
        if self.why:
            add(f'"why": {_quoted(self.why)}')
        if self.instead is not None:
            add(f'"instead": {self.instead}')
        if self.asks:
            add(f'"asks": {_quoted(self.asks)}')
        if self.sleeps is not None:
            add(f'"sleeps": {_encode(self.sleeps)}')
        return ", ".join(pieces) + "}"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


@functools.lru_cache(maxsize=256)
def prefix(libraries: str) -> str:
    """What the text of parts with these libraries begins with."""
    return '{"libraries": ' + json.dumps(libraries, ensure_ascii=False) + ", "


def parts_from(text: str) -> Parts:
    """Read what :meth:`Parts.as_text` wrote. What is not that gives empty parts."""
    if not text.startswith("{"):
        return Parts()
    try:
        raw = json.loads(text)
        instead = raw.get("instead")
        return Parts(
            str(raw.get("libraries", "")),
            str(raw.get("code", "")),
            {str(name): Input(str(value[0]), str(value[1])) for name, value in raw.get("in", {}).items()},
            {str(name): tuple(map(str, types)) for name, types in raw.get("untracked", {}).items()},
            tuple(map(str, raw.get("shares", ()))),
            raw.get("writes") is True,
            {str(name): tuple(path) for name, path in raw.get("changed", {}).items()},
            str(raw.get("why", "")),
            instead if isinstance(instead, int) else None,
            str(raw.get("asks", "")),
            None if raw.get("sleeps") is None else float(raw["sleeps"]),
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return Parts()


class Function(NamedTuple):
    """A function, class or library name that a step reaches: the digest of its code, and the id of its source text."""

    digest: str
    text: str = ""


class Code(NamedTuple):
    """The code of a step.

    Attributes:
        functions: by label: the step's own function first.
        bytecode: labels of those without source at hand, which count by their bytecode.
    """

    functions: Mapping[str, Function] = {}
    bytecode: tuple[str, ...] = ()

    def as_text(self) -> str:
        """Write it down."""
        raw: dict[str, Any] = {"functions": {label: list(value) for label, value in self.functions.items()}}
        if self.bytecode:
            raw["bytecode"] = list(self.bytecode)
        return json.dumps(raw, ensure_ascii=False)


def code_from(text: str) -> Code:
    """Read what :meth:`Code.as_text` wrote. What is not that gives no code."""
    try:
        raw = json.loads(text)
        return Code(
            {str(label): Function(str(value[0]), str(value[1])) for label, value in raw["functions"].items()},
            tuple(map(str, raw.get("bytecode", ()))),
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return Code()


def named_texts(codes: Iterable[str], texts: Mapping[str, str]) -> set[str]:
    """Return the ids of all texts that entries need: those of their code, and the sources that these name.

    Args:
        codes: ``Parts.code`` of the entries.
        texts: at least those of ``codes``, by id, as far as they are there.
    """
    named = {code for code in codes if code}
    for code in tuple(named):
        named |= {part.text for part in code_from(texts.get(code, "")).functions.values() if part.text}
    return named


def text_id(text: str, hasher: Any) -> str:
    """Name a text by its digest.

    Args:
        text: what is named.
        hasher: a new ``blake3``, which a layer that may import it hands in.
    """
    hasher.update(text.encode("utf-8", "replace"))
    return str(hasher.hexdigest()[:32])
