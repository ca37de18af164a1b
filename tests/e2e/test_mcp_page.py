"""What docs/mcp.md says is done here as written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from tests.e2e.servers import ROOT
from tests.e2e.snippets import only, snippets

PAGE = ROOT / "docs" / "mcp.md"
ANSWER = {"sure": {"action": "accept", "content": {"sure": True}}}


class Shelf:
    """Where things are."""

    id: str
    name: str


def test_every_shell_snippet_of_the_page_is_known() -> None:
    # Both take minutes: the first is part of `.ci/run`, the second a benchmark.
    assert snippets(PAGE, "sh") == ["make conformance\n", "make bench NAME=protocol\n"]


async def test_the_tool_of_the_page_asks_its_user(tmp_path: Path) -> None:
    page: dict[str, Any] = {}
    exec(only(snippets(PAGE, "python"), "# confirming.py"), page)
    db = DataFlow(
        f"sqlite:///{tmp_path / 'shop.db'}",
        pool_size=20,
        enable_caching=False,
        enable_model_persistence=False,
    )
    db.model(Shelf)
    config = ServerConfig(port=0, enable_auth=False)
    async with ProductionMCPServer(config, dataflow=db) as server, httpx.AsyncClient() as client:
        server.registry.add([page["tool"]])

        async def call(**more: Any) -> Any:
            assert server.mcp_url is not None
            params = {
                "name": "clear_cache",
                "arguments": {},
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
                },
                **more,
            }
            headers = {
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": "tools/call",
                "Mcp-Name": "clear_cache",
            }
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            return (await client.post(server.mcp_url, json=message, headers=headers)).json()

        asked = (await call())["result"]
        [key] = asked["inputRequests"]
        answers = {key: ANSWER["sure"]}
        done = await call(inputResponses=answers, requestState=asked["requestState"])
        refused = await call(inputResponses={key: {"action": "decline"}})

    assert done["result"]["structuredContent"] == {"cleared": True}
    assert refused["result"]["structuredContent"]["error"]["code"] == "forbidden"
