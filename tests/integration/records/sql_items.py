"""A small model on a table made by hand, and our own store on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kailash_mcp_prod.records.columns import reflect_tables
from kailash_mcp_prod.records.connecting import is_postgresql, sqlite_path
from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Field, Model, Row
from kailash_mcp_prod.records.query import Query
from kailash_mcp_prod.records.sql.database import Database, PoolSettings
from kailash_mcp_prod.records.sql.postgresql import PostgresqlDatabase
from kailash_mcp_prod.records.sql.sqlite import SqliteDatabase
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.records.sql.table import TableSql
from kailash_mcp_prod.records.store import Records
from kailash_mcp_prod.records.types import FieldType, Kind
from tests.integration.records.plain_sql import run_sql

OPTIONAL_TIME = FieldType(Kind.DATETIME, nullable=True)
ITEM = Model(
    "Item",
    "items",
    "",
    (
        Field("id", FieldType(Kind.TEXT), "", required=True),
        Field("label", FieldType(Kind.TEXT), "", required=False, default="new"),
        Field("size", FieldType(Kind.INTEGER), "", required=False, default=0),
        *(
            Field(name, OPTIONAL_TIME, "", required=False, read_only=True)
            for name in ("created_at", "updated_at")
        ),
    ),
    unique_keys=(("id",),),
)
TABLE = """
    CREATE TABLE items (
        id TEXT PRIMARY KEY,
        label TEXT,
        size INTEGER,
        created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
        updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
    )
"""


def view_of_items(name: str, condition: str) -> str:
    """A statement that makes a view like the table, with a condition on each row."""
    return f"CREATE VIEW {name} AS SELECT * FROM items WHERE {condition}"


@asynccontextmanager
async def item_store(
    url: str, *models: Model, pool: PoolSettings | None = None
) -> AsyncIterator[SqlStore]:
    """A store on tables that are there."""
    settings = pool or PoolSettings()
    database: Database = (
        PostgresqlDatabase(url, settings)
        if is_postgresql(url)
        else SqliteDatabase(sqlite_path(url), readers=settings.size)
    )
    store = SqlStore(database)
    tables = await reflect_tables(url, [model.table for model in models or (ITEM,)])
    for model in models or (ITEM,):
        store.add(TableSql(model, tables[model.table], store.dialect))
    try:
        yield store
    finally:
        await store.close()


def item(key: str, **values: Any) -> Row:
    return ITEM.complete({"id": key, **values})


def matching(condition: Any = None, model: Model = ITEM, limit: int = 100) -> Query:
    return Query(parse_filter(model, condition), parse_sort(model, None), limit)


async def ids(records: Records, condition: Any = None, model: Model = ITEM) -> list[str]:
    """The keys of the records that match, as a list shows them."""
    page = await records.find(model, matching(condition, model, limit=100_000))
    return [row["id"] for row in page.rows]


def stored_ids(url: str) -> list[str]:
    """The keys that the database itself shows."""
    return [key for [key] in run_sql(url, "SELECT id FROM items ORDER BY id")]
