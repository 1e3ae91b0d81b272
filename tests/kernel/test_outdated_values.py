"""Values that the installed libraries can't read: their steps run again, and it is said with which versions it was.

Needs a Python with an older pandas: ``NBD_OTHER_LIBRARIES`` names it (see ``.ci/run``).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import notebook_durable

OTHER = os.environ.get("NBD_OTHER_LIBRARIES", "")
ROOT = Path(notebook_durable.__file__).parent.parent
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        not Path(OTHER).is_file(), reason="NBD_OTHER_LIBRARIES doesn't name a Python with an older pandas (see .ci/run)"
    ),
]

SCRIPT = '''
import sys
import numpy as np, pandas as pd
from notebook_durable import durable, journal
from notebook_durable.errors import OutcomeUnknownError
from notebook_durable.events import StepReplayed, StepStarted

class Seen:
    def notify(self, event):
        if isinstance(event, (StepStarted, StepReplayed)):
            why = getattr(event, "reason", "") if isinstance(event, StepStarted) else event.note
            print(type(event).__name__, event.entry.name, why, sep="|")

def frame(columns):
    # pandas 3 has moved its classes, which counts as other code: that is not what is tested here.
    return getattr(pd, "Data" + "Frame")(columns)

def load(rows):
    """What pandas 2 can't read of pandas 3: text in columns."""
    print("called|load|")
    return {"t": frame({"s": [f"s{i}" for i in range(rows)], "i": range(rows)})}

def numbers(rows):
    print("called|numbers|")
    return np.arange(rows)

def once(rows):
    print("called|once|")
    return frame({"s": [f"s{i}" for i in range(rows)]})

def named(rows):
    return len(pd.DataFrame({"i": range(rows)}))

rows, what = int(sys.argv[1]), sys.argv[2]
if what == "load@1":
    found = journal().load("wf", "load@1")
    print("loaded", len(found["t"]), found["t"]["s"].iloc[-1], sep="|")
elif what == "outcome":
    print("said", journal().outcome("once", "once", value=7), "", sep="|")
elif what == "once":
    with durable("once", observers=[Seen()]) as ctx:
        try:
            value = ctx.run("once", once, rows, at_most_once=True)
            print("got", type(value).__name__, "", sep="|")
        except OutcomeUnknownError as error:
            print("refused", error.reason, str(error).splitlines()[1].strip(), sep="|")
elif what == "named":
    with durable("named", observers=[Seen()]) as ctx:
        assert ctx.run("named", named, rows) == rows
elif what == "map":
    with durable("map", observers=[]) as ctx:
        found = ctx.map("m", load, [rows, rows + 1])
        print("got", [len(one["t"]) for one in found], "", sep="|")
else:
    with durable("wf", observers=[Seen()]) as ctx:
        n, t = ctx.run("numbers", numbers, rows), ctx.run("load", load, rows)["t"]
        assert t["s"].tolist() == [f"s{i}" for i in range(rows)] and t["i"].sum() == n.sum() == rows * (rows - 1) // 2
'''


@pytest.fixture
def play(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NOTEBOOK_DURABLE_KEY_FILE": str(tmp_path / "key")}
    env.pop("NOTEBOOK_DURABLE_STORE", None)

    def run(python: str, rows: int, what: str = "steps") -> list[list[str]]:
        done = subprocess.run(
            [python, "script.py", str(rows), what], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split("|") for line in done.stdout.splitlines()]

    return run


BOTH = re.compile(r"its value was recorded with (.*), and (.*) can't read it")


def check_names_both(text: str) -> None:
    found = BOTH.fullmatch(text)
    assert found, text
    then, now = (re.search(r"pandas ([\d.]+)", part)[1] for part in found.groups())
    assert then.partition(".")[0] > now.partition(".")[0]


def test_a_class_that_a_library_has_moved(play):
    """If another version of a library is other code to a step, the reason names both versions."""
    play(sys.executable, 10, "named")
    ((kind, _, why),) = play(OTHER, 10, "named")
    assert kind == "StepReplayed" or re.search(r"`pandas\.\S+` changed \(pandas 3\S+ → 2\S+\)", why), why


@pytest.mark.parametrize("rows", [10, 40_000])
def test_an_older_pandas_runs_the_step_again(play, rows):
    """The reason names both versions; what can be read replays; the old value is kept, for the pandas of then."""
    assert [line[:2] for line in play(sys.executable, rows)] == [
        ["StepStarted", "numbers"], ["called", "numbers"], ["StepStarted", "load"], ["called", "load"],
    ]  # fmt: skip
    replayed, started, called = play(OTHER, rows)
    assert replayed[:2] == ["StepReplayed", "numbers"]
    assert started[:2] == ["StepStarted", "load"]
    check_names_both(started[2])
    assert called[:2] == ["called", "load"]
    for python in (OTHER, sys.executable):  # a newer pandas reads what an older one wrote
        assert [line[:2] for line in play(python, rows)] == [["StepReplayed", "numbers"], ["StepReplayed", "load"]]
    assert play(sys.executable, rows, "load@1") == [["loaded", str(rows), f"s{rows - 1}"]]


@pytest.mark.parametrize("rows", [20_000])
def test_a_step_that_must_not_run_twice_is_not_called(play, rows):
    """The error names both versions; with the pandas of then, or with a value given by hand, the cell goes on."""
    assert play(sys.executable, rows, "once")[1:] == [["called", "once", ""], ["got", "DataFrame", ""]]
    for _ in range(2):
        ((refused, why, typed),) = play(OTHER, rows, "once")
        assert refused == "refused"
        check_names_both(why)
        assert typed.startswith('%durable outcome once "once" --value')
    assert play(sys.executable, rows, "once")[-1][:2] == ["got", "DataFrame"]
    ((_, said, _),) = play(OTHER, rows, "outcome")
    assert "has the value that you gave" in said
    assert play(OTHER, rows, "once")[-1][:2] == ["got", "int"]


def test_items_of_a_map_run_again(play):
    """Each item whose value can't be read is computed anew, and all of them replay then."""
    first = play(sys.executable, 5, "map")
    assert first == [["called", "load", ""], ["called", "load", ""], ["got", "[5, 6]", ""]]
    assert play(OTHER, 5, "map") == first
    assert play(OTHER, 5, "map") == first[2:]
    assert play(sys.executable, 5, "map") == first[2:]
