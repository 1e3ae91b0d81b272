"""What is kept of a step's output while it is put out: bounded, and only the last state of what changes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

from notebook_durable.ipython.recorder_objects import WIDGET
from notebook_durable.ipython.recorder_text import is_written_over, settle

__all__ = ["LIMIT", "SLACK", "Display", "JsonText", "Kept", "Stream"]

#: Bytes of JSON per step.
LIMIT = 1_000_000

# While a step runs its output is counted in characters, which are never more than the bytes that they become. A
# little more than the limit is held, so that a secret at the end of what is kept is whole when it is looked for.
SLACK = 65_536
_HELD = LIMIT + SLACK
_SOME = 60  # characters of JSON around an output
_SETTLE = 65_536  # characters after which written-over lines are settled


class JsonText(str):
    """The JSON text of a value that is no text."""

    __slots__ = ()


class Stream:
    """Consecutive writes to one stream."""

    __slots__ = ("buffer", "cut", "moves", "name", "settle_at", "size")

    def __init__(self, name: str) -> None:
        self.name = name
        self.buffer = io.StringIO()
        self.size = 0
        self.moves = False
        self.settle_at = _SETTLE
        self.cut = False

    def add(self, text: str) -> int:
        """Add a text, and return how much longer all is now (less than 0 if lines were settled)."""
        before = self.size
        self.buffer.write(text)
        self.size += len(text)
        if not self.moves:
            self.moves = is_written_over(text)
        if self.moves and self.size > self.settle_at:
            self.settle()
        return self.size - before

    def settle(self) -> int:
        """Leave out what was written over, and return the change in length."""
        if not self.moves:
            return 0
        before, text = self.size, settle(self.buffer.getvalue(), final=False)
        self.buffer = io.StringIO()
        self.size = self.buffer.write(text)
        self.settle_at = 2 * self.size + _SETTLE
        return self.size - before

    def text(self) -> str:
        """All of it, settled."""
        text = self.buffer.getvalue()
        return settle(text, final=True) if self.moves else text


class Display:
    """One display in its last state. ``data`` is None if that is too large; ``key`` is its id, "" if it has none."""

    __slots__ = ("data", "key", "metadata", "model", "size")

    def __init__(self, data: Any, metadata: Any, key: str = "") -> None:
        self.key = key
        self.set(data, metadata)

    def set(self, data: Any, metadata: Any) -> None:
        """Take a copy of what is displayed: values other than texts may change later."""
        view = data.get(WIDGET)
        self.model = str(view.get("model_id", "")) if isinstance(view, Mapping) else ""
        self.data: dict[str, str] | None = {str(mime): _copy(value) for mime, value in data.items() if mime != WIDGET}
        self.metadata = JsonText(json.dumps(metadata, default=str)) if metadata else JsonText("{}")
        self.size = (
            _SOME + len(self.key) + len(self.metadata) + sum(len(mime) + len(text) for mime, text in self.data.items())
        )

    def forget(self) -> None:
        """Keep that it was there, no more."""
        self.data, self.metadata, self.size = None, JsonText("{}"), _SOME


def _copy(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    return JsonText(json.dumps(value, default=str))


class Kept:
    """The outputs of one step so far, at most about 1 MB of them.

    Not thread-safe: callers hold the lock.

    Attributes:
        items: in order.
        dropped: how many outputs were not taken any more.
    """

    __slots__ = ("_clear_next", "_displays", "_full", "_last_dropped", "_size", "dropped", "items")

    def __init__(self) -> None:
        self._clear_next = False
        self._start_over()

    def _start_over(self) -> None:
        self.items: list[Stream | Display] = []
        self._displays: dict[str, list[Display]] = {}  # by display id
        self._size = 0
        self._full = False
        self.dropped = 0
        self._last_dropped = ""

    def write(self, name: str, text: str) -> None:
        """Take a text that was written to a stream."""
        if not isinstance(text, str):
            return
        self._before_output()
        if self._full:
            self._drop(name)
            return
        last = self.items[-1] if self.items else None
        if not isinstance(last, Stream) or last.name != name:
            last = Stream(name)
            self.items.append(last)
            self._size += _SOME
        self._size += last.add(text[:_HELD])
        if len(text) > _HELD or not self._fits():
            last.cut = self._full = True
            self._last_dropped = name  # what follows is the rest of it

    def display(self, data: Any, metadata: Any, transient: Any, update: bool) -> None:
        """Take a display, or a new state of one."""
        if not isinstance(data, Mapping):
            return
        key = transient.get("display_id") if isinstance(transient, Mapping) else None
        if update:
            for known in self._displays.get(str(key), ()) if key is not None else ():
                self._size -= known.size
                known.set(data, metadata)
                self._size += known.size
                if not self._fits():
                    self._size -= known.size
                    known.forget()
                    self._size += known.size
            return
        self._before_output()
        if self._full:
            self._drop("")
            return
        made = Display(data, metadata, "" if key is None else str(key))
        self._size += made.size
        if not self._fits():
            self._size -= made.size
            self._full = True
            self._drop("")
            return
        self.items.append(made)
        if key is not None:
            self._displays.setdefault(str(key), []).append(made)

    def clear(self, wait: bool) -> None:
        """Take note of ``clear_output``: what is gone is not kept."""
        if wait:
            self._clear_next = True
        else:
            self._clear_next = False
            self._start_over()

    def _before_output(self) -> None:
        if self._clear_next:
            self._clear_next = False
            self._start_over()

    def _fits(self) -> bool:
        if self._size > _HELD:
            self._size += sum(item.settle() for item in self.items if isinstance(item, Stream))
        return self._size <= _HELD

    def _drop(self, name: str) -> None:
        """Count an output that is not kept; consecutive writes to a stream are one."""
        if not name or name != self._last_dropped:
            self.dropped += 1
        self._last_dropped = name
