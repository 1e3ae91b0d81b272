"""A step of a run in full, as plain JSON: attempts, code then and now, inputs, outputs, preview. Nothing is run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from notebook_durable.errors import ConfigurationError, DamagedValueError, UntrustedJournalError
from notebook_durable.history.compare import Sources, input_changes, library_changes
from notebook_durable.history.explore import Snapshot, overview
from notebook_durable.history.values import variable_for
from notebook_durable.model import Attempt, Entry, EntryStatus, Extra, StepKey
from notebook_durable.parts import Parts, parts_from
from notebook_durable.protocols import Store
from notebook_durable.question import question_from
from notebook_durable.redact import redact
from notebook_durable.render import error_text

__all__ = ["all_of_step", "damage_text", "step_detail", "step_text"]

_MOST_JSON = 20_000  # bytes of a JSON value that is shown where there is no preview
_MOST_FUNCTIONS = 40
_MOST_TEXT = 40_000  # characters of a source or a traceback
_MOST_LINES = 1000  # of a diff


def step_text(shot: Snapshot, entry: Entry) -> str:
    """Name an entry as commands take it: "load", "load #2", or "load@1" for a version that is not current.

    Raises:
        ConfigurationError: if that name means another entry (a step that is itself called "load@1").
    """
    version = shot.versions[entry.seq]
    text = str(version.key)
    if entry.seq not in shot.log.current_seqs:
        text = f"{version.key}@{version.number}"
    if shot.log.one(text).entry.seq != entry.seq:
        raise ConfigurationError(f"'{text}' names another step here: use journal().to_frame() to tell them apart")
    return text


def all_of_step(shot: Snapshot, key: StepKey) -> str:
    """Name one step with all its versions, and no other of its name: "load", or "load #1" if there is a "load #2"."""
    several = sum(one.name == key.name for one in shot.log.versions) > 1
    return f"{key.name} #{key.occurrence + 1}" if several else str(key)


def step_detail(store: Store, shot: Snapshot, seq: int) -> dict[str, Any]:
    """Describe an entry.

    Args:
        store: where it is.
        shot: its run.
        seq: which entry.

    Raises:
        ConfigurationError: if there is none any more.
    """
    entry = shot.log.by_seq.get(seq)
    if entry is None:
        raise ConfigurationError("this step is not in the journal any more: refresh")
    version = shot.versions[seq]
    detail = {
        "run": overview(shot.log.info), "seq": seq, "step": str(version.key), "version": version.number,
        "versions": [_other(shot, one) for one in shot.log.versions[version.key]],
        "state": shot.state(entry), "current": seq in shot.log.current_seqs, "note": redact(shot.note(entry)),
        "size": shot.sizes.get(seq, 0), "variable": variable_for(str(version.key)),
        "preview": None, "outputs": [], "attempts": [], "can": _can(shot, entry), "damaged": "",
    }  # fmt: skip
    extra = store.extras(shot.log.info.id, [seq]).get(seq, Extra())
    detail["preview"] = _object(extra.preview)
    if entry.intact:
        detail |= _recorded(store, shot, entry)
        detail["outputs"] = _outputs(extra.outputs)
    else:
        detail["damaged"] = shot.untrusted or _damage(store, shot, entry)
    if detail["preview"] is None:
        detail["preview"] = _json_value(store, shot, entry)
    return detail


def _damage(store: Store, shot: Snapshot, entry: Entry) -> str:
    """Say what is wrong with a row, and what becomes of it. Its value is not read for that."""
    try:
        store.payload(shot.log.info.id, entry)
    except DamagedValueError as error:
        return damage_text(error)
    return ""


def damage_text(error: DamagedValueError) -> str:
    """Say in one line what becomes of a damaged value."""
    return redact(f"damaged: {error.reason}; it will be computed anew when its cell is run again")


def _other(shot: Snapshot, entry: Entry) -> dict[str, Any]:
    place = [one.seq for one in shot.log.versions[shot.versions[entry.seq].key]]
    return {
        "seq": entry.seq, "number": place.index(entry.seq) + 1, "current": entry.seq in shot.log.current_seqs,
        "state": shot.state(entry), "at": entry.ended_at if entry.intact else None,
    }  # fmt: skip


def _can(shot: Snapshot, entry: Entry) -> dict[str, bool]:
    return {
        # Of a journal that isn't believed JSON can be read all the same: it runs nothing.
        "load": (entry.intact or (bool(shot.untrusted) and entry.serializer == "json"))
        and entry.seq in shot.sizes
        and not entry.failure,
        "rewind": entry.intact and entry.seq in shot.log.current_seqs and not shot.log.info.archived,
        "forget": True,
    }


def _recorded(store: Store, shot: Snapshot, entry: Entry) -> dict[str, Any]:
    parts = parts_from(entry.code.inputs)
    sources = Sources(store)
    then, now = _sides(shot, entry, parts)
    return {
        "execution": entry.execution, "began": entry.started_at or None, "ended": entry.ended_at,
        "took": entry.duration, "spent": entry.spent, "tries": entry.attempts, "type": entry.value_type,
        "serializer": entry.serializer, "error": error_text(entry.error), "why": redact(parts.why),
        "how": shot.called.get(entry.seq, ""), "at_most_once": entry.at_most_once, "asks": _asked(parts),
        "traceback": _cut(redact(str((entry.error or {}).get("traceback", "")))),
        "attempts": [_attempt(one) for one in store.attempts(shot.log.info.id, entry.seq)],
        "source": _source(store, shot, entry, sources, then, now),
        "inputs": _inputs(parts, then, now),
        "untracked": [{"name": redact(name), "types": list(types)} for name, types in parts.untracked.items()],
        "shares": [redact(one) for one in parts.shares], "libraries": parts.libraries,
        "changed_libraries": [] if then is None or now is None else list(library_changes(then, now)),
        "bytecode": [redact(label) for label in sources.code(parts).bytecode],
    }  # fmt: skip


def _asked(parts: Parts) -> str:
    question = question_from(parts.asks) if parts.asks else None
    return "" if question is None else redact(question.text)


def _attempt(one: Attempt) -> dict[str, Any]:
    return {
        "number": one.number, "budget": one.budget, "began": one.started_at, "took": one.duration, "delay": one.delay,
        "type": str(one.error.get("type", "")), "message": _cut(redact(str(one.error.get("message", "")))),
        "traceback": _cut(redact(str(one.error.get("traceback", "")))),
    }  # fmt: skip


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}\n… {len(text) - _MOST_TEXT} more characters"


# --- then and now -------------------------------------------------------------------------


def _sides(shot: Snapshot, entry: Entry, parts: Parts) -> tuple[Entry | None, Entry | None]:
    """What to compare: an older version with what stands now; what stands with what it was run instead of."""
    key = shot.versions[entry.seq].key
    if entry.seq not in shot.log.current_seqs:
        now = shot.current(key)
        return (entry, now) if now is not None and now.intact else (None, None)
    before = shot.log.by_seq.get(-1 if parts.instead is None else parts.instead)
    if before is None or before.seq == entry.seq:
        older = [one for one in shot.log.versions[key] if one.seq < entry.seq and one.intact]
        before = older[-1] if older else None
    return (before, entry) if before is not None and before.intact else (None, None)


def _source(
    store: Store, shot: Snapshot, entry: Entry, sources: Sources, then: Entry | None, now: Entry | None
) -> dict[str, Any]:
    changes: Sequence[Any] = ()
    if then is not None and now is not None:
        changes = sources.changes((shot.log, then), (shot.log, now))
    return {
        "then": None if then is None else shot.versions[then.seq].number,
        "now": None if now is None else shot.versions[now.seq].number,
        "changes": [
            {"function": one.function, "what": one.what, "diff": list(one.diff[:_MOST_LINES])} for one in changes
        ],
        "functions": _functions(store, shot, entry, sources),
    }


def _functions(store: Store, shot: Snapshot, entry: Entry, sources: Sources) -> list[dict[str, str]]:
    """The code that an entry ran: the step's own function first."""
    if not entry.code.version:
        own = shot.log.source(entry)
        return [{"name": entry.name, "text": _cut(redact(own))}] if own else []
    found = list(sources.code(parts_from(entry.code.inputs)).functions.items())[:_MOST_FUNCTIONS]
    texts = store.texts([one.text for _, one in found if one.text])
    return [{"name": redact(label), "text": _cut(redact(texts[one.text]))} for label, one in found if one.text in texts]


def _inputs(parts: Parts, then: Entry | None, now: Entry | None) -> list[dict[str, Any]]:
    changed: Mapping[str, Any] = {}
    if then is not None and now is not None and then.code.version and now.code.version:
        changed = {one.name: one for one in input_changes(then, now)}
    listed = [
        {"name": redact(name), "digest": one.digest[:12], "short": redact(one.short), "change": _change(changed, name)}
        for name, one in parts.inputs.items()
    ]
    gone = [one for name, one in changed.items() if name not in parts.inputs]
    return listed + [{"name": redact(one.name), "digest": "", "short": "", "change": redact(str(one))} for one in gone]


def _change(changed: Mapping[str, Any], name: str) -> str:
    return redact(str(changed[name])) if name in changed else ""


# --- what was kept for people -------------------------------------------------------------


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _outputs(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _json_value(store: Store, shot: Snapshot, entry: Entry) -> dict[str, Any] | None:
    """A small value that lies in the journal as JSON is its own preview: reading it runs nothing."""
    shown = (EntryStatus.SUCCEEDED, EntryStatus.SUPERSEDED, EntryStatus.IMPURE)
    if entry.serializer != "json" or entry.status not in shown or shot.sizes.get(entry.seq, 0) > _MOST_JSON:
        return None
    try:
        found = store.payload(shot.log.info.id, entry)
        if found.size > _MOST_JSON:
            return None
        value = json.loads(found.data)
        text = json.dumps(value, ensure_ascii=False, indent=1 if isinstance(value, (dict, list)) else None)
    except (ValueError, RecursionError, DamagedValueError, UntrustedJournalError):
        return None
    return {"kind": "text", "text": redact(text), "cut": False, "type": entry.value_type}
