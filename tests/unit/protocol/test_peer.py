"""The client behind a request: told of progress and logs, asked for more, in both eras."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from kailash_mcp_prod.protocol import Ask, Peer
from kailash_mcp_prod.protocol.peer import SILENT, MissingCapability
from tests.sample_host import ALICE
from tests.unit.protocol.conftest import Client

FORM_ANSWER = {"action": "accept", "content": {"name": "Ada"}}
ELICITATION = {"elicitation": {}}
LOG_LEVEL = "io.modelcontextprotocol/logLevel"


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "arguments": {}, **more}


async def test_progress_goes_to_who_gave_a_token_and_only_grows(client: Client) -> None:
    await client.initialize()

    await client.legacy("tools/call", call("report", _meta={"progressToken": "t"}))

    steps = [each["params"] for each in client.told() if each["method"].endswith("progress")]
    assert [step["progress"] for step in steps] == [1, 2, 3]
    assert {step["progressToken"] for step in steps} == {"t"}
    assert steps[0]["message"] == "step 1"


async def test_progress_reaches_modern_clients_too(client: Client) -> None:
    client.declare({}, progressToken=7)

    await client.modern("tools/call", call("report"))

    assert [each["params"]["progressToken"] for each in client.told()] == [7, 7, 7]


async def test_who_gave_no_token_hears_of_no_progress(client: Client) -> None:
    await client.modern("tools/call", call("report"))

    assert client.told() == []


@pytest.mark.parametrize(
    ("level", "heard"),
    [(None, ["warning"]), ("debug", ["debug", "warning"]), ("error", [])],
)
async def test_the_old_era_sets_the_log_level_for_the_session(
    client: Client, level: str | None, heard: list[str]
) -> None:
    await client.initialize()
    if level is not None:
        assert (await client.legacy("logging/setLevel", {"level": level}))["result"] == {}

    await client.legacy("tools/call", call("report"))

    assert [each["params"]["level"] for each in client.told()] == heard


@pytest.mark.parametrize(
    ("level", "heard"),
    [(None, []), ("debug", ["debug", "warning"]), ("warning", ["warning"]), ("emergency", [])],
)
async def test_the_new_era_sets_the_log_level_for_a_request(
    client: Client, level: str | None, heard: list[str]
) -> None:
    if level is not None:
        client.declare({}, **{LOG_LEVEL: level})

    await client.modern("tools/call", call("report"))

    assert [each["params"]["level"] for each in client.told()] == heard


async def test_an_unknown_log_level_is_invalid(client: Client) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    client.declare({}, **{LOG_LEVEL: "loud"})
    params = {**call("report"), "_meta": client.meta}
    assert (await client.send({**message, "params": params}))["error"]["code"] == -32602

    await client.initialize()
    set_level = {**message, "method": "logging/setLevel", "params": {"level": "loud"}}
    assert (await client.send(set_level))["error"]["code"] == -32602


async def test_the_old_era_asks_by_a_request_of_the_server(client: Client) -> None:
    await client.initialize(capabilities=ELICITATION)
    running = asyncio.create_task(client.legacy("tools/call", call("ask")))

    asked = await client.answer(FORM_ANSWER)

    assert asked["method"] == "elicitation/create"
    assert asked["params"]["message"] == "Who are you?"
    assert (await running)["result"]["structuredContent"] == {"answer": FORM_ANSWER}


async def test_an_error_of_the_client_ends_the_call(client: Client) -> None:
    await client.initialize(capabilities=ELICITATION)
    running = asyncio.create_task(client.legacy("tools/call", call("ask")))

    await client.answer(None)

    assert (await running)["error"]["code"] == -32603


async def test_a_closed_channel_answers_no_more(client: Client) -> None:
    await client.initialize(capabilities=ELICITATION)
    running = asyncio.create_task(
        client.send({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": call("ask")})
    )
    await client.asked.get()
    assert client.connection is not None

    client.connection.close()

    assert await running is None
    assert len(client.connection.requests) == 0


async def test_a_cancelled_call_takes_its_question_back(client: Client) -> None:
    await client.initialize(capabilities=ELICITATION)
    running = asyncio.create_task(
        client.send({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": call("ask")})
    )
    asked = await client.asked.get()
    assert client.connection is not None

    await client.notify("notifications/cancelled", {"requestId": 9})

    assert await running is None
    told = await client.connection.outbox.get()
    assert told is not None
    assert asked["id"] in told.decode()


async def test_answers_that_nobody_waits_for_are_ignored(client: Client) -> None:
    await client.initialize()

    assert await client.send({"jsonrpc": "2.0", "id": "server-1", "result": {}}) is None


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_client_without_the_capability_is_not_asked(client: Client, era: str) -> None:
    await client.initialize()

    error = (await getattr(client, era)("tools/call", call("ask")))["error"]

    assert error["code"] == -32021
    assert error["data"]["requiredCapabilities"] == {"elicitation": {}}
    assert (error["data"]["code"], error["data"]["retryable"]) == ("invalid_arguments", False)


async def test_the_new_era_asks_in_its_result(client: Client) -> None:
    client.declare(ELICITATION)

    first = (await client.modern("tools/call", call("ask")))["result"]
    assert first["resultType"] == "input_required"
    assert "ttlMs" not in first
    assert first["inputRequests"]["input"]["params"]["message"] == "Who are you?"

    again = call("ask", inputResponses={"input": FORM_ANSWER}, requestState=first["requestState"])
    result = (await client.modern("tools/call", again))["result"]
    assert result["resultType"] == "complete"
    assert result["structuredContent"] == {"answer": FORM_ANSWER}


async def test_the_state_keeps_the_answers_of_earlier_rounds(client: Client) -> None:
    client.declare(ELICITATION)
    first = (await client.modern("tools/call", call("ask twice")))["result"]
    assert set(first["inputRequests"]) == {"first"}

    second = (
        await client.modern(
            "tools/call",
            call(
                "ask twice",
                inputResponses={"first": FORM_ANSWER, "unknown": {"action": "cancel"}},
                requestState=first["requestState"],
            ),
        )
    )["result"]
    assert set(second["inputRequests"]) == {"second"}
    assert second["requestState"] != first["requestState"]

    third = call(
        "ask twice",
        inputResponses={"second": {"action": "decline"}},
        requestState=second["requestState"],
    )
    result = (await client.modern("tools/call", third))["result"]
    assert result["structuredContent"] == {"first": FORM_ANSWER, "second": {"action": "decline"}}


@pytest.mark.parametrize(
    "round_two",
    [
        {"requestState": "forged"},
        {"requestState": 5},
        {"requestState": "x" * 300_000},
        {"inputResponses": None},
        {"inputResponses": {"input": "text"}},
        {"inputResponses": {str(number): {} for number in range(65)}},
    ],
)
async def test_a_malformed_round_is_invalid(client: Client, round_two: dict[str, Any]) -> None:
    client.declare(ELICITATION)
    params = {**call("ask"), **round_two, "_meta": client.meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

    assert (await client.send(message))["error"]["code"] == -32602


async def test_state_of_another_call_or_principal_is_refused(client: Client) -> None:
    client.declare(ELICITATION)
    state = (await client.modern("tools/call", call("ask")))["result"]["requestState"]
    other_call = call("ask", requestState=state) | {"arguments": {"more": 1}}
    assert (await client.modern("tools/call", other_call))["error"]["code"] == -32602

    for other in (ALICE, dataclasses.replace(client.principal, permissions=frozenset({"x"}))):
        client.principal = other
        assert (await client.modern("tools/call", call("ask", requestState=state)))["error"]


async def test_a_peer_without_a_client_tells_nobody_and_can_ask_nobody() -> None:
    await SILENT.progress(1)
    await SILENT.log("emergency", "nobody hears this")
    await SILENT.pause_stream()
    await SILENT.defer()
    assert not SILENT.can("elicitation")
    with pytest.raises(MissingCapability):
        await SILENT.ask({"a": Ask("roots/list", {})})


async def test_a_call_asks_a_bounded_number_of_things() -> None:
    with pytest.raises(ValueError, match="16 things"):
        await Peer().ask({str(number): Ask("roots/list", {}) for number in range(17)})


async def test_content_of_a_tool_goes_out_as_it_is(client: Client) -> None:
    result = (await client.modern("tools/call", call("draw")))["result"]

    assert result["content"] == [{"type": "text", "text": "a drawing"}]
    assert result["structuredContent"] == {"lines": 3}
