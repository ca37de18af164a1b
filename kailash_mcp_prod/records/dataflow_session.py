"""Opens database transactions on a DataFlow instance, and readies the instance for them.

DataFlow has no public way to do either; its private names, as they are in kailash-dataflow 2.20,
stand in this module and in `node_transaction` alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import UnionType
from typing import Any, Optional
from urllib.parse import quote

import aiosqlite

from kailash_mcp_prod.records.completion import CLOSING_SECONDS, to_the_end
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.node_errors import translate_failures
from kailash_mcp_prod.records.node_transaction import NodeTransaction
from kailash_mcp_prod.records.types import FieldType, Kind

logger = logging.getLogger(__name__)

_POSTGRESQL_CONNECTIONS = 16
_NATIVE_KINDS = frozenset(
    {Kind.TEXT, Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.DATETIME, Kind.BYTES}
)

_ANY_KEY = Field("id", FieldType(Kind.TEXT), "", required=False)
_ANY_MODEL = Model("record", "", "", (_ANY_KEY,))


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
        self._orders_texts: bool | None = None

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[NodeTransaction]:
        """A transaction: committed when the block ends, rolled back when it raises.

        It is rolled back too when a part of it failed and the block went on regardless; then the
        end of the block raises that failure.

        Args:
            snapshot: Whether all reads are to see the same state; for reads alone.

        Raises:
            UnavailableError: The database doesn't answer; when it is not known whether a change
                was stored, the details say `{"outcome": "unknown"}`.
            InternalError: Anything else that went wrong below; the log has it.
        """
        async with self._free:
            with translate_failures(_ANY_MODEL):
                adapter = await self._adapter()
                scope = await _begun(adapter)
            transaction = NodeTransaction(self._db, self.dialect, scope)
            try:
                with translate_failures(_ANY_MODEL):
                    await transaction.begin(snapshot=snapshot)
                    if self._orders_texts is None:
                        self._orders_texts = await transaction.ask_text_order()
                transaction.orders_texts = self._orders_texts
                yield transaction
                if transaction.failure is not None:
                    raise transaction.failure
                with translate_failures(_ANY_MODEL):
                    storing = transaction.may_be_stored
            except BaseException:
                await _roll_back(scope)
                raise
            with translate_failures(_ANY_MODEL, storing=storing):
                await to_the_end(scope.commit())

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


async def _begun(adapter: Any) -> Any:
    """A transaction that has begun; a call that is cancelled meanwhile leaves none half begun."""
    beginning = asyncio.ensure_future(adapter.transaction().__aenter__())
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({beginning}, timeout=CLOSING_SECONDS)
        finally:
            if not beginning.done():
                beginning.cancel()
            elif not beginning.cancelled() and beginning.exception() is None:
                await _roll_back(beginning.result())
        raise


async def _roll_back(scope: Any) -> None:
    # What ended the transaction is the failure to report.
    try:
        await to_the_end(scope.rollback())
    except Exception:
        logger.warning("A transaction could not be rolled back", exc_info=True)


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
