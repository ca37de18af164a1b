"""Puts the metrics of a server together: what is counted, and which parts are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.observe import metrics_sources as sources
from kailash_mcp_prod.observe.metrics import ServerMetrics
from kailash_mcp_prod.observe.metrics_families import Family
from kailash_mcp_prod.observe.metrics_monitor import Monitor
from kailash_mcp_prod.observe.metrics_tools import NOT_MOUNTED, Integration, monitor_tools
from kailash_mcp_prod.sessions.counting import SessionCounter
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import DATABASE, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.loop_lag import LoopLag
    from kailash_mcp_prod.tools.application import DataFlowApplication
    from kailash_mcp_prod.tools.caching import CachedReads


class Monitoring:
    """The metrics of a server and the tools over them.

    Attributes:
        monitor: Counts, and adds up.
        channels: By what clients hold open, how many there are; transports add themselves.
        integrations: Further parts of `get_integration_metrics`; what mounts the server on
            something replaces its entry.

    Args:
        config: The settings.
        metrics: Those of the application.
        policy: Who may read them.
        state: Where sessions are.
        service: The tools.
        guard: Limits and breakers.
        application: Has the connections to the database.
        reads: The cache, if there is one.
        lag: Knows how late the event loop is.
    """

    def __init__(
        self,
        config: ServerConfig,
        metrics: ServerMetrics,
        policy: Policy,
        *,
        state: State,
        service: ToolService,
        guard: Guard,
        application: DataFlowApplication,
        reads: CachedReads | None,
        lag: LoopLag,
    ) -> None:
        timeout = config.agent_session_timeout_minutes * 60
        self.monitor = Monitor(
            config, metrics, policy, SessionCounter(state, timeout_seconds=timeout), lag
        )
        self.channels: dict[str, Callable[[], int]] = {}
        self.integrations: dict[str, Integration] = {"nexus": lambda _principal: NOT_MOUNTED}
        self._service = service
        self._guard = guard
        self._application = application
        self._reads = reads
        self.monitor.add_source(self._families)

    def watch(self, methods: frozenset[str]) -> None:
        """Begins to count.

        Args:
            methods: The names of the methods of MCP.
        """
        self.monitor.watch(self._service, methods)

    def tools(self) -> list[ToolSpec]:
        """The tools over the metrics."""
        return monitor_tools(self.monitor, self._service, self.integrations)

    def _families(self) -> Iterator[Family]:
        guard, registry = self._guard, self._service.registry
        names = frozenset(tool.name for tool in registry.every())
        yield from sources.about(len(registry))
        yield from sources.of_concurrency({"server": guard.concurrency, DATABASE: guard.database})
        yield from sources.of_rates(guard.rates)
        yield sources.of_breakers(guard.breakers, [DATABASE], names)
        yield from sources.of_pools({"records": self._application.pool_usage()})
        yield from sources.of_cache(None if self._reads is None else self._reads.cache.snapshot())
        yield from sources.of_connections(self.monitor.operations, self.channels)
