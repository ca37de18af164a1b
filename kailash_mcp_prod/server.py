"""`ProductionMCPServer`: builds the parts of a server and owns their lifetimes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kailash_mcp_prod.auth.chain import AuthProvider
from kailash_mcp_prod.auth.policy import Policy
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
from kailash_mcp_prod.tools.assembly import prepared_reads, tool_service
from kailash_mcp_prod.tools.caching import CachedReads
from kailash_mcp_prod.tools.caller import ToolCaller
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import DATABASE
from kailash_mcp_prod.tools.turns import Turns
from kailash_mcp_prod.transports.stdio import StdioTransport

if TYPE_CHECKING:
    from kailash_mcp_prod.serving import Serving
    from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
    from kailash_mcp_prod.transports.base import BaseTransport, TransportFactory
    from kailash_mcp_prod.workers.place import WorkerPlace

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
        transports: Make further transports, by the names that the audit calls them.
        place: Which of several workers this is.

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
        transports: Mapping[str, TransportFactory] | None = None,
        place: WorkerPlace | None = None,
    ) -> None:
        self.config = config = config or ServerConfig()
        self._place = place
        self._further = transports or {}
        self.transports: dict[str, BaseTransport] = {}
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
            config, self.registry, policy, dataflow=dataflow, discovery=discovery, reads=self.reads
        )
        self._guard.breakers.ask(DATABASE, self.application.answers)
        calls = call_log(self.config, policy, self.registry, self._guard, self._traces)
        self.service.watchers.add(end=calls.end)
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
            seal=Seal(self.config.run_key),
            observer=self.monitoring.monitor.observer,
            tracer=None if self._traces is None else self._traces.requests,
            slot=0 if place is None else place.slot,
            preparing=prepared_reads(self.service, self.reads, self._traces),
        )
        self.monitoring.watch(self._dispatcher.methods())
        if self._traces is not None:
            self._traces.watch(self.service, self.application, self._dispatcher.methods())
        self._running: AsyncExitStack | None = None
        self._stdio: StdioTransport | None = None
        self._serving: Serving | None = None
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
            for name, make in self._further.items():
                self.transports[name] = transport = make(
                    self._dispatcher, self._authenticator(name)
                )
                await transport.start()
                stack.push_async_callback(transport.stop)
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

    async def drain(self, *, replaced: bool = False) -> None:
        """Refuses new calls and lets running ones finish, for `drain_seconds` at most.

        Before that the server goes on for `shutdown_grace_seconds`, is not ready any more, and
        tells clients to come by another connection next time.

        Args:
            replaced: Whether another worker accepts on the same sockets.
        """
        if self._serving is None:
            await self.service.drain(self.config.drain_seconds)
        else:
            await self._serving.drain(self.service, self.config, replaced=replaced)

    async def wait_closed(self) -> None:
        """Waits until the client of a stdio server has closed its end; else for ever."""
        if self._stdio is None:
            await asyncio.Event().wait()
        else:
            await self._stdio.wait_closed()

    @property
    def urls(self) -> dict[str, str]:
        """Where clients connect, by kind."""
        found = {"MCP": self.mcp_url, "WS": self.ws_url, "REST": self.rest_url}
        return {name: url for name, url in found.items() if url is not None}

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

    async def __aexit__(self, *_failure: object) -> None:
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
        self._stdio = StdioTransport(
            self._dispatcher,
            self._authenticator("stdio"),
            self._credentials.of_this_process,
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
        own = {} if self._place is None else {"worker": self._place.component()}
        return {**own, **self._credentials.components(), **self.audit.components()}

    async def _start_serving(self, stack: AsyncExitStack) -> None:
        serving = self._serving = self._listen(stack)
        stack.push_async_callback(serving.stop)
        await self._start_application()
        await self.audit.start()
        await self._credentials.prepare()
        await serving.start()
        log.info(
            "serving",
            mcp=self.mcp_url,
            ws=self.ws_url,
            rest=self.rest_url,
            tools=len(self.registry),
        )

    def _listen(self, stack: AsyncExitStack) -> Serving:
        # Late, because a process over stdio needs none of it.
        from kailash_mcp_prod.serving import Serving, Surroundings, mcp_transports
        from kailash_mcp_prod.transports.rest import create_rest_app

        config = self.config
        around = Surroundings.of(config, self._place)
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
        serving = Serving(config, http, websocket, traced, around=around, place=self._place)
        self.monitoring.channels.update(
            http_session=lambda: http.open_sessions,
            websocket=lambda: websocket.open_channels,
            connection=lambda: serving.connections.open,
        )
        self.mcp_url, self.ws_url, self.rest_url = serving.mcp_url, serving.ws_url, serving.rest_url
        return serving
