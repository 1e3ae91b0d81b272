"""The live panel: a widget that shows the steps of a running cell, and takes clicks while the cell runs."""

from __future__ import annotations

import functools
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.controls import together
from notebook_durable.errors import ConfigurationError
from notebook_durable.question import Question

if TYPE_CHECKING:
    from notebook_durable.engine.controls import Controls

__all__ = ["VIEW", "make_panel", "obey", "panel_class", "retire"]

_log = logging.getLogger("notebook_durable")

VIEW = "application/vnd.jupyter.widget-view+json"

_HERE = Path(__file__).parent
_TOO_LATE = "it doesn't wait any more"


@functools.cache
def panel_class() -> type[Any]:
    """Make the class ``LivePanel``. Not at import: it takes ipywidgets and anywidget, a quarter of a second."""
    import anywidget
    import traitlets

    class LivePanel(anywidget.AnyWidget):
        """Shows what it is sent.

        Messages to the front end: ``{"kind": "rows", "now", "head"?, "rows", "gone", "full"?}``, ``{"kind": "pong",
        "id", "now"}`` and ``{"kind": "said", "seq", "text"}``. From there: ``{"do": ..., "id": n}``, see :func:`obey`.

        Attributes:
            snapshot: a ``rows`` message with everything, made anew whenever a front end asks for the state.
        """

        _esm = _HERE / "panel.js"
        _css = _HERE / "panel.css"

        # The state itself lives elsewhere and is sent as patches: this is for front ends that come later.
        snapshot = traitlets.Any().tag(sync=True, to_json=lambda look, _widget: look())

        def close(self) -> None:
            """Close it, and the layout that every widget has: a notebook may run thousands of cells."""
            layout = self.layout
            super().close()
            if layout is not None:
                layout.close()

    return LivePanel


def make_panel(look: Callable[[], Mapping[str, Any]], hear: Callable[[Mapping[str, Any]], None]) -> Any:
    """Open a panel in the front ends of this kernel.

    Args:
        look: returns everything that is to be shown, as a ``rows`` message. Called on any thread.
        hear: takes what the front end says. Called on any thread: that of a subshell while a cell without await runs.

    Raises:
        ImportError: without anywidget.
    """
    panel = panel_class()(snapshot=look)
    comm = panel.comm
    if hasattr(comm, "_reply_subshell_for"):
        # ipykernel 7.4 sends what a front end says to the thread that last spoke on this comm, which is the cell's own
        # and busy. Let it be the one that the front end names: a subshell. No-one awaits a reply on a certain thread.
        comm._reply_subshell_for = lambda _data, default: default  # noqa: SLF001

    def on_message(_widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict):
            hear(content)

    panel.on_msg(on_message)
    return panel


_retired: deque[Any] = deque()
_KEPT = 8


def retire(panel: Any) -> None:
    """Close a panel of a cell that has ended, a few cells later.

    A page that was loaded anew while the cell ran still shows it: there the picture of the end, which takes the place
    of the panel everywhere else, doesn't arrive.
    """
    _retired.append(panel)
    while len(_retired) > _KEPT:
        try:
            _retired.popleft().close()
        except Exception:  # noqa: BLE001  it is out of sight already
            _log.debug("a live panel could not be closed", exc_info=True)


def obey(content: Mapping[str, Any], controls: Controls, question_of: Callable[[int], Question | None]) -> str:
    """Do what a click asks for.

    Args:
        content: ``{"do": "retry" | "giveup" | "pause" | "resume", "seq": n}``, of a map's waiting items together with
            ``"map": true`` ("retry" and "giveup"), ``{"do": "stop", "on": bool}`` or
            ``{"do": "answer", "seq": n, "value": ...}``; with a choice also ``"json"``: its exact JSON.
        controls: of the execution.
        question_of: returns what a step asks.

    Returns:
        What is to be told in the step's row; "" if it was done.
    """
    do, seq = content.get("do"), content.get("seq")
    if do == "stop":
        controls.stop_after_step(bool(content.get("on", True)))
        return ""
    if not isinstance(seq, int):
        return ""
    simple: dict[Any, Callable[[int], bool]] = {
        "retry": controls.retry,
        "giveup": controls.give_up,
        "pause": controls.pause,
        "resume": controls.resume,
    }
    if do in simple:
        return "" if simple[do](together(seq) if content.get("map") else seq) else _TOO_LATE
    if do != "answer":
        return ""
    question = question_of(seq)
    if question is None:
        return _TOO_LATE
    try:
        value = read_answer(question, content)
    except ConfigurationError as error:
        return str(error)
    return "" if controls.answer(seq, value) else _TOO_LATE


def read_answer(question: Question, content: Mapping[str, Any]) -> Any:
    """Return the answer in a message. JavaScript has one kind of number: 1.0 comes as 1.

    Raises:
        ConfigurationError: if the question doesn't take it.
    """
    value = content.get("value")
    for choice in question.choices:
        if content.get("json") == json.dumps(choice):
            return choice
    if question.form and isinstance(value, Mapping):
        fields = {name: _same(question.form.get(name), given) for name, given in value.items()}
        return question.check(fields)
    if not question.choices and not question.form and isinstance(value, str):
        return question.read(value)  # as `%durable resolve` does
    return question.check(value)


def _same(first: Any, given: Any) -> Any:
    """Return the item of a list of choices that a form gave, with the type that it has in the list."""
    if not isinstance(first, list):
        return given
    exact = [one for one in first if type(one) is type(given) and one == given]
    close = [one for one in first if not isinstance(one, bool) and not isinstance(given, bool) and one == given]
    return (exact or close or [given])[0]
