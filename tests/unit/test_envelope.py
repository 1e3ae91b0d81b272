"""Large parts of a value lie outside of its pickle: which, uncopied, whose memory they become, and what is checked."""

from __future__ import annotations

import array
import copy
import dataclasses
import gc
import io
import mmap
import pickle
import sys
import tracemalloc
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebook_durable.errors import JournalFormatError, NotStorableError, OutdatedValueError, UndefinedClassError
from notebook_durable.model import Payload
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.serializers.collector import while_loading
from notebook_durable.serializers.dill import DillSerializer
from notebook_durable.serializers.libraries import present
from notebook_durable.serializers.sink import LARGE

np = pytest.importorskip("numpy")

MANY = 20_000  # numbers: 160 KB


@dataclasses.dataclass
class Box:
    first: object
    second: object = None


class Normalises:
    """Writes to its array when it is restored."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __setstate__(self, state):
        self.numbers = state["numbers"]
        self.numbers += 1


@pytest.fixture
def codec():
    return DefaultCodec()


def mapped(payload, tmp_path):
    """The payload as a store gives it: every buffer in one file, mapped copy-on-write."""
    path = tmp_path / "blob"
    path.write_bytes(b"".join(payload.buffers))
    with path.open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    buffers, at = [], 0
    for buffer in payload.buffers:
        buffers.append(whole[at : at + buffer.nbytes])
        at += buffer.nbytes
    return payload._replace(buffers=tuple(buffers)), path


def copied(payload):
    """The payload as a store gives it that keeps bytes."""
    return payload._replace(buffers=tuple(bytes(buffer) for buffer in payload.buffers))


PARTS = {
    "array": (lambda: np.arange(MANY), 1),
    "F order": (lambda: np.asfortranarray(np.ones((200, 300))), 1),
    "strided": (lambda: np.arange(2 * MANY)[::2], 1),
    "turned": (lambda: np.ones((20, 30, 100)).transpose(1, 0, 2), 1),
    "masked": (lambda: np.ma.masked_array(np.arange(2 * LARGE), np.arange(2 * LARGE) % 2 == 0), 2),
    "times": (lambda: np.arange(MANY).astype("M8[s]"), 1),
    "records": (lambda: np.zeros(MANY, dtype=[("i", "i4"), ("f", "f8")]), 1),
    "bytes": (lambda: b"x" * LARGE, 1),
    "bytearray": (lambda: bytearray(LARGE), 1),
    "text": (lambda: ("ä" * LARGE,), 1),
    "BytesIO": (lambda: io.BytesIO(b"x" * LARGE), 1),
    "array.array": (lambda: array.array("d", range(MANY)), 1),
    "dict": (lambda: {"a": np.arange(MANY), "b": {"c": [np.ones(MANY), b"x" * LARGE]}}, 3),
    "dataclass": (lambda: Box(np.arange(MANY), Box(np.ones(MANY))), 2),
    "with a function": (lambda: [lambda x: x, Box(np.arange(MANY)), b"x" * LARGE, "x" * LARGE, bytearray(LARGE)], 4),
    "in a closure": (lambda: (lambda numbers: lambda: numbers)(np.arange(MANY)), 1),
    "the same twice": (lambda: [numbers := np.arange(MANY), {"again": numbers}], 1),
    "small ones": (lambda: [np.arange(100) for _ in range(50)], 0),
}


@pytest.mark.parametrize("name", PARTS)
def test_large_parts_are_buffers_at_any_depth(codec, name):
    """Parts of 64 KB or more lie outside of the pickle, through both picklers; what stays in it is small."""
    make, parts = PARTS[name]
    payload = codec.encode(make())
    assert payload.serializer == "dill"
    assert len(payload.buffers) == parts
    assert all(buffer.nbytes >= LARGE and buffer.readonly and buffer.contiguous for buffer in payload.buffers)
    assert len(payload.data) < LARGE
    assert payload.size == len(payload.data) + sum(buffer.nbytes for buffer in payload.buffers)


def test_frames_and_models_hand_their_memory_over(codec):
    """So do the columns of a frame, those of polars, and the insides of a fitted model."""
    pd, pl, neighbors = (pytest.importorskip(name) for name in ("pandas", "polars", "sklearn.neighbors"))
    frame = pd.DataFrame({"a": np.arange(MANY), "f": np.ones(MANY), "d": pd.date_range("2026", periods=MANY)})
    model = neighbors.KNeighborsRegressor().fit(frame[["a", "f"]], frame["f"])
    for value in (frame, {i: frame.copy() for i in range(5)}, Box(frame["a"]), pl.DataFrame({"a": frame["a"]}), model):
        payload = codec.encode(value)
        assert payload.buffers
        # Parts of the tree of a model that are a little smaller stay in.
        assert len(payload.data) < 2 * LARGE


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [Box(a), b"x"], lambda a: {"a": a, "f": lambda: 1}])
def test_arrays_are_not_copied(codec, wrap):
    """The buffer of an array is its own memory, and so is that of bytes."""
    numbers = np.arange(MANY)
    (buffer,) = codec.encode(wrap(numbers)).buffers
    assert np.shares_memory(np.frombuffer(buffer, dtype=numbers.dtype), numbers)


def test_bytes_are_not_copied(codec):
    """Neither are bytes and bytearrays."""
    data, more = b"x" * LARGE, bytearray(LARGE)
    one, two = codec.encode((data, more)).buffers
    assert one.obj is data
    assert two.obj is more


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.ones(25 << 20),
        lambda: np.zeros(25 << 20, dtype="m8[s]"),
        lambda: {"a": np.ones(15 << 20), "b": [np.ones(10 << 20)], "f": lambda: 1},
        lambda: bytes(200 << 20),
        lambda: np.ma.masked_array(np.ones(20 << 20), np.zeros(20 << 20, dtype=bool)),
    ],
    ids=["array", "times", "arrays and a function", "bytes", "masked"],
)
def test_saving_200_mb_takes_no_memory(codec, make):
    """Neither writing nor reading an array takes memory of its size; bytes are copied once, when read."""
    codec.encode([np.ones(3), np.ma.masked_array([1]), lambda: 1])  # imports
    value = make()
    tracemalloc.start()
    try:
        payload = codec.encode(value)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        assert payload.size > 150 << 20
        maps = [mmap.mmap(-1, buffer.nbytes) for buffer in payload.buffers]
        tracemalloc.reset_peak()
        read = codec.decode(payload._replace(buffers=tuple(maps)))
        own = len(value) if type(value) is bytes else 0
        assert tracemalloc.get_traced_memory()[1] < own + (1 << 20)
    finally:
        tracemalloc.stop()
    assert type(read) is type(value)


def test_writing_to_what_was_restored_changes_nothing_else(codec, tmp_path):
    """A restored array is writable over a copy-on-write map, and the file stays as it is; so it is over bytes."""
    value = {"a": np.arange(MANY), "f": np.asfortranarray(np.ones((200, 300)))}
    payload = codec.encode(value)
    from_map, path = mapped(payload, tmp_path)
    before = path.read_bytes()
    from_bytes = copied(payload)
    kept = [bytes(buffer) for buffer in from_bytes.buffers]
    for given_ in (from_map, from_bytes, payload):
        read = codec.decode(given_)
        assert (read["a"] == value["a"]).all()
        read["a"][:] = 7
        read["f"][:] = 7
        assert read["f"].flags.f_contiguous
    assert path.read_bytes() == before
    assert list(from_bytes.buffers) == kept
    assert value["a"][5] == 5
    assert value["f"].sum() == 200 * 300


def test_a_map_is_used_and_not_copied(codec, tmp_path):
    """An array over a copy-on-write map lives in the map."""
    payload, _ = mapped(codec.encode([np.arange(MANY), 1]), tmp_path)
    read = codec.decode(payload)
    assert np.shares_memory(read[0], np.frombuffer(payload.buffers[0], dtype=np.uint8))


@pytest.mark.parametrize("step", [1, 2])
def test_what_was_read_only_is_read_only(codec, tmp_path, step):
    """Over a map that can be written to as well."""
    value = np.arange(2 * MANY)[::step]
    value.flags.writeable = False
    payload = codec.encode([value, b"x" * LARGE])
    for given_ in (mapped(payload, tmp_path)[0], copied(payload), payload):
        read, data = codec.decode(given_)
        assert not read.flags.writeable
        assert (read == value).all()
        assert data == b"x" * LARGE


def test_each_reading_gives_memory_of_its_own(codec):
    """Two readings of one payload share nothing that can be written to, also if numpy writes into bytes."""
    payload = copied(
        codec.encode([np.arange(MANY), np.rec.array(np.zeros(MANY, dtype=[("i", "i8")])), bytearray(LARGE)])
    )
    one, two = codec.decode(payload), codec.decode(payload)
    one[0][:] = 7
    one[1]["i"][:] = 7
    one[2][:3] = b"abc"
    assert two[0][3] == 3
    assert not two[1]["i"].any()
    assert two[2] == bytearray(LARGE)
    assert not any(codec.decode(payload)[1]["i"])


def test_a_later_change_of_the_user_reaches_no_value_that_was_read(codec):
    """Reading straight from the views of a live value gives a copy, also of arrays that are read-only."""
    base = np.arange(MANY)
    frozen = base[:]
    frozen.flags.writeable = False
    read = codec.decode(codec.encode([frozen, base[::1]]))
    base[:] = 7
    assert (read[0][:3].tolist(), read[1][:3].tolist()) == ([0, 1, 2], [0, 1, 2])


def test_one_object_stays_one_and_a_view_comes_apart(codec):
    """What occurs twice is stored once and comes back as one. An array and a view of it come back as two."""
    numbers = np.arange(MANY)
    read = codec.decode(copied(codec.encode([numbers, Box(numbers), numbers[:], numbers.reshape(2, -1)])))
    assert read[0] is read[1].first
    assert not np.shares_memory(read[0], read[2])
    assert (read[3] == numbers.reshape(2, -1)).all()


def test_checking_what_dill_wrote_changes_nothing(codec):
    """A __setstate__ that writes to its array, called by the check, doesn't reach the value."""
    value = [Normalises(np.arange(MANY)), lambda: 1]
    payload = codec.encode(value)
    assert value[0].numbers[:3].tolist() == [0, 1, 2]
    assert codec.decode(copied(payload))[0].numbers[:3].tolist() == [1, 2, 3]


HEADERS = [
    b"B" + LARGE.to_bytes(4, "little"),
    b"\x8e" + LARGE.to_bytes(8, "little"),
    b"\x96" + LARGE.to_bytes(8, "little"),
]
PIECES = st.sampled_from([b"\x95", b"\x95" + (5).to_bytes(8, "little"), b"\x80\x05", b".", b"X", b"\x97", *HEADERS])


@st.composite
def byte_strings(draw):
    """Bytes around 64 KB, made of what pickles are made of."""
    unit = b"".join(draw(st.lists(PIECES, min_size=1, max_size=4)))
    size = draw(st.sampled_from([0, 3, 70, 2000, LARGE - 9, LARGE - 1, LARGE, LARGE + 1, 2 * LARGE]))
    data = (unit * (size // len(unit) + 1))[:size]
    kind = draw(st.sampled_from([bytes, bytearray, lambda data: data.decode("latin-1"), lambda data: (data, 1)]))
    return kind(data)


@settings(max_examples=150, deadline=None)
@given(st.lists(byte_strings(), max_size=8), st.booleans())
def test_no_content_misleads_the_sink(values, function):
    """Bytes that look like opcodes and lengths come back, by both picklers; every large one lies outside."""
    value = [*values, len] if not function else [*values, lambda: 1]
    payload = DefaultCodec().encode(value)
    read = DefaultCodec().decode(copied(payload))
    assert read[:-1] == values
    assert [type(item) for item in read[:-1]] == [type(item) for item in values]
    bare = [item[0] if type(item) is tuple else item for item in values]
    # What is equal twice may be one object, which is written once.
    large = {id(item): item for item in bare if len(item if type(item) is not str else item.encode()) >= LARGE}
    assert len(payload.buffers) == len(large)


def test_version_1_is_read():
    """Bytes of version 1, as they were written before there were buffers."""
    assert DillSerializer().load(b"NBD\x01P\x80\x05K\x01K\x02\x86\x94.") == (1, 2)
    python = bytes(sys.version_info[:2])
    assert DillSerializer().load(b"NBD\x01D" + python + pickle.dumps({"a": (1,)})) == {"a": (1,)}
    with pytest.raises(JournalFormatError, match="1 of 3 bytes"):
        DillSerializer().load(b"NBD\x01PN.", [b"abc"])


def test_bytes_that_stand_alone_have_no_buffers():
    """serialize() gives all in one piece, deserialize() reads it."""
    value = [np.arange(MANY), b"x" * LARGE, "x" * LARGE]
    data = DillSerializer().serialize(value)
    assert len(data) > 3 * LARGE
    read = DillSerializer().deserialize(data)
    assert (read[0] == value[0]).all()
    assert read[0].flags.writeable
    assert read[1:] == value[1:]


@pytest.mark.parametrize(
    "change",
    [
        lambda buffers: (),
        lambda buffers: buffers[:1],
        lambda buffers: (*buffers, b"more"),
        lambda buffers: buffers[::-1],
        lambda buffers: (buffers[0][:-1], buffers[1]),
    ],
    ids=["none", "one is missing", "one too many", "swapped", "cut off"],
)
def test_other_buffers_than_those_written_are_refused(codec, change):
    """A pickle is read with the buffers that belong to it, by number and length, or not at all."""
    payload = copied(codec.encode([np.arange(MANY), np.arange(2 * MANY)]))
    with pytest.raises(JournalFormatError, match="2 buffers of 480000 bytes"):
        codec.decode(payload._replace(buffers=change(payload.buffers)))


@pytest.mark.parametrize("keep", range(4, 12))
def test_a_cut_off_envelope_is_refused(keep):
    """Less than the whole is never unpickled as if it were all."""
    data = DillSerializer().dump((1, 2)).data[:keep]
    with pytest.raises(JournalFormatError):
        DillSerializer().load(data)


def test_a_map_may_hold_the_pickle_too(codec):
    """The bytes may be any bytes-like object."""
    payload = codec.encode((1, 2))
    assert codec.decode(payload._replace(data=memoryview(payload.data))) == (1, 2)


def test_what_was_loaded_is_old_to_the_collector():
    """The collector doesn't look through all that was loaded as soon as it is on again."""
    data = pickle.dumps([{"i": i} for i in range(20_000)])
    gc.collect()
    with while_loading():
        value = pickle.loads(data)
        assert gc.get_count()[0] > 10_000
    assert gc.get_count()[0] < 1_000
    assert gc.is_tracked(value)
    assert gc.get_freeze_count() < 1_000


def test_what_the_user_froze_stays_frozen():
    """gc.freeze() of the user's own is not undone."""
    kept = [[]]
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with while_loading():
            kept.append([])
        assert gc.get_freeze_count() == frozen > 1_000
    finally:
        gc.unfreeze()


# --- libraries --------------------------------------------------------------------------------


def test_libraries_are_named_with_their_versions(codec):
    """Those whose classes and functions are in the pickle, at any depth; nothing of the standard library."""
    numpy = f"numpy {np.__version__}"
    assert codec.encode([np.float64(1), len]).libraries == numpy
    assert codec.encode({"a": Box([np.arange(3)])}).libraries == numpy
    assert codec.encode([np.sin, 1]).libraries == numpy
    assert codec.encode((1, {2}, ValueError(), Box(1), io.BytesIO())).libraries == ""
    assert codec.encode({"a": 1}).libraries == ""


def test_a_frame_names_pandas_and_numpy(codec):
    """In alphabetical order, and those of a subclass of the notebook's."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": np.arange(3)})
    named = codec.encode(frame).libraries.split(", ")
    assert named == sorted(named)
    assert {f"numpy {np.__version__}", f"pandas {pd.__version__}"} <= set(named)


@pytest.fixture
def library():
    """A library that is not installed as a package, of version 1.0, with a class and a function."""
    module = types.ModuleType("some_library")
    module.__version__ = "1.0"
    sys.modules["some_library"] = module
    code = (
        "class Table:\n def __init__(self, rows): self.rows = rows\n"
        "class Model(Table):\n def __reduce__(self): return make, (self.rows,)\n"
        "def make(rows): return Model(rows)\n"
    )
    exec(code, vars(module))
    yield module
    sys.modules.pop("some_library", None)


def broken(rows):
    raise TypeError("make() takes 2 positional arguments")


CHANGES = {
    "the class is gone": (lambda m: delattr(m, "Table"), "Table", r"some_library\.Table is missing"),
    "the function is gone": (lambda m: delattr(m, "make"), "Model", r"some_library\.make is missing"),
    "the function fails": (lambda m: setattr(m, "make", broken), "Model", r"TypeError: make\(\) takes 2"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_upgrade_that_breaks_a_value_is_said(codec, library, change):
    """What today's version of the library can't read raises OutdatedValueError, naming both versions and the reason."""
    edit, kind, reason = CHANGES[change]
    payload = codec.encode([getattr(library, kind)([1, 2])])
    assert payload.libraries == "some_library 1.0"
    library.__version__ = "2.0"
    edit(library)
    with pytest.raises(OutdatedValueError, match=reason) as caught:
        codec.decode(payload)
    assert (caught.value.libraries, caught.value.present) == ("some_library 1.0", "some_library 2.0")


def test_a_library_that_was_removed_is_said(codec, library):
    """It is named as missing."""
    payload = codec.encode([library.Table(1)])
    del sys.modules["some_library"]
    with pytest.raises(OutdatedValueError, match="no some_library can't read it"):
        codec.decode(payload)


def test_an_upgrade_that_breaks_nothing_is_no_matter(codec, library):
    """What can be read is read, whatever the version."""
    payload = codec.encode([library.Model([1, 2])])
    library.__version__ = "2.0"
    assert codec.decode(payload)[0].rows == [1, 2]


@pytest.mark.parametrize("change", CHANGES)
def test_with_the_same_version_the_error_is_what_it_is(codec, library, change):
    """No library is blamed for what it didn't do."""
    edit, kind, _ = CHANGES[change]
    payload = codec.encode([getattr(library, kind)([1, 2])])
    edit(library)
    with pytest.raises((UndefinedClassError, TypeError)):
        codec.decode(payload)


def test_a_class_of_the_notebook_is_no_matter_of_libraries(codec, library):
    """It has to be defined, also if a library has changed."""
    cell = types.ModuleType("some_cell")
    sys.modules["some_cell"] = cell
    try:
        exec("class Order: pass", vars(cell))
        payload = codec.encode([cell.Order(), library.Table(1)])
        library.__version__ = "2.0"
        del cell.Order
        with pytest.raises(UndefinedClassError, match=r"some_cell\.Order"):
            codec.decode(payload)
    finally:
        del sys.modules["some_cell"]


def test_an_older_polars_is_not_let_near_a_newer_ones_frames(codec):
    """It would read them as something else, without an error."""
    pl = pytest.importorskip("polars")
    payload = codec.encode(pl.DataFrame({"a": [1]}))
    assert codec.decode(payload).equals(pl.DataFrame({"a": [1]}))
    newer = f"polars {int(pl.__version__.partition('.')[0]) + 1}.0.0"
    with pytest.raises(OutdatedValueError, match="older than polars"):
        codec.decode(payload._replace(libraries=newer))
    older = payload._replace(libraries="polars 0.1.0")
    assert codec.decode(older).equals(pl.DataFrame({"a": [1]}))


def test_present_versions_are_those_that_are_loaded(library):
    """Not those that pip has installed since."""
    assert present("some_library 0.1, numpy 1.0, nothing_like_that 5") == (
        f"some_library 1.0, numpy {np.__version__}, no nothing_like_that"
    )
    assert present("") == ""


def test_numpys_modules_are_found_by_either_name(codec):
    """numpy 1 wrote numpy.core, numpy 2 writes numpy._core; each reads both, without a warning."""
    for prefix in ("numpy.core.", "numpy._core."):
        code = f"c{prefix}numeric\n_frombuffer\n".encode()
        (fn,) = DillSerializer().load(b"NBD\x01P\x80\x05" + code + b"\x85.")
        assert fn.__name__ == "_frombuffer"


def test_an_error_of_the_notebook_names_the_part(codec):
    """A value with large parts that can't be stored says where it fails, as one without."""
    with pytest.raises(NotStorableError) as caught:
        codec.encode({"a": np.arange(MANY), "b": Box(iter({1: 2}))})
    assert caught.value.path == "['b'].first"


def test_the_value_is_left_alone(codec):
    """Encoding changes neither the value nor its flags."""
    value = {"a": np.arange(MANY), "b": bytearray(LARGE), "m": np.ma.masked_array(np.arange(MANY), np.arange(MANY) > 5)}
    before = copy.deepcopy(value)
    payload = codec.encode(value)
    assert isinstance(payload, Payload)
    assert (value["a"] == before["a"]).all()
    assert value["a"].flags.writeable
    assert value["b"] == before["b"]
    assert (value["m"].mask == before["m"].mask).all()
