from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests import wire_schema
from tests.behaviour.clients import SECONDS, Client
from tests.behaviour.conftest import MAX_BYTES, Connect, Served
from tests.sample_host import SampleHost


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    """The result of a tool."""
    return (await client.request("tools/call", {"name": tool, "arguments": arguments})).result


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(SECONDS):
        await event.wait()


async def test_both_sides_introduce_themselves(connect: Connect) -> None:
    client = await connect()

    assert client.server["instructions"] == "Echo what you hear."
    assert client.server["capabilities"]["tools"] == {"listChanged": True}
    if client.modern:
        assert wire_schema.MODERN in client.server["supportedVersions"]
    else:
        assert client.server["protocolVersion"] == wire_schema.LEGACY


async def test_tools_are_listed(connect: Connect, host: SampleHost) -> None:
    client = await connect()

    listed = (await client.request("tools/list")).result
    assert [tool["name"] for tool in listed["tools"]] == list(host.names)
    assert ("ttlMs" in listed) is client.modern


async def test_a_tool_is_called(connect: Connect) -> None:
    client = await connect()

    result = await call(client, "add", a=2, b=3)
    assert result["isError"] is False
    assert result["structuredContent"] == {"sum": 5}
    assert json.loads(result["content"][0]["text"]) == {"sum": 5}
    assert result.get("resultType") == ("complete" if client.modern else None)


async def test_a_failed_call_is_a_result_that_says_why(connect: Connect) -> None:
    client = await connect()

    result = await call(client, "conflict")
    assert result["isError"] is True
    error = result["structuredContent"]["error"]
    assert (error["code"], error["field"]) == ("conflict", "data.name")


async def test_a_defect_is_an_error_without_its_text(connect: Connect) -> None:
    client = await connect()

    for tool in ("crash", "lost"):
        error = (await client.request("tools/call", {"name": tool})).error
        assert error["code"] == -32603
        assert "secret" not in json.dumps(error)


async def test_an_unknown_tool_is_an_error(connect: Connect) -> None:
    client = await connect()

    error = (await client.request("tools/call", {"name": "subtract"})).error
    assert error["code"] == -32602
    assert error["data"]["code"] == "not_found"


async def test_an_unknown_method_is_an_error(connect: Connect) -> None:
    client = await connect()

    error = (await client.request("tools/destroy", valid=False)).error
    assert error["code"] == -32601
    assert "tools/destroy" in error["message"]


@pytest.mark.parametrize("params", [{}, {"name": 5}, {"name": "echo", "arguments": []}], ids=str)
async def test_parameters_of_a_wrong_shape_are_an_error(
    connect: Connect, params: dict[str, Any]
) -> None:
    client = await connect()

    assert (await client.request("tools/call", params, valid=False)).error["code"] == -32602


async def test_any_text_arrives_as_it_was_sent(connect: Connect) -> None:
    client = await connect()
    text = 'ä 漢 🦊 \u2028 \x00 \x7f \\n " </script> \ufeff'

    assert (await call(client, "echo", text=text))["structuredContent"] == {"text": text}


async def test_a_message_as_long_as_allowed_arrives(connect: Connect) -> None:
    client = await connect()
    text = "x" * (MAX_BYTES - 2_000)

    assert (await call(client, "echo", text=text))["structuredContent"] == {"text": text}


async def test_a_longer_message_is_refused_and_the_server_goes_on(
    connect: Connect, transport: str
) -> None:
    client = await connect()

    answer = await client.send_raw(b'"' + b"x" * MAX_BYTES + b'"')
    if transport == "stdio":
        assert answer is not None
    if answer is not None:
        assert str(MAX_BYTES) in answer["error"]["message"]
    if transport == "websocket":
        assert answer is None
        client = await connect()
    assert (await call(client, "echo", a=1))["structuredContent"] == {"a": 1}


MALFORMED = {
    "no JSON": (b"{", -32700),
    "a number": (b"5", -32600),
    "no message": (b'{"jsonrpc":"2.0"}', -32600),
    "another version": (b'{"jsonrpc":"1.0","method":"ping"}', -32600),
    "deep": (b"[" * 100 + b"]" * 100, -32600),
    "an empty batch": (b"[]", -32600),
    "an id of null": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_message_is_answered_and_the_next_one_served(
    connect: Connect, name: str
) -> None:
    text, code = MALFORMED[name]
    client = await connect()

    answer = await client.send_raw(text)
    assert answer is not None
    assert answer["error"]["code"] == code
    assert (await call(client, "echo", a=1))["structuredContent"] == {"a": 1}


async def test_requests_run_at_the_same_time_and_answers_find_their_request(
    connect: Connect, host: SampleHost
) -> None:
    client = await connect()
    slow = await client.start("tools/call", {"name": "slow"})
    await until(host.slow_started)
    calls = [
        await client.start("tools/call", {"name": "echo", "arguments": {"number": number}})
        for number in range(40)
    ]

    replies = [await each.reply() for each in calls]
    assert [each.result["structuredContent"]["number"] for each in replies] == list(range(40))
    assert not slow.answered
    host.release_slow.set()
    assert (await slow.reply()).result["structuredContent"] == {"slow": "done"}


async def test_a_cancelled_request_stops_and_is_not_answered(
    connect: Connect, host: SampleHost
) -> None:
    client = await connect()
    slow = await client.start("tools/call", {"name": "slow"})
    await until(host.slow_started)
    await client.cancel(slow)
    await until(host.slow_cancelled)

    assert (await call(client, "echo", a=1))["structuredContent"] == {"a": 1}
    assert not slow.answered


# Over stdio, the end of the input lets requests finish.
@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_a_client_that_leaves_stops_what_it_asked_for(
    connect: Connect, host: SampleHost
) -> None:
    client = await connect()
    await client.start("tools/call", {"name": "slow"})
    await until(host.slow_started)
    await client.close()

    await until(host.slow_cancelled)


async def test_changed_tools_are_told(connect: Connect, host: SampleHost) -> None:
    client = await connect()
    if client.modern:
        await client.start("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        acknowledged = await client.notification()
        assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}
    await until(host.listening)
    host.change()

    changed = await client.notification()
    assert changed["method"] == "notifications/tools/list_changed"


@pytest.mark.parametrize("era", [wire_schema.MODERN])
async def test_a_subscription_ends_when_the_client_cancels_it(
    connect: Connect, host: SampleHost
) -> None:
    client = await connect()
    wanted = {"notifications": {"toolsListChanged": True}}
    listening = await client.start("subscriptions/listen", wanted)
    await client.notification()
    assert len(host.listeners) == 1
    await client.cancel(listening)
    async with asyncio.timeout(SECONDS):
        while host.listeners:  # noqa: ASYNC110 - the host has no event for it
            await asyncio.sleep(0)


async def test_a_principal_is_who_its_credential_says(connect: Connect, host: SampleHost) -> None:
    bob, alice = await connect("bob-key"), await connect("alice-key")
    await call(bob, "echo", who="bob")
    await call(alice, "echo", who="alice")

    assert [(each[0].subject, each[2]["who"]) for each in host.calls] == [
        ("bob", "bob"),
        ("alice", "alice"),
    ]
    listed = (await bob.request("tools/list")).result
    assert [tool["name"] for tool in listed["tools"]] == ["echo"]


async def test_the_server_s_own_ids_are_new_for_each_request(
    connect: Connect, host: SampleHost
) -> None:
    client = await connect()
    for _ in range(3):
        await call(client, "echo")

    assert len({request_id for *_, request_id in host.calls}) == 3


async def test_a_client_that_comes_too_early_waits(connect: Connect, host: SampleHost) -> None:
    host.is_ready.clear()
    client = await connect()
    listing = await client.start("tools/list")
    assert not listing.answered
    host.is_ready.set()

    assert (await listing.reply()).result["tools"]


async def test_a_server_that_never_gets_ready_says_so(connect: Connect, host: SampleHost) -> None:
    host.broken = True
    client = await connect()

    error = (await client.request("tools/list")).error
    assert error["data"]["code"] == "unavailable"


async def test_stopping_waits_for_requests_and_answers_them(
    connect: Connect, host: SampleHost, served: Served
) -> None:
    client = await connect()
    slow = await client.start("tools/call", {"name": "slow"})
    await until(host.slow_started)
    stopping = asyncio.create_task(served.stop())
    await asyncio.sleep(0)
    host.release_slow.set()
    reply = await slow.reply()
    async with asyncio.timeout(2):
        await stopping

    assert reply.result["structuredContent"] == {"slow": "done"}
