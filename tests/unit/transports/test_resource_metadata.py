"""Where clients find out who issues tokens for the server."""

from __future__ import annotations

import httpx
import pytest

from kailash_mcp_prod.auth.challenge import WELL_KNOWN, ProtectedResource
from kailash_mcp_prod.transports.resource_metadata import ResourceMetadata

RESOURCE = ProtectedResource("https://a.example/behind/mcp", ("https://auth.example",), ("mcp",))


def client(resource: ProtectedResource | None) -> httpx.AsyncClient:
    app = ResourceMetadata(resource)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")


@pytest.mark.parametrize(
    "path", ["", "/", "/mcp", "/mcp/", "/mcp/compact", "/behind/mcp", "/behind/mcp/search"]
)
async def test_the_metadata_is_at_the_root_and_for_each_address_of_mcp(path: str) -> None:
    async with client(RESOURCE) as web:
        answer = await web.get(WELL_KNOWN + path)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json() == RESOURCE.metadata


@pytest.mark.parametrize("path", ["x", "/x", "/mcpx", "/behind", "//mcp", "/../mcp/x/../../y"])
async def test_there_is_none_for_other_addresses(path: str) -> None:
    async with client(RESOURCE) as web:
        assert (await web.get(WELL_KNOWN + path)).status_code == 404


@pytest.mark.parametrize("path", ["", "/mcp"])
async def test_there_is_none_where_nobody_issues_tokens(path: str) -> None:
    async with client(None) as web:
        assert (await web.get(WELL_KNOWN + path)).status_code == 404


async def test_it_is_only_read() -> None:
    async with client(RESOURCE) as web:
        assert (await web.head(WELL_KNOWN)).status_code == 200
        refused = await web.post(WELL_KNOWN)

    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
