"""``notebook-durable``: the journal from a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from notebook_durable.errors import DurableError
from notebook_durable.render import runs_text
from notebook_durable.view import JournalView, journal

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (could not be done), 2 (bad usage)."""
    options = _parser().parse_args(argv)
    view: JournalView | None = None
    try:
        view = journal(options.store)
        print(options.act(view, options))
    except DurableError as error:
        print(f"notebook-durable: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # | head
        sys.stderr.close()
        return 0
    finally:
        if view is not None:
            view.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="notebook-durable", description="Look at the journal of durable cells.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--store", metavar="FOLDER", help="the journal's folder (default: .durable here)")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    ls = commands.add_parser("ls", parents=[common], help="list the runs")
    ls.add_argument("--archived", action="store_true", help="also those that a later run has replaced")
    ls.set_defaults(act=_ls)

    show = commands.add_parser("show", parents=[common], help="show the steps of a run")
    show.add_argument("name", metavar="NAME", help="the workflow: the name behind %%%%durable")
    show.add_argument("--key", help="the run's key, if the workflow has several")
    show.set_defaults(act=lambda view, options: view.show(options.name, options.key))
    return parser


def _ls(view: JournalView, options: argparse.Namespace) -> object:
    return runs_text(view.runs(archived=options.archived), options.store or ".durable")


if __name__ == "__main__":
    sys.exit(main())
