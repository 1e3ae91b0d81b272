"""Values come back as they were: nested at random, through maps and bytes, in another process, with other libraries."""

from __future__ import annotations

import importlib.util
import mmap
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import notebook_durable.errors
from notebook_durable.errors import NotStorableError
from notebook_durable.serializers.codec import DefaultCodec

np = pytest.importorskip("numpy")

ZOO = Path(__file__).parent.parent / "zoo" / "values.py"
ROOT = Path(notebook_durable.errors.__file__).parents[1]
LIBRARIES = ("python", "exceptions", "notebook", "numpy", "pandas", "polars", "sklearn", "pydantic")
# A Python with other versions of numpy, pandas, polars and dill.
OTHER = os.environ.get("NBD_OTHER_LIBRARIES", "")


@pytest.fixture(scope="module")
def zoo():
    """The values as a module of its own, whose classes pickle finds by name."""
    spec = importlib.util.spec_from_file_location("exact_zoo", ZOO)
    module = importlib.util.module_from_spec(spec)
    sys.modules["exact_zoo"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["exact_zoo"]


def as_bytes(buffer):
    return bytes(buffer)


def as_map(buffer):
    """Private memory, as a copy-on-write map is."""
    private = mmap.mmap(-1, buffer.nbytes)
    private.write(buffer)
    return memoryview(private)


def as_read_only_map(buffer):
    return as_map(buffer).toreadonly()


@pytest.mark.parametrize("store", [as_bytes, as_map, as_read_only_map])
@pytest.mark.parametrize("library", LIBRARIES)
def test_values_come_back_whatever_the_store_gives(zoo, library, store):
    """Equal, of the same types, flags and identities, over bytes, private maps and maps that can't be written to."""
    codec, wrong = DefaultCodec(), []
    for case in zoo.cases(library):
        payload = codec.encode(case.value)
        read = codec.decode(payload._replace(buffers=tuple(map(store, payload.buffers))))
        difference = zoo.check_case(case, read)
        if difference:
            wrong.append(f"{case.name}: {difference}")
    assert wrong == []


DTYPES = st.sampled_from(["?", "i1", "u2", ">i4", "i8", "f2", "f4", "f8", "c16", "M8[ns]", "m8[s]", "S3", "U2", "V3"])


@st.composite
def arrays(draw):
    """Arrays of either side of 64 KB, of any order, with gaps, turned round, read-only."""
    dtype = np.dtype(draw(DTYPES))
    shape = draw(st.sampled_from([(), (0,), (0, 3), (1,), (7,), (3, 4), (2, 3, 4), (9000,), (90, 100), (20, 30, 16)]))
    array = np.arange(int(np.prod(shape, dtype=int))) % 97
    array = np.zeros(array.size, dtype=dtype) if dtype.kind == "V" else array.astype(dtype)
    array = array.reshape(shape, order=draw(st.sampled_from("CF")))
    change = draw(st.sampled_from(["", "T", "step", "back", "swap"]))
    if change == "T":
        array = array.T
    elif change == "step" and array.ndim:
        array = array[::2]
    elif change == "back" and array.ndim:
        array = array[::-1]
    elif change == "swap" and array.ndim > 1:
        array = array.swapaxes(0, 1)
    if draw(st.booleans()):
        array.flags.writeable = False
    return array


@st.composite
def frames(draw):
    """Frames with columns of several types and an index of some kind."""
    pd = pytest.importorskip("pandas")
    rows = draw(st.sampled_from([0, 3, 9_000]))
    columns = {
        "i": np.arange(rows),
        "f": np.arange(rows) / 7,
        "s": [f"s{i % 50}" for i in range(rows)],
        "c": pd.Categorical.from_codes(np.arange(rows) % 2, ["a", "b"]),
        "d": pd.date_range("2026", periods=rows, freq="h"),
        "n": pd.array(np.arange(rows), dtype="Int64"),
        "o": pd.Series([None, (1,), "x"] * (rows // 3), dtype=object),
    }
    names = draw(st.lists(st.sampled_from(sorted(columns)), unique=True))
    frame = pd.DataFrame({name: columns[name] for name in names}, index=range(rows))
    if draw(st.booleans()):
        frame.index = pd.date_range("2026", periods=rows, freq="min", name="when")
    return frame.iloc[::2] if draw(st.booleans()) else frame


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([b"", b"abc", b"x" * 70_000, "ä" * 70_000, bytearray(b"abc"), bytearray(70_000)]),
    arrays(),
    frames(),
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NESTED, st.booleans(), st.sampled_from([as_bytes, as_map, as_read_only_map]))
def test_nested_values_come_back(zoo, value, function, store):
    """Whatever the nesting: equal, of the same type, order and flags, once shared still shared; by both picklers."""
    codec = DefaultCodec()
    whole = {"value": value, "again": [value], "fn": (lambda: 5) if function else len}
    payload = codec.encode(whole)
    read = codec.decode(payload._replace(buffers=tuple(map(store, payload.buffers))))
    assert zoo.difference([whole["value"], whole["again"]], [read["value"], read["again"]]) == ""
    assert read["fn"]() == 5 if function else read["fn"] is len


WRITE = """
import importlib.util, pickle, sys
path, file, libraries = sys.argv[1:4]
spec = importlib.util.spec_from_file_location("exact_zoo", path)
sys.modules["exact_zoo"] = zoo = importlib.util.module_from_spec(spec)
zoo.__spec__.loader.exec_module(zoo)
from notebook_durable.serializers.codec import DefaultCodec
out = []
for library in libraries.split(","):
    for case in zoo.cases(library):
        payload = DefaultCodec().encode(case.value)
        out.append((library, case.name, tuple(payload._replace(buffers=tuple(map(bytes, payload.buffers))))))
with open(file, "wb") as f:
    pickle.dump(out, f)
"""
READ = """
import importlib.util, pickle, sys
path, file, libraries, other = sys.argv[1:5]
spec = importlib.util.spec_from_file_location("exact_zoo", path)
sys.modules["exact_zoo"] = zoo = importlib.util.module_from_spec(spec)
zoo.__spec__.loader.exec_module(zoo)
from notebook_durable.errors import ReplayError
from notebook_durable.model import Payload
from notebook_durable.serializers.codec import DefaultCodec
cases = {(library, case.name): case for library in libraries.split(",") for case in zoo.cases(library)}
count = outdated = 0
for library, name, payload in pickle.load(open(file, "rb")):
    count += 1
    try:
        read = DefaultCodec().decode(Payload(*payload))
    except ReplayError as error:
        outdated += 1
        if not other or not str(error).strip():
            print(name, "RAISED", error)
        continue
    case = cases.get((library, name))
    if case is None or (other and library == "pandas"):
        continue  # what a version makes of the same line of code is judged by its values, below
    difference = zoo.check_case(case, read)
    if difference:
        print(name, "CHANGED", difference)
print("done", count, outdated)
"""


def run(python, code, *args):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code, *map(str, args)], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.kernel
def test_another_process_reads_the_same_values(tmp_path):
    """What one process wrote, a fresh one reads and finds equal to what it makes itself."""
    libraries = ",".join(name for name in LIBRARIES if name != "pydantic")
    run(sys.executable, WRITE, ZOO, tmp_path / "values", libraries)
    lines = run(sys.executable, READ, ZOO, tmp_path / "values", libraries, "")
    assert lines[:-1] == []
    assert int(lines[-1].split()[1]) > 200
    assert lines[-1].split()[2] == "0"


@pytest.mark.kernel
@pytest.mark.skipif(not Path(OTHER).is_file(), reason="NBD_OTHER_LIBRARIES doesn't name a Python with other libraries")
@pytest.mark.parametrize("older_writes", [True, False])
def test_other_libraries_read_it_or_say_so(tmp_path, older_writes):
    """Between pandas 2 and 3, numpy 1 and 2: what comes back is equal, the rest raises an error that says why."""
    writer, reader = (OTHER, sys.executable) if older_writes else (sys.executable, OTHER)
    run(writer, WRITE, ZOO, tmp_path / "values", "python,numpy,pandas,polars")
    lines = run(reader, READ, ZOO, tmp_path / "values", "python,numpy,pandas,polars", "other")
    assert lines[:-1] == []
    _, count, outdated = lines[-1].split()
    assert int(count) > 100
    assert int(outdated) < int(count) / 2


COLUMNS = "dict(i=[1, 2], f=[1.5, float('nan')], s=['a', 'b'])"
WRITE_FRAMES = f"""
import pickle, sys
import pandas as pd
from notebook_durable.serializers.codec import DefaultCodec
frame = pd.DataFrame({COLUMNS})
frames = [frame, frame[["i", "f"]], frame["f"], frame["s"], frame.set_index("s"), frame.astype({{"s": "category"}})]
payloads = [DefaultCodec().encode(f) for f in frames]
values = [f.reset_index().astype(object).values.tolist() if f.index.name else f.values.tolist() for f in frames]
pickle.dump([(tuple(p._replace(buffers=tuple(map(bytes, p.buffers)))), v) for p, v in zip(payloads, values)],
            open(sys.argv[1], "wb"))
"""
READ_FRAMES = """
import pickle, sys
from notebook_durable.errors import OutdatedValueError
from notebook_durable.model import Payload
from notebook_durable.serializers.codec import DefaultCodec
for payload, values in pickle.load(open(sys.argv[1], "rb")):
    try:
        f = DefaultCodec().decode(Payload(*payload))
    except OutdatedValueError as error:
        print("outdated", error.libraries != error.present)
        continue
    read = f.reset_index().astype(object).values.tolist() if f.index.name else f.values.tolist()
    print("equal" if repr(read) == repr(values) else f"CHANGED {values} {read}")
"""


@pytest.mark.kernel
@pytest.mark.skipif(not Path(OTHER).is_file(), reason="NBD_OTHER_LIBRARIES doesn't name a Python with other libraries")
@pytest.mark.parametrize("older_writes", [True, False])
def test_frames_between_versions_of_pandas(tmp_path, older_writes):
    """Their values are the same, or OutdatedValueError is raised: nothing between."""
    writer, reader = (OTHER, sys.executable) if older_writes else (sys.executable, OTHER)
    run(writer, WRITE_FRAMES, tmp_path / "frames")
    lines = run(reader, READ_FRAMES, tmp_path / "frames")
    assert len(lines) == 6
    assert set(lines) <= {"equal", "outdated True"}
    assert "equal" in lines or not older_writes


@pytest.mark.parametrize("size", [0, 1])
def test_tiny_arrays_beside_bytes(size):
    """Bytes of which there is only one in the process stay bytes beside an array that is made of them."""
    array = np.zeros(size, dtype="u1")
    fixed = [np.zeros(size, dtype="u1") for _ in range(2)]
    for one in fixed:
        one.flags.writeable = False
    value = [array, array.tobytes(), lambda: 5, bytearray(size), *fixed, array.copy()]
    read = DefaultCodec().decode(DefaultCodec().encode(value))
    assert [type(item) for item in read[:2]] == [np.ndarray, bytes]
    assert read[1] == bytes(size)
    assert read[2]() == 5
    assert read[3] == bytearray(size)
    assert [item.flags.writeable for item in (read[0], *read[4:])] == [True, False, False, True]
    assert read[0] is not read[6]


def test_what_is_refused_is_refused_before_anything_is_written(zoo):
    """A value that can't come back as it is gives no payload."""
    with pytest.raises(NotStorableError):
        DefaultCodec().encode({"a": np.arange(20_000), "b": iter({1: 2})})
    assert pickle.loads(DefaultCodec().encode((1,)).data[5:]) == (1,)
