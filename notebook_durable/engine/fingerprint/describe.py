"""A step's code and inputs as one fingerprint, with its parts by name, so that an edit can be told apart."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from notebook_durable.engine.files import FileDigests
from notebook_durable.engine.fingerprint.call import VERSION, CallDescription, Named, is_named
from notebook_durable.engine.fingerprint.code import Codes, Reach
from notebook_durable.engine.fingerprint.content import Contents, Digest, Hasher, Untracked
from notebook_durable.engine.fingerprint.family import Family, Item
from notebook_durable.engine.fingerprint.memo import Memos, memo_names
from notebook_durable.engine.fingerprint.origin import is_user_code
from notebook_durable.engine.fingerprint.scalars import SIMPLE
from notebook_durable.engine.fingerprint.syntax import source_node
from notebook_durable.engine.fingerprint.untracked import has_no_content
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
        self._handles: dict[type, tuple[bytes, str]] = {}  # library types that count by type

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
        given = [(name, value, "read") for name, value in named]
        given += _arguments(target, args, kwargs)
        given += [(name, value, "mark") for name, value in marks]
        if len({name for name, _, _ in given}) < len(given):
            given = _told_apart(given)
        if ignore:
            call.names = [name for name, _, kind in given if kind != "mark"]
            given = [one for one in given if one[2] == "mark" or not is_named(one[0], ignore)]
        add = call.inputs.append
        for name, value, kind in given:
            if kind == "read" and type(value) is dict and _is_memo(name, call.known):
                call.has_memos = True
                add(Named(name, value, self.digest(self.memos.without_own(value)), "memo"))
            else:
                add(Named(name, value, self.digest(value), kind))
        for path in files:
            add(Named(f"file {path}", path, Digest(self.files.digest(path)), "file"))
        return call

    def family(
        self,
        fn: Callable[..., Any],
        *,
        keyed: bool = False,
        ignore: Sequence[str] = (),
        marks: Sequence[tuple[str, Any]] = (),
        files: Sequence[str] = (),
    ) -> Family:
        """Describe the calls ``fn(item)`` of all items at once; see ``protocols.Describer.family``."""
        item = Item()
        more = [("key", "")] if keyed else []
        call = self.describe(fn, (item,), {}, ignore=ignore, marks=[*marks, *more], files=files)
        return Family(self, call, item, keyed=keyed)

    def digest(self, value: Any) -> Digest:
        """Digest a value. Never raises: what can't be looked at counts by its type."""
        simple = SIMPLE.get(type(value))
        if simple is not None and not (type(value) in _TEXTS and len(value) > _SHORT):
            data = simple(value)
            if data is not None and len(data) <= _SHORT:
                return Digest(data)  # the short way for what happens most
        try:
            known = self._handles.get(type(value))
            if known is not None:
                return Digest(known[0], (Untracked(known[1], value),))
            digest = self._contents.digest(value)
            if len(digest.untracked) == 1 and has_no_content(type(value)) and not is_user_code(type(value)):
                self._handles[type(value)] = digest.digest, digest.untracked[0].type_name
            return digest
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
    names -= otherwise
    return frozenset(name for name in names if not _read_elsewhere(name, reach)) if names else frozenset()


def _read_elsewhere(name: str, reach: Reach) -> bool:
    """Tell whether another function beside the root reads this global: to that one it is more than a memo."""
    known = {id(part.code) for part in reach.codes.values()}
    for value in list((reach.namespace or {}).values()):
        if type(value) is FunctionType and id(value.__code__) not in known and name in value.__code__.co_names:
            node = source_node(value.__code__)
            if node is None or name not in memo_names(node):
                return True
    return False


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


def _arguments(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    if not args and not kwargs:
        return []
    code = getattr(target, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if isinstance(code, CodeType) else ()
    if type(args) is _Bound:
        names = names[1:]
    given = [(names[i] if i < len(names) else f"argument {i + 1}", value, "argument") for i, value in enumerate(args)]
    return given + [(name, value, "keyword") for name, value in kwargs.items()] if kwargs else given


def _told_apart(given: list[tuple[str, Any, str]]) -> list[tuple[str, Any, str]]:
    """Give inputs of one name names of their own: a parameter `x`, and a global `x` that a helper reads."""
    counts = Counter(name for name, _, _ in given)
    names: list[str] = []
    for name, _, kind in given:
        own = name if counts[name] == 1 or kind == "argument" else f"{name} ({kind})"
        while own in names:
            own += "'"
        names.append(own)
    return [(name, value, kind) for name, (_, value, kind) in zip(names, given, strict=True)]
