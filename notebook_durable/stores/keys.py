"""The key that authenticates a journal: one file of 32 random bytes per user, and what signs with it."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from notebook_durable.errors import ConfigurationError

__all__ = ["KEY_SIZE", "Signer", "default_key_path", "key_id_of", "load_key", "read_key"]

KEY_SIZE = 32
_MARK_SIZE = 16
#: From here on the bytes are hashed where they lie: joining them to the header would copy them.
_LARGE = 1 << 15
#: From here on more cores are asked for, and at most so many: then the memory is the limit.
_MANY, _MOST_THREADS = 8 << 20, 4
_KEY_ID_CONTEXT = "notebook_durable 2026-11 key id"
_BLOB_CONTEXT = "notebook_durable 2026-11 blobs"
#: A named pipe in the place of the key must not hang the kernel.
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)


class Signer:
    """Signs what a journal's rows say (keyed blake3).

    Args:
        key: 32 bytes, see :func:`load_key`.
        path: where the key came from, for messages.

    Attributes:
        key_id: names the key without giving it away: 16 hex digits.
    """

    __slots__ = ("_blake3", "_blob_key", "_key", "key_id", "path")

    def __init__(self, key: bytes, path: str = "the key in use") -> None:
        from blake3 import blake3

        if len(key) != KEY_SIZE:
            raise ConfigurationError(f"a journal's key has {KEY_SIZE} bytes, not {len(key)}")
        self._blake3 = blake3
        self._key = key
        self.path = path
        self._blob_key = blake3(key, derive_key_context=_BLOB_CONTEXT).digest()
        self.key_id = blake3(key, derive_key_context=_KEY_ID_CONTEXT).hexdigest(length=8)

    def hasher(self, length: int = 0) -> Any:
        """Return a new hasher for the bytes of a large value: keyed blake3, under a key derived from this one.

        Args:
            length: bytes that are there to be hashed and wait for nothing else; for many, on several cores.
        """
        if length < _MANY:
            return self._blake3(key=self._blob_key)
        # Threads of its own, not blake3's AUTO, whose threads are the process's: a forked child would wait for them.
        return self._blake3(key=self._blob_key, max_threads=min(_MOST_THREADS, os.cpu_count() or 1))

    def mark(self, head: bytes, payload: bytes = b"") -> bytes:
        """Return the mark (16 bytes) over ``head + payload``."""
        if len(payload) < _LARGE:
            return self._blake3(head + payload, key=self._key).digest(length=_MARK_SIZE)
        hasher = self._blake3(head, key=self._key)
        hasher.update(payload)
        return hasher.digest(length=_MARK_SIZE)

    def matches(self, mark: bytes, head: bytes, payload: bytes = b"") -> bool:
        """Tell whether ``mark`` was made by this key over the same bytes."""
        return hmac.compare_digest(mark, self.mark(head, payload))


def default_key_path() -> Path:
    """Return where the key lies when nobody says otherwise: beside Jupyter's own secrets."""
    try:
        from jupyter_core.paths import jupyter_data_dir

        folder = Path(jupyter_data_dir())
    except ImportError:
        folder = Path.home() / ".local" / "share" / "jupyter"
    return folder / "notebook_durable_key"


def key_id_of(key: bytes) -> str:
    """Return what names a key without giving it away: 16 hex digits."""
    from blake3 import blake3

    return str(blake3(key, derive_key_context=_KEY_ID_CONTEXT).hexdigest(length=8))


def load_key(
    path: Path, on_notice: Callable[[str], None] | None = None, on_made: Callable[[], None] | None = None
) -> bytes:
    """Read the key file, making it (mode 0600) if there is none. Two processes may do so at once: both get one key.

    Args:
        path: the key file; a symbolic link to one is followed.
        on_notice: told, in one sentence, when others can read or change the file. It is not changed: that is the
            owner's to do.
        on_made: called if there was none, once the new one is on the disk.

    Raises:
        ConfigurationError: if the file can't be read or made, or isn't 32 bytes long.
    """
    try:
        return _read(path, on_notice)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        _create(path)
        key = _read(path, on_notice)
    except OSError as error:
        raise _unusable(path, error) from error
    if on_made is not None:
        on_made()
    return key


def read_key(path: Path) -> bytes:
    """Read a key file that must be there.

    Raises:
        ConfigurationError: if it is none, or not there.
    """
    try:
        return _read(path, None)
    except OSError as error:
        raise ConfigurationError(f"the key file {path} can't be read: {error.strerror or error}.") from error


def _read(path: Path, on_notice: Callable[[str], None] | None) -> bytes:
    key = b""
    # Short only while another process writes it on a file system without hard links (see _create).
    for _ in range(50):
        with os.fdopen(os.open(path, os.O_RDONLY | _NONBLOCK), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise IsADirectoryError(0, "it is not a file")
            key = file.read(KEY_SIZE + 1)
        if len(key) >= KEY_SIZE or time.time() - path.stat().st_mtime > 2:
            break
        time.sleep(0.02)
    if len(key) != KEY_SIZE:
        raise ConfigurationError(
            f"the key file {path} is not a key of ours: it has {'more than ' if len(key) > KEY_SIZE else ''}"
            f"{min(len(key), KEY_SIZE)} bytes, a key has {KEY_SIZE}. Restore it from a backup, or move it away "
            f"(mv {path} {path}.old) for a new one; journals written with the old key are then not believed."
        )
    others = stat.S_IMODE(mode) & 0o077 if os.name == "posix" else 0
    if on_notice is not None and others:
        what = "read"
        if others & 0o022:
            what = "changed, so that you would believe (and unpickle) what they wrote,"
        on_notice(f"the key file {path} can be {what} by others on this machine. Type: chmod 600 {path}")
    return key


def _create(path: Path) -> None:
    """Make the key file whole or not at all; do nothing if another process was first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_bytes(KEY_SIZE)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        _write(temporary, key)
        try:
            # A link fails if the name is taken, where a rename would replace the key of the process that was first.
            os.link(temporary, path)
        except FileExistsError:
            return
        except OSError:
            # No hard links here (FAT, some network file systems).
            with suppress(FileExistsError):
                _write(path, key)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power cut, where the system can do that."""
    with suppress(OSError):  # Windows and some network file systems can't
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the key file {path} can't be used: {error.strerror or error}. Point NOTEBOOK_DURABLE_KEY_FILE or "
        "%config Durable.key_file at a file of yours; it is made if it doesn't exist."
    )
