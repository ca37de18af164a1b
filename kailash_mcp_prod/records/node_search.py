"""Looks for the rows of a table that match a condition.

What DataFlow's nodes can't filter or sort by right (combinations, patterns, decimals, nulls) is
evaluated here on at most `SCAN_LIMIT` rows that the rest of the condition selects.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.aggregates import Aggregation, Group, Groups
from kailash_mcp_prod.records.model import Row
from kailash_mcp_prod.records.node_filters import native_order, split
from kailash_mcp_prod.records.node_table import NodeTable
from kailash_mcp_prod.records.pages import cut, shown_fields, size
from kailash_mcp_prod.records.query import (
    All,
    Condition,
    Page,
    PatternTooExpensiveError,
    Query,
    holds,
    sort_rows,
)
from kailash_mcp_prod.records.store import MAX_PAGE_BYTES
from kailash_mcp_prod.records.tallies import Tallies

SCAN_LIMIT = 10_000
_ROWS_PER_NODE = 250
_ROWS_AT_ONCE = 25


class NodeSearch:
    """The rows of a table that match a condition.

    Every method may raise `InvalidArgumentsError`, when more than `SCAN_LIMIT` rows would have to
    be looked at.

    Args:
        table: The table.
        condition: The condition.
    """

    def __init__(self, table: NodeTable, condition: Condition) -> None:
        self._table = table
        parts = split(condition, table.dialect, orders_texts=table.orders_texts)
        self._where = parts.where
        self._rest = All(parts.rest)

    async def count(self) -> int:
        """How many rows match."""
        if not self._rest.parts:
            return await self._table.count(self._where)
        return sum([1 async for _ in self._stream(["id"])])

    async def aggregate(self, asked: Aggregation) -> Groups:
        """The groups that an aggregation asks for; its condition is not looked at."""
        if not asked.group_by and not asked.measures:
            return Groups([Group((), await self.count(), ())], more=False)
        tallies = Tallies(asked)
        async for row in self._stream(["id"]):
            with self._table.reading():
                tallies.add(row)
        return tallies.groups()

    async def keys(self, at_most: int) -> list[Any]:
        """The keys of the first rows that match, in order."""
        keys: list[Any] = []
        async with aclosing(self._stream(["id"], at_most=at_most)) as rows:
            async for row in rows:
                keys.append(row["id"])
                if len(keys) == at_most:
                    break
        return keys

    async def page(self, query: Query) -> Page:
        """The page of the matching rows that a query asks for; its condition is not looked at."""
        model = self._table.model
        wanted = query.limit + 1
        order = native_order(query.sort, self._table.dialect, orders_texts=self._table.orders_texts)
        if order is None:
            rows = [_part(row, query) async for row in self._stream(["id"])]
            rows = sort_rows(rows, query.sort)[query.offset : query.offset + wanted]
            return cut(model, query, rows)
        # The database can only leave out what it selects by itself.
        offset = 0 if self._rest.parts else query.offset
        left_out = query.offset - offset
        rows, held = [], 0
        async with aclosing(self._stream(order, at_most=wanted, offset=offset)) as stream:
            async for row in stream:
                if left_out:
                    left_out -= 1
                    continue
                rows.append(_part(row, query))
                held += size(row, shown_fields(model, query))
                if len(rows) == wanted or held > MAX_PAGE_BYTES:
                    break
        return cut(model, query, rows)

    async def _stream(
        self, order: list[str], *, at_most: int = SCAN_LIMIT, offset: int = 0
    ) -> AsyncGenerator[Row]:
        """The rows that match, in an order of the database's own.

        Args:
            order: The order, in DataFlow's form.
            at_most: How many are wanted.
            offset: How many to leave out of those that the database selects.
        """
        where = self._where
        limit = _ROWS_PER_NODE if self._rest.parts else min(at_most, _ROWS_PER_NODE)
        seen = 0
        while True:
            found = await self._table.select(where, order, limit, offset)
            seen += len(found)
            if seen > SCAN_LIMIT:
                break
            for position, row in enumerate(found):
                if position % _ROWS_AT_ONCE == 0:
                    # Others have their turn, and a time-out can end this.
                    await asyncio.sleep(0)
                if selects(self._rest, row):
                    yield row
            if len(found) < limit:
                return
            if order == ["id"]:
                # Other writers may add and delete rows before it meanwhile.
                where, offset = self._behind(found[-1]["id"]), 0
            else:
                offset += limit
        raise InvalidArgumentsError(
            f"This would look at more than {SCAN_LIMIT} records of {self._table.model.name}. Add a "
            "plain comparison of another field to the filter, or sort by id.",
            field="filter",
        )

    def _behind(self, key: Any) -> dict[str, dict[str, Any]]:
        """The filter for the rows behind a key, which is itself behind what the filter asks for."""
        behind = {"$gt": self._table.model.key.type.to_column(key)}
        return {**self._where, "id": {**self._where.get("id", {}), **behind}}


def selects(condition: Condition, row: Row) -> bool:
    """Whether the condition is true of a row.

    Raises:
        InvalidArgumentsError: A pattern would take too long.
    """
    try:
        return holds(condition, row) is True
    except PatternTooExpensiveError:
        raise InvalidArgumentsError(
            "filter: a pattern with _ takes too long on these texts. Use fewer _ or a longer "
            "piece of text.",
            field="filter",
        ) from None


def _part(row: Row, query: Query) -> Row:
    """What is needed of a row; the rest may be large."""
    if query.fields is None:
        return row
    needed = {*query.fields, *(each.field.name for each in query.sort)}
    return {name: value for name, value in row.items() if name in needed}
