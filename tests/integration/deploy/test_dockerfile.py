"""The Dockerfiles follow the rules of hadolint and those of this project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_catalogue import all_settings
from tests.e2e.servers import ROOT
from tests.integration.deploy.dockerfile import stages, variables

HADOLINT = Path(sys.executable).parent / "hadolint"
DOCKERFILE = ROOT / "Dockerfile"
APP = ROOT / "deploy/docker/Dockerfile.app"
SETTINGS = {each.variable for each in all_settings()} | {"MCP_SECRETS_DIR", "MCP_CONFIG_FILE"}


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint has no build for this platform")
@pytest.mark.parametrize("path", [DOCKERFILE, APP], ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    # DL3059 wants one RUN for all; here they are layers that change at different times.
    done = subprocess.run(
        [HADOLINT, "--no-color", "--ignore", "DL3059", path],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint has no build for this platform")
def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(DOCKERFILE.read_text("utf-8").replace("python:3.12.13-slim-trixie", "python"))
    done = subprocess.run(
        [HADOLINT, "--no-color", wrong], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "DL3006" in done.stdout


def test_the_image_runs_as_nobody_special_and_says_how_it_is() -> None:
    runtime = stages(DOCKERFILE)["runtime"]
    said = {each.word: each.rest for each in runtime}
    assert said["USER"] == "10001:10001"
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert said["EXPOSE"] == "3001 3002"
    assert json.loads(said["ENTRYPOINT"]) == ["kailash-mcp-prod"]
    assert json.loads(said["CMD"]) == ["serve"]
    assert said["HEALTHCHECK"].endswith('CMD ["kailash-mcp-prod", "health"]')


@pytest.mark.parametrize("path", [DOCKERFILE, APP], ids=lambda path: path.name)
def test_no_setting_is_a_variable_of_the_image(path: Path) -> None:
    """It would go before the file that an operator mounts."""
    given = {name for stage in stages(path).values() for name in variables(stage)}
    assert not given & SETTINGS - {"MCP_CONFIG_FILE"}
    assert not {name for name in given - SETTINGS if name.startswith("MCP_")}


def test_what_the_image_says_holds_until_a_file_is_mounted_over_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = stages(DOCKERFILE)["runtime"]
    place = variables(runtime)["MCP_CONFIG_FILE"]
    [source] = [
        each.rest.split()[0]
        for each in runtime
        if each.word == "COPY" and each.rest.endswith(f" {place}")
    ]
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables(runtime).items():
        if name in SETTINGS:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("JWT_SECRET", "a-secret-that-is-long-enough-for-all-of-this")

    monkeypatch.setenv("MCP_CONFIG_FILE", str(ROOT / source))
    config = ServerConfig.load({})
    assert (config.host, config.port, config.wait_for_db) == ("0.0.0.0", 3001, 60)

    mounted = tmp_path / "settings.json"
    said = {"host": "127.0.0.1", "port": 4001, "log_format": "console", "wait_for_db": 1.0}
    mounted.write_text(json.dumps(said))
    monkeypatch.setenv("MCP_CONFIG_FILE", str(mounted))
    config = ServerConfig.load({})
    assert {key: getattr(config, key) for key in said} == said


def test_what_installs_stays_behind() -> None:
    runtime = stages(DOCKERFILE)["runtime"]
    [python] = re.findall(r"^python:(\d+\.\d+)\.", runtime[0].rest)
    commands = [each.rest for each in runtime if each.word == "RUN"]
    removed = "python -m pip uninstall --yes --root-user-action=ignore pip"
    assert f"{removed} && rm -rf /usr/local/lib/python{python}/ensurepip" in commands
    assert not any("pip install" in command for command in commands)
    for each in stages(DOCKERFILE)["build"]:
        if "pip" in each.rest and each.word == "RUN" and " install " in each.rest:
            assert "--require-hashes" in each.rest or "--no-index" in each.rest
            assert "--no-deps" in each.rest


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for stage in stages(DOCKERFILE).values()
        for each in stage
        if each.word == "COPY" and not each.rest.startswith("--from")
        for source in each.rest.split()[:-1]
    }
    assert "*" in lines
    assert copied == allowed
