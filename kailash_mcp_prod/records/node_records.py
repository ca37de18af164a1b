"""`NodeRecords`: the operations on records in one open transaction of DataFlow's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kailash_mcp_prod.errors import ConflictError, NotFoundError, ServerError
from kailash_mcp_prod.records.aggregates import Aggregation, Groups
from kailash_mcp_prod.records.arguments import MAX_BULK_ROWS
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.node_search import NodeSearch, selects
from kailash_mcp_prod.records.node_table import NodeTable
from kailash_mcp_prod.records.node_transaction import NodeTransaction
from kailash_mcp_prod.records.query import EVERYTHING, All, Comparison, Condition, Page, Query
from kailash_mcp_prod.records.reach import reach_of
from kailash_mcp_prod.records.refusals import (
    check_expected,
    missing,
    other_id,
    too_many_rows,
)
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.store import Upserted

_ATTEMPTS = 3


class NodeRecords:
    """Runs every operation through DataFlow's nodes.

    Args:
        transaction: The open transaction; whoever opened it ends it.
    """

    def __init__(self, transaction: NodeTransaction) -> None:
        self._transaction = transaction

    async def create(self, model: Model, row: Row, scope: Scope = OPEN) -> Row:
        """See `Records.create`."""
        with self._whole():
            reach = self._reach(model, scope)
            return await reach.stored(await reach.insert(row))

    async def read(
        self,
        model: Model,
        key: Any,
        scope: Scope = OPEN,
        fields: tuple[str, ...] | None = None,  # noqa: ARG002 - DataFlow's nodes read all
    ) -> Row:
        """See `Records.read`."""
        reach = self._reach(model, scope)
        return reach.shown(await reach.existing(key))

    async def update(
        self, model: Model, key: Any, changes: Row, expected: Row, scope: Scope = OPEN
    ) -> Row:
        """See `Records.update`."""
        with self._whole():
            reach = self._reach(model, scope)
            await reach.change(key, changes, expected)
            return await reach.stored(key)

    async def delete(self, model: Model, key: Any, scope: Scope = OPEN) -> None:
        """See `Records.delete`."""
        await self.delete_many(model, [key], scope)

    async def find(self, model: Model, query: Query, scope: Scope = OPEN) -> Page:
        """See `Records.find`."""
        reach = self._reach(model, scope)
        page = await reach.search(query.condition).page(query)
        return Page([reach.shown(row) for row in page.rows], page.more)

    async def count(self, model: Model, condition: Condition, scope: Scope = OPEN) -> int:
        """See `Records.count`."""
        return await self._reach(model, scope).search(condition).count()

    async def aggregate(
        self, model: Model, aggregation: Aggregation, scope: Scope = OPEN
    ) -> Groups:
        """See `Records.aggregate`."""
        return await self._reach(model, scope).search(aggregation.condition).aggregate(aggregation)

    async def create_many(
        self, model: Model, rows: Sequence[Row], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.create_many`."""
        with self._whole():
            reach = self._reach(model, scope)
            return [await reach.insert(row) for row in rows]

    async def update_many(
        self, model: Model, changes: Sequence[tuple[Any, Row]], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.update_many`."""
        with self._whole():
            reach = self._reach(model, scope)
            # One order for all writers, so that they wait for each other and never in a circle.
            for key, change in sorted(changes, key=lambda each: str(each[0])):
                await reach.change(key, change, {})
            return [key for key, _ in changes]

    async def update_where(
        self, model: Model, condition: Condition, changes: Row, scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.update_where`."""
        with self._whole():
            reach = self._reach(model, scope)
            keys = await reach.lock_matching(condition)
            for key in keys:
                await reach.table.change(key, changes)
            return keys

    async def delete_many(
        self, model: Model, keys: Sequence[Any], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.delete_many`."""
        with self._whole():
            reach = self._reach(model, scope)
            for key in sorted(keys, key=str):
                await reach.table.lock(key)
                await reach.require(key)
                await reach.table.remove(key)
            return list(keys)

    async def delete_where(
        self, model: Model, condition: Condition, scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.delete_where`."""
        with self._whole():
            reach = self._reach(model, scope)
            keys = await reach.lock_matching(condition)
            for key in keys:
                await reach.table.remove(key)
            return keys

    async def upsert(
        self, model: Model, row: Row, conflict_on: tuple[str, ...], scope: Scope = OPEN
    ) -> tuple[Row, bool]:
        """See `Records.upsert`."""
        [outcome] = await self.upsert_many(model, [row], conflict_on, scope)
        return await self._reach(model, scope).stored(outcome.id), outcome.created

    async def upsert_many(
        self,
        model: Model,
        rows: Sequence[Row],
        conflict_on: tuple[str, ...],
        scope: Scope = OPEN,
    ) -> list[Upserted]:
        """See `Records.upsert_many`."""

        def key_text(position: int) -> str:
            return repr([rows[position].get(name) for name in conflict_on])

        with self._whole():
            reach = self._reach(model, scope)
            outcomes: dict[int, Upserted] = {}
            if len(rows) > 1:
                await reach.lock_unique(rows, conflict_on)
            # What is new has one order too.
            for position in sorted(range(len(rows)), key=key_text):
                outcomes[position] = await reach.upsert(rows[position], conflict_on)
            return [outcomes[position] for position in range(len(rows))]

    async def statement(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """See `Transaction.statement`."""
        return await self._transaction.statement(text, values)

    async def statements(
        self, several: Sequence[tuple[str, Sequence[Any]]]
    ) -> list[Sequence[Sequence[Any]]]:
        """See `Transaction.statements`."""
        return [await self.statement(text, values) for text, values in several]

    def _reach(self, model: Model, scope: Scope) -> _Reach:
        return _Reach(self._transaction, model, scope)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Makes a write that fails half way the end of the transaction."""
        try:
            yield
        except BaseException as failure:
            self._transaction.fail(failure)
            raise


class _Reach:
    """The rows of one model that a caller may reach.

    Raises:
        ForbiddenError: The model has tenants, and the scope names none.
    """

    def __init__(self, transaction: NodeTransaction, model: Model, scope: Scope) -> None:
        scope = reach_of(model, scope)
        tenant = None if model.tenant is None else scope.values[model.tenant.name]
        self.table = NodeTable(transaction, model, tenant)
        self._model = model
        self._rows = scope.rows
        self._values = scope.values

    def search(self, condition: Condition = EVERYTHING) -> NodeSearch:
        """A search among them."""
        return NodeSearch(self.table, All((self._rows, condition)))

    def shown(self, row: Row) -> Row:
        """A row without the hidden fields."""
        tenant = self._model.tenant
        if tenant is None:
            return row
        return {name: value for name, value in row.items() if name != tenant.name}

    async def stored(self, key: Any) -> Row:
        """What is stored of a row that was just written."""
        row = await self.table.fetch(key)
        if row is None:
            raise missing(self._model, key)
        return self.shown(row)

    async def existing(self, key: Any) -> Row:
        """The row with that key."""
        row = await self.table.fetch(key)
        if row is None or not selects(self._rows, row):
            raise missing(self._model, key)
        return row

    async def require(self, key: Any) -> None:
        """Refuses a key that is not there; the row need not be readable."""
        if not await self.search(Comparison(self._model.key, "$eq", key)).count():
            raise missing(self._model, key)

    async def insert(self, row: Row) -> Any:
        """Inserts a row of the caller's and returns its key."""
        return await self.table.insert({**row, **self._values})

    async def change(self, key: Any, changes: Row, expected: Row) -> None:
        """Changes a row, if it still holds the expected values."""
        await self.table.lock(key)
        check_expected(self._model, await self.existing(key), expected)
        await self.table.change(key, changes)

    async def lock_matching(self, condition: Condition) -> list[Any]:
        """Locks the rows that match, and returns their keys."""
        keys = await self.search(condition).keys(MAX_BULK_ROWS + 1)
        if len(keys) > MAX_BULK_ROWS:
            raise too_many_rows(self._model)
        locked = []
        # The order of `update_many`, which the database's own need not be.
        for key in sorted(keys, key=str):
            await self.table.lock(key)
            # Another writer may have changed the row before we held it.
            row = await self.table.fetch(key)
            if row is not None and selects(All((self._rows, condition)), row):
                locked.append(key)
        return locked

    async def lock_unique(self, rows: Sequence[Row], conflict_on: tuple[str, ...]) -> None:
        """Locks the rows that have the unique keys of these, in the order of `update_many`."""
        if self.table.dialect != "postgresql":
            return
        keys = set()
        for given in rows:
            if conflict_on != ("id",) or "id" in given:
                complete = {**self._model.complete(given), **self._values}
                keys.add(await self._key_of(complete, conflict_on))
        for key in sorted(keys - {None}, key=str):
            await self.table.lock(key)

    async def upsert(self, given: Row, conflict_on: tuple[str, ...]) -> Upserted:
        """Changes the row that has the same unique key, or creates it."""
        complete = {**self._model.complete(given), **self._values}
        if conflict_on == ("id",) and "id" not in given:
            return Upserted(await self.insert(complete), created=True)
        for _ in range(_ATTEMPTS):
            key = await self._key_of(complete, conflict_on)
            try:
                if key is not None:
                    await self._merge(key, given, conflict_on)
                    return Upserted(key, created=False)
                async with self.table.savepoint():
                    return Upserted(await self.insert(complete), created=True)
            except NotFoundError as gone:
                failure: ServerError = gone
            except ConflictError as conflict:
                # Another writer may have made the row since, and now it can be found.
                if (conflict.details or {}).get("unique_key") != [*conflict_on]:
                    raise
                failure = conflict
        raise failure

    async def _merge(self, key: Any, given: Row, conflict_on: tuple[str, ...]) -> None:
        if given.get("id", key) != key:
            raise other_id(self._model, conflict_on)
        changes = {name: value for name, value in given.items() if name != "id"}
        if changes:
            await self.change(key, changes, {})

    async def _key_of(self, row: Row, unique: tuple[str, ...]) -> Any:
        parts = [
            Comparison(field, "$eq", row[name])
            for name in unique
            if (field := self._model.field(name)) is not None
        ]
        found = await self.search(All(tuple(parts))).keys(1)
        return found[0] if found else None
