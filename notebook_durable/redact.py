"""Secrets in texts that are kept or shown: what stands for a password is replaced before it is stored."""

from __future__ import annotations

import re

__all__ = ["is_secret_name", "redact"]

HIDDEN = "•••"
_NAMES = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|access_?key|private_?key|credentials?|auth(?:orization)?)"
)
_SECRET_NAME = re.compile(rf"(?:^|[_\W]){_NAMES}(?:$|[_\W\d])|{_NAMES}$", re.IGNORECASE)
#: user:password@ in a URL; the password ends at the last @ before a slash or blank.
_URL = re.compile(r"(?P<before>[a-z][a-z0-9+.\-]*:/{1,3}[^\s:/@'\"]*:)[^\s/'\"]+(?=@)", re.IGNORECASE)
#: password = "...", "api_key": '...', token="..." (with f, b, r before the quotes).
_LITERAL = re.compile(
    rf"(?P<before>\b\w*{_NAMES}\w*[\"']?\]?\s*(?::\s*\w+\s*)?[:=]\s*[fbru]{{0,2}})(?P<quote>\"\"\"|'''|\"|').+?(?P=quote)",
    re.IGNORECASE | re.DOTALL,
)
#: password=... in a connection string (DSN, ODBC).
_DSN = re.compile(r"(?P<before>\b(?:password|passwd|pwd)=)[^\s;&'\"]+", re.IGNORECASE)
#: Bearer and well-known shapes of keys.
_SHAPES = re.compile(r"\b(?:sk|pk|ghp|gho|xox[bap]|AKIA)[-_]?[A-Za-z0-9_\-]{16,}\b|(?<=Bearer )[A-Za-z0-9._\-]{8,}")


def is_secret_name(name: str) -> bool:
    """Tell whether a variable or argument of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """Hide passwords in a text."""
    text = _URL.sub(lambda found: found["before"] + HIDDEN, text)
    text = _LITERAL.sub(lambda found: f"{found['before']}{found['quote']}{HIDDEN}{found['quote']}", text)
    text = _DSN.sub(lambda found: found["before"] + HIDDEN, text)
    return _SHAPES.sub(HIDDEN, text)
