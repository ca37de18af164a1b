"""What `docs/agents.md` says of tools and bounds is what there is, and the examples run."""

from __future__ import annotations

import re
import subprocess
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kailash_mcp_prod.sessions import agent_values as sessions
from kailash_mcp_prod.sessions import collaboration_values as work
from kailash_mcp_prod.sessions.agent_tools import agent_session_tools
from kailash_mcp_prod.sessions.collaboration_tools import collaboration_tools
from kailash_mcp_prod.tools.spec import ToolSpec
from kailash_mcp_prod.tools.surfaces.groups import SESSIONS
from tests.e2e.forked import commands
from tests.e2e.record_tools import AGENTS
from tests.e2e.servers import ROOT, HttpServer, environment
from tests.e2e.snippets import only, run_in, snippets

PAGE = ROOT / "docs" / "agents.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = {
    "agent_sessions.py": [
        "pricing has a session with ['quotes']",
        "the context is at version 1",
        "conflict: expected_version",
        "4 calls, 1 errors",
        "not_found: session_id",
    ],
    "collaboration.py": [
        "sales invites pricing to 'Quote for Nordlicht'",
        "conflict: held by pricing",
        "pricing: The price is there.",
        "conflict: expected_version",
        "1. sales created",
    ],
}
"""How lines begin that the examples print."""


def tools() -> list[ToolSpec]:
    """The tools as every server has them."""
    nothing = cast("Any", SimpleNamespace(timeout_seconds=3600))
    return [*agent_session_tools(nothing), *collaboration_tools(nothing)]


def test_every_tool_is_documented_with_its_arguments() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .* \|$", TEXT, re.MULTILINE)
    documented = {
        name: set(re.findall(r"`(\w+\??)`", re.sub(r"\(.*?\)", "", arguments)))
        for name, arguments in rows
        if name in AGENTS
    }

    assert list(documented) == AGENTS == [tool.name for tool in tools()]
    for tool in tools():
        required = tool.input_schema.get("required", ())
        names = {
            name if name in required else f"{name}?" for name in tool.input_schema["properties"]
        }
        if tool.name == "write_blackboard":
            # One of the two is required.
            names = (names - {"value?", "delete?"}) | {"value", "delete"}
        assert documented[tool.name] == names


def test_the_tool_of_the_surface_compact_is_all_of_them() -> None:
    assert list(SESSIONS.actions.values()) == AGENTS


@pytest.mark.parametrize(
    "bound",
    [
        sessions.MAX_SESSIONS,
        sessions.MAX_CONTEXT_KEYS,
        sessions.MAX_CONTEXT_BYTES,
        sessions.MAX_METADATA_BYTES,
        work.MAX_WORKSPACES,
        work.MAX_MEMBERS,
        work.MAX_TTL_MINUTES,
        work.TTL_MINUTES,
        work.MAX_ENTRIES,
        work.MAX_BOARD_BYTES,
        work.MAX_ENTRY_BYTES,
        work.MAX_MESSAGES,
        work.MAX_MESSAGE_BYTES,
        work.MAX_LEASES,
        work.MAX_LEASE_SECONDS,
        work.MAX_CHANGES,
    ],
)
def test_every_bound_is_documented(bound: int) -> None:
    assert re.search(rf"(?<![\d,]){bound:,}(?!,?\d)", TEXT.partition("## How much")[2])


def test_the_call_of_the_page_makes_a_session(development_server: HttpServer) -> None:
    command = only(snippets(PAGE, "sh"), "curl")
    answer = run_in(ROOT, command.replace("http://127.0.0.1:3002", development_server.rest))

    assert '"session_id":"as_' in answer
    assert '"capabilities":["quotes"]' in answer


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_and_is_described(name: str) -> None:
    readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert f"]({name})" in readme
    assert f"python examples/{name}" in readme
    done = subprocess.run(
        [commands() / "python-file", f"examples/{name}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for start in EXAMPLES[name]:
        assert any(line.startswith(start) for line in done.stdout.splitlines()), start
