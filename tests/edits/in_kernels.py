"""Plays rows in real kernels: one kernel for each version, in which all rows are executed one after the other.

A row begins with a clean namespace in a folder of its own, and its durable cell is a workflow of its own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edits.row import Row, Version
from edits.runner import write_files
from kernels import LiveKernel

__all__ = ["Played", "play_in_kernels"]

BOOT = """
%load_ext notebook_durable
import builtins, importlib, json, os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, "")

def _begin(folder):
    "A clean namespace in another folder, as after a restart."
    for name in [name for name in globals() if name not in _kept and not name.startswith("_")]:
        del globals()[name]
    for name, module in list(sys.modules.items()):
        if "/rows/" in str(getattr(module, "__file__", "")):
            del sys.modules[name]
    os.chdir(folder)
    importlib.invalidate_caches()
    _called.clear()

def _seen():
    print(json.dumps([repr(globals().get("out")), _called]))

_called = []
_kept = {*globals(), "_begin", "_seen"}
builtins.did = _called.append
"""


@dataclass
class Played:
    """What came of the last version of a row.

    Attributes:
        out: ``repr(out)``.
        called: steps that were really called.
        errors: of the durable cell, for each version; "" for none.
        problem: of any other cell.
    """

    out: str = ""
    called: Counter[str] = field(default_factory=Counter)
    errors: tuple[str, ...] = ()
    problem: str = ""


def play_in_kernels(
    rows: Sequence[tuple[str, Row]], start: Callable[[], LiveKernel], folder: Path
) -> dict[str, Played]:
    """Play rows, with a restart between two versions.

    Args:
        rows: with the key of each in what is returned.
        start: starts a kernel; all of them have the same folder.
        folder: for the rows' files.
    """
    found = {key: Played() for key, _ in rows}
    for number in range(max(len(row.versions) for _, row in rows)):
        kernel = start()
        boot = kernel.run(BOOT)
        assert boot.status == "ok", boot.traceback
        for key, row in rows:
            if number < len(row.versions):
                place = folder / "rows" / re.sub(r"\W+", "_", key)
                _play(kernel, key, row.versions[number], number, place, found[key])
        kernel.close()
    return found


def _play(kernel: LiveKernel, key: str, version: Version, number: int, folder: Path, played: Played) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_files(version, folder, number)
    for text in (f"_begin({str(folder)!r})", *(cell.text for cell in version.cells if not cell.durable)):
        ran = kernel.run(text)
        if ran.status != "ok":
            played.problem += ran.traceback
    ran = kernel.run(f"%%durable {folder.name}\n{version.durable.text}")
    played.errors += (str(ran.reply["ename"]) if ran.status == "error" else "",)
    seen = kernel.run("_seen()")
    assert seen.status == "ok", seen.traceback
    played.out, called = json.loads(seen.stream())
    played.called = Counter(called)
