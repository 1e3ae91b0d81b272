"""Previews: what they say of each kind of value, that they are small, and that nothing is changed by looking."""

# ruff: noqa: E501, TID253  tables of values; the libraries are what is tested

from __future__ import annotations

import array
import base64
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import functools
import io
import json
import pickle
import subprocess
import sys
import types
import warnings
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import attrs
import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pydantic
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from sklearn.linear_model import LogisticRegression

import notebook_durable
from notebook_durable.hide import Hider
from notebook_durable.previews import preview
from notebook_durable.previews.render import preview_html, preview_text
from notebook_durable.redact import HIDDEN, redact

SECRET = "tr0ub4dor&3"
HIDE = Hider([SECRET])
HOSTILE = "<script>alert('x')</script>&\"'\x1b[31m\x00\n"


def made(value, *, hide=redact, secret=()):
    text = preview(value, hide=hide, secret=secret)
    return json.loads(text) if text else None


def items_of(value, **how):
    return {item[0]: item[1] for item in made(value, **how)["items"]}


def named(value):
    """Names a case: its value may be very long."""
    return type(value).__name__


# -- frames


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ([80.0, 2165.2, 3.25], ["80.00", "2165.20", "3.25"]),
        ([1.0, 2.0], ["1.0", "2.0"]),
        ([1 / 3, 100.0], ["0.333333", "100.000000"]),
        ([float("nan"), 0.5, float("inf"), -0.25], ["nan", "0.50", "inf", "-0.25"]),
        ([1e-9, 1.0], ["1.000000e-09", "1.000000e+00"]),
        ([float("nan")], ["nan"]),
        (["a", 1.5, 2.25], ["a", "1.5", "2.25"]),
    ],
)
def test_numbers_of_a_column_have_as_many_decimals(column, texts):
    """As pandas writes them, so that they line up; in a column of mixed things each is for itself."""
    assert [row[0] for row in made(pd.DataFrame({"x": column}))["rows"]] == texts


def test_decimals_of_an_index():
    """The labels of rows are a column too; what is missing in one of polars' stays what it is."""
    assert made(pd.Series([1, 2], index=[0.5, 10.0]))["index"] == ["0.5", "10.0"]
    assert made(pl.Series("x", [1.25, None, 3.0]))["rows"] == [["1.25"], ["None"], ["3.00"]]


def test_a_pandas_frame():
    """Its shape, the names and dtypes of its columns, and the first rows."""
    frame = pd.DataFrame({"n": range(100), "x": [0.123456789] * 100, "s": ["a b"] * 100}, index=range(7, 107))
    told = made(frame)
    assert told["kind"] == "frame"
    assert told["type"] == "pandas.DataFrame" or told["type"].startswith("pandas.core")
    assert told["shape"] == [100, 3]
    assert [column["name"] for column in told["columns"]] == ["n", "x", "s"]
    assert [column["dtype"] for column in told["columns"]][:2] == ["int64", "float64"]
    assert told["index"] == [str(n) for n in range(7, 15)]
    assert told["rows"][0] == ["0", "0.123457", "a b"]
    assert len(told["rows"]) == 8


def test_a_wide_frame_is_cut():
    """Twenty columns are shown, and the shape says how many there are."""
    told = made(pd.DataFrame(np.zeros((3, 500))))
    assert (len(told["columns"]), told["shape"]) == (20, [3, 500])
    assert {len(row) for row in told["rows"]} == {20}


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame({"a": []}),
        pd.DataFrame(index=range(3)),
        pd.DataFrame([[1, 2]], columns=["same", "same"]),
        pd.DataFrame({("a", 1): [1], ("b", 2): [2]}),
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])),
        pd.DataFrame({"d": pd.to_datetime(["2024-01-31", None]), "c": pd.Categorical(["u", "v"]), "o": [[1] * 99, {"k": 1}]}),
        pd.DataFrame({"big": ["x" * 1_000_000] * 20}),
        pd.DataFrame({f"c{n}": ["\U0001f600" * 100] * 20 for n in range(40)}),
        pd.DataFrame({f"c{n}": ["\x01" * 100] * 20 for n in range(40)}),
        pd.DataFrame({"o": [pd.DataFrame({"a": range(1000)}), np.zeros(10_000)]}),
        pl.DataFrame({"a": [1, None], "l": [[1], [2, 3]], "s": ["x", "y" * 10_000]}),
        pl.DataFrame(),
    ],
    ids=named,
)  # fmt: skip
def test_frames_of_all_sorts(frame):
    """They are shown, whatever is in them; small, with as many cells as the head has names."""
    text = preview(frame, hide=redact, secret=())
    told = json.loads(text)
    assert len(text.encode()) <= 20_000
    assert told["kind"] == "frame"
    assert told["shape"] == list(frame.shape)
    assert {len(row) for row in told["rows"]} <= {len(told["columns"])}
    assert preview_text(text)
    assert preview_html(text)


def test_series():
    """One column, with its name, and the labels beside the values."""
    told = made(pd.Series([1.5, None], index=["u", "v"], name="x"))
    assert (told["shape"], told["index"], told["rows"]) == ([2], ["u", "v"], [["1.5"], ["nan"]])
    assert told["columns"] == [{"name": "x", "dtype": "float64"}]
    assert made(pl.Series("x", [1, None]))["rows"] == [["1"], ["None"]]


def test_a_polars_frame():
    """As a pandas frame, without an index; a lazy one is not computed."""
    told = made(pl.DataFrame({"n": range(100), "s": ["a"] * 100}))
    assert (told["shape"], told["index"], len(told["rows"])) == ([100, 2], [], 8)
    assert told["columns"] == [{"name": "n", "dtype": "Int64"}, {"name": "s", "dtype": "String"}]
    ran = []
    lazy = pl.LazyFrame({"a": [1]}).map_batches(lambda frame: ran.append(1) or frame)
    assert made(lazy)["kind"] == "text"
    assert ran == []


def test_records():
    """A numpy array of records is a table too, in which a secret's field is hidden."""
    told = made(np.array([(1, SECRET), (2, SECRET)], dtype=[("n", int), ("password", "U20")]))
    assert told["kind"] == "frame"
    assert told["shape"] == [2, 2]
    assert told["rows"] == [["1", HIDDEN], ["2", HIDDEN]]


# -- arrays


@pytest.mark.parametrize(
    ("value", "dtype", "stats"),
    [
        (np.array([1.0, np.nan, 3.0]), "float64", {"min": 1.0, "max": 3.0, "mean": 2.0, "nan": 1}),
        (np.array([1, 2, 6], dtype="int8"), "int8", {"min": 1, "max": 6, "mean": 3.0, "nan": 0}),
        (np.array([True, False]), "bool", {"min": False, "max": True, "mean": 0.5, "nan": 0}),
        (np.array([np.inf, 1]), "float64", {"min": 1.0, "max": "inf", "mean": "inf", "nan": 0}),
        (np.array([np.nan]), "float64", {"nan": 1}),
        (np.array([60000, 60000], dtype="float16"), "float16", {"min": 60000.0, "max": 60000.0, "mean": 60000.0, "nan": 0}),
        (np.array(["2024-01-31", "NaT"], dtype="M8[D]"), "datetime64[D]", {"min": "2024-01-31", "max": "2024-01-31", "nan": 1}),
        (np.ma.masked_array([1.0, 99.0, 3.0], mask=[0, 1, 0]), "float64", {"min": 1.0, "max": 3.0, "mean": 2.0, "nan": 0}),
        (np.array(5), "int64", {"min": 5, "max": 5, "mean": 5.0, "nan": 0}),
        (np.array([1j]), "complex128", None),
        (np.array([]), "float64", None),
        (np.array(["a", "b"]), "<U1", None),
    ],
    ids=named,
)  # fmt: skip
def test_arrays(value, dtype, stats):
    """Shape, dtype, numpy's own text, and what can be counted."""
    told = made(value)
    assert (told["kind"], told["shape"], told["dtype"]) == ("array", list(value.shape), dtype)
    assert told.get("stats") == stats
    assert "sample" not in (stats or {})


@pytest.mark.parametrize(
    "turn", [np.asarray, np.transpose, np.asfortranarray, lambda a: a[::2, ::3], lambda a: a[:, ::-1], np.ma.masked_invalid],
    ids=named,
)  # fmt: skip
def test_a_large_array_is_sampled_evenly(turn):
    """Not more than a hundred thousand elements; of all columns, in every layout; and it is said."""
    base = np.arange(1000 * 1000, dtype=float).reshape(1000, 1000)
    base[:, 400:] = np.nan
    stats = made(turn(base))["stats"]
    assert 10_000 < stats["sample"] <= 100_000
    assert stats["nan"] + 0.0 == pytest.approx(0.6 * stats["sample"], rel=0.05) or turn is np.ma.masked_invalid
    assert stats["min"] < 2_000
    assert stats["max"] > 997_000
    assert stats["mean"] == pytest.approx(np.nanmean(base), rel=0.02)


@pytest.mark.parametrize(
    "value",
    [
        np.broadcast_to(np.float64(0), (1000,) * 6),
        np.zeros((7,) * 7),
        np.zeros((0, 3, 2, 5, 5)),
        np.array(["x" * 1_000_000] * 10),
        np.array([b"x" * 1_000_000] * 10),
        np.array([{"k": "x" * 1_000_000}] * 10, dtype=object),
        np.zeros((2, 2), dtype=[("password", "U5")]),
        np.zeros(1_000_000, dtype="V100"),
        np.ma.masked_array(np.zeros((300, 300))),
    ],
    ids=named,
)
def test_arrays_of_all_sorts(value):
    """They are shown small, also where numpy's own text would be millions of characters."""
    with np.printoptions(threshold=sys.maxsize):
        text = preview(value, hide=redact, secret=())
    assert json.loads(text)["shape"] == list(value.shape)
    assert len(text) < 4_000
    assert preview_text(text)
    assert preview_html(text)


def test_a_sparse_matrix():
    """How much is in it, not what."""
    told = made(scipy.sparse.random(1000, 50, 0.1, format="csr"))
    assert (told["kind"], told["shape"], told["dtype"]) == ("array", [1000, 50], "float64")
    assert told["text"] == "5,000 stored elements, csr"


# -- pictures


def png_size(told):
    with Image.open(io.BytesIO(base64.b64decode(told["png"]))) as image:
        image.load()
        assert image.format == "PNG"
        assert (told["width"], told["height"]) == image.size
        return image.size


def figure_of(width=10.0, height=5.0, **how):
    figure = Figure(figsize=(width, height), dpi=200, **how)
    figure.add_subplot().plot([1, 3, 2])
    return figure


@pytest.mark.parametrize("layout", [None, "tight", "constrained"])
def test_a_figure(layout):
    """A picture of at most 640 pixels width; its size, dpi, canvas and manager stay as they are."""
    figure = figure_of(layout=layout)
    before = (
        figure.get_size_inches().tolist(),
        figure.dpi,
        figure.canvas,
        type(figure.canvas),
        figure.get_layout_engine(),
    )
    told = made(figure)
    assert (told["kind"], told["type"]) == ("image", "matplotlib.figure.Figure")
    assert png_size(told) == (640, 320)
    after = (
        figure.get_size_inches().tolist(),
        figure.dpi,
        figure.canvas,
        type(figure.canvas),
        figure.get_layout_engine(),
    )
    assert after == before


def test_pyplot_does_not_notice(monkeypatch):
    """A figure of pyplot stays open and current; one that isn't doesn't become one."""
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    other = pyplot.figure()
    try:
        pyplot.figure(figure.number)
        before = pyplot.get_fignums(), pyplot.gcf(), figure.canvas.manager
        assert made(figure)["kind"] == "image"
        assert made(axes)["kind"] == "image"
        assert made(figure_of())["kind"] == "image"
        assert (pyplot.get_fignums(), pyplot.gcf(), figure.canvas.manager) == before
    finally:
        pyplot.close(figure)
        pyplot.close(other)


@pytest.mark.parametrize("size", [(0.5, 0.5), (1000, 10), (10, 1000), (100, 100)])
def test_figures_of_all_sizes(size):
    """The picture is bounded in both directions."""
    width, height = png_size(made(figure_of(*size)))
    assert 1 <= width <= 640
    assert 1 <= height <= 960


def test_a_figure_with_much_outside():
    """With bbox="tight" a figure's picture is larger than the figure."""
    figure = figure_of()
    figure.text(3, 3, "far outside")
    with mpl.rc_context({"savefig.bbox": "tight"}):
        assert png_size(made(figure))[0] <= 640


def test_a_figure_that_can_t_be_drawn():
    """It is told as text; nothing is raised, and nothing is warned about a missing glyph."""
    figure = figure_of()
    figure.text(0, 0, "$\\wrong{$")
    assert made(figure)["kind"] == "text"
    figure = figure_of()
    figure.text(0.5, 0.5, "\ue123")
    assert made(figure)["kind"] == "image"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_images(mode):
    """Every mode of Pillow's, scaled to at most 640 pixels width; the image stays as it is."""
    image = Image.new(mode, (1280, 100))
    before = image.tobytes()
    assert png_size(made(image)) == (640, 50)
    assert (image.tobytes(), image.mode, image.size) == (before, mode, (1280, 100))


def test_a_noisy_image_is_made_smaller():
    """Noise can't be compressed: fewer pixels are shown, and never more than 300 kB."""
    noise = np.random.default_rng(1).integers(0, 255, (3000, 3000, 3), dtype="uint8")
    text = preview(Image.fromarray(noise), hide=redact, secret=())
    assert png_size(json.loads(text))[0] > 100
    assert len(text) <= 300_000


def test_an_image_that_is_not_read_yet(tmp_path):
    """Looking at it would read its file: it is told as text."""
    Image.new("RGB", (10, 10)).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert made(image)["kind"] == "text"
        assert image.tile


def png(width=20, height=10):
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("give", [png, lambda: (png(), {}), lambda: base64.b64encode(png()).decode()])
def test_what_shows_itself_as_png(give):
    """As IPython takes it."""

    class Shows:
        def _repr_png_(self):
            return give()

    assert png_size(made(Shows())) == (20, 10)


def raises():
    raise RuntimeError("no")


@pytest.mark.parametrize(
    "give",
    [lambda: None, lambda: b"no png", lambda: png() + bytes(1_000_000), lambda: "§", raises],
    ids=named,
)
def test_what_shows_itself_as_something_else(give):
    """Nothing, no picture, one that is too large, or an error: then it has a repr."""

    class Shows:
        def _repr_png_(self):
            return give()

        def __repr__(self):
            return "<it>"

    assert made(Shows())["text"] == "<it>"


# -- texts and items


def test_text():
    """Its first 2,000 characters, and whether there are more."""
    assert made("hello") == {"kind": "text", "text": "hello", "cut": False, "length": 5, "type": "str"}
    told = made("ab" * 100_000)
    assert (len(told["text"]), told["cut"], told["length"]) == (2000, True, 200_000)


def test_bytes():
    """The first ones in hex, unless they spell a secret."""
    told = made(b"\x00\x01\xff")
    assert (told["text"], told["length"], told["cut"]) == ("00 01 ff", 3, False)
    assert made(b"abc" * 1000)["cut"]
    assert made(f"token={SECRET}".encode(), hide=HIDE)["text"] == HIDDEN
    assert made(b"postgres://me:hunter2@db")["text"] == HIDDEN


class Point(NamedTuple):
    x: int
    password: str


@dataclasses.dataclass
class Person:
    name: str
    password: str
    hidden: str = dataclasses.field(default=SECRET, repr=False)
    rows: list = dataclasses.field(default_factory=list)


@attrs.define
class Attrs:
    name: str
    api_key: str


class Model(pydantic.BaseModel):
    name: str
    token: str
    pin: pydantic.SecretStr


class Color(enum.Enum):
    RED = 1


class QuietText(str):
    __slots__ = ()

    def __repr__(self):
        return "<quiet>"


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ({"a": 1, "password": SECRET}, {"a": "1", "password": HIDDEN}),
        ({"o": {"api_key": SECRET, "k": [1, 2]}}, {"o": f"{{'api_key': {HIDDEN}, 'k': [1, 2]}}"}),
        ({1: "x", (1, "token"): SECRET}, {"1": "x", "(1, 'token')": HIDDEN}),
        (["a", 2.5, None, b"xy"], {"0": "a", "1": "2.5", "2": "None", "3": "<2 bytes>"}),
        ((1,), {"0": "1"}),
        ({7}, {"0": "7"}),
        (collections.deque([1]), {"0": "1"}),
        (array.array("d", [1.0]), {"0": "1.0"}),
        (collections.Counter("aab"), {"a": "2", "b": "1"}),
        ({"a": 1}.keys(), {"0": "a"}),
        (types.MappingProxyType({"pw": SECRET}), {"pw": HIDDEN}),
        (collections.UserDict({"pw": SECRET}), {"pw": HIDDEN}),
        (types.SimpleNamespace(x=1, pw=SECRET), {"x": "1", "pw": HIDDEN}),
        (Point(1, SECRET), {"x": "1", "password": HIDDEN}),
        (Person("Ann", SECRET), {"name": "Ann", "password": HIDDEN, "rows": "[]"}),
        (Attrs("Ann", SECRET), {"name": "Ann", "api_key": HIDDEN}),
        (Model(name="Ann", token=SECRET, pin=SECRET), {"name": "Ann", "token": HIDDEN, "pin": "SecretStr('**********')"}),
        ([Person("Ann", SECRET)], {"0": f"Person(name='Ann', password={HIDDEN}, rows=[])"}),
        ([np.float64(1.5), np.int8(3), np.str_("s")], {"0": "1.5", "1": "3", "2": "s"}),
        ([pd.DataFrame({"a": [1]}), np.zeros((2, 3))], {"0": "DataFrame 1 × 1", "1": "ndarray 2 × 3 float64"}),
        ({}, {}),
    ],
    ids=named,
)  # fmt: skip
def test_items(value, items):
    """One level of items as short texts; what is under a secret's name is hidden at every level."""
    told = made(value)
    assert (told["kind"], told["length"]) == ("items", len(items))
    assert {item[0]: item[1] for item in told["items"]} == items


def test_thirty_items_at_most():
    """And the number of all."""
    told = made(list(range(1_000_000)))
    assert (len(told["items"]), told["length"]) == (30, 1_000_000)


def test_frames_inside():
    """A frame or array in a dict has a preview of its own, smaller than alone, and not more than four have one."""
    told = made({"df": pd.DataFrame({"pw": [SECRET] * 99}), **{f"a{n}": np.zeros(3) for n in range(9)}}, hide=HIDE)
    first = told["items"][0]
    assert first[2]["kind"] == "frame"
    assert first[2]["rows"] == [[HIDDEN]] * 3
    assert [len(item) for item in told["items"]] == [3, 3, 3, 3, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (True, "True"),
        (1e100, "1e+100"),
        (10**5000, "<a number of 16,610 bits>"),
        (np.float32(0.5), "0.5"),
        (decimal.Decimal("1.50"), "Decimal('1.50')"),
        (datetime.date(2024, 1, 31), "datetime.date(2024, 1, 31)"),
        (PurePosixPath("/x/y"), "/x/y"),
        (Color.RED, "<Color.RED: 1>"),
        (Color, "<class Color>"),
        (len, "<function len>"),
        (functools.partial(len), "<partial of <function len>>"),
        (json, "<module json>"),
        (ValueError("x", [1]), "ValueError('x', [1])"),
        (QuietText(SECRET), "<quiet>"),
        (LogisticRegression(C=3), "LogisticRegression(C=3)"),
    ],
    ids=named,
)
def test_other_values(value, text):
    """Their repr, or something shorter that says as much."""
    told = made(value)
    assert told["kind"] == "text"
    assert told["text"].replace(f"{__name__}.", "") == text


def test_nothing_to_say():
    """None has no preview."""
    assert preview(None, hide=redact, secret=()) == ""


# -- what must never happen


class Raises:
    def __repr__(self):
        raise ValueError("no")


class Plain:
    pass


class Megabytes:
    def __repr__(self):
        return "x" * 5_000_000


class Hostile(dict):
    def __len__(self):
        raise RuntimeError("no")

    def __iter__(self):
        raise RuntimeError("no")

    def __getattribute__(self, name):
        raise RuntimeError(f"asked for {name}")

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None


class Liar:
    """As a proxy does, it says that it is something else."""

    __class__ = dict


def test_reprs_that_misbehave():
    """One that raises is told, one that is endless is cut."""
    assert "raised ValueError" in made(Raises())["text"]
    assert "raised ValueError" in made([Raises()])["items"][0][1]
    assert len(made(Megabytes())["text"]) == 2000
    assert len(made([Megabytes()] * 99)["items"][0][1]) < 200
    assert made(Plain())["text"] == f"<{Plain.__module__}.Plain object>"
    assert made(Hostile(a=1))["text"] == f"<{__name__}.Hostile object>"
    assert made(Liar())["text"] == f"<{__name__}.Liar object>"


def test_what_holds_itself():
    """The insides are told some levels deep, and no further."""
    value = [1]
    value.append(value)
    record = Person("Ann", "x")
    record.rows.append(record)
    deep = functools.reduce(lambda inner, _: [inner], range(100_000), [])
    for one in (value, record, {"x": value}, deep):
        assert "…" in json.dumps(made(one), ensure_ascii=False)


def test_iterators_are_not_consumed():
    """Nor are generators, maps, zips and files."""
    numbers = [1, 2, 3]
    for one in (
        (n for n in numbers),
        iter(numbers),
        map(str, numbers),
        zip(numbers, numbers, strict=True),
        io.StringIO("123"),
    ):
        before = made(one)
        assert before["kind"] == "text"
        assert made([one, one])["kind"] == "items"
        assert len(list(one)) in (1, 3)


def test_a_defaultdict_does_not_grow():
    """Nor does anything else change by being looked at."""
    value = collections.defaultdict(list, a=[1])
    frame = pd.DataFrame({"a": [3, 1, 2], "password": ["x"] * 3})
    values = [
        value,
        frame,
        frame["a"],
        np.arange(10.0)[::2],
        Person("Ann", "x"),
        [1, {2}],
        b"x",
        Model(name="a", token="b", pin="c"),
    ]
    for one in values:
        before = pickle.dumps(copy.deepcopy(one))
        made(one)
        assert pickle.dumps(copy.deepcopy(one)) == before


def test_hide_that_fails():
    """Then there is no preview, rather than one with secrets."""

    def hide(text):
        raise RuntimeError("no")

    for value in ("text", {"a": "b"}, pd.DataFrame({"a": ["x"]}), np.array(["x"], dtype=object), Plain()):
        assert preview(value, hide=hide, secret=()) == ""


def test_no_warnings():
    """A preview warns of nothing: the user didn't ask for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = [
            np.array([np.nan]),
            np.array([np.inf, -np.inf]),
            pd.Series([], dtype=object),
            figure_of(),
            Model(name="a", token="b", pin="c"),
        ]
        for value in values:
            assert made(value)["kind"] != "text"


def test_no_library_is_imported():
    """Making and laying out previews needs the standard library only."""
    root = str(Path(notebook_durable.__file__).parent.parent)
    code = (
        f"import sys; sys.path.insert(0, {root!r})\n"
        "from notebook_durable.previews import preview\n"
        "from notebook_durable.previews.render import preview_html\n"
        "for value in ('x', {'a': [1]}, object(), 5, b'x', {1}):\n"
        "    assert preview_html(preview(value, hide=str, secret=()))\n"
        "print([m for m in ('numpy', 'pandas', 'polars', 'PIL', 'matplotlib', 'IPython', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- secrets


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        f"x{SECRET}" * 300,
        SECRET.encode(),
        {"a": SECRET},
        {SECRET: 1},
        [[SECRET]],
        {"a": {"b": {"c": SECRET}}},
        pd.DataFrame({"a": [SECRET], SECRET: [1]}, index=[SECRET]),
        pd.DataFrame({"password": ["other"], "x": [1]}).set_index("password"),
        pd.Series({"user": "me", "password": "other"}),
        pd.Series(["other"], name="api_key"),
        pd.DataFrame({("login", "password"): ["other"]}),
        pd.DataFrame({"c": pd.Categorical([SECRET])}),
        pl.DataFrame({"token": ["other"], "b": [SECRET]}),
        pl.DataFrame({"e": [SECRET]}, schema={"e": pl.Enum([SECRET])}),
        pl.Series("auth_token", ["other"]),
        np.array([SECRET, "b"]),
        np.array([{"x": SECRET}], dtype=object),
        Person(SECRET, "other"),
        ValueError(f"can't log in with {SECRET}"),
        types.SimpleNamespace(mine="other", x=SECRET),
        {"mine": "other"},
        pd.DataFrame({"mine": ["other"]}),
        {"url": "postgres://me:other@db"},
        LogisticRegression(C=1, solver=SECRET),
        PurePosixPath(f"/x/{SECRET}"),
    ],
    ids=named,
)
def test_a_planted_password_is_in_no_preview(value):
    """Not by value and not by name: in texts, keys, cells, labels, dtypes and reprs."""
    text = preview(value, hide=HIDE, secret={"mine"})
    assert text
    everything = text + preview_text(text) + preview_html(text)
    for planted in (SECRET, "tr0ub4dor", "other", SECRET.encode().hex(" ")):
        assert planted not in everything.replace("othero", "")
    assert HIDDEN in everything


# -- for people


class Reads(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self):
        super().__init__()
        self.tags = set()
        self.attributes = set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(
    "value",
    [
        HOSTILE,
        {HOSTILE: HOSTILE},
        [HOSTILE],
        pd.DataFrame({HOSTILE: [HOSTILE]}, index=[HOSTILE]),
        np.array([HOSTILE], dtype=object),
        type(HOSTILE.replace("\0", ""), (), {"__module__": HOSTILE})(),
        {"df": pd.DataFrame({HOSTILE: [HOSTILE]})},
    ],
    ids=named,
)  # fmt: skip
def test_hostile_values_are_shown_and_not_run(value):
    """Neither a browser nor a terminal obeys what is in a value."""
    text = preview(value, hide=redact, secret=())
    page = Reads()
    page.feed(preview_html(text))
    assert page.tags <= {"div", "pre", "table", "thead", "tbody", "tr", "th", "td", "br", "small"}
    assert page.attributes <= {"class", "style"}
    assert "<script>" in page.text
    told = preview_text(text)
    assert all(char.isprintable() or char == "\n" for char in told)
    assert "script" in told


def test_a_tampered_preview_is_shown_and_not_run():
    """What comes out of a journal may have been written by anybody."""
    attack = '"><script>alert(1)</script>'
    frame = {
        "kind": "frame",
        "type": attack,
        "shape": [1, 1],
        "columns": [{"name": attack, "dtype": attack}],
        "rows": [[attack]],
        "index": [],
    }
    for one in (
        frame,
        {"kind": "image", "type": attack, "png": attack, "width": 1, "height": 1},
        {"kind": "image", "type": attack, "png": "AAAA" * 10, "width": attack, "height": 1},
        {"kind": "array", "type": attack, "shape": [1], "dtype": attack, "text": attack, "stats": {"min": attack}},
        {"kind": "items", "type": attack, "length": 1, "items": [[attack, attack, frame]]},
        {"kind": "text", "type": attack, "text": attack, "cut": True, "length": 5},
        {"kind": attack, "type": "x", "text": "x"},
    ):
        assert "<script" not in preview_html(json.dumps(one))
        preview_text(json.dumps(one))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["kind", "type", "text", "shape", "columns", "rows", "index", "items", "length", "png", "width", "stats"]), inner
    ),
    max_leaves=20,
)  # fmt: skip


@given(raw=JSON, kind=st.sampled_from(["text", "frame", "array", "image", "items"]))
def test_malformed_previews(raw, kind):
    """Whatever stands there, nothing is raised."""
    for one in (raw, {**raw, "kind": kind} if isinstance(raw, dict) else raw):
        text = json.dumps(one)
        assert isinstance(preview_text(text), str)
        assert isinstance(preview_html(text), str)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "5",
        "null",
        "[]",
        "{}",
        '{"kind": 5}',
        '{"kind": "frame"}',
        "[" * 100_000,
        '{"kind": "image", "png": "x"}',
    ],
    ids=named,
)
def test_what_is_no_preview(text):
    """Is shown as nothing."""
    assert preview_text(text) == ""
    assert preview_html(text) == ""


def test_how_it_reads():
    """In the terminal: one line that says what it is, the head, and what is left out."""
    frame = pd.DataFrame({f"c{n}": range(1000) for n in range(12)})
    lines = preview_text(preview(frame, hide=redact, secret=())).split("\n")
    assert lines[0] == "DataFrame, 1,000 × 12"
    assert lines[1].split() == [f"c{n}" for n in range(8)]
    assert lines[2].split() == ["int64"] * 8
    assert lines[3].split() == ["0"] * 9
    assert lines[-1] == "… 992 more rows, 4 more columns"
    assert preview_text(preview(np.array([1.0, 2.0]), hide=redact, secret=())) == (
        "ndarray, 2, float64\n[1. 2.]\nmin 1.0, max 2.0, mean 1.5"
    )
    assert preview_text(preview({"a": 1}, hide=redact, secret=())) == "dict, 1 item\na: 1"
    assert preview_text(preview("hi\nyou", hide=redact, secret=())) == "hi\nyou"
    assert preview_text(preview("x" * 5000, hide=redact, secret=())).startswith("str, the first of 5,000\nxxx")
    told = preview(figure_of(), hide=redact, secret=())
    assert preview_text(told) == "Figure, a picture of 640 × 320 pixels"
    assert '<img src="data:image/png;base64,' in preview_html(told)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.decimals()
    | st.complex_numbers() | st.builds(Raises) | st.builds(Megabytes) | st.builds(Plain) | st.builds(Liar) | st.builds(np.arange, st.just(3)) | st.builds(pd.DataFrame, st.just({"a": ["\ud800"]}), dtype=st.just(object)),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text() | st.integers(), inner, max_size=40)
    | st.tuples(inner, inner) | st.builds(Person, st.text(), inner),
    max_leaves=60,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(value=ANY)
def test_anything(value):
    """It never raises, is JSON that can be stored as UTF-8, and is at most 20 kB."""
    text = preview(value, hide=redact, secret=())
    assert (text == "") == (value is None)
    if text:
        assert json.loads(text)["kind"] in ("text", "frame", "array", "items")
        assert len(text.encode("utf-8")) <= 20_000
        assert preview_text(text) is not None
        assert preview_html(text)
