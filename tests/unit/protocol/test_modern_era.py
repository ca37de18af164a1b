from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest
from msgspec.structs import replace

from kailash_mcp_prod.protocol import MirroredHeaders
from kailash_mcp_prod.protocol.codec import decode
from tests import wire_schema
from tests.sample_host import ALICE, SampleHost
from tests.unit.protocol.conftest import CAPABILITIES as OFFERED
from tests.unit.protocol.conftest import META, Client

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


def request(method: str, meta: Any = META, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in META.items() if key not in keys}


async def test_discover_names_all_versions_of_both_eras(client: Client) -> None:
    result = (await client.modern("server/discover"))["result"]

    assert result["supportedVersions"] == ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]
    assert result["capabilities"] == {
        **OFFERED,
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    }
    assert result["instructions"] == "Echo what you hear."
    assert result["_meta"][SERVER_INFO]["name"] == "kailash-mcp-prod"


@pytest.mark.parametrize("method", ["server/discover", "tools/list"])
async def test_what_everybody_sees_alike_may_be_cached_by_all(client: Client, method: str) -> None:
    result = (await client.modern(method))["result"]

    assert result["cacheScope"] == "public"
    assert result["ttlMs"] == 60_000


@pytest.mark.parametrize("method", ["server/discover", "tools/list"])
async def test_what_a_principal_sees_is_cached_for_it_alone(client: Client, method: str) -> None:
    client.principal = ALICE

    assert (await client.modern(method))["result"]["cacheScope"] == "private"


async def test_a_call_is_complete_names_the_server_and_is_not_cached(client: Client) -> None:
    result = (await client.modern("tools/call", {"name": "echo"}))["result"]

    assert result["resultType"] == "complete"
    assert result["_meta"][SERVER_INFO]["name"] == "kailash-mcp-prod"
    assert "ttlMs" not in result
    assert "cacheScope" not in result


async def test_no_handshake_is_needed_and_none_interferes(client: Client) -> None:
    assert "result" in await client.modern("tools/list")
    await client.initialize()
    assert "resultType" in (await client.modern("tools/list"))["result"]
    assert "resultType" not in (await client.legacy("tools/list"))["result"]


@pytest.mark.parametrize(
    "method", ["ping", "initialize", "resources/subscribe", "logging/setLevel", "no/such"]
)
async def test_a_method_the_era_lacks_is_not_found(client: Client, method: str) -> None:
    assert (await client.send(request(method)))["error"]["code"] == -32601


@pytest.mark.parametrize(
    "meta",
    [
        without(CAPABILITIES),
        {**META, VERSION: 5},
        {**META, VERSION: None},
        {**META, CAPABILITIES: []},
    ],
)
async def test_incomplete_metadata_is_invalid(client: Client, meta: Any) -> None:
    assert (await client.send(request("tools/list", meta)))["error"]["code"] == -32602


@pytest.mark.parametrize("meta", [{}, None, [], without(VERSION)])
@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen"])
async def test_a_modern_method_without_a_version_is_invalid(
    client: Client, method: str, meta: Any
) -> None:
    assert (await client.send(request(method, meta)))["error"]["code"] == -32602


async def test_client_info_is_optional(client: Client) -> None:
    meta = without("io.modelcontextprotocol/clientInfo")

    assert "result" in await client.send(request("tools/list", meta))


@pytest.mark.parametrize("version", ["1900-01-01", "2027-01-01", "2025-11-25", ""])
async def test_an_unsupported_version_is_told_which_ones_are(client: Client, version: str) -> None:
    response = await client.send(request("server/discover", {**META, VERSION: version}))

    wire_schema.check(wire_schema.MODERN, "UnsupportedProtocolVersionError", response)
    assert response["error"]["data"]["requested"] == version
    assert response["error"]["data"]["supported"][0] == "2026-07-28"


GOOD = MirroredHeaders(version="2026-07-28", method="tools/call", name="echo")


@pytest.mark.parametrize(
    "headers",
    [
        MirroredHeaders(),
        replace(GOOD, version=None),
        replace(GOOD, version="2025-11-25"),
        replace(GOOD, method=None),
        replace(GOOD, method="Tools/Call"),
        replace(GOOD, name=None),
        replace(GOOD, name="add"),
        replace(GOOD, malformed="mcp-name"),
    ],
)
async def test_headers_that_differ_from_the_body_are_a_mismatch(
    client: Client, host: SampleHost, headers: MirroredHeaders
) -> None:
    message = request("tools/call", name="echo")
    reply = await client.dispatcher.receive(
        wire_schema.json.dumps(message).encode(), client.context(headers=headers)
    )

    assert reply is not None
    assert reply.error_code == -32020
    wire_schema.check(wire_schema.MODERN, "HeaderMismatchError", wire_schema.json.loads(reply.body))
    assert host.calls == []


async def test_headers_that_repeat_the_body_are_accepted(client: Client, host: SampleHost) -> None:
    reply = await client.dispatcher.receive(
        wire_schema.json.dumps(request("tools/call", name="echo")).encode(),
        client.context(headers=GOOD),
    )

    assert reply is not None
    assert reply.error_code is None
    assert len(host.calls) == 1


async def test_a_mismatch_is_reported_before_an_unsupported_version(client: Client) -> None:
    message = request("tools/list", {**META, VERSION: "1900-01-01"})
    reply = await client.dispatcher.handle(
        decode(wire_schema.json.dumps(message).encode()),
        client.context(headers=MirroredHeaders(version="2026-07-28", method="tools/list")),
    )

    assert reply is not None
    assert reply.error_code == -32020


async def listen(client: Client, **wanted: Any) -> asyncio.Task[dict[str, Any]]:
    """Open a subscription and return its task once the acknowledgement came."""
    task = asyncio.create_task(client.modern("subscriptions/listen", {"notifications": wanted}))
    acknowledged = await client.notifications.get()
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"]["_meta"] == {SUBSCRIPTION: client.next_id - 1}
    client.acknowledged = acknowledged["params"]["notifications"]  # type: ignore[attr-defined]
    return task


async def test_a_subscription_is_acknowledged_and_then_told_of_changes(
    client: Client, host: SampleHost
) -> None:
    task = await listen(client, toolsListChanged=True)
    for _ in range(2):
        host.change()
        message = await client.notifications.get()
        assert message["method"] == "notifications/tools/list_changed"
        assert message["params"]["_meta"] == {SUBSCRIPTION: 1}
    assert client.connection is not None
    client.connection.lifetime.end()

    result = (await task)["result"]
    assert result["resultType"] == "complete"
    assert result["_meta"][SUBSCRIPTION] == 1
    assert host.listeners == []


async def test_what_there_is_and_may_be_read_is_acknowledged(client: Client) -> None:
    task = await listen(
        client,
        toolsListChanged=True,
        promptsListChanged=True,
        resourcesListChanged=True,
        resourceSubscriptions=["file:///x", "sample://1"],
    )

    assert client.acknowledged == {  # type: ignore[attr-defined]
        "toolsListChanged": True,
        "promptsListChanged": True,
        "resourcesListChanged": True,
        "resourceSubscriptions": ["sample://1"],
    }
    task.cancel()


@pytest.mark.parametrize("wanted", [{}, {"toolsListChanged": False}, {"otherThings": True}])
async def test_who_did_not_ask_is_not_told(
    client: Client, host: SampleHost, wanted: dict[str, Any]
) -> None:
    task = await listen(client, **wanted)

    assert client.acknowledged == {}  # type: ignore[attr-defined]
    assert host.listeners == []
    task.cancel()


@pytest.mark.parametrize("wanted", [None, [], {"toolsListChanged": "yes"}])
async def test_a_malformed_filter_is_invalid(client: Client, wanted: Any) -> None:
    message = request("subscriptions/listen", notifications=wanted)

    assert (await client.send(message))["error"]["code"] == -32602
    assert client.notifications.empty()


async def test_two_subscriptions_are_told_apart(client: Client, host: SampleHost) -> None:
    first = await listen(client, toolsListChanged=True)
    second = await listen(client, toolsListChanged=True)
    host.change()

    messages = [await client.notifications.get(), await client.notifications.get()]

    assert sorted(m["params"]["_meta"][SUBSCRIPTION] for m in messages) == [1, 2]
    first.cancel()
    second.cancel()


async def test_a_cancelled_subscription_ends_without_a_response(
    client: Client, host: SampleHost
) -> None:
    message = request("subscriptions/listen", notifications={"toolsListChanged": True})
    task = asyncio.create_task(client.send(message))
    await client.notifications.get()
    await client.notify("notifications/cancelled", {"requestId": 1})

    assert await task is None
    assert host.listeners == []


async def test_a_subscription_ends_with_its_credential(client: Client) -> None:
    client.principal = dataclasses.replace(ALICE, expires_at=time.time() + 0.05)
    task = await listen(client, toolsListChanged=True)

    assert (await task)["result"]["resultType"] == "complete"
