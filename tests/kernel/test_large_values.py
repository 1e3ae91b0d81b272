"""Large values in cells of real kernels that are killed: replayed as they were, or computed anew; no litter stays."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import notebook_durable

pytest.importorskip("numpy")
pytest.importorskip("pandas")
pytestmark = pytest.mark.kernel

ROOT = Path(notebook_durable.__file__).parent.parent

# About 300 MB in each of two values: a frame with numbers, text, a category and times, and a dict of arrays with an
# object of the notebook's in it.
SETUP = """
%load_ext notebook_durable
import os, time
import numpy as np, pandas as pd

class Model:
    def __init__(self, weights):
        self.weights = weights
        self.scale = lambda x: x * self.weights

def called(name):
    with open("calls.txt", "a") as log:
        log.write(name + "\\n")

def load(rows):
    called("load")
    numbers = np.arange(rows)
    return pd.DataFrame({
        "i": numbers, "f": numbers / 7, "g": np.sqrt(numbers), "h": -numbers / 3,
        "when": pd.date_range("2026", periods=rows, freq="s", tz="Europe/Berlin"),
        "kind": pd.Categorical.from_codes(numbers % 3, ["a", "b", "c"]),
        "text": np.array([f"order {i}" for i in range(1000)], dtype=object)[numbers % 1000],
    })

def parts(rows):
    called("parts")
    a = np.arange(float(rows))
    return {"a": a, "same": a, "b": {"f": np.asfortranarray(a.reshape(10, -1))}, "model": Model(a[::2].copy())}

def block(frame):
    called("block")
    if os.environ.get("NBD_BLOCK"):
        open("reached", "w").close()
        time.sleep(600)
    return len(frame)

def digest(frame, values):
    hashes = pd.util.hash_pandas_object(frame)
    return [int(hashes.sum()), [str(t) for t in frame.dtypes], float(values["a"].sum()),
            float(values["b"]["f"][3].sum()), float(values["model"].weights.sum())]
"""
CELL = """
%%durable big
frame = ctx.run("load", load, 4_000_000)
values = ctx.run("parts", parts, 12_000_000)
open("digest.txt", "a").write(repr(digest(frame, values)) + "\\n")
count = ctx.run("block", block, frame)
checks = [type(frame) is pd.DataFrame, values["a"] is values["same"], values["b"]["f"].flags.f_contiguous,
          type(values["model"]) is Model, all(a.flags.writeable for a in (values["a"], values["b"]["f"])),
          bool(values["model"].scale(2.0)[5] == 20.0)]
values["a"][:] = -1.0
values["model"].weights[:] = 3.0
frame["f"] = 0.0
frame.loc[5, "i"] = 7
checks
"""


def reach(path: Callable[[], bool]) -> None:
    """Wait until another process has got somewhere: polls, and times nothing."""
    deadline = time.monotonic() + 120
    while not path():
        assert time.monotonic() < deadline, "it never got there"
        time.sleep(0.001)


def test_killed_inside_of_the_step_after_large_values(start_this_kernel, tmp_path):
    """The next kernels have the same 600 MB, writable, without a call; what they write over them changes nothing."""
    first = start_this_kernel(NBD_BLOCK="1")
    assert first.run(SETUP).status == "ok"
    first.client.execute(CELL)
    reach(lambda: (tmp_path / "reached").exists())
    first.kill()
    for _ in range(2):
        kernel = start_this_kernel()
        kernel.run(SETUP)
        ran = kernel.run(CELL)
        assert ran.result == str([True] * 6), ran.traceback
        assert "digest" not in ran.stream("stderr")
        kernel.kill()
    assert (tmp_path / "calls.txt").read_text().split() == ["load", "parts", "block", "block"]
    digests = (tmp_path / "digest.txt").read_text().splitlines()
    assert len(digests) == 3
    assert len(set(digests)) == 1


HALF = """
%%durable half
value = ctx.run("load", big)
float(value[-1])
"""
HALF_SETUP = """
%load_ext notebook_durable
import numpy as np
def big():
    with open("calls.txt", "a") as log:
        log.write("big\\n")
    return np.full(62_500_000, 3.0)
"""


def test_killed_while_a_large_value_is_written(start_this_kernel, tmp_path):
    """500 MB are half on the disk: the next kernel computes them anew, and gc removes the half."""
    blobs = tmp_path / ".durable" / "blobs"
    first = start_this_kernel()
    assert first.run(HALF_SETUP).status == "ok"
    first.client.execute(HALF)
    reach(lambda: any(path.stat().st_size > 1 << 20 for path in blobs.glob("*.tmp")))
    first.kill()
    first.manager.provisioner.process.wait()
    (half,) = blobs.iterdir()
    assert half.suffix == ".tmp"
    second = start_this_kernel()
    second.run(HALF_SETUP)
    ran = second.run(HALF)
    assert ran.result == "3.0", ran.traceback
    assert any("running again" in text for text in ran.panels)
    assert (tmp_path / "calls.txt").read_text().split() == ["big", "big"]
    assert len(list(blobs.iterdir())) == 2
    ran = second.run("from notebook_durable import journal\njournal().gc().apply()")
    assert ran.status == "ok", ran.traceback
    (whole,) = blobs.iterdir()
    assert whole.suffix == ""
    ran = second.run(HALF)
    assert ran.result == "3.0"
    assert (tmp_path / "calls.txt").read_text().split() == ["big", "big"]


def test_a_damaged_value_of_a_step_that_must_not_run_twice(start_this_kernel, tmp_path):
    """The error says so and what to type; what was typed is what the cell gets. Another step's is computed anew."""
    setup = "%load_ext notebook_durable\nimport numpy as np\nmade = {'n': 8}"
    cell = (
        "%%durable pay\n"
        "free = ctx.run('free', lambda: np.ones(20_000))\n"
        "paid = ctx.run('pay', lambda: {'n': 7, 'a': np.zeros(20_000)}, at_most_once=True)\n"
        "float(free.sum()), paid['n']"
    )
    first = start_this_kernel()
    first.run(setup)
    assert first.run(cell).result == "(20000.0, 7)"
    first.kill()
    (pack,) = (tmp_path / ".durable" / "packs").glob("*.pack")
    data = bytearray(pack.read_bytes())
    with closing(sqlite3.connect(tmp_path / ".durable" / "journal.db")) as db:
        for (text,) in db.execute("SELECT blob FROM entries WHERE blob LIKE 'pack:%'"):
            _, _, offset, length, _ = text.split(":")
            data[int(offset) + int(length) - 9] ^= 1
    pack.write_bytes(data)
    second = start_this_kernel()
    second.run(setup)
    ran = second.run(cell)
    assert ran.error.startswith("OutcomeUnknownError: step 'pay' of 'pay' has run, but its recorded value is dama")
    typed = next(line for line in ran.error.splitlines() if "--value" in line).split("    ")[1]
    assert second.run(typed.replace("--value EXPR", "--value=made")).status == "ok"
    assert second.run(cell).result == "(20000.0, 8)"
    quarantine = list((tmp_path / ".durable" / "quarantine").iterdir())
    assert len(quarantine) == 2


# --- our own housekeeping beside a value that is mapped -------------------------------------------

BESIDE = """
import os, sys
from pathlib import Path
import numpy as np
from notebook_durable import durable, journal

def make(start):
    return {"a": np.arange(1_000_000.0) + start, "b": np.full(700_000, float(start))}

def total(value):
    return float(value["a"].sum() + value["b"].sum())

def expected(start):
    return 1_000_000 * 999_999 / 2 + 1_000_000 * start + 700_000 * start

def play(start, fresh=False):
    with durable("wf", fresh=fresh) as ctx:
        return ctx.run("make", make, start)

def blobs():
    return sorted(Path(".durable/blobs").iterdir())

play(0)
held = {0: play(0)}  # restored: mapped
for start in range(1, 4):
    play(start, fresh=True)
    held[start] = play(start)
untouched = play(3)
said = []
for round_ in range(3):
    for path in blobs():  # a bad copy under the name, as a bad disk has it
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.unlink()
        path.write_bytes(data)
    journal().gc(keep_runs=0).apply()  # forgets, sweeps
    said.append("set aside" in repr(journal().verify()) or round_ == 0)
    held["new", round_] = play(3)  # finds the damage: quarantine, computed anew, a new file under the same name
    held["again", round_] = play(3)
    for name, value in held.items():
        start = name if isinstance(name, int) else 3
        assert total(value) == expected(start), name
    journal().forget("wf").apply()
    journal().gc().apply()
    assert blobs() == [], blobs()
    play(3)
    play(3)
assert total(untouched) == expected(3)
untouched["a"][:] = 5
held[0]["b"][0] = 9
assert total(play(3)) == expected(3)
assert len(list(Path(".durable/quarantine").iterdir())) == 3
print("ok", all(said))
"""


def script(folder: Path, body: str, *arguments: object, **env: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(textwrap.dedent(body))
    full = {**os.environ, "PYTHONPATH": str(ROOT), "NOTEBOOK_DURABLE_KEY_FILE": str(folder / "key"), **env}
    full.pop("NOTEBOOK_DURABLE_STORE", None)
    return subprocess.Popen(
        [sys.executable, "script.py", *map(str, arguments)],
        cwd=folder, env=full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, f"{process.returncode}\n{err}"
    return out


def test_nothing_that_is_mapped_is_pulled_away(tmp_path):
    """gc, forget, verify, quarantine and the same value written again: who holds a restored array can go on with it."""
    assert finish(script(tmp_path, BESIDE)).startswith("ok True")


# --- maps of large values -------------------------------------------------------------------------

MAP = """
import os, sys, time
import numpy as np
from notebook_durable import durable

def work(item):
    log = os.open("calls.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{item}\\n".encode())
    os.close(log)
    if item == int(os.environ.get("AT", -1)):
        print("at", item, flush=True)
        time.sleep(600)
    return {"a": np.full(625_000, float(item)), "item": item}

if __name__ == "__main__":
    with durable("wf") as ctx:
        found = ctx.map("m", work, range(16), executor=os.environ.get("HOW") or None, max_workers=2)
        for item, one in enumerate(found):
            assert one["item"] == item and set(np.unique(one["a"])) == {float(item)} and one["a"].flags.writeable
        for one in found:
            one["a"][:] = -1
        print("done", ctx.run("sum", lambda: 5))
"""


def recorded(folder: Path) -> set[int]:
    with closing(sqlite3.connect(folder / ".durable" / "journal.db")) as db:
        rows = db.execute("SELECT occurrence, blob FROM entries WHERE name = 'm' AND status = 'succeeded'").fetchall()
    assert all(blob.startswith("blob:") for _, blob in rows)
    return {number for number, _ in rows}


def calls(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "calls.txt").read_text().split()]


@pytest.mark.parametrize("how", ["", "threads", "processes"])
def test_a_map_of_large_values_is_killed(tmp_path, how):
    """16 items of 5 MB: what was committed replays in another process, the rest is called, once; then all replays."""
    if how == "processes":
        pytest.importorskip("loky")
    with script(tmp_path, MAP, AT="11", HOW=how) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at 11\n"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    kept, before = recorded(tmp_path), calls(tmp_path)
    assert kept
    assert finish(script(tmp_path, MAP, HOW=how)) == "done 5\n"
    assert sorted(calls(tmp_path)[len(before) :]) == sorted(set(range(16)) - kept)
    for other in (how, "", "threads"):
        assert finish(script(tmp_path, MAP, HOW=other)) == "done 5\n"
    assert len(calls(tmp_path)) == len(before) + 16 - len(kept)
    assert recorded(tmp_path) == set(range(16))
