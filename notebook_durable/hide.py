"""Secrets by value: what an input named like a secret holds is hidden wherever it turns up."""

from __future__ import annotations

import functools
import html
import itertools
import json
import os
import re
import types
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from notebook_durable.redact import HIDDEN, is_secret_name, redact, words

__all__ = ["Hider", "hider", "secrets_in"]

_SHORTEST = 6  # characters: shorter ones are parts of too many words
_LONGEST = 20_000  # ... a key in a file of its own; longer ones are data
_MOST = 300  # secrets
_SHORTEST_LINE = 16  # characters of a line of a secret that has several
_FEW = 50  # keys of a dict, fields of an object
_FEW_ITEMS = 20  # a longer list under a secret's name ("tokens") is data
#: What stands for a password in examples and settings, and everywhere else too.
_COMMON = words(
    "default localhost password passwd secret secrets token tokens enabled disabled true false none null string "
    "example username postgres public private unknown optional required anonymous changeme basic bearer oauth oauth2 "
    "session cookie cookies api_key apikey test123 123456 1234567 admin123 production staging development authorization"
)
#: In a dict of credentials these are no secrets, and stand in many texts.
_HARMLESS = words(
    "user username login host hostname server port database db dbname schema region zone type kind driver dialect "
    "engine protocol scheme service account email mail name title description id project method mode scope"
)
#: What has no secret inside, and much of it.
_PLAIN = frozenset({int, float, complex, bool, type(None), bytes, types.FunctionType, types.ModuleType, type})
_DATA = words("numpy pandas polars scipy sklearn torch matplotlib builtins datetime collections")
_NUMBER = re.compile(r"[-+]?[\d.,_]{0,7}")
_PASSWORD_IN_URL = re.compile(r"://[^\s:/@'\"]{0,200}:([^\s/'\"]{1,400})@")


class Hider:
    """Hides given texts, as they are or quoted for URLs, Python, JSON and HTML, and then what :func:`redact` finds.

    Args:
        values: the secrets. Those that are shorter than 6 characters, and common words and numbers such as
            "default", are not looked for.
    """

    __slots__ = ("_forms", "_heads")

    def __init__(self, values: Iterable[str]) -> None:
        forms: set[str] = set()
        for value in itertools.islice(filter(_is_hidden, values), _MOST):
            forms.update(_forms(value))
        self._forms = tuple(forms)
        self._heads = tuple({form[:_SHORTEST] for form in forms})

    def __bool__(self) -> bool:
        return bool(self._forms)

    def finds(self, text: str) -> bool:
        """Tell whether a text may hold one of them. Quick, and wrong now and then."""
        return any(head in text for head in self._heads)

    def __call__(self, text: str) -> str:
        for head in self._heads:
            if head in text:
                return redact(self._without(text))
        return redact(text)

    def _without(self, text: str) -> str:
        """Replace the secrets. They may overlap, so all are found before any is replaced."""
        spans = []
        for form in self._forms:
            at = text.find(form)
            while at >= 0:
                spans.append((at, at + len(form)))
                at = text.find(form, at + 1)
            # A text that was cut may end within a secret.
            at = text.find(form[:_SHORTEST], max(0, len(text) - len(form) + 1))
            while at >= 0:
                if form.startswith(text[at:]):
                    spans.append((at, len(text)))
                    break
                at = text.find(form[:_SHORTEST], at + 1)
        pieces: list[str] = []
        done = 0
        for start, end in sorted(spans):
            if start >= done:
                pieces += (text[done:start], HIDDEN)
            done = max(done, end)
        return "".join(pieces) + text[done:]


def hider(values: Collection[str]) -> Callable[[str], str]:
    """Return a function that hides these secrets in a text, and what :func:`redact` finds.

    Args:
        values: the secrets, see :class:`Hider`; best what :func:`secrets_in` returns.
    """
    return _hider(values if isinstance(values, frozenset) else frozenset(values))


@functools.lru_cache(maxsize=32)
def _hider(values: frozenset[str]) -> Callable[[str], str]:
    return Hider(values) or redact


def _is_hidden(text: str) -> bool:
    bare = text.strip()
    return (
        _SHORTEST <= len(bare) <= _LONGEST
        and bare.casefold() not in _COMMON
        and not _NUMBER.fullmatch(bare)
        and len(set(bare)) > 1
        and HIDDEN not in bare
        # Rules and frames, as people draw them.
        and (len(set(bare)) > 2 or any(map(str.isalnum, bare)))
    )


def _forms(value: str) -> set[str]:
    """Return the ways in which a secret may be written."""
    bare = value.strip()
    plain = {bare}
    if "\n" in bare:
        plain.update(line.strip() for line in bare.split("\n") if len(line.strip()) >= _SHORTEST_LINE)
    forms = set(plain)
    for text in plain:
        raw = text.encode("utf-8", "surrogatepass")
        forms.update((urllib.parse.quote(raw, safe=""), urllib.parse.quote(raw), urllib.parse.quote_plus(raw)))
        forms.update((html.escape(text), html.escape(text, quote=False), repr(raw)[2:-1]))
        escaped = {text}
        for _ in range(2):  # a text in a text: the repr of an error's message
            escaped |= {form for one in escaped for form in _escaped(one)}
        forms |= escaped
    return {form for form in forms if len(form) >= _SHORTEST}


def _escaped(text: str) -> tuple[str, ...]:
    single, double = text.replace("\\", "\\\\").replace("'", "\\'"), repr(text)[1:-1]
    return double, single, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


def secrets_in(named: Iterable[tuple[str, Any]], extra: Collection[str] = ()) -> frozenset[str]:
    """Collect the secret texts in values, and those of the environment.

    Args:
        named: variables, arguments and the like by name. What is in a value counts if its name is a secret's; else
            only what is under a secret's name in it (a key, a field), and passwords in URLs.
        extra: names that are secrets' because the user says so.

    Returns:
        The texts, to be given to :func:`hider`. Only a part of a large value is looked at. Never raises.
    """
    found: set[str] = set()
    for name, value in named:
        marked = name in extra
        try:
            if marked or is_secret_name(name):
                found.update(_texts(value, 2, all_of_it=marked))
            elif type(value) not in _PLAIN:
                found.update(_inside(value, extra, 2))
        except Exception:  # noqa: BLE001, S112  an object that misbehaves when looked at has no secrets for us
            continue
    environment = _in_environment()
    return environment.union(found) if found else environment


def _texts(value: Any, depth: int, *, all_of_it: bool) -> Iterator[str]:
    """Yield the texts in a value that is secret."""
    if isinstance(value, str):
        yield str.__str__(value)
        yield from _in_urls(value)
    elif isinstance(value, (bytes, bytearray)):
        if len(value) <= _LONGEST:
            yield bytes(value).decode("utf-8", "ignore")
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(int(value)) if abs(value) < 10**40 else ""
    elif callable(reveal := getattr(type(value), "get_secret_value", None)):
        yield from _texts(reveal(value), depth, all_of_it=all_of_it)
    elif depth and isinstance(value, dict):
        for key, one in itertools.islice(list(dict.items(value)), _FEW):
            if all_of_it or not (isinstance(key, str) and key.casefold() in _HARMLESS):
                yield from _texts(one, depth - 1, all_of_it=all_of_it)
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        if all_of_it or len(value) <= _FEW_ITEMS:
            for one in itertools.islice(tuple(value), _MOST):
                yield from _texts(one, depth - 1, all_of_it=all_of_it)
    elif depth:
        yield from (text for _, one in _own_fields(value) for text in _texts(one, depth - 1, all_of_it=all_of_it))


def _in_urls(text: str) -> Iterator[str]:
    """Yield the passwords in URLs, as they stand there and as a driver, which unquotes them, gets them."""
    text = text[:_LONGEST]
    if "@" in text:
        for password in _PASSWORD_IN_URL.findall(text):
            yield password
            if "%" in password:
                yield urllib.parse.unquote(password)


def _inside(value: Any, extra: Collection[str], depth: int) -> Iterator[str]:
    """Yield what is under secrets' names in a value that is no secret itself."""
    if isinstance(value, str):
        yield from _in_urls(value)
        return
    if callable(reveal := getattr(type(value), "get_secret_value", None)):
        yield from _texts(reveal(value), 1, all_of_it=True)
    elif isinstance(value, (list, tuple)):
        if depth:
            for one in itertools.islice(tuple(value[:_FEW]), _FEW):
                if type(one) not in _PLAIN:
                    yield from _inside(one, extra, depth - 1)
    else:
        items = itertools.islice(dict.items(value), _FEW) if isinstance(value, dict) else _own_fields(value)
        for key, one in list(items):
            marked = isinstance(key, str) and key in extra
            if marked or (isinstance(key, str) and is_secret_name(key)):
                yield from _texts(one, 2, all_of_it=marked)
            elif depth and type(one) not in _PLAIN:
                yield from _inside(one, extra, depth - 1)


def _own_fields(value: Any) -> list[tuple[str, Any]]:
    if type(value).__module__.partition(".")[0] in _DATA:
        return []
    try:
        found = object.__getattribute__(value, "__dict__")  # not by way of a __getattr__ that does something
    except AttributeError:
        return []
    return list(itertools.islice(found.items(), _FEW)) if isinstance(found, dict) else []


def _is_place(text: str) -> bool:
    try:
        return text.startswith("/") and Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or with a null in it
        return False


_NO_SECRETS = words("PWD OLDPWD")  # working directories
_environment: tuple[dict[Any, Any], frozenset[str]] = ({}, frozenset())


def _in_environment() -> frozenset[str]:
    """Return the values of environment variables with secrets' names, and the passwords in URLs of all others."""
    global _environment
    now = getattr(os.environ, "_data", None)  # comparing what is inside takes a twentieth of the time
    if not isinstance(now, dict):
        now = dict(os.environ)
    before, found = _environment
    if now != before:
        named = [value for name, value in os.environ.items() if is_secret_name(name) and name not in _NO_SECRETS]
        # Places are no secrets, and stand everywhere: SSH_AUTH_SOCK.
        secret = {value for value in named if _is_hidden(value) and not _is_place(value)}
        in_urls = {password for value in os.environ.values() for password in _in_urls(value)}
        found = frozenset(secret.union(filter(_is_hidden, in_urls)))
        _environment = dict(now), found
    return found
