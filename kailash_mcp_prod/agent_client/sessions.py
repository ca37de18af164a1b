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
from mcp.shared import _httpx_utils

from kailash_mcp_prod.agent_client.servers import AgentServer, HttpServer
from kailash_mcp_prod.client import ToolClient

_log = logging.getLogger(__name__)

_CLOSE_SECONDS: Final = 10.0
_LONGEST_REASON: Final = 500

# These have other names in the major versions of the SDK.
_PROTOCOL_ERROR: Final[type[Exception]] = vars(mcp).get("MCPError") or vars(mcp)["McpError"]
_HTTP: Final[Any] = vars(_httpx_utils).get("httpx2") or vars(_httpx_utils)["httpx"]
_FAILURES: Final = (
    _PROTOCOL_ERROR,
    _HTTP.HTTPError,
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
        self._refusal: int | None = None
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
        if self._connected.done():
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
        streams = await stack.enter_async_context(self._streams(token))
        session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
        async with asyncio.timeout(self.server.timeout):
            await session.initialize()
            if self._with_tools:
                self.tools = await ToolClient(session).tools()
        return session

    async def _answer(self, coroutine: Coroutine[Any, Any, Any]) -> dict[str, Any]:
        if self._keeper.done():
            coroutine.close()
            self._keeper.result()
        self._refusal = None
        call = asyncio.ensure_future(coroutine)
        try:
            await asyncio.wait(
                {call, self._keeper},
                timeout=self.server.timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not call.done():
                if self._keeper.done():
                    self._keeper.result()
                raise self._failure(TimeoutError())
            try:
                answer: dict[str, Any] = call.result().model_dump(
                    mode="json", by_alias=True, exclude_none=True
                )
            except _FAILURES as error:
                raise self._failure(error) from None
            return answer
        finally:
            call.cancel()

    @asynccontextmanager
    async def _streams(self, token: str | None) -> AsyncIterator[Sequence[Any]]:
        """The two streams of messages from and to the server."""
        server = self.server
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
            async with sse_client(
                server.url, headers, server.timeout, httpx_client_factory=self._http_client
            ) as pair:
                yield pair
            return
        async with (
            self._http_client(headers) as client,
            streamable_http_client(server.url, http_client=client) as streams,
        ):
            yield streams

    def _http_client(self, *given: Any, **named: Any) -> Any:
        client = _httpx_utils.create_mcp_http_client(*given, **named)
        client.event_hooks = {"response": [self._note_refusal]}
        return client

    async def _note_refusal(self, response: Any) -> None:
        # The stream of events that is asked for with GET may be missing.
        if response.status_code >= 400 and response.request.method == "POST":
            self._refusal = response.status_code

    def _failure(self, error: Exception) -> AgentServerError:
        leaf = _first_leaf(error)
        status = getattr(getattr(leaf, "response", None), "status_code", None) or self._refusal
        if status in {401, 403}:
            reason = f"its credential is missing or not accepted (HTTP {status})"
        elif status in {404, 405}:
            reason = f"it answers HTTP {status}; give the address of MCP, such as http://…/mcp"
        elif status is not None:
            reason = f"it answers HTTP {status}"
        elif isinstance(leaf, TimeoutError):
            reason = f"no answer within {self.server.timeout:g} seconds"
        elif isinstance(leaf, FileNotFoundError):
            reason = "its command or working directory is not found"
        else:
            text = str(leaf).strip().rstrip(".")[:_LONGEST_REASON]
            reason = hide(text, self.secrets) or type(leaf).__name__
        return AgentServerError(self.server.name, reason)


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


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
