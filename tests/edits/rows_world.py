"""Edits around the notebook: the user's modules, files, databases; and steps that change what they are given."""

# ruff: noqa: E501  texts of cells

from __future__ import annotations

from edits.row import edit, unedited

MODULE = """
    import math
    FACTOR = 2

    def rate():
        return FACTOR

    def price(x):
        '''What it costs.'''
        return x * rate()  # net

    class Model:
        def predict(self, x):
            return price(x) + 1

    def unused():
        return 1
    """

USES_MODULE = """
import shop

# %%
def total(x):
    did("total")
    return shop.price(x)

def predict(x):
    did("predict")
    return shop.Model().predict(x)

def plain(x):
    did("plain")
    return x

# %% durable
out = ctx.run("plain", plain, 1), ctx.run("total", total, 5), ctx.run("predict", predict, 5)
"""


def module(name: str, old: str, new: str, **more: object) -> object:
    """The user's own module is edited; the notebook isn't."""
    assert MODULE.count(old) == 1, old
    return edit(name, USES_MODULE, after=USES_MODULE, files={"shop.py": MODULE}, files_after={"shop.py": MODULE.replace(old, new)},
                **more)  # fmt: skip


MODULES = [
    module("module-function", "x * rate()", "x * rate() * 10", runs="total predict", replays="plain", out=(1, 100, 101)),
    module("module-helper", "return FACTOR", "return FACTOR + 1", runs="total predict", replays="plain", out=(1, 15, 16)),
    module("module-constant", "FACTOR = 2", "FACTOR = 4", runs="total predict", replays="plain", out=(1, 20, 21)),
    module("module-class", "price(x) + 1", "price(x) + 2", runs="predict", replays="plain total", out=(1, 10, 12)),
    module("module-comment", "  # net", "", replays="plain total predict", out=(1, 10, 11)),
    module("module-docstring", "What it costs.", "The price.", replays="plain total predict", out=(1, 10, 11)),
    module("module-function-that-nobody-uses", "return 1\n", "return 2\n", replays="plain total predict", out=(1, 10, 11)),
    module("module-lines-moved", "    FACTOR = 2\n", "\n\n    FACTOR = 2\n", replays="plain total predict", out=(1, 10, 11)),
    module("module-edited-and-undone", "FACTOR = 2", "FACTOR = 4", undo=True, replays="plain total predict", out=(1, 10, 11)),
    edit("module-reloaded", """
        import importlib, shop
        importlib.reload(shop)
        # %%
        def total(x):
            did("total")
            return shop.price(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("importlib.reload(shop)", "importlib.reload(shop)  # now"), files={"shop.py": MODULE},
        files_after={"shop.py": MODULE.replace("FACTOR = 2", "FACTOR = 3")}, runs="total", out=15, kept={}),
    edit("module-reloaded-that-only-moved", """
        import importlib, shop
        importlib.reload(shop)
        # %%
        def total(x):
            did("total")
            return shop.price(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("importlib.reload(shop)", "importlib.reload(shop)  # now"), files={"shop.py": MODULE},
        files_after={"shop.py": MODULE.replace("    FACTOR = 2\n", "    FACTOR = 2\n\n    # more\n\n")}, replays="total", out=10,
        kept={}),
    edit("module-edited-but-not-reloaded", """
        import shop
        # %%
        def total(x):
            did("total")
            return shop.price(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ('ctx.run("total", total, 5)', 'ctx.run("total",  total, 5)'), files={"shop.py": MODULE},
        files_after={"shop.py": MODULE.replace("def rate():\n        return FACTOR", "def rate():\n        return FACTOR + 5")},
        runs="total", out=35, kept={"runs": "", "replays": "total", "out": 10}),  # the old code is still what runs
    edit("function-imported-from-a-module", """
        from shop import price
        # %%
        def total(x):
            did("total")
            return price(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("from shop import price", "from shop import price  # ours"), files={"shop.py": MODULE},
        files_after={"shop.py": MODULE.replace("FACTOR = 2", "FACTOR = 3")}, runs="total", out=15,
        kept={"runs": "", "replays": "total", "out": 10}),  # not loaded again
    edit("module-imported-inside-the-step", """
        def total(x):
            did("total")
            import shop
            return shop.price(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("# %% durable", "# %% durable\n# again"), files={"shop.py": MODULE},
        files_after={"shop.py": MODULE.replace("FACTOR = 2", "FACTOR = 3")}, runs="total", out=15),
    edit("name-imported-inside-the-step", """
        def total(x):
            did("total")
            from shop import price
            return price(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("# %% durable", "# %% durable\n# again"), files={"shop.py": MODULE},
        files_after={"shop.py": MODULE.replace("x * rate()", "x + rate()")}, runs="total", out=7),
    edit("module's-function-as-the-step", """
        import jobs
        # %% durable
        out = ctx.run("load", jobs.load, 5)
        """, ("import jobs", "import jobs  # ours"), files={"jobs.py": "def load(x):\n    did('load')\n    return x + 1\n"},
        files_after={"jobs.py": "def load(x):\n    did('load')\n    return x + 2\n"}, runs="load", out=7),
    edit("package-with-a-submodule", """
        import pack.sub.deep as deep
        # %%
        def total(x):
            did("total")
            return deep.scale(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("import pack.sub.deep as deep", "import pack.sub.deep as deep  # ours"),
        files={"pack/__init__.py": "", "pack/sub/__init__.py": "", "pack/rates.py": "RATE = 2\n",
               "pack/sub/deep.py": "from ..rates import RATE\ndef scale(x):\n    return x * RATE\n"},
        files_after={"pack/rates.py": "RATE = 3\n"}, runs="total", out=15),
    edit("package-attribute-chain", """
        import pack.sub.deep
        # %%
        def total(x):
            did("total")
            return pack.sub.deep.scale(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("import pack.sub.deep", "import pack.sub.deep  # ours"),
        files={"pack/__init__.py": "", "pack/sub/__init__.py": "", "pack/sub/deep.py": "def scale(x):\n    return x * 2\n"},
        files_after={"pack/sub/deep.py": "def scale(x):\n    return x * 3\n"}, runs="total", out=15),
    edit("package-other-submodule", """
        import pack.a, pack.b
        # %%
        def total(x):
            did("total")
            return pack.a.scale(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("import pack.a, pack.b", "import pack.a, pack.b  # ours"),
        files={"pack/__init__.py": "", "pack/a.py": "def scale(x):\n    return x * 2\n", "pack/b.py": "def other():\n    return 1\n"},
        files_after={"pack/b.py": "def other():\n    return 2\n"}, replays="total", out=10),
    edit("script-run-by-path", """
        import runpy
        globals().update({k: v for k, v in runpy.run_path("tools.py").items() if not k.startswith("__")})
        # %%
        def total(x):
            did("total")
            return scale(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("import runpy", "import runpy  # ours"), files={"tools.py": "BY = 2\ndef scale(x):\n    return x * BY\n"},
        files_after={"tools.py": "BY = 3\ndef scale(x):\n    return x * BY\n"}, runs="total", out=15, kept={}),
    edit("run-magic", """
        %run tools.py
        # %%
        def total(x):
            did("total")
            return scale(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("%run tools.py", "%run tools.py\n"), files={"tools.py": "BY = 2\ndef scale(x):\n    return x * BY\n"},
        files_after={"tools.py": "BY = 3\ndef scale(x):\n    return x * BY\n"}, runs="total", out=15, needs="kernel"),
    edit("run-magic-comment", """
        %run tools.py
        # %%
        def total(x):
            did("total")
            return scale(x)
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("%run tools.py", "%run tools.py\n"), files={"tools.py": "BY = 2\ndef scale(x):\n    return x * BY\n"},
        files_after={"tools.py": "# ours\nBY = 2\ndef scale(x):\n    return x * BY  # by\n"}, replays="total", out=10,
        needs="kernel"),
    edit("time-magic-inside", """
        def total(x):
            did("total")
            return x * 2
        def plain(x):
            did("plain")
            return x
        # %% durable
        %time a = ctx.run("total", total, 5)
        out = a, ctx.run("plain", plain, 1)
        """, ("x * 2", "x * 3"), runs="total", replays="plain", out=(15, 1), needs="kernel", flip=False),
    edit("time-magic-added", """
        def total(x):
            did("total")
            return x * 2
        # %% durable
        out = ctx.run("total", total, 5)
        """, ("# %% durable\n", "# %% durable\n%%time\n"), replays="total", out=10, needs="kernel", flip=False),
]  # fmt: skip

CSV = "region,amount\nnorth,1\nsouth,2\n"
CSV_AFTER = "region,amount\nnorth,1\nsouth,5\n"

READS_CSV = """
import csv
from notebook_durable import file

# %%
def load(path):
    did("load")
    with open(path) as rows:
        return [int(row["amount"]) for row in csv.DictReader(rows)]

def total(rows):
    did("total")
    return sum(rows)

# %% durable
rows = ctx.run("load", load, "orders.csv", reads=file("orders.csv"))
out = ctx.run("total", total, rows)
"""

FILES = [
    edit("csv-changed", READS_CSV, after=READS_CSV, files={"orders.csv": CSV}, files_after={"orders.csv": CSV_AFTER},
         runs="load total", out=6, reason={"load": "orders.csv"}),
    edit("csv-written-anew-as-it-was", READS_CSV, after=READS_CSV, files={"orders.csv": CSV}, files_after={"orders.csv": CSV},
         replays="load total", out=3),
    edit("csv-changed-and-back", READS_CSV, ("import csv\n", "import csv  #\n"), files={"orders.csv": CSV},
         files_after={"orders.csv": CSV_AFTER}, undo=True, replays="load total", out=3),
    edit("csv-row-order", READS_CSV, after=READS_CSV, files={"orders.csv": CSV},
         files_after={"orders.csv": "region,amount\nsouth,2\nnorth,1\n"}, runs="load total", out=3),
    edit("one-of-two-csvs", """
        from pathlib import Path
        from notebook_durable import file
        def load(names):
            did("load")
            return [Path(name).read_text().count("\\n") for name in names]
        # %% durable
        out = ctx.run("load", load, ["a.csv", "b.csv"], reads=[file("a.csv"), file("b.csv")])
        """, ("# %% durable", "# %% durable\n#"), files={"a.csv": "1\n", "b.csv": "1\n"}, files_after={"b.csv": "1\n2\n"},
        runs="load", out=[1, 2]),
    edit("other-csv", """
        from pathlib import Path
        from notebook_durable import file
        def load(name):
            did("load")
            return Path(name).read_text().strip()
        # %% durable
        out = ctx.run("load", load, "a.csv", reads=file("a.csv"))
        """, ("# %% durable", "# %% durable\n#"), files={"a.csv": "1\n", "b.csv": "1\n"}, files_after={"b.csv": "1\n2\n"},
        replays="load", out="1"),
    edit("csv-read-by-pandas", """
        import pandas as pd
        from notebook_durable import file
        # %% durable
        df = ctx.run("load", pd.read_csv, "orders.csv", reads=file("orders.csv"))
        out = ctx.run("total", lambda df: (did("total"), int(df.amount.sum()))[1], df)
        """, ("# %% durable", "# %% durable\n#"), files={"orders.csv": CSV}, files_after={"orders.csv": CSV_AFTER},
        runs="load total", out=6, silent="load"),
    edit("file-written-by-a-step", """
        def write(path, n):
            did("write")
            with open(path, "w") as out:
                out.write("x" * n)
        def read(path):
            did("read")
            with open(path) as text:
                return len(text.read())
        # %% durable
        ctx.run("write", write, "result.txt", 3)
        out = ctx.run("read", read, "result.txt")
        """, ('"result.txt", 3', '"result.txt", 4'), runs="write read", out=4),
    edit("other-file-written-by-a-step", """
        def write(path, n):
            did("write")
            with open(path, "w") as out:
                out.write("x" * n)
        def read(path):
            did("read")
            with open(path) as text:
                return len(text.read())
        # %% durable
        ctx.run("write", write, "a.txt", 3)
        ctx.run("write", write, "b.txt", 5)
        out = ctx.run("read", read, "a.txt"), ctx.run("read", read, "b.txt")
        """, ('"b.txt", 5', '"b.txt", 6'), runs="write read", replays="write read", out=(3, 6)),
    edit("path-object-written-by-a-step", """
        from pathlib import Path
        def write(path, n):
            did("write")
            path.write_text("x" * n)
        def read(path):
            did("read")
            return len(path.read_text())
        # %% durable
        path = Path("result.txt")
        ctx.run("write", write, path, 3)
        out = ctx.run("read", read, path)
        """, ("write, path, 3", "write, path, 4"), runs="write read", out=4),
    edit("file-written-otherwise-and-back", """
        def write(path, n):
            did("write")
            with open(path, "w") as out:
                out.write("x" * n)
        def read(path):
            did("read")
            with open(path) as text:
                return len(text.read())
        # %% durable
        ctx.run("write", write, "result.txt", 3)
        out = ctx.run("read", read, "result.txt")
        """, ('"result.txt", 3', '"result.txt", 4'), then=[("len(text.read())", "text.read().upper()")], runs="write read",
        out="XXX"),
]  # fmt: skip

STAGING = """
import sqlite3
con = sqlite3.connect("shop.db")

# %%
def names(con):
    did("names")
    return [name for (name,) in con.execute("select 'a' union select 'b'")]

def stage(con, factor):
    did("stage")
    con.execute("drop table if exists staging")
    con.execute("create table staging(n)")
    con.executemany("insert into staging values (?)", [(1 * factor,), (2 * factor,)])
    con.commit()

def total(con):
    did("total")
    return con.execute("select sum(n) from staging").fetchone()[0]

def plain(x):
    did("plain")
    return x

# %% durable
first = ctx.run("names", names, con)
ctx.run("stage", stage, con, 2)
amount = ctx.run("total", total, con)
out = first, amount, ctx.run("plain", plain, 1)
"""

TO_SQL = """
import sqlite3
import pandas as pd
con = sqlite3.connect("shop.db")

# %%
def save(df, con):
    did("save")
    return df.to_sql("orders", con, if_exists="replace", index=False)

def total(con):
    did("total")
    return int(pd.read_sql("select sum(amount) as s from orders", con).s[0])

def double(x):
    did("double")
    return x * 2

# %% durable
df = pd.DataFrame({"amount": [1, 2]})
ctx.run("save", save, df, con, writes=con)
amount = ctx.run("total", total, con)
out = ctx.run("double", double, amount)
"""

EFFECTS = [
    unedited("staging-table-unedited", STAGING, replays="names stage total plain", out=(["a", "b"], 6, 1)),
    edit("staging-table", STAGING, ("stage, con, 2", "stage, con, 3"), runs="stage total", replays="names plain",
         out=(["a", "b"], 9, 1), reason={"total": "stage"}),
    edit("staging-code", STAGING, ("(2 * factor,)", "(3 * factor,)"), runs="stage total", replays="names plain",
         out=(["a", "b"], 8, 1)),
    edit("step-before-the-staging-table", STAGING, ("union select 'b'", "union select 'c'"), runs="names",
         replays="stage total plain", out=(["a", "c"], 6, 1)),
    edit("step-after-the-staging-table", STAGING, ("sum(n)", "max(n)"), runs="total", replays="names stage plain",
         out=(["a", "b"], 4, 1)),
    edit("staging-edit-undone", STAGING, ("stage, con, 2", "stage, con, 3"), undo=True, runs="stage total",
         replays="names plain", out=(["a", "b"], 6, 1)),
    edit("staging-edit-undone-and-another-made", STAGING, ("stage, con, 2", "stage, con, 3"), then=[("sum(n)", "max(n)")],
         runs="stage total", replays="names plain", out=(["a", "b"], 4, 1)),  # the table held what the first edit wrote
    unedited("to-sql-unedited", TO_SQL, replays="save total double", out=6),
    edit("to-sql", TO_SQL, ("[1, 2]", "[1, 5]"), runs="save total double", out=12),
    edit("to-sql-of-an-equal-frame", TO_SQL, ('{"amount": [1, 2]}', '{"amount": [1] + [2]}'), replays="save total double",
         out=6),
    edit("to-sql-of-the-same-sum", TO_SQL, ("[1, 2]", "[2, 1]"), runs="save total", replays="double", out=6),
    edit("connection-is-a-global-of-the-step", """
        import sqlite3
        con = sqlite3.connect("shop.db")
        # %%
        def stage(n):
            did("stage")
            con.execute("drop table if exists t")
            con.execute("create table t(n)")
            con.execute("insert into t values (?)", (n,))
            con.commit()
        def total():
            did("total")
            return con.execute("select sum(n) from t").fetchone()[0]
        # %% durable
        ctx.run("stage", stage, 2)
        out = ctx.run("total", total)
        """, ("stage, 2", "stage, 3"), runs="stage total", out=3),
    edit("none-step-that-shares-nothing", """
        def notify(text):
            did("notify")
        def load(n):
            did("load")
            return n
        # %% durable
        ctx.run("notify", notify, "begin")
        out = ctx.run("load", load, 1)
        """, ('"begin"', '"started"'), runs="notify", replays="load", out=1),
    edit("none-step-that-shares-a-tracked-value", """
        def notify(rows):
            did("notify")
            len(rows) > 3
        def total(rows):
            did("total")
            return sum(rows)
        # %% durable
        rows = [1, 2]
        ctx.run("notify", notify, rows)
        out = ctx.run("total", total, rows)
        """, ("len(rows) > 3", "len(rows) > 4"), runs="notify", replays="total", out=3),
    edit("writes-declared-for-two", """
        import sqlite3
        a, b, c = (sqlite3.connect(f"{name}.db") for name in "abc")
        # %%
        def put(a, b, n):
            did("put")
            for con in (a, b):
                con.execute("create table if not exists t(n)")
                con.execute("delete from t")
                con.execute("insert into t values (?)", (n,))
                con.commit()
            return "ok"
        def get(con, name):
            did(name)
            return con.execute("select sum(n) from t").fetchone()[0]
        def free(con):
            did("free")
            return con.execute("select 7").fetchone()[0]
        # %% durable
        ctx.run("put", put, a, b, 2, writes=[a, b])
        out = ctx.run("a", get, a, "a"), ctx.run("b", get, b, "b"), ctx.run("free", free, c)
        """, ("put, a, b, 2", "put, a, b, 3"), runs="put a b", replays="free", out=(3, 3, 7)),
]  # fmt: skip

PLACE = [
    unedited("fit-in-place-unedited", """
        from sklearn.linear_model import LinearRegression
        X, y = [[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0]
        # %%
        def fit(model, X, y):
            did("fit")
            model.fit(X, y)
        def predict(model, X):
            did("predict")
            return [round(float(p), 6) for p in model.predict(X)]
        # %% durable
        model = LinearRegression()
        ctx.run("fit", fit, model, X, y)
        out = ctx.run("predict", predict, model, [[3.0]])
        """, runs="fit", replays="predict", out=[6.0]),
    edit("fit-in-place-other-parameters", """
        from sklearn.linear_model import LinearRegression
        X, y = [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]
        # %%
        def fit(model, X, y):
            did("fit")
            model.fit(X, y)
        def predict(model, X):
            did("predict")
            return [round(float(p), 6) for p in model.predict(X)]
        # %% durable
        model = LinearRegression()
        ctx.run("fit", fit, model, X, y)
        out = ctx.run("predict", predict, model, [[3.0]])
        """, ("LinearRegression()\n", "LinearRegression(fit_intercept=False)\n"), runs="fit predict", out=[7.8]),
    unedited("fit-that-returns-the-model-unedited", """
        from sklearn.linear_model import LinearRegression
        X, y = [[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0]
        # %%
        def fit(model, X, y):
            did("fit")
            return model.fit(X, y)
        def predict(model, X):
            did("predict")
            return [round(float(p), 6) for p in model.predict(X)]
        # %% durable
        model = ctx.run("fit", fit, LinearRegression(), X, y)
        out = ctx.run("predict", predict, model, [[3.0]])
        """, replays="fit predict", out=[6.0]),
    edit("estimator-parameters", """
        from sklearn.linear_model import Ridge
        X, y = [[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0]
        # %%
        def fit(model, X, y):
            did("fit")
            return model.fit(X, y)
        def shape(X):
            did("shape")
            return len(X)
        # %% durable
        n = ctx.run("shape", shape, X)
        model = ctx.run("fit", fit, Ridge(alpha=0), X, y)
        out = n, round(float(model.coef_[0]), 6)
        """, ("alpha=0", "alpha=2"), runs="fit", replays="shape", out=(3, 1.0)),
    unedited("fit-method-as-the-step", """
        from sklearn.linear_model import LinearRegression
        X, y = [[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0]
        # %% durable
        model = ctx.run("fit", LinearRegression().fit, X, y)
        out = round(float(model.coef_[0]), 6)
        """, replays="fit", out=2.0, silent="fit"),
    edit("fit-method-as-the-step-other-data", """
        from sklearn.linear_model import LinearRegression
        X, y = [[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0]
        # %% durable
        model = ctx.run("fit", LinearRegression().fit, X, y)
        out = round(float(model.coef_[0]), 6)
        """, ("[0.0, 2.0, 4.0]", "[0.0, 3.0, 6.0]"), runs="fit", out=3.0, silent="fit"),
    unedited("inplace-true-unedited", """
        import pandas as pd
        def clean(df):
            did("clean")
            df.dropna(inplace=True)
        def total(df):
            did("total")
            return len(df), float(df.a.sum())
        # %% durable
        df = pd.DataFrame({"a": [1.0, None, 2.0]})
        ctx.run("clean", clean, df)
        out = ctx.run("total", total, df)
        """, runs="clean", replays="total", out=(2, 3.0)),
    edit("inplace-true", """
        import pandas as pd
        def clean(df):
            did("clean")
            df.fillna(0, inplace=True)
        def total(df):
            did("total")
            return len(df), float(df.a.sum())
        # %% durable
        df = pd.DataFrame({"a": [1.0, None, 2.0]})
        ctx.run("clean", clean, df)
        out = ctx.run("total", total, df)
        """, ("fillna(0", "fillna(5"), runs="clean total", out=(3, 8.0)),
    unedited("inplace-and-returned-unedited", """
        import pandas as pd
        def clean(df):
            did("clean")
            df.dropna(inplace=True)
            return df
        def total(df):
            did("total")
            return len(df), float(df.a.sum())
        # %% durable
        df = ctx.run("clean", clean, pd.DataFrame({"a": [1.0, None, 2.0]}))
        out = ctx.run("total", total, df)
        """, replays="clean total", out=(2, 3.0)),
    unedited("changed-input-inside-the-result", """
        def split(rows):
            did("split")
            rows.sort()
            return {"rows": rows, "n": len(rows)}
        # %% durable
        found = ctx.run("split", split, [3, 1, 2])
        out = found["rows"], found["n"]
        """, replays="split", out=([1, 2, 3], 3)),
    unedited("list-appended-to", """
        def add(rows, n):
            did("add")
            rows.append(n)
            return len(rows)
        def total(rows):
            did("total")
            return sum(rows)
        # %% durable
        rows = [1]
        n = ctx.run("add", add, rows, 2)
        out = n, ctx.run("total", total, rows)
        """, runs="add", replays="total", out=(2, 3)),
    unedited("object-changed-in-place", """
        class Counter:
            def __init__(self):
                self.n = 0
            def add(self, k):
                did("add")
                self.n += k
                return "done"
        def read(counter):
            did("read")
            return counter.n
        # %% durable
        counter = Counter()
        ctx.run("add", counter.add, 5)
        out = ctx.run("read", read, counter)
        """, runs="add", replays="read", out=5),
    unedited("array-changed-in-place", """
        import numpy as np
        def scale(xs):
            did("scale")
            xs *= 2
            return float(xs.max())
        def total(xs):
            did("total")
            return float(xs.sum())
        # %% durable
        xs = np.array([1.0, 2.0])
        top = ctx.run("scale", scale, xs)
        out = top, ctx.run("total", total, xs)
        """, runs="scale", replays="total", out=(4.0, 6.0)),
    unedited("global-list-filled-by-a-step", """
        seen = []
        def work(x):
            did("work")
            seen.append(x)
            return x * 2
        # %% durable
        seen.clear()
        y = ctx.run("work", work, 3)
        out = y, list(seen)
        """, runs="work", out=(6, [3])),
    unedited("memo-dict-helper", """
        cache = {}
        def square(x):
            if x not in cache:
                cache[x] = x * x
            return cache[x]
        # %%
        def load(x):
            did("load")
            return square(x)
        # %% durable
        out = [ctx.run("load", load, x) for x in (2, 3, 2)]
        """, replays="load load load", out=[4, 9, 4]),
    edit("memo-dict-helper-next-item", """
        cache = {}
        def square(x):
            if x not in cache:
                cache[x] = x * x
            return cache[x]
        # %%
        def load(x):
            did("load")
            return square(x)
        # %% durable
        out = [ctx.run("load", load, x) for x in (2, 3)]
        """, ("(2, 3)", "(4, 2, 3)"), runs="load", replays="load load", out=[16, 4, 9]),
    edit("memo-dict-helper-edited", """
        cache = {}
        def square(x):
            if x not in cache:
                cache[x] = x * x
            return cache[x]
        # %%
        def load(x):
            did("load")
            return square(x)
        # %% durable
        out = [ctx.run("load", load, x) for x in (2, 3)]
        """, ("x * x", "x * x * x"), runs="load load", out=[8, 27]),
]  # fmt: skip

ROWS = [*MODULES, *FILES, *EFFECTS, *PLACE]
