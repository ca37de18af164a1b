"""Kailash's agent nodes, the stock one and ours, at work on the reference application."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.agent_jobs import run_jobs, run_programs, settings_for
from tests.e2e.record_tools import ALL_TOOLS
from tests.e2e.servers import ROOT, HttpServer, environment, serving
from tests.e2e.snippets import snippets
from tests.interop.peers import peer_python, run_client
from tests.model_server import (
    Message,
    ModelServer,
    call,
    results_in,
    running_model,
    user_of,
)

KEY = "a-key-for-the-tests-of-the-agent"
SECRET = "a-secret-for-the-tests-of-the-agent"
TOKEN = jwt.encode(
    {"sub": "agent", "exp": 4_000_000_000, "permissions": ["*"]}, SECRET, algorithm="HS256"
)
FORGED = jwt.encode({"sub": "agent", "exp": 4_000_000_000}, SECRET[::-1], algorithm="HS256")
SETTINGS = {
    "API_KEYS": json.dumps({KEY: {"agent_id": "agent", "permissions": ["*"]}}),
    "JWT_SECRET": SECRET,
}
CALLS: list[Any] = [
    ["Company_create", {"data": {"name": "Made by an agent"}}],
    ["Company_list", {"filter": {"name": "Made by an agent"}}],
]
STOCK = "LLMAgentNode"
OURS = "MCPLLMAgentNode"
WAYS = ["stdio with a key", "stdio with a token", "HTTP with a key", "HTTP with a token"]

PAGE = ROOT / "docs" / "llm-agent-node.md"
PAGE_KEY = "the-key-of-the-agent"
EXAMPLE = ROOT / "examples" / "llm_agent.py"

# The environment may have to be made, and the stock node starts a stdio server for each call.
pytestmark = pytest.mark.timeout(240)


def a_model(body: dict[str, Any]) -> Message:
    """Creates the company that it is told of, lists such companies, and says what it has read."""
    name = user_of(body).removeprefix("Create ")
    results = results_in(body)
    if not results:
        return {"tool_calls": [call("Company_create", {"data": {"name": name}})]}
    if len(results) == 1:
        return {"tool_calls": [call("Company_list", {"filter": {"name": name}}, 2)]}
    result = json.loads(results[1])
    if "result" not in result:
        return {"content": f"I could not read this: {result['error']}"}
    records = result["result"]["records"]
    names = ", ".join(record["name"] for record in records)
    return {"content": f"There is {len(records)} such company: {names}"}


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with running_model(a_model) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    with serving(tmp_path_factory.mktemp("guarded"), settings=SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all servers over stdio run, so that they start from one manifest."""
    return tmp_path_factory.mktemp("agents")


def stdio_command() -> list[str]:
    return [str(peer_python("agent")), "-m", "kailash_mcp_prod", "serve", "--transport", "stdio"]


def stdio_settings(workdir: Path) -> dict[str, str]:
    return {**SETTINGS, "MCP_API_KEY": KEY, "DATABASE_URL": f"sqlite:///{workdir / 'agent.db'}"}


def servers_by_way(http: HttpServer, workdir: Path) -> dict[str, dict[str, Any]]:
    """The stock node's configuration of a server, by the ways that it can be reached."""
    command, *args = stdio_command()
    started = {"name": "kailash", "transport": "stdio", "command": command, "args": args}
    variables = {"PYTHONPATH": str(ROOT), **stdio_settings(workdir)}
    with_token = {name: value for name, value in variables.items() if name != "MCP_API_KEY"}
    running = {"name": "kailash", "transport": "http", "url": http.mcp}
    entries = [
        {**started, "env": variables},
        {**started, "env": {**with_token, "MCP_TOKEN": TOKEN}},
        {**running, "auth": {"type": "api_key", "key": KEY}},
        {**running, "auth": {"type": "bearer", "token": TOKEN}},
    ]
    return dict(zip(WAYS, entries, strict=True))


@dataclass(frozen=True)
class Ran:
    """What has come of the jobs of one node."""

    reports: dict[str, Any]
    log: str
    bodies: list[dict[str, Any]]
    requests: list[str]

    def answer(self, job: str) -> str:
        report = self.reports[job]
        assert not report.get("failed"), report
        answer: str = report["response"]["content"]
        return answer

    def bodies_of(self, job: str) -> list[dict[str, Any]]:
        return [body for body in self.bodies if user_of(body).endswith(job)]


def ran(model: ModelServer, jobs: dict[str, dict[str, Any]], workdir: Path) -> Ran:
    before = len(model.bodies)
    reports, log = run_jobs(jobs, workdir)
    return Ran(reports, log, model.bodies[before:], model.requests[before:])


@pytest.fixture(scope="module")
def stock(model: ModelServer, guarded_server: HttpServer, workdir: Path) -> Ran:
    jobs = {
        way: {
            "node": STOCK,
            "settings": settings_for(
                model,
                f"Create stock, {way}",
                mcp_servers=[entry],
                auto_discover_tools=True,
                auto_execute_tools=True,
                generation_config={"tool_choice": "auto"},
            ),
        }
        for way, entry in servers_by_way(guarded_server, workdir).items()
    }
    return ran(model, jobs, workdir)


@pytest.fixture(scope="module")
def ours(model: ModelServer, guarded_server: HttpServer, workdir: Path) -> Ran:
    def job(name: str, entry: dict[str, Any], runtime: str = "local") -> dict[str, Any]:
        settings = settings_for(
            model, f"Create ours, {name}", mcp_servers=[entry], tools_to_use=["Company_*"]
        )
        return {"node": OURS, "settings": settings, "runtime": runtime}

    entries = servers_by_way(guarded_server, workdir)
    entries["jwt"] = {"url": guarded_server.mcp, "auth": {"type": "jwt", "token": TOKEN}}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    entries["headers"] = {**entries["HTTP with a key"], "auth": None, "headers": headers}
    entries["wrong"] = {**entries["jwt"], "name": "shop", "auth": {"type": "jwt", "token": FORGED}}
    jobs = {name: job(name, entry) for name, entry in entries.items()}
    jobs["async"] = job("async", entries["HTTP with a key"], "async")
    return ran(model, jobs, workdir)


@pytest.mark.parametrize("way", WAYS)
def test_the_stock_node_calls_our_tools_and_cannot_tell_its_model_the_result(
    stock: Ran, way: str
) -> None:
    assert stock.reports[way]["context"]["tools_available"] == len(ALL_TOOLS)
    assert stock.reports[way]["context"]["tools_executed"] == 2
    answer = stock.answer(way)
    assert answer.startswith("I could not read this: ")
    assert answer.endswith("Object of type CallToolResult is not JSON serializable")


def test_the_stock_node_has_created_the_companies_all_the_same(
    stock: Ran, guarded_server: HttpServer
) -> None:
    created = f"stock, {WAYS[2]}"
    listed = httpx.post(
        f"{guarded_server.rest}/tools/Company_list",
        json={"filter": {"name": created}},
        headers={"X-API-Key": KEY},
    ).json()
    assert [record["name"] for record in listed["records"]] == [created]


def test_the_stock_node_sends_the_credentials_to_the_provider(stock: Ran) -> None:
    for way, secret in zip(WAYS, [KEY, TOKEN, KEY, TOKEN], strict=True):
        [first, *_] = stock.bodies_of(way)
        assert secret in json.dumps(first["tools"][0]["function"]["mcp_server_config"])


@pytest.mark.parametrize("way", [*WAYS, "jwt", "headers", "async"])
def test_our_node_creates_lists_and_answers_from_the_result(ours: Ran, way: str) -> None:
    assert ours.answer(way) == f"There is 1 such company: ours, {way}"


def test_our_node_offers_the_tools_to_use_and_nothing_beside_them(ours: Ran) -> None:
    wanted = [name for name in ALL_TOOLS if name.startswith("Company_")]
    for body in ours.bodies:
        assert [tool["function"]["name"] for tool in body["tools"]] == wanted
        assert {key for tool in body["tools"] for key in tool["function"]} == {
            "name",
            "description",
            "parameters",
        }
        assert body["tool_choice"] == "auto"
        assert [message["role"] for message in body["messages"]][:1] == ["user"]


def test_no_secret_is_in_any_request_to_the_provider_nor_in_outputs_and_logs(ours: Ran) -> None:
    assert len(ours.requests) == 7 * 3
    for secret in (KEY, TOKEN, FORGED, SECRET):
        assert [request for request in ours.requests if secret in request] == []
        assert secret not in json.dumps(ours.reports)
        assert [line for line in ours.log.splitlines() if secret in line] == []


def test_a_credential_that_is_refused_is_an_error_before_the_model_is_asked(ours: Ran) -> None:
    assert ours.reports["wrong"]["failed"] is True
    assert ours.reports["wrong"]["error"].endswith(
        "MCP server 'shop': its credential is missing or not accepted (HTTP 401)."
    )
    assert ours.bodies_of("wrong") == []


@pytest.fixture(scope="module")
def programs(
    model: ModelServer, guarded_server: HttpServer, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """What the programs of the page and the example print."""
    workdir = tmp_path_factory.mktemp("programs")
    texts = snippets(PAGE, "python")
    assert len(texts) == 3
    repaired = texts[2].replace(
        "kaizen.nodes.ai.llm_agent import LLMAgentNode",
        "kailash_mcp_prod.agents import MCPLLMAgentNode",
    )
    assert repaired != texts[2]
    files = [workdir / f"{number}.py" for number in range(4)]
    for file, text in zip(files, [*texts, repaired], strict=True):
        file.write_text(
            text.replace("http://127.0.0.1:3001/mcp", guarded_server.mcp)
            .replace(PAGE_KEY, KEY)
            .replace(
                '"model": "gpt-4o-mini",', f'"model": "gpt-4o-mini", "base_url": "{model.url}",'
            )
        )
    variables = {
        "OPENAI_API_KEY": "sk-a-key-for-the-local-model",
        "OPENAI_BASE_URL": model.url,
        "MCP_URL": guarded_server.mcp,
        "MCP_TOKEN": TOKEN,
        "QUESTION": "Create an example",
    }
    return run_programs(*files, EXAMPLE, **variables)


def test_the_page_starts_quickly_with_either_node(programs: list[str]) -> None:
    assert programs[0] == "There is 1 such company: Nordlicht\n"
    assert programs[1].startswith("I could not read this: ")


def test_the_defect_is_reproduced_as_the_page_shows(
    programs: list[str], guarded_server: HttpServer
) -> None:
    printed = [
        text.replace(guarded_server.mcp, "http://127.0.0.1:3001/mcp").replace(KEY, PAGE_KEY)
        for text in programs[2:4]
    ]
    assert printed == snippets(PAGE, "text")


def test_the_example_answers_from_the_result(programs: list[str]) -> None:
    assert programs[4] == "There is 1 such company: an example\n"


def assert_client_created_and_listed(report: dict[str, Any]) -> None:
    assert report["tools"] == ALL_TOOLS
    created, listed = report["results"]
    assert created["structured"]["name"] == "Made by an agent"
    assert listed["structured"]["records"] == [created["structured"]]
    assert json.loads(listed["text"]) == listed["structured"]


def test_the_client_of_kailash_mcp_creates_and_lists_over_stdio(
    workdir: Path,
) -> None:
    report = run_client(
        "agent",
        "stdio",
        "--",
        *stdio_command(),
        calls=CALLS,
        environment=environment(**stdio_settings(workdir)),
        workdir=workdir,
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
