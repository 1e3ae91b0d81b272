"""What a cell sees: ``ctx``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from notebook_durable.engine.drive import current_step, home_task
from notebook_durable.engine.mapping import read_map
from notebook_durable.engine.options import (
    DEFAULT_OPTIONS,
    RunOptions,
    StepSpec,
    Waits,
    policy_for,
    read_map_options,
    read_options,
    seconds,
)
from notebook_durable.engine.waiting import promise, sleep
from notebook_durable.errors import ConfigurationError, ContextClosedError, NestedContextError, UsageError
from notebook_durable.model import RunId, check_name
from notebook_durable.question import question as make_question

if TYPE_CHECKING:
    from notebook_durable.engine.journal import Place
    from notebook_durable.engine.mapping import MapCallPlan
    from notebook_durable.engine.mapping_items import MapSpec
    from notebook_durable.engine.session import Session

__all__ = ["AsyncContext", "Context", "StepCall"]

T = TypeVar("T")


class _BaseContext:
    """What both contexts have: checks, and the making of a step."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def run_id(self) -> RunId:
        """The run that is executed: its workflow's name and its key."""
        return self._session.run

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("ctx belongs to its cell and can't be stored")

    def __repr__(self) -> str:
        state = "open" if self._session.is_open else "ended"
        return f"<{type(self).__name__} of '{self._session.run}', {state}>"

    def _check(self, call: str) -> None:
        running = current_step.get()
        if running is not None and running[0] is self._session:
            raise NestedContextError(running[1], call)
        if not self._session.is_open:
            raise ContextClosedError(self._session.run.workflow, call)
        if not self._session.check_thread():
            raise UsageError(
                f"ctx.{call} was called from another thread than its cell's. Call it in the cell and hand the values "
                "to the thread; steps that run side by side belong into an async cell with asyncio.gather."
            )

    def _spec(
        self, name: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: RunOptions, call: str = "run"
    ) -> StepSpec:
        check_name(name, "a step's name")
        if not callable(fn):
            raise ConfigurationError(_not_callable(name, fn, call))
        if options.chosen_serializer is not None:
            self._session.codec.resolve(options.chosen_serializer)
        return StepSpec(name, fn, args, kwargs, policy_for(options, self._session.policy), options)

    def _promise(self, name: str, choices: Any, form: Any, text: str | None) -> StepSpec:
        check_name(name, "a promise's name")
        asked = make_question(name if text is None else text, choices, form)
        return StepSpec(name, promise, (asked.as_text(),), {}, self._session.policy, DEFAULT_OPTIONS, Waits(asked))

    def _sleep(self, duration: Any, name: str) -> StepSpec:
        check_name(name, "a step's name")
        length = seconds(duration)
        if not 0 <= length < float("inf"):
            raise ConfigurationError(f"ctx.sleep takes seconds or a timedelta, 0 or more, not {duration!r:.80}")
        waits = Waits(duration=length)
        return StepSpec(name, sleep, (length,), {}, self._session.policy, DEFAULT_OPTIONS, waits)

    def _map(
        self,
        name: str,
        fn: Any,
        items: Any,
        max_workers: Any,
        executor: Any,
        key: Any,
        on_error: Any,
        options: RunOptions,
    ) -> MapSpec:
        return read_map(self._spec(name, fn, (), {}, options, "map"), items, max_workers, executor, key, on_error)

    def on_rollback(self, fn: Callable[..., Any], /, *args: Any, name: str | None = None, **options: Any) -> None:
        """Register what undoes the step before: it runs if a TerminalError leaves the cell.

        ::

            seat = ctx.run("book seat", book, flight)
            ctx.on_rollback(cancel, seat)
            ctx.run("charge card", charge, card)      # gives up: `cancel(seat)` runs, then the error is shown

        The newest runs first. Each is a step of its own: journaled, retried, and gone on with after a restart; when all
        are done, the next execution of the cell starts over. In an async cell write it without ``await``; ``fn`` may
        be a coroutine function.

        Args:
            fn: what to call.
            *args: its arguments.
            name: of the step; by default "undo: " and the function's name.
            **options: those of ``run``.

        Raises:
            NestedContextError, ContextClosedError, ConfigurationError: as ``run`` does.
        """
        self._check("on_rollback")
        read = read_options(options)
        called = getattr(fn, "__name__", None) or type(fn).__name__
        self._session.rollback.add(self._spec(name or f"undo: {called}", fn, args, {}, read))


class Context(_BaseContext):
    """The context of a cell without a top-level ``await``, and of ``with durable(...)``."""

    __slots__ = ()

    def run(self, name: str, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Any:
        """Run a step and journal its result, or give the journaled result back without calling ``fn``.

        Meaning and options follow Restate's ``ctx.run`` ("Journaling Results"). When this returns, the result is on
        disk. A failed attempt is retried (see :class:`~notebook_durable.retry.RetryPolicy`), but errors that a retry
        can't mend (NameError, TypeError ...) are raised at once, unchanged.

        Args:
            name: names the step in the journal; equal names are told apart by their order.
            fn: what to call; may be a coroutine function.
            *args: its arguments. Its keyword arguments go through a lambda, functools.partial or ``run_typed``.
            **options: see :class:`RunOptions`: ``serializer``, ``max_attempts``, ``max_retry_duration``,
                ``initial_retry_interval``, ``max_retry_interval``, ``retry_interval_factor``, ``fatal``,
                ``retry_on``, ``timeout``, ``at_most_once``, ``cleanup``, ``on_stop``, ``output``, ``secret`` ...

        Returns:
            What ``fn`` returned, now or when it was recorded.

        Raises:
            TerminalError: if the step failed for good; its cause is the last error.
            NestedContextError: inside a step.
            ContextClosedError: after the cell has ended.
            OutcomeUnknownError: see ``at_most_once``.
            ConfigurationError: for a name, function or option that can't be used.
        """
        self._check("run")
        read = read_options(options)
        return self._session.run_step(self._spec(name, fn, args, {}, read), cleanup=read.cleanup)

    def run_typed(
        self, name: str, fn: Callable[..., T], options: RunOptions | None = None, /, *args: Any, **kwargs: Any
    ) -> T:
        """Run a step as ``run`` does, with the options in an object and ``fn``'s own keyword arguments after it.

        This is Restate's newer form: ``ctx.run_typed(name, fn, RunOptions(max_attempts=3), *args, **kwargs)``.
        """
        self._check("run_typed")
        read = _options(options)
        result: T = self._session.run_step(self._spec(name, fn, args, kwargs, read), cleanup=read.cleanup)
        return result

    def map(
        self,
        name: str,
        fn: Callable[..., Any],
        items: Iterable[Any],
        /,
        *,
        max_workers: int | None = None,
        executor: Any = None,
        key: Callable[[Any], str] | None = None,
        on_error: str = "raise",
        **options: Any,
    ) -> list[Any]:
        """Call ``fn(item)`` for every item, durably: each item is a journal entry of its own.

        ::

            prices = ctx.map("price", fetch_price, symbols, executor="threads", max_attempts=5)

        An item that was computed before is handed back, wherever it stands in ``items`` now; new ones are computed.
        What items gave is written in groups, within about 10 ms: when this returns, all of it is on disk, and a kernel
        that is killed loses no more than the last few milliseconds. Thousands of tiny items are cheap.

        Args:
            name: names the map in the journal.
            fn: what to call, with one item as its only argument. An async function's calls run side by side.
            items: any iterable; it is consumed once, here.
            max_workers: how many items at a time, with ``executor`` (by default as many as it is usual for) or an async
                function (by default 10).
            executor: None: this thread. "threads": a pool of threads. "processes": processes, through the extra
                ``processes`` (loky); the notebook's own functions and classes go along. Or an object with ``submit``,
                such as a ``concurrent.futures`` executor.
            key: returns the name of an item, for people; it counts for finding an item's entry.
            on_error: "raise": the first item that fails for good ends the map, when what is under way has finished.
                "collect": the exception stands in the place of the item's value.
            **options: those of ``run``, for each item: ``max_attempts``, ``serializer``, ``fatal``, ``ignore`` ...
                but ``writes``. With ``max_attempts``, ``max_retry_duration`` or ``at_most_once`` each attempt is
                written down before it begins, so that a killed kernel's attempts count. ``timeout`` needs an async
                function or no executor. What items print is shown, and not recorded.

        Returns:
            The values, in the order of the items.

        Raises:
            TerminalError: if an item failed for good and ``on_error`` is "raise"; its cause is the last error. Errors
                that are never retried (NameError ...) are raised as they are.
            ConfigurationError: for an argument that can't be used.
            MissingExtraError: for "processes" without loky.
            NestedContextError, ContextClosedError: as ``run`` does.
        """
        self._check("map")
        read = read_map_options(options)
        spec = self._map(name, fn, items, max_workers, executor, key, on_error, read)
        return self._session.run_map(spec, cleanup=read.cleanup)

    def promise(
        self,
        name: str,
        /,
        *,
        choices: Sequence[Any] | None = None,
        form: Mapping[str, Any] | None = None,
        question: str | None = None,
    ) -> Any:
        """Wait, durably, until a person answers; the answer is journaled and replays.

        It is Restate's awakeable and durable promise in one. The answer comes from the panel below the cell, from
        ``%durable resolve NAME PROMISE VALUE`` or its twin in the shell, or from ``journal().resolve(...)``, in this
        kernel or another. The kernel may die meanwhile: the next execution goes on waiting, or finds the answer.

        Args:
            name: names the promise in the journal.
            choices: the answers that can be given: texts, numbers, True, False, None. They become buttons.
            form: fields to fill in: name and first value, whose type the answer must have; a list is a choice among
                its items: ``form={"amount": 10.0, "to": ["me", "you"]}``. The answer is a dict of the fields.
            question: what is shown; by default the name.

        Returns:
            The answer: one of ``choices``; a dict of the form's fields; without both any text or JSON value.

        Raises:
            TerminalError: if the promise was rejected, or given up.
            ConfigurationError: for choices or a form that can't be offered.
        """
        self._check("promise")
        return self._session.run_step(self._promise(name, choices, form, question), cleanup=False)

    def sleep(self, duration: timedelta | float, /, *, name: str = "sleep") -> None:
        """Wait, durably: after a restart only for the remainder. As Restate's ``ctx.sleep``.

        Args:
            duration: seconds or a timedelta, from the time at which the step was first begun; the clock of the machine
                counts, also while no kernel runs.
            name: names the step in the journal.
        """
        self._check("sleep")
        self._session.run_step(self._sleep(duration, name), cleanup=False)


class AsyncContext(_BaseContext):
    """The context of a cell with a top-level ``await``, and of ``async with durable(...)``, as in Restate."""

    __slots__ = ()

    def run(self, name: str, fn: Callable[..., Any], /, *args: Any, **options: Any) -> StepCall:
        """Make a step: ``value = await ctx.run(name, fn, *args)``.

        As ``Context.run``, but to be awaited: directly, or by ``asyncio.gather``, ``TaskGroup`` and the like. A step
        that nobody awaits is an error at the end of the cell. A sync ``fn`` runs on the kernel's main thread.
        """
        self._check("run")
        read = read_options(options)
        return self._session.new_call(self._spec(name, fn, args, {}, read), cleanup=read.cleanup)

    def run_typed(
        self, name: str, fn: Callable[..., Any], options: RunOptions | None = None, /, *args: Any, **kwargs: Any
    ) -> StepCall:
        """Make a step as ``run`` does, with the options in an object: see ``Context.run_typed``."""
        self._check("run_typed")
        read = _options(options)
        return self._session.new_call(self._spec(name, fn, args, kwargs, read), cleanup=read.cleanup)

    def map(
        self,
        name: str,
        fn: Callable[..., Any],
        items: Iterable[Any],
        /,
        *,
        max_workers: int | None = None,
        executor: Any = None,
        key: Callable[[Any], str] | None = None,
        on_error: str = "raise",
        **options: Any,
    ) -> MapCall:
        """Make a map: ``values = await ctx.map(name, fn, items)``. See ``Context.map``.

        A sync ``fn`` without ``executor`` is called on this thread, item by item, and the loop gets its turns between.
        """
        self._check("map")
        read = read_map_options(options)
        spec = self._map(name, fn, items, max_workers, executor, key, on_error, read)
        return self._session.new_map(spec, cleanup=read.cleanup)

    def promise(
        self,
        name: str,
        /,
        *,
        choices: Sequence[Any] | None = None,
        form: Mapping[str, Any] | None = None,
        question: str | None = None,
    ) -> StepCall:
        """Make a promise: ``answer = await ctx.promise(name, choices=["yes", "no"])``. See ``Context.promise``."""
        self._check("promise")
        return self._session.new_call(self._promise(name, choices, form, question), cleanup=False)

    def sleep(self, duration: timedelta | float, /, *, name: str = "sleep") -> StepCall:
        """Make a durable sleep: ``await ctx.sleep(3600)``. See ``Context.sleep``."""
        self._check("sleep")
        return self._session.new_call(self._sleep(duration, name), cleanup=False)


class StepCall(Coroutine[Any, Any, Any]):
    """A step of an async cell, waiting to be awaited.

    A real coroutine to asyncio (``create_task`` takes nothing less), but one that the end of the cell can ask whether
    anybody awaited it, instead of Python's "was never awaited" at some later time.
    """

    def __init__(self, session: Session, spec: StepSpec, place: Place, follows: int | None, side_by_side: bool) -> None:
        self._session = session
        self._spec = spec
        self._place = place
        self._follows = follows
        self._side_by_side = side_by_side
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._task: asyncio.Task[Any] | None = None
        self.__name__ = self.__qualname__ = f"ctx.run({spec.name!r})"

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def seqs(self) -> Sequence[int]:
        """The numbers of its entries."""
        return (self._place.seq,)

    @property
    def started(self) -> bool:
        return self._coroutine is not None

    def __repr__(self) -> str:
        if self.started:
            return f"<step {self.name!r}>"
        return f"<step {self.name!r}, not awaited: write `await ctx.run({self.name!r}, ...)`>"

    def _begin(self) -> Coroutine[Any, Any, Any]:
        if self._coroutine is None:
            self._task = home_task()
            self._coroutine = self._session.run_call(self._spec, self._place, self._follows, self._side_by_side)
        return self._coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._begin().__await__()

    def send(self, value: Any, /) -> Any:
        return self._begin().send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any:
        coroutine = self._begin()
        error = typ if isinstance(typ, BaseException) else (val if isinstance(val, BaseException) else typ())
        return coroutine.throw(error.with_traceback(tb) if tb is not None else error)

    def close(self) -> None:
        if self._coroutine is not None:
            self._coroutine.close()

    @property
    def is_left_running(self) -> bool:
        """True if it is under way and nobody has cancelled it."""
        task = self._task
        return self.started and (task is None or not (task.done() or task.cancelling()))

    def cancel(self) -> None:
        """Cancel the task that awaits this step, unless that is the cell's own."""
        if self._coroutine is not None and inspect.getcoroutinestate(self._coroutine) == inspect.CORO_CREATED:
            self._coroutine.close()  # Stop came before its first line: else Python says that it was never awaited
        if self._task is not None and self._task is not self._session.home and not self._task.done():
            self._task.cancel(f"step {self.name!r}: its cell has ended")


class MapCall(StepCall):
    """A map of an async cell, waiting to be awaited."""

    def __init__(self, session: Session, spec: StepSpec, place: Place, plan: MapCallPlan) -> None:
        super().__init__(session, spec, place, plan.follows, plan.side_by_side)
        self._plan = plan
        self.__name__ = self.__qualname__ = f"ctx.map({spec.name!r})"

    @property
    def seqs(self) -> Sequence[int]:
        """The numbers of its entries."""
        return [place.seq for place in self._plan.places]

    def __repr__(self) -> str:
        if self.started:
            return f"<map {self.name!r}>"
        return f"<map {self.name!r}, not awaited: write `await ctx.map({self.name!r}, ...)`>"

    def _begin(self) -> Coroutine[Any, Any, Any]:
        if self._coroutine is None:
            self._task = home_task()
            self._coroutine = self._session.run_map_call(self._plan, self._place)
        return self._coroutine


def _options(options: RunOptions | None) -> RunOptions:
    if options is None:
        return read_options({})
    if not isinstance(options, RunOptions):
        raise ConfigurationError(
            f"the third argument of run_typed is a RunOptions object, not {type(options).__name__}: "
            "ctx.run_typed(NAME, fn, RunOptions(max_attempts=3), *args, **kwargs)"
        )
    return options


def _not_callable(name: str, fn: Any, call: str) -> str:
    if asyncio.iscoroutine(fn):
        fn.close()  # or Python complains that it was never awaited
        return (
            f"step '{name}' was given a coroutine, which is already a call. Pass the function itself and arguments: "
            f"ctx.{call}({name!r}, {getattr(fn, '__name__', 'fn')}, ...)"
        )
    return (
        f"step '{name}' was given {type(fn).__name__} instead of a function. Pass the function itself and its "
        f"arguments, not its result: ctx.{call}({name!r}, fn, ...)"
    )
