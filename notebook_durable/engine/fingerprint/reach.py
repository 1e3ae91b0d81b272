"""What a function, class or module reaches, and whether that is still so."""

from __future__ import annotations

from types import CellType, CodeType, FunctionType
from typing import Any, NamedTuple

from notebook_durable.engine.fingerprint.origin import is_user_code
from notebook_durable.engine.fingerprint.reads import Import

__all__ = ["MISSING", "Bases", "Own", "Part", "Reach", "content_of", "read_own"]

MISSING: Any = object()


class Bases:
    """The bases of a class, to be looked up as names are."""

    __slots__ = ("_cls",)

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def get(self, _: str, __: Any) -> tuple[type, ...]:
        return self._cls.__bases__


class Part(NamedTuple):
    """The own text of one function, class, or the name of a library's.

    Attributes:
        digest: 16 bytes.
        code: the code object whose source can be shown; None for names and classes.
    """

    digest: bytes
    code: CodeType | None = None


class Own(NamedTuple):
    """What a code object is by itself; see ``Reads`` for the middle ones."""

    digest: bytes
    chains: tuple[tuple[str, ...], ...]
    imports: tuple[Import, ...]
    names: frozenset[str]
    stored: frozenset[str]
    from_source: bool


class Reach(NamedTuple):
    """What a function or class computes from, beside its arguments; and what must still be so for this to be true.

    Attributes:
        codes: the own text of each function or class, by label.
        data: ``(label, space, key)`` of values that are read: ``space[key]``, or a closure cell with key None.
        bytecode: labels of those that have no source at hand and count by their bytecode.
        libraries: top-level names of the libraries' modules that are reached.
        checks: ``(space, name, value)``: the name must still be this very object (MISSING: not be there).
        types: ``(space, name, type)``: the name must still be an instance of this very class of the user's.
        cells: ``(cell, value)``: closure cells of helpers that hold code.
        sizes: ``(container, length)``: nothing was added or removed.
        functions: with their code, defaults and keyword defaults (``%autoreload`` changes them in place).
        digest: of ``codes``, and of which name stands for which.
        namespace: globals of the root, if it is a function.
        own: ``(label, kind, key, expected, is_code)`` of the root's closure values and defaults.
        library: ``(space, name, value)``: attributes of libraries, that the user may patch. What a library patches
            (``nest_asyncio`` does) is no redefinition.
        root: the function whose closure values and defaults ``values`` reads.
    """

    codes: dict[str, Part]
    data: tuple[tuple[str, Any, Any], ...]
    bytecode: tuple[str, ...]
    libraries: frozenset[str]
    checks: tuple[tuple[Any, Any, Any], ...]
    types: tuple[tuple[Any, Any, type], ...]
    cells: tuple[tuple[CellType, Any], ...]
    sizes: tuple[tuple[Any, int], ...]
    functions: tuple[tuple[FunctionType, CodeType, Any, Any], ...]
    digest: bytes
    namespace: Any
    own: tuple[tuple[str, str, Any, Any, bool], ...]
    library: tuple[tuple[Any, Any, Any], ...]
    root: Any

    def holds(self) -> bool:
        """Tell whether nothing was redefined since it was collected."""
        for space, name, value in self.checks:
            if space.get(name, MISSING) is not value:
                return False
        for space, name, value in self.library:
            current = space.get(name, MISSING)
            if current is not value and (type(current) is not FunctionType or is_user_code(current)):
                return False
        for function, code, defaults, named in self.functions:
            if function.__code__ is not code or function.__defaults__ is not defaults:
                return False
            if function.__kwdefaults__ is not named:
                return False
        return (
            all(type(space.get(name)) is kind for space, name, kind in self.types)
            and all(len(container) == length for container, length in self.sizes)
            and all(content_of(cell) is value for cell, value in self.cells)
        )

    def fits(self, root: Any) -> bool:
        """Tell whether it is true for another function of the same code: one more turn of a loop."""
        if len(self.own) != _count(root):
            return False
        for _, kind, key, expected, is_code in self.own:
            value = read_own(root, kind, key)
            if (value if is_code else type(value)) is not expected:
                return False
        return True

    def values(self) -> list[tuple[str, Any]]:
        """Read the data, as it is now."""
        found = []
        for label, space, key in self.data:
            try:
                found.append((label, space.cell_contents if key is None else space[key]))
            except (LookupError, ValueError):
                continue  # deleted, or not assigned yet
        for label, kind, key, _, is_code in self.own:
            if not is_code:
                found.append((label, read_own(self.root, kind, key)))
        return found


def read_own(root: Any, kind: str, key: Any) -> Any:
    """Read a closure value or default of a function; MISSING if there is none."""
    try:
        if kind == "cell":
            return root.__closure__[key].cell_contents
        return (root.__defaults__ if kind == "default" else root.__kwdefaults__)[key]
    except (LookupError, TypeError, ValueError):
        return MISSING


def _count(function: FunctionType) -> int:
    named = function.__kwdefaults__
    return len(function.__closure__ or ()) + len(function.__defaults__ or ()) + (0 if named is None else len(named))


def content_of(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING
