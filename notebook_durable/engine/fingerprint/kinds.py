"""How each kind of value is written down: containers, code, objects by the parts of their own ``__reduce_ex__``."""

from __future__ import annotations

import array
import collections
import copyreg
import functools
import io
import logging
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from notebook_durable.engine.fingerprint.content import Walk
from notebook_durable.engine.fingerprint.libraries import BY_NAME
from notebook_durable.engine.fingerprint.origin import is_user_code, library_name
from notebook_durable.engine.fingerprint.scalars import flat
from notebook_durable.engine.fingerprint.untracked import has_no_content, is_hidden_generator

__all__ = ["handler_for"]

Handler = Callable[[Walk, Any], bytes]

# Library classes that hold what they are given: part by part, as lists do. Others count whole or not at all.
_HOLDERS = frozenset({"builtins", "collections", "types", "functools", "copyreg", "operator", "copy", "itertools"})
# Notes that an object makes of itself on the way, which are no part of what it means.
_NO_STATE: dict[str, Callable[[str], bool]] = {
    "scipy": lambda name: name.startswith("_has_"),
    "networkx": lambda name: name == "__networkx_cache__",
}


def handler_for(kind: type) -> Handler:
    """Return the function that writes objects of a type down."""
    exact = _EXACT.get(kind)
    if exact is not None:
        return exact
    for base, put in _DERIVED:
        if issubclass(kind, base):
            return put
    own = is_user_code(kind)
    for base in kind.__mro__:
        module = base.__module__ if isinstance(base.__module__, str) else ""
        known = BY_NAME.get((module.partition(".")[0], base.__qualname__))
        if known is not None:
            return _library_value(kind, known)
    if has_no_content(kind) and not (own and not _derives_from_handle(kind)):
        return _no_content(own)
    return _object(kind, own)


def _derives_from_handle(kind: type) -> bool:
    """A user's own iterator has its state; a user's own Thread or Session has not."""
    return any(not is_user_code(base) and base is not object and has_no_content(base) for base in kind.__mro__)


def _no_content(own: bool) -> Handler:
    def put(walk: Walk, value: Any) -> bytes:
        return walk.without_content(value, walk.code(type(value)) if own else b"")

    return put


def _library_value(kind: type, known: Handler) -> Handler:
    def put(walk: Walk, value: Any) -> bytes:
        return b"@" + walk.code(kind) + known(walk, value)

    return put


# --- objects --------------------------------------------------------------------------------


def _object(kind: type, own: bool) -> Handler:
    top = kind.__module__.partition(".")[0] if isinstance(kind.__module__, str) else ""
    cached = frozenset(
        name
        for base in kind.__mro__
        for name, member in vars(base).items()
        if isinstance(member, functools.cached_property) or type(member).__name__ == "cached_property"
    )
    dropped = _NO_STATE.get(top)

    def is_state(name: str) -> bool:
        return name not in cached and not (dropped is not None and dropped(name))

    def put(walk: Walk, value: Any) -> bytes:
        if is_hidden_generator(value):
            return b"global random state" + walk.code(kind)
        try:
            reduce = copyreg.dispatch_table.get(kind)
            parts: Any = reduce(value) if reduce is not None else value.__reduce_ex__(5)
        except RecursionError:
            raise  # we are deep; it is tried again from here
        except Exception:  # noqa: BLE001  whatever its authors raise
            parts = None
        if not isinstance(parts, (str, tuple)):
            return walk.without_content(value, walk.code(kind) if own else b"")
        return _reduced(walk, kind, parts, is_state)

    def put_whole(walk: Walk, value: Any) -> bytes:
        return walk.whole(value, lambda: put(walk, value))

    return put if own or top in _HOLDERS else put_whole


def _reduced(walk: Walk, kind: type, parts: Any, is_state: Callable[[str], bool]) -> bytes:
    written = [b"&", walk.code(kind)]
    if isinstance(parts, str):
        return b"".join([*written, walk.text(parts)])
    make, args, state, items, pairs = (*parts, None, None, None)[:5]
    written += (walk.piece(make), walk.pieces(args or ()))
    if type(state) is tuple and len(state) == 2 and all(part is None or type(part) is dict for part in state):
        written += [_state(walk, part, is_state) for part in state]  # with __slots__
    else:
        written.append(_state(walk, state, is_state))
    for more in (items, pairs):
        written.append(b"-" if more is None else walk.pieces(list(more)))
    return b"".join(written)


def _state(walk: Walk, state: Any, is_state: Callable[[str], bool]) -> bytes:
    if type(state) is not dict or not all(type(name) is str for name in state):
        return walk.piece(state)
    # In which order attributes were set has no meaning. Some keep their attributes one level down (pydantic).
    written = [
        walk.text(name) + (_state(walk, state[name], is_state) if name == "__dict__" else walk.piece(state[name]))
        for name in sorted(state)
        if is_state(name)
    ]
    return b"state" + len(written).to_bytes(8, "little") + b"".join(written)


# --- containers -----------------------------------------------------------------------------


def _sequence(walk: Walk, value: Any) -> bytes:
    plain = flat(value)
    return b"plain" + plain if plain is not None else type(value).__name__.encode() + walk.pieces(value)


def _dict(walk: Walk, value: Any) -> bytes:
    plain = flat(value)
    return b"plain" + plain if plain is not None else b"dict" + _pairs(walk, value)


def _pairs(walk: Walk, value: Any) -> bytes:
    written = [walk.piece(key) + walk.piece(item) for key, item in list(value.items())]
    return len(written).to_bytes(8, "little") + b"".join(written)


def _set(walk: Walk, value: Any) -> bytes:
    return type(value).__name__.encode() + walk.unordered(value)


def _bytes_like(walk: Walk, value: Any) -> bytes:
    return type(value).__name__.encode() + walk.buffer(value)


def _memoryview(walk: Walk, value: memoryview) -> bytes:
    return b"memoryview" + walk.text(value.format) + walk.pieces(value.shape or ()) + walk.buffer(value)


def _array(walk: Walk, value: Any) -> bytes:
    if type(value) is not array.array:
        return b"array" + walk.code(type(value)) + walk.text(value.typecode) + walk.buffer(value)
    return b"array" + walk.text(value.typecode) + walk.buffer(value)


def _range(walk: Walk, value: Any) -> bytes:
    return type(value).__name__.encode() + walk.pieces((value.start, value.stop, value.step))


def _view(name: str, parts: Callable[[Any], Iterable[Any]]) -> Handler:
    def put(walk: Walk, value: Any) -> bytes:
        return name.encode() + walk.pieces(parts(value))

    return put


def _proxy(walk: Walk, value: Any) -> bytes:
    return b"mappingproxy" + _pairs(walk, value)


# --- code -----------------------------------------------------------------------------------


def _code(walk: Walk, value: Any) -> bytes:
    return b"code" + walk.code(value)


def _method(walk: Walk, value: MethodType) -> bytes:
    return b"method" + walk.piece(value.__func__) + walk.piece(value.__self__)


def _builtin(walk: Walk, value: Any) -> bytes:
    owner = getattr(value, "__self__", None)
    bound = b"" if owner is None or isinstance(owner, ModuleType) else walk.piece(owner)
    return b"builtin" + walk.text(library_name(value)) + bound


def _partial(walk: Walk, value: Any) -> bytes:
    return b"partial" + walk.piece(value.func) + walk.pieces(value.args) + _pairs(walk, value.keywords)


def _wrapped(walk: Walk, value: Any) -> bytes:
    return type(value).__name__.encode() + walk.piece(value.__wrapped__)


def _module(walk: Walk, value: ModuleType) -> bytes:
    return b"module" + walk.module(value)


def _property(walk: Walk, value: property) -> bytes:
    return b"property" + walk.pieces((value.fget, value.fset, value.fdel))


# --- others ---------------------------------------------------------------------------------


def _enum(walk: Walk, value: Any) -> bytes:
    inner = getattr(value, "_value_", None)
    return b"enum" + walk.code(type(value)) + walk.text(str(value.name)) + walk.piece(inner)


def _path(walk: Walk, value: PurePath) -> bytes:
    code = walk.code(type(value)) if is_user_code(type(value)) else walk.text(type(value).__name__)
    return b"path" + code + walk.text(str(value))


def _logger(walk: Walk, value: Any) -> bytes:
    return b"logger" + walk.text(str(getattr(value, "name", "")))


def _memory_file(walk: Walk, value: Any) -> bytes:
    if value.closed:
        return walk.without_content(value)
    return b"memory file" + walk.pieces((type(value).__name__, value.getvalue(), value.tell()))


class _Slot:
    __slots__ = ("x",)


_EXACT: dict[type, Handler] = {
    list: _sequence,
    tuple: _sequence,
    dict: _dict,
    set: _set,
    frozenset: _set,
    bytearray: _bytes_like,
    memoryview: _memoryview,
    io.StringIO: _memory_file,
    io.BytesIO: _memory_file,
    range: _range,
    slice: _range,
    type({}.keys()): _view("keys", list),
    type({}.values()): _view("values", list),
    type({}.items()): _view("items", list),
    type(collections.OrderedDict().keys()): _view("keys", list),
    type(collections.OrderedDict().values()): _view("values", list),
    type(collections.OrderedDict().items()): _view("items", list),
    MappingProxyType: _proxy,
    FunctionType: _code,
    MethodType: _method,
    BuiltinFunctionType: _builtin,
    WrapperDescriptorType: _builtin,
    MethodDescriptorType: _builtin,
    type("".__str__): _builtin,
    staticmethod: _wrapped,
    classmethod: _wrapped,
    property: _property,
    type(functools.cache(len)): _wrapped,
    type(_Slot.x): _builtin,  # type: ignore[attr-defined]
}
_DERIVED: tuple[tuple[type, Handler], ...] = (
    (type, _code),
    (Enum, _enum),
    (PurePath, _path),
    (ModuleType, _module),
    (functools.partial, _partial),
    (logging.Logger, _logger),
    (logging.LoggerAdapter, _logger),
    (array.array, _array),
)
