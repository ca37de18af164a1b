from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.record_tools import ALL_TOOLS
from tests.e2e.servers import DEVELOPMENT, ROOT, HttpServer, environment, serving
from tests.interop.peers import HERE, run_client

KEY = "a-key-for-the-tests-of-the-agent"
CALLS: list[Any] = [
    ["Company_create", {"data": {"name": "Made by an agent"}}],
    ["Company_list", {"filter": {"name": "Made by an agent"}}],
]

# The node and its client start a stdio server for the discovery and for each call.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    keys = json.dumps({KEY: {"agent_id": "stock-agent", "permissions": ["*"]}})
    workdir = tmp_path_factory.mktemp("guarded")
    with serving(workdir, "--auth-type", "api_key", settings={"API_KEYS": keys}) as server:
        yield server


@pytest.fixture
def agent_python(peer_python: Callable[[str], Path]) -> str:
    return str(peer_python("agent"))


def run_node(agent_python: str, workdir: Path, server: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [agent_python, HERE / "agent_node.py", json.dumps(server)],
        cwd=workdir,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def assert_node_used_our_tools(report: dict[str, Any]) -> None:
    assert report["success"] is True
    assert report["tools_available"] == len(ALL_TOOLS)
    assert report["tools_executed"] >= 1
    assert [call["tool"] for call in report["calls"]] == ALL_TOOLS[:2]
    for call in report["calls"]:
        assert call["arguments"] == {"mock": "arguments"}
        error = json.loads(call["content"])["error"]
        assert error["code"] == "invalid_arguments"
        assert "mock" in [problem["field"] for problem in error["details"]["problems"]]


def assert_client_created_and_listed(report: dict[str, Any]) -> None:
    assert report["tools"] == ALL_TOOLS
    created, listed = report["results"]
    assert created["structured"]["name"] == "Made by an agent"
    assert listed["structured"]["records"] == [created["structured"]]
    assert json.loads(listed["text"]) == listed["structured"]


def test_the_stock_agent_node_discovers_and_calls_our_tools_over_stdio(
    agent_python: str, tmp_path: Path
) -> None:
    server = {
        "name": "kailash",
        "transport": "stdio",
        "command": agent_python,
        "args": ["-m", "kailash_mcp_prod", "serve", "--transport", "stdio", *DEVELOPMENT],
        "env": {"PYTHONPATH": str(ROOT), "DATABASE_URL": f"sqlite:///{tmp_path / 'agent.db'}"},
    }

    assert_node_used_our_tools(run_node(agent_python, tmp_path, server))


def test_the_stock_agent_node_discovers_and_calls_our_tools_over_http(
    agent_python: str, guarded_server: HttpServer, tmp_path: Path
) -> None:
    auth = {"type": "api_key", "key": KEY}
    server = {"name": "kailash", "transport": "http", "url": guarded_server.mcp, "auth": auth}

    assert_node_used_our_tools(run_node(agent_python, tmp_path, server))


def test_the_client_of_kailash_mcp_creates_and_lists_over_stdio(
    agent_python: str, tmp_path: Path
) -> None:
    serve = [agent_python, "-m", "kailash_mcp_prod", "serve", "--transport", "stdio"]

    report = run_client(
        "agent",
        "stdio",
        "--",
        *serve,
        *DEVELOPMENT,
        calls=CALLS,
        environment=environment(),
        workdir=tmp_path,
    )

    assert_client_created_and_listed(report)


def test_the_client_of_kailash_mcp_creates_and_lists_over_http_with_a_key(
    guarded_server: HttpServer, tmp_path: Path
) -> None:
    with_key = ["--header", f"X-API-Key: {KEY}"]

    report = run_client(
        "agent",
        "http",
        *with_key,
        guarded_server.mcp,
        calls=CALLS,
        environment=environment(),
        workdir=tmp_path,
    )

    assert_client_created_and_listed(report)


def test_the_client_of_kailash_mcp_finds_nothing_with_a_wrong_key(
    guarded_server: HttpServer, tmp_path: Path
) -> None:
    report = run_client(
        "agent",
        "http",
        "--header",
        "X-API-Key: another-key-of-somebody-else",
        guarded_server.mcp,
        calls=[],
        environment=environment(),
        workdir=tmp_path,
    )

    assert report["tools"] == []
