"""A lab that plays workflows against a real journal, in two modes.

Normal mode plays a body once. With ``--always-replay`` the engine re-enters the body after every step that finishes, as
Restate's test-suite does, so that each test also proves that everything before a step replays.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from notebook_durable.engine.session import Ports, Session
from notebook_durable.events import Event
from notebook_durable.executors.inline import InlineExecutor
from notebook_durable.model import Entry, Owner, RunId, RunInfo
from notebook_durable.previews import preview
from notebook_durable.protocols import Store
from notebook_durable.retry import RetryPolicy
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.signals import SigintGuard
from notebook_durable.testing.clock import FakeClock
from notebook_durable.testing.faults import CrashError, Reenter, ReplayingStore
from notebook_durable.wiring import fingerprinter, this_process

__all__ = ["Calls", "Events", "Lab", "Outside", "other_kernel"]


class Outside:
    """Stands for what is outside of the notebook: a thing without content, as a connection is."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("what is outside has no content")


class Calls(Outside, list[Any]):
    """Counts calls that a step's function makes, and is no input of it."""


class Events(list[Event]):
    """An observer that keeps everything."""

    def notify(self, event: Event, /) -> None:
        self.append(event)

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self]

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


class Lab(Outside):
    """One journal, and as many executions of it as a test wants."""

    def __init__(self, make_store: Callable[[], Store], always_replay: bool) -> None:
        self._make_store = make_store
        self.store = make_store()
        self.always_replay = always_replay
        self.clock = FakeClock()
        self.events = Events()
        self.session: Session | None = None
        self.calls: list[str] = []

    def called(self, name: str, value: Any = None) -> Any:
        """Note that a step's function was really called, and give ``value`` back."""
        self.calls.append(name)
        return value

    def open(
        self, workflow: str = "wf", key: str = "", *, store: Any = None, asynchronous: bool = False, **how: Any
    ) -> Session:
        ports = Ports(
            store=self.store if store is None else store,
            codec=DefaultCodec(),
            executor=InlineExecutor(),
            describer=fingerprinter(),
            clock=self.clock,
            guard=SigintGuard(),
            observers=(self.events,),
            previewer=preview,
        )
        policy = how.pop("policy", RetryPolicy())
        self.session = Session(
            RunId(workflow, key),
            ports,
            how.pop("owner", this_process()),
            policy=policy,
            asynchronous=asynchronous,
            **how,
        )
        return self.session

    def play(self, body: Callable[..., Any], **how: Any) -> Any:
        """Execute the workflow once: the cell is run. Raises what leaves it."""
        if not self.always_replay or "store" in how:
            return self._pass(body, **how)
        store = ReplayingStore(self.store)
        while True:
            try:
                return self._pass(body, store=store, **how)
            except Reenter:
                pass
            except BaseExceptionGroup as group:  # a TaskGroup wraps it
                if group.subgroup(Reenter) is None:
                    raise
            how["fresh"] = False

    def _pass(self, body: Callable[..., Any], **how: Any) -> Any:
        if inspect.iscoroutinefunction(body):
            return asyncio.run(self._apass(body, **how))
        session = self.open(**how)
        try:
            value = body(session.context)
        except BaseException as error:
            self._leave(session, error)
            raise
        self._leave(session, None)
        return value

    async def _apass(self, body: Callable[..., Any], **how: Any) -> Any:
        session = self.open(asynchronous=True, **how)
        try:
            value = await body(session.context)
        except BaseException as error:
            left = error if isinstance(error, CrashError) else await self._undo(session, error)
            self._leave(session, left)
            if left is not error:
                raise left from error
            raise
        self._leave(session, None)
        return value

    @staticmethod
    async def _undo(session: Session, error: BaseException) -> BaseException:
        try:
            return await session.roll_back_async(error) or error
        except CrashError:
            session.store.release(session.claim)
            raise
        except BaseException as stop:
            session.close(stop)
            raise

    @staticmethod
    def _leave(session: Session, error: BaseException | None) -> None:
        if isinstance(error, CrashError):
            session.store.release(session.claim)  # the system does it
            return
        try:
            left = session.roll_back(error)
        except CrashError:
            session.store.release(session.claim)
            raise
        except BaseException as stop:
            session.close(stop)
            raise
        extra = session.close(left)
        if left is not error and left is not None:
            raise left
        if extra is not None and error is None:
            raise extra

    # -- looking

    def run(self, workflow: str = "wf", key: str = "") -> RunInfo:
        return next(run for run in self.store.runs(workflow) if run.run.key == key)

    def entries(self, workflow: str = "wf", key: str = "") -> Sequence[Entry]:
        return self.store.read(self.run(workflow, key).id)

    def entry(self, name: str, occurrence: int = 0) -> Entry:
        return next(e for e in self.entries() if e.name == name and e.occurrence == occurrence)

    def restart(self) -> None:
        """Another kernel: nothing but the journal is left."""
        self.store = self._make_store()
        self.calls.clear()
        self.events.clear()


def other_kernel(pid: int = 999_999) -> Owner:
    return Owner(pid=pid, host="elsewhere", boot="b", started="1")
