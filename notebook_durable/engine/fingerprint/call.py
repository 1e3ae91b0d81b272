"""One described call: its inputs and their digests, and what can be told of them."""

from __future__ import annotations

import builtins
import functools
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from notebook_durable.engine.files import is_url, path_key
from notebook_durable.engine.fingerprint.content import Digest
from notebook_durable.engine.fingerprint.reach import MISSING
from notebook_durable.engine.fingerprint.shorts import short
from notebook_durable.engine.source import source_text
from notebook_durable.parts import Code, Function, Input, Parts, text_id
from notebook_durable.redact import redact

if TYPE_CHECKING:
    from notebook_durable.engine.fingerprint.code import Reach
    from notebook_durable.engine.fingerprint.describe import Fingerprinter

__all__ = ["VERSION", "CallDescription", "Named", "input_head", "is_named"]

#: Of the definition of a fingerprint. Entries with another one (format 1 had none) are found by name and order.
VERSION = 2

# Their content can't change, so it needn't be looked at again after the step.
_FIXED = (type(None), bool, int, float, complex, str, bytes, type, FunctionType, ModuleType, PurePath, Enum)
#: Looks like the path of a file or a URL: a separator or a suffix, and nothing that a sentence or a query has.
_PATH = re.compile(
    r"[^\s*?<>|\"';=()]*[/\\][^\s*?<>|\"';=()]+"  # data/orders, sqlite:///orders.db
    r"|[^\n*?<>|\"';=()]*[^\s*?<>|\"';=()./\\]\.[A-Za-z]\w{0,7}"  # orders.csv, my orders.csv
)
_LONGEST_PATH = 1024


class Named(NamedTuple):
    """One input.

    Attributes:
        name: unique in its call.
        value: what was given; for files and marks of ours what is told of it.
        digest: of its content.
        kind: "read" by the code (globals, closure values, defaults), "argument", "keyword", "mark", "file", "effect" or
            "memo". Part of the fingerprint: a parameter and a global of one name are two things.
    """

    name: str
    value: Any
    digest: Digest
    kind: str

    @property
    def is_ours(self) -> bool:
        return self.kind in ("file", "effect")


class CallDescription:
    """See ``protocols.Description``."""

    __slots__ = (
        "_before",
        "_fingerprint",
        "_maker",
        "_names",
        "_reach",
        "_target",
        "function",
        "has_memos",
        "inputs",
        "known",
        "libraries",
    )

    def __init__(self, maker: Fingerprinter, target: Any, reach: Reach | None) -> None:
        self._maker = maker
        self._target = target
        self._reach = reach
        self._fingerprint = ""
        self._before: dict[str, tuple[Any, ...]] = {}
        self.function = b""
        self.inputs: list[Named] = []
        self._names: list[str] | None = None
        self.libraries = ""
        self.has_memos = False
        self.known: Any = None

    @property
    def fingerprint(self) -> str:
        if not self._fingerprint:
            pieces = [self.root]
            # By name: in which order bytecode reads its globals differs between versions of Python.
            for kind, name, digest in sorted([(named[3], named[0], named[2][0]) for named in self.inputs]):
                pieces += (input_head(kind, name, len(digest)), digest)
            hasher = self._maker.new_hash()
            hasher.update(b"".join(pieces))
            self._fingerprint = hasher.digest()[:16].hex()
            if self.has_memos:
                self._before = {named.name: tuple(named.value) for named in self.inputs if named.kind == "memo"}
        return self._fingerprint

    @property
    def root(self) -> bytes:
        """Digest of the code."""
        return self.function if self._reach is None else self._reach.digest

    def digest_of(self, value: Any) -> bytes:
        """Digest a value as inputs are."""
        return self._maker.digest(value).digest

    @property
    def tracked(self) -> bool:
        return not any(named.digest.untracked for named in self.inputs)

    @property
    def names(self) -> Sequence[str]:
        return [named.name for named in self.inputs] if self._names is None else self._names

    @names.setter
    def names(self, names: list[str]) -> None:
        self._names = names

    def mark(self, name: str, value: bytes, short: str) -> None:
        self.inputs.append(Named(name, short, Digest(value), "effect"))

    def things(self) -> Sequence[Any]:
        found = [part for named in self.inputs for part in named.digest.untracked]
        # Neither ctx nor the state that belongs to nobody.
        return [part.value for part in found if not part.type_name.startswith(("notebook_durable.", "global "))]

    def values(self) -> Sequence[Any]:
        return [named.value for named in self.inputs]

    def paths(self) -> Sequence[str]:
        found = (_path(named.value) for named in self.inputs if not named.is_ours)
        return [path for path in found if path]

    def missing(self) -> Sequence[str]:
        if self._reach is None:
            return []
        return [
            name
            for _, name, value in self._reach.checks
            if value is MISSING and isinstance(name, str) and not hasattr(builtins, name)
        ]

    def unknown(self, names: Sequence[str]) -> Sequence[str]:
        return [name for name in names if not any(is_named(full, (name,)) for full in self.names)]

    def input(self, name: str) -> Any:
        return next((named.value for named in self.inputs if named.name == name), None)

    def changed(self) -> Sequence[str]:
        """Compare each input that can change with how it was, and return the names of those that differ."""
        return [
            named.name
            for named in self.inputs
            # By its true type: a proxy answers for what it stands for, or raises if that is gone.
            if not issubclass(type(named.value), _FIXED) or named.is_ours
            if self._has_changed(named)
        ]

    def _has_changed(self, named: Named) -> bool:
        if named.kind == "effect":
            return False
        if named.kind == "file":
            return self._maker.files.digest(named.value) != named.digest.digest
        if named.kind != "memo":
            return self._maker.digest(named.value).digest != named.digest.digest
        memo, before = named.value, self._before.get(named.name, ())
        old = {key: memo[key] for key in before if key in memo}
        own = self._maker.memos.without_own(memo)
        if len(old) < len(before):
            return True
        kept = {key: value for key, value in own.items() if key in old}
        if self._maker.digest(kept).digest != named.digest.digest:
            return True
        self._maker.memos.take_growth(memo, before)
        return False

    # -- what is written down

    def parts(self) -> Parts:
        inputs: dict[str, Input] = {}
        untracked: dict[str, tuple[str, ...]] = {}
        shares: list[str] = []
        for named in self.inputs:
            inputs[named.name], types, shared = self.told(named)
            shares += shared
            if types:
                untracked[named.name] = types
        code, _ = self._code()
        return Parts(self.libraries, code, inputs, untracked, tuple(shares))

    def told(self, named: Named) -> tuple[Input, tuple[str, ...], list[str]]:
        """Return how one input is written down, what of it isn't tracked, and what it may share with other steps."""
        told = redact(str(named.value)) if named.is_ours else short(named.name, named.value)
        types = tuple(dict.fromkeys(part.type_name for part in named.digest.untracked))
        shares = [f"{named.name}: {name}" for name in types]
        if named.kind == "memo":
            types = (*types, "what the step keeps in it")
        path = None if named.is_ours else _path(named.value)
        if path is not None:
            shares.append(f"file: {redact(str(named.value))}")
            if self._is_untracked_file(path):
                types = (*types, "file not tracked")
        return Input(self.stored(named.digest.digest), told), types, shares

    def stored(self, digest: bytes) -> str:
        """Return the digest of an input as it is written down."""
        # Once more: that of a short value is the value itself.
        hasher = self._maker.new_hash()
        hasher.update(digest)
        return hasher.digest()[:16].hex()

    def texts(self) -> Mapping[str, str]:
        return self._code()[1]

    def _is_untracked_file(self, path: str) -> bool:
        return Path(path).is_file() and not any(
            named.kind == "file" and path_key(named.value) == path for named in self.inputs
        )

    def _code(self) -> tuple[str, Mapping[str, str]]:
        if self.known is None:
            return self._write_code()
        if self.known.written is None:
            self.known.written = self._write_code()
        written: tuple[str, Mapping[str, str]] = self.known.written
        return written

    def _write_code(self) -> tuple[str, dict[str, str]]:
        if self._reach is None:
            return self._add({}, Code({_library(self._target): Function(self.function.hex())}).as_text())
        texts: dict[str, str] = {}
        functions = {}
        for label, part in self._reach.codes.items():
            text = "" if part.code is None else redact(source_text(part.code))
            functions[label] = Function(part.digest.hex(), self._add(texts, text)[0] if text else "")
        return self._add(texts, Code(functions, tuple(self._reach.bytecode)).as_text())

    def _add(self, texts: dict[str, str], text: str) -> tuple[str, dict[str, str]]:
        name = text_id(text, self._maker.new_hash())
        texts[name] = text
        return name, texts


@functools.lru_cache(maxsize=4096)
def input_head(kind: str, name: str, size: int) -> bytes:
    """Return what stands before the digest of an input in what a fingerprint is the digest of."""
    return f"{kind} {len(name)}:{name}{size}:".encode("utf-8", "surrogatepass")


def is_named(full: str, wanted: Sequence[str]) -> bool:
    """Tell whether a name that a user gives means an input: `x` also "x (read)", `Model` also `Model.size`."""
    return full in wanted or full.partition(".")[0] in wanted or full.partition(" (")[0] in wanted


def _library(target: Any) -> str:
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    return f"{getattr(target, '__module__', None) or type(target).__module__}.{name}"


def _path(value: Any) -> str | None:
    kind = type(value)
    if issubclass(kind, PurePath):
        return path_key(str(value))
    if issubclass(kind, str) and len(value) <= _LONGEST_PATH and (is_url(value) or _PATH.fullmatch(value)):
        return path_key(value)
    return None
