"""The serializer for everything that is not exactly JSON: C pickle, and dill where pickle can't.

Bytes: ``NBD``, a version byte, a kind byte, then

- kind ``P``: a pickle, protocol 5. It refers to the classes of the notebook by name.
- kind ``D``: major and minor version of Python, then a pickle that holds functions or local classes by value, as
  bytecode.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

from notebook_durable.errors import JournalFormatError, NotStorableError, ReplayError, UndefinedClassError
from notebook_durable.pause_gc import WORTH_A_PAUSE, pause_gc
from notebook_durable.serializers.by_value import pickler_class
from notebook_durable.serializers.locate import TOO_DEEP, locate
from notebook_durable.serializers.names import type_name
from notebook_durable.serializers.rules import NeedsDillError, Rules

__all__ = ["DillSerializer"]

_MAGIC = b"NBD\x01"
_PICKLE = b"P"
_BY_VALUE = b"D"
_HEAD = len(_MAGIC) + 1
_PYTHON = bytes(sys.version_info[:2])


class _FastPickler(Rules, pickle.Pickler):
    """C pickle with our rules."""


class _Unpickler(pickle.Unpickler):
    """C unpickle that says which class is missing."""

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return super().find_class(module, name)
        except (AttributeError, ImportError) as missing:
            raise UndefinedClassError(name if module == "__main__" else f"{module}.{name}") from missing


class DillSerializer:
    """Writes any value that can be brought back as it is.

    Instances refer to their class by name, at any depth, so that ``isinstance`` holds after the class's cell was run
    again in a new kernel. Functions of the notebook and classes defined inside functions are written by value. What
    belongs to the process (locks, connections, open files, generators) is refused, also where pickle or dill would
    bring back a meaningless new one. Objects that share memory without pickle's knowledge (an array and a view of it)
    come back apart.
    """

    name = "dill"

    __slots__ = ()

    def serialize(self, value: Any, /) -> bytes:
        """Return the bytes.

        Raises:
            NotStorableError: naming the part of ``value`` at fault, where it is, and why.
        """
        try:
            return _write(value)
        except NotStorableError as error:
            failure = error
        if isinstance(value, BaseException):
            # Better an exception without its cause than only its text.
            try:
                return _write(value, keep_cause=False)
            except NotStorableError:
                pass
        # Raised here, past the except block: the search has failures of its own, which are no context of this one.
        raise locate(value, failure, _failure)

    def deserialize(self, data: bytes, /) -> Any:
        """Return the value. The bytes must be authentic: a pickle is code.

        Raises:
            UndefinedClassError: if a class that the value refers to is not defined.
            ReplayError: if it holds functions compiled by another version of Python.
            JournalFormatError: if the bytes were written by a newer version of this package, or by something else.
        """
        kind = data[len(_MAGIC) : _HEAD]
        if data[: len(_MAGIC)] != _MAGIC or kind not in (_PICKLE, _BY_VALUE):
            raise JournalFormatError(
                f"this value begins with {bytes(data[:_HEAD])!r}: not written by this version's 'dill' serializer. A "
                "newer notebook_durable may read it: pip install --upgrade notebook_durable"
            )
        start = _HEAD
        if kind == _BY_VALUE:
            start += len(_PYTHON)
            written = data[_HEAD:start]
            if written != _PYTHON:
                # Bytecode of another version may crash the interpreter, so it isn't tried.
                raise ReplayError(
                    f"this value holds functions compiled by Python {'.'.join(map(str, written))}, and this is Python "
                    f"{'.'.join(map(str, _PYTHON))}. Use that version, or compute the step anew under a new name."
                )
        # A BytesIO shares the bytes; a slice would copy a large value.
        file = BytesIO(data)
        file.seek(start)
        if len(data) < WORTH_A_PAUSE:
            return _Unpickler(file).load()
        with pause_gc():
            return _Unpickler(file).load()


def _write(value: Any, *, keep_cause: bool = True) -> bytes:
    try:
        chunks = [_MAGIC, _PICKLE]
        try:
            _dump(_FastPickler, value, chunks.append, keep_cause=keep_cause)
            return b"".join(chunks)
        except NeedsDillError:
            pass
        chunks = [_MAGIC, _BY_VALUE, _PYTHON]
        pickler = pickler_class()
        with warnings.catch_warnings():
            # dill warns where it writes something that can't be loaded.
            warnings.simplefilter("error", pickler.warning)
            _dump(pickler, value, chunks.append, keep_cause=keep_cause)
        data = b"".join(chunks)
        _verify(value, data)
        return data
    except NotStorableError:
        raise
    except RecursionError:
        raise NotStorableError(type_name(type(value)), "", TOO_DEEP) from None
    except Exception as error:  # the user's own __reduce__ and __getstate__ may raise anything
        raise NotStorableError(type_name(type(value)), "", _words(error)) from error


class _Sink:
    """A file that collects what is written without copying it: large buffers are copied once, when all are joined."""

    __slots__ = ("write",)

    def __init__(self, write: Callable[[Any], Any]) -> None:
        self.write = write


def _dump(pickler: Callable[..., Any], value: Any, write: Callable[[Any], Any], *, keep_cause: bool) -> None:
    p = pickler(_Sink(write), 5) if pickler is _FastPickler else pickler(_Sink(write))
    if not keep_cause:
        p.keep_cause = False
    p.dump(value)


def _verify(value: Any, data: bytes) -> None:
    # dill writes some things that it can't load (a local Enum), so what it took part in is loaded once.
    twin = DillSerializer().deserialize(data)
    if type_name(type(twin)) != type_name(type(value)):
        raise NotStorableError(type_name(type(value)), "", f"it would come back as {type_name(type(twin))}")


def _failure(part: Any) -> NotStorableError | None:
    """Return why ``part`` can't be stored, None if it can."""
    try:
        _write(part)
    except NotStorableError as error:
        return error
    return None


def _words(error: Exception) -> str:
    text = str(error)
    return text if isinstance(error, (pickle.PicklingError, TypeError)) else f"{type(error).__name__}: {text}"
