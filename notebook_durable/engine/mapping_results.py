"""What an item gave, as an entry: its value as bytes, or its failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from notebook_durable.engine import failures
from notebook_durable.engine.inplace import can_restore, find
from notebook_durable.engine.mapping_items import Item, MapSpec
from notebook_durable.engine.people import ForPeople
from notebook_durable.errors import NotStorableError, TerminalError
from notebook_durable.model import Entry, EntryStatus, Extra, Failure, Payload, StepCode
from notebook_durable.parts import Parts, parts_from
from notebook_durable.protocols import Family, PartsWriter

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["Results"]

_SCALARS = frozenset({type(None), bool, int, float})
_PLAIN = frozenset({*_SCALARS, complex, bytes})
#: Values with a preview: so many of one map in one execution. Nobody looks through more.
_PREVIEWS = 200


class Results:
    """Makes the entries of a map's items.

    Args:
        session: the execution.
        spec: the map.
        family: what its calls have in common.
        follows: the failure after which the cell called it.
        parts: of what they have in common, secrets hidden, as it is kept.
        people: hides the secrets of what they have in common.
    """

    def __init__(
        self, session: Session, spec: MapSpec, family: Family, follows: int | None, parts: Parts, people: ForPeople
    ) -> None:
        self._s, self._spec, self._family, self._follows = session, spec, family, follows
        self._people, self._common = people, parts
        options = spec.step.options
        self._write: PartsWriter = family.writer(parts, people.hide, options.secrets)
        self._serializer = options.chosen_serializer
        self._decodes = not (self._serializer is None or isinstance(self._serializer, str))
        self._once = options.at_most_once
        self._plain_name = not options.secrets and people.hides_nothing
        #: Stop is held back until a value is safe, unless a serializer of the user's own takes its time.
        self.holds = not self._decodes
        self._largest = session.store.largest_value
        self._version = session.describer.version
        self._previews = _PREVIEWS
        #: Names of the shared inputs that calls of this map have changed.
        self.changed: list[str] = []

    # -- entries

    def code(self, item: Item) -> StepCode:
        """Return what an item was computed from, as it is kept."""
        if item.call is not None:
            parts = self._people_of(item).without_secrets(item.call.parts())
            common = self._common
            text = parts._replace(why=common.why, instead=common.instead, writes=common.writes).as_text()
        else:
            text = self._write(item.value, item.digest, item.key)
        return StepCode("", text, item.fingerprint, self._version)

    def state(self, item: Item, status: EntryStatus, **more: Any) -> Entry:
        """Return an item's entry in a certain state."""
        place = item.place
        entry = Entry(
            place.seq, place.name, place.occurrence, status, self._s.claim.execution, item.budget, item.attempts,
            item.spent, item.started_at, rollback_of=self._follows, at_most_once=self._once, code=self.code(item),
        )  # fmt: skip
        return entry._replace(**more) if more else entry

    def value(
        self, item: Item, value: Any, ended_at: float, duration: float, spent: float
    ) -> tuple[Entry, Extra | None, Any]:
        """Return the entry of an item that gave a value, what is kept for people, and the value to hand back.

        Raises:
            NotStorableError: in strict mode.
        """
        try:
            payload = self._encode(value)
            given = self._as_on_replay(payload) if self._decodes else value
        except NotStorableError as error:
            entry, extra = self._unstorable(item, value, error, ended_at, duration, spent)
            return entry, extra, value
        status, note, code = EntryStatus.SUCCEEDED, "", self.code(item)
        if self.changed or (type(item.value) not in _PLAIN and self._family.changed(item.value, item.digest)):
            status, note, code = self._changes(item, value, code)
        place = item.place
        entry = Entry(
            place.seq, place.name, place.occurrence, status, self._s.claim.execution, item.budget, item.attempts,
            spent, item.started_at, ended_at, duration, payload.serializer, payload.data, payload.value_type, None,
            Failure.NONE, False, False, self._follows, self._once, note, code, True, payload.buffers,
            payload.size if payload.buffers else len(payload.data), "", payload.libraries,
        )  # fmt: skip
        return entry, self._extra(item, value, payload), given

    def failure(
        self, item: Item, final: Exception, kind: Failure, ended_at: float, duration: float, spent: float
    ) -> Entry:
        """Return the entry of an item that failed for good."""
        hide = self._people_of(item).hide
        entry = self.state(
            item, EntryStatus.FAILED, ended_at=ended_at, duration=duration, spent=spent,
            error=failures.describe(final, hide), failure=kind,
        )  # fmt: skip
        entry = failures.with_error(self._s.codec, entry, final)
        if isinstance(final, TerminalError):
            earlier = () if item.match.entry is None or not item.match.resumes else self._s.attempts(item.match.entry)
            failures.complete(final, entry, [*earlier, *(item.history or ())])
        return entry

    def look_for_changes(self) -> None:
        """Note what calls change in what they share: then they don't replay, unless that is part of their results."""
        self.changed = list(self._family.call.changed())

    def hide_of(self, item: Item) -> Callable[[str], str]:
        """Return what hides the secrets of an item in a text."""
        return self._people_of(item).hide

    # -- parts

    def _people_of(self, item: Item) -> ForPeople:
        if self._plain_name and type(item.value) in _PLAIN:
            return self._people
        return ForPeople(self._s, self._spec.step, _WithItem(self._family, item))  # type: ignore[arg-type]

    def _encode(self, value: Any) -> Payload:
        try:
            payload = self._s.codec.encode(value, self._serializer)
        except NotStorableError:
            raise
        except Exception as error:
            # Whatever a strange object does when it is looked at, the finished work must not be lost.
            raise NotStorableError(type.__repr__(type(value)), "", f"{type(error).__name__}: {error}") from error
        if payload.size > self._largest:
            why = f"{payload.size:,} bytes; this journal takes {self._largest:,} in one value"
            raise NotStorableError(payload.value_type, "", why)
        return payload

    def _as_on_replay(self, payload: Payload) -> Any:
        try:
            return self._s.codec.decode(payload, self._serializer)
        except Exception as error:
            why = f"serializer '{payload.serializer}' can't read what it wrote: {type(error).__name__}: {error}"
            raise NotStorableError(payload.value_type, "", why) from error

    def _unstorable(
        self, item: Item, value: Any, error: NotStorableError, ended_at: float, duration: float, spent: float
    ) -> tuple[Entry, Extra | None]:
        where = f" at {error.path} inside the value" if error.path else ""
        why = f" ({error.reason})" if error.reason else ""
        people = self._people_of(item)
        note = people.hide(f"not storable: {error.type_name}{where}{why}")
        entry = self.state(item, EntryStatus.UNSTORABLE, ended_at=ended_at, duration=duration, spent=spent, note=note)
        return entry, people.extra_of(value) if self._previews > 0 else None

    def _extra(self, item: Item, value: Any, payload: Payload) -> Extra | None:
        if self._previews <= 0 or (payload.serializer == "json" and type(value) in _SCALARS and self._plain_name):
            return None
        people = self._people_of(item)
        extra = people.extra_of(value, payload)
        if extra:
            self._previews -= 1
        return extra

    def _changes(self, item: Item, value: Any, code: StepCode) -> tuple[EntryStatus, str, StepCode]:
        """As for a step: an item that its call changed replays only if it is part of the result."""
        inputs = {name: self._family.call.input(name) for name in self.changed}
        if self._family.name is not None and self._family.changed(item.value, item.digest):
            inputs[self._family.name] = item.value
        paths = {name: find(value, own) for name, own in inputs.items()}
        lost = [name for name, path in paths.items() if path is None]
        if lost:
            return EntryStatus.IMPURE, f"changed its input {_quoted(lost)}: return it", code
        lost = [name for name, own in inputs.items() if not can_restore(own)]
        if lost:
            return EntryStatus.IMPURE, f"changed its input {_quoted(lost)} in place: return a new object", code
        parts = parts_from(code.inputs)._replace(
            changed={name: path for name, path in paths.items() if path is not None}
        )
        said = f"changed its input {_quoted(list(inputs))}, which it returned"
        return EntryStatus.SUCCEEDED, said, code._replace(inputs=parts.as_text())


class _WithItem:
    """The call of one item, as far as it takes to find secrets."""

    __slots__ = ("_family", "_item")

    def __init__(self, family: Family, item: Item) -> None:
        self._family, self._item = family, item

    @property
    def names(self) -> list[str]:
        own = [] if self._family.name is None else [self._family.name]
        return [*own, *self._family.call.names]

    def input(self, name: str) -> Any:
        return self._item.value if name == self._family.name else self._family.call.input(name)


def _quoted(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
