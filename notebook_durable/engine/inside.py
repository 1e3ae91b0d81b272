"""Which step's function is running: so that ``ctx`` can refuse to be used in there. Small: workers import it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["current_step"]

#: The session and the name of the step whose function is running in this context, None outside of steps.
current_step: ContextVar[tuple[Session, str] | None] = ContextVar("notebook_durable_step", default=None)
