"""What goes back and forth while a request runs, and what there is beside tools."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.behaviour.clients import SECONDS, Client
from tests.behaviour.conftest import Connect, Served
from tests.sample_host import SampleHost

ANSWER = {"action": "accept", "content": {"name": "Ada"}}
TEMPLATE = {"type": "ref/resource", "uri": "sample://{number}"}


async def asking(client: Client, tool: str, answers: dict[str, Any]) -> Any:
    """The result of a tool that asks, of a client that answers in the way of its era."""
    client.answers["elicitation/create"] = lambda _params: next(iter(answers.values()))
    params: dict[str, Any] = {"name": tool, "arguments": {}}
    result = (await client.request("tools/call", params)).result
    while result.get("resultType") == "input_required":
        given = {key: answers[key] for key in result["inputRequests"]}
        again = {**params, "inputResponses": given, "requestState": result["requestState"]}
        result = (await client.request("tools/call", again)).result
    return result


async def test_progress_comes_before_the_result(connect: Connect) -> None:
    client = await connect()
    params = {"name": "report", "arguments": {}, "_meta": {"progressToken": "p"}}
    reply = await client.request("tools/call", params)

    heard = [client.notifications.get_nowait() for _ in range(client.notifications.qsize())]
    steps = [each["params"]["progress"] for each in heard if "progress" in each["method"]]
    assert steps == [1, 2, 3]
    assert reply.result["structuredContent"] == {"steps": 3}


async def test_log_messages_come_at_the_level_that_was_asked_for(connect: Connect) -> None:
    client = await connect()
    params: dict[str, Any] = {"name": "report", "arguments": {}}
    if client.modern:
        params["_meta"] = {"io.modelcontextprotocol/logLevel": "debug"}
    else:
        await client.request("logging/setLevel", {"level": "debug"})
    await client.request("tools/call", params)

    heard = [client.notifications.get_nowait() for _ in range(client.notifications.qsize())]
    assert [each["params"]["level"] for each in heard] == ["debug", "warning"]


async def test_a_tool_asks_its_user(connect: Connect) -> None:
    client = await connect(elicitation={})

    result = await asking(client, "ask", {"input": ANSWER})

    assert result["structuredContent"] == {"answer": ANSWER}


async def test_a_tool_asks_twice(connect: Connect) -> None:
    client = await connect(elicitation={})

    result = await asking(client, "ask twice", {"first": ANSWER, "second": ANSWER})

    assert result["structuredContent"] == {"first": ANSWER, "second": ANSWER}


async def test_a_client_that_can_not_be_asked_is_told_so(connect: Connect) -> None:
    client = await connect()

    error = (await client.request("tools/call", {"name": "ask", "arguments": {}})).error

    assert error["code"] == -32021


async def test_resources_are_listed_and_read(connect: Connect) -> None:
    client = await connect()
    listed = (await client.request("resources/list")).result
    templates = (await client.request("resources/templates/list")).result
    read = (await client.request("resources/read", {"uri": "sample://3"})).result
    absent = (await client.request("resources/read", {"uri": "sample://x"})).error

    assert listed["resources"][0]["uri"] == "sample://0"
    assert templates["resourceTemplates"][0]["uriTemplate"] == "sample://{number}"
    assert read["contents"][0]["text"] == "text 3"
    assert absent["code"] == (-32602 if client.modern else -32002)


async def test_a_changed_resource_is_told(connect: Connect, served: Served) -> None:
    client = await connect()
    if client.modern:
        wanted = {"notifications": {"resourceSubscriptions": ["sample://1"]}}
        await client.start("subscriptions/listen", wanted)
        await client.notification()
    else:
        await client.request("resources/subscribe", {"uri": "sample://1"})
    served.content.change("sample://1")

    told = await client.notification()
    assert told["method"] == "notifications/resources/updated"
    assert told["params"]["uri"] == "sample://1"


async def test_prompts_are_listed_and_made(connect: Connect) -> None:
    client = await connect()
    listed = (await client.request("prompts/list")).result
    made = (
        await client.request("prompts/get", {"name": "greet", "arguments": {"whom": "Ada"}})
    ).result
    refused = (await client.request("prompts/get", {"name": "greet"})).error

    assert [each["name"] for each in listed["prompts"]] == ["greet"]
    assert made["messages"][0]["content"]["text"] == "Greet Ada."
    assert refused["data"]["field"] == "arguments.whom"


async def test_a_variable_is_completed(connect: Connect) -> None:
    client = await connect()
    params = {"ref": TEMPLATE, "argument": {"name": "number", "value": "149"}}

    completion = (await client.request("completion/complete", params)).result["completion"]

    assert completion["values"] == ["149"]


@pytest.mark.parametrize("era", ["2026-07-28"])
async def test_a_task_outlives_its_request(connect: Connect, host: SampleHost) -> None:
    client = await connect(extensions={"io.modelcontextprotocol/tasks": {}})
    params = {"name": "job", "arguments": {"slow": True}}
    task = (await client.request("tools/call", params)).result
    assert task["resultType"] == "task"
    host.release_slow.set()
    named = {"taskId": task["taskId"]}

    async with asyncio.timeout(SECONDS):
        while (state := (await client.request("tasks/get", named)).result)["status"] == "working":  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert state["result"]["structuredContent"] == {"slow": "done"}
