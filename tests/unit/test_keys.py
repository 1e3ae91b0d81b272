"""The key file, and what signs with it."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from notebook_durable.errors import ConfigurationError
from notebook_durable.stores import keys
from notebook_durable.stores.keys import KEY_SIZE, Signer, default_key_path, key_id_of, load_key, read_key


def test_made_once(tmp_path: Path) -> None:
    """The first call makes 32 random bytes that only the owner can read; later calls read them."""
    path = tmp_path / "deep" / "key"
    key = load_key(path)
    assert len(key) == KEY_SIZE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path) == key
    assert load_key(tmp_path / "other") != key
    assert [child.name for child in path.parent.iterdir()] == ["key"]


def _load(path: Path, gate: object, answers: object) -> None:
    gate.wait()  # type: ignore[attr-defined]
    answers.put(load_key(path))  # type: ignore[attr-defined]


def test_made_by_many_processes_at_once(tmp_path: Path) -> None:
    """Processes that make the key at the same time all get the same one."""
    context = multiprocessing.get_context("fork")
    for round_ in range(5):
        path = tmp_path / f"key{round_}"
        gate, answers = context.Barrier(6), context.Queue()
        children = [context.Process(target=_load, args=(path, gate, answers)) for _ in range(6)]
        for child in children:
            child.start()
        got = {answers.get(timeout=30) for _ in children}
        for child in children:
            child.join()
        assert got == {path.read_bytes()}


def test_loser_reads_the_winners_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that finds no key, and is beaten to making it, uses the winner's."""
    path = tmp_path / "key"
    real = keys.os.link

    def beaten(source: Path, target: Path) -> None:
        path.write_bytes(b"w" * KEY_SIZE)
        path.chmod(0o600)
        real(source, target)

    monkeypatch.setattr(keys.os, "link", beaten)
    assert load_key(path) == b"w" * KEY_SIZE


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is made on a file system that has no hard links too."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(keys.os, "link", refuse)
    assert load_key(tmp_path / "key") == (tmp_path / "key").read_bytes()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 31, b"x" * 33])
def test_wrong_length(tmp_path: Path, content: bytes) -> None:
    """A file that is no key is refused, with what to type, and left as it is."""
    path = tmp_path / "key"
    path.write_bytes(content)
    os.utime(path, (1, 1))
    with pytest.raises(ConfigurationError, match=f"mv {path}"):
        load_key(path)
    assert path.read_bytes() == content


def test_folder_in_its_place(tmp_path: Path) -> None:
    """A path that can't be a file is a ConfigurationError that names the setting."""
    with pytest.raises(ConfigurationError, match="NOTEBOOK_DURABLE_KEY_FILE"):
        load_key(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="NOTEBOOK_DURABLE_KEY_FILE"):
        load_key(tmp_path / "file" / "key")


def test_readable_by_others_is_said(tmp_path: Path) -> None:
    """A key that others can read is used, and the line that mends it is said; a private one is not mentioned."""
    path, notices = tmp_path / "key", []
    load_key(path, notices.append)
    assert notices == []
    path.chmod(0o644)
    load_key(path, notices.append)
    assert len(notices) == 1
    assert f"chmod 600 {path}" in notices[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(("mode", "said"), [(0o600, ""), (0o640, "read"), (0o602, "changed"), (0o666, "changed")])
def test_changeable_by_others_is_said(tmp_path: Path, mode: int, said: str) -> None:
    """Who can change the key can have their journal believed: that is said in other words, and the key is used."""
    path, notices = tmp_path / "key", []
    key = load_key(path)
    path.chmod(mode)
    assert load_key(path, notices.append) == key
    assert [text for text in notices if f"can be {said}" in text] == (notices if said else [])
    assert bool(notices) is bool(said)


def test_a_link_to_the_key(tmp_path: Path) -> None:
    """The key may be kept elsewhere, with a symbolic link to it."""
    load_key(tmp_path / "safe")
    (tmp_path / "key").symlink_to(tmp_path / "safe")
    assert load_key(tmp_path / "key") == (tmp_path / "safe").read_bytes()


@pytest.mark.parametrize("what", ["pipe", "device", "loop", "link to nothing"])
def test_no_file_in_its_place(tmp_path: Path, what: str) -> None:
    """A pipe or device neither hangs nor gives a key."""
    path = tmp_path / "key"
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "loop": lambda: path.symlink_to(path),
        "link to nothing": lambda: path.symlink_to(tmp_path / "nothing"),
    }[what]()
    with pytest.raises(ConfigurationError, match="NOTEBOOK_DURABLE_KEY_FILE"):
        load_key(path)
    with pytest.raises(ConfigurationError):
        read_key(path)
    assert not (tmp_path / "nothing").exists()


def test_made_is_told_once(tmp_path: Path) -> None:
    """Who asks hears that a key was made, and not when one is read; ``read_key`` makes none."""
    made: list[int] = []
    with pytest.raises(ConfigurationError, match="can't be read"):
        read_key(tmp_path / "key")
    for _ in range(2):
        load_key(tmp_path / "key", None, lambda: made.append(1))
    assert made == [1]
    assert key_id_of(read_key(tmp_path / "key")) == Signer(load_key(tmp_path / "key")).key_id


def test_default_is_beside_jupyters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key lies in Jupyter's data folder."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    assert default_key_path() == tmp_path / "notebook_durable_key"


class TestSigner:
    def test_key_id(self) -> None:
        """The id depends on the key alone and doesn't hold it."""
        one = Signer(b"a" * 32)
        assert one.key_id == Signer(b"a" * 32).key_id != Signer(b"b" * 32).key_id
        assert len(one.key_id) == 16
        assert bytes.fromhex(one.key_id) not in b"a" * 32

    @pytest.mark.parametrize("size", [0, 1, 1000, 32767, 32768, 3_000_000])
    def test_one_mark_for_one_text(self, size: int) -> None:
        """Where head and payload are divided, and how they are hashed, makes no difference to the mark."""
        signer, payload = Signer(b"a" * 32), bytes(range(256)) * (size // 256 + 1)
        payload = payload[:size]
        mark = signer.mark(b"head", payload)
        assert len(mark) == 16
        assert mark == signer.mark(b"head" + payload)
        assert signer.matches(mark, b"head", payload)

    def test_other_text_other_key(self) -> None:
        """A mark fits neither another text nor another key."""
        signer = Signer(b"a" * 32)
        mark = signer.mark(b"head", b"payload")
        assert not signer.matches(mark, b"head", b"payloae")
        assert not signer.matches(mark, b"heae", b"payload")
        assert not signer.matches(mark[:-1], b"head", b"payload")
        assert not Signer(b"b" * 32).matches(mark, b"head", b"payload")

    def test_wrong_key(self) -> None:
        """A key of another length is refused."""
        with pytest.raises(ConfigurationError):
            Signer(b"short")
