"""``notebook-durable``: the journal from a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from notebook_durable.errors import ConfigurationError, DurableError
from notebook_durable.history.commands import COMMANDS, JOURNAL, agreed, carry_out, fill, settle
from notebook_durable.history.removal import Plan
from notebook_durable.history.trusting import journal_at
from notebook_durable.history.values import Recorded
from notebook_durable.history.verifying import VerifyView
from notebook_durable.render import printable, runs_text
from notebook_durable.view import JournalView, journal

__all__ = ["main"]

_PROG = "notebook-durable"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (could not be done), 2 (bad usage)."""
    words = list(sys.argv[1:] if argv is None else argv)
    parsers = _parsers()
    if not words or words[0] not in parsers:
        _top().parse_args(words)  # help, or what is wrong
    parser = parsers[words[0]]
    options = parser.parse_intermixed_args(words[1:])
    view: JournalView | None = None
    try:
        named = getattr(options, JOURNAL, None)
        store = options.store if named is None else journal_at(named)
        view = journal(store, create=words[0] in COMMANDS and COMMANDS[words[0]].creates)
        return _act(view, words[0], options, parser)
    except DurableError as error:
        # It may name steps of a journal that somebody else has made.
        print("\n".join(map(printable, f"{_PROG}: {error}".split("\n"))), file=sys.stderr)
        return 1
    except BrokenPipeError:  # | head
        sys.stderr.close()
        return 0
    finally:
        if view is not None:
            view.close()


def _act(view: JournalView, name: str, options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if name == "ls":
        print(runs_text(view.runs(archived=options.archived), options.store or ".durable"))
        if view.doubt:
            print(printable(view.doubt))
        return 0
    found = carry_out(view, COMMANDS[name], options, parser)
    if isinstance(found, Plan):
        done = settle(found, options, print, _ask)
        if done is not None:
            print(done)
    elif isinstance(found, Recorded):
        _give(found, options.to)
    else:
        print(found)
    return int(isinstance(found, VerifyView) and found.damaged)


def _give(found: Recorded, file: str | None) -> None:
    if file is None:
        print("\n".join(map(printable, repr(found.value()).split("\n"))))
        return
    try:
        with Path(file).open("xb") as target:
            target.write(found.payload.data)
            target.writelines(found.payload.buffers)
    except FileExistsError:
        raise ConfigurationError(f"{file} is there already, and was not touched. Name another file.") from None
    except OSError as error:
        raise ConfigurationError(f"{file} can't be written: {error.strerror}") from None
    print(f"{file}: {found.described}, as the serializer '{found.payload.serializer}' wrote it")


def _ask(question: str) -> bool:
    try:
        return agreed(input(question))
    except EOFError:
        print()
        raise ConfigurationError("nobody can answer here, so nothing was done. Type --yes to do it.") from None


class _Top(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{_PROG}: {message}\nType: {_PROG} --help\n")


def _top() -> argparse.ArgumentParser:
    top = _Top(prog=_PROG, description="Look at the journal of durable cells, and tidy it.")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    commands.add_parser("ls", help="list the runs")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help)
    return top


def _parsers() -> dict[str, argparse.ArgumentParser]:
    ls = _parser("ls", "list the runs", "[--archived]")
    ls.add_argument("--archived", action="store_true", help="also those that a later run has replaced")
    parsers = {"ls": ls}
    for name, command in COMMANDS.items():
        parsers[name] = fill(_parser(name, command.help, _usage(name, command.usage)), command)
    parsers["load"].add_argument("--to", metavar="FILE", help="write the recorded bytes there instead of printing")
    return parsers


def _usage(name: str, usage: str) -> str:
    return f"{usage} [--to FILE]" if name == "load" else usage


def _parser(name: str, help_: str, usage: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{_PROG} {name}",
        usage=f"{_PROG} {name} {usage} [--store FOLDER]",
        description=f"{help_[0].upper()}{help_[1:]}.",
        allow_abbrev=False,
    )
    parser.add_argument("--store", metavar="FOLDER", help="the journal's folder (default: .durable here)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
