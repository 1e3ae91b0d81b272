"""The file of an exported run: a zip archive, stored and not compressed, that any program can look into.

    values/SEQ       the value of one entry, as ``layout`` writes it; small ones lie with their entry
    rows.jsonl       entries, attempts, extras, messages and texts, see ``export_rows``; each value's digest
    manifest.json    what it is, of which version, of which run; the digest of rows.jsonl
    manifest.mark    keyed blake3 over the manifest: who has the exporter's key can tell that all of it is authentic

So everything hangs on the mark: the manifest names the digest of the rows, and these the digests of the values. The
digests have no key, so that damage shows also to who doesn't have it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import struct
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from notebook_durable.errors import ConfigurationError, JournalFormatError, StoreError
from notebook_durable.stores.export_rows import Member, Misread
from notebook_durable.stores.keys import Signer, sync_folder
from notebook_durable.stores.syncing import sync_file

__all__ = ["VERSION", "Archive", "Writer", "opened", "writing"]

VERSION = 1
_FORMAT = "notebook_durable run"
_MANIFEST, _MARK, _ROWS = "manifest.json", "manifest.mark", "rows.jsonl"
_VALUE = re.compile(r"values/[0-9]{1,10}", re.ASCII)
#: Before the manifest, under the mark: no mark of a row begins like this.
_SCOPE = b"notebook_durable exported run\n"
_CHUNK = 1 << 20
_LARGEST_MANIFEST, _LARGEST_LINE = 64 << 20, 1 << 30
_MARK_SIZE = 64
#: What zipfile raises for an archive that is damaged, or of a kind that it doesn't know.
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error)


def _blake3() -> Any:
    from blake3 import blake3

    return blake3()


# --- writing ------------------------------------------------------------------------------


class Writer:
    """Writes the parts of an archive, one after the other."""

    def __init__(self, file: BinaryIO, now: float) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._date = max(time.gmtime(now)[:6], (1980, 1, 1, 0, 0, 0))

    def value(self, seq: int, pieces: Iterable[Any]) -> Member:
        """Write a value; returns what the entry is to say of it."""
        return self._part(f"values/{seq}", pieces)

    def rows(self, lines: Iterable[bytes]) -> Member:
        """Write the rows."""
        return self._part(_ROWS, lines)

    def finish(self, manifest: Mapping[str, Any], rows: Member, signer: Signer) -> None:
        """Write what it is, and sign it."""
        about = {"format": _FORMAT, "version": VERSION, "key_id": signer.key_id, **manifest, "rows": list(rows)}
        text = json.dumps(about, indent=1, default=str).encode()
        self._part(_MANIFEST, (text,))
        self._part(_MARK, (signer.mark(_SCOPE, text).hex().encode(),))
        self._zip.close()

    def close(self) -> None:
        """Let go of a half-written archive: its finalizer would complain about the file, which is closed by then."""
        try:
            self._zip.close()
        except (OSError, ValueError):  # a full disk, a part that was cut short
            self._zip.fp = None

    def _part(self, name: str, pieces: Iterable[Any]) -> Member:
        info = zipfile.ZipInfo(name, self._date)
        info.external_attr = 0o600 << 16
        hasher, length = _blake3(), 0
        with self._zip.open(info, "w", force_zip64=True) as part:
            for piece in pieces:
                part.write(piece)
                hasher.update(piece)
                length += len(piece)
        return Member(length, hasher.hexdigest())


@contextmanager
def writing(target: Path, now: float) -> Iterator[Writer]:
    """Give a writer; the file is there, whole and on the disk, when the block ends well, and not at all otherwise.

    Raises:
        ConfigurationError: if there is a file already, or it can't be written.
    """
    if target.exists() or target.is_symlink():
        raise _there(target)
    try:
        with _unfinished(target) as (file, give_name):
            writer = Writer(file, now)
            try:
                yield writer
            finally:
                writer.close()
            file.flush()
            sync_file(file.fileno())
            give_name()
        sync_folder(target.parent)
    except OSError as error:
        raise ConfigurationError(f"{target} can't be written: {error.strerror or error}") from error


@contextmanager
def _unfinished(target: Path) -> Iterator[tuple[BinaryIO, Callable[[], None]]]:
    """Open a new file beside ``target``, with a function that gives it that name. Without it, it is gone afterwards."""
    nameless = _open_nameless(target.parent)
    if nameless is not None:  # nothing is left of it when this process is killed
        with os.fdopen(nameless, "w+b") as file:
            yield file, lambda: _give_name(Path(f"/proc/self/fd/{file.fileno()}"), target, nameless=True)
        return
    temporary = target.with_name(f".{target.name[:40]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file, lambda: _give_name(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _open_nameless(folder: Path) -> int | None:
    """Open a file that has no name yet; None where there is no such thing: other systems, some file systems."""
    if not hasattr(os, "O_TMPFILE") or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o600)
    except OSError:
        return None


def _give_name(temporary: Path, target: Path, *, nameless: bool = False) -> None:
    """Rename without taking the place of a file that came meanwhile."""
    try:
        if nameless:
            _link_nameless(temporary, target)
        else:
            os.link(temporary, target)
    except FileExistsError:
        raise _there(target) from None
    except OSError:  # no hard links here
        if target.exists():
            raise _there(target) from None
        if nameless:
            raise
        temporary.rename(target)


def _link_nameless(temporary: Path, target: Path) -> None:
    # Only with a folder given does Python make the system call that can follow the link in /proc.
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.link(temporary, target.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _there(target: Path) -> ConfigurationError:
    return ConfigurationError(f"{target} is there already, and was not touched. Name another file.")


# --- reading ------------------------------------------------------------------------------


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what reading a damaged archive may raise into a Misread."""
    try:
        yield
    except Misread:
        raise
    except (*_UNREADABLE, ValueError, RuntimeError, OverflowError, OSError) as error:
        # A directory that says nonsense has the file sought before its beginning, and names decoded that are none.
        raise Misread(f"it can't be read ({error!s:.100})") from error


class Archive:
    """An exported run that is open. Its names and lengths were checked; whether it is authentic was not.

    Attributes:
        path: the file.
        manifest: what it says of itself.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, size: int) -> None:
        self.path = path
        self._zip = archive
        self._parts = self._checked(size)
        self._text = self._whole(_MANIFEST, _LARGEST_MANIFEST)
        self.manifest = self._about()

    def _checked(self, size: int) -> dict[str, zipfile.ZipInfo]:
        """Return the parts by name. Stored and not compressed, none twice: they can't be more than the file has."""
        parts: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            known = info.filename in (_MANIFEST, _MARK, _ROWS) or _VALUE.fullmatch(info.filename)
            plain = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
            if not known or not plain or info.flag_bits & 0x1 or info.filename in parts:
                raise Misread(f"it has a part that none of ours has ({info.filename!r:.60})")
            parts[info.filename] = info
            size -= info.file_size
        if size < 0:
            raise Misread("its parts overlap")
        for name in (_MANIFEST, _MARK, _ROWS):
            if name not in parts:
                raise Misread(f"it has no {name}")
        return parts

    def _about(self) -> Mapping[str, Any]:
        try:
            manifest = json.loads(self._text)
            kind, version = manifest["format"], manifest["version"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Misread("its manifest can't be read") from error
        if kind != _FORMAT or not isinstance(version, int):
            raise Misread("its manifest is none of ours")
        if version > VERSION:
            raise JournalFormatError(
                f"{self.path} was exported in version {version} of the format, and this notebook_durable reads up to "
                f"{VERSION}. Nothing was changed. Type: pip install --upgrade notebook_durable"
            )
        return dict(manifest)

    def _whole(self, name: str, most: int) -> bytes:
        if self._parts[name].file_size > most:
            raise Misread(f"its {name} is too large")
        with _reading():
            return self._zip.read(self._parts[name])

    def is_signed_by(self, signer: Signer) -> bool:
        """Tell whether the manifest is authentic under this key."""
        try:
            mark = bytes.fromhex(self._whole(_MARK, _MARK_SIZE).decode("ascii"))
        except ValueError:
            return False
        return signer.matches(mark, _SCOPE, self._text)

    def lines(self) -> Iterator[bytes]:
        """Read the rows; the last line comes only if all of them were what the manifest says.

        Raises:
            Misread: if they were not.
        """
        expected, hasher = _member(self.manifest.get("rows")), _blake3()
        length, before = 0, b""
        part: Any
        with _reading(), self._zip.open(self._parts[_ROWS]) as part, BufferedReader(part, _CHUNK) as file:
            while line := file.readline(_LARGEST_LINE):
                if not line.endswith(b"\n"):
                    raise Misread("its rows are cut off")
                hasher.update(line)
                length += len(line)
                if before:
                    yield before
                before = line
        if Member(length, hasher.hexdigest()) != expected:
            raise Misread("its rows are not those that were written")
        if before:
            yield before

    def pieces(self, seq: int, expected: Member) -> Iterator[bytes]:
        """Read a value in pieces; ends well only if all of them are what the entry says.

        Raises:
            Misread: if they are not.
        """
        info = self._parts.get(f"values/{seq}")
        if info is None or info.file_size != expected.length:
            raise Misread(f"the value of entry {seq} is missing")
        hasher = _blake3()
        with _reading(), self._zip.open(info) as part:
            while piece := part.read(_CHUNK):
                hasher.update(piece)
                yield piece
        if hasher.hexdigest() != expected.digest:
            raise Misread(f"the value of entry {seq} is not the one that was written")


def _member(raw: Any) -> Member:
    try:
        length, digest = raw
    except (TypeError, ValueError):
        raise Misread("its manifest is incomplete") from None
    return Member(length, digest)


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an exported run. What goes wrong with the file inside of the block is told as a StoreError.

    Raises:
        StoreError: if it is none, or damaged.
        JournalFormatError: if it is newer.
        ConfigurationError: if there is no such file.
    """
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"{path} can't be read: it is no file")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            with _reading():
                archive = zipfile.ZipFile(file)
            with archive:
                yield Archive(path, archive, size)
    except (FileNotFoundError, PermissionError) as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) != path:
            raise
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from error
    except (Misread, *_UNREADABLE) as error:
        raise StoreError(
            f"{path} is not a run that %durable export has written, or it is damaged or cut off: {error}. "
            "Nothing was changed. Export it again, or copy the file again."
        ) from error
