"""``verify``: what a check of the whole journal found, by run and step, and what to type."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from notebook_durable.history.page import Page, View
from notebook_durable.protocols import Checked, Problem, Store
from notebook_durable.render import duration, run_label, size

__all__ = ["Meter", "VerifyView", "verify"]

_DAMAGE = ("row", "value", "database", "text")
#: Seconds before a meter says something, and between two of its words.
_PATIENCE, _PAUSE = 1.0, 0.5


class VerifyView(View):
    """What was found.

    Attributes:
        problems: everything.
        checked: how much was checked.
        damaged: something that was recorded is not as it was.
    """

    def __init__(self, page: Page, problems: Sequence[Problem], checked: Checked) -> None:
        super().__init__(page)
        self.problems = tuple(problems)
        self.checked = checked

    @property
    def damaged(self) -> bool:
        return any(problem.kind in _DAMAGE for problem in self.problems)


def verify(
    store: Store,
    progress: Callable[[Checked], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> VerifyView:
    """Check a journal. Nothing in it is changed.

    Args:
        store: the journal.
        progress: is told how far it is.
        clock: seconds.

    Raises:
        UntrustedJournalError: if it was written with another key.
    """
    last = Checked(0, 0, 0, 0)

    def note(checked: Checked) -> None:
        nonlocal last
        last = checked
        if progress is not None:
            progress(checked)

    began = clock()
    problems = store.verify(note)
    page = _page(store, problems, last, clock() - began)
    return VerifyView(page, problems, last)


def _page(store: Store, problems: Sequence[Problem], checked: Checked, seconds: float) -> Page:
    damage = [problem for problem in problems if problem.kind in _DAMAGE]
    rows = "1 entry" if checked.rows == 1 else f"{checked.rows:,} entries"
    extent = f"{rows} checked, {size(checked.done)} of values in {duration(seconds)}"
    if checked.values:
        extent += f", {checked.values:,} of them in files"
    if not damage:
        page = Page(f"Nothing is damaged in {store.location}: {extent}")
    else:
        found = "1 problem" if len(damage) == 1 else f"{len(damage)} problems"
        page = Page(f"{found} in {store.location}: {extent}")
        _damage(store, page, damage)
    _rest(page, problems)
    return page


def _damage(store: Store, page: Page, damage: Sequence[Problem]) -> None:
    labels = {run.id: run_label(run) for run in store.runs(archived=True)}
    ordered = sorted(damage, key=lambda one: (labels.get(one.run_id, "~"), one.seq))
    page.table(
        ("run", "step", "what", "found"),
        [(labels.get(one.run_id, ""), one.step, one.kind, one.text) for one in ordered],
    )
    again = len({(one.run_id, one.seq) for one in damage if one.seq >= 0})
    if again:
        it = "1 step runs again when its cell does" if again == 1 else f"{again} steps run again when their cells do"
        page.line(f"{it}; everything else replays. Only a step with at_most_once=True is not called again unasked.")
    if any(one.kind == "database" for one in damage):
        page.line("The database file itself is damaged: copy the journal's folder before you go on.")


def _rest(page: Page, problems: Sequence[Problem]) -> None:
    loose = [one for one in problems if one.kind in ("litter", "unused")]
    apart = [one for one in problems if one.kind == "quarantine"]
    if loose:
        page.heading("Files that nothing needs: %durable gc deletes them")
        page.table(("what", "file"), [(one.kind, one.text.removesuffix(": %durable gc deletes it")) for one in loose])
    if apart:
        page.heading("Set aside as damaged, for whoever wants to look: delete them by hand")
        page.table(("file",), [(one.text,) for one in apart])


class Meter:
    """Says on the screen how far a check is, if it takes long, and wipes that away.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + _PATIENCE
        self._shown = ""

    def __call__(self, checked: Checked) -> None:
        now = self._clock()
        if now >= self._next and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            self._next = now + _PAUSE
            self._write(f"checked {size(checked.done)} of {size(checked.total)}")

    def end(self) -> None:
        """Wipe it away."""
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text.ljust(len(self._shown))}{'' if text else chr(13)}")
        sys.stderr.flush()
        self._shown = text
