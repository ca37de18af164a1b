"""A DataFlow application with the trap models, its store, and a look at its tables from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

import psycopg2
from dataflow import DataFlow

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.records.executor import RecordOperation
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.prepare import prepare_database
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.sql.database import PoolSettings
from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.records.stores import Choice, ModelStores
from tests.integration.records.trap_models import APPEND_ONLY_MODELS, PLAIN_MODELS

Json = dict[str, Any]


class Tables:
    """The application's tables, read and emptied without the code under test."""

    def __init__(self, url: str, models: Mapping[str, Model]) -> None:
        self._names = {name: model.table for name, model in models.items()}
        if url.startswith("sqlite"):
            self._connection: Any = sqlite3.connect(
                url.removeprefix("sqlite:///"), isolation_level=None
            )
            self._connection.execute("PRAGMA synchronous = OFF")
        else:
            self._connection = psycopg2.connect(url)
            self._connection.autocommit = True

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def rows(self, model: str) -> list[tuple[Any, ...]]:
        """Every row of a model's table as it is stored, tombstones too."""
        return [
            tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
            for row in self.execute(f'SELECT * FROM "{self._names[model]}" ORDER BY "id"')
        ]

    def clear(self) -> None:
        deletions = "".join(f'DELETE FROM "{table}";' for table in self._names.values())
        with closing(self._connection.cursor()) as cursor:
            if isinstance(cursor, sqlite3.Cursor):
                cursor.executescript(f"BEGIN; {deletions} COMMIT;")
            else:
                cursor.execute(deletions)

    def close(self) -> None:
        self._connection.close()


class TrapApp:
    """The trap models on one database, called as a tool would call them."""

    def __init__(
        self, url: str, store: RecordStore, models: Mapping[str, Model], execution: str = "sql"
    ) -> None:
        self.url = url
        self.store = store
        self.models = models
        self.execution = execution
        self.tables = Tables(url, models)
        self._operations: dict[tuple[str, Operation], RecordOperation] = {}

    @property
    def dialect(self) -> str:
        return self.url.partition(":")[0]

    def operation(self, model: str, operation: str) -> RecordOperation:
        key = (model, Operation(operation))
        if key not in self._operations:
            self._operations[key] = RecordOperation(self.store, self.models[model], key[1])
        return self._operations[key]

    async def call(
        self, model: str, operation: str, /, *, scope: Scope = OPEN, **arguments: Any
    ) -> Json:
        """The result of a call that must succeed."""
        return await self.operation(model, operation)(arguments, scope)

    async def refusal(
        self, model: str, operation: str, /, *, scope: Scope = OPEN, **arguments: Any
    ) -> ServerError:
        """The error of a call that must fail and must leave the table as it was."""
        before = self.tables.rows(model)
        try:
            result = await self.operation(model, operation)(arguments, scope)
        except ServerError as error:
            assert self.tables.rows(model) == before
            return error
        raise AssertionError(f"{model}_{operation} was not refused, but gave {result}")


@asynccontextmanager
async def running_trap_app(url: str, execution: Choice = "sql") -> AsyncIterator[TrapApp]:
    """Make the tables in an empty database and open a store on them."""
    db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    for model in PLAIN_MODELS:
        db.model(model)
    for model in APPEND_ONLY_MODELS:
        db.model(append_only=True)(model)
    prepared = await prepare_database(db)
    stores = ModelStores(db, execution, PoolSettings())
    try:
        for model in prepared.models:
            store = stores.add(model, prepared.tables[model.name])
        app = TrapApp(url, store, {model.name: model for model in prepared.models}, execution)
        try:
            yield app
        finally:
            app.tables.close()
    finally:
        await stores.close()
