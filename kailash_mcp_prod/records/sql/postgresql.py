"""PostgreSQL through asyncpg: statements and transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import asyncpg

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.records.completion import to_the_end
from kailash_mcp_prod.records.refusals import contention, unavailable
from kailash_mcp_prod.records.sql.codecs import Dialect
from kailash_mcp_prod.records.sql.database import PoolSettings, PoolUsage, Rows, Statement
from kailash_mcp_prod.records.sql.postgresql_errors import explain
from kailash_mcp_prod.records.sql.postgresql_pool import (
    FAILURES,
    Connection,
    ConnectionPool,
    is_lost,
)
from kailash_mcp_prod.records.sql.table import TableSql

_CLOSING_SECONDS = 5.0

Result = TypeVar("Result")


class PostgresqlDatabase:
    """A PostgreSQL database; connections are opened when they are needed.

    Args:
        url: Where it is, as asyncpg takes it.
        settings: The bounds of the pool.
    """

    dialect: Dialect = "postgresql"

    def __init__(self, url: str, settings: PoolSettings) -> None:
        self._pool = ConnectionPool(url, settings)

    async def read(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """See `Runner.read`; tried again once on another connection when one was lost."""
        fetch = partial(_fetch, text, arguments)
        try:
            return await self._on_one(table, fetch)
        except FAILURES as failure:
            if not is_lost(failure):
                raise explain(table, failure) from failure
        try:
            return await self._on_one(table, fetch)
        except FAILURES as failure:
            raise explain(table, failure) from failure

    async def write(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """See `Runner.write`."""
        try:
            return await self._on_one(table, partial(_fetch_to_the_end, text, arguments))
        except FAILURES as failure:
            raise explain(table, failure, storing=True) from failure

    async def insert_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> list[Any]:
        """See `Runner.insert_rows`."""

        async def insert(connection: Connection) -> list[Any]:
            return await to_the_end(_insert(connection, table, names, rows))

        try:
            return await self._on_one(table, insert)
        except FAILURES as failure:
            raise explain(table, failure, storing=True) from failure

    @asynccontextmanager
    async def atomic(self) -> AsyncIterator[PostgresqlSession]:
        """See `Runner.atomic`."""
        connection = await self._acquire(None)
        session = PostgresqlSession(connection)
        try:
            try:
                await session.begin()
                yield session
                if session.failure is not None:
                    # PostgreSQL answers a COMMIT of a broken transaction with success.
                    raise session.failure
            except BaseException:
                await _roll_back(connection)
                raise
            try:
                await to_the_end(connection.execute("COMMIT"))
            except asyncio.CancelledError:
                # Nobody knows whether the transaction is still open on it.
                connection.terminate()
                raise
            except FAILURES as failure:
                session.cause = failure
                raise explain(session.table, failure, storing=True) from failure
        finally:
            self._pool.release(connection, session.cause)

    async def chain(self, first: Statement, then: Callable[[Rows], Sequence[Statement]]) -> None:
        """See `Database.chain`."""
        async with self.atomic() as session:
            await session.write_all(then(await session.read(None, *first)))

    async def ping(self) -> None:
        """See `Database.ping`; a pool that is merely busy is well."""
        try:
            await self._pool.ping()
        except FAILURES as failure:
            raise unavailable() from failure

    def usage(self) -> PoolUsage:
        """See `Database.usage`."""
        return self._pool.usage()

    async def close(self) -> None:
        """See `Database.close`."""
        await self._pool.close()

    async def _on_one(
        self, table: TableSql | None, work: Callable[[Connection], Awaitable[Result]]
    ) -> Result:
        """Does work on a connection; it is raised as it is what the driver raises meanwhile."""
        connection = await self._acquire(table)
        try:
            result = await work(connection)
        except asyncio.CancelledError:
            self._pool.doubt(connection)
            raise
        except BaseException as failure:
            self._pool.release(connection, failure)
            raise
        self._pool.release(connection)
        return result

    async def _acquire(self, table: TableSql | None) -> Connection:
        try:
            return await self._pool.acquire()
        except FAILURES as failure:
            raise explain(table, failure) from failure


class PostgresqlSession:
    """An open transaction; see `Session`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.table: TableSql | None = None
        self.failure: ServerError | None = None
        self.cause: BaseException | None = None

    async def begin(self) -> None:
        """Begins the transaction."""
        try:
            await self._connection.execute("BEGIN")
        except FAILURES as failure:
            raise self._failed(None, failure) from failure

    async def read(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """See `Runner.read`."""
        self.table = table
        try:
            rows: Rows = await self._connection.fetch(text, *arguments)
        except FAILURES as failure:
            raise self._failed(table, failure) from failure
        return rows

    write = read

    async def write_all(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Rows]:
        """See `Session.write_all`."""
        return [await self.write(None, text, arguments) for text, arguments in statements]

    def _failed(self, table: TableSql | None, failure: BaseException) -> ServerError:
        # What fails after it does so because of it.
        if self.failure is None:
            self.failure = explain(table, failure)
            self.cause = failure
        return self.failure

    @asynccontextmanager
    async def atomic(self) -> AsyncIterator[PostgresqlSession]:
        """See `Runner.atomic`."""
        yield self

    async def insert_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> list[Any]:
        """See `Runner.insert_rows`."""
        self.table = table
        try:
            return await _insert(self._connection, table, names, rows)
        except FAILURES as failure:
            raise self._failed(table, failure) from failure
        except ServerError as refusal:
            self.failure = self.failure or refusal
            raise

    async def update_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        """See `Session.update_rows`."""
        await self.read(table, table.update_arrays(names), columns_of(rows))


async def _fetch(text: str, arguments: Sequence[Any], connection: Connection) -> Rows:
    rows: Rows = await connection.fetch(text, *arguments)
    return rows


async def _fetch_to_the_end(text: str, arguments: Sequence[Any], connection: Connection) -> Rows:
    return await to_the_end(_fetch(text, arguments, connection))


async def _insert(
    connection: Connection,
    table: TableSql,
    names: tuple[str, ...],
    rows: Sequence[Sequence[Any]],
) -> list[Any]:
    """Inserts rows in one statement: by COPY, unless the database makes the keys."""
    if table.takes_copies and not table.model.generates_key:
        try:
            await connection.copy_records_to_table(table.model.table, records=rows, columns=names)
        except OverflowError as problem:
            # What asyncpg makes of it in every other statement.
            raise asyncpg.DataError("a number is too large for its column") from problem
        except (asyncpg.FeatureNotSupportedError, asyncpg.WrongObjectTypeError) as refusal:
            # A table with row-level security, or a view.
            table.takes_copies = False
            if connection.is_in_transaction():
                raise contention() from refusal
        else:
            return []
    made = await connection.fetch(table.insert_arrays(names), *columns_of(rows))
    # The keys are made in the order of the rows, and returned in any.
    return sorted(each[0] for each in made)


def columns_of(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as an array for each column."""
    return [list(column) for column in zip(*rows, strict=True)]


async def _roll_back(connection: Connection) -> None:
    """Undoes a transaction; where that fails, the connection ends, and the transaction with it."""
    try:
        await to_the_end(connection.execute("ROLLBACK", timeout=_CLOSING_SECONDS))
    except FAILURES:
        connection.terminate()
    except asyncio.CancelledError:
        connection.terminate()
        raise
