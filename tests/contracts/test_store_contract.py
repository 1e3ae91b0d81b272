"""The contract of ``protocols.Store``, over every store."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notebook_durable.errors import NotebookMismatchError, RunOpenError, RunTakenOverError, StoreError
from notebook_durable.model import (
    Ask,
    Attempt,
    Claim,
    Entry,
    EntryStatus,
    Extra,
    Failure,
    Message,
    Outcome,
    Owner,
    Payload,
    RunId,
    RunStatus,
    StepCode,
)
from notebook_durable.stores import locks
from notebook_durable.stores.keys import Signer
from notebook_durable.stores.memory import MemoryStore
from notebook_durable.stores.sqlite import SqliteStore

RUN = RunId("etl", "monday")
ME = Owner(4711, "here", "boot", "start")
OTHER = Owner(4712, "there", "boot2", "start2")

#: One of each kind of field: None and not None, empty and not, text outside ASCII, every flag.
FULL = Entry(
    seq=3,
    name="🚀 'load' \"%s\"",
    occurrence=2,
    status=EntryStatus.FAILED,
    execution=4,
    budget=1,
    attempts=5,
    spent=1.25,
    started_at=1000.5,
    ended_at=1001.5,
    duration=0.125,
    serializer="dill",
    payload=b"\x00\xff payload",
    value_type="builtins.ValueError",
    error={"type": "ValueError", "message": "ü\ud800", "traceback": "", "status_code": 404, "metadata": {"a": "b"}},
    failure=Failure.TERMINAL,
    left=True,
    survived=True,
    rollback_of=0,
    at_most_once=True,
    note="why",
    code=StepCode("def f(): ...", "inputs", "print", 2),
)
SMALL = Entry(0, "a", 0, EntryStatus.RUNNING)


@pytest.fixture(params=["memory", "sqlite", "sqlite on a network"])
def store(request: pytest.FixtureRequest, tmp_path: Path, signer: Signer) -> Iterator[Any]:
    made: Any = MemoryStore()
    if request.param != "memory":
        made = SqliteStore(tmp_path / ".durable", signer, on_notice=lambda _: None, network="network" in request.param)
    yield made
    made.close()


def steal(store: Any, claim: Claim, owner: Owner = OTHER, **how: Any) -> Claim:
    """Claim a run that is held, as another machine can whose file locks are not shared."""
    if isinstance(store, MemoryStore):
        store._held.clear()
    else:
        # The descriptor stays open and locked; only its file is gone, as when somebody deletes the folder of locks.
        path = store._locks.path(claim.run)
        locks._held.pop(str(path))
        path.unlink()
    return store.claim(claim.run, owner, now=500.0, **how)  # a lease was until second 61


def finished(entry: Entry, payload: bytes = b"1") -> Entry:
    return entry._replace(status=EntryStatus.SUCCEEDED, serializer="json", payload=payload)


class TestClaim:
    def test_first_claim_creates(self, store: Any) -> None:
        """The first claim makes run 1, execution 1, with no execution before."""
        claim = store.claim(RUN, ME, now=1.0)
        assert (claim.run, claim.number, claim.execution, claim.owner, claim.previous) == (RUN, 1, 1, ME, None)
        assert list(store.entries(claim)) == []

    def test_held_run_is_open(self, store: Any) -> None:
        """A run that this process holds can't be claimed again; another key of the workflow can."""
        store.claim(RUN, ME, now=1.0)
        with pytest.raises(RunOpenError):
            store.claim(RUN, ME, now=2.0)
        assert store.claim(RunId("etl"), ME, now=2.0).number == 1

    @pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.FAILED, Outcome.INTERRUPTED])
    def test_next_execution_knows_the_last(self, store: Any, outcome: Outcome) -> None:
        """A later claim goes on with the same run, and says how the execution before ended."""
        first = store.claim(RUN, ME, now=1.0)
        store.end(first, outcome, RunStatus(outcome.value), now=2.0)
        store.release(first)
        second = store.claim(RUN, ME, now=3.0)
        assert (second.id, second.number, second.execution, second.previous) == (first.id, 1, 2, outcome)
        assert second.epoch > first.epoch

    def test_unended_execution_was_killed(self, store: Any) -> None:
        """An execution that never ended is closed as killed."""
        store.release(store.claim(RUN, ME, now=1.0))
        assert store.claim(RUN, ME, now=2.0).previous is Outcome.KILLED

    def test_fresh_archives(self, store: Any) -> None:
        """``fresh`` begins a new run and keeps the old one with all its entries."""
        first = store.claim(RUN, ME, now=1.0)
        store.record(first, finished(SMALL))
        store.end(first, Outcome.COMPLETED, RunStatus.COMPLETED, now=2.0)
        store.release(first)
        second = store.claim(RUN, ME, now=3.0, fresh=True)
        assert (second.number, second.execution, second.previous) == (2, 1, None)
        assert list(store.entries(second)) == []
        assert [entry.payload for entry in store.read(first.id)] == [b"1"]
        assert [(info.number, info.archived, info.status) for info in store.runs(archived=True)] == [
            (2, False, RunStatus.RUNNING),
            (1, True, RunStatus.COMPLETED),
        ]
        assert [info.number for info in store.runs()] == [2]

    def test_killed_run_archived_is_not_running(self, store: Any) -> None:
        """A run whose kernel died is not listed as running once it was archived."""
        store.release(store.claim(RUN, ME, now=1.0))
        store.claim(RUN, ME, now=3.0, fresh=True)
        assert store.runs(archived=True)[1].status is RunStatus.INTERRUPTED

    def test_starts_over_after(self, store: Any) -> None:
        """A run starts over only if its status is among those named."""
        first = store.claim(RUN, ME, now=1.0)
        store.end(first, Outcome.FAILED, RunStatus.ROLLED_BACK, now=2.0)
        store.release(first)
        again = store.claim(RUN, ME, now=3.0, start_over_after=[RunStatus.COMPLETED])
        assert again.number == 1
        store.end(again, Outcome.FAILED, RunStatus.ROLLED_BACK, now=4.0)
        store.release(again)
        assert store.claim(RUN, ME, now=5.0, start_over_after=[RunStatus.ROLLED_BACK]).number == 2

    def test_names_are_any_text(self, store: Any) -> None:
        """Two runs whose names differ in any character are two runs."""
        names = ["🚀", "it's", 'a "quote"', "100%", "a/b/../c", "a\\b", "x" * 200, "A", "a", "é", "e\u0301"]
        claims = [store.claim(RunId(name, key), ME, now=1.0) for name in names for key in ("", "k")]
        assert len({claim.id for claim in claims}) == 2 * len(names)
        assert {info.run for info in store.runs()} == {claim.run for claim in claims}


class TestNotebook:
    def _claim(self, store: Any, notebook: str | None, **how: Any) -> Claim:
        claim = store.claim(RUN, ME, now=1.0, notebook=notebook, **how)
        store.release(claim)
        return claim

    def test_first_one_known_is_recorded(self, store: Any) -> None:
        """None fits any notebook, and the first one that is known is recorded."""
        self._claim(store, None)
        assert store.runs()[0].notebook is None
        self._claim(store, "/a.ipynb")
        assert store.runs()[0].notebook == "/a.ipynb"
        self._claim(store, None)
        self._claim(store, "/a.ipynb")

    @pytest.mark.parametrize("fresh", [False, True])
    def test_another_notebook_is_refused(self, store: Any, fresh: bool) -> None:
        """Another notebook is refused before anything changes, also with ``fresh``, and the run isn't held then."""
        first = self._claim(store, "/a.ipynb")
        before = store.runs(archived=True)
        with pytest.raises(NotebookMismatchError) as caught:
            self._claim(store, "/b.ipynb", fresh=fresh)
        assert (caught.value.recorded, caught.value.current) == ("/a.ipynb", "/b.ipynb")
        assert store.runs(archived=True) == before
        assert self._claim(store, "/a.ipynb").id == first.id

    def test_moved(self, store: Any) -> None:
        """``set_notebook`` makes the runs of one workflow another notebook's, and counts them."""
        self._claim(store, "/a.ipynb")
        self._claim(store, "/a.ipynb", fresh=True)
        assert store.set_notebook("etl", "/b.ipynb") == 2
        assert store.set_notebook("other", "/b.ipynb") == 0
        self._claim(store, "/b.ipynb")
        with pytest.raises(NotebookMismatchError):
            self._claim(store, "/a.ipynb")

    def test_shared(self, store: Any) -> None:
        """``set_notebook(None)`` makes a run any notebook's, also after it is started over."""
        self._claim(store, "/a.ipynb")
        store.set_notebook("etl", None)
        self._claim(store, "/b.ipynb")
        self._claim(store, "/c.ipynb", fresh=True)
        self._claim(store, "/d.ipynb")

    def test_new_run_keeps_the_notebook(self, store: Any) -> None:
        """A run that was started over belongs to the notebook of the one before."""
        self._claim(store, "/a.ipynb")
        self._claim(store, None, fresh=True)
        with pytest.raises(NotebookMismatchError):
            self._claim(store, "/b.ipynb")


class TestEntries:
    @pytest.mark.parametrize("write", ["begin", "begin and wait", "record", "end", "amend"])
    @pytest.mark.parametrize("entry", [FULL, SMALL, finished(SMALL, b""), finished(SMALL, b"x" * 60_000)])
    def test_every_field_comes_back(self, store: Any, write: str, entry: Entry) -> None:
        """An entry is read as it was written, whichever way, and is intact."""
        claim = store.claim(RUN, ME, now=1.0)
        if write == "record":
            store.record(claim, entry)
        elif write == "end":
            store.end(claim, Outcome.FAILED, RunStatus.FAILED, [entry], now=2.0)
        elif write == "amend":
            store.release(claim)
            store.amend(claim.id, [entry])
        else:
            store.begin(claim, entry, wait=write != "begin")
        assert list(store.entries(claim)) == [entry] == list(store.read(claim.id))

    def test_in_order(self, store: Any) -> None:
        """Entries come by ``seq``, whatever the order in which they were written."""
        claim = store.claim(RUN, ME, now=1.0)
        for seq in (5, 0, 300, 2):
            store.record(claim, SMALL._replace(seq=seq))
        assert [entry.seq for entry in store.entries(claim)] == [0, 2, 5, 300]

    def test_replaced(self, store: Any) -> None:
        """An entry with the same ``seq`` is replaced whole."""
        claim = store.claim(RUN, ME, now=1.0)
        store.begin(claim, FULL)
        store.record(claim, finished(SMALL)._replace(seq=FULL.seq))
        assert list(store.entries(claim)) == [finished(SMALL)._replace(seq=FULL.seq)]

    def test_runs_are_apart(self, store: Any) -> None:
        """Two runs don't see each other's entries."""
        one, two = (store.claim(RunId("etl", key), ME, now=1.0) for key in ("1", "2"))
        store.record(one, finished(SMALL, b"one"))
        store.record(two, finished(SMALL, b"two"))
        assert [entry.payload for entry in store.entries(one)] == [b"one"]
        assert [entry.payload for entry in store.entries(two)] == [b"two"]

    def test_negative_number(self, store: Any) -> None:
        """An entry that would lie in another run's place is refused."""
        claim = store.claim(RUN, ME, now=1.0)
        with pytest.raises(StoreError):
            store.record(claim, SMALL._replace(seq=-1))
        assert list(store.entries(claim)) == []

    def test_attempts(self, store: Any) -> None:
        """Failed attempts come oldest first, budget by budget, only those of the entry; the same one replaces."""
        claim = store.claim(RUN, ME, now=1.0)
        made = [
            Attempt(0, budget, number, 10.0 * budget + number, 0.5, {"type": "E", "message": str(number)}, delay)
            for budget, number, delay in [(1, 1, None), (0, 2, 2.5), (0, 1, 0.0)]
        ]
        for attempt in made:
            store.record(claim, SMALL, attempt)
        store.record(claim, SMALL._replace(seq=1), Attempt(1, 0, 1, 1.0, 1.0, {}, None))
        assert list(store.attempts(claim.id, 0)) == sorted(made, key=lambda attempt: (attempt.budget, attempt.number))
        store.record(claim, SMALL, made[0])
        assert len(store.attempts(claim.id, 0)) == 3
        assert list(store.attempts(claim.id, 77)) == list(store.attempts(99, 0)) == []

    def test_reading_from_another_thread(self, store: Any) -> None:
        """The reading methods work on another thread while a claim is open."""
        claim = store.claim(RUN, ME, now=1.0)
        store.record(claim, FULL)
        seen: list[Any] = []
        thread = threading.Thread(
            target=lambda: seen.extend([store.runs(), store.read(claim.id), store.attempts(1, 0)])
        )
        thread.start()
        thread.join()
        assert seen[0][0].run == RUN
        assert list(seen[1]) == [FULL]


class TestTakenOver:
    def test_record_is_detached(self, store: Any) -> None:
        """A commit after a take-over is refused, naming the new owner, and its entry kept apart."""
        old = store.claim(RUN, ME, now=1.0)
        store.begin(old, SMALL)
        new = steal(store, old)
        store.record(new, finished(SMALL, b"new"))
        with pytest.raises(RunTakenOverError) as caught:
            store.record(old, finished(SMALL, b"old"), Attempt(0, 0, 1, 1.0, 1.0, {}, None))
        assert (caught.value.pid, caught.value.host, caught.value.step) == (OTHER.pid, OTHER.host, "a")
        assert list(store.entries(new)) == [finished(SMALL, b"new")]
        assert list(store.detached(old.id)) == [finished(SMALL, b"old")]
        assert list(store.attempts(old.id, 0)) == []

    def test_begin_is_refused(self, store: Any) -> None:
        """An attempt can't begin after a take-over, and nothing is stored."""
        old = store.claim(RUN, ME, now=1.0)
        new = steal(store, old)
        with pytest.raises(RunTakenOverError):
            store.begin(old, SMALL)
        assert list(store.entries(new)) == list(store.detached(old.id)) == []

    def test_end_is_refused(self, store: Any) -> None:
        """An execution that lost its run doesn't end the new one's; its changes are kept apart."""
        old = store.claim(RUN, ME, now=1.0)
        steal(store, old)
        with pytest.raises(RunTakenOverError):
            store.end(old, Outcome.COMPLETED, RunStatus.COMPLETED, [FULL, SMALL], now=9.0)
        assert store.runs()[0].status is RunStatus.RUNNING
        assert list(store.detached(old.id)) == [FULL, SMALL]
        with pytest.raises(RunTakenOverError):
            store.end(old, Outcome.COMPLETED, RunStatus.COMPLETED, now=9.0)

    def test_started_over(self, store: Any) -> None:
        """Starting a run over takes it from whoever worked on the archived one."""
        old = store.claim(RUN, ME, now=1.0)
        steal(store, old, fresh=True)
        with pytest.raises(RunTakenOverError) as caught:
            store.record(old, finished(SMALL))
        assert caught.value.pid == OTHER.pid
        assert list(store.read(old.id)) == []


class TestLooking:
    def test_listed(self, store: Any) -> None:
        """A run is listed with its sizes, times and its owner as long as it is executed."""
        claim = store.claim(RUN, ME, now=1.0, notebook="/a.ipynb")
        store.record(claim, finished(SMALL, b"12345"))
        store.record(claim, FULL)
        (info,) = store.runs()
        assert (info.steps, info.finished, info.size, info.executions) == (2, 1, 5 + len(FULL.payload or b""), 1)
        assert (info.owner, info.status, info.created_at, info.ended_at) == (ME, RunStatus.RUNNING, 1.0, None)
        store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, now=7.0)
        store.release(claim)
        (info,) = store.runs()
        assert (info.owner, info.status, info.ended_at) == (None, RunStatus.COMPLETED, 7.0)

    def test_nobody_owns_what_was_given_back(self, store: Any) -> None:
        """A run that was released without an end has no owner."""
        store.release(store.claim(RUN, ME, now=1.0))
        assert store.runs()[0].owner is None

    def test_newest_first(self, store: Any) -> None:
        """Runs are listed newest first, and by workflow if asked."""
        for name in "abc":
            store.claim(RunId(name), ME, now=1.0)
        assert [info.run.workflow for info in store.runs()] == ["c", "b", "a"]
        assert [info.run.workflow for info in store.runs("b")] == ["b"]
        assert list(store.runs("nothing")) == []

    def test_amend_needs_a_free_run(self, store: Any) -> None:
        """Entries can't be replaced while somebody executes the run, and the run is free after it."""
        claim = store.claim(RUN, ME, now=1.0)
        with pytest.raises(RunOpenError):
            store.amend(claim.id, [SMALL])
        store.release(claim)
        store.amend(claim.id, [SMALL])
        store.amend(claim.id, [FULL])
        assert list(store.read(claim.id)) == [SMALL, FULL]
        assert store.claim(RUN, ME, now=2.0).id == claim.id

    def test_unknown_run(self, store: Any) -> None:
        """A run that doesn't exist can't be read or amended."""
        with pytest.raises(StoreError, match="77"):
            store.read(77)
        with pytest.raises(StoreError, match="77"):
            store.amend(77, [SMALL])


class TestEnd:
    def test_release_twice(self, store: Any) -> None:
        """Releasing twice does nothing, also when another execution has the run by then."""
        first = store.claim(RUN, ME, now=1.0)
        store.release(first)
        store.claim(RUN, ME, now=2.0)
        store.release(first)
        with pytest.raises(RunOpenError):
            store.claim(RUN, ME, now=3.0)

    def test_close(self, store: Any) -> None:
        """Closing twice does nothing; a closed store says so."""
        claim = store.claim(RUN, ME, now=1.0)
        store.close()
        store.close()
        store.release(claim)
        for use in (lambda: store.claim(RUN, ME, now=2.0), store.runs, lambda: store.read(1)):
            with pytest.raises(StoreError, match="closed"):
                use()


class TestForPeople:
    """Extras and messages."""

    def test_extras(self, store: Any) -> None:
        """An extra is kept with the state of the entry that it came with, and with no later one."""
        claim = store.claim(RUN, ME, now=1.0)
        first, second = Extra('{"kind": "text"}', '[{"text": "ü\\n"}]'), Extra(outputs="[]")
        store.record(claim, SMALL, None, first)
        store.record(claim, SMALL._replace(seq=1), None, second)
        store.record(claim, SMALL._replace(seq=2))
        assert store.extras(claim.id) == {0: first, 1: second}
        assert store.extras(claim.id, [1, 2, 9]) == {1: second}
        assert set(store.shown(claim.id)) == {0, 1}
        attempt = Attempt(0, 0, 1, 1.0, 2.0, {"type": "E", "message": "", "traceback": ""}, 3.0)
        store.record(claim, SMALL, attempt, Extra("{}"))
        assert store.extras(claim.id, [0]) == {0: Extra("{}")}
        assert set(store.shown(claim.id)) == {1}
        store.record(claim, SMALL)
        assert store.extras(claim.id) == {1: second}

    def test_extras_are_replaced_by_the_next_execution(self, store: Any) -> None:
        """Also by a store that didn't write them."""
        claim = store.claim(RUN, ME, now=1.0)
        store.record(claim, SMALL, None, Extra("{}"))
        store.release(claim)
        claim = store.claim(RUN, ME, now=2.0)
        store.begin(claim, SMALL)
        assert store.extras(claim.id) == {0: Extra("{}")}
        store.record(claim, SMALL)
        assert store.extras(claim.id) == {}

    def test_a_commit_that_comes_too_late_leaves_no_extra(self, store: Any) -> None:
        """The other kernel's stays."""
        old = store.claim(RUN, ME, now=1.0)
        store.release(old)
        claim = store.claim(RUN, ME, now=2.0)
        store.record(claim, SMALL, None, Extra("{}"))
        with pytest.raises(RunTakenOverError):
            store.record(old, SMALL, None, Extra('{"late": 1}'))
        assert store.extras(claim.id) == {0: Extra("{}")}

    def test_messages(self, store: Any) -> None:
        """Left for a run by anybody, read in order, and deleted by id. Needs no claim, and takes none away."""
        claim = store.claim(RUN, ME, now=1.0)
        assert list(store.inbox(claim.id)) == []
        answer = Payload("json", b'"yes"', "str")
        store.post(claim.id, Message(0, 3, Ask.ANSWER, answer, at=5.0))
        store.post(claim.id, Message(0, -1, Ask.STOP, text="ü"))
        one, two = store.inbox(claim.id)
        assert (one.seq, one.ask, one.payload, one.at) == (3, Ask.ANSWER, answer, 5.0)
        assert (two.seq, two.ask, two.payload, two.text) == (-1, Ask.STOP, None, "ü")
        assert 0 < one.id < two.id
        store.discard(claim.id, [one.id])
        assert list(store.inbox(claim.id)) == [two]
        with pytest.raises(StoreError, match="77"):
            store.post(77, Message(0, 0, Ask.RETRY))

    def test_forget_takes_them_along(self, store: Any) -> None:
        """Extras and messages of entries that are deleted, and of a whole run."""
        claim = store.claim(RUN, ME, now=1.0)
        for seq in (0, 1):
            store.record(claim, SMALL._replace(seq=seq), None, Extra("{}"))
            store.post(claim.id, Message(0, seq, Ask.RETRY))
        store.release(claim)
        store.forget(claim.id, [0])
        assert store.extras(claim.id) == {1: Extra("{}")}
        assert [message.seq for message in store.inbox(claim.id)] == [1]
        store.forget(claim.id)
        again = store.claim(RUN, ME, now=2.0)
        assert store.extras(again.id) == {}
        assert list(store.inbox(again.id)) == []

    def test_some_entries(self, store: Any) -> None:
        """Those that are asked for, by ``seq``; what isn't there is left out."""
        claim = store.claim(RUN, ME, now=1.0)
        for seq in (0, 1, 3):
            store.record(claim, SMALL._replace(seq=seq))
        assert [entry.seq for entry in store.read(claim.id, [3, 2, 0])] == [0, 3]
        assert list(store.read(claim.id, [])) == []

    def test_read_without_values(self, store: Any) -> None:
        """The same entries without bytes: their size is told, of small values, large ones and those with buffers."""
        claim = store.claim(RUN, ME, now=1.0)
        store.record(claim, finished(SMALL, b"123"))
        store.record(claim, finished(SMALL._replace(seq=1, occurrence=1), bytes(100_000)))
        store.record(claim, finished(SMALL._replace(seq=2, occurrence=2), b"x")._replace(buffers=(bytes(500),)))
        store.begin(claim, SMALL._replace(seq=3, occurrence=3))
        light = store.read(claim.id, values=False)
        assert [(entry.payload, entry.size) for entry in light] == [(None, 3), (None, 100_000), (None, 501), (None, 0)]
        assert [bool(entry.serializer) for entry in light] == [True, True, True, False]
        whole = [entry._replace(payload=None) for entry in store.read(claim.id)]
        assert [entry._replace(size=0) for entry in light] == [entry._replace(size=0) for entry in whole]
        assert store.read(claim.id, [1], values=False) == [light[1]]
        assert [store.payload(claim.id, entry).size for entry in light[:3]] == [3, 100_000, 501]


def big(*sizes: int, seq: int = 0, **fields: Any) -> Entry:
    """An entry whose value has data and buffers of these sizes, each with bytes of its own."""
    data, *buffers = (bytes([65 + number + seq]) * size for number, size in enumerate(sizes))
    changes = {"serializer": "dill", "payload": data, "buffers": tuple(buffers), "libraries": "numpy 2.1.0", **fields}
    return SMALL._replace(seq=seq, name=f"step {seq}", status=EntryStatus.SUCCEEDED, **changes)


#: In the row, in a pack, in a file; with and without buffers.
SIZES = [
    (10, 0, 1, 70), (60_000,), (65_536,), (65_537,), (40, 70_000, 0, 3), (200_000,), (10, 3_000_000, 5, 65_536),
    (5_000_000,), (20, 5_000_000, 1, 0, 70_000),
]  # fmt: skip


class TestValues:
    """Values with buffers, and large ones."""

    @pytest.mark.parametrize("sizes", SIZES, ids=str)
    @pytest.mark.parametrize("write", ["begin", "record", "with an extra", "many", "end", "amend"])
    def test_come_back(self, store: Any, sizes: tuple[int, ...], write: str) -> None:
        """A value comes back exactly, whichever way it was written; its entry says its size and libraries."""
        entry = big(*sizes)
        claim = store.claim(RUN, ME, now=1.0)
        if write == "begin":
            store.begin(claim, entry, wait=True)
        elif write == "record":
            store.record(claim, entry)
        elif write == "many":
            store.record_many(claim, [(entry, None, Extra("{}")), (big(*sizes, seq=1), None, None)])
        elif write == "end":
            store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, [entry], now=2.0)
        elif write == "amend":
            store.release(claim)
            store.amend(claim.id, [entry])
        else:
            store.record(claim, entry, Attempt(0, 0, 1, 1.0, 1.0, {}), Extra("{}"))
        read = store.entries(claim)[0]
        plain = len(sizes) == 1 and sizes[0] <= 65_536
        assert (read.payload is None, bool(read.blob), read.buffers) == (not plain, not plain, ())
        assert (read.size or len(read.payload), read.libraries, read.intact) == (sum(sizes), "numpy 2.1.0", True)
        value = store.payload(claim.id, read)
        assert (value.serializer, value.data, value.value_type, value.libraries) == (
            "dill", entry.payload, "", "numpy 2.1.0",
        )  # fmt: skip
        assert type(value.data) is bytes
        assert [bytes(buffer) for buffer in value.buffers] == list(entry.buffers)
        assert value.size == sum(sizes)
        assert store.runs()[0].size == sum(sizes) * len(store.entries(claim))

    @pytest.mark.parametrize("sizes", [(10, 100, 70), (10, 100_000), (10, 5_000_000)], ids=str)
    def test_buffers_belong_to_the_caller(self, store: Any, sizes: tuple[int, ...]) -> None:
        """Buffers can be written to; that changes neither the journal nor what another call gives."""
        claim = store.claim(RUN, ME, now=1.0)
        entry = big(*sizes)
        store.record(claim, entry)
        one, two = (store.payload(claim.id, store.entries(claim)[0]) for _ in range(2))
        for buffer in one.buffers:
            buffer[:] = b"!" * len(buffer)
        for value in (two, store.payload(claim.id, store.entries(claim)[0])):
            assert [bytes(buffer) for buffer in value.buffers] == list(entry.buffers)

    @pytest.mark.parametrize("sizes", [(10, 100, 70), (10, 100_000), (10, 5_000_000), (70_000,)], ids=str)
    def test_other_fields_change(self, store: Any, sizes: tuple[int, ...]) -> None:
        """An entry that was read and is written back with other fields keeps its value."""
        claim = store.claim(RUN, ME, now=1.0)
        entry = big(*sizes)
        store.record(claim, entry)
        store.record(claim, store.entries(claim)[0]._replace(note="a note"))
        store.end(claim, Outcome.COMPLETED, RunStatus.COMPLETED, [store.entries(claim)[0]._replace(spent=2.0)], now=2.0)
        store.release(claim)
        store.amend(claim.id, [store.read(claim.id)[0]._replace(status=EntryStatus.SUPERSEDED)])
        (read,) = store.read(claim.id)
        assert (read.status, read.note, read.spent, read.intact) == (EntryStatus.SUPERSEDED, "a note", 2.0, True)
        value = store.payload(claim.id, read)
        assert (value.data, [bytes(one) for one in value.buffers]) == (entry.payload, list(entry.buffers))

    @pytest.mark.parametrize("sizes", [(10, 100, 70), (10, 100_000), (70_000,), (10,)], ids=str)
    def test_replaced(self, store: Any, sizes: tuple[int, ...]) -> None:
        """A new value takes the place of one that lay elsewhere, also if the caller leaves the old reference in."""
        claim = store.claim(RUN, ME, now=1.0)
        for old in SIZES[:5]:
            store.record(claim, big(*old))
            (read,) = store.entries(claim)
            new = big(*sizes)
            store.record(claim, read._replace(payload=new.payload, buffers=new.buffers))
            value = store.payload(claim.id, store.entries(claim)[0])
            assert (value.data, [bytes(one) for one in value.buffers]) == (new.payload, list(new.buffers))

    def test_bytes_that_were_not_kept(self, store: Any) -> None:
        """An entry whose bytes the caller let go of, or that was recorded by it, still finds its value."""
        claim = store.claim(RUN, ME, now=1.0)
        for seq, sizes in enumerate([(10,), (10, 20), (10, 100_000)]):
            entry = big(*sizes, seq=seq)
            store.record(claim, entry)
            value = store.payload(claim.id, entry._replace(payload=None, buffers=()))
            assert (value.data, [bytes(one) for one in value.buffers]) == (entry.payload, list(entry.buffers))

    @pytest.mark.parametrize("sizes", [(10,), (10, 100, 70), (10, 100_000), (10, 5_000_000)], ids=str)
    def test_detached(self, store: Any, sizes: tuple[int, ...]) -> None:
        """What comes too late keeps its value apart; that of the run is another."""
        old = store.claim(RUN, ME, now=1.0)
        new = steal(store, old)
        store.record(new, big(*sizes, 1))
        with pytest.raises(RunTakenOverError):
            store.record(old, big(*sizes))
        store.sweep()
        (apart,) = store.detached(old.id)
        assert [len(one) for one in store.payload(old.id, apart).buffers] == list(sizes[1:])
        assert [len(one) for one in store.payload(new.id, store.entries(new)[0]).buffers] == [*sizes[1:], 1]

    def test_any_contiguous_buffer(self, store: Any) -> None:
        """Buffers may be of any type, shape and order, as long as they are contiguous."""
        numpy = pytest.importorskip("numpy")
        claim = store.claim(RUN, ME, now=1.0)
        array = numpy.arange(20_000.0).reshape(100, 200)
        for seq, one in enumerate([array, numpy.asfortranarray(array), array[:0], memoryview(array), bytearray(b"x")]):
            store.record(claim, big(3, seq=seq)._replace(buffers=(pickle.PickleBuffer(one), memoryview(b"end"))))
            value = store.payload(claim.id, store.entries(claim)[seq])
            assert [bytes(buffer) for buffer in value.buffers] == [bytes(pickle.PickleBuffer(one).raw()), b"end"]

    @pytest.mark.parametrize("size", [100, 9_000, 1_000_000])
    def test_arrays(self, store: Any, size: int) -> None:
        """Pickled arrays come back writable, or read-only if they were, and share nothing with the journal."""
        numpy = pytest.importorskip("numpy")
        claim = store.claim(RUN, ME, now=1.0)
        arrays = [numpy.arange(float(size)), numpy.arange(float(size))]
        arrays[1].flags.writeable = False
        buffers: list[Any] = []
        data = pickle.dumps(arrays, protocol=5, buffer_callback=buffers.append)
        store.record(claim, big(1)._replace(payload=data, buffers=tuple(buffers)))
        for _ in range(2):
            value = store.payload(claim.id, store.entries(claim)[0])
            loaded = pickle.loads(value.data, buffers=value.buffers)
            assert all(map(numpy.array_equal, loaded, arrays))
            assert [one.flags.writeable for one in loaded] == [True, False]
            loaded[0] += 1

    def test_collected(self, store: Any) -> None:
        """Forgotten values are swept, those that entries have are not, and what was handed out stays as it is."""
        claim = store.claim(RUN, ME, now=1.0)
        for seq, sizes in enumerate([(10, 100_000), (10, 5_000_000), (10, 5_000_001), (10, 9)]):
            store.record(claim, big(*sizes, seq=seq))
        store.release(claim)
        values = [store.payload(claim.id, entry) for entry in store.read(claim.id)]
        store.forget(claim.id, [1, 3])
        assert store.sweep() >= 5_000_000
        assert all(set(bytes(one.buffers[0])) == {66 + seq} for seq, one in enumerate(values))
        assert [store.payload(claim.id, entry).size for entry in store.read(claim.id)] == [100_010, 5_000_011]
        assert list(store.verify()) == []
        store.forget(claim.id)
        store.sweep()
        assert sum(store.disk_usage()[1:4]) == 0
        assert list(store.verify()) == []


@given(
    data=st.binary(max_size=100),
    buffers=st.lists(
        st.one_of(st.binary(max_size=100), st.tuples(st.binary(min_size=1, max_size=3), st.integers(1, 70_000))),
        max_size=6,
    ),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_round_trips(store: Any, data: bytes, buffers: list[Any]) -> None:
    """Whatever bytes a value has, and however many buffers: they come back exactly."""
    given_ = tuple(one if isinstance(one, bytes) else one[0] * one[1] for one in buffers)
    claim = store.claim(RUN, ME, now=1.0)
    store.record(claim, big(1)._replace(payload=data, buffers=given_))
    value = store.payload(claim.id, store.entries(claim)[0])
    store.release(claim)
    assert (value.data, tuple(map(bytes, value.buffers))) == (data, given_)
