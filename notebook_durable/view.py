"""Looking at the journal from outside, and answering it. Nothing here runs a step.

Only ``load`` and ``diff`` unpickle values, of entries that are authentic. JupyterLab shows the explorer.
"""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, cast

from notebook_durable.errors import ConfigurationError, DamagedValueError, OutdatedValueError
from notebook_durable.history.log import read_log
from notebook_durable.history.methods import HistoryMethods
from notebook_durable.history.trusting import check_believed, doubt
from notebook_durable.model import Entry, EntryStatus, RunInfo
from notebook_durable.protocols import Store
from notebook_durable.render import STEP_COLUMNS, printable, runs_html, runs_text, step_record, steps_html, steps_text
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.wiring import Settings, open_store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["JournalView", "StepsView", "journal"]

_UNSET: Any = object()


def journal(store: str | os.PathLike[str] | Store | None = None, *, create: bool = False) -> JournalView:
    """Open the journal to look at it.

    As the last expression of a cell it shows its runs; ``journal().to_frame()`` gives its steps as a pandas frame.

    Args:
        store: the journal's folder; by default NOTEBOOK_DURABLE_STORE, else ``.durable`` in the working directory.
        create: make one if there is none, to import into.

    Raises:
        ConfigurationError: if there is no journal there.
    """
    expression = None
    if store is not None:
        # `%durable` looks elsewhere: what the explorer lets people copy has to say where.
        expression = f"journal({os.fspath(store)!r})" if isinstance(store, (str, os.PathLike)) else "journal(store)"
    return JournalView(Settings.resolve(store=store), expression, create=create)


class JournalView(HistoryMethods):
    """The runs of one store.

    Args:
        settings: where it is.
        expression: what to type in Python to get it; None if ``%durable`` looks into the same.
        create: make a journal if there is none, to import into.

    Raises:
        ConfigurationError: if there is no journal there: looking creates none.
    """

    def __init__(self, settings: Settings, expression: str | None = None, *, create: bool = False) -> None:
        folder = settings.folder
        if folder is not None and not folder.is_dir() and not create:
            raise ConfigurationError(
                f"there is no journal at {folder}. Run a %%durable cell first, or name its folder: "
                "journal(PATH) in Python, --store PATH in the shell."
            )
        store = open_store(settings)
        super().__init__(store if folder is None else cast("Store", _OwnStore(store)))
        self._settings = settings
        self._expression = expression
        self._owns_store = folder is not None

    # -- looking

    def show(self, name: str, key: str | None = None, *, run: int | None = None) -> StepsView:
        """Return the steps of a run as they stand, to be displayed."""
        log = self._log(name, key, run)
        entries = [step.entry._replace(occurrence=step.key.occurrence) for step in log.current]
        return StepsView(log.info, entries, self.doubt)

    def to_frame(self, name: str | None = None, *, archived: bool = False) -> pd.DataFrame:
        """Return the entries of all runs (or of one workflow's) as a pandas frame, one row per entry.

        ``current`` is False for those that are history in their run. Times are in seconds (``duration``: of the call
        that gave the value; ``spent``: with all attempts and waits),
        ``started`` and ``ended`` are timestamps, ``size`` is in bytes.
        """
        import pandas as pd

        logs = (read_log(self._store, run) for run in self.runs(name, archived=archived))
        rows = [
            step_record(log.info, entry, current=entry.seq in log.current_seqs) for log in logs for entry in log.entries
        ]
        frame = pd.DataFrame(rows, columns=list(STEP_COLUMNS))
        for column in ("started", "ended"):
            frame[column] = pd.to_datetime(frame[column], unit="s", utc=True, errors="coerce")
        return frame

    @property
    def doubt(self) -> str:
        """Why nothing in it is believed, with what to do; "" if it was written with the key in use."""
        return doubt(self._store)

    def __repr__(self) -> str:
        return _with(runs_text(self.runs(), self._store.location), printable(self.doubt))

    def _repr_html_(self) -> str:
        return _with_html(runs_html(self.runs(), self._store.location), printable(self.doubt))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Beside the table, in a notebook that can show it: the explorer."""
        shell = _notebook_shell()
        if shell is None:
            return {}
        try:
            from notebook_durable.widgets.explorer import Explorer, explorer_widget

            magics = "durable" in shell.magics_manager.magics["line"]
            expression = self._expression or (None if magics else "journal()")
            widget = explorer_widget(Explorer(self._settings, shell, expression))
        except Exception:  # without widgets, or with old ones, the table is there all the same
            logging.getLogger("notebook_durable").debug("the explorer could not be made", exc_info=True)
            return {}
        shown: dict[str, Any] = widget._repr_mimebundle_()
        bundle = shown[0] if isinstance(shown, tuple) else shown
        return {**bundle, "text/plain": repr(self), "text/html": self._repr_html_()}

    # -- answering

    def outcome(self, name: str, step: str, *, key: str | None = None, value: Any = _UNSET, retry: bool = False) -> str:
        """Settle an ``at_most_once`` step that was open when its kernel died, or whose recorded value is lost.

        Args:
            name: the workflow.
            step: the step, as its error names it ("charge", or "charge #2" for the second of that name).
            key: the run's key.
            value: it happened, and this is its result.
            retry: it did not happen: call it again.

        Returns:
            What was done, for people.

        Raises:
            ConfigurationError: if there is no such step, it isn't open, or not exactly one answer was given.
            StoreError: if somebody executes the run, or the journal can't be written.
        """
        if retry == (value is not _UNSET):
            raise ConfigurationError("say one of: --value EXPR (it happened), --retry (it did not happen)")
        check_believed(self._store)
        run = self.find(name, key)
        entry = _open_step(self._store, step, run)
        if retry:
            answered = entry.without_value()._replace(
                status=EntryStatus.INTERRUPTED, attempts=max(0, entry.attempts - 1), note="answered: retry"
            )
            said = "will be called again"
        else:
            payload = DefaultCodec().encode(value)
            answered = entry.with_value(payload)._replace(
                status=EntryStatus.SUCCEEDED,
                ended_at=entry.started_at,
                note="answered: this outcome was supplied by hand",
            )
            said = f"has the value that you gave ({payload.value_type})"
        self._store.amend(run.id, [answered])
        return f"step '{entry.key}' of '{run.run}' {said} when its cell is run again"

    def share(self, name: str) -> str:
        """Let every notebook use the runs of a workflow; returns what was done."""
        return self._set_notebook(name, None, "may be used by every notebook")

    def moved(self, name: str, notebook: str | None) -> str:
        """Make the runs of a workflow belong to this notebook; returns what was done."""
        return self._set_notebook(name, notebook, f"belong to {notebook} now" if notebook else "may be used anywhere")

    def _set_notebook(self, name: str, notebook: str | None, said: str) -> str:
        count = self._store.set_notebook(name, notebook)
        if not count:
            self.find(name)  # raises, listing what there is
        return f"{count} run{'' if count == 1 else 's'} of '{name}' {said}"

    def close(self) -> None:
        """Close the store, unless it was passed as an object."""
        if self._owns_store:
            self._store.close()


class _OwnStore:
    """A store that is closed when nobody holds it any more: nobody closes what ``journal()`` in a cell has made.

    A plan holds it as well: ``journal().gc().apply()``.
    """

    def __init__(self, store: Store) -> None:
        self._inner = store
        weakref.finalize(self, store.close)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class StepsView:
    """The steps of one run, to be displayed."""

    def __init__(self, run: RunInfo, entries: Sequence[Entry], doubt: str = "") -> None:
        self.run = run
        self.entries = entries
        self._doubt = printable(doubt)

    def __repr__(self) -> str:
        return _with(steps_text(self.run, self.entries), self._doubt)

    def _repr_html_(self) -> str:
        return _with_html(steps_html(self.run, self.entries), self._doubt)


def _is_lost(store: Store, run: RunInfo, entry: Entry) -> bool:
    """Tell whether a recorded value can't be handed back any more."""
    try:
        DefaultCodec().decode(store.payload(run.id, entry))
    except (DamagedValueError, OutdatedValueError):
        return True
    except Exception:  # noqa: BLE001  a class of the notebook, a serializer of the user's: nothing is lost
        return False
    return '"changed"' in entry.code.inputs  # an input that can't be put into its state is lost only in its kernel


def _with(text: str, doubt: str) -> str:
    return f"{text}\n{doubt}" if doubt else text


def _with_html(html: str, doubt: str) -> str:
    return f"{html}<p>{escape(doubt)}</p>" if doubt else html


def _notebook_shell() -> Any:
    """IPython in a kernel, asked by a front end that gives its cells ids: one with a screen. Else None."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel") or not hasattr(shell, "get_parent"):
        return None
    parent = shell.get_parent()
    return shell if isinstance(parent, dict) and (parent.get("metadata") or {}).get("cellId") else None


def _open_step(store: Store, step: str, run: RunInfo) -> Entry:
    entries = store.read(run.id)
    once = [entry for entry in entries if entry.at_most_once and entry.intact]
    is_open = [e for e in once if e.status is EntryStatus.RUNNING and e.ended_at is None]
    is_open += [e for e in once if e.status is EntryStatus.SUCCEEDED and _is_lost(store, run, e)]
    # Of a damaged row only the name is believed. In a journal of another key all are: it can't be amended.
    is_open += [
        Entry(e.seq, e.name, e.occurrence, EntryStatus.RUNNING, started_at=e.started_at, at_most_once=True)
        for e in entries
        if not e.intact
    ]
    # "charge" is the first of its name, if that is open: it is what the error and the list below call it.
    found = [e for e in is_open if str(e.key) == step] or [e for e in is_open if e.name == step]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f'"{e.key}"' for e in is_open) or "none"
    if not found:
        raise ConfigurationError(f"'{run.run}' has no open at_most_once step '{step}'; open are: {names}")
    raise ConfigurationError(f"several steps '{step}' of '{run.run}' are open: say which of {names}")
