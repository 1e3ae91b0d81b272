"""The two drivers of a step's flow. They differ only in how they call, and how they wait."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.effects import Abandoned, Begin, Call, Effect, Record
from notebook_durable.engine.flow import Flow

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["current_step", "drive", "drive_async"]

#: The session and the name of the step whose function is running in this context, None outside of steps.
current_step: ContextVar[tuple[Session, str] | None] = ContextVar("notebook_durable_step", default=None)


def drive(session: Session, flow: Flow, name: str) -> Any:
    """Run a flow to its end on this thread."""
    advance: Any = flow.send
    outcome: Any = None
    hold = _Hold(session)
    try:
        while True:
            effect = advance(outcome)
            try:
                kind = type(effect)
                if kind is Call:
                    outcome = _call(session, effect, name)
                    if inspect.isawaitable(outcome):
                        outcome = _wait_for(session, outcome, effect, name)
                    hold.begin(effect)
                elif kind is Begin or kind is Record:
                    _write(session, effect)
                    outcome = None
                    hold.end()
                else:
                    session.clock.sleep(effect.delay)
                    outcome = None
            except GeneratorExit:
                advance, outcome = flow.throw, Abandoned()
            except BaseException as error:  # noqa: BLE001  the flow decides what it means
                advance, outcome = flow.throw, error
            else:
                advance = flow.send
    except StopIteration as done:
        return done.value
    except Abandoned:
        raise GeneratorExit from None
    finally:
        hold.end()


async def drive_async(session: Session, flow: Flow, name: str) -> Any:
    """Run a flow to its end in this task."""
    advance: Any = flow.send
    outcome: Any = None
    hold = _Hold(session)
    try:
        while True:
            effect = advance(outcome)
            try:
                kind = type(effect)
                if kind is Call:
                    outcome = _call(session, effect, name)
                    if inspect.isawaitable(outcome):
                        outcome = await _awaited(session, outcome, effect, name)
                    hold.begin(effect)
                elif kind is Begin or kind is Record:
                    _write(session, effect)
                    outcome = None
                    hold.end()
                else:
                    await session.clock.asleep(effect.delay)
                    outcome = None
            except GeneratorExit:
                advance, outcome = flow.throw, Abandoned()
            except BaseException as error:  # noqa: BLE001  the flow decides what it means
                advance, outcome = flow.throw, error
            else:
                advance = flow.send
    except StopIteration as done:
        return done.value
    except Abandoned:
        raise GeneratorExit from None
    finally:
        hold.end()


class _Hold:
    """Holds Stop back between the return of a step's function and the write of its result."""

    __slots__ = ("_held", "_shield")

    def __init__(self, session: Session) -> None:
        self._shield = session.guard.shield()
        self._held = False

    def begin(self, call: Call) -> None:
        if call.hold:
            self._shield.__enter__()
            self._held = True

    def end(self) -> None:
        if self._held:
            self._held = False
            self._shield.__exit__(None, None, None)  # a Stop that came meanwhile is raised here


def _write(session: Session, effect: Effect) -> None:
    session.check_open()
    with session.guard.shield():
        if isinstance(effect, Begin):
            session.begin(effect)
        elif isinstance(effect, Record):
            session.record(effect.entry, effect.attempt)


def _call(session: Session, effect: Call, name: str) -> Any:
    before = current_step.get()
    try:
        # Inside of the try: Stop may come between any two instructions, and must not leave the mark behind.
        current_step.set((session, name))
        if effect.on_stop is None:
            return session.executor.call(effect.fn, effect.args, effect.kwargs)
        with session.guard.watch(effect.on_stop):
            return session.executor.call(effect.fn, effect.args, effect.kwargs)
    finally:
        current_step.set(before)


def _wait_for(session: Session, awaitable: Any, effect: Call, name: str) -> Any:
    """A sync context was handed an async function."""
    before = current_step.get()
    try:
        current_step.set((session, name))
        if effect.on_stop is None:
            return session.executor.wait(awaitable, session.guard)
        with session.guard.watch(effect.on_stop):
            return session.executor.wait(awaitable, session.guard)
    finally:
        current_step.set(before)


async def _awaited(session: Session, awaitable: Any, effect: Call, name: str) -> Any:
    before = current_step.get()
    try:
        current_step.set((session, name))
        if effect.on_stop is None:
            return await awaitable
        with session.guard.watch(effect.on_stop):
            return await awaitable
    finally:
        current_step.set(before)


def home_task() -> asyncio.Task[Any] | None:
    """Return the running task, None outside of an event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
