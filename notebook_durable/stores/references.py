"""Where the bytes of a value lie, as a row says it: the text in the column ``blob``.

    row:70,4096,16          in the column ``payload``: 70 bytes of data, then buffers of 4096 and 16 bytes
    blob:DIGEST:LENGTH      in a file of its own, ``blobs/DIGEST``
    pack:NAME:OFFSET:LENGTH:DIGEST      in ``packs/NAME.pack``, from OFFSET on
    (nothing)               all of it in the column ``payload``, without buffers, as in formats 1 to 3

Nothing else is read as a reference, so that a journal from elsewhere can't name a file outside of its folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["ROW", "BlobRef", "PackRef", "reference_from", "row_lengths", "row_reference"]

ROW = "row:"
_BLOB = re.compile(r"blob:([0-9a-f]{64}):([0-9]{1,18})", re.ASCII)
_PACK = re.compile(r"pack:([A-Za-z0-9_-]{1,100}):([0-9]{1,18}):([0-9]{1,18}):([0-9a-f]{64})", re.ASCII)
_ROW = re.compile(r"row:[0-9]{1,10}(,[0-9]{1,10})*", re.ASCII)


class BlobRef(NamedTuple):
    """A value in a file of its own."""

    digest: str
    length: int

    def __str__(self) -> str:
        return f"blob:{self.digest}:{self.length}"


class PackRef(NamedTuple):
    """A value in a part of a pack."""

    name: str
    offset: int
    length: int
    digest: str

    def __str__(self) -> str:
        return f"pack:{self.name}:{self.offset}:{self.length}:{self.digest}"


def reference_from(text: str) -> BlobRef | PackRef | None:
    """Read a reference to a file; None if it is none."""
    found = _BLOB.fullmatch(text)
    if found:
        return BlobRef(found[1], int(found[2]))
    found = _PACK.fullmatch(text)
    if found:
        return PackRef(found[1], int(found[2]), int(found[3]), found[4])
    return None


def row_reference(lengths: Sequence[int]) -> str:
    """Return the reference of a value in the row itself."""
    return ROW + ",".join(map(str, lengths))


def row_lengths(text: str) -> list[int] | None:
    """Return the lengths of data and buffers of a value in the row; None if the text isn't such a reference."""
    return [int(length) for length in text[len(ROW) :].split(",")] if _ROW.fullmatch(text) else None
