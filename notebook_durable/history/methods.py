"""What can be asked of a journal's history, by name: the methods of ``journal()`` that the commands are made of."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from notebook_durable.errors import ConfigurationError
from notebook_durable.history.answers import reject, resolve, resolve_text, tell
from notebook_durable.history.collect import collect
from notebook_durable.history.diff import DiffView, diff, sides
from notebook_durable.history.listing import HistoryView, history
from notebook_durable.history.log import RunLog, find_run, read_log
from notebook_durable.history.page import View
from notebook_durable.history.removal import Plan, forget, rewind
from notebook_durable.history.stats import StatsView, stats
from notebook_durable.history.transfer import adopt, export, place, plan_import
from notebook_durable.history.trusting import TrustPlan, check_believed, doubt, trust
from notebook_durable.history.values import Recorded, recorded
from notebook_durable.history.verifying import VerifyView, verify
from notebook_durable.history.why import WhyView, why
from notebook_durable.model import Ask, RunInfo
from notebook_durable.protocols import Checked, Serializer, Store

__all__ = ["HistoryMethods"]

_AnyView = TypeVar("_AnyView", bound=View)


class HistoryMethods:
    """Questions about the runs of one store.

    Args:
        store: the journal.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def runs(self, workflow: str | None = None, *, archived: bool = False) -> Sequence[RunInfo]:
        """List runs, newest first.

        Args:
            workflow: only those of this name.
            archived: also those that a later run has replaced.
        """
        return self._store.runs(workflow, archived=archived)

    def find(self, name: str, key: str | None = None, run: int | None = None) -> RunInfo:
        """Return the newest run of a workflow, or the one with this number, archived or not.

        Raises:
            ConfigurationError: if there is none, or several keys and none was given; lists what there is.
        """
        return find_run(self._store, name, key, run)

    def _doubted(self, view: _AnyView) -> _AnyView:
        """Say below a view why nothing in the journal is believed, if that is so."""
        view.add(doubt(self._store))
        return view

    def steps(self, name: str) -> Sequence[str]:
        """List the names of a workflow's steps, in all its runs: "load", "load #2"."""
        logs = (read_log(self._store, run, payloads=False) for run in self.runs(name, archived=True))
        return list(dict.fromkeys(str(key) for log in logs for key in log.versions))

    def why(self, name: str, step: str | None = None, *, key: str | None = None, run: int | None = None) -> WhyView:
        """Say for each step of the latest execution, or one of them, why it ran, or that it was replayed.

        Args:
            name: the workflow.
            step: "load" (all calls of that name), or "load #2".
            key: the run's key.
            run: the run's number; None: the newest.
        """
        return self._doubted(why(self._store, self._log(name, key, run), step))

    def history(self, name: str, *, key: str | None = None, run: int | None = None) -> HistoryView:
        """List a workflow's runs, archived ones too, their executions, and each step's versions in one run.

        Args:
            name: the workflow.
            key: only runs with this key.
            run: number of the run whose steps are listed; None: the newest.
        """
        keys = {one.run.key for one in self.runs(name, archived=True)} if key is None else {key}
        shown = self.find(name, key, run) if run is not None or len(keys) < 2 else None
        logs = self._logs(name, key)
        of = next((log for log in logs if shown and log.info.id == shown.id), None)
        return self._doubted(history(name, logs, of))

    def recorded(self, name: str, step: str, *, key: str | None = None, run: int | None = None) -> Recorded:
        """Return a recorded value as it lies in the journal; ``.value()`` brings it back, ``.payload`` is its bytes.

        Args:
            name: the workflow.
            step: "load", "load #2", or an older version of it: "load@1" (see ``history``).
            key: the run's key.
            run: the run's number; None: the newest.

        Raises:
            ReplayError: if the step has no value.
            DamagedValueError: if its bytes are not what was recorded.
            UntrustedJournalError: if the journal was written with another key, and the value is not JSON.
        """
        return recorded(self._store, self._log(name, key, run), step)

    def load(
        self,
        name: str,
        step: str,
        *,
        key: str | None = None,
        run: int | None = None,
        serializer: Serializer | None = None,
    ) -> Any:
        """Return the value that a step recorded; arguments as of :meth:`recorded`.

        Args:
            serializer: the object that wrote it, if that was none of the built-in ones.

        Raises:
            ReplayError: if it has none that can be brought back here and now; says what to do.
        """
        return self.recorded(name, step, key=key, run=run).value(serializer)

    def diff(
        self,
        name: str,
        *,
        runs: Sequence[int] | None = None,
        executions: Sequence[int] | None = None,
        key: str | None = None,
    ) -> DiffView:
        """Compare two runs, or two executions of one, step by step: code, inputs, values.

        Args:
            name: the workflow.
            runs: the numbers of two runs; None: the newest two, or the newest executions if there is one run only.
            executions: the numbers of two executions, of the newest run or the one that ``runs`` names.
            key: the run's key.

        Raises:
            ConfigurationError: if there are no two to compare.
        """
        wanted = None if runs is None else list(runs)
        for what, numbers, fits in (("runs", wanted, (1, 2)), ("executions", executions, (2,))):
            if numbers is not None and len(numbers) not in fits:
                raise ConfigurationError(f"{what}: two numbers are compared, not {len(numbers)}")
        exact = self.find(name, key, wanted[0] if wanted else None)
        return self._doubted(diff(self._store, *sides(self._logs(name, exact.run.key), wanted, executions)))

    def _log(self, name: str, key: str | None, run: int | None) -> RunLog:
        return read_log(self._store, self.find(name, key, run))

    def _logs(self, name: str, key: str | None) -> list[RunLog]:
        found = [run for run in self.runs(name, archived=True) if key is None or run.run.key == key]
        if not found:
            self.find(name, key)  # raises, listing what there is
        return [read_log(self._store, run) for run in found]

    # -- answering: through the run's mailbox, whoever executes it

    def resolve(self, name: str, promise: str, value: Any, *, key: str | None = None) -> str:
        """Answer a promise (``ctx.promise``) that waits, or will when its cell is run again.

        Args:
            name: the workflow.
            promise: the promise, as ``ctx.promise`` names it ("publish?"; "publish? #2" for the second of that name).
            value: the answer.
            key: the run's key.

        Returns:
            What was done, for people.

        Raises:
            ConfigurationError: if no such promise is open, or it doesn't take this answer; says which it takes.
        """
        check_believed(self._store)
        return resolve(self._store, self._log(name, key, None), promise, value, now=time.time())

    def resolve_text(self, name: str, promise: str, text: str, *, key: str | None = None) -> str:
        """As :meth:`resolve`, with an answer as somebody types it: one of the choices, JSON, or plain text."""
        check_believed(self._store)
        return resolve_text(self._store, self._log(name, key, None), promise, text, now=time.time())

    def reject(self, name: str, promise: str, why: str = "", *, key: str | None = None) -> str:
        """End a promise with a TerminalError in its cell; arguments as of :meth:`resolve`."""
        check_believed(self._store)
        return reject(self._store, self._log(name, key, None), promise, why, now=time.time())

    def tell(self, name: str, ask: str, step: str | None = None, *, key: str | None = None) -> str:
        """Ask something of a run that is being executed, as the buttons below its cell do.

        Args:
            name: the workflow.
            ask: "retry", "give up", "pause" or "resume" a step that waits, or "stop" before the next step.
            step: which step; not for "stop".
            key: the run's key.

        Returns:
            What was done, for people. It takes effect within a second.

        Raises:
            ConfigurationError: if the run is not executed, or the step doesn't wait.
        """
        known = [Ask.RETRY, Ask.GIVE_UP, Ask.PAUSE, Ask.RESUME, Ask.STOP]
        if ask not in known:
            raise ConfigurationError(f"a run can be asked to {', '.join(known)}, not {ask!r:.80}")
        check_believed(self._store)
        return tell(self._store, self._log(name, key, None), Ask(ask), step, now=time.time())

    # -- keeping house

    def verify(self, progress: Callable[[Checked], None] | None = None) -> VerifyView:
        """Check every row and the bytes of every value. Nothing is changed.

        Args:
            progress: is told how far it is.

        Returns:
            What was found: ``.problems``, ``.damaged``.

        Raises:
            UntrustedJournalError: if the journal was written with another key.
        """
        return verify(self._store, progress)

    def stats(self, name: str | None = None, *, key: str | None = None, run: int | None = None) -> StatsView:
        """Say what takes how much room and time, by run; the largest first.

        Args:
            name: only this workflow, by step too.
            key: only runs with this key.
            run: only the run with this number.

        Returns:
            ``.runs``, ``.steps`` and ``.disk`` as data.
        """
        if name is None and (key is not None or run is not None):
            raise ConfigurationError("--key and --run need the NAME of a workflow")
        found = [one for one in self.runs(name, archived=True) if key is None or one.run.key == key]
        if name is not None and (run is not None or not found):
            found = [self.find(name, key, run)]
        return stats(self._store, name, (read_log(self._store, one, payloads=False) for one in found), now=time.time())

    def trust(self, *, key_file: str | os.PathLike[str] | None = None) -> TrustPlan:
        """Plan to believe a journal that was written with another key: its values are unpickled from then on.

        Args:
            key_file: the key that it was written with, if it is at hand: every mark and every value is checked then,
                and what fails is not signed.

        Returns:
            What is in the journal, and what trusting it means; ``.apply()`` signs it with your key.

        Raises:
            ConfigurationError: if ``key_file`` is another key.
            RunBusyError, RunOpenError: if a run of it is executed.
        """
        return trust(self._store, None if key_file is None else place(key_file))

    def export(
        self,
        name: str,
        file: str | os.PathLike[str],
        *,
        key: str | None = None,
        run: int | None = None,
        values: bool = True,
    ) -> str:
        """Write a run into a new file, for another machine: everything that is kept of it, authenticated with your key.

        Args:
            name: the workflow.
            file: must not exist. Whoever can read it can read the run.
            key: the run's key.
            run: the run's number; None: the newest.
            values: without them everything is shown, and the steps run again where the file is imported.

        Returns:
            What was done, for people.

        Raises:
            ConfigurationError: if there is no such run, or the file can't be written.
        """
        return export(self._store, self.find(name, key, run), place(file), values=values, now=time.time())

    def import_run(
        self,
        file: str | os.PathLike[str],
        *,
        name: str | None = None,
        replace: bool = False,
        trust: bool = False,
        values: bool = True,
    ) -> str:
        """Take in a run that :meth:`export` has written; its steps replay here.

        Args:
            file: the file.
            name: the workflow's name here; None: as it was.
            replace: archive a run of that name (it is not deleted).
            trust: believe a file that was exported with another key, as you would a program: its values are unpickled
                when they replay, which can run any code.
            values: without them the steps run again; a file of another key need not be trusted for that.

        Returns:
            What was done, for people.

        Raises:
            UntrustedExportError: if it was exported with another key.
            StoreError: if it is damaged.
            ConfigurationError: if there is such a run already, or no such file.
        """
        return adopt(
            self._store, place(file), name, replace=replace, trust=trust, values=values, now=time.time()
        )  # fmt: skip

    def plan_import(
        self,
        file: str | os.PathLike[str],
        *,
        name: str | None = None,
        replace: bool = False,
        trust: bool = False,
        values: bool = True,
    ) -> Plan:
        """Show what is in an exported run, and which types would be unpickled; arguments as of :meth:`import_run`.

        Returns:
            What is in it; ``.apply()`` imports it.
        """
        return plan_import(
            self._store, place(file), name, replace=replace, trust=trust, values=values, now=time.time()
        )  # fmt: skip

    # -- taking away: what is returned shows what will go, and does it with `.apply()`

    def rewind(self, name: str, to: str, *, key: str | None = None) -> Plan:
        """Plan that a step, and what came after it in the latest execution, runs again next time.

        Args:
            name: the workflow.
            to: the first step that runs again.
            key: the run's key.

        Returns:
            What will run again; ``.apply()`` does it. The values stay in the history.
        """
        check_believed(self._store)
        return rewind(self._store, self._log(name, key, None), to)

    def forget(self, name: str, step: str | None = None, *, key: str | None = None, run: int | None = None) -> Plan:
        """Plan to delete all runs of a workflow, or all entries of one of its steps, for good.

        Args:
            name: the workflow.
            step: "load" (all calls of that name), or "load #2"; None: everything.
            key: only runs with this key.
            run: only the run with this number.

        Returns:
            What will be deleted; ``.apply()`` does it.
        """
        logs = self._logs(name, key)
        if run is not None:
            exact = self.find(name, key, run)
            logs = [log for log in logs if log.info.id == exact.id]
        return forget(self._store, logs, step)

    def gc(
        self,
        *,
        keep_runs: int | None = None,
        older_than: str | float | timedelta | None = None,
        max_size: str | int | None = None,
    ) -> Plan:
        """Plan to delete archived runs and history; never what a run stands at, nor a run that is being executed.

        Args:
            keep_runs: keep the newest archived runs of each workflow and key, this many.
            older_than: what was neither recorded nor replayed for so long: "30d", seconds, or a timedelta.
            max_size: the oldest first, until the values that remain fit in: "10GB", or bytes.

        Returns:
            What will be deleted; ``.apply()`` does it. Without arguments: what is older than 30 days.
        """
        return collect(self._store, now=time.time(), keep_runs=keep_runs, older_than=older_than, max_size=max_size)
