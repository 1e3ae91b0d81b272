"""Is this the user's own code, which is tracked, or a library's, which counts by name and version."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

__all__ = [
    "is_cell_file",
    "is_own_module",
    "is_user_code",
    "is_user_file",
    "is_user_module",
    "library_name",
    "plain_name",
]

_MAIN = ("__main__", "__mp_main__")
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement, or by few C extensions
_OF_C = frozenset({"method_descriptor", "wrapper_descriptor", "builtin_function_or_method", "classmethod_descriptor"})


def _library_folders() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.add(str(Path(getattr(sys.modules["os"], "__file__", None) or "/nowhere/os.py").parent))  # may be a zip file
    folders |= {str(Path(folder).resolve()) for folder in folders if folder}
    folders.add(str(Path(__file__).resolve().parents[2]))  # ours
    return tuple(f"{folder}/".replace("\\", "/") for folder in folders if folder)


_FOLDERS = _library_folders()
_known_files: dict[str, bool] = {}
_known_modules: dict[str, bool] = {}


def is_cell_file(filename: str) -> bool:
    """Tell whether this is IPython's name for a cell: unique for its text, never edited in place."""
    return filename.startswith(("<ipython-input-", "<ipython-")) or "/ipykernel_" in filename.replace("\\", "/")


def is_user_file(filename: str) -> bool:
    """Tell whether code of this file is the user's: a cell, a script, a module outside of site-packages.

    Args:
        filename: of a code object (``co_filename``) or a module (``__file__``).

    Returns:
        False for site-packages, dist-packages, the standard library, frozen modules and this package. Editable
        installs and folders of PYTHONPATH are the user's.
    """
    known = _known_files.get(filename)
    if known is None:
        plain = filename.replace("\\", "/")
        library = plain.startswith((*_FOLDERS, "<frozen"))
        library = library or "/site-packages/" in plain or "/dist-packages/" in plain
        known = _known_files[filename] = not library
    return known


def is_user_module(name: object) -> bool:
    """Tell whether a module is the user's.

    Args:
        name: as in ``sys.modules``; what is no text belongs to nobody.
    """
    if name in _MAIN:
        return True
    if not isinstance(name, str):
        return False
    known = _known_modules.get(name)
    if known is None:
        module = sys.modules.get(name)
        if module is None:
            return False  # not loaded now; it may be later
        known = _known_modules[name] = _looks_own(name, module)
    return known


def is_own_module(module: ModuleType) -> bool:
    """Tell whether a module is the user's, by itself: it may have been loaded from a file, and not be importable."""
    name = module.__name__
    if name in _MAIN:
        return True
    if sys.modules.get(name) is module:
        return is_user_module(name)
    return isinstance(name, str) and _looks_own(name, module)


def _looks_own(name: str, module: Any) -> bool:
    if name.partition(".")[0] in sys.stdlib_module_names and sys.modules.get(name) is module:
        return False
    try:
        inner = vars(module)  # its own __getattr__ may answer anything
        file, spec = inner.get("__file__"), inner.get("__spec__")
        folders = list(inner.get("__path__") or ())
    except Exception:  # noqa: BLE001  a module that is a proxy
        return False
    if isinstance(file, str):
        return is_user_file(file)
    if folders:  # a namespace package
        return all(isinstance(folder, str) and is_user_file(f"{folder}/") for folder in folders)
    return spec is None and not name.startswith("_cython_")  # made by hand: types.ModuleType("settings")


def is_user_code(value: Any) -> bool:
    """Tell whether a function or class is the user's own. False for anything else."""
    if isinstance(value, FunctionType):
        filename = value.__code__.co_filename
        # Text made by a library (dataclasses, numpy, decorator) has no file: ask where it lives.
        if filename[:1] == "<" and not is_cell_file(filename):
            return is_user_module(value.__globals__.get("__name__")) or _is_nobodys(value)
        return is_user_file(filename)
    return isinstance(value, type) and (is_user_module(value.__module__) or _is_own_class(value))


def _is_nobodys(function: FunctionType) -> bool:
    """Text that was executed in a dict of its own is the user's, unless it is known that a library does that."""
    name = function.__globals__.get("__name__")
    if isinstance(name, str) and (name in sys.modules or name.startswith("namedtuple_")):
        return False
    return not function.__code__.co_filename.startswith(("<attrs ", "<frozen", "<__array"))


def _is_own_class(cls: type) -> bool:
    """A class whose module tells nothing: loaded from a file, by ``runpy``, or executed in a dict of its own."""
    module = cls.__module__
    if not cls.__flags__ & _HEAP_TYPE or (module in sys.modules and module != "builtins"):
        return False
    members = [getattr(value, "__func__", getattr(value, "fget", value)) for value in vars(cls).values()]
    functions = [value for value in members if isinstance(value, FunctionType)]
    if any(is_user_code(value) for value in functions):
        return True
    # Nothing but data: a class of C has other members.
    return not functions and not any(type(value).__name__ in _OF_C for value in members)


def plain_name(qualname: str) -> str:
    """Leave comprehensions out of a qualified name: since Python 3.12 they are no functions of their own."""
    if "comp>" not in qualname:
        return qualname
    for kind in ("list", "set", "dict"):
        qualname = qualname.replace(f"<{kind}comp>.", "")
    return qualname


def library_name(value: Any) -> str:
    """Name a function, class or module by module and qualified name: ``pandas.io.sql.read_sql``."""
    if isinstance(value, ModuleType):
        return value.__name__
    module = getattr(value, "__module__", None)
    if not isinstance(module, str):
        owner = getattr(value, "__objclass__", None) or type(getattr(value, "__self__", None))
        module = owner.__module__ if isinstance(owner, type) else ""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return f"{module}.{plain_name(name) if isinstance(name, str) else type(value).__qualname__}"
