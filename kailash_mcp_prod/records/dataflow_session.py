"""Runs DataFlow's generated nodes inside one database transaction.

The nodes join a transaction through their workflow context; DataFlow's own transaction API
does not (its documented form commits each statement). The private names used here are the only
way to that context in kailash-dataflow 2.20, and they stand in this module alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import UnionType
from typing import Any, Optional
from urllib.parse import quote

import aiosqlite

from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.node_errors import DataFlowFailureError, translate_failures
from kailash_mcp_prod.records.types import FieldType, Kind

_POSTGRESQL_CONNECTIONS = 16
_CLOSING_SECONDS = 5.0
_NATIVE_KINDS = frozenset(
    {Kind.TEXT, Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.DATETIME, Kind.BYTES}
)


# Indexes with a condition or on expressions are no keys of the whole table.
_POSTGRESQL_UNIQUE_KEYS = """
    SELECT json_agg(attname)::text
    FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
    WHERE indrelid = to_regclass(quote_ident($1))
        AND indisunique AND indpred IS NULL AND indexprs IS NULL
    GROUP BY indexrelid
"""
_SQLITE_UNIQUE_KEYS = """
    SELECT json_group_array(columns.name)
    FROM pragma_index_list(?) AS indexes, pragma_index_info(indexes.name) AS columns
    WHERE indexes."unique" AND NOT indexes.partial
    GROUP BY indexes.name
"""


_ANY_MODEL = Model("database", "", "", ())


class DataFlowSession:
    """Transactions on the database of one DataFlow instance.

    DataFlow keeps one transaction depth for all connections of a SQLite file, so there one
    transaction runs at a time; on PostgreSQL as many as fit into DataFlow's pool of 20.

    Args:
        db: The DataFlow instance, initialised.
    """

    def __init__(self, db: Any) -> None:
        self._db = db
        # An instance that was closed works again, but closes nothing more until it is told.
        db._closed = False  # noqa: SLF001
        self.dialect: str = db._detect_database_type()  # noqa: SLF001
        connections = 1 if self.dialect == "sqlite" else _POSTGRESQL_CONNECTIONS
        self._free = asyncio.Semaphore(connections)

    @asynccontextmanager
    async def transaction(self, model: Model) -> AsyncIterator[NodeTransaction]:
        """A transaction: committed when the block ends, rolled back when it raises.

        Raises:
            ConflictError: A unique key of `model` is taken.
            UnavailableError: The database doesn't answer.
            InternalError: Anything else that went wrong below; the log has it.
        """
        async with self._free:
            with translate_failures(model):
                adapter = await self._adapter()
                scope = await adapter.transaction().__aenter__()
                try:
                    transaction = NodeTransaction(self._db, self.dialect, scope)
                    await transaction.begin()
                    yield transaction
                except BaseException:
                    await _to_the_end(scope.rollback())
                    raise
                await _to_the_end(scope.commit())

    async def ping(self) -> None:
        """Asks the database for an answer, beside the transactions and not behind them.

        Raises:
            UnavailableError: There is none.
        """
        with translate_failures(_ANY_MODEL):
            if self.dialect == "sqlite":
                path = (
                    str(self._db.config.database.url).removeprefix("sqlite:///").partition("?")[0]
                )
                address = f"file:{quote(path)}?mode=ro"
                async with aiosqlite.connect(address, uri=True) as connection:
                    await connection.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1")
            else:
                adapter = await self._adapter()
                async with adapter.transaction() as scope:
                    await scope.connection.execute("SELECT 1")

    async def _adapter(self) -> Any:
        sql_node = self._db._get_or_create_async_sql_node(self.dialect)  # noqa: SLF001
        adapter = await sql_node._get_adapter()  # noqa: SLF001
        if self.dialect == "sqlite":
            _close_what_can_not_begin(adapter)
        return adapter

    async def close(self) -> None:
        """Closes DataFlow's pools, and the runtime that its migrations leave open."""
        migrations = getattr(self._db, "_migration_system", None)
        adapter = getattr(migrations, "_connection_adapter", None)
        if adapter is not None:
            adapter.close()
        await self._db.close_async()


def _close_what_can_not_begin(adapter: Any) -> None:
    """Makes the adapter close its connection when a transaction can't begin on it.

    Otherwise each call on a locked file leaves a connection and a thread to the garbage collector.
    """
    if "_abort_begin" in vars(adapter):
        return
    abort = adapter._abort_begin  # noqa: SLF001

    async def abort_and_close(connection: Any, **state: Any) -> None:
        await abort(connection, **state)
        await adapter._close_quietly(connection)  # noqa: SLF001

    adapter._abort_begin = abort_and_close  # noqa: SLF001


async def _to_the_end(closing: Coroutine[Any, Any, None]) -> None:
    """Ends a transaction and knows how it ended, although the call may be cancelled meanwhile.

    A cancelled wait doesn't stop a commit that is on its way. So it is waited for, and when it is
    done the call goes on to report what it did: a time-out would be told to try again.

    Raises:
        asyncio.CancelledError: The database did not answer in time; the end is not known.
    """
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_CLOSING_SECONDS)
        if not task.done():
            task.cancel()
            raise
        task.result()


class NodeTransaction:
    """One open transaction; rows go in and come out in Python form."""

    def __init__(self, db: Any, dialect: str, scope: Any) -> None:
        self._db = db
        self._dialect = dialect
        self._connection = scope.connection
        self._context = {"active_transaction": scope}

    async def begin(self) -> None:
        """Makes the timestamps that the database writes UTC, as all others are."""
        if self._dialect == "postgresql":
            await self._connection.execute("SET LOCAL TIME ZONE 'UTC'")

    async def unique_keys(self, model: Model) -> set[frozenset[str]]:
        """The columns of each unique index that the model's table really has."""
        if self._dialect == "postgresql":
            rows = await self._connection.fetch(_POSTGRESQL_UNIQUE_KEYS, model.table)
        else:
            rows = await self._connection.execute_fetchall(_SQLITE_UNIQUE_KEYS, (model.table,))
        return {frozenset(json.loads(columns)) for (columns,) in rows}

    async def make_unique(self, model: Model, index: str, columns: tuple[str, ...]) -> None:
        """Makes a unique index."""
        listed = ", ".join(f'"{column}"' for column in columns)
        statement = f'CREATE UNIQUE INDEX "{index}" ON "{model.table}" ({listed})'
        await self._connection.execute(statement)

    async def run(self, model: Model, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Runs the generated node of an operation, such as `Create`, on this connection.

        The parameters of `Create` are the fields of the model, whatever their names.
        """
        node = self._db._nodes[f"{model.name}{operation}Node"]()  # noqa: SLF001
        node._workflow_context = self._context  # noqa: SLF001
        result: dict[str, Any] = await node.async_run(**parameters)
        # A report of success may repeat the row, whose fields may have these names.
        if result.get("success") is False and result.keys() == {"success", "error"}:
            raise DataFlowFailureError(str(result["error"]))
        return result

    async def insert(self, model: Model, row: Row) -> Any:
        """Inserts a row and returns its key."""
        created = await self.run(model, "Create", **_to_columns(model, row))
        if not model.generates_key:
            return row["id"]
        if self._dialect == "postgresql":
            return created["id"]
        cursor = await self._connection.execute("SELECT last_insert_rowid()")
        [key] = await cursor.fetchone()
        await cursor.close()
        return key

    async def lock(self, model: Model, key: Any) -> None:
        """Keeps other writers from the row until the end; on SQLite the file is locked already."""
        if self._dialect == "postgresql":
            statement = f'SELECT 1 FROM "{model.table}" WHERE "id" = $1 FOR UPDATE'  # noqa: S608 - the identifier is checked at introspection
            await self._connection.execute(statement, model.key.type.to_column(key))

    async def fetch(self, model: Model, key: Any) -> Row | None:
        """The row with that key, if there is one."""
        found = await self.run(
            model, "Read", id=model.key.type.to_column(key), raise_on_not_found=False
        )
        return self._read(model, found) if found.get("found") else None

    async def exists(self, model: Model, key: Any) -> bool:
        """Whether there is a row with that key, readable or not."""
        where = {"id": model.key.type.to_column(key)}
        return bool((await self.run(model, "Count", filter=where))["count"])

    def _read(self, model: Model, stored: Mapping[str, Any]) -> Row:
        return read_row(model, stored, narrow_floats=self._dialect == "postgresql")

    async def change(self, model: Model, key: Any, changes: Row) -> None:
        """Changes the row with that key, which is known to exist."""
        await self.run(
            model,
            "Update",
            filter={"id": model.key.type.to_column(key)},
            fields=_to_columns(model, changes),
        )

    async def remove(self, model: Model, key: Any) -> None:
        """Deletes the row with that key, which is known to exist."""
        await self.run(model, "Delete", id=model.key.type.to_column(key))

    async def select(
        self,
        model: Model,
        where: Mapping[str, Any],
        order: list[str],
        limit: int,
        offset: int = 0,
    ) -> list[Row]:
        """The rows that match a filter in DataFlow's form."""
        page = await self.run(
            model,
            "List",
            filter=dict(where),
            order_by=order,
            limit=limit,
            offset=offset,
            enable_cache=False,
        )
        return [self._read(model, each) for each in page["records"]]

    async def count(self, model: Model, where: Mapping[str, Any]) -> int:
        """How many rows match a filter in DataFlow's form."""
        counted = await self.run(model, "Count", filter=dict(where))
        return int(counted["count"])


def read_row(model: Model, stored: Mapping[str, Any], *, narrow_floats: bool) -> Row:
    """A row of DataFlow's in Python form; columns that the model does not declare are dropped.

    Raises:
        DataFlowFailureError: A column holds what its type can't mean.
    """
    row: Row = {}
    for name, field_type in model.types.items():
        try:
            row[name] = field_type.from_column(stored.get(name), narrow_floats=narrow_floats)
        except (ValueError, TypeError) as problem:
            raise DataFlowFailureError(
                f"{model.name}.{name} of a stored row is no {field_type.kind}"
            ) from problem
    return row


def _to_columns(model: Model, row: Row) -> dict[str, Any]:
    types = model.types
    return {name: types[name].to_column(value) for name, value in row.items()}


def adopt_column_types(db: Any, model: Model) -> None:
    """Tells DataFlow's nodes what the columns really hold.

    The nodes can't write Decimal, UUID, date, Literal and whole-number enumerations (each write
    fails) and don't decode typed collections. The strict layer converts them to what the column
    holds, so the nodes are given that type. The tables are not touched.
    """
    registered = db._model_fields[model.name]  # noqa: SLF001
    for field in model.fields:
        if field.name in registered and not _is_native(field.type):
            plain = _column_annotation(field.type)
            registered[field.name]["type"] = Optional[plain] if field.type.nullable else plain  # noqa: UP045 - DataFlow looks for this form


def _is_native(field_type: FieldType) -> bool:
    return field_type.kind in _NATIVE_KINDS


def _column_annotation(field_type: FieldType) -> type | UnionType:
    match field_type.kind:
        case Kind.OBJECT:
            return dict
        case Kind.ARRAY:
            return list
        case _:
            return str


def stop_logging_of_values() -> None:
    """Keeps row values out of DataFlow's debug lines.

    DataFlow masks secrets in each call's arguments by regular expressions, even when nothing is
    logged: half a second of the event loop for each megabyte of text.
    """
    import dataflow.core.nodes as generated_nodes

    generated_nodes.mask_sensitive_values = lambda _message: "(not logged)"


def close_connection_test(db: Any) -> None:
    """Makes `initialize()` close the PostgreSQL connection with which it tries the database.

    DataFlow leaves it open until the garbage collector comes by.
    """
    if db._detect_database_type() != "postgresql":  # noqa: SLF001
        return

    async def answers() -> bool:
        connection = await db._get_async_database_connection()  # noqa: SLF001
        await connection.close()
        return True

    db._validate_database_connection = answers  # noqa: SLF001
