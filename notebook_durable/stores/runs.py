"""Runs and executions in SQL: finding, taking, ending, listing. Writes happen in the caller's transaction."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from notebook_durable.errors import ConfigurationError, NotebookMismatchError, StoreError
from notebook_durable.model import Claim, ExecutionInfo, Outcome, Owner, RunId, RunInfo, RunStatus
from notebook_durable.stores import extras
from notebook_durable.stores.rows import PLACES, Damaged, text_of, whole

__all__ = ["SHARED", "Run", "alive", "end", "executions", "find", "forget", "listed", "newest", "owner_of", "take"]

#: The notebook of a run that any notebook may use.
SHARED = "*"
_MOST_STEPS = 10_000_000
_LATEST = 2.5e11
_NOBODY = Owner(0, "unknown host")
_COLUMNS = (
    "id, workflow, key, number, status, archived, created_at, ended_at, epoch, notebook, owner, since, lease_until"
)


@dataclass(frozen=True, slots=True)
class Run:
    """A row of ``runs``. ``since`` and ``lease_until`` belong to the last claim."""

    id: int
    run: RunId
    number: int
    status: RunStatus
    archived: bool
    created_at: float
    ended_at: float | None
    epoch: int
    notebook: str | None
    owner: Owner
    since: float
    lease_until: float | None


def _run(row: tuple[Any, ...]) -> Run:
    (id_, workflow, key, number, status, archived, created, ended, epoch, notebook, owner, since, lease) = row
    return Run(
        whole(id_), _run_id(text_of(workflow), text_of(key)), whole(number), _status(status), archived == 1,
        _time(created), None if ended is None else _time(ended), whole(epoch),
        None if notebook is None else text_of(notebook), _owner(owner), _time(since),
        None if lease is None else _time(lease),
    )  # fmt: skip


# A damaged file must not keep its runs from being listed: what isn't signed is read as far as it makes sense.


def _time(value: object) -> float:
    if not isinstance(value, (int, float)):
        raise Damaged(f"a time was expected, not {value!r:.40}")
    # Beyond the year 9999 (or NaN) it can't be shown.
    return float(value) if -_LATEST <= value <= _LATEST else 0.0


def _status(value: object) -> RunStatus:
    try:
        return RunStatus(text_of(value))
    except ValueError:
        return RunStatus.INTERRUPTED


def _run_id(workflow: str, key: str) -> RunId:
    try:
        return RunId(workflow, key)
    except ConfigurationError as error:
        raise Damaged(f"a run with an impossible name, {workflow!r:.40}") from error


def _owner(value: object) -> Owner:
    try:
        fields = json.loads(text_of(value))
        return Owner(int(fields["pid"]), str(fields["host"]), str(fields["boot"]), str(fields["started"]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return _NOBODY


def _owner_text(owner: Owner) -> str:
    return json.dumps(asdict(owner))


def newest(connection: sqlite3.Connection, run: RunId) -> Run | None:
    """Return the newest run of this name, which is never an archived one."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM runs WHERE workflow = ? AND key = ? AND archived = 0 ORDER BY number DESC LIMIT 1",  # noqa: S608
        (run.workflow, run.key),
    ).fetchone()
    return None if row is None else _run(row)


def find(connection: sqlite3.Connection, run_id: int, where: str) -> Run:
    """Return a run by its number in the store.

    Raises:
        StoreError: if there is none.
    """
    row = connection.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run_id,)).fetchone()  # noqa: S608
    if row is None:
        raise StoreError(f"there is no run with the id {run_id} in the journal {where}. List them with %durable.")
    return _run(row)


def owner_of(connection: sqlite3.Connection, run_id: int) -> tuple[int, Owner]:
    """Return epoch and owner of a run's last claim; epoch -1 if the run is not there."""
    row = connection.execute("SELECT epoch, owner FROM runs WHERE id = ?", (run_id,)).fetchone()
    return (-1, _NOBODY) if row is None else (whole(row[0]), _owner(row[1]))


def alive(owner: Owner, me: Owner) -> bool:
    """Tell whether ``owner`` may still run, as far as can be seen from ``me``. (Only words depend on it, not locks.)"""
    if owner.host != me.host:
        return owner is not _NOBODY
    if owner.boot != me.boot:
        return False
    with suppress(PermissionError, OverflowError):
        if os.name == "posix" and owner.pid > 0:
            try:
                os.kill(owner.pid, 0)
            except ProcessLookupError:
                return False
    return owner.pid > 0


def check_notebook(found: Run | None, run: RunId, notebook: str | None) -> None:
    """Refuse a run that another notebook recorded.

    Raises:
        NotebookMismatchError: unless one of both is unknown, they are equal, or the run is shared.
    """
    recorded = None if found is None else found.notebook
    if recorded is not None and notebook is not None and recorded not in (SHARED, notebook):
        raise NotebookMismatchError(run.workflow, run.key, recorded, notebook)


def take(
    connection: sqlite3.Connection,
    run: RunId,
    owner: Owner,
    *,
    now: float,
    notebook: str | None,
    fresh: bool,
    start_over_after: Collection[RunStatus],
    lease_until: float | None,
) -> Claim:
    """Begin an execution of the newest run of this name, or of a new one; see ``Store.claim``."""
    found = newest(connection, run)
    previous = None if found is None else _close_open(connection, found.id, now)
    number = 1
    if found is not None and (fresh or found.status in start_over_after):
        # The epoch grows here too: whoever still believes to hold the old run is refused.
        connection.execute(
            "UPDATE runs SET archived = 1, epoch = epoch + 1, lease_until = NULL, status = ? WHERE id = ?",
            (RunStatus.INTERRUPTED if found.status is RunStatus.RUNNING else found.status, found.id),
        )
        notebook = found.notebook if found.notebook is not None else notebook
        number = found.number + 1
        found, previous = None, None
    if found is None:
        created = connection.execute(
            f"INSERT INTO runs ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, 0, ?, NULL, 0, ?, ?, ?, NULL)",  # noqa: S608
            (run.workflow, run.key, number, RunStatus.RUNNING, now, notebook, _owner_text(owner), now),
        )
        assert created.lastrowid is not None  # noqa: S101  an INSERT has one
        found = find(connection, created.lastrowid, "")
    connection.execute(
        "UPDATE runs SET epoch = epoch + 1, status = ?, ended_at = NULL, owner = ?, since = ?, lease_until = ?, "
        "notebook = coalesce(notebook, ?) WHERE id = ?",
        (RunStatus.RUNNING, _owner_text(owner), now, lease_until, notebook, found.id),
    )
    (last,) = connection.execute("SELECT max(number) FROM executions WHERE run_id = ?", (found.id,)).fetchone()
    execution = whole(last or 0) + 1
    connection.execute(
        "INSERT INTO executions VALUES (?, ?, ?, NULL, ?, ?)",
        (found.id, execution, now, Outcome.RUNNING, _owner_text(owner)),
    )
    return Claim(found.id, run, found.number, found.epoch + 1, execution, owner, previous)


def _close_open(connection: sqlite3.Connection, run_id: int, now: float) -> Outcome | None:
    """Close an execution that never ended as killed, and return how the last one ended."""
    connection.execute(
        "UPDATE executions SET outcome = ?, ended_at = ? WHERE run_id = ? AND outcome = ?",
        (Outcome.KILLED, now, run_id, Outcome.RUNNING),
    )
    row = connection.execute(
        "SELECT outcome FROM executions WHERE run_id = ? ORDER BY number DESC LIMIT 1", (run_id,)
    ).fetchone()
    if row is None:
        return None
    try:
        return Outcome(text_of(row[0]))
    except ValueError as error:
        raise Damaged(f"an execution with an impossible outcome, {row[0]!r:.40}") from error


def end(
    connection: sqlite3.Connection,
    claim: Claim,
    outcome: Outcome,
    status: RunStatus,
    now: float,
    used: Sequence[int] | None,
) -> bool:
    """End an execution; return False, with nothing changed, if a later claim exists."""
    changed = connection.execute(
        "UPDATE runs SET status = ?, ended_at = ?, lease_until = NULL WHERE id = ? AND epoch = ?",
        (status, now, claim.id, claim.epoch),
    )
    if changed.rowcount != 1:
        return False
    connection.execute(
        "UPDATE executions SET outcome = ?, ended_at = ? WHERE run_id = ? AND number = ?",
        (outcome, now, claim.id, claim.execution),
    )
    if used is not None:
        connection.execute(
            "INSERT OR REPLACE INTO used VALUES (?, ?, ?)", (claim.id, claim.execution, ranges_text(used))
        )
    return True


def executions(connection: sqlite3.Connection, run_id: int) -> list[ExecutionInfo]:
    """List the executions of a run, oldest first."""
    found = connection.execute(
        "SELECT executions.number, started_at, executions.ended_at, outcome, seqs FROM executions LEFT JOIN used "
        "ON used.run_id = executions.run_id AND used.execution = executions.number "
        "WHERE executions.run_id = ? ORDER BY executions.number",
        (run_id,),
    )
    return [
        ExecutionInfo(
            whole(number), _time(started), None if ended is None else _time(ended), _outcome(outcome),
            None if seqs is None else ranges_from(text_of(seqs)),
        )
        for number, started, ended, outcome, seqs in found.fetchall()
    ]  # fmt: skip


def _outcome(value: object) -> Outcome:
    try:
        return Outcome(text_of(value))
    except ValueError:
        return Outcome.KILLED


def ranges_text(numbers: Iterable[int]) -> str:
    """Write numbers down, those that follow each other as a range: "0-4,7,5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] + 1 == number:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def ranges_from(text: str) -> tuple[int, ...] | None:
    """Read what :func:`ranges_text` wrote; None if it is something else."""
    numbers: list[int] = []
    try:
        for part in filter(None, text.split(",")):
            first, _, last = part.partition("-")
            span = range(int(first), int(last or first) + 1)
            if len(numbers) + len(span) > _MOST_STEPS:
                return None
            numbers += span
    except ValueError:
        return None
    return tuple(numbers)


def forget(connection: sqlite3.Connection, run_id: int, seqs: Collection[int] | None) -> int:
    """Delete entries of a run with their attempts, or all of it; return how many entries."""
    extras.forget(connection, run_id, seqs)
    if seqs is None:
        count = connection.execute(f"DELETE FROM entries WHERE {PLACES}", (run_id, run_id)).rowcount  # noqa: S608
        for table in ("attempts", "detached", "executions", "used"):
            connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608
        connection.execute("DELETE FROM runs WHERE id = ?", (run_id,))
        return count
    count = 0
    for seq in seqs:
        # What a kernel recorded for this step after it had lost the run is shown nowhere: nobody else would delete it.
        connection.execute(
            "DELETE FROM detached WHERE run_id = ? AND name IN (SELECT name FROM entries WHERE place = (? << 32) + ?)",
            (run_id, run_id, seq),
        )
        count += connection.execute("DELETE FROM entries WHERE place = (? << 32) + ?", (run_id, seq)).rowcount
        connection.execute("DELETE FROM attempts WHERE run_id = ? AND seq = ?", (run_id, seq))
    return count


_LIST = f"""
    SELECT {", ".join("runs." + name for name in _COLUMNS.split(", "))},
        (SELECT count(*) FROM executions WHERE run_id = runs.id),
        count(entries.place), coalesce(sum(entries.status = 'succeeded'), 0),
        CAST(total(CASE WHEN entries.size > 0 THEN entries.size ELSE length(entries.payload) END) AS INTEGER)
    FROM runs LEFT JOIN entries ON entries.place BETWEEN runs.id << 32 AND (runs.id << 32) + 4294967295
    WHERE (? IS NULL OR runs.workflow = ?) AND (? OR runs.archived = 0)
    GROUP BY runs.id ORDER BY runs.id DESC
"""  # noqa: S608


def listed(connection: sqlite3.Connection, workflow: str | None, archived: bool) -> list[RunInfo]:
    """List runs, newest first. ``owner`` is that of the last claim; the caller finds out whether it still holds."""
    infos = []
    for *row, executions, steps, finished, size in connection.execute(_LIST, (workflow, workflow, archived)).fetchall():
        run = _run(tuple(row))
        entries = steps
        steps, finished = _counts(connection, run.id, steps, finished)
        infos.append(
            RunInfo(
                run.id, run.run, run.number, run.status, run.archived, run.created_at, run.ended_at, executions,
                run.notebook, run.owner, steps, finished, size, entries,
            )
        )  # fmt: skip
    return infos


def _counts(connection: sqlite3.Connection, run_id: int, steps: int, finished: int) -> tuple[int, int]:
    """Count the steps of the last execution that wrote its calls down, and those after it: without the history."""
    row = connection.execute(
        "SELECT execution, seqs FROM used WHERE run_id = ? ORDER BY execution DESC LIMIT 1", (run_id,)
    ).fetchone()
    used = None if row is None else ranges_from(text_of(row[1]))
    if used is None or len(used) == steps:
        return steps, finished
    called = set(used)
    states = [
        state
        for seq, state, execution in connection.execute(
            f"SELECT place & 4294967295, status, execution FROM entries WHERE {PLACES} AND status != 'superseded'",  # noqa: S608
            (run_id, run_id),
        )
        if seq in called or (isinstance(execution, int) and isinstance(row[0], int) and execution > row[0])
    ]
    return len(states), states.count(b"succeeded")


def without_owner(info: RunInfo) -> RunInfo:
    """Return ``info`` as that of a run that nobody executes."""
    return replace(info, owner=None)
