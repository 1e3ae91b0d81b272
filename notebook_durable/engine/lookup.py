"""From a call to its entry: describe the call, find its entry, and say what a step that runs is recorded with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.journal import Match, Place
from notebook_durable.engine.options import DEFAULT_OPTIONS, StepSpec, as_list
from notebook_durable.engine.why import reason
from notebook_durable.errors import ConfigurationError, StoreError, UndefinedNameError
from notebook_durable.model import Entry, EntryStatus, StepCode
from notebook_durable.parts import code_from, parts_from, prefix
from notebook_durable.protocols import Description
from notebook_durable.render import duration

if TYPE_CHECKING:
    from notebook_durable.engine.people import ForPeople
    from notebook_durable.engine.session import Session

__all__ = [
    "Found",
    "again",
    "check_defined",
    "declared",
    "describe",
    "library_note",
    "look_up",
    "record_of",
    "texts_of",
]


@dataclass(slots=True)
class Found:
    """A call, and what the journal says about it.

    Attributes:
        call: what it computes from.
        match: its entry.
        note: what is to be said of a replay, such as a library that has another version now.
        superseded: entries that don't replay any more when this call begins, with their notes.
    """

    call: Description
    match: Match
    note: str = ""
    superseded: list[Entry] = field(default_factory=list)


def describe(session: Session, spec: StepSpec, more: Sequence[tuple[str, Any]] = ()) -> Description:
    """Describe a call; ``more`` are further inputs by name.

    Raises:
        ConfigurationError: if ``ignore`` names something that is no input.
    """
    options = spec.options
    if options is DEFAULT_OPTIONS and not more:
        return session.describer.describe(spec.fn, spec.args, spec.kwargs)
    ignore = (options.ignore,) if isinstance(options.ignore, str) else tuple(options.ignore)
    marks = [(name, value) for name in ("version", "depends_on") if (value := getattr(options, name)) is not None]
    marks += more
    files = [one.path for one in as_list(options.reads)]
    call = session.describer.describe(spec.fn, spec.args, spec.kwargs, ignore=ignore, marks=marks, files=files)
    unknown = call.unknown(ignore) if ignore else ()
    if unknown:
        raise ConfigurationError(
            f"ignore= of step '{spec.name}' names {unknown[0]!r}, which is none of its inputs. "
            f"They are: {', '.join(call.names) or 'none'}."
        )
    return call


def look_up(session: Session, spec: StepSpec, place: Place, call: Description) -> Found:
    """Find a call's entry. What this execution has written to so far counts."""
    if session.shared:
        session.shared.mark(call)
    match = session.journal.match(place, call)
    if not match.replays:
        return Found(call, match)
    entry = match.entry
    assert entry is not None  # noqa: S101  it replays
    if entry.occurrence != place.occurrence:  # it is told under the name that the step has now
        entry = entry._replace(occurrence=place.occurrence)
        match = match._replace(entry=entry)
    note = ""
    if spec.waits is not None:
        return Found(call, match)  # what a person said doesn't age with our version
    if entry.code.version == session.describer.version and not entry.code.inputs.startswith(prefix(call.libraries)):
        note = library_note(entry, call)
    if spec.options is DEFAULT_OPTIONS and not (note and session.strict):
        return Found(call, match, note)
    return _not_any_more(session, spec, place, Found(call, match, note))


def _not_any_more(session: Session, spec: StepSpec, place: Place, found: Found) -> Found:
    """Take back a replay of a result that is too old, or (strict mode) made with other libraries."""
    entry = found.match.entry
    assert entry is not None  # noqa: S101  it replays
    why = found.note if session.strict else ""
    oldest = spec.options.oldest
    if oldest is not None and entry.status is EntryStatus.SUCCEEDED:
        age = session.clock.time() - (entry.ended_at or entry.started_at)
        if age > oldest:
            why = f"too old: {duration(age)}, and max_age is {duration(oldest)}"
    if not why:
        return found
    return again(session, place, found, why)


def library_note(entry: Entry, call: Description) -> str:
    """Say with which other versions of libraries an entry was recorded."""
    before = dict.fromkeys(parts_from(entry.code.inputs).libraries.split(", "))
    now = dict.fromkeys(call.libraries.split(", "))
    then = ", ".join(one for one in before if one not in now)
    since = ", ".join(one for one in now if one not in before)
    return f"recorded with {then}, now {since}" if then and since else ""


def again(session: Session, place: Place, found: Found, why: str) -> Found:
    """Take back a replay that turned out to be impossible: the step runs, and its entry stays as history."""
    entry = found.match.entry
    assert entry is not None  # noqa: S101  it was to replay
    session.journal.instead_of(entry, place)
    gone = entry._replace(status=EntryStatus.SUPERSEDED, note=why)
    return Found(found.call, Match(None, reason=why), "", [gone])


def record_of(
    session: Session, spec: StepSpec, place: Place, found: Found, people: ForPeople
) -> tuple[StepCode, str, Mapping[str, str]]:
    """Return what a step that runs is recorded with, why it runs, and the texts that are named there.

    What the step had done before under other code is void from now on: it is added to ``found.superseded``.
    """
    call, match = found.call, found.match
    parts, texts = people.without_secrets(call.parts()), call.texts()
    if declared(spec):
        parts = parts._replace(writes=True)
    why, compared = match.reason, match.entry
    if found.superseded:
        compared = found.superseded[0]
    elif not why:
        compared = session.journal.before(place, call.fingerprint, parts)
        both = {**texts_of(session, compared), **texts}
        check_defined(place, call, compared, both)
        why = reason(compared, parts, both)
    if parts.shares:
        for old in session.journal.undone_by(place.name, parts.shares):
            found.superseded.append(old._replace(status=EntryStatus.SUPERSEDED, note="another version of it ran since"))
    parts = parts._replace(why=why, instead=None if compared is None else compared.seq)
    return StepCode("", parts.as_text(), call.fingerprint, session.describer.version), why, texts


def check_defined(place: Place, call: Description, compared: Entry | None, texts: Mapping[str, str]) -> None:
    """Refuse to run a step anew only because the cell that defines what it reads was not run in this kernel.

    Raises:
        UndefinedNameError: naming what its recorded result was computed with, and is not defined.
    """
    if compared is None or compared.status is not EntryStatus.SUCCEEDED:
        return
    missing = call.missing()
    if not missing:
        return
    before = parts_from(compared.code.inputs)
    known = {
        label.removeprefix("class ").partition(".")[0] for label in code_from(texts.get(before.code, "")).functions
    }
    known |= {label.partition(".")[0] for label in before.inputs}
    for name in missing:
        if name in known:
            raise UndefinedNameError(name, place.name)


def texts_of(session: Session, entry: Entry | None) -> Mapping[str, str]:
    """Return the text that describes an entry's code."""
    code = "" if entry is None else parts_from(entry.code.inputs).code
    if not code:
        return {}
    try:
        return session.store.texts([code])
    except StoreError:
        return {}


def declared(spec: StepSpec) -> Sequence[Any]:
    """Return what a step says that it writes to."""
    return () if spec.options is DEFAULT_OPTIONS else as_list(spec.options.writes)
