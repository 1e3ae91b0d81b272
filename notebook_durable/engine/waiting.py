"""Steps that call nothing: a promise waits for a person, a sleep for time. Both go on after a restart."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from notebook_durable.engine import failures
from notebook_durable.engine.controls import Request
from notebook_durable.engine.effects import Begin, Effect, Record, Wait
from notebook_durable.engine.first import first_entry
from notebook_durable.engine.journal import Place
from notebook_durable.engine.lookup import Found, record_of
from notebook_durable.engine.options import StepSpec, Waits
from notebook_durable.engine.people import ForPeople
from notebook_durable.errors import ConfigurationError, TerminalError
from notebook_durable.events import StepEnded, StepStarted, StepWaiting
from notebook_durable.model import Ask, Entry, EntryStatus, Failure
from notebook_durable.parts import parts_from

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["promise", "sleep", "wait_flow"]

Flow = Generator[Effect, Any, Any]

# Seconds. The system's clock may be set, or the machine suspended, meanwhile: look at it now and then.
_LONGEST_WAIT = 60.0


def promise(question: str) -> None:
    """Stands for ``ctx.promise`` in fingerprints: its only input is the question."""


def sleep(duration: float) -> None:
    """Stands for ``ctx.sleep`` in fingerprints: its only input is the duration."""


def wait_flow(session: Session, spec: StepSpec, place: Place, follows: int | None, found: Found) -> Flow:
    """Wait for an answer or for time, beginning with this execution or an earlier one.

    Returns:
        (through StopIteration) the answer; None for a sleep.

    Raises:
        TerminalError: if the promise was rejected, or the wait given up.
    """
    waits = spec.waits
    assert waits is not None  # noqa: S101  the caller looked
    old = found.match.entry
    entry = first_entry(session, spec, place, follows, found.match)
    code, reason, texts = record_of(session, spec, place, found, ForPeople(session, spec, found.call))
    parts = parts_from(code.inputs)
    if waits.question is not None:
        parts = parts._replace(asks=waits.question.as_text())
    else:
        parts = parts._replace(sleeps=waits.duration)
    now = session.clock.time()
    goes_on = old is not None and found.match.resumes and old.started_at
    entry = entry._replace(
        attempts=1,
        started_at=old.started_at if old is not None and goes_on else now,
        ended_at=now,  # nothing is being called: a death now leaves no outcome unknown
        code=code._replace(inputs=parts.as_text()),
    )
    yield Begin(entry, True, texts, found.superseded)
    session.emit(StepStarted, entry, None, reason)
    return (yield from _Waiting(session, spec, waits, entry).run())


class _Waiting:
    """One wait in one execution."""

    def __init__(self, session: Session, spec: StepSpec, waits: Waits, entry: Entry) -> None:
        self._s = session
        self._spec = spec
        self._waits = waits
        self._entry = entry
        self._start = session.clock.monotonic()
        self._stops = session.guard.stops

    def run(self) -> Flow:
        try:
            value = yield from (self._answered() if self._waits.question is not None else self._slept())
        except TerminalError as error:
            yield from self._failed(error)
        except BaseException as stop:
            yield from self._stopped(stop)
            raise
        else:
            return (yield from self._succeeded(value))

    def _answered(self) -> Flow:
        question, entry = self._waits.question, self._entry
        assert question is not None  # noqa: S101  the caller looked
        self._s.emit(StepWaiting, entry, "answer", None, question)
        while True:
            requests: list[Request] = yield Wait(entry.seq, None)
            for request in requests:
                self._check_given_up(request)
                if request.ask is Ask.ANSWER:
                    try:
                        return question.check(request.value)
                    except ConfigurationError:
                        # Whoever gave it was told: both the panel and `resolve` check it too.
                        self._s.dealt_with(request.message)

    def _slept(self) -> Flow:
        clock, entry, duration = self._s.clock, self._entry, self._waits.duration
        # Whichever clock comes first: the machine's may be set back, the other one stands still in a suspended machine.
        until = min(entry.started_at + duration, clock.time() + duration)
        end = clock.monotonic() + until - clock.time()
        self._s.emit(StepWaiting, entry, "sleep", until)
        while (left := min(until - clock.time(), end - clock.monotonic())) > 0:
            requests: list[Request] = yield Wait(entry.seq, min(left, _LONGEST_WAIT))
            for request in requests:
                self._check_given_up(request)
                if request.ask is Ask.RETRY:
                    return

    def _check_given_up(self, request: Request) -> None:
        why = f": {request.text}" if request.text else ""
        if request.ask is Ask.REJECT:
            raise TerminalError(f"promise '{self._spec.name}' was rejected{why}")
        if request.ask is Ask.GIVE_UP:
            raise TerminalError(f"step '{self._spec.name}' was given up by hand{why}")

    def _ended(self, status: EntryStatus, **changes: Any) -> Entry:
        took = self._s.clock.monotonic() - self._start
        # What a person took to answer is nothing that a replay saves; a cancellation replays when its time has come.
        saves = self._waits.question is None or status is EntryStatus.CANCELLED
        spent = self._entry.spent + (took if saves else 0.0)
        self._entry = self._entry._replace(
            status=status, ended_at=self._s.clock.time(), spent=spent, duration=took, **changes
        )
        return self._entry

    def _succeeded(self, value: Any) -> Flow:
        payload = self._s.codec.encode(value)
        entry = self._ended(EntryStatus.SUCCEEDED, error=None).with_value(payload)
        yield Record(entry)
        self._s.dealt_with_all(entry.seq)
        self._s.emit(StepEnded, entry)
        return value

    def _failed(self, error: TerminalError) -> Flow:
        ended = self._ended(EntryStatus.FAILED, error=failures.describe(error), failure=Failure.TERMINAL)
        entry = failures.with_error(self._s.codec, ended, error)
        yield Record(entry)
        self._s.dealt_with_all(entry.seq)
        failures.complete(error, entry, ())
        self._s.emit(StepEnded, entry)
        raise error

    def _stopped(self, stop: BaseException) -> Flow:
        entry = self._ended(failures.stopped_as(stop, pressed=self._s.guard.stops != self._stops))
        yield Record(entry)
        self._s.emit(StepEnded, entry)
