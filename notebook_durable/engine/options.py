"""What can be said about one step: Restate's run options, and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, NamedTuple

from notebook_durable.errors import ConfigurationError
from notebook_durable.retry import RetryPolicy

__all__ = ["RunOptions", "StepSpec", "read_options"]

Duration = timedelta | float | None


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
    type_hint: Any = None

    def __post_init__(self) -> None:
        if self.serializer is not None and self.serde is not None:
            raise ConfigurationError("give serializer= or serde=, not both: they are two names for one thing")
        if self.max_retry_duration is not None and self.max_duration is not None:
            raise ConfigurationError("give max_retry_duration= or max_duration=, not both: they mean the same")
        if self.on_stop is not None and not callable(self.on_stop):
            raise ConfigurationError(f"on_stop= takes a function, not {self.on_stop!r}")

    @property
    def chosen_serializer(self) -> Any:
        """The serializer, under whichever name it was given; None if none was."""
        return self.serializer if self.serializer is not None else self.serde


_NAMES = frozenset(spec.name for spec in fields(RunOptions))
DEFAULT_OPTIONS = RunOptions()


class StepSpec(NamedTuple):
    """One call of ``ctx.run``, checked."""

    name: str
    fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    policy: RetryPolicy
    options: RunOptions


def read_options(values: Mapping[str, Any]) -> RunOptions:
    """Make RunOptions from the keywords of ``ctx.run``.

    Raises:
        ConfigurationError: for a keyword that is none of ours, with the way to pass it to the step's function.
    """
    if not values:
        return DEFAULT_OPTIONS
    for name in values:
        if name not in _NAMES:
            raise ConfigurationError(
                f"ctx.run has no option {name!r}. If it is meant for your function, write "
                f"ctx.run(NAME, lambda: fn(..., {name}=...)), use functools.partial, or "
                f"ctx.run_typed(NAME, fn, RunOptions(), ..., {name}=...). Options: {', '.join(sorted(_NAMES))}."
            )
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
