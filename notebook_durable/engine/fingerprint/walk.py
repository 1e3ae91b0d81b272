"""Walks from one function, class or module through the user's code that it reaches."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from notebook_durable.engine.fingerprint.classes import annotated_types, annotations_of, members, shape
from notebook_durable.engine.fingerprint.imports import imported, loaded
from notebook_durable.engine.fingerprint.origin import is_own_module, is_user_code, library_name, plain_name
from notebook_durable.engine.fingerprint.reach import MISSING, Bases, Own, Part, Reach, content_of, read_own
from notebook_durable.engine.fingerprint.reads import Import
from notebook_durable.engine.fingerprint.untracked import is_hidden_generator
from notebook_durable.engine.fingerprint.wrappers import (
    hooked,
    is_followed,
    key_text,
    label_prefix,
    note_slots,
    owned_values,
    real_name,
    top_module,
)

__all__ = ["Walk"]

_OF_THE_KERNEL = ("IPython", "ipykernel")  # get_ipython
_MAIN = ("__main__", "__mp_main__")
_MANY = 10_000  # entries of a registry that are looked through


class Walk:
    """Follows one root.

    Args:
        own: of a code object.
        hash_parts: digests parts.
    """

    def __init__(self, own: Callable[[CodeType], Own], hash_parts: Callable[..., bytes]) -> None:
        self._own_of = own
        self._hash = hash_parts
        self._found: dict[str, dict[bytes, CodeType | None]] = {}
        self._without_source: set[tuple[str, bytes]] = set()
        self._bindings: list[bytes] = []
        self._data: dict[str, tuple[str, Any, Any]] = {}
        self._libraries: set[str] = set()
        self._checks: list[tuple[Any, Any, Any]] = []
        self._library_values: list[tuple[Any, Any, Any]] = []
        self._types: list[tuple[Any, Any, type]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._sizes: list[tuple[Any, int]] = []
        self._functions: list[tuple[FunctionType, CodeType, Any, Any]] = []
        self._own: list[tuple[str, str, Any, Any, bool]] = []
        self._seen: dict[int, Any] = {}
        self._todo: list[Any] = []
        self._root: Any = None
        self._names: set[str] = set()  # in all bytecode
        self._stored: set[str] = set()
        self._noted: set[tuple[int, str]] = set()
        self._reader = b""  # who reads what is looked at now

    def collect(self, root: Any) -> Reach:
        """Walk, and put together what was found."""
        self._root = root
        if not self._code(library_name(root), root):
            raise TypeError(f"{type(root).__qualname__} is no function, class or module")
        position = 0
        while position < len(self._todo) or self._attributed():
            value = self._todo[position]
            position += 1
            if type(value) is FunctionType:
                self._function(value)
            elif isinstance(value, ModuleType):
                self._module(value)
            else:
                self._class(value)
        codes: dict[str, Part] = {}
        without: list[str] = []
        for label, versions in self._found.items():
            for digest, code in versions.items():
                # Lambdas and redefinitions share a name.
                full = label if len(versions) == 1 else f"{label}~{digest.hex()[:8]}"
                codes[full] = Part(digest, code)
                if (label, digest) in self._without_source:
                    without.append(full)
        names = [label.encode("utf-8", "surrogatepass") + part.digest for label, part in sorted(codes.items())]
        digest = self._hash(*names, *sorted(set(self._bindings)))
        namespace = root.__globals__ if type(root) is FunctionType else None
        return Reach(
            codes,
            tuple(self._data.values()),
            tuple(without),
            frozenset(self._libraries),
            tuple(self._checks),
            tuple(self._types),
            tuple(self._cells),
            tuple(self._sizes),
            tuple(self._functions),
            digest,
            namespace,
            tuple(self._own),
            tuple(self._library_values),
            root,
        )

    # -- functions

    def _function(self, function: FunctionType) -> None:
        code = function.__code__
        own = self._own_of(code)
        prefix = label_prefix(function.__globals__)
        label = prefix + plain_name(code.co_qualname)
        self._part(label, own.digest, code)
        if not own.from_source:
            self._without_source.add((label, own.digest))
        self._reader = own.digest
        is_root = function is self._root
        if not is_root:
            self._functions.append((function, code, function.__defaults__, function.__kwdefaults__))
        self._names |= own.names
        self._stored |= own.stored
        for chain in own.chains:
            self._chain(function.__globals__, prefix, chain)
        for statement in own.imports:
            self._import(function, statement, own.names)
        for hook, space, name, value in hooked(own.names):
            if self._code(hook, value):
                self._checks.append((space, name, space[name]))
        for kind, key, name in owned_values(function):
            told = name if is_root else f"{label}.{name}"
            self._owned_value(function, told, kind, key, is_root)

    def _attributed(self) -> bool:
        """Take what was noted on functions, ``g.rate = 2``, if anything reads that name, and nothing assigns it.

        Returns:
            Whether there is more to follow now.
        """
        before = len(self._todo)
        for function, *_ in self._functions:
            inner = function.__dict__
            for name in sorted(inner.keys() & self._names - self._stored) if inner else ():
                if not name.startswith("__") and (id(inner), name) not in self._noted:
                    self._noted.add((id(inner), name))
                    self._reader = self._own_of(function.__code__).digest
                    label = label_prefix(function.__globals__) + plain_name(function.__code__.co_qualname)
                    self._value(f"{label}.{name}", inner[name], inner, name)
        return len(self._todo) > before

    def _owned_value(self, function: FunctionType, label: str, kind: str, key: Any, is_root: bool) -> None:
        value = read_own(function, kind, key)
        if is_root:
            is_code = value is MISSING or self._taken(label, value)
            self._own.append((label, kind, key, value if is_code else type(value), is_code))
            if not is_code:
                self._class_of(value)
        elif kind == "cell" and function.__closure__ is not None:
            cell = function.__closure__[key]
            if value is MISSING or self._taken(label, value):
                self._cells.append((cell, value))
            else:
                self._put_data(label, cell, None)
                self._class_of(value)
        elif value is not MISSING and not self._taken(label, value):  # the tuple itself is among the checks
            self._put_data(label, function.__defaults__ if kind == "default" else function.__kwdefaults__, key)
            self._class_of(value)

    def _chain(self, namespace: dict[str, Any], prefix: str, chain: tuple[str, ...]) -> None:
        name = chain[0]
        if name not in namespace:
            self._checks.append((namespace, name, MISSING))  # a builtin, which the text names, or not defined yet
            return
        self._attributes(prefix + name, namespace, name, chain[1:])

    def _attributes(self, label: str, space: Any, name: str, attributes: tuple[str, ...]) -> None:
        """Follow attributes of modules, and take the value where they end."""
        value, owned = space[name], True
        if attributes and issubclass(type(value), ModuleType):
            self._bind(f"={label}", value.__name__.encode("utf-8", "surrogatepass"))
        for attribute in attributes:
            if not issubclass(type(value), ModuleType):
                if type(value) is FunctionType and attribute in value.__dict__:  # score.rate = 2
                    self._value(f"{label}.{attribute}", value.__dict__[attribute], value.__dict__, attribute)
                elif type(value) is FunctionType and is_user_code(value):
                    self._checks.append((value.__dict__, attribute, MISSING))
                break
            self._checks.append((space, name, value))
            module, inner = value.__name__, vars(value)
            owned = is_own_module(value)
            label = attribute if module in _MAIN else f"{module}.{attribute}"
            if attribute not in inner and not loaded(value, attribute, owned):
                self._checks.append((inner, attribute, MISSING))
                if not owned:
                    self._library(label, label)
                elif "__getattr__" in inner:
                    self._value(f"{module}.__getattr__", inner["__getattr__"], inner, "__getattr__")
                return
            space, name, value = inner, attribute, inner[attribute]
        if owned or is_user_code(value):
            self._value(label, value, space, name)
        elif self._code(label, value, named=label):
            self._library_values.append((space, name, value))
        else:
            self._library(label, label)  # data of a library: math.pi

    def _import(self, function: FunctionType, statement: Import, names: frozenset[str]) -> None:
        """Follow an import inside of a function. The step would import the module in a moment, so we may."""
        module = imported(function, statement)
        if module is None or not is_own_module(module):
            self._libraries.add(statement.module.partition(".")[0] if module is None else top_module(module.__name__))
            return
        inner = vars(module)
        for name in statement.names:
            value = inner.get(name)
            if name == "*" or name not in inner:
                continue
            if isinstance(value, ModuleType) and is_own_module(value):
                self._checks.append((inner, name, value))
                self._used(value, names)
            else:
                self._attributes(f"{module.__name__}.{name}", inner, name, ())
        if not statement.names or "*" in statement.names:
            self._used(module, names)

    def _used(self, module: ModuleType, names: frozenset[str]) -> None:
        """Take what a function may read from a module that it imported: whatever its bytecode names."""
        inner = vars(module)
        found = sorted(name for name in names if name in inner and not name.startswith("__"))
        for name in found:
            self._attributes(f"{module.__name__}.{name}", inner, name, ())
        if not found:
            self._add(module)

    # -- values

    def _value(self, label: str, value: Any, space: Any, name: Any) -> None:
        if self._taken(label, value):
            self._checks.append((space, name, value))
        else:
            self._put_data(label, space, name)
            if self._class_of(value):
                self._types.append((space, name, type(value)))

    def _put_data(self, label: str, space: Any, name: Any) -> None:
        known = self._data.get(label)
        count = 1
        full = label
        while known is not None and not (known[1] is space and known[2] == name):
            count += 1
            full = f"{label}~{count}"
            known = self._data.get(full)
        self._data[full] = full, space, name

    def _class_of(self, value: Any) -> bool:
        """An object of the user's own class: its methods count too, as code."""
        if is_user_code(type(value)):
            self._add(type(value))
            return True
        return False

    def _add(self, value: Any) -> None:
        if id(value) not in self._seen:
            self._seen[id(value)] = value
            self._todo.append(value)

    def _part(self, label: str, digest: bytes, code: CodeType | None) -> None:
        self._found.setdefault(label, {}).setdefault(digest, code)

    def _bind(self, label: str, target: bytes) -> None:
        """Note which name stands for which code: to swap two helpers is an edit."""
        name = label.encode("utf-8", "surrogatepass")
        self._bindings.append(self._reader + len(name).to_bytes(4, "little") + name + target)

    def _library(self, label: str, name: str) -> None:
        self._part(label, self._hash(b"library", name.encode("utf-8", "surrogatepass")), None)
        self._bind(label, name.encode("utf-8", "surrogatepass"))
        top = top_module(name)
        if top and top not in sys.stdlib_module_names and top not in _MAIN:
            self._libraries.add(top)

    def _code(self, label: str, value: Any, named: str = "") -> bool:
        """Take a value that is code, with what it wraps; False if it is data."""
        kind = type(value)
        if kind is FunctionType:
            if is_user_code(value):
                self._bind(label, self._own_of(value.__code__).digest)
                self._add(value)
            else:
                self._library(named or real_name(value), real_name(value))
                self._inside(label, value)
        elif issubclass(kind, type):
            name = library_name(value)
            if is_user_code(value):
                self._bind(label, name.encode("utf-8", "surrogatepass"))
                self._add(value)
            else:
                self._library(named or name, name)
        elif issubclass(kind, ModuleType):
            if is_own_module(value):
                self._add(value)
            else:
                self._library(value.__name__, value.__name__)
        else:
            return self._wrapper(label, kind, value, named)
        return True

    def _wrapper(self, label: str, kind: type, value: Any, named: str) -> bool:
        """Take what stands around a function."""
        if kind is staticmethod or kind is classmethod:
            self._bind(label, kind.__name__.encode())
            self._held(label, value.__func__, (value.__func__,), 0)
        elif kind is MethodType:
            self._held(label, value.__func__, (value.__func__,), 0)
            owner = value.__self__
            if top_module(type(owner).__module__) not in _OF_THE_KERNEL and not is_hidden_generator(owner):
                self._held(f"{label}.__self__", value.__self__, (value.__self__,), 0)
        elif kind is property:
            for part in (value.fget, value.fset, value.fdel):
                if part is not None:
                    self._held(label, part, (part,), 0)
        elif issubclass(kind, functools.partial):
            self._held(label, value.func, (value.func,), 0)
            for index, argument in enumerate(value.args):
                self._held(f"{label}({index})", argument, value.args, index)
            for name, argument in value.keywords.items():
                self._held(f"{label}({name})", argument, value.keywords, name)
        elif kind is BuiltinFunctionType:
            self._library(named or library_name(value), library_name(value))
            owner = value.__self__
            if owner is not None and not isinstance(owner, (ModuleType, type)) and not is_hidden_generator(owner):
                self._held(f"{label}.__self__", value.__self__, (value.__self__,), 0)
        else:
            return self._named_callable(label, kind, value, named)
        return True

    def _taken(self, label: str, value: Any) -> bool:
        """Take code, and note which name stands for it: also library functions may change places."""
        if not self._code(label, value):
            return False
        self._bind(f"={label}", library_name(value).encode("utf-8", "surrogatepass"))
        return True

    def _held(self, label: str, value: Any, space: Any, key: Any) -> None:
        if not self._taken(label, value):
            self._put_data(label, space, key)
            self._class_of(value)

    def _named_callable(self, label: str, kind: type, value: Any, named: str) -> bool:
        """``lru_cache`` and other library objects that wrap a function, and functions of C extensions."""
        if is_user_code(kind) or not callable(value):
            return False
        inside = getattr(value, "__dict__", None)
        if isinstance(inside, dict):
            for attribute in ("__wrapped__", "py_func", "func"):  # functools; numba; joblib
                wrapped = inside.get(attribute, MISSING)
                if is_followed(wrapped):
                    self._bind(label, library_name(kind).encode())
                    return self._code(label, wrapped)
            if any(is_followed(part) for part in inside.values()):
                return False  # numpy.vectorize: by its parts, with the function that it holds
        name = getattr(value, "__name__", None)
        if not isinstance(name, str) or not isinstance(getattr(value, "__module__", None), (str, type(None))):
            return False
        full = named or library_name(value)
        self._library(full, full)
        return True

    def _inside(self, label: str, function: FunctionType) -> None:
        """Follow the user's code that a library's function wraps: a decorator from a library, singledispatch."""
        if id(function) in self._seen:
            return  # it holds itself
        self._seen[id(function)] = function
        wrapped = function.__dict__.get("__wrapped__")
        if wrapped is not None and is_followed(wrapped):
            self._code(f"{label}.__wrapped__", wrapped)
        for content in (*map(content_of, function.__closure__ or ()), function.__dict__.get("registry")):
            if is_followed(content):
                self._code(label, content)
            elif isinstance(content, (dict, MappingProxyType)) and len(content) < _MANY:
                followed = [(key, held) for key, held in content.items() if is_followed(held)]
                for key, held in followed:
                    self._code(f"{label}[{key_text(key)}]", held)
                if followed:
                    self._sizes.append((content, len(content)))
                    self._checks += [(content, key, held) for key, held in followed]
            elif isinstance(content, (list, tuple)) and len(content) < _MANY:
                for held in content:
                    if is_followed(held):
                        self._code(label, held)

    # -- classes and modules

    def _class(self, cls: type) -> None:
        name = cls.__qualname__ if cls.__module__ in _MAIN else library_name(cls)
        own = vars(cls)
        self._reader = f"class {name}".encode("utf-8", "surrogatepass")
        self._part(f"class {name}", self._hash(*(part.encode("utf-8", "surrogatepass") for part in shape(cls))), None)
        for base in (*cls.__bases__, type(cls)):
            if is_user_code(base):
                self._add(base)
            else:
                self._libraries.update({top_module(base.__module__)} - sys.stdlib_module_names)
        for kind in annotations_of(cls).values():
            for used in annotated_types(kind):
                if is_user_code(used):
                    self._add(used)
        for member, value in members(cls):
            if own.get(member, MISSING) is value:
                self._value(f"{name}.{member}", value, own, member)
            else:  # a part of one: a field's default, a property's function
                self._held(f"{name}.{member}", value, (value,), 0)
        self._checks += [(own, key, value) for key, value in own.items() if isinstance(value, _REPLACED)]
        self._checks.append((Bases(cls), "", cls.__bases__))
        note_slots(cls)
        self._sizes.append((own, len(own)))

    def _module(self, module: ModuleType) -> None:
        """A module that is used as a whole: all that it defines."""
        inner, name = vars(module), module.__name__
        self._reader = f"module {name}".encode()
        self._part(f"module {name}", self._hash(b"module", name.encode()), None)
        self._sizes.append((inner, len(inner)))
        for key in sorted(inner):
            value = inner[key]
            if isinstance(value, ModuleType):
                if value.__name__ == f"{name}.{key}" and is_own_module(value):  # a part of this package
                    self._checks.append((inner, key, value))
                    self._add(value)
                continue
            if key.startswith("__") and key != "__getattr__":
                continue
            self._value(f"{name}.{key}", value, inner, key)


_REPLACED = (FunctionType, staticmethod, classmethod, property, functools.cached_property)
