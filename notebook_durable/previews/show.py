"""What all kinds of previews need: texts that are hidden before they are cut, names of secrets, types by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any

from notebook_durable.redact import HIDDEN, is_secret_name

__all__ = ["Shown", "is_a", "type_name"]

#: A text is hidden before it is cut, with this many characters behind the cut: a secret there is seen as a whole.
_MARGIN = 300


class Shown:
    """Decides what of a value may be seen.

    Args:
        hide: hides what is secret in a text.
        secret: names whose values are secret, beside those that say so themselves.
    """

    __slots__ = ("_hide", "_secret")

    def __init__(self, hide: Callable[[str], str], secret: Collection[str]) -> None:
        self._hide = hide
        self._secret = frozenset(secret)

    def text(self, raw: str, most: int) -> str:
        """Return a text without secrets, cut to ``most`` characters."""
        # By the class, because the text may be of a subclass that does something else.
        found = self._hide(str.__getitem__(raw, slice(0, most + _MARGIN)))
        if len(found) > most:
            found = found[: most - 1] + "…"
        if found.isascii():
            return found
        return found.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates can't be stored

    def is_secret(self, name: object) -> bool:
        """Tell whether what has this name (a column, key or field; a tuple of names) is not to be seen."""
        if isinstance(name, str):
            return name in self._secret or is_secret_name(name)
        return isinstance(name, tuple) and any(self.is_secret(one) for one in name)

    def bytes_text(self, raw: bytes, most: int) -> str:
        """Return the first bytes in hex, or, if they spell a secret, that it is hidden."""
        start = raw[: most + _MARGIN].decode("latin-1")
        if self._hide(start) != start:
            return HIDDEN
        utf8 = raw[: most + _MARGIN].decode("utf-8", "replace")
        return HIDDEN if self._hide(utf8) != utf8 else raw[:most].hex(" ")


def is_a(value: object, module: str, *names: str) -> bool:
    """Tell whether a value is of a library's class. The library is not imported: without it there is no such value."""
    found = sys.modules.get(module)
    if found is None:
        return False
    classes = (getattr(found, name, None) for name in names)
    return any(isinstance(cls, type) and issubclass(type(value), cls) for cls in classes)


def type_name(value: Any) -> str:
    """Name a value's class: "pandas.DataFrame"; those of the notebook and built-in ones without a module."""
    cls = type(value)
    module = cls.__module__
    if not isinstance(module, str) or module in ("builtins", "__main__"):
        return cls.__qualname__
    return f"{module}.{cls.__qualname__}"
