"""The commands of the Dockerfile, done here: in a directory and an environment of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.e2e.servers import ROOT, environment, running
from tests.integration.deploy.dockerfile import stages, variables
from tests.interop.peers import make_environment

STAGES = stages(ROOT / "Dockerfile")
SECRET = "the-secret-of-an-image-that-is-only-tested"

# pip as the image has it would fetch and compile for minutes; uv takes the same arguments.
PIP = f"""#!/bin/sh
environment=$(dirname "$0")/python
if [ "$1" = --python ]; then environment=$2; shift 2; fi
exec "{sys.executable}" -m uv pip "$@" --quiet --python "$environment"
"""
VENV = re.compile(r"python -m venv (--without-pip )?(/opt/\w+)")

DISTRIBUTIONS = """
import json
from importlib.metadata import distributions
print(json.dumps({each.name: each.requires or [] for each in distributions()}))
"""


def here(text: str, root: Path) -> str:
    """A text of the Dockerfile with the directories of the image below a root."""
    return re.sub(
        r"(?<![\w./])/(opt/venv|opt/build|dist|app|data|src|tmp/cache|etc)\b", rf"{root}/\1", text
    )


def build(root: Path) -> None:
    """Does what the stage `build` says."""
    source = root / "src"
    source.mkdir()
    for word, rest in STAGES["build"]:
        if word == "COPY":
            *names, target = rest.split()
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, source / target)
                else:
                    shutil.copy(ROOT / name, source / target)
        elif made := VENV.fullmatch(rest):
            venv = Path(here(made[2], root))
            make_environment(venv)
            if made[1] is None:
                (venv / "bin/pip").write_text(PIP)
                (venv / "bin/pip").chmod(0o755)
        elif word == "RUN":
            done = subprocess.run(
                ["sh", "-ec", here(rest, root)],
                check=False,
                cwd=source,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{rest}:\n{done.stdout}{done.stderr}"


def command(word: str) -> list[str]:
    """The arguments of an instruction in the exec form."""
    [rest] = [each.rest for each in STAGES["runtime"] if each.word == word]
    arguments: list[str] = json.loads(rest[rest.index("[") :])
    return arguments


def needed_by(name: str, extras: set[str], requirements: dict[str, list[str]]) -> set[str]:
    """A distribution and all that it takes, and that these take."""
    needed: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [(name, frozenset(extras))]
    while left:
        step = left.pop()
        if step in seen:
            continue
        seen.add(step)
        needed.add(step[0])
        for wanted in map(Requirement, requirements[step[0]]):
            marker = wanted.marker
            if marker is None or any(marker.evaluate({"extra": each}) for each in {"", *step[1]}):
                left.append((canonicalize_name(wanted.name), frozenset(wanted.extras)))
    return needed


@pytest.mark.timeout(180)
def test_what_the_image_does_builds_serves_and_ends(tmp_path: Path) -> None:
    root = tmp_path / "image"
    root.mkdir()
    build(root)
    told = subprocess.run(
        [root / "opt/venv/bin/python", "-c", DISTRIBUTIONS],
        check=True,
        capture_output=True,
        text=True,
    )
    there = {canonicalize_name(name): needs for name, needs in json.loads(told.stdout).items()}
    assert {*there} == needed_by("kailash-mcp-prod", {"otel", "postgres", "redis"}, there)
    assert not list((root / "opt/venv/bin").glob("pip*"))
    for word, rest in STAGES["reference"]:
        if word == "COPY":
            name, target = rest.split()
            # As .dockerignore says.
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, here(target, root), ignore=unwanted)
    data, secrets = root / "data", root / "secrets"
    data.mkdir()
    secrets.mkdir()
    (secrets / "JWT_SECRET").write_text(SECRET + "\n")
    settings = {name: here(value, root) for name, value in variables(STAGES["runtime"]).items()}
    settings["PATH"] = settings["PATH"].replace("$PATH", os.environ["PATH"])
    settings["MCP_SECRETS_DIR"] = str(secrets)
    # This machine's ports may be taken, and nothing shall listen beyond it. Only a file says so, as
    # an operator mounts one.
    port = free_pair()
    file = Path(settings["MCP_CONFIG_FILE"])
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"host": "127.0.0.1", "port": port}))
    entrypoint = [str(root / "opt/venv/bin" / command("ENTRYPOINT")[0]), *command("CMD")]

    with running(data, settings=settings, program=entrypoint) as server:
        assert server.urls()[1] == f"http://127.0.0.1:{port + 1}"
        check = [str(root / "opt/venv/bin" / command("HEALTHCHECK")[0]), "health"]
        asked = subprocess.run(
            check, check=False, env=environment(**settings), capture_output=True, text=True
        )
        assert (asked.returncode, asked.stdout) == (0, "ready\n"), asked.stderr
        [stop] = [each.rest for each in STAGES["runtime"] if each.word == "STOPSIGNAL"]
        assert server.end(signal.Signals[stop]) == 0
    assert {path.name for path in root.iterdir()} <= {
        *("app", "data", "dist", "etc", "opt", "secrets", "src", "tmp")
    }
    assert not list((root / "app").rglob("__pycache__"))


def free_pair() -> int:
    """A port that is free and has a free one after it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
