"""SQLAlchemy engines for the state: one way to connect for each kind of database."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from kailash_mcp_prod.records.connecting import is_postgresql, sqlite_path

READS = "state_reads"
"""The execution option of a transaction that only reads."""

_CONNECT_SECONDS = 5.0
_STATEMENT_SECONDS = 5.0
_BUSY_SECONDS = 5.0
_RECYCLE_SECONDS = 1800


def make_engine(url: str, connections: int) -> AsyncEngine:
    """An engine; it connects when it is used.

    Args:
        url: The address, as DataFlow takes it, with an absolute path for SQLite.
        connections: How many connections may be open.
    """
    pool = {
        "poolclass": AsyncAdaptedQueuePool,
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": _CONNECT_SECONDS,
        "pool_recycle": _RECYCLE_SECONDS,
        # Parameters hold digests and names: they are nothing for a log.
        "hide_parameters": True,
    }
    if is_postgresql(url):
        return create_async_engine(
            "postgresql+asyncpg://",
            # Not by SQLAlchemy's own reading of the URL, which knows no `sslmode`.
            async_creator=functools.partial(_connect_to_postgresql, url),
            pool_pre_ping=True,
            **pool,
        )
    engine = create_async_engine(
        "sqlite+aiosqlite://",
        async_creator=functools.partial(_connect_to_sqlite, sqlite_path(url)),
        **pool,
    )
    event.listen(engine.sync_engine, "begin", _begin_on_sqlite)
    return engine


async def _connect_to_postgresql(url: str) -> Any:
    # Late, because asyncpg is an extra.
    import asyncpg

    milliseconds = round(_STATEMENT_SECONDS * 1000)
    try:
        connection = await asyncpg.connect(
            url, timeout=_CONNECT_SECONDS, server_settings={"application_name": "kailash-mcp-prod"}
        )
        try:
            await connection.execute(
                f"SET statement_timeout = {milliseconds};"
                f" SET lock_timeout = {milliseconds};"
                f" SET idle_in_transaction_session_timeout = {2 * milliseconds}"
            )
        except BaseException:
            connection.terminate()
            raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as failure:
        # SQLAlchemy passes on what it does not know; to its callers it is all the same.
        raise ConnectionError(type(failure).__name__) from failure
    return connection


class _LettingGo(sqlite3.Connection):
    """Holds no lock once it is closed.

    SQLite keeps a connection, and the lock of its transaction, until its last cursor is gone. That
    of a cancelled query stays in the traceback, for as long as nothing collects it.
    """

    def close(self) -> None:
        """Undoes what is not stored, and closes."""
        try:
            if self.in_transaction:
                self.rollback()
        finally:
            super().close()


async def _connect_to_sqlite(path: Path) -> aiosqlite.Connection:
    connecting = aiosqlite.connect(
        # A file that has vanished must not come back empty.
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        factory=_LettingGo,
    )
    # A process may end while a connection is still open.
    thread = connecting._thread  # noqa: SLF001 - SQLAlchemy does the same
    thread.daemon = True
    try:
        connection = await connecting
    except sqlite3.Error:
        # It still says something to this loop, which may be closed before.
        await asyncio.to_thread(thread.join)
        raise
    try:
        await connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        await connection.close()
        raise
    return connection


def _begin_on_sqlite(connection: Connection) -> None:
    """Begins as a writer at once: a reader that becomes one meets `database is locked`."""
    begin = "BEGIN" if connection.get_execution_options().get(READS) else "BEGIN IMMEDIATE"
    adapted: Any = connection.connection.dbapi_connection
    # One word with the connection's thread, where a statement of SQLAlchemy's takes three.
    adapted.run_async(lambda driver: driver.execute(begin))
