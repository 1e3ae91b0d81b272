"""The commands that notebook (``%durable ...``) and shell (``notebook-durable ...``) have in common: one table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from notebook_durable.errors import ConfigurationError, UntrustedExportError
from notebook_durable.history.removal import Plan
from notebook_durable.history.verifying import Meter

__all__ = ["COMMANDS", "JOURNAL", "Command", "agreed", "carry_out", "fill", "settle"]

#: The option that names another journal than the one in use.
JOURNAL = "journal"
_KEY = {"metavar": "KEY", "help": "the run's key, if the workflow has several"}
_RUN = {"type": int, "metavar": "N", "help": "the run's number; archived ones too (see history)"}
_STEP = {"metavar": "STEP", "help": "the step, where a name with blanks could mean two things"}
_SURE: Mapping[str, Mapping[str, Any]] = {
    "--dry-run": {"action": "store_true", "help": "only say what would be done"},
    "--yes": {"action": "store_true", "help": "don't ask"},
}


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        usage: what follows its name.
        help: one line.
        act: carries it out on a JournalView, with the parsed options; returns what is shown.
        options: by name, as argparse takes them.
        named: whether a workflow is named; None: it may be, and need not.
        step: whether a step may follow the name; "needed" if it must.
        value: what the last word is, unless an option of this name stands in its place.
        what: what is named, for messages.
        wants: what a message asks for that has only one word, and needs a name and a value.
        creates: it makes a journal where there is none.
    """

    usage: str
    help: str
    act: Callable[[Any, argparse.Namespace], Any]
    options: Mapping[str, Mapping[str, Any]]
    named: bool | None = True
    step: str = ""
    value: str = ""
    what: str = "the workflow"
    wants: str = "the promise and the answer"
    creates: bool = False


def _resolve(view: Any, options: argparse.Namespace) -> Any:
    if options.reject is not None:
        return view.reject(options.name, options.step, " ".join(options.reject), key=options.key)
    return view.resolve_text(options.name, options.step, options.value, key=options.key)


def _tell(view: Any, options: argparse.Namespace) -> Any:
    given = [
        (ask, step) for ask in ("retry", "give up", "pause", "resume")
        if (step := getattr(options, ask.replace(" ", "_"))) is not None
    ]  # fmt: skip
    if len(given) + options.stop != 1:
        raise ConfigurationError("say one of --retry, --give-up, --pause, --resume STEP, and --stop")
    if options.stop:
        return view.tell(options.name, "stop", key=options.key)
    ask, step = given[0]
    return view.tell(options.name, ask, " ".join(step), key=options.key)


def _diff(view: Any, options: argparse.Namespace) -> Any:
    return view.diff(options.name, runs=options.run, executions=options.execution, key=options.key)


def _gc(view: Any, options: argparse.Namespace) -> Any:
    plan = view.gc(keep_runs=options.keep_runs, older_than=options.older_than, max_size=options.max_size)
    if plan or options.dry_run:
        return plan
    _, _, won = plan.apply().partition("; ")  # files that nothing needs are deleted all the same, and nobody is asked
    return f"{plan!r}\n{won}" if won else plan


def _recorded(view: Any, options: argparse.Namespace) -> Any:
    return view.recorded(options.name, options.step, key=options.key, run=options.run)


def _verify(view: Any, _options: argparse.Namespace) -> Any:
    meter = Meter()
    try:
        return view.verify(meter)
    finally:
        meter.end()


def _export(view: Any, options: argparse.Namespace) -> Any:
    return view.export(options.name, options.value, key=options.key, run=options.run, values=not options.no_values)


def _import(view: Any, options: argparse.Namespace) -> Any:
    name = getattr(options, "as")
    how = {"name": " ".join(name) if name else None, "replace": options.replace, "values": not options.no_values}
    if options.dry_run:
        return view.plan_import(options.name, **how)
    try:
        return view.import_run(options.name, **how)
    except UntrustedExportError:
        if not options.trust:
            raise
        return view.plan_import(options.name, trust=True, **how)


COMMANDS: Mapping[str, Command] = {
    "show": Command(
        "NAME [--key KEY] [--run N]", "the steps of a run, as they stand",
        lambda view, o: view.show(o.name, o.key, run=o.run), {"--key": _KEY, "--run": _RUN},
    ),
    "why": Command(
        "NAME [STEP] [--key KEY] [--run N]", "why each step of the latest execution ran, or that it was replayed",
        lambda view, o: view.why(o.name, o.step, key=o.key, run=o.run),
        {"--key": _KEY, "--run": _RUN, "--step": _STEP}, step="may",
    ),
    "history": Command(
        "NAME [--key KEY] [--run N]", "runs, executions, and the versions of each step",
        lambda view, o: view.history(o.name, key=o.key, run=o.run), {"--key": _KEY, "--run": _RUN},
    ),
    "load": Command(
        "NAME STEP [--key KEY] [--run N]", "a recorded value; STEP@2 is the second version of a step, see history",
        _recorded, {"--key": _KEY, "--run": _RUN, "--step": _STEP}, step="needed",
    ),
    "diff": Command(
        "NAME [--run A B] [--execution A B] [--key KEY]", "two runs, or two executions of one, step by step", _diff,
        {
            "--run": {"type": int, "nargs": "+", "metavar": "N", "help": "two runs; one, with --execution"},
            "--execution": {"type": int, "nargs": 2, "metavar": ("A", "B"), "help": "two executions of one run"},
            "--key": _KEY,
        },
    ),
    "rewind": Command(
        "NAME --to STEP [--key KEY] [--dry-run] [--yes]", "that step and what came after it run again next time",
        lambda view, o: view.rewind(o.name, o.to, key=o.key),
        {"--to": {"nargs": "+", "required": True, "metavar": "STEP", "help": "the step"}, "--key": _KEY, **_SURE},
    ),
    "forget": Command(
        "NAME [STEP] [--key KEY] [--run N] [--dry-run] [--yes]", "delete all runs of a name, or of one step, for good",
        lambda view, o: view.forget(o.name, o.step, key=o.key, run=o.run),
        {"--key": _KEY, "--run": _RUN, "--step": _STEP, **_SURE}, step="may",
    ),
    "resolve": Command(
        "NAME PROMISE VALUE [--reject [WHY]] [--key KEY]", "answer a promise that a run waits for", _resolve,
        {
            "--reject": {"nargs": "*", "metavar": "WHY", "help": "end it with a TerminalError instead of a VALUE"},
            "--key": _KEY, "--step": _STEP,
        },
        step="needed", value="reject",
    ),
    "tell": Command(
        "NAME --retry|--give-up|--pause|--resume STEP | --stop [--key KEY]",
        "what the buttons below its cell do, from elsewhere", _tell,
        {
            "--retry": {"nargs": "+", "metavar": "STEP", "help": "begin the next attempt of a waiting step now"},
            "--give-up": {"nargs": "+", "metavar": "STEP", "help": "end a waiting step with a TerminalError"},
            "--pause": {"nargs": "+", "metavar": "STEP", "help": "let it wait until it is resumed"},
            "--resume": {"nargs": "+", "metavar": "STEP", "help": "go on with its countdown"},
            "--stop": {"action": "store_true", "help": "end the execution before its next step"},
            "--key": _KEY,
        },
    ),
    "gc": Command(
        "[--keep-runs N] [--older-than 30d] [--max-size 10GB] [--dry-run] [--yes]",
        "delete archived runs and history; without options what is older than 30 days", _gc,
        {
            "--keep-runs": {"type": int, "metavar": "N", "help": "keep the N newest archived runs of each"},
            "--older-than": {"metavar": "AGE", "help": "what was neither recorded nor replayed for so long: 30d, 12h"},
            "--max-size": {"metavar": "SIZE", "help": "the oldest first, until the rest fits in: 10GB"},
            **_SURE,
        },
        named=False,
    ),
    "verify": Command(
        "", "check every row and every value's bytes; changes nothing", _verify, {}, named=False,
    ),
    "stats": Command(
        "[NAME] [--key KEY] [--run N]", "what takes how much room and time, by run; with NAME by step too",
        lambda view, o: view.stats(o.name, key=o.key, run=o.run), {"--key": _KEY, "--run": _RUN}, named=None,
    ),
    "export": Command(
        "NAME FILE [--key KEY] [--run N] [--no-values]", "a run into a file, for another machine", _export,
        {
            "--key": _KEY, "--run": _RUN,
            "--no-values": {"action": "store_true", "help": "only to look at: its steps run again there"},
        },
        value="file", wants="the file",
    ),
    "import": Command(
        "FILE [--as NAME] [--replace] [--no-values] [--trust] [--dry-run] [--yes]",
        "a run out of a file that export has written", _import,
        {
            "--as": {"nargs": "+", "metavar": "NAME", "help": "the name that it gets here"},
            "--replace": {"action": "store_true", "help": "archive the run of that name"},
            "--no-values": {"action": "store_true", "help": "only to look at: its steps run again"},
            "--trust": {"action": "store_true", "help": "believe a file of another key, if you agree"},
            **_SURE,
        },
        what="the file", creates=True,
    ),
    "trust": Command(
        "[PATH] [--key-file PATH] [--dry-run] [--yes]",
        "believe a journal that was written with another key, after saying what that means",
        lambda view, o: view.trust(key_file=o.key_file),
        {
            JOURNAL: {"nargs": "?", "metavar": "PATH", "help": "the journal (default: the one in use)"},
            "--key-file": {"metavar": "PATH", "help": "the key that it was written with: then everything is checked"},
            **_SURE,
        },
        named=False,
    ),
}  # fmt: skip


def fill(parser: argparse.ArgumentParser, command: Command) -> argparse.ArgumentParser:
    """Give a parser the arguments of a command."""
    if command.named is not False:
        metavar = "NAME" if not command.step else "NAME STEP" if command.step == "needed" else "NAME [STEP]"
        parser.add_argument("words", nargs="*", metavar=metavar, help="names with blanks may be put in quotes")
    for name, settings in command.options.items():
        parser.add_argument(*(("--yes", "-y") if name == "--yes" else (name,)), **settings)
    return parser


def carry_out(view: Any, command: Command, options: argparse.Namespace, parser: argparse.ArgumentParser) -> Any:
    """Do what the options ask for, as far as it takes nothing away; returns what is to be shown.

    Args:
        view: the JournalView.
        command: which.
        options: of the parser that :func:`fill` made.
        parser: its ``error`` is called for what is missing.
    """
    if command.named is None:
        options.name = " ".join(options.words) or None
    if command.named:
        if not options.words:
            parser.error(f"name {command.what}")
        if command.value and getattr(options, command.value, None) is None:
            if len(options.words) < 2:
                parser.error(f"name {command.wants} behind '{options.words[0]}'")
            options.value = options.words.pop()
        options.name, options.step = name_and_step(view, options.words, command, getattr(options, "step", None))
        if command.step == "needed" and options.step is None:
            if not any(run.run.workflow == options.name for run in view.runs(archived=True)):
                view.find(options.words[0])  # raises, listing what there is
            parser.error(f"name the step behind '{options.name}'")
    if isinstance(getattr(options, "to", None), list):
        options.to = " ".join(options.to)
    return command.act(view, options)


def name_and_step(view: Any, words: Sequence[str], command: Command, step: str | None) -> tuple[str, str | None]:
    """Tell where in unquoted words the workflow's name ends and the step's begins.

    Raises:
        ConfigurationError: if both readings are possible.
    """
    everything = " ".join(words)
    if not command.step or step is not None:
        return everything, step
    names = {run.run.workflow for run in view.runs(archived=True)}
    readings = [
        (name, " ".join(words[count:]) or None)
        for count in range(1, len(words) + 1)
        if (name := " ".join(words[:count])) in names
    ]
    if len(readings) > 1:
        readings = [one for one in readings if one[1] is None or _has_step(view, *one)]
    if len(readings) == 1:
        return readings[0]
    if not readings:
        return everything, None  # looking for it says what there is
    told = " or ".join(f'"{name}"' + (f' --step "{step}"' if step else "") for name, step in readings)
    raise ConfigurationError(f"'{everything}' can mean several things: say which with quotes and --step: {told}")


def _has_step(view: Any, name: str, step: str | None) -> bool:
    known = view.steps(name)
    return step in known or (step or "").rpartition("@")[0] in known


def settle(
    plan: Plan, options: argparse.Namespace, show: Callable[[Any], None], ask: Callable[[str], bool]
) -> str | None:
    """Show what will be taken away, ask unless told not to, and do it; returns what was done.

    Args:
        plan: what.
        options: ``yes`` and ``dry_run``.
        show: shows the plan.
        ask: asks a question; False means no.
    """
    show(plan)
    if not plan or options.dry_run:
        return None
    if not options.yes and not ask(f"{plan.question} [y/N] "):
        return "nothing was done"
    return plan.apply()


def agreed(answer: str) -> bool:
    """Tell whether an answer means yes."""
    return answer.strip().lower() in ("y", "yes")
