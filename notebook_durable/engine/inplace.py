"""Inputs that a step changes in place, and their way back on replay.

``model.fit(X)`` returns the model it was called on. A replay has a fitted copy from the journal, and the cell still
holds the model that is not fitted. So the recorded state is put into the cell's own object, and that is handed back,
as it was when the step ran. What the object holds is treated alike: a list inside a dict may have a name of its own in
the cell. Where it can't be done the step runs again.
"""

from __future__ import annotations

import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

__all__ = ["NotRestorableError", "can_restore", "find", "restore"]

_DEEPEST = 3
_MOST = 1000  # items of one container

Path = tuple[Any, ...]


class NotRestorableError(Exception):
    """The cell's object can't take the recorded state."""


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


def can_restore(own: Any) -> bool:
    """Tell whether an object of this type can take a recorded state."""
    return _Taking().putter(type(own), own, own) is not None


def restore(value: Any, wanted: Iterable[tuple[Path, Any]]) -> Any:
    """Put recorded state into the cell's own objects.

    Args:
        value: a recorded result.
        wanted: for each place in it the cell's own object that belongs there.

    Returns:
        The result, with the own objects in their places.

    Raises:
        NotRestorableError: if one can't take the state; nothing has been changed then.
    """
    taking = _Taking()
    try:
        for path, own in wanted:
            saved = value
            for key in path:
                saved = saved[key]
            if taking.take(own, saved) is not own:
                raise NotRestorableError(type(own).__qualname__)
        value = taking.replaced(value)
    except (RecursionError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise NotRestorableError(str(error)) from error
    taking.do()
    return value


class _Taking:
    """Plans first, so that a state which can't be taken leaves no object half changed."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}  # what stands for a saved object now
        self._held: list[Any] = []  # so that their ids stay theirs
        self._work: list[Callable[[], Any]] = []

    def do(self) -> None:
        for each in self._work:
            each()

    def replaced(self, value: Any) -> Any:
        """Return a result with what stands for its parts now."""
        if id(value) in self._known:
            return self._known[id(value)]
        if type(value) is tuple:
            return tuple(self.replaced(item) for item in value)
        if type(value) is list:
            value[:] = [self.replaced(item) for item in value]
        elif type(value) is dict:
            value.update({key: self.replaced(item) for key, item in value.items()})
        return value

    def take(self, own: Any, saved: Any) -> Any:
        """Plan to put the state of ``saved`` into ``own``; return what stands for ``saved``: ``own`` if it can be."""
        kind = type(saved)
        if own is saved or type(own) is not kind or kind in _PLAIN:
            return saved
        if id(saved) in self._known:
            return self._known[id(saved)]
        self._held.append(saved)
        if kind is tuple:
            return self._tuple(own, saved)
        put = self.putter(kind, own, saved)
        if put is None:
            return saved
        self._known[id(saved)] = own
        put()
        return own

    def putter(self, kind: type, own: Any, saved: Any) -> Callable[[], None] | None:
        """Return what plans for a type; None if its objects can't take a state."""
        base = next((base for base in kind.__mro__ if base in _CONTAINERS), None)
        if base is not None and (kind is base or _state_is_seen(kind, base)):
            return lambda: self._container(base, own, saved)
        if issubclass(kind, random.Random):
            return lambda: self._work.append(lambda: own.setstate(saved.getstate()))
        known = _STATES.get((kind.__module__.partition(".")[0], kind.__qualname__))
        if known is not None:
            return None if not known[0](own, saved) else lambda: self._work.append(lambda: known[1](own, saved))
        return (lambda: self._attributes(own, saved)) if _state_is_seen(kind, object) else None

    def _tuple(self, own: Any, saved: Any) -> Any:
        if len(own) != len(saved):
            return saved
        taken = tuple(self.take(mine, item) for mine, item in zip(own, saved, strict=True))
        same = all(mine is item for mine, item in zip(own, taken, strict=True))
        self._known[id(saved)] = own if same else taken
        return self._known[id(saved)]

    def _container(self, base: type, own: Any, saved: Any) -> None:
        if base is list or base is deque:
            held = list(own)
            items = [self.take(held[i], item) if i < len(held) else item for i, item in enumerate(saved)]
            self._work.append(lambda: (base.clear(own), base.extend(own, items)))
        elif base is dict:
            mine = dict(dict.items(own))
            pairs = {key: self.take(mine[key], item) if key in mine else item for key, item in dict.items(saved)}
            whose = OrderedDict if isinstance(own, OrderedDict) else dict  # its order is kept by its own methods
            self._work.append(lambda: (whose.clear(own), whose.update(own, pairs)))
        else:
            refill = own.extend if base is bytearray else own.update
            self._work.append(lambda: (own.clear(), refill(saved)))
        if hasattr(own, "__dict__") and type(own) is not base:
            self._attributes(own, saved)

    def _attributes(self, own: Any, saved: Any) -> None:
        # Past any __setattr__ of the class: the state is what a pickle of it brings back.
        mine = getattr(own, "__dict__", None)
        if mine is not None:
            held = {name: self.take(mine[name], item) if name in mine else item for name, item in vars(saved).items()}
            self._work.append(lambda: (mine.clear(), mine.update(held)))
        for slot in _slots(type(own)):
            if hasattr(saved, slot):
                item = getattr(saved, slot)
                item = self.take(getattr(own, slot), item) if hasattr(own, slot) else item
                self._work.append(partial(object.__setattr__, own, slot, item))


_PLAIN = (type(None), bool, int, float, complex, str, bytes, type, range, frozenset)
_CONTAINERS = frozenset({list, dict, set, bytearray, deque})
# Flags of types. A class written in Python is on the heap and can be changed; C types may keep hidden state.
_HEAP, _IMMUTABLE = 1 << 9, 1 << 8

#: Libraries' objects by name: can it be done, and how.
_STATES: dict[tuple[str, str], tuple[Callable[[Any, Any], bool], Callable[[Any, Any], Any]]] = {
    ("numpy", "ndarray"): (
        lambda own, saved: own.shape == saved.shape and own.dtype == saved.dtype and own.flags.writeable,
        lambda own, saved: own.__setitem__(..., saved),
    ),
    ("numpy", "Generator"): (
        lambda own, saved: type(own.bit_generator) is type(saved.bit_generator),
        lambda own, saved: setattr(own.bit_generator, "state", saved.bit_generator.state),
    ),
    ("numpy", "RandomState"): (lambda own, saved: True, lambda own, saved: own.set_state(saved.get_state())),  # noqa: ARG005
}


def _state_is_seen(kind: type, base: type) -> bool:
    """Tell whether all state beyond that of ``base`` is in attributes: its other bases are written in Python."""
    others = [each for each in kind.__mro__ if not issubclass(base, each)]
    if not all((each.__flags__ & _HEAP and not each.__flags__ & _IMMUTABLE) or each in _HARMLESS for each in others):
        return False
    # What has no attribute takes room as well.
    known = max([base.__basicsize__, *(each.__basicsize__ for each in others if each in _HARMLESS)])
    return kind.__basicsize__ <= known + 8 * (len(_slots(kind)) + 2)


#: C classes whose further state is constant (the factory of a defaultdict) or is kept by their methods (the order).
_HARMLESS = frozenset({defaultdict, OrderedDict})


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else tuple(slots):
            if slot in ("__dict__", "__weakref__"):
                continue
            found.append(
                f"_{base.__name__.lstrip('_')}{slot}" if slot.startswith("__") and not slot.endswith("__") else slot
            )
    return found
