"""`serve --transport stdio --connect URL`: official clients over stdio, the server over HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.exchanges import INITIALIZE, Stdio
from tests.e2e.record_tools import ALL_TOOLS, CALLS, assert_company_lived
from tests.e2e.servers import COMMAND, HttpServer, environment, running, serving
from tests.interop.peers import run_client

KEY = "a-key-of-the-server-behind-the-bridge"
SPEAKING = [
    pytest.param("sdk1", [], "2025-11-25", id="sdk1"),
    pytest.param("sdk2", ["--era", "legacy"], "2025-11-25", id="sdk2-legacy"),
    pytest.param("sdk2", ["--era", "auto"], "2026-07-28", id="sdk2-auto"),
    pytest.param("sdk2", ["--era", "modern"], "2026-07-28", id="sdk2-modern"),
]
HEAVY = {"dataflow", "kailash", "models", "mcp", "fastapi", "uvicorn", "sqlalchemy", "structlog"}

# The first test of a session may have to make the environments.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """The reference application, for who has the key."""
    settings = {"API_KEYS": f'{{"{KEY}": {{"permissions": ["*"]}}}}'}
    with serving(tmp_path_factory.mktemp("guarded"), settings=settings) as server:
        yield server


def bridge_to(url: str) -> list[str]:
    return ["--transport", "stdio", "--connect", url]


@pytest.mark.parametrize(("client", "options", "protocol"), SPEAKING)
def test_the_official_client_sees_all_tools_and_a_company_s_life_through_the_bridge(
    client: str,
    options: list[str],
    protocol: str,
    guarded_server: HttpServer,
    tmp_path: Path,
) -> None:
    command = [*COMMAND, "serve", *bridge_to(guarded_server.mcp)]

    report: dict[str, Any] = run_client(
        client,
        "stdio",
        *options,
        "--",
        *command,
        calls=CALLS,
        environment=environment(MCP_API_KEY=KEY),
        workdir=tmp_path,
    )

    assert report["protocol"] == protocol
    assert report["tools"] == ALL_TOOLS
    assert_company_lived(report["results"])


def test_a_bridge_imports_almost_nothing_and_keeps_its_key_to_itself(
    guarded_server: HttpServer, tmp_path: Path
) -> None:
    program = [sys.executable, "-X", "importtime", "-m", "kailash_mcp_prod", "serve"]
    with running(
        tmp_path,
        *bridge_to(guarded_server.mcp),
        settings={"MCP_API_KEY": KEY, "MCP_LOG_LEVEL": "DEBUG"},
        program=program,
    ) as process:
        client = Stdio(process)
        client.initialize()
        assert client.request("tools/list")["result"]["tools"]
        process.close_input()
        assert process.process.wait(20) == 0
        errors = process.errors.finish()

    imported = set(re.findall(r"^import time:.*\| +(\w+)$", errors, re.MULTILINE))
    assert "httpcore" in imported
    assert imported & HEAVY == set()
    assert KEY not in errors


def test_without_the_key_the_client_is_told_what_to_set(
    guarded_server: HttpServer, tmp_path: Path
) -> None:
    with running(tmp_path, *bridge_to(guarded_server.mcp)) as process:
        client = Stdio(process)
        refused = client.request("initialize", **INITIALIZE)

    assert "credential is required" in refused["error"]["message"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--connect", "http://127.0.0.1:1/mcp"], "connect needs --transport stdio"),
        (bridge_to("http://user:word@127.0.0.1:1/mcp"), "must not hold a user or password"),
        (bridge_to("http://mcp.example.com/mcp"), "everybody on the way can read it"),
    ],
)
def test_an_unsafe_bridge_is_refused(flags: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "serve", *flags],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(MCP_API_KEY=KEY),
    )

    assert done.returncode != 0
    assert done.stdout == ""
    assert said in done.stderr
    assert "word" not in done.stderr.replace("password", "")
    assert KEY not in done.stderr
