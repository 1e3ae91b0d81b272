"""Values as digests: equal content gives equal digests, anything a step could see gives different ones."""

from __future__ import annotations

import array
import collections
import contextvars
import datetime
import decimal
import enum
import fractions
import functools
import io
import itertools
import logging
import math
import operator
import pathlib
import pickle
import queue
import random
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import types
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import dill  # noqa: TID253
import networkx
import numpy as np  # noqa: TID253
import pandas as pd  # noqa: TID253
import polars as pl
import pydantic
import pytest
import requests
import scipy.sparse
import sklearn.linear_model
import sklearn.pipeline
import sklearn.preprocessing
import tqdm
from blake3 import blake3  # noqa: TID253

from notebook_durable.engine.fingerprint import content
from notebook_durable.engine.fingerprint.code import Codes
from notebook_durable.engine.fingerprint.content import Contents, Digest


@pytest.fixture
def contents() -> Contents:
    return Contents(blake3, Codes(blake3))


def digest(value: Any) -> bytes:
    """Digest with nothing remembered."""
    found = Contents(blake3, Codes(blake3)).digest(value)
    assert not found.untracked, found
    return found.digest


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Order:
    amount: int
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Slotted:
    a: int


class Model(pydantic.BaseModel):
    name: str
    size: int = 3
    inner: dict[str, list[int]] = {}


class Lazy:
    def __init__(self, n: int) -> None:
        self.n = n

    @functools.cached_property
    def squared(self) -> int:
        return self.n**2


class Holder:
    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


def double(x: float) -> float:
    return 2 * x


def frame(**changed: Any) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "i": np.arange(4),
        "f": [1.5, np.nan, -0.0, 2],
        "s": ["a", "b", None, "d"],
        "o": pd.Series([1, "x", None, (1, 2)], dtype=object),
        "d": pd.to_datetime(["2026-01-01", None, "2026-01-03", "2026-01-04"]),
        "z": pd.date_range("2026-01-01", periods=4, tz="Europe/Berlin"),
        "t": pd.to_timedelta([1, 2, 3, 4], unit="s"),
        "p": pd.period_range("2026-01", periods=4, freq="M"),
        "n": pd.array([1, None, 3, 4], dtype="Int64"),
        "b": pd.array([True, None, False, True], dtype="boolean"),
        "c": pd.Categorical(["x", "y", "x", None], categories=["y", "x"], ordered=True),
        "v": pd.interval_range(0, 4),
    }
    return pd.DataFrame({**columns, **changed})


def fitted() -> Any:
    model = sklearn.pipeline.make_pipeline(
        sklearn.preprocessing.StandardScaler(), sklearn.linear_model.LogisticRegression(C=0.5)
    )
    return model.fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1])


def stepped_random() -> random.Random:
    made = random.Random(3)
    made.random()
    return made


#: Makers of values that come back from pickle with the same content.
MAKERS: dict[str, Callable[[], Any]] = {
    "scalars": lambda: [None, True, 1, -(2**70), 1.5, math.nan, -0.0, 1j, "ä\ud800", b"x", ..., NotImplemented],
    "nested": lambda: {"a": [1, (2, {3: None})], "b": [[{"c": {1, 2}}]]},
    "dates": lambda: [
        datetime.date(2026, 1, 1),
        datetime.datetime(2026, 1, 1, 12, fold=1),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        datetime.timezone(datetime.timedelta(hours=2), "x"),
        datetime.time(1, 2),
        datetime.timedelta(1, 2, 3),
    ],
    "numbers": lambda: [decimal.Decimal("1.50"), fractions.Fraction(1, 3)],
    "ids": lambda: [uuid.UUID(int=7), pathlib.Path("a/b"), pathlib.PurePosixPath("c")],
    "enums": lambda: [Color.RED, Access.READ | Access.WRITE, Access(0)],
    "ranges": lambda: [range(3), slice(1, None, 2)],
    "containers": lambda: [
        collections.defaultdict(list, {"a": [1]}),
        collections.OrderedDict([("a", 1), ("b", Color.RED)]),
        collections.Counter("abca"),
        collections.deque([1, 2], maxlen=3),
        types.SimpleNamespace(a=1),
        bytearray(b"x"),
        array.array("d", [1, 2]),
        Point(1, 2),
    ],
    "sets": lambda: [{"a", "b", "c", 1, (1, 2)}, frozenset([Color.RED, Color.BLUE])],
    "functions": lambda: [double, len, math.sqrt, operator.itemgetter(1), functools.partial(double, x=3), np.mean],
    "classes": lambda: [Order, int, collections.OrderedDict],
    "bound": lambda: [Lazy(2).__init__, [1].append, "x".join],
    "pattern": lambda: re.compile("a+", re.IGNORECASE),
    "random": stepped_random,
    "generator": lambda: np.random.default_rng(3),
    "random_state": lambda: np.random.RandomState(3),
    "exception": lambda: ValueError("x", 1),
    "dataclass": lambda: [Order(1, ["a"]), Slotted(2)],
    "pydantic": lambda: Model(name="a", inner={"b": [1]}),
    "user_object": lambda: Holder(a=1, b=Holder(c=[1, 2])),
    "user_list": lambda: [collections.UserList([1, 2])],
    "string_io": lambda: io.StringIO("abc"),
    "array": lambda: [np.arange(6.0).reshape(2, 3), np.array(3), np.zeros((0, 2)), np.array(["a", "bb"])],
    "array_dates": lambda: np.array(["2026-01-01", "NaT"], "M8[ns]"),
    "array_objects": lambda: np.array([1, "a", None, [1]], dtype=object),
    "array_structured": lambda: np.array([(1, 2.5)], dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "array_masked": lambda: np.ma.masked_array([1, 2, 3], [0, 1, 0]),
    "array_strings": lambda: np.array(["a", "bcd"], dtype=np.dtypes.StringDType()),
    "numpy_scalars": lambda: [np.float64(1.5), np.int8(1), np.str_("a"), np.bool_(True), np.datetime64("2026-01-01")],
    "void": lambda: np.array([(1, 2.5)], dtype=[("a", "i1"), ("b", "f8")])[0],
    "long_double": lambda: [np.longdouble(1) / 3, np.ones(3, np.longdouble) / 3],
    "recarray": lambda: np.rec.array([(1, "a")], dtype=[("x", int), ("y", "U3")]),
    "frame": frame,
    "frame_wide": lambda: pd.DataFrame(np.arange(20).reshape(2, 10)),
    "series": lambda: pd.Series([1, 2], index=["a", "b"], name="s"),
    "sparse_series": lambda: pd.Series(pd.arrays.SparseArray([0, 0, 1])),
    "index": lambda: [
        pd.Index([1, 2], name="i"),
        pd.RangeIndex(3),
        pd.MultiIndex.from_product([[1, 2], ["a", "b"]], names=["x", None]),
        pd.date_range("2026", periods=3, freq="D"),
        pd.CategoricalIndex(["a", "b"]),
        pd.interval_range(0, 2),
        pd.period_range("2026-01", periods=2, freq="M"),
    ],
    "pandas_scalars": lambda: [
        pd.Timestamp("2026-01-01", tz="UTC"),
        pd.NaT,
        pd.NA,
        pd.Timedelta(1, "s"),
        pd.Interval(0, 1),
        pd.Period("2026-01"),
        pd.DateOffset(days=1),
    ],
    "polars": lambda: pl.DataFrame(
        {
            "i": [1, None, 3],
            "f": [1.5, None, math.nan],
            "s": ["a", None, "bcd"],
            "x": [b"a", None, b""],
            "b": [True, None, False],
            "d": [datetime.date(2026, 1, 1), None, None],
            "t": [datetime.datetime(2026, 1, 1), None, None],
            "l": [[1], None, []],
            "r": [{"a": 1}, None, {"a": 2}],
            "c": pl.Series(["x", None, "y"], dtype=pl.Categorical),
            "e": pl.Series(["x", None, "y"], dtype=pl.Enum(["y", "x"])),
            "m": pl.Series([decimal.Decimal("1.1"), None, None], dtype=pl.Decimal(10, 2)),
        }
    ),
    "polars_lazy": lambda: pl.DataFrame({"a": [1]}).lazy().filter(pl.col("a") > 0),
    "sklearn": fitted,
    "sparse": lambda: scipy.sparse.random(5, 5, 0.5, format="csr", random_state=np.random.RandomState(0)),
    "graph": lambda: networkx.Graph([(1, 2), (2, 3)], name="g"),
    "generic_alias": lambda: [list[int], dict[str, int] | None],
}


@pytest.mark.parametrize("name", MAKERS)
def test_equal_content_gives_equal_digests_and_a_pickled_copy_too(name: str) -> None:
    """A value, one made again, and its copies from pickle and dill have one digest, and it is tracked."""
    make = MAKERS[name]
    first = digest(make())
    assert len(first) == 16
    assert digest(make()) == first
    assert digest(pickle.loads(pickle.dumps(make(), 5))) == first
    assert digest(dill.loads(dill.dumps(make()))) == first


def test_another_process_gives_the_same_digests(tmp_path: pathlib.Path) -> None:
    """Hash seeds, addresses and the order of sets don't matter."""
    script = tmp_path / "others.py"
    script.write_text(
        "import sys, hashlib, collections, enum, numpy, pandas, networkx\n"
        "from notebook_durable.engine.fingerprint.code import Codes\n"
        "from notebook_durable.engine.fingerprint.content import Contents\n"
        "class Kind(enum.Enum):\n    A = 'a'\n    B = 'b'\n"
        "class Node:\n    tags = {'x', 'y', 'zz'}\n    def __init__(self): self.seen = {'p', 'q', Kind.A}\n"
        "def inside(x): return x in {'a', 'b', 'c', 'd'}\n"
        'exec(\'def made(x): return x in {1, "a", "b", "c"}\')\n'
        "value = [Node(), {frozenset('abc'), frozenset('xyz')}, inside, made, Node, collections.Counter('abca'),\n"
        "         pandas.DataFrame({'a': ['x', 'y']}), networkx.path_graph(['a', 'b', 'c'])]\n"
        "print(Contents(hashlib.blake2b, Codes(hashlib.blake2b)).digest(value).digest.hex())\n"
    )
    root = str(pathlib.Path(__file__).parents[2])
    seen = {
        subprocess.run(
            [sys.executable, str(script)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1
    assert len(seen.pop().strip()) == 32


DIFFERENT: list[list[Any]] = [
    [1, 1.0, True, "1", b"1", np.int64(1), np.float64(1), decimal.Decimal(1), fractions.Fraction(1), 1 + 0j, None],
    [[], (), {}, set(), frozenset(), "", b"", bytearray(), collections.deque(), collections.OrderedDict()],
    [[1, 2], [2, 1], [1, [2]], [[1], 2], (1, 2), [1, 2, None]],
    [["a", "b"], ["ab", ""], ["", "ab"], ["a"], [b"a", b"b"]],
    [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}, {"a": 1}],
    [{"a": [1]}, {"a": [2]}, {"a": (1,)}, {"b": [1]}],
    [0.0, -0.0, math.nan, math.inf],
    [np.zeros(2), np.zeros(2, "f4"), np.zeros((2, 1)), np.zeros(2, ">f8"), np.zeros(2, "m8[s]"), np.zeros(2, "M8[s]")],
    [np.arange(4).reshape(2, 2), np.arange(4).reshape(2, 2).T, np.arange(4)],
    [np.zeros(2).view(np.recarray), np.zeros(2), np.asmatrix(np.zeros(2))],
    [pd.Series([1, 2]), pd.Series([1, 2], name="a"), pd.Series([1, 2], index=[1, 2]), pd.Series([1.0, 2.0])],
    [pd.Series(["a"]), pd.Series(["a"], dtype=object), pd.Series(["a"], dtype="category"), pd.Series(["b"])],
    [pd.Index([0, 1]), pd.RangeIndex(2), pd.Index([0, 1], name="x"), pd.Index([0.0, 1.0])],
    [pd.date_range("2026", periods=2, freq="D"), pd.DatetimeIndex(["2026-01-01", "2026-01-02"])],
    [
        pd.date_range("2026", periods=2, tz="UTC"),
        pd.date_range("2026", periods=2),
        pd.date_range("2026", periods=2, unit="s"),
    ],
    [
        pd.Categorical(["a"], ["a", "b"]),
        pd.Categorical(["a"], ["b", "a"]),
        pd.Categorical(["a"], ["a", "b"], ordered=True),
    ],
    [pd.array([1, None], dtype="Int64"), pd.array([1, 0], dtype="Int64"), pd.array([1, None], dtype="Int32")],
    [pd.Timestamp("2026"), pd.Timestamp("2026", tz="UTC"), pd.NaT, pd.NA, datetime.datetime(2026, 1, 1)],
    [
        pl.Series([1]),
        pl.Series("a", [1]),
        pl.Series([1], dtype=pl.Int8),
        pl.Series([None], dtype=pl.Int64),
        pl.Series([0]),
    ],
    [pl.Series(["a", "bc"]), pl.Series(["ab", "c"]), pl.Series(["a", None]), pl.Series(["a", ""])],
    [datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 1, fold=1), datetime.date(2026, 1, 1)],
    [datetime.UTC, datetime.timezone(datetime.timedelta(0), "x"), zoneinfo.ZoneInfo("UTC")],
    [Color.RED, Color.BLUE, 1, "RED", Access.READ],
    [pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), pathlib.PurePosixPath("b"), "a"],
    [Point(1, 2), (1, 2), Point(2, 1)],
    [Order(1), Order(2), Order(1, ["a"]), Slotted(1)],
    [Model(name="a"), Model(name="b"), Model(name="a", inner={"x": [1]})],
    [Holder(a=1), Holder(b=1), Holder(a=2), Holder()],
    [re.compile("a"), re.compile("b"), re.compile("a", re.IGNORECASE)],
    [random.Random(1), random.Random(2)],
    [np.random.default_rng(1), np.random.default_rng(2)],
    [iter([1, 2]), iter([1, 3]), iter((1, 2)), reversed([1, 2]), iter({1: 2}), enumerate([1, 2]), iter("12")],
    [map(len, ["a"]), map(str, ["a"]), map(len, ["b"]), filter(None, ["a"]), zip(["a"], strict=False)],
    [range(3), range(4), range(0, 3, 2), slice(3)],
    [functools.partial(double), functools.partial(double, 1), functools.partial(double, x=1), double, len],
    [collections.defaultdict(list), collections.defaultdict(set), {}],
    [collections.deque([1], 2), collections.deque([1], 3), collections.deque([1])],
    [{}.keys(), {}.values(), {}.items(), {1: 2}.keys(), {1: 2}.values()],
    [Lazy(1).__init__, Lazy(2).__init__, Lazy.__init__],
    [math, operator, np],
    [sklearn.linear_model.LogisticRegression(C=1), sklearn.linear_model.LogisticRegression(C=10), fitted()],
    [scipy.sparse.csr_matrix([[1, 0]]), scipy.sparse.csr_matrix([[2, 0]]), scipy.sparse.csc_matrix([[1, 0]])],
    [networkx.Graph([(1, 2)]), networkx.Graph([(2, 1)]), networkx.DiGraph([(1, 2)]), networkx.Graph([(1, 3)])],
    [np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 2], [0, 0]), np.array([1, 2])],
    [logging.getLogger("a"), logging.getLogger("b")],
    [ValueError("a"), ValueError("b"), TypeError("a")],
    [types.MappingProxyType({1: 2}), {1: 2}, types.MappingProxyType({1: 3})],
    [memoryview(b"ab"), memoryview(bytearray(b"ac")), bytearray(b"ab"), array.array("b", b"ab")],
]


@pytest.mark.parametrize("values", DIFFERENT, ids=range(len(DIFFERENT)))
def test_what_a_step_could_see_gives_different_digests(values: list[Any]) -> None:
    """No two of these values have one digest, alone or inside of a list."""
    assert len({digest(value) for value in values}) == len(values)
    assert len({digest([value]) for value in values}) == len(values)


@pytest.mark.parametrize(
    "change",
    [
        lambda df: df.rename(columns={"i": "j"}),
        lambda df: df[df.columns[::-1]],
        lambda df: df.set_index("i"),
        lambda df: df.assign(i=df.i.astype("int32")),
        lambda df: df.assign(s=df.s.astype(object)),
        lambda df: df.iloc[::-1],
        lambda df: df.assign(d=df.d.dt.as_unit("ms")),
        lambda df: df.assign(n=df.n.fillna(0)),
        lambda df: df.rename_axis("rows"),
        lambda df: df.rename_axis("columns", axis=1),
        lambda df: df.set_flags(allows_duplicate_labels=False),
        lambda df: df.assign(o=[1, "x", None, (1, 3)]),
        lambda df: df.head(3),
    ],
)
def test_a_changed_frame_differs(change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Names, order, dtypes, units, index, flags and values of a frame count."""
    assert digest(change(frame())) != digest(frame())


def test_attrs_of_a_frame_count() -> None:
    """A frame's attrs are content."""
    noted = frame()
    noted.attrs["unit"] = "eur"
    assert digest(noted) != digest(frame())


def test_how_an_array_lies_in_memory_is_no_content() -> None:
    """Strides, order in memory, flags and what lies in the padding don't count."""
    plain = np.arange(12.0).reshape(3, 4)
    wide = np.zeros((3, 8))
    wide[:, ::2] = plain
    frozen = plain.copy()
    frozen.flags.writeable = False
    for other in (np.asfortranarray(plain), wide[:, ::2], frozen, plain[::-1][::-1]):
        assert digest(other) == digest(plain)
    aligned = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    left, right = np.frombuffer(b"\0" * 32, aligned).copy(), np.frombuffer(b"\1" * 32, aligned).copy()
    for filled in (left, right):
        filled["a"], filled["b"] = 1, 2.5
    assert left.tobytes() != right.tobytes()
    assert digest(left) == digest(right)


def test_what_lies_under_a_missing_value_is_no_content() -> None:
    """Nullable columns are compared by what can be seen."""
    left, right = pd.array([1, 2], dtype="Int64"), pd.array([1, 3], dtype="Int64")
    left[1] = right[1] = pd.NA
    assert digest(pd.Series(left)) == digest(pd.Series(right))


def test_chunks_of_polars_are_no_content() -> None:
    """A frame that was put together has the digest of one that was made at once."""
    make = MAKERS["polars"]
    parts = pl.concat([make()[:1], make()[1:]], rechunk=False)
    assert parts.n_chunks() == 2
    assert digest(parts) == digest(make())
    assert digest(parts[1:]) == digest(make()[1:])


def test_order_of_sets_and_attributes_is_no_content() -> None:
    """Sets are order-free, also inside reduced objects, and so is the order in which attributes were set."""
    many = [f"item {i}" for i in range(100)]
    assert digest(set(many)) == digest({*many[50:], *many[:50]})
    assert digest(Holder(s=set(many))) == digest(Holder(s={*many[50:], *many[:50]}))
    assert digest([{Point(i, i) for i in range(50)}]) == digest([{Point(i, i) for i in reversed(range(50))}])
    assert digest(Holder(a=1, b=2)) == digest(Holder(b=2, a=1))


def test_a_cached_property_is_no_state() -> None:
    """Looking at a functools.cached_property changes nothing, in a user's class and in a library's."""
    used = Lazy(3)
    assert used.squared == 9
    assert "squared" in vars(used)
    assert digest(used) == digest(Lazy(3))
    graph = networkx.Graph([(1, 2)])
    assert list(graph.adj)
    assert list(graph.edges)
    assert digest(graph) == digest(networkx.Graph([(1, 2)]))


def test_notes_that_a_sparse_matrix_makes_are_no_state() -> None:
    """Asking whether its indices are sorted changes nothing."""
    matrix = scipy.sparse.csr_matrix([[1, 0, 2]])
    before = digest(matrix)
    assert matrix.has_sorted_indices
    assert matrix.has_canonical_format
    assert digest(matrix) == before


def test_whether_parts_are_shared_is_no_content() -> None:
    """A list twice in a list is like two equal lists; the stores may bring either back."""
    part = [Holder(a=1)]
    assert digest([part, part]) == digest([[Holder(a=1)], [Holder(a=1)]])


def test_much_shared_values_take_no_time() -> None:
    """Sixty levels of a list that holds the one below twice have 2**60 leaves."""
    value: Any = [Color.RED]
    for _ in range(60):
        value = [value, value]
    assert digest(value) == digest(pickle.loads(pickle.dumps(value)))


def test_cycles_end() -> None:
    """What refers to itself has a digest, that tells its shape."""

    def ring(*names: str) -> Any:
        nodes = [Holder(name=name) for name in names]
        for node, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            node.next = following
        return nodes[0]

    loop: list[Any] = [1]
    loop.append(loop)
    assert digest(loop) == digest(pickle.loads(pickle.dumps(loop)))
    assert digest(ring("a", "b")) == digest(ring("a", "b"))
    assert len({digest(ring(*names)) for names in ("ab", "abc", "ba", "a", "abab")}) == 5


def test_a_dense_graph_of_objects_ends() -> None:
    """Thirty objects of which each refers to all: the number of ways through them is no matter."""

    def dense() -> list[Any]:
        nodes = [Holder(name=i) for i in range(30)]
        for node in nodes:
            node.others = list(nodes)
        return nodes

    changed = dense()
    changed[17].name = "other"
    assert digest(dense()) == digest(dense())
    assert digest(dense()) != digest(changed)


def test_members_of_a_set_that_refer_to_what_holds_them(contents: Contents) -> None:
    """Their content counts, in whatever order the set has them."""

    def owner(changed: int = -1) -> Holder:
        made = Holder(name="a")
        made.parts = {Holder(owner=made, i=i, v=int(i == changed), shared=[i]) for i in range(10)}
        return made

    assert digest(owner()) == digest(pickle.loads(pickle.dumps(owner())))
    assert digest(owner()) != digest(owner(changed=3))
    assert not contents.digest(owner()).untracked


def test_sets_of_objects_that_refer_to_each_other_end(contents: Contents) -> None:
    """Sets in sets count by the types of their members, which is listed: there are too many ways through them."""

    def clique(changed: int = -1) -> list[Any]:
        nodes = [Holder(v=int(i == changed)) for i in range(14)]
        for node in nodes:
            node.others = {other for other in nodes if other is not node} | {("name", 1)}
        return nodes

    found = contents.digest(clique())
    assert found.untracked
    assert found.digest == contents.digest(pickle.loads(pickle.dumps(clique()))).digest
    assert found.digest != contents.digest(clique(changed=5)).digest


def test_more_ways_through_than_can_be_walked_count_by_type(
    contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound ends it, and the whole value is listed."""
    monkeypatch.setattr(content, "_MOST_STEPS", 50)
    owner = Holder(name="a")
    owner.parts = {Holder(owner=owner, i=i) for i in range(100)}
    assert [part.value for part in contents.digest(owner).untracked] == [owner]


@pytest.mark.parametrize("length", [300, 3_000])
def test_deep_values_have_content(length: int, contents: Contents) -> None:
    """Linked lists and nested lists: the last node counts."""

    def linked(last: int) -> Any:
        node: Any = Holder(v=last)
        for i in range(length):
            node = Holder(v=i, next=node) if i % 2 else [node]
        return node

    assert digest(linked(1)) == digest(linked(1)) != digest(linked(2))
    assert not contents.digest(linked(1)).untracked


def test_a_part_of_what_was_given_up_counts_elsewhere(contents: Contents) -> None:
    """What was said of parts of a library's object that counts by type isn't relied on."""

    def value(v: int) -> list[Any]:
        loop = Holder(v=v)
        loop.me = Holder(back=loop)
        return [queue_like([loop, threading.Lock()]), loop.me]

    def queue_like(parts: list[Any]) -> Any:
        pipeline = sklearn.pipeline.Pipeline([("a", None)])
        pipeline.parts = parts
        return pipeline

    assert contents.digest(value(1)).digest != contents.digest(value(2)).digest


def test_the_hidden_generators_have_no_state(contents: Contents) -> None:
    """``random.choice`` and ``np.random.rand`` are the same function before and after a draw; the user's aren't."""
    for draw in (random.random, random.choice, np.random.rand, np.random.mtrand._rand):
        before = contents.digest(draw)
        random.random(), np.random.rand()
        assert contents.digest(draw) == before
    own = random.Random(0)
    before = contents.digest(own.random)
    own.random()
    assert contents.digest(own.random) != before


def test_a_connection_that_code_holds_is_listed(contents: Contents) -> None:
    """In a class attribute, or closed over by a function that is a value."""
    connection = sqlite3.connect(":memory:")

    class Repository:
        db = connection

    for value in (Repository, Repository(), [lambda: connection]):
        assert [part.value for part in contents.digest(value).untracked] == [connection]
    connection.close()


def test_what_was_noted_on_a_function_counts() -> None:
    """``score.rate = 2``: whoever is given the function may read it."""

    def made(rate: int) -> Any:
        def score() -> None: ...

        score.rate = rate  # type: ignore[attr-defined]
        return score

    assert digest(made(1)) == digest(made(1)) != digest(made(2))


WITHOUT_CONTENT: dict[str, Callable[[], Any]] = {
    "sqlite3.Connection": lambda: sqlite3.connect(":memory:"),
    "_thread.lock": threading.Lock,
    "threading.Thread": threading.Thread,
    "threading.Event": threading.Event,
    "generator": lambda: (i for i in [1, 2]),
    "itertools.count": lambda: itertools.count(3),
    "requests.sessions.Session": requests.Session,
    "_io.TextIOWrapper": pathlib.Path(__file__).open,
    "queue.Queue": queue.Queue,
    "contextvars.ContextVar": lambda: contextvars.ContextVar("x"),
    "tqdm.std.tqdm": lambda: tqdm.tqdm([1, 2], file=io.StringIO()),
    "socket.socket": socket.socket,
    "weakref": lambda: __import__("weakref").ref(Color),
}


@pytest.mark.parametrize("name", WITHOUT_CONTENT)
def test_what_has_no_content_counts_by_type(name: str, contents: Contents) -> None:
    """Two of a kind are equal, and each is listed with its type and itself."""
    first, second = WITHOUT_CONTENT[name](), WITHOUT_CONTENT[name]()
    try:
        found = contents.digest(first)
        assert name in found.untracked[0].type_name
        assert found.untracked[0].value is first
        assert len(found.digest) == 16
        assert contents.digest(second).digest == found.digest
        inside = contents.digest({"x": [1, first]})
        assert [part.value for part in inside.untracked] == [first]
        assert inside.digest == contents.digest({"x": [1, second]}).digest
        assert inside.digest != contents.digest({"x": [2, second]}).digest
    finally:
        for value in (first, second):
            if hasattr(value, "close"):
                value.close()


def test_looking_takes_nothing(contents: Contents) -> None:
    """A generator isn't consumed, a file isn't moved, a random generator isn't advanced."""
    numbers = (i for i in [1, 2])
    listed, keys, mapped = iter([1, 2]), iter({1: 2}), map(str, iter([1, 2]))
    text = io.StringIO("abc")
    generator, plain = np.random.default_rng(3), random.Random(3)
    with pathlib.Path(__file__).open() as file:
        for value in (numbers, listed, keys, mapped, text, file, generator, plain):
            contents.digest(value)
            contents.digest([value])
        assert file.tell() == 0
    assert list(numbers) == [1, 2]
    assert list(listed) == [1, 2]
    assert list(keys) == [1]
    assert list(mapped) == ["1", "2"]
    assert text.read() == "abc"
    assert generator.random() == np.random.default_rng(3).random()
    assert plain.random() == random.Random(3).random()


def test_a_users_object_with_a_connection_counts_part_by_part(contents: Contents) -> None:
    """The connection is listed; the rest of the state still counts."""
    first, second = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    try:
        found = contents.digest(Holder(connection=first, table="a"))
        assert [part.value for part in found.untracked] == [first]
        assert found.digest == contents.digest(Holder(connection=second, table="a")).digest
        assert found.digest != contents.digest(Holder(connection=second, table="b")).digest
    finally:
        first.close()
        second.close()


def test_a_librarys_object_counts_whole_or_not_at_all(contents: Contents) -> None:
    """An estimator that holds a lock counts by its type, and is what is listed."""
    model = sklearn.linear_model.LogisticRegression(C=1, class_weight={0: threading.Lock()})
    found = contents.digest([model])
    assert [part.value for part in found.untracked] == [model]
    other = sklearn.linear_model.LogisticRegression(C=2, class_weight={0: threading.Lock()})
    assert contents.digest([other]).digest == found.digest


def test_a_users_own_thread_counts_by_type_and_code(contents: Contents) -> None:
    """A class derived from one without content has none, but its code counts."""

    class Worker(threading.Thread):
        def run(self) -> None:
            print(1)

    first = contents.digest(Worker())

    class Worker(threading.Thread):  # type: ignore[no-redef]
        def run(self) -> None:
            print(2)

    assert first.untracked
    assert first.digest != contents.digest(Worker()).digest


def test_a_users_own_iterator_has_its_state() -> None:
    """An object with __next__ that the user wrote is compared by its parts."""

    class Countdown:
        def __init__(self, n: int) -> None:
            self.n = n

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> int:
            self.n -= 1
            return self.n

    assert digest(Countdown(3)) == digest(Countdown(3)) != digest(Countdown(2))


def test_objects_that_misbehave_count_by_type(contents: Contents) -> None:
    """Whatever they raise when looked at, the digest is made, and they are listed."""

    class Bad:
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise OSError("not now")

    class Worse:
        def __reduce_ex__(self, protocol: Any) -> Any:
            return 7

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Deep:
        def __getstate__(self) -> Any:
            return {"next": Deep()}

    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (Bad(), Worse(), Deep(), deep):
        found = contents.digest(value)
        assert len(found.digest) == 16
        assert found.untracked
        assert contents.digest(value).digest == found.digest
    # Take it apart by hand: the interpreter's own way down is deep too.
    while deep:
        deep = deep.pop()


def test_stop_gets_through(contents: Contents) -> None:
    """KeyboardInterrupt while a value is looked at is no misbehaviour."""

    class Slow:
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contents.digest([Slow()])


def test_the_class_of_an_object_counts(contents: Contents) -> None:
    """An object of a user's class differs when a method of the class was edited."""

    class Scorer:
        def score(self) -> int:
            return 1

    first = contents.digest(Scorer()).digest

    class Scorer:  # type: ignore[no-redef]
        def score(self) -> int:
            return 2

    assert contents.digest(Scorer()).digest != first


def test_a_mock_or_proxy_is_not_asked(contents: Contents) -> None:
    """An object that answers to every attribute is told by its type."""
    import xmlrpc.client

    proxy = xmlrpc.client.ServerProxy("http://localhost:1")
    assert contents.digest(proxy).untracked[0].type_name == "xmlrpc.client.ServerProxy"


def test_buffers_seen_before_are_not_hashed_again() -> None:
    """Long bytes and text, and read-only arrays that own their memory, are hashed once, until forgotten."""
    hashed: list[int] = []

    class Counting:
        def __init__(self) -> None:
            self.inner = blake3()

        def update(self, data: Any) -> None:
            hashed.append(len(data))
            self.inner.update(data)

        def digest(self) -> bytes:
            return self.inner.digest()

    contents = Contents(Counting, Codes(Counting))
    frozen = np.zeros(100_000)
    frozen.flags.writeable = False
    view = np.zeros(100_000)[:90_000]
    view.flags.writeable = False
    for value, costs in ((b"x" * 100_000, False), ("y" * 100_000, False), (frozen, False), (view, True)):
        first = contents.digest(Holder(v=value))
        hashed.clear()
        assert contents.digest(Holder(v=value)) == first
        assert (max(hashed) >= 100_000) is costs
        contents.forget()
        hashed.clear()
        assert contents.digest(Holder(v=value)) == first
        assert max(hashed) >= 100_000


def test_a_writable_array_is_hashed_again(contents: Contents) -> None:
    """An array that was changed in place has another digest."""
    data = np.zeros(100_000)
    first = contents.digest(data)
    data[7] = 1
    assert contents.digest(data) != first


def test_a_dropped_read_only_array_is_not_confused_with_a_new_one(contents: Contents) -> None:
    """What is remembered by id ends with the object."""
    seen: set[bytes] = set()
    for i in range(50):
        data = np.full(100_000, float(i))
        data.flags.writeable = False
        seen.add(contents.digest(data).digest)
        del data
    assert len(seen) == 50


def test_long_texts_are_not_kept_for_ever(contents: Contents) -> None:
    """What is remembered of long bytes that nobody has any more is dropped when the next come."""
    for i in range(5):
        contents.digest(bytes([i]) * 100_000)
    contents.digest([b"z" * 100_000])
    assert len(contents.seen._held) <= 2


def test_nothing_stands_in_clear() -> None:
    """A short value's digest doesn't show it."""
    assert b"hunter2" not in digest("hunter2")
    assert isinstance(Contents(blake3, Codes(blake3)).digest(1), Digest)


def test_plain_rows_and_others_are_told_apart_and_equal_to_themselves() -> None:
    """Lists of scalars go in one go; a subclass inside takes the other way, and differs by its type."""

    class Text(str):
        __slots__ = ()

    rows = [(1, "a", 1.5), (2, "b", None)]
    assert digest(rows) == digest([tuple(row) for row in rows])
    assert digest([1, np.float64(1)]) != digest([1, 1.0])
    assert digest(["a"]) != digest([Text("a")])
    assert digest([{"a": 1}, {"a": 2}]) != digest([{"a": 1}, {"a": 3}])


def test_no_library_is_imported_to_ask() -> None:
    """Digesting plain values loads neither numpy nor pandas nor pyarrow."""
    root = str(pathlib.Path(__file__).parents[2])
    code = (
        "import sys, hashlib, datetime\n"
        "from notebook_durable.engine.fingerprint.code import Codes\n"
        "from notebook_durable.engine.fingerprint.content import Contents\n"
        "class A: pass\n"
        "Contents(hashlib.blake2b, Codes(hashlib.blake2b)).digest([A(), {'a': datetime.datetime.now()}, {1}])\n"
        "print(sorted({'numpy', 'pandas', 'polars', 'pyarrow', 'torch', 'pydantic'} & set(sys.modules)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": root, "PATH": ""}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_torch_like_tensors_by_reduce() -> None:
    """A third-party object with its own __reduce_ex__ is compared by the parts that it gives."""
    module = types.ModuleType("torchlike")
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    sys.modules["torchlike"] = module
    try:
        exec(
            "class Tensor:\n"
            "    def __init__(self, data): self.data = data\n"
            "    def __reduce_ex__(self, protocol): return (rebuild, (bytes(self.data), len(self.data)))\n"
            "def rebuild(data, size): return Tensor(data)\n",
            vars(module),
        )
        assert digest(module.Tensor(b"ab")) == digest(module.Tensor(b"ab")) != digest(module.Tensor(b"ac"))
    finally:
        del sys.modules["torchlike"]


def test_queries_of_sqlalchemy_count_by_their_text() -> None:
    """A select or text is compared by the SQL and its parameters; an engine has no content."""
    sql = pytest.importorskip("sqlalchemy")

    def table() -> Any:
        return sql.Table("t", sql.MetaData(), sql.Column("id", sql.Integer), sql.Column("name", sql.String))

    def query(limit: int) -> Any:
        return sql.select(table()).where(table().c.id > limit)

    assert digest(query(1)) == digest(query(1)) != digest(query(2))
    assert digest(sql.text("select :a").bindparams(a=1)) != digest(sql.text("select :a").bindparams(a=2))
    assert digest(table()) == digest(table()) != digest(sql.Table("t", sql.MetaData(), sql.Column("id", sql.Integer)))
    engine = sql.create_engine("sqlite://")
    assert Contents(blake3, Codes(blake3)).digest(engine).untracked[0].value is engine
