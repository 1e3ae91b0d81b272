"""Why a step runs instead of being replayed, in a sentence: what differs from the entry it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from notebook_durable.model import Entry, EntryStatus
from notebook_durable.parts import Code, Input, Parts, code_from, parts_from

__all__ = ["reason"]

_MOST = 3


def reason(old: Entry | None, new: Parts, texts: Mapping[str, str]) -> str:
    """Tell why a call with the parts ``new`` doesn't take the entry ``old``.

    Args:
        old: what it is compared with; None if there is nothing of its name.
        new: the parts of the call's fingerprint.
        texts: those that both name, by id.
    """
    if old is None:
        return "new"
    if old.status is EntryStatus.SUPERSEDED and old.note and _same(parts_from(old.code.inputs), new):
        return old.note
    before = parts_from(old.code.inputs)
    if not before.code:
        return "its code or inputs changed"
    said = _code(code_from(texts.get(before.code, "")), code_from(texts.get(new.code, "")), _versions(before, new))
    said += _inputs(before.inputs, new.inputs)
    if not said:
        return "new"
    more = len(said) - _MOST
    return "; ".join(said[:_MOST]) + (f" and {more} more" if more > 0 else "")


def _same(one: Parts, other: Parts) -> bool:
    mine, others = ({name: value.digest for name, value in parts.inputs.items()} for parts in (one, other))
    return mine == others


def _versions(old: Parts, new: Parts) -> dict[str, str]:
    """Return what to say of the libraries that have another version now, by name: "pandas 2.2.3 → 3.0.1"."""
    before, now = (
        dict(one.rsplit(" ", 1) for one in parts.libraries.split(", ") if " " in one) for parts in (old, new)
    )
    return {name: f"{name} {was} → {now[name]}" for name, was in before.items() if now.get(name, was) != was}


def _code(old: Code, new: Code, versions: Mapping[str, str]) -> list[str]:
    both = [label for label in new.functions if label in old.functions]
    changed = [label for label in both if old.functions[label].digest != new.functions[label].digest]
    if changed:
        found = dict.fromkeys(label.partition(".")[0] for label in changed)
        other = ", ".join(versions[name] for name in found if name in versions)
        return [f"code of {_names(changed)} changed" + (f" ({other})" if other else "")]
    # A function has another name now, or other ones are reached although no text changed (a global was set anew).
    added = [label for label in new.functions if label not in old.functions]
    gone = [label for label in old.functions if label not in new.functions]
    if added and gone:
        return [f"it calls {_names(added)} instead of {_names(gone)}"]
    if added or gone:
        return [f"it {'also' if added else 'no longer'} calls {_names(added or gone)}"]
    return []


def _inputs(old: Mapping[str, Input], new: Mapping[str, Input]) -> list[str]:
    said = []
    for name, value in new.items():
        before = old.get(name)
        if name.startswith("after step"):
            if before is None or before.digest != value.digest:
                said.append(f"{name.removeprefix('after ')} ran again and changed what they share")
        elif before is None:
            said.append(f"{_what(name)} is new")
        elif before.digest != value.digest:
            said.append(f"{_what(name)} changed{_then_and_now(before, value)}")
    said += [f"{_what(name)} is gone" for name in old if name not in new and not name.startswith("after step")]
    said += [f"{name.removeprefix('after ')} no longer comes before it" for name in old if _is_gone(name, new)]
    return said


def _is_gone(name: str, new: Mapping[str, Input]) -> bool:
    return name.startswith("after step") and name not in new


def _what(name: str) -> str:
    if name in ("version", "depends_on"):
        return name
    return name if name.startswith("file ") else f"input `{name}`"


def _then_and_now(old: Input, new: Input) -> str:
    if old.short == new.short or not (old.short or new.short):
        return ""
    return f": {old.short} → {new.short}"


def _names(labels: Sequence[str]) -> str:
    shown = ", ".join(f"`{label}`" for label in labels[:_MOST])
    return shown + (f" and {len(labels) - _MOST} more" if len(labels) > _MOST else "")
