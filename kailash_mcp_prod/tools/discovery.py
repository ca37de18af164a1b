"""Makes the tools of a DataFlow application from its models."""

from __future__ import annotations

from kailash_mcp_prod.records.cursors import CursorSigner
from kailash_mcp_prod.records.executor import RecordOperation
from kailash_mcp_prod.records.listing import listed_schema
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import (
    DEFAULT_OPERATIONS,
    TRAITS,
    Operation,
    operations_for,
)
from kailash_mcp_prod.records.results import result_schema
from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.tools.descriptions import describe, describe_briefly, title_of
from kailash_mcp_prod.tools.idempotency import KeyedWrites
from kailash_mcp_prod.tools.scopes import scope_of
from kailash_mcp_prod.tools.spec import Handler, Hints, Listing, ToolCall, ToolSpec


class DataFlowToolDiscovery:
    """Makes the record tools of models. Subclass it to rename, leave out or add tools.

    Args:
        store: Where the records are.
        operations: The operations that each model gets, if it allows them.
        cursors: Signs the cursors of lists; by default with a key of its own.
        keyed: Runs the writes with idempotency keys; `None` leaves the tools without keys.

    Example:
        ```python
        class ReadOnlyDiscovery(DataFlowToolDiscovery):
            def tools_of(self, model: Model) -> list[ToolSpec]:
                return [tool for tool in super().tools_of(model) if tool.hints.read_only]
        ```
    """

    def __init__(
        self,
        store: RecordStore,
        operations: tuple[Operation, ...] = DEFAULT_OPERATIONS,
        cursors: CursorSigner | None = None,
        keyed: KeyedWrites | None = None,
    ) -> None:
        self._store = store
        self._operations = operations
        self._cursors = cursors or CursorSigner()
        self._keyed = keyed

    def tools_of(self, model: Model) -> list[ToolSpec]:
        """The tools of one model, in the order of the operations."""
        return [self._tool(model, each) for each in operations_for(model, self._operations)]

    def _tool(self, model: Model, operation: Operation) -> ToolSpec:
        run = RecordOperation(self._store, model, operation, self._cursors)
        traits = TRAITS[operation]
        name = f"{model.name}_{operation}"
        writes = traits.access == "write"
        return ToolSpec(
            name=name,
            title=title_of(model, operation),
            description=describe(model, operation),
            input_schema=run.schema,
            output_schema=result_schema(model, operation),
            hints=Hints(
                read_only=not writes,
                destructive=traits.destructive,
                idempotent=traits.idempotent,
            ),
            permissions=(f"{model.name}:{operation}",),
            group=model.name,
            handler=self._handler(name, run, model),
            operation=str(operation),
            takes_keys=writes and self._keyed is not None,
            listing=Listing(
                describe_briefly(model, operation), listed_schema(run.schema, operation)
            ),
        )

    def _handler(self, name: str, run: RecordOperation, model: Model) -> Handler:
        store, keyed = self._store, self._keyed

        async def handle(call: ToolCall) -> dict[str, object]:
            scope = scope_of(model, call.principal)
            if keyed is None or call.idempotency_key is None:
                return await run(call.arguments, scope)
            return await keyed.run(
                name,
                call,
                store,
                lambda transaction: run.within(transaction)(call.arguments, scope),
                upserts=run.upserts,
            )

        return handle
