"""Private maps of files: writing to one copies the page and changes no file."""

from __future__ import annotations

import mmap
import sys
import weakref

__all__ = ["map_private"]

#: Linux 5.14 and newer: reads all pages now, and says so if one can't be read, where touching it would be SIGBUS.
_POPULATE_READ = 22
#: Before Python 3.13 each map keeps a descriptor, of which a process has about a thousand: with so many maps alive, a
#: value of less than this is read instead.
_MOST, _ALWAYS = 256, 64 << 20
_alive: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def map_private(descriptor: int, length: int) -> mmap.mmap | None:
    """Map a file that nobody will ever truncate or overwrite. The descriptor may be closed then.

    Returns:
        The map; None if there are too many.

    Raises:
        OSError: if the file can't be mapped, or not all of it can be read.
    """
    if sys.version_info >= (3, 13):
        memory = mmap.mmap(descriptor, length, access=mmap.ACCESS_COPY, trackfd=False)
    else:
        if length < _ALWAYS and len(_alive) >= _MOST:
            return None
        memory = mmap.mmap(descriptor, length, access=mmap.ACCESS_COPY)
        _alive.add(memory)
    if sys.platform == "linux":
        try:
            memory.madvise(_POPULATE_READ)
        except OSError as error:
            import errno

            if error.errno != errno.EINVAL:  # which an older Linux says
                memory.close()
                raise
    return memory
