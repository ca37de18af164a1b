"""Long steps over MCP: their progress, and sessions that are driven as tasks of the new era."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.sessions import workflow_store
from kailash_mcp_prod.sessions.workflow_state import MovedOnError, owner_of
from tests.integration.workflows.workflow_world import (
    ALICE,
    CREATE,
    EXECUTE,
    STATUS,
    World,
    create,
    running,
)

MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {
        "extensions": {"io.modelcontextprotocol/tasks": {}}
    },
}
LONG = {
    "type": "sequence",
    "steps": [
        {"step_name": "one", "type": "flaky"},
        {"step_name": "gate", "type": "gate"},
        {"step_name": "two", "type": "flaky"},
    ],
}


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    async with running([sqlite_url]) as found:
        yield found


class Client:
    """A client of the new era that takes tasks."""

    def __init__(self, world: World) -> None:
        self._url = str(world.servers[0].mcp_url)

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": method,
            "params": {**params, "_meta": META},
        }
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN,
            "mcp-method": method,
            "mcp-name": params.get("name") or params.get("taskId") or "",
        }
        async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
            answer = await client.post(self._url, json=message, headers=headers)
        body: dict[str, Any] = answer.json()
        assert "result" in body, body
        result: dict[str, Any] = body["result"]
        return result

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return await self.request("tools/call", name=tool, arguments=arguments)

    async def ended(self, task_id: str) -> dict[str, Any]:
        while True:
            task = await self.request("tasks/get", taskId=task_id)
            if task["status"] != "working":
                return task
            await asyncio.sleep(0.01)


async def begin(client: Client, kind: str) -> str:
    made = await client.call(CREATE, workflow_type=kind)
    return str(made["structuredContent"]["workflow_session_id"])


async def test_a_session_is_driven_as_a_task(world: World) -> None:
    client = Client(world)
    session = await begin(client, "long")
    task = await client.call(EXECUTE, workflow_session_id=session, run_all=True)
    await world.reached.wait()
    working = await client.request("tasks/get", taskId=task["taskId"])
    world.gate.set()
    done = await client.ended(task["taskId"])

    assert task["resultType"] == "task"
    assert working["status"] == "working"
    assert done["status"] == "completed"
    assert list(done["result"]["structuredContent"]["result"]) == ["first", "gate", "last"]


async def test_a_task_that_is_cancelled_can_be_gone_on_with(world: World) -> None:
    client = Client(world)
    session = await begin(client, "long")
    task = await client.call(EXECUTE, workflow_session_id=session, run_all=True)
    await world.reached.wait()
    await client.request("tasks/cancel", taskId=task["taskId"])
    cancelled = await client.ended(task["taskId"])
    status = (await client.call(STATUS, workflow_session_id=session))["structuredContent"]
    world.gate.set()
    again = await client.call(EXECUTE, workflow_session_id=session, run_all=True)
    if again.get("resultType") == "task":
        again = (await client.ended(again["taskId"]))["result"]

    assert cancelled["status"] == "cancelled"
    assert [each["status"] for each in status["steps"]] == ["done", "interrupted"]
    assert list(again["structuredContent"]["result"]) == ["gate", "last"]


async def test_a_long_step_tells_how_far_it_is(world: World) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    class Listener:
        def can(self, _capability: str) -> bool:
            return False

        async def progress(
            self, progress: float, total: float | None = None, message: str | None = None
        ) -> None:
            told.append((progress, total, message))

        async def log(self, _level: str, _data: Any, _logger: str | None = None) -> None: ...

        async def defer(self) -> None: ...

        async def elicit(self, _message: str, _schema: Any, _key: str = "input") -> Any: ...

    world.gate.set()
    session = await world.begin(ANONYMOUS)
    await world.servers[0].service.call(
        ANONYMOUS,
        EXECUTE,
        {"workflow_session_id": session, "step_name": "long", "step_config": LONG},
        request_id="r",
        peer=Listener(),
    )

    assert told == [(1, 3, "one"), (1, 2, "at the gate"), (2, 3, "gate"), (3, 3, "two")]


async def test_a_step_that_lasts_keeps_its_session(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow_store, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr("kailash_mcp_prod.sessions.steps_course.LEASE_SECONDS", 0.4)
    monkeypatch.setattr("kailash_mcp_prod.sessions.steps_engine.LEASE_SECONDS", 0.4)
    session = await world.begin()
    lasting = asyncio.create_task(world.step(session, "gate", {"type": "gate"}))
    await world.reached.wait()
    store = (await world.servers[0]._agents.workflow_sessions.driver()).store
    owner = owner_of(ALICE)
    before = (await store.find(session, owner)).steps["gate"].lease_until
    for _ in range(500):
        if (await store.find(session, owner)).steps["gate"].lease_until > before:
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("the lease was not renewed")
    with pytest.raises(MovedOnError):
        await world.step(session, "other", {"type": "flaky"})
    world.gate.set()

    assert (await lasting)["result"] == {"through": True}


async def test_whoever_has_lost_a_step_stores_nothing(world: World) -> None:
    """The lease of a step ends while its holder hangs, and somebody else does it."""
    session = await world.begin()
    store = (await world.servers[0]._agents.workflow_sessions.driver()).store
    part = {
        "type": "sequence",
        "steps": [{"step_name": "g", "type": "gate"}, {"step_name": "x", **create("once")}],
    }
    slow = asyncio.create_task(world.step(session, "s", part))
    await world.reached.wait()
    held = (await store.find(session, owner_of(ALICE))).held
    assert held is not None
    await store.release(session, held)
    world.reached.clear()
    quick = asyncio.create_task(world.step(session, "s", part))
    await world.reached.wait()
    world.gate.set()
    done = await quick
    # It finds that it has lost the step, and answers with what came of it meanwhile.
    late = await slow

    assert late["result"] == done["result"]
    assert done["result"]["x"]["name"] == "once"
    assert await world.names() == ["once"]
