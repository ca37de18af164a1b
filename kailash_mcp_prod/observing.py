"""What watches the calls of a server, put together as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.observe.call_log import CallLog, Details, together
from kailash_mcp_prod.tools.call_details import CallDetails, Decisions
from kailash_mcp_prod.tools.registry import ToolRegistry

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.traces import Traces


def call_log(
    config: ServerConfig,
    policy: Policy,
    registry: ToolRegistry,
    guard: Guard,
    traces: Traces | None = None,
) -> CallLog:
    """The log of calls.

    Args:
        config: The settings.
        policy: What a caller may do, and what rules hide.
        registry: The tools.
        guard: The limits and breakers.
        traces: Tell of which trace a call is a part.
    """
    told: list[Details] = [CallDetails(policy)] if config.log_arguments else []
    if traces is not None:
        told.append(traces.calls.details)
    return CallLog(
        together(told),
        Decisions(policy, registry, guard.rates, guard.breakers, caches=config.enable_caching),
    )


def configured_traces(config: ServerConfig) -> Traces | None:
    """The traces that the settings ask for, if they do.

    Raises:
        StartupError: OpenTelemetry is not installed.
    """
    if not config.enable_tracing:
        return None
    from kailash_mcp_prod.observe.traces import traces_of

    return traces_of(config)
