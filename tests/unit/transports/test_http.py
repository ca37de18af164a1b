"""What holds for both eras: the endpoint, its protection, bodies and limits."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports.http import HttpTransport
from tests import wire_schema
from tests.sample_host import SampleHost
from tests.unit.transports.conftest import META, RawExchange, Web, modern_headers, rpc, serving


def error_of(response: Any) -> dict[str, Any]:
    """The error body of a refusal, after checking that it is a JSON-RPC error response."""
    wire_schema.check_response(wire_schema.MODERN, response.json())
    data: dict[str, Any] = response.json()["error"]["data"]
    assert data["request_id"] == response.headers["x-request-id"]
    return data


@pytest.mark.parametrize("path", ["/", "/mcp2", "/mcp/x"])
async def test_other_paths_are_not_found(web: Web, path: str) -> None:
    response = await web.post(rpc("ping"), path=path)

    assert response.status_code == 404
    assert error_of(response)["code"] == "not_found"


async def test_a_trailing_slash_does_not_matter(web: Web) -> None:
    message = rpc("tools/list", _meta=META)

    assert (await web.post(message, modern_headers("tools/list"), "/mcp/")).status_code == 200


async def test_the_endpoint_may_be_mounted_below_another_path(web: Web) -> None:
    web.http._transport.root_path = "/api"  # type: ignore[attr-defined]
    message = rpc("tools/list", _meta=META)

    response = await web.post(message, modern_headers("tools/list"), "/api/mcp")
    assert response.status_code == 200
    assert (await web.post(message, path="/apimcp")).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD"])
async def test_other_http_methods_are_not_allowed(web: Web, method: str) -> None:
    response = await web.http.request(method, "/mcp")

    assert response.status_code == 405
    assert response.headers["allow"] == "POST, GET, DELETE"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_modern_client_has_only_post(web: Web, method: str) -> None:
    response = await web.http.request(
        method, "/mcp", headers={"mcp-protocol-version": "2026-07-28"}
    )

    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


async def test_a_foreign_host_is_refused_with_the_name_of_the_setting(web: Web) -> None:
    response = await web.post(rpc("ping"), {"host": "evil.example"})

    assert response.status_code == 421
    assert "allowed_hosts" in error_of(response)["message"]
    assert "evil.example" in error_of(response)["message"]


async def test_a_foreign_origin_is_refused_with_the_name_of_the_setting(web: Web) -> None:
    response = await web.post(rpc("ping"), {"origin": "http://evil.example"})

    assert response.status_code == 403
    assert "allowed_origins" in error_of(response)["message"]
    assert web.keys.seen == []


async def test_an_allowed_host_and_origin_may_call() -> None:
    async with serving(
        allowed_hosts={"mcp.example"}, allowed_origins={"https://app.example"}
    ) as web:
        headers = {"host": "mcp.example", "origin": "https://app.example"}

        assert (await web.modern("tools/list", headers)).status_code == 200
        assert (await web.modern("tools/list")).status_code == 421


@pytest.mark.parametrize("name", ["host", "origin", "authorization", "x-api-key", "mcp-session-id"])
async def test_a_header_with_two_meanings_is_refused(web: Web, name: str) -> None:
    value = {"host": "localhost", "origin": "http://localhost"}.get(name, "x")
    headers = [
        ("host", "localhost"), ("content-type", "application/json"), (name, value), (name, value)
    ]  # fmt: skip
    response = await web.http.post("/mcp", content=b"{}", headers=headers)

    assert response.status_code == 400
    assert name in error_of(response)["message"]


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer alice-key"}, {"x-api-key": "alice-key"}]
)
async def test_the_credential_comes_from_either_header(web: Web, headers: dict[str, str]) -> None:
    await web.modern("tools/call", headers, name="echo")

    assert web.host.calls[0][0].subject == "alice"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}, {"x-api-key": ""}])
async def test_a_wrong_credential_is_refused_before_the_body_is_read(
    web: Web, headers: dict[str, str]
) -> None:
    web.keys.anonymous = False
    response = await web.post(b"{", headers)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert error_of(response)["code"] == "unauthenticated"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_must_be_json(web: Web, content_type: str) -> None:
    response = await web.post(rpc("ping"), {"content-type": content_type})

    assert response.status_code == 415
    assert "application/json" in error_of(response)["message"]


async def test_a_client_that_takes_neither_form_is_refused(web: Web) -> None:
    response = await web.post(rpc("ping"), {"accept": "text/html"})

    assert response.status_code == 406


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/*;q=0.1", ""])
async def test_a_client_that_takes_json_gets_json(web: Web, accept: str) -> None:
    response = await web.modern("tools/list", {"accept": accept})

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"


async def test_a_client_that_takes_only_events_gets_the_response_as_one(web: Web) -> None:
    headers = {**modern_headers("tools/list"), "accept": "text/event-stream"}
    exchange = web.raw("POST", headers, rpc("tools/list", _meta=META))

    assert await exchange.begin() == 200
    assert exchange.headers["content-type"] == "text/event-stream"
    wire_schema.check_response(wire_schema.MODERN, await exchange.event(), "tools/list")
    assert await exchange.event() is None
    await exchange.aclose()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 5000])
async def test_a_body_that_is_no_message_is_a_bad_request(web: Web, body: bytes) -> None:
    response = await web.post(body)

    assert response.status_code == 400
    wire_schema.check_response(wire_schema.MODERN, response.json())


async def test_a_body_beyond_the_limit_is_refused_by_its_length_or_while_it_comes() -> None:
    async with serving(max_body_bytes=100) as web:
        declared = await web.post(rpc("ping", x="y" * 200))

        async def chunks() -> Any:
            for _ in range(10):
                yield b" " * 50

        streamed = await web.http.post(
            "/mcp", content=chunks(), headers={"content-type": "application/json"}
        )
    for response in (declared, streamed):
        assert response.status_code == 413
        assert "100 bytes" in error_of(response)["message"]


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    body = json.dumps(rpc("tools/list", _meta=META)).encode()
    async with serving(max_body_bytes=len(body)) as web:
        response = await web.post(body, modern_headers("tools/list"))

    assert response.status_code == 200


async def test_a_client_that_leaves_before_its_body_came_is_not_answered(web: Web) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers}
    await web.app(scope, receive, send)

    assert sent == []


async def test_every_response_names_its_request(web: Web) -> None:
    first = await web.modern("tools/call", name="conflict")
    second = await web.post(b"{")

    body_id = first.json()["result"]["structuredContent"]["error"]["request_id"]
    assert first.headers["x-request-id"] == body_id == web.host.calls[0][3]
    assert second.headers["x-request-id"] not in {"", body_id}


async def test_too_many_requests_at_once_are_told_to_come_back() -> None:
    async with serving(max_in_flight=1) as web:
        slow = asyncio.create_task(web.modern("tools/call", name="slow"))
        await web.host.slow_started.wait()
        response = await web.modern("tools/call", name="echo")
        web.host.release_slow.set()
        await slow

        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert error_of(response)["code"] == "overloaded"
        assert response.json()["id"] == 1
        assert (await web.modern("tools/call", name="echo")).status_code == 200


class BrokenKeys:
    async def authenticate(self, credentials: Credentials) -> Principal:
        assert credentials == Credentials()
        raise RuntimeError("secret of the key store")


async def test_a_defect_of_the_server_is_answered_without_detail_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = HttpTransport(Dispatcher(SampleHost()), BrokenKeys())
    exchange = RawExchange(app, "POST", {}, rpc("ping"), "/mcp")
    with caplog.at_level(logging.ERROR):
        status = await exchange.begin()
        await exchange.task

    assert status == 500
    assert exchange.headers["x-request-id"] in caplog.text
    assert "secret of the key store" in caplog.text


async def test_a_stopped_transport_takes_no_requests(web: Web) -> None:
    await web.app.stop()
    response = await web.modern("tools/list")

    assert response.status_code == 503
    assert "retry-after" in response.headers


async def test_stopping_lets_a_request_finish(web: Web) -> None:
    slow = asyncio.create_task(web.modern("tools/call", name="slow"))
    await web.host.slow_started.wait()
    stopping = asyncio.create_task(web.app.stop())
    await asyncio.sleep(0)
    web.host.release_slow.set()
    await stopping

    assert (await slow).json()["result"]["isError"] is False


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_stopping_cancels_a_request_that_does_not_finish(era: str) -> None:
    async with serving(stop_seconds=0.05) as web:
        if era == "modern":
            slow = asyncio.create_task(web.modern("tools/call", name="slow"))
        else:
            session = await web.open_session()
            slow = asyncio.create_task(web.legacy(session, "tools/call", name="slow"))
        await web.host.slow_started.wait()
        await web.app.stop()
        response = await slow

    assert response.status_code == 503
    assert error_of(response)["code"] == "unavailable"
    assert error_of(response)["details"] == {"outcome": "unknown"}
    assert response.json()["id"] == 1
    assert web.host.slow_cancelled.is_set()


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("streaming", [False, True])
async def test_stopping_answers_for_a_call_that_does_not_let_go(era: str, streaming: bool) -> None:
    async with serving(stop_seconds=0.05, keepalive_seconds=0.02 if streaming else 15) as web:
        params: dict[str, Any] = {"name": "stubborn", "arguments": {}}
        headers = modern_headers("tools/call", "stubborn")
        if era == "modern":
            params["_meta"] = META
        else:
            headers = await web.open_session()
        exchange = web.raw("POST", headers, rpc("tools/call", **params))
        await web.host.slow_started.wait()
        if streaming:
            assert await exchange.begin() == 200
        await web.app.stop()

        if streaming:
            answer = await exchange.event()
            assert await exchange.event() is None
        else:
            assert await exchange.begin() == 503
            answer = json.loads(str(await exchange.block()))
        assert not exchange.task.done()
        web.host.stubborn.set()
        await exchange.task

    assert answer["id"] == 1
    assert answer["error"]["data"]["details"] == {"outcome": "unknown"}
    assert await exchange.block() is None


async def test_a_stream_that_the_stop_cuts_short_ends_with_an_answer() -> None:
    async with serving(stop_seconds=0.05, keepalive_seconds=0.02) as web:
        headers = modern_headers("tools/call", "slow")
        message = rpc("tools/call", name="slow", arguments={}, _meta=META)
        streams = [
            web.raw("POST", headers, message),
            web.raw("POST", await web.open_session(), rpc("tools/call", name="slow", arguments={})),
        ]
        for stream in streams:
            assert await stream.begin() == 200
        await web.app.stop()

        for stream in streams:
            answer = await stream.event()
            assert answer["error"]["data"]["details"] == {"outcome": "unknown"}
            assert await stream.event() is None


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"jsonrpc":"1.0"}', b"[" * 100])
async def test_what_is_no_message_is_counted_as_a_call(web: Web, body: bytes) -> None:
    web.host.may_charge = 1
    headers = {"x-api-key": "alice-key"}
    first, second = [await web.post(body, headers) for _ in range(2)]

    assert first.status_code == 400
    assert second.status_code == 429
    assert second.headers["retry-after"] == "7"
    assert error_of(second)["code"] == "rate_limited"
    assert [each.subject for each in web.host.charged] == ["alice"] * 2


async def test_other_asgi_connections_are_turned_away(web: Web) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    await web.app({"type": "lifespan"}, receive, send)
    assert sent == []
    await web.app({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_too_many_unfinished_bodies_are_told_to_come_back() -> None:
    async with serving(max_body_bytes=1000) as web:
        release = asyncio.Event()

        async def unfinished() -> AsyncIterator[bytes]:
            yield b"x" * 1000
            await release.wait()

        def upload() -> asyncio.Task[httpx.Response]:
            headers = {"content-type": "application/json", "accept": "application/json"}
            return asyncio.create_task(web.http.post("/mcp", content=unfinished(), headers=headers))

        uploads = [upload() for _ in range(4)]
        refused = await upload()
        release.set()

        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert error_of(refused)["code"] == "overloaded"
        assert {(await each).status_code for each in uploads} == {400}


@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br", "*"])
async def test_a_list_of_tools_goes_out_compressed_where_that_is_taken(
    web: Web, accepted: str
) -> None:
    answer = await web.modern("tools/list", {"accept-encoding": accepted})
    plain = await web.modern("tools/list", {"accept-encoding": "identity"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert answer.json() == plain.json()
    assert answer.json()["result"]["_meta"]["kailash-mcp-prod/fingerprint"]


async def test_other_answers_go_out_as_they_are(web: Web) -> None:
    answer = await web.modern(
        "tools/call", {"accept-encoding": "gzip"}, name="echo", arguments={"text": "a" * 5000}
    )
    assert "content-encoding" not in answer.headers
