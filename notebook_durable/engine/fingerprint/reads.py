"""What a function's bytecode reads. Not by name alone: ``df.count`` reads no global called ``count``."""

from __future__ import annotations

import opcode
import sys
from collections.abc import Iterator
from types import CodeType
from typing import NamedTuple

__all__ = ["Import", "Reads", "reads_of"]

_OP = opcode.opmap
_EXTENDED = _OP["EXTENDED_ARG"]
_GLOBAL = _OP["LOAD_GLOBAL"]
# In class bodies and exec'd text; the last two in the annotations and type parameters of 3.12 and later.
_NAMED = frozenset(_OP[op] for op in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if op in _OP)
_ATTRIBUTE = _OP["LOAD_ATTR"]
_METHOD = _OP.get("LOAD_METHOD", -1)  # up to 3.11
_STORE_GLOBAL, _STORE_NAME = _OP["STORE_GLOBAL"], _OP["STORE_NAME"]
_STORE_ATTR = _OP["STORE_ATTR"]
_IMPORT, _FROM = _OP["IMPORT_NAME"], _OP["IMPORT_FROM"]
_SMALL_INT = _OP.get("LOAD_SMALL_INT", -1)  # from 3.14
_CONST = _OP["LOAD_CONST"]
_STORES, _LOADED = (_STORE_GLOBAL, _STORE_NAME), (_CONST, _SMALL_INT)
_NAMED_ANEW = _OP.get("CALL_INTRINSIC_1", -1)  # from 3.12
_JUMPS = frozenset([*opcode.hasjrel, *opcode.hasjabs, *getattr(opcode, "hasjump", ())])
# What may stand between a name and its attribute without meaning anything.
_BETWEEN = frozenset(_OP[name] for name in ("CACHE", "EXTENDED_ARG", "NOP", "NOT_TAKEN") if name in _OP)
_ATTRIBUTE_SHIFT = 1 if sys.version_info >= (3, 12) else 0


class Import(NamedTuple):
    """An import statement inside a function.

    Attributes:
        module: as written: ``pkg.mod``, or "" in ``from . import mod``.
        level: leading dots.
        names: after ``from ... import``; empty for a plain import.
    """

    module: str
    level: int
    names: tuple[str, ...]


class Reads(NamedTuple):
    """What a code object and those inside it read.

    Attributes:
        chains: each global with the attributes read from it at once: ``("np", "linalg", "norm")``. One that is
            surely assigned before it is read is no input, neither is one that is only assigned or deleted.
        imports: import statements inside.
        names: every name in the bytecode, and texts that look like one, to tell what may be read from an imported
            module or a function.
        stored: names of attributes that are assigned.
    """

    chains: tuple[tuple[str, ...], ...]
    imports: tuple[Import, ...]
    names: frozenset[str]
    stored: frozenset[str]


def reads_of(code: CodeType) -> Reads:
    """Collect what is read, in the order of its first appearance."""
    scan = _Scan()
    todo = [code]
    while todo:
        current = todo.pop(0)
        scan.add(current)
        todo.extend(const for const in current.co_consts if isinstance(const, CodeType))
    return Reads(tuple(scan.chains), tuple(scan.imports), frozenset(scan.names), frozenset(scan.stored))


def _guarded(code: CodeType) -> frozenset[int]:
    """Find the instructions that may fail and be passed over: inside of ``try`` and ``with``."""
    raw = code.co_code
    found: set[int] = set()
    numbers = _numbers(code.co_exceptiontable)
    for start, length, target, _ in zip(numbers, numbers, numbers, numbers, strict=False):
        # What is around a whole generator or coroutine lets nothing pass: it only names the error anew.
        if raw[2 * target] != _NAMED_ANEW:
            found.update(range(start, start + length))
    return frozenset(found)


def _numbers(table: bytes) -> Iterator[int]:
    """Read the numbers of an exception table: six bits in each byte, and whether more follow."""
    value = 0
    for byte in table:
        value = value << 6 | byte & 0x3F
        if not byte & 0x40:
            yield value
            value = 0


class _Scan:
    def __init__(self) -> None:
        self.chains: dict[tuple[str, ...], None] = {}
        self.imports: dict[Import, None] = {}
        self.names: set[str] = set()
        self.stored: set[str] = set()
        self._assigned: set[str] = set()  # globals that the root has surely assigned by now
        self._is_root = True

    def add(self, code: CodeType) -> None:
        names, raw = code.co_names, code.co_code
        self.names.update(const for const in code.co_consts if type(const) is str and const.isidentifier())
        if not names:
            self._is_root = False
            return
        self.names.update(names)
        own = set(self._assigned)
        chain: list[str] = []
        extended, straight = 0, True
        history: list[tuple[int, int]] = []
        guarded = _guarded(code) if _STORE_GLOBAL in raw[::2] else frozenset()
        for place, (op, low) in enumerate(zip(raw[::2], raw[1::2], strict=True)):
            argument = low | extended
            extended = argument << 8 if op == _EXTENDED else 0
            if op == _GLOBAL or op in _NAMED:
                self._end(chain, own)
                chain = [names[argument >> 1 if op == _GLOBAL else argument]]
            elif chain and op == _ATTRIBUTE:
                chain.append(names[argument >> _ATTRIBUTE_SHIFT])
            elif chain and op == _METHOD:
                chain.append(names[argument])
            elif op not in _BETWEEN:
                self._end(chain, own)
                chain = []
                if op in _STORES:
                    if straight and place not in guarded:
                        self._assign(op, names[argument], own)
                elif op == _STORE_ATTR:
                    self.stored.add(names[argument])
                elif op == _IMPORT:
                    self._import(code, names[argument], history)
                elif op in _JUMPS:
                    straight = False
                if op in _LOADED:
                    history.append((op, argument))
        self._end(chain, own)
        self._is_root = False

    def _end(self, chain: list[str], assigned: set[str]) -> None:
        if chain and chain[0] not in assigned:
            self.chains[tuple(chain)] = None

    def _assign(self, op: int, name: str, own: set[str]) -> None:
        own.add(name)
        if op == _STORE_GLOBAL and self._is_root:
            self._assigned.add(name)  # also for the functions inside

    def _import(self, code: CodeType, module: str, history: list[tuple[int, int]]) -> None:
        """``IMPORT_NAME`` stands after the loads of its level and its list of names."""
        (level_op, level), (_, names) = history[-2:]
        listed = code.co_consts[names]
        dots = level if level_op == _SMALL_INT else code.co_consts[level]
        self.imports[Import(module, int(dots), tuple(listed or ()))] = None
