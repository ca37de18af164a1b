"""Lets one process at a time change the tables of a database."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from filelock import AsyncFileLock, Timeout

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.records.connecting import (
    LOCK_SECONDS,
    connected_to_postgresql,
    is_postgresql,
    sqlite_path,
)

_ADVISORY_LOCK = int.from_bytes(
    hashlib.sha256(b"kailash-mcp-prod migration").digest()[:8], signed=True
)
_HELD = f"Another process has held the migration lock for {LOCK_SECONDS} s."


@asynccontextmanager
async def migration_lock(url: str) -> AsyncIterator[None]:
    """Holds the lock for the length of a block, after waiting for up to a minute.

    It is an advisory lock of PostgreSQL, and for SQLite a file beside the database. That file
    stays: who removes it takes it from under those who wait for it.

    Raises:
        DatabaseStartupError: Another process holds it, or the database doesn't answer.
    """
    lock = _advisory_lock(url) if is_postgresql(url) else _file_lock(sqlite_path(url))
    async with lock:
        yield


@asynccontextmanager
async def _advisory_lock(url: str) -> AsyncIterator[None]:
    async with connected_to_postgresql(url) as connection:
        import asyncpg

        try:
            await connection.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
        except asyncpg.LockNotAvailableError:
            raise DatabaseStartupError(_HELD) from None
        yield


@asynccontextmanager
async def _file_lock(database: Path) -> AsyncIterator[None]:
    lock = AsyncFileLock(lock_file_of(database), timeout=LOCK_SECONDS)
    try:
        await lock.acquire()
    except Timeout:
        raise DatabaseStartupError(_HELD) from None
    except OSError as failure:
        raise DatabaseStartupError(
            f"The migration lock {lock.lock_file} can't be opened: {failure.strerror}."
        ) from failure
    try:
        yield
    finally:
        await lock.release()


def lock_file_of(database: Path) -> Path:
    """The lock file of an SQLite database: beside it, else with the temporary files."""
    database = database.resolve()
    if os.access(database.parent, os.W_OK):
        return database.with_name(f".{database.name}.lock")
    name = hashlib.sha256(os.fsencode(database)).hexdigest()[:32]
    return Path(tempfile.gettempdir()) / f"kailash-mcp-prod-{name}.lock"
