"""A server that is started for a demonstration, on data of its own."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.own_server import own_server, without_settings
from kailash_mcp_prod.scratch import scratch_folder

_MODELS: Final = "models:db"
_NEXUS_APP: Final = "kailash_mcp_prod.demo.nexus_app:app"


@dataclass(frozen=True, slots=True)
class Fresh:
    """What the demonstration has to know of its server.

    Attributes:
        url: Where MCP is.
        application: What it serves.
        key: The agent's key, if it asks for one.
        partner_key: That of a second agent.
    """

    url: str
    application: str
    key: str | None
    partner_key: str | None


@asynccontextmanager
async def fresh_server(mode: str, models: str | None, nexus: str | None) -> AsyncIterator[Fresh]:
    """Serves for the length of a block.

    Args:
        mode: That of `serve`.
        models: The DataFlow instance; by default `models:db` if it is here, else the starter's.
        nexus: The Nexus app of that mode; by default a small one of our own.

    Raises:
        StartupError: It does not start; the message is what it said itself.
    """
    with scratch_folder("kailash-mcp-demo-") as folder:
        environment = {**without_settings(), "XDG_CACHE_HOME": str(folder)}
        application = models or _MODELS
        if models is None and not _has_models():
            path = [str(_starter(folder / "starter")), environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
            application = "the starter application"
        keys = [] if mode == "development" else [secrets.token_urlsafe(24) for _ in range(2)]
        if keys:
            environment["API_KEYS"] = json.dumps(
                {
                    key: {"agent_id": agent, "permissions": ["*"]}
                    for key, agent in zip(keys, ("demo-agent", "demo-partner"), strict=True)
                }
            )
        flags = [
            *("--mode", mode, "--port", "0", "--log-level", "ERROR"),
            *("--models", models or _MODELS),
            *("--database-url", f"sqlite:///{folder / 'demo.db'}"),
            *(("--surface", "full") if mode != "nexus-integration" else ()),
            *(("--nexus", nexus or _NEXUS_APP, "--nexus-auth", "own") if "nexus" in mode else ()),
        ]
        async with own_server(flags, environment) as addresses:
            if addresses.mcp is None:
                raise StartupError("The server does not serve MCP over HTTP.")
            key, partner = keys or (None, None)
            yield Fresh(addresses.mcp, application, key, partner)


def _has_models() -> bool:
    """Whether there is a module `models` here, or where PYTHONPATH says."""
    # Not what may be installed under that name.
    folders = [Path(), *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))]
    return any(
        # Not that of `Path`, which raises where PYTHONPATH names what can't be searched.
        os.path.isfile(folder / name)  # noqa: PTH113
        for folder in folders
        for name in ("models.py", "models/__init__.py")
    )


def _starter(folder: Path) -> Path:
    from kailash_mcp_prod.starter import starter_files, write_new

    write_new(folder, starter_files(folder, sys.executable))
    return folder
