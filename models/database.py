"""The DataFlow instance all models register with, and where its database is."""

from __future__ import annotations

import os
from pathlib import Path

from dataflow import DataFlow

DEFAULT_DATABASE_URL = "sqlite:///.data/kailash.db"
SQLITE_PREFIX = "sqlite:///"


def resolve_database_url(url: str, base: Path) -> str:
    """Return `url` with a relative SQLite file made absolute below `base`.

    DataFlow creates the tables of `sqlite:///x.db` in the working directory but reads and writes
    them in the root directory, so it may only ever see absolute paths. The file's directory is
    created, because SQLite creates the file alone. In-memory databases, `file:` names and other
    databases' URLs are returned unchanged.

    Example:
        >>> resolve_database_url("sqlite:///.data/app.db", Path("/srv"))  # doctest: +SKIP
        'sqlite:////srv/.data/app.db'
    """
    if not url.startswith(SQLITE_PREFIX):
        return url
    name, mark, query = url.removeprefix(SQLITE_PREFIX).partition("?")
    if name in {"", ":memory:"} or name.startswith("file:"):
        return url
    path = (base / name).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"{SQLITE_PREFIX}{path.as_posix()}{mark}{query}"


# The size DataFlow's pool has in any case. Without it the constructor connects to PostgreSQL to
# ask how many connections there may be.
POOL_SIZE = 20

# Both caches of DataFlow serve stale rows for an hour, and its model registry makes concurrent
# starts fail. The server in front has its own cache.
db = DataFlow(
    resolve_database_url(os.environ.get("DATABASE_URL") or DEFAULT_DATABASE_URL, Path.cwd()),
    pool_size=POOL_SIZE,
    enable_caching=False,
    enable_model_persistence=False,
)
