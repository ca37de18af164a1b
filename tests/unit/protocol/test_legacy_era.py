from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from tests.sample_host import SampleHost
from tests.unit.protocol.conftest import CAPABILITIES, Client

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26"])
async def test_initialize_agrees_to_a_spoken_version(client: Client, version: str) -> None:
    assert (await client.initialize(version))["protocolVersion"] == version


@pytest.mark.parametrize("version", ["2024-11-05", "2026-07-28", "1.0"])
async def test_initialize_offers_the_latest_legacy_version_otherwise(
    client: Client, version: str
) -> None:
    assert (await client.initialize(version))["protocolVersion"] == "2025-11-25"


async def test_initialize_introduces_the_server(client: Client) -> None:
    result = await client.initialize()

    assert result["serverInfo"]["name"] == "kailash-mcp-prod"
    assert set(result["serverInfo"]) == {"name", "title", "version"}
    assert result["capabilities"] == CAPABILITIES
    assert result["instructions"] == "Echo what you hear."


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"protocolVersion": 1, "capabilities": {}, "clientInfo": {"name": "n", "version": "1"}},
        {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "n"}},
        {"protocolVersion": "2025-11-25", "clientInfo": {"name": "n", "version": "1"}},
    ],
)
async def test_malformed_initialize_parameters_leave_the_channel_closed(
    client: Client, params: dict[str, Any]
) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    response = await client.send(message)

    assert response["error"]["code"] == -32602
    assert (await client.legacy("tools/list"))["error"]["code"] == -32600


async def test_a_second_initialize_is_refused(client: Client) -> None:
    await client.initialize()
    params = {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "n", "version": "1"},
    }

    assert (await client.legacy("initialize", params))["error"]["code"] == -32600
    assert "result" in await client.legacy("tools/list")


@pytest.mark.parametrize("method", ["tools/list", "tools/call", "resources/list"])
async def test_requests_before_initialize_are_refused(client: Client, method: str) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "echo"}}

    assert (await client.send(message))["error"]["code"] == -32600


async def test_a_ping_is_answered_at_any_time(client: Client) -> None:
    assert (await client.legacy("ping"))["result"] == {}
    await client.initialize()
    assert (await client.legacy("ping"))["result"] == {}


@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen", "no/such"])
async def test_a_method_the_era_lacks_is_not_found(client: Client, method: str) -> None:
    await client.initialize()
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}

    assert (await client.send(message))["error"]["code"] == -32601


async def test_results_carry_no_members_of_the_modern_era(client: Client) -> None:
    await client.initialize()

    result = (await client.legacy("tools/list"))["result"]

    assert set(result) == {"tools", "_meta"}


async def test_an_initialized_client_hears_that_the_tools_changed(
    client: Client, host: SampleHost
) -> None:
    await client.initialize()
    host.change()
    assert client.connection is not None

    message = await client.connection.outbox.get()

    assert message is not None
    assert json.loads(message) == {
        "jsonrpc": "2.0",
        "method": "notifications/tools/list_changed",
    }


async def test_the_host_may_report_a_change_from_a_thread(client: Client, host: SampleHost) -> None:
    await client.initialize()
    thread = threading.Thread(target=host.change)
    thread.start()
    thread.join()
    assert client.connection is not None

    assert await client.connection.outbox.get() is not None


async def test_only_initialized_clients_listen_and_closed_ones_no_more(
    client: Client, host: SampleHost
) -> None:
    await client.notify("notifications/initialized")
    assert host.listeners == []
    await client.initialize()
    await client.notify("notifications/initialized")
    assert len(host.listeners) == 1
    assert client.connection is not None
    client.connection.close()

    assert host.listeners == []


async def test_closing_the_channel_cancels_its_requests(client: Client, host: SampleHost) -> None:
    await client.initialize()
    message = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "slow"}}
    slow = asyncio.create_task(client.send(message))
    await host.slow_started.wait()
    assert client.connection is not None
    client.connection.close()

    assert await slow is None
    assert host.slow_cancelled.is_set()


async def test_a_batch_is_answered_with_one_array(client: Client) -> None:
    await client.initialize("2025-03-26")
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "echo"}}
    unknown = {"jsonrpc": "2.0", "id": 3, "method": "no/such"}
    notification = {"jsonrpc": "2.0", "method": "notifications/whatever"}

    responses = await client.send([PING, call, 5, notification, unknown])

    by_id = {response["id"]: response for response in responses}
    assert set(by_id) == {1, 2, 3, None}
    assert by_id[1]["result"] == {}
    assert by_id[2]["result"]["structuredContent"] == {}
    assert by_id[3]["error"]["code"] == -32601
    assert by_id[None]["error"]["code"] == -32600


async def test_a_batch_runs_its_calls_at_the_same_time(client: Client, host: SampleHost) -> None:
    await client.initialize("2025-03-26")
    calls = [
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "slow"}}
        for number in (1, 2)
    ]
    batch = asyncio.create_task(client.send(calls))
    await host.slow_started.wait()
    await asyncio.sleep(0)
    assert host.slow_running == 2
    await client.notify("notifications/cancelled", {"requestId": 1})
    host.release_slow.set()

    assert [response["id"] for response in await batch] == [2]


async def test_a_batch_of_notifications_is_not_answered(client: Client) -> None:
    await client.initialize("2025-03-26")

    assert await client.send([{"jsonrpc": "2.0", "method": "notifications/whatever"}]) is None


async def test_initialize_in_a_batch_is_refused(client: Client) -> None:
    await client.initialize("2025-03-26")

    [response] = await client.send([{**PING, "method": "initialize", "params": {}}])

    assert response["error"]["code"] == -32600


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25", None])
async def test_a_batch_is_refused_in_every_other_version(
    client: Client, version: str | None
) -> None:
    if version is not None:
        await client.initialize(version)

    response = await client.send([PING])

    assert response["error"]["code"] == -32600
    assert response["id"] is None
