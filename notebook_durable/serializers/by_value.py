"""The pickler for values that hold a function or a local class: in Python, 20 times slower, with dill's means.

What dill is asked for is listed here by type, because by default it also "stores" locks, open files and weak
references, as new ones that mean nothing. Everything else is written as pickle writes it.

Functions travel as code plus the values of their closure. Globals don't travel: a function of the notebook looks them
up in the notebook that loads it, as it would had its cell been run again there (carrying them, dill's ``recurse=True``,
would store a 50 MB table with a one-line helper, and freeze helpers that were edited since).
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import pickle
import sys
from types import CellType, CodeType, FunctionType, MappingProxyType
from typing import Any

from notebook_durable.serializers import restore
from notebook_durable.serializers.rules import Rules

__all__ = ["pickler_class"]


# Types that dill writes and pickle doesn't, and which come back as what they were.
_DILL_WRITES: tuple[type, ...] = (
    FunctionType,
    CodeType,
    CellType,
    MappingProxyType,
    type,
    property,
    staticmethod,
    classmethod,
    abc.abstractproperty,
    abc.abstractstaticmethod,
    abc.abstractclassmethod,
    type(object.__init__),  # slot wrappers, in the dict of a class
    type(str.join),
    type(dict.__dict__["fromkeys"]),
    type(dataclasses.MISSING),
    type(dataclasses.KW_ONLY),
    type(dataclasses.field().default_factory),
    getattr(dataclasses, "_FIELD_BASE", type(None)),  # compared by identity, so not to be copied
)


@functools.cache
def pickler_class() -> Any:
    """Make the class, importing dill: a run without functions in its values never pays for that."""
    import dill

    inner = dill._dill  # noqa: SLF001  its writers have no public names
    stock: Any = pickle._Pickler  # noqa: SLF001  the C pickler can't be extended so
    # dill enters its own writers into the stock table when it is imported: keep those of pickle only.
    table = inner.MetaCatchingDict({t: f for t, f in stock.dispatch.items() if f.__module__ == "pickle"})
    for t in _DILL_WRITES:
        if t in dill.Pickler.dispatch:
            table[t] = dill.Pickler.dispatch[t]

    class ByValuePickler(Rules, dill.Pickler):  # type: ignore[misc]
        dispatch = table
        by_value = True
        # What dill warns with.
        warning = dill.PicklingWarning

        def __init__(self, file: Any, protocol: int, *, buffer_callback: Any) -> None:
            super().__init__(file, protocol, buffer_callback=buffer_callback, byref=False, recurse=False)
            # dill remembers the __main__ of its own import, which may be the launcher of the kernel.
            self._main = sys.modules["__main__"]

        def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
            # Past dill's own: it registers writers for numpy's types as it goes, which pickle doesn't need.
            return stock.save(self, obj, save_persistent_id)

    def save_dict(pickler: Any, obj: dict[Any, Any]) -> None:
        # dill compares every dict with that of __main__ by ==, which is slow, and fails for a dict of arrays.
        name = obj.get("__name__") if "__builtins__" in obj else None
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is not None and vars(module) is obj:
            pickler.save_reduce(restore.namespace, (name,), obj=obj)
        else:
            stock.save_dict(pickler, obj)

    def save_function(pickler: Any, fn: FunctionType) -> None:
        space = fn.__globals__
        home = space.get("__name__")
        module = sys.modules.get(home) if isinstance(home, str) else None
        if module is None or (home == fn.__module__ and vars(module) is space):
            inner.save_function(pickler, fn)
            return
        # dill would copy all of its globals in these two cases. They are named instead.
        if home == "__main__":
            # Made by %run, which gives a script a __main__ of its own and copies its names to the notebook's.
            space = vars(module)
        # Or a library's wrapper, to which functools.wraps gave the __module__ of what it wraps.
        names = ("__doc__", "__kwdefaults__", "__annotations__", "__qualname__", "__module__")
        state = (fn.__dict__, {name: getattr(fn, name) for name in names})
        made = (fn.__code__, space, fn.__name__, fn.__defaults__, fn.__closure__)
        reduction = (inner._create_function, made, state)  # noqa: SLF001
        inner._save_with_postproc(pickler, reduction, obj=fn, postproc_list=[])  # noqa: SLF001

    def save_buffer(pickler: Any, obj: pickle.PickleBuffer) -> None:
        view = obj.raw()
        if view.nbytes > 1:
            stock.save_picklebuffer(pickler, obj)
        elif view.readonly:
            pickler.save(bytes(view))
        else:
            # Python 3.11's remembers the bytes that it makes of the buffer as what it writes. Bytes of length one and
            # none exist once: the next b"" (in the code of a function) would come back as a bytearray.
            stock.save_bytearray(pickler, bytearray(view))

    table[pickle.PickleBuffer] = save_buffer
    table[dict] = save_dict
    table[FunctionType] = save_function
    return ByValuePickler
