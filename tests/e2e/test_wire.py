"""Every message of the exchanges here is held against the schema, by `tests.e2e.exchanges`."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.exchanges import LegacyHttp, ModernHttp, Stdio, notification, request
from tests.e2e.record_tools import ALL_TOOLS
from tests.e2e.servers import STDIO, HttpServer, forked
from tests.wire_schema import LEGACY, MODERN

Ask = Callable[..., dict[str, Any]]

COMPANY = {"data": {"name": "On the wire"}}


def assert_tools_answer(ask: Ask) -> None:
    """List the tools, make one good call, two failing ones, and one that is no call at all."""
    listed = ask("tools/list")["result"]["tools"]
    assert [tool["name"] for tool in listed] == ALL_TOOLS

    good = ask("tools/call", name="Company_create", arguments=COMPANY)["result"]
    assert good["isError"] is False
    assert json.loads(good["content"][0]["text"]) == good["structuredContent"]

    for tool, arguments, code in [
        ("Company_create", {"data": {"nam": "X"}}, "invalid_arguments"),
        ("Company_read", {"id": "nobody"}, "not_found"),
    ]:
        failed = ask("tools/call", name=tool, arguments=arguments)["result"]
        assert failed["isError"] is True
        assert failed["structuredContent"]["error"]["code"] == code
        assert json.loads(failed["content"][0]["text"]) == failed["structuredContent"]

    unknown = ask("tools/call", name="Nobody_knows", arguments={})
    assert unknown["error"]["code"] == -32602


def test_a_legacy_session_over_http(development_server: HttpServer) -> None:
    with LegacyHttp(development_server.mcp) as client:
        assert client.handshake["result"]["protocolVersion"] == LEGACY
        assert client.handshake["result"]["capabilities"] == {
            "tools": {"listChanged": True},
            "logging": {},
            "prompts": {"listChanged": True},
            "resources": {"listChanged": True, "subscribe": True},
            "completions": {},
        }
        assert client.request("ping")["result"] == {}
        assert_tools_answer(client.request)
        client.end()
        assert client.post(request(99, "ping")).status_code == 404


def test_modern_requests_over_http(development_server: HttpServer) -> None:
    with ModernHttp(development_server.mcp) as client:
        discovered = client.request("server/discover")["result"]
        assert {LEGACY, MODERN} <= set(discovered["supportedVersions"])
        assert_tools_answer(client.request)
        with client.listen() as events:
            acknowledged = next(events)
        assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}


def test_a_legacy_call_over_http_is_cancelled(development_server: HttpServer) -> None:
    message = request(77, "tools/call", name="Company_create", arguments=COMPANY)
    with LegacyHttp(development_server.mcp) as client, ThreadPoolExecutor(1) as pool:
        with development_server.writes_held_up():
            held_up: Future[httpx.Response] = pool.submit(client.post, message)
            # The cancellation may overtake the call, and then has no effect.
            while not held_up.done():
                client.notify("notifications/cancelled", requestId=77)
            stream = held_up.result()

        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "data:" not in stream.text
        again = client.request("tools/call", name="Company_create", arguments=COMPANY)
        assert again["result"]["isError"] is False


@pytest.mark.parametrize("revision", [LEGACY, MODERN])
def test_a_session_over_stdio(revision: str, tmp_path: Path) -> None:
    with forked(tmp_path, *STDIO) as process:
        client = Stdio(process, revision)
        if revision == LEGACY:
            assert client.initialize()["result"]["protocolVersion"] == LEGACY
            assert client.request("ping")["result"] == {}
        else:
            discovered = client.request("server/discover")["result"]
            assert {LEGACY, MODERN} <= set(discovered["supportedVersions"])
        assert_tools_answer(client.request)

        server = HttpServer(process, tmp_path, "", "")
        with server.writes_held_up():
            cancelled = client.begin("tools/call", name="Company_create", arguments=COMPANY)
            client.notify("notifications/cancelled", requestId=cancelled)
            # Its answer is the next message, so the cancelled call has none.
            assert client.request("tools/list")["result"]["tools"]
        good = client.request("tools/call", name="Company_create", arguments=COMPANY)
        assert good["result"]["isError"] is False

        if revision == MODERN:
            wanted = {"notifications": {"toolsListChanged": True}}
            listening = client.begin("subscriptions/listen", **wanted)
            assert client.receive()["method"] == "notifications/subscriptions/acknowledged"
            process.close_input()
            assert client.receive("subscriptions/listen")["id"] == listening
            closing = client.receive()
            assert closing == notification("notifications/cancelled", requestId=listening)
        else:
            process.close_input()
        assert process.process.wait(20) == 0
        answered = [json.loads(line).get("id") for line in process.output.finish().splitlines()]
        assert cancelled not in answered
