"""Users of a Nexus app see and get different things, on every way in, with the same requests.

The durability layer is on, which would give one of them the other's answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from kailash_mcp_prod import NexusAuth, ServerConfig, enhance_nexus_with_mcp
from tests.nexus_apps import PREFIX, add_auth, bearer, closing, make_app, quiet

BOTH = {"Accept": "application/json, text/event-stream"}
LEGACY = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "t", "version": "1"},
}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
GREET = {"name": "execute_nexus_workflow", "arguments": {"name": "greet", "inputs": {"name": "A"}}}
LIST = {"name": "get_nexus_workflows", "arguments": {}}
ALICE = ("alice", "nexus:greet")
BOB = ("bob", "nexus:add", "workflow:*")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("users")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        config = ServerConfig(
            auth_type=("custom",),
            database_url=f"sqlite:///{folder}/state.db",
            roles={"clerk": {"permissions": ["nexus:add"]}},
        )
        with closing(make_app(auth=True, enable_durability=True)) as app, quiet():
            from nexus.auth.guards import AuthGuard

            @app.handler("reset", guard=AuthGuard.RequireRole("admin"))
            async def reset(what: str) -> dict[str, str]:
                return {"reset": what}

            enhance_nexus_with_mcp(
                app, config=config, auth=NexusAuth(permissions={"run:sums": ["nexus:add"]})
            )
            with TestClient(
                app.fastapi_app, base_url="http://127.0.0.1", client=("127.0.0.1", 1)
            ) as made:
                yield made


Way = Callable[[TestClient, dict[str, str], dict[str, Any]], Any]


def over_rest(client: TestClient, who: dict[str, str], params: dict[str, Any]) -> Any:
    body = {"tool_name": params["name"], "arguments": params["arguments"]}
    return client.post(f"{PREFIX}/execute-tool", json=body, headers=who).json()


def over_modern(client: TestClient, who: dict[str, str], params: dict[str, Any]) -> Any:
    headers = {
        **BOTH,
        **who,
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": params["name"],
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    body = {**message, "params": {**params, "_meta": META}}
    return content_of(client.post(PREFIX, json=body, headers=headers).json())


def over_legacy(client: TestClient, who: dict[str, str], params: dict[str, Any]) -> Any:
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": LEGACY}
    opened = client.post(PREFIX, json=hello, headers={**BOTH, **who})
    headers = {**BOTH, **who, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return content_of(client.post(PREFIX, json=message, headers=headers).json())


def over_websocket(client: TestClient, who: dict[str, str], params: dict[str, Any]) -> Any:
    url = f"ws://127.0.0.1{PREFIX}/ws"
    with client.websocket_connect(url, subprotocols=["mcp"], headers=who) as channel:
        channel.send_json({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": LEGACY})
        channel.receive_json()
        channel.send_json({"jsonrpc": "2.0", "method": "notifications/initialized"})
        channel.send_json({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        return content_of(channel.receive_json())


def content_of(reply: dict[str, Any]) -> Any:
    return reply["result"]["structuredContent"]


WAYS = [over_rest, over_modern, over_legacy, over_websocket]


@pytest.mark.parametrize("way", WAYS)
def test_each_user_gets_its_own(client: TestClient, way: Way) -> None:
    alice, bob = bearer(*ALICE), bearer(*BOB)
    for _ in range(2):
        assert way(client, alice, GREET)["results"] == {"handler": {"message": "Hello, A!"}}
        assert way(client, bob, GREET)["error"]["code"] == "not_found"
        assert [each["name"] for each in way(client, alice, LIST)["workflows"]] == ["greet"]
        assert [each["name"] for each in way(client, bob, LIST)["workflows"]] == ["add"]


def test_lists_and_status_are_each_users_own(client: TestClient) -> None:
    for path in ("status", "tools"):
        one, other = (
            client.get(f"{PREFIX}/{path}", headers=bearer(*who)).json() for who in (ALICE, BOB)
        )
        assert one != other
    status = client.get(f"{PREFIX}/status", headers=bearer(*ALICE)).json()
    assert status["caller"]["subject"] == "nexus:alice"


def test_metrics_name_workflows_to_who_may_run_them(client: TestClient) -> None:
    who = bearer("dan", "nexus:add", "monitor:read")
    asked = {"name": "get_integration_metrics", "arguments": {}}

    nexus = over_rest(client, who, asked)["integration_metrics"]["nexus"]

    assert list(nexus["by_workflow"]) == ["add"]
    assert sum(nexus["circuits"].values()) == nexus["workflows"]


def test_what_may_not_be_run_looks_like_what_is_not_there(client: TestClient) -> None:
    missing = {**GREET, "arguments": {"name": "nowhere"}}
    forbidden = {**GREET, "arguments": {"name": "fail"}}

    errors = [over_rest(client, bearer(*ALICE), each)["error"] for each in (missing, forbidden)]

    told = [each["message"].replace("nowhere", "fail") for each in errors]
    assert told[0] == told[1]
    assert {each["code"] for each in errors} == {"not_found"}


def test_roles_of_the_settings_and_permissions_of_the_app_count(client: TestClient) -> None:
    for who in (bearer("c", roles=["clerk"]), bearer("c", "run:sums")):
        assert [each["name"] for each in over_rest(client, who, LIST)["workflows"]] == ["add"]


def test_a_guard_is_told_who_calls(client: TestClient) -> None:
    reset = {**GREET, "arguments": {"name": "reset", "inputs": {"what": "all"}}}

    admin = over_rest(client, bearer("root", "nexus:*", roles=["admin"]), reset)
    other = over_rest(client, bearer("ann", "nexus:*"), reset)

    assert admin["results"] == {"handler": {"reset": "all"}}
    assert other["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/status"),
        ("GET", "/tools"),
        ("POST", "/execute-tool"),
        ("GET", "/workflows"),
        ("POST", "/workflows"),
        ("DELETE", "/workflows"),
        ("GET", "/workflows/x"),
        ("DELETE", "/workflows/x"),
        ("POST", "/workflows/x/steps"),
        ("POST", ""),
        ("GET", ""),
        ("DELETE", ""),
    ],
)
@pytest.mark.parametrize("who", [{}, {"Authorization": "Bearer nonsense"}])
def test_nothing_is_there_without_a_good_token(
    client: TestClient, method: str, path: str, who: dict[str, str]
) -> None:
    answer = client.request(method, PREFIX + path, headers={**BOTH, **who})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("who", [{}, {"Authorization": "Bearer nonsense"}])
def test_nor_is_there_over_websocket(client: TestClient, who: dict[str, str]) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect(f"ws://127.0.0.1{PREFIX}/ws", subprotocols=["mcp"], headers=who),
    ):
        pass

    assert denied.value.status_code == 401


def test_sessions_belong_to_their_user(client: TestClient) -> None:
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": LEGACY}
    opened = client.post(PREFIX, json=hello, headers={**BOTH, **bearer(*ALICE)})
    session = {**BOTH, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

    fresh = client.post(PREFIX, json=ping, headers={**session, **bearer(*ALICE, seconds=99)})
    other = client.post(PREFIX, json=ping, headers={**session, **bearer(*BOB)})
    less = client.post(PREFIX, json=ping, headers={**session, **bearer("alice")})

    assert [each.status_code for each in (fresh, other, less)] == [200, 404, 404]


def test_workflow_sessions_belong_to_their_user(client: TestClient) -> None:
    bob = bearer(*BOB)
    body = {"workflow_type": "mine"}
    path = f"{PREFIX}/workflows"
    one, two = (client.post(path, json=body, headers=bob).json() for _ in range(2))
    session = one["workflow_session_id"]
    stranger = bearer("eve", "workflow:*")

    assert session != two["workflow_session_id"]
    assert client.get(f"{path}/{session}", headers=bob).status_code == 200
    assert client.get(f"{path}/{session}", headers=stranger).status_code == 404
    assert client.post(path, json=body, headers=bearer(*ALICE)).status_code == 404


def test_workflow_sessions_are_listed_to_their_user(client: TestClient) -> None:
    path = f"{PREFIX}/workflows"
    dora, eric = (bearer(name, "workflow:*") for name in ("dora", "eric"))
    made = {
        client.post(path, json={"workflow_type": "mine"}, headers=dora).json()[
            "workflow_session_id"
        ]
        for _ in range(5)
    }
    client.post(path, json={"workflow_type": "other"}, headers=eric)

    found: list[str] = []
    query = "limit=2"
    for _ in range(3):
        page = client.get(f"{path}?{query}", headers=dora).json()
        found += [each["workflow_session_id"] for each in page["workflow_sessions"]]
        assert page["count"] == len(page["workflow_sessions"]) <= page["limit"] == 2
        # What another user does with the cursor shows that one's own sessions only.
        query = f"limit=2&cursor={page.get('next_cursor')}"
        if "next_cursor" in page:
            theirs = client.get(f"{path}?{query}", headers=eric).json()["workflow_sessions"]
            assert not made & {each["workflow_session_id"] for each in theirs}
    assert "next_cursor" not in page
    assert (len(found), set(found)) == (5, made)

    assert client.get(path, headers=bearer(*ALICE)).status_code == 404
    assert client.get(f"{path}?all=true", headers=dora).status_code == 403


def test_all_workflow_sessions_are_listed_to_who_watches(client: TestClient) -> None:
    path = f"{PREFIX}/workflows?all=true&limit=200"
    client.post(f"{PREFIX}/workflows", json={"workflow_type": "x"}, headers=bearer(*BOB))

    seen = client.get(path, headers=bearer("watcher", "monitor:read")).json()["workflow_sessions"]

    assert seen
    assert not any(each["own"] for each in seen)
    assert all("owner" not in each for each in seen)
    tenant = bearer("watcher", "monitor:read", tenant_id="acme")
    assert client.get(path, headers=tenant).status_code == 403


def test_tokens_without_end_are_refused(client: TestClient) -> None:
    answer = client.get(f"{PREFIX}/status", headers=bearer("x", "*", seconds=0))

    assert answer.status_code == 401
    assert "exp" in answer.json()["error"]["message"]


async def test_a_stream_ends_with_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(make_app(auth=True, server_type="basic")) as app:
        async with enhance_nexus_with_mcp(app):
            who = bearer("alice", "*", seconds=2)
            messages: list[dict[str, Any]] = []
            began = time.perf_counter()
            await asyncio.wait_for(subscribed(app, who, messages), 10)

    assert 0.5 < time.perf_counter() - began < 4
    assert messages[0]["status"] == 200


async def subscribed(app: Any, who: dict[str, str], messages: list[dict[str, Any]]) -> None:
    """Opens the stream of a session by ASGI itself, and takes it to its end."""
    session = ""

    async def request(method: str, body: bytes, **headers: str) -> None:
        sent = {"host": "127.0.0.1", "content-type": "application/json", **headers}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": PREFIX,
            "raw_path": PREFIX.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if pending:
                return pending.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            nonlocal session
            if message["type"] == "http.response.start":
                found = dict(message["headers"])
                session = found.get(b"mcp-session-id", b"").decode() or session
                messages.append(message)

        await app.fastapi_app(scope, receive, send)

    lower = {"authorization": who["Authorization"], "accept": BOTH["Accept"]}
    hello = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":'
    hello += b'"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}'
    await request("POST", hello, **lower)
    messages.clear()
    await request("GET", b"", **{**lower, "mcp-session-id": session})


def test_credentials_may_be_the_servers_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {"a-key-of-many-characters": {"agent_id": "a", "permissions": ["nexus:greet"]}}
    with closing(make_app(server_type="basic")) as app:
        enhance_nexus_with_mcp(app, auth="own", config=ServerConfig(api_keys=keys))
        with TestClient(app.fastapi_app, base_url="http://127.0.0.1") as client:
            good = {"X-API-Key": "a-key-of-many-characters"}
            assert client.get(f"{PREFIX}/status", headers=good).json()["workflows"] == 1
            assert client.get(f"{PREFIX}/status").status_code == 401
            assert over_websocket(client, good, LIST)["count"] == 1


def test_limits_of_the_apps_own_auth_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(make_app(server_type="basic")) as app:
        with quiet():
            from nexus.auth.plugin import RateLimitConfig

            limit = RateLimitConfig(requests_per_minute=5, burst_size=0)
        add_auth(app, rate_limit=limit)
        enhance_nexus_with_mcp(app)
        with TestClient(app.fastapi_app, base_url="http://127.0.0.1") as client:
            who = bearer("alice")
            codes = [client.get(f"{PREFIX}/status", headers=who).status_code for _ in range(9)]

    assert 429 in codes
