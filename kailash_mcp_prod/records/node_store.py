"""`NodeStore`: the record store that runs DataFlow's generated nodes behind the strict layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.arguments import MAX_BULK_ROWS
from kailash_mcp_prod.records.dataflow_session import DataFlowSession, NodeTransaction
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.node_filters import native_order, split
from kailash_mcp_prod.records.query import (
    All,
    Comparison,
    Condition,
    Query,
    Sort,
    holds,
    sort_rows,
)
from kailash_mcp_prod.records.store import Upserted

SCAN_LIMIT = 10_000
_PAGE = 500
_UPSERT_ATTEMPTS = 3


class NodeStore:
    """Runs every operation through DataFlow's nodes, each in one transaction.

    What the nodes can't filter or sort by right (combinations, patterns, decimals, nulls) is
    evaluated here on at most `SCAN_LIMIT` rows that the rest of the filter selects.

    Args:
        session: Transactions on an initialised DataFlow instance.
    """

    def __init__(self, session: DataFlowSession) -> None:
        self._session = session

    async def create(self, model: Model, row: Row) -> Row:
        """See `RecordStore.create`."""
        async with self._session.transaction(model) as transaction:
            key = await transaction.insert(model, row)
            return await _existing(transaction, model, key)

    async def read(self, model: Model, key: Any) -> Row:
        """See `RecordStore.read`."""
        async with self._session.transaction(model) as transaction:
            return await _existing(transaction, model, key)

    async def update(self, model: Model, key: Any, changes: Row, expected: Row) -> Row:
        """See `RecordStore.update`."""
        async with self._session.transaction(model) as transaction:
            await _change(transaction, model, key, changes, expected)
            return await _existing(transaction, model, key)

    async def delete(self, model: Model, key: Any) -> None:
        """See `RecordStore.delete`."""
        await self.delete_many(model, [key])

    async def find(self, model: Model, query: Query) -> list[Row]:
        """See `RecordStore.find`."""
        async with self._session.transaction(model) as transaction:
            return await self._find(transaction, model, query)

    async def count(self, model: Model, condition: Condition) -> int:
        """See `RecordStore.count`."""
        parts = split(condition, self._session.dialect)
        async with self._session.transaction(model) as transaction:
            if not parts.rest:
                return await transaction.count(model, parts.where)
            return sum([1 async for _ in self._scan(transaction, model, condition)])

    async def create_many(self, model: Model, rows: Sequence[Row]) -> list[Any]:
        """See `RecordStore.create_many`."""
        async with self._session.transaction(model) as transaction:
            return [await transaction.insert(model, row) for row in rows]

    async def update_many(self, model: Model, changes: Sequence[tuple[Any, Row]]) -> list[Any]:
        """See `RecordStore.update_many`."""
        async with self._session.transaction(model) as transaction:
            # One order for all writers, so that they wait for each other and never in a circle.
            for key, change in sorted(changes, key=lambda each: str(each[0])):
                await _change(transaction, model, key, change, {})
        return [key for key, _ in changes]

    async def update_where(self, model: Model, condition: Condition, changes: Row) -> list[Any]:
        """See `RecordStore.update_where`."""
        async with self._session.transaction(model) as transaction:
            keys = await self._lock_matching(transaction, model, condition)
            for key in keys:
                await transaction.change(model, key, changes)
        return keys

    async def delete_many(self, model: Model, keys: Sequence[Any]) -> list[Any]:
        """See `RecordStore.delete_many`."""
        async with self._session.transaction(model) as transaction:
            for key in sorted(keys, key=str):
                await transaction.lock(model, key)
                await _existing(transaction, model, key)
                await transaction.remove(model, key)
        return list(keys)

    async def delete_where(self, model: Model, condition: Condition) -> list[Any]:
        """See `RecordStore.delete_where`."""
        async with self._session.transaction(model) as transaction:
            keys = await self._lock_matching(transaction, model, condition)
            for key in keys:
                await transaction.remove(model, key)
        return keys

    async def upsert_many(
        self, model: Model, rows: Sequence[Row], conflict_on: tuple[str, ...]
    ) -> list[Upserted]:
        """See `RecordStore.upsert_many`."""
        for attempt in range(1, _UPSERT_ATTEMPTS + 1):
            try:
                async with self._session.transaction(model) as transaction:
                    return [
                        await self._upsert(transaction, model, row, conflict_on) for row in rows
                    ]
            except ConflictError as conflict:
                # Another writer made the same record since we looked: now it can be found.
                taken = (conflict.details or {}).get("unique_key")
                if attempt == _UPSERT_ATTEMPTS or taken != list(conflict_on):
                    raise
        raise AssertionError("unreachable")

    async def ping(self) -> None:
        """See `RecordStore.ping`."""
        async with self._session.transaction(_NO_MODEL) as transaction:
            await transaction.ping()

    async def close(self) -> None:
        """See `RecordStore.close`."""
        await self._session.close()

    async def _find(self, transaction: NodeTransaction, model: Model, query: Query) -> list[Row]:
        parts = split(query.condition, self._session.dialect)
        order = native_order(query.sort)
        if not parts.rest and order is not None:
            return await transaction.select(model, parts.where, order, query.limit, query.offset)
        end = query.offset + query.limit
        by_key = query.sort == (Sort(model.key),)
        rows: list[Row] = []
        async for row in self._scan(transaction, model, query.condition):
            rows.append(row)
            if by_key and len(rows) == end:
                break
        return sort_rows(rows, () if by_key else query.sort)[query.offset : end]

    async def _scan(
        self, transaction: NodeTransaction, model: Model, condition: Condition
    ) -> AsyncIterator[Row]:
        """All rows that match, in the order of their keys.

        Raises:
            InvalidArgumentsError: More than `SCAN_LIMIT` rows would have to be looked at.
        """
        parts = split(condition, self._session.dialect)
        where = dict(parts.where)
        rest: list[Condition] = list(parts.rest)
        if "id" in where:
            # Pages begin after a key, which is a comparison of the key itself.
            rest.extend(_comparisons_of_key(condition))
            del where["id"]
        after: dict[str, Any] = {}
        seen = 0
        while True:
            page = await transaction.select(model, {**where, **after}, ["id"], _PAGE)
            seen += len(page)
            if seen > SCAN_LIMIT:
                break
            for row in page:
                if holds(All(tuple(rest)), row):
                    yield row
            if len(page) < _PAGE:
                return
            after = {"id": {"$gt": model.key.type.to_column(page[-1]["id"])}}
        raise InvalidArgumentsError(
            f"This would look at more than {SCAN_LIMIT} records of {model.name}. Add a plain "
            "comparison of another field to the filter, or sort by id.",
            field="filter",
        )

    async def _lock_matching(
        self, transaction: NodeTransaction, model: Model, condition: Condition
    ) -> list[Any]:
        query = Query(condition, (Sort(model.key),), limit=MAX_BULK_ROWS + 1)
        rows = await self._find(transaction, model, query)
        if len(rows) > MAX_BULK_ROWS:
            raise InvalidArgumentsError(
                f"The filter selects more than {MAX_BULK_ROWS} records of {model.name}. "
                "Narrow it and call again for the rest. Nothing was changed.",
                field="filter",
            )
        keys = []
        for row in rows:
            await transaction.lock(model, row["id"])
            # Another writer may have changed the row before we held it.
            locked = await transaction.fetch(model, row["id"])
            if locked is not None and holds(condition, locked):
                keys.append(row["id"])
        return keys

    async def _upsert(
        self, transaction: NodeTransaction, model: Model, given: Row, conflict_on: tuple[str, ...]
    ) -> Upserted:
        complete = model.complete(given)
        if conflict_on != ("id",) or "id" in given:
            key = await self._key_of(transaction, model, complete, conflict_on)
            if key is not None:
                changes = {name: value for name, value in given.items() if name != "id"}
                if "id" in given and given["id"] != key:
                    raise ConflictError(
                        f"The {model.name} with this {' and '.join(conflict_on)} has another id. "
                        "Leave out the id or correct it. Nothing was changed.",
                        field="data.id",
                    )
                if changes:
                    await _change(transaction, model, key, changes, {})
                return Upserted(key, created=False)
        return Upserted(await transaction.insert(model, complete), created=True)

    async def _key_of(
        self, transaction: NodeTransaction, model: Model, row: Row, unique: tuple[str, ...]
    ) -> Any:
        parts = [
            Comparison(field, "$eq", row[name])
            for name in unique
            if (field := model.field(name)) is not None
        ]
        found = await self._find(
            transaction, model, Query(All(tuple(parts)), (Sort(model.key),), limit=1)
        )
        return found[0]["id"] if found else None


_NO_MODEL = Model("database", "", "", ())


async def _existing(transaction: NodeTransaction, model: Model, key: Any) -> Row:
    row = await transaction.fetch(model, key)
    if row is None:
        shown = model.key.type.to_json(key)
        raise NotFoundError(
            f"There is no {model.name} with the id {shown!r}. Find ids with {model.name}_list. "
            "Nothing was changed.",
            field="id",
            details={"id": shown},
        )
    return row


async def _change(
    transaction: NodeTransaction, model: Model, key: Any, changes: Row, expected: Row
) -> None:
    await transaction.lock(model, key)
    current = await _existing(transaction, model, key)
    differing = [name for name, value in expected.items() if current[name] != value]
    if differing:
        raise ConflictError(
            f"The {model.name} no longer holds the expected {', '.join(differing)}. Read it again "
            "and decide anew. Nothing was changed.",
            field=f"expected.{differing[0]}",
            details={"differing_fields": differing},
        )
    await transaction.change(model, key, changes)


def _comparisons_of_key(condition: Condition) -> list[Condition]:
    """Every top-level comparison of the key; evaluating one again does no harm."""
    if isinstance(condition, All):
        return [each for part in condition.parts for each in _comparisons_of_key(part)]
    return [condition] if isinstance(condition, Comparison) and condition.field.name == "id" else []
