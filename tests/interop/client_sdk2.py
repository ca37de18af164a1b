"""Calls a server through the official SDK 2.x, which speaks both eras.

    python client_sdk2.py stdio [--era auto] -- COMMAND ARG… < calls.json
    python client_sdk2.py http [--era legacy] --header "Authorization: Bearer …" URL < calls.json

The era `auto` asks `server/discover` first and falls back to `initialize`; `legacy` begins with
`initialize`; `modern` takes the newest revision without asking. `sequence.py` describes the calls.
The report has the keys `server`, `protocol`, `tools` (names) and `results`; a call answered by a
JSON-RPC error has its code as `rpc_code`.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import TextContent
from mcp_types.version import LATEST_MODERN_VERSION
from sequence import Result, Target, parse_target, report, run_calls


async def connect(target: Target, stack: AsyncExitStack) -> Client:
    mode = LATEST_MODERN_VERSION if target.era == "modern" else target.era
    if target.transport == "http":
        http = await stack.enter_async_context(create_mcp_http_client(headers=target.headers))
        transport = streamable_http_client(target.address[0], http_client=http)
        return await stack.enter_async_context(Client(transport, mode=mode))
    command, *arguments = target.address
    parameters = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    return await stack.enter_async_context(Client(parameters, mode=mode))


async def tool_names(client: Client) -> list[str]:
    page = await client.list_tools()
    names = [tool.name for tool in page.tools]
    while page.next_cursor is not None:
        page = await client.list_tools(cursor=page.next_cursor)
        names += [tool.name for tool in page.tools]
    return names


async def main() -> None:
    target = parse_target(eras=("auto", "legacy", "modern"))
    async with AsyncExitStack() as stack:
        client = await connect(target, stack)

        async def call(tool: str, arguments: dict[str, Any]) -> Result:
            try:
                result = await client.call_tool(tool, arguments)
            except MCPError as error:
                return {
                    "is_error": True,
                    "structured": None,
                    "text": error.error.message,
                    "rpc_code": error.error.code,
                }
            texts = [block.text for block in result.content if isinstance(block, TextContent)]
            return {
                "is_error": bool(result.is_error),
                "structured": result.structured_content,
                "text": "\n".join(texts),
            }

        tools = await tool_names(client)
        server = client.server_info
        report(
            {
                "server": server.model_dump(mode="json", exclude_none=True) if server else None,
                "protocol": client.protocol_version,
                "tools": tools,
                "results": await run_calls(call),
            }
        )


asyncio.run(main())
