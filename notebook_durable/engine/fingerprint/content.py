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

_DEEPEST = 400  # levels; what is deeper can't be pickled either
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
        walk = Walk(self)
        try:
            digest = self.hash(walk.piece(value))
        except Exception:  # noqa: BLE001  an object that misbehaves when looked at; RecursionError
            name = type_name(type(value))
            return Digest(self.hash(b"untracked " + name.encode("utf-8", "surrogatepass")), (Untracked(name, value),))
        return Digest(digest, tuple(walk.untracked))

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

    __slots__ = ("_alive", "_codes", "_cyclic", "_depth", "_low", "_memo", "_open", "contents", "strict", "untracked")

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.untracked: list[Untracked] = []
        self.strict = False
        self._memo: dict[int, Any] = {}  # bytes: done; int: in work, at this depth; tuple: done, and in a cycle
        self._codes: dict[int, bytes] = {}
        self._alive: list[Any] = []  # so that ids stay theirs
        self._depth = 0
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
        known, cyclic, opened, untracked = len(self._alive), self._cyclic, len(self._open), len(self.untracked)
        outer, self._low = self._low, _FAR
        found = sorted([self.piece(value) for value in values])
        low = self._low
        self._low = outer
        if low <= self._depth or self._cyclic != cyclic:
            # They refer to what holds them. What can be said of that depends on the order, which is chance.
            for value in self._alive[known:]:
                self._memo.pop(id(value), None)
            del self._open[opened:], self.untracked[untracked:]
            self._cyclic = cyclic
            found = [self.without_content(value) for value in sorted(values, key=lambda part: type_name(type(part)))]
        return len(found).to_bytes(8, "little") + b"".join(found)

    # -- shared and cyclic parts

    def _first(self, kind: type, mark: int, value: Any) -> bytes:
        depth = self._depth + 1
        if depth > _DEEPEST:
            raise RecursionError("nested too deeply")
        outer, opened = self._low, len(self._open)
        self._depth, self._low = depth, _FAR
        self._memo[mark] = depth
        self._alive.append(value)
        try:
            digest = self.contents.hash(self._written(kind, value))
        except BaseException:
            self._memo.pop(mark, None)
            self._low = outer
            raise
        finally:
            self._depth = depth - 1
        low = self._low
        self._low = min(outer, low)
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
        except (NoContentError, RecursionError):
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
