"""What a step put out as the JSON text for the journal: without secrets, and not more than its limit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from notebook_durable.ipython.recorder_kept import LIMIT, SLACK, Display, JsonText, Kept, Stream
from notebook_durable.ipython.recorder_objects import widget_bundle

__all__ = ["to_json"]

_NOTE = 200  # bytes, for the note that outputs are missing
_BINARY = ("image/", "audio/", "video/", "application/pdf", "application/octet-stream")


def to_json(kept: Kept, hide: Callable[[str], str]) -> str:
    """Return the outputs as JSON text, "" if there are none.

    Args:
        kept: the outputs.
        hide: takes a text, and returns it without secrets.
    """
    texts = _hidden_texts([item for item in kept.items if isinstance(item, Stream)], hide)
    parts: list[str] = []
    room, dropped = LIMIT - _NOTE, kept.dropped
    for item in kept.items:
        if not room:
            dropped += 1
            continue
        part, whole = _stream(item, texts, room) if isinstance(item, Stream) else _display(item, hide, room)
        if part:
            parts.append(part)
        room = max(0, room - _bytes(part)) if whole else 0
        dropped += not whole
    if dropped:
        what = "1 further output was" if dropped == 1 else f"{dropped:,} further outputs were"
        parts.append(_dumps(_as_stream("stderr", f"... {what} not kept (1 MB per step)\n")))
    return f"[{', '.join(parts)}]" if parts else ""


def _hidden_texts(streams: list[Stream], hide: Callable[[str], str]) -> dict[int, str]:
    """The texts to keep, by the stream's id, without secrets: also those that other output stands in the middle of."""
    texts: dict[int, str] = {}
    for name in ("stdout", "stderr"):
        pieces = [stream for stream in streams if stream.name == name]
        if not pieces:
            continue
        raw = [piece.text() for piece in pieces]
        last = pieces[-1].cut  # no other can be
        joined = _clean("".join(raw), min(SLACK, len(raw[-1])) if last else 0, hide)
        clean = [_clean(text, 0, hide) for text in raw[:-1]] + [_clean(raw[-1], SLACK if last else 0, hide)]
        if "".join(clean) != joined:
            clean = [joined] + [""] * (len(clean) - 1)
            pieces[0].cut = last
        texts |= {id(piece): text for piece, text in zip(pieces, clean, strict=True)}
    return texts


def _clean(text: str, loose: int, hide: Callable[[str], str]) -> str:
    """Hide in a text, and leave out its last ``loose`` characters, where half of a secret may be."""
    clean = hide(text) if text else ""
    return _common_start(clean, hide(text[:-loose])) if loose else clean


def _common_start(one: str, two: str) -> str:
    same, different = 0, min(len(one), len(two)) + 1
    while different - same > 1:
        middle = (same + different) // 2
        if one.startswith(two[:middle]):
            same = middle
        else:
            different = middle
    return one[:same]


def _stream(stream: Stream, texts: Mapping[int, str], room: int) -> tuple[str, bool]:
    """One stream's text as JSON in ``room`` bytes, and whether it is all of it. Cut at a line's end."""
    text = texts[id(stream)]
    if not text:
        return "", not stream.cut
    part = _dumps(_as_stream(stream.name, text))
    if not stream.cut and _bytes(part) <= room:
        return part, True
    room -= _bytes(_dumps(_as_stream(stream.name, "")))
    end = 0
    for line in text.splitlines(keepends=True):
        room -= _bytes(_dumps(line)) - 4
        if room < 0 or not line.endswith("\n"):
            break
        end += len(line)
    return (_dumps(_as_stream(stream.name, text[:end])) if end else ""), False


def _display(display: Display, hide: Callable[[str], str], room: int) -> tuple[str, bool]:
    """One display as JSON, and whether it was small enough; "" if it was not, or if nothing is to be seen of it."""
    if display.data is None:
        return "", False
    bundle: Mapping[str, str] = display.data
    if display.model:
        found = widget_bundle(display.model, bundle)
        if found is None:
            return "", True
        bundle = found
    data = {mime: _hidden(mime, text, hide) for mime, text in bundle.items()}
    metadata = _walk(json.loads(display.metadata), hide)
    output = {"output_type": "display_data", "data": data, "metadata": metadata}
    if display.key and hide(display.key) == display.key:
        output["transient"] = {"display_id": display.key}  # as in messages: nbformat has no place for it
    part = _dumps(output)
    return (part, True) if _bytes(part) <= room else ("", False)


def _hidden(mime: str, text: str, hide: Callable[[str], str]) -> Any:
    if isinstance(text, JsonText):
        return _walk(json.loads(text), hide)
    if mime.startswith(_BINARY) and not mime.startswith("image/svg"):
        return text
    return hide(text)


def _walk(value: Any, hide: Callable[[str], str]) -> Any:
    """Hide in all texts inside of a JSON value."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, list):
        return [_walk(one, hide) for one in value]
    if isinstance(value, dict):
        return {hide(key): _walk(one, hide) for key, one in value.items()}
    return value


def _as_stream(name: str, text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def _dumps(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a file name for example
        return json.dumps(value)
    return text


def _bytes(part: str) -> int:
    return len(part.encode()) + 2  # and the comma
