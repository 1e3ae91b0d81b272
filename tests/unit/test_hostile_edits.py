"""What a hostile review of fingerprints found."""

# ruff: noqa: E501  texts of cells

from __future__ import annotations

import random
from collections import Counter, deque

import pytest

from notebook_durable.engine.fingerprint.describe import Fingerprinter
from notebook_durable.redact import redact
from notebook_durable.wiring import fingerprinter


def cell(text: str, space: dict | None = None) -> dict:
    """Execute a cell in a namespace of the notebook."""
    space = {"__name__": "__main__"} if space is None else space
    exec(compile(text, "cell", "exec"), space)
    return space


def print_of(fn, *args, **how) -> str:
    return fingerprinter().describe(fn, args, {}, **how).fingerprint


def of_step(text: str, *args) -> str:
    return print_of(cell(text)["step"], *args)


# --- an edit in a kernel that lives on ------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("class K:\n def go(self): return 1\ndef step(): return K().go()", "def new(self): return 2\nK.go.__code__ = new.__code__"),
        ("class K:\n def go(self): return 1\nk = K()\ndef step(): return k.go()", "k.go = lambda: 2"),
        ("class K: pass\nk = K()\ndef step(): return type(k).__name__", "class J: pass\nk.__class__ = J"),
        ("def make():\n v = 1\n def put(n):\n  nonlocal v\n  v = n\n return put, lambda: v\nput, get = make()\ndef step(): return get()", "put(9)"),
        ("def h(*, k=1): return k\ndef step(): return h()", "h.__kwdefaults__['k'] = 5"),
        ("import functools\nclass K:\n @functools.singledispatchmethod\n def h(self, x): return 'any'\ndef step(): return K().h(1)", "@K.h.register\ndef _(self, x: int): return 'int'"),
        ("def step(): return len([1])", "def len(x): return 99"),
        pytest.param("import math\ndef step(): return math.floor(1.5)", "import types\nmath = types.SimpleNamespace(floor=lambda x: 9)"),
        pytest.param("import textwrap\ndef step(): return textwrap.fill('a')", "textwrap.fill, keep = (lambda x: 9), textwrap.fill"),
        pytest.param("class A:\n v = 1\nclass B:\n v = 2\nclass K(A): pass\ndef step(): return K.v", "K.__bases__ = (B,)"),
        pytest.param("def h(x): return x\ndef step(): return getattr(h, 'r', 0) + h.r", "h.r = 5"),
    ],
)  # fmt: skip
def test_redefined_in_a_living_kernel(before, after):
    """What the step would do differently changes its fingerprint, also where the reach is remembered."""
    space = cell(before)
    old = print_of(space["step"])
    cell(after, space)
    new = print_of(space["step"])
    if "keep" in space:
        space["textwrap"].fill = space["keep"]
    assert old != new


# --- two programs that must not look the same ------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("class K:\n def __hash__(self): return 1\ndef step(): return hash(K())", "class K:\n def __hash__(self): return 2\ndef step(): return hash(K())"),
        pytest.param("class K:\n __match_args__ = ('a', 'b')\ndef step(): return K", "class K:\n __match_args__ = ('b', 'a')\ndef step(): return K"),
        pytest.param("x = 1\ndef step():\n global x\n try: x = int('boo')\n except ValueError: pass\n return x", "x = 2\ndef step():\n global x\n try: x = int('boo')\n except ValueError: pass\n return x"),
        pytest.param("def g(): pass\ng.rate = 2\ndef step(): k = g; return k.rate", "def g(): pass\ng.rate = 3\ndef step(): k = g; return k.rate"),
    ],
)  # fmt: skip
def test_told_apart(one, other):
    """They compute something else."""
    assert of_step(one) != of_step(other)


def test_a_parameter_and_a_helpers_global_of_one_name():
    """Which of the two has which value counts."""
    text = "x = {}\ndef helper(): return x\ndef step(x): return x, helper()"
    assert of_step(text.format(1), 2) != of_step(text.format(2), 1)


def test_a_mark_and_an_argument_of_one_name():
    """``version="2"`` is not the argument ``version``."""
    space = cell("def step(version): return version")
    one, other = (print_of(space["step"], a, marks=[("version", b)]) for a, b in ("12", "21"))
    assert one != other


# --- needless -------------------------------------------------------------------------------


def test_random_in_a_step_replays(lab):
    """That is what the lint tells people to do: put it in a step."""

    def draw():
        lab.called("draw")
        return random.random()

    first = lab.play(lambda ctx: ctx.run("draw", draw))
    assert lab.play(lambda ctx: ctx.run("draw", draw)) == first
    assert len(lab.calls) == 1


# --- changed in place ------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    "make",
    [
        list,
        Counter,
        deque,
    ],
)
def test_what_was_changed_in_place_is_so_on_replay(lab, make):
    """Either the state is put back into the cell's own object, or the step runs again."""

    def add(own):
        own.update("a") if isinstance(own, Counter) else own.append("a")
        return own

    def body(ctx):
        own = make()
        ctx.run("add", add, own)
        return own

    assert lab.play(body) == lab.play(body)


# --- sagas ----------------------------------------------------------------------------------


@pytest.mark.once
# --- ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'headers = {"password": "hunter2"}',
        "postgres://me:hunter2@db/x",
        'headers = {"X-Api-Key": "hunter2"}',
        "https://x.io/?api_key=hunter2",
        'auth=("me", "hunter2")',
        'os.getenv("DB_PASSWORD", "hunter2")',
        'password="hun" "hunter2"',
        'PASSWORD: str | None = "hunter2"',
    ],
)
def test_redacted(text):
    """No secret in a text that is kept."""
    assert "hunter2" not in redact(text)


def test_nothing_is_taken_from_an_iterator():
    """Describing a call doesn't consume its arguments."""
    one = iter([1, 2, 3])
    Fingerprinter(fingerprinter().new_hash).describe(list, [one], {}).parts()
    assert list(one) == [1, 2, 3]
