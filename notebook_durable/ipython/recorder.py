"""Outputs that come back: what a step prints and displays is taken down, and shown again when the step replays."""

from __future__ import annotations

import html
import json
import sys
import threading
from collections.abc import Callable
from contextvars import Token
from datetime import datetime
from typing import Any, Self

from notebook_durable.ipython import recorder_objects as objects
from notebook_durable.ipython.recorder_json import to_json
from notebook_durable.ipython.recorder_kept import Kept
from notebook_durable.ipython.recorder_taps import (
    ENTERED,
    LOCK,
    STATE,
    Tap,
    complain,
    current,
    listen_again,
    tap_all,
    unrecorded,
    untap,
    watched_pipes,
)
from notebook_durable.model import Entry, StepKey

__all__ = ["OutputRecorder", "OutputRecording", "unrecorded"]

_NONE = object()  # is no method


class OutputRecorder:
    """Takes down what steps print, log and display, and shows it again.

    Output of a step is what goes to where output went when the step began: to ``sys.stdout``, ``sys.stderr`` and
    the shell's display publisher as they were at the begin of the cell (whoever holds them) or of the step. What a
    step catches itself, in a ``redirect_stdout`` of its own for example, is not output. An error in here is logged
    and never reaches a step.

    What C code writes to the file descriptors comes by way of a thread of ipykernel's. That thread gets a moment at
    the end of a step that has written something; of steps that overlap nobody knows whose it is, and it isn't kept.

    Args:
        shell: IPython's.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._installed: list[tuple[Tap, ...]] = []
        self._remember()

    def _remember(self) -> None:
        """Note our methods, to see at a glance whether they are still where a step's output goes."""
        there = bool(self._installed)
        self.writes_out: Any = getattr(sys.stdout, "write", None) if there else _NONE
        self.writes_err: Any = getattr(sys.stderr, "write", None) if there else _NONE
        self.publishes: Any = self.shell.display_pub.publish if there else _NONE
        self.pipes: Any = watched_pipes() if there else None

    def install(self) -> None:
        """Begin to listen: called when a cell begins. Cells may nest."""
        listen_again()
        self._installed.append(tap_all(self.shell, base=True))
        self._remember()
        STATE.marked = False

    def remove(self) -> None:
        """Undo one :meth:`install`, in whatever order cells end. Without one it does nothing."""
        if not self._installed:
            return
        untap(self._installed.pop(), base=True)
        if not self._installed:
            self._remember()
            for left in [one for one in ENTERED if one.recorder is self]:  # a Stop between two instructions
                ENTERED.discard(left)
            if getattr(current.get(), "recorder", None) is self:
                current.set(None)
        STATE.marked = False

    def recording(self) -> OutputRecording:
        """Return a new recording, not entered yet."""
        return OutputRecording(self)

    def show(self, entry: Entry, outputs: str) -> None:
        """Show again what was taken down when ``entry`` was recorded, below a line that says so.

        Outputs of several steps one after the other, with nothing else between them, share one line.
        """
        with unrecorded():
            try:
                calls = _read(outputs)
                if not calls:
                    return
                if not STATE.marked or not self._installed:
                    self._publish(_mark(entry), {}, "")
                    STATE.marked = bool(self._installed)
                for name, text, metadata, key in calls:
                    if name == "display":
                        self._publish(text, metadata, key)
                    else:
                        (sys.stdout if name == "stdout" else sys.stderr).write(text)
            except Exception:  # noqa: BLE001  a courtesy: the step's value is what the replay is for
                complain(f"the output of step {entry.name!r} could not be shown")

    def _publish(self, data: dict[str, Any], metadata: dict[str, Any], key: str) -> None:
        # Under its own id, so that the cell's update_display finds it.
        named = {"transient": {"display_id": key}} if key else {}
        self.shell.display_pub.publish(data, metadata, **named)


class OutputRecording:
    """What one attempt of a step prints and displays.

    Attributes:
        recorder: that it belongs to.
        thread: that entered it.
        own: taps on what was in place of the streams and the publisher when it was entered, if that is not the cell's.
        outer: the recording that this one was entered in.
        closed: its outputs were asked for; what tasks and threads that it left behind say is not kept.
    """

    __slots__ = ("_before", "_kept", "_overlaps", "_token", "closed", "outer", "own", "recorder", "thread")

    def __init__(self, recorder: OutputRecorder) -> None:
        self.recorder = recorder
        self.own: tuple[Tap, ...] = ()
        self.outer: OutputRecording | None = None
        self.closed = False
        self.thread = 0
        self._kept: Kept | None = None
        self._before: tuple[Any, ...] | None = None
        self._overlaps = -1
        self._token: Token[Any] | None = None

    def __enter__(self) -> Self:
        recorder = self.recorder
        try:
            if (
                getattr(sys.stdout, "write", None) is not recorder.writes_out
                or getattr(sys.stderr, "write", None) is not recorder.writes_err
                or recorder.shell.display_pub.publish is not recorder.publishes
            ):
                self.own = tap_all(recorder.shell, base=False)
            if self._before is None:
                self._before = objects.open_figures()
                self._overlaps = STATE.overlaps
            if ENTERED:
                STATE.overlaps += 1
            self.thread = threading.get_ident()
            self.outer = current.get()
            self._token = current.set(self)
            ENTERED.add(self)
        except Exception:  # noqa: BLE001  the recorder must not stop the step
            complain("the output of a step can't be recorded")
        return self

    def __exit__(self, *error: object) -> None:
        try:
            pipes = self.recorder.pipes
            if pipes is not None and len(ENTERED) == 1:
                pipes.wait()
        except Exception:  # noqa: BLE001  as above; two threads can't look at once, for example
            complain("the end of a step's output was not waited for")
        finally:  # Stop may come while we wait
            self._leave()

    def _leave(self) -> None:
        try:
            ENTERED.discard(self)
            token, self._token = self._token, None
            if token is not None:
                try:
                    current.reset(token)
                except ValueError:  # left in another context than it was entered in
                    if current.get() is self:
                        current.set(None)
            if self.own:
                own, self.own = self.own, ()
                untap(own, base=False)
        except Exception:  # noqa: BLE001  as above
            complain("the recording of a step's output did not end well")

    def listen(self) -> Kept:
        """Return what is kept so far, to add to it."""
        if self._kept is None:
            self._kept = Kept()
        return self._kept

    def finish(self, value: Any) -> None:
        """Show the figures that a successful attempt left open, so that they stand with the step and come back.

        If another step was under way at the same time nobody knows whose they are, and they are left to the end of the
        cell.

        Args:
            value: of the step. Figures in it are left alone.
        """
        if self._before is None or "matplotlib._pylab_helpers" not in sys.modules:
            return
        try:
            if self._overlaps == STATE.overlaps and objects.open_figures():
                with self:
                    objects.show_figures(self._before, value)
        except Exception:  # noqa: BLE001  as above
            complain("the figures of a step could not be shown")

    def outputs(self, hide: Callable[[str], str]) -> str:
        """End the recording, and return what was taken down as JSON text, see ``model.Extra``; "" if nothing was.

        Args:
            hide: takes a text, and returns it without secrets.
        """
        self.closed = True
        if self._kept is None:
            return ""
        try:
            with unrecorded(), LOCK:
                return to_json(self._kept, hide)
        except Exception:  # noqa: BLE001  as above
            complain("the output of a step could not be kept")
            return ""


# -- showing again


def _read(outputs: str) -> list[tuple[str, Any, dict[str, Any], str]]:
    """What to show: ("stdout" or "stderr", text, {}, "") or ("display", data, metadata, its id or "").

    Raises:
        ValueError: ``outputs`` is not a list of outputs.
    """
    calls: list[tuple[str, Any, dict[str, Any], str]] = []
    loaded = json.loads(outputs) if outputs else []
    if not isinstance(loaded, list):
        raise ValueError(f"not a list of outputs: {outputs[:80]}")
    for one in loaded:
        kind = one.get("output_type") if isinstance(one, dict) else None
        if kind == "stream" and one.get("name") in ("stdout", "stderr") and isinstance(one.get("text"), str):
            calls.append((one["name"], one["text"], {}, ""))
        elif kind == "display_data" and isinstance(one.get("data"), dict) and isinstance(one.get("metadata"), dict):
            calls.append(("display", one["data"], one["metadata"], _display_id(one)))
        else:
            raise ValueError(f"not an output: {json.dumps(one)[:80]}")
    return calls


def _display_id(output: dict[str, Any]) -> str:
    transient = output.get("transient")
    key = transient.get("display_id") if isinstance(transient, dict) else None
    return key if isinstance(key, str) else ""


def _mark(entry: Entry) -> dict[str, Any]:
    moment = datetime.fromtimestamp(entry.ended_at or entry.started_at)
    text = f"↺ output of step '{StepKey(entry.name, entry.occurrence)}', recorded {moment:%Y-%m-%d %H:%M}"
    style = "opacity:0.6;font-size:85%"
    return {
        "text/plain": text,
        "text/html": f'<div class="nbd-recorded" style="{style}">{html.escape(text)}</div>',
    }
