"""``%durable``: the runs of this store; and the cell magic as IPython's help, completion and scripts know it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from notebook_durable.errors import ConfigurationError, DurableError
from notebook_durable.ipython.identity import split

if TYPE_CHECKING:
    from notebook_durable.ipython.extension import Extension
    from notebook_durable.view import JournalView

__all__ = ["add", "remove"]

_USAGE = {
    "show": "%durable show NAME [--key KEY]",
    "outcome": "%durable outcome NAME [--key KEY] STEP --value EXPR | --retry",
    "share": "%durable share NAME",
    "moved": "%durable moved NAME",
}
_CELL_OPTIONS = ("--key", "--fresh", "--strict")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message}. Type: {self.usage}")


class _Magics:
    """The two magics and their completion, for one shell."""

    def __init__(self, extension: Extension) -> None:
        self._extension = extension
        self._shell = extension.shell

    # -- %durable

    def line(self, line: str) -> None:
        """Do what the line asks for."""
        command, _, rest = line.strip().partition(" ")
        doers: dict[str, Callable[[str], None]] = {
            "": lambda _rest: self._with_view(self._display),
            "show": self._show,
            "outcome": self._outcome,
            "share": self._share,
            "moved": self._moved,
        }
        doer = doers.get(command)
        if doer is None:
            known = "\n".join(f"    {usage}" for usage in ("%durable", *_USAGE.values()))
            raise ConfigurationError(
                f"%durable has no command '{command}'. Type one of:\n{known}\n"
                f"or, to run a cell: %%durable {command} (with two %) on its first line"
            )
        doer(rest)

    def _show(self, rest: str) -> None:
        found = self._parse("show", rest, named=True)
        self._with_view(lambda view: self._display(view.show(_one_name(found.words, "show"), found.key)))

    def _share(self, rest: str) -> None:
        found = self._parse("share", rest)
        self._with_view(lambda view: _tell(view.share(_one_name(found.words, "share"))))

    def _moved(self, rest: str) -> None:
        found = self._parse("moved", rest)
        notebook = self._extension.notebook()
        if notebook is None:
            raise ConfigurationError(
                "this kernel doesn't know its notebook's path (only JupyterLab and VS Code tell). "
                "Open the notebook there, or type: %durable share NAME"
            )
        self._with_view(lambda view: _tell(view.moved(_one_name(found.words, "moved"), str(notebook))))

    def _outcome(self, rest: str) -> None:
        # Everything behind --value is Python, blanks and quotes included.
        head, said, expression = rest.partition("--value")
        found = self._parse("outcome", head, named=True, retry=True)
        if len(found.words) < 2:
            raise ConfigurationError(f"name the workflow and the step. Type: {_USAGE['outcome']}")
        if found.retry == bool(said) or (said and not expression.strip()):
            raise ConfigurationError(f"say one of --value EXPR (it happened) and --retry. Type: {_USAGE['outcome']}")
        *words, step = found.words
        answer: dict[str, Any] = {"retry": True}
        if said:
            answer = {"value": self._evaluate(expression.strip().removeprefix("=").strip())}
        self._with_view(lambda view: _tell(view.outcome(_one_name(words, "outcome"), step, key=found.key, **answer)))

    def _evaluate(self, expression: str) -> Any:
        try:
            code = compile(expression, "<--value>", "eval")
        except SyntaxError as error:
            raise ConfigurationError(f"--value {expression}: not an expression ({error.msg})") from None
        return eval(code, self._shell.user_global_ns, self._shell.user_ns)  # noqa: S307  what the user typed

    def _parse(self, command: str, rest: str, *, named: bool = False, retry: bool = False) -> Any:
        parser = _Parser(prog="%durable", usage=_USAGE[command], add_help=False, allow_abbrev=False)
        parser.add_argument("words", nargs="*")
        if named:
            parser.add_argument("--key")
        if retry:
            parser.add_argument("--retry", action="store_true")
        return parser.parse_intermixed_args(split(self._shell.var_expand(rest, depth=5)))

    def _with_view(self, use: Callable[[JournalView], None]) -> None:
        from notebook_durable.view import JournalView

        view = JournalView(self._extension.settings())
        try:
            use(view)
        finally:
            view.close()

    def _display(self, shown: Any) -> None:
        from IPython.display import display

        display(shown)

    # -- completion

    def complete_line(self, _shell: Any, event: Any) -> list[str]:
        """Complete ``%durable``: commands, then the names of runs."""
        words = event.line[: len(event.line)].split()
        typing = event.symbol
        before = words[:-1] if typing and words and words[-1].endswith(typing) else words
        if len(before) <= 1:
            return [command for command in _USAGE if command.startswith(typing)]
        if len(before) == 2:
            return [name for name in self._names() if name.startswith(typing)]
        return ["--key"] if before[1] in ("show", "outcome") else []

    def complete_cell(self, _shell: Any, event: Any) -> list[str]:
        """Complete ``%%durable``: its options, and the names of runs."""
        typing = event.symbol
        if typing.startswith("-"):
            return [option for option in _CELL_OPTIONS if option.startswith(typing)]
        return [*self._names(), *_CELL_OPTIONS] if not typing else [n for n in self._names() if n.startswith(typing)]

    def _names(self) -> list[str]:
        names: list[str] = []
        try:
            self._with_view(lambda view: names.extend(run.run.workflow for run in view.runs()))
        except DurableError:
            pass  # no journal yet: nothing to offer
        return [f'"{name}"' if " " in name else name for name in dict.fromkeys(names)]


def _one_name(words: list[str], command: str) -> str:
    if not words:
        raise ConfigurationError(f"name the workflow. Type: {_USAGE[command]}")
    return " ".join(words)  # "cell 3f2a" needs no quotes here


def _tell(text: str) -> None:
    print(text)  # noqa: T201


def add(extension: Extension) -> None:
    """Register both magics and their completion."""
    from IPython.core.magic import no_var_expand

    shell, own = extension.shell, _Magics(extension)

    # Plain functions: `%%durable?` shows their docstring, `%%durable??` their source. The line is expanded later, once.
    def durable(line: str) -> None:
        """Look into the journal.

        ::

            %durable                                       the runs
            %durable show NAME [--key KEY]                 the steps of a run
            %durable outcome NAME [--key KEY] STEP --value EXPR | --retry
                                                           settle an at_most_once step whose kernel died
            %durable share NAME                            let every notebook use the runs of NAME
            %durable moved NAME                            the runs of NAME belong to this notebook now
        """
        own.line(line)

    def durable_cell(line: str, cell: str) -> None:
        """Run this cell durably: what its finished steps returned survives the kernel.

        ::

            %%durable NAME [--key KEY] [--fresh] [--strict]
            orders = ctx.run("load orders", load, url)               # journaled
            scored = ctx.run("score", score, orders, max_attempts=5) # retried, visibly

        NAME       names the journal; in quotes if it has blanks. Without one, JupyterLab's id of the cell is used.
        --key KEY  tells runs of one workflow apart, such as one for each day.
        --fresh    archive the run and start a new one.
        --strict   raise an error where steps leave their recorded order, and for results that can't be stored.

        Run the cell again, in this kernel or the next: finished steps give their recorded result back, and the work
        goes on where it stopped. With `await` in the cell, write `await ctx.run(...)`. {expr} in the line is filled in.
        """
        extension.run_through_magic(line, cell)

    shell.register_magic_function(no_var_expand(durable), "line", "durable")
    shell.register_magic_function(no_var_expand(durable_cell), "cell", "durable")
    shell.set_hook("complete_command", own.complete_line, str_key="%durable")
    shell.set_hook("complete_command", own.complete_cell, str_key="%%durable")


def remove(extension: Extension) -> None:
    """Take them away."""
    shell = extension.shell
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("durable", None)
    hooks = shell.strdispatchers.get("complete_command")
    for key in ("%durable", "%%durable"):
        if hooks is not None:
            hooks.strs.pop(key, None)
