"""The contract of ``protocols.Store``, over every store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
    @pytest.mark.parametrize("entry", [FULL, SMALL, finished(SMALL, b""), finished(SMALL, b"x" * 3_000_000)])
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
