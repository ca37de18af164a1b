"""A server with shops, and a look at which of its requests were answered at once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kailash_mcp_prod.protocol import Reply
from kailash_mcp_prod.protocol.prepared import PreparedRequest
from kailash_mcp_prod.transports.http import HttpTransport
from tests.integration.repeats.shops import (
    Site,
    site_at,
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {"DATABASE_URL", "REDIS_URL", "API_KEYS"}:
            monkeypatch.delenv(name)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each request to an MCP endpoint, whether it was answered at once."""
    seen: list[bool] = []
    serve, again = HttpTransport.__call__, PreparedRequest.again

    async def watched_serve(self: HttpTransport, *args: Any) -> None:
        seen.append(False)
        await serve(self, *args)

    async def watched_again(self: PreparedRequest, *args: Any) -> Reply | None:
        reply = await again(self, *args)
        seen[-1] = reply is not None
        return reply

    monkeypatch.setattr(HttpTransport, "__call__", watched_serve)
    monkeypatch.setattr(PreparedRequest, "again", watched_again)
    return seen


@pytest.fixture
async def site(sqlite_url: str) -> AsyncIterator[Site]:
    async with site_at(sqlite_url) as site:
        yield site
