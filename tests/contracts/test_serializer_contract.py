"""The contract of ``protocols.Serializer`` and ``protocols.Codec``, for every one there is, on values of many kinds."""

from __future__ import annotations

import collections
import copy
import importlib.util
import pickle
import sys
import threading
from pathlib import Path

import pytest

from notebook_durable.errors import NotStorableError
from notebook_durable.protocols import Serializer
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.serializers.dill import DillSerializer
from notebook_durable.serializers.json import JsonSerializer

OPTIONAL = ("numpy", "pandas", "polars", "sklearn", "pydantic")
LIBRARIES = ("python", "exceptions", "notebook", *OPTIONAL)


SHARED: list = []


class Custom:
    """A serializer as a user would write one."""

    name = "plain-pickle"

    def serialize(self, value):
        return pickle.dumps(value)

    def deserialize(self, data):
        return pickle.loads(data)


class ThroughCodec:
    """The codec, seen as a serializer."""

    name = "codec"

    def __init__(self, passed=None):
        self.codec, self.passed, self.payloads = DefaultCodec(), passed, {}

    def serialize(self, value):
        payload = self.codec.encode(value, self.passed)
        self.payloads[payload.data] = payload
        return payload.data

    def deserialize(self, data):
        return self.codec.decode(self.payloads[data], self.passed)


@pytest.fixture(scope="session")
def zoo():
    """The values as a module of its own, whose classes pickle finds by name."""
    path = Path(__file__).parent.parent / "zoo" / "values.py"
    spec = importlib.util.spec_from_file_location("value_zoo", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["value_zoo"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["value_zoo"]


@pytest.fixture(
    params=[JsonSerializer, DillSerializer, ThroughCodec, lambda: ThroughCodec(Custom())],
    ids=["json", "dill", "codec", "custom"],
)
def serializer(request):
    return request.param()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("make", [JsonSerializer, DillSerializer, ThroughCodec], ids=["json", "dill", "codec"])
def test_values_come_back_equal_and_of_their_type(make, library, zoo):
    """What is stored comes back equal and of the same type at every depth; JSON may refuse, the others store it all."""
    if library in OPTIONAL:
        pytest.importorskip(library)
    serializer, wrong, stored = make(), [], 0
    cases = zoo.cases(library)
    assert cases
    for case in cases:
        try:
            data = serializer.serialize(case.value)
        except NotStorableError as error:
            if make is not JsonSerializer:
                wrong.append(f"{case.name}: {error}")
            continue
        stored += 1
        assert type(data) is bytes
        difference = zoo.check_case(case, serializer.deserialize(data))
        if difference:
            wrong.append(f"{case.name}: {difference}")
    assert wrong == []
    assert stored or make is JsonSerializer


def test_there_are_at_least_sixty_kinds_of_values(zoo):
    """The list that these rules are checked on is long."""
    names = [f"{library}: {case.name}" for library in LIBRARIES for case in zoo.cases(library)]
    assert len(names) == len(set(names))
    assert len(names) >= 60


CHANGES = [
    (1, True),
    (1, 1.0),
    (0.0, -0.0),
    ((1,), [1]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ([[], []], [SHARED, SHARED]),
    ([SHARED, SHARED], [[], []]),
    (collections.deque([1], 2), collections.deque([1], 3)),
    (ValueError(1), ValueError(2)),
    (collections.OrderedDict(a=[1]), collections.OrderedDict(a=[True])),
]


@pytest.mark.parametrize(("one", "other"), CHANGES)
def test_the_comparison_sees_changes(zoo, one, other):
    """The comparison these rules rest on sees changes that ``==`` overlooks."""
    assert zoo.difference(one, other)
    assert not zoo.difference(one, copy.deepcopy(one))


def test_the_comparison_sees_changes_in_arrays_and_frames(zoo):
    """So it does for dtype, memory order, the right to write, masks, attributes and frequencies."""
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    frozen = np.arange(3)
    frozen.flags.writeable = False
    days = pd.date_range("2026", periods=3)
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["x"] = 1
    grid = np.arange(6.0).reshape(2, 3)
    for one, other in [
        (np.arange(3), np.arange(3.0)),
        (frozen, np.arange(3)),
        (grid, np.asfortranarray(grid)),
        (np.float64(0.0), np.float64(-0.0)),
        (np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 2], [1, 1])),
        (frame, pd.DataFrame({"a": [1]})),
        (days, days._with_freq(None)),
        (pd.Series([1, 2]), pd.Series([1, 2], dtype="Int64")),
        (pd.DataFrame({"o": [(1,)]}), pd.DataFrame({"o": [[1]]})),
    ]:
        assert zoo.difference(one, other)
        assert not zoo.difference(one, one)


def test_it_is_a_serializer(serializer):
    """It has a name that can be recorded, and the two methods."""
    assert isinstance(serializer, Serializer)
    assert isinstance(serializer.name, str)
    assert serializer.name


def test_writing_leaves_the_value_alone(serializer):
    """serialize doesn't change the value, and later changes of it don't reach what was written."""
    value = {"a": [1, 2], "b": "x"}
    data = serializer.serialize(value)
    assert value == {"a": [1, 2], "b": "x"}
    value["a"].append(3)
    assert serializer.deserialize(data) == {"a": [1, 2], "b": "x"}


def test_each_reading_gives_a_value_of_its_own(serializer):
    """Two readings of the same bytes share nothing."""
    data = serializer.serialize({"a": [1]})
    first, second = serializer.deserialize(data), serializer.deserialize(data)
    first["a"].append(2)
    assert second == {"a": [1]}


def test_it_works_in_any_thread(serializer):
    """A value written by one thread is read by another."""
    data = serializer.serialize([1, "a", None])
    read = []
    thread = threading.Thread(target=lambda: read.append(serializer.deserialize(data)))
    thread.start()
    thread.join()
    assert read == [[1, "a", None]]
