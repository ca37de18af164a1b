"""Every public entry, with input that nobody should send: an error that says what to do, no more.

The tables below are held against what the server itself says that it has, so that a new tool or
method can't be left out.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from dataflow import DataFlow
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_sync
from websockets.typing import Subprotocol

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.background import run_on
from kailash_mcp_prod.protocol.revisions import Era
from kailash_mcp_prod.records.operations import Operation
from tests.e2e.exchanges import BOTH, INITIALIZE, META, request
from tests.integration.pipes import Pipes
from tests.wire_schema import LEGACY, MODERN

Json = dict[str, Any]
KEY = {"x-api-key": "key-of-a-hostile-agent"}
SECRET = "margin-nobody-sees"
CODES = {
    "invalid_arguments",
    "not_found",
    "conflict",
    "unauthenticated",
    "forbidden",
    "rate_limited",
    "overloaded",
    "circuit_open",
    "timeout",
    "unavailable",
}
# What only those know who are told too much.
NEVER_TOLD = (SECRET, "Traceback", "sqlite", "SQLite", "sqlalchemy", "asyncio", ".py", "margin")
ODD = [
    None,
    7,
    -1e308,
    10**400,
    "",
    "\x00",
    "\u202e'; DROP TABLE companies; --",
    "x" * 70_000,
    [],
    [[]],
    [None, {"$ne": None}],
    {},
    {"$ne": None},
    {"margin": 1},
    {"__class__": {"__init__": {"__globals__": 1}}},
    {"$or": [{"$and": [{"name": {"$regex": ".*"}}]}]},
]
TOO_LARGE = b" " * (4 * 1024 * 1024 + 1)
SURFACES = ("full", "compact", "search", "models/Company")
# They need no argument, so some of these make something: things of the agent's own.
MAKE_THEIR_OWN = {"create_agent_session", "enable_agent_collaboration"}
OWN_TABLES = ("mcp_agent_sessions", "mcp_workspace", "mcp_collaboration_events", "mcp_audit")


@dataclass
class Site:
    """A running server, and a client for each way in."""

    server: ProductionMCPServer
    database: Path
    web: httpx.Client
    socket: ClientConnection
    session: dict[str, str]
    seen: list[str] = field(default_factory=list)

    def stored(self) -> list[str]:
        """All that is in the database, but for what agents make for themselves."""
        with closing(sqlite3.connect(self.database)) as connection:
            return [
                line
                for line in connection.iterdump()
                if not any(table in line for table in OWN_TABLES)
            ]

    def rest(self, method: str, path: str, **given: Any) -> httpx.Response:
        return self.web.request(method, f"{self.server.rest_url}{path}", **given)

    def modern(self, surface: str, method: str, params: Json, **headers: str) -> Any:
        own = {"accept": BOTH, "mcp-protocol-version": MODERN, "mcp-method": method}
        mirrored = next(
            (params[each] for each in ("uri", "taskId", "name") if each in params), None
        )
        if isinstance(mirrored, str):
            fits_header = mirrored.isascii() and mirrored.isprintable() and len(mirrored) < 4_000
            own["mcp-name"] = mirrored if fits_header else "x"
        message = request(1, method, **params, _meta=META)
        return self.post(surface, message, {**own, **headers})

    def legacy(self, surface: str, method: str, params: Json) -> Any:
        message = request(1, method, **params)
        return self.post(surface, message, {"accept": BOTH, **self.session})

    def over_socket(self, surface: str, method: str, params: Json) -> Any:
        self.socket.send(json.dumps(request(1, method, **params, _meta=META)))
        return json.loads(self.socket.recv(20))

    def post(self, surface: str, message: Any, headers: dict[str, str]) -> Any:
        path = "" if surface == "full" else f"/{surface}"
        answer = self.web.post(
            f"{self.server.mcp_url}{path}",
            content=json.dumps(message).encode(),
            headers={"content-type": "application/json", **headers},
        )
        assert answer.status_code < 500, answer.text
        return answer.json()

    def check(self, told: Json, where: Any) -> None:
        """An error has the whole body, and says nothing that is not the caller's business."""
        assert told["code"] in CODES, (where, told)
        assert isinstance(told["message"], str), where
        assert told["message"].strip(), where
        assert isinstance(told["retryable"], bool), where
        assert isinstance(told["request_id"], str), where
        assert told["request_id"], where
        assert told["retryable"] == (told.get("retry_after_seconds", 0) > 0), (where, told)
        text = json.dumps(told)
        assert len(text) < 8_000, where
        sent = json.dumps(where)
        assert [each for each in NEVER_TOLD if each in text and each not in sent] == [], told
        self.seen.append(told["code"])


def model(name: str, /, **fields: Any) -> type:
    return type(name, (), {"__annotations__": fields, "__doc__": f"A {name}."})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    path = tmp_path_factory.mktemp("hostile") / "a.db"
    db = DataFlow(
        f"sqlite:///{path}", pool_size=20, enable_caching=False, enable_model_persistence=False
    )
    db.model(model("Company", id=str, name=str, size=int, margin=str))
    config = ServerConfig(
        port=0,
        transport="all",
        rate_limit_per_minute=1_000_000,
        max_messages_per_second=1_000_000,
        operations=tuple(Operation),
        enable_caching=True,
        api_keys={KEY["x-api-key"]: {"agent_id": "hostile", "permissions": ["*"]}},
        access_rules={"Company": {"hide": ["margin"], "fill": {"margin": SECRET}}},
    )
    with ExitStack() as stack:
        server = ProductionMCPServer(config, dataflow=db)
        server.start_mcp_server_async()
        stack.callback(server.stop_mcp_server)
        web = stack.enter_context(httpx.Client(headers=KEY, timeout=20, trust_env=False))
        url = f"{server.rest_url}/tools/Company_create"
        for number in range(3):
            data = {"id": f"c{number}", "name": f"n{number}", "size": number}
            assert web.post(url, json={"data": data, "_idempotency_key": data["id"]}).is_success
        # It makes the tables of workflow sessions.
        cleaned = web.post(f"{server.rest_url}/tools/cleanup_workflow_sessions", json={})
        assert cleaned.is_success
        opened = web.post(
            server.mcp_url or "",
            json=request(1, "initialize", **INITIALIZE),
            headers={"accept": BOTH},
        )
        session = {
            "mcp-session-id": opened.headers["mcp-session-id"],
            "mcp-protocol-version": LEGACY,
        }
        web.post(
            server.mcp_url or "",
            json={"jsonrpc": "2.0", "method": "notifications/initialized"},
            headers={"accept": BOTH, **session},
        )
        socket = stack.enter_context(
            connect_sync(
                server.ws_url or "",
                subprotocols=[Subprotocol("mcp")],
                additional_headers=KEY,
                max_size=None,
            )
        )
        yield Site(server, path, web, socket, session)


@pytest.fixture(autouse=True)
def _nothing_changes(site: Site) -> Iterator[None]:
    before = site.stored()
    site.seen.clear()
    yield
    assert site.stored() == before
    assert site.seen
    # And nobody else is kept out.
    listed = site.rest("POST", "/tools/Company_list", json={})
    assert listed.json()["count"] == 3
    assert site.rest("GET", "/health").json()["health_status"] == "healthy"


def hostile_arguments(tool: Json) -> Iterator[Json]:
    """Wrong values for each argument of a tool, and names that are none."""
    yield {"no such thing": 1}
    yield {"_agent_id": "boss"}
    yield {"_idempotency_key": "\n"}
    known = tool["inputSchema"].get("properties", {})
    required = {name: {} for name in tool["inputSchema"].get("required", ())}
    for name in known:
        for value in ODD:
            yield {**required, name: value}
    if "data" in known:
        yield {"data": {"name": "a", "margin": "b"}, "id": "c0"}
        yield {"data": [{"id": "c0", "name": "a"}, {"id": "c0", "name": "b"}]}
        yield {"data": {"name": "\ud800"}, "id": "c0"}
    if "expected" in known:
        yield {"id": "c0", "data": {"name": "z"}, "expected": {"margin": SECRET}}
    if "filter" in known:
        for condition in ({"margin": SECRET}, {"$not": {"margin": {"$null": True}}}):
            yield (
                {"filter": condition, "data": {"name": "z"}}
                if "data" in known
                else {"filter": condition}
            )
    for name in ("group_by", "min", "count_distinct", "sort", "fields"):
        if name in known:
            yield {name: ["margin"]}


def fits(tool: Json, arguments: Json) -> bool:
    """Whether a tool may take it: some odd values are good ones for what only reads."""
    wrong = {"no such thing", "_agent_id", "_idempotency_key"} & arguments.keys()
    may = tool["annotations"]["readOnlyHint"] or tool["name"] in MAKE_THEIR_OWN
    # And there is no session that could be cleaned up.
    harmless = may or tool["name"] == "cleanup_workflow_sessions"
    return harmless and not wrong and "margin" not in str(arguments)


Ask = Callable[[Site, str, str, Json], Any]
WIRES: dict[str, Ask] = {
    "2026": Site.modern,
    "2025": Site.legacy,
    "websocket": Site.over_socket,
}


@pytest.mark.parametrize("surface", SURFACES)
def test_every_tool_on_every_surface(site: Site, surface: str) -> None:
    listed = site.rest("GET", f"/tools?surface={surface}").json()["tools"]
    assert len(listed) > 2
    for tool in listed:
        name = tool["name"]
        exact = site.rest("GET", f"/tools/{name}?surface={surface}").json()
        for number, arguments in enumerate(hostile_arguments(exact)):
            where = [surface, name, arguments]
            answer = site.rest(
                "POST",
                f"/tools/{name}?surface={surface}",
                content=json.dumps(arguments).encode(),
                headers={"content-type": "application/json"},
            )
            told = answer.json()
            if "error" in told:
                assert answer.headers["x-request-id"] == told["error"]["request_id"]
                assert answer.status_code >= 400
                site.check(told["error"], where)
            else:
                assert fits(tool, arguments), where
                assert SECRET not in answer.text
            # The same on one of the other ways in, each in its turn.
            wire = [*WIRES][number % len(WIRES)]
            if surface != "full" and wire == "websocket":
                continue
            again = WIRES[wire](site, surface, "tools/call", {"name": name, "arguments": arguments})
            check_message(site, again, [wire, *where])


def check_message(site: Site, message: Json, where: Any) -> bool:
    """Whether a JSON-RPC message is an error or the failure of a tool; it is a good one then."""
    if "error" in message:
        site.check(message["error"]["data"], where)
        assert message["error"]["message"] == message["error"]["data"]["message"]
        return True
    result = message["result"]
    assert SECRET not in json.dumps(result)
    if not result.get("isError"):
        return False
    site.check(result["structuredContent"]["error"], where)
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    return True


# Parameters that each method has to refuse; where there are none, it takes what it is given.
REFUSED: dict[str, list[Json]] = {
    "tools/list": [{"cursor": "x"}, {"cursor": 7}],
    "tools/call": [
        {},
        {"name": 7},
        {"name": "Company_lst", "arguments": {}},
        {"name": "x" * 70_000},
        {"name": "Company_list", "arguments": []},
        {"name": "Company_list", "arguments": {str(n): n for n in range(1_001)}},
    ],
    "resources/list": [{"cursor": "x"}, {"cursor": {"$ne": 1}}],
    "resources/templates/list": [{"cursor": "x"}],
    "resources/read": [
        {},
        {"uri": 7},
        {"uri": ""},
        {"uri": "x" * 3_000},
        {"uri": "file:///etc/passwd"},
        {"uri": "dataflow://models/Company/../../c0"},
        {"uri": "dataflow://models/Company/c0%00"},
        {"uri": "dataflow://models/Nothing"},
        {"uri": "dataflow://models/Company/absent"},
    ],
    "resources/subscribe": [{}, {"uri": 7}, {"uri": "dataflow://models/Company/absent"}],
    "resources/unsubscribe": [{}, {"uri": []}],
    "prompts/list": [{"cursor": "x"}],
    "prompts/get": [
        {},
        {"name": 7},
        {"name": "no such"},
        {"name": "explore_data", "arguments": []},
        {"name": "explore_data", "arguments": {"model": 7}},
        {"name": "explore_data", "arguments": {"model": "x" * 5_000}},
        {"name": "explore_data", "arguments": {"no": "such"}},
    ],
    "completion/complete": [
        {},
        {"ref": 7},
        {"ref": {"type": "ref/other"}},
        {"ref": {"type": "ref/prompt", "name": "no such"}, "argument": {"name": "a", "value": "b"}},
        {"ref": {"type": "ref/resource", "uri": "x"}, "argument": {"name": "a", "value": "b"}},
        {"ref": {"type": "ref/resource", "uri": "x"}, "argument": {"name": 7}},
        {"ref": {"type": "ref/resource", "uri": "x"}, "argument": []},
    ],
    "logging/setLevel": [{}, {"level": "loud"}, {"level": 7}],
    "subscriptions/listen": [
        {},
        {"notifications": []},
        {"notifications": {"toolsListChanged": 7}},
        {"notifications": {"resourceSubscriptions": "x"}},
        {"notifications": {"resourceSubscriptions": ["x"] * 500}},
    ],
    "tasks/get": [{}, {"taskId": 7}, {"taskId": "x"}],
    "tasks/update": [{}, {"taskId": "x", "inputResponses": []}],
    "tasks/cancel": [{}, {"taskId": "x"}],
    "initialize": [{"protocolVersion": 7}, {}],
    "server/discover": [],
    "ping": [],
}


@pytest.mark.parametrize("wire", WIRES)
def test_every_method_of_both_eras(site: Site, wire: str) -> None:
    methods = list(site.server._dispatcher._table)
    assert {each.name for each in methods} == REFUSED.keys()
    era = Era.LEGACY if wire == "2025" else Era.MODERN
    for method in methods:
        for params in REFUSED[method.name]:
            answer = WIRES[wire](site, "full", method.name, params)
            assert check_message(site, answer, [wire, method.name, params]), (method.name, params)
        if method.streams:
            continue
        for odd in ODD:
            # Its members are looked at only where they mean something.
            answer = WIRES[wire](site, "full", method.name, {"requestState": odd, "cursor": odd})
            check_message(site, answer, [wire, method.name, odd])
        if era not in method.eras:
            assert check_message(site, WIRES[wire](site, "full", method.name, {}), method.name)


BODIES = [
    b"",
    b"{",
    b"\xff",
    b"null",
    b"[]",
    b"7",
    b"{}",
    b'{"jsonrpc":"2.0","id":1}',
    b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":7}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
    b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":"no/such"}',
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 100 + b"]" * 100 + b"}",
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1e999}}',
]


def test_what_is_no_message(site: Site) -> None:
    as_json = {"content-type": "application/json", "accept": BOTH}
    for body in BODIES:
        for era in ({"mcp-protocol-version": MODERN}, site.session):
            answer = site.web.post(
                site.server.mcp_url or "", content=body, headers={**as_json, **era}
            )
            assert check_message(site, answer.json(), str(body)), body
        if body:
            site.socket.send(body.decode("utf-8", "replace"))
            assert check_message(site, json.loads(site.socket.recv(20)), str(body)), body


async def over_pipes(site: Site, bodies: list[bytes]) -> list[Any]:
    pipes = Pipes(site.server, KEY)
    try:
        await pipes.transport.start()
        return [await pipes.ask(each) for each in bodies]
    finally:
        await pipes.close()


def test_lines_that_are_no_messages(site: Site) -> None:
    bodies = [each for each in BODIES if each]
    loop = site.server.mcp_server.loop
    answers = asyncio.run(run_on(loop, over_pipes(site, bodies)))
    for body, answer in zip(bodies, answers, strict=True):
        assert check_message(site, answer, str(body)), body


MCP_REFUSALS: list[tuple[str, dict[str, str], int]] = [
    ("GET", {"accept": "text/html"}, 406),
    ("GET", {"accept": BOTH}, 400),
    ("GET", {"accept": BOTH, "mcp-session-id": "nobody's"}, 404),
    ("PUT", {}, 405),
    ("DELETE", {}, 400),
    ("POST", {"content-type": "text/plain"}, 415),
    ("POST", {"accept": "text/html", "content-type": "application/json"}, 406),
    ("POST", {"x-api-key": "wrong"}, 401),
    ("POST", {"authorization": "Bearer a.b.c", "x-api-key": ""}, 401),
    ("POST", {"host": "evil.example.com"}, 421),
    ("POST", {"origin": "https://evil.example.com"}, 403),
    ("POST", {"content-type": "application/json", "x-body": "large"}, 413),
]


@pytest.mark.parametrize(("method", "headers", "status"), MCP_REFUSALS)
def test_requests_that_are_refused_before_they_are_read(
    site: Site, method: str, headers: dict[str, str], status: int
) -> None:
    own = {"accept": BOTH, **headers}
    body = None
    if method == "POST":
        body = TOO_LARGE if "x-body" in headers else b"{}"
    for path in ("", "/compact"):
        url = f"{site.server.mcp_url}{path}"
        with httpx.Client(headers=KEY, timeout=20, trust_env=False) as web:
            answer = web.request(method, url, content=body, headers=own)
        assert answer.status_code == status, answer.text
        assert check_message(site, answer.json(), [method, headers])
        assert answer.headers["x-request-id"] == answer.json()["error"]["data"]["request_id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/mcp/no-surface", 404),
        ("POST", "/mcp/models/Nothing", 404),
        ("GET", "/ws", 404),
        ("GET", "/.well-known/oauth-protected-resource", 404),
        ("GET", "/.well-known/oauth-protected-resource/mcp", 404),
    ],
)
def test_addresses_with_nothing_behind_them(
    site: Site, method: str, path: str, status: int
) -> None:
    url = f"{(site.server.mcp_url or '').removesuffix('/mcp')}{path}"
    answer = site.web.request(method, url, headers={"accept": BOTH})
    assert answer.status_code == status
    assert check_message(site, answer.json(), [method, path])


@pytest.mark.parametrize(
    ("path", "headers", "protocol", "status"),
    [
        ("", {"x-api-key": "wrong"}, "mcp", 401),
        ("", {}, "mcp", 401),
        ("", {**KEY, "origin": "https://evil.example.com"}, "mcp", 403),
        ("", KEY, "chat", 400),
        ("/no-surface", KEY, "mcp", 404),
        ("/models/Nothing", KEY, "mcp", 404),
    ],
)
def test_websockets_that_are_not_opened(
    site: Site, path: str, headers: dict[str, str], protocol: str, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect_sync(
            f"{site.server.ws_url}{path}",
            subprotocols=[Subprotocol(protocol)],
            additional_headers=headers,
        )
    response = refused.value.response
    assert response.status_code == status
    assert check_message(site, json.loads(response.body or b""), [path, headers])


REST_REFUSALS: list[tuple[str, str, dict[str, str], bytes | None, int]] = [
    ("GET", "/tools?surface=no", {}, None, 404),
    ("GET", "/tools?surface=models/Nothing", {}, None, 404),
    ("GET", "/tools/no", {}, None, 404),
    ("GET", "/tools/%00", {}, None, 404),
    ("GET", "/no", {}, None, 404),
    ("GET", "/tools/../../etc/passwd", {}, None, 404),
    ("DELETE", "/tools", {}, None, 405),
    ("PUT", "/tools/Company_create", {}, b"{}", 405),
    ("POST", "/health", {}, b"{}", 405),
    ("POST", "/tools/no", {}, b"", 404),
    ("POST", "/tools/Company_list?surface=no", {}, b"{}", 404),
    ("POST", "/tools/Company_list", {}, b"{", 400),
    ("POST", "/tools/Company_list", {}, b"[]", 400),
    ("POST", "/tools/Company_list", {}, b'{"limit": NaN}', 400),
    ("POST", "/tools/Company_list", {}, b'{"filter":' + b"[" * 99 + b"]" * 99 + b"}", 400),
    ("POST", "/tools/Company_list", {"content-type": "text/plain"}, b"{}", 415),
    ("POST", "/tools/Company_list", {}, TOO_LARGE, 413),
    ("POST", "/tools/Company_list", {"x-api-key": "wrong"}, b"{}", 401),
    ("GET", "/tools", {"x-api-key": "wrong"}, None, 401),
    ("GET", "/tools/Company_list", {"x-api-key": "wrong"}, None, 401),
    ("POST", "/tools/Company_list", {"host": "evil.example.com"}, b"{}", 421),
    ("POST", "/tools/Company_list", {"origin": "https://evil.example.com"}, b"{}", 403),
    ("POST", "/tools/Company_create", {"idempotency-key": "x" * 999}, b"{}", 400),
]


@pytest.mark.parametrize("refusal", REST_REFUSALS)
def test_every_route_of_rest(
    site: Site, refusal: tuple[str, str, dict[str, str], bytes | None, int]
) -> None:
    method, path, headers, body, status = refusal
    own = {"content-type": "application/json", **headers}
    with httpx.Client(headers=KEY, timeout=20, trust_env=False) as web:
        url = f"{site.server.rest_url}{path}"
        answer = web.request(method, url, content=body, headers=own)
    assert answer.status_code == status, answer.text
    told = answer.json()["error"]
    site.check(told, [method, path])
    assert answer.headers["x-request-id"] == told["request_id"]


def test_the_table_of_rest_has_every_route(site: Site) -> None:
    described = site.rest("GET", "/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, each in described.items() for method in each}
    assert routes == {
        ("GET", "/tools"),
        ("GET", "/tools/{name}"),
        ("POST", "/tools/{name}"),
        ("GET", "/health"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
    }
    assert "margin" not in json.dumps(described)
    refused = site.rest("GET", "/tools/nothing").json()
    site.check(refused["error"], "nothing")
