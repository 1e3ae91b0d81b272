"""Step failures as data and back: what is recorded of an exception, and the TerminalError that a caller gets."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.entry_value import payload_of, settled
from notebook_durable.errors import TerminalError
from notebook_durable.model import Attempt, Entry, EntryStatus, Payload, error_record
from notebook_durable.protocols import Codec
from notebook_durable.redact import HIDDEN, is_secret_name, redact

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["describe", "drop_own_frames", "give_up", "history", "rebuild", "stopped_as", "store_error", "with_error"]

Hide = Callable[[str], str]

# Characters; bytes. A step that fails in a loop must not fill the disk with what it says.
_LONGEST_MESSAGE = 10_000
_LONGEST_TRACEBACK = 20_000
_LARGEST_ERROR = 1_000_000
#: More characters than are kept are looked at, as a password that a cut goes through is not recognised.
_MARGIN = 2_000

_HERE = str(Path(__file__).parent.parent)
# Engine and executor stand between the caller and the step's function; nobody debugging a step wants them.
_OWN = tuple(f"{_HERE}{sep}{part}{sep}" for sep in ("/", "\\") for part in ("engine", "executors"))


def drop_own_frames(tb: TracebackType | None) -> TracebackType | None:
    """Cut our own frames off the front of a traceback, so that it begins in the user's code.

    A traceback with nothing but our own frames stays as it is: then the error is ours.
    """
    first = tb
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OWN):
        first = first.tb_next
    return first if first is not None else tb


def describe(error: BaseException, hide: Hide = redact) -> dict[str, Any]:
    """Make the record of an exception, with its traceback as text, from the user's first frame on.

    Passwords in it are hidden, by ``hide``: it is stored and shown. The exception itself is not touched.
    """
    try:
        report = traceback.TracebackException(type(error), error, drop_own_frames(error.__traceback__))
        text = "".join(report.format())
    except Exception:  # noqa: BLE001  a user's broken __str__ or source file must not hide the failure
        text = ""
    record = error_record(error, _end_of(text, hide))
    record["message"] = _start_of(record["message"], hide)
    notes = getattr(error, "__notes__", None)
    if notes:
        record["notes"] = [_start_of(str(note), hide) for note in notes]
    if isinstance(error, TerminalError):
        record["status_code"] = error.status_code
        record["metadata"] = _without_secrets(error.metadata, hide)
    return record


def _start_of(text: str, hide: Hide) -> str:
    if len(text) <= _LONGEST_MESSAGE:
        return hide(text)
    return hide(text[: _LONGEST_MESSAGE + _MARGIN])[:_LONGEST_MESSAGE]


def _end_of(text: str, hide: Hide) -> str:
    if len(text) <= _LONGEST_TRACEBACK:
        return hide(text)
    cut = text[-_LONGEST_TRACEBACK - _MARGIN :]
    # From a whole line on, else the half of a password would stand first.
    return hide(cut[cut.find("\n", 0, _MARGIN) + 1 :])[-_LONGEST_TRACEBACK:]


def _without_secrets(value: Any, hide: Hide, name: str = "") -> Any:
    """Hide the texts in an error's metadata that are secrets."""
    if type(value) is str:
        return HIDDEN if value and is_secret_name(name) else hide(value)
    if type(value) is dict:
        return {
            hide(key) if type(key) is str else key: _without_secrets(one, hide, key if type(key) is str else name)
            for key, one in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(_without_secrets(one, hide, name) for one in value)
    return value


def history(attempts: Sequence[Attempt]) -> tuple[Mapping[str, Any], ...]:
    """Show attempts as ``TerminalError.history`` has them."""
    return tuple({"attempt": a.number, **dict(a.error), "at": a.started_at, "duration": a.duration} for a in attempts)


def give_up(step: str, attempts: int, reason: str, last: BaseException) -> TerminalError:
    """Make the error that ends the retries of a step; its cause is the last error."""
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    what = error_record(last)
    status = getattr(last, "status_code", 500)
    error = TerminalError(
        f"step '{step}' gave up after {times} ({reason}): {what['type']}: {what['message']}",
        status_code=status if isinstance(status, int) else 500,
    )
    error.__cause__ = last
    return error


def store_error(codec: Codec, error: BaseException) -> Payload | None:
    """Write the exception object itself, so that it replays as what it was; None if it can't be brought back."""
    cause = error.__cause__
    subject = error if cause is None or not _is_plain_terminal(error) else cause
    try:
        payload = codec.encode(subject, "dill")
    except Exception:  # noqa: BLE001  its text is recorded in any case
        return None
    return payload if payload.size <= _LARGEST_ERROR else None


def with_error(codec: Codec, entry: Entry, error: BaseException) -> Entry:
    """Put the exception object into a failed entry, if it can be brought back."""
    stored = store_error(codec, error)
    if stored is None:
        return entry
    # It is written again when the execution ends, so its bytes are kept, and not those of the exception.
    return settled(entry.with_value(stored))


def stopped_as(stop: BaseException, *, pressed: bool) -> EntryStatus:
    """Tell a cancellation by the cell itself from Stop, which reaches a waiting cell as a cancellation too.

    Args:
        stop: what came out of the step.
        pressed: Stop was pressed meanwhile.
    """
    cancelled = isinstance(stop, asyncio.CancelledError) and not pressed
    return EntryStatus.CANCELLED if cancelled else EntryStatus.INTERRUPTED


def _is_plain_terminal(error: BaseException) -> bool:
    return type(error) is TerminalError


def rebuild(session: Session, entry: Entry) -> BaseException:
    """Bring a recorded failure back: the user's own exception, or a TerminalError with its cause."""
    stored: BaseException | None = None
    if entry.payload is not None or entry.blob:
        try:
            value = session.codec.decode(payload_of(session, entry))
        except Exception:  # noqa: BLE001  the text of the failure is enough to take the same branch
            value = None
        stored = value if isinstance(value, BaseException) else None
    record = dict(entry.error or {})
    if stored is not None and (entry.failure != "terminal" or isinstance(stored, TerminalError)):
        error = stored
    else:
        error = TerminalError(
            str(record.get("message", "")), int(record.get("status_code") or 500), record.get("metadata")
        )
        error.__cause__ = stored
        for note in record.get("notes", ()):
            error.add_note(note)
    if isinstance(error, TerminalError):
        complete(error, entry, session.attempts(entry))
        error.replayed = True
    return error


def complete(error: TerminalError, entry: Entry, attempts: Sequence[Attempt]) -> None:
    """Tell a TerminalError which step it ended."""
    error.step = entry.name
    error.attempts = entry.attempts
    error.history = history(attempts)


def attempt_of(
    entry: Entry, error: BaseException, started_at: float, duration: float, delay: float | None, hide: Hide = redact
) -> Attempt:
    """Make the record of one failed call."""
    return Attempt(entry.seq, entry.budget, entry.attempts, started_at, duration, describe(error, hide), delay)
