"""Durable execution for people who work in notebooks.

``%load_ext notebook_durable``, then a ``%%durable NAME`` cell; or ``with durable(NAME) as ctx`` in plain Python.
Importing this loads nothing but the standard library; every name below is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from notebook_durable._version import __version__

if TYPE_CHECKING:
    from notebook_durable.api import durable
    from notebook_durable.engine.context import AsyncContext, Context
    from notebook_durable.engine.files import file
    from notebook_durable.engine.options import RunOptions
    from notebook_durable.errors import DurableError, OutcomeUnknownError, RetryableError, TerminalError
    from notebook_durable.retry import RetryPolicy
    from notebook_durable.view import journal

__all__ = [
    "AsyncContext",
    "Context",
    "DurableError",
    "OutcomeUnknownError",
    "RetryPolicy",
    "RetryableError",
    "RunOptions",
    "TerminalError",
    "__version__",
    "durable",
    "file",
    "journal",
    "load_ipython_extension",
    "unload_ipython_extension",
]

_HOMES = {
    "AsyncContext": "engine.context",
    "Context": "engine.context",
    "DurableError": "errors",
    "OutcomeUnknownError": "errors",
    "RetryPolicy": "retry",
    "RetryableError": "errors",
    "RunOptions": "engine.options",
    "TerminalError": "errors",
    "durable": "api",
    "file": "engine.files",
    "journal": "view",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'notebook_durable' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"notebook_durable.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext notebook_durable``: add ``%%durable`` and ``%durable`` to a kernel."""
    from notebook_durable.ipython.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext notebook_durable``: take away all that loading added."""
    from notebook_durable.ipython.extension import unload

    unload(shell)
