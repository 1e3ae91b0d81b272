"""Edits that set traps: parts that change places, names that collide, containers in disguise, effects behind objects."""

# ruff: noqa: E501  texts of cells

from __future__ import annotations

from edits.row import edit, unedited
from edits.rows_inputs import argument

PLACES = [
    edit("two-functions-change-names", """
        def up(x): return x + 1
        def double(x): return x * 2
        first, second = up, double
        # %%
        def both(x):
            did("both")
            return second(first(x))
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("first, second = up, double", "first, second = double, up"), runs="both", out=11),
    edit("three-lambdas-change-names", """
        a, b, c = lambda x: x + 1, lambda x: x * 2, lambda x: x - 3
        # %%
        def both(x):
            did("both")
            return c(b(a(x)))
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("a, b, c =", "a, c, b ="), runs="both", out=6),
    edit("one-name-for-another-function-that-is-used-too", """
        def up(x): return x + 1
        def double(x): return x * 2
        choose = up
        # %%
        def both(x):
            did("both")
            return choose(x), up(x), double(x)
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("choose = up", "choose = double"), runs="both", out=(10, 6, 10)),
    edit("library-functions-change-names", """
        from math import floor as a, ceil as b
        # %%
        def both(x):
            did("both")
            return a(x), b(x)
        # %% durable
        out = ctx.run("both", both, 1.5)
        """, ("floor as a, ceil as b", "floor as b, ceil as a"), runs="both", out=(2, 1)),
    edit("default-functions-change-places", """
        def up(x): return x + 1
        def double(x): return x * 2
        # %%
        def both(x, f=up, g=double):
            did("both")
            return g(f(x))
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("f=up, g=double", "f=double, g=up"), runs="both", out=11),
    edit("default-functions-change-places-elsewhere", """
        def up(x): return x + 1
        def double(x): return x * 2
        F, G = up, double
        # %%
        def helper(x, f=F, g=G):
            return g(f(x))
        # %%
        def both(x):
            did("both")
            return helper(x)
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("F, G = up, double", "G, F = up, double"), runs="both", out=11,
        kept={"runs": "", "replays": "both", "out": 12}),
    edit("closed-over-functions-change-places", """
        def up(x): return x + 1
        def double(x): return x * 2
        def chain(f, g):
            def both(x):
                did("both")
                return g(f(x))
            return both
        # %% durable
        out = ctx.run("both", chain(up, double), 5)
        """, ("chain(up, double)", "chain(double, up)"), runs="both", out=11),
    edit("functions-in-a-class-change-places", """
        def up(x): return x + 1
        def double(x): return x * 2
        # %%
        class Chain:
            first = staticmethod(up)
            second = staticmethod(double)
        # %%
        def both(x):
            did("both")
            return Chain.second(Chain.first(x))
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("staticmethod(up)", "staticmethod(double)  #"), ("second = staticmethod(double)\n", "second = staticmethod(up)\n"),
        runs="both", out=11),
    edit("functions-in-a-dict-change-places", """
        def up(x): return x + 1
        def double(x): return x * 2
        CHAIN = {"first": up, "second": double}
        # %%
        def both(x):
            did("both")
            return CHAIN["second"](CHAIN["first"](x))
        # %% durable
        out = ctx.run("both", both, 5)
        """, ('{"first": up, "second": double}', '{"first": double, "second": up}'), runs="both", out=11),
    edit("functions-as-arguments-change-places", """
        def up(x): return x + 1
        def double(x): return x * 2
        def both(f, g, x):
            did("both")
            return g(f(x))
        # %% durable
        out = ctx.run("both", both, up, double, 5)
        """, ("both, up, double", "both, double, up"), runs="both", out=11),
    edit("decorators-change-places", """
        def plus(fn):
            def call(x):
                return fn(x) + 1
            return call
        def twice(fn):
            def call(x):
                return fn(x) * 2
            return call
        # %%
        @twice
        @plus
        def load(x):
            did("load")
            return x
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("@twice\n@plus", "@plus\n@twice"), runs="load", out=11),
    edit("bases-change-places", """
        class A:
            def who(self): return "a"
        class B:
            def who(self): return "b"
        # %%
        class C(A, B):
            pass
        # %%
        def ask():
            did("ask")
            return C().who()
        # %% durable
        out = ctx.run("ask", ask)
        """, ("C(A, B)", "C(B, A)"), runs="ask", out="b"),
    edit("modules-change-names", """
        import north as a, south as b
        # %%
        def both(x):
            did("both")
            return a.scale(x), b.scale(x)
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("north as a, south as b", "south as a, north as b"),
        files={"north.py": "def scale(x):\n    return x * 2\n", "south.py": "def scale(x):\n    return x * 3\n"},
        runs="both", out=(15, 10)),
    edit("methods-change-places", """
        class Chain:
            def first(self, x): return x + 1
            def second(self, x): return x * 2
        # %%
        def both(x):
            did("both")
            chain = Chain()
            return chain.second(chain.first(x))
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("def first(self, x): return x + 1", "def first(self, x): return x * 2"),
        ("def second(self, x): return x * 2", "def second(self, x): return x + 1"), runs="both", out=11),
    edit("globals-change-values", """
        LOW, HIGH = 1, 2
        # %%
        def both():
            did("both")
            return LOW - HIGH
        # %% durable
        out = ctx.run("both", both)
        """, ("LOW, HIGH = 1, 2", "HIGH, LOW = 1, 2"), runs="both", out=1),
    edit("arguments-change-places", """
        def minus(a, b):
            did("minus")
            return a - b
        # %% durable
        out = ctx.run("minus", minus, 1, 2)
        """, ("minus, 1, 2", "minus, 2, 1"), runs="minus", out=1),
]  # fmt: skip

COLLISIONS = [
    edit("two-closures-of-one-factory", """
        def make(rate):
            def apply(x):
                return x * rate
            return apply
        double, triple = make(2), make(3)
        # %%
        def both(x):
            did("both")
            return double(x), triple(x)
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("make(2), make(3)", "make(4), make(3)"), runs="both", out=(20, 15)),
    edit("two-closures-of-one-factory-the-other", """
        def make(rate):
            def apply(x):
                return x * rate
            return apply
        double, triple = make(2), make(3)
        # %%
        def both(x):
            did("both")
            return double(x), triple(x)
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("make(2), make(3)", "make(2), make(4)"), runs="both", out=(10, 20)),
    edit("two-closures-of-one-factory-swapped", """
        def make(rate):
            def apply(x):
                return x * rate
            return apply
        double, triple = make(2), make(3)
        # %%
        def both(x):
            did("both")
            return double(x), triple(x)
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("double, triple =", "triple, double ="), runs="both", out=(15, 10)),
    edit("global-of-a-module-and-of-the-notebook", """
        import shop
        FACTOR = 10
        # %%
        def both(x):
            did("both")
            return shop.price(x), x * FACTOR
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("FACTOR = 10", "FACTOR = 10  #"), files={"shop.py": "FACTOR = 2\ndef price(x):\n    return x * FACTOR\n"},
        files_after={"shop.py": "FACTOR = 3\ndef price(x):\n    return x * FACTOR\n"}, runs="both", out=(15, 50)),
    edit("global-of-the-notebook-and-of-a-module", """
        import shop
        FACTOR = 10
        # %%
        def both(x):
            did("both")
            return x * FACTOR, shop.price(x)
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("FACTOR = 10", "FACTOR = 20"), files={"shop.py": "FACTOR = 2\ndef price(x):\n    return x * FACTOR\n"},
        runs="both", out=(100, 10)),
    edit("two-modules-with-one-function-name", """
        import north, south
        # %%
        def both(x):
            did("both")
            return north.scale(x), south.scale(x)
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("import north, south", "import north, south  #"),
        files={"north.py": "BY = 2\ndef scale(x):\n    return x * BY\n", "south.py": "BY = 3\ndef scale(x):\n    return x * BY\n"},
        files_after={"north.py": "BY = 4\ndef scale(x):\n    return x * BY\n"}, runs="both", out=(20, 15)),
    edit("lambdas-that-differ-in-a-default", """
        PARTS = [lambda x, n=n: x * n for n in (1, 2, 3)]
        # %%
        def both(x):
            did("both")
            return [part(x) for part in PARTS]
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("(1, 2, 3)", "(1, 3, 2)"), runs="both", out=[5, 15, 10]),
    edit("parameter-and-global-of-one-name", """
        x = 1
        def helper():
            return x
        # %%
        def both(x):
            did("both")
            return x, helper()
        # %% durable
        out = ctx.run("both", both, 5)
        """, ("x = 1\n", "x = 2\n"), runs="both", out=(5, 2)),
    edit("arguments-cut-otherwise", """
        def join(*parts):
            did("join")
            return list(parts)
        # %% durable
        out = ctx.run("join", join, "ab", "c")
        """, ('"ab", "c"', '"a", "bc"'), runs="join", out=["a", "bc"]),
    edit("tuple-or-two-arguments", """
        def join(*parts):
            did("join")
            return list(parts)
        # %% durable
        out = ctx.run("join", join, (1, 2))
        """, ("(1, 2))", "1, 2)"), runs="join", out=[1, 2]),
    edit("text-like-a-number", """
        def kind(x):
            did("kind")
            return type(x).__name__
        # %% durable
        out = ctx.run("kind", kind, 1)
        """, ("kind, 1", 'kind, "1"'), runs="kind", out="str"),
]  # fmt: skip

INSIDE = [
    edit("default-function-edited", """
        def helper(x): return x + 1
        # %%
        def load(x, fn=helper):
            did("load")
            return fn(x)
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("x + 1", "x + 2"), runs="load", out=7, kept={"runs": "", "replays": "load", "out": 6}),
    edit("closed-over-function-edited", """
        def helper(x): return x + 1
        # %%
        def make(fn):
            def load(x):
                did("load")
                return fn(x)
            return load
        # %% durable
        out = ctx.run("load", make(helper), 5)
        """, ("x + 1", "x + 2"), runs="load", out=7),
    edit("closed-over-list-edited", """
        def make(names):
            def load(row):
                did("load")
                return [row[n] for n in names]
            return load
        NAMES = ["a"]
        # %%
        load = make(NAMES)
        # %% durable
        out = ctx.run("load", load, {"a": 1, "b": 2})
        """, ("# %% durable", '# %%\nNAMES.append("b")\n# %% durable'), runs="load", out=[1, 2]),
    edit("function-held-by-an-object", """
        class Config:
            pass
        def helper(x): return x + 1
        config = Config()
        config.fn = helper
        # %%
        def load(x):
            did("load")
            return config.fn(x)
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("x + 1", "x + 2"), runs="load", out=7),
    edit("method-of-a-global-object", """
        class Scaler:
            def __init__(self, by): self.by = by
            def scale(self, x): return x * self.by
        scaler = Scaler(2)
        # %%
        def load(x):
            did("load")
            return scaler.scale(x)
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("x * self.by", "x + self.by"), runs="load", out=7),
    edit("helper-of-a-method", """
        def rate(): return 2
        # %%
        class Scaler:
            def scale(self, x): return x * rate()
        # %%
        def load(scaler, x):
            did("load")
            return scaler.scale(x)
        # %% durable
        out = ctx.run("load", load, Scaler(), 5)
        """, ("return 2", "return 3"), runs="load", out=15),
    edit("nested-class", """
        class Outer:
            class Inner:
                by = 2
                def scale(self, x): return x * self.by
        # %%
        def load(x):
            did("load")
            return Outer.Inner().scale(x)
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("by = 2", "by = 3"), runs="load", out=15),
    edit("metaclass", """
        class Meta(type):
            def __call__(cls, x):
                return x + 1
        class Thing(metaclass=Meta):
            pass
        # %%
        def load(x):
            did("load")
            return Thing(x)
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("x + 1", "x + 2"), runs="load", out=7),
    edit("descriptor", """
        class Doubled:
            def __get__(self, thing, owner): return thing.x * 2
        class Thing:
            y = Doubled()
            def __init__(self, x): self.x = x
        # %%
        def load(x):
            did("load")
            return Thing(x).y
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("thing.x * 2", "thing.x * 3"), runs="load", out=15),
    edit("cached-property", """
        from functools import cached_property
        class Thing:
            def __init__(self, x): self.x = x
            @cached_property
            def y(self): return self.x * 2
        # %%
        def load(x):
            did("load")
            return Thing(x).y
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("self.x * 2", "self.x * 3"), runs="load", out=15),
    edit("post-init", """
        from dataclasses import dataclass
        @dataclass
        class Thing:
            x: int
            def __post_init__(self): self.x += 1
        # %%
        def load(x):
            did("load")
            return Thing(x).x
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("self.x += 1", "self.x += 2"), runs="load", out=7),
    edit("helper-in-a-default-factory", """
        from dataclasses import dataclass, field
        def names(): return ["a"]
        # %%
        @dataclass
        class Thing:
            names: list = field(default_factory=names)
        # %%
        def load():
            did("load")
            return Thing().names
        # %% durable
        out = ctx.run("load", load)
        """, ('["a"]', '["b"]'), runs="load", out=["b"], kept={"runs": "", "replays": "load", "out": ["a"]}),
    edit("dataclass-options", """
        from dataclasses import dataclass
        @dataclass(order=False)
        class Thing:
            x: int
            y: int = 0
        # %%
        def load(x):
            did("load")
            return hasattr(Thing(x), "__lt__") and Thing.__lt__ is not object.__lt__
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("order=False", "order=True"), runs="load", out=True),
    edit("enum-method", """
        from enum import Enum
        class Level(Enum):
            LOW = 1
            def text(self): return f"level {self.value}"
        # %%
        def load(level):
            did("load")
            return level.text()
        # %% durable
        out = ctx.run("load", load, Level.LOW)
        """, ("level {self.value}", "l{self.value}"), runs="load", out="l1"),
    edit("class-decorated", """
        def tagged(name):
            def around(cls):
                cls.tag = name
                return cls
            return around
        # %%
        @tagged("a")
        class Thing:
            pass
        # %%
        def load():
            did("load")
            return Thing.tag
        # %% durable
        out = ctx.run("load", load)
        """, ('@tagged("a")', '@tagged("b")'), runs="load", out="b"),
    edit("format-width-from-a-global", """
        WIDTH = 4
        def load(x):
            did("load")
            return f"{x:{WIDTH}}|"
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("WIDTH = 4", "WIDTH = 2"), runs="load", out=" 5|"),
    edit("helper-used-in-a-comprehension-of-a-lambda", """
        def up(x): return x + 1
        # %% durable
        out = ctx.run("load", lambda xs: (did("load"), [up(x) for x in xs])[1], [1, 2])
        """, ("x + 1", "x + 2"), runs="load", out=[3, 4]),
    edit("numpy-vectorize-of-a-helper", """
        import numpy as np
        def up(x): return x + 1
        ups = np.vectorize(up)
        # %%
        def load(xs):
            did("load")
            return ups(xs).tolist()
        # %% durable
        out = ctx.run("load", load, [1, 2])
        """, ("x + 1", "x + 2"), runs="load", out=[3, 4]),
    edit("notebook-transformer-in-a-pipeline", """
        from sklearn.base import BaseEstimator, TransformerMixin
        from sklearn.pipeline import make_pipeline
        class Scale(TransformerMixin, BaseEstimator):
            def __init__(self, by=2): self.by = by
            def fit(self, X, y=None): return self
            def transform(self, X): return [[v * self.by for v in row] for row in X]
        # %%
        def load(pipeline, X):
            did("load")
            return pipeline.fit_transform(X)
        # %% durable
        out = ctx.run("load", load, make_pipeline(Scale()), [[1], [2]])
        """, ("v * self.by", "v + self.by"), runs="load", out=[[3], [4]]),
    edit("helper-in-a-function-transformer", """
        from sklearn.preprocessing import FunctionTransformer
        def up(X): return [[v + 1 for v in row] for row in X]
        # %%
        def load(step, X):
            did("load")
            return step.fit_transform(X)
        # %% durable
        out = ctx.run("load", load, FunctionTransformer(up), [[1], [2]])
        """, ("v + 1", "v + 2"), runs="load", out=[[3], [4]]),
    edit("star-import", """
        from shop import *
        # %%
        def load(x):
            did("load")
            return price(x)
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("import *", "import *  #"), files={"shop.py": "RATE = 2\ndef price(x):\n    return x * RATE\n"},
        files_after={"shop.py": "RATE = 3\ndef price(x):\n    return x * RATE\n"}, runs="load", out=15),
    edit("constant-of-a-module", """
        import shop
        def load(x):
            did("load")
            return x * shop.RATE
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("import shop", "import shop  #"), files={"shop.py": "RATE = 2\n"}, files_after={"shop.py": "RATE = 3\n"},
        runs="load", out=15),
    edit("other-constant-of-a-module", """
        import shop
        def load(x):
            did("load")
            return x * shop.RATE
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("import shop", "import shop  #"), files={"shop.py": "RATE = 2\nOTHER = 1\n"},
        files_after={"shop.py": "RATE = 2\nOTHER = 9\n"}, replays="load", out=10),
    edit("object-of-a-module", """
        import shop
        def load(x):
            did("load")
            return x * shop.settings.rate
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("import shop", "import shop  #"),
        files={"shop.py": "class Settings:\n    def __init__(self, rate):\n        self.rate = rate\nsettings = Settings(2)\n"},
        files_after={"shop.py": "class Settings:\n    def __init__(self, rate):\n        self.rate = rate\nsettings = Settings(3)\n"},
        runs="load", out=15),
    edit("module-as-an-argument", """
        import shop
        def load(module, x):
            did("load")
            return module.price(x)
        # %% durable
        out = ctx.run("load", load, shop, 5)
        """, ("import shop", "import shop  #"), files={"shop.py": "RATE = 2\ndef price(x):\n    return x * RATE\n"},
        files_after={"shop.py": "RATE = 3\ndef price(x):\n    return x * RATE\n"}, runs="load", out=15),
    edit("module-asked-by-name", """
        import shop
        def load(name, x):
            did("load")
            return getattr(shop, name)(x)
        # %% durable
        out = ctx.run("load", load, "price", 5)
        """, ("import shop", "import shop  #"), files={"shop.py": "def price(x):\n    return x * 2\n"},
        files_after={"shop.py": "def price(x):\n    return x * 3\n"}, runs="load", out=15),
    edit("decorator-of-a-module", """
        from shop import scaled
        # %%
        @scaled
        def load(x):
            did("load")
            return x
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("import scaled", "import scaled  #"),
        files={"shop.py": "def scaled(fn):\n    def call(x):\n        return fn(x) * 2\n    return call\n"},
        files_after={"shop.py": "def scaled(fn):\n    def call(x):\n        return fn(x) * 3\n    return call\n"},
        runs="load", out=15),
    edit("base-class-of-a-module", """
        from shop import Base
        class Thing(Base):
            pass
        # %%
        def load(x):
            did("load")
            return Thing().scale(x)
        # %% durable
        out = ctx.run("load", load, 5)
        """, ("import Base", "import Base  #"), files={"shop.py": "class Base:\n    def scale(self, x):\n        return x * 2\n"},
        files_after={"shop.py": "class Base:\n    def scale(self, x):\n        return x * 3\n"}, runs="load", out=15),
    edit("object-of-a-module's-class-as-an-argument", """
        from shop import Model
        def load(model, x):
            did("load")
            return model.scale(x)
        # %% durable
        out = ctx.run("load", load, Model(), 5)
        """, ("import Model", "import Model  #"), files={"shop.py": "class Model:\n    def scale(self, x):\n        return x * 2\n"},
        files_after={"shop.py": "class Model:\n    def scale(self, x):\n        return x * 3\n"}, runs="load", out=15),
]  # fmt: skip

DISGUISED = [
    argument("masked-array", "import numpy as np", "np.ma.array([1, 2], mask=[0, 0])", "np.ma.array([1, 2], mask=[0, 1])",
             "int(value.sum())", 1),
    argument("structured-array", "import numpy as np", "np.array([(1, 2)], dtype=[('a', 'i4'), ('b', 'i4')])",
             "np.array([(1, 2)], dtype=[('b', 'i4'), ('a', 'i4')])", "int(value['a'][0])", 2),
    argument("array-memory-order", "import numpy as np", "np.array([[1, 2], [3, 4]])",
             "np.asfortranarray(np.array([[1, 2], [3, 4]]))", "value.tolist()", [[1, 2], [3, 4]], runs="", replays="use beside"),
    argument("array-transposed", "import numpy as np", "np.array([[1, 2], [3, 4]])", "np.array([[1, 2], [3, 4]]).T",
             "value.tolist()", [[1, 3], [2, 4]]),
    argument("array-of-objects", "import numpy as np", "np.array([{'a': 1}, None], dtype=object)",
             "np.array([{'a': 2}, None], dtype=object)", "value[0]['a']", 2),
    argument("array-time-unit", "import numpy as np", "np.array(['2026-01-01'], dtype='M8[D]')",
             "np.array(['2026-01-01'], dtype='M8[s]')", "str(value.dtype)", "datetime64[s]"),
    argument("array-subclass-with-a-name",
             "import numpy as np\n        class Named(np.ndarray):\n            pass\n        def named(name):\n"
             "            found = np.arange(3).view(Named)\n            found.name = name\n            return found",
             "named('a')", "named('b')", "value.name", "b"),
    argument("frame-attrs", "import pandas as pd\n        df = pd.DataFrame({'a': [1]})\n        df.attrs['unit'] = 'm'",
             "df", "df.assign()[['a']].pipe(lambda d: (d.attrs.update(unit='km'), d)[1])", "value.attrs['unit']", "km"),
    argument("frame-index-name", "import pandas as pd", "pd.DataFrame({'a': [1]}).rename_axis('x')",
             "pd.DataFrame({'a': [1]}).rename_axis('y')", "value.index.name", "y"),
    argument("frame-column-level-name", "import pandas as pd", "pd.DataFrame({'a': [1]})",
             "pd.DataFrame({'a': [1]}).rename_axis(columns='c')", "value.columns.name", "c"),
    argument("frame-missing-value", "import pandas as pd", "pd.DataFrame({'a': pd.array([1, None], dtype='Int64')})",
             "pd.DataFrame({'a': pd.array([1, 0], dtype='Int64')})", "int(value.a.isna().sum())", 0),
    argument("frame-time-zone", "import pandas as pd", "pd.DataFrame({'t': pd.date_range('2026', periods=1, tz='UTC')})",
             "pd.DataFrame({'t': pd.date_range('2026', periods=1, tz='UTC').tz_convert('Europe/Paris')})",
             "str(value.t.dt.tz)", "Europe/Paris"),
    argument("frame-of-lists", "import pandas as pd", "pd.DataFrame({'a': [[1], [2]]})", "pd.DataFrame({'a': [[1], [3]]})",
             "value.a[1]", [3]),
    argument("frame-multi-index", "import pandas as pd", "pd.DataFrame({'a': [1]}, index=pd.MultiIndex.from_tuples([(1, 'x')]))",
             "pd.DataFrame({'a': [1]}, index=pd.MultiIndex.from_tuples([(1, 'y')]))", "value.index[0][1]", "y"),
    argument("frame-category-order", "import pandas as pd", "pd.Series(pd.Categorical(['a', 'b'], ordered=False))",
             "pd.Series(pd.Categorical(['a', 'b'], ordered=True))", "bool(value.cat.ordered)", True),
    argument("frame-doubled-column-names", "import pandas as pd", "pd.DataFrame([[1, 2]], columns=['a', 'a'])",
             "pd.DataFrame([[1, 3]], columns=['a', 'a'])", "int(value.iloc[0, 1])", 3),
    argument("frame-periods", "import pandas as pd", "pd.Series(pd.period_range('2026-01', periods=2, freq='M'))",
             "pd.Series(pd.period_range('2026-02', periods=2, freq='M'))", "str(value[0])", "2026-02"),
    argument("frame-intervals", "import pandas as pd", "pd.Series(pd.interval_range(0, 2))",
             "pd.Series(pd.interval_range(0, 2, closed='left'))", "value[0].closed", "left"),
    argument("frame-sparse", "import pandas as pd", "pd.Series([0, 1], dtype='Sparse[int]')",
             "pd.Series([0, 2], dtype='Sparse[int]')", "int(value.sum())", 2),
    argument("frame-grouped", "import pandas as pd\n        df = pd.DataFrame({'k': ['a', 'b'], 'v': [1, 2], 'w': [3, 4]})",
             "df.groupby('k')[['v']]", "df.groupby('k')[['w']]", "int(value.sum().iloc[0, 0])", 3),
    argument("polars-text", "import polars as pl", "pl.DataFrame({'a': ['x', None]})", "pl.DataFrame({'a': ['x', '']})",
             "value['a'].null_count()", 0),
    argument("polars-lists", "import polars as pl", "pl.DataFrame({'a': [[1, 2], [3]]})", "pl.DataFrame({'a': [[1], [2, 3]]})",
             "value['a'].to_list()", [[1], [2, 3]]),
    argument("polars-structs", "import polars as pl", "pl.DataFrame({'a': [{'x': 1}]})", "pl.DataFrame({'a': [{'y': 1}]})",
             "value['a'].to_list()", [{"y": 1}]),
    argument("polars-categories", "import polars as pl", "pl.DataFrame({'a': pl.Series(['x', 'y'], dtype=pl.Categorical)})",
             "pl.DataFrame({'a': pl.Series(['x', 'z'], dtype=pl.Categorical)})", "value['a'].to_list()", ["x", "z"]),
    argument("polars-objects", "import polars as pl", "pl.DataFrame({'a': pl.Series([{1}], dtype=pl.Object)})",
             "pl.DataFrame({'a': pl.Series([{2}], dtype=pl.Object)})", "value['a'][0]", {2}),
    argument("polars-expression", "import polars as pl", "pl.col('a') + 1", "pl.col('a') + 2",
             "pl.DataFrame({'a': [1]}).select(value)['a'].to_list()", [3]),
    argument("polars-lazy", "import polars as pl", "pl.LazyFrame({'a': [1]})", "pl.LazyFrame({'a': [2]})",
             "value.collect()['a'].to_list()", [2]),
    argument("polars-series-name", "import polars as pl", "pl.Series('a', [1])", "pl.Series('b', [1])", "value.name", "b"),
    argument("list-subclass-with-a-name", "class Rows(list):\n            pass\n        def rows(name):\n"
             "            found = Rows([1])\n            found.name = name\n            return found",
             "rows('a')", "rows('b')", "value.name", "b"),
    argument("text-subclass", "class Id(str):\n            pass", "'a'", "Id('a')", "type(value).__name__", "Id"),
    argument("default-dict", "from collections import defaultdict", "defaultdict(int, a=1)", "defaultdict(list, a=1)",
             "value['b']", []),
    argument("counter", "from collections import Counter", "Counter('aab')", "Counter('abb')", "value['a']", 1),
    argument("deque-length", "from collections import deque", "deque([1, 2], maxlen=2)", "deque([1, 2], maxlen=3)", "value.maxlen", 3),
    argument("array-module", "from array import array", "array('i', [1])", "array('l', [1])", "value.typecode", "l"),
    argument("bytearray", "", "bytearray(b'a')", "bytearray(b'b')", "bytes(value)", b"b"),
    argument("text-file-in-memory", "import io", "io.StringIO('a')", "io.StringIO('b')", "value.getvalue()", "b"),
    argument("simple-namespace", "from types import SimpleNamespace", "SimpleNamespace(a=1)", "SimpleNamespace(a=2)", "value.a", 2),
    argument("exception", "", "ValueError('a')", "ValueError('b')", "str(value)", "b"),
    argument("item-getter", "from operator import itemgetter", "itemgetter(0)", "itemgetter(1)", "value([5, 6])", 6),
    argument("partial-as-an-argument", "from functools import partial", "partial(int, base=2)", "partial(int, base=3)",
             "value('10')", 3),
    argument("iterator", "", "iter([1, 2])", "iter([1, 3])", "list(value)", [1, 3]),
    argument("zone", "from zoneinfo import ZoneInfo", "ZoneInfo('UTC')", "ZoneInfo('Europe/Paris')", "value.key", "Europe/Paris"),
    argument("negative-zero", "", "0.0", "-0.0", "str(value)", "-0.0"),
    argument("nested-objects", "class Node:\n            def __init__(self, value, child=None):\n"
             "                self.value, self.child = value, child", "Node(1, Node(2))", "Node(1, Node(3))", "value.child.value", 3),
    argument("object-with-a-cycle", "class Node:\n            def __init__(self, value):\n                self.value = value\n"
             "                self.me = self", "Node(1)", "Node(2)", "value.me.value", 2),
    argument("object-with-a-cycle-as-it-was", "class Node:\n            def __init__(self, value):\n                self.value = value\n"
             "                self.me = self", "Node(1)", "Node(int('1'))", "value.me.value", 1, runs="", replays="use beside"),
    argument("attrs-class", "import attrs\n        @attrs.define\n        class P:\n            x: int", "P(1)", "P(2)", "value.x", 2),
    argument("pydantic-nested", "from pydantic import BaseModel\n        class Q(BaseModel):\n            x: int\n"
             "        class P(BaseModel):\n            q: Q", "P(q=Q(x=1))", "P(q=Q(x=2))", "value.q.x", 2),
    argument("pydantic-fields-set", "from pydantic import BaseModel\n        class P(BaseModel):\n            x: int = 1", "P()",
             "P(x=1)", "sorted(value.model_fields_set)", ["x"]),
    argument("forest-random-state", "from sklearn.ensemble import RandomForestClassifier", "RandomForestClassifier(random_state=1)",
             "RandomForestClassifier(random_state=2)", "value.random_state", 2),
    argument("fitted-or-not", "from sklearn.linear_model import LinearRegression", "LinearRegression()",
             "LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])", "hasattr(value, 'coef_')", True),
    argument("fitted-on-other-data", "from sklearn.linear_model import LinearRegression",
             "LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])", "LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])",
             "round(float(value.coef_[0]), 6)", 2.0),
    argument("fitted-again", "from sklearn.ensemble import RandomForestRegressor\n        X, y = [[0], [1], [2], [3]], [0, 1, 2, 3]",
             "RandomForestRegressor(n_estimators=2, random_state=0).fit(X, y)",
             "RandomForestRegressor(random_state=0, n_estimators=2).fit(X, y)", "len(value.estimators_)", 2,
             runs="", replays="use beside"),
    argument("graph-attribute", "import networkx as nx", "nx.Graph([(1, 2, {'w': 1})])", "nx.Graph([(1, 2, {'w': 2})])",
             "value[1][2]['w']", 2),
]  # fmt: skip

BEHIND = [
    edit("writer-behind-an-object", """
        import sqlite3
        class Database:
            def __init__(self):
                self.con = sqlite3.connect("shop.db")
        db = Database()
        # %%
        def stage(db, n):
            did("stage")
            db.con.executescript(f"drop table if exists t; create table t(n); insert into t values ({n})")
        def total(db):
            did("total")
            return db.con.execute("select sum(n) from t").fetchone()[0]
        # %% durable
        ctx.run("stage", stage, db, 2)
        out = ctx.run("total", total, db)
        """, ("stage, db, 2", "stage, db, 3"), runs="stage total", out=3),
    edit("writer-by-connection-reader-by-object", """
        import sqlite3
        class Database:
            def __init__(self):
                self.con = sqlite3.connect("shop.db")
        db = Database()
        # %%
        def stage(con, n):
            did("stage")
            con.executescript(f"drop table if exists t; create table t(n); insert into t values ({n})")
        def total(db):
            did("total")
            return db.con.execute("select sum(n) from t").fetchone()[0]
        # %% durable
        ctx.run("stage", stage, db.con, 2)
        out = ctx.run("total", total, db)
        """, ("stage, db.con, 2", "stage, db.con, 3"), runs="stage total", out=3),
    edit("writer-inserted", """
        import sqlite3
        con = sqlite3.connect("shop.db")
        con.executescript("drop table if exists t; create table t(n)")
        # %%
        def put(con, n):
            did("put")
            con.execute("delete from t where n = ?", (n,))
            con.execute("insert into t values (?)", (n,))
            con.commit()
        def total(con):
            did("total")
            return con.execute("select count(*) from t").fetchone()[0] > 0
        # %% durable
        ctx.run("put", put, con, 2)
        out = ctx.run("total", total, con)
        """, ('ctx.run("put", put, con, 2)\n', 'ctx.run("put", put, con, 2)\nctx.run("put", put, con, 3)\n'),
        runs="put total", replays="put", out=True),
    edit("writers-change-places", """
        import sqlite3
        con = sqlite3.connect("shop.db")
        # %%
        def put(con, n):
            did("put")
            con.executescript(f"drop table if exists t; create table t(n); insert into t values ({n})")
        def total(con):
            did("total")
            return con.execute("select sum(n) from t").fetchone()[0]
        # %% durable
        for n in (2, 3):
            ctx.run("put", put, con, n)
        out = ctx.run("total", total, con)
        """, ("(2, 3)", "(3, 2)"), runs="total", either="put", out=2),
    edit("first-of-two-writers", """
        import sqlite3
        con = sqlite3.connect("shop.db")
        # %%
        def create(con, kind):
            did("create")
            con.executescript(f"drop table if exists t; create table t(n {kind})")
        def fill(con):
            did("fill")
            con.execute("insert into t values ('2')")
            con.commit()
        def kind(con):
            did("kind")
            return con.execute("select typeof(n) from t").fetchall()
        # %% durable
        ctx.run("create", create, con, "integer")
        ctx.run("fill", fill, con)
        out = ctx.run("kind", kind, con)
        """, ('"integer"', '"text"'), runs="create fill kind", out=[("text",)]),
    unedited("part-of-an-argument-changed-in-place", """
        def note(options, x):
            did("note")
            options["seen"].append(x)
            return x
        def count(options):
            did("count")
            return len(options["seen"])
        # %% durable
        options = {"seen": []}
        ctx.run("note", note, options, 5)
        out = ctx.run("count", count, options)
        """, runs="note", replays="count", out=1),
    unedited("global-frame-changed-in-place-by-a-step", """
        import pandas as pd
        def tax(rate):
            did("tax")
            orders["tax"] = orders.amount * rate
            return "done"
        def total():
            did("total")
            return int(orders.tax.sum())
        # %% durable
        orders = pd.DataFrame({"amount": [1, 2]})
        ctx.run("tax", tax, 10)
        out = ctx.run("total", total)
        """, runs="tax", replays="total", out=30),
    unedited("fit-without-taking-the-result", """
        from sklearn.linear_model import LinearRegression
        X, y = [[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0]
        # %%
        def predict(model, X):
            did("predict")
            return [round(float(p), 6) for p in model.predict(X)]
        # %% durable
        model = LinearRegression()
        ctx.run("fit", model.fit, X, y)
        out = ctx.run("predict", predict, model, [[3.0]])
        """, replays="predict", either="fit", out=[6.0], silent="fit"),
    unedited("sorted-in-place-without-taking-the-result", """
        def tidy(rows):
            did("tidy")
            rows.sort()
            return rows
        def first(rows):
            did("first")
            return rows[0]
        # %% durable
        rows = [3, 1, 2]
        ctx.run("tidy", tidy, rows)
        out = ctx.run("first", first, rows)
        """, replays="first", either="tidy", out=1),
    unedited("result-changed-by-the-cell", """
        def load():
            did("load")
            return [1, 2]
        def total(rows):
            did("total")
            return sum(rows)
        # %% durable
        rows = ctx.run("load", load)
        rows.append(3)
        out = ctx.run("total", total, rows)
        """, replays="load total", out=6),
    unedited("two-names-for-one-result", """
        def load():
            did("load")
            return [1, 2]
        def same(rows):
            did("same")
            return rows
        def total(rows):
            did("total")
            return sum(rows)
        # %% durable
        rows = ctx.run("load", load)
        again = ctx.run("same", same, rows)
        first = ctx.run("total", total, again)
        out = first, ctx.run("total", total, rows)
        """, replays="load same total total", out=(3, 3)),
]  # fmt: skip

ROWS = [*PLACES, *COLLISIONS, *INSIDE, *DISGUISED, *BEHIND]
