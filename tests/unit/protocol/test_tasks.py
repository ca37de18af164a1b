"""Calls that take long go on as tasks, for clients of the extension."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kailash_mcp_prod.protocol.deferral import Deferral
from kailash_mcp_prod.protocol.tasks import MAX_PRINCIPAL_TASKS, TTL_MS, TaskStore
from tests.sample_host import ALICE
from tests.unit.protocol.conftest import Client

EXTENSION = {"io.modelcontextprotocol/tasks": {}}
CAPABLE = {"extensions": EXTENSION, "elicitation": {}}
ANSWER = {"action": "accept", "content": {"name": "yes"}}


async def begin(client: Client, **arguments: Any) -> dict[str, Any]:
    client.declare(CAPABLE)
    call = {"name": "job", "arguments": arguments}
    result: dict[str, Any] = (await client.modern("tools/call", call))["result"]
    assert result["resultType"] == "task"
    return result


async def state(client: Client, task: dict[str, Any]) -> dict[str, Any]:
    response = await client.modern("tasks/get", {"taskId": task["taskId"]})
    result: dict[str, Any] = response["result"]
    return result


async def ended(client: Client, task: dict[str, Any]) -> dict[str, Any]:
    while (now := await state(client, task))["status"] in {"working", "input_required"}:  # noqa: ASYNC110 - clients poll
        await asyncio.sleep(0)
    return now


async def test_a_call_that_will_take_long_becomes_a_task(client: Client) -> None:
    task = await begin(client)
    assert task["status"] == "working"
    assert {"createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"} <= set(task)

    done = await ended(client, task)

    assert done["status"] == "completed"
    assert done["resultType"] == "complete"
    assert done["result"]["structuredContent"] == {"job": "done"}
    assert done["statusMessage"] == "under way"


async def test_a_task_that_fails_has_the_error_of_its_call(client: Client) -> None:
    done = await ended(client, await begin(client, fail=True))

    assert done["status"] == "failed"
    assert done["error"]["code"] == -32602


async def test_a_task_asks_its_client(client: Client) -> None:
    task = await begin(client, ask=True)
    while (now := await state(client, task))["status"] == "working":  # noqa: ASYNC110 - clients poll
        await asyncio.sleep(0)
    assert now["inputRequests"]["sure"]["params"]["message"] == "Go on?"

    answers = {"other": ANSWER}
    await client.modern("tasks/update", {"taskId": task["taskId"], "inputResponses": answers})
    assert (await state(client, task))["status"] == "input_required"
    answers = {"sure": ANSWER}
    await client.modern("tasks/update", {"taskId": task["taskId"], "inputResponses": answers})

    done = await ended(client, task)
    assert done["result"]["structuredContent"] == {"answer": ANSWER}
    await client.modern("tasks/update", {"taskId": task["taskId"], "inputResponses": answers})


async def test_a_task_is_cancelled_once(client: Client) -> None:
    task = await begin(client, slow=True)
    await client.host.slow_started.wait()

    for _ in range(2):
        await client.modern("tasks/cancel", {"taskId": task["taskId"]})

    await client.host.slow_cancelled.wait()
    assert (await state(client, task))["status"] == "cancelled"


async def test_a_client_without_the_extension_waits_for_the_result(client: Client) -> None:
    call = {"name": "job", "arguments": {}}
    result = (await client.modern("tools/call", call))["result"]
    assert result["resultType"] == "complete"

    required = {"name": "job", "arguments": {"required": True}}
    error = (await client.modern("tools/call", required))["error"]
    assert error["code"] == -32021
    assert error["data"]["requiredCapabilities"] == {"extensions": EXTENSION}
    assert (await client.modern("tasks/get", {"taskId": "x"}))["error"]["code"] == -32021


async def test_a_task_is_there_for_its_principal_only(client: Client) -> None:
    task = await begin(client, slow=True)

    client.principal = ALICE

    for method in ("tasks/get", "tasks/cancel"):
        response = await client.modern(method, {"taskId": task["taskId"]})
        assert response["error"]["code"] == -32602
    client.dispatcher.close()


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tasks/get", {}),
        ("tasks/get", {"taskId": "unknown"}),
        ("tasks/update", {"taskId": "unknown", "inputResponses": {}}),
    ],
)
async def test_an_unknown_task_is_invalid(
    client: Client, method: str, params: dict[str, Any]
) -> None:
    client.declare(CAPABLE)

    assert (await client.modern(method, params))["error"]["code"] == -32602


async def test_malformed_answers_are_invalid(client: Client) -> None:
    task = await begin(client, slow=True)
    params = {"taskId": task["taskId"], "inputResponses": []}

    assert (await client.modern("tasks/update", params))["error"]["code"] == -32602
    client.dispatcher.close()
    assert (await state(client, task))["status"] == "cancelled"


async def test_a_quick_call_of_a_capable_client_is_no_task(client: Client) -> None:
    client.declare(CAPABLE)
    call = {"name": "echo", "arguments": {"a": 1}}

    assert (await client.modern("tools/call", call))["result"]["structuredContent"] == {"a": 1}


async def test_a_call_that_asks_before_it_defers_does_so_in_rounds(client: Client) -> None:
    client.declare(CAPABLE)

    result = (await client.modern("tools/call", {"name": "ask", "arguments": {}}))["result"]

    assert result["resultType"] == "input_required"


async def test_tasks_are_bounded_and_forgotten() -> None:
    now = 0.0
    store = TaskStore(clock=lambda: now)

    async def work() -> dict[str, Any]:
        return {}

    tasks = [
        store.adopt("ann", asyncio.create_task(work()), Deferral())
        for _ in range(MAX_PRINCIPAL_TASKS)
    ]
    from kailash_mcp_prod.errors import OverloadedError

    one_more = asyncio.create_task(work())
    with pytest.raises(OverloadedError):
        store.adopt("ann", one_more, Deferral())
    await asyncio.wait({one_more})
    assert store.find("ann", tasks[0].id) is tasks[0]
    assert store.find("bob", tasks[0].id) is None

    now += TTL_MS / 1000 + 1
    assert store.find("ann", tasks[0].id) is None
    assert len(store) == 0
