"""Room on the disk: what is said before a full disk or a large journal hurts, and how seldom.

Asking how much is free costs some microseconds, counting what a journal takes some milliseconds for each thousand files
(10,000 take 35 to 95 ms): the one is done at each execution and before each large value, the other once an hour, and
when the executions since then have written so much that the limit may be reached.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from notebook_durable.render import size
from notebook_durable.stores.folder import BLOBS, DATABASE, PACKS, QUARANTINE

__all__ = ["LARGE", "Room", "room_of"]

#: Bytes free that are few, and the part of a small disk that is.
_LOW, _PART = 1_000_000_000, 0.05
#: Values below are written without asking whether they fit.
LARGE = 4 << 20
_HOUR, _DAY = 3600.0, 86_400.0


def _space(folder: Path) -> tuple[int, int] | None:
    """Return the bytes that are free, and those of the whole disk; None if the system doesn't tell."""
    try:
        found = shutil.disk_usage(folder)
    except OSError:
        return None
    return found.free, found.total


def _taken(folder: Path) -> int:
    """Count the bytes of a journal on the disk."""
    total = 0
    for place in (folder, folder / BLOBS, folder / PACKS, folder / QUARANTINE):
        try:
            with os.scandir(place) as found:
                for one in found:
                    if place != folder or one.name.startswith(DATABASE):
                        total += _bytes(one)
        except OSError:
            continue  # there is none
    return total


def _bytes(one: os.DirEntry[str]) -> int:
    try:
        status = one.stat(follow_symlinks=False)
    except OSError:
        return 0  # just deleted
    blocks: int = getattr(status, "st_blocks", 0)
    return blocks * 512 if blocks else status.st_size


class Room:
    """What this process has said of one journal's disk.

    Args:
        folder: the journal's folder.
        space: gives the bytes that are free, and those of the whole disk.
        taken: counts the bytes of the journal.
    """

    def __init__(
        self,
        folder: Path,
        *,
        space: Callable[[Path], tuple[int, int] | None] = _space,
        taken: Callable[[Path], int] = _taken,
    ) -> None:
        self._folder, self._space, self._taken = folder, space, taken
        #: When it was said that little is free, and how much it was; when the journal was counted, and how much it was;
        #: when it was said to be large.
        self._low: tuple[float, int] | None = None
        self._counted: tuple[float, int] | None = None
        self._large: float | None = None
        #: Bytes that executions have written since it was counted.
        self._since = 0
        #: Bytes of the value that was last said not to fit: what isn't saved yet is tried again with each step.
        self._unfit = 0

    def beginning(self, wrote: int, most: int, now: float) -> list[str]:
        """Return what the user should know before an execution.

        Args:
            wrote: bytes of values that the execution before has written.
            most: bytes from which on a journal is large; 0: it never is.
            now: seconds, from any beginning.
        """
        self._since += wrote
        self._unfit = 0
        found = self._space(self._folder)
        if found is None:
            return []
        free, total = found
        said = [self._low_space(free, total, wrote, now), self._growth(total - free, most, now)]
        return [text for text in said if text]

    def _low_space(self, free: int, total: int, wrote: int, now: float) -> str:
        if free >= max(min(_LOW, int(total * _PART)), wrote):
            self._low = None
            return ""
        if self._low is not None and now - self._low[0] < _HOUR and free > self._low[1] // 2:
            return ""
        self._low = now, free
        because = f", and the last execution wrote {size(wrote)}" if wrote > free else ""
        return (
            f"only {size(free)} are free on the disk of the journal {self._folder}{because}. On a full disk a step's "
            "result can't be recorded. %durable stats says what takes the room here, %durable gc deletes archived runs "
            "and history."
        )

    def _growth(self, used: int, most: int, now: float) -> str:
        if not most or used < most:
            return ""  # all that is on the disk is less
        if self._large is not None and now - self._large < _DAY:
            return ""
        if self._counted is not None and now - self._counted[0] < _HOUR and self._counted[1] + self._since < most:
            return ""
        taken = self._taken(self._folder)
        self._counted, self._since = (now, taken), 0
        if taken < most:
            return ""
        self._large = now
        return (
            f"the journal {self._folder} has grown to {size(taken)} (said from {size(most)} on, once a day). "
            "%durable stats says what takes the room, %durable gc deletes archived runs and history; %config "
            "Durable.warn_size = '50GB' has it said later, 0 never."
        )

    def before(self, count: int) -> str:
        """Return what the user should know before values of ``count`` bytes are written; "" if they fit.

        Said once in an execution of the same value.
        """
        if count < LARGE:
            return ""
        found = self._space(self._folder)
        if found is None or found[0] > count or count == self._unfit:
            return ""
        self._unfit = count
        return (
            f"a value of {size(count)} is about to be written, and {size(found[0])} are free on the disk of the "
            f"journal {self._folder}: it will not fit. %durable gc deletes archived runs and history."
        )


_rooms: dict[Path, Room] = {}


def room_of(folder: Path) -> Room:
    """Return the one of this process for a journal: each execution opens the store anew."""
    return _rooms.setdefault(folder, Room(folder))
