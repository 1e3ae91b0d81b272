"""One step, from lookup to commit, as a generator of effects.

It decides and does no I/O: the two drivers (``drive.py``) act, sync and async, and send back what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from notebook_durable.engine import failures
from notebook_durable.engine.controls import Request
from notebook_durable.engine.effects import Begin, Call, Effect, Record, Sleep, Wait
from notebook_durable.engine.entry_value import payload_of
from notebook_durable.engine.first import first_entry
from notebook_durable.engine.inplace import can_restore, find, restore
from notebook_durable.engine.journal import Match, Place
from notebook_durable.engine.lookup import Found, declared, record_of
from notebook_durable.engine.options import StepSpec
from notebook_durable.engine.people import ForPeople
from notebook_durable.engine.shared import is_effect
from notebook_durable.engine.waiting import wait_flow
from notebook_durable.errors import (
    NotStorableError,
    OutdatedValueError,
    ReplayError,
    StepTimeoutError,
    StoreError,
    TerminalError,
    UndefinedClassError,
    UnknownSerializerError,
)
from notebook_durable.events import AttemptFailed, StepDamaged, StepEnded, StepReplayed, StepStarted, StepWaiting
from notebook_durable.model import Ask, Entry, EntryStatus, Failure, Payload, StepCode
from notebook_durable.parts import parts_from

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["replay_value", "replays_value", "step_flow"]

Flow = Generator[Effect, Any, Any]

# A cancelled step is not called again on replay: it waits for what cancelled it, this much longer than last time.
_CANCEL_GRACE = 1.0


def step_flow(session: Session, spec: StepSpec, place: Place, follows: int | None, found: Found) -> Flow:
    """Run one step, or replay its failure or cancellation; a value replays without a flow, see :func:`replay_value`.

    Args:
        session: the execution it belongs to.
        spec: what to call, and how.
        place: its place in the run.
        follows: seq of the failure after which the cell began it.
        found: what the journal says about it.

    Returns:
        (through StopIteration) the step's value.

    Raises:
        TerminalError: if the step failed for good.
        BaseException: the user's own, if it is of a kind that is never retried.
    """
    match = found.match
    entry = match.entry
    if entry is not None and match.replays:
        if entry.status is EntryStatus.FAILED:
            _replay_failure(session, spec, entry, found)
        if session.asynchronous:
            yield from _replay_cancellation(session, entry)
        found.match = match = Match(entry, reason="was cancelled last time, and nothing cancels it now")
    if entry is not None and match.damaged:
        session.emit(StepDamaged, entry, match.reason)
    session.stop_if_asked(place)
    if spec.waits is not None:
        return (yield from wait_flow(session, spec, place, follows, found))
    return (yield from _Live(session, spec, place, follows, found).run())


# --- replay -------------------------------------------------------------------------------


def replays_value(found: Found) -> bool:
    """Tell whether a call has a value to be handed back: what happens most."""
    entry = found.match.entry
    return entry is not None and found.match.replays and entry.status is EntryStatus.SUCCEEDED


def replay_value(session: Session, spec: StepSpec, found: Found) -> Any:
    """Hand a recorded value back.

    Raises:
        UndefinedClassError, UnknownSerializerError: naming the step; the value is kept.
        ReplayError: if it can't be read for another reason.
        DamagedValueError, OutdatedValueError: if its bytes, or the libraries of then, are gone: the step has to run.
        NotRestorableError: if an input that the step changed can't be put into its state: the step has to run.
    """
    entry = found.match.entry
    assert entry is not None  # noqa: S101  it replays
    try:
        value = session.codec.decode(payload_of(session, entry), spec.options.chosen_serializer)
    except (UndefinedClassError, UnknownSerializerError) as error:
        named = error.class_name if isinstance(error, UndefinedClassError) else error.serializer
        raise type(error)(named, entry.name) from error.__cause__
    except (StoreError, OutdatedValueError):
        raise
    except Exception as error:
        raise ReplayError(
            f"the recorded value of step '{entry.key}' can't be read ({type(error).__name__}: {error}). It is kept. "
            f"Mend that (a missing package, a changed class) and run the cell again, or compute the step anew under "
            f"a new name."
        ) from error
    if '"changed"' in entry.code.inputs:
        # Inputs that the step changed and returned are put into the state in which it left them.
        changed = parts_from(entry.code.inputs).changed
        value = restore(value, [(path, found.call.input(name)) for name, path in changed.items()])
    _note_effect(session, spec, entry, found)
    session.journal.put(entry)  # lets go of the bytes: whoever keeps events doesn't keep them either
    entry = session.journal.get(entry.seq)
    session.emit(StepReplayed, entry, found.note)
    session.show_outputs(entry, spec)
    return value


def _note_effect(session: Session, spec: StepSpec, entry: Entry, found: Found) -> None:
    writes = declared(spec)
    if is_effect(entry, writes):
        session.shared.wrote(found.call, entry, writes)


def _replay_failure(session: Session, spec: StepSpec, entry: Entry, found: Found) -> None:
    error = failures.rebuild(session, entry)
    session.shared.wrote(found.call, entry, declared(spec))
    session.emit(StepReplayed, entry)
    session.show_outputs(entry, spec)
    raise error


def _replay_cancellation(session: Session, entry: Entry) -> Flow:
    try:
        yield Sleep(entry.spent + _CANCEL_GRACE)
    except asyncio.CancelledError:
        session.emit(StepReplayed, entry)
        raise


# --- the live path ------------------------------------------------------------------------


class _Live:
    """The attempts of one step in one execution."""

    __slots__ = (
        "_begin_with", "_call", "_call_at", "_call_mono", "_entry", "_people", "_reason", "_s", "_spec", "_spent",
        "_start", "_stops",
    )  # fmt: skip

    def __init__(self, session: Session, spec: StepSpec, place: Place, follows: int | None, found: Found) -> None:
        self._s = session
        self._spec = spec
        entry = first_entry(session, spec, place, follows, found.match)
        self._people = ForPeople(session, spec, found.call)
        code, self._reason, texts = record_of(session, spec, place, found, self._people)
        self._entry = entry._replace(code=code)
        self._begin_with: tuple[Mapping[str, str], Sequence[Entry]] = texts, found.superseded
        self._call = found.call
        self._spent = entry.spent
        self._stops = session.guard.stops
        self._start = session.clock.monotonic()

    def _elapsed(self) -> float:
        return self._spent + self._s.clock.monotonic() - self._start

    def run(self) -> Flow:
        if self._entry.attempts:
            yield from self._check_budget()
        while True:
            yield from self._begin()
            options = self._spec.options
            # A serializer of the user's own may take its time, so Stop must reach it.
            hold = options.chosen_serializer is None or isinstance(options.chosen_serializer, str)
            try:
                value = yield Call(
                    self._spec.fn, self._spec.args, self._spec.kwargs, options.on_stop, hold,
                    options.time_limit, self._people.record(), self._spec,
                )  # fmt: skip
            except Exception as error:
                if isinstance(error, StepTimeoutError) and self._is_foreign(error):
                    yield from self._stopped(error, begun=True, called=True)
                    raise
                delay = yield from self._failed(error)
                yield from self._wait(delay, error)
                self._reason = self._changed_by_attempt()
            except BaseException as stop:
                yield from self._stopped(stop, begun=True, called=True)
                raise
            else:
                return (yield from self._succeeded(value))

    def _is_foreign(self, error: StepTimeoutError) -> bool:
        """Tell whether it is the limit of a step around this one's run that is over: that ends this run too."""
        limit, error.limit = error.limit, None
        if limit is None or limit is self._spec:
            return False
        error.limit = limit
        return True

    def _begin(self) -> Flow:
        clock = self._s.clock
        self._call_at, self._call_mono = clock.time(), clock.monotonic()
        entry = self._entry
        self._entry = entry._replace(
            status=EntryStatus.RUNNING,
            attempts=entry.attempts + 1,
            started_at=self._call_at,
            ended_at=None,
            spent=self._elapsed(),
        )
        self._stops = self._s.guard.stops
        try:
            texts, superseded = self._begin_with
            self._begin_with = {}, ()
            yield Begin(self._entry, self._entry.at_most_once, texts, superseded)
            if self._s.bus:
                self._s.bus.emit(StepStarted(self._s.run, self._entry, self._spec.policy.max_attempts, self._reason))
        except Exception:
            raise
        except BaseException as stop:  # also one that came while the panel was drawn
            yield from self._stopped(stop, begun=True, called=False)
            raise
        self._reason = ""

    def _ended(self, status: EntryStatus, **changes: Any) -> Entry:
        clock = self._s.clock
        self._entry = self._entry._replace(
            status=status,
            ended_at=clock.time(),
            spent=self._elapsed(),
            duration=clock.monotonic() - self._call_mono,
            **changes,
        )
        return self._entry

    def _succeeded(self, value: Any) -> Flow:
        ended_at, duration = self._s.clock.time(), self._s.clock.monotonic() - self._call_mono
        try:
            payload = self._encode(value)
            given = self._as_on_replay(value, payload)
        except NotStorableError as error:
            return (yield from self._unstorable(value, error))
        except BaseException as stop:
            yield from self._stopped(stop, begun=True, called=True)
            raise
        status, note, code = self._changes(value)
        extra = self._people.extra_of(value, payload)
        entry = self._entry._replace(
            status=status,
            ended_at=ended_at,
            spent=self._elapsed(),
            duration=duration,
            error=None,
            note=note,
            code=code,
        )
        yield Record(entry.with_value(payload), None, extra)
        self._entry = entry = self._s.journal.get(entry.seq)  # without the buffers: whoever keeps events keeps no value
        writes = declared(self._spec)
        if is_effect(entry, writes):
            self._s.shared.wrote(self._call, entry, writes)
        self._s.emit(StepEnded, entry)
        return given

    def _changed_by_attempt(self) -> str:
        """After a failed attempt: what the next one finds changed."""
        changed = self._call.changed()
        return f"an earlier attempt changed its input {_quoted(changed)}" if changed else ""

    def _changes(self, value: Any) -> tuple[EntryStatus, str, StepCode]:
        """Look at the inputs again: a step that changed one replays only if that is part of its result."""
        code, changed = self._entry.code, self._call.changed()
        if not changed:
            return EntryStatus.SUCCEEDED, self._entry.note, code
        paths = {name: find(value, self._call.input(name)) for name in changed}
        lost = [name for name, path in paths.items() if path is None]
        if lost:
            return EntryStatus.IMPURE, f"changed its input {_quoted(lost)}: return it", code
        lost = [name for name in changed if not can_restore(self._call.input(name))]
        if lost:
            return EntryStatus.IMPURE, f"changed its input {_quoted(lost)} in place: return a new object", code
        parts = parts_from(code.inputs)._replace(
            changed={name: path for name, path in paths.items() if path is not None}
        )
        said = f"changed its input {_quoted(changed)}, which it returned"
        return EntryStatus.SUCCEEDED, said, code._replace(inputs=parts.as_text())

    def _encode(self, value: Any) -> Payload:
        try:
            payload = self._s.codec.encode(value, self._spec.options.chosen_serializer)
        except NotStorableError:
            raise
        except Exception as error:
            # Whatever a strange object does when it is looked at, the finished work must not be lost.
            raise NotStorableError(type.__repr__(type(value)), "", f"{type(error).__name__}: {error}") from error
        largest = self._s.store.largest_value
        if payload.size > largest:
            why = f"{payload.size:,} bytes; this journal takes {largest:,} in one value"
            raise NotStorableError(payload.value_type, "", why)
        return payload

    def _as_on_replay(self, value: Any, payload: Payload) -> Any:
        """Return what a replay will give: a serializer of the user's own may change the value."""
        serializer = self._spec.options.chosen_serializer
        if serializer is None or isinstance(serializer, str):
            return value
        try:
            return self._s.codec.decode(payload, serializer)
        except Exception as error:
            why = f"serializer '{payload.serializer}' can't read what it wrote: {type(error).__name__}: {error}"
            raise NotStorableError(payload.value_type, "", why) from error

    def _unstorable(self, value: Any, error: NotStorableError) -> Flow:
        named = NotStorableError(error.type_name, error.path, error.reason, self._spec.name)
        where = f" at {error.path} inside the value" if error.path else ""
        why = f" ({error.reason})" if error.reason else ""
        entry = self._ended(
            EntryStatus.UNSTORABLE, note=self._people.hide(f"not storable: {error.type_name}{where}{why}")
        )
        yield Record(entry, None, self._people.extra_of(value))
        self._s.emit(StepEnded, entry)
        if self._s.strict:
            raise named
        return value

    def _failed(self, error: Exception) -> Generator[Effect, Any, float]:
        """Record a failed attempt; return the delay before the next one, or raise what ends the step."""
        if self._s.guard.stops > self._stops and self._spec.options.on_stop is not None:
            # on_stop made the C call fail: that is Stop, not a failed attempt.
            yield from self._stopped(error, begun=True, called=True)
            raise KeyboardInterrupt from error
        policy = self._spec.policy
        elapsed = self._elapsed()
        decision = policy.decide(self._entry.attempts, elapsed, error)
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            error = _as_runtime_error(self._spec.name, error)
        duration = self._s.clock.monotonic() - self._call_mono
        hide = self._people.hide
        attempt = failures.attempt_of(self._entry, error, self._call_at, duration, decision.delay, hide)
        if decision.delay is None:
            yield from self._gave_up(error, attempt, fatal=decision.fatal, reason=decision.reason)
        entry = self._ended(EntryStatus.RUNNING, error=attempt.error)
        yield Record(entry, attempt, self._people.extra())
        delay = decision.delay or 0.0
        if self._s.bus:
            at = self._s.clock.time() + delay
            self._s.bus.emit(AttemptFailed(self._s.run, entry, attempt, policy.max_attempts, at))
        return delay

    def _gave_up(self, error: Exception, attempt: Any, *, fatal: bool, reason: str) -> Flow:
        final: Exception = error
        if not fatal and not isinstance(error, TerminalError):
            final = failures.give_up(self._spec.name, self._entry.attempts, reason, error)
        kind = Failure.FATAL if fatal else Failure.TERMINAL
        entry = self._ended(EntryStatus.FAILED, error=failures.describe(final, self._people.hide), failure=kind)
        yield from self._fail(entry, final, attempt)

    def _fail(self, entry: Entry, final: BaseException, attempt: Any) -> Flow:
        self._entry = entry = failures.with_error(self._s.codec, entry, final)
        yield Record(entry, attempt, self._people.extra())
        # Half of what it does may be done.
        self._s.shared.wrote(self._call, entry, declared(self._spec))
        if isinstance(final, TerminalError):
            failures.complete(final, entry, self._s.attempts(entry))
        self._s.emit(StepEnded, entry)
        raise final

    def _check_budget(self) -> Flow:
        """After a restart: the attempts that dead kernels made count, so there may be none left."""
        reason = self._spec.policy.exhausted(self._entry.attempts, self._entry.spent)
        if not reason:
            return
        self._call_at, self._call_mono = self._s.clock.time(), self._s.clock.monotonic()
        earlier = self._s.attempts(self._entry)
        said = (
            f"; the last recorded error was {earlier[-1].error['type']}: {earlier[-1].error['message']}"
            if earlier
            else ""
        )
        final = TerminalError(
            f"step '{self._spec.name}' has no attempt left ({reason}): attempt {self._entry.attempts} was cut off when "
            f"its kernel died{said}. Run the cell again to give the step a new budget."
        )
        entry = self._ended(EntryStatus.FAILED, error=failures.describe(final), failure=Failure.TERMINAL)
        yield from self._fail(entry, final, None)

    def _wait(self, delay: float, error: Exception) -> Flow:
        """Wait for the next attempt; people may hasten it, hold it, or end the step."""
        try:
            yield from self._wait_or_obey(delay, error)
        except TerminalError:
            raise  # given up, and recorded
        except BaseException as stop:
            yield from self._stopped(stop, begun=False, called=False)
            raise

    def _wait_or_obey(self, delay: float, error: Exception) -> Flow:
        monotonic = self._s.clock.monotonic
        due, remaining = monotonic() + delay, delay
        held_at: float | None = None
        try:
            while True:
                requests: list[Request] = yield Wait(self._entry.seq, None if held_at is not None else remaining)
                if not requests and held_at is None:
                    return
                for request in requests:
                    if request.ask is Ask.RETRY:
                        return
                    if request.ask is Ask.GIVE_UP:
                        yield from self._given_up(error, request.text)
                    elif request.ask is Ask.PAUSE and held_at is None:
                        remaining, held_at = max(0.0, due - monotonic()), monotonic()
                        self._s.emit(StepWaiting, self._entry, "paused")
                    elif request.ask is Ask.RESUME and held_at is not None:
                        self._start += monotonic() - held_at
                        held_at, due = None, monotonic() + remaining
                        self._s.emit(StepWaiting, self._entry, "retry", self._s.clock.time() + remaining)
                if held_at is None:
                    remaining = max(0.0, due - monotonic())
        finally:
            if held_at is not None:  # what is held by hand costs nothing of the retry budget, however it ends
                self._start += monotonic() - held_at

    def _given_up(self, error: Exception, why: str) -> Flow:
        reason = f"by hand{f': {why}' if why else ''}"
        final = failures.give_up(self._spec.name, self._entry.attempts, reason, error)
        hide = self._people.hide
        entry = self._entry._replace(
            status=EntryStatus.FAILED, error=failures.describe(final, hide), failure=Failure.TERMINAL,
            ended_at=self._s.clock.time(), spent=self._elapsed(),
        )  # fmt: skip
        yield from self._fail(entry, final, None)

    def _stopped(self, stop: BaseException, *, begun: bool, called: bool) -> Flow:
        """Record Stop or a cancellation. It is no attempt: the one that it cut short is given back."""
        status = failures.stopped_as(stop, pressed=self._s.guard.stops != self._stops)
        if called and self._entry.at_most_once:
            entry = self._entry  # still running: it may have had its effect, the next execution asks
        else:
            entry = self._ended(status, attempts=self._entry.attempts - (1 if begun else 0))
        yield Record(entry)
        self._s.emit(StepEnded, entry)


def _as_runtime_error(step: str, error: Exception) -> RuntimeError:
    """What Python makes of StopIteration that leaves a generator (PEP 479): the engine is made of generators."""
    made = RuntimeError(f"step '{step}' raised {type(error).__name__}")
    made.__cause__ = error
    return made


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
