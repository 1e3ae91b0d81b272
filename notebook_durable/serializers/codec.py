"""Chooses a serializer per value, and finds the one that wrote a payload."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from notebook_durable.errors import (
    ConfigurationError,
    DurableError,
    MissingExtraError,
    NotStorableError,
    OutdatedValueError,
    UndefinedClassError,
    UnknownSerializerError,
)
from notebook_durable.model import Payload
from notebook_durable.protocols import Serializer
from notebook_durable.serializers.dill import DillSerializer
from notebook_durable.serializers.json import JsonSerializer
from notebook_durable.serializers.libraries import name_of, present, unreadable
from notebook_durable.serializers.names import brief, type_name
from notebook_durable.serializers.portable import PortableSerializer

__all__ = ["DefaultCodec"]

# Parts of a value (elements, at every depth). For 200,000 dicts JSON takes 2.7 times as long as C pickle, and nobody
# reads that much text.
_MOST_PARTS = 10_000
# Characters. As JSON a text is copied twice and six times slower.
_LONGEST_TEXT = 1_000_000
# Characters: pandas puts whole arrays into its errors.
_LONGEST_REASON = 200


class DefaultCodec:
    """JSON for what is exactly JSON and not very large, the ``dill`` one for the rest; or the one that is passed.

    A serializer is passed as an object with ``name``, ``serialize(value) -> bytes`` and ``deserialize(bytes)``, or
    named: ``"json"``, ``"dill"``, ``"parquet"``, ``"arrow"``. Restate's ``Serde`` objects have no name; their class's
    is used.
    """

    __slots__ = ("_built_in", "_dill", "_json")

    def __init__(self) -> None:
        self._json = JsonSerializer()
        self._dill = DillSerializer()
        self._built_in: dict[str, Serializer] = {
            "json": self._json,
            "dill": self._dill,
            "parquet": PortableSerializer("parquet"),
            "arrow": PortableSerializer("arrow"),
        }

    def encode(self, value: Any, serializer: Serializer | str | None = None) -> Payload:
        """Write a value, with ``serializer`` if one is given.

        The payload's buffers are views of the value's own memory: they are written before anybody changes it.

        Raises:
            NotStorableError: if it could not be brought back as it is; names type and path.
            ConfigurationError: if ``serializer`` is none.
        """
        kind = type_name(type(value))
        if serializer is None:
            data = None
            if type(value) is not str or len(value) < _LONGEST_TEXT:
                data = self._json.try_serialize(value, most=_MOST_PARTS)
            if data is not None:
                return Payload("json", data, kind)
            chosen: Any = self._dill
            name = "dill"
        else:
            chosen, name = self.resolve(serializer)
        if isinstance(chosen, (DillSerializer, PortableSerializer)):
            written = chosen.dump(value)
            return Payload(name, written.data, kind, written.buffers, written.libraries)
        return Payload(name, _serialize(chosen, name, value), kind)

    def decode(self, payload: Payload, serializer: Serializer | str | None = None) -> Any:
        """Read a value. The caller has made sure that the bytes are authentic.

        Buffers that can be written to become the value's own memory: only copy-on-write maps, or copies, are given.

        Raises:
            UnknownSerializerError: if neither ``serializer`` nor a built-in one has the recorded name.
            UndefinedClassError: if a class of the notebook is not defined yet.
            OutdatedValueError: if it can't be read, and the libraries that wrote it were other versions.
            MissingExtraError: if it was written as parquet or arrow, and there is no pyarrow to read it.
            ConfigurationError: if ``serializer`` is none.
        """
        built_in = self._built_in.get(payload.serializer)
        if isinstance(built_in, (DillSerializer, PortableSerializer)):
            return _read(built_in.load, payload)
        if built_in is not None:
            return built_in.deserialize(payload.data)
        if serializer is not None:
            chosen, name = self.resolve(serializer)
            if name == payload.serializer:
                return chosen.deserialize(payload.data)
        raise UnknownSerializerError(payload.serializer)

    def resolve(self, serializer: object) -> tuple[Serializer, str]:
        """Return the serializer that ``serializer`` stands for, and the name to record.

        Raises:
            ConfigurationError: saying what is wrong with it.
            MissingExtraError: if it needs a library that is not installed.
        """
        if isinstance(serializer, str):
            if serializer not in self._built_in:
                known = ", ".join(f"'{name}'" for name in sorted(self._built_in))
                raise ConfigurationError(
                    f"no serializer is named '{serializer}'. Known: {known}. To use one of your own, pass the object."
                )
            serializer = self._built_in[serializer]
        if isinstance(serializer, PortableSerializer) and find_spec("pyarrow") is None:
            raise MissingExtraError("pyarrow", "arrow", f"serializer='{serializer.name}'")
        if isinstance(serializer, (JsonSerializer, DillSerializer, PortableSerializer)):
            return serializer, serializer.name
        if isinstance(serializer, type):
            raise ConfigurationError(
                f"serializer={serializer.__qualname__} is a class. Pass an object: {serializer.__qualname__}()."
            )
        missing = [name for name in ("serialize", "deserialize") if not callable(getattr(serializer, name, None))]
        if missing:
            raise ConfigurationError(
                f"serializer={brief(serializer)} has no method {' and no method '.join(missing)}. A serializer has "
                "a `name`, `serialize(value) -> bytes` and `deserialize(bytes)`."
            )
        return serializer, self._name_of(serializer)  # type: ignore[return-value]  # checked above

    def _name_of(self, serializer: object) -> str:
        kind = type(serializer).__qualname__
        name = getattr(serializer, "name", None)
        if name is None:
            # Restate's Serde.
            name = kind
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"the name of serializer {kind} must be text, not {brief(name)}: it is recorded.")
        if name in self._built_in:
            raise ConfigurationError(f"serializer {kind} can't be named '{name}': that is a built-in one's name.")
        return name


def _read(load: Callable[[bytes, Sequence[Any]], Any], payload: Payload) -> Any:
    why = unreadable(payload.libraries)
    if why and payload.serializer == "dill":
        raise OutdatedValueError(payload.libraries, present(payload.libraries), why)
    try:
        return load(payload.data, payload.buffers)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        if isinstance(error, DurableError) and not isinstance(error, UndefinedClassError):
            raise  # of ours: no library is to blame
        now = present(payload.libraries)
        if now == payload.libraries or not _may_be_the_libraries(error, payload.libraries, now):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if isinstance(error, UndefinedClassError):
            reason = f"{error.class_name} is missing"
        elif len(reason) > _LONGEST_REASON:
            reason = f"{reason[:_LONGEST_REASON]}..."
        raise OutdatedValueError(payload.libraries, now, reason) from error


def _may_be_the_libraries(error: Exception, then: str, now: str) -> bool:
    """Tell whether an error can come of another version: that of a class, of the library that it was in."""
    if not isinstance(error, UndefinedClassError):
        return True
    changed = {name_of(entry.partition(" ")[0]) for entry in set(then.split(", ")) - set(now.split(", "))}
    return name_of(error.class_name) in changed


def _serialize(serializer: Serializer, name: str, value: Any) -> bytes:
    kind = type_name(type(value))
    try:
        data: object = serializer.serialize(value)
    except NotStorableError:
        raise
    except Exception as error:
        raise NotStorableError(kind, "", f"serializer '{name}': {type(error).__name__}: {error}") from error
    if isinstance(data, bytes):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    if inspect.iscoroutine(data):
        data.close()
    raise NotStorableError(kind, "", f"serializer '{name}' returned {type_name(type(data))}, not bytes")
