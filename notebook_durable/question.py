"""What a promise asks a person, and which answers it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from notebook_durable.errors import ConfigurationError
from notebook_durable.redact import redact

__all__ = ["Question", "question", "question_from"]

_SCALARS = (str, int, float, bool, type(None))
_MOST = 50


class Question(NamedTuple):
    """A question that a cell waits for.

    Attributes:
        text: what is asked.
        choices: the answers that can be given, each a text, a number, True, False or None; empty: any.
        form: fields to fill in: name and the value that stands there at first, whose type the answer must have; a
            list stands for a choice among its items, the first at first. Empty: no form.
    """

    text: str
    choices: tuple[Any, ...] = ()
    form: Mapping[str, Any] = {}

    def as_text(self) -> str:
        """Write it down."""
        return json.dumps({"text": self.text, "choices": list(self.choices), "form": dict(self.form)})

    def check(self, answer: Any) -> Any:
        """Return an answer if it is one that the question takes.

        Raises:
            ConfigurationError: if it isn't, with those that are.
        """
        if self.choices:
            for choice in self.choices:
                if type(choice) is type(answer) and choice == answer:
                    return answer
            raise ConfigurationError(
                f"{self.text!r} takes one of {', '.join(map(repr, self.choices))}, not {answer!r:.80}"
            )
        if self.form:
            return self._filled_in(answer)
        return answer

    def read(self, text: str) -> Any:
        """Make an answer from what somebody typed: the choice that reads so, else JSON, else the text itself.

        Raises:
            ConfigurationError: if the question doesn't take it.
        """
        for choice in self.choices:
            if text == (choice if isinstance(choice, str) else json.dumps(choice)) or text == str(choice):
                return choice
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        return self.check(value)

    def _filled_in(self, answer: Any) -> dict[str, Any]:
        if not isinstance(answer, Mapping):
            raise ConfigurationError(
                f"{self.text!r} is a form: answer with a JSON object of {', '.join(self.form)}, not {answer!r:.80}"
            )
        unknown = [str(name) for name in answer if name not in self.form]
        if unknown:
            raise ConfigurationError(f"{self.text!r} has no field '{unknown[0]}'; it has {', '.join(self.form)}")
        return {name: _field(name, first, answer.get(name, _UNSET)) for name, first in self.form.items()}


_UNSET: Any = object()


def _field(name: str, first: Any, value: Any) -> Any:
    if isinstance(first, (list, tuple)):
        value = first[0] if value is _UNSET else value
        if not any(type(one) is type(value) and one == value for one in first):
            raise ConfigurationError(f"'{name}' takes one of {', '.join(map(repr, first))}, not {value!r:.80}")
        return value
    if value is _UNSET:
        return first
    if isinstance(first, float) and type(value) is int:
        return float(value)
    if type(value) is not type(first):
        raise ConfigurationError(f"'{name}' takes {type(first).__name__}, not {value!r:.80}")
    return value


def question(text: str, choices: Sequence[Any] | None, form: Mapping[str, Any] | None) -> Question:
    """Check and make a question.

    Raises:
        ConfigurationError: for choices or fields that can't be offered.
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"question= takes text, not {text!r:.80}")
    if choices is not None and not isinstance(choices, (list, tuple, range)):
        raise ConfigurationError(f"choices= takes a list, such as ['yes', 'no'], not {choices!r:.80}")
    if form is not None and not isinstance(form, Mapping):
        raise ConfigurationError(f"form= takes names and first values, such as {{'amount': 10.0}}, not {form!r:.80}")
    if choices and form:
        raise ConfigurationError("give choices= or form=, not both: a form's field may be a list of choices")
    chosen = tuple(choices or ())
    for choice in chosen:
        if not isinstance(choice, _SCALARS) or choice != choice:
            raise ConfigurationError(f"a choice is a text, a number, True, False or None, not {choice!r:.80}")
    if len(chosen) > _MOST:
        raise ConfigurationError(f"{len(chosen)} choices are more than the {_MOST} that can be shown: ask for a text")
    fields = dict(form or {})
    for name, first in fields.items():
        fine = isinstance(first, _SCALARS[:-1]) or (
            isinstance(first, (list, tuple)) and first and all(isinstance(one, _SCALARS) for one in first)
        )
        if not isinstance(name, str) or not fine:
            raise ConfigurationError(
                f"form= takes names and first values, such as {{'amount': 10.0, 'to': ['me', 'you']}}; "
                f"{name!r:.40}: {first!r:.80} is neither text, number, True, False nor a list of them"
            )
    # It is kept and shown: without the password of a URL in it.
    return Question(
        redact(text), chosen, {name: list(one) if isinstance(one, tuple) else one for name, one in fields.items()}
    )


def question_from(text: str) -> Question | None:
    """Read what :meth:`Question.as_text` wrote; None for anything else."""
    try:
        raw = json.loads(text)
        return Question(str(raw["text"]), tuple(raw["choices"]), dict(raw["form"]))
    except (ValueError, TypeError, KeyError):
        return None
