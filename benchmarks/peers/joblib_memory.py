"""joblib.Memory: one folder per call, found by the hash of its arguments. Syncs nothing."""

from pathlib import Path

from common import measure, step
from joblib import Memory


def run(folder: Path, steps: int) -> list[dict[str, object]]:
    cached = Memory(folder, verbose=0).cache(step)
    return [cached(index) for index in range(steps)]


if __name__ == "__main__":
    measure(run)
