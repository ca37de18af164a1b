"""Calls a server through the official SDK 2.x, which speaks both eras.

    python client_sdk2.py stdio [--era auto] -- COMMAND ARG… < calls.json
    python client_sdk2.py http [--era legacy] --header "Authorization: Bearer …" URL < calls.json

The era `auto` asks `server/discover` first and falls back to `initialize`; `legacy` begins with
`initialize`; `modern` takes the newest revision without asking. `sequence.py` describes the calls.
The report has the keys `server`, `protocol`, `tools` (names) and `results`; a call answered by a
JSON-RPC error has its code as `rpc_code`. Of a server with resources and prompts it also has
`content`: what is listed, and the first of each, read.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import ResourceTemplateReference, TextContent
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


async def content_of(client: Client) -> dict[str, Any] | None:
    resources = (await client.list_resources()).resources
    templates = (await client.list_resource_templates()).resource_templates
    prompts = (await client.list_prompts()).prompts
    if not resources or not templates or not prompts:
        return None
    read = await client.read_resource(resources[0].uri)
    prompt = await client.get_prompt(prompts[0].name)
    reference = ResourceTemplateReference(uri=templates[0].uri_template)
    completed = await client.complete(reference, {"name": "model", "value": "Comp"})
    return {
        "resources": [str(each.uri) for each in resources],
        "templates": [each.uri_template for each in templates],
        "prompts": [each.name for each in prompts],
        "read": read.contents[0].text,
        "prompt": prompt.messages[0].content.text,
        "completed": completed.completion.values,
    }


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
                "content": await content_of(client),
                "results": await run_calls(call),
            }
        )


asyncio.run(main())
