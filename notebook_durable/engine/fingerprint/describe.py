"""A step's code and inputs as one fingerprint, with its parts by name, so that an edit can be told apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from notebook_durable.engine.files import FileDigests
from notebook_durable.engine.fingerprint.call import VERSION, CallDescription, Named
from notebook_durable.engine.fingerprint.code import Codes, Reach
from notebook_durable.engine.fingerprint.content import Contents, Digest, Hasher, Untracked
from notebook_durable.engine.fingerprint.memo import Memos, memo_names
from notebook_durable.engine.fingerprint.scalars import SIMPLE
from notebook_durable.engine.fingerprint.syntax import source_node
from notebook_durable.engine.fingerprint.versions import libraries_text

__all__ = ["VERSION", "Fingerprinter"]

_KEPT = 4096  # functions
_TEXTS = (str, bytes)
_SHORT = 40  # bytes; a value that is written in no more is its own digest


@dataclass(slots=True)
class _Known:
    """What is remembered of a function, as long as it reaches the same code."""

    reach: Reach
    libraries: str
    memos: frozenset[str] | None = None  # found out when it is first asked for
    written: tuple[str, Mapping[str, str]] | None = None


class Fingerprinter:
    """Describes steps by fingerprint; see ``protocols.Describer``. One for a process: it remembers code.

    Args:
        new_hash: makes a hasher, such as ``blake3.blake3``.
    """

    version = VERSION

    def __init__(self, new_hash: Callable[[], Hasher]) -> None:
        self.new_hash = new_hash
        self.codes = Codes(new_hash)
        self.files = FileDigests(new_hash)
        self.memos = Memos(lambda value: self.digest(value).digest)
        self._contents = Contents(new_hash, self.codes)
        self._known: dict[CodeType, _Known] = {}

    def describe(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        ignore: Sequence[str] = (),
        marks: Sequence[tuple[str, Any]] = (),
        files: Sequence[str] = (),
    ) -> CallDescription:
        """Describe a call; see ``protocols.Describer.describe``."""
        target: Any = fn
        named: list[tuple[str, Any]] = []
        if type(fn) is not FunctionType:  # the short way for what happens most
            target, args, kwargs, named = _taken_apart(fn, args, kwargs)
        reach = self.codes.reach(target) if isinstance(target, FunctionType) else None
        call = CallDescription(self, target, reach)
        if reach is not None:
            known = self._known.get(target.__code__)
            if known is None or known.reach.codes is not reach.codes:
                known = self._learn(target, reach)
            call.known, call.libraries = known, known.libraries
            named += reach.values()
        else:
            call.function = self.digest(target).digest
            named += _carried(target)
        named += _arguments(target, args, kwargs)
        if ignore:
            call.names = [name for name, _ in named]
            named = [(name, value) for name, value in named if not _is_named(name, ignore)]
        add = call.inputs.append
        for name, value in named:
            if type(value) is dict and _is_memo(name, call.known):
                call.has_memos = True
                add(Named(name, value, self.digest(self.memos.without_own(value)), memo=True))
            else:
                add(Named(name, value, self.digest(value)))
        for name, value in marks:
            call.inputs.append(Named(name, value, self.digest(value)))
        for path in files:
            call.inputs.append(Named(f"file {path}", path, Digest(self.files.digest(path)), is_file=True))
        return call

    def digest(self, value: Any) -> Digest:
        """Digest a value. Never raises: what can't be looked at counts by its type."""
        simple = SIMPLE.get(type(value))
        if simple is not None and not (type(value) in _TEXTS and len(value) > _SHORT):
            data = simple(value)
            if data is not None and len(data) <= _SHORT:
                return Digest(data)  # the short way for what happens most
        try:
            return self._contents.digest(value)
        except Exception:  # noqa: BLE001  an object that misbehaves when looked at
            name = f"{type(value).__module__}.{type(value).__qualname__}"
            return Digest(name.encode("utf-8", "replace"), (Untracked(name, value),))

    def forget(self) -> None:
        """Let go of the values that were seen."""
        self._contents.forget()

    def _learn(self, target: FunctionType, reach: Reach) -> _Known:
        if len(self._known) >= _KEPT:
            self._known.clear()
        known = _Known(reach, libraries_text(reach.libraries))
        self._known[target.__code__] = known
        return known


def _carried(target: Any) -> list[tuple[str, Any]]:
    """The object that a function without code of the user's works on: of ``rows.append``, or a callable object."""
    if isinstance(target, (BuiltinFunctionType, MethodType)):
        owner = target.__self__
        return [] if owner is None or isinstance(owner, (ModuleType, type)) else [("self", owner)]
    return [] if isinstance(target, (FunctionType, type)) else [("function", target)]


def _is_memo(name: str, known: _Known | None) -> bool:
    if known is None:
        return False
    if known.memos is None:
        known.memos = _memos_of(known.reach)
    return name.rpartition(".")[2] in known.memos


def _memos_of(reach: Reach) -> frozenset[str]:
    """Names of globals and closure values that the reached functions use as memos, and none in another way."""
    names: set[str] = set()
    otherwise: set[str] = set()
    for part in reach.codes.values():
        node = None if part.code is None else source_node(part.code)
        if node is None or part.code is None:
            continue
        found = memo_names(node)
        names |= found
        otherwise |= {*part.code.co_names, *part.code.co_freevars} - found
    return frozenset(names - otherwise)


def _taken_apart(fn: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any, Any, list[Any]]:
    """Take a partial apart, and a method from its object."""
    named: list[tuple[str, Any]] = []
    while isinstance(fn, functools.partial):
        args, kwargs = (*fn.args, *args), {**fn.keywords, **kwargs}
        fn = fn.func
    if isinstance(fn, MethodType) and isinstance(fn.__func__, FunctionType):
        named.append((fn.__code__.co_varnames[0] if fn.__code__.co_argcount else "self", fn.__self__))
        return fn.__func__, _Bound(args), kwargs, named
    return fn, args, kwargs, named


class _Bound(tuple[Any, ...]):
    """Arguments of a method, whose first parameter is taken by its object."""

    __slots__ = ()


def _arguments(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if not args and not kwargs:
        return []
    code = getattr(target, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if isinstance(code, CodeType) else ()
    if type(args) is _Bound:
        names = names[1:]
    named = [(names[i] if i < len(names) else f"argument {i + 1}", value) for i, value in enumerate(args)]
    return named + list(kwargs.items()) if kwargs else named


def _is_named(name: str, wanted: Sequence[str]) -> bool:
    return name in wanted or name.partition(".")[0] in wanted
