"""Values of many kinds, and a strict comparison: what every serializer, store and replay has to bring back.

Run as a notebook cell (then its classes belong to the notebook's ``__main__``) or imported as a module. Every value is
made anew and alike by each call, so that a second process can compare what it reads with what it makes itself.
"""

from __future__ import annotations

import abc
import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import importlib.util
import io
import ipaddress
import math
import operator
import pathlib
import random
import re
import types
import typing
import uuid
import zoneinfo

# --- classes of the notebook ------------------------------------------------------------------


T = typing.TypeVar("T")


class Plain:
    def __init__(self, **attributes):
        vars(self).update(attributes)

    def method(self):
        return sorted(vars(self))


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b=None):
        self.a = a
        if b is not None:
            self.b = b


@dataclasses.dataclass
class Order:
    number: int
    lines: list = dataclasses.field(default_factory=list)
    parent: object = None


@dataclasses.dataclass(frozen=True, slots=True)
class Money:
    amount: decimal.Decimal
    currency: str = "EUR"


class Point(typing.NamedTuple):
    x: float
    y: float = 0.0

    def norm(self):
        return math.hypot(self.x, self.y)


Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024  this kind too


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Kind(enum.StrEnum):
    A = "a"


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Mapping(dict):
    pass


class Text(str):
    __slots__ = ()


class Outer:
    class Inner:
        def __init__(self, v):
            self.v = v


class ApiError(Exception):
    """A constructor that pickle can't call with ``args``."""

    def __init__(self, status, *, url):
        super().__init__(f"status {status} from {url}")
        self.status = status
        self.url = url


class Echo(Exception):
    """A constructor that pickle calls happily, with the wrong result."""

    def __init__(self, name):
        super().__init__(f"hello {name}")


class WithCallback:
    def __init__(self, fn):
        self.fn = fn


FACTOR = 3


def scale(x):
    return x * FACTOR


@functools.wraps(scale)
def wrapped(x):
    return scale(x) + 1


def closure(n):
    box = [n]

    def add(x):
        box[0] += x
        return box[0]

    return add


def local_class():
    @dataclasses.dataclass
    class Local:
        a: int = 1
        b: list = dataclasses.field(default_factory=list)

        def me(self):
            return __class__

    class Child(Local):
        def __init__(self):
            super().__init__(2)

    return {"cls": Local, "one": Local(5), "many": [Local(6), Child()]}


def local_classes_of_many_kinds():
    class Slots:
        __slots__ = ("__weakref__", "a")

        def __init__(self, a):
            self.a = a

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def f(self): ...

    class Concrete(Abstract):
        def f(self):
            return 7

    class Generic(typing.Generic[T]):
        def __init__(self, x: T):
            self.x = x

    class Child(Plain):
        factor = 5

        @property
        def p(self):
            return self.a

        @classmethod
        def c(cls):
            return cls.factor

        @staticmethod
        def s():
            return 3

    class Meta(type):
        def hi(cls):
            return "hi"

    class WithMeta(metaclass=Meta):
        pass

    class LocalError(Exception):
        def __init__(self, x, *, y):
            super().__init__(x)
            self.y = y

    @dataclasses.dataclass(frozen=True, slots=True)
    class Frozen:
        a: int

    return [Slots(1), Concrete(), Generic(5), Child(a=1), WithMeta(), LocalError(1, y=2), Frozen(1)]


def view_local_classes(v):
    slots, concrete, generic, child, meta, error, frozen = v
    return [
        [type(x).__qualname__ for x in v],
        [slots.a, concrete.f(), generic.x, isinstance(child, Plain), child.p, child.c(), child.s()],
        [type(meta).hi(), error.args, error.y, frozen == type(frozen)(1), type(frozen)(1) == frozen],
    ]


def factorial():
    def fact(n):
        return 1 if n < 2 else n * fact(n - 1)

    return fact


# --- the values -------------------------------------------------------------------------------


class Case(typing.NamedTuple):
    name: str
    value: object
    view: object = None  # turns a value that has no equality into one that has


def python_values():
    shared = [1, 2]
    loop = ["self"]
    loop.append(loop)
    yield Case("None", None)
    yield Case("bool", True)
    yield Case("int", 7)
    yield Case("int of 5000 digits", 10**5000 + 1)
    yield Case("int 2**70", -(2**70))
    yield Case("float", 0.1)
    yield Case("float nan", math.nan)
    yield Case("float inf", -math.inf)
    yield Case("float -0.0", -0.0)
    yield Case("complex", complex(1, -0.0))
    yield Case("str", "naïve 🎉 \x00 \u2028")
    yield Case("str surrogate", "file\udcff")
    yield Case("str surrogate pair", "\ud83d" + "\ude00")
    yield Case("bytes", b"\x00\xff")
    yield Case("bytearray", bytearray(b"abc"))
    yield Case("list", [1, "a", None, [2.5]])
    yield Case("dict", {"b": 1, "a": {"c": [True]}})
    yield Case("tuple", (1, (2,), []))
    yield Case("list of tuples", [("a", 1), ("b", 2)])
    yield Case("int keys", {1: "a", 2: "b"})
    yield Case("mixed keys", {None: 0, True: 1, "x": 2, (1, 2): 3})
    yield Case("set", {1, "a", (2,)})
    yield Case("frozenset", frozenset({1, 2}))
    yield Case("shared list", {"a": shared, "b": shared})
    yield Case("list in itself", loop, lambda v: (v[0], v[1] is v, len(v)))
    yield Case("OrderedDict", collections.OrderedDict(b=1, a=2))
    yield Case("defaultdict", collections.defaultdict(list, a=[1]))
    yield Case("Counter", collections.Counter("banana"))
    yield Case("deque", collections.deque([1, 2, 3], maxlen=5))
    yield Case("ChainMap", collections.ChainMap({"a": 1}, {"b": 2}))
    yield Case("Decimal", decimal.Decimal("1.10"), lambda v: (v, v.as_tuple()))
    yield Case("Fraction", fractions.Fraction(1, 3))
    yield Case("datetime", dt.datetime(2026, 3, 29, 2, 30, fold=1), lambda v: (v, v.fold))
    yield Case("datetime utc", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    yield Case(
        "datetime zone",
        dt.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        lambda v: (v, v.tzinfo.key, v.utcoffset()),
    )
    yield Case("date", dt.date(2026, 1, 1))
    yield Case("time", dt.time(1, 2, 3, 4))
    yield Case("timedelta", dt.timedelta(days=-1, microseconds=1))
    yield Case("ZoneInfo", zoneinfo.ZoneInfo("Asia/Tokyo"), lambda v: v.key)
    yield Case("UUID", uuid.UUID(int=5))
    yield Case("Path", pathlib.Path("a/b.csv"))
    yield Case("Pattern", re.compile(r"\d+", re.IGNORECASE))
    yield Case("range", range(1, 10, 2))
    yield Case("slice", slice(1, None, 2))
    yield Case("Ellipsis", ...)
    yield Case("NotImplemented", NotImplemented, lambda v: v is NotImplemented)
    yield Case("array.array", array.array("d", [1.5, 2.5]))
    yield Case("SimpleNamespace", types.SimpleNamespace(a=1, b=[2]))
    yield Case("ip network", ipaddress.ip_network("10.0.0.0/8"))
    yield Case("BytesIO", io.BytesIO(b"abc"), lambda v: (v.getvalue(), v.tell()))
    yield Case("random.Random", random.Random(5), lambda v: v.getstate())
    yield Case("list iterator", iter([1, 2, 3]), lambda v: (type(v), v.__length_hint__()))
    large = bytes(range(256)) * 400
    yield Case("large bytes", large)
    yield Case("large bytearray", bytearray(large))
    yield Case("large text", "naïve 🎉 \udcff" * 20_000)
    yield Case("large ones, shared", [large, {"again": large}, bytearray(large)], lambda v: (v, v[0] is v[1]["again"]))
    yield Case("types", [int, dict, type(None), type(...), collections.OrderedDict, types.FunctionType])
    yield Case("generic alias", list[int])
    yield Case("builtin function", [len, math.sin, operator.itemgetter("a")], lambda v: (v[0], v[1], v[2]({"a": 1})))
    yield Case("partial", functools.partial(int, base=2), lambda v: (v.func, v.keywords, v("101")))
    yield Case("module", math)
    yield Case("library function", [math.hypot, re.compile, pathlib.Path.joinpath])
    yield Case("bound method", "abc".upper, lambda v: v())


def exception_values():
    noted = ValueError("bad", 5)
    noted.add_note("look at row 5")
    caused = RuntimeError("outer")
    caused.__cause__ = KeyError("inner")
    api = ApiError(503, url="http://x")
    api.__cause__ = OSError(2, "No such file", "x.csv")
    yield Case("ValueError with note", noted)
    yield Case("error with cause", caused)
    yield Case("OSError", OSError(13, "denied", "f.csv"), lambda v: (type(v), v.errno, v.filename, str(v)))
    yield Case("KeyError", KeyError("k"))
    yield Case("UnicodeDecodeError", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))
    yield Case("ImportError", ImportError("no", name="pkg"), lambda v: (v.args, v.name))
    yield Case("ExceptionGroup", ExceptionGroup("two", [ValueError(1), api]))
    yield Case("keyword-only constructor", api)
    yield Case("constructor that changes its text", Echo("you"))


def notebook_values():
    order = Order(1, ["a"], parent=Order(2))
    yield Case("plain object", Plain(a=1, b=[2]))
    yield Case("slots", Slotted(1))
    yield Case("dataclass", order)
    yield Case("frozen dataclass", Money(decimal.Decimal("1.50")))
    yield Case("NamedTuple", Point(1.0, 2.0), lambda v: (v, v.norm()))
    yield Case("namedtuple", Pair(1, "a"))
    yield Case("Enum", Color.RED)
    yield Case("IntEnum", Level.HIGH)
    yield Case("StrEnum", Kind.A)
    yield Case("Flag", Access.READ | Access.WRITE)
    yield Case("Enum as key", {Color.RED: [Color.GREEN]}, lambda v: (v, next(iter(v)) is Color.RED))
    yield Case("dict subclass", Mapping(a=1))
    yield Case("str subclass", Text("abc"))
    yield Case("nested class", Outer.Inner(5))
    yield Case("classes", [Plain, Color, Outer.Inner, Point])
    yield Case("in a list", [order, [Plain(a=Color.RED)]])
    yield Case("in a dict", {"order": order, "again": order})
    yield Case("bound method of ours", Plain(z=1).method, lambda v: v())
    yield Case("function", scale, lambda v: (v(2), v.__name__, v.__module__))
    yield Case("lambda", lambda x, k=2: x * k * FACTOR, lambda v: (v(2), v(2, k=5)))
    yield Case("decorated function", wrapped, lambda v: (v(2), v.__wrapped__(2)))
    yield Case("closure", closure(5), lambda v: v.__closure__[0].cell_contents)
    yield Case("recursive function", factorial(), lambda v: v(5))
    yield Case("lambda in an object", WithCallback(lambda x: x + FACTOR), lambda v: (type(v) is WithCallback, v.fn(1)))
    yield Case("defaultdict of lambda", collections.defaultdict(lambda: 5, a=1), lambda v: (dict(v), v["new"]))
    yield Case("partial of ours", functools.partial(scale, 5), lambda v: v())
    yield Case("local classes of many kinds", local_classes_of_many_kinds(), view_local_classes)
    yield Case(
        "local class",
        local_class(),
        lambda v: (
            [type(x).__qualname__ for x in v["many"]],
            type(v["one"]) is v["cls"],
            v["one"].me() is v["cls"],
            isinstance(v["many"][1], v["cls"]),
            dataclasses.asdict(v["one"]),
        ),
    )


def numpy_values():
    import numpy as np

    for code in (
        "?",
        "i1",
        "u2",
        "i4",
        "i8",
        "u8",
        "f2",
        "f4",
        "f8",
        "c8",
        "c16",
        ">i4",
        "S3",
        "U3",
        "M8[ns]",
        "m8[D]",
        "V2",
    ):
        yield Case(f"array {code}", np.zeros(3, dtype=code))
    for scalar in (np.int8(5), np.uint64(2**63), np.float32(0.1), np.float64(0.1), np.float64("nan"), np.bool_(True)):
        yield Case(f"scalar {scalar!r}", scalar)
    yield Case("scalar str", np.str_("abc"))
    yield Case("scalar datetime64", np.datetime64("2026-01-01", "ns"))
    yield Case("scalar NaT", np.timedelta64("NaT", "ns"))
    yield Case("scalars in a dict", {"rmse": np.float64(1.5), "n": np.int64(3)})
    yield Case("structured", np.array([(1, 2.0, "a")], dtype=[("i", "i4"), ("f", "f8"), ("s", "U2")]))
    yield Case("record", np.rec.array([(1, 2.0)], dtype=[("i", "i4"), ("f", "f8")]))
    yield Case("object", np.array([1, "a", None, [2]], dtype=object))
    yield Case("object of ours", np.array([Color.RED, Order(1)], dtype=object))
    yield Case("F order", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    yield Case("0-d", np.array(5.0))
    yield Case("empty", np.empty((0, 3)))
    yield Case("strided", np.arange(20)[::3])
    frozen = np.arange(5.0)
    frozen.flags.writeable = False
    yield Case("read-only", frozen)
    frozen = np.arange(20)[::3]
    frozen.flags.writeable = False
    yield Case("read-only, strided", frozen)
    frozen = np.array([1, None], dtype=object)
    frozen.flags.writeable = False
    yield Case("read-only, object", frozen)
    yield Case("masked", np.ma.masked_array([1, 2, 3], mask=[0, 1, 0], fill_value=9))
    hard = np.ma.masked_array([1, 2, 3], mask=[0, 1, 0], hard_mask=True)
    yield Case("masked, hard", hard, lambda v: (v, v.hardmask))
    yield Case("masked, without a mask", np.ma.masked_array([1, 2]), lambda v: (v, v.mask is np.ma.nomask))
    yield Case("masked, records", np.ma.masked_array([(1, 2.0)], mask=[(0, 1)], dtype=[("i", "i4"), ("f", "f8")]))
    yield Case("matrix-like nan", np.array([[np.nan, -0.0], [np.inf, 1]]))
    yield Case("dtype", np.dtype([("a", "i4")]))
    yield from large_arrays()
    yield Case("Generator", np.random.default_rng(5), lambda v: v.bit_generator.state["state"])
    yield Case("ufunc", np.add)


def large_arrays():
    """Arrays that lie outside of their pickle."""
    import numpy as np

    numbers = np.arange(30_000.0)
    yield Case("large", numbers)
    yield Case("large, F order", np.asfortranarray(np.arange(30_000).reshape(100, 300)))
    yield Case("large, strided", np.arange(60_000)[::2])
    yield Case("large, turned", np.arange(30_000).reshape(10, 30, 100).transpose(1, 0, 2))
    yield Case("large, records", np.zeros(10_000, dtype=[("i", "i4"), ("f", "f8"), ("d", "M8[s]")]))
    yield Case("large, text", np.array(["abc", "ä"] * 10_000))
    yield Case("large, masked", np.ma.masked_array(numbers, mask=numbers % 2 == 0))
    yield Case("large, objects", np.array([1, "a", None] * 10_000, dtype=object))
    for step in (1, 2):
        frozen = np.arange(60_000)[::step]
        frozen.flags.writeable = False
        yield Case(f"large, read-only, step {step}", frozen)
    yield Case(
        "large, in objects", {"order": Order(1, [numbers, [numbers]]), "plain": Plain(a=(numbers, b"x" * 70_000))}
    )
    yield Case("large, with a function", [lambda x: x + 1, Plain(a=numbers)], lambda v: (v[0](1), v[1].a))
    yield Case("large, in a closure", closure(numbers), lambda v: v.__closure__[0].cell_contents)
    yield Case("large, in an error", ValueError("bad", numbers), lambda v: (str(v)[:6], v.args[1]))


def pandas_values():
    import numpy as np
    import pandas as pd

    index = pd.date_range("2026-01-01", periods=3, freq="D", tz="Europe/Berlin", name="day")
    columns = {
        "int64": [1, 2, 3],
        "float64": [1.5, np.nan, -0.0],
        "Int64": pd.array([1, None, 3], dtype="Int64"),
        "boolean": pd.array([True, None, False], dtype="boolean"),
        "Float32": pd.array([1.5, None, 2], dtype="Float32"),
        "str": ["a", "b", None],
        "string": pd.array(["a", None, "c"], dtype="string"),
        "object": pd.Series([1, "a", None], dtype=object),
        "category": pd.Categorical(["a", "b", "a"], categories=["b", "a", "c"], ordered=True),
        "int category": pd.Categorical([1, 2, 1]),
        "datetime": pd.date_range("2026", periods=3),
        "datetime s": pd.date_range("2026", periods=3, unit="s"),
        "datetime tz": pd.date_range("2026", periods=3, tz="UTC"),
        "timedelta": pd.to_timedelta([1, None, 3], unit="h"),
        "period": pd.period_range("2026-01", periods=3, freq="M"),
        "interval": pd.interval_range(0, 3),
        "sparse": pd.arrays.SparseArray([0, 0, 1]),
        "complex": [1j, 2, 3],
    }
    for name, column in columns.items():
        yield Case(f"series {name}", pd.Series(column, name=name))
    yield Case(
        "frame of all dtypes", pd.DataFrame({name: list(c) if name == "object" else c for name, c in columns.items()})
    )
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}, index=index)
    frame.attrs["source"] = {"file": "orders.csv"}
    yield Case("frame with attrs and zone", frame)
    yield Case("frame, empty", pd.DataFrame({"a": pd.Series(dtype="int32")}))
    yield Case("frame, no columns", pd.DataFrame(index=[1, 2]))
    yield Case("frame, same names", pd.DataFrame([[1, 2]], columns=["a", "a"]))
    many = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["k", None])
    yield Case("MultiIndex", many)
    yield Case("frame with MultiIndex", pd.DataFrame(np.arange(16).reshape(4, 4), index=many, columns=many))
    yield Case("RangeIndex", pd.RangeIndex(2, 10, 2, name="r"))
    yield Case("DatetimeIndex", index)
    yield Case("CategoricalIndex", pd.CategoricalIndex(["a", "b"]))
    yield Case("IntervalIndex", pd.interval_range(0, 2, closed="both"))
    yield Case("Timestamp", pd.Timestamp("2026-01-01 12:00:00.123456789", tz="US/Eastern"))
    yield Case("NaT and NA", [pd.NaT, pd.NA], lambda v: (v[0] is pd.NaT, v[1] is pd.NA))
    yield Case("Timedelta, Period, Interval", [pd.Timedelta("1h"), pd.Period("2026-01"), pd.Interval(0, 1)])
    yield Case("offset", pd.offsets.MonthEnd(2))
    yield Case("to_numpy", pd.Series([1.0, 2.0]).to_numpy())
    yield Case("frames in a dict", {"train": frame, "rows": 3, "test": (frame.head(1), frame["b"])})
    rows = 20_000
    large = pd.DataFrame(
        {
            "i": np.arange(rows),
            "f": np.arange(rows) / 3,
            "g": -np.arange(rows) / 7,
            "when": pd.date_range("2026", periods=rows, freq="s", tz="Europe/Berlin"),
            "text": [f"order {i}" for i in range(rows)],
            "kind": pd.Categorical(["a", "b"] * (rows // 2)),
            "Int64": pd.array([1, None] * (rows // 2), dtype="Int64"),
        }
    )
    yield Case("large frame", large)
    yield Case(
        "large frames in a dict", {"train": large, "test": [large.iloc[::2], large[["f", "g"]].T], "f": large["f"]}
    )
    yield Case("large frame in a dataclass", Order(1, [large], parent=Plain(index=large.set_index("text").index)))
    ours = pd.DataFrame({"o": pd.Series([Order(1), Color.RED, Point(1.0)], dtype=object)})
    yield Case("cells of ours", ours)

    # Here and not above: a run without pandas must be able to use the rest.
    yield Case("sub-frame", _sub_frame_class()({"a": [1]}))


def _sub_frame_class():
    import pandas as pd

    if "SubFrame" not in globals():

        class SubFrame(pd.DataFrame):
            _metadata: typing.ClassVar = ["unit"]

            @property
            def _constructor(self):
                return SubFrame

        SubFrame.__qualname__ = "SubFrame"
        globals()["SubFrame"] = SubFrame
    return globals()["SubFrame"]


def polars_values():
    import polars as pl

    frame = pl.DataFrame(
        {
            "i": [1, None, 3],
            "s": ["a", None, "c"],
            "f": [1.5, math.nan, None],
            "d": [dt.date(2026, 1, 1)] * 3,
            "t": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 3,
            "l": [[1, 2], [], None],
            "st": [{"x": 1}, {"x": 2}, {"x": None}],
            "c": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
            "dec": [decimal.Decimal("1.5")] * 3,
        }
    )
    yield Case("frame", frame)
    yield Case("series", frame["l"])
    yield Case("empty frame", frame.clear())
    yield Case("lazy frame", frame.lazy().filter(pl.col("i") > 1).select("i"), lambda v: (type(v), v.collect()))
    yield Case("large frame", pl.DataFrame({"i": range(20_000), "s": [f"order {i}" for i in range(20_000)]}))
    yield Case("expression", pl.col("a") + 1, str)
    yield Case("dtype", pl.Datetime("us", "UTC"))


def sklearn_values():
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    x = np.random.default_rng(0).normal(size=(40, 3))
    y = (x.sum(axis=1) > 0).astype(int)

    def predictions(model):
        return type(model), model.get_params(deep=False).keys(), model.predict_proba(x)

    yield Case("pipeline", make_pipeline(StandardScaler(), LogisticRegression(C=2.0)).fit(x, y), predictions)
    yield Case("forest", RandomForestClassifier(n_estimators=3, random_state=0).fit(x, y), predictions)
    transform = FunctionTransformer(lambda a: a * FACTOR)
    yield Case("pipeline with a lambda", make_pipeline(transform, LogisticRegression()).fit(x, y), predictions)
    from scipy import sparse
    from sklearn.neighbors import KNeighborsClassifier

    many = np.random.default_rng(1).normal(size=(9_000, 3))
    yield Case("large model", KNeighborsClassifier().fit(many, many[:, 0] > 0), predictions)
    yield Case("sparse matrix", sparse.csr_matrix(np.eye(4)))
    yield Case("large sparse matrix", sparse.csr_matrix(many))
    yield Case("unfitted", LogisticRegression(C=3.0), lambda v: v.get_params())


def pydantic_values():
    import pydantic

    if "Customer" not in globals():
        # As a cell at the top of the notebook would, if pydantic is there.
        base = {"__module__": __name__, "__annotations__": {"name": str, "tags": list[str]}, "tags": []}
        globals()["Customer"] = type(pydantic.BaseModel)("Customer", (pydantic.BaseModel,), base)
    customer = globals()["Customer"](name="Ada", tags=["x"])
    yield Case("model", customer)
    yield Case("models, nested", {"all": [customer, Order(1, [customer])]})


LIBRARIES = {
    "python": python_values,
    "exceptions": exception_values,
    "notebook": notebook_values,
    "numpy": numpy_values,
    "pandas": pandas_values,
    "polars": polars_values,
    "sklearn": sklearn_values,
    "pydantic": pydantic_values,
}


def cases(library):
    """The cases of one library, none if it is not installed."""
    if library in ("numpy", "pandas", "polars", "sklearn", "pydantic") and importlib.util.find_spec(library) is None:
        return []
    return list(LIBRARIES[library]())


# --- the comparison ---------------------------------------------------------------------------


def difference(one, other, path="", seen=None):
    """Say in what ``other`` differs from ``one``: "" if in nothing, else the place and the difference."""
    seen = {} if seen is None else seen
    if type(one) is not type(other):
        return f"{path}: {type(one)} became {type(other)}"
    if isinstance(one, (list, dict, set)) or hasattr(one, "__dict__"):
        # What was one object must be one object again, and what were two must be two.
        if id(one) in seen:
            return "" if seen[id(one)][1] is other else f"{path}: no longer the same object"
        if any(other is known for _, known in seen.values()) and not isinstance(
            one, (type, types.ModuleType, enum.Enum, types.FunctionType)
        ):
            return f"{path}: two objects became one"
        seen[id(one)] = one, other  # kept: the place of one that is gone may be another's
    for check in (_library_difference, _python_difference):
        found = check(one, other, path, seen)
        if found is not None:
            return found
    return "" if one == other else f"{path}: {one!r} became {other!r}"


def _first(pairs, seen):
    return next((d for p, a, b in pairs for d in [difference(a, b, p, seen)] if d), "")


def _python_difference(a, b, path, seen):
    if isinstance(a, float):
        return (
            ""
            if (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
            else f"{path}: {a!r}, {b!r}"
        )
    if isinstance(a, complex):
        return _first([(path + ".real", a.real, b.real), (path + ".imag", a.imag, b.imag)], seen)
    if isinstance(a, (enum.Enum, type, types.ModuleType)):
        return "" if a is b else f"{path}: {a!r} is another object"
    if isinstance(a, dict):
        if list(a) != list(b):
            return f"{path}: keys {list(a)} became {list(b)}"
        if not hasattr(a, "__dict__"):
            return _first([(f"{path}[{k!r}]", a[k], b[k]) for k in a], seen)
        return _first([(f"{path}[{k!r}]", a[k], b[k]) for k in a] + [(path, vars(a), vars(b))], seen)
    if isinstance(a, (list, tuple, collections.deque)):
        if len(a) != len(b) or getattr(a, "maxlen", None) != getattr(b, "maxlen", None):
            return f"{path}: length {len(a)} became {len(b)}"
        return _first([(f"{path}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))], seen)
    if isinstance(a, BaseException):
        parts = ["args", "__dict__", "__cause__", "__suppress_context__"]
        return _first([(f"{path}.{p}", getattr(a, p), getattr(b, p)) for p in parts] + [(path, str(a), str(b))], seen)
    if dataclasses.is_dataclass(a):
        return _first(
            [(f"{path}.{f.name}", getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)], seen
        )
    if type(a).__eq__ is object.__eq__:
        if hasattr(a, "__slots__"):
            names = [n for n in a.__slots__ if hasattr(a, n) or hasattr(b, n)]
            return _first([(f"{path}.{n}", getattr(a, n, None), getattr(b, n, None)) for n in names], seen)
        if hasattr(a, "__dict__") and not callable(a):
            return difference(vars(a), vars(b), path, seen)
    return None


def _library_difference(a, b, path, seen):
    name = type(a).__module__.partition(".")[0]
    if name == "numpy" and hasattr(a, "dtype"):
        return _array_difference(a, b, path, seen)
    if name == "polars" and type(a).__name__ in ("DataFrame", "Series"):
        import polars.testing as check

        compare = check.assert_frame_equal if type(a).__name__ == "DataFrame" else check.assert_series_equal
        return _asserts(compare, a, b, path)
    if name == "scipy" and hasattr(a, "nnz"):
        return _array_difference(a.toarray(), b.toarray(), path, seen) or (
            ""
            if getattr(a, "has_sorted_indices", None) == getattr(b, "has_sorted_indices", None)
            else f"{path}: another order"
        )
    if name == "pyarrow" and hasattr(a, "schema"):
        same = a.schema.equals(b.schema, check_metadata=True) and a.equals(b)
        return "" if same else f"{path}: another table"
    if any(c.__module__.startswith("pandas") for c in type(a).__mro__):
        return _pandas_difference(a, b, path, seen)
    return None


def _array_difference(a, b, path, seen):
    import numpy as np

    if a.dtype != b.dtype or a.shape != b.shape:
        return f"{path}: {a.dtype} {a.shape} became {b.dtype} {b.shape}"
    if isinstance(a, np.ma.MaskedArray):
        return _first(
            [
                (path, np.asarray(a.data), np.asarray(b.data)),
                (path, a.mask, b.mask),
                (path, a.fill_value, b.fill_value),
            ],
            seen,
        )
    if isinstance(a, np.ndarray):
        if a.flags.writeable != b.flags.writeable:
            return f"{path}: writeable {a.flags.writeable} became {b.flags.writeable}"
        if (a.flags.c_contiguous or a.flags.f_contiguous) and a.flags.f_contiguous != b.flags.f_contiguous:
            return f"{path}: another memory order"
        if a.dtype.hasobject:
            return _first([(f"{path}[{i}]", x, y) for i, (x, y) in enumerate(zip(a.flat, b.flat, strict=True))], seen)
    return "" if a.tobytes() == b.tobytes() else f"{path}: {a!r} became {b!r}"


def _pandas_difference(a, b, path, seen):
    import pandas as pd
    import pandas.testing as check

    if isinstance(a, pd.DataFrame):
        for i, dtype in enumerate(a.dtypes):
            if (
                dtype.kind == "O"
                and type(dtype).__module__.startswith("numpy")
                and (d := difference(list(a.iloc[:, i]), list(b.iloc[:, i]), f"{path}.iloc[:, {i}]", seen))
            ):
                return d
        ours = any(dtype.kind == "O" and type(dtype).__module__.startswith("numpy") for dtype in a.dtypes)
        d = "" if ours else _asserts(functools.partial(check.assert_frame_equal, check_exact=True), a, b, path)
        # Types of columns are made when they are asked for: whether they are the same object says nothing.
        d = d or difference(list(a.dtypes), list(b.dtypes), path, {})
        return d or difference((a.attrs, a.index), (b.attrs, b.index), path, seen)
    if isinstance(a, pd.Series):
        d = _asserts(functools.partial(check.assert_series_equal, check_exact=True), a, b, path)
        return d or difference(a.dtype, b.dtype, path, {}) or difference(a.attrs, b.attrs, path, seen)
    if isinstance(a, pd.Index):
        if getattr(a, "freq", None) != getattr(b, "freq", None):
            return f"{path}: freq {a.freq} became {b.freq}"
        return _asserts(functools.partial(check.assert_index_equal, exact=True), a, b, path)
    return None


def _asserts(compare, a, b, path):
    try:
        compare(a, b)
    except AssertionError as error:
        return f"{path}: {error}"
    return ""


def check_case(case, read):
    """Compare what was read with what this process makes itself."""
    if case.view is not None:
        return difference(case.view(case.value), case.view(read))
    return difference(case.value, read)
