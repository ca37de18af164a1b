"""Which store the records of a model are in, and why."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from kailash_mcp_prod.errors import ModelError
from kailash_mcp_prod.records.columns import Table
from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.node_store import NodeStore
from kailash_mcp_prod.records.sql.codecs import UnsupportedColumnError
from kailash_mcp_prod.records.sql.database import PoolSettings, PoolUsage
from kailash_mcp_prod.records.sql.opening import open_database
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.records.sql.table import TableSql
from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.records.types import Kind
from kailash_mcp_prod.records.watching import WatchedStore, WriteObserver

# The first version of SQLite that returns the rows that it has written.
_SQLITE_NEEDED = (3, 35)

Choice = Literal["auto", "sql", "nodes"]


class ModelStores:
    """Gives each model of a DataFlow instance its store.

    Args:
        db: The DataFlow instance, whose database is prepared.
        choice: `sql` or `nodes` for all models, or `auto`: SQL where it can do all that the model
            asks for.
        pool: The bounds of the connections for SQL.
        observer: Hears of all writes.
    """

    def __init__(
        self,
        db: Any,
        choice: Choice,
        pool: PoolSettings,
        observer: WriteObserver | None = None,
    ) -> None:
        self._choice: Choice = choice
        self._nodes = NodeStore(DataFlowSession(db))
        self._sql = SqlStore(open_database(str(db.config.database.url), pool))
        self._executions: dict[str, Execution] = {}
        self._given: dict[str, RecordStore] = {"sql": self._sql, "nodes": self._nodes}
        if observer is not None:
            self._given = {name: WatchedStore(each, observer) for name, each in self._given.items()}

    def add(self, model: Model, table: Table) -> RecordStore:
        """Chooses the store of a model.

        Raises:
            ModelError: SQL is asked for and can't do what the model asks for.
        """
        execution = self._choose(model, table)
        self._executions[model.name] = execution
        return self._given[execution.store]

    @property
    def sql(self) -> SqlStore:
        """The store that runs SQL; of what is written by it, nobody hears."""
        return self._sql

    @property
    def sql_watched(self) -> RecordStore:
        """The same for records: the observer hears of its writes."""
        return self._given["sql"]

    def execution(self, name: str) -> Execution:
        """The store of a model that was added, and why it has that one."""
        return self._executions[name]

    async def ping(self) -> None:
        """Asks the database for an answer.

        Raises:
            UnavailableError: There is none.
        """
        by_nodes = all(each.store == "nodes" for each in self._executions.values())
        await (self._nodes if self._executions and by_nodes else self._sql).ping()

    def usage(self) -> PoolUsage:
        """How the connections for SQL are used now."""
        return self._sql.usage()

    async def close(self) -> None:
        """Closes all connections."""
        await self._sql.close()
        await self._nodes.close()

    def _choose(self, model: Model, table: Table) -> Execution:
        if self._choice == "nodes":
            return Execution("nodes", "The setting execution is nodes.")
        obstacle = self._obstacle(model, table)
        if obstacle is None:
            return Execution("sql", "SQL does all that the model asks for.")
        if self._choice == "sql":
            raise ModelError(f"Model {model.name}: {obstacle} Set execution to auto or nodes.")
        return Execution("nodes", obstacle)

    def _obstacle(self, model: Model, table: Table) -> str | None:
        """Why SQL can't do what a model asks for, if that is so; otherwise it can now."""
        if model.other_options:
            return f"Only DataFlow's nodes know {', '.join(model.other_options)}."
        if self._sql.dialect == "sqlite" and sqlite3.sqlite_version_info < _SQLITE_NEEDED:
            return f"SQLite {sqlite3.sqlite_version} can't return what it has written."
        try:
            made = TableSql(model, table, self._sql.dialect)
        except UnsupportedColumnError as reason:
            return f"The column of {reason}."
        for name in {name for columns in model.unique_indexes.values() for name in columns}:
            if made.field(name).type.kind is Kind.DECIMAL and made.codecs[name].as_text:
                # 1.0 and 1.00 are the same number, and two texts.
                return f"{name} is unique, and its decimals are kept as text."
            if made.column_types[name] == "real":
                return f"{name} is unique, and its column keeps fewer digits than its numbers."
        self._sql.add(made)
        return None
