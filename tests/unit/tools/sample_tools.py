"""Small tools and a service over them."""

from __future__ import annotations

from typing import Any

import msgspec

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import Handler, Hints, ToolCall, ToolSpec


async def echo(call: ToolCall) -> dict[str, Any]:
    return dict(call.arguments)


def tool(
    name: str,
    handler: Handler = echo,
    *,
    permissions: tuple[str, ...] = ("session:create",),
    group: str = "sample",
    title: str = "A sample",
) -> ToolSpec:
    return ToolSpec(
        name=name,
        title=title,
        description=f"The tool {name}.",
        input_schema={"type": "object"},
        output_schema={"type": "object", "required": ["out"]},
        hints=Hints(read_only=True, destructive=False, idempotent=True),
        permissions=permissions,
        group=group,
        handler=handler,
    )


def service_of(
    *tools: ToolSpec,
    per_minute: int = 1_000_000,
    running: int = 100,
    timeout_seconds: float = 30,
    list_output_schemas: bool = False,
    breakers: Breakers | None = None,
) -> ToolService:
    registry = ToolRegistry()
    registry.add(tools)
    return ToolService(
        registry,
        Policy(),
        RateLimit(per_minute),
        ConcurrencyLimit(running),
        breakers or Breakers(5, 30),
        timeout_seconds=timeout_seconds,
        list_output_schemas=list_output_schemas,
    )


def names_in(tool_list: bytes) -> list[str]:
    """The names in an encoded list of tools."""
    return [each["name"] for each in msgspec.json.decode(tool_list)]
