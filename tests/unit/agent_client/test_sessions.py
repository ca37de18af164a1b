from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil
import pytest
import uvicorn
from mcp.server.mcpserver import MCPServer

from kailash_mcp_prod.agent_client.servers import servers_of
from kailash_mcp_prod.agent_client.sessions import (
    AgentServerError,
    close_sessions,
    hide,
    open_sessions,
)
from tests.odd_server import TOOLS
from tests.unit.agent_peers import KEY, PROGRAM, connected, odd


async def test_all_calls_go_over_one_connection() -> None:
    async with connected(odd()) as [session]:
        answers = [await session.call("echo", {"number": number}) for number in range(3)]

    contents = [answer["structuredContent"] for answer in answers]
    assert [content["given"] for content in contents] == [{"number": n} for n in range(3)]
    assert len({content["process"] for content in contents}) == 1


async def test_tools_are_listed_as_they_are_sent() -> None:
    async with connected(odd()) as [session]:
        assert session.tools == TOOLS


async def test_tools_are_not_asked_for_in_vain() -> None:
    async with connected(odd("odd", "--no-tools"), with_tools=False) as [session]:
        assert session.tools == []
        assert (await session.read("notes://1"))["contents"][0]["text"] == "a note"


async def test_variables_of_this_process_go_to_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ODD_API_KEY", "of this process")
    async with connected(odd(env={})) as [session]:
        answer = await session.call("tell_key", {})

    assert answer["content"] == [{"type": "text", "text": "The key is of this process."}]


async def test_a_call_without_an_answer_ends_at_the_timeout() -> None:
    async with connected(odd(timeout=0.5)) as [session]:
        with pytest.raises(AgentServerError, match="'odd': no answer within"):
            await session.call("say_nothing", {})
        assert (await session.call("notes", {}))["structuredContent"] == {"notes": []}


async def test_a_server_that_dies_fails_the_call_at_once() -> None:
    async with connected(odd()) as [session]:
        with pytest.raises(AgentServerError, match="'odd': Connection closed"):
            await session.call("die", {})
        with pytest.raises(AgentServerError, match="'odd'"):
            await session.call("echo", {})


async def test_a_refusal_of_the_server_is_told_without_the_key() -> None:
    async with connected(odd()) as [session]:
        with pytest.raises(AgentServerError) as refused:
            await session.call("refuse", {})

    assert str(refused.value) == "MCP server 'odd': not with ***."


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"command": "/no/such/program"}, "its command or working directory is not found"),
        ({"cwd": "/no/such/place"}, "its command or working directory is not found"),
        ({"args": ["-c", "raise SystemExit"]}, "Connection closed"),
        ({"args": ["-c", "import sys; sys.stdin.read()"], "timeout": 0.3}, "no answer within"),
    ],
)
async def test_a_server_that_does_not_start_is_named_with_the_reason(
    settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AgentServerError, match=reason) as failed:
        await open_sessions(servers_of([odd(**settings)]), with_tools=True)

    assert failed.value.server == "odd"


async def test_tools_that_cannot_be_listed_are_named_with_the_reason() -> None:
    with pytest.raises(AgentServerError, match="'odd': there are no tools"):
        await open_sessions(servers_of([odd("odd", "--no-tools")]), with_tools=True)


async def test_no_connection_is_left_when_one_of_them_fails() -> None:
    entries = [odd("good"), odd("missing", command="/no")]
    with pytest.raises(AgentServerError, match="'missing'"):
        await open_sessions(servers_of(entries), with_tools=True)

    assert asyncio.all_tasks() == {asyncio.current_task()}
    children = [child.cmdline() for child in psutil.Process().children()]
    assert [command for command in children if PROGRAM in command] == []


RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "serverInfo": {"name": "brief", "version": "1"},
    },
    "tools/list": {"tools": []},
    "tools/call": {"content": [{"type": "text", "text": "done"}]},
}


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The URL of a server that answers every request with a status, or properly if it is 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = b""
            if status == 200 and "id" in message:
                reply = {
                    "jsonrpc": "2.0",
                    "id": message["id"],
                    "result": RESULTS[message["method"]],
                }
                answer = json.dumps(reply).encode()
            self.send_response(status if answer or status != 200 else 202)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, r"its credential is missing or not accepted \(HTTP 401\)"),
        (403, r"its credential is missing or not accepted \(HTTP 403\)"),
        (404, r"it answers HTTP 404; give the address of MCP"),
        (503, r"it answers HTTP 503"),
    ],
)
async def test_a_status_of_http_is_the_reason(status: int, reason: str) -> None:
    with answering(status) as url, pytest.raises(AgentServerError, match=reason):
        await open_sessions(servers_of([{"url": url}]), with_tools=True)


async def test_a_connection_that_is_lost_says_why_and_its_end_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with answering(200) as url:
        [session] = await open_sessions(servers_of([{"url": url}]), with_tools=False)
        assert (await session.call("any", {}))["content"][0]["text"] == "done"
    for _ in range(2):
        with pytest.raises(AgentServerError, match="'server1'"):
            await session.call("any", {})
    await close_sessions([session])

    ours = [record for record in caplog.records if record.name.startswith("kailash_mcp_prod")]
    [line] = [record.message for record in ours if record.levelname == "WARNING"]
    assert line.startswith("The connection has ended badly: MCP server 'server1': All connection")


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_port_where_nobody_listens_is_named(transport: str) -> None:
    entry = {"name": "away", "transport": transport, "url": "http://127.0.0.1:1/mcp"}
    with pytest.raises(AgentServerError, match="'away': All connection attempts failed"):
        await open_sessions(servers_of([entry]), with_tools=True)


async def test_the_older_transport_works_with_a_token_of_a_function() -> None:
    seen: list[str] = []
    server = MCPServer("older")

    @server.tool()
    def add(first: int, second: int) -> int:
        return first + second

    app = server.sse_app()

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["headers"])[b"authorization"].decode())
        await app(scope, receive, send)

    async def token() -> str:
        return "a-token-made-just-now"

    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(noting, log_config=None, ws="none", timeout_graceful_shutdown=1)
    older = uvicorn.Server(config)
    serving = asyncio.create_task(older.serve([listening]))
    entry = {
        "transport": "sse",
        "url": f"http://127.0.0.1:{listening.getsockname()[1]}/sse",
        "auth": {"type": "oauth2", "token_provider": token},
    }
    try:
        async with connected(entry) as [session]:
            answer = await session.call("add", {"first": 1, "second": 2})
            assert "a-token-made-just-now" in session.secrets
    finally:
        older.should_exit = True
        await serving

    assert answer["structuredContent"] == {"result": 3}
    assert set(seen) == {"Bearer a-token-made-just-now"}


def test_the_longest_secret_is_hidden_first() -> None:
    assert hide(f"Bearer {KEY}, {KEY}", [KEY, f"Bearer {KEY}"]) == "***, ***"
