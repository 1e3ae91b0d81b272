"""``%config Durable.max_attempts = 3``: settings of this kernel, used from the next cell on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import Bool, List, TraitError, validate
from traitlets.config import Configurable

from notebook_durable.errors import ConfigurationError
from notebook_durable.units import byte_count

__all__ = ["Durable"]


class Durable(Configurable):
    """Settings of notebook_durable. They win over the environment variables NOTEBOOK_DURABLE_*."""

    store = AnyTrait(
        None, help="Folder of the journal, such as '/data/.durable'. Default: .durable beside the notebook."
    ).tag(config=True)
    key_file = AnyTrait(None, help="File of the key that marks journal entries as yours.").tag(config=True)
    max_attempts = AnyTrait(
        None, help="Calls of each step in all, unless the step says otherwise. None: no limit."
    ).tag(config=True)

    warn_size = AnyTrait(
        None, help="From which size on the journal is said to be large, such as '50GB'. Default: 10GB. 0: never."
    ).tag(config=True)

    lint = Bool(
        True, help="Name calls of a cell that give another value on replay, such as time.time(), before it runs."
    ).tag(config=True)

    widgets = Bool(
        True, help="Show durable cells and the journal as widgets. False: as HTML, for front ends without ipywidgets."
    ).tag(config=True)
    observers: Any = List(
        [], help="Get the events of durable cells: objects with notify(event), see notebook_durable.events."
    ).tag(config=True)

    def __init__(self, **traits: Any) -> None:
        self._refused: dict[str, str] = {}
        super().__init__(**traits)

    def update_config(self, config: Any) -> None:
        """Take new values from ``%config``; a bad one changes nothing here, and stops the next durable cell.

        IPython logs what this raises and goes on. A notebook that runs with nobody there would then retry without end,
        although its author had set a limit.
        """
        given = config.get(type(self).__name__, {})
        names = list(given)
        # traitlets takes copies, and there is none of a lock: observers and stores are handed on as they are.
        objects = {name: given.pop(name) for name in ("observers", "store") if name in given}
        try:
            super().update_config(config)
            for name, value in objects.items():
                setattr(self, name, value)
        except TraitError as error:
            self._refused.update(dict.fromkeys(names, str(error)))
            raise
        for name in names:
            self._refused.pop(name, None)

    def check(self) -> None:
        """Make sure that the last value given for each setting was taken.

        Raises:
            ConfigurationError: naming the one that was not.
        """
        for name, said in self._refused.items():
            raise ConfigurationError(f"{said}. Set it again: %config Durable.{name} = ...")

    @validate("store", "key_file")
    def _a_path(self, proposal: dict[str, Any]) -> Any:
        value, name = proposal["value"], proposal["trait"].name
        if value is None:
            return None
        if isinstance(value, (str, Path)):
            if not str(value).strip():
                raise TraitError(f"Durable.{name} must not be empty. Type a path, or None for the default")
            return value
        if name == "store" and hasattr(value, "claim"):
            return value  # a Store of one's own
        raise TraitError(f"Durable.{name} must be a path, not {type(value).__name__}: {value!r:.80}")

    @validate("observers")
    def _observing(self, proposal: dict[str, Any]) -> Any:
        for one in proposal["value"]:
            if not callable(getattr(one, "notify", None)):
                raise TraitError(f"Durable.observers takes objects with a method notify(event), not {one!r:.80}")
        return proposal["value"]

    @validate("warn_size")
    def _a_size(self, proposal: dict[str, Any]) -> Any:
        value = proposal["value"]
        if value is None:
            return None
        try:
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                byte_count(value)
                return value
        except ConfigurationError:
            pass  # told below
        raise TraitError(f"Durable.warn_size must be a size such as '50GB', a number of bytes, or 0, not {value!r:.80}")

    @validate("max_attempts")
    def _a_count(self, proposal: dict[str, Any]) -> int | None:
        value = proposal["value"]
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise TraitError(f"Durable.max_attempts must be a whole number, 1 or more, or None, not {value!r:.80}")
