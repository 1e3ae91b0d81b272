"""What a worker executes: a function, for a few items one after the other. Small: worker processes import it."""

from __future__ import annotations

import itertools
import os
import pickle
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

from notebook_durable.engine.inside import current_step
from notebook_durable.errors import UsageError

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["Done", "call_items", "inside"]


class Done(NamedTuple):
    """What came of one call.

    Attributes:
        value: what it returned.
        error: what it raised, None if it returned.
        started_at, duration: seconds since the epoch; seconds.
    """

    value: Any
    error: BaseException | None
    started_at: float
    duration: float


#: The maps that are under way in this process, by number.
_under_way: dict[tuple[int, int], tuple[Session, str]] = {}
_numbers = itertools.count()


@contextmanager
def inside(session: Session, name: str) -> Iterator[tuple[int, int]]:
    """Give a number under which workers of this process find out whose function they call."""
    number = os.getpid(), next(_numbers)
    _under_way[number] = session, name
    try:
        yield number
    finally:
        del _under_way[number]


def call_items(number: tuple[int, int], fn: Callable[..., Any], items: Sequence[Any], limit: float) -> list[Done]:
    """Call ``fn(item)`` for the items in turn, until that has taken ``limit`` seconds; at least for the first.

    Returns:
        What came of the calls that were made; the caller goes on with the other items.
    """
    whose = _under_way.get(number)  # None in another process
    before = current_step.set(whose)
    began = time.monotonic()
    done: list[Done] = []
    try:
        for item in items:
            one = _call(fn, item)
            if one.error is not None and os.getpid() != number[0]:
                one = one._replace(error=_for_home(one.error))
            done.append(one)
            if time.monotonic() - began > limit:
                break
    finally:
        current_step.reset(before)
    return done


def _call(fn: Callable[..., Any], item: Any) -> Done:
    started_at, began = time.time(), time.monotonic()
    try:
        value = fn(item)
        if isinstance(value, CoroutineType):
            value.close()
            raise UsageError(
                "The function of this map is async, and it was given executor=. Async functions run side by side on "
                "the loop: leave executor= out, and set max_workers= to how many at a time."
            )
    except BaseException as error:  # noqa: BLE001  the cell's thread decides what it means
        return Done(None, error, started_at, time.monotonic() - began)
    return Done(value, None, started_at, time.monotonic() - began)


def _for_home(error: BaseException) -> BaseException:
    """Make an error fit for the way home: with its traceback as a note, for that itself can't be pickled."""
    lines = traceback.format_exception(type(error), error, _own_frame_off(error))
    error.add_note("In the worker process:\n" + "".join(lines).rstrip())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  a class of the notebook, or one whose __init__ takes something else
        return _portable(error)
    return error


def _portable(error: BaseException) -> BaseException:
    try:
        import cloudpickle

        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # noqa: BLE001  then its text has to do
        stand_in = RuntimeError(f"{type(error).__qualname__}: {error}")
        for note in getattr(error, "__notes__", ()):
            stand_in.add_note(note)
        return stand_in
    return error


def _own_frame_off(error: BaseException) -> Any:
    tb = error.__traceback__
    return tb.tb_next if tb is not None and tb.tb_next is not None else tb
