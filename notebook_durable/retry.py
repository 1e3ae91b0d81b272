"""When is a failed attempt tried again, and after how long. Pure: no clock, no sleep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any

from notebook_durable.errors import ConfigurationError, DurableError, RetryableError, StepTimeoutError, TerminalError

__all__ = ["DEFAULT_FATAL", "Decision", "RetryPolicy", "seconds"]

_LONGEST_DELAY = 366 * 86_400.0  # seconds; beyond it the system's own sleep fails

#: What a retry can't mend: typos, missing packages, wrong types. A typo must not loop.
DEFAULT_FATAL: tuple[type[BaseException], ...] = (
    NameError,
    AttributeError,
    TypeError,
    SyntaxError,
    ImportError,
    LookupError,
    AssertionError,
    ZeroDivisionError,
    UnicodeError,
    FileNotFoundError,
    NotImplementedError,
    StopIteration,
    StopAsyncIteration,
)


def seconds(value: timedelta | float | None, what: str) -> float | None:
    """Read a duration given as timedelta or seconds.

    Raises:
        ConfigurationError: if it is neither, or negative, or not a finite number.
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ConfigurationError(f"{what} must be a timedelta or a number of seconds, 0 or more, not {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do after a failed attempt.

    Attributes:
        delay: seconds until the next attempt; None means that there is none.
        fatal: True if the error is of a kind that is never retried: the user's own exception is raised.
        reason: why there is no next attempt, for people.
    """

    delay: float | None
    fatal: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a step is tried, and how long is waited between.

    The defaults are those of Restate's page "Error handling": without end, 0.5 s doubling to 60 s.

    Args:
        max_attempts: calls in all, the first one counts; None: no limit. 0 behaves as 1, as in Restate.
        max_retry_duration: seconds or timedelta since the first attempt began, after which no new attempt is made;
            time without a kernel doesn't count; None: no limit.
        initial_retry_interval: seconds or timedelta before the second attempt.
        max_retry_interval: the longest wait.
        retry_interval_factor: each wait is this many times the one before.
        fatal: exception classes that are not retried, beside the built-in list :data:`DEFAULT_FATAL`.
        retry_on: exception classes that are retried although that list (or a base class in ``fatal``) names them.

    Raises:
        ConfigurationError: if a value can't be used.
    """

    max_attempts: int | None = None
    max_retry_duration: timedelta | float | None = None
    initial_retry_interval: timedelta | float | None = 0.5
    max_retry_interval: timedelta | float | None = 60.0
    retry_interval_factor: float | None = 2.0
    fatal: tuple[type[BaseException], ...] = field(default=())
    retry_on: tuple[type[BaseException], ...] = field(default=())

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)  # frozen, but not before it is made

        attempts = self.max_attempts
        if attempts is not None and (isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 0):
            raise ConfigurationError(f"max_attempts must be a whole number, 0 or more, or None, not {attempts!r}")
        for name in ("max_retry_duration", "initial_retry_interval", "max_retry_interval"):
            put(name, seconds(getattr(self, name), name))
        factor = self.retry_interval_factor
        if factor is not None and (
            isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 1 <= factor < 1e9
        ):
            raise ConfigurationError(f"retry_interval_factor must be a number, 1 or more, not {factor!r}")
        # None means "not said": the default.
        for spec in fields(self):
            if getattr(self, spec.name) is None and spec.name in ("initial_retry_interval", "max_retry_interval"):
                put(spec.name, spec.default)
        put("retry_interval_factor", 2.0 if factor is None else float(factor))
        put("fatal", _classes(self.fatal, "fatal"))
        put("retry_on", _classes(self.retry_on, "retry_on"))

    def override(self, **changes: Any) -> RetryPolicy:
        """Return a policy with the given values replaced; those that are None stay as they are."""
        said = {name: value for name, value in changes.items() if value is not None}
        return replace(self, **said) if said else self

    def is_fatal(self, error: BaseException) -> bool:
        """Tell whether an error of this kind is never retried.

        The user's own classes come first, and among them the one nearest to the error's own class; then the
        built-in list.
        """
        for cls in type(error).__mro__:
            if cls in self.fatal:
                return True
            if cls in self.retry_on:
                return False
        if isinstance(error, StepTimeoutError):
            return False
        return isinstance(error, (*DEFAULT_FATAL, DurableError))  # ours say what to change in the code

    def interval(self, attempt: int) -> float:
        """Seconds to wait after attempt number ``attempt`` (from 1) has failed."""
        first, longest, factor = self.initial_retry_interval, self.max_retry_interval, self.retry_interval_factor
        assert isinstance(first, float) and isinstance(longest, float) and factor is not None  # noqa: S101, PT018
        try:
            return min(first * factor ** (attempt - 1), longest)
        except OverflowError:
            return longest

    def exhausted(self, attempts: int, elapsed: float) -> str:
        """Say why no further attempt may begin after ``attempts`` calls and ``elapsed`` seconds, or ""."""
        if self.max_attempts is not None and attempts >= max(1, self.max_attempts):
            return f"max_attempts={self.max_attempts} reached"
        limit = self.max_retry_duration
        if limit is not None and attempts > 0 and elapsed >= limit:  # type: ignore[operator]  # seconds by now
            return f"max_retry_duration={limit:g} s used up"
        return ""

    def decide(self, attempt: int, elapsed: float, error: BaseException) -> Decision:
        """Decide what follows a failed attempt.

        Args:
            attempt: its number, from 1; attempts of kernels that died count.
            elapsed: seconds since the first attempt began, without the time in which no kernel ran.
            error: what it raised.
        """
        for leaf in _leaves(error):  # a TaskGroup in the step wraps what its tasks raise
            if isinstance(leaf, TerminalError):
                return Decision(None, reason="TerminalError")
            if not isinstance(leaf, RetryableError) and self.is_fatal(leaf):
                return Decision(None, fatal=True, reason=f"{type(leaf).__name__} is never retried")
        reason = self.exhausted(attempt, elapsed)
        if reason:
            return Decision(None, reason=reason)
        delay = self.interval(attempt)
        if isinstance(error, RetryableError) and error.retry_after is not None:
            delay = seconds(error.retry_after, "retry_after") or 0.0
        delay = min(delay, _LONGEST_DELAY)
        limit = self.max_retry_duration
        if isinstance(limit, float):
            delay = min(delay, limit - elapsed)  # the last attempt begins at the limit, not after it
        return Decision(delay)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _classes(value: Any, what: str) -> tuple[type[BaseException], ...]:
    classes = tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise ConfigurationError(f"{what} takes exception classes, such as {what}=(ValueError,), not {cls!r}")
    return classes
