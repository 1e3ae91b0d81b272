"""Figures that a step left open, and widgets: output whose last state has to be asked for. Nothing is imported here
that the user has not imported."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["WIDGET", "open_figures", "show_figures", "widget_bundle"]

#: The view of a widget: it needs the kernel that it was made in.
WIDGET = "application/vnd.jupyter.widget-view+json"

_LONGEST_REPR = 10_000  # characters
_MANY = 1_000  # elements of a value that are looked at


def widget_bundle(model: str, displayed: Mapping[str, str]) -> dict[str, str] | None:
    """Return what stands for a widget when its kernel is gone: its last state as text, and as HTML if it makes some.

    Args:
        model: the id of its model.
        displayed: the rest of what was displayed, kept if the widget can't be found any more.

    Returns:
        By MIME type; None if the widget was closed, which takes it off the page.
    """
    module = sys.modules.get("ipywidgets.widgets.widget")
    instances = getattr(module, "_instances", None)
    if instances is None:
        return dict(displayed)
    widget = instances.get(model)
    if widget is None:
        return None
    try:
        bundle = {"text/plain": _text(widget)[:_LONGEST_REPR]}
        page = _page(widget)
    except Exception:  # noqa: BLE001  a widget's own code; its first state is better than none
        return dict(displayed)
    return bundle | ({"text/html": page} if isinstance(page, str) else {})


def _text(widget: Any) -> str:
    from IPython.lib.pretty import pretty

    try:
        return str(pretty(widget))
    except ReferenceError:  # tqdm's box shows a bar that is gone when its loop has ended; what it showed is left
        return "".join(_part(child) for child in widget.children)


def _page(widget: Any) -> Any:
    try:
        made = widget._repr_mimebundle_()
    except ReferenceError:  # as above
        return None
    data = made[0] if isinstance(made, tuple) else made
    return data.get("text/html") if isinstance(data, Mapping) else None


def _part(child: Any) -> str:
    value, most = child.value, getattr(child, "max", None)
    if isinstance(value, str) or not most:
        return html.unescape(str(value)).replace("\u2007", " ")  # tqdm's blanks
    done = round(10 * value / most)
    return f"|{'█' * done}{' ' * (10 - done)}|"


# -- figures


def open_figures() -> tuple[Any, ...]:
    """The managers of pyplot's open figures."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    return tuple(helpers.Gcf.figs.values()) if helpers is not None else ()


def show_figures(before: tuple[Any, ...], value: Any) -> None:
    """Display the figures that are new, and that the inline backend would display at the end of the cell, here and now.

    They are closed, as the backend does, unless it is set not to.

    Args:
        before: what :func:`open_figures` gave.
        value: of the step. Figures in it are left alone.
    """
    new = [manager for manager in open_figures() if not any(manager is old for old in before)]
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    if not new or inline is None or not _is_inline():
        return
    from IPython.display import display

    values = list(_figures_in(value))
    for manager in new:
        figure = manager.canvas.figure
        waiting = inline.show._to_draw  # noqa: SLF001  the backend's list of what it will display
        if any(figure is kept for kept in values) or not any(figure is one for one in waiting):
            continue
        display(figure, metadata=inline._fetch_figure_metadata(figure))  # noqa: SLF001  as the backend does
        waiting[:] = [one for one in waiting if one is not figure]
        if inline.InlineBackend.instance().close_figures:
            sys.modules["matplotlib.pyplot"].close(figure)


def _is_inline() -> bool:
    matplotlib = sys.modules.get("matplotlib")
    name = str(matplotlib.get_backend()) if matplotlib is not None else ""
    return name.lower() in ("inline", "module://matplotlib_inline.backend_inline")


def _figures_in(value: Any) -> Iterator[Any]:
    """The figures that ``value`` is, has in it (two levels deep), or that belong to axes in it."""
    figure_class = sys.modules["matplotlib.figure"].Figure
    artist_class = sys.modules["matplotlib.artist"].Artist
    for one in _elements(value):
        for inner in _elements(one):
            if isinstance(inner, figure_class):
                yield inner
            elif isinstance(inner, artist_class):
                yield inner.figure


def _elements(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())[:_MANY]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)[:_MANY]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray) and value.dtype == object:  # of plt.subplots
        return list(value.flat)[:_MANY]
    return [value]
