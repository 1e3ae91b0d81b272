"""Recorded values that can't be handed back: their steps run again, unless they must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notebook_durable.engine.inplace import NotRestorableError
from notebook_durable.engine.options import StepSpec
from notebook_durable.errors import DamagedValueError, OutcomeUnknownError, OutdatedValueError
from notebook_durable.events import StepDamaged
from notebook_durable.model import Entry

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["LOST", "why_anew"]

#: What ``replay_value`` and ``replay_item`` raise for a value that can't be handed back: its step has to run.
LOST = (NotRestorableError, DamagedValueError, OutdatedValueError)


def why_anew(session: Session, spec: StepSpec, entry: Entry, error: Exception) -> str:
    """Say why a step runs whose recorded value is lost.

    Raises:
        OutcomeUnknownError: if it must not be called twice.
    """
    why = _reason(error)
    if isinstance(error, DamagedValueError):
        session.emit(StepDamaged, entry, why)
    if entry.at_most_once or spec.options.at_most_once:
        run = session.run
        raise OutcomeUnknownError(run.workflow, run.key, str(entry.key), entry.started_at, why) from error
    return why


def _reason(error: Exception) -> str:
    """Say why a recorded value can't be handed back."""
    if isinstance(error, DamagedValueError):
        return f"its recorded value is damaged ({error.reason})"
    if isinstance(error, OutdatedValueError):
        now = f", and {error.present} can't read it" if error.present else ""
        return f"its value was recorded with {error.libraries or 'other libraries'}{now}"
    return f"an input that it changed in place can't be put into its recorded state ({error})"
