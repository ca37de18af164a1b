from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from kailash_mcp_prod.starter import starter_files

HOME = Path("/srv/my shop $5")
PYTHON = "/opt/the venv/bin/python"
CLIENTS = {
    "clients/claude_desktop_config.json": "mcpServers",
    "clients/.cursor/mcp.json": "mcpServers",
    "clients/.vscode/mcp.json": "servers",
}


def test_programs_are_programs_whatever_the_paths() -> None:
    files = starter_files(Path('/srv/a "quoted" one'), PYTHON)

    programs = [name for name in files if name.endswith(".py")]
    assert len(programs) == 3
    for name in programs:
        ast.parse(files[name])


@pytest.mark.parametrize("home", ["/srv/a 'b' \"c\" \\d $e", "/srv/Büro/\N{GRINNING FACE}"])
def test_the_program_of_an_agent_names_the_paths_as_they_are(home: str) -> None:
    program = ast.parse(starter_files(Path(home), f"{home}/python")["clients/llm_agent.py"])
    [server] = [
        each.value
        for each in program.body
        if isinstance(each, ast.AnnAssign) and ast.unparse(each.target) == "SERVER"
    ]
    assert server is not None

    told = ast.literal_eval(server)
    assert told["command"] == f"{home}/python"
    assert told["env"] == {"PYTHONPATH": home, "MCP_CONFIG_FILE": f"{home}/settings.jsonc"}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_given_absolute_paths_and_no_secret(name: str) -> None:
    entry = json.loads(starter_files(HOME, PYTHON, environment=True)[name])[CLIENTS[name]]

    assert entry["kailash"]["command"] == PYTHON
    assert entry["kailash"]["env"] == {
        "PYTHONPATH": str(HOME),
        "MCP_CONFIG_FILE": str(HOME / "settings.jsonc"),
    }


def test_the_example_of_the_environment_holds_no_secret() -> None:
    files = starter_files(HOME, PYTHON)

    assert ".env" not in files
    for name in ("JWT_SECRET", "API_KEYS", "MCP_API_KEY", "DATABASE_URL"):
        assert f"\n{name}=\n" in files[".env.example"]


def test_the_environment_has_new_secrets_that_a_shell_reads(tmp_path: Path) -> None:
    one, other = (starter_files(HOME, PYTHON, environment=True)[".env"] for _ in range(2))
    file = tmp_path / ".env"
    file.write_text(one)
    told = subprocess.run(
        ["sh", "-c", f'. {file}; printf "%s\n" "$JWT_SECRET" "$API_KEYS" "$MCP_API_KEY"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    secret, keys, key = told.splitlines()

    assert len(secret) >= 48
    assert json.loads(keys) == {key: {"agent_id": "owner", "permissions": ["*"]}}
    assert secret not in other
    assert key not in other
