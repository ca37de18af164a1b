"""The page on containers makes secrets that the server takes, and names what there is."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from kailash_mcp_prod.cli import app
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_file import read_settings
from tests.e2e.servers import ROOT
from tests.e2e.snippets import run_in, snippets
from tests.integration.deploy.dockerfile import stages, variables

PAGE = ROOT / "docs" / "containers.md"
COMPOSE = ROOT / "deploy/docker/compose.yaml"


def test_the_secrets_of_compose_start_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [commands] = snippets(PAGE, "sh")
    run_in(tmp_path, f"set -e\n{commands}")

    monkeypatch.delenv("JWT_SECRET", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("MCP_SECRETS_DIR", str(tmp_path / "deploy/docker/secrets"))
    config = ServerConfig.load({"host": "0.0.0.0"})

    assert config.jwt_secret is not None
    assert config.database_url is not None
    password = (tmp_path / "deploy/docker/secrets/postgres_password").read_text().strip()
    assert config.database_url == f"postgresql://mcp:{password}@postgres:5432/mcp"
    password = (tmp_path / "deploy/docker/secrets/redis_password").read_text().strip()
    assert config.redis_url == f"redis://:{password}@redis:6379/0"
    made = {path.name for path in (tmp_path / "deploy/docker/secrets").iterdir()}
    assert made == {*yaml.safe_load(COMPOSE.read_text("utf-8"))["secrets"]}


def test_our_commands_on_the_page_are_commands() -> None:
    """Each is given `--help` too, so that its options are known and nothing happens."""
    commands = re.findall(
        r"(?:server|--) kailash-mcp-prod (.*?)(?= \||\n)", PAGE.read_text("utf-8")
    )
    assert len(commands) == 3
    for command in commands:
        done = CliRunner().invoke(app, [*shlex.split(command), "--help"])
        assert done.exit_code == 0, command


def test_the_settings_on_the_page_are_those_of_the_image() -> None:
    image = read_settings(ROOT / "deploy/docker/settings.jsonc")
    [shop, whole] = map(json.loads, snippets(PAGE, "json"))
    assert whole == image
    assert shop == image | {"models": "shop:db"}
    place = variables(stages(ROOT / "Dockerfile")["runtime"])["MCP_CONFIG_FILE"]
    assert f"`MCP_CONFIG_FILE` is `{place}`" in PAGE.read_text("utf-8")


def test_the_base_of_packages_is_that_of_the_image(tmp_path: Path) -> None:
    [text] = snippets(PAGE, "dockerfile")
    (tmp_path / "Dockerfile").write_text(text)
    here = stages(tmp_path / "Dockerfile")
    base = stages(ROOT / "Dockerfile")["runtime"][0].rest.split()[0]
    assert here["packages"][0].rest.split()[0] == base


def test_the_files_that_the_page_names_are_there() -> None:
    for path in re.findall(r"deploy/(?:docker|kubernetes)[\w./-]*", PAGE.read_text("utf-8")):
        if "/secrets" not in path:
            assert (ROOT / path.rstrip(".")).exists(), path
