"""The workflow sessions of a server; what drives them is made when it is first needed."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.sessions.handing_over import Give
from kailash_mcp_prod.sessions.workflow_registry import (
    DEFAULT_TARGET,
    WorkflowRegistry,
    load_registry,
)
from kailash_mcp_prod.sessions.workflow_tools import workflow_tools
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.workflow_driver import WorkflowDriver
    from kailash_mcp_prod.sessions.workflow_places import WorkflowRecords


class WorkflowSessions:
    """The tools for workflow sessions and what is behind them.

    Args:
        config: The settings.
        state: Makes the tables.
        service: The tools that steps call.
        records: The stores of the application.
        registry: What was registered by code; the application's own registry is added to it.
    """

    def __init__(
        self,
        config: ServerConfig,
        state: State,
        service: ToolService,
        records: WorkflowRecords,
        registry: WorkflowRegistry,
    ) -> None:
        self._config = config
        self._state = state
        self._service = service
        self._records = records
        self._registry = registry
        self._making = asyncio.Lock()
        self._made: WorkflowDriver | None = None

    def tools(self) -> Iterable[ToolSpec]:
        """See `Part.tools`."""
        return workflow_tools(self)

    async def start(self) -> None:
        """See `Part.start`."""
        self._making = asyncio.Lock()
        if self._config.workflows != DEFAULT_TARGET and self._config.transport != "stdio":
            # A server that others rely on says at once that they can't be served.
            await asyncio.to_thread(load_registry, self._config.workflows)

    async def stop(self) -> None:
        """See `Part.stop`."""
        made, self._made = self._made, None
        if made is not None:
            await made.stop()

    async def driver(self) -> WorkflowDriver:
        """What does the tools' work."""
        async with self._making:
            if self._made is None:
                # In a thread, because a client over stdio may be waiting for something else.
                module = await asyncio.to_thread(
                    importlib.import_module, "kailash_mcp_prod.sessions.workflow_driver"
                )
                self._made = module.WorkflowDriver(
                    self._config, self._state, self._service, self._records, self._registry
                )
            return self._made

    async def create(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Makes a session for the caller."""
        return await (await self.driver()).create(call, arguments)

    async def execute(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Does one step, or all that the template has left."""
        return await (await self.driver()).execute(call, arguments)

    async def status(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Where a session stands."""
        return await (await self.driver()).status(call, arguments)

    async def cleanup(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Removes sessions of the caller."""
        return await (await self.driver()).cleanup(call, arguments)

    async def hand_over(self, session_id: str, from_owner: str) -> Give:
        """What makes a session somebody else's, between two of its steps.

        Args:
            session_id: The session.
            from_owner: Whose it is; see `owner_digest`.
        """
        return await (await self.driver()).hand_over(session_id, from_owner)
