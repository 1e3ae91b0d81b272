"""Edits of the durable cell itself: which steps there are, in which order, and what becomes of their values."""

# ruff: noqa: E501  texts of cells

from __future__ import annotations

from edits.row import edit, unedited

CHAIN = """
def load(n):
    did("load")
    return list(range(n))

def clean(rows):
    did("clean")
    return [row for row in rows if row >= 0]

def total(rows):
    did("total")
    return sum(rows)

def report(x):
    did("report")
    return f"total {x}"

def double(rows):
    did("double")
    return [row * 2 for row in rows]

def count(rows):
    did("count")
    return len(rows)

def hello():
    did("hello")
    return 1

def shout(text):
    did("shout")
    return text.upper()

# %% durable
rows = ctx.run("load", load, 4)
rows = ctx.run("clean", clean, rows)
amount = ctx.run("total", total, rows)
out = ctx.run("report", report, amount)
"""

ORDER = [
    edit("step-inserted", CHAIN, ('amount = ctx.run("total"', 'rows = ctx.run("double", double, rows)\namount = ctx.run("total"'),
         runs="double total report", replays="load clean", out="total 12"),
    edit("step-inserted-beside", CHAIN, ('amount = ctx.run("total"', 'ctx.run("count", count, rows)\namount = ctx.run("total"'),
         runs="count", replays="load clean total report", out="total 6"),
    edit("step-inserted-at-the-top", CHAIN, ('rows = ctx.run("load"', 'ctx.run("hello", hello)\nrows = ctx.run("load"'),
         runs="hello", replays="load clean total report", out="total 6"),
    edit("step-appended", CHAIN, ('out = ctx.run("report", report, amount)', 'out = ctx.run("report", report, amount)\nout = ctx.run("shout", shout, out)'),
         runs="shout", replays="load clean total report", out="TOTAL 6"),
    edit("step-removed", CHAIN, ('rows = ctx.run("clean", clean, rows)\n', ""), replays="load total report", out="total 6"),
    edit("step-removed-and-undone", CHAIN, ('rows = ctx.run("clean", clean, rows)\n', ""), undo=True,
         replays="load clean total report", out="total 6"),
    edit("steps-reordered", """
        def a():
            did("a")
            return 1
        def b():
            did("b")
            return 2
        # %% durable
        x = ctx.run("a", a)
        y = ctx.run("b", b)
        out = x, y
        """, ('x = ctx.run("a", a)\ny = ctx.run("b", b)', 'y = ctx.run("b", b)\nx = ctx.run("a", a)'), replays="a b",
        out=(1, 2)),
    edit("step-duplicated", """
        def a(n):
            did("a")
            return n + 1
        # %% durable
        out = [ctx.run("a", a, 1)]
        """, ('[ctx.run("a", a, 1)]', '[ctx.run("a", a, 1), ctx.run("a", a, 1)]'), runs="a", replays="a", out=[2, 2]),
    edit("step-renamed", """
        def a(name):
            did(name)
            return 1
        def b(x):
            did("b")
            return x + 1
        # %% durable
        x = ctx.run("a", a, "a")
        out = ctx.run("b", b, x)
        """, ('x = ctx.run("a", a, "a")', 'x = ctx.run("first", a, "first")'), runs="first", replays="b", out=2),
    edit("variable-of-the-cell-renamed", CHAIN, ('rows = ctx.run("load", load, 4)\nrows = ctx.run("clean", clean, rows)',
         'orders = ctx.run("load", load, 4)\nrows = ctx.run("clean", clean, orders)'), replays="load clean total report",
         out="total 6"),
    edit("cell-reformatted", CHAIN, ('amount = ctx.run("total", total, rows)', '\n# the sum\namount = ctx.run(\n    "total",\n    total,\n    rows,\n)'),
         replays="load clean total report", out="total 6"),
    edit("cell's-own-code-between-steps", CHAIN, ("amount = ctx.run", "rows = rows[:3]\namount = ctx.run"),
         runs="total report", replays="load clean", out="total 3"),
    edit("cell's-own-code-at-the-end", CHAIN, ("report, amount)", "report, amount)\nout = out.upper()"),
         replays="load clean total report", out="TOTAL 6"),
    edit("first-line-moved-to-another-cell", """
        def load(path):
            did("load")
            return path.upper()
        # %% durable
        path = "a"
        out = ctx.run("load", load, path)
        """, ('# %% durable\npath = "a"\n', 'path = "a"\n# %% durable\n'), replays="load", out="A"),
    edit("definition-moved-into-the-durable-cell", """
        def load(n):
            did("load")
            return n
        # %% durable
        out = ctx.run("load", load, 1)
        """, after="""
        # %% durable
        def load(n):
            did("load")
            return n
        out = ctx.run("load", load, 1)
        """, replays="load", out=1),
]  # fmt: skip

WAVE = [
    edit("argument-changed", CHAIN, ("load, 4", "load, 5"), runs="load clean total report", out="total 10"),
    edit("wave-stops-at-an-equal-value", CHAIN, ("if row >= 0", "if row > -1"), runs="clean", replays="load total report",
         out="total 6"),
    edit("wave-stops-after-two", CHAIN, ("list(range(n))", "list(range(n)) + [-1]"), runs="load clean",
         replays="total report", out="total 6"),
    edit("wave-goes-on", CHAIN, ("if row >= 0", "if row > 1"), runs="clean total report", replays="load", out="total 5"),
    edit("last-step-edited", CHAIN, ("total {x}", "sum {x}"), runs="report", replays="load clean total", out="sum 6"),
    edit("one-side-of-a-diamond", """
        def load():
            did("load")
            return [3, 1]
        def left(rows):
            did("left")
            return min(rows)
        def right(rows):
            did("right")
            return max(rows)
        def join(a, b):
            did("join")
            return a, b
        # %% durable
        rows = ctx.run("load", load)
        a = ctx.run("left", left, rows)
        b = ctx.run("right", right, rows)
        out = ctx.run("join", join, a, b)
        """, ("max(rows)", "max(rows) * 2"), runs="right join", replays="load left", out=(1, 6)),
    edit("branch-of-the-cell-flipped", """
        FAST = True
        def load():
            did("load")
            return 1
        def quick(x):
            did("quick")
            return x
        def slow(x):
            did("slow")
            return x * 2
        # %% durable
        x = ctx.run("load", load)
        if FAST:
            out = ctx.run("quick", quick, x)
        else:
            out = ctx.run("slow", slow, x)
        """, ("FAST = True", "FAST = False"), runs="slow", replays="load", out=2),
    edit("branch-flipped-and-back", """
        FAST = True
        def quick(x):
            did("quick")
            return x
        def slow(x):
            did("slow")
            return x * 2
        # %% durable
        out = ctx.run("quick", quick, 1) if FAST else ctx.run("slow", slow, 1)
        """, ("FAST = True", "FAST = False"), undo=True, replays="quick", out=1),
    edit("earlier-step-now-gives-what-it-gave-long-ago", """
        def load(n):
            did("load")
            return n % 2
        def use(x):
            did("use")
            return x + 10
        # %% durable
        out = ctx.run("use", use, ctx.run("load", load, 1))
        """, ("load, 1", "load, 3"), runs="load", replays="use", out=11),
]  # fmt: skip

LOOP = """
def fetch(n):
    did("fetch")
    return n * 10

# %%
ITEMS = [1, 2, 3]

# %% durable
out = [ctx.run("fetch", fetch, n) for n in ITEMS]
"""

LOOPS = [
    edit("loop-item-appended", LOOP, ("[1, 2, 3]", "[1, 2, 3, 4]"), runs="fetch", replays="fetch " * 3,
         out=[10, 20, 30, 40]),
    edit("loop-item-inserted", LOOP, ("[1, 2, 3]", "[1, 5, 2, 3]"), runs="fetch", replays="fetch " * 3,
         out=[10, 50, 20, 30]),
    edit("loop-item-inserted-at-the-front", LOOP, ("[1, 2, 3]", "[5, 1, 2, 3]"), runs="fetch", replays="fetch " * 3,
         out=[50, 10, 20, 30]),
    edit("loop-item-removed", LOOP, ("[1, 2, 3]", "[1, 3]"), replays="fetch " * 2, out=[10, 30]),
    edit("loop-items-reordered", LOOP, ("[1, 2, 3]", "[3, 1, 2]"), replays="fetch " * 3, out=[30, 10, 20]),
    edit("loop-item-changed", LOOP, ("[1, 2, 3]", "[1, 7, 3]"), runs="fetch", replays="fetch " * 2, out=[10, 70, 30]),
    edit("loop-item-repeated", LOOP, ("[1, 2, 3]", "[1, 2, 2, 3]"), runs="fetch", replays="fetch " * 3,
         out=[10, 20, 20, 30]),
    edit("loop-emptied", LOOP, ("[1, 2, 3]", "[]"), out=[]),
    edit("loop-turned-round-and-back", LOOP, ("[1, 2, 3]", "[3, 2, 1]"), undo=True, replays="fetch " * 3, out=[10, 20, 30]),
    edit("loop-body", LOOP, ("n * 10", "n * 100"), runs="fetch " * 3, out=[100, 200, 300]),
    edit("equal-calls-keep-their-order", """
        ticks = iter(range(5, 99))
        def draw():
            did("draw")
            return 0
        # %% durable
        seen = [ctx.run("draw", lambda: (did("draw"), next(ticks))[1], ignore=["ticks"]) for _ in range(3)]
        out = seen == sorted(seen), len(seen)
        """, ("range(3)", "range(2)"), replays="draw draw", out=(True, 2)),
    edit("loop-of-two-steps", """
        def fetch(n):
            did("fetch")
            return n * 10
        def score(x):
            did("score")
            return x + 1
        # %% durable
        out = []
        for n in (1, 2):
            x = ctx.run("fetch", fetch, n)
            out.append(ctx.run("score", score, x))
        """, ("x + 1", "x + 2"), runs="score score", replays="fetch fetch", out=[12, 22]),
    edit("loop-over-a-dict-reordered", """
        def fetch(name, n):
            did("fetch")
            return f"{name}{n}"
        # %% durable
        out = {k: ctx.run("fetch", fetch, k, v) for k, v in {"a": 1, "b": 2}.items()}
        """, ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'), replays="fetch fetch", out={"b": "b2", "a": "a1"}),
    edit("names-made-in-a-loop", """
        def fetch(n):
            did(f"fetch-{n}")
            return n * 10
        # %% durable
        out = [ctx.run(f"fetch-{n}", fetch, n) for n in (1, 2)]
        """, ("(1, 2)", "(2, 3)"), runs="fetch-3", replays="fetch-2", out=[20, 30]),
    edit("accumulator", """
        def add(total, n):
            did("add")
            return total + n
        # %% durable
        out = 0
        for n in [1, 2, 3]:
            out = ctx.run("add", add, out, n)
        """, ("[1, 2, 3]", "[1, 5, 3]"), runs="add add", replays="add", out=9),
    edit("while-loop", """
        def grow(x):
            did("grow")
            return x * 2
        # %% durable
        x = 1
        while x < 8:
            x = ctx.run("grow", grow, x)
        out = x
        """, ("x < 8", "x < 20"), runs="grow grow", replays="grow grow grow", out=32),
    edit("helper-takes-ctx", """
        def fetch(n):
            did("fetch")
            return n * 10
        def pipeline(ctx, items):
            return [ctx.run("fetch", fetch, n) for n in items]
        # %% durable
        out = pipeline(ctx, [1, 2])
        """, ("[1, 2])", "[2, 3])"), runs="fetch", replays="fetch", out=[20, 30], flip=False),
]  # fmt: skip

ERRORS = [
    edit("failed-step-mended", """
        def load():
            did("load")
            return {"a": 1}
        def pick(row):
            did("pick")
            return row["b"]
        # %% durable
        row = ctx.run("load", load)
        out = ctx.run("pick", pick, row)
        """, ('row["b"]', 'row["a"]'), runs="pick", replays="load", out=1, error_before="KeyError"),
    edit("failed-helper-mended", """
        def ratio(x):
            return 1 / x
        # %%
        def load():
            did("load")
            return 0
        def pick(x):
            did("pick")
            return ratio(x)
        # %% durable
        x = ctx.run("load", load)
        out = ctx.run("pick", pick, x)
        """, ("1 / x", "1 / (x or 1)"), runs="pick", replays="load", out=1.0, error_before="ZeroDivisionError"),
    edit("missing-name-mended", """
        def load():
            did("load")
            return 2
        def pick(x):
            did("pick")
            return x * FACTOR
        # %% durable
        x = ctx.run("load", load)
        out = ctx.run("pick", pick, x)
        """, ("def load", "FACTOR = 5\ndef load"), runs="pick", replays="load", out=10, error_before="NameError"),
    edit("error-in-the-cell-mended", """
        def load():
            did("load")
            return [1, 2]
        # %% durable
        rows = ctx.run("load", load)
        out = rows[5]
        """, ("rows[5]", "rows[1]"), replays="load", out=2, error_before="IndexError"),
    edit("caught-terminal-error-replays", """
        from notebook_durable import TerminalError
        def load():
            did("load")
            raise TerminalError("gone")
        def other():
            did("other")
            return 5
        # %% durable
        try:
            out = ctx.run("load", load)
        except TerminalError:
            out = 1
        out = out, ctx.run("other", other)
        """, ("return 5", "return 6"), runs="other", replays="load", out=(1, 6)),
    edit("caught-terminal-error-mended", """
        from notebook_durable import TerminalError
        def load():
            did("load")
            raise TerminalError("gone")
        def other():
            did("other")
            return 5
        # %% durable
        y = ctx.run("other", other)
        try:
            out = ctx.run("load", load)
        except TerminalError:
            out = 1
        out = out, y
        """, ('raise TerminalError("gone")', "return 2"), runs="load", replays="other", out=(2, 5)),
    edit("step-now-fails", """
        def load():
            did("load")
            return 1
        def use(x):
            did("use")
            return x + 1
        # %% durable
        out = -1
        x = ctx.run("load", load)
        out = ctx.run("use", use, x)
        """, ("x + 1", "x + None"), runs="use", replays="load", out=-1, error_after="TypeError"),
    edit("fix-of-an-edit-that-failed", """
        def load():
            did("load")
            return 1
        def use(x):
            did("use")
            return x + 1
        # %% durable
        x = ctx.run("load", load)
        out = ctx.run("use", use, x)
        """, ("x + 1", "x + None"), undo=True, replays="load use", out=2, error_after="TypeError"),
    edit("at-most-once-edited", """
        def pay(amount):
            did("pay")
            return f"paid {amount}"
        # %% durable
        out = ctx.run("pay", pay, 5, at_most_once=True)
        """, ("paid {amount}", "sent {amount}"), runs="pay", out="sent 5"),
    unedited("at-most-once-unedited", """
        def pay(amount):
            did("pay")
            return f"paid {amount}"
        # %% durable
        out = ctx.run("pay", pay, 5, at_most_once=True)
        """, replays="pay", out="paid 5"),
]  # fmt: skip

ROWS = [*ORDER, *WAVE, *LOOPS, *ERRORS]
