"""The table of edits: what must replay and what must run after each. Design section 4 as data.

A row says what is right, not what the engine does. ``row.py`` explains how a row is read.
"""

from __future__ import annotations

from edits import rows_code, rows_flow, rows_hard, rows_inputs, rows_world
from edits.row import Row

__all__ = ["ASYNC_ROWS", "KEPT_ROWS", "ROWS"]

#: As written; the kernel is restarted between the executions.
ROWS: list[Row] = [*rows_code.ROWS, *rows_inputs.ROWS, *rows_flow.ROWS, *rows_world.ROWS, *rows_hard.ROWS]

#: The same edits in cells that await each step.
ASYNC_ROWS: list[Row] = [row.in_async() for row in ROWS if row.flip and not row.asynchronous]

#: The kernel lives on: edited cells are executed again, and the durable one.
KEPT_ROWS: list[Row] = [row.without_restart() for row in ROWS if row.kept is not None]

assert len({row.id for row in ROWS}) == len(ROWS), "two rows have one id"
