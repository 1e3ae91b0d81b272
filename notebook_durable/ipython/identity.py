"""Which journal a cell owns: names, keys, the notebook's path, the folder of the store."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from notebook_durable.errors import ConfigurationError
from notebook_durable.model import RunId

__all__ = ["CellOptions", "identify", "notebook_path", "parse_line", "start_folder"]

# What nbformat allows as the id of a cell. VS Code sends a URI in its place, which changes with every session.
_CELL_ID = re.compile(r"[a-zA-Z0-9-_]{1,64}")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")

USAGE = "%%durable NAME [--key KEY] [--fresh] [--strict] [--no-output]"


@dataclass(frozen=True, slots=True)
class CellOptions:
    """The first line of a cell, read.

    Attributes:
        name: the workflow, "" if the line has none.
        key: which run of it.
        fresh: archive the run and start a new one.
        strict: hold the cell to the recorded order.
        output: keep what steps print and display, and show it again on replay.
    """

    name: str = ""
    key: str = ""
    fresh: bool = False
    strict: bool = False
    output: bool = True


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message}. Type: {self.usage}")


def parse_line(line: str) -> CellOptions:
    """Read what follows ``%%durable``. Names with blanks are quoted: ``%%durable "monthly report"``.

    Raises:
        ConfigurationError: for an unknown option, more than one name, an unclosed quote, an empty key or name.
    """
    parser = _Parser(prog="%%durable", usage=USAGE, add_help=False, allow_abbrev=False)
    parser.add_argument("name", nargs="*")
    parser.add_argument("--key")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--no-output", action="store_true")
    found = parser.parse_intermixed_args(split(line))
    if len(found.name) > 1:
        given = " ".join(found.name)
        raise ConfigurationError(f'one name at most, not {len(found.name)}: put it in quotes: %%durable "{given}"')
    for what, text in (("a workflow's name", found.name[0] if found.name else None), ("a key", found.key)):
        if text is None:
            continue
        if not text.strip():
            raise ConfigurationError(f"{what} must not be empty. Type: {USAGE}")
        if (left := _PLACEHOLDER.search(text)) is not None:
            raise ConfigurationError(f"{left[0]} in {what} could not be filled in: is the variable defined?")
    name = found.name[0] if found.name else ""
    return CellOptions(name, found.key or "", found.fresh, found.strict, not found.no_output)


def split(line: str) -> list[str]:
    """Split a magic's line as a shell would, so that quoted names may hold blanks.

    Raises:
        ConfigurationError: for an unclosed quote.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escape = ""  # a backslash in a name is a backslash
    try:
        return list(lexer)
    except ValueError as error:
        raise ConfigurationError(f"{line!r} can't be read: {str(error).lower()}. Type: {USAGE}") from None


def identify(options: CellOptions, cell_id: str | None) -> RunId:
    """Name the run of a cell: the name on its line, else JupyterLab's id of the cell.

    Raises:
        ConfigurationError: if there is neither, showing the line to type; or for a name that can't be used.
    """
    if options.name:
        return RunId(options.name, options.key)
    if cell_id is None or _CELL_ID.fullmatch(cell_id) is None:
        raise ConfigurationError(
            "this cell needs a name for its journal, because this front end gives cells no lasting id. "
            "Type: %%durable my_name"
        )
    return RunId(f"cell {cell_id}", options.key)


def notebook_path(user_ns: Mapping[str, Any], start_dir: Path) -> Path | None:
    """Find the notebook that this kernel belongs to, None if no front end says (papermill, nbclient, terminal).

    JupyterLab puts the path into JPY_SESSION_NAME when it starts the kernel, so it is stale after a rename until the
    kernel is restarted. VS Code sets a variable in the user's namespace.
    """
    for given in (user_ns.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")):
        if isinstance(given, str) and given.endswith(".ipynb"):
            path = Path(given)
            if not path.is_absolute():
                # Relative to the server's root, which we don't know: the kernel starts in the notebook's folder.
                path = start_dir / path.name
            return path
    return None


def start_folder(user_ns: Mapping[str, Any]) -> Path:
    """Return the notebook's folder where it is known and there, else the current one. Asked once, at load."""
    here = Path.cwd()
    path = notebook_path(user_ns, here)
    return path.parent if path is not None and path.parent.is_dir() else here
