"""Tools and records from a manifest alone: DataFlow and the application are not imported.

What takes time to make (the statements of a table, the validation of an operation's arguments) is
made when a call first needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from kailash_mcp_prod.manifest.content import Manifest, ToolEntry
from kailash_mcp_prod.manifest.entries import model_of
from kailash_mcp_prod.records.cursors import CursorSigner
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation, operations_for
from kailash_mcp_prod.tools.families import ModelFamily
from kailash_mcp_prod.tools.scopes import Scopes
from kailash_mcp_prod.tools.spec import DATABASE, Handler, Hints, Listing, ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.records.executor import RecordOperation
    from kailash_mcp_prod.records.sql.database import PoolSettings, PoolUsage
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
        backend=DATABASE,
        listed=entry.listed,
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
        scopes: Says which records a caller may reach.
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
        scopes: Scopes,
        *,
        make_keyed: Callable[[], KeyedWrites],
    ) -> None:
        self._url = url
        self._pool = pool
        self._cursors = cursors
        self._scopes = scopes
        self._make_keyed = make_keyed
        self._keyed: KeyedWrites | None = None
        self._store: SqlStore | None = None
        self._with_statements: set[str] = set()
        self._making = asyncio.Lock()
        self._served = {each.model.name: each for each in manifest.models}
        self.models: tuple[Model, ...] = tuple(model_of(each.model) for each in manifest.models)

    def tools(self) -> list[ToolSpec]:
        """The record tools, in their order."""
        return [
            tool
            for model in self.models
            for tool in ModelFamily(model, self._masked_tools).adopt(
                tool_of(entry, self._handler(model, entry.operation))
                for entry in self._served[model.name].tools
            )
        ]

    def execution(self, name: str) -> Execution:
        """How the records of a model are reached."""
        return self._served[name].execution

    async def store(self) -> SqlStore:
        """The store of the records."""
        return await self._opened()

    async def ping(self) -> None:
        """Asks the database for an answer.

        Raises:
            UnavailableError: There is none.
        """
        await (await self._opened()).ping()

    def usage(self) -> PoolUsage | None:
        """How the connections are used now; `None` while there are none."""
        return None if self._store is None else self._store.usage()

    async def close(self) -> None:
        """Closes all connections."""
        if self._store is not None:
            await self._store.close()

    def _masked_tools(self, view: Model) -> Iterable[ToolSpec]:
        """The tools for callers who do not see all fields; made, because no file has them."""
        # Late, because a process whose rules hide nothing needs none of it.
        from kailash_mcp_prod.records.arguments import ArgumentsModel
        from kailash_mcp_prod.tools.discovery import record_tool

        listed = {entry.operation: entry.listed for entry in self._served[view.name].tools}
        for operation in operations_for(view, tuple(listed)):
            schema = ArgumentsModel(view, operation).schema
            handler = self._handler(view, operation)
            tool = record_tool(view, operation, schema, handler, listed=listed[operation])
            yield replace(tool, takes_keys=not tool.read_only)

    def _handler(self, model: Model, operation: Operation) -> Handler:
        run: RecordOperation | None = None

        async def handle(call: ToolCall) -> dict[str, object]:
            nonlocal run
            if run is None:
                run = await self._operation(model, operation)
            scope = self._scopes.of(model, call.principal)
            if call.within is not None:
                return await run.within(call.within)(call.arguments, scope)
            if call.idempotency_key is None and call.companion is None:
                return await run(call.arguments, scope)
            keyed, store, part = await self.keyed_writes(), await self._opened(), run.within
            if call.companion is not None:
                return await keyed.accompanied(
                    call.companion,
                    store,
                    lambda transaction: part(transaction)(call.arguments, scope),
                    upserts=run.upserts,
                )
            return await keyed.run(
                f"{model.name}_{operation}",
                call,
                store,
                lambda transaction: part(transaction)(call.arguments, scope),
                upserts=run.upserts,
            )

        return handle

    async def keyed_writes(self) -> KeyedWrites:
        """What runs the writes with idempotency keys."""
        if self._keyed is None:
            self._keyed = await asyncio.to_thread(self._make_keyed)
        return self._keyed

    async def _operation(self, model: Model, operation: Operation) -> RecordOperation:
        store = await self._opened()
        async with self._making:
            return await asyncio.to_thread(self._make, store, model, operation)

    def _make(self, store: SqlStore, model: Model, operation: Operation) -> RecordOperation:
        """Makes what one operation needs; in a thread, because it takes a while."""
        from kailash_mcp_prod.records.executor import RecordOperation
        from kailash_mcp_prod.records.sql.table import TableSql

        if model.name not in self._with_statements:
            store.add(TableSql(model.whole, self._served[model.name].table, store.dialect))
            self._with_statements.add(model.name)
        return RecordOperation(store, model, operation, self._cursors)

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
