"""Random programs of steps, edited at random: replaying gives what running everything afresh gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from edits.row import Row, edit
from edits.runner import Execution, afresh, play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notebook_durable.stores.memory import MemoryStore

pytestmark = pytest.mark.once

COUNT = 3  # of each kind of thing


@dataclass(frozen=True)
class Step:
    """One ``ctx.run``: what is called with which earlier value, and a constant. ``way`` is how it is called."""

    function: int
    argument: int
    constant: int
    way: str = "plain"


@dataclass(frozen=True)
class Program:
    """Globals, helpers that read them (and call the helper before), step functions, steps.

    Attributes:
        globals_: their values.
        helpers: for each its constant, and whether it calls the one before.
        functions: for each its helper, and how it is written.
        steps: in order.
        comments: how many comment lines stand in between: they change nothing.
    """

    globals_: tuple[int, ...]
    helpers: tuple[tuple[int, bool], ...]
    functions: tuple[tuple[int, str], ...]
    steps: tuple[Step, ...]
    comments: int = 0

    def text(self) -> str:
        return "\n# %%\n".join(self._definitions()) + self._cell()

    def _definitions(self) -> Iterator[str]:
        gap = "# nothing\n\n" * self.comments
        yield "\n".join(f"G{n} = {value}" for n, value in enumerate(self.globals_))
        for n, (constant, nested) in enumerate(self.helpers):
            before = f" + helper{n - 1}(x)" if nested and n else ""
            yield f"{gap}def helper{n}(x):\n    {gap.strip() or '# adds'}\n    return x * {constant} + G{n}{before}"
        for n, (helper, form) in enumerate(self.functions):
            yield gap + _function(f"f{n}", f"helper{helper}", form)

    def _cell(self) -> str:
        lines = ["", "# %% durable", "v = [1]"]
        lines += [_call(number, step) for number, step in enumerate(self.steps)]
        return "\n".join([*lines, "out = v", ""])


def _function(name: str, helper: str, form: str) -> str:
    did = f"did({name!r})"
    if form == "closure":
        inner = f"    def inner(x, c):\n        {did}\n        return {helper}(x) + by * c\n"
        return f"def make(by):\n{inner}    return inner\n{name} = make(G0)"
    if form == "class":
        return (
            f"class C_{name}:\n    def scaled(self, x):\n        return {helper}(x) * 3\n"
            f"def {name}(x, c):\n    {did}\n    return C_{name}().scaled(x) + c"
        )
    if form == "coarse":  # many arguments give one value: the wave stops here
        return f"def {name}(x, c):\n    {did}\n    return ({helper}(x) + c) % 3"
    return f"def {name}(x, c):\n    {did}\n    return {helper}(x) + c"


def _call(number: int, step: Step) -> str:
    value, name = f"v[{step.argument % (number + 1)}]", f"f{step.function}"
    if step.way == "lambda":
        return f"v.append(ctx.run({name!r}, lambda: {name}({value}, {step.constant})))"
    if step.way == "caught":
        return f"v.append(v[0] if {value} % 2 else ctx.run({name!r}, {name}, {value}, {step.constant}))"
    return f"v.append(ctx.run({name!r}, {name}, {value}, {step.constant}))"


small = st.integers(0, 3)
index = st.integers(0, COUNT - 1)
steps = st.builds(Step, index, st.integers(0, 9), small, st.sampled_from(["plain", "plain", "lambda", "caught"]))
forms = st.sampled_from(["plain", "closure", "class", "coarse"])
programs = st.builds(
    Program,
    st.tuples(*[small] * COUNT),
    st.tuples(*[st.tuples(small, st.booleans())] * COUNT),
    st.tuples(*[st.tuples(index, forms)] * COUNT),
    st.lists(steps, min_size=1, max_size=7).map(tuple),
)


@st.composite
def edited(draw: st.DrawFn, program: Program) -> Program:
    """One edit of a program."""
    kind = draw(
        st.sampled_from(["global", "helper", "function", "insert", "remove", "move", "repeat", "constant", "comment"])
    )
    place = draw(st.integers(0, len(program.steps) - 1))
    listed = list(program.steps)
    if kind == "global":
        return replace(program, globals_=_with(program.globals_, draw(index), draw(small)))
    if kind == "helper":
        return replace(program, helpers=_with(program.helpers, draw(index), draw(st.tuples(small, st.booleans()))))
    if kind == "function":
        return replace(program, functions=_with(program.functions, draw(index), draw(st.tuples(index, forms))))
    if kind == "comment":
        return replace(program, comments=program.comments + 1)
    if kind == "insert":
        listed.insert(place, draw(steps))
    elif kind == "remove" and len(listed) > 1:
        del listed[place]
    elif kind == "move":
        listed.insert(draw(st.integers(0, len(listed) - 1)), listed.pop(place))
    elif kind == "repeat":
        listed.insert(place, listed[place])
    elif kind == "constant":
        listed[place] = replace(listed[place], constant=draw(small))
    return replace(program, steps=tuple(listed))


def _with(values: tuple, place: int, value: object) -> tuple:
    return (*values[:place], value, *values[place + 1 :])


@st.composite
def histories(draw: st.DrawFn) -> list[Program]:
    """A program, and what became of it edit by edit; now and then back to an earlier state."""
    found = [draw(programs)]
    for _ in range(draw(st.integers(1, 3))):
        undo = len(found) > 1 and draw(st.booleans())
        found.append(draw(st.sampled_from(found[:-1])) if undo else draw(edited(found[-1])))
    return found


def row_of(history: list[Program]) -> Row:
    row = edit("random", history[0].text(), after=history[-1].text(), out=None)
    versions = [edit("random", program.text(), after="# %% durable\n0", out=None).versions[0] for program in history]
    return replace(row, versions=tuple(versions), errors=("",) * len(versions))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


bounded = settings(
    max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@pytest.mark.parametrize("kept", [False, True], ids=["restart", "kept"])
@bounded
@given(history=histories())
def test_never_stale(history: list[Program], kept: bool, folder: Path) -> None:
    """After each of some edits, all values are those of running the program afresh."""
    row = row_of(history)
    played = play(row, folder, MemoryStore(), kept=kept)
    for number, seen in enumerate(played):
        so_far = replace(row, versions=row.versions[: number + 1])
        fresh = afresh(so_far, folder, kept=kept)
        assert seen.error is None, seen.error
        assert seen.out == fresh.out
        assert seen.runs + seen.replays == fresh.runs
        assert seen.called == seen.runs


@bounded
@given(program=programs)
def test_never_needless(program: Program, folder: Path) -> None:
    """A program that nobody edited replays as a whole, and so does one that got comments and blank lines."""
    first, again, commented = play(row_of([program, program, replace(program, comments=2)]), folder, MemoryStore())
    assert_replayed(again, first)
    assert_replayed(commented, first)


@bounded
@given(program=programs, data=st.data())
def test_undo_needs_nothing(program: Program, data: st.DataObject, folder: Path) -> None:
    """An edit that is undone finds all that was recorded before it."""
    other = data.draw(edited(program))
    first, _, undone = play(row_of([program, other, program]), folder, MemoryStore())
    assert_replayed(undone, first)


def assert_replayed(seen: Execution, first: Execution) -> None:
    assert not seen.runs, seen.reasons
    assert (seen.replays, seen.out) == (first.runs, first.out)
