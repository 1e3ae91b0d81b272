"""What the ``dill`` serializer refuses, and how it says so; damaged and foreign bytes; the garbage collector."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextvars
import dataclasses
import enum
import functools
import gc
import io
import itertools
import mmap
import queue
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import types
import typing
import weakref

import pytest

from notebook_durable.errors import JournalFormatError, NotStorableError, ReplayError, UndefinedClassError
from notebook_durable.pause_gc import WORTH_A_PAUSE, pause_gc
from notebook_durable.serializers.dill import DillSerializer
from notebook_durable.serializers.names import brief


class Plain:
    def __init__(self, **attributes):
        vars(self).update(attributes)


class Slotted:
    __slots__ = ("a", "lock")

    def __init__(self):
        self.a, self.lock = 1, threading.RLock()


@dataclasses.dataclass
class Box:
    item: object


class Point(typing.NamedTuple):
    x: object


class Raises:
    def __reduce__(self):
        raise ValueError("ask somebody else")


class Unloadable(Exception):
    def __new__(cls, *args):
        if not _allowed:
            raise TypeError("only from make()")
        return super().__new__(cls, *args)


_allowed: list[int] = []


def unloadable():
    _allowed.append(1)
    try:
        return Unloadable("x")
    finally:
        _allowed.clear()


def generator():
    yield 1


def closed_coroutine():
    async def f():
        pass

    coroutine = f()
    coroutine.close()
    return coroutine


def closed_file():
    with tempfile.TemporaryFile() as file:
        return file


def closed_connection():
    connection = sqlite3.connect(":memory:")
    connection.close()
    return connection


def closed_cursor():
    connection = sqlite3.connect(":memory:")
    cursor = connection.cursor()
    connection.close()
    return cursor


def closed_socket():
    with socket.socket() as s:
        return s


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process


def closed_executor():
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor


def traceback():
    try:
        raise ValueError
    except ValueError as error:
        return error.__traceback__


def local_enum():
    class Local(enum.Enum):
        A = 1

    return Local.A


def local_named_tuple():
    class Local(typing.NamedTuple):
        x: int

        def double(self):
            return self.x * 2

    return Local(1)


def local_model():
    class Local(pytest.importorskip("pydantic").BaseModel):
        a: int = 1

    return Local()


def locked_closure():
    lock = threading.Lock()
    return lambda: lock


def outdated():
    """An instance of a class whose cell was run again."""
    module = types.ModuleType("outdated_cell")
    sys.modules["outdated_cell"] = module
    exec("class Old: pass", vars(module))
    value = module.Old()
    exec("class Old: pass", vars(module))
    return value


def forgotten():
    value = outdated()
    del sys.modules["outdated_cell"].Old
    return value


LIVE = {
    "generator": (generator, "generator"),
    "coroutine": (closed_coroutine, "coroutine"),
    "lock": (threading.Lock, "_thread.lock"),
    "RLock": (threading.RLock, "_thread.RLock"),
    "threading.Event": (threading.Event, "threading.Event"),
    "Condition": (threading.Condition, "threading.Condition"),
    "Thread": (threading.Thread, "threading.Thread"),
    "threading.local": (threading.local, "_thread._local"),
    "asyncio.Lock": (asyncio.Lock, "asyncio.locks.Lock"),
    "asyncio.Event": (asyncio.Event, "asyncio.locks.Event"),
    "asyncio.Queue": (asyncio.Queue, "asyncio.queues.Queue"),
    "asyncio.Semaphore": (asyncio.Semaphore, "asyncio.locks.Semaphore"),
    "queue.Queue": (queue.Queue, "queue.Queue"),
    "SimpleQueue": (queue.SimpleQueue, "_queue.SimpleQueue"),
    "executor": (closed_executor, "concurrent.futures.thread.ThreadPoolExecutor"),
    "Future": (concurrent.futures.Future, "concurrent.futures._base.Future"),
    "Popen": (ended_process, "subprocess.Popen"),
    "socket": (closed_socket, "socket.socket"),
    "connection": (closed_connection, "sqlite3.Connection"),
    "cursor": (closed_cursor, "sqlite3.Cursor"),
    "file": (closed_file, "_io.BufferedRandom"),
    "text file": (lambda: io.TextIOWrapper(io.BytesIO()), "_io.TextIOWrapper"),
    "mmap": (lambda: mmap.mmap(-1, 10), "mmap.mmap"),
    "weakref": (lambda: weakref.ref(Plain), "weakref.ReferenceType"),
    "weakref.proxy": (lambda: weakref.proxy(Plain), "weakref.CallableProxyType"),
    "WeakSet": (weakref.WeakSet, "_weakrefset.WeakSet"),
    "WeakValueDictionary": (weakref.WeakValueDictionary, "weakref.WeakValueDictionary"),
    "traceback": (traceback, "traceback"),
    "frame": (sys._getframe, "frame"),
    "memoryview": (lambda: memoryview(b"a"), "memoryview"),
    "mappingproxy": (lambda: types.MappingProxyType({}), "mappingproxy"),
    "dict view": (lambda: {}.keys(), "dict_keys"),
    "dict iterator": (lambda: iter({1: 2}), "dict_keyiterator"),
    "set iterator": (lambda: iter({1}), "set_iterator"),
    "itertools": (lambda: itertools.count(5), "itertools.count"),
    "ContextVar": (lambda: contextvars.ContextVar("v"), "_contextvars.ContextVar"),
    "SystemRandom": (random.SystemRandom, "random.SystemRandom"),
    "local Enum": (local_enum, f"{__name__}.local_enum.<locals>.Local"),
    "local NamedTuple": (local_named_tuple, f"{__name__}.local_named_tuple.<locals>.Local"),
    "local pydantic": (local_model, f"{__name__}.local_model.<locals>.Local"),
    "outdated class": (outdated, "outdated_cell.Old"),
    "deleted class": (forgotten, "outdated_cell.Old"),
    "unknown namedtuple": (lambda: collections.namedtuple("Other", "a")(1), f"{__name__}.Other"),  # noqa: PYI024
    "raises": (Raises, f"{__name__}.Raises"),
    "unloadable error": (unloadable, f"{__name__}.Unloadable"),
}


@pytest.mark.parametrize("kind", LIVE)
def test_what_belongs_to_the_process_is_refused(kind):
    """A value that would come back as nothing, or as a meaningless new one, is refused: alone, and inside others."""
    make, type_name = LIVE[kind]
    value = make()
    for whole, path in [(value, ""), ({"model": [0, Box(value)]}, "['model'][1].item")]:
        with pytest.raises(NotStorableError) as caught:
            DillSerializer().serialize(whole)
        assert (caught.value.type_name, caught.value.path) == (type_name, path)
        assert caught.value.reason


@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda x: [1, x], "[1]"),
        (lambda x: (1, (x,)), "[1][0]"),
        (lambda x: {"a": {2: x}}, "['a'][2]"),
        (lambda x: {x: 1}, " key <lock>"),
        (lambda x: Plain(inner=Plain(x=x)), ".inner.x"),
        (lambda x: Box(x), ".item"),
        (lambda x: Point(x), ".x"),
        (lambda x: Slotted(), ".lock"),
        (lambda x: types.SimpleNamespace(a=x), ".a"),
        (lambda x: functools.partial(print, x), ".args[0]"),
        (lambda x: functools.partial(print, end=x), ".keywords['end']"),
        (lambda x: lambda: x, ".__closure__['x']"),
        (lambda x: lambda y=x: y, ".__defaults__[0]"),
        (lambda x: [print, {"f": locked_closure()}], "[1]['f'].__closure__['lock']"),
        (lambda x: collections.deque([0, x]), "[1]"),
        (lambda x: collections.defaultdict(list, a=[x]), "['a'][0]"),
        (lambda x: ValueError("bad", x), ".args[1]"),
    ],
)
def test_the_path_leads_to_the_part_at_fault(wrap, path):
    """The error names the innermost part that can't be stored, and the way to it as one would type it."""
    lock = threading.Lock()
    with pytest.raises(NotStorableError) as caught:
        DillSerializer().serialize(wrap(lock))
    assert caught.value.type_name in ("_thread.lock", "_thread.RLock")
    assert caught.value.path.replace(brief(lock), "<lock>") == path


def test_the_path_leads_into_frames_and_arrays():
    """Cells of object columns and of object arrays are named."""
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    lock = threading.Lock()
    table = pd.DataFrame({"n": [1, 2], "o": pd.Series([1, lock], dtype=object)})
    for value, path in [(table, "['o'].iloc[1]"), ([table["o"]], "[0].iloc[1]"), (np.array([[0, lock]]), "[0, 1]")]:
        with pytest.raises(NotStorableError) as caught:
            DillSerializer().serialize(value)
        assert (caught.value.type_name, caught.value.path) == ("_thread.lock", path)


def test_the_users_own_error_is_the_cause():
    """What a __reduce__ raises is kept as the cause, with its traceback."""
    with pytest.raises(NotStorableError, match="ValueError: ask somebody else") as caught:
        DillSerializer().serialize([Raises()])
    assert type(caught.value.__cause__) is ValueError


def test_an_array_over_a_file_is_refused(tmp_path):
    """numpy.memmap would come back without its file."""
    np = pytest.importorskip("numpy")
    value = np.memmap(tmp_path / "a.bin", mode="w+", shape=3)
    with pytest.raises(NotStorableError) as caught:
        DillSerializer().serialize({"a": value})
    assert caught.value.path == "['a']"
    assert "numpy.array" in caught.value.reason


def test_nested_too_deeply_is_refused_without_a_crash():
    """A chain of 100,000 lists, or of objects, is a NotStorableError."""
    chain, objects = [], None
    for _ in range(100_000):
        chain, objects = [chain], Box(objects)
    for value in (chain, objects):
        with pytest.raises(NotStorableError, match="nested too deeply"):
            DillSerializer().serialize(value)
    while objects is not None:  # freed one by one: CPython 3.11 frees such a chain recursively
        objects = objects.item


def test_memory_buffers_are_no_files():
    """io.BytesIO and io.StringIO are data."""
    assert DillSerializer().deserialize(DillSerializer().serialize(io.StringIO("ä"))).getvalue() == "ä"


def test_an_exception_is_kept_without_a_cause_that_cannot_be():
    """Better the exception without its cause than only its text."""
    error = ValueError("outer")
    error.__cause__ = RuntimeError(threading.Lock())
    read = DillSerializer().deserialize(DillSerializer().serialize(error))
    assert (type(read), read.args, read.__cause__) == (ValueError, ("outer",), None)


def test_a_class_that_is_gone_is_named():
    """Reading a value whose class is missing raises UndefinedClassError, never AttributeError."""
    module = types.ModuleType("some_cell")
    sys.modules["some_cell"] = module
    try:
        exec("class Order: pass", vars(module))
        data = DillSerializer().serialize([module.Order()])
        del module.Order
        with pytest.raises(UndefinedClassError, match=r"some_cell\.Order"):
            DillSerializer().deserialize(data)
    finally:
        del sys.modules["some_cell"]
    with pytest.raises(UndefinedClassError) as caught:
        DillSerializer().deserialize(data)
    assert caught.value.class_name == "some_cell.Order"


def test_a_library_wrapper_does_not_drag_its_globals_along():
    """functools.wraps makes a library's wrapper look like the notebook's function: only its own code is written."""
    library = types.ModuleType("some_library")
    sys.modules["some_library"] = library
    try:
        library.__dict__.update(functools=functools, __builtins__=__builtins__, LARGE="x" * 100_000, factor=2)
        code = "def double(fn):\n @functools.wraps(fn)\n def wrapper(*a): return factor * fn(*a)\n return wrapper"
        exec(code, vars(library))
        data = DillSerializer().serialize(library.double(lambda x: x + 1))
        read = DillSerializer().deserialize(data)
        assert read(1) == 4
        assert len(data) < 10_000
        assert read.__globals__ is vars(library)
    finally:
        del sys.modules["some_library"]


@pytest.mark.parametrize("data", [b"", b"NBD", b"NBD\x03P\x80\x05N.", b"NBD\x01Q", b"\x80\x05N."])
def test_bytes_of_another_format_are_not_unpickled(data):
    """Foreign or newer bytes are named as such."""
    with pytest.raises(JournalFormatError):
        DillSerializer().deserialize(data)


def test_bytecode_of_another_python_is_not_run():
    """A function compiled by another version is refused when read: its bytecode could crash the interpreter."""
    data = bytearray(DillSerializer().serialize(lambda: 1))
    assert data[4:7] == b"D" + bytes(sys.version_info[:2])
    data[6] -= 1
    with pytest.raises(ReplayError, match="compiled by Python"):
        DillSerializer().deserialize(bytes(data))


def test_plain_values_do_not_depend_on_the_version_of_python():
    """Only values with functions in them are marked with it."""
    assert DillSerializer().serialize((1, 2))[:5] == b"NBD\x02P"


def test_the_collector_pauses_for_large_values_only_and_comes_back():
    """While a large value is read, the garbage collector is off; afterwards it is as before, also after an error."""
    serializer = DillSerializer()
    states: list[bool] = []
    sys.modules["gc_spy"] = spy = types.ModuleType("gc_spy")
    spy.look = lambda *_: states.append(gc.isenabled())
    spy.look.__module__, spy.look.__qualname__ = "gc_spy", "look"

    class Looks:
        def __reduce__(self):
            return spy.look, ()

    try:
        serializer.deserialize(serializer.serialize([Looks(), b"x"]))
        serializer.deserialize(serializer.serialize([Looks(), b"x" * WORTH_A_PAUSE]))
    finally:
        del sys.modules["gc_spy"]
    assert states == [True, False]
    with pytest.raises(KeyError), pause_gc():
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    try:
        with pause_gc():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
