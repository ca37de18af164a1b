"""Connections of an agent to a server that does what it is asked."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kailash_mcp_prod.agent_client.servers import servers_of
from kailash_mcp_prod.agent_client.sessions import AgentSession, close_sessions, open_sessions
from tests.e2e.servers import ROOT

KEY = "the-key-of-the-odd-server"
PROGRAM = str(ROOT / "tests" / "odd_server.py")


def odd(name: str = "odd", *flags: str, **settings: Any) -> dict[str, Any]:
    """The entry of such a server."""
    entry = {"name": name, "command": sys.executable, "args": [PROGRAM, *flags]}
    return {**entry, "env": {"ODD_API_KEY": KEY}, **settings}


@asynccontextmanager
async def connected(
    *entries: dict[str, Any], with_tools: bool = True
) -> AsyncIterator[list[AgentSession]]:
    """Open connections to servers."""
    sessions = await open_sessions(servers_of(entries), with_tools=with_tools)
    try:
        yield sessions
    finally:
        await close_sessions(sessions)
