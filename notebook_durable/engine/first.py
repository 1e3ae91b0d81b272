"""The entry that the first attempt of an execution begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notebook_durable.engine.journal import Match, Place
from notebook_durable.engine.options import StepSpec
from notebook_durable.engine.rollback import OWN_FAILURE, UNDOES
from notebook_durable.errors import OutcomeUnknownError
from notebook_durable.model import LEFT_WITHOUT, Entry, EntryStatus

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["check_outcome_known", "first_entry"]


def first_entry(session: Session, spec: StepSpec, place: Place, follows: int | None, match: Match) -> Entry:
    """Make the entry that the first attempt of this execution begins with.

    Raises:
        OutcomeUnknownError: if an ``at_most_once`` step was open when its kernel died.
    """
    old = match.entry
    if old is not None:
        check_outcome_known(session, spec, old)
    entry = Entry(
        seq=place.seq,
        name=place.name,
        occurrence=place.occurrence,
        status=EntryStatus.RUNNING,
        execution=session.claim.execution,
        rollback_of=place.seq if follows == OWN_FAILURE else follows,
        at_most_once=spec.options.at_most_once,
        note="" if place.undoes is None else UNDOES,
    )
    if old is None or not old.intact:
        return entry
    if match.resumes:
        return entry._replace(budget=old.budget, attempts=old.attempts, spent=old.spent, rollback_of=old.rollback_of)
    return entry._replace(budget=old.budget + 1)


def check_outcome_known(session: Session, spec: StepSpec, old: Entry) -> None:
    """Refuse to run a step again that must not run twice and may have had its effect.

    Raises:
        OutcomeUnknownError: if it was open when its kernel died, or what is recorded of it can't be believed.
    """
    run = session.run
    if not old.intact:
        if spec.options.at_most_once:  # the row says nothing, not even whether the step had ended
            why = "its journal entry is damaged"
            raise OutcomeUnknownError(run.workflow, run.key, str(old.key), old.started_at, why)
        return
    open_attempt = old.status is EntryStatus.RUNNING and old.ended_at is None
    if open_attempt and (old.at_most_once or spec.options.at_most_once):
        why = old.note if old.note.startswith(LEFT_WITHOUT) else ""
        raise OutcomeUnknownError(run.workflow, run.key, str(old.key), old.started_at, why)
