"""What is kept of a step for people to look at: outputs and a preview, without secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from notebook_durable.engine.options import StepSpec
from notebook_durable.hide import Hider, hider, secrets_in
from notebook_durable.model import Extra, Payload
from notebook_durable.parts import Parts
from notebook_durable.protocols import Description, Recording
from notebook_durable.redact import HIDDEN, redact

if TYPE_CHECKING:
    from notebook_durable.engine.session import Session

__all__ = ["ForPeople"]

_log = logging.getLogger("notebook_durable")

#: Bytes: a JSON value up to this size is its own preview.
_SMALL = 2000


class ForPeople:
    """Makes the :class:`~notebook_durable.model.Extra` of one step. Nothing that goes wrong in it reaches the step.

    Args:
        session: the execution.
        spec: the step.
        call: what it computes from: values of inputs with the name of a secret are hidden wherever they turn up.
    """

    __slots__ = ("_call", "_hide", "_recording", "_session", "_spec")

    def __init__(self, session: Session, spec: StepSpec, call: Description) -> None:
        self._session = session
        self._spec = spec
        self._call = call
        self._recording: Recording | None = None
        self._hide: Callable[[str], str] | None = None

    def record(self) -> Recording | None:
        """Return a recording for the next attempt; None if nothing is to be taken down."""
        recorder = self._session.recorder
        if recorder is None or not self._spec.options.output:
            return None
        self._recording = recorder.recording()
        return self._recording

    def hide(self, text: str) -> str:
        """Hide the secrets in a text."""
        return self._hider(text)

    @property
    def _hider(self) -> Callable[[str], str]:
        if self._hide is None:
            named = [(name, self._call.input(name)) for name in self._call.names]
            self._hide = hider(secrets_in(named, self._spec.options.secrets))
        return self._hide

    @property
    def hides_nothing(self) -> bool:
        """True if no secret is known that could turn up in a text."""
        return self._hider is redact

    def without_secrets(self, parts: Parts) -> Parts:
        """Hide the secrets in what is kept of a step's inputs. Their digests stay: those compare, and tell nothing."""
        secret = self._spec.options.secrets
        if not parts.inputs or (not secret and self._hider is redact):
            return parts
        inputs = {
            name: value._replace(short=HIDDEN if value.short and _is_in(name, secret) else self.hide(value.short))
            for name, value in parts.inputs.items()
        }
        return parts._replace(inputs=inputs)

    def extra(self) -> Extra | None:
        """Return what is kept of an attempt without a value."""
        outputs = self._outputs()
        return Extra(outputs=outputs) if outputs else None

    def extra_of(self, value: Any, payload: Payload | None = None) -> Extra | None:
        """Return what is kept of an attempt that gave ``value``.

        Args:
            value: the value.
            payload: it as bytes; None if it can't be stored.
        """
        if self._recording is not None:
            try:
                self._recording.finish(value)
            except Exception:  # noqa: BLE001  a courtesy
                _log.debug("open figures of step '%s' were not shown", self._spec.name, exc_info=True)
        outputs = self._outputs()
        preview = ""
        own = payload is not None and payload.serializer == "json" and len(payload.data) <= _SMALL
        if self._session.previewer is not None and (not own or self._hides_in(payload)):
            try:
                preview = self._session.previewer(value, hide=self.hide, secret=self._spec.options.secrets)
            except Exception:  # noqa: BLE001  a courtesy
                _log.debug("no preview of step '%s'", self._spec.name, exc_info=True)
        return Extra(preview, outputs) if preview or outputs else None

    def _hides_in(self, payload: Payload | None) -> bool:
        """Tell whether the JSON of a small value may hold a secret, and so can't be its own preview."""
        if self._spec.options.secrets:
            return True
        hide = self._hider
        return isinstance(hide, Hider) and payload is not None and hide.finds(payload.data.decode())

    def _outputs(self) -> str:
        recording, self._recording = self._recording, None
        if recording is None:
            return ""
        try:
            return recording.outputs(self.hide)
        except Exception:  # noqa: BLE001  a courtesy
            _log.debug("the output of step '%s' was not kept", self._spec.name, exc_info=True)
            return ""


def _is_in(name: str, secret: frozenset[str]) -> bool:
    """Tell whether an input, or what it is a part of ("config.pin"), was said to be secret."""
    return bool(secret) and (name in secret or not secret.isdisjoint(re.split(r"\W+", name)))
