"""The machinery behind the metrics of one server: who counts, who is asked, who adds it up."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import InsufficientScopeError, NotFoundError, StartupError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.observe.loop_lag import LoopLag
from kailash_mcp_prod.observe.metrics import ServerMetrics
from kailash_mcp_prod.observe.metrics_calls import CallFigures
from kailash_mcp_prod.observe.metrics_families import Family, Source
from kailash_mcp_prod.observe.metrics_history import MOST_SAMPLES, HistorySample, Moment
from kailash_mcp_prod.observe.metrics_operations import OperationFigures
from kailash_mcp_prod.observe.metrics_snapshot import Figures
from kailash_mcp_prod.observe.metrics_sources import Process, of_process, of_sessions

if TYPE_CHECKING:
    from kailash_mcp_prod.auth.policy import Policy
    from kailash_mcp_prod.auth.principal import Principal
    from kailash_mcp_prod.observe.metrics_exchange import Exchange
    from kailash_mcp_prod.sessions.counting import SessionCounter, SessionCounts
    from kailash_mcp_prod.tools.service import ToolService

log = get_logger(__name__)

READ: Final = "monitor:read"
_WRITE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Page:
    """What has to be permitted to read the metrics."""

    name: str = "get_server_metrics"
    permissions: tuple[str, ...] = (READ,)
    read_only: bool = True


class Monitor:
    """Counts what a server does, and tells it.

    Args:
        config: The settings.
        metrics: Those of the application.
        policy: Says who may read them.
        counter: Counts the sessions in the database.
        lag: Knows how late the event loop is.
    """

    def __init__(
        self,
        config: ServerConfig,
        metrics: ServerMetrics,
        policy: Policy,
        counter: SessionCounter,
        lag: LoopLag,
    ) -> None:
        self.enabled = config.enable_metrics
        self.timed = config.enable_performance_tracking
        self.by_agent = config.enable_agent_analytics
        self.slow_ms = config.slow_request_ms
        self.interval = config.metrics_collection_interval
        self.metrics = metrics
        self._policy = policy
        self._counter = counter
        self._directory = config.metrics_directory
        self.calls = CallFigures(
            timed=self.timed, slow_seconds=self.slow_ms / 1000, by_agent=self.by_agent
        )
        self.operations = OperationFigures(self.calls, timed=self.timed)
        self.lag = lag
        self.history: deque[HistorySample] = deque(maxlen=MOST_SAMPLES)
        self._process = Process()
        self._sources: list[Source] = []
        self._exchange: Exchange | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._collecting = asyncio.Lock()
        self._latest: Moment | None = None
        self.started_at = time.time()

    @property
    def observer(self) -> OperationFigures | None:
        """Who is told of requests of MCP; nobody when metrics are off."""
        return self.operations if self.enabled else None

    def sent(self, principal: Principal, body: bytes) -> None:
        """Counts an answer that did not go through the dispatcher."""
        if self.enabled:
            self.calls.sent(principal.subject, body)

    def watch(self, service: ToolService, methods: frozenset[str]) -> None:
        """Counts the calls of a service from now on, if metrics are on.

        Args:
            service: The tools.
            methods: The names of the methods of MCP.
        """
        if not self.enabled:
            return

        def know() -> None:
            names = {tool.name for tool in service.registry.every()}
            self.calls.know(names)
            self.operations.know(names | _of_surfaces(), methods)

        service.registry.subscribe(know)
        know()
        service.watchers.add(end=self.calls.end)
        if type(self.metrics).call_ended is not ServerMetrics.call_ended:
            service.watchers.add(end=self.metrics.call_ended)

    def add_source(self, source: Source) -> None:
        """Asks a part for its figures at each export."""
        self._sources.append(source)

    async def start(self) -> None:
        """Begins to take samples."""
        self._collecting = asyncio.Lock()
        self._counter.start()
        if not self.enabled:
            return
        self.started_at = time.time()
        if self._directory is not None:
            from kailash_mcp_prod.observe.metrics_exchange import FAILURES, Exchange

            exchange = Exchange(self._directory)
            try:
                await asyncio.to_thread(exchange.open)
            except FAILURES as failure:
                raise StartupError(
                    f"metrics_directory can't be used: {type(failure).__name__}. Name a directory "
                    "that the server may write."
                ) from None
            self._exchange = exchange
            self._tasks.append(asyncio.create_task(self._keep_writing(exchange)))
        self._latest = Moment.of(Figures.of(self.calls, self.operations, ()))
        self._tasks.append(asyncio.create_task(self._keep_sampling(), name="metrics-history"))

    async def stop(self) -> None:
        """Ends that; what was counted stays, here or in the directory."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            from kailash_mcp_prod.observe.metrics_exchange import FAILURES

            try:
                await asyncio.to_thread(exchange.write, self._here(()), ended=True)
            except FAILURES as failure:
                log.warning("metrics_not_written", reason=type(failure).__name__)
            # From now on that file stands for them.
            self.calls.forget()
            self.operations.forget()

    async def collect(self) -> tuple[Figures, SessionCounts | None]:
        """The figures of all workers at this moment, and the sessions in the database."""
        async with self._collecting:
            counts = await self._counter.counts()
            process = await asyncio.to_thread(self._process.figures)
            figures = self._here((*of_process(process, self.lag), *of_sessions(counts)))
            if self._exchange is not None:
                await self._exchanged(self._exchange, figures)
            return figures, counts

    async def export(self, principal: Principal, accept: str) -> tuple[bytes, str]:
        """The metrics for a scrape: the body and its content type.

        Args:
            principal: Who asks.
            accept: The header `Accept`.

        Raises:
            NotFoundError: Metrics are off.
            InsufficientScopeError: The principal may not read them.
        """
        if not self._policy.allows(principal, _Page()):
            raise InsufficientScopeError(
                f"The metrics need the permission {READ}.", details={"required_scopes": [READ]}
            )
        if not self.enabled:
            raise NotFoundError(
                "The server keeps no metrics. Its setting enable_metrics turns them on.",
                details={"setting": "enable_metrics"},
            )
        figures, _ = await self.collect()
        return await asyncio.to_thread(self._encode, figures, accept)

    def sees_all(self, principal: Principal) -> bool:
        """Whether a principal may read the figures of other agents."""
        return bool(self._policy.access(principal).grants & {"*", "*:*", "monitor:*"})

    @property
    def latest(self) -> Moment | None:
        """Where the interval began that is under way."""
        return self._latest

    def _encode(self, figures: Figures, accept: str) -> tuple[bytes, str]:
        # Late, and in a thread, because the library takes a while to import.
        from kailash_mcp_prod.observe.metrics_export import encode

        return encode(figures, accept, timed=self.timed)

    def _here(self, families: Iterable[Family]) -> Figures:
        """A copy of the figures of this process."""
        found = [family for source in self._sources for family in source()]
        if self.metrics.has_own:
            from kailash_mcp_prod.observe.metrics_export import from_registry

            labels = {} if self._directory is None else {"pid": str(os.getpid())}
            found += from_registry(self.metrics.registry, labels)
        return Figures.of(self.calls, self.operations, (*families, *found))

    async def _exchanged(self, exchange: Exchange, figures: Figures) -> None:
        """Adds what the other workers have counted."""
        from kailash_mcp_prod.observe.metrics_exchange import FAILURES

        def exchanged() -> None:
            exchange.write(figures)
            figures.add(exchange.others())

        try:
            await asyncio.to_thread(exchanged)
        except FAILURES as failure:
            log.warning("metrics_not_exchanged", reason=type(failure).__name__)

    async def _keep_writing(self, exchange: Exchange) -> None:
        from kailash_mcp_prod.observe.metrics_exchange import FAILURES

        while True:
            async with self._collecting:
                process = await asyncio.to_thread(self._process.figures)
                figures = self._here(of_process(process, self.lag))
                with suppress(*FAILURES):
                    await asyncio.to_thread(exchange.write, figures)
            await asyncio.sleep(min(self.interval, _WRITE_SECONDS))

    async def _keep_sampling(self) -> None:
        while True:
            await asyncio.sleep(self.interval)
            await self.sample()

    async def sample(self) -> None:
        """Puts the interval that ends now into the history."""
        figures, _ = await self.collect()
        now = Moment.of(figures)
        if self._latest is not None:
            self.history.append(now.since(self._latest))
        self._latest = now


def _of_surfaces() -> set[str]:
    """The names of the tools that only surfaces have."""
    from kailash_mcp_prod.tools.surfaces.any_tool import CALL_TOOL
    from kailash_mcp_prod.tools.surfaces.compact import DESCRIBE_MODELS
    from kailash_mcp_prod.tools.surfaces.groups import GROUPS
    from kailash_mcp_prod.tools.surfaces.searching import DESCRIBE_TOOL, SEARCH_TOOLS
    from kailash_mcp_prod.tools.surfaces.shortcuts import SHORTCUTS

    own = {CALL_TOOL, DESCRIBE_MODELS, DESCRIBE_TOOL, SEARCH_TOOLS}
    return own.union((each.name for each in GROUPS), (each.name for each in SHORTCUTS))
