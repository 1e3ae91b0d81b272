"""marimo's persistent_cache with its default, pickle: a file per call. Syncs nothing."""

from pathlib import Path

import marimo
from common import measure, step


def wrap(folder: Path) -> object:
    return marimo.persistent_cache(save_path=str(folder))(step)  # it looks at the frames of its callers


def run(folder: Path, steps: int) -> list[dict[str, object]]:
    cached = wrap(folder)
    return [cached(index) for index in range(steps)]  # type: ignore[operator]


if __name__ == "__main__":
    measure(run)
