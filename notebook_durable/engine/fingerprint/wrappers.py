"""What can be told of a function or wrapper by itself: its values, its name, whether the user's code is in it."""

from __future__ import annotations

import contextlib
import copyreg
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, MappingProxyType, MethodType
from typing import Any

from notebook_durable.engine.fingerprint.origin import is_user_code, library_name, plain_name

__all__ = ["hooked", "is_followed", "key_text", "label_prefix", "note_slots", "owned_values", "real_name", "top_module"]

_SLOT_NAMES: Callable[[type], Any] = getattr(copyreg, "_slotnames", lambda _: None)
_HOOKED = {"pandas": ("DataFrame", "Series", "Index"), "polars": ("DataFrame", "LazyFrame", "Series", "Expr")}
_MAIN = ("__main__", "__mp_main__")


def hooked(names: frozenset[str]) -> Iterator[tuple[str, Any, str, Any]]:
    """Yield the user's code that was put into classes of tables: accessors, methods. What has such a name reads it.

    Yields:
        A label, the class's members, the name among them, and the code.
    """
    for module, classes in _HOOKED.items():
        library = getattr(sys.modules.get(module), "__dict__", {})
        for kind in classes:
            cls = library.get(kind)
            inner = vars(cls) if isinstance(cls, type) else MappingProxyType({})
            for name in [name for name in names if name in inner]:
                value = inner[name]
                if type(value) is not FunctionType:
                    held = getattr(value, "__dict__", {})
                    value = held.get("_accessor", held.get("_ns", value))
                if is_user_code(getattr(value, "fget", value)):
                    yield f"{module}.{kind}.{name}", inner, name, value


def note_slots(cls: type) -> None:
    """Let copyreg note a class's slots in it now, as it does when the first object is looked at or pickled."""
    with contextlib.suppress(Exception):
        _SLOT_NAMES(cls)


def owned_values(function: FunctionType) -> Iterable[tuple[str, Any, str]]:
    """Yield the closure values and defaults of a function: kind, key and name; see ``read_own``."""
    code = function.__code__
    for index, name in enumerate(code.co_freevars):
        yield "cell", index, name
    if function.__defaults__:
        names = code.co_varnames[: code.co_argcount][-len(function.__defaults__) :]
        for index, name in zip(range(len(function.__defaults__)), names, strict=False):
            yield "default", index, f"{name}.default"
    for name in function.__kwdefaults__ or ():
        yield "named", name, f"{name}.default"


def label_prefix(namespace: dict[str, Any]) -> str:
    """Return what stands before the names of a module: nothing for the notebook."""
    module = namespace.get("__name__")
    return f"{module}." if isinstance(module, str) and module not in _MAIN else ""


def top_module(name: Any) -> str:
    """Return the first part of a module's name."""
    return name.partition(".")[0] if isinstance(name, str) else ""


def key_text(key: Any) -> str:
    """Tell a key of a registry, the same in each process."""
    if isinstance(key, type):
        return library_name(key)
    return repr(key) if isinstance(key, (str, int, bytes, tuple)) and " at 0x" not in repr(key) else type(key).__name__


def real_name(function: FunctionType) -> str:
    """Name a library's function by where its code is: ``functools.wraps`` gives it the name of what it wraps."""
    module = function.__globals__.get("__name__")
    if function.__dict__.get("__wrapped__") is None or not isinstance(module, str):
        return library_name(function)
    return f"{module}.{plain_name(function.__code__.co_qualname)}"


def is_followed(value: Any) -> bool:
    """Tell whether there is code of the user's in a wrapper."""
    for _ in range(20):
        if is_user_code(value):
            return True
        if isinstance(value, (staticmethod, classmethod, MethodType)):
            value = value.__func__
        elif isinstance(value, functools.partial):
            value = value.func
        else:
            inside = getattr(value, "__dict__", None)
            value = inside.get("__wrapped__") if isinstance(inside, dict) else None
            if value is None:
                return False
    return False
