"""A value as a digest of its content: equal content gives equal digests, in every process.

Each value with parts gets a digest of its own, made of those of its parts, so what is shared is looked at once and
whether it is shared doesn't count. In a cycle it does: what refers back to a value it is part of is told by how far up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from notebook_durable.engine.fingerprint.origin import library_name
from notebook_durable.engine.fingerprint.scalars import SIMPLE
from notebook_durable.engine.fingerprint.seen import SMALLEST, Seen

if TYPE_CHECKING:
    from notebook_durable.engine.fingerprint.code import Codes

__all__ = ["Contents", "Digest", "Hasher", "NoContentError", "Untracked", "Walk"]

_DEEPEST = 400  # levels, if the interpreter lets us; what is deeper is taken in pieces of
_PIECE = 50  # levels
_MOST_PIECES = 500
_MOST_STEPS = 1_000_000  # values in a walk through sets whose members refer to each other
_INLINE = 1024  # bytes of a text that stand among its neighbours
_FAR = 1 << 30


class Hasher(Protocol):
    """What ``hashlib`` and ``blake3`` give."""

    def update(self, data: Any, /) -> Any: ...

    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...


class Untracked(NamedTuple):
    """A part of a value that has no content: it counts by its type only."""

    type_name: str
    value: Any


class Digest(NamedTuple):
    """What a value is compared by.

    Attributes:
        digest: 16 bytes.
        untracked: its parts that count by type only.
    """

    digest: bytes
    untracked: tuple[Untracked, ...] = ()


_new_tuple: Callable[..., Digest] = tuple.__new__  # half the time of Digest(...), and scalars are many


class NoContentError(Exception):
    """A part of a library's object has no content, so the whole object counts by type."""


class _CyclicSetError(Exception):
    """There is a set whose members refer back to what holds them."""


class _TooDeepError(RecursionError):
    """A value that has to be looked at first, because it lies too deep."""

    def __init__(self, value: Any) -> None:
        super().__init__("nested too deeply")
        self.value = value


class Contents:
    """Digests values.

    Args:
        new_hash: makes a hasher.
        codes: digests functions and classes that are values, and the classes of values.
    """

    def __init__(self, new_hash: Callable[[], Hasher], codes: Codes) -> None:
        self.new_hash = new_hash
        self.codes = codes
        self.seen = Seen()
        self._handlers: dict[type, Callable[[Walk, Any], bytes]] = {}

    def digest(self, value: Any) -> Digest:
        """Digest a value.

        Args:
            value: anything. It is not changed, and nothing is taken from it.

        Returns:
            Its digest, with the parts that have no content. What misbehaves when looked at, or is nested too
            deeply, is such a part. Never raises.
        """
        simple = SIMPLE.get(type(value))
        if simple is not None:
            data = simple(value)
            if data is not None and len(data) < SMALLEST:
                hasher = self.new_hash()
                hasher.update(data)
                return _new_tuple(Digest, (hasher.digest()[:16], ()))
        try:
            try:
                return self._walked(value, cyclic_sets=False)
            except _CyclicSetError:
                return self._walked(value, cyclic_sets=True)
        except Exception:  # noqa: BLE001  an object that misbehaves when looked at; RecursionError
            name = type_name(type(value))
            return Digest(self.hash(b"untracked " + name.encode("utf-8", "surrogatepass")), (Untracked(name, value),))

    def _walked(self, value: Any, *, cyclic_sets: bool) -> Digest:
        walk = Walk(self, cyclic_sets=cyclic_sets)
        try:
            return Digest(self.hash(walk.piece(value)), tuple(walk.untracked))
        except RecursionError:
            walk = Walk(self, cyclic_sets=cyclic_sets, deepest=_PIECE)
        # What lies too deep is digested by itself and remembered, before what holds it is looked at again. That can't
        # be done with what refers back to that.
        todo = [value]
        waiting = {id(value)}
        for _ in range(_MOST_PIECES):
            try:
                piece = walk.piece(todo[-1])
            except _TooDeepError as deep:
                if id(deep.value) in waiting:
                    raise
                todo.append(deep.value)
                waiting.add(id(deep.value))
                continue
            waiting.discard(id(todo.pop()))
            if not todo:
                return Digest(self.hash(piece), tuple(walk.untracked))
        raise RecursionError("nested too deeply")

    def forget(self) -> None:
        """Let go of the immutable buffers that were seen."""
        self.seen.forget()

    def hash(self, data: Any) -> bytes:
        """Digest bytes."""
        hasher = self.new_hash()
        hasher.update(data)
        return hasher.digest()[:16]

    def handler(self, kind: type) -> Callable[[Walk, Any], bytes]:
        """Return how to write down objects of a type."""
        found = self._handlers.get(kind)
        if found is None:
            from notebook_durable.engine.fingerprint.kinds import handler_for

            if len(self._handlers) >= 4096:  # classes that are defined again and again
                self._handlers.clear()
            found = self._handlers[kind] = handler_for(kind)
        return found


class Walk:
    """One pass over one value.

    Attributes:
        untracked: parts without content that were met.
    """

    __slots__ = (
        "_alive",
        "_codes",
        "_cut",
        "_cyclic",
        "_cyclic_sets",
        "_deepest",
        "_depth",
        "_in_set",
        "_low",
        "_memo",
        "_open",
        "_passing",
        "_steps",
        "contents",
        "strict",
        "untracked",
    )

    def __init__(self, contents: Contents, *, cyclic_sets: bool = False, deepest: int = _DEEPEST) -> None:
        self.contents = contents
        self.untracked: list[Untracked] = []
        self.strict = False
        self._memo: dict[int, Any] = {}  # bytes: done; int: in work, at this depth; tuple: done, and in a cycle
        self._codes: dict[int, bytes] = {}
        self._alive: list[Any] = []  # so that ids stay theirs
        self._depth = 0
        self._deepest = deepest
        self._cyclic_sets = cyclic_sets
        self._in_set = False
        self._cut = 0  # members of sets in sets that were told by their type, so far
        self._passing: list[int] = []  # values that hold such: what is said of them is true inside of that set only
        self._steps = 0
        self._low = _FAR  # the highest place that what is in work refers back to
        self._cyclic = 0  # values in cycles, so far
        self._open: list[int] = []  # those of them whose cycle isn't done

    # -- for those who write values down

    def piece(self, value: Any) -> bytes:
        """Write a part down: bytes that tell where they end."""
        kind = type(value)
        simple = SIMPLE.get(kind)
        if simple is not None:
            if (kind is bytes or kind is str) and len(value) >= SMALLEST:
                return self._long(kind, value)
            data = simple(value)
            if data is not None:
                return data if len(data) <= _INLINE else b"=" + self.contents.hash(data)
        mark = id(value)
        known = self._memo.get(mark)
        if known is not None:
            return self._again(known)
        return self._first(kind, mark, value)

    def pieces(self, values: Any) -> bytes:
        """Write parts down, with their number."""
        found = [self.piece(value) for value in values]
        return len(found).to_bytes(8, "little") + b"".join(found)

    def text(self, value: str) -> bytes:
        """Write a name down."""
        data = value.encode("utf-8", "surrogatepass")
        return b"#" + len(data).to_bytes(8, "little") + data

    def buffer(self, data: Any) -> bytes:
        """Write bytes down that may be many."""
        view = memoryview(data)
        plain = view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()
        return b"!" + view.nbytes.to_bytes(8, "little") + self.contents.hash(plain)

    def code(self, value: Any) -> bytes:
        """Write a function or class down."""
        known = self._codes.get(id(value))
        if known is None:
            known = self._codes[id(value)] = self._noted(self.contents.codes.digest(value))
            self._alive.append(value)
        return b"=" + known

    def module(self, value: Any) -> bytes:
        """Write a module down."""
        return self._noted(self.contents.codes.module(value))

    def _noted(self, found: Digest) -> bytes:
        self.untracked += found.untracked
        return found.digest

    def without_content(self, value: Any, code: bytes = b"") -> bytes:
        """Note a part without content, and write its type down."""
        if self.strict:
            raise NoContentError
        name = type_name(type(value))
        self.untracked.append(Untracked(name, value))
        return b"untracked" + self.text(name) + code

    def whole(self, value: Any, write: Callable[[], bytes]) -> bytes:
        """Write an object down whole, or by its type if a part of it has no content."""
        if self.strict:
            return write()
        self.strict = True
        try:
            return write()
        except NoContentError:
            pass
        finally:
            self.strict = False
        return self.without_content(value)

    def unordered(self, values: Any) -> bytes:
        """Write parts down whose order has no meaning."""
        if self._cyclic_sets:
            found = [self._outline(value) for value in values] if self._in_set else self._apart(values)
        else:
            cyclic = self._cyclic
            outer, self._low = self._low, _FAR
            found = [self.piece(value) for value in values]
            if self._low <= self._depth or self._cyclic != cyclic:
                raise _CyclicSetError
            self._low = outer
        return len(found).to_bytes(8, "little") + b"".join(sorted(found))

    def _apart(self, values: Any) -> list[bytes]:
        """Write each member down as if there were no other: their order is chance, and they may refer to each other.

        Sets inside of them count by the types of their members, or the number of ways through them would explode.
        """
        self._in_set = True
        found = []
        try:
            for value in values:
                alive, cyclic, opened = len(self._alive), self._cyclic, len(self._open)
                found.append(self.piece(value))
                self._cyclic = cyclic
                del self._open[opened:]
                for passing in self._passing:
                    self._memo.pop(passing, None)
                self._passing.clear()
                for held in self._alive[alive:]:
                    if type(self._memo.get(id(held))) is tuple:
                        del self._memo[id(held)]
        finally:
            self._in_set = False
        return found

    def _outline(self, value: Any) -> bytes:
        kind = type(value)
        if kind in SIMPLE:
            return self.piece(value)
        if kind is tuple or kind is frozenset:
            parts = [self._outline(part) for part in value]
            return kind.__name__.encode() + b"".join(sorted(parts) if kind is frozenset else parts)
        self._cut += 1
        return self.without_content(value)

    # -- shared and cyclic parts

    def _first(self, kind: type, mark: int, value: Any) -> bytes:
        depth = self._depth + 1
        if depth > self._deepest:
            raise _TooDeepError(value)
        if self._cyclic_sets:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise RecursionError("too many ways through it")
        outer, opened, cut, alive = self._low, len(self._open), self._cut, len(self._alive)
        self._depth, self._low = depth, _FAR
        self._memo[mark] = depth
        self._alive.append(value)
        try:
            digest = self.contents.hash(self._written(kind, value))
        except BaseException as error:
            # What was said of parts relies on what holds them, which isn't there now.
            for held in self._alive[alive:]:
                if type(error) is not _TooDeepError or type(self._memo.get(id(held))) is not bytes:
                    self._memo.pop(id(held), None)
            del self._open[opened:]
            self._low = outer
            raise
        finally:
            self._depth = depth - 1
        low = self._low
        self._low = min(outer, low)
        if self._cut != cut and self._in_set:
            self._passing.append(mark)
        if low >= depth:
            self._memo[mark] = digest
            for inner in self._open[opened:]:  # their cycles are closed
                if inner in self._memo:
                    self._memo[inner] = self._memo[inner][0], _FAR
            del self._open[opened:]
            self._low = outer
        else:
            self._cyclic += 1
            self._memo[mark] = self._cyclic, low
            self._open.append(mark)
        return b"=" + digest

    def _written(self, kind: type, value: Any) -> bytes:
        try:
            return self.contents.handler(kind)(self, value)
        except (NoContentError, RecursionError, _CyclicSetError):
            raise
        except Exception:  # noqa: BLE001  an object that misbehaves when looked at: it only, not what holds it
            return self.without_content(value)

    def _again(self, known: Any) -> bytes:
        if type(known) is bytes:
            return b"=" + known
        if type(known) is int:
            self._low = min(self._low, known)
            return b"^" + (self._depth - known).to_bytes(4, "little")
        number, low = known
        self._low = min(self._low, low)
        return b"~" + int(self._cyclic - number).to_bytes(8, "little")

    def _long(self, kind: type, value: Any) -> bytes:
        seen = self.contents.seen
        digest = seen.get(id(value))
        if digest is None:
            data = value if kind is bytes else value.encode("utf-8", "surrogatepass")
            digest = self.contents.hash(data)
            seen.put(id(value), value, len(data), digest)
        return b"B" + kind.__name__.encode() + len(value).to_bytes(8, "little") + digest


def type_name(kind: type) -> str:
    """Name a type, whatever its class says about itself."""
    try:
        return library_name(kind)
    except Exception:  # noqa: BLE001  a metaclass that misbehaves
        return type.__repr__(kind)
