"""The live output of a cell: one display that is updated while steps run and wait, also from a cell without await."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import uuid
from collections import deque
from typing import Any

from notebook_durable.events import AttemptFailed, Event, ExecutionEnded, ExecutionStarted
from notebook_durable.ipython.panel import Panel, retry_line
from notebook_durable.model import RunId

__all__ = ["LiveOutput"]

_log = logging.getLogger("notebook_durable")

_SHORTEST = 0.1  # seconds between two updates
_TICK = 0.5  # seconds between two updates of a mere countdown
_SLOW_TICK = 1.0  # the same, once a step has been at it for a minute


class LiveOutput:
    """An observer that shows its execution below the cell.

    ``notify`` is on the path of each step, so it only appends; a daemon thread draws, at most ten times a second. The
    first step is drawn at once, on the cell's own thread, so that the output stands above what the steps print. Where
    nothing can be updated (a terminal, ``%%capture``) the end state is shown once. What goes wrong in here is logged
    and never reaches a step.

    Args:
        shell: IPython's.
        run: what is executed.
    """

    def __init__(self, shell: Any, run: RunId) -> None:
        self._shell = shell
        self.panel = Panel(run)
        self._queue: deque[Event] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._id = uuid.uuid4().hex
        self._started = False
        self._live = False
        self._idle = True
        self._last: Any = None

    def notify(self, event: Event, /) -> None:
        """Take an event."""
        self._queue.append(event)
        if self._started:
            if self._idle and self._live:
                self._wake.set()
            elif not self._live and type(event) is AttemptFailed:
                self._say_retry(event)
        elif not isinstance(event, (ExecutionStarted, ExecutionEnded)):
            self._start(event)

    def remark(self, notes: tuple[str, ...]) -> None:
        """Show lines about the cell itself, at once: its first step may be far off."""
        self.panel.notes = notes
        if notes and not self._started:
            self._start(None)

    def finish(self) -> None:
        """Stop the thread and show the end state, if there was a step or a remark. Calling it twice does nothing."""
        self._ended.set()
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=5.0)
        started, self._started = self._started, False
        if started:
            self._draw(update=self._live)

    # -- drawing

    def _start(self, first: Event | None) -> None:
        self._started = True
        self._live = _updates(self._shell)
        if not self._live:
            if isinstance(first, AttemptFailed):
                self._say_retry(first)
            return
        self._draw(update=False)
        # In ipykernel 7 the cell that an output belongs to is a context variable; a bare thread would not have it.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._keep_drawing,), name="notebook_durable-output", daemon=True
        )
        self._thread.start()

    def _keep_drawing(self) -> None:
        while not self._ended.is_set():
            self._idle = True
            self._wake.wait(self._pause())
            self._wake.clear()
            self._idle = False
            if self._ended.is_set():
                return
            self._draw(update=True)
            self._ended.wait(_SHORTEST)

    def _pause(self) -> float | None:
        if self._queue:
            return 0.0
        since = self.panel.waiting_since()
        if not since:
            return None
        return _TICK if time.time() - since < 60 else _SLOW_TICK

    def _draw(self, *, update: bool) -> None:
        try:
            with self._lock:
                self._take()
                bundle = dict(self.panel.bundle(time.time()))
                if bundle == self._last:
                    return
                self._last = bundle
                if self._live or not _is_terminal(self._shell):
                    publish = self._shell.display_pub.publish
                    publish(bundle, metadata={}, transient={"display_id": self._id}, update=update)
                else:
                    print(bundle["text/plain"])  # noqa: T201  a terminal's display
        except Exception:  # noqa: BLE001  the panel is a courtesy: it must not stop the work it tells about
            _log.debug("the live output could not be shown", exc_info=True)

    def _take(self) -> None:
        events = []
        queue = self._queue
        while queue:
            events.append(queue.popleft())
        self.panel.apply(events)

    def _say_retry(self, event: AttemptFailed) -> None:
        if _is_terminal(self._shell):
            print(retry_line(event), flush=True)  # noqa: T201


def _is_terminal(shell: Any) -> bool:
    return not hasattr(shell, "kernel")


def _updates(shell: Any) -> bool:
    """Tell whether a display can be updated in place: in a kernel, unless something captures the output."""
    return not _is_terminal(shell) and "Capturing" not in type(shell.display_pub).__name__
