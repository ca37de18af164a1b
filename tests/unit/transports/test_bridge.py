"""The bridge on a pair of pipes, and a real server at its other end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.tools.lists import EncodedList
from kailash_mcp_prod.transports.bridge import Bridge
from kailash_mcp_prod.transports.bridge_http import Endpoint
from kailash_mcp_prod.transports.http import HttpTransport
from kailash_mcp_prod.transports.listening import Listener
from kailash_mcp_prod.transports.stdio_streams import open_source
from tests import wire_schema
from tests.sample_host import KeyRing, SampleHost
from tests.unit.transports.conftest import INITIALIZE, META, rpc

INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
ALICE = {"X-API-Key": "alice-key"}


def cancelled(request_id: int) -> dict[str, Any]:
    params = {"requestId": request_id}
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}


class Server:
    """The sample host over HTTP, which can go away and come back at the same address."""

    def __init__(self, app: Any = None, **options: Any) -> None:
        self.host = SampleHost()
        self.keys = KeyRing(anonymous=False)
        self.options = options
        self._app = app
        self.port = 0

    async def start(self) -> None:
        self.transport = HttpTransport(
            Dispatcher(self.host, instructions="Echo what you hear."), self.keys, **self.options
        )
        self.listener = Listener(self._app or self.transport, "127.0.0.1", self.port)
        self.port = self.listener.port
        await self.listener.start()

    async def stop(self) -> None:
        await self.transport.stop()
        await self.listener.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


class Bridged:
    """A bridge to a server, and the client's ends of its pipes."""

    def __init__(self, server: Server, credentials: dict[str, str], **options: Any) -> None:
        self.server = server
        server_in, self.writer = os.pipe()
        self.reader, server_out = os.pipe()
        self._theirs = (server_in, server_out)
        self.bridge = Bridge(Endpoint(server.url, credentials), descriptors=self._theirs, **options)
        self._buffer = b""

    async def start(self) -> None:
        await self.bridge.start()
        for descriptor in self._theirs:
            os.close(descriptor)
        self._source = await open_source(self.reader)
        os.close(self.reader)

    def send(self, *messages: Any) -> None:
        lines = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
        os.write(self.writer, b"".join(line + b"\n" for line in lines))

    async def receive(self) -> Any:
        """The next message; `None` at the end."""
        while b"\n" not in self._buffer:
            chunk = await self._source.read()
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def ask(self, message: dict[str, Any], revision: str = wire_schema.MODERN) -> Any:
        wire_schema.check_request(revision, message)
        self.send(message)
        response = await self.receive()
        wire_schema.check_response(revision, response, message["method"])
        assert response["id"] == message["id"]
        return response

    async def open(self) -> None:
        await self.ask(rpc("initialize", 0, **INITIALIZE), wire_schema.LEGACY)
        self.send(INITIALIZED)

    def close_input(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    async def aclose(self) -> None:
        self.close_input()
        await self.bridge.stop()
        await self._source.close()


@contextlib.asynccontextmanager
async def bridging(
    app: Any = None, credentials: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Bridged]:
    server = Server(app)
    await server.start()
    bridged = Bridged(server, ALICE if credentials is None else credentials, **options)
    try:
        await bridged.start()
        yield bridged
    finally:
        await bridged.aclose()
        await server.stop()


@pytest.fixture
async def bridged() -> AsyncIterator[Bridged]:
    async with bridging() as bridged:
        yield bridged


async def test_both_eras_pass_over_one_bridge(bridged: Bridged) -> None:
    await bridged.ask(rpc("server/discover", 1, _meta=META))
    await bridged.open()
    legacy = await bridged.ask(rpc("tools/list", 2), wire_schema.LEGACY)
    called = await bridged.ask(
        rpc("tools/call", 3, name="add", arguments={"a": 1, "b": 2}, _meta=META)
    )
    again = await bridged.ask(
        rpc("tools/call", 4, name="echo", arguments={"a": "ü\n"}), wire_schema.LEGACY
    )

    assert "resultType" not in legacy["result"]
    assert called["result"]["structuredContent"] == {"sum": 3}
    assert again["result"]["structuredContent"] == {"a": "ü\n"}
    assert {principal.subject for principal, *_ in bridged.server.host.calls} == {"alice"}


async def test_messages_sent_at_once_take_effect_in_their_order(bridged: Bridged) -> None:
    bridged.send(
        rpc("initialize", 1, **INITIALIZE),
        INITIALIZED,
        rpc("tools/call", 2, name="add", arguments={"a": 1, "b": 2}),
    )

    assert [(await bridged.receive())["id"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("meta", [{}, {"_meta": META}], ids=["legacy", "modern"])
async def test_a_cancelled_request_ends_on_the_server_and_is_not_answered(
    bridged: Bridged, meta: dict[str, Any]
) -> None:
    await bridged.open()
    bridged.send(rpc("tools/call", 5, name="slow", **meta))
    await bridged.server.host.slow_started.wait()
    bridged.send(cancelled(5))
    await bridged.server.host.slow_cancelled.wait()

    assert (await bridged.ask(rpc("ping", 6), wire_schema.LEGACY))["result"] == {}


async def test_what_the_server_sends_by_itself_reaches_the_client(bridged: Bridged) -> None:
    await bridged.open()
    await bridged.server.host.listening.wait()
    bridged.server.host.change()

    message = await bridged.receive()
    assert message["method"] == "notifications/tools/list_changed"


async def test_progress_comes_before_the_answer(bridged: Bridged) -> None:
    await bridged.open()
    bridged.send(rpc("tools/call", 7, name="report", _meta={"progressToken": "p"}))

    seen = []
    while "id" not in (message := await bridged.receive()):
        seen.append(message["method"])
    assert message["result"]["structuredContent"] == {"steps": 3}
    assert "notifications/progress" in seen


async def test_a_question_of_the_server_is_answered_by_the_client(bridged: Bridged) -> None:
    handshake = {**INITIALIZE, "capabilities": {"elicitation": {}}}
    await bridged.ask(rpc("initialize", 0, **handshake), wire_schema.LEGACY)
    bridged.send(INITIALIZED, rpc("tools/call", 8, name="ask"))

    question = await bridged.receive()
    assert question["method"] == "elicitation/create"
    content = {"action": "accept", "content": {"name": "Mara"}}
    bridged.send({"jsonrpc": "2.0", "id": question["id"], "result": content})
    answer = await bridged.receive()
    assert answer["id"] == 8
    assert answer["result"]["structuredContent"]["answer"] == content


async def test_a_subscription_carries_changes_and_ends_when_it_is_cancelled(
    bridged: Bridged,
) -> None:
    params = {"notifications": {"toolsListChanged": True}, "_meta": META}
    bridged.send(rpc("subscriptions/listen", 9, **params))
    assert (await bridged.receive())["method"] == "notifications/subscriptions/acknowledged"
    bridged.server.host.change()
    assert (await bridged.receive())["method"] == "notifications/tools/list_changed"

    bridged.send(cancelled(9))
    await bridged.ask(rpc("tools/list", 10, _meta=META))


async def test_a_server_that_is_down_is_told_and_used_again_when_it_is_back(
    bridged: Bridged,
) -> None:
    await bridged.open()
    await bridged.server.stop()
    bridged.send(rpc("ping", 11), rpc("tools/list", 12, _meta=META))
    for _ in range(2):
        refused = await bridged.receive()
        assert refused["id"] in {11, 12}
        assert refused["error"]["code"] == -32603
        assert bridged.server.url in refused["error"]["message"]
        assert "Start it" in refused["error"]["message"]

    await bridged.server.start()
    assert (await bridged.ask(rpc("ping", 13), wire_schema.LEGACY))["result"] == {}
    await bridged.ask(rpc("tools/list", 14, _meta=META))


async def test_the_session_ends_with_the_client(bridged: Bridged) -> None:
    await bridged.open()
    await bridged.ask(rpc("ping", 1), wire_schema.LEGACY)
    sessions = bridged.server.transport._sessions
    assert len(sessions._sessions) == 1

    bridged.close_input()
    await bridged.bridge.wait_closed()
    await bridged.bridge.stop()

    assert await bridged.receive() is None
    assert len(sessions._sessions) == 0


async def test_requests_may_finish_after_the_client_closed_its_end(bridged: Bridged) -> None:
    bridged.send(rpc("tools/call", 2, name="slow", _meta=META))
    await bridged.server.host.slow_started.wait()
    bridged.close_input()
    bridged.server.host.release_slow.set()

    assert (await bridged.receive())["result"]["structuredContent"] == {"slow": "done"}
    await bridged.bridge.wait_closed()


async def test_a_wrong_credential_is_refused_by_the_server() -> None:
    async with bridging(credentials={"X-API-Key": "wrong"}) as bridged:
        bridged.send(rpc("initialize", 1, **INITIALIZE))
        refused = await bridged.receive()

    assert refused["id"] == 1
    assert refused["error"]["data"]["code"] == "unauthenticated"


@pytest.mark.parametrize("line", [b"{", b"\xff", b'{"a":"\xff"}', b"[" * 100_000])
async def test_a_line_that_is_no_json_is_answered_here(bridged: Bridged, line: bytes) -> None:
    # In a thread, because a pipe holds less than the longest line.
    await asyncio.to_thread(bridged.send, line)
    assert (await bridged.receive())["error"]["code"] == -32700

    await bridged.ask(rpc("tools/list", 1, _meta=META))


async def test_an_overlong_line_is_answered_here() -> None:
    async with bridging(max_line_bytes=1000) as bridged:
        bridged.send(b"x" * 5000)
        refused = await bridged.receive()
        assert refused["error"]["code"] == -32600
        await bridged.ask(rpc("tools/list", 1, _meta=META))


Reply = tuple[int, str, list[bytes]]


def answering(replies: Callable[[str, dict[str, str]], Reply]) -> Any:
    """An application that answers by method and headers with a status, a type and chunks."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, kind, chunks = replies(scope["method"], headers)
        sent = [(b"content-type", kind.encode()), (b"mcp-session-id", b"s")]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})

    return app


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((404, "text/html", [b"<h1>Not here</h1>"]), "HTTP status 404"),
        ((307, "text/plain", []), "HTTP status 307"),
        ((401, "text/plain", [b"no"]), "MCP_API_KEY"),
        ((200, "text/event-stream", [b": nothing\n\n"]), "before it was complete"),
        ((202, "application/json", []), "HTTP status 202"),
        ((200, "application/json", [b'{"result":"\xff"}']), "HTTP status 200"),
        ((200, "application/json", [b'{"id":2,"result":{}}']), "that this was not"),
        ((200, "application/json", [b'[{"id":1,"result":{}}]']), "HTTP status 200"),
    ],
)
async def test_an_answer_that_is_none_of_mcp_becomes_an_error(reply: Reply, said: str) -> None:
    async with bridging(answering(lambda *_: reply)) as bridged:
        bridged.send(rpc("tools/list", 1, _meta=META))
        refused = await bridged.receive()

    assert refused["id"] == 1
    assert said in refused["error"]["message"]


OPENED = b'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}'


async def test_a_session_that_is_lost_at_once_again_is_renewed_no_more() -> None:
    in_session: list[bool] = []

    def replies(_method: str, headers: dict[str, str]) -> Reply:
        in_session.append("mcp-session-id" in headers)
        return (404, "text/plain", []) if in_session[-1] else (200, "application/json", [OPENED])

    async with bridging(answering(replies)) as bridged:
        bridged.send(rpc("initialize", 1, **INITIALIZE), rpc("tools/list", 2))
        assert (await bridged.receive())["id"] == 1
        refused = await bridged.receive()
        asked = list(in_session)

    assert refused["id"] == 2
    assert "forgotten the session" in refused["error"]["message"]
    # The handshake, the request, both parts of the handshake anew, and the request.
    assert asked == [False, True, False, True, True]


async def test_json_over_several_lines_becomes_one_line() -> None:
    pretty = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"a": "x\ny"}}, indent=2).encode()
    events = b"".join(b"data: " + line + b"\r\n" for line in pretty.split(b"\n")) + b"\r\n"

    for kind, body in (("application/json", pretty), ("text/event-stream", events)):
        async with bridging(answering(lambda *_, k=kind, b=body: (200, k, [b]))) as bridged:  # type: ignore[misc]
            bridged.send(rpc("ping", 1))
            assert (await bridged.receive())["result"] == {"a": "x\ny"}


async def test_a_stream_that_ends_early_is_taken_up_where_it_ended() -> None:
    final = b'data: {"jsonrpc":"2.0","id":2,"result":{"late":true}}\n\n'
    seen: list[str] = []

    def replies(method: str, headers: dict[str, str]) -> Reply:
        if "mcp-session-id" not in headers and method == "POST":
            return 200, "application/json", [OPENED]
        if method == "GET" and "last-event-id" in headers:
            seen.append(headers["last-event-id"])
            return 200, "text/event-stream", [b"id: e8\n", final]
        return 200, "text/event-stream", [b"id: e7\nretry: 1\ndata:\n\n"]

    async with bridging(answering(replies)) as bridged:
        bridged.send(rpc("initialize", 1, **INITIALIZE), rpc("tools/call", 2, name="slow"))
        assert (await bridged.receive())["id"] == 1
        answer = await bridged.receive()

    assert answer["result"] == {"late": True}
    assert seen == ["e7"]


REGION = {
    "type": "object",
    "properties": {
        "where": {
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        }
    },
}
CALL_NORTH = rpc("tools/call", 2, name="echo", arguments={"where": {"region": "Süd"}}, _meta=META)


@pytest.mark.parametrize("listed", [False, True])
async def test_arguments_go_into_headers_where_the_tool_wants_it(
    bridged: Bridged, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    broken = {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}
    tools = [
        {"name": "echo", "inputSchema": REGION},
        {"name": "broken", "inputSchema": broken},
    ]
    monkeypatch.setattr(bridged.server.host, "encoded_list", lambda *_: EncodedList(tools))
    if listed:
        shown = await bridged.ask(rpc("tools/list", _meta=META))
        assert [each["name"] for each in shown["result"]["tools"]] == ["echo"]

    answer = await bridged.ask(CALL_NORTH)

    assert answer["result"]["structuredContent"] == {"where": {"region": "Süd"}}
    assert len(bridged.server.host.calls) == 1
    assert (await bridged.ask(CALL_NORTH))["result"]


async def test_a_call_that_is_refused_for_its_headers_goes_once_more_only() -> None:
    calls: list[str] = []
    refusal = b'{"jsonrpc":"2.0","id":2,"error":{"code":-32020,"message":"Other headers!"}}'
    empty = b'data: {"jsonrpc":"2.0","id":"tools-of-the-bridge","result":{"tools":[]}}\n\n'

    def replies(_method: str, headers: dict[str, str]) -> Reply:
        calls.append(headers["mcp-method"])
        if headers["mcp-method"] == "tools/list":
            return 200, "text/event-stream", [empty]
        return 400, "application/json", [refusal]

    async with bridging(answering(replies)) as bridged:
        bridged.send(CALL_NORTH)
        assert (await bridged.receive())["error"]["message"] == "Other headers!"

    assert calls == ["tools/call", "tools/list", "tools/call"]
