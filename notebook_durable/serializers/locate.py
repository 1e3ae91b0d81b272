"""Finds the part of a value that can't be stored, for the message.

Only after a failure, and with the serializer itself as the judge: it goes down into the first part that can't be stored
on its own, until no part of a part fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType
from typing import Any

from notebook_durable.errors import NotStorableError
from notebook_durable.serializers.names import brief, type_name
from notebook_durable.serializers.rules import LOCAL_CLASS, refusal

__all__ = ["TOO_DEEP", "locate"]

# The reason of a value that no part of it explains.
TOO_DEEP = "nested too deeply"
_DEEPEST = 50
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})

Part = tuple[str, Any]


def locate(value: Any, error: NotStorableError, judge: Callable[[Any], NotStorableError | None]) -> NotStorableError:
    """Return an error that names type and path of the innermost part at fault.

    Args:
        value: what could not be stored.
        error: why not.
        judge: returns why a part can't be stored, None if it can.
    """
    if error.reason == TOO_DEEP:
        return error
    path = ""
    seen = {id(value)}
    for _ in range(_DEEPEST):
        if refusal(type(value)) is not None:
            break
        for step, part in _parts(value):
            if type(part) in _ATOMS or id(part) in seen or part is type(value):
                continue
            failure = judge(part)
            if failure is not None:
                value, error, path = part, failure, path + step
                seen.add(id(part))
                break
        else:
            break
    reason = error.reason
    if "<locals>" in type(value).__qualname__ and LOCAL_CLASS not in reason:
        # Such as a pydantic or attrs class, which dill can't rebuild; what it stumbled over helps nobody by itself.
        reason = f"{reason.rstrip('.')}; {LOCAL_CLASS}"
    found = NotStorableError(type_name(type(value)), path, reason)
    found.__cause__ = error.__cause__
    return found


def _parts(value: Any) -> Iterator[Part]:
    """Give the parts of a value that its pickle consists of, each with its step in the path."""
    try:
        if isinstance(value, dict):
            for key, item in list(value.items()):
                yield f"[{brief(key)}]", item
                yield f" key {brief(key)}", key
            yield from _attributes(value)
        elif isinstance(value, (list, tuple)):
            fields = getattr(type(value), "_fields", None)
            for i, item in enumerate(value):
                yield (f".{fields[i]}" if fields else f"[{i}]"), item
            yield from _attributes(value)
        elif isinstance(value, (set, frozenset)):
            for item in value:
                yield f"{{{brief(item)}}}", item
            yield from _attributes(value)
        elif isinstance(value, FunctionType):
            yield from _of_function(value)
        elif isinstance(value, partial):
            yield ".func", value.func
            yield from ((f".args[{i}]", item) for i, item in enumerate(value.args))
            yield from ((f".keywords[{key!r}]", item) for key, item in value.keywords.items())
        elif isinstance(value, BaseException):
            yield from ((f".args[{i}]", item) for i, item in enumerate(value.args))
            yield from _attributes(value)
            yield from _of_reduction(value)
        else:
            yield from _of_frame_or_array(value)
            yield from _of_reduction(value)
    except Exception:  # noqa: BLE001  a user's __repr__, __getattr__ ...: then the message names the whole
        return


def _attributes(value: Any) -> Iterator[Part]:
    for name, item in list(getattr(value, "__dict__", {}).items()):
        yield f".{name}", item


def _of_function(fn: FunctionType) -> Iterator[Part]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            item = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        yield f".__closure__[{name!r}]", item
    for i, item in enumerate(fn.__defaults__ or ()):
        yield f".__defaults__[{i}]", item
    for name, item in (fn.__kwdefaults__ or {}).items():
        yield f".__kwdefaults__[{name!r}]", item
    yield from _attributes(fn)


def _of_frame_or_array(value: Any) -> Iterator[Part]:
    """Look into cells: the pickles of frames and arrays are made of blocks, which nobody would recognise."""
    library, kind = type(value).__module__.partition(".")[0], type(value).__name__
    if library == "numpy" and kind == "ndarray" and value.dtype.hasobject and value.dtype.names is None:
        import numpy as np

        for where, item in np.ndenumerate(value):
            yield f"[{', '.join(map(str, where))}]", item
    elif library == "pandas" and kind == "Series":
        for i, item in enumerate(value.array):
            yield f".iloc[{i}]", item
    elif library == "pandas" and kind == "DataFrame":
        for i, (column, dtype) in enumerate(zip(value.columns, value.dtypes, strict=True)):
            if getattr(dtype, "hasobject", False):
                yield f"[{brief(column)}]", value.iloc[:, i]
        yield ".attrs", value.attrs


def _of_reduction(value: Any) -> Iterator[Part]:
    reduction = value.__reduce_ex__(5)
    if isinstance(reduction, str):
        return
    _, args, state, items, pairs = (*reduction[:5], None, None, None)[:5]
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict):
            yield from ((f".{name}", item) for name, item in part.items())
        elif part is not None:
            yield _name_of(value, part), part
    # Without a name of its own, an argument is looked for among the attributes.
    yield from ((_name_of(value, arg), arg) for arg in args if type(arg) not in _ATOMS)
    yield from ((f"[{i}]", item) for i, item in enumerate(items or ()))
    yield from ((f"[{brief(key)}]", item) for key, item in pairs or ())


def _name_of(value: Any, part: Any) -> str:
    for name, item in _attributes(value):
        if item is part:
            return name
    return ""
