"""Inputs that a step changes in place, and their way back on replay.

``model.fit(X)`` returns the model it was called on. A replay has a fitted copy from the journal, and the cell still
holds the model that is not fitted. So the recorded state is put into the cell's own object, and that is handed back,
as it was when the step ran.
"""

from __future__ import annotations

from typing import Any

__all__ = ["find", "restore"]

_DEEPEST = 3
_MOST = 1000  # items of one container

Path = tuple[Any, ...]


def find(value: Any, wanted: Any, deepest: int = _DEEPEST) -> Path | None:
    """Return where in ``value`` the very object ``wanted`` is: a path of indexes and keys; None if it isn't."""
    if value is wanted:
        return ()
    if not deepest:
        return None
    items: Any = ()
    if type(value) in (tuple, list):
        items = enumerate(value[:_MOST])
    elif type(value) is dict and len(value) <= _MOST:
        items = ((key, item) for key, item in value.items() if type(key) in (str, int))
    for key, item in items:
        path = find(item, wanted, deepest - 1)
        if path is not None:
            return (key, *path)
    return None


def restore(value: Any, path: Path, own: Any) -> Any:
    """Put the state at ``path`` of a recorded value into ``own``, and return the value with ``own`` in that place.

    Where that can't be done the value is returned as it is.
    """
    if not path:
        return own if _take_state(own, value) else value
    try:
        inner = restore(value[path[0]], path[1:], own)
        if inner is value[path[0]]:
            return value
        if type(value) is tuple:
            index = path[0]
            return (*value[:index], inner, *value[index + 1 :])
        value[path[0]] = inner
    except (LookupError, TypeError):
        pass
    return value


def _take_state(own: Any, saved: Any) -> bool:
    kind = type(saved)
    if type(own) is not kind or own is saved:
        return False
    if kind is list or kind is bytearray:
        own[:] = saved
    elif kind is dict or kind is set:
        own.clear()
        own.update(saved)
    elif _is_array(kind):
        if own.shape != saved.shape or own.dtype != saved.dtype or not own.flags.writeable:
            return False
        own[...] = saved
    elif kind.__flags__ & _HEAP and not _has_slots(kind) and isinstance(getattr(own, "__dict__", None), dict):
        # Through vars(), past any __setattr__ of the class: the state is what a pickle of it brings back.
        vars(own).clear()
        vars(own).update(vars(saved))
    else:
        return False
    return True


_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class written in Python; a C type may keep state that __dict__ doesn't show


def _is_array(kind: type) -> bool:
    return kind.__module__ == "numpy" and kind.__qualname__ == "ndarray"


def _has_slots(kind: type) -> bool:
    return any(base.__dict__.get("__slots__") for base in kind.__mro__) or any(
        not base.__flags__ & _HEAP and base is not object for base in kind.__mro__
    )
