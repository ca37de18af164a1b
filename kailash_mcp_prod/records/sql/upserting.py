"""Upserts in an open transaction: what is there is locked, then changed, and the rest made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kailash_mcp_prod.records.model import Field, Row
from kailash_mcp_prod.records.query import All, AnyOf, Comparison, Condition, Sort
from kailash_mcp_prod.records.refusals import other_id
from kailash_mcp_prod.records.scope import Scope
from kailash_mcp_prod.records.sql.database import Session
from kailash_mcp_prod.records.sql.table import TableSql
from kailash_mcp_prod.records.sql.writing import (
    KEYS_AT_ONCE,
    insert_rows,
    slices,
    update_rows,
    within,
)
from kailash_mcp_prod.records.store import Upserted

_COMBINATIONS_AT_ONCE = 32


async def upsert_rows(
    session: Session,
    table: TableSql,
    rows: Sequence[Row],
    conflict_on: tuple[str, ...],
    scope: Scope,
) -> list[Upserted]:
    """Changes the records that have the same unique key, creates the others.

    Raises:
        ConflictError: Another writer has made one of them meanwhile, or an id is not the record's.
    """
    model = table.model
    complete = model.complete_all(rows)
    # A new key is nobody's yet, so a row that gives none is not looked for by it.
    sought = [
        tuple(each[name] for name in conflict_on)
        for row, each in zip(rows, complete, strict=True)
        if conflict_on != ("id",) or "id" in row
    ]
    existing = await _lock_by_values(session, table, conflict_on, sought, scope)
    outcomes: list[Upserted | None] = []
    changes: list[tuple[Any, Row]] = []
    new: list[Row] = []
    for given, row in zip(rows, complete, strict=True):
        key = existing.get(tuple(row[name] for name in conflict_on))
        if key is None:
            new.append(row)
            outcomes.append(None)
            continue
        if given.get("id", key) != key:
            raise other_id(model, conflict_on)
        change = {name: value for name, value in given.items() if name != "id"}
        if change:
            changes.append((key, change))
        outcomes.append(Upserted(key, created=False))
    await update_rows(session, table, changes)
    made = iter(await insert_rows(session, table, new, scope.values) if new else ())
    return [each or Upserted(next(made), created=True) for each in outcomes]


async def _lock_by_values(
    session: Session,
    table: TableSql,
    unique: tuple[str, ...],
    sought: Sequence[tuple[Any, ...]],
    scope: Scope,
) -> dict[tuple[Any, ...], Any]:
    """Locks the records that have one of these unique keys; returns their `id` by it."""
    fields = [table.field(name) for name in unique]
    names = ("id", *(name for name in unique if name != "id"))
    found: dict[tuple[Any, ...], Any] = {}
    in_order = sorted(sought, key=repr)
    for some in slices(in_order, KEYS_AT_ONCE if len(unique) == 1 else _COMBINATIONS_AT_ONCE):
        condition: Condition
        if len(unique) == 1:
            condition = Comparison(fields[0], "$in", [values[0] for values in some])
        else:
            # Filled up with repetitions, so that any number makes one statement.
            padded = some + [some[-1]] * (_COMBINATIONS_AT_ONCE - len(some))
            condition = AnyOf(tuple(_holding(fields, values) for values in padded))
        statement = table.select(
            names, within(condition, scope), sort=(Sort(table.model.key),), lock=True
        )
        for row in table.rows(names, await session.read(table, *statement)):
            found[tuple(row[name] for name in unique)] = row["id"]
    return found


def _holding(fields: Sequence[Field], values: Sequence[Any]) -> Condition:
    pairs = zip(fields, values, strict=True)
    return All(tuple(Comparison(field, "$eq", value) for field, value in pairs))
