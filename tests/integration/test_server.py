"""The whole server in one process, on real databases and real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from dataflow import DataFlow
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.background import BackgroundLoop
from kailash_mcp_prod.errors import (
    ConfigError,
    InvalidArgumentsError,
    ModelError,
    NotFoundError,
    StartupError,
    UnknownToolError,
)
from kailash_mcp_prod.observe.metrics_tools import AVAILABLE
from kailash_mcp_prod.tools.models_info import NAME as MODELS_INFO
from tests.postgres import PostgresServer

READER, CREATOR, NOBODY = "reader-key", "creator-key", "useless-key"
KEYS = {
    READER: {"agent_id": "reader", "permissions": ["Company:read"]},
    CREATOR: {"permissions": ["tool:Company_create"], "rate_limit": 3},
    NOBODY: {},
}


def model_class(name: str, /, **fields: Any) -> type:
    return type(name, (), {"__annotations__": {"id": str, **fields}, "__doc__": f"A {name}."})


def dataflow(url: str, *models: type) -> Any:
    db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    for model in models:
        db.model(model)
    return db


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {
            *("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "API_KEYS")
        }:
            monkeypatch.delenv(name)


@pytest.fixture
def db(database_url: str) -> Any:
    """A DataFlow instance with the models Company and Quote."""
    return dataflow(database_url, model_class("Company", name=str), model_class("Quote", total=int))


def server_of(db: Any, **settings: Any) -> ProductionMCPServer:
    return ProductionMCPServer(
        ServerConfig(**{"port": 0, "enable_auth": False, **settings}), dataflow=db
    )


@pytest.fixture
def background(db: Any) -> Iterator[ProductionMCPServer]:
    """A server in a thread of its own."""
    server = server_of(db)
    server.start_mcp_server_async()
    yield server
    server.stop_mcp_server()


def models(server: ProductionMCPServer) -> list[str]:
    return list(dict.fromkeys(tool.group for tool in server.registry if tool.operation is not None))


def rest_of(server: ProductionMCPServer, key: str | None = None) -> httpx.AsyncClient:
    assert server.rest_url is not None
    headers = {"x-api-key": key} if key else {}
    return httpx.AsyncClient(base_url=server.rest_url, headers=headers)


def listens(url: str) -> bool:
    parts = httpx.URL(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.host, parts.port or 0)) == 0


async def test_a_server_serves_inside_the_callers_loop(db: Any) -> None:
    async with server_of(db) as server:
        made = await server.mcp_server.call_tool("Company_create", {"data": {"name": "Acme"}})

        assert await server.mcp_server.call_tool("Company_read", {"id": made["id"]}) == made
        assert server.mcp_url is not None
        assert server.mcp_url.endswith("/mcp")
        async with rest_of(server) as rest:
            health = await rest.get("/health")
            assert health.status_code == 200
            listed = await rest.post("/tools/Company_list", json={"filter": {"name": "Acme"}})
            assert listed.json()["records"] == [made]
            head = await rest.head("/tools")
            assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("transport", "http", "websocket"),
    [("http", True, False), ("websocket", False, True), ("all", True, True)],
)
async def test_the_port_serves_what_the_transport_says(
    db: Any, transport: str, http: bool, websocket: bool
) -> None:
    initialize = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "tests", "version": "1"},
        },
    }
    async with server_of(db, transport=transport) as server:
        assert ((server.mcp_url is not None), (server.ws_url is not None)) == (http, websocket)
        async with rest_of(server) as rest:
            assert (await rest.get("/health")).status_code == 200
            address = server.mcp_url or str(server.ws_url).replace("ws", "http", 1)
            accept = {"accept": "application/json, text/event-stream"}
            posted = await rest.post(address, json=initialize, headers=accept)
            assert posted.status_code == (200 if http else 404)
        address = server.ws_url or str(server.mcp_url).replace("http", "ws", 1)[:-3] + "ws"
        if not websocket:
            with pytest.raises(InvalidStatus):
                await connect(address, subprotocols=[Subprotocol("mcp")], proxy=None)
            return
        async with connect(address, subprotocols=[Subprotocol("mcp")], proxy=None) as channel:
            await channel.send(json.dumps(initialize))
            answer = json.loads(await channel.recv())
            assert answer["result"]["serverInfo"]["name"]


async def test_a_failed_call_raises_the_error_that_a_client_would_get(db: Any) -> None:
    async with server_of(db) as server:
        call = server.mcp_server.call_tool
        with pytest.raises(InvalidArgumentsError) as invalid:
            await call("Company_create", {"data": {"name": 7}})
        with pytest.raises(NotFoundError):
            await call("Company_read", {"id": "nobody"})
        with pytest.raises(UnknownToolError):
            await call("Company_destroy")

    assert invalid.value.field == "data.name"


async def test_a_caller_from_python_may_act_for_somebody_with_less_rights(db: Any) -> None:
    reader = Principal("reader", frozenset({"*:read"}))
    async with server_of(db) as server:
        call = server.mcp_server.call_tool

        assert (await call("Company_list", principal=reader))["records"] == []
        with pytest.raises(UnknownToolError):
            await call("Company_create", {"data": {"name": "a"}}, principal=reader)


async def test_only_a_running_server_is_called(db: Any) -> None:
    server = server_of(db)
    with pytest.raises(StartupError):
        await server.mcp_server.call_tool("Company_list")
    with pytest.raises(StartupError):
        await server.register_model(model_class("Late", n=int))
    async with server:
        with pytest.raises(StartupError, match="running already"):
            await server.start()
        await server.mcp_server.call_tool("Company_list")
    with pytest.raises(StartupError):
        await server.mcp_server.call_tool("Company_list")
    await server.stop()


def test_calls_work_from_every_loop_at_once(background: ProductionMCPServer) -> None:
    call = background.mcp_server.call_tool

    async def create(name: str) -> Any:
        return await call("Company_create", {"data": {"name": name}})

    async def create_several(prefix: str) -> list[Any]:
        return await asyncio.gather(*(create(f"{prefix}{number}") for number in range(5)))

    loops = [BackgroundLoop(f"caller-{number}") for number in range(4)]
    try:
        waiting = [
            asyncio.run_coroutine_threadsafe(create_several(f"{number}-"), each.loop)
            for number, each in enumerate(loops)
        ]
        made = [record for each in waiting for record in each.result(30)]
        made += asyncio.run(create_several("main-"))
    finally:
        for each in loops:
            each.close()

    total = asyncio.run(call("Company_list", {"limit": 1, "include_total": True}))["total"]
    assert total == len({record["id"] for record in made}) == 25


async def test_a_background_server_takes_models_from_another_loop(
    background: ProductionMCPServer,
) -> None:
    await background.register_model(model_class("Late", n=int))

    assert (await background.mcp_server.call_tool("Late_create", {"data": {"n": 1}}))["n"] == 1


def test_a_background_server_starts_and_stops_again_and_leaves_nothing_behind(db: Any) -> None:
    server = server_of(db, max_concurrent_requests=2)
    before = set(threading.enumerate())

    async def calls() -> list[Any]:
        call = server.mcp_server.call_tool
        return await asyncio.gather(*(call("Company_list") for _ in range(4)))

    for _ in range(2):
        server.start_mcp_server_async()
        with pytest.raises(StartupError, match="running already"):
            server.start_mcp_server_async()
        assert len(asyncio.run(calls())) == 4
        urls = [server.mcp_url or "", server.rest_url or ""]
        assert all(listens(url) for url in urls)

        server.stop_mcp_server()
        server.stop_mcp_server()
        assert not any(listens(url) for url in urls)

    # DataFlow keeps one idle pool of worker threads for the whole process.
    left = {each for each in threading.enumerate() if not each.name.startswith("dataflow_async")}
    assert not {each for each in left - before if not each.daemon}
    # Servers that other tests share may run beside.
    assert "kailash-mcp-prod" not in {each.name for each in left - before}


def test_a_start_that_fails_leaves_nothing_behind(sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = server_of(
            dataflow(sqlite_url, model_class("Company", name=str)), port=taken.getsockname()[1]
        )
        with pytest.raises(StartupError, match="Address already in use"):
            server.start_mcp_server_async()
    assert "kailash-mcp-prod" not in {each.name for each in threading.enumerate()}
    server.stop_mcp_server()


async def test_a_registry_that_is_not_there_ends_the_start(sqlite_url: str) -> None:
    db = dataflow(sqlite_url, model_class("Company", name=str))
    server = server_of(db, workflows="nowhere:registry")
    with pytest.raises(ConfigError, match="there is no module nowhere"):
        await server.start()


async def test_the_second_port_in_use_frees_the_first(sqlite_url: str) -> None:
    db = dataflow(sqlite_url, model_class("Company", name=str))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] - 1
        with pytest.raises(StartupError):
            await server_of(db, port=port).start()
    assert not listens(f"http://127.0.0.1:{port}")


async def test_a_key_sees_and_calls_what_it_is_granted_and_nothing_else(db: Any) -> None:
    async with server_of(db, enable_auth=True, api_keys=KEYS) as server:
        async with rest_of(server, READER) as reader:
            tools = (await reader.get("/tools")).json()["tools"]
            assert [each["name"] for each in tools] == [
                "Company_read",
                "Company_list",
                MODELS_INFO,
                AVAILABLE,
            ]
            assert (await reader.post("/tools/Company_list", json={})).json()["records"] == []
            refused = await reader.post("/tools/Company_create", json={"data": {"name": "a"}})
            unknown = await reader.post("/tools/Company_destroy", json={"data": {"name": "a"}})
            assert refused.status_code == unknown.status_code == 404
            assert refused.json()["error"]["code"] == "not_found"
            foreign = await reader.get("/tools", headers={"origin": "https://evil.example"})
            assert foreign.status_code == 403
        async with rest_of(server, CREATOR) as creator:
            for _ in range(3):
                made = await creator.post("/tools/Company_create", json={"data": {"name": "a"}})
                assert made.status_code == 200
            limited = await creator.post("/tools/Company_create", json={"data": {"name": "a"}})
            assert limited.status_code == 429
            assert 0 < int(limited.headers["retry-after"]) <= 60
        async with rest_of(server, NOBODY) as nobody:
            assert [each["name"] for each in (await nobody.get("/tools")).json()["tools"]] == [
                MODELS_INFO,
                AVAILABLE,
            ]
        for key in (None, "wrong"):
            async with rest_of(server, key) as stranger:
                for answer in (
                    await stranger.get("/tools"),
                    await stranger.post("/tools/Company_list", json={}),
                    await stranger.post(
                        server.mcp_url or "", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}
                    ),
                ):
                    assert answer.status_code == 401
                    assert answer.headers["www-authenticate"].startswith("Bearer")


class Badges:
    async def authenticate(self, credentials: Credentials) -> Principal | None:
        if credentials.bearer_token != "badge-7":
            return None
        return Principal("badge:7", frozenset({"Company:list"}), method="badge")


async def test_an_own_provider_is_asked_before_the_configured_ones(sqlite_url: str) -> None:
    server = ProductionMCPServer(
        ServerConfig(port=0, api_keys=KEYS),
        dataflow=dataflow(sqlite_url, model_class("Company", name=str)),
        auth_providers=[Badges()],
    )
    async with server, rest_of(server) as rest:
        own = await rest.get("/tools", headers={"authorization": "Bearer badge-7"})
        configured = await rest.get("/tools", headers={"authorization": f"Bearer {READER}"})
        assert [each["name"] for each in own.json()["tools"]] == [
            "Company_list",
            MODELS_INFO,
            AVAILABLE,
        ]
        assert len(configured.json()["tools"]) == 4
        assert (await rest.get("/tools")).status_code == 401


async def test_a_model_registered_while_running_is_served_and_told_of(db: Any) -> None:
    async with server_of(db) as server:
        told: list[int] = []
        server.service.on_tools_changed(lambda: told.append(len(server.registry)))
        await server.register_model(model_class("Late", n=int))

        assert told == [52]
        assert (await server.mcp_server.call_tool("Late_create", {"data": {"n": 1}}))["n"] == 1
        async with rest_of(server) as rest:
            assert len((await rest.get("/tools")).json()["tools"]) == 52


async def test_a_model_declared_while_running_is_noticed(db: Any) -> None:
    async with server_of(db) as server:
        changed = asyncio.Event()
        server.service.on_tools_changed(changed.set)
        db.model(model_class("Late", n=int))
        async with asyncio.timeout(10):
            await changed.wait()

        assert (await server.mcp_server.call_tool("Late_create", {"data": {"n": 1}}))["n"] == 1


async def test_a_model_that_can_not_be_served_is_refused_by_name_and_others_stay(db: Any) -> None:
    async with server_of(db) as server:
        with pytest.raises(ModelError, match="Model Odd, field things"):
            await server.register_model(model_class("Odd", things=set))

        assert models(server) == ["Company", "Quote"]
        await server.mcp_server.call_tool("Company_create", {"data": {"name": "a"}})


async def test_stopping_ends_open_streams_and_calls_within_two_seconds(db: Any) -> None:
    server = server_of(db)
    await server.start()
    async with rest_of(server) as rest:
        await rest.get("/tools")
        request = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        }
        both = {"accept": "application/json, text/event-stream"}
        opened = await rest.post(server.mcp_url or "", json=request, headers=both)
        session = {
            "accept": "text/event-stream",
            "mcp-session-id": opened.headers["mcp-session-id"],
            "mcp-protocol-version": "2025-11-25",
        }
        async with rest.stream("GET", server.mcp_url or "", headers=session) as stream:
            assert stream.status_code == 200
            async with asyncio.timeout(2.5):
                await server.stop()


async def test_a_server_stops_using_a_postgresql_database_it_has_left(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    import asyncpg

    db = dataflow(postgres_url, model_class("Company", name=str))
    watcher = await asyncpg.connect(postgres_server.url("postgres"))
    try:
        for _ in range(2):
            async with server_of(db) as server:
                await server.mcp_server.call_tool("Company_list")
            # PostgreSQL ends the process of a closed connection in its own time.
            async with asyncio.timeout(10):
                while await watcher.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = $1",
                    postgres_url.rpartition("/")[2],
                ):
                    pass
    finally:
        await watcher.close()


async def test_a_server_of_custom_providers_needs_no_other_credentials() -> None:
    config = ServerConfig(auth_type=("custom",), port=0)

    assert ProductionMCPServer(config, auth_providers=[Badges()]).config.enable_auth
    with pytest.raises(ConfigError, match="auth_providers"):
        ProductionMCPServer(config)
