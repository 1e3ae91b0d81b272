"""Functions and classes of the user's as digests, with everything of the user's that they reach.

A function reaches what its bytecode reads: other functions and classes, in this cell, other cells and the user's own
modules. Library functions count by name. Data that is read on the way (globals, closure values, defaults, class
attributes) is handed out as named inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from notebook_durable.engine.fingerprint.content import Contents, Digest, Hasher, Untracked
from notebook_durable.engine.fingerprint.normal import canonical
from notebook_durable.engine.fingerprint.origin import is_own_module, is_user_code, library_name
from notebook_durable.engine.fingerprint.reach import Own, Part, Reach
from notebook_durable.engine.fingerprint.reads import reads_of
from notebook_durable.engine.fingerprint.syntax import source_node
from notebook_durable.engine.fingerprint.walk import Walk

__all__ = ["Codes", "Part", "Reach"]

_KEPT = 2048  # code objects; a cell that is run again and again makes new ones each time


class Codes:
    """Digests code. One for a process: it remembers each code object.

    Args:
        new_hash: makes a hasher.
    """

    def __init__(self, new_hash: Callable[[], Hasher]) -> None:
        self._new_hash = new_hash
        self._own: dict[int, tuple[CodeType, Own]] = {}
        self._reaches: dict[int, tuple[Any, Reach]] = {}
        self._contents = Contents(new_hash, self)
        self._busy: dict[int, Any] = {}  # in work (None) or done, while the outermost digest lasts
        self._held: list[Any] = []  # so that their ids stay theirs

    # -- as the code of a step

    def reach(self, root: Any) -> Reach:
        """Collect what a function, class or module reaches.

        Args:
            root: a library's counts by name, but the user's code that it wraps is followed.

        Returns:
            The same object as before while nothing was redefined and the root has no closure values or defaults;
            otherwise, for the same code, one with the same ``codes`` object.
        """
        function = type(root) is FunctionType
        key = root.__code__ if function else root
        known = self._reaches.get(id(key))
        if known is not None and known[0] is key:
            reach = known[1]
            if (not function or (reach.namespace is root.__globals__ and reach.fits(root))) and reach.holds():
                return Reach(*reach[:-1], root) if reach.own else reach
        reach = Walk(self.own, self.hash).collect(root)
        if len(self._reaches) >= _KEPT:
            self._reaches.pop(next(iter(self._reaches)))
        # Without the root: a closure that holds a large frame must not be kept alive.
        self._reaches[id(key)] = key, Reach(*reach[:-1], None) if reach.own else reach
        return reach

    def own(self, code: CodeType) -> Own:
        """Return the digest of a code object's own text, and what it reads."""
        known = self._own.get(id(code))
        if known is not None:
            return known[1]
        if len(self._own) >= _KEPT:
            self._own.pop(next(iter(self._own)))
        node = source_node(code)
        text = canonical(node) if node is not None else bytecode(code)
        reads = reads_of(code)
        digest = self.hash(b"source" if node is not None else b"bytecode", text)
        # Sorted: versions of Python read in another order (comprehensions are part of the function since 3.12).
        own = Own(digest, tuple(sorted(reads.chains)), reads.imports, reads.names, reads.stored, node is not None)
        self._own[id(code)] = code, own
        return own

    # -- as a part of values

    def digest(self, value: Any) -> Digest:
        """Return one digest of a function or class with all that it reaches, data included."""
        if not is_user_code(value):
            wraps = type(value) is FunctionType and (value.__closure__ or value.__dict__)
            if not wraps:
                return Digest(self.hash(b"library", library_name(value).encode("utf-8", "surrogatepass")))
        return self._whole(value)

    def module(self, module: ModuleType) -> Digest:
        """Return a digest of a module that is used as a value: a user's with all it defines, others by name."""
        if not is_own_module(module):
            return Digest(self.hash(b"module", module.__name__.encode()))
        return self._whole(module)

    def _whole(self, value: Any) -> Digest:
        mark = id(value)
        if mark in self._busy:  # what it has of parts without content was told the first time
            done: bytes | None = self._busy[mark]
            return Digest(self.hash(b"itself", library_name(value).encode()) if done is None else done)
        outermost = not self._busy
        self._busy[mark] = None
        self._held.append(value)
        try:
            reach = self.reach(value)
            parts = [reach.digest]
            untracked: list[Untracked] = []
            for label, data in (*reach.values(), *_attributes(value)):
                found = self._contents.digest(data)
                parts += (label.encode("utf-8", "surrogatepass"), found.digest)
                untracked += found.untracked
            digest = self._busy[mark] = self.hash(*parts)
        finally:
            if outermost:
                self._busy.clear()
                self._held.clear()
        return Digest(digest, tuple(untracked))

    def hash(self, *parts: bytes) -> bytes:
        """Digest parts, each told apart from the next."""
        hasher = self._new_hash()
        hasher.update(b"".join([len(part).to_bytes(8, "little") + part for part in parts]))
        return hasher.digest()[:16]


def _attributes(value: Any) -> list[tuple[str, Any]]:
    """What was noted on a function: ``score.rate = 2``."""
    if type(value) is not FunctionType or not is_user_code(value):
        return []
    return [(f".{name}", held) for name, held in sorted(value.__dict__.items()) if not name.startswith("__")]


def bytecode(code: CodeType) -> bytes:
    """What there is of a function without source, without line numbers. It differs between versions of Python."""
    numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    told = [code.co_code, repr(numbers).encode(), repr(names).encode("utf-8", "surrogatepass")]
    return b"\0".join([*told, *map(_const, code.co_consts)])


def _const(value: Any) -> bytes:
    if isinstance(value, CodeType):
        return bytecode(value)
    if isinstance(value, frozenset):  # its order is another one in each process
        return b"{" + b",".join(sorted(map(_const, value))) + b"}"
    if isinstance(value, tuple):
        return b"(" + b",".join(map(_const, value)) + b")"
    return f"{type(value).__name__}:{value!r}".encode("utf-8", "surrogatepass")
