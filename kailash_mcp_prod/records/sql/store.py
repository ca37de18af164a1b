"""`SqlStore`: the record store that runs SQL of its own on the tables of DataFlow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from kailash_mcp_prod.records.sql.codecs import Dialect
from kailash_mcp_prod.records.sql.database import Database, PoolUsage, Rows, Statement
from kailash_mcp_prod.records.sql.records import SqlRecords
from kailash_mcp_prod.records.sql.table import TableSql


class SqlStore(SqlRecords):
    """A `RecordStore` on a database of ours, beside DataFlow's own connections.

    Args:
        database: The database.

    Example:
        ```python
        store = SqlStore(SqliteDatabase(path))
        store.add(TableSql(model, table, store.dialect))
        await store.create(model, model.complete({"name": "Acme"}))
        ```
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_model: dict[str, TableSql] = {}
        super().__init__(database, self._by_model)

    @property
    def dialect(self) -> Dialect:
        """Which database it is."""
        return self._database.dialect

    def add(self, table: TableSql) -> None:
        """Makes a model and its table known."""
        self._by_model[table.model.name] = table

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlRecords]:
        """See `RecordStore.transaction`."""
        async with self._database.atomic() as session:
            yield SqlRecords(session, self._by_model, in_transaction=True)

    async def chain(self, first: Statement, then: Callable[[Rows], Sequence[Statement]]) -> None:
        """See `Database.chain`."""
        await self._database.chain(first, then)

    async def ping(self) -> None:
        """See `RecordStore.ping`."""
        await self._database.ping()

    def usage(self) -> PoolUsage:
        """See `Database.usage`."""
        return self._database.usage()

    async def close(self) -> None:
        """See `RecordStore.close`."""
        await self._database.close()
