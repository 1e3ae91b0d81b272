"""Records the first version of rows in a journal: ``python record.py FOLDER ID...``, by another Python than the tests'.

Prints the ids of the rows that could be recorded; a Python without pandas leaves out those that need it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)
sys.path.append(str(HERE.parent.parent))

from edits.row import Row  # noqa: E402
from edits.runner import Execution, play  # noqa: E402
from edits.table import ROWS  # noqa: E402


def first_version(row: Row, folder: Path, journal: Path) -> Execution:
    """Execute the first version of a row in this Python."""
    only = replace(row, versions=row.versions[:1])
    return play(only, folder, journal)[0]


def main() -> None:
    folder, wanted = Path(sys.argv[1]), set(sys.argv[2:])
    done = []
    for number, row in enumerate(row for row in ROWS if row.id in wanted):
        try:
            first_version(row, folder / f"recorded {number}", folder / "journal")
        except ImportError:
            continue
        done.append(row.id)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
