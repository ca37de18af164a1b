"""A model with a field of each kind, and the table that DataFlow would make for it."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from kailash_mcp_prod.records.columns import Column, Index, Table
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.sql.functions import register_functions
from kailash_mcp_prod.records.sql.table import TableSql
from kailash_mcp_prod.records.types import FieldType, Kind
from tests.unit.records.sqlite_store import table_of

CHOICES: tuple[str | int | bool, ...] = ("on", 10, 9, "1 of 2")
STAMPS = tuple(
    Field(name, FieldType(Kind.DATETIME, nullable=True), "", required=False, read_only=True)
    for name in ("created_at", "updated_at")
)


def field_of(kind: Kind, name: str | None = None, item: FieldType | None = None) -> Field:
    """An optional field of that kind, named like it."""
    choices = CHOICES if kind is Kind.CHOICE else ()
    field_type = FieldType(kind, nullable=True, choices=choices, item=item)
    return Field(name or kind.value, field_type, "", required=False)


KEY = Field("id", FieldType(Kind.TEXT), "", required=True)
SAMPLE = Model(
    "Sample", "samples", "", (KEY, *map(field_of, Kind), *STAMPS), unique_keys=(("id",), ("text",))
)
COUNTED = Model(
    "Counted",
    "counted",
    "",
    (
        Field("id", FieldType(Kind.INTEGER), "", required=True),
        field_of(Kind.TEXT),
        field_of(Kind.INTEGER),
        *STAMPS,
    ),
    unique_keys=(("id",),),
)

_POSTGRESQL = {
    Kind.INTEGER: "integer",
    Kind.FLOAT: "real",
    Kind.BOOLEAN: "boolean",
    Kind.DATETIME: "timestamp without time zone",
    Kind.OBJECT: "jsonb",
    Kind.ARRAY: "jsonb",
    Kind.BYTES: "bytea",
}
_SQLITE = {
    Kind.INTEGER: "integer",
    Kind.FLOAT: "real",
    Kind.BOOLEAN: "integer",
    Kind.DATETIME: "timestamp",
    Kind.BYTES: "blob",
}


def table_for(
    model: Model, dialect: Literal["sqlite", "postgresql"] = "sqlite", **types: str
) -> TableSql:
    """The statements of a model; `types` are columns that differ from DataFlow's."""
    usual = _SQLITE if dialect == "sqlite" else _POSTGRESQL
    hidden = () if model.tenant is None else (model.tenant,)
    columns = {
        each.name: Column(
            each.name,
            types.get(each.name, usual.get(each.type.kind, "text")),
            nullable=each.may_be_null,
            has_default=False,
        )
        for each in (*model.fields, *hidden)
    }
    if model.soft_delete:
        columns["deleted_at"] = Column("deleted_at", usual[Kind.DATETIME], True, False)
    indexes = tuple(Index(f"uq_{'_'.join(key)}", key, True) for key in model.unique_keys)
    return TableSql(model, Table(model.table, columns, indexes), dialect)


def connected(model: Model, path: str = ":memory:") -> sqlite3.Connection:
    """A database with the model's table, as the store's connections are."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.executescript(table_of(model))
    register_functions(connection)
    return connection


def insert(connection: sqlite3.Connection, table: TableSql, **row: Any) -> None:
    text, arguments = table.insert(row)
    connection.execute(text, arguments).fetchall()
