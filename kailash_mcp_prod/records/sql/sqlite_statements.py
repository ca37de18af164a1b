"""What the threads of SQLite do with their connections: statements one by one, and many rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from kailash_mcp_prod.records.sql.database import Rows, Statement
from kailash_mcp_prod.records.sql.table import TableSql

_VALUES_TOGETHER = 200


def execute(text: str, arguments: Sequence[Any], connection: sqlite3.Connection) -> list[Any]:
    """The rows of a statement."""
    return connection.execute(text, arguments).fetchall()


def execute_all(statements: Sequence[Statement], connection: sqlite3.Connection) -> list[Rows]:
    """The rows of each of several statements."""
    return [execute(text, values, connection) for text, values in statements]


def execute_chain(
    first: Statement,
    then: Callable[[Rows], Sequence[Statement]],
    connection: sqlite3.Connection,
) -> None:
    """Runs a statement, and those that a function makes of its rows."""
    execute_all(then(execute(*first, connection)), connection)


def execute_many(
    text: str, rows: Sequence[Sequence[Any]], connection: sqlite3.Connection
) -> list[Any]:
    """Runs a statement for each of several rows of parameters."""
    connection.executemany(text, rows)
    return []


def insertion(
    table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> Callable[[sqlite3.Connection], list[Any]]:
    """What inserts rows, and returns their keys if the database makes them."""
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
