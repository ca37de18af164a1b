from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kailash_mcp_prod.cli_config import app
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_schema import settings_schema
from kailash_mcp_prod.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {
            *("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "API_KEYS")
        }:
            monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_all_settings_are_shown_one_a_line() -> None:
    shown = run("show", "--no-auth")

    assert shown.exit_code == 0
    lines = [line.split(maxsplit=2) for line in shown.stdout.splitlines()]
    assert [line[0] for line in lines] == list(ServerConfig.model_fields)
    assert ["enable_auth", "option", "false"] in lines
    assert ["port", "default", "3001"] in lines


def test_as_json_with_the_variables_and_only_what_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "settings.jsonc"
    file.write_text('{"port": 4001, /* here */}')

    shown = run("show", "--no-auth", "--config", str(file), "--changed", "--json")

    assert json.loads(shown.stdout) == {
        "file": str(file),
        "problem": None,
        "settings": {
            "port": {"value": 4001, "source": "file", "variable": "MCP_PORT"},
            "enable_auth": {"value": False, "source": "option", "variable": "MCP_ENABLE_AUTH"},
        },
    }


def test_refused_settings_are_shown_and_the_command_fails(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"prot": 1}')

    text = run("show", "--config", str(file))
    as_json = run("show", "--config", str(file), "--json")

    assert isinstance(text.exception, ConfigError)
    assert "port" in text.stdout
    assert as_json.exit_code == 2
    assert "Did you mean port?" in json.loads(as_json.stdout)["problem"]


def test_the_schema_is_printed() -> None:
    assert json.loads(run("schema").stdout) == settings_schema()
