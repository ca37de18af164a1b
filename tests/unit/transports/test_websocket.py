from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports.websocket import WebSocketTransport
from tests import wire_schema
from tests.sample_host import KeyRing, SampleHost
from tests.unit.transports.conftest import INITIALIZE, META, rpc
from tests.unit.transports.sockets import Site, site, until

CALL_SLOW = rpc("tools/call", 7, name="slow", _meta=META)
LISTEN = rpc("subscriptions/listen", "s", notifications={"toolsListChanged": True}, _meta=META)


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    async with site() as here:
        yield here


def error_of(response: Any) -> dict[str, Any]:
    wire_schema.check_response(wire_schema.MODERN, response)
    data: dict[str, Any] = response["error"]["data"]
    return data


async def test_both_eras_are_served_on_one_channel(here: Site) -> None:
    async with here.client() as socket:
        assert socket.connection.subprotocol == "mcp"
        await socket.ask(rpc("server/discover", _meta=META))
        await socket.ask(rpc("initialize", **INITIALIZE), wire_schema.LEGACY)
        await socket.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        legacy = await socket.ask(rpc("tools/list"), wire_schema.LEGACY)
        modern = await socket.ask(rpc("tools/list", _meta=META))

    assert "resultType" not in legacy["result"]
    assert modern["result"]["resultType"] == "complete"


async def test_nothing_is_compressed(here: Site) -> None:
    async with here.client(compression="deflate") as socket:
        assert socket.connection.response is not None
        assert "sec-websocket-extensions" not in socket.connection.response.headers


async def test_a_channel_knows_its_principal(here: Site) -> None:
    async with here.client(key="bob-key") as socket:
        listed = await socket.ask(rpc("tools/list", _meta=META))
        await socket.ask(rpc("tools/call", name="echo", _meta=META))

    assert [tool["name"] for tool in listed["result"]["tools"]] == ["echo"]
    assert here.host.calls[0][0].subject == "bob"


async def test_a_bearer_token_is_as_good_as_a_key(here: Site) -> None:
    bearer = {"Authorization": "Bearer bob-key"}
    async with here.client(additional_headers=bearer) as socket:
        await socket.ask(rpc("tools/call", name="echo", _meta=META))

    assert here.host.calls[0][0].subject == "bob"


async def test_the_address_chooses_the_surface(here: Site) -> None:
    async with here.client("/ws/small") as socket:
        listed = await socket.ask(rpc("tools/list", _meta=META))

    assert len(listed["result"]["tools"]) == 1


def body_of(refused: Any) -> dict[str, Any]:
    response = json.loads(refused.response.body)
    return {"status": refused.response.status_code, **error_of(response)}


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"path": "/mcp"}, 404, "/ws"),
        ({"path": "/ws/unheard-of"}, 404, "surface"),
        ({"subprotocols": None}, 400, "subprotocol mcp"),
        ({"subprotocols": ["graphql-ws"]}, 400, "subprotocol mcp"),
        ({"key": "wrong"}, 401, "wrong"),
        ({"origin": "http://evil.example"}, 403, "allowed_origins"),
        ({"additional_headers": [("X-API-Key", "a"), ("X-API-Key", "b")]}, 400, "repeated"),
    ],
)
async def test_an_upgrade_is_refused_with_its_reason(
    here: Site,
    options: dict[str, Any],
    status: int,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = await here.refusal(**options)
    body = body_of(refused)

    assert body["status"] == status
    assert said in body["message"]
    assert refused.response.headers["x-request-id"] == body["request_id"]
    if status == 401:
        assert refused.response.headers["www-authenticate"] == "Bearer"
    assert caplog.text == ""


async def test_only_known_hosts_are_served() -> None:
    async with site(allowed_hosts={"mcp.example.com"}) as here:
        body = body_of(await here.refusal())

    assert body["status"] == 421
    assert "allowed_hosts" in body["message"]


async def test_a_request_that_is_no_upgrade_is_not_ours() -> None:
    app = WebSocketTransport(Dispatcher(SampleHost()), KeyRing())

    async def never(*_args: Any) -> Any:
        raise AssertionError

    await app({"type": "http"}, never, never)


async def test_a_server_that_can_not_send_a_status_closes_with_the_reason() -> None:
    app = WebSocketTransport(Dispatcher(SampleHost()), KeyRing())
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [(b"host", b"localhost")]}
    await app(scope, receive, send)

    [closing] = sent
    assert (closing["type"], closing["code"]) == ("websocket.close", 1008)
    assert "subprotocol" in closing["reason"]


async def test_a_defect_of_the_upgrade_is_logged_and_answered_without_its_text(
    here: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_asked: object) -> None:
        raise RuntimeError("secret of the server")

    monkeypatch.setattr(here.host, "check_surface", broken)
    body = body_of(await here.refusal("/ws/small"))

    assert body["status"] == 500
    assert "secret" not in str(body)
    assert "secret of the server" in caplog.text


async def test_a_binary_message_ends_the_channel(here: Site) -> None:
    async with here.client() as socket:
        await socket.connection.send(b"{}")
        assert (await socket.receive())[0] == 1003


@pytest.mark.parametrize("text", ["{", "5", "[" * 100, '{"jsonrpc":"2.0"}', "", "\x00"])
async def test_a_bad_message_is_answered_and_the_next_one_served(here: Site, text: str) -> None:
    async with here.client() as socket:
        await socket.send(text)
        response = await socket.receive()
        wire_schema.check_response(wire_schema.MODERN, response)
        assert response["id"] is None
        await socket.ask(rpc("tools/list", _meta=META))


async def test_text_that_is_no_utf8_ends_the_channel(here: Site) -> None:
    async with here.client() as socket:
        await socket.send(b"\xff\xfe")
        assert (await socket.receive())[0] == 1007


async def test_a_long_message_passes_and_a_longer_one_ends_the_channel() -> None:
    async with site(max_message_bytes=1_000_000) as here:
        async with here.client() as socket:
            text = "x" * 900_000
            call = rpc("tools/call", name="echo", arguments={"t": text}, _meta=META)
            response = await socket.ask(call)
            assert response["result"]["structuredContent"] == {"t": text}
            await socket.send("x" * 1_000_001)
            assert (await socket.receive())[0] == 1009
        async with here.client() as socket:
            await socket.ask(rpc("tools/list", _meta=META))


async def test_a_server_without_a_limit_of_its_own_is_held_to_ours() -> None:
    limit = 1000
    app = WebSocketTransport(Dispatcher(SampleHost()), KeyRing(), max_message_bytes=limit)
    incoming = iter(
        [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "é" * limit}]
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost")]
    scope = {"type": "websocket", "path": "/ws", "headers": headers, "subprotocols": ["mcp"]}
    await app(scope, receive, send)

    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["code"] == 1009


async def test_messages_sent_at_once_take_effect_in_their_order(here: Site) -> None:
    async with here.client() as socket:
        await socket.send(
            rpc("initialize", 1, **INITIALIZE),
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            rpc("tools/call", 2, name="slow"),
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}},
            rpc("ping", 3),
        )
        assert [(await socket.receive())["id"] for _ in range(2)] == [1, 3]
        assert here.host.slow_cancelled.is_set()


async def test_reading_pauses_while_too_many_requests_run() -> None:
    async with site(max_in_flight=2) as here, here.client() as socket:
        calls = [rpc("tools/call", number, name="slow", _meta=META) for number in range(3)]
        await socket.send(*calls, rpc("tools/call", 3, name="echo", _meta=META))
        await here.host.slow_started.wait()
        await until(lambda: here.host.slow_running == 2)
        await socket.connection.ping()
        running = here.host.slow_running
        here.host.release_slow.set()
        answered = {(await socket.receive())["id"] for _ in range(4)}

    assert running == 2
    assert answered == {0, 1, 2, 3}


async def test_subscriptions_are_bounded_and_end_with_the_server() -> None:
    async with site(max_subscriptions=1) as here, here.client() as socket:
        await socket.send(LISTEN)
        assert (await socket.receive())["method"] == "notifications/subscriptions/acknowledged"
        await socket.send({**LISTEN, "id": "t"})
        assert error_of(await socket.receive())["code"] == "overloaded"
        here.host.change()
        changed = await socket.receive()
        wire_schema.check_notification(wire_schema.MODERN, changed)
        stopping = asyncio.create_task(here.transport.stop())
        ended = await socket.receive()
        wire_schema.check_response(wire_schema.MODERN, ended, "subscriptions/listen")
        assert (await socket.receive())["method"] == "notifications/cancelled"
        assert (await socket.receive()) == (1001, "The server is shutting down.")
        await stopping


async def test_too_many_messages_are_answered_with_an_error_then_end_the_channel() -> None:
    async with site(max_messages_per_second=20) as here, here.client() as socket:
        await socket.send(*(rpc("ping", number) for number in range(60)))
        answers = []
        while isinstance(answer := await socket.receive(), dict):
            answers.append(answer)

    refused = [each for each in answers if "error" in each]
    assert len(answers) - len(refused) >= 20
    assert 0 < len(refused) <= 20
    assert {each["error"]["data"]["code"] for each in refused} == {"rate_limited"}
    assert all(each["id"] is not None for each in refused)
    assert answer == (1008, "Too many messages.")


async def test_a_client_that_slows_down_stays_connected() -> None:
    async with site(max_messages_per_second=20) as here, here.client() as socket:
        await socket.send(*(rpc("tools/list", n, _meta=META) for n in range(25)))
        answers = [await socket.receive() for _ in range(25)]
        assert any("error" in each for each in answers)
        async with asyncio.timeout(5):
            while "error" in await _again(socket):
                pass


async def _again(socket: Any) -> Any:
    await asyncio.sleep(0.06)
    await socket.send(rpc("tools/list", 99, _meta=META))
    return await socket.receive()


async def test_channels_are_bounded() -> None:
    async with site(max_channels=1) as here:
        async with here.client() as socket:
            body = body_of(await here.refusal())
            await socket.ask(rpc("tools/list", _meta=META))
        assert (body["status"], body["code"]) == (503, "overloaded")
        await admitted_again(here)


async def admitted_again(here: Site, **options: Any) -> None:
    """A place becomes free as soon as the server has seen the closing."""
    async with asyncio.timeout(5):
        while True:
            try:
                async with here.client(**options) as socket:
                    await socket.ask(rpc("tools/list", _meta=META))
                    return
            except Exception as refused:
                if "503" not in str(refused):
                    raise


async def test_one_principal_gets_a_quarter_of_the_channels() -> None:
    async with site(max_channels=4) as here:
        async with here.client(key="alice-key"), here.client(key="bob-key"):
            body = body_of(await here.refusal(key="alice-key"))
            async with here.client(), here.client():
                pass
        await admitted_again(here, key="alice-key")

    assert (body["status"], body["code"]) == (503, "overloaded")


async def test_an_expired_credential_ends_the_channel_and_its_requests(here: Site) -> None:
    here.keys.expires_at = time.time() + 0.3
    async with here.client(key="alice-key") as socket:
        await socket.send(CALL_SLOW, LISTEN)
        await here.host.slow_started.wait()
        answers = {}
        while isinstance(last := await socket.receive(), dict):
            answers[last.get("id")] = last

    assert answers[CALL_SLOW["id"]]["error"]["data"]["details"] == {"outcome": "unknown"}
    assert "error" not in answers[LISTEN["id"]]
    assert last == (1008, "The credential has expired.")
    assert here.host.slow_cancelled.is_set()


async def test_a_channel_without_requests_ends_in_the_end() -> None:
    async with site(idle_seconds=0.1) as here, here.client() as socket:
        assert await socket.receive() == (1000, "Idle for 0.1 seconds.")


async def test_a_channel_with_a_running_request_is_not_idle() -> None:
    async with site(idle_seconds=0.1) as here, here.client() as socket:
        await socket.send(CALL_SLOW)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await socket.connection.recv()
        here.host.release_slow.set()
        assert (await socket.receive())["id"] == 7
        assert (await socket.receive())[0] == 1000


async def test_a_client_that_leaves_cancels_its_requests(here: Site) -> None:
    async with here.client() as socket:
        await socket.send(CALL_SLOW, LISTEN)
        await here.host.slow_started.wait()
        await socket.receive()
    await until(lambda: here.host.slow_cancelled.is_set() and not here.host.listeners)


async def test_a_client_that_vanishes_cancels_its_requests(here: Site) -> None:
    async with here.client() as socket:
        await socket.send(CALL_SLOW)
        await here.host.slow_started.wait()
        socket.connection.transport.abort()
        async with asyncio.timeout(5):
            await here.host.slow_cancelled.wait()


async def test_stopping_lets_requests_end_and_takes_no_new_channels(here: Site) -> None:
    async with here.client() as socket:
        await socket.send(CALL_SLOW)
        await here.host.slow_started.wait()
        stopping = asyncio.create_task(here.transport.stop())
        await asyncio.sleep(0)
        body = body_of(await here.refusal())
        here.host.release_slow.set()
        answer = await socket.receive()
        closed = await socket.receive()
        await stopping

    assert (body["status"], body["code"]) == (503, "unavailable")
    assert answer["result"]["isError"] is False
    assert closed == (1001, "The server is shutting down.")


async def test_stopping_takes_at_most_two_seconds(here: Site) -> None:
    async with here.client() as socket, here.client():
        await socket.send(CALL_SLOW)
        await here.host.slow_started.wait()
        began = time.monotonic()
        await here.transport.stop()
        took = time.monotonic() - began
        assert (await socket.receive())["error"]["data"]["details"] == {"outcome": "unknown"}
        assert (await socket.receive())[0] == 1001

    assert took < 2
    assert here.host.slow_cancelled.is_set()
