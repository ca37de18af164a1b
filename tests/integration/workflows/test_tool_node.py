"""MCPToolNode on Kailash's runtimes, and what those leave behind."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from kailash.runtime.local import LocalRuntime
from kailash.sdk_exceptions import RuntimeExecutionError
from kailash.workflow.builder import WorkflowBuilder

from kailash_mcp_prod import MCPToolNode, ProductionMCPServer, ServerConfig, calling_tools_of
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, StartupError
from kailash_mcp_prod.sessions.runtime import StepRuntime
from tests.integration.workflows.test_workflow_steps import TEXT
from tests.integration.workflows.workflow_world import model, running, two_items


@pytest.fixture
def server(sqlite_url: str) -> Any:
    from dataflow import DataFlow

    db = DataFlow(sqlite_url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    db.model(model("Item"))
    found = ProductionMCPServer(ServerConfig(port=0, enable_auth=False), dataflow=db)
    found.start_mcp_server_async()
    yield found
    found.stop_mcp_server()


def test_a_script_runs_workflows_on_a_local_runtime(server: ProductionMCPServer) -> None:
    workflow = two_items().build()
    with calling_tools_of(server), LocalRuntime(enable_monitoring=False) as runtime:
        results, _ = runtime.execute(workflow, parameters={"first": {"name": TEXT}})
        made = results["second"]["result"]

    assert made["name"] == f"{TEXT} too"
    assert made["note"] == results["first"]["result"]["id"]


async def test_a_script_on_an_event_loop_does_too(server: ProductionMCPServer) -> None:
    workflow = two_items().build()
    reader = Principal("jwt:r", frozenset({"Item:read"}))
    with (
        calling_tools_of(server, principal=reader),
        LocalRuntime(enable_monitoring=False) as local,
        pytest.raises(RuntimeExecutionError, match="Unknown tool 'Item_create'"),
    ):
        await asyncio.to_thread(local.execute, workflow, parameters={"first": {"name": "x"}})

    assert (await server.mcp_server.call_tool("Item_list"))["count"] == 0


def test_a_node_without_a_server_says_what_to_do() -> None:
    node = MCPToolNode(tool="Item_list", arguments={})

    with pytest.raises(StartupError, match="calling_tools_of"):
        asyncio.run(node.execute_async())


async def test_the_runtime_hands_errors_on_unchanged_and_arguments_untouched() -> None:
    runtime = StepRuntime()
    seen: list[Any] = []
    refusal = InvalidArgumentsError("data.name: use text.", field="data.name")

    async def call(_node: str, tool: str, arguments: Any) -> dict[str, Any]:
        seen.append(arguments)
        if tool == "bad":
            raise refusal
        return {"text": TEXT}

    given = {"data": {"name": TEXT, "nested": [{"{{x}}": "${tool}"}]}}
    try:
        assert await runtime.run_tool("good", given, call) == {"text": TEXT}
        with pytest.raises(InvalidArgumentsError) as refused:
            await runtime.run_tool("bad", given, call)
        builder = WorkflowBuilder()
        builder.add_node("MCPToolNode", "n", {"tool": "bad", "arguments": given})
        with pytest.raises(InvalidArgumentsError) as inside:
            await runtime.run_workflow(builder.build(), {"x": 1}, call)
    finally:
        await runtime.close()

    assert refused.value is refusal
    assert inside.value is refusal or inside.value.field == "arguments.data.name"
    assert seen[0] is given


async def test_many_steps_run_at_once_on_the_loop() -> None:
    runtime = StepRuntime()
    together = asyncio.Barrier(60)

    async def call(_node: str, tool: str, _arguments: Any) -> dict[str, Any]:
        # Ends only when all of them are here.
        await together.wait()
        return {"tool": tool}

    try:
        done = await asyncio.gather(
            *(runtime.run_tool(str(number), {}, call) for number in range(60))
        )
    finally:
        await runtime.close()

    assert [each["tool"] for each in done] == [str(number) for number in range(60)]


async def test_a_cancelled_step_ends_its_work() -> None:
    runtime = StepRuntime()
    began, ended = asyncio.Event(), asyncio.Event()

    async def call(_node: str, _tool: str, _arguments: Any) -> dict[str, Any]:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    try:
        task = asyncio.create_task(runtime.run_tool("x", {}, call))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        await runtime.close()

    assert ended.is_set()


async def test_nothing_is_written_to_the_home_directory(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    async with running([sqlite_url]) as world:
        session = await world.begin()
        flow = {"type": "workflow", "workflow": "two_items", "inputs": {"name": "a"}}
        await world.result(session, "flow", flow)

    assert list(home.rglob("*")) == []


def test_importing_the_tools_imports_no_kailash() -> None:
    import subprocess

    code = (
        "import sys, kailash_mcp_prod.server;"
        "print([m for m in ('kailash', 'dataflow', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"
