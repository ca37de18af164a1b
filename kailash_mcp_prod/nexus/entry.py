"""The way into a Nexus app for the requests that are ours: around it, and not through all of it.

The outermost layer of the app looks at the path. What is below the prefix goes through a stack of
the app's own middlewares, without those that would break it, to the parts of the mounted server.
So no answer of ours is ever kept by the layer that would give it to another user.
"""

from __future__ import annotations

import logging
from typing import Protocol

import msgspec

from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.errors import InternalError, ServerError, UnauthenticatedError
from kailash_mcp_prod.nexus.auth import request_scope
from kailash_mcp_prod.nexus.dashboard import PATH as DASHBOARD
from kailash_mcp_prod.nexus.platform import NexusPlatform
from kailash_mcp_prod.nexus.probing import (
    PROBE,
    ASGIApp,
    Probe,
    probe_credential,
    probe_upgrade,
)
from kailash_mcp_prod.nexus.rest import PATHS
from kailash_mcp_prod.nexus.server import MountedServer
from kailash_mcp_prod.nexus.stopping import StopWatch
from kailash_mcp_prod.protocol import new_request_id
from kailash_mcp_prod.transports.asgi import (
    JSON_TYPE,
    ASGIMessage,
    RawHeaders,
    Receive,
    Scope,
    Send,
    path_below_root,
    respond,
)

_log = logging.getLogger(__name__)


class Mounted(Protocol):
    """What is served below the prefix; `NexusIntegration` is one."""

    async def running(self) -> MountedServer:
        """The server, started if it was not.

        Raises:
            ServerError: It can't be.
        """

    async def start(self) -> None:
        """Starts the server; what goes wrong is kept."""

    async def stop(self) -> None:
        """Stops it."""

    def begin_stop(self) -> None:
        """Ends open streams, because the process that carries the app is about to stop."""


class NexusEntry:
    """The outermost layer of a Nexus app.

    Args:
        app: All of the app.
        platform: Knows its middlewares.
        mounted: Is served below the prefix.
        prefix: Such as `/api/mcp`.
        probes: Whether clients over WebSocket are known by the app's middlewares, which see HTTP
            only.
    """

    def __init__(
        self,
        app: ASGIApp,
        platform: NexusPlatform,
        mounted: Mounted,
        prefix: str,
        *,
        probes: bool,
    ) -> None:
        self._app = app
        self._platform = platform
        self._mounted = mounted
        self._prefix = prefix
        self._below = f"{prefix}/"
        self._probes = probes
        self._stack: ASGIApp | None = None
        self._watch = StopWatch(mounted.begin_stop)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        path = path_below_root(scope)
        if path != self._prefix and not path.startswith(self._below):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            serve = self._dashboard if self._first(path) == DASHBOARD else self._http
            with self._watch.over(receive):
                await serve(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starts after the app and stops before it."""

        async def told() -> ASGIMessage:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._mounted.stop()
            return message

        async def tell(message: ASGIMessage) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._mounted.start()
            await send(message)

        await self._app(scope, told, tell)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def sent(message: ASGIMessage) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._stacked(scope, receive, sent)
        except Exception:  # noqa: BLE001 - the boundary
            # Of a middleware: the parts of the server answer whatever happens.
            request_id = new_request_id()
            _log.exception("A middleware failed", extra={"request_id": request_id})
            if not answered:
                message = "The server could not do this. Report the request id to its operator."
                await _refuse(send, InternalError(message), request_id)

    @property
    def _stacked(self) -> ASGIApp:
        """The app's own middlewares around what is served here, made for the first request.

        They can't change any more then: the app has made its own stack of them.
        """
        if self._stack is None:
            stack: ASGIApp = self._serve
            for each in reversed(self._platform.kept_middleware()):
                stack = each.cls(stack, *each.args, **each.kwargs)
            self._stack = stack
        return self._stack

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The innermost: whatever the middlewares have found out is in the scope's state."""
        probe = scope.get(PROBE)
        if probe is not None:
            probe.state = dict(scope.get("state") or {})
            await respond(send, 204, [])
            return
        try:
            server = await self._mounted.running()
        except ServerError as error:
            await _refuse_any(scope, send, error)
            return
        before = request_scope.set(scope)
        try:
            await self._part(server, scope)(scope, receive, send)
        finally:
            request_scope.reset(before)

    def _part(self, server: MountedServer, scope: Scope) -> ASGIApp:
        if scope["type"] == "websocket":
            return server.websocket
        return server.rest if self._first(path_below_root(scope)) in PATHS else server.http

    def _first(self, path: str) -> str:
        """The first step of a path below the prefix."""
        return path[len(self._below) :].partition("/")[0]

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._probes:
            probe = await probe_upgrade(self._stacked, scope)
            if probe.state is None:
                await _refuse_websocket(scope, receive, send, probe)
                return
            scope = {**scope, "state": {**(scope.get("state") or {}), **probe.state}}
        await self._stacked(scope, receive, send)

    async def _dashboard(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            server = await self._mounted.running()
        except ServerError as error:
            await _refuse_any(scope, send, error)
            return
        if server.dashboard is None:
            # As all else that is not there, for who may know what is.
            await self._http(scope, receive, send)
            return

        async def look(scope: Scope, credentials: Credentials) -> Scope:
            return await probe_credential(self._stacked, scope, self._prefix, credentials)

        await server.dashboard.serve(scope, receive, send, look if self._probes else None)


async def _refuse(send: Send, error: ServerError, request_id: str) -> None:
    headers: RawHeaders = [JSON_TYPE, (b"x-request-id", request_id.encode())]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry_after_seconds))).encode()))
    body = msgspec.json.encode({"error": error.to_dict(request_id)})
    await respond(send, error.http_status, headers, body)


async def _refuse_any(scope: Scope, send: Send, error: ServerError) -> None:
    if scope["type"] == "http":
        await _refuse(send, error, new_request_id())
    else:
        await send({"type": "websocket.close", "code": 1013, "reason": error.message[:100]})


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send, probe: Probe) -> None:
    """Answers an upgrade as the middlewares have answered in its place."""
    if (await receive())["type"] != "websocket.connect":
        return
    status = probe.status if probe.status >= 400 else UnauthenticatedError.http_status
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": "Not authenticated."})
        return

    async def send_http(message: ASGIMessage) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    kept = [each for each in probe.headers if each[0].lower() != b"content-length"]
    await respond(send_http, status, kept, bytes(probe.body))
