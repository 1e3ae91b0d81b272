"""``export`` and ``import``: a run in a file, on its way to another machine and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from notebook_durable.errors import ConfigurationError
from notebook_durable.history.page import Page
from notebook_durable.history.removal import Plan
from notebook_durable.model import RunId, RunInfo
from notebook_durable.protocols import Adopted, Store
from notebook_durable.render import run_label, size, when
from notebook_durable.stores.incoming import Incoming, look

__all__ = ["ImportPlan", "adopt", "export", "place", "plan_import"]

_MOST_TYPES = 40


def place(file: str | os.PathLike[str]) -> Path:
    """Return the path that somebody typed.

    Raises:
        ConfigurationError: if it can be none.
    """
    text = os.fspath(file)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ConfigurationError(f"a file's name is needed, not {file!r:.80}")
    return Path(text).expanduser().absolute()


def export(store: Store, run: RunInfo, file: Path, *, values: bool, now: float) -> str:
    """Write a run into a file; returns what was done."""
    done = store.export(run.id, file, values=values, now=now)
    entries = "1 entry" if done.entries == 1 else f"{done.entries:,} entries"
    said = f"{file}: {run_label(run)}, {entries}"
    said += f" with {size(done.size)} of values" if values else " without their values"
    if done.left_out:
        what = "1 was" if done.left_out == 1 else f"{done.left_out} were"
        said += f"; {what} damaged, so what is recorded there is left out (%durable verify)"
    return f"{said}. The file has {size(done.written)}; who can read it can read the run."


def adopt(store: Store, file: Path, name: str | None, *, replace: bool, trust: bool, values: bool, now: float) -> str:
    """Take a run in; returns what was done."""
    run = None
    if name is not None:
        with look(file) as found:
            run = RunId(name, found.run.key)
    return told(store.adopt(file, run, replace=replace, trust=trust, values=values, now=now), values)


def told(done: Adopted, values: bool) -> str:
    """Say what was taken in."""
    entries = "1 entry" if done.entries == 1 else f"{done.entries:,} entries"
    said = f"'{done.run}': run {done.number}, {entries}"
    there = values and (done.size or not done.entries)  # else the file has none
    said += f" with {size(done.size)} of values" if there else " without their values: the steps run again"
    if done.replaced is not None:
        said += f"; run {done.replaced} is archived"
    return said


class ImportPlan(Plan):
    """What an import will take in. Nothing has happened yet: :meth:`apply` does it."""

    question = "Import it?"

    def __init__(self, store: Store, page: Page, found: Incoming, how: dict[str, Any]) -> None:
        super().__init__(store, page, (), found.entries, found.size)
        self._how = how
        if how["trust"]:
            self.question = "Do you trust whoever made this file as you would with a program of theirs?"

    def __bool__(self) -> bool:
        return True

    def apply(self) -> str:
        """Do it; returns what was done."""
        return adopt(self._store, **self._how)


def plan_import(
    store: Store, file: Path, name: str | None, *, replace: bool, trust: bool, values: bool, now: float
) -> ImportPlan:
    """Show what a file has in it, before it is imported.

    Args:
        store: where it would go.
        file: the file.
        name: the name that the run would get; None: its own.
        replace: archive the run of that name.
        trust: believe the file, whoever wrote it.
        values: with the values.
        now: seconds since the epoch.
    """
    with look(file) as found:
        about = found.archive.manifest
        exported, versions = about.get("exported_at"), str(about.get("versions", ""))
        entries = "1 entry" if found.entries == 1 else f"{found.entries:,} entries"
        page = Page(f"{file}: {entries} with {size(found.size)} of values")
        count = len(found.executions)
        executions = "1 execution" if count == 1 else f"{count} executions"
        page.line(f"run '{found.run}', {found.status}, {executions}, began {when(found.created_at)}")
        if isinstance(exported, (int, float)):
            page.line(f"exported {when(exported)} by {versions:.100}")
        if values and found.types:
            page.heading("What is unpickled when its steps replay, as the file says")
            if trust:
                page.line("It could say anything: unpickling runs whatever code whoever made the file has put into it.")
            types = sorted(found.types.items(), key=lambda one: -one[1])
            page.table(("type", "values"), [(kind, f"{count:,}") for kind, count in types[:_MOST_TYPES]])
            if len(types) > _MOST_TYPES:
                page.line(f"… and {len(types) - _MOST_TYPES} more types")
        how = {"file": file, "name": name, "replace": replace, "trust": trust, "values": values, "now": now}
        return ImportPlan(store, page, found, how)
