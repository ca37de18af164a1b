from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from kailash_mcp_prod.config import ServerConfig
from tests.e2e.forked import ForkedProcess
from tests.e2e.record_tools import ALL_TOOLS
from tests.e2e.servers import COMMAND, HttpServer, environment
from tests.json_schema import check_schema

SECRETS = {
    *("jwt_secret", "api_keys", "api_key", "token", "cursor_secret"),
    *("bearer_tokens", "introspection_client_secret", "audit_former_secrets"),
}
KEYS = '{"a-key": {"permissions": ["*"]}}'
NOBODY = "http://127.0.0.1:1/mcp"


def command(
    *arguments: str, workdir: Path, settings: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=workdir,
        env=environment(COLUMNS="300", NO_COLOR="1", TERM="dumb", **(settings or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        try:
            output, errors = process.communicate(timeout=45)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, output, errors


def run(
    *arguments: str, workdir: Path, settings: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """The exit code, standard output and standard error of a command."""
    variables = environment(COLUMNS="300", NO_COLOR="1", TERM="dumb", **(settings or {}))
    with ForkedProcess(arguments, cwd=workdir, env=variables) as process:
        output, errors = process.communicate(45)
        return process.wait(), output, errors


def test_two_processes_print_the_same_tools_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = command("tools", "--json", workdir=tmp_path, settings={"PYTHONHASHSEED": "1"})
    second = command(
        "tools", "--json", workdir=tmp_path / "other", settings={"PYTHONHASHSEED": "2"}
    )
    (code, output, _), (other_code, other_output, _) = finish(first), finish(second)

    assert (code, other_code) == (0, 0)
    assert output.encode() == other_output.encode()
    tools = json.loads(output)
    assert [tool["name"] for tool in tools] == ALL_TOOLS
    for tool in tools:
        for schema in (tool["inputSchema"], tool["outputSchema"]):
            assert schema["type"] == "object"
            check_schema(schema)


def test_the_tools_of_a_running_server_are_listed(
    development_server: HttpServer, tmp_path: Path
) -> None:
    code, output, errors = run("tools", "--url", development_server.mcp, workdir=tmp_path)

    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == ALL_TOOLS
    assert errors == "142 tools\n"


def test_a_call_prints_its_result(development_server: HttpServer, tmp_path: Path) -> None:
    arguments = '{"filter": {"id": "company-acme"}, "fields": ["id"]}'
    url = ["--url", development_server.mcp]

    code, output, _ = run("call", "Company_list", arguments, *url, workdir=tmp_path)

    assert code == 0
    assert json.loads(output)["records"] == [{"id": "company-acme"}]


def test_a_call_starts_a_server_of_its_own_on_the_named_database(tmp_path: Path) -> None:
    data = '{"data": {"name": "From the shell"}}'
    database = ["--database-url", "sqlite:///named.db"]

    code, output, _ = run("call", "Company_create", data, *database, workdir=tmp_path)

    assert code == 0
    with closing(sqlite3.connect(tmp_path / "named.db")) as connection:
        stored = connection.execute("SELECT id, name FROM companies").fetchall()
    assert stored == [(json.loads(output)["id"], "From the shell")]


def test_a_failed_call_prints_its_error_and_exits_with_5(
    development_server: HttpServer, tmp_path: Path
) -> None:
    url = ["--url", development_server.mcp]

    code, output, _ = run("call", "Company_read", '{"id": "nobody"}', *url, workdir=tmp_path)

    assert code == 5
    assert json.loads(output)["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["call", "Company_list", "{"], 2, "no valid JSON"),
        (["call", "Company_list", "[]"], 2, "must be a JSON object"),
        (["call", "Company_list", "--url", NOBODY], 1, "could not be reached"),
        (["tools", "--url", NOBODY], 1, "could not be reached"),
        (["tools", "--models", "nowhere:db"], 1, "There is no module 'nowhere'"),
        (["serve", "--api-key", "secret"], 2, "No such option: --api-key"),
    ],
)
def test_a_command_that_can_t_be_done_says_why_on_standard_error(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    exit_code, output, errors = run(*arguments, workdir=tmp_path)

    assert (exit_code, output) == (code, "")
    assert said in errors
    assert "Traceback" not in errors


def test_an_unknown_tool_is_an_error_of_the_call(
    development_server: HttpServer, tmp_path: Path
) -> None:
    url = ["--url", development_server.mcp]

    code, output, errors = run("call", "Compny_list", "{}", *url, workdir=tmp_path)

    assert (code, output) == (1, "")
    assert "Did you mean Company_list" in errors


def test_the_help_of_serve_names_every_setting_but_the_secret_ones(tmp_path: Path) -> None:
    code, output, _ = run("serve", "--help", workdir=tmp_path)

    assert code == 0
    words = output.replace(",", " ").split()
    for name in ServerConfig.model_fields:
        assert (f"--{name.replace('_', '-')}" in words) is (name not in SECRETS), name
    for flag in ("--config", "--no-auth"):
        assert flag in words
    for variable in ("JWT_SECRET", "API_KEYS", "MCP_API_KEY", "MCP_TOKEN", "MCP_CURSOR_SECRET"):
        assert variable in output


@pytest.mark.parametrize(
    ("flags", "settings", "said"),
    [
        ([], {}, "no credential is configured"),
        ([], {"JWT_SECRET": "hunter2"}, "at least 32 bytes"),
        (["--auth-type", "api_key"], {"JWT_SECRET": "s" * 32}, "needs keys"),
        ([], {"API_KEYS": "hunter2"}, "api_keys: "),
        (["--no-auth", "--host", "0.0.0.0"], {}, "only listens on loopback"),
        (["--mode", "development", "--host", "::"], {}, "only listens on loopback"),
        (["--no-auth", "--port", "70000"], {}, "port: "),
        (["--no-auth", "--config", "missing.json"], {}, "does not exist"),
        (["--no-auth", "--config", "unknown.json"], {}, "Did you mean rate_limit_per_minute?"),
        (["--no-auth", "--config", "broken.json"], {}, "not valid JSON"),
        (["--transport", "stdio"], {"API_KEYS": KEYS, "MCP_API_KEY": "wrong"}, "MCP_API_KEY"),
        (["--no-auth", "--models", "nowhere:db"], {}, "There is no module 'nowhere'"),
    ],
)
def test_an_unsafe_or_wrong_configuration_is_refused(
    flags: list[str], settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "unknown.json").write_text('{"rate_limit_per_minut": 60}')
    (tmp_path / "broken.json").write_text("{")

    code, output, errors = run("serve", *flags, workdir=tmp_path, settings=settings)

    assert (code, output) == (1 if "MCP_API_KEY" in settings else 2, "")
    assert said in errors
    assert "Traceback" not in errors
    assert "hunter2" not in errors


def test_a_taken_port_is_refused_with_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output, errors = run("serve", "--no-auth", "--port", port, workdir=tmp_path)

    assert (code, output) == (1, "")
    assert f"127.0.0.1:{port}" in errors
    assert "Traceback" not in errors


MODEL = """
import os
from dataflow import DataFlow

db = DataFlow(
    os.environ["DATABASE_URL"], pool_size=20, enable_caching=False, enable_model_persistence=False
)

@db.model
class Thing:
    id: str
    value: complex
"""


@pytest.mark.parametrize(
    ("source", "said"),
    [("raise RuntimeError('spoilt')", "spoilt"), (MODEL, "Model Thing, field value")],
)
def test_models_that_can_t_be_served_are_refused_with_3(
    source: str, said: str, sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(source)
    flags = ["--no-auth", "--port", "0", "--models", "app:db"]
    settings = {"DATABASE_URL": sqlite_url}

    code, output, errors = run("serve", *flags, workdir=tmp_path, settings=settings)

    assert (code, output) == (3, "")
    assert said in errors


def test_an_unreachable_database_is_refused_with_4_without_its_password(tmp_path: Path) -> None:
    settings = {"DATABASE_URL": "postgresql://someone:hunter2@127.0.0.1:1/nothing"}

    code, output, errors = run(
        "serve", "--no-auth", "--port", "0", workdir=tmp_path, settings=settings
    )

    assert (code, output) == (4, "")
    assert "database" in errors
    assert "hunter2" not in errors
