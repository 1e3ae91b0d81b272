"""notebook_durable: one run, each step on disk before ``ctx.run`` returns.

Opening the run is part of the time, ending it is not. A step on a store apart comes first, so that what is imported
when it is first needed counts as import (``ours_cold.py`` leaves it out).
"""

import sys
import tempfile
import time
from pathlib import Path

from common import report, step

from notebook_durable import durable


def main(*, warm: bool) -> None:
    folder, steps = Path(sys.argv[2]), int(sys.argv[3])
    if warm:
        with tempfile.TemporaryDirectory() as apart, durable("warm", store=apart) as ctx:
            ctx.run("step", int, 1)
    began = time.perf_counter()
    with durable("bench", store=folder) as ctx:
        values = [ctx.run("step", step, index) for index in range(steps)]
        seconds = time.perf_counter() - began
    report(seconds, values)


if __name__ == "__main__":
    main(warm=True)
