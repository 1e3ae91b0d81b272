# ruff: noqa: E501  texts of functions, before and after, one below the other
"""Code as digests: what a function reaches counts, how its text looks doesn't."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import linecache
import math
import runpy
import subprocess
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np  # noqa: TID253
import pandas as pd  # noqa: TID253
import pytest
from blake3 import blake3  # noqa: TID253

from notebook_durable.engine.fingerprint import syntax
from notebook_durable.engine.fingerprint.code import Codes, Part
from notebook_durable.engine.fingerprint.content import Contents

_numbers = itertools.count(1)


class Notebook:
    """Cells as IPython runs them: each with a name of its own in linecache, in one namespace."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def cell(self, text: str) -> Notebook:
        text = dedent(text)
        name = f"/tmp/ipykernel_1/{next(_numbers)}.py"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        exec(compile(text, name, "exec", dont_inherit=True), self.names)
        return self

    def __getitem__(self, name: str) -> Any:
        return self.names[name]


def fingerprint(codes: Codes, fn: Any) -> tuple[Any, ...]:
    """All that counts of a function: as the describer puts it together."""
    reach = codes.reach(fn)
    contents = Contents(blake3, codes)
    return reach.digest, tuple(sorted((label, contents.digest(value).digest) for label, value in reach.values()))


def of(*cells: str, fn: str = "f") -> tuple[Any, ...]:
    notebook = Notebook()
    for cell in cells:
        notebook.cell(cell)
    return fingerprint(Codes(blake3), notebook[fn])


@pytest.fixture
def codes() -> Codes:
    return Codes(blake3)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """A folder of the user's own modules on sys.path."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        importlib.invalidate_caches()
        return path

    yield write
    from notebook_durable.engine.fingerprint import origin

    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)) or name.startswith("space"):
            del sys.modules[name]
            origin._known_modules.pop(name, None)


BASE = """
    K = 3
    def f(a, b=2):
        return g(a) + b
    def g(x):
        return x * K
"""

EDITS: dict[str, tuple[str, str]] = {
    "constant": ("def f(): return 1", "def f(): return 2"),
    "constant_type": ("def f(): return 1", "def f(): return 1.0"),
    "operator": ("def f(a): return a + 1", "def f(a): return a - 1"),
    "default": ("def f(a=1): return a", "def f(a=2): return a"),
    "keyword_default": ("def f(*, a=1): return a", "def f(*, a=2): return a"),
    "default_value": ("K = 1\ndef f(a=K): return a", "K = 2\ndef f(a=K): return a"),
    "name": ("def f(a, b): return a", "def f(a, b): return b"),
    "call": ("def f(a): return len(a)", "def f(a): return max(a)"),
    "annotation": ("def f(a: int): return a", "def f(a: float): return a"),
    "return_annotation": ("def f(a) -> int: return a", "def f(a): return a"),
    "decorator": (
        "import functools\n@functools.lru_cache\ndef f(a): return a",
        "import functools\n@functools.lru_cache(3)\ndef f(a): return a",
    ),
    "helper": (BASE, BASE.replace("x * K", "x + K")),
    "helper_of_helper": ("def h(): return 1\ndef g(): return h()\ndef f(): return g()",
                         "def h(): return 2\ndef g(): return h()\ndef f(): return g()"),
    "global": (BASE, BASE.replace("K = 3", "K = 4")),
    "global_in_comprehension": ("K = 1\ndef f(): return [K for _ in 'ab']", "K = 2\ndef f(): return [K for _ in 'ab']"),
    "global_in_lambda": ("K = 1\ndef f(): return lambda: K", "K = 2\ndef f(): return lambda: K"),
    "nested_function": ("def f():\n def g(): return 1\n return g()", "def f():\n def g(): return 2\n return g()"),
    "nested_class": ("def f():\n class A: x = 1\n return A", "def f():\n class A: x = 2\n return A"),
    "closure": ("def make(n):\n def f(): return n\n return f\nf = make(1)",
                "def make(n):\n def f(): return n\n return f\nf = make(2)"),
    "closure_code": ("def make(n):\n def f(): return n()\n return f\nf = make(lambda: 1)",
                     "def make(n):\n def f(): return n()\n return f\nf = make(lambda: 2)"),
    "user_decorator": (
        "def d(fn):\n def w(*a): return fn(*a) + 1\n return w\n@d\ndef f(a): return a",
        "def d(fn):\n def w(*a): return fn(*a) + 2\n return w\n@d\ndef f(a): return a",
    ),
    "user_decorator_with_wraps": (
        "import functools\ndef d(fn):\n @functools.wraps(fn)\n def w(*a): return fn(*a) + 1\n return w\n@d\ndef f(a): return a",
        "import functools\ndef d(fn):\n @functools.wraps(fn)\n def w(*a): return fn(*a) + 2\n return w\n@d\ndef f(a): return a",
    ),
    "decorated": (
        "import functools\ndef d(fn):\n @functools.wraps(fn)\n def w(*a): return fn(*a)\n return w\n@d\ndef f(a): return a",
        "import functools\ndef d(fn):\n @functools.wraps(fn)\n def w(*a): return fn(*a)\n return w\n@d\ndef f(a): return -a",
    ),
    "decorator_argument": (
        "N = 1\ndef d(n):\n def o(fn):\n  def w(): return fn() * n\n  return w\n return o\n@d(N)\ndef f(): return 1",
        "N = 2\ndef d(n):\n def o(fn):\n  def w(): return fn() * n\n  return w\n return o\n@d(N)\ndef f(): return 1",
    ),
    "library_decorator": (
        "import contextlib\n@contextlib.contextmanager\ndef g(): yield 1\ndef f():\n with g() as x: return x",
        "import contextlib\n@contextlib.contextmanager\ndef g(): yield 2\ndef f():\n with g() as x: return x",
    ),
    "partial_argument": ("from functools import partial\ndef g(a): return a\nh = partial(g, 1)\ndef f(): return h()",
                         "from functools import partial\ndef g(a): return a\nh = partial(g, 2)\ndef f(): return h()"),
    "partial_function": ("from functools import partial\ndef g(a): return a\nh = partial(g, 1)\ndef f(): return h()",
                         "from functools import partial\ndef g(a): return -a\nh = partial(g, 1)\ndef f(): return h()"),
    "partial_of_code": ("from functools import partial\nh = partial(map, lambda x: x)\ndef f(): return h([1])",
                        "from functools import partial\nh = partial(map, lambda x: -x)\ndef f(): return h([1])"),
    "lru_cache": ("import functools\n@functools.cache\ndef g(): return 1\ndef f(): return g()",
                  "import functools\n@functools.cache\ndef g(): return 2\ndef f(): return g()"),
    "singledispatch": (
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 0\n@g.register\ndef _(x: int): return 1\ndef f(x): return g(x)",
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 0\n@g.register\ndef _(x: int): return 2\ndef f(x): return g(x)",
    ),
    "singledispatch_type": (
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 0\n@g.register(int)\ndef _(x): return 1\ndef f(x): return g(x)",
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 0\n@g.register(str)\ndef _(x): return 1\ndef f(x): return g(x)",
    ),
    "method": ("class A:\n def m(self): return 1\ndef f(): return A().m()", "class A:\n def m(self): return 2\ndef f(): return A().m()"),
    "class_attribute": ("class A:\n x = 1\ndef f(): return A.x", "class A:\n x = 2\ndef f(): return A.x"),
    "static": ("class A:\n @staticmethod\n def m(): return 1\ndef f(): return A.m()",
               "class A:\n @staticmethod\n def m(): return 2\ndef f(): return A.m()"),
    "static_or_class": ("class A:\n @staticmethod\n def m(x=1): return x\ndef f(): return A.m()",
                        "class A:\n @classmethod\n def m(x=1): return x\ndef f(): return A.m()"),
    "classmethod": ("class A:\n @classmethod\n def m(cls): return 1\ndef f(): return A.m()",
                    "class A:\n @classmethod\n def m(cls): return 2\ndef f(): return A.m()"),
    "property": ("class A:\n @property\n def m(self): return 1\ndef f(): return A().m",
                 "class A:\n @property\n def m(self): return 2\ndef f(): return A().m"),
    "setter": (
        "class A:\n @property\n def m(self): return 1\n @m.setter\n def m(self, v): self.v = 1\ndef f(): return A()",
        "class A:\n @property\n def m(self): return 1\n @m.setter\n def m(self, v): self.v = 2\ndef f(): return A()",
    ),
    "cached_property": (
        "import functools\nclass A:\n @functools.cached_property\n def m(self): return 1\ndef f(): return A().m",
        "import functools\nclass A:\n @functools.cached_property\n def m(self): return 2\ndef f(): return A().m",
    ),
    "partialmethod": (
        "import functools\nclass A:\n def m(self, x): return x\n n = functools.partialmethod(m, 1)\ndef f(): return A().n()",
        "import functools\nclass A:\n def m(self, x): return x\n n = functools.partialmethod(m, 2)\ndef f(): return A().n()",
    ),
    "base_class": ("class B:\n def m(self): return 1\nclass A(B): pass\ndef f(): return A().m()",
                   "class B:\n def m(self): return 2\nclass A(B): pass\ndef f(): return A().m()"),
    "other_base": ("class A(dict): pass\ndef f(): return A()", "class A(list): pass\ndef f(): return A()"),
    "metaclass": ("class M(type):\n def __call__(c): return 1\nclass A(metaclass=M): pass\ndef f(): return A()",
                  "class M(type):\n def __call__(c): return 2\nclass A(metaclass=M): pass\ndef f(): return A()"),
    "class_decorator": (
        "from functools import total_ordering\n@total_ordering\nclass A:\n def __lt__(self, o): return True\ndef f(): return A()",
        "from functools import total_ordering\nclass A:\n def __lt__(self, o): return True\ndef f(): return A()",
    ),
    "user_class_decorator": ("def d(c):\n c.x = 1\n return c\n@d\nclass A: pass\ndef f(): return A()",
                             "def d(c):\n c.x = 2\n return c\n@d\nclass A: pass\ndef f(): return A()"),
    "swapped_members": ("def a(s): return 1\ndef b(s): return 2\nclass A:\n x = a\n y = b\ndef f(): return A()",
                        "def a(s): return 1\ndef b(s): return 2\nclass A:\n x = b\n y = a\ndef f(): return A()"),
    "swapped_helpers": ("def a(): return 1\ndef b(): return 2\nx = a\ny = b\ndef f(): return x() - y()",
                        "def a(): return 1\ndef b(): return 2\nx = b\ny = a\ndef f(): return x() - y()"),
    "swapped_library_functions": ("from math import floor as a, ceil as b\ndef f(x): return a(x), b(x)",
                                  "from math import floor as b, ceil as a\ndef f(x): return a(x), b(x)"),
    "swapped_modules": ("import math as a, cmath as b\ndef f(x): return a.sqrt(x), b.sqrt(x)",
                        "import math as b, cmath as a\ndef f(x): return a.sqrt(x), b.sqrt(x)"),
    "vectorize": ("import numpy as np\ndef up(x): return x + 1\ng = np.vectorize(up)\ndef f(x): return g(x)",
                  "import numpy as np\ndef up(x): return x + 2\ng = np.vectorize(up)\ndef f(x): return g(x)"),
    "dataclass_default": ("from dataclasses import dataclass\n@dataclass\nclass A:\n x: int = 1\ndef f(): return A()",
                          "from dataclasses import dataclass\n@dataclass\nclass A:\n x: int = 2\ndef f(): return A()"),
    "dataclass_annotation": ("from dataclasses import dataclass\n@dataclass\nclass A:\n x: int\ndef f(): return A(1)",
                             "from dataclasses import dataclass\n@dataclass\nclass A:\n x: float\ndef f(): return A(1)"),
    "dataclass_argument": ("from dataclasses import dataclass\n@dataclass\nclass A:\n x: int\ndef f(): return A(1)",
                           "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass A:\n x: int\ndef f(): return A(1)"),
    "dataclass_factory": (
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n x: list = field(default_factory=lambda: [1])\ndef f(): return A()",
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n x: list = field(default_factory=lambda: [2])\ndef f(): return A()",
    ),
    "dataclass_field_order": ("from dataclasses import dataclass\n@dataclass\nclass A:\n x: int\n y: int\ndef f(): return A(1, 2)",
                              "from dataclasses import dataclass\n@dataclass\nclass A:\n y: int\n x: int\ndef f(): return A(1, 2)"),
    "not_a_dataclass": ("from dataclasses import dataclass\n@dataclass\nclass A:\n x: int = 1\ndef f(): return A()",
                        "from dataclasses import dataclass\nclass A:\n x: int = 1\ndef f(): return A()"),
    "namedtuple_default": ("from typing import NamedTuple\nclass A(NamedTuple):\n x: int = 1\ndef f(): return A()",
                           "from typing import NamedTuple\nclass A(NamedTuple):\n x: int = 2\ndef f(): return A()"),
    "namedtuple_fields": ("from collections import namedtuple\nA = namedtuple('A', 'x y')\ndef f(): return A(1, 2)",
                          "from collections import namedtuple\nA = namedtuple('A', 'y x')\ndef f(): return A(1, 2)"),
    "pydantic_default": ("import pydantic\nclass A(pydantic.BaseModel):\n x: int = 1\ndef f(): return A()",
                         "import pydantic\nclass A(pydantic.BaseModel):\n x: int = 2\ndef f(): return A()"),
    "pydantic_annotation": ("import pydantic\nclass A(pydantic.BaseModel):\n x: int\ndef f(): return A(x=1)",
                            "import pydantic\nclass A(pydantic.BaseModel):\n x: float\ndef f(): return A(x=1)"),
    "pydantic_validator": (
        "import pydantic\nclass A(pydantic.BaseModel):\n x: int\n @pydantic.field_validator('x')\n @classmethod\n def c(cls, v): return v\ndef f(): return A(x=1)",
        "import pydantic\nclass A(pydantic.BaseModel):\n x: int\n @pydantic.field_validator('x')\n @classmethod\n def c(cls, v): return -v\ndef f(): return A(x=1)",
    ),
    "annotated_class": (
        "from dataclasses import dataclass\nclass B:\n def m(self): return 1\n@dataclass\nclass A:\n x: list[B]\ndef f(): return A([])",
        "from dataclasses import dataclass\nclass B:\n def m(self): return 2\n@dataclass\nclass A:\n x: list[B]\ndef f(): return A([])",
    ),
    "enum_value": ("import enum\nclass E(enum.Enum):\n A = 1\ndef f(): return E.A", "import enum\nclass E(enum.Enum):\n A = 2\ndef f(): return E.A"),
    "enum_method": ("import enum\nclass E(enum.Enum):\n A = 1\n def m(self): return 1\ndef f(): return E.A.m()",
                    "import enum\nclass E(enum.Enum):\n A = 1\n def m(self): return 2\ndef f(): return E.A.m()"),
    "instance_state": ("class A:\n def __init__(s, x): s.x = x\na = A(1)\ndef f(): return a.x",
                       "class A:\n def __init__(s, x): s.x = x\na = A(2)\ndef f(): return a.x"),
    "instance_class": ("class A:\n def m(s): return 1\na = A()\ndef f(): return a.m()",
                       "class A:\n def m(s): return 2\na = A()\ndef f(): return a.m()"),
    "callable_object": ("class A:\n def __call__(s): return 1\ng = A()\ndef f(): return g()",
                        "class A:\n def __call__(s): return 2\ng = A()\ndef f(): return g()"),
    "bound_method": ("class A:\n def __init__(s, x): s.x = x\n def m(s): return s.x\ng = A(1).m\ndef f(): return g()",
                     "class A:\n def __init__(s, x): s.x = x\n def m(s): return s.x\ng = A(2).m\ndef f(): return g()"),
    "library_function": ("import math\ndef f(): return math.floor(1.5)", "import math\ndef f(): return math.ceil(1.5)"),
    "library_function_by_name": ("from math import floor as g\ndef f(): return g(1.5)", "from math import ceil as g\ndef f(): return g(1.5)"),
    "library_class": ("from decimal import Decimal as g\ndef f(): return g(1)", "from fractions import Fraction as g\ndef f(): return g(1)"),
    "library_module": ("import math as m\ndef f(): return m.sqrt(1)", "import cmath as m\ndef f(): return m.sqrt(1)"),
    "shadowed_builtin": ("def f(x): return len(x)", "def len(x): return 1\ndef f(x): return len(x)"),
    "defined_later": ("def f(): return later()", "def f(): return later()\ndef later(): return 1"),
    "recursion": ("def f(n): return n and f(n - 1)", "def f(n): return n and f(n - 2)"),
    "mutual_recursion": ("def f(n): return n and g(n - 1)\ndef g(n): return f(n)", "def f(n): return n and g(n - 1)\ndef g(n): return -f(n)"),
    "function_attribute": ("def f(): return f.rate\nf.rate = 1", "def f(): return f.rate\nf.rate = 2"),
    "fstring": ("def f(x): return f'{x:>3}'", "def f(x): return f'{x:>4}'"),
    "except": ("def f():\n try: g()\n except KeyError: pass", "def f():\n try: g()\n except ValueError: pass"),
    "async": ("async def f(): return 1", "async def f(): return 2"),
    "await": ("async def g(): return 1\nasync def f(): return await g()", "async def g(): return 2\nasync def f(): return await g()"),
    "lambda": ("f = lambda x: x + 1", "f = lambda x: x + 2"),
    "lambda_on_the_line": ("g, f = lambda x: x + 1, lambda x: x + 2", "g, f = lambda x: x + 1, lambda x: x + 3"),
    "list_of_functions": ("hs = [lambda x: x]\ndef f(): return hs[0](1)", "hs = [lambda x: -x]\ndef f(): return hs[0](1)"),
    "dict_of_functions": ("def g(): return 1\nhs = {'a': g}\ndef f(): return hs['a']()", "def g(): return 2\nhs = {'a': g}\ndef f(): return hs['a']()"),
    "exec_text": ("exec('def f(): return 1')", "exec('def f(): return 2')"),
    "super": ("class B:\n def m(s): return 1\nclass A(B):\n def m(s): return super().m()\ndef f(): return A().m()",
              "class B:\n def m(s): return 2\nclass A(B):\n def m(s): return super().m()\ndef f(): return A().m()"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_fingerprint(name: str) -> None:
    """Each of these edits could change a result; each text by itself has one fingerprint."""
    before, after = EDITS[name]
    assert of(before) == of(before)
    assert of(before) != of(after)


SAME: dict[str, tuple[str, str]] = {
    "comment": ("def f(a):\n return a", "# x\ndef f(a):  # y\n # z\n return a\n # end\n"),
    "blank_lines": ("def f(a):\n b = a\n return b", "\n\n\ndef f(a):\n\n b = a\n\n\n return b\n\n"),
    "formatting": ("def f(a, b=1): return [a, b]", "def f(\n    a,\n    b = 1,\n):\n    return [\n        a, b,\n    ]\n"),
    "docstring": ("def f(a):\n 'one'\n return a", 'def f(a):\n """two\n\n three"""\n return a'),
    "no_docstring": ("def f(a):\n 'one'\n return a", "def f(a):\n return a"),
    "quotes": ("def f(): return 'a' \"b\"", "def f(): return '''ab'''"),
    "parentheses": ("def f(a): return a * 2 + 1", "def f(a): return ((a * 2) + (1))"),
    "type_comment": ("def f(a):\n b = a  # type: int\n return b", "def f(a):\n b = a\n return b"),
    "number_format": ("def f(): return 1000", "def f(): return 1_000"),
    "moved": ("def g(): return 1\ndef f(): return g()", "def f(): return g()\n\n\ndef g(): return 1"),
    "unrelated": ("def f(): return 1", "def h(): return 7\nX = 5\ndef f(): return 1"),
    "comprehension_variable": ("K = 1\ndef f(): return [K for K in 'ab']", "K = 2\ndef f(): return [K for K in 'ab']"),
    "local_variable": ("def f():\n K = 1\n return K", "K = 2\ndef f():\n K = 1\n return K"),
    "only_stored": ("def f():\n global K\n K = 1", "K = 7\ndef f():\n global K\n K = 1"),
    "only_deleted": ("def f():\n global K\n del K", "K = 7\ndef f():\n global K\n del K"),
    "stored_before_read": ("def f():\n global K\n K = 1\n return K", "K = 7\ndef f():\n global K\n K = 1\n return K"),
    "attribute_of_that_name": ("def f(df): return df.count()", "count = 3\ndef f(df): return df.count()"),
    "method_order": ("class A:\n def a(s): return 1\n def b(s): return 2\ndef f(): return A()",
                     "class A:\n def b(s): return 2\n def a(s): return 1\ndef f(): return A()"),
    "class_docstring": ("class A:\n 'x'\n y = 1\ndef f(): return A()", "class A:\n # c\n y = 1\ndef f(): return A()"),
    "class_body_name": ("def f():\n class A:\n  x = 1\n  y = x\n return A", "x = 5\ndef f():\n class A:\n  x = 1\n  y = x\n return A"),
    "pass": ("def f(a):\n if a: return 1\n pass", "def f(a):\n if a: return 1"),
    "indented": ("def f(a):\n    return a", "if True:\n    def f(a):\n        return a"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_how_it_is_written_does_not_count(name: str) -> None:
    """None of these edits could change a result."""
    before, after = SAME[name]
    assert of(before) == of(after)


def test_a_global_that_is_read_first_is_an_input() -> None:
    """``counter += 1`` reads what was there; so does a store that may not have happened."""
    for text in ("global K\n K += 1", "global K\n if a: K = 1\n return K", "global K\n x = K\n K = x"):
        assert of(f"K = 1\ndef f(a):\n {text}") != of(f"K = 2\ndef f(a):\n {text}")


def test_one_cell_or_two_is_the_same() -> None:
    """A function moved to another cell is the same function."""
    assert of("def g(): return 1\ndef f(): return g()") == of("def g(): return 1", "def f(): return g()")


def test_two_lambdas_on_one_line_are_told_apart(codes: Codes) -> None:
    """Also with the same arguments, over lines, in parentheses, and behind letters that aren't ASCII."""
    notebook = Notebook().cell(
        """
        pair = (lambda x: x + 1), (lambda x: x + 2)
        ä = [lambda x: "ä" + x, lambda x: (x + "ö"), lambda x: [
            x, 1], lambda x: (x)]
        nested = lambda x: (lambda y: y + x), lambda x, g=lambda: 2: g() + x
        """
    )
    found = [*notebook["pair"], *notebook["ä"], *notebook["nested"], notebook["nested"][0](1)]
    reaches = [codes.reach(fn) for fn in found]
    assert not any(reach.bytecode for reach in reaches)
    assert len({reach.digest for reach in reaches}) == len(found)
    again = Notebook().cell("f = (lambda x:\n   x +  1)")["f"]
    assert codes.reach(again).codes["<lambda>"].digest == reaches[0].codes["<lambda>"].digest


def test_labels_and_parts(codes: Codes) -> None:
    """Codes are named as people know them, with the code object whose text can be shown."""
    notebook = Notebook().cell(
        """
        import math
        import pandas as pd
        import numpy as np
        from pandas import read_sql as rs
        RATE = 3
        class Model:
            size = 2
            def fit(self): return RATE
        def score(x):
            return Model().fit() + math.sqrt(x) + pd.read_csv(x) + np.linalg.norm(x) + rs(x) + np.pi
        """
    )
    reach = codes.reach(notebook["score"])
    assert set(reach.codes) == {
        "score", "Model.fit", "class Model", "math.sqrt", "pandas.read_csv", "numpy.linalg.norm", "pandas.read_sql",
        "numpy.pi",
    }  # fmt: skip
    assert all(isinstance(part, Part) and len(part.digest) == 16 for part in reach.codes.values())
    assert reach.codes["score"].code is notebook["score"].__code__
    assert reach.codes["Model.fit"].code is notebook["Model"].fit.__code__
    assert reach.codes["class Model"].code is None
    assert reach.codes["math.sqrt"].code is None
    assert dict(reach.values()) == {"RATE": 3, "Model.size": 2}
    assert reach.libraries == {"pandas", "numpy"}
    assert reach.bytecode == ()
    assert len(reach.digest) == 16


def test_no_source_at_hand_is_said(codes: Codes) -> None:
    """Exec'd text counts by bytecode, without line numbers, and is listed."""
    first, moved = Notebook(), Notebook()
    first.cell("exec('def g(): return 1')\ndef f(): return g()")
    moved.cell("exec('\\n\\n\\ndef g(): return 1')\ndef f(): return g()")
    reach = codes.reach(first["f"])
    assert reach.bytecode == ("g",)
    assert codes.reach(moved["f"]).digest == reach.digest


def test_values_are_as_they_are_now(codes: Codes) -> None:
    """The same reach gives the new value of a global, and none that is deleted."""
    notebook = Notebook().cell("K = 1\nclass A: x = 5\ndef f(): return K + A.x")
    reach = codes.reach(notebook["f"])
    assert sorted(reach.values()) == [("A.x", 5), ("K", 1)]
    notebook.names["K"] = 2
    notebook["A"].x = 6
    assert reach.holds()
    assert codes.reach(notebook["f"]) is reach
    assert sorted(reach.values()) == [("A.x", 6), ("K", 2)]
    del notebook.names["K"]
    assert reach.values() == [("A.x", 6)]


@pytest.mark.parametrize(
    "change",
    [
        "def g(): return 2",
        "g = 3",
        "del g",
        "def missing(): return 1",
        "missing = 1",
        "class A:\n def m(self): return 3",
        "A.m = lambda self: 4",
        "A.n = 5",
        "del A.m",
        "def other(): return 5\ng.__code__ = other.__code__",
        "g.__defaults__ = (5,)",
        "import cmath as math",
        "a = object()",
        "h.register(str, lambda x: 3)",
        "def len(x): return 1",
    ],
)
def test_a_redefinition_ends_it(change: str, codes: Codes) -> None:
    """What was collected holds until anything that is reached is another one."""
    notebook = Notebook().cell(
        """
        import math
        from functools import singledispatch
        def g(x=1): return x
        class A:
            def m(self): return 2
        a = A()
        @singledispatch
        def h(x): return 1
        @h.register
        def _(x: int): return 2
        def f(): return g() + A().m() + math.sqrt(2) + a.m() + h(1) + len("a") + missing
        """
    )
    before = codes.reach(notebook["f"])
    first = fingerprint(codes, notebook["f"])
    assert before.holds()
    assert codes.reach(notebook["f"]) is before
    notebook.cell(change)
    assert not before.holds()
    assert fingerprint(codes, notebook["f"]) != first
    assert fingerprint(codes, notebook["f"]) == fingerprint(Codes(blake3), notebook["f"])


def test_a_loop_that_makes_lambdas_has_one_walk(codes: Codes) -> None:
    """Functions of one code share what they reach; each has its own closure values and defaults."""
    notebook = Notebook().cell(
        """
        def g(x): return x
        def make(i, fn): return lambda: fn(i)
        loop = [make(i, g) for i in range(3)]
        plain = [lambda: g(1) for _ in range(2)]
        bound = [lambda i=i: g(i) for i in range(2)]
        other = make(1, lambda x: -x)
        """
    )
    reaches = [codes.reach(fn) for fn in notebook["loop"]]
    assert [reach.values() for reach in reaches] == [[("i", 0)], [("i", 1)], [("i", 2)]]
    assert all(reach.codes is reaches[0].codes for reach in reaches)
    assert codes.reach(notebook["plain"][0]) is codes.reach(notebook["plain"][1])
    assert [codes.reach(fn).values() for fn in notebook["bound"]] == [[("i.default", 0)], [("i.default", 1)]]
    assert codes.reach(notebook["other"]).digest != reaches[0].digest
    assert codes.reach(notebook["loop"][0]).digest == reaches[0].digest


def test_a_closure_value_is_not_kept_alive(codes: Codes) -> None:
    """What is remembered of a function doesn't hold the frame that its closure holds."""
    import gc
    import weakref

    notebook = Notebook().cell("class Big: pass\ndef make(big):\n return lambda: big\n")
    big = notebook["Big"]()
    alive = weakref.ref(big)
    fn = notebook["make"](big)
    assert codes.reach(fn).values() == [("big", big)]
    del fn, big
    gc.collect()
    assert alive() is None


def test_helpers_with_equal_closures_names_are_told_apart(codes: Codes) -> None:
    """Two adders with different numbers: to swap them is an edit."""
    text = """
        def make(n):
            def add(x): return x + n
            return add
        a, b = make({}), make({})
        def f(x): return a(x) - b(x)
    """
    assert of(text.format(1, 2)) != of(text.format(2, 1))
    assert of(text.format(1, 2)) == of(text.format(1, 2))


# --- modules --------------------------------------------------------------------------------


def test_attributes_of_user_modules_are_followed(project: Callable[[str, str], Path], codes: Codes) -> None:
    """``helpers.clean`` is code, ``helpers.RATE`` is data, what the module has beside them doesn't count."""
    project(
        "helpers_a.py",
        "import math\nRATE = 2\nOTHER = 1\ndef clean(x): return inner(x) * RATE\ndef inner(x): return math.sqrt(x)\n",
    )
    notebook = Notebook().cell("import helpers_a\ndef f(x): return helpers_a.clean(x) + helpers_a.RATE")
    reach = codes.reach(notebook["f"])
    assert set(reach.codes) == {"f", "helpers_a.clean", "helpers_a.inner", "math.sqrt"}
    assert dict(reach.values()) == {"helpers_a.RATE": 2}
    first = fingerprint(codes, notebook["f"])
    sys.modules["helpers_a"].OTHER = 5  # type: ignore[attr-defined]
    assert fingerprint(codes, notebook["f"]) == first
    sys.modules["helpers_a"].RATE = 5  # type: ignore[attr-defined]
    assert fingerprint(codes, notebook["f"]) != first


@pytest.mark.parametrize(
    "user",
    [
        "from pack import mod\ndef f(x): return mod.clean(x)",
        "import pack.mod\ndef f(x): return pack.mod.clean(x)",
        "from pack.mod import clean\ndef f(x): return clean(x)",
        "def f(x):\n import pack.mod\n return pack.mod.clean(x)",
        "def f(x):\n import pack.mod as m\n return m.clean(x)",
        "def f(x):\n from pack import mod\n return mod.clean(x)",
        "def f(x):\n from pack.mod import clean as c\n return [c(y) for y in x]",
        "def f(x):\n from pack.mod import clean as c\n return (lambda: c(x))()",
        "import pack.mod as m\ndef f(x): return list(map(getattr(m, 'clean'), x))",
        "from pack.mod import *\ndef f(x): return clean(x)",
        "from pack import again\ndef f(x): return again.outer(x)",
        "from pack import again\ndef f(x): return again.late(x)",
    ],
)
@pytest.mark.parametrize("loaded", [True, False])
def test_ways_to_import_a_helper(user: str, loaded: bool, project: Callable[[str, str], Path]) -> None:
    """However it is imported, at the top or inside, before or after: the helper's own code counts."""
    found = []
    for body in ("x + 1", "x + 2"):
        for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
            del sys.modules[name]
        project("pack/__init__.py", "")
        project("pack/mod.py", f"def clean(x): return {body}\n")
        project("pack/again.py", "from .mod import clean\nfrom . import mod\ndef outer(x): return clean(x)\n"
                                 "def late(x):\n from .mod import clean as c\n return c(x)\n")  # fmt: skip
        if loaded:
            importlib.import_module("pack.mod")
        codes = Codes(blake3)
        notebook = Notebook().cell(user)
        first = fingerprint(codes, notebook["f"])
        importlib.import_module("pack.mod")
        assert fingerprint(codes, notebook["f"]) == first
        found.append(first)
    assert found[0] != found[1]


def test_a_module_that_cannot_be_imported_is_left_to_the_step(codes: Codes) -> None:
    """An import inside that fails fails in the step, not in the fingerprint; a library's isn't loaded for it."""
    notebook = Notebook().cell("def f():\n import no_such_module_at_all\n import colorsys\n return 1")
    before = "colorsys" in sys.modules
    assert set(codes.reach(notebook["f"]).codes) == {"f"}
    assert ("colorsys" in sys.modules) is before


def test_a_module_as_a_value_counts_as_a_whole(project: Callable[[str, str], Path], codes: Codes) -> None:
    """Functions, classes and constants of a user's module that is passed around."""
    path = project("helpers_b.py", "RATE = 2\ndef clean(x): return x\nclass A:\n def m(self): return 1\n")
    module = importlib.import_module("helpers_b")
    first = codes.module(module)
    assert first == codes.module(module)
    assert len(first.digest) == 16
    for name, value in (("RATE", 3), ("clean", lambda x: -x), ("new", 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, value, raising=False)
            assert codes.module(module) != first
    assert codes.module(module) == first
    assert path.exists()
    assert codes.module(math) == codes.module(math) != codes.module(np)


def test_an_edited_and_reloaded_module(project: Callable[[str, str], Path], codes: Codes) -> None:
    """After importlib.reload the new code counts; an undone edit has the old fingerprint again."""
    project("helpers_c.py", "def clean(x): return x + 1\n")
    notebook = Notebook().cell("import helpers_c\ndef f(x): return helpers_c.clean(x)")
    first = fingerprint(codes, notebook["f"])
    project("helpers_c.py", "# moved\n\ndef clean(x):\n    return x + 200\n")
    importlib.reload(notebook["helpers_c"])
    second = fingerprint(codes, notebook["f"])
    project("helpers_c.py", "# moved\n\ndef clean(x):\n    return x + 1\n")
    importlib.reload(notebook["helpers_c"])
    assert fingerprint(codes, notebook["f"]) == first != second
    assert codes.reach(notebook["f"]).bytecode == ()


def test_a_module_edited_on_disk_only_is_still_the_old_code(project: Callable[[str, str], Path]) -> None:
    """New text is never taken for old code, not even at the same place: then bytecode counts, and that is said."""
    project("helpers_d.py", "def clean(x): return x + 1\ndef other(x): return x\n")
    notebook = Notebook().cell(
        "import helpers_d\ndef f(x): return helpers_d.clean(x)\ndef g(x): return helpers_d.other(x)"
    )
    before, other = Codes(blake3).reach(notebook["f"]), Codes(blake3).reach(notebook["g"])
    syntax._recent.clear()
    project("helpers_d.py", "def clean(x): return x - 1\ndef other(x): return x\n")
    after = Codes(blake3).reach(notebook["f"])
    assert after.bytecode == ("helpers_d.clean",)
    assert after.codes["helpers_d.clean"].digest != before.codes["helpers_d.clean"].digest
    assert Codes(blake3).reach(notebook["g"]).digest == other.digest
    project("helpers_d.py", "import os\n\n\ndef other(x):\n    return x\ndef clean(x):  # moved\n    return x + 1\n")
    assert Codes(blake3).reach(notebook["f"]).digest == before.digest
    syntax._recent.clear()
    project("helpers_d.py", "def clean(x: return\n")
    assert Codes(blake3).reach(notebook["f"]).bytecode == ("helpers_d.clean",)


def test_autoreload_changes_code_in_place(project: Callable[[str, str], Path], codes: Codes) -> None:
    """%autoreload puts new code into the old function objects, also those imported by name."""
    from IPython.extensions.autoreload import ModuleReloader

    project("helpers_e.py", "def clean(x): return x + 1\nclass A:\n    def m(self): return 1\n")
    notebook = Notebook().cell("from helpers_e import clean, A\na = A()\ndef f(x): return clean(x) + a.m()")
    reloader = ModuleReloader()
    reloader.check(check_all=True, do_reload=False)
    before = codes.reach(notebook["f"])
    first = fingerprint(codes, notebook["f"])
    path = project("helpers_e.py", "def clean(x): return x + 2\nclass A:\n    def m(self): return 1\n")
    import os

    os.utime(path, (2_000_000_000, 2_000_000_000))
    reloader.check(check_all=True)
    assert notebook["clean"](1) == 3
    assert not before.holds()
    assert fingerprint(codes, notebook["f"]) != first


def test_namespace_packages_and_modules_made_by_hand_are_the_users(
    project: Callable[[str, str], Path], codes: Codes
) -> None:
    """A folder without __init__.py, and types.ModuleType("settings")."""
    project("space_a/mod.py", "def clean(x): return x\n")
    settings = types.ModuleType("space_settings")
    settings.RATE = 3  # type: ignore[attr-defined]
    sys.modules["space_settings"] = settings
    notebook = Notebook().cell(
        "import space_a.mod, space_settings\ndef f(x): return space_a.mod.clean(x) * space_settings.RATE"
    )
    reach = codes.reach(notebook["f"])
    assert "space_a.mod.clean" in reach.codes
    assert dict(reach.values()) == {"space_settings.RATE": 3}


def test_site_packages_is_not_followed(tmp_path: Path, codes: Codes) -> None:
    """Library functions count by module and qualified name, whatever their code; a script's by its code."""

    def made(folder: str, body: str) -> Any:
        name = str(tmp_path / folder / "lib.py")
        space: dict[str, Any] = {"__name__": "lib"}
        exec(compile(f"def g(x): return {body}", name, "exec"), space)
        return space["g"]

    for folder, same in (("site-packages", True), ("dist-packages", True), ("src", False)):
        found = {codes.digest(made(folder, body)) for body in ("x + 1", "x + 2")}
        assert (len(found) == 1) is same
    assert codes.digest(math.sqrt) != codes.digest(math.floor)
    assert codes.digest(pd.read_csv) != codes.digest(pd.read_sql)


def test_a_users_function_put_into_a_library_counts(codes: Codes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A monkeypatched library function is the user's code."""
    notebook = Notebook().cell("import colorsys\ndef fake(): return 1\ndef f(): return colorsys.rgb_to_hsv()")
    first = codes.reach(notebook["f"]).digest
    monkeypatch.setattr(notebook["colorsys"], "rgb_to_hsv", notebook["fake"])
    assert "fake" in Codes(blake3).reach(notebook["f"]).codes
    assert Codes(blake3).reach(notebook["f"]).digest != first


# --- as values ------------------------------------------------------------------------------


def test_functions_as_values_count_with_all_they_reach(codes: Codes) -> None:
    """A function in a list is digested by its code, its helpers and its data."""
    texts = [BASE, BASE.replace("x * K", "x + K"), BASE.replace("K = 3", "K = 4"), BASE.replace("b=2", "b=3")]
    digests = [codes.digest(Notebook().cell(text)["f"]) for text in texts]
    assert len(set(digests)) == 4
    assert codes.digest(Notebook().cell("# c\n" + dedent(BASE))["f"]) == digests[0]


def test_a_class_as_value_sees_its_attributes_as_they_are(codes: Codes) -> None:
    """The digest of a class is new when an attribute changes in place."""
    cls = Notebook().cell("class A:\n x = [1]\n def m(self): return 1")["A"]
    first = codes.digest(cls)
    assert codes.digest(cls) == first
    cls.x.append(2)
    assert codes.digest(cls) != first


def test_classes_and_data_that_refer_to_each_other_end(codes: Codes) -> None:
    """An enum's members are of the enum; a class may hold objects of itself and of others that hold it."""
    text = """
        class A: pass
        class B: pass
        A.b, B.a, A.me = B(), A(), [A()]
        many = [type(f"C{i}", (), {"__module__": "__main__"}) for i in range(12)]
        for one in many:
            one.others = [other() for other in many]
        def f(): return A, B, many
    """
    assert of(text) == of(text)
    assert Codes(blake3).digest(Notebook().cell(text)["A"]) == Codes(blake3).digest(Notebook().cell(text)["A"])


def test_many_objects_of_one_class_walk_it_once(codes: Codes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand objects: the class is looked at once, and not walked again in the next digest."""
    notebook = Notebook().cell("class A:\n x = 1\n def __init__(self, n): self.n = n\n def m(self): return self.n")
    contents = Contents(blake3, codes)
    calls = 0
    digest = codes.digest

    def counted(value: Any) -> bytes:
        nonlocal calls
        calls += value is notebook["A"]
        return digest(value)

    monkeypatch.setattr(codes, "digest", counted)
    many = [notebook["A"](n) for n in range(10_000)]
    contents.digest(many)
    assert calls == 1
    reach = codes.reach(notebook["A"])
    contents.digest(many[0])
    assert codes.reach(notebook["A"]) is reach


def test_what_is_remembered_is_bounded(codes: Codes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that defines a function in each of many executions doesn't grow memory for ever."""
    from notebook_durable.engine.fingerprint import code

    monkeypatch.setattr(code, "_KEPT", 10)
    for i in range(30):
        codes.reach(Notebook().cell(f"def f(): return {i}")["f"])
    assert len(codes._reaches) <= 10
    assert len(codes._own) <= 10


def test_roots_of_all_kinds(codes: Codes) -> None:
    """A class, a partial, a cached function, a method and a library's function can be asked for; a number can't."""
    notebook = Notebook().cell(
        "import functools\n@functools.cache\ndef g(): return 1\nclass A:\n def m(self): return 2"
    )
    assert "g" in codes.reach(notebook["g"]).codes
    assert "A.m" in codes.reach(notebook["A"]).codes
    assert "A.m" in codes.reach(notebook["A"]().m).codes
    assert "g" in codes.reach(functools.partial(notebook["g"], 1)).codes
    assert set(codes.reach(pd.concat).codes) == {"pandas.concat"}
    with pytest.raises(TypeError, match="int"):
        codes.reach(3)


def test_a_library_wrapper_that_holds_itself_ends(codes: Codes, tmp_path: Path) -> None:
    """The retry decorators of libraries do: the user's function inside counts all the same."""
    name = str(tmp_path / "site-packages" / "retrying.py")
    space: dict[str, Any] = {"__name__": "retrying"}
    text = "def retry(fn):\n def wrapper(*a):\n  wrapper.calls = 1\n  return fn(*a)\n return wrapper"
    exec(compile(text, name, "exec"), space)
    found = []
    for body in ("x", "-x"):
        notebook = Notebook()
        notebook.names["retry"] = space["retry"]
        notebook.cell(f"@retry\ndef g(x): return {body}\ndef f(): return g(1)")
        reach = codes.reach(notebook["f"])
        assert "g" in reach.codes
        assert "retrying.retry.<locals>.wrapper" in reach.codes
        found.append(reach.digest)
    assert found[0] != found[1]


# --- code that is not in a module that can be imported ---------------------------------------


@pytest.mark.parametrize("way", ["spec", "runpy", "named dict", "dict"])
@pytest.mark.parametrize(
    "text",
    ["def go(): return {}", "class K:\n def m(self): return {}\ngo = K", "class K:\n v = {}\ngo = K", "def go(v={}): return v"],
)  # fmt: skip
def test_code_loaded_in_other_ways_is_the_users(way: str, text: str, tmp_path: Path) -> None:
    """A file loaded by ``spec_from_file_location`` or ``runpy``, text executed in a dict: its content counts."""

    def loaded(number: int) -> Any:
        path = tmp_path / f"number{number}" / "tools.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(number))
        if way == "spec":
            spec = importlib.util.spec_from_file_location("tools_of_mine", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module.go
        if way == "runpy":
            return runpy.run_path(str(path))["go"]
        space = {"__name__": "rules_of_mine"} if way == "named dict" else {}
        exec(text.format(number), space)
        return space["go"]

    one, same, other = (Codes(blake3).digest(loaded(number)) for number in (1, 1, 2))
    assert one == same != other


def test_a_module_that_is_not_among_the_loaded_ones_is_followed(tmp_path: Path) -> None:
    """Data and helpers that are read from it count, and from the parts of a package that is used as a whole."""

    def reads(rate: int) -> tuple[Any, ...]:
        (tmp_path / "settings.py").write_text(f"RATE = {rate}\ndef __getattr__(name): return {rate}")
        spec = importlib.util.spec_from_file_location("settings_of_mine", tmp_path / "settings.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        exec((tmp_path / "settings.py").read_text(), vars(module))
        package, part = types.ModuleType("package_of_mine"), types.ModuleType("package_of_mine.part")
        package.part, part.rate = part, rate  # type: ignore[attr-defined]
        found = []
        for text in ("lambda: m.RATE", "lambda: m.other", "lambda: [p]"):
            notebook = Notebook()
            notebook.names.update(m=module, p=package)
            found.append(fingerprint(Codes(blake3), notebook.cell(f"f = {text}")["f"]))
        return tuple(found)

    for one, same, other in zip(reads(1), reads(1), reads(2), strict=True):
        assert one == same != other


# --- libraries -------------------------------------------------------------------------------


def test_a_part_of_a_library_that_is_loaded_lazily(tmp_path: Path) -> None:
    """``scipy.linalg.norm`` has one name, whether ``scipy.linalg`` was loaded before or not."""
    text = f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        import scipy
        from blake3 import blake3
        from notebook_durable.engine.fingerprint.code import Codes
        before = "scipy.linalg" in sys.modules
        def f(x): return scipy.linalg.norm(x)
        print(before, Codes(blake3).digest(f).digest.hex())
    """
    told = []
    for first in ("", "import scipy.linalg\n"):
        path = tmp_path / "program.py"
        path.write_text(first + dedent(text))
        run = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True, timeout=60)
        told.append(run.stdout.split())
    assert [before for before, _ in told] == ["False", "True"]
    assert told[0][1] == told[1][1]


def test_the_hidden_generators_are_no_inputs(codes: Codes) -> None:
    """``random.random()`` and ``np.random.rand()`` count by name; a generator that the user made is an input."""
    space = Notebook().cell("""
        import random
        import numpy as np
        from random import choice
        own = random.Random(0)
        def f(): return random.random(), np.random.rand(), choice([1])
        def g(): return own.random()
    """)
    assert codes.reach(space["f"]).values() == []
    assert {"random.random", "random.Random.choice"} < set(codes.reach(space["f"]).codes)
    assert [value for _, value in codes.reach(space["g"]).values()] == [space["own"]]


@pytest.mark.parametrize(
    "hook",
    ["pd.DataFrame.area_of_mine = lambda df: {}", "@pd.api.extensions.register_dataframe_accessor('area_of_mine')\nclass A:\n  v = {}"],
)  # fmt: skip
def test_what_was_put_into_classes_of_tables(hook: str, codes: Codes) -> None:
    """An accessor or method of the user's counts for a function that uses that name."""
    found = []
    try:
        for number in (1, 2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it has that name already
                notebook = Notebook().cell("import pandas as pd\n" + hook.format(number))
            found.append(fingerprint(codes, notebook.cell("def f(df): return df.area_of_mine")["f"]))
            plain = fingerprint(codes, notebook.cell("def f(df): return df.other")["f"])
    finally:
        del pd.DataFrame.area_of_mine
        pd.DataFrame._accessors.discard("area_of_mine")
    assert found[0] != found[1]
    assert plain == fingerprint(codes, Notebook().cell("def f(df): return df.other")["f"])


# --- what a class says -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("import abc\nclass K(abc.ABC):\n _abc_rate = 1", "import abc\nclass K(abc.ABC):\n _abc_rate = 2"),
        ("from dataclasses import dataclass\n@dataclass\nclass K:\n a: int\n b: int", "from dataclasses import dataclass\n@dataclass\nclass K:\n a: int\n b: int\n __match_args__ = ('b', 'a')"),
        ("import pydantic\nclass K(pydantic.BaseModel):\n a: int = pydantic.Field(alias='x')", "import pydantic\nclass K(pydantic.BaseModel):\n a: int = pydantic.Field(alias='y')"),
        ("import pydantic\nclass K(pydantic.BaseModel):\n a: int = pydantic.Field(1)", "import pydantic\nclass K(pydantic.BaseModel):\n a: int = pydantic.Field(1, exclude=True)"),
    ],
)  # fmt: skip
def test_what_a_class_says_of_itself(one: str, other: str) -> None:
    """Also under names that Python or a library uses."""
    digests = [Codes(blake3).digest(Notebook().cell(text)["K"]).digest for text in (one, one, other)]
    assert digests[0] == digests[1] != digests[2]
