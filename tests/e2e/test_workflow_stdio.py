"""Workflow sessions over stdio: in a process that starts from the manifest, and across restarts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.exchanges import Stdio
from tests.e2e.servers import STDIO, ServerProcess, forked

FLAGS = [
    *STDIO,
    *("--models", "tests.e2e.workflow_app:db", "--workflows", "tests.e2e.workflow_app:registry"),
]


def call(client: Stdio, tool: str, **arguments: Any) -> dict[str, Any]:
    result = client.request("tools/call", name=tool, arguments=arguments)["result"]
    assert not result["isError"], result
    found: dict[str, Any] = result["structuredContent"]
    return found


def create(name: str) -> dict[str, Any]:
    return {
        "type": "dataflow_operation",
        "model": "Item",
        "operation": "create",
        "parameters": {"name": name},
    }


def step(client: Stdio, session: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
    return call(
        client,
        "execute_workflow_step",
        workflow_session_id=session,
        step_name=name,
        step_config=config,
    )


def begun(server: ServerProcess) -> Stdio:
    client = Stdio(server)
    client.initialize()
    return client


def test_a_session_goes_on_in_the_next_process(tmp_path: Path) -> None:
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'app.db'}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    with forked(tmp_path, *FLAGS, settings=settings) as server:
        client = begun(server)
        made = call(client, "create_agent_workflow_session", workflow_type="custom")
        session = made["workflow_session_id"]
        first = step(client, session, "first", create("a"))
        server.close_input()
        server.process.wait(20)
    with forked(tmp_path, *FLAGS, settings=settings) as server:
        client = begun(server)
        again = step(client, session, "first", create("a"))
        flow = {"type": "workflow", "workflow": "two_items", "inputs": {"name": "b"}}
        flowed = step(client, session, "flow", flow)
        whole = {
            "atomic": True,
            "steps": [
                {"step_name": "x", **create("c")},
                {"step_name": "y", **create("{{steps.x.name}}{{steps.first.name}}")},
            ],
        }
        atomic = step(client, session, "whole", whole)
        listed = call(client, "Item_list", sort=["name"])
        server.close_input()
        server.process.wait(20)
        log = server.errors.finish()

    assert again == {**first, "repeated": True}
    assert flowed["result"]["name"] == "b-2"
    assert atomic["result"]["y"]["name"] == "ca"
    assert [each["name"] for each in listed["records"]] == ["a", "b-1", "b-2", "c", "ca"]
    assert "manifest_stale" not in log
    assert json.loads(json.dumps(listed)) == listed
