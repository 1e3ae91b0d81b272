"""The two drivers of a step's flow. They differ only in how they call, and how they wait."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.effects import Begin, Call, Effect, Record
from notebook_durable.engine.flow import Flow

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["current_step", "drive", "drive_async"]

#: Name of the step whose function is running in this context, None outside of steps.
current_step: ContextVar[str | None] = ContextVar("notebook_durable_step", default=None)


def drive(session: Session, flow: Flow, name: str) -> Any:
    """Run a flow to its end on this thread."""
    advance: Any = flow.send
    outcome: Any = None
    while True:
        try:
            effect = advance(outcome)
        except StopIteration as done:
            return done.value
        try:
            kind = type(effect)
            if kind is Call:
                outcome = _call(session, effect, name)
                if inspect.isawaitable(outcome):
                    outcome = _wait_for(session, outcome, name)
            elif kind is Begin or kind is Record:
                _write(session, effect)
                outcome = None
            else:
                session.clock.sleep(effect.delay)
                outcome = None
        except BaseException as error:  # noqa: BLE001  the flow decides what it means
            advance, outcome = flow.throw, error
        else:
            advance = flow.send


async def drive_async(session: Session, flow: Flow, name: str) -> Any:
    """Run a flow to its end in this task."""
    advance: Any = flow.send
    outcome: Any = None
    while True:
        try:
            effect = advance(outcome)
        except StopIteration as done:
            return done.value
        try:
            kind = type(effect)
            if kind is Call:
                outcome = _call(session, effect, name)
                if inspect.isawaitable(outcome):
                    outcome = await _awaited(session, outcome, effect, name)
            elif kind is Begin or kind is Record:
                _write(session, effect)
                outcome = None
            else:
                await session.clock.asleep(effect.delay)
                outcome = None
        except BaseException as error:  # noqa: BLE001  the flow decides what it means
            advance, outcome = flow.throw, error
        else:
            advance = flow.send


def _write(session: Session, effect: Effect) -> None:
    session.check_open()
    with session.guard.shield():
        if isinstance(effect, Begin):
            session.begin(effect.entry, wait=effect.wait)
        elif isinstance(effect, Record):
            session.record(effect.entry, effect.attempt)


def _call(session: Session, effect: Call, name: str) -> Any:
    token = current_step.set(name)
    try:
        if effect.on_stop is None:
            return session.executor.call(effect.fn, effect.args, effect.kwargs)
        with session.guard.watch(effect.on_stop):
            return session.executor.call(effect.fn, effect.args, effect.kwargs)
    finally:
        current_step.reset(token)


def _wait_for(session: Session, awaitable: Any, name: str) -> Any:
    """A sync context was handed an async function."""
    token = current_step.set(name)
    try:
        return session.executor.wait(awaitable, session.guard)
    finally:
        current_step.reset(token)


async def _awaited(session: Session, awaitable: Any, effect: Call, name: str) -> Any:
    token = current_step.set(name)
    try:
        if effect.on_stop is None:
            return await awaitable
        with session.guard.watch(effect.on_stop):
            return await awaitable
    finally:
        current_step.reset(token)


def home_task() -> asyncio.Task[Any] | None:
    """Return the running task, None outside of an event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
