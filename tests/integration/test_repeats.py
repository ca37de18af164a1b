"""Reads that come again, word for word: answered without a second look, and never otherwise."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.api_keys import mint_key
from kailash_mcp_prod.guard.breaker import Outcome
from kailash_mcp_prod.protocol import Reply
from kailash_mcp_prod.protocol.prepared import PreparedRequest
from kailash_mcp_prod.state.credentials import CredentialStore
from kailash_mcp_prod.tools.spec import DATABASE
from kailash_mcp_prod.transports.http import HttpTransport
from tests.e2e.exchanges import BOTH, META
from tests.integration.records.plain_sql import run_sql
from tests.redis_server import RedisServer

NORTH, SOUTH, SPARING = "key-of-the-north-agent", "key-of-the-south-agent", "key-of-a-sparing-agent"
RULES = {"Shop": {"rows": {"region": "$claims.region"}, "hide": ["margin"]}}
ROLES = {"member": {"permissions": ["*"], "access_rules": RULES}}
KEYS = {
    NORTH: {"agent_id": "north", "roles": ["member"], "claims": {"region": "north"}},
    SOUTH: {"agent_id": "south", "roles": ["member"], "claims": {"region": "south"}},
    SPARING: {"roles": ["member"], "rate_limit": 7, "claims": {"region": "north"}},
}
SHOPS = ("north-0", "north-1", "south-0", "south-1")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {"DATABASE_URL", "REDIS_URL", "API_KEYS"}:
            monkeypatch.delenv(name)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each request to an MCP endpoint, whether it was answered at once."""
    seen: list[bool] = []
    serve, again = HttpTransport.__call__, PreparedRequest.again

    async def watched_serve(self: HttpTransport, *args: Any) -> None:
        seen.append(False)
        await serve(self, *args)

    async def watched_again(self: PreparedRequest, *args: Any) -> Reply | None:
        reply = await again(self, *args)
        seen[-1] = reply is not None
        return reply

    monkeypatch.setattr(HttpTransport, "__call__", watched_serve)
    monkeypatch.setattr(PreparedRequest, "again", watched_again)
    return seen


@dataclass
class Site:
    """A server with a few shops, and a client that writes its requests itself."""

    server: ProductionMCPServer
    web: httpx.AsyncClient
    numbers: list[int] = field(default_factory=list)

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
        return await self.web.post(f"{self.server.mcp_url}{path}", content=body, headers=told)

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
async def site_at(url: str, **settings: Any) -> AsyncIterator[Site]:
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
        ProductionMCPServer(config, dataflow=shops(url)) as server,
        httpx.AsyncClient(timeout=20) as web,
    ):
        for number, shop in enumerate(SHOPS):
            data = {"id": shop, "region": shop[:5], "size": number, "margin": 30 + number}
            await server.mcp_server.call_tool("Shop_create", {"data": data})
        yield Site(server, web)


@pytest.fixture
async def site(sqlite_url: str) -> AsyncIterator[Site]:
    async with site_at(sqlite_url) as site:
        yield site


async def test_a_read_that_comes_again_gets_the_same_answer_under_its_own_id(
    site: Site, at_once: list[bool]
) -> None:
    ids = [1, 2, 3, -5, 2**70, "", 'a "quoted" \u00fc', 1]
    answers = [await site.read(NORTH, "north-0", each) for each in ids]

    assert at_once == [False, False, *[True] * (len(ids) - 2)]
    assert [each.json()["id"] for each in answers] == ids
    first, *others = [each.json() | {"id": None} for each in answers]
    assert all(each == first for each in others)
    assert answers[0].content == answers[-1].content
    assert len({each.headers["x-request-id"] for each in answers}) == len(ids)
    assert {name: value for name, value in answers[0].headers.items() if name[0] not in "dx"} == {
        name: value for name, value in answers[-1].headers.items() if name[0] not in "dx"
    }
    assert record_in(answers[-1]) == {"id": "north-0", "region": "north", "size": 0} | {
        name: record_in(answers[0])[name] for name in ("created_at", "updated_at")
    }


async def test_a_write_is_seen_at_once(site: Site, at_once: list[bool]) -> None:
    await site.three_reads()
    await site.change("north-0", size=70)
    after = [await site.read(NORTH, "north-0") for _ in range(2)]

    assert [record_in(each)["size"] for each in after] == [70, 70]
    assert at_once == [False, False, True, False, True]


async def test_what_others_write_is_seen_when_the_time_is_over(
    site: Site, sqlite_url: str, at_once: list[bool]
) -> None:
    await site.three_reads()
    run_sql(sqlite_url, "UPDATE shops SET size = 99 WHERE id = 'north-0'")
    assert record_in(await site.read(NORTH, "north-0"))["size"] == 0
    reads = site.server.reads
    assert reads is not None
    reads.cache._clock = lambda: time.monotonic() + 3600
    assert record_in(await site.read(NORTH, "north-0"))["size"] == 99

    assert at_once == [False, False, True, True, False]


async def test_agents_see_their_own_rows_and_fields_only(site: Site, at_once: list[bool]) -> None:
    for shop in SHOPS:
        for key, region in ((NORTH, "north"), (SOUTH, "south")):
            answers = [await site.read(key, shop) for _ in range(4)]
            if shop.startswith(region):
                assert [record_in(each)["id"] for each in answers] == [shop] * 4
                assert "margin" not in answers[-1].text
                assert at_once[-4:] == [False, False, True, True]
            else:
                codes = [record_in(each)["error"]["code"] for each in answers]
                assert codes == ["not_found"] * 4
                assert at_once[-4:] == [False] * 4
