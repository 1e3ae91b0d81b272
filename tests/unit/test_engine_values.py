"""Values of any size through ``ctx.run``: they come back as they were, and nobody's memory is theirs afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import importlib.util
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

import notebook_durable
from notebook_durable import render
from notebook_durable.errors import JournalUnwritableError, TerminalError
from notebook_durable.events import StepEnded, StepReplayed, StoreFailed
from notebook_durable.ipython.panel import Panel
from notebook_durable.model import EntryStatus, RunId
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.stores import blobs
from notebook_durable.testing.faults import FailingStore
from notebook_durable.view import JournalView
from notebook_durable.wiring import Settings

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

ZOO = Path(__file__).parent.parent / "zoo" / "values.py"
ROOT = Path(notebook_durable.__file__).parent.parent
FULL = JournalUnwritableError("/x/.durable", "No space left on device", "Free some space.")

#: Rows of a value that lies in its row, in a pack, and in a file of its own (for which packs take nothing).
SIZES = {"row": 500, "pack": 20_000, "blob": 20_000}


@pytest.fixture(params=SIZES)
def n(request, monkeypatch):
    """So many numbers make a value that lies in each of the three places."""
    if request.param == "blob":
        monkeypatch.setattr(blobs, "LARGEST_IN_PACK", 0)
    return SIZES[request.param]


def load_zoo():
    spec = importlib.util.spec_from_file_location("engine_zoo", ZOO)
    module = importlib.util.module_from_spec(spec)
    sys.modules["engine_zoo"] = module
    spec.loader.exec_module(module)
    return module


zoo = load_zoo()


def no_difference(one, other):
    found = zoo.difference(one, other)
    assert not found, found


@dataclasses.dataclass
class Fit:
    name: str
    weights: object
    more: dict


# --- makers: called once, and a second time by whoever compares ---------------------------


def numbers(n):
    return np.arange(float(n))


def frame(n):
    return pd.DataFrame(
        {
            "i": np.arange(n),
            "f": np.arange(n) / 3,
            "text": [f"order {i}" for i in range(n)],
            "object": pd.Series([(i,) if i % 2 else None for i in range(n)], dtype=object),
            "kind": pd.Categorical.from_codes(np.arange(n) % 2, ["b", "a"], ordered=True),
            "when": pd.date_range("2026", periods=n, freq="s", tz="Europe/Berlin"),
            "Int64": pd.array(np.arange(n), dtype="Int64"),
            "string": pd.array([f"s{i}" for i in range(n)], dtype="string"),
        },
        index=pd.Index(np.arange(n)[::-1] * 2, name="number"),
    )


def frames(n):
    return {"train": frame(n), "deep": [{"test": (frame(10), frame(n)["text"])}]}


def many_index(n):
    index = pd.MultiIndex.from_arrays([np.arange(n) % 7, [f"k{i}" for i in range(n)]], names=["k", None])
    return pd.DataFrame({("a", 1): np.arange(n), ("a", 2): np.arange(n) / 7}, index=index)


def arrow(n):
    pytest.importorskip("pyarrow")
    strings = pd.array([f"s{i}" if i % 3 else None for i in range(n)], dtype="string[pyarrow]")
    return pd.DataFrame({"s": strings, "i": pd.array(np.arange(n), dtype="int64[pyarrow]")})


def arrow_table(n):
    pa = pytest.importorskip("pyarrow")
    return pa.table({"i": list(range(n)), "s": [f"s{i}" for i in range(n)]})


def polars(n):
    pl = pytest.importorskip("polars")
    return {"p": pl.DataFrame({"i": range(n), "s": [f"order {i}" for i in range(n)], "l": [[i] for i in range(n)]})}


def fortran(n):
    return np.asfortranarray(np.arange(float(n)).reshape(10, -1))


def read_only(n):
    array = np.arange(float(n))
    array.flags.writeable = False
    return array


def strided(n):
    return np.arange(2 * n)[::2][::-1]


def empty(n):
    return {"z": np.zeros((0, 5)), "big": numbers(n), "frame": pd.DataFrame({"a": pd.Series(dtype="int32")})}


def structured(n):
    array = np.zeros(n, dtype=[("i", ">i4"), ("f", "f8"), ("d", "M8[s]"), ("s", "U3")])
    array["i"] = np.arange(n)
    return array


def times(n):
    return {"t": np.arange(n).astype("M8[ms]"), "d": np.arange(n).astype("m8[ns]")}


def objects(n):
    return np.array([1, "a", None, (2.5,)] * (n // 4), dtype=object)


def masked(n):
    return np.ma.masked_array(numbers(n), mask=numbers(n) % 2 == 0, fill_value=7.0)


def sparse(n):
    module = pytest.importorskip("scipy.sparse")
    return {"c": module.csr_matrix(numbers(n).reshape(10, -1)), "coo": module.coo_matrix(numbers(n).reshape(10, -1))}


def sparse_column(n):
    return pd.Series(pd.arrays.SparseArray(np.where(np.arange(n) % 3, 0.0, np.arange(n))))


def fit(n):
    return Fit("f", numbers(n), {"history": [numbers(n)[::3], fortran(n)], "text": "ä" * n})


def plain_bytes(n):
    return [b"\x00\xff" * n, bytearray(b"ab" * n), "ä🎉" * n]


def dicts(n):
    return [{"i": i, "s": f"s{i}" * 20, "f": i / 7, "n": None} for i in range(n // 10)]


def slots(n):
    return zoo.Slotted(numbers(n), zoo.Plain(a=numbers(n), b={"c": numbers(n)}))


MAKERS = [
    numbers, frame, frames, many_index, arrow, arrow_table, polars, fortran, read_only, strided, empty, structured,
    times, objects, masked, sparse, sparse_column, fit, plain_bytes, dicts, slots,
]  # fmt: skip


def make(lab, maker, n):
    lab.called("make")
    return maker(n)


def use(lab, value):
    return lab.called("use", len(repr(value)))


# --- exactness ------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_replayed_values_are_what_they_were(lab, maker, n):
    """Equal, of the same types, dtypes, index and flags; a step that takes the replayed value replays as well."""
    got = []

    def body(ctx):
        value = ctx.run("make", make, lab, maker, n)
        got.append(value)
        return ctx.run("use", use, lab, value)

    first = lab.play(body)
    no_difference(maker(n), got[-1])
    for _ in range(2):
        lab.restart()
        assert lab.play(body) == first
        assert lab.calls == []
        no_difference(maker(n), got[-1])


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_restored_parts_are_of_the_same_kind_as_made_ones(lab, maker):
    """A third step that takes the result of a second one on a restored value replays: nothing tells them apart."""

    def second(lab, value):
        return [lab.called("second", value), value]

    def body(ctx):
        value = ctx.run("make", make, lab, maker, 20_000)
        return ctx.run("third", use, lab, ctx.run("second", second, lab, value))

    lab.play(body)
    for _ in range(2):
        lab.restart()
        lab.play(body)
        assert lab.calls == []


@pytest.mark.parametrize("library", zoo.LIBRARIES)
def test_the_zoo_replays(lab, library):
    """Every value of the zoo, as the value of a step of its own."""

    def value_of(number):
        return zoo.cases(library)[number].value

    cases, got = zoo.cases(library), []

    def body(ctx):
        got[:] = [ctx.run(f"case {number}", value_of, number) for number in range(len(cases))]

    lab.play(body)
    lab.restart()
    lab.play(body)
    assert "StepStarted" not in lab.events.names()
    assert [case.name for case, value in zip(cases, got, strict=True) if zoo.check_case(case, value)] == []


def test_a_fitted_model_replays(lab):
    """A model of sklearn with large arrays in it predicts as it did."""
    neighbors = pytest.importorskip("sklearn.neighbors")
    x = np.random.default_rng(0).normal(size=(30_000, 3))

    def fitted():
        return {"model": neighbors.KNeighborsClassifier().fit(x, x[:, 0] > 0)}

    def body(ctx):
        return ctx.run("fit", fitted)["model"].predict_proba(x[:50])

    first = lab.play(body)
    lab.restart()
    assert (lab.play(body) == first).all()
    assert "StepStarted" not in lab.events.names()


def test_a_closure_that_holds_an_array_replays(lab, n):
    """What only dill can pickle travels in the same envelope; the array in it stays outside of the pickle."""

    def make_scaler():
        by = np.arange(float(n))
        return {"scale": lambda x: x * by, "by": by}

    def body(ctx):
        return ctx.run("make", make_scaler)

    lab.play(body)
    lab.restart()
    value = lab.play(body)
    assert (value["scale"](2.0) == np.arange(float(n)) * 2).all()
    assert value["scale"].__closure__[0].cell_contents is value["by"]
    value["by"][0] = 5.0
    assert value["scale"](1.0)[0] == 5.0


def test_shared_references_stay_shared(lab, n):
    """One array in five places is one array; what were two are two; a view of an array shares its memory."""

    def shared():
        one, two = numbers(n), numbers(n)
        table = pd.DataFrame({"a": one})
        return {"list": [one, one], "fit": Fit("f", one, {"one": one}), "two": two, "frames": (table, [table])}

    def check(value):
        one = value["list"][0]
        assert all(each is one for each in (value["list"][1], value["fit"].weights, value["fit"].more["one"]))
        assert value["two"] is not one
        assert value["frames"][0] is value["frames"][1][0]
        one[0] = 4.0
        assert value["two"][0] == 0.0

    def body(ctx):
        return ctx.run("shared", shared)

    check(lab.play(body))
    for _ in range(2):
        lab.restart()
        check(lab.play(body))
    assert "StepStarted" not in lab.events.names()


@pytest.mark.once
def test_ten_megabytes_of_bytes_and_text(lab):
    """As large as a file of its own needs to be, without the test's help."""

    def make():
        return {"b": b"\x01\x02" * 5_000_000, "a": bytearray(10_000_000), "s": "naïve" * 2_000_000, "n": np.ones(10**6)}

    def body(ctx):
        return ctx.run("make", make)

    lab.play(body)
    lab.restart()
    no_difference(make(), lab.play(body))
    assert "StepStarted" not in lab.events.names()


# --- the journal is nobody's memory ---------------------------------------------------------


def scribble(value):
    """Write over everything in a value that can be written to."""
    for one in (value["a"], value["fit"].weights):
        one[...] = -1
    value["t"].iloc[:, 0] = 77.0
    value["b"][:] = b"?" * len(value["b"])


@pytest.mark.parametrize("restart", [True, False])
def test_writing_to_a_value_changes_no_journal(lab, n, restart):
    """Neither to the one that the step returned, nor to a replayed one: the next replay is as the first."""

    def make():
        return {"a": numbers(n), "fit": fit(n), "t": frame(n)[["f", "i"]], "b": bytearray(b"ab" * n)}

    got = []

    def body(ctx):
        got.append(ctx.run("make", make))
        no_difference(make(), got[-1])
        scribble(got[-1])
        ctx.run("next", lambda: 1)

    lab.play(body)
    for _ in range(3):
        if restart:
            lab.restart()
        lab.events.clear()
        lab.play(body)
        assert "StepStarted" not in lab.events.names()


def test_writing_to_one_replay_changes_no_other(lab, n):
    """Two replays at once, in one process: each has memory of its own."""

    def body(ctx):
        return ctx.run("make", numbers, n)

    lab.play(body)
    one, two = lab.play(body), lab.play(body)
    one[:] = -1
    assert two[1] == 1.0
    assert lab.play(body)[1] == 1.0


def test_an_input_that_is_changed_in_place_and_returned(lab, n):
    """Replayed, the cell's own array has the recorded state, and is what the step hands back."""

    def sort_down(array):
        lab.called("sort")
        array[:] = array[::-1].copy()
        return array

    def body(ctx):
        array = ctx.run("make", numbers, n)
        back = ctx.run("sort", sort_down, array)
        assert back is array
        assert (array == np.arange(float(n))[::-1]).all()
        return ctx.run("sum", lambda: float(array[0]))

    lab.play(body)
    for _ in range(2):
        lab.restart()
        assert lab.play(body) == n - 1
        assert lab.calls == []


def test_a_frame_that_is_changed_in_place_and_returned(lab, n):
    """As arrays: replayed, the cell's own frame has the new column, and the step after it replays as well."""

    def add(table):
        lab.called("add")
        table["g"] = table["f"] * 2
        table.loc[table.index[:3], "text"] = "?"
        return table

    def expected():
        table = frame(n)
        return add(table)

    def body(ctx):
        table = ctx.run("make", frame, n)
        rows = table[["f"]]
        back = ctx.run("add", add, table)
        assert back is table
        no_difference(expected(), table)
        no_difference(frame(n)[["f"]], rows)
        return ctx.run("sum", lambda: float(table["g"].sum()))

    first = lab.play(body)
    for _ in range(2):
        lab.restart()
        assert lab.play(body) == first
        assert "StepStarted" not in lab.events.names()


# --- sizes, and who keeps what --------------------------------------------------------------


def test_sizes_are_said(lab, n):
    """In events, the panel, the journal's rows and the lists: the value's bytes, wherever they lie."""
    size = DefaultCodec().encode(numbers(n)).size
    assert size >= 8 * n

    def body(ctx):
        ctx.run("make", numbers, n)

    for _ in range(2):
        lab.play(body)
    ended = [event.entry for event in lab.events if isinstance(event, (StepEnded, StepReplayed))]
    assert {entry.value_size for entry in ended if entry.name == "make"} == {size}
    assert lab.entry("make").value_size == size
    assert all(one.value_size == size for one in lab.store.read(lab.run().id, values=False))
    view = JournalView(Settings.resolve(store=lab.store))
    assert list(view.to_frame("wf")["size"]) == [size]
    said = render.size(size)
    panel = Panel(RunId("wf"))
    panel.apply(list(lab.events))
    (row,) = panel.changes()["rows"]
    assert said in str(row)
    assert said in repr(view.show("wf"))


@pytest.mark.parametrize("size", [20_000, 600_000])
def test_whoever_keeps_events_keeps_no_value(lab, size):
    """After the cell has let go of its value, nothing of ours holds its memory: live and replayed, while it goes on."""
    alive, gone = [], []

    def body(ctx):
        value = ctx.run("make", numbers, size)
        alive.append(weakref.ref(value))
        del value
        ctx.run("next", lambda: 1)
        gc.collect()
        gone.append(alive[-1]() is None)

    for _ in range(2):
        lab.play(body)
    assert gone
    assert all(gone)
    large = [
        entry
        for event in lab.events
        if (entry := getattr(event, "entry", None)) is not None
        if entry.buffers or len(entry.payload or b"") > 4096
    ]
    assert large == []


@pytest.mark.parametrize("executor", [None, "threads"])
def test_a_map_keeps_no_value(lab, executor):
    """The items' arrays are the cell's alone as soon as it has them: live, replayed, and of threads."""
    gone = []

    def body(ctx):
        values = ctx.map("m", lambda number: np.full(20_000, float(number)), range(4), executor=executor)
        alive = [weakref.ref(one) for one in values]
        del values
        ctx.run("next", lambda: 1)
        gc.collect()
        gone.extend(one() is None for one in alive)

    for _ in range(2):
        lab.play(body)
    assert len(gone) >= 8
    assert all(gone)


def test_tasks_keep_no_value(lab):
    """The same in an async cell, for steps and maps."""
    gone = []

    async def body(ctx):
        values = await asyncio.gather(*(ctx.run(f"s{n}", numbers, 20_000 + n) for n in range(3)))
        values += await ctx.map("m", lambda number: np.full(20_000, float(number)), range(3))
        alive = [weakref.ref(one) for one in values]
        del values
        await ctx.run("next", lambda: 1)
        await asyncio.sleep(0)  # else gather's own future is still there
        gc.collect()
        gone.extend(one() is None for one in alive)

    for _ in range(2):
        lab.play(body)
    assert len(gone) >= 12
    assert all(gone)


def test_whoever_keeps_events_keeps_no_bytes(lab):
    """A value of one piece (text, a list of dicts) is let go of as well, by events and by the journal's view."""

    def body(ctx):
        ctx.run("make", lambda: ["x" * 50_000, {"a": 1}])

    for _ in range(2):
        lab.play(body)
    ended = [event.entry for event in lab.events if isinstance(event, (StepEnded, StepReplayed))]
    assert {len(entry.payload or b"") for entry in ended} == {0}
    assert all(entry.value_size > 50_000 for entry in ended)
    assert [len(entry.payload or b"") for entry in lab.session.journal.all()] == [0]


# --- a full disk ------------------------------------------------------------------------------


@pytest.mark.once
def test_a_full_disk_keeps_the_value_as_it_was(lab, n):
    """The cell goes on and changes the array; what is written with the next step is what the step had returned."""
    full = FailingStore(lab.store, FULL)

    def load():
        full.failing = True
        return {"a": numbers(n), "b": bytearray(b"ab" * n)}

    def body(ctx):
        value = ctx.run("load", load)
        value["a"][:] = -1
        value["b"][:] = b""
        full.failing = False
        ctx.run("next", lambda: 1)

    lab.play(body, store=full)
    assert [entry.status for entry in lab.entries()] == [EntryStatus.SUCCEEDED] * 2
    lab.restart()

    def again(ctx):
        return ctx.run("load", load)

    no_difference({"a": numbers(n), "b": bytearray(b"ab" * n)}, lab.play(again))
    assert "StepStarted" not in lab.events.names()


@pytest.mark.once
def test_a_full_disk_at_the_end_of_a_map(lab, n):
    """The same for a map's items, whose values are written in groups."""
    full = FailingStore(lab.store, FULL)

    def item(number):
        full.failing = number == 4
        return np.full(n, float(number))

    def body(ctx):
        values = ctx.map("m", item, range(5))
        for one in values:
            one[:] = -1
        full.failing = False
        ctx.run("next", lambda: 1)

    lab.play(body, store=full)
    assert lab.events.of(StoreFailed)
    lab.restart()
    values = lab.play(lambda ctx: ctx.map("m", item, range(5)))
    assert [set(one) for one in values] == [{float(number)} for number in range(5)]
    assert "StepStarted" not in lab.events.names()


# --- errors that hold arrays ------------------------------------------------------------------


class BadRowsError(Exception):
    def __init__(self, rows):
        super().__init__(f"{len(rows)} bad rows")
        self.rows = rows


@pytest.mark.parametrize("size", [100, 20_000])
def test_an_error_that_holds_an_array_replays(lab, size):
    """The branch is the same, and the array is there; writing to it changes nothing in the journal."""

    def check():
        lab.called("check")
        raise BadRowsError(numbers(size))

    got = []

    def body(ctx):
        try:
            ctx.run("check", check, max_attempts=1)
        except TerminalError as error:
            got.append(error.__cause__)
            no_difference(numbers(size), error.__cause__.rows)
            error.__cause__.rows[:] = -1
        return ctx.run("after", lambda: 1)

    lab.play(body)
    lab.restart()
    for _ in range(2):
        assert lab.play(body) == 1
        assert type(got[-1]) is BadRowsError
    assert "check" not in lab.calls


def test_an_error_that_holds_too_much_replays_as_text(lab):
    """More than a megabyte of an error isn't kept: the cell takes the same branch by its message."""

    def check():
        lab.called("check")
        raise BadRowsError(numbers(1_000_000))

    def body(ctx):
        with pytest.raises(TerminalError, match="1000000 bad rows"):
            ctx.run("check", check, max_attempts=1)
        return ctx.run("after", lambda: 1)

    lab.play(body)
    lab.restart()
    assert lab.play(body) == 1
    assert lab.calls == []
    assert lab.entry("check").value_size == 0


# --- durable() in processes of their own ------------------------------------------------------

SCRIPT = '''
import dataclasses, os, sys
import numpy as np, pandas as pd
from notebook_durable import durable

@dataclasses.dataclass
class Fit:
    weights: object
    more: dict

class Model:
    """A class of __main__, as a notebook's."""
    def __init__(self, n):
        self.weights = np.arange(float(n))
        self.scale = lambda x: x * self.weights

def called(name):
    print(name, flush=True)

def make(n):
    os.write(1, b"make\\n")
    a = np.arange(float(n))
    t = pd.DataFrame({"a": a, "s": [f"s{i}" for i in range(n)], "c": pd.Categorical(["x", "y"] * (n // 2))})
    return {"fit": Fit(a, {"same": a}), "model": Model(n), "frames": {"t": t, "half": t.iloc[::2]}}

def use(value):
    os.write(1, b"use\\n")
    return float(value["fit"].weights.sum() + value["frames"]["t"]["a"].sum() + value["model"].weights.sum())

if __name__ == "__main__":
    n = int(sys.argv[1])
    with durable("wf") as ctx:
        value = ctx.run("make", make, n)
        assert ctx.run("use", use, value) == 3 * n * (n - 1) / 2
        a, t = value["fit"].weights, value["frames"]["t"]
        assert value["fit"].more["same"] is a and a.flags.writeable and a[5] == 5.0
        assert type(value["model"]) is Model and value["model"].scale(2.0)[7] == 14.0
        assert t["s"].iloc[3] == "s3" and list(t["c"].cat.categories) == ["x", "y"] and t.index.equals(pd.RangeIndex(n))
        a[:] = -1
        t["a"] = 0.0
        value["model"].weights[:] = 3
        print("ok")
'''


@pytest.mark.kernel
@pytest.mark.parametrize("rows", [2_000, 40_000, 400_000])
def test_processes_of_plain_python(tmp_path, rows):
    """Other processes replay both steps, with the classes of ``__main__``, although each writes over what it got."""
    (tmp_path / "script.py").write_text(SCRIPT)
    env = {"PYTHONPATH": str(ROOT), "NOTEBOOK_DURABLE_KEY_FILE": str(tmp_path / "key"), "PATH": "/usr/bin:/bin"}
    said = []
    for _ in range(3):
        command = [sys.executable, "script.py", str(rows)]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert said == [["make", "use", "ok"], ["ok"], ["ok"]]
