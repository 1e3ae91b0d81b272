"""``%durable``: the runs of this store; and the cell magic as IPython's help, completion and scripts know it."""

from __future__ import annotations

import argparse
import builtins
import keyword
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from notebook_durable.errors import ConfigurationError, DurableError
from notebook_durable.history.commands import COMMANDS, JOURNAL, Command, agreed, carry_out, fill, settle
from notebook_durable.history.removal import Plan
from notebook_durable.history.trusting import journal_at
from notebook_durable.history.values import Recorded, variable_for
from notebook_durable.ipython.identity import split

if TYPE_CHECKING:
    from notebook_durable.ipython.extension import Extension
    from notebook_durable.view import JournalView

__all__ = ["add", "remove"]

_OWN = {
    "outcome": "%durable outcome NAME [--key KEY] STEP --value EXPR | --retry",
    "share": "%durable share NAME",
    "moved": "%durable moved NAME",
}
_USAGE = {name: f"%durable {name} {command.usage}" for name, command in COMMANDS.items()} | _OWN
_USAGE["load"] += " [--as VAR]"
#: Behind these no name of a run stands first.
_NAMELESS = ("gc", "verify", "import", "trust")
_CELL_OPTIONS = ("--key", "--fresh", "--strict", "--no-output")
#: Completing a step's name reads the run; of one with larger values that would take too long.
_MOST_BYTES = 50_000_000


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
        if not command:
            return self._with_view(self._display)
        if command not in _USAGE:
            known = "\n".join(f"    {usage}" for usage in ("%durable", *_USAGE.values()))
            raise ConfigurationError(
                f"%durable has no command '{command}'. Type one of:\n{known}\n"
                f"or, to run a cell: %%durable {command} (with two %) on its first line"
            )
        # Everything behind --value is Python, blanks, braces and quotes included.
        head, said, expression = rest.partition("--value") if command == "outcome" else (rest, "", "")
        words = split(self._shell.var_expand(head, depth=3))
        if command in COMMANDS:
            return self._common(command, COMMANDS[command], words)
        if command == "outcome":
            return self._outcome(words, expression.strip() if said else None)
        found = self._parser(command).parse_intermixed_args(words)
        return self._share(found.words) if command == "share" else self._moved(found.words)

    def _common(self, name: str, command: Command, words: list[str]) -> None:
        parser = fill(_Parser(prog="%durable", usage=_USAGE[name], add_help=False, allow_abbrev=False), command)
        if name == "load":
            parser.add_argument("--as", dest="variable")
        options = parser.parse_intermixed_args(words)

        def use(view: JournalView) -> None:
            found = carry_out(view, command, options, parser)
            if isinstance(found, Plan):
                done = settle(found, options, self._display, self._ask)
                if done is not None:
                    _tell(done)
            elif isinstance(found, Recorded):
                self._load(found, options.variable)
            elif isinstance(found, str):
                _tell(found)
            else:
                self._display(found)

        self._with_view(use, create=command.creates, place=getattr(options, JOURNAL, None))

    def _load(self, found: Recorded, variable: str | None) -> None:
        name = variable_for(found.step) if variable is None else variable
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ConfigurationError(f"--as {name}: not a variable's name")
        there = self._shell.user_ns.get(name, getattr(builtins, name, None))
        if variable is None and (callable(there) or isinstance(there, ModuleType)):
            raise ConfigurationError(
                f"'{name}' is a {type(there).__name__} here, and was not replaced. Say under which name to load the "
                "value: --as VAR"
            )
        self._shell.push({name: found.value()})
        _tell(f"{name}: {found.described}")

    def _ask(self, question: str) -> bool:
        try:
            return agreed(input(question))
        except (EOFError, NotImplementedError, RuntimeError):  # StdinNotImplementedError is one of the two
            raise ConfigurationError("nobody can answer here, so nothing was done. Type --yes to do it.") from None

    def _share(self, words: list[str]) -> None:
        self._with_view(lambda view: _tell(view.share(_one_name(words, "share"))))

    def _moved(self, words: list[str]) -> None:
        notebook = self._extension.notebook()
        if notebook is None:
            raise ConfigurationError(
                "this kernel doesn't know its notebook's path (only JupyterLab and VS Code tell). "
                "Open the notebook there, or type: %durable share NAME"
            )
        self._with_view(lambda view: _tell(view.moved(_one_name(words, "moved"), str(notebook))))

    def _outcome(self, given: list[str], expression: str | None) -> None:
        parser = self._parser("outcome")
        parser.add_argument("--key")
        parser.add_argument("--retry", action="store_true")
        found = parser.parse_intermixed_args(given)
        if len(found.words) < 2:
            raise ConfigurationError(f"name the workflow and the step. Type: {_USAGE['outcome']}")
        if found.retry == (expression is not None) or expression == "":
            raise ConfigurationError(f"say one of --value EXPR (it happened) and --retry. Type: {_USAGE['outcome']}")
        *words, step = found.words
        answer: dict[str, Any] = {"retry": True}
        if expression is not None:
            answer = {"value": self._evaluate(expression.removeprefix("=").strip())}
        self._with_view(lambda view: _tell(view.outcome(_one_name(words, "outcome"), step, key=found.key, **answer)))

    def _evaluate(self, expression: str) -> Any:
        try:
            code = compile(expression, "<--value>", "eval")
        except SyntaxError as error:
            raise ConfigurationError(f"--value {expression}: not an expression ({error.msg})") from None
        return eval(code, self._shell.user_global_ns, self._shell.user_ns)  # noqa: S307  what the user typed

    def _parser(self, command: str) -> _Parser:
        parser = _Parser(prog="%durable", usage=_USAGE[command], add_help=False, allow_abbrev=False)
        parser.add_argument("words", nargs="*")
        return parser

    def _with_view(self, use: Callable[[JournalView], None], *, create: bool = False, place: str | None = None) -> None:
        from notebook_durable.view import JournalView

        settings = self._extension.settings()
        view = JournalView(settings if place is None else settings.using(store=journal_at(place)), create=create)
        try:
            use(view)
        finally:
            view.close()

    def _display(self, shown: Any) -> None:
        from IPython.display import display

        display(shown)

    # -- completion

    def complete_line(self, _shell: Any, event: Any) -> list[str]:
        """Complete ``%durable``: commands, then the names of runs, then options and steps."""
        words = event.line[: len(event.line)].split()
        typing = event.symbol
        before = words[:-1] if typing and words and words[-1].endswith(typing) else words
        if len(before) <= 1:
            return [command for command in _USAGE if command.startswith(typing)]
        name = before[1]
        options = list(COMMANDS[name].options) if name in COMMANDS else ["--key"] if name == "outcome" else []
        options = [option for option in options if option.startswith("-")]  # a path has no name to be typed
        if name == "load":
            options.append("--as")
        if typing.startswith("-"):
            return [option for option in options if option.startswith(typing)]
        if len(before) == 2 and name not in _NAMELESS:
            return [found for found in self._names() if found.startswith(typing)]
        takes_step = name in COMMANDS and (COMMANDS[name].step or "--to" in options)
        steps = self._steps(" ".join(before[2:]).partition(" -")[0]) if takes_step else []
        return [one for one in (*steps, *options) if one.startswith(typing)]

    def _steps(self, name: str) -> list[str]:
        steps: list[str] = []

        def look(view: JournalView) -> None:
            if sum(run.size for run in view.runs(name.strip("\"'"), archived=True)) < _MOST_BYTES:
                steps.extend(view.steps(name.strip("\"'")))

        try:
            self._with_view(look)
        except DurableError:
            pass  # nothing to offer
        return [f'"{step}"' if " " in step else step for step in steps]

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
        """Look into the journal, and tidy it.

        ::

            %durable                                       the runs
            %durable show NAME [--key KEY] [--run N]       the steps of a run, as they stand
            %durable why NAME [STEP] [--key KEY] [--run N]
                                                           why each step ran, with what was edited, or was replayed
            %durable history NAME [--key KEY] [--run N]    runs, executions, and the versions of each step
            %durable load NAME STEP [--key KEY] [--run N] [--as VAR]
                                                           a recorded value into a variable
            %durable diff NAME [--run A B] [--execution A B] [--key KEY]
                                                           two runs or executions, step by step
            %durable rewind NAME --to STEP [--key KEY] [--dry-run] [--yes]
                                                           that step and what came after it run again next time
            %durable forget NAME [STEP] [--key KEY] [--run N] [--dry-run] [--yes]
                                                           delete all runs of NAME, or of one step, for good
            %durable gc [--keep-runs N] [--older-than 30d] [--max-size 10GB] [--dry-run] [--yes]
                                                           delete archived runs and history
            %durable verify                                check every row and every value's bytes; changes nothing
            %durable stats [NAME] [--key KEY] [--run N]    what takes how much room and time, by run and step
            %durable export NAME FILE [--key KEY] [--run N] [--no-values]
                                                           a run into a file, for another machine
            %durable import FILE [--as NAME] [--replace] [--no-values] [--trust] [--dry-run] [--yes]
                                                           a run out of a file that export has written
            %durable trust [PATH] [--key-file PATH] [--dry-run] [--yes]
                                                           believe a journal that was written with another key
            %durable resolve NAME PROMISE VALUE [--reject [WHY]] [--key KEY]
                                                           answer a ctx.promise; --reject in place of VALUE ends it
            %durable tell NAME --retry|--give-up|--pause|--resume STEP | --stop [--key KEY]
                                                           what the buttons of a running cell do, from elsewhere
            %durable outcome NAME [--key KEY] STEP --value EXPR | --retry
                                                           settle an at_most_once step whose kernel died
            %durable share NAME                            let every notebook use the runs of NAME
            %durable moved NAME                            the runs of NAME belong to this notebook now

        STEP is a step's name; "load #2" the second call of that name; "load@1" its first version (see history).
        --run N is a run's number, archived ones too. Names with blanks may stand in quotes.
        """
        own.line(line)

    def durable_cell(line: str, cell: str) -> None:
        """Run this cell durably: what its finished steps returned survives the kernel.

        ::

            %%durable NAME [--key KEY] [--fresh] [--strict] [--no-output]
            orders = ctx.run("load orders", load, url)               # journaled
            scored = ctx.run("score", score, orders, max_attempts=5) # retried, visibly

        NAME       names the journal; in quotes if it has blanks. Without one, JupyterLab's id of the cell is used.
        --key KEY  tells runs of one workflow apart, such as one for each day.
        --fresh    archive the run and start a new one.
        --no-output  do not keep what steps print and display.
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
