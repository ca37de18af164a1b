"""`StateDatabase`: short transactions on tables of the server's own.

The tables are named `mcp_…` and lie in the application's database. Each belongs to
`METADATA` and is declared by the module that uses it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
)
from itertools import takewhile
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, Table, inspect, literal, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import QueuePool

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.records.connecting import is_postgresql, require_lasting, sqlite_path
from kailash_mcp_prod.records.migration_lock import migration_lock
from kailash_mcp_prod.records.refusals import unavailable
from kailash_mcp_prod.state.engines import READS, make_engine

logger = logging.getLogger(__name__)

METADATA = MetaData()
"""All tables of the state."""

_CONNECTIONS = 4
_SECONDS = 10.0


class StateDatabase:
    """The state in one database. Connections are made when they are needed.

    On SQLite one transaction of the process writes at a time; others wait without holding a lock of
    the file. What waits for another process does so for five seconds.

    Args:
        url: The application's database, with an absolute path for SQLite.
        connections: How many connections may be open.

    Example:
        ```python
        async with state.begin() as connection:
            await connection.execute(insert(notes).values(id="n1", text="Call Kiel."))
        ```
    """

    def __init__(self, url: str, *, connections: int = _CONNECTIONS) -> None:
        self._url = url
        self._engine = make_engine(url, connections)
        self._connections = connections
        self._reading = self._engine.execution_options(**{READS: True})
        self._writing: AbstractAsyncContextManager[Any] = (
            nullcontext() if is_postgresql(url) else asyncio.Lock()
        )
        self._found: set[str] = set()

    async def prepare(self, tables: Sequence[Table], *, create: bool = True) -> None:
        """Makes the tables that are missing, one process at a time.

        Args:
            tables: Of `METADATA`.
            create: Whether they may be made; otherwise a missing one is an error.

        Raises:
            DatabaseStartupError: A table is missing or can't be made, or would not last.
            UnavailableError: The database does not answer.
        """
        if await self.has(tables):
            return
        if not create:
            listed = ", ".join(each.name for each in tables)
            raise DatabaseStartupError(
                f"The database lacks a table of the server's state: {listed}. Run once with "
                "auto_migrate, or create them."
            )
        require_lasting(self._url)
        async with migration_lock(self._url):
            if not is_postgresql(self._url):
                await asyncio.to_thread(_make_file, sqlite_path(self._url))
            try:
                async with self.begin() as connection:
                    await connection.run_sync(METADATA.create_all, tables=list(tables))
                self._found.update(each.name for each in tables)
            except SQLAlchemyError as failure:
                logger.warning("A table of the state can't be made", exc_info=failure)
                raise DatabaseStartupError(
                    "The tables of the server's state can't be made in the database. Its user "
                    "may lack the right to create tables."
                ) from None

    async def has(self, tables: Sequence[Table]) -> bool:
        """Whether the tables are there; asked only until they are.

        Raises:
            UnavailableError: The database does not answer.
        """
        wanted = {each.name for each in tables}
        if wanted <= self._found:
            return True
        if not is_postgresql(self._url) and not sqlite_path(self._url).exists():
            return False
        async with self.read() as connection:
            self._found |= await connection.run_sync(_tables_among, wanted)
        return wanted <= self._found

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes: stored at the end of the block, or undone when it raises.

        Keep it short: others wait for it, and after ten seconds it is undone.

        Raises:
            UnavailableError: The database does not answer. If that comes of the end of the block,
                it is not known whether the change was stored.
            sqlalchemy.exc.IntegrityError: A key is taken.
        """
        with _explained():
            async with asyncio.timeout(_SECONDS), self._writing, self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads, and sees one state of the database throughout on SQLite.

        Raises:
            UnavailableError: The database does not answer.
        """
        with _explained():
            async with asyncio.timeout(_SECONDS), self._reading.begin() as connection:
                yield connection

    async def ping(self) -> None:
        """Reads from each table that is known to be there.

        Raises:
            UnavailableError: That can't be done.
        """
        tables = [METADATA.tables[name] for name in sorted(self._found)]
        first = [select(literal(1)).select_from(each).limit(1).scalar_subquery() for each in tables]
        try:
            async with self.read() as connection:
                await connection.execute(select(literal(1), *first))
        except ProgrammingError as failure:
            # A table has gone.
            raise unavailable() from failure

    @property
    def is_busy(self) -> bool:
        """Whether all connections are in use, so that a question would have to wait."""
        pool = self._engine.pool
        return isinstance(pool, QueuePool) and pool.checkedout() >= self._connections

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what a database that does not answer makes libraries raise into `UnavailableError`."""
    try:
        yield
    except (IntegrityError, ProgrammingError, DataError):
        raise
    except (DBAPIError, NoConnectionFreeError, OSError, sqlite3.Error) as failure:
        # A TimeoutError is an OSError. What is below may quote a row, so only its kind is logged;
        # who asks again and again says once that there is no answer.
        cause = getattr(failure, "orig", None) or failure
        logger.debug("The state's database does not answer: %s", type(cause).__name__)
        raise unavailable() from failure


def _tables_among(connection: Connection, wanted: set[str]) -> set[str]:
    """Those that are there, up to the first that is not."""
    inspector = inspect(connection)
    return set(takewhile(inspector.has_table, sorted(wanted)))


def _make_file(path: Path) -> None:
    """Makes an SQLite file, and lets it be read while it is written."""
    try:
        with closing(sqlite3.connect(path, timeout=_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as failure:
        raise DatabaseStartupError(
            f"The SQLite database can't be opened: {failure}. Check DATABASE_URL."
        ) from None
