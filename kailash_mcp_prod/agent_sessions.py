"""The connections of an agent to its MCP servers: one for each, for as long as a run lasts.

Works with the official SDK 1.24 and later and with 2.x: results are read in their wire form.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import mcp
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from kailash_mcp_prod.agent_servers import AgentServer, HttpServer
from kailash_mcp_prod.client import ToolClient

_log = logging.getLogger(__name__)

_CLOSE_SECONDS: Final = 10.0
_LONGEST_REASON: Final = 500
# So the SDK calls a 404, whether or not there was a session.
_NOT_FOUND: Final = "Session terminated"

# The SDK has renamed it between its major versions.
_PROTOCOL_ERROR: Final[type[Exception]] = vars(mcp).get("MCPError") or vars(mcp)["McpError"]
_FAILURES: Final = (
    _PROTOCOL_ERROR,
    ExceptionGroup,
    OSError,
    RuntimeError,
    ValueError,
    BrokenResourceError,
    ClosedResourceError,
    EndOfStream,
)


class AgentServerError(Exception):
    """A server of an agent can't be used, or does not do what it was asked for.

    Args:
        server: What the agent calls it.
        reason: Why, without any credential.
    """

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"MCP server {server!r}: {reason}.")
        self.server = server
        self.reason = reason


class AgentSession:
    """An open connection to a server.

    Attributes:
        server: The server.
        tools: Its tools as it sends them, when they were asked for.
        secrets: What no text about the server or from it may hold.
    """

    def __init__(self, server: AgentServer, *, with_tools: bool) -> None:
        self.server = server
        self.tools: list[dict[str, Any]] = []
        self.secrets = server.secrets
        self._with_tools = with_tools
        self._stop = asyncio.Event()
        self._connected: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
        # The SDK wants a connection to be left in the task that has entered it.
        self._keeper = asyncio.create_task(self._keep())

    async def connected(self) -> None:
        """Waits until the connection can be used.

        Raises:
            AgentServerError: It can't be made, or the tools can't be listed.
        """
        either: set[asyncio.Future[Any]] = {self._keeper, self._connected}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._connected.done():
            self._keeper.result()

    async def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """What a tool answers, in its wire form, which may be an error of the tool.

        Raises:
            AgentServerError: There is no answer, or the server refuses the call.
        """
        session = self._connected.result()
        return await self._answer(session.call_tool(tool, arguments))

    async def read(self, uri: str) -> dict[str, Any]:
        """The contents of a resource, in their wire form.

        Raises:
            AgentServerError: There is no answer, or the server refuses.
        """
        session = self._connected.result()
        # SDK 1.x declares another type here, and takes a text as well.
        return await self._answer(session.read_resource(uri))

    async def close(self) -> None:
        """Ends the connection; a failure on the way out is only logged."""
        self._stop.set()
        await asyncio.wait({self._keeper}, timeout=_CLOSE_SECONDS)
        self._keeper.cancel()
        await asyncio.wait({self._keeper}, timeout=_CLOSE_SECONDS)
        if self._keeper.done() and not self._keeper.cancelled():
            error = self._keeper.exception()
            if error is not None and self._connected.done():
                _log.warning("The connection has ended badly: %s", error)

    async def _keep(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                session = await self._enter(stack)
                self._connected.set_result(session)
                await self._stop.wait()
        except _FAILURES as error:
            raise self._failure(error) from None

    async def _enter(self, stack: AsyncExitStack) -> ClientSession:
        token = None
        if isinstance(self.server, HttpServer) and self.server.token_source is not None:
            token = await self.server.token_source()
            self.secrets = (*self.secrets, token)
        streams = await stack.enter_async_context(_streams(self.server, token))
        session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
        async with asyncio.timeout(self.server.timeout):
            await session.initialize()
            if self._with_tools:
                self.tools = await ToolClient(session).tools()
        return session

    async def _answer(self, coroutine: Coroutine[Any, Any, Any]) -> dict[str, Any]:
        call = asyncio.ensure_future(coroutine)
        try:
            await asyncio.wait(
                {call, self._keeper},
                timeout=self.server.timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not call.done():
                ended = self._keeper.done()
                raise self._failure(ConnectionError("it has gone") if ended else TimeoutError())
            try:
                answer: dict[str, Any] = call.result().model_dump(
                    mode="json", by_alias=True, exclude_none=True
                )
            except _FAILURES as error:
                raise self._failure(error) from None
            return answer
        finally:
            call.cancel()

    def _failure(self, error: Exception) -> AgentServerError:
        reason = hide(_reason_of(error, self.server.timeout), self.secrets)
        if reason == _NOT_FOUND and not self._connected.done():
            reason = "its URL is no MCP endpoint (HTTP 404)"
        return AgentServerError(self.server.name, reason)


@asynccontextmanager
async def _streams(server: AgentServer, token: str | None) -> AsyncIterator[Sequence[Any]]:
    """The two streams of messages from and to a server."""
    if not isinstance(server, HttpServer):
        # A variable of ours may be what the server is configured by, as with the stock node.
        parameters = StdioServerParameters(
            command=server.command,
            args=list(server.args),
            env={**os.environ, **server.env},
            cwd=server.cwd,
        )
        async with stdio_client(parameters) as pair:
            yield pair
        return
    headers = dict(server.headers)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if server.sse:
        async with sse_client(server.url, headers=headers, timeout=server.timeout) as pair:
            yield pair
        return
    async with (
        create_mcp_http_client(headers=headers) as client,
        streamable_http_client(server.url, http_client=client) as streams,
    ):
        yield streams


async def open_sessions(servers: Iterable[AgentServer], *, with_tools: bool) -> list[AgentSession]:
    """Connects to all of the servers, or to none.

    Args:
        servers: The servers, in the order of the sessions.
        with_tools: Whether their tools are wanted.

    Raises:
        AgentServerError: One of them can't be used.
    """
    sessions = [AgentSession(server, with_tools=with_tools) for server in servers]
    try:
        for session in sessions:
            await session.connected()
    except BaseException:
        await close_sessions(sessions)
        raise
    return sessions


async def close_sessions(sessions: Iterable[AgentSession]) -> None:
    """Ends the connections."""
    await asyncio.gather(*(session.close() for session in sessions))


def hide(text: str, secrets: Iterable[str]) -> str:
    """A text without the secrets that it holds."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _reason_of(error: BaseException, timeout: float) -> str:
    leaves = list(_leaves(error))
    for leaf in leaves:
        status = getattr(getattr(leaf, "response", None), "status_code", None)
        if status in {401, 403}:
            return f"its credential is missing or not accepted (HTTP {status})"
        if status is not None:
            return f"it answers HTTP {status}"
    leaf = leaves[0]
    if isinstance(leaf, TimeoutError):
        return f"no answer within {timeout:g} seconds"
    if isinstance(leaf, FileNotFoundError):
        return "its command or working directory is not found"
    text = str(leaf).strip().rstrip(".")[:_LONGEST_REASON]
    return text or type(leaf).__name__


def _leaves(error: BaseException) -> Iterable[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
