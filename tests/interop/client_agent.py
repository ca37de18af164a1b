"""Calls a server through the MCP client of kailash-mcp, the one that Kailash's agent node uses.

    python client_agent.py stdio -- COMMAND ARG… < calls.json
    python client_agent.py http --header "X-API-Key: …" URL < calls.json

It opens a connection, and over stdio a server, for the discovery and for each call. `sequence.py`
describes the calls. The report has the keys `tools` (names) and `results`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from kailash_mcp import MCPClient
from sequence import Result, Target, parse_target, report, run_calls


def configuration(target: Target) -> dict[str, Any]:
    if target.transport == "stdio":
        command, *arguments = target.address
        return {"name": "ours", "transport": "stdio", "command": command, "args": arguments}
    auth = {"type": "api_key", "key": target.headers["X-API-Key"]}
    return {"name": "ours", "transport": "http", "url": target.address[0], "auth": auth}


async def main() -> None:
    server = configuration(parse_target(eras=("legacy",)))
    client = MCPClient()
    tools = await client.discover_tools(server)

    async def call(tool: str, arguments: dict[str, Any]) -> Result:
        answer = await client.call_tool(server, tool, arguments)
        result = answer["result"]
        return {
            "is_error": result.isError,
            "structured": result.structuredContent,
            "text": answer["content"],
        }

    report({"tools": [tool["name"] for tool in tools], "results": await run_calls(call)})


asyncio.run(main())
