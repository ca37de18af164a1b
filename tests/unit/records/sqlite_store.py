"""Our own store on a SQLite file, with tables made for models that no DataFlow instance knows."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from kailash_mcp_prod.records.columns import reflect_tables
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.sql.sqlite import SqliteDatabase
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.records.sql.table import TableSql, hidden_and_visible
from kailash_mcp_prod.records.types import Kind

# The column types that DataFlow chooses; all other kinds are kept as text.
_TYPES = {
    Kind.INTEGER: "INTEGER",
    Kind.FLOAT: "REAL",
    Kind.BOOLEAN: "INTEGER",
    Kind.DATETIME: "TIMESTAMP",
    Kind.BYTES: "BLOB",
}


@asynccontextmanager
async def running_store(path: Path, *models: Model) -> AsyncIterator[SqlStore]:
    """Makes the tables of models in a file, and a store on them until the block ends."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("".join(map(table_of, models)))
    tables = await reflect_tables(f"sqlite:///{path}", [model.table for model in models])
    store = SqlStore(SqliteDatabase(path))
    for model in models:
        store.add(TableSql(model, tables[model.table], store.dialect))
    try:
        yield store
    finally:
        await store.close()


def table_of(model: Model) -> str:
    """The statement that makes the table of a model, its unique keys apart for each tenant."""
    owner = () if model.tenant is None else (model.tenant.name,)
    parts = [_column(each) for each in hidden_and_visible(model)]
    for key in model.unique_keys:
        if key != ("id",):
            names = ", ".join(f'"{name}"' for name in (*owner, *key))
            parts.append(f"UNIQUE ({names})")
    name = model.table.replace('"', '""')
    return f'CREATE TABLE "{name}" ({", ".join(parts)});'


def _column(field: Field) -> str:
    declared = f'"{field.name}" {_TYPES.get(field.type.kind, "TEXT")}'
    if field.name == "id":
        return f"{declared} PRIMARY KEY"
    if field.name in {"created_at", "updated_at"}:
        return f"{declared} DEFAULT CURRENT_TIMESTAMP"
    return declared if field.may_be_null else f"{declared} NOT NULL"
