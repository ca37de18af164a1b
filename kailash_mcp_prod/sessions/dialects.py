"""What the two databases of the state say in their own ways: the time, locks, upserts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Double, Select, Table, cast, extract, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


def on_postgresql(connection: AsyncConnection) -> bool:
    """Whether the database is PostgreSQL; else it is SQLite."""
    return connection.dialect.name == "postgresql"


def now_of(connection: AsyncConnection) -> ColumnElement[float]:
    """Unix seconds at this moment, as an expression.

    A file of SQLite has all of its users on one machine, whose clock is as good.
    """
    if on_postgresql(connection):
        return cast(extract("epoch", func.clock_timestamp()), Double)
    return literal(time.time(), Double)


def locked(statement: Select[Any], connection: AsyncConnection, *tables: Any) -> Select[Any]:
    """The statement, holding its rows of these tables until the transaction ends.

    On SQLite a transaction that writes is alone anyway.
    """
    return statement.with_for_update(of=tables) if on_postgresql(connection) else statement


async def take_turn(connection: AsyncConnection, digest: str) -> None:
    """Waits until no other transaction counts the things of the same owner.

    Args:
        connection: The transaction.
        digest: Of the owner.
    """
    if on_postgresql(connection):
        number = int(digest[:15], 16)
        await connection.execute(select(func.pg_advisory_xact_lock(number)))


async def upsert(
    connection: AsyncConnection, table: Table, key: Mapping[str, Any], row: Mapping[str, Any]
) -> None:
    """Stores a row under its key, in place of the one that is there."""
    make: Callable[[Table], Any] = postgresql.insert if on_postgresql(connection) else sqlite.insert
    statement = make(table).values(**key, **row)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=list(key), set_=dict(row))
    )
