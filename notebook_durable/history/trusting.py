"""``trust``: a journal that was written with another key is looked at, agreed to, and signed with one's own."""

from __future__ import annotations

import os
from pathlib import Path

from notebook_durable.errors import ConfigurationError, UntrustedJournalError
from notebook_durable.history.page import Page
from notebook_durable.history.removal import Plan, check_free
from notebook_durable.protocols import Findings, Store
from notebook_durable.render import size
from notebook_durable.stores.folder import DATABASE
from notebook_durable.wiring import FOLDER

__all__ = ["TrustPlan", "check_believed", "doubt", "journal_at", "trust"]


def journal_at(path: str | os.PathLike[str]) -> Path:
    """Find the journal that somebody means with a path: its folder, the notebook's, or the database in it.

    Raises:
        ConfigurationError: if there is none. None is made.
    """
    text = os.fspath(path)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ConfigurationError(f"the path of a journal is needed, not {path!r:.80}")
    place = Path(text).expanduser().absolute()
    for folder in (place, place / FOLDER, place.parent if place.name == DATABASE else place):
        if (folder / DATABASE).is_file():
            return folder
    raise ConfigurationError(f"there is no journal at {place}: neither there nor in {place / FOLDER} is a {DATABASE}")


def doubt(store: Store) -> str:
    """Say why a store's journal isn't believed; "" if it is."""
    ask = getattr(store, "untrusted", None)  # a store of the user's own needn't know
    error = None if ask is None else ask()
    return "" if error is None else str(error)


def check_believed(store: Store) -> None:
    """Refuse what would write into a journal that isn't believed, before looking for what it is about.

    Raises:
        UntrustedJournalError: if it isn't.
    """
    ask = getattr(store, "untrusted", None)
    error = None if ask is None else ask()
    if error is not None:
        raise error


class TrustPlan(Plan):
    """A journal that somebody else may have written. Nothing has happened yet: :meth:`apply` signs it.

    Attributes:
        found: what is in it.
    """

    question = "Do you trust whoever made this journal as you would with a program of theirs?"

    def __init__(self, store: Store, page: Page, found: Findings, key_file: Path | None, key: str) -> None:
        super().__init__(store, page, (), found.steps, found.size)
        self.found = found
        self._key_file = key_file
        self._key = key
        if found.checked:
            self.question = "Sign it with your key?"

    def __bool__(self) -> bool:
        """False if it is trusted already."""
        return not self.found.mine

    def apply(self) -> str:
        """Sign it; returns what was done.

        Raises:
            RunBusyError, RunOpenError: if a run of it is executed.
            ConfigurationError: if it was written with another key meanwhile.
            JournalUnwritableError: if there is too little space.
        """
        done = self._store.trust(self._key_file, key_id=self.found.key_id)
        if done.mine and not done.steps and self.found.steps:
            return "somebody has trusted it meanwhile: nothing was left to do"
        said = f"{_count(done.steps, 'entry', 'entries')} of {_count(done.runs, 'run', 'runs')} signed with {self._key}"
        if done.damaged:
            said += f"; {_count(done.damaged, 'problem', 'problems')} left, whose steps run again: %durable verify"
        return said


def trust(store: Store, key_file: Path | None) -> TrustPlan:
    """Show what a journal holds that was written with another key, and what trusting it means.

    Args:
        store: the journal.
        key_file: the key that it was written with, if it is at hand.

    Raises:
        ConfigurationError: if that is another key, or the store has no keys.
        RunBusyError, RunOpenError: if a run of it is executed.
    """
    if not hasattr(store, "untrusted"):
        raise ConfigurationError(f"the journal {store.location} is kept by a store of your own, which has no keys")
    error = store.untrusted()
    if error is None:
        page = Page(f"The journal {store.location} was written with your key: it is trusted")
        page.line("Rows and values that were changed since are found out one by one: %durable verify")
        return TrustPlan(store, page, store.examine(), None, "")
    for run in store.runs():
        check_free(run)
    found = store.examine(key_file)
    page = Page(f"The journal {store.location} was written with another key than {error.key_file}")
    _whose(page, error, found)
    _content(page, found)
    _meaning(page, error, found, key_file)
    if found.problems:
        page.heading(f"{_count(found.damaged, 'problem', 'problems')}: these steps run again")
        page.table(("run", "step", "what"), [(str(one.run_id), one.step, one.text) for one in found.problems])
    return TrustPlan(store, page, found, key_file, error.key_file)


def _whose(page: Page, error: UntrustedJournalError, found: Findings) -> None:
    page.line(
        {
            "moved": f"That key (id {found.key_id}) is one of yours, and lies at {error.found}: better than trusting "
            "would be to use it (NOTEBOOK_DURABLE_KEY_FILE, %config Durable.key_file), or to have every mark checked "
            f"with --key-file {error.found}",
            "lost": f"That key (id {found.key_id}) was one of yours, at {error.found}, and is not there any more",
        }.get(error.whose, f"That key (id {found.key_id}) was never yours, as far as is known here")
    )
    if error.made_by:
        page.line(f"The journal says that it was made {error.made_by} (anybody can write that there)")


def _content(page: Page, found: Findings) -> None:
    said = f"{_count(found.runs, 'run', 'runs')} with {_count(found.steps, 'entry', 'entries')}"
    pickled = "1 of them" if found.pickled == 1 else f"{found.pickled:,} of them"
    page.line(f"It holds {said} and {size(found.size)} of values; {pickled} only unpickling brings back")


def _meaning(page: Page, error: UntrustedJournalError, found: Findings, key_file: Path | None) -> None:
    page.heading("What trusting it means")
    page.line(
        "A pickled value is a program. From then on values of this journal are unpickled on this machine, with your "
        "rights, whenever a step replays, or you load or compare one"
    )
    if found.checked:
        page.line(f"All marks and values were checked with the key in {key_file}: what fails is not signed")
    else:
        page.line(
            "Without the key that it was written with nothing in it can be checked: nobody can say whether it was "
            "changed since it was written. If you have that key: --key-file PATH"
        )
        if found.messages:
            page.line(
                f"{_count(found.messages, 'answer or request', 'answers and requests')} that no kernel has taken up "
                "yet will be deleted: answer again"
            )
    page.line(
        f"All rows are signed anew with your key {error.key_file}, and {size(found.space)} of values written anew; "
        "whoever has the other key only would then have to trust the journal in turn"
    )


def _count(count: int, one: str, many: str) -> str:
    return f"1 {one}" if count == 1 else f"{count:,} {many}"
