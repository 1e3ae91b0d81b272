"""What to type: the command, or the line of Python, that does what a button does."""

from __future__ import annotations

import re
from collections.abc import Collection

from notebook_durable.history.values import variable_for
from notebook_durable.model import RunInfo

__all__ = ["spell"]

_PLAIN = re.compile(r"(?!-)[\w.\-]+")
#: IPython fills in what is in braces or behind a dollar sign: a name must not become code by being copied.
_FILLED_IN = re.compile(r"[{}$]")


def spell(
    command: str,
    info: RunInfo,
    step: str | None,
    *,
    names: Collection[str] = (),
    journal: str | None = None,
    variable: str | None = None,
) -> str:
    """Write a command for a run.

    Args:
        command: "load", "rewind", "forget" or "why".
        info: the run.
        step: the step, as commands take it; None for the whole run.
        names: the names of all workflows, to see whether a name and a step run together.
        journal: the Python expression of the journal, where ``%durable`` would look into another one.
        variable: what a loaded value is called, if not as its step.

    Returns:
        One line: a magic, or Python where the names can't be written in one.
    """
    numbered = command == "forget" or (info.archived and command != "rewind")
    run = info.number if numbered else None
    words = [_quoted(one) for one in (info.run.workflow, step or "", info.run.key)]
    if journal is not None or None in words:
        return _python(command, info, step, run, journal or "journal()", variable)
    name, shown, key = words
    if command == "rewind":
        line = f"%durable rewind {name} --to {shown}"
    elif step is not None and _ambiguous(info.run.workflow, step, names):
        line = f"%durable {command} {name} --step {shown}"
    else:
        line = f"%durable {command} {name}" + (f" {shown}" if step is not None else "")
    line += f" --key {key}" if info.run.key else ""
    line += f" --as {variable}" if variable else ""
    return line + (f" --run {run}" if run is not None else "")


def _quoted(text: str) -> str | None:
    """Write a name as one word; None if that is not possible."""
    if not text or _PLAIN.fullmatch(text):
        return text
    if _FILLED_IN.search(text) or text.startswith("-"):
        return None
    return next((f"{quote}{text}{quote}" for quote in "\"'" if quote not in text), None)


def _ambiguous(name: str, step: str, names: Collection[str]) -> bool:
    whole = f"{name} {step} "
    return any(other != name and whole.startswith(f"{other} ") for other in names)


def _python(command: str, info: RunInfo, step: str | None, run: int | None, journal: str, variable: str | None) -> str:
    arguments = [repr(info.run.workflow), *([] if step is None else [repr(step)])]
    arguments += [f"key={info.run.key!r}"] if info.run.key else []
    arguments += [f"run={run}"] if run is not None else []
    done = ".apply()" if command in ("rewind", "forget") else ""
    into = f"{variable or variable_for(step or '')} = " if command == "load" else ""
    return f"from notebook_durable import journal; {into}{journal}.{command}({', '.join(arguments)}){done}"
