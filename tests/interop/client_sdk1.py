"""Calls a server through the official SDK 1.x, which speaks the eras up to 2025-11-25.

    python client_sdk1.py stdio -- COMMAND ARG… < calls.json
    python client_sdk1.py http --header "Authorization: Bearer …" URL < calls.json
    python client_sdk1.py websocket URL < calls.json

`sequence.py` describes the calls. The report has the keys `server`, `protocol`, `tools` (names)
and `results`; a call answered by a JSON-RPC error has its code as `rpc_code`. Of a server with
resources and prompts it also has `content`: what is listed, and the first of each, read.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.client.websocket import websocket_client
from mcp.types import ResourceTemplateReference, TextContent
from sequence import Result, Target, parse_target, report, run_calls


async def connect(target: Target, stack: AsyncExitStack) -> ClientSession:
    if target.transport == "http":
        http = await stack.enter_async_context(create_mcp_http_client(headers=target.headers))
        streams = await stack.enter_async_context(
            streamable_http_client(target.address[0], http_client=http)
        )
        read, write = streams[0], streams[1]
    elif target.transport == "websocket":
        read, write = await stack.enter_async_context(websocket_client(target.address[0]))
    else:
        command, *arguments = target.address
        parameters = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
        read, write = await stack.enter_async_context(stdio_client(parameters))
    return await stack.enter_async_context(ClientSession(read, write))


async def tool_names(session: ClientSession) -> list[str]:
    page = await session.list_tools()
    names = [tool.name for tool in page.tools]
    while page.nextCursor is not None:
        page = await session.list_tools(cursor=page.nextCursor)
        names += [tool.name for tool in page.tools]
    return names


async def content_of(session: ClientSession) -> dict[str, Any] | None:
    resources = (await session.list_resources()).resources
    templates = (await session.list_resource_templates()).resourceTemplates
    prompts = (await session.list_prompts()).prompts
    if not resources or not templates or not prompts:
        return None
    read = await session.read_resource(resources[0].uri)
    prompt = await session.get_prompt(prompts[0].name)
    reference = ResourceTemplateReference(type="ref/resource", uri=templates[0].uriTemplate)
    completed = await session.complete(reference, {"name": "model", "value": "Comp"})
    return {
        "resources": [str(each.uri) for each in resources],
        "templates": [each.uriTemplate for each in templates],
        "prompts": [each.name for each in prompts],
        "read": read.contents[0].text,
        "prompt": prompt.messages[0].content.text,
        "completed": completed.completion.values,
    }


async def main() -> None:
    target = parse_target(eras=("legacy",))
    async with AsyncExitStack() as stack:
        session = await connect(target, stack)

        async def call(tool: str, arguments: dict[str, Any]) -> Result:
            try:
                result = await session.call_tool(tool, arguments)
            except McpError as error:
                return {
                    "is_error": True,
                    "structured": None,
                    "text": error.error.message,
                    "rpc_code": error.error.code,
                }
            texts = [block.text for block in result.content if isinstance(block, TextContent)]
            return {
                "is_error": result.isError,
                "structured": result.structuredContent,
                "text": "\n".join(texts),
            }

        handshake = await session.initialize()
        report(
            {
                "server": handshake.serverInfo.model_dump(mode="json", exclude_none=True),
                "protocol": handshake.protocolVersion,
                "tools": await tool_names(session),
                "content": await content_of(session),
                "results": await run_calls(call),
            }
        )


asyncio.run(main())
