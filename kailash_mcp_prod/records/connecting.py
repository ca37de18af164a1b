"""Opens the database at the start, and says in plain words why that fails."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from kailash_mcp_prod.errors import DatabaseStartupError

logger = logging.getLogger(__name__)

_SQLITE = "sqlite:///"
_CONNECT_SECONDS = 10.0
LOCK_SECONDS = 60
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_UNUSABLE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN}


class NotReachableError(DatabaseStartupError):
    """The database doesn't take connections now; it may do so later."""


def is_postgresql(url: str) -> bool:
    """Whether the address is one of a PostgreSQL database."""
    return url.startswith("postgres")


def sqlite_path(url: str) -> Path:
    """The file of an SQLite database."""
    return Path(url.removeprefix(_SQLITE).partition("?")[0])


def require_lasting(url: str) -> None:
    """Refuses a database in memory.

    Raises:
        DatabaseStartupError: It is one.
    """
    if ":memory:" in url:
        raise DatabaseStartupError(
            "An SQLite database in memory is lost between connections. Use a file: "
            "sqlite:////absolute/path.db"
        )


async def wait_for_database(url: str, seconds: float) -> None:
    """Returns when the database takes connections.

    Args:
        url: The address of the database.
        seconds: How long to try again while it is not reachable, or still starts.

    Raises:
        DatabaseStartupError: It didn't in that time, or refused for a reason that waiting does
            not change, such as a wrong password.
    """
    if not is_postgresql(url):
        await asyncio.to_thread(_check_file, sqlite_path(url))
        return
    begun = time.monotonic()
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            async with connected_to_postgresql(url):
                return
        except NotReachableError as failure:
            left = begun + seconds - time.monotonic()
            if left <= 0:
                if not seconds:
                    raise
                raise DatabaseStartupError(f"{failure} Waited for {seconds:g} s.") from failure
            if pause == _FIRST_PAUSE_SECONDS:
                logger.warning("%s Waiting for up to %g s.", failure, seconds)
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


@asynccontextmanager
async def connected_to_postgresql(url: str) -> AsyncIterator[Any]:
    """A connection of asyncpg's for work at the start: statements may take any time.

    They wait for locks for a minute, however; then they raise asyncpg's `LockNotAvailableError`.

    Raises:
        NotReachableError: The database doesn't take connections now.
        DatabaseStartupError: It refuses this one, or a statement that was not answered for.
    """
    try:
        import asyncpg
    except ModuleNotFoundError:
        raise DatabaseStartupError(
            "PostgreSQL needs the extra 'postgres': pip install 'kailash-mcp-prod[postgres]'"
        ) from None
    connection = await _connect(url)
    try:
        await connection.execute(f"SET statement_timeout = 0; SET lock_timeout = '{LOCK_SECONDS}s'")
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as failure:
        raise DatabaseStartupError(
            f"PostgreSQL failed at the start ({type(failure).__name__})."
        ) from failure
    finally:
        await connection.close()


async def _connect(url: str) -> Any:
    import asyncpg

    try:
        return await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
    except asyncpg.InvalidAuthorizationSpecificationError as failure:
        # InvalidPasswordError is one of them.
        raise DatabaseStartupError(
            "PostgreSQL refuses the user or the password in DATABASE_URL, or this machine."
        ) from failure
    except asyncpg.InvalidCatalogNameError as failure:
        raise DatabaseStartupError(
            "The database in DATABASE_URL does not exist on that PostgreSQL server."
        ) from failure
    except ssl.SSLCertVerificationError as failure:
        raise DatabaseStartupError(
            f"The certificate of the PostgreSQL server is not trusted: {failure.verify_message}."
        ) from failure
    except (
        TimeoutError,
        OSError,
        asyncpg.CannotConnectNowError,
        asyncpg.PostgresConnectionError,
        asyncpg.TooManyConnectionsError,
    ) as failure:
        raise NotReachableError(
            f"PostgreSQL can't be reached ({type(failure).__name__}). Check DATABASE_URL and that "
            "the database is up."
        ) from failure
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as failure:
        raise DatabaseStartupError(
            f"PostgreSQL can't be opened ({type(failure).__name__}). Check DATABASE_URL."
        ) from failure


def is_there(path: Path) -> bool:
    """Whether an SQLite file is there. If not, its folder is.

    Raises:
        DatabaseStartupError: There is no folder, or none in which this user may look.
    """
    try:
        if not path.parent.is_dir():
            raise DatabaseStartupError(
                f"The SQLite database can't be opened: there is no folder {path.parent}."
            )
        return path.exists()
    except OSError as failure:
        raise DatabaseStartupError(
            f"The SQLite database can't be opened: {path.parent}: {failure.strerror}."
        ) from None


def _check_file(path: Path) -> None:
    # On a damaged file a thread of DataFlow's hangs, and the process never ends.
    if not is_there(path):
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as failure:
        if failure.sqlite_errorcode in _UNUSABLE:
            raise DatabaseStartupError(
                f"The SQLite database can't be opened: {failure}. Check DATABASE_URL."
            ) from None
