"""The way to call tools, put together as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.tools.caching import CachedReads
from kailash_mcp_prod.tools.prepared import PreparedReads
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.stages import Handlers, Places, Reads

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.traces import Traces


def tool_service(
    config: ServerConfig,
    registry: ToolRegistry,
    policy: Policy,
    guard: Guard,
    *,
    reads: Reads | None,
    turns: Handlers,
    traces: Traces | None,
) -> ToolService:
    """The service of a server.

    Args:
        config: The settings.
        registry: The tools.
        policy: What a principal may call, and so may see.
        guard: Limits and breakers.
        reads: Answers for tools that read what it knows.
        turns: Who is next at a backend.
        traces: Make spans of what a call passes.
    """
    places: Places = guard.concurrency
    if traces is not None:
        places, turns = traces.places(places), traces.handlers(turns)
        reads = None if reads is None else traces.reads(reads)
    return ToolService(
        registry,
        policy,
        guard.rates,
        places,
        guard.breakers,
        timeout_seconds=config.request_timeout_seconds,
        list_output_schemas=config.list_output_schemas,
        surface=config.surface,
        reads=reads,
        turns=turns,
    )


def prepared_reads(
    service: ToolService, reads: CachedReads | None, traces: Traces | None
) -> PreparedReads | None:
    """What answers reads that come again, where they are cached here and not traced."""
    if reads is None or reads.asks_others or traces is not None:
        return None
    return PreparedReads(service, reads)
