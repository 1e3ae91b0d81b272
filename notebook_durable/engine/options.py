"""What can be said about one step: Restate's run options, and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, NamedTuple

from notebook_durable.engine.files import File
from notebook_durable.errors import ConfigurationError
from notebook_durable.question import Question
from notebook_durable.retry import RetryPolicy

__all__ = ["RunOptions", "StepSpec", "Waits", "as_list", "read_map_options", "read_options", "seconds"]

Duration = timedelta | float | None

_LONGEST_TIMEOUT = 31 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How one step is run; the second form of Restate's ``ctx.run_typed(name, fn, RunOptions(...), *args)``.

    Everything is optional; what is None comes from the notebook's defaults.

    Args:
        serializer: an object with ``name``, ``serialize`` and ``deserialize``, or "json" or "dill".
        serde: Restate's name for ``serializer``.
        max_attempts: calls in all; the first one counts. None: no limit.
        max_retry_duration: timedelta or seconds, after which no new attempt begins.
        max_duration: Restate's newer name for ``max_retry_duration``.
        initial_retry_interval: timedelta or seconds before the second attempt.
        max_retry_interval: timedelta or seconds: the longest wait.
        retry_interval_factor: each wait is this many times the one before.
        fatal: exception classes that are not retried, beside the built-in ones.
        retry_on: exception classes that are retried although they are among those.
        at_most_once: never call the step again after a crash inside it; raise OutcomeUnknownError instead. It isn't
            retried either, unless ``max_attempts`` says so.
        cleanup: the step is a notification or the like: begun after a failure, it is not taken for a rollback.
        on_stop: called from a watcher thread when Stop is pressed during the step, for C code that ignores signals,
            such as ``on_stop=connection.interrupt``.
        ignore: names of inputs (arguments, globals, closure values) that don't count for the fingerprint.
        depends_on: a further value that counts: the step runs again when it changes.
        version: a mark of the user's own; the step runs again when it changes.
        reads: a ``file(...)`` or several, whose content counts.
        writes: what the step changes outside of its result (an engine, a connection, a path), or a list of such
            things: later steps that share it run again when this step really ran.
        timeout: timedelta or seconds that one attempt may take: then it fails with StepTimeoutError and is retried. An
            async function is cancelled; any other is interrupted by a signal as soon as Python code runs.
        output: take down what the step prints and displays, to show it again when it replays.
        secret: names of inputs, columns, keys or fields whose values are hidden in previews, outputs and errors.
        max_age: timedelta or seconds: a recorded result that is older is not replayed.
        type_hint: accepted for Restate's sake and not needed: values keep their types here.
    """

    serializer: Any = None
    serde: Any = None
    max_attempts: int | None = None
    max_retry_duration: Duration = None
    max_duration: Duration = None
    initial_retry_interval: Duration = None
    max_retry_interval: Duration = None
    retry_interval_factor: float | None = None
    fatal: Any = None
    retry_on: Any = None
    at_most_once: bool = False
    cleanup: bool = False
    on_stop: Callable[[], Any] | None = None
    ignore: str | Sequence[str] = ()
    depends_on: Any = None
    version: str | int | None = None
    reads: Any = None
    writes: Any = None
    timeout: Duration = None
    output: bool = True
    secret: str | Sequence[str] = ()
    max_age: Duration = None
    type_hint: Any = None

    def __post_init__(self) -> None:
        if self.serializer is not None and self.serde is not None:
            raise ConfigurationError("give serializer= or serde=, not both: they are two names for one thing")
        if self.max_retry_duration is not None and self.max_duration is not None:
            raise ConfigurationError("give max_retry_duration= or max_duration=, not both: they mean the same")
        if self.on_stop is not None and not callable(self.on_stop):
            raise ConfigurationError(f"on_stop= takes a function, not {self.on_stop!r}")
        self._check_tracking()

    def _check_tracking(self) -> None:
        for option in ("ignore", "secret"):
            value = getattr(self, option)
            names = (value,) if isinstance(value, str) else value
            if not isinstance(names, (tuple, list, set, frozenset)) or not all(isinstance(name, str) for name in names):
                raise ConfigurationError(f"{option}= takes names, such as {option}=['now'], not {value!r:.80}")
        if self.timeout is not None and not 0 < seconds(self.timeout) <= _LONGEST_TIMEOUT:
            raise ConfigurationError(f"timeout= must be more than 0 seconds, and at most 31 days, not {self.timeout!r}")
        if not isinstance(self.output, bool):
            raise ConfigurationError(f"output= is True or False, not {self.output!r:.80}")
        if not isinstance(self.version, (str, int, type(None))):
            raise ConfigurationError(f"version= takes text or a number, not {type(self.version).__name__}")
        for one in as_list(self.reads):
            if not isinstance(one, File):
                raise ConfigurationError(
                    f"reads= takes file(PATH) or a list of them, not {one!r:.80}: from notebook_durable import file"
                )
        if self.max_age is not None and seconds(self.max_age) < 0:
            raise ConfigurationError(f"max_age= must not be negative, but is {self.max_age!r}")

    @property
    def oldest(self) -> float | None:
        """``max_age`` in seconds."""
        return None if self.max_age is None else seconds(self.max_age)

    @property
    def time_limit(self) -> float | None:
        """``timeout`` in seconds."""
        return None if self.timeout is None else seconds(self.timeout)

    @property
    def secrets(self) -> frozenset[str]:
        """The names in ``secret``."""
        return frozenset((self.secret,) if isinstance(self.secret, str) else self.secret)

    @property
    def chosen_serializer(self) -> Any:
        """The serializer, under whichever name it was given; None if none was."""
        return self.serializer if self.serializer is not None else self.serde


def as_list(value: Any) -> list[Any]:
    """Return one thing, or several in a list or tuple, as a list; None is nothing."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def seconds(duration: timedelta | float) -> float:
    """Return a duration in seconds.

    Raises:
        ConfigurationError: if it is none.
    """
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise ConfigurationError(f"a duration is a timedelta or a number of seconds, not {duration!r:.80}")
    return float(duration)


_NAMES = frozenset(spec.name for spec in fields(RunOptions))
DEFAULT_OPTIONS = RunOptions()


class Waits(NamedTuple):
    """What a step does that calls nothing: it waits for an answer, or for some seconds."""

    question: Question | None = None
    duration: float = 0.0


class StepSpec(NamedTuple):
    """One call of ``ctx.run``, checked; ``waits`` is set for ``ctx.promise`` and ``ctx.sleep``."""

    name: str
    fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    policy: RetryPolicy
    options: RunOptions
    waits: Waits | None = None


def read_options(values: Mapping[str, Any]) -> RunOptions:
    """Make RunOptions from the keywords of ``ctx.run``.

    Raises:
        ConfigurationError: for a keyword that is none of ours, with the way to pass it to the step's function.
    """
    return _read(
        values,
        lambda name: (
            f"ctx.run has no option {name!r}. If it is meant for your function, write "
            f"ctx.run(NAME, lambda: fn(..., {name}=...)), use functools.partial, or "
            f"ctx.run_typed(NAME, fn, RunOptions(), ..., {name}=...). Options: {', '.join(sorted(_NAMES))}."
        ),
    )


def read_map_options(values: Mapping[str, Any]) -> RunOptions:
    """As :func:`read_options`, for what is left of the keywords of ``ctx.map``.

    Raises:
        ConfigurationError: for a keyword that is none of ours.
    """
    known = (_NAMES - {"writes"}) | {"executor", "key", "max_workers", "on_error"}
    return _read(
        values,
        lambda name: (
            f"ctx.map has no option {name!r}. If it is meant for your function, write "
            f"ctx.map(NAME, functools.partial(fn, {name}=...), items). Options: {', '.join(sorted(known))}."
        ),
    )


def _read(values: Mapping[str, Any], unknown: Callable[[str], str]) -> RunOptions:
    """Make RunOptions; ``unknown`` says what to do about a keyword that is none of ours."""
    if not values:
        return DEFAULT_OPTIONS
    for name in values:
        if name not in _NAMES:
            raise ConfigurationError(unknown(name))
    return RunOptions(**values)


def policy_for(options: RunOptions, default: RetryPolicy) -> RetryPolicy:
    """Lay a step's own retry options over the notebook's."""
    if options is DEFAULT_OPTIONS:
        return default
    if options.at_most_once and options.max_attempts is None:
        default = default.override(max_attempts=1)  # an attempt that failed may have had its effect as well
    duration = options.max_retry_duration if options.max_retry_duration is not None else options.max_duration
    return default.override(
        max_attempts=options.max_attempts,
        max_retry_duration=duration,
        initial_retry_interval=options.initial_retry_interval,
        max_retry_interval=options.max_retry_interval,
        retry_interval_factor=options.retry_interval_factor,
        fatal=options.fatal,
        retry_on=options.retry_on,
    )
