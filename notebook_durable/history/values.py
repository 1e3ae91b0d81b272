"""Recorded values: the bytes of an entry, and what they stand for."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import Any

from notebook_durable.errors import DurableError, ReplayError, UndefinedClassError, UnknownSerializerError
from notebook_durable.history.log import RunLog
from notebook_durable.model import Entry, Payload, StepKey
from notebook_durable.protocols import Serializer, Store
from notebook_durable.redact import redact
from notebook_durable.render import error_text, run_label, size, when
from notebook_durable.serializers.codec import DefaultCodec

__all__ = ["Recorded", "decode", "recorded", "variable_for"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A value as it was recorded.

    Attributes:
        step: its step, as "load #2".
        payload: the bytes, and the name of the serializer that wrote them.
        described: type, size and time, for people.
    """

    step: str
    payload: Payload
    described: str

    def value(self, serializer: Serializer | None = None) -> Any:
        """Bring it back. Its entry was found authentic.

        Args:
            serializer: the object that wrote it, if that was none of the built-in ones.

        Raises:
            ReplayError: if that can't be done now; says what to do.
        """
        return decode(self.step, self.payload, serializer)


def recorded(store: Store, log: RunLog, text: str) -> Recorded:
    """Find a recorded value.

    Args:
        store: the journal.
        log: the run.
        text: the step: "load", "load #2", or an older version of it, "load@1".

    Raises:
        ConfigurationError: if there is no such step.
        ReplayError: if it has no value.
        DamagedValueError: if its bytes, or its row, are not what was recorded.
        UntrustedJournalError: if the journal was written with another key, and the value is not JSON.
    """
    key, entry = log.one(text)
    where = f'step "{key}" of {run_label(log.info)}'
    if entry.intact and not entry.has_value:
        raise ReplayError(f"{where} has no value: {_no_value(entry)}. {_way_out(log, key, entry)}")
    payload = store.payload(log.info.id, entry)
    described = f"{payload.value_type}, {size(payload.size)}, recorded {when(entry.ended_at)}"
    return Recorded(str(key), payload, described)


def _no_value(entry: Entry) -> str:
    said = error_text(entry.error) or redact(entry.note)
    return f"it is {entry.status}" + (f" ({said})" if said else "")


def _way_out(log: RunLog, key: StepKey, entry: Entry) -> str:
    older = [
        number for number, one in enumerate(log.versions.get(key, ()), 1) if one.has_value and one.seq != entry.seq
    ]
    if older:
        return f'An older version has one: %durable load {log.info.run.workflow} "{key}@{older[-1]}"'
    return "Run its cell again."


def decode(step: str, payload: Payload, serializer: Serializer | None = None) -> Any:
    """Bring a value of an authentic entry back.

    Raises:
        ReplayError: if that can't be done now.
    """
    try:
        return DefaultCodec().decode(payload, serializer)
    except UndefinedClassError as error:
        raise UndefinedClassError(error.class_name, step) from None
    except UnknownSerializerError as error:
        raise ReplayError(
            f"the recorded value of step '{step}' was written by the serializer '{error.serializer}'. Pass that "
            f"object: journal().load(NAME, {step!r}, serializer=...)"
        ) from None
    except DurableError:
        raise
    except Exception as error:
        said = redact(f"{type(error).__name__}: {error}")
        raise ReplayError(
            f"the recorded value of step '{step}' can't be read here ({said}). Is a library missing, or another "
            "version than when it was recorded? In the shell, --to FILE writes its bytes."
        ) from error


def variable_for(step: str) -> str:
    """Make a variable's name of a step's: "load orders #2" gives ``load_orders_2``."""
    name = re.sub(r"\W+", "_", step).strip("_") or "value"
    if not name.isidentifier() or keyword.iskeyword(name):
        name = f"_{name}" if name[:1].isdigit() else f"{name}_"
    return name if name.isidentifier() else "value"
