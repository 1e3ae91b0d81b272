"""Secrets by value: a text that is known to be a secret is in nothing that is kept, however it is quoted there."""

from __future__ import annotations

import dataclasses
import html
import json
import string
import urllib.parse
from types import SimpleNamespace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from notebook_durable.hide import Hider, hider, secrets_in
from notebook_durable.redact import HIDDEN, redact

SECRET = "tr0ub4dor&3"

#: As people and password managers make them: at least four different characters.
PASSWORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Zs", "Zl", "Zp", "Cc"]), min_size=8, max_size=40)
PASSWORDS = PASSWORDS.filter(lambda text: len(set(text)) >= 4 and HIDDEN[0] not in text)
TEXTS = st.text(max_size=200)


@pytest.fixture(autouse=True)
def no_secrets_of_this_machine(monkeypatch):
    """What the environment of the tests holds is not counted."""
    monkeypatch.setattr("os.environ", {"HOME": "/home/me"})


@given(before=TEXTS, password=PASSWORDS, after=TEXTS)
@example(before="", password="aaaaaaaab-'\"\\", after="")
@example(before="password='", password="12345678", after="'")
@example(before="", password="abcabcab", after="cabcab")
def test_a_planted_password_never_survives(before, password, after):
    """As it is, in quotes, in a URL, in JSON, in HTML and in the repr of a repr."""
    hide = Hider([password])
    forms = [
        password, repr(password), repr(repr(password)), json.dumps(password), json.dumps({"x": [password]}),
        json.dumps(json.dumps(password)), urllib.parse.quote(password), urllib.parse.quote_plus(password),
        urllib.parse.quote(password, safe=""), html.escape(password), repr(password.encode()),
    ]  # fmt: skip
    for form in forms:
        told = hide(f"{before}{form}{after}")
        assert password not in told
        assert form.strip("'\"\\b{}x:[] ") not in told
    assert html.escape(password) not in html.escape(hide(password))


@given(secrets=st.lists(PASSWORDS, min_size=2, max_size=4), text=TEXTS, overlap=st.integers(0, 7))
def test_none_of_several_survives(secrets, text, overlap):
    """Also where they overlap, or where one is part of another."""
    hide = Hider(secrets)
    joined = text + secrets[0]
    for one in secrets[1:]:
        joined += one[overlap:] if joined.endswith(one[:overlap]) else one
    told = hide(joined + text + secrets[0][:4] + secrets[-1] + secrets[0])
    assert not [one for one in secrets if one in told]


def test_overlapping_secrets():
    """Both go, though each is found only where the other is."""
    assert Hider(["abcdefgh", "efghijkl"])("x abcdefghijkl y") == f"x {HIDDEN} y"
    assert Hider(["abcdefgh", "abcdefghijkl"])("x abcdefghijkl y") == f"x {HIDDEN} y"


@given(password=PASSWORDS, cut=st.integers(6, 40))
def test_a_text_that_was_cut_within_a_secret(password, cut):
    """What is left of it at the end is hidden as well, from six characters on."""
    assume(cut < len(password))
    told = Hider([password])(f"the end is {password[:cut]}")
    assert password[:6] not in told.removeprefix("the end is ")


@given(text=st.text(string.ascii_letters + string.digits + " .,\n", max_size=300))
def test_other_texts_stay(text):
    """What has no secret in it is what ``redact`` makes of it."""
    assert Hider(["§§not in there§§"])(text) == redact(text)


@pytest.mark.parametrize(
    "value",
    ["", "short", "default", "localhost", "password", "True", "none", "2024", "-1000000", "1.25", "100_000", "      ",
     "--------", "=-=-=-=-=-", "\n\n\n\n\n\n\n\n", "Production"],
)  # fmt: skip
def test_common_words_are_not_hidden(value):
    """They stand in too many texts, and tell nothing."""
    assert not Hider([value])
    text = f"a {value} b"
    assert Hider([value])(text) == text


@pytest.mark.parametrize("value", ["hunter2", "12345678", "correct horse", f"  {SECRET}\n", "ünïcödé!"])
def test_other_values_are(value):
    """Six characters of anything else; blanks around it don't count."""
    assert Hider([value])(f"<{value.strip()}>") == f"<{HIDDEN}>"


def test_lines_of_a_secret():
    """A key of several lines is hidden line by line too, as a table or a traceback would show it."""
    key = "-----BEGIN THING-----\nMIIEowIBAAKCAQEAx1\nq83vEjRWeJCrze8SNFZ4\n-----END THING-----"
    told = Hider([key])(f"one: MIIEowIBAAKCAQEAx1\ntwo: q83vEjRWeJCrze8SNFZ4; {key!r}")
    assert "MIIE" not in told
    assert "q83v" not in told


def test_redact_comes_after():
    """What speaks for itself is hidden too."""
    assert Hider([SECRET])(f"{SECRET} postgres://me:hunter2@db") == f"{HIDDEN} postgres://me:{HIDDEN}@db"


def test_without_secrets_it_is_redact():
    """So that nothing is paid for nothing; and what is asked for twice is made once."""
    assert hider(frozenset()) is redact
    assert hider({"default"}) is redact
    assert hider({SECRET}) is hider(frozenset({SECRET}))


class Settings(BaseModel):
    url: str = "x"
    pin: SecretStr = SecretStr("pin-" + SECRET)


@dataclasses.dataclass
class Config:
    host: str
    api_key: str


class Client:
    def __init__(self):
        self._session_token = SECRET
        self.name = "a client's name"

    def __getattr__(self, name):
        raise AssertionError(f"asked for {name}")


class Hostile:
    @property
    def __dict__(self):
        raise RuntimeError("not to be looked at")

    def __len__(self):
        raise RuntimeError("not to be looked at")


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ({"region": SECRET}, set()),
        ({"password": SECRET}, {SECRET}),
        ({"DB_PASSWORD": f"{SECRET}".encode()}, {SECRET}),
        ({"pw": 12345678}, {"12345678"}),
        ({"token": True}, set()),
        ({"token": None}, set()),
        ({"password": b"\xff\xfe"}, {""}),
        ({"token": SecretStr(SECRET)}, {SECRET}),
        ({"x": SecretStr(SECRET)}, {SECRET}),
        ({"headers": {"X-Api-Key": SECRET, "Accept": "application/json"}}, {SECRET}),
        ({"config": {"db": {"password": SECRET, "host": "db.example.com"}}}, {SECRET}),
        ({"config": [{"password": SECRET}]}, {SECRET}),
        ({"credentials": {"user": "analytics", "pin": SECRET}}, {SECRET}),
        ({"auth": ("analytics", SECRET)}, {"analytics", SECRET}),
        ({"tokens": [f"word{n}" for n in range(1000)]}, set()),
        ({"url": f"postgres://me:{SECRET}@db/sales"}, {SECRET}),
        ({"urls": [f"postgres://me:{SECRET}@db/sales"]}, {SECRET}),
        ({"settings": Settings()}, {"pin-" + SECRET}),
        ({"config": Config("db.example.com", SECRET)}, {SECRET}),
        ({"config": SimpleNamespace(db=Config("db.example.com", SECRET))}, {SECRET}),
        ({"client": Client()}, {SECRET}),
        ({"marked": 4711}, {"4711"}),
        ({"marked": {"user": "analytics", "x": [SECRET]}}, {"analytics", SECRET}),
        ({"row": {"marked": SECRET}}, {SECRET}),
        ({"x": Hostile(), "password": SECRET}, {SECRET}),
        ({"password": Hostile(), "pw": SECRET}, {SECRET}),
    ],
)
def test_secrets_in_values(named, found):
    """By the name of the value, of what is in it, or because the user marked it; what is harmless is not counted."""
    assert secrets_in(named.items(), {"marked"}) == found


def test_large_values_are_looked_at_in_part():
    """A million items are not gone through, nor is an iterator touched."""
    numbers = iter(range(5))
    big = {str(n): SECRET for n in range(100_000)}
    assert len(secrets_in([("secret", big), ("password", "x" * 10_000_000), ("x", [big] * 1000), ("it", numbers)])) <= 2
    assert list(numbers) == [0, 1, 2, 3, 4]


def test_secrets_of_the_environment(monkeypatch):
    """Variables with secrets' names count, as soon as they are set; places and working directories don't."""
    monkeypatch.undo()
    for name in ("MY_API_KEY", "MY_PASSWORD", "MY_REGION"):
        monkeypatch.delenv(name, raising=False)
    before = secrets_in([])
    monkeypatch.setenv("MY_API_KEY", SECRET)
    monkeypatch.setenv("MY_REGION", "eu-west-1000")
    monkeypatch.setenv("PWD", "/usr/lib")
    monkeypatch.setenv("MY_TOKEN", "/usr")
    monkeypatch.setenv("MY_PASSWORD", "default")
    assert secrets_in([]) - before == {SECRET}
    assert secrets_in([("pw", "hunter2")]) - before == {SECRET, "hunter2"}
    monkeypatch.setenv("MY_API_KEY", "another one")
    assert secrets_in([]) - before == {"another one"}
    monkeypatch.delenv("MY_API_KEY")
    assert secrets_in([]) == before


def test_passwords_in_urls_of_the_environment(monkeypatch):
    """Whatever the variable is called; as they stand there and unquoted; not the rest of the URL, nor common words."""
    monkeypatch.undo()
    before = secrets_in([])
    monkeypatch.setenv("MY_DATABASE_URL", "postgres://me:p%40ss%2Fw0rd@host/db")
    monkeypatch.setenv("MY_DSN", "amqp://guest:password@localhost redis://:s3cr3t-one@host:6379/0")
    monkeypatch.setenv("MY_PAGE", "https://example.org:8080/@me")
    assert secrets_in([]) - before == {"p%40ss%2Fw0rd", "p@ss/w0rd", "s3cr3t-one"}


@pytest.mark.parametrize("unit", ["a", "tr0ub4", SECRET, "\\", "%26", "tr0ub4dor&"])
def test_long_texts(unit):
    """200,000 characters of anything: every search is bounded, else this takes minutes and pytest's limit ends it."""
    told = Hider([SECRET, "a" * 20 + "b", "tr0ub4" * 3000])(unit * (200_000 // len(unit)))
    assert SECRET not in told
