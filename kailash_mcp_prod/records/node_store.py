"""`NodeStore`: the record store that runs DataFlow's generated nodes behind the strict layer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from kailash_mcp_prod.records.aggregates import Aggregation, Groups
from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.node_records import NodeRecords
from kailash_mcp_prod.records.query import Condition, Page, Query
from kailash_mcp_prod.records.refusals import ContentionError
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.store import Upserted

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.05

Result = TypeVar("Result")
Work = Callable[[NodeRecords], Awaitable[Result]]


class NodeStore:
    """Runs every operation through DataFlow's nodes, each in one transaction.

    What the nodes can't filter or sort by right (combinations, patterns, decimals, nulls) is
    evaluated in Python, on at most 10,000 rows that the rest of the filter selects. So are groups.

    Args:
        session: Transactions on an initialised DataFlow instance.
    """

    def __init__(self, session: DataFlowSession) -> None:
        self._session = session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[NodeRecords]:
        """See `RecordStore.transaction`.

        On SQLite the store's other operations wait until the block ends, so the block must not
        call them.
        """
        async with self._session.transaction() as transaction:
            yield NodeRecords(transaction)

    async def create(self, model: Model, row: Row, scope: Scope = OPEN) -> Row:
        """See `Records.create`."""
        async with self.transaction() as records:
            return await records.create(model, row, scope)

    async def read(
        self, model: Model, key: Any, scope: Scope = OPEN, fields: tuple[str, ...] | None = None
    ) -> Row:
        """See `Records.read`."""
        async with self.transaction() as records:
            return await records.read(model, key, scope, fields)

    async def update(
        self, model: Model, key: Any, changes: Row, expected: Row, scope: Scope = OPEN
    ) -> Row:
        """See `Records.update`."""
        return await self._write(lambda to: to.update(model, key, changes, expected, scope))

    async def delete(self, model: Model, key: Any, scope: Scope = OPEN) -> None:
        """See `Records.delete`."""
        await self._write(lambda to: to.delete(model, key, scope))

    async def find(self, model: Model, query: Query, scope: Scope = OPEN) -> Page:
        """See `Records.find`."""
        async with self._session.transaction(snapshot=True) as transaction:
            return await NodeRecords(transaction).find(model, query, scope)

    async def count(self, model: Model, condition: Condition, scope: Scope = OPEN) -> int:
        """See `Records.count`."""
        async with self._session.transaction(snapshot=True) as transaction:
            return await NodeRecords(transaction).count(model, condition, scope)

    async def aggregate(
        self, model: Model, aggregation: Aggregation, scope: Scope = OPEN
    ) -> Groups:
        """See `Records.aggregate`."""
        async with self._session.transaction(snapshot=True) as transaction:
            return await NodeRecords(transaction).aggregate(model, aggregation, scope)

    async def create_many(
        self, model: Model, rows: Sequence[Row], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.create_many`."""
        async with self.transaction() as records:
            return await records.create_many(model, rows, scope)

    async def update_many(
        self, model: Model, changes: Sequence[tuple[Any, Row]], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.update_many`."""
        return await self._write(lambda to: to.update_many(model, changes, scope))

    async def update_where(
        self, model: Model, condition: Condition, changes: Row, scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.update_where`."""
        return await self._write(lambda to: to.update_where(model, condition, changes, scope))

    async def delete_many(
        self, model: Model, keys: Sequence[Any], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.delete_many`."""
        return await self._write(lambda to: to.delete_many(model, keys, scope))

    async def delete_where(
        self, model: Model, condition: Condition, scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.delete_where`."""
        return await self._write(lambda to: to.delete_where(model, condition, scope))

    async def upsert(
        self, model: Model, row: Row, conflict_on: tuple[str, ...], scope: Scope = OPEN
    ) -> tuple[Row, bool]:
        """See `Records.upsert`."""
        return await self._write(lambda to: to.upsert(model, row, conflict_on, scope))

    async def upsert_many(
        self,
        model: Model,
        rows: Sequence[Row],
        conflict_on: tuple[str, ...],
        scope: Scope = OPEN,
    ) -> list[Upserted]:
        """See `Records.upsert_many`."""
        return await self._write(lambda to: to.upsert_many(model, rows, conflict_on, scope))

    async def ping(self) -> None:
        """See `RecordStore.ping`."""
        await self._session.ping()

    async def close(self) -> None:
        """See `RecordStore.close`."""
        await self._session.close()

    async def _write(self, work: Work[Result]) -> Result:
        """Does work in a transaction, again when another writer was in its way.

        Args:
            work: What to do; it must not matter how often.
        """
        for attempt in range(1, _ATTEMPTS):
            try:
                async with self.transaction() as records:
                    return await work(records)
            except ContentionError:
                await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311 - no secret
        async with self.transaction() as records:
            return await work(records)
