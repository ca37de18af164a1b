"""Which records an agent may read, asked of the very tool that reads them."""

from __future__ import annotations

from msgspec.structs import replace

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec


class ReadableRecords:
    """Knows it for all models of a server.

    Args:
        service: The tools.
    """

    def __init__(self, service: ToolService) -> None:
        self._service = service

    def may_read(self, call: ToolCall, model: str) -> bool:
        """Whether whoever makes the call may read records of the model."""
        return self._reader(call.principal, model) is not None

    async def check(self, call: ToolCall, model: str, record_id: str | int) -> None:
        """Sees that whoever makes the call may read the record.

        Raises:
            NotFoundError: There is no such record for it.
        """
        reader = self._reader(call.principal, model)
        if reader is None:
            raise NotFoundError(
                f"model: there is no model '{shown(model)}' whose records you may read.",
                field="model",
            )
        # Not through the service: the call that asks holds a place and was counted there.
        await reader.handler(
            replace(call, arguments={"id": record_id}, idempotency_key=None, session_id=None)
        )

    def _reader(self, principal: Principal, model: str) -> ToolSpec | None:
        """The tool that reads records of a model, as the principal sees it."""
        for tool in self._service.registry.every():
            if tool.group == model and tool.operation == Operation.READ:
                return self._service.visibility.tool(principal, tool)
        return None
