"""serializer="parquet" and "arrow": what comes back, and what is refused because it would come back changed."""

from __future__ import annotations

import datetime as dt
import decimal
import importlib.util
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebook_durable.errors import ConfigurationError, JournalFormatError, MissingExtraError, NotStorableError
from notebook_durable.serializers import portable
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.serializers.dill import DillSerializer
from notebook_durable.serializers.same_frame import changed_pandas, changed_polars
from notebook_durable.serializers.sink import LARGE

np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")

HAS_ARROW = importlib.util.find_spec("pyarrow") is not None
needs_arrow = pytest.mark.skipif(not HAS_ARROW, reason="needs pyarrow (the extra 'arrow')")
FORMATS = ("parquet", "arrow")


@pytest.fixture
def codec():
    return DefaultCodec()


def frames():
    return {
        "numbers": pd.DataFrame(
            {"i": [1, 2], "f": [1.5, np.nan], "b": [True, False], "u": np.array([1, 2], dtype="u1")}
        ),
        "signed zeros": pd.DataFrame({"f": [0.0, -0.0, np.nan, np.inf]}),
        "text": pd.DataFrame({"s": pd.Series(["a", None, "ä🎉"], dtype="string")}),
        "default text": pd.DataFrame({"s": ["a", "b"]}),
        "nullable": pd.DataFrame(
            {"i": pd.array([1, None], dtype="Int64"), "b": pd.array([True, None], dtype="boolean")}
        ),
        "categories": pd.DataFrame({"c": pd.Categorical(["a", "b", "a"], categories=["b", "a", "x"], ordered=True)}),
        "times": pd.DataFrame({"t": pd.to_datetime(["2026-01-01", None]), "d": pd.to_timedelta([1, 2], unit="s")}),
        "zone": pd.DataFrame({"t": pd.DatetimeIndex(["2026-01-01 12:00", "2026-07-01"], tz="UTC")}),
        "named index": pd.DataFrame({"a": [1, 2]}, index=pd.Index([5, 7], name="id")),
        "text index": pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="id")),
        "several indexes": pd.DataFrame(
            {"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"])
        ),
        "range": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(4, 8, 2, name="r")),
        "dates": pd.DataFrame({"d": pd.Series([dt.date(2026, 1, 1), None], dtype=object)}),
        "decimals": pd.DataFrame({"d": pd.Series([decimal.Decimal("1.50"), None], dtype=object)}),
        "bytes": pd.DataFrame({"d": pd.Series([b"a", b""], dtype=object)}),
        "empty": pd.DataFrame({"a": pd.Series(dtype="int32")}),
        "large": pd.DataFrame(
            {"a": np.random.default_rng(0).normal(size=30_000), "s": [f"no {i}" for i in range(30_000)]}
        ),
    }


def shifted(**options):
    return pd.DataFrame({"a": [1, 2, 3]}, **options)


def with_attrs(value):
    frame = shifted()
    frame.attrs["x"] = value
    return frame


def strict():
    return shifted().set_flags(allows_duplicate_labels=False)


class SubFrame(pd.DataFrame):
    @property
    def _constructor(self):
        return SubFrame


# Each with what its message must say. The path names the column where the format itself doesn't object.
REFUSED = {
    "objects with numbers": (
        lambda: pd.DataFrame({"a": pd.Series([1, None], dtype=object)}),
        "['a']",
        "column 'a': object with NoneType, int would become float64",
    ),
    "objects with booleans": (
        lambda: pd.DataFrame({"n": [1, 2], "a": pd.Series([True, False], dtype=object)}),
        "['a']",
        "column 'a': object with bool would become bool",
    ),
    "objects of many kinds": (
        lambda: pd.DataFrame({"a": pd.Series([1, "a"], dtype=object)}),
        "",
        "column a with type object",
    ),
    "objects with lists": (lambda: pd.DataFrame({"a": [[1], [2]]}), "['a']", "[1] (list) would become array([1])"),
    "objects with dicts": (
        lambda: pd.DataFrame({"a": [{"x": 1}, {"y": 2}]}),
        "['a']",
        "row 0: {'x': 1} (dict) would become",
    ),
    "missing values of another kind": (
        lambda: pd.DataFrame({"a": pd.Series([b"x", np.nan], dtype=object)}),
        "['a']",
        "row 1: nan (float) would become None (NoneType)",
    ),
    "twice the same name": (lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]), "", "Duplicate column names"),
    "freq of the index": (
        lambda: shifted(index=pd.date_range("2026", periods=3, freq="D")),
        ".index",
        "the index: its freq <Day> would be lost",
    ),
    "attrs": (lambda: with_attrs((1, 2)), ".attrs", "attrs {'x': (1, 2)} would become "),
    "flags": (strict, ".flags", "allows_duplicate_labels"),
    "complex": (lambda: pd.DataFrame({"a": [1j]}), "", "complex128"),
    "sparse": (lambda: pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])}), "", ""),
    "a subclass": (lambda: SubFrame({"a": [1]}), "", "of pandas' and polars' own classes"),
    "a series": (lambda: pd.Series([1]), "", "it writes whole frames only"),
    "a dict": (lambda: {"a": pd.DataFrame()}, "", "only. Leave serializer= away"),
    "an array": (lambda: np.arange(3), "", "it writes frames of pandas and polars"),
}


@needs_arrow
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", frames())
def test_frames_come_back_exactly(codec, name, format_):
    """A frame that the format holds comes back equal: types, index, columns, values, missing values."""
    frame = frames()[name]
    payload = codec.encode(frame, format_)
    assert payload.serializer == format_
    back = codec.decode(payload)
    pd.testing.assert_frame_equal(back, frame, check_exact=True, check_column_type="exact", check_index_type="exact")
    assert changed_pandas(frame, back) is None
    names = [entry.partition(" ")[0] for entry in payload.libraries.split(", ")]
    assert {"pandas", "pyarrow"} <= set(names)


@needs_arrow
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_changed_is_refused(codec, name, format_):
    """It is not storable in this format, and the error says which column and why."""
    make, path, reason = REFUSED[name]
    with pytest.raises(NotStorableError) as caught:
        codec.encode(make(), format_)
    assert reason in str(caught.value)
    assert caught.value.path == path
    assert f"serializer='{format_}'" in caught.value.reason


@needs_arrow
def test_a_category_of_numbers(codec):
    """Arrow holds it; Parquet doesn't, and refuses, or does, and brings it back."""
    frame = pd.DataFrame({"c": pd.Categorical([1, 2, 1])})
    assert changed_pandas(frame, codec.decode(codec.encode(frame, "arrow"))) is None
    try:
        payload = codec.encode(frame, "parquet")
    except NotStorableError as refused:
        assert "column 'c'" in refused.reason
    else:
        assert changed_pandas(frame, codec.decode(payload)) is None


@needs_arrow
@pytest.mark.parametrize("format_", FORMATS)
def test_a_restored_frame_can_be_changed(codec, format_):
    """All its columns are writable, and what is written doesn't reach the bytes."""
    frame = frames()["large"].assign(
        c=pd.Categorical(["a", "b"] * 15_000),
        t=pd.date_range("2026", periods=30_000, freq="s"),
        z=pd.date_range("2026", periods=30_000, freq="s", tz="UTC"),
        p=pd.period_range("1000-01", periods=30_000, freq="D"),
        i=pd.interval_range(0, 30_000),
        n=pd.array([1, None] * 15_000, dtype="Int64"),
        b=pd.array([True, None] * 15_000, dtype="boolean"),
    )
    payload = codec.encode(frame, format_)
    payload = payload._replace(buffers=tuple(bytes(buffer) for buffer in payload.buffers))
    back = codec.decode(payload)
    back.loc[3, "a"] = 7.0
    back.loc[3, "s"] = "changed"
    back.loc[3, "c"] = "a"
    for column in ("t", "z", "p", "i", "n", "b"):
        back.loc[3, column] = back.loc[4, column]
    assert back.loc[3, "a"] == 7.0
    again = codec.decode(payload)
    assert changed_pandas(frame, again) is None


@needs_arrow
@pytest.mark.parametrize("format_", FORMATS)
def test_a_large_file_is_a_buffer(codec, format_):
    """So it is not copied into the bytes; a small one stands behind the head; what stands alone has both."""
    frame = frames()["large"]
    payload = codec.encode(frame, format_)
    (buffer,) = payload.buffers
    assert buffer.nbytes > LARGE
    assert len(payload.data) == 6
    small = codec.encode(frame.head(3), format_)
    assert small.buffers == ()
    serializer = codec.resolve(format_)[0]
    assert changed_pandas(frame, serializer.deserialize(serializer.serialize(frame))) is None


@needs_arrow
def test_the_file_is_one_that_others_read(codec):
    """Behind the head lies a Parquet or an Arrow file as any other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = pd.DataFrame({"a": [1, 2]})
    file = codec.encode(frame, "parquet").data[6:]
    assert pq.read_table(pa.BufferReader(file)).column("a").to_pylist() == [1, 2]
    file = codec.encode(frame, "arrow").data[6:]
    assert pa.ipc.open_file(pa.BufferReader(file)).read_all().column("a").to_pylist() == [1, 2]


def polars_frame(pl):
    return pl.DataFrame(
        {
            "i": [1, None, 3],
            "f": [1.5, float("nan"), -0.0],
            "s": ["a", None, "ä"],
            "d": [dt.date(2026, 1, 1)] * 3,
            "t": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 3,
            "l": [[1, 2], [], None],
            "st": [{"x": 1}, {"x": 2}, {"x": None}],
            "c": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
            "e": pl.Series(["a", "b", "a"], dtype=pl.Enum(["b", "a"])),
            "dec": pl.Series([decimal.Decimal("1.5")] * 3, dtype=pl.Decimal(10, 1)),
        }
    )


@needs_arrow
@pytest.mark.parametrize("format_", FORMATS)
def test_polars_frames_come_back_exactly(codec, format_):
    """With their own types, at every depth."""
    pl = pytest.importorskip("polars")
    for frame in (polars_frame(pl), polars_frame(pl).drop("c").clear(), pl.DataFrame({"a": range(30_000)})):
        back = codec.decode(codec.encode(frame, format_))
        assert changed_polars(frame, back) is None
        assert back.schema == frame.schema
        assert back.equals(frame)
    for value, says in [
        (pl.DataFrame({"o": [object()]}), "column 'o' holds Python objects"),
        (polars_frame(pl).lazy(), "frame.collect()"),
        (polars_frame(pl)["i"], "return a DataFrame"),
    ]:
        with pytest.raises(NotStorableError) as caught:
            codec.encode(value, format_)
        assert says in caught.value.reason


@needs_arrow
def test_tables_of_pyarrow_are_for_arrow(codec):
    """They come back with their schema and metadata, NaN and null apart; Parquet doesn't take them."""
    import pyarrow as pa

    fields = pa.schema([pa.field("f", pa.float64(), metadata={"unit": "m"})], metadata={"by": "us"})
    table = pa.table({"f": pa.array([1.0, float("nan"), None])}, schema=fields)
    back = codec.decode(codec.encode(table, "arrow"))
    assert back.schema.equals(table.schema, check_metadata=True)
    assert back.column("f").null_count == 1
    assert str(back.column("f").to_pylist()) == "[1.0, nan, None]"
    with pytest.raises(NotStorableError, match="frames of pandas and polars only"):
        codec.encode(table, "parquet")


COLUMNS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    st.lists(st.floats(), min_size=3, max_size=3),
    st.lists(
        st.one_of(st.none(), st.integers(-5, 5), st.booleans(), st.floats(), st.text(max_size=3)),
        min_size=3,
        max_size=3,
    ),
    st.lists(st.one_of(st.none(), st.binary(max_size=3)), min_size=3, max_size=3),
    st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=3, max_size=3),
    st.lists(st.one_of(st.none(), st.lists(st.integers(0, 3), max_size=2)), min_size=3, max_size=3),
    st.lists(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)), min_size=3, max_size=3),
)


@needs_arrow
@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.one_of(st.text(max_size=3), st.integers(0, 5)), COLUMNS, max_size=4),
    st.one_of(st.none(), st.lists(st.one_of(st.integers(), st.text(max_size=2), st.none()), min_size=3, max_size=3)),
    st.booleans(),
    st.sampled_from(FORMATS),
)
def test_exact_or_refused(columns, index, as_objects, format_):
    """Whatever the frame: it comes back so that pickle can't tell it from the original, or it is refused."""
    made = {name: pd.Series(column, dtype=object) if as_objects else column for name, column in columns.items()}
    frame = pd.DataFrame(made)
    if index is not None and len(frame):
        frame.index = pd.Index(index)
    try:
        payload = DefaultCodec().encode(frame, format_)
    except NotStorableError as refused:
        assert refused.reason
        return
    back = DefaultCodec().decode(payload)
    assert type(back) is pd.DataFrame
    assert list(map(type, back.columns)) == list(map(type, frame.columns))
    assert back.dtypes.tolist() == frame.dtypes.tolist()
    assert type(back.index) is type(frame.index)
    for name in frame.columns:
        one, other = frame[name].tolist(), back[name].tolist()
        assert [(type(item), repr(item)) for item in other] == [(type(item), repr(item)) for item in one]


def test_the_comparison_sees_changes():
    """The judge sees what == overlooks."""
    frame = pd.DataFrame({"f": [0.0, np.nan], "o": pd.Series([1, None], dtype=object)}).set_index(pd.Index(["x", "y"]))
    assert changed_pandas(frame, frame.copy()) is None
    for change, says in [
        (lambda f: f.assign(f=[-0.0, np.nan]), "column 'f': its values would change"),
        (
            lambda f: f.assign(o=pd.Series([True, None], dtype=object, index=f.index)),
            "1 (int) would become True (bool)",
        ),
        (lambda f: f.assign(o=pd.Series([1, np.nan], dtype=object, index=f.index)), "None (NoneType) would become nan"),
        (lambda f: f.rename_axis("id"), "names [None] would become ['id']"),
        (lambda f: f.reset_index(drop=True), "Index would become a RangeIndex"),
        (lambda f: f[["o", "f"]], "the columns: "),
        (lambda f: f.head(1), "of shape (2, 2) would become one of (1, 2)"),
        (lambda f: f.astype({"f": "float32"}), "column 'f': float64 would become float32"),
    ]:
        changed = changed_pandas(frame, change(frame))
        assert changed is not None
        assert says in changed.reason


def test_the_order_of_categories_counts():
    """pandas calls categories equal in any order, if they have none."""
    one = pd.DataFrame({"c": pd.Categorical(["a", "b"], categories=["a", "b"])})
    other = pd.DataFrame({"c": pd.Categorical(["a", "b"], categories=["b", "a"])})
    assert changed_pandas(one, one.copy()) is None
    assert "column 'c'" in changed_pandas(one, other).reason


def test_without_pyarrow_the_extra_is_named(codec, monkeypatch):
    """Before the step runs, so that no work is lost; and when a value is to be read."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("notebook_durable.serializers.codec.find_spec", lambda name: None)
    for format_ in FORMATS:
        with pytest.raises(MissingExtraError, match=r"pip install 'notebook_durable\[arrow\]'") as caught:
            codec.resolve(format_)
        assert caught.value.library == "pyarrow"
        head = b"NBF\x01p" + {"parquet": b"P", "arrow": b"A"}[format_]
        with pytest.raises(MissingExtraError):
            portable.PortableSerializer(format_).load(head)
        with pytest.raises(ConfigurationError):
            codec.encode(pd.DataFrame(), format_)


@pytest.mark.parametrize("data", [b"", b"NBF\x02pP", b"NBF\x01xP", b"PAR1"])
def test_bytes_of_another_format_are_named(data):
    """Newer or foreign bytes are not handed to a parser."""
    with pytest.raises(JournalFormatError):
        portable.PortableSerializer("parquet").load(data)


def test_the_default_is_not_touched(codec):
    """Without serializer= a frame goes to pickle, whatever is installed."""
    assert codec.encode(pd.DataFrame({"a": [1]})).serializer == "dill"
    assert codec.resolve(DillSerializer())[1] == "dill"


def test_no_arrow_without_need():
    """The codec imports neither pyarrow nor pandas until they are asked for."""
    code = (
        "import sys; from notebook_durable.serializers.codec import DefaultCodec as C; C().encode((1, 2));"
        "print(sorted({'pyarrow', 'pandas', 'polars', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
