"""Resources are listed, read and watched, in both eras."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.protocol.resource_methods import MAX_SUBSCRIBED
from tests.sample_host import BOB
from tests.unit.protocol.conftest import Client

ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])


async def ask(client: Client, era: str, method: str, **params: Any) -> dict[str, Any]:
    if era == "legacy" and client.connection is not None and client.connection.version is None:
        await client.initialize()
    response: dict[str, Any] = await getattr(client, era)(method, params)
    return response


async def next_message(client: Client) -> dict[str, Any]:
    assert client.connection is not None
    message = await client.connection.outbox.get()
    assert message is not None
    decoded: dict[str, Any] = json.loads(message)
    return decoded


@ERAS
async def test_resources_are_listed_in_pages(client: Client, era: str) -> None:
    first = (await ask(client, era, "resources/list"))["result"]
    rest = (await ask(client, era, "resources/list", cursor=first["nextCursor"]))["result"]

    assert len(first["resources"]) + len(rest["resources"]) == 150
    assert "nextCursor" not in rest


@ERAS
async def test_templates_are_listed(client: Client, era: str) -> None:
    result = (await ask(client, era, "resources/templates/list"))["result"]

    assert [each["uriTemplate"] for each in result["resourceTemplates"]] == ["sample://{number}"]


@ERAS
async def test_a_resource_is_read(client: Client, era: str) -> None:
    result = (await ask(client, era, "resources/read", uri="sample://7"))["result"]

    assert [each["text"] for each in result["contents"]] == ["text 7"]


@pytest.mark.parametrize(("era", "code"), [("legacy", -32002), ("modern", -32602)])
async def test_an_unknown_resource_is_an_error_of_its_era(
    client: Client, era: str, code: int
) -> None:
    error = (await ask(client, era, "resources/read", uri="sample://999"))["error"]

    assert error["code"] == code
    assert error["data"]["uri"] == "sample://999"


@pytest.mark.parametrize("uri", [None, 5, "", "s://" + "x" * 3000])
async def test_a_malformed_uri_is_invalid(client: Client, uri: Any) -> None:
    params = {"uri": uri, "_meta": client.meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": params}

    assert (await client.send(message))["error"]["code"] == -32602


async def test_what_a_principal_may_not_read_is_as_absent_as_what_is_not_there(
    client: Client,
) -> None:
    client.principal = BOB
    hidden = (await ask(client, "modern", "resources/read", uri="sample://7"))["error"]
    absent = (await ask(client, "modern", "resources/read", uri="sample://999"))["error"]

    assert hidden["code"] == absent["code"]
    assert hidden["message"] == absent["message"]


async def test_a_read_in_rounds_is_good_for_nobody_else(client: Client) -> None:
    client.declare({"elicitation": {}})
    first = (await client.modern("resources/read", {"uri": "sample://13"}))["result"]
    assert first["resultType"] == "input_required"

    answer = {"why": {"action": "accept", "content": {"name": "because"}}}
    result = (
        await client.modern("resources/read", {"uri": "sample://13", "inputResponses": answer})
    )["result"]

    assert result["contents"][0]["text"] == "because"
    assert (result["ttlMs"], result["cacheScope"]) == (0, "private")


async def test_the_old_era_subscribes_to_a_resource(client: Client) -> None:
    await client.initialize()
    await client.legacy("resources/subscribe", {"uri": "sample://1"})
    await client.legacy("resources/subscribe", {"uri": "sample://1"})

    client.content.change("sample://2")
    client.content.change("sample://1")

    message = await next_message(client)
    assert message["method"] == "notifications/resources/updated"
    assert message["params"] == {"uri": "sample://1"}
    await client.legacy("resources/unsubscribe", {"uri": "sample://1"})
    assert client.content.update_listeners == []
    await client.legacy("resources/unsubscribe", {"uri": "sample://1"})


async def test_a_session_is_not_told_what_its_client_may_not_hear_of(client: Client) -> None:
    await client.initialize()
    for uri in ("sample://0", "sample://1"):
        await client.legacy("resources/subscribe", {"uri": uri})

    client.content.change("sample://0", "sample://1", audience=BOB.__eq__)
    client.content.change("sample://1", audience=client.principal.__eq__)

    assert (await next_message(client))["params"]["uri"] == "sample://1"


async def test_a_listener_is_not_told_what_it_may_not_hear_of(client: Client) -> None:
    wanted = {"resourceSubscriptions": ["sample://0", "sample://1"]}
    task = asyncio.create_task(client.modern("subscriptions/listen", {"notifications": wanted}))
    await client.notifications.get()

    client.content.change("sample://0", "sample://1", audience=BOB.__eq__)
    client.content.change("sample://1", audience=client.principal.__eq__)

    assert (await client.notifications.get())["params"]["uri"] == "sample://1"
    task.cancel()
    await asyncio.wait({task})


async def test_in_a_session_it_counts_who_subscribed_last(client: Client) -> None:
    await client.initialize()
    await client.legacy("resources/subscribe", {"uri": "sample://0"})
    client.principal = BOB
    await client.legacy("resources/subscribe", {"uri": "sample://0"})
    asked: list[Principal] = []

    def audience(principal: Principal) -> bool:
        asked.append(principal)
        return True

    client.content.change("sample://0", audience=audience)
    await next_message(client)

    assert asked == [BOB]


async def test_the_end_of_a_channel_ends_its_subscriptions(client: Client) -> None:
    await client.initialize()
    await client.legacy("resources/subscribe", {"uri": "sample://1"})
    assert client.connection is not None

    client.connection.close()

    assert client.content.update_listeners == []


async def test_who_may_not_read_a_resource_may_not_watch_it(client: Client) -> None:
    client.principal = BOB
    await client.initialize()

    assert (await client.legacy("resources/subscribe", {"uri": "sample://7"}))["error"]
    assert client.content.update_listeners == []


async def test_a_session_watches_a_bounded_number_of_resources(client: Client) -> None:
    await client.initialize()
    client.content.texts |= {f"sample://{number}": "" for number in range(150, 250)}
    # All but the one that asks its reader something.
    for number in [each for each in range(MAX_SUBSCRIBED + 1) if each != 13]:
        await client.legacy("resources/subscribe", {"uri": f"sample://{number}"})

    error = (await client.legacy("resources/subscribe", {"uri": "sample://240"}))["error"]

    assert error["code"] == -32600
    assert error["data"]["code"] == "overloaded"


async def test_the_new_era_hears_of_lists_and_resources_on_one_stream(client: Client) -> None:
    wanted = {
        "resourceSubscriptions": ["sample://1", "sample://999"],
        "resourcesListChanged": True,
        "promptsListChanged": True,
    }
    listening = asyncio.create_task(
        client.modern("subscriptions/listen", {"notifications": wanted})
    )
    acknowledged = await client.notifications.get()
    assert acknowledged["params"]["notifications"]["resourceSubscriptions"] == ["sample://1"]

    client.content.change("sample://2")
    client.content.change("sample://1")
    client.content.change_lists()

    heard = [await client.notifications.get() for _ in range(3)]
    assert [each["method"] for each in heard] == [
        "notifications/resources/updated",
        "notifications/resources/list_changed",
        "notifications/prompts/list_changed",
    ]
    listening.cancel()
    await asyncio.wait({listening})
    assert client.content.update_listeners == []


@pytest.mark.parametrize("uris", ["sample://1", [5], ["x" * 3000], ["a"] * 300])
async def test_a_malformed_list_of_resources_to_watch_is_invalid(client: Client, uris: Any) -> None:
    params = {"notifications": {"resourceSubscriptions": uris}, "_meta": client.meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}

    assert (await client.send(message))["error"]["code"] == -32602
