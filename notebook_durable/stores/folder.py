"""The journal's folder: making it, recognising what isn't ours, and what kind of file system it is on."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from notebook_durable.errors import JournalCorruptError, JournalFormatError, JournalUnwritableError, quoted
from notebook_durable.stores.keys import sync_folder

__all__ = [
    "BLOBS",
    "BLOB_LOCK",
    "DATABASE",
    "LOCKS",
    "PACKS",
    "QUARANTINE",
    "filesystem",
    "free_space",
    "is_network",
    "move_away",
    "prepare",
    "unwritable",
]

DATABASE = "journal.db"
LOCKS = "locks"
#: Values that are too large for a row (see ``blobs``), and those that failed their check.
BLOBS, PACKS, QUARANTINE, BLOB_LOCK = "blobs", "packs", "quarantine", "blobs.lock"
#: What may lie in a journal's folder whose database was deleted.
_OURS = (".gitignore", LOCKS, BLOBS, PACKS, QUARANTINE, BLOB_LOCK, DATABASE)

#: File systems whose memory maps or byte-range locks are not shared by all who mount them, so that SQLite's WAL is
#: unsafe (https://sqlite.org/wal.html, "All processes using a database must be on the same host computer").
_NETWORK = frozenset(
    [
        "9p",
        "acfs",
        "afs",
        "afpfs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fhgfs",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.gcsfuse",
        "fuse.gcfs",
        "fuse.glusterfs",
        "fuse.grpcfuse",
        "fuse.juicefs",
        "fuse.mergerfs",
        "fuse.osxfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.smbnetfs",
        "fuse.sshfs",
        "fuse.davfs",
        "fuse.blobfuse",
        "fuse.blobfuse2",
        "gfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs3",
        "nfs4",
        "ocfs2",
        "panfs",
        "pvfs2",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "webdav",
    ]
)


def filesystem(path: Path, mounts: str) -> str:
    """Return the type of the file system that ``path`` is on ("" if unknown).

    Args:
        path: an absolute path without symbolic links.
        mounts: text in the form of ``/proc/mounts``.
    """
    kind, longest = "", -1
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = _unescape(parts[1])
        # Later lines hide earlier ones on the same point, hence ">=".
        if len(point) >= longest and (path == Path(point) or Path(point) in path.parents):
            kind, longest = parts[2], len(point)
    return kind


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def is_network(path: Path) -> str:
    """Return the type of the file system if it is a network one, else "". Only Linux tells."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    kind = filesystem(Path(os.path.realpath(path)), mounts)
    return kind if kind in _NETWORK else ""


def free_space(path: Path) -> int | None:
    """Return the bytes that can still be written at ``path``, None if the system doesn't tell."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def move_away(folder: Path) -> str:
    """Return the line to type that sets a journal aside without losing anything of it."""
    target = folder.with_name(folder.name + "-damaged")
    number = 2
    while target.exists():
        target = folder.with_name(f"{folder.name}-damaged-{number}")
        number += 1
    return f"mv {quoted(str(folder))} {quoted(str(target))}"


def unwritable(path: Path, error: OSError) -> JournalUnwritableError:
    """Describe why the system refused to write at ``path``."""
    return JournalUnwritableError(str(path), error.strerror or str(error), _remedy(path, error))


def _remedy(path: Path, error: OSError) -> str:
    free = free_space(path if path.is_dir() else path.parent)
    if free is not None and free >= 1 << 20 and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{free >> 20:,} MB are free there, too few for this value: free some space and run the cell again."
    if free is not None and free < 1 << 20:
        return f"{free // 1024} KB are free there: free some space and run the cell again."
    return "Move the journal to a folder that you can write: NOTEBOOK_DURABLE_STORE or %config Durable.store."


def prepare(folder: Path) -> None:
    """Make the folder (0700, with a ``.gitignore`` of ``*``), or make sure that what is there is ours.

    Raises:
        JournalFormatError: if something else is there, or a symbolic link inside of it. It isn't touched.
        JournalCorruptError: if only a part of a journal is there.
        JournalUnwritableError: if it can't be made.
    """
    try:
        if not folder.exists() and not folder.is_symlink():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(folder.parent)
        if not folder.is_dir():
            raise JournalFormatError(
                f"{folder} is a file, and a journal is a folder. It was not touched; name another place: "
                "NOTEBOOK_DURABLE_STORE or %config Durable.store."
            )
        names = {child.name for child in folder.iterdir()}
        _check_real(folder, names)
        if DATABASE in names:
            return
        _check_content(folder, names)
        if ".gitignore" not in names or not (folder / ".gitignore").stat().st_size:  # empty: the disk was full then
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        (folder / LOCKS).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def _check_real(folder: Path, names: set[str]) -> None:
    """Refuse symbolic links in the place of what is ours: a journal from elsewhere could lead us out of its folder.

    The folder itself may be one.
    """
    for name in sorted(names):
        if (name in _OURS or name.startswith(f"{DATABASE}-")) and (folder / name).is_symlink():
            raise JournalFormatError(
                f"{folder / name} is a symbolic link, and in a journal's folder nothing is: it would be written to, "
                "and files in it deleted. Nothing was touched. To keep the journal elsewhere, move the whole folder, "
                "and name it: NOTEBOOK_DURABLE_STORE or %config Durable.store."
            )


def _check_content(folder: Path, names: set[str]) -> None:
    if f"{DATABASE}-wal" in names or f"{DATABASE}-journal" in names:
        # SQLite would delete them when it makes a new database, and they may hold the last steps.
        raise JournalCorruptError(
            f"the journal's database {folder / DATABASE} is missing, but its log is there. Put the database back, or "
            f"begin a new journal by moving the rest away:\n    {move_away(folder)}"
        )
    # A .gitignore of "*" in somebody's project folder would hide the project from git.
    foreign = sorted(name for name in names if name not in _OURS and not name.startswith(f"{DATABASE}."))
    if not foreign and ".gitignore" in names:
        foreign = [] if (folder / ".gitignore").read_text(errors="replace").strip() in ("", "*") else [".gitignore"]
    if foreign:
        raise JournalFormatError(
            f"{folder} is not a journal: it holds other files ({', '.join(foreign[:3])}). It was not "
            f"touched; name a folder of its own, such as {folder / '.durable'}."
        )
