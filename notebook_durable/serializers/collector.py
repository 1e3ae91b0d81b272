"""The garbage collector while a large value is loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from notebook_durable.pause_gc import pause_gc

__all__ = ["while_loading"]

# Objects. gc.freeze() takes thousands; Python 3.12 freezes some hundred by itself, and does so again when they are
# unfrozen.
_FEW = 1_000


@contextmanager
def while_loading() -> Iterator[None]:
    """Pause the collector, and let it take what was made for old afterwards.

    Otherwise it looks through all of it at once when it is switched on again: 0.15 s for 200,000 dicts, half as long
    as loading them takes. What is garbage by then is found by the next full collection.
    """
    enabled = gc.isenabled()
    with pause_gc():
        yield
        if enabled and gc.get_freeze_count() < _FEW:
            # Two moves of whole lists: young to frozen, frozen to old. Not if the user has frozen something himself.
            gc.freeze()
            gc.unfreeze()
