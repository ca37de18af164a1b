"""A small application served by a whole server, whose limits are tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec


def model(name: str) -> type:
    return type(name, (), {"__annotations__": {"id": str, "name": str}, "__doc__": "One."})


@asynccontextmanager
async def serving(url: str, *others: str, **settings: Any) -> AsyncIterator[ProductionMCPServer]:
    """A server of the model Company, and of others that have the same fields."""
    db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    for name in ("Company", *others):
        db.model(model(name))
    config = ServerConfig(**{"port": 0, "enable_auth": False, **settings})
    async with ProductionMCPServer(config, dataflow=db) as server:
        yield server


async def call(
    server: ProductionMCPServer, tool: str, subject: str = "one", **arguments: Any
) -> Any:
    principal = Principal(subject, frozenset({"*"}))
    return await server.mcp_server.call_tool(tool, arguments, principal=principal)


async def outcome(work: Any) -> str:
    """How a call went: its error code, or `done`."""
    try:
        await work
    except ServerError as error:
        return error.code
    return "done"


async def component(server: ProductionMCPServer, name: str) -> dict[str, Any]:
    report = await server._health.report()
    found: dict[str, Any] = report["components"][name]
    return found


async def until(condition: Callable[[], bool]) -> None:
    """What others notice in their own time comes with no event to wait for."""
    for _ in range(4_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


def tool(name: str, *, read_only: bool) -> ToolSpec:
    """One that answers at once and needs no permission."""

    async def handle(_call: ToolCall) -> dict[str, Any]:
        return {}

    return ToolSpec(
        name=name,
        title=name,
        description=name,
        input_schema={"type": "object"},
        output_schema={"type": "object"},
        hints=Hints(read_only=read_only, destructive=False, idempotent=True),
        permissions=(),
        group="sample",
        handler=handle,
    )
