"""The retry policy is pure: attempt, elapsed time and error in, a decision out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notebook_durable.errors import ConfigurationError, RetryableError, TerminalError
from notebook_durable.retry import RetryPolicy


def test_defaults_are_restates():
    """Without end, 0.5 s doubling to 60 s."""
    policy = RetryPolicy()
    assert [policy.decide(n, 0, OSError()).delay for n in (1, 2, 3, 8, 9, 5000)] == [0.5, 1, 2, 60, 60, 60]


@pytest.mark.parametrize(
    ("attempts", "bound", "goes_on"), [(1, 3, True), (2, 3, True), (3, 3, False), (4, 3, False), (1, 0, False)]
)
def test_should_continue(attempts, bound, goes_on):
    """sdk-shared-core: should_{stop,continue}_retrying_with_retry_count_and_max_attempts."""
    assert (RetryPolicy(max_attempts=bound).decide(attempts, 0, OSError()).delay is not None) is goes_on


@pytest.mark.parametrize(("elapsed", "goes_on"), [(0, True), (9.99, True), (10, False), (11, False)])
def test_duration(elapsed, goes_on):
    """exit_with_retryable_error_exhausted_max_duration."""
    policy = RetryPolicy(max_retry_duration=timedelta(seconds=10))
    assert (policy.decide(1, elapsed, OSError()).delay is not None) is goes_on


def test_both_bounds_whichever_first():
    """As in Restate."""
    policy = RetryPolicy(max_attempts=2, max_retry_duration=10)
    assert policy.decide(2, 0, OSError()).reason == "max_attempts=2 reached"
    assert policy.decide(1, 10, OSError()).reason == "max_retry_duration=10 s used up"


def test_terminal_error_ends_and_fatal_says_so():
    """Three ways to end: TerminalError, a kind that is never retried, a bound."""
    assert RetryPolicy().decide(1, 0, TerminalError("x")).reason == "TerminalError"
    fatal = RetryPolicy().decide(1, 0, NameError("x"))
    assert (fatal.delay, fatal.fatal, fatal.reason) == (None, True, "NameError is never retried")


def test_retry_after_takes_a_timedelta():
    """And is cut by the duration bound like any wait."""
    error = RetryableError("x", retry_after=timedelta(seconds=7))
    assert RetryPolicy().decide(1, 0, error).delay == 7
    assert RetryPolicy(max_retry_duration=5).decide(1, 2, error).delay == 3


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 1e6), st.integers(1, 10**6), st.floats(0, 1e6))
def test_a_delay_is_never_negative_nor_above_the_longest(first, longest, factor, attempt, elapsed):
    """For any numbers, also those that overflow."""
    policy = RetryPolicy(initial_retry_interval=first, max_retry_interval=longest, retry_interval_factor=factor)
    assert 0 <= policy.decide(attempt, elapsed, OSError()).delay <= longest


def test_override_keeps_what_is_not_said():
    """A step's options lie over the notebook's."""
    policy = RetryPolicy(max_attempts=5, retry_interval_factor=3).override(max_attempts=None, initial_retry_interval=1)
    assert (policy.max_attempts, policy.retry_interval_factor, policy.initial_retry_interval) == (5, 3, 1)


@pytest.mark.parametrize("bad", [{"max_attempts": True}, {"max_retry_interval": "1"}, {"retry_interval_factor": 0}])
def test_bad_values(bad):
    """Refused where they are written."""
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        RetryPolicy(**bad)
