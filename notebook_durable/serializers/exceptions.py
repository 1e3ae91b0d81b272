"""How exceptions are written down: also those whose constructor pickle can't satisfy.

pickle calls ``type(error)(*error.args)``. An exception such as ::

    class ApiError(Exception):
        def __init__(self, status):
            super().__init__(f"status {status}")

then fails to load, or loads with the wrong message ("status status 503"). So the usual way is tried here on the spot,
and where it goes wrong the exception is rebuilt without calling its constructor.
"""

from __future__ import annotations

import copyreg
from typing import Any

from notebook_durable.errors import NotStorableError
from notebook_durable.serializers import restore
from notebook_durable.serializers.names import type_name

__all__ = ["reduce_exception"]


def reduce_exception(error: BaseException, *, keep_cause: bool = True) -> Any:
    """Return a reduction that brings ``error`` back: type, args, attributes, notes and, if wanted, its cause.

    The traceback belongs to the process and is left out.

    Raises:
        NotStorableError: if no way of rebuilding it gives an equal exception.
    """
    usual = error.__reduce_ex__(5)
    if isinstance(usual, str):
        return usual
    func, args, state = usual[0], usual[1], usual[2] if len(usual) > 2 else None
    if type(error).__module__ != "builtins" and not _gives_back(error, func, args, state):
        func, args, state = restore.exception, (type(error), error.args), _state_of(error)
        if not _gives_back(error, func, args, state):
            raise NotStorableError(type_name(type(error)), "", "its constructor can't be called again with its args")
    cause = error.__cause__ if keep_cause else None
    if cause is None and not error.__suppress_context__:
        return func, args, state
    return func, args, (state, cause, error.__suppress_context__), None, None, restore.set_state_and_cause


def _state_of(error: BaseException) -> Any:
    slots = _slots_of(error)
    return (dict(vars(error)), slots) if slots else (dict(vars(error)) or None)


def _slots_of(error: BaseException) -> dict[str, Any]:
    names = copyreg._slotnames(type(error))  # type: ignore[attr-defined]  # noqa: SLF001  pickle's own helper
    return {name: getattr(error, name) for name in names if hasattr(error, name)}


def _gives_back(error: BaseException, func: Any, args: tuple[Any, ...], state: Any) -> bool:
    """Tell whether this reduction gives an exception equal to ``error``; runs the user's own code."""
    try:
        twin = func(*args)
        if type(twin) is not type(error):
            return False
        restore.set_state(twin, state)
        return (
            _same(twin.args, error.args)
            and str(twin) == str(error)
            and _same_items(vars(twin), vars(error))
            and _same_items(_slots_of(twin), _slots_of(error))
        )
    except Exception:  # noqa: BLE001  whatever a user's constructor raises: this way doesn't work
        return False


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(
        a is b or (type(a) is type(b) and bool(a == b)) for a, b in zip(one, other, strict=True)
    )


def _same_items(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and _same(tuple(one.values()), tuple(other[name] for name in one))
