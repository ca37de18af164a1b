"""A Nexus app with MCP, in process: every kind of server and preset, and its whole life."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from starlette.testclient import TestClient

from kailash_mcp_prod import NexusMCPPlugin, ServerConfig, enhance_nexus_with_mcp
from kailash_mcp_prod.auth.principal import LOCAL
from kailash_mcp_prod.errors import ConfigError, ServerError, StartupError
from kailash_mcp_prod.nexus import NexusAuth, NexusIntegration
from tests.nexus_apps import PREFIX, closing, make_app, quiet

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}
BOTH = {"Accept": "application/json, text/event-stream"}
GREET = {"name": "greet", "inputs": {"name": "Ada"}}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with closing(make_app(server_type="basic")) as made:
        yield made


def local(app: Any) -> TestClient:
    return TestClient(
        app.fastapi_app,
        base_url="http://127.0.0.1",
        client=("127.0.0.1", 1),
        raise_server_exceptions=False,
    )


def run(client: TestClient, tool: str, arguments: dict[str, Any], **headers: str) -> Any:
    body = {"tool_name": tool, "arguments": arguments}
    return client.post(f"{PREFIX}/execute-tool", json=body, headers=headers)


@pytest.mark.parametrize(
    "settings",
    [
        {"server_type": "basic"},
        {"server_type": "durable"},
        {"preset": "none"},
        {"preset": "lightweight"},
        {"preset": "standard", "cors_origins": ["https://shop.example"]},
        {"preset": "saas"},
        {"preset": "enterprise", "cors_origins": ["*"]},
    ],
    ids=lambda each: "-".join(str(value) for value in each.values()),
)
def test_every_kind_of_app_serves_mcp(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(make_app(**settings)) as app, quiet():
        enhance_nexus_with_mcp(app)
        with local(app) as client:
            status = client.get(f"{PREFIX}/status").json()
            runs = [run(client, "execute_nexus_workflow", GREET).json() for _ in range(2)]
            sessions = {
                client.post(PREFIX, json=INITIALIZE, headers=BOTH).headers["mcp-session-id"]
                for _ in range(2)
            }

    assert status["status"] == "ready"
    assert status["workflows"] == 3
    assert [each["results"] for each in runs] == [{"handler": {"message": "Hello, Ada!"}}] * 2
    # Neither is the other's answer, though the requests were the same.
    assert runs[0]["execution_id"] != runs[1]["execution_id"]
    assert len(sessions) == 2


def test_many_requests_meet_no_limit_by_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(make_app(preset="standard")) as app, quiet():
        enhance_nexus_with_mcp(app)
        with local(app) as client:
            assert {client.get(f"{PREFIX}/status").status_code for _ in range(150)} == {200}


def test_what_is_not_below_the_prefix_is_the_apps(app: Any) -> None:
    enhance_nexus_with_mcp(app)
    with local(app) as client:
        assert client.get("/workflows").status_code == 200
        assert client.get(f"{PREFIX}-else").status_code == 404
        assert client.post(
            "/workflows/greet/execute", json={"parameters": {"name": "x"}}
        ).is_success


def test_a_second_call_is_the_same_integration(app: Any) -> None:
    integration = enhance_nexus_with_mcp(app)

    assert enhance_nexus_with_mcp(app) is integration
    with pytest.raises(ConfigError):
        enhance_nexus_with_mcp(app, prefix="/mcp")


@pytest.mark.parametrize("prefix", ["", "/", "api", "/api/", "/a b"])
def test_a_prefix_is_a_path(app: Any, prefix: str) -> None:
    with pytest.raises(ConfigError):
        enhance_nexus_with_mcp(app, prefix=prefix)


def test_it_takes_a_nexus_app_only() -> None:
    with pytest.raises(StartupError):
        enhance_nexus_with_mcp(object())


def test_it_is_a_plugin_too(app: Any) -> None:
    plugin = NexusMCPPlugin(prefix="/agents")
    with quiet():
        app.add_plugin(plugin)

    with local(app) as client:
        assert client.get("/agents/status").json()["status"] == "ready"
    assert plugin.integration is enhance_nexus_with_mcp(app, prefix="/agents")


def test_it_can_come_after_the_app_has_answered(app: Any) -> None:
    with quiet():
        app.start(blocking=False)
    with local(app) as client:
        assert client.get("/health").is_success
        enhance_nexus_with_mcp(app)
        assert run(client, "execute_nexus_workflow", GREET).is_success


def test_it_starts_again_with_the_app(app: Any) -> None:
    enhance_nexus_with_mcp(app)
    for _ in range(2):
        with local(app) as client:
            assert client.get(f"{PREFIX}/status").is_success


def test_two_apps_are_two_servers(app: Any) -> None:
    with closing(make_app(server_type="basic")) as other:
        one, two = enhance_nexus_with_mcp(app), enhance_nexus_with_mcp(other)
        with local(app) as first, local(other) as second:
            assert one.server is not two.server
            assert first.get(f"{PREFIX}/status").is_success
            assert second.get(f"{PREFIX}/status").is_success


def test_a_start_that_fails_is_told_to_every_request(
    app: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = ServerConfig(
        auth_type=("custom",), database_url=f"sqlite:///{tmp_path}/missing/state.db"
    )
    integration = enhance_nexus_with_mcp(app, config=config)

    with caplog.at_level(logging.ERROR), local(app) as client:
        answers = [client.get(f"{PREFIX}/status"), client.post(PREFIX, json=INITIALIZE)]
        assert client.get("/health").is_success

    assert [each.status_code for each in answers] == [503, 503]
    assert "missing" not in answers[0].text
    assert "can't be made" in caplog.text
    assert isinstance(integration.failure, StartupError)


def test_rest_says_what_is_wrong_with_a_request(app: Any) -> None:
    enhance_nexus_with_mcp(app)
    with local(app) as client:
        wrong = [
            client.post(f"{PREFIX}/execute-tool", json=body)
            for body in (
                {"tool": "x"},
                {"tool_name": "x", "name": "x"},
                {"tool_name": 1},
                {"tool_name": "health_check", "arguments": []},
            )
        ]
        assert [each.json()["error"]["field"] for each in wrong] == [
            "tool",
            "name",
            "tool_name",
            "arguments",
        ]
        assert client.post(f"{PREFIX}/execute-tool", content="{").status_code == 415
        assert client.put(f"{PREFIX}/tools").headers["allow"] == "GET"
        assert client.get(f"{PREFIX}/tools?colour=red").status_code == 400
        assert client.get(f"{PREFIX}/workflows/a/b/c").status_code == 404
        assert client.head(f"{PREFIX}/status").content == b""
        strange = client.get(f"{PREFIX}/status", headers={"Host": "evil.example"})
        assert strange.status_code == 421
        page = client.get(f"{PREFIX}/status", headers={"Origin": "https://evil.example"})
        assert page.status_code == 403
        tools = client.get(f"{PREFIX}/tools")
        again = client.get(f"{PREFIX}/tools", headers={"If-None-Match": tools.headers["etag"]})
        assert again.status_code == 304


def test_the_body_of_other_programs_is_taken(app: Any) -> None:
    enhance_nexus_with_mcp(app)
    with local(app) as client:
        url = f"{PREFIX}/execute-tool"
        session = run(client, "create_agent_session", {"agent_id": "a", "agent_info": {}}).json()
        body = {
            "tool_name": "execute_nexus_workflow",
            "parameters": GREET,
            "agent_id": "somebody-else",
            "session_id": session["session_id"],
        }
        done = client.post(url, json=body).json()
        told = run(client, "get_agent_session", {"session_id": session["session_id"]}).json()
        strange = client.post(url, json={**body, "session_id": "as_of_nobody"})

    assert done["results"] == {"handler": {"message": "Hello, Ada!"}}
    assert told["request_count"] == 1
    assert told["agent_id"] == "a"
    assert strange.status_code == 404


def test_workflow_sessions_have_paths(app: Any) -> None:
    enhance_nexus_with_mcp(app)
    with local(app) as client:
        assert client.get(f"{PREFIX}/workflows").json()["workflow_sessions"] == []
        made = client.post(f"{PREFIX}/workflows", json={"workflow_type": "mine"})
        session = made.json()["workflow_session_id"]
        step = {
            "step_name": "greet",
            "step_config": {
                "type": "tool",
                "tool": "execute_nexus_workflow",
                "arguments": {"name": "greet", "inputs": {"name": "Ada"}},
            },
        }
        path = f"{PREFIX}/workflows/{session}"
        done = client.post(f"{path}/steps", json=step).json()
        seen = client.get(f"{path}?include_results=true").json()
        listed = client.get(f"{PREFIX}/workflows").json()
        removed = client.delete(path).json()

        assert made.status_code == 201
        assert done["result"]["results"] == {"handler": {"message": "Hello, Ada!"}}
        assert seen["completed_steps"] == 1
        [shown] = listed["workflow_sessions"]
        assert (shown["workflow_session_id"], shown["steps"], shown["own"]) == (
            session,
            {"done": 1},
            True,
        )
        assert "owner" not in shown
        assert removed["removed"] == 1
        assert client.put(f"{PREFIX}/workflows").headers["allow"] == "GET, POST, DELETE"
        for wrong in ("limit=x", "limit=0", "cursor=x", "all=maybe", "colour=red"):
            assert client.get(f"{PREFIX}/workflows?{wrong}").status_code == 400
        assert client.get(path).status_code == 404
        assert client.delete(f"{PREFIX}/workflows?idle_minutes=x").status_code == 400


@asynccontextmanager
async def sdk_session(app: Any) -> AsyncIterator[ClientSession]:
    transport = httpx.ASGITransport(app=app.fastapi_app, client=("127.0.0.1", 1))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
        streamable_http_client(f"http://127.0.0.1{PREFIX}", http_client=http) as (read, write, *_),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


async def over_sdk(app: Any, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    async with sdk_session(app) as session:
        found = [await session.call_tool(name, arguments) for name, arguments in calls]
    # By the names of the protocol: those of the SDK differ from release to release.
    return [each.model_dump(by_alias=True) for each in found]


@pytest.fixture
async def integration(app: Any) -> Any:
    async with enhance_nexus_with_mcp(app, expose_workflows=["greet"]) as made:
        yield made


async def call(integration: NexusIntegration, tool: str, **arguments: Any) -> dict[str, Any]:
    return await integration.server.mcp_server.call_tool(tool, arguments)


async def test_the_official_client_runs_workflows(integration: Any, app: Any) -> None:
    ran, own, wrong = await over_sdk(
        app,
        ("execute_nexus_workflow", {"name": "add", "inputs": {"a": 1, "b": 2}}),
        ("nexus_greet", {"name": "Ada", "greeting": "Hi"}),
        ("nexus_greet", {"name": 1}),
    )

    assert ran["structuredContent"]["results"] == {"sum": {"result": 3}}
    assert own["structuredContent"]["results"] == {"handler": {"message": "Hi, Ada!"}}
    assert wrong["isError"]
    assert wrong["structuredContent"]["error"]["field"] == "name"


def register_chain(app: Any, name: str, *nodes: str) -> None:
    """Registers a workflow of nodes that run one after the other."""
    with quiet():
        from kailash.workflow.builder import WorkflowBuilder

        chain = WorkflowBuilder()
        for node in nodes:
            chain.add_node("PythonCodeNode", node, {"code": "result = {'done': True}"})
        for before, after in pairwise(nodes):
            chain.add_connection(before, "result", after, "before")
        app.register(name, chain.build())


async def test_callers_hear_of_each_node(integration: Any, app: Any) -> None:
    register_chain(app, "chain", "one", "two", "three")
    told: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with sdk_session(app) as session:
        await session.call_tool("execute_nexus_workflow", {"name": "chain"}, progress_callback=hear)

    assert told == [(1, 3, "one is done"), (2, 3, "two is done"), (3, 3, "three is done")]


async def test_runs_at_once_hear_of_their_own_nodes(integration: Any, app: Any) -> None:
    register_chain(app, "short", *"ab")
    register_chain(app, "long", *"cdef")
    told: dict[str, list[str | None]] = {"short": [], "long": []}

    async with sdk_session(app) as session:

        async def run_one(name: str) -> None:
            async def hear(_progress: float, _total: float | None, message: str | None) -> None:
                told[name].append(message)

            arguments = {"name": name}
            await session.call_tool("execute_nexus_workflow", arguments, progress_callback=hear)

        await asyncio.gather(run_one("long"), run_one("short"))

    assert told["short"] == ["a is done", "b is done"]
    assert told["long"] == [f"{name} is done" for name in "cdef"]


async def test_workflows_that_come_later_are_told(integration: Any, app: Any) -> None:
    changed = asyncio.Event()
    integration.server.service.on_tools_changed(changed.set)

    with quiet():

        @app.handler("late")
        async def late(x: int) -> dict[str, int]:
            return {"x": x}

    assert (await call(integration, "execute_nexus_workflow", name="late", inputs={"x": 1}))[
        "results"
    ] == {"handler": {"x": 1}}
    await asyncio.wait_for(changed.wait(), 5)


async def test_many_run_at_once(integration: Any, app: Any) -> None:
    with quiet():

        @app.handler("nap")
        async def nap(seconds: float) -> dict[str, float]:
            await asyncio.sleep(seconds)
            return {"slept": seconds}

    began = time.perf_counter()
    await asyncio.gather(
        *(
            call(integration, "execute_nexus_workflow", name="nap", inputs={"seconds": 0.3})
            for _ in range(40)
        )
    )

    # Nexus's own runtime would take four turns.
    assert time.perf_counter() - began < 1.1


async def test_a_caller_may_give_less_time(integration: Any, app: Any) -> None:
    stopped = asyncio.Event()
    with quiet():

        @app.handler("long")
        async def long(seconds: float) -> dict[str, float]:
            try:
                await asyncio.sleep(seconds)
            finally:
                stopped.set()
            return {}

    inputs = {"seconds": 30}
    for _ in range(6):
        with pytest.raises(Exception, match=r"longer than the 0\.05 s"):
            await call(
                integration, "execute_nexus_workflow", name="long", inputs=inputs, timeout=0.05
            )

    assert stopped.is_set()
    # That was the callers' doing, so nothing is left alone.
    quick = await call(integration, "execute_nexus_workflow", name="long", inputs={"seconds": 0})
    assert quick["results"] == {"handler": {}}


async def test_what_fails_again_and_again_is_left_alone(integration: Any) -> None:
    codes = []
    for how in ["ValueError"] * 6 + ["OSError"] * 6:
        try:
            await call(integration, "execute_nexus_workflow", name="fail", inputs={"how": how})
        except ServerError as error:
            codes.append(error.code)

    assert codes == ["internal"] * 6 + ["unavailable"] * 5 + ["circuit_open"]
    nexus = (await call(integration, "get_integration_metrics"))["integration_metrics"]["nexus"]
    assert nexus["circuits"] == {"closed": 2, "half_open": 0, "open": 1}
    failed, greet = nexus["by_workflow"]["fail"], nexus["by_workflow"]["greet"]
    assert (failed["calls"], failed["errors"]) == (11, 11)
    assert failed["circuit"]["state"] == "open"
    assert failed["circuit"]["retry_after_seconds"] > 0
    assert (greet["calls"], greet["circuit"]["state"]) == (0, "closed")
    health = (await call(integration, "health_check"))["components"]["nexus"]
    assert health["status"] == "degraded"
    assert health["circuits"] == nexus["circuits"]
    # Everybody who may see how the server is may not know of each workflow.
    assert "fail" not in str(health).replace("failed", "")
    greeted = await call(integration, "execute_nexus_workflow", **GREET)
    assert greeted["workflow"] == "greet"


async def test_metrics_and_health_show_the_integration(integration: Any) -> None:
    await call(integration, "execute_nexus_workflow", **GREET)

    metrics = await call(integration, "get_integration_metrics")
    nexus = metrics["integration_metrics"]["nexus"]
    assert nexus["status"] == "mounted"
    assert (nexus["workflows"], nexus["calls"], nexus["errors"]) == (3, 1, 0)
    assert set(nexus["by_workflow"]) == {"greet", "add", "fail"}
    assert nexus["by_workflow"]["greet"]["calls"] == 1
    health = await call(integration, "health_check")
    assert health["components"]["nexus"]["status"] == "healthy"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "name"),
        ({"name": 1}, "name"),
        ({"name": "greet", "input": {}}, "input"),
        ({"name": "greet", "inputs": []}, "inputs"),
        ({"name": "greet", "timeout": 0}, "timeout"),
        ({"name": "greet", "timeout": 1000}, "timeout"),
        ({"name": "greet", "inputs": {"__class__": 1}}, "inputs.__class__"),
        ({"name": "greet", "inputs": {}}, "inputs.name"),
        ({"name": "nothing"}, "name"),
    ],
)
async def test_what_is_wrong_with_a_call_is_named(
    integration: Any, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(ServerError) as error:
        await call(integration, "execute_nexus_workflow", **arguments)

    assert error.value.field == field


async def test_the_tools_are_short_in_lists(integration: Any) -> None:
    listed = integration.server.service.encoded_list(LOCAL, "full")
    names = {"get_nexus_workflows", "execute_nexus_workflow"}
    texts = [
        json.dumps(each, separators=(",", ":"))
        for each in json.loads(listed.body)
        if each["name"] in names
    ]
    assert len(texts) == 2
    # Four characters are about one token.
    assert max(len(each) for each in texts) <= 280


def test_rules_of_nexus_auth_are_settings_too(app: Any) -> None:
    rules = NexusAuth(everybody=["*"])

    assert enhance_nexus_with_mcp(app, auth=rules) is enhance_nexus_with_mcp(app, auth=rules)
    with pytest.raises(ConfigError):
        enhance_nexus_with_mcp(app)
