"""The errors of notebook_durable, each with its remedy in the message.

::

    Exception
    +-- DurableError                  everything of ours that you may want to catch at once
    |   +-- ConfigurationError        a setting, name, key or option that can't be used
    |   |   `-- MissingExtraError     an optional library is not installed
    |   +-- UsageError                the context was used in a way that can't work
    |   |   +-- NestedContextError    ``ctx`` used inside a step
    |   |   +-- ContextClosedError    ``ctx`` used after its cell or block ended
    |   |   +-- UnawaitedStepError    ``ctx.run(...)`` without ``await`` in an async cell
    |   |   `-- RunOpenError          the same run opened twice in one kernel
    |   +-- ReplayError               the journal can't give what the code asks for
    |   |   +-- JournalMismatchError  strict mode: the code left the recorded order
    |   |   +-- OutcomeUnknownError   an ``at_most_once`` step was open when its kernel died
    |   |   +-- UndefinedClassError   a value needs a class that is not defined yet
    |   |   `-- UnknownSerializerError  a value needs a serializer that was not passed
    |   +-- StepTimeoutError          an attempt took longer than its ``timeout=`` (a TimeoutError too)
    |   +-- NotStorableError          a result that no serializer can bring back
    |   `-- StoreError                the journal's file or folder
    |       +-- RunBusyError          another kernel holds the run
    |       +-- RunTakenOverError     another kernel took the run while this one worked
    |       +-- NotebookMismatchError the run belongs to another notebook
    |       +-- UntrustedJournalError written with another key
    |       |   `-- UntrustedExportError  the same, of an exported run
    |       +-- JournalFormatError    not a journal of ours, or of a newer version
    |       +-- JournalCorruptError   damaged file
    |       `-- JournalUnwritableError  read-only folder, full disk
    +-- TerminalError                 ends a step for good (Restate's name and meaning)
    `-- RetryableError                asks for a retry, with a wish when (Restate's name)

All of them survive pickle: their arguments are plain values, kept in ``args`` of :func:`_rebuild`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

__all__ = [
    "ConfigurationError",
    "ContextClosedError",
    "DamagedValueError",
    "DurableError",
    "JournalCorruptError",
    "JournalFormatError",
    "JournalMismatchError",
    "JournalUnwritableError",
    "MissingExtraError",
    "NestedContextError",
    "NotStorableError",
    "NotebookMismatchError",
    "OutcomeUnknownError",
    "OutdatedValueError",
    "ReplayError",
    "RetryableError",
    "RollbackLostError",
    "RunBusyError",
    "RunOpenError",
    "RunTakenOverError",
    "StepTimeoutError",
    "StoreError",
    "TerminalError",
    "UnawaitedStepError",
    "UndefinedClassError",
    "UndefinedNameError",
    "UnknownSerializerError",
    "UntrustedExportError",
    "UntrustedJournalError",
    "UsageError",
]


def _rebuild(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    # Not cls(*args): several classes have required keyword arguments and a computed message.
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class _Picklable(Exception):  # noqa: N818  a base that nobody sees
    """Pickles by message and attributes, whatever the constructor wants."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def quoted(path: str) -> str:
    """Return a path as it is to be typed, in a shell as behind ``%durable``: in quotes if it needs them."""
    import shlex  # rarely needed, and this module is loaded with the package

    return shlex.quote(path)


class DurableError(_Picklable):
    """Base of the errors that notebook_durable itself raises (not of your step's own)."""


# --- settings and usage -------------------------------------------------------------------


class ConfigurationError(DurableError):
    """A setting, name, key or option can't be used. Nothing was run."""


class MissingExtraError(ConfigurationError):
    """An optional library is needed and not installed.

    Attributes:
        library: the module that could not be imported.
        extra: the extra that installs it.
    """

    def __init__(self, library: str, extra: str, purpose: str = "") -> None:
        what = f" for {purpose}" if purpose else ""
        super().__init__(
            f"'{library}' is needed{what} and is not installed. Type: pip install 'notebook_durable[{extra}]'"
        )
        self.library = library
        self.extra = extra


class UsageError(DurableError):
    """The context was used in a way that can't work."""


class NestedContextError(UsageError):
    """``ctx`` was used inside a step.

    Attributes:
        step: the step that was running.
        call: what was asked of the context inside it.
    """

    def __init__(self, step: str, call: str) -> None:
        super().__init__(
            f"ctx.{call} was called inside step '{step}'. A step is one unit of the journal, so it can't contain "
            "another: call ctx from the cell itself, before or after this step, and pass the value in as an argument."
        )
        self.step = step
        self.call = call


class ContextClosedError(UsageError):
    """``ctx`` was used after its cell, block or function had ended."""

    def __init__(self, workflow: str, call: str) -> None:
        super().__init__(
            f"ctx.{call}: the execution of '{workflow}' that this ctx belongs to has ended. Use ctx inside its "
            f"%%durable cell or `with durable(...)` block, or open a new one there."
        )
        self.workflow = workflow
        self.call = call


class UnawaitedStepError(UsageError):
    """A step of an async cell was created and never awaited, so it never ran; or nobody waited for its end.

    Attributes:
        steps: the names of those steps, in call order.
        running: True if they were begun, in a task that nobody awaited, and stopped at the end of the cell.
    """

    def __init__(self, steps: Sequence[str], running: bool = False) -> None:
        names = ", ".join(f"'{name}'" for name in steps)
        one = len(steps) == 1
        what = f"step{'' if one else 's'} {names} {'was' if one else 'were'}"
        super().__init__(
            f"{what} still running when the cell ended, and stopped there: await the task that runs "
            f"{'it' if one else 'them'} before the end."
            if running
            else f"{what} not awaited and did not run: write `await ctx.run({steps[0]!r}, ...)`, or hand the call to "
            "asyncio.gather."
        )
        self.steps = tuple(steps)
        self.running = running


class RunOpenError(UsageError):
    """The same run is already open in this kernel."""

    def __init__(self, workflow: str, key: str) -> None:
        super().__init__(
            f"the run {_run_label(workflow, key)} is already open in this kernel. Finish that execution first, "
            "or give this one a key of its own: --key NAME in the cell, key='NAME' in Python."
        )
        self.workflow = workflow
        self.key = key


# --- replay -------------------------------------------------------------------------------


class ReplayError(DurableError):
    """The journal can't give what the code asks for. Nothing was lost or overwritten."""


class JournalMismatchError(ReplayError):
    """Strict mode: the code asked for another step than the one recorded at this place.

    Attributes:
        position: place in the run, from 0.
        recorded: names of the recorded steps, in order.
        current: names of the steps asked for so far, in order; the last one is the mismatch.
    """

    def __init__(self, workflow: str, position: int, recorded: Sequence[str], current: Sequence[str]) -> None:
        super().__init__(
            f"'{workflow}' left its recorded order at step {position + 1} (--strict):\n"
            + _side_by_side(recorded, current, position)
            + "\nPut the steps back in order, drop --strict, or start over with --fresh."
        )
        self.workflow = workflow
        self.position = position
        self.recorded = tuple(recorded)
        self.current = tuple(current)


class OutcomeUnknownError(ReplayError):
    """An ``at_most_once`` step was open when its kernel died: it may or may not have had its effect.

    Or it has had its effect, and its recorded value can't be handed back.

    Attributes:
        workflow, key, step: which step.
        started_at: when its last attempt began, in seconds since the epoch.
        reason: why its value is lost; "" if there was none yet.
    """

    def __init__(self, workflow: str, key: str, step: str, started_at: float, reason: str = "") -> None:
        name = workflow if not key else f"{workflow} --key {key}"
        what = (
            f"has run, but {reason}, and at_most_once=True forbids a second call. Type one of\n"
            if reason
            else "was running when its kernel died, so it may or may not have had its effect, and at_most_once=True "
            "forbids a second call. Find out which, then type one of\n"
        )
        super().__init__(
            f"step '{step}' of {_run_label(workflow, key)} {what}"
            f'    %durable outcome {name} "{step}" --value EXPR     (it happened, and this is its result)\n'
            f'    %durable outcome {name} "{step}" --retry          (it did not happen: call it again)\n'
            "and run the cell again."
        )
        self.workflow = workflow
        self.key = key
        self.step = step
        self.started_at = started_at
        self.reason = reason


class UndefinedClassError(ReplayError):
    """A recorded value is of a class that this kernel has not defined yet. Its bytes are kept.

    Attributes:
        class_name: the class, as ``module.qualname``.
        step: the step whose value needs it ("" outside a step).
    """

    def __init__(self, class_name: str, step: str = "") -> None:
        of = f" of step '{step}'" if step else ""
        super().__init__(
            f"the recorded value{of} needs the class '{class_name}', which is not defined in this kernel. Run the cell "
            "that defines it, then run this cell again; the recorded value is kept."
        )
        self.class_name = class_name
        self.step = step


class RollbackLostError(DurableError):
    """A rollback had been cut short, and the cell ended well this time: the step that had failed is gone from it.

    Attributes:
        workflow: the run's workflow.
        undone: the steps that had undone something.
    """

    def __init__(self, workflow: str, undone: Sequence[str]) -> None:
        names = ", ".join(f"'{name}'" for name in undone)
        super().__init__(
            f"'{workflow}' was being rolled back when its kernel stopped: {names} had undone part of it. The cell was "
            "changed since and ended well, so the rest was not undone, and results of steps that were undone replayed: "
            "don't use them. Undo the rest by hand if need be; the next execution starts over."
        )
        self.workflow = workflow
        self.undone = list(undone)


class UndefinedNameError(DurableError, NameError):
    """A step reads a name that this kernel has not defined yet, and its recorded result was computed with it.

    Raised before the step runs: it would fail, perhaps after half of its work, and what is recorded would be gone by.

    Attributes:
        undefined: the name.
        step: the step that reads it.
    """

    def __init__(self, undefined: str, step: str) -> None:
        super().__init__(
            f"step '{step}' reads '{undefined}', which is not defined in this kernel. Its recorded result was computed "
            "with it, and is kept. Run the cell that defines it, then run this cell again."
        )
        self.undefined = undefined
        self.step = step


class OutdatedValueError(ReplayError):
    """A recorded value can't be read by the libraries that are installed now. Its bytes are kept.

    Attributes:
        libraries: those that it was written with, with versions.
        present: the same libraries as they are now.
    """

    def __init__(self, libraries: str, present: str, reason: str) -> None:
        super().__init__(
            f"the recorded value was written with {libraries or 'other libraries'}, and {present or 'those of today'} "
            f"can't read it ({reason}). It is computed anew; install the versions of then to have it back."
        )
        self.libraries = libraries
        self.present = present
        self.reason = reason


class StepTimeoutError(DurableError, TimeoutError):
    """An attempt took longer than the ``timeout=`` of its step. It is retried under the step's policy.

    Attributes:
        step: the step's name.
        timeout: seconds.
    """

    def __init__(self, step: str, timeout: float) -> None:
        super().__init__(f"step '{step}' took longer than its timeout of {timeout:g} s")
        self.step = step
        self.timeout = timeout
        #: Whose limit it was, while it is on its way there: a run inside of the step must not take it for its own.
        self.limit: Any = None


class UnknownSerializerError(ReplayError):
    """A recorded value was written by a serializer that this step did not pass.

    Attributes:
        serializer: the name recorded with the value.
        step: the step whose value it is.
    """

    def __init__(self, serializer: str, step: str = "") -> None:
        of = f" of step '{step}'" if step else ""
        super().__init__(
            f"the recorded value{of} was written by the serializer '{serializer}'. Pass that object again "
            f"(serializer=...), or give the step a new name to compute it anew."
        )
        self.serializer = serializer
        self.step = step


class NotStorableError(DurableError):
    """A value that no serializer can write down and bring back as it is.

    Attributes:
        type_name: the type at fault.
        path: where it is inside the value, such as ``['model'].lock`` ("" for the value itself).
        reason: why, in a few words.
    """

    def __init__(self, type_name: str, path: str = "", reason: str = "", step: str = "") -> None:
        where = f" at {path} inside the value" if path else ""
        why = f" ({reason})" if reason else ""
        of = f"the result of step '{step}' is" if step else "this value is"
        super().__init__(
            f"{of} not storable: {type_name}{where}{why}. Return the data instead of the object, or pass serializer=."
        )
        self.type_name = type_name
        self.path = path
        self.reason = reason
        self.step = step


# --- store --------------------------------------------------------------------------------


class StoreError(DurableError):
    """The journal's file or folder can't be used as asked. Nothing was overwritten."""


class RunBusyError(StoreError):
    """Another kernel holds the run.

    Attributes:
        workflow, key: the run.
        pid, host: the process that holds it.
        since: since when, in seconds since the epoch.
    """

    def __init__(self, workflow: str, key: str, pid: int, host: str, since: float) -> None:
        super().__init__(
            f"the run {_run_label(workflow, key)} is being executed by process {pid} on {host} since {_when(since)}. "
            "Wait for it, stop it, or use another run: --key NAME."
        )
        self.workflow = workflow
        self.key = key
        self.pid = pid
        self.host = host
        self.since = since


class RunTakenOverError(StoreError):
    """Another kernel took the run over while this one was working; this commit was refused.

    The value is not lost: it was kept as a detached entry of the run.
    """

    def __init__(self, workflow: str, key: str, step: str, pid: int, host: str) -> None:
        super().__init__(
            f"the run {_run_label(workflow, key)} was taken over by process {pid} on {host}, so the result of step "
            f"'{step}' was not journaled as this run's; it is kept as a detached entry. Go on in that kernel."
        )
        self.workflow = workflow
        self.key = key
        self.step = step
        self.pid = pid
        self.host = host


class NotebookMismatchError(StoreError):
    """The run was recorded by another notebook.

    Attributes:
        recorded: path of the notebook that the run belongs to.
        current: path of the notebook that asked for it.
    """

    def __init__(self, workflow: str, key: str, recorded: str, current: str) -> None:
        super().__init__(
            f"the run {_run_label(workflow, key)} belongs to {recorded}, not to {current} (a duplicated notebook has "
            "the same names). Type one of\n"
            f"    %%durable {workflow} --key NAME       (a run of this notebook's own)\n"
            f"    %durable share {workflow}             (both notebooks use one run)\n"
            f"    %durable moved {workflow}             (the notebook was moved or renamed)"
        )
        self.workflow = workflow
        self.key = key
        self.recorded = recorded
        self.current = current


class UntrustedJournalError(StoreError):
    """The journal was written with another key: nothing in it is unpickled.

    Attributes:
        store: the journal's folder.
        key_file: the key in use.
        key_id: names the key that it was written with, as it says.
        whose: "moved" (a key of this user's, which lies at ``found``), "lost" (a key of this user's, which was at
            ``found``), "stranger" (never this user's, as far as is known here).
        found: see ``whose``.
        made_by: who made the journal, as it says itself; anybody could write that there.
    """

    def __init__(
        self, store: str, key_file: str, *, key_id: str = "", whose: str = "stranger", found: str = "",
        made_by: str = "",
    ) -> None:  # fmt: skip
        said = f" It says that it was made {made_by} (which anybody can write there)." if made_by else ""
        remedy = {
            "moved": f"It is a key of yours, which lies at {found}. Type: "
            f"%config Durable.key_file = {found!r} (in the shell: export NOTEBOOK_DURABLE_KEY_FILE={quoted(found)})",
            "lost": f"It was a key of yours, at {found}, and is not there any more. Restore it from a backup, or "
            "point NOTEBOOK_DURABLE_KEY_FILE or %config Durable.key_file at it. If it is gone for good, and nobody "
            f"else could write to this journal since: %durable trust {quoted(store)}",
        }.get(
            whose,
            f"That key was never yours, as far as is known here.{said} Listing it, previews and plain (JSON) values "
            "work. If it is yours, from another machine, point NOTEBOOK_DURABLE_KEY_FILE or %config Durable.key_file "
            "at that key; if you trust who made it as you would with a program of theirs: "
            f"%durable trust {quoted(store)}",
        )
        super().__init__(
            f"the journal {store} was written with another key than {key_file}, so nothing in it is believed. {remedy}"
        )
        self.store = store
        self.key_file = key_file
        self.key_id = key_id
        self.whose = whose
        self.found = found
        self.made_by = made_by


class UntrustedExportError(UntrustedJournalError):
    """The file of an exported run was written with another key: nothing of it is imported.

    Attributes:
        store: the file.
        key_file: the key in use.
    """

    def __init__(self, file: str, key_file: str) -> None:
        typed = quoted(file)
        StoreError.__init__(
            self,
            f"{file} was exported with another key than {key_file}, so nobody can tell who wrote what is in it, and "
            "nothing was imported: a value that replays is unpickled, and that can run any code. Type one of\n"
            f"    %durable import {typed} --trust        (lists what will be unpickled, and asks)\n"
            f"    %durable import {typed} --no-values    (only to look at: its steps run again)\n"
            "If it is yours, from another machine: NOTEBOOK_DURABLE_KEY_FILE or %config Durable.key_file can name a "
            "copy of that machine's key.",
        )
        self.store = file
        self.key_file = key_file


class DamagedValueError(StoreError):
    """The bytes of a recorded value are not what was recorded: flipped, cut off, missing or another value's.

    Attributes:
        step: whose value it is.
        reason: what is wrong.
    """

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(
            f"the recorded value of step '{step}' is damaged ({reason}). Run its cell again: it is computed anew."
        )
        self.step = step
        self.reason = reason


class JournalFormatError(StoreError):
    """The file is not a journal of ours, or was written by a newer version."""


class JournalCorruptError(StoreError):
    """The journal's file is damaged. It was left as it is."""


class JournalUnwritableError(StoreError):
    """The journal can't be written: read-only folder, full disk, no permission.

    Attributes:
        path: the file or folder.
        reason: the system's own words.
    """

    def __init__(self, path: str, reason: str, remedy: str = "") -> None:
        super().__init__(f"the journal at {path} can't be written: {reason}." + (f" {remedy}" if remedy else ""))
        self.path = path
        self.reason = reason


# --- what steps raise ---------------------------------------------------------------------


class TerminalError(_Picklable):
    """Ends a step for good: it is not retried, and it is journaled.

    Raise it in a step to say "trying again can't help". It is also what a step's caller gets when the
    retry policy gives up; then ``__cause__`` is the last error. Name and meaning are Restate's
    (https://docs.restate.dev, "Error handling"); Restate's own carries no cause and no history.

    Args:
        message: what happened.
        status_code: an HTTP-like code, as in Restate.
        metadata: strings that travel with the error, as in Restate.

    Attributes:
        step: the step's name, None while the error is still inside its step.
        attempts: how many calls of the step's function were begun.
        history: one mapping for each failed attempt that was recorded, oldest first, with the keys ``attempt``,
            ``type``, ``message``, ``traceback``, ``at`` (seconds since the epoch) and ``duration`` (seconds).
        replayed: True when it comes from the journal.
    """

    def __init__(self, message: str = "", status_code: int = 500, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.metadata = {str(key): str(value) for key, value in metadata.items()} if metadata is not None else None
        self.step: str | None = None
        self.attempts: int = 0
        self.history: tuple[Mapping[str, Any], ...] = ()
        self.replayed: bool = False


class RetryableError(_Picklable):
    """Raise it in a step to have it tried again, optionally after a wait of your choice (Restate's name).

    Args:
        message: what happened.
        status_code: an HTTP-like code; the TerminalError that ends the retries carries it on.
        retry_after: seconds or timedelta until the next attempt, instead of the policy's own delay.
    """

    def __init__(self, message: str = "", status_code: int = 500, retry_after: Any = None) -> None:
        super().__init__(message)
        if isinstance(retry_after, timedelta):
            retry_after = retry_after.total_seconds()
        if retry_after is not None and not (isinstance(retry_after, (int, float)) and 0 <= retry_after < float("inf")):
            raise ConfigurationError(
                f"retry_after must be a timedelta or a number of seconds, 0 or more, not {retry_after!r}"
            )
        self.message = message
        self.status_code = status_code
        self.retry_after = retry_after


# --- helpers for messages -----------------------------------------------------------------


def _run_label(workflow: str, key: str) -> str:
    return f"'{workflow}'" if not key else f"'{workflow}' (key '{key}')"


def _when(timestamp: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(timestamp).strftime("%Y-%m-%d %H:%M:%S")


def _side_by_side(recorded: Sequence[str], current: Sequence[str], position: int) -> str:
    width = max([len(name) for name in recorded] + [len("recorded")])
    rows = [f"    {'':>4}  {'recorded':<{width}}  current"]
    for index in range(max(0, position - 3), max(min(len(recorded), position + 3), position + 1)):
        left = recorded[index] if index < len(recorded) else "(nothing)"
        right = current[index] if index < len(current) else ""
        mark = "->" if index == position else ""
        rows.append(f"    {mark:>2}{index + 1:>3} {left:<{width}}  {right}")
    return "\n".join(rows)
