"""The journal explorer: answers what its JavaScript asks. What it shows travels in answers, never in state.

So nothing of a journal is saved with a notebook's widgets; what stays in the .ipynb is the table beside it.
"""

from __future__ import annotations

import builtins
import functools
import keyword
import logging
import pathlib
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from notebook_durable.errors import ConfigurationError, DamagedValueError, DurableError
from notebook_durable.history.explore import Snapshot, list_runs, overview, snapshot, step_rows
from notebook_durable.history.explore_step import all_of_step, damage_text, step_detail, step_text
from notebook_durable.history.log import read_log
from notebook_durable.history.removal import Plan, forget, rewind
from notebook_durable.history.spelling import spell
from notebook_durable.history.timeline import timeline
from notebook_durable.history.values import recorded, variable_for
from notebook_durable.model import RunInfo
from notebook_durable.pause_gc import pause_gc
from notebook_durable.protocols import Store
from notebook_durable.redact import redact
from notebook_durable.wiring import Settings, open_store

__all__ = ["Explorer", "explorer_widget"]

_log = logging.getLogger("notebook_durable")
_HERE = pathlib.Path(__file__).parent
_PAGE = 5_000  # rows in one answer

Request = Mapping[str, Any]


class Explorer:
    """Answers questions about one journal, and does what is asked of it.

    A folder's journal is opened for each request and closed again: an output that stays for days holds no file open,
    and a request may come on any thread.

    Args:
        settings: where the journal is.
        shell: IPython's, which values are loaded into; None: they can't be.
        journal: the Python expression of the journal, if ``%durable`` would look into another one.
    """

    def __init__(self, settings: Settings, shell: Any = None, journal: str | None = None) -> None:
        self._settings = settings
        self._shell = shell
        self._journal = journal
        self._read: tuple[int, Snapshot] | None = None  # the run that is open
        self._asked: tuple[str, Request, str] | None = None  # the plan that waits for a yes: name, request, text
        #: Values that turned out to be damaged when they were to be loaded: by run, entry and when it was recorded.
        self._damaged: dict[tuple[int, int, float | None], str] = {}
        self._does: dict[str, Callable[[Store, Request], dict[str, Any]]] = {
            "runs": self._runs, "run": self._run, "rows": self._rows, "step": self._step, "load": self._load,
            "rewind": self._ask, "forget": self._ask, "apply": self._apply,
        }  # fmt: skip

    def answer(self, request: Request) -> dict[str, Any]:
        """Answer one request. Never raises: what went wrong is said in the answer, as ``error``."""
        answer: dict[str, Any] = {"kind": "answer", "id": request.get("id"), "do": request.get("do")}
        try:
            do = self._does.get(str(request.get("do")))
            if do is None:
                raise ConfigurationError(f"the explorer can't do {request.get('do')!r}")
            answer |= self._with_store(lambda store: do(store, request))
        except DurableError as error:
            answer["error"] = redact(f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001  it must be said in the explorer, not get lost in a log
            _log.debug("the explorer could not answer", exc_info=True)
            answer["error"] = redact(f"{type(error).__name__}: {error}")
        return answer

    def _with_store(self, use: Callable[[Store], dict[str, Any]]) -> dict[str, Any]:
        folder = self._settings.folder
        if folder is not None and not folder.is_dir():
            raise ConfigurationError(f"there is no journal at {folder} any more")
        store = open_store(self._settings)
        try:
            return use(store)
        finally:
            if folder is not None:
                store.close()

    # -- looking

    def _runs(self, store: Store, _: Request) -> dict[str, Any]:
        self._read = None
        return list_runs(store)

    def _run(self, store: Store, request: Request) -> dict[str, Any]:
        info = _info(store, request)
        with pause_gc():  # thousands of entries are made, and none is garbage
            shot = snapshot(store, info)
            drawn = timeline(shot, lambda seq: store.attempts(info.id, seq), time.time())
            rows = step_rows(shot, 0, _PAGE)
        self._read = info.id, shot
        return {"run": overview(info), "timeline": drawn, "steps": rows, "untrusted": shot.untrusted}

    def _rows(self, store: Store, request: Request) -> dict[str, Any]:
        return {"steps": step_rows(self._shot(store, request), int(request.get("start", 0)), _PAGE)}

    def _step(self, store: Store, request: Request) -> dict[str, Any]:
        shot = self._shot(store, request)
        seq = int(request["seq"])
        if seq not in shot.log.by_seq:
            shot = self._fresh(store, request)
        detail = step_detail(store, shot, seq)
        said = self._damaged.get((shot.log.info.id, seq, shot.log.by_seq[seq].ended_at))
        if said is not None:
            detail["damaged"], detail["can"]["load"] = said, False
        if detail["can"]["load"]:
            self._offer(store, shot, seq, detail)
        return {"step": detail}

    def _offer(self, store: Store, shot: Snapshot, seq: int, detail: dict[str, Any]) -> None:
        """Add how its value can be loaded: the command, and a variable's name that is free."""
        try:
            text = step_text(shot, shot.log.by_seq[seq])
        except ConfigurationError as error:
            detail["can"]["load"] = False
            detail["note"] = "; ".join(filter(None, (detail["note"], str(error))))
            return
        default, variable = detail["variable"], None
        if self._shell is not None and _keeps(self._shell, default):
            # A step is often called as its function is: `load` would be no more.
            detail["variable"] = variable = f"{default}_value"
        detail["command"] = self._spell(store, "load", shot.log.info, text, variable)
        detail["can"]["load"] = self._shell is not None

    def _shot(self, store: Store, request: Request) -> Snapshot:
        read = self._read  # another thread may be reading another run
        return read[1] if read is not None and read[0] == request.get("run") else self._fresh(store, request)

    def _fresh(self, store: Store, request: Request) -> Snapshot:
        shot = snapshot(store, _info(store, request))
        self._read = shot.log.info.id, shot
        return shot

    def _spell(self, store: Store, command: str, info: RunInfo, step: str | None, variable: str | None = None) -> str:
        names = {one.run.workflow for one in store.runs(archived=True)}
        return spell(command, info, step, names=names, journal=self._journal, variable=variable)

    # -- doing

    def _load(self, store: Store, request: Request) -> dict[str, Any]:
        if self._shell is None:
            raise ConfigurationError("there is no IPython here to load a value into")
        shot, entry = self._entry(store, request)
        text = step_text(shot, entry)
        try:
            found = recorded(store, shot.log, text)
        except DamagedValueError as error:
            # Large values are only read, and so only checked, when somebody wants them: here.
            self._damaged[shot.log.info.id, entry.seq, entry.ended_at] = damage_text(error)
            raise
        name = _variable(self._shell, str(request.get("variable") or ""), variable_for(found.step))
        self._shell.push({name: found.value()})
        return {"said": f"{name}: {found.described}"}

    def _ask(self, store: Store, request: Request) -> dict[str, Any]:
        """Show what will go; nothing has happened yet."""
        plan, command = self._plan_of(store, request)
        if not plan:
            return {"said": "there is nothing to do"}
        name = f"plan {request.get('id')}"
        # The plan holds the store that it was made with, which is closed by then: it is made again, and compared.
        self._asked = name, dict(request), repr(plan)
        return {"plan": name, "text": repr(plan), "question": plan.question, "command": command}

    def _apply(self, store: Store, request: Request) -> dict[str, Any]:
        asked, self._asked = self._asked, None
        if asked is None or asked[0] != request.get("plan"):
            raise ConfigurationError("this was asked too long ago: nothing was done. Ask again.")
        plan, _ = self._plan_of(store, asked[1])
        if repr(plan) != asked[2]:
            raise ConfigurationError("the run has changed meanwhile, so nothing was done. Ask again.")
        said = plan.apply()
        self._read = None
        return {"said": said}

    def _plan_of(self, store: Store, request: Request) -> tuple[Plan, str]:
        if request.get("seq") is None:
            info = _info(store, request)
            log = read_log(store, info, payloads=False)
            return forget(store, [log], None), self._spell(store, "forget", info, None)
        shot, entry = self._entry(store, request)
        key, log = shot.versions[entry.seq].key, read_log(store, shot.log.info, payloads=False)
        if request["do"] == "rewind":
            return rewind(store, log, str(key)), self._spell(store, "rewind", log.info, str(key))
        step = all_of_step(shot, key)
        return forget(store, [log], step), self._spell(store, "forget", log.info, step)

    def _entry(self, store: Store, request: Request) -> tuple[Snapshot, Any]:
        shot = self._fresh(store, request)
        entry = shot.log.by_seq.get(int(request["seq"]))
        if entry is None:
            raise ConfigurationError("this step is not in the journal any more: refresh")
        return shot, entry


def _info(store: Store, request: Request) -> RunInfo:
    for info in store.runs(archived=True):
        if info.id == request.get("run"):
            return info
    raise ConfigurationError("this run is not in the journal any more: refresh")


def _variable(shell: Any, given: str, default: str) -> str:
    """Choose the variable, as ``%durable load`` does: functions and modules are replaced only if asked for by name."""
    name = given or default
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigurationError(f"{name!r} is not a variable's name")
    if name == default and _keeps(shell, name):
        raise ConfigurationError(f"'{name}' is a function or module here, and was not replaced. Type another name.")
    return name


def _keeps(shell: Any, name: str) -> bool:
    there = shell.user_ns.get(name, getattr(builtins, name, None))
    return callable(there) or isinstance(there, ModuleType)


# --- the widget ---------------------------------------------------------------------------


@functools.cache
def _widget_class() -> Any:
    import anywidget

    class ExplorerWidget(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]
        """The explorer in the browser. It has no state of its own: all is asked for."""

        _esm = _HERE / "explorer.js"
        _css = _HERE / "explorer.css"

        def __init__(self, explorer: Explorer) -> None:
            super().__init__()
            self._explorer = explorer
            if hasattr(self.comm, "_reply_subshell_for"):
                # ipykernel 7.4: answer also while a cell runs, on the front end's own subshell.
                self.comm._reply_subshell_for = lambda _data, default: default  # noqa: SLF001
            self.on_msg(self._on_message)

        def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
            if isinstance(content, dict):
                self.send(self._explorer.answer(content))

    return ExplorerWidget


def explorer_widget(explorer: Explorer) -> Any:
    """Return a widget that shows what an explorer answers.

    Raises:
        ImportError: without anywidget.
    """
    return _widget_class()(explorer)
