"""What a call in a cell is, by its true name (``numpy.random.rand``), and what it would do on replay."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Collection, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["INSTANCES", "NO_ARGUMENTS", "effect", "gives_paths", "is_path_method", "is_told", "lookup", "mattering"]

CHANGES = "changes"
READS = "reads again"
SENDS = "sends again"

# Names are those that people import. An instance of a class is "module.Class()".
_CLOCKS = frozenset({
    "time.time", "time.time_ns", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today",
    "datetime.date.today", "pandas.Timestamp.now", "pandas.Timestamp.utcnow", "pandas.Timestamp.today",
    "uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7", "uuid.uuid8", "os.urandom", "os.getrandom",
})  # fmt: skip
# Not perf_counter and monotonic: they measure how long something took, and nobody takes that for a value to keep.
_CLOCKS_IF_NOT_TOLD = frozenset({"time.localtime", "time.gmtime", "time.ctime"})
_CHANCE = ("numpy.random.", "random.", "secrets.")
_NO_CHANCE = frozenset({
    "seed", "getstate", "setstate", "get_state", "set_state", "compare_digest", "Generator", "BitGenerator",
    "get_bit_generator", "set_bit_generator", "spawn",
})  # fmt: skip
_SEEDABLE = frozenset({
    "Random", "default_rng", "RandomState", "SeedSequence", "PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64",
})  # fmt: skip
_OPENERS = frozenset({"open", "io.open", "gzip.open", "bz2.open", "lzma.open", "pathlib.Path().open"})
_READS = frozenset({
    "pathlib.Path().read_text", "pathlib.Path().read_bytes", "numpy.load", "numpy.loadtxt", "numpy.genfromtxt",
    "numpy.fromfile", "urllib.request.urlopen", "urllib.request.urlretrieve", "joblib.load", "torch.load",
})  # fmt: skip
_READERS = frozenset({
    "pandas", "polars", "geopandas", "dask.dataframe", "pyarrow.parquet", "pyarrow.csv", "pyarrow.feather",
})  # fmt: skip
_CLIENTS = frozenset({
    "requests", "requests.Session()", "httpx", "httpx.Client()", "httpx.AsyncClient()", "aiohttp.ClientSession()",
})  # fmt: skip
_VERBS = {
    "get": READS, "head": READS, "options": READS, "stream": READS,
    "post": SENDS, "put": SENDS, "patch": SENDS, "delete": SENDS, "request": SENDS,
}  # fmt: skip
_IN_MEMORY = frozenset({"io.StringIO()", "io.BytesIO()"})

#: Classes whose instances are followed, if the cell makes one.
INSTANCES = frozenset({
    "pathlib.Path", "requests.Session", "httpx.Client", "httpx.AsyncClient", "aiohttp.ClientSession", "io.StringIO",
    "io.BytesIO",
})  # fmt: skip
_PATH_METHODS = frozenset({
    "pathlib.Path.cwd", "pathlib.Path.home", "pathlib.Path().parent", "pathlib.Path().joinpath",
    "pathlib.Path().with_suffix", "pathlib.Path().with_name", "pathlib.Path().with_stem", "pathlib.Path().resolve",
    "pathlib.Path().absolute", "pathlib.Path().expanduser",
})  # fmt: skip

# Objects of the namespace that are known by their class; of chance too: those have a state that goes on.
_BY_CLASS = frozenset({
    *INSTANCES, "random.Random", "numpy.random.Generator", "numpy.random.RandomState",
})  # fmt: skip
_CLASS_NAMES = frozenset(name.rpartition(".")[2] for name in _BY_CLASS)

# Where an object of the namespace is looked for. None of them is imported for that.
_MODULES = (
    "time", "datetime", "random", "secrets", "uuid", "os", "io", "gzip", "bz2", "lzma", "pathlib", "urllib.request",
    "numpy", "numpy.random", "joblib", "torch", "requests", "httpx", "aiohttp", *sorted(_READERS),
)  # fmt: skip


def gives_paths(name: str) -> bool:
    """Tell whether a loop over what this call returns has Paths."""
    return name in ("pathlib.Path().glob", "pathlib.Path().rglob", "pathlib.Path().iterdir")


def is_path_method(name: str) -> bool:
    """Tell whether calling (or reading) what has this true name gives a Path."""
    return name in _PATH_METHODS


def effect(name: str, call: ast.Call, first: str | None, seeded: Collection[str]) -> str | None:
    """Say what a call does on replay.

    Args:
        name: the true name of what is called.
        call: the call.
        first: true name of its first argument, if it has one.
        seeded: "random", "numpy.random": the generators that the cell has seeded so far.

    Returns:
        "changes", "reads again", "sends again", or None if there is nothing to say.
    """
    if name in _CLOCKS or (name in _CLOCKS_IF_NOT_TOLD and not call.args):
        return CHANGES
    for family in _CHANCE:
        if name.startswith(family):
            return CHANGES if _by_chance(name[len(family) :], call, family[:-1] in seeded) else None
    if name in _OPENERS:
        return READS if _mode(name, call).startswith("r") else None
    module, _, tail = name.rpartition(".")
    if module in _CLIENTS:
        return _VERBS.get(tail)
    reads = name in _READS or (module in _READERS and tail.startswith(("read_", "scan_")))
    return READS if reads and first not in _IN_MEMORY else None


def _by_chance(rest: str, call: ast.Call, seeded: bool) -> bool:
    if rest in _SEEDABLE:
        return not is_told(call)
    if rest in _NO_CHANCE or rest.rpartition(".")[2] in _NO_CHANCE:
        return False
    return "()." in rest or ("." not in rest and not seeded)


def is_told(call: ast.Call) -> bool:
    """Tell whether a call has an argument other than None: a seed, say."""
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return any(not (isinstance(value, ast.Constant) and value.value is None) for value in values)


def _mode(name: str, call: ast.Call) -> str:
    """Read the mode that a file is opened with; "?" if the cell doesn't spell it out."""
    place = 0 if name.startswith("pathlib.") else 1
    given = call.args[place] if len(call.args) > place else None
    for keyword in call.keywords:
        if keyword.arg == "mode":
            given = keyword.value
    if given is None:
        return "r"
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else "?"


# --- objects of the user's namespace --------------------------------------------------------


_CALLABLES = frozenset({BuiltinFunctionType, FunctionType, MethodType})


def _true_name(value: Any) -> str | None:
    """Find the true name of an object of the namespace, by identity; None if it is of no interest here."""
    kind = type(value)
    if issubclass(kind, ModuleType):
        name = vars(value).get("__name__")
        return name if isinstance(name, str) else None
    if issubclass(kind, type):
        return _in_modules(value)
    if kind in _CALLABLES or kind.__name__ == "cython_function_or_method":
        return _in_modules(value) or _special(value)
    for base in kind.__mro__[:-1]:
        found = _in_modules(base) if base.__name__ in _CLASS_NAMES else None
        if found in _BY_CLASS:
            return f"{found}()"
    return None


def _in_modules(value: Any) -> str | None:
    name = value.__name__
    for module_name in _MODULES:
        module = sys.modules.get(module_name)
        if module is not None and vars(module).get(name) is value:
            return f"{module_name}.{name}"
    return None


def _special(value: Any) -> str | None:
    if isinstance(value, FunctionType) and vars(value).get("__wrapped__") is builtins.open:
        return "open"  # IPython puts a wrapper of its own into the namespace
    owner = getattr(value, "__self__", None)
    if isinstance(owner, type):  # such as `now = datetime.now`
        found = _in_modules(owner)
        return f"{found}.{value.__name__}" if found is not None else None
    return None


# --- is it worth a parse? -------------------------------------------------------------------

_TAILS = (
    r"(?:time|time_ns|localtime|gmtime|ctime|now|utcnow|today|uuid\d|urandom|getrandom|open|urlopen|urlretrieve|load|"
    r"loadtxt|genfromtxt|fromfile|(?:read|scan)_\w+)"
)
_MAY_MATTER = re.compile(
    rf"\b{_TAILS}\s*\("
    r"|\b(?:random|secrets|requests|httpx|aiohttp)\b"
    r"|\bfrom\s+[\w.]+\s+import\b.*\bas\b"
    rf"|=\s*[\w.]+\.{_TAILS}\s*$",
    re.MULTILINE,
)
_WORD = re.compile(r"[^\W\d]\w*")
# Many of their functions and methods do: the name alone is reason enough to look.
_MODULES_THAT_MATTER = frozenset({
    "random", "numpy.random", "secrets", *_CLIENTS, "random.Random()", "numpy.random.Generator()",
    "numpy.random.RandomState()",
})  # fmt: skip
#: A call of anything, to ask about the function alone.
NO_ARGUMENTS = ast.Call(ast.Name("f", ast.Load()), [], [])
_PLAIN: frozenset[type] = frozenset({int, float, str, bool, bytes, type(None), list, dict, tuple, set})


def mattering(text: str, namespace: Mapping[str, Any]) -> set[int]:
    """Find, in a fraction of a millisecond, the lines that can hold a call worth naming: most cells have none.

    Args:
        text: the cell.
        namespace: the user's; other names for what matters are known from it.

    Returns:
        Lines, from 0.
    """
    spots = [found.start() for found in _MAY_MATTER.finditer(text)]
    boring = set(_PLAIN)
    words = [word for word in set(_WORD.findall(text)) if word in namespace and _alias(namespace[word], boring)]
    if words:
        spots += [found.start() for found in re.finditer(rf"\b(?:{'|'.join(words)})\b", text)]
    return {text.count("\n", 0, spot) for spot in spots}


def _alias(value: Any, boring: set[type]) -> bool:
    kind = type(value)
    if kind in boring:
        return False
    name = _true_name(value)
    if name is None:
        if kind not in _CALLABLES and not issubclass(kind, type):
            boring.add(kind)
        return False
    return name in _MODULES_THAT_MATTER or effect(name, NO_ARGUMENTS, None, ()) is not None


def lookup(word: str, namespace: Mapping[str, Any]) -> str | None:
    """Find the true name of what a name that the cell doesn't bind stands for."""
    if word in namespace:
        return _true_name(namespace[word])
    return "open" if word == "open" else None
