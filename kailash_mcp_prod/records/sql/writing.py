"""Many records at once, in an open transaction and few statements."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kailash_mcp_prod.records.arguments import MAX_BULK_ROWS
from kailash_mcp_prod.records.model import Row
from kailash_mcp_prod.records.query import All, Comparison, Condition, Sort
from kailash_mcp_prod.records.refusals import missing, too_many_rows
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.sql.database import Runner, Session
from kailash_mcp_prod.records.sql.table import TableSql

KEYS_AT_ONCE = 500
_ROWS_IN_A_STRETCH = 250


def within(condition: Condition, scope: Scope) -> Condition:
    """The condition, within a scope."""
    return condition if scope is OPEN else All((condition, scope.rows))


def slices(values: Sequence[Any], length: int) -> Iterator[list[Any]]:
    """The values in lists of at most that length."""
    for start in range(0, len(values), length):
        yield list(values[start : start + length])


async def _parameters(
    table: TableSql, names: tuple[str, ...], rows: Sequence[Row]
) -> list[Sequence[Any]]:
    parameters: list[Sequence[Any]] = []
    for some in slices(rows, _ROWS_IN_A_STRETCH):
        parameters += table.parameters(names, some)
        await asyncio.sleep(0)
    return parameters


async def insert_rows(
    runner: Runner, table: TableSql, rows: Sequence[Row], constants: Mapping[str, Any]
) -> list[Any]:
    """Inserts complete rows and returns their keys in order."""
    rows = [{**row, **constants} for row in rows] if constants else rows
    names = table.ordered(rows[0])
    made = await runner.insert_rows(table, names, await _parameters(table, names, rows))
    return made if table.model.generates_key else [row["id"] for row in rows]


async def update_rows(
    session: Session, table: TableSql, changes: Sequence[tuple[Any, Row]]
) -> None:
    """Changes records that are locked, those with the same fields together."""
    alike: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for key, change in changes:
        alike[table.ordered(change)].append({**change, "id": key})
    for names, rows in alike.items():
        await session.update_rows(table, names, await _parameters(table, (*names, "id"), rows))


async def delete_rows(session: Session, table: TableSql, keys: Sequence[Any]) -> None:
    """Deletes records that are locked."""
    for some in slices(keys, KEYS_AT_ONCE):
        await session.write(table, *table.delete(Comparison(table.model.key, "$in", some)))


async def lock_keys(session: Session, table: TableSql, keys: Sequence[Any], scope: Scope) -> None:
    """Locks the records with these keys, in one order for all writers; refuses if one is absent."""
    key_field = table.model.key
    found: set[Any] = set()
    # In order, so that writers wait for each other and never in a circle.
    for some in slices(sorted(keys), KEYS_AT_ONCE):
        chosen = within(Comparison(key_field, "$in", some), scope)
        statement = table.select(("id",), chosen, sort=(Sort(key_field),), lock=True)
        found.update(each[0] for each in await session.read(table, *statement))
    for key in keys:
        if key not in found:
            raise missing(table.model, key)


async def lock_matching(session: Session, table: TableSql, condition: Condition) -> list[Any]:
    """Locks the records that match and returns their keys; refuses more than one call may take."""
    by_key = (Sort(table.model.key),)
    statement = table.select(("id",), condition, sort=by_key, limit=MAX_BULK_ROWS + 1, lock=True)
    keys = [each[0] for each in await session.read(table, *statement)]
    if len(keys) > MAX_BULK_ROWS:
        raise too_many_rows(table.model)
    return keys
