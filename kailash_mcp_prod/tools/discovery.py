"""Makes the tools of a DataFlow application from its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kailash_mcp_prod.auth.policy import Policy
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
from kailash_mcp_prod.tools.scopes import Scopes
from kailash_mcp_prod.tools.spec import DATABASE, Handler, Hints, Listing, ToolCall, ToolSpec


class DataFlowToolDiscovery:
    """Makes the record tools of models. Subclass it to rename, leave out or add tools.

    Args:
        store: Where the records are.
        operations: The operations that each model gets, if it allows them.
        cursors: Signs the cursors of lists; by default with a key of its own.
        scopes: Says which records a caller may reach; by default those of its tenant.
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
        scopes: Scopes | None = None,
        keyed: KeyedWrites | None = None,
    ) -> None:
        self._store = store
        self._operations = operations
        self._scopes = scopes or Scopes(Policy())
        self._cursors = cursors or CursorSigner()
        self._keyed = keyed

    def tools_of(self, model: Model) -> list[ToolSpec]:
        """The tools of one model, in the order of the operations.

        It is also called with views of the model, which lack the fields that some callers can't
        reach; see `records.views`.

        Where records can be listed they can also be counted and summed up. Unless `aggregate` is
        one of the operations, that tool is not listed: only other tools may stand for it.
        """
        asked = self._operations
        hidden = (Operation.AGGREGATE,) if Operation.LIST in asked else ()
        return [
            self._tool(model, each, listed=each in asked)
            for each in operations_for(model, (*asked, *hidden))
        ]

    def _tool(self, model: Model, operation: Operation, *, listed: bool) -> ToolSpec:
        run = RecordOperation(self._store, model, operation, self._cursors)
        handler = self._handler(run, model, operation)
        tool = record_tool(model, operation, run.schema, handler, listed=listed)
        return replace(tool, takes_keys=not tool.read_only and self._keyed is not None)

    def _handler(self, run: RecordOperation, model: Model, operation: Operation) -> Handler:
        store, scopes, keyed = self._store, self._scopes, self._keyed
        name = f"{model.name}_{operation}"

        async def handle(call: ToolCall) -> dict[str, object]:
            scope = scopes.of(model, call.principal)
            if call.within is not None:
                return await run.within(call.within)(call.arguments, scope)
            if keyed is not None and call.companion is not None:
                return await keyed.accompanied(
                    call.companion,
                    store,
                    lambda transaction: run.within(transaction)(call.arguments, scope),
                    upserts=run.upserts,
                )
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


def record_tool(
    model: Model,
    operation: Operation,
    input_schema: Mapping[str, Any],
    handler: Handler,
    *,
    listed: bool,
) -> ToolSpec:
    """The tool for one operation of a model.

    Args:
        model: The model, or a view of it.
        operation: What the tool does.
        input_schema: The JSON Schema of its arguments.
        handler: Does it.
        listed: Whether lists have it.
    """
    traits = TRAITS[operation]
    return ToolSpec(
        name=f"{model.name}_{operation}",
        title=title_of(model, operation),
        description=describe(model, operation),
        input_schema=input_schema,
        output_schema=result_schema(model, operation),
        hints=Hints(
            read_only=traits.access == "read",
            destructive=traits.destructive,
            idempotent=traits.idempotent,
        ),
        permissions=(f"{model.name}:{operation}",),
        group=model.name,
        handler=handler,
        operation=str(operation),
        backend=DATABASE,
        listed=listed,
        listing=Listing(describe_briefly(model, operation), listed_schema(input_schema, operation)),
    )
