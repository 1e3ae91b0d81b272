"""Edits of what a step computes from: globals, arguments, objects, options."""

# ruff: noqa: E501  texts of cells

from __future__ import annotations

from datetime import timedelta

from edits.row import edit, unedited

RATE = """
RATE = 2
UNUSED = 1

# %%
def helper(x):
    return x * RATE

# %%
def total(x):
    did("total")
    return helper(x) + 1

def plain(x):
    did("plain")
    return x

# %% durable
out = ctx.run("plain", plain, 1), ctx.run("total", total, 10)
"""

GLOBALS = [
    edit("global-scalar", RATE, ("RATE = 2\n", "RATE = 3\n"), runs="total", replays="plain", out=(1, 31),
         reason={"total": "RATE"}),
    edit("global-of-another-type", RATE, ("RATE = 2\n", "RATE = 2.0\n"), runs="total", replays="plain", out=(1, 21.0)),
    edit("global-written-otherwise", RATE, ("RATE = 2\n", "RATE = 5 - 3  # the same\n"), replays="plain total", out=(1, 21)),
    edit("global-that-nobody-reads", RATE, ("UNUSED = 1", "UNUSED = 7"), replays="plain total", out=(1, 21)),
    edit("global-list", """
        COLUMNS = ["a", "b"]
        # %%
        def pick(row):
            did("pick")
            return [row[c] for c in COLUMNS]
        # %% durable
        out = ctx.run("pick", pick, {"a": 1, "b": 2, "c": 3})
        """, ('["a", "b"]', '["a", "c"]'), runs="pick", out=[1, 3], reason={"pick": "COLUMNS"}),
    edit("global-list-changed-in-another-cell", """
        COLUMNS = ["a"]
        # %%
        def pick(row):
            did("pick")
            return [row[c] for c in COLUMNS]
        # %% durable
        out = ctx.run("pick", pick, {"a": 1, "b": 2, "c": 3})
        """, ("# %% durable", '# %%\nCOLUMNS.append("c")\n# %% durable'), runs="pick", out=[1, 3]),
    edit("global-dict", """
        PRICES = {"a": {"net": 1}, "b": {"net": 2}}
        # %%
        def price(name):
            did("price")
            return PRICES[name]["net"]
        # %% durable
        out = ctx.run("price", price, "a")
        """, ('"a": {"net": 1}', '"a": {"net": 5}'), runs="price", out=5),
    edit("global-array", """
        import numpy as np
        weights = np.array([1.0, 2.0])
        # %%
        def score(x):
            did("score")
            return float((weights * x).sum())
        # %% durable
        out = ctx.run("score", score, 2)
        """, ("2.0]", "4.0]"), runs="score", out=10.0),
    edit("global-frame", """
        import pandas as pd
        orders = pd.DataFrame({"region": ["n", "s"], "amount": [1, 2]})
        # %%
        def total(region):
            did("total")
            return int(orders.query("region == @region").amount.sum())
        # %% durable
        out = ctx.run("total", total, "s")
        """, ("[1, 2]", "[1, 5]"), runs="total", out=5),
    edit("global-frame-mutated-in-another-cell", """
        import pandas as pd
        orders = pd.DataFrame({"region": ["n", "s"], "amount": [1, 2]})
        # %%
        def total():
            did("total")
            return int(orders.amount.sum())
        # %% durable
        out = ctx.run("total", total)
        """, ("# %% durable", '# %%\norders.loc[0, "amount"] = 10\n# %% durable'), runs="total", out=12),
    edit("global-frame-other-column-added", """
        import pandas as pd
        orders = pd.DataFrame({"amount": [1, 2]})
        # %%
        def names():
            did("names")
            return list(orders.columns)
        # %% durable
        out = ctx.run("names", names)
        """, ("# %% durable", '# %%\norders["tax"] = 0\n# %% durable'), runs="names", out=["amount", "tax"]),
    edit("global-read-by-a-lambda", """
        LIMIT = 2
        # %% durable
        out = ctx.run("keep", lambda xs: (did("keep"), [x for x in xs if x < LIMIT])[1], [1, 2, 3])
        """, ("LIMIT = 2\n", "LIMIT = 3\n"), runs="keep", out=[1, 2]),
    edit("global-in-an-f-string-query", """
        TABLE = "orders"
        # %%
        def sql(day):
            did("sql")
            return f"select * from {TABLE} where day = {day!r}"
        # %% durable
        out = ctx.run("sql", sql, "mon")
        """, ('"orders"', '"returns"'), runs="sql", out="select * from returns where day = 'mon'"),
    edit("f-string-query", """
        import sqlite3
        con = sqlite3.connect(":memory:")
        con.executescript("create table t(day, n); insert into t values (1, 10), (2, 20)")
        day = 1
        # %%
        def read(query, con):
            did("read")
            return con.execute(query).fetchall()
        # %% durable
        rows = ctx.run("read", read, f"select n from t where day = {day}", con)
        out = ctx.run("double", lambda rows: (did("double"), [n * 2 for (n,) in rows])[1], rows)
        """, ("day = 1\n", "day = 2\n"), runs="read double", out=[40], reason={"read": "query"}),
    edit("environment-of-a-helper-object", """
        class Settings:
            def __init__(self, **values):
                self.__dict__.update(values)
        settings = Settings(depth=2, name="x")
        # %%
        def build(n):
            did("build")
            return settings.depth * n
        # %% durable
        out = ctx.run("build", build, 5)
        """, ("depth=2", "depth=3"), runs="build", out=15),
]  # fmt: skip


def argument(name: str, imports: str, old: str, new: str, show: str, out: object, **more: object) -> object:
    """An argument that is edited: the step that takes it runs, the one beside it replays."""
    text = f"""
        {imports}
        def use(value):
            did("use")
            return {show}
        def beside(x):
            did("beside")
            return x
        # %% durable
        value = {old}
        out = ctx.run("use", use, value)
        ctx.run("beside", beside, 1)
        """
    return edit(name, text, (f"value = {old}\n", f"value = {new}\n"),
                **{"runs": "use", "replays": "beside", "out": out, **more})  # fmt: skip


SAME = {"runs": "", "replays": "use beside"}

ARGUMENTS = [
    argument("argument-number", "", "1", "2", "value", 2),
    argument("argument-big-number", "", "10**30", "10**30 + 1", "value", 10**30 + 1),
    argument("argument-true-or-1", "", "True", "1", "str(value)", "1"),
    argument("argument-text", "", "'a'", "'b'", "value", "b"),
    argument("argument-bytes", "", "b'a'", "b'b'", "value", b"b"),
    argument("argument-nested", "", "{'a': [1, {'b': (2, 3)}]}", "{'a': [1, {'b': (2, 4)}]}", "value['a'][1]['b'][1]", 4),
    argument("argument-tuple-or-list", "", "(1, 2)", "[1, 2]", "type(value).__name__", "list"),
    argument("argument-nan", "", "float('nan')", "float('NaN')", "str(value)", "nan", **SAME),
    argument("argument-set-order", "", "{'x', 'y', 'z'}", "{'z', 'y', 'x'}", "sorted(value)", ["x", "y", "z"], **SAME),
    argument("argument-set", "", "{'x', 'y'}", "{'x', 'z'}", "sorted(value)", ["x", "z"]),
    argument("argument-dict-order", "", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", "list(value)", ["b", "a"]),
    argument("argument-range", "", "range(3)", "range(4)", "len(value)", 4),
    argument("argument-slice", "", "slice(1, 2)", "slice(1, 3)", "value.stop", 3),
    argument("argument-date", "import datetime as dt", "dt.datetime(2026, 1, 1)", "dt.datetime(2026, 1, 2)", "value.day", 2),
    argument("argument-time-zone", "import datetime as dt", "dt.datetime(2026, 1, 1)",
             "dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)", "str(value.tzinfo)", "UTC"),
    argument("argument-decimal", "from decimal import Decimal", "Decimal('1.0')", "Decimal('1.00')", "str(value)", "1.00"),
    argument("argument-path", "from pathlib import Path", "Path('a.csv')", "Path('b.csv')", "value.name", "b.csv"),
    argument("argument-pattern", "import re", "re.compile('a+')", "re.compile('a*')", "value.pattern", "a*"),
    argument("argument-pattern-flags", "import re", "re.compile('a')", "re.compile('a', re.I)", "bool(value.match('A'))", True),
    argument("argument-seeded-random", "import random", "random.Random(1)", "random.Random(2)", "value.getstate()[1][1] % 1000",
             189),
    argument("argument-enum-member", "from enum import Enum\n        class Level(Enum):\n            LOW = 1\n            HIGH = 2",
             "Level.LOW", "Level.HIGH", "value.name", "HIGH"),
    argument("argument-dataclass", "from dataclasses import dataclass\n        @dataclass\n        class P:\n            x: int",
             "P(1)", "P(2)", "value.x", 2),
    argument("argument-object-with-slots",
             "class P:\n            __slots__ = ('x',)\n            def __init__(self, x):\n                self.x = x",
             "P(1)", "P(2)", "value.x", 2),
    argument("argument-named-tuple", "from collections import namedtuple\n        P = namedtuple('P', 'x y')", "P(1, 2)",
             "P(1, 3)", "value.y", 3),
    argument("argument-pydantic", "from pydantic import BaseModel\n        class P(BaseModel):\n            x: int", "P(x=1)",
             "P(x=2)", "value.x", 2),
    argument("argument-array", "import numpy as np", "np.arange(4)", "np.array([0, 1, 2, 4])", "int(value.sum())", 7),
    argument("argument-array-type", "import numpy as np", "np.arange(4, dtype='i8')", "np.arange(4, dtype='i4')",
             "str(value.dtype)", "int32"),
    argument("argument-array-shape", "import numpy as np", "np.zeros((2, 3))", "np.zeros((3, 2))", "value.shape", (3, 2)),
    argument("argument-array-view", "import numpy as np", "np.arange(8)[::2]", "np.array([0, 2, 4, 6])",
             "value.tolist()", [0, 2, 4, 6], **SAME),
    argument("argument-generator-seed", "import numpy as np", "np.random.default_rng(1)", "np.random.default_rng(2)",
             "int(value.bit_generator.state['state']['state']) % 1000", 228),
    argument("argument-frame", "import pandas as pd", "pd.DataFrame({'a': [1, 2]})", "pd.DataFrame({'a': [1, 3]})",
             "int(value.a.sum())", 4),
    argument("argument-frame-built-otherwise", "import pandas as pd", "pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})",
             "pd.DataFrame([(1, 'x'), (2, 'y')], columns=['a', 'b'])", "int(value.a.sum())", 3, **SAME),
    argument("argument-frame-column-order", "import pandas as pd", "pd.DataFrame({'a': [1], 'b': [2]})",
             "pd.DataFrame({'b': [2], 'a': [1]})", "list(value.columns)", ["b", "a"]),
    argument("argument-frame-type", "import pandas as pd", "pd.DataFrame({'a': [1]})", "pd.DataFrame({'a': [1.0]})",
             "str(value.a.dtype)", "float64"),
    argument("argument-frame-index", "import pandas as pd", "pd.DataFrame({'a': [1]}, index=[0])",
             "pd.DataFrame({'a': [1]}, index=[5])", "int(value.index[0])", 5),
    argument("argument-frame-category", "import pandas as pd", "pd.DataFrame({'a': ['x', 'y']}, dtype='category')",
             "pd.DataFrame({'a': ['x', 'z']}, dtype='category')", "list(value.a.cat.categories)", ["x", "z"]),
    argument("argument-frame-slice-of-a-bigger-one", "import pandas as pd", "pd.DataFrame({'a': [1, 2]})",
             "pd.DataFrame({'a': [1, 2, 3]}).iloc[:2]", "int(value.a.sum())", 3, **SAME),
    argument("argument-series-name", "import pandas as pd", "pd.Series([1], name='a')", "pd.Series([1], name='b')",
             "value.name", "b"),
    argument("argument-timestamp", "import pandas as pd", "pd.Timestamp('2026-01-01')", "pd.Timestamp('2026-01-02')",
             "value.day", 2),
    argument("argument-polars", "import polars as pl", "pl.DataFrame({'a': [1, 2]})", "pl.DataFrame({'a': [1, 3]})",
             "value['a'].to_list()", [1, 3]),
    argument("argument-polars-type", "import polars as pl", "pl.DataFrame({'a': [1]})",
             "pl.DataFrame({'a': [1]}, schema={'a': pl.Int32})", "str(value['a'].dtype)", "Int32"),
    argument("argument-polars-built-otherwise", "import polars as pl", "pl.DataFrame({'a': [1, 2]})",
             "pl.concat([pl.DataFrame({'a': [1]}), pl.DataFrame({'a': [2]})])", "value['a'].to_list()", [1, 2], **SAME),
    argument("argument-sparse-matrix", "import scipy.sparse as sp", "sp.csr_matrix([[1, 0]])", "sp.csr_matrix([[2, 0]])",
             "int(value.sum())", 2),
    argument("argument-graph", "import networkx as nx", "nx.Graph([(1, 2)])", "nx.Graph([(1, 2), (2, 3)])",
             "value.number_of_edges()", 2),
    argument("argument-estimator", "from sklearn.linear_model import Ridge", "Ridge(alpha=1)", "Ridge(alpha=10)",
             "value.alpha", 10),
    argument("argument-estimator-as-it-was", "from sklearn.linear_model import Ridge", "Ridge(alpha=1)",
             "Ridge(**{'alpha': 1})", "value.alpha", 1, **SAME),
    argument("argument-pipeline",
             "from sklearn.linear_model import Ridge\n        from sklearn.pipeline import make_pipeline\n"
             "        from sklearn.preprocessing import StandardScaler",
             "make_pipeline(StandardScaler(), Ridge(1))", "make_pipeline(StandardScaler(), Ridge(2))", "value[-1].alpha", 2),
    argument("argument-library-function", "import numpy as np", "np.mean", "np.median", "float(value([1, 2, 6]))", 2.0),
    argument("argument-library-class", "from collections import OrderedDict", "dict", "OrderedDict", "value.__name__",
             "OrderedDict"),
    argument("argument-shared-parts", "a = [1]", "[a, a]", "[[1], [1]]", "value", [[1], [1]], **SAME),
    argument("argument-mixed-dict-keys", "", "{1: 'a', 'x': None, (1, 2): 3}", "{1: 'a', 'x': None, (1, 2): 4}",
             "value[(1, 2)]", 4),
]  # fmt: skip

OBJECTS = [
    edit("frame-mutated-between-two-steps", """
        import pandas as pd
        def load():
            did("load")
            return pd.DataFrame({"a": [1, 2]})
        def total(df):
            did("total")
            return int(df.a.sum())
        # %% durable
        df = ctx.run("load", load)
        df["a"] = df["a"] * 2
        out = ctx.run("total", total, df)
        """, ('df["a"] * 2', 'df["a"] * 3'), runs="total", replays="load", out=9, reason={"total": "df"}),
    edit("array-changed-in-place-between-two-steps", """
        import numpy as np
        def total(xs):
            did("total")
            return int(xs.sum())
        # %% durable
        xs = np.arange(4)
        first = ctx.run("total", total, xs)
        xs[0] = 5
        out = first, ctx.run("total", total, xs)
        """, ("xs[0] = 5", "xs[0] = 7"), runs="total", replays="total", out=(6, 13)),
    edit("object's-state", """
        class Client:
            def __init__(self, url, pages):
                self.url, self.pages = url, pages
        # %%
        client = Client("http://x", pages=2)
        # %%
        def fetch(client):
            did("fetch")
            return [f"{client.url}/{n}" for n in range(client.pages)]
        # %% durable
        out = ctx.run("fetch", fetch, client)
        """, ("pages=2", "pages=1"), runs="fetch", out=["http://x/0"]),
    edit("object's-class-defined-again", """
        class Client:
            def __init__(self, url):
                self.url = url
        # %%
        def fetch(client):
            did("fetch")
            return client.url
        # %% durable
        out = ctx.run("fetch", fetch, Client("x"))
        """, ("    def __init__", "    # where it is\n    def __init__"), replays="fetch", out="x"),
    edit("value-of-a-notebook-class-passed-on", """
        from dataclasses import dataclass
        @dataclass
        class Order:
            amount: int
        # %%
        def load(n):
            did("load")
            return [Order(n), Order(n + 1)]
        def total(orders):
            did("total")
            assert all(isinstance(order, Order) for order in orders)
            return sum(order.amount for order in orders)
        # %% durable
        orders = ctx.run("load", load, 1)
        out = ctx.run("total", total, orders)
        """, ("sum(order.amount for order in orders)", "max(order.amount for order in orders)"), runs="total",
        replays="load", out=2),
    edit("connection-opened-anew", """
        import sqlite3
        con = sqlite3.connect(":memory:")
        # %%
        def ask(con, x):
            did("ask")
            return con.execute("select ?", (x,)).fetchone()[0]
        # %% durable
        out = ctx.run("ask", ask, con, 1)
        """, ('connect(":memory:")', 'connect(":memory:", timeout=10)'), replays="ask", out=1),
    edit("lock-and-connection-in-a-notebook-object", """
        import sqlite3, threading
        class Database:
            def __init__(self, name):
                self.name = name
                self.con = sqlite3.connect(":memory:")
                self.lock = threading.Lock()
        # %%
        def ask(db):
            did("ask")
            with db.lock:
                return db.name, db.con.execute("select 1").fetchone()[0]
        # %% durable
        out = ctx.run("ask", ask, Database("a"))
        """, ('Database("a")', 'Database("b")'), runs="ask", out=("b", 1)),
    unedited("lock-and-connection-in-a-notebook-object-unedited", """
        import sqlite3, threading
        class Database:
            def __init__(self, name):
                self.name = name
                self.con = sqlite3.connect(":memory:")
                self.lock = threading.Lock()
        # %%
        def ask(db):
            did("ask")
            with db.lock:
                return db.name, db.con.execute("select 1").fetchone()[0]
        # %% durable
        out = ctx.run("ask", ask, Database("a"))
        """, replays="ask", out=("a", 1)),
    unedited("values-of-many-kinds-unedited", """
        import datetime as dt, decimal, enum, fractions, pathlib, random, re, uuid
        import networkx as nx, numpy as np, pandas as pd, polars as pl, scipy.sparse as sp
        from sklearn.ensemble import RandomForestClassifier
        class Level(enum.Enum):
            LOW = 1
        def values():
            return [
                dt.date(2026, 1, 1), dt.timedelta(1), decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=7),
                pathlib.Path("a"), re.compile("x"), random.Random(3), Level.LOW, {"b", "a"}, frozenset({"q", "r"}),
                np.float64(1.5), np.random.default_rng(5), np.array(["a", None], dtype=object), np.datetime64("2026-01-01"),
                pd.DataFrame({"t": pd.date_range("2026", periods=2, tz="UTC"), "c": pd.Categorical(["a", "b"])}),
                pd.MultiIndex.from_product([[1, 2], ["a"]]), pd.Series(["a", None]), pd.NA, pd.Interval(0, 1),
                pl.DataFrame({"a": ["x", None]}), pl.Series([1.5]), pl.col("a") + 1, sp.coo_matrix([[1, 0]]),
                nx.path_graph(3), RandomForestClassifier(n_estimators=3), np.mean, len, dict, lambda x: x,
            ]
        def use(value):
            did("use")
            return type(value).__name__
        # %% durable
        out = len([ctx.run("use", use, value) for value in values()])
        """, replays="use " * 30, out=30),
]  # fmt: skip

OPTIONS = [
    edit("keyword-through-run-typed", """
        from notebook_durable import RunOptions
        def load(x, *, by=1):
            did("load")
            return x * by
        # %% durable
        out = ctx.run_typed("load", load, RunOptions(), 5, by=2)
        """, ("by=2", "by=3"), runs="load", out=15),
    edit("keywords-in-another-order", """
        from notebook_durable import RunOptions
        def load(x, *, by=1, plus=0):
            did("load")
            return x * by + plus
        # %% durable
        out = ctx.run_typed("load", load, RunOptions(), 5, by=2, plus=1)
        """, ("by=2, plus=1", "plus=1, by=2"), replays="load", out=11),
    edit("ignored-argument", """
        def load(x, verbose):
            did("load")
            return x + 1
        # %% durable
        out = ctx.run("load", load, 1, False, ignore=["verbose"])
        """, ("1, False", "1, True"), replays="load", out=2),
    edit("argument-beside-an-ignored-one", """
        def load(x, verbose):
            did("load")
            return x + 1
        # %% durable
        out = ctx.run("load", load, 1, False, ignore=["verbose"])
        """, ("1, False", "2, True"), runs="load", out=3),
    edit("ignored-global", """
        VERBOSE = False
        def load(x):
            did("load")
            if VERBOSE:
                print("loading")
            return x + 1
        # %% durable
        out = ctx.run("load", load, 1, ignore=["VERBOSE"])
        """, ("VERBOSE = False", "VERBOSE = True"), replays="load", out=2),
    edit("depends-on-changed", """
        import sqlite3
        STORES = {"a": 1, "b": 2}
        class Handle:
            def __init__(self, name):
                self.con = sqlite3.connect(":memory:")
                self.con.execute("create table t(n)")
                self.con.execute("insert into t values (?)", (STORES[name],))
        # %%
        name = "a"
        con = Handle(name).con
        # %%
        def ask(con):
            did("ask")
            return con.execute("select n from t").fetchone()[0]
        # %% durable
        out = ctx.run("ask", ask, con, depends_on=name)
        """, ('name = "a"', 'name = "b"'), runs="ask", out=2),
    edit("depends-on-unchanged", """
        name = "a"
        def ask(x):
            did("ask")
            return x
        # %% durable
        out = ctx.run("ask", ask, 1, depends_on={"table": name})
        """, ('name = "a"', 'name = "".join(["a"])'), replays="ask", out=1),
    edit("version-changed", """
        def ask(x):
            did("ask")
            return x
        # %% durable
        out = ctx.run("ask", ask, 1, version="1"), ctx.run("other", ask, 1)
        """, ('version="1"', 'version="2"'), runs="ask", replays="other", out=(1, 1)),
    edit("version-unchanged", """
        def ask(x):
            did("ask")
            return x
        # %% durable
        out = ctx.run("ask", ask, 1, version="1")
        """, ('"ask", ask, 1, version', '"ask", ask, 1,  version'), replays="ask", out=1),
    edit("retry-options-changed", """
        def ask(x):
            did("ask")
            return x
        # %% durable
        out = ctx.run("ask", ask, 1, max_attempts=3)
        """, ("max_attempts=3", "max_attempts=5"), replays="ask", out=1),
    unedited("max-age-reached", """
        from datetime import timedelta
        def ask(x):
            did("ask")
            return x
        # %% durable
        out = ctx.run("ask", ask, 1, max_age=timedelta(hours=1)), ctx.run("other", ask, 1)
        """, runs="ask", replays="other", out=(1, 1), later=timedelta(hours=2), needs="clock"),
    unedited("max-age-not-reached", """
        from datetime import timedelta
        def ask(x):
            did("ask")
            return x
        # %% durable
        out = ctx.run("ask", ask, 1, max_age=timedelta(hours=1)), ctx.run("other", ask, 1)
        """, replays="ask other", out=(1, 1), later=timedelta(minutes=30), needs="clock"),
    edit("max-age-shortened", """
        from datetime import timedelta
        def ask(x):
            did("ask")
            return x
        # %% durable
        out = ctx.run("ask", ask, 1, max_age=timedelta(hours=1))
        """, ("hours=1", "minutes=10"), runs="ask", out=1, later=timedelta(minutes=30), needs="clock"),
    unedited("max-age-of-no-time-at-all", """
        from datetime import timedelta
        def ask(x):
            did("ask")
            return x
        # %% durable
        out = ctx.run("ask", ask, 1, max_age=timedelta(microseconds=1)), ctx.run("other", ask, 1, max_age=timedelta(days=1))
        """, runs="ask", replays="other", out=(1, 1), later=timedelta(seconds=1)),
]  # fmt: skip

ROWS = [*GLOBALS, *ARGUMENTS, *OBJECTS, *OPTIONS]
