"""Each message of docs/troubleshooting.md comes when it should, and what helps there works."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from kailash_mcp_prod import ServerConfig
from kailash_mcp_prod.errors import (
    CircuitOpenError,
    ConfigError,
    DatabaseStartupError,
    StartupError,
    UnavailableError,
)
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.models_loader import load_dataflow
from kailash_mcp_prod.records.connecting import wait_for_database
from kailash_mcp_prod.transports.listening import Listener
from tests.e2e.servers import DEVELOPMENT, ROOT, HttpServer, serving
from tests.e2e.snippets import only, run_in, snippets

PAGE = ROOT / "docs" / "troubleshooting.md"
MESSAGES = [text.strip() for text in snippets(PAGE, "text")]
CALLS_A_MINUTE = 6

SETTINGS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "authentication is on": ({}, {}),
    "jwt_secret needs": ({}, {"JWT_SECRET": "short"}),
    "without authentication": ({"enable_auth": False, "host": "0.0.0.0"}, {}),
    "Unknown configuration key": ({"enable_auth": False}, {"MCP_CONFIG_FILE": "config.json"}),
}
PROVOKED = [
    *SETTINGS,
    *("There is no module", "PostgreSQL can't be reached", "Can't listen on"),
    *("Unknown tool", "The database has failed", "More than", "cursor:", "The Host"),
]


def message(start: str) -> str:
    return only(MESSAGES, start)


def test_every_message_is_provoked_here() -> None:
    assert [text for text in MESSAGES if not text.startswith(tuple(PROVOKED))] == []
    assert len(MESSAGES) == len(PROVOKED)


@pytest.mark.parametrize("start", SETTINGS)
def test_settings_that_are_refused_say_why(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, variables = SETTINGS[start]
    (tmp_path / "config.json").write_text('{"prot": 3001}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        ServerConfig.load(flags)

    assert str(refused.value) == message(start)


def test_models_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ConfigError) as refused:
        load_dataflow("shop:db", None)

    assert str(refused.value).replace(str(tmp_path), "/srv/app") == message("There is no module")


async def test_a_database_that_does_not_answer_is_told() -> None:
    with pytest.raises(DatabaseStartupError) as refused:
        await wait_for_database("postgresql://app@127.0.0.1:1/app", 0)

    assert str(refused.value).startswith(message("PostgreSQL can't be reached"))


def test_a_port_that_is_taken_is_named() -> None:
    async def application(*_: Any) -> None:
        """Is never asked."""

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError) as refused:
            Listener(application, "127.0.0.1", port)

    assert str(refused.value) == message("Can't listen on").replace("3001", str(port))


def test_an_open_circuit_says_when_to_try_again() -> None:
    config = ServerConfig(enable_auth=False)
    threshold = config.circuit_breaker_failure_threshold
    breakers = Breakers(threshold, config.circuit_breaker_recovery_seconds, clock=lambda: 0.0)
    for _ in range(threshold):
        with suppress(UnavailableError), breakers.around("database", "Company_list"):
            raise UnavailableError("Away.")

    with pytest.raises(CircuitOpenError) as refused:
        breakers.check("database", "Company_list")
    assert str(refused.value) == message("The database has failed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    flags = [*DEVELOPMENT, "--rate-limit-per-minute", str(CALLS_A_MINUTE)]
    with serving(tmp_path_factory.mktemp("troubled"), *flags) as running:
        yield running


def error_of(answer: httpx.Response) -> Any:
    return answer.json()["error"]


def test_calls_that_fail_say_why(server: HttpServer) -> None:
    commands = only(snippets(PAGE, "sh"), "curl -s http://127.0.0.1:3002/health").splitlines()
    places = {"http://127.0.0.1:3002": server.rest, "http://127.0.0.1:3001/mcp": server.mcp}
    for place, here in places.items():
        commands = [line.replace(place, here) for line in commands]
    health, tools, metrics = (run_in(server.workdir, line) for line in commands)
    assert json.loads(health)["health_status"] in {"healthy", "degraded"}  # This machine is busy.
    assert "Company_list" in tools
    assert "server_metrics" in json.loads(metrics)

    with httpx.Client(base_url=server.rest, timeout=30) as client:
        unknown = client.post("/tools/Company_lst", json={})
        cursor = client.post("/tools/Company_list", json={"cursor": "x" * 80})
        host = client.get("/tools", headers={"Host": "mcp.example.com"})
        while (last := client.post("/tools/Company_list", json={})).status_code == 200:
            pass

    assert error_of(unknown)["message"] == message("Unknown tool")
    assert error_of(cursor)["message"] == message("cursor:")
    assert error_of(host)["message"] == message("The Host")
    assert last.status_code == 429
    wait = error_of(last)["retry_after_seconds"]
    assert error_of(last)["message"] == message("More than").replace("60", str(wait))


def test_the_limit_of_the_page_is_a_setting() -> None:
    [text] = snippets(PAGE, "json")
    assert ServerConfig(enable_auth=False, **json.loads(text)).rate_limit_per_minute > 6000


async def test_the_questions_in_python_are_answered(tmp_path: Path) -> None:
    blocks = snippets(PAGE, "python")
    asked = {name for text in blocks for name in re.findall(r'call_tool\("(\w+)"', text)}
    assert asked == {"get_available_tools", "health_check", "get_server_metrics"}
    body = "".join(f"        {line}\n" for text in blocks for line in text.splitlines())
    program = (
        "import asyncio\n\nfrom kailash_mcp_prod import ProductionMCPServer, ServerConfig\n\n\n"
        "async def main():\n"
        "    config = ServerConfig(port=0, mode='development')\n"
        f"    async with ProductionMCPServer(config) as server:\n{body}\n\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "asking.py").write_text(program, encoding="utf-8")
    names, components, *_ = run_in(tmp_path, "python asking.py").splitlines()

    assert "'Company_list'" in names
    assert "'database': 'healthy'" in components
