"""Calls that take long go on as tasks, for clients of the extension."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.protocol.deferral import Deferral
from kailash_mcp_prod.protocol.tasks import MAX_PRINCIPAL_TASKS, TTL_MS, Task, TaskStore
from tests.sample_host import ALICE, BOB
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


async def test_a_task_that_breaks_is_told_of_in_the_log_only(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    error = (await ended(client, await begin(client, crash=True)))["error"]

    assert error["code"] == -32603
    assert "secret" not in str(error)
    [record] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert vars(record)["request_id"] == error["data"]["request_id"]
    assert "secret of the driver" in caplog.text


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


def full_store(clock: Callable[[], float], release: asyncio.Event) -> tuple[TaskStore, list[Task]]:
    """A store in which a principal has all the tasks that it may, all under way."""
    store = TaskStore(clock)

    async def work() -> dict[str, Any]:
        await release.wait()
        return {}

    tasks = [
        store.adopt(ALICE.owner, asyncio.create_task(work()), Deferral())
        for _ in range(MAX_PRINCIPAL_TASKS)
    ]
    return store, tasks


async def test_tasks_are_bounded_and_forgotten() -> None:
    now, release = 0.0, asyncio.Event()
    store, tasks = full_store(lambda: now, release)
    one_more = asyncio.create_task(asyncio.sleep(0, {}))
    with pytest.raises(OverloadedError):
        store.adopt(ALICE.owner, one_more, Deferral())
    with pytest.raises(OverloadedError):
        store.adopt(replace(ALICE, tenant="other").owner, one_more, Deferral())
    assert store.find(ALICE.owner, tasks[0].id) is tasks[0]
    assert store.find(BOB.owner, tasks[0].id) is None

    release.set()
    await asyncio.wait({one_more, *(task._work for task in tasks)})
    await asyncio.sleep(0)
    now += TTL_MS / 1000 + 1
    assert store.find(ALICE.owner, tasks[0].id) is None
    assert len(store) == 0


async def test_the_longest_ended_task_makes_room_for_a_new_one() -> None:
    release = asyncio.Event()
    store, tasks = full_store(lambda: 0.0, release)
    tasks[7].cancel()
    await asyncio.sleep(0)

    added = store.adopt(ALICE.owner, asyncio.create_task(asyncio.sleep(0, {})), Deferral())

    assert store.find(ALICE.owner, added.id) is added
    assert store.find(ALICE.owner, tasks[7].id) is None
    assert store.find(ALICE.owner, tasks[0].id) is tasks[0]
    store.cancel_all()


async def test_a_call_without_room_for_its_task_keeps_its_request(client: Client) -> None:
    client.declare(CAPABLE)
    full, _ = full_store(lambda: 0.0, asyncio.Event())
    client.dispatcher._tasks._tasks.update(full._tasks)
    client.principal = ALICE
    call = {"name": "job", "arguments": {}}

    result = (await client.modern("tools/call", call))["result"]

    assert result["resultType"] == "complete"
    assert result["structuredContent"] == {"job": "done"}
    client.dispatcher.close()


async def test_a_task_is_not_there_for_another_token_of_the_same_subject(client: Client) -> None:
    client.principal = ALICE
    task = await begin(client, slow=True)

    client.principal = dataclasses.replace(ALICE, permissions=frozenset({"Account:read"}))

    error = (await client.modern("tasks/get", {"taskId": task["taskId"]}))["error"]
    assert error["code"] == -32602
    client.dispatcher.close()
