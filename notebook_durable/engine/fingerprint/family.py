"""The calls of one function with one argument each, as ``ctx.map`` makes them: described once, then item by item.

An item's fingerprint is exactly that which ``describe`` gives the single call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.fingerprint.call import CallDescription, Named, input_head
from notebook_durable.engine.fingerprint.content import Digest
from notebook_durable.engine.fingerprint.scalars import SIMPLE
from notebook_durable.engine.fingerprint.shorts import short
from notebook_durable.parts import Input, Parts
from notebook_durable.redact import HIDDEN, is_secret_name

if TYPE_CHECKING:
    from notebook_durable.engine.fingerprint.describe import Fingerprinter

__all__ = ["Family", "Item"]

#: Name of the mark that a key is.
KEY = "key"

_quote = json.JSONEncoder(ensure_ascii=False).encode
_INPUTS = '"in": {}'
#: Told by their repr, and they name no file.
_NUMBERS = frozenset({int, float, bool, type(None), complex})
#: No part of them can change.
_FIXED = frozenset({type(None), bool, int, float, complex, str, bytes})


class Item:
    """Stands for the item where the call is described."""

    __slots__ = ()


class Family:
    """See ``protocols.Family``.

    Args:
        maker: the describer.
        call: described with ``item`` as its argument, and with an empty key if ``keyed``.
        item: what stands for the item in it.
        keyed: each item has a key that counts.
    """

    __slots__ = ("_after", "_before", "_between", "_item", "_key", "_maker", "call", "key_name", "name")

    def __init__(self, maker: Fingerprinter, call: CallDescription, item: Item, *, keyed: bool) -> None:
        self._maker = maker
        self.call = call
        self.name = next((named.name for named in call.inputs if named.value is item), None)
        marks = [named.name for named in call.inputs if keyed and _is_key(named)]
        self.key_name = marks[0] if marks else KEY
        self._item = None if self.name is None else ("argument", self.name)
        self._key = ("mark", self.key_name) if marks else None
        call.inputs = [named for named in call.inputs if (named.kind, named.name) not in (self._item, self._key)]
        self._before: bytes | None = None
        self._between = self._after = b""

    def digest(self, item: Any) -> Digest:
        """Digest an item."""
        return self._maker.digest(item)

    def tracked(self, digest: Digest) -> bool:
        """Tell whether all of an item has content."""
        return not digest.untracked or self.name is None

    def changed(self, item: Any, digest: Digest) -> bool:
        """Tell whether an item's content is another now."""
        if type(item) in _FIXED or self.name is None:
            return False
        return self._maker.digest(item).digest != digest.digest

    def fingerprint(self, digest: Digest, key: str | None) -> str:
        """Return the fingerprint of one call."""
        if self._before is None:
            self._prepare()
        pieces = [self._before or b""]
        if self._item is not None:
            pieces += (input_head(*self._item, len(digest.digest)), digest.digest)
        if self._key is not None:
            data = self._maker.digest(key).digest
            pieces += (self._between, input_head(*self._key, len(data)), data)
        pieces.append(self._after)
        hasher = self._maker.new_hash()
        hasher.update(b"".join(pieces))
        return hasher.digest()[:16].hex()

    def _prepare(self) -> None:
        """Put together what stands before, between and after the item and its key; from now on no mark is added."""
        call, item, key = self.call, self._item, self._key
        assert call.fingerprint  # noqa: S101  it also notes what memos hold
        places: list[list[bytes]] = [[call.root], [], []]
        for kind, name, digest in sorted([(named.kind, named.name, named.digest.digest) for named in call.inputs]):
            place = 0 if item and (kind, name) < item else 1 if key and (kind, name) < key else 2
            places[place] += (input_head(kind, name, len(digest)), digest)
        self._before, self._between, self._after = map(b"".join, places)

    def writer(self, parts: Parts, hide: Callable[[str], str], secret: Collection[str]) -> Writer:
        """Return what writes down the parts of single calls."""
        return Writer(self, parts, hide, secret)


def _is_key(named: Named) -> bool:
    # A parameter `key` keeps its name, and the mark gets another.
    return named.kind == "mark" and named.name.partition(" (")[0] == KEY


class Writer:
    """See ``protocols.PartsWriter``. What all calls have in common is written down once."""

    __slots__ = ("_call", "_family", "_head", "_hidden", "_hide", "_parts", "_start", "_tail")

    def __init__(self, family: Family, parts: Parts, hide: Callable[[str], str], secret: Collection[str]) -> None:
        self._family, self._parts, self._hide = family, parts, hide
        self._call = family.call
        name = family.name or ""
        self._hidden = bool(name) and (name in secret or is_secret_name(name))
        common = ", ".join(f"{_quote(name)}: {_quote(list(told))}" for name, told in parts.inputs.items())
        head, _, self._tail = parts._replace(inputs={}).as_text().partition(_INPUTS)
        self._head = f'{head}"in": {{{common}'
        self._start = f"{', ' if common else ''}{_quote(name)}: "

    def __call__(self, item: Any, digest: Digest, key: str | None) -> str:
        name = self._family.name
        if name is not None and (digest.untracked or type(item) not in _NUMBERS):
            return self._in_full(name, item, digest, key)
        text = self._head
        if name is not None:
            told = HIDDEN if self._hidden else repr(item)
            text += f'{self._start}["{self._call.stored(digest.digest)}", "{told}"]'
        if key is not None:
            text += f"{', ' if self._parts.inputs or name is not None else ''}{self._told_key(key)}"
        return f"{text}}}{self._tail}"

    def _told_key(self, key: str) -> str:
        stored = self._call.stored(self._call.digest_of(key))
        return f'{_quote(self._family.key_name)}: ["{stored}", {_quote(self._hide(short(KEY, key)))}]'

    def _in_full(self, name: str, item: Any, digest: Digest, key: str | None) -> str:
        told, types, shares = self._call.told(Named(name, item, digest, "argument"))
        said = HIDDEN if self._hidden and told.short else self._hide(told.short)
        if not types and not shares:
            text = f'{self._head}{self._start}["{told.digest}", {_quote(said)}]'
            return f"{text}{f', {self._told_key(key)}' if key is not None else ''}}}{self._tail}"
        parts = self._parts
        inputs = {**parts.inputs, name: Input(told.digest, said)}
        if key is not None:
            inputs[self._family.key_name] = Input(
                self._call.stored(self._call.digest_of(key)), self._hide(short(KEY, key))
            )
        untracked = {**parts.untracked, name: types} if types else parts.untracked
        return parts._replace(inputs=inputs, untracked=untracked, shares=(*parts.shares, *shares)).as_text()


assert SIMPLE.keys() >= _FIXED  # noqa: S101  they are digested in one go
