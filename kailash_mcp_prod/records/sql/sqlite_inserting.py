"""How rows are inserted in SQLite: by the fewest statements that there can be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from kailash_mcp_prod.records.sql.table import TableSql

_VALUES_TOGETHER = 200


def execute_many(
    text: str, rows: Sequence[Sequence[Any]], connection: sqlite3.Connection
) -> list[Any]:
    """Runs a statement once for each row."""
    connection.executemany(text, rows)
    return []


def insertion(
    table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> Callable[[sqlite3.Connection], list[Any]]:
    """What inserts rows of parameters, and returns the keys if the database makes them."""
    each = table.insert_each(names)
    if table.model.generates_key:
        # What RETURNING gives for many rows is in no set order.
        return partial(_insert_with_keys, each, rows)
    together = max(1, _VALUES_TOGETHER // len(names))
    if len(rows) < 2 * together:
        return partial(execute_many, each, rows)
    return partial(_insert_together, table.insert_each(names, together), together, each, rows)


def _insert_with_keys(
    text: str, rows: Sequence[Sequence[Any]], connection: sqlite3.Connection
) -> list[Any]:
    return [connection.execute(text, row).fetchone()[0] for row in rows]


def _insert_together(
    text: str,
    together: int,
    each: str,
    rows: Sequence[Sequence[Any]],
    connection: sqlite3.Connection,
) -> list[Any]:
    """Rows in groups and what is left one by one: SQLite takes a fifth less time for that."""
    rest = len(rows) - len(rows) % together
    groups = (rows[start : start + together] for start in range(0, rest, together))
    connection.executemany(text, (list(chain.from_iterable(group)) for group in groups))
    return execute_many(each, rows[rest:], connection)
