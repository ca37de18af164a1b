"""All that agents keep between calls, put together as the settings say."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.sessions.agent_sessions import AgentSessions
from kailash_mcp_prod.sessions.collaboration import Collaboration
from kailash_mcp_prod.sessions.readable import ReadableRecords
from kailash_mcp_prod.sessions.workflow_registry import WorkflowRegistry
from kailash_mcp_prod.sessions.workflow_sessions import WorkflowSessions
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.workflow_places import WorkflowRecords


class Part(Protocol):
    """A family of tools and what runs behind it."""

    def tools(self) -> Iterable[ToolSpec]:
        """The tools, always the same."""

    async def start(self) -> None:
        """Starts what runs in the background; the application's database is known by now."""

    async def stop(self) -> None:
        """Ends that; a part that was not started does nothing."""


class Agents:
    """The agent sessions of a server and what belongs to them.

    Args:
        config: The settings.
        state: Where they are kept; opened when it is first needed.
        service: The tools that agents use meanwhile.
        redis: What replicas tell each other through; `None` where there is no Redis.
        records: The stores of the application, which workflow sessions share.
    """

    def __init__(
        self,
        config: ServerConfig,
        state: State,
        service: ToolService,
        redis: RedisConnection | None,
        records: WorkflowRecords,
    ) -> None:
        self._service = service
        sessions = AgentSessions(
            state,
            timeout_seconds=config.agent_session_timeout_minutes * 60,
            may_create=config.auto_migrate,
        )
        service.sessions = sessions
        self.workflows = WorkflowRegistry()
        self.workflow_sessions = WorkflowSessions(config, state, service, records, self.workflows)
        self._collaboration: Collaboration | None = None
        if config.enable_agent_collaboration:
            visible = ReadableRecords(service)
            self._collaboration = Collaboration(
                state,
                readable=visible.check,
                readable_among=visible.among,
                hand_over=self.workflow_sessions.hand_over,
                redis=redis,
                may_create=config.auto_migrate,
            )
        parts = (sessions, self._collaboration, self.workflow_sessions)
        self._parts: tuple[Part, ...] = tuple(each for each in parts if each is not None)
        self._running: AsyncExitStack | None = None

    async def start(self) -> None:
        """Adds the tools to those of the server."""
        async with AsyncExitStack() as stack:
            for part in self._parts:
                stack.push_async_callback(part.stop)
                await part.start()
            self._service.registry.add(self.tools())
            self._running = stack.pop_all()

    async def stop(self) -> None:
        """Ends what runs in the background, what was started last first."""
        running, self._running = self._running, None
        if running is not None:
            await running.aclose()

    def tools(self) -> list[ToolSpec]:
        """The tools of all parts."""
        return [tool for part in self._parts for tool in part.tools()]

    def resources(self) -> list[Collaboration]:
        """What of it is read as a resource, and may be watched."""
        return [] if self._collaboration is None else [self._collaboration]
