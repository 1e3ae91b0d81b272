"""Journals made by hand: runs, executions and entries with the parts of their fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blake3 import blake3  # noqa: TID253  the tests' own hash

from notebook_durable.model import Entry, EntryStatus, Outcome, RunId, RunInfo, RunStatus, StepCode
from notebook_durable.parts import Code, Function, Input, Parts, text_id
from notebook_durable.protocols import Store
from notebook_durable.serializers.codec import DefaultCodec
from notebook_durable.wiring import this_process

DAY = 86400.0


def digest(text: str) -> str:
    return blake3(text.encode()).hexdigest()[:32]


class Histories:
    """Writes runs into a store, as the engine does.

    Args:
        store: the journal.
        now: where its clock begins; an execution takes 10 seconds.
    """

    def __init__(self, store: Store, now: float = 1000.0) -> None:
        self.store = store
        self.now = now
        self.texts: dict[str, str] = {}

    def keep(self, text: str) -> str:
        name = text_id(text, blake3())
        self.texts[name] = text
        return name

    def entry(
        self,
        seq: int,
        name: str,
        value: Any = None,
        *,
        functions: Mapping[str, str] | None = None,
        inputs: Mapping[str, str] | None = None,
        status: EntryStatus = EntryStatus.SUCCEEDED,
        occurrence: int = 0,
        bytecode: Sequence[str] = (),
        parts: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Entry:
        """Make an entry; ``functions``: label to source; ``inputs``: name to content, which is its short text too."""
        sources = functions if functions is not None else {name: f"def {name}(): pass"}
        code = Code(
            {label: Function(digest(text), self.keep(text)) for label, text in sources.items()}, tuple(bytecode)
        )
        told = Parts(
            code=self.keep(code.as_text()),
            inputs={key: Input(digest(content), content) for key, content in (inputs or {}).items()},
            **(parts or {}),
        )
        payload = DefaultCodec().encode(value)
        fingerprint = digest(repr((sorted(sources.items()), sorted((inputs or {}).items()))))
        fields = {
            "serializer": payload.serializer, "payload": payload.data, "value_type": payload.value_type,
            "attempts": 1, "code": StepCode(inputs=told.as_text(), fingerprint=fingerprint, version=1),
        }  # fmt: skip
        return Entry(seq, name, occurrence, status, **{**fields, **more})

    def execute(
        self,
        name: str,
        entries: Sequence[Entry] = (),
        used: Sequence[int] | None = (),
        *,
        key: str = "",
        fresh: bool = False,
        outcome: Outcome | None = Outcome.COMPLETED,
        open_: bool = False,
    ) -> RunInfo:
        """One execution that records ``entries`` and calls ``used``; with ``outcome=None`` its kernel dies."""
        claim = self.store.claim(RunId(name, key), this_process(), now=self.now, fresh=fresh)
        self.store.keep(claim, self.texts)
        for entry in entries:
            stamped = entry._replace(execution=claim.execution, started_at=self.now)
            if entry.status is not EntryStatus.RUNNING:
                stamped = stamped._replace(ended_at=self.now + 1)
            self.store.record(claim, stamped)
        self.now += 10
        if outcome is not None and not open_:
            status = RunStatus.COMPLETED if outcome is Outcome.COMPLETED else RunStatus.FAILED
            self.store.end(claim, outcome, status, now=self.now, used=used)
        if not open_:
            self.store.release(claim)
        return next(run for run in self.store.runs(name) if run.run.key == key)
