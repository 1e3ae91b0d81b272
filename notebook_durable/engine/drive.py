"""The two drivers of a step's flow. They differ only in how they call, and how they wait."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.effects import Abandoned, Begin, Call, Effect, Record, Sleep, Wait
from notebook_durable.engine.flow import Flow
from notebook_durable.engine.inside import current_step
from notebook_durable.errors import StepTimeoutError

if TYPE_CHECKING:
    from notebook_durable.engine.controls import Request
    from notebook_durable.engine.session import Session

__all__ = ["current_step", "drive", "drive_async"]


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
                    assert isinstance(effect, Wait)  # noqa: S101  Sleep is for async contexts
                    outcome = _wait(session, effect)
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
                elif isinstance(effect, Sleep):
                    await session.clock.asleep(effect.delay)
                    outcome = None
                else:
                    outcome = await _wait_async(session, effect)
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
            session.record(effect.entry, effect.attempt, effect.extra)


def _wait(session: Session, effect: Wait) -> list[Request]:
    with session.controls.waiting(effect.seq) as waiter:
        session.clock.wait(waiter, effect.delay, session.look_into_mailbox)
        return waiter.take()


async def _wait_async(session: Session, effect: Wait) -> list[Request]:
    with session.controls.waiting(effect.seq) as waiter:
        await session.clock.wait_async(waiter, effect.delay, session.look_into_mailbox)
        return waiter.take()


def _call(session: Session, effect: Call, name: str) -> Any:
    before = current_step.get()
    try:
        # Inside of the try: Stop may come between any two instructions, and must not leave the mark behind.
        current_step.set((session, name))
        if effect.on_stop is None and effect.timeout is None and effect.recording is None:
            return session.executor.call(effect.fn, effect.args, effect.kwargs)
        with _recording(session, effect), _watch(session, effect), _deadline(session, effect, name):
            return session.executor.call(effect.fn, effect.args, effect.kwargs)
    finally:
        current_step.set(before)


def _wait_for(session: Session, awaitable: Any, effect: Call, name: str) -> Any:
    """A sync context was handed an async function."""
    before = current_step.get()
    try:
        current_step.set((session, name))
        with _recording(session, effect), _watch(session, effect):
            return session.executor.wait(_timed(awaitable, effect, name), session.guard)
    finally:
        current_step.set(before)


async def _awaited(session: Session, awaitable: Any, effect: Call, name: str) -> Any:
    before = current_step.get()
    try:
        current_step.set((session, name))
        if effect.on_stop is None and effect.timeout is None and effect.recording is None:
            return await awaitable
        with _recording(session, effect), _watch(session, effect):
            return await _timed(awaitable, effect, name)
    finally:
        current_step.set(before)


_NOTHING = nullcontext()


def _recording(session: Session, effect: Call) -> AbstractContextManager[None]:
    return _NOTHING if effect.recording is None else session.guard.around(effect.recording)


def _watch(session: Session, effect: Call) -> AbstractContextManager[None]:
    return _NOTHING if effect.on_stop is None else session.guard.watch(effect.on_stop)


def _deadline(session: Session, effect: Call, name: str) -> AbstractContextManager[None]:
    if effect.timeout is None or inspect.iscoroutinefunction(effect.fn):
        return _NOTHING
    return session.guard.deadline(effect.timeout, lambda: _too_long(effect, name))


def _timed(awaitable: Any, effect: Call, name: str) -> Any:
    return awaitable if effect.timeout is None else _with_timeout(awaitable, effect, name)


async def _with_timeout(awaitable: Any, effect: Call, name: str) -> Any:
    limit = asyncio.timeout(effect.timeout)
    try:
        async with limit:
            return await awaitable
    except TimeoutError as error:
        if not limit.expired():
            raise  # the function's own
        raise _too_long(effect, name) from error


def _too_long(effect: Call, name: str) -> StepTimeoutError:
    error = StepTimeoutError(name, effect.timeout or 0.0)
    error.limit = effect.owner
    return error


def home_task() -> asyncio.Task[Any] | None:
    """Return the running task, None outside of an event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
