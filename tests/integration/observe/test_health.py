"""`health_check` over MCP while backends stop and return under traffic."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from dataflow import DataFlow
from sqlalchemy import text

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.errors import ServerError
from tests.postgres import DURABLE, PostgresServer, running_postgres
from tests.redis_server import RedisServer

LIMIT_SECONDS = 2.0
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A server that tests may stop."""
    with running_postgres(DURABLE) as server:
        yield server


class Item:
    """One."""

    id: str
    name: str


@asynccontextmanager
async def serving(url: str, **settings: Any) -> AsyncIterator[ProductionMCPServer]:
    db = DataFlow(url, pool_size=5, enable_caching=False, enable_model_persistence=False)
    db.model(Item)
    config = ServerConfig(**{"port": 0, "enable_auth": False, **settings})
    async with ProductionMCPServer(config, dataflow=db) as server:
        yield server


async def health_check(server: ProductionMCPServer, web: httpx.AsyncClient) -> dict[str, Any]:
    """The report, as a client of MCP gets it."""
    assert server.mcp_url is not None
    params = {"name": "health_check", "arguments": {}, "_meta": META}
    response = await web.post(
        server.mcp_url,
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        headers={
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "health_check",
        },
    )
    report: dict[str, Any] = response.raise_for_status().json()["result"]["structuredContent"]
    return report


def unwell(report: dict[str, Any]) -> set[str]:
    return {name for name, each in report["components"].items() if each["status"] != "healthy"}


@asynccontextmanager
async def traffic(server: ProductionMCPServer) -> AsyncIterator[None]:
    """Reads and writes that go on, whatever becomes of them."""
    ended = False

    async def call() -> None:
        while not ended:
            with suppress(ServerError):
                await server.mcp_server.call_tool("Item_create", {"data": {"name": "a"}})
                await server.mcp_server.call_tool("Item_list", {"limit": 2})
            await asyncio.sleep(0)

    calling = [asyncio.create_task(call()) for _ in range(8)]
    try:
        yield
    finally:
        ended = True
        await asyncio.wait(calling)


async def seconds_until(
    server: ProductionMCPServer, web: httpx.AsyncClient, sick: set[str], *, healthy: bool
) -> float:
    """How long it takes until all these components are healthy, or none of them is."""
    begun = time.monotonic()
    while time.monotonic() - begun < 4 * LIMIT_SECONDS:
        found = unwell(await health_check(server, web))
        if sick & found == (set() if healthy else sick):
            return time.monotonic() - begun
    raise AssertionError(f"{sick} did not become {'' if healthy else 'un'}healthy: {found}")


async def test_a_postgresql_that_stops_and_returns_is_named_within_two_seconds(
    own_postgres: PostgresServer,
) -> None:
    with own_postgres.database() as url:
        settings = {"circuit_breaker_recovery_seconds": 0.5, "connection_pool_size": 2}
        async with (
            serving(url, connection_pool_max_overflow=0, **settings) as server,
            httpx.AsyncClient(timeout=5) as web,
            traffic(server),
        ):
            await server.mcp_server.call_tool("create_agent_session", {})
            assert "database" not in unwell(await health_check(server, web))

            await asyncio.to_thread(own_postgres.crash)
            sick = {"database", "state"}
            assert await seconds_until(server, web, sick, healthy=False) < LIMIT_SECONDS
            report = await health_check(server, web)
            assert report["health_status"] == "unhealthy"
            assert unwell(report) <= {"database", "state", "circuit_breakers", "pool", "audit"}
            for secret in ("postgres", "127.0.0.1", str(own_postgres.port), "test_"):
                assert secret not in json.dumps(report)
            assert server.rest_url is not None
            assert (await web.get(f"{server.rest_url}/health/ready")).status_code == 503
            assert (await web.get(f"{server.rest_url}/health")).status_code == 503
            assert (await web.get(f"{server.rest_url}/health/live")).status_code == 200

            await asyncio.to_thread(own_postgres.start_again)
            assert await seconds_until(server, web, sick, healthy=True) < LIMIT_SECONDS
            assert (await web.get(f"{server.rest_url}/health/ready")).status_code == 200


async def test_a_postgresql_that_hangs_is_named_within_two_seconds(
    own_postgres: PostgresServer,
) -> None:
    with own_postgres.database() as url:
        async with serving(url) as server, httpx.AsyncClient(timeout=5) as web:
            assert unwell(await health_check(server, web)) == set()
            with own_postgres.held_up():
                sick = {"database", "state"}
                assert await seconds_until(server, web, sick, healthy=False) < LIMIT_SECONDS
                assert unwell(await health_check(server, web)) == sick
            assert await seconds_until(server, web, sick, healthy=True) < LIMIT_SECONDS


async def test_a_redis_that_stops_and_returns_is_named_within_two_seconds(
    sqlite_url: str, redis_server: RedisServer
) -> None:
    async with (
        serving(sqlite_url, redis_url=redis_server.url) as server,
        httpx.AsyncClient(timeout=5) as web,
        traffic(server),
    ):
        assert "redis" not in unwell(await health_check(server, web))

        redis_server.stop()
        assert await seconds_until(server, web, {"redis"}, healthy=False) < LIMIT_SECONDS
        report = await health_check(server, web)
        assert report["health_status"] == "degraded"
        assert unwell(report) - {"pool", "cache"} == {"redis", "rate_limits"}
        assert server.rest_url is not None
        assert (await web.get(f"{server.rest_url}/health/ready")).status_code == 200
        assert str(redis_server.port) not in json.dumps(report)

        redis_server.start()
        assert await seconds_until(server, web, {"redis"}, healthy=True) < LIMIT_SECONDS


async def test_a_table_of_the_state_that_has_gone_is_named(sqlite_url: str) -> None:
    async with serving(sqlite_url) as server, httpx.AsyncClient() as web:
        await server.mcp_server.call_tool("create_agent_session", {})
        assert unwell(await health_check(server, web)) == set()
        state = await server.state.database()
        async with state.begin() as connection:
            await connection.execute(text("ALTER TABLE mcp_agent_sessions RENAME TO gone"))
        assert await seconds_until(server, web, {"state"}, healthy=False) < LIMIT_SECONDS
        assert (await health_check(server, web))["components"]["database"]["status"] == "healthy"


async def test_a_pool_whose_connections_are_all_held_is_named_and_the_database_is_well(
    postgres_url: str,
) -> None:
    pool = {"connection_pool_size": 1, "connection_pool_max_overflow": 0}
    async with serving(postgres_url, **pool) as server, httpx.AsyncClient() as web:
        store = await server.application.own_store()
        async with store.transaction():
            waiting = asyncio.create_task(server.mcp_server.call_tool("Item_list", {}))
            assert await seconds_until(server, web, {"pool"}, healthy=False) < LIMIT_SECONDS
            assert unwell(await health_check(server, web)) == {"pool"}
        await waiting
        assert await seconds_until(server, web, {"pool"}, healthy=True) < LIMIT_SECONDS


async def test_without_a_credential_there_are_words_of_status_alone(sqlite_url: str) -> None:
    keys = {
        "operator-key-0123456789": {"permissions": ["monitor:read"]},
        "reader-key-0123456789": {"permissions": ["Item:read"]},
    }
    settings = {"auth_type": "api_key", "api_keys": keys}
    async with serving(sqlite_url, enable_auth=True, **settings) as server:
        assert server.rest_url is not None
        async with httpx.AsyncClient(base_url=server.rest_url) as web:
            operator, reader = ({"x-api-key": key} for key in keys)
            full = (await web.get("/health", headers=operator)).json()
            assert full["components"]["memory"]["rss_mb"] > 1
            assert full["components"]["disk"]["free_mb"] > 1
            words = {name: {"status": "healthy"} for name in full["components"]}
            for headers in ({}, reader):
                brief = (await web.get("/health", headers=headers)).json()
                assert brief == {"health_status": "healthy", "components": words}
            needed = {name: words[name] for name in ("server", "database", "state")}
            ready = (await web.get("/health/ready")).json()
            assert ready == {"health_status": "healthy", "components": needed}
            assert (await web.post("/tools/health_check", json={}, headers=operator)).json()[
                "components"
            ].keys() == words.keys()
            refused = await web.post("/tools/health_check", json={}, headers=reader)
            assert refused.status_code == 404


async def test_the_tool_takes_no_arguments(sqlite_url: str) -> None:
    async with serving(sqlite_url) as server:
        with pytest.raises(ServerError) as refused:
            await server.mcp_server.call_tool("health_check", {"deep": True})
    assert (refused.value.code, refused.value.field) == ("invalid_arguments", "deep")
