"""Puts the dashboard of a server together, if it has one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.auth.configured import configured_principals
from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.credentials import ServerCredentials
from kailash_mcp_prod.errors import ConfigError, InvalidArgumentsError
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.observe.audit import Audit
from kailash_mcp_prod.observe.dashboard.activity import Activity
from kailash_mcp_prod.observe.metrics_monitor import Monitor
from kailash_mcp_prod.sessions.opening import Opened
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.service import ToolService

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.dashboard.app import Dashboard

Integration = Callable[[], Mapping[str, Any]]
"""What the page of something shows that the server is put together with."""

PATH = "/dashboard"
_OVERSEER = "kailash_mcp_prod.sessions.overseeing"


class DashboardPart:
    """The dashboard of a server, from before it starts; its pages are made when it does.

    Args:
        config: The settings, which say whether there is one.
        service: The tools.
        policy: Who may see what.
        guard: Limits and breakers.
        monitoring: The figures.
        health: Reports on all components.
        credentials: Tells who logs in.
        state: Where sessions are.
        audit: Hears of refused log-ins, and is read.
    """

    def __init__(
        self,
        config: ServerConfig,
        service: ToolService,
        policy: Policy,
        guard: Guard,
        *,
        monitoring: Monitor,
        health: Callable[[], Awaitable[dict[str, Any]]],
        credentials: ServerCredentials,
        state: State,
        audit: Audit,
    ) -> None:
        self._config = config
        self._service = service
        self._policy = policy
        self._guard = guard
        self._monitoring = monitoring
        self._health = health
        self._credentials = credentials
        self._state = state
        self._audit = audit
        self._activity = Activity()
        self.integrations: dict[str, Integration] = {}
        """What the server is put together with, each with a page of its own."""
        self.always_asks = True
        """Whether everybody has to log in, where clients are asked for credentials at all."""
        if config.serves_dashboard:
            service.watchers.add(begin=self._activity.begin, end=self._activity.end)

    def mounts(self, stack: AsyncExitStack) -> dict[str, Dashboard]:
        """The dashboard by its path, which ends with the stack; nothing if there is none."""
        if not self._config.serves_dashboard:
            return {}
        dashboard = self._make()
        stack.push_async_callback(dashboard.stop)
        return {PATH: dashboard}

    def _make(self) -> Dashboard:
        # Late, because a process without it needs none of it.
        from kailash_mcp_prod.observe.dashboard.app import Dashboard
        from kailash_mcp_prod.observe.dashboard.cookies import LogIns
        from kailash_mcp_prod.observe.dashboard.reasons import Reasons
        from kailash_mcp_prod.observe.dashboard.trail import Trail
        from kailash_mcp_prod.observe.dashboard.views import Sources

        config, authenticator = self._config, self._credentials.authenticator
        session_seconds = config.agent_session_timeout_minutes * 60
        overseer = Opened(
            self._state,
            _OVERSEER,
            lambda module, database: module.Overseer(database, session_seconds),
            may_create=False,
        )
        sources = Sources(
            service=self._service,
            policy=self._policy,
            guard=self._guard,
            activity=self._activity,
            monitoring=self._monitoring,
            health=self._health,
            overseer=overseer.get,
            session_seconds=session_seconds,
            integrations=dict(self.integrations),
            connections=config.connection_pool_size + config.connection_pool_max_overflow,
            settings={
                name: getattr(config, name)
                for name in (
                    "max_concurrent_requests",
                    "request_timeout_seconds",
                    "rate_limit_per_minute",
                    "circuit_breaker_failure_threshold",
                    "circuit_breaker_recovery_seconds",
                )
            },
        )
        reasons = Reasons(
            self._policy,
            self._service.registry,
            self._activity,
            lambda: configured_principals(config),
            self._named,
        )
        log_ins = None
        if self._credentials.asked_for:
            heard = self._audit.authenticator(authenticator, "dashboard")
            log_ins = LogIns(authenticator, config.run_key, heard=heard, always=self.always_asks)
        return Dashboard(sources, log_ins, reasons, Trail(self._audit.reader, config))

    async def _named(self, name: str) -> Principal | None:
        try:
            return await self._credentials.named(name)
        except ConfigError as several:
            raise InvalidArgumentsError(f"agent: {several}", field="agent") from None
