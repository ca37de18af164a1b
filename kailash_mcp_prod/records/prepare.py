"""Brings the tables of a DataFlow instance up to its models, one process at a time."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from filelock import AsyncFileLock, Timeout

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.records.dataflow_session import (
    DataFlowSession,
    adopt_column_types,
    close_connection_test,
    stop_logging_of_values,
)
from kailash_mcp_prod.records.introspect import describe_models
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.unique_indexes import ensure_unique_indexes

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 60
_SQLITE = "sqlite:///"
_UNUSABLE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN}
_ADVISORY_LOCK = int.from_bytes(
    hashlib.sha256(b"kailash-mcp-prod migration").digest()[:8], signed=True
)


async def prepare_database(db: Any) -> tuple[Model, ...]:
    """Describes the models, makes their tables, and readies the nodes for the record store.

    Args:
        db: The DataFlow instance.

    Raises:
        ModelError: A model can't be served.
        DatabaseStartupError: The database doesn't answer, or its tables can't be made.
    """
    models = describe_models(db)
    url = str(db.config.database.url)
    if ":memory:" in url:
        raise DatabaseStartupError(
            "An SQLite database in memory is lost between connections. Use a file: "
            "sqlite:////absolute/path.db"
        )
    close_connection_test(db)
    async with _migration_lock(url):
        if url.startswith(_SQLITE):
            await asyncio.to_thread(_check_file, Path(url.removeprefix(_SQLITE).partition("?")[0]))
        try:
            ready = await db.initialize()
        except Exception as failure:
            # DataFlow raises whatever its drivers do; the cause is for the log, not for a caller.
            raise DatabaseStartupError(
                f"The database can't be opened ({type(failure).__name__}). Check DATABASE_URL and "
                "that the database is up."
            ) from failure
        if not ready:
            raise DatabaseStartupError(
                "DataFlow could not prepare its tables. Its log lines above say why."
            )
        await ensure_unique_indexes(DataFlowSession(db), models)
    stop_logging_of_values()
    for model in models:
        adopt_column_types(db, model)
    return models


def _check_file(path: Path) -> None:
    # On a damaged file a thread of DataFlow's hangs, and the process never ends.
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as failure:
        if failure.sqlite_errorcode in _UNUSABLE:
            raise DatabaseStartupError(
                f"The SQLite database can't be opened: {failure}. Check DATABASE_URL."
            ) from None


async def prepare_models(db: Any, models: Sequence[Model]) -> None:
    """Makes the tables of models that were registered while the server runs.

    Raises:
        DatabaseStartupError: A table can't be made.
    """
    async with _migration_lock(str(db.config.database.url)):
        for model in models:
            if not await db.ensure_table_exists(model.name):
                raise DatabaseStartupError(f"The table of {model.name} can't be made.")
            adopt_column_types(db, model)
        await ensure_unique_indexes(DataFlowSession(db), models)


@asynccontextmanager
async def _migration_lock(url: str) -> AsyncIterator[None]:
    lock = _postgresql_lock(url) if url.startswith("postgres") else _file_lock(url)
    async with lock:
        yield


@asynccontextmanager
async def _file_lock(url: str) -> AsyncIterator[None]:
    name = hashlib.sha256(url.encode()).hexdigest()[:32]
    path = Path(tempfile.gettempdir()) / f"kailash-mcp-prod-{name}.lock"
    try:
        async with AsyncFileLock(path, timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise DatabaseStartupError(
            f"Another process has held the migration lock for {_LOCK_SECONDS} s."
        ) from None


@asynccontextmanager
async def _postgresql_lock(url: str) -> AsyncIterator[None]:
    try:
        import asyncpg
    except ModuleNotFoundError:
        raise DatabaseStartupError(
            "PostgreSQL needs the extra 'postgres': pip install 'kailash-mcp-prod[postgres]'"
        ) from None
    try:
        connection = await asyncpg.connect(url, timeout=_LOCK_SECONDS)
    except (TimeoutError, OSError, asyncpg.PostgresError, ValueError) as failure:
        raise DatabaseStartupError(
            f"PostgreSQL can't be reached ({type(failure).__name__}). Check DATABASE_URL and that "
            "the database is up."
        ) from failure
    try:
        await connection.execute(
            "SELECT pg_advisory_lock($1)", _ADVISORY_LOCK, timeout=_LOCK_SECONDS
        )
        yield
    except TimeoutError:
        raise DatabaseStartupError(
            f"Another process has held the migration lock for {_LOCK_SECONDS} s."
        ) from None
    finally:
        await connection.close()
