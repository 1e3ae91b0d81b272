"""cachier's pickle core with a file per call (one file for all would be written anew for each). Syncs nothing."""

from pathlib import Path

from cachier import cachier
from common import measure, step


def run(folder: Path, steps: int) -> list[dict[str, object]]:
    cached = cachier(cache_dir=folder, separate_files=True)(step)
    return [cached(index) for index in range(steps)]


if __name__ == "__main__":
    measure(run)
