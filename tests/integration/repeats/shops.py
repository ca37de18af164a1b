"""A server with a few shops, of which each agent sees its own, and a client by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.chain import AuthProvider
from tests.e2e.exchanges import BOTH, META

NORTH, SOUTH, SPARING = "key-of-the-north-agent", "key-of-the-south-agent", "key-of-a-sparing-agent"
RULES = {"Shop": {"rows": {"region": "$claims.region"}, "hide": ["margin"]}}
ROLES = {"member": {"permissions": ["*"], "access_rules": RULES}}
KEYS = {
    NORTH: {"agent_id": "north", "roles": ["member"], "claims": {"region": "north"}},
    SOUTH: {"agent_id": "south", "roles": ["member"], "claims": {"region": "south"}},
    SPARING: {"roles": ["member"], "rate_limit": 7, "claims": {"region": "north"}},
}
SHOPS = ("north-0", "north-1", "south-0", "south-1")


@dataclass
class Site:
    """A server with a few shops, and a client that writes its requests itself."""

    server: ProductionMCPServer
    web: httpx.AsyncClient

    async def post(
        self, key: str, body: str, tool: str = "Shop_read", path: str = "", **headers: str
    ) -> httpx.Response:
        told = {
            "x-api-key": key,
            "accept": BOTH,
            "content-type": "application/json",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": tool,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self.web.post(
            f"{self.server.mcp_url}{path}",
            content=body.encode(errors="surrogateescape"),
            headers=told,
        )

    async def read(self, key: str, shop: str, id: Any = 1, **headers: str) -> httpx.Response:  # noqa: A002
        return await self.post(key, reading(shop, id), **headers)

    async def three_reads(self, key: str = NORTH, shop: str = "north-0") -> httpx.Response:
        """The third of three that are the same: the first that can be answered at once."""
        for _ in range(2):
            assert "result" in (await self.read(key, shop)).json()
        return await self.read(key, shop)

    async def change(self, shop: str, **data: Any) -> None:
        await self.server.mcp_server.call_tool("Shop_update", {"id": shop, "data": data})


def calling(tool: str, arguments: dict[str, Any], id: Any = 1, **meta: Any) -> str:  # noqa: A002
    params = {"name": tool, "arguments": arguments, "_meta": {**META, **meta}}
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})


def reading(shop: str, id: Any = 1, **meta: Any) -> str:  # noqa: A002
    return calling("Shop_read", {"id": shop}, id, **meta)


def record_in(response: httpx.Response) -> dict[str, Any]:
    record: dict[str, Any] = response.json()["result"]["structuredContent"]
    return record


def shops(url: str) -> Any:
    db = DataFlow(url, enable_caching=False, enable_model_persistence=False)
    fields = {"id": str, "region": str, "size": int, "margin": int}
    db.model(type("Shop", (), {"__annotations__": fields, "__doc__": "A shop."}))
    return db


@asynccontextmanager
async def site_at(
    url: str, *, auth_providers: Sequence[AuthProvider] = (), **settings: Any
) -> AsyncIterator[Site]:
    """A server on an empty database, with all shops."""
    config = ServerConfig(
        **{
            "port": 0,
            "database_url": url,
            "enable_caching": True,
            "api_keys": KEYS,
            "roles": ROLES,
            **settings,
        }
    )
    async with (
        ProductionMCPServer(config, dataflow=shops(url), auth_providers=auth_providers) as server,
        httpx.AsyncClient(timeout=20) as web,
    ):
        for number, shop in enumerate(SHOPS):
            data = {"id": shop, "region": shop[:5], "size": number, "margin": 30 + number}
            await server.mcp_server.call_tool("Shop_create", {"data": data})
        yield Site(server, web)
