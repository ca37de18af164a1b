"""Two users send the same requests to every route of every kind of Nexus app, durability on.

Each gets its own, in process and over sockets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from kailash_mcp_prod import ServerConfig, enhance_nexus_with_mcp
from kailash_mcp_prod.background import BackgroundLoop
from kailash_mcp_prod.transports.listening import Listener
from tests.nexus_apps import PREFIX, bearer, closing, make_app, quiet, token

ALICE = ("alice", "nexus:greet", "workflow:*")
BOB = ("bob", "nexus:add", "workflow:*")
USERS = (ALICE, BOB, ALICE, BOB)
KINDS: list[dict[str, Any]] = [
    {"server_type": "basic"},
    {"server_type": "durable"},
    {"server_type": "enterprise"},
    {"preset": "none"},
    {"preset": "lightweight"},
    {"preset": "standard", "cors_origins": ["https://shop.example"]},
    {"preset": "saas"},
    {"preset": "enterprise", "cors_origins": ["https://shop.example"]},
]
BOTH = {"Accept": "application/json, text/event-stream"}
CLIENT = {"name": "t", "version": "1"}
LEGACY = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
LIST = {"name": "get_nexus_workflows", "arguments": {}}
GREET = {"name": "execute_nexus_workflow", "arguments": {"name": "greet", "inputs": {"name": "A"}}}
STEP = {
    "step_name": "greet",
    "step_config": {"type": "tool", "tool": GREET["name"], "arguments": GREET["arguments"]},
}

Client = TestClient | httpx.Client
Talk = Callable[[dict[str, str], list[dict[str, Any]]], Any]
"""Sends messages over WebSocket, and returns the last answer."""


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(str(each) for each in kind.values()))
def app(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with closing(make_app(auth=True, enable_durability=True, **request.param)) as made, quiet():
        config = ServerConfig(auth_type=("custom",), database_url=f"sqlite:///{tmp_path}/state.db")
        enhance_nexus_with_mcp(made, config=config, expose_workflows=True)
        yield made


@contextmanager
def in_process(app: Any) -> Iterator[tuple[Client, Talk]]:
    with TestClient(
        app.fastapi_app, base_url="http://127.0.0.1", client=("127.0.0.1", 1)
    ) as client:

        def talk(who: dict[str, str], messages: list[dict[str, Any]]) -> Any:
            url = f"ws://127.0.0.1{PREFIX}/ws"
            with client.websocket_connect(url, subprotocols=["mcp"], headers=who) as channel:
                for each in messages:
                    channel.send_json(each)
                    found = channel.receive_json() if "id" in each else None
            return found

        yield client, talk


@contextmanager
def over_sockets(app: Any) -> Iterator[tuple[Client, Talk]]:
    background = BackgroundLoop("nexus")
    listener = Listener(
        app.fastapi_app, "127.0.0.1", 0, max_message_bytes=1_000_000, with_lifespan=True
    )
    try:
        background.run(listener.start())
        ws = f"{listener.url.replace('http', 'ws', 1)}{PREFIX}/ws"

        def talk(who: dict[str, str], messages: list[dict[str, Any]]) -> Any:
            mcp = [Subprotocol("mcp")]
            with connect(ws, subprotocols=mcp, additional_headers=who) as channel:
                for each in messages:
                    channel.send(json.dumps(each))
                    found = json.loads(channel.recv(10)) if "id" in each else None
            return found

        with httpx.Client(base_url=listener.url, timeout=20) as client:
            yield client, talk
    finally:
        background.run(listener.stop())
        background.close()


def test_each_user_gets_its_own_on_every_route(app: Any) -> None:
    for way in (in_process, over_sockets):
        with way(app) as (client, talk):
            ask = partial(asked_by_both, client)
            see_rest(ask)
            see_workflow_sessions(ask)
            see_modern(ask)
            see_legacy(ask)
            see_websocket(talk)
            see_dashboard(client)


def asked_by_both(
    client: Client, method: str, path: str, body: Any = None, **headers: str
) -> list[Any]:
    """The answers to one request that Alice, Bob, Alice and Bob send."""
    return [
        client.request(
            method, PREFIX + path, json=body, headers={**BOTH, **headers, **bearer(*who)}
        )
        for who in USERS
    ]


def statuses(answers: list[Any]) -> list[int]:
    return [each.status_code for each in answers]


def see_rest(ask: Callable[..., list[Any]]) -> None:
    callers = [each.json()["caller"]["subject"] for each in ask("GET", "/status")]
    assert callers == ["nexus:alice", "nexus:bob"] * 2
    assert own_tools(ask("GET", "/tools")) == [{"nexus_greet"}, {"nexus_add"}] * 2

    listed = ask("POST", "/execute-tool", {"tool_name": LIST["name"], "arguments": {}})
    names = [[one["name"] for one in each.json()["workflows"]] for each in listed]
    assert names == [["greet"], ["add"]] * 2
    body = {"tool_name": GREET["name"], "arguments": GREET["arguments"]}
    ran = ask("POST", "/execute-tool", body)
    assert statuses(ran) == [200, 404] * 2
    # Not the first answer once more.
    assert ran[0].json()["execution_id"] != ran[2].json()["execution_id"]


def see_workflow_sessions(ask: Callable[..., list[Any]]) -> None:
    made = ask("POST", "/workflows", {"workflow_type": "mine"})
    assert statuses(made) == [201] * 4
    ids = [each.json()["workflow_session_id"] for each in made]
    assert len(set(ids)) == 4
    for each, own in zip(ask("GET", "/workflows"), (ids[::2], ids[1::2]) * 2, strict=True):
        listed = each.json()["workflow_sessions"]
        assert {one["workflow_session_id"] for one in listed} == set(own)

    path = f"/workflows/{ids[0]}"
    assert statuses(ask("POST", f"{path}/steps", STEP)) == [200, 404] * 2
    seen = ask("GET", path)
    assert statuses(seen) == [200, 404] * 2
    assert seen[2].json()["completed_steps"] == 1
    assert statuses(ask("DELETE", f"/workflows/{ids[1]}")) == [404, 200, 404, 404]
    removed = [each.json()["removed"] for each in ask("DELETE", "/workflows?idle_minutes=0")]
    assert removed == [2, 1, 0, 0]


def see_modern(ask: Callable[..., list[Any]]) -> None:
    def message(method: str, **params: Any) -> list[Any]:
        headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
        if "name" in params:
            headers["Mcp-Name"] = params["name"]
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
        answers: list[Any] = ask("POST", "", body, **headers)
        return answers

    listed = [each.json()["result"]["tools"] for each in message("tools/list")]
    assert [named(each) for each in listed] == [{"nexus_greet"}, {"nexus_add"}] * 2
    failed = [each.json()["result"]["isError"] for each in message("tools/call", **GREET)]
    assert failed == [False, True] * 2


def see_legacy(ask: Callable[..., list[Any]]) -> None:
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": LEGACY}
    sessions = [each.headers["mcp-session-id"] for each in ask("POST", "", hello)]
    assert len(set(sessions)) == 4
    of_alice, of_bob = ({"Mcp-Session-Id": each} for each in sessions[:2])
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": GREET}
    assert statuses(ask("POST", "", call, **of_alice)) == [200, 404] * 2
    ran = ask("POST", "", call, **of_bob)
    assert statuses(ran) == [404, 200] * 2
    assert ran[1].json()["result"]["structuredContent"]["error"]["code"] == "not_found"
    assert statuses(ask("DELETE", "", **of_bob)) == [404, 204, 404, 404]
    # Its stream is open to nobody any more; one that is would never end.
    assert statuses(ask("GET", "", **of_bob)) == [404] * 4


def see_websocket(talk: Talk) -> None:
    messages = [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": LEGACY},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": LIST},
    ]
    found = [talk(bearer(*who), messages)["result"]["structuredContent"] for who in USERS]
    names = [[one["name"] for one in each["workflows"]] for each in found]
    assert names == [["greet"], ["add"]] * 2


def see_dashboard(client: Client) -> None:
    found = []
    for who in USERS:
        client.cookies.clear()
        login = {"credential": token(*who)}
        url = f"{PREFIX}/dashboard/api"
        answer = client.post(f"{url}/login", json=login, headers={"X-Dashboard": "1"})
        assert answer.json() == {"subject": f"nexus:{who[0]}"}
        found.append(client.get(f"{url}/tools"))
    client.cookies.clear()
    assert own_tools(found) == [{"nexus_greet"}, {"nexus_add"}] * 2


def own_tools(answers: list[Any]) -> list[set[str]]:
    return [named(each.json()["tools"]) for each in answers]


def named(tools: list[dict[str, Any]]) -> set[str]:
    """The tools for single workflows."""
    return {each["name"] for each in tools if each["name"].startswith("nexus_")}
