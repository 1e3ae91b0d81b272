"""A step runs once, its value is on disk when ``ctx.run`` returns, and replays ever after."""

from __future__ import annotations

import functools

import pytest

from notebook_durable.engine.options import RunOptions
from notebook_durable.errors import (
    ConfigurationError,
    ContextClosedError,
    JournalMismatchError,
    NestedContextError,
    NotStorableError,
    RunOpenError,
    UnknownSerializerError,
    UsageError,
)
from notebook_durable.events import ExecutionStarted, StepEnded, StepReplayed, StepStarted
from notebook_durable.model import EntryStatus, Outcome, RunStatus
from notebook_durable.parts import code_from, parts_from


def test_a_finished_step_is_not_called_again(lab):
    """The second execution gets every value from the journal."""

    def body(ctx):
        rows = ctx.run("load", lab.called, "load", [1, 2, 3])
        return ctx.run("sum", lambda: lab.called("sum", sum(rows)))

    assert lab.play(body) == 6
    assert lab.calls == ["load", "sum"]
    lab.restart()
    assert lab.play(body) == 6
    assert lab.calls == []
    assert [e.entry.name for e in lab.events.of(StepReplayed)] == ["load", "sum"]


def test_the_value_is_in_the_journal_when_run_returns(lab):
    """Nothing waits for the end of the cell: another reader sees the entry at once (Restate's RunFlush)."""

    def body(ctx):
        ctx.run("a", lambda: 1)
        assert lab.entry("a").status is EntryStatus.SUCCEEDED
        ctx.run("b", lambda: 2)
        assert lab.entry("b").payload is not None

    lab.play(body)


@pytest.mark.once
def test_a_started_step_is_in_the_journal_while_it_runs(lab):
    """What is under way can be seen, with its attempt counted."""
    seen = []

    def body(ctx):
        ctx.run("a", lambda: seen.append(lab.entry("a")))

    lab.play(body)
    assert seen[0].status is EntryStatus.RUNNING
    assert seen[0].attempts == 1


def test_equal_names_are_told_apart_by_their_order(lab):
    """A loop may use one name; each turn has its own entry."""

    def body(ctx):
        return [ctx.run("turn", lab.called, f"turn {i}", i) for i in range(4)]

    assert lab.play(body) == [0, 1, 2, 3]
    lab.restart()
    assert lab.play(body) == [0, 1, 2, 3]
    assert lab.calls == []
    assert [e.occurrence for e in lab.entries()] == [0, 1, 2, 3]


def test_inserted_removed_and_moved_steps_leave_their_neighbours_alone(lab):
    """An entry is found by name, so an edit around it doesn't disturb it."""
    lab.play(lambda ctx: [ctx.run(n, lab.called, n, n.upper()) for n in "abc"])
    lab.restart()
    assert lab.play(lambda ctx: [ctx.run(n, lab.called, n, n.upper()) for n in "cxa"]) == ["C", "X", "A"]
    assert lab.calls == ["x"]
    lab.restart()
    lab.play(lambda ctx: [ctx.run(n, lab.called, n, n.upper()) for n in "abcx"])
    assert lab.calls == []


def test_the_cell_goes_on_where_it_was_cut_off(lab):
    """An exception in the cell's own code: all finished steps replay."""
    broken = [True]

    def body(ctx):
        ctx.run("a", lab.called, "a")
        if broken:
            raise RuntimeError("cell")
        return ctx.run("b", lab.called, "b", "done")

    with pytest.raises(RuntimeError, match="cell"):
        lab.play(body)
    assert lab.run().status is RunStatus.FAILED
    lab.restart()
    broken.clear()
    assert lab.play(body) == "done"
    assert lab.calls == ["b"]
    assert lab.run().status is RunStatus.COMPLETED


def test_keys_are_runs_of_their_own(lab):
    """The same workflow with another key shares nothing."""
    lab.play(lambda ctx: ctx.run("a", lab.called, "a", 1), key="mon")
    lab.play(lambda ctx: ctx.run("a", lab.called, "a", 2), key="tue")
    assert lab.calls == ["a", "a"]
    assert {run.run.key for run in lab.store.runs("wf")} == {"mon", "tue"}


def test_fresh_starts_over_and_archives(lab):
    """--fresh runs everything again; the old run is kept."""
    body = lambda ctx: ctx.run("a", lab.called, "a", 1)  # noqa: E731
    lab.play(body)
    lab.play(body, fresh=True)
    assert lab.calls == ["a", "a"]
    runs = lab.store.runs("wf", archived=True)
    assert [(run.number, run.archived) for run in runs] == [(2, False), (1, True)]
    assert len(lab.store.read(runs[1].id)) == 1


@pytest.mark.once
def test_executions_are_counted_and_say_how_the_last_one_ended(lab):
    """ExecutionStarted tells what came before."""
    lab.play(lambda ctx: ctx.run("a", lambda: 1))
    lab.play(lambda ctx: None)
    started = lab.events.of(ExecutionStarted)
    assert [(e.execution, e.previous, e.recorded) for e in started] == [(1, None, 0), (2, Outcome.COMPLETED, 1)]


@pytest.mark.once
def test_events_tell_the_story_in_order(lab):
    """Observers get start and end of each step, then of the execution."""
    lab.play(lambda ctx: ctx.run("a", lambda: 1))
    assert lab.events.names() == ["ExecutionStarted", "StepStarted", "StepEnded", "ExecutionEnded"]
    assert lab.events.of(StepStarted)[0].reason == "new"
    assert lab.events.of(StepEnded)[0].entry.status is EntryStatus.SUCCEEDED


@pytest.mark.once
def test_a_failing_observer_never_reaches_the_step(lab, caplog):
    """What an observer raises is logged, and the step goes on."""
    lab.events.notify = lambda event: 1 / 0
    assert lab.play(lambda ctx: ctx.run("a", lambda: 7)) == 7
    assert "an observer of wf failed" in caplog.text


def test_async_functions_work_in_a_sync_context(lab):
    """``fn`` may be a coroutine function, or a lambda that returns a coroutine."""

    async def fetch(n):
        return n + 1

    assert lab.play(lambda ctx: (ctx.run("a", fetch, 1), ctx.run("b", lambda: fetch(2)))) == (2, 3)


@pytest.mark.once
def test_async_steps_of_one_execution_share_a_loop(lab):
    """What a step binds to its event loop can be used by the next step."""
    import asyncio

    loops = []

    async def note():
        loops.append(asyncio.get_running_loop())

    def body(ctx):
        ctx.run("a", note)
        ctx.run("b", note)

    lab.play(body)
    assert loops[0] is loops[1]
    assert loops[0].is_closed()


# --- options and arguments ----------------------------------------------------------------


def test_run_typed_passes_keyword_arguments(lab):
    """Restate's newer form: options in an object, the function's own keywords behind."""

    def fn(a, *, b):
        return lab.called("fn", a + b)

    body = lambda ctx: ctx.run_typed("x", fn, RunOptions(max_attempts=2), 1, b=2)  # noqa: E731
    assert lab.play(body) == 3
    assert lab.play(body) == 3
    assert lab.calls == ["fn"]
    assert lab.play(lambda ctx: ctx.run_typed("y", fn, None, 1, b=3)) == 4


def test_partial_and_lambda_carry_keyword_arguments(lab):
    """The two ways for keyword arguments with ``ctx.run``."""
    assert lab.play(lambda ctx: ctx.run("x", functools.partial(dict, a=1))) == {"a": 1}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda ctx: ctx.run("x", print, sep=","), "ctx.run has no option 'sep'"),
        (lambda ctx: ctx.run("x", 5), "given int instead of a function"),
        (lambda ctx: ctx.run("", print), "must not be empty"),
        (lambda ctx: ctx.run("   ", print), "must not be empty"),
        (lambda ctx: ctx.run(7, print), "must be text"),
        (lambda ctx: ctx.run("a\nb", print), "line breaks"),
        (lambda ctx: ctx.run("x" * 201, print), "201 characters"),
        (lambda ctx: ctx.run("x", print, max_attempts="3"), "max_attempts must be a whole number"),
        (lambda ctx: ctx.run("x", print, max_attempts=-1), "max_attempts must be a whole number"),
        (lambda ctx: ctx.run("x", print, max_retry_duration=-1), "max_retry_duration must be"),
        (lambda ctx: ctx.run("x", print, initial_retry_interval=float("nan")), "initial_retry_interval must be"),
        (lambda ctx: ctx.run("x", print, retry_interval_factor=0.5), "retry_interval_factor must be"),
        (lambda ctx: ctx.run("x", print, fatal="ValueError"), "fatal takes exception classes"),
        (lambda ctx: ctx.run("x", print, on_stop=3), "on_stop= takes a function"),
        (lambda ctx: ctx.run("x", print, serializer="json", serde="json"), "not both"),
        (lambda ctx: ctx.run_typed("x", print, {"max_attempts": 1}), "RunOptions object, not dict"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(lab, call, says):
    """A clear error, nothing journaled, and the run is not spoilt."""
    with pytest.raises(ConfigurationError, match=says):
        lab.play(call)
    assert list(lab.entries()) == []


def test_a_coroutine_instead_of_a_function_is_explained(lab):
    """``ctx.run("x", fetch())`` is a slip that everyone makes once."""

    async def fetch():
        return 1

    with pytest.raises(ConfigurationError, match=r"given a coroutine.*ctx\.run\(.x., fetch"):
        lab.play(lambda ctx: ctx.run("x", fetch()))


def test_restate_keywords_are_accepted(lab):
    """``serde=``, ``type_hint=`` and ``max_duration`` are Restate's spellings."""
    assert lab.play(lambda ctx: ctx.run("x", lambda: (1, 2), serde="dill", type_hint=tuple)) == (1, 2)
    assert lab.play(lambda ctx: ctx.run_typed("y", lambda: 1, RunOptions(max_duration=3))) == 1


# --- misuse -------------------------------------------------------------------------------


def test_ctx_inside_a_step_is_refused_at_once(lab):
    """Restate finds out on replay, and then for ever; we say it on the first call, and don't retry it."""

    def body(ctx):
        ctx.run("outer", lambda: ctx.run("inner", lambda: 1))

    with pytest.raises(NestedContextError, match=r"inside step 'outer'") as caught:
        lab.play(body)
    assert caught.value.step == "outer"
    assert lab.clock.sleeps == []


def test_ctx_after_the_end_is_refused(lab):
    """A ctx kept from an earlier cell says what to do."""
    kept = []
    lab.play(kept.append)
    with pytest.raises(ContextClosedError, match="has ended"):
        kept[0].run("late", lambda: 1)


def test_ctx_from_another_thread_is_refused(lab):
    """Parallelism is asked for, never a surprise."""
    import threading

    caught = []

    def body(ctx):
        def work():
            try:
                ctx.run("x", lambda: 1)
            except UsageError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    lab.play(body)
    assert "another thread" in str(caught[0])


def test_the_same_run_twice_in_one_kernel_is_an_error(lab):
    """And the first one is not disturbed by it."""

    def body(ctx):
        with pytest.raises(RunOpenError, match="already open in this kernel"):
            lab.open()
        return ctx.run("a", lambda: 1)

    assert lab.play(body) == 1


def test_a_context_says_what_it_is(lab):
    """repr and run_id, for people who print ctx."""
    kept = []
    lab.play(lambda ctx: kept.append((ctx, repr(ctx), ctx.run_id)))
    ctx, text, run = kept[-1]
    assert text == "<Context of 'wf', open>"
    assert repr(ctx) == "<Context of 'wf', ended>"
    assert str(run) == "wf"


# --- values -------------------------------------------------------------------------------


class Upper:
    """A serializer that doesn't give back quite what it got."""

    name = "upper"

    def serialize(self, value):
        return value.upper().encode()

    def deserialize(self, data):
        return data.decode()


def test_a_custom_serializer_gives_equal_values_now_and_on_replay(lab):
    """As in Restate, the first run hands back the decoded value, so that nothing changes after a restart."""
    body = lambda ctx: ctx.run("x", lab.called, "x", "abc", serializer=Upper())  # noqa: E731
    assert lab.play(body) == "ABC"
    assert lab.play(body) == "ABC"
    assert lab.calls == ["x"]
    assert lab.entry("x").serializer == "upper"


def test_a_forgotten_serializer_is_an_error_that_keeps_the_value(lab):
    """It names the serializer and the step."""
    lab.play(lambda ctx: ctx.run("x", lambda: "abc", serializer=Upper()))
    with pytest.raises(UnknownSerializerError, match=r"step 'x' was written by the serializer 'upper'"):
        lab.play(lambda ctx: ctx.run("x", lambda: "abc"))
    assert lab.play(lambda ctx: ctx.run("x", lambda: "abc", serializer=Upper())) == "ABC"


@pytest.mark.once
def test_a_serializer_that_cannot_read_what_it_wrote(lab):
    """The value still reaches the cell; the entry says why it isn't kept."""

    class WriteOnly(Upper):
        def deserialize(self, data):
            raise OSError("no reader")

    assert lab.play(lambda ctx: ctx.run("x", lambda: "abc", serializer=WriteOnly())) == "abc"
    assert "can't read what it wrote: OSError: no reader" in lab.entry("x").note


@pytest.mark.parametrize("bad", ["feather", 5, Upper])
def test_a_bad_serializer_is_refused_before_the_step_runs(lab, bad):
    """Three hours of work must not end in a typo."""
    with pytest.raises(ConfigurationError, match="serializer"):
        lab.play(lambda ctx: ctx.run("x", lab.called, "x", serializer=bad))
    assert lab.calls == []


@pytest.mark.once
def test_a_value_that_cannot_be_stored_is_kept_live_and_said(lab):
    """The work is not thrown away; that one step runs again after a restart, its neighbours don't."""

    def body(ctx):
        made = ctx.run("make", lambda: lab.called("make", {"rows": (n for n in range(3))}))
        return ctx.run("sum", lambda: lab.called("sum", sum(made["rows"])))

    assert lab.play(body) == 3
    entry = lab.entry("make")
    assert entry.status is EntryStatus.UNSTORABLE
    assert "generator" in entry.note
    assert "['rows']" in entry.note
    lab.restart()
    assert lab.play(body) == 3
    assert lab.calls == ["make"]


@pytest.mark.once
def test_strict_raises_for_a_value_that_cannot_be_stored(lab):
    """--strict: NotStorableError with the step, the type and the path."""
    with pytest.raises(NotStorableError, match="the result of step 'x' is not storable: generator"):
        lab.play(lambda ctx: ctx.run("x", lambda: (n for n in "ab")), strict=True)


# --- strict order -------------------------------------------------------------------------


def test_strict_holds_the_recorded_order(lab):
    """Another name at a recorded place raises with both orders side by side, and nothing later happens."""
    lab.play(lambda ctx: [ctx.run(n, lab.called, n) for n in "abc"])
    lab.restart()
    with pytest.raises(JournalMismatchError) as caught:
        lab.play(lambda ctx: [ctx.run(n, lab.called, n) for n in "axc"], strict=True)
    assert caught.value.position == 1
    assert caught.value.recorded == ("a", "b", "c")
    assert "-> " in str(caught.value)
    assert lab.calls == []


def test_strict_notices_a_missing_last_step(lab):
    """The end of the cell in place of a recorded step is a mismatch as well."""
    lab.play(lambda ctx: [ctx.run(n, lab.called, n) for n in "abc"])
    with pytest.raises(JournalMismatchError, match="the end of the cell"):
        lab.play(lambda ctx: [ctx.run(n, lab.called, n) for n in "ab"], strict=True)


def test_strict_allows_new_steps_at_the_end(lab):
    """Appending is no mismatch."""
    lab.play(lambda ctx: [ctx.run(n, lab.called, n) for n in "ab"])
    lab.play(lambda ctx: [ctx.run(n, lab.called, n) for n in "abc"], strict=True)
    assert lab.calls == ["a", "b", "c"]


def test_the_source_of_a_step_is_recorded(lab):
    """So that an edit can be shown."""

    def compute():
        return 42

    lab.play(lambda ctx: ctx.run("x", compute))
    code = parts_from(lab.entry("x").code.inputs).code
    functions = code_from(lab.store.texts([code])[code]).functions
    (text,) = [part.text for label, part in functions.items() if label.endswith("compute")]
    assert lab.store.texts([text])[text].strip() == "def compute():\n        return 42"
    assert lab.entry("x").code.version == 2
