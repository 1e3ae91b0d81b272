"""``durable``: the journal from plain Python, and what the magic is built on."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from notebook_durable.engine.context import AsyncContext, Context
from notebook_durable.engine.drive import home_task
from notebook_durable.engine.session import Session
from notebook_durable.errors import ConfigurationError, UsageError
from notebook_durable.model import RunId
from notebook_durable.protocols import Observer, Store
from notebook_durable.retry import RetryPolicy
from notebook_durable.signals import SigintGuard
from notebook_durable.wiring import Settings, open_session

__all__ = ["Durable", "durable"]

F = TypeVar("F", bound=Callable[..., Any])


def durable(
    name: str,
    *,
    key: str | Callable[..., str] = "",
    fresh: bool = False,
    strict: bool = False,
    store: str | os.PathLike[str] | Store | None = None,
    max_attempts: int | None = None,
    retry: RetryPolicy | None = None,
    observers: list[Observer] | None = None,
) -> Durable:
    """Open a run of a workflow: as a block, an async block, or around a function.

    ::

        with durable("etl", key="2026-11-24") as ctx:       # Context
            rows = ctx.run("load", load)

        async with durable("etl") as ctx:                   # AsyncContext
            rows = await ctx.run("load", load)

        @durable("report", key=lambda day: day)             # ctx comes first
        def report(ctx, day): ...
        report("2026-11-24")

    Args:
        name: the workflow's name.
        key: tells runs of one workflow apart. Around a function it may be a function of its arguments, which gives
            each call with other arguments a run of its own.
        fresh: archive the run and start a new one.
        strict: hold the code to the recorded order (JournalMismatchError), and raise NotStorableError for a value
            that can't be stored.
        store: the journal's folder, or a Store; by default NOTEBOOK_DURABLE_STORE, else ``.durable`` in the
            working directory.
        max_attempts: bound for steps that don't set their own; by default NOTEBOOK_DURABLE_MAX_ATTEMPTS, else none.
        retry: retry policy of steps that don't say otherwise.
        observers: get the execution's events; by default the logger ``notebook_durable``.

    Raises:
        ConfigurationError: for a name, key or setting that can't be used.
    """
    return Durable(name, key, fresh, strict, store, max_attempts, retry, observers)


class Durable:
    """What :func:`durable` returns; see there. Each block or call opens the run anew."""

    def __init__(
        self,
        name: str,
        key: str | Callable[..., str],
        fresh: bool,
        strict: bool,
        store: str | os.PathLike[str] | Store | None,
        max_attempts: int | None,
        retry: RetryPolicy | None,
        observers: list[Observer] | None,
    ) -> None:
        if not callable(key):
            RunId(name, key)  # a bad name is an error here, where it is written
        self._name = name
        self._key = key
        self._fresh = fresh
        self._strict = strict
        self._settings = Settings.resolve(store=store, max_attempts=max_attempts)
        self._retry = retry
        self._observers = observers
        self._opened: tuple[Session, SigintGuard] | None = None

    def __repr__(self) -> str:
        return f"durable({self._name!r})"

    # -- blocks

    def __enter__(self) -> Context:
        context = self._open(asynchronous=False).context
        assert isinstance(context, Context)  # noqa: S101  asynchronous=False
        return context

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        extra = self._close(error)
        if extra is not None and extra is not error:
            raise extra from error

    async def __aenter__(self) -> AsyncContext:
        context = self._open(asynchronous=True).context
        assert isinstance(context, AsyncContext)  # noqa: S101  asynchronous=True
        return context

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        session, guard = self._take_opened()
        try:
            try:
                left = await session.roll_back_async(error)
            except BaseException as stop:  # Stop, while something was undone
                session.close(stop)
                raise
            extra = _close(session, left, error)
        finally:
            guard.uninstall()
        if extra is not None and extra is not error:
            raise extra from error

    def _open(self, *, asynchronous: bool) -> Session:
        if callable(self._key):
            raise ConfigurationError("key= may be a function only around a function, where there are arguments for it")
        if self._opened is not None:
            raise UsageError(f"this durable({self._name!r}) block is open already: write durable(...) once per block")
        session, guard = self._session(self._key, asynchronous)
        self._opened = session, guard
        return session

    def _session(self, key: str, asynchronous: bool) -> tuple[Session, SigintGuard]:
        guard = SigintGuard(task=home_task() if asynchronous else None)
        try:
            guard.install()
            session = open_session(
                RunId(self._name, key),
                self._settings,
                asynchronous=asynchronous,
                fresh=self._fresh,
                strict=self._strict,
                observers=self._observers,
                guard=guard,
                policy=self._retry,
            )
        except BaseException:
            guard.uninstall()
            raise
        return session, guard

    def _close(self, error: BaseException | None) -> BaseException | None:
        session, guard = self._take_opened()
        try:
            return _end(session, error)
        finally:
            guard.uninstall()

    def _take_opened(self) -> tuple[Session, SigintGuard]:
        assert self._opened is not None  # noqa: S101  __enter__ came before
        opened, self._opened = self._opened, None
        return opened

    # -- around a function

    def __call__(self, fn: F) -> F:
        """Wrap a function that takes a context first; it is called without it."""
        if not callable(fn):
            raise ConfigurationError(f"@durable({self._name!r}) goes around a function, not {type(fn).__name__}")
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise ConfigurationError(
                f"@durable({self._name!r}) can't go around a generator: it would end before its body runs. "
                "Put the loop inside a plain function, or open `with durable(...)` inside the generator."
            )

        def block(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Durable:
            key = self._key(*args, **kwargs) if callable(self._key) else self._key
            again: Durable = Durable.__new__(Durable)
            again.__dict__.update(self.__dict__, _key=key, _opened=None)
            RunId(self._name, key)
            return again

        if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__):

            @functools.wraps(fn)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                async with block(args, kwargs) as ctx:
                    return await fn(ctx, *args, **kwargs)

            return run_async  # type: ignore[return-value]

        @functools.wraps(fn)
        def run(*args: Any, **kwargs: Any) -> Any:
            with block(args, kwargs) as ctx:
                return fn(ctx, *args, **kwargs)

        return run  # type: ignore[return-value]


def _end(session: Session, error: BaseException | None) -> BaseException | None:
    """Roll back if there is something to, and end the execution; return what is to be raised in place of ``error``."""
    try:
        left = session.roll_back(error)
    except BaseException as stop:  # Stop, while something was undone
        session.close(stop)
        raise
    return _close(session, left, error)


def _close(session: Session, left: BaseException | None, error: BaseException | None) -> BaseException | None:
    extra = session.close(left)
    return left if left is not error else extra if error is None else None
