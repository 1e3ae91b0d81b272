"""Chooses a serializer per value, and finds the one that wrote a payload."""

from __future__ import annotations

import inspect
from typing import Any

from notebook_durable.errors import ConfigurationError, NotStorableError, UnknownSerializerError
from notebook_durable.model import Payload
from notebook_durable.protocols import Serializer
from notebook_durable.serializers.dill import DillSerializer
from notebook_durable.serializers.json import JsonSerializer
from notebook_durable.serializers.names import brief, type_name

__all__ = ["DefaultCodec"]

# Parts of a value (elements, at every depth). For 200,000 dicts JSON takes 2.7 times as long as C pickle, and nobody
# reads that much text.
_MOST_PARTS = 10_000


class DefaultCodec:
    """JSON for what is exactly JSON and not very large, the ``dill`` one for the rest; or the one that is passed.

    A serializer is passed as an object with ``name``, ``serialize(value) -> bytes`` and ``deserialize(bytes)``, or
    named: ``"json"``, ``"dill"``. Restate's ``Serde`` objects have no name; their class's is used.
    """

    __slots__ = ("_built_in", "_dill", "_json")

    def __init__(self) -> None:
        self._json = JsonSerializer()
        self._dill = DillSerializer()
        self._built_in: dict[str, Serializer] = {"json": self._json, "dill": self._dill}

    def encode(self, value: Any, serializer: Serializer | str | None = None) -> Payload:
        """Write a value, with ``serializer`` if one is given.

        Raises:
            NotStorableError: if it could not be brought back as it is; names type and path.
            ConfigurationError: if ``serializer`` is none.
        """
        kind = type_name(type(value))
        if serializer is None:
            data = self._json.try_serialize(value, most=_MOST_PARTS)
            if data is not None:
                return Payload("json", data, kind)
            return Payload("dill", self._dill.serialize(value), kind)
        chosen, name = self.resolve(serializer)
        return Payload(name, _serialize(chosen, name, value), kind)

    def decode(self, payload: Payload, serializer: Serializer | str | None = None) -> Any:
        """Read a value. The caller has made sure that the bytes are authentic.

        Raises:
            UnknownSerializerError: if neither ``serializer`` nor a built-in one has the recorded name.
            UndefinedClassError: if a class of the notebook is not defined yet.
            ConfigurationError: if ``serializer`` is none.
        """
        built_in = self._built_in.get(payload.serializer)
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
        """
        if isinstance(serializer, str):
            if serializer not in self._built_in:
                known = ", ".join(f"'{name}'" for name in sorted(self._built_in))
                raise ConfigurationError(
                    f"no serializer is named '{serializer}'. Known: {known}. To use one of your own, pass the object."
                )
            return self._built_in[serializer], serializer
        if isinstance(serializer, (JsonSerializer, DillSerializer)):
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
