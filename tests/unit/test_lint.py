"""The lint: which calls of a cell are named, with the user's own line, and which are left alone."""

from __future__ import annotations

import builtins
import datetime as datetime_module
import pathlib
import random
import time
import uuid
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from notebook_durable.ipython import lint
from notebook_durable.ipython.cell import Cell
from notebook_durable.ipython.output import LiveOutput
from notebook_durable.model import RunId

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")


def refuse(_text: str) -> str:
    raise AssertionError("the cell has no magics")


def transform(text: str) -> str:
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(text)


NAMESPACE: dict[str, Any] = {
    "np": np,
    "pd": pd,
    "pl": pl,
    "time": time,
    "random": random,
    "uuid": uuid,
    "datetime": datetime_module.datetime,
    "date": datetime_module.date,
    "Path": pathlib.Path,
}


def named(body: str, namespace: dict[str, Any] | None = None, transform: Any = refuse) -> list[str]:
    """The findings of a cell, as "call line"; the ``%%durable`` line is line 1."""
    found = lint.look(f"%%durable x\n{body}", NAMESPACE if namespace is None else namespace, transform)
    return [f"{one.call} {one.line}" for one in found]


@pytest.mark.parametrize(
    "call",
    [
        "time.time()", "time.time_ns()", "time.localtime()", "datetime.now()", "datetime.utcnow()", "datetime.today()",
        "date.today()", "pd.Timestamp.now()", "random.random()", "random.choice([1, 2])", "np.random.rand(3)",
        "np.random.default_rng()", "np.random.default_rng(None)", "np.random.default_rng(seed=None)", "random.Random()",
        "np.random.RandomState()", "uuid.uuid1()", "uuid.uuid4()", "open('a.csv')", "open('a.csv', 'rb')",
        "open('a.csv', mode='r')", "pd.read_csv('a.csv')", "pd.read_parquet(path)", "pd.read_sql(query, engine)",
        "pl.read_csv('a.csv')", "pl.scan_parquet('a')", "np.load('a.npy')", "np.loadtxt('a')",
        "Path('a').read_text()", "Path('a').read_bytes()", "Path('a').open()",
    ],
)  # fmt: skip
def test_what_is_named(call):
    """Clocks, chance and reads, wherever in a statement the cell makes the call."""
    written = call.partition("(")[0] if not call.startswith("Path(") else "Path()" + call[call.index(").") + 1 :][:-2]
    for form in ("{}", "x = [1, {}]", "print(f'{{{}!r:>9}}')", "for _ in range(3):\n    y = {}"):
        body = form.format(call.replace("'", '"'))
        assert named(body) == [f"{written}() {body.count(chr(10)) + 2}"]


@pytest.mark.parametrize(
    "body",
    [
        "import os\nos.urandom(8)",
        "from os import urandom as noise\nnoise(8)",
        "import secrets\nsecrets.token_hex()",
        "from secrets import token_hex\ntoken_hex()",
        "from datetime import datetime as dt\ndt.now()",
        "import datetime as d\nd.datetime.now()",
        "import numpy.random as nr\nnr.normal()",
        "from numpy import random as nr\nnr.normal()",
        "from time import time as clock\nclock()",
        "from time import *\ntime()",
        "from os import *  # all\nurandom(8)",
        "now = datetime.now\nnow()",
        "import requests\nrequests.get(url).json()",
        "import requests as rq\nrq.post(url, json={})",
        "import requests; session = requests.Session()\nsession.get(url)",
        "import httpx\nawait httpx.AsyncClient().get(url)",
        "import httpx; client = httpx.Client()\nclient.stream('GET', url)",
        "import urllib.request\nurllib.request.urlopen(url)",
        "from urllib.request import urlopen\nurlopen(url)",
        "import gzip\ngzip.open('a.gz')",
        "from io import open\nopen('a')",
        "\nfor file in sorted(Path('a').glob('*')): file.read_text()",
        "\n[file.read_bytes() for file in Path('a').iterdir()]",
        "here = Path('a')\n(here / 'b').read_text()",
        "import pathlib as p\np.Path.cwd().parent.joinpath('a').read_text()",
    ],
)
def test_other_names_are_followed(body):
    """Imports under other names, plain assignments, sessions and paths: the last line is named, and only that."""
    found = named(body)
    assert [one.rpartition(" ")[2] for one in found] == ["3"]


def test_names_of_other_cells_are_looked_up():
    """What the cell doesn't bind is what it is in the namespace: module or class, whatever its name."""
    assert named("datetime.datetime.now()", {"datetime": datetime_module}) == ["datetime.datetime.now() 2"]
    assert named("datetime.now()", {"datetime": datetime_module}) == []
    assert named("d.now()", {"d": datetime_module.datetime}) == ["d.now() 2"]
    assert named("clock()", {"clock": time.time}) == ["clock() 2"]
    assert named("moment()", {"moment": datetime_module.datetime.now}) == ["moment() 2"]
    assert named("dice(1, 6)", {"dice": random.randint}) == ["dice(1, 6)".partition("(")[0] + "() 2"]
    assert named("noise(3)", {"noise": np.random.rand}) == ["noise() 2"]
    assert named("r.choice(x)", {"r": random}) == ["r.choice() 2"]
    assert named("load('a')", {"load": pd.read_csv}) == ["load() 2"]
    assert named("folder.joinpath('a').read_text()", {"folder": pathlib.Path("a")}) == [
        "folder.joinpath().read_text() 2"
    ]
    assert named("rng.normal()", {"rng": np.random.default_rng(1)}) == ["rng.normal() 2"]


@pytest.mark.parametrize(
    "body",
    [
        "ctx.run('load', pd.read_csv, 'a.csv')",
        "ctx.run('now', lambda: datetime.now())",
        "ctx.run('now', time.time)",
        "def load(path):\n    return open(path).read()\nctx.run('load', load, 'a')",
        "async def load(path):\n    return pd.read_csv(path)\nawait ctx.run('load', load, 'a')",
        "class Loader:\n    def load(self):\n        return time.time()",
        "open('a.csv', 'w').write('x')",
        "open('a.csv', mode='a')",
        "Path('a').open('w')",
        "Path('a').write_text('x')",
        "random.Random(0).random()",
        "rng = np.random.default_rng(42)\nrng.normal()",
        "np.random.RandomState(seed=7).rand(2)",
        "random.seed(1)\nrandom.random()",
        "np.random.seed(0)\nnp.random.rand(2)",
        "time.sleep(1); time.perf_counter(); time.strftime('%Y', when)",
        "datetime(2024, 1, 1); datetime.strptime(text, '%Y'); datetime.fromisoformat(text)",
        "uuid.UUID(text); uuid.uuid5(uuid.NAMESPACE_URL, 'a')",
        "import io\npd.read_csv(io.StringIO(text))",
        "import io\nbuffer = io.BytesIO(data)\npd.read_parquet(buffer)",
        "import requests\nsession = requests.Session()\nrequests.Request('GET', url)",
        "open_orders(); read_csv(); orders.open(); shop.random(); user.now()",
        "from mine import now, open, read_csv\nnow(); open('a'); read_csv('a')",
        "from .time import time\ntime()",
        "def open(path): ...\nopen('a')",
        "for time in times:\n    time.time()",
        "with thing as random:\n    random.choice([1])",
        "[time.time() for time in clocks]",
        "match x:\n    case [time, *random]:\n        time.time(), random.choice([])",
        "text = 'datetime.now()'  # time.time()",
    ],
)
def test_what_is_left_alone(body):
    """What a step does, what is seeded, what writes, and names that are the user's own."""
    assert named(body) == []


def test_users_own_names_win():
    """Functions and objects of the user's with such names, from other cells."""
    mine = {
        "open": lambda path: path,
        "time": SimpleNamespace(time=lambda: 1),
        "read_csv": lambda path: path,
        "pd": object(),
        "now": lambda: 3,
    }
    assert named("open('a'); time.time(); read_csv('a'); pd.read_csv('a'); now()", mine) == []
    assert named("open('a')", {}) == ["open() 2"]
    assert named("open('a')", {"open": builtins.open}) == ["open() 2"]
    from IPython.core.interactiveshell import _modified_open

    assert named("open('a')", {"open": _modified_open}) == ["open() 2"]


def test_arguments_of_a_step_are_the_trap():
    """A value among a step's arguments is computed by the cell, on each replay."""
    assert named("ctx.run('x', f, time.time())") == ["time.time() 2"]
    assert named("ctx.run('x',\n  f,\n  at=[datetime\n    .now()])") == ["datetime.now() 5"]
    assert named("ctx.run('x', lambda t=time.time(): t)") == ["time.time() 2"]
    assert named("def f(t=time.time()): ...") == ["time.time() 2"]


def test_order_counts():
    """A seed helps what comes after it; a name means what it means at that line."""
    assert named("random.random()\nrandom.seed(1)\nrandom.random()") == ["random.random() 2"]
    assert named("random.seed()\nrandom.random()") == ["random.random() 3"]
    assert named("random.seed(1)\nnp.random.rand()") == ["np.random.rand() 3"]
    assert named("open('a')\nopen = mine\nopen('b')") == ["open() 2"]
    assert named("[t for time in clocks]\ntime.time()") == ["time.time() 3"]
    assert named("class A:\n    time = 1\ntime.time()") == ["time.time() 4"]


def test_silenced():
    """``# durable: ok`` on the call's line, or alone above it, and nowhere else."""
    assert named("time.time()  # durable: ok, only printed") == []
    assert named("# durable: ok\ntime.time()") == []
    assert named("x = 1  # durable: ok\ntime.time()") == ["time.time() 3"]
    assert named("pd.read_csv(  # the small one\n    'a.csv',\n)  # durable: ok\ntime.time()") == ["time.time() 5"]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("%%durable x\n%matplotlib inline\n\ndatetime.now()", ["datetime.now() 4"]),
        ("%%durable x\n\n\n!ls \\\n  -l \\\n  -a\ndatetime.now()", ["datetime.now() 7"]),
        ("%%durable x\nfiles = !ls\ntime.time()\nlen?", ["time.time() 3"]),
        ("%%durable x\nif 1:\n    %cd \\\n    ..\n    time.time()\ntime.time()", ["time.time() 5", "time.time() 6"]),
        ("%%durable x\n%time frame = pd.read_csv('a')", ["pd.read_csv() 2"]),
        ("%%durable x\n\n%%time\ntime.time()", ["time.time() 4"]),
        ("%%durable x\n%%time\n%cd ..\ntime.time()", ["time.time() 4"]),
        ("%%durable x\n%%bash\ntime.time()", []),
        ("\n\n%%time\n%%durable x\ntime.time()", ["time.time() 5"]),
        ("%%durable x\n>>> a = 1\n>>> time.time()", ["time.time() 3"]),
        ("%%durable x\n    a = 1\n    time.time()", ["time.time() 3"]),
        ("%%durable x\n!echo 'time()'\nx = get_ipython() \\\n  .magic\ntime.time()", ["time.time() 5"]),
        ("%%durable x", []),
        ("%%durable x\n\n", []),
    ],
)
def test_magics_and_lines(cell, found):
    """IPython's own syntax is understood, and lines are those that the user counts."""
    assert [f"{one.call} {one.line}" for one in lint.look(cell, NAMESPACE, transform)] == found


def test_in_words():
    """The issue's words; equal calls are one line, and there are a few lines at most."""
    found = lint.look(
        "%%durable x\ndatetime.now()\npd.read_csv('a')\ndatetime.now()\ndatetime.now()", NAMESPACE, refuse
    )
    assert lint.sentences(found) == (
        "`datetime.now()` at line 2 (and 2 more) changes on each replay; put it in a step",
        "`pd.read_csv()` at line 3 reads again on each replay; put it in a step",
    )
    many = lint.look("%%durable x\n" + "\n".join(f"random.{n}()" for n in "abcdefg"), NAMESPACE, refuse)
    assert len(lint.sentences(many)) == 4
    assert lint.sentences(many)[-1] == "and 4 more such calls"
    assert len(lint.sentences(many[:4])) == 4
    assert "more" not in lint.sentences(many[:4])[-1]
    assert lint.sentences([]) == ()


def test_what_is_sent_is_said_as_such():
    """A request that changes something there is no mere read."""
    found = lint.look("%%durable x\nimport requests\nrequests.post(url)\nrequests.get(url)", {}, refuse)
    assert [one.effect for one in found] == ["sends again", "reads again"]


def test_nothing_of_the_users_is_called():
    """Objects whose every attribute raises are looked at by type only; no warning is given twice."""

    class Wild:
        def __getattribute__(self, name):
            raise RuntimeError(name)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert named("wild.now(); wild('\\d'); time.time()", {"wild": Wild(), "time": time}) == ["time.time() 2"]


def test_most_cells_are_not_even_parsed(monkeypatch):
    """What makes it cheap: a cell without a word that matters costs a look at its words."""
    monkeypatch.setattr(lint, "parse", refuse)
    assert named("rows = ctx.run('load', load, 'a')\nrows.head(); orders.get(3); time.sleep(1)") == []
    with pytest.raises(AssertionError):
        named("time.time()")


def test_only_what_matters_is_parsed(monkeypatch):
    """Statements that can neither hold such a call nor bind a name in one are left out, lines kept."""
    texts = []
    real = lint.parse
    monkeypatch.setattr(lint, "parse", lambda text: texts.append(text) or real(text))
    cell = "rows = fetch('a')\nif rows:\n    time = 3\nelse:\n    pass\nshow(\n  rows)\ntime.time()"
    assert named(cell) == []
    assert texts[-1].splitlines() == ["", *cell.splitlines()[1:5], "", "", "time.time()"]


STATEMENTS = [
    "x = 1", "time = mine", "import time", "now = datetime.now", "now()", "p = q / 'b'", "q = Path('a')",
    "p.read_text()", "(q / 'c').read_bytes()", "for p in q.glob('*'):\n    p.read_text()", "random.seed(1)",
    "random.random()", "r = random", "r.choice(x)", "def now():\n    return 3", "x = [\ntime.time(),\n1]",
    "y = (1,  # c\n  time.time())", "if x:\n    time.time()\nelse:\n    open('a')", "@deco\ndef f(t=time.time()): pass",
    "ctx.run('a', f, datetime.now())", "datetime = 3", "from datetime import datetime", "class time: pass",
    "with open('a') as p: p.read_text()", "pd = my", "pd.read_csv('a')", "rng = np.random", "rng.rand()", "open = now",
    "open('b')", "z = x + \\\n  time.time()", "(q\n).read_text()", "a = b = q", "b.read_text()", "x, p = 1, 2",
    "s = \"\"\"\ntime.time()\n\"\"\"", "from time import *", "time()", "# time.time()", "",
]  # fmt: skip


def test_parsing_some_finds_what_parsing_all_does(monkeypatch):
    """On two thousand random cells."""
    chance = random.Random(1)
    found = 0
    for _ in range(2000):
        body = "\n".join(chance.choices(STATEMENTS, k=chance.randint(1, 9)))
        some = named(body)
        with monkeypatch.context() as patched:
            patched.setattr(lint, "_walk_some", lambda *_: None)
            assert named(body) == some, body
        found += len(some)
    assert found > 1000


class Publisher:
    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def publish(self, data, metadata=None, *, transient=None, update=False, **_):
        self.shown.append(data)


def watched(monkeypatch, look: Any) -> tuple[LiveOutput, Publisher]:
    """A cell's output after the cell was begun."""
    monkeypatch.setattr(lint, "look_at_running_cell", look)
    pub = Publisher()
    shell = SimpleNamespace(kernel=object(), display_pub=pub)
    output = LiveOutput(shell, RunId("churn", ""))
    Cell(shell, asynchronous=False).watch(output)
    output.finish()
    return output, pub


def test_the_panel_says_it(monkeypatch):
    """As text, as HTML and as data, before any step."""
    output, pub = watched(monkeypatch, lambda _shell: [lint.Finding("pd.read_csv()", 3, "reads again")])
    line = "`pd.read_csv()` at line 3 reads again on each replay; put it in a step"
    assert output.panel.notes == (line,)
    assert pub.shown[0]["text/plain"].splitlines() == ["durable churn: no steps", f"  ⚑ {line}"]
    assert "<code>pd.read_csv()</code> at line 3 reads again" in pub.shown[0]["text/html"]


def test_a_clean_cell_shows_nothing(monkeypatch):
    """No finding, no display."""
    output, pub = watched(monkeypatch, lambda _shell: [])
    assert output.panel.notes == ()
    assert pub.shown == []


def test_a_lint_that_fails_is_nobodys_business(monkeypatch):
    """The cell goes on, without a word."""

    def broken(_shell):
        raise RecursionError("too deep")

    output, pub = watched(monkeypatch, broken)
    assert output.panel.notes == ()
    assert pub.shown == []


def test_switched_off():
    """With the setting ``Durable.lint`` the cell isn't looked at."""
    Durable = type("Durable", (), {"lint": False})
    assert lint.look_at_running_cell(SimpleNamespace(configurables=[Durable()])) == []
