"""Shares one port between the transport of HTTP and that of WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from kailash_mcp_prod.auth.challenge import WELL_KNOWN
from kailash_mcp_prod.transports.asgi import Receive, Scope, Send, path_below_root, respond

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_NOTHING: Final = b"MCP is served over WebSocket here, at /ws.\n"


class TransportRouter:
    """An ASGI application that hands each connection to the transport of its kind.

    Args:
        websocket: Takes WebSockets.
        http: Takes HTTP requests; without it they are answered with 404.
        metadata: Takes those below the well-known path of a protected resource.
    """

    def __init__(
        self, websocket: ASGIApp, http: ASGIApp | None = None, metadata: ASGIApp | None = None
    ) -> None:
        self._websocket = websocket
        self._http = http
        self._metadata = metadata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif (
            self._metadata is not None
            and WELL_KNOWN in scope["path"]
            and path_below_root(scope).startswith(WELL_KNOWN)
        ):
            await self._metadata(scope, receive, send)
        elif self._http is not None:
            await self._http(scope, receive, send)
        elif scope["type"] == "http":
            await respond(send, 404, [(b"content-type", b"text/plain; charset=utf-8")], _NOTHING)
