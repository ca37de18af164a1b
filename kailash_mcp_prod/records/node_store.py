"""`NodeStore`: the record store that runs DataFlow's generated nodes behind the strict layer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.arguments import MAX_BULK_ROWS
from kailash_mcp_prod.records.dataflow_session import DataFlowSession, NodeTransaction
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.node_errors import ContentionError
from kailash_mcp_prod.records.node_filters import native_order, split
from kailash_mcp_prod.records.query import (
    All,
    Comparison,
    Condition,
    PatternTooExpensiveError,
    Query,
    Sort,
    holds,
    sort_rows,
)
from kailash_mcp_prod.records.store import Upserted

SCAN_LIMIT = 10_000
_PAGE = 500
_ROWS_AT_ONCE = 25
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.05

Result = TypeVar("Result")


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

        async def work(transaction: NodeTransaction) -> Row:
            await _change(transaction, model, key, changes, expected)
            return await _existing(transaction, model, key)

        return await self._write(model, work)

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

        async def work(transaction: NodeTransaction) -> list[Any]:
            # One order for all writers, so that they wait for each other and never in a circle.
            for key, change in sorted(changes, key=lambda each: str(each[0])):
                await _change(transaction, model, key, change, {})
            return [key for key, _ in changes]

        return await self._write(model, work)

    async def update_where(self, model: Model, condition: Condition, changes: Row) -> list[Any]:
        """See `RecordStore.update_where`."""

        async def work(transaction: NodeTransaction) -> list[Any]:
            keys = await self._lock_matching(transaction, model, condition)
            for key in keys:
                await transaction.change(model, key, changes)
            return keys

        return await self._write(model, work)

    async def delete_many(self, model: Model, keys: Sequence[Any]) -> list[Any]:
        """See `RecordStore.delete_many`."""

        async def work(transaction: NodeTransaction) -> list[Any]:
            for key in sorted(keys, key=str):
                await transaction.lock(model, key)
                if not await transaction.exists(model, key):
                    raise _missing(model, key)
                await transaction.remove(model, key)
            return list(keys)

        return await self._write(model, work)

    async def delete_where(self, model: Model, condition: Condition) -> list[Any]:
        """See `RecordStore.delete_where`."""

        async def work(transaction: NodeTransaction) -> list[Any]:
            keys = await self._lock_matching(transaction, model, condition)
            for key in keys:
                await transaction.remove(model, key)
            return keys

        return await self._write(model, work)

    async def upsert_many(
        self, model: Model, rows: Sequence[Row], conflict_on: tuple[str, ...]
    ) -> list[Upserted]:
        """See `RecordStore.upsert_many`."""

        async def work(transaction: NodeTransaction) -> list[Upserted]:
            outcomes: dict[int, Upserted] = {}
            # One order for all writers, as in `update_many`.
            for position in sorted(range(len(rows)), key=lambda each: _key_text(rows[each])):
                outcomes[position] = await self._upsert(
                    transaction, model, rows[position], conflict_on
                )
            return [outcomes[position] for position in range(len(rows))]

        def _key_text(row: Row) -> str:
            return repr([row.get(name) for name in conflict_on])

        return await self._write(model, work, made_meanwhile=conflict_on)

    async def _write(
        self,
        model: Model,
        work: Callable[[NodeTransaction], Awaitable[Result]],
        made_meanwhile: tuple[str, ...] | None = None,
    ) -> Result:
        """Does work in a transaction, again when another writer was in its way.

        Args:
            model: The model.
            work: What to do; it must not matter how often.
            made_meanwhile: A unique key by which `work` looks for records: when it is taken,
                another writer has made the record since, and now it can be found.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._session.transaction(model) as transaction:
                    return await work(transaction)
            except ContentionError:
                if attempt == _ATTEMPTS:
                    raise
            except ConflictError as conflict:
                taken = (conflict.details or {}).get("unique_key")
                if attempt == _ATTEMPTS or made_meanwhile is None or taken != [*made_meanwhile]:
                    raise
            await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311 - no secret
        raise AssertionError("unreachable")

    async def ping(self) -> None:
        """See `RecordStore.ping`."""
        await self._session.ping()

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
        remainder = All(tuple(rest))
        after: dict[str, Any] = {}
        seen = 0
        while True:
            page = await transaction.select(model, {**where, **after}, ["id"], _PAGE)
            seen += len(page)
            if seen > SCAN_LIMIT:
                break
            for position, row in enumerate(page):
                if position % _ROWS_AT_ONCE == 0:
                    # Others have their turn, and a time-out can end this.
                    await asyncio.sleep(0)
                if _selects(remainder, row):
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
            if locked is not None and _selects(condition, locked):
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


def _selects(condition: Condition, row: Row) -> bool:
    try:
        return holds(condition, row) is True
    except PatternTooExpensiveError:
        raise InvalidArgumentsError(
            "filter: a pattern with _ takes too long on these texts. Use fewer _ or a longer "
            "piece of text.",
            field="filter",
        ) from None


async def _existing(transaction: NodeTransaction, model: Model, key: Any) -> Row:
    row = await transaction.fetch(model, key)
    if row is None:
        raise _missing(model, key)
    return row


def _missing(model: Model, key: Any) -> NotFoundError:
    shown = model.key.type.to_json(key)
    return NotFoundError(
        f"There is no {model.name} with the id {shown!r}. Find ids with {model.name}_list. "
        "Nothing was changed.",
        field="id",
        details={"id": shown},
    )


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
