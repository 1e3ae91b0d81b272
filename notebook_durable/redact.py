"""Secrets in texts that are kept or shown: what stands for a password is replaced before it is stored.

Names say what is a secret ("password", "X-Api-Key"), and then the literals that belong to the name are hidden; URLs
and the well-known shapes of keys speak for themselves. Every search is bounded: a text is read once, however long.
"""

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
from typing import Any

__all__ = ["HIDDEN", "Hider", "hider", "is_secret_name", "redact", "secrets_in"]

HIDDEN = "•••"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# -- names

_LONGEST_NAME = 80  # characters
#: Where a name with a secret may be: quick to find, then looked at properly.
_STEM = re.compile(
    r"pass|p(?:s?wd|w)(?![a-z])|pswd|secret|token|key|credential|auth|bearer|jwt|cookie|log_?in(?=\()", re.IGNORECASE
)
_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORDS = _words(
    "pass password passwd passphrase passcode pwd pw pswd secret token credential cred auth oauth authorization apikey "
    "bearer jwt cookie dbpass userpass"
)
_ENDINGS = re.compile(r"(?:password|passwd|passphrase|secret|token|api_?key|accesskey|secretkey|privatekey)s?$")
_KEYS = _words("api access private secret account shared auth signing encryption master storage service")
#: What a name ends with that is about a secret and is none.
_ABOUT = _words(
    "count counts counter length len size limit limits enabled disabled policy type kind url uri endpoint name names "
    "path file dir field column index idx ids rate budget ttl expiry expires timeout error errors required missing "
    "prompt label help pattern regex format strength url min max manager provider"
)
_NUMBER_OF = _words("n num max min total")
_LOOKS_UP = _words("get fetch read load count")


def is_secret_name(name: str) -> bool:
    """Tell whether a variable, argument or key of this name holds a secret: "DB_PASSWORD", "X-Api-Key", "pw"."""
    return len(name) <= 4 * _LONGEST_NAME and _STEM.search(name) is not None and _is_secret(name)


@functools.lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    pieces = [piece.lower() for piece in _PIECES.findall(name)]
    if not pieces or pieces[-1] in _ABOUT or pieces[0] in _NUMBER_OF:
        return False
    if any(piece.removesuffix("s") in _WORDS or piece in _WORDS or _ENDINGS.search(piece) for piece in pieces):
        return True
    return any(one in _KEYS and two in ("key", "keys") for one, two in itertools.pairwise(pieces))


# -- what belongs to a name

_REST = re.compile(rf"[\w\-]{{0,{_LONGEST_NAME}}}")
#: Between a name and its value. A name in quotes may be followed by a comma: getenv("DB_PASSWORD", "...").
_SEPARATOR = re.compile(
    r"(?P<call>\()|(?P<quote>\\{0,3}[\"'])?[\])]{0,2}[ \t]{0,20}(?:(?P<sign>:=|[=!]=|=>?|:)|(?P<or>or\b)|(?P<comma>,))"
)
#: ... and of an unquoted one, which may be one of several: password, user = "...", "me".
_SEVERAL = re.compile(r"(?:[ \t]{0,4},[ \t]{0,4}[\w.]{1,40}){1,6}[ \t]{0,4}=(?!=)")
_NAMES_BEFORE = re.compile(r"(?:^|\n)[ \t]{0,80}(?:[\w.]{1,40}[ \t]{0,4},[ \t]{0,4}){1,6}\Z")
_TOKEN = re.compile(
    r"(?P<open>(?<![^\W_])[fbruFBRU]{0,2}(?:\\{1,3}[\"']|\"\"\"|'''|\"|'))|(?P<word>\w{1,200})"
    r"|(?P<blank>[ \t\r]{1,200}|\\\n)|(?P<other>.)",
    re.DOTALL,
)
_ENDS = {
    '"': re.compile(r'(?:[^"\\\n]|\\.)*', re.DOTALL),
    "'": re.compile(r"(?:[^'\\\n]|\\.)*", re.DOTALL),
}
#: Never begins a line within brackets: where it does, no bracket was open, but one stood in a text.
_STATEMENT = re.compile(
    r"[ \t]{0,80}(?:def|class|return|import|from|raise|with|while|elif|try|@\w+)\b|[ \t]{0,80}\w+ = "
)
#: Their first argument is the name of something.
_BY_NAME = _words("get getenv pop setdefault env getpass input open Path")
_UNQUOTED = re.compile(r"\{[^{}\s]{1,200}\}|[^\s&;,'\"(){}\[\]<>\\]{1,4000}")
_FIELD = re.compile(r"\{[^{}]{1,200}\}")
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]*|[\d.]+")
_SCHEME = re.compile(
    r"[ \t]{0,4}(?:basic|bearer|token|digest|apikey|negotiate)[ \t]{1,4}(?P<value>[^\s'\"\\,]{1,4000})", re.IGNORECASE
)


def _hide_named(text: str) -> str:
    """Hide what belongs to names of secrets."""
    pieces: list[str] = []
    done = 0
    while (stem := _STEM.search(text, done)) is not None:
        # Left of what is done nothing is looked at again, so the whole is linear.
        left = max(done, stem.start() - _LONGEST_NAME)
        start = left + _word_start(text[left : stem.start()])
        rest = _REST.match(text, stem.end())
        end = stem.end() if rest is None else rest.end()
        found = _value_of(text, start, end)
        if found is None:
            upto = max(stem.end(), end)
            pieces.append(text[done:upto])
        else:
            shown, upto = found
            pieces += (text[done:end], shown)
        done = upto
    pieces.append(text[done:])
    return "".join(pieces)


def _word_start(before: str) -> int:
    at = len(before)
    while at and (before[at - 1].isalnum() or before[at - 1] in "_-"):
        at -= 1
    return at


def _value_of(text: str, start: int, end: int) -> tuple[str, int] | None:
    """Return what stands after a name, with its secrets hidden, and where that ends."""
    word = text[start:end]
    before = text[max(0, start - 200) : start]
    if word.lower().endswith(("login", "log_in", "authenticate")) and text.startswith("(", end):
        return None if before.rstrip().endswith("def") else _scan(text, end, call=True)
    if not is_secret_name(word):
        return None
    if word.startswith("--") and text[end : end + 1] == " ":
        value = _UNQUOTED.match(text, end + 1)
        return None if value is None or value[0].startswith("-") else (f" {HIDDEN}", value.end())
    if not text.startswith(('"', "'"), end) and _SEVERAL.match(text, end) and _at_line_start(before):
        return _scan(text, _SEVERAL.match(text, end).end(), since=end, several=True)  # type: ignore[union-attr]
    separator = _SEPARATOR.match(text, end)
    if separator is None:
        return None
    if separator["call"]:
        if before.rstrip().endswith(("def", "class")) or _PIECES.findall(word)[0].lower() in _LOOKS_UP:
            return None
        return _scan(text, separator.end() - 1, since=end, call=True)
    if separator["comma"]:
        called = separator["quote"] and not word.startswith("-") and before[:-1].rstrip(" rbf\\").endswith("(")
        return _scan(text, separator.end(), since=end) if called else None
    if separator["sign"] in ("=", ":"):
        unquoted = _unquoted(text, start, separator)
        if unquoted is not None:
            return text[end : unquoted[0]] + HIDDEN, unquoted[1]
    return _scan(
        text,
        separator.end(),
        since=end,
        several=_NAMES_BEFORE.search(before) is not None,
        annotated=separator["sign"] == ":",
        lines=separator["sign"] == ":" and separator["quote"] is not None,
    )


def _at_line_start(before: str) -> bool:
    return not before.rpartition("\n")[2].strip()


def _unquoted(text: str, start: int, separator: re.Match[str]) -> tuple[int, int] | None:
    """Return where a value without quotes is, if it is none of Python's names: that of a URL, a DSN, a header."""
    at = separator.end()
    if separator["sign"] == ":":
        scheme = _SCHEME.match(text, at)
        if scheme is not None:
            return scheme.span("value")
    elif text[at : at + 1].isspace() or separator["quote"]:
        return None
    before = text[max(0, start - 100) : start].rstrip(" \n\t")[-1:]
    blanks = 0 if separator["sign"] == "=" else len(text[at : at + 4]) - len(text[at : at + 4].lstrip(" "))
    value = _UNQUOTED.match(text, at + blanks)
    if value is None or value[0] in (HIDDEN, "%s", "?"):
        return None
    after = text[value.end() : value.end() + 1]
    if after in ("'", '"') and value[0].strip("fbruFBRU") == "":  # the prefix of a literal
        return None
    if separator["sign"] == ":":
        secret = (
            len(value[0]) >= 6 and "." not in value[0] and any(map(str.isdigit, value[0])) and after not in ("(", "[")
        )
        return value.span() if secret and not separator["quote"] else None
    if before in ("?", "&", ";"):
        return value.span()
    if _IDENTIFIER.fullmatch(value[0]) and (before in (",", "(") or after in (",", ")", "(", "[")):
        return None
    if value[0].startswith("{") and after != ";":
        return None
    return value.span()


def _scan(
    text: str, at: int, *, since: int | None = None, call: bool = False, several: bool = False, annotated: bool = False,
    lines: bool = False,
) -> tuple[str, int]:  # fmt: skip
    """Go over the expression that begins here and hide its texts; return what is shown, and where it ends.

    Args:
        text: everything.
        at: where it begins.
        since: from where on it is shown.
        call: it is the arguments of a call, and ends with them.
        several: it is several values with commas between.
        annotated: an equals sign may follow, as after an annotation.
        lines: it may begin on the next line.
    """
    shown = [text[at if since is None else since : at]]
    word, first, empty = "", False, True
    brackets: list[str] = []
    while (token := _TOKEN.match(text, at)) is not None:
        here = token[0]
        if token["open"]:
            kept = brackets[-1:] == ["name"] and first
            piece, at = _literal(text, token, kept)
            shown.append(piece)
            word, first, empty = "", False, False
            continue
        if here in "([{":
            by_name = (here == "(" and word in _BY_NAME) or (here == "[" and bool(word))
            brackets.append("name" if by_name else here)
            first, empty = True, False
        elif here in ")]}":
            if not brackets:
                break
            brackets.pop()
            if call and not brackets:
                return "".join(shown) + here, token.end()
        elif _is_over(text, token, inside=bool(brackets), several=several, awaited=lines and empty):
            break
        elif here == "=" and not brackets and text[at + 1 : at + 2] != "=" and text[at - 1] not in "=!<>":
            if not annotated:
                break
            annotated = False
        if token["word"]:
            word, empty = here, False
        elif not token["blank"] and here != "\n":
            word = here if here in ")]" else ""
            first = first and here in "(["
        at = token.end()
        shown.append(here)
    return "".join(shown), at


def _is_over(text: str, token: re.Match[str], *, inside: bool, several: bool, awaited: bool) -> bool:
    if token[0] == "\n":
        return not (inside or awaited) or _STATEMENT.match(text, token.end()) is not None
    return not inside and (token[0] in ";#" or (token[0] == "," and not several))


def _literal(text: str, token: re.Match[str], kept: bool) -> tuple[str, int]:
    """Return what is shown of a literal, and where it ends. One that isn't closed goes to the end of its line."""
    opening = token[0]
    quote = opening.lstrip("fbruFBRU")
    start = token.end()
    if quote in _ENDS:
        inner = _ENDS[quote].match(text, start)
        stop = start if inner is None else inner.end()
        closed = text.startswith(quote, stop)
    else:
        stop = text.find(quote, start)
        closed = stop >= 0
        if not closed:
            stop = len(text)
    end = stop + len(quote) if closed else stop
    shown = text[start:stop] if kept or not _says_something(opening, text[start:stop]) else HIDDEN
    return opening + shown + (quote if closed else ""), end


def _says_something(opening: str, text: str) -> bool:
    """Tell whether a literal has letters or digits of its own: what separates or is filled in is no secret."""
    if len(text) <= 2:
        return text[:1] != "\\" and any(map(str.isalnum, text))
    if "f" in opening.lower():
        text = _FIELD.sub("", text)
    return any(map(str.isalnum, text))


# -- what speaks for itself

#: user:password@ in a URL; the password ends at the last @ before a slash or blank. A {name} of an f-string stays.
_URL = re.compile(r"(?P<before>:/{1,3}[^\s:/@'\"]{0,200}:)(?!\{[^{}\s]{1,200}\}@)[^\s/'\"]{1,400}(?=@)")
#: ... with a slash in it, where there is no port and path to mistake for it.
_URL_SLASH = re.compile(
    r"(?P<before>(?<!http)(?<!https)(?<!ftp)://[^\s:/@'\"]{1,200}:)(?!\d{1,5}/)(?!\{[^{}\s]{1,200}\}@)[^\s'\"@]{1,400}(?=@)",
    re.IGNORECASE,
)
#: https://TOKEN@github.com
_URL_USER = re.compile(r"(?P<before>https?:/{2})(?!git@|\{[^{}\s]{1,200}\}@)[^\s:/@'\"]{1,400}(?=@)", re.IGNORECASE)
#: me:password@host, and Oracle's me/password@host.
_NO_SCHEME = re.compile(
    r"(?P<before>(?<![\w.\-])(?!mailto:)[\w.\-]{1,64}:)(?=[^\s:/@'\"]{0,127}\d)[^\s:/@'\"(){},]{4,128}(?=@[\w\-{])"
    r"|(?P<oracle>thin:[^\s/@'\"]{1,64}/)[^\s@'\"]{1,128}(?=@)"
)
_QUERY = re.compile(
    r"(?P<before>[?&](?:sig|signature|x-amz-signature|x-amz-credential|key)=)[^\s&'\"#]{1,4000}", re.IGNORECASE
)
_HOOK = re.compile(r"(?P<before>hooks\.slack\.com/services/)[\w/\-]{1,200}")
_BEARER = re.compile(
    r"(?P<before>\b(?:Bearer|Basic)[ ]{1,4})(?=[A-Za-z0-9._~+/=\-]{0,200}[\d=_.])[A-Za-z0-9._~+/=\-]{8,4000}"
)
_PEM = re.compile(r"(?P<before>-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)[^\-]{1,20000}(?=-----END|\Z)")
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9_\-])(?:"
    r"(?:sk|pk|rk)[-_](?:live|test|ant|proj|or|svcacct)[-_A-Za-z0-9]{12,400}|sk-[A-Za-z0-9]{16,400}"
    r"|(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|hf_|pypi-|npm_|dop_v1_|shp(?:at|ss)_)[A-Za-z0-9_\-]{16,400}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,40}|AIza[A-Za-z0-9_\-]{30,60}"
    r"|eyJ[A-Za-z0-9_\-]{8,4000}\.[A-Za-z0-9_\-]{4,4000}\.[A-Za-z0-9_\-]{0,4000})"
)


def _before(found: re.Match[str]) -> str:
    return (found["before"] or found.groupdict().get("oracle") or "") + HIDDEN


def redact(text: str) -> str:
    """Hide passwords in a text; what is no secret stays as it is. A source stays readable: only literals go."""
    if "@" in text:
        for pattern in (_URL, _URL_SLASH, _URL_USER, _NO_SCHEME):
            text = pattern.sub(_before, text)
    for pattern in (_PEM, _HOOK, _BEARER, _QUERY):
        text = pattern.sub(_before, text)
    return _hide_named(_SHAPES.sub(HIDDEN, text))


# -- secrets by value

_SHORTEST = 6  # characters: shorter ones are parts of too many words
_LONGEST = 20_000  # ... a key in a file of its own; longer ones are data
_MOST = 300  # secrets
_SHORTEST_LINE = 16  # characters of a line of a secret that has several
_FEW = 50  # keys of a dict, fields of an object
_FEW_ITEMS = 20  # a longer list under a secret's name ("tokens") is data
#: What stands for a password in examples and settings, and everywhere else too.
_COMMON = _words(
    "default localhost password passwd secret secrets token tokens enabled disabled true false none null string "
    "example username postgres public private unknown optional required anonymous changeme basic bearer oauth oauth2 "
    "session cookie cookies api_key apikey test123 123456 1234567 admin123 production staging development authorization"
)
#: In a dict of credentials these are no secrets, and stand in many texts.
_HARMLESS = _words(
    "user username login host hostname server port database db dbname schema region zone type kind driver dialect "
    "engine protocol scheme service account email mail name title description id project method mode scope"
)
_NUMBER = re.compile(r"[-+]?[\d.,_]{0,7}")
_PASSWORD_IN_URL = re.compile(r"://[^\s:/@'\"]{0,200}:([^\s/'\"]{1,400})@")


class Hider:
    """Hides given texts, as they are or quoted for URLs, Python, JSON and HTML, and then what :func:`redact` finds.

    Args:
        values: the secrets. Those that are shorter than 6 characters, and common words and numbers such as
            "default", are not looked for.
    """

    __slots__ = ("_forms",)

    def __init__(self, values: Iterable[str]) -> None:
        forms: set[str] = set()
        for value in itertools.islice(filter(_is_hidden, values), _MOST):
            forms.update(_forms(value))
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def __bool__(self) -> bool:
        return bool(self._forms)

    def __call__(self, text: str) -> str:
        for form in self._forms:
            if form in text or form[:_SHORTEST] in text[-len(form) :]:
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
        pieces, done = [], 0
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
        if value is None or value is True or value is False:
            continue
        marked = name in extra
        try:
            if marked or is_secret_name(name):
                found.update(_texts(value, 2, all_of_it=marked))
            else:
                found.update(_inside(value, extra, 2))
        except Exception:  # noqa: BLE001, S112  an object that misbehaves when looked at has no secrets for us
            continue
    environment = _in_environment()
    return environment.union(found) if found else environment


def _texts(value: Any, depth: int, *, all_of_it: bool) -> Iterator[str]:
    """Yield the texts in a value that is secret."""
    if isinstance(value, str):
        yield str.__str__(value)
        yield from _PASSWORD_IN_URL.findall(value[:_LONGEST])
    elif isinstance(value, (bytes, bytearray)):
        if len(value) <= _LONGEST:
            yield bytes(value).decode("utf-8", "ignore")
    elif isinstance(value, int):
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


def _inside(value: Any, extra: Collection[str], depth: int) -> Iterator[str]:
    """Yield what is under secrets' names in a value that is no secret itself."""
    if isinstance(value, str):
        if "@" in value[:_LONGEST]:
            yield from _PASSWORD_IN_URL.findall(value[:_LONGEST])
        return
    if isinstance(value, (int, float, bytes, types.FunctionType, types.ModuleType, type)):
        return
    if callable(reveal := getattr(type(value), "get_secret_value", None)):
        yield from _texts(reveal(value), 1, all_of_it=True)
    elif isinstance(value, (list, tuple)):
        if depth:
            for one in itertools.islice(tuple(value[:_FEW]), _FEW):
                yield from _inside(one, extra, depth - 1)
    else:
        items = itertools.islice(dict.items(value), _FEW) if isinstance(value, dict) else _own_fields(value)
        for key, one in list(items):
            marked = isinstance(key, str) and key in extra
            if marked or (isinstance(key, str) and is_secret_name(key)):
                yield from _texts(one, 2, all_of_it=marked)
            elif depth:
                yield from _inside(one, extra, depth - 1)


def _own_fields(value: Any) -> list[tuple[str, Any]]:
    try:
        found = object.__getattribute__(value, "__dict__")  # not by way of a __getattr__ that does something
    except AttributeError:
        return []
    return list(itertools.islice(found.items(), _FEW)) if isinstance(found, dict) else []


_environment: tuple[dict[Any, Any], frozenset[str]] = ({}, frozenset())


def _in_environment() -> frozenset[str]:
    """Return the values of environment variables with secrets' names."""
    global _environment  # noqa: PLW0603  one cache for one environment
    now = getattr(os.environ, "_data", None)  # comparing what is inside takes a twentieth of the time
    if not isinstance(now, dict):
        now = dict(os.environ)
    before, found = _environment
    if now != before:
        found = frozenset(value for name, value in os.environ.items() if is_secret_name(name) and _is_hidden(value))
        _environment = dict(now), found
    return found
