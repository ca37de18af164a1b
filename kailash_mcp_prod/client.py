"""A client over the official SDK, for the commands `tools` and `call`.

Works with the SDK 1.24 and later and with 2.x, whose attribute names differ: results are read in
their wire form.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import PaginatedRequestParams


class ToolClient:
    """Lists and calls the tools of one server.

    Args:
        session: An initialised session of the SDK.
    """

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def tools(self) -> list[dict[str, Any]]:
        """All tools as the server sends them, in its order."""
        tools: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            result = await self._session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            page = result.model_dump(mode="json", by_alias=True, exclude_none=True)
            tools.extend(page["tools"])
            cursor = page.get("nextCursor")
            if cursor is None:
                return tools

    async def call(self, name: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The structured result of a call, and whether it is an error."""
        result = await self._session.call_tool(name, arguments)
        answer = result.model_dump(mode="json", by_alias=True)
        return answer.get("structuredContent") or {}, bool(answer.get("isError"))


@asynccontextmanager
async def connect_to_url(
    url: str, *, api_key: str | None = None, token: str | None = None
) -> AsyncIterator[ToolClient]:
    """A client of a running server.

    Args:
        url: The MCP endpoint, such as `http://127.0.0.1:3001/mcp`.
        api_key: Sent as `X-API-Key`.
        token: Sent as a bearer token.
    """
    headers = {
        **({"X-API-Key": api_key} if api_key else {}),
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(create_mcp_http_client(headers=headers))
        streams = await stack.enter_async_context(streamable_http_client(url, http_client=http))
        session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
        await session.initialize()
        yield ToolClient(session)


@asynccontextmanager
async def connect_to_own_server(flags: Sequence[str]) -> AsyncIterator[ToolClient]:
    """A client of a stdio server started for the purpose in this environment.

    Args:
        flags: Further flags of `serve`, such as `["--models", "models:db"]`.
    """
    serve = ["-m", "kailash_mcp_prod", "serve", "--transport", "stdio", "--no-auth"]
    parameters = StdioServerParameters(
        command=sys.executable,
        args=[*serve, "--log-level", "ERROR", *flags],
        env=dict(os.environ),
    )
    async with (
        stdio_client(parameters) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield ToolClient(session)


def reason_of(problem: BaseException) -> str:
    """Why a connection failed, in a line; the SDK wraps what happens into exception groups."""
    leaf = leaf_of(problem)
    return str(leaf) or type(leaf).__name__


def leaf_of(problem: BaseException) -> BaseException:
    """The first failure within exception groups."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
