"""What docs/quick-start.md tells four kinds of people is done here as written."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.agent_jobs import MODEL_KEY, run_programs
from tests.e2e.servers import ROOT, HttpServer, environment, serving
from tests.e2e.snippets import only, run_in, snippets
from tests.model_server import Message, call, results_in, running_model

DOCS = ROOT / "docs"
PAGE = DOCS / "quick-start.md"
SHELL = snippets(PAGE, "sh")
SECRET = "a-secret-of-forty-characters-for-the-docs"


@dataclass(frozen=True)
class Library:
    """The operator's server, its settings, and the key that was minted."""

    server: HttpServer
    settings: dict[str, str]
    key: str


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    home = tmp_path_factory.mktemp("library")
    [model] = snippets(DOCS / "index.md", "python")
    (home / "library.py").write_text(model, encoding="utf-8")
    exported = only(SHELL, "export DATABASE_URL")
    assert [line.split("=")[0] for line in exported.splitlines()] == [
        *("export DATABASE_URL", "export JWT_SECRET", "export MCP_KEY_STORE")
    ]
    settings = {
        "DATABASE_URL": f"sqlite:///{home / 'library.db'}",
        "JWT_SECRET": SECRET,
        "MCP_KEY_STORE": "true",
    }
    key = run_in(home, only(SHELL, "kailash-mcp-prod key mint"), **settings).strip()
    flags = shlex.split(only(SHELL, "kailash-mcp-prod serve --host"))[2:]
    # Nothing listens beyond this machine.
    flags[flags.index("0.0.0.0")] = "127.0.0.1"
    with serving(home, *flags, settings=settings) as server:
        yield Library(server, settings, key)


def test_the_operator_sees_health_tools_metrics_and_an_unbroken_audit(library: Library) -> None:
    home = library.server.workdir
    commands = only(SHELL, "curl -s http://127.0.0.1:3002/health").splitlines()
    ready, tools, metrics = (
        run_in(
            home,
            line.replace("http://127.0.0.1:3002", library.server.rest),
            REPORTING_KEY=library.key,
        )
        for line in commands
    )

    assert json.loads(ready)["health_status"] == "healthy"
    names = {each["name"] for each in json.loads(tools)["tools"]}
    assert {"Book_list", "health_check"} <= names
    assert "Book_create" not in names
    assert "mcp_tool_calls_total" in metrics
    run_in(home, only(SHELL, "kailash-mcp-prod audit verify"), **library.settings)


@pytest.mark.timeout(240)  # The environment of the agent may have to be made.
def test_the_agent_answers_from_the_tools(library: Library, tmp_path: Path) -> None:
    def a_model(body: dict[str, Any]) -> Message:
        results = results_in(body)
        if not results:
            return {"tool_calls": [call("Book_list", {})]}
        return {"content": f"There are {json.loads(results[0])['result']['count']} books."}

    program = only(snippets(PAGE, "python"), "import os")
    with running_model(a_model) as model:
        (tmp_path / "agent.py").write_text(
            program.replace("http://127.0.0.1:3001/mcp", library.server.mcp).replace(
                '"model": "gpt-4o-mini",', f'"model": "gpt-4o-mini", "base_url": "{model.url}",'
            ),
            encoding="utf-8",
        )
        [printed] = run_programs(
            tmp_path / "agent.py", OPENAI_API_KEY=MODEL_KEY, MCP_API_KEY=library.key
        )

    assert printed == "There are 0 books.\n"


def test_the_nexus_app_is_the_one_of_its_page_which_is_tested_there() -> None:
    page = DOCS / "nexus.md"

    assert only(snippets(PAGE, "python"), "from nexus") in snippets(page, "python")
    for start in ("kailash-mcp-prod serve --mode nexus", "curl -s http://127.0.0.1:8000"):
        assert only(SHELL, start) in snippets(page, "sh")


async def test_clients_start_the_server(tmp_path: Path) -> None:
    [model] = snippets(DOCS / "index.md", "python")
    (tmp_path / "library.py").write_text(model, encoding="utf-8")
    entry = json.loads(snippets(PAGE, "json")[0])["mcpServers"]["library"]
    place = {
        "/path/to/.venv/bin/python": sys.executable,
        "/path/to/application": f"{tmp_path}:{ROOT}",
        "sqlite:////path/to/library.db": f"sqlite:///{tmp_path / 'library.db'}",
    }
    settings = {name: place[value] for name, value in entry["env"].items()}
    parameters = StdioServerParameters(
        command=place[entry["command"]], args=entry["args"], env={**environment(), **settings}
    )
    async with AsyncExitStack() as stack:
        streams = await stack.enter_async_context(stdio_client(parameters))
        session = await stack.enter_async_context(ClientSession(*streams))
        await session.initialize()
        names = [tool.name for tool in (await session.list_tools()).tools]

    assert "Book_create" in names


def test_the_addresses_for_clients_are_those_of_the_readme_which_are_tested_there() -> None:
    def entries(page: Path) -> list[Any]:
        found = [json.loads(text) for text in snippets(page, "json")]
        return [next(iter(next(iter(each.values())).values())) for each in found[1:3]]

    assert entries(PAGE) == entries(ROOT / "README.md")
