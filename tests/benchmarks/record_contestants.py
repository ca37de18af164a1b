"""The contestants of the record benchmark: our stores, and the drivers without anything."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import uuid4

import aiosqlite
import asyncpg
import psycopg2
from dataflow import DataFlow

from kailash_mcp_prod.records.executor import RecordOperation
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.prepare import Prepared, prepare_database
from kailash_mcp_prod.records.sql.database import PoolSettings
from kailash_mcp_prod.records.stores import Choice, ModelStores
from tests.benchmarks.harness import Call
from tests.postgres import PostgresServer

Json = dict[str, Any]

PAGE_ROWS = 20
POOL_SIZE = 20


class BenchItem:
    """An item of ten columns, of the types that models have most."""

    id: str
    name: str
    note: str
    category: str
    qty: int
    weight: float
    active: bool
    due: datetime
    price: Decimal
    attributes: dict  # type: ignore[type-arg]


COLUMNS = tuple(BenchItem.__annotations__)
# DataFlow keeps two more, and our records show them.
SHOWN = ", ".join((*COLUMNS, "created_at", "updated_at"))


def item(number: int, category: str = "seed") -> Json:
    """The arguments of a new item, without its id."""
    due = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number % 100_000)
    return {
        "name": f"Item {number}",
        "note": f"Kept on shelf {number % 97}, ordered again by the one who takes the last.",
        "category": category,
        "qty": number % 1_000,
        "weight": (number % 400) / 4,
        "active": number % 3 > 0,
        "due": due.isoformat(),
        "price": f"{number % 500}.{number % 100:02}",
        "attributes": {"colour": "green", "sizes": [number % 7, 40, 42], "origin": {"land": "NL"}},
    }


async def prepared_database(url: str) -> tuple[Any, Prepared]:
    """A DataFlow instance with the model, and its table in the database."""
    db = DataFlow(url, pool_size=POOL_SIZE, enable_caching=False, enable_model_persistence=False)
    db.model(BenchItem)
    return db, await prepare_database(db)


class Contestant(Protocol):
    """Makes calls, which are made beforehand, so that they can be timed alone."""

    def read(self, key: str) -> Call: ...

    def create(self, given: Json) -> Call: ...

    def update(self, key: str, number: int) -> Call: ...

    def page(self, least: int) -> Call:
        """The first items by id with at least this quantity."""

    def bulk(self, given: Sequence[Json]) -> Call: ...

    async def clear(self, category: str) -> None:
        """Deletes the items of a category, 1,000 at most."""


class StoreContestant:
    """The whole call of a store: validation, statement, and the shaping of the result."""

    def __init__(self, stores: ModelStores, prepared: Prepared) -> None:
        [model] = prepared.models
        store = stores.add(model, prepared.tables[model.name])
        self.operations = {each: RecordOperation(store, model, each) for each in Operation}

    def call(self, operation: Operation, **arguments: Any) -> Call:
        return partial(self.operations[operation], arguments)

    def read(self, key: str) -> Call:
        return self.call(Operation.READ, id=key)

    def create(self, given: Json) -> Call:
        return self.call(Operation.CREATE, data=given)

    def update(self, key: str, number: int) -> Call:
        return self.call(Operation.UPDATE, id=key, data={"qty": number, "name": f"Item {number}"})

    def page(self, least: int) -> Call:
        wanted = {"qty": {"$gte": least}}
        return self.call(Operation.LIST, filter=wanted, sort=["id"], limit=PAGE_ROWS)

    def bulk(self, given: Sequence[Json]) -> Call:
        return self.call(Operation.BULK_CREATE, data=given)

    async def clear(self, category: str) -> None:
        await self.call(Operation.BULK_DELETE, filter={"category": category})()


@asynccontextmanager
async def store_contestant(
    db: Any, prepared: Prepared, choice: Choice
) -> AsyncIterator[StoreContestant]:
    """A store with the pool that the configuration has by default."""
    stores = ModelStores(db, choice, PoolSettings())
    try:
        yield StoreContestant(stores, prepared)
    finally:
        await stores.close()


class RawPostgresql:
    """asyncpg with a pool, values in the form of the columns."""

    def __init__(self, pool: Any, table: str) -> None:
        self._pool = pool
        self._table = table
        columns = ", ".join(COLUMNS)
        places = ", ".join(f"${place}" for place in range(1, len(COLUMNS) + 1))
        self._insert = f"INSERT INTO {table} ({columns}) VALUES ({places})"
        self._read = f"SELECT {SHOWN} FROM {table} WHERE id = $1"
        self._update = f"UPDATE {table} SET qty = $2, name = $3 WHERE id = $1"
        self._page = f"SELECT {SHOWN} FROM {table} WHERE qty >= $1 ORDER BY id LIMIT {PAGE_ROWS}"

    def read(self, key: str) -> Call:
        return partial(self._pool.fetchrow, self._read, key)

    def create(self, given: Json) -> Call:
        return partial(self._create, self._values(given))

    def update(self, key: str, number: int) -> Call:
        return partial(self._pool.execute, self._update, key, number, f"Item {number}")

    def page(self, least: int) -> Call:
        return partial(self._pool.fetch, self._page, least)

    def bulk(self, given: Sequence[Json]) -> Call:
        rows = [(uuid4().hex, *self._values(each)) for each in given]
        return partial(self._pool.copy_records_to_table, self._table, records=rows, columns=COLUMNS)

    async def clear(self, category: str) -> None:
        await self._pool.execute(f"DELETE FROM {self._table} WHERE category = $1", category)

    async def tidy(self, category: str) -> None:
        """Deletes a category of items, and what the database keeps of changed rows."""
        await self.clear(category)
        await self._pool.execute(f"VACUUM ANALYZE {self._table}")

    async def _create(self, values: tuple[Any, ...]) -> None:
        await self._pool.execute(self._insert, uuid4().hex, *values)

    @staticmethod
    def _values(given: Json) -> tuple[Any, ...]:
        due = datetime.fromisoformat(given["due"]).replace(tzinfo=None)
        return tuple({**given, "due": due, "attributes": json.dumps(given["attributes"])}.values())


@asynccontextmanager
async def raw_postgresql(
    url: str, table: str, *, reset: bool = True
) -> AsyncIterator[RawPostgresql]:
    """asyncpg with its pool as it comes, or without the round trip that resets a connection."""
    settings = {} if reset else {"reset": _no_reset}
    async with asyncpg.create_pool(url, min_size=POOL_SIZE, max_size=POOL_SIZE, **settings) as pool:
        yield RawPostgresql(pool, table)


async def _no_reset(_connection: Any) -> None:
    """Leaves a connection as it is."""


class RawSqlite:
    """aiosqlite with one connection, values in the form of the columns."""

    def __init__(self, connection: aiosqlite.Connection, table: str) -> None:
        self._connection = connection
        self._table = table
        columns = ", ".join(COLUMNS)
        self._insert = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(COLUMNS))})"
        self._read = f"SELECT {SHOWN} FROM {table} WHERE id = ?"
        self._update = f"UPDATE {table} SET qty = ?, name = ? WHERE id = ?"
        self._page = f"SELECT {SHOWN} FROM {table} WHERE qty >= ? ORDER BY id LIMIT {PAGE_ROWS}"

    def read(self, key: str) -> Call:
        return partial(self._connection.execute_fetchall, self._read, (key,))

    def create(self, given: Json) -> Call:
        return partial(self._create, self._values(given))

    def update(self, key: str, number: int) -> Call:
        return partial(self._write, self._update, (number, f"Item {number}", key))

    def page(self, least: int) -> Call:
        return partial(self._connection.execute_fetchall, self._page, (least,))

    def bulk(self, given: Sequence[Json]) -> Call:
        return partial(self._bulk, [(uuid4().hex, *self._values(each)) for each in given])

    async def clear(self, category: str) -> None:
        await self._write(f"DELETE FROM {self._table} WHERE category = ?", (category,))

    async def tidy(self, category: str) -> None:
        """Deletes a category of items, and counts the rows for the planner."""
        await self.clear(category)
        await self._write("ANALYZE", ())

    async def synchronous(self, level: Literal["FULL", "NORMAL"]) -> None:
        """Whether a commit waits for the disk."""
        await self._connection.execute(f"PRAGMA synchronous = {level}")

    async def _create(self, values: tuple[Any, ...]) -> None:
        await self._write(self._insert, (uuid4().hex, *values))

    async def _write(self, text: str, arguments: tuple[Any, ...]) -> None:
        await self._connection.execute(text, arguments)
        await self._connection.commit()

    async def _bulk(self, rows: Iterable[tuple[Any, ...]]) -> None:
        await self._connection.executemany(self._insert, rows)
        await self._connection.commit()

    @staticmethod
    def _values(given: Json) -> tuple[Any, ...]:
        due = datetime.fromisoformat(given["due"]).replace(tzinfo=None).isoformat(" ")
        return tuple({**given, "due": due, "attributes": json.dumps(given["attributes"])}.values())


@asynccontextmanager
async def raw_sqlite(path: Path, table: str) -> AsyncIterator[RawSqlite]:
    async with aiosqlite.connect(path) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        raw = RawSqlite(connection, table)
        await raw.synchronous("FULL")
        yield raw


def make_durable(server: PostgresServer) -> None:
    """Sets a test server to keep what it has acknowledged, as one in production does.

    Raises:
        RuntimeError: The server does not take the settings.
    """
    settings = ("fsync", "synchronous_commit", "full_page_writes")
    with closing(psycopg2.connect(server.url("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for name in settings:
                cursor.execute(f"ALTER SYSTEM SET {name} = on")
            cursor.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 10
    while not all(_setting(server, name) == "on" for name in settings):
        if time.monotonic() > deadline:
            raise RuntimeError("PostgreSQL does not take the settings of a durable server")


def _setting(server: PostgresServer, name: str) -> str:
    with (
        closing(psycopg2.connect(server.url("postgres"))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])
