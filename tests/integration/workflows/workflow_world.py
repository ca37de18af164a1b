"""A small application that runs workflow sessions: one server, or two replicas of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.sessions.workflow_registry import StepCall, WorkflowRegistry

ALICE = Principal("jwt:alice", frozenset({"*"}))
BOB = Principal("jwt:bob", frozenset({"*"}))
READER = Principal("jwt:reader", frozenset({"Item:read", "workflow:*"}))
CREATE = "create_agent_workflow_session"
EXECUTE = "execute_workflow_step"
STATUS = "get_workflow_session_status"
CLEANUP = "cleanup_workflow_sessions"

FIELDS = {"id": str, "name": str, "note": str, "amount": int}


def model(name: str, **options: Any) -> type:
    """A model whose notes and amounts may be left out."""
    members = {"note": "", "amount": 0, "__doc__": f"A {name}."}
    if options:
        members["__dataflow__"] = options
    return type(name, (), {"__annotations__": dict(FIELDS), **members})


def create(name: str, model: str = "Item", **fields: Any) -> dict[str, Any]:
    """A step that creates a record."""
    return {
        "type": "dataflow_operation",
        "model": model,
        "operation": "create",
        "parameters": {"name": name, **fields},
    }


def operation(operation: str, model: str = "Item", /, **parameters: Any) -> dict[str, Any]:
    """A step with an operation on records."""
    return {
        "type": "dataflow_operation",
        "model": model,
        "operation": operation,
        "parameters": parameters,
    }


class World:
    """The servers; each call goes to one of them at random."""

    def __init__(self, servers: list[ProductionMCPServer], seed: int) -> None:
        self.servers = servers
        self._random = random.Random(seed)
        self.failures_left = 0
        self.custom_runs = 0
        self.gate, self.reached = asyncio.Event(), asyncio.Event()

    async def call(self, tool: str, /, by: Principal = ALICE, **arguments: Any) -> dict[str, Any]:
        server = self._random.choice(self.servers)
        return await server.mcp_server.call_tool(tool, arguments, principal=by)

    async def begin(self, by: Principal = ALICE, kind: str = "custom", **config: Any) -> str:
        made = await self.call(CREATE, by, workflow_type=kind, session_config=config)
        return str(made["workflow_session_id"])

    async def step(
        self, session: str, name: str, config: dict[str, Any], by: Principal = ALICE
    ) -> dict[str, Any]:
        return await self.call(
            EXECUTE, by, workflow_session_id=session, step_name=name, step_config=config
        )

    async def result(self, session: str, name: str, config: dict[str, Any]) -> Any:
        done = await self.step(session, name, config)
        assert done["success"] is True
        return done["result"]

    async def status(self, session: str, by: Principal = ALICE) -> dict[str, Any]:
        return await self.call(STATUS, by, workflow_session_id=session)

    async def empty(self) -> None:
        """Removes what earlier tests have left."""
        self.failures_left = self.custom_runs = 0
        self.gate, self.reached = asyncio.Event(), asyncio.Event()
        for name in ("Item", "Other"):
            await self.call(f"{name}_bulk_delete", filter={"name": {"$ne": ""}})
        for each in (ALICE, BOB, READER):
            await self.call(CLEANUP, each, idle_minutes=0)

    async def names(self, model: str = "Item") -> list[str]:
        listed = await self.call(f"{model}_list", limit=1000, sort=["name"])
        return [each["name"] for each in listed["records"]]

    def registry(self) -> WorkflowRegistry:
        """What the application registers."""
        registry = WorkflowRegistry()
        registry.add_workflow("two_items", two_items, required=("name",), output="second.result")
        registry.add_workflow("broken", broken)
        registry.add_template("pair", {"first": create("t1"), "second": create("t2")})
        registry.add_template(
            "long", {"first": create("l1"), "gate": {"type": "gate"}, "last": create("l2")}
        )
        registry.add_step_type("flaky", self._flaky, repeatable=True)
        registry.add_step_type("gate", self._gate, repeatable=True)
        registry.add_step_type("twice", self._twice)
        return registry

    async def _flaky(self, step: StepCall) -> Any:
        """Fails as often as the test says."""
        self.custom_runs += 1
        if self.failures_left:
            self.failures_left -= 1
            raise UnavailableError("The other side is away.", retry_after_seconds=0.01)
        return {"said": step.parameters.get("say")}

    async def _gate(self, step: StepCall) -> Any:
        """Lasts until the test lets it end."""
        await step.progress(1, 2, "at the gate")
        self.reached.set()
        await self.gate.wait()
        return {"through": True}

    async def _twice(self, step: StepCall) -> Any:
        """Two records of one call."""
        self.custom_runs += 1
        made = [
            await step.call_tool("Item_create", {"data": {"name": f"{name} {number}"}})
            for number, name in enumerate([step.parameters["name"]] * 2)
        ]
        if self.failures_left:
            self.failures_left -= 1
            raise UnavailableError("The other side is away.")
        return {"ids": [each["id"] for each in made]}


def two_items() -> Any:
    """A workflow whose second node needs what the first has made."""
    from kailash.workflow.builder import WorkflowBuilder

    import kailash_mcp_prod.sessions.tool_node  # noqa: F401

    builder = WorkflowBuilder()
    builder.add_node(
        "MCPToolNode",
        "first",
        {"tool": "Item_create", "arguments": {"data": {"name": "{{name}}"}}},
    )
    builder.add_node(
        "MCPToolNode",
        "second",
        {
            "tool": "Item_create",
            "arguments": {"data": {"name": "{{made.name}} too", "note": "{{made.id}}"}},
        },
    )
    builder.add_connection("first", "result", "second", "made")
    return builder


def broken() -> Any:
    from kailash.workflow.builder import WorkflowBuilder

    builder = WorkflowBuilder()
    builder.add_node("PythonCodeNode", "code", {"code": "result = 1 / 0"})
    return builder


@asynccontextmanager
async def running(urls: list[str], seed: int = 1, **settings: Any) -> AsyncIterator[World]:
    """The servers over their database.

    Args:
        urls: The address of the database for each server.
        seed: Chooses who gets which call.
        settings: Further settings.
    """
    async with AsyncExitStack() as stack:
        servers = []
        world = World(servers, seed)
        for url in urls:
            db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)
            db.model(model("Item"))
            db.model(model("Other"))
            db.model(model("Kept", retention={"days": 1}))
            config = ServerConfig(
                **{"port": 0, "enable_auth": False, "rate_limit_per_minute": 10**9, **settings},
            )
            server = ProductionMCPServer(config, dataflow=db)
            server.workflows.merge(world.registry())
            servers.append(await stack.enter_async_context(server))
        yield world
