"""Tools and records from a manifest alone: DataFlow and the application are not imported.

What takes time to make (the statements of a table, the validation of an operation's arguments) is
made when a call first needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from kailash_mcp_prod.manifest.content import Manifest, ToolEntry
from kailash_mcp_prod.manifest.entries import model_of
from kailash_mcp_prod.records.cursors import CursorSigner
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.tools.scopes import scope_of
from kailash_mcp_prod.tools.spec import Handler, Hints, Listing, ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.records.executor import RecordOperation
    from kailash_mcp_prod.records.sql.database import PoolSettings
    from kailash_mcp_prod.records.sql.store import SqlStore
    from kailash_mcp_prod.tools.idempotency import KeyedWrites


def tool_of(entry: ToolEntry, handler: Handler) -> ToolSpec:
    """The tool of an entry."""
    listing = entry.listing
    return ToolSpec(
        name=entry.name,
        title=entry.title,
        description=entry.description,
        input_schema=entry.input_schema,
        output_schema=entry.output_schema,
        hints=Hints(**entry.hints),
        permissions=entry.permissions,
        group=entry.group,
        handler=handler,
        operation=str(entry.operation),
        listing=None if listing is None else Listing(listing.description, listing.input_schema),
        takes_keys=not entry.hints["read_only"],
    )


class InstantModels:
    """The models of a manifest, served from the database.

    Args:
        manifest: It; its tables are those of the database.
        url: The address of the database.
        pool: The bounds of its connections.
        cursors: Signs the cursors of lists.
        make_keyed: Makes what runs the writes with idempotency keys, when it is first needed.

    Raises:
        ValueError: The manifest holds a value that is not of its field's type.
    """

    def __init__(
        self,
        manifest: Manifest,
        url: str,
        pool: PoolSettings,
        cursors: CursorSigner,
        make_keyed: Callable[[], KeyedWrites],
    ) -> None:
        self._url = url
        self._pool = pool
        self._cursors = cursors
        self._make_keyed = make_keyed
        self._keyed: KeyedWrites | None = None
        self._store: SqlStore | None = None
        self._operations: dict[str, RecordOperation] = {}
        self._with_statements: set[str] = set()
        self._making = asyncio.Lock()
        self._served = {each.model.name: each for each in manifest.models}
        self.models: tuple[Model, ...] = tuple(model_of(each.model) for each in manifest.models)

    def tools(self) -> list[ToolSpec]:
        """The record tools, in their order."""
        return [
            self._tool(model, each)
            for model in self.models
            for each in self._served[model.name].tools
        ]

    def execution(self, name: str) -> Execution:
        """How the records of a model are reached."""
        return self._served[name].execution

    async def ping(self) -> None:
        """Asks the database for an answer.

        Raises:
            UnavailableError: There is none.
        """
        await (await self._opened()).ping()

    async def close(self) -> None:
        """Closes all connections."""
        if self._store is not None:
            await self._store.close()

    def _tool(self, model: Model, entry: ToolEntry) -> ToolSpec:
        async def handle(call: ToolCall) -> dict[str, object]:
            run = self._operations.get(entry.name) or await self._operation(model, entry)
            scope = scope_of(model, call.principal)
            if call.idempotency_key is None:
                return await run(call.arguments, scope)
            keyed, store = await self._keyed_writes(), await self._opened()
            return await keyed.run(
                entry.name,
                call,
                store,
                lambda transaction: run.within(transaction)(call.arguments, scope),
                upserts=run.upserts,
            )

        return tool_of(entry, handle)

    async def _keyed_writes(self) -> KeyedWrites:
        if self._keyed is None:
            self._keyed = await asyncio.to_thread(self._make_keyed)
        return self._keyed

    async def _operation(self, model: Model, entry: ToolEntry) -> RecordOperation:
        store = await self._opened()
        async with self._making:
            if entry.name not in self._operations:
                self._operations[entry.name] = await asyncio.to_thread(
                    self._make, store, model, entry
                )
        return self._operations[entry.name]

    def _make(self, store: SqlStore, model: Model, entry: ToolEntry) -> RecordOperation:
        """Makes what one operation needs; in a thread, because it takes a while."""
        from kailash_mcp_prod.records.executor import RecordOperation
        from kailash_mcp_prod.records.sql.table import TableSql

        if model.name not in self._with_statements:
            store.add(TableSql(model, self._served[model.name].table, store.dialect))
            self._with_statements.add(model.name)
        return RecordOperation(store, model, entry.operation, self._cursors)

    async def _opened(self) -> SqlStore:
        if self._store is None:
            await asyncio.to_thread(_import_sql)
        # Again, because others may have opened it meanwhile.
        if self._store is None:
            from kailash_mcp_prod.records.sql.opening import open_database
            from kailash_mcp_prod.records.sql.store import SqlStore

            self._store = SqlStore(open_database(self._url, self._pool))
        return self._store


def _import_sql() -> None:
    """Imports what takes longest, so that the event loop need not wait for it."""
    import kailash_mcp_prod.records.sql.opening
    import kailash_mcp_prod.records.sql.store  # noqa: F401
