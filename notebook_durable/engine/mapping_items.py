"""The items of a map, each with what the journal says about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from notebook_durable.engine.entry_value import payload_of
from notebook_durable.engine.inplace import restore
from notebook_durable.engine.journal import Match, Place
from notebook_durable.engine.lookup import Found, again, describe, library_note
from notebook_durable.engine.lost import LOST
from notebook_durable.engine.options import DEFAULT_OPTIONS, StepSpec, as_list
from notebook_durable.errors import (
    ConfigurationError,
    ReplayError,
    StoreError,
    UndefinedClassError,
    UnknownSerializerError,
)
from notebook_durable.model import Attempt, Entry, EntryStatus, StepKey, check_name
from notebook_durable.parts import parts_from, prefix
from notebook_durable.protocols import Description, Family
from notebook_durable.render import duration

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["Item", "MapSpec", "find_items", "make_family", "replay_item"]

#: Items of these types are neither a path nor an object that an earlier step may have written to.
_PLAIN = frozenset({type(None), bool, int, float, complex, bytes})


_NO_MATCH = Match(None)


class MapSpec(NamedTuple):
    """One call of ``ctx.map``, checked.

    Attributes:
        step: name, function, policy and options, as of a step with one argument.
        items: the items.
        keys: their keys, None if they have none.
        workers: None (the cell's thread, or its loop), "threads", "processes", or an object with ``submit``.
        most: how many items at a time; None: as many as are usual.
        collect: failures are handed back in the place of values.
    """

    step: StepSpec
    items: Sequence[Any]
    keys: Sequence[str] | None
    workers: Any
    most: int | None
    collect: bool


@dataclass(slots=True, eq=False)
class Item:
    """One item of a map.

    Attributes:
        index: its position in the result.
        value, key: what it is, and what it is called by people.
        place: of its call.
        digest, fingerprint: see ``protocols.Family``.
        match: what the journal says.
        call: its full description, where it may share something with earlier steps.
        budget, attempts, spent: as in its entry, without the attempt that is under way.
        first, began: monotonic time of its first and its present attempt in this execution.
        started_at: of the present attempt, in seconds since the epoch.
        due: monotonic time of its next attempt, while it waits.
        written: its newest state in this execution that was given to the journal; None if there is none.
        history: its failed attempts in this execution.
    """

    index: int
    value: Any
    key: str | None
    place: Place
    digest: Any = None
    fingerprint: str = ""
    match: Match = _NO_MATCH
    call: Description | None = None
    budget: int = 0
    attempts: int = 0
    spent: float = 0.0
    first: float | None = None
    began: float = 0.0
    started_at: float = 0.0
    due: float = 0.0
    written: Entry | None = None
    history: list[Attempt] | None = None

    @property
    def label(self) -> str:
        """What it is called: its key, or name and number."""
        return self.key if self.key is not None else str(StepKey(self.place.name, self.place.occurrence))

    def __lt__(self, other: Item) -> bool:
        return self.index < other.index


def keys_of(key: Callable[[Any], str] | None, items: Sequence[Any]) -> list[str] | None:
    """Name the items.

    Raises:
        ConfigurationError: if ``key`` gives something else than text.
    """
    if key is None:
        return None
    return [check_name(key(item), f"the key of item {number}") for number, item in enumerate(items, 1)]


def make_family(session: Session, spec: MapSpec) -> Family:
    """Describe what all calls have in common.

    Raises:
        ConfigurationError: if ``ignore`` names something that is no input.
    """
    step, keyed = spec.step, spec.keys is not None
    if step.options is DEFAULT_OPTIONS:
        family = session.describer.family(step.fn, keyed=keyed)
    else:
        options = step.options
        ignore = (options.ignore,) if isinstance(options.ignore, str) else tuple(options.ignore)
        marks = [(name, value) for name in ("version", "depends_on") if (value := getattr(options, name)) is not None]
        files = [one.path for one in as_list(options.reads)]
        family = session.describer.family(step.fn, keyed=keyed, ignore=ignore, marks=marks, files=files)
        unknown = family.call.unknown(ignore) if ignore else ()
        if unknown:
            raise ConfigurationError(
                f"ignore= of ctx.map('{step.name}') names {unknown[0]!r}, which is none of its inputs. "
                f"They are: {', '.join(family.call.names) or 'none'}."
            )
    if session.shared:
        session.shared.mark(family.call)
    return family


def find_items(
    session: Session, spec: MapSpec, family: Family, places: Sequence[Place]
) -> tuple[list[Item], list[Entry], str]:
    """Find the entry of each item.

    Returns:
        The items; entries that don't replay any more; what is to be said of the replay, such as other libraries.

    Raises:
        ConfigurationError: if two items can't be told apart: one would get the other's value when their order changes.
    """
    superseded: list[Entry] = []
    items = [
        Item(index, value, None if spec.keys is None else spec.keys[index], place)
        for index, (value, place) in enumerate(zip(spec.items, places, strict=True))
    ]
    match, shared, note = session.journal.match, bool(session.shared), ""
    start = prefix(family.call.libraries)
    plain = spec.step.options is DEFAULT_OPTIONS and not session.strict
    seen: set[str] = set()
    for item in items:
        item.digest = family.digest(item.value)
        if shared and type(item.value) not in _PLAIN:
            item.call = _in_full(session, spec, item)
            item.fingerprint = item.call.fingerprint
        else:
            item.fingerprint = family.fingerprint(item.digest, item.key)
        if type(item.value) not in _PLAIN:
            if item.fingerprint in seen and not family.tracked(item.digest):
                raise _alike(spec, item)
            seen.add(item.fingerprint)
        item.match = match(item.place, item, in_order=True)
        entry = item.match.entry
        if entry is None or not item.match.replays:
            continue
        if entry.code.version == session.describer.version and not entry.code.inputs.startswith(start):
            note = library_note(entry, family.call)
        if not plain:
            why = _why_not(session, spec, entry, note)
            if why:
                superseded += run_again(session, family, item, why)
    return items, superseded, note


def _alike(spec: MapSpec, item: Item) -> ConfigurationError:
    return ConfigurationError(
        f"item {item.index + 1} of ctx.map('{spec.step.name}') can't be told apart from one before it: nobody can look "
        f"into a {type(item.value).__qualname__}, or into something in it (a generator, a connection, a lock). Give a "
        "list instead of a generator, the address instead of a connection, or name the items: key=..."
    )


def run_again(session: Session, family: Family, item: Item, why: str) -> list[Entry]:
    """Take back a replay; return the entry that is history from now on."""
    found = again(session, item.place, Found(family.call, item.match), why)
    item.match = found.match
    return found.superseded


def _in_full(session: Session, spec: MapSpec, item: Item) -> Description:
    """Describe a call that may share something with the steps before."""
    step = spec.step._replace(args=(item.value,))
    call = describe(session, step, [] if item.key is None else [("key", item.key)])
    session.shared.mark(call)
    return call


def _why_not(session: Session, spec: MapSpec, entry: Entry, note: str) -> str:
    """Say why a recorded result may not be used, although it fits; "" if it may."""
    oldest = spec.step.options.oldest
    if oldest is not None and entry.status is EntryStatus.SUCCEEDED:
        age = session.clock.time() - (entry.ended_at or entry.started_at)
        if age > oldest:
            return f"too old: {duration(age)}, and max_age is {duration(oldest)}"
    return note if session.strict else ""


def replay_item(session: Session, spec: MapSpec, family: Family, item: Item) -> Any:
    """Hand the recorded value of an item back.

    Raises:
        DamagedValueError, OutdatedValueError, NotRestorableError: if it has to be computed anew.
        ReplayError: if it can't be read; it is kept.
    """
    entry = item.match.entry
    assert entry is not None  # noqa: S101  it replays
    try:
        value = session.codec.decode(payload_of(session, entry), spec.step.options.chosen_serializer)
        if '"changed"' in entry.code.inputs:
            changed = parts_from(entry.code.inputs).changed
            own = {name: item.value if name == family.name else family.call.input(name) for name in changed}
            value = restore(value, [(path, own[name]) for name, path in changed.items()])
    except (UndefinedClassError, UnknownSerializerError) as error:
        named = error.class_name if isinstance(error, UndefinedClassError) else error.serializer
        raise type(error)(named, item.label) from error.__cause__
    except (*LOST, StoreError):
        raise
    except Exception as error:
        raise ReplayError(
            f"the recorded value of item '{item.label}' of ctx.map('{entry.name}') can't be read "
            f"({type(error).__name__}: {error}). It is kept. Mend that (a missing package, a changed class) and run "
            f"the cell again, or give the map a new name to compute it anew."
        ) from error
    if entry.payload is not None:
        session.journal.put(entry)  # lets go of the bytes
    return value
