"""The file that a pickler writes to, which keeps the large parts of a value out of the pickle, without copying them.

Arrays hand their memory over by pickle's own means (PEP 574). ``bytes``, ``bytearray`` and text of built-in type don't:
picklers write them into the stream, past every hook. But both picklers, C and Python, write such a part of 64 KB or
more in two calls, outside of any frame: the opcode with the length, then the object itself. That is where it is taken
out, and the opcode replaced by those that fetch a buffer. Whatever doesn't look exactly so stays in the stream.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any

from notebook_durable.serializers.envelope import Kind, Part

__all__ = ["LARGE", "Sink"]

# Bytes. In the pickle, 64 KB cost 4 us when written and 3 when read (128 KB: 12 and 8), out of it 2 and 1; a buffer is
# aligned to 4 KB on the disk, so smaller ones would waste more than 3 percent of it. It is also pickle's own
# _FRAME_SIZE_TARGET: smaller bytes are not written apart.
LARGE = 64 * 1024

_FRAME = pickle.FRAME[0]
_PROTO = pickle.PROTO[0]
_CALL = pickle.NEXT_BUFFER + pickle.TUPLE1 + pickle.REDUCE
# By the opcode that announces it: how many bytes hold the length, the kind, and the opcodes that bring it back.
_TAKEN: dict[bytes, tuple[int, bytes, bytes]] = {
    pickle.BINBYTES: (4, Kind.BYTES, b"cbuiltins\nbytes\n" + _CALL),
    pickle.BINBYTES8: (8, Kind.BYTES, b"cbuiltins\nbytes\n" + _CALL),
    pickle.BYTEARRAY8: (8, Kind.BYTEARRAY, b"cbuiltins\nbytearray\n" + _CALL),
    pickle.BINUNICODE: (4, Kind.TEXT, b"cnotebook_durable.serializers.restore\ntext\n" + _CALL),
    pickle.BINUNICODE8: (8, Kind.TEXT, b"cnotebook_durable.serializers.restore\ntext\n" + _CALL),
}


class Sink:
    """Collects a pickle and its buffers.

    Args:
        head: bytes to begin with.
    """

    __slots__ = ("_file", "_last", "parts")

    def __init__(self, head: bytes) -> None:
        # Grown in place and given away without a copy: at no time is the pickle there twice.
        self._file = BytesIO()
        self._file.write(head)
        self._last = b""
        self.parts: list[Part] = []

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """Keep a buffer (pickle's ``buffer_callback``), or return True: it stays in the pickle."""
        view = buffer.raw()
        if view.nbytes < LARGE:
            return True
        self.parts.append(Part(Kind.READ_ONLY if view.readonly else Kind.WRITABLE, view))
        return False

    def write(self, chunk: Any) -> None:
        """Take what a pickler writes: frames, opcodes, or the whole of a large object."""
        kind = type(chunk)
        if (kind is bytes or kind is bytearray) and len(chunk) >= LARGE and self._take_out(chunk):
            self._last = b""
            return
        self._file.write(chunk)
        self._last = chunk if kind is bytes else b""

    def close(self, tail: bytes) -> bytes:
        """Return all that was written, with ``tail`` behind it."""
        self._file.write(tail)
        return self._file.getvalue()

    def _take_out(self, chunk: bytes | bytearray) -> bool:
        header = _unframed(self._last)
        for size in (4, 8):
            taken = _TAKEN.get(header[-size - 1 : -size])
            if taken is None or taken[0] != size or int.from_bytes(header[-size:], "little") != len(chunk):
                continue
            _, kind, opcodes = taken
            if (kind == Kind.BYTEARRAY) != (type(chunk) is bytearray):
                continue
            self._file.seek(-size - 1, 2)
            self._file.truncate()
            self._file.write(opcodes)
            self.parts.append(Part(kind, memoryview(chunk)))
            return True
        return False


def _unframed(chunk: bytes) -> bytes:
    """Return what follows the last complete frame: b"" if a frame goes on in the next chunk."""
    at = 2 if chunk[:1] == pickle.PROTO else 0
    while at < len(chunk) and chunk[at] == _FRAME:
        at += 9 + int.from_bytes(chunk[at + 1 : at + 9], "little")
    return chunk[at:]


class InBand(Sink):
    """Keeps everything in the pickle: for bytes that stand alone."""

    __slots__ = ()

    def take(self, buffer: pickle.PickleBuffer) -> bool:  # noqa: ARG002
        return True

    def _take_out(self, chunk: bytes | bytearray) -> bool:  # noqa: ARG002
        return False
