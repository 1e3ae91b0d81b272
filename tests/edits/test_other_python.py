"""What one Python recorded replays in another: the digests of code and values don't depend on the version.

``NBD_PYTHONS`` names other Pythons (with blake3 and dill), with colons between.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from edits import rows_code, rows_flow, rows_hard, rows_inputs
from edits.record import first_version

pytestmark = [pytest.mark.kernel, pytest.mark.once, pytest.mark.timeout(300)]

OTHERS = [python for python in os.environ.get("NBD_PYTHONS", "").split(os.pathsep) if python]

#: Rows whose first version replays whole: no input is changed in place. Without source there is only bytecode, which is
#: each Python's own.
PORTABLE = [
    row
    for row in [
        *rows_code.ROWS,
        *rows_inputs.GLOBALS,
        *rows_inputs.ARGUMENTS,
        *rows_flow.ORDER,
        *rows_flow.LOOPS,
        *rows_hard.PLACES,
        *rows_hard.COLLISIONS,
        *rows_hard.INSIDE,
    ]
    if row.id not in ("no-source-at-hand", "helper-in-a-function-transformer")
]


@pytest.mark.skipif(not OTHERS, reason="NBD_PYTHONS names no other Python")
@pytest.mark.parametrize("python", OTHERS)
def test_what_another_python_recorded_replays(python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs again because the kernel has another Python now."""
    monkeypatch.setenv("NOTEBOOK_DURABLE_KEY_FILE", str(tmp_path / "key"))
    script = Path(__file__).with_name("record.py")
    made = subprocess.run(
        [python, str(script), str(tmp_path), *(row.id for row in PORTABLE)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    recorded = json.loads(made.stdout.splitlines()[-1])
    assert len(recorded) > 100
    ran = []
    for number, row in enumerate(row for row in PORTABLE if row.id in recorded):
        seen = first_version(row, tmp_path / f"replayed {number}", tmp_path / "journal")
        if seen.runs or seen.error:
            ran.append(f"{row.id}: {dict(seen.reasons)} {seen.error or ''}")
    assert not ran, "\n".join(ran)
