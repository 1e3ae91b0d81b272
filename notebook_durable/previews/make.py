"""Makes previews: finds out what a value is, and keeps the whole small."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any

from notebook_durable.previews.arrays import array_preview
from notebook_durable.previews.frames import frame_preview
from notebook_durable.previews.images import image_preview
from notebook_durable.previews.shorts import Parts, is_text, parts_of, safe_repr, short
from notebook_durable.previews.show import Shown, is_a, type_name
from notebook_durable.redact import HIDDEN

__all__ = ["preview"]

_TEXT = 2_000  # characters
_BYTES = 64
_ITEMS = 30
_KEY = 80
_NESTED = 4  # frames and arrays inside a dict or list, smaller than alone
_NESTED_ROWS, _NESTED_COLUMNS = 3, 6
_LARGEST = 20_000  # bytes of JSON, without an image


def preview(value: Any, /, *, hide: Callable[[str], str], secret: Collection[str]) -> str:
    """Make the preview of a value.

    Args:
        value: anything. It is not changed, nothing is taken from it, and of a large one only a part is looked at.
        hide: hides what is secret in a text; applied to every text of the preview.
        secret: names of columns, keys and fields whose values are secret, beside those that say so themselves.

    Returns:
        JSON text, see the package; "" for None and where nothing useful can be said. Never raises.
    """
    if value is None:
        return ""
    try:
        shown = Shown(hide, secret)
        kind = shown.text(type_name(value), 200)
        try:
            made = _made(value, shown)
        except Exception:  # noqa: BLE001  an object that misbehaves when looked at, or hide() does
            made = {"kind": "text", "text": f"<{kind} object>", "cut": False}
        return _fitting({**made, "type": kind})
    except Exception:  # noqa: BLE001  hide() that fails, a class with no name
        return ""


def _made(value: Any, shown: Shown) -> dict[str, Any]:
    if is_text(value):
        return _text(value, str.__len__(value), shown)
    if isinstance(value, (bytes, bytearray)):
        found = bytes(value[: _BYTES + 2_000])
        more = len(value) > _BYTES
        return {"kind": "text", "text": shown.bytes_text(found, _BYTES), "cut": more, "length": len(value)}
    for make in (_frame_or_array, _image):
        made = make(value, shown)
        if made is not None:
            return made
    parts = parts_of(value)
    if parts is not None:
        return _items(parts, shown)
    return _repr(value, shown)


def _frame_or_array(value: Any, shown: Shown) -> dict[str, Any] | None:
    return frame_preview(value, shown) or array_preview(value, shown)


def _image(value: Any, _shown: Shown) -> dict[str, Any] | None:
    try:
        return image_preview(value)
    except Exception:  # noqa: BLE001  a figure that can't be drawn still has a repr
        return None


def _text(raw: str, length: int, shown: Shown) -> dict[str, Any]:
    return {"kind": "text", "text": shown.text(raw, _TEXT), "cut": length > _TEXT, "length": length}


def _repr(value: Any, shown: Shown) -> dict[str, Any]:
    number = isinstance(value, (bool, int, float, complex)) or is_a(value, "numpy", "number", "bool_")
    text = short(value, shown) if number else safe_repr(value, shown, _TEXT)
    return {"kind": "text", "text": text, "cut": len(text) >= _TEXT}


def _items(parts: Parts, shown: Shown) -> dict[str, Any]:
    items: list[list[Any]] = []
    nested = 0
    for at, (key, value) in enumerate(islice(parts.items, _ITEMS)):
        name = str(at) if parts.kind == "list" else short(key, shown, _KEY)
        if shown.is_secret(key):
            items.append([name, HIDDEN])
            continue
        item: list[Any] = [name, short(value, shown)]
        inside = _inside(value, shown) if nested < _NESTED else None
        if inside is not None:
            nested += 1
            item.append(inside)
        items.append(item)
    return {"kind": "items", "length": parts.length, "items": items}


def _inside(value: Any, shown: Shown) -> dict[str, Any] | None:
    made = frame_preview(value, shown, _NESTED_ROWS, _NESTED_COLUMNS) or array_preview(value, shown)
    return None if made is None else {**made, "type": shown.text(type_name(value), 200)}


def _fitting(made: dict[str, Any]) -> str:
    """Write it down. What is too long (cells of wide characters) loses detail until it fits."""
    written = _written(made)
    if made["kind"] == "image" or _fits(written):
        return written
    for shrink in (_without_nested, _fewer, _fewer, _fewer, _fewer):
        made = shrink(made)
        written = _written(made)
        if _fits(written):
            return written
    return _written({"kind": "text", "text": "", "cut": True, "type": made["type"]})


def _without_nested(made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "items": [item[:2] for item in made["items"]]} if made["kind"] == "items" else made


def _fewer(made: dict[str, Any]) -> dict[str, Any]:
    """Halve what there is most of."""
    if made["kind"] == "items":
        return {**made, "items": made["items"][: len(made["items"]) // 2]}
    if made["kind"] == "frame":
        few = max(1, len(made["columns"]) // 2)
        return {**made, "columns": made["columns"][:few], "rows": [row[:few] for row in made["rows"]]}
    text = made["text"]
    return {**made, "text": text[: len(text) // 2], "cut": True}


def _written(made: dict[str, Any]) -> str:
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _fits(text: str) -> bool:
    return len(text) <= _LARGEST and (text.isascii() or len(text.encode()) <= _LARGEST)
