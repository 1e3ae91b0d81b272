"""The live output of a cell: one display, kept up to date while steps run and wait, also in a cell without await."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from notebook_durable.events import AttemptFailed, Event, ExecutionEnded, ExecutionStarted
from notebook_durable.ipython.panel import Panel, retry_line
from notebook_durable.model import RunId
from notebook_durable.question import Question
from notebook_durable.widgets import panel as widgets

if TYPE_CHECKING:
    from notebook_durable.engine.controls import Controls

__all__ = ["LiveOutput"]

_log = logging.getLogger("notebook_durable")

_SHORTEST = 0.1  # seconds between two updates
_SHARE = 0.01  # of a processor, which drawing may take: what costs more is drawn less often ...
_LONGEST = 0.5  # ... but not less often than this, in seconds
_TICK = 0.5  # seconds between two updates of a mere countdown
_SLOW_TICK = 1.0  # the same, once a step has been at it for a minute
_GRACE = 0.2  # seconds: a cell that ends sooner needs no widget


class LiveOutput:
    """An observer that shows its execution below the cell.

    ``notify`` is on the path of each step, so it only appends; a daemon thread draws, at most ten times a second. The
    first step is drawn at once, on the cell's own thread, so that the output stands above what the steps print.

    With ``widget``, the thread then puts a widget in the place of that picture, sends it what changes, and at the end
    of the cell replaces it by a picture of the end, which is what a saved notebook keeps. Without, or where a widget
    can't be made, the picture itself is updated. Where nothing can be updated (a terminal, ``%%capture``) the end state
    is shown once. What goes wrong in here is logged and never reaches a step.

    Args:
        shell: IPython's.
        run: what is executed.
        widget: there is a front end that may show widgets.
    """

    def __init__(self, shell: Any, run: RunId, *, widget: bool = False) -> None:
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
        self._last_head: Any = None
        self._wants_widget = widget
        self._widget: Any = None
        self._controls: Controls | None = None
        self._lost = False  # a front end asked for everything

    def notify(self, event: Event, /) -> None:
        """Take an event."""
        self._queue.append(event)
        if self._started:
            if self._idle and self._live:
                self._idle = False
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

    def connect(self, controls: Controls) -> None:
        """Let clicks through to the steps of the execution."""
        self._controls = controls
        if self._widget is not None:
            self._wake.set()

    def finish(self) -> None:
        """Stop the thread and show the end state, if there was a step or a remark. Calling it twice does nothing."""
        self._ended.set()
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=5.0)
        started, self._started = self._started, False
        if started:
            self._show(update=self._live)
        if self._widget is not None:
            self._send_changes()
            widget, self._widget = self._widget, None
            widgets.retire(widget)

    # -- drawing

    def _start(self, first: Event | None) -> None:
        self._started = True
        self._live = _updates(self._shell)
        if not self._live:
            if isinstance(first, AttemptFailed):
                self._say_retry(first)
            return
        self._show(update=False)
        # In ipykernel 7 the cell that an output belongs to is a context variable; a bare thread would not have it.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._keep_drawing,), name="notebook_durable-output", daemon=True
        )
        self._thread.start()

    def _keep_drawing(self) -> None:
        if self._wants_widget and not self._ended.wait(_GRACE):
            self._open_widget()
        while not self._ended.is_set():
            self._idle = True
            self._wake.wait(self._pause())
            self._wake.clear()
            self._idle = False
            if self._ended.is_set():
                return
            before = time.thread_time()
            if self._widget is None:
                self._show(update=True)
            else:
                self._send_changes()
            cost = time.thread_time() - before
            self._ended.wait(min(_LONGEST, max(_SHORTEST, cost / _SHARE)))

    def _pause(self) -> float | None:
        if self._queue:
            return 0.0
        since = self.panel.waiting_since()
        if not since or self._widget is not None:  # the widget's times tick by themselves
            return None
        return _TICK if time.time() - since < 60 else _SLOW_TICK

    def _show(self, *, update: bool) -> None:
        """Show a picture of this moment."""
        try:
            with self._lock:
                self._take()
                soon = self._wants_widget and not self._ended.is_set()
                bundle = dict(self.panel.bundle(time.time(), live=soon))
                if bundle == self._last and self._widget is None:
                    return
                self._last = bundle
                if self._live or not _is_terminal(self._shell):
                    self._publish(bundle, update=update)
                else:
                    print(bundle["text/plain"])  # noqa: T201  a terminal's display
        except Exception:  # noqa: BLE001  the panel is a courtesy: it must not stop the work it tells about
            _log.debug("the live output could not be shown", exc_info=True)

    def _publish(self, bundle: Mapping[str, Any], *, update: bool) -> None:
        self._shell.display_pub.publish(bundle, metadata={}, transient={"display_id": self._id}, update=update)

    def _take(self) -> None:
        events = []
        queue = self._queue
        while queue:
            events.append(queue.popleft())
        self.panel.apply(events)

    def _say_retry(self, event: AttemptFailed) -> None:
        if _is_terminal(self._shell):
            print(retry_line(event), flush=True)  # noqa: T201

    # -- the widget

    def _open_widget(self) -> None:
        """Put the widget in the place of the first picture. On the thread that draws: the imports take their time."""
        try:
            widgets.panel_class()
            if self._ended.is_set():
                return
            self._widget = widgets.make_panel(self._everything, self._hear)
            with self._lock:
                self._take()
                bundle = dict(self.panel.bundle(time.time(), live=True))
                bundle[widgets.VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
                self._publish(bundle, update=True)
        except Exception:  # noqa: BLE001  without ipywidgets, or with one that doesn't work: as without `widget`
            self._wants_widget = False
            self._close_widget()
            _log.debug("there is no live panel", exc_info=True)

    def _close_widget(self) -> None:
        widget, self._widget = self._widget, None
        if widget is not None:
            try:
                widget.close()
            except Exception:  # noqa: BLE001  it is out of sight already
                _log.debug("the live panel could not be closed", exc_info=True)

    def _everything(self) -> dict[str, Any]:
        with self._lock:
            return {"kind": "rows", "now": time.time(), "head": self._head(), **self.panel.everything()}

    def _head(self) -> dict[str, Any]:
        controls = self._controls
        stopping = controls is not None and controls.stopping
        return {**self.panel.head(), "stopping": stopping, "clicks": controls is not None}

    def _send_changes(self) -> None:
        """Tell the widget what changed. What didn't is not sent."""
        try:
            with self._lock:
                self._take()
                lost, self._lost = self._lost, False
                changes = self.panel.changes()
                if lost:
                    changes = self.panel.everything()
                head = self._head()
                message: dict[str, Any] = {"kind": "rows", "now": time.time(), **changes}
                if lost or head != self._last_head:
                    message["head"] = self._last_head = head
                elif not changes["rows"] and not changes["gone"]:
                    return
                self._widget.send(message)
        except Exception:  # noqa: BLE001  as above
            _log.debug("the live panel could not be updated", exc_info=True)

    def _hear(self, content: Mapping[str, Any]) -> None:
        """Take what the front end says, on whatever thread that comes in; a lock held elsewhere must not hold it up."""
        widget, controls = self._widget, self._controls
        if widget is None:
            return
        try:
            widget.send({"kind": "pong", "id": content.get("id"), "now": time.time()})
            if content.get("all"):
                self._lost = True
            if controls is not None:
                said = widgets.obey(content, controls, self._question)
                if said:
                    widget.send({"kind": "said", "seq": content.get("seq"), "text": said})
            self._wake.set()
        except Exception:  # noqa: BLE001  as above
            _log.debug("a click could not be obeyed", exc_info=True)

    def _question(self, seq: int) -> Question | None:
        row = self.panel.rows.get(seq)
        return None if row is None or row.state != "asking" else row.question


def _is_terminal(shell: Any) -> bool:
    return not hasattr(shell, "kernel")


def _updates(shell: Any) -> bool:
    """Tell whether a display can be updated in place: in a kernel, unless something captures the output."""
    return not _is_terminal(shell) and "Capturing" not in type(shell.display_pub).__name__
