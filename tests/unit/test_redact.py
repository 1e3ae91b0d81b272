"""Texts without their secrets: what is hidden, what stays readable, and that it takes no long time."""

# ruff: noqa: E501  texts of cells

from __future__ import annotations

import ast
import base64
import random
from pathlib import Path, PurePosixPath

import pytest

import notebook_durable
from notebook_durable.engine.fingerprint.shorts import short
from notebook_durable.redact import HIDDEN, is_secret_name, redact


@pytest.mark.parametrize(
    "text",
    [
        'auth=("me", "hunter2")',
        'auth=HTTPBasicAuth("me", "hunter2")',
        'client.login("me", "hunter2")',
        'client.login(user, "hunter2")',
        'headers={"X-Api-Key": "hunter2"}',
        "headers={'x-api-key': 'hunter2'}",
        'headers={"Authorization": "Basic hunter2"}',
        '"Authorization: Bearer hunter2abc"',
        "Authorization: Basic hunter2abc",
        "https://x.io/?token=hunter2&a=1",
        "https://x.io/?a=1&api_key=hunter2",
        "https://x.blob.io/c?sv=1&sig=hunter2",
        "https://hunter2@github.com/x.git",
        "https://:hunter2@redis:6379",
        "https://hooks.slack.com/services/T0/B0/hunter2",
        "postgres://me:hun/hunter2@db/x",
        "postgresql+psycopg://me:p@ss:hunter2@db/x",
        'f"postgres://{user}:hunter2@db"',
        "jdbc:oracle:thin:me/hunter2@db",
        "me:hunter2@host",
        'f"me:hunter2@{host}"',
        "AccountKey=hunter2;",
        "Endpoint=sb://x/;SharedAccessKey=hunter2;",
        "Pwd={hunter2};",
        "User ID=me;Password=hunter2",
        "host=h password=hunter2 port=5",
        "host=h password='two hunter2'",
        "\"host=h password='hunter2'\"",
        "mysql -u me --password=hunter2",
        "--password hunter2",
        "password: hunter2",
        'password="hun" "hunter2"',
        'password=(\n    "hun"\n    "hunter2"\n)',
        'password = \\\n    "hunter2"',
        'password = """one\nhunter2"""',
        "KEY_PASSWORD = '''\nhunter2\n'''",
        'password="a\\"hunter2"',
        'password=b"hunter2"',
        'password=Rb"hunter2"',
        'password="hunter2',  # cut off
        'os.environ.setdefault("DB_PASSWORD", "hunter2")',
        'os.environ["DB_PASSWORD"] = "hunter2"',
        'config.setdefault("token", "hunter2")',
        'config.get("token", "hunter2")',
        'password = os.environ.get("X") or "hunter2"',
        'os.getenv("DB_PASSWORD") or "hunter2"',
        'keyring.set_password("s", "me", "hunter2")',
        'SecretStr("hunter2")',
        'engine_url.set(password="hunter2")',
        'pw = "hunter2"',
        'db_pw = "hunter2"',
        'dbPassword = "hunter2"',
        'PGPASSWORD="hunter2"',
        'passwords = ["a", "hunter2"]',
        'TOKENS = {"eu": "hunter2"}',
        'user, password = "me", "hunter2"',
        'password, user = "hunter2", "me"',
        'PASSWORD: Final[str] = "hunter2"',
        'def f(x, password: str | None = "hunter2"): pass',
        'if password == "hunter2":',
        'login(password := "hunter2")',
        '{"user": "me", "password":\n "hunter2"}',
        '"{\\"password\\": \\"hunter2\\"}"',
        "{'user': 'me', 'password': 'hunter2'}",
        'd["password"] = "hunter2"',
        "cookie='session=hunter2'",
        '"aws_session_token":"hunter2"',
        "ghp_aaaaaaaaaaaaaaaaaaaahunter2",
        "glpat-aaaaaaaaaaahunter2",
        "sk-ant-api03-aaaaaaaaaaahunter2",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_hidden(text):
    """The secret is gone, and hiding twice is hiding once."""
    told = redact(text)
    assert "hunter2" not in told
    assert HIDDEN in told
    assert redact(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "token_count = 5",
        'token_count = "five"',
        'compass = "north"',
        'author = "Ann"',
        'authors = ["Ann", "Bob"]',
        'secretary = "Carl"',
        'tokenize("some words")',
        'tokenizer = "bpe"',
        "password_policy_enabled = True",
        "password_policy_enabled = 'yes'",
        "passenger = 'Dora'",
        "max_tokens=500",
        "f(x, tokens=500)",
        "connect(user=user, password=password)",
        "connect(\n    user=user,\n    password=self.password,\n)",
        'password = os.environ["DB_PASSWORD"]',
        'password = os.getenv("DB_PASSWORD")',
        'token = config["api"]["token"]',
        'def get_token(url="https://x.io", kind="a"):\n    return "abc"',
        'def check_password(user, kind="x"):\n    return "abc"',
        'def load(token):\n    return "abc"',
        'if token == ",":',
        'password = ""',
        "password: str",
        "def f(password: str, rows: int) -> None: ...",
        'f"postgres://{user}:{password}@db/x"',
        "cursor.execute('UPDATE u SET password=%s')",
        "https://x.io:8080/a@b",
        "git clone ssh://git@github.com/x.git",
        "mailto:me2you@x.com",
        "def f():\n    pass\n\nx = 'abc'",
        'import secrets\nname = secrets.token_hex(8)\nwhere = "eu"',
        "pkg_resources_and_more_names, sketch_of_a_long_name",
        "",
    ],
)
def test_left_as_it_is(text):
    """What is no secret stays readable."""
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'db = connect("eu", password="hunter2", port="5432")',
            f'db = connect("eu", password="{HIDDEN}", port="5432")',
        ),
        ('h = {"X-Api-Key": "hunter2", "Accept": "json"}', f'h = {{"X-Api-Key": "{HIDDEN}", "Accept": "json"}}'),
        ('password = "hunter2"\nplace = "eu"', f'password = "{HIDDEN}"\nplace = "eu"'),
        ('PASSWORD: str | None = "hunter2"  # of "me"', f'PASSWORD: str | None = "{HIDDEN}"  # of "me"'),
        ('x = "login("\ny = "eu"\ndef f():\n    return "abc"', 'def f():\n    return "abc"'),
        ("postgres://me:hunter2@db/sales", f"postgres://me:{HIDDEN}@db/sales"),
        ("https://x.io/?token=hunter2&a=1", f"https://x.io/?token={HIDDEN}&a=1"),
    ],
)
def test_only_the_literal(text, told):
    """What stands around a secret can be read."""
    assert redact(text).endswith(told)


def test_our_own_sources_stay_sources():
    """Of a module that has much to do with keys, hardly a line changes, and what is left is Python."""
    folder = Path(notebook_durable.__file__).parent
    for name in ("stores/keys.py", "stores/sqlite.py", "engine/flow.py", "ipython/transformer.py", "history/log.py"):
        text = (folder / name).read_text(encoding="utf-8")
        told = redact(text)
        ast.parse(told)
        assert sum(a != b for a, b in zip(text.split("\n"), told.split("\n"), strict=True)) <= 2


@pytest.mark.parametrize(
    "unit",
    ["a", "pass", "token=", "token(", "token=[", 'token="', "token='''", "pw a,", "://a:", "://a:b@", "a:1", "sk-", "eyJ", "eyJa.",
     "Bearer ", "auth: Basic ", "-----BEGIN PRIVATE KEY-----", " ", "\n", "@", "\\", "token\\", "?key=", "_pass-", "https://a"],
)  # fmt: skip
def test_long_texts(unit):
    """200,000 characters of anything: every search is bounded, else this takes minutes and pytest's limit ends it."""
    text = unit * (200_000 // len(unit))
    assert isinstance(redact(text), str)
    assert isinstance(redact(f"{text}@"), str)
    assert len(short("x", text)) <= 60


def test_long_real_texts():
    """A file in base64 and a long source."""
    data = base64.b64encode(random.Random(1).randbytes(150_000)).decode()
    assert redact(data) == data
    source = "".join(path.read_text(encoding="utf-8") for path in Path(notebook_durable.__file__).parent.rglob("*.py"))
    assert len(redact(source)) > 0.9 * len(source)


@pytest.mark.parametrize(
    "name",
    ["pw", "db_pw", "passcode", "api_key", "apikey", "x_api_key", "X-Api-Key", "session_token", "OPENAI_API_KEY", "AWS_SECRET",
     "secret_key", "AccountKey", "SharedAccessKey", "dbPassword", "PGPASSWORD", "tokens", "auth", "self.password", "password2"],
)  # fmt: skip
def test_secret_names(name):
    """Names of secrets, however they are written."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["key", "pin", "author", "authors", "authority", "secretary", "tokenize", "tokenizer", "token_count", "n_tokens", "max_tokens",
     "passenger", "compass", "bypass", "password_policy_enabled", "primary_key", "monkey", "", "a" * 1000],
)  # fmt: skip
def test_other_names(name):
    """Names that only look like it."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("region", "eu", "'eu'"),
        ("day", "2024-01-31T12:00:00", "'2024-01-31T12:00:00'"),
        ("file", "data/orders_2024_01_final_v2.csv", "'data/orders_2024_01_final_v2.csv'"),
        ("file", PurePosixPath("/tmp/run_2024-01-01_model_v3/fold5"), "/tmp/run_2024-01-01_model_v3/fold5"),
        ("query", "SELECT id FROM orders WHERE year = 2024", "'SELECT id FROM orders WHERE year = 2024'"),
        ("name", "a_long_name_of_a_step_in_words", "'a_long_name_of_a_step_in_words'"),
        ("token_count", 5, "5"),
        ("tokens", ["a", "b"], "list of 2"),
        ("token", None, "None"),
        ("token", "abc", HIDDEN),
        ("pw", 1234, HIDDEN),
        ("x", "aB3dE5fG7hJ9kL1mN3pQ5", f"'{HIDDEN}'"),
        ("x", "id aB3dE5/G7hJ9+L1mN3pQ5==", f"'id {HIDDEN}'"),
        ("x", "https://x.io/?token=abc", f"'https://x.io/?token={HIDDEN}'"),
        ("x", PurePosixPath("/x/token=abc"), f"/x/token={HIDDEN}"),
        ("x", PurePosixPath("/keys/aB3dE5fG7hJ9kL1mN3pQ5/x.pem"), f"/keys/{HIDDEN}/x.pem"),
        ("x", '{"password": "hunter2"}', f"""'{{"password": "{HIDDEN}"}}'"""),
    ],
)
def test_short_texts_of_values(name, value, told):
    """What looks harmless is told, what looks like a key isn't."""
    assert short(name, value) == told


def test_a_long_password_is_not_told_in_part():
    """A text is looked at for more than the part that is shown."""
    assert "aaaa" not in short("x", f"postgres://me:{'a' * 300}@db/x")
