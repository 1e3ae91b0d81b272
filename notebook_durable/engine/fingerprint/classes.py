"""What a class of the user's is made of, taken from the class itself: its members, fields, bases and annotations."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from types import FunctionType, MappingProxyType
from typing import Any

from notebook_durable.engine.fingerprint.origin import is_user_code, library_name

__all__ = ["annotated_types", "annotations_of", "members", "shape"]

# Made by the interpreter or a library's metaclass, not by the user's text; or told by ``shape``.
_SKIPPED = frozenset(
    [
        "__module__",
        "__dict__",
        "__weakref__",
        "__doc__",
        "__qualname__",
        "__firstlineno__",
        "__static_attributes__",
        "__annotations__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__conditional_annotations__",
        "__slotnames__",
        "__abstractmethods__",
        "_abc_impl",
        "_abc_registry",
        "_abc_cache",
        "_abc_negative_cache",
        "_abc_negative_cache_version",
        "__classcell__",
        "__orig_bases__",
        "__parameters__",
        "__type_params__",
        "__signature__",
        "__class_vars__",
        "__private_attributes__",
        "__attrs_attrs__",
        "__attrs_props__",
        "__attrs_own_setattr__",
        "__classdictcell__",
        "_field_defaults",
        "_fields",
        "_member_map_",
        "_member_names_",
        "_value2member_map_",
        "_hashable_values_",
        "_unhashable_values_",
        "_unhashable_values_map_",
        "_new_member_",
        "_use_args_",
        "_member_type_",
        "_value_repr_",
        "_generate_next_value_",
        "_flag_mask_",
        "_all_bits_",
        "_boundary_",
        "_singles_mask_",
        "_inverted_",
        "__new_member__",
        "__subclasshook__",
    ]
)
_SKIPPED_STARTS = ("__dataclass_", "__pydantic_")
_SOMETIMES = ("__hash__", "__match_args__")
_MADE_BY_PYTHON = frozenset({"member_descriptor", "getset_descriptor", "wrapper_descriptor", "_tuplegetter"})
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # in the repr of a validator: another one in each process
_PARAMS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
_PYDANTIC = (
    "alias",
    "validation_alias",
    "serialization_alias",
    "exclude",
    "frozen",
    "kw_only",
    "init",
    "discriminator",
)
_FIELD = ("init", "repr", "compare", "hash", "kw_only")


def shape(cls: type) -> list[str]:
    """Tell what is no member: bases, metaclass, annotations, what ``@dataclass(...)`` was told.

    Returns:
        Texts; equal ones for the same class on every version of Python.
    """
    found = [f"bases {[library_name(base) for base in cls.__bases__]}", f"kind {library_name(type(cls))}"]
    found += [f"annotation {name}: {_annotation(kind)}" for name, kind in annotations_of(cls).items()]
    own = vars(cls)
    params = own.get("__dataclass_params__")
    if params is not None:
        found.append(f"dataclass {[bool(getattr(params, name, None)) for name in _PARAMS]}")
    fields = own.get("__dataclass_fields__")
    if isinstance(fields, dict):
        found += [
            f"field {name} {[str(getattr(field, told, None)) for told in _FIELD]}" for name, field in fields.items()
        ]
    fields = own.get("__pydantic_fields__")
    for name, field in fields.items() if isinstance(fields, dict) else ():
        told = {key: getattr(field, key, None) for key in (*_PYDANTIC, "validate_default")}
        found += [f"field {name} {key}={_ADDRESS.sub('', repr(it))}" for key, it in told.items() if it is not None]
    if "_member_map_" in own:
        found.append(f"members {list(own['_member_map_'])}")
    if "_fields" in own:
        found.append(f"fields {own['_fields']}")
    return found


def annotations_of(cls: type) -> dict[str, Any]:
    """Return a class's own annotations, without failing on names that are not defined."""
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            return dict(annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF))
        return dict(vars(cls).get("__annotations__") or {})
    except Exception:  # noqa: BLE001  evaluating them runs the user's expressions
        return {}


def annotated_types(kind: Any, depth: int = 0) -> Iterator[type]:
    """Yield the classes that stand in an annotation: ``dict[str, list[Order]]``."""
    if isinstance(kind, type) and not hasattr(kind, "__origin__"):
        yield kind
    args = getattr(kind, "__args__", ())
    if isinstance(args, tuple) and depth < 5:
        for arg in args:
            yield from annotated_types(arg, depth + 1)


def _annotation(kind: Any) -> str:
    if isinstance(kind, type) and not hasattr(kind, "__origin__"):
        return library_name(kind)
    return kind if isinstance(kind, str) else _ADDRESS.sub("", repr(kind))


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that the user wrote, or that a decorator added, by name.

    What ``dataclass``, ``attrs`` and ``namedtuple`` write from the fields is left out: the fields tell it.
    """
    own = vars(cls)
    generated = any(name in own for name in ("__dataclass_fields__", "__attrs_attrs__", "_fields"))
    yield from _fields(own)
    for name, value in sorted(own.items()):
        if name in _SKIPPED or name.startswith(_SKIPPED_STARTS):
            continue
        if name in _SOMETIMES and not _is_written(name, value, own):
            continue
        if type(value).__name__ in _MADE_BY_PYTHON or (generated and _is_generated(name, value)):
            continue
        yield from _parts(name, value)


def _is_written(name: str, value: Any, own: Any) -> bool:
    """Tell whether the user wrote what is made for him otherwise."""
    if name == "__hash__":
        return is_user_code(value)
    if "__attrs_attrs__" in own:
        return False
    fields = own.get("__dataclass_fields__")
    if isinstance(fields, dict):
        made = tuple(
            field.name
            for field in fields.values()
            if field.init and not field.kw_only and getattr(field._field_type, "name", "") != "_FIELD_CLASSVAR"  # noqa: SLF001
        )
        return bool(value != made)
    return bool(value != own.get("_fields"))


def _fields(own: Any) -> Iterator[tuple[str, Any]]:
    for table in ("__dataclass_fields__", "__pydantic_fields__"):
        fields = own.get(table)
        for name, field in fields.items() if isinstance(fields, dict) else ():
            for told in ("default", "default_factory", "metadata"):
                value = getattr(field, told, None)
                if _is_told(value) and own.get(name) is not value:
                    yield f"{name}.{told}", value
    for attribute in own.get("__attrs_attrs__", ()):
        for told in ("default", "validator", "converter"):
            value = getattr(attribute, told, None)
            if _is_told(value):
                yield f"{attribute.name}.{told}", value
    defaults = own.get("_field_defaults")
    if isinstance(defaults, dict):
        yield from defaults.items()


def _is_told(value: Any) -> bool:
    """False for the libraries' ways to say nothing, and for no metadata."""
    if value is None or type(value).__name__ in ("_MISSING_TYPE", "PydanticUndefinedType", "_Nothing"):
        return False
    return not (isinstance(value, (list, dict, MappingProxyType)) and not value)


def _is_generated(name: str, value: Any) -> bool:
    value = getattr(value, "__func__", value)
    if not isinstance(value, FunctionType):
        return name == "__slots__" or (isinstance(value, property) and not isinstance(value.fget, FunctionType))
    filename = value.__code__.co_filename
    made = filename.startswith(("<string>", "<attrs ")) or value.__module__ in ("collections", "dataclasses", "typing")
    return made or filename.endswith(("/collections/__init__.py", "/dataclasses.py", "/typing.py", "/reprlib.py"))


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, property):
        for part, function in (("", value.fget), (".setter", value.fset), (".deleter", value.fdel)):
            if function is not None:
                yield name + part, function
    elif isinstance(value, functools.cached_property):
        yield name, value.func
    elif isinstance(value, functools.singledispatchmethod):
        yield name, value.dispatcher.dispatch
    elif isinstance(value, functools.partialmethod):
        yield name, functools.partial(value.func, *value.args, **value.keywords)
    else:
        yield name, value
