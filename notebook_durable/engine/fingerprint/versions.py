"""Versions of libraries. They don't count for a fingerprint; a change is said, and re-runs a step with ``--strict``."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable

__all__ = ["libraries_text"]

_known: dict[str, str] = {}


def libraries_text(modules: Iterable[str]) -> str:
    """Write Python and the libraries of some top-level modules with their versions: "Python 3.11, pandas 2.2.3"."""
    found = {name for name in modules if name not in sys.stdlib_module_names}
    python = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    return ", ".join([python, *(text for name in sorted(found) if (text := _with_version(name)))])


def _with_version(name: str) -> str:
    known = _known.get(name)
    if known is None:
        known = _known[name] = _look_up(name)
    return known


def _look_up(name: str) -> str:
    version = getattr(sys.modules.get(name), "__version__", None)
    if not isinstance(version, str):
        try:
            version = importlib.metadata.version(name)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            return ""
    return f"{name} {version}"
