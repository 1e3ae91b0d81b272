# ruff: noqa: E501  texts as a user may write them
"""The digests of code are the same on each version of Python: a notebook that moves on doesn't run everything again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]

#: The script's own text is what is digested: each top-level function and class, and the one lambda per name.
CORPUS = r'''
import functools
import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

RATE = 3
NAME = "x"

def plain(a, b=2, *rest, c: int = 3, **more) -> int:
    """Doc."""
    return a + b * RATE - c // 2 ** len(rest) % 7 @ a

def fstrings(x, w=3):
    a = f"{x}" f"{x!r:>{w}}" "tail" f"{{}}{x=}{x = !s}" 'more'
    b = f"{x:}{x:%Y-%m}{x['a']}{x.y(1, z=[2])}"
    c = f"""
    select {', '.join(str(i) for i in x)} {f'{f"{x}"}'}
    where a = '{x}' and \\d \t {x:{w}.{w}}
    """
    return a + b + c + f"only" + rf"\d{x}\w" + "" f""

def comprehensions(rows):
    found = [r * RATE for r in rows if r for q in r]
    pairs = {k: v for k, v in rows}
    return found, pairs, {x for x in rows}, sum(y for y in rows), [lambda: z for z in rows]

def matching(value):
    match value:
        case {"a": [1, *rest], **more} if rest: return more
        case Order(amount=3) | None: return 1
        case [a, (b, c)] as whole: return whole
        case -1 | 1.5 | "s" | True: return 2
        case _: return NAME

def grouped(x):
    try:
        return x()
    except* (ValueError, KeyError) as group:
        raise group from None
    finally:
        x = None

def handled(x):
    try:
        with open(x) as f, x as (a, b): return f
    except (OSError, KeyError) as error:
        raise RuntimeError("x") from error
    except Exception: return 1
    else: pass
    finally: del x

async def waiting(xs):
    async with xs as x:
        async for y in x:
            yield await y, [z async for z in y]

def nested(x):
    def inner(y, *, k=RATE): return plain(y) + x
    class Local(dict):
        """Doc."""
        limit: int = 3
        def m(self): return super().m() + inner(1)
    return lambda a, /, b=1, *c: Local(inner(a), b)

def flow(x):
    global COUNT
    COUNT = 0
    while x:
        if x > 1 and not x < 3 or x is None: break
        elif x in (1, 2, 3): continue
        else: x -= 1
    else: x = [*x, *(1,)]
    for i, (j, *k) in enumerate(x): assert i, "no"
    x[1:2, ::3] = x.a.b = (yield) if x else (yield from x)
    if (n := len(x)) > 1: return n
    return not x, -x, +x, ~x, x if x else 1, 1 < x <= 2 != 3

def constants():
    return 1, 1.5, 2j, b"b\x00", "s\x1f\u00e4\U0001fae9", True, None, ..., 10**30, 0x_ff, 1e400, "a" "b", r"\d", ("t", 1)

def big():
    return 99999999999999999999999999999999999999999999999999999999999999999999999999

def library(x):
    import json
    from os import path
    return math.sqrt(x), re.compile("a"), json.dumps(x), path.join("a")

def annotated(x: "int | None", y: list[int] = None) -> dict[str, tuple[int, ...]]:
    z: int = 3
    w: str
    return z

def decorate(fn):
    @functools.wraps(fn)
    def wrapper(*args): return fn(*args) + RATE
    return wrapper

@decorate
def decorated(x): return x

@functools.lru_cache(maxsize=3)
def cached(x): return plain(x)

def recursive(n): return n and recursive(n - 1) + mutual(n)
def mutual(n): return recursive(n)

@functools.singledispatch
def single(x): return 0
@single.register
def _(x: int): return 1

@dataclass(frozen=True)
class Order:
    """Doc."""
    amount: int
    tags: list[str] = field(default_factory=lambda: ["a"])
    limit: float = 1.5
    def total(self): return self.amount * RATE

class Row(NamedTuple):
    a: int
    b: str = "b"

class Base:
    kind = "base"
    def m(self): return self.kind

class Derived(Base):
    __slots__ = ("x",)
    @property
    def p(self): return 1
    @staticmethod
    def s(): return 2
    @classmethod
    def c(cls): return cls.s()
    @functools.cached_property
    def q(self): return 3
    def __private(self): return self.__private()

def uses_classes(x): return Order(1).total() + Derived().m() + Row(1).a

pair = lambda x: x + 1, lambda x: (x + 2); first, second = pair
spread = lambda x, y=(1,
    2): [
    x, y  # comment
]
ternary = lambda x: f"{x}" if x else [y for y in x]
'''

#: Text that only newer versions can read; versions that can must agree.
NEWER = {
    (3, 12): r"""
type Pair[T] = tuple[T, T]
def generic[T: (int, str), *Ts, **P](x: T, *args: *Ts) -> T: return x
def quotes(x): return f"{x["a"]}{'\n'.join(x)}{f"{f"{x}"}"}" f"{
    x  # comment
}"
class Box[T]:
    def get(self) -> T: return self.item
""",
    (3, 13): r"""
def defaults[T = int](x: T) -> T: return x
""",
    (3, 14): r"""
def template(x): return t"{x!r:>3}"
def bare():
    try: pass
    except ValueError, KeyError: pass
""",
}

RUNNER = r"""
import hashlib, json, linecache, sys, types, warnings
warnings.simplefilter("ignore")
from notebook_durable.engine.fingerprint.code import Codes
found = {}
for name, text in json.load(sys.stdin).items():
    if tuple(map(int, name.split("."))) > sys.version_info[:2]:
        continue
    file = f"/tmp/ipykernel_1/{name}.py"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space = {"__name__": "__main__"}
    sys.modules["__main__"].__dict__.update(space)
    exec(compile(text, file, "exec", dont_inherit=True), space)
    codes = Codes(hashlib.blake2b)
    for key, value in space.items():
        if key.startswith("__") or getattr(value, "__module__", None) != "__main__" or isinstance(value, tuple):
            continue
        if not isinstance(value, (types.FunctionType, type)) and not hasattr(value, "__wrapped__"):
            continue
        reach = codes.reach(value)
        assert not reach.bytecode, (key, reach.bytecode)
        found[f"{name} {key}"] = [reach.digest.hex(), sorted(reach.codes), sorted(label for label, _ in reach.values())]
print(json.dumps(found))
"""


def _interpreters() -> list[str]:
    listed = [path for path in os.environ.get("NBD_PYTHONS", "").split(os.pathsep) if path]
    here = [f"/tmp/envs/{name}/bin/python" for name in ("v11", "v12", "v13", "v14")]
    named = [shutil.which(f"python3.{minor}") for minor in (11, 12, 13, 14)]
    return [sys.executable, *listed, *(path for path in [*here, *named] if path and Path(path).exists())]


def _run(python: str) -> dict[str, object] | None:
    text = {"3.11": CORPUS, **{f"{a}.{b}": text for (a, b), text in NEWER.items()}}
    ran = subprocess.run(
        [python, "-c", RUNNER],
        input=json.dumps(text),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert ran.returncode == 0, f"{python}: {ran.stderr[-3000:]}"
    found: dict[str, object] = json.loads(ran.stdout)
    return found


def _version(python: str) -> tuple[int, int] | None:
    ran = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
    if ran.returncode:
        return None  # pyenv's shim for a version that isn't chosen
    major, minor = ran.stdout.split()
    return int(major), int(minor)


def test_digests_are_the_same_on_each_version() -> None:
    """Each function and class of the corpus has the same digest, labels and inputs on all interpreters there are."""
    by_version: dict[tuple[int, int], str] = {}
    for python in _interpreters():
        version = _version(python)
        if version is not None and version >= (3, 11):
            by_version.setdefault(version, python)
    if len(by_version) < 2:
        pytest.skip("no other Python here: name some in NBD_PYTHONS")
    results = {version: _run(python) for version, python in by_version.items()}
    oldest = min(results)
    for version, found in results.items():
        for other, expected in results.items():
            if other < version and found is not None and expected is not None:
                different = {key: (expected[key], found[key]) for key in expected if expected[key] != found.get(key)}
                assert not different, f"{other} and {version}: {different}"
    assert len(results[oldest] or {}) > 25
    digests = [str(value) for key, value in (results[oldest] or {}).items() if not key.endswith(" _")]
    assert len(set(digests)) == len(digests)
