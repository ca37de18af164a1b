"""Keys and tokens that come and go while two replicas of a server share a database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import jwt
import pytest
from dataflow import DataFlow
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.api_keys import MintedKey, mint_key
from kailash_mcp_prod.auth.token_minting import TokenGrants, mint_token
from kailash_mcp_prod.state.credentials import CredentialStore
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.stored_key import StoredKey
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec

SECRET = "a-secret-of-more-than-thirty-two-bytes"
READ_ALL = ("*:read",)
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}
BOTH = "application/json, text/event-stream"
Header = dict[str, str]


def rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {"DATABASE_URL", "JWT_SECRET", "API_KEYS"}:
            monkeypatch.delenv(name)


def server_at(url: str, **settings: Any) -> ProductionMCPServer:
    db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    model = {"__annotations__": {"id": str, "name": str}, "__doc__": "A company."}
    db.model(type("Company", (), model))
    given = {"port": 0, "transport": "all", "key_store": True, "jwt_secret": SECRET}
    return ProductionMCPServer(ServerConfig(**{**given, **settings}), dataflow=db)


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[list[ProductionMCPServer]]:
    """Two servers over the same database."""
    async with server_at(database_url) as one, server_at(database_url) as other:
        yield [one, other]


@pytest.fixture
async def operator(database_url: str) -> AsyncIterator[CredentialStore]:
    """Whoever changes keys, in no server's process."""
    database = StateDatabase(database_url, connections=1)
    yield CredentialStore(database)
    await database.close()


async def minted(operator: CredentialStore, **grants: Any) -> MintedKey:
    await operator.prepare()
    key = mint_key()
    given = {"permissions": READ_ALL, "created_at": time.time(), **grants}
    await operator.add(StoredKey(id=key.id, digest=key.digest, lineage=key.id, **given))
    return key


async def status(server: ProductionMCPServer, header: Header) -> int:
    async with httpx.AsyncClient(base_url=server.rest_url or "", headers=header) as rest:
        return (await rest.post("/tools/Company_list", json={})).status_code


async def refused_by(replicas: list[ProductionMCPServer], header: Header) -> None:
    """Returns when every replica refuses a credential."""
    # The servers run on this loop too, so asking leaves them time, and makes one client alone.
    async with asyncio.timeout(10), httpx.AsyncClient(headers=header) as client:
        for each in replicas:
            while (await client.get(f"{each.rest_url}/tools")).status_code != 401:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)


class OpenChannels:
    """All that a client may hold open at a server with one credential."""

    def __init__(self, server: ProductionMCPServer, header: Header) -> None:
        self.url = server.mcp_url or ""
        self.ws_url = server.ws_url or ""
        self.header = header
        self.http = httpx.AsyncClient(headers={"accept": BOTH, **header}, timeout=20)
        self.stack = contextlib.AsyncExitStack()
        self.legacy: Header = {}

    async def __aenter__(self) -> OpenChannels:
        enter = self.stack.enter_async_context
        await enter(self.http)
        answer = await self.http.post(self.url, json=rpc("initialize", **INITIALIZE))
        self.legacy = {
            "mcp-session-id": answer.headers["mcp-session-id"],
            "mcp-protocol-version": "2025-11-25",
        }
        relay = await enter(self.http.stream("GET", self.url, headers=self.legacy))
        assert relay.status_code == 200
        wanted = {"notifications": {"toolsListChanged": True}, "_meta": META}
        modern = {
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "subscriptions/listen",
        }
        listening = await enter(
            self.http.stream(
                "POST", self.url, json=rpc("subscriptions/listen", **wanted), headers=modern
            )
        )
        assert listening.status_code == 200
        self.streams = [relay, listening]
        self.websocket: ClientConnection = await enter(
            connect(
                self.ws_url,
                subprotocols=[Subprotocol("mcp")],
                additional_headers=self.header,
                proxy=None,
            )
        )
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self.stack.aclose()

    async def end(self) -> None:
        """Returns when everything has ended."""
        async with asyncio.timeout(20):
            await asyncio.gather(self._closed(), *(each.aread() for each in self.streams))

    async def _closed(self) -> None:
        with pytest.raises(ConnectionClosed) as closed:
            await self.websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def ends_in_time(
    attempt: Callable[[], Any],
) -> None:
    """A revocation is to be felt within a second; others at work here may hold one of them up."""
    took = [await attempt()]
    while min(took) > 1 and len(took) < 3:
        took.append(await attempt())
    assert min(took) < 1, took


async def test_a_revoked_key_ends_everywhere_and_with_all_that_is_open(
    replicas: list[ProductionMCPServer], operator: CredentialStore
) -> None:
    async def attempt() -> float:
        key = await minted(operator, agent_id="sales")
        header = {"x-api-key": key.text}
        assert [await status(each, header) for each in replicas] == [200, 200]
        async with OpenChannels(replicas[1], header) as channels:
            # Another key of the same caller keeps what it has opened.
            other = await minted(operator, agent_id="sales")
            async with connect(
                replicas[1].ws_url or "",
                subprotocols=[Subprotocol("mcp")],
                additional_headers={"authorization": f"Bearer {other.text}"},
                proxy=None,
            ) as lasting:
                await operator.revoke(key.id)
                begun = time.monotonic()
                await asyncio.gather(channels.end(), refused_by(replicas, header))
                seconds = time.monotonic() - begun
                await lasting.send(json.dumps(rpc("initialize", **INITIALIZE)))
                assert "result" in json.loads(await lasting.recv())
            gone = await channels.http.post(
                channels.url,
                json=rpc("ping"),
                headers={**channels.legacy, "x-api-key": other.text},
            )
            assert gone.status_code == 404
        with pytest.raises(InvalidStatus):
            await connect(
                replicas[0].ws_url or "",
                subprotocols=[Subprotocol("mcp")],
                additional_headers=header,
                proxy=None,
            )
        return seconds

    await ends_in_time(attempt)


async def test_a_revoked_token_ends_everywhere_and_with_all_that_is_open(
    replicas: list[ProductionMCPServer], operator: CredentialStore
) -> None:
    async def attempt() -> float:
        token = mint_token(SECRET, TokenGrants("nightly", READ_ALL), 3600)
        header = {"authorization": f"Bearer {token.text}"}
        assert [await status(each, header) for each in replicas] == [200, 200]
        async with OpenChannels(replicas[1], header) as channels:
            await operator.revoke_token(token.claims["jti"], token.claims["exp"])
            begun = time.monotonic()
            await asyncio.gather(channels.end(), refused_by(replicas, header))
            return time.monotonic() - begun

    await ends_in_time(attempt)
    lasting = mint_token(SECRET, TokenGrants("nightly", READ_ALL), 3600)
    assert await status(replicas[0], {"authorization": f"Bearer {lasting.text}"}) == 200


class Endless:
    """A tool that tells of its progress and comes to no end by itself."""

    def __init__(self) -> None:
        self.running = 0
        self.begun = asyncio.Event()

    async def __call__(self, call: ToolCall) -> dict[str, Any]:
        self.running += 1
        try:
            step = 0
            while True:
                step += 1
                await call.peer.progress(step)
                self.begun.set()
                await asyncio.sleep(0.05)
        finally:
            self.running -= 1

    @property
    def spec(self) -> ToolSpec:
        about = {"name": "endless", "title": "Endless", "description": "Runs.", "group": "sample"}
        anything = {"type": "object"}
        return ToolSpec(
            **about,
            input_schema=anything,
            output_schema=anything,
            hints=Hints(read_only=True, destructive=False, idempotent=True),
            permissions=(),
            handler=self,
        )


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("era", ["2026-07-28", "2025-11-25"])
async def test_a_call_that_runs_ends_with_its_key(
    sqlite_url: str, era: str, streaming: bool
) -> None:
    endless = Endless()
    async with server_at(sqlite_url) as server, contextlib.AsyncExitStack() as stack:
        server.registry.add([endless.spec])
        database = StateDatabase(sqlite_url, connections=1)
        stack.push_async_callback(database.close)
        operator = CredentialStore(database)
        opener, key = [await minted(operator, agent_id="sales") for _ in "ab"]
        accepted = BOTH if streaming or era == "2025-11-25" else "application/json"
        header = {"accept": accepted, "x-api-key": key.text, "mcp-protocol-version": era}
        client = await stack.enter_async_context(httpx.AsyncClient(headers=header, timeout=20))
        url = server.mcp_url or ""
        params: dict[str, Any] = {"name": "endless", "arguments": {}, "_meta": {}}
        if streaming:
            params["_meta"]["progressToken"] = 1
        if era == "2026-07-28":
            params["_meta"] |= META
            client.headers.update({"mcp-method": "tools/call", "mcp-name": "endless"})
        else:
            # Another credential of the same caller, which stays good, has opened the session.
            own = {"x-api-key": opener.text}
            opened = await client.post(url, json=rpc("initialize", **INITIALIZE), headers=own)
            client.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        calling = asyncio.create_task(client.post(url, json=rpc("tools/call", **params)))
        async with asyncio.timeout(10):
            await endless.begun.wait()
            await operator.revoke(key.id)
            answer = await calling

        assert endless.running == 0
        assert answer.status_code == (200 if streaming else 401)
        if streaming:
            events = [line for line in answer.text.splitlines() if '"jsonrpc"' in line]
            error = json.loads(events[-1].removeprefix("data:"))["error"]["data"]
            assert len(events) > 1
        else:
            error = answer.json()["error"]["data"]
        assert (error["code"], error["details"]) == ("unauthenticated", {"outcome": "unknown"})
        late = await client.post(url, json=rpc("tools/call", **params))
        assert late.status_code == 401


async def test_a_rotated_key_is_good_until_the_overlap_ends(
    replicas: list[ProductionMCPServer], operator: CredentialStore
) -> None:
    key = await minted(operator, agent_id="sales", claims={"region": "north"})
    header = {"x-api-key": key.text}
    async with OpenChannels(replicas[0], header) as channels:
        successor = mint_key()
        old = await operator.get(key.id)
        new = replace(old, id=successor.id, digest=successor.digest, created_at=time.time())
        await operator.rotate(key.id, new, time.time() + 4)
        session = await channels.http.post(
            channels.url,
            json=rpc("ping"),
            headers={**channels.legacy, "x-api-key": successor.text},
        )
        assert session.status_code == 200
        assert await status(replicas[1], header) == 200
        assert await status(replicas[1], {"x-api-key": successor.text}) == 200

        await channels.end()
    await refused_by(replicas, header)
    assert await status(replicas[0], {"x-api-key": successor.text}) == 200


async def test_a_server_that_never_needed_the_state_has_made_and_opened_nothing(
    sqlite_url: str,
) -> None:
    keys = {"a-key-of-the-configuration": {"permissions": ["*"]}}
    database = StateDatabase(sqlite_url, connections=1)
    alone = {"key_store": False, "enable_audit": False}
    async with server_at(sqlite_url, api_keys=keys, **alone) as server:
        plain = jwt.encode(
            {"sub": "a", "exp": time.time() + 60, "permissions": ["*"]}, SECRET, algorithm="HS256"
        )
        for header in ({"x-api-key": next(iter(keys))}, {"authorization": f"Bearer {plain}"}):
            assert await status(server, header) == 200
        assert server.state._database is None
        minted_token = mint_token(SECRET, TokenGrants("a", READ_ALL), 60)
        header = {"authorization": f"Bearer {minted_token.text}"}
        assert await status(server, header) == 200

        store = CredentialStore(database)
        assert await store.all() == []
        await store.prepare()
        await store.revoke_token(minted_token.claims["jti"], None)
        async with asyncio.timeout(10):
            while await status(server, header) == 200:
                pass
    await database.close()


async def test_dataflow_leaves_the_tables_of_the_state_alone(
    database_url: str, operator: CredentialStore
) -> None:
    key = await minted(operator)
    for settings in ({}, {"auto_migrate": False}):
        async with server_at(database_url, **settings) as server:
            assert await status(server, {"x-api-key": key.text}) == 200
            told = await server.mcp_server.call_tool("get_dataflow_models_info")
            assert [each["name"] for each in told["models"]] == ["Company"]
    assert (await operator.get(key.id)).last_used_at is not None


async def test_a_server_that_may_make_no_tables_says_which_are_missing(sqlite_url: str) -> None:
    async with server_at(sqlite_url, key_store=False):
        pass
    from kailash_mcp_prod.errors import StartupError

    with pytest.raises(StartupError, match="mcp_api_keys"):
        await server_at(sqlite_url, auto_migrate=False).start()
