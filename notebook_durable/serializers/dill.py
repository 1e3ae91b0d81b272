"""The serializer for everything that is not exactly JSON: C pickle, and dill where pickle can't.

Its bytes are described in ``envelope``. Parts of 64 KB or more are no part of them: they are handed over as they lie in
memory, as the buffers of the payload.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from typing import Any, NamedTuple

from notebook_durable.errors import NotStorableError, UndefinedClassError
from notebook_durable.pause_gc import WORTH_A_PAUSE
from notebook_durable.serializers.by_value import pickler_class
from notebook_durable.serializers.collector import while_loading
from notebook_durable.serializers.envelope import BY_VALUE, PICKLE, begin, end, open_envelope, own
from notebook_durable.serializers.libraries import libraries_of
from notebook_durable.serializers.locate import TOO_DEEP, locate
from notebook_durable.serializers.names import type_name
from notebook_durable.serializers.rules import NeedsDillError, Rules
from notebook_durable.serializers.sink import InBand, Sink

__all__ = ["DillSerializer", "Written"]


class Written(NamedTuple):
    """What became of a value; see the attributes of the same names of :class:`notebook_durable.model.Payload`."""

    data: bytes
    buffers: tuple[memoryview, ...]
    libraries: str


class _FastPickler(Rules, pickle.Pickler):
    """C pickle with our rules."""


class _Unpickler(pickle.Unpickler):
    """C unpickle that says which class is missing."""

    def find_class(self, module: str, name: str, /) -> Any:
        # What numpy 2 calls numpy._core, numpy 1 calls numpy.core; and numpy 2 warns of that name.
        if module.startswith("numpy.core."):
            module = _numpy_module(module, "numpy.core.", "numpy._core.")
        elif module.startswith("numpy._core."):
            module = _numpy_module(module, "numpy._core.", "numpy.core.")
        try:
            return super().find_class(module, name)
        except (AttributeError, ImportError) as missing:
            raise UndefinedClassError(name if module == "__main__" else f"{module}.{name}") from missing


def _numpy_module(module: str, prefix: str, other: str) -> str:
    """Return ``module`` under the prefix that the installed numpy gives it."""
    try:
        numpy_2 = int(import_module("numpy").__version__.partition(".")[0]) >= 2
    except ImportError:
        return module
    return module if (prefix == "numpy._core.") == numpy_2 else other + module.removeprefix(prefix)


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
        """Return the bytes: all of them in one piece, which costs large values a copy.

        Raises:
            NotStorableError: naming the part of ``value`` at fault, where it is, and why.
        """
        return self._dump(value, InBand).data

    def deserialize(self, data: bytes, /) -> Any:
        """Return the value of what :meth:`serialize` returned; see :meth:`load`."""
        return self.load(data)

    def dump(self, value: Any, /) -> Written:
        """Return the bytes, and the parts of 64 KB or more as they lie in memory.

        The buffers are views of ``value``: write them before anybody changes it.

        Raises:
            NotStorableError: naming the part of ``value`` at fault, where it is, and why.
        """
        return self._dump(value, Sink)

    def load(self, data: bytes, buffers: Sequence[Any] = ()) -> Any:
        """Return the value. The bytes must be authentic: a pickle is code.

        Args:
            data: of :meth:`dump`.
            buffers: those of :meth:`dump`, in order, bytes-like. What can be written to becomes the memory of the
                value's arrays, so it must be nobody else's: a copy-on-write map. What can't is copied where an array
                was writable.

        Raises:
            UndefinedClassError: if a class that the value refers to is not defined.
            ReplayError: if it holds functions compiled by another version of Python.
            JournalFormatError: if the bytes were written by a newer version of this package, or by something else, or
                if these are not their buffers.
        """
        return _load(data, buffers)

    def _dump(self, value: Any, sink: type[Sink]) -> Written:
        try:
            return _write(value, sink)
        except NotStorableError as error:
            failure = error
        if isinstance(value, BaseException):
            # Better an exception without its cause than only its text.
            try:
                return _write(value, sink, keep_cause=False)
            except NotStorableError:
                pass
        # Raised here, past the except block: the search has failures of its own, which are no context of this one.
        raise locate(value, failure, _failure)


def _load(data: bytes, buffers: Sequence[Any], *, borrow: bool = False) -> Any:
    if type(data) is not bytes:
        data = bytes(data)
    opened = open_envelope(data, buffers)
    # A BytesIO shares the bytes; a slice would copy a large value.
    file = BytesIO(data)
    file.seek(opened.start)
    unpickler = _Unpickler(file, buffers=own(opened.rows, buffers, borrow=borrow) if opened.rows else None)
    if len(data) < WORTH_A_PAUSE:
        return unpickler.load()
    with while_loading():
        return unpickler.load()


def _write(value: Any, sink: type[Sink] = Sink, *, keep_cause: bool = True) -> Written:
    try:
        try:
            return _pickle(_FastPickler, value, sink(begin(PICKLE)), keep_cause=keep_cause)
        except NeedsDillError:
            pass
        pickler = pickler_class()
        with warnings.catch_warnings():
            # dill warns where it writes something that can't be loaded.
            warnings.simplefilter("error", pickler.warning)
            written = _pickle(pickler, value, sink(begin(BY_VALUE)), keep_cause=keep_cause)
        _verify(value, written)
        return written
    except NotStorableError:
        raise
    except RecursionError:
        raise NotStorableError(type_name(type(value)), "", TOO_DEEP) from None
    except Exception as error:  # the user's own __reduce__ and __getstate__ may raise anything
        raise NotStorableError(type_name(type(value)), "", _words(error)) from error


def _pickle(pickler: Any, value: Any, sink: Sink, *, keep_cause: bool) -> Written:
    p = pickler(sink, 5, buffer_callback=sink.take)
    if not keep_cause:
        p.keep_cause = False
    p.dump(value)
    # Read-only, so that nobody writes to the value through them.
    buffers = tuple(part.view.toreadonly() for part in sink.parts) if sink.parts else ()
    return Written(sink.close(end(sink.parts)), buffers, libraries_of(*p.met()))


def _verify(value: Any, written: Written) -> None:
    # dill writes some things that it can't load (a local Enum), so what it took part in is loaded once. Its arrays are
    # those of the value, read-only, as long as nothing in it (a __setstate__) writes to them.
    try:
        twin = _load(written.data, written.buffers, borrow=True)
    except Exception:
        if not written.buffers:
            raise
        twin = _load(written.data, written.buffers)
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
