"""Types whose objects have no content that could be compared: connections, engines, clients, locks, iterators."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["has_no_content", "is_hidden_generator"]

# A library's handle may well let itself be pickled: with its settings, or as a new one. It is recognised by the name of
# a class among its bases: (top-level module, name).
_NAMES = frozenset(
    {
        ("requests", "Session"),
        ("httpx", "BaseClient"),
        ("httpx", "Client"),
        ("httpx", "AsyncClient"),
        ("aiohttp", "ClientSession"),
        ("urllib3", "PoolManager"),
        ("botocore", "BaseClient"),
        ("botocore", "Session"),
        ("boto3", "Session"),
        ("boto3", "ServiceResource"),
        ("openai", "BaseClient"),
        ("anthropic", "BaseClient"),
        ("tqdm", "tqdm"),
        ("tqdm", "Comparable"),
        ("sqlalchemy", "Engine"),
        ("sqlalchemy", "Connection"),
        ("sqlalchemy", "AsyncEngine"),
        ("sqlalchemy", "AsyncConnection"),
        ("sqlalchemy", "Session"),
        ("sqlalchemy", "AsyncSession"),
        ("sqlalchemy", "sessionmaker"),
        ("sqlalchemy", "scoped_session"),
        ("sqlalchemy", "Pool"),
        ("psycopg", "BaseConnection"),
        ("psycopg_pool", "BasePool"),
        ("psycopg2", "connection"),
        ("pymysql", "Connection"),
        ("pymongo", "MongoClient"),
        ("pymongo", "Database"),
        ("pymongo", "Collection"),
        ("redis", "Redis"),
        ("duckdb", "DuckDBPyConnection"),
        ("_duckdb", "DuckDBPyConnection"),
        ("snowflake", "SnowflakeConnection"),
        ("google", "Client"),
        ("elasticsearch", "Elasticsearch"),
        ("pyspark", "SparkSession"),
        ("pyspark", "SparkContext"),
        ("distributed", "Client"),
        ("paramiko", "SSHClient"),
        ("fsspec", "AbstractFileSystem"),
        ("smtplib", "SMTP"),
        ("ftplib", "FTP"),
        ("http", "HTTPConnection"),
        ("urllib", "OpenerDirector"),
        ("xmlrpc", "ServerProxy"),
        ("imaplib", "IMAP4"),
        ("shelve", "Shelf"),
        ("tempfile", "_TemporaryFileWrapper"),
        ("tempfile", "TemporaryDirectory"),
        ("zipfile", "ZipFile"),
        ("tarfile", "TarFile"),
        ("mmap", "mmap"),
        ("queue", "Queue"),
        ("queue", "SimpleQueue"),
        ("_queue", "SimpleQueue"),
        ("contextvars", "ContextVar"),
        ("_contextvars", "ContextVar"),
        ("_contextvars", "Context"),
    }
)
# All of whose classes are such.
_MODULES = frozenset(
    [
        "sqlite3",
        "threading",
        "_thread",
        "socket",
        "_socket",
        "ssl",
        "_ssl",
        "select",
        "selectors",
        "subprocess",
        "asyncio",
        "_asyncio",
        "concurrent",
        "multiprocessing",
        "sched",
        "IPython",
        "ipykernel",
        "zmq",
        "ipywidgets",
    ]
)


def is_hidden_generator(value: Any) -> bool:
    """Tell whether this is the generator that ``random.random()`` or ``np.random.rand()`` draw from.

    It is nobody's input: each draw changes it, and who uses it doesn't care for its state. A generator that the user
    made is one.
    """
    name = type(value).__name__
    if name == "Random":
        return value is getattr(sys.modules.get("random"), "_inst", None)
    if name == "RandomState":
        return value is getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    return False


def has_no_content(kind: type) -> bool:
    """Tell whether objects of a type count by type only, without being asked.

    Args:
        kind: no user's class, but it may be one that a user's class is derived from. Other types may turn out to be
            such too: when their ``__reduce_ex__`` raises.
    """
    if issubclass(kind, (BaseException, type)):
        return False
    for base in kind.__mro__:
        module = base.__module__ if isinstance(base.__module__, str) else ""
        top = module.partition(".")[0]
        if top in _MODULES or (top, base.__qualname__) in _NAMES:
            return True
    # What remains in an iterator can't be seen without taking it; some pickle all the same. Those of the builtin
    # containers tell what they go over and where they are, and generators refuse.
    return hasattr(kind, "__next__") and kind.__module__ != "builtins"
