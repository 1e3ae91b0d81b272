"""Run locks within one process. What several processes do with them: ``kernel/test_store_crash.py``."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_durable.errors import JournalUnwritableError
from notebook_durable.model import RunId
from notebook_durable.stores import locks
from notebook_durable.stores.locks import AlreadyHeldError, RunLocks

RUN = RunId("wf", "key")


@pytest.fixture
def held(tmp_path: Path) -> Iterator[RunLocks]:
    one = RunLocks(tmp_path)
    yield one
    one.release(RUN)


def test_once_per_process(held: RunLocks, tmp_path: Path) -> None:
    """A lock is held once per process, whichever object asks and however the folder is spelled."""
    assert held.acquire(RUN)
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    for other in (held, RunLocks(tmp_path), RunLocks(link), RunLocks(tmp_path / "x" / "..")):
        with pytest.raises(AlreadyHeldError):
            other.acquire(RUN)
    held.release(RUN)
    assert RunLocks(link).acquire(RUN)


def test_other_program(held: RunLocks) -> None:
    """A lock that another open file has is not taken, and seen."""
    held.path(RUN).parent.mkdir()
    with held.path(RUN).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert held.acquire(RUN) is False
        assert held.is_held(RUN)
    assert not held.is_held(RUN)
    assert held.acquire(RUN)


def test_looking_takes_nothing(held: RunLocks) -> None:
    """Looking at a lock neither makes nor keeps one."""
    assert not held.is_held(RUN)
    assert not held.path(RUN).exists()
    assert held.acquire(RUN)
    assert held.is_held(RUN)
    held.release(RUN)
    assert not held.is_held(RUN)
    assert held.acquire(RUN)


def test_names_are_hashed(held: RunLocks) -> None:
    """Any name makes a plain, short file name of its own; workflow and key are not run together."""
    odd = [RunId("🚀"), RunId("../../etc/passwd"), RunId("x" * 200, "y" * 200), RunId("a"), RunId("A"), RunId("a", "a")]
    paths = {held.path(run) for run in odd} | {held.path(RunId("ab", "c")), held.path(RunId("a", "bc"))}
    assert len(paths) == len(odd) + 2
    assert all(path.parent == held.path(RUN).parent and len(path.name) == 37 for path in paths)


def test_not_for_others(held: RunLocks) -> None:
    """The lock file is private, and programs that the kernel starts don't inherit it."""
    assert held.acquire(RUN)
    assert stat.S_IMODE(held.path(RUN).stat().st_mode) == 0o600
    assert not os.get_inheritable(locks._held[str(held.path(RUN))])


def test_forked_child_lets_go(held: RunLocks) -> None:
    """A forked child has no lock and doesn't keep its parent's; the parent keeps it."""
    assert held.acquire(RUN)
    descriptor = locks._held[str(held.path(RUN))]
    child = os.fork()
    if child == 0:
        try:
            os.fstat(descriptor)
        except OSError as error:
            os._exit(42 if error.errno == errno.EBADF and not locks._held else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert held.is_held(RUN)
    with held.path(RUN).open("r+") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_file_system_without_locks(held: RunLocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks is refused in words, and nothing stays open."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(locks, "_lock", refuse)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    with pytest.raises(JournalUnwritableError, match=r"no file locks.*local disk"):
        held.acquire(RUN)
    assert len(list(descriptors.iterdir())) == before
