"""`ProductionMCPServer`: builds the parts of a server and owns their lifetimes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kailash_mcp_prod.auth.chain import AuthProvider
from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.background import BackgroundLoop, run_on
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.content.catalogue import Catalogue
from kailash_mcp_prod.content.completion import DataCompletion
from kailash_mcp_prod.content.instructions import INSTRUCTIONS
from kailash_mcp_prod.content.prompts import DataPrompts
from kailash_mcp_prod.content.resources import DataResources
from kailash_mcp_prod.credentials import ServerCredentials
from kailash_mcp_prod.errors import ServerError, StartupError
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.health_checks import ServerHealth
from kailash_mcp_prod.observe.audit import Audit
from kailash_mcp_prod.observe.dashboard.assembly import DashboardPart
from kailash_mcp_prod.observe.logs import get_logger, tame
from kailash_mcp_prod.observe.metrics import ServerMetrics
from kailash_mcp_prod.observe.metrics_assembly import Monitoring
from kailash_mcp_prod.observing import call_log, configured_traces
from kailash_mcp_prod.protocol import Authenticator, Dispatcher, Seal
from kailash_mcp_prod.records.connecting import is_postgresql
from kailash_mcp_prod.sessions.assembly import Agents
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.application import DataFlowApplication
from kailash_mcp_prod.tools.assembly import tool_service
from kailash_mcp_prod.tools.caching import CachedReads
from kailash_mcp_prod.tools.caller import ToolCaller
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import DATABASE
from kailash_mcp_prod.tools.turns import Turns
from kailash_mcp_prod.transports.stdio import StdioTransport

if TYPE_CHECKING:
    from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
    from kailash_mcp_prod.transports.listening import Listener

log = get_logger(__name__)


class ProductionMCPServer:
    """An MCP server over the models of a DataFlow application.

    Args:
        config: The settings; by default from the environment.
        dataflow: The DataFlow instance; by default the one that `config.models` names.
        auth_providers: Asked before the configured ones for who a client is, whatever
            `enable_auth` says. With `auth_type="custom"` no others are needed.
        discovery: Makes the tools of a model; by default `DataFlowToolDiscovery`.
        metrics: Those of the application, beside the server's own.

    Example:
        ```python
        async with ProductionMCPServer(ServerConfig(port=0, enable_auth=False)) as server:
            await server.mcp_server.call_tool("Company_list", {"limit": 5})
        ```
    """

    _application_type: ClassVar[type[DataFlowApplication]] = DataFlowApplication

    def __init__(
        self,
        config: ServerConfig | None = None,
        *,
        dataflow: Any = None,
        auth_providers: Sequence[AuthProvider] = (),
        discovery: type[DataFlowToolDiscovery] | None = None,
        metrics: ServerMetrics | None = None,
    ) -> None:
        self.config = config or ServerConfig()
        self.registry = ToolRegistry()
        self._guard = Guard(self.config)
        self.policy = policy = Policy(
            {name: entry.role() for name, entry in self.config.roles.items()},
            {model: entry.rule() for model, entry in self.config.access_rules.items()},
            read_only=self.config.read_only,
        )
        self.reads = CachedReads.configured(self.config, self._guard.redis, policy)
        self._turns = Turns(DATABASE, self._guard.database)
        self._traces = configured_traces(self.config)
        self.service = tool_service(
            self.config,
            self.registry,
            policy,
            self._guard,
            reads=self.reads,
            turns=self._turns,
            traces=self._traces,
        )
        self.application = self._application_type(
            self.config,
            self.registry,
            policy,
            dataflow=dataflow,
            discovery=discovery,
            reads=self.reads,
        )
        self._guard.breakers.ask(DATABASE, self.application.answers)
        self.service.watchers.add(
            end=call_log(self.config, policy, self.registry, self._guard, self._traces).end
        )
        self.mcp_server = ToolCaller(self.service)
        self.state = State(lambda: self.application.database_url)
        self._credentials = ServerCredentials(self.config, auth_providers, self.state)
        self.audit = Audit(self.config, policy, self.service, self.state, self.application)
        self._agents = Agents(
            self.config, self.state, self.service, self._guard.redis, self.application
        )
        self.workflows = self._agents.workflows
        self.metrics = metrics or ServerMetrics()
        self._health = ServerHealth(
            self.application,
            self.state,
            self._guard,
            self.service,
            reads=self.reads,
            further=self._further_components,
            policy=policy,
            open_to_all=not (self.config.enable_auth or auth_providers),
        )
        self.monitoring = Monitoring(
            self.config,
            self.metrics,
            policy,
            state=self.state,
            service=self.service,
            guard=self._guard,
            application=self.application,
            reads=self.reads,
            lag=self._health.lag,
        )
        catalogue = Catalogue(self.service, self.application.models)
        self._dashboard = DashboardPart(
            self.config,
            self.service,
            policy,
            self._guard,
            monitoring=self.monitoring.monitor,
            health=self._health.report,
            credentials=self._credentials,
            state=self.state,
            audit=self.audit,
        )
        resources = DataResources(
            self.service, catalogue, self._health.report, self._agents.resources()
        )
        prompts = DataPrompts(self.service, catalogue, resources)
        self._dispatcher = Dispatcher(
            self.service,
            resources=resources,
            prompts=prompts,
            completion=DataCompletion(self.service, catalogue, resources, prompts),
            instructions=INSTRUCTIONS,
            seal=Seal(self.config.cursor_key),
            observer=self.monitoring.monitor.observer,
            tracer=None if self._traces is None else self._traces.requests,
        )
        self.monitoring.watch(self._dispatcher.methods())
        if self._traces is not None:
            self._traces.watch(self.service, self.application, self._dispatcher.methods())
        self._running: AsyncExitStack | None = None
        self._stdio: StdioTransport | None = None
        self._background: BackgroundLoop | None = None
        self.mcp_url: str | None = None
        self.ws_url: str | None = None
        self.rest_url: str | None = None

    async def start(self) -> None:
        """Prepares the database, makes the tools, and serves as the configuration says.

        Raises:
            StartupError: The server can't start; the message says what to change.
        """
        if self._running is not None:
            raise StartupError("The server is running already.")
        async with AsyncExitStack() as stack:
            # First in, so closed last: requests end before what they work on.
            if self._traces is not None:
                stack.push_async_callback(self._traces.stop)
            stack.push_async_callback(self.state.close)
            stack.push_async_callback(self.monitoring.monitor.stop)
            stack.push_async_callback(self._credentials.close)
            stack.push_async_callback(self._guard.stop)
            stack.push_async_callback(self._health.stop)
            stack.push_async_callback(self._agents.stop)
            stack.push_async_callback(self.application.stop)
            stack.push_async_callback(self.audit.stop)
            stack.callback(self._dispatcher.close)
            if self.config.transport == "stdio":
                # Only the application may know where that is kept by which the client is known.
                waits = self.application.database_url is None
                if waits and self._credentials.of_this_process_may_be_kept:
                    await self._start_application()
                    await self._start_stdio(stack)
                else:
                    await self._start_stdio(stack)
                    await self._start_application()
            else:
                await self._start_serving(stack)
            # Not before: what holds the loop up while it starts holds up nobody.
            self._health.start()
            self.mcp_server.bind(asyncio.get_running_loop())
            stack.callback(self.mcp_server.bind, None)
            self._running = stack.pop_all()

    async def stop(self, *, drain: bool = True) -> None:
        """Stops serving and closes everything; later calls do nothing.

        Args:
            drain: Give running calls `drain_seconds` to finish, while new ones are refused. What
                still runs then ends within about two seconds.
        """
        running, self._running = self._running, None
        if running is not None:
            if drain:
                await self.drain()
            await running.aclose()

    async def drain(self) -> None:
        """Refuses new calls and lets running ones finish, for `drain_seconds` at most."""
        await self.service.drain(self.config.drain_seconds)

    async def wait_closed(self) -> None:
        """Waits until the client of a stdio server has closed its end; else for ever."""
        if self._stdio is None:
            await asyncio.Event().wait()
        else:
            await self._stdio.wait_closed()

    async def describe(self) -> None:
        """Makes the tools without a database; none of them can be called.

        Raises:
            StartupError: The models can't be loaded, or a rule does not fit them.
        """
        await self.application.describe()
        self.registry.add([*self._agents.tools(), *self.monitoring.tools(), self._health.tool])

    async def register_model(self, model: type) -> None:
        """Registers a model class with DataFlow, makes its table and adds its tools.

        Connected clients are told. The same happens within a second after `@db.model`.

        Raises:
            StartupError: The model can't be served; nothing has changed for clients.
        """
        await run_on(self.mcp_server.loop, self.application.register(model))

    def start_mcp_server_async(self) -> None:
        """Serves from a background thread; returns once clients can connect.

        Raises:
            StartupError: The server can't start; the message says what to change.
        """
        if self._background is not None:
            raise StartupError("The server is running already.")
        background = BackgroundLoop("kailash-mcp-prod")
        try:
            background.run(self.start())
        except BaseException:
            background.close()
            raise
        self._background = background

    def stop_mcp_server(self) -> None:
        """Stops a server that `start_mcp_server_async` has started."""
        background, self._background = self._background, None
        if background is not None:
            try:
                background.run(self.stop())
            finally:
                background.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _start_application(self) -> None:
        try:
            await self._guard.start()
            await self.application.start()
            await self._agents.start()
            await self.monitoring.monitor.start()
            self.registry.add([*self.monitoring.tools(), self._health.tool])
        except StartupError:
            self.service.mark_failed()
            raise
        # What was imported meanwhile may have set up logging of its own.
        tame()
        self._turns.needed = is_postgresql(self.application.database_url or "")
        self.service.mark_ready()

    async def _start_stdio(self, stack: AsyncExitStack) -> None:
        key, token = self.config.api_key, self.config.token
        credentials = Credentials(
            authorization=f"Bearer {token.get_secret_value()}" if token else None,
            api_key=key.get_secret_value() if key else None,
        )
        self._stdio = StdioTransport(
            self._dispatcher,
            self.audit.authenticator(self._credentials.authenticator, "stdio"),
            credentials,
            max_line_bytes=self.config.max_body_bytes,
            revocations=self._credentials.watch,
        )
        try:
            await self._stdio.start()
        except ServerError as refused:
            raise StartupError(f"{refused.message} Set MCP_API_KEY or MCP_TOKEN.") from None
        stack.push_async_callback(self._stdio.stop)

    def _authenticator(self, transport: str) -> Authenticator:
        return self.audit.authenticator(self._credentials.authenticator, transport)

    def _further_components(self) -> dict[str, dict[str, Any]]:
        """Further components in the report on health, whose state is known without asking."""
        return {**self._credentials.components(), **self.audit.components()}

    async def _start_serving(self, stack: AsyncExitStack) -> None:
        listeners = self._listeners(stack)
        await self._start_application()
        await self.audit.start()
        await self._credentials.prepare()
        for listener in listeners:
            await listener.start()
        log.info(
            "serving",
            mcp=self.mcp_url,
            ws=self.ws_url,
            rest=self.rest_url,
            tools=len(self.registry),
        )

    def _listeners(self, stack: AsyncExitStack) -> list[Listener]:
        # Late, because a process over stdio needs none of it.
        from kailash_mcp_prod.serving import Surroundings, mcp_transports
        from kailash_mcp_prod.transports.connection_limit import ConnectionLimit
        from kailash_mcp_prod.transports.listening import Listener
        from kailash_mcp_prod.transports.resource_metadata import ResourceMetadata
        from kailash_mcp_prod.transports.rest import create_rest_app
        from kailash_mcp_prod.transports.routing import TransportRouter

        config = self.config
        around = Surroundings.of(config)
        http, websocket = mcp_transports(
            config, self._dispatcher, self._authenticator, self._credentials.watch, around
        )
        rest = create_rest_app(
            self.service,
            self._authenticator("rest"),
            self._health,
            max_body_bytes=config.max_body_bytes,
            allowed_hosts=around.hosts,
            allowed_origins=around.origins,
            challenges=around.challenges,
            asks=config.enable_auth,
            unread=around.unread,
            metrics=self.monitoring.monitor,
            mounts=self._dashboard.mounts(stack),
        )
        traced = rest if self._traces is None else self._traces.rest(rest)
        all_three = http, websocket, traced
        with_http, with_ws = config.transport != "websocket", config.transport != "http"
        connections = ConnectionLimit(config.max_connections)
        self.monitoring.channels.update(
            http_session=lambda: http.open_sessions,
            websocket=lambda: websocket.open_channels,
            connection=lambda: connections.open,
        )
        mcp_listener = Listener(
            TransportRouter(
                websocket, http if with_http else None, ResourceMetadata(around.challenges.resource)
            ),
            config.host,
            config.port,
            max_message_bytes=config.max_body_bytes if with_ws else None,
            connections=connections,
        )
        stack.push_async_callback(mcp_listener.stop)
        port = config.port + 1 if config.port else 0
        rest_listener = Listener(traced, config.host, port, connections=connections)
        stack.push_async_callback(rest_listener.stop)

        stack.push_async_callback(lambda: asyncio.gather(*(each.stop() for each in all_three)))
        mcp = mcp_listener.url
        self.mcp_url = f"{mcp}/mcp" if with_http else None
        self.ws_url = f"{mcp.replace('http', 'ws', 1)}/ws" if with_ws else None
        self.rest_url = rest_listener.url
        return [mcp_listener, rest_listener]
