"""Edits of code: functions, classes, decorators, lambdas, and what stands around them."""

# ruff: noqa: E501  texts of cells

from __future__ import annotations

from edits.row import edit, unedited

PRICES = """
def rate():
    return 2

# %%
def price(x):
    return x * rate()

# %%
def total(x):
    did("total")
    return price(x) + 1

def label(x):
    did("label")
    return f"item {x}"

# %% durable
text = ctx.run("label", label, 7)
cost = ctx.run("total", total, 10)
out = text, cost
"""

TIDY = """
# %%
def score(rows, limit=3):
    '''Keep what is small.'''
    did("score")
    kept = [row for row in rows if row < limit]  # the small ones
    name = 'low'
    return {name: sum(kept) * 1000}

# %% durable
out = ctx.run("score", score, [1, 2, 3])
"""

BODY = [
    edit("body", PRICES, ("price(x) + 1", "price(x) + 2"), runs="total", replays="label", out=("item 7", 22),
         reason={"total": "total"}),
    edit("body-operator", PRICES, ("price(x) + 1", "price(x) - 1"), runs="total", replays="label", out=("item 7", 19)),
    edit("body-f-string", PRICES, ("item {x}", "item {x:>3}"), runs="label", replays="total", out=("item   7", 21)),
    edit("helper-in-another-cell", PRICES, ("x * rate()", "x * rate() * 10"), runs="total", replays="label",
         out=("item 7", 201), reason={"total": "price"}),
    edit("helper-of-a-helper", PRICES, ("return 2", "return 3"), runs="total", replays="label", out=("item 7", 31),
         reason={"total": "rate"}),
    edit("helper-inserted-into-the-chain", PRICES,
         ("def price(x):\n    return x * rate()", "def taxed(x):\n    return x + 1\n\ndef price(x):\n    return taxed(x)"),
         runs="total", replays="label", out=("item 7", 12)),
    edit("helper-moved-to-another-cell", PRICES, ("def rate():\n    return 2\n\n# %%\n", ""),
         ("# %% durable", "def rate():\n    return 2\n\n# %% durable"), replays="label total", out=("item 7", 21)),
    edit("helper-cells-merged", PRICES, ("\n# %%\ndef price", "\ndef price"), ("\n# %%\ndef total", "\ndef total"),
         replays="label total", out=("item 7", 21)),
    edit("helper-that-nobody-uses", PRICES, ("# %% durable", "def unused():\n    return 1\n\n# %% durable"),
         replays="label total", out=("item 7", 21)),
    edit("undo-of-an-edit", PRICES, ("price(x) + 1", "price(x) + 2"), undo=True, replays="label total",
         out=("item 7", 21)),
    edit("undo-of-a-helper's-edit", PRICES, ("return 2", "return 3"), undo=True, replays="label total",
         out=("item 7", 21)),
    unedited("nothing-edited", PRICES, replays="label total", out=("item 7", 21)),
]  # fmt: skip

TEXT = [
    edit("comment", TIDY, ("# the small ones", "# those below the limit"), replays="score", out={"low": 3000}),
    edit("comment-removed", TIDY, ("  # the small ones", ""), replays="score", out={"low": 3000}),
    edit("comment-line-inside", TIDY, ("    name = 'low'", "    # how it is called\n\n    name = 'low'"),
         replays="score", out={"low": 3000}),
    edit("type-comment", TIDY, ("    name = 'low'", "    name = 'low'  # type: str"), replays="score", out={"low": 3000}),
    edit("docstring", TIDY, ("Keep what is small.", "Keep the small rows."), replays="score", out={"low": 3000}),
    edit("docstring-removed", TIDY, ("    '''Keep what is small.'''\n", ""), replays="score", out={"low": 3000}),
    edit("reformatted", TIDY, ("[row for row in rows if row < limit]", "[\n        row\n        for row in rows\n        if (row < limit)\n    ]"),
         ("'low'", '"low"'), ("sum(kept) * 1000", "sum(kept)*1_000"), replays="score", out={"low": 3000}),
    edit("line-moved-down", TIDY, ("# %%\ndef score", "# %%\nimport os\n\nTITLE = 'x'\n\n\ndef score"), replays="score",
         out={"low": 3000}),
    edit("local-variable-renamed", TIDY, ("kept = [row", "small = [row"), ("sum(kept)", "sum(small)"), runs="score",
         out={"low": 3000}),
    edit("constant", TIDY, ("* 1000", "* 100"), runs="score", out={"low": 300}),
    edit("string-constant", TIDY, ("name = 'low'", "name = 'small'"), runs="score", out={"small": 3000}),
    edit("comparison", TIDY, ("row < limit", "row <= limit"), runs="score", out={"low": 6000}),
    edit("default", TIDY, ("limit=3", "limit=2"), runs="score", out={"low": 1000}),
    edit("default-from-a-global", """
        LIMIT = 3
        # %%
        def score(rows, *, limit=LIMIT):
            did("score")
            return [row for row in rows if row < limit]
        # %% durable
        out = ctx.run("score", score, [1, 2, 3])
        """, ("LIMIT = 3\n", "LIMIT = 2\n"), runs="score", out=[1],
        kept={"runs": "", "replays": "score", "out": [1, 2]}),  # the def isn't executed again there
    edit("default-of-a-helper", """
        def scaled(x, *, by=2):
            return x * by
        # %%
        def score(x):
            did("score")
            return scaled(x)
        # %% durable
        out = ctx.run("score", score, 5)
        """, ("by=2", "by=3"), runs="score", out=15),
    edit("match-pattern", """
        def sort_of(x):
            did("sort_of")
            match x:
                case {"kind": "a"}:
                    return 1
                case _:
                    return 0
        # %% durable
        out = ctx.run("sort_of", sort_of, {"kind": "b"})
        """, ('"kind": "a"', '"kind": "b"'), runs="sort_of", out=1),
    edit("walrus", """
        def longest(words):
            did("longest")
            return max(n for word in words if (n := len(word)) > 1)
        # %% durable
        out = ctx.run("longest", longest, ["a", "bcd", "ef"])
        """, ("> 1)", "< 3)"), runs="longest", out=2),
    edit("dead-redefinition", """
        def f(x):
            did("f")
            return x
        # %%
        def f(x):
            did("f")
            return x + 1
        # %% durable
        out = ctx.run("f", f, 1)
        """, ("return x\n", "return x * 9\n"), replays="f", out=2,
        kept={"replays": "", "runs": "f", "out": 9}),  # out of order, the first definition wins
    edit("branch-not-taken", """
        FAST = True
        if FAST:
            def f(x):
                did("f")
                return x + 1
        else:
            def f(x):
                did("f")
                return x + 2
        # %% durable
        out = ctx.run("f", f, 1)
        """, ("x + 2", "x + 3"), replays="f", out=2),
    edit("branch-taken", """
        FAST = True
        if FAST:
            def f(x):
                did("f")
                return x + 1
        else:
            def f(x):
                did("f")
                return x + 2
        # %% durable
        out = ctx.run("f", f, 1)
        """, ("FAST = True", "FAST = False"), runs="f", out=3),
    edit("no-source-at-hand", """
        exec("def f(x):\\n    did('f')\\n    return x + 1")
        exec("def g(x):\\n    did('g')\\n    return x + 1")
        # %% durable
        out = ctx.run("f", f, 1), ctx.run("g", g, 1)
        """, ("did('f')\\n    return x + 1", "did('f')\\n    return x + 2"), runs="f", replays="g", out=(3, 2)),
]  # fmt: skip

NAMES = [
    edit("comprehension-variable-like-a-global", """
        n = 1
        # %%
        def doubled(xs):
            did("doubled")
            return [n * 2 for n in xs], {n: n for n in xs}, sum(n for n in xs)
        # %% durable
        out = ctx.run("doubled", doubled, [1, 2])
        """, ("n = 1\n", "n = 5\n"), replays="doubled", out=([2, 4], {1: 1, 2: 2}, 3)),
    edit("attribute-like-a-global", """
        real = 1
        # %%
        def part(z):
            did("part")
            return z.real
        # %% durable
        out = ctx.run("part", part, 3 + 4j)
        """, ("real = 1", "real = 5"), replays="part", out=3.0),
    edit("local-variable-like-a-global", """
        size = 1
        # %%
        def f(x):
            did("f")
            size = x + 1
            return size
        # %% durable
        out = ctx.run("f", f, 1)
        """, ("size = 1\n", "size = 5\n"), replays="f", out=2),
    edit("keyword-like-a-global", """
        key = 1
        # %%
        def f(xs):
            did("f")
            return sorted(xs, key=abs)
        # %% durable
        out = ctx.run("f", f, [3, -1])
        """, ("key = 1", "key = 5"), replays="f", out=[-1, 3]),
    edit("comprehension-that-calls-a-helper", """
        def helper(x):
            return x + 1
        # %%
        def f(xs):
            did("f")
            return [helper(x) for x in xs]
        # %% durable
        out = ctx.run("f", f, [1, 2])
        """, ("x + 1", "x + 2"), runs="f", out=[3, 4]),
    edit("builtin-shadowed", """
        OTHER = 1
        # %%
        def f(xs):
            did("f")
            return sum(xs)
        # %% durable
        out = ctx.run("f", f, [1, 2])
        """, ("OTHER = 1\n", "OTHER = 1\ndef sum(xs):\n    return 99\n"), runs="f", out=99),
    edit("import-alias-points-elsewhere", """
        from math import floor as to_int
        # %%
        def f(x):
            did("f")
            return to_int(x)
        # %% durable
        out = ctx.run("f", f, 1.5)
        """, ("floor as", "ceil as"), runs="f", out=2),
    edit("module-alias-points-elsewhere", """
        import math as lib
        # %%
        def f(x):
            did("f")
            return lib.sqrt(x)
        # %% durable
        out = ctx.run("f", f, 4)
        """, ("import math", "import cmath"), runs="f", out=(2 + 0j)),
    edit("library-attribute", """
        import numpy as np
        # %%
        def f(xs):
            did("f")
            return float(np.mean(xs))
        # %% durable
        out = ctx.run("f", f, [1, 2, 6])
        """, ("np.mean", "np.median"), runs="f", out=2.0),
    edit("import-inside-the-function", """
        def f(x):
            did("f")
            from math import floor
            return floor(x)
        # %% durable
        out = ctx.run("f", f, 1.5)
        """, ("from math import floor", "from math import ceil as floor"), runs="f", out=2),
    edit("unrelated-import-added", """
        import math
        # %%
        def f(x):
            did("f")
            return math.floor(x)
        # %% durable
        out = ctx.run("f", f, 1.5)
        """, ("import math", "import json, math"), replays="f", out=1),
]  # fmt: skip

SHAPES = """
class Shape:
    sides = 4

    def factor(self):
        return 2

    def area(self):
        return self.size * self.factor() * self.sides

# %%
class Square(Shape):
    def __init__(self, size):
        self.size = size

    def area(self):
        return super().area() + 1

    @property
    def double(self):
        return self.size * 2

    @classmethod
    def unit(cls):
        return cls(1)

    @staticmethod
    def name():
        return "square"

# %%
def measure(size):
    did("measure")
    square = Square(size)
    return square.area(), square.double, Square.unit().size, Square.name()

def plain(x):
    did("plain")
    return x

# %% durable
out = ctx.run("plain", plain, 1), ctx.run("measure", measure, 3)
"""

CLASSES = [
    edit("class-method", SHAPES, ("super().area() + 1", "super().area() + 2"), runs="measure", replays="plain",
         out=(1, (26, 6, 1, "square")), reason={"measure": "Square"}),
    edit("base-class", SHAPES, ("return 2", "return 3"), runs="measure", replays="plain", out=(1, (37, 6, 1, "square")),
         # the subclass still has the old base: nothing changed yet
         kept={"runs": "", "replays": "plain measure", "out": (1, (25, 6, 1, "square"))}),
    edit("super", SHAPES, ("self.size * self.factor() * self.sides", "self.size"), runs="measure", replays="plain",
         out=(1, (4, 6, 1, "square")), kept=False),
    edit("class-attribute", SHAPES, ("sides = 4", "sides = 3"), runs="measure", replays="plain",
         out=(1, (19, 6, 1, "square")), kept=False),
    edit("property", SHAPES, ("self.size * 2", "self.size * 4"), runs="measure", replays="plain",
         out=(1, (25, 12, 1, "square"))),
    edit("classmethod", SHAPES, ("cls(1)", "cls(5)"), runs="measure", replays="plain", out=(1, (25, 6, 5, "square"))),
    edit("staticmethod", SHAPES, ('"square"', '"box"'), runs="measure", replays="plain", out=(1, (25, 6, 1, "box"))),
    edit("class-reformatted", SHAPES, ("    sides = 4\n", "    # how many\n    sides = 4\n\n"),
         ("self.size * 2", "(self.size\n                * 2)"), replays="plain measure", out=(1, (25, 6, 1, "square"))),
    edit("base-class-replaced", SHAPES, ("# %%\nclass Square(Shape)", "class Flat(Shape):\n    sides = 1\n\n# %%\nclass Square(Flat)"),
         runs="measure", replays="plain", out=(1, (7, 6, 1, "square"))),
    edit("method-patched", SHAPES, ("# %% durable", "Shape.factor = lambda self: 10\n\n# %% durable"), runs="measure",
         replays="plain", out=(1, (121, 6, 1, "square"))),
    edit("abstract-base", """
        from abc import ABC, abstractmethod
        class Source(ABC):
            @abstractmethod
            def read(self): ...
            def all(self):
                return self.read() * 2
        class Fixed(Source):
            def read(self):
                return [1]
        # %%
        def load():
            did("load")
            return Fixed().all()
        # %% durable
        out = ctx.run("load", load)
        """, ("return [1]", "return [2]"), runs="load", out=[2, 2]),
    edit("operator-of-an-argument's-class", """
        class Money:
            def __init__(self, amount):
                self.amount = amount
            def __add__(self, other):
                return Money(self.amount + other.amount)
        # %%
        def add(a, b):
            did("add")
            return (a + b).amount
        # %% durable
        out = ctx.run("add", add, Money(1), Money(2))
        """, ("self.amount + other.amount", "self.amount + other.amount + 1"), runs="add", out=4),
    edit("callable-object", """
        class Scale:
            def __init__(self, by):
                self.by = by
            def __call__(self, x):
                did("scale")
                return x * self.by
        # %% durable
        out = ctx.run("scale", Scale(2), 5)
        """, ("Scale(2)", "Scale(3)"), runs="scale", out=15),
    edit("callable-object's-code", """
        class Scale:
            def __init__(self, by):
                self.by = by
            def __call__(self, x):
                did("scale")
                return x * self.by
        # %% durable
        out = ctx.run("scale", Scale(2), 5)
        """, ("x * self.by", "x + self.by"), runs="scale", out=7),
    edit("class-as-the-step", """
        class Box:
            def __init__(self, x):
                did("box")
                self.x = x + 1
        # %% durable
        box = ctx.run("box", Box, 5)
        out = box.x
        """, ("x + 1", "x + 2"), runs="box", out=7),
    edit("bound-method", """
        class Reader:
            def __init__(self, url):
                self.url = url
            def read(self):
                did("read")
                return f"from {self.url}"
        # %%
        reader = Reader("a")
        # %% durable
        out = ctx.run("read", reader.read)
        """, ('f"from {self.url}"', 'f"by {self.url}"'), runs="read", out="by a",
        kept={"runs": "", "replays": "read", "out": "from a"}),  # the object still is of the old class
    edit("bound-method's-object", """
        class Reader:
            def __init__(self, url):
                self.url = url
            def read(self):
                did("read")
                return f"from {self.url}"
        # %%
        reader = Reader("a")
        # %% durable
        out = ctx.run("read", reader.read)
        """, ('Reader("a")', 'Reader("b")'), runs="read", out="from b"),
    edit("dataclass-default", """
        from dataclasses import dataclass, field
        @dataclass
        class Config:
            depth: int = 2
            names: list = field(default_factory=lambda: ["x"])
        # %%
        def build(n):
            did("build")
            return Config().depth * n, Config().names
        # %% durable
        out = ctx.run("build", build, 5)
        """, ("depth: int = 2", "depth: int = 3"), runs="build", out=(15, ["x"])),
    edit("dataclass-default-factory", """
        from dataclasses import dataclass, field
        @dataclass
        class Config:
            depth: int = 2
            names: list = field(default_factory=lambda: ["x"])
        # %%
        def build(n):
            did("build")
            return Config().depth * n, Config().names
        # %% durable
        out = ctx.run("build", build, 5)
        """, ('["x"]', '["y"]'), runs="build", out=(10, ["y"])),
    edit("dataclass-method", """
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class Config:
            depth: int = 2
            def cost(self):
                return self.depth * 10
        # %%
        def build(config):
            did("build")
            return config.cost()
        # %% durable
        out = ctx.run("build", build, Config())
        """, ("* 10", "* 20"), runs="build", out=40),
    edit("enum-value", """
        from enum import Enum
        class Level(Enum):
            LOW = 1
            HIGH = 2
        # %%
        def f(x):
            did("f")
            return Level.HIGH.value * x
        # %% durable
        out = ctx.run("f", f, 5)
        """, ("HIGH = 2", "HIGH = 3"), runs="f", out=15),
    edit("named-tuple-default", """
        from typing import NamedTuple
        class Point(NamedTuple):
            x: int
            y: int = 1
        # %%
        def f(x):
            did("f")
            return list(Point(x))
        # %% durable
        out = ctx.run("f", f, 5)
        """, ("y: int = 1", "y: int = 2"), runs="f", out=[5, 2]),
    edit("pydantic-validator", """
        from pydantic import BaseModel, field_validator
        class Order(BaseModel):
            amount: int
            @field_validator("amount")
            @classmethod
            def positive(cls, value):
                return abs(value)
        # %%
        def parse(text):
            did("parse")
            return Order.model_validate_json(text).amount
        # %% durable
        out = ctx.run("parse", parse, '{"amount": -3}')
        """, ("abs(value)", "max(value, 0)"), runs="parse", out=0),
    edit("pydantic-field", """
        from pydantic import BaseModel
        class Order(BaseModel):
            amount: int = 1
        # %%
        def parse(text):
            did("parse")
            return Order.model_validate_json(text).amount
        # %% durable
        out = ctx.run("parse", parse, '{}')
        """, ("amount: int = 1", "amount: int = 2"), runs="parse", out=2),
]  # fmt: skip

WRAPPED = """
import functools

def scaled(by):
    def around(fn):
        @functools.wraps(fn)
        def call(*args, **kwargs):
            return fn(*args, **kwargs) * by
        return call
    return around

# %%
@scaled(2)
def load(x):
    did("load")
    return x + 1

# %% durable
out = ctx.run("load", load, 4)
"""

WRAPPERS = [
    edit("decorator's-body", WRAPPED, ("fn(*args, **kwargs) * by", "fn(*args, **kwargs) + by"), runs="load", out=7,
         kept={"runs": "", "replays": "load", "out": 10}),  # not applied again yet
    edit("decorator's-argument", WRAPPED, ("@scaled(2)", "@scaled(3)"), runs="load", out=15),
    edit("decorated-function", WRAPPED, ("x + 1", "x + 2"), runs="load", out=12),
    edit("decorator-removed", WRAPPED, ("@scaled(2)\n", ""), runs="load", out=5),
    edit("decorator-that-hides-the-function", """
        def loud(fn):
            def call(x):
                return str(fn(x))
            return call
        # %%
        @loud
        def load(x):
            did("load")
            return x + 1
        # %% durable
        out = ctx.run("load", load, 4)
        """, ("x + 1", "x + 2"), runs="load", out="6"),
    edit("lru-cache-helper", """
        from functools import lru_cache
        @lru_cache(maxsize=None)
        def helper(x):
            return x + 1
        # %%
        def load(x):
            did("load")
            return helper(x)
        # %% durable
        out = ctx.run("load", load, 4)
        """, ("x + 1", "x + 2"), runs="load", out=6),
    unedited("lru-cache-helper-filled", """
        from functools import lru_cache
        @lru_cache(maxsize=None)
        def helper(x):
            return x + 1
        # %%
        def load(x):
            did("load")
            return helper(x)
        # %% durable
        out = ctx.run("load", load, 4)
        """, replays="load", out=5),
    edit("context-manager-helper", """
        from contextlib import contextmanager
        @contextmanager
        def opened(name):
            yield name.upper()
        # %%
        def load(x):
            did("load")
            with opened(x) as handle:
                return handle
        # %% durable
        out = ctx.run("load", load, "abc")
        """, ("name.upper()", "name.title()"), runs="load", out="Abc"),
    edit("generator-helper", """
        def parts(x):
            yield x
            yield x + 1
        # %%
        def load(x):
            did("load")
            return list(parts(x))
        # %% durable
        out = ctx.run("load", load, 1)
        """, ("yield x + 1", "yield x + 2"), runs="load", out=[1, 3]),
    edit("singledispatch-helper", """
        from functools import singledispatch
        @singledispatch
        def show(x):
            return str(x)
        @show.register
        def _(x: int):
            return f"int {x}"
        # %%
        def load(x):
            did("load")
            return show(x)
        # %% durable
        out = ctx.run("load", load, 1)
        """, ("int {x}", "number {x}"), runs="load", out="number 1"),
    edit("closure-value", """
        def make(rate):
            def apply(x):
                did("apply")
                return x * rate
            return apply
        # %%
        apply = make(2)
        # %% durable
        out = ctx.run("apply", apply, 5)
        """, ("make(2)", "make(3)"), runs="apply", out=15),
    edit("closure-body", """
        def make(rate):
            def apply(x):
                did("apply")
                return x * rate
            return apply
        # %% durable
        out = ctx.run("apply", make(2), 5)
        """, ("x * rate", "x + rate"), runs="apply", out=7),
    edit("factory-around-a-closure", """
        def make(rate):
            doubled = rate * 2
            def apply(x):
                did("apply")
                return x * doubled
            return apply
        # %% durable
        out = ctx.run("apply", make(2), 5)
        """, ("rate * 2", "rate + rate"), replays="apply", out=20),  # the closure's value is the same
    edit("nested-function", """
        def load(xs):
            did("load")
            def key(x):
                return -x
            return sorted(xs, key=key)
        # %% durable
        out = ctx.run("load", load, [1, 2])
        """, ("return -x", "return x"), runs="load", out=[1, 2]),
    edit("partial's-keyword", """
        from functools import partial
        def load(x, by):
            did("load")
            return x * by
        # %% durable
        out = ctx.run("load", partial(load, by=2), 5)
        """, ("by=2", "by=3"), runs="load", out=15),
    edit("partial's-function", """
        from functools import partial
        def load(x, by):
            did("load")
            return x * by
        # %% durable
        out = ctx.run("load", partial(load, by=2), 5)
        """, ("x * by", "x + by"), runs="load", out=7),
    edit("partial-as-a-helper", """
        from functools import partial
        def scaled(x, by):
            return x * by
        triple = partial(scaled, by=3)
        # %%
        def load(x):
            did("load")
            return triple(x)
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("by=3", "by=4"), runs="load", out=20),
    edit("star-args", """
        def load(*xs, **options):
            did("load")
            return sum(xs), options
        # %% durable
        xs = [1, 2]
        out = ctx.run("load", load, *xs)
        """, ("sum(xs)", "max(xs)"), runs="load", out=(2, {})),
    edit("recursion", """
        def fact(n):
            return 1 if n < 2 else n * fact(n - 1)
        # %%
        def load(n):
            did("load")
            return fact(n)
        # %% durable
        out = ctx.run("load", load, 4)
        """, ("n * fact", "2 * fact"), runs="load", out=8),
    edit("mutual-recursion", """
        def even(n):
            return True if n == 0 else odd(n - 1)
        # %%
        def odd(n):
            return False if n == 0 else even(n - 1)
        # %% durable
        def check(n):
            did("check")
            return even(n)
        out = ctx.run("check", check, 4)
        """, ("return False", "return None"), runs="check", out=True),
    unedited("recursion-unedited", """
        def even(n):
            return True if n == 0 else odd(n - 1)
        def odd(n):
            return False if n == 0 else even(n - 1)
        # %% durable
        def check(n):
            did("check")
            return even(n)
        out = ctx.run("check", check, 4)
        """, replays="check", out=True),
]  # fmt: skip

LAMBDAS = [
    edit("lambda", """
        # %% durable
        out = ctx.run("a", lambda x: (did("a"), x + 1)[1], 1)
        """, ("x + 1", "x + 2"), runs="a", out=3),
    edit("lambda-pair-on-one-line", """
        # %% durable
        out = [ctx.run("a", lambda: (did("a"), 1)[1]), ctx.run("b", lambda: (did("b"), 2)[1])]
        """, ('(did("b"), 2)', '(did("b"), 3)'), runs="b", replays="a", out=[1, 3]),
    edit("lambda-pair-first-edited", """
        pair = [lambda x: (did("a"), x + 1)[1], lambda x: (did("b"), x * 2)[1]]
        # %% durable
        out = ctx.run("a", pair[0], 5), ctx.run("b", pair[1], 5)
        """, ("x + 1", "x + 3"), runs="a", replays="b", out=(8, 10)),
    edit("lambda-pair-swapped", """
        first, second = lambda x: (did("s"), x + 1)[1], lambda x: (did("s"), x * 2)[1]
        # %% durable
        out = [ctx.run("s", f, 5) for f in (first, second)]
        """, ("(first, second)", "(second, first)"), replays="s s", out=[10, 6]),
    edit("lambda-on-a-line-of-its-own", """
        # %% durable
        out = ctx.run("a", lambda x: (did("a"), x + 1)[1], 1)
        """, ('"a", lambda x:', '"a",\n    lambda x:  # adds one\n        '), replays="a", out=2),
    edit("lambda-capturing-a-loop-variable", """
        # %% durable
        out = []
        for n in [1, 2, 3]:
            out.append(ctx.run("item", lambda: (did("item"), n * 10)[1]))
        """, ("[1, 2, 3]", "[1, 4, 3]"), runs="item", replays="item item", out=[10, 40, 30]),
    edit("lambda-with-a-default", """
        # %% durable
        out = [ctx.run("item", lambda n=n: (did("item"), n * 10)[1]) for n in [1, 2]]
        """, ("[1, 2]", "[1, 3]"), runs="item", replays="item", out=[10, 30]),
    edit("lambdas-in-a-global-dict", """
        RULES = {"up": lambda x: x + 1, "down": lambda x: x - 1}
        # %%
        def apply(name, x):
            did("apply")
            return RULES[name](x)
        # %% durable
        out = ctx.run("apply", apply, "up", 5)
        """, ("x + 1", "x + 2"), runs="apply", out=7),
    edit("list-of-functions", """
        def strip(s): return s.strip()
        def upper(s): return s.upper()
        PIPELINE = [strip, upper]
        # %%
        def clean(s):
            did("clean")
            for step in PIPELINE:
                s = step(s)
            return s
        # %% durable
        out = ctx.run("clean", clean, " ab ")
        """, ("s.upper()", "s.title()"), runs="clean", out="Ab"),
    edit("function-as-an-argument", """
        def square(x):
            return x * x
        # %%
        def apply(fn, xs):
            did("apply")
            return [fn(x) for x in xs]
        # %% durable
        out = ctx.run("apply", apply, square, [1, 2])
        """, ("x * x", "x * x * x"), runs="apply", out=[1, 8]),
    edit("other-function-as-an-argument", """
        # %%
        def apply(fn, xs):
            did("apply")
            return fn(xs)
        # %% durable
        out = ctx.run("apply", apply, min, [1, 2])
        """, ("apply, min", "apply, max"), runs="apply", out=2),
    edit("function-as-a-global", """
        choose = min
        # %%
        def apply(xs):
            did("apply")
            return choose(xs)
        # %% durable
        out = ctx.run("apply", apply, [1, 2])
        """, ("choose = min", "choose = max"), runs="apply", out=2),
    edit("function-attribute", """
        def scaled(x):
            return x * scaled.by
        scaled.by = 2
        # %%
        def apply(x):
            did("apply")
            return scaled(x)
        # %% durable
        out = ctx.run("apply", apply, 5)
        """, ("scaled.by = 2", "scaled.by = 3"), runs="apply", out=15),
]  # fmt: skip

ASYNC = [
    edit("async-step", """
        import asyncio
        async def fetch(x):
            did("fetch")
            await asyncio.sleep(0)
            return x + 1
        # %% durable
        out = await ctx.run("fetch", fetch, 1)
        """, ("x + 1", "x + 2"), runs="fetch", out=3),
    edit("async-step-in-a-sync-cell", """
        import asyncio
        async def fetch(x):
            did("fetch")
            await asyncio.sleep(0)
            return x + 1
        # %% durable
        out = ctx.run("fetch", fetch, 1)
        """, ("x + 1", "x + 2"), runs="fetch", out=3, flip=False),
    edit("async-helper", """
        import asyncio
        async def get(x):
            await asyncio.sleep(0)
            return x + 1
        # %%
        async def fetch(x):
            did("fetch")
            return await get(x)
        # %% durable
        out = await ctx.run("fetch", fetch, 1)
        """, ("x + 1", "x + 2"), runs="fetch", out=3),
    edit("gather-of-equal-names", """
        import asyncio
        async def fetch(x):
            did("fetch")
            await asyncio.sleep(0)
            return x * 10
        # %% durable
        out = await asyncio.gather(*[ctx.run("fetch", fetch, x) for x in [1, 2, 3]])
        """, ("[1, 2, 3]", "[1, 9, 2, 3]"), runs="fetch", replays="fetch fetch fetch", out=[10, 90, 20, 30]),
    edit("gather-reordered", """
        import asyncio
        async def fetch(x):
            did("fetch")
            await asyncio.sleep(0)
            return x * 10
        # %% durable
        out = await asyncio.gather(*[ctx.run("fetch", fetch, x) for x in [1, 2, 3]])
        """, ("[1, 2, 3]", "[3, 1, 2]"), replays="fetch fetch fetch", out=[30, 10, 20]),
    edit("task-group", """
        import asyncio
        async def fetch(x):
            did("fetch")
            return x * 10
        async def load(x):
            did("load")
            return x
        # %% durable
        async with asyncio.TaskGroup() as group:
            a = group.create_task(ctx.run("fetch", fetch, 1))
            b = group.create_task(ctx.run("load", load, 1))
        out = [a.result(), b.result()]
        """, ("x * 10", "x * 20"), runs="fetch", replays="load", out=[20, 1]),
    edit("async-helper-takes-ctx", """
        async def fetch(x):
            did("fetch")
            return x * 10
        async def both(ctx, xs):
            return [await ctx.run("fetch", fetch, x) for x in xs]
        # %% durable
        out = await both(ctx, [1, 2])
        """, ("[1, 2])", "[2, 3])"), runs="fetch", replays="fetch", out=[20, 30]),
]  # fmt: skip

ROWS = [*BODY, *TEXT, *NAMES, *CLASSES, *WRAPPERS, *LAMBDAS, *ASYNC]
