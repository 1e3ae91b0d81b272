"""The disk says no, or another kernel has taken the run: nothing finished is lost to the cell."""

from __future__ import annotations

import pytest

from notebook_durable.errors import JournalUnwritableError, RunTakenOverError
from notebook_durable.events import StepDamaged, StoreFailed
from notebook_durable.model import EntryStatus
from notebook_durable.testing.faults import FailingStore

FULL = JournalUnwritableError("/x/.durable", "No space left on device", "Free some space.")


@pytest.fixture
def full(lab):
    return FailingStore(lab.store, FULL)


@pytest.mark.once
def test_a_finished_value_reaches_the_cell_although_the_disk_is_full(lab, full):
    """The value is returned; the next step is refused, since the journal could not know of it."""
    got = []

    def step():
        full.failing = True  # fills up while the step runs
        return lab.called("load", "three hours of work")

    def body(ctx):
        got.append(ctx.run("load", step))
        ctx.run("next", lab.called, "next")

    with pytest.raises(JournalUnwritableError, match="No space left"):
        lab.play(body, store=full)
    assert got == ["three hours of work"]
    assert lab.calls == ["load"]
    assert lab.events.of(StoreFailed)[0].entry.name == "load"


@pytest.mark.once
def test_what_could_not_be_written_is_written_before_the_next_step(lab, full):
    """Space was freed meanwhile: nothing is missing from the journal."""

    def step():
        full.failing = True
        return "value"

    def body(ctx):
        ctx.run("load", step)
        full.failing = False
        return ctx.run("next", lambda: 2)

    assert lab.play(body, store=full) == 2
    assert [e.status for e in lab.entries()] == [EntryStatus.SUCCEEDED] * 2


@pytest.mark.once
def test_a_disk_that_is_full_at_the_end_is_said(lab, full):
    """The cell ended well, its journal didn't: that is an error of the cell."""

    def step():
        full.failing = True
        return "value"

    with pytest.raises(JournalUnwritableError):
        lab.play(lambda ctx: ctx.run("load", step), store=full)


@pytest.mark.once
def test_no_step_begins_that_the_journal_cannot_know_of(lab, full):
    """A disk that is full before the step: it isn't called."""

    def body(ctx):
        full.failing = True
        ctx.run("a", lab.called, "a")

    with pytest.raises(JournalUnwritableError):
        lab.play(body, store=full)
    assert lab.calls == []


@pytest.mark.once
def test_a_damaged_entry_is_reported_and_computed_anew(lab):
    """Never returned, never fatal."""
    lab.play(lambda ctx: ctx.run("a", lab.called, "a", 1))
    inner = lab.store

    class Damaged(FailingStore):
        def entries(self, claim):
            return [entry._replace(intact=False) for entry in inner.entries(claim)]

    assert lab.play(lambda ctx: ctx.run("a", lab.called, "a", 2), store=Damaged(inner, FULL)) == 2
    assert lab.events.of(StepDamaged)[0].entry.name == "a"
    assert lab.play(lambda ctx: ctx.run("a", lab.called, "a", 2)) == 2


@pytest.mark.once
def test_a_run_taken_over_refuses_this_kernels_commit(lab):
    """The newer claim wins; the refused value is kept as a detached entry."""

    class TakenOver(FailingStore):
        def record(self, claim, entry, attempt=None, extra=None):
            from dataclasses import replace

            self.inner.record(replace(claim, epoch=claim.epoch - 1), entry, attempt, extra)

    with pytest.raises(RunTakenOverError, match="step 'a' was not journaled"):
        lab.play(lambda ctx: ctx.run("a", lab.called, "a", 1), store=TakenOver(lab.store, FULL))
