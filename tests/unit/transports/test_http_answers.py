"""Long answers become streams; in the old era a client that lost one comes back for the rest."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kailash_mcp_prod.transports.unread_budget import UnreadBudget
from tests import wire_schema
from tests.unit.transports.conftest import META, Web, modern_headers, rpc, serving

ELICITATION = {"elicitation": {}}
ANSWER = {"action": "accept", "content": {"name": "Ada"}}


def call(name: str, rpc_id: Any = 1, **more: Any) -> dict[str, Any]:
    return rpc("tools/call", rpc_id, name=name, arguments={}, **more)


async def open_capable_session(web: Web) -> dict[str, str]:
    message = rpc(
        "initialize",
        protocolVersion="2025-11-25",
        capabilities=ELICITATION,
        clientInfo={"name": "tests", "version": "1"},
    )
    response = await web.post(message)
    return {
        "mcp-session-id": response.headers["mcp-session-id"],
        "mcp-protocol-version": "2025-11-25",
    }


async def test_progress_makes_the_answer_a_stream(web: Web) -> None:
    session = await web.open_session()
    exchange = web.raw("POST", session, call("report", _meta={"progressToken": 1}))
    assert await exchange.begin() == 200
    assert exchange.headers["content-type"] == "text/event-stream"

    methods = [(await exchange.event())["method"] for _ in range(4)]

    assert methods == [*["notifications/progress"] * 3, "notifications/message"]
    result = await exchange.event()
    assert result["result"]["structuredContent"] == {"steps": 3}
    assert await exchange.event() is None
    await exchange.aclose()


async def test_a_client_that_takes_no_events_gets_json_alone(web: Web) -> None:
    params = {"name": "report", "arguments": {}, "_meta": {**META, "progressToken": 1}}
    headers = {**modern_headers("tools/call", "report"), "accept": "application/json"}

    response = await web.post(rpc("tools/call", **params), headers)

    assert response.headers["content-type"] == "application/json"
    assert response.json()["result"]["structuredContent"] == {"steps": 3}


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_long_call_shows_that_it_still_runs(era: str) -> None:
    async with serving(keepalive_seconds=0.02) as web:
        if era == "legacy":
            exchange = web.raw("POST", await web.open_session(), call("slow"))
        else:
            headers = modern_headers("tools/call", "slow")
            exchange = web.raw("POST", headers, call("slow", _meta=META))
        assert await exchange.begin() == 200
        comments = [await exchange.block() for _ in range(3)]
        assert ": keep-alive" in comments

        web.host.release_slow.set()

        result = await exchange.event()
        assert result["result"]["structuredContent"] == {"slow": "done"}
        assert await exchange.event() is None
        await exchange.aclose()


async def test_a_question_goes_over_the_stream_of_its_call(web: Web) -> None:
    session = await open_capable_session(web)
    exchange = web.raw("POST", session, call("ask"))
    await exchange.begin()
    asked = await exchange.event()
    wire_schema.check_request(wire_schema.LEGACY, asked)

    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": ANSWER}
    assert (await web.post(answer, session)).status_code == 202

    assert (await exchange.event())["result"]["structuredContent"] == {"answer": ANSWER}
    await exchange.aclose()


async def test_another_session_can_not_answer_the_question(web: Web) -> None:
    session, other = await open_capable_session(web), await open_capable_session(web)
    exchange = web.raw("POST", session, call("ask"))
    await exchange.begin()
    asked = await exchange.event()

    forged = {"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "cancel"}}
    await web.post(forged, other)
    await web.post({**forged, "result": ANSWER}, session)

    assert (await exchange.event())["result"]["structuredContent"] == {"answer": ANSWER}
    await exchange.aclose()


async def test_a_client_that_lost_its_stream_comes_back_for_the_rest(web: Web) -> None:
    session = await open_capable_session(web)
    lost = web.raw("POST", session, call("ask"))
    await lost.begin()
    asked = await lost.event()
    lost.disconnect()

    again = web.raw("GET", {**session, "last-event-id": lost.last_id})
    assert await again.begin() == 200
    await web.post({"jsonrpc": "2.0", "id": asked["id"], "result": ANSWER}, session)

    assert (await again.event())["result"]["structuredContent"] == {"answer": ANSWER}
    assert await again.event() is None
    from_start = web.raw("GET", {**session, "last-event-id": lost.last_id.split("-")[0] + "-0"})
    await from_start.begin()
    assert (await from_start.event())["id"] == asked["id"]
    await lost.task
    for exchange in (again, from_start):
        await exchange.aclose()


async def test_the_events_of_another_session_are_not_to_be_had(web: Web) -> None:
    session = await open_capable_session(web)
    first = web.raw("POST", session, call("report", _meta={"progressToken": 1}))
    await first.begin()
    await first.event()
    other = await open_capable_session(web)

    stranger = web.raw("GET", {**other, "last-event-id": "1-0"})

    await stranger.begin()
    assert await stranger.block() == ": open"
    stranger.disconnect()
    await stranger.task
    await first.aclose()


async def test_a_tool_may_let_the_client_poll(web: Web) -> None:
    session = await open_capable_session(web)
    exchange = web.raw("POST", session, call("pause"))
    await exchange.begin()
    assert await exchange.event() is None
    assert exchange.retry.strip() == "1000"
    assert exchange.last_id

    web.host.release_slow.set()
    again = web.raw("GET", {**session, "last-event-id": exchange.last_id})
    await again.begin()

    assert (await again.event())["result"]["structuredContent"] == {"slow": "done"}
    for each in (exchange, again):
        await each.aclose()


async def test_older_clients_get_no_empty_event(web: Web) -> None:
    session = await web.open_session("2025-03-26")
    exchange = web.raw("POST", session, call("report", _meta={"progressToken": 1}))
    await exchange.begin()

    blocks = [await exchange.block(), await exchange.block()]

    assert blocks[0] == ": open"
    assert "progress" in str(blocks[1])
    await exchange.aclose()


async def test_a_surface_is_chosen_by_the_address(web: Web) -> None:
    message = rpc("tools/list", _meta=META)
    small = await web.post(message, modern_headers("tools/list"), "/mcp/small")
    assert [tool["name"] for tool in small.json()["result"]["tools"]] == ["echo"]

    strange = await web.post(message, modern_headers("tools/list"), "/mcp/strange")
    assert strange.status_code == 404
    assert "surface" in strange.text


async def test_arguments_are_compared_with_their_headers(web: Web) -> None:
    message = rpc("tools/call", name="echo", arguments={"where": {"region": "Süd"}}, _meta=META)
    headers = modern_headers("tools/call", "echo")

    assert (await web.post(message, headers)).json()["error"]["code"] == -32020
    for value, status in (("U8O8ZA==", 200), ("Tm9yZA==", 400), ("U8O8Z", 400)):
        mirrored = {**headers, "Mcp-Param-Region": f"=?base64?{value}?="}
        assert (await web.post(message, mirrored)).status_code == status


async def test_an_answer_that_comes_when_the_stream_would_begin_is_sent_once() -> None:
    async with serving(keepalive_seconds=0) as web:
        message = rpc("tools/call", name="echo", arguments={}, _meta=META)
        responses = await asyncio.gather(
            *(web.post(message, modern_headers("tools/call", "echo")) for _ in range(20))
        )
        assert {response.status_code for response in responses} == {200}
        assert all(response.text.count('"jsonrpc"') == 1 for response in responses)


async def test_who_comes_back_for_a_stream_takes_it_over(web: Web) -> None:
    session = await open_capable_session(web)
    lost = web.raw("POST", session, call("ask"))
    await lost.begin()
    asked = await lost.event()
    resumed = {**session, "last-event-id": lost.last_id}

    first = web.raw("GET", resumed)
    await first.begin()
    assert await lost.event() is None
    second = web.raw("GET", resumed)
    await second.begin()
    assert await first.event() is None
    await first.task
    await web.post({"jsonrpc": "2.0", "id": asked["id"], "result": ANSWER}, session)

    assert (await second.event())["result"]["structuredContent"] == {"answer": ANSWER}
    assert await second.event() is None
    await asyncio.gather(second.task, lost.task)


async def test_who_comes_back_for_the_servers_own_stream_takes_it_over(web: Web) -> None:
    session = await web.open_session()
    first = web.raw("GET", session)
    await first.begin()
    await first.block()
    web.host.change()
    assert (await first.event())["method"] == "notifications/tools/list_changed"

    second = web.raw("GET", {**session, "last-event-id": first.last_id})
    await second.begin()
    assert await first.event() is None
    web.host.change()
    assert (await second.event())["method"] == "notifications/tools/list_changed"
    await second.aclose()


async def test_a_header_for_an_argument_that_is_not_there_is_refused(web: Web) -> None:
    message = rpc("tools/call", name="echo", arguments={"where": {}}, _meta=META)
    headers = {**modern_headers("tools/call", "echo"), "Mcp-Param-Region": "eu"}

    refused = await web.post(message, headers)

    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == -32020


@pytest.mark.parametrize("number", ["1e400", "9" * 5000])
async def test_an_answer_to_a_question_that_can_not_be_read_is_no_defect(
    web: Web, caplog: pytest.LogCaptureFixture, number: str
) -> None:
    session = await open_capable_session(web)
    exchange = web.raw("POST", session, call("ask"))
    await exchange.begin()
    asked = await exchange.event()
    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "TEXT"}}
    unread = json.dumps(answer).replace('"TEXT"', number).encode()
    assert (await web.post(unread, session)).status_code == 202

    assert "id" in await exchange.event()
    await exchange.aclose()
    assert "failed" not in caplog.text


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_large_answers_that_wait_to_be_read_are_bounded(era: str, streaming: bool) -> None:
    budget = UnreadBudget(400_000)
    key = {"x-api-key": "alice-key"}
    async with serving(unread=budget) as web:
        params: dict[str, Any] = {"name": "echo", "arguments": {"a": "x" * 80_000}}
        headers = {**modern_headers("tools/call", "echo"), **key}
        if era == "legacy":
            headers = await web.open_session(headers=key)
        else:
            params["_meta"] = META
        if streaming:
            headers["accept"] = "text/event-stream"
        with budget.hold("alice", 30_000):
            refused = await web.post(rpc("tools/call", **params), headers)
        answered = await web.post(rpc("tools/call", **params), headers)

    assert '"code":"overloaded"' in refused.text
    assert '"outcome":"unknown"' in refused.text
    assert len(answered.text) > 80_000
    assert answered.text.count('"jsonrpc"') == 1
    assert budget.has_room("alice", 400_000)
