"""Which records an agent may read, asked of the very tool that reads them."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from msgspec.structs import replace

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ForbiddenError, NotFoundError
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

Key = str | int


class ReadableRecords:
    """Knows it for all models of a server.

    Args:
        service: The tools.
    """

    def __init__(self, service: ToolService) -> None:
        self._service = service

    async def among(self, call: ToolCall, model: str, records: Collection[Key]) -> set[Key]:
        """Those of some records that exist for whoever makes the call.

        Where no rule divides the rows of the model, all of them, be they there or not.
        """
        reader = self._reader(call.principal, model)
        if reader is None:
            return set()
        if not self._service.visibility.divides(call.principal, model):
            return set(records)
        found = set()
        for each in records:
            with suppress(NotFoundError, ForbiddenError):
                await _read(reader, call, each)
                found.add(each)
        return found

    async def check(self, call: ToolCall, model: str, record_id: Key) -> None:
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
        await _read(reader, call, record_id)

    def _reader(self, principal: Principal, model: str) -> ToolSpec | None:
        """The tool that reads records of a model, as the principal sees it."""
        for tool in self._service.registry.every():
            if tool.group == model and tool.operation == Operation.READ:
                return self._service.visibility.tool(principal, tool)
        return None


async def _read(reader: ToolSpec, call: ToolCall, record_id: Key) -> None:
    # Not through the service: the call that asks holds a place and was counted there.
    await reader.handler(
        replace(call, arguments={"id": record_id}, idempotency_key=None, session_id=None)
    )
