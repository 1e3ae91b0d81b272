"""What the live output says: the steps of one execution as rows. Pure: events in; text, HTML and patches out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from notebook_durable.events import (
    AttemptFailed,
    Event,
    ExecutionEnded,
    ExecutionStarted,
    MapProgress,
    StepDamaged,
    StepEnded,
    StepReplayed,
    StepStarted,
    StepWaiting,
    StoreFailed,
)
from notebook_durable.ipython import panel_html, panel_text
from notebook_durable.ipython.panel_map import Bar, counted, errors_of, state_of
from notebook_durable.ipython.panel_row import ACTIVE, STATES, Row, traceback_text
from notebook_durable.ipython.panel_text import retry_line
from notebook_durable.model import Entry, EntryStatus, Outcome, RunId
from notebook_durable.render import duration, error_text

__all__ = ["FOLD_AFTER", "Panel", "Shown", "retry_line"]

#: More replayed steps than this are told as one row, and so are steps that simply finished.
FOLD_AFTER = 20
#: More rows than this are not written into the notebook's file: those that tell most are.
MOST_ROWS = 200

_WAITS = {"paused": "paused", "retry": "waiting", "answer": "asking", "sleep": "sleeping"}
_ORDER = (
    "run", "not storable", "running", "asking", "waiting", "paused", "sleeping", "failed", "interrupted", "cancelled",
)  # fmt: skip


class Shown(NamedTuple):
    """What is to be shown: rows that were folded, each (state, text), and the others."""

    folded: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


class Panel:
    """The rows of one execution, kept up to date by its events.

    Rows that have nothing more to tell are folded as they come, so that neither an update nor what is kept grows with
    the number of steps.

    Args:
        run: what is executed.
    """

    def __init__(self, run: RunId) -> None:
        self.run = run
        self.rows: dict[int, Row] = {}
        self.replayed = 0
        self.saved = 0.0
        self.outcome: Outcome | None = None
        self.started_at = 0.0
        self.ended_at = 0.0
        #: About the cell itself, such as what the lint found; code in backticks.
        self.notes: tuple[str, ...] = ()
        self._recorded = 0
        self._more = 0  # steps that are not among the recorded ones
        self._reached: set[int] = set()  # recorded entries that this execution has finished or replayed
        self._counts: dict[str, int] = {}
        self._active: dict[int, Row] = {}
        self._maps: dict[int, MapProgress] = {}
        self._lost: dict[int, str] = {}  # entries that were found damaged, and how
        self._replayed_rows: list[int] = []
        self._plain: dict[int, None] = {}  # finished steps that may be folded, in order
        self._folded: set[int] = set()
        self._dirty: dict[int, None] = {}  # in order: new rows are shown in that of their first call
        self._gone: set[int] = set()
        self._sent: set[int] = set()
        self._apply: dict[type, Callable[[Any], None]] = {
            ExecutionStarted: self._begin,
            StepReplayed: self._replay,
            StepStarted: self._start,
            AttemptFailed: self._retry,
            StepWaiting: self._wait,
            StepEnded: self._end,
            StepDamaged: self._damaged,
            StoreFailed: self._unsaved,
            MapProgress: self._map,
            ExecutionEnded: self._finish,
        }

    def apply(self, events: Iterable[Event]) -> None:
        """Take what happened, in order."""
        for event in events:
            take = self._apply.get(type(event))
            if take is not None:
                take(event)
        if len(self._plain) > FOLD_AFTER:
            self._fold()

    # -- events

    def _begin(self, event: ExecutionStarted) -> None:
        self.started_at, self._recorded = event.at, event.recorded

    def _finish(self, event: ExecutionEnded) -> None:
        self.outcome, self.ended_at = event.outcome, event.at

    def _row(self, entry: Entry) -> Row:
        seq = entry.seq
        if seq >= self._recorded + self._more:
            self._more = seq - self._recorded + 1
        row = self.rows.get(seq)
        if row is None:
            row = self.rows[seq] = Row(seq, entry.name, entry.occurrence, since=entry.started_at)
            if seq in self._folded:  # it runs once more in the same execution
                self._folded.discard(seq)
                self._counts["done"] -= 1
        self._dirty[seq] = None
        return row

    def _enter(self, row: Row, state: str) -> None:
        """Change the state of a row, and count."""
        counts, old = self._counts, row.state
        if old:
            counts[old] -= 1
        counts[state] = counts.get(state, 0) + 1
        row.state = state
        if state in ACTIVE:
            self._active[row.seq] = row
        elif old in ACTIVE:
            del self._active[row.seq]

    def _replay(self, event: StepReplayed) -> None:
        entry, note = event.entry, event.note
        failed = entry.status is not EntryStatus.SUCCEEDED
        self.replayed += 1
        self.saved += entry.spent
        self._reach(entry)
        if failed or note or self.replayed <= FOLD_AFTER:
            row = self._row(entry)
            self._enter(row, "replayed")
            row.spent, row.note = entry.spent, f"{entry.status} last time" if failed else note
            row.error, row.traceback = error_text(entry.error), traceback_text(entry.error)
            row.measure(entry)
            if not failed and not note:
                self._replayed_rows.append(entry.seq)
        elif self._replayed_rows:
            for seq in self._replayed_rows:
                self._drop(seq)
            self._replayed_rows.clear()

    def _start(self, event: StepStarted) -> None:
        entry, row = event.entry, self._row(event.entry)
        self._enter(row, "running")
        row.attempt, row.max_attempts = entry.attempts, event.max_attempts
        row.since, row.spent = entry.started_at, entry.spent
        lost = self._lost.pop(entry.seq, "")
        if event.reason and event.reason != "new":
            row.note = event.reason
        elif lost:
            row.note = lost

    def _retry(self, event: AttemptFailed) -> None:
        row = self._row(event.entry)
        self._enter(row, "waiting")
        row.attempt, row.max_attempts = event.attempt.number, event.max_attempts
        row.until = event.next_at
        row.since, row.spent = event.entry.ended_at or row.since, event.entry.spent
        row.error, row.traceback = error_text(event.attempt.error), traceback_text(event.attempt.error)

    def _wait(self, event: StepWaiting) -> None:
        entry, row = event.entry, self._row(event.entry)
        self._enter(row, _WAITS.get(event.kind, "waiting"))
        row.since, row.spent = entry.ended_at or row.since, entry.spent
        row.until, row.question = event.until or 0.0, event.question

    def _end(self, event: StepEnded) -> None:
        entry = event.entry
        row = self._row(entry)
        self._enter(row, STATES[entry.status])
        row.spent = entry.spent
        row.measure(entry)
        if entry.status is EntryStatus.FAILED:
            row.error = error_text(entry.error)
            row.traceback = traceback_text(entry.error) or row.traceback
        if entry.note:
            row.note = entry.note
        self._reach(entry)
        if row.plain:
            self._plain[row.seq] = None

    def _damaged(self, event: StepDamaged) -> None:
        """Told before its step runs again, perhaps as another entry, or as an item of a map: it is no row by itself."""
        seq = event.entry.seq
        if seq in self.rows:
            self.rows[seq].note = event.reason
            self._dirty[seq] = None
        else:
            self._lost[seq] = event.reason

    def _unsaved(self, event: StoreFailed) -> None:
        maps = [seq for seq, one in self._maps.items() if one.name == event.entry.name and seq in self._active]
        if maps:
            self.rows[maps[-1]].note = f"not saved yet: {event.reason}"
            self._dirty[maps[-1]] = None
            return
        row = self._row(event.entry)
        row.note = f"not saved yet: {event.reason}"
        if not row.state:
            self._enter(row, "running")

    def _map(self, event: MapProgress) -> None:
        """A map has one row; its items are counted, and are no rows."""
        row = self.rows.get(event.seq)
        if row is None:
            row = self.rows[event.seq] = Row(event.seq, event.name, since=event.started_at)
        self._dirty[event.seq] = None
        self._maps[event.seq] = event
        row.state, row.bar = state_of(event), Bar.of(event)
        row.error, row.note = errors_of(event), event.reason if event.reason != "new" else ""
        row.until = event.until
        if row.state in ACTIVE:
            self._active[row.seq] = row
        else:
            self._active.pop(row.seq, None)
            row.spent = event.saved if row.state == "replayed" else max(0.0, event.at - event.started_at)

    # -- folding

    def _reach(self, entry: Entry) -> None:
        if entry.seq < self._recorded:
            self._reached.add(entry.seq)

    def _fold(self) -> None:
        """Take away all finished rows but the newest that have nothing more to tell."""
        for seq in list(self._plain)[:-FOLD_AFTER]:
            del self._plain[seq]
            row = self.rows.get(seq)
            if row is not None and row.plain:
                self._drop(seq)
                self._folded.add(seq)

    def _drop(self, seq: int) -> None:
        if self.rows.pop(seq, None) is not None:
            self._dirty.pop(seq, None)
            if seq in self._sent:
                self._sent.discard(seq)
                self._gone.add(seq)

    # -- looking

    @property
    def active(self) -> bool:
        """True while a step runs or waits."""
        return bool(self._active)

    def waiting_since(self) -> float:
        """When the newest active step began, in seconds since the epoch; 0 if there is none."""
        return max((row.since for row in self._active.values()), default=0.0)

    def summary(self) -> str:
        """Say it in one line: "4 replayed (saved 3 min 12 s), 1 run"."""
        parts = []
        maps = self._maps.values()
        replayed = self.replayed + sum(event.replayed for event in maps)
        seconds = self.saved + sum(event.saved for event in maps)
        counts = Counter(self._counts)
        for event in maps:
            counts.update(counted(event))
        if replayed:
            saved = f" (saved {duration(seconds)})" if seconds >= 0.05 else ""
            parts.append(f"{replayed:,} replayed{saved}")
        for word in _ORDER:
            count = counts.get("done" if word == "run" else word)
            if count:
                parts.append(f"{count:,} {word}")
        return ", ".join(parts) or "no steps"

    def progress(self) -> tuple[int, int]:
        """Of the steps that the journal held at the start: how many this execution has finished, and how many it held.

        Nobody knows how many steps a cell will call, so this is the only progress there is.
        """
        in_maps = sum(min(one.recorded, one.replayed + one.done + one.failed) for one in self._maps.values())
        return min(self._recorded, len(self._reached) + in_maps), self._recorded

    def elapsed(self, now: float) -> float:
        """Seconds since the cell began, until its end."""
        return max(0.0, (self.ended_at or now) - self.started_at) if self.started_at else 0.0

    def shown(self, most: int | None = None) -> Shown:
        """Choose what to show.

        Args:
            most: rows; of more, those that tell most are chosen, in their order. None: any number.
        """
        folded = self._folds()
        rows = list(self.rows.values())
        if most is not None and len(rows) > most:
            telling = [row.seq for row in rows if row.state not in ("done", "replayed")]
            chosen = set(telling[-most:])
            chosen |= {row.seq for row in rows[len(chosen) - most :]} if len(chosen) < most else set()
            kept = [row for row in rows if row.seq in chosen]
            folded.append(("more", f"{len(rows) - len(kept):,} more rows: journal() shows every step"))
            rows = kept
        return Shown(tuple(folded), tuple(rows))

    def _folds(self) -> list[tuple[str, str]]:
        folded = []
        if self.replayed > FOLD_AFTER:
            folded.append(("replayed", f"{self.replayed:,} steps replayed"))
        if self._folded:
            folded.append(("done", f"{len(self._folded):,} earlier steps done"))
        return folded

    # -- for the widget

    def head(self) -> dict[str, Any]:
        """Return what stands above the rows."""
        reached, recorded = self.progress()
        return {
            "run": str(self.run),
            "outcome": str(self.outcome or Outcome.RUNNING),
            "since": self.started_at,
            "ended": self.ended_at,
            "summary": self.summary(),
            "reached": reached,
            "recorded": recorded,
            "more": self._more,
            "folded": [list(one) for one in self._folds()],
            "notes": list(self.notes),
        }

    def changes(self) -> dict[str, Any]:
        """Return the rows that changed since the last call, and the numbers of those that are no longer shown."""
        rows = [self.rows[seq].data() for seq in self._dirty]
        gone = list(self._gone.difference(self._dirty))
        self._sent.update(self._dirty)
        self._dirty.clear()
        self._gone.clear()
        return {"rows": rows, "gone": gone}

    def everything(self) -> dict[str, Any]:
        """Return all rows. What changed is still to be sent: there may be others who have had the rest."""
        self._sent.update(self.rows)
        return {"rows": [row.data() for row in self.rows.values()], "gone": [], "full": True}

    # -- as text and HTML

    def text(self, now: float) -> str:
        """Write the panel as plain text, for terminals and files."""
        folded, rows = self.shown(MOST_ROWS)
        return panel_text.page(f"{self.run}: {self.summary()}", folded, rows, self.notes, now)

    def html(self, now: float, note: str = "") -> str:
        """Write the panel as HTML without scripts or outside resources.

        Args:
            now: seconds since the epoch.
            note: a line about this picture.
        """
        folded, rows = self.shown(MOST_ROWS)
        return panel_html.page(self.head(), folded, rows, now, note)

    def bundle(self, now: float, *, live: bool = False) -> Mapping[str, Any]:
        """Both forms, as IPython displays them.

        Args:
            now: seconds since the epoch.
            live: a widget beside them shows what happens, so they are a picture of this moment and say that.
        """
        if not live:
            return {"text/plain": self.text(now), "text/html": self.html(now)}
        since = time.strftime("%H:%M:%S", time.localtime(self.started_at or now))
        note = f"running since {since}; the final state is shown here when the cell has ended"
        return {"text/plain": f"{self.text(now)}\n  {note}", "text/html": self.html(now, note)}
