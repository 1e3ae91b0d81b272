"""What the picklers treat in their own way: functions, classes, modules, exceptions; and what they refuse.

Both picklers (C, and dill's in Python) ask :meth:`Rules.reducer_override` about every object that is not of a simple
built-in type, so each value is treated alike by both. The answers are pickle's own: ``NotImplemented`` means "as
usual", text means "by this name", a tuple is a reduction as from ``__reduce__``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from notebook_durable.errors import NotStorableError
from notebook_durable.serializers.arrays import array_rule
from notebook_durable.serializers.exceptions import reduce_exception
from notebook_durable.serializers.names import type_name

__all__ = ["LOCAL_CLASS", "NeedsDillError", "Rules", "refusal"]

LOCAL_CLASS = "its class is defined inside a function: define it in a cell"

Rule = Callable[["Rules", Any], Any]


class NeedsDillError(Exception):
    """The C pickler met a function or a local class: only dill can write it down, by value."""


# By module and name, looked up over all bases of a class, because importing asyncio or sqlite3 to name a class costs
# more than a whole small run. Those that pickle refuses by itself are here if their insides would be named instead.
_LIVE = "it belongs to the process that made it"
_REFUSED: dict[tuple[str, str], str] = {
    # asyncio's locks, events and queues pickle fine, and come back as new ones that nobody else holds.
    ("asyncio.mixins", "_LoopBoundMixin"): "it belongs to one event loop",
    ("asyncio.events", "AbstractEventLoop"): _LIVE,
    ("asyncio.events", "Handle"): "it belongs to one event loop",
    ("asyncio.streams", "StreamReader"): _LIVE,
    ("asyncio.streams", "StreamWriter"): _LIVE,
    ("_asyncio", "Future"): "it belongs to one event loop: return its result",
    ("asyncio.futures", "Future"): "it belongs to one event loop: return its result",
    ("_thread", "lock"): _LIVE,
    ("_thread", "RLock"): _LIVE,
    ("threading", "_RLock"): _LIVE,
    ("threading", "Barrier"): _LIVE,
    ("threading", "Condition"): _LIVE,
    ("threading", "Event"): _LIVE,
    ("threading", "Semaphore"): _LIVE,
    ("threading", "Thread"): _LIVE,
    ("_threading_local", "local"): _LIVE,
    ("queue", "Queue"): "other threads wait on it: return its items",
    ("concurrent.futures._base", "Executor"): _LIVE,
    ("concurrent.futures._base", "Future"): "it belongs to its executor: return its result",
    ("multiprocessing.process", "BaseProcess"): _LIVE,
    ("multiprocessing.pool", "Pool"): _LIVE,
    ("subprocess", "Popen"): "it stands for a running program",
    ("socket", "socket"): "an open connection",
    ("_socket", "socket"): "an open connection",
    ("selectors", "BaseSelector"): _LIVE,
    ("sqlite3", "Connection"): "an open connection",
    ("sqlite3", "Cursor"): "it belongs to an open connection: fetch its rows",
    ("_io", "_IOBase"): "an open file",
    ("tempfile", "_TemporaryFileWrapper"): "an open file",
    ("tempfile", "TemporaryDirectory"): "its folder is deleted with it",
    ("mmap", "mmap"): "memory that belongs to an open file",
    ("numpy", "memmap"): "an array over an open file: return numpy.array(it)",
    ("numpy.memmap", "memmap"): "an array over an open file: return numpy.array(it)",
    ("zipfile", "ZipFile"): "an open file",
    ("tarfile", "TarFile"): "an open file",
    ("weakref", "WeakValueDictionary"): "its values live elsewhere",
    ("weakref", "WeakKeyDictionary"): "its keys live elsewhere",
    ("_weakrefset", "WeakSet"): "its items live elsewhere, so it would come back empty",
    ("weakref", "finalize"): _LIVE,
    # pickle looks through a proxy, so it would come back as a copy of what it stands for.
    ("weakref", "ProxyType"): "it stands for an object that lives elsewhere",
    ("weakref", "CallableProxyType"): "it stands for an object that lives elsewhere",
    ("IPython.core.interactiveshell", "InteractiveShell"): _LIVE,
    ("ipywidgets.widgets.widget", "Widget"): "its other half lives in the browser",
    ("logging", "Handler"): _LIVE,
    # These pickle as an iterator over a list: another type.
    ("builtins", "dict_keyiterator"): "an iterator: return list(...)",
    ("builtins", "dict_valueiterator"): "an iterator: return list(...)",
    ("builtins", "dict_itemiterator"): "an iterator: return list(...)",
    ("builtins", "dict_reversekeyiterator"): "an iterator: return list(...)",
    ("builtins", "dict_reversevalueiterator"): "an iterator: return list(...)",
    ("builtins", "dict_reverseitemiterator"): "an iterator: return list(...)",
    ("builtins", "odict_iterator"): "an iterator: return list(...)",
    ("builtins", "set_iterator"): "an iterator: return list(...)",
    # pickle refuses them in words that don't help.
    ("builtins", "generator"): "it can't be started again from the middle: return list(...)",
    ("builtins", "async_generator"): "it can't be started again from the middle: collect its items",
    ("builtins", "coroutine"): "it was never awaited",
    ("builtins", "memoryview"): "a view of memory: return bytes(...)",
    ("builtins", "mappingproxy"): "a view of another dict: return dict(...)",
}
# By name only: each module that Cython made has such types of its own.
_COMPILED_FUNCTIONS = frozenset(
    {"builtin_function_or_method", "cython_function_or_method", "fused_cython_function", "_cython_function_or_method"}
)
# Buffers in memory are files by inheritance only.
_IN_MEMORY = frozenset({("_io", "BytesIO"), ("_io", "StringIO")})


def refusal(cls: type) -> str | None:
    """Return why instances of ``cls`` are never stored, None if nothing is known against them."""
    for base in cls.__mro__:
        key = (base.__module__, base.__name__)
        if key in _IN_MEMORY:
            return None
        if key in _REFUSED:
            return _REFUSED[key]
        if base.__module__ == "itertools":
            # They pickle until Python 3.13, and can be loaded no more by 3.14.
            return "an iterator: return list(...)"
    return None


class Rules:
    """The common part of both picklers; see the module's docstring."""

    # Whether functions and local classes can be written (dill's pickler) or only named (C pickle).
    by_value = False
    # Whether exceptions keep their __cause__.
    keep_cause = True

    def reducer_override(self, obj: Any, /) -> Any:
        # Called once per object, 200,000 times for 200,000 dataclass instances: one lookup for all but the first.
        cls = type(obj)
        try:
            rule = self._known[cls]
        except KeyError:
            rule = self._known[cls] = _cached_rule(cls)
        except AttributeError:
            # Not in __init__: C pickle's is a positional affair, and a value without such objects needs no dict.
            self._known: dict[type, Rule | None] = {}
            rule = self._known[cls] = _cached_rule(cls)
        return NotImplemented if rule is None else rule(self, obj)

    def met(self) -> tuple[Collection[type], Collection[str]]:
        """Return the types of all objects that were written, and the modules of functions and classes among them."""
        return vars(self).get("_known", ()), vars(self).get("_modules", ())

    def note(self, module: str | None) -> None:
        """Take down that something of this module is named in the pickle."""
        if module is not None:
            vars(self).setdefault("_modules", set()).add(module)


# Kept from value to value: a frame of 1 MB meets 26 types, which took 30 us of the 280 that writing it takes.
_RULES: WeakKeyDictionary[type, Rule | None] = WeakKeyDictionary()


def _cached_rule(cls: type) -> Rule | None:
    try:
        return _RULES[cls]
    except KeyError:
        rule = _RULES[cls] = _rule_for(cls)
        return rule


def _rule_for(cls: type) -> Rule | None:
    if issubclass(cls, type):
        return _reduce_class
    if cls is FunctionType:
        return _reduce_function
    if cls.__name__ in _COMPILED_FUNCTIONS:
        return _note_function
    if issubclass(cls, ModuleType):
        return _reduce_module
    if issubclass(cls, BaseException):
        return _reduce_exception
    rule = array_rule(cls)
    if rule is not None:
        return rule  # type: ignore[no-any-return]
    why = refusal(cls)
    if why is not None:

        def refuse(rules: Rules, obj: Any) -> Any:  # doesn't hold `cls`, which would never be freed then
            if rules.by_value and type(obj) is MappingProxyType:
                return NotImplemented  # part of local dataclasses, and dill writes them
            raise NotStorableError(type_name(type(obj)), "", why)

        return refuse
    return None


def find(module: str, qualname: str) -> Any:
    """Return what ``module.qualname`` names now, None if nothing."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _note_function(rules: Rules, fn: Any) -> Any:
    rules.note(fn.__module__)
    return NotImplemented


def _reduce_class(rules: Rules, cls: type) -> Any:
    module, name = cls.__module__, cls.__qualname__
    rules.note(module)
    if "<locals>" in name:
        # Local: there is no name under which a fresh kernel could have it.
        if not rules.by_value:
            raise NeedsDillError
        if type(cls).__module__ == "enum" or (cls.__bases__ == (tuple,) and hasattr(cls, "_fields")):
            # dill writes them and can't load the Enum; the NamedTuple loses its methods.
            raise NotStorableError(type_name(cls), "", LOCAL_CLASS)
        return NotImplemented
    if module == "builtins":
        if cls is type(None) or cls is type(...) or cls is type(NotImplemented):
            return NotImplemented
        if find(module, name) is cls:
            return name if rules.by_value else NotImplemented
        # `function`, `code` and the like have no name in builtins; dill knows them by one of its own.
        if rules.by_value:
            return NotImplemented
        raise NeedsDillError
    found = find(module, name)
    if found is cls:
        return name if rules.by_value else NotImplemented
    if module not in sys.modules:
        # Let the pickler import it.
        return name if rules.by_value else NotImplemented
    state = "no longer defined" if found is None else "now something else (its cell was run again after this was made)"
    raise NotStorableError(type_name(cls), "", f"its class is found by name, and {module}.{name} is {state}")


def _reduce_function(rules: Rules, fn: FunctionType) -> Any:
    # A function of a library is named. One of the notebook is not: its cell may be another when the value is read.
    if fn.__module__ not in (None, "__main__") and find(fn.__module__, fn.__qualname__) is fn:
        rules.note(fn.__module__)
        return fn.__qualname__ if rules.by_value else NotImplemented
    if rules.by_value:
        return NotImplemented
    raise NeedsDillError


def _reduce_module(_rules: Rules, module: ModuleType) -> Any:
    if sys.modules.get(module.__name__) is not module:
        raise NotStorableError("module", "", f"it is not the module that `import {module.__name__}` gives")
    return importlib.import_module, (module.__name__,)


def _reduce_exception(rules: Rules, error: BaseException) -> Any:
    return reduce_exception(error, keep_cause=rules.keep_cause)
