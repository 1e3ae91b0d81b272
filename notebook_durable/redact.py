"""Secrets in texts that are kept or shown: what stands for a password is replaced before it is stored.

Names say what is a secret ("password", "X-Api-Key"), and then the literals that belong to the name are hidden; URLs
and the well-known shapes of keys speak for themselves. Every search is bounded: a text is read once, however long.
"""

from __future__ import annotations

import functools
import itertools
import re

__all__ = ["HIDDEN", "is_secret_name", "redact", "words"]

HIDDEN = "•••"


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


# -- names

_LONGEST_NAME = 80  # characters
#: Where a name with a secret may be: quick to find, then looked at properly.
_STEM = re.compile(
    r"pass|p(?:s?wd|w)(?![a-z])|pswd|secret|token|key|credential|auth|bearer|jwt|cookie|log_?in(?=\()", re.IGNORECASE
)
_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORDS = words(
    "pass password passwd passphrase passcode pwd pw pswd secret token credential cred auth oauth authorization apikey "
    "bearer jwt cookie dbpass userpass"
)
_ENDINGS = re.compile(r"(?:password|passwd|passphrase|secret|token|api_?key|accesskey|secretkey|privatekey)s?$")
_KEYS = words("api access private secret account shared auth signing encryption master storage service")
#: What a name ends with that is about a secret and is none.
_ABOUT = words(
    "count counts counter length len size limit limits enabled disabled policy type kind url uri endpoint name names "
    "path file dir field column index idx ids rate budget ttl expiry expires timeout error errors required missing "
    "prompt label help pattern regex format strength url min max manager provider"
)
_NUMBER_OF = words("n num max min total")
_LOOKS_UP = words("get fetch read load count")


def is_secret_name(name: str) -> bool:
    """Tell whether a variable, argument or key of this name holds a secret: "DB_PASSWORD", "X-Api-Key", "pw"."""
    return len(name) <= 4 * _LONGEST_NAME and _is_secret(name)


@functools.lru_cache(maxsize=4096)  # each step asks for the names of its inputs
def _is_secret(name: str) -> bool:
    if _STEM.search(name) is None:
        return False
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
_BY_NAME = words("get getenv pop setdefault env getpass input open Path")
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


#: Keys that are known by their shape and have nothing but letters and digits are this long: AKIA and 12 more.
_SHORTEST_KEY = 16


def _before(found: re.Match[str]) -> str:
    return (found["before"] or found.groupdict().get("oracle") or "") + HIDDEN


def redact(text: str) -> str:
    """Hide passwords in a text; what is no secret stays as it is. A source stays readable: only literals go."""
    if len(text) < _SHORTEST_KEY and text.isalnum():
        return text  # a word or a number: what names a secret, and what separates the two, is something else
    if "@" in text:
        for pattern in (_URL, _URL_SLASH, _URL_USER, _NO_SCHEME):
            text = pattern.sub(_before, text)
    for pattern in (_PEM, _HOOK, _BEARER, _QUERY):
        text = pattern.sub(_before, text)
    return _hide_named(_SHAPES.sub(HIDDEN, text))
