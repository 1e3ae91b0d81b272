"""The ports: what the engine needs from the world. Each docstring is the contract that its test suite checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from notebook_durable.errors import UntrustedJournalError
from notebook_durable.events import Event
from notebook_durable.model import (
    Attempt,
    Claim,
    Entry,
    ExecutionInfo,
    Extra,
    Message,
    Outcome,
    Owner,
    Payload,
    RunId,
    RunInfo,
    RunStatus,
)
from notebook_durable.parts import Parts

__all__ = [
    "Adopted",
    "Checked",
    "Clock",
    "Codec",
    "Describer",
    "Description",
    "DiskUsage",
    "Executor",
    "Exported",
    "Family",
    "Findings",
    "Guard",
    "Observer",
    "Pool",
    "Previewer",
    "Problem",
    "Record",
    "Recorder",
    "Recording",
    "Serializer",
    "Store",
    "Waiter",
]

#: What ``Store.record`` takes, as one.
Record = tuple[Entry, Attempt | None, Extra | None]


@runtime_checkable
class Serializer(Protocol):
    """Turns a step's value into bytes and back (Restate's ``Serde`` plus a name).

    ``deserialize(serialize(value))`` must equal ``value`` and have its type. ``name`` is written into the journal and
    must stay the same as long as old entries are to be read. Either method may raise anything; an error in
    ``serialize`` makes the value "not storable", one in ``deserialize`` reaches the cell.
    """

    @property
    def name(self) -> str: ...

    def serialize(self, value: Any, /) -> bytes: ...

    def deserialize(self, data: bytes, /) -> Any: ...


class Codec(Protocol):
    """Chooses a serializer per value, and finds the one that wrote a payload."""

    def encode(self, value: Any, serializer: Serializer | str | None = None) -> Payload:
        """Write a value, with ``serializer`` (an object, "json", "dill", "parquet" or "arrow") if one is given.

        The payload's buffers are read-only views of the value's own memory: write them before anybody changes it.

        Raises:
            NotStorableError: if it could not be brought back as it is; names type and path.
            ConfigurationError: if ``serializer`` is none, or needs a library that is not installed.
        """

    def decode(self, payload: Payload, serializer: Serializer | str | None = None) -> Any:
        """Read a value. The caller has made sure that the bytes are authentic.

        Buffers that can be written to become the value's own memory (copy-on-write maps); others are copied where an
        array has to be writable, so nothing that is written to the value reaches them.

        Raises:
            UnknownSerializerError: if neither ``serializer`` nor a built-in one has the recorded name.
            UndefinedClassError: if a class of the notebook is not defined yet.
            OutdatedValueError: if it can't be read, and the libraries that wrote it were other versions.
        """

    def resolve(self, serializer: Any) -> tuple[Serializer, str]:
        """Return the serializer that ``serializer`` stands for, and the name to record.

        Raises:
            ConfigurationError: if it is none; asked before a step runs, so that no work is lost.
        """


class Store(Protocol):
    """Keeps runs and their entries. Used by one thread at a time, except the reading methods.

    Every write names its claim and is refused with RunTakenOverError if a later claim exists. A write either happens
    whole or not at all. What was committed is readable by any process afterwards, also when this one is killed.
    Errors are StoreError and its subclasses, never the driver's own; nothing that is not ours is overwritten.
    """

    @property
    def location(self) -> str:
        """Where it is, for people."""

    @property
    def largest_value(self) -> int:
        """How many bytes a payload may have."""

    # -- executing a run

    def claim(
        self,
        run: RunId,
        owner: Owner,
        *,
        now: float,
        notebook: str | None = None,
        fresh: bool = False,
        start_over_after: Collection[RunStatus] = (),
    ) -> Claim:
        """Take the newest run of this name for ``owner`` and begin an execution, creating the run if there is none.

        With ``fresh``, or if the run's status is in ``start_over_after``, that run is archived (never deleted) and a
        new one begun. An execution that never ended is closed as ``Outcome.KILLED``.

        Raises:
            RunOpenError: if this process holds the run already.
            RunBusyError: if another living process holds it. A dead one on this machine doesn't count.
            NotebookMismatchError: if the run was recorded by another notebook. ``None`` fits any.
            UntrustedJournalError: if the journal was written with another key.
        """

    def entries(self, claim: Claim) -> Sequence[Entry]:
        """Return all entries of the run by ``seq``. One that fails its check comes with ``intact=False``."""

    def attempts(self, run_id: int, seq: int) -> Sequence[Attempt]:
        """Return the failed attempts of an entry, oldest first. Those that fail their check are left out."""

    def begin(self, claim: Claim, entry: Entry, *, wait: bool = False) -> None:
        """Write that an attempt begins (insert, or replace the entry with this ``seq``).

        It survives the death of the process when this returns, and a power cut only with ``wait``.
        """

    def record(self, claim: Claim, entry: Entry, attempt: Attempt | None = None, extra: Extra | None = None) -> None:
        """Write an entry's new state, and with it a failed attempt and what is kept for people. On disk on return.

        The extra of an earlier state doesn't outlive it: without a new one there is none.

        Raises:
            RunTakenOverError: after the entry was kept as a detached one.
            JournalUnwritableError: full disk and the like; the journal is as it was.
        """

    def record_many(self, claim: Claim, records: Sequence[Record]) -> None:
        """Write the new states of several entries as :meth:`record` does, in one transaction. On disk on return.

        May be called from another thread than the writing methods otherwise are, one call at a time.

        Raises:
            RunTakenOverError: after all entries were kept as detached ones.
            JournalUnwritableError: full disk and the like; the journal is as it was.
        """

    def keep(self, claim: Claim, texts: Mapping[str, str]) -> None:
        """Write texts that entries name by their id (``parts.text_id``), unless they are there already.

        They survive the death of the process when this returns, and are on disk with the next ``record``.
        """

    def end(
        self,
        claim: Claim,
        outcome: Outcome,
        status: RunStatus,
        changes: Sequence[Entry] = (),
        *,
        now: float,
        used: Sequence[int] | None = None,
    ) -> None:
        """End the execution, with the last changes to entries, in one transaction. On disk when this returns.

        ``used`` is written down as ``ExecutionInfo.used``.
        """

    def release(self, claim: Claim) -> None:
        """Give the run back. Never raises; releasing twice does nothing."""

    # -- looking, and answering from outside

    def runs(self, workflow: str | None = None, *, archived: bool = False) -> Sequence[RunInfo]:
        """List runs, newest first. Needs no claim, takes no lock, unpickles nothing."""

    def read(self, run_id: int, seqs: Collection[int] | None = None, *, values: bool = True) -> Sequence[Entry]:
        """Return the entries of any run, or some of them, as ``entries`` does. Needs no claim and takes no lock.

        Without ``values`` they come without the bytes of these, so that a large run takes little memory: ``size``
        says how many there are, and an entry with a value has a ``serializer``.
        """

    def payload(self, run_id: int, entry: Entry) -> Payload:
        """Return the value of an entry as bytes, verified.

        Large buffers are private maps: writing to one changes no file. What is not verified is never returned.

        Raises:
            DamagedValueError: if they are not what was recorded. The entry stays; its value must be computed anew.
            UntrustedJournalError: if the journal was written with another key, unless the serializer is "json".
        """

    def executions(self, run_id: int) -> Sequence[ExecutionInfo]:
        """List the executions of a run, oldest first. Needs no claim and takes no lock."""

    def texts(self, ids: Collection[str]) -> Mapping[str, str]:
        """Return the texts of these ids, as far as they are there and are what their id says."""

    def extras(self, run_id: int, seqs: Collection[int] | None = None) -> Mapping[int, Extra]:
        """Return what is kept for people with these entries, or with all of a run. Needs no claim.

        Those that fail their check are left out. Of a journal written with another key only previews are returned.
        """

    def shown(self, run_id: int) -> Collection[int]:
        """Return the entries that have outputs, without reading these."""

    def post(self, run_id: int, message: Message) -> None:
        """Leave a message for whoever executes a run, or will. Needs no claim and takes no lock. On disk on return."""

    def inbox(self, run_id: int) -> Sequence[Message]:
        """Return the messages of a run, oldest first, without those that fail their check."""

    def discard(self, run_id: int, ids: Collection[int]) -> None:
        """Delete messages."""

    def amend(self, run_id: int, entries: Sequence[Entry]) -> None:
        """Replace entries from outside an execution, under the run's lock. On disk when this returns.

        Raises:
            RunBusyError, RunOpenError: if somebody executes the run.
        """

    def forget(self, run_id: int, seqs: Collection[int] | None = None) -> int:
        """Delete entries of a run for good, with their attempts; with None the whole run. Returns how many entries.

        Raises:
            RunBusyError, RunOpenError: if somebody executes the run.
        """

    def sweep(self) -> int:
        """Delete texts and large values that no entry refers to, and give free space back; returns the bytes won.

        Safe beside writers in other processes; values that were handed out stay as they are.
        """

    def verify(self, progress: Callable[[Checked], None] | None = None) -> Sequence[Problem]:
        """Check every row and the bytes of every value; changes nothing.

        Args:
            progress: is told how far it is, after the rows and after each large value.

        Raises:
            UntrustedJournalError: if the journal was written with another key.
        """

    def disk_usage(self) -> DiskUsage:
        """Count what the store takes."""

    def untrusted(self) -> UntrustedJournalError | None:
        """Return the error that says why nothing in the journal is unpickled; None if it is believed."""

    def examine(self, key_file: Path | None = None) -> Findings:
        """Look at a journal that was written with another key, as far as that can be done without believing it.

        Args:
            key_file: the key that it was written with, if it is at hand: every mark and every value is checked then.

        Raises:
            ConfigurationError: if ``key_file`` is another key.
        """

    def trust(self, key_file: Path | None = None, *, key_id: str | None = None) -> Findings:
        """Sign a journal that was written with another key with one's own: from then on its values are unpickled.

        A row that fails its check, or can't be read, is not signed, and so is damaged from then on. A killed process
        leaves the journal as it was, or trusted.

        Args:
            key_file: see :meth:`examine`.
            key_id: refuse a journal that was written with another key than this: what was examined is trusted.

        Raises:
            RunBusyError, RunOpenError: if a run of it is being executed.
            ConfigurationError: if ``key_file`` or ``key_id`` is another key.
            JournalUnwritableError: if there is too little space: values are written anew.
        """

    def export(self, run_id: int, file: Path, *, values: bool = True, now: float) -> Exported:
        """Write a run to a new file: entries, attempts, executions, extras, texts, answers not yet fetched, values.

        Everything in it was verified and is authenticated with this store's key. What is damaged is left out: its step
        runs again where the file is imported. So is an entry that a kernel recorded after it had lost the run.

        Args:
            run_id: the run.
            file: is there, whole, when this returns, and not at all if it fails.
            values: without them the steps are shown, and run again.
            now: seconds since the epoch.

        Raises:
            ConfigurationError: if there is such a file already, or it can't be written.
            UntrustedJournalError: if the journal was written with another key.
        """

    def adopt(
        self,
        file: Path,
        run: RunId | None = None,
        *,
        replace: bool = False,
        trust: bool = False,
        values: bool = True,
        now: float,
    ) -> Adopted:
        """Take in a run that :meth:`export` has written, whole or not at all; every byte is verified before.

        It belongs to no notebook yet. What was under way in it was cut off.

        Args:
            file: the file.
            run: the name that it gets; None: its own.
            replace: archive the run of that name.
            trust: believe a file that was exported with another key, and sign it with this store's.
            values: without them the steps run again, and JSON can be looked at; a file of another key need not be
                trusted for that.
            now: seconds since the epoch.

        Raises:
            StoreError: if it is damaged, or no such file.
            JournalFormatError: if it was written by a newer version.
            UntrustedJournalError: if it was exported with another key.
            ConfigurationError: if there is no such file, or a run of that name already.
            RunBusyError, RunOpenError: if somebody executes that run.
        """

    def set_notebook(self, workflow: str, notebook: str | None) -> int:
        """Make the runs of a workflow belong to ``notebook`` (None: to any), and return how many there are."""

    def close(self) -> None:
        """Close files. Releases what is still claimed. Closing twice does nothing."""


class Problem(NamedTuple):
    """Something that ``Store.verify`` found.

    Attributes:
        kind: "row" or "value" (damaged: its step is run again), "database", "text", "litter" (left from a crash),
            "unused" (no entry refers to it), "quarantine" (set aside as damaged).
        text: for people, in a sentence.
        run_id, seq, step: of which entry, if it is about one.
    """

    kind: str
    text: str
    run_id: int = 0
    seq: int = -1
    step: str = ""


class Checked(NamedTuple):
    """How far ``Store.verify`` is.

    Attributes:
        rows: rows of entries that were checked.
        values: values that lie outside of rows, and were checked.
        done, total: bytes of these, so far and in all.
    """

    rows: int
    values: int
    done: int
    total: int


class Exported(NamedTuple):
    """What ``Store.export`` wrote: entries, bytes of their values, how much damage was left out, bytes of the file."""

    entries: int
    size: int
    left_out: int
    written: int


class Adopted(NamedTuple):
    """What ``Store.adopt`` took in.

    Attributes:
        run_id, run, number: the run as it is here.
        entries, size: how many, and bytes of their values.
        replaced: number of the run that was archived for it.
        signed: it was exported with this store's key.
    """

    run_id: int
    run: RunId
    number: int
    entries: int
    size: int
    replaced: int | None
    signed: bool


class Findings(NamedTuple):
    """What ``Store.examine`` found in a journal, and ``Store.trust`` signed.

    Attributes:
        key_id: names the key that the journal says it was written with.
        mine: that is the key in use: there is nothing to trust.
        checked: the marks were checked with that key; else nobody can say whether something was changed.
        runs, steps: how many there are.
        pickled: values that only unpickling brings back, or a serializer of the user's.
        size: bytes of all values.
        messages: those that nobody has taken up yet.
        damaged: how many problems there are.
        problems: them, or the first thousand; "row": it will not be trusted, "value": it is lost.
        space: bytes that values outside of the database take; so much is written anew.
    """

    key_id: str = ""
    mine: bool = True
    checked: bool = False
    runs: int = 0
    steps: int = 0
    pickled: int = 0
    size: int = 0
    messages: int = 0
    damaged: int = 0
    problems: Sequence[Problem] = ()
    space: int = 0


class DiskUsage(NamedTuple):
    """Bytes on the disk; None: unknown.

    Attributes:
        database, blobs, packs, quarantine: of the database, of large values, of middle-sized ones, of damaged ones.
        free: that can still be written.
        unneeded: of ``blobs`` and ``packs``, those of files that no entry refers to: ``Store.sweep`` frees them.
    """

    database: int
    blobs: int
    packs: int
    quarantine: int
    free: int | None
    unneeded: int = 0


class Executor(Protocol):
    """Calls a step's function. Raises what it raises, unchanged."""

    def call(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call it on this thread and return what it returns (an awaitable, if it is async)."""

    def wait(self, awaitable: Awaitable[Any], guard: Guard) -> Any:
        """Run an awaitable to its end from sync code, whether or not a loop runs in this thread."""

    def pool(self, workers: Any, most: int | None, items: int) -> Pool:
        """Open workers that call functions side by side.

        Args:
            workers: "threads", "processes", or an object with ``submit``, as ``concurrent.futures`` has them.
            most: how many; None: as many as are usual for the kind.
            items: how many there are to call: no more workers of ours are started.

        Raises:
            ConfigurationError: for anything else.
            MissingExtraError: if a library is missing.
        """

    def close(self) -> None:
        """Close the loop that ``wait`` made, if any."""


class Pool(Protocol):
    """Workers that call functions side by side; opened for one ``ctx.map``."""

    @property
    def workers(self) -> int:
        """How many there are, as far as is known."""

    @property
    def separate(self) -> bool:
        """True if the workers are processes: what they are given is pickled, and they can be killed."""

    @property
    def quick(self) -> bool:
        """True if ``submit`` is known to return at once: Stop is held back meanwhile."""

    def pack(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``fn`` as it is to be submitted.

        Raises:
            ConfigurationError: if it can't be sent to a worker.
        """

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have a worker call ``fn``. Raises BrokenExecutor if there are no workers any more."""

    def mend(self) -> bool:
        """Begin anew after workers have died. False if that can't be done."""

    def stop(self) -> None:
        """End the work: processes are killed, threads can't be. Returns at once."""

    def close(self) -> None:
        """Let go of the workers, whose work is done. Never raises."""


class Description(Protocol):
    """What one call of a step computes from, as it was when it was described."""

    @property
    def fingerprint(self) -> str:
        """Digest of code and inputs together; asking for it ends the time of ``mark``."""

    @property
    def libraries(self) -> str:
        """The code's libraries with their versions."""

    @property
    def tracked(self) -> bool:
        """False if an input has parts without content, so that equal fingerprints may mean different inputs."""

    @property
    def names(self) -> Sequence[str]:
        """Names of all its inputs, those that are left out too."""

    def mark(self, name: str, value: bytes, short: str) -> None:
        """Add an input."""

    def things(self) -> Sequence[Any]:
        """Return the parts of its inputs that have no content: what it may change, or see changed, unnoticed."""

    def values(self) -> Sequence[Any]:
        """Return its inputs themselves."""

    def paths(self) -> Sequence[str]:
        """Return its text and path inputs that look like the path of a file, or a URL."""

    def missing(self) -> Sequence[str]:
        """Return the names that its code reads and that are not defined."""

    def unknown(self, names: Sequence[str]) -> Sequence[str]:
        """Return those of the names that are no input of it."""

    def input(self, name: str) -> Any:
        """Return the input of this name as it is now; None if there is none."""

    def changed(self) -> Sequence[str]:
        """Return the names of inputs whose content is another now."""

    def parts(self) -> Parts:
        """Return its parts by name, secrets redacted."""

    def texts(self) -> Mapping[str, str]:
        """Return the texts that its parts name, by id, secrets redacted."""


class Describer(Protocol):
    """Tells what a step computes from. Never raises."""

    @property
    def version(self) -> int:
        """Of the definition of its fingerprints: those of another one can't be compared with them."""

    def describe(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        ignore: Sequence[str] = (),
        marks: Sequence[tuple[str, Any]] = (),
        files: Sequence[str] = (),
    ) -> Description:
        """Describe a call; ``marks`` are further inputs by name, ``files`` paths whose content counts."""

    def family(
        self,
        fn: Callable[..., Any],
        *,
        keyed: bool = False,
        ignore: Sequence[str] = (),
        marks: Sequence[tuple[str, Any]] = (),
        files: Sequence[str] = (),
    ) -> Family:
        """Describe the calls ``fn(item)`` of all items at once; with ``keyed`` each item has a key that counts."""

    def forget(self) -> None:
        """Let go of the values that were seen: the execution has ended."""


class Family(Protocol):
    """What the calls of one function with one argument each compute from.

    The fingerprint of an item is that of ``Describer.describe(fn, (item,), {}, marks=[("key", key)] if keyed)``.
    """

    @property
    def call(self) -> Description:
        """The call, without the item."""

    @property
    def name(self) -> str | None:
        """Name of the parameter that takes the item; None if it doesn't count."""

    def digest(self, item: Any) -> Any:
        """Digest an item: what the other methods take as ``digest``."""

    def fingerprint(self, digest: Any, key: str | None) -> str:
        """Return the fingerprint of one call."""

    def tracked(self, digest: Any) -> bool:
        """Tell whether all of an item has content."""

    def changed(self, item: Any, digest: Any) -> bool:
        """Tell whether an item's content is another now."""

    def writer(self, parts: Parts, hide: Callable[[str], str], secret: Collection[str]) -> PartsWriter:
        """Return what writes down the parts of single calls; ``parts`` are those of :attr:`call`."""


class PartsWriter(Protocol):
    """Writes down the parts of the calls of a family."""

    def __call__(self, item: Any, digest: Any, key: str | None) -> str: ...


class Observer(Protocol):
    """Gets every event of an execution, in order, on the thread where it happened. An error in it is logged only."""

    def notify(self, event: Event, /) -> None: ...


class Clock(Protocol):
    """Time, as an argument."""

    def time(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def wait(self, waiter: Waiter, duration: float | None, poll: Callable[[], Any]) -> None:
        """Wait until ``waiter`` is set, or ``duration`` seconds (None: without end).

        Meanwhile ``poll`` is called about twice a second. SIGINT ends it with KeyboardInterrupt.
        """

    async def wait_async(self, waiter: Waiter, duration: float | None, poll: Callable[[], Any]) -> None:
        """As :meth:`wait`, on the running loop."""

    async def asleep(self, duration: float) -> None:
        """Wait ``duration`` seconds on the running loop."""


class Waiter(Protocol):
    """Something to wait for; may be set from any thread."""

    def is_set(self) -> bool: ...

    def wait(self, duration: float) -> None:
        """Wait until it is set, at most ``duration`` seconds."""

    async def wait_async(self, duration: float) -> None:
        """As :meth:`wait`, on the running loop."""


class Recording(Protocol):
    """Takes down what is printed and displayed while it is entered, and shows it as always.

    Entered once or more for one attempt, never twice at a time; several may be entered at once, by tasks side by side:
    each gets what its own task (and tasks started from it) says.
    """

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: object) -> None: ...

    def finish(self, value: Any) -> None:
        """The attempt gave this value: show now what it left to be shown later, such as open figures."""

    def outputs(self, hide: Callable[[str], str]) -> str:
        """Return what was taken down, as JSON text (see ``model.Extra``), every text passed through ``hide``."""


class Recorder(Protocol):
    """Takes down what steps print and display, and shows it again. An error in it never reaches a step."""

    def recording(self) -> Recording:
        """Return a new recording, not entered yet."""

    def show(self, entry: Entry, outputs: str) -> None:
        """Show what was taken down when ``entry`` was recorded."""


class Previewer(Protocol):
    """Makes the preview of a value: JSON text as ``previews`` describes it. Quick, small, and never raises."""

    def __call__(self, value: Any, /, *, hide: Callable[[str], str], secret: Collection[str]) -> str: ...


class Guard(Protocol):
    """Keeps Stop (SIGINT) from cutting a journal write in two."""

    @property
    def stops(self) -> int:
        """How often Stop was asked for in this execution."""

    def postpone(self) -> None:
        """Deliver a Stop again that came to nothing: when the shield that is up, or the next one, is left."""

    def shield(self) -> AbstractContextManager[None]:
        """Hold Stop back inside the block; on leaving it, deliver the one that came meanwhile."""

    def cancelling(self, cancel: Callable[[], Any]) -> AbstractContextManager[None]:
        """While the block waits for an event loop: let Stop call ``cancel`` instead of raising inside the loop."""

    def stop(self) -> None:
        """Do here and now what Stop does. Called on the thread of the cell."""

    def deadline(self, duration: float, error: Callable[[], BaseException]) -> AbstractContextManager[None]:
        """Raise ``error()`` in the block, on this thread, if it takes longer than ``duration`` seconds.

        By SIGALRM: Python code is interrupted, C code when it returns. What was set up for SIGALRM is put back.

        Raises:
            ConfigurationError: outside of the main thread, and where there is no SIGALRM.
        """

    def around(self, block: AbstractContextManager[Any]) -> AbstractContextManager[None]:
        """Enter and leave a block so that Stop can't cut that in two, and leave it for certain."""

    def watch(self, on_stop: Callable[[], Any] | None) -> AbstractContextManager[None]:
        """Call ``on_stop`` from another thread as soon as Stop arrives inside the block."""
