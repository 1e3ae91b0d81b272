"""The one place where settings become objects."""

from __future__ import annotations

import functools
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from notebook_durable.engine.bus import LogObserver
from notebook_durable.engine.clock import SystemClock
from notebook_durable.engine.fingerprint.describe import Fingerprinter
from notebook_durable.engine.session import Ports, Session
from notebook_durable.errors import ConfigurationError
from notebook_durable.executors.inline import InlineExecutor
from notebook_durable.model import Owner, RunId
from notebook_durable.previews import preview
from notebook_durable.protocols import Guard, Observer, Recorder, Store
from notebook_durable.retry import RetryPolicy
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.signals import SigintGuard
from notebook_durable.stores.keys import Signer, default_key_path, load_key
from notebook_durable.stores.known_keys import known_at, remember
from notebook_durable.stores.room import room_of
from notebook_durable.stores.sqlite import SqliteStore
from notebook_durable.units import byte_count

__all__ = ["FOLDER", "Settings", "open_session", "open_store", "this_process"]

#: The journal's folder, inside the notebook's.
FOLDER = ".durable"

_ENV_STORE = "NOTEBOOK_DURABLE_STORE"
_ENV_KEY_FILE = "NOTEBOOK_DURABLE_KEY_FILE"
_ENV_MAX_ATTEMPTS = "NOTEBOOK_DURABLE_MAX_ATTEMPTS"
_ENV_WARN_SIZE = "NOTEBOOK_DURABLE_WARN_SIZE"
#: Bytes of a journal that are said to be many, if nobody says otherwise.
_WARN_SIZE = 10 * 10**9


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set for a whole notebook or program.

    Attributes:
        start_dir: the folder that relative paths begin at; fixed, so that ``%cd`` changes nothing.
        store: the journal's folder, or a Store object; None: ``.durable`` in ``start_dir``.
        key_file: where the key is that entries are authenticated with; None: in Jupyter's data folder.
        max_attempts: bound for steps that don't set their own; None: no limit.
        warn_size: bytes from which on it is said that the journal is large; 0: never.
    """

    start_dir: Path
    store: Path | Store | None = None
    key_file: Path | None = None
    max_attempts: int | None = None
    warn_size: int = _WARN_SIZE

    @classmethod
    def resolve(
        cls,
        *,
        start_dir: str | Path | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        key_file: str | os.PathLike[str] | None = None,
        max_attempts: int | None = None,
        warn_size: str | int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Read settings from the arguments, then the environment, then the defaults.

        Raises:
            ConfigurationError: if a value can't be used; names where it came from.
        """
        env = os.environ if environ is None else environ
        base = Path.cwd() if start_dir is None else Path(start_dir).expanduser().absolute()
        if store is None:
            store = env.get(_ENV_STORE) or None
        if key_file is None:
            key_file = env.get(_ENV_KEY_FILE) or None
        if max_attempts is None and env.get(_ENV_MAX_ATTEMPTS):
            max_attempts = _whole_number(env[_ENV_MAX_ATTEMPTS], _ENV_MAX_ATTEMPTS)
        RetryPolicy(max_attempts=max_attempts)  # checks it
        if warn_size is None:
            warn_size = env.get(_ENV_WARN_SIZE) or _WARN_SIZE
        return cls(
            start_dir=base,
            store=_place(base, store),
            key_file=None if key_file is None else _folder(base, key_file, "key_file"),
            max_attempts=max_attempts,
            warn_size=byte_count(warn_size),
        )

    @property
    def folder(self) -> Path | None:
        """The journal's folder; None if the store is an object."""
        if self.store is None:
            return self.start_dir / FOLDER
        return self.store if isinstance(self.store, Path) else None

    def using(self, **changes: Any) -> Settings:
        """Return settings with some values replaced."""
        return replace(self, **changes)


def _place(base: Path, store: Any) -> Path | Store | None:
    if store is None or not isinstance(store, (str, os.PathLike)):
        if store is not None and not hasattr(store, "claim"):
            raise ConfigurationError(f"store must be a folder or a Store object, not {type(store).__name__}: {store!r}")
        return store
    return _folder(base, store, "store")


def _folder(base: Path, value: str | os.PathLike[str], what: str) -> Path:
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ConfigurationError(f"{what} must be a path, not {value!r}")
    return base / Path(text).expanduser()


def _whole_number(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{where} must be a whole number, not {text!r}") from None


def open_store(settings: Settings, notice: Callable[[str], None] | None = None) -> Store:
    """Open the journal that the settings name, creating it if there is none.

    Args:
        settings: see :class:`Settings`.
        notice: is told, once, what the user should know (a network filesystem, say).

    Raises:
        StoreError: if it can't be used.
        ConfigurationError: if the key can't be used.
    """
    folder = settings.folder
    if folder is None:
        assert not isinstance(settings.store, (Path, type(None)))  # noqa: S101  that is what folder says
        return settings.store
    signer = _signer(settings.key_file or default_key_path(), notice)
    if notice is None:
        return SqliteStore(folder, signer)
    return SqliteStore(folder, signer, on_notice=notice)


def _signer(path: Path, notice: Callable[[str], None] | None) -> Signer:
    """Load the key, making it if there is none, and remember that it is this user's."""

    def tell(text: str) -> None:
        if (str(path), text) not in _told:  # a journal is opened for each cell
            _told.add((str(path), text))
            (notice or logging.getLogger("notebook_durable").warning)(text)

    def made() -> None:
        if known_at(path):
            tell(
                f"there was no key at {path} any more, so a new one was made. Journals that you wrote with the one "
                "that was there are not believed now: put it back if you have a backup, or see %durable trust."
            )

    signer = Signer(load_key(path, tell, made), str(path))
    remember(signer.key_id, path)
    return signer


#: What was said about a key file already.
_told: set[tuple[str, str]] = set()


def open_session(
    run: RunId,
    settings: Settings,
    *,
    asynchronous: bool,
    fresh: bool = False,
    strict: bool = False,
    notebook: str | None = None,
    observers: Sequence[Observer] | None = None,
    guard: Guard | None = None,
    notice: Callable[[str], None] | None = None,
    policy: RetryPolicy | None = None,
    recorder: Recorder | None = None,
) -> Session:
    """Open an execution of a run.

    Args:
        run: which run.
        settings: where the journal is, and defaults.
        asynchronous: give an AsyncContext.
        fresh: archive the run and start a new one.
        strict: hold the code to the recorded order.
        notebook: path of the notebook that asks.
        observers: get its events; None: the log.
        guard: holds Stop back during writes; None: one that is not installed.
        notice: is told, once, what the user should know about the store.
        policy: retry policy of steps that don't say otherwise.
        recorder: takes down what steps print and display; None: nobody does.

    Raises:
        StoreError, ConfigurationError, RunOpenError: nothing has run then.
    """
    store = open_store(settings, notice)
    owns = settings.folder is not None
    ports = Ports(
        store=store,
        codec=DefaultCodec(),
        executor=InlineExecutor(),
        describer=fingerprinter(),
        clock=SystemClock(),
        guard=SigintGuard() if guard is None else guard,
        observers=(LogObserver(),) if observers is None else tuple(observers),
        owns_store=owns,
        recorder=recorder,
        previewer=preview,
    )
    policy = policy or RetryPolicy()
    if policy.max_attempts is None:
        policy = policy.override(max_attempts=settings.max_attempts)
    try:
        session = Session(
            run,
            ports,
            this_process(),
            policy=policy,
            asynchronous=asynchronous,
            fresh=fresh,
            strict=strict,
            notebook=notebook,
        )
    except BaseException:
        if owns:
            store.close()
        raise
    if settings.folder is not None:
        _tell_of_room(session, settings, notice or logging.getLogger("notebook_durable").warning)
    return session


def _tell_of_room(session: Session, settings: Settings, notice: Callable[[str], None]) -> None:
    """Say before the steps run that the disk is nearly full, or that the journal has become large."""
    last = session.claim.execution - 1
    wrote = sum(entry.value_size for entry in session.journal.all() if entry.execution == last)
    for text in room_of(Path(session.store.location)).beginning(wrote, settings.warn_size, time.monotonic()):
        notice(text)


@functools.cache
def fingerprinter() -> Fingerprinter:
    """Return the one describer of this process: it remembers code."""
    from blake3 import blake3

    return Fingerprinter(blake3)


def this_process() -> Owner:
    """Name this process so that another can tell whether it is still alive."""
    pid = os.getpid()
    return Owner(pid=pid, host=platform.node() or "localhost", boot=_boot(), started=_started(pid))


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        # The command's name, in brackets, may hold spaces: count fields from behind it. Field 22 is the start time.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
