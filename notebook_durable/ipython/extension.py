"""``%load_ext notebook_durable``: everything that is added to a kernel, and taken away again."""

from __future__ import annotations

import asyncio
import builtins
import sys
from pathlib import Path
from typing import Any

from notebook_durable.errors import ConfigurationError, UsageError
from notebook_durable.ipython import identity, magics, transformer
from notebook_durable.ipython.brackets import Bracket, Brackets
from notebook_durable.ipython.cell import Cell, check_stacked
from notebook_durable.ipython.config import Durable
from notebook_durable.ipython.output import LiveOutput
from notebook_durable.ipython.recorder import OutputRecorder
from notebook_durable.ipython.tracebacks import Display, hide_own_frames, relabel
from notebook_durable.wiring import Settings

__all__ = ["Extension", "load", "unload"]


class Extension:
    """What one shell got from us.

    Args:
        shell: IPython's.

    Raises:
        ConfigurationError: for a setting in the environment that can't be used; then nothing was added.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.config = Durable(parent=shell)
        # Once, at load: neither %cd nor a later change of the environment moves a journal.
        self._start_dir = identity.start_folder(shell.user_ns)
        found = Settings.resolve(start_dir=self._start_dir)
        self._store = found.store if found.store is not None else found.folder
        self._brackets = Brackets(shell)
        self.settings()

    # -- coming and going

    def add(self) -> None:
        """Add transformer, events, magics, completion and settings."""
        shell = self.shell
        setattr(builtins, transformer.ENTRY, self.begin)  # not the user's namespace: %reset would take it away
        # Last of the cleanups: prompts and a common indentation are gone, cell magics not yet looked for.
        shell.input_transformers_cleanup.append(transformer.transform)
        self._brackets.register()
        shell.configurables.append(self.config)
        magics.add(self)

    def remove(self) -> None:
        """Take all of it away."""
        shell = self.shell
        magics.remove(self)
        self._brackets.unregister()
        if transformer.transform in shell.input_transformers_cleanup:
            shell.input_transformers_cleanup.remove(transformer.transform)
        if self.config in shell.configurables:
            shell.configurables.remove(self.config)
        if hasattr(builtins, transformer.ENTRY):
            delattr(builtins, transformer.ENTRY)

    # -- settings

    def settings(self) -> Settings:
        """Read the settings as they are now.

        Raises:
            ConfigurationError: if one can't be used.
        """
        config = self.config
        config.check()
        return Settings.resolve(
            start_dir=self._start_dir,
            store=config.store if config.store is not None else self._store,
            key_file=config.key_file,
            max_attempts=config.max_attempts,
            warn_size=config.warn_size,
        )

    def notebook(self) -> Path | None:
        """The notebook of this kernel, if it is known."""
        return identity.notebook_path(self.shell.user_ns, self._start_dir)

    def announce(self) -> None:
        """Say where the journal is."""
        settings = self.settings()
        place = settings.folder if settings.folder is not None else getattr(settings.store, "location", settings.store)
        print(f"notebook_durable: journal in {place}")  # noqa: T201

    # -- a cell

    def begin(self, line: str, *, timed: bool = False, stacked: str = "") -> Any:
        """Begin a durable cell: the call that its first line became.

        Args:
            line: what stood behind ``%%durable``.
            timed: ``%%time`` stood above it.
            stacked: a magic below it that can't take the ``await`` in its body.

        Returns:
            The context.
        """
        shell = self.shell
        bracket = self._brackets.current()
        if bracket is None:
            raise UsageError("%%durable works in a cell. In plain Python type: with durable('NAME') as ctx: ...")
        frame = sys._getframe(1)  # noqa: SLF001  the cell's own
        expanded = shell.var_expand(line, depth=1)
        waits = not stacked and self._uses_await(bracket)
        asynchronous = waits and _in_task()
        cell = Cell(shell, asynchronous=asynchronous)
        bracket.at_end.append(cell.end)
        raw = next((text.strip() for text in bracket.info.raw_cell.splitlines() if "%%durable" in text), "%%durable")
        cell.label(frame.f_code.co_filename, frame.f_lineno, raw)
        if timed:
            relabel(frame.f_code.co_filename, 1, "# %%time")

        def open_it(cell: Cell) -> Any:
            check_stacked(stacked)
            if waits and not asynchronous:
                raise ConfigurationError("`await` in a durable cell needs asyncio. Type: %autoawait asyncio")
            return self._open(expanded, bracket, cell, asynchronous=asynchronous)

        return cell.begin(open_it, timed=timed)

    def _open(self, line: str, bracket: Bracket, cell: Cell, *, asynchronous: bool) -> Any:
        from notebook_durable.wiring import open_session

        options = identity.parse_line(line)
        run = identity.identify(options, _cell_id(bracket))
        cell_id = _cell_id(bracket)
        # A front end that doesn't name its cells (nbclient, papermill, a terminal) has nobody who looks at widgets.
        output = LiveOutput(self.shell, run, widget=cell_id is not None and self.config.widgets)
        recorder = cell.record(OutputRecorder(self.shell)) if options.output else None
        notebook = self.notebook()
        session = open_session(
            run,
            self.settings(),
            asynchronous=asynchronous,
            fresh=options.fresh,
            strict=options.strict,
            notebook=None if notebook is None else str(notebook),
            observers=(output, *self.config.observers),
            guard=cell.guard,
            notice=_say,
            recorder=recorder,
        )
        output.connect(session.controls)
        cell.watch(output)
        return session

    def _uses_await(self, bracket: Bracket) -> bool:
        """Tell whether IPython runs this cell on the event loop: by its own rule, so that the two never disagree."""
        shell, info = self.shell, bracket.info
        transformed = getattr(info, "transformed_cell", None)
        if transformed is None:
            transformed = shell.transform_cell(info.raw_cell)
        return bool(shell.should_run_async(info.raw_cell, transformed_cell=transformed))

    def run_through_magic(self, line: str, body: str) -> None:
        """Run a cell that reached the registered magic: a script made by nbconvert, another magic's body.

        Raises:
            BaseException: what the cell raised; it is not shown a second time.
        """
        shell = self.shell
        text = f"%%durable {line}\n{body}"
        if _loop_is_running() and shell.should_run_async(text, transformed_cell=shell.transform_cell(text)):
            raise ConfigurationError(
                "a cell with `await` can't be run from inside another one. Put %%durable on the first line of the cell."
            )
        quiet = Display(shell, lambda _error: None)
        quiet.install()
        try:
            result = shell.run_cell(text, store_history=False)
        finally:
            quiet.remove()
        error = result.error_before_exec if result.error_before_exec is not None else result.error_in_exec
        if error is not None:
            hide_own_frames(error)
            # Without the frame of IPython's own that called the cell.
            raise error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)


def _cell_id(bracket: Bracket) -> str | None:
    """The id of the cell; of the outer one for a body that a magic of the same cell runs, such as ``%%capture``."""
    current: Bracket | None = bracket
    while current is not None:
        if current.info.cell_id is not None:
            return str(current.info.cell_id)
        outer = current.outer
        if outer is None or current.info.raw_cell.strip() not in outer.info.raw_cell:
            return None
        current = outer
    return None


def _in_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _say(text: str) -> None:
    print(f"notebook_durable: {text}", file=sys.stderr)  # noqa: T201


_loaded: list[Extension] = []


def load(shell: Any) -> None:
    """Add ``%%durable`` and ``%durable`` to a shell. Loading twice does nothing more."""
    if any(extension.shell is shell for extension in _loaded):
        return
    extension = Extension(shell)
    extension.add()
    _loaded.append(extension)
    extension.announce()


def unload(shell: Any) -> None:
    """Take away all that :func:`load` added."""
    for extension in [one for one in _loaded if one.shell is shell]:
        extension.remove()
        _loaded.remove(extension)
