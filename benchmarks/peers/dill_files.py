"""dill written by hand: a file for each step, and no step is run whose file is there. Syncs nothing."""

from pathlib import Path

import dill  # noqa: TID253  a peer is measured
from common import measure, step


def run(folder: Path, steps: int) -> list[dict[str, object]]:
    values = []
    for index in range(steps):
        path = folder / f"{index}.dill"
        if path.exists():
            with path.open("rb") as file:
                values.append(dill.load(file))
            continue
        values.append(step(index))
        with path.open("wb") as file:
            dill.dump(values[-1], file)
    return values


if __name__ == "__main__":
    measure(run)
