"""What the README and the docs say is done here as written, on free ports and temporary paths."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.records.executor import RecordOperation
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.tools.surfaces.any_tool import CALL_TOOL
from kailash_mcp_prod.tools.surfaces.compact import DESCRIBE_MODELS
from kailash_mcp_prod.tools.surfaces.names import CHOICES
from kailash_mcp_prod.tools.surfaces.names import MODELS as MODELS_PREFIX
from kailash_mcp_prod.tools.surfaces.searching import DESCRIBE_TOOL, SEARCH_TOOLS
from kailash_mcp_prod.tools.surfaces.shortcuts import SHORTCUTS
from scripts.generate_docs import TARGET, render
from tests.e2e.record_tools import AGENTS, ALL_TOOLS, MODELS, MONITORS, READ_BY_AGENTS, UTILITIES
from tests.e2e.servers import ROOT, HttpServer, environment, serving
from tests.e2e.snippets import only, run_in, snippets
from tests.unit.records.sqlite_store import running_store

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


README = ROOT / "README.md"
SHELL = snippets(README, "sh")
AGENT_CONFIGURATIONS = [json.loads(text) for text in snippets(README, "json")]


def shell_with(start: str) -> str:
    return only(SHELL, start)


def test_every_shell_snippet_of_the_readme_is_covered_by_a_test() -> None:
    assert [command.split("\n")[0].strip(" \\") for command in SHELL] == [
        "make serve",
        "make test",
        "curl -s http://127.0.0.1:3002/tools/Company_create",
        "curl -s http://127.0.0.1:3002/tools/Company_list",
        ".venv/bin/kailash-mcp-prod tools",
        ".venv/bin/kailash-mcp-prod call Company_list "
        """'{"sort": ["-created_at"], "limit": 3}'""",
        "pip install 'kailash-mcp-prod[postgres]'",
        "kailash-mcp-prod init shop",
        "kailash-mcp-prod serve --mode development --models shop:db "
        "--database-url sqlite:///shop.db",
        """export API_KEYS='{"a-long-random-key": {"agent_id": "reporting", """
        """"permissions": ["*:read"]}}'""",
    ]


def test_every_surface_and_every_tool_of_it_is_documented() -> None:
    page = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    section = page.partition("\n## Surfaces\n")[2].partition("\n## ")[0]
    tools = [*(each.name for each in SHORTCUTS), DESCRIBE_MODELS, CALL_TOOL]

    for name in (*CHOICES, f"{MODELS_PREFIX}Company,Quote"):
        assert f"`{name}`" in section
        assert f"`/mcp/{name}`" in section
    for name in (*tools, SEARCH_TOOLS, DESCRIBE_TOOL):
        assert f"`{name}`" in section


@pytest.mark.parametrize("target", ["serve", "test"])
def test_the_two_commands_are_targets_of_make(target: str) -> None:
    subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True, timeout=30
    )


def test_the_curl_commands_create_a_company_and_find_it(
    development_server: HttpServer, tmp_path: Path
) -> None:
    def run(start: str) -> Any:
        command = shell_with(start).replace("http://127.0.0.1:3002", development_server.rest)
        return json.loads(run_in(tmp_path, command))

    created = run("curl -s http://127.0.0.1:3002/tools/Company_create")
    listed = run("curl -s http://127.0.0.1:3002/tools/Company_list")
    assert {"id": created["id"], "name": "Nordlicht GmbH"} in listed["records"]


def test_the_commands_without_a_server_list_and_call_tools(tmp_path: Path) -> None:
    listed = run_in(
        tmp_path,
        shell_with(".venv/bin/kailash-mcp-prod tools").removeprefix(".venv/bin/"),
        anew=True,
    )
    assert "Company_create" in listed
    called = run_in(
        tmp_path, shell_with(".venv/bin/kailash-mcp-prod call").removeprefix(".venv/bin/")
    )
    assert json.loads(called)["limit"] == 3


def test_the_application_of_the_readme_is_served_as_it_says(tmp_path: Path) -> None:
    [application] = [text for text in snippets(README, "python") if text.startswith("# shop.py")]
    (tmp_path / "shop.py").write_text(application, encoding="utf-8")
    flags = shlex.split(shell_with("kailash-mcp-prod serve --mode development"))[2:]
    with serving(tmp_path, *flags) as server:
        call = f"curl -s {server.rest}/tools/Product_create -H 'Content-Type: application/json'"
        data = json.dumps({"data": {"name": "Lamp", "price": 19.5}})
        created = json.loads(run_in(tmp_path, f"{call} -d {shlex.quote(data)}"))
        tools = json.loads(run_in(tmp_path, f"curl -s {server.rest}/tools"))["tools"]
    assert (created["name"], created["price"]) == ("Lamp", 19.5)
    assert (tmp_path / "shop.db").is_file()
    create = tools[0]["inputSchema"]["properties"]["data"]["properties"]
    assert create["price"]["description"] == "Net price in euro."


def test_the_stdio_configuration_for_claude_connects(tmp_path: Path) -> None:
    entry = AGENT_CONFIGURATIONS[0]["mcpServers"]["kailash"]
    place = {
        "/path/to/kailash-mcp-prod/.venv/bin/python": sys.executable,
        "/path/to/kailash-mcp-prod": str(ROOT),
        "sqlite:////path/to/app.db": f"sqlite:///{tmp_path / 'app.db'}",
    }
    settings = {name: place[value] for name, value in entry["env"].items()}
    parameters = StdioServerParameters(
        command=place[entry["command"]],
        args=entry["args"],
        env={**environment(), **settings},
        cwd=tmp_path,
    )

    async def names_of_tools() -> list[str]:
        async with (
            stdio_client(parameters) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return [tool.name for tool in (await session.list_tools()).tools]

    assert asyncio.run(names_of_tools()) == ALL_TOOLS


@pytest.mark.parametrize(
    "entry",
    [
        AGENT_CONFIGURATIONS[1]["servers"]["kailash"],
        AGENT_CONFIGURATIONS[2]["mcpServers"]["kailash"],
    ],
    ids=["VS Code", "Cursor"],
)
def test_the_http_configurations_connect(
    entry: dict[str, str], development_server: HttpServer
) -> None:
    assert entry["url"] == "http://127.0.0.1:3001/mcp"

    async def names_of_tools() -> list[str]:
        async with (
            streamable_http_client(development_server.mcp) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            return [tool.name for tool in (await session.list_tools()).tools]

    assert asyncio.run(names_of_tools()) == ALL_TOOLS


def test_the_python_example_calls_a_tool(tmp_path: Path) -> None:
    [example] = [text for text in snippets(README, "python") if "ProductionMCPServer" in text]
    assert "port=4001" in example
    program = (
        "import asyncio\n"
        + example.replace("port=4001", "port=0")
        + "\nprint(asyncio.run(newest_company()))\nserver.stop_mcp_server()\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert completed.stdout.strip()


def test_the_server_for_a_network_asks_for_the_key_of_the_readme(tmp_path: Path) -> None:
    block = shell_with("export API_KEYS")
    exported = dict(re.findall(r"export (\w+)='(.*)'", block))
    [serve] = [line for line in block.splitlines() if line.startswith("kailash-mcp-prod")]
    # The name of the host stays, but nothing listens beyond this machine.
    flags = shlex.split(serve)[2:]
    flags[flags.index("0.0.0.0")] = "127.0.0.1"
    settings = {
        "API_KEYS": exported["API_KEYS"],
        "DATABASE_URL": f"sqlite:///{tmp_path / 'app.db'}",
    }
    with serving(tmp_path, *flags, settings=settings) as server:
        listing = f"curl -s {server.rest}/tools -H 'Host: mcp.example.com'"
        refused = json.loads(run_in(tmp_path, listing))
        allowed = json.loads(run_in(tmp_path, f"{listing} -H 'X-API-Key: a-long-random-key'"))
    assert refused["error"]["code"] == "unauthenticated"
    readable = [f"{model}_{operation}" for model in MODELS for operation in ("read", "list")]
    assert [tool["name"] for tool in allowed["tools"]] == [
        *readable,
        *UTILITIES,
        *(name for name in AGENTS if name in READ_BY_AGENTS),
        "get_workflow_session_status",
        *MONITORS,
    ]


def test_the_page_of_transports_serves_and_calls_over_websocket(tmp_path: Path) -> None:
    page = ROOT / "docs" / "transports.md"
    [serve] = snippets(page, "sh")
    [example] = snippets(page, "python")
    with serving(tmp_path, *shlex.split(serve)[2:]) as server:
        program = tmp_path / "call.py"
        program.write_text(example.replace("ws://127.0.0.1:3001/ws", server.ws), encoding="utf-8")
        companies = json.loads(run_in(tmp_path, "python call.py"))
    assert len(companies["records"]) == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_are_valid_and_links_lead_somewhere(page: Path) -> None:
    for text in snippets(page, "python"):
        ast.parse(text)
    for text in snippets(page, "json"):
        json.loads(text)
    for target, anchor in re.findall(
        r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text("utf-8")
    ):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links to them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_page_of_settings_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == render()


def test_every_setting_and_error_code_is_documented() -> None:
    settings = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert [key for key in ServerConfig.model_fields if f"`{key}`" not in settings] == []
    tools = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    codes = {kind.code: kind.http_status for kind in _kinds(ServerError)}
    rows = dict(re.findall(r"\| `(\w+)` \| (\d{3}) \|", tools))
    assert {code: int(status) for code, status in rows.items()} == codes


async def test_the_aggregation_is_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    section = page.partition("\n## Aggregates\n")[2].partition("\n## ")[0]
    asked, told = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", section, re.S))
    fields = {"id": Kind.TEXT, "status": Kind.TEXT, "total": Kind.DECIMAL}
    deal = Model(
        "Deal",
        "deals",
        "",
        tuple(
            Field(name, FieldType(kind, nullable=name != "id"), "", required=False)
            for name, kind in fields.items()
        ),
    )
    rows = [("paid", "10"), ("paid", "2.25"), ("paid", "0.25"), (None, "2.00")]
    async with running_store(tmp_path / "deals.db", deal) as store:
        given = [{"status": status, "total": Decimal(total)} for status, total in rows]
        await store.create_many(deal, deal.complete_all(given))

        assert await RecordOperation(store, deal, Operation.AGGREGATE)(asked) == told


def _kinds(kind: type[ServerError]) -> list[type[ServerError]]:
    """The direct kinds of error, and the root itself as `internal`."""
    return [each for each in kind.__subclasses__() if each.__module__ == ServerError.__module__]


def test_the_call_with_an_idempotency_key_creates_one_record(
    development_server: HttpServer, tmp_path: Path
) -> None:
    [command] = snippets(ROOT / "docs" / "idempotency.md", "sh")
    output = run_in(tmp_path, command.replace("http://127.0.0.1:3002", development_server.rest))

    first, _, again = output.partition("}{")
    assert json.loads(first + "}") == json.loads("{" + again)


def test_the_settings_of_the_cache_are_settings(tmp_path: Path) -> None:
    [text] = snippets(ROOT / "docs" / "caching.md", "json")
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    config = ServerConfig.load({"enable_auth": False}, tmp_path / "config.json")

    assert config.enable_caching
