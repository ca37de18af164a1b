"""What watches the calls of a server, put together as the settings say."""

from __future__ import annotations

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.observe.call_log import CallLog
from kailash_mcp_prod.tools.call_details import CallDetails, Decisions
from kailash_mcp_prod.tools.registry import ToolRegistry


def call_log(config: ServerConfig, policy: Policy, registry: ToolRegistry, guard: Guard) -> CallLog:
    """The log of calls.

    Args:
        config: The settings.
        policy: What a caller may do, and what rules hide.
        registry: The tools.
        guard: The limits and breakers.
    """
    return CallLog(
        CallDetails(policy) if config.log_arguments else None,
        Decisions(policy, registry, guard.rates, guard.breakers, caches=config.enable_caching),
    )
