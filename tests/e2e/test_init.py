"""What `init` writes runs as it stands: over HTTP, and by the command of each client."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.agent_jobs import MODEL_KEY, run_programs
from tests.e2e.servers import HttpServer, serving
from tests.e2e.snippets import only, run_in, snippets
from tests.e2e.test_tools_command import run
from tests.model_server import Message, call, results_in, running_model

CLIENTS = [
    ("claude_desktop_config.json", "mcpServers"),
    (".cursor/mcp.json", "mcpServers"),
    (".vscode/mcp.json", "servers"),
]
DEVELOPMENT = ["--mode", "development", "--config", "settings.jsonc"]

# The environment of the agent may have to be made.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starter application."""
    parent = tmp_path_factory.mktemp("init")
    code, output, errors = run("init", "my shop", "--env", workdir=parent)
    assert code == 0, errors
    assert "wrote my shop/settings.jsonc\n" in output
    assert f"Next: cd '{parent / 'my shop'}' && kailash-mcp-prod serve" in errors
    return parent / "my shop"


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[HttpServer]:
    """The application in development mode, which has its sample rows."""
    with serving(home, *DEVELOPMENT) as found:
        yield found


def test_a_second_init_names_what_is_there_and_writes_nothing(home: Path) -> None:
    before = sorted(home.rglob("*"))
    code, output, errors = run("init", workdir=home)

    assert (code, output) == (2, "")
    assert "settings.jsonc" in errors
    assert sorted(home.rglob("*")) == before


def test_a_module_that_the_models_would_hide_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("")

    code, _, errors = run("init", ".", workdir=tmp_path)

    assert code == 2
    assert "models.py is there already" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["models.py"]


def test_the_readme_serves_and_calls(home: Path, server: HttpServer) -> None:
    blocks = snippets(home / "README.md", "sh")
    assert only(blocks, "cd ").rstrip().endswith(f"serve {' '.join(DEVELOPMENT)}")
    curl = only(blocks, "curl").replace("http://127.0.0.1:3002", server.rest)

    assert json.loads(run_in(home, curl))["records"] == [
        {"id": "task-lamps", "title": "Choose the lamps"}
    ]


def test_the_secrets_of_the_environment_serve_and_call(home: Path, tmp_path: Path) -> None:
    settings = dict(
        line.partition("=")[::2]
        for line in (home / ".env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    settings["API_KEYS"] = settings["API_KEYS"].strip("'")
    settings["DATABASE_URL"] = f"sqlite:///{tmp_path / 'other.db'}"
    with serving(home, settings=settings) as served:
        name = {"MCP_API_KEY": settings["MCP_API_KEY"]}
        url = ["--url", served.mcp]
        good, output, _ = run("call", "Task_list", *url, workdir=tmp_path, settings=name)
        bad, _, _ = run("call", "Task_list", *url, workdir=tmp_path)

    assert (good, bad) == (0, 1)
    assert json.loads(output)["records"] == []


def test_each_client_starts_the_server_and_calls(
    home: Path, server: HttpServer, tmp_path: Path
) -> None:
    async def title(name: str, servers: str) -> Any:
        file = home / "clients" / name
        entry = json.loads(file.read_text())[servers]["kailash"]
        parameters = StdioServerParameters(
            command=entry["command"],
            args=entry["args"],
            env={**entry["env"], "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]},
            cwd=tmp_path,
        )
        async with (
            stdio_client(parameters) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            answer = await session.call_tool("Task_read", {"id": "task-shelves"})
            return answer.model_dump(by_alias=True)["structuredContent"]["title"]

    async def all_titles() -> list[Any]:
        return await asyncio.gather(*(title(*each) for each in CLIENTS))

    assert asyncio.run(all_titles()) == ["Measure the shelves"] * 3


def test_the_agent_node_starts_the_server_and_answers_from_it(
    home: Path, server: HttpServer, tmp_path: Path
) -> None:
    def a_model(body: dict[str, Any]) -> Message:
        if found := results_in(body):
            return {"content": json.loads(found[0])["result"]["records"][0]["title"]}
        names = {tool["function"]["name"].partition("_")[0] for tool in body["tools"]}
        assert names == {"Project", "Task"}
        return {"tool_calls": [call("Task_list", {"filter": {"status": "doing"}})]}

    with running_model(a_model) as model:
        variables = {"OPENAI_API_KEY": MODEL_KEY, "OPENAI_BASE_URL": model.url}
        printed = run_programs(home / "clients" / "llm_agent.py", **variables)

    assert printed == ["Measure the shelves\n"]
