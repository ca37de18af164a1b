"""`MountedServer`: a server without ports of its own, carried by a Nexus app."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Final

from kailash_mcp_prod.auth.chain import AuthProvider
from kailash_mcp_prod.auth.configured import configured_challenges
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.nexus.applications import WithoutModels
from kailash_mcp_prod.nexus.dashboard import PATH as DASHBOARD
from kailash_mcp_prod.nexus.dashboard import MountedDashboard
from kailash_mcp_prod.nexus.openapi import Schemas
from kailash_mcp_prod.nexus.overview import Overview
from kailash_mcp_prod.nexus.platform import NexusPlatform
from kailash_mcp_prod.nexus.rest import NexusRest
from kailash_mcp_prod.nexus.tools import NexusWorkflows
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.server import ProductionMCPServer
from kailash_mcp_prod.serving import Surroundings, mcp_transports
from kailash_mcp_prod.sessions.opening import Opened
from kailash_mcp_prod.tools.application import DataFlowApplication
from kailash_mcp_prod.transports.http import HttpTransport
from kailash_mcp_prod.transports.http_guard import HostGuard
from kailash_mcp_prod.transports.unread_budget import UnreadBudget
from kailash_mcp_prod.transports.websocket import WebSocketTransport

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.overseeing import Overseer

log = get_logger(__name__)

_OVERSEER: Final = "kailash_mcp_prod.sessions.overseeing"


class MountedServer(ProductionMCPServer):
    """The MCP server of a Nexus app: its ASGI parts are `http`, `websocket` and `rest`.

    Args:
        platform: The app.
        config: The settings.
        prefix: The path below which everything is.
        hosts: Names under which the app may be addressed.
        origins: Web pages that may call.
        dataflow: The models.
        auth_providers: Who tells who clients are.
        expose: The workflows that are tools of their own.
        always_asks: Whether the dashboard is for nobody without a credential.
    """

    def __init__(
        self,
        platform: NexusPlatform,
        config: ServerConfig,
        *,
        prefix: str,
        hosts: Collection[str],
        origins: Collection[str],
        dataflow: Any = None,
        auth_providers: Sequence[AuthProvider] = (),
        expose: bool | Collection[str] = False,
        always_asks: bool = True,
    ) -> None:
        super().__init__(config, dataflow=dataflow, auth_providers=auth_providers)
        self._prefix = prefix
        self._hosts = hosts
        self._origins = origins
        self.nexus = NexusWorkflows(
            platform,
            self.service,
            self.policy,
            expose=expose,
            timeout_seconds=config.request_timeout_seconds,
        )
        self._overview = Overview(self.nexus, platform, self._guard.breakers, prefix)
        self.monitoring.integrations["nexus"] = self._overview.metrics
        seconds = config.agent_session_timeout_minutes * 60
        self._overseer: Opened[Overseer] = Opened(
            self.state,
            _OVERSEER,
            lambda module, database: module.Overseer(database, seconds),
            may_create=False,
        )
        self._dashboard.integrations["nexus"] = self._overview.shown
        self._dashboard.always_asks = always_asks
        self.dashboard: MountedDashboard | None = None
        self.http: HttpTransport
        self.websocket: WebSocketTransport
        self.rest: NexusRest

    async def end_requests(self) -> None:
        """Ends all streams and channels, and what still runs after a second."""
        await asyncio.gather(self.http.stop(), self.websocket.stop(), self.rest.stop())

    def workflow_schemas(self) -> Schemas:
        """The schemas of the tools for workflow sessions."""
        tools = self._agents.workflow_sessions.tools()
        return {each.name: (each.input_schema, each.output_schema) for each in tools}

    async def health(self) -> dict[str, Any]:
        """The report on health."""
        return await self._health.report()

    async def overseer(self) -> Overseer:
        """What is kept of everybody's sessions."""
        return await self._overseer.get()

    def _further_components(self) -> dict[str, dict[str, Any]]:
        return {**super()._further_components(), "nexus": self._overview.component()}

    async def _start_serving(self, stack: AsyncExitStack) -> None:
        challenges = configured_challenges(self.config)
        around = Surroundings(self._hosts, self._origins, challenges, UnreadBudget())
        self.http, self.websocket = mcp_transports(
            self.config,
            self._dispatcher,
            self._authenticator,
            self._credentials.watch,
            around,
            path=self._prefix,
            websocket_path=f"{self._prefix}/ws",
        )
        self.rest = NexusRest(self, self._authenticator("rest"), around, self.config, self._prefix)
        path, guard = f"{self._prefix}/{DASHBOARD}", HostGuard(self._hosts, self._origins)
        for each in self._dashboard.mounts(stack).values():
            self.dashboard = MountedDashboard(each, path, guard)
        http, websocket = self.http, self.websocket
        self.monitoring.channels.update(
            http_session=lambda: http.open_sessions, websocket=lambda: websocket.open_channels
        )
        stack.callback(self._overseer.close)
        stack.push_async_callback(self.nexus.stop)
        stack.push_async_callback(self.end_requests)
        await self._start_application()
        await self.audit.start()
        await self._credentials.prepare()
        await self.nexus.start()
        log.info(
            "serving_on_nexus",
            prefix=self._prefix,
            tools=len(self.registry),
            workflows=self.nexus.count,
        )


class ModellessServer(MountedServer):
    """The same without models."""

    _application_type: ClassVar[type[DataFlowApplication]] = WithoutModels
