"""Finds the modules that a function imports when it is called."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from types import FunctionType, ModuleType
from typing import Any

from notebook_durable.engine.fingerprint.origin import is_user_file, is_user_module
from notebook_durable.engine.fingerprint.reads import Import

__all__ = ["imported", "loaded"]


def imported(function: FunctionType, statement: Import) -> ModuleType | None:
    """Return the module that an import statement inside of a function is about.

    The step would import it in a moment, so a module of the user's is loaded now; a library's is not.
    """
    name = statement.module
    try:
        if statement.level:
            package = function.__globals__.get("__package__") or ""
            name = importlib.util.resolve_name("." * statement.level + name, package)
        module = sys.modules.get(name)
        if module is None and not _is_library(name):
            module = importlib.import_module(name)
        for part in statement.names:  # from package import module
            if module is not None and part not in vars(module) and hasattr(module, "__path__"):
                _import_part(f"{name}.{part}")
    except Exception:  # noqa: BLE001  it will fail in the step too, where the user sees it
        return None
    return module if isinstance(module, ModuleType) else None


def loaded(module: ModuleType, name: str, own: bool) -> bool:
    """Load a part of a library's module that is loaded when it is first read: ``scipy.linalg``, ``np.random``.

    The step would do so in a moment. What it reads must not have another name before that than after it.
    """
    inner = vars(module)
    if own or "__getattr__" not in inner or module.__name__ in ("__main__", "__mp_main__"):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(module, name)
    except Exception:  # noqa: BLE001  it will fail in the step too
        return False
    return name in inner


def _import_part(name: str) -> None:
    if is_user_module(name.partition(".")[0]) and importlib.util.find_spec(name) is not None:
        importlib.import_module(name)


def _is_library(name: str) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return True
    if top in sys.modules:
        return not is_user_module(top)
    spec = importlib.util.find_spec(top)
    if spec is None:
        return True
    places = [spec.origin] if spec.has_location and spec.origin else [f"{place}/" for place in _places(spec)]
    return not places or not all(is_user_file(place) for place in places)


def _places(spec: Any) -> list[str]:
    return list(spec.submodule_search_locations or ())
