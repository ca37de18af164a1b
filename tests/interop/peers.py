"""Environments of MCP clients, each with the SDK version it needs, made when first asked for."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "build" / "peers"


def peer_python(name: str) -> Path:
    """Return the interpreter of the environment locked in `<name>.txt`.

    An environment is kept until its lock file or our interpreter changes. Test processes that
    ask for it at the same time wait for the one that makes it.

    Args:
        name: `sdk1` (the official SDK 1.x), `sdk2` (2.x), or `agent` (Kailash's agent node and its
            MCP client, which need the SDK 1.x; it can also run our server).
    """
    requirements = HERE / f"{name}.txt"
    identity = requirements.read_bytes() + sys.version.encode() + sys.executable.encode()
    home = CACHE / f"{name}-{hashlib.sha256(identity).hexdigest()[:16]}"
    python = home / "bin" / "python"
    complete = home / "complete"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_suffix(".lock")):
        if not complete.exists():
            shutil.rmtree(home, ignore_errors=True)
            make_environment(home)
            install(python, "--require-hashes", "--requirements", str(requirements))
            complete.touch()
    return python


def run_client(
    name: str,
    *arguments: str,
    calls: list[Any],
    environment: Mapping[str, str] | None = None,
    workdir: Path | None = None,
) -> dict[str, Any]:
    """Run the client of a peer against a server, and return its report.

    Args:
        name: The peer: `sdk1`, `sdk2` or `agent`.
        arguments: The client's command line, such as `"http", url` or `"stdio", "--", command`.
        calls: The calls to make, as `sequence.run_calls` takes them.
        environment: Of the client, and of the stdio server that it starts, instead of ours.
        workdir: Where both run, instead of here.

    Raises:
        RuntimeError: The client fails; the message holds what it said.
    """
    done = subprocess.run(
        [peer_python(name), HERE / f"client_{name}.py", *arguments],
        check=False,
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd=workdir,
    )
    if done.returncode:
        raise RuntimeError(f"client {name} failed:\n{done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def make_environment(home: Path) -> None:
    """Make an empty virtual environment of our own Python version."""
    uv("venv", "--no-project", "--python", sys.executable, str(home))


def install(python: Path, *arguments: str) -> None:
    """Install into the environment of an interpreter exactly what the arguments name."""
    uv("pip", "install", "--no-deps", "--python", str(python), *arguments)


def uv(*arguments: str) -> None:
    """Run the uv of our own environment.

    Raises:
        RuntimeError: It fails; the message holds what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments, "--quiet"],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)} failed:\n{done.stderr}")
