"""The codec chooses a serializer per value, and finds the one that wrote a payload."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from pathlib import Path

import pytest

import notebook_durable.errors
from notebook_durable.errors import ConfigurationError, NotStorableError, UnknownSerializerError
from notebook_durable.model import Payload
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.serializers.dill import DillSerializer


class Rot13:
    name = "rot13"

    def serialize(self, value):
        return value.translate({65: 66}).encode()

    def deserialize(self, data):
        return data.decode().translate({66: 65})


class Serde:
    """As in restate.serde: no name."""

    def serialize(self, obj):
        return b"" if obj is None else obj.encode()

    def deserialize(self, buf):
        return buf.decode() if buf else None


class Gives(Rot13):
    name = "gives"

    def __init__(self, result):
        self.result = result

    def serialize(self, value):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def codec():
    return DefaultCodec()


@pytest.mark.parametrize(
    ("value", "serializer", "value_type"),
    [
        ({"a": 1}, "json", "dict"),
        (None, "json", "NoneType"),
        ((1,), "dill", "tuple"),
        ({1: 1}, "dill", "dict"),
        (collections.OrderedDict(), "dill", "collections.OrderedDict"),
    ],
)
def test_the_value_decides(codec, value, serializer, value_type):
    """JSON for exactly JSON, dill for the rest; the type is recorded in readable form."""
    payload = codec.encode(value)
    assert (payload.serializer, payload.value_type) == (serializer, value_type)
    assert codec.decode(payload) == value


def test_pandas_is_called_by_its_public_name(codec):
    """The recorded type is what the user would write."""
    pd = pytest.importorskip("pandas", minversion="3")
    assert codec.encode(pd.DataFrame()).value_type == "pandas.DataFrame"


def test_a_very_large_json_value_goes_to_pickle(codec):
    """JSON takes several times as long as C pickle, so large values don't use it."""
    value = [{"i": i} for i in range(20_000)]
    payload = codec.encode(value)
    assert payload.serializer == "dill"
    assert codec.decode(payload) == value


@pytest.mark.parametrize("name", ["json", "dill"])
def test_built_in_serializers_are_named(codec, name):
    """serializer="json" and "dill" choose, whatever the value."""
    payload = codec.encode([1], name)
    assert payload.serializer == name
    assert codec.decode(payload) == codec.decode(payload, name) == [1]


def test_named_json_refuses_what_is_not_json(codec):
    """serializer="json" doesn't fall back."""
    with pytest.raises(NotStorableError) as caught:
        codec.encode({"a": (1,)}, "json")
    assert caught.value.path == "['a']"


def test_a_passed_serializer_is_used(codec):
    """An object with name, serialize and deserialize writes and reads; its name is recorded."""
    payload = codec.encode("ABBA", Rot13())
    assert (payload.serializer, payload.data, payload.value_type) == ("rot13", b"BBBB", "str")
    assert codec.decode(payload, Rot13()) == "AAAA"


def test_a_built_in_serializer_may_be_passed_as_object(codec):
    """DillSerializer() means the same as "dill"."""
    assert codec.encode([1], DillSerializer()).serializer == "dill"


def test_restates_serde_has_no_name(codec):
    """The name of its class is recorded."""
    payload = codec.encode("x", Serde())
    assert payload.serializer == "Serde"
    assert codec.decode(payload, Serde()) == "x"
    assert codec.decode(codec.encode(None, Serde()), Serde()) is None


def test_what_a_built_in_one_wrote_is_read_whatever_is_passed(codec):
    """Adding serializer= to a step doesn't make its old entries unreadable."""
    assert codec.decode(codec.encode([1]), Rot13()) == [1]


@pytest.mark.parametrize("passed", [None, "json", Serde()])
def test_an_unknown_name_is_said(codec, passed):
    """A payload of a serializer that was not passed names it."""
    with pytest.raises(UnknownSerializerError, match="rot13") as caught:
        codec.decode(Payload("rot13", b"x"), passed)
    assert caught.value.serializer == "rot13"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("text", "returned str"),
        (None, "returned NoneType"),
        (KeyError("k"), "KeyError: 'k'"),
        (ValueError("no way"), "ValueError: no way"),
    ],
)
def test_a_passed_serializer_that_fails(codec, result, reason):
    """Whatever it raises, and anything but bytes, means "not storable", with the reason and its name."""
    with pytest.raises(NotStorableError, match="gives") as caught:
        codec.encode([1], Gives(result))
    assert caught.value.type_name == "list"
    assert reason in caught.value.reason


def test_an_async_serializer_is_refused(codec):
    """A coroutine isn't bytes, and is closed (a warning would fail this test)."""

    class Async(Rot13):
        async def serialize(self, value):
            return b""

    with pytest.raises(NotStorableError, match="coroutine"):
        codec.encode(1, Async())


@pytest.mark.parametrize("result", [bytearray(b"ab"), memoryview(b"ab")])
def test_other_kinds_of_bytes_are_converted(codec, result):
    """bytearray and memoryview are taken as bytes."""
    data = codec.encode([1], Gives(result)).data
    assert data == b"ab"
    assert type(data) is bytes


def _named(name):
    serializer = Rot13()
    serializer.name = name
    return serializer


@pytest.mark.parametrize(
    ("serializer", "says"),
    [
        ("yaml", "Known: 'arrow', 'dill', 'json', 'parquet'"),
        (Rot13, "is a class"),
        (object(), "no method serialize and no method deserialize"),
        (_named("json"), "built-in"),
        (_named("dill"), "built-in"),
        (_named(""), "must be text"),
        (_named(5), "must be text"),
    ],
)
def test_what_is_no_serializer_is_said(codec, serializer, says):
    """A serializer= that can't be used is a ConfigurationError that says why."""
    with pytest.raises(ConfigurationError, match=says):
        codec.encode(1, serializer)


def test_no_library_is_imported_without_need():
    """Plain values import neither dill nor numpy."""
    code = (
        "import sys; from notebook_durable.serializers.codec import DefaultCodec as C; c = C();"
        "[c.decode(c.encode(v)) for v in ({'a': 1}, (1, 2), {1, 2}, ValueError(1))];"
        "print(sorted({'dill', 'numpy', 'pandas', 'asyncio', 'sqlite3', 'multiprocessing'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(notebook_durable.errors.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"
