from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.protocol import Call, Connection, Dispatcher, Method
from tests import wire_schema
from tests.sample_host import ALICE, SampleHost
from tests.unit.protocol.conftest import META, Client
from tests.unit.protocol.test_codec import BODIES


async def test_a_tool_result_is_structured_content_and_the_same_json_as_text(
    client: Client,
) -> None:
    await client.initialize()

    response = await client.legacy("tools/call", {"name": "echo", "arguments": {"a": [1, "é"]}})

    result = response["result"]
    assert result["structuredContent"] == {"a": [1, "é"]}
    assert json.loads(result["content"][0]["text"]) == {"a": [1, "é"]}
    assert result["isError"] is False


async def test_a_failed_call_is_a_result_that_says_so(client: Client, host: SampleHost) -> None:
    response = await client.modern("tools/call", {"name": "conflict"})

    result = response["result"]
    error = result["structuredContent"]["error"]
    assert result["isError"] is True
    assert error["code"] == "conflict"
    assert error["field"] == "data.name"
    assert error["request_id"] == host.calls[0][3]
    assert json.loads(result["content"][0]["text"]) == {"error": error}


async def test_an_unknown_tool_is_a_protocol_error_with_the_error_body(client: Client) -> None:
    response = await client.modern("tools/call", {"name": "nothing"})

    assert response["error"]["code"] == -32602
    assert response["error"]["data"]["code"] == "not_found"
    assert len(response["error"]["data"]["request_id"]) == 32


async def test_missing_arguments_are_an_empty_object(client: Client, host: SampleHost) -> None:
    await client.modern("tools/call", {"name": "echo"})

    assert host.calls[0][2] == {}


async def test_the_tool_never_sees_the_metadata(client: Client, host: SampleHost) -> None:
    await client.modern("tools/call", {"name": "echo", "arguments": {"_x": 1}})

    assert host.calls[0][2] == {"_x": 1}


@pytest.mark.parametrize(
    "params", [{}, {"name": 5}, {"name": "echo", "arguments": None}, {"name": "e", "arguments": []}]
)
async def test_malformed_call_parameters_are_invalid_parameters(
    client: Client, host: SampleHost, params: dict[str, Any]
) -> None:
    await client.initialize()

    response = await client.send(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    )

    assert response["error"]["code"] == -32602
    assert host.calls == []


async def test_the_host_gets_the_principal_of_the_message(client: Client, host: SampleHost) -> None:
    client.principal = ALICE
    await client.modern("tools/call", {"name": "echo"})

    assert host.calls[0][0] == ALICE


@pytest.mark.parametrize("tool", ["crash", "lost"])
async def test_a_defect_is_an_internal_error_without_detail_and_logged_under_its_request_id(
    client: Client, host: SampleHost, caplog: pytest.LogCaptureFixture, tool: str
) -> None:
    with caplog.at_level(logging.ERROR):
        response = await client.modern("tools/call", {"name": tool})

    request_id = host.calls[0][3]
    assert response["error"]["code"] == -32603
    assert response["error"]["data"]["request_id"] == request_id
    assert "secret" not in json.dumps(response)
    assert request_id in caplog.text
    assert "Traceback" in caplog.text


async def test_the_next_call_works_after_a_defect(client: Client) -> None:
    await client.modern("tools/call", {"name": "crash"})

    assert "result" in await client.modern("tools/call", {"name": "echo"})


async def test_the_tool_list_goes_out_as_the_bytes_of_the_host(
    client: Client, host: SampleHost
) -> None:
    await client.initialize()
    reply = await client.dispatcher.receive(
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', client.context()
    )

    assert reply is not None
    assert host.encoded_list(ANONYMOUS).body in reply.body
    wire_schema.check_response(wire_schema.LEGACY, json.loads(reply.body), "tools/list")


async def test_a_cursor_is_refused_because_none_was_issued(client: Client) -> None:
    response = await client.modern("tools/list", {"cursor": "x"})

    assert response["error"]["code"] == -32602


async def test_calls_and_lists_wait_until_the_host_is_ready(
    client: Client, host: SampleHost
) -> None:
    host.is_ready.clear()
    await client.initialize()
    listing = asyncio.create_task(client.legacy("tools/list"))
    await asyncio.sleep(0)
    assert not listing.done()
    host.is_ready.set()

    assert "result" in await listing


async def test_a_host_that_never_gets_ready_says_so(client: Client, host: SampleHost) -> None:
    host.broken = True

    listed = await client.modern("tools/list")
    called = await client.modern("tools/call", {"name": "echo"})

    assert listed["error"]["data"]["code"] == "unavailable"
    assert called["result"]["structuredContent"]["error"]["code"] == "unavailable"


async def test_requests_of_one_channel_run_at_the_same_time(
    client: Client, host: SampleHost
) -> None:
    slow = asyncio.create_task(client.modern("tools/call", {"name": "slow"}))
    await host.slow_started.wait()
    message = {"jsonrpc": "2.0", "id": "2", "method": "tools/list", "params": {"_meta": META}}
    assert "result" in await client.send(message)
    client.next_id = 2
    host.release_slow.set()

    assert (await slow)["result"]["structuredContent"] == {"slow": "done"}


async def test_an_id_in_use_is_refused_and_free_again_afterwards(
    client: Client, host: SampleHost
) -> None:
    call = {"name": "slow", "_meta": META}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    slow = asyncio.create_task(client.send(message))
    await host.slow_started.wait()

    duplicate = await client.send(message)
    other_type = asyncio.create_task(client.send({**message, "id": "1"}))
    host.release_slow.set()

    assert duplicate["error"]["code"] == -32600
    assert "result" in await slow
    assert "result" in await other_type
    assert "result" in await client.send(message)


async def test_a_cancelled_request_stops_and_is_never_answered(
    client: Client, host: SampleHost
) -> None:
    await client.initialize()
    message = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "slow"}}
    slow = asyncio.create_task(client.send(message))
    await host.slow_started.wait()
    await client.notify("notifications/cancelled", {"requestId": 9, "reason": "enough"})

    assert await slow is None
    assert host.slow_cancelled.is_set()


@pytest.mark.parametrize("other_id", [8, "9", True, None, 9.0, [9], {}])
async def test_a_cancellation_of_another_id_is_ignored(
    client: Client, host: SampleHost, other_id: Any
) -> None:
    await client.initialize()
    message = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "slow"}}
    slow = asyncio.create_task(client.send(message))
    await host.slow_started.wait()
    await client.notify("notifications/cancelled", {"requestId": other_id})
    host.release_slow.set()

    assert "result" in await slow


async def test_a_cancellation_reaches_only_its_own_channel(
    client: Client, host: SampleHost
) -> None:
    message = {
        "jsonrpc": "2.0",
        "id": 9,
        "method": "tools/call",
        "params": {"name": "slow", "_meta": META},
    }
    slow = asyncio.create_task(client.send(message))
    await host.slow_started.wait()
    other = Client(host)
    other.dispatcher = client.dispatcher
    await other.notify("notifications/cancelled", {"requestId": 9})
    host.release_slow.set()

    assert "result" in await slow


async def test_cancelling_the_serving_task_is_no_answer_either(
    client: Client, host: SampleHost
) -> None:
    slow = asyncio.create_task(client.modern("tools/call", {"name": "slow"}))
    await host.slow_started.wait()
    slow.cancel()

    with pytest.raises(asyncio.CancelledError):
        await slow
    assert client.connection is not None
    assert len(client.connection.in_flight) == 0


async def test_unknown_notifications_and_responses_are_ignored(client: Client) -> None:
    await client.notify("notifications/whatever", {"x": 1})

    assert await client.send({"jsonrpc": "2.0", "id": 1, "result": {}}) is None


async def test_further_methods_join_the_table(host: SampleHost) -> None:
    async def greet(call: Call) -> dict[str, Any]:
        return {"greeting": f"Hello {call.context.principal.subject}"}

    client = Client(host, ALICE)
    client.dispatcher = Dispatcher(host, extra_methods=[Method("demo/greet", greet)])
    message = {"jsonrpc": "2.0", "id": 1, "method": "demo/greet", "params": {"_meta": META}}

    assert (await client.send(message))["result"]["greeting"] == "Hello alice"


def test_a_method_registered_twice_is_a_mistake(host: SampleHost) -> None:
    async def ping(_call: Call) -> dict[str, Any]:
        return {}

    with pytest.raises(ValueError, match="ping"):
        Dispatcher(host, extra_methods=[Method("ping", ping)])


@settings(deadline=None)
@given(BODIES)
def test_any_bytes_get_a_well_formed_answer_or_none(body: bytes) -> None:
    async def receive() -> list[Any]:
        client = Client(SampleHost())
        client.connection = Connection()
        reply = await client.dispatcher.receive(body, client.context())
        if reply is None:
            return []
        decoded = json.loads(reply.body)
        return decoded if isinstance(decoded, list) else [decoded]

    for response in asyncio.run(receive()):
        wire_schema.check_response(wire_schema.MODERN, response)
