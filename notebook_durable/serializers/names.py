"""How types are written for people."""

from __future__ import annotations

__all__ = ["brief", "type_name"]

# `Order` says more than `__main__.Order` to somebody who sits in that notebook.
_UNNAMED = frozenset({"builtins", "__main__"})


def type_name(cls: type) -> str:
    """Return ``module.qualname``, without the module for built-in types and for those of the notebook."""
    module = cls.__module__
    if module in _UNNAMED:
        return cls.__qualname__
    return f"{module}.{cls.__qualname__}"


def brief(value: object, length: int = 60) -> str:
    """Return at most ``length`` characters of ``repr(value)``, the type's name if it has none."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  the user's __repr__; a huge integer raises as well
        return type_name(type(value))
    return text if len(text) <= length else f"{text[: length - 3]}..."
