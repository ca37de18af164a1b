"""`WatchedStore`: a store whose every write somebody hears of, before it begins and at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from kailash_mcp_prod.records.aggregates import Aggregation, Groups
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.query import Condition, Query
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.store import Found, Records, RecordStore, Transaction, Upserted


class WriteObserver(Protocol):
    """Hears of writes; it must not fail them."""

    def writing(self, table: str) -> AbstractAsyncContextManager[None]:
        """Stands around a write of a table; when that fails, the failure passes through."""


class WatchedRecords:
    """`Records` whose writes somebody hears of; what reads goes straight through.

    Args:
        records: The operations.
        writing: Makes what stands around a write of a model.
    """

    def __init__(
        self, records: Records, writing: Callable[[Model], AbstractAsyncContextManager[None]]
    ) -> None:
        self._records = records
        self._writing = writing

    async def create(self, model: Model, row: Row, scope: Scope = OPEN) -> Row:
        """See `Records.create`."""
        async with self._writing(model):
            return await self._records.create(model, row, scope)

    async def read(
        self, model: Model, key: Any, scope: Scope = OPEN, fields: tuple[str, ...] | None = None
    ) -> Row:
        """See `Records.read`."""
        return await self._records.read(model, key, scope, fields)

    async def update(
        self, model: Model, key: Any, changes: Row, expected: Row, scope: Scope = OPEN
    ) -> Row:
        """See `Records.update`."""
        async with self._writing(model):
            return await self._records.update(model, key, changes, expected, scope)

    async def delete(self, model: Model, key: Any, scope: Scope = OPEN) -> None:
        """See `Records.delete`."""
        async with self._writing(model):
            await self._records.delete(model, key, scope)

    async def find(self, model: Model, query: Query, scope: Scope = OPEN) -> Found:
        """See `Records.find`."""
        return await self._records.find(model, query, scope)

    async def count(self, model: Model, condition: Condition, scope: Scope = OPEN) -> int:
        """See `Records.count`."""
        return await self._records.count(model, condition, scope)

    async def aggregate(
        self, model: Model, aggregation: Aggregation, scope: Scope = OPEN
    ) -> Groups:
        """See `Records.aggregate`."""
        return await self._records.aggregate(model, aggregation, scope)

    async def create_many(
        self, model: Model, rows: Sequence[Row], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.create_many`."""
        async with self._writing(model):
            return await self._records.create_many(model, rows, scope)

    async def update_many(
        self, model: Model, changes: Sequence[tuple[Any, Row]], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.update_many`."""
        async with self._writing(model):
            return await self._records.update_many(model, changes, scope)

    async def update_where(
        self, model: Model, condition: Condition, changes: Row, scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.update_where`."""
        async with self._writing(model):
            return await self._records.update_where(model, condition, changes, scope)

    async def delete_many(
        self, model: Model, keys: Sequence[Any], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.delete_many`."""
        async with self._writing(model):
            return await self._records.delete_many(model, keys, scope)

    async def delete_where(
        self, model: Model, condition: Condition, scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.delete_where`."""
        async with self._writing(model):
            return await self._records.delete_where(model, condition, scope)

    async def upsert(
        self, model: Model, row: Row, conflict_on: tuple[str, ...], scope: Scope = OPEN
    ) -> tuple[Row, bool]:
        """See `Records.upsert`."""
        async with self._writing(model):
            return await self._records.upsert(model, row, conflict_on, scope)

    async def upsert_many(
        self,
        model: Model,
        rows: Sequence[Row],
        conflict_on: tuple[str, ...],
        scope: Scope = OPEN,
    ) -> list[Upserted]:
        """See `Records.upsert_many`."""
        async with self._writing(model):
            return await self._records.upsert_many(model, rows, conflict_on, scope)


class WatchedTransaction(WatchedRecords):
    """A `Transaction` whose writes somebody hears of.

    Args:
        transaction: The transaction.
        writing: As for `WatchedRecords`.
    """

    def __init__(
        self,
        transaction: Transaction,
        writing: Callable[[Model], AbstractAsyncContextManager[None]],
    ) -> None:
        super().__init__(transaction, writing)
        self._transaction = transaction

    async def statement(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """See `Transaction.statement`; tables of the server's own are nobody's to watch."""
        return await self._transaction.statement(text, values)

    async def statements(
        self, several: Sequence[tuple[str, Sequence[Any]]]
    ) -> Sequence[Sequence[Sequence[Any]]]:
        """See `Transaction.statements`."""
        return await self._transaction.statements(several)


class WatchedStore(WatchedRecords):
    """A `RecordStore` whose writes an observer hears of, those in transactions too.

    Args:
        store: The store.
        observer: Hears of them.
    """

    def __init__(self, store: RecordStore, observer: WriteObserver) -> None:
        super().__init__(store, lambda model: observer.writing(model.table))
        self._store = store
        self._observer = observer

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WatchedTransaction]:
        """See `RecordStore.transaction`; its writes end when it does."""
        begun: set[str] = set()
        async with AsyncExitStack() as writes:

            @asynccontextmanager
            async def writing(model: Model) -> AsyncIterator[None]:
                if model.table not in begun:
                    begun.add(model.table)
                    await writes.enter_async_context(self._observer.writing(model.table))
                yield

            async with self._store.transaction() as transaction:
                yield WatchedTransaction(transaction, writing)

    async def ping(self) -> None:
        """See `RecordStore.ping`."""
        await self._store.ping()

    async def close(self) -> None:
        """See `RecordStore.close`."""
        await self._store.close()
