"""Plays rows of the table of edits on one library: ``python peers_edits.py LIBRARY FOLDER < jobs.json``.

A row's cells are a script, ``notebook.py``, which is written anew for each version and executed in a process of its own
(a fork, so that numpy and the like are imported once). Prints one JSON line per row.
"""

from __future__ import annotations

import ast
import asyncio
import atexit
import builtins
import contextlib
import gc
import importlib
import inspect
import io
import json
import os
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

#: What a memoiser has no word for. The rest of our options are about retries, and don't matter here.
_OURS = {"depends_on", "version", "writes", "reads", "max_age", "ignore"}


class NotExpressibleError(Exception):
    """The library has no way to say this."""


def call_of(name: str, folder: Path) -> Callable[..., Any]:
    """Return ``call(fn, args, kwargs, options)`` for a library that memoises functions."""
    if name == "joblib":
        from joblib import Memory, expires_after

        memory = Memory(folder / "cache", verbose=0)

        def call(fn: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
            more = {"ignore": options["ignore"]} if "ignore" in options else {}
            if "max_age" in options:
                more["cache_validation_callback"] = expires_after(seconds=options["max_age"].total_seconds())
            return memory.cache(fn, **more)(*args, **kwargs)

    elif name == "diskcache":
        from diskcache import Cache

        cache = Cache(folder / "cache")

        def call(fn: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
            more = {"ignore": set(options["ignore"])} if "ignore" in options else {}
            if "ignore" in options:  # it wants positions of what is passed by position
                names = list(inspect.signature(fn).parameters)
                more["ignore"] |= {names.index(n) for n in options["ignore"] if n in names}
            if "max_age" in options:
                more["expire"] = options["max_age"].total_seconds()
            if inspect.iscoroutinefunction(fn):
                raise NotExpressibleError("memoize doesn't know async functions")
            return cache.memoize(**more)(fn)(*args, **kwargs)

    else:  # nothing is remembered

        def call(fn: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
            return fn(*args, **kwargs)

    return call


class Memoised:
    """``ctx`` for a memoiser: a step is its function, memoised."""

    def __init__(self, name: str, folder: Path, *, asynchronous: bool) -> None:
        self._call = call_of(name, folder)
        self._asynchronous = asynchronous
        known = {"joblib": {"ignore", "max_age"}, "diskcache": {"ignore", "max_age"}, "none": _OURS}
        self._unknown = _OURS - known[name]

    def run(self, step: str, fn: Any, /, *args: Any, **options: Any) -> Any:
        return self._do(fn, args, {}, options)

    def run_typed(self, step: str, fn: Any, options: Any = None, /, *args: Any, **kwargs: Any) -> Any:
        return self._do(fn, args, kwargs, {})

    def _do(self, fn: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        for option in self._unknown & set(options):
            raise NotExpressibleError(f"nothing like {option}=")
        if not self._asynchronous:
            result = self._call(fn, args, kwargs, options)
            return asyncio.run(result) if inspect.iscoroutine(result) else result

        async def later() -> Any:
            result = self._call(fn, args, kwargs, options)
            return await result if inspect.isawaitable(result) else result

        return later()


# --- a script ---------------------------------------------------------------------------------


def run_script(library: str, job: dict[str, Any], cells: list[tuple[str, bool]], folder: Path) -> str:
    """Execute the cells as ``notebook.py``; returns ``repr(out)``."""
    path = folder / "notebook.py"
    path.write_text("".join(text for text, _ in cells))
    main = types.ModuleType("__main__")
    main.__file__ = str(path)
    sys.modules["__main__"] = main
    line = 0
    for text, durable in cells:
        codes = list(_compiled(text, str(path), line))
        line += text.count("\n")
        if not durable:
            for code in codes:
                exec(code, vars(main))
        elif any(code.co_flags & inspect.CO_COROUTINE for code in codes):
            asyncio.run(_durable_async(library, job, folder, codes, main))
        else:
            with _context(library, job, folder) as main.ctx:  # type: ignore[attr-defined]
                for code in codes:
                    exec(code, vars(main))
    return repr(getattr(main, "out", None))


async def _durable_async(library: str, job: dict[str, Any], folder: Path, codes: list[Any], main: Any) -> None:
    if library == "ours":
        from notebook_durable import durable

        entered: Any = durable(job["name"], store=folder / "journal", max_attempts=3)
    else:
        entered = contextlib.nullcontext(Memoised(library, folder, asynchronous=True))
    async with entered as main.ctx:
        for code in codes:
            waiting = eval(code, vars(main))
            if code.co_flags & inspect.CO_COROUTINE:
                await waiting


def _context(library: str, job: dict[str, Any], folder: Path) -> AbstractContextManager[Any]:
    if library == "ours":
        from notebook_durable import durable

        return durable(job["name"], store=folder / "journal", max_attempts=3)
    return contextlib.nullcontext(Memoised(library, folder, asynchronous=False))


def _compiled(text: str, filename: str, line: int) -> Iterator[Any]:
    for node in ast.parse(text, filename).body:
        ast.increment_lineno(node, line)
        yield compile(ast.Module([node], []), filename, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


# --- a marimo app -----------------------------------------------------------------------------


def run_marimo(job: dict[str, Any], cells: list[tuple[str, bool]], folder: Path) -> str:
    """Execute the cells as an app, with ``@mo.persistent_cache`` on the functions that are steps."""
    import runpy

    steps: set[str] = set()
    defined = {node.name for text, _ in cells for node in ast.parse(text).body if isinstance(node, _FUNCTIONS)}
    texts = [
        ast.unparse(_AsCalls(defined, steps).visit(ast.parse(text))) if durable else text for text, durable in cells
    ]
    path = folder / "notebook.py"
    lines = ["import marimo", "app = marimo.App()"]
    for text in ["import marimo as mo\n", *texts]:
        asynchronous = any(
            "await " in row or "async with " in row for row in text.splitlines() if not row.startswith(" ")
        )
        lines += ["@app.cell", "async def _():" if asynchronous else "def _():"]
        lines += [f"    {row}" for row in _decorated(text, steps).splitlines()]
        lines += ["    return"]
    path.write_text("\n".join(lines) + "\n")
    app = runpy.run_path(str(path))["app"]
    _, values = app.run()
    return repr(values.get("out"))


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class _AsCalls(ast.NodeTransformer):
    """``ctx.run(NAME, fn, x)`` becomes ``fn(x)`` if ``fn`` is defined by ``def`` (it is decorated there)."""

    def __init__(self, defined: set[str], steps: set[str]) -> None:
        self._defined, self._steps = defined, steps

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        target = node.func
        if not (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "ctx"):
            return node
        for keyword in node.keywords:
            if target.attr == "run" and keyword.arg in _OURS:
                raise NotExpressibleError(f"nothing like {keyword.arg}=")
        keywords = node.keywords if target.attr == "run_typed" else []
        fn, args = node.args[1], node.args[2 if target.attr == "run" else 3 :]
        if isinstance(fn, ast.Name) and fn.id in self._defined:
            self._steps.add(fn.id)
        else:
            fn = ast.parse(f"mo.persistent_cache({ast.unparse(fn)})", mode="eval").body
        return ast.Call(fn, args, keywords)


def _decorated(text: str, steps: set[str]) -> str:
    rows = text.splitlines()
    for node in reversed(ast.parse(text).body):
        if isinstance(node, _FUNCTIONS) and node.name in steps:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            rows.insert(first - 1, "@mo.persistent_cache")
    return "\n".join(rows)


# --- jobs -------------------------------------------------------------------------------------


def execute(library: str, job: dict[str, Any], version: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Execute one version in this process, which is thrown away afterwards."""
    called: list[str] = []
    builtins.did = called.append  # type: ignore[attr-defined]
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    warnings.simplefilter("ignore")
    out, error = "None", ""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if library == "marimo":
                out = run_marimo(job, version["cells"], folder)
            else:
                out = run_script(library, job, version["cells"], folder)
    except NotExpressibleError as why:
        error = f"n/a {why}"
    except Exception as why:
        error = type(why).__name__
        if os.environ.get("PEERS_DEBUG"):
            traceback.print_exc()
        out = repr(getattr(sys.modules["__main__"], "out", None))
        error = error if str(why) == "" else f"{error}: {str(why).splitlines()[0][:150]}"
    return {"out": out, "called": called, "error": error}


def fork(*args: Any) -> dict[str, Any]:
    """Call ``execute`` in a fork."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        result = execute(*args)
        with os.fdopen(write, "w") as out:
            json.dump(result, out)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        os._exit(0)  # taking apart all those libraries takes a second
    os.close(write)
    with os.fdopen(read) as result_file:
        text = result_file.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else {"out": "None", "called": [], "error": "the process died"}


def stand_ins() -> None:
    """What rows import from us: names that mean nothing to a memoiser."""
    ours = types.ModuleType("notebook_durable")
    ours.RunOptions = lambda **options: None  # type: ignore[attr-defined]
    ours.TerminalError = type("TerminalError", (Exception,), {})  # type: ignore[attr-defined]
    ours.file = lambda path: path  # type: ignore[attr-defined]
    sys.modules["notebook_durable"] = ours


def main() -> None:
    library, work = sys.argv[1], Path(sys.argv[2])
    for name in ("numpy", "pandas", "polars", "pydantic", "sklearn.linear_model", "scipy.sparse", "networkx", library):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if library == "ours":
        importlib.import_module("notebook_durable.api")
    else:
        stand_ins()
    gc.collect()
    gc.freeze()  # a fork shares what nobody touches
    for job in json.load(sys.stdin):
        folder = work / library / job["name"]
        folder.mkdir(parents=True)
        results = []
        for number, version in enumerate(job["versions"]):
            for name, text in version["files"].items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
                os.utime(folder / name, (1_750_000_000 + number,) * 2)
            results.append(fork(library, job, version, folder))
        print(json.dumps({"name": job["name"], "results": results}), flush=True)


if __name__ == "__main__":
    main()
