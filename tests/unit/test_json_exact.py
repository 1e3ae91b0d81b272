"""JSON is used for values that it brings back exactly, and for no others."""

from __future__ import annotations

import collections
import enum
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notebook_durable.errors import NotStorableError
from notebook_durable.serializers.json import JsonSerializer, is_exact_json


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


SHARED: list = []
CIRCLE: list = []
CIRCLE.append(CIRCLE)


def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


EXACT = [
    None,
    True,
    0,
    -(2**70),
    1.5,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    "",
    "é🎉\u2028\x00",
    [],
    {},
    [[]],
    {"": [{}]},
]
EXACT += [{"b": 1, "a": 2}, [SHARED], [1, 1, "a", "a"], nested(100)]

NOT_EXACT = [
    (),
    (1,),
    {1: 2},
    {None: 1},
    {True: 1},
    {Text("a"): 1},
    {"a": (1,)},
    math.nan,
    math.inf,
    -math.inf,
    [math.nan],
]
NOT_EXACT += [Level.LOW, Text("a"), {Level.LOW: 1}, collections.OrderedDict(a=1), collections.defaultdict(int), b"", 1j]
NOT_EXACT += [[SHARED, SHARED], {"a": SHARED, "b": {"c": SHARED}}, CIRCLE, nested(101), nested(100_000), 10**5000]
NOT_EXACT += ["\ud800", "\ud83d" + "\ude00", {"\udcff": 1}, set(), range(3), object()]


def short(value):
    try:
        return repr(value)[:30]
    except (RecursionError, ValueError):
        return type(value).__name__


@pytest.mark.parametrize("value", EXACT, ids=short)
def test_exact_values_come_back(value):
    """An exact value is written, and comes back equal, of its type, with its sign of zero and its order of keys."""
    assert is_exact_json(value)
    serializer = JsonSerializer()
    read = serializer.deserialize(serializer.serialize(value))
    assert repr(read) == repr(value)


@pytest.mark.parametrize("value", NOT_EXACT, ids=short)
def test_other_values_are_refused(value):
    """Everything that JSON would change or can't write is refused, without a crash."""
    assert not is_exact_json(value)
    assert JsonSerializer().try_serialize(value) is None
    with pytest.raises(NotStorableError):
        JsonSerializer().serialize(value)


def test_numpy_scalars_are_not_json():
    """numpy.float64 is a float to json.dumps, and would come back as one."""
    np = pytest.importorskip("numpy")
    assert not is_exact_json({"rmse": np.float64(1.5)})


@pytest.mark.parametrize(
    ("value", "type_name", "path"),
    [
        ({"a": [1, {"b": (1, 2)}]}, "tuple", "['a'][1]['b']"),
        ([1, math.nan], "float", "[1]"),
        ({"a": {5: 1}}, "int", "['a']"),
        ({"x": SHARED, "y": SHARED}, "list", "['y']"),
        ((), "tuple", ""),
    ],
)
def test_the_refusal_names_type_and_path(value, type_name, path):
    """The error tells which part is not JSON, and where it is."""
    with pytest.raises(NotStorableError) as caught:
        JsonSerializer().serialize(value)
    assert (caught.value.type_name, caught.value.path) == (type_name, path)


def test_a_lowered_limit_on_digits_does_no_harm():
    """Integers that a user's lower sys.set_int_max_str_digits would refuse are not written as JSON."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        value = [10**600, 10**641]
        assert is_exact_json(value[:1])
        assert not is_exact_json(value)
        assert JsonSerializer().serialize(value[:1])
    finally:
        sys.set_int_max_str_digits(before)


def test_the_size_can_be_bounded():
    """With more parts than allowed, the answer is no."""
    assert is_exact_json([[1, 2], [3]], most=5)
    assert not is_exact_json([[1, 2], [3]], most=4)


@pytest.mark.parametrize("data", [b"", b"{", b"1 2", b"nope"])
def test_damaged_text_is_an_error(data):
    """What is not exactly one JSON value raises ValueError."""
    with pytest.raises(ValueError):
        JsonSerializer().deserialize(data)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=2)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=12,
)


@given(values)
def test_whatever_is_written_comes_back(value):
    """For any value: either it is refused, or it comes back as it was."""
    data = JsonSerializer().try_serialize(value)
    if data is not None:
        assert repr(JsonSerializer().deserialize(data)) == repr(value)
