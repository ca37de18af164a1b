"""Reads what the database really has: the columns and indexes of tables."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.records.connecting import (
    connected_to_postgresql,
    is_postgresql,
    sqlite_path,
)

_SQLITE_BUSY_SECONDS = 30.0

_POSTGRESQL_COLUMNS = """
    SELECT wanted.name AS "table", attname AS name, format_type(atttypid, NULL) AS type,
        NOT attnotnull AS nullable, atthasdef OR attidentity <> '' AS has_default
    FROM unnest($1::text[]) AS wanted (name)
    JOIN pg_class
        ON pg_class.oid = to_regclass(quote_ident(wanted.name))
        AND relkind IN ('r', 'p', 'v', 'm', 'f')
    JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum
"""
# A constraint that is checked at the end of a transaction is no target of ON CONFLICT.
_POSTGRESQL_INDEXES = """
    SELECT wanted.name AS "table", index_class.relname AS name,
        array_agg(attname ORDER BY position) AS columns,
        indisunique AND indimmediate AS "unique"
    FROM unnest($1::text[]) AS wanted (name)
    JOIN pg_index ON indrelid = to_regclass(quote_ident(wanted.name))
    JOIN pg_class AS index_class ON index_class.oid = indexrelid
    CROSS JOIN unnest(indkey::int2[]) WITH ORDINALITY AS part (number, position)
    JOIN pg_attribute ON attrelid = indrelid AND attnum = number
    WHERE indisvalid AND indpred IS NULL AND indexprs IS NULL AND position <= indnkeyatts
    GROUP BY wanted.name, index_class.relname, indisunique, indimmediate
    ORDER BY index_class.relname
"""

_SQLITE_TABLES = """
    json_each(?) AS wanted
    JOIN sqlite_master AS tables
        ON tables.type IN ('table', 'view') AND tables.name = wanted.value COLLATE NOCASE
"""
_SQLITE_COLUMNS = f"""
    SELECT wanted.value, columns.name, lower(columns.type), NOT columns."notnull",
        columns.dflt_value IS NOT NULL, columns.pk
    FROM {_SQLITE_TABLES}
    JOIN pragma_table_xinfo(tables.name) AS columns ON columns.hidden <> 1
    ORDER BY columns.cid
"""  # noqa: S608 - put together from constants
_SQLITE_INDEXES = f"""
    SELECT wanted.value, indexes.name, indexes."unique", indexes.origin, parts.name
    FROM {_SQLITE_TABLES}
    JOIN pragma_index_list(tables.name) AS indexes ON NOT indexes.partial
    JOIN pragma_index_info(indexes.name) AS parts
    ORDER BY indexes.name, parts.seqno
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    `type` is what PostgreSQL calls it without its size, such as `text`, `integer`, `numeric`,
    `timestamp without time zone`, `jsonb`, `text[]` or `double precision`; on SQLite it is the
    declared type in lower case. `has_default` holds of every column that the database fills.
    """

    name: str
    type: str
    nullable: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class Index:
    """An index on columns of all rows: one without a condition and without expressions.

    `unique` ones can be the target of an upsert. A primary key is one of them.
    """

    name: str
    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is: its columns by name, in order, and its indexes."""

    name: str
    columns: Mapping[str, Column]
    indexes: tuple[Index, ...]

    def has_unique(self, columns: Iterable[str]) -> bool:
        """Whether a unique index is on exactly these columns, in whatever order."""
        return any(each.unique and set(each.columns) == set(columns) for each in self.indexes)

    def has_index(self, columns: Sequence[str]) -> bool:
        """Whether an index is on exactly these columns in this order."""
        return any(each.columns == tuple(columns) for each in self.indexes)


async def reflect_tables(url: str, names: Iterable[str]) -> dict[str, Table]:
    """The tables of these names, read over a connection of its own; absent ones are left out.

    Args:
        url: The address of the database, as DataFlow takes it.
        names: Names of tables or views, written as they are; on PostgreSQL the search path finds
            them.

    Raises:
        DatabaseStartupError: The database doesn't answer.

    Example:
        `(await reflect_tables(url, ["deals"]))["deals"].columns["amount"].type == "text"`
    """
    wanted = list(dict.fromkeys(names))
    if is_postgresql(url):
        return await _reflect_postgresql(url, wanted)
    return await asyncio.to_thread(_reflect_sqlite, sqlite_path(url), wanted)


async def _reflect_postgresql(url: str, wanted: list[str]) -> dict[str, Table]:
    async with connected_to_postgresql(url) as connection:
        column_rows = await connection.fetch(_POSTGRESQL_COLUMNS, wanted)
        index_rows = await connection.fetch(_POSTGRESQL_INDEXES, wanted)
    columns: dict[str, dict[str, Column]] = {}
    for table, name, type_name, nullable, has_default in column_rows:
        column = Column(name, type_name, nullable, has_default)
        columns.setdefault(table, {})[name] = column
    indexes: dict[str, list[Index]] = {}
    for table, name, parts, unique in index_rows:
        indexes.setdefault(table, []).append(Index(name, tuple(parts), unique))
    return {name: Table(name, columns[name], tuple(indexes.get(name, ()))) for name in columns}


def _reflect_sqlite(path: Path, wanted: list[str]) -> dict[str, Table]:
    if not path.exists():
        return {}
    address = f"file:{quote(str(path))}?mode=ro"
    names = json.dumps(wanted)
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_SQLITE_BUSY_SECONDS)) as database:
            column_rows = database.execute(_SQLITE_COLUMNS, [names]).fetchall()
            index_rows = database.execute(_SQLITE_INDEXES, [names]).fetchall()
    except sqlite3.Error as failure:
        raise DatabaseStartupError(f"The SQLite database can't be read: {failure}.") from failure
    columns: dict[str, dict[str, Column]] = {}
    keys: dict[str, list[str]] = {}
    for table, name, type_name, nullable, has_default, key_position in column_rows:
        column = Column(name, type_name, bool(nullable), bool(has_default))
        columns.setdefault(table, {})[name] = column
        if key_position:
            keys.setdefault(table, []).append(name)
    parts: dict[tuple[str, str, bool], list[str | None]] = {}
    keyed = {table for table, _, _, origin, _ in index_rows if origin == "pk"}
    for table, name, unique, _, part in index_rows:
        parts.setdefault((table, name, bool(unique)), []).append(part)
    tables = {}
    for table, found in columns.items():
        indexes = [
            Index(name, tuple(map(str, each)), unique)
            for (owner, name, unique), each in parts.items()
            if owner == table and None not in each
        ]
        if table in keys and table not in keyed:
            # The key is the number of the row: SQLite makes it, and needs no index for it.
            [key] = keys[table]
            found[key] = Column(key, found[key].type, nullable=False, has_default=True)
            indexes.append(Index("rowid", (key,), unique=True))
        tables[table] = Table(table, found, tuple(indexes))
    return tables
