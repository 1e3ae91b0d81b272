"""Values written by one kernel, killed, and read by the next: the classes live in a real notebook's ``__main__``."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import notebook_durable.errors

pytestmark = [pytest.mark.kernel, pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client|zmq|tornado")]

OPTIONAL = ("numpy", "pandas", "polars", "sklearn", "pydantic")
LIBRARIES = ("python", "exceptions", "notebook", *OPTIONAL)
ROOT = Path(notebook_durable.errors.__file__).parents[1]
ZOO = (Path(__file__).parent.parent / "zoo" / "values.py").read_text()

# Lists, dicts, dataclass fields and frame cells: `isinstance` must be true in each.
NESTED = """
def nested():
    values = {"list": [Order(1)], "dict": {"o": Order(1)}, "field": Order(2, parent=Order(1))}
    try:
        import pandas as pd
        values["cell"] = pd.DataFrame({"o": pd.Series([Order(1)], dtype=object)})
    except ImportError:
        pass
    return values

def holders(v):
    found = {"list": v["list"][0], "dict": v["dict"]["o"], "field": v["field"].parent}
    if "cell" in v:
        found["cell"] = v["cell"]["o"].iloc[0]
    return found
"""

WRITE = """
import json, os, pathlib, pickle
from notebook_durable.serializers.codec import DefaultCodec
folder, codec, refused = pathlib.Path(FOLDER), DefaultCodec(), {}

def write(name, value):
    payload = codec.encode(value)
    buffers = [bytearray(buffer) for buffer in payload.buffers]
    (folder / name).write_bytes(pickle.dumps((payload.serializer, payload.data, payload.value_type, buffers)))

for library in LIBRARIES_:
    for i, case in enumerate(cases(library)):
        try:
            write(f"{library}-{i}", case.value)
        except Exception as error:
            refused[f"{library}: {case.name}"] = f"{type(error).__name__}: {error}"
write("nested", nested())
write("helper", (lambda x: helper(x)))
def helper(x):
    return ("old", x)
big_table = "x" * 50_000_000
def uses_big_table():
    return len(big_table)
write("uses_big_table", uses_big_table)
(folder / "written.json").write_text(json.dumps({"pid": os.getpid(), "refused": refused,
    "module": [Order.__module__, type(get_ipython()).__name__], "size": (folder / "uses_big_table").stat().st_size}))
"""

READ_EARLY = """
import json, pathlib, pickle
from notebook_durable.model import Payload
from notebook_durable.serializers.codec import DefaultCodec
folder, codec = pathlib.Path(FOLDER), DefaultCodec()

def read(name):
    *parts, buffers = pickle.loads((folder / name).read_bytes())
    return codec.decode(Payload(*parts, tuple(map(memoryview, buffers))))

def attempt(name):
    try:
        return repr(read(name))
    except Exception as error:
        return [type(error).__name__, getattr(error, "class_name", None)]

early = {name: attempt(name) for name in ("nested", "uses_big_table")}
"""

READ = """
def helper(x):
    return ("new", x)
big_table = "xyz"

wrong = {}
for library in LIBRARIES_:
    for i, case in enumerate(cases(library)):
        path = f"{library}-{i}"
        if (folder / path).exists():
            try:
                found = check_case(case, read(path))
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
            if found:
                wrong[f"{library}: {case.name}"] = found
calls = [read("helper")(5), read("uses_big_table")(), read("helper").__globals__ is globals()]
instances = {place: isinstance(item, Order) and item == Order(1) for place, item in holders(read("nested")).items()}
(folder / "read.json").write_text(json.dumps(
    {"early": early, "wrong": wrong, "calls": calls, "instances": instances,
     "compared": {library: sum((folder / f"{library}-{i}").exists() for i in range(len(cases(library))))
                  for library in LIBRARIES_}}))
"""


@contextmanager
def kernel(folder: Path) -> Iterator[tuple[object, object]]:
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython")}
    manager.start_kernel(env=env, cwd=str(folder))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def cell(client: object, code: str) -> None:
    reply = client.execute(code, reply=True, timeout=120)["content"]
    assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Write in one kernel, kill it, read in another."""
    folder = tmp_path_factory.mktemp("values")
    (folder / "payloads").mkdir()
    settings = f"FOLDER = {str(folder / 'payloads')!r}\nLIBRARIES_ = {LIBRARIES!r}\n"
    with kernel(folder) as (_, client):
        for code in (settings, ZOO, NESTED, WRITE):
            cell(client, code)
        written = json.loads((folder / "payloads" / "written.json").read_text())
        os.kill(written["pid"], signal.SIGKILL)
    with kernel(folder) as (_, client):
        for code in (settings, READ_EARLY, ZOO, NESTED, READ):
            cell(client, code)
    return {**written, **json.loads((folder / "payloads" / "read.json").read_text())}


def of(library: str, found: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in found.items() if name.startswith(f"{library}: ")}


@pytest.mark.parametrize("library", LIBRARIES)
def test_values_survive_the_kernel(outcome, library):
    """Every value is stored, and is equal and of the same type in the next kernel, after its cells were run again."""
    if library in OPTIONAL:
        pytest.importorskip(library)
    assert outcome["compared"][library] > 1
    assert of(library, outcome["refused"]) == {}
    assert of(library, outcome["wrong"]) == {}


def test_the_classes_were_those_of_a_notebook(outcome):
    """The test means what it says: the classes are of ``__main__``, in a kernel."""
    assert outcome["module"] == ["__main__", "ZMQInteractiveShell"]


def test_isinstance_holds_at_any_depth(outcome):
    """In a list, a dict, a dataclass field and a frame cell the object is an instance of the class as defined now."""
    expected = {"list", "dict", "field"} | ({"cell"} if _has("pandas") else set())
    assert outcome["instances"] == dict.fromkeys(expected, True)


def _has(library: str) -> bool:
    from importlib.util import find_spec

    return find_spec(library) is not None


def test_a_class_that_is_not_defined_yet_is_named(outcome):
    """Before its cell was run again, the value raises UndefinedClassError with the name of the class."""
    assert outcome["early"]["nested"] == ["UndefinedClassError", "Order"]


def test_functions_use_the_globals_of_the_notebook_that_reads_them(outcome):
    """A function sees helpers and tables as they are defined now; they are not stored with it."""
    assert outcome["calls"] == [["new", 5], 3, True]
    assert outcome["size"] < 2_000
    assert outcome["early"]["uses_big_table"].startswith("<function uses_big_table")
