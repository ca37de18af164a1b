"""The operations on records in SQL, on a database or within an open transaction."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from kailash_mcp_prod.errors import ConflictError
from kailash_mcp_prod.records.aggregates import Aggregation, Groups
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.pacing import paced
from kailash_mcp_prod.records.paging import following
from kailash_mcp_prod.records.query import All, Comparison, Condition, Query
from kailash_mcp_prod.records.reach import reach_of
from kailash_mcp_prod.records.refusals import ContentionError, check_expected, missing
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.sql.database import Rows, Runner, Session
from kailash_mcp_prod.records.sql.page import SqlPage
from kailash_mcp_prod.records.sql.table import TableSql
from kailash_mcp_prod.records.sql.upserting import upsert_rows
from kailash_mcp_prod.records.sql.writing import (
    KEYS_AT_ONCE,
    delete_rows,
    insert_rows,
    lock_keys,
    lock_matching,
    slices,
    update_rows,
    within,
)
from kailash_mcp_prod.records.store import Upserted

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.02

Result = TypeVar("Result")


class SqlRecords:
    """`Records` on the tables of DataFlow.

    Args:
        runner: Runs the statements.
        tables: The statements of each model, by its name.
        in_transaction: Whether `runner` is an open transaction, which can't be tried again.
    """

    def __init__(
        self, runner: Runner, tables: Mapping[str, TableSql], *, in_transaction: bool = False
    ) -> None:
        self._runner = runner
        self._tables = tables
        self._attempts = 1 if in_transaction else _ATTEMPTS

    async def create(self, model: Model, row: Row, scope: Scope = OPEN) -> Row:
        """See `Records.create`."""
        table, scope = self._tables[model.name], reach_of(model, scope)
        stored = await self._runner.write(table, *table.insert({**row, **scope.values}))
        return table.rows(table.visible, stored)[0]

    async def read(
        self, model: Model, key: Any, scope: Scope = OPEN, fields: tuple[str, ...] | None = None
    ) -> Row:
        """See `Records.read`."""
        table, scope = self._tables[model.name], reach_of(model, scope)
        names = fields or table.visible
        stored = await self._runner.read(table, *table.select(names, _is(model, key, scope)))
        if not stored:
            raise missing(model, key)
        return table.rows(names, stored)[0]

    async def update(
        self, model: Model, key: Any, changes: Row, expected: Row, scope: Scope = OPEN
    ) -> Row:
        """See `Records.update`."""
        table, scope = self._tables[model.name], reach_of(model, scope)
        change = table.update(_is(model, key, scope), changes, table.visible)
        if not expected:
            stored = await self._runner.write(table, *change)
            if not stored:
                raise missing(model, key)
            return table.rows(table.visible, stored)[0]

        async def work(session: Session) -> Row:
            text, arguments = table.select(tuple(expected), _is(model, key, scope), lock=True)
            current = table.rows(tuple(expected), await session.read(table, text, arguments))
            if not current:
                raise missing(model, key)
            check_expected(model, current[0], expected)
            return table.rows(table.visible, await session.write(table, *change))[0]

        return await self._atomically(work)

    async def delete(self, model: Model, key: Any, scope: Scope = OPEN) -> None:
        """See `Records.delete`."""
        table, scope = self._tables[model.name], reach_of(model, scope)
        if not await self._runner.write(table, *table.delete(_is(model, key, scope))):
            raise missing(model, key)

    async def find(self, model: Model, query: Query, scope: Scope = OPEN) -> SqlPage:
        """See `Records.find`."""
        table, scope = self._tables[model.name], reach_of(model, scope)
        fields = table.visible if query.fields is None else query.fields
        page = SqlPage(table, fields, tuple(each.field.name for each in query.sort), query.limit)
        condition = within(query.condition, scope)
        offset = query.offset
        while True:
            limit = page.rows_to_ask
            text, arguments = table.select(
                page.columns, condition, sort=query.sort, limit=limit, offset=offset
            )
            stored = await self._runner.read(table, text, arguments)
            if not page.add(stored) or len(stored) < limit:
                return page
            last = page.last()
            after = following(query.sort, [last[each.field.name] for each in query.sort])
            condition = within(All((query.condition, after)), scope)
            offset = 0

    async def count(self, model: Model, condition: Condition, scope: Scope = OPEN) -> int:
        """See `Records.count`."""
        table, scope = self._tables[model.name], reach_of(model, scope)
        counted = await self._runner.read(table, *table.count(within(condition, scope)))
        return int(counted[0][0])

    async def aggregate(
        self, model: Model, aggregation: Aggregation, scope: Scope = OPEN
    ) -> Groups:
        """See `Records.aggregate`."""
        table, scope = self._tables[model.name], reach_of(model, scope)
        condition = within(aggregation.condition, scope)
        stored = await self._runner.read(table, *table.aggregate(condition, aggregation))
        return await paced(table.grouping.read(aggregation, stored, table.unreadable))

    async def create_many(
        self, model: Model, rows: Sequence[Row], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.create_many`."""
        table, scope = self._tables[model.name], reach_of(model, scope)
        return await self._again(partial(insert_rows, self._runner, table, rows, scope.values))

    async def update_many(
        self, model: Model, changes: Sequence[tuple[Any, Row]], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.update_many`."""
        table, scope = self._tables[model.name], reach_of(model, scope)
        keys = [key for key, _ in changes]

        async def work(session: Session) -> list[Any]:
            await lock_keys(session, table, keys, scope)
            await update_rows(session, table, changes)
            return keys

        return await self._atomically(work)

    async def update_where(
        self, model: Model, condition: Condition, changes: Row, scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.update_where`."""
        table, scope = self._tables[model.name], reach_of(model, scope)

        async def work(session: Session) -> list[Any]:
            keys = await lock_matching(session, table, within(condition, scope))
            for some in slices(keys, KEYS_AT_ONCE):
                chosen = Comparison(model.key, "$in", some)
                await session.write(table, *table.update(chosen, changes, ("id",)))
            return keys

        return await self._atomically(work)

    async def delete_many(
        self, model: Model, keys: Sequence[Any], scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.delete_many`."""
        table, scope = self._tables[model.name], reach_of(model, scope)

        async def work(session: Session) -> list[Any]:
            await lock_keys(session, table, keys, scope)
            await delete_rows(session, table, keys)
            return list(keys)

        return await self._atomically(work)

    async def delete_where(
        self, model: Model, condition: Condition, scope: Scope = OPEN
    ) -> list[Any]:
        """See `Records.delete_where`."""
        table, scope = self._tables[model.name], reach_of(model, scope)

        async def work(session: Session) -> list[Any]:
            keys = await lock_matching(session, table, within(condition, scope))
            await delete_rows(session, table, keys)
            return keys

        return await self._atomically(work)

    async def upsert(
        self, model: Model, row: Row, conflict_on: tuple[str, ...], scope: Scope = OPEN
    ) -> tuple[Row, bool]:
        """See `Records.upsert`."""
        table, scope = self._tables[model.name], reach_of(model, scope)

        async def work(session: Session) -> tuple[Row, bool]:
            [outcome] = await upsert_rows(session, table, [row], conflict_on, scope)
            chosen = Comparison(model.key, "$eq", outcome.id)
            stored = await session.read(table, *table.select(table.visible, chosen))
            return table.rows(table.visible, stored)[0], outcome.created

        return await self._atomically(work, made_meanwhile=conflict_on)

    async def upsert_many(
        self,
        model: Model,
        rows: Sequence[Row],
        conflict_on: tuple[str, ...],
        scope: Scope = OPEN,
    ) -> list[Upserted]:
        """See `Records.upsert_many`."""
        table, scope = self._tables[model.name], reach_of(model, scope)

        async def work(session: Session) -> list[Upserted]:
            return await upsert_rows(session, table, rows, conflict_on, scope)

        return await self._atomically(work, made_meanwhile=conflict_on)

    async def statement(self, text: str, values: Sequence[Any]) -> Rows:
        """See `Transaction.statement`."""
        return await self._runner.write(None, text, values)

    async def statements(self, several: Sequence[tuple[str, Sequence[Any]]]) -> Sequence[Rows]:
        """See `Transaction.statements`."""
        async with self._runner.atomic() as session:
            return await session.write_all(several)

    async def _atomically(
        self,
        work: Callable[[Session], Awaitable[Result]],
        made_meanwhile: tuple[str, ...] | None = None,
    ) -> Result:
        """Does work in a transaction; see `_again`."""

        async def attempt() -> Result:
            async with self._runner.atomic() as session:
                return await work(session)

        return await self._again(attempt, made_meanwhile)

    async def _again(
        self,
        work: Callable[[], Awaitable[Result]],
        made_meanwhile: tuple[str, ...] | None = None,
    ) -> Result:
        """Does work that is all or nothing, again when another writer was in its way.

        Args:
            work: What to do; it must not matter how often.
            made_meanwhile: A unique key by which `work` looks for records: when it is taken,
                another writer has made the record since, and now it can be found.
        """
        for attempt in range(1, self._attempts):
            try:
                return await work()
            except ContentionError:
                pass
            except ConflictError as conflict:
                taken = (conflict.details or {}).get("unique_key")
                if made_meanwhile is None or taken != [*made_meanwhile]:
                    raise
            await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311 - no secret
        return await work()


def _is(model: Model, key: Any, scope: Scope) -> Condition:
    return within(Comparison(model.key, "$eq", key), scope)
