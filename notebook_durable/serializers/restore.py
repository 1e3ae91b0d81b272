"""What pickles of ours call by name when they are loaded.

These names stand in every journal that was ever written: a function here is never renamed, moved or given another
meaning.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["exception", "masked", "namespace", "read_only", "set_state", "set_state_and_cause", "text", "times"]


def namespace(module: str) -> dict[str, Any]:
    """Return the live global namespace of a module: what loaded functions have as their globals."""
    return vars(importlib.import_module(module))


def read_only(array: Any) -> Any:
    """Take the right to write from a numpy array."""
    array.flags.writeable = False
    return array


def exception(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception without calling its constructor."""
    error = cls.__new__(cls, *args)
    error.args = args
    return error


def set_state(error: BaseException, state: Any) -> None:
    """Give an exception its attributes: a dict, or a pair of them with the values of slots as the second."""
    if state is None:
        return
    if isinstance(state, dict) and type(error).__setstate__ is not BaseException.__setstate__:
        error.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, {})
    for name, value in (*attributes.items(), *slots.items()):
        setattr(error, name, value)


def set_state_and_cause(error: BaseException, state: tuple[Any, BaseException | None, bool]) -> None:
    """Give an exception its attributes, its ``__cause__`` and its ``__suppress_context__``."""
    set_state(error, state[0])
    error.__cause__ = state[1]
    error.__suppress_context__ = state[2]


def text(buffer: Any) -> str:
    """Make text of its UTF-8, in which pickle keeps lone surrogates."""
    return str(buffer, "utf-8", "surrogatepass")


def masked(data: Any, mask: Any, fill_value: Any, hard: bool) -> Any:
    """Make a masked array over these two arrays; without a mask if ``mask`` is None."""
    import numpy.ma as ma

    array: Any = ma.MaskedArray(data, mask=ma.nomask if mask is None else mask, copy=False, hard_mask=hard)
    array._fill_value = fill_value  # noqa: SLF001  None: none was chosen yet
    return array


def times(numbers: Any, dtype: Any) -> Any:
    """Make an array of times over one of their numbers."""
    return numbers.view(dtype)
