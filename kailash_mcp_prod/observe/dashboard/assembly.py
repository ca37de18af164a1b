"""Puts the dashboard of a server together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from kailash_mcp_prod.auth.configured import configured_principals
from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.credentials import ServerCredentials
from kailash_mcp_prod.errors import ConfigError, InvalidArgumentsError
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.observe.audit import Audit
from kailash_mcp_prod.observe.dashboard.activity import Activity
from kailash_mcp_prod.observe.dashboard.app import Dashboard
from kailash_mcp_prod.observe.dashboard.cookies import LogIns
from kailash_mcp_prod.observe.dashboard.reasons import Reasons
from kailash_mcp_prod.observe.dashboard.trail import Trail
from kailash_mcp_prod.observe.dashboard.views import Sources
from kailash_mcp_prod.sessions.opening import Opened
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.service import ToolService

_OVERSEER = "kailash_mcp_prod.sessions.overseeing"


def make_dashboard(
    config: ServerConfig,
    *,
    service: ToolService,
    policy: Policy,
    guard: Guard,
    activity: Activity,
    health: Callable[[], Awaitable[dict[str, Any]]],
    credentials: ServerCredentials,
    state: State,
    audit: Audit,
) -> Dashboard:
    """The dashboard over the parts of a server."""
    session_seconds = config.agent_session_timeout_minutes * 60
    overseer = Opened(
        state,
        _OVERSEER,
        lambda module, database: module.Overseer(database, session_seconds),
        may_create=False,
    )
    sources = Sources(
        service=service,
        policy=policy,
        guard=guard,
        activity=activity,
        health=health,
        overseer=overseer.get,
        limits={
            "session_seconds": session_seconds,
            "connections": config.connection_pool_size + config.connection_pool_max_overflow,
            "max_concurrent_requests": config.max_concurrent_requests,
            "request_timeout_seconds": config.request_timeout_seconds,
            "rate_limit_per_minute": config.rate_limit_per_minute,
            "circuit_breaker_failure_threshold": config.circuit_breaker_failure_threshold,
            "circuit_breaker_recovery_seconds": config.circuit_breaker_recovery_seconds,
        },
    )

    async def named(name: str) -> Principal | None:
        try:
            return await credentials.named(name)
        except ConfigError as several:
            raise InvalidArgumentsError(f"agent: {several}", field="agent") from None

    reasons = Reasons(
        policy, service.registry, activity, lambda: configured_principals(config), named
    )
    log_ins = None
    if credentials.asked_for:
        log_ins = LogIns(
            credentials.authenticator,
            config.cursor_key,
            heard=audit.authenticator(credentials.authenticator, "dashboard"),
        )
    return Dashboard(sources, log_ins, reasons, Trail(audit.reader, config))
