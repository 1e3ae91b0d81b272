"""DBOS on SQLite, as it comes: one workflow of ``DBOS.run_step`` calls, found by the workflow's id.

The time is that of the workflow's body only, from its first line to the last step's return, which is DBOS's best:
opening its database (0.05 s) and the poll of the recovery queue (about 1 s) are left out. The first run ends by
SIGKILL right before the workflow returns, so the replaying process has a pending workflow to recover: that is how DBOS
replays steps (a workflow that has ended returns its result without running its body). It recovers by itself on launch.
"""

import os
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

from common import report, step
from dbos import DBOS, SetWorkflowID

WORKFLOW_ID = "bench"
recovered = threading.Event()


@DBOS.workflow()
def flow(steps: int) -> None:
    began = time.perf_counter()
    values = [DBOS.run_step({"name": "step"}, step, index) for index in range(steps)]
    report(time.perf_counter() - began, values)
    if sys.argv[1] == "first":
        os.kill(os.getpid(), signal.SIGKILL)
    recovered.set()


def main(journal_mode: str = "") -> None:
    database = Path(sys.argv[2]) / "dbos.sqlite"
    if journal_mode:
        with sqlite3.connect(database) as db:
            db.execute(f"PRAGMA journal_mode={journal_mode}")
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{database}",
            "application_version": "bench",  # else an edit of this file would leave the workflow pending
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    if sys.argv[1] == "first":
        with SetWorkflowID(WORKFLOW_ID):
            flow(int(sys.argv[3]))
    elif not recovered.wait(600):
        sys.exit("DBOS did not recover the workflow")
    os._exit(0)  # its threads have nothing more to say


if __name__ == "__main__":
    main()
