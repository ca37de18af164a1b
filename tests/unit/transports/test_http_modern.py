from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import pytest

from tests import wire_schema
from tests.unit.transports.conftest import META, Web, modern_headers, rpc, serving

VERSION = "io.modelcontextprotocol/protocolVersion"


async def test_a_call_needs_no_session_and_gets_none(web: Web) -> None:
    response = await web.modern("tools/call", name="add", arguments={"a": 1, "b": 2})

    assert response.json()["result"]["structuredContent"] == {"sum": 3}
    assert "mcp-session-id" not in response.headers


async def test_a_session_header_is_ignored(web: Web) -> None:
    response = await web.modern("server/discover", {"mcp-session-id": "whatever"})

    assert response.status_code == 200
    assert "mcp-session-id" not in response.headers


@pytest.mark.parametrize(
    "changes",
    [
        {"mcp-method": ""},
        {"mcp-method": "tools/list"},
        {"mcp-name": ""},
        {"mcp-name": "add"},
        {"mcp-name": "=?base64?%%%?="},
        {"mcp-protocol-version": "2025-11-25"},
        {"mcp-protocol-version": "2027-01-01"},
    ],
)
async def test_headers_that_differ_from_the_body_are_a_bad_request(
    web: Web, changes: dict[str, str]
) -> None:
    response = await web.modern("tools/call", changes, name="echo")

    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32020
    assert web.host.calls == []


@pytest.mark.parametrize("missing", ["mcp-protocol-version", "mcp-method", "mcp-name"])
async def test_a_missing_header_is_a_bad_request(web: Web, missing: str) -> None:
    headers = modern_headers("tools/call", "echo")
    del headers[missing]
    response = await web.post(rpc("tools/call", name="echo", _meta=META), headers)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32020


async def test_an_encoded_name_is_decoded_before_it_is_compared(web: Web) -> None:
    encoded = f"=?base64?{base64.b64encode(b'echo').decode()}?="

    assert (await web.modern("tools/call", {"mcp-name": encoded}, name="echo")).status_code == 200


async def test_an_unsupported_version_is_a_bad_request(web: Web) -> None:
    message = rpc("server/discover", _meta={**META, VERSION: "1900-01-01"})
    headers = {**modern_headers("server/discover"), "mcp-protocol-version": "1900-01-01"}
    response = await web.post(message, headers)

    assert response.status_code == 400
    wire_schema.check(wire_schema.MODERN, "UnsupportedProtocolVersionError", response.json())
    assert "2026-07-28" in response.json()["error"]["data"]["supported"]


@pytest.mark.parametrize("meta", [None, {}, {VERSION: "2026-07-28"}])
async def test_incomplete_metadata_is_a_bad_request(web: Web, meta: Any) -> None:
    response = await web.post(rpc("tools/list", _meta=meta), modern_headers("tools/list"))

    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32602


@pytest.mark.parametrize("method", ["resources/list", "ping", "initialize"])
async def test_an_unknown_method_is_not_found(web: Web, method: str) -> None:
    response = await web.post(rpc(method, _meta=META), modern_headers(method))

    assert response.status_code == 404
    assert response.json()["error"]["code"] == -32601


async def test_an_unknown_tool_is_a_bad_request(web: Web) -> None:
    response = await web.modern("tools/call", name="nothing")

    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32602


async def test_a_failed_call_is_a_successful_exchange(web: Web) -> None:
    response = await web.modern("tools/call", name="conflict")

    assert response.status_code == 200
    assert response.json()["result"]["isError"] is True


async def test_a_notification_is_accepted_without_a_body_or_an_effect(web: Web) -> None:
    slow = asyncio.create_task(web.modern("tools/call", name="slow"))
    await web.host.slow_started.wait()
    message = {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": 1},
    }
    response = await web.post(message, modern_headers("notifications/cancelled"))
    web.host.release_slow.set()

    assert response.status_code == 202
    assert response.content == b""
    assert "result" in (await slow).json()


@pytest.mark.parametrize(
    "message", [[rpc("ping")], {"jsonrpc": "2.0", "id": 1, "result": {}}], ids=["batch", "response"]
)
async def test_a_body_must_be_one_request_or_notification(web: Web, message: Any) -> None:
    response = await web.post(message, modern_headers("ping"))

    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32600


async def test_equal_ids_of_different_requests_do_not_collide(web: Web) -> None:
    slow = [asyncio.create_task(web.modern("tools/call", name="slow")) for _ in range(2)]
    await web.host.slow_started.wait()
    web.host.release_slow.set()

    assert [(await response).status_code for response in slow] == [200, 200]


async def test_a_disconnect_cancels_the_call(web: Web) -> None:
    message = rpc("tools/call", name="slow", _meta=META)
    exchange = web.raw("POST", modern_headers("tools/call", "slow"), message)
    await web.host.slow_started.wait()
    exchange.disconnect()
    await exchange.task

    assert web.host.slow_cancelled.is_set()
    assert exchange._outgoing.empty()


LISTEN = rpc("subscriptions/listen", "s1", notifications={"toolsListChanged": True}, _meta=META)


async def test_a_subscription_is_an_event_stream_that_begins_with_its_acknowledgement(
    web: Web,
) -> None:
    exchange = web.raw("POST", modern_headers("subscriptions/listen"), LISTEN)

    assert await exchange.begin() == 200
    assert exchange.headers["content-type"] == "text/event-stream"
    assert exchange.headers["x-accel-buffering"] == "no"
    assert "x-request-id" in exchange.headers
    acknowledged = await exchange.event()
    wire_schema.check_notification(wire_schema.MODERN, acknowledged)
    assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}
    web.host.change()
    changed = await exchange.event()
    wire_schema.check_notification(wire_schema.MODERN, changed)
    assert changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "s1"
    await exchange.aclose()
    assert web.host.listeners == []


async def test_stopping_ends_a_subscription_gracefully_and_at_once(web: Web) -> None:
    exchange = web.raw("POST", modern_headers("subscriptions/listen"), LISTEN)
    await exchange.begin()
    await exchange.event()
    began = time.monotonic()
    await web.app.stop()

    response = await exchange.event()
    wire_schema.check_response(wire_schema.MODERN, response, "subscriptions/listen")
    assert response["id"] == "s1"
    assert await exchange.event() is None
    await exchange.task
    assert time.monotonic() - began < 1


async def test_a_quiet_stream_carries_comments() -> None:
    async with serving(keepalive_seconds=0.01) as web:
        exchange = web.raw("POST", modern_headers("subscriptions/listen"), LISTEN)
        await exchange.begin()
        blocks = [await exchange.block() for _ in range(4)]
        await exchange.aclose()

    assert blocks[0] == ": open"
    assert blocks[2:] == [": keep-alive", ": keep-alive"]


async def test_a_refused_subscription_is_json_with_a_status(web: Web) -> None:
    message = rpc("subscriptions/listen", notifications=5, _meta=META)
    response = await web.post(message, modern_headers("subscriptions/listen"))

    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32602


async def test_a_subscription_needs_a_client_that_takes_events(web: Web) -> None:
    headers = {**modern_headers("subscriptions/listen"), "accept": "application/json"}

    assert (await web.post(LISTEN, headers)).status_code == 406


async def test_the_number_of_streams_is_bounded() -> None:
    async with serving(max_streams=1) as web:
        exchange = web.raw("POST", modern_headers("subscriptions/listen"), LISTEN)
        await exchange.begin()
        refused = await web.post(LISTEN, modern_headers("subscriptions/listen"))
        await exchange.aclose()

    assert refused.status_code == 503
    assert "retry-after" in refused.headers
