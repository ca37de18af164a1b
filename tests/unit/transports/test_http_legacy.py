from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests import wire_schema
from tests.unit.transports.conftest import INITIALIZE, RawExchange, Web, rpc, serving

ALICE = {"x-api-key": "alice-key"}
BOB = {"x-api-key": "bob-key"}


async def open_stream(web: Web, session: dict[str, str]) -> RawExchange:
    exchange = web.raw("GET", session)
    assert await exchange.begin() == 200
    assert await exchange.block() == ": open"
    return exchange


async def test_initialize_opens_a_session(web: Web) -> None:
    session = await web.open_session()

    assert len(session["mcp-session-id"]) >= 32
    assert session["mcp-session-id"].isprintable()
    response = await web.legacy(session, "tools/call", name="add", arguments={"a": 1, "b": 2})
    assert response.json()["result"]["structuredContent"] == {"sum": 3}


async def test_session_ids_differ(web: Web) -> None:
    ids = {(await web.open_session())["mcp-session-id"] for _ in range(5)}

    assert len(ids) == 5


async def test_a_refused_initialize_opens_no_session() -> None:
    async with serving(max_sessions=1) as web:
        response = await web.post(rpc("initialize", protocolVersion=5))

        assert response.json()["error"]["code"] == -32602
        assert "mcp-session-id" not in response.headers
        await web.open_session()


@pytest.mark.parametrize("method", ["tools/list", "ping", "notifications/initialized"])
async def test_without_a_session_id_a_request_is_bad(web: Web, method: str) -> None:
    response = await web.post(rpc(method))

    assert response.status_code == 400
    assert "Mcp-Session-Id" in response.json()["error"]["message"]


@pytest.mark.parametrize("http_method", ["POST", "GET", "DELETE"])
async def test_an_unknown_session_is_not_found(web: Web, http_method: str) -> None:
    response = await web.http.request(
        http_method,
        "/mcp",
        json=rpc("ping"),
        headers={"mcp-session-id": "nobody", "accept": "*/*"},
    )

    assert response.status_code == 404
    wire_schema.check_response(wire_schema.LEGACY, response.json())


async def test_the_session_of_somebody_else_looks_unknown(web: Web) -> None:
    session = await web.open_session(headers=ALICE)
    stolen = {**session, **BOB}

    foreign = await web.post(rpc("tools/list"), stolen)
    unknown = await web.post(rpc("tools/list"), {**stolen, "mcp-session-id": "nobody"})
    ended = await web.http.delete("/mcp", headers=stolen)

    assert [foreign.status_code, unknown.status_code, ended.status_code] == [404, 404, 404]
    assert foreign.json()["error"]["message"] == unknown.json()["error"]["message"]
    assert (await web.legacy(session, "tools/list")).status_code == 200


async def test_deleting_a_session_ends_it(web: Web) -> None:
    session = await web.open_session()
    response = await web.http.delete("/mcp", headers=session)

    assert response.status_code == 204
    assert (await web.legacy(session, "ping")).status_code == 404
    assert (await web.http.delete("/mcp", headers=session)).status_code == 404
    assert web.host.listeners == []


async def test_deleting_without_a_session_id_is_bad(web: Web) -> None:
    assert (await web.http.delete("/mcp")).status_code == 400


async def test_an_idle_session_ends_and_a_used_one_lives_on() -> None:
    now = 0.0
    async with serving(session_idle_seconds=10, clock=lambda: now) as web:
        used, idle = await web.open_session(), await web.open_session()
        now = 9.0
        assert (await web.legacy(used, "ping")).status_code == 200
        now = 18.0

        assert (await web.legacy(used, "ping")).status_code == 200
        assert (await web.legacy(idle, "ping")).status_code == 404


async def test_a_session_with_an_open_stream_is_not_idle() -> None:
    now = 0.0
    async with serving(session_idle_seconds=10, clock=lambda: now) as web:
        session = await web.open_session()
        stream = await open_stream(web, session)
        now = 1000.0
        assert (await web.legacy(session, "ping")).status_code == 200
        await stream.aclose()


async def test_a_full_server_refuses_new_sessions_until_one_goes_idle() -> None:
    now = 0.0
    async with serving(max_sessions=1, session_idle_seconds=10, clock=lambda: now) as web:
        first = await web.open_session()
        refused = await web.post(rpc("initialize", **INITIALIZE))
        now = 11.0
        second = await web.open_session()

        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        wire_schema.check_response(wire_schema.LEGACY, refused.json())
        assert (await web.legacy(second, "ping")).status_code == 200
        assert (await web.legacy(first, "ping")).status_code == 404


@pytest.mark.parametrize("version", ["2024-11-05", "1.0", "x"])
async def test_an_unsupported_version_header_is_bad(web: Web, version: str) -> None:
    session = {**await web.open_session(), "mcp-protocol-version": version}

    posted = await web.post(rpc("tools/list"), session)
    got = await web.http.get("/mcp", headers={**session, "accept": "text/event-stream"})
    deleted = await web.http.delete("/mcp", headers=session)

    assert [posted.status_code, got.status_code, deleted.status_code] == [400, 400, 400]
    assert version in posted.json()["error"]["message"]


async def test_without_a_version_header_the_sessions_version_counts(web: Web) -> None:
    session = await web.open_session("2025-06-18")
    del session["mcp-protocol-version"]

    assert (await web.legacy(session, "tools/list")).status_code == 200
    assert (await web.post([rpc("ping")], session)).status_code == 400


@pytest.mark.parametrize("method", ["resources/list", "server/discover", "no/such"])
async def test_a_method_the_era_lacks_is_an_error_in_a_good_response(web: Web, method: str) -> None:
    response = await web.post(rpc(method), await web.open_session())

    assert response.status_code == 200
    assert response.json()["error"]["code"] == -32601


async def test_notifications_and_responses_are_accepted_without_a_body(web: Web) -> None:
    session = await web.open_session()
    for message in (
        {"jsonrpc": "2.0", "method": "notifications/whatever"},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ):
        response = await web.post(message, session)
        assert response.status_code == 202
        assert response.content == b""


async def test_a_batch_is_served_in_the_one_version_that_has_it(web: Web) -> None:
    session = await web.open_session("2025-03-26")
    answered = await web.post([rpc("ping", 1), rpc("ping", 2)], session)
    silent = await web.post([{"jsonrpc": "2.0", "method": "notifications/whatever"}], session)

    assert {response["id"] for response in answered.json()} == {1, 2}
    assert silent.status_code == 202
    assert silent.content == b""


async def test_a_batch_is_bad_in_every_other_version(web: Web) -> None:
    session = await web.open_session("2025-06-18")
    for message in ([rpc("ping")], [{"jsonrpc": "2.0", "method": "notifications/x"}]):
        response = await web.post(message, session)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == -32600


async def test_a_cancelled_call_ends_its_stream_without_a_response(web: Web) -> None:
    session = await web.open_session()
    exchange = web.raw("POST", session, rpc("tools/call", 7, name="slow"))
    await web.host.slow_started.wait()
    cancelled = {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": 7},
    }
    assert (await web.post(cancelled, session)).status_code == 202

    assert await exchange.begin() == 200
    assert exchange.headers["content-type"] == "text/event-stream"
    assert await exchange.event() is None
    assert web.host.slow_cancelled.is_set()
    await exchange.task


async def test_a_cancelled_call_of_a_client_without_events_has_no_content(web: Web) -> None:
    session = await web.open_session()
    slow = asyncio.create_task(
        web.post(rpc("tools/call", 7, name="slow"), {**session, "accept": "application/json"})
    )
    await web.host.slow_started.wait()
    params = {"requestId": 7}
    await web.post(
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}, session
    )

    assert (await slow).status_code == 204


async def test_a_session_cannot_cancel_the_call_of_another(web: Web) -> None:
    mine, other = await web.open_session(), await web.open_session()
    slow = asyncio.create_task(web.legacy(mine, "tools/call", 7, name="slow"))
    await web.host.slow_started.wait()
    params = {"requestId": 7}
    await web.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}, other)
    web.host.release_slow.set()

    assert "result" in (await slow).json()


async def test_a_disconnect_does_not_cancel_the_call(web: Web) -> None:
    session = await web.open_session()
    exchange = web.raw("POST", session, rpc("tools/call", 7, name="slow"))
    await web.host.slow_started.wait()
    exchange.disconnect()
    assert (await web.legacy(session, "ping", 8)).status_code == 200
    web.host.release_slow.set()
    await exchange.task

    assert not web.host.slow_cancelled.is_set()
    assert await exchange.begin() == 200


async def test_an_id_in_use_is_bad(web: Web) -> None:
    session = await web.open_session()
    slow = asyncio.create_task(web.legacy(session, "tools/call", 7, name="slow"))
    await web.host.slow_started.wait()
    response = await web.post(rpc("ping", 7), session)
    web.host.release_slow.set()
    await slow

    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32600


async def test_ending_a_session_ends_its_calls_and_streams(web: Web) -> None:
    session = await web.open_session()
    stream = await open_stream(web, session)
    call = web.raw("POST", session, rpc("tools/call", 7, name="slow"))
    await web.host.slow_started.wait()
    await web.http.delete("/mcp", headers=session)

    assert await stream.event() is None
    assert await call.begin() == 200
    assert await call.event() is None
    await asyncio.gather(stream.task, call.task)


async def test_the_stream_tells_that_the_tools_changed(web: Web) -> None:
    session = await web.open_session()
    stream = await open_stream(web, session)
    assert stream.headers["content-type"] == "text/event-stream"
    for _ in range(2):
        web.host.change()
        message = await stream.event()
        wire_schema.check_notification(wire_schema.LEGACY, message)
        assert message["method"] == "notifications/tools/list_changed"
    await stream.aclose()


async def test_a_change_before_the_stream_opens_is_not_lost(web: Web) -> None:
    session = await web.open_session()
    web.host.change()
    web.host.change()
    await asyncio.sleep(0)
    stream = await open_stream(web, session)

    assert (await stream.event())["method"] == "notifications/tools/list_changed"
    assert session
    await web.http.delete("/mcp", headers=session)
    assert await stream.event() is None
    await stream.task


async def test_each_message_goes_to_one_of_several_streams(web: Web) -> None:
    session = await web.open_session()
    streams = [await open_stream(web, session) for _ in range(2)]
    web.host.change()
    await asyncio.sleep(0)
    await web.http.delete("/mcp", headers=session)

    events: list[Any] = [await stream.event() for stream in streams]
    assert sorted(event is None for event in events) == [False, True]
    await asyncio.gather(*(stream.task for stream in streams))


async def test_the_streams_of_a_session_and_of_the_server_are_bounded() -> None:
    async with serving(max_session_streams=1, max_streams=2) as web:
        sessions = [await web.open_session() for _ in range(3)]
        streams = [await open_stream(web, session) for session in sessions[:2]]
        accept = {"accept": "text/event-stream"}
        second = await web.http.get("/mcp", headers={**sessions[0], **accept})
        third = await web.http.get("/mcp", headers={**sessions[2], **accept})
        for stream in streams:
            await stream.aclose()
        again = await open_stream(web, sessions[0])
        await again.aclose()

    assert second.status_code == 409
    assert third.status_code == 503


async def test_a_stream_needs_a_client_that_takes_events(web: Web) -> None:
    session = await web.open_session()
    response = await web.http.get("/mcp", headers={**session, "accept": "application/json"})

    assert response.status_code == 406


async def test_a_quiet_stream_carries_comments() -> None:
    async with serving(keepalive_seconds=0.01) as web:
        stream = await open_stream(web, await web.open_session())
        assert await stream.block() == ": keep-alive"
        await stream.aclose()


async def test_a_stream_ends_with_its_credential(web: Web) -> None:
    web.keys.expires_at = time.time() + 0.1
    session = await web.open_session(headers=ALICE)
    stream = await open_stream(web, session)

    assert await stream.event() is None
    await stream.task


async def test_stopping_ends_the_streams_at_once(web: Web) -> None:
    stream = await open_stream(web, await web.open_session())
    began = time.monotonic()
    await web.app.stop()

    assert await stream.event() is None
    await stream.task
    assert time.monotonic() - began < 1


async def test_a_session_is_not_there_for_another_token_of_the_same_subject(web: Web) -> None:
    session = await web.open_session(headers={"x-api-key": "alice-key"})
    web.keys.permissions = frozenset({"Account:read"})

    response = await web.legacy(session, "ping")

    assert response.status_code == 404
