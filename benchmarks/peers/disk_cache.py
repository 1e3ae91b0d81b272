"""diskcache's memoize: pickles in SQLite (WAL), synchronous=NORMAL: the log is not synced at a commit."""

from pathlib import Path

from common import measure, step
from diskcache import Cache


def run(folder: Path, steps: int) -> list[dict[str, object]]:
    with Cache(folder) as cache:
        cached = cache.memoize()(step)
        return [cached(index) for index in range(steps)]


if __name__ == "__main__":
    measure(run)
