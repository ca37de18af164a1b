"""The Dockerfiles follow the rules of hadolint and those of this project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_variables_of_the_image_are_settings_and_no_secret() -> None:
    for path in (DOCKERFILE, APP):
        for stage in stages(path).values():
            names = {name for name in variables(stage) if name.startswith("MCP_")}
            assert names <= SETTINGS
            assert not {"DATABASE_URL", "JWT_SECRET", "API_KEYS"} & {*variables(stage)}


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
