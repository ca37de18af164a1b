from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.content.prompts import PROMPTS
from tests.e2e.forked import commands
from tests.e2e.record_tools import (
    ALL_TOOLS,
    CALLS,
    MODELS,
    NAMES,
    assert_company_lived,
)
from tests.e2e.servers import DEVELOPMENT, STDIO, HttpServer, environment, serving
from tests.interop.peers import run_client

SPEAKING = [
    pytest.param("sdk1", [], "2025-11-25", id="sdk1"),
    pytest.param("sdk2", ["--era", "legacy"], "2025-11-25", id="sdk2-legacy"),
    pytest.param("sdk2", ["--era", "auto"], "2026-07-28", id="sdk2-auto"),
    pytest.param("sdk2", ["--era", "modern"], "2026-07-28", id="sdk2-modern"),
]

# The first test of a session may have to make the environments.
pytestmark = pytest.mark.timeout(300)


def assert_complete(report: dict[str, Any], protocol: str) -> None:
    assert report["protocol"] == protocol
    assert report["tools"] == ALL_TOOLS
    assert len(NAMES) == 117
    assert_content(report["content"])
    *company, unknown = report["results"]
    assert_company_lived(company)
    assert unknown["rpc_code"] == -32602
    assert "Company_create" in unknown["text"]


def assert_content(content: dict[str, Any]) -> None:
    models = [f"dataflow://models/{model}" for model in MODELS]
    assert content["resources"] == ["dataflow://models", *models, "server://health"]
    assert content["templates"] == [
        "dataflow://models/{model}",
        "dataflow://models/{model}/{id}",
        "collaboration://{workspace_id}",
    ]
    assert content["prompts"] == [each.name for each in PROMPTS]
    assert json.loads(content["read"])["count"] == len(MODELS)
    assert "`Company_list`" in content["prompt"]
    assert content["completed"] == ["Company"]


def run(client: str, *address: str, workdir: Path, **settings: str) -> dict[str, Any]:
    calls = [*CALLS, ["Company_creat", {}]]
    return run_client(
        client, *address, calls=calls, environment=environment(**settings), workdir=workdir
    )


@pytest.mark.parametrize(("client", "options", "protocol"), SPEAKING)
def test_the_official_client_sees_all_tools_and_a_company_s_life_over_http(
    client: str,
    options: list[str],
    protocol: str,
    development_server: HttpServer,
    tmp_path: Path,
) -> None:
    report = run(client, "http", *options, development_server.mcp, workdir=tmp_path)

    assert_complete(report, protocol)


@pytest.mark.parametrize(("client", "options", "protocol"), SPEAKING)
def test_the_official_client_sees_all_tools_and_a_company_s_life_over_stdio(
    client: str, options: list[str], protocol: str, tmp_path: Path
) -> None:
    command = [str(commands() / "kailash-mcp-prod"), "serve", *STDIO]
    report = run(client, "stdio", *options, "--", *command, workdir=tmp_path)

    assert_complete(report, protocol)


def test_the_official_clients_see_the_same_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--no-auth", settings={"DATABASE_URL": postgres_url}) as server:
        legacy = run("sdk1", "http", server.mcp, workdir=tmp_path)
        modern = run("sdk2", "http", "--era", "modern", server.mcp, workdir=tmp_path)

    assert_complete(legacy, "2025-11-25")
    assert_complete(modern, "2026-07-28")


def test_the_official_client_sees_the_same_over_websocket_beside_http(tmp_path: Path) -> None:
    with serving(tmp_path, *DEVELOPMENT, "--transport", "all") as server:
        websocket = run("sdk1", "websocket", server.ws, workdir=tmp_path)
        http = run("sdk2", "http", "--era", "modern", server.mcp, workdir=tmp_path)
        assert f"WS    {server.ws}" in server.process.errors.text
        assert server.process.end() == 0

    assert_complete(websocket, "2025-11-25")
    assert_complete(http, "2026-07-28")
